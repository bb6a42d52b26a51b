//! Quorum groups: what is done to their members, one at a time, and never so that fewer than a majority
//! would be well by the agent's own doing.

use std::cmp::Reverse;

use drover_model::{
    Action, Activity, Cause, Digests, HealRevision, Held, Hold, InstanceClass, Member, MemberSpec,
    QuorumSpec, Reason, RecordedQuorum, RolloutMode, Seat, SeatId,
};

use super::council::{Council, Standing, record};
use super::draft::Draft;
use super::roster::ROSTER_LOOK;
use super::target::Fresh;
use super::{held, held_for};
use crate::time::later;

impl<'a> Draft<'a> {
    /// Runs the phases of a quorum group, from healing to the rollout.
    pub(super) fn keep_members(&mut self, quorum: &'a QuorumSpec) {
        let mut known = match record(self.input, quorum) {
            Ok(known) => known,
            Err(why) => {
                self.hold(held(Hold::QuorumUnproven { why }));
                self.size_withheld = true;
                return;
            }
        };
        let council = Council::of(
            self.input,
            &self.intents,
            quorum,
            &known,
            self.register.as_ref(),
        );
        if known.established {
            self.tend(quorum, &mut known, &council);
        } else {
            self.start(quorum, &known, &council);
        }
        let calm = council.unsettled(None).is_none()
            && self.roster_rests(&known)
            && !self.steps.iter().any(|step| step.action.mutates());
        // The number alone does not tell one member from another.
        let wanted = quorum
            .members
            .iter()
            .all(|member| known.voters.contains(&member.id));
        self.size_withheld |= !wanted || known.voters.len() != quorum.members.len();
        self.size_withheld |= !self.roster_rests(&known);
        self.explain_roster(&known);
        if self.register.is_some() {
            self.look(later(self.input.now, ROSTER_LOOK));
        }
        known.seated = self.seated.or(known.seated);
        known.calm_since = calm.then(|| known.calm_since.unwrap_or(self.input.now));
        self.next.quorum = Some(known);
    }

    /// Does the one thing that is due: brings back, replaces, takes out, adds, or updates a member.
    fn tend(&mut self, quorum: &'a QuorumSpec, known: &mut RecordedQuorum, council: &Council<'a>) {
        if let Some(held) = self.roster_withheld() {
            self.hold(held);
            return;
        }
        if self.tidy(quorum, known, council)
            || self.bring_back(quorum, known, council)
            || self.replace_bad(quorum, council, true)
        {
            return;
        }
        // With room a newcomer comes before one goes, so that the others stay as many as there should
        // be. One that is not well is of no use meanwhile.
        let room = self.total < self.resolved.ceiling && !council.unwanted_is_bad();
        let acted = (room && self.add(quorum, known, council))
            || self.take_out(quorum, known, council)
            || self.add(quorum, known, council)
            || self.replace_ordered_member(quorum, known, council)
            || self.update(quorum, known, council);
        let mut lost = known.voters.iter();
        if !acted && lost.any(|id| quorum.member(id).is_none() && council.holders(id).is_empty()) {
            // Those that nobody wants are gone with the majority, which is not talked away.
            self.hold(held_for(Reason::Heal, council.at_risk()));
        }
    }

    /// Starts the members of a group that has never worked, all of them at once: none of them can be
    /// well before a majority is there.
    fn start(&mut self, quorum: &'a QuorumSpec, known: &RecordedQuorum, council: &Council<'a>) {
        let blind = self.blind();
        for member in council.standing_in(Standing::Bad) {
            if !(blind && matches!(member.class, InstanceClass::Lost { .. })) {
                self.disrupt_or_hold(member, Reason::Heal);
            }
        }
        let missing: Vec<&MemberSpec> = quorum
            .members
            .iter()
            .filter(|member| council.holders(&member.id).is_empty())
            .collect();
        if missing.is_empty() {
            return;
        }
        let Some(digests) = self.launchable(Some(Activity::Scale)) else {
            return;
        };
        for member in missing {
            if !self.has_room() {
                return;
            }
            self.seat(quorum, known, member, &digests);
        }
    }

    /// Makes the instance of a member that has none: what is attached to it comes with it. Returns
    /// whether a member is missing, so that nothing else may be done.
    fn bring_back(
        &mut self,
        quorum: &'a QuorumSpec,
        known: &RecordedQuorum,
        council: &Council<'a>,
    ) -> bool {
        let missing: Vec<&MemberSpec> = quorum
            .members
            .iter()
            .filter(|member| known.voters.contains(&member.id))
            .filter(|member| council.holders(&member.id).is_empty())
            .collect();
        let (ghosts, free): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|member| self.has_ghost(&member.id, known));
        // One that was added comes before others: there is one learner at a time.
        let added = free
            .iter()
            .find(|member| self.is_awaited(&member.id, known));
        let Some(first) = added.or(free.first()) else {
            let waits = ghosts.first();
            return waits.is_some_and(|ghost| self.unblock(ghost, quorum, council));
        };
        // Those that nobody wants any more count, too: a majority is never made anew.
        let lost = council.absent() > council.tolerance();
        let blank = first.attachments.is_empty() && !council.is_quorate();
        if (lost || blank) && !quorum.allow_downtime {
            self.hold(held_for(Reason::Heal, council.at_risk()));
            return true;
        }
        if let Some(why) = council.in_transition(None) {
            self.hold(held_for(Reason::Heal, Hold::QuorumUnsettled { why }));
            return true;
        }
        if let Some(held) = self.withheld(Reason::Heal) {
            self.hold(held);
            return true;
        }
        if self.total >= self.resolved.ceiling {
            let useless = council.unwanted_is_bad() || !self.replace_bad(quorum, council, false);
            if useless {
                self.make_room(quorum, council);
            }
        } else if let Some(digests) = self.launchable(None)
            && self.has_room_this_hour()
        {
            self.seat(quorum, known, first, &digests);
        }
        true
    }

    /// Replaces whoever is out of the membership list with a bad instance still at its place: the entry of
    /// `ghost`, who is missing, goes only after that, one at a time. Returns true: nothing else may be done.
    fn unblock(
        &mut self,
        ghost: &MemberSpec,
        quorum: &'a QuorumSpec,
        council: &Council<'a>,
    ) -> bool {
        if !self.replace_bad(quorum, council, true)
            && let Some(other) = self.out_of_list(&ghost.id)
        {
            let why = format!("{other} is not in the membership list");
            self.hold(held_for(Reason::Heal, Hold::QuorumUnsettled { why }));
        }
        true
    }

    /// Takes out a member that nobody wants for one that is missing: the group has grown smaller since.
    fn make_room(&mut self, quorum: &QuorumSpec, council: &Council<'a>) {
        let Some(member) = council.unwanted().first().copied() else {
            self.has_room();
            return;
        };
        if let Some(leaving) = self.leaving.keys().next() {
            let why = format!("{leaving} is drained and cannot be spared yet");
            self.hold(held_for(Reason::ScaleIn, Hold::QuorumUnsettled { why }));
            return;
        }
        if council.survives(member) || quorum.allow_downtime {
            self.disrupt_or_hold(member, Reason::ScaleIn);
        } else {
            self.hold(held_for(Reason::Heal, council.at_risk()));
        }
    }

    /// Takes out a bad member, so that it can be made again; `in_turn` only while no other one is out of
    /// the membership list. Returns whether one is bad, so that nothing else may be done.
    fn replace_bad(
        &mut self,
        quorum: &'a QuorumSpec,
        council: &Council<'a>,
        in_turn: bool,
    ) -> bool {
        let mut bad = council.standing_in(Standing::Bad);
        // One that nobody wants is taken out, not replaced.
        bad.retain(|member| council.is_wanted(member));
        let protected = self.pass_by(&mut bad, Reason::Heal) > 0;
        bad.sort_by_key(|member| {
            let listed = self.is_listed(member);
            (listed, surety(&member.class), member.created_at)
        });
        if self.blind() && bad.iter().any(|member| lost(member)) {
            self.hold(held_for(Reason::Heal, Hold::AllUnknown));
            bad.retain(|member| !lost(member));
        }
        let Some(member) = bad.first() else {
            return protected;
        };
        let seat = member.seat.as_ref().filter(|_| in_turn);
        let other = seat.and_then(|seat| self.out_of_list(&seat.member));
        let waits = other.map(|other| format!("{other} is not in the membership list"));
        if let Some(why) = council.in_transition(None).or(waits) {
            self.hold(held_for(Reason::Heal, Hold::QuorumUnsettled { why }));
        } else if council.is_quorate() || quorum.allow_downtime {
            self.disrupt_or_hold(member, Reason::Heal);
        } else {
            self.hold(held_for(Reason::Heal, council.at_risk()));
        }
        true
    }

    /// Takes out a member that the document does not have. Returns whether there is one.
    fn take_out(
        &mut self,
        quorum: &'a QuorumSpec,
        known: &RecordedQuorum,
        council: &Council<'a>,
    ) -> bool {
        let Some(member) = council.unwanted().first().copied() else {
            return false;
        };
        if let Some(held) = self.over_limit() {
            self.hold(held);
            self.size_withheld = true;
        } else {
            self.disrupt_in_turn(member, Reason::ScaleIn, quorum, known, council);
        }
        true
    }

    /// Starts a member that the document has and the group not yet. Returns whether there is one.
    fn add(
        &mut self,
        quorum: &'a QuorumSpec,
        known: &mut RecordedQuorum,
        council: &Council<'a>,
    ) -> bool {
        let mut new = quorum.members.iter();
        let Some(member) = new.find(|member| !known.voters.contains(&member.id)) else {
            return false;
        };
        // Once it is in the membership list, the rest follows.
        let awaited = self.is_awaited(&member.id, known);
        // Who is drained and cannot be spared waits for just that, and is not well itself.
        let early = self.too_early(quorum, known, council, council.kept_drained());
        if let Some(held) = early.filter(|_| !awaited) {
            self.hold(held);
        } else if !council.survives_newcomer() && !quorum.allow_downtime {
            self.hold(held(council.at_risk()));
        } else if let Some(digests) = self.launchable(Some(Activity::Scale))
            && self.has_room()
        {
            let made = self.total;
            self.seat(quorum, known, member, &digests);
            if self.total > made {
                known.voters.insert(member.id.clone());
            }
        }
        true
    }

    /// Takes out an outdated member, so that it is made again from the target: the leader last.
    fn update(
        &mut self,
        quorum: &'a QuorumSpec,
        known: &RecordedQuorum,
        council: &Council<'a>,
    ) -> bool {
        let mut outdated = council.staying();
        outdated.retain(|member| !self.current(member));
        self.pass_by(&mut outdated, Reason::Update);
        outdated.sort_by_key(|member| {
            let order = council.position(member);
            (council.leads(member), member.busy, Reverse(order))
        });
        let Some(member) = outdated.first() else {
            return false;
        };
        if let Some(cause) = self.pause() {
            self.hold(held_for(Reason::Update, Hold::RolloutPaused(cause)));
        } else if self.spec.rollout.mode != RolloutMode::Proactive {
            let mode = self.spec.rollout.mode;
            self.hold(held_for(Reason::Update, Hold::NotProactive { mode }));
        } else if let Some(held) = self.launch_withheld(&self.target) {
            // While launches wait there will be no replacement, so nothing is retired for it.
            self.hold(held);
        } else {
            self.disrupt_in_turn(member, Reason::Update, quorum, known, council);
        }
        true
    }

    /// Takes a member out on purpose, if it is the time for that and enough are left.
    pub(super) fn disrupt_in_turn(
        &mut self,
        member: &'a Member,
        reason: Reason,
        quorum: &QuorumSpec,
        known: &RecordedQuorum,
        council: &Council<'a>,
    ) {
        if let Some(held) = self.withheld(reason) {
            self.hold(held);
        } else if !council.is_quorate() && !quorum.allow_downtime {
            self.hold(held_for(reason, council.at_risk()));
        } else if let Some(early) = self.too_early(quorum, known, council, Some(member)) {
            self.hold(Held {
                reason: Some(reason),
                ..early
            });
        } else if !council.survives(member) && !quorum.allow_downtime {
            self.hold(held_for(reason, council.at_risk()));
        } else if let Some(held) = self.refusal_to_replace(member, reason) {
            self.hold(held);
        } else if !self.steps_down(member, reason) {
            self.disrupt(member, reason);
        }
    }

    /// Lets another member lead before one that leads is taken out. Returns whether that is due.
    fn steps_down(&mut self, member: &Member, reason: Reason) -> bool {
        let seat = member.seat.as_ref();
        seat.is_some_and(|seat| self.hand_over(&seat.member, Cause::Because(reason)))
    }

    fn disrupt_or_hold(&mut self, member: &'a Member, reason: Reason) {
        match self.refusal(member, reason) {
            None => self.disrupt(member, reason),
            Some(held) => self.hold(held),
        }
    }

    /// Returns why nothing voluntary may begin yet, `subject` apart.
    fn too_early(
        &self,
        quorum: &QuorumSpec,
        known: &RecordedQuorum,
        council: &Council<'a>,
        subject: Option<&Member>,
    ) -> Option<Held> {
        // One that is not well itself keeps the group from ever being calm, and others may be as it is.
        // What may recover is no reason to hurry: taken out beside another one, it would be missed.
        let standing = subject.map_or(Standing::Well, |member| council.standing(member));
        let drained = subject.is_some_and(|member| member.drain.is_some());
        let well = standing == Standing::Well && !drained;
        let why = if standing == Standing::Well || standing == Standing::Doubtful {
            council.unsettled(subject)
        } else {
            council.in_transition(subject)
        };
        if let Some(why) = why {
            return Some(held(Hold::QuorumUnsettled { why }));
        }
        let since = known.calm_since.unwrap_or(self.input.now);
        let until = later(since, quorum.stabilize);
        (well && until > self.input.now).then(|| Held {
            until: Some(until),
            ..held(Hold::QuorumUnsettled {
                why: "every member must be well for `quorum.stabilize` first".to_owned(),
            })
        })
    }

    /// Returns what an instance may be made from now. None: a hold says why not.
    pub(super) fn launchable(&mut self, activity: Option<Activity>) -> Option<Digests> {
        let grows = activity == Some(Activity::Scale);
        let withheld = activity
            .and_then(|activity| self.suspended(activity))
            .or_else(|| self.dependency().filter(|_| grows));
        if let Some(held) = withheld {
            self.hold(held);
            return None;
        }
        let mut digests = match self.fresh.clone() {
            Fresh::Target => self.target.clone(),
            Fresh::Stable(stable) => stable,
            Fresh::Nothing(held) => {
                self.hold(held);
                return None;
            }
        };
        if self.spec.heal_revision() == HealRevision::Current {
            digests = self.last_good().unwrap_or(digests);
        }
        if let Some(held) = self.launch_withheld(&digests) {
            self.hold(held);
            return None;
        }
        Some(digests)
    }

    fn has_room(&mut self) -> bool {
        if self.total >= self.resolved.ceiling {
            let ceiling = self.resolved.ceiling;
            self.hold(held(Hold::SurgeExhausted { ceiling }));
            return false;
        }
        self.has_room_this_hour()
    }

    /// Returns whether one more instance may be made within the hour.
    fn has_room_this_hour(&mut self) -> bool {
        let (room, held) = self.create_room(Cause::ScaleOut);
        if room == 0 {
            self.hold(held);
        }
        room > 0
    }

    /// Makes the instance that takes the place of `member`, which nothing holds.
    fn seat(
        &mut self,
        quorum: &QuorumSpec,
        known: &RecordedQuorum,
        member: &MemberSpec,
        digests: &Digests,
    ) {
        let Some(template) = self.template(digests) else {
            return;
        };
        let Some(members) = self.enrolled(quorum, known, member) else {
            return;
        };
        let seat = Seat {
            id: SeatId {
                life: known.life.clone(),
                member: member.id.clone(),
            },
            members,
            bootstrap: !known.established,
            attachments: member.attachments.clone(),
        };
        let made_from = (digests, &template);
        self.launch(1, None, made_from, Some(Box::new(seat)), Cause::ScaleOut);
    }

    /// Returns the hold for ending `member` although too few others are well: what held when its
    /// drain began may hold no more.
    pub(super) fn endangers(&self, member: &Member, reason: Option<Reason>) -> Option<Held> {
        let quorum = self.spec.quorum.as_ref()?;
        if reason == Some(Reason::Delete) || quorum.allow_downtime {
            return None;
        }
        let known = record(self.input, quorum).ok()?;
        let council = Council::of(
            self.input,
            &self.intents,
            quorum,
            &known,
            self.register.as_ref(),
        );
        // Two whose drains are over must not be ended in one plan, each as though the other stayed.
        let ended = self.steps.iter().filter_map(|step| match &step.action {
            Action::Destroy { instance, .. } => self.input.classified.members.get(instance),
            _ => None,
        });
        let gone: Vec<&Member> = ended.chain([member]).collect();
        (known.established && !council.survives_without(&gone)).then(|| Held {
            reason,
            instance: Some(member.id.clone()),
            ..held(council.at_risk())
        })
    }
}

fn lost(member: &Member) -> bool {
    matches!(member.class, InstanceClass::Lost { .. })
}

/// Returns how sure it is that a bad member is bad: the smaller, the surer.
fn surety(class: &InstanceClass) -> u8 {
    match class {
        InstanceClass::Exited(_) | InstanceClass::Failed { .. } => 0,
        InstanceClass::Unhealthy { .. } => 1,
        InstanceClass::Lost { .. } => 2,
        InstanceClass::Terminating
        | InstanceClass::Suspect { .. }
        | InstanceClass::Starting
        | InstanceClass::Warming
        | InstanceClass::Available => 3,
    }
}
