//! What is promised of membership lists, counted again: a list is changed one entry at a time and never
//! so that a majority of it would not answer, members leave it before they end, and are in it before they
//! are made.

use std::collections::BTreeSet;

use drover_model::{
    Action, EntryId, EntryRole, InstanceClass, IntentKind, Member, MemberId, Plan, QuorumSpec,
    Roster, RosterChange, RosterStep, RosterView, Seat, SeatId,
};

use super::quorum::{deletes, ended, needed, place};
use super::{Facts, LintError};

impl Facts<'_> {
    /// I12, of a list that the agent changes.
    pub(super) fn roster(&self, plan: &Plan) -> Result<(), LintError> {
        let steps: Vec<&RosterStep> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Roster(step) => Some(step),
                _ => None,
            })
            .collect();
        let wrong = |what| Err(LintError::Seat(what));
        let spec = self.input.desired.spec();
        let Some(quorum) = spec.quorum.as_ref().filter(|quorum| is_kept(plan, quorum)) else {
            return match steps.first() {
                Some(_) => wrong("a membership list would be changed that is not the agent's"),
                None => Ok(()),
            };
        };
        let ended = self.ended_members(plan);
        let seats = seats(plan);
        if steps.is_empty() && ended.is_empty() && seats.is_empty() {
            return Ok(());
        }
        let Some(RosterView::Known(roster)) = self.input.roster else {
            return wrong("a member would be touched while the membership list is not clear");
        };
        if steps.len() + seats.len() > 1 || (!steps.is_empty() && self.has_open_change(plan)) {
            return wrong("the membership list would be changed twice at once");
        }
        for step in steps {
            self.change(roster, quorum, step)?;
        }
        for (member, for_good) in ended {
            let entry = place(member).and_then(|id| self.entry_of(roster, id));
            if for_good && entry.is_some() {
                return wrong("a member would be ended before it has left the membership list");
            }
        }
        for seat in seats {
            self.may_join(roster, seat)?;
        }
        Ok(())
    }

    /// Returns whether none of `members` is in the list, as far as it is clear.
    pub(super) fn are_unlisted(&self, members: &[&MemberId]) -> bool {
        let Some(RosterView::Known(roster)) = self.input.roster else {
            return false;
        };
        let mut members = members.iter();
        members.all(|id| self.entry_of(roster, id).is_none())
    }

    /// Returns whether a member is known to have no vote: it is out of the list, or a learner.
    pub(super) fn has_no_vote(&self, plan: &Plan, quorum: &QuorumSpec, member: &Member) -> bool {
        let Some(RosterView::Known(roster)) = self.input.roster else {
            return false;
        };
        is_kept(plan, quorum) && self.vote_of(roster, member).is_none()
    }

    /// Returns whether a member is known not to be able to leave the list: the others would decide nothing.
    pub(super) fn must_vote(&self, member: &Member) -> bool {
        let Some(RosterView::Known(roster)) = self.input.roster else {
            return false;
        };
        let vote = self.vote_of(roster, member);
        vote.is_some_and(|id| !holds(answering(roster, Some(id))))
    }

    /// Returns the entry of a member, if it votes.
    fn vote_of(&self, roster: &Roster, member: &Member) -> Option<EntryId> {
        let entry = place(member).and_then(|id| self.entry_of(roster, id));
        entry.filter(|id| roster.entries[id].role == EntryRole::Voter)
    }

    /// Returns the members that the plan takes out, and whether they are ended. Those that end already
    /// are only told again.
    fn ended_members(&self, plan: &Plan) -> Vec<(&Member, bool)> {
        let steps = plan.steps.iter().filter(|step| !deletes(step));
        let members = steps.filter_map(|step| {
            let member = self.world.members.get(ended(step)?)?;
            let for_good = !matches!(step.action, Action::Drain { .. });
            (member.class != InstanceClass::Terminating).then_some((member, for_good))
        });
        members.collect()
    }

    fn has_open_change(&self, plan: &Plan) -> bool {
        let closed: BTreeSet<_> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Settle(settlement) => Some(settlement.intent),
                _ => None,
            })
            .collect();
        self.open.iter().any(|(id, intent)| {
            matches!(intent.kind, IntentKind::Roster(_)) && !closed.contains(id)
        })
    }

    /// Returns the entry at the place of a member.
    fn entry_of(&self, roster: &Roster, member: &MemberId) -> Option<EntryId> {
        let here = |seat: &SeatId| seat.member == *member;
        let places = self.world.places.iter().filter(|(seat, _)| here(seat));
        let addresses: Vec<&String> = places.map(|(_, address)| address).collect();
        let mut entries = roster.entries.iter();
        let found =
            entries.find(|(_, entry)| entry.hosts.iter().any(|host| addresses.contains(&host)));
        found.map(|(id, _)| *id)
    }

    fn change(
        &self,
        roster: &Roster,
        quorum: &QuorumSpec,
        step: &RosterStep,
    ) -> Result<(), LintError> {
        let wrong = |what| Err(LintError::Seat(what));
        let no_majority = |(all, left): (usize, usize)| {
            Err(LintError::NoMajority {
                left: left as u32,
                needed: needed(all) as u32,
            })
        };
        match step.change {
            RosterChange::Add => {
                let known = step.member().and_then(|id| self.entry_of(roster, id));
                if known.is_some() {
                    return wrong("a member would be added that is in the membership list");
                }
                let learner = |entry: &drover_model::RosterEntry| entry.role == EntryRole::Learner;
                if roster.entries.values().any(learner) {
                    return wrong("a member would be added while another one does not vote yet");
                }
                Ok(())
            }
            RosterChange::Remove(id) => {
                let Some(entry) = roster.entries.get(&id) else {
                    return wrong("an entry would be removed that is not there");
                };
                let left = answering(roster, Some(id));
                if entry.role == EntryRole::Voter && !holds(left) {
                    return no_majority(left);
                }
                self.needless(roster, id)
            }
            RosterChange::Promote(id) => {
                let follows = roster.entries.get(&id);
                if follows.is_none_or(|entry| entry.role == EntryRole::Voter || !entry.started) {
                    return wrong("an entry would be promoted that does not follow");
                }
                let (all, well) = answering(roster, None);
                if well < needed(all + 1) && !quorum.allow_downtime {
                    return no_majority((all + 1, well));
                }
                Ok(())
            }
            RosterChange::HandOver { from, to } => {
                let heir = roster.entries.get(&to);
                let able = heir.is_some_and(|heir| heir.role == EntryRole::Voter && heir.answers);
                if from == roster.leader && to != from && able {
                    Ok(())
                } else {
                    wrong("leadership would be moved from or to the wrong member")
                }
            }
        }
    }

    /// An entry is removed only when its member does not serve, or was taken out of service before.
    fn needless(&self, roster: &Roster, id: EntryId) -> Result<(), LintError> {
        let mut members = self.world.members.values();
        let serving = members.any(|member| {
            let mine = place(member).and_then(|place| self.entry_of(roster, place)) == Some(id);
            mine && self.serves(member) && self.drains(member)
        });
        if serving {
            return Err(LintError::Seat(
                "a member that serves would be removed from the membership list",
            ));
        }
        Ok(())
    }

    /// An instance finds its own entry in the list, unused, and exactly the members that it is told of.
    fn may_join(&self, roster: &Roster, seat: &Seat) -> Result<(), LintError> {
        let wrong = |what| Err(LintError::Seat(what));
        let Some(id) = self.entry_of(roster, &seat.id.member) else {
            return wrong("a member would be made that is not in the membership list");
        };
        let recorded = self.input.recorded.quorum.as_ref();
        let used = recorded.is_some_and(|known| known.seated == Some(id));
        let fresh = roster
            .entries
            .get(&id)
            .is_some_and(|entry| entry.role == EntryRole::Learner && !entry.started);
        if used || !fresh {
            return wrong("a member would be made for an entry that was used");
        }
        let told: BTreeSet<_> = seat
            .members
            .iter()
            .map(|member| self.entry_of(roster, member))
            .collect();
        let listed: BTreeSet<_> = roster.entries.keys().map(|id| Some(*id)).collect();
        if told != listed || seat.bootstrap {
            return wrong("a member would be told of others than are in the membership list");
        }
        Ok(())
    }
}

/// Returns how many entries vote, and how many of those answer; `except` in neither.
fn answering(roster: &Roster, except: Option<EntryId>) -> (usize, usize) {
    let voters = roster.entries.iter();
    let voters =
        voters.filter(|(id, entry)| entry.role == EntryRole::Voter && Some(**id) != except);
    let (mut all, mut well) = (0, 0);
    for (_, entry) in voters {
        all += 1;
        well += usize::from(entry.answers);
    }
    (all, well)
}

/// Returns whether `well` of `all` voters decide something, and one could fail.
fn holds((all, well): (usize, usize)) -> bool {
    all >= 2 && well >= needed(all)
}

fn seats(plan: &Plan) -> Vec<&Seat> {
    let steps = plan.steps.iter();
    steps
        .filter_map(|step| match &step.action {
            Action::Create { seat, .. } => seat.as_deref(),
            _ => None,
        })
        .collect()
}

/// Returns whether the agent changes the list: of a group that works, unless it is a single member's.
fn is_kept(plan: &Plan, quorum: &QuorumSpec) -> bool {
    let known = plan.next.quorum.as_ref();
    let wanted = |id: &MemberId| quorum.member(id).is_some();
    let known_alone = known.is_some_and(|known| known.voters.iter().all(wanted));
    let several = quorum.members.len() > 1 || !known_alone;
    let worked = known.is_some_and(|known| known.established);
    let stays = plan.next.deleting.is_none();
    quorum.membership.keeper().is_some() && several && worked && stays
}
