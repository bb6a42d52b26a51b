//! One of every hold.

use super::*;

/// Returns every hold with the given data. Their number keeps the list whole.
#[expect(
    clippy::too_many_lines,
    reason = "one value per hold, nothing to split"
)]
pub(super) fn all_holds(
    why: &str,
    count: u32,
    policy: &PolicyHold,
    cause: &PauseCause,
) -> Vec<Hold> {
    let why = why.to_owned();
    let provider = ProviderName::parse("local").unwrap();
    let holds = vec![
        Hold::ObservationPartial { why: why.clone() },
        Hold::ObservationStale,
        Hold::ObservationEmptied {
            expected: count,
            elsewhere: 0,
            asked: "the provider".to_owned(),
        },
        Hold::ObservationEmptied {
            expected: 0,
            elsewhere: count,
            asked: why.clone(),
        },
        Hold::ProviderFailed {
            class: ErrorClass::Quota,
            message: why.clone(),
        },
        Hold::ProviderMissing {
            provider: provider.clone(),
            why: why.clone(),
        },
        Hold::ProviderChanged {
            from: provider.clone(),
            to: ProviderName::parse("other").unwrap(),
            setting: None,
        },
        Hold::ProviderChanged {
            from: provider.clone(),
            to: provider.clone(),
            setting: Some("settings.region".to_owned()),
        },
        Hold::SpecInvalid {
            message: why.clone(),
        },
        Hold::Suspended {
            activity: Activity::Gc,
            because: None,
        },
        Hold::Suspended {
            activity: Activity::Update,
            because: Some(why.clone()),
        },
        Hold::Frozen { by: why.clone() },
        Hold::ObserveOnly,
        Hold::OwnerStillActs {
            owner: why.clone(),
            instances: count,
        },
        Hold::AdoptionContested {
            stranger: ProviderRef::parse("i-1").unwrap(),
            groups: [GroupName::parse("db").unwrap()].into(),
        },
        Hold::AdoptionRefused { why: why.clone() },
        Hold::StrangersMissing { missing: count },
        Hold::OwnerUnproven {
            group: "web".parse().unwrap(),
            instances: count,
        },
        Hold::AdoptedSurplus {
            count,
            handles: vec![ProviderRef::parse("i-1").unwrap()],
        },
        Hold::AdoptionUnknown { why: why.clone() },
        Hold::StrayInstances { why: why.clone() },
        Hold::DuplicateInstances { why: why.clone() },
        Hold::ClusterDegraded { why: why.clone() },
        Hold::ClusterUnknown { why: why.clone() },
        Hold::Adopting { left: count },
        Hold::PolicyDenied(policy.clone()),
        Hold::ApprovalNeeded(Box::new(ApprovalNeeded {
            policy: policy.clone(),
            change: ChangeId::of(&Value::Null),
            authors: Authors::recorded([why.clone(), "ann@example.com".to_owned()], false),
            have: [Signer::parse("ann@example.com").unwrap()].into(),
            need: count,
            spent: Some(Timestamp::UNIX_EPOCH),
        })),
        Hold::ApprovalRejected(Box::new(ApprovalRejected {
            policy: policy.clone(),
            change: ChangeId::of(&Value::Null),
            authors: Authors::recorded(Vec::new(), true),
            by: Signer::parse("bob@example.com").unwrap(),
            because: why.clone(),
        })),
        Hold::GateClosed(policy.clone()),
        Hold::PolicyFailed(policy.clone()),
        Hold::BudgetByPolicy(policy.clone()),
        Hold::ProtectedByPolicy(policy.clone()),
        Hold::PlaceForbidden(policy.clone()),
        Hold::AnalysisPending(policy.clone()),
        Hold::WindowClosed {
            window: why.clone(),
        },
        Hold::BudgetExhausted {
            used: count,
            max: count,
        },
        Hold::FleetBudgetExhausted {
            budget: BudgetName::parse("disks").unwrap(),
            max: count,
            taken_by: vec![GroupName::parse("web").unwrap()],
        },
        Hold::ProtectedInstance { because: None },
        Hold::ProtectedInstance {
            because: Some(why.clone()),
        },
        Hold::KeptInstance {
            by: Signer::parse("tom@example.com").unwrap(),
            because: why.clone(),
        },
        Hold::DependencyNotReady {
            group: GroupName::parse("db").unwrap(),
        },
        Hold::CreateLimit {
            limit: count,
            reserved: 1,
        },
        Hold::DestroyRate {
            limit: count,
            reserved: 1,
        },
        Hold::SurgeExhausted { ceiling: count },
        Hold::AvailabilityFloor {
            floor: count,
            available: 1,
        },
        Hold::FirstBatch { waiting: count },
        Hold::RolloutWindow { waiting: count },
        Hold::RolloutPaused(cause.clone()),
        Hold::Quarantined(cause.clone()),
        Hold::CanaryHold {
            count,
            promote: Promote::Manual,
        },
        Hold::Checkpoint { at: count },
        Hold::Bake,
        Hold::Partition { at: count },
        Hold::NotProactive {
            mode: RolloutMode::Opportunistic,
        },
        Hold::LaunchBackoff {
            failures: count,
            message: why.clone(),
        },
        Hold::HealBudget { allowed: count },
        Hold::Systemic {
            bad: 2,
            total: count,
        },
        Hold::AllUnknown,
        Hold::DestroyLimit {
            earlier: count,
            wanted: count,
            limit: 3,
        },
        Hold::FleetDestroyLimit {
            wanted: count,
            limit: 3,
        },
        Hold::ZonesCooling { zones: count },
        Hold::ScalingStabilized {
            asked: count,
            size: count,
        },
        Hold::ScalingRate {
            asked: count,
            size: count,
        },
        Hold::TotalLimit { limit: count },
        Hold::QuorumAtRisk {
            healthy: 1,
            voters: count,
            needed: 2,
        },
        Hold::QuorumUnsettled { why: why.clone() },
        Hold::MembershipUnclear { why: why.clone() },
        Hold::QuorumUnproven { why: why.clone() },
        Hold::SizingChanged,
        Hold::Protected,
        Hold::DeletionUnconfirmed { why: why.clone() },
        Hold::RenameUnconfirmed {
            from: "web".parse().unwrap(),
        },
        Hold::DrainTimeout,
        Hold::NumbersExhausted { next: u64::MAX },
        Hold::UnknownOutcomes { count, said: None },
        Hold::UnknownOutcomes {
            count,
            said: Some(why.clone()),
        },
        Hold::JournalUnavailable { why: why.clone() },
        Hold::ClockStepped,
        Hold::SecretUnresolved {
            reference: "env:WEB_TOKEN".to_owned(),
            why: why.clone(),
        },
        Hold::LaunchesRefused {
            provider: "aws".parse().unwrap(),
            message: why.clone(),
        },
        Hold::EndRefused {
            class: drover_model::ErrorClass::InvalidSpec,
            message: why.clone(),
        },
        Hold::ChangeRefused {
            class: drover_model::ErrorClass::Auth,
            message: why.clone(),
        },
        Hold::SourceOutage {
            mode: drover_model::OutageMode::HoldCapacity,
            since: "2026-11-22T03:00:00Z".parse().unwrap(),
        },
        Hold::EpochConflict { why: why.clone() },
        Hold::StateUntrusted { why: why.clone() },
        Hold::SourceUnavailable { why },
    ];
    let codes: BTreeSet<&str> = holds.iter().map(Hold::code).collect();
    assert_eq!(codes.len(), 81, "a hold is missing from the list");
    holds
}

#[test]
fn the_single_author_of_earlier_records_is_read() {
    let mut group = small();
    let policy = PolicyHold {
        policy: PolicyName::parse("few").unwrap(),
        binding: "few".to_owned(),
        span: SourceSpan::start_of("few.yaml"),
        message: String::new(),
        values: BTreeMap::new(),
    };
    let all = all_holds("why", 1, &policy, &PauseCause::Deadline);
    let needed = all.into_iter().find_map(|hold| match hold {
        Hold::ApprovalNeeded(needed) => Some(needed),
        _ => None,
    });
    let needed = ApprovalNeeded {
        authors: Authors::of(&["Ann <ann@example.com>"]),
        ..*needed.unwrap()
    };
    group.holds = vec![Held {
        hold: Hold::ApprovalNeeded(Box::new(needed)),
        reason: None,
        instance: None,
        until: None,
    }];
    let text = encode(&group);
    let list = "authors:\n";
    let at = text.find(list).unwrap();
    let end = at + text[at..].find("ann@example.com").unwrap();
    let earlier = format!("{}author: {}", &text[..at], &text[end..]);
    assert_eq!(decode(&earlier), Ok(group), "{earlier}");
}

#[test]
fn restores_every_hold() {
    let policy = PolicyHold {
        policy: PolicyName::parse("office-hours").unwrap(),
        binding: "prod".to_owned(),
        span: SourceSpan::start_of("policies/hours.yaml"),
        message: "outside office hours".to_owned(),
        values: BTreeMap::from([("now".to_owned(), "2026-01-05T03:00:00Z".to_owned())]),
    };
    let mut group = small();
    group.holds = all_holds("because", 7, &policy, &PauseCause::Deadline)
        .into_iter()
        .map(|hold| Held {
            hold,
            reason: None,
            instance: None,
            until: None,
        })
        .collect();
    assert_eq!(decode(&encode(&group)), Ok(group));
}
