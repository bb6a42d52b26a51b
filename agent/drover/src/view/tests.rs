use drover_model::{Digests, Epoch, GroupName, GroupUid};

use super::*;

#[test]
fn ages_have_one_or_two_units() {
    let now: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap();
    let ago = |seconds: i64| {
        age(
            now,
            Timestamp::from_second(now.as_second() - seconds).unwrap(),
        )
    };
    assert_eq!(ago(-5), "0s");
    assert_eq!(ago(119), "119s");
    assert_eq!(ago(150), "2m");
    assert_eq!(ago(7_200), "2h");
    assert_eq!(ago(9_000), "2h30m");
    assert_eq!(ago(200_000), "2d");
}

#[test]
fn words_of_others_begin_no_line_of_their_own() {
    let held = Held {
        hold: Hold::JournalUnavailable {
            why: "no\n  Suspended (update)\n    asked by root".to_owned(),
        },
        reason: None,
        instance: None,
        until: None,
    };
    let lines = hold_lines(&held);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(
        lines.contains("no   Suspended (update)     asked by root"),
        "{lines}"
    );
    let line = text::field_line("Backoff", "\u{1b}[31mno\u{1b}[0m\nPhase: Converged");
    assert_eq!(
        line,
        "Backoff:     \u{1b}[31mno\u{1b}[0m Phase: Converged\n"
    );
}

#[test]
fn the_size_is_the_documents_until_something_was_decided() {
    let name = GroupName::parse("web").unwrap();
    let uid = GroupUid::parse("0123456789abcdef").unwrap();
    let mut recorded = RecordedGroup::new(name, uid, Epoch(1));
    let declared = Declared {
        size: 3,
        ..Declared::default()
    };
    assert_eq!(group(&recorded, &declared).size, 3);
    recorded.target = Some(Digests::of_unknown_template());
    assert_eq!(group(&recorded, &declared).size, 0);
}

#[test]
fn times_are_whole_seconds() {
    let time: Timestamp = "2026-01-05T10:00:00.123Z".parse().unwrap();
    assert_eq!(seconds(time), "2026-01-05T10:00:00Z");
}
