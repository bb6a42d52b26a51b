//! `metrics` of the agent's file.

use std::collections::BTreeSet;
use std::path::PathBuf;

use drover_model::SourceName;

use super::{MetricSourceConfig, MetricSourceKind, PLAIN, absolute, is_plain};
use crate::decode::Fields;
use crate::diagnostic::Diagnostic;

/// The fields of each type; a field of another one is a mistake.
const OF_TYPE: [(&str, &[&str]); 3] = [
    ("prometheus", &["url", "tokenFile", "caFile"]),
    ("file", &["path"]),
    ("program", &["command"]),
];

pub(super) fn sources(fields: &Fields<'_>) -> Vec<MetricSourceConfig> {
    let mut seen = BTreeSet::new();
    let mut sources = Vec::new();
    for fields in fields.objects("sources") {
        let name: Option<SourceName> = fields.id("name");
        let timeout = fields.duration("timeout");
        let kind = kind(&fields);
        let Some(name) = name else { continue };
        if !seen.insert(name.clone()) {
            let message = format!("the source `{name}` is there twice");
            let span = fields.span_of("name");
            let mistake = Diagnostic::error("duplicate-name", message, span);
            fields.report.push(mistake);
        }
        if let Some(kind) = kind {
            sources.push(MetricSourceConfig {
                name,
                timeout,
                kind,
            });
        }
    }
    sources
}

fn kind(fields: &Fields<'_>) -> Option<MetricSourceKind> {
    let word = fields.word("type");
    for (type_, names) in OF_TYPE {
        for name in names.iter().copied() {
            let (_, entry) = fields.get(name);
            if let (Some(entry), true) = (entry, type_ != word) {
                let message = format!("`{name}` is for the type `{type_}`, this is `{word}`");
                let span = fields.report.span(entry.key_place);
                let mistake = Diagnostic::error("inconsistent", message, span);
                fields.report.push(mistake);
            }
        }
    }
    let needed = match word {
        "file" => "path",
        "program" => "command",
        _ => "url",
    };
    if !fields.has(needed) {
        let message = format!("`{needed}` is missing from a source of type `{word}`");
        let span = fields.report.span(fields.place);
        let mistake = Diagnostic::error("missing-field", message, span);
        fields.report.push(mistake);
        return None;
    }
    match word {
        "file" => Some(MetricSourceKind::File {
            path: absolute(fields, "path")?,
        }),
        "program" => program(fields),
        _ => prometheus(fields),
    }
}

fn prometheus(fields: &Fields<'_>) -> Option<MetricSourceKind> {
    let file = |name| fields.has(name).then(|| absolute(fields, name)).flatten();
    let (token, ca) = (file("tokenFile"), file("caFile"));
    let url = fields.text("url")?;
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    let usable = |host: &str| !host.is_empty() && !host.contains(['@', '?', '#', ' ']);
    let plain = !url.contains(['?', '#']) && !url.chars().any(char::is_whitespace);
    if !host.is_some_and(usable) || !plain {
        if let Some(entry) = fields.get("url").1 {
            let why =
                "must be http:// or https:// with a host, without user name, query and fragment";
            fields.bad(entry, why);
        }
        return None;
    }
    if let (true, Some(entry)) = (token.is_some() && is_plain(&url), fields.get("url").1) {
        fields.bad(entry, PLAIN);
        return None;
    }
    Some(MetricSourceKind::Prometheus { url, token, ca })
}

fn program(fields: &Fields<'_>) -> Option<MetricSourceKind> {
    let mut command = fields.texts("command").into_iter();
    let program = PathBuf::from(command.next()?);
    if !program.is_absolute() {
        if let Some(entry) = fields.get("command").1 {
            fields.bad(entry, "must begin with an absolute path");
        }
        return None;
    }
    Some(MetricSourceKind::Program {
        program,
        args: command.collect(),
    })
}
