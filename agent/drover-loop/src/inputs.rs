//! `inputs/<group>.json` on the state branch: what a plan was made from, so that it can be computed
//! again and explained.

use std::collections::BTreeMap;

use drover_model::{
    CheckOutcome, Decisions, IntentState, Outcome, ProviderPhase, SizeDecision, Verdict,
};
use serde_json::{Value, json};

use crate::deletion::SeenUnder;
use crate::group::{GroupInput, Judged};

/// Returns the file's content.
pub(crate) fn encode(input: &GroupInput<'_>, judged: &Judged) -> Vec<u8> {
    let numbers = &judged.report.numbers;
    let document = judged.plan.next.accepted.as_ref();
    let value = json!({
        "now": input.now.to_string(),
        "epoch": input.epoch.0,
        "source": {
            "revision": input.source.revision.as_str(),
            "document": document.map(|document| json!({
                "path": document.path,
                "line": document.line,
                "revision": document.revision.as_str(),
            })),
        },
        "provider": {
            "name": input.provider.name.as_str(),
            "type": input.provider.type_.as_str(),
        },
        "numbers": {
            "size": numbers.size,
            "total": numbers.total,
            "available": numbers.available,
            "updated": numbers.updated,
            "outdated": numbers.outdated,
            "floor": numbers.floor,
            "ceiling": numbers.ceiling,
        },
        "policies": judged.policies,
        "decisions": decisions(&judged.decisions),
        "observation": observation(input),
        "intents": intents(input),
        "fences": input.fences.iter().map(|held| held.hold.code()).collect::<Vec<_>>(),
    });
    bytes(&value)
}

fn bytes(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("a tree of plain values encodes");
    bytes.push(b'\n');
    bytes
}

fn decisions(decisions: &Decisions) -> Value {
    let size = decisions.size.as_ref().map(|size| match size {
        SizeDecision::Chosen {
            size,
            asked,
            verdict,
        } => json!({"size": size, "asked": asked, "verdict": self::verdict(verdict)}),
        SizeDecision::Failed(verdict) => json!({"failed": self::verdict(verdict)}),
    });
    let gates = decisions.gates.iter().map(|(reason, verdicts)| {
        let verdicts: Vec<Value> = verdicts.iter().map(verdict).collect();
        (reason.as_str().to_owned(), json!(verdicts))
    });
    json!({
        "size": size,
        "gates": gates.collect::<BTreeMap<_, _>>(),
        "violations": decisions.violations.iter().map(verdict).collect::<Vec<_>>(),
    })
}

fn verdict(verdict: &Verdict) -> Value {
    let (outcome, error) = match &verdict.outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed => ("failed", None),
        Outcome::Error(why) => ("error", Some(why)),
    };
    json!({
        "policy": verdict.policy.as_str(),
        "binding": verdict.binding.as_str(),
        "point": verdict.point.as_str(),
        "enforcement": verdict.enforcement.as_str(),
        "outcome": outcome,
        "error": error,
        "message": verdict.message,
        "at": verdict.span.to_string(),
        "values": verdict.values,
        "digest": verdict.digest,
    })
}

fn observation(input: &GroupInput<'_>) -> Value {
    let instances = input.listing.instances.iter().filter_map(|listed| {
        let owner = listed.ownership.as_ref()?;
        let signal = input.signals.get(&owner.instance);
        let checks = signal.map(|signal| {
            let results = signal.checks.iter().map(|check| match check {
                CheckOutcome::Passing => "passing",
                CheckOutcome::Failing { .. } => "failing",
                CheckOutcome::Unknown { .. } => "unknown",
            });
            results.collect::<Vec<_>>()
        });
        let facts = json!({
            "ref": listed.provider_ref.as_str(),
            "phase": phase(&listed.phase),
            "digest": owner.digests.to_string(),
            "address": listed.address,
            "zone": listed.zone,
            "checks": checks,
        });
        Some((owner.instance.to_string(), facts))
    });
    json!({
        "asOf": input.listing.as_of.to_string(),
        "complete": input.listing.completeness == drover_model::Completeness::Complete,
        "instances": instances.collect::<BTreeMap<_, _>>(),
    })
}

fn phase(phase: &ProviderPhase) -> &'static str {
    match phase {
        ProviderPhase::Pending => "pending",
        ProviderPhase::Running => "running",
        ProviderPhase::Stopping => "stopping",
        ProviderPhase::Exited(_) => "exited",
        ProviderPhase::Terminated => "terminated",
        ProviderPhase::Unknown => "unknown",
    }
}

fn intents(input: &GroupInput<'_>) -> Vec<Value> {
    let intents = input.intents.iter().map(|intent| {
        let (what, instances) = match &intent.kind {
            drover_model::IntentKind::Create { slots, .. } => {
                ("create", slots.iter().map(ToString::to_string).collect())
            }
            drover_model::IntentKind::Drain { instance, .. } => {
                ("drain", vec![instance.to_string()])
            }
            drover_model::IntentKind::Destroy { instance, .. } => {
                ("destroy", vec![instance.to_string()])
            }
        };
        let state = match intent.state {
            IntentState::Intended => "intended",
            IntentState::Sent => "sent",
            IntentState::Acked { .. } => "acked",
            IntentState::Failed { .. } => "failed",
        };
        json!({"id": intent.id.0, "what": what, "instances": instances, "state": state})
    });
    intents.collect()
}

/// Adds where the group's document was last seen, for an agent that has to start from here.
pub(crate) fn with_seen(inputs: Option<&[u8]>, seen: Option<&SeenUnder>) -> Vec<u8> {
    let parsed = inputs.and_then(|bytes| serde_json::from_slice(bytes).ok());
    let mut value = parsed.unwrap_or_else(|| json!({}));
    if let (Some(map), Some(seen)) = (value.as_object_mut(), seen) {
        map.insert("seenUnder".to_owned(), json!(seen));
    }
    bytes(&value)
}

/// Returns where the group's document was last seen, from the file.
pub(crate) fn seen(inputs: &[u8]) -> Option<SeenUnder> {
    let value: Value = serde_json::from_slice(inputs).ok()?;
    serde_json::from_value(value.get("seenUnder")?.clone()).ok()
}
