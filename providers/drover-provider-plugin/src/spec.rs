//! From a provision request to what InfraKit calls a spec.

use std::collections::BTreeMap;

use drover_model::{ErrorClass, Ownership, Timestamp};
use drover_provider::{
    DestroyRequest, Prepared, ProviderError, ProvisionRequest, Slot, asks_for_address, finish,
};

use crate::infrakit::Spec;
use crate::json::to_json;
use crate::tags;

pub(crate) fn invalid(message: impl Into<String>) -> ProviderError {
    ProviderError::new(ErrorClass::InvalidSpec, message)
}

/// Returns an owner as one text: equal texts, equal owners.
pub(crate) fn owner_text(owner: &Ownership) -> String {
    let tags = tags::of(owner);
    let texts = tags
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"));
    texts.collect::<Vec<_>>().join(" ")
}

/// Returns whether the text is that of the owner that a request names.
pub(crate) fn is_owner(text: &str, request: &DestroyRequest) -> bool {
    let named = [
        format!("{}={}", tags::FLEET, request.fleet),
        format!("{}={}", tags::GROUP, request.group),
        format!("{}={}", tags::INSTANCE, request.instance),
    ];
    named
        .iter()
        .all(|named| text.split(' ').any(|part| part == named))
}

/// Returns what the plugin is to make.
///
/// # Errors
///
/// What this protocol cannot carry: places with attachments, and an address that is not known before
/// there is an instance.
pub(crate) fn of(
    request: &ProvisionRequest,
    slot: &Slot,
    owner: &Ownership,
    now: Timestamp,
) -> Result<Spec, ProviderError> {
    let attached = slot.seat.as_ref().and_then(|seat| seat.attachments.first());
    if let Some(name) = attached {
        let message = format!(
            "attachment {name} of the member: a plugin of InfraKit makes nothing that follows a member; what is there already, a flavor attaches by its id"
        );
        return Err(invalid(message));
    }
    if asks_for_address(slot, &request.properties) {
        let message = "${instance.address}: a plugin of InfraKit knows no address before there is an instance";
        return Err(invalid(message));
    }
    let prepared = finish(slot, &request.properties, "", &[], &request.secrets);
    let Prepared { slot, properties } = prepared.map_err(|error| invalid(error.to_string()))?;
    let mut tags = slot.tags.clone();
    if let Some(name) = tags.keys().find(|name| name.starts_with("drover.")) {
        return Err(invalid(format!(
            "tag {name}: names that begin with `drover.` are reserved"
        )));
    }
    tags.extend(tags::of(owner));
    tags.insert(tags::CREATED.to_owned(), now.to_string());
    if let Some(zone) = &request.zone {
        tags.insert(tags::ZONE.to_owned(), zone.clone());
    }
    let seat = slot.seat.as_ref();
    let logical_id = seat.map(|seat| logical_id(seat.id.member.as_str()));
    if let Some(id) = &logical_id {
        // As InfraKit's own groups do: many plugins describe by it which member an instance is.
        tags.insert(tags::LOGICAL_ID.to_owned(), id.clone());
    }
    Ok(Spec {
        properties: to_json(&properties),
        tags,
        init: init(&slot.init, &slot.env)?,
        logical_id,
        attachments: (!slot.attachments.is_empty()).then_some(slot.attachments),
    })
}

/// Returns what InfraKit calls a member. Most of its groups call them by an address, which a member's name has with
/// hyphens.
#[must_use]
pub fn logical_id(member: &str) -> String {
    let dotted = member.replace('-', ".");
    let address = dotted.parse::<std::net::Ipv4Addr>();
    address.map_or_else(|_| member.to_owned(), |_| dotted)
}

/// Returns the script: the environment, then the flavors' lines, joined as InfraKit's own flavor does.
fn init(lines: &[String], env: &BTreeMap<String, String>) -> Result<String, ProviderError> {
    let first = lines.first().map_or("", String::as_str);
    let mut script: Vec<String> = Vec::new();
    let mut rest = lines;
    if first.starts_with("#!") && !env.is_empty() {
        script.push(first.to_owned());
        rest = &lines[1..];
    } else if first.starts_with('#') && !env.is_empty() {
        let message =
            format!("init begins with {first:?}, which is no script: `env` has no place in it");
        return Err(invalid(message));
    }
    for (name, value) in env {
        let is_name = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if !is_name {
            return Err(invalid(format!("env: {name:?} is not a name")));
        }
        script.push(format!("export {name}='{}'", value.replace('\'', r"'\''")));
    }
    script.extend(rest.iter().cloned());
    Ok(script.join("\n"))
}
