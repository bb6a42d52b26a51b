//! The numbers behind the decisions: how many there are, may be and must be.

use drover_model::{
    Adoption, Classified, Digests, Drift, GroupSpec, InstanceClass, Member, Numbers, Reason,
    RecordedGroup, RolloutOrder,
};

/// The amounts of a specification, resolved for a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The size.
    pub(crate) size: u32,
    /// Instances allowed above the size.
    pub(crate) surge: u32,
    /// Instances that may be missing.
    pub(crate) unavailable: u32,
    /// Instances that must stay available.
    pub(crate) floor: u32,
    /// Most instances at once.
    pub(crate) ceiling: u32,
}

impl Resolved {
    /// Resolves the amounts of `spec` for `size`.
    ///
    /// Where neither surge nor unavailability is left after rounding, one instance may be
    /// unavailable: surge might be impossible for lack of quota, and no update could ever proceed.
    pub(crate) fn of(spec: &GroupSpec, size: u32) -> Self {
        let surge = match spec.rollout.order {
            // Nobody replaces anybody in a group of nobody.
            _ if size == 0 => 0,
            RolloutOrder::Auto | RolloutOrder::CreateFirst => spec.rollout.surge_max.ceil_of(size),
            RolloutOrder::DeleteFirst => 0,
        };
        let mut unavailable = spec.rollout.unavailable_max.floor_of(size).min(size);
        if surge == 0 && unavailable == 0 {
            unavailable = size.min(1);
        }
        let ceiling = size.saturating_add(surge);
        Self {
            size,
            surge,
            unavailable,
            floor: size - unavailable,
            ceiling: spec
                .limits
                .total_max
                .map_or(ceiling, |limit| limit.min(ceiling)),
        }
    }

    /// Allows as many more instances as are beside the others: what the provider is about to take, which
    /// is replaced before it goes, and what is kept, which is replaced while it stays.
    pub(crate) fn beside(self, extra: u32, spec: &GroupSpec) -> Self {
        let ceiling = self.ceiling.saturating_add(extra);
        let limit = spec.limits.total_max.unwrap_or(u32::MAX);
        Self {
            ceiling: ceiling.min(limit),
            ..self
        }
    }
}

/// Counts the instances that the provider is about to take. The members of a quorum group have places of
/// their own, which nothing can take beside them.
pub(crate) fn doomed(spec: &GroupSpec, classified: &Classified) -> u32 {
    let members = classified.members.values();
    let doomed = members.filter(|member| spec.quorum.is_none() && member.interruption.is_some());
    doomed.count() as u32
}

/// Counts the instances that were drained for the removal of their group. Where that was taken back, their successors are
/// made beside them.
fn leaving_with(spec: &GroupSpec, classified: &Classified) -> u32 {
    let drained = classified.members.values().filter(|member| {
        let reason = member.drain.as_ref().map(|drain| drain.reason);
        spec.quorum.is_none() && reason == Some(Reason::Delete) && member.interruption.is_none()
    });
    drained.count() as u32
}

/// Counts the instances that are beside those that the size is about: see [`Resolved::beside`].
pub(crate) fn extra(spec: &GroupSpec, classified: &Classified) -> u32 {
    doomed(spec, classified) + leaving_with(spec, classified) + classified.kept.len() as u32
}

/// Returns whether a member serves: available, and not on its way out.
pub(crate) fn serves(member: &Member) -> bool {
    matches!(member.class, InstanceClass::Available) && member.drain.is_none()
}

/// Returns the numbers of a group of `size`, with the recorded target as the template to compare to.
pub fn numbers(
    spec: &GroupSpec,
    size: u32,
    classified: &Classified,
    recorded: &RecordedGroup,
    drift: &Drift,
) -> Numbers {
    count(
        &Resolved::of(spec, size).beside(extra(spec, classified), spec),
        classified,
        recorded.target.as_ref(),
        drift,
    )
}

/// Counts the members against `target`. Without a target every member is current.
pub(crate) fn count(
    resolved: &Resolved,
    classified: &Classified,
    target: Option<&Digests>,
    drift: &Drift,
) -> Numbers {
    let mut numbers = Numbers {
        size: resolved.size,
        floor: resolved.floor,
        ceiling: resolved.ceiling,
        total: classified.kept.len() as u32,
        kept: classified.kept.len() as u32,
        strangers: match &classified.adoption {
            Some(Adoption::Known { strangers, .. }) => strangers.len() as u32,
            Some(Adoption::Unknown(_)) | None => 0,
        },
        ..Numbers::default()
    };
    for member in classified.members.values() {
        let current = target.is_none_or(|target| drift.is_current(&member.digests, target));
        let leaving = matches!(member.class, InstanceClass::Terminating);
        numbers.total += 1;
        numbers.available += u32::from(serves(member));
        numbers.updated += u32::from(serves(member) && current);
        numbers.outdated += u32::from(!leaving && !current);
    }
    numbers
}
