//! Runs one program to its end, and everything that it leaves behind to theirs. Single-threaded and
//! synchronous: every instance has such a process for its whole life, so it must cost little.
//!
//! The caller is a subreaper: whatever descends from the program and loses its parent becomes the
//! caller's child, so that no daemon can slip away.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, ErrorKind, PipeReader, Read as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group,
    pidfd_open, wait,
};

use crate::process::{ProcessId, children_of};
use crate::record::InstanceRecord;

/// How often adopted children that have ended are collected while nothing else happens. Until then
/// they are zombies, which cost a table entry each.
const REAP_INTERVAL: Duration = Duration::from_secs(30);
/// How often ending processes are looked at. Only while an instance ends.
const ENDING_INTERVAL: Duration = Duration::from_millis(10);
/// Bytes read of the output at once: the size of a pipe's pages, and small on purpose.
const CHUNK: usize = 4_096;

/// When the program is to be ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    /// When what is left is killed.
    pub(crate) kill_at: Instant,
    /// Whether processes are asked before.
    pub(crate) ask: bool,
}

/// The surroundings of a supervised program.
pub(crate) trait Host {
    /// Takes what the program and its descendants print.
    fn output(&mut self, bytes: &[u8]);
    /// Takes note of the program's process.
    fn started(&mut self, child: ProcessId);
    /// Returns what becomes readable when somebody has something to ask.
    fn control(&self) -> BorrowedFd<'_>;
    /// Reads what is asked, if `ready`, and returns when to stop.
    fn stop(&mut self, ready: bool) -> Option<Stop>;
    /// How long processes that outlive the program may take to end after being asked.
    fn stray_grace(&self) -> Duration;
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

impl Ended {
    pub(crate) fn is_success(self) -> bool {
        self.code == Some(0)
    }

    fn of(status: WaitStatus) -> Self {
        Self {
            code: status.exit_status(),
            signal: status.terminating_signal(),
        }
    }
}

/// Runs `program` in the instance's environment until neither it nor a descendant of it is left.
pub(crate) fn supervise(
    record: &InstanceRecord,
    program: &[impl AsRef<OsStr>],
    shim_arguments: &[impl AsRef<OsStr>],
    host: &mut impl Host,
) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("drover-shim")
        .args(shim_arguments)
        .arg("--exec")
        .arg(getpid().as_raw_pid().to_string())
        .arg(&record.working_dir)
        .args(program)
        .env_clear()
        .envs(&record.env)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let child = command.spawn()?;
    // The command holds the pipe's other end: without it the end of the output can be seen.
    drop(command);
    let pid = Pid::from_child(&child);
    host.started(ProcessId::of(pid)?);
    rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    let mut supervisor = Supervisor {
        pid,
        pidfd: pidfd_open(pid, PidfdFlags::empty())?,
        output: Some(reader),
        ended: None,
        host,
    };
    let stop = supervisor.until_ended()?;
    supervisor.end_strays(stop)?;
    supervisor.drain();
    Ok(supervisor.ended.unwrap_or(Ended {
        code: None,
        signal: None,
    }))
}

struct Supervisor<'a, H> {
    pid: Pid,
    pidfd: OwnedFd,
    output: Option<PipeReader>,
    ended: Option<Ended>,
    host: &'a mut H,
}

impl<H: Host> Supervisor<'_, H> {
    /// Waits for the program itself to end.
    fn until_ended(&mut self) -> io::Result<Option<Stop>> {
        let mut asked = false;
        let mut ready = false;
        loop {
            let stop = self.host.stop(ready);
            let mut timeout = REAP_INTERVAL;
            if let Some(stop) = stop {
                let left = stop.kill_at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    self.signal_all(Signal::KILL);
                    timeout = ENDING_INTERVAL;
                } else {
                    if stop.ask && !asked {
                        self.signal_all(Signal::TERM);
                        asked = true;
                    }
                    timeout = timeout.min(left);
                }
            }
            ready = self.poll(timeout)?;
            self.drain();
            self.reap()?;
            if self.ended.is_some() {
                return Ok(stop.or_else(|| self.host.stop(ready)));
            }
        }
    }

    /// Ends what outlives the program. Every child is this process's own and unreaped when it is
    /// signalled; its children become ours as it ends, and are found by the next round.
    fn end_strays(&mut self, stop: Option<Stop>) -> io::Result<()> {
        let mut kill_at = match stop {
            Some(stop) if stop.ask => stop.kill_at,
            Some(_) | None => Instant::now() + self.host.stray_grace(),
        };
        let mut asked = BTreeSet::new();
        let mut ready = false;
        while self.reap()? {
            if let Some(stop) = self.host.stop(ready) {
                kill_at = kill_at.min(stop.kill_at);
            }
            let kill = Instant::now() >= kill_at;
            for child in children_of(getpid()) {
                if kill {
                    let _ = kill_process(child, Signal::KILL);
                } else if asked.insert(child.as_raw_pid()) {
                    let _ = kill_process(child, Signal::TERM);
                }
            }
            ready = self.poll(ENDING_INTERVAL)?;
            self.drain();
        }
        Ok(())
    }

    /// Signals the program's group and every adopted child. The program is not reaped yet, so its
    /// pid is still its own.
    fn signal_all(&self, signal: Signal) {
        // Before the program leads its own group there is nothing in it.
        if kill_process_group(self.pid, signal).is_err() {
            let _ = kill_process(self.pid, signal);
        }
        for child in children_of(getpid()) {
            if child != self.pid {
                let _ = kill_process(child, signal);
            }
        }
    }

    /// Waits for output, the end of the program, or something asked. Returns whether something is.
    fn poll(&self, timeout: Duration) -> io::Result<bool> {
        let control = self.host.control();
        let mut fds = vec![PollFd::from_borrowed_fd(control, PollFlags::IN)];
        if self.ended.is_none() {
            fds.push(PollFd::new(&self.pidfd, PollFlags::IN));
        }
        if let Some(output) = &self.output {
            fds.push(PollFd::new(output, PollFlags::IN));
        }
        let timeout = Timespec {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Passes on what was printed, at most a few pipes full, so that a program that prints without
    /// end cannot keep its shim from ending it.
    fn drain(&mut self) {
        let mut buffer = [0; CHUNK];
        for _ in 0..64 {
            let Some(output) = &mut self.output else {
                return;
            };
            match output.read(&mut buffer) {
                Ok(0) => self.output = None,
                Ok(length) => self.host.output(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.output = None,
            }
        }
    }

    /// Collects ended children. Returns whether any child is left.
    fn reap(&mut self) -> io::Result<bool> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => self.ended = Some(Ended::of(status)),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return Ok(true),
                Err(rustix::io::Errno::CHILD) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Becomes the program: the last step of starting one, in the process that was started for it.
///
/// A session of its own, so that nothing sent to the shim's group or terminal reaches it; and death
/// when the shim dies, because nobody would read its output or end it after that.
pub(crate) fn become_program(
    shim: &OsStr,
    working_dir: &Path,
    program: &OsStr,
    arguments: &[std::ffi::OsString],
) -> (String, u8) {
    let prepared = rustix::process::setsid()
        .and_then(|_| rustix::process::set_parent_process_death_signal(Some(Signal::KILL)));
    if let Err(error) = prepared {
        return (format!("cannot detach: {error}"), CANNOT_RUN);
    }
    // The shim may have died before the kernel was told.
    let parent = rustix::process::getppid().map(|parent| parent.as_raw_pid().to_string());
    if parent.as_deref().map(OsStr::new) != Some(shim) {
        return ("the shim is gone".to_owned(), CANNOT_RUN);
    }
    if let Err(error) = std::env::set_current_dir(working_dir) {
        let working_dir = working_dir.display();
        let message = format!("cannot enter the working directory {working_dir}: {error}");
        return (message, CANNOT_RUN);
    }
    let error = Command::new(program).args(arguments).exec();
    let name = Path::new(program).display();
    if error.kind() != ErrorKind::NotFound {
        return (format!("cannot run {name}: {error}"), CANNOT_RUN);
    }
    if Path::new(program).exists() {
        return (
            format!("the interpreter of {name} was not found"),
            NOT_FOUND,
        );
    }
    (format!("program not found: {name}"), NOT_FOUND)
}

/// The exit statuses that shells have for these.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
