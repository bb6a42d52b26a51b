//! The groups of a running agent, as InfraKit's `Group`: read from its socket, changed by commits to its source.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use drover_loop::chain;
use drover_model::{Flavor, FlavorName, Group, GroupName, GroupPhase, Kind, Manage, RecordedGroup};
use drover_provider_plugin::{
    GroupChange, GroupService, GroupSpec, Groups, ServedGroup, ServedInstance, Trying, Watch,
    from_json, to_json,
};
use drover_spec::{Document, edit, parse_document};
use serde_json::{Value as Json, json};

use crate::agent::client::AgentClient;
use crate::cli::PluginServeArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::operations;
use crate::settings::Settings;
use crate::snapshot::{Repository, Snapshot};
use crate::source_edit::{self, Author, Mode, Target};

mod agent;
mod destroy;
mod document;

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
    /// What operations are signed with. None: nothing is signed.
    signing: Option<Arc<Signing>>,
    /// Held by the call that ends instances.
    turn: Arc<Mutex<()>>,
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
        signing: key.map(|key| Arc::new(Signing { key, counts })),
        settings,
        turn: Arc::default(),
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
        source_edit::add_group(target, &group, &text, &unsigned(&message), mode)?;
        self.follow(mode);
        Ok(())
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
            if let Some(properties) = properties {
                let properties = document::literal(properties);
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
        source_edit::edit_group(target, group, &unsigned(message), mode, &|text| {
            edit(text).map_err(|error| {
                CommandError::new(format!("cannot change group {group}")).because(error)
            })
        })?;
        self.follow(mode);
        Ok(())
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
        source_edit::remove_group(self.target(&repository), &group, &unsigned(&message), mode)?;
        self.follow(mode);
        Ok(())
    }

    fn target<'a>(&'a self, repository: &'a Repository) -> Target<'a> {
        Target {
            mirror: &repository.mirror,
            branch: &self.settings.branch,
            path: &self.settings.path,
        }
    }

    /// Lets the agent look at once, so that who asks next sees the change. It would look anyway.
    fn follow(&self, mode: &Mode) {
        if *mode == Mode::DryRun {
            return;
        }
        let passed =
            AgentClient::connect(&self.settings.data_dir).and_then(|client| client.reconcile(PASS));
        if let Err(error) = passed {
            tracing::warn!(%error, "agent not told of a change");
        }
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

/// A commit that is asked of a plugin is nobody's to sign.
fn unsigned(message: &str) -> Author<'_> {
    Author {
        message,
        signer: None,
    }
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
    let members = group.spec.quorum.as_ref().map(|quorum| {
        let members = quorum.members.iter();
        let ids: Vec<String> = members.map(|member| member.id.to_string()).collect();
        ids
    });
    let allocation = match &members {
        Some(ids) => json!({"LogicalIDs": ids}),
        None => json!({"Size": group.spec.size}),
    };
    let template = &group.spec.template;
    let wait = group.spec.rollout.min_ready;
    let spec = json!({
        "Instance": {"Plugin": group.spec.provider.to_string(), "Properties": document::presented(&to_json(&template.properties))},
        "Flavor": document::presented(&flavors(&template.flavors)),
        "Allocation": allocation,
        "Updating": {"Duration": format!("{}ms", wait.as_millis())},
    });
    let spec = match GroupSpec::read(Some(&spec)) {
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
        Some(ServedInstance {
            id: instance.provider_ref.as_ref()?.to_string(),
            logical_id: instance.seat.as_ref().map(|seat| seat.member.to_string()),
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

    async fn change(&self, change: GroupChange, trying: Trying) -> Result<(), String> {
        self.blocking(move |this| this.change(&change, trying))
            .await
    }
}
