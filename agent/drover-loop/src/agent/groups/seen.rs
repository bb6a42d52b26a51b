//! What a pass knows of a group's part of the world, or why it knows nothing of it.

use std::sync::Arc;

use drover_model::{ErrorClass, FleetName, GroupName, Held, Hold, Listing, Timestamp};
use jiff::SignedDuration;

use crate::agent::observation::Observation;
use crate::agent::plain;
use crate::entry::GroupEntry;
use crate::observe::{Observed, OpenScope};
use crate::survey::{Answers, Asker, Wait};

/// How long listings must fail before that is recorded: a moment's trouble would otherwise cost two
/// commits per group.
const FAILURE_RECORDED_AFTER: SignedDuration = SignedDuration::from_mins(2);

/// The same where credentials are refused, which seldom comes right by waiting: longer than a rotation takes that is
/// caught halfway.
const REFUSAL_RECORDED_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// What a pass knows of a group's part of the world.
pub(super) struct Seen<'a> {
    pub(super) scope: &'a Arc<OpenScope>,
    pub(super) listing: &'a Arc<Listing>,
    /// What there is to adopt.
    pub(super) answers: Answers,
}

/// Why it knows nothing of it.
pub(super) enum Unseen {
    /// There is no answer since the group's last plan.
    Skip,
    /// For this, if for anything of its own; and whether that is to be recorded.
    Hold(Option<Box<Held>>, bool),
}

/// Notes of a group why nothing is known of it in this pass.
pub(super) fn note_unseen(
    entry: &mut GroupEntry,
    unseen: Unseen,
    fences: Vec<Held>,
    now: Timestamp,
    record: bool,
) {
    let (held, fences, lasting) = match unseen {
        Unseen::Skip => (Some(plain(Hold::ObservationStale)), Vec::new(), false),
        Unseen::Hold(held, lasting) => (held.map(|held| *held), fences, lasting),
    };
    let refuted = (held.as_ref()).is_some_and(|held| entry.refuted_by(&held.hold));
    let holds = held.into_iter().chain(fences).collect();
    entry.hold_all(holds, now, (lasting || refuted) && record);
}

/// Returns what the pass has seen for a group.
pub(super) fn seen<'a>(
    entry: &GroupEntry,
    (fleet, name): (&FleetName, &GroupName),
    observation: &'a Observation,
    now: Timestamp,
) -> Result<Seen<'a>, Unseen> {
    let held = |hold, lasting| Unseen::Hold(Some(Box::new(plain(hold))), lasting);
    let (id, scope) = match observation.scopes.get(name) {
        Some(Ok(found)) => found,
        Some(Err((provider, why))) => {
            let hold = Hold::ProviderMissing {
                provider: provider.clone(),
                why: why.clone(),
            };
            return Err(held(hold, true));
        }
        None => return Err(Unseen::Hold(None, true)),
    };
    let listing = match observation.observed.get(id) {
        Some(Observed::Fresh(listing)) if listing.tick > entry.acted => listing.of(name),
        Some(Observed::Fresh(_) | Observed::Waiting) | None => return Err(Unseen::Skip),
        Some(Observed::Failed(failure)) => {
            let hold = Hold::ProviderFailed {
                class: failure.class,
                message: failure.message.clone(),
            };
            let recorded_after = match failure.class {
                ErrorClass::Auth => REFUSAL_RECORDED_AFTER,
                ErrorClass::Throttled
                | ErrorClass::Capacity
                | ErrorClass::Quota
                | ErrorClass::InvalidSpec
                | ErrorClass::Partial
                | ErrorClass::Unknown
                | ErrorClass::NotFound => FAILURE_RECORDED_AFTER,
            };
            let lasting = now.duration_since(failure.since) >= recorded_after;
            return Err(held(hold, lasting));
        }
    };
    let removed = entry.removal.is_some() || entry.recorded.deleting.is_some();
    let asker = Asker {
        name,
        fleet,
        acted: entry.acted,
        recorded: &entry.recorded,
        accepted: entry.accepted.as_deref(),
        candidate: entry.candidate.as_ref().map(|newer| &*newer.group),
        provider: &scope.facts,
    };
    let answers = match observation.surveyors.of(&asker, now) {
        Ok(answers) => answers,
        // A removal takes what is the group's own, whatever else there is.
        Err(_) if removed => Answers::default(),
        Err(Wait::Stale) => return Err(Unseen::Skip),
        Err(Wait::Failed(hold, lasting)) => return Err(held(*hold, lasting)),
    };
    Ok(Seen {
        scope,
        listing,
        answers,
    })
}
