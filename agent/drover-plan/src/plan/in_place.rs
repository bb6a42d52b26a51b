//! Changing outdated instances in place, where the provider declares their fields as `live` or
//! `restart`: what is needed, what is begun, and what becomes of it.
//!
//! What restarts is out of service, and comes back: it counts as staying, so that nothing is made in
//! its place, and as being on its way out, so that it takes from every limit that an end would.

use std::time::Duration;

use drover_model::{
    Action, Cause, Digests, DrainProgress, ErrorClass, FieldClass, Held, Hold, InPlace,
    InPlaceUpdate, InstanceClass, InstanceId, Intent, IntentKind, IntentState, Member,
    OnDrainTimeout, Reason, SettlementOutcome, Step, Token,
};

use super::admit::{DESTROY_GRACE, observed};
use super::draft::Draft;
use super::follow_up::{DECIDE_ANEW, UNFINISHED_TOLD, failed};
use super::held_for;
use super::target::Fresh;
use crate::numbers::serves;
use crate::restarts;
use crate::time::{elapsed, later};

/// A change in place that the provider could not begin is decided anew after this time.
const UPDATE_RETRY: Duration = Duration::from_secs(15);

/// One that it refused for its credentials is decided anew after this time: somebody has to mend that first.
const UPDATE_REFUSED_RETRY: Duration = Duration::from_mins(5);

/// A change in place that the provider accepted and that shows no effect is repeated after this time;
/// the call is idempotent.
const UPDATE_REPEAT: Duration = Duration::from_mins(10);

impl<'a> Draft<'a> {
    /// Returns what makes `member` one of the target. Members of a quorum are always replaced, and so
    /// is everybody in a rollout in which the provider refused to change one in place.
    pub(super) fn needs(&self, member: &Member) -> FieldClass {
        let drift = &self.input.decisions.drift;
        let needs = drift.needs(&member.digests, &self.target);
        let in_place = matches!(needs, FieldClass::Live | FieldClass::Restart);
        if in_place && (member.seat.is_some() || self.update_refused().is_some()) {
            FieldClass::Replace
        } else {
            needs
        }
    }

    /// Returns what the provider said when it refused to change instances in place.
    pub(super) fn update_refused(&self) -> Option<&String> {
        // The next rollout is not there yet while it is tracked.
        let rollouts = [&self.next.rollout, &self.input.recorded.rollout];
        let current = rollouts.into_iter().flatten();
        let mut current = current.filter(|rollout| rollout.target == self.target);
        current.find_map(|rollout| rollout.refused.as_ref())
    }

    /// Returns whether every property of the provider is changed as its instances run, as those of a scaling group that it
    /// drives as one: one that it refuses to change says that the template is wrong, and not that it wants another instance.
    pub(super) fn changes_all_live(&self) -> bool {
        let mut classes = self.input.provider.classes.values();
        let live = |class: &FieldClass| matches!(class, FieldClass::Live | FieldClass::Ignore);
        classes.len() > 0 && classes.all(live)
    }

    /// Returns what such a provider said when it refused to change an instance to the target.
    pub(super) fn live_rejection(&self) -> Option<String> {
        if !self.changes_all_live() {
            return None;
        }
        let mut updates = self.intents.updates.values().flatten();
        updates.find_map(|intent| {
            let IntentKind::Update(change) = &intent.kind else {
                return None;
            };
            let IntentState::Failed {
                class: ErrorClass::InvalidSpec,
                message,
                ..
            } = &intent.state
            else {
                return None;
            };
            let of_target = change.how == InPlace::Live && change.digests == self.target;
            of_target.then(|| message.clone())
        })
    }

    /// Returns the hold for a member that needs more for being outdated than the document allows.
    pub(super) fn over_action(&self, member: &Member) -> Option<Held> {
        let needs = self.needs(member);
        let allowed = self.spec.rollout.action_max;
        (needs > allowed).then(|| held_for(Reason::Update, Hold::MaxAction { needs, allowed }))
    }

    /// Returns whether an outdated member may be replaced for being outdated.
    pub(super) fn may_replace(&self) -> bool {
        self.spec.rollout.action_max == FieldClass::Replace
    }

    /// Returns how an outdated member that may be changed gets the target. None: it is replaced. What
    /// does not run, or cannot be reached, is healed by being replaced; but what is changed as it runs is there.
    pub(super) fn in_place(&self, member: &Member) -> Option<InPlace> {
        let runs = match member.class {
            InstanceClass::Terminating
            | InstanceClass::Exited(_)
            | InstanceClass::Failed { .. } => false,
            InstanceClass::Lost { .. } => member.update == Some(InPlace::Live),
            InstanceClass::Unhealthy { .. }
            | InstanceClass::Suspect { .. }
            | InstanceClass::Starting
            | InstanceClass::Warming
            | InstanceClass::Available => true,
        };
        // What the provider is about to take is replaced anyway.
        let runs = runs && !self.is_doomed(member);
        match self.needs(member) {
            FieldClass::Live if runs => Some(InPlace::Live),
            FieldClass::Restart if runs => Some(InPlace::Restart),
            FieldClass::Live | FieldClass::Restart | FieldClass::Ignore | FieldClass::Replace => {
                None
            }
        }
    }

    /// Returns whether a member serves with the target, and has for as long as a newcomer must.
    pub(super) fn proves_target(&self, member: &Member) -> bool {
        serves(member) && self.current(member) && !self.settles(member)
    }

    /// Returns whether a change in place of `member` is not in effect yet, or only just.
    pub(super) fn settles(&self, member: &Member) -> bool {
        let proved = member
            .changed_at
            .map(|at| later(at, self.spec.rollout.min_ready));
        member.update.is_some()
            || self.changing.contains(&member.id)
            || proved.is_some_and(|at| self.input.now < at)
    }

    /// Returns whether it is not known yet what came of a change of `member` in place. One that is overtaken keeps
    /// nothing else away.
    pub(super) fn is_changing(&self, member: &Member) -> bool {
        let intents = self.intents.updates.get(&member.id);
        let mut intents = intents.into_iter().flatten();
        let repeated = |intent: &Intent| {
            let same = |step: &Step| matches!(step.action, Action::Resend { intent: id } if id == intent.id);
            self.steps.iter().any(same)
        };
        intents.any(|intent| {
            let open = !self.is_settled(intent);
            open && (!self.is_overtaken(intent) || repeated(intent))
        })
    }

    /// Returns whether nobody waits any more for a change without an interruption, though nothing shows it: the
    /// provider took it, and another template is asked for, or another change was taken after it.
    ///
    /// What a provider took may take hours, or come to nothing. Until another change is taken, this one says what the
    /// instance is becoming, also where the way leads back to what the listing still shows.
    fn is_overtaken(&self, intent: &Intent) -> bool {
        let IntentKind::Update(InPlaceUpdate { digests, .. }) = &intent.kind else {
            return false;
        };
        let unwanted = !self.counts_as_current(digests);
        is_taken_live(intent) && (unwanted || self.is_followed(intent))
    }

    /// Returns whether a later change of the same instance was taken, or has happened.
    fn is_followed(&self, intent: &Intent) -> bool {
        let IntentKind::Update(InPlaceUpdate { instance, .. }) = &intent.kind else {
            return false;
        };
        let of_it = self.intents.updates.get(instance).into_iter().flatten();
        let mut later = of_it.filter(|other| other.id > intent.id);
        later
            .any(|other| matches!(other.state, IntentState::Acked { .. }) || self.is_settled(other))
    }

    /// Counts the members that come back with another template than the target.
    pub(super) fn returning_outdated(&self) -> u32 {
        let with = self.returning.values().flatten();
        with.filter(|digests| !self.counts_as_current(digests))
            .count() as u32
    }

    /// Returns whether what was made above the size stands in for one that restarts.
    pub(super) fn stand_in_needed(&self) -> bool {
        !self.returning.is_empty() || self.live().any(|member| self.is_back_soon(member))
    }

    /// Returns whether a member was restarted or changed, and does not serve for long enough yet.
    pub(super) fn is_back_soon(&self, member: &Member) -> bool {
        recovers(member) || self.settles(member)
    }

    /// Returns the same of what the rollout restarts: what people have restarted is no part of it.
    pub(super) fn rollout_stands_in(&self) -> bool {
        let of_rollout = |id: &InstanceId| !self.restarts_for_people(id);
        self.returning.keys().any(|id| of_rollout(id))
            || self
                .live()
                .any(|member| self.is_back_soon(member) && of_rollout(&member.id))
    }

    /// Returns how many more instances above the size are wanted to stand in for those that restart.
    ///
    /// Only where nothing may be missing: then one that serves can only restart while another one
    /// serves in its place. At most one for two, or they would be a replacement.
    pub(super) fn stand_ins(&self, outdated: &[&Member]) -> u32 {
        let restarts = outdated
            .iter()
            .filter(|member| serves(member) && self.in_place(member) == Some(InPlace::Restart));
        let restarts = restarts.count() as u32;
        if self.update_floor() < self.resolved.size || restarts == 0 {
            return 0;
        }
        // What was made for those that are replaced goes with them. What takes the place of those that
        // the provider is about to take is no surplus in the first place.
        let replaced = outdated
            .iter()
            .filter(|one| one.interruption.is_none() && self.in_place(one).is_none());
        let surplus = self.surplus_beside_doomed();
        let surplus = surplus.saturating_sub(replaced.count() as u32);
        let wanted = self.resolved.surge.min(restarts.div_ceil(2));
        wanted.saturating_sub(surplus)
    }

    /// Returns how many instances there are above the size, and beside those that the provider is about
    /// to take: what takes their places does not stand in for others.
    pub(super) fn surplus_beside_doomed(&self) -> u32 {
        let doomed = self.doomed().count() as u32;
        self.live_count()
            .saturating_sub(self.resolved.size + doomed)
    }

    /// Changes a member without an interruption.
    pub(super) fn change_live(&mut self, member: &'a Member) {
        self.change(member, InPlace::Live);
        self.changing.insert(&member.id);
    }

    /// Adds the step that changes a member in place.
    pub(super) fn change(&mut self, member: &Member, how: InPlace) {
        let input = self.input;
        let update = Token::of_update(
            input.fleet,
            &self.next.uid,
            input.epoch,
            &member.id,
            &self.target,
            input.now,
        );
        let target = self.target.clone();
        self.change_to(member, how, (target, update), Reason::Update);
    }

    /// Adds the step that gives a member `digests` in place, by a call with the token `update`.
    pub(super) fn change_to(
        &mut self,
        member: &Member,
        how: InPlace,
        (digests, update): (Digests, Token),
        reason: Reason,
    ) {
        let (Some(provider_ref), Some(token)) = (&member.provider_ref, &member.token) else {
            return;
        };
        let Some(template) = self.template(&digests) else {
            return;
        };
        let action = Action::Update(InPlaceUpdate {
            instance: member.id.clone(),
            provider_ref: provider_ref.clone(),
            token: token.clone(),
            update,
            how,
            digests,
            zone: member.zone.clone(),
            template,
            grace: DESTROY_GRACE,
        });
        let preconditions = observed(member).into_iter().collect();
        self.step(action, Cause::Because(reason), preconditions);
    }

    /// Restarts a member that was drained for it. What the drain was for may have gone meanwhile: then
    /// it is ended, as a drained instance takes up no work again.
    pub(super) fn restart_drained(&mut self, member: &'a Member, drain: &DrainProgress) {
        let ended = matches!(member.class, InstanceClass::Exited(_));
        if ended || failed(member) {
            self.give_up(member, drain.reason);
            return;
        }
        // It is on its way, or was refused: then it is decided anew once that is closed.
        if self.is_changing(member) {
            return;
        }
        if !drain.done && self.input.now < drain.deadline {
            self.wake(drain.deadline);
            return;
        }
        if !drain.done && self.on_timeout(member) == OnDrainTimeout::Abort {
            self.drain_timed_out(member, drain.reason);
            return;
        }
        // A smaller size has no use for it.
        let most = self.resolved.size + self.surge_in_use();
        if drain.reason == Reason::Heal {
            self.restart_as_asked(member, drain, self.live_count() <= most);
            return;
        }
        let rollout = self.next.rollout.as_ref();
        let quota = rollout.and_then(|rollout| self.quota(rollout));
        let within = quota.is_none_or(|quota| self.of_target() <= quota.most);
        let wanted = matches!(self.needs(member), FieldClass::Live | FieldClass::Restart)
            && self.over_action(member).is_none()
            && self.live_count() <= most;
        if wanted && within && self.fresh == Fresh::Target {
            self.change(member, InPlace::Restart);
        } else {
            self.give_up(member, Reason::Update);
        }
    }

    /// Closes changes in place of which nothing came, and notes what the provider refused for good.
    pub(super) fn close_updates(&mut self) {
        let intents: Vec<&Intent> = self.intents.updates.values().flatten().copied().collect();
        for intent in intents {
            let IntentKind::Update(InPlaceUpdate { digests, .. }) = &intent.kind else {
                continue;
            };
            match &intent.state {
                IntentState::Intended => self.close(intent.id, SettlementOutcome::Superseded),
                IntentState::Failed {
                    class: ErrorClass::InvalidSpec,
                    message,
                    ..
                } => {
                    self.close(intent.id, SettlementOutcome::NoEffect);
                    if let Some(known) = restarts::order_of(self.input.recorded, intent) {
                        self.refuse_order(&known.order, message);
                        continue;
                    }
                    // It pauses the rollout instead, and replaces nothing.
                    if self.changes_all_live() {
                        continue;
                    }
                    let rollout = self.next.rollout.as_mut();
                    if let Some(rollout) = rollout.filter(|rollout| rollout.target == *digests) {
                        rollout.refused = Some(message.clone());
                    }
                }
                IntentState::Failed {
                    class: ErrorClass::NotFound,
                    ..
                } => self.close(intent.id, SettlementOutcome::NoEffect),
                // What the later one makes of the instance is all that counts.
                IntentState::Acked { .. }
                    if !self.is_settled(intent)
                        && self.is_overtaken(intent)
                        && self.is_followed(intent) =>
                {
                    self.close(intent.id, SettlementOutcome::Superseded);
                }
                IntentState::Failed { .. } | IntentState::Sent | IntentState::Acked { .. } => {}
            }
        }
    }

    /// Returns whether the provider refuses changes for its credentials: no others are begun meanwhile.
    pub(super) fn lacks_leave_to_change(&self) -> bool {
        let mut updates = self.intents.updates.values().flatten();
        updates.any(|intent| {
            let IntentState::Failed { class, .. } = &intent.state else {
                return false;
            };
            *class == ErrorClass::Auth && !self.is_settled(intent)
        })
    }

    /// Says that the provider refuses to change an instance in place, or does not answer: of one instance, however many
    /// there are, and of the same one as long as that lasts.
    pub(super) fn tell_refused_change(&mut self) {
        let updates = self.intents.updates.iter();
        let refused = updates.filter_map(|(id, intents)| {
            let hold = intents
                .iter()
                .find_map(|intent| self.refused_change(intent))?;
            let held = Held {
                instance: Some((*id).clone()),
                ..held_for(Reason::Update, hold)
            };
            Some(((*id).clone(), held))
        });
        let refused = refused.collect();
        let mut told = self.input.recorded.holds.iter();
        let told = told.find(|held| matches!(held.hold, Hold::ChangeRefused { .. }));
        // Decided anew, it is not over.
        let of_told = told.and_then(|told| told.instance.as_ref());
        let changes = |step: &Step| matches!(&step.action, Action::Update(update) if Some(&update.instance) == of_told);
        let asked_anew = self.steps.iter().any(changes);
        self.tell_one(refused, told, asked_anew);
    }

    /// Returns the hold of a change that the provider refuses, or that has no answer for so long that it was asked for more
    /// than once.
    fn refused_change(&self, intent: &Intent) -> Option<Hold> {
        match &intent.state {
            IntentState::Failed {
                // One is replaced, one is gone, and too many calls are fewer after a while.
                class: ErrorClass::InvalidSpec | ErrorClass::NotFound | ErrorClass::Throttled,
                ..
            } => None,
            IntentState::Failed { class, message, .. } => Some(Hold::ChangeRefused {
                class: *class,
                message: message.clone(),
            }),
            IntentState::Sent if elapsed(intent.issued_at, self.input.now) >= UNFINISHED_TOLD => {
                Some(Hold::ChangeRefused {
                    class: ErrorClass::Unknown,
                    message: intent.said.clone()?,
                })
            }
            IntentState::Sent | IntentState::Intended | IntentState::Acked { .. } => None,
        }
    }

    /// Follows changes in place up: repeats those without an answer, with the same token, and those that were taken and
    /// show no effect, as long as their template is asked for.
    pub(super) fn follow_updates(&mut self) {
        let updates: Vec<(&'a InstanceId, Vec<&'a Intent>)> = self
            .intents
            .updates
            .iter()
            .map(|(id, intents)| (*id, intents.clone()))
            .collect();
        for (id, intents) in updates {
            for intent in intents {
                if !self.is_settled(intent) {
                    self.follow_update(id, intent);
                }
            }
        }
    }

    fn follow_update(&mut self, id: &'a InstanceId, intent: &'a Intent) {
        let due = match &intent.state {
            IntentState::Intended
            | IntentState::Failed {
                class: ErrorClass::InvalidSpec | ErrorClass::NotFound,
                ..
            } => return,
            IntentState::Failed {
                class: ErrorClass::Auth,
                at,
                ..
            } => later(*at, UPDATE_REFUSED_RETRY),
            IntentState::Failed { at, .. } => later(*at, UPDATE_RETRY),
            IntentState::Sent => self.repeated_at(id),
            IntentState::Acked { at, .. } => later(*at, UPDATE_REPEAT),
        };
        let Some(member) = self.input.classified.members.get(id) else {
            // Neither the listing nor the record has it.
            self.close(intent.id, SettlementOutcome::NoEffect);
            return;
        };
        let ended = matches!(member.class, InstanceClass::Exited(_)) || failed(member);
        let ending = matches!(member.class, InstanceClass::Terminating)
            || self.intents.destroy(id).is_some();
        if ending || self.is_overtaken(intent) {
            return;
        }
        if let Some(cause) = self.pause().filter(|_| is_taken_live(intent)) {
            // It is not begun once more: its template is the suspect.
            self.hold(held_for(Reason::Update, Hold::RolloutPaused(cause)));
            return;
        }
        if ended && member.drain.is_none() && self.returning.contains_key(id) {
            let ordered = restarts::order_of(self.input.recorded, intent).is_some();
            let reason = if ordered {
                Reason::Heal
            } else {
                Reason::Update
            };
            self.give_up(member, reason);
        } else if due > self.input.now {
            self.wake(due);
        } else if matches!(intent.state, IntentState::Failed { .. }) {
            self.close(intent.id, SettlementOutcome::NoEffect);
            self.wake(later(self.input.now, DECIDE_ANEW));
        } else if self.is_late_restart(intent) {
            self.close(intent.id, SettlementOutcome::Superseded);
            self.wake(later(self.input.now, DECIDE_ANEW));
        } else if !ended {
            self.repeat(intent);
        }
    }

    /// Returns whether a restart was taken, shows no effect, and is for a template that nobody asks for any more: what
    /// becomes of the instance is decided anew.
    fn is_late_restart(&self, intent: &Intent) -> bool {
        let IntentKind::Update(InPlaceUpdate { digests, .. }) = &intent.kind else {
            return false;
        };
        let taken = matches!(intent.state, IntentState::Acked { .. });
        let ordered = restarts::order_of(self.input.recorded, intent).is_some();
        taken && !ordered && !self.counts_as_current(digests)
    }
}

/// Returns whether the provider took a change without an interruption.
fn is_taken_live(intent: &Intent) -> bool {
    let live = matches!(
        &intent.kind,
        IntentKind::Update(InPlaceUpdate {
            how: InPlace::Live,
            ..
        })
    );
    live && matches!(intent.state, IntentState::Acked { .. })
}

/// Returns whether a member was restarted and is not available again.
pub(super) fn recovers(member: &Member) -> bool {
    let coming = matches!(
        member.class,
        InstanceClass::Starting | InstanceClass::Warming
    );
    member.restarted_at.is_some() && coming
}
