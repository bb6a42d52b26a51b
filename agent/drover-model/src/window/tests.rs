use super::*;

fn window(cron: &str, hours: u64, zone: &str) -> Window {
    Window {
        kind: WindowKind::Allow,
        cron: Cron::parse(cron).unwrap(),
        duration: Duration::from_hours(hours),
        zone: Zone::parse(zone).unwrap(),
        reasons: Reason::voluntary(),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns the openings from a day on, each with the time at which the window closes again.
fn openings(window: &Window, from: &str, count: usize) -> Vec<String> {
    let mut now = at(from);
    let mut found = Vec::new();
    for _ in 0..count {
        now = window.next_opening(now).unwrap();
        let second = Duration::from_secs(1);
        assert!(
            window.open_until(now - second).is_none(),
            "closed before {now}"
        );
        let closes = window.open_until(now).unwrap();
        assert!(
            window.open_until(closes - second).is_some(),
            "open before {closes}"
        );
        assert!(window.open_until(closes).is_none(), "closed at {closes}");
        found.push(format!("{now} to {closes}"));
    }
    found
}

#[test]
fn a_window_opens_on_the_clocks_of_its_zone() {
    let window = window("0 2 * * TUE", 3, "Europe/Berlin");
    assert_eq!(
        openings(&window, "2026-01-05T00:00:00Z", 1),
        ["2026-01-06T01:00:00Z to 2026-01-06T04:00:00Z"]
    );
    assert_eq!(
        openings(&window, "2026-07-05T00:00:00Z", 1),
        ["2026-07-07T00:00:00Z to 2026-07-07T03:00:00Z"]
    );
}

#[test]
fn clocks_put_forward_open_a_window_at_the_switch() {
    // 02:00 becomes 03:00 at 01:00 UTC.
    assert_eq!(
        openings(
            &window("30 2 * * *", 3, "Europe/Berlin"),
            "2026-03-28T00:00:00Z",
            3
        ),
        [
            "2026-03-28T01:30:00Z to 2026-03-28T04:30:00Z",
            "2026-03-29T01:00:00Z to 2026-03-29T04:00:00Z",
            "2026-03-30T00:30:00Z to 2026-03-30T03:30:00Z"
        ]
    );
    // 02:00 becomes 03:00 at 07:00 UTC.
    assert_eq!(
        openings(
            &window("0 2 * * *", 1, "America/New_York"),
            "2026-03-07T12:00:00Z",
            2
        ),
        [
            "2026-03-08T07:00:00Z to 2026-03-08T08:00:00Z",
            "2026-03-09T06:00:00Z to 2026-03-09T07:00:00Z"
        ]
    );
}

#[test]
fn clocks_put_back_open_a_window_once() {
    // 03:00 becomes 02:00 at 01:00 UTC.
    assert_eq!(
        openings(
            &window("30 2 * * *", 2, "Europe/Berlin"),
            "2026-10-24T12:00:00Z",
            2
        ),
        [
            "2026-10-25T00:30:00Z to 2026-10-25T02:30:00Z",
            "2026-10-26T01:30:00Z to 2026-10-26T03:30:00Z"
        ]
    );
    // 02:00 becomes 01:00 at 06:00 UTC; the window ends between the two times of 01:45.
    let quarter = Window {
        duration: Duration::from_mins(20),
        ..window("45 1 * * *", 1, "America/New_York")
    };
    assert_eq!(
        openings(&quarter, "2026-10-31T12:00:00Z", 2),
        [
            "2026-11-01T05:45:00Z to 2026-11-01T06:05:00Z",
            "2026-11-02T06:45:00Z to 2026-11-02T07:05:00Z"
        ]
    );
}

#[test]
fn openings_that_run_into_each_other_are_one() {
    let window = window("0 * * * 1-5", 1, "UTC");
    let closes = window.open_until(at("2026-01-06T10:30:00Z"));
    assert_eq!(closes, Some(at("2026-01-10T00:00:00Z")));
}

#[test]
fn zones_are_those_of_the_database_by_their_own_names() {
    assert_eq!(
        Zone::parse("Europe/Berlin").unwrap().as_str(),
        "Europe/Berlin"
    );
    assert_eq!(Zone::parse("UTC").unwrap().as_str(), "UTC");
    assert!(Zone::parse("Europe/Berln").is_none());
    assert!(Zone::parse("europe/berlin").is_none());
    assert!(Zone::names().contains(&"America/New_York".to_owned()));
}

#[test]
fn ages_are_spread_and_stay_the_same() {
    let expiry = Expiry {
        age_max: Duration::from_hours(100),
        jitter_percent: 10,
    };
    let uid = crate::GroupUid::parse("0123456789abcdef").unwrap();
    let ages: BTreeSet<Duration> = (1..=50)
        .map(|number| expiry.age_of(&uid, &InstanceId::parse(&format!("web-{number}")).unwrap()))
        .collect();
    assert_eq!(ages.len(), 50);
    assert!(*ages.first().unwrap() >= Duration::from_hours(90));
    assert!(*ages.last().unwrap() <= Duration::from_hours(100));
    let spread = ages.last().unwrap().abs_diff(*ages.first().unwrap());
    assert!(spread > Duration::from_hours(8), "{spread:?}");
}
