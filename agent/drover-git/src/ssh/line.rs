//! The connections to a host, each kept from one conversation to the next ones of the same pass: a listing, a fetch and a push
//! are programs that run one after the other on channels of one connection.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use russh::Channel;
use russh::client::{Handle, Msg};
use tokio::runtime::Runtime;

use super::host::Client;
use super::{Ssh, connect};
use crate::error::{Cause, GitError};
use crate::files::{self, Stamp};
use crate::session::Session;
use crate::ssh_options::SshIdentity;

/// How long a connection is kept for the next conversation. A pass has its pauses; hosts end what is quiet for longer.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// The longest wait for a channel on a connection that was kept: another one is made then.
const CHANNEL_LIMIT: Duration = Duration::from_secs(5);

/// A connection on which the host has let us in.
pub(super) struct Line {
    // Dropped before the runtime that drives it.
    handle: Handle<Client>,
    pub(super) runtime: Runtime,
    terms: Terms,
}

/// What a connection rests on. It is not used for anything else, nor once a file has changed.
#[derive(Clone, PartialEq, Eq)]
struct Terms {
    identity: Option<SshIdentity>,
    known_hosts: Vec<PathBuf>,
    stamps: Vec<Stamp>,
}

impl Terms {
    fn of(ssh: &Ssh) -> Self {
        let identity = ssh.identity().cloned();
        let known_hosts = ssh.options.known_hosts.clone();
        let mut paths: Vec<&Path> = known_hosts.iter().map(PathBuf::as_path).collect();
        match &identity {
            Some(SshIdentity::KeyFile { path, passphrase }) => {
                paths.push(path);
                paths.extend(passphrase.as_deref());
            }
            Some(SshIdentity::Agent { socket }) => paths.push(socket),
            None => {}
        }
        let stamps = files::stamps(&paths);
        Self {
            identity,
            known_hosts,
            stamps,
        }
    }
}

/// The connections of one remote that wait for their next conversation: at most one to read with and one to write with.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<(Line, Instant)>>>);

impl Lines {
    fn all(&self) -> MutexGuard<'_, Vec<(Line, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how long the thread may sleep before [`Lines::tidy`] has something to do. None: for ever.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        let lines = self.all();
        let oldest = lines.iter().map(|(_, since)| *since).min()?;
        Some((oldest + KEPT_FOR).saturating_duration_since(Instant::now()))
    }

    /// Ends the connections that nobody has used for a while.
    pub(crate) fn tidy(&self) {
        self.all().retain(|(_, since)| since.elapsed() < KEPT_FOR);
    }

    /// Keeps a connection on which nothing runs any more.
    pub(super) fn keep(&self, line: Line) {
        let mut lines = self.all();
        lines.retain(|(kept, _)| kept.terms.identity != line.terms.identity);
        if !line.handle.is_closed() {
            lines.push((line, Instant::now()));
        }
    }

    /// Takes the connection that was kept on these terms.
    fn take(&self, terms: &Terms) -> Option<Line> {
        self.tidy();
        let mut lines = self.all();
        let position = lines.iter().position(|(line, _)| line.terms == *terms)?;
        Some(lines.swap_remove(position).0)
    }
}

/// A program at the other end that has begun.
pub(super) struct Begun {
    pub(super) channel: Channel<Msg>,
    pub(super) line: Line,
    /// Whether the connection served another conversation before.
    pub(super) kept: bool,
}

/// Starts `program` on the repository: on the connection that was kept, if it still takes one.
pub(super) fn begin(session: &Session, ssh: &Ssh, program: &str) -> Result<Begun, GitError> {
    if let Some(line) = ssh.lines.take(&Terms::of(ssh)) {
        let limit = CHANNEL_LIMIT.min(session.timeout());
        let started = line.runtime.block_on(async {
            let start = connect::start(session, ssh, program, &line.handle);
            tokio::time::timeout(limit, start).await
        });
        if let Ok(Ok(channel)) = started {
            return Ok(Begun {
                channel,
                line,
                kept: true,
            });
        }
    }
    anew(session, ssh, program)
}

/// The same on a connection of its own.
pub(super) fn anew(session: &Session, ssh: &Ssh, program: &str) -> Result<Begun, GitError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| GitError::Unreachable {
            url: session.url(),
            source: Cause(source.to_string()),
        })?;
    // Before the files are read: what changes meanwhile is noticed the next time.
    let terms = Terms::of(ssh);
    let (handle, channel) = runtime.block_on(connect::open(session, ssh, program))?;
    let line = Line {
        handle,
        runtime,
        terms,
    };
    Ok(Begun {
        channel,
        line,
        kept: false,
    })
}
