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
