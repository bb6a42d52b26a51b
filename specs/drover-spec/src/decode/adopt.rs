//! Which instances that somebody else made a group takes over.

use std::collections::BTreeMap;

use drover_model::{Adopt, AdoptRevision};

use super::{Fields, check};
use crate::diagnostic::Diagnostic;

/// Decodes `adopt`. None: the group takes over nothing.
pub(super) fn adopt(spec: &Fields<'_>) -> Option<Adopt> {
    let fields = spec.optional_object("adopt")?;
    let match_tags = tags(&fields.object("selector"));
    let revision = match fields.word("revision") {
        "keep" => AdoptRevision::Keep,
        _ => AdoptRevision::Assume,
    };
    let current = fields.optional_object("current");
    if current.is_some() && revision == AdoptRevision::Keep {
        let message = "`current` tells what is outdated, and with `revision: keep` nothing is";
        let span = fields.span_of("current");
        let mistake = Diagnostic::error("inconsistent", message, span);
        fields.report.push(mistake);
    }
    Some(Adopt {
        match_tags,
        revision,
        current: current.map(|fields| all_tags(&fields)).unwrap_or_default(),
    })
}

/// Decodes sets of tags of which any is enough.
fn all_tags(fields: &Fields<'_>) -> Vec<BTreeMap<String, String>> {
    let others = fields.objects("or");
    std::iter::once(tags(fields))
        .chain(others.iter().map(tags))
        .collect()
}

fn tags(fields: &Fields<'_>) -> BTreeMap<String, String> {
    let before = fields.report.count();
    let tags = fields.text_map("matchTags", check::tag);
    let well_formed = fields.report.count() == before;
    if fields.has("matchTags") && tags.is_empty() && well_formed {
        let message = "`matchTags` has no tag, so that it would match whatever runs";
        let span = fields.span_of("matchTags");
        let mistake = Diagnostic::error("empty-selector", message, span);
        let hint = "name a tag that only these instances have, such as `infrakit.group: workers`";
        fields.report.push(mistake.hint(hint.to_owned()));
    }
    tags
}
