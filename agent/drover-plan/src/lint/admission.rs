//! What windows, budgets, protection and hourly limits allow, counted again.
//!
//! Openings are found by walking through the minutes, not by search, and what is in flight by looking
//! at everything that is on its way out.

use std::collections::BTreeSet;
use std::time::Duration;

use drover_model::{
    Action, Cause, Hold, InPlace, InstanceClass, InstanceId, IntentKind, IntentState, Lifecycle,
    Member, Plan, Reason, SettlementOutcome, Timestamp, Token, Window, WindowKind,
};

use super::in_place::interrupts;
use super::{Facts, LintError, subjects};
use crate::intents::current;

const MINUTE: Duration = Duration::from_mins(1);

/// How long what a slot counts may have taken.
const SLOT: Duration = Duration::from_mins(5);

impl Facts<'_> {
    /// Disruptions begin only when they may, and no more of them than may.
    pub(super) fn admission(&self, plan: &Plan) -> Result<(), LintError> {
        let begun = self.begun(plan);
        self.protected(&begun)?;
        self.windows(plan, &begun)?;
        self.budgets(plan, &begun)?;
        self.shares(&begun)?;
        self.cluster(&begun)?;
        self.dependencies(plan, &begun)?;
        self.hourly(plan, &begun)
    }

    /// Returns what the plan takes out of service that was not on its way out before.
    fn begun(&self, plan: &Plan) -> Vec<(&Member, Reason)> {
        let mut begun = Vec::new();
        for step in &plan.steps {
            let Cause::Because(reason) = step.cause else {
                continue;
            };
            if interrupts(&step.action) {
                let ids = subjects(step).into_iter().filter(|id| self.stays(id));
                let members = ids.filter_map(|id| self.world.members.get(id));
                begun.extend(members.map(|member| (member, reason)));
            }
        }
        // What is kept from now on is out of service, without a step that says so. What failed to
        // launch never was in service, and is cleared whatever is in the way of healing.
        let kept = self.newly_kept(plan).into_iter();
        let kept = kept.filter(|member| !matches!(member.class, InstanceClass::Failed { .. }));
        begun.extend(kept.map(|member| (member, Reason::Heal)));
        begun
    }

    fn protected(&self, begun: &[(&Member, Reason)]) -> Result<(), LintError> {
        for protection in &self.input.decisions.protections {
            let kept = |(member, reason): &&(&Member, Reason)| {
                let instances = protection.instances.get(reason);
                instances.is_some_and(|instances| instances.contains(&member.id))
            };
            let taken = begun.iter().find(kept);
            if let Some((member, _)) = taken.filter(|_| protection.verdict.withholds()) {
                return Err(LintError::Protected(member.id.clone()));
            }
        }
        for protect in &self.input.desired.spec().protect {
            let over = protect.until.is_some_and(|until| until <= self.input.now);
            for (member, reason) in begun {
                if !over && protect.from.contains(reason) && protect.instances.contains(&member.id)
                {
                    return Err(LintError::Protected(member.id.clone()));
                }
            }
        }
        Ok(())
    }

    fn windows(&self, plan: &Plan, begun: &[(&Member, Reason)]) -> Result<(), LintError> {
        let windows = &self.input.desired.spec().windows;
        let reasons: BTreeSet<Reason> = begun.iter().map(|(_, reason)| *reason).collect();
        for reason in reasons {
            let about = |kind| {
                let of =
                    move |window: &&Window| window.kind == kind && window.reasons.contains(&reason);
                windows.iter().filter(of)
            };
            let open = |window: &Window| is_open(window, self.input.now);
            let denied = about(WindowKind::Deny).any(open);
            let allows = about(WindowKind::Allow).count() > 0;
            if !denied && (!allows || about(WindowKind::Allow).any(open)) {
                continue;
            }
            // What replaces them is there already: then it was begun before.
            let count = begun.iter().filter(|(_, of)| *of == reason).count() as u32;
            let kept = self.newly_kept(plan).len() as u32;
            let spare = (self.staying() - kept).saturating_sub(plan.next.size);
            let finishes = matches!(reason, Reason::Update | Reason::Expiry) && count <= spare;
            if !finishes {
                return Err(LintError::WindowClosed { reason });
            }
        }
        Ok(())
    }

    /// Nothing is taken out of a cluster that is not known to be well, but for what is ending anyway.
    fn cluster(&self, begun: &[(&Member, Reason)]) -> Result<(), LintError> {
        let spared = begun.iter().find(|(_, reason)| match reason {
            Reason::Heal | Reason::Interruption | Reason::Delete => false,
            Reason::Update
            | Reason::ScaleIn
            | Reason::Expiry
            | Reason::Rebalance
            | Reason::Cost
            | Reason::Drift => true,
        });
        let mut fences = self.input.fences.iter();
        let unwell = fences.any(|held| {
            matches!(
                held.hold,
                Hold::ClusterDegraded { .. } | Hold::ClusterUnknown { .. }
            )
        });
        match spared {
            Some((member, _)) if unwell => Err(LintError::ClusterUnwell(member.id.clone())),
            Some(_) | None => Ok(()),
        }
    }

    fn staying(&self) -> u32 {
        self.world
            .members
            .keys()
            .filter(|id| self.stays(id) || self.returns(id))
            .count() as u32
    }

    /// Returns whether `reason` takes an instance out of service. What never served, or has done its
    /// work, is cleared under the name of healing, and is not.
    fn out_of_service(&self, id: &InstanceId, reason: Reason) -> bool {
        let served = match self.world.memory.get(id) {
            Some(memory) => memory.ready_at.is_some() && !memory.completed,
            None => true,
        };
        reason != Reason::Heal || served
    }

    /// Returns why each instance that was on its way out is, where that is known.
    fn on_the_way(&self) -> Vec<Option<Reason>> {
        let members = self
            .world
            .members
            .values()
            .filter(|member| !self.stays(&member.id));
        members
            .filter_map(|member| {
                let drained = member.drain.as_ref().map(|drain| drain.reason);
                let restarts = member.update == Some(InPlace::Restart);
                let restarted = restarts.then(|| self.restarted_for(&member.id));
                let why = drained.or(restarted).or_else(|| {
                    let mut open = current(self.input.intents, self.world);
                    open.find_map(|intent| match &intent.kind {
                        IntentKind::Destroy {
                            instance, reason, ..
                        } if *instance == member.id => Some(*reason),
                        _ => None,
                    })
                });
                let counts =
                    |reason| self.returns(&member.id) || self.out_of_service(&member.id, reason);
                let counts = why.is_none_or(counts);
                counts.then_some(why)
            })
            .collect()
    }

    /// Returns why an instance restarts: the call carries the token of a person's word, or it is the rollout's.
    fn restarted_for(&self, id: &InstanceId) -> Reason {
        let tokens = self.input.recorded.orders.iter().map(|known| {
            let uid = &self.input.recorded.uid;
            known.order.token(uid)
        });
        let tokens: Vec<Token> = tokens.collect();
        let ordered = self.input.intents.iter().any(|intent| {
            matches!(&intent.kind, IntentKind::Update(change) if change.instance == *id && tokens.contains(&change.update))
        });
        if ordered {
            Reason::Heal
        } else {
            Reason::Update
        }
    }

    /// Counts what was restarted and is not available again, but for what the plan takes anyway.
    fn recovering(&self, plan: &Plan) -> u32 {
        let taken: BTreeSet<&InstanceId> = plan.steps.iter().flat_map(subjects).collect();
        let members = self.world.members.values();
        let recovering = members.filter(|member| {
            self.stays(&member.id)
                && !taken.contains(&member.id)
                && member.restarted_at.is_some()
                && matches!(
                    member.class,
                    InstanceClass::Starting | InstanceClass::Warming
                )
        });
        recovering.count() as u32
    }

    fn budgets(&self, plan: &Plan, begun: &[(&Member, Reason)]) -> Result<(), LintError> {
        let on_the_way = self.on_the_way();
        let serving = self
            .world
            .members
            .values()
            .filter(|member| self.serves(member))
            .count() as u32;
        let written = self.input.desired.spec().budgets.iter();
        let written = written.map(|budget| {
            let max = budget.max.ceil_of(plan.next.size).max(1);
            (budget.reasons.clone(), max)
        });
        let decided = self.input.decisions.budgets.iter();
        let decided = decided.map(|(reason, budget)| (BTreeSet::from([*reason]), budget.max));
        for (reasons, max) in written.chain(decided) {
            let counts = |reason: &Reason| reasons.contains(reason);
            let before = on_the_way
                .iter()
                .filter(|reason| reason.as_ref().is_none_or(counts));
            let restarted = if counts(&Reason::Update) {
                self.recovering(plan)
            } else {
                0
            };
            let before = before.count() as u32 + restarted;
            let new = begun.iter().filter(|(member, reason)| {
                counts(reason) && self.out_of_service(&member.id, *reason)
            });
            let (mut healing, mut serves) = (0, 0);
            for (member, reason) in new {
                match reason {
                    Reason::Heal | Reason::Interruption => healing += 1,
                    _ if self.serves(member) => serves += 1,
                    _ => {}
                }
            }
            let missing = plan
                .next
                .size
                .saturating_sub(serving)
                .saturating_sub(before);
            let over = (healing > 0 && before + healing > max)
                || (serves > 0 && before + serves + missing > max);
            if over {
                return Err(LintError::OverBudget { max });
            }
        }
        Ok(())
    }

    /// Of what groups share, the plan takes no more than its part.
    fn shares(&self, begun: &[(&Member, Reason)]) -> Result<(), LintError> {
        for share in &self.input.peers.shares {
            let taken = begun.iter().filter(|(member, reason)| {
                let heals = matches!(reason, Reason::Heal | Reason::Interruption);
                share.reasons.contains(reason)
                    && self.out_of_service(&member.id, *reason)
                    && (heals || self.serves(member))
            });
            if taken.count() as u32 > share.room {
                return Err(LintError::OverBudget { max: share.room });
            }
        }
        Ok(())
    }

    fn dependencies(&self, plan: &Plan, begun: &[(&Member, Reason)]) -> Result<(), LintError> {
        let spec = self.input.desired.spec();
        let converged = &self.input.peers.converged;
        let waits = spec
            .depends_on
            .iter()
            .any(|group| !converged.contains(group));
        let updates = begun.iter().any(|(_, reason)| *reason == Reason::Update);
        let recorded = self.input.recorded;
        let larger = plan.next.size > recorded.size && spec.quorum.is_none() && !self.deleting;
        // A member that was there before comes back; one that was not is growth.
        let known = recorded.quorum.as_ref().filter(|known| known.established);
        let voters = known.map(|known| &known.voters);
        let seats = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Create { seat, .. } => seat.as_ref(),
            _ => None,
        });
        let mut seats = seats.map(|seat| &seat.id.member);
        let newcomer = seats.any(|member| voters.is_none_or(|voters| !voters.contains(member)));
        if waits && (updates || larger || newcomer) {
            return Err(LintError::DependencyNotReady);
        }
        Ok(())
    }

    fn hourly(&self, plan: &Plan, begun: &[(&Member, Reason)]) -> Result<(), LintError> {
        let spec = self.input.desired.spec();
        let hour_ago = self
            .input
            .now
            .checked_sub(Duration::from_hours(1))
            .unwrap_or(Timestamp::MIN);
        let (mut made, mut ended, mut size) = (0, 0, plan.next.size);
        for slot in &self.input.recorded.rates {
            if slot.since > hour_ago {
                made += slot.created;
                ended += slot.destroyed;
            }
            // A slot lasts five minutes: one that began before the hour may have had its size within it.
            if slot.since.checked_add(SLOT).is_ok_and(|end| end > hour_ago) {
                size = size.max(slot.size);
            }
        }
        for intent in self.input.intents {
            let settled = self
                .world
                .settled
                .iter()
                .find(|settled| settled.intent == intent.id);
            let counts =
                settled.is_none_or(|settled| settled.outcome == SettlementOutcome::Observed);
            if let IntentKind::Create { slots, .. } = &intent.kind
                && counts
            {
                made += match &intent.state {
                    IntentState::Acked { made, .. } => made.len() as u32,
                    IntentState::Sent => slots.len() as u32,
                    IntentState::Intended | IntentState::Failed { .. } => 0,
                };
            }
        }
        let creates = plan.steps.iter().map(|step| match &step.action {
            Action::Create { slots, .. } => slots.len() as u32,
            _ => 0,
        });
        let creates: u32 = creates.sum();
        let preset = match spec.lifecycle {
            Lifecycle::Service => 3 * size + 10,
            Lifecycle::Ephemeral => u32::MAX,
        };
        let limit = spec.limits.create_hourly_max.unwrap_or(preset);
        if creates > 0 && made + creates > limit {
            return Err(LintError::OverTheHour { limit });
        }
        let most = for_serving(limit, size);
        if makes_for_serving(plan) && made + creates > most {
            return Err(LintError::OverTheHour { limit: most });
        }
        self.hourly_ends(size, ended, begun)
    }

    /// What nobody asked for ends no more than the hour allows, `ended` within it already.
    fn hourly_ends(
        &self,
        size: u32,
        mut ended: u32,
        begun: &[(&Member, Reason)],
    ) -> Result<(), LintError> {
        let spec = self.input.desired.spec();
        let unasked =
            |reason: &Reason| matches!(reason, Reason::Heal | Reason::Expiry | Reason::Rebalance);
        let new = begun
            .iter()
            .filter(|(member, reason)| unasked(reason) && self.out_of_service(&member.id, *reason));
        let new = new.count() as u32;
        ended += self
            .on_the_way()
            .iter()
            .flatten()
            .filter(|reason| unasked(reason))
            .count() as u32;
        let limit = spec.limits.destroy_hourly_max.unwrap_or(size.max(10));
        if new > 0 && ended + new > limit {
            return Err(LintError::OverTheHour { limit });
        }
        let most = for_serving(limit, size);
        let ends_serving = begun
            .iter()
            .any(|(_, reason)| unasked(reason) && reason.is_voluntary());
        if ends_serving && ended + new > most {
            return Err(LintError::OverTheHour { limit: most });
        }
        Ok(())
    }
}

/// Returns whether something is made for what serves on where it is not, a way back from a template that failed apart.
fn makes_for_serving(plan: &Plan) -> bool {
    let back = plan.next.quarantine.is_some();
    plan.steps.iter().any(|step| {
        let Cause::Because(reason) = step.cause else {
            return false;
        };
        let makes = matches!(step.action, Action::Create { .. });
        makes && reason.is_voluntary() && !(back && reason == Reason::Update)
    })
}

/// Returns how much of an hourly limit may go to what serves on where it is not replaced.
fn for_serving(limit: u32, size: u32) -> u32 {
    limit - size.min(limit / 2)
}

/// Returns whether a window is open, by walking back through the minutes to its opening.
fn is_open(window: &Window, now: Timestamp) -> bool {
    let mut at = now;
    let minutes = window.duration.as_secs() / 60 + 1;
    for _ in 0..=minutes {
        let civil = window.zone.civil(at);
        let began = at.as_second() - i64::from(civil.second());
        let age = now.as_second() - began;
        // What clocks show for the second time opens nothing; where they jump, nothing is missed.
        let first = window.zone.first(civil).is_none_or(|first| first >= at);
        let before = at
            .checked_sub(MINUTE)
            .map_or(civil, |before| window.zone.civil(before));
        let mut shown = civil;
        while shown > before {
            if first && window.cron.matches(shown) {
                return (age as u64) < window.duration.as_secs();
            }
            let Ok(earlier) = shown.checked_sub(jiff::SignedDuration::from_mins(1)) else {
                break;
            };
            shown = earlier;
        }
        let Ok(earlier) = at.checked_sub(MINUTE) else {
            return false;
        };
        at = earlier;
    }
    false
}
