//! Where output goes: results on stdout, everything else on stderr; colour only where a person
//! looks. Nothing reaches a terminal that it would obey or hide, whoever wrote it, but colours of our own.

use std::io::{self, IsTerminal as _, Write};

use crate::cli::ColorChoice;
use crate::printable::shown;

/// The two streams of a command, and whether they may be coloured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    out_color: bool,
    err_color: bool,
    err_terminal: bool,
}

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Headings.
    Bold,
    /// What matters less.
    Dim,
    /// Good.
    Green,
    /// Worth a look.
    Yellow,
    /// Bad.
    Red,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
        }
    }

    /// Returns `text` in this style, or as it is where there is no colour.
    pub(crate) fn paint(self, text: &str, color: bool) -> String {
        if color {
            format!("\u{1b}[{}m{text}\u{1b}[0m", self.code())
        } else {
            text.to_owned()
        }
    }
}

impl Ui {
    /// Looks at the streams and at `NO_COLOR`.
    pub(crate) fn new(choice: ColorChoice) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = |terminal: bool| match choice {
            ColorChoice::Auto => terminal && !plain,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        Self {
            out_color: color(io::stdout().is_terminal()),
            err_color: color(io::stderr().is_terminal()),
            err_terminal: io::stderr().is_terminal(),
        }
    }

    /// Returns whether results may be coloured.
    pub(crate) fn out_color(self) -> bool {
        self.out_color
    }

    /// Returns whether messages may be coloured.
    pub(crate) fn err_color(self) -> bool {
        self.err_color
    }

    /// Returns whether a person watches the messages, so that progress may be drawn.
    pub(crate) fn is_interactive(self) -> bool {
        self.err_terminal
    }

    /// Writes a result and ends the line if it is not ended.
    pub(crate) fn result(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(shown(text, self.out_color).as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Writes a message for people. A closed stderr is nobody's failure.
    pub(crate) fn message(self, text: &str) {
        let mut err = io::stderr().lock();
        let _ = err.write_all(shown(text, self.err_color).as_bytes());
        if !text.ends_with('\n') {
            let _ = err.write_all(b"\n");
        }
    }
}
