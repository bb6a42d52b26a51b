//! A file with values.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use drover_model::Timestamp;
use rustix::fs::OFlags;

use super::Why;
use super::document::{BYTES_MAX, Values};

/// Reads the file, which may be replaced at any time.
pub(super) async fn read(path: PathBuf) -> Result<Values, Why> {
    let read = tokio::task::spawn_blocking(move || read_here(&path)).await;
    read.unwrap_or_else(|_| Err("internal error while reading".to_owned()))
}

fn read_here(path: &Path) -> Result<Values, Why> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("cannot read {shown}: {error}");
    // A pipe without a writer would keep the thread for ever.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    if !facts.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    let written = facts.modified().map_err(failed)?;
    let written =
        Timestamp::try_from(written).map_err(|_| format!("{shown} has no usable time"))?;
    let mut bytes = Vec::new();
    // One byte more than allowed, so that too much is noticed.
    let mut file = file.take(BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(failed)?;
    Values::parse(&bytes, written)
}
