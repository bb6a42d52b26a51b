//! Adoption, checked again on the facts alone: only what was surveyed, that nobody else acts on, as what the document
//! says, and nothing else before that.

use std::collections::BTreeSet;

use drover_model::{
    Action, AdoptRevision, AdoptStep, Adoption, Digests, InPlace, InstanceClass, Intent,
    IntentKind, IntentState, Member, Plan, ProviderRef, Stranger, label_of,
};

use super::{Facts, LintError};

impl Facts<'_> {
    /// I22.
    pub(super) fn adoption(&self, plan: &Plan) -> Result<(), LintError> {
        self.nothing_else_first(plan)?;
        self.noted_on_an_answer(plan)?;
        self.unseen_growth(plan)?;
        let mut taken: BTreeSet<&ProviderRef> = BTreeSet::new();
        for intent in self.open.values() {
            if let IntentKind::Adopt(step) = &intent.kind {
                let closed = |action: &Action| matches!(action, Action::Settle(settlement) if settlement.intent == intent.id);
                if !plan.steps.iter().any(|step| closed(&step.action)) {
                    taken.insert(&step.provider_ref);
                }
            }
        }
        let begun = taken.len();
        for step in &plan.steps {
            if let Action::Adopt(step) = &step.action {
                self.may_adopt(plan, step)?;
                if !taken.insert(&step.provider_ref) {
                    return wrong(step.provider_ref.as_str(), "would be adopted twice");
                }
            }
        }
        self.has_room(plan, taken.len(), taken.len() > begun)
    }

    /// No more is adopted than the size has room for, and nothing that was held for want of room but by a larger size.
    fn has_room(&self, plan: &Plan, adopting: usize, adopts: bool) -> Result<(), LintError> {
        let stays = |member: &&Member| {
            let restarts = member.update == Some(InPlace::Restart);
            let ends = self.ending.contains(&member.id);
            let leaves = matches!(member.class, InstanceClass::Terminating) || ends;
            !restarts && !leaves && member.drain.is_none()
        };
        let staying = self.world.members.values().filter(stays).count();
        let size = self.places(plan);
        if adopts && staying + adopting > size as usize {
            return wrong("more", "would be adopted than the size has room for");
        }
        let held = plan.steps.iter().filter(
            |step| matches!(&step.action, Action::Adopt(step) if self.was_held(&step.provider_ref)),
        );
        if held.count() > self.growth(plan) {
            return wrong(
                "what was held",
                "would be adopted although the size did not grow",
            );
        }
        Ok(())
    }

    /// Returns how many places a group fills with what it takes over: those of the smaller size while that is withheld.
    fn places(&self, plan: &Plan) -> u32 {
        let asked = self.input.desired.spec().size;
        let by_policy = self.input.decisions.size.is_some();
        let asked = if by_policy { u32::MAX } else { asked };
        plan.next.size.min(asked)
    }

    fn growth(&self, plan: &Plan) -> usize {
        let grown = self.places(plan);
        grown.saturating_sub(self.input.recorded.size) as usize
    }

    /// Returns whether a stranger was left alone before, beside instances of the group.
    fn was_held(&self, handle: &ProviderRef) -> bool {
        let recorded = self.input.recorded;
        let was = recorded.strangers.get(handle);
        was.is_some_and(|was| was.instance.is_none()) && !recorded.instances.is_empty()
    }

    /// Returns whether strangers have room, whatever becomes of the members that leave.
    fn is_short(&self, plan: &Plan) -> bool {
        let held = |one: &&Stranger| self.was_held(&one.provider_ref);
        let held = self.strangers().iter().filter(held).count();
        let free = self.strangers().len() - held + held.min(self.growth(plan));
        free > 0 && self.world.members.len() < self.places(plan) as usize
    }

    /// Returns the creates of which nobody knows what they have made.
    fn unknown_creates(&self) -> bool {
        let mut open = self
            .open
            .iter()
            .filter(|(id, _)| !self.settled.contains(*id));
        open.any(|(_, intent)| match &intent.kind {
            IntentKind::Create { slots, .. } if intent.state == IntentState::Sent => {
                let members = &self.world.members;
                let listed = |id| members.get(id).or_else(|| self.world.kept.get(id));
                let seen = |id| listed(id).is_some_and(|member| member.provider_ref.is_some());
                !slots.iter().all(seen)
            }
            IntentKind::Create { .. }
            | IntentKind::Drain { .. }
            | IntentKind::Destroy { .. }
            | IntentKind::Update(_)
            | IntentKind::Roster(_)
            | IntentKind::Adopt(_) => false,
        })
    }

    /// Returns whether a call is only repeated that was made before, where what was found waits for its answer.
    fn may_be_repeated(&self, open: &Intent) -> bool {
        match &open.kind {
            IntentKind::Adopt(_) => true,
            IntentKind::Create { .. } => {
                let mut all = self.strangers().iter().chain(self.claimed());
                open.state == IntentState::Sent
                    && self.missing() == 0
                    && !self.strangers().is_empty()
                    && !all.any(|one| one.claimed_by.is_some())
            }
            IntentKind::Drain { .. }
            | IntentKind::Destroy { .. }
            | IntentKind::Update(_)
            | IntentKind::Roster(_) => false,
        }
    }

    /// As long as there may be something to adopt, nothing else is done to the group.
    fn nothing_else_first(&self, plan: &Plan) -> Result<(), LintError> {
        let unknown = matches!(self.world.adoption, Some(Adoption::Unknown(_))) && !self.finished();
        let begun = self.adopting();
        // A group that was to take over what is there has found nothing so far.
        let lacking = self.world.adoption.is_some()
            && (self.input.recorded.stable.is_none()
                || self.input.recorded.next_number <= 1
                || (self.input.recorded.settled.is_none()
                    && self.input.recorded.adopted.is_none()))
            && self.world.members.is_empty()
            && self.world.kept.is_empty()
            && self.open.keys().all(|intent| self.settled.contains(intent));
        // A removal takes what is the group's and leaves the rest.
        let found = self.acts()
            || self.claimed().len() + self.contested() + self.missing() > 0
            || self.is_short(plan);
        let pending = unknown || begun || lacking || found;
        if !pending || plan.next.deleting.is_some() {
            return Ok(());
        }
        for step in plan.steps.iter().filter(|step| step.action.mutates()) {
            let adopts = match &step.action {
                Action::Adopt(_) => true,
                Action::Resend { intent } => self
                    .open
                    .get(intent)
                    .is_some_and(|open| self.may_be_repeated(open)),
                Action::Create { .. }
                | Action::Drain { .. }
                | Action::Destroy { .. }
                | Action::Update(_)
                | Action::Roster(_)
                | Action::Release { .. }
                | Action::Settle(_) => false,
            };
            if !adopts || unknown {
                return wrong(
                    step.action.verb(),
                    "would be done before everything is adopted",
                );
            }
        }
        Ok(())
    }

    fn adopting(&self) -> bool {
        self.open.iter().any(|(id, intent)| {
            matches!(intent.kind, IntentKind::Adopt(_)) && !self.settled.contains(id)
        })
    }

    /// Returns whether the group was found to have everything that its tags mean where it is now, but for what it had no
    /// room for.
    fn finished(&self) -> bool {
        let (recorded, now) = (self.input.recorded, self.input.provider);
        let adopt = self.input.desired.spec().adopt.as_ref();
        let Some((adopt, was)) = adopt.zip(recorded.provider.as_ref()) else {
            return false;
        };
        let moved = was.name != now.name || was.type_ != now.type_ || was.settings != now.settings;
        let noted = recorded.adopted.as_ref() == Some(&adopt.match_tags);
        let mut awaited = recorded.strangers.keys();
        let rests = awaited.all(|handle| recorded.quorum.is_none() && self.was_held(handle));
        noted && !moved && rests
    }

    /// That everything is adopted is believed of an answer, and as long as there is no other one.
    fn noted_on_an_answer(&self, plan: &Plan) -> Result<(), LintError> {
        let Some(noted) = &plan.next.adopted else {
            return Ok(());
        };
        let has = !self.world.members.is_empty() || !self.world.kept.is_empty();
        let answered = match &self.world.adoption {
            Some(Adoption::Known { .. }) => self.missing() == 0 && has,
            Some(Adoption::Unknown(_)) | None => false,
        };
        let adopt = self.input.desired.spec().adopt.as_ref();
        let asked = adopt.is_some_and(|adopt| adopt.match_tags == *noted);
        let stays = self.input.recorded.adopted.as_ref() == Some(noted);
        let known = stays || answered && asked && !self.adopting();
        if self.is_short(plan) || self.acts() || !known {
            return wrong("everything", "would count as adopted, which no survey says");
        }
        Ok(())
    }

    /// Returns whether another owner acts on one of the strangers.
    fn acts(&self) -> bool {
        let mut strangers = self.strangers().iter();
        strangers.any(|one| one.claimed_by.is_some())
    }

    /// What was left alone is taken over by a larger size: without an answer there is none.
    fn unseen_growth(&self, plan: &Plan) -> Result<(), LintError> {
        let recorded = self.input.recorded;
        let unknown = matches!(self.world.adoption, Some(Adoption::Unknown(_)));
        let held = recorded.left_alone().next().is_some();
        if unknown && held && plan.next.size > recorded.size {
            return wrong(
                "the size",
                "would grow while nobody knows what was left alone",
            );
        }
        Ok(())
    }

    fn strangers(&self) -> &[Stranger] {
        match &self.world.adoption {
            Some(Adoption::Known { strangers, .. }) => strangers,
            Some(Adoption::Unknown(_)) | None => &[],
        }
    }

    /// Returns how many that were there to be adopted are not known to be gone.
    fn missing(&self) -> usize {
        match &self.world.adoption {
            Some(Adoption::Known { missing, .. }) => {
                let awaited = missing.keys().filter(|handle| !self.was_held(handle));
                awaited.count()
            }
            Some(Adoption::Unknown(_)) | None => 0,
        }
    }

    /// Returns how many other groups ask for, too.
    fn contested(&self) -> usize {
        match &self.world.adoption {
            Some(Adoption::Known { contested, .. }) => contested.len(),
            Some(Adoption::Unknown(_)) | None => 0,
        }
    }

    /// Returns what is the group's and has another owner who acts.
    fn claimed(&self) -> &[Stranger] {
        match &self.world.adoption {
            Some(Adoption::Known { claimed, .. }) => claimed,
            Some(Adoption::Unknown(_)) | None => &[],
        }
    }

    fn may_adopt(&self, plan: &Plan, step: &AdoptStep) -> Result<(), LintError> {
        let handle = step.provider_ref.as_str();
        let spec = self.input.desired.spec();
        let strangers = self.strangers();
        let found = strangers
            .iter()
            .find(|one| one.provider_ref == step.provider_ref);
        let (Some(adopt), Some(stranger)) = (&spec.adopt, found) else {
            return wrong(handle, "is not what the document adopts");
        };
        if !stranger.has_tags(&adopt.match_tags) {
            return wrong(handle, "does not have the tags that the document asks for");
        }
        let mut all = strangers.iter().chain(self.claimed());
        if all.any(|one| one.claimed_by.is_some()) {
            return wrong(handle, "would be adopted while another owner acts");
        }
        if self.unknown_creates() {
            return wrong(
                handle,
                "would be adopted while it may be what a create has made",
            );
        }
        if let Some(Adoption::Known { contested, .. }) = &self.world.adoption
            && !contested.is_empty()
        {
            return wrong(handle, "would be adopted although other groups ask for it");
        }
        let mut held = self.world.members.values().chain(self.world.kept.values());
        if held.any(|member| member.provider_ref.as_ref() == Some(&step.provider_ref)) {
            return wrong(handle, "is a member already");
        }
        let current = adopt.is_current(stranger);
        let right = match adopt.revision {
            AdoptRevision::Keep => step.digests.is_own_revision(),
            AdoptRevision::Assume if current => plan.next.target.as_ref() == Some(&step.digests),
            AdoptRevision::Assume => step.digests == Digests::of_unknown_template(),
        };
        if !right {
            return wrong(
                handle,
                "would count as another revision than the document says",
            );
        }
        if step.instance.number() >= plan.next.next_number {
            return wrong(handle, "would get a number that is given out again");
        }
        self.may_sit(plan, stranger, step)
    }

    /// Whoever has a place is the only one there, and what it holds is not made up.
    fn may_sit(&self, plan: &Plan, stranger: &Stranger, step: &AdoptStep) -> Result<(), LintError> {
        let handle = step.provider_ref.as_str();
        let quorum = self.input.desired.spec().quorum.as_ref();
        let (quorum, seat) = match (quorum, &step.seat) {
            (None, None) => return Ok(()),
            (None, Some(_)) => return wrong(handle, "would take a place in no quorum group"),
            (Some(_), None) => return wrong(handle, "would be a member without a place"),
            (Some(quorum), Some(seat)) => (quorum, seat),
        };
        let named = stranger.member.as_deref().and_then(label_of);
        let named = named.as_deref() == Some(seat.member.as_str());
        let member = quorum.member(&seat.member);
        if !named || member.is_none_or(|member| !member.attachments.is_empty()) {
            return wrong(handle, "would take the place of another member");
        }
        let mut members = self.world.members.values();
        let holds = |other: &drover_model::SeatId| other.member == seat.member;
        let held = members.any(|member| member.seat.as_ref().is_some_and(holds));
        let others = plan.steps.iter().filter(|other| {
            matches!(&other.action, Action::Adopt(other) if other.seat.as_ref().is_some_and(holds))
        });
        if held || others.count() > 1 {
            return wrong(handle, "would take a place that is not free");
        }
        let next = plan.next.quorum.as_ref();
        let counted = next.is_some_and(|next| {
            next.established && next.life == seat.life && next.voters.contains(&seat.member)
        });
        if !counted {
            return wrong(handle, "would be a member that nobody counts");
        }
        Ok(())
    }
}

fn wrong(subject: &str, what: &'static str) -> Result<(), LintError> {
    Err(LintError::Adoption {
        subject: subject.to_owned(),
        what,
    })
}
