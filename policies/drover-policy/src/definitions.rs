//! What documents define for policies by name: metrics and calendars; and their values in expressions.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cel::ExecutionError;
use cel::common::traits::Indexer;
use cel::common::types::{CelDouble, CelString, Type as CelType};
use cel::common::value::{CowVal, Val};
use drover_model::{
    Calendar, CalendarName, Metric, MetricName, MetricSource, NotOk, Readings, Timestamp,
};

use crate::functions::{Held, Opaque, opaque_type};
use crate::types::{Field, Shape, Type};
use crate::value::{self, Boxed, Entries};

/// The variable behind `metric("name")`, which no source can spell.
pub(crate) const METRICS: &str = "@metrics";
/// The variable behind `isHoliday("name")`.
pub(crate) const CALENDARS: &str = "@calendars";

/// Metrics and calendars that policies may name. Compiled into a set, so that policies which still judge
/// after a commit go by the calendar and the query from before it.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    pub(crate) metrics: BTreeMap<MetricName, Metric>,
    pub(crate) calendars: BTreeMap<CalendarName, Arc<Calendar>>,
    /// Whether there may be more: some document cannot be read, so a name that is not known is no mistake.
    pub(crate) partial: bool,
}

impl Definitions {
    pub(crate) fn metric_named(&self, name: &str) -> Option<(&MetricName, &Metric)> {
        let name = MetricName::parse(name).ok()?;
        self.metrics.get_key_value(&name)
    }

    pub(crate) fn metric(&self, name: &str) -> Option<&Metric> {
        self.metric_named(name).map(|(_, metric)| metric)
    }

    pub(crate) fn calendar(&self, name: &str) -> Option<&Arc<Calendar>> {
        self.calendars.get(&CalendarName::parse(name).ok()?)
    }

    /// Joins documents. `partial`: there are others, which cannot be read.
    pub fn new<'a>(
        sources: impl IntoIterator<Item = &'a MetricSource>,
        calendars: impl IntoIterator<Item = &'a Calendar>,
        partial: bool,
    ) -> Self {
        let metrics = sources.into_iter().flat_map(|source| &source.metrics);
        let calendars = calendars.into_iter();
        Self {
            metrics: metrics.map(|(n, m)| (n.clone(), m.clone())).collect(),
            calendars: calendars
                .map(|calendar| (calendar.name.clone(), Arc::new(calendar.clone())))
                .collect(),
            partial,
        }
    }
}

/// What a name in an expression is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    Metric,
    Calendar,
}

impl Named {
    /// Returns what the variable of this name holds, if it is one of ours.
    pub(crate) fn of(variable: &str) -> Option<Self> {
        match variable {
            METRICS => Some(Self::Metric),
            CALENDARS => Some(Self::Calendar),
            _ => None,
        }
    }

    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Metric => METRICS,
            Self::Calendar => CALENDARS,
        }
    }

    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::Calendar => "isHoliday",
        }
    }

    pub(crate) fn type_(self) -> Type {
        match self {
            Self::Metric => Type::Record(&METRIC),
            Self::Calendar => Type::Dyn,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::Calendar => "calendar",
        }
    }

    /// Returns what is wrong with a name, and what to do about it. None: it is known, or may be.
    pub(crate) fn mistake(self, name: &str, known: &Definitions) -> Option<(String, String)> {
        let names: BTreeSet<&str> = match self {
            Self::Metric => known.metrics.keys().map(MetricName::as_str).collect(),
            Self::Calendar => known.calendars.keys().map(CalendarName::as_str).collect(),
        };
        if known.partial || names.contains(name) {
            return None;
        }
        let noun = self.noun();
        let shown = value::shorten(name, 80);
        let message = format!("there is no {noun} `{shown}`");
        let hint = match crate::types::closest(name, names.iter().copied()) {
            Some(close) => format!("did you mean `{close}`?"),
            None if names.is_empty() => match self {
                Self::Metric => "no MetricSource document defines any".to_owned(),
                Self::Calendar => "the repository has no Calendar document".to_owned(),
            },
            None => {
                let some: Vec<&str> = names.into_iter().take(5).collect();
                format!("there is {}", some.join(", "))
            }
        };
        Some((message, hint))
    }
}

pub(crate) static METRIC: Shape = Shape {
    name: "metric(name)",
    fields: &[
        Field {
            name: "value",
            type_: || Type::Double,
            about: "The value. Reading it is an error unless the metric is ok.",
        },
        Field {
            name: "age",
            type_: || Type::Duration,
            about: "How old the value is at the time of the pass. Reading it is an error when there is none.",
        },
        Field {
            name: "ok",
            type_: || Type::Bool,
            about: "Whether there is a value, no older than the metric's `maxAge`.",
        },
    ],
};

/// The metrics of a pass by name.
#[derive(Clone, Copy)]
pub(crate) struct Metrics<'a> {
    pub(crate) definitions: &'a Definitions,
    pub(crate) readings: &'a Readings,
    pub(crate) now: Timestamp,
}

impl<'a> Entries<'a> for Metrics<'a> {
    const MAP: bool = true;

    fn entry(&self, key: &str) -> Option<Boxed<'a>> {
        let judged = match self.definitions.metric(key) {
            Some(metric) => metric.judge(self.readings, self.now),
            None => Err(NotOk {
                age: None,
                why: "no MetricSource document defines it".to_owned(),
            }),
        };
        Some(MetricValue::boxed(key, judged))
    }

    fn keys(&self) -> Vec<&'a str> {
        let keys = self.definitions.metrics.keys();
        keys.map(MetricName::as_str).collect()
    }
}

/// The calendars by name.
#[derive(Clone, Copy)]
pub(crate) struct Calendars<'a>(pub(crate) &'a Definitions);

impl<'a> Entries<'a> for Calendars<'a> {
    const MAP: bool = true;

    fn entry(&self, key: &str) -> Option<Boxed<'a>> {
        Some(CalendarValue::boxed(key, self.0.calendar(key).cloned()))
    }

    fn keys(&self) -> Vec<&'a str> {
        self.0.calendars.keys().map(CalendarName::as_str).collect()
    }
}

/// What `metric("name")` is.
#[derive(Debug, Clone)]
pub(crate) struct MetricValue {
    name: String,
    judged: Result<(f64, Duration), NotOk>,
}

static METRIC_TYPE: CelType = CelType::new_unspecified_type("metric");

impl MetricValue {
    pub(crate) fn boxed<'a>(name: &str, judged: Result<(f64, Duration), NotOk>) -> Boxed<'a> {
        Box::new(Self {
            name: name.to_owned(),
            judged,
        })
    }

    fn field(&self, name: &str) -> Result<Boxed<'static>, ExecutionError> {
        match (name, &self.judged) {
            ("ok", judged) => Ok(value::bool(judged.is_ok())),
            ("value", Ok((value, _))) => Ok(Box::new(CelDouble::from(*value))),
            ("age", Ok((_, age)) | Err(NotOk { age: Some(age), .. })) => Ok(value::duration(*age)),
            ("value" | "age", Err(not_ok)) => {
                let (metric, why) = (&self.name, &not_ok.why);
                let message = format!("metric {metric} is not ok: {why}");
                Err(crate::explain::missing(&message))
            }
            _ => Err(ExecutionError::no_such_key(name)),
        }
    }
}

impl fmt::Display for MetricValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.judged {
            Ok((value, age)) => {
                let age = value::show(value::duration(*age).as_ref());
                write!(f, "{value} ({age} old)")
            }
            Err(NotOk { why, .. }) => write!(f, "not ok: {why}"),
        }
    }
}

impl Val for MetricValue {
    fn get_type(&self) -> &CelType {
        &METRIC_TYPE
    }

    fn cel_type() -> &'static CelType {
        &METRIC_TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let other = other.downcast_ref::<Self>();
        other.is_some_and(|other| self.judged == other.judged)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl cel::common::value::StaticVal for MetricValue {}

impl Indexer for MetricValue {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let key = key.downcast_ref::<CelString<'_>>();
        self.field(key.map_or("", CelString::inner))
            .map(CowVal::Owned)
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

/// A calendar, or the name of one that is not there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CalendarValue(Result<Arc<Calendar>, String>);

static CALENDAR_TYPE: CelType = opaque_type("drover.Calendar");

impl CalendarValue {
    pub(crate) fn boxed<'a>(name: &str, calendar: Option<Arc<Calendar>>) -> Boxed<'a> {
        Box::new(Held(Self(calendar.ok_or_else(|| name.to_owned()))))
    }

    /// Returns the calendar, or the name of one that is not there.
    pub(crate) fn calendar(&self) -> Result<&Calendar, &str> {
        self.0.as_deref().map_err(String::as_str)
    }
}

impl fmt::Display for CalendarValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Ok(calendar) => calendar.name.as_str(),
            Err(name) => name,
        })
    }
}

impl Opaque for CalendarValue {
    const TYPE: &'static CelType = &CALENDAR_TYPE;
}

#[cfg(test)]
mod tests;
