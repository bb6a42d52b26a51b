//! Group documents.

use std::collections::BTreeMap;

use drover_model::{
    Amount, Bounds, Deletion, DeletionPolicy, Group, GroupName, GroupSpec, Lifecycle, Limits,
    Manage, PlacementSpec, Prefer, ProviderName, Rebalance, ScalingSpec, SourceSpan, SourceText,
    Spread, Suspend, Template, TemplateParts, UpDown, Value, key_path,
};

use super::{Fields, Metadata, admission, adopt, check, flavor, health, quorum};
use crate::diagnostic::{Diagnostic, Report};
use crate::limits::DIAGNOSTICS_MAX;
use crate::tree::{Content, Entry, Node};

/// Decodes a group. None: a mistake that leaves nothing to build; it was reported.
pub(crate) fn decode_group(metadata: Option<Metadata>, spec: &Fields<'_>) -> Option<Group> {
    let provider: Option<ProviderName> = spec.id("provider");
    let written_size = spec.integer("size");
    let heal = spec.object("heal");
    let quorum = quorum::quorum(spec, &heal);
    let size = match &quorum {
        Some(quorum) => quorum.members.len() as u32,
        None => written_size,
    };
    let bounds = bounds(spec, size);
    let template_fields = spec.object("template");
    let (template, property_spans) = template(&template_fields, spec.has("members"));
    let rollout = spec.object("rollout");
    let mut rollout_spec = health::rollout(&rollout);
    if quorum.is_some() {
        quorum::rollout(&rollout, &mut rollout_spec);
    }
    let drain = spec.object("drain");
    warn_if_stuck(
        &rollout,
        rollout_spec.surge_max,
        rollout_spec.unavailable_max,
        size,
    );
    let (depends_on, depends_spans) = admission::depends_on(spec);
    let placement = placement(spec);
    let name = metadata.as_ref().map(|metadata| metadata.name.as_str());
    let built = GroupSpec {
        provider: provider.clone().or_else(|| ProviderName::parse("x").ok())?,
        size,
        quorum,
        bounds,
        scaling: scaling(&spec.object("scaling")),
        placement,
        lifecycle: match spec.word("lifecycle") {
            "ephemeral" => Lifecycle::Ephemeral,
            _ => Lifecycle::Service,
        },
        manage: manage(spec),
        adopt: adopt::adopt(spec),
        health: health::health(&spec.object("health"), &template),
        template,
        heal: health::heal(&heal),
        rollout: rollout_spec,
        drain: quorum::drain(&drain, health::drain(&drain), spec.has("members")),
        limits: limits(&spec.object("limits")),
        windows: admission::windows(spec),
        budgets: admission::budgets(spec),
        protect: admission::protect(spec, name),
        expiry: admission::expiry(spec),
        depends_on,
        suspend: suspended(spec),
        deletion: deletion(&spec.object("deletion"), spec.has("members")),
    };
    provider?;
    let metadata = metadata?;
    Some(Group {
        name: GroupName::parse(&metadata.name).ok()?,
        labels: metadata.labels,
        annotations: metadata.annotations,
        span: metadata.span,
        provider_span: spec.span_of("provider"),
        property_spans,
        spec_spans: spec_spans(spec),
        depends_spans,
        spec: built,
    })
}

fn suspended(spec: &Fields<'_>) -> Vec<Suspend> {
    let suspended = spec.objects("suspend");
    suspended.iter().map(health::suspend).collect()
}

fn manage(spec: &Fields<'_>) -> Manage {
    match spec.word("manage") {
        "observe" => Manage::Observe,
        _ => Manage::Full,
    }
}

fn bounds(spec: &Fields<'_>, size: u32) -> Option<Bounds> {
    let fields = spec.optional_object("bounds")?;
    let before = spec.report.count();
    let bounds = Bounds {
        min: fields.integer("min"),
        max: fields.integer("max"),
    };
    if spec.report.count() > before || !fields.has("min") || !fields.has("max") {
        return Some(bounds);
    }
    let mistake = if bounds.min > bounds.max {
        let message = format!(
            "`bounds.min` ({}) is above `bounds.max` ({})",
            bounds.min, bounds.max
        );
        Some((message, fields.span_of("min")))
    } else if spec.has("size") && !(bounds.min..=bounds.max).contains(&size) {
        let message = format!(
            "`size` ({size}) is outside the bounds, {} to {}",
            bounds.min, bounds.max
        );
        Some((message, spec.span_of("size")))
    } else {
        None
    };
    if let Some((message, span)) = mistake {
        spec.report
            .push(Diagnostic::error("inconsistent", message, span));
    }
    Some(bounds)
}

/// With neither surge nor missing instances allowed nothing could ever be replaced; the planner
/// then takes one instance at a time out of service, which its author may not have meant.
fn warn_if_stuck(rollout: &Fields<'_>, surge: Amount, unavailable: Amount, size: u32) {
    let none = surge.ceil_of(size) == 0 && unavailable.floor_of(size) == 0 && size > 0;
    if none && rollout.has("maxSurge") {
        let message = "`maxSurge` and `maxUnavailable` are both 0 for this size, so one instance at a time is taken out of service before it is replaced";
        let span = rollout.span_of("maxSurge");
        rollout.report.push(
            Diagnostic::warning("surge-and-unavailable-zero", message, span)
                .hint("allow a surge, or write `maxUnavailable: 1` to say so"),
        );
    }
}

fn template(fields: &Fields<'_>, quorum: bool) -> (Template, BTreeMap<String, SourceSpan>) {
    let (properties, node) = fields.any_map("properties");
    let mut spans = BTreeMap::new();
    match node {
        Some(node) => {
            spans_of(fields.report, "", node, &mut spans);
            substitutions(fields.report, node, quorum);
        }
        None => {
            spans.insert(String::new(), fields.report.span(fields.place));
        }
    }
    let flavors = fields.objects("flavors");
    let decoded = flavors.iter().filter_map(flavor::flavor).collect();
    flavor::together(fields.report, &flavors);
    let written = fields.get("flavors").1;
    let as_written = match written {
        Some(entry) => entry.value.to_value(),
        None => Value::List(Vec::new()),
    };
    let tags = fields.text_map("tags", check::tag);
    for name in ["flavors", "tags"] {
        if let Some(entry) = fields.get(name).1 {
            substitutions(fields.report, &entry.value, quorum);
        }
    }
    let template = Template::from(TemplateParts {
        properties,
        flavors: decoded,
        flavors_as_written: as_written,
        tags,
    });
    (template, spans)
}

/// Returns where everything is written but properties, which have their own.
fn spec_spans(spec: &Fields<'_>) -> BTreeMap<String, SourceSpan> {
    let mut spans = BTreeMap::new();
    for entry in spec.entries {
        spans_of_entry(spec.report, "", entry, &mut spans);
    }
    let properties = "template.properties";
    spans.retain(|path, _| {
        let rest = path.strip_prefix(properties);
        rest.is_none_or(|rest| !rest.starts_with(['.', '[']))
    });
    spans
}

/// Collects where each value stands, by path: `command`, `env.PORT`, `command[0]`.
pub(crate) fn spans_of(
    report: &Report,
    path: &str,
    node: &Node,
    spans: &mut BTreeMap<String, SourceSpan>,
) {
    spans.insert(path.to_owned(), report.span(node.place));
    match &node.content {
        Content::Scalar(_) => {}
        Content::List(items, _) => {
            for (position, item) in items.iter().enumerate() {
                spans_of(report, &format!("{path}[{position}]"), item, spans);
            }
        }
        Content::Map(entries, _) => {
            for entry in entries {
                spans_of_entry(report, path, entry, spans);
            }
        }
    }
}

fn spans_of_entry(
    report: &Report,
    path: &str,
    entry: &Entry,
    spans: &mut BTreeMap<String, SourceSpan>,
) {
    let path = if path.is_empty() {
        entry.key.clone()
    } else {
        format!("{path}.{}", entry.key)
    };
    spans.insert(key_path(&path), report.span(entry.key_place));
    spans_of(report, &path, &entry.value, spans);
}

/// The names that `${...}` may use.
const SUBSTITUTIONS: [&str; 5] = [
    "instance.id",
    "instance.name",
    "instance.zone",
    "instance.address",
    "group.name",
];

/// The names that `${...}` may use in quorum groups.
const SUBSTITUTIONS_OF_MEMBERS: [&str; 3] = ["member.id", "members", "bootstrap"];

/// Reports every `${...}` below `node` that names nothing.
fn substitutions(report: &Report, node: &Node, quorum: bool) {
    match &node.content {
        Content::Scalar(scalar) if !scalar.text.contains("${") => {}
        Content::Scalar(scalar) => {
            let text = SourceText {
                text: scalar.text.clone(),
                span: report.span(node.place),
                lines: scalar.lines.clone(),
            };
            let is_known = |name: &str| {
                SUBSTITUTIONS.contains(&name)
                    || (quorum && SUBSTITUTIONS_OF_MEMBERS.contains(&name))
            };
            let wrong = named_in(&scalar.text)
                .into_iter()
                .filter(|(_, named)| !matches!(named, Named::Whole(name) if is_known(name)));
            // Finding a place costs a walk through the text, so a text of nothing else is cut short.
            for (at, named) in wrong.take(DIAGNOSTICS_MAX) {
                match named {
                    Named::Whole(name) => {
                        let span = text.locate(at, "${}".len() + name.len());
                        unknown_substitution(report, span, name, quorum);
                    }
                    Named::Open(name) => {
                        let span = text.locate(at, "${".len() + name.len());
                        unclosed_substitution(report, span, name, is_known(name));
                    }
                }
            }
        }
        Content::List(items, _) => items
            .iter()
            .for_each(|item| substitutions(report, item, quorum)),
        Content::Map(entries, _) => entries
            .iter()
            .for_each(|entry| substitutions(report, &entry.value, quorum)),
    }
}

/// What a `${` names.
#[derive(Debug, Clone, Copy)]
enum Named<'a> {
    /// The name between the braces.
    Whole(&'a str),
    /// No brace closes it: the word behind it.
    Open(&'a str),
}

/// Returns what each `${` names, with its offset.
fn named_in(text: &str) -> Vec<(usize, Named<'_>)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let behind = &rest[at + 2..];
        let end = behind.find('}');
        if !rest[..at].ends_with('$') {
            let offset = text.len() - rest.len() + at;
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let named = match end {
                Some(end) => Named::Whole(&behind[..end]),
                None => Named::Open(behind.split(|c| !word(c)).next().unwrap_or_default()),
            };
            found.push((offset, named));
        }
        rest = &behind[end.map_or(0, |end| end + 1)..];
    }
    found
}

fn unclosed_substitution(report: &Report, span: SourceSpan, name: &str, is_known: bool) {
    let message = format!("`${{{name}` is not closed");
    let hint = if is_known {
        format!("write `${{{name}}}`; `$${{` stands for a literal `${{`")
    } else {
        "close it with `}`; `$${` stands for a literal `${`".to_owned()
    };
    report.push(Diagnostic::error("unclosed-substitution", message, span).hint(hint));
}

fn unknown_substitution(report: &Report, span: SourceSpan, name: &str, quorum: bool) {
    if SUBSTITUTIONS_OF_MEMBERS.contains(&name) {
        let message = format!("`${{{name}}}` names nothing in a group without `members`");
        let diagnostic = Diagnostic::error("unknown-substitution", message, span);
        report.push(diagnostic.hint("members are of quorum groups"));
        return;
    }
    let message = format!("`${{{name}}}` names nothing");
    let members = SUBSTITUTIONS_OF_MEMBERS.into_iter().filter(|_| quorum);
    let known = SUBSTITUTIONS.into_iter().chain(members);
    let hint = match super::closest(name, known) {
        Some(near) => {
            format!("did you mean `${{{near}}}`? `$${{{name}}}` stands for a literal `${{{name}}}`")
        }
        None => format!("write `$${{{name}}}` for a literal `${{{name}}}`"),
    };
    report.push(Diagnostic::error("unknown-substitution", message, span).hint(hint));
}

fn placement(spec: &Fields<'_>) -> PlacementSpec {
    let fields = spec.object("placement");
    let zones = fields.texts("zones");
    for (position, zone) in zones.iter().enumerate() {
        if zones[..position].contains(zone) {
            let message = format!("the zone `{zone}` is written twice");
            let span = fields.span_of("zones");
            let diagnostic = Diagnostic::error("inconsistent", message, span);
            fields.report.push(diagnostic);
        }
    }
    PlacementSpec {
        zones,
        spread: match fields.word("spread") {
            "any" => Spread::Any,
            _ => Spread::Even,
        },
        skew_max: fields.integer("maxSkew"),
        rebalance: match fields.word("rebalance") {
            "off" => Rebalance::Off,
            "proactive" => Rebalance::Proactive,
            _ => Rebalance::Opportunistic,
        },
        cooldown: fields.duration("cooldown"),
    }
}

fn scaling(fields: &Fields<'_>) -> ScalingSpec {
    let stabilization = fields.object("stabilization");
    let rate = fields.object("rate");
    ScalingSpec {
        stabilization: UpDown {
            up: stabilization.duration("up"),
            down: stabilization.duration("down"),
        },
        rate: UpDown {
            up: rate.rate("up"),
            down: rate.rate("down"),
        },
        prefer: match fields.word("prefer") {
            "newest" => Prefer::Newest,
            _ => Prefer::Oldest,
        },
    }
}

fn limits(fields: &Fields<'_>) -> Limits {
    Limits {
        total_max: fields.auto_integer("maxTotal"),
        destroy_max: fields.auto_amount("maxDestroy"),
        create_hourly_max: fields.auto_integer("maxCreatePerHour"),
        destroy_hourly_max: fields.auto_integer("maxDestroyPerHour"),
    }
}

fn deletion(fields: &Fields<'_>, quorum: bool) -> Deletion {
    let written = fields.boolean("protect");
    Deletion {
        policy: match fields.word("policy") {
            "Orphan" => DeletionPolicy::Orphan,
            _ => DeletionPolicy::Destroy,
        },
        protect: written || (quorum && !fields.has("protect")),
    }
}
