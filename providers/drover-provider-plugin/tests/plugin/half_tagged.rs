//! Plugins that put tags on in part, cut them, or lose them: what is drover's stays drover's, and nothing is made beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{Completeness, ErrorClass, Ownership, ProviderRef};
use drover_provider::{AdoptRequest, Provider, ProvisionRequest};
use serde_json::json;

use crate::fake::Trouble;
use crate::support::{Scope, assert_failed, destroying, fleet, make, request};
use crate::taking_over::{adopt, handles, of_group, seat, tags};

const LABEL: &str = "Instance.Label";

/// Nothing happens to a call.
const FINE: Trouble = Trouble::Slow(Duration::ZERO);

async fn owners(provider: &Arc<dyn Provider>) -> Vec<Option<Ownership>> {
    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.completeness, Completeness::Complete);
    let listed = listing.instances.into_iter();
    listed.map(|one| one.ownership).collect()
}

fn owner_of(request: &AdoptRequest) -> Ownership {
    Ownership {
        fleet: request.fleet.clone(),
        group: request.group.clone(),
        instance: request.instance.clone(),
        digests: request.digests.clone(),
        token: request.token.clone(),
        epoch: request.epoch,
        seat: request.seat.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_that_was_cut_short_is_carried_out_again_and_never_looks_gone() {
    for count in 0..6 {
        let scope = Scope::new();
        of_group(&scope.fake, "i-1");
        let provider = scope.open();
        scope.fake.trouble(LABEL, FINE);
        scope.fake.trouble(LABEL, Trouble::PartOf(count));
        let cut = provider.adopt(&adopt("i-1", 1)).await;
        assert_failed(cut, ErrorClass::Unknown, "rate exceeded while tagging");
        assert_eq!(handles(&provider).await, ["i-1"], "{count}");
        assert!(!owners(&provider).await.iter().any(Option::is_some));
        // The document may say something else by now, so that it is another adoption.
        let mut again = adopt("i-1", 1);
        if count % 2 == 1 {
            again = adopt("i-1", 2);
            again.digests = request(2).digests;
        }
        provider.adopt(&again).await.unwrap();
        assert_eq!(owners(&provider).await, [Some(owner_of(&again))], "{count}");
        assert!(handles(&provider).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_nobody_knows_whom_are_left_alone_and_the_instance_is_named() {
    let scope = Scope::new();
    for (id, name, value) in [
        ("i-1", "drover.fleet", "other"),
        ("i-2", "drover.epoch", "7"),
        ("i-3", "drover.token", "x"),
    ] {
        scope
            .fake
            .add_stranger(id, json!({"infrakit.group": "workers", name: value}));
    }
    let provider = scope.open();
    assert_eq!(handles(&provider).await, ["i-1", "i-2", "i-3"]);
    for (id, says) in [
        (
            "i-1",
            "i-1: the fleet other, which the tag drover.fleet of i-1 names; take its tags",
        ),
        (
            "i-2",
            "i-2 has the tag drover.epoch=7, and nobody knows whose it is; take its tags",
        ),
        (
            "i-3",
            "i-3 has the tag drover.token=x, and nobody knows whose it is; take its tags",
        ),
    ] {
        let refused = provider.adopt(&adopt(id, 1)).await;
        assert_failed(refused, ErrorClass::InvalidSpec, says);
    }
    assert!(scope.fake.calls(LABEL).is_empty());
}

/// A member of a quorum group that was adopted.
async fn adopted_member(scope: &Scope) -> (Arc<dyn Provider>, ProviderRef) {
    of_group(&scope.fake, "i-1");
    let provider = scope.open();
    let taken = AdoptRequest {
        seat: Some(seat("m1", &[]).id),
        ..adopt("i-1", 1)
    };
    provider.adopt(&taken).await.unwrap();
    (provider, taken.provider_ref)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_was_cut_short_is_ended_by_the_next_one_or_by_an_adoption() {
    for count in 0..8 {
        let scope = Scope::new();
        let (provider, instance) = adopted_member(&scope).await;
        let cut = async || {
            scope.fake.trouble(LABEL, FINE);
            scope.fake.trouble(LABEL, Trouble::PartOf(count));
            let cut = provider.release(&fleet(), &instance).await;
            assert_failed(cut, ErrorClass::Unknown, "rate exceeded while tagging");
        };
        cut().await;
        for _ in 0..2 {
            provider.release(&fleet(), &instance).await.unwrap();
        }
        let left = scope.fake.tags("i-1");
        let left: BTreeMap<&String, &str> = left
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name, value.as_str()?)))
            .filter(|(name, value)| name.starts_with("drover.") && !value.is_empty())
            .collect();
        let left: Vec<_> = left.into_values().collect();
        assert_eq!(
            left,
            ["prod"],
            "{count}: who has released it, and nothing else"
        );

        let scope = Scope::new();
        let (provider, instance) = adopted_member(&scope).await;
        scope.fake.trouble(LABEL, FINE);
        scope.fake.trouble(LABEL, Trouble::PartOf(count));
        provider.release(&fleet(), &instance).await.unwrap_err();
        let next = adopt("i-1", 2);
        if count == 0 {
            // It still has all of them.
            let refused = provider.adopt(&next).await;
            assert_failed(
                refused,
                ErrorClass::InvalidSpec,
                "carries ownership tags already",
            );
            continue;
        }
        assert_eq!(handles(&provider).await, ["i-1"], "{count}");
        provider.adopt(&next).await.unwrap();
        // With nothing of the place that it had.
        assert_eq!(owners(&provider).await, [Some(owner_of(&next))], "{count}");
    }
}

fn asked(number: u64) -> ProvisionRequest {
    let mut request = request(number);
    request.slots[0].tags = tags();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_is_known_by_its_token_although_other_tags_were_cut() {
    let mut scope = Scope::new();
    scope.fake.cut_tags(63);
    let first = asked(1);
    let instance = make(&scope.open(), &first).await;
    scope.restart();
    let provider = scope.open();
    scope.clock.advance(Duration::from_hours(24 * 30));
    for _ in 0..2 {
        let owner = owners(&provider).await.remove(0).unwrap();
        assert_eq!(owner.digests, first.digests);
        assert_eq!(owner.instance, first.slots[0].instance);
    }
    assert!(handles(&provider).await.is_empty(), "it is no stranger");
    make(&provider, &asked(2)).await;
    provider
        .destroy(&destroying(&first, &instance))
        .await
        .unwrap();
    assert_eq!(scope.fake.count(), 1);

    // Who lost that knowledge knows that it does not know.
    std::fs::remove_dir_all(scope.folder.path().join("data")).unwrap();
    scope.restart();
    let listing = scope.open().list(&fleet()).await.unwrap();
    let Completeness::Partial { why } = listing.completeness else {
        panic!("nothing is missing from it");
    };
    let says = "plugin fake: Instance.DescribeInstances: the tag drover.digest of instance-";
    assert!(why.starts_with(says), "{why}");
    assert!(why.contains(" came back as \"1:"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_loses_the_tags_by_which_it_is_asked_is_told_and_makes_no_second_one() {
    for name in ["drover.fleet", "drover.token", "drover.group"] {
        let scope = Scope::new();
        let provider = scope.open();
        scope.fake.drop_tag(Some(name));
        let first = make(&provider, &asked(1)).await;
        assert!(!owners(&provider).await.iter().any(Option::is_some) || name == "drover.group");
        scope.clock.advance(Duration::from_secs(31));
        let next = provider.provision(&asked(2)).await;
        if name == "drover.group" {
            // The token is there, and tells.
            next.unwrap();
            continue;
        }
        let says = format!(
            "plugin fake: Instance.Provision: the tag {name} of {first} did not come back; nothing more is made before it keeps its tags"
        );
        assert_failed(next, ErrorClass::InvalidSpec, &says);
        let again = provider.provision(&asked(3)).await;
        assert_failed(again, ErrorClass::InvalidSpec, &says);
        assert_eq!(scope.fake.count(), 1, "{name}");
        // The plugin was mended, and what it has made without tags is gone.
        scope.fake.drop_tag(None);
        scope.fake.remove(first.as_str());
        make(&provider, &asked(4)).await;
        assert_eq!(owners(&provider).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adoption_whose_tags_were_cut_is_refused_with_the_tag() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let provider = scope.open();
    scope.fake.cut_tags(20);
    for _ in 0..2 {
        let refused = provider.adopt(&adopt("i-1", 1)).await;
        let says = "Instance.Label: the tag drover.digest of i-1 came back as \"0:";
        assert_failed(refused, ErrorClass::InvalidSpec, says);
    }
    let listing = provider.list(&fleet()).await.unwrap();
    assert!(matches!(listing.completeness, Completeness::Partial { .. }));
    scope.fake.cut_tags(200);
    provider.adopt(&adopt("i-1", 1)).await.unwrap();
    assert_eq!(owners(&provider).await, [Some(owner_of(&adopt("i-1", 1)))]);
}
