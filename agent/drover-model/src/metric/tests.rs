use super::*;

const NOW: &str = "2026-01-05T12:00:00Z";

fn judged(reading: Option<Reading>) -> Result<(f64, u64), String> {
    let metric = Metric {
        span: SourceSpan::start_of("metrics.yaml"),
        query: MetricQuery {
            source: SourceName::parse("prom").unwrap(),
            query: "up".to_owned(),
        },
        age_max: Duration::from_mins(1),
        timeout: Duration::from_secs(5),
    };
    let readings = reading.map(|reading| (metric.query.clone(), reading));
    let readings = readings.into_iter().collect();
    let judged = metric.judge(&readings, NOW.parse().unwrap());
    judged
        .map(|(value, age)| (value, age.as_secs()))
        .map_err(|not_ok| not_ok.why)
}

fn sample(at: &str) -> Reading {
    Reading::Sample {
        value: 7.5,
        at: at.parse().unwrap(),
    }
}

#[test]
fn a_value_is_ok_until_it_is_older_than_allowed() {
    assert_eq!(judged(Some(sample("2026-01-05T11:59:00Z"))), Ok((7.5, 60)));
    let why = judged(Some(sample("2026-01-05T11:58:59Z"))).unwrap_err();
    assert_eq!(why, "its value is older than maxAge, 60 s");
}

#[test]
fn a_value_of_a_clock_that_is_far_ahead_is_not_believed() {
    assert_eq!(judged(Some(sample("2026-01-05T12:00:30Z"))), Ok((7.5, 0)));
    let why = judged(Some(sample("2026-01-05T12:00:31Z"))).unwrap_err();
    assert_eq!(why, "its value is of a time more than 30 s ahead");
}

#[test]
fn no_value_is_never_zero() {
    assert!(judged(None).is_err());
    let missing = Reading::Missing {
        why: "no answer".to_owned(),
    };
    assert_eq!(judged(Some(missing)).unwrap_err(), "no answer");
}
