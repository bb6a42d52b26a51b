//! Creates without an answer: what a listing settles of them, and what only their provider can.

use std::collections::BTreeSet;

use drover_model::{
    InstanceId, InstanceMemory, Intent, IntentKind, IntentState, Seat, SettlementOutcome,
};

use super::Stage;
use super::absent::ABSENCE_MIN;
use super::health::Health;
use crate::time::later;

impl<'a> Stage<'a> {
    /// Returns how a create ended, once each instance that it made was seen or is provably gone.
    ///
    /// An instance may be there and yet not be finished: a call makes it, then attaches what belongs to its place, then
    /// starts it. Where that may be, a listing settles nothing, and the call is repeated until its provider answers.
    pub(super) fn create_outcome(&self, intent: &Intent) -> Option<SettlementOutcome> {
        let IntentKind::Create { slots, seat, .. } = &intent.kind else {
            return None;
        };
        let (made, told): (Vec<&InstanceId>, bool) = match &intent.state {
            IntentState::Intended | IntentState::Failed { .. } => return None,
            IntentState::Sent => (slots.iter().collect(), false),
            IntentState::Acked { made, .. } => (made.keys().collect(), !made.is_empty()),
        };
        let seen = |id: &&InstanceId| self.listed.contains(*id);
        if self.is_refused_for_good(intent) {
            return Some(if made.iter().any(seen) {
                SettlementOutcome::Observed
            } else {
                SettlementOutcome::NoEffect
            });
        }
        if !made
            .iter()
            .all(|id| seen(id) || self.gone.contains_key(*id))
        {
            return None;
        }
        if intent.state == IntentState::Sent && self.may_be_unfinished(slots, seat.as_deref()) {
            return None;
        }
        // What the provider said to have made was made, though nobody saw it before it ended.
        Some(if told || made.iter().any(seen) {
            SettlementOutcome::Observed
        } else {
            SettlementOutcome::NoEffect
        })
    }

    /// Returns whether a call without an answer has made nothing more than what is listed: its repeats are refused, and by now
    /// whatever it made would be in the listing. A refusal alone is none of the first call: the provider may have looked at
    /// its own limits before it looked at the token, or at other parameters than it was given then.
    pub(super) fn is_refused_for_good(&self, intent: &Intent) -> bool {
        let slots = intent.slots();
        let told = slots.first().and_then(|first| self.input.memory.get(first));
        let told = told.and_then(|memory| memory.unanswered.as_deref());
        let since = told.and_then(|told| told.refused_since);
        let wait = self.input.visibility.max(ABSENCE_MIN);
        intent.state == IntentState::Sent
            && self.counts_absence
            && since.is_some_and(|since| self.input.listing.as_of >= later(since, wait))
            && slots.iter().any(|id| !self.listed.contains(id))
    }

    /// Returns the adoptions that have no answer.
    fn adopting(&self) -> impl Iterator<Item = &'a Intent> + use<'a, '_> {
        let adopts = self.intents.adopts.iter().map(|(intent, _)| *intent);
        adopts.filter(|intent| intent.state == IntentState::Sent)
    }

    /// Keeps what calls came to that adopt what is not listed as the group's yet.
    fn remember_adopting(&mut self) {
        let adopting: Vec<&InstanceId> = self.adopting().filter_map(Intent::asks_for).collect();
        for id in adopting {
            if let Some(memory) = self.input.memory.get(id) {
                self.memory
                    .entry(id.clone())
                    .or_insert_with(|| memory.clone());
            }
        }
    }

    /// Forgets what calls came to whose intents are closed, or have an answer.
    pub(super) fn forget_answered(&mut self) {
        self.remember_adopting();
        let open = self.intents.creates.iter().filter(|intent| {
            intent.state == IntentState::Sent && !self.is_refused_for_good(intent)
        });
        let open = open.copied().chain(self.adopting());
        let open: BTreeSet<&InstanceId> = open.filter_map(Intent::asks_for).collect();
        let answered = |id: &InstanceId, memory: &InstanceMemory| {
            memory.unanswered.is_some() && !open.contains(id)
        };
        let heeded = |id: &InstanceId| {
            let destroys = self.intents.destroys.get(id).into_iter().flatten();
            let updates = self.intents.updates.get(id).into_iter().flatten();
            let mut asked = destroys.chain(updates);
            !asked.any(|intent| intent.state == IntentState::Sent)
        };
        for (id, memory) in &mut self.memory {
            if answered(id, memory) {
                memory.unanswered = None;
            }
            if memory.unheeded.is_some() && heeded(id) {
                memory.unheeded = None;
            }
        }
    }

    /// Returns whether a call without an answer may have more to do than to make what is listed. Once one of its
    /// instances is gone or being ended it is not repeated any more.
    fn may_be_unfinished(&self, slots: &[InstanceId], seat: Option<&Seat>) -> bool {
        let ends =
            |id: &InstanceId| self.gone.contains_key(id) || self.intents.destroy(id).is_some();
        let lacks = attaches(seat) || slots.iter().any(|id| self.pending.contains(id));
        lacks && !slots.iter().any(ends)
    }

    /// Returns the health of a listed instance. One that may lack what belongs to its place is still being made,
    /// whatever its checks say.
    pub(super) fn unless_unfinished(&self, id: &InstanceId, health: Health) -> Health {
        let unfinished = self.intents.creates.iter().any(|intent| {
            matches!(&intent.kind, IntentKind::Create { slots, seat, .. }
                if slots.contains(id)
                    && attaches(seat.as_deref())
                    && intent.state == IntentState::Sent)
        });
        match health {
            Health::Healthy | Health::Failing(_) | Health::Unknown(_) if unfinished => {
                Health::Pending
            }
            Health::Healthy
            | Health::Failing(_)
            | Health::Unknown(_)
            | Health::Pending
            | Health::Stopping
            | Health::Ended(_) => health,
        }
    }
}

/// Returns whether something is attached to whoever takes a place.
fn attaches(seat: Option<&Seat>) -> bool {
    seat.is_some_and(|seat| !seat.attachments.is_empty())
}
