use super::*;

fn at(text: &str) -> DateTime {
    text.parse().unwrap()
}

fn next(cron: &str, from: &str) -> String {
    let found = Cron::parse(cron).unwrap().next_from(at(from)).unwrap();
    found.strftime("%a %F %H:%M").to_string()
}

fn last(cron: &str, until: &str) -> String {
    let found = Cron::parse(cron).unwrap().last_until(at(until)).unwrap();
    found.strftime("%a %F %H:%M").to_string()
}

#[test]
fn finds_the_next_named_minute() {
    assert_eq!(
        next("0 2 * * TUE", "2026-01-05T12:00"),
        "Tue 2026-01-06 02:00"
    );
    assert_eq!(
        next("0 2 * * TUE", "2026-01-06T02:00"),
        "Tue 2026-01-06 02:00"
    );
    assert_eq!(
        next("0 2 * * TUE", "2026-01-06T02:00:01"),
        "Tue 2026-01-13 02:00"
    );
    assert_eq!(
        next("*/20 9-17 * * 1-5", "2026-01-09T17:41"),
        "Mon 2026-01-12 09:00"
    );
    assert_eq!(
        next("5/25 * * * *", "2026-01-09T17:31"),
        "Fri 2026-01-09 17:55"
    );
    assert_eq!(
        next("0 0 29 2 *", "2026-01-01T00:00"),
        "Tue 2028-02-29 00:00"
    );
    assert_eq!(
        next("0 0 * * 7", "2026-01-05T00:00"),
        "Sun 2026-01-11 00:00"
    );
    assert_eq!(
        next("0 0 1 jan,Jul *", "2026-01-05T00:00"),
        "Wed 2026-07-01 00:00"
    );
}

#[test]
fn finds_the_last_named_minute() {
    assert_eq!(
        last("0 2 * * TUE", "2026-01-05T12:00"),
        "Tue 2025-12-30 02:00"
    );
    assert_eq!(
        last("0 2 * * TUE", "2026-01-06T02:00:59"),
        "Tue 2026-01-06 02:00"
    );
    assert_eq!(
        last("30 22 * * *", "2026-01-01T22:29"),
        "Wed 2025-12-31 22:30"
    );
}

#[test]
fn either_day_is_enough_where_both_are_restricted() {
    assert_eq!(
        next("0 0 13 * FRI", "2026-01-03T00:00"),
        "Fri 2026-01-09 00:00"
    );
    assert_eq!(
        next("0 0 13 * FRI", "2026-01-10T00:00"),
        "Tue 2026-01-13 00:00"
    );
    assert_eq!(
        next("0 0 */2 * FRI", "2026-01-03T00:00"),
        "Fri 2026-01-09 00:00"
    );
}

#[test]
fn refuses_what_it_cannot_read() {
    let why = |text: &str| Cron::parse(text).unwrap_err().to_string();
    insta::assert_snapshot!(why("0 2 * *"), @"must have five fields (minute hour day month weekday), found 4");
    insta::assert_snapshot!(why("60 2 * * *"), @r#"has "60" as the minute, which must be 0 to 59, `*`, a range, a step or a list"#);
    insta::assert_snapshot!(why("0 2 L * *"), @r#"has "L" as the day of the month, which must be 1 to 31, `*`, a range, a step or a list"#);
    insta::assert_snapshot!(why("0 2 31 2 *"), @"names no date that exists");
    for bad in [
        "0 2 * * 5-1",
        "*/0 * * * *",
        "+1 * * * *",
        ", * * * *",
        "0 2 * FOO *",
        "-1 * * * *",
        "@daily",
    ] {
        assert!(Cron::parse(bad).is_err(), "{bad}");
    }
}
