//! The clients of an account and region, and when their credentials are looked for anew.
//!
//! The SDK looks once, and keeps what it finds as long as that says it is valid: a key in a file is valid for ever. So
//! whoever corrects or replaces one is heard here: when a file of keys and profiles has changed, and after an answer that
//! refuses the credentials.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_ec2::Client;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::reached::Reached;

/// How long credentials that are refused are kept at least: a role that lacks a permission is refused at each call.
const KEPT: Duration = Duration::from_secs(30);

/// The files of keys and profiles: the variable that names each, and where it is without.
const FILES: [(&str, &str); 2] = [
    ("AWS_CONFIG_FILE", ".aws/config"),
    ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
];

/// The clients of the services that are asked.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) ec2: Client,
    pub(crate) scaling: aws_sdk_autoscaling::Client,
    /// Where calls of EC2 go, and those of EC2 Auto Scaling.
    pub(crate) reached: [Reached; 2],
}

/// The clients in use.
#[derive(Debug)]
pub(crate) struct Current {
    files: Vec<PathBuf>,
    /// See [`KEPT`].
    pub(crate) kept: Duration,
    made: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    clients: Clients,
    at: Instant,
    /// What the files were before they were read.
    files: Vec<Option<Version>>,
}

/// Which version of a file: when and how it was written. None: it cannot be looked at.
type Version = (i64, i64, u64, u64);

impl Current {
    /// Makes none yet. `variable` tells the environment.
    pub(crate) fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let home = variable("HOME").map(PathBuf::from);
        let files = FILES.iter().filter_map(|(name, otherwise)| {
            let written = variable(name).filter(|written| !written.is_empty());
            let Some(written) = written.map(PathBuf::from) else {
                return home.as_ref().map(|home| home.join(otherwise));
            };
            match (written.strip_prefix("~"), &home) {
                (Ok(below), Some(home)) => Some(home.join(below)),
                (Ok(_) | Err(_), _) => Some(written),
            }
        });
        Self {
            files: files.collect(),
            kept: KEPT,
            made: Mutex::default(),
        }
    }

    /// Returns the clients, made by `connect` where there are none, or the files have changed.
    pub(crate) async fn get<F>(&self, connect: impl FnOnce() -> F) -> Clients
    where
        F: Future<Output = Clients>,
    {
        let mut made = self.made.lock().await;
        // Looked at first: what is changed while it is read counts as changed.
        let files: Vec<_> = self.files.iter().map(|path| version(path)).collect();
        if let Some(made) = made.as_ref() {
            if made.files == files {
                return made.clients.clone();
            }
            tracing::info!("files of credentials changed, they are read again");
        }
        let clients = connect().await;
        *made = Some(Made {
            clients: clients.clone(),
            at: Instant::now(),
            files,
        });
        clients
    }

    /// Says that the credentials were refused: the next call looks for others, unless these are new.
    pub(crate) async fn refused(&self) {
        let mut made = self.made.lock().await;
        if let Some(old) = made.take_if(|made| made.at.elapsed() >= self.kept) {
            tracing::debug!(age = ?old.at.elapsed(), "credentials were refused, they are looked for again");
        }
    }
}

fn version(path: &Path) -> Option<Version> {
    let found = fs::metadata(path).ok()?;
    Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
}

#[cfg(test)]
mod tests;
