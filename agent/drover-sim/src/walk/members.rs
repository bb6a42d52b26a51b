//! What a random document of a quorum group says.

use std::time::Duration;

use drover_model::{Group, GroupSpec, RolloutOrder};

use crate::Random;

/// Makes a quorum group of it, with what a document of one may say.
pub(super) fn into_members(random: &mut Random, group: &mut Group) {
    let plain = crate::quorum_group("web", &[], 1).spec;
    let spec = &mut group.spec;
    spec.quorum = plain.quorum;
    spec.heal = plain.heal;
    spec.limits = plain.limits;
    spec.placement = plain.placement;
    spec.scaling = plain.scaling;
    spec.expiry = None;
    let rollout = &mut spec.rollout;
    rollout.surge_max = plain.rollout.surge_max;
    rollout.unavailable_max = plain.rollout.unavailable_max;
    rollout.canary = None;
    rollout.checkpoints.clear();
    rollout.partition = None;
    rollout.order = RolloutOrder::Auto;
    random_members(random, spec);
}

/// Draws one to five members, how long they settle, and whether downtime is allowed.
pub(super) fn random_members(random: &mut Random, spec: &mut GroupSpec) {
    let all = ["m1", "m2", "m3", "m4", "m5", "m6"];
    let first = random.below(2) as usize;
    let count = random.pick(&[1, 2, 3, 3, 3, 4, 5]);
    crate::set_members(spec, &all[first..first + count]);
    if let Some(quorum) = &mut spec.quorum {
        quorum.stabilize = Duration::from_secs(random.pick(&[0, 20, 60]));
        quorum.allow_downtime = random.percent(20);
    }
}
