//! What an agent that was killed left behind: a plugin's process, known by its id and when it started.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// How long what is left may take to end when it is asked to, and when it is killed.
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
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// When the process started, in clock ticks since the machine did.
    started: u64,
    /// Which start of the machine that was.
    boot: String,
}

impl Left {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Writes down who runs. What has ended already leaves nothing behind.
    pub(super) fn note(&self, pid: Pid) -> io::Result<()> {
        let Ok(started) = started(pid.as_raw_pid()) else {
            return Ok(());
        };
        let record = Record {
            pid: pid.as_raw_pid(),
            started,
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

    /// Ends what a former agent left running. A record that cannot be read, or names a process that is
    /// gone or another one by now, ends nothing.
    pub(super) async fn end(&self) -> io::Result<()> {
        let Ok(bytes) = fs::read(&self.path) else {
            return Ok(());
        };
        let Ok(record) = serde_json::from_slice::<Record>(&bytes) else {
            self.forget();
            return Ok(());
        };
        let pid = Pid::from_raw(record.pid).filter(|_| record.boot == boot().unwrap_or_default());
        let Some(pid) = pid else {
            self.forget();
            return Ok(());
        };
        // The handle is taken before the process is looked at, so it is the one that is looked at.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            self.forget();
            return Ok(());
        };
        let runs = || started(record.pid).is_ok_and(|started| started == record.started);
        for (signal, limit) in WAITS {
            if !runs() {
                break;
            }
            tracing::info!(pid = record.pid, ?signal, "plugin of a former agent ended");
            let _ = pidfd_send_signal(&handle, signal);
            let deadline = tokio::time::Instant::now() + limit;
            while runs() && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(PAUSE).await;
            }
        }
        if runs() {
            let pid = record.pid;
            return Err(io::Error::other(format!(
                "process {pid} of a former agent does not end"
            )));
        }
        self.forget();
        Ok(())
    }
}

fn boot() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
}

/// Returns when a process started. One that has ended and is not reaped yet counts as gone.
fn started(pid: i32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let form = || io::Error::other("unexpected form of /proc/<pid>/stat");
    let (_, after_name) = text.rsplit_once(')').ok_or_else(form)?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return Err(io::Error::other("it has ended"));
    }
    // starttime is field 22 of the line, counted from one; the first one here is field 3.
    let started = fields.get(19).ok_or_else(form)?;
    started.parse().map_err(|_| form())
}
