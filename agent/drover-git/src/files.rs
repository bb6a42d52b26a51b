//! Small files of the agent's configuration: keys, lists of keys, passwords. Read anew for each use,
//! so that a rotated file takes effect without a restart.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

/// Reads a file of at most `max` bytes; a pipe or a device does not fool the limit.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let message = format!("it is larger than {} KiB", max >> 10);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// What tells one content of a file from the next without reading it.
pub(crate) type Stamp = Option<(u64, u64, SystemTime)>;

/// Returns the stamps of files; a file that is not there has none.
pub(crate) fn stamps(paths: &[&Path]) -> Vec<Stamp> {
    let stamp = |path: &&Path| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.ino(), facts.len(), facts.modified().ok()?))
    };
    paths.iter().map(stamp).collect()
}

/// Reads a text file of at most `max` bytes.
pub(crate) fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
    String::from_utf8(read(path, max)?).map_err(not_text)
}
