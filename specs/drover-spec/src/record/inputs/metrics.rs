//! What sources of metrics answered, for the policies of one group. The plan does not rest on it, which has
//! the decisions; whoever asks policies again does.

use drover_model::{MetricQuery, Reading, Readings, Value};

use crate::formats::format_time;
use crate::record::RecordError;
use crate::record::read::Reader;
use crate::record::write::{MapOf, Yaml};

/// None: nothing was asked.
pub(super) fn readings_out(readings: &Readings) -> Option<Yaml> {
    let one = |(query, reading): (&MetricQuery, &Reading)| {
        let map = MapOf::new()
            .text("source", &query.source)
            .text("query", &query.query);
        match reading {
            Reading::Sample { value, at } => map
                .with("value", Yaml::value(&Value::Float(*value)))
                .text("at", &format_time(*at)),
            Reading::Missing { why } => map.text("missing", why),
        }
        .build()
    };
    (!readings.is_empty()).then(|| Yaml::List(readings.iter().map(one).collect()))
}

pub(super) fn readings_in(reader: &Reader<'_>) -> Result<Readings, RecordError> {
    let one = |reader: &Reader<'_>| {
        reader.only(&["source", "query", "value", "at", "missing"])?;
        let query = MetricQuery {
            source: reader.get("source")?.parsed()?,
            query: reader.get("query")?.string()?,
        };
        let reading = match reader.optional_with("missing", Reader::string)? {
            Some(why) => Reading::Missing { why },
            None => Reading::Sample {
                value: reader.get("value")?.float()?,
                at: reader.get("at")?.time()?,
            },
        };
        Ok((query, reading))
    };
    let all = super::list_in(reader, one)?;
    Ok(all.into_iter().collect())
}

#[cfg(test)]
mod tests;
