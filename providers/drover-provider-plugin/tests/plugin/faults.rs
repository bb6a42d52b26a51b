//! Plugins that lose, delay, garble and lie: nothing is made twice, and nothing looks gone that is not.

use std::sync::Arc;
use std::time::Duration;

use drover_model::{Completeness, ErrorClass, ProviderPhase, Timestamp};
use drover_provider::{DestroyRequest, Ending, Provider};
use serde_json::{Value as Json, json};

use crate::fake::Trouble;
use crate::support::{Scope, assert_failed, destroying, fleet, make, request, values};

const PROVISION: &str = "Instance.Provision";
const DESCRIBE: &str = "Instance.DescribeInstances";
const DESTROY: &str = "Instance.Destroy";

async fn listed(provider: &Arc<dyn Provider>) -> usize {
    provider.list(&fleet()).await.unwrap().instances.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_makes_nothing_twice() {
    for trouble in [
        Trouble::LostReply,
        Trouble::Truncated,
        Trouble::MadeAndFailed,
        Trouble::NoId,
    ] {
        let mut scope = Scope::new();
        let provider = scope.open();
        scope.fake.trouble(PROVISION, trouble.clone());
        // The plugin's own listing tells at once.
        let one = make(&provider, &request(1)).await;
        scope.restart();
        let provider = scope.open();
        assert_eq!(make(&provider, &request(1)).await, one);
        assert_eq!(
            (scope.fake.count(), scope.fake.calls(PROVISION).len()),
            (1, 1),
            "{trouble:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_and_a_listing_that_is_behind_make_nothing_twice() {
    for trouble in [Trouble::LostReply, Trouble::MadeAndFailed, Trouble::NoId] {
        let mut scope = Scope::new();
        scope.fake.set_lag(Duration::from_mins(1));
        scope.fake.trouble(PROVISION, trouble.clone());
        let provider = scope.open();
        let first = provider.provision(&request(1)).await;
        assert_failed(
            first,
            ErrorClass::Unknown,
            "listings decide whether it was made",
        );
        // Killed meanwhile: what was sent is on disk.
        scope.restart();
        let provider = scope.open();
        let second = provider.provision(&request(1)).await;
        assert_failed(second, ErrorClass::Unknown, "listings decide");
        scope.fake.set_lag(Duration::ZERO);
        make(&provider, &request(1)).await;
        assert_eq!(
            (scope.fake.count(), scope.fake.calls(PROVISION).len()),
            (1, 1),
            "{trouble:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_never_arrived_is_repeated_once_no_listing_can_be_behind() {
    let scope = Scope::new();
    scope.fake.trouble(PROVISION, Trouble::LostRequest);
    let provider = scope.open();
    assert_failed(
        provider.provision(&request(1)).await,
        ErrorClass::Unknown,
        "no answer",
    );
    scope.clock.advance(Duration::from_secs(29));
    assert_failed(
        provider.provision(&request(1)).await,
        ErrorClass::Unknown,
        "no answer",
    );
    assert_eq!(scope.fake.calls(PROVISION).len(), 1);
    scope.clock.advance(Duration::from_secs(2));
    make(&provider, &request(1)).await;
    assert_eq!(
        (scope.fake.count(), scope.fake.calls(PROVISION).len()),
        (1, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_repeated_while_its_outcome_is_open_is_answered_from_the_latest_listing() {
    let scope = Scope::new();
    scope.fake.set_lag(Duration::from_mins(1));
    scope.fake.trouble(PROVISION, Trouble::LostReply);
    let provider = scope.open();
    let open = provider.provision(&request(1)).await;
    assert_failed(open, ErrorClass::Unknown, "listings decide");
    scope.clock.advance(Duration::from_secs(1));
    assert_eq!(listed(&provider).await, 0);
    let asked = scope.fake.calls(DESCRIBE).len();
    for _ in 0..20 {
        let open = provider.provision(&request(1)).await;
        assert_failed(open, ErrorClass::Unknown, "listings decide");
    }
    assert_eq!(scope.fake.calls(DESCRIBE).len(), asked);
    // The next listing has it.
    scope.fake.set_lag(Duration::ZERO);
    scope.clock.advance(Duration::from_secs(1));
    assert_eq!(listed(&provider).await, 1);
    make(&provider, &request(1)).await;
    assert_eq!(scope.fake.calls(DESCRIBE).len(), asked + 1);
    // One that is old says nothing.
    scope.fake.set_lag(Duration::from_mins(1));
    scope.fake.trouble(PROVISION, Trouble::LostReply);
    let open = provider.provision(&request(2)).await;
    assert_failed(open, ErrorClass::Unknown, "listings decide");
    scope.clock.advance(Duration::from_secs(1));
    listed(&provider).await;
    scope.clock.advance(Duration::from_secs(16));
    let asked = scope.fake.calls(DESCRIBE).len();
    let open = provider.provision(&request(2)).await;
    assert_failed(open, ErrorClass::Unknown, "listings decide");
    assert_eq!(scope.fake.calls(DESCRIBE).len(), asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_call_is_joined_and_not_repeated() {
    let scope = Scope::new();
    scope
        .fake
        .trouble(PROVISION, Trouble::Slow(Duration::from_millis(300)));
    scope.fake.set_lag(Duration::from_mins(1));
    let provider = scope.open();
    let (first, second) = (request(1), request(1));
    let limit = Duration::from_millis(50);
    assert!(
        tokio::time::timeout(limit, provider.provision(&first))
            .await
            .is_err()
    );
    let other = scope.open();
    let one = make(&other, &second).await;
    assert_eq!(make(&provider, &second).await, one);
    assert_eq!(
        (scope.fake.count(), scope.fake.calls(PROVISION).len()),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_in_mid_call_does_not_call_again() {
    let mut scope = Scope::new();
    let slow = Trouble::Slow(Duration::from_millis(300));
    scope.fake.trouble(PROVISION, slow);
    scope.fake.set_lag(Duration::from_mins(1));
    let (provider, first) = (scope.open(), request(1));
    let limit = Duration::from_millis(100);
    let call = tokio::time::timeout(limit, provider.provision(&first));
    assert!(call.await.is_err());
    assert_eq!(scope.fake.calls(PROVISION).len(), 1);
    scope.restart();
    let again = scope.open().provision(&first).await;
    let says = "Instance.Provision: no answer to an earlier call; the plugin's listings decide";
    assert_failed(again, ErrorClass::Unknown, says);
    assert_eq!(scope.fake.calls(PROVISION).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_carried_out_after_its_connection_broke_is_found() {
    let scope = Scope::new();
    scope
        .fake
        .trouble(PROVISION, Trouble::Late(Duration::from_millis(200)));
    let provider = scope.open();
    assert_failed(
        provider.provision(&request(1)).await,
        ErrorClass::Unknown,
        "no answer",
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    make(&provider, &request(1)).await;
    assert_eq!(
        (scope.fake.count(), scope.fake.calls(PROVISION).len()),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_lost_its_data_folder_finds_what_its_token_has_made() {
    let mut scope = Scope::new();
    let one = make(&scope.open(), &request(1)).await;
    std::fs::remove_dir_all(scope.folder.path().join("data")).unwrap();
    scope.restart();
    assert_eq!(make(&scope.open(), &request(1)).await, one);
    assert_eq!(scope.fake.calls(PROVISION).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_without_a_class_is_believed_once_the_listing_agrees() {
    let scope = Scope::new();
    scope.fake.set_capacity(0);
    let provider = scope.open();
    let refused = provider.provision(&request(1)).await;
    assert_failed(
        refused,
        ErrorClass::Unknown,
        "Instance.Provision: at capacity 0",
    );
    scope.clock.advance(Duration::from_secs(31));
    let refused = provider.provision(&request(1)).await;
    assert_failed(
        refused,
        ErrorClass::Partial,
        "Instance.Provision: at capacity 0",
    );
    assert_eq!(scope.fake.calls(PROVISION).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_with_a_class_is_believed_at_once() {
    let scope = Scope::new();
    scope.fake.trouble(PROVISION, Trouble::Class("quota"));
    let provider = scope.open();
    assert_failed(
        provider.provision(&request(1)).await,
        ErrorClass::Quota,
        "Instance.Provision: no",
    );
    make(&provider, &request(1)).await;
    assert_eq!(scope.fake.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_is_null_is_an_empty_one() {
    let scope = Scope::new();
    let provider = scope.open();
    make(&provider, &request(1)).await;
    let says = r#"{"result":{"Descriptions":[{"ID":"theirs","LogicalID":null,"Tags":{"x":null,"drover.fleet":null}}]}}"#;
    scope.fake.trouble(DESCRIBE, Trouble::Says(says));
    provider.list(&fleet()).await.unwrap();
    assert_eq!(listed(&provider).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_that_cannot_be_read_is_taken_for_an_empty_fleet() {
    let scope = Scope::new();
    let provider = scope.open();
    make(&provider, &request(1)).await;
    let answers = [
        (Trouble::Says(""), "the answer is empty"),
        (Trouble::Says("<html>"), "the answer is not JSON"),
        (Trouble::Says("[]"), "not a JSON object"),
        (Trouble::Says("{\"id\":1}"), "neither a result nor an error"),
        (
            Trouble::Says("{\"result\":{}}"),
            "`Descriptions` is missing",
        ),
        (
            Trouble::Says("{\"result\":{\"Descriptions\":{}}}"),
            "not a list",
        ),
        (
            Trouble::Says("{\"result\":{\"Descriptions\":[{\"Tags\":{}}]}}"),
            "no `ID`",
        ),
        (
            Trouble::Says("{\"result\":{\"Descriptions\":[{\"ID\":\"a\",\"Tags\":{\"x\":1}}]}}"),
            "is not a text",
        ),
        (Trouble::Says("{\"error\":{\"message\":\"boom\"}}"), "boom"),
        (Trouble::Says("{\"error\":\"boom\"}"), "boom"),
        (Trouble::Truncated, "ends early"),
        (Trouble::LostReply, "no answer"),
        (Trouble::Hang, "no answer within 500ms"),
        (Trouble::Endless, "larger than 32 MiB"),
    ];
    for (trouble, says) in answers {
        scope.fake.trouble(DESCRIBE, trouble);
        let says = format!("Instance.DescribeInstances: {says}");
        let list = provider.list(&fleet()).await;
        let whole = list
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(whole.contains(&says[28..]), "{says}: {whole}");
        assert_failed(list, ErrorClass::Unknown, "Instance.DescribeInstances: ");
    }
    assert_eq!(listed(&provider).await, 1);
    // An empty list of a program in Go is one; whether to believe it is for who knows more.
    scope.fake.trouble(
        DESCRIBE,
        Trouble::Says("{\"result\":{\"Descriptions\":null}}"),
    );
    assert_eq!(listed(&provider).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_described_twice_makes_the_listing_partial() {
    let scope = Scope::new();
    let provider = scope.open();
    let twice = "{\"result\":{\"Descriptions\":[{\"ID\":\"a\",\"Tags\":{\"drover.fleet\":\"prod\"}},{\"ID\":\"a\",\"Tags\":{\"drover.fleet\":\"prod\"}}]}}";
    scope.fake.trouble(DESCRIBE, Trouble::Says(twice));
    let listing = provider.list(&fleet()).await.unwrap();
    let why = "plugin fake: Instance.DescribeInstances describes a more than once".to_owned();
    assert_eq!(listing.completeness, Completeness::Partial { why });
    assert_eq!(
        listing.instances[0].ownership, None,
        "its tags say too little"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_is_made_idempotent() {
    let scope = Scope::new();
    let provider = scope.open();
    let request = request(1);
    let one = make(&provider, &request).await;
    let end = destroying(&request, &one);
    scope.fake.trouble(DESTROY, Trouble::LostReply);
    // The listing says that it is gone, whatever became of the answer.
    provider.destroy(&end).await.unwrap();
    provider.destroy(&end).await.unwrap();
    assert_eq!(
        scope.fake.calls(DESTROY).len(),
        1,
        "what is gone is not ended again"
    );

    let two = crate::support::request(2);
    let instance = make(&provider, &two).await;
    scope.fake.trouble(
        DESTROY,
        Trouble::Says("{\"error\":{\"message\":\"not now\"}}"),
    );
    let refused = provider.destroy(&destroying(&two, &instance)).await;
    assert_failed(refused, ErrorClass::Unknown, "Instance.Destroy: not now");
    // Agreed to, and still described: listed as ending, and asked again only when that is too old.
    scope
        .fake
        .trouble(DESTROY, Trouble::Says("{\"result\":{\"OK\":true}}"));
    provider
        .destroy(&destroying(&two, &instance))
        .await
        .unwrap();
    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.instances[0].phase, ProviderPhase::Stopping);
    provider
        .destroy(&destroying(&two, &instance))
        .await
        .unwrap();
    assert_eq!(scope.fake.calls(DESTROY).len(), 3);
    scope.clock.advance(Duration::from_secs(31));
    provider
        .destroy(&destroying(&two, &instance))
        .await
        .unwrap();
    assert_eq!(
        (scope.fake.calls(DESTROY).len(), scope.fake.count()),
        (4, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_one_token_has_made_each_is_ended() {
    let scope = Scope::new();
    let provider = scope.open();
    let request = request(1);
    let one = make(&provider, &request).await;
    let other = "made-beside-it";
    scope
        .fake
        .add_stranger(other, scope.fake.tags(one.as_str()));
    provider.destroy(&destroying(&request, &one)).await.unwrap();
    // The plugin has agreed to one end. That says nothing of the other instance.
    let listed = provider.list(&fleet()).await.unwrap().instances;
    let seen = listed
        .iter()
        .map(|it| (it.provider_ref.as_str(), &it.phase));
    assert_eq!(seen.collect::<Vec<_>>(), [(other, &ProviderPhase::Running)]);
    let end = destroying(&request, &listed[0].provider_ref);
    provider.destroy(&end).await.unwrap();
    assert_eq!(scope.fake.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_told_why_an_instance_ends_and_a_repeated_call_may_say_another_reason() {
    let scope = Scope::new();
    let provider = scope.open();
    let request = request(1);
    let one = make(&provider, &request).await;
    let rolled = DestroyRequest {
        ending: Ending::Replaced,
        ..destroying(&request, &one)
    };
    scope.fake.trouble(DESTROY, Trouble::LostRequest);
    let lost = provider.destroy(&rolled).await;
    assert_failed(lost, ErrorClass::Unknown, "no answer");
    provider.destroy(&destroying(&request, &one)).await.unwrap();
    assert_eq!(scope.fake.count(), 0);
    let calls = scope.fake.calls(DESTROY);
    let reasons: Vec<&Json> = calls
        .iter()
        .map(|call| &call["Context"]["Reason"])
        .collect();
    assert_eq!(reasons, ["rolling_update", "terminate"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_neither_listed_nor_touched() {
    let scope = Scope::new();
    scope.fake.set_loose_filter();
    scope
        .fake
        .add_stranger("theirs", json!({"infrakit.group": "g1"}));
    scope
        .fake
        .add_stranger("half", json!({"drover.fleet": "prod"}));
    let provider = scope.open();
    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.instances.len(), 1);
    assert_eq!(listing.instances[0].ownership, None);
    for id in ["theirs", "half"] {
        let handle = drover_model::ProviderRef::parse(id).unwrap();
        let ended = provider.destroy(&destroying(&request(1), &handle)).await;
        assert_eq!(ended.unwrap_err().class, ErrorClass::NotFound);
        assert!(scope.fake.has(id));
    }
    assert!(scope.fake.calls(DESTROY).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_protocol_cannot_carry_is_refused_before_anything_is_sent() {
    let scope = Scope::new();
    let provider = scope.open();
    let mut late = request(1);
    late.slots[0].init = vec!["echo ${instance.address}".to_owned()];
    let mut reserved = request(1);
    reserved.slots[0]
        .tags
        .insert("drover.fleet".to_owned(), "other".to_owned());
    let mut many = request(1);
    many.slots.push(many.slots[0].clone());
    let mut attached = request(1);
    attached.slots[0].attachments = vec![attachment("vol-${instance.address}", "ebs")];
    let mut placed = request(1);
    placed.slots[0].seat = Some(Box::new(drover_model::Seat {
        id: drover_model::SeatId {
            life: "0123456789abcdef".parse().unwrap(),
            member: "m1".parse().unwrap(),
        },
        members: vec!["m1".parse().unwrap()],
        bootstrap: false,
        attachments: vec!["data".parse().unwrap()],
    }));
    let refused = provider.provision(&placed).await.unwrap_err();
    let says =
        "attachment data of the member: a plugin of InfraKit makes nothing that follows a member";
    assert!(refused.message.starts_with(says), "{refused}");
    for request in [late, reserved, many, attached, placed] {
        let refused = provider.provision(&request).await.unwrap_err();
        assert_eq!(refused.class, ErrorClass::InvalidSpec, "{refused}");
    }
    assert!(scope.fake.calls(PROVISION).is_empty());
}

fn attachment(id: &str, type_: &str) -> drover_model::Attachment {
    drover_model::Attachment {
        id: id.to_owned(),
        type_: type_.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_attached_is_sent_in_its_order_and_again_by_an_agent_that_was_killed() {
    let mut scope = Scope::new();
    scope.fake.trouble(PROVISION, Trouble::LostRequest);
    let mut asked = request(1);
    asked.slots[0].attachments = vec![
        attachment("vol-2", "ebs"),
        attachment("a $${b}", ""),
        attachment("vol-1", "ebs"),
    ];
    let lost = scope.open().provision(&asked).await;
    assert_failed(lost, ErrorClass::Unknown, "no answer");
    scope.restart();
    scope.clock.advance(Duration::from_secs(31));
    make(&scope.open(), &asked).await;
    let calls = scope.fake.calls(PROVISION);
    let attached = json!([
        {"ID": "vol-2", "Type": "ebs"}, {"ID": "a ${b}", "Type": ""}, {"ID": "vol-1", "Type": "ebs"},
    ]);
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call["Spec"]["Attachments"], attached);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_data_is_handed_over_as_it_is() {
    let scope = Scope::new();
    let provider = scope.open();
    let mut asked = request(7);
    let document = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b\"\n\n--b--\n";
    asked.slots[0].init = vec![document.to_owned()];
    make(&provider, &asked).await;
    assert_eq!(scope.fake.calls(PROVISION)[0]["Spec"]["Init"], document);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_carries_script_environment_tags_and_owner() {
    let scope = Scope::new();
    let provider = scope.open();
    let mut asked = request(7);
    asked.zone = Some("a".to_owned());
    asked.slots[0].init = vec![
        "#!/bin/sh".to_owned(),
        "echo $${instance.address}".to_owned(),
    ];
    asked.slots[0]
        .env
        .insert("GREETING".to_owned(), "it's".to_owned());
    asked.slots[0]
        .tags
        .insert("tier".to_owned(), "web".to_owned());
    asked.properties = values(&[("image", "x")]);
    make(&provider, &asked).await;
    let spec = scope.fake.calls(PROVISION)[0]["Spec"].clone();
    assert_eq!(
        spec["Init"],
        "#!/bin/sh\nexport GREETING='it'\\''s'\necho ${instance.address}"
    );
    assert_eq!(spec["Properties"], json!({"image": "x"}));
    assert_eq!(
        (&spec["LogicalID"], &spec["Attachments"]),
        (&json!(null), &json!(null))
    );
    let tags = spec["Tags"].as_object().unwrap();
    let names: Vec<&str> = tags.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "drover.created",
            "drover.digest",
            "drover.epoch",
            "drover.fleet",
            "drover.group",
            "drover.instance",
            "drover.token",
            "drover.zone",
            "tier",
        ]
    );
    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.instances[0].zone.as_deref(), Some("a"));
    assert_eq!(
        listing.instances[0].created_at.map(Timestamp::as_second),
        Some(1_800_000_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_made_under_the_logical_id_that_infrakit_gives_it() {
    let scope = Scope::new();
    let provider = scope.open();
    for (number, member, id) in [(1, "10-0-0-5", "10.0.0.5"), (2, "m2", "m2")] {
        let mut seated = request(number);
        seated.slots[0].seat = Some(Box::new(drover_model::Seat {
            id: drover_model::SeatId {
                life: drover_model::GroupUid::parse("aaaaaaaaaaaaaaaa").unwrap(),
                member: drover_model::MemberId::parse(member).unwrap(),
            },
            members: vec![drover_model::MemberId::parse(member).unwrap()],
            bootstrap: false,
            attachments: Vec::new(),
        }));
        let made = make(&provider, &seated).await;
        let sent = scope.fake.calls(PROVISION).pop().unwrap();
        assert_eq!(sent["Spec"]["LogicalID"], id);
        // InfraKit's plugins take it from there when they describe what they have.
        assert_eq!(scope.fake.tags(made.as_str())["infrakit.logical_id"], id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_read_from_where_the_document_says() {
    let scope = Scope::new();
    let described = r#"{"result":{"Descriptions":[{"ID":"a","LogicalID":"10.0.0.5","Tags":{"drover.fleet":"prod","ip":"10.0.0.6"},"Properties":{"net":{"ip":"10.0.0.7"}}}]}}"#;
    let cases = [
        (vec![], "10.0.0.5"),
        (vec![("addressTag", "ip")], "10.0.0.6"),
        (vec![("addressProperty", "net.ip")], "10.0.0.7"),
    ];
    for (more, expected) in cases {
        let mut settings = vec![("plugin", "fake")];
        settings.extend(more);
        let provider = scope.try_open(&values(&settings)).unwrap();
        scope.fake.trouble(DESCRIBE, Trouble::Says(described));
        let listing = provider.list(&fleet()).await.unwrap();
        assert_eq!(listing.instances[0].address.as_deref(), Some(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_and_is_not_described_yet_is_ended_and_not_taken_for_gone() {
    let scope = Scope::new();
    scope.fake.set_lag(Duration::from_mins(1));
    let provider = scope.open();
    let request = request(1);
    let one = make(&provider, &request).await;
    scope.fake.trouble(DESTROY, Trouble::LostRequest);
    let lost = provider.destroy(&destroying(&request, &one)).await;
    assert_failed(lost, ErrorClass::Unknown, "Instance.Destroy: no answer");
    provider.destroy(&destroying(&request, &one)).await.unwrap();
    assert_eq!(scope.fake.count(), 0);
}
