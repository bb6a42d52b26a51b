//! What policies decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_model::{
    AnalysisDecision, AnalysisResult, BudgetDecision, DecisionPoint, Decisions, Drift,
    DriftDecision, Emptied, Enforcement, FieldClass, HealthOverride, HealthVerdict, InstanceId,
    Outcome, Peers, PlaceDecision, Protection, Reason, Recommendation, Share, SizeDecision,
    SourceSpan, Value, Verdict,
};

use super::{list_in, list_out, map_in, map_out};
use crate::formats::format_time;
use crate::record::RecordError;
use crate::record::decode::{digests, texts};
use crate::record::read::Reader;
use crate::record::write::{MapOf, Yaml};

#[cfg(test)]
mod tests;

pub(super) fn decisions_out(decisions: &Decisions) -> Yaml {
    let Decisions {
        size,
        health,
        drift,
        gates,
        budgets,
        protections,
        victims,
        places,
        analysis,
        violations,
        trace,
        review_at,
    } = decisions;
    let size = size.as_ref().map(|size| match size {
        SizeDecision::Chosen {
            size,
            asked,
            verdict,
        } => MapOf::new()
            .number("size", *size)
            .with("asked", Yaml::Literal(asked.to_string()))
            .with("verdict", verdict_out(verdict))
            .build(),
        SizeDecision::Failed(verdict) => MapOf::new().with("failed", verdict_out(verdict)).build(),
    });
    MapOf::new()
        .optional("size", size)
        .optional("health", some_in(health, override_out))
        .optional("drift", some_in(&drift.0, drift_out))
        .with(
            "gates",
            map_out(gates, |verdicts| list_out(verdicts, verdict_out)),
        )
        .optional("budgets", some_of(budgets, budget_out))
        .optional("protections", some_in(protections, protection_out))
        .optional(
            "victims",
            some_of(victims, |scores| map_out(scores, |score| score_out(*score))),
        )
        .optional("places", some_of(places, place_out))
        .optional("analysis", analysis.as_ref().map(analysis_out))
        .with("violations", list_out(violations, verdict_out))
        .with("trace", list_out(trace, verdict_out))
        .optional_text("reviewAt", review_at.map(format_time))
        .build()
}

/// Nothing is written where nothing is said.
fn some_of<K: ToString, V>(map: &BTreeMap<K, V>, out: impl Fn(&V) -> Yaml) -> Option<Yaml> {
    (!map.is_empty()).then(|| map_out(map, out))
}

/// Nothing is written where nothing is said.
fn some_in<V>(list: &[V], out: impl Fn(&V) -> Yaml) -> Option<Yaml> {
    (!list.is_empty()).then(|| list_out(list, out))
}

fn ids_out(ids: &BTreeSet<InstanceId>) -> Yaml {
    Yaml::List(ids.iter().map(Yaml::text).collect())
}

fn ids_in(reader: &Reader<'_>) -> Result<BTreeSet<InstanceId>, RecordError> {
    Ok(list_in(reader, Reader::parsed)?.into_iter().collect())
}

fn override_out(said: &HealthOverride) -> Yaml {
    let HealthOverride {
        health,
        verdict,
        instances,
    } = said;
    MapOf::new()
        .text("health", health.as_str())
        .with("verdict", verdict_out(verdict))
        .with("instances", ids_out(instances))
        .build()
}

fn override_in(reader: &Reader<'_>) -> Result<HealthOverride, RecordError> {
    reader.only(&["health", "verdict", "instances"])?;
    Ok(HealthOverride {
        health: reader
            .get("health")?
            .one_of(&HealthVerdict::ALL, HealthVerdict::as_str)?,
        verdict: verdict_in(&reader.get("verdict")?)?,
        instances: ids_in(&reader.get("instances")?)?,
    })
}

fn drift_out(decision: &DriftDecision) -> Yaml {
    let DriftDecision {
        from,
        to,
        class,
        verdict,
    } = decision;
    MapOf::new()
        .text("from", from)
        .text("to", to)
        .text("class", class.as_str())
        .with("verdict", verdict_out(verdict))
        .build()
}

fn drift_in(reader: &Reader<'_>) -> Result<DriftDecision, RecordError> {
    reader.only(&["from", "to", "class", "verdict"])?;
    Ok(DriftDecision {
        from: digests(&reader.get("from")?)?,
        to: digests(&reader.get("to")?)?,
        class: reader
            .get("class")?
            .one_of(&FieldClass::ALL, FieldClass::as_str)?,
        verdict: verdict_in(&reader.get("verdict")?)?,
    })
}

fn budget_out(budget: &BudgetDecision) -> Yaml {
    let BudgetDecision { max, verdict } = budget;
    MapOf::new()
        .number("max", *max)
        .with("verdict", verdict_out(verdict))
        .build()
}

fn protection_out(protection: &Protection) -> Yaml {
    let Protection { verdict, instances } = protection;
    MapOf::new()
        .with("verdict", verdict_out(verdict))
        .with("instances", map_out(instances, ids_out))
        .build()
}

fn score_out(score: f64) -> Yaml {
    Yaml::value(&Value::Float(score))
}

fn place_out(place: &PlaceDecision) -> Yaml {
    match place {
        PlaceDecision::Score(score) => MapOf::new().with("score", score_out(*score)),
        PlaceDecision::Forbidden(verdict) => MapOf::new().with("forbidden", verdict_out(verdict)),
    }
    .build()
}

fn analysis_out(analysis: &AnalysisDecision) -> Yaml {
    let AnalysisDecision { result, verdict } = analysis;
    MapOf::new()
        .text("result", result.as_str())
        .with("verdict", verdict_out(verdict))
        .build()
}

fn budget_in(reader: &Reader<'_>) -> Result<BudgetDecision, RecordError> {
    reader.only(&["max", "verdict"])?;
    Ok(BudgetDecision {
        max: reader.get("max")?.number()?,
        verdict: verdict_in(&reader.get("verdict")?)?,
    })
}

fn protection_in(reader: &Reader<'_>) -> Result<Protection, RecordError> {
    reader.only(&["verdict", "instances"])?;
    Ok(Protection {
        verdict: verdict_in(&reader.get("verdict")?)?,
        instances: reader.get("instances")?.map_of(reason_of, ids_in)?,
    })
}

fn place_in(reader: &Reader<'_>) -> Result<PlaceDecision, RecordError> {
    reader.only(&["score", "forbidden"])?;
    Ok(match reader.optional_with("forbidden", verdict_in)? {
        Some(verdict) => PlaceDecision::Forbidden(verdict),
        None => PlaceDecision::Score(reader.get("score")?.float()?),
    })
}

fn analysis_in(reader: &Reader<'_>) -> Result<AnalysisDecision, RecordError> {
    reader.only(&["result", "verdict"])?;
    Ok(AnalysisDecision {
        result: reader
            .get("result")?
            .one_of(&AnalysisResult::ALL, AnalysisResult::as_str)?,
        verdict: verdict_in(&reader.get("verdict")?)?,
    })
}

fn reason_of(key: &str) -> Option<Reason> {
    Reason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == key)
}

pub(super) fn decisions_in(reader: &Reader<'_>) -> Result<Decisions, RecordError> {
    reader.only(&[
        "size",
        "health",
        "drift",
        "gates",
        "budgets",
        "protections",
        "victims",
        "places",
        "analysis",
        "violations",
        "trace",
        "reviewAt",
    ])?;
    let size = |reader: &Reader<'_>| {
        reader.only(&["size", "asked", "verdict", "failed"])?;
        if let Some(verdict) = reader.optional_with("failed", verdict_in)? {
            return Ok(SizeDecision::Failed(verdict));
        }
        Ok(SizeDecision::Chosen {
            size: reader.get("size")?.number()?,
            asked: reader.get("asked")?.signed()?,
            verdict: verdict_in(&reader.get("verdict")?)?,
        })
    };
    let scores = |reader: &Reader<'_>| map_in(reader, Reader::float);
    let verdicts = |reader: &Reader<'_>| list_in(reader, verdict_in);
    Ok(Decisions {
        size: reader.optional_with("size", size)?,
        health: reader
            .optional_with("health", |list| list_in(list, override_in))?
            .unwrap_or_default(),
        drift: Drift(
            reader
                .optional_with("drift", |list| list_in(list, drift_in))?
                .unwrap_or_default(),
        ),
        gates: reader.get("gates")?.map_of(reason_of, verdicts)?,
        budgets: reader
            .optional_with("budgets", |map| map.map_of(reason_of, budget_in))?
            .unwrap_or_default(),
        protections: reader
            .optional_with("protections", |list| list_in(list, protection_in))?
            .unwrap_or_default(),
        victims: reader
            .optional_with("victims", |map| map.map_of(reason_of, scores))?
            .unwrap_or_default(),
        places: reader
            .optional_with("places", |map| {
                map.map_of(|zone| Some(zone.to_owned()), place_in)
            })?
            .unwrap_or_default(),
        analysis: reader.optional_with("analysis", analysis_in)?,
        violations: verdicts(&reader.get("violations")?)?,
        trace: verdicts(&reader.get("trace")?)?,
        review_at: reader.optional_with("reviewAt", Reader::time)?,
    })
}

fn verdict_out(verdict: &Verdict) -> Yaml {
    let Verdict {
        policy,
        binding,
        point,
        enforcement,
        outcome,
        message,
        span,
        values,
        digest,
    } = verdict;
    let (outcome, error) = match outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed => ("failed", None),
        Outcome::Error(why) => ("error", Some(why)),
    };
    let SourceSpan {
        file,
        line,
        column,
        length,
    } = span;
    let at = MapOf::new()
        .text("file", file)
        .number("line", *line)
        .number("column", *column)
        .number("length", *length);
    MapOf::new()
        .text("policy", policy)
        .text("binding", binding)
        .text("point", point.as_str())
        .text("enforcement", enforcement.as_str())
        .text("outcome", outcome)
        .optional_text("error", error)
        .text("message", message)
        .with("at", at.build())
        .with("values", map_out(values, Yaml::text))
        .text("digest", digest)
        .build()
}

fn verdict_in(reader: &Reader<'_>) -> Result<Verdict, RecordError> {
    reader.only(&[
        "policy",
        "binding",
        "point",
        "enforcement",
        "outcome",
        "error",
        "message",
        "at",
        "values",
        "digest",
    ])?;
    let outcome = reader.get("outcome")?;
    let at = reader.get("at")?;
    Ok(Verdict {
        policy: reader.get("policy")?.parsed()?,
        binding: reader.get("binding")?.parsed()?,
        point: reader
            .get("point")?
            .one_of(&DecisionPoint::ALL, DecisionPoint::as_str)?,
        enforcement: reader
            .get("enforcement")?
            .one_of(&Enforcement::ALL, Enforcement::as_str)?,
        outcome: match outcome.text()? {
            "passed" => Outcome::Passed,
            "failed" => Outcome::Failed,
            "error" => Outcome::Error(reader.get("error")?.string()?),
            other => return Err(outcome.error(format!("is no known word: {other}"))),
        },
        message: reader.get("message")?.string()?,
        span: SourceSpan {
            file: Arc::from(at.get("file")?.text()?),
            line: at.get("line")?.number()?,
            column: at.get("column")?.number()?,
            length: at.get("length")?.number()?,
        },
        values: texts(&reader.get("values")?)?,
        digest: reader.get("digest")?.string()?,
    })
}

pub(super) fn recommendation_out(recommendation: &Recommendation) -> Yaml {
    let Recommendation { since, least, most } = recommendation;
    MapOf::new()
        .text("since", &format_time(*since))
        .number("least", *least)
        .number("most", *most)
        .build()
}

pub(super) fn recommendation_in(reader: &Reader<'_>) -> Result<Recommendation, RecordError> {
    reader.only(&["since", "least", "most"])?;
    Ok(Recommendation {
        since: reader.get("since")?.time()?,
        least: reader.get("least")?.number()?,
        most: reader.get("most")?.number()?,
    })
}

/// Nothing is written where nothing is known.
pub(super) fn peers_out(peers: &Peers) -> Option<Yaml> {
    let Peers {
        converged,
        shares,
        emptied,
    } = peers;
    let names: Vec<Yaml> = converged.iter().map(Yaml::text).collect();
    let some = |list: Vec<Yaml>| (!list.is_empty()).then_some(Yaml::List(list));
    let known = !converged.is_empty() || !shares.is_empty() || emptied.is_some();
    let emptied =
        emptied.map(|Emptied { elsewhere }| MapOf::new().number("elsewhere", elsewhere).build());
    known.then(|| {
        MapOf::new()
            .optional("converged", some(names))
            .optional("shares", some(shares.iter().map(share_out).collect()))
            .optional("emptied", emptied)
            .build()
    })
}

fn share_out(share: &Share) -> Yaml {
    let Share {
        budget,
        reasons,
        max,
        room,
        taken_by,
    } = share;
    let reasons = reasons.iter().map(|reason| Yaml::text(reason.as_str()));
    MapOf::new()
        .text("budget", budget)
        .with("reasons", Yaml::List(reasons.collect()))
        .number("max", *max)
        .number("room", *room)
        .with(
            "takenBy",
            Yaml::List(taken_by.iter().map(Yaml::text).collect()),
        )
        .build()
}

fn share_in(reader: &Reader<'_>) -> Result<Share, RecordError> {
    reader.only(&["budget", "reasons", "max", "room", "takenBy"])?;
    let reason = |reader: &Reader<'_>| reader.one_of(&Reason::ALL, Reason::as_str);
    Ok(Share {
        budget: reader.get("budget")?.parsed()?,
        reasons: list_in(&reader.get("reasons")?, reason)?
            .into_iter()
            .collect(),
        max: reader.get("max")?.number()?,
        room: reader.get("room")?.number()?,
        taken_by: list_in(&reader.get("takenBy")?, Reader::parsed)?
            .into_iter()
            .collect(),
    })
}

pub(super) fn peers_in(reader: &Reader<'_>) -> Result<Peers, RecordError> {
    reader.only(&["converged", "shares", "emptied"])?;
    let emptied = |reader: &Reader<'_>| {
        reader.only(&["elsewhere"])?;
        Ok(Emptied {
            elsewhere: reader.get("elsewhere")?.number()?,
        })
    };
    let converged = reader.optional_with("converged", |list| list_in(list, Reader::parsed))?;
    let shares = reader.optional_with("shares", |list| list_in(list, share_in))?;
    Ok(Peers {
        converged: converged.unwrap_or_default().into_iter().collect(),
        shares: shares.unwrap_or_default(),
        emptied: reader.optional_with("emptied", emptied)?,
    })
}
