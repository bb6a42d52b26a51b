//! What flavor plugins are told of an instance that is there: what its own template says, not that of its group.

use std::collections::BTreeMap;

use drover_model::{
    Flavor, Intent, IntentKind, Listed, Ownership, RecordedGroup, Seat, Template, Value,
};
use drover_provider::{
    Facts, FlavorCall, FlavorInstance, FlavorSubject, substitute, substitute_value,
};

/// Returns what the flavor plugins of a listed instance's template are asked about it. None: it has none, or nobody
/// knows the template.
pub fn flavor_subject(
    listed: &Listed,
    recorded: &RecordedGroup,
    intents: &[Intent],
) -> Option<FlavorSubject> {
    let owner = listed.ownership.as_ref()?;
    let known = recorded.templates.get(&owner.digests);
    let asks = |template: &Template| template.plugin_flavors().next().is_some();
    if known.is_some_and(|template| !asks(template)) {
        // Asked for every instance in every pass: nobody's intents are searched for nothing.
        return None;
    }
    // What was made a moment ago is in an intent and not in the record yet.
    let made = intents.iter().find_map(|intent| match &intent.kind {
        IntentKind::Create {
            slots, template, ..
        } if slots.contains(&owner.instance) => Some(template),
        IntentKind::Create { .. }
        | IntentKind::Drain { .. }
        | IntentKind::Destroy { .. }
        | IntentKind::Update(_)
        | IntentKind::Roster(_)
        | IntentKind::Adopt(_) => None,
    });
    let adopted = || {
        intents.iter().find_map(|intent| match &intent.kind {
            IntentKind::Adopt(step) if step.instance == owner.instance => Some(step.tags.clone()),
            IntentKind::Create { .. }
            | IntentKind::Drain { .. }
            | IntentKind::Destroy { .. }
            | IntentKind::Update(_)
            | IntentKind::Roster(_)
            | IntentKind::Adopt(_) => None,
        })
    };
    let template = known.or(made).filter(|template| asks(template))?;
    let facts = facts(listed, owner);
    let flavors = template.plugin_flavors().map(|plugin| FlavorCall {
        name: plugin.name.clone(),
        properties: filled(&plugin.properties, &facts),
    });
    let answered = if let Some(made) = made {
        made.answered_tags()
    } else {
        let known = recorded.instances.get(&owner.instance);
        // Adopted a moment ago, it is in an intent and not in the record yet.
        let known = known.map(|known| known.tags.clone());
        known.or_else(adopted).unwrap_or_default()
    };
    let mut tags = tags(template, &facts);
    tags.extend(answered);
    tags.extend(ownership(owner));
    Some(FlavorSubject {
        flavors: flavors.collect(),
        instance: FlavorInstance {
            provider_ref: listed.provider_ref.clone(),
            member: owner.seat.as_ref().map(|seat| seat.member.clone()),
            tags,
            properties: filled(&template.properties, &facts),
        },
    })
}

fn facts(listed: &Listed, owner: &Ownership) -> Facts {
    Facts {
        instance: owner.instance.clone(),
        group: owner.group.clone(),
        zone: listed.zone.clone(),
        address: Some(listed.address.clone().unwrap_or_default()),
        // The place of an instance that is there: its group's first time is over.
        seat: owner.seat.clone().map(|id| Seat {
            id,
            members: Vec::new(),
            bootstrap: false,
            attachments: Vec::new(),
        }),
        members: Some("${members}".to_owned()),
    }
}

/// Fills in the facts. The instance was made with every name known; where one is not any more, the text stands as it is
/// written.
fn filled(value: &Value, facts: &Facts) -> Value {
    substitute_value(value, facts).unwrap_or_else(|_| value.clone())
}

/// Returns the tags that the template itself says.
fn tags(template: &Template, facts: &Facts) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    let mut add = |from: &BTreeMap<String, String>| {
        for (name, tag) in from {
            let tag = substitute(tag, facts).unwrap_or_else(|_| tag.clone());
            tags.insert(name.clone(), tag);
        }
    };
    add(&template.tags);
    for flavor in &template.flavors {
        match flavor {
            Flavor::Vanilla(vanilla) => add(&vanilla.tags),
            Flavor::CloudInit(_) | Flavor::Plugin(_) => {}
        }
    }
    tags
}

/// Returns the tags that say who owns the instance.
fn ownership(owner: &Ownership) -> [(String, String); 3] {
    [
        ("drover.fleet".to_owned(), owner.fleet.to_string()),
        ("drover.group".to_owned(), owner.group.to_string()),
        ("drover.instance".to_owned(), owner.instance.to_string()),
    ]
}

#[cfg(test)]
mod tests;
