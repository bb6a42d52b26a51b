//! What files have and programs print: `{"metrics": {"cost": {"value": 1.5, "at": "2026-01-05T12:00:00Z"}}}`.

use std::collections::BTreeMap;

use drover_loop::MetricAsk;
use drover_model::{Reading, Readings, Timestamp};
use serde::Deserialize;

use super::Why;

/// Most bytes that are read.
pub(super) const BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    metrics: BTreeMap<String, Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    value: f64,
    at: Option<String>,
}

/// The values of a document.
#[derive(Debug)]
pub(super) struct Values {
    metrics: BTreeMap<String, Entry>,
    /// When the document was written, for values that do not say.
    written_at: Timestamp,
}

impl Values {
    /// Reads a document.
    pub(super) fn parse(bytes: &[u8], written_at: Timestamp) -> Result<Self, Why> {
        if bytes.len() as u64 > BYTES_MAX {
            return Err("it says more than 1 MiB".to_owned());
        }
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| format!("what it says is not as expected: {error}"))?;
        Ok(Self {
            metrics: document.metrics,
            written_at,
        })
    }

    /// Answers questions, whose queries are names of values.
    pub(super) fn answer(&self, asks: &[MetricAsk]) -> Readings {
        let answer = |ask: &MetricAsk| {
            (
                ask.query.clone(),
                super::reading(self.one(&ask.query.query)),
            )
        };
        asks.iter().map(answer).collect()
    }

    fn one(&self, name: &str) -> Result<Reading, Why> {
        let entry = self.metrics.get(name);
        let entry = entry.ok_or_else(|| format!("it has no value `{name}`"))?;
        if !entry.value.is_finite() {
            return Err(format!("the value of `{name}` is no number"));
        }
        let at = match &entry.at {
            None => self.written_at,
            Some(text) => text.parse().map_err(|_| {
                format!("`at` of `{name}` is not a time such as 2026-01-05T12:00:00Z")
            })?,
        };
        Ok(Reading::Sample {
            value: entry.value,
            at,
        })
    }
}
