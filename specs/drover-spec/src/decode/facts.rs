//! MetricSource and Calendar documents.

use std::collections::BTreeMap;

use drover_model::{
    Calendar, CalendarDays, CalendarName, Day, Metric, MetricName, MetricQuery, MetricSource,
    MetricSourceName, SourceName,
};

use super::admission::zone;
use super::{Fields, Metadata};
use crate::diagnostic::Diagnostic;

/// Decodes a metric source. None: a mistake that leaves nothing to build; it was reported.
pub(crate) fn decode_metric_source(
    metadata: Option<Metadata>,
    spec: &Fields<'_>,
    digest: String,
) -> Option<MetricSource> {
    let source: Option<SourceName> = spec.id("source");
    let mut metrics = BTreeMap::new();
    for fields in spec.objects("metrics") {
        let name: Option<MetricName> = fields.id("name");
        let query = fields.text("query");
        let (age_max, timeout) = (fields.duration("maxAge"), fields.duration("timeout"));
        let (Some(name), Some(query), Some(source)) = (name, query, &source) else {
            continue;
        };
        let span = fields.span_of("name");
        if metrics.contains_key(&name) {
            let message = format!("the metric `{name}` is repeated");
            let diagnostic = Diagnostic::error("duplicate-name", message, span.clone());
            fields.report.push(diagnostic);
        }
        let query = MetricQuery {
            source: source.clone(),
            query,
        };
        let metric = Metric {
            span,
            query,
            age_max,
            timeout,
        };
        metrics.insert(name, metric);
    }
    let metadata = metadata?;
    Some(MetricSource {
        name: MetricSourceName::parse(&metadata.name).ok()?,
        span: metadata.span,
        source: source?,
        metrics,
        digest,
    })
}

/// Decodes a calendar. None: a mistake that leaves nothing to build; it was reported.
pub(crate) fn decode_calendar(
    metadata: Option<Metadata>,
    spec: &Fields<'_>,
    digest: String,
) -> Option<Calendar> {
    let zone = zone(spec);
    let days = spec.objects("days");
    let days = days.iter().filter_map(days_of).collect();
    let metadata = metadata?;
    Some(Calendar {
        name: CalendarName::parse(&metadata.name).ok()?,
        span: metadata.span,
        zone: zone?,
        days,
        digest,
    })
}

fn days_of(fields: &Fields<'_>) -> Option<CalendarDays> {
    let (date, from, to) = (day(fields, "date"), day(fields, "from"), day(fields, "to"));
    let name = fields.text("name");
    if fields.has("from") != fields.has("to") {
        let (there, missing) = if fields.has("to") {
            ("to", "from")
        } else {
            ("from", "to")
        };
        let message = format!("`{there}` needs `{missing}`");
        let diagnostic = Diagnostic::error("missing-field", message, fields.span_of(there));
        fields.report.push(diagnostic);
        return None;
    }
    if let Some(day) = date {
        return Some(CalendarDays {
            first: day,
            last: day,
            name,
        });
    }
    let days = CalendarDays {
        first: from?,
        last: to?,
        name,
    };
    if !days.is_possible() {
        let message = match (days.first, days.last) {
            (Day::Once(_), Day::Once(_)) => "`to` is before `from`",
            _ => "`from` and `to` must both be of one year or both of every year",
        };
        let diagnostic = Diagnostic::error("inconsistent", message, fields.span_of("to"));
        fields.report.push(diagnostic);
        return None;
    }
    Some(days)
}

fn day(fields: &Fields<'_>, name: &'static str) -> Option<Day> {
    let text = fields.text(name)?;
    match text.parse() {
        Ok(day) => Some(day),
        Err(error) => {
            if let Some(entry) = fields.get(name).1 {
                fields.bad(entry, error);
            }
            None
        }
    }
}
