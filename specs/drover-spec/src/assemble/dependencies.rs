//! Dependencies between groups: they name groups that are there, and lead nowhere back.

use std::collections::BTreeSet;

use drover_model::{GroupName, Kind, SourceSpan};

use super::{Repository, known_names, no_such};
use crate::diagnostic::Diagnostic;

/// Checks every `dependsOn`.
pub(super) fn check(repository: &mut Repository) {
    let known = known_names(repository, Kind::Group);
    let mut found = Vec::new();
    // Groups of a circle that was told already: one mistake, one message.
    let mut told = BTreeSet::new();
    for (name, group) in &repository.groups {
        let named = group.value.spec.depends_on.iter();
        for (other, span) in named.zip(&group.value.depends_spans) {
            if !known.contains(other.as_str()) {
                found.push(no_such(Kind::Group, other.as_str(), span.clone(), &known));
            } else if !told.contains(name)
                && let Some(circle) = way_back(repository, name, other)
            {
                found.push(in_a_circle(&circle, span.clone()));
                told.extend(circle);
            }
        }
    }
    repository.diagnostics.extend(found);
}

fn in_a_circle(circle: &[GroupName], span: SourceSpan) -> Diagnostic {
    let names: Vec<String> = circle.iter().map(ToString::to_string).collect();
    let message = format!(
        "the groups depend on each other in a circle: {}",
        names.join(" -> ")
    );
    Diagnostic::error("circular-dependency", message, span)
        .hint("none of them could ever be updated: remove one of the dependencies")
}

/// Returns the way from `start` over its dependency `first` back to `start`, if there is one.
fn way_back(
    repository: &Repository,
    start: &GroupName,
    first: &GroupName,
) -> Option<Vec<GroupName>> {
    let mut way = vec![start.clone()];
    let mut seen = BTreeSet::new();
    leads_to(repository, first, start, &mut seen, &mut way).then_some(way)
}

/// Walks the dependencies of `from` in depth; each group is entered once. How deep it gets is bounded
/// by the limit of documents in a repository, and by a stack of its own.
fn leads_to(
    repository: &Repository,
    from: &GroupName,
    goal: &GroupName,
    seen: &mut BTreeSet<GroupName>,
    way: &mut Vec<GroupName>,
) -> bool {
    let mut stack = vec![(from.clone(), 1)];
    while let Some((name, depth)) = stack.pop() {
        way.truncate(depth);
        way.push(name.clone());
        if name == *goal {
            return true;
        }
        if !seen.insert(name.clone()) {
            continue;
        }
        if let Some(group) = repository.groups.get(&name) {
            let next = group.value.spec.depends_on.iter().rev();
            stack.extend(next.map(|next| (next.clone(), depth + 1)));
        }
    }
    false
}
