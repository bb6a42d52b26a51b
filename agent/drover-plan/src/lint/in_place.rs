//! What is changed in place, counted again: only what may be, only as far as it may be, and never what
//! has to be replaced.

use drover_model::{
    Action, Cause, Digests, FieldClass, InPlace, InPlaceUpdate, InstanceClass, InstanceId, Intent,
    IntentKind, IntentState, Member, OrderVerb, Plan, Reason,
};

use super::{Facts, LintError, rollout, subjects};

impl Facts<'_> {
    /// Instances are changed in place to the template in force, and replaced only where that is allowed.
    pub(super) fn in_place(&self, plan: &Plan) -> Result<(), LintError> {
        let mut begun = 0;
        for step in &plan.steps {
            match &step.action {
                Action::Update(InPlaceUpdate {
                    instance,
                    how,
                    digests,
                    ..
                }) if step.cause == Cause::Because(Reason::Heal) => {
                    self.starts_again(instance, (*how, digests))?;
                }
                Action::Drain {
                    instance,
                    returns: Some(before),
                    ..
                } if step.cause == Cause::Because(Reason::Heal) => {
                    self.starts_again(instance, (InPlace::Restart, before))?;
                }
                Action::Update(InPlaceUpdate {
                    instance,
                    how,
                    digests,
                    ..
                }) => {
                    self.changes(instance, *how, digests)?;
                    begun += u32::from(self.stays(instance));
                }
                Action::Drain {
                    instance,
                    returns: Some(before),
                    ..
                } => {
                    self.comes_back(instance, before, plan)?;
                    begun += 1;
                }
                Action::Drain { .. } | Action::Destroy { .. } | Action::Release { .. } => {
                    let updates = step.cause == Cause::Because(Reason::Update);
                    let new = subjects(step).into_iter().any(|id| self.stays(id));
                    for id in subjects(step).into_iter().filter(|_| updates && new) {
                        self.not_ignored(id, plan)?;
                    }
                    let allowed = self.input.desired.spec().rollout.action_max;
                    if updates && new && allowed != FieldClass::Replace {
                        return Err(LintError::BeyondAction {
                            what: "replaced",
                            allowed: allowed.as_str(),
                        });
                    }
                }
                Action::Create { .. }
                | Action::Resend { .. }
                | Action::Roster(_)
                | Action::Adopt(_)
                | Action::Settle(_) => {}
            }
        }
        let spec = self.input.desired.spec();
        let size = plan.next.size;
        let window = rollout::surge(spec, size) + spec.rollout.unavailable_max.floor_of(size);
        let window = window.max(1);
        if begun > window {
            return Err(LintError::BeyondWindow { begun, window });
        }
        Ok(())
    }

    /// Nobody goes for a difference that policy ignores.
    fn not_ignored(&self, id: &InstanceId, plan: &Plan) -> Result<(), LintError> {
        let (Some(member), Some(target)) = (self.world.members.get(id), &plan.next.target) else {
            return Ok(());
        };
        let said = self.input.decisions.drift.decision(&member.digests, target);
        if said.is_some_and(|said| said.class == FieldClass::Ignore) {
            return Err(LintError::InPlace {
                instance: id.clone(),
                what: "policy ignores the difference",
            });
        }
        Ok(())
    }

    fn changes(&self, id: &InstanceId, how: InPlace, digests: &Digests) -> Result<(), LintError> {
        let wrong = |what| {
            Err(LintError::InPlace {
                instance: id.clone(),
                what,
            })
        };
        let Some(member) = self.world.members.get(id) else {
            return wrong("it is not there");
        };
        changeable(member, digests)?;
        if how == InPlace::Live && member.digests.restart != digests.restart {
            return wrong("it would have to restart");
        }
        let drift = &self.input.decisions.drift;
        let said = drift.decision(&member.digests, digests);
        match (said.map(|said| said.class), how) {
            (None | Some(FieldClass::Live), _) | (Some(FieldClass::Restart), InPlace::Restart) => {}
            (Some(FieldClass::Ignore), _) => return wrong("policy ignores the difference"),
            (Some(FieldClass::Restart), InPlace::Live) => {
                return wrong("policy asks for a restart");
            }
            (Some(FieldClass::Replace), _) => return wrong("policy asks for a replacement"),
        }
        let allowed = self.input.desired.spec().rollout.action_max;
        let within = match how {
            InPlace::Live => allowed >= FieldClass::Live,
            InPlace::Restart => allowed >= FieldClass::Restart,
        };
        if !within {
            return Err(LintError::BeyondAction {
                what: "restarted",
                allowed: allowed.as_str(),
            });
        }
        let open = self.changes_of(id).any(|(intent, change)| {
            // What was taken, is without an interruption, and leads elsewhere or was followed by another one gives way.
            let taken = |intent: &Intent| matches!(intent.state, IntentState::Acked { .. });
            let followed = || {
                let mut others = self.changes_of(id);
                others.any(|(other, _)| {
                    other.id > intent.id && (taken(other) || self.settled.contains(&other.id))
                })
            };
            let gives_way = taken(intent)
                && change.how == InPlace::Live
                && (change.digests != *digests || followed());
            !gives_way && !self.settled.contains(&intent.id)
        });
        if open {
            return wrong("an earlier change of it is not closed");
        }
        Ok(())
    }

    /// Returns the open changes of an instance.
    fn changes_of<'a>(
        &'a self,
        id: &'a InstanceId,
    ) -> impl Iterator<Item = (&'a Intent, &'a InPlaceUpdate)> {
        self.open
            .values()
            .filter_map(move |intent| match &intent.kind {
                IntentKind::Update(change) => (change.instance == *id).then_some((*intent, change)),
                IntentKind::Create { .. }
                | IntentKind::Drain { .. }
                | IntentKind::Destroy { .. }
                | IntentKind::Roster(_)
                | IntentKind::Adopt(_) => None,
            })
    }

    /// What starts again because a person says so stays as it is.
    fn starts_again(
        &self,
        id: &InstanceId,
        (how, digests): (InPlace, &Digests),
    ) -> Result<(), LintError> {
        let wrong = |what| {
            Err(LintError::InPlace {
                instance: id.clone(),
                what,
            })
        };
        let Some(member) = self.world.members.get(id) else {
            return wrong("it is not there");
        };
        if how != InPlace::Restart || member.digests != *digests {
            return wrong("a person only had it restarted");
        }
        if member.seat.is_some() {
            return wrong("it is a member of a quorum");
        }
        if self.stays(id) && !self.is_ordered(id, OrderVerb::Restart) {
            return wrong("nobody asked for it");
        }
        Ok(())
    }

    /// A drain before a restart begins only where a restart may follow.
    fn comes_back(&self, id: &InstanceId, before: &Digests, plan: &Plan) -> Result<(), LintError> {
        let wrong = |what| {
            Err(LintError::InPlace {
                instance: id.clone(),
                what,
            })
        };
        let (Some(member), Some(target)) = (self.world.members.get(id), &plan.next.target) else {
            return wrong("it is not there");
        };
        changeable(member, target)?;
        if member.digests != *before {
            return wrong("it has other digests");
        }
        let allowed = self.input.desired.spec().rollout.action_max;
        if allowed < FieldClass::Restart {
            return Err(LintError::BeyondAction {
                what: "restarted",
                allowed: allowed.as_str(),
            });
        }
        Ok(())
    }

    /// Returns whether an instance is out of service and comes back.
    pub(super) fn returns(&self, id: &InstanceId) -> bool {
        let Some(member) = self.world.members.get(id) else {
            return false;
        };
        let drained = member.drain.as_ref().is_some_and(|drain| drain.returns);
        let restarts = drained || member.update == Some(InPlace::Restart);
        restarts && member.class != InstanceClass::Terminating && !self.ending.contains(id)
    }
}

/// Only fields that need no replacement differ, and it is nobody's member.
fn changeable(member: &Member, target: &Digests) -> Result<(), LintError> {
    let wrong = |what| {
        Err(LintError::InPlace {
            instance: member.id.clone(),
            what,
        })
    };
    if member.digests.replace != target.replace {
        return wrong("it would have to be replaced");
    }
    if member.digests == *target {
        return wrong("it has that template already");
    }
    if member.seat.is_some() {
        return wrong("it is a member of a quorum");
    }
    match member.class {
        InstanceClass::Exited(_) | InstanceClass::Failed { .. } | InstanceClass::Terminating => {
            wrong("it does not run")
        }
        InstanceClass::Unhealthy { .. }
        | InstanceClass::Lost { .. }
        | InstanceClass::Suspect { .. }
        | InstanceClass::Starting
        | InstanceClass::Warming
        | InstanceClass::Available => Ok(()),
    }
}

/// Returns whether a step takes an instance out of service, for good or to bring it back.
pub(super) fn interrupts(action: &Action) -> bool {
    match action {
        Action::Drain { .. } | Action::Destroy { .. } | Action::Release { .. } => true,
        Action::Update(InPlaceUpdate { how, .. }) => *how == InPlace::Restart,
        Action::Create { .. }
        | Action::Resend { .. }
        | Action::Roster(_)
        | Action::Adopt(_)
        | Action::Settle(_) => false,
    }
}
