use std::collections::BTreeMap;

use drover_model::{
    Digests, Epoch, GroupUid, Held, InstanceId, ProviderType, Reason, RecordedGroup,
    RecordedInstance, RecordedProvider, RecordedQuorum, Value,
};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn name(text: &str) -> GroupName {
    GroupName::parse(text).unwrap()
}

fn local() -> ProviderName {
    ProviderName::parse("local").unwrap()
}

/// A group of the provider whose instance was made long ago.
fn recorded(text: &str) -> RecordedGroup {
    let uid = GroupUid::parse("aaaaaaaaaaaaaaaa").unwrap();
    let mut recorded = RecordedGroup::new(name(text), uid, Epoch(1));
    recorded.provider = Some(RecordedProvider {
        name: local(),
        type_: ProviderType::parse("simulated").unwrap(),
        settings: Value::Null,
        classes: BTreeMap::new(),
    });
    made(&mut recorded, at(-9_000));
    recorded
}

fn made(recorded: &mut RecordedGroup, created_at: Timestamp) {
    let was = RecordedInstance::available(Digests::of_unknown_template(), created_at);
    let id = InstanceId::new(recorded.name.clone(), 1);
    recorded.instances.insert(id, was);
}

/// A group whose launches were refused so often, the last time at `failed`.
fn refused(text: &str, failures: u32, failed: Timestamp) -> RecordedGroup {
    let mut recorded = recorded(text);
    let waits = match failures {
        1 => 0,
        2 => 60,
        3 => 300,
        _ => 900,
    };
    recorded.backoff = Some(LaunchBackoff {
        failures,
        until: failed.checked_add(Duration::from_secs(waits)).unwrap(),
        class: Some(ErrorClass::Auth),
        message: "denied".to_owned(),
    });
    recorded
}

/// A group that would replace an instance.
fn waiting(text: &str) -> RecordedGroup {
    let mut recorded = recorded(text);
    recorded.holds.push(Held {
        hold: hold(&local(), "denied".to_owned()),
        reason: Some(Reason::Update),
        instance: None,
        until: None,
    });
    recorded
}

/// Returns who is told of a refusal.
fn told(refusals: &mut Refusals, groups: &[RecordedGroup], now: i64) -> Vec<String> {
    let entries = groups.iter().cloned();
    let entries: BTreeMap<GroupName, GroupEntry> = entries
        .map(|group| (group.name.clone(), GroupEntry::new(group)))
        .collect();
    let holds = refusals.holds(&entries, at(now));
    holds.keys().map(ToString::to_string).collect()
}

#[test]
fn a_refusal_is_told_to_all_until_a_launch_after_its_first_failure_worked() {
    let mut refusals = Refusals::default();
    let mut groups = [refused("db", 1, at(0)), recorded("web")];
    assert_eq!(told(&mut refusals, &groups, 1), ["db", "web"]);
    // It was made before, or is said to have been made in a time to come.
    for created_at in [at(0), at(-1), at(900)] {
        made(&mut groups[1], created_at);
        assert_eq!(told(&mut refusals, &groups, 2), ["db", "web"]);
    }
    made(&mut groups[1], at(2));
    assert_eq!(told(&mut refusals, &groups, 3), ["db"]);
    // It is refused again, and that is the same story.
    groups[0] = refused("db", 4, at(600));
    assert_eq!(told(&mut refusals, &groups, 601), ["db"]);
    // One worked meanwhile: that is another one.
    groups[0] = refused("db", 1, at(2_000));
    assert_eq!(told(&mut refusals, &groups, 2_001), ["db", "web"]);
    // Nobody tries any more.
    assert!(told(&mut refusals, &groups, 2_901).is_empty());
    // An agent that starts knows of the latest failure alone.
    groups[0] = refused("db", 4, at(3_000));
    assert_eq!(
        told(&mut Refusals::default(), &groups, 3_001),
        ["db", "web"]
    );
}

#[test]
fn groups_of_another_provider_are_told_nothing_and_tell_nothing() {
    let mut refusals = Refusals::default();
    let mut web = recorded("web");
    if let Some(provider) = &mut web.provider {
        provider.name = ProviderName::parse("other").unwrap();
    }
    made(&mut web, at(5));
    let groups = [refused("db", 1, at(0)), recorded("api"), web];
    assert_eq!(told(&mut refusals, &groups, 10), ["api", "db"]);
}

#[test]
fn the_groups_that_wait_find_out_one_after_the_other_and_quorums_last() {
    let mut refusals = Refusals::default();
    let mut quorum = waiting("api");
    quorum.quorum = Some(RecordedQuorum {
        life: quorum.uid.clone(),
        voters: BTreeSet::new(),
        stable: BTreeSet::new(),
        established: true,
        calm_since: None,
        seated: None,
    });
    let mut groups = [
        refused("db", 3, at(0)),
        quorum,
        recorded("idle"),
        waiting("shop"),
        waiting("web"),
    ];
    let all = ["api", "db", "idle", "shop", "web"];
    let but = |tries: &str| -> Vec<&str> {
        let others = all.into_iter().filter(|name| *name != tries);
        others.collect()
    };
    // What is launched by itself shows it first.
    assert_eq!(told(&mut refusals, &groups, 299), all);
    // Time goes on, and with it the refusals.
    let refused_at = |groups: &mut [RecordedGroup], now| groups[0] = refused("db", 4, at(now));
    refused_at(&mut groups, 300);
    for (now, tries) in [
        (300, "shop"),
        (1_199, "shop"),
        (1_200, "web"),
        (2_100, "api"),
        (3_000, "shop"),
    ] {
        refused_at(&mut groups, now);
        assert_eq!(told(&mut refusals, &groups, now), but(tries), "{now}");
    }
    // Whoever has its turn waits for nothing, and keeps it.
    groups[3] = recorded("shop");
    assert_eq!(told(&mut refusals, &groups, 3_001), but("shop"));
    // It is refused as well: that is enough.
    groups[3] = refused("shop", 1, at(3_002));
    assert_eq!(told(&mut refusals, &groups, 3_003), all);
    assert_eq!(told(&mut refusals, &groups, 3_600), all);
    // Once it is not any more, they begin anew.
    groups[3] = waiting("shop");
    refused_at(&mut groups, 4_000);
    assert_eq!(told(&mut refusals, &groups, 4_000), but("shop"));
}

#[test]
fn a_launch_that_lacks_a_secret_says_nothing_of_the_provider() {
    let mut refusals = Refusals::default();
    let mut db = refused("db", 1, at(0));
    db.holds.push(Held {
        hold: Hold::SecretUnresolved {
            reference: "file:/run/key".to_owned(),
            why: "it is not there".to_owned(),
        },
        reason: None,
        instance: None,
        until: None,
    });
    let groups = [db, recorded("web")];
    assert_eq!(told(&mut refusals, &groups, 1), ["db"]);
}
