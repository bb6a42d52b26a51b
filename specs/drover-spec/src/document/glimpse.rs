//! What can still be told of a group whose document has mistakes: on which provider, and with which properties.

use std::collections::BTreeMap;
use std::sync::Arc;

use drover_model::{Group, Kind, ProviderName, SourceSpan, Value};

use crate::decode::spans_of;
use crate::diagnostic::Report;
use crate::tree::{Content, Node};

/// A look at a group that is not taken: enough to find the mistakes in its properties too, for the first one of
/// another kind would hide them all. Never acted on.
#[derive(Debug, Clone, PartialEq)]
pub struct Glimpse {
    /// The provider that it names.
    pub provider: ProviderName,
    /// Where it does.
    pub provider_span: SourceSpan,
    /// `template.properties`, a map.
    pub properties: Value,
    /// Where each of them is written, by path; the empty path is the whole.
    pub property_spans: BTreeMap<String, SourceSpan>,
    /// The group as far as it can be read: what cannot has its default. None: too little of it can.
    pub group: Option<Arc<Group>>,
}

impl Glimpse {
    /// Looks at a document that has mistakes. None: it is no group, or either of the two cannot be found.
    pub(super) fn of(report: &Report, root: &Node, group: Option<&Arc<Group>>) -> Option<Self> {
        if root.get("kind")?.text()? != Kind::Group.as_str() {
            return None;
        }
        let spec = root.get("spec")?;
        let provider = spec.get("provider")?;
        let properties = spec.get("template")?.get("properties")?;
        // Who misspelled the name of the map has that mistake, and not those of an empty one.
        properties.entries()?;
        let mut property_spans = BTreeMap::new();
        spans_of(report, "", properties, &mut property_spans);
        Some(Self {
            provider: ProviderName::parse(provider.text()?).ok()?,
            provider_span: report.span(provider.place),
            properties: properties.to_value(),
            property_spans,
            group: group.filter(|group| is_like(group, spec)).cloned(),
        })
    }

    /// Returns the same of a group that is whole, and not taken for a reason outside of its document.
    pub(crate) fn of_group(group: &Arc<Group>) -> Self {
        Self {
            provider: group.spec.provider.clone(),
            provider_span: group.provider_span.clone(),
            properties: group.spec.template.properties.clone(),
            property_spans: group.property_spans.clone(),
            group: Some(Arc::clone(group)),
        }
    }
}

/// Whether what was read of a group is of the kind that is written, and each flavor at its place: else what others would
/// find wrong with it is not what its author wrote.
fn is_like(group: &Group, spec: &Node) -> bool {
    let flavors = spec.get("template").and_then(|node| node.get("flavors"));
    let written = flavors.map_or(0, |flavors| match &flavors.content {
        Content::List(items, _) => items.len(),
        Content::Scalar(_) | Content::Map(..) => usize::MAX,
    });
    let has_members = spec.get("members").is_some();
    group.spec.template.flavors.len() == written && group.spec.quorum.is_some() == has_members
}
