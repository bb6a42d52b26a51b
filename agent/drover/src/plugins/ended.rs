//! What became of a plugin that runs no more: how it ended, and what it said last.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drover_spec::format_duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tracing::debug;

use super::BACKOFF;

/// Lines of a plugin's output that are kept for the report of its end.
const LINES_KEPT: usize = 10;

/// How much of a line is kept, in bytes: a line of log. The rest of a longer one goes nowhere.
const LINE_BYTES_MAX: usize = 1024;

/// The longest last words in the log, in characters.
const LOGGED_MAX: usize = 2000;

/// The longest last words that the holds of its groups tell, which are recorded: about two lines.
const TOLD_MAX: usize = 300;

/// The shortest value of a plugin's environment that may be a secret, in bytes. Shorter ones are in any text.
const SECRET_BYTES_MIN: usize = 6;

/// The end of a plugin that was not asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// Such as "it ended with exit status 3".
    how: String,
    /// Its last words, on one line. Empty: it said nothing.
    words: String,
}

impl End {
    pub(super) fn new(how: impl Into<String>) -> Self {
        let words = String::new();
        Self {
            how: how.into(),
            words,
        }
    }

    /// The end of a process that nobody ended.
    pub(super) fn of_itself(status: ExitStatus) -> Self {
        // As in "exit status: 3" and "signal: 9 (SIGKILL)".
        let shown = status.to_string().replacen(": ", " ", 1);
        Self::new(match status.signal() {
            Some(_) => format!("it was killed by {shown}"),
            None => format!("it ended with {shown}"),
        })
    }

    pub(super) fn saying(self, words: String) -> Self {
        Self { words, ..self }
    }

    /// Adds what came on top of it.
    pub(super) fn and(self, error: &std::io::Error) -> Self {
        let how = format!("{}; {error}", self.how);
        Self { how, ..self }
    }

    /// Returns it for the log.
    pub(super) fn logged(&self) -> String {
        match last(&self.words, LOGGED_MAX).as_str() {
            "" => self.how.clone(),
            words => format!("{}; its last words: {words}", self.how),
        }
    }

    /// Returns it for the errors of those who call the plugin, and so for what is recorded: with the longest wait for the next
    /// start instead of the present one, and without the values of its environment.
    pub(super) fn told(&self, environment: &BTreeMap<String, String>) -> String {
        let how = &self.how;
        let wait = format_duration(BACKOFF.1);
        let told = format!("{how}; it is started again within {wait}");
        let words = without_values(&self.words, environment);
        match last(&words, TOLD_MAX).as_str() {
            "" => told,
            words => format!("{told}; its last words: {words}"),
        }
    }

    /// Returns whether it is the same trouble again. Times, process ids and the like in its words are of one start only.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let plain = |words: &str| -> Vec<String> {
            let words = words.split_whitespace();
            let varies = |word: &str| word.contains(|c: char| c.is_ascii_digit());
            words
                .map(|word| if varies(word) { "#" } else { word }.to_owned())
                .collect()
        };
        self.how == other.how && plain(&self.words) == plain(&other.words)
    }
}

/// Returns the last so many characters, and whole words of them where something is left out.
fn last(words: &str, chars_max: usize) -> String {
    let left_out = words.chars().count().saturating_sub(chars_max);
    if left_out == 0 {
        return words.to_owned();
    }
    let kept: String = words.chars().skip(left_out).collect();
    let whole = kept.split_once(' ').map_or(kept.as_str(), |(_, rest)| rest);
    format!("… {whole}")
}

/// Returns words with the names of variables instead of their values, which may be secrets.
fn without_values(words: &str, environment: &BTreeMap<String, String>) -> String {
    let mut words = words.to_owned();
    for (name, value) in environment {
        if value.len() >= SECRET_BYTES_MIN {
            words = words.replace(value, &format!("${name}"));
        }
    }
    words
}

/// What a plugin prints: each line to the log at `debug`, the last ones kept for the report of its end.
pub(super) struct Output {
    lines: Arc<Mutex<VecDeque<String>>>,
    reading: Option<JoinHandle<()>>,
}

impl Output {
    pub(super) fn of(child: &mut Child, name: &str) -> Self {
        let lines: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let reading = child.stderr.take().map(|stderr| {
            let (lines, name) = (Arc::clone(&lines), name.to_owned());
            tokio::spawn(async move {
                let mut reader = BufReader::new(stderr);
                while let Some(line) = next_line(&mut reader).await {
                    debug!(plugin = name, line, "plugin says");
                    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                    if lines.len() == LINES_KEPT {
                        lines.pop_front();
                    }
                    lines.push_back(line);
                }
            })
        });
        Self { lines, reading }
    }

    /// Returns the last lines as one.
    pub(super) async fn last(mut self) -> String {
        if let Some(reading) = self.reading.take() {
            // What it started may hold the pipe open for ever.
            let _ = tokio::time::timeout(Duration::from_millis(200), reading).await;
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let said = lines.iter().map(String::as_str);
        let said: Vec<&str> = said.filter(|line| !line.is_empty()).collect();
        said.join(" | ")
    }
}

/// Reads a line, and of a long one the beginning. None: nothing follows.
async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line: Vec<u8> = Vec::new();
    let mut length = 0;
    loop {
        let part = reader.fill_buf().await.ok()?;
        if part.is_empty() && length == 0 {
            return None;
        }
        let end = part.iter().position(|&byte| byte == b'\n');
        let used = end.unwrap_or(part.len());
        let room = LINE_BYTES_MAX - line.len();
        line.extend_from_slice(&part[..used.min(room)]);
        length += used;
        let is_last = end.is_some() || part.is_empty();
        reader.consume(used + usize::from(end.is_some()));
        if is_last {
            break;
        }
    }
    let mut text = plain(&String::from_utf8_lossy(&line));
    if length > LINE_BYTES_MAX {
        text.push_str(" …");
    }
    Some(text)
}

/// Returns a line without colours and other characters that a terminal would obey.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut characters = line.trim_end().chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                // A sequence ends with its first letter.
                let _ = characters.find(char::is_ascii_alphabetic);
            }
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests;
