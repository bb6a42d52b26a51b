//! Flavors: what they make of a template for one instance. Substitution only, no logic.

use std::collections::BTreeMap;

use drover_model::{
    Attachment, ErrorClass, Flavor, FlavorName, GroupName, InstanceId, MemberId, Seat, Template,
    Value,
};

use crate::{ProviderError, Secrets, Slot, user_data};

/// The facts that `${...}` may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `${instance.id}` and `${instance.name}`.
    pub instance: InstanceId,
    /// `${group.name}`.
    pub group: GroupName,
    /// `${instance.zone}`, where there are zones.
    pub zone: Option<String>,
    /// `${instance.address}`. None: not known yet; the provider substitutes it, which knows first.
    pub address: Option<String>,
    /// `${member.id}` and `${bootstrap}`, in a quorum group.
    pub seat: Option<Seat>,
    /// `${members}`: `id=address` of every member, with commas between them. None: not known yet; the
    /// provider substitutes it together with the address.
    pub members: Option<String>,
}

/// A `${...}` that names no fact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown substitution ${{{name}}}")]
pub struct SubstitutionError {
    /// The name between the braces.
    pub name: String,
}

/// Why nothing can be made of a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// A `${...}` that names no fact.
    #[error(transparent)]
    Substitution(#[from] SubstitutionError),
    /// What a plugin would add is not known.
    #[error("flavor plugin {plugin} was not asked")]
    NotAsked {
        /// The plugin.
        plugin: FlavorName,
    },
}

/// What a template asks for, for one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Init, environment and tags.
    pub slot: Slot,
    /// The provider's properties, substituted.
    pub properties: Value,
}

/// The names that a template may use. `instance.address` and `members` stay in place until the provider
/// knows them.
const NAMES: [&str; 8] = [
    "instance.id",
    "instance.name",
    "instance.zone",
    "instance.address",
    "group.name",
    "member.id",
    "members",
    "bootstrap",
];

/// Replaces every `${name}` in `text`; `$${` stands for a literal `${`. A `${` that nothing closes is left as it stands: a
/// document with one is refused before anything is made of it.
///
/// # Errors
///
/// A name that is no fact. `${instance.address}` without an address is left as it stands.
pub fn substitute(text: &str, facts: &Facts) -> Result<String, SubstitutionError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let escaped = rest[..at].ends_with('$');
        let Some(end) = rest[at..].find('}').map(|end| at + end) else {
            out.push_str(&rest[..at]);
            if escaped && facts.address.is_some() {
                out.pop();
            }
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        };
        let whole = &rest[at..=end];
        let name = &rest[at + 2..end];
        if escaped {
            // Stays escaped while the address is still to come: the provider's round resolves it.
            out.push_str(&rest[..at]);
            if facts.address.is_some() {
                out.pop();
            }
            out.push_str(whole);
        } else {
            out.push_str(&rest[..at]);
            out.push_str(&resolve(name, facts).ok_or_else(|| unknown(name))?);
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Returns the text that [`substitute`] makes `text` of, once the address is known.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        // One within another is text of the outer one; one that nothing closes is text as well.
        let end = rest[at..].find('}').map_or(at + 2, |end| at + end + 1);
        out.push_str(&rest[..at]);
        out.push('$');
        out.push_str(&rest[at..end]);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

fn unknown(name: &str) -> SubstitutionError {
    SubstitutionError {
        name: name.to_owned(),
    }
}

fn resolve(name: &str, facts: &Facts) -> Option<String> {
    Some(match name {
        "instance.id" | "instance.name" => facts.instance.to_string(),
        "group.name" => facts.group.to_string(),
        "instance.zone" => facts.zone.clone().unwrap_or_default(),
        "instance.address" => facts
            .address
            .clone()
            .unwrap_or_else(|| "${instance.address}".to_owned()),
        "members" => facts
            .members
            .clone()
            .unwrap_or_else(|| "${members}".to_owned()),
        "member.id" => facts.seat.as_ref()?.id.member.to_string(),
        "bootstrap" => facts.seat.as_ref()?.bootstrap.to_string(),
        _ => return None,
    })
}

/// Returns the names in `text` that are no facts, for checking a document before anything is made.
pub fn unknown_substitutions(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let Some(end) = rest[at..].find('}').map(|end| at + end) else {
            break;
        };
        let name = &rest[at + 2..end];
        if !rest[..at].ends_with('$') && !NAMES.contains(&name) {
            found.push(name.to_owned());
        }
        rest = &rest[end + 1..];
    }
    found
}

/// Applies the flavors of `template` in order, for the instance that `facts` describe.
///
/// Init lines and attachments are appended, environment and tags of a later flavor win over an earlier one's. With a
/// `cloudInit` flavor, init is one document of user data, which holds lines and environment too. Of flavor plugins,
/// what they answered is used as it is.
///
/// # Errors
///
/// A substitution that names no fact, and a flavor plugin that was not asked.
pub fn prepare(template: &Template, facts: &Facts) -> Result<Prepared, PrepareError> {
    let mut slot = Slot {
        instance: facts.instance.clone(),
        init: Vec::new(),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        tags: substitute_map(&template.tags, facts)?,
        attachments: Vec::new(),
        seat: facts.seat.clone().map(Box::new),
    };
    let document = user_data(template, facts)?;
    let mut properties = &template.properties;
    for flavor in &template.flavors {
        match flavor {
            Flavor::Vanilla(vanilla) => {
                slot.tags.extend(substitute_map(&vanilla.tags, facts)?);
                let attached = substitute_attachments(&vanilla.attachments, facts)?;
                slot.attachments.extend(attached);
                if document.is_some() {
                    continue;
                }
                for line in &vanilla.init {
                    slot.init.push(substitute(line, facts)?);
                }
                // A name of a later flavor wins, whichever of the two it is.
                slot.env
                    .retain(|name, _| !vanilla.secrets.contains_key(name));
                slot.secrets
                    .retain(|name, _| !vanilla.env.contains_key(name));
                slot.env.extend(substitute_map(&vanilla.env, facts)?);
                let secrets = vanilla.secrets.iter();
                slot.secrets
                    .extend(secrets.map(|(name, from)| (name.clone(), from.clone())));
            }
            Flavor::CloudInit(_) => {}
            Flavor::Plugin(plugin) => {
                let Some(answer) = &plugin.answer else {
                    let plugin = plugin.name.clone();
                    return Err(PrepareError::NotAsked { plugin });
                };
                let tags = answer.tags.iter();
                slot.tags
                    .extend(tags.map(|(key, tag)| (key.clone(), escaped(tag))));
                let attached = answer.attachments.iter().map(|attachment| Attachment {
                    id: escaped(&attachment.id),
                    type_: escaped(&attachment.type_),
                });
                slot.attachments.extend(attached);
                if document.is_none() && !answer.init.is_empty() {
                    slot.init.push(escaped(&answer.init));
                }
                properties = answer.properties.as_ref().unwrap_or(properties);
            }
        }
    }
    slot.init
        .extend(document.map(|document| escaped(&document)));
    Ok(Prepared {
        slot,
        properties: substitute_value(properties, facts)?,
    })
}

/// Returns whether an instance, or its properties, ask for an address: its own, or those of the members of its
/// group. A provider that knows none before there is an instance has to refuse it.
pub fn asks_for_address(slot: &Slot, properties: &Value) -> bool {
    let texts = slot.init.iter();
    let texts = texts.chain(slot.env.values()).chain(slot.tags.values());
    let attached = slot.attachments.iter();
    let attached = attached.flat_map(|attachment| [&attachment.id, &attachment.type_]);
    texts.chain(attached).any(|text| needs_address(text)) || value_asks(properties)
}

fn value_asks(value: &Value) -> bool {
    match value {
        Value::String(text) => needs_address(text),
        Value::List(list) => list.iter().any(value_asks),
        Value::Map(map) => map.values().any(value_asks),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) => false,
    }
}

/// Returns whether a text has a substitution that needs an address: an instance's own, or those of its group's members.
pub fn needs_address(text: &str) -> bool {
    ["${instance.address}", "${members}"].iter().any(|name| {
        let mut places = text.match_indices(name);
        // An escaped one is no substitution.
        places.any(|(at, _)| !text[..at].ends_with('$'))
    })
}

/// Does a provider's part of the substitution: fills in the address, which the provider knows first,
/// and resolves the escapes that [`prepare`] left in place because the address was still to come.
/// `members` are the addresses of a quorum group's members, by id, in the order of the seat. The values of
/// `secrets` are put in last, as they are: nothing in them is substituted.
///
/// A provider without addresses passes an empty one.
///
/// # Errors
///
/// A substitution that names no fact, which [`prepare`] would have refused.
pub fn finish(
    slot: &Slot,
    properties: &Value,
    address: &str,
    members: &[(MemberId, String)],
    secrets: &Secrets,
) -> Result<Prepared, SubstitutionError> {
    let facts = Facts {
        instance: slot.instance.clone(),
        group: slot.instance.group().clone(),
        zone: None,
        address: Some(address.to_owned()),
        seat: slot.seat.as_deref().cloned(),
        members: Some(
            members
                .iter()
                .map(|(id, address)| format!("{id}={address}"))
                .collect::<Vec<_>>()
                .join(","),
        ),
    };
    let init = slot.init.iter().map(|line| substitute(line, &facts));
    let mut finished = Slot {
        instance: slot.instance.clone(),
        init: init.collect::<Result<_, _>>()?,
        env: substitute_map(&slot.env, &facts)?,
        secrets: slot.secrets.clone(),
        tags: substitute_map(&slot.tags, &facts)?,
        attachments: substitute_attachments(&slot.attachments, &facts)?,
        seat: slot.seat.clone(),
    };
    finished.env = secrets.env(&finished);
    finished.secrets.clear();
    Ok(Prepared {
        slot: finished,
        properties: secrets.reveal(&substitute_value(properties, &facts)?),
    })
}

/// Replaces every `${name}` in every text of `map`.
pub fn substitute_map(
    map: &BTreeMap<String, String>,
    facts: &Facts,
) -> Result<BTreeMap<String, String>, SubstitutionError> {
    map.iter()
        .map(|(key, text)| Ok((key.clone(), substitute(text, facts)?)))
        .collect()
}

fn substitute_attachments(
    attachments: &[Attachment],
    facts: &Facts,
) -> Result<Vec<Attachment>, SubstitutionError> {
    let attachments = attachments.iter().map(|attachment| {
        Ok(Attachment {
            id: substitute(&attachment.id, facts)?,
            type_: substitute(&attachment.type_, facts)?,
        })
    });
    attachments.collect()
}

/// Refuses a slot with attachments, for a provider that attaches nothing that has an id of its own: what is dropped in
/// silence is missed when there is an instance without it.
///
/// # Errors
///
/// `InvalidSpec`, which names the first of them.
pub fn refuse_attachments(slot: &Slot) -> Result<(), ProviderError> {
    let Some(Attachment { id, .. }) = slot.attachments.first() else {
        return Ok(());
    };
    let message = format!(
        "attachment {id:?}: only plugins of InfraKit attach what flavors name, and instances of this provider are made without them"
    );
    Err(ProviderError::new(ErrorClass::InvalidSpec, message))
}

/// Returns the value whose texts [`substitute_value`] makes those of `value` of, once the address is known.
pub fn escaped_value(value: &Value) -> Value {
    value.map_texts(&escaped)
}

/// Replaces every `${name}` in every text of `value`.
pub fn substitute_value(value: &Value, facts: &Facts) -> Result<Value, SubstitutionError> {
    Ok(match value {
        Value::String(text) => Value::String(substitute(text, facts)?),
        Value::List(list) => Value::List(
            list.iter()
                .map(|item| substitute_value(item, facts))
                .collect::<Result<_, _>>()?,
        ),
        Value::Map(map) => Value::Map(
            map.iter()
                .map(|(key, item)| Ok((key.clone(), substitute_value(item, facts)?)))
                .collect::<Result<_, _>>()?,
        ),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Float(_) => {
            value.clone()
        }
    })
}

#[cfg(test)]
mod tests;
