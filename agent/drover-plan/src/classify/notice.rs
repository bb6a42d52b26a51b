//! What the provider said to take: an instance that is gone about when that was announced does not count as unexplained
//! where a listing has nothing left.
//!
//! A notice explains the absence of its own instance and nothing else. It ends nothing by itself: who announces what it does
//! not do has its instances replaced, as after any other notice. One whose time was past when it was first seen is none: the
//! instance evidently runs on.

use std::time::Duration;

use drover_model::{InstanceMemory, Listed, ProviderPhase, Timestamp};

use crate::time::{earlier, later};

/// How much sooner than announced an instance may be gone: the whole notice of spot capacity, which some providers use up at
/// once.
const EARLY_MAX: Duration = Duration::from_mins(2);

/// How much later: who still runs then was not taken, and what was said of it explains nothing any more.
const LATE_MAX: Duration = Duration::from_mins(15);

/// Remembers what a listing says of an instance. What is on its way out, or ended by itself, is taken already: that nothing
/// is announced of it any more takes nothing back.
pub(super) fn remember(memory: &mut InstanceMemory, listed: &Listed, as_of: Timestamp) {
    let said = listed.interruption;
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
