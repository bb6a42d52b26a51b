//! The handshake: which interfaces a plugin has, in which version, for which subtypes. Plugins of every
//! release of InfraKit answer one of three questions.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::call::{CallError, Caller, Fault, Place, shortened};
use crate::endpoint::{Endpoint, PluginName};
use crate::json::{field, text};

/// How long a handshake may take: it is answered from memory.
const LIMIT: Duration = Duration::from_secs(5);

/// The names of InfraKit's interfaces of what makes instances, and of what prepares them.
const INSTANCE: &str = "Instance";
const FLAVOR: &str = "Flavor";

/// The name of our own interface. Its version is part of the name: another one is another interface.
pub(crate) const PROVIDER: &str = "Provider";

/// The name of the interface by which our own servers of groups tell whose they are.
pub(crate) const DROVER: &str = "Drover";

/// The newest question.
pub(crate) const HELLO: &str = "Handshake.Hello";

/// What a plugin is called that is one object, in a list of objects.
const UNTYPED: &str = ".";

/// What a plugin offers: for each interface its version and its subtypes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Interfaces {
    /// Version and subtypes by the interface's name. No subtypes: the plugin does not say.
    offered: BTreeMap<String, Vec<(String, Vec<String>)>>,
}

/// The versions of `Instance` that are spoken, oldest first. They differ in a few fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InstanceVersion {
    /// No subtypes, no labels.
    V0_1_0,
    /// With labels.
    V0_3_0,
    /// With properties in descriptions, if asked for.
    V0_5_0,
    /// With a reason for the end.
    V0_6_0,
    /// The last one.
    V0_6_1,
}

impl InstanceVersion {
    const ALL: [(Self, &str); 5] = [
        (Self::V0_1_0, "0.1.0"),
        (Self::V0_3_0, "0.3.0"),
        (Self::V0_5_0, "0.5.0"),
        (Self::V0_6_0, "0.6.0"),
        (Self::V0_6_1, "0.6.1"),
    ];
}

/// What to talk to a plugin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// Our own interface.
    Provider,
    /// InfraKit's.
    Instance(InstanceVersion),
}

impl Interfaces {
    fn add(&mut self, spec: &str, mut subtypes: Vec<String>) {
        let (name, version) = spec.split_once('/').unwrap_or((spec, ""));
        subtypes.sort();
        let versions = self.offered.entry(name.to_owned()).or_default();
        versions.push((version.to_owned(), subtypes));
    }

    /// Chooses the interface for a subtype: our own where the plugin has it.
    ///
    /// # Errors
    ///
    /// Neither is there in a version that is spoken, or not for this subtype.
    pub(crate) fn choose(&self, subtype: &str) -> Result<Spoken, String> {
        let mut own = self.offered.get(PROVIDER).into_iter().flatten();
        if let Some((_, subtypes)) = own.find(|(version, _)| version == "1") {
            return check_subtype(subtype, subtypes).map(|()| Spoken::Provider);
        }
        match self.newest(INSTANCE, &InstanceVersion::ALL) {
            Some((version, subtypes)) => {
                check_subtype(subtype, subtypes).map(|()| Spoken::Instance(version))
            }
            None => Err(self.unspoken(INSTANCE, &InstanceVersion::ALL, &[PROVIDER])),
        }
    }

    /// Returns the objects that a plugin has of an interface, in whatever version. None: it does not have it.
    pub(crate) fn objects(&self, interface: &str) -> Option<Vec<String>> {
        let offered = self.offered.get(interface)?;
        Some(
            offered
                .iter()
                .flat_map(|(_, names)| names.clone())
                .collect(),
        )
    }

    /// Returns whether the plugin tells of the groups of an agent of ours, in a version that is understood.
    pub(crate) fn is_of_an_agent(&self) -> bool {
        self.version(DROVER, &[((), "1")], "").is_ok()
    }

    /// Returns the newest version of `Instance` that both sides have, for a subtype.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn instance_version(&self, subtype: &str) -> Result<InstanceVersion, String> {
        self.version(INSTANCE, &InstanceVersion::ALL, subtype)
    }

    /// Returns the newest version of an interface that both sides have, for a subtype.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn version<V: Copy>(
        &self,
        interface: &str,
        known: &[(V, &str)],
        subtype: &str,
    ) -> Result<V, String> {
        match self.newest(interface, known) {
            Some((version, subtypes)) => check_subtype(subtype, subtypes).map(|()| version),
            None => Err(self.unspoken(interface, known, &[])),
        }
    }

    /// Returns the newest version of an interface that both sides have, and the subtypes that have it.
    fn newest<V: Copy>(&self, interface: &str, known: &[(V, &str)]) -> Option<(V, &[String])> {
        let offered = self.offered.get(interface)?;
        known.iter().rev().find_map(|(version, name)| {
            let theirs = offered.iter().find(|(theirs, _)| theirs == name);
            theirs.map(|(_, subtypes)| (*version, subtypes.as_slice()))
        })
    }

    /// Returns why an interface cannot be spoken: in InfraKit's own words, which people find, and with what each side has.
    /// `own`: interfaces of ours that would do as well, in version 1.
    fn unspoken<V>(&self, interface: &str, known: &[(V, &str)], own: &[&str]) -> String {
        let ours = known.last().map_or("", |(_, name)| name);
        let theirs = self.offered.get(interface).and_then(|list| list.first());
        let refused = match theirs {
            None => format!("Plugin does not support interface {interface}/{ours}"),
            Some((theirs, _)) => format!(
                "Plugin supports {interface} interface version {}, client requires {ours}",
                shortened(theirs)
            ),
        };
        let own = own.iter().map(|name| format!("{name}/1"));
        let spoken = known
            .iter()
            .rev()
            .map(|(_, name)| format!("{interface}/{name}"));
        let spoken = own.chain(spoken).collect::<Vec<_>>().join(", ");
        let hint = self.hint(interface).unwrap_or_default();
        format!(
            "{refused}: it offers {}, and drover speaks {spoken}{hint}",
            self.all()
        )
    }

    /// Returns all that the plugin offers, within bounds.
    fn all(&self) -> String {
        let offered = self.offered.iter().flat_map(|(name, versions)| {
            let versions = versions.iter();
            versions.map(move |(version, _)| format!("{name}/{version}"))
        });
        let mut offered: Vec<String> = offered.collect();
        offered.dedup();
        match offered.as_slice() {
            [] => "nothing".to_owned(),
            offered => shortened(&offered.join(", ")),
        }
    }

    /// Returns what is most likely wrong where an interface is not offered, for the end of a sentence.
    fn hint(&self, interface: &str) -> Option<String> {
        let has = |name: &str| self.offered.contains_key(name);
        let wanted = match interface {
            INSTANCE => [INSTANCE, PROVIDER].as_slice(),
            _ => &[interface],
        };
        let alike = self.offered.keys().find_map(|name| {
            let like = |wanted: &&&str| name != **wanted && name.eq_ignore_ascii_case(wanted);
            wanted.iter().find(like).map(|wanted| (name, wanted))
        });
        if let Some((name, wanted)) = alike {
            return Some(format!(
                "; {name} is not {wanted}: names count as they are written"
            ));
        }
        match interface {
            INSTANCE if has(FLAVOR) && !has(INSTANCE) && !has(PROVIDER) => Some(
                "; it is a flavor, which a group names in `template.flavors`, and no provider"
                    .to_owned(),
            ),
            FLAVOR if !has(FLAVOR) && (has(INSTANCE) || has(PROVIDER)) => Some(
                "; it is a provider, which a Provider document names, and no flavor".to_owned(),
            ),
            _ => None,
        }
    }
}

/// Refuses a subtype that the plugin does not name. A plugin that names none is not asked again.
fn check_subtype(subtype: &str, named: &[String]) -> Result<(), String> {
    let wanted = if subtype.is_empty() { UNTYPED } else { subtype };
    if named.is_empty() || named.iter().any(|name| name == wanted) {
        return Ok(());
    }
    let typed: Vec<&str> = named
        .iter()
        .map(String::as_str)
        .filter(|name| *name != UNTYPED)
        .collect();
    let all = shortened(&typed.join(", "));
    Err(match (subtype, typed.as_slice()) {
        (_, []) => format!("it has no subtypes, so not {subtype} either"),
        ("", _) => format!("it needs a subtype, one of {all}"),
        (_, _) => format!("it has no subtype {subtype}; it has {all}"),
    })
}

/// Asks a plugin what it offers: the newest question first. An error that [`Fault::is_unknown_method`] means that it knows
/// none of the questions.
pub(crate) async fn hello(caller: &Caller) -> Result<Interfaces, CallError> {
    let nothing = Map::new();
    let method = HELLO;
    let mut refused = match caller.call(method, &nothing, LIMIT).await {
        Ok(answer) => return objects(&answer).map_err(|why| caller.garbled(method, &why)),
        Err(error) if matches!(error.fault, Fault::Refused { .. }) => error,
        Err(error) => return Err(error),
    };
    let method = "Handshake.Implements";
    match caller.call(method, &nothing, LIMIT).await {
        Ok(answer) => {
            let types = caller.call("Handshake.Types", &nothing, LIMIT).await;
            let types = match types {
                Ok(types) => types,
                // Releases before 0.5 have no subtypes to tell.
                Err(error) if matches!(error.fault, Fault::Refused { .. }) => json!({}),
                Err(error) => return Err(error),
            };
            return implements(&answer, &types).map_err(|why| caller.garbled(method, &why));
        }
        Err(error) if matches!(error.fault, Fault::Refused { .. }) => telling(&mut refused, error),
        Err(error) => return Err(error),
    }
    let method = "Plugin.Implements";
    match caller.call(method, &nothing, LIMIT).await {
        Ok(answer) => implements(&answer, &json!({})).map_err(|why| caller.garbled(method, &why)),
        Err(error) if matches!(error.fault, Fault::Refused { .. }) => {
            telling(&mut refused, error);
            Err(refused)
        }
        Err(error) => Err(error),
    }
}

/// Keeps of two refusals the one that says more: what the newest question was answered with, unless only the other one
/// was understood.
fn telling(refused: &mut CallError, next: CallError) {
    if refused.fault.is_unknown_method() && !next.fault.is_unknown_method() {
        *refused = next;
    }
}

/// Asks the plugin behind a socket what it offers, and waits for any answer that can be read. A refusal is one: plugins before
/// InfraKit 0.6 know another question.
///
/// # Errors
///
/// Why there is none: the call, and what became of it.
///
/// # Cancellation
///
/// Nothing is changed.
pub async fn answers(socket: &Path, limit: Duration) -> Result<(), String> {
    let name = PluginName {
        lookup: socket.display().to_string(),
        subtype: String::new(),
    };
    let caller = Caller::new(name, Place::Fixed(Endpoint::Unix(socket.to_owned())));
    match caller.call_unread(HELLO, &Map::new(), limit).await {
        Ok(_) => Ok(()),
        Err(error) => match error.fault {
            Fault::Refused { .. } => Ok(()),
            Fault::Absent(why) | Fault::NotSent(why) | Fault::Lost(why) => {
                Err(format!("{HELLO}: {why}"))
            }
        },
    }
}

/// Reads `{"Objects": {"Instance/0.6.1": [{"Name": "compute"}]}}`.
fn objects(answer: &Json) -> Result<Interfaces, String> {
    let objects = answer
        .as_object()
        .and_then(|answer| field(answer, "Objects"));
    let Some(Json::Object(objects)) = objects else {
        return Err("`Objects` is not a map".to_owned());
    };
    let mut interfaces = Interfaces::default();
    for (spec, list) in objects {
        let list = match list {
            Json::Null => &[],
            Json::Array(list) => list.as_slice(),
            _ => return Err(format!("the objects of {spec} are not a list")),
        };
        let names = list.iter().map(|object| {
            let name = object.as_object().map(|object| text(field(object, "Name")));
            let name = name.and_then(Result::ok).flatten();
            name.ok_or_else(|| format!("an object of {spec} has no name"))
        });
        interfaces.add(spec, names.collect::<Result<_, _>>()?);
    }
    Ok(interfaces)
}

/// Reads `{"APIs": [{"Name": "Instance", "Version": "0.5.0"}]}` and
/// `{"Types": {"Instance/0.5.0": ["compute"]}}`.
fn implements(answer: &Json, types: &Json) -> Result<Interfaces, String> {
    let answer = answer.as_object().ok_or("it is not a map")?;
    // Documentation that was never right says `Interfaces`, and somebody may have believed it.
    let list = field(answer, "APIs").or_else(|| field(answer, "Interfaces"));
    let Some(Json::Array(list)) = list else {
        return Err("`APIs` is not a list".to_owned());
    };
    let types = types.as_object().and_then(|types| field(types, "Types"));
    let mut interfaces = Interfaces::default();
    for api in list {
        let part = |name| {
            let value = api.as_object().map(|api| text(field(api, name)));
            value.and_then(Result::ok).flatten()
        };
        let (Some(name), Some(version)) = (part("Name"), part("Version")) else {
            return Err("an interface has no name or no version".to_owned());
        };
        let spec = format!("{name}/{version}");
        let subtypes = types
            .and_then(|types| types.get(&spec))
            .and_then(Json::as_array);
        let subtypes = subtypes.into_iter().flatten().filter_map(Json::as_str);
        interfaces.add(&spec, subtypes.map(str::to_owned).collect());
    }
    Ok(interfaces)
}

#[cfg(test)]
mod tests;
