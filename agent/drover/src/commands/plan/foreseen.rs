//! What policies and limits will say of an edit of a group, before it is pushed.

use std::collections::BTreeSet;

use drover_git::Oid;
use drover_model::{GroupName, Outcome, RecordedGroup, Verdict};

use super::{End, compare, doubts, summaries};
use crate::error::CommandResult;
use crate::plan_view::PlanHold;
use crate::settings::Settings;
use crate::snapshot::Repository;

/// What will be said.
#[derive(Debug)]
pub(in crate::commands) struct Foreseen {
    /// A policy denies it, whatever is found out by then.
    pub(in crate::commands) denied: bool,
    /// Everything that is said against it.
    pub(in crate::commands) holds: Vec<PlanHold>,
}

/// Asks about what `commit` makes of a group on `tip`: as the agent will, against the document that is in force.
///
/// # Errors
///
/// A commit that cannot be read.
pub(in crate::commands) fn foreseen(
    repository: &Repository,
    settings: &Settings,
    (tip, commit): (Oid, Oid),
    (name, recorded): (&GroupName, Option<&RecordedGroup>),
) -> CommandResult<Foreseen> {
    let mut base = End::read(repository, settings, tip)?;
    let head = End::read(repository, settings, commit)?;
    if let Some(recorded) = recorded {
        let accepted = recorded.accepted.as_ref();
        let commit = accepted.and_then(|accepted| accepted.revision.as_str().parse().ok());
        let in_force = commit.and_then(|commit| End::read(repository, settings, commit).ok());
        let in_force = in_force.and_then(|end| end.located(name).cloned());
        let groups = &mut base.documents.repository.groups;
        match in_force {
            Some(in_force) => groups.insert(name.clone(), in_force),
            None if accepted.is_none() => groups.remove(name),
            // What is in force is of a commit that is not here.
            None => None,
        };
    }
    let states = recorded.map(|recorded| (name.clone(), recorded.clone()));
    let states = states.into_iter().collect();
    let (base, head) = (base.knowing(&states), head.knowing(&states));
    let names: BTreeSet<&GroupName> = base.groups().chain(head.groups()).collect();
    let summaries = summaries(&base, &names);
    let (view, verdicts) = compare(name, &base, &head, &summaries, recorded)?;
    let mut holds = view.holds;
    holds.extend(doubts::doubts(&base, &head).remove(name));
    let labels = |end: &End| Some(end.group(name)?.labels.clone());
    let judges = [&base, &head].map(|end| {
        let labels = labels(end).unwrap_or_default();
        end.policies.digests_for(&labels)
    });
    // Metrics are asked by the agent only, so what goes by one is not known.
    let is_sure = |verdict: &Verdict| {
        let metrics = format!("binding/{}/metric/", verdict.binding);
        let mut keys = judges.iter().flat_map(|judges| judges.keys());
        verdict.outcome == Outcome::Failed && !keys.any(|key| key.starts_with(&metrics))
    };
    let mut denials = verdicts.iter().filter(|verdict| verdict.withholds());
    Ok(Foreseen {
        denied: denials.any(is_sure),
        holds,
    })
}
