//! InfraKit's specification of a group, in every form that its own tools take.

use drover_model::{Value, label_of};
use drover_provider_plugin::{GoJson, InfrakitGroup, logical_id};

use super::super::entry;
use crate::error::{CommandError, CommandResult};

/// A group as a file has it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) group: InfrakitGroup,
    /// What stands around its specification and has no place in a document.
    pub(super) notes: Vec<String>,
}

impl From<InfrakitGroup> for Found {
    fn from(group: InfrakitGroup) -> Self {
        let notes = Vec::new();
        Self { group, notes }
    }
}

/// What a file has.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) groups: Vec<Found>,
    /// What else is in it.
    pub(super) remarks: Vec<String>,
}

/// Reads a file: one group or a list of them, each as `{ID, Properties}`, as an entry of a manager's file with that in
/// its `Properties`, as a document with `kind: group`, or as an entry of the file that a manager stores, with such a
/// document in its `Record`.
pub(super) fn read(path: &str, bytes: &[u8]) -> CommandResult<Read> {
    let whole = tree(path, bytes);
    if !whole.as_ref().is_ok_and(is_store)
        && let Some(line) = template_line(bytes)
    {
        // What it renders to is what InfraKit knows, and what its hash is of.
        return Err(CommandError::new(format!(
            "{path} is a template: line {line} has `{{{{`"
        ))
        .hint("render it first, with `infrakit template`, or import from the socket of the `Group` plugin"));
    }
    let whole = whole?;
    let one = [whole.clone()];
    let list = whole.list().unwrap_or(&one);
    if list.is_empty() {
        return Err(CommandError::new(format!("{path} has no group")));
    }
    let mut found = Read::default();
    for (position, entry) in list.iter().enumerate() {
        if let Some(remark) = of_another_kind(entry) {
            found.remarks.push(remark);
            continue;
        }
        let group = read_one(entry).map_err(|why| {
            CommandError::new(format!("{path}: entry {} is no group", position + 1)).detail(why)
        })?;
        found.groups.push(group);
    }
    Ok(found)
}

/// Returns the first line that InfraKit's tools would render.
fn template_line(bytes: &[u8]) -> Option<usize> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let found = lines.position(|line| line.windows(2).any(|two| two == b"{{"));
    found.map(|index| index + 1)
}

/// Returns the document that an entry of a manager's store has.
fn stored(entry: &GoJson) -> Option<&GoJson> {
    entry.get("Record")?.get("Spec")
}

/// Returns whether this is what a manager stores: it was rendered before.
fn is_store(whole: &GoJson) -> bool {
    let mut entries = whole.list().unwrap_or_default().iter();
    entries.len() > 0 && entries.all(|entry| stored(entry).is_some())
}

/// Says what an entry of a manager's store is, where it is no group.
fn of_another_kind(entry: &GoJson) -> Option<String> {
    let spec = stored(entry)?;
    let kind = spec.get("kind").and_then(GoJson::text).unwrap_or_default();
    if kind.eq_ignore_ascii_case("group") {
        return None;
    }
    let name = spec.get("metadata").and_then(|it| it.get("name"));
    let name = name.and_then(GoJson::text).unwrap_or_default();
    Some(format!(
        "{name} is of the kind {kind:?} and left out: only groups can be taken over"
    ))
}

/// Reads JSON, where it is JSON, so that no digit is lost; else YAML, which InfraKit reads as YAML 1.1: the hash of the
/// configuration depends on it.
fn tree(path: &str, bytes: &[u8]) -> CommandResult<GoJson> {
    let json = match GoJson::parse_groups(bytes) {
        Ok(tree) => return Ok(tree),
        Err(error) => error,
    };
    let text = String::from_utf8_lossy(bytes);
    drover_spec::parse_value_of_yaml_1_1(path, &text)
        .map(|value| GoJson::groups_from_value(&value))
        .map_err(|mistakes| {
            let mut error = CommandError::new(format!("{path} is neither JSON nor YAML"));
            error = error.detail(format!("as JSON: {json}"));
            for mistake in mistakes {
                error = error.detail(format!("as YAML: {}: {}", mistake.span, mistake.message));
            }
            error
        })
}

fn read_one(group: &GoJson) -> Result<Found, String> {
    if group.map().is_none() {
        return Err("it is not a map".to_owned());
    }
    if let Some(spec) = stored(group) {
        let kind = spec.get("kind").and_then(GoJson::text);
        return envelope(kind.unwrap_or_default(), spec);
    }
    if let Some(kind) = group.get("kind").and_then(GoJson::text) {
        return envelope(kind, group);
    }
    let mut notes = Vec::new();
    let properties = group.get("Properties");
    // A manager's file has the group within an entry that names the plugin.
    let inner = properties.filter(|inner| group.get("ID").is_none() && inner.get("ID").is_some());
    if inner.is_some() {
        unknown("", Some(group), &["Plugin", "Properties"], &mut notes);
    }
    let group = inner.unwrap_or(group);
    unknown("", Some(group), &["ID", "Properties"], &mut notes);
    let id = group.get("ID").and_then(GoJson::text).unwrap_or_default();
    if id.is_empty() {
        return Err("it has no `ID`".to_owned());
    }
    let group = InfrakitGroup {
        id: id.to_owned(),
        properties: group.get("Properties").cloned().unwrap_or(GoJson::Null),
    };
    Ok(Found { group, notes })
}

/// Reads `{kind: group, metadata: {name: ...}, properties: ...}`.
fn envelope(kind: &str, group: &GoJson) -> Result<Found, String> {
    if !kind.eq_ignore_ascii_case("group") {
        return Err(format!(
            "it is of the kind {kind:?}, and only groups can be taken over"
        ));
    }
    let metadata = group.get("metadata");
    let name = metadata.and_then(|metadata| metadata.get("name"));
    let name = name.and_then(GoJson::text).unwrap_or_default();
    // `plugin/name` says which plugin it is for, too.
    let name = name.rsplit('/').next().unwrap_or_default();
    if name.is_empty() {
        return Err("it has no `metadata.name`".to_owned());
    }
    let mut notes = Vec::new();
    // InfraKit's own name for it, and what it found last.
    let known = ["kind", "version", "metadata", "properties", "state"];
    unknown("", Some(group), &known, &mut notes);
    let known = ["name", "id", "identity"];
    unknown("metadata.", metadata, &known, &mut notes);
    let group = InfrakitGroup {
        id: name.to_owned(),
        properties: group.get("properties").cloned().unwrap_or(GoJson::Null),
    };
    Ok(Found { group, notes })
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
        let parts = ["Allocation", "Instance", "Flavor", "Updating"];
        unknown("", Some(properties), &parts, &mut notes);
        let mut part = |name: &str, known: &[&str]| {
            unknown(&format!("{name}."), properties.get(name), known, &mut notes);
        };
        part("Allocation", &["Size", "LogicalIDs"]);
        part("Instance", &["Plugin", "Properties"]);
        part("Flavor", &["Plugin", "Properties"]);
        part(
            "Updating",
            &["Duration", "Count", "SkipBeforeInstanceDestroy"],
        );
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
        let given = logical_id(&name);
        if given != id {
            notes.push(format!(
                "the instance that will replace the member {id} gets the LogicalID {given}: what knows members by it (a plugin's address or volume) has to know that one"
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

/// Notes the fields of a map that nothing here knows, without those that say nothing.
fn unknown(within: &str, map: Option<&GoJson>, known: &[&str], notes: &mut Vec<String>) {
    let fields = map.and_then(GoJson::map).into_iter().flatten();
    for (name, value) in fields {
        let is_known = known.iter().any(|one| one.eq_ignore_ascii_case(name));
        if !is_known && !is_empty(value) {
            notes.push(format!(
                "the field {within}{name} is not known, and is left out"
            ));
        }
    }
}

fn is_empty(value: &GoJson) -> bool {
    match value {
        GoJson::Null => true,
        GoJson::Text(text) => text.is_empty(),
        GoJson::List(list) => list.is_empty(),
        GoJson::Map(map) => map.is_empty(),
        GoJson::Bool(_) | GoJson::Number(_) => false,
    }
}
