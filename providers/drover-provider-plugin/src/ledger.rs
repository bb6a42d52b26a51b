//! What was asked of a plugin that knows no tokens: written down before each call that makes something,
//! so that no call is made twice while nobody knows what became of the first one.
//!
//! One file of lines, each an entry that replaces the former one of its token. A line counts once it is
//! whole; the end of a line that was being written when the machine stopped is cut off. A line that cannot
//! be read otherwise means that the file is not ours to trust, and nothing is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drover_model::{Timestamp, Token};
use serde::{Deserialize, Serialize};

/// The file's name in its folder.
const FILE: &str = "ledger.jsonl";

/// The version of the file's form, in its first line. Since the second, entries say what was asked for.
const VERSION: u32 = 2;

/// The largest file that is read: some hundred thousand entries.
const BYTES_MAX: u64 = 256 << 20;

/// How long what is over is remembered: a call is repeated within minutes, and a week is beyond doubt.
const KEEP: Duration = Duration::from_hours(7 * 24);

/// Lines beside the entries in force before the file is written anew.
const SURPLUS_MAX: usize = 1_000;

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum State {
    /// It was, or may have been, sent. Nobody knows its outcome.
    Sent,
    /// The plugin said yes without a handle.
    Acked,
    /// The plugin said no. It may have made something all the same.
    Refused,
    /// The instance is known.
    Made,
    /// The plugin was asked to end the instance and agreed.
    Ended,
    /// Nothing was made.
    Failed,
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) token: String,
    /// The owner whose tags the call carried, as one text: another owner's call is another call.
    pub(crate) owner: String,
    /// The fingerprint of what the call asks for. None: it was written before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<String>,
    pub(crate) state: State,
    /// When the state began; in the file, in milliseconds since 1970.
    #[serde(with = "milliseconds")]
    pub(crate) at: Timestamp,
    /// The plugin's handle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// What the plugin said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// Whether a listing had it since this process began: from then on, absence means that it is gone.
    #[serde(skip)]
    pub(crate) seen: bool,
}

mod milliseconds {
    use drover_model::Timestamp;
    use serde::de::{Deserialize as _, Deserializer, Error as _};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(at.as_millisecond())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let number = i64::deserialize(from)?;
        Timestamp::from_millisecond(number).map_err(D::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
}

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} cannot be read at line {line}; what was asked of the plugin is not known without it", path.display())]
    Form { path: PathBuf, line: usize },
    #[error("{} has the form {version}, which a newer drover has written", path.display())]
    Newer { path: PathBuf, version: u32 },
}

/// The entries of one provider document. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    entries: BTreeMap<String, Entry>,
    /// The token of the entry that was written last, by the plugin's handle: plugins that name machines use a handle
    /// again, and what is known of the machine before says nothing of the one that has it now.
    latest: BTreeMap<String, String>,
    /// The tokens of what was made since this process began and no listing has had with its owner.
    unlisted: BTreeSet<String>,
    /// Lines of the file. 0: it is written anew before anything is added.
    lines: usize,
    /// Bytes of the file that are whole lines.
    whole: u64,
}

impl Ledger {
    /// Reads the ledger of a folder. Nothing is made before the first entry.
    pub(crate) fn open(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join(FILE);
        let mut inner = Inner {
            folder: folder.to_owned(),
            entries: BTreeMap::new(),
            latest: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            lines: 0,
            whole: 0,
        };
        let read = |source| LedgerError::Read {
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self(Arc::new(Mutex::new(inner))));
            }
            Err(error) => return Err(read(error)),
        };
        let mut text = String::new();
        let length = file
            .take(BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(read)?;
        if length as u64 > BYTES_MAX {
            return Err(read(io::Error::other("it is larger than 256 MiB")));
        }
        inner.read(&path, &text)?;
        Ok(Self(Arc::new(Mutex::new(inner))))
    }

    /// Returns what is known of a token.
    pub(crate) fn get(&self, token: &Token) -> Option<Entry> {
        self.lock(|inner| inner.entries.get(token.as_str()).cloned())
    }

    /// Takes note that a listing has what these tokens made.
    pub(crate) fn saw<'a>(&self, tokens: impl Iterator<Item = &'a String>) {
        self.lock(|inner| {
            for token in tokens {
                if let Some(entry) = inner.entries.get_mut(token) {
                    entry.seen = true;
                }
            }
        });
    }

    /// Returns what was made since this process began and no listing has had with its owner.
    pub(crate) fn unlisted(&self) -> Vec<Entry> {
        self.lock(|inner| {
            let entries = inner.unlisted.iter();
            let entries = entries.filter_map(|token| inner.entries.get(token));
            entries.cloned().collect()
        })
    }

    /// Returns the calls of which nobody knows what they have made.
    pub(crate) fn open_calls(&self) -> Vec<Entry> {
        self.lock(|inner| {
            let entries = inner.entries.values();
            let open = entries.filter(|entry| matches!(entry.state, State::Sent | State::Acked));
            open.cloned().collect()
        })
    }

    /// Takes note that a listing has what these tokens made, with its owner.
    pub(crate) fn listed<'a>(&self, tokens: impl Iterator<Item = &'a str>) {
        self.lock(|inner| {
            for token in tokens {
                inner.unlisted.remove(token);
            }
        });
    }

    /// Returns what was noted last of a plugin's handle.
    pub(crate) fn of_id(&self, id: &str) -> Option<Entry> {
        self.lock(|inner| inner.entries.get(inner.latest.get(id)?).cloned())
    }

    /// Writes an entry down. When it returns, the entry survives a crash.
    ///
    /// # Cancellation
    ///
    /// A dropped future leaves the entry written or not, never half.
    pub(crate) async fn note(&self, entry: Entry) -> Result<(), LedgerError> {
        let this = self.clone();
        let work = move || this.lock(|inner| inner.append(&entry));
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(LedgerError::Write {
                path: PathBuf::from(FILE),
                source: io::Error::other(error),
            }),
        }
    }

    /// Forgets what is over and long past: entries whose token is not among those of a complete listing.
    pub(crate) fn forget(&self, now: Timestamp, is_listed: impl Fn(&str) -> bool) {
        let keeps = |entry: &Entry| {
            now.duration_since(entry.at).unsigned_abs() < KEEP
                || is_listed(&entry.token)
                || !matches!(entry.state, State::Made | State::Ended | State::Failed)
        };
        self.lock(|inner| {
            let Inner {
                entries,
                latest,
                unlisted,
                ..
            } = inner;
            entries.retain(|_, entry| keeps(entry));
            latest.retain(|_, token| entries.contains_key(token));
            unlisted.retain(|token| entries.contains_key(token));
        });
    }

    fn lock<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn read(&mut self, path: &Path, text: &str) -> Result<(), LedgerError> {
        let end = text.rfind('\n').map_or(0, |at| at + 1);
        self.whole = end as u64;
        let mut is_older = false;
        for (number, line) in text[..end].lines().enumerate() {
            let form = |_| LedgerError::Form {
                path: path.to_owned(),
                line: number + 1,
            };
            self.lines += 1;
            if number == 0 {
                let Head { version } = serde_json::from_str(line).map_err(form)?;
                if version > VERSION {
                    let path = path.to_owned();
                    return Err(LedgerError::Newer { path, version });
                }
                is_older = version < VERSION;
                continue;
            }
            let entry: Entry = serde_json::from_str(line).map_err(form)?;
            if let Some(id) = &entry.id {
                self.latest.insert(id.clone(), entry.token.clone());
            }
            self.entries.insert(entry.token.clone(), entry);
        }
        if is_older {
            // Who knows only the older form must not find entries of this one under its head.
            self.lines = 0;
        }
        Ok(())
    }

    /// Returns whether nothing was written of an entry's handle since.
    fn is_latest(&self, entry: &Entry) -> bool {
        let id = entry.id.as_ref();
        id.is_some_and(|id| self.latest.get(id) == Some(&entry.token))
    }

    fn append(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        let path = self.folder.join(FILE);
        let replaced = self.entries.insert(entry.token.clone(), entry.clone());
        if entry.state == State::Made {
            self.unlisted.insert(entry.token.clone());
        } else {
            self.unlisted.remove(&entry.token);
        }
        let handle = entry.id.clone();
        let latest = handle.map(|id| (id.clone(), self.latest.insert(id, entry.token.clone())));
        let written = if self.lines == 0 || self.lines > 2 * self.entries.len() + SURPLUS_MAX {
            self.rewrite(&path)
        } else {
            self.append_line(&path, entry)
        };
        written.map_err(|source| {
            // Not durable, so not known either.
            match replaced {
                Some(before) => self.entries.insert(before.token.clone(), before),
                None => self.entries.remove(&entry.token),
            };
            match latest {
                Some((id, Some(before))) => self.latest.insert(id, before),
                Some((id, None)) => self.latest.remove(&id),
                None => None,
            };
            LedgerError::Write { path, source }
        })
    }

    fn append_line(&mut self, path: &Path, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().append(true).open(path)?;
        // What a crash, or a disk that was full, left of a line.
        file.set_len(self.whole)?;
        file.write_all(&line)?;
        file.sync_data()?;
        self.whole += line.len() as u64;
        self.lines += 1;
        Ok(())
    }

    /// Writes the whole file anew, and replaces the former one by a rename.
    fn rewrite(&mut self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut bytes = serde_json::to_vec(&Head { version: VERSION })?;
        bytes.push(b'\n');
        // What was written last of a handle stays behind what was written of it before.
        for last in [false, true] {
            let entries = self.entries.values();
            for entry in entries.filter(|entry| self.is_latest(entry) == last) {
                serde_json::to_writer(&mut bytes, entry)?;
                bytes.push(b'\n');
            }
        }
        let unfinished = path.with_extension("new");
        let mut file = File::create(&unfinished)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(&self.folder)?.sync_all()?;
        self.whole = bytes.len() as u64;
        self.lines = self.entries.len() + 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
