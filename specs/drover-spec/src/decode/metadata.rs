//! `metadata`, which every document has.

use std::collections::BTreeMap;

use drover_model::SourceSpan;

use super::{Fields, check};

/// The identity of a document and what hangs on it.
pub(crate) struct Metadata {
    /// As written; each kind parses it to its own type.
    pub(crate) name: String,
    pub(crate) span: SourceSpan,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// Decodes `metadata`. None: the name is missing or wrong, which was reported.
    pub(crate) fn decode(fields: &Fields<'_>) -> Option<Self> {
        let labels = fields.text_map("labels", check::label);
        let annotations = fields.text_map("annotations", check::annotation);
        // Every kind's name is a DNS label: one check stands for all.
        let name: drover_model::GroupName = fields.id("name")?;
        Some(Self {
            name: name.as_str().to_owned(),
            span: fields.span_of("name"),
            labels,
            annotations,
        })
    }
}
