//! InfraKit's groups, as their plugins tell of them: what is watched, and who therefore still makes and ends instances.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_model::{ErrorClass, FleetName, Timestamp};
use drover_provider::ProviderError;
use futures::StreamExt as _;
use serde::Serialize;
use serde_json::Value as Json;

use crate::call::{CallError, Caller, Fault, Place, not_found};
use crate::endpoint::{Directory, Entry, PluginName, SocketId};
use crate::go_json::GoJson;
use crate::hello::{HELLO, Interfaces, hello};
use crate::infrakit::descriptions;

/// The interface's name.
const GROUP: &str = "Group";

/// How long a plugin may take to tell of its groups. It does so from memory, but one that commits a group makes
/// everybody wait.
const INSPECT_LIMIT: Duration = Duration::from_secs(15);

/// How long a plugin may take to describe instances.
const DESCRIBE_LIMIT: Duration = Duration::from_mins(1);

/// A group that a plugin watches.
#[derive(Debug, Clone, PartialEq)]
pub struct InfrakitGroup {
    /// Its id.
    pub id: String,
    /// Its specification: allocation, instance, flavor, updating.
    pub properties: GoJson,
}

/// An instance as its plugin describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfrakitInstance {
    /// The plugin's handle.
    pub id: String,
    /// The name of its place.
    pub logical_id: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Why a plugin could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The call failed.
    #[error("{0}")]
    Call(String),
    /// The plugin is something else.
    #[error("plugin {plugin}: it has no interface `{interface}`")]
    Interface {
        /// Its name.
        plugin: String,
        /// What was wanted.
        interface: &'static str,
    },
}

impl From<CallError> for AskError {
    fn from(error: CallError) -> Self {
        Self::Call(error.to_string())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InspectParams<'a> {
    name: &'a str,
}

/// Asks a `Group` plugin for the groups that it watches.
///
/// # Errors
///
/// It does not answer, or has no groups to tell of.
///
/// # Cancellation
///
/// Nothing is changed.
pub async fn inspect_groups(
    place: &Place,
    plugin: &PluginName,
) -> Result<Vec<InfrakitGroup>, AskError> {
    let caller = Caller::new(plugin.clone(), place.clone());
    let interfaces = hello(&caller).await?;
    let Some(names) = interfaces.objects(GROUP) else {
        return Err(AskError::Interface {
            plugin: plugin.to_string(),
            interface: GROUP,
        });
    };
    Ok(groups_of(&caller, &names).await?)
}

/// Asks what a plugin calls its groups' own object: the whole name, or nothing where it is one object.
async fn groups_of(caller: &Caller, names: &[String]) -> Result<Vec<InfrakitGroup>, CallError> {
    // A manager lists each group as an object, and one for all of them.
    let all = names.iter().any(|name| name == "groups");
    let name = match (all, caller.name.subtype.as_str()) {
        (true, _) => format!("{}/groups", caller.name.lookup),
        (false, "") => String::new(),
        (false, subtype) => format!("{}/{subtype}", caller.name.lookup),
    };
    let method = "Group.InspectGroups";
    let params = InspectParams { name: &name };
    let answer = caller.call_unread(method, &params, INSPECT_LIMIT).await?;
    let mut read = GoJson::parse_answer(&answer.result)
        .map_err(|error| caller.garbled(method, &error.to_string()))?;
    drop(answer);
    let groups = match read.take("Groups") {
        // An empty list of a program in Go.
        Some(GoJson::Null) => Vec::new(),
        Some(GoJson::List(list)) => list,
        Some(_) | None => return Err(caller.garbled(method, "`Groups` is not a list")),
    };
    let groups = groups.into_iter().map(|mut group| {
        let id = group.get("ID").and_then(GoJson::text).unwrap_or_default();
        if id.is_empty() {
            return Err(caller.garbled(method, "a group has no `ID`"));
        }
        Ok(InfrakitGroup {
            id: id.to_owned(),
            properties: group.take("Properties").unwrap_or(GoJson::Null),
        })
    });
    groups.collect()
}

/// Asks an `Instance` plugin for what has a tag. What the plugin makes of the filter is not relied on.
///
/// # Errors
///
/// It does not answer, or describes no instances.
///
/// # Cancellation
///
/// Nothing is changed.
pub async fn describe_instances(
    place: &Place,
    plugin: &PluginName,
    tag: (&str, &str),
) -> Result<Vec<InfrakitInstance>, AskError> {
    let caller = Caller::new(plugin.clone(), place.clone());
    let interfaces = hello(&caller).await?;
    let version = interfaces.instance_version(&plugin.subtype);
    let version = version.map_err(|why| AskError::Call(format!("plugin {plugin}: {why}")))?;
    let dialect = crate::infrakit::Dialect {
        version,
        subtype: &plugin.subtype,
    };
    let filter = BTreeMap::from([(tag.0.to_owned(), tag.1.to_owned())]);
    let method = "Instance.DescribeInstances";
    let params = dialect.describe(&filter, false);
    let answer = caller.call_unread(method, &params, DESCRIBE_LIMIT).await?;
    let found = descriptions(&answer.result).map_err(|why| caller.garbled(method, &why))?;
    let found = found
        .into_iter()
        .filter(|one| one.tags.get(tag.0).is_some_and(|has| has == tag.1));
    Ok(found
        .map(|one| InfrakitInstance {
            id: one.id,
            logical_id: one.logical_id,
            tags: one.tags,
        })
        .collect())
}

/// Why it is not known who watches which group: a survey cannot be believed without it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchedError {
    /// The folder cannot be read.
    #[error("cannot read the plugins' folder {}: {why}", folder.display())]
    Folder { folder: PathBuf, why: io::Error },
    /// Something may be a plugin and cannot be asked.
    #[error(
        "{error}; until it answers it may manage any group of InfraKit: start it, or remove {} if it is gone for good",
        path.display()
    )]
    Plugin { path: PathBuf, error: CallError },
}

impl WatchedError {
    pub(crate) fn into_provider_error(self) -> ProviderError {
        // A refusal's own class is about another plugin than the one that is surveyed.
        ProviderError::new(ErrorClass::Unknown, self.to_string())
    }
}

/// Who watches a group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Watcher {
    /// The plugin that tells of it.
    plugin: String,
    /// The fleet of the agent that manages it. None: it is InfraKit's.
    fleet: Option<String>,
    /// The socket on which nobody listens any more, where it was told before.
    silent: Option<PathBuf>,
    /// Whether only the plugin that listened there before has told it.
    kept: bool,
}

impl Watcher {
    /// Returns who it is that still acts on the group's instances, and what to do about it.
    fn claim(&self, group: &str) -> String {
        let plugin = &self.plugin;
        if let Some(path) = &self.silent {
            return format!(
                "the group {group}, which plugin {plugin} managed when it was last heard; nobody listens on its socket now: start it and free the group, or remove {} if it is gone for good; after ten minutes it counts as gone",
                path.display()
            );
        }
        if self.kept {
            return format!(
                "the group {group}, which plugin {plugin} managed before it was started anew and has not told of since; free it, or wait: two minutes after the start it counts as free"
            );
        }
        match &self.fleet {
            None => format!(
                "the InfraKit group {group}, which plugin {plugin} still manages; free it with `infrakit group free {group}`"
            ),
            Some(fleet) => format!(
                "the group {group} of the fleet {fleet}, which plugin {plugin} offers and its agent still manages; free it with `manage: observe` in its document"
            ),
        }
    }
}

/// Who watches which group, as far as anybody tells.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    groups: BTreeMap<String, Watcher>,
    /// A socket on which nobody listens, of which nothing was heard before.
    unheard: Option<PathBuf>,
}

impl Watched {
    /// Returns who still acts on a group's instances, and what to do about it.
    pub(crate) fn claim(&self, group: &str) -> Option<String> {
        Some(self.groups.get(group)?.claim(group))
    }

    /// Returns who may have watched a group before this process began, and what to do about it.
    pub(crate) fn unheard(&self, group: &str) -> Option<String> {
        let path = self.unheard.as_ref()?;
        Some(format!(
            "the group {group}, which was managed when it was last seen; nobody listens on {} now: start its plugin and free the group, or remove the file if it is gone for good; after ten minutes it counts as gone",
            path.display()
        ))
    }
}

/// How many entries of a folder are asked at once: more than any folder has that people told of, so that one that hangs
/// makes nobody else wait.
const ASKED_AT_ONCE: usize = 32;

/// Most sockets that are remembered; beyond that nothing is, which costs a survey where a plugin hangs.
const REMEMBERED_MAX: usize = 1024;

/// How long nobody has to listen on a socket before its plugin counts as gone: one that is being started anew, with its
/// machine even, is back by then.
const SILENCE_MAX: Duration = Duration::from_mins(10);

/// How long a plugin that was started anew has to tell of the groups that it managed before: it begins with none until
/// somebody commits them again.
const RESTARTED_MAX: Duration = Duration::from_mins(2);

/// What a plugin has told of groups, and since when nobody listens where it did.
#[derive(Debug, Default)]
struct Heard {
    /// What it told. None: nothing since this process began.
    told: Option<(Option<String>, Vec<String>)>,
    silent_since: Option<Timestamp>,
    /// The socket that it told it on. None: it is none, or was bound anew meanwhile.
    socket: Option<SocketId>,
    /// What of it was told on an earlier socket only, and when the first answer on this one came.
    kept: Option<(Timestamp, Vec<String>)>,
}

impl Heard {
    /// Returns the groups of an earlier socket that an answer on this one lacks.
    fn left_out(self, told: &Told, socket: Option<&SocketId>, now: Timestamp) -> Vec<String> {
        // An agent knows what it manages, or says that it cannot tell.
        let Some((None, groups)) = self.told.filter(|_| told.fleet.is_none()) else {
            return Vec::new();
        };
        let (since, mut groups) = if self.socket.as_ref() == socket {
            self.kept.unwrap_or((now, Vec::new()))
        } else {
            (now, groups)
        };
        let age = Duration::try_from(now.duration_since(since));
        if age.is_ok_and(|age| age >= RESTARTED_MAX) {
            groups.clear();
        }
        groups.retain(|group| !told.groups.contains(group));
        groups
    }
}

/// What is remembered of the plugins of a folder.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    /// The sockets whose plugins have said that they keep no groups. One that hangs afterwards harms nobody's adoption: what
    /// it offers does not change while it listens on the same socket. One that answers is believed, whatever it said before.
    groupless: Mutex<BTreeSet<SocketId>>,
    /// What was told, by the file: a plugin that is started anew still manages what it did.
    heard: Mutex<BTreeMap<PathBuf, Heard>>,
}

impl Neighbours {
    fn groupless(&self) -> MutexGuard<'_, BTreeSet<SocketId>> {
        self.groupless
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what an entry tells, or what it is known for while it cannot be asked.
    async fn ask(&self, entry: &Entry) -> Result<Told, CallError> {
        // Looked at before, so that what is remembered is never of a socket that came meanwhile.
        let socket = entry.socket_id();
        let told = of_entry(entry).await;
        let Some(socket) = socket else {
            return told;
        };
        match told {
            Ok(told) => {
                let unchanged = entry.socket_id().as_ref() == Some(&socket);
                let mut known = self.groupless();
                if told.keeps_groups || !unchanged {
                    known.remove(&socket);
                } else if known.len() < REMEMBERED_MAX {
                    known.insert(socket);
                }
                Ok(told)
            }
            Err(_) if self.groupless().contains(&socket) => Ok(Told::default()),
            Err(error) => Err(error),
        }
    }

    /// Forgets what is of files that are there no more.
    fn keep(&self, there: &[Entry]) {
        let paths: BTreeSet<&PathBuf> = there.iter().map(|entry| &entry.path).collect();
        self.heard().retain(|path, _| paths.contains(path));
        let there: BTreeSet<SocketId> = there.iter().filter_map(Entry::socket_id).collect();
        self.groupless().retain(|socket| there.contains(socket));
    }

    /// Takes note of what a plugin tells, and returns the groups that count as managed although it tells of them no more:
    /// those that it told of on an earlier socket.
    fn hear(
        &self,
        entry: &Entry,
        told: &Told,
        socket: Option<SocketId>,
        now: Timestamp,
    ) -> Vec<String> {
        let mut heard = self.heard();
        let before = heard.remove(&entry.path).unwrap_or_default();
        let since = match &before.kept {
            Some((since, _)) if before.socket == socket => *since,
            Some(_) | None => now,
        };
        let kept = before.left_out(told, socket.as_ref(), now);
        let groups = told.groups.iter().chain(&kept).cloned().collect();
        let heard_now = Heard {
            told: Some((told.fleet.clone(), groups)),
            silent_since: None,
            socket,
            kept: (!kept.is_empty()).then(|| (since, kept.clone())),
        };
        heard.insert(entry.path.clone(), heard_now);
        kept
    }

    /// Returns what a plugin told before nobody listened on its socket any more. None: nothing was heard of it.
    fn silent(&self, entry: &Entry, now: Timestamp) -> Option<Told> {
        let mut heard = self.heard();
        let heard = heard.entry(entry.path.clone()).or_default();
        let since = *heard.silent_since.get_or_insert(now);
        let silent = now.duration_since(since);
        if Duration::try_from(silent).is_ok_and(|silent| silent >= SILENCE_MAX) {
            return Some(Told::default());
        }
        let (fleet, groups) = heard.told.clone()?;
        Some(Told {
            fleet,
            groups,
            keeps_groups: true,
        })
    }

    /// Returns who watches which group, by what stands in a folder. Only an entry that is gone, or a socket on which nobody
    /// has listened for long, watches nothing; whoever cannot be asked may watch anything. What our own fleet's agent
    /// offers there is left out: those are documents, whose claims are contested where they are planned.
    pub(crate) async fn watched(
        &self,
        folder: &Directory,
        fleet: Option<&FleetName>,
        now: Timestamp,
    ) -> Result<Watched, WatchedError> {
        let entries = folder.entries().map_err(|why| WatchedError::Folder {
            folder: folder.path().to_owned(),
            why,
        })?;
        self.keep(&entries);
        let asked = futures::stream::iter(entries).map(async |entry| {
            let before = entry.socket_id();
            let told = self.ask(&entry).await;
            let socket = before.filter(|before| entry.socket_id().as_ref() == Some(before));
            (entry, socket, told)
        });
        let asked: Vec<_> = asked.buffered(ASKED_AT_ONCE).collect().await;
        let mut watched = Watched::default();
        for (entry, socket, told) in asked {
            let mut kept = Vec::new();
            let (told, silent) = match told {
                Ok(told) => {
                    kept = self.hear(&entry, &told, socket, now);
                    (told, None)
                }
                Err(error) if matches!(error.fault, Fault::Absent(_)) => {
                    let Some(told) = self.silent(&entry, now) else {
                        watched.unheard.get_or_insert(entry.path);
                        continue;
                    };
                    (told, Some(entry.path.clone()))
                }
                Err(error) => {
                    let path = entry.path;
                    return Err(WatchedError::Plugin { path, error });
                }
            };
            if told.fleet.is_some() && told.fleet.as_deref() == fleet.map(FleetName::as_str) {
                continue;
            }
            let told_now = told.groups.into_iter().map(|group| (group, false));
            for (group, kept) in told_now.chain(kept.into_iter().map(|group| (group, true))) {
                let watcher = Watcher {
                    plugin: entry.lookup.clone(),
                    fleet: told.fleet.clone(),
                    silent: silent.clone(),
                    kept,
                };
                watched.groups.entry(group).or_insert(watcher);
            }
        }
        Ok(watched)
    }
}

/// What a plugin tells of groups.
#[derive(Debug, Default)]
struct Told {
    /// The fleet of the agent whose they are. None: they are InfraKit's.
    fleet: Option<String>,
    groups: Vec<String>,
    /// Whether it is one that may have groups, be it none at the moment.
    keeps_groups: bool,
}

/// Returns the groups of what stands in a folder. Each entry is asked for itself: a socket that somebody left must not
/// hide a `.listen` file of the same name.
async fn of_entry(entry: &Entry) -> Result<Told, CallError> {
    // Whatever it is called: this one is not named by a document.
    let name = PluginName {
        lookup: entry.lookup.clone(),
        subtype: String::new(),
    };
    let endpoint = match entry.endpoint() {
        Ok(Some(endpoint)) => endpoint,
        Ok(None) => return Ok(Told::default()),
        Err(error) => {
            return Err(CallError {
                plugin: name.to_string(),
                method: HELLO.to_owned(),
                fault: not_found(&error),
            });
        }
    };
    told(&Caller::new(name, Place::Fixed(endpoint))).await
}

/// Returns the groups of a plugin, of whatever kind it is.
async fn told(caller: &Caller) -> Result<Told, CallError> {
    let interfaces: Interfaces = match hello(caller).await {
        Ok(interfaces) => interfaces,
        // It knows no handshake, so it is no plugin of InfraKit. Who fails at it may be one, and keep any group.
        Err(error) if error.fault.is_unknown_method() => return Ok(Told::default()),
        Err(error) => return Err(error),
    };
    if interfaces.is_of_an_agent() {
        return managed(caller).await;
    }
    let Some(names) = interfaces.objects(GROUP) else {
        return Ok(Told::default());
    };
    let groups = groups_of(caller, &names).await?.into_iter();
    Ok(Told {
        fleet: None,
        groups: groups.map(|group| group.id).collect(),
        keeps_groups: true,
    })
}

/// Asks what the agent manages whose groups are told. One that only watches a group is no owner of it.
async fn managed(caller: &Caller) -> Result<Told, CallError> {
    let method = "Drover.Managed";
    let nothing = serde_json::Map::new();
    let answer: Json = caller.call(method, &nothing, INSPECT_LIMIT).await?;
    let fleet = answer.get("Fleet").and_then(Json::as_str);
    let fleet = fleet.filter(|fleet| !fleet.is_empty());
    let fleet = fleet.ok_or_else(|| caller.garbled(method, "it has no `Fleet`"))?;
    let groups = answer.get("Groups").and_then(Json::as_array);
    let groups = groups.and_then(|groups| {
        let names = groups.iter().map(|group| group.as_str().map(str::to_owned));
        names.collect::<Option<Vec<String>>>()
    });
    let groups = groups.ok_or_else(|| caller.garbled(method, "`Groups` is no list of names"))?;
    Ok(Told {
        fleet: Some(fleet.to_owned()),
        groups,
        keeps_groups: true,
    })
}
