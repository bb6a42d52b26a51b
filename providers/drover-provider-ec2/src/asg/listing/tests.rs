use aws_sdk_autoscaling::types::TagDescription;

use super::*;

fn template(id: &str, version: &str) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder()
        .launch_template_id(id)
        .launch_template_name("web")
        .version(version)
        .build()
}

fn machine(state: LifecycleState, version: &str) -> Instance {
    Instance::builder()
        .lifecycle_state(state)
        .launch_template(template("lt-1", version))
        .build()
}

/// A group of version 2, with machines and tags.
fn group(machines: Vec<Instance>, tags: &[(&str, &str)]) -> Group {
    let tags = tags.iter();
    let tags = tags.map(|(key, value)| TagDescription::builder().key(*key).value(*value).build());
    let inner = AutoScalingGroup::builder()
        .auto_scaling_group_name("web")
        .desired_capacity(i32::try_from(machines.len()).unwrap())
        .launch_template(template("lt-1", "2"))
        .set_instances(Some(machines))
        .set_tags(Some(tags.collect()));
    Group::of(inner.build()).unwrap()
}

fn refresh(status: InstanceRefreshStatus, kept: Option<i32>) -> InstanceRefresh {
    let preferences = RefreshPreferences::builder().set_min_healthy_percentage(kept);
    InstanceRefresh::builder()
        .status(status)
        .status_reason("two did not start")
        .preferences(preferences.build())
        .build()
}

#[test]
fn a_change_has_happened_when_every_machine_that_stays_comes_from_its_template() {
    use LifecycleState as L;
    let noted = [(NEXT, "later"), (NEXT_TEMPLATE, "lt-1/2")];
    let new = || machine(L::InService, "2");
    assert_eq!(group(vec![new()], &noted).reached(), Some("later"));
    let half = vec![new(), machine(L::InService, "1")];
    assert_eq!(group(half, &noted).reached(), None);
    let leaving = vec![
        new(),
        machine(L::TerminatingWait, "1"),
        machine(L::Standby, "1"),
    ];
    assert_eq!(group(leaving, &noted).reached(), Some("later"));
    let by_name = [(NEXT, "later"), (NEXT_TEMPLATE, "web/2")];
    assert_eq!(group(vec![new()], &by_name).reached(), Some("later"));
    // The group itself is not there yet.
    let ahead = [(NEXT, "later"), (NEXT_TEMPLATE, "lt-1/3")];
    assert_eq!(group(vec![new()], &ahead).reached(), None);
    let at_once = [(NEXT, "later"), (NEXT_TEMPLATE, AT_ONCE)];
    let old = vec![machine(L::InService, "1")];
    assert_eq!(group(old, &at_once).reached(), Some("later"));
    let none = Instance::builder().lifecycle_state(L::InService).build();
    assert_eq!(group(vec![none], &noted).reached(), None);
    assert_eq!(group(vec![new()], &[]).reached(), None);
}

#[test]
fn a_group_is_as_healthy_as_its_machines_and_its_refresh() {
    use InstanceRefreshStatus as S;
    use LifecycleState as L;
    let whole = group(
        vec![machine(L::InService, "2"), machine(L::InService, "2")],
        &[],
    );
    let half = group(
        vec![machine(L::InService, "2"), machine(L::Pending, "2")],
        &[],
    );
    assert_eq!(outcome(&whole, None), CheckOutcome::Passing);
    let why = "1 of 2 machines are in service".to_owned();
    assert_eq!(
        outcome(&half, None),
        CheckOutcome::Failing { why: why.clone() }
    );
    // A refresh may take as many as it says.
    assert_eq!(
        outcome(&half, Some(&refresh(S::InProgress, Some(50)))),
        CheckOutcome::Passing
    );
    assert_eq!(
        outcome(&half, Some(&refresh(S::InProgress, None))),
        CheckOutcome::Passing
    );
    assert_eq!(
        outcome(&half, Some(&refresh(S::InProgress, Some(100)))),
        CheckOutcome::Failing { why }
    );
    for (status, word) in [
        (S::Failed, "Failed"),
        (S::RollbackFailed, "RollbackFailed"),
        (S::RollbackSuccessful, "RollbackSuccessful"),
    ] {
        for (group, serving) in [(&whole, 2), (&half, 1)] {
            let why = format!(
                "its instance refresh is {word}: two did not start; {serving} of 2 machines are in service"
            );
            let last = refresh(status.clone(), None);
            assert_eq!(outcome(group, Some(&last)), CheckOutcome::Unknown { why });
        }
    }
    assert_eq!(
        outcome(&whole, Some(&refresh(S::Cancelled, None))),
        CheckOutcome::Passing
    );
}

#[test]
fn a_group_starts_once() {
    use LifecycleState as L;
    use aws_sdk_ec2::primitives::DateTime;
    let made = 1_800_000_000;
    let at = |minutes: i64| Timestamp::from_second(made + minutes * 60).unwrap();
    let young = |tags: &[(&str, &str)]| {
        let mut group = group(vec![machine(L::Pending, "2")], tags);
        group.inner.created_time = Some(DateTime::from_secs(made));
        group
    };
    let asked = (ASKED, "y");
    assert_eq!(young(&[asked]).phase(at(1)), ProviderPhase::Pending);
    assert_eq!(young(&[asked]).phase(at(31)), ProviderPhase::Running);
    let changed = [asked, (UPDATE, "x")];
    assert_eq!(young(&changed).phase(at(1)), ProviderPhase::Running);
    assert_eq!(young(&[]).phase(at(1)), ProviderPhase::Running, "adopted");
    // Nor does one start again that was seen to run.
    let started = Started::default();
    let phase = |group: Group| started.phases(&[group], at(1))[0].1.clone();
    assert_eq!(phase(young(&[asked])), ProviderPhase::Pending);
    let mut whole = young(&[asked]);
    whole.inner.desired_capacity = Some(0);
    assert_eq!(phase(whole), ProviderPhase::Running);
    assert_eq!(phase(young(&[asked])), ProviderPhase::Running);
    assert_eq!(phase(young(&[asked])), ProviderPhase::Running);
    assert!(started.phases(&[], at(1)).is_empty());
    assert_eq!(phase(young(&[asked])), ProviderPhase::Pending);
    let mut ending = young(&[]);
    ending.inner.status = Some("Delete in progress".to_owned());
    assert_eq!(ending.phase(at(1)), ProviderPhase::Stopping);
}

#[test]
fn what_eks_or_another_service_drives_is_theirs() {
    use aws_sdk_autoscaling::types::Operator;
    assert_eq!(group(Vec::new(), &[("Name", "x")]).claim(), None);
    let eks = group(Vec::new(), &[("eks:nodegroup-name", "x")]);
    assert_eq!(
        eks.claim().as_deref(),
        Some("Amazon EKS (tag eks:nodegroup-name)")
    );
    let mut operated = group(Vec::new(), &[]);
    let principal = "ecs.amazonaws.com";
    operated.inner.operator = Some(Operator::builder().principal(principal).build());
    assert_eq!(operated.claim(), Some(format!("the service {principal}")));
}
