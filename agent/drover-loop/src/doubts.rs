//! What is doubtful in a group's part of a listing, before anything is made of it. Numbers that no instance of
//! the group can have: whoever believed one would count on from there, for good. And several instances under one id: the
//! planner knows one of them, and the others would run for good without anybody being told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_apply::Journal;
use drover_model::{
    Completeness, GroupName, Held, Hold, InstanceId, Listed, Listing, ProviderName, ProviderPhase,
    ProviderRef, RecordedGroup,
};
use tracing::warn;

use crate::agent::plain;
use crate::entry::GroupEntry;
use crate::observe::OpenScope;

/// How far above the next number that is known a listed one may be: a hundred times what a group of ten thousand makes
/// while the record of a day is lost, and nine billion such steps below the largest.
const JUMP_MAX: u64 = 1_000_000;

/// What a group's part of a listing is worth.
#[derive(Debug)]
pub(crate) struct Believed {
    /// The listing, as far as it is believed.
    pub(crate) listing: Arc<Listing>,
    /// What people are told. Nothing is withheld for it.
    pub(crate) notice: Option<Held>,
    /// The same, of several instances under one id.
    pub(crate) duplicates: Option<Held>,
    /// What is not believed.
    why: Option<String>,
}

/// Returns what of the group's part of a listing is believed, and logs what is not, once.
pub(crate) fn believe(
    entry: &mut GroupEntry,
    name: &GroupName,
    scope: &OpenScope,
    listing: &Arc<Listing>,
    journal: &dyn Journal,
) -> Believed {
    let provider = &scope.facts.name;
    let mut next = entry.recorded.next_number;
    let owners = listing.instances.iter();
    let owners = owners.filter_map(|listed| listed.ownership.as_ref());
    let largest = owners.map(|owner| owner.instance.number()).max();
    // The journal is asked where the record may be behind it. One that cannot be read holds the group anyway.
    if !entry.numbered && largest.is_some_and(|number| number >= next) {
        let used = journal.last_number(name).unwrap_or_default();
        next = next.max(used.saturating_add(1));
    }
    let mut believed = believed(listing, provider, &entry.recorded, next);
    let duplicates = duplicates(&believed.listing, provider, &entry.recorded);
    if let Some(why) = duplicates
        .as_ref()
        .filter(|_| duplicates != entry.duplicates)
    {
        warn!(group = %name, %provider, why, "several instances under one id");
    }
    entry.duplicates.clone_from(&duplicates);
    believed.duplicates = duplicates.map(|why| plain(Hold::DuplicateInstances { why }));
    if let Some(why) = believed
        .why
        .as_ref()
        .filter(|_| believed.why != entry.doubted)
    {
        warn!(group = %name, %provider, why, "listing not believed");
    }
    entry.doubted.clone_from(&believed.why);
    believed
}

/// Leaves out what has a number that no instance of the group can have: its tags are as unreadable as those of a
/// stranger. Where it has the handle of an instance of the group, that one is not missing, and the listing does not say what
/// is.
///
/// `next` is the next number that the record and the journal know.
fn believed(
    listing: &Arc<Listing>,
    provider: &ProviderName,
    recorded: &RecordedGroup,
    next: u64,
) -> Believed {
    let most = next.saturating_add(JUMP_MAX).min(InstanceId::NUMBER_MAX);
    let unbelievable = |listed: &&Listed| {
        let owner = listed.ownership.as_ref();
        owner.is_some_and(|owner| owner.instance.number() > most)
    };
    let Some(first) = listing.instances.iter().find(unbelievable) else {
        return Believed {
            listing: Arc::clone(listing),
            notice: None,
            duplicates: None,
            why: None,
        };
    };
    let handles = recorded.instances.values();
    let handles: BTreeSet<&ProviderRef> = handles
        .filter_map(|was| was.provider_ref.as_ref())
        .collect();
    let mut ours = listing.instances.iter().filter(unbelievable);
    let ours = ours.find(|listed| handles.contains(&listed.provider_ref));
    let why = sentence(provider, ours.unwrap_or(first), next);
    let (known, mut notice) = (ours.is_some(), None);
    let completeness = if known && listing.completeness == Completeness::Complete {
        Completeness::Partial { why: why.clone() }
    } else {
        notice = Some(plain(Hold::StrayInstances { why: why.clone() }));
        listing.completeness.clone()
    };
    let instances = listing.instances.iter();
    let instances = instances.filter(|listed| !unbelievable(listed)).cloned();
    Believed {
        listing: Arc::new(Listing {
            completeness,
            instances: instances.collect(),
            ..(**listing).clone()
        }),
        notice,
        duplicates: None,
        why: Some(why),
    }
}

fn sentence(provider: &ProviderName, listed: &Listed, next: u64) -> String {
    let handle = &listed.provider_ref;
    let owner = listed.ownership.as_ref();
    let name = owner.map(|owner| owner.instance.to_string());
    let name = name.unwrap_or_default();
    format!(
        "provider {provider} lists {handle} as {name}, a number that drover never gave (the next is {next}): its tags count as unreadable, and it is not touched"
    )
}

/// The most ids, and handles of one id, that a sentence names.
const NAMED_MAX: usize = 3;

/// Returns what is to be said of several living instances under one id. Which of them is the group's is what the planner says
/// too: the recorded one, else the one with the smallest handle.
fn duplicates(
    listing: &Listing,
    provider: &ProviderName,
    recorded: &RecordedGroup,
) -> Option<String> {
    let mut by_id: BTreeMap<&InstanceId, BTreeSet<&ProviderRef>> = BTreeMap::new();
    for listed in &listing.instances {
        let leaves = matches!(
            listed.phase,
            ProviderPhase::Terminated | ProviderPhase::Stopping
        );
        if let Some(owner) = listed.ownership.as_ref().filter(|_| !leaves) {
            let handles = by_id.entry(&owner.instance).or_default();
            handles.insert(&listed.provider_ref);
        }
    }
    by_id.retain(|_, handles| handles.len() > 1);
    let surplus: usize = by_id.values().map(|handles| handles.len() - 1).sum();
    if surplus == 0 {
        return None;
    }
    let named = by_id.iter().take(NAMED_MAX).map(|(id, handles)| {
        let was = recorded.instances.get(id);
        let was = was.and_then(|was| was.provider_ref.as_ref());
        let own = was.filter(|was| handles.contains(was));
        let own = own.or_else(|| handles.first().copied());
        let others = handles.iter().filter(|handle| Some(**handle) != own);
        let texts = others.clone().take(NAMED_MAX).map(ToString::to_string);
        let mut texts: Vec<String> = texts.collect();
        let more = others.count() - texts.len();
        if more > 0 {
            texts.push(format!("{more} more"));
        }
        let own = own.map(ToString::to_string).unwrap_or_default();
        format!("{id} is {own}, and beside it {}", texts.join(", "))
    });
    let named: Vec<String> = named.collect();
    let rest = match by_id.len() - named.len() {
        0 => String::new(),
        more => format!("; and so for {more} more ids"),
    };
    let group = &recorded.name;
    let first = by_id.keys().next().map(ToString::to_string);
    let first = first.unwrap_or_default();
    let plural = if surplus == 1 { "" } else { "s" };
    Some(format!(
        "provider {provider} lists {surplus} instance{plural} too many under ids that others have: {}{rest}; drover ends those beside it only after the instance itself, so end them at the provider, or have all of them replaced (`drover replace {group}/{first}`)",
        named.join("; ")
    ))
}

#[cfg(test)]
mod tests;
