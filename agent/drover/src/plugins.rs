//! The plugins that the agent's own file names: started, watched, started again, and ended with the agent.
//!
//! A plugin that ends by itself, or does not answer, is started again, each time a little later. It is asked for its handshake
//! until it answers, and again and again after that: one that hangs holds its groups until somebody starts it again.
//! It gets nothing of the agent's environment, and no more memory than its file allows. Who it is is
//! written down while it runs: an agent that was killed left it behind, and the next one ends it by its
//! process id and start time before it starts its own, also where its file does not name it any more. A
//! plugin is all of its process group: one that was started through a shell goes with it, and nothing that its
//! first process leaves behind serves on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_apply::DirLock;
use drover_model::plural;
use drover_provider_plugin::{Absences, Directory, answers};
use drover_spec::agent_config::PluginConfig;
use drover_spec::format_duration;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

mod ended;
mod left;
pub(crate) mod limited;
pub(crate) mod started;

use ended::{End, Output};
use left::Left;

/// The search path of plugins: nothing of the agent's environment is theirs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment variable that tells a plugin its socket.
const SOCKET_VARIABLE: &str = "DROVER_PLUGIN_SOCKET";

/// How long the agent waits at most for its plugins before its first pass.
const FIRST_WAIT_MAX: Duration = Duration::from_secs(5);

/// Between two looks at a plugin that is starting.
const PAUSE: Duration = Duration::from_millis(20);

/// The first wait before a plugin is started again, which doubles, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// What a plugin is asked to find out whether it answers.
const HELLO: &str = "Handshake.Hello";

/// How a plugin is asked whether it still answers.
#[derive(Debug, Clone, Copy)]
struct Probe {
    /// Between an answer and the next question.
    interval: Duration,
    /// How long an answer may take: it is given from memory, on a machine that may be busy.
    limit: Duration,
    /// How many questions in a row may have no answer. With more than one, a machine that was suspended ends nobody.
    failures: u32,
}

/// A plugin that hangs is ended after two minutes.
const PROBE: Probe = Probe {
    interval: Duration::from_secs(30),
    limit: Duration::from_secs(10),
    failures: 3,
};

/// A plugin that ran so long has nothing to do with its failures before.
const STEADY: Duration = Duration::from_mins(1);

/// How a plugin does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PluginStatus {
    /// It answers.
    pub(crate) up: bool,
    /// How often it was started again.
    pub(crate) restarts: u64,
}

/// How every plugin does, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct PluginStates(Arc<Mutex<BTreeMap<String, PluginStatus>>>);

impl PluginStates {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, PluginStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut PluginStatus)) {
        change(self.lock().entry(name.to_owned()).or_default());
    }

    /// Returns how every plugin does now.
    pub(crate) fn all(&self) -> BTreeMap<String, PluginStatus> {
        self.lock().clone()
    }
}

/// The supervised plugins. [`end`](Self::end) ends them; dropped without it, they are killed.
#[derive(Debug)]
pub(crate) struct Supervisor {
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    states: PluginStates,
    /// The lock of the folder where is written down what runs, where nobody else holds it.
    lock: Option<DirLock>,
}

impl Supervisor {
    /// Keeps a lock until every plugin has ended.
    #[must_use]
    pub(crate) fn holding(mut self, lock: DirLock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Has no plugins, and touches none of those that run.
    pub(crate) fn idle() -> Self {
        Self {
            tasks: Vec::new(),
            stop: watch::channel(false).0,
            states: PluginStates::default(),
            lock: None,
        }
    }

    /// Starts every plugin, and waits until each answers or has had its time. Those who find plugins in `sockets` are told why
    /// one does not run. Who calls this holds a lock on `data_dir`, so
    /// that what is written down there as started was left behind: it is ended first, also where no plugin has its name any more.
    ///
    /// # Errors
    ///
    /// The folders cannot be made.
    pub(crate) async fn start(
        plugins: &[PluginConfig],
        sockets: &Directory,
        data_dir: &Path,
    ) -> io::Result<Self> {
        Self::start_probed(plugins, sockets, data_dir, PROBE).await
    }

    async fn start_probed(
        plugins: &[PluginConfig],
        sockets: &Directory,
        data_dir: &Path,
        probe: Probe,
    ) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let states = PluginStates::default();
        let mut supervisor = Self {
            tasks: Vec::new(),
            stop,
            states: states.clone(),
            lock: None,
        };
        // Plugins run in another folder than this program does.
        let folder = &std::path::absolute(sockets.path())?;
        let records = data_dir.join("plugins-started");
        for left in Left::unowned(&records, folder, plugins) {
            // It is of no use to anybody, and no reason to start nothing.
            if let Err(error) = left.end().await {
                warn!(?left, %error, "plugin that is configured no more is not ended");
            }
        }
        if plugins.is_empty() {
            return Ok(supervisor);
        }
        for folder in [folder, &records] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        for config in plugins {
            states.change(&config.name, |_| {});
            let socket = folder.join(&config.name);
            let record = records.join(format!("{}.json", config.name));
            let plugin = Plugin {
                left: Left::new(record, socket.clone()),
                socket,
                config: config.clone(),
                probe,
                states: states.clone(),
                absences: sockets.absences().clone(),
                stopped: stopped.clone(),
            };
            supervisor.tasks.push(tokio::spawn(plugin.supervise()));
        }
        supervisor.wait_answering(plugins).await;
        Ok(supervisor)
    }

    /// Waits until each plugin answers or has ended, and for a moment only: what rests on one that does not come up
    /// waits for it, and nothing else does.
    async fn wait_answering(&self, plugins: &[PluginConfig]) {
        let limit = plugins.iter().map(|plugin| plugin.start_timeout).max();
        let deadline = Instant::now() + limit.unwrap_or_default().min(FIRST_WAIT_MAX);
        let comes_up = |state: &PluginStatus| !state.up && state.restarts == 0;
        while Instant::now() < deadline && self.states.all().values().any(comes_up) {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns how the plugins do.
    pub(crate) fn states(&self) -> PluginStates {
        self.states.clone()
    }

    /// Ends every plugin and waits until it is gone.
    pub(crate) async fn end(mut self) {
        // Nobody may be listening any more; then there is nothing to end.
        let _ = self.stop.send(true);
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await {
                warn!(%error, "plugin not ended in order");
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Kills the whole process group of a plugin when it is dropped, unless it is disarmed.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The leader is not reaped yet, so the number is still its own.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Why a plugin runs no more.
enum Ended {
    /// The agent ends.
    Asked,
    /// By itself, or because it did not answer.
    Failed(End),
}

struct Plugin {
    config: PluginConfig,
    probe: Probe,
    socket: PathBuf,
    left: Left,
    states: PluginStates,
    absences: Absences,
    stopped: watch::Receiver<bool>,
}

impl Plugin {
    async fn supervise(mut self) {
        let name = self.config.name.clone();
        let mut wait = BACKOFF.0;
        let mut told: Option<End> = None;
        loop {
            let began = Instant::now();
            let ended = self.run().await;
            self.states.change(&name, |state| state.up = false);
            let end = match ended {
                Ok(Ended::Asked) => return,
                Ok(Ended::Failed(end)) => end,
                Err(error) => End::new(error.to_string()),
            };
            // What is recorded of it is the first of its kind: the next start of one that keeps ending is no news.
            let known = told.take().filter(|known| known.is_like(&end));
            let known = told.insert(known.unwrap_or_else(|| end.clone()));
            self.absences.tell(&name, known.told(&self.config.env));
            if began.elapsed() >= STEADY {
                wait = BACKOFF.0;
            }
            let retry_ms = wait.as_millis() as u64;
            warn!(
                plugin = name,
                error = end.logged(),
                retry_ms,
                "plugin ended"
            );
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = asked(&mut self.stopped) => return,
            }
            wait = (wait * 2).min(BACKOFF.1);
            self.states.change(&name, |state| state.restarts += 1);
        }
    }

    /// Runs the plugin until it ends or is to end.
    async fn run(&mut self) -> io::Result<Ended> {
        self.left.end().await?;
        self.clear_socket()?;
        let mut child = self.spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        // Declared after the child, so dropped before it: killed before it is reaped.
        let mut group = Group(pid);
        let pid = pid.ok_or_else(|| io::Error::other("it has no process id"))?;
        // Before the first look, so that no end is missed.
        let mut children = signal(SignalKind::child())?;
        self.left.note(pid)?;
        let output = Output::of(&mut child, &self.config.name);
        let mut stopped = self.stopped.clone();
        let ended = tokio::select! {
            gone = ended(pid, &mut children) => {
                gone?;
                // What it started is of no use alone, and holds the socket.
                let status = end(&mut child, &mut group).await?;
                Ended::Failed(End::of_itself(status).saying(output.last().await))
            }
            () = asked(&mut stopped) => {
                end(&mut child, &mut group).await?;
                Ended::Asked
            }
            why = self.watch() => {
                self.set_up(false);
                end(&mut child, &mut group).await?;
                Ended::Failed(End::new(why).saying(output.last().await))
            }
        };
        self.left.forget();
        // What listens there no more only misleads.
        Ok(match (ended, self.clear_socket()) {
            (Ended::Failed(end), Err(error)) => Ended::Failed(end.and(&error)),
            (ended, _) => ended,
        })
    }

    /// Asks the plugin for its handshake until it answers no more, and returns why it is to be ended.
    async fn watch(&self) -> String {
        let limit = self.config.start_timeout;
        let deadline = Instant::now() + limit;
        loop {
            let heard = match timeout_at(deadline, answers(&self.socket, limit)).await {
                Ok(Ok(())) => break,
                Ok(Err(why)) => Some(why),
                Err(_elapsed) => None,
            };
            if Instant::now() < deadline {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let limit = format_duration(limit);
            return match heard {
                _ if UnixStream::connect(&self.socket).is_err() => {
                    format!("it did not listen within {limit}")
                }
                Some(why) => format!("it did not answer within {limit} ({why})"),
                None => format!("it did not answer {HELLO} within {limit}"),
            };
        }
        info!(plugin = self.config.name, "plugin answers");
        self.set_up(true);
        let mut failed = 0;
        loop {
            tokio::time::sleep(self.probe.interval).await;
            let answered = answers(&self.socket, self.probe.limit).await;
            self.set_up(answered.is_ok());
            let Err(why) = answered else {
                failed = 0;
                continue;
            };
            failed += 1;
            if failed >= self.probe.failures {
                let times = plural(failed, "time", "times in a row");
                return format!("it has not answered {times} ({why})");
            }
        }
    }

    fn set_up(&self, up: bool) {
        if up {
            self.absences.forget(&self.config.name);
        }
        self.states.change(&self.config.name, |state| state.up = up);
    }

    /// Removes the socket of a plugin that is gone, and what a plugin may have left in its place: a link, or an empty
    /// folder. The folder of the sockets is the agent's own.
    fn clear_socket(&self) -> io::Result<()> {
        match fs::symlink_metadata(&self.socket) {
            Err(_) => Ok(()),
            Ok(entry) if entry.is_symlink() => fs::remove_file(&self.socket),
            Ok(entry) if entry.is_dir() && fs::remove_dir(&self.socket).is_ok() => Ok(()),
            Ok(entry) if !entry.file_type().is_socket() => Err(io::Error::other(format!(
                "{} is there and no socket",
                self.socket.display()
            ))),
            Ok(_) if UnixStream::connect(&self.socket).is_ok() => Err(io::Error::other(format!(
                "somebody else listens on {}",
                self.socket.display()
            ))),
            Ok(_) => fs::remove_file(&self.socket),
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let socket = self.socket.to_string_lossy();
        let args = self.config.args.iter();
        let args = args.map(|arg| arg.replace("${socket}", &socket));
        let program = &self.config.program;
        let mut command = match self.config.memory {
            Some(bytes) => limited::command(bytes, program),
            None => Command::new(program),
        };
        let spawned = command
            .args(args)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/")
            .env("LANG", "C.UTF-8")
            .envs(&self.config.env)
            .env(SOCKET_VARIABLE, &self.socket)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        spawned.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot start {}: {error}", program.display()),
            )
        })
    }
}

/// Returns when the agent ends.
async fn asked(stopped: &mut watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Returns when the leader has ended, and leaves it unreaped: its number stays its own.
async fn ended(leader: Pid, children: &mut tokio::signal::unix::Signal) -> io::Result<()> {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(leader), ended)?.is_none() {
        children.recv().await;
    }
    Ok(())
}

/// Asks all processes of a plugin to end, and kills them after the grace period.
async fn end(child: &mut Child, group: &mut Group) -> io::Result<ExitStatus> {
    if let Some(pid) = group.0 {
        left::end_group(pid.as_raw_pid()).await?;
    }
    let status = child.wait().await?;
    // The leader is reaped: its number may be another's from now on.
    group.0 = None;
    Ok(status)
}

#[cfg(test)]
mod tests;
