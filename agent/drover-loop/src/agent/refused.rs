//! Launches that a provider refuses for its credentials, told to the other groups of that provider: a refused listing stops
//! them by itself, and where listing and ending are allowed and making is not, each would end an instance to find out.
//!
//! A refusal may also concern one group alone, as for a role or a network that only its template names. A launch that
//! works in any group tells the two apart, and so does a second group that is refused. Where neither happens by itself,
//! the other groups find out one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_model::{ErrorClass, GroupName, Hold, LaunchBackoff, ProviderName, Timestamp};
use drover_plan::last_failure;
use tracing::info;

use super::Agent;
use crate::entry::GroupEntry;

/// How long a refusal is believed after the next launch was due: the longest wait between two. The group that met it
/// may have nothing to make any more.
const BELIEVED: Duration = Duration::from_mins(15);

/// How long what others launch by themselves may show whether a refusal concerns one group alone, before one of them
/// ends what serves to find out: the group itself has tried three times by then.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long a group may take to find out: it drains an instance, ends it, and makes another one.
const TURN: Duration = Duration::from_mins(15);

/// What is remembered of refused launches from pass to pass.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The groups whose launches are refused.
    rows: BTreeMap<GroupName, Row>,
    /// Who finds out, by provider.
    turns: BTreeMap<ProviderName, Turn>,
}

/// Launches of a group that were refused, one after the other.
#[derive(Debug)]
struct Row {
    /// When the first one failed, or the latest when this agent started.
    since: Timestamp,
    failures: u32,
}

/// A group that finds out whether others than the refused one are refused.
#[derive(Debug)]
struct Turn {
    group: GroupName,
    until: Timestamp,
    /// Those that had one before.
    had: BTreeSet<GroupName>,
}

/// What is known of one provider in a pass.
#[derive(Default)]
struct Known<'a> {
    /// Groups that are refused.
    rows: BTreeMap<&'a GroupName, &'a LaunchBackoff>,
    /// Those of them of which nothing says that it concerns them alone.
    doubtful: BTreeSet<&'a GroupName>,
    /// Those that are not refused.
    others: BTreeMap<&'a GroupName, &'a GroupEntry>,
}

impl Agent {
    /// Returns for each group what keeps it from ending what serves for a successor, where launches are refused.
    pub(super) fn launches_refused(&mut self, now: Timestamp) -> BTreeMap<GroupName, Hold> {
        self.refusals.holds(&self.groups, now)
    }
}

impl Refusals {
    fn holds(
        &mut self,
        groups: &BTreeMap<GroupName, GroupEntry>,
        now: Timestamp,
    ) -> BTreeMap<GroupName, Hold> {
        self.note(groups, now);
        let known = known(groups, &self.rows, now);
        let in_doubt = |provider: &ProviderName| known.get(provider).is_some_and(is_one);
        self.turns.retain(|provider, _| in_doubt(provider));
        let mut holds = BTreeMap::new();
        for (provider, known) in &known {
            for (name, backoff) in &known.rows {
                holds.insert((*name).clone(), hold(provider, backoff.message.clone()));
            }
            let trying = self.turn(provider, known, now);
            let doubtful = known.doubtful.iter();
            let told = doubtful.filter_map(|name| Some((*name, *known.rows.get(name)?)));
            let Some((refused, backoff)) = told.max_by_key(|(_, backoff)| backoff.until) else {
                continue;
            };
            let others = known.others.keys();
            for name in others.filter(|name| trying != Some(**name)) {
                let message = format!("group {refused}: {}", backoff.message);
                holds.insert((*name).clone(), hold(provider, message));
            }
        }
        holds
    }

    /// Takes note of who is refused now.
    fn note(&mut self, groups: &BTreeMap<GroupName, GroupEntry>, now: Timestamp) {
        let stands = |name: &GroupName| {
            groups
                .get(name)
                .is_some_and(|it| refusal(it, now).is_some())
        };
        self.rows.retain(|name, _| stands(name));
        for (name, entry) in groups {
            let Some(backoff) = refusal(entry, now) else {
                continue;
            };
            let since = last_failure(backoff);
            let failures = backoff.failures;
            let fresh = Row { since, failures };
            let row = self.rows.entry(name.clone()).or_insert(fresh);
            if failures < row.failures {
                // One of them worked meanwhile.
                row.since = since;
            }
            row.failures = failures;
        }
    }

    /// Returns the group that finds out now, and gives the next one its turn.
    fn turn<'a>(
        &mut self,
        provider: &ProviderName,
        known: &Known<'a>,
        now: Timestamp,
    ) -> Option<&'a GroupName> {
        let refused = known.doubtful.first().filter(|_| is_one(known))?;
        let since = self.rows.get(*refused)?.since;
        if now < since.checked_add(PATIENCE).unwrap_or(Timestamp::MAX) {
            return None;
        }
        let mut had = BTreeSet::new();
        if let Some(turn) = self.turns.remove(provider) {
            had = turn.had;
            let name = known
                .others
                .get_key_value(&turn.group)
                .map(|(name, _)| *name);
            if let Some(name) = name.filter(|_| now < turn.until) {
                let turn = Turn { had, ..turn };
                self.turns.insert(provider.clone(), turn);
                return Some(name);
            }
            had.insert(turn.group);
        }
        let waiting = known.others.iter().filter(|(_, entry)| waits(entry));
        // A member of a quorum last: it is missed most.
        let next = waiting.min_by_key(|(name, entry)| {
            let quorum = entry.recorded.quorum.is_some();
            (had.contains(**name), quorum, **name)
        });
        let (name, _) = next?;
        if had.contains(*name) {
            had.clear();
        }
        info!(%provider, group = %name, refused = %refused, "launches are refused to one group: another one finds out whether to it, too");
        let turn = Turn {
            group: (*name).clone(),
            until: now.checked_add(TURN).unwrap_or(Timestamp::MAX),
            had,
        };
        self.turns.insert(provider.clone(), turn);
        Some(name)
    }
}

/// Returns what is known of each provider with a group whose launches are refused.
fn known<'a>(
    groups: &'a BTreeMap<GroupName, GroupEntry>,
    rows: &BTreeMap<GroupName, Row>,
    now: Timestamp,
) -> BTreeMap<&'a ProviderName, Known<'a>> {
    let mut known: BTreeMap<&ProviderName, Known<'_>> = BTreeMap::new();
    let mut made: BTreeMap<&ProviderName, Timestamp> = BTreeMap::new();
    for (name, entry) in groups {
        let Some(provider) = &entry.recorded.provider else {
            continue;
        };
        let known = known.entry(&provider.name).or_default();
        match refusal(entry, now) {
            Some(backoff) => known.rows.insert(name, backoff).map(drop),
            None => known.others.insert(name, entry).map(drop),
        };
        let instances = entry.recorded.instances.values().map(|it| it.created_at);
        if let Some(latest) = instances.filter(|at| *at <= now).max() {
            let made = made.entry(&provider.name).or_insert(latest);
            *made = latest.max(*made);
        }
    }
    known.retain(|_, known| !known.rows.is_empty());
    for (provider, known) in &mut known {
        let worked = made.get(provider).copied();
        let worked = |name: &GroupName| {
            let since = rows.get(name).map(|row| row.since);
            since.is_some_and(|since| worked.is_some_and(|at| at > since))
        };
        let names = known.rows.keys().copied();
        let of_provider = names.filter(|name| groups.get(*name).is_some_and(asked_provider));
        known.doubtful = of_provider.filter(|name| !worked(name)).collect();
    }
    known
}

/// Returns whether nothing says whom the refusal of one group concerns.
fn is_one(known: &Known<'_>) -> bool {
    known.doubtful.len() == 1
}

/// Returns the refusal of a group's launches that stands.
fn refusal(entry: &GroupEntry, now: Timestamp) -> Option<&LaunchBackoff> {
    entry.recorded.provider.as_ref()?;
    let backoff = entry.recorded.backoff.as_ref()?;
    let until = backoff.until.checked_add(BELIEVED);
    let stands = until.is_ok_and(|until| now < until);
    (backoff.class == Some(ErrorClass::Auth) && stands).then_some(backoff)
}

/// Returns whether it was the provider who refused, and not that the agent could not read a secret of the template.
fn asked_provider(entry: &GroupEntry) -> bool {
    let mut holds = entry.recorded.holds.iter();
    !holds.any(|held| matches!(held.hold, Hold::SecretUnresolved { .. }))
}

/// Returns whether a group waits with what it would do.
fn waits(entry: &GroupEntry) -> bool {
    let mut holds = entry.recorded.holds.iter();
    holds.any(|held| matches!(held.hold, Hold::LaunchesRefused { .. }) && held.reason.is_some())
}

fn hold(provider: &ProviderName, message: String) -> Hold {
    Hold::LaunchesRefused {
        provider: provider.clone(),
        message,
    }
}

#[cfg(test)]
mod tests;
