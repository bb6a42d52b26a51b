//! What a row of a test table gives beside variables: metrics and calendars.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{Calendar, CalendarDays, CalendarName, Day, NotOk, SourceSpan, Value, Zone};

use super::duration;
use crate::definitions::{CALENDARS, Calendars, Definitions, METRICS, MetricValue};
use crate::types::closest;
use crate::value::{self, Boxed, Entries};

/// The keys of `given` that are no variables.
pub(crate) const NAMES: [&str; 2] = ["metrics", "calendars"];

type Judged = Result<(f64, Duration), NotOk>;

/// The metrics and calendars of a row.
#[derive(Debug)]
pub(crate) struct Facts {
    metrics: BTreeMap<String, Judged>,
    calendars: Definitions,
}

impl Facts {
    /// Returns the variables behind the functions.
    pub(crate) fn boxed(&self) -> [(&'static str, Boxed<'_>); 2] {
        [
            (METRICS, value::keyed(GivenMetrics(&self.metrics))),
            (CALENDARS, value::keyed(Calendars(&self.calendars))),
        ]
    }
}

#[derive(Clone, Copy)]
struct GivenMetrics<'a>(&'a BTreeMap<String, Judged>);

impl<'a> Entries<'a> for GivenMetrics<'a> {
    const MAP: bool = true;

    fn entry(&self, key: &str) -> Option<Boxed<'a>> {
        let judged = self.0.get(key).cloned().unwrap_or_else(|| {
            Err(NotOk {
                age: None,
                why: "the test does not give it".to_owned(),
            })
        });
        Some(MetricValue::boxed(key, judged))
    }

    fn keys(&self) -> Vec<&'a str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// Reads what a row gives. Calendars that it does not give are those of the documents in `known`.
pub(crate) fn given(given: &Value, known: &Definitions) -> Result<Facts, String> {
    let mut facts = Facts {
        metrics: BTreeMap::new(),
        calendars: Definitions {
            calendars: known.calendars.clone(),
            ..Definitions::default()
        },
    };
    for (name, value) in map_of(given, "metrics")? {
        facts.metrics.insert(name.clone(), metric(name, value)?);
    }
    for (name, value) in map_of(given, "calendars")? {
        let calendar = calendar(name, value)?;
        let calendars = &mut facts.calendars.calendars;
        calendars.insert(calendar.name.clone(), Arc::new(calendar));
    }
    Ok(facts)
}

fn map_of<'a>(given: &'a Value, key: &str) -> Result<Vec<(&'a String, &'a Value)>, String> {
    match given.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Map(map)) => Ok(map.iter().collect()),
        Some(other) => Err(format!("`{key}` is a map by name, not {}", other.kind())),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::UInt(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::List(_) | Value::Map(_) => None,
    }
}

/// Reads `120`, `{value: 120, age: 30s}` or `{ok: false}`.
fn metric(name: &str, given: &Value) -> Result<Judged, String> {
    let path = format!("metrics.{name}");
    if let Some(value) = number(given) {
        return Ok(Ok((value, Duration::ZERO)));
    }
    let Value::Map(fields) = given else {
        return Err(format!(
            "`{path}` is a number or has value, age and ok, not {}",
            given.kind()
        ));
    };
    let known = ["value", "age", "ok"];
    if let Some(unknown) = fields.keys().find(|key| !known.contains(&key.as_str())) {
        let close = closest(unknown, known);
        let hint = close.map_or(String::new(), |close| format!("; did you mean `{close}`?"));
        return Err(format!("`{path}` has no field `{unknown}`{hint}"));
    }
    let age = match fields.get("age") {
        None => None,
        Some(Value::String(text)) => Some(duration(text, &format!("{path}.age"))?),
        Some(other) => return Err(format!("`{path}.age` is a duration, not {}", other.kind())),
    };
    match fields.get("ok") {
        Some(Value::Bool(false)) => {
            let why = "the test says so".to_owned();
            return Ok(Err(NotOk { age, why }));
        }
        None | Some(Value::Bool(true)) => {}
        Some(other) => return Err(format!("`{path}.ok` is a bool, not {}", other.kind())),
    }
    let value = fields.get("value").and_then(number);
    let value =
        value.ok_or_else(|| format!("`{path}` needs a number as its `value`, or ok: false"))?;
    Ok(Ok((value, age.unwrap_or_default())))
}

/// Reads a list of days, as a Calendar document has them: of UTC.
fn calendar(name: &str, given: &Value) -> Result<Calendar, String> {
    let path = format!("calendars.{name}");
    let name = CalendarName::parse(name).map_err(|error| format!("`{path}` {error}"))?;
    let Value::List(days) = given else {
        return Err(format!("`{path}` is a list of days, not {}", given.kind()));
    };
    let days = days.iter().map(|day| {
        let text = day.as_str().unwrap_or_default();
        let day: Day = text
            .parse()
            .map_err(|error| format!("`{path}`: `{text}` {error}"))?;
        Ok(CalendarDays {
            first: day,
            last: day,
            name: None,
        })
    });
    Ok(Calendar {
        name,
        span: SourceSpan::start_of("<test>"),
        zone: Zone::utc(),
        days: days.collect::<Result<_, String>>()?,
        digest: String::new(),
    })
}
