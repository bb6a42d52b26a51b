//! Binding, Provider and Fleet documents.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    ApprovalRule, Binding, BindingName, Enforcement, PolicyName, ProviderDoc, ProviderName,
    ProviderType, Selector, Signer, Value, key_path,
};

use super::group::spans_of;
use super::{Fields, Metadata, admission, check, policy};
use crate::document::FleetDoc;

/// Decodes a binding. None: a mistake that leaves nothing to build; it was reported.
pub(crate) fn decode_binding(
    metadata: Option<Metadata>,
    spec: &Fields<'_>,
    digest: String,
) -> Option<Binding> {
    let policy: Option<PolicyName> = spec.id("policy");
    let selector = selector(spec);
    let params = policy::params(spec, "params");
    let node = spec.get("params").1;
    let entries = node.and_then(|entry| entry.value.entries());
    let param_spans = entries
        .into_iter()
        .flatten()
        .map(|entry| (entry.key.clone(), spec.report.span(entry.key_place)))
        .collect();
    let enforcement = match spec.word("enforcement") {
        "audit" => Enforcement::Audit,
        "warn" => Enforcement::Warn,
        "requireApproval" => Enforcement::RequireApproval,
        _ => Enforcement::Deny,
    };
    let approvals = approvals(spec, enforcement);
    let metadata = metadata?;
    Some(Binding {
        name: BindingName::parse(&metadata.name).ok()?,
        span: metadata.span,
        policy: policy?,
        policy_span: spec.span_of("policy"),
        selector,
        params,
        param_spans,
        enforcement,
        enforcement_span: spec.span_of("enforcement"),
        approvals,
        digest,
    })
}

/// Decodes who must approve what does not hold.
fn approvals(spec: &Fields<'_>, enforcement: Enforcement) -> ApprovalRule {
    let Some(fields) = spec.optional_object("approvals") else {
        return ApprovalRule::default();
    };
    if enforcement != Enforcement::RequireApproval {
        let why = "says who approves, and `enforcement` is not requireApproval";
        if let Some(entry) = spec.get("approvals").1 {
            spec.bad(entry, why);
        }
    }
    let count = fields.integer("count");
    let from: BTreeSet<Signer> = fields.ids("from").into_iter().flatten().collect();
    let few = !from.is_empty() && (from.len() as u64) < u64::from(count);
    if let Some(entry) = fields.get("from").1.filter(|_| few) {
        let people = from.len();
        fields.bad(entry, format!("names {people}, and {count} must approve"));
    }
    ApprovalRule { count, from }
}

/// Decodes which groups something is about.
pub(crate) fn selector(spec: &Fields<'_>) -> Selector {
    Selector {
        match_labels: spec
            .object("selector")
            .text_map("matchLabels", check::label),
    }
}

/// Decodes a provider. None: a mistake that leaves nothing to build; it was reported.
pub(crate) fn decode_provider(
    metadata: Option<Metadata>,
    spec: &Fields<'_>,
) -> Option<ProviderDoc> {
    let type_: Option<ProviderType> = spec.id("type");
    let mut setting_spans = BTreeMap::new();
    setting_spans.insert(String::new(), spec.report.span(spec.place));
    let mut settings = BTreeMap::new();
    for entry in spec.others() {
        let place = spec.report.span(entry.key_place);
        setting_spans.insert(key_path(&entry.key), place);
        spans_of(spec.report, &entry.key, &entry.value, &mut setting_spans);
        settings.insert(entry.key.clone(), entry.value.to_value());
    }
    let metadata = metadata?;
    Some(ProviderDoc {
        name: ProviderName::parse(&metadata.name).ok()?,
        span: metadata.span,
        type_: type_?,
        type_span: spec.span_of("type"),
        settings: Value::Map(settings),
        setting_spans,
    })
}

/// Decodes the fleet document.
pub(crate) fn decode_fleet(metadata: Option<Metadata>, spec: &Fields<'_>) -> Option<FleetDoc> {
    let budgets = admission::fleet_budgets(spec);
    // The one that there is, so far: read, so that another word is a mistake.
    spec.word("orphans");
    let limits = spec.object("limits");
    let destroy_max = limits.amount("maxDestroy");
    let destroy_max = limits.has("maxDestroy").then_some(destroy_max);
    let metadata = metadata?;
    Some(FleetDoc {
        name: metadata.name,
        span: metadata.span,
        budgets,
        destroy_max,
    })
}
