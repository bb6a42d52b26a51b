//! Lives in which most changes are of fields that need no replacement.

use std::time::Duration;

use drover_model::{ErrorClass, FieldClass};
use drover_provider_sim::{Fault, FaultKind, Op};

use super::{BAD_FROM, Life};

/// One life in so many is one of these. By the seed, so that the others stay what they were.
pub(super) const EACH: u64 = 3;

impl Life {
    /// Changes a field that needs a restart, or none; now and then one that needs a replacement.
    pub(super) fn new_fields(&mut self) {
        let good = i64::from(1 + self.random.below(4));
        let bad = BAD_FROM + i64::from(self.random.below(300));
        match self.random.below(10) {
            0 => self.version = self.version % BAD_FROM + 1,
            1 => self.config = bad,
            2 if self.random.percent(70) => self.weight = bad,
            3 | 4 => self.config = good,
            _ => self.weight = good,
        }
        let (version, config, weight) = (self.version, self.config, self.weight);
        self.note_bad("config", config);
        self.note_bad("weight", weight);
        self.count("document", "other fields of the template");
        self.sim
            .edit(|spec| spec.template = crate::template_with(version, config, weight));
    }

    /// A person allows more or less to be done for being outdated.
    pub(super) fn change_action(&mut self) {
        let allowed = self.random.pick(&[
            FieldClass::Live,
            FieldClass::Restart,
            FieldClass::Restart,
            FieldClass::Replace,
        ]);
        self.count("document", "another maxAction");
        self.sim.edit(|spec| spec.rollout.action_max = allowed);
    }

    /// A change in place goes wrong.
    pub(super) fn update_fault(&mut self) {
        let kind = self.random.pick(&[
            FaultKind::LostReply,
            FaultKind::LostReply,
            FaultKind::LostRequest,
            FaultKind::Slow(Duration::from_secs(5)),
            FaultKind::Error(ErrorClass::Throttled),
            FaultKind::Error(ErrorClass::Capacity),
            FaultKind::Error(ErrorClass::Auth),
            FaultKind::Error(ErrorClass::InvalidSpec),
            FaultKind::NotFound,
        ]);
        let times = 1 + self.random.below(4);
        let percent = self.random.pick(&[50, 100]);
        self.sim
            .world()
            .inject(Fault::next(Op::Update, times, kind).with_percent(percent));
    }
}
