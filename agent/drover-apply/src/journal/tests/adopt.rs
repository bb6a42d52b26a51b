use drover_model::{AdoptStep, GroupUid, MemberId, SeatId};

use super::*;

fn adopt(number: u64, seat: Option<SeatId>) -> IntentKind {
    let IntentKind::Create { digests, .. } = create(&[1]) else {
        unreachable!("a create");
    };
    IntentKind::Adopt(AdoptStep {
        instance: instance(number),
        provider_ref: handle("i-1"),
        token: token('b'),
        digests,
        seat,
        tags: (number == 9)
            .then(|| ("infrakit_link".to_owned(), "x".to_owned()))
            .into_iter()
            .collect(),
    })
}

#[test]
fn an_adoption_is_written_down_whole_and_its_number_is_never_given_out_again() {
    let seat = SeatId {
        life: GroupUid::parse("0123456789abcdef").unwrap(),
        member: MemberId::parse("m2").unwrap(),
    };
    let kinds = [adopt(4, None), adopt(9, Some(seat))];
    let dir = tempfile::tempdir().unwrap();
    let journal = RedbJournal::open(dir.path()).unwrap();
    append(&journal, kinds.to_vec());
    drop(journal);
    let again = RedbJournal::open(dir.path()).unwrap();
    let open = again.open_intents(&web()).unwrap();
    let found: Vec<_> = open.into_iter().map(|intent| intent.kind).collect();
    assert_eq!(found, kinds);
    assert_eq!(again.last_number(&web()).unwrap(), 9);
}
