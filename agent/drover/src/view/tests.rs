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
fn times_are_whole_seconds() {
    let time: Timestamp = "2026-01-05T10:00:00.123Z".parse().unwrap();
    assert_eq!(seconds(time), "2026-01-05T10:00:00Z");
}
