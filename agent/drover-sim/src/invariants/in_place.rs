//! What is changed in place, checked on the provider's own truth.

use std::collections::BTreeMap;

use drover_model::{
    Action, Cause, Digests, FieldClass, InPlace, InPlaceUpdate, ProviderRef, Reason,
};

use super::{Violation, broken};
use crate::simulation::{Pass, Simulation};

/// What the provider's instances were made from and are now.
#[derive(Debug, Default)]
pub(super) struct Changed {
    digests: BTreeMap<ProviderRef, Digests>,
    /// What the provider had restarted before this pass.
    restarted: u64,
}

impl Changed {
    /// An instance never gets fields that need another one, nor fields that need a restart without one.
    pub(super) fn only_in_place(&mut self, sim: &Simulation) -> Result<(), Violation> {
        let world = sim.world();
        let restarted = world.stats().restarted;
        let restarts = restarted - self.restarted;
        self.restarted = restarted;
        let mut needed = 0;
        for (id, instance) in world.of_group(sim.name(), sim.now()) {
            let Some(owned) = &instance.ownership else {
                continue;
            };
            let now = owned.digests.clone();
            let before = self
                .digests
                .insert(instance.provider_ref.clone(), now.clone());
            match before.map_or(FieldClass::Ignore, |before| before.change_to(&now)) {
                FieldClass::Ignore | FieldClass::Live => {}
                FieldClass::Restart => needed += 1,
                FieldClass::Replace => {
                    return broken("in place", format!("{id} would have to be replaced"));
                }
            }
        }
        if needed > restarts {
            return broken(
                "in place",
                format!("{needed} had to restart, {restarts} did"),
            );
        }
        Ok(())
    }
}

/// Nothing is begun for an outdated instance beyond what the document allows.
pub(super) fn within_the_action(sim: &Simulation, pass: &Pass) -> Result<(), Violation> {
    let allowed = sim.spec().rollout.action_max;
    for step in &pass.plan.steps {
        if step.cause != Cause::Because(Reason::Update) {
            continue;
        }
        let (id, needs) = match &step.action {
            Action::Drain {
                instance, returns, ..
            } => match returns {
                Some(_) => (instance, FieldClass::Restart),
                None => (instance, FieldClass::Replace),
            },
            Action::Destroy { instance, .. } => (instance, FieldClass::Replace),
            Action::Update(InPlaceUpdate { instance, how, .. }) => match how {
                InPlace::Live => (instance, FieldClass::Live),
                InPlace::Restart => (instance, FieldClass::Restart),
            },
            Action::Create { .. }
            | Action::Resend { .. }
            | Action::Release { .. }
            | Action::Roster(_)
            | Action::Adopt(_)
            | Action::Settle(_) => continue,
        };
        if needs > allowed && !super::admission::ends(pass, id) {
            let what = format!("{id} gets {}", needs.as_action());
            return broken("maxAction", what);
        }
    }
    Ok(())
}
