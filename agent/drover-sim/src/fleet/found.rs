//! What there is to adopt when a simulation begins: what an agent recorded of it, or else what the documents take
//! for granted, an instance for each that a group asks for.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Adopt, Group, GroupName, GroupSpec, ProviderRef, RecordedGroup, RecordedStranger, Timestamp,
    counted,
};
use drover_provider::Manifest;
use drover_spec::Repository;

use super::scenario::{Commit, Scenario};
use super::worlds::{Worlds, locked};

/// Puts what there is to adopt into the worlds. Returns what was taken for granted, for people.
pub(super) fn populate(scenario: &Scenario, worlds: &Worlds, now: Timestamp) -> Vec<String> {
    let base = scenario.recorded.is_none().then_some(&scenario.base);
    let later = scenario.then.iter().map(|(_, commit)| commit);
    let commits = base.into_iter().chain([&scenario.head]).chain(later);
    let mut known: BTreeSet<GroupName> = BTreeSet::new();
    let mut notes = Vec::new();
    for repository in commits.map(read) {
        for (name, located) in &repository.groups {
            let Some(adopt) = &located.value.spec.adopt else {
                continue;
            };
            // What it begins with is what the first document that adopts finds.
            if !known.insert(name.clone()) {
                continue;
            }
            let recorded = scenario.recorded.as_ref();
            let recorded = recorded.and_then(|start| start.groups.get(name));
            let Some(found) = found(&located.value, adopt, recorded) else {
                continue;
            };
            if recorded.is_none() {
                let size = located.value.spec.size;
                notes.push(format!(
                    "{name}: {} with the tags of adopt.selector {} taken for granted",
                    counted(size, "instance"),
                    if size == 1 { "is" } else { "are" }
                ));
            }
            add(scenario, worlds, &repository, &located.value, found, now);
        }
    }
    notes
}

fn read(commit: &Commit) -> Repository {
    let files = commit.files.iter();
    let parsed: Vec<_> = files
        .map(|(path, text)| drover_spec::parse_file(path, text.as_bytes()))
        .collect();
    drover_spec::assemble(parsed.iter())
}

/// An instance that somebody else made.
struct Found {
    handle: Option<ProviderRef>,
    tags: BTreeMap<String, String>,
    member: Option<String>,
    claimed_by: Option<String>,
}

/// Returns what a group finds. None: it has adopted already what there was.
fn found(group: &Group, adopt: &Adopt, recorded: Option<&RecordedGroup>) -> Option<Vec<Found>> {
    let tags = |outdated: bool| {
        let mut tags = adopt.match_tags.clone();
        if !outdated {
            tags.extend(adopt.current.first().cloned().unwrap_or_default());
        }
        tags
    };
    let of_record = |(handle, known): (&ProviderRef, &RecordedStranger)| Found {
        handle: Some(handle.clone()),
        tags: tags(known.outdated),
        member: known.member.as_ref().map(ToString::to_string),
        claimed_by: known.claimed_by.clone(),
    };
    let assumed = |member: Option<String>| Found {
        handle: None,
        tags: tags(false),
        member,
        claimed_by: None,
    };
    match recorded {
        Some(recorded) => {
            let strangers = recorded.strangers.iter();
            (!recorded.strangers.is_empty()).then(|| strangers.map(of_record).collect())
        }
        None => Some(members(&group.spec).into_iter().map(assumed).collect()),
    }
}

/// Returns an entry for each instance of a group, with the member's name in a quorum group.
fn members(spec: &GroupSpec) -> Vec<Option<String>> {
    match &spec.quorum {
        Some(quorum) => {
            let members = quorum.members.iter();
            members.map(|member| Some(member.id.to_string())).collect()
        }
        None => vec![None; spec.size as usize],
    }
}

fn add(
    scenario: &Scenario,
    worlds: &Worlds,
    repository: &Repository,
    group: &Group,
    found: Vec<Found>,
    now: Timestamp,
) {
    let Some(provider) = repository.providers.get(&group.spec.provider) else {
        return;
    };
    let provider = &provider.value;
    let of_type = |manifest: &&Manifest| manifest.type_ == provider.type_;
    let Some(manifest) = scenario.types.iter().find(of_type) else {
        return;
    };
    let world = worlds.open(&provider.name, manifest, &provider.settings);
    let mut world = locked(&world);
    for Found {
        handle,
        tags,
        member,
        claimed_by,
    } in found
    {
        let handle = world.add_stranger_as(now, handle, tags, member.as_deref());
        world.claim(&handle, claimed_by.as_deref());
    }
}
