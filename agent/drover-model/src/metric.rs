//! Metrics that policies read: what a document asks for, and what came of asking.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{MetricName, MetricSourceName, SourceName, SourceSpan, Timestamp};

/// A MetricSource document: names for values that one source of the agent has.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSource {
    /// The name.
    pub name: MetricSourceName,
    /// Where `metadata.name` stands.
    pub span: SourceSpan,
    /// The source, as the agent's own file calls it.
    pub source: SourceName,
    /// The metrics by name.
    pub metrics: BTreeMap<MetricName, Metric>,
    /// A digest of the document's text as written, in hexadecimal.
    pub digest: String,
}

/// One metric of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Where its name stands.
    pub span: SourceSpan,
    /// Whom to ask what.
    pub query: MetricQuery,
    /// How old a value may be before it is not ok.
    pub age_max: Duration,
    /// How long an answer is waited for.
    pub timeout: Duration,
}

/// How far a value may be of a time that is still to come: clocks of other machines are a little ahead, and
/// a pass asks a few seconds after the time that it goes by.
const AHEAD_MAX: Duration = Duration::from_secs(30);

/// A question to a source. Equal ones have one answer in a pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricQuery {
    /// The source, as the agent's own file calls it.
    pub source: SourceName,
    /// PromQL, or the name of a value.
    pub query: String,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// A value, which is a finite number.
    Sample {
        /// The value.
        value: f64,
        /// The time that it is of.
        at: Timestamp,
    },
    /// There is none, and this is why. The words do not change from pass to pass as long as the reason is
    /// the same: holds say them, and a hold that changes is recorded.
    Missing {
        /// For people.
        why: String,
    },
}

/// What came of every question of a pass.
pub type Readings = BTreeMap<MetricQuery, Reading>;

impl Metric {
    /// Returns the value and its age at `now`, or why the metric is not ok.
    ///
    /// # Errors
    ///
    /// There is no value, or one that is older than `maxAge`, or of a time too far ahead.
    pub fn judge(&self, readings: &Readings, now: Timestamp) -> Result<(f64, Duration), NotOk> {
        match readings.get(&self.query) {
            None => Err(NotOk {
                age: None,
                why: "it was not asked for in this pass".to_owned(),
            }),
            Some(Reading::Missing { why }) => Err(NotOk {
                age: None,
                why: why.clone(),
            }),
            Some(Reading::Sample { value, at }) if *at > now => {
                let ahead = at.duration_since(now).unsigned_abs();
                if ahead <= AHEAD_MAX {
                    return Ok((*value, Duration::ZERO));
                }
                let max = AHEAD_MAX.as_secs();
                let why = format!("its value is of a time more than {max} s ahead");
                Err(NotOk { age: None, why })
            }
            Some(Reading::Sample { value, at }) => {
                let age = now.duration_since(*at).unsigned_abs();
                if age <= self.age_max {
                    return Ok((*value, age));
                }
                let max = self.age_max.as_millis() as f64 / 1000.0;
                let why = format!("its value is older than maxAge, {max} s");
                Err(NotOk {
                    age: Some(age),
                    why,
                })
            }
        }
    }
}

/// Why a metric is not ok.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotOk {
    /// The age of a value that is too old.
    pub age: Option<Duration>,
    /// For people; the same from pass to pass as long as the reason is.
    pub why: String,
}

#[cfg(test)]
mod tests;
