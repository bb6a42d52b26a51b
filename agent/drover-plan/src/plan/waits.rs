//! The waiting that is no fault of a template: the deadline of a rollout does not run meanwhile.

use drover_model::{Cause, Member, Reason};

use super::draft::Draft;
use crate::numbers::serves;

impl Draft<'_> {
    /// Returns whether all that is left to replace is what the document protects.
    pub(super) fn only_kept_left(&self) -> bool {
        let mut kept = false;
        for member in self.remaining() {
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

    /// Returns whether no more instances may be made within the hour, and none of the target is on the
    /// way. While one is, it is that one which makes no progress, and the deadline runs.
    pub(super) fn waits_for_the_hour(&self) -> bool {
        let update = Cause::Because(Reason::Update);
        self.create_room(update).0 == 0 && self.target_waiting() == 0
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

    /// Returns whether there is more than may be, and none of the target is on the way: none can be made
    /// before the surplus is gone, however long that takes. A group of nobody has nothing else.
    pub(super) fn waits_for_surplus(&self) -> bool {
        self.target_waiting() == 0 && self.total > self.resolved.ceiling
    }

    /// Returns whether the target has nobody left to bring up now: as many serve as there should be, or what
    /// is being retired is all that is on its way. However slowly that goes, the template is not to blame.
    pub(super) fn waits_for_others(&self) -> bool {
        let of_target = || self.live().filter(|member| self.current(member));
        let serving = of_target().filter(|member| serves(member)).count() as u32;
        let complete = serving >= self.resolved.size;
        let coming = of_target().any(|member| !serves(member));
        complete || (!coming && self.in_flight(Reason::Update) > 0)
    }
}
