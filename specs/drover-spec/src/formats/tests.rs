use super::*;

#[test]
fn reads_and_writes_durations() {
    for (text, millis, canonical) in [
        ("0s", 0, "0s"),
        ("90s", 90_000, "1m30s"),
        ("10m", 600_000, "10m"),
        ("1h30m", 5_400_000, "1h30m"),
        ("250ms", 250, "250ms"),
        ("1h1ms", 3_600_001, "1h1ms"),
    ] {
        let duration = parse_duration(text).unwrap();
        assert_eq!(duration, Duration::from_millis(millis), "{text}");
        assert_eq!(format_duration(duration), canonical);
        assert_eq!(parse_duration(canonical), Ok(duration));
    }
}

#[test]
fn refuses_what_is_no_duration() {
    for text in [
        "", "s", "1.5h", "-1s", "1d", "30m1h", "1s1s", "1 h", "1S", "٣s",
    ] {
        assert_eq!(parse_duration(text), Err(FormatError::Duration), "{text}");
    }
    assert_eq!(parse_duration("30"), Err(FormatError::Unit));
    for text in ["99999999999999999999s", "18446744073709551615h"] {
        assert_eq!(parse_duration(text), Err(FormatError::DurationRange));
    }
}

#[test]
fn reads_times_in_utc_only() {
    for text in ["2026-12-01T08:00:00Z", "2026-12-01T08:00:00.123456789Z"] {
        assert_eq!(format_time(parse_time(text).unwrap()), text);
    }
    for text in [
        "2026-12-01",
        "2026-12-01T08:00:00",
        "2026-12-01T08:00:00+01:00",
        "2026-12-01 08:00:00Z",
        "2026-13-01T08:00:00Z",
        "2026-12-01T08:00:00z",
        "ääääääääääZ",
    ] {
        assert_eq!(parse_time(text), Err(FormatError::Time), "{text}");
    }
}

#[test]
fn reads_shares_from_0_to_100() {
    assert_eq!(parse_percent("0%"), Ok(Amount::Percent(0)));
    assert_eq!(parse_percent("100%"), Ok(Amount::Percent(100)));
    for text in ["", "%", "101%", "-1%", "1.5%", "07%", "10", "10 %"] {
        assert_eq!(parse_percent(text), Err(FormatError::Amount), "{text}");
    }
}

#[test]
fn reads_and_writes_rates() {
    for (text, canonical) in [
        ("10%/1m", "10%/1m"),
        ("4/90s", "4/1m30s"),
        ("100%/24h", "100%/24h"),
    ] {
        let rate = parse_rate(text).unwrap();
        assert_eq!(format_rate(rate), canonical);
        assert_eq!(parse_rate(canonical), Ok(rate));
    }
    for text in [
        "", "4", "4/", "/1m", "-1/1m", "04/1m", "4/1", "1.5/1m", "101%/1m", "4/1m/1m", "x%/1m",
    ] {
        assert_eq!(parse_rate(text), Err(FormatError::Rate), "{text}");
    }
    for text in ["0/1m", "0%/1m", "1/0s", "1/25h", "1/500ms"] {
        assert_eq!(parse_rate(text), Err(FormatError::RateRange), "{text}");
    }
}
