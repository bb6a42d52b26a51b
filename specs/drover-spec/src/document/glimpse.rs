//! What can still be told of a group whose document has mistakes: on which provider, and with which properties.

use std::collections::BTreeMap;

use drover_model::{Group, Kind, ProviderName, SourceSpan, Value};

use crate::decode::spans_of;
use crate::diagnostic::Report;
use crate::tree::Node;

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
}

impl Glimpse {
    /// Looks at a document that has mistakes. None: it is no group, or either of the two cannot be found.
    pub(super) fn of(report: &Report, root: &Node) -> Option<Self> {
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
        })
    }

    /// Returns the same of a group that is whole, and not taken for a reason outside of its document.
    pub(crate) fn of_group(group: &Group) -> Self {
        Self {
            provider: group.spec.provider.clone(),
            provider_span: group.provider_span.clone(),
            properties: group.spec.template.properties.clone(),
            property_spans: group.property_spans.clone(),
        }
    }
}
