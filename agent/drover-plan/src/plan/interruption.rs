//! Instances that the provider is about to take: replaced before they go, whatever the surge, and moved
//! off in time.

use drover_model::{Held, InstanceClass, Member, OrderVerb, Reason, Timestamp};

use super::draft::Draft;
use super::stages::Replaced;
use crate::numbers::serves;
use crate::time::{drain_time, earlier};

impl<'a> Draft<'a> {
    /// Makes successors of what the provider is about to take, and lets it go as soon as they serve, or
    /// when there is just time enough left to drain it.
    pub(super) fn interruption(&mut self) {
        let doomed = self.doomed();
        let mut doomed: Vec<&'a Member> = doomed.filter(|one| one.interruption.is_some()).collect();
        if doomed.is_empty() {
            return;
        }
        doomed.sort_by_key(|member| (member.interruption, member.id.clone()));
        if let Some(held) = self.withheld(Reason::Interruption) {
            self.hold(held);
            return;
        }
        self.replace_doomed(Reason::Interruption, u32::MAX);
        for member in doomed {
            let spare = if serves(member) {
                self.available > self.resolved.size
            } else {
                self.live_count() > self.resolved.size
            };
            if !spare && !is_dead(member) && !self.must_leave(member) {
                continue;
            }
            match self.refusal(member, Reason::Interruption) {
                None => self.disrupt(member, Reason::Interruption),
                Some(held) => self.hold(held),
            }
        }
    }

    /// Returns what the provider is about to take, or people have replaced after a successor, and that is not on its
    /// way out yet.
    pub(super) fn doomed(&self) -> impl Iterator<Item = &'a Member> + use<'a, '_> {
        let members = self.interrupted.iter().chain(&self.succeeded).copied();
        members.filter(|member| !self.leaving.contains_key(&member.id))
    }

    /// Makes what is missing beside those that the provider is about to take and, where people ask for it, beside
    /// those that they have replaced: `most` at once. What is there above the size is for the former first.
    pub(super) fn replace_doomed(&mut self, reason: Reason, most: u32) {
        let counts = |member: &&Member| {
            // Nobody stands in for one that restarts and does not serve.
            let replaced = serves(member) || self.ordered(&member.id, OrderVerb::Replace).is_some();
            let taken = member.interruption.is_some();
            (taken || (replaced && reason != Reason::Interruption)) && !is_dead(member)
        };
        let doomed = self.doomed().filter(counts).count() as u32;
        let wanted = (self.resolved.size + doomed).saturating_sub(self.live_count());
        let wanted = wanted.min(doomed).min(most);
        if wanted == 0 || self.withheld(reason).is_some() {
            return;
        }
        // Who has the target hands it on, and stays until then.
        let handing_on = self.doomed().filter(|member| self.current(member)).count() as u32;
        let replaced = Replaced {
            handing_on,
            ..Replaced::default()
        };
        let parts = match self.templates_in_place_of(replaced, wanted) {
            Ok(parts) => parts,
            Err(held) => {
                self.hold(Held {
                    reason: Some(reason),
                    ..*held
                });
                return;
            }
        };
        for (digests, wanted) in parts {
            self.make_above(wanted, &digests, reason);
        }
    }

    /// Returns whether there is just time enough to drain a member before the provider takes it. Who still runs when that
    /// time has come is not ended for it: nothing is gained any more, and it may never be taken.
    fn must_leave(&mut self, member: &Member) -> bool {
        let Some(taken_at) = member.interruption else {
            return false;
        };
        let leaves_at: Timestamp = earlier(taken_at, drain_time(self.spec));
        self.wake(leaves_at);
        self.input.now >= leaves_at && self.input.now <= taken_at
    }
}

fn is_dead(member: &Member) -> bool {
    matches!(member.class, InstanceClass::Exited(_))
}
