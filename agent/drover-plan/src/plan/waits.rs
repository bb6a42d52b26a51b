//! The waiting that is no fault of a template: the deadline of a rollout does not run meanwhile.

use drover_model::{Held, Hold, InstanceClass, InstanceId, Member, Reason};

use super::draft::Draft;
use crate::numbers::{is_current, serves};

impl Draft<'_> {
    /// Returns whether all that is left to replace is what the document protects.
    pub(super) fn only_kept_left(&self) -> bool {
        let mut kept = false;
        for member in self.live() {
            if !self.current(member) {
                if self.protection(member, Reason::Update).is_none() {
                    return false;
                }
                kept = true;
            } else if !serves(member) {
                return false;
            }
        }
        kept
    }

    /// Returns whether that was so in the last pass.
    pub(super) fn only_kept_was_left(&self) -> bool {
        let recorded = self.input.recorded;
        let kept = |id: &InstanceId| {
            recorded.holds.iter().any(|held| {
                matches!(held.hold, Hold::ProtectedInstance { .. })
                    && held.reason == Some(Reason::Update)
                    && held.instance.as_ref() == Some(id)
            })
        };
        let mut outdated = recorded
            .instances
            .iter()
            .filter(|(_, was)| !is_current(&was.digests, &self.target))
            .peekable();
        outdated.peek().is_some() && outdated.all(|(id, _)| kept(id))
    }

    /// Returns whether no more instances may be made within the hour, and none of the target is on the
    /// way. While one is, it is that one which makes no progress, and the deadline runs.
    pub(super) fn waits_for_the_hour(&self) -> bool {
        self.create_room().0 == 0 && self.target_waiting() == 0
    }

    /// Returns whether that was so in the last pass.
    pub(super) fn waited_for_the_hour(&self) -> bool {
        let waits = |held: &Held| matches!(held.hold, Hold::CreateLimit { .. });
        self.input.recorded.holds.iter().any(waits) && self.none_was_coming()
    }

    /// Returns whether budgets let no more outdated instances go, and none of the target is on the way:
    /// what is out of service is so for another cause.
    pub(super) fn waits_for_a_budget(&self) -> bool {
        let mut outdated = self
            .live()
            .filter(|member| serves(member) && !self.current(member));
        let full = |member: &Member| self.over_budget(member, Reason::Update).is_some();
        self.target_waiting() == 0
            && self.in_flight(Reason::Update) == 0
            && outdated.next().is_some_and(full)
    }

    /// Returns whether that was so in the last pass.
    pub(super) fn waited_for_a_budget(&self) -> bool {
        let waits = |held: &Held| {
            let budget = matches!(
                held.hold,
                Hold::BudgetExhausted { .. } | Hold::FleetBudgetExhausted { .. }
            );
            budget && held.reason == Some(Reason::Update)
        };
        self.input.recorded.holds.iter().any(waits) && self.none_was_coming()
    }

    /// Returns whether no instance of the target was on its way in the last pass.
    fn none_was_coming(&self) -> bool {
        let available = InstanceClass::Available.as_str();
        let mut instances = self.input.recorded.instances.values();
        instances.all(|was| was.class == available || was.digests != self.target)
    }
}
