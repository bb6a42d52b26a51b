//! Decisions of then and of now, question by question.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    DecisionPoint, Decisions, Enforcement, PlaceDecision, PolicyName, SizeDecision, Verdict,
};
use drover_policy::{GroupFacts, PolicySet};

use super::history::Recorded;

/// Answers by question, in words.
type Answers = BTreeMap<String, String>;

/// Returns the questions that `set` answers otherwise than was recorded: question, what was, what would
/// be. Only what the policies in `only` said counts; None: what all said.
pub(super) fn differences(
    set: &PolicySet,
    only: Option<&BTreeSet<PolicyName>>,
    recorded: &Recorded,
) -> Vec<(String, String, String)> {
    let facts = recorded
        .facts
        .group_facts(&recorded.source, &recorded.groups);
    let old = recorded.old.as_deref();
    let facts = GroupFacts {
        old: old.map(|group| &group.spec),
        labels_before: old.map(|group| &group.labels),
        ..facts
    };
    let decided = &recorded.facts.decisions;
    let scores = Scores {
        victims: is_whole(decided, DecisionPoint::Victim, only),
        places: is_whole(decided, DecisionPoint::Place, only),
    };
    let mut was = answers(decided, only, scores);
    let decides = set.decide(&facts).after(set.decide_early(&facts));
    let mut now = answers(&decides, only, scores);
    if let Some(change) = &recorded.change {
        let facts = GroupFacts {
            recorded: &recorded.before,
            ..facts
        };
        let verdicts = set.validate(&facts, change);
        let verdicts: Vec<&Verdict> = verdicts.iter().filter(|it| counts(it, only)).collect();
        was.insert("change".to_owned(), "accepted".to_owned());
        let text = match verdicts.as_slice() {
            [] => "accepted".to_owned(),
            verdicts => withheld("denied", "accepted", verdicts),
        };
        now.insert("change".to_owned(), text);
    }
    let questions: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    let answer = |answers: &Answers, question: &String| {
        let said = answers.get(question).cloned();
        said.unwrap_or_else(|| default_of(question).to_owned())
    };
    let all = questions.into_iter().map(|question| {
        let (was, now) = (answer(&was, question), answer(&now, question));
        (question.clone(), was, now)
    });
    all.filter(|(_, was, now)| was != now).collect()
}

/// What holds for a question that no policy answers.
fn default_of(question: &str) -> &'static str {
    match question.split(' ').next().unwrap_or_default() {
        "gate" => "open",
        "protect" => "may go",
        "victim" | "place" => "0",
        "budget" => "not limited",
        "analysis" => "pass",
        "health" => "as its signals say",
        "drift" => "as the provider says",
        "size" => "as written",
        _ => "accepted",
    }
}

fn counts(verdict: &Verdict, only: Option<&BTreeSet<PolicyName>>) -> bool {
    only.is_none_or(|only| only.contains(&verdict.policy))
}

/// Which scores can be compared.
#[derive(Clone, Copy)]
struct Scores {
    victims: bool,
    places: bool,
}

/// Returns whether the scores of a decision point are those of the policies in `only`: scores of several
/// are added up, and whose part is which is not recorded.
fn is_whole(
    decisions: &Decisions,
    point: DecisionPoint,
    only: Option<&BTreeSet<PolicyName>>,
) -> bool {
    let mut of_point = decisions
        .trace
        .iter()
        .filter(|verdict| verdict.point == point && verdict.enforcement == Enforcement::Deny);
    of_point.all(|verdict| counts(verdict, only))
}

fn answers(decisions: &Decisions, only: Option<&BTreeSet<PolicyName>>, scores: Scores) -> Answers {
    let counts = |verdict: &Verdict| counts(verdict, only);
    let mut answers = Answers::new();
    match &decisions.size {
        Some(SizeDecision::Chosen { size, verdict, .. }) if counts(verdict) => {
            answers.insert("size".to_owned(), size.to_string());
        }
        Some(SizeDecision::Failed(verdict)) if counts(verdict) => {
            let text = format!("stays, {}", verdict.message);
            answers.insert("size".to_owned(), text);
        }
        Some(_) | None => {}
    }
    for (reason, verdicts) in &decisions.gates {
        let verdicts: Vec<&Verdict> = verdicts.iter().filter(|it| counts(it)).collect();
        if !verdicts.is_empty() {
            let text = withheld("closed", "open", &verdicts);
            answers.insert(format!("gate {}", reason.as_str()), text);
        }
    }
    for (reason, budget) in &decisions.budgets {
        if counts(&budget.verdict) {
            let text = format!("{} at once", budget.max);
            answers.insert(format!("budget {}", reason.as_str()), text);
        }
    }
    early(decisions, only, &mut answers);
    instances(decisions, only, scores, &mut answers);
    for (zone, place) in &decisions.places {
        let text = match place {
            PlaceDecision::Score(score) if scores.places => score.to_string(),
            PlaceDecision::Forbidden(verdict) if counts(verdict) => {
                format!("forbidden by {}: {}", verdict.policy, verdict.message)
            }
            PlaceDecision::Score(_) | PlaceDecision::Forbidden(_) => continue,
        };
        answers.insert(format!("place {zone}"), text);
    }
    if let Some(analysis) = decisions.analysis.as_ref().filter(|it| counts(&it.verdict)) {
        answers.insert("analysis".to_owned(), analysis.result.as_str().to_owned());
    }
    answers
}

fn early(decisions: &Decisions, only: Option<&BTreeSet<PolicyName>>, answers: &mut Answers) {
    let said = decisions.health.iter();
    for said in said.filter(|said| counts(&said.verdict, only)) {
        for instance in &said.instances {
            let text = said.health.as_str().to_owned();
            answers.insert(format!("health {instance}"), text);
        }
    }
    let decided = decisions.drift.0.iter();
    for decision in decided.filter(|decision| counts(&decision.verdict, only)) {
        let (from, to) = (decision.from.short(), decision.to.short());
        let text = decision.class.as_str().to_owned();
        answers.insert(format!("drift {from} to {to}"), text);
    }
}

fn instances(
    decisions: &Decisions,
    only: Option<&BTreeSet<PolicyName>>,
    scores: Scores,
    answers: &mut Answers,
) {
    for protection in &decisions.protections {
        if !counts(&protection.verdict, only) {
            continue;
        }
        let text = withheld("stays", "may go", &[&protection.verdict]);
        for (reason, instances) in &protection.instances {
            for instance in instances {
                let question = format!("protect {instance} ({})", reason.as_str());
                answers
                    .entry(question)
                    .and_modify(|known| *known = format!("{known}; {text}"))
                    .or_insert_with(|| text.clone());
            }
        }
    }
    for (reason, of_instances) in decisions.victims.iter().filter(|_| scores.victims) {
        for (instance, score) in of_instances {
            let question = format!("victim {instance} ({})", reason.as_str());
            answers.insert(question, score.to_string());
        }
    }
}

/// Says who withholds something, or would if the binding were at `deny`.
fn withheld(when: &str, otherwise: &str, verdicts: &[&Verdict]) -> String {
    let said = |level: &dyn Fn(Enforcement) -> bool| {
        let mut said: Vec<String> = verdicts
            .iter()
            .filter(|verdict| level(verdict.enforcement))
            .map(|verdict| format!("{}: {}", verdict.policy, verdict.message))
            .collect();
        said.sort();
        said.dedup();
        said.join("; ")
    };
    let denied = said(&|level| level == Enforcement::Deny);
    if denied.is_empty() {
        let told = said(&|level| level != Enforcement::Deny);
        format!("{otherwise}, told by {told}")
    } else {
        format!("{when} by {denied}")
    }
}
