//! What a random document of a quorum group says.

use std::time::Duration;

use drover_model::{Group, GroupSpec, MembershipSpec, RolloutOrder};

use super::Life;
use crate::{Random, RosterFault, Violation};

/// Makes a quorum group of it, with what a document of one may say.
pub(super) fn into_members(random: &mut Random, group: &mut Group) {
    let plain = crate::quorum_group("web", &[], 1).spec;
    let spec = &mut group.spec;
    spec.quorum = plain.quorum;
    spec.heal = plain.heal;
    spec.limits = plain.limits;
    spec.placement = plain.placement;
    spec.scaling = plain.scaling;
    spec.expiry = None;
    let rollout = &mut spec.rollout;
    rollout.surge_max = plain.rollout.surge_max;
    rollout.unavailable_max = plain.rollout.unavailable_max;
    rollout.canary = None;
    rollout.checkpoints.clear();
    rollout.partition = None;
    rollout.order = RolloutOrder::Auto;
    random_members(random, spec);
}

/// Draws one to five members, how long they settle, and whether downtime is allowed.
pub(super) fn random_members(random: &mut Random, spec: &mut GroupSpec) {
    let all = ["m1", "m2", "m3", "m4", "m5", "m6"];
    let first = random.below(2) as usize;
    let count = random.pick(&[1, 2, 3, 3, 3, 4, 5]);
    crate::set_members(spec, &all[first..first + count]);
    if let Some(quorum) = &mut spec.quorum {
        quorum.stabilize = Duration::from_secs(random.pick(&[0, 20, 60]));
        quorum.allow_downtime = random.percent(20);
    }
}

/// Gives the group a program that keeps a membership list.
pub(super) fn into_dynamic(group: &mut Group) {
    let dynamic = crate::dynamic_group("web", &[], 1).spec.quorum;
    if let (Some(quorum), Some(dynamic)) = (&mut group.spec.quorum, dynamic) {
        quorum.membership = dynamic.membership;
    }
}

impl Life {
    /// Something happens to the membership list, or to the next change of it.
    pub(super) fn roster_trouble(&mut self) {
        let quorum = self.sim.spec().quorum.as_ref();
        if quorum.is_none_or(|quorum| quorum.membership.keeper().is_none()) {
            return;
        }
        let group = self.sim.name().clone();
        match self.random.below(7) {
            0 => {
                self.count("membership", "an entry that nobody works under");
                self.sim.rosters().add_ghost(&group, "198.51.100.9");
            }
            1 => {
                self.count("membership", "another leader");
                self.sim.rosters().move_leader(&group);
            }
            2 => {
                self.count("membership", "unreadable");
                let looks = 1 + self.random.below(6);
                self.sim.rosters().blind(looks);
            }
            3 => {
                let there = self.random.percent(50);
                self.count(
                    "membership",
                    if there { "a stranger" } else { "no stranger" },
                );
                self.sim.rosters().set_stranger(&group, there);
            }
            _ => {
                let fault = self.random.pick(&[
                    RosterFault::LostRequest,
                    RosterFault::LostReply,
                    RosterFault::LostReply,
                    RosterFault::Refused,
                    RosterFault::Late(Duration::from_secs(20)),
                ]);
                self.count("membership", "a change that is lost, late or refused");
                self.sim.rosters().inject(fault);
            }
        }
    }

    /// A list whose majority is lost, also to what was announced in trouble, is changed by nobody any more:
    /// a person goes on with what is left.
    pub(super) fn give_up_list(&mut self) {
        let quorum = self.sim.spec().quorum.as_ref();
        let listed = quorum.is_some_and(|quorum| quorum.membership.keeper().is_some());
        if listed && self.sim.rosters().has_majority(self.sim.name()) == Some(false) {
            self.count("membership", "given up");
            self.sim.edit(|spec| {
                if let Some(quorum) = &mut spec.quorum {
                    quorum.membership = MembershipSpec::Static;
                }
            });
        }
    }

    /// In the end the membership list has the members of the document, all of which vote.
    pub(super) fn list_is_whole(&self) -> Result<(), Violation> {
        let quorum = self.sim.spec().quorum.as_ref();
        if let Some(quorum) = quorum.filter(|quorum| quorum.membership.keeper().is_some()) {
            let members = self.sim.rosters().members(self.sim.name());
            let ids = quorum.members.iter().map(|member| member.id.to_string());
            if members != ids.map(|id| (id, true)).collect() {
                return Err(Violation {
                    invariant: "I6 progress",
                    what: format!("the membership list has {members:?}"),
                });
            }
        }
        Ok(())
    }
}
