//! Telling a repeated provision call from another one with the same token.

use std::collections::BTreeMap;

use drover_model::{Attachment, AttachmentName, MemberId, Seat, Value};
use sha2::{Digest as _, Sha256};

use crate::{ProvisionRequest, Slot};

/// Returns the hash by which a repeated call is told from another one: over everything that it asks
/// for, as asked. References to secrets are in it, their values are not: a call that is repeated after a secret was changed
/// is the same call.
pub fn fingerprint(request: &ProvisionRequest) -> String {
    match &request.asked {
        Some(asked) => asked.clone(),
        None => of_parameters(request),
    }
}

/// Returns whether a call is the one that `kept` was kept of.
///
/// Before plugins got the fingerprint with the call, they made it of what they got, with values of secrets in it. Who asks
/// for just that once more repeats the call, too.
pub fn is_repeated(request: &ProvisionRequest, kept: &str) -> bool {
    fingerprint(request) == kept || (request.asked.is_some() && of_parameters(request) == kept)
}

/// Returns whether a text has the form of a fingerprint.
pub fn is_fingerprint(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 64 && text.bytes().all(is_digit)
}

fn of_parameters(request: &ProvisionRequest) -> String {
    let text = |text: &str| Value::from(text);
    let texts = |map: &BTreeMap<String, String>| -> Value {
        let entries = map.iter();
        entries
            .map(|(key, value)| (key.clone(), text(value)))
            .collect()
    };
    let slots = request.slots.iter().map(|slot| {
        let init = slot.init.iter().map(|line| text(line));
        Value::List(vec![
            text(&slot.instance.to_string()),
            Value::List(init.collect()),
            texts(&slot.env),
            texts(&slot.tags),
        ])
    });
    let seats = request.slots.iter().filter_map(|slot| slot.seat.as_deref());
    let seats: Vec<Value> = seats.map(seat_value).collect();
    let mut all = vec![
        text(request.fleet.as_str()),
        text(request.group.as_str()),
        text(&request.epoch.to_string()),
        text(&request.digests.to_string()),
        Value::List(slots.collect()),
        request.properties.clone(),
    ];
    // Instances made without a zone keep the hash that they were made under.
    all.extend(request.zone.as_deref().map(text));
    // Calls without places have the fingerprints that they always had.
    all.extend(seats);
    // And so have those without attachments.
    if request
        .slots
        .iter()
        .any(|slot| !slot.attachments.is_empty())
    {
        let attached = request.slots.iter().map(attached_value).collect();
        let attached = [("attachments".to_owned(), Value::List(attached))];
        all.push(attached.into_iter().collect());
    }
    let mut bytes = Vec::new();
    Value::List(all).canonical_bytes(&mut bytes);
    data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes))
}

fn attached_value(slot: &Slot) -> Value {
    let pairs = slot.attachments.iter().map(|attachment| {
        let Attachment { id, type_ } = attachment;
        Value::List(vec![Value::from(id.as_str()), Value::from(type_.as_str())])
    });
    Value::List(pairs.collect())
}

fn seat_value(seat: &Seat) -> Value {
    let Seat {
        id,
        members,
        bootstrap,
        attachments,
    } = seat;
    let list = |texts: Vec<&str>| Value::List(texts.into_iter().map(Value::from).collect());
    Value::List(vec![
        Value::from(id.life.as_str()),
        Value::from(id.member.as_str()),
        list(members.iter().map(MemberId::as_str).collect()),
        Value::Bool(*bootstrap),
        list(attachments.iter().map(AttachmentName::as_str).collect()),
    ])
}

#[cfg(test)]
mod tests;
