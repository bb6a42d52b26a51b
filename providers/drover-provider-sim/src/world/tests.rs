use std::time::Duration;

use drover_model::{Digests, GroupName, InstanceId, ProviderType, Template, TemplateParts, Value};
use drover_provider::Slot;

use super::*;
use crate::{Bucket, Throttle};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fleet() -> FleetName {
    FleetName::parse("prod").unwrap()
}

fn digests(version: &str) -> Digests {
    let template = Template::from(TemplateParts {
        properties: [("image".to_owned(), Value::from(version))]
            .into_iter()
            .collect(),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    });
    let type_ = ProviderType::parse("simulated").unwrap();
    Digests::of(&type_, &template, &BTreeMap::new())
}

fn token(letter: char) -> Token {
    Token::parse(&letter.to_string().repeat(32)).unwrap()
}

/// A call with token `letter` for instances `numbers` of group web.
fn request(letter: char, numbers: std::ops::Range<u64>) -> ProvisionRequest {
    let group = GroupName::parse("web").unwrap();
    let slot = |number| Slot {
        instance: InstanceId::new(group.clone(), number),
        init: Vec::new(),
        env: BTreeMap::new(),
        tags: BTreeMap::new(),
        attachments: Vec::new(),
        seat: None,
        secrets: BTreeMap::new(),
    };
    ProvisionRequest {
        zone: None,
        token: token(letter),
        fleet: fleet(),
        group: group.clone(),
        epoch: Epoch(1),
        digests: digests("v1"),
        slots: numbers.map(slot).collect(),
        properties: [("image".to_owned(), Value::from("v1"))]
            .into_iter()
            .collect(),
        secrets: drover_provider::Secrets::default(),
        urgency: drover_provider::Urgency::default(),
        asked: None,
    }
}

fn destroy(world: &SimWorld, provider_ref: &ProviderRef) -> DestroyRequest {
    let owned = world.instances[provider_ref].ownership.clone().unwrap();
    DestroyRequest {
        fleet: owned.fleet,
        group: owned.group,
        epoch: owned.epoch,
        instance: owned.instance,
        provider_ref: provider_ref.clone(),
        token: owned.token,
        grace: seconds(10),
        ending: drover_provider::Ending::default(),
    }
}

fn made(world: &mut SimWorld, now: i64, letter: char) -> ProviderRef {
    let provisioned = world.provision(at(now), &request(letter, 0..1)).result;
    let made = provisioned.unwrap().made;
    made.into_values().next().unwrap()
}

fn phases(world: &mut SimWorld, now: i64) -> Vec<ProviderPhase> {
    let listing = world.list(at(now), &fleet()).result.unwrap();
    assert_eq!(listing.completeness, Completeness::Complete);
    let instances = listing.instances.into_iter();
    instances.map(|instance| instance.phase).collect()
}

fn class<T: std::fmt::Debug>(reply: Reply<T>) -> ErrorClass {
    reply.result.unwrap_err().class
}

#[test]
fn shows_a_life_from_pending_to_forgotten() {
    let mut world = SimWorld::new(SimSettings {
        boot: seconds(10),
        list_lag: seconds(5),
        stop: seconds(20),
        remember: seconds(30),
        ..SimSettings::default()
    });
    let instance = made(&mut world, 0, 'a');
    assert_eq!(phases(&mut world, 4), []);
    assert_eq!(phases(&mut world, 5), [ProviderPhase::Pending]);
    assert_eq!(phases(&mut world, 10), [ProviderPhase::Running]);
    let end = destroy(&world, &instance);
    assert!(world.destroy(at(100), &end).result.is_ok());
    assert_eq!(phases(&mut world, 119), [ProviderPhase::Stopping]);
    assert_eq!(phases(&mut world, 120), [ProviderPhase::Terminated]);
    assert_eq!(phases(&mut world, 150), []);
    assert!(world.destroy(at(151), &end).result.is_ok(), "gone is ended");
    assert_eq!(world.stats().destroyed, 1);
}

#[test]
fn shows_late_fields_as_absent() {
    let mut world = SimWorld::new(SimSettings {
        address_lag: seconds(3),
        tags_lag: seconds(2),
        ..SimSettings::default()
    });
    made(&mut world, 0, 'a');
    let mut listed = |now| world.list(at(now), &fleet()).result.unwrap().instances[0].clone();
    assert_eq!((listed(0).address, listed(1).ownership), (None, None));
    assert!(listed(2).ownership.is_some());
    assert_eq!(listed(3).address.as_deref(), Some("198.18.0.1"));
}

#[test]
fn stale_phases_show_the_past_but_nothing_before_the_creation() {
    let mut world = SimWorld::new(SimSettings {
        phase_lag: seconds(10),
        ..SimSettings::default()
    });
    let instance = made(&mut world, 100, 'a');
    assert_eq!(phases(&mut world, 101), [ProviderPhase::Running]);
    let end = destroy(&world, &instance);
    assert!(world.destroy(at(120), &end).result.is_ok());
    assert_eq!(phases(&mut world, 129), [ProviderPhase::Running]);
    assert_eq!(phases(&mut world, 130), []);
}

#[test]
fn a_token_makes_one_set_of_instances() {
    let mut world = SimWorld::new(SimSettings::default());
    let first = world.provision(at(0), &request('a', 0..3)).result.unwrap();
    let again = world.provision(at(9), &request('a', 0..3)).result.unwrap();
    assert_eq!(first, again);
    assert_eq!(world.stats().created_by_token[&token('a')], 3);
    let other = world.provision(at(9), &request('a', 0..2));
    assert_eq!(class(other), ErrorClass::InvalidSpec);
    assert_eq!(world.stats().created, 3);
}

#[test]
fn lost_replies_and_lost_requests_look_alike_to_the_caller() {
    let mut world = SimWorld::new(SimSettings::default());
    world.inject(Fault::next(Op::Provision, 1, FaultKind::LostReply));
    let lost = world.provision(at(0), &request('a', 0..1));
    assert_eq!(class(lost), ErrorClass::Unknown);
    assert_eq!(world.stats().created, 1);
    world.inject(Fault::next(Op::Provision, 1, FaultKind::LostRequest));
    let lost = world.provision(at(0), &request('b', 1..2));
    assert_eq!(class(lost), ErrorClass::Unknown);
    assert_eq!(world.stats().created, 1);
    // The repeat with the same token finds what the lost reply made.
    made(&mut world, 1, 'a');
    assert_eq!(world.stats().created, 1);
}

#[test]
fn faults_are_counted_where_they_hit_a_call_that_they_mean_something_for() {
    let mut world = SimWorld::new(SimSettings::default());
    for kind in [
        FaultKind::LostReply,
        FaultKind::NotFound,
        FaultKind::Fewer(9),
    ] {
        world.inject(Fault::next(Op::Provision, 1, kind));
    }
    world.inject(Fault::next(Op::Destroy, 1, FaultKind::LostReply));
    let _ = world.provision(at(0), &request('a', 1..3));
    let _ = world.provision(at(1), &request('b', 3..4));
    let expected = [
        ((Op::Provision, "made in part"), 1),
        ((Op::Provision, "reply lost"), 1),
    ];
    assert_eq!(world.stats().faults, BTreeMap::from(expected));
}

#[test]
fn a_late_effect_comes_after_its_caller_gave_up() {
    let mut world = SimWorld::new(SimSettings::default());
    let late = FaultKind::LateEffect(seconds(60));
    world.inject(Fault::next(Op::Provision, 1, late));
    let lost = world.provision(at(0), &request('a', 0..1));
    assert_eq!(class(lost), ErrorClass::Unknown);
    assert_eq!(phases(&mut world, 59), []);
    assert_eq!(world.next_change(at(59)), Some(at(60)));
    assert_eq!(phases(&mut world, 60).len(), 1);
    assert_eq!(world.instances.values().next().unwrap().created_at, at(60));
}

#[test]
fn capacity_makes_what_fits_and_then_refuses() {
    let mut world = SimWorld::new(SimSettings {
        capacity: Some(5),
        ..SimSettings::default()
    });
    world.add_foreign(at(0), Foreign::Untagged);
    let partial = world.provision(at(0), &request('a', 0..6)).result.unwrap();
    assert_eq!(partial.made.len(), 4);
    assert_eq!(partial.shortfall.unwrap().class, ErrorClass::Capacity);
    let full = world.provision(at(0), &request('b', 6..7));
    assert_eq!(class(full), ErrorClass::Capacity);
    assert_eq!(world.stats().peak, 5);
    world.settings.quota = Some(5);
    world.settings.capacity = None;
    let full = world.provision(at(0), &request('b', 6..7));
    assert_eq!(class(full), ErrorClass::Quota);
}

#[test]
fn a_partial_batch_is_accounted_by_slot() {
    let mut world = SimWorld::new(SimSettings::default());
    world.inject(Fault::next(Op::Provision, 1, FaultKind::Fewer(2)));
    let partial = world.provision(at(0), &request('a', 0..5)).result.unwrap();
    let numbers: Vec<u64> = partial.made.keys().map(InstanceId::number).collect();
    assert_eq!(numbers, [0, 1]);
    assert_eq!(partial.shortfall.unwrap().class, ErrorClass::Partial);
}

#[test]
fn ending_instances_count_until_they_are_gone() {
    let mut world = SimWorld::new(SimSettings {
        capacity: Some(1),
        stop: seconds(30),
        ..SimSettings::default()
    });
    let instance = made(&mut world, 0, 'a');
    let end = destroy(&world, &instance);
    assert!(world.destroy(at(1), &end).result.is_ok());
    let early = world.provision(at(2), &request('b', 1..2));
    assert_eq!(class(early), ErrorClass::Capacity);
    assert!(world.provision(at(31), &request('b', 1..2)).result.is_ok());
    assert_eq!(
        world.stats().peak_by_group[&GroupName::parse("web").unwrap()],
        1
    );
}

#[test]
fn listings_can_lie_in_the_ways_that_real_ones_do() {
    let mut world = SimWorld::new(SimSettings::default());
    assert!(world.provision(at(0), &request('a', 0..4)).result.is_ok());
    world.add_foreign(at(0), Foreign::Untagged);
    let fault = |world: &mut SimWorld, kind| {
        world.clear_faults();
        world.inject(Fault::always(Op::List, kind));
        world.list(at(1), &fleet())
    };
    let empty = fault(&mut world, FaultKind::EMPTY_LIST).result.unwrap();
    assert!(empty.instances.is_empty() && empty.completeness == Completeness::Complete);
    let declared = FaultKind::Truncated {
        keep: 3,
        declared: true,
    };
    let partial = fault(&mut world, declared).result.unwrap();
    assert_eq!(partial.instances.len(), 3);
    assert!(matches!(partial.completeness, Completeness::Partial { .. }));
    let twice = fault(&mut world, FaultKind::Repeated).result.unwrap();
    assert_eq!(twice.instances.len(), 8);
    let all = fault(&mut world, FaultKind::Foreign).result.unwrap();
    assert_eq!(all.instances.len(), 5);
    let auth = fault(&mut world, FaultKind::Error(ErrorClass::Auth));
    assert_eq!(class(auth), ErrorClass::Auth);
    assert_eq!(
        fault(&mut world, FaultKind::Slow(seconds(9))).latency,
        seconds(9)
    );
}

#[test]
fn foreign_instances_are_not_listed_and_not_touched() {
    let mut world = SimWorld::new(SimSettings::default());
    let mut ownership = {
        let mine = made(&mut world, 0, 'a');
        world.instances[&mine].ownership.clone().unwrap()
    };
    ownership.fleet = FleetName::parse("other").unwrap();
    let others = [
        world.add_foreign(at(0), Foreign::Untagged),
        world.add_foreign(at(0), Foreign::Owned(Box::new(ownership))),
    ];
    let incomplete = world.add_foreign(at(0), Foreign::Incomplete(fleet()));
    let listing = world.list(at(0), &fleet()).result.unwrap();
    assert_eq!(
        listing.instances.len(),
        2,
        "mine, and the one with half the tags"
    );
    assert_eq!(listing.instances[1].ownership, None);
    for other in others.iter().chain([&incomplete]) {
        let end = DestroyRequest {
            provider_ref: other.clone(),
            ..destroy(&world, &listing.instances[0].provider_ref)
        };
        assert_eq!(class(world.destroy(at(1), &end)), ErrorClass::NotFound);
        assert!(world.instances[other].exists(at(1)));
    }
    assert_eq!(world.stats().foreign_touches, 3);
}

#[test]
fn a_wrong_token_leaves_the_instance_alone() {
    let mut world = SimWorld::new(SimSettings::default());
    let instance = made(&mut world, 0, 'a');
    let wrong = DestroyRequest {
        token: token('b'),
        ..destroy(&world, &instance)
    };
    assert_eq!(class(world.destroy(at(1), &wrong)), ErrorClass::NotFound);
    world.inject(Fault::next(Op::Destroy, 1, FaultKind::NotFound));
    let right = destroy(&world, &instance);
    assert_eq!(class(world.destroy(at(1), &right)), ErrorClass::NotFound);
    assert_eq!(phases(&mut world, 2), [ProviderPhase::Running]);
}

#[test]
fn released_instances_run_on_unlisted() {
    let mut world = SimWorld::new(SimSettings::default());
    let instance = made(&mut world, 0, 'a');
    assert!(world.release(at(1), &fleet(), &instance).result.is_ok());
    assert!(world.release(at(1), &fleet(), &instance).result.is_ok());
    assert_eq!(phases(&mut world, 2), []);
    assert_eq!(
        world.instances[&instance].phase(at(2)),
        Some(ProviderPhase::Running)
    );
}

#[test]
fn throttles_calls_and_the_instances_that_they_name() {
    let mut world = SimWorld::new(SimSettings::default());
    let bucket = |burst, per_second| Some(Bucket { burst, per_second });
    let throttle = Throttle {
        calls: bucket(2, 1),
        instances: bucket(10, 2),
    };
    world.settings.throttles.insert(Op::Provision, throttle);
    assert!(world.provision(at(0), &request('a', 0..8)).result.is_ok());
    let many = world.provision(at(0), &request('b', 8..12));
    assert_eq!(class(many), ErrorClass::Throttled);
    assert!(world.provision(at(1), &request('b', 8..12)).result.is_ok());
    assert!(world.provision(at(2), &request('c', 12..13)).result.is_ok());
    assert!(world.provision(at(2), &request('d', 13..14)).result.is_ok());
    let fourth = world.provision(at(2), &request('e', 14..15));
    assert_eq!(class(fourth), ErrorClass::Throttled);
    assert_eq!(
        world.stats().failures[&(Op::Provision, ErrorClass::Throttled)],
        2
    );
}

#[test]
fn refuses_named_property_values() {
    let mut world = SimWorld::new(SimSettings::default());
    let refused = ("image".to_owned(), Value::from("v1"));
    world.settings.refused.push(refused);
    let reply = world.provision(at(0), &request('a', 0..1));
    let error = reply.result.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert_eq!(error.message, "image v1 does not exist");
    assert!(world.tokens.is_empty(), "a refused call uses up no token");
}

#[test]
fn behaviors_hold_for_existing_and_later_instances() {
    let mut world = SimWorld::new(SimSettings::default());
    let report = ExitReport {
        code: Some(3),
        ..ExitReport::default()
    };
    let first = made(&mut world, 0, 'a');
    let crash = Behavior::Exits {
        after: seconds(10),
        report: report.clone(),
    };
    world.behave(at(5), Which::Template(digests("v1")), crash);
    let second = world.provision(at(20), &request('b', 1..2)).result.unwrap();
    let second = second.made.into_values().next().unwrap();
    let exited = Some(ProviderPhase::Exited(report));
    assert_eq!(
        world.instances[&first].phase(at(9)),
        Some(ProviderPhase::Running)
    );
    assert_eq!(world.instances[&first].phase(at(10)), exited);
    assert_eq!(
        world.instances[&second].phase(at(29)),
        Some(ProviderPhase::Running)
    );
    assert_eq!(world.instances[&second].phase(at(30)), exited);
    assert_eq!(phases(&mut world, 1_000).len(), 2, "listed until destroyed");
}

#[test]
fn health_follows_its_schedule_and_windows() {
    let mut world = SimWorld::new(SimSettings {
        boot: seconds(10),
        ready: seconds(5),
        ..SimSettings::default()
    });
    let instance = made(&mut world, 0, 'a');
    let failing = |why: &str| crate::instance::failing(why);
    let unknown = CheckOutcome::Unknown {
        why: "cut off".to_owned(),
    };
    world.set_health(&instance, at(50), failing("out of memory"));
    let window = Behavior::HealthBetween {
        from: at(30),
        until: at(40),
        outcome: unknown.clone(),
    };
    world.behave(at(0), Which::All, window);
    let health = |now| world.health(&instance, at(now));
    assert_eq!(health(9), failing("connection refused"));
    assert_eq!(health(10), failing("not ready yet"));
    assert_eq!(health(15), CheckOutcome::Passing);
    assert_eq!(health(30), unknown);
    assert_eq!(health(40), CheckOutcome::Passing);
    assert_eq!(health(50), failing("out of memory"));
    let changes = [0, 10, 15, 30, 40].map(|now| world.next_change(at(now)));
    assert_eq!(changes, [10, 15, 30, 40, 50].map(|then| Some(at(then))));
    assert_eq!(world.next_change(at(50)), None);
}

#[test]
fn the_time_of_the_world_never_steps_back() {
    let mut world = SimWorld::new(SimSettings {
        boot: seconds(10),
        ..SimSettings::default()
    });
    made(&mut world, 100, 'a');
    assert_eq!(phases(&mut world, 110), [ProviderPhase::Running]);
    let listing = world.list(at(50), &fleet()).result.unwrap();
    assert_eq!(listing.instances[0].phase, ProviderPhase::Running);
    assert_eq!(listing.as_of, at(50), "the caller's own time");
}

#[test]
fn substitutes_the_address_that_only_the_provider_knows() {
    let mut world = SimWorld::new(SimSettings::default());
    let mut asked = request('a', 0..1);
    asked.slots[0].init = vec!["echo ${instance.address} $${HOME}".to_owned()];
    let made = world.provision(at(0), &asked).result.unwrap().made;
    let instance = &world.instances[made.values().next().unwrap()];
    assert_eq!(
        instance.blueprint.as_ref().unwrap().init,
        ["echo 198.18.0.1 ${HOME}"]
    );
}

#[test]
fn the_same_seed_gives_the_same_faults() {
    let run = |seed| {
        let mut world = SimWorld::new(SimSettings {
            seed,
            ..SimSettings::default()
        });
        world.inject(Fault::always(Op::List, FaultKind::LostReply).with_percent(50));
        let outcomes = (0..64).map(|now| world.list(at(now), &fleet()).result.is_ok());
        outcomes.collect::<Vec<bool>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    let good = run(3).into_iter().filter(|ok| *ok).count();
    assert!((16..48).contains(&good), "{good} of 64");
}

#[test]
fn duplicates_and_stale_epochs_are_counted() {
    let mut world = SimWorld::new(SimSettings::default());
    made(&mut world, 0, 'a');
    made(&mut world, 0, 'b');
    assert_eq!(world.stats().duplicates, 1);
    let mut newer = request('c', 5..6);
    newer.epoch = Epoch(2);
    assert!(world.provision(at(1), &newer).result.is_ok());
    assert_eq!(world.stats().stale_epochs, 0);
    made(&mut world, 2, 'd');
    assert_eq!(world.stats().stale_epochs, 1);
}
