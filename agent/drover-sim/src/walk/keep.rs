//! Bad instances that are kept, and documents that change their minds about it.

use std::time::Duration;

use drover_model::GroupSpec;

use super::Life;
use crate::random::Random;

/// In one life in so many bad instances are kept. By the seed, and from numbers of their own, so that the
/// others stay what they were.
const EACH: u64 = 7;

/// Returns what decides about what is kept in the life of `seed`. None: nothing is.
pub(super) fn keeper(seed: u64) -> Option<Random> {
    (seed % EACH == EACH - 1).then(|| Random::new(seed.rotate_left(32)))
}

/// How many bad instances are kept, and for how long. None in a quorum group.
pub(super) fn random_keep(random: &mut Random, spec: &mut GroupSpec) {
    if spec.quorum.is_some() {
        return;
    }
    spec.heal.keep.max = random.pick(&[0, 1, 1, 2, 5]);
    spec.heal.keep.time = Duration::from_secs(random.pick(&[60, 600, 86_400]));
}

impl Life {
    /// A person keeps more, fewer, or for another time, or does not.
    pub(super) fn change_keep(&mut self) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        if !keeper.percent(4) {
            return;
        }
        let mut drawn = self.sim.spec().clone();
        random_keep(keeper, &mut drawn);
        self.sim.edit(|spec| spec.heal.keep = drawn.heal.keep);
        self.count("document", "other instances are kept");
    }
}
