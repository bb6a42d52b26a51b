//! What instances ask of their group beside properties: whether they take init and zones, can be members of a quorum, and
//! have an address before they are made.

use std::collections::BTreeMap;

use drover_model::Value;

/// What instances ask of their group. The default asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRules {
    /// Whether they take init lines, user data and environment.
    pub init: GroupRule,
    /// Whether they are made in the zones that the group names.
    pub zones: GroupRule,
    /// Whether they take the places of a quorum group's members.
    pub members: MemberRule,
    /// Whether `${instance.address}` and `${members}` are known when they are made.
    pub address: AddressRule,
}

/// Whether instances take something of their group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GroupRule {
    /// They do, as far as the schema says.
    #[default]
    Taken,
    /// They do not.
    Refused,
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
        /// The property in which what is attached is described, by name.
        attachments: Option<String>,
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
        for (name, rule) in [("init", self.init), ("zones", self.zones)] {
            match rule {
                GroupRule::Taken => {}
                GroupRule::Refused => add(name, Value::Bool(false)),
            }
        }
        match &self.members {
            MemberRule::Taken => {}
            MemberRule::Refused => add("members", Value::Bool(false)),
            MemberRule::With {
                without,
                attachments,
                setting,
            } => {
                let names = without.iter().map(|name| Value::from(name.as_str()));
                let mut with = BTreeMap::from([("without", Value::List(names.collect()))]);
                let named = [("attachments", attachments), ("setting", setting)];
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
                let with = BTreeMap::from([("with".to_owned(), property.as_str().into())]);
                add("address", Value::Map(with));
            }
        }
        Value::Map(rules)
    }

    /// Reads the keyword's value. None: it is not understood.
    pub(super) fn from_json_schema(written: &Value) -> Option<Self> {
        let written = written.as_map()?;
        let known = ["init", "zones", "members", "address"];
        if !written.keys().all(|name| known.contains(&name.as_str())) {
            return None;
        }
        let rule = |name: &str| match written.get(name) {
            None | Some(Value::Bool(true)) => Some(GroupRule::Taken),
            Some(Value::Bool(false)) => Some(GroupRule::Refused),
            Some(_) => None,
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
            Some(with) => {
                let with = with.as_map().filter(|with| with.len() == 1)?;
                AddressRule::With(with.get("with")?.as_str()?.to_owned())
            }
        };
        Some(Self {
            init: rule("init")?,
            zones: rule("zones")?,
            members,
            address,
        })
    }

    /// Returns every property that the rules name.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        let (without, attachments) = match &self.members {
            MemberRule::Taken | MemberRule::Refused => (&[][..], None),
            MemberRule::With {
                without,
                attachments,
                setting: _,
            } => (without.as_slice(), attachments.as_ref()),
        };
        let with = match &self.address {
            AddressRule::Known | AddressRule::Unknown | AddressRule::Members => None,
            AddressRule::With(property) => Some(property),
        };
        without.iter().chain(attachments).chain(with)
    }
}

fn members(with: &Value) -> Option<MemberRule> {
    let with = with.as_map()?;
    let known = ["without", "attachments", "setting"];
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
        setting: text("setting")?,
    })
}

#[cfg(test)]
mod tests;
