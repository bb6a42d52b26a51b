//! Changes of the membership list of a quorum group's program: who leaves before its instance ends, who
//! is added before one is made, what nobody needs. One change at a time, and each is settled by the list
//! before the next.

use std::time::Duration;

use drover_model::{
    Action, Activity, Cause, EntryId, EntryRole, Held, Hold, InstanceClass, Intent, IntentKind,
    IntentState, Member, MemberId, MemberSpec, QuorumSpec, Reason, RecordedQuorum, RosterChange,
    RosterStep, SeatId, SettlementOutcome,
};

use super::council::{Council, Standing};
use super::draft::{Course, Draft, RosterChanges};
use super::register::{Entries, Register};
use super::{held, held_for};
use crate::time::later;

/// A change that was refused is tried again after this time: etcd refuses changes for five seconds after
/// a member has started.
const RETRY: Duration = Duration::from_secs(5);

/// A change that has no answer, and that the list does not show after this time, has had no effect: the
/// programs give up on what they were asked long before.
const SETTLES: Duration = Duration::from_secs(30);

/// The list is asked for at least this often: somebody else may change it.
pub(super) const ROSTER_LOOK: Duration = Duration::from_secs(15);

impl<'a> Draft<'a> {
    /// Closes the changes of the list that the list shows, or that came to nothing.
    pub(super) fn settle_roster(&mut self) {
        for intent in self.intents.roster.clone() {
            match self.roster_outcome(intent) {
                Ok(outcome) => self.close(intent.id, outcome),
                Err(due) => {
                    self.changes = RosterChanges::Open;
                    if let Some(due) = due {
                        self.wake(due);
                    }
                }
            }
        }
    }

    /// Returns how a change ended; else when that is decided at the latest, where time decides it.
    fn roster_outcome(
        &self,
        intent: &Intent,
    ) -> Result<SettlementOutcome, Option<drover_model::Timestamp>> {
        let IntentKind::Roster(step) = &intent.kind else {
            return Ok(SettlementOutcome::Superseded);
        };
        let register = match &self.register {
            Some(register) if self.course != Course::Removes => register,
            // The list is nobody's concern any more.
            Some(_) | None => return Ok(SettlementOutcome::Superseded),
        };
        match &intent.state {
            IntentState::Intended => Ok(SettlementOutcome::Superseded),
            IntentState::Failed { at, .. } => {
                let due = later(*at, RETRY);
                if self.input.now >= due {
                    Ok(SettlementOutcome::NoEffect)
                } else {
                    Err(Some(due))
                }
            }
            IntentState::Sent | IntentState::Acked { .. } => {
                let Register::Known(entries) = register else {
                    return Err(None);
                };
                let due = later(intent.issued_at, SETTLES);
                if shows(entries, step) {
                    Ok(SettlementOutcome::Observed)
                } else if self.input.now >= due {
                    Ok(SettlementOutcome::NoEffect)
                } else {
                    Err(Some(due))
                }
            }
        }
    }

    /// Returns why neither the list nor a member may be touched now.
    pub(super) fn roster_withheld(&self) -> Option<Held> {
        let begun = |step: &drover_model::Step| matches!(step.action, Action::Roster(_));
        match self.register.as_ref()? {
            Register::Unclear(why) => Some(held(Hold::MembershipUnclear { why: why.clone() })),
            Register::Known(_)
                if self.changes == RosterChanges::Open || self.steps.iter().any(begun) =>
            {
                let why = "a change of the membership list is not settled".to_owned();
                Some(held(Hold::QuorumUnsettled { why }))
            }
            Register::Known(_) => None,
        }
    }

    /// Returns whether the list is as it should be, so that the group may rest. Without a list it is.
    pub(super) fn roster_rests(&self, known: &RecordedQuorum) -> bool {
        match &self.register {
            None => true,
            Some(Register::Unclear(_)) => false,
            Some(Register::Known(entries)) => {
                self.changes == RosterChanges::Settled && entries.unsettled(known).is_none()
            }
        }
    }

    /// Says why the group does not rest, where nothing is done about it and nothing else says so.
    pub(super) fn explain_roster(&mut self, known: &RecordedQuorum) {
        let unsettled = |held: &Held| matches!(held.hold, Hold::QuorumUnsettled { .. });
        let told = self.holds.iter().any(unsettled);
        let acts = self.steps.iter().any(|step| step.action.mutates());
        let entries = self.register.as_ref().and_then(Register::known);
        let why = entries.and_then(|entries| entries.unsettled(known));
        if let Some(why) = why.filter(|_| !told && !acts) {
            self.hold(held(Hold::QuorumUnsettled { why }));
        }
    }

    /// Returns whether a member may be ended, as far as the list goes: whoever is in it leaves first, and
    /// whoever leads hands that over before.
    pub(super) fn has_left(&mut self, member: &Member, cause: Cause) -> bool {
        let Some(seat) = member.seat.clone() else {
            return true;
        };
        let ending = member.class == InstanceClass::Terminating;
        if self.register.is_none() || cause == Cause::Because(Reason::Delete) || ending {
            return true;
        }
        let of_member = |held: Held| Held {
            instance: Some(member.id.clone()),
            ..held
        };
        if let Some(held) = self.roster_withheld() {
            self.hold(of_member(held));
            return false;
        }
        let Some(Register::Known(entries)) = &self.register else {
            return true;
        };
        let Some((entry, _)) = entries.entry(&seat.member) else {
            return true;
        };
        if self.hand_over(&seat.member, cause) {
            return false;
        }
        self.remove_entry(entry, Some(seat), cause);
        false
    }

    /// Returns a member of the document, other than `except`, that was taken out of the list and is not
    /// in it again: one at a time is, or the list would shrink to those that happen to work.
    pub(super) fn out_of_list(&self, except: &MemberId) -> Option<MemberId> {
        let entries = self.register.as_ref().and_then(Register::known)?;
        let quorum = self.spec.quorum.as_ref()?;
        let voters = &self.input.recorded.quorum.as_ref()?.voters;
        let mut wanted = quorum.members.iter().map(|member| &member.id);
        wanted
            .find(|id| *id != except && voters.contains(*id) && entries.entry(id).is_none())
            .cloned()
    }

    /// Returns whether the list has an entry at the place of `member`, as far as it is known.
    pub(super) fn is_listed(&self, member: &Member) -> bool {
        let entries = self.register.as_ref().and_then(Register::known);
        let (Some(entries), Some(seat)) = (entries, &member.seat) else {
            return true;
        };
        entries.entry(&seat.member).is_some()
    }

    /// Returns whether the list has an entry of `member` that no instance may be made for.
    pub(super) fn has_ghost(&self, member: &MemberId, known: &RecordedQuorum) -> bool {
        let entries = self.register.as_ref().and_then(Register::known);
        entries.is_some_and(|entries| {
            entries.entry(member).is_some() && !entries.is_fresh(member, known)
        })
    }

    /// Lets another member lead, if `member` does and another one can. Returns whether that is due.
    pub(super) fn hand_over(&mut self, member: &MemberId, cause: Cause) -> bool {
        let Some(entries) = self.register.as_ref().and_then(Register::known) else {
            return false;
        };
        if !entries.leads(member) {
            return false;
        }
        let from = entries.leader();
        let heir = entries.held().find(|(other, id, entry)| {
            *id != from && entry.votes() && entry.answers && self.remains(other)
        });
        let Some((_, to, _)) = heir else {
            return false;
        };
        let change = RosterChange::HandOver { from, to };
        let at = entries.ask(None);
        self.change_roster(at, self.seat_of(member), change, cause);
        true
    }

    /// Returns whether an instance stays at the place of `member`.
    fn remains(&self, member: &MemberId) -> bool {
        self.live().any(|one| {
            let seat = one.seat.as_ref();
            seat.is_some_and(|seat| seat.member == *member) && one.class == InstanceClass::Available
        })
    }

    fn seat_of(&self, member: &MemberId) -> Option<SeatId> {
        let mut places = self.input.classified.places.keys();
        places.find(|seat| seat.member == *member).cloned()
    }

    /// Takes an entry out of the list, where a majority of the others is left that answers.
    fn remove_entry(&mut self, entry: EntryId, seat: Option<SeatId>, cause: Cause) {
        let Some(entries) = self.register.as_ref().and_then(Register::known) else {
            return;
        };
        if entries.survives_removal(entry) {
            let at = entries.ask(Some(entry));
            self.change_roster(at, seat, RosterChange::Remove(entry), cause);
        } else {
            let risk = entries.at_risk();
            let reason = match cause {
                Cause::Because(reason) => Some(reason),
                Cause::ScaleOut
                | Cause::FailedLaunch
                | Cause::Completed
                | Cause::FollowUp
                | Cause::KeptOver
                | Cause::Adoption => None,
            };
            self.hold(Held {
                reason,
                ..held(risk)
            });
        }
    }

    fn change_roster(
        &mut self,
        at: Option<&'a str>,
        seat: Option<SeatId>,
        change: RosterChange,
        cause: Cause,
    ) {
        let Some(entries) = self.register.as_ref().and_then(Register::known) else {
            return;
        };
        let Some(at) = at else {
            let why = "no member is there to ask for a change of it".to_owned();
            self.hold(held(Hold::MembershipUnclear { why }));
            return;
        };
        let action = Action::Roster(RosterStep {
            keeper: entries.keeper,
            at: at.to_owned(),
            seat,
            change,
        });
        self.step(action, cause, Vec::new());
    }

    /// Takes out the entries that nobody needs, and lets those vote that follow well. Returns whether
    /// there is one, so that nothing else may be done.
    pub(super) fn tidy(
        &mut self,
        quorum: &QuorumSpec,
        known: &RecordedQuorum,
        council: &Council<'a>,
    ) -> bool {
        let Some(entries) = self.register.as_ref().and_then(Register::known) else {
            return false;
        };
        if let Some(stray) = entries.strays().first().copied() {
            match self.suspended(Activity::Gc) {
                Some(held) => self.hold(held),
                None => self.remove_entry(stray, None, Cause::FailedLaunch),
            }
            return true;
        }
        let empty = entries.held().find(|(member, _, entry)| {
            // A newcomer waits for those that were there before: there is one learner at a time.
            let turn = known.voters.contains(member) || self.out_of_list(member).is_none();
            let wanted = quorum.member(member).is_some();
            let awaited = entries.is_fresh(member, known) && wanted && turn;
            // What has no vote makes the list no shorter, and is in the way of who is to come back.
            let in_turn = !entry.votes() || self.out_of_list(member).is_none();
            council.holders(member).is_empty() && !awaited && in_turn
        });
        if let Some((member, ghost, _)) = empty {
            let seat = self.seat_of(member);
            match self.withheld(Reason::Heal) {
                Some(held) => self.hold(held),
                None => self.remove_entry(ghost, seat, Cause::Because(Reason::Heal)),
            }
            return true;
        }
        let follower = entries.held().find(|(member, _, entry)| {
            let there = |(_, standing): &(&Member, Standing)| *standing == Standing::Coming;
            let comes = council.holders(member).iter().any(there);
            entry.role == EntryRole::Learner && entry.started && entry.answers && comes
        });
        let Some((member, follower, _)) = follower else {
            return false;
        };
        if entries.survives_promotion() || quorum.allow_downtime {
            let (seat, at) = (self.seat_of(member), entries.ask(None));
            let change = RosterChange::Promote(follower);
            self.change_roster(at, seat, change, Cause::FollowUp);
        } else {
            let risk = entries.at_risk();
            self.hold(held_for(Reason::Heal, risk));
        }
        true
    }

    /// Returns the members that an instance for `member` finds in the list. None: it has no entry that an
    /// instance may be made for, and the one thing that is due was done about it.
    pub(super) fn enrolled(
        &mut self,
        quorum: &QuorumSpec,
        known: &RecordedQuorum,
        member: &MemberSpec,
    ) -> Option<Vec<MemberId>> {
        let Some(Register::Known(entries)) = &self.register else {
            return Some(quorum.members.iter().map(|one| one.id.clone()).collect());
        };
        if entries.is_fresh(&member.id, known) {
            self.seated = entries.entry(&member.id).map(|(id, _)| id);
            return Some(entries.members(quorum));
        }
        let learner = |(_, _, entry): (_, _, &drover_model::RosterEntry)| !entry.votes();
        if entries.entry(&member.id).is_some() || entries.held().any(learner) {
            let why = "another entry of the membership list does not vote yet".to_owned();
            self.hold(held(Hold::QuorumUnsettled { why }));
            return None;
        }
        let seat = SeatId {
            life: known.life.clone(),
            member: member.id.clone(),
        };
        let at = entries.ask(None);
        self.change_roster(at, Some(seat), RosterChange::Add, Cause::ScaleOut);
        None
    }

    /// Returns whether `member` waits for its instance: its entry was added.
    pub(super) fn is_awaited(&self, member: &MemberId, known: &RecordedQuorum) -> bool {
        let entries = self.register.as_ref().and_then(Register::known);
        entries.is_some_and(|entries| entries.is_fresh(member, known))
    }
}

/// Returns whether the list shows what a change was to do.
fn shows(entries: &Entries<'_>, step: &RosterStep) -> bool {
    match step.change {
        RosterChange::Add => {
            let mut member = step.member().into_iter();
            member.any(|member| entries.entry(member).is_some())
        }
        RosterChange::Remove(entry) => entries.votes(entry).is_none(),
        RosterChange::Promote(entry) => entries.votes(entry) != Some(false),
        RosterChange::HandOver { from, .. } => entries.leader() != from,
    }
}
