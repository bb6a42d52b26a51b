//! Computes a recorded plan again, from what it was made from, and compares: the same input gives the
//! same plan, byte for byte, years later and on another machine.

use std::fmt::Write as _;

use drover_model::{Plan, PlanReport, RecordedGroup};
use drover_plan::{ClassifyInput, Desired, PLANNER, PlanError, PlanInput, ProviderFacts};
use drover_spec::record::{
    self, DesiredInputs, PlanInputs, PlanOutcome, ProviderInputs, RecordError,
};

use crate::inputs::without_seen;

/// Most lines of a difference: the first one says what is wrong.
const DIFFERENCE_LINES_MAX: usize = 8;

/// What came of computing a plan again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// The same plan and the same next state.
    Reproduced {
        /// How many steps the plan has.
        steps: usize,
    },
    /// Something differs: lines with `-` were recorded, lines with `+` were computed now.
    Differs {
        /// The first difference.
        difference: String,
    },
}

/// Why a recorded plan cannot be computed again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The inputs are not readable, or of another format.
    #[error("read the recorded inputs")]
    Unreadable(#[from] RecordError),
    /// Another version of the planner made the plan.
    #[error("version {found} of the planner made the plan, this is version {known}")]
    Planner {
        /// The version that made it.
        found: u64,
        /// The version here.
        known: u64,
    },
    /// This version does not understand the document in force.
    #[error("the document in force cannot be read by this version of drover")]
    Document,
    /// The planner refuses the input.
    #[error("plan from the recorded inputs")]
    Plan(#[from] PlanError),
}

/// Computes the plan of `inputs/<group>.json` again. `state` is `groups/<group>.yaml` of the same
/// commit, for the difference where the next recorded state is another one.
///
/// # Errors
///
/// Where it cannot be computed at all.
pub fn replay(inputs: &str, state: Option<&str>) -> Result<Replayed, ReplayError> {
    Ok(recompute(inputs, state)?.replayed)
}

/// A plan that was computed again.
#[derive(Debug)]
pub(crate) struct Recomputed {
    pub(crate) replayed: Replayed,
    pub(crate) inputs: PlanInputs,
    /// The recorded state that the plan leads to.
    pub(crate) next: RecordedGroup,
}

/// As [`replay`], with what it found.
pub(crate) fn recompute(inputs: &str, state: Option<&str>) -> Result<Recomputed, ReplayError> {
    let text = without_seen(inputs);
    let inputs = record::decode_inputs(&text)?;
    if inputs.planner != PLANNER {
        return Err(ReplayError::Planner {
            found: inputs.planner,
            known: PLANNER,
        });
    }
    let Computed {
        text: now,
        next,
        steps,
    } = compute(&inputs)?;
    let replayed = if now == text {
        Replayed::Reproduced { steps }
    } else {
        let next = record::encode(&next);
        let (recorded, now) = match state {
            // The state as it was is known: a difference in it says more than its digest.
            Some(state) if state != next => (state, next.as_str()),
            Some(_) | None => (text.as_str(), now.as_str()),
        };
        Replayed::Differs {
            difference: difference(recorded, now),
        }
    };
    Ok(Recomputed {
        replayed,
        inputs,
        next,
    })
}

struct Computed {
    text: String,
    next: RecordedGroup,
    steps: usize,
}

fn compute(inputs: &PlanInputs) -> Result<Computed, ReplayError> {
    let PlanInputs {
        planner: _,
        now,
        fleet,
        epoch,
        source: _,
        desired,
        provider,
        visibility,
        listing,
        signals,
        memory,
        intents,
        roster,
        surveyed,
        recorded,
        recommendations,
        decisions,
        policies,
        // The decisions are recorded.
        readings: _,
        peers,
        fences,
    } = inputs;
    let group = desired.group().ok_or(ReplayError::Document)?;
    let provider = provider_facts(provider);
    let classified = drover_plan::classify(&ClassifyInput {
        now: *now,
        group: &recorded.name,
        spec: &group.spec,
        listing,
        signals,
        memory,
        intents,
        recorded,
        visibility: *visibility,
        health: &decisions.health,
        surveyed: surveyed.as_ref(),
        provider: &provider,
        emptied: peers.emptied.as_ref(),
    });
    let desired = match desired {
        DesiredInputs::Present(document) => Desired::Present {
            group: &group,
            document,
        },
        DesiredInputs::Deleting {
            document: _,
            revision,
        } => Desired::Deleting {
            spec: &group.spec,
            revision,
        },
    };
    let (plan, report) = drover_plan::plan(&PlanInput {
        now: *now,
        fleet,
        epoch: *epoch,
        desired,
        provider: &provider,
        classified: &classified,
        intents,
        roster: roster.as_ref(),
        recorded,
        recommendations,
        decisions,
        policies,
        peers,
        fences,
    })?;
    Ok(computed(inputs, plan, &report))
}

fn computed(inputs: &PlanInputs, plan: Plan, report: &PlanReport) -> Computed {
    let outcome = PlanOutcome {
        plan: &plan,
        report,
    };
    Computed {
        text: record::encode_inputs(inputs, &outcome),
        steps: plan.steps.len(),
        next: plan.next,
    }
}

pub(crate) fn provider_facts(inputs: &ProviderInputs) -> ProviderFacts {
    let ProviderInputs {
        name,
        type_,
        settings,
        classes,
        batch_max,
    } = inputs.clone();
    ProviderFacts {
        name,
        type_,
        settings,
        classes,
        batch_max,
    }
}

/// Returns the lines from the first that differs on, with the one before it.
pub(crate) fn difference(recorded: &str, computed: &str) -> String {
    let (was, now): (Vec<&str>, Vec<&str>) =
        (recorded.lines().collect(), computed.lines().collect());
    let same = was
        .iter()
        .zip(&now)
        .take_while(|(was, now)| was == now)
        .count();
    let ends = was[same..].iter().rev().zip(now[same..].iter().rev());
    let tail = ends.take_while(|(was, now)| was == now).count();
    let mut out = format!("@@ line {} @@\n", same + 1);
    // Writing to a string cannot fail.
    if let Some(before) = same.checked_sub(1).and_then(|before| was.get(before)) {
        let _ = writeln!(out, " {before}");
    }
    for (sign, lines) in [('-', &was), ('+', &now)] {
        let lines = &lines[same..lines.len() - tail];
        for line in lines.iter().take(DIFFERENCE_LINES_MAX) {
            let _ = writeln!(out, "{sign}{line}");
        }
        if lines.len() > DIFFERENCE_LINES_MAX {
            let _ = writeln!(out, "{sign}... {} more", lines.len() - DIFFERENCE_LINES_MAX);
        }
    }
    out
}
