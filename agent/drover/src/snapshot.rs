//! What the read commands work with: the state of every group, from the running agent, else from the
//! state branch, read only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_git::{GitError, Mirror, Oid, RemoteRefs, is_document};
use drover_model::{GroupName, InstanceId, RecordedGroup};
use drover_spec::record::{self, RecordedFleet};

use crate::agent::client::{AgentClient, ClientError};
use crate::agent::protocol::{ProviderReply, StateReply, Status};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::settings::Settings;

/// Where recorded groups are on the state branch.
pub(crate) const GROUPS_FOLDER: &str = "groups";

/// Where the recorded policies, bindings and providers are on the state branch.
pub(crate) use drover_loop::FLEET_FILE;

/// The state at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Where it was read.
    pub(crate) origin: Origin,
    /// Every group.
    pub(crate) groups: BTreeMap<GroupName, RecordedGroup>,
    /// Policies, bindings and providers.
    pub(crate) fleet: Option<RecordedFleet>,
}

/// Where a state was read.
#[derive(Debug)]
pub(crate) enum Origin {
    /// From the running agent.
    Agent {
        /// The agent.
        status: Box<Status>,
        /// The number of the state.
        serial: u64,
    },
    /// From the state branch: as of its latest commit.
    Branch,
}

/// Reads states.
#[derive(Debug)]
pub(crate) enum Reader {
    /// The running agent.
    Agent(AgentClient),
    /// The repository.
    Branch(Box<Repository>),
}

/// The source repository and its state branch.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) state_branch: String,
    /// A mirror of a remote made for this command only; removed with it.
    pub(crate) _scratch: Option<tempfile::TempDir>,
}

/// Time between two looks at the state branch while watching.
const WATCH_PAUSE: Duration = Duration::from_secs(2);

impl Reader {
    /// Connects to the agent, else opens the repository.
    pub(crate) fn open(settings: &Settings) -> CommandResult<Self> {
        match AgentClient::connect(&settings.data_dir) {
            Ok(client) => Ok(Self::Agent(client)),
            Err(ClientError::NotRunning { .. }) => {
                Ok(Self::Branch(Box::new(Repository::open(settings)?)))
            }
            Err(error) => {
                let attempted = format!("cannot ask the agent of {}", settings.data_dir.display());
                Err(CommandError::new(attempted).because(error))
            }
        }
    }

    /// Reads the state.
    pub(crate) fn read(&self) -> CommandResult<Snapshot> {
        match self {
            Self::Agent(client) => {
                let reply = client
                    .state(None)
                    .context("cannot read the agent's state")?;
                Snapshot::from_reply(reply)
            }
            Self::Branch(repository) => repository.snapshot(),
        }
    }

    /// Waits for a state that may differ from `last`, and reads it.
    pub(crate) fn next(&self, last: &Snapshot) -> CommandResult<Snapshot> {
        if let (Self::Agent(client), Origin::Agent { serial, .. }) = (self, &last.origin) {
            let reply = client.state(Some(*serial));
            return Snapshot::from_reply(reply.context("cannot read the agent's state")?);
        }
        std::thread::sleep(WATCH_PAUSE);
        self.read()
    }
}

impl Snapshot {
    /// Reads what an agent has sent.
    pub(crate) fn from_reply(reply: StateReply) -> CommandResult<Self> {
        let fleet = reply.fleet.as_deref().map(record::decode_fleet).transpose();
        Ok(Self {
            groups: decode_groups(reply.groups.values())?,
            fleet: fleet.context("cannot read the agent's policies")?,
            origin: Origin::Agent {
                status: Box::new(reply.status),
                serial: reply.serial,
            },
        })
    }

    /// Returns what a reader should know about the state as a whole.
    pub(crate) fn notes(&self) -> Vec<String> {
        match &self.origin {
            Origin::Branch => vec!["no agent runs: this is the state as last recorded".to_owned()],
            Origin::Agent { status, .. } => {
                // What is a hold of the whole agent is told as one.
                let held = |hold: &String| hold.starts_with("SourceUnavailable");
                let told = status.holds.iter().any(held);
                let source = status.source.error.as_ref().filter(|_| !told);
                let source = source.map(|error| format!("the source cannot be used: {error}"));
                let state = status.state.error.as_ref();
                let state =
                    state.map(|error| format!("the state branch cannot be written: {error}"));
                let holds = status
                    .holds
                    .iter()
                    .map(|hold| format!("the agent holds: {hold}"));
                let orphans = match status.orphans.len() {
                    0 => None,
                    1 => Some("1 instance belongs to no group: drover get orphans".to_owned()),
                    count => Some(format!(
                        "{count} instances belong to no group: drover get orphans"
                    )),
                };
                let missing = status.metrics.iter().filter(|metric| !metric.ok);
                let missing = missing.map(|metric| {
                    let why = metric.why.as_deref().unwrap_or("no value");
                    format!("metric {} is not ok: {why}", metric.name)
                });
                let operations = status.operations_error.as_ref();
                let operations =
                    operations.map(|error| format!("operations cannot be read: {error}"));
                let refused = status.refused_operations.iter().map(|refused| {
                    let (path, why) = (&refused.path, &refused.why);
                    format!("operation {path} does not count: {why}")
                });
                // Recorded as a hold only where it lasts.
                let providers = status.provider_errors.iter();
                let providers = providers.map(|(name, error)| {
                    format!("provider {name} cannot be listed, so nothing is done to its groups: {error}")
                });
                source
                    .into_iter()
                    .chain(providers)
                    .chain(operations)
                    .chain(refused)
                    .chain(missing)
                    .chain(state)
                    .chain(holds)
                    .chain(orphans)
                    .collect()
            }
        }
    }

    /// Returns what the agent knows of a provider. None: no agent runs, or it has not asked it.
    pub(crate) fn provider(&self, name: &str) -> Option<&ProviderReply> {
        match &self.origin {
            Origin::Branch => None,
            Origin::Agent { status, .. } => status.providers.get(name),
        }
    }

    /// Returns a group.
    ///
    /// # Errors
    ///
    /// A name that is no group's, with those that are.
    pub(crate) fn group(&self, name: &GroupName) -> CommandResult<&RecordedGroup> {
        self.groups.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.groups.keys().map(GroupName::as_str).collect();
            let error = CommandError::new(format!("there is no group {name}"));
            if known.is_empty() {
                error.hint(match self.origin {
                    Origin::Agent { .. } => "the agent has no group",
                    Origin::Branch => "no group is recorded: is the agent running?",
                })
            } else {
                error.hint(format!("the groups are {}", known.join(", ")))
            }
        })
    }

    /// Returns the group of an instance, with the instance known in it.
    pub(crate) fn group_of(&self, id: &InstanceId) -> CommandResult<&RecordedGroup> {
        let group = self.group(id.group())?;
        if group.instances.contains_key(id) {
            return Ok(group);
        }
        let known: Vec<String> = group.instances.keys().map(ToString::to_string).collect();
        let error = CommandError::new(format!("there is no instance {id}"));
        Err(if known.is_empty() {
            error.hint(format!("group {} has no instances", id.group()))
        } else {
            error.hint(format!("group {} has {}", id.group(), known.join(", ")))
        })
    }
}

fn decode_groups<'a>(
    texts: impl Iterator<Item = &'a String>,
) -> CommandResult<BTreeMap<GroupName, RecordedGroup>> {
    let mut groups = BTreeMap::new();
    for text in texts {
        let group = record::decode(text).map_err(|error| {
            newer_format(CommandError::new("cannot read a group's state"), error)
        })?;
        groups.insert(group.name.clone(), group);
    }
    Ok(groups)
}

fn newer_format(
    context: CommandError,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> CommandError {
    context
        .because(error)
        .hint("it may be written by another version of drover: compare `drover version`")
}

/// Refuses a repository that has no commit: that a name stands for none there says nothing of the name.
pub(crate) fn require_commits(refs: &RemoteRefs) -> CommandResult<()> {
    if refs.all().is_empty() {
        let empty = CommandError::new("the repository has no commit");
        return Err(empty.hint("commit something there, or push a branch to it"));
    }
    Ok(())
}

/// A repository that is opened where a commit is asked for: two folders need none.
pub(crate) struct Lazy<'a> {
    settings: &'a Settings,
    opened: Option<Repository>,
}

impl<'a> Lazy<'a> {
    pub(crate) fn of(settings: &'a Settings) -> Self {
        Self {
            settings,
            opened: None,
        }
    }

    /// Returns it, opened.
    pub(crate) fn get(&mut self) -> CommandResult<&Repository> {
        if self.opened.is_none() {
            self.opened = Some(Repository::open(self.settings)?);
        }
        Ok(self.opened.as_ref().expect("just opened"))
    }

    /// Returns the recorded groups, as far as they are at hand: none where nothing was asked of the repository.
    pub(crate) fn recorded(&self) -> BTreeMap<GroupName, RecordedGroup> {
        let recorded = self.opened.as_ref().map(Repository::recorded_here);
        recorded.and_then(Result::ok).unwrap_or_default()
    }
}

impl Repository {
    /// Opens the source repository; a remote is mirrored into a scratch folder.
    pub(crate) fn open(settings: &Settings) -> CommandResult<Self> {
        let url = settings.source_url()?;
        settings.warn_of(&url);
        let attempted = format!("cannot open the repository {url}");
        let scratch = if url.is_local() {
            None
        } else {
            Some(tempfile::tempdir().context("cannot make a scratch folder")?)
        };
        let dir = match &scratch {
            Some(scratch) => scratch.path().to_owned(),
            None => settings.data_dir.clone(),
        };
        let mirror = Mirror::open(&dir, url, settings.remote.clone()).context(attempted)?;
        Ok(Self {
            mirror: Arc::new(mirror),
            state_branch: settings.state_branch.clone(),
            _scratch: scratch,
        })
    }

    /// Returns the newest commit of the state branch; none when there is no such branch.
    ///
    /// In a local repository the agent's commits may be a moment ahead of the branch.
    pub(crate) fn state_tip(&self) -> CommandResult<Option<Oid>> {
        let attempted = || format!("cannot read branch {}", self.state_branch);
        let here = pending(&self.mirror, &self.state_branch).context(attempted())?;
        if here.is_some() {
            return Ok(here);
        }
        let refs = self.mirror.list().context(attempted())?;
        let Some(tip) = refs.get(&self.state_branch) else {
            return Ok(None);
        };
        let name = refs.full_name(&self.state_branch);
        let name = name.unwrap_or_else(|| self.state_branch.clone());
        self.mirror.fetch(&[(&name, tip)]).context(attempted())?;
        Ok(Some(tip))
    }

    /// Returns the commit of a branch, a tag or a commit's name, fetched.
    pub(crate) fn commit_named(&self, name: &str) -> CommandResult<Oid> {
        let mirror = &self.mirror;
        let refs = mirror.list().context("cannot read the source repository")?;
        if let Some((full, commit)) = refs.full_name(name).zip(refs.get(name)) {
            mirror
                .fetch(&[(&full, commit)])
                .context(format!("cannot fetch {name}"))?;
            return Ok(commit);
        }
        let found = mirror.resolve(name);
        if found.is_err() {
            require_commits(&refs)?;
        }
        found.context(format!("cannot find `{name}` in {}", mirror.url()))
    }

    /// Returns every file that the state branch has about groups and the fleet, as written.
    pub(crate) fn state_files(&self) -> CommandResult<BTreeMap<String, Vec<u8>>> {
        let attempted = || format!("cannot read branch {}", self.state_branch);
        let mut files = BTreeMap::new();
        let Some(tip) = self.state_tip()? else {
            return Ok(files);
        };
        for (path, oid) in self.group_files(tip).context(attempted())? {
            let bytes = self.read_recorded(oid).context(attempted())?;
            files.insert(path, bytes);
        }
        let fleet = self.mirror.recorded(tip, FLEET_FILE);
        let fleet = fleet.context(attempted())?;
        files.extend(fleet.map(|(_, bytes)| (FLEET_FILE.to_owned(), bytes)));
        Ok(files)
    }

    /// Reads the state that the branch records.
    pub(crate) fn snapshot(&self) -> CommandResult<Snapshot> {
        let tip = self.state_tip()?.ok_or_else(|| {
            CommandError::new(format!(
                "no agent runs, and {} has no branch {}",
                self.mirror.url(),
                self.state_branch
            ))
            .hint("start the agent with `drover run`, or name the right --config")
        })?;
        self.snapshot_of(tip)
    }

    /// Reads the recorded groups as far as they are at hand: from the state branch, or in a clone from what it
    /// last fetched of it. No groups: there is no such branch.
    pub(crate) fn recorded_here(&self) -> CommandResult<BTreeMap<GroupName, RecordedGroup>> {
        let fetched = || {
            let name = format!("refs/remotes/origin/{}", self.state_branch);
            let tip = self.mirror.read_ref(&name);
            tip.context(format!("cannot read {name}"))
        };
        let tip = match self.state_tip()? {
            Some(tip) => Some(tip),
            None => fetched()?,
        };
        match tip {
            Some(tip) => Ok(self.snapshot_of(tip)?.groups),
            None => Ok(BTreeMap::new()),
        }
    }

    /// Returns paths and ids of the recorded groups of a commit.
    pub(crate) fn group_files(&self, commit: Oid) -> Result<Vec<(String, Oid)>, GitError> {
        let mut files = self.mirror.recorded_below(commit, GROUPS_FOLDER)?;
        files.retain(|(path, _)| is_document(path));
        Ok(files)
    }

    /// Returns the content of a file of recorded state.
    pub(crate) fn read_recorded(&self, oid: Oid) -> Result<Vec<u8>, GitError> {
        self.mirror
            .read(oid, drover_git::RECORDED_BYTES_MAX as usize)
    }

    fn snapshot_of(&self, tip: Oid) -> CommandResult<Snapshot> {
        let attempted = || format!("cannot read branch {}", self.state_branch);
        let mut texts = Vec::new();
        for (_, oid) in self.group_files(tip).context(attempted())? {
            let bytes = self.read_recorded(oid).context(attempted())?;
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        let fleet = self.mirror.recorded(tip, FLEET_FILE);
        let fleet = fleet.context(attempted())?;
        let fleet = fleet
            .map(|(_, bytes)| record::decode_fleet(&String::from_utf8_lossy(&bytes)))
            .transpose();
        Ok(Snapshot {
            origin: Origin::Branch,
            groups: decode_groups(texts.iter())?,
            fleet: fleet.context(attempted())?,
        })
    }
}

/// The agent's commits that are not on the branch yet.
fn pending(mirror: &Mirror, branch: &str) -> Result<Option<Oid>, GitError> {
    mirror.read_ref(&format!("refs/drover/pending/{branch}"))
}

/// Returns the newest commit of the state branch that is here, without asking a remote.
pub(crate) fn state_tip_here(mirror: &Mirror, branch: &str) -> Result<Option<Oid>, GitError> {
    match pending(mirror, branch)? {
        Some(tip) => Ok(Some(tip)),
        None => mirror.read_ref(branch),
    }
}
