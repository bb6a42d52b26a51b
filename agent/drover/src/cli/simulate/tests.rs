use super::*;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn spans_are_one_time_or_a_range() {
    assert_eq!(span("90s"), Ok(Span::exactly(secs(90))));
    let range = Span {
        least: secs(90),
        most: secs(240),
    };
    assert_eq!(span("90s..4m"), Ok(range));
    assert_eq!(span_text(range), "1m30s..4m");
    for wrong in ["4m..90s", "..4m", "90s..", "soon", "1..2"] {
        assert!(span(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn shares_are_numbers_or_percentages_of_one_group_or_all() {
    let of = |text: &str| {
        text.parse::<Fail>()
            .map(|fail| (fail.group, fail.thousandths))
    };
    let web = GroupName::parse("web").unwrap();
    assert_eq!(of("0.2"), Ok((None, 200)));
    assert_eq!(of("20%"), Ok((None, 200)));
    assert_eq!(of("1"), Ok((None, 1_000)));
    assert_eq!(of("web=0.125"), Ok((Some(web), 125)));
    for wrong in [
        "1.2", "-0.1", "120%", "web=", "Web=0.1", "many", "NaN", "inf",
    ] {
        assert!(of(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn kills_have_a_number_and_a_time() {
    let parsed = kill("web=3@10m").unwrap();
    assert_eq!(parsed.group.unwrap().as_str(), "web");
    assert_eq!((parsed.count, parsed.after), (3, secs(600)));
    assert_eq!(kill("1@0s").unwrap().group, None);
    for wrong in ["3", "@10m", "x@10m", "0@10m", "3@", "3@soon", "web=@1m"] {
        assert!(kill(wrong).is_err(), "{wrong}");
    }
}
