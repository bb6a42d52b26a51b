use super::*;

fn calendar(zone: &str, days: &[(&str, &str)]) -> Calendar {
    let days = days.iter().map(|(first, last)| CalendarDays {
        first: first.parse().unwrap(),
        last: last.parse().unwrap(),
        name: None,
    });
    Calendar {
        name: CalendarName::parse("de").unwrap(),
        span: SourceSpan::start_of("calendar.yaml"),
        zone: Zone::parse(zone).unwrap(),
        days: days.collect(),
        digest: String::new(),
    }
}

#[track_caller]
fn assert_days(calendar: &Calendar, times: &[(&str, bool)]) {
    for (time, expected) in times {
        let found = calendar.entry_at(time.parse().unwrap()).is_some();
        assert_eq!(found, *expected, "{time}");
    }
}

#[test]
fn a_day_begins_and_ends_on_the_clocks_of_its_zone() {
    let berlin = calendar("Europe/Berlin", &[("2026-04-03", "2026-04-03")]);
    assert_days(
        &berlin,
        &[
            ("2026-04-02T21:59:59Z", false),
            ("2026-04-02T22:00:00Z", true),
            ("2026-04-03T21:59:59Z", true),
            ("2026-04-03T22:00:00Z", false),
        ],
    );
}

#[test]
fn both_ends_of_a_range_belong_to_it() {
    let utc = calendar("UTC", &[("2026-12-24", "2027-01-01")]);
    assert_days(
        &utc,
        &[
            ("2026-12-23T12:00:00Z", false),
            ("2026-12-24T00:00:00Z", true),
            ("2027-01-01T23:59:59Z", true),
            ("2027-01-02T00:00:00Z", false),
            ("2025-12-24T12:00:00Z", false),
        ],
    );
}

#[test]
fn days_of_every_year_may_go_on_into_the_next() {
    let utc = calendar("UTC", &[("12-24", "01-01"), ("05-01", "05-01")]);
    assert_days(
        &utc,
        &[
            ("2026-12-23T12:00:00Z", false),
            ("2026-12-31T12:00:00Z", true),
            ("2031-01-01T12:00:00Z", true),
            ("2031-01-02T12:00:00Z", false),
            ("2031-05-01T12:00:00Z", true),
        ],
    );
}

#[test]
fn the_29th_of_february_is_only_in_leap_years() {
    let utc = calendar("UTC", &[("02-29", "02-29")]);
    assert_days(
        &utc,
        &[
            ("2028-02-29T12:00:00Z", true),
            ("2027-02-28T12:00:00Z", false),
            ("2027-03-01T12:00:00Z", false),
        ],
    );
}

#[test]
fn texts_that_are_no_days_are_refused() {
    for text in [
        "",
        "12",
        "1-1",
        "2026-13-01",
        "02-30",
        "2026-02-29",
        "26-01-01",
        "2026-1-01",
        "+1-01",
    ] {
        assert_eq!(text.parse::<Day>(), Err(DayError), "{text}");
    }
    for text in ["12-25", "02-29", "2028-02-29"] {
        assert_eq!(text.parse::<Day>().unwrap().to_string(), text);
    }
}
