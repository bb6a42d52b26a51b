//! What a group of InfraKit asks for: read with its checks, in its order, and written in its order.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::duration;
use crate::go_json::as_read_by_go;
use crate::json::{field, text, texts};

/// The properties of a group's spec. The order of the members is InfraKit's.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GroupSpec {
    instance: Part,
    flavor: Part,
    allocation: Allocation,
    updating: Updating,
}

/// A plugin, and what is its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    plugin: String,
    properties: Json,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Allocation {
    size: u32,
    #[serde(rename = "LogicalIDs")]
    logical_ids: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Updating {
    /// As Go writes it.
    duration: String,
    count: u64,
    skip_before_instance_destroy: Option<String>,
}

/// Refuses a field that there is not: InfraKit drops it without a word.
fn known(object: &Map<String, Json>, names: &[&str], within: &str) -> Result<(), String> {
    let is_known = |key: &String| names.iter().any(|name| key.eq_ignore_ascii_case(name));
    match object.keys().find(|key| !is_known(key)) {
        None => Ok(()),
        Some(key) => Err(format!("Invalid properties: {within}{key}: unknown field")),
    }
}

fn map<'a>(
    object: &'a Map<String, Json>,
    name: &str,
) -> Result<Option<&'a Map<String, Json>>, String> {
    match field(object, name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Object(map)) => Ok(Some(map)),
        Some(_) => Err(format!("Invalid properties: {name}: not a map")),
    }
}

fn part(object: &Map<String, Json>, name: &str) -> Result<Part, String> {
    let bad = |why: String| format!("Invalid properties: {name}.Plugin: {why}");
    let nothing = Map::new();
    let part = map(object, name)?.unwrap_or(&nothing);
    known(part, &["Plugin", "Properties"], &format!("{name}."))?;
    Ok(Part {
        plugin: text(field(part, "Plugin"))
            .map_err(bad)?
            .unwrap_or_default(),
        properties: field(part, "Properties")
            .filter(|properties| !properties.is_null())
            .cloned()
            .unwrap_or_else(|| Json::Object(Map::new())),
    })
}

/// Reads the allocation. The size is none where it is not written: nothing is another thing than none.
fn allocation(object: &Map<String, Json>) -> Result<(Option<u32>, Option<Vec<String>>), String> {
    let Some(allocation) = map(object, "Allocation")? else {
        return Ok((None, None));
    };
    known(allocation, &["Size", "LogicalIDs"], "Allocation.")?;
    let size = match field(allocation, "Size") {
        None | Some(Json::Null) => None,
        Some(size) => {
            let size = size.as_u64().and_then(|size| u32::try_from(size).ok());
            let why = "Invalid properties: Allocation.Size: expected a whole number from 0 on";
            Some(size.ok_or(why)?)
        }
    };
    let bad = || "Invalid properties: Allocation.LogicalIDs: expected a list of texts".to_owned();
    let logical_ids = match field(allocation, "LogicalIDs") {
        None | Some(Json::Null) => None,
        Some(Json::Array(list)) => {
            let ids = list.iter().map(|id| id.as_str().map(str::to_owned));
            Some(ids.collect::<Option<Vec<_>>>().ok_or_else(bad)?)
        }
        Some(_) => return Err(bad()),
    };
    Ok((size, logical_ids.filter(|ids| !ids.is_empty())))
}

fn updating(object: &Map<String, Json>) -> Result<Updating, String> {
    let none = Updating::default();
    let Some(updating) = map(object, "Updating")? else {
        return Ok(none);
    };
    known(
        updating,
        &["Duration", "Count", "SkipBeforeInstanceDestroy"],
        "Updating.",
    )?;
    let bad = |name: &str, why: String| format!("Invalid properties: Updating.{name}: {why}");
    let wait = text(field(updating, "Duration")).map_err(|why| bad("Duration", why))?;
    let wait = wait.unwrap_or(none.duration);
    if duration::parse(&wait).is_none() {
        return Err(format!(
            "Invalid properties: time: invalid duration {wait:?}"
        ));
    }
    let count = match field(updating, "Count") {
        None | Some(Json::Null) => 0,
        Some(count) => count
            .as_u64()
            .ok_or_else(|| bad("Count", "expected a whole number from 0 on".to_owned()))?,
    };
    let name = "SkipBeforeInstanceDestroy";
    let skip = text(field(updating, name)).map_err(|why| bad(name, why))?;
    if let Some(skip) = &skip
        && skip != "drain"
    {
        return Err(bad(name, format!("there is only `drain`, not {skip:?}")));
    }
    Ok(Updating {
        duration: wait,
        count,
        skip_before_instance_destroy: skip,
    })
}

impl GroupSpec {
    /// Reads the properties of a spec.
    ///
    /// # Errors
    ///
    /// InfraKit's own words, where it refuses them; ours for what it would drop.
    pub fn read(properties: Option<&Json>) -> Result<Self, String> {
        let empty = Map::new();
        let properties = match properties {
            None | Some(Json::Null) => &empty,
            Some(Json::Object(properties)) => properties,
            Some(_) => return Err("Invalid properties: not a map".to_owned()),
        };
        known(
            properties,
            &["Instance", "Flavor", "Allocation", "Updating"],
            "",
        )?;
        let (instance, flavor) = (part(properties, "Instance")?, part(properties, "Flavor")?);
        let (size, logical_ids) = allocation(properties)?;
        let updating = updating(properties)?;
        let size = match (size, &logical_ids) {
            (None, None) => return Err("Allocation must not be blank".to_owned()),
            (Some(size), Some(_)) if size > 0 => {
                return Err("Only one Allocation method may be used".to_owned());
            }
            (size, _) => size.unwrap_or(0),
        };
        if let Some(ids) = &logical_ids {
            let mut sorted: Vec<&String> = ids.iter().collect();
            sorted.sort();
            let mut pairs = sorted.windows(2);
            if let Some([twice, ..]) = pairs.find(|pair| pair[0] == pair[1]) {
                return Err(format!(
                    "Invalid properties: Allocation.LogicalIDs: {twice} is in it twice"
                ));
            }
        }
        if updating.count > 0 && !updating.time().is_zero() {
            return Err("Only one Updating method may be used".to_owned());
        }
        Ok(Self {
            instance,
            flavor,
            allocation: Allocation { size, logical_ids },
            updating,
        })
    }

    /// Returns how many instances it asks for.
    pub fn count(&self) -> u32 {
        let ids = self.allocation.logical_ids.as_ref();
        ids.map_or(self.allocation.size, |ids| ids.len() as u32)
    }

    /// Returns its fixed members, if it has them.
    pub fn logical_ids(&self) -> Option<&[String]> {
        self.allocation.logical_ids.as_deref()
    }

    /// Returns what makes its instances.
    pub fn plugin(&self) -> &str {
        &self.instance.plugin
    }

    /// Returns the properties of its instances.
    pub fn properties(&self) -> &Json {
        &self.instance.properties
    }

    /// Returns what prepares its instances, and the properties of that.
    pub fn flavor(&self) -> (&str, &Json) {
        (&self.flavor.plugin, &self.flavor.properties)
    }

    /// Returns whether the properties of both instances are one configuration to InfraKit, whose hash is of what Go reads:
    /// `1.0` is `1`.
    pub(super) fn has_properties_of(&self, other: &Self) -> bool {
        as_read_by_go(self.properties()) == as_read_by_go(other.properties())
    }

    /// Returns whether both have one flavor to InfraKit, as it is written.
    pub fn has_flavor_of(&self, other: &Self) -> bool {
        let ((plugin, properties), (other, others)) = (self.flavor(), other.flavor());
        plugin == other && as_read_by_go(properties) == as_read_by_go(others)
    }

    /// Returns what an update waits for: healthy time, healthy looks in a row, and whether it does not drain.
    pub fn waits(&self) -> (Duration, u64, bool) {
        self.updating.waits()
    }

    /// Refuses properties that the flavor `vanilla` cannot be meant by.
    pub(super) fn check_flavor(&self) -> Result<(), String> {
        let ("vanilla", Json::Object(properties)) = self.flavor() else {
            return Ok(());
        };
        match field(properties, "Init") {
            None | Some(Json::Null) => {}
            Some(Json::Array(lines)) if lines.iter().all(Json::is_string) => {}
            Some(_) => return Err("Flavor.Properties.Init: expected a list of texts".to_owned()),
        }
        let tags = texts(field(properties, "Tags"));
        tags.map(drop)
            .map_err(|why| format!("Flavor.Properties.Tags: {why}"))
    }

    /// Refuses a difference to `before` that a commit cannot carry; `same_flavor` says whether that means the same.
    pub(super) fn check_rest(&self, before: &Self, same_flavor: bool) -> Result<(), String> {
        let by_hand = |what: &str| {
            Err(format!(
                "{what} differs from the group's document: change it there"
            ))
        };
        if self.instance.plugin != before.instance.plugin {
            return by_hand("Instance.Plugin");
        }
        if !same_flavor {
            return by_hand("Flavor");
        }
        let waits = self.updating.waits();
        if waits != Updating::default().waits() && waits != before.updating.waits() {
            return by_hand("Updating");
        }
        Ok(())
    }
}

impl Default for Updating {
    /// What is not written: nothing is waited for.
    fn default() -> Self {
        Self {
            duration: "0s".to_owned(),
            count: 0,
            skip_before_instance_destroy: None,
        }
    }
}

impl Updating {
    fn time(&self) -> Duration {
        // It was read by the same function.
        duration::parse(&self.duration).unwrap_or_default()
    }

    /// Returns what it means, however it is written.
    fn waits(&self) -> (Duration, u64, bool) {
        let skips = self.skip_before_instance_destroy.is_some();
        (self.time(), self.count, skips)
    }
}
