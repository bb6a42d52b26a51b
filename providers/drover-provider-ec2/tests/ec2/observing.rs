//! Observing: what a pass costs, what is about to happen, what is behind.

use drover_model::{ErrorClass, FieldClass, ProviderPhase, Timestamp, Value};

use crate::fake::{Fake, FakeSettings};
use crate::support::{
    end, factory, factory_sharing, factory_with, fleet, live_change, map, open, open_with, request,
    run_id, running_with, settings,
};

fn instant() -> Fake {
    Fake::start(FakeSettings::default())
}

/// Makes instances without the provider's own launches, which an account's limits would slow down.
async fn many(fake: &Fake, provider: &dyn drover_provider::Provider, count: usize) {
    let batch = request(1, 100, running_with(&[]));
    provider.provision(&batch).await.unwrap();
    let mut world = fake.world();
    let template: Vec<_> = world.machines.values().cloned().collect();
    for copy in 0..count - 100 {
        let id = format!("i-{:017x}", 0x1_0000 + copy);
        let mut machine = template[copy % 100].clone();
        machine.tags.remove("drover.instances");
        machine
            .tags
            .insert("drover.instance".to_owned(), format!("web-{}", 101 + copy));
        machine.id.clone_from(&id);
        world.machines.insert(id, machine);
    }
}

fn calls(fake: &Fake) -> Vec<(String, u64)> {
    fake.calls().into_iter().collect()
}

#[tokio::test]
async fn a_pass_over_a_thousand_instances_is_one_call() {
    let fake = instant();
    let factory = factory(&fake.endpoint());
    let one = open(&factory);
    many(&fake, &*one, 1_000).await;
    fake.calls();
    for pages in [1_u64, 2] {
        let listing = one.list(&fleet()).await.unwrap();
        let owned = listing
            .instances
            .iter()
            .filter_map(|one| one.ownership.as_ref());
        let names: std::collections::BTreeSet<_> = owned.map(|owned| &owned.instance).collect();
        assert_eq!(
            names.len(),
            fake.world().machines.len(),
            "each by its own name"
        );
        assert_eq!(calls(&fake), [("DescribeInstances".to_owned(), pages)]);
        // One more needs a second page.
        one.provision(&request(5_000, 1, running_with(&[])))
            .await
            .unwrap();
        fake.calls();
    }
}

#[tokio::test]
async fn documents_of_one_account_share_a_listing_and_see_their_own() {
    let fake = instant();
    let factory = factory(&fake.endpoint());
    let one = open_with(&factory, "one", &settings());
    let two = open_with(&factory, "two", &settings());
    one.provision(&request(1, 2, running_with(&[])))
        .await
        .unwrap();
    two.provision(&request(3, 3, running_with(&[])))
        .await
        .unwrap();
    fake.calls();
    let fleet = fleet();
    let (first, second) = tokio::join!(one.list(&fleet), two.list(&fleet));
    assert_eq!(first.unwrap().instances.len(), 2);
    assert_eq!(second.unwrap().instances.len(), 3);
    assert_eq!(calls(&fake), [("DescribeInstances".to_owned(), 1)]);
    // One after the other, each asks for itself: an answer is never older than its question.
    one.list(&fleet).await.unwrap();
    two.list(&fleet).await.unwrap();
    assert_eq!(calls(&fake), [("DescribeInstances".to_owned(), 2)]);
}

/// Settings of a document with another profile, which leads to the double's account as well.
fn with_profile(name: &str) -> Value {
    map(&[("region", "eu-central-1".into()), ("profile", name.into())])
}

#[tokio::test]
async fn profiles_of_one_account_share_its_limits_once_an_answer_names_it() {
    let fake = instant();
    let factory = factory_sharing(&fake.endpoint(), 10);
    let one = open_with(&factory, "one", &settings());
    let two = open_with(&factory, "two", &with_profile("ops"));
    // A tenth of a thousand at once, and one in five seconds.
    one.provision(&request(1, 100, running_with(&[])))
        .await
        .unwrap();
    assert!(two.list(&fleet()).await.unwrap().instances.is_empty());
    let more = request(101, 50, running_with(&[]));
    let error = two.provision(&more).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Throttled, "{error:?}");
    // Another region has limits of its own.
    let far = map(&[("region", "us-east-1".into()), ("profile", "ops".into())]);
    let far = open_with(&factory, "far", &far);
    far.list(&fleet()).await.unwrap();
    far.provision(&request(201, 50, running_with(&[])))
        .await
        .unwrap();
}

#[tokio::test]
async fn documents_of_one_account_end_nothing_of_each_other() {
    let fake = instant();
    let factory = factory(&fake.endpoint());
    let one = open_with(&factory, "one", &settings());
    let batch = request(1, 1, running_with(&[]));
    let made = one.provision(&batch).await.unwrap().made;
    let handle = &made[&batch.slots[0].instance];
    // Of the same profile, and of another one; before they have listed anything, and afterwards.
    let others = [settings(), with_profile("ops")];
    for other in others.map(|settings| open_with(&factory, "two", &settings)) {
        for _ in 0..2 {
            let error = other.destroy(&end(&batch, 0, handle)).await.unwrap_err();
            assert_eq!(error.class, ErrorClass::NotFound);
            assert!(error.message.contains("is another's"), "{error:?}");
            assert!(other.list(&fleet()).await.unwrap().instances.is_empty());
        }
    }
    assert!(
        !calls(&fake)
            .iter()
            .any(|(call, _)| call == "TerminateInstances")
    );
    one.destroy(&end(&batch, 0, handle)).await.unwrap();
    assert_eq!(fake.world().living().count(), 0);
}

#[tokio::test]
async fn a_page_that_fails_fails_the_listing() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    many(&fake, &*provider, 1_001).await;
    fake.calls();
    {
        let mut world = fake.world();
        let nothing = crate::fake::Refusal::passing();
        let failure = crate::fake::Refusal::new("UnauthorizedOperation", "not you");
        world
            .refusals
            .insert("DescribeInstances".to_owned(), vec![nothing, failure]);
    }
    let error = provider.list(&fleet()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Auth);
    assert_eq!(calls(&fake), [("DescribeInstances".to_owned(), 2)]);
}

#[tokio::test]
async fn a_spot_instance_that_is_about_to_be_taken_has_an_interruption() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let batch = request(1, 2, running_with(&[("market", "spot".into())]));
    let made = provider.provision(&batch).await.unwrap().made;
    let marked: Timestamp = "2026-01-05T03:00:00Z".parse().unwrap();
    let first = &made[&batch.slots[0].instance];
    fake.world()
        .machines
        .get_mut(first.as_str())
        .unwrap()
        .marked = Some(marked);
    fake.calls();
    let listing = provider.list(&fleet()).await.unwrap();
    for listed in &listing.instances {
        let expected = (listed.provider_ref == *first)
            .then(|| "2026-01-05T03:02:00Z".parse::<Timestamp>().unwrap());
        assert_eq!(listed.interruption, expected);
    }
    let expected = ["DescribeInstances", "DescribeSpotInstanceRequests"];
    assert_eq!(calls(&fake), expected.map(|action| (action.to_owned(), 1)));
}

#[tokio::test]
async fn status_checks_and_scheduled_events_are_seen_where_they_are_asked_for() {
    let fake = instant();
    let factory = factory(&fake.endpoint());
    let with_checks = map(&[
        ("region", "eu-central-1".into()),
        ("statusChecks", true.into()),
    ]);
    let provider = open_with(&factory, "aws", &with_checks);
    let batch = request(1, 5, running_with(&[]));
    let made = provider.provision(&batch).await.unwrap().made;
    let at: Timestamp = "2026-01-05T03:00:00Z".parse().unwrap();
    let id = |slot: usize| made[&batch.slots[slot].instance].as_str().to_owned();
    {
        let mut world = fake.world();
        world.machines.get_mut(&id(0)).unwrap().impaired = true;
        let event = Some(("instance-retirement".to_owned(), at));
        world.machines.get_mut(&id(1)).unwrap().event = event;
        let passing = ["instance-reboot", "system-reboot", "system-maintenance"];
        for (slot, code) in (2..).zip(passing) {
            world.machines.get_mut(&id(slot)).unwrap().event = Some((code.to_owned(), at));
        }
    }
    let listing = provider.list(&fleet()).await.unwrap();
    let of = |slot: usize| {
        let mut all = listing.instances.iter();
        all.find(|one| one.provider_ref.as_str() == id(slot))
            .unwrap()
    };
    assert_eq!(of(0).phase, ProviderPhase::Unknown);
    assert_eq!(
        (&of(1).phase, of(1).interruption),
        (&ProviderPhase::Running, Some(at))
    );
    for slot in 2..5 {
        assert_eq!(
            (&of(slot).phase, of(slot).interruption),
            (&ProviderPhase::Running, None),
            "it comes back by itself"
        );
    }
    fake.calls();
    let without = open_with(&factory, "aws", &settings());
    let listing = without.list(&fleet()).await.unwrap();
    assert!(
        listing
            .instances
            .iter()
            .all(|one| one.interruption.is_none())
    );
    assert_eq!(calls(&fake), [("DescribeInstances".to_owned(), 1)]);
}

#[tokio::test]
async fn health_is_that_of_ec2s_checks_and_one_call_tells_it_of_all() {
    use drover_model::CheckOutcome;
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let batch = request(1, 50, running_with(&[]));
    let made = provider.provision(&batch).await.unwrap().made;
    let first = &made[&batch.slots[0].instance];
    fake.world()
        .machines
        .get_mut(first.as_str())
        .unwrap()
        .impaired = true;
    fake.calls();
    let limit = std::time::Duration::from_secs(30);
    for handle in made.values() {
        let outcome = provider.health(handle, limit).await.unwrap();
        match outcome {
            CheckOutcome::Failing { why } if handle == first => {
                assert_eq!(why, "EC2's system status check fails");
            }
            outcome => assert_eq!((outcome, handle == first), (CheckOutcome::Passing, false)),
        }
    }
    assert_eq!(calls(&fake), [("DescribeInstanceStatus".to_owned(), 1)]);
    let never = drover_model::ProviderRef::parse("i-0").unwrap();
    let outcome = provider.health(&never, limit).await.unwrap();
    assert!(
        matches!(outcome, CheckOutcome::Unknown { .. }),
        "{outcome:?}"
    );
    // A question without an answer is asked again.
    let other = open(&factory(&fake.endpoint()));
    fake.world()
        .refuse("DescribeInstanceStatus", "UnauthorizedOperation", 1);
    assert!(other.health(first, limit).await.is_err());
    assert!(other.health(first, limit).await.is_ok());
}

#[tokio::test]
async fn a_live_change_sets_what_it_says_and_the_digest_last() {
    let fake = instant();
    let provider = open(&factory_with(&fake.endpoint(), true));
    let classes = &provider.manifest().properties.classes();
    assert_eq!(classes["securityGroups"], FieldClass::Live);
    let batch = request(1, 1, running_with(&[]));
    let made = provider.provision(&batch).await.unwrap().made;
    let handle = made[&batch.slots[0].instance].clone();
    let optional = map(&[("tokens", "optional".into())]);
    let groups = Value::List(vec!["sg-1".into(), "sg-2".into()]);
    let changed = request(
        1,
        1,
        running_with(&[("metadata", optional), ("securityGroups", groups)]),
    );
    let update = live_change(&batch, &handle, &changed);
    // What fails on the way leaves the old digest.
    fake.world()
        .refuse("ModifyInstanceMetadataOptions", "UnauthorizedOperation", 1);
    let error = provider.update(&update).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Auth);
    let digest = |fake: &Fake| fake.world().machines[handle.as_str()].tags["drover.digest"].clone();
    assert_eq!(digest(&fake), batch.digests.to_string());
    provider.update(&update).await.unwrap();
    assert_eq!(digest(&fake), changed.digests.to_string());
    let world = fake.world();
    let machine = &world.machines[handle.as_str()];
    assert_eq!(machine.groups, ["sg-1", "sg-2"]);
    assert_eq!(machine.http_tokens, "optional");
}

#[tokio::test]
async fn a_live_change_leaves_imdsv1_as_it_is_unless_the_document_mentions_tokens() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let batch = request(1, 1, running_with(&[]));
    let made = provider.provision(&batch).await.unwrap().made;
    let handle = made[&batch.slots[0].instance].clone();
    let tokens = |fake: &Fake| fake.world().machines[handle.as_str()].http_tokens.clone();
    // As somebody made it who was there before drover.
    {
        let mut world = fake.world();
        let machine = world.machines.get_mut(handle.as_str()).unwrap();
        "optional".clone_into(&mut machine.http_tokens);
    }
    let groups = ("securityGroups", Value::List(vec!["sg-1".into()]));
    let hops = ("hopLimit", Value::Int(2));
    let required = ("tokens", Value::from("required"));
    let with = |metadata| running_with(&[groups.clone(), ("metadata", map(metadata))]);
    let both = [hops, required];
    let (beside, mentioned) = (with(&both[..1]), with(&both));
    for (properties, expected) in [
        (running_with(&[groups]), "optional"),
        (beside, "optional"),
        (mentioned, "required"),
    ] {
        let changed = request(1, 1, properties);
        let update = live_change(&batch, &handle, &changed);
        provider.update(&update).await.unwrap();
        assert_eq!(tokens(&fake), expected);
        assert_eq!(fake.world().machines[handle.as_str()].groups, ["sg-1"]);
    }
}

#[tokio::test]
async fn no_document_turns_imdsv1_on_where_the_program_does_not_allow_it() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let optional = map(&[("tokens", "optional".into())]);
    let optional = request(1, 1, running_with(&[("metadata", optional)]));
    let error = provider.provision(&optional).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert!(error.message.contains("--allow-imdsv1"), "{error}");
    assert_eq!(fake.world().machines.len(), 0);
    let allowed = open(&factory_with(&fake.endpoint(), true));
    allowed.provision(&optional).await.unwrap();
    let world = fake.world();
    let machine = world.machines.values().next().unwrap();
    assert_eq!(machine.http_tokens, "optional");
}

#[tokio::test]
async fn nothing_is_read_from_tags_that_are_not_whole() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let batch = request(1, 1, running_with(&[]));
    let made = provider.provision(&batch).await.unwrap().made;
    let handle = &made[&batch.slots[0].instance];
    fake.world()
        .machines
        .get_mut(handle.as_str())
        .unwrap()
        .tags
        .remove("drover.token");
    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.instances[0].ownership, None);
    // Another program, with nothing remembered, leaves it alone.
    let other = open(&factory(&fake.endpoint()));
    let end = crate::support::end(&batch, 0, handle);
    let error = other.destroy(&end).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
    assert_eq!(fake.world().living().count(), 1);
    assert_ne!(run_id(), run_id(), "runs differ");
}
