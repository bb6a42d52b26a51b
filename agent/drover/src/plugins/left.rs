//! The processes of a plugin, which are a group, and what an agent that was killed left of them: known by the
//! id of the process that it started, and when it did.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drover_spec::agent_config::PluginConfig;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::SOCKET_VARIABLE;

/// How long a group may take to end when it is asked to, and when it is killed.
const WAITS: [(Signal, Duration); 2] = [
    (Signal::TERM, Duration::from_secs(5)),
    (Signal::KILL, Duration::from_secs(5)),
];

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The record of one plugin's process.
#[derive(Debug)]
pub(super) struct Left {
    path: PathBuf,
    socket: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The record's own file: a copy of it speaks of somebody else's process. None: an older drover wrote it.
    owner: Option<PathBuf>,
    /// The socket that the process was told.
    socket: Option<PathBuf>,
    pid: i32,
    /// When the process started, in clock ticks since the machine did.
    started: u64,
    /// Which start of the machine that was.
    boot: String,
}

impl Left {
    /// The record in the file `path` of a plugin that is told `socket`.
    pub(super) fn new(path: PathBuf, socket: PathBuf) -> Self {
        Self { path, socket }
    }

    /// Returns the records in a folder that are of none of `plugins`.
    pub(super) fn unowned(records: &Path, sockets: &Path, plugins: &[PluginConfig]) -> Vec<Self> {
        let entries = fs::read_dir(records).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let unowned = paths.filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
            let owned = plugins.iter().any(|plugin| plugin.name == name);
            let socket = sockets.join(name);
            (!owned).then_some(Self { path, socket })
        });
        unowned.collect()
    }

    /// Returns the record's file by its one name.
    fn owner(&self) -> io::Result<PathBuf> {
        let (folder, name) = (self.path.parent(), self.path.file_name());
        let missing = || io::Error::other("a record without a folder");
        let folder = fs::canonicalize(folder.ok_or_else(missing)?)?;
        Ok(folder.join(name.ok_or_else(missing)?))
    }

    /// Writes down who runs. What has ended already leaves nothing behind.
    pub(super) fn note(&self, pid: Pid) -> io::Result<()> {
        let Ok(process) = Process::read(pid.as_raw_pid()) else {
            return Ok(());
        };
        let record = Record {
            owner: Some(self.owner()?),
            socket: Some(self.socket.clone()),
            pid: pid.as_raw_pid(),
            started: process.started,
            boot: boot()?,
        };
        let unfinished = self.path.with_extension("new");
        fs::write(&unfinished, serde_json::to_vec(&record)?)?;
        fs::rename(&unfinished, &self.path)
    }

    /// Forgets who ran.
    pub(super) fn forget(&self) {
        // One that stays names a process that is gone, which is found out.
        let _ = fs::remove_file(&self.path);
    }

    /// Ends what a former agent left running: the process that it started, and all of its group, and removes the socket. A
    /// record that cannot be read, is a copy of another agent's, or names a process that is gone or another one by now, ends
    /// nothing.
    ///
    /// Where the process itself is gone, its group is the plugin's if one of it has the plugin's socket
    /// in its environment: a number is given to nobody else while a group has it.
    pub(super) async fn end(&self) -> io::Result<()> {
        let Ok(bytes) = fs::read(&self.path) else {
            return Ok(());
        };
        if let Ok(record) = serde_json::from_slice::<Record>(&bytes)
            && record.boot == boot().unwrap_or_default()
        {
            let own = record.owner.is_some() && record.owner == self.owner().ok();
            let socket = record.socket.as_ref().filter(|_| own);
            let socket = socket.unwrap_or(&self.socket);
            let runs = record.is_ours(socket, own);
            if runs {
                tracing::info!(pid = record.pid, "plugin of a former agent is ended");
                end_group(record.pid).await?;
            }
            if runs || own {
                remove_dead(socket);
            }
        }
        self.forget();
        Ok(())
    }
}

/// Removes a socket on which nobody listens.
fn remove_dead(socket: &Path) {
    let is_socket = |entry: fs::Metadata| entry.file_type().is_socket();
    if fs::symlink_metadata(socket).is_ok_and(is_socket) && UnixStream::connect(socket).is_err() {
        // One that stays only misleads.
        let _ = fs::remove_file(socket);
    }
}

impl Record {
    /// Returns whether the process, or what it left of its group, was started by who has this record. `own` says that the
    /// record was written where it is; of another one only what serves on our `socket` is ours.
    fn is_ours(&self, socket: &Path, own: bool) -> bool {
        match Process::read(self.pid) {
            Ok(leader) => leader.started == self.started && (own || leader.serves(socket)),
            // It has ended; what it started may go on.
            Err(_) => members(self.pid)
                .iter()
                .any(|member| member.started >= self.started && member.serves(socket)),
        }
    }
}

/// Ends every process of a group: asked to, and killed after the grace period. Returns when all have ended,
/// reaped or not.
///
/// The caller knows whose the group is: its leader lives or is not reaped yet, or one of it is known.
pub(super) async fn end_group(group: i32) -> io::Result<()> {
    for (signal, limit) in WAITS {
        let deadline = tokio::time::Instant::now() + limit;
        let mut told = BTreeSet::new();
        loop {
            let living = members(group);
            if living.is_empty() {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                break;
            }
            // Again and again, since what ends may just have started another one. Each is told once.
            for member in living {
                if told.insert((member.pid, member.started)) {
                    member.signal(signal);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Err(io::Error::other(format!(
        "processes of group {group} do not end"
    )))
}

/// Returns the processes of a group that have not ended.
fn members(group: i32) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let processes = pids.filter_map(|pid| Process::read(pid).ok());
    processes.filter(|process| process.group == group).collect()
}

/// A process that has not ended.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    group: i32,
    /// When it started, in clock ticks since the machine did.
    started: u64,
}

impl Process {
    /// Reads what is known of a process. One that has ended and is not reaped yet counts as gone.
    fn read(pid: i32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let form = || io::Error::other("unexpected form of /proc/<pid>/stat");
        let (_, after_name) = text.rsplit_once(')').ok_or_else(form)?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        if matches!(fields.first(), Some(&("Z" | "X"))) {
            return Err(io::Error::other("it has ended"));
        }
        // The first one here is field 3 of the line, counted from one: pgrp is 5, starttime is 22.
        let group = fields.get(2).ok_or_else(form)?;
        let started = fields.get(19).ok_or_else(form)?;
        Ok(Self {
            pid,
            group: group.parse().map_err(|_| form())?,
            started: started.parse().map_err(|_| form())?,
        })
    }

    /// Sends `signal` to this process and to no other that has its number by now.
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid);
        // The handle is taken before the process is looked at, so it is the one that is looked at.
        if let Some(handle) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
            && Self::read(self.pid).is_ok_and(|now| now == *self)
        {
            // One that has ended in between is what is wanted.
            let _ = pidfd_send_signal(&handle, signal);
        }
    }

    /// Returns whether it was started to serve on `socket`.
    fn serves(&self, socket: &Path) -> bool {
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        let mut variable = format!("{SOCKET_VARIABLE}=").into_bytes();
        variable.extend_from_slice(socket.as_os_str().as_bytes());
        environment
            .split(|byte| *byte == 0)
            .any(|it| it == variable)
    }
}

fn boot() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
}
