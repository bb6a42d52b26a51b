//! Zones: EC2 counts the token of a launch in the zone that the launch names, and in no other.

use std::collections::BTreeSet;

use drover_model::{ErrorClass, Value};
use drover_provider::ProvisionRequest;

use crate::conformance::slow;
use crate::fake::{Fake, FakeSettings};
use crate::support::{client, factory, open, request, running_with, texts};

const ZONES: [&str; 2] = ["eu-central-1a", "eu-central-1b"];

fn in_two_zones() -> Value {
    running_with(&[("subnets", texts(&["subnet-a", "subnet-b"]))])
}

fn set_room(fake: &Fake, zone: &str, room: Option<usize>) {
    let key = ("t3.micro".to_owned(), format!("subnet-{}", &zone[12..]));
    let mut world = fake.world();
    match room {
        Some(room) => world.room.insert(key, room),
        None => world.room.remove(&key),
    };
}

fn made_of(fake: &Fake, asked: &ProvisionRequest) -> Vec<String> {
    let world = fake.world();
    let own = world.living();
    let own = own.filter(|one| one.token == asked.token.as_str());
    own.map(|one| one.zone.clone()).collect()
}

#[tokio::test]
async fn the_double_counts_a_token_in_each_zone_that_is_named_and_else_in_the_region() {
    let fake = Fake::start(FakeSettings::default());
    let client = client(&fake.endpoint()).await;
    let launch = |subnet: Option<&str>| {
        let call = client
            .run_instances()
            .client_token("one")
            .image_id("ami-00000001")
            .min_count(1)
            .max_count(1)
            .set_subnet_id(subnet.map(str::to_owned));
        async move {
            call.send().await.unwrap().instances()[0]
                .instance_id
                .clone()
        }
    };
    let there = [
        launch(Some("subnet-a")).await,
        launch(Some("subnet-b")).await,
    ];
    assert_ne!(there[0], there[1], "the same token, and another instance");
    let anywhere = launch(None).await;
    assert!(!there.contains(&anywhere));
    assert_eq!(launch(Some("subnet-a")).await, there[0]);
    assert_eq!(launch(None).await, anywhere);
    // Another subnet of the zone is another parameter.
    let beside = client
        .run_instances()
        .client_token("one")
        .image_id("ami-00000001");
    let beside = beside.min_count(1).max_count(1).subnet_id("subnet-a2");
    let refused = beside.send().await.unwrap_err();
    let code = aws_sdk_ec2::error::ProvideErrorMetadata::code(&refused).map(str::to_owned);
    assert_eq!(code.as_deref(), Some("IdempotentParameterMismatch"));
    assert_eq!(fake.world().living().count(), 3);
}

/// A call whose answer is lost while one zone has no room, and that is repeated by a program which remembers nothing when it
/// is the other zone that has none.
#[tokio::test]
async fn what_was_made_in_one_zone_is_not_made_again_in_another_by_whoever_repeats_the_call() {
    let fake = Fake::start(slow());
    let mut lost = 0;
    for number in 1..=8 {
        let (full, other) = match number % 4 {
            0 | 1 => (ZONES[0], ZONES[1]),
            _ => (ZONES[1], ZONES[0]),
        };
        let batch = request(number, 1, in_two_zones());
        set_room(&fake, full, Some(0));
        fake.world().lose("RunInstances", 3);
        let first = open(&factory(&fake.endpoint())).provision(&batch).await;
        let first = first.unwrap_err().class;
        lost += usize::from(first == ErrorClass::Unknown);
        assert!(matches!(first, ErrorClass::Unknown | ErrorClass::Capacity));
        fake.world().losses.clear();
        set_room(&fake, full, None);
        set_room(&fake, other, Some(0));
        let again = loop {
            let provider = open(&factory(&fake.endpoint()));
            match provider.provision(&batch).await {
                Err(error) if error.class == ErrorClass::Unknown => {}
                answer => break answer,
            }
        };
        assert_eq!(again.unwrap().made.len(), 1);
        assert_eq!(made_of(&fake, &batch).len(), 1, "number {number}");
        set_room(&fake, other, None);
    }
    assert!((1..8).contains(&lost), "{lost} of 8 answers were lost");
}

#[tokio::test]
async fn a_batch_has_one_zone_whatever_is_full_and_the_next_one_goes_to_another() {
    let fake = Fake::start(FakeSettings::default());
    let provider = open(&factory(&fake.endpoint()));
    set_room(&fake, ZONES[0], Some(0));
    let mut refused = Vec::new();
    for number in 1..=6 {
        let batch = request(number, 1, in_two_zones());
        let first = provider.provision(&batch).await;
        let again = open(&factory(&fake.endpoint())).provision(&batch).await;
        match (first, again) {
            (Ok(first), Ok(again)) => {
                assert_eq!(first.made, again.made);
                assert_eq!(made_of(&fake, &batch), [ZONES[1]]);
            }
            (Err(first), Err(again)) => {
                let classes = (first.class, again.class);
                assert_eq!(classes, (ErrorClass::Capacity, ErrorClass::Capacity));
                assert!(made_of(&fake, &batch).is_empty());
                refused.push(number);
            }
            answers => panic!("{answers:?}"),
        }
    }
    assert!(refused.len() >= 2, "{refused:?}");
    let apart = refused.windows(2).all(|pair| pair[1] > pair[0] + 1);
    assert!(apart, "the next number goes elsewhere: {refused:?}");
    // In whichever order the subnets are written.
    fake.world().room.clear();
    for number in 20..=23 {
        let batch = request(number, 1, in_two_zones());
        let turned = running_with(&[("subnets", texts(&["subnet-b", "subnet-a"]))]);
        let mut turned = request(number, 1, turned);
        turned.token = batch.token.clone();
        turned.digests = batch.digests.clone();
        provider.provision(&batch).await.unwrap();
        let _ = provider.provision(&turned).await;
        assert_eq!(made_of(&fake, &batch).len(), 1);
    }
}

#[tokio::test]
async fn instances_that_are_made_one_by_one_go_round_the_zones() {
    let fake = Fake::start(FakeSettings::default());
    let provider = open(&factory(&fake.endpoint()));
    for number in 8..=15 {
        let subnets = texts(&["subnet-a", "subnet-b", "subnet-c", "subnet-a2"]);
        let batch = request(number, 1, running_with(&[("subnets", subnets)]));
        provider.provision(&batch).await.unwrap();
    }
    let world = fake.world();
    let zones: Vec<&String> = world.living().map(|one| &one.zone).collect();
    for round in zones.windows(3) {
        let distinct: BTreeSet<_> = round.iter().collect();
        assert_eq!(distinct.len(), 3, "{zones:?}");
    }
}

#[tokio::test]
async fn a_type_that_one_zone_does_not_have_is_no_mistake_before_no_zone_has_it() {
    let fake = Fake::start(FakeSettings::default());
    let provider = open(&factory(&fake.endpoint()));
    fake.world().refuse("RunInstances", "Unsupported", 4);
    // Of neighbours within a round.
    let mut classes = Vec::new();
    for number in 2..=4 {
        let batch = request(number, 1, in_two_zones());
        let refused = provider.provision(&batch).await;
        classes.push(refused.unwrap_err().class);
    }
    let nowhere = ErrorClass::InvalidSpec;
    assert_eq!(classes, [ErrorClass::Capacity, nowhere, nowhere]);
}
