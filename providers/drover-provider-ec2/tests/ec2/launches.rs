//! Making instances: tokens, offerings, partial batches, limits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_model::{ErrorClass, ProviderPhase, Value};
use drover_provider::Urgency;

use crate::conformance::slow;
use crate::fake::{Fake, FakeSettings, Refusal};
use crate::support::{end, factory, fleet, map, open, request, running_with, texts};

fn instant() -> Fake {
    Fake::start(FakeSettings::default())
}

#[tokio::test]
async fn what_is_launched_has_its_tags_and_asks_for_imdsv2() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let mut request = request(1, 3, running_with(&[("market", "spot".into())]));
    for slot in &mut request.slots {
        slot.init = vec!["echo hello".to_owned()];
        slot.env.insert("PORT".to_owned(), "it's 80".to_owned());
        slot.tags.insert("team".to_owned(), "web & co".to_owned());
    }
    let made = provider.provision(&request).await.unwrap().made;
    assert_eq!(made.len(), 3);
    let world = fake.world();
    for (slot, machine) in request.slots.iter().zip(world.living()) {
        assert_eq!(made[&slot.instance].as_str(), machine.id);
        assert_eq!(machine.token, request.token.as_str());
        assert_eq!(machine.http_tokens, "required");
        assert!(machine.spot);
        assert_eq!(machine.tags["team"], "web & co");
        assert_eq!(machine.tags["drover.instances"], "1-3");
        assert_eq!(machine.tags["drover.fleet"], "prod");
        assert_eq!(machine.tags["Name"], "web");
        let script = machine.user_data.clone().unwrap();
        let script = data_encoding::BASE64.decode(script.as_bytes()).unwrap();
        let expected = "#!/bin/sh\nset -eu\nexport PORT='it'\\''s 80'\necho hello\n";
        assert_eq!(String::from_utf8(script).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_lost_answer_makes_nothing_twice() {
    let fake = Fake::start(slow());
    let factory = factory(&fake.endpoint());
    // Once: the SDK repeats the same request itself. Four times: it gives up, and the agent repeats.
    for (lost, expected) in [(1, Ok(())), (4, Err(ErrorClass::Unknown))] {
        let provider = open(&factory);
        let request = request(1, 2, running_with(&[]));
        fake.world().lose("RunInstances", lost);
        let first = provider.provision(&request).await;
        assert_eq!(first.map(drop).map_err(|error| error.class), expected);
        let again = loop {
            match provider.provision(&request).await {
                Ok(made) => break made.made,
                Err(error) => assert_eq!(error.class, ErrorClass::Unknown),
            }
        };
        let world = fake.world();
        let of_token = world.living();
        let ids: Vec<&str> = of_token
            .filter(|machine| machine.token == request.token.as_str())
            .map(|machine| machine.id.as_str())
            .collect();
        let handles: Vec<&str> = again
            .values()
            .map(drover_model::ProviderRef::as_str)
            .collect();
        assert_eq!(ids, handles);
    }
}

#[tokio::test]
async fn another_call_with_a_token_is_refused_and_what_an_earlier_release_launched_is_not_compared()
{
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let batch = request(1, 1, running_with(&[]));
    let made = provider.provision(&batch).await.unwrap().made;
    let mut other = batch.clone();
    let tags = &mut other.slots[0].tags;
    tags.insert("team".to_owned(), "another".to_owned());
    let refused = provider.provision(&other).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec, "{refused}");
    for machine in fake.world().machines.values_mut() {
        let asked = machine.tags.remove("drover.asked").unwrap();
        assert_eq!(asked, drover_provider::fingerprint(&batch));
    }
    // A program that was started anew has nothing but the tag to compare with.
    let provider = open(&factory(&fake.endpoint()));
    assert_eq!(provider.provision(&other).await.unwrap().made, made);
    assert_eq!(fake.world().living().count(), 1);
}

#[tokio::test]
async fn what_turns_a_later_try_away_says_nothing_of_an_earlier_one() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let batch = request(1, 1, running_with(&[]));
    // Made without an answer; then EC2 is too busy to say so.
    fake.world().lose("RunInstances", 1);
    let throttled = || Refusal::new("RequestLimitExceeded", "too fast");
    let turns = vec![Refusal::passing(), throttled(), throttled()];
    fake.world()
        .refusals
        .insert("RunInstances".to_owned(), turns);
    let error = provider.provision(&batch).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unknown, "{error}");
    assert_eq!(fake.world().living().count(), 1);
    assert_eq!(provider.provision(&batch).await.unwrap().made.len(), 1);
    assert_eq!(fake.world().living().count(), 1);
}

#[tokio::test]
async fn at_the_accounts_limit_who_rolls_comes_after_who_grows_and_who_heals() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut calls = Vec::new();
    let rolls = (1..=20).map(|number| (number, Urgency::Roll));
    for (number, urgency) in rolls.chain([(21, Urgency::Scale), (22, Urgency::Heal)]) {
        let mut batch = request(number, 1, running_with(&[]));
        batch.urgency = urgency;
        let (provider, order) = (Arc::clone(&provider), Arc::clone(&order));
        calls.push(tokio::spawn(async move {
            let made = provider.provision(&batch).await.unwrap().made;
            order.lock().unwrap().push(urgency);
            assert_eq!(made.len(), 1);
        }));
        tokio::task::yield_now().await;
    }
    for call in calls {
        call.await.unwrap();
    }
    // Five go at once, and then one each half second, of those that are there by then: on a busy machine the two that
    // come last may come later. They overtake rolls all the same.
    let order = order.lock().unwrap();
    assert_eq!(order[20..], [Urgency::Roll, Urgency::Roll], "{order:?}");
}

#[tokio::test]
async fn a_type_without_room_is_left_alone_and_the_next_one_taken() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let properties = || {
        running_with(&[
            ("fallbackTypes", texts(&["t3a.micro"])),
            ("subnets", texts(&["subnet-a", "subnet-a2"])),
        ])
    };
    for subnet in ["subnet-a", "subnet-a2"] {
        let key = ("t3.micro".to_owned(), subnet.to_owned());
        fake.world().room.insert(key, 0);
    }
    let made = provider.provision(&request(1, 1, properties())).await;
    assert_eq!(made.unwrap().made.len(), 1);
    assert_eq!(
        fake.calls()["RunInstances"],
        3,
        "both subnets, then the other type"
    );
    let made = provider.provision(&request(2, 1, properties())).await;
    assert_eq!(made.unwrap().made.len(), 1);
    assert_eq!(
        fake.calls()["RunInstances"],
        1,
        "what has no room is not asked for"
    );
    let types: Vec<String> = fake.world().living().map(|one| one.type_.clone()).collect();
    assert_eq!(types, ["t3a.micro", "t3a.micro"]);
}

/// Of these types the first is asked for, and the others follow, in two subnets.
fn types(list: &[&str], more: &[(&str, Value)]) -> Value {
    let mut all = vec![
        ("instanceType", list[0].into()),
        ("subnets", texts(&["subnet-a", "subnet-a2"])),
    ];
    if list.len() > 1 {
        all.push(("fallbackTypes", texts(&list[1..])));
    }
    all.extend(more.iter().cloned());
    running_with(&all)
}

#[tokio::test]
async fn where_the_account_may_have_no_more_of_a_type_the_next_one_under_another_limit_is_taken() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    fake.world().limited.insert(("m5.xlarge".to_owned(), false));
    let list = ["m5.xlarge", "c7g.2xlarge", "g5.xlarge"];
    let made = provider.provision(&request(1, 1, types(&list, &[]))).await;
    assert_eq!(made.unwrap().made.len(), 1);
    assert_eq!(
        fake.calls()["RunInstances"],
        2,
        "one subnet only, and no larger type under the same limit"
    );
    let made = provider.provision(&request(2, 1, types(&list, &[]))).await;
    assert_eq!(made.unwrap().made.len(), 1);
    assert_eq!(fake.calls()["RunInstances"], 1, "that is remembered");
    let taken: Vec<String> = fake.world().living().map(|one| one.type_.clone()).collect();
    assert_eq!(taken, ["g5.xlarge", "g5.xlarge"]);
    // A smaller one may still fit.
    let list = ["m5.xlarge", "m5.large"];
    let made = provider.provision(&request(3, 1, types(&list, &[]))).await;
    assert_eq!(made.unwrap().made.len(), 1);
    // Spot capacity has limits of its own.
    let spot = [("market", "spot".into())];
    let list = ["m5.xlarge", "p4d.24xlarge"];
    let batch = request(4, 1, types(&list, &spot));
    assert_eq!(provider.provision(&batch).await.unwrap().made.len(), 1);
    fake.world().limited.insert(("m5.xlarge".to_owned(), true));
    let batch = request(5, 1, types(&list, &spot));
    assert_eq!(provider.provision(&batch).await.unwrap().made.len(), 1);
    let taken: Vec<String> = fake.world().living().map(|one| one.type_.clone()).collect();
    assert_eq!(taken[2..], ["m5.large", "m5.xlarge", "p4d.24xlarge"]);
}

#[tokio::test]
async fn limits_everywhere_are_a_quota_and_with_a_full_place_beside_them_it_is_room() {
    let fake = instant();
    let limited = ["m5.xlarge", "g5.xlarge"];
    let limited = limited.map(|type_| (type_.to_owned(), false));
    fake.world().limited.extend(limited);
    let provider = open(&factory(&fake.endpoint()));
    let batch = |list: &[&str]| request(1, 1, types(list, &[]));
    for _ in 0..2 {
        let refused = provider
            .provision(&batch(&["m5.xlarge", "g5.xlarge"]))
            .await;
        let error = refused.unwrap_err();
        assert_eq!(error.class, ErrorClass::Quota, "{error}");
        assert!(error.message.contains("VcpuLimitExceeded"), "{error}");
    }
    let provider = open(&factory(&fake.endpoint()));
    for subnet in ["subnet-a", "subnet-a2"] {
        let key = ("t3.micro".to_owned(), subnet.to_owned());
        fake.world().room.insert(key, 0);
    }
    // First asked for alone, so that it is left out of the second call, and last by both.
    for list in [&["t3.micro"][..], &["t3.micro", "m5.xlarge"]] {
        let error = provider.provision(&batch(list)).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Capacity, "{error}");
    }
    let provider = open(&factory(&fake.endpoint()));
    let both = provider.provision(&batch(&["t3.micro", "m5.xlarge"])).await;
    let error = both.unwrap_err();
    assert_eq!(error.class, ErrorClass::Capacity, "{error}");
    // The limit of one type is met in every place, and says nothing of another one.
    let provider = open(&factory(&fake.endpoint()));
    fake.world()
        .refuse("RunInstances", "InstanceLimitExceeded", 1);
    fake.calls();
    let made = provider
        .provision(&batch(&["m6i.large", "m6i.xlarge"]))
        .await;
    assert_eq!(made.unwrap().made.len(), 1);
    assert_eq!(fake.calls()["RunInstances"], 2);
    let taken = fake.world().living().next().map(|one| one.type_.clone());
    assert_eq!(taken.as_deref(), Some("m6i.xlarge"));
    // A limit that has nothing to do with types ends the call.
    fake.world()
        .refuse("RunInstances", "VolumeLimitExceeded", 1);
    let refused = provider.provision(&batch(&["m6i.large", "t3.nano"])).await;
    assert_eq!(refused.unwrap_err().class, ErrorClass::Quota);
    assert_eq!(fake.calls()["RunInstances"], 1);
}

#[tokio::test]
async fn a_repeated_call_finds_what_was_made_at_an_offering_that_has_cooled_since() {
    let fake = Fake::start(slow());
    let provider = open(&factory(&fake.endpoint()));
    let properties = || running_with(&[("fallbackTypes", texts(&["t3a.micro"]))]);
    let first = request(1, 1, properties());
    fake.world().lose("RunInstances", 3);
    let lost = provider.provision(&first).await.unwrap_err();
    assert_eq!(lost.class, ErrorClass::Unknown);
    // Meanwhile the type runs out.
    let key = ("t3.micro".to_owned(), "eu-central-1a".to_owned());
    fake.world().room.insert(key, 0);
    provider
        .provision(&request(2, 1, properties()))
        .await
        .unwrap();
    // The other type is tried first now, with the same token: EC2 says that it was used.
    let again = provider.provision(&first).await.unwrap().made;
    let world = fake.world();
    let of_token: Vec<&str> = world
        .living()
        .filter(|one| one.token == first.token.as_str())
        .map(|one| one.id.as_str())
        .collect();
    assert_eq!(of_token, [again[&first.slots[0].instance].as_str()]);
}

#[tokio::test]
async fn no_room_anywhere_and_too_little_room_are_told_apart() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let key = || ("t3.micro".to_owned(), "eu-central-1a".to_owned());
    fake.world().room.insert(key(), 2);
    let batch = request(1, 5, running_with(&[]));
    let part = provider.provision(&batch).await.unwrap();
    assert_eq!(part.made.len(), 2);
    assert_eq!(part.shortfall.unwrap().class, ErrorClass::Partial);
    let again = provider.provision(&batch).await.unwrap();
    assert_eq!(again.made, part.made, "repeated, it is the same part");
    let none = provider.provision(&request(6, 1, running_with(&[]))).await;
    assert_eq!(none.unwrap_err().class, ErrorClass::Capacity);
    fake.world().room.insert(key(), 9);
    // The only offering is asked for although it cools: nothing else is known.
    let now = provider.provision(&request(7, 1, running_with(&[]))).await;
    assert_eq!(now.unwrap().made.len(), 1);
}

#[tokio::test]
async fn errors_of_ec2_have_the_class_that_the_agent_acts_on() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let cases = [
        ("VcpuLimitExceeded", ErrorClass::Quota),
        ("UnauthorizedOperation", ErrorClass::Auth),
        ("InvalidAMIID.NotFound", ErrorClass::InvalidSpec),
        ("InvalidParameterValue", ErrorClass::InvalidSpec),
        ("Unsupported", ErrorClass::InvalidSpec),
        ("InternalError", ErrorClass::Unknown),
    ];
    for (number, (code, class)) in (1..).zip(cases) {
        fake.world().refuse("RunInstances", code, 3);
        let refused = provider
            .provision(&request(number, 1, running_with(&[])))
            .await;
        let error = refused.unwrap_err();
        assert_eq!(error.class, class, "{code}: {error}");
        assert!(error.message.contains(code), "{error}");
        fake.world().refusals.clear();
    }
    assert_eq!(fake.world().living().count(), 0);
}

#[tokio::test]
async fn what_stands_before_ec2_is_told_from_ec2() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let html = "<html><head><title>Sign in</title></head>\n<body>Who are you?</body></html>";
    let cases = [
        (
            401,
            html,
            ErrorClass::Auth,
            "HTTP 401: Sign in Who are you?",
        ),
        (403, "", ErrorClass::Auth, "HTTP 403: no reason given"),
        (407, html, ErrorClass::Auth, "HTTP 407: Sign in"),
        (400, "no\u{7}pe", ErrorClass::InvalidSpec, "HTTP 400: no pe"),
        (404, html, ErrorClass::InvalidSpec, "HTTP 404: Sign in"),
    ];
    for (number, (status, body, class, says)) in (1..).zip(cases) {
        fake.world().in_between = Some((status, body.to_owned()));
        let request = request(number, 1, running_with(&[]));
        let error = provider.provision(&request).await.unwrap_err();
        assert_eq!(error.class, class, "{status}: {error}");
        assert!(error.message.contains(says), "{error}");
        assert_eq!(fake.calls()["RunInstances"], 1);
    }
    // What may be better in a moment is tried again.
    for (number, status) in (10..).zip([408, 425, 429]) {
        fake.world().in_between = Some((status, html.to_owned()));
        let request = request(number, 1, running_with(&[]));
        let made = provider.provision(&request).await;
        assert_eq!(made.unwrap().made.len(), 1, "{status}");
        assert_eq!(fake.calls()["RunInstances"], 2, "{status}");
    }
}

#[tokio::test]
async fn a_launch_template_without_room_stands_in_no_other_ones_way() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let of = |name: &str| {
        let template = map(&[("name", name.into()), ("version", "1".into())]);
        let subnets = texts(&["subnet-a", "subnet-a2"]);
        map(&[("launchTemplate", template), ("subnets", subnets)])
    };
    for (first, code) in [
        (1, "InsufficientInstanceCapacity"),
        (4, "VcpuLimitExceeded"),
    ] {
        fake.world().refuse("RunInstances", code, 2);
        let refused = provider.provision(&request(first, 1, of("small"))).await;
        assert!(refused.is_err(), "{code}");
        fake.world().refusals.clear();
        fake.calls();
        for number in [first + 1, first + 2] {
            // Where the first one asks in vain, at whichever subnet a batch begins.
            fake.world()
                .refuse("RunInstances", "InsufficientInstanceCapacity", 1);
            let request = request(number, 1, of(&format!("{code}-{number}")));
            let made = provider.provision(&request).await;
            assert_eq!(made.unwrap().made.len(), 1, "{code}");
            assert_eq!(
                fake.calls()["RunInstances"],
                2,
                "{code}: nothing was left out"
            );
        }
    }
}

#[tokio::test]
async fn a_type_that_no_place_has_is_a_mistake_and_one_that_some_are_full_of_is_not() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let both = || running_with(&[("subnets", texts(&["subnet-a", "subnet-a2"]))]);
    fake.world().refuse("RunInstances", "Unsupported", 2);
    let error = provider
        .provision(&request(1, 1, both()))
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec, "{error}");
    // With nothing remembered of that.
    let provider = open(&factory(&fake.endpoint()));
    fake.world()
        .refuse("RunInstances", "InsufficientInstanceCapacity", 1);
    fake.world().refuse("RunInstances", "Unsupported", 1);
    let error = provider
        .provision(&request(2, 1, both()))
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::Capacity, "{error}");
}

#[tokio::test]
async fn a_throttled_call_is_repeated_a_little_and_then_handed_back() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    fake.world()
        .refuse("DescribeInstances", "RequestLimitExceeded", 1);
    assert!(provider.list(&fleet()).await.is_ok());
    fake.world()
        .refuse("DescribeInstances", "RequestLimitExceeded", 3);
    let error = provider.list(&fleet()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Throttled);
}

#[tokio::test]
async fn ends_share_calls_and_one_that_fails_harms_no_other() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let batch = request(1, 100, running_with(&[]));
    let made = provider.provision(&batch).await.unwrap().made;
    fake.calls();
    let ends = batch.slots.iter().enumerate();
    let ends: Vec<_> = ends
        .map(|(slot, one)| end(&batch, slot, &made[&one.instance]))
        .collect();
    // One is gone already, and EC2 has forgotten it.
    fake.world()
        .machines
        .remove(made[&batch.slots[7].instance].as_str());
    let ended = futures::future::join_all(ends.iter().map(|end| provider.destroy(end))).await;
    let failed: Vec<_> = ended.iter().filter_map(|one| one.as_ref().err()).collect();
    assert_eq!(
        failed.len(),
        1,
        "what was there a moment ago is not believed to be gone"
    );
    assert_eq!(failed[0].class, ErrorClass::Throttled);
    assert_eq!(
        fake.calls()["TerminateInstances"],
        18,
        "one for all, two for the halves of what fails, and three more for that one"
    );
    assert_eq!(fake.world().living().count(), 0);

    let second = request(101, 100, running_with(&[]));
    let made = provider.provision(&second).await.unwrap().made;
    let ends: Vec<_> = second
        .slots
        .iter()
        .enumerate()
        .map(|(slot, one)| end(&second, slot, &made[&one.instance]))
        .collect();
    fake.calls();
    let ended = futures::future::join_all(ends.iter().map(|end| provider.destroy(end))).await;
    assert!(ended.iter().all(Result::is_ok));
    assert_eq!(
        fake.calls().into_iter().collect::<Vec<_>>(),
        [("TerminateInstances".to_owned(), 1)]
    );
}

#[tokio::test]
async fn no_call_ends_more_than_a_hundred() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let mut ends = Vec::new();
    for (first, count) in [(1, 100), (101, 100), (201, 50)] {
        let batch = request(first, count, running_with(&[]));
        let made = provider.provision(&batch).await.unwrap().made;
        let slots = batch.slots.iter().enumerate();
        ends.extend(slots.map(|(slot, one)| end(&batch, slot, &made[&one.instance])));
    }
    fake.calls();
    let ended = futures::future::join_all(ends.iter().map(|end| provider.destroy(end))).await;
    assert!(ended.iter().all(Result::is_ok));
    assert_eq!(fake.calls()["TerminateInstances"], 3);
    assert_eq!(fake.world().living().count(), 0);
}

#[tokio::test]
async fn what_the_role_may_not_end_keeps_nothing_else_alive() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let batch = request(1, 100, running_with(&[]));
    let made = provider.provision(&batch).await.unwrap().made;
    let ends = batch.slots.iter().enumerate();
    let ends: Vec<_> = ends
        .map(|(slot, one)| end(&batch, slot, &made[&one.instance]))
        .collect();
    let ended =
        || async { futures::future::join_all(ends.iter().map(|end| provider.destroy(end))).await };
    // A role that may end nothing is not asked for each.
    fake.world()
        .refuse("TerminateInstances", "UnauthorizedOperation", 200);
    fake.calls();
    for answer in ended().await {
        assert_eq!(answer.unwrap_err().class, ErrorClass::Auth);
    }
    // Fifteen for a hundred that are ended by one call, and on a busy machine they may come in several.
    let calls = fake.calls()["TerminateInstances"];
    assert!(calls < 50, "{calls}");
    assert_eq!(fake.world().living().count(), 100);
    // Nor are credentials that are wrong.
    fake.world().refusals.clear();
    fake.world().refuse("TerminateInstances", "AuthFailure", 1);
    assert!(ended().await.iter().all(Result::is_err));
    assert_eq!(fake.calls()["TerminateInstances"], 1);
    let kept = [&batch.slots[0], &batch.slots[1], &batch.slots[61]];
    let kept = kept.map(|slot| made[&slot.instance].to_string());
    fake.world().untouchable.extend(kept.clone());
    let answers = ended().await;
    let failed = answers.iter().filter_map(|answer| answer.as_ref().err());
    let classes: Vec<ErrorClass> = failed.map(|error| error.class).collect();
    assert_eq!(classes, [ErrorClass::Auth; 3]);
    let world = fake.world();
    let alive: Vec<&String> = world.living().map(|one| &one.id).collect();
    assert_eq!(alive, kept.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn an_image_that_the_account_may_not_use_is_a_mistake_of_the_document() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let mut refusal = Refusal::new("AuthFailure", "Not authorized for images: [ami-00000001]");
    refusal.status = 403;
    let refusals = vec![refusal];
    fake.world()
        .refusals
        .insert("RunInstances".to_owned(), refusals);
    let refused = provider.provision(&request(1, 1, running_with(&[]))).await;
    let error = refused.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec, "{error}");
    assert!(error.message.contains("ami-00000001"), "{error}");
}

#[tokio::test]
async fn what_ends_by_itself_is_seen_with_its_reason_until_it_is_destroyed() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let batch = request(1, 3, running_with(&[]));
    let made = provider.provision(&batch).await.unwrap().made;
    let ids: Vec<String> = made.values().map(ToString::to_string).collect();
    {
        let mut world = fake.world();
        let now = std::time::Instant::now();
        let code = "Server.SpotInstanceTermination".to_owned();
        let machine = world.machines.get_mut(&ids[0]).unwrap();
        machine.ended = Some((now, code.clone(), format!("{code}: taken back")));
        world.machines.get_mut(&ids[1]).unwrap().stopped = Some(now);
    }
    let phases = || async {
        let listing = provider.list(&fleet()).await.unwrap();
        let of = |id: &String| {
            let mut all = listing.instances.iter();
            let found = all.find(|one| one.provider_ref.as_str() == id);
            found.map(|one| one.phase.clone()).unwrap()
        };
        ids.iter().map(of).collect::<Vec<_>>()
    };
    let seen = phases().await;
    let ProviderPhase::Exited(taken) = &seen[0] else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (taken.code, taken.message.contains("taken back")),
        (None, true)
    );
    let ProviderPhase::Exited(stopped) = &seen[1] else {
        panic!("{seen:?}");
    };
    assert_eq!(stopped.code, Some(0), "it shut itself down in order");
    assert_eq!(seen[2], ProviderPhase::Running);
    for slot in 0..2 {
        let handle = &made[&batch.slots[slot].instance];
        provider.destroy(&end(&batch, slot, handle)).await.unwrap();
    }
    let seen = phases().await;
    assert_eq!(seen[0], ProviderPhase::Terminated);
    assert_eq!(seen[1], ProviderPhase::Terminated);
    // Also for a program that remembers nothing.
    let other = open(&factory(&fake.endpoint()));
    let listing = other.list(&fleet()).await.unwrap();
    let gone = |phase: &ProviderPhase| *phase == ProviderPhase::Terminated;
    let gone = listing.instances.iter().filter(|one| gone(&one.phase));
    assert_eq!(gone.count(), 2);
}

#[tokio::test]
async fn a_call_that_has_to_wait_too_long_for_the_accounts_limit_is_turned_away() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    for first in (0..10).map(|batch| 1 + batch * 100) {
        // The burst is a thousand instances, five calls, and two more each second.
        let batch = request(first, 100, running_with(&[]));
        provider.provision(&batch).await.unwrap();
    }
    let started = std::time::Instant::now();
    let over = provider
        .provision(&request(1_001, 100, running_with(&[])))
        .await;
    assert_eq!(over.unwrap_err().class, ErrorClass::Throttled);
    assert!(started.elapsed() < Duration::from_secs(5), "at once");
    assert_eq!(fake.world().living().count(), 1_000);
}

#[tokio::test]
async fn zones_choose_subnets() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let all = || running_with(&[("subnets", texts(&["subnet-a", "subnet-b", "subnet-c"]))]);
    let mut in_b = request(1, 2, all());
    in_b.zone = Some("eu-central-1b".to_owned());
    provider.provision(&in_b).await.unwrap();
    let zones: Vec<String> = fake.world().living().map(|one| one.zone.clone()).collect();
    assert_eq!(zones, ["eu-central-1b", "eu-central-1b"]);
    // EC2 itself would take a token once more that comes with another zone.
    let mut in_c = in_b.clone();
    in_c.zone = Some("eu-central-1c".to_owned());
    let error = provider.provision(&in_c).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec, "{error}");
    assert_eq!(fake.world().living().count(), 2);
    let mut nowhere = request(3, 1, all());
    nowhere.zone = Some("eu-central-1z".to_owned());
    let error = provider.provision(&nowhere).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    let mut anywhere = request(4, 1, running_with(&[]));
    anywhere.zone = Some("eu-central-1c".to_owned());
    provider.provision(&anywhere).await.unwrap();
    assert_eq!(fake.calls()["DescribeSubnets"], 1, "subnets do not move");
}

#[tokio::test]
async fn properties_that_no_schema_can_refuse_are_refused_before_any_call() {
    let fake = instant();
    let provider = open(&factory(&fake.endpoint()));
    let template = |version: &str| {
        let entries = [("name", "web".into()), ("version", version.into())];
        crate::support::map(&[("launchTemplate", crate::support::map(&entries))])
    };
    let cases: [(Value, &str); 6] = [
        (
            crate::support::map(&[("imageId", "ami-00000001".into())]),
            "instanceType",
        ),
        (template("$Latest"), "version"),
        (
            running_with(&[("spotMaxPrice", "1".into())]),
            "spotMaxPrice",
        ),
        (running_with(&[("market", "spt".into())]), "market"),
        (
            running_with(&[("keyName", "${instance.address}".into())]),
            "instance.address",
        ),
        (
            running_with(&[("market", "spot".into()), ("onShutdown", "stop".into())]),
            "onShutdown",
        ),
    ];
    for (properties, word) in cases {
        let refused = provider.provision(&request(1, 1, properties)).await;
        let error = refused.unwrap_err();
        assert_eq!(error.class, ErrorClass::InvalidSpec);
        assert!(error.message.contains(word), "{error}");
    }
    assert!(fake.calls().is_empty());
    let made = provider.provision(&request(1, 1, template("7"))).await;
    assert_eq!(made.unwrap().made.len(), 1, "a template may say all of it");
}
