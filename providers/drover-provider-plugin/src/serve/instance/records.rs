//! What is kept of instances beside the provider, in one file for each, by its token.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use drover_model::Token;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{GROUP_TAG, Made};

/// Between token and group in the name of a file: in neither of them.
const GROUP_SEPARATOR: char = '@';

/// The longest group that is part of a file's name: with a token and the endings, far below what file systems take.
const GROUP_LENGTH_MAX: usize = 100;

/// What is kept of an instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Record {
    pub(super) tags: BTreeMap<String, String>,
    pub(super) logical_id: Option<String>,
    pub(super) spec: Json,
    /// What it was made as, where listings may be behind. None: not yet, or by an earlier release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made: Option<Made>,
}

/// Why nothing is known of an instance.
#[derive(Debug)]
pub(super) struct Unread {
    path: PathBuf,
    why: String,
    /// The group that it was made for. None: any, or none.
    pub(super) group: Option<String>,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

/// A file, and what its name says.
#[derive(Debug, Clone)]
struct Entry {
    path: PathBuf,
    group: Option<String>,
}

/// The files that there are, by the tokens of their instances.
#[derive(Debug)]
pub(super) struct Files<'a> {
    records: &'a Records,
    entries: BTreeMap<String, Entry>,
}

/// A folder of records.
#[derive(Debug)]
pub(super) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Looks at the names of the files: `TOKEN.json`, or `TOKEN@GROUP.json` of what was made for a group and never
    /// moved to another one.
    pub(super) fn files(&self) -> io::Result<Files<'_>> {
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let Some(stem) = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_suffix(".json"))
            else {
                continue;
            };
            let (token, group) = match stem.split_once(GROUP_SEPARATOR) {
                Some((token, group)) => (token.to_owned(), Some(group.to_owned())),
                None => (stem.to_owned(), None),
            };
            entries.insert(token, Entry { path, group });
        }
        Ok(Files {
            records: self,
            entries,
        })
    }

    fn plain_path(&self, token: &Token) -> PathBuf {
        self.folder.join(format!("{token}.json"))
    }

    /// Writes a record: after a crash of the machine the file is the former one or this one, whole.
    pub(super) fn save(&self, token: &Token, record: &Record) -> io::Result<()> {
        let group = record.tags.get(GROUP_TAG).filter(|name| is_plain(name));
        let files = self.files()?;
        let path = match (files.entries.get(token.as_str()), group) {
            (None, None) => self.plain_path(token),
            (None, Some(group)) => {
                let name = format!("{token}{GROUP_SEPARATOR}{group}.json");
                self.folder.join(name)
            }
            (Some(entry), group) if entry.group.is_none() || entry.group.as_ref() == group => {
                entry.path.clone()
            }
            // Moved to another group: the name must say nothing before the file does.
            (Some(entry), _) => {
                let plain = self.plain_path(token);
                fs::rename(&entry.path, &plain)?;
                plain
            }
        };
        let unfinished = path.with_extension("new");
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        // Before the rename: otherwise the new name may come to stand for an empty file.
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        // The name itself: an instance is made next, and must not outlive it.
        File::open(&self.folder)?.sync_all()
    }

    /// Forgets an instance that is gone. A file that stays is nobody's, and does no harm.
    pub(super) fn remove(&self, token: &Token) {
        let files = self.files().ok();
        let entry = files
            .as_ref()
            .and_then(|files| files.entries.get(token.as_str()));
        if let Some(entry) = entry {
            let _ = fs::remove_file(&entry.path);
        }
    }
}

impl Files<'_> {
    /// Returns what all that can be read was made as, by its token.
    pub(super) fn made(&self) -> Vec<(Token, Made)> {
        let tokens = self.entries.keys();
        let tokens = tokens.filter_map(|token| Token::parse(token).ok());
        let made = tokens.filter_map(|token| Some((token.clone(), self.load(&token).ok()?.made?)));
        made.collect()
    }

    pub(super) fn load(&self, token: &Token) -> Result<Record, Unread> {
        let entry = self.entries.get(token.as_str()).cloned();
        let Entry { path, group } = entry.unwrap_or_else(|| Entry {
            path: self.records.plain_path(token),
            group: None,
        });
        let read = fs::read(&path).map_err(|error| error.to_string());
        let record = read.and_then(|bytes| {
            serde_json::from_slice(&bytes).map_err(|error| format!("no record: {error}"))
        });
        record.map_err(|why| Unread { path, why, group })
    }
}

/// Returns whether a group's name can be part of a file's.
fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    (1..=GROUP_LENGTH_MAX).contains(&name.len()) && name.chars().all(is_plain)
}
