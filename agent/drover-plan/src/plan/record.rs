//! The next recorded state: complete, and without anything that would change every pass.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Action, Condition, ConditionType, Digests, FieldClass, GroupPhase, Held, Hold,
    IgnoredDifference, InPlaceUpdate, InstanceClass, InstanceId, IntentId, IntentKind, Member,
    PolicyHold, RecordedInstance, RolloutState, Trust,
};

use super::draft::{Course, Draft};
use super::observes;

impl Draft<'_> {
    /// Fills in what follows from the decisions.
    pub(super) fn record(&mut self) {
        // What is seen on a listing that is not trusted is not worth recording, but for what nothing
        // else will know of.
        if matches!(self.input.classified.trust, Trust::Full) {
            self.record_instances();
        } else {
            self.record_newcomers();
        }
        self.record_orders();
        self.record_newly_found();
        self.next.phase = self.phase();
        self.next.holds = self.recorded_holds();
        if let Some(change) = &self.change {
            self.next.change = Some(change.id.clone());
        }
        self.record_conditions();
        self.record_ignored();
        self.forget_proved();
        self.drop_templates();
    }

    fn record_instances(&mut self) {
        self.next.instances = self
            .known()
            .map(|member| (member.id.clone(), self.recorded_as(member)))
            .collect();
    }

    /// Records what was made or adopted by the calls that this plan closes. Until then the journal vouches for
    /// it, and from then on the record does: a listing that leaves it out would otherwise prove that it
    /// never was.
    fn record_newcomers(&mut self) {
        let closed = self.steps.iter().filter_map(|step| match &step.action {
            Action::Settle(settlement) => Some(settlement.intent),
            _ => None,
        });
        let closed: BTreeSet<IntentId> = closed.collect();
        let creates = self.intents.creates.iter();
        let slots = creates.filter(|intent| closed.contains(&intent.id));
        let slots = slots.flat_map(|intent| intent.slots());
        let adopts = self.intents.adopts.iter();
        let adopted = adopts.filter(|(intent, _)| closed.contains(&intent.id));
        let slots = slots.chain(adopted.map(|(_, step)| &step.instance));
        let members = &self.input.classified.members;
        let seen = slots.filter_map(|id| members.get(id));
        let seen = seen.filter(|member| member.provider_ref.is_some());
        let newcomers: Vec<_> = seen
            .map(|member| (member.id.clone(), self.recorded_as(member)))
            .collect();
        self.next.instances.extend(newcomers);
    }

    /// Returns what is recorded of a member.
    fn recorded_as(&self, member: &Member) -> RecordedInstance {
        let class = member.class.as_str();
        let before = self.input.recorded.instances.get(&member.id);
        let wrong = member.class.why();
        let why = if wrong.is_some() {
            // The wording of a failing check may differ from try to try.
            let same = before.filter(|before| before.class == class);
            same.and_then(|before| before.why.clone()).or(wrong)
        } else {
            let taken_at = member.interruption;
            taken_at.map(|at| format!("the provider takes it at {at}"))
        };
        let handle = before.and_then(|before| before.provider_ref.clone());
        let place = |now: &Option<String>, before: Option<&Option<String>>| {
            now.clone().or_else(|| before.cloned().flatten())
        };
        RecordedInstance {
            seat: member.seat.clone(),
            provider_ref: member.provider_ref.clone().or(handle),
            digests: member.digests.clone(),
            class: class.to_owned(),
            draining: member.drain.is_some(),
            why,
            address: place(&member.address, before.map(|before| &before.address)),
            zone: place(&member.zone, before.map(|before| &before.zone)),
            created_at: member.created_at,
            tags: self.answered_tags(&member.id),
            kept: self.recorded_keep(member),
        }
    }

    /// Returns the tags that flavor plugins gave an instance, or that it was adopted with: the intent that it was made or
    /// adopted by has them, and after that the record.
    fn answered_tags(&self, id: &InstanceId) -> BTreeMap<String, String> {
        let made = self
            .intents
            .creates
            .iter()
            .find_map(|intent| match &intent.kind {
                IntentKind::Create {
                    slots, template, ..
                } if slots.contains(id) => Some(template.answered_tags()),
                IntentKind::Create { .. }
                | IntentKind::Drain { .. }
                | IntentKind::Destroy { .. }
                | IntentKind::Update(_)
                | IntentKind::Roster(_)
                | IntentKind::Adopt(_) => None,
            });
        let mut adopts = self.intents.adopts.iter();
        let adopted = adopts.find(|(_, step)| step.instance == *id);
        let adopted = adopted.map(|(_, step)| step.tags.clone());
        let given = made.or(adopted);
        given.filter(|tags| !tags.is_empty()).unwrap_or_else(|| {
            let before = self.input.recorded.instances.get(id);
            before.map(|before| before.tags.clone()).unwrap_or_default()
        })
    }

    fn phase(&self) -> GroupPhase {
        let paused = self
            .next
            .rollout
            .as_ref()
            .is_some_and(|rollout| matches!(rollout.state, RolloutState::Paused(_)));
        // Whether there is more to adopt, or others have instances there, keeps the group from no target.
        let beside = |hold: &Hold| {
            matches!(
                hold,
                Hold::AdoptedSurplus { .. }
                    | Hold::AdoptionUnknown { .. }
                    | Hold::StrayInstances { .. }
                    | Hold::DuplicateInstances { .. }
            )
        };
        let mut holds = self.holds.iter().map(|held| &held.hold);
        let stuck = holds.any(|hold| !hold.is_routine() && !beside(hold));
        if self.course == Course::Removes {
            self.deletion_phase()
        } else if observes(self.input) {
            GroupPhase::Observed
        } else if paused {
            GroupPhase::Paused
        } else if stuck || self.fenced {
            GroupPhase::Held
        } else if self.converged {
            GroupPhase::Converged
        } else if self
            .next
            .quorum
            .as_ref()
            .is_some_and(|known| !known.established)
        {
            GroupPhase::Bootstrapping
        } else {
            GroupPhase::Progressing
        }
    }

    fn deletion_phase(&self) -> GroupPhase {
        let trusted = matches!(self.input.classified.trust, Trust::Full) && !self.fenced;
        let settled = self
            .steps
            .iter()
            .filter(|step| !step.action.mutates())
            .count();
        let empty = self.known().next().is_none() || observes(self.input);
        let closed = settled == self.input.intents.len() && settled == self.steps.len();
        if trusted && empty && closed {
            GroupPhase::Deleted
        } else {
            GroupPhase::Deleting
        }
    }

    /// Returns the holds as recorded: one that goes on keeps the words that it began with, so that a
    /// clause that reads the clock does not make a commit each time it is evaluated.
    fn recorded_holds(&self) -> Vec<Held> {
        let before = &self.input.recorded.holds;
        self.holds
            .iter()
            .map(|held| {
                // One whose end has passed, and that goes on, has another end by now.
                let over = |before: &Held| before.until.is_some_and(|at| at <= self.input.now);
                let same = before
                    .iter()
                    .find(|before| goes_on(before, held) && !(over(before) && *before != held));
                same.unwrap_or(held).clone()
            })
            .collect()
    }

    fn record_conditions(&mut self) {
        let ready = self.ready();
        let stuck = self.next.holds.iter().find(|held| !held.hold.is_routine());
        let stalled = match stuck {
            Some(held) => (
                Some(true),
                held.hold.code().to_owned(),
                held.hold.to_string(),
            ),
            None => (Some(false), "Unhindered".to_owned(), String::new()),
        };
        let working = matches!(
            self.next.phase,
            GroupPhase::Bootstrapping | GroupPhase::Progressing | GroupPhase::Deleting
        );
        let reconciling = (
            Some(working),
            self.next.phase.as_str().to_owned(),
            String::new(),
        );
        let accepted = self.spec_accepted();
        for (type_, (status, reason, message)) in [
            (ConditionType::Ready, ready),
            (ConditionType::Reconciling, reconciling),
            (ConditionType::Stalled, stalled),
            (ConditionType::SpecAccepted, accepted),
        ] {
            let before = self.input.recorded.conditions.get(&type_);
            let since = match before {
                Some(before) if before.status == status => before.since,
                Some(_) | None => self.input.now,
            };
            let condition = Condition {
                status,
                reason,
                message,
                since,
            };
            self.next.conditions.insert(type_, condition);
        }
    }

    fn ready(&self) -> (Option<bool>, String, String) {
        if !matches!(self.input.classified.trust, Trust::Full) {
            let message = "the listing cannot be relied on".to_owned();
            return (None, "Unobserved".to_owned(), message);
        }
        let size = self.resolved.size;
        let message = format!("{} of {size} available", self.observed_available());
        if self.converged {
            (Some(true), "Converged".to_owned(), message)
        } else {
            (Some(false), self.next.phase.as_str().to_owned(), message)
        }
    }

    fn observed_available(&self) -> usize {
        let members = self.input.classified.members.values();
        members
            .filter(|member| member.class == InstanceClass::Available)
            .count()
    }

    fn spec_accepted(&self) -> (Option<bool>, String, String) {
        let refused = self.next.holds.iter().find(|held| match &held.hold {
            Hold::SpecInvalid { .. }
            | Hold::PolicyDenied(_)
            | Hold::ApprovalNeeded(_)
            | Hold::ApprovalRejected(_)
            | Hold::ProviderChanged { .. } => true,
            // Of a policy that failed, only the judgement of the change; not a gate, not a size.
            Hold::PolicyFailed(_) => held.reason.is_none() && self.input.fences.contains(held),
            // Of a newer document, and not of the one in force.
            Hold::AdoptionUnknown { .. } => self.input.fences.contains(held),
            _ => false,
        });
        match (refused, &self.next.accepted) {
            (Some(held), _) => (
                Some(false),
                held.hold.code().to_owned(),
                held.hold.to_string(),
            ),
            (None, Some(document)) => (
                Some(true),
                "Accepted".to_owned(),
                format!("revision {}", document.revision.short()),
            ),
            (None, None) => (None, "NoDocument".to_owned(), String::new()),
        }
    }

    /// Records which templates count as the target although they differ, and who says so.
    fn record_ignored(&mut self) {
        let have = self.next.instances.values();
        let have: BTreeSet<&Digests> = have.map(|instance| &instance.digests).collect();
        let drift = &self.input.decisions.drift;
        let ignored = have.into_iter().filter_map(|digests| {
            let decision = drift.decision(digests, &self.target)?;
            let verdict = &decision.verdict;
            (decision.class == FieldClass::Ignore).then(|| {
                let ignored = IgnoredDifference {
                    policy: verdict.policy.clone(),
                    binding: verdict.binding.clone(),
                    message: verdict.message.clone(),
                };
                (digests.clone(), ignored)
            })
        });
        self.next.ignored = ignored.collect();
    }

    /// Forgets templates that nothing has or is about to have.
    fn drop_templates(&mut self) {
        let mut used: BTreeSet<&Digests> = BTreeSet::new();
        used.extend(self.next.target.as_ref());
        used.extend(self.next.stable.as_ref());
        used.extend(self.next.proving.as_ref().map(|of| &of.before));
        used.extend(self.next.quarantine.as_ref().map(|of| &of.digests));
        used.extend(
            self.next
                .instances
                .values()
                .map(|instance| &instance.digests),
        );
        for intent in self.input.intents {
            if let IntentKind::Create { digests, .. }
            | IntentKind::Update(InPlaceUpdate { digests, .. }) = &intent.kind
            {
                used.insert(digests);
            }
        }
        let used: BTreeSet<Digests> = used.into_iter().cloned().collect();
        self.next
            .templates
            .retain(|digests, _| used.contains(digests));
    }
}

/// Returns whether `now` is the hold `before` going on, whatever its values are by now.
fn goes_on(before: &Held, now: &Held) -> bool {
    let same_policy = |one: &PolicyHold, other: &PolicyHold| {
        (&one.policy, &one.binding, &one.span) == (&other.policy, &other.binding, &other.span)
    };
    let concerns = |held: &Held| -> (Option<drover_model::Reason>, Option<InstanceId>) {
        (held.reason, held.instance.clone())
    };
    let same_hold = match (&before.hold, &now.hold) {
        (Hold::PolicyDenied(one), Hold::PolicyDenied(other))
        | (Hold::GateClosed(one), Hold::GateClosed(other))
        | (Hold::BudgetByPolicy(one), Hold::BudgetByPolicy(other))
        | (Hold::ProtectedByPolicy(one), Hold::ProtectedByPolicy(other))
        | (Hold::PlaceForbidden(one), Hold::PlaceForbidden(other))
        | (Hold::AnalysisPending(one), Hold::AnalysisPending(other))
        | (Hold::PolicyFailed(one), Hold::PolicyFailed(other)) => same_policy(one, other),
        (Hold::ApprovalNeeded(one), Hold::ApprovalNeeded(other)) => {
            (&one.change, &one.authors, &one.have, one.spent)
                == (&other.change, &other.authors, &other.have, other.spent)
                && same_policy(&one.policy, &other.policy)
        }
        (Hold::ProviderFailed { class: one, .. }, Hold::ProviderFailed { class: other, .. })
        | (Hold::EndRefused { class: one, .. }, Hold::EndRefused { class: other, .. })
        | (Hold::ChangeRefused { class: one, .. }, Hold::ChangeRefused { class: other, .. }) => {
            one == other
        }
        (Hold::ObservationPartial { .. }, Hold::ObservationPartial { .. })
        | (Hold::ObservationEmptied { .. }, Hold::ObservationEmptied { .. })
        | (Hold::JournalUnavailable { .. }, Hold::JournalUnavailable { .. })
        | (Hold::ScalingStabilized { .. }, Hold::ScalingStabilized { .. })
        | (Hold::ScalingRate { .. }, Hold::ScalingRate { .. })
        | (Hold::MembershipUnclear { .. }, Hold::MembershipUnclear { .. })
        | (Hold::AdoptedSurplus { .. }, Hold::AdoptedSurplus { .. })
        | (Hold::AdoptionUnknown { .. }, Hold::AdoptionUnknown { .. })
        | (Hold::StrayInstances { .. }, Hold::StrayInstances { .. })
        | (Hold::ClusterDegraded { .. }, Hold::ClusterDegraded { .. })
        | (Hold::ClusterUnknown { .. }, Hold::ClusterUnknown { .. })
        | (Hold::QuorumUnproven { .. }, Hold::QuorumUnproven { .. })
        | (Hold::SourceUnavailable { .. }, Hold::SourceUnavailable { .. }) => true,
        (one, other) => one == other,
    };
    same_hold && concerns(before) == concerns(now)
}
