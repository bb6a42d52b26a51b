//! What the demo plays on: a throw-away repository, a real agent, and how to clear both away.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use drover_git::{
    Edit, Mirror, Oid, RemoteOptions, RepositoryKind, Signature, SourceUrl, init_repository,
};
use drover_model::{FleetName, ProviderName, RecordedGroup, Value};
use drover_provider::{DestroyRequest, Provider};

use super::load::{self, Member};
use crate::agent::client::AgentClient;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::providers;
use crate::settings::PROCESS_FOLDER;
use crate::snapshot::{Reader, Repository, Snapshot};
use crate::source_edit::{self, Target};

/// The demo's fleet, group and provider.
const FLEET: &str = "demo";
pub(super) const GROUP: &str = "web";
pub(super) const PROVIDER: &str = "local";

/// Between two looks at what happens.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the agent may take to end when asked.
const AGENT_END: Duration = Duration::from_secs(10);

/// How long instances may take to end at the end.
const INSTANCES_END: Duration = Duration::from_secs(15);

/// Everything that the demo made.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) root: PathBuf,
    pub(super) repository: Repository,
    agent: Option<Child>,
    interrupted: Arc<AtomicBool>,
}

impl Stage {
    /// Makes the folder and the empty repository.
    pub(super) fn build(interrupted: Arc<AtomicBool>) -> CommandResult<Self> {
        let folder = tempfile::Builder::new()
            .prefix("drover-demo-")
            .tempdir()
            .context("cannot make a folder for the demo")?;
        // Removed by us, after the processes in it have ended.
        let root = folder.keep();
        let git = root.join("fleet.git");
        let attempted = "cannot make the demo's repository";
        init_repository(&git, RepositoryKind::Bare, "main").context(attempted)?;
        let url = SourceUrl::from_path(&git).context(attempted)?;
        let mirror = Mirror::open(&git, url, RemoteOptions::default()).context(attempted)?;
        let stage = Self {
            repository: Repository {
                mirror: Arc::new(mirror),
                state_branch: "drover/state".to_owned(),
                _scratch: None,
            },
            root,
            agent: None,
            interrupted,
        };
        let config = format!(
            "name: {FLEET}\nsource: {{url: '{}', branch: main, interval: 2s}}\ndataDir: '{}'\n\
             listen: 'off'\nproviders: {{allow: [process]}}\n",
            git.display(),
            stage.data_dir().display()
        );
        fs::write(stage.config(), config).context("cannot write the agent's file")?;
        Ok(stage)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.root.join("agent.yaml")
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(super) fn agent_log(&self) -> PathBuf {
        self.root.join("agent.log")
    }

    /// The published members of the group.
    pub(super) fn members_file(&self) -> PathBuf {
        self.data_dir()
            .join("members")
            .join(format!("{GROUP}.json"))
    }

    /// Starts the agent as a process of its own, as a person would.
    pub(super) fn start_agent(&mut self) -> CommandResult<()> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let attempted = "cannot start the agent";
        let log = fs::File::create(self.agent_log()).context(attempted)?;
        let errors = log.try_clone().context(attempted)?;
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(self.config());
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DROVER_") {
                command.env_remove(name);
            }
        }
        // A Ctrl-C of the terminal reaches the demo alone, which then ends everything in order.
        command.process_group(0);
        self.agent = Some(command.spawn().context(attempted)?);
        Ok(())
    }

    /// Commits to the branch as a person would push.
    pub(super) fn push(&self, message: &str, edits: &[Edit]) -> CommandResult<Oid> {
        let target = self.target();
        let refs = target
            .mirror
            .list()
            .context("cannot read the demo's repository")?;
        let author = Signature {
            name: "Ada".to_owned(),
            email: "ada@example.com".to_owned(),
        };
        let Some(tip) = refs.get(target.branch) else {
            return self.first_push(message, edits, author);
        };
        let pushed = source_edit::commit_on(target, tip, edits, message, author)?;
        pushed.ok_or_else(|| CommandError::new("somebody else pushed to the demo's repository"))
    }

    fn first_push(&self, message: &str, edits: &[Edit], author: Signature) -> CommandResult<Oid> {
        let attempted = "cannot commit to the demo's repository";
        let mirror = &self.repository.mirror;
        let meta = drover_git::CommitMeta {
            message: message.to_owned(),
            author,
            time: drover_model::Timestamp::now(),
            signer: None,
        };
        let first = mirror
            .build_commit(None, edits, &meta)
            .context(attempted)?
            .ok_or_else(|| CommandError::new(attempted))?;
        mirror.ensure_branch("main", first).context(attempted)
    }

    pub(super) fn target(&self) -> Target<'_> {
        Target {
            mirror: &self.repository.mirror,
            branch: "main",
            path: "",
        }
    }

    /// Waits until the group is as wanted.
    ///
    /// # Errors
    ///
    /// The time limit, with how the group stands; an interruption; an agent that ended.
    pub(super) fn wait(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: &mut dyn FnMut(&RecordedGroup) -> bool,
    ) -> CommandResult<RecordedGroup> {
        let started = Instant::now();
        let mut last = None;
        loop {
            self.check_interrupted()?;
            self.check_agent()?;
            if let Some(group) = self.group() {
                if wanted(&group) {
                    return Ok(group);
                }
                last = Some(group);
            }
            if started.elapsed() > limit {
                let how = last.map_or("it was never recorded".to_owned(), |group| {
                    let view = crate::view::group(&group, &crate::view::Declared::default());
                    crate::view::describe_group(
                        &group,
                        &view,
                        drover_model::Timestamp::now(),
                        false,
                    )
                });
                return Err(CommandError::new(format!(
                    "waited {} s for {what}; the group stands like this:\n{how}",
                    limit.as_secs()
                ))
                .exit(Exit::TimedOut));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Returns the group as the agent sees it now, once the agent serves.
    pub(super) fn group(&self) -> Option<RecordedGroup> {
        let snapshot = self.snapshot()?;
        snapshot
            .groups
            .into_values()
            .find(|group| group.name.as_str() == GROUP)
    }

    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        let client = AgentClient::connect(&self.data_dir()).ok()?;
        Reader::Agent(client).read().ok()
    }

    pub(super) fn check_interrupted(&self) -> CommandResult<()> {
        if self.interrupted.load(Ordering::SeqCst) {
            return Err(CommandError::new("interrupted").exit(Exit::Signal(2)));
        }
        Ok(())
    }

    fn check_agent(&mut self) -> CommandResult<()> {
        let Some(agent) = &mut self.agent else {
            return Ok(());
        };
        let ended = agent.try_wait().context("cannot look after the agent")?;
        let Some(status) = ended else {
            return Ok(());
        };
        let log = fs::read_to_string(self.agent_log()).unwrap_or_default();
        Err(CommandError::new(format!(
            "the agent ended by itself ({status}); it said:\n{log}"
        )))
    }

    /// Returns the members that take requests.
    pub(super) fn ready_members(&self) -> Vec<Member> {
        load::ready(&self.members_file()).unwrap_or_default()
    }

    /// Ends the agent, then every instance, then removes the folder.
    pub(super) fn clear(mut self) -> CommandResult<()> {
        self.stop_agent()?;
        end_instances(&self.data_dir().join(PROCESS_FOLDER))?;
        fs::remove_dir_all(&self.root).context(format!("cannot remove {}", self.root.display()))
    }

    /// Lets go of everything and leaves it running.
    pub(super) fn keep(mut self) -> Option<u32> {
        self.agent.take().map(|agent| agent.id())
    }

    fn stop_agent(&mut self) -> CommandResult<()> {
        let Some(mut agent) = self.agent.take() else {
            return Ok(());
        };
        let pid = rustix::process::Pid::from_child(&agent);
        // It may have ended already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let started = Instant::now();
        while started.elapsed() < AGENT_END {
            if agent
                .try_wait()
                .context("cannot look after the agent")?
                .is_some()
            {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        let _ = agent.kill();
        agent.wait().context("cannot look after the agent")?;
        Ok(())
    }
}

/// Ends every instance of the demo through its provider, as the agent would, and waits for it.
fn end_instances(process_dir: &Path) -> CommandResult<()> {
    if !process_dir.exists() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let provider = open_provider(process_dir)?;
    let fleet = FleetName::parse(FLEET).context("the demo's fleet")?;
    let attempted = "cannot end the demo's instances";
    let started = Instant::now();
    loop {
        let listing = runtime.block_on(provider.list(&fleet)).context(attempted)?;
        let left: Vec<_> = listing
            .instances
            .iter()
            .filter(|listed| listed.phase != drover_model::ProviderPhase::Terminated)
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        for listed in &left {
            let Some(owner) = &listed.ownership else {
                continue;
            };
            let request = DestroyRequest {
                fleet: owner.fleet.clone(),
                group: owner.group.clone(),
                epoch: owner.epoch,
                instance: owner.instance.clone(),
                provider_ref: listed.provider_ref.clone(),
                token: owner.token.clone(),
                grace: Duration::from_secs(2),
                ending: drover_provider::Ending::default(),
            };
            runtime
                .block_on(provider.destroy(&request))
                .context(attempted)?;
        }
        if started.elapsed() > INSTANCES_END {
            return Err(CommandError::new(format!(
                "{} instances of the demo did not end; they are in {}",
                left.len(),
                process_dir.display()
            )));
        }
        std::thread::sleep(PAUSE);
    }
}

fn open_provider(process_dir: &Path) -> CommandResult<Arc<dyn Provider>> {
    let name = ProviderName::parse(PROVIDER).context("the demo's provider")?;
    let factories = providers::factories(providers::Places::of_processes(process_dir));
    let process = factories
        .iter()
        .find(|factory| factory.manifest().type_.as_str() == "process")
        .ok_or_else(|| CommandError::new("this build has no process provider"))?;
    process
        .open(&name, &Value::empty_map())
        .context("cannot reach the demo's instances")
}
