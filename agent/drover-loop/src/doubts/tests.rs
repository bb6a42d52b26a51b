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

fn empty() -> Listing {
    Listing {
        completeness: Completeness::Complete,
        as_of: Timestamp::UNIX_EPOCH,
        instances: Vec::new(),
        attached: BTreeSet::new(),
        places: BTreeMap::new(),
    }
}

/// A group with `i-1` as `web-1`.
fn recorded() -> RecordedGroup {
    let uid = GroupUid::parse("aaaaaaaaaaaaaaaa").unwrap();
    let mut recorded = RecordedGroup::new(web(), uid, Epoch(1));
    let was = RecordedInstance {
        provider_ref: Some(ProviderRef::parse("i-1").unwrap()),
        ..RecordedInstance::available(Digests::of_unknown_template(), Timestamp::UNIX_EPOCH)
    };
    recorded.instances.insert(InstanceId::new(web(), 1), was);
    recorded
}

/// What is believed where the next number is 3: the handles, whether they are all there is, and what is told.
fn told(instances: &[(&str, u64)]) -> (Vec<String>, bool, Option<String>) {
    let instances = instances
        .iter()
        .map(|(handle, number)| listed(handle, *number));
    let listing = Listing {
        instances: instances.collect(),
        ..empty()
    };
    let provider = ProviderName::parse("far").unwrap();
    let believed = believed(&Arc::new(listing), &provider, &recorded(), 3);
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
            instances: vec![listed("i-2", number)],
            ..empty()
        };
        let provider = ProviderName::parse("far").unwrap();
        let believed = believed(&Arc::new(listing), &provider, &recorded(), last - 1);
        believed.listing.instances.len()
    };
    assert_eq!((handles(last), handles(last + 1)), (1, 0));
}

/// What is said of instances under ids that others have, where `i-1` is recorded as `web-1`.
fn doubled(instances: &[(&str, u64, ProviderPhase)]) -> Option<String> {
    let instances = instances.iter().map(|(handle, number, phase)| Listed {
        phase: phase.clone(),
        ..listed(handle, *number)
    });
    let listing = Listing {
        instances: instances.collect(),
        ..empty()
    };
    let provider = ProviderName::parse("far").unwrap();
    let told = duplicates(&listing, &provider, &recorded())?;
    let told = told.strip_prefix("provider far lists ")?;
    let (told, end) = told.split_once("; drover ends ")?;
    let first = "those beside it only after the instance itself, so end them at the provider, or have all of them replaced (`drover replace web/web-";
    assert!(end.starts_with(first), "{end}");
    Some(told.to_owned())
}

#[test]
fn several_instances_under_one_id_are_named_and_the_recorded_one_is_the_groups() {
    use ProviderPhase::{Running, Stopping, Terminated};
    let two = [
        ("i-0", 1, Running),
        ("i-1", 1, Running),
        ("i-1", 1, Running),
    ];
    let one = "1 instance too many under ids that others have: web-1 is i-1, and beside it i-0";
    assert_eq!(doubled(&two).as_deref(), Some(one));
    let many = ["i-1", "i-3", "i-4", "i-5", "i-6"].map(|handle| (handle, 1, Running));
    let more = "4 instances too many under ids that others have: web-1 is i-1, and beside it i-3, i-4, i-5, 1 more";
    assert_eq!(doubled(&many).as_deref(), Some(more));
    let ids = [2, 3, 4, 5].map(|number| {
        let handles = [format!("x-{number}"), format!("w-{number}")];
        handles.map(|handle| (handle, number, Running))
    });
    let ids: Vec<_> = ids
        .iter()
        .flatten()
        .map(|(handle, number, phase)| (handle.as_str(), *number, phase.clone()))
        .collect();
    let told = doubled(&ids).unwrap();
    let first = "4 instances too many under ids that others have: web-2 is w-2, and beside it x-2; web-3 is w-3,";
    assert!(
        told.starts_with(first) && told.ends_with("; and so for 1 more ids"),
        "{told}"
    );
    for leaving in [Stopping, Terminated] {
        assert_eq!(doubled(&[("i-1", 1, Running), ("i-2", 1, leaving)]), None);
    }
    assert_eq!(doubled(&[("i-1", 1, Running), ("i-2", 2, Running)]), None);
}
