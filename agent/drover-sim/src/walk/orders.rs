//! What people ask of single instances in a random life.

use std::time::Duration;

use drover_model::{InstanceId, OrderVerb};

use super::Life;
use crate::random::Random;

/// In one life in so many people ask something of instances. By the seed, and from numbers of their own, so
/// that the others stay what they were.
const EACH: u64 = 4;

/// Returns what decides about it in the life of `seed`. None: nobody asks anything.
pub(super) fn asker(seed: u64) -> Option<Random> {
    (seed % EACH == EACH - 1).then(|| Random::new(seed.rotate_left(17)))
}

/// Returns what decides in other lives about who goes first when the group gets smaller. None: nobody says.
pub(super) fn chooser(seed: u64) -> Option<Random> {
    (seed % EACH == 1).then(|| Random::new(seed.rotate_left(23)))
}

impl Life {
    /// Somebody says who goes first when the group gets smaller, or that this counts no more.
    pub(super) fn choose(&mut self) {
        let Some(chooser) = &mut self.chooser else {
            return;
        };
        let known: Vec<InstanceId> = self.sim.recorded.instances.keys().cloned().collect();
        if known.is_empty() || !chooser.percent(10) {
            return;
        }
        let instance = chooser.pick(&known);
        let (verb, what) = chooser.pick(&[
            (OrderVerb::Yield, "have an instance yield"),
            (OrderVerb::Yield, "have an instance yield"),
            (OrderVerb::Yield, "have an instance yield"),
            (OrderVerb::Release, "release an instance"),
        ]);
        let time = Duration::from_secs(chooser.pick(&[30, 300, 900]));
        self.sim.order(verb, &instance, time);
        self.count("operation", what);
    }

    /// Somebody asks something of an instance, or does not.
    pub(super) fn ask(&mut self) {
        let Some(asker) = &mut self.asker else {
            return;
        };
        if !asker.percent(8) {
            return;
        }
        let known: Vec<InstanceId> = self.sim.recorded.instances.keys().cloned().collect();
        if known.is_empty() {
            return;
        }
        let instance = asker.pick(&known);
        let (verb, what) = asker.pick(&[
            (OrderVerb::Replace, "replace an instance"),
            (OrderVerb::Replace, "replace an instance"),
            (OrderVerb::Restart, "restart an instance"),
            (OrderVerb::Restart, "restart an instance"),
            (OrderVerb::Keep, "keep an instance"),
            (OrderVerb::Release, "release an instance"),
        ]);
        // All of them are over before peace is.
        let time = Duration::from_secs(asker.pick(&[30, 300, 900]));
        self.sim.order(verb, &instance, time);
        self.count("operation", what);
    }
}
