//! An instance's log: two files, of which the older one is dropped when the newer one is full, so
//! that never more than the limit and never less than half of it is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes what an instance prints.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    /// Most bytes in one of the two files.
    half: u64,
    file: Option<File>,
    written: u64,
}

impl LogWriter {
    pub(crate) fn new(path: PathBuf, limit: u64) -> Self {
        Self {
            path,
            half: (limit / 2).max(1),
            file: None,
            written: 0,
        }
    }

    /// Appends. What cannot be written is lost: a full disk must not stop the instance.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.written >= self.half {
                self.file = None;
                self.written = 0;
                let _ = fs::rename(&self.path, older(&self.path));
            }
            let room = usize::try_from(self.half - self.written).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if self.append(now).is_err() {
                return;
            }
            self.written += now.len() as u64;
            bytes = later;
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&self.path)?;
            self.written = file.metadata()?.len();
            self.file = Some(file);
        }
        self.file
            .as_mut()
            .map_or(Ok(()), |file| file.write_all(bytes))
    }
}

fn older(path: &Path) -> PathBuf {
    path.with_extension("1")
}

/// Returns the last `lines` lines, oldest first. Reads from the end, so that a large log costs no
/// more memory than what is asked for.
pub(crate) fn tail(path: &Path, lines: usize) -> io::Result<String> {
    let mut budget = FIRST_READ;
    loop {
        let mut bytes = read_end(path, budget)?;
        let older = read_end(&older(path), budget - bytes.len() as u64)?;
        let whole = ((bytes.len() + older.len()) as u64) < budget;
        bytes.splice(0..0, older);
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        // Unless it is the whole log, the first line may be cut, so one more is needed.
        if !whole && all.len() <= lines {
            budget *= 8;
            continue;
        }
        let mut tail = String::new();
        for line in &all[all.len().saturating_sub(lines)..] {
            tail.push_str(line);
            tail.push('\n');
        }
        return Ok(tail);
    }
}

/// Bytes of the log that are read at first: some hundreds of lines.
const FIRST_READ: u64 = 64 * 1_024;

/// Returns the last bytes of a file, at most `most`. A file that does not exist is empty.
fn read_end(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the end of `text` as one short message: its last lines, no longer than fits a listing.
pub(crate) fn digest(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(MESSAGE_LINES)..].join("\n");
    let start = last.len().saturating_sub(MESSAGE_BYTES_MAX);
    let start = (start..=last.len()).find(|at| last.is_char_boundary(*at));
    last[start.unwrap_or(0)..].to_owned()
}

/// Lines of the log in an exit report: what a shell error and its cause usually take.
const MESSAGE_LINES: usize = 5;
/// Most bytes of them: reports travel in listings, events and commits.
const MESSAGE_BYTES_MAX: usize = 1_000;

#[cfg(test)]
mod tests;
