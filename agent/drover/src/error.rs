//! The edge: an error of any crate, with the exit status it means and what to do next.

use std::error::Error;
use std::fmt;

use crate::exit::Exit;
use crate::printable::printable;

#[cfg(test)]
mod tests;

/// A command that failed.
#[derive(Debug)]
pub(crate) struct CommandError {
    exit: Exit,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    details: Vec<String>,
    hints: Vec<String>,
}

/// The result of a command.
pub(crate) type CommandResult<T = Exit> = Result<T, CommandError>;

impl CommandError {
    /// Makes an error that exits with 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
            source: None,
            details: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Makes an error of wrong usage, which exits with 64.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(message).exit(Exit::Usage)
    }

    /// Adds the cause.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds a fact, on a line of its own.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Sets the exit status.
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Returns the exit status.
    pub(crate) fn status(&self) -> Exit {
        self.exit
    }

    /// Returns whether the reader of our output went away, which is no failure worth words.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let mut cause = self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(error) = cause {
            let broken = error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
            if broken {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// Returns the error as it is printed: the chain of causes, then the hints.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("error: {}\n", told(&self.message));
        let mut cause = self.source.as_deref().map(|source| source as &dyn Error);
        let mut last = self.message.clone();
        while let Some(error) = cause {
            let message = error.to_string();
            // Some libraries repeat their cause's text in their own.
            if !last.ends_with(&message) {
                text.push_str(&format!("  caused by: {}\n", told(&message)));
            }
            last = message;
            cause = error.source();
        }
        for detail in &self.details {
            text.push_str(&format!("  {}\n", told(detail)));
        }
        for hint in &self.hints {
            text.push_str(&format!("hint: {}\n", told(hint)));
        }
        text
    }
}

/// Returns words that may be of a remote or of a repository: each further line is marked, so that none passes for one
/// of ours, and what a terminal would obey or hide is escaped.
fn told(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().map(printable).collect();
    lines.join("\n    | ")
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CommandError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

/// Adds what was attempted to an error of another crate.
pub(crate) trait Context<T> {
    /// Says what was attempted.
    fn context(self, message: impl Into<String>) -> CommandResult<T>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, message: impl Into<String>) -> CommandResult<T> {
        self.map_err(|error| CommandError::new(message).because(error))
    }
}

impl From<std::io::Error> for CommandError {
    /// Only for writing results: everything else says what it attempted.
    fn from(error: std::io::Error) -> Self {
        Self::new("cannot write the result").because(error)
    }
}
