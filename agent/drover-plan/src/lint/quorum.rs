//! What quorum groups promise, counted again: one holder of each place, one member in transition, and a
//! majority that the agent itself never takes away.

use std::collections::BTreeSet;

use drover_model::{
    Action, Cause, InPlaceUpdate, InstanceClass, InstanceId, IntentKind, IntentState, Member,
    MemberId, Plan, QuorumSpec, Reason, Seat, Step,
};

use super::{Facts, LintError};

impl Facts<'_> {
    /// I12 and I13.
    pub(super) fn quorum(&self, plan: &Plan) -> Result<(), LintError> {
        let seats = self.seats(plan)?;
        let spec = self.input.desired.spec();
        match &spec.quorum {
            None if seats.is_empty() => Ok(()),
            None => Err(LintError::Seat(
                "an instance of no quorum group takes a place",
            )),
            Some(_) if plan.next.deleting.is_some() && seats.is_empty() => Ok(()),
            Some(quorum) => {
                self.begins_once(plan, &seats)?;
                self.keeps_voters(plan, quorum)?;
                self.in_turn(plan, quorum, &seats)?;
                self.remakes_no_majority(plan, quorum, &seats)?;
                self.majority_stays(plan, quorum)
            }
        }
    }

    /// I13: a place is taken only when nothing holds it, and nothing that was decided before may.
    fn seats<'p>(&self, plan: &'p Plan) -> Result<Vec<&'p Seat>, LintError> {
        let mut held: BTreeSet<&MemberId> = BTreeSet::new();
        held.extend(self.world.members.values().filter_map(place));
        for intent in self.open.values() {
            if let IntentKind::Create { seat, slots, .. } = &intent.kind
                && matches!(intent.state, IntentState::Sent)
                // It was refused for good, or what it made was seen to be gone: nothing more can come of it.
                && !self.settled.contains(&intent.id)
                && !slots.iter().all(|id| self.world.gone.contains_key(id))
            {
                held.extend(seat.as_ref().map(|seat| &seat.id.member));
            }
        }
        let mut seats = Vec::new();
        let quorum = self.input.desired.spec().quorum.is_some();
        for step in &plan.steps {
            let Action::Create { slots, seat, .. } = &step.action else {
                continue;
            };
            match seat.as_deref() {
                None if quorum => return Err(LintError::Seat("a member is made without a place")),
                None => {}
                Some(seat) => {
                    if slots.len() != 1 {
                        return Err(LintError::Seat("several instances would take one place"));
                    }
                    seats.push(seat);
                }
            }
        }
        for seat in &seats {
            if held.contains(&seat.id.member) {
                return Err(LintError::Seat("a place would be taken that is not free"));
            }
        }
        let distinct: BTreeSet<_> = seats.iter().map(|seat| &seat.id.member).collect();
        if distinct.len() < seats.len() {
            return Err(LintError::Seat("two instances would take one place"));
        }
        Ok(seats)
    }

    /// A group begins once: with nothing known of it, and never again.
    fn begins_once(&self, plan: &Plan, seats: &[&Seat]) -> Result<(), LintError> {
        let begins = seats.iter().any(|seat| seat.bootstrap);
        let known = self.input.recorded.quorum.as_ref();
        let worked = known.is_some_and(|known| known.established);
        let trace = !self.world.members.is_empty()
            || !self.world.attached.is_empty()
            || !self.input.intents.is_empty()
            || !self.input.recorded.instances.is_empty()
            || self.input.recorded.next_number > 1;
        if begins && (worked || (known.is_none() && trace)) {
            return Err(LintError::Seat(
                "the members would be started for the first time again",
            ));
        }
        let next = plan.next.quorum.as_ref();
        if worked && next.is_none_or(|next| !next.established) {
            return Err(LintError::Seat(
                "it would be forgotten that the group worked",
            ));
        }
        let other_life = |seat: &&&Seat| next.is_none_or(|next| next.life != seat.id.life);
        if seats.iter().any(|seat| other_life(&seat)) {
            return Err(LintError::Seat("an instance would belong to another life"));
        }
        Ok(())
    }

    /// A majority that was lost is not talked away: members are let go of only while the others are one.
    fn keeps_voters(&self, plan: &Plan, quorum: &QuorumSpec) -> Result<(), LintError> {
        let (Some(known), Some(next)) = (&self.input.recorded.quorum, &plan.next.quorum) else {
            return Ok(());
        };
        let wanted: BTreeSet<_> = quorum.members.iter().map(|member| &member.id).collect();
        let members = || self.world.members.values();
        let held: BTreeSet<_> = members().filter_map(place).collect();
        let gone: Vec<_> = known.voters.difference(&next.voters).collect();
        if gone
            .iter()
            .any(|id| wanted.contains(id) || held.contains(id))
        {
            return Err(LintError::Seat("a member would be forgotten"));
        }
        let well: BTreeSet<_> = members()
            .filter(|member| member.class == InstanceClass::Available)
            .filter_map(place)
            .filter(|id| known.voters.contains(*id))
            .collect();
        let mut enough = quorum.allow_downtime || well.len() >= needed(known.voters.len());
        if quorum.membership.keeper().is_some() {
            enough = self.are_unlisted(&gone);
        }
        if known.established && !gone.is_empty() && !enough {
            return Err(LintError::Seat("a lost majority would be forgotten"));
        }
        Ok(())
    }

    /// In a group that works one member at a time is taken out or made, while no other is on its way.
    fn in_turn(&self, plan: &Plan, quorum: &QuorumSpec, seats: &[&Seat]) -> Result<(), LintError> {
        let next = plan.next.quorum.as_ref();
        if next.is_none_or(|next| !next.established) {
            return Ok(());
        }
        let begun: Vec<&InstanceId> = plan
            .steps
            .iter()
            .filter(|step| !deletes(step))
            .filter_map(ended)
            .filter(|id| self.stays(id))
            .collect();
        if begun.len() + seats.len() > 1 {
            return Err(LintError::Seat(
                "two members would be in transition at once",
            ));
        }
        if begun.is_empty() && seats.is_empty() {
            return Ok(());
        }
        let healthy = self.healthy(plan);
        let spared = |member: &Member| {
            // What is drained and cannot be spared is not ended, so it is not on its way.
            member.drain.is_some()
                && member.class == InstanceClass::Available
                && !self.ending.contains(&member.id)
                && (healthy.len() < needed(self.voters(plan).len())
                    || (quorum.membership.keeper().is_some() && self.must_vote(member)))
        };
        let moving = self.world.members.values().any(|member| {
            let on_its_way = !self.stays(&member.id)
                || matches!(
                    member.class,
                    InstanceClass::Starting | InstanceClass::Warming
                );
            on_its_way && !begun.contains(&&member.id) && !spared(member)
        });
        if moving && !quorum.allow_downtime {
            return Err(LintError::Seat("another member is in transition"));
        }
        Ok(())
    }

    /// Of the members that were started no more are made again than can be missing.
    fn remakes_no_majority(
        &self,
        plan: &Plan,
        quorum: &QuorumSpec,
        seats: &[&Seat],
    ) -> Result<(), LintError> {
        let Some(known) = self.input.recorded.quorum.as_ref() else {
            return Ok(());
        };
        if !known.established || quorum.allow_downtime {
            return Ok(());
        }
        let held: BTreeSet<_> = self.world.members.values().filter_map(place).collect();
        let voters = self.voters(plan);
        // Who may be forgotten was asked before: of the others, those count that were started.
        let started = known.voters.intersection(&voters);
        let missing = started.filter(|id| !held.contains(id)).count();
        let again = seats
            .iter()
            .any(|seat| known.voters.contains(&seat.id.member));
        if again && missing > voters.len() - needed(voters.len()) {
            return Err(LintError::Seat("a lost majority would be made anew"));
        }
        Ok(())
    }

    /// I12: what is well is ended or drained only where a majority of all is well without it.
    fn majority_stays(&self, plan: &Plan, quorum: &QuorumSpec) -> Result<(), LintError> {
        let worked = plan
            .next
            .quorum
            .as_ref()
            .is_some_and(|next| next.established);
        if quorum.allow_downtime || !worked {
            return Ok(());
        }
        let mut healthy = self.voting(plan);
        let mut takes = false;
        for step in plan.steps.iter().filter(|step| !deletes(step)) {
            let Some(member) = ended(step).and_then(|id| self.world.members.get(id)) else {
                continue;
            };
            if member.class == InstanceClass::Available && !self.has_no_vote(plan, quorum, member) {
                takes = true;
                if let Some(id) = place(member) {
                    healthy.remove(id);
                }
            }
        }
        let (left, needed) = (healthy.len(), needed(self.voters(plan).len()));
        if takes && left < needed {
            return Err(LintError::NoMajority {
                left: left as u32,
                needed: needed as u32,
            });
        }
        Ok(())
    }

    /// Returns how many instances that stay hold the place of no member of the document.
    pub(super) fn unwanted(&self, quorum: &QuorumSpec) -> u32 {
        let members = self.world.members.values();
        let unwanted = members.filter(|member| {
            let wanted = place(member).is_some_and(|id| quorum.member(id).is_some());
            !wanted && self.stays(&member.id)
        });
        unwanted.count() as u32
    }

    fn voters(&self, plan: &Plan) -> BTreeSet<MemberId> {
        let mut voters: BTreeSet<MemberId> = BTreeSet::new();
        for known in [&self.input.recorded.quorum, &plan.next.quorum] {
            voters.extend(known.iter().flat_map(|known| known.voters.iter().cloned()));
        }
        voters.extend(self.world.members.values().filter_map(place).cloned());
        if let Some(next) = &plan.next.quorum {
            // What the document does not have, and what nothing holds, counts no more.
            voters.retain(|id| next.voters.contains(id));
        }
        voters
    }

    /// Returns the members that serve, those among them that are drained and not ended yet.
    fn voting(&self, plan: &Plan) -> BTreeSet<&MemberId> {
        self.voters_that(plan, |member| {
            member.class == InstanceClass::Available && !self.ending.contains(&member.id)
        })
    }

    fn healthy(&self, plan: &Plan) -> BTreeSet<&MemberId> {
        self.voters_that(plan, |member| self.serves(member))
    }

    fn voters_that(&self, plan: &Plan, hold: impl Fn(&Member) -> bool) -> BTreeSet<&MemberId> {
        let voters = self.voters(plan);
        let members = self.world.members.values();
        let places = members.filter(|member| hold(member)).filter_map(place);
        places.filter(|id| voters.contains(*id)).collect()
    }
}

pub(super) fn needed(voters: usize) -> usize {
    1 + voters / 2
}

pub(super) fn place(member: &Member) -> Option<&MemberId> {
    member.seat.as_ref().map(|seat| &seat.member)
}

pub(super) fn deletes(step: &Step) -> bool {
    step.cause == Cause::Because(Reason::Delete)
}

pub(super) fn ended(step: &Step) -> Option<&InstanceId> {
    match &step.action {
        Action::Drain { instance, .. }
        | Action::Destroy { instance, .. }
        | Action::Update(InPlaceUpdate { instance, .. })
        | Action::Release { instance, .. } => Some(instance),
        Action::Create { .. }
        | Action::Resend { .. }
        | Action::Roster(_)
        | Action::Adopt(_)
        | Action::Settle(_) => None,
    }
}

#[cfg(test)]
mod tests;
