use super::*;

/// How many seconds are waited from 12:00:00.
fn seconds(status: u16, header: Option<&str>) -> Option<i64> {
    let now: Timestamp = "2026-12-01T12:00:00Z".parse().unwrap();
    let mut headers = HeaderMap::new();
    if let Some(header) = header {
        headers.insert(RETRY_AFTER, header.parse().unwrap());
    }
    let status = StatusCode::from_u16(status).unwrap();
    Some(until(status, &headers, now)?.duration_since(now).as_secs())
}

#[test]
fn seconds_and_times_are_read() {
    assert_eq!(seconds(429, Some("120")), Some(120));
    assert_eq!(seconds(429, Some(" 7 ")), Some(7));
    let time = "Tue, 01 Dec 2026 12:02:30 GMT";
    assert_eq!(seconds(429, Some(time)), Some(150));
    assert_eq!(seconds(503, Some("5")), Some(5));
    assert_eq!(seconds(403, Some("5")), Some(5));
}

#[test]
fn a_wait_is_neither_endless_nor_none() {
    let hour = Some(3_600);
    assert_eq!(seconds(429, Some("86400")), hour);
    assert_eq!(seconds(429, Some("99999999999999999999999999")), hour);
    assert_eq!(seconds(503, Some("Tue, 01 Dec 2099 12:00:00 GMT")), hour);
    assert_eq!(seconds(429, Some("0")), Some(1));
    assert_eq!(seconds(429, Some("Tue, 01 Dec 2020 12:00:00 GMT")), Some(1));
}

#[test]
fn only_who_complains_of_too_much_needs_no_time() {
    for unread in [None, Some(""), Some("soon"), Some("-5")] {
        assert_eq!(seconds(429, unread), Some(60), "{unread:?}");
        assert_eq!(seconds(503, unread), None, "{unread:?}");
        assert_eq!(seconds(403, unread), None, "{unread:?}");
    }
    assert_eq!(seconds(500, Some("5")), None);
    assert_eq!(seconds(401, Some("5")), None);
}

#[test]
fn the_end_of_a_wait_is_a_whole_second_and_not_too_early() {
    let now: Timestamp = "2026-12-01T12:00:00.25Z".parse().unwrap();
    let headers = HeaderMap::new();
    let until = until(StatusCode::TOO_MANY_REQUESTS, &headers, now).unwrap();
    assert_eq!(until.to_string(), "2026-12-01T12:01:01Z");
}
