//! The groups of a running agent, as InfraKit's `Group`: read from its socket, changed by commits to its source.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use drover_git::CommitKey;
use drover_loop::chain;
use drover_model::{
    Flavor, FlavorName, Group, GroupName, GroupPhase, Kind, Manage, RecordedGroup, Revision,
    label_of,
};
use drover_provider_plugin::{
    GroupChange, GroupService, GroupSpec, Groups, ServedGroup, ServedInstance, Trying, Watch,
    WrittenGroup, from_json, logical_id, to_json,
};
use drover_spec::{Document, edit, parse_document};
use serde_json::{Value as Json, json};

use crate::agent::client::AgentClient;
use crate::cli::PluginServeArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::operations;
use crate::settings::Settings;
use crate::snapshot::{Origin, Repository, Snapshot};
use crate::source_edit::{self, Author, Mode, Signatures, Target};

mod agent;
mod destroy;
mod document;
mod follow;

pub(super) use agent::agent;
use destroy::Signing;

/// How long the agent may take for the pass after a change.
const PASS: Duration = Duration::from_secs(30);

/// How long operations count unless something else is said.
const COUNTS: Duration = Duration::from_hours(24);

/// The groups of one agent.
#[derive(Debug, Clone)]
pub(super) struct AgentGroups {
    settings: Settings,
    /// What commits and operations are signed with. None: nothing is signed.
    signing: Option<Arc<Signing>>,
    /// Held by the call that ends instances.
    turn: Arc<Mutex<()>>,
    /// Held while a commit is made. Of two at once, where the branch is checked out, one would take the other's files for
    /// changes that somebody has not committed.
    writing: Arc<Mutex<()>>,
}

/// Returns the service of the agent that the arguments name.
pub(super) fn service(args: &PluginServeArgs) -> CommandResult<GroupService<AgentGroups>> {
    let settings = Settings::of_source(&args.source())?;
    // A source that cannot be named is told now, not at the first change.
    settings.source_url()?;
    let counts = args.expires.unwrap_or(COUNTS);
    operations::check_lifetime(counts, "--expires")?;
    let key = match args.key_file().or_else(|| settings.key.clone()) {
        Some(file) => Some(operations::signing_key(Some(file), &settings)?),
        None => None,
    };
    Ok(GroupService::new(AgentGroups {
        signing: key.map(|key| {
            Arc::new(Signing {
                commits: Arc::new(CommitKey::Ssh(key.clone())),
                key,
                counts,
            })
        }),
        settings,
        turn: Arc::default(),
        writing: Arc::default(),
    }))
}

impl AgentGroups {
    /// Does what waits for sockets and files on a thread that may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> CommandResult<T> + Send + 'static,
    ) -> Result<T, String> {
        let this = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&this)).await;
        match done {
            Ok(done) => done.map_err(|error| on_one_line(&chain(&error))),
            Err(error) => Err(error.to_string()),
        }
    }

    fn snapshot(&self) -> CommandResult<Snapshot> {
        let client = AgentClient::connect(&self.settings.data_dir)
            .context("the groups of no running agent can be served")?;
        let reply = client
            .state(None)
            .context("cannot read the agent's state")?;
        Snapshot::from_reply(reply)
    }

    fn change(&self, change: &GroupChange, trying: Trying) -> CommandResult<()> {
        let mode = &match trying {
            Trying::Pretend => Mode::DryRun,
            Trying::Commit => Mode::Write,
        };
        match change {
            GroupChange::Create { id, spec } => self.create(id, spec, mode),
            GroupChange::DestroyInstances { id, instances } => match trying {
                Trying::Pretend => Ok(()),
                Trying::Commit => self.destroy_instances(id, instances),
            },
            GroupChange::Edit {
                id,
                size,
                properties,
                watch,
            } => self.edit(id, (*size, properties.as_ref()), *watch, mode),
            GroupChange::Free { id } => {
                let group = parsed(id)?;
                let message = format!("{group}: leave alone");
                self.commit(&group, mode, &message, &|text| {
                    edit::set_manage(text, &group, Manage::Observe)
                })
            }
            GroupChange::Destroy { id } => self.destroy(id, mode),
        }
    }

    fn create(&self, id: &str, spec: &GroupSpec, mode: &Mode) -> CommandResult<()> {
        let group = parsed(id)?;
        let attempted = || format!("group {group} cannot be a document");
        let text = document::written(&group, spec).context(attempted())?;
        let repository = Repository::open(&self.settings)?;
        let message = format!("{group}: new");
        let target = self.target(&repository);
        let author = self.author(&message)?;
        let done = {
            let _writing = held(&self.writing);
            source_edit::add_group(target, &group, &text, &author, mode)?
        };
        self.follow(&repository, &group, &done)
    }

    fn edit(
        &self,
        id: &str,
        (size, properties): (Option<u32>, Option<&Json>),
        watch: Watch,
        mode: &Mode,
    ) -> CommandResult<()> {
        let group = parsed(id)?;
        let message = format!("{group}: {}", said(size, properties, watch));
        self.commit(&group, mode, &message, &|text| {
            let mut text = text.to_owned();
            // What means the same stays as it is written, with its comments.
            if let Some(asked) = properties
                && !document::has_properties(&text, &group, asked)
            {
                let properties = document::literal(asked);
                let value = from_json(&properties);
                text = edit::set_properties(&text, &group, &value, &properties.to_string())?;
            }
            if let Some(size) = size {
                text = edit::set_size(&text, &group, size)?;
            }
            // The branch decides: the agent may not know yet that it was freed, or is managed again.
            let left_alone = || {
                document::parsed(&text, &group)
                    .is_some_and(|group| group.spec.manage == Manage::Observe)
            };
            if watch != Watch::AsItIs && left_alone() {
                text = edit::set_manage(&text, &group, Manage::Full)?;
            }
            Ok(text)
        })
    }

    fn commit(
        &self,
        group: &GroupName,
        mode: &Mode,
        message: &str,
        edit: &dyn Fn(&str) -> Result<String, edit::EditError>,
    ) -> CommandResult<()> {
        let repository = Repository::open(&self.settings)?;
        let target = self.target(&repository);
        let author = self.author(message)?;
        let edit = |text: &str| {
            edit(text).map_err(|error| {
                CommandError::new(format!("cannot change group {group}")).because(error)
            })
        };
        let done = {
            let _writing = held(&self.writing);
            source_edit::edit_group(target, group, &author, mode, &edit)?
        };
        self.follow(&repository, group, &done)
    }

    fn destroy(&self, id: &str, mode: &Mode) -> CommandResult<()> {
        let group = parsed(id)?;
        let snapshot = self.snapshot()?;
        let document = snapshot.groups.get(&group).and_then(in_force);
        if document.is_some_and(|document| document.spec.deletion.protect) {
            return Err(CommandError::new(format!(
                "group {group} is protected: a commit has to say `deletion: {{protect: false}}` first"
            )));
        }
        let repository = Repository::open(&self.settings)?;
        let message = format!("{group}: remove");
        let author = self.author(&message)?;
        let done = {
            let _writing = held(&self.writing);
            source_edit::remove_group(self.target(&repository), &group, &author, mode)?
        };
        self.follow(&repository, &group, &done)
    }

    /// Returns how a commit is made: signed, where there is a key, and so that the agent acts on it, where that takes a
    /// signature.
    fn author<'a>(&self, message: &'a str) -> CommandResult<Author<'a>> {
        let asked = match &self.settings.verification {
            None => None,
            Some(verification) => Some(Signatures {
                verification: verification.clone(),
                in_force: acted_on(&self.snapshot()?)?,
            }),
        };
        let signer = self.signing.as_ref();
        Ok(Author {
            message,
            signer: signer.map(|signing| Arc::clone(&signing.commits)),
            asked,
        })
    }

    fn target<'a>(&'a self, repository: &'a Repository) -> Target<'a> {
        Target {
            mirror: &repository.mirror,
            branch: &self.settings.branch,
            path: &self.settings.path,
        }
    }

    /// Reads a group as the branch has it.
    fn read_written(&self, id: &str) -> CommandResult<Option<WrittenGroup>> {
        let Ok(group) = GroupName::parse(id) else {
            return Ok(None);
        };
        let repository = Repository::open(&self.settings)?;
        let found = source_edit::group_on(self.target(&repository), &group)?;
        let Some(found) = found else {
            return Ok(None);
        };
        let attempted = format!("group {group}");
        Ok(Some(WrittenGroup {
            spec: spec_of(&found).context(attempted)?,
            watched: found.spec.manage == Manage::Full,
        }))
    }
}

/// Says what an edit changes.
fn said(size: Option<u32>, properties: Option<&Json>, watch: Watch) -> String {
    let manage = match (watch, size, properties) {
        // Without anything else there is a commit only if that is left to write.
        (Watch::Begins, ..) | (_, None, None) => Some("manage again".to_owned()),
        (Watch::AsItIs | Watch::GoesOn, ..) => None,
    };
    let size = size.map(|size| format!("scale to {size}"));
    let properties = properties.map(|_| "change the properties of instances".to_owned());
    let all: Vec<String> = [manage, size, properties].into_iter().flatten().collect();
    all.join(" and ")
}

/// Returns the commit that the agent acts on.
fn acted_on(snapshot: &Snapshot) -> CommandResult<Option<Revision>> {
    let Origin::Agent { status, .. } = &snapshot.origin else {
        return Ok(None);
    };
    let revision = status.source.revision.as_deref();
    let revision = revision.map(Revision::parse).transpose();
    revision.context("cannot tell which commit is in force")
}

fn held(turn: &Mutex<()>) -> MutexGuard<'_, ()> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

fn parsed(id: &str) -> CommandResult<GroupName> {
    GroupName::parse(id).context(format!("{id:?} is no name of a group"))
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the document that is in force.
fn in_force(recorded: &RecordedGroup) -> Option<Arc<Group>> {
    let accepted = recorded.accepted.as_ref()?;
    let parsed = parse_document(&accepted.path, accepted.line, &accepted.text);
    let outcomes = parsed.documents.into_iter();
    let mut outcomes = outcomes.filter_map(|document| document.outcome);
    outcomes.find_map(|document| {
        if let Document::Group(group) = document {
            Some(group)
        } else {
            None
        }
    })
}

/// Returns a group as InfraKit has it. None: it has no document in force, or goes.
fn served(recorded: &RecordedGroup) -> Option<Result<ServedGroup, String>> {
    if recorded.deleting.is_some() {
        return None;
    }
    let group = in_force(recorded)?;
    let spec = match spec_of(&group) {
        Ok(spec) => spec,
        Err(why) => return Some(Err(format!("group {}: {why}", recorded.name))),
    };
    let instances = recorded.instances.iter().filter_map(|(id, instance)| {
        let digest = instance.digests.short().to_owned();
        let tags = BTreeMap::from([
            ("infrakit.config.hash".to_owned(), digest),
            ("infrakit.group".to_owned(), recorded.name.to_string()),
            ("drover.instance".to_owned(), id.to_string()),
            ("drover.class".to_owned(), instance.class.clone()),
        ]);
        let seat = instance.seat.as_ref();
        Some(ServedInstance {
            id: instance.provider_ref.as_ref()?.to_string(),
            logical_id: seat.map(|seat| logical_id(seat.member.as_str())),
            tags,
            properties: None,
        })
    });
    Some(Ok(ServedGroup {
        id: recorded.name.to_string(),
        spec,
        instances: instances.collect(),
        converged: recorded.phase == GroupPhase::Converged,
        watched: group.spec.manage == Manage::Full,
    }))
}

/// Returns a document as InfraKit's specification.
fn spec_of(group: &Group) -> Result<GroupSpec, String> {
    let members = group.spec.quorum.as_ref().map(|quorum| {
        let members = quorum.members.iter();
        let ids: Vec<String> = members
            .map(|member| logical_id(member.id.as_str()))
            .collect();
        ids
    });
    let allocation = match &members {
        Some(ids) => json!({"LogicalIDs": ids}),
        None => json!({"Size": group.spec.size}),
    };
    let template = &group.spec.template;
    let wait = group.spec.rollout.min_ready;
    GroupSpec::read(Some(&json!({
        "Instance": {"Plugin": group.spec.provider.to_string(), "Properties": document::presented(&to_json(&template.properties))},
        "Flavor": document::presented(&flavors(&template.flavors)),
        "Allocation": allocation,
        "Updating": {"Duration": format!("{}ms", wait.as_millis())},
    })))
}

/// Returns the flavors as InfraKit combines them.
fn flavors(flavors: &[Flavor]) -> Json {
    let one = |flavor: &Flavor| match flavor {
        Flavor::Vanilla(vanilla) => {
            let mut properties = json!({});
            if !vanilla.init.is_empty() {
                properties["Init"] = json!(vanilla.init);
            }
            if !vanilla.tags.is_empty() {
                properties["Tags"] = json!(vanilla.tags);
            }
            if !vanilla.env.is_empty() {
                properties["Env"] = json!(vanilla.env);
            }
            if !vanilla.attachments.is_empty() {
                let attached = vanilla.attachments.iter();
                let attached = attached.map(|one| json!({"ID": one.id, "Type": one.type_}));
                properties["Attachments"] = attached.collect();
            }
            json!({"Plugin": "vanilla", "Properties": properties})
        }
        Flavor::CloudInit(cloud_init) => {
            let parts = cloud_init.parts.iter().map(|part| {
                let mut written =
                    json!({"contentType": part.content_type.as_str(), "content": part.content});
                if let Some(merge_how) = &part.merge_how {
                    written["mergeHow"] = json!(merge_how);
                }
                written
            });
            let parts: Vec<Json> = parts.collect();
            json!({"Plugin": "cloudInit", "Properties": {"parts": parts}})
        }
        Flavor::Plugin(plugin) => {
            let properties = to_json(&plugin.properties);
            json!({"Plugin": plugin.name.as_str(), "Properties": properties})
        }
    };
    match flavors {
        [] => json!({"Plugin": "vanilla", "Properties": {}}),
        [flavor] => one(flavor),
        flavors => {
            let all: Vec<Json> = flavors.iter().map(one).collect();
            json!({"Plugin": "combo", "Properties": all})
        }
    }
}

#[async_trait]
impl Groups for AgentGroups {
    async fn all(&self) -> Result<Vec<ServedGroup>, String> {
        let snapshot = self.blocking(Self::snapshot).await?;
        snapshot.groups.values().filter_map(served).collect()
    }

    async fn written(&self, id: &str) -> Result<Option<WrittenGroup>, String> {
        let id = id.to_owned();
        self.blocking(move |this| this.read_written(&id)).await
    }

    async fn providers(&self) -> Result<Vec<String>, String> {
        let snapshot = self.blocking(Self::snapshot).await?;
        let documents = snapshot.fleet.into_iter().flat_map(|fleet| fleet.documents);
        let providers = documents.filter(|((kind, _), _)| *kind == Kind::Provider);
        Ok(providers.map(|((_, name), _)| name).collect())
    }

    async fn has_flavor(&self, name: &str) -> Result<bool, String> {
        // As the agent finds it.
        let lookup = name.split('/').next().unwrap_or_default();
        let folder = self.settings.places(Path::new("")).plugins;
        Ok(FlavorName::parse(name).is_ok() && folder.find(lookup).is_ok())
    }

    fn is_same_flavor(&self, written: &GroupSpec, asked: &GroupSpec) -> Result<bool, String> {
        document::is_same_flavor(written, asked)
    }

    fn member_of(&self, logical_id: &str) -> String {
        // One that can be no member's name is nobody's.
        label_of(logical_id).unwrap_or_else(|| logical_id.to_owned())
    }

    async fn change(&self, change: GroupChange, trying: Trying) -> Result<(), String> {
        self.blocking(move |this| this.change(&change, trying))
            .await
    }
}
