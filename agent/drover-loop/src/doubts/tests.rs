use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Digests, Epoch, FleetName, GroupUid, Ownership, ProviderPhase, RecordedInstance, Timestamp,
    Token,
};

use super::*;

fn web() -> GroupName {
    GroupName::parse("web").unwrap()
}

fn listed(handle: &str, number: u64) -> Listed {
    let fleet = FleetName::parse("test").unwrap();
    let uid = GroupUid::parse("aaaaaaaaaaaaaaaa").unwrap();
    let instance = InstanceId::new(web(), number);
    Listed {
        provider_ref: ProviderRef::parse(handle).unwrap(),
        phase: ProviderPhase::Running,
        address: None,
        zone: None,
        created_at: None,
        interruption: None,
        ownership: Some(Ownership {
            token: Token::derive(&fleet, &uid, Epoch(1), &instance, 0),
            fleet,
            group: web(),
            instance,
            digests: Digests::of_unknown_template(),
            epoch: Epoch(1),
            seat: None,
        }),
    }
}

/// What is believed of a listing where `i-1` is recorded as `web-1` and the next number is 3: the handles, whether they are
/// all there is, and what is told.
fn told(instances: &[(&str, u64)]) -> (Vec<String>, bool, Option<String>) {
    let listing = Listing {
        completeness: Completeness::Complete,
        as_of: Timestamp::UNIX_EPOCH,
        instances: instances
            .iter()
            .map(|(handle, number)| listed(handle, *number))
            .collect(),
        attached: BTreeSet::new(),
        places: BTreeMap::new(),
    };
    let mut recorded = RecordedGroup::new(
        web(),
        GroupUid::parse("aaaaaaaaaaaaaaaa").unwrap(),
        Epoch(1),
    );
    let was = RecordedInstance {
        provider_ref: Some(ProviderRef::parse("i-1").unwrap()),
        seat: None,
        digests: Digests::of_unknown_template(),
        class: "Available".to_owned(),
        draining: false,
        why: None,
        address: None,
        zone: None,
        created_at: Timestamp::UNIX_EPOCH,
        tags: BTreeMap::new(),
        kept: None,
    };
    recorded.instances.insert(InstanceId::new(web(), 1), was);
    let provider = ProviderName::parse("far").unwrap();
    let believed = believed(&Arc::new(listing), &provider, &recorded, 3);
    let handles = believed.listing.instances.iter();
    (
        handles
            .map(|listed| listed.provider_ref.to_string())
            .collect(),
        believed.listing.completeness == Completeness::Complete,
        believed.notice.map(|held| held.hold.to_string()),
    )
}

#[test]
fn a_number_far_above_the_next_one_is_nobodys() {
    let fits = [("i-1", 1), ("i-2", 1_000_003)];
    let all = vec!["i-1".to_owned(), "i-2".to_owned()];
    assert_eq!(told(&fits), (all, true, None));
    for number in [1_000_004, InstanceId::NUMBER_MAX + 1, u64::MAX] {
        let (handles, complete, why) = told(&[("i-1", 1), ("i-2", number)]);
        assert_eq!((handles, complete), (vec!["i-1".to_owned()], true));
        let expected = format!(
            "provider far lists i-2 as web-{number}, a number that drover never gave (the next is 3): its tags count as unreadable, and it is not touched"
        );
        assert_eq!(why, Some(expected));
    }
}

#[test]
fn an_instance_of_ours_under_such_a_number_is_not_missing() {
    let (handles, complete, why) = told(&[("i-9", u64::MAX - 1), ("i-1", u64::MAX)]);
    assert_eq!((handles, complete), (Vec::new(), false));
    assert_eq!(why, None, "the listing itself says so");
}

#[test]
fn no_jump_leads_above_the_largest_number() {
    let last = InstanceId::NUMBER_MAX;
    let handles = |number| {
        let listing = Listing {
            completeness: Completeness::Complete,
            as_of: Timestamp::UNIX_EPOCH,
            instances: vec![listed("i-2", number)],
            attached: BTreeSet::new(),
            places: BTreeMap::new(),
        };
        let uid = GroupUid::parse("aaaaaaaaaaaaaaaa").unwrap();
        let recorded = RecordedGroup::new(web(), uid, Epoch(1));
        let provider = ProviderName::parse("far").unwrap();
        let believed = believed(&Arc::new(listing), &provider, &recorded, last - 1);
        believed.listing.instances.len()
    };
    assert_eq!((handles(last), handles(last + 1)), (1, 0));
}
