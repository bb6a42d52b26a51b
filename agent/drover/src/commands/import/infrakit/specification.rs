//! InfraKit's specification of a group, in every form that its own tools take.

use drover_model::{Value, label_of};
use drover_provider_plugin::{GoJson, InfrakitGroup};

use super::super::entry;
use crate::error::{CommandError, CommandResult};

/// Reads a file: one group or a list of them, each as `{ID, Properties}`, as an entry of a manager's file with that in
/// its `Properties`, or as a document with `kind: group`.
pub(super) fn read(path: &str, bytes: &[u8]) -> CommandResult<Vec<InfrakitGroup>> {
    let whole = tree(path, bytes)?;
    let one = [whole.clone()];
    let list = whole.list().unwrap_or(&one);
    if list.is_empty() {
        return Err(CommandError::new(format!("{path} has no group")));
    }
    let groups = list.iter().enumerate().map(|(position, group)| {
        read_one(group).map_err(|why| {
            CommandError::new(format!("{path}: entry {} is no group", position + 1)).detail(why)
        })
    });
    groups.collect()
}

/// Reads JSON, where it is JSON, so that no digit is lost; else YAML, which InfraKit reads as YAML 1.1: the hash of the
/// configuration depends on it.
fn tree(path: &str, bytes: &[u8]) -> CommandResult<GoJson> {
    let json = match GoJson::parse(bytes) {
        Ok(tree) => return Ok(tree),
        Err(error) => error,
    };
    let text = String::from_utf8_lossy(bytes);
    drover_spec::parse_value_of_yaml_1_1(path, &text)
        .map(|value| GoJson::from_value(&value))
        .map_err(|mistakes| {
            let mut error = CommandError::new(format!("{path} is neither JSON nor YAML"));
            error = error.detail(format!("as JSON: {json}"));
            for mistake in mistakes {
                error = error.detail(format!("as YAML: {}: {}", mistake.span, mistake.message));
            }
            error
        })
}

fn read_one(group: &GoJson) -> Result<InfrakitGroup, String> {
    if group.map().is_none() {
        return Err("it is not a map".to_owned());
    }
    if let Some(kind) = group.get("kind").and_then(GoJson::text) {
        return envelope(kind, group);
    }
    let properties = group.get("Properties");
    // A manager's file has the group within an entry that names the plugin.
    let inner = properties.filter(|inner| group.get("ID").is_none() && inner.get("ID").is_some());
    let group = inner.unwrap_or(group);
    let id = group.get("ID").and_then(GoJson::text).unwrap_or_default();
    if id.is_empty() {
        return Err("it has no `ID`".to_owned());
    }
    Ok(InfrakitGroup {
        id: id.to_owned(),
        properties: group.get("Properties").cloned().unwrap_or(GoJson::Null),
    })
}

/// Reads `{kind: group, metadata: {name: ...}, properties: ...}`.
fn envelope(kind: &str, group: &GoJson) -> Result<InfrakitGroup, String> {
    if !kind.eq_ignore_ascii_case("group") {
        return Err(format!(
            "it is of the kind {kind:?}, and only groups can be taken over"
        ));
    }
    let name = group
        .get("metadata")
        .and_then(|metadata| metadata.get("name"));
    let name = name.and_then(GoJson::text).unwrap_or_default();
    // `plugin/name` says which plugin it is for, too.
    let name = name.rsplit('/').next().unwrap_or_default();
    if name.is_empty() {
        return Err("it has no `metadata.name`".to_owned());
    }
    Ok(InfrakitGroup {
        id: name.to_owned(),
        properties: group.get("properties").cloned().unwrap_or(GoJson::Null),
    })
}

/// How many instances a group has, or which.
enum Allocation {
    Size(u64),
    /// The names of the members' documents, and as they were.
    Members(Vec<String>),
}

/// What a group's specification says.
pub(super) struct Specification<'a> {
    pub(super) plugin: String,
    pub(super) instance: &'a GoJson,
    pub(super) flavor: &'a GoJson,
    allocation: Allocation,
    /// What has no place in a document.
    pub(super) notes: Vec<String>,
}

impl<'a> Specification<'a> {
    /// Reads the properties of a group.
    pub(super) fn of(properties: &'a GoJson) -> Result<Self, String> {
        let instance = properties.get("Instance").ok_or("it has no `Instance`")?;
        let plugin = instance
            .get("Plugin")
            .and_then(GoJson::text)
            .unwrap_or_default();
        if plugin.is_empty() {
            return Err("its `Instance` names no `Plugin`".to_owned());
        }
        let mut notes = Vec::new();
        let allocation = allocation(properties.get("Allocation"), &mut notes)?;
        if plugin.starts_with("selector/") {
            notes.push(format!(
                "the plugin {plugin} chooses among other plugins by itself: it is used as it is, and drover knows of no zones"
            ));
        }
        updating(properties.get("Updating"), &mut notes);
        unknown(properties, &mut notes);
        Ok(Self {
            plugin: plugin.to_owned(),
            instance,
            flavor: properties.get("Flavor").unwrap_or(&GoJson::Null),
            allocation,
            notes,
        })
    }

    /// Returns how many instances the group wants.
    pub(super) fn size(&self) -> u64 {
        match &self.allocation {
            Allocation::Size(size) => *size,
            Allocation::Members(members) => members.len() as u64,
        }
    }

    /// Returns the part of the document that says how many.
    pub(super) fn sized(&self) -> String {
        match &self.allocation {
            Allocation::Size(size) => entry(1, "size", &Value::UInt(*size)),
            Allocation::Members(members) => {
                let members = members.iter().map(|id| {
                    let id = [("id".to_owned(), Value::from(id.as_str()))];
                    id.into_iter().collect()
                });
                entry(1, "members", &Value::List(members.collect()))
            }
        }
    }

    /// Returns what instances are made with.
    pub(super) fn properties(&self) -> Result<Value, String> {
        match self.instance.get("Properties") {
            None | Some(GoJson::Null) => Ok(Value::empty_map()),
            Some(properties @ GoJson::Map(_)) => {
                properties.to_value().map_err(|error| error.to_string())
            }
            Some(_) => Err("the `Properties` of its `Instance` are not a map".to_owned()),
        }
    }
}

fn allocation(allocation: Option<&GoJson>, notes: &mut Vec<String>) -> Result<Allocation, String> {
    let ids = allocation.and_then(|allocation| allocation.get("LogicalIDs"));
    let ids = ids.and_then(GoJson::list).unwrap_or_default();
    if ids.is_empty() {
        let size = allocation.and_then(|allocation| allocation.get("Size"));
        let size = match size {
            Some(GoJson::Number(number)) => number.parse().ok(),
            _ => None,
        };
        let size = size.ok_or("its `Allocation` has neither `Size` nor `LogicalIDs`")?;
        return Ok(Allocation::Size(size));
    }
    let mut members = Vec::new();
    for id in ids {
        let id = id.text().ok_or("one of its `LogicalIDs` is no text")?;
        let name = label_of(id)
            .ok_or_else(|| format!("nothing of the logical id {id:?} can be a member's name"))?;
        if name != id {
            notes.push(format!(
                "the member {id} is called {name}, as names of members are DNS labels"
            ));
        }
        if members.contains(&name) {
            return Err(format!("two of its `LogicalIDs` come to the member {name}"));
        }
        members.push(name);
    }
    Ok(Allocation::Members(members))
}

/// Says what the fields of rolling updates come to. The document's own say more, and are not guessed.
fn updating(updating: Option<&GoJson>, notes: &mut Vec<String>) {
    let written = |name: &str| {
        let value = updating.and_then(|updating| updating.get(name))?;
        let nothing = match value {
            GoJson::Null => true,
            GoJson::Number(number) => number == "0",
            GoJson::Text(text) => text.is_empty() || text == "0s",
            GoJson::Bool(_) | GoJson::List(_) | GoJson::Map(_) => false,
        };
        let shown = value.to_value().ok()?;
        (!nothing).then(|| drover_spec::record::to_yaml(&shown).trim().to_owned())
    };
    for (name, instead) in [
        (
            "Duration",
            "`rollout.minReady` says how long an instance must be well before the next",
        ),
        (
            "Count",
            "there is no count of checks; `rollout.minReady` says how long an instance must be well",
        ),
        (
            "SkipBeforeInstanceDestroy",
            "`drain` says what happens before an instance is ended; `drain: {delay: 0s}` skips it",
        ),
    ] {
        if let Some(value) = written(name) {
            notes.push(format!(
                "Updating.{name} ({value}) is not translated: {instead}"
            ));
        }
    }
}

fn unknown(properties: &GoJson, notes: &mut Vec<String>) {
    let known = ["Allocation", "Instance", "Flavor", "Updating"];
    let fields = properties.map().into_iter().flatten();
    for (name, _) in
        fields.filter(|(name, _)| !known.iter().any(|one| one.eq_ignore_ascii_case(name)))
    {
        notes.push(format!("the field {name} is not known, and is left out"));
    }
}
