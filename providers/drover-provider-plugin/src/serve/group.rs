//! InfraKit's `Group`, served by whoever keeps groups: the calls that read, and those that change, with
//! InfraKit's checks, in its order, and its sentences.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::{Answered, Failure, Service, param, written};
use crate::json::{field, flag, list, text};

mod duration;
mod spec;

pub use spec::GroupSpec;

/// A group as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ServedGroup {
    /// Its name.
    pub id: String,
    /// What it asks for.
    pub spec: GroupSpec,
    /// Its instances.
    pub instances: Vec<ServedInstance>,
    /// Whether nothing is left to do.
    pub converged: bool,
    /// Whether anybody acts on it. One that was freed is there, and InfraKit does not know it.
    pub watched: bool,
}

/// An instance of a group. The order of the members is InfraKit's.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServedInstance {
    /// The provider's handle.
    #[serde(rename = "ID")]
    pub id: String,
    /// Whose place it takes, in a group of fixed members.
    #[serde(rename = "LogicalID")]
    pub logical_id: Option<String>,
    /// Its tags.
    pub tags: std::collections::BTreeMap<String, String>,
    /// What it was made with, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Json>,
}

/// A group as it is written down, where changes are made. It may not be in force yet.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenGroup {
    /// What it asks for.
    pub spec: GroupSpec,
    /// Whether anybody is to act on it.
    pub watched: bool,
}

/// What a call asks to change.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupChange {
    /// A group that there is not.
    Create {
        /// Its name.
        id: String,
        /// What it asks for.
        spec: GroupSpec,
    },
    /// Other instances, another number of them, or a group that is acted on again.
    Edit {
        /// The group.
        id: String,
        /// The size from now on. None: as it is written.
        size: Option<u32>,
        /// The properties of instances from now on. None: as they are written.
        properties: Option<Json>,
        /// Whether it is acted on from now on.
        watch: Watch,
    },
    /// It is looked at and left alone from now on.
    Free {
        /// The group.
        id: String,
    },
    /// It ends, with its instances.
    Destroy {
        /// The group.
        id: String,
    },
    /// Some of its instances end.
    DestroyInstances {
        /// The group.
        id: String,
        /// Their handles, each of them once and known.
        instances: Vec<String>,
    },
}

/// What a change means for whether a group is acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Nothing.
    AsItIs,
    /// It is, as far as is known, and stays so: should it have been freed a moment ago, it is acted on again.
    GoesOn,
    /// It was freed, and is acted on from now on.
    Begins,
}

/// Whether a change is made, or only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trying {
    /// It is checked, and nothing is changed.
    Pretend,
    /// It is made.
    Commit,
}

/// Who keeps groups.
#[async_trait]
pub trait Groups: Send + Sync + std::fmt::Debug {
    /// Returns every group, by name, with those that were freed.
    ///
    /// # Errors
    ///
    /// Why nobody knows, for people.
    async fn all(&self) -> Result<Vec<ServedGroup>, String>;

    /// Returns a group as changes find it. None: there is none, which is so of every text that is no name.
    ///
    /// # Errors
    ///
    /// Why nobody knows, for people.
    async fn written(&self, id: &str) -> Result<Option<WrittenGroup>, String>;

    /// Returns what instances may be made by: what a group names as its `Instance.Plugin`.
    ///
    /// # Errors
    ///
    /// Why nobody knows, for people.
    async fn providers(&self) -> Result<Vec<String>, String>;

    /// Returns whether there is a flavor plugin that a new group may name, beside those that drover has.
    ///
    /// # Errors
    ///
    /// Why nobody knows, for people.
    async fn has_flavor(&self, name: &str) -> Result<bool, String>;

    /// Returns whether the flavors of two specs mean the same, however they are written.
    ///
    /// # Errors
    ///
    /// What is asked means nothing, for people.
    fn is_same_flavor(&self, written: &GroupSpec, asked: &GroupSpec) -> Result<bool, String> {
        Ok(written.has_flavor_of(asked))
    }

    /// Returns the name of the member that a logical ID means.
    fn member_of(&self, logical_id: &str) -> String {
        logical_id.to_owned()
    }

    /// Makes a change, or tries it. One that is made is in force then.
    ///
    /// # Errors
    ///
    /// Why it is refused, or written down and not in force, for people.
    async fn change(&self, change: GroupChange, trying: Trying) -> Result<(), String>;
}

/// Serves groups.
#[derive(Debug)]
pub struct GroupService<G> {
    groups: G,
}

/// The flavors that every group may name.
const FLAVORS: [&str; 3] = ["vanilla", "cloudInit", "combo"];

impl<G: Groups> GroupService<G> {
    /// Serves what `groups` keeps.
    pub fn new(groups: G) -> Self {
        Self { groups }
    }

    /// Finds a group that InfraKit would know.
    async fn find(&self, id: &str) -> Result<Option<ServedGroup>, Failure> {
        let all = self.groups.all().await.map_err(Failure::plain)?;
        let mut watched = all.into_iter().filter(|group| group.watched);
        Ok(watched.find(|group| group.id == id))
    }

    /// Finds a group that may be changed: as it is written, where that is to be acted on, else as it is in force.
    async fn changeable(&self, id: &str) -> Result<Option<GroupSpec>, Failure> {
        let written = self.groups.written(id).await.map_err(Failure::plain)?;
        if let Some(written) = written.filter(|written| written.watched) {
            return Ok(Some(written.spec));
        }
        Ok(self.find(id).await?.map(|group| group.spec))
    }

    async fn watched(&self, id: &str) -> Result<ServedGroup, Failure> {
        let found = self.find(id).await?;
        found.ok_or_else(|| unwatched(id))
    }

    async fn change(&self, change: GroupChange, trying: Trying) -> Result<(), Failure> {
        let done = self.groups.change(change, trying).await;
        done.map_err(Failure::plain)
    }

    async fn commit(&self, params: &Json) -> Result<(String, String), Failure> {
        let empty = Map::new();
        let asked = match param(params, "Spec") {
            None | Some(Json::Null) => &empty,
            Some(Json::Object(asked)) => asked,
            Some(_) => return Err(bad("Spec", "not a map", params)),
        };
        let pretend = flag(param(params, "Pretend"));
        let trying = if pretend.map_err(|why| bad("Pretend", &why, params))? {
            Trying::Pretend
        } else {
            Trying::Commit
        };
        let id = text(field(asked, "ID")).map_err(|why| bad("ID", &why, params))?;
        let id = id.unwrap_or_default();
        if id.is_empty() {
            return Err(Failure::plain("Group ID must not be blank"));
        }
        let spec = GroupSpec::read(field(asked, "Properties")).map_err(Failure::plain)?;
        self.look_up(&spec).await?;
        let written = self.groups.written(&id).await.map_err(Failure::plain)?;
        let Some(before) = written else {
            let details = managing(&spec);
            let id_ = id.clone();
            self.change(GroupChange::Create { id: id_, spec }, trying)
                .await?;
            return Ok((id, details));
        };
        self.check_rest(&before.spec, &spec)?;
        let (details, change) = difference(&id, &before, &spec);
        self.change(change, trying).await?;
        Ok((id, details))
    }

    /// Refuses a difference to what is written that a commit cannot carry.
    fn check_rest(&self, before: &GroupSpec, asked: &GroupSpec) -> Result<(), Failure> {
        let members = |spec: &GroupSpec| {
            let ids = spec.logical_ids()?.iter();
            let mut members: Vec<String> = ids.map(|id| self.groups.member_of(id)).collect();
            members.sort();
            Some(members)
        };
        let (members_before, members_asked) = (members(before), members(asked));
        if members_before.is_some() && members_before != members_asked {
            let words = "Logical ID changes to a quorum is not currently supported";
            return Err(Failure::plain(words));
        }
        if members_before.is_none() && members_asked.is_some() {
            // InfraKit ends every instance here, and makes none.
            return Err(Failure::plain(
                "a group with a size cannot become one of logical IDs: make another group",
            ));
        }
        let same = self.groups.is_same_flavor(before, asked);
        let same = same.map_err(Failure::plain)?;
        asked.check_rest(before, same).map_err(Failure::plain)
    }

    /// Looks for what a group names, as InfraKit does: the flavor first.
    async fn look_up(&self, spec: &GroupSpec) -> Result<(), Failure> {
        let missing = |what: &str, name: &str| {
            let words = format!("Failed to find {what} plugin '{name}':plugin not found:{name}");
            Failure::plain(words)
        };
        let (flavor, _) = spec.flavor();
        let found = FLAVORS.contains(&flavor)
            || self
                .groups
                .has_flavor(flavor)
                .await
                .map_err(Failure::plain)?;
        if !found {
            return Err(missing("Flavor", flavor));
        }
        spec.check_flavor().map_err(Failure::plain)?;
        let providers = self.groups.providers().await.map_err(Failure::plain)?;
        let plugin = spec.plugin();
        if !providers.iter().any(|name| name == plugin) {
            return Err(missing("Instance", plugin));
        }
        Ok(())
    }

    async fn set_size(&self, id: &str, params: &Json) -> Result<(), Failure> {
        // Whoever misses the name or the form of the number does not mean 0, which ends everything.
        let size = param(params, "Size").and_then(Json::as_i64);
        let size = size.ok_or_else(|| bad("Size", "expected a whole number", params))?;
        if size < 0 {
            return Err(Failure::plain("size cannot be negative"));
        }
        let size = u32::try_from(size).map_err(|_| Failure::plain("size is too large"))?;
        let Some(spec) = self.changeable(id).await? else {
            return Err(Failure::plain(format!("group not found {id}")));
        };
        if spec.logical_ids().is_some() {
            let words = "cannot set size if logic ids are explicitly set";
            return Err(Failure::plain(words));
        }
        // Also one that it has: it may not be in force yet.
        let change = GroupChange::Edit {
            id: id.to_owned(),
            size: Some(size),
            properties: None,
            watch: Watch::AsItIs,
        };
        self.change(change, Trying::Commit).await
    }

    async fn destroy_instances(&self, id: &str, params: &Json) -> Result<(), Failure> {
        let group = self.watched(id).await?;
        let asked = param(params, "Instances");
        if asked.is_none() {
            return Err(bad("Instances", "it is missing", params));
        }
        let list = list(asked).map_err(|why| bad("Instances", &why, params))?;
        let list = list.iter().map(|one| match one {
            Json::String(instance) => Ok(instance.clone()),
            _ => Err(bad("Instances", "an entry is not a text", params)),
        });
        let instances: Vec<String> = list.collect::<Result<_, _>>()?;
        let known = |instance: &String| group.instances.iter().any(|one| one.id == *instance);
        if let Some(unknown) = instances.iter().find(|instance| !known(instance)) {
            // InfraKit takes it for one that is ended, and makes the group smaller.
            return Err(Failure::plain(format!(
                "group {id} has no instance {unknown}"
            )));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = instances.iter().find(|instance| !seen.insert(*instance)) {
            // InfraKit makes the group smaller by two.
            return Err(Failure::plain(format!(
                "instance {twice} of group {id} is named twice"
            )));
        }
        let id = id.to_owned();
        self.change(
            GroupChange::DestroyInstances { id, instances },
            Trying::Commit,
        )
        .await
    }

    async fn answer(&self, method: &str, params: &Json) -> Answered {
        let name = text(param(params, "Name")).map_err(|why| bad("Name", &why, params))?;
        let name = name.unwrap_or_default();
        let id = text(param(params, "ID")).map_err(|why| bad("ID", &why, params))?;
        let id = id.unwrap_or_default();
        match method {
            "CommitGroup" => {
                let (id, details) = self.commit(params).await?;
                return written(&Committed { name, id, details });
            }
            "InspectGroups" => {
                let all = self.groups.all().await.map_err(Failure::plain)?;
                let watched = all.into_iter().filter(|group| group.watched);
                let groups: Vec<Inspected> = watched.map(Inspected::of).collect();
                return written(&Inspection {
                    name,
                    id: "",
                    // An empty list of a program in Go.
                    groups: (!groups.is_empty()).then_some(groups),
                });
            }
            "DescribeGroup" => {
                let group = self.watched(&id).await?;
                return written(&Described {
                    name,
                    id,
                    description: Description {
                        instances: group.instances,
                        converged: group.converged,
                    },
                });
            }
            "Size" => {
                let found = self.find(&id).await?;
                let group = found.ok_or_else(|| Failure::plain(format!("group {id} not found")))?;
                let size = group.spec.count();
                return written(&Size { name, id, size });
            }
            "SetSize" => self.set_size(&id, params).await?,
            "DestroyInstances" => self.destroy_instances(&id, params).await?,
            "FreeGroup" => {
                self.changeable(&id).await?.ok_or_else(|| unwatched(&id))?;
                let change = GroupChange::Free { id: id.clone() };
                self.change(change, Trying::Commit).await?;
            }
            _ => {
                self.changeable(&id).await?.ok_or_else(|| unwatched(&id))?;
                let change = GroupChange::Destroy { id: id.clone() };
                self.change(change, Trying::Commit).await?;
            }
        }
        written(&Done { name, id })
    }
}

fn unwatched(id: &str) -> Failure {
    Failure::plain(format!("Group '{id}' is not being watched"))
}

fn bad(name: &str, why: &str, params: &Json) -> Failure {
    Failure::params(format!("`{name}`: {why}"), params)
}

/// Returns what a commit means for a group that there is, in InfraKit's sentences, and the change.
fn difference(id: &str, written: &WrittenGroup, spec: &GroupSpec) -> (String, GroupChange) {
    let before = &written.spec;
    let resized = before.count() != spec.count();
    let rolls = !before.has_properties_of(spec);
    let (details, watch) = if written.watched {
        (sentence(before.count(), spec.count(), rolls), Watch::GoesOn)
    } else {
        (managing(spec), Watch::Begins)
    };
    let change = GroupChange::Edit {
        id: id.to_owned(),
        size: resized.then(|| spec.count()),
        properties: rolls.then(|| spec.properties().clone()),
        watch,
    };
    (details, change)
}

/// Says what a commit means for a group that nobody acted on before.
fn managing(spec: &GroupSpec) -> String {
    format!("Managing {} instances", spec.count())
}

/// Says what a commit means for a group that is acted on.
fn sentence(old: u32, new: u32, rolls: bool) -> String {
    match (new.cmp(&old), rolls) {
        (std::cmp::Ordering::Equal, false) => "Noop".to_owned(),
        (std::cmp::Ordering::Equal, true) => {
            format!("Performing a rolling update on {old} instances")
        }
        (std::cmp::Ordering::Greater, rolls) => {
            let more = format!(
                "{} instances to increase the group size to {new}",
                new - old
            );
            if rolls {
                format!("Performing a rolling update on {old} instances, then adding {more}")
            } else {
                format!("Adding {more}")
            }
        }
        (std::cmp::Ordering::Less, rolls) => {
            let fewer = format!(
                "Terminating {} instances to reduce the group size to {new}",
                old - new
            );
            if rolls {
                format!("{fewer}, then performing a rolling update on {new} instances")
            } else {
                fewer
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Committed {
    name: String,
    #[serde(rename = "ID")]
    id: String,
    details: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Done {
    name: String,
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    name: String,
    #[serde(rename = "ID")]
    id: String,
    size: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inspection {
    name: String,
    #[serde(rename = "ID")]
    id: &'static str,
    groups: Option<Vec<Inspected>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(rename = "ID")]
    id: String,
    properties: GroupSpec,
}

impl Inspected {
    fn of(group: ServedGroup) -> Self {
        Self {
            id: group.id,
            properties: group.spec,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    name: String,
    #[serde(rename = "ID")]
    id: String,
    description: Description,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    instances: Vec<ServedInstance>,
    converged: bool,
}

/// Every method of the interface.
const METHODS: [&str; 8] = [
    "CommitGroup",
    "FreeGroup",
    "DescribeGroup",
    "DestroyGroup",
    "InspectGroups",
    "DestroyInstances",
    "Size",
    "SetSize",
];

#[async_trait]
impl<G: Groups> Service for GroupService<G> {
    fn name(&self) -> &'static str {
        "Group"
    }

    fn versions(&self) -> [Option<&'static str>; 3] {
        [Some("0.1.0"), Some("0.1.0"), Some("0.1.1")]
    }

    async fn call(&self, method: &str, params: &Json) -> Option<Answered> {
        if !METHODS.contains(&method) {
            return None;
        }
        Some(self.answer(method, params).await)
    }
}
