use drover_model::{
    Digests, Epoch, FleetName, GroupName, GroupUid, InstanceId, SeatId, Template, TemplateParts,
};

use super::*;

fn request(attached: &[&[(&str, &str)]]) -> ProvisionRequest {
    let group = GroupName::parse("web").unwrap();
    let template = Template::from(TemplateParts {
        properties: Value::empty_map(),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    });
    let slots = attached.iter().zip(1..).map(|(attached, number)| Slot {
        instance: InstanceId::new(group.clone(), number),
        init: Vec::new(),
        env: BTreeMap::new(),
        secrets: BTreeMap::new(),
        tags: BTreeMap::new(),
        attachments: attached
            .iter()
            .map(|(id, type_)| Attachment {
                id: (*id).to_owned(),
                type_: (*type_).to_owned(),
            })
            .collect(),
        seat: None,
    });
    ProvisionRequest {
        token: "a".repeat(32).parse().unwrap(),
        fleet: FleetName::parse("prod").unwrap(),
        epoch: Epoch(1),
        digests: Digests::of(&"simulated".parse().unwrap(), &template, &BTreeMap::new()),
        zone: None,
        slots: slots.collect(),
        properties: Value::empty_map(),
        secrets: crate::Secrets::default(),
        urgency: crate::Urgency::default(),
        asked: None,
        group,
    }
}

#[test]
fn what_is_attached_to_which_slot_and_in_which_order_tells_calls_apart() {
    let calls: [&[&[(&str, &str)]]; 6] = [
        &[&[], &[]],
        &[&[("a", "x")], &[]],
        &[&[], &[("a", "x")]],
        &[&[("a", "x"), ("b", "x")], &[]],
        &[&[("b", "x"), ("a", "x")], &[]],
        &[&[("a", "")], &[]],
    ];
    let prints: Vec<String> = calls
        .iter()
        .map(|call| fingerprint(&request(call)))
        .collect();
    for (at, print) in prints.iter().enumerate() {
        assert_eq!(*print, fingerprint(&request(calls[at])));
        assert_eq!(prints.iter().filter(|other| *other == print).count(), 1);
    }
}

fn seat() -> Seat {
    Seat {
        id: SeatId {
            life: GroupUid::parse("aaaaaaaaaaaaaaaa").unwrap(),
            member: MemberId::parse("m1").unwrap(),
        },
        members: vec![MemberId::parse("m1").unwrap()],
        bootstrap: false,
        attachments: Vec::new(),
    }
}

#[test]
fn whatever_else_is_asked_for_tells_calls_apart() {
    let with = |edit: fn(&mut ProvisionRequest)| {
        let mut changed = request(&[&[]]);
        edit(&mut changed);
        changed
    };
    let seated = |edit: fn(&mut Seat)| {
        let (mut changed, mut seat) = (request(&[&[]]), seat());
        edit(&mut seat);
        changed.slots[0].seat = Some(Box::new(seat));
        changed
    };
    let entry = || BTreeMap::from([("a".to_owned(), "x".to_owned())]);
    let with_entry = |edit: fn(&mut Slot, BTreeMap<String, String>)| {
        let mut changed = request(&[&[]]);
        edit(&mut changed.slots[0], entry());
        changed
    };
    let calls = [
        request(&[&[]]),
        with(|call| call.fleet = FleetName::parse("test").unwrap()),
        with(|call| call.group = GroupName::parse("api").unwrap()),
        with(|call| call.epoch = Epoch(2)),
        with(|call| call.digests = Digests::of_unknown_template()),
        with(|call| call.zone = Some("a".to_owned())),
        with(|call| call.zone = Some("b".to_owned())),
        with(|call| call.properties = Value::from("large")),
        with(|call| call.slots[0].instance = InstanceId::new(call.group.clone(), 2)),
        with(|call| call.slots[0].init = vec!["apt update".to_owned()]),
        with_entry(|slot, entry| slot.env = entry),
        with_entry(|slot, entry| slot.tags = entry),
        seated(|_| {}),
        seated(|seat| seat.id.life = GroupUid::parse("bbbbbbbbbbbbbbbb").unwrap()),
        seated(|seat| seat.id.member = MemberId::parse("m2").unwrap()),
        seated(|seat| seat.members.clear()),
        seated(|seat| seat.bootstrap = true),
        seated(|seat| seat.attachments = vec![AttachmentName::parse("data").unwrap()]),
    ];
    let prints: Vec<String> = calls.iter().map(fingerprint).collect();
    for (at, print) in prints.iter().enumerate() {
        let same = prints.iter().filter(|other| *other == print);
        assert_eq!(same.count(), 1, "{at}");
        assert!(is_repeated(&calls[at], print), "{at}");
    }
}

#[test]
fn who_knows_the_call_as_it_was_first_made_is_believed() {
    let plain = request(&[&[]]);
    let print = fingerprint(&plain);
    assert!(is_fingerprint(&print) && !is_fingerprint(&print[1..]));
    assert!(!is_fingerprint(&print.to_uppercase()));
    let mut later = plain.clone();
    later.properties = Value::from("a value that has changed");
    assert!(!is_repeated(&later, &print));
    later.asked = Some(print.clone());
    assert_eq!(fingerprint(&later), print);
    assert!(is_repeated(&later, &print));
    // What was kept of the same values, by a release that knew no more.
    let older = ProvisionRequest {
        asked: None,
        ..later.clone()
    };
    assert!(is_repeated(&later, &fingerprint(&older)));
    assert!(!is_repeated(&plain, &fingerprint(&older)));
}

#[test]
fn a_call_without_attachments_has_the_fingerprint_that_it_always_had() {
    let print = fingerprint(&request(&[&[]]));
    assert_eq!(
        print,
        "76a434a3c771a23b5a64ff3d7b64ac869f468aa4d1bcff3eebf8d204fc8a9d30"
    );
}
