use drover_model::{EtcdKeeper, GroupUid};

use super::*;

const PORTS: EtcdKeeper = EtcdKeeper {
    client_port: 2379,
    peer_port: 2380,
};

fn id(name: &str) -> MemberId {
    MemberId::parse(name).unwrap()
}

/// A voter that works and answers.
fn voter(name: &str) -> RosterEntry {
    RosterEntry {
        name: name.to_owned(),
        role: EntryRole::Voter,
        started: true,
        hosts: vec![format!("{name}.example")],
        answers: true,
        lag: Some(0),
    }
}

fn silent(name: &str) -> RosterEntry {
    RosterEntry {
        answers: false,
        ..voter(name)
    }
}

/// An entry that was added and that nobody works under yet.
fn added(name: &str) -> RosterEntry {
    RosterEntry {
        name: String::new(),
        role: EntryRole::Learner,
        started: false,
        answers: false,
        ..voter(name)
    }
}

/// A list of which the first leads, numbered from 1.
fn roster(entries: impl IntoIterator<Item = RosterEntry>) -> Roster {
    Roster {
        term: 1,
        leader: EntryId(1),
        entries: (1..).map(EntryId).zip(entries).collect(),
    }
}

/// The list beside the places of `members`, each at its own address.
fn beside<'a>(roster: &'a Roster, members: &[&'a str]) -> Result<Entries<'a>, String> {
    let addresses = members.iter().filter_map(|name| {
        let mut hosts = roster.entries.values().flat_map(|entry| &entry.hosts);
        let host = hosts.find(|host| host.strip_suffix(".example") == Some(name))?;
        Some((id(name), host.as_str()))
    });
    let mut entries = Entries {
        keeper: Keeper::Etcd(PORTS),
        roster,
        held: BTreeMap::new(),
        addresses: addresses.collect(),
        strays: Vec::new(),
    };
    entries.assign().map(|()| entries)
}

fn known(voters: &[&str]) -> RecordedQuorum {
    RecordedQuorum {
        life: GroupUid::parse("0123456789abcdef").unwrap(),
        voters: voters.iter().map(|name| id(name)).collect(),
        stable: [].into(),
        established: true,
        calm_since: None,
        seated: None,
    }
}

#[test]
fn an_entry_goes_where_a_majority_of_the_others_answers() {
    let survives = |entries: Vec<RosterEntry>, gone: u64| {
        let roster = roster(entries);
        let entries = beside(&roster, &["a", "b", "c", "d", "e"]).unwrap();
        entries.survives_removal(EntryId(gone))
    };
    assert!(survives(vec![voter("a"), voter("b"), voter("c")], 3));
    assert!(survives(vec![voter("a"), voter("b"), silent("c")], 3));
    assert!(!survives(vec![voter("a"), voter("b"), silent("c")], 2));
    let five = |c| vec![voter("a"), voter("b"), c, silent("d"), voter("e")];
    assert!(survives(five(voter("c")), 1), "three of four");
    assert!(!survives(five(silent("c")), 1), "two of four");
    assert!(!survives(vec![voter("a"), voter("b")], 2), "of two none");
    assert!(survives(vec![voter("a"), added("b")], 2), "no vote");
}

#[test]
fn one_more_votes_where_a_majority_is_left_should_it_fail() {
    let survives = |entries: Vec<RosterEntry>| {
        let roster = roster(entries);
        let entries = beside(&roster, &["a", "b", "c", "d"]).unwrap();
        entries.survives_promotion()
    };
    assert!(survives(vec![voter("a"), voter("b")]));
    assert!(!survives(vec![voter("a"), silent("b")]));
    assert!(
        !survives(vec![voter("a"), voter("b"), silent("c")]),
        "2 of 4"
    );
    assert!(survives(vec![
        voter("a"),
        voter("b"),
        voter("c"),
        silent("d")
    ]));
}

#[test]
fn who_answers_and_stays_is_asked_and_the_leader_first() {
    let asked = |entries: Vec<RosterEntry>, except: Option<u64>| {
        let roster = roster(entries);
        let entries = beside(&roster, &["a", "b", "c"]).unwrap();
        entries.ask(except.map(EntryId)).map(str::to_owned)
    };
    let all = || vec![voter("a"), voter("b"), voter("c")];
    assert_eq!(asked(all(), None).as_deref(), Some("a.example"));
    assert_eq!(asked(all(), Some(1)).as_deref(), Some("b.example"));
    let first = vec![silent("a"), voter("b"), voter("c")];
    assert_eq!(asked(first, None).as_deref(), Some("b.example"));
    assert_eq!(asked(vec![silent("a"), added("b")], None), None);
}

#[test]
fn a_list_that_contradicts_the_places_is_not_clear() {
    let mut named = voter("b");
    named.name = "somebody".to_owned();
    let roster_of = |entry: RosterEntry| roster([voter("a"), entry]);
    let why = |roster: &Roster, members: &[&str]| {
        let members: Vec<&str> = members.to_vec();
        beside(roster, &members).map(|_| ()).unwrap_err()
    };
    let other = roster_of(named);
    assert_eq!(
        why(&other, &["a", "b"]),
        "the entry at the place of b is named \"somebody\""
    );
    let stranger = roster_of(voter("b"));
    let said = why(&stranger, &["a"]);
    assert!(said.ends_with("which is no member of this group"), "{said}");
    let mut twice = roster([voter("a"), voter("b"), voter("b")]);
    assert_eq!(why(&twice, &["a", "b"]), "b has two entries");
    twice.leader = EntryId(9);
    twice.entries.remove(&EntryId(3));
    assert_eq!(why(&twice, &["a", "b"]), "leader 9 is not in it");
    // An entry that nobody ever worked under contradicts nothing.
    let leftover = roster_of(added("x"));
    assert_eq!(beside(&leftover, &["a"]).unwrap().strays(), [EntryId(2)]);
}

#[test]
fn an_instance_is_made_for_an_entry_that_nobody_was_meant_to_work_under() {
    let roster = roster([voter("a"), added("b"), voter("c")]);
    let entries = beside(&roster, &["a", "b", "c"]).unwrap();
    let mut known = known(&["a", "b", "c"]);
    assert!(entries.is_fresh(&id("b"), &known));
    assert!(!entries.is_fresh(&id("a"), &known));
    assert!(!entries.is_fresh(&id("d"), &known));
    known.seated = Some(EntryId(2));
    assert!(!entries.is_fresh(&id("b"), &known), "one was made for it");
    let mut begun = roster.clone();
    let entry = begun.entries.get_mut(&EntryId(2)).unwrap();
    entry.role = EntryRole::Voter;
    known.seated = None;
    let entries = beside(&begun, &["a", "b", "c"]).unwrap();
    assert!(!entries.is_fresh(&id("b"), &known), "it has a vote");
}

#[test]
fn at_rest_every_entry_votes_answers_and_is_of_a_member_that_counts() {
    let unsettled = |entries: Vec<RosterEntry>, voters: &[&str]| {
        let roster = roster(entries);
        let entries = beside(&roster, &["a", "b", "c"]).unwrap();
        entries.unsettled(&known(voters))
    };
    let well = || vec![voter("a"), voter("b"), voter("c")];
    let all = ["a", "b", "c"];
    assert_eq!(unsettled(well(), &all), None);
    let mut learner = voter("c");
    learner.role = EntryRole::Learner;
    let cases = [
        (vec![voter("a"), voter("b"), learner], "c does not vote yet"),
        (
            vec![voter("a"), voter("b"), silent("c")],
            "c does not answer as a member",
        ),
        (
            vec![voter("a"), voter("b")],
            "c is not in the membership list",
        ),
        (
            vec![voter("a"), voter("b"), voter("c"), added("x")],
            "entry 4 of the membership list is nobody's",
        ),
    ];
    for (entries, why) in cases {
        assert_eq!(unsettled(entries, &all).as_deref(), Some(why));
    }
    let early = unsettled(well(), &["a", "b"]);
    let why = "c is in the membership list and not counted yet";
    assert_eq!(early.as_deref(), Some(why));
}
