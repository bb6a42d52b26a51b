//! What instances ask of their group beside properties: whether they take init and zones, can be members of a quorum,
//! have an address before they are made, and what their tags look like.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::Value;

use super::Shape;

/// What instances ask of their group. The default asks nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupRules {
    /// Whether they take init lines, user data and environment.
    pub init: InitRule,
    /// Whether they are made in the zones that the group names.
    pub zones: ZoneRule,
    /// Whether they take the places of a quorum group's members.
    pub members: MemberRule,
    /// Whether `${instance.address}` and `${members}` are known when they are made.
    pub address: AddressRule,
    /// What the map of their tags looks like, without drover's own. None: the schema does not say.
    pub tags: Option<Box<Shape>>,
    /// How they can be asked about their health, or told that they are drained.
    pub checks: CheckRule,
    /// Whether a group takes over instances that others made.
    pub adopt: AdoptRule,
}

/// How instances can be asked about their health, or told that they are drained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CheckRule {
    /// In every way, as far as the schema says.
    #[default]
    Taken,
    /// In these ways alone.
    Only(BTreeSet<Way>),
}

/// A way to ask an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A request to its address.
    Http,
    /// A connection to its address.
    Tcp,
    /// A command that its provider runs in it.
    Command,
    /// The provider's own word on its health.
    Provider,
}

impl Way {
    const ALL: [Self; 4] = [Self::Http, Self::Tcp, Self::Command, Self::Provider];

    /// Returns the word for it in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Command => "command",
            Self::Provider => "provider",
        }
    }
}

impl CheckRule {
    /// Returns the ways of which an instance can be asked in these alone.
    pub fn only(ways: &[Way]) -> Self {
        Self::Only(ways.iter().copied().collect())
    }
}

/// Whether a group takes over instances that others made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AdoptRule {
    /// It does, as far as the schema says.
    #[default]
    Taken,
    /// It does not.
    Refused,
}

/// Whether instances take init lines, user data and environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InitRule {
    /// They do, as far as the schema says.
    #[default]
    Taken,
    /// They do not.
    Refused,
    /// They do; init lines have at most so many bytes together, each with its end.
    UpTo(usize),
}

/// Whether instances are made in the zones that their group names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ZoneRule {
    /// They are, as far as the schema says.
    #[default]
    Taken,
    /// They are not.
    Refused,
    /// They are, where a zone is one of the region that this setting of the Provider document names: its name begins with
    /// the region's, and goes on with a letter or a `-`.
    Of(String),
}

impl ZoneRule {
    /// Returns whether a zone is one of a region.
    pub fn is_of(zone: &str, region: &str) -> bool {
        let mut rest = zone.strip_prefix(region).unwrap_or_default().chars();
        match rest.next() {
            Some('-') => rest.next().is_some(),
            Some(letter) => letter.is_ascii_alphabetic() && rest.next().is_none(),
            None => false,
        }
    }
}

/// Whether instances take the places of a quorum group's members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MemberRule {
    /// They do, as far as the schema says.
    #[default]
    Taken,
    /// They do not.
    Refused,
    /// They do, with this.
    With {
        /// Properties that members' instances do not have: their places have them.
        without: Vec<String>,
        /// The property in which what is attached is described, by name. It is read of members alone.
        attachments: Option<String>,
        /// The property that other instances have instead of that one.
        instead: Option<String>,
        /// The setting of the Provider document without which there are no places.
        setting: Option<String>,
    },
}

/// Whether an instance's address is known when it is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AddressRule {
    /// It is, as far as the schema says.
    #[default]
    Known,
    /// It is not.
    Unknown,
    /// That of members of a quorum is.
    Members,
    /// It is where this property is there and not empty.
    With(String),
}

impl GroupRules {
    /// Returns the keyword's value.
    pub(super) fn to_json_schema(&self) -> Value {
        let mut rules = BTreeMap::new();
        let mut add = |name: &str, value: Value| {
            rules.insert(name.to_owned(), value);
        };
        let one = |name: &str, value: Value| Value::Map([(name.to_owned(), value)].into());
        match self.init {
            InitRule::Taken => {}
            InitRule::Refused => add("init", Value::Bool(false)),
            InitRule::UpTo(bytes) => add("init", one("maxBytes", Value::Int(bytes as i64))),
        }
        match &self.zones {
            ZoneRule::Taken => {}
            ZoneRule::Refused => add("zones", Value::Bool(false)),
            ZoneRule::Of(setting) => add("zones", one("of", setting.as_str().into())),
        }
        match &self.members {
            MemberRule::Taken => {}
            MemberRule::Refused => add("members", Value::Bool(false)),
            MemberRule::With {
                without,
                attachments,
                instead,
                setting,
            } => {
                let names = without.iter().map(|name| Value::from(name.as_str()));
                let mut with = BTreeMap::from([("without", Value::List(names.collect()))]);
                let named = [
                    ("attachments", attachments),
                    ("instead", instead),
                    ("setting", setting),
                ];
                let named = named.into_iter().filter_map(|(name, value)| {
                    let value = value.as_deref()?;
                    Some((name, Value::from(value)))
                });
                with.extend(named);
                let with = with.into_iter();
                let with = with.map(|(name, value)| (name.to_owned(), value));
                add("members", with.collect());
            }
        }
        match &self.address {
            AddressRule::Known => {}
            AddressRule::Unknown => add("address", Value::Bool(false)),
            AddressRule::Members => add("address", "members".into()),
            AddressRule::With(property) => {
                add("address", one("with", property.as_str().into()));
            }
        }
        if let Some(tags) = &self.tags {
            add("tags", tags.to_json_schema());
        }
        match &self.checks {
            CheckRule::Taken => {}
            CheckRule::Only(ways) => {
                let ways = ways.iter().map(|way| Value::from(way.as_str()));
                add("checks", Value::List(ways.collect()));
            }
        }
        match self.adopt {
            AdoptRule::Taken => {}
            AdoptRule::Refused => add("adopt", Value::Bool(false)),
        }
        Value::Map(rules)
    }

    /// Reads the keyword's value, and shapes in it with `shape`. None: it is not understood.
    pub(super) fn from_json_schema(
        written: &Value,
        shape: &mut dyn FnMut(&Value) -> Option<Shape>,
    ) -> Option<Self> {
        let written = written.as_map()?;
        let known = [
            "init", "zones", "members", "address", "tags", "checks", "adopt",
        ];
        if !written.keys().all(|name| known.contains(&name.as_str())) {
            return None;
        }
        let init = match written.get("init") {
            None | Some(Value::Bool(true)) => InitRule::Taken,
            Some(Value::Bool(false)) => InitRule::Refused,
            Some(most) => match only(most, "maxBytes")? {
                Value::Int(bytes) => InitRule::UpTo(usize::try_from(*bytes).ok()?),
                _ => return None,
            },
        };
        let zones = match written.get("zones") {
            None | Some(Value::Bool(true)) => ZoneRule::Taken,
            Some(Value::Bool(false)) => ZoneRule::Refused,
            Some(of) => ZoneRule::Of(only(of, "of")?.as_str()?.to_owned()),
        };
        let tags = match written.get("tags") {
            None => None,
            Some(tags) => match shape(tags)? {
                map @ (Shape::Map(_) | Shape::Keyed { .. }) => Some(Box::new(map)),
                _ => return None,
            },
        };
        let members = match written.get("members") {
            None | Some(Value::Bool(true)) => MemberRule::Taken,
            Some(Value::Bool(false)) => MemberRule::Refused,
            Some(with) => members(with)?,
        };
        let address = match written.get("address") {
            None | Some(Value::Bool(true)) => AddressRule::Known,
            Some(Value::Bool(false)) => AddressRule::Unknown,
            Some(Value::String(of)) if of == "members" => AddressRule::Members,
            Some(with) => AddressRule::With(only(with, "with")?.as_str()?.to_owned()),
        };
        let checks = match written.get("checks") {
            None => CheckRule::Taken,
            Some(ways) => {
                let ways = ways.as_list()?.iter().map(|way| {
                    let way = way.as_str()?;
                    Way::ALL.into_iter().find(|known| known.as_str() == way)
                });
                CheckRule::Only(ways.collect::<Option<_>>()?)
            }
        };
        let adopt = match written.get("adopt") {
            None | Some(Value::Bool(true)) => AdoptRule::Taken,
            Some(Value::Bool(false)) => AdoptRule::Refused,
            Some(_) => return None,
        };
        Some(Self {
            init,
            zones,
            members,
            address,
            tags,
            checks,
            adopt,
        })
    }

    /// Returns every property that the rules name.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        let (without, attachments, instead) = match &self.members {
            MemberRule::Taken | MemberRule::Refused => (&[][..], None, None),
            MemberRule::With {
                without,
                attachments,
                instead,
                setting: _,
            } => (without.as_slice(), attachments.as_ref(), instead.as_ref()),
        };
        let with = match &self.address {
            AddressRule::Known | AddressRule::Unknown | AddressRule::Members => None,
            AddressRule::With(property) => Some(property),
        };
        without.iter().chain(attachments).chain(instead).chain(with)
    }
}

/// Returns the value of the one key that a map has.
fn only<'a>(map: &'a Value, key: &str) -> Option<&'a Value> {
    map.as_map().filter(|map| map.len() == 1)?.get(key)
}

fn members(with: &Value) -> Option<MemberRule> {
    let with = with.as_map()?;
    let known = ["without", "attachments", "instead", "setting"];
    if !with.keys().all(|name| known.contains(&name.as_str())) {
        return None;
    }
    let text = |name: &str| match with.get(name) {
        None => Some(None),
        Some(value) => Some(Some(value.as_str()?.to_owned())),
    };
    let without = match with.get("without") {
        None => Some(Vec::new()),
        Some(names) => {
            let names = names.as_list()?.iter().map(Value::as_str);
            names.map(|name| name.map(str::to_owned)).collect()
        }
    };
    Some(MemberRule::With {
        without: without?,
        attachments: text("attachments")?,
        instead: text("instead")?,
        setting: text("setting")?,
    })
}

#[cfg(test)]
mod tests;
