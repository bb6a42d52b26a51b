//! The fields of MetricSource and Calendar.

use std::time::Duration;

use super::{Object, Preset, Shape, any, duration, one_of, optional, preset, required};

/// Default of `maxAge`: a few rounds of a scraper.
const AGE_MAX: Duration = Duration::from_mins(2);

/// Default of `timeout`: a query that decides anything in time is answered sooner.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Longest query.
const QUERY_LENGTH_MAX: usize = 4096;

pub(crate) static METRIC_SOURCE_SPEC: Object = any(
    "a metric source's spec",
    "Names for values that policies read with `metric(\"name\")`.",
    &[
        required(
            "source",
            Shape::Name,
            "The source in the agent's own file that is asked: documents never say where that is.",
        ),
        required(
            "metrics",
            Shape::List {
                of: &Shape::Object(&METRIC),
                min: 1,
            },
            "The metrics.",
        ),
    ],
);

pub(crate) static METRIC: Object = any(
    "a metric",
    "A value that policies read.",
    &[
        required(
            "name",
            Shape::Text { max: 63 },
            "The name in policies, such as `queue.depth`: letters, digits, '.', '_' and '-'.",
        ),
        required(
            "query",
            Shape::Text {
                max: QUERY_LENGTH_MAX,
            },
            "What the source is asked: PromQL that has one value, or the name of a value in its file or output.",
        ),
        preset(
            "maxAge",
            duration(1_000, 168),
            Preset::Duration(AGE_MAX),
            "How old a value may be before the metric is not ok.",
        ),
        preset(
            "timeout",
            Shape::Duration {
                min: Duration::from_millis(100),
                max: Duration::from_secs(10),
            },
            Preset::Duration(TIMEOUT),
            "How long an answer is waited for; the agent's file may say less.",
        ),
    ],
);

pub(crate) static CALENDAR_SPEC: Object = any(
    "a calendar's spec",
    "Days that policies ask for with `isHoliday(\"name\")`.",
    &[
        preset(
            "timezone",
            Shape::Text { max: 64 },
            Preset::Word("UTC"),
            "The IANA time zone whose clocks say which day it is.",
        ),
        required(
            "days",
            Shape::List {
                of: &Shape::Object(&CALENDAR_DAYS),
                min: 1,
            },
            "The days.",
        ),
    ],
);

pub(crate) static CALENDAR_DAYS: Object = one_of(
    "an entry of days",
    "One day, or several in a row.",
    &["date", "from"],
    &[
        optional(
            "date",
            Shape::Text { max: 10 },
            "One day: \"2026-04-03\", or \"12-25\" of every year.",
        ),
        optional(
            "from",
            Shape::Text { max: 10 },
            "The first of several days, of the same form as `to`.",
        ),
        optional(
            "to",
            Shape::Text { max: 10 },
            "The last of several days, which belongs to them. Days of every year may go on into the next one.",
        ),
        optional(
            "name",
            Shape::Text { max: 200 },
            "What people call the day.",
        ),
    ],
);
