//! What an agent remembers of the branch that it publishes to, in a file of its data directory: the
//! commit that it published last. A history that does not hold that commit is another one, however
//! well it proves itself.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use drover_model::Timestamp;
use serde::{Deserialize, Serialize};

/// Rewrites that are remembered, the latest last.
const REWRITES_MAX: usize = 32;

/// The file in the data directory.
pub const ANCHOR_FILE: &str = "audit-anchor.json";

/// The commit that an agent published last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anchor {
    /// The repository, without credentials.
    pub repository: String,
    /// The branch, in full.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// When it was published.
    pub time: String,
    /// What the agent found gone from the branch, and what was there instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewrites: Vec<Rewrite>,
}

/// A rewritten history, as the agent found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rewrite {
    /// The commit that had been published.
    pub was: String,
    /// The commit that the agent published next, on a history without it.
    pub now: String,
    /// When.
    pub time: String,
}

impl Anchor {
    /// Reads the file of a data directory. None: there is none.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is damaged.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let anchor = serde_json::from_slice(&bytes);
        anchor
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Replaces the file as a whole.
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("texts encode");
        bytes.push(b'\n');
        // One agent writes it: the data directory is locked.
        let new = path.with_extension("new");
        let mut file = fs::File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    }
}

/// Remembers that `commit` was published. `contains` tells whether the history of the commit holds
/// another. Returns the commit that it lacks, where there is one.
pub(super) fn remember(
    path: &Path,
    (repository, branch): (&str, &str),
    commit: &str,
    at: Timestamp,
    contains: impl FnOnce(&str) -> bool,
) -> io::Result<Option<String>> {
    let known = Anchor::read(path)?;
    let known = known.filter(|known| known.repository == repository && known.branch == branch);
    let time = drover_spec::format_time(at);
    let mut anchor = Anchor {
        repository: repository.to_owned(),
        branch: branch.to_owned(),
        commit: commit.to_owned(),
        time: time.clone(),
        rewrites: Vec::new(),
    };
    let mut lost = None;
    if let Some(known) = known {
        anchor.rewrites = known.rewrites;
        if known.commit != commit && !contains(&known.commit) {
            lost = Some(known.commit.clone());
            anchor.rewrites.push(Rewrite {
                was: known.commit,
                now: commit.to_owned(),
                time,
            });
            let over = anchor.rewrites.len().saturating_sub(REWRITES_MAX);
            anchor.rewrites.drain(..over);
        }
    }
    anchor.write(path)?;
    Ok(lost)
}
