//! What speaks against a template although it held for `rollout.monitor`: while a rollout replaces others with it, its
//! instances break more often than those that it replaces.

use drover_model::{InstanceClass, Member, Reason, RecordedInstance, Rollout, RolloutMode};

use super::draft::Draft;

/// How many instances there are, and how many of them are broken.
#[derive(Debug, Clone, Copy, Default)]
struct Broken {
    broken: u64,
    all: u64,
}

impl Draft<'_> {
    /// Returns whether what breaks now counts as a failure of the rollout's template at any age: each that breaks is
    /// replaced by one that will break as well, and in between the group is whole, so that the next good one would go.
    ///
    /// Where nothing more is to be replaced, or may be now, nothing is lost by waiting for a person. Where the outdated
    /// break as well the cause is another one: a zone that is out, or a service that both need.
    pub(super) fn counts_late(&self, rollout: &Rollout) -> bool {
        let spec = &self.spec.rollout;
        let replaces = spec.mode == RolloutMode::Proactive
            && spec.partition.is_none()
            && !self.rolls_back()
            && self.next.stable.as_ref() != Some(&rollout.target)
            && self.withheld(Reason::Update).is_none();
        replaces && self.breaks_more_often()
    }

    /// Returns whether of the target's instances more than twice as many are broken, for how many there are, as of the
    /// outdated ones. With none of these there is nothing to compare with.
    fn breaks_more_often(&self) -> bool {
        let (mut target, mut outdated) = (Broken::default(), Broken::default());
        for member in self.input.classified.members.values() {
            let leaves_for = self.leaving.get(&member.id);
            let repaired = leaves_for == Some(&Some(Reason::Heal));
            // What goes for another reason was taken, and did not break.
            if leaves_for.is_some() && !repaired {
                continue;
            }
            let of = if self.current(member) {
                &mut target
            } else {
                &mut outdated
            };
            of.all += 1;
            of.broken += u64::from(!is_well(member));
        }
        outdated.all > 0 && target.broken * outdated.all > 2 * outdated.broken * target.all
    }
}

/// Returns whether nothing is wrong with a member, as far as is known.
pub(super) fn is_well(member: &Member) -> bool {
    match member.class {
        InstanceClass::Starting | InstanceClass::Warming | InstanceClass::Available => true,
        InstanceClass::Terminating
        | InstanceClass::Exited(_)
        | InstanceClass::Failed { .. }
        | InstanceClass::Unhealthy { .. }
        | InstanceClass::Lost { .. }
        | InstanceClass::Suspect { .. } => false,
    }
}

/// Returns whether an instance was whole when it was last recorded. What was broken before is compared with what else is
/// broken in the pass that sees it first: the outdated are healed first, and then it would be left alone.
pub(super) fn was_whole(before: Option<&RecordedInstance>) -> bool {
    before.is_none_or(|before| {
        matches!(
            before.class.as_str(),
            "Starting" | "Warming" | "Available" | "Suspect"
        )
    })
}
