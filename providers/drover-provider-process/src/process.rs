//! Who a process is, by what the kernel says. A pid is reused; a pid with its start time within one
//! boot is not.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid,
};
use serde::{Deserialize, Serialize};

/// A process within one boot of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub(crate) started: u64,
}

impl ProcessId {
    /// Returns who has `pid` now.
    pub(crate) fn of(pid: Pid) -> io::Result<Self> {
        let pid = pid.as_raw_pid();
        let stat = stat(pid)?;
        Ok(Self {
            pid,
            started: stat.started,
        })
    }

    /// Returns whether the very same process still runs.
    pub(crate) fn is_alive(self) -> bool {
        stat(self.pid).is_ok_and(|stat| stat.started == self.started && !stat.ended)
    }
}

struct Stat {
    name: String,
    parent: i32,
    started: u64,
    ended: bool,
}

fn stat(pid: i32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::other("unexpected form of /proc/<pid>/stat"))
}

/// Parses `pid (name) state ppid ... starttime ...`; the name may hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (before, after_name) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // starttime is field 22 of the line, counted from one; state is field 3.
    let started = fields.nth(22 - 3 - 2)?.parse().ok()?;
    Some(Stat {
        name: name.to_owned(),
        parent,
        started,
        ended: matches!(state, "Z" | "X" | "x"),
    })
}

/// Returns the machine's boot id.
pub(crate) fn boot_id() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

/// Returns the children of a process, reading every process there is: the kernel's own list of
/// children is not compiled into every kernel.
pub(crate) fn children_of(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_pid();
    let is_child = |pid: &i32| stat(*pid).is_ok_and(|stat| stat.parent == parent && !stat.ended);
    let children = pids().into_iter().filter(is_child);
    children.filter_map(Pid::from_raw).collect()
}

/// Collects shims that have ended and that the kernel made this process the parent of: an agent that
/// is the first process of a container has no other process to do it.
///
/// Only shims: a child that this process started itself belongs to whoever waits for it, and none of
/// those has that name.
pub(crate) fn reap_shims() {
    let own = std::process::id().cast_signed();
    for pid in pids() {
        let ours = |stat: &Stat| stat.parent == own && stat.ended && stat.name == SHIM_NAME;
        if stat(pid).is_ok_and(|stat| ours(&stat)) {
            let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
        }
    }
}

/// The name of keeping shims in lists of processes.
pub(crate) const SHIM_NAME: &str = "drover-shim";

fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Kills what is left of an instance whose shim was killed: the process that the shim recorded, and
/// every process that still has the instance's data folder in its environment.
///
/// Returns how many were killed. A process that cleared its environment and whose parent is gone is
/// not found: better to miss one than to kill a stranger.
pub(crate) fn end_orphans(data: &Path, recorded: Option<ProcessId>) -> usize {
    let mut mark = b"DROVER_DATA_DIR=".to_vec();
    mark.extend_from_slice(data.as_os_str().as_encoded_bytes());
    let own = std::process::id().cast_signed();
    let mut killed = 0;
    // A process may fork while it is looked for. Each round kills what it finds, so a few do.
    for _ in 0..ROUNDS_MAX {
        let before = killed;
        for pid in pids() {
            let marked = || {
                let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environ.split(|byte| *byte == 0).any(|entry| entry == mark)
            };
            let is_recorded = || recorded.is_some_and(|id| id.pid == pid && id.is_alive());
            if pid != own
                && (is_recorded() || marked())
                && kill_if(pid, || is_recorded() || marked())
            {
                killed += 1;
            }
        }
        if killed == before {
            break;
        }
    }
    killed
}

/// Most rounds of looking for orphans: each needs a process that forked during the one before.
const ROUNDS_MAX: usize = 16;

/// Kills process `pid` if `is_it` still holds after a pidfd was opened: then the pidfd is of the very
/// process that was looked at, and the signal cannot reach another one. Waits until it has ended.
fn kill_if(pid: i32, is_it: impl Fn() -> bool) -> bool {
    let Some(Ok(pidfd)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        return false;
    };
    if !is_it() || has_ended(&pidfd, 0) || pidfd_send_signal(&pidfd, Signal::KILL).is_err() {
        return false;
    }
    has_ended(&pidfd, 1_000);
    true
}

/// Returns whether the process of a pidfd has ended, after waiting at most so long.
pub(crate) fn has_ended(pidfd: &OwnedFd, wait_ms: i64) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let timeout = Timespec {
        tv_sec: wait_ms / 1_000,
        tv_nsec: wait_ms % 1_000 * 1_000_000,
    };
    poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests;
