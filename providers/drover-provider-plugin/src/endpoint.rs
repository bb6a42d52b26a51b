//! Where plugins are found: InfraKit's discovery by files in a folder.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::absences::Absences;

/// The largest `.listen` file that is read: it holds one URL.
const LISTEN_BYTES_MAX: u64 = 4 * 1024;

/// The ending of files that hold the address of a plugin elsewhere.
const LISTEN: &str = ".listen";

/// A plugin's name as documents write it: the file in the plugins' folder, and what of it is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginName {
    /// The name of the socket, or of the `.listen` file without its ending.
    pub lookup: String,
    /// Which of the plugin's objects. Empty: the plugin is one object.
    pub subtype: String,
}

/// Why a text is no plugin's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not the name of a plugin, such as `simulator` or `simulator/compute`")]
pub struct PluginNameError;

impl FromStr for PluginName {
    type Err = PluginNameError;

    /// Splits at the first `/`, as InfraKit does. The lookup is one file name, so that no document
    /// leads out of the folder.
    fn from_str(text: &str) -> Result<Self, PluginNameError> {
        let (lookup, subtype) = match text.split_once('/') {
            Some((_, "")) => return Err(PluginNameError),
            Some(parts) => parts,
            None => (text, ""),
        };
        let names_a_file = !lookup.is_empty() && lookup != "." && lookup != "..";
        if !names_a_file || text.contains(|c: char| c.is_control()) {
            return Err(PluginNameError);
        }
        Ok(Self {
            lookup: lookup.to_owned(),
            subtype: subtype.to_owned(),
        })
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lookup)?;
        if self.subtype.is_empty() {
            return Ok(());
        }
        write!(f, "/{}", self.subtype)
    }
}

/// Where a plugin listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// A host and port.
    Tcp(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

/// Why a plugin is not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Neither a socket nor a `.listen` file of that name.
    #[error("there is no socket {name} and no file {name}.listen in {}", folder.display())]
    Missing {
        /// The lookup.
        name: String,
        /// The folder.
        folder: PathBuf,
    },
    /// The `.listen` file does not hold an address.
    #[error("{} does not hold an address such as tcp://127.0.0.1:9000", path.display())]
    Address {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

/// The folder that plugins are found in. It is read anew for each look-up: plugins come and go.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    /// Where sockets are looked for first.
    started: Option<PathBuf>,
    absences: Absences,
}

/// The same folder: what is said of those who are not there is no part of it.
impl PartialEq for Directory {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.started) == (&other.path, &other.started)
    }
}

impl Eq for Directory {}

impl Directory {
    /// Uses this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            started: None,
            absences: Absences::default(),
        }
    }

    /// Says who tells why plugins of this folder do not run.
    #[must_use]
    pub fn knowing(self, absences: Absences) -> Self {
        Self { absences, ..self }
    }

    /// Looks for sockets in `started` first: those of plugins that were started for who asks, beside those that run for
    /// everybody.
    #[must_use]
    pub fn beside(self, started: PathBuf) -> Self {
        Self {
            started: Some(started),
            ..self
        }
    }

    /// Returns what is known of those that do not run.
    pub fn absences(&self) -> &Absences {
        &self.absences
    }

    /// Uses the folder that InfraKit uses: `$INFRAKIT_PLUGINS_DIR`, else `$INFRAKIT_HOME/plugins`,
    /// else `~/.infrakit/plugins`. `variable` reads the environment.
    pub fn of_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        if let Some(dir) = set("INFRAKIT_PLUGINS_DIR") {
            return Self::new(dir);
        }
        let home = match set("INFRAKIT_HOME") {
            Some(home) => PathBuf::from(home),
            None => PathBuf::from(set("HOME").unwrap_or_default()).join(".infrakit"),
        };
        Self::new(home.join("plugins"))
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finds a plugin by its lookup. A socket wins over a `.listen` file of the same name.
    ///
    /// # Errors
    ///
    /// See [`FindError`].
    pub fn find(&self, lookup: &str) -> Result<Endpoint, FindError> {
        if let Some(started) = &self.started
            && let socket = started.join(lookup)
            && fs::symlink_metadata(&socket).is_ok_and(|entry| entry.file_type().is_socket())
        {
            return Ok(Endpoint::Unix(socket));
        }
        let socket = self.path.join(lookup);
        // As InfraKit has it: the entry itself counts, so a link to a socket is none.
        match fs::symlink_metadata(&socket) {
            Ok(entry) if entry.file_type().is_socket() => return Ok(Endpoint::Unix(socket)),
            Ok(_) => {}
            Err(error) if is_missing(&error) => {}
            Err(source) => {
                return Err(FindError::Read {
                    path: socket,
                    source,
                });
            }
        }
        let path = self.path.join(format!("{lookup}{LISTEN}"));
        listens(&path)?.ok_or_else(|| FindError::Missing {
            name: lookup.to_owned(),
            folder: self.path.clone(),
        })
    }

    /// Returns everything that is there, sorted by lookup: a socket and a `.listen` file of the same name are two.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub(crate) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let type_ = match entry.file_type() {
                Err(error) if is_missing(&error) => continue,
                type_ => type_?,
            };
            let listens = name.strip_suffix(LISTEN).filter(|_| type_.is_file());
            let (lookup, kind) = match listens {
                Some(lookup) => (lookup.to_owned(), EntryKind::Listen),
                None if type_.is_socket() => (name, EntryKind::Socket),
                None => continue,
            };
            let path = entry.path();
            entries.push(Entry { lookup, path, kind });
        }
        entries.sort();
        Ok(entries)
    }

    /// Returns the lookups of everything that is there, sorted.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let entries = self.entries()?.into_iter();
        let mut names: Vec<String> = entries.map(|entry| entry.lookup).collect();
        names.dedup();
        Ok(names)
    }
}

/// Something in a folder that a plugin may be behind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) lookup: String,
    pub(crate) path: PathBuf,
    kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum EntryKind {
    Socket,
    Listen,
}

/// A socket as long as the same listener is behind it: whoever binds there anew makes another file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SocketId {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Seconds and nanoseconds, as inodes are used again.
    changed: (i64, i64),
}

impl Entry {
    /// Returns which socket this is now. None: it is none, or has gone. Who listens behind an address may change
    /// without a trace, so that nothing is said of a `.listen` file.
    pub(crate) fn socket_id(&self) -> Option<SocketId> {
        if self.kind != EntryKind::Socket {
            return None;
        }
        let entry = fs::symlink_metadata(&self.path).ok()?;
        Some(SocketId {
            path: self.path.clone(),
            device: entry.dev(),
            inode: entry.ino(),
            changed: (entry.mtime(), entry.mtime_nsec()),
        })
    }

    /// Returns where the plugin listens. None: the entry has gone meanwhile.
    ///
    /// # Errors
    ///
    /// See [`FindError`].
    pub(crate) fn endpoint(&self) -> Result<Option<Endpoint>, FindError> {
        match self.kind {
            EntryKind::Socket => Ok(Some(Endpoint::Unix(self.path.clone()))),
            EntryKind::Listen => listens(&self.path),
        }
    }
}

/// Reads a `.listen` file. None: there is none.
fn listens(path: &Path) -> Result<Option<Endpoint>, FindError> {
    let path = path.to_owned();
    match fs::symlink_metadata(&path) {
        Ok(entry) if entry.is_file() && entry.len() <= LISTEN_BYTES_MAX => {}
        Ok(_) => return Err(FindError::Address { path }),
        Err(error) if is_missing(&error) => return Ok(None),
        Err(source) => return Err(FindError::Read { path, source }),
    }
    match fs::read_to_string(&path) {
        Ok(text) => match address(&text) {
            Some(endpoint) => Ok(Some(endpoint)),
            None => Err(FindError::Address { path }),
        },
        Err(error) if is_missing(&error) => Ok(None),
        Err(source) => Err(FindError::Read { path, source }),
    }
}

/// Returns whether nothing is there: only then is it known that no plugin is. What may not be looked at may be one.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Reads `tcp://host:port`; what follows the port is a path, which the protocol does not use.
fn address(text: &str) -> Option<Endpoint> {
    let (scheme, rest) = text.trim().split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = authority.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let plain = !host.is_empty() && !host.contains(['@', ' ']);
    (matches!(scheme, "tcp" | "http") && plain).then(|| Endpoint::Tcp(format!("{host}:{port}")))
}

#[cfg(test)]
mod tests;
