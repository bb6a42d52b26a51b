use drover_model::{Amount, HealRevision, Rollout};

use super::*;

/// A rollout from version 1 to 2 of 5 with a surge of 2, in which three are missing and one of each
/// version is there; healing keeps the template.
fn most_are_missing() -> Fixture {
    let mut fixture = Fixture::converged(2);
    let spec = &mut fixture.group.spec;
    spec.size = 5;
    spec.template = template(2);
    spec.heal.revision = Some(HealRevision::Current);
    spec.rollout.surge_max = Amount::Count(2);
    spec.rollout.unavailable_max = Amount::Percent(100);
    spec.rollout.first_batch = 5;
    let target = fixture.digests();
    fixture.recorded.size = 5;
    fixture.recorded.stable_size = 5;
    fixture.recorded.target = Some(target.clone());
    let mut rollout = Rollout::new(target.clone(), at(-60), 5);
    rollout.stages.updated = Some(3);
    fixture.recorded.rollout = Some(rollout);
    let provider_ref = crate::testing::provider_ref("web-2");
    for listed in &mut fixture.listing.instances {
        if listed.provider_ref == provider_ref {
            listed.ownership.as_mut().unwrap().digests = target.clone();
        }
    }
    fixture
        .recorded
        .instances
        .get_mut(&id("web-2"))
        .unwrap()
        .digests = target;
    fixture
}

#[test]
fn the_surge_stays_for_what_the_same_plan_makes_of_the_old_template() {
    let (plan, _) = most_are_missing().planned();
    let made: usize = creates(&plan).iter().map(|(slots, _)| slots.len()).sum();
    assert_eq!(made, 5, "three are missing, and the surge is two");
    let scale_in = Cause::Because(Reason::ScaleIn);
    assert!(plan.steps.iter().all(|step| step.cause != scale_in));
}

#[test]
fn a_failed_newcomer_that_is_being_cleared_lets_no_other_instance_go() {
    let mut fixture = Fixture::converged(4);
    fixture.unlist("web-4");
    fixture.recorded.instances.remove(&id("web-4"));
    fixture.memory.remove(&id("web-4"));
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.surge_max = Amount::Count(0);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(2);
    fixture.list("web-5", ProviderPhase::Stopping);
    fixture.known("web-5", "Terminating");
    fixture.recorded.next_number = 6;
    // Three serve and two must: the floor would let one go. But the place of the failed one is empty, and
    // nothing can be made before it is gone.
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    assert!(holds(&report).contains(&"FirstBatch"));
}

#[test]
fn a_group_that_is_mostly_broken_is_healed_one_at_a_time() {
    let ended = |bad: u32| {
        let mut fixture = Fixture::converged(20);
        fixture.group.spec.heal.in_flight_max = Amount::Percent(50);
        fixture.group.spec.heal.systemic.threshold = Amount::Percent(40);
        for number in 1..=bad {
            let exited = ProviderPhase::Exited(ExitReport::default());
            fixture.list(&format!("web-{number}"), exited);
        }
        let (plan, report) = fixture.planned();
        let ends = plan
            .steps
            .iter()
            .filter(|step| step.cause == Cause::Because(Reason::Heal));
        (ends.count(), holds(&report).contains(&"Systemic"))
    };
    assert_eq!(ended(7), (7, false));
    assert_eq!(ended(8), (1, true));
}
