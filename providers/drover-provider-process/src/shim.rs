//! The shim: what keeps one instance. A hidden subcommand of the agent's binary, in four parts.
//!
//! ```text
//! <folder>                               started by the agent; starts the next one, waits until it
//!                                        holds the folder, and ends: nobody's child remains
//! --keep <folder>                        lives as long as the instance
//! --exec <shim> <dir> <program> ...      becomes the init script or the command
//! --check <folder> <ms> <program> ...    runs a health check and says how it went
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::getpid;
use serde::{Deserialize, Serialize};

use crate::folder::Folder;
use crate::log::{self, LogWriter};
use crate::place::Place;
use crate::process::{ProcessId, SHIM_NAME, boot_id};
use crate::record::{ExitRecord, InstanceRecord, RunRecord, Stage};
use crate::supervise::{Ended, Host, Stop, become_program, supervise};

/// How long processes that outlive an instance's command may take to end after TERM.
const STRAY_GRACE: Duration = Duration::from_secs(5);
/// How long a shim tries to get its folder's lock. Agents hold it for moments only.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Most bytes of a check's output that are looked at.
const CHECK_OUTPUT_MAX: usize = 4_096;
/// What the keeping shim says when it holds the folder.
const READY: &str = "ready";

/// Runs the hidden subcommand; `args` are what follows its name, to the end of the command line.
///
/// The binary calls this before anything else that costs memory or starts a thread.
pub fn shim_main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let words: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
    let result = match words.as_slice() {
        [mode, folder] if *mode == "--keep" => keep(Path::new(folder), &leading(args.len())),
        [mode, folder, limit, program @ ..] if *mode == "--check" => {
            check(Path::new(folder), limit, program, &leading(args.len()))
        }
        [mode, shim, dir, program, ..] if *mode == "--exec" => {
            let (message, code) = become_program(shim, Path::new(dir), program, &args[4..]);
            say(&message);
            return ExitCode::from(code);
        }
        [folder] => start(Path::new(folder), &leading(args.len())),
        _ => Err(io::Error::other("usage: drover shim FOLDER")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn say(message: &str) {
    let _ = writeln!(io::stderr(), "drover: {message}");
}

/// Returns the arguments of the binary that lead to the subcommand, such as `shim`.
fn leading(rest: usize) -> Vec<OsString> {
    let all: Vec<OsString> = std::env::args_os().collect();
    let end = all.len().saturating_sub(rest).max(1);
    all[1..end].to_vec()
}

/// Starts the keeping shim and waits until it holds the folder.
fn start(folder: &Path, leading: &[OsString]) -> io::Result<()> {
    let folder = Folder::at(folder.to_owned());
    let errors = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(folder.shim_log())?;
    let mut child = Command::new("/proc/self/exe")
        .args(leading)
        .arg("--keep")
        .arg(folder.path())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()?;
    let mut answer = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut answer)?;
    }
    if answer.trim() == READY {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the shim did not start: {}",
        log::digest(&fs::read_to_string(folder.shim_log()).unwrap_or_default())
    )))
}

/// Keeps the instance until it has ended.
fn keep(path: &Path, leading: &[OsString]) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(getpid()))?;
    // For those who look at a list of processes, and for an agent that has to collect it.
    let _ = fs::write("/proc/self/comm", SHIM_NAME);
    let folder = Folder::at(path.to_owned());
    let Some(_lock) = lock(&folder)? else {
        ready();
        return Ok(());
    };
    let Some(record) = folder.record()? else {
        return Err(io::Error::other("the instance is gone"));
    };
    if folder.run()?.is_some() {
        // It ran before. An instance never starts twice: a new one takes its place.
        ready();
        return Ok(());
    }
    // Open for writing too, so that it never reports an end when an agent closes it.
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(folder.control())?;
    let mut keeper = Keeper {
        run: RunRecord {
            boot: boot_id()?,
            shim: ProcessId::of(getpid())?,
            child: None,
            stage: Stage::Init,
        },
        log: LogWriter::new(folder.log(), record.log_limit),
        folder,
        control,
        place: None,
        stop: None,
        restart: None,
        update: record.update.clone(),
    };
    keeper.folder.write_run(&keeper.run)?;
    ready();
    // An agent that found no listener has left a note.
    keeper.read_note();
    let exit = keeper.run_on(record, leading);
    keeper.finish(&exit)
}

/// Tells the starting shim that the folder is held, and lets it go. It may be gone already.
fn ready() {
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{READY}");
    let _ = stdout.flush();
    // The starting shim waits for the end of the pipe, so standard output becomes something else.
    if let Ok(null) = OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
}

/// Takes the folder's lock. None: another shim has it.
fn lock(folder: &Folder) -> io::Result<Option<File>> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        if let Some(lock) = folder.try_lock()? {
            return Ok(Some(lock));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Takes the member's place, for this process and all that it starts. None: another instance has it.
fn take(place: &Place) -> io::Result<Option<File>> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        if let Some(lock) = place.try_take()? {
            // A lock that only this process held would end with it, and not with what it started.
            rustix::io::fcntl_setfd(&lock, rustix::io::FdFlags::empty())?;
            return Ok(Some(lock));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The state of the keeping shim.
struct Keeper {
    folder: Folder,
    run: RunRecord,
    log: LogWriter,
    control: File,
    /// The lock of the member's place, which everything that runs inherits.
    place: Option<File>,
    stop: Option<Stop>,
    /// When it is to end in order to start again, and the change that it starts again with.
    restart: Option<(Stop, String)>,
    /// The change that it was started with.
    update: Option<String>,
}

impl Keeper {
    /// Runs the instance until it has ended for good: each restart begins with what it became.
    fn run_on(&mut self, mut record: InstanceRecord, leading: &[OsString]) -> ExitRecord {
        loop {
            let exit = self.run_through(&record, leading);
            let Some((_, update)) = self.restart.take().filter(|_| self.stop.is_none()) else {
                return exit;
            };
            // First, so that nobody takes what ran before for what it becomes.
            self.run.child = None;
            self.run.stage = Stage::Init;
            if let Err(error) = self.folder.write_run(&self.run) {
                return self.exit(None, &format!("not started again: {error}"));
            }
            match self.folder.take_next(&update) {
                Ok(Some(next)) => record = next,
                // It ended for something that is not there: it starts again as it was.
                Ok(None) => {}
                Err(error) => return self.exit(None, &format!("not started again: {error}")),
            }
            self.update.clone_from(&record.update);
        }
    }

    /// Runs init and command. The exit says what a person needs to know.
    fn run_through(&mut self, record: &InstanceRecord, leading: &[OsString]) -> ExitRecord {
        if let Some(place) = &record.place
            && self.stop.is_none()
        {
            match take(&Place::at(PathBuf::from(place))) {
                Ok(Some(lock)) => self.place = Some(lock),
                Ok(None) => return self.exit(None, "the member's place is taken"),
                Err(error) => {
                    return self.exit(None, &format!("the member's place: {error}"));
                }
            }
        }
        if record.init && self.stop.is_none() {
            let script = self.folder.script();
            let shell = [OsStr::new("/bin/sh"), OsStr::new("-eu"), script.as_os_str()];
            match supervise(record, &shell, leading, self) {
                Ok(ended) if ended.is_success() => {}
                Ok(ended) => return self.exit(Some(ended), "init failed"),
                Err(error) => return self.exit(None, &format!("init not started: {error}")),
            }
        }
        if self.stop.is_some() || self.restart.is_some() {
            return self.exit(None, "stopped before its command ran");
        }
        self.run.stage = Stage::Command;
        match supervise(record, &record.command, leading, self) {
            Ok(ended) => self.exit(Some(ended), ""),
            Err(error) => self.exit(None, &format!("command not started: {error}")),
        }
    }

    fn exit(&self, ended: Option<Ended>, what: &str) -> ExitRecord {
        let log = log::tail(&self.folder.log(), 20).unwrap_or_default();
        let parts = [what.to_owned(), log::digest(&log)];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        ExitRecord {
            code: ended.and_then(|ended| ended.code),
            signal: ended.and_then(|ended| ended.signal),
            message: parts.join(": "),
            at: drover_model::Timestamp::now().to_string(),
        }
    }

    /// Writes down how it ended, or removes the folder if it was asked to end.
    fn finish(mut self, exit: &ExitRecord) -> io::Result<()> {
        // Nothing runs any more, so the next holder of the place need not wait for this process.
        self.place = None;
        if self.stop.is_none()
            && let Err(error) = self.folder.write_exit(exit)
        {
            say(&format!("exit status not written: {error}"));
        }
        // From here on an agent finds no listener. One that found it before has left a note, and
        // one that comes later removes the folder itself.
        let Ok(null) = File::open("/dev/null") else {
            return Ok(());
        };
        self.control = null;
        self.read_note();
        if self.stop.is_some() {
            self.folder.bury()?;
        }
        Ok(())
    }

    fn read_note(&mut self) {
        if let Ok(Some(note)) = self.folder.stop() {
            self.stop_within(Duration::from_millis(note.grace_ms));
        }
    }

    /// Ends what runs, to start again. Asked once more for the change that it was started with, or is about
    /// to start with, it does nothing.
    fn restart_within(&mut self, grace: Duration, update: &str) {
        let known = self.restart.as_ref().map(|(_, asked)| asked.as_str());
        if known.or(self.update.as_deref()) != Some(update) {
            let stop = Stop {
                kill_at: Instant::now() + grace,
                ask: true,
            };
            self.restart = Some((stop, update.to_owned()));
        }
    }

    fn stop_within(&mut self, grace: Duration) {
        let kill_at = Instant::now() + grace;
        let earlier = self.stop.map_or(kill_at, |stop| stop.kill_at.min(kill_at));
        self.stop = Some(Stop {
            kill_at: earlier,
            ask: true,
        });
    }
}

impl Host for Keeper {
    fn output(&mut self, bytes: &[u8]) {
        self.log.write(bytes);
    }

    fn started(&mut self, child: ProcessId) {
        self.run.child = Some(child);
        if let Err(error) = self.folder.write_run(&self.run) {
            say(&format!("stage not written: {error}"));
        }
    }

    fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    fn stop(&mut self, ready: bool) -> Option<Stop> {
        if ready {
            let mut asked = [0; 1_024];
            let length = self.control.read(&mut asked).unwrap_or(0);
            let asked = String::from_utf8_lossy(&asked[..length]);
            for line in asked.lines() {
                let grace = line.strip_prefix("stop ").map(str::parse);
                if let Some(Ok(grace)) = grace {
                    self.stop_within(Duration::from_millis(grace));
                }
                let again = line.strip_prefix("restart ");
                if let Some((grace, update)) = again.and_then(|words| words.split_once(' '))
                    && let Ok(grace) = grace.parse()
                {
                    self.restart_within(Duration::from_millis(grace), update);
                }
            }
        }
        let restart = self.restart.as_ref().map(|(stop, _)| *stop);
        self.stop.or(restart)
    }

    fn stray_grace(&self) -> Duration {
        STRAY_GRACE
    }
}

/// What a check turned out to be, on the checking shim's standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Checked {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) timed_out: bool,
    pub(crate) output: String,
}

/// Runs a check in the instance's environment. The end of standard input ends the check: the agent
/// that asked is gone or no longer interested.
fn check(path: &Path, limit: &OsStr, program: &[&OsStr], leading: &[OsString]) -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(getpid()))?;
    let limit = limit.to_str().and_then(|text| text.parse().ok());
    let limit = limit.ok_or_else(|| io::Error::other("the limit is not a number"))?;
    let folder = Folder::at(path.to_owned());
    let Some(record) = folder.record()? else {
        return Err(io::Error::other("the instance is gone"));
    };
    let kill_at = Instant::now() + Duration::from_millis(limit);
    let mut checking = Checking {
        stop: Stop {
            kill_at,
            ask: false,
        },
        output: Vec::new(),
        stdin: io::stdin(),
    };
    let ended = supervise(&record, program, leading, &mut checking)?;
    let checked = Checked {
        code: ended.code,
        signal: ended.signal,
        timed_out: ended.signal.is_some() && Instant::now() >= checking.stop.kill_at,
        output: log::digest(&String::from_utf8_lossy(&checking.output)),
    };
    let mut stdout = io::stdout();
    stdout.write_all(&serde_json::to_vec(&checked)?)?;
    stdout.flush()
}

struct Checking {
    stop: Stop,
    output: Vec<u8>,
    stdin: io::Stdin,
}

impl Host for Checking {
    fn output(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        let excess = self.output.len().saturating_sub(CHECK_OUTPUT_MAX);
        self.output.drain(..excess);
    }

    fn started(&mut self, _child: ProcessId) {}

    fn control(&self) -> BorrowedFd<'_> {
        self.stdin.as_fd()
    }

    fn stop(&mut self, ready: bool) -> Option<Stop> {
        if ready {
            self.stop.kill_at = self.stop.kill_at.min(Instant::now());
        }
        Some(self.stop)
    }

    fn stray_grace(&self) -> Duration {
        Duration::ZERO
    }
}

/// Returns the arguments with which the agent has a check run.
pub(crate) fn check_arguments(
    folder: &Folder,
    limit: Duration,
    command: &[String],
) -> Vec<OsString> {
    let mut arguments = vec![
        OsString::from("--check"),
        PathBuf::from(folder.path()).into_os_string(),
        OsString::from(limit.as_millis().to_string()),
    ];
    arguments.extend(command.iter().map(OsString::from));
    arguments
}
