//! `drover run`: passes, one after the other, until somebody says stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_loop::{AgentHandle, AgentStatus, Mode, PassLimits, PassReport, StepFate, drive};
use drover_model::GroupName;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::assemble::{Assembled, assemble, random};
use super::metrics::Metrics;
use super::notices::Notices;
use super::outcome::{Standing, of_one_pass, reasons, standing};
use super::progress::Progress;
use super::services::Services;
use super::socket::{self, SocketFolder};
use super::status::About;
use super::watch::{self, RefWatch};
use super::webhook::{self, Webhooks};
use super::{serve, status};
use crate::cli::{Listen, RunArgs};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::identity;
use crate::plugins::Supervisor;
use crate::settings::Settings;
use crate::ui::Ui;

/// Runs the command.
pub(crate) fn run(args: &RunArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_agent(&args.agent)?;
    let mode = if args.dry_run {
        Mode::DryRun
    } else if settings.observe {
        Mode::Observe
    } else {
        Mode::Act
    };
    if mode != Mode::DryRun {
        check_writable(&settings)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(async {
        if args.once {
            once(args, &settings, mode, ui).await
        } else {
            follow(args, &settings, mode, ui).await
        }
    })
}

/// An agent says what it does by pushing, in either mode.
fn check_writable(settings: &Settings) -> CommandResult<()> {
    let url = settings.source_url()?;
    if !url.is_read_only() {
        return Ok(());
    }
    let told = format!("{url} can only be read, and an agent pushes what it records");
    Err(CommandError::new(told).hint("name the repository by ssh or https, or add `--dry-run`"))
}

async fn open(settings: &Settings, mode: Mode, limits: PassLimits) -> CommandResult<Assembled> {
    let settings = settings.clone();
    let opened = tokio::task::spawn_blocking(move || assemble(&settings, mode, limits)).await;
    opened.context("cannot start")?
}

/// Tells the agent which state branch and which instances its person answers for.
fn accept(args: &RunArgs, assembled: &Assembled) {
    if let Some(tip) = &args.accept_state {
        let by = identity::user().to_string();
        assembled.agent.accept_state(tip.clone(), &by);
    }
    for group in &args.accept_instances {
        let by = identity::user().to_string();
        assembled.agent.accept_instances(group.clone(), &by);
    }
}

/// Makes one pass and says what it did.
async fn once(args: &RunArgs, settings: &Settings, mode: Mode, ui: Ui) -> CommandResult {
    let mut assembled = open(settings, mode, PassLimits::of_single_pass()).await?;
    accept(args, &assembled);
    let plugins = start_plugins(settings, mode).await?;
    let report = assembled.agent.pass().await;
    // Steps in flight are waited for.
    assembled.agent.shut_down().await;
    assembled.mirror.stop();
    plugins.end().await;
    ui.result(&status::tell(&report, args.dry_run))?;
    Ok(of_one_pass(&report))
}

/// Starts the plugins of the agent's file. The journal's lock is held, so that no other agent's are
/// touched. A dry run uses those that run.
async fn start_plugins(settings: &Settings, mode: Mode) -> CommandResult<Supervisor> {
    if mode == Mode::DryRun {
        return Ok(Supervisor::idle());
    }
    let plugins = settings.plugins.start.as_slice();
    let sockets = settings.places(&settings.process_dir).plugins;
    let started = Supervisor::start(plugins, &sockets, &settings.data_dir).await;
    started.context("cannot start the plugins")
}

/// Makes passes until the command is done.
async fn follow(args: &RunArgs, settings: &Settings, mode: Mode, ui: Ui) -> CommandResult {
    let mut signals = Signals::listen()?;
    // A port that is taken is found before anything is done.
    let listener = match (settings.listen, mode) {
        (Listen::On(address), Mode::Act | Mode::Observe) => Some(serve::bind(address).await?),
        (Listen::Off, _) | (_, Mode::DryRun) => None,
    };
    let assembled = open(settings, mode, PassLimits::default()).await?;
    accept(args, &assembled);
    let plugins = start_plugins(settings, mode).await?;
    let name = settings.name.as_str();
    let (handle, driver) = drive(assembled.agent, random() | 1);
    let mirror = assembled.mirror;
    let services = Services {
        agent: handle.clone(),
        registry: assembled.registry,
        mirror: mirror.clone(),
        about: Arc::new(About::new(settings, mode, assembled.url)),
    };
    let metrics = Metrics::new(handle.watch(), plugins.states());
    let notices = match settings.notify.as_ref().filter(|_| mode != Mode::DryRun) {
        Some(config) => {
            let started = Notices::start(config, handle.watch(), metrics.clone());
            Some(started.map_err(|why| CommandError::new("cannot tell anybody").because(why))?)
        }
        None => None,
    };
    let mut serving = Serving::default();
    if mode != Mode::DryRun {
        serving.socket(settings, &services)?;
    }
    match listener {
        Some(listener) => serving.http(listener, settings, services, metrics.clone()),
        None if settings.webhooks.is_empty() => {}
        None => warn!("webhooks not answered, as nothing is listened on"),
    }
    if let Some(path) = assembled.local {
        serving.watch(&path, &settings.branch, handle.clone());
    }
    info!(agent = name, "agent started");
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(driver.run(async {
        // Dropped or sent: both mean stop.
        let _ = stopped.await;
    }));
    let mut observer = Observer {
        metrics,
        progress: ui.is_interactive().then(Progress::new),
        seen: 0,
    };
    let ended = tokio::select! {
        exit = signals.next() => interrupted(args, exit),
        ended = observer.observe(args, &handle, ui) => ended,
    };
    drop(observer);
    drop(stop);
    let joined = running.await;
    mirror.stop();
    plugins.end().await;
    drop(serving);
    if let Some(notices) = notices {
        notices.end().await;
    }
    joined.context("the agent ended by a mistake of its own")?;
    ended
}

/// A stop is what was asked for, unless somebody waited for an end.
fn interrupted(args: &RunArgs, exit: Exit) -> CommandResult {
    if args.until_converged {
        Err(CommandError::new("interrupted").exit(exit))
    } else {
        Ok(Exit::Done)
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> CommandResult<Self> {
        let attempted = "cannot listen for signals";
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context(attempted)?,
            terminate: signal(SignalKind::terminate()).context(attempted)?,
        })
    }

    async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.terminate.recv() => Exit::Signal(15),
            _ = self.interrupt.recv() => Exit::Signal(2),
        }
    }
}

/// What serves while the agent runs; ended with it.
#[derive(Default)]
struct Serving {
    tasks: Vec<JoinHandle<()>>,
    folder: Option<SocketFolder>,
    watch: Option<RefWatch>,
}

impl Serving {
    fn socket(&mut self, settings: &Settings, services: &Services) -> CommandResult<()> {
        let attempted = format!("cannot make the socket in {}", settings.data_dir.display());
        let folder = SocketFolder::open(&settings.data_dir).context(attempted.as_str())?;
        let listener = socket::bind(&folder).context(attempted)?;
        let serving = socket::serve(listener, services.clone());
        self.spawn(serving);
        self.folder = Some(folder);
        Ok(())
    }

    fn http(
        &mut self,
        listener: TcpListener,
        settings: &Settings,
        services: Services,
        metrics: Metrics,
    ) {
        let hint = Arc::new(Notify::new());
        let webhooks = Webhooks::new(&settings.webhooks, hint.clone(), metrics.clone());
        if webhooks.is_some() {
            let following = webhook::follow_hints(hint, services.agent.clone());
            self.tasks.push(tokio::spawn(following));
        }
        self.spawn(serve::serve(listener, services, metrics, webhooks));
    }

    fn spawn(&mut self, serving: impl Future<Output = std::io::Result<()>> + Send + 'static) {
        self.tasks.push(tokio::spawn(async move {
            if let Err(error) = serving.await {
                warn!(%error, "serving ended");
            }
        }));
    }

    /// Watches a repository on this machine. Without the watch the interval remains.
    fn watch(&mut self, path: &std::path::Path, branch: &str, agent: AgentHandle) {
        let pushed = Arc::new(Notify::new());
        match watch::watch(path, branch, pushed.clone()) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => warn!(%error, "repository not watched"),
        }
        self.tasks.push(tokio::spawn(async move {
            loop {
                pushed.notified().await;
                tokio::time::sleep(watch::SETTLE).await;
                agent.trigger();
            }
        }));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        if let Some(folder) = &self.folder {
            // The next agent replaces it should this fail.
            let _ = std::fs::remove_file(folder.path());
        }
    }
}

/// Looks at every pass: counts, shows, and finds out when the command is done.
struct Observer {
    metrics: Metrics,
    progress: Option<Progress>,
    seen: u64,
}

impl Observer {
    /// Looks on until the command is done, for ever unless it waits for convergence.
    async fn observe(&mut self, args: &RunArgs, agent: &AgentHandle, ui: Ui) -> CommandResult {
        let started = Instant::now();
        let mut states = agent.watch();
        let mut last: Option<Arc<PassReport>> = None;
        loop {
            let left = if args.until_converged {
                args.timeout.saturating_sub(started.elapsed())
            } else {
                Duration::MAX
            };
            match tokio::time::timeout(left, states.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(CommandError::new("the agent ended by itself")),
                Err(_) => return Err(timed_out(args, last.as_deref())),
            }
            let status = states.borrow_and_update().clone();
            let Some(report) = status.pass.clone() else {
                continue;
            };
            if report.pass == self.seen {
                continue;
            }
            self.seen = report.pass;
            self.count(&status, &report);
            if args.until_converged
                && let Some(ended) = settled(&status, &report)
            {
                self.progress = None;
                if ended.is_ok() {
                    ui.message("converged");
                }
                return ended;
            }
            last = Some(report);
        }
    }

    fn count(&mut self, status: &AgentStatus, report: &PassReport) {
        for (name, metric) in &status.metrics {
            if metric.judged.is_err() {
                let source = metric.source.as_str();
                self.metrics.observe_metric_error(name.as_str(), source);
            }
        }
        self.metrics.observe_pass(report.took);
        for step in report.groups.values().flat_map(|group| &group.steps) {
            self.metrics.observe_step(step.verb, fate(&step.result));
        }
        if let Some(progress) = &mut self.progress {
            progress.show(report);
        }
    }
}

/// Returns how the command ends, once nothing goes on without a person.
fn settled(status: &AgentStatus, report: &PassReport) -> Option<CommandResult> {
    let clocked = |name: &GroupName| {
        let group = status.groups.get(name);
        group.is_some_and(|group| group.decisions.review_at.is_some())
    };
    let standing = standing(report, &clocked);
    // What was done must be on the record before the command says that it is.
    let unpublished = status.write_back.pending > 0 && status.write_back.failure.is_none();
    if standing == Standing::Going || unpublished {
        return None;
    }
    let Standing::Stuck(exit) = standing else {
        return Some(Ok(Exit::Done));
    };
    Some(Err(explain("a person has to decide", exit, report)))
}

fn timed_out(args: &RunArgs, report: Option<&PassReport>) -> CommandError {
    let limit = drover_spec::format_duration(args.timeout);
    let message = format!("not converged after {limit}");
    match report {
        Some(report) => explain(&message, Exit::TimedOut, report),
        None => CommandError::new(message).exit(Exit::TimedOut),
    }
}

fn explain(message: &str, exit: Exit, report: &PassReport) -> CommandError {
    let mut error = CommandError::new(message).exit(exit);
    for reason in reasons(report) {
        error = error.detail(reason);
    }
    error.hint("`drover describe GROUP` and `drover why GROUP` say more")
}

fn fate(fate: &StepFate) -> &'static str {
    match fate {
        StepFate::Planned => "planned",
        StepFate::Done => "done",
        StepFate::Skipped(_) => "skipped",
        StepFate::Failed(_) => "failed",
        StepFate::Unknown(_) => "unknown",
    }
}
