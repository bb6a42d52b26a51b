//! What the provider said to take: an instance that is gone about when that was announced does not count as unexplained
//! where a listing has nothing left.
//!
//! A notice explains the absence of its own instance and nothing else. It ends nothing by itself: who announces what it does
//! not do has its instances replaced, as after any other notice. One whose time was past when it was first seen is none: the
//! instance evidently runs on.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_model::{Digests, InstanceId, InstanceMemory, Listed, Member, ProviderPhase, Timestamp};

use super::ClassifyInput;
use crate::time::{drain_time, earlier, elapsed, later};

/// How much sooner than announced an instance may be gone: the whole notice of spot capacity, which some providers use up at
/// once.
const EARLY_MAX: Duration = Duration::from_mins(2);

/// How much later: who still runs then was not taken, and what was said of it explains nothing any more.
const LATE_MAX: Duration = Duration::from_mins(15);

/// How long before it is taken an instance is replaced, at least.
const LEAD_MIN: Duration = Duration::from_hours(1);

/// Remembers what a listing says of an instance. What is on its way out, or ended by itself, is taken already: that nothing
/// is announced of it any more takes nothing back. What the first listing that has it says is a lease.
pub(super) fn remember(
    memory: &mut InstanceMemory,
    listed: &Listed,
    was_listed: bool,
    as_of: Timestamp,
) {
    let said = listed.interruption;
    if !was_listed {
        memory.lease = memory.lease.or(said);
    }
    let known = memory.notice.is_some();
    memory.notice = match listed.phase {
        ProviderPhase::Pending | ProviderPhase::Running | ProviderPhase::Unknown => {
            said.filter(|at| as_of <= if known { later(*at, LATE_MAX) } else { *at })
        }
        ProviderPhase::Stopping | ProviderPhase::Exited(_) | ProviderPhase::Terminated => {
            memory.notice.or(said)
        }
    };
}

/// Returns when the provider takes an instance, of what a listing says and [`remember`] believed.
pub(super) fn believed(memory: &InstanceMemory, listed: &Listed) -> Option<Timestamp> {
    listed.interruption.filter(|_| memory.notice.is_some())
}

/// Leaves for later what is taken only later: an instance is replaced in the time that its successor needs, and no sooner
/// than its successor will be worth it. Who lets nobody have an instance for longer than a lease takes that, too: at least
/// half of it is served.
pub(super) fn put_off(
    members: &mut BTreeMap<InstanceId, Member>,
    memory: &BTreeMap<InstanceId, InstanceMemory>,
    input: &ClassifyInput<'_>,
) {
    if members.values().all(|member| member.interruption.is_none()) {
        return;
    }
    let spec = input.spec;
    let starts = spec.health.startup_timeout + spec.rollout.min_ready;
    let lead = starts.saturating_add(drain_time(spec)).max(LEAD_MIN);
    let leases = leases(members, memory);
    for member in members.values_mut() {
        let Some(taken_at) = member.interruption else {
            continue;
        };
        let lease = leases.get(&member.digests).copied().flatten();
        let lead = lease.map_or(lead, |lease| lead.min(lease / 2));
        let begins_at = earlier(taken_at, lead);
        if begins_at > input.now {
            member.interruption = None;
            member.changes_at = member.changes_at.into_iter().chain([begins_at]).min();
        }
    }
}

/// Returns how long the provider lets anybody have an instance of each template, of what is listed: as its newest has it.
fn leases(
    members: &BTreeMap<InstanceId, Member>,
    memory: &BTreeMap<InstanceId, InstanceMemory>,
) -> BTreeMap<Digests, Option<Duration>> {
    let mut listed: Vec<&Member> = members.values().collect();
    listed.sort_by_key(|member| (member.created_at, &member.id));
    let leases = listed.into_iter().map(|member| {
        let memory = memory.get(&member.id);
        let lease = memory.and_then(|memory| memory.lease);
        let lease = lease.filter(|_| member.interruption.is_some());
        let lease = lease.map(|ends_at| elapsed(member.created_at, ends_at));
        (member.digests.clone(), lease)
    });
    leases.collect()
}

/// Forgets the notice of an instance that a whole listing lacks long before it was to be taken: something else is behind
/// that, and it stays so when the time comes.
pub(super) fn forget_early(memory: &mut InstanceMemory, as_of: Timestamp) {
    memory.notice = memory.notice.filter(|at| is_due(*at, as_of));
}

/// Returns whether the provider had said to take an instance, so that it may be missing from a listing of this time.
pub fn is_announced(memory: Option<&InstanceMemory>, as_of: Timestamp) -> bool {
    memory
        .and_then(|memory| memory.notice)
        .is_some_and(|at| is_due(at, as_of))
}

fn is_due(taken_at: Timestamp, as_of: Timestamp) -> bool {
    as_of >= earlier(taken_at, EARLY_MAX)
}

#[cfg(test)]
mod tests;
