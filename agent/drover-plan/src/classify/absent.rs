//! Instances that are not in the listing: ghosts, which are not in it yet, and missing ones, which
//! are in it no more.

use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{
    Absence, Digests, InstanceClass, InstanceId, Intent, IntentKind, IntentState, Member, SeatId,
    Timestamp, Token,
};

use super::{Stage, notice, trust};
use crate::time::{elapsed, later};

/// Two complete listings this far apart prove that an instance is gone.
pub(super) const ABSENCE_MIN: Duration = Duration::from_mins(1);

/// How long what was taken for gone is remembered: a provider that errs over a night is one that people look at in the
/// morning.
const LOST_KEPT: Duration = Duration::from_hours(24);

/// Of how many: more of one group at once are not believed to be gone.
const LOST_MAX: usize = 100;

/// Why an instance that is not listed may exist all the same.
#[derive(Clone, Copy)]
enum Because {
    /// The call that makes it has no answer yet.
    Unanswered,
    /// The provider said at that time that it was made.
    Acked(Timestamp),
    /// It was there before.
    Missing,
}

/// What is known of an instance that is not listed.
struct Unlisted<'a> {
    id: &'a InstanceId,
    because: Because,
    digests: &'a Digests,
    token: Option<&'a Token>,
    seat: Option<&'a SeatId>,
    created_at: Timestamp,
}

impl Stage<'_> {
    /// Takes in the instances that open creates made or may have made, and that are not listed.
    pub(super) fn ghosts(&mut self) {
        for intent in self.intents.creates.clone() {
            if !self.is_refused_for_good(intent) {
                self.ghosts_of(intent);
            }
        }
    }

    fn ghosts_of(&mut self, intent: &Intent) {
        let IntentKind::Create {
            slots,
            token,
            digests,
            seat,
            ..
        } = &intent.kind
        else {
            return;
        };
        for id in slots {
            if self.is_known(id) {
                continue;
            }
            let because = match &intent.state {
                // Never called, refused, or not made: nothing can exist.
                IntentState::Sent => Because::Unanswered,
                IntentState::Acked { made, at } if made.contains_key(id) => Because::Acked(*at),
                IntentState::Intended | IntentState::Failed { .. } | IntentState::Acked { .. } => {
                    continue;
                }
            };
            self.unlisted(&Unlisted {
                id,
                because,
                digests,
                token: Some(token),
                seat: seat.as_ref().map(|seat| &seat.id),
                created_at: intent.issued_at,
            });
        }
    }

    /// Takes in the instances that were there before, and that are not listed.
    pub(super) fn missing(&mut self) {
        let recorded = self.input.recorded;
        for (id, was) in &recorded.instances {
            let known = self.is_known(id);
            // Without a handle it was a ghost, and its intent is closed: it never existed.
            if known || was.provider_ref.is_none() {
                continue;
            }
            if trust::releasing(self.input) && self.counts_absence {
                self.gone.insert(id.clone(), None);
                continue;
            }
            self.unlisted(&Unlisted {
                id,
                because: Because::Missing,
                digests: &was.digests,
                token: None,
                seat: was.seat.as_ref(),
                created_at: was.created_at,
            });
        }
        self.missing_from_record();
    }

    /// Takes in what only an open drain or destroy knows: the record was lost, the journal was not.
    fn missing_from_record(&mut self) {
        let unknown: BTreeSet<InstanceId> = self
            .intents
            .ending()
            .map(|(id, _)| id)
            .filter(|id| !self.is_known(id))
            .cloned()
            .collect();
        for id in unknown {
            self.count_absence(&id);
            let vanished = self
                .destroy_acked(&id)
                .is_some_and(|at| self.proves_end_after(at));
            if vanished || self.absence_proven(&id, Timestamp::MIN) {
                self.end(&id);
            }
        }
    }

    fn unlisted(&mut self, unlisted: &Unlisted<'_>) {
        let id = unlisted.id;
        let acked_at = match unlisted.because {
            // It may yet be made: no number of listings proves that it will not.
            Because::Unanswered => Timestamp::MAX,
            Because::Acked(at) => at,
            Because::Missing => Timestamp::MIN,
        };
        if self.input.listing.as_of > acked_at {
            self.count_absence(id);
            let destroyed = self
                .destroy_acked(id)
                .is_some_and(|at| self.proves_end_after(at));
            if destroyed || self.absence_proven(id, acked_at) {
                self.end(id);
                return;
            }
        }
        if self.counts_absence || self.emptied {
            let as_of = self.input.listing.as_of;
            if let Some(memory) = self.memory.get_mut(id) {
                notice::forget_early(memory, as_of);
            }
        }
        let (class, changes_at) = self.unlisted_class(unlisted);
        let destroy = self.intents.destroy(id);
        let (provider_ref, token) = match destroy.map(|intent| &intent.kind) {
            Some(IntentKind::Destroy {
                provider_ref,
                token,
                ..
            }) => (Some(provider_ref), Some(token)),
            // Not to be touched before it is seen: an end of it could not be told from its absence.
            Some(
                IntentKind::Create { .. }
                | IntentKind::Drain { .. }
                | IntentKind::Update(_)
                | IntentKind::Roster(_)
                | IntentKind::Adopt(_),
            )
            | None => (None, unlisted.token),
        };
        let change = self.change(id);
        let digests = change.map_or(unlisted.digests, |change| change.digests);
        let member = Member {
            id: id.clone(),
            provider_ref: provider_ref.cloned(),
            digests: digests.clone(),
            token: token.cloned(),
            seat: unlisted.seat.cloned(),
            class,
            drain: self.drain(id),
            update: change.map(|change| change.how),
            restarted_at: None,
            changed_at: None,
            busy: false,
            work: 0,
            leader: None,
            address: None,
            zone: self.zone_of(id),
            created_at: unlisted.created_at,
            interruption: None,
            changes_at,
        };
        if !self.memory.contains_key(id) {
            let memory = self.remembered(id, None);
            self.memory.insert(id.clone(), memory);
        }
        self.take_in(member);
    }

    fn unlisted_class(&self, unlisted: &Unlisted<'_>) -> (InstanceClass, Option<Timestamp>) {
        let proof_at = self
            .memory
            .get(unlisted.id)
            .and_then(|memory| memory.absent)
            .map(|absence| later(absence.since, ABSENCE_MIN));
        if self.destroy_sent(unlisted.id) {
            (InstanceClass::Terminating, proof_at)
        } else if matches!(unlisted.because, Because::Unanswered | Because::Acked(_)) {
            (InstanceClass::Starting, proof_at)
        } else {
            let lister = trust::lister(self.input.provider);
            let why = format!("missing from the listing of {lister}");
            (InstanceClass::Suspect { why }, proof_at)
        }
    }

    /// Counts one more complete listing without `id`, and remembers it.
    fn count_absence(&mut self, id: &InstanceId) {
        let as_of = self.input.listing.as_of;
        let mut memory = self.remembered(id, None);
        if self.counts_absence {
            memory.absent = Some(match memory.absent {
                None => Absence {
                    since: as_of,
                    last: as_of,
                    listings: 1,
                },
                Some(absence) if as_of > absence.last => Absence {
                    last: as_of,
                    listings: absence.listings + 1,
                    ..absence
                },
                Some(absence) => absence,
            });
        }
        self.memory.insert(id.clone(), memory);
    }

    fn absence_proven(&self, id: &InstanceId, acked_at: Timestamp) -> bool {
        let absence = self.memory.get(id).and_then(|memory| memory.absent);
        self.counts_absence
            && absence.is_some_and(|absence| {
                absence.listings >= 2
                    && elapsed(absence.since, absence.last) >= ABSENCE_MIN
                    && elapsed(acked_at, absence.last) >= self.input.visibility
            })
    }

    /// Returns whether absence from this listing proves the end of what was destroyed at `acked`.
    fn proves_end_after(&self, acked: Timestamp) -> bool {
        self.counts_absence && self.input.listing.as_of > acked
    }

    fn end(&mut self, id: &InstanceId) {
        // While the call that made it is open, for another of its instances, its absence is not to be
        // proven anew: each would take its turn, and never all of them be gone.
        let open = self.intended_at(id).is_some();
        let recorded = self.input.recorded.instances.get(id);
        let was_there = recorded.is_some_and(|was| was.provider_ref.is_some());
        if was_there && self.intents.destroy(id).is_none() {
            if let Some(memory) = self.memory.get_mut(id) {
                memory.lost_at = Some(self.input.now);
                memory.absent = memory.absent.filter(|_| open);
            }
        } else if !open {
            self.memory.remove(id);
        }
        self.gone.insert(id.clone(), None);
    }

    /// Returns whether what was lost at `at` is still remembered.
    pub(super) fn is_remembered(&self, at: Timestamp) -> bool {
        elapsed(at, self.input.now) <= LOST_KEPT
    }

    /// Keeps what is remembered of instances that were taken for gone and may come back: with it they are what they were, and
    /// not launches like those that were made in their place. Who came back is one like any other once nobody is too
    /// much.
    pub(super) fn remember_lost(&mut self) {
        if self.members.len() <= self.input.recorded.size as usize {
            for id in self.members.keys() {
                if let Some(memory) = self.memory.get_mut(id) {
                    memory.lost_at = None;
                }
            }
        }
        let lost = self.input.memory.iter().filter(|(id, memory)| {
            let remembered = memory.lost_at.is_some_and(|at| self.is_remembered(at));
            remembered && !self.is_known(id)
        });
        let lost = lost.map(|(id, memory)| (id.clone(), memory.clone()));
        let lost: Vec<_> = lost.take(LOST_MAX).collect();
        self.memory.extend(lost);
    }
}
