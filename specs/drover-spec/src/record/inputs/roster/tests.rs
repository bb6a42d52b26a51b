use drover_model::{EntryId, GroupUid, MemberId, SeatId};

use super::*;
use crate::record::encode;
use crate::record::inputs::KIND;
use crate::record::{json, read};

/// Writes a value and reads it back.
fn again<T>(value: Yaml, read_it: impl Fn(&Reader<'_>) -> Result<T, RecordError>) -> T {
    let root = encode::header(KIND).with("value", value).build();
    let node = read::root(&json::document(&root), KIND).unwrap();
    read_it(&Reader::root(&node).get("value").unwrap()).unwrap()
}

fn entry(role: EntryRole, started: bool, lag: Option<u64>) -> RosterEntry {
    RosterEntry {
        name: if started {
            "m1".to_owned()
        } else {
            String::new()
        },
        role,
        started,
        hosts: vec!["127.64.0.1".to_owned(), "fd00::1".to_owned()],
        answers: lag.is_some(),
        lag,
    }
}

#[test]
fn a_list_is_written_whole() {
    let entries = [
        (EntryId(u64::MAX), entry(EntryRole::Voter, true, Some(7))),
        // A number to some readers, were it not a text.
        (EntryId(0x1e5), entry(EntryRole::Learner, false, None)),
    ];
    let known = RosterView::Known(Roster {
        term: 12,
        leader: EntryId(u64::MAX),
        entries: entries.into_iter().collect(),
    });
    let unclear = RosterView::Unclear {
        why: "nobody leads".to_owned(),
    };
    for view in [known, unclear] {
        assert_eq!(again(view_out(&view), view_in), view);
    }
}

#[test]
fn a_change_is_written_whole() {
    let seat = SeatId {
        life: GroupUid::parse("0123456789abcdef").unwrap(),
        member: MemberId::parse("m2").unwrap(),
    };
    for (seat, change) in [
        (Some(seat.clone()), RosterChange::Add),
        (None, RosterChange::Remove(EntryId(0x10))),
        (Some(seat.clone()), RosterChange::Promote(EntryId(1))),
        (
            Some(seat),
            RosterChange::HandOver {
                from: EntryId(1),
                to: EntryId(2),
            },
        ),
    ] {
        let step = RosterStep {
            keeper: Keeper::Etcd(EtcdKeeper {
                client_port: 2379,
                peer_port: 2381,
            }),
            at: "127.64.0.1".to_owned(),
            seat,
            change,
        };
        assert_eq!(again(step_out(&step).build(), step_in), step);
    }
}
