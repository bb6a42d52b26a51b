//! Removing a group: drained and destroyed without a floor, or released.

use drover_model::{
    Action, Cause, Deleting, DeletionPolicy, GroupPhase, Held, Hold, Member, Reason, Revision,
    SettlementOutcome,
};

use super::admit::observed;
use super::draft::{Course, Draft};
use super::{held_for, observes};

impl<'a> Draft<'a> {
    /// Plans a group whose document was removed.
    pub(super) fn deleting(&mut self, revision: &Revision) {
        if let Some(held) = self.deletion_withheld() {
            self.hold(held);
            self.stay();
            return;
        }
        let begun = self.input.recorded.deleting.as_ref();
        self.next.deleting = Some(Deleting {
            revision: revision.clone(),
            since: begun.map_or(self.input.now, |deleting| deleting.since),
        });
        self.course = Course::Removes;
        self.next.size = 0;
        self.next.rollout = None;
        self.next.proving = None;
        self.next.backoff = None;
        self.next.strangers.clear();
        self.next.adopted = None;
        let kept = self.input.classified.kept.len() as u32;
        self.resolved = crate::numbers::Resolved::of(self.spec, 0).beside(kept, self.spec);
        self.follow_up();
        if self.spec.deletion.policy == DeletionPolicy::Orphan {
            // What is let go is seen no more, and is not to be made a second time for it.
            for intent in self.unfinished() {
                self.close(intent.id, SettlementOutcome::Observed);
            }
        }
        if observes(self.input) {
            // Nothing was ever ours to remove: the agent only stops watching.
            return;
        }
        let live: Vec<&'a Member> = self.live().collect();
        for member in live {
            match self.refusal(member, Reason::Delete) {
                None => self.remove(member),
                Some(held) => self.hold(held),
            }
        }
        let kept: Vec<&'a Member> = self.kept_on().collect();
        for member in kept {
            match self.out_of_reach(member, Reason::Delete) {
                None => self.remove(member),
                Some(held) => self.hold(held),
            }
        }
    }

    fn remove(&mut self, member: &'a Member) {
        let kept = self.input.classified.kept.contains_key(&member.id);
        match self.spec.deletion.policy {
            DeletionPolicy::Destroy if kept => self.end(member, Cause::Because(Reason::Delete)),
            DeletionPolicy::Destroy => self.disrupt(member, Reason::Delete),
            DeletionPolicy::Orphan => {
                let Some(provider_ref) = &member.provider_ref else {
                    return;
                };
                let action = Action::Release {
                    instance: member.id.clone(),
                    provider_ref: provider_ref.clone(),
                };
                let preconditions = observed(member).into_iter().collect();
                self.step(action, Cause::Because(Reason::Delete), preconditions);
            }
        }
    }

    /// Returns what withholds the deletion as a whole. One that has begun goes on.
    fn deletion_withheld(&self) -> Option<Held> {
        // Who marked the group for removal may not have asked all of this: only a removal that was
        // planned before goes on unasked.
        let begun = self.input.recorded.phase == GroupPhase::Deleting;
        if begun || observes(self.input) {
            return None;
        }
        let for_delete = |hold| held_for(Reason::Delete, hold);
        if self.known().next().is_none() && self.input.intents.is_empty() {
            return None;
        }
        if self.spec.deletion.protect {
            return Some(for_delete(Hold::Protected));
        }
        let recorded = self.input.recorded;
        let size = recorded.stable_size.max(recorded.size);
        let wanted = self.live_count().max(size);
        let destroys = self.spec.deletion.policy == DeletionPolicy::Destroy;
        let too_much = || self.removes_too_much(Reason::Delete, 0, wanted);
        let too_much = destroys.then(too_much).flatten();
        too_much.or_else(|| self.withheld(Reason::Delete))
    }

    /// Keeps a group whose removal is withheld as it is in force: healed and at its size.
    fn stay(&mut self) {
        let recorded = self.input.recorded;
        self.keep_going(self.spec, recorded.size);
    }
}
