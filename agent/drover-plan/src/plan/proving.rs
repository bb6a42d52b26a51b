//! What a completed rollout still has to prove: that what it made stays for `rollout.monitor`. A rollout is often
//! shorter than that, and its template the last good one before anything had the time to break.

use std::sync::Arc;

use drover_model::{
    AcceptedDocument, OnFailure, PauseCause, Proving, Rollout, RolloutState, Timestamp,
};

use super::draft::{Draft, Updating};
use crate::time::later;

impl Draft<'_> {
    /// Begins the watch over a rollout that has just completed. There is none where there was no other good template
    /// before it, where everything has stayed for long enough, nor where failures change nothing.
    pub(super) fn begin_proving(&mut self, mut rollout: Rollout) {
        let Some(before) = self.last_good().filter(|_| rollout.target == self.target) else {
            return;
        };
        let until = self.proves_until();
        let Some(until) = until.filter(|until| *until > self.input.now && self.heeds_failures())
        else {
            return;
        };
        // What it waited for is over: should it go on, it bakes anew.
        rollout.stages.bake_since = None;
        rollout.state = RolloutState::Progressing;
        let quorum = self.next.quorum.as_ref();
        self.next.proving = Some(Proving {
            before,
            size_before: self.next.stable_size,
            members_before: quorum.map(|known| known.stable.clone()).unwrap_or_default(),
            until,
            rollout,
        });
    }

    /// Returns when the last instance will have been ready for `rollout.monitor`.
    fn proves_until(&self) -> Option<Timestamp> {
        let memory = &self.input.classified.memory;
        let ready_at = self.live().map(|member| {
            let memory = memory.get(&member.id);
            let ready_at = memory.and_then(|memory| memory.ready_at);
            ready_at.unwrap_or(self.input.now)
        });
        let last = ready_at.max()?;
        Some(later(last, self.spec.rollout.monitor))
    }

    /// Goes on with the watch. Returns why the rollout failed after all, if it did in this pass: then the last good
    /// template is the one before it again, and the rollout stands where its failures paused it.
    pub(super) fn track_proving(&mut self) -> Option<PauseCause> {
        let mut proving = self.next.proving.take()?;
        if self.is_dropped(&proving) {
            return None;
        }
        if self.input.now >= proving.until {
            self.next.proving = Some(proving);
            return None;
        }
        let failed_now = self.note_failures(&mut proving.rollout);
        let count = proving.rollout.failures.len() as u32;
        let threshold = self.proving_threshold();
        if failed_now == 0 || count < threshold {
            self.next.proving = Some(proving);
            return None;
        }
        let cause = PauseCause::Failures {
            failed: count,
            threshold,
            last: proving.rollout.last_failure.clone(),
        };
        self.next.stable = Some(proving.before);
        self.next.stable_size = proving.size_before;
        if let Some(quorum) = &mut self.next.quorum {
            quorum.stable = proving.members_before;
        }
        // It never came to rest there, so what differs is the change, and no drift.
        self.next.settled = None;
        self.updating = Updating::Change;
        proving.rollout.state = RolloutState::Paused(cause.clone());
        self.next.rollout = Some(proving.rollout);
        Some(cause)
    }

    /// Returns how many have to break. Unless the document says a number that is more than one, as far as there is more than
    /// one: among instances that all serve, a single one that breaks says more about its machine than about the template.
    fn proving_threshold(&self) -> u32 {
        let size = self.resolved.size;
        let threshold = self.spec.failure_threshold(size);
        match self.spec.rollout.failure_threshold {
            Some(_) => threshold,
            None => threshold.max(size.min(2)),
        }
    }

    /// Forgets a watch that is over. Its end changes nothing that anybody waits for, so nobody is woken up for it, and
    /// by itself it changes no record: it goes with whatever changes next.
    pub(super) fn forget_proved(&mut self) {
        let over = |proving: &Proving| self.input.now >= proving.until;
        if self.next.proving.as_ref().is_some_and(over) && self.next != *self.input.recorded {
            self.next.proving = None;
        }
    }

    /// Returns whether the watch ends before its time, because the document is not what it was any more. The sizes that
    /// a policy chooses end nothing.
    fn is_dropped(&self, proving: &Proving) -> bool {
        let text = |accepted: &Option<AcceptedDocument>| -> Option<Arc<str>> {
            accepted.as_ref().map(|accepted| accepted.text.clone())
        };
        let same_document = text(&self.next.accepted) == text(&self.input.recorded.accepted);
        let same = same_document
            && self.resolved.size > 0
            && proving.rollout.target == self.target
            && self.next.stable.as_ref() == Some(&self.target)
            && self.next.templates.contains_key(&proving.before);
        !same || self.rolls_back() || !self.heeds_failures()
    }

    fn heeds_failures(&self) -> bool {
        match self.spec.rollout.on_failure {
            OnFailure::Pause | OnFailure::Rollback => true,
            OnFailure::Continue => false,
        }
    }
}
