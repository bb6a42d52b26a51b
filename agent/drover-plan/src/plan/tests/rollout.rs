use drover_model::{
    Amount, Checkpoint, ErrorClass, Expiry, HealRevision, LaunchBackoff, OnFailure, Rollout,
    RolloutOrder,
};

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

/// A rollout of `size` that began two hours ago and is taken back when it misses its deadline.
fn overdue(size: u32) -> Fixture {
    let mut fixture = Fixture::converged(size);
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.on_failure = OnFailure::Rollback;
    begin(&mut fixture, -7200);
    fixture
}

fn begin(fixture: &mut Fixture, seconds: i64) {
    let target = fixture.digests();
    let size = fixture.recorded.size;
    fixture.recorded.target = Some(target.clone());
    fixture.recorded.rollout = Some(Rollout::new(target, at(seconds), size));
}

fn ends(fixture: &mut Fixture, name: &str) {
    let old = fixture.recorded.stable.clone().unwrap();
    let acked = IntentState::Acked {
        made: BTreeMap::new(),
        at: at(-600),
    };
    fixture.destroy(name, Reason::Update, acked);
    fixture.list(name, ProviderPhase::Stopping);
    let listed = fixture.listing.instances.last_mut().unwrap();
    listed.ownership.as_mut().unwrap().digests = old;
}

fn ended(plan: &Plan) -> Vec<String> {
    let ended = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Destroy { instance, .. } | Action::Drain { instance, .. } => {
            Some(instance.to_string())
        }
        _ => None,
    });
    ended.collect()
}

#[test]
fn however_slowly_the_old_ones_end_the_template_is_not_to_blame() {
    assert!(overdue(3).planned().0.next.quarantine.is_some());
    // Nobody is on the way up, and the place of the first is not free yet.
    let mut first = overdue(3);
    first.group.spec.rollout.order = RolloutOrder::DeleteFirst;
    first.group.spec.rollout.unavailable_max = Amount::Count(1);
    ends(&mut first, "web-1");
    assert_eq!(first.planned().0.next.quarantine, None);
    // All that are wanted serve, and the last old ones are on their way out.
    let mut last = overdue(3);
    for (old, new) in [("web-1", "web-4"), ("web-2", "web-5"), ("web-3", "web-6")] {
        ends(&mut last, old);
        last.known(new, "Available");
        last.list(new, ProviderPhase::Running);
    }
    last.recorded.next_number = 7;
    assert_eq!(last.planned().0.next.quarantine, None);
    // Nor where one of them has not begun to go.
    let intent = last.intents.pop().unwrap();
    let old = last.recorded.stable.clone().unwrap();
    last.list("web-3", ProviderPhase::Running);
    let listed = last.listing.instances.last_mut().unwrap();
    listed.ownership.as_mut().unwrap().digests = old;
    for gone in ["web-1", "web-2"] {
        last.list(gone, ProviderPhase::Terminated);
    }
    assert_eq!(last.planned().0.next.quarantine, None);
    last.intents.push(intent);
    // One that does not come up is what the deadline is for.
    last.known("web-6", "Starting");
    last.list("web-6", ProviderPhase::Pending);
    last.listing.instances.last_mut().unwrap().created_at = Some(at(-10));
    last.recorded
        .instances
        .get_mut(&id("web-6"))
        .unwrap()
        .created_at = at(-10);
    assert!(last.planned().0.next.quarantine.is_some());
}

#[test]
fn at_a_checkpoint_who_takes_the_place_of_the_interrupted_stays() {
    let mut fixture = Fixture::converged(4);
    fixture.group.spec.health.startup_timeout = std::time::Duration::from_hours(2);
    fixture.known("web-5", "Starting");
    fixture.list("web-5", ProviderPhase::Pending);
    fixture.recorded.next_number = 6;
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.surge_max = Amount::Count(2);
    fixture.group.spec.rollout.checkpoints = vec![Checkpoint {
        at: Amount::Count(1),
        wait: std::time::Duration::from_hours(1),
    }];
    begin(&mut fixture, -60);
    fixture.known("web-4", "Available");
    fixture.list("web-4", ProviderPhase::Running);
    fixture.interrupt("web-1", at(3600));
    let (plan, _) = fixture.planned();
    assert_eq!(ended(&plan), [""; 0]);
    assert_eq!(creates(&plan), []);
}

#[test]
fn at_a_partition_what_is_too_old_is_followed_by_its_like() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.expiry = Some(Expiry {
        age_max: std::time::Duration::from_secs(1),
        jitter_percent: 0,
    });
    let old = fixture.digests();
    fixture.group.spec.template = template(2);
    fixture.group.spec.rollout.surge_max = Amount::Count(3);
    fixture.group.spec.rollout.partition = Some(Amount::Count(1));
    begin(&mut fixture, -60);
    fixture.known("web-3", "Available");
    fixture.list("web-3", ProviderPhase::Running);
    let (plan, report) = fixture.planned();
    let made = |of: &Digests| -> usize {
        let made = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Create { slots, digests, .. } if digests == of => Some(slots.len()),
            _ => None,
        });
        made.sum()
    };
    let target = fixture.digests();
    assert_eq!((made(&old), made(&target)), (2, 1), "{:?}", report.holds);
}

#[test]
fn a_launch_that_vanishes_before_it_was_ready_has_failed() {
    let backoff = |fixture: &Fixture| {
        let backoff = fixture.planned().0.next.backoff;
        backoff.map(|backoff| (backoff.failures, backoff.until))
    };
    let mut fixture = Fixture::converged(3);
    fixture.list("web-3", ProviderPhase::Terminated);
    assert_eq!(backoff(&fixture), None, "it served");
    fixture.known("web-3", "Starting");
    assert_eq!(backoff(&fixture), Some((1, at(0))));
    fixture.destroy("web-3", Reason::Heal, IntentState::Sent);
    assert_eq!(backoff(&fixture), None, "drover ended it");

    // It ended before it could be recorded.
    fixture.intents.clear();
    fixture.recorded.instances.remove(&id("web-3"));
    let made = BTreeMap::from([(id("web-3"), crate::testing::provider_ref("web-3"))]);
    fixture.create(&["web-3"], -5, IntentState::Acked { made, at: at(-4) });
    assert_eq!(backoff(&fixture), Some((1, at(0))));
    fixture.recorded.backoff = Some(LaunchBackoff {
        failures: 1,
        until: at(-10),
        class: None,
        message: "web-2: vanished before it was ready".to_owned(),
    });
    assert_eq!(backoff(&fixture), Some((2, at(60))));
    let (plan, report) = fixture.planned();
    assert_eq!(
        (creates(&plan).len(), holds(&report)),
        (0, vec!["LaunchBackoff"])
    );
}

/// Three should serve with version 1, of which one is missing, and the launch of version 2 is refused with this class for
/// the third time.
fn refused_target(class: ErrorClass) -> (Fixture, Digests) {
    let mut fixture = Fixture::converged(3);
    let old = fixture.digests();
    fixture.unlist("web-3");
    fixture.recorded.instances.remove(&id("web-3"));
    fixture.memory.remove(&id("web-3"));
    fixture.group.spec.template = template(2);
    let target = fixture.digests();
    fixture.recorded.target = Some(target.clone());
    fixture.recorded.rollout = Some(Rollout::new(target, at(-60), 3));
    fixture.recorded.backoff = Some(LaunchBackoff {
        failures: 2,
        until: at(-10),
        class: None,
        message: "cannot pull image".to_owned(),
    });
    fixture.recorded.next_number = 5;
    fixture.create(&["web-4"], -5, refused(class));
    (fixture, old)
}

fn refused(class: ErrorClass) -> IntentState {
    IntentState::Failed {
        class,
        message: "cannot pull image".to_owned(),
        at: at(-4),
    }
}

#[test]
fn while_an_image_cannot_be_pulled_what_is_missing_is_made_of_the_last_good_template() {
    let (fixture, old) = refused_target(ErrorClass::Partial);
    let (plan, _) = fixture.planned();
    let made = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Create { digests, .. } => Some(digests),
        _ => None,
    });
    assert_eq!(made.collect::<Vec<_>>(), [&old]);
    let backoff = plan.next.backoff.unwrap();
    assert_eq!((backoff.failures, backoff.until), (3, at(296)));
    // What no template is to blame for keeps each one waiting.
    let (fixture, _) = refused_target(ErrorClass::Auth);
    let (plan, report) = fixture.planned();
    assert!(creates(&plan).is_empty());
    assert!(holds(&report).contains(&"LaunchBackoff"), "{report:?}");
    // So does a cause that lies in neither: the last good template meets it too.
    let (mut fixture, old) = refused_target(ErrorClass::Partial);
    for intent in &mut fixture.intents {
        if let IntentKind::Create { digests, .. } = &mut intent.kind {
            *digests = old.clone();
        }
    }
    let (plan, _) = fixture.planned();
    assert!(creates(&plan).is_empty());
    let class = plan.next.backoff.and_then(|backoff| backoff.class);
    assert_eq!(class, Some(ErrorClass::Unknown));
}
