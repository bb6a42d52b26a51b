//! Policies and providers: what is in force, as recorded.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{AcceptedDocument, Binding, Kind, Policy, ProviderDoc};
use drover_spec::Document;
use serde::Serialize;

use super::{Listing, declared};
use crate::cli::{GetArgs, Output};
use crate::error::{CommandError, CommandResult};
use crate::snapshot::Snapshot;
use crate::table::Table;

/// A policy with where it applies.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyView {
    name: String,
    on: &'static str,
    digest: String,
    bindings: Vec<BindingView>,
    path: String,
    line: u32,
    revision: String,
}

/// A binding of a policy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BindingView {
    name: String,
    enforcement: &'static str,
    match_labels: BTreeMap<String, String>,
    groups: Vec<String>,
}

/// A provider with who uses it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProviderView {
    name: String,
    #[serde(rename = "type")]
    type_: String,
    groups: Vec<String>,
    /// `listed`, `failing`, or `unknown`: no agent runs, or it has not asked.
    state: &'static str,
    listed_at: Option<String>,
    failing_since: Option<String>,
    /// Why it fails.
    error: Option<String>,
    path: String,
    line: u32,
    revision: String,
}

impl ProviderView {
    /// Returns the state as a cell.
    fn standing(&self) -> String {
        match &self.failing_since {
            Some(since) => format!("{} since {since}", self.state),
            None => self.state.to_owned(),
        }
    }
}

/// Lists policies.
pub(super) fn policies(args: &GetArgs, snapshot: &Snapshot) -> CommandResult<String> {
    let documents = Recorded::of(snapshot);
    let mut table = Table::new(&["NAME", "ON", "BINDING", "ENFORCEMENT", "GROUPS", "FILE"]);
    let mut items = Vec::new();
    for (policy, document) in documents.policies(&args.names)? {
        let bindings: Vec<BindingView> = documents
            .bindings
            .iter()
            .filter(|binding| binding.policy == policy.name)
            .map(|binding| binding_view(binding, snapshot))
            .collect();
        let place = format!("{}:{}", document.path, document.line);
        let row = |binding: Option<&BindingView>| {
            vec![
                policy.name.to_string(),
                policy.point.as_str().to_owned(),
                binding.map(|b| b.name.clone()).unwrap_or_default(),
                binding
                    .map(|b| b.enforcement.to_owned())
                    .unwrap_or_default(),
                binding.map(|b| b.groups.join(",")).unwrap_or_default(),
                place.clone(),
            ]
        };
        if bindings.is_empty() {
            table.row(row(None));
        }
        for binding in &bindings {
            table.row(row(Some(binding)));
        }
        items.push(PolicyView {
            name: policy.name.to_string(),
            on: policy.point.as_str(),
            digest: policy.digest.clone(),
            bindings,
            path: document.path.clone(),
            line: document.line,
            revision: document.revision.to_string(),
        });
    }
    let names = items.iter().map(|policy| policy.name.clone()).collect();
    let listing = Listing {
        kind: "PolicyList",
        items,
        table,
        names,
    };
    listing.render(&args.list)
}

/// Lists providers.
pub(super) fn providers(args: &GetArgs, snapshot: &Snapshot) -> CommandResult<String> {
    let wide = args.list.output == Output::Wide;
    let mut head = vec!["NAME", "TYPE", "STATE", "GROUPS", "FILE"];
    if wide {
        head.push("REVISION");
    }
    head.push("WHY");
    let documents = Recorded::of(snapshot);
    let mut table = Table::new(&head);
    let mut items = Vec::new();
    for (provider, document) in documents.providers(&args.names)? {
        let uses = |group: &&drover_model::RecordedGroup| {
            let used = group.provider.as_ref().map(|used| used.name.as_str());
            used == Some(provider.name.as_str())
        };
        let groups = snapshot.groups.values().filter(uses);
        let known = snapshot.provider(provider.name.as_str());
        let known = known.cloned().unwrap_or_default();
        let view = ProviderView {
            state: match (&known.error, &known.listed_at) {
                (Some(_), _) => "failing",
                (None, Some(_)) => "listed",
                (None, None) => "unknown",
            },
            listed_at: known.listed_at,
            failing_since: known.failing_since,
            error: known.error,
            name: provider.name.to_string(),
            type_: provider.type_.to_string(),
            groups: groups.map(|group| group.name.to_string()).collect(),
            path: document.path.clone(),
            line: document.line,
            revision: document.revision.to_string(),
        };
        let mut cells = vec![
            view.name.clone(),
            view.type_.clone(),
            view.standing(),
            view.groups.join(","),
            format!("{}:{}", view.path, view.line),
        ];
        if wide {
            cells.push(document.revision.short().to_owned());
        }
        cells.push(view.error.clone().unwrap_or_default());
        table.row(cells);
        items.push(view);
    }
    let names = items.iter().map(|provider| provider.name.clone()).collect();
    let listing = Listing {
        kind: "ProviderList",
        items,
        table,
        names,
    };
    listing.render(&args.list)
}

fn binding_view(binding: &Binding, snapshot: &Snapshot) -> BindingView {
    let matching = snapshot
        .groups
        .values()
        .filter(|group| binding.selector.matches(&declared(group).labels));
    BindingView {
        name: binding.name.to_string(),
        enforcement: binding.enforcement.as_str(),
        match_labels: binding.selector.match_labels.clone(),
        groups: matching.map(|group| group.name.to_string()).collect(),
    }
}

/// The recorded documents, parsed.
#[derive(Default)]
struct Recorded {
    policies: Vec<(Policy, AcceptedDocument)>,
    bindings: Vec<Binding>,
    providers: Vec<(ProviderDoc, AcceptedDocument)>,
}

impl Recorded {
    fn of(snapshot: &Snapshot) -> Self {
        let mut recorded = Self::default();
        let documents = snapshot
            .fleet
            .iter()
            .flat_map(|fleet| fleet.documents.values());
        for document in documents {
            let parsed = drover_spec::parse_document(&document.path, document.line, &document.text);
            for outcome in parsed
                .documents
                .into_iter()
                .filter_map(|parsed| parsed.outcome)
            {
                match outcome {
                    Document::Policy(policy) => recorded.policies.push((*policy, document.clone())),
                    Document::Binding(binding) => recorded.bindings.push(*binding),
                    Document::Provider(doc) => recorded.providers.push((*doc, document.clone())),
                    Document::Fleet(_)
                    | Document::Group(_)
                    | Document::MetricSource(_)
                    | Document::Calendar(_) => {}
                }
            }
        }
        recorded
    }

    fn policies(&self, names: &[String]) -> CommandResult<Vec<&(Policy, AcceptedDocument)>> {
        choose(&self.policies, names, Kind::Policy, |(policy, _)| {
            policy.name.as_str()
        })
    }

    fn providers(&self, names: &[String]) -> CommandResult<Vec<&(ProviderDoc, AcceptedDocument)>> {
        choose(&self.providers, names, Kind::Provider, |(doc, _)| {
            doc.name.as_str()
        })
    }
}

/// Returns those with these names, or all of them.
fn choose<'a, T>(
    all: &'a [T],
    names: &[String],
    kind: Kind,
    name: impl Fn(&T) -> &str,
) -> CommandResult<Vec<&'a T>> {
    let known: BTreeSet<&str> = all.iter().map(&name).collect();
    if let Some(missing) = names.iter().find(|wanted| !known.contains(wanted.as_str())) {
        let noun = kind.as_str().to_lowercase();
        let error = CommandError::new(format!("there is no {noun} {missing}"));
        let known: Vec<&str> = known.into_iter().collect();
        return Err(match known.as_slice() {
            [] => error.hint("none is recorded"),
            known => error.hint(format!("there are {}", known.join(", "))),
        });
    }
    let wanted = |item: &&T| names.is_empty() || names.iter().any(|wanted| wanted == name(item));
    Ok(all.iter().filter(wanted).collect())
}
