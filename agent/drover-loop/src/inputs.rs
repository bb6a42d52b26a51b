//! `inputs/<group>.json` on the state branch: what a plan was made from, so that it can be computed
//! again and explained. The format is `drover-spec`'s; here the planner's values are put together.

use std::fmt::Write as _;

use drover_model::{AcceptedDocument, Readings, Revision};
use drover_plan::{ClassifyInput, Desired, PLANNER, PlanInput, ProviderFacts};
use drover_spec::record::{DesiredInputs, PlanInputs, ProviderInputs};
use serde_json::Value;

use crate::deletion::SeenUnder;

/// Returns everything that the plan rests on.
///
/// Both values are taken apart without `..`, so that an input that is added to a stage and forgotten
/// here does not compile.
pub(crate) fn collect(
    source: &Revision,
    document: &AcceptedDocument,
    classify: &ClassifyInput<'_>,
    plan: &PlanInput<'_>,
    readings: Readings,
) -> PlanInputs {
    // What both stages are given is taken from the second.
    let ClassifyInput {
        now: _,
        group: _,
        spec: _,
        listing,
        signals,
        memory,
        intents: _,
        recorded: _,
        visibility,
        // Part of the decisions.
        health: _,
        surveyed,
        // Of the second, and part of what it knows of others.
        provider: _,
        emptied: _,
    } = *classify;
    let PlanInput {
        now,
        fleet,
        epoch,
        desired,
        provider,
        // Computed from the rest.
        classified: _,
        intents,
        roster,
        recorded,
        recommendations,
        decisions,
        policies,
        peers,
        fences,
    } = *plan;
    let desired = match desired {
        Desired::Present { group: _, document } => DesiredInputs::Present(document.clone()),
        Desired::Deleting { spec: _, revision } => DesiredInputs::Deleting {
            document: document.clone(),
            revision: revision.clone(),
        },
    };
    PlanInputs {
        planner: PLANNER,
        now,
        fleet: fleet.clone(),
        epoch,
        source: source.clone(),
        desired,
        provider: provider_inputs(provider),
        visibility,
        listing: listing.clone(),
        signals: signals.clone(),
        memory: memory.clone(),
        intents: intents.to_vec(),
        roster: roster.cloned(),
        surveyed: surveyed.cloned(),
        recorded: recorded.clone(),
        recommendations: recommendations.to_vec(),
        decisions: decisions.clone(),
        policies: policies.clone(),
        readings,
        peers: peers.clone(),
        fences: fences.to_vec(),
    }
}

fn provider_inputs(facts: &ProviderFacts) -> ProviderInputs {
    let ProviderFacts {
        name,
        type_,
        settings,
        classes,
        batch_max,
    } = facts.clone();
    ProviderInputs {
        name,
        type_,
        settings,
        classes,
        batch_max,
    }
}

/// What follows the last field of the planner's inputs.
const END: &str = "\n}\n";

/// Adds where the group's document was last seen, for an agent that has to start from here. The rest
/// stays as it is, byte for byte.
pub(crate) fn with_seen(inputs: &[u8], seen: Option<&SeenUnder>) -> Vec<u8> {
    let text = String::from_utf8_lossy(inputs);
    let (Some(seen), Some(body)) = (seen, text.strip_suffix(END)) else {
        return inputs.to_vec();
    };
    let mut out = body.to_owned();
    let seen = serde_json::to_string(seen).expect("plain values encode");
    // Writing to a string cannot fail.
    let _ = write!(out, ",\n \"{SEEN}\": {seen}{END}");
    out.into_bytes()
}

const SEEN: &str = "seenUnder";

/// Returns the planner's part of the file, as it was before [`with_seen`].
pub(crate) fn without_seen(text: &str) -> String {
    let mark = format!(",\n \"{SEEN}\": ");
    match text.rsplit_once(&mark) {
        Some((body, _)) => format!("{body}{END}"),
        None => text.to_owned(),
    }
}

/// Returns where the group's document was last seen, from the file.
pub(crate) fn seen(inputs: &[u8]) -> Option<SeenUnder> {
    let value: Value = serde_json::from_slice(inputs).ok()?;
    serde_json::from_value(value.get(SEEN)?.clone()).ok()
}
