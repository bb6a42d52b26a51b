//! What policies decide in a random life.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    AnalysisDecision, AnalysisResult, BindingName, BudgetDecision, DecisionPoint, Decisions,
    Digests, Drift, DriftDecision, Enforcement, FieldClass, HealthOverride, HealthVerdict,
    InstanceId, Outcome, PlaceDecision, PolicyName, Protection, Reason, SizeDecision, SourceSpan,
    Verdict,
};

use super::Life;
use crate::random::Random;

/// The reasons that policies of a random life speak of.
const REASONS: [Reason; 5] = [
    Reason::Update,
    Reason::Heal,
    Reason::ScaleIn,
    Reason::Expiry,
    Reason::Rebalance,
];

impl Life {
    pub(super) fn gate(&mut self) {
        let reason = self
            .random
            .pick(&[Reason::Update, Reason::Heal, Reason::ScaleIn]);
        self.sim.decisions = if self.random.percent(50) {
            Decisions::default()
        } else {
            self.count("policy", "gate closed");
            closed(reason)
        };
    }

    /// A policy chooses the size, or no longer does.
    pub(super) fn size_policy(&mut self) {
        let size = self.random.below(13);
        self.sim.decisions.size = self.random.percent(70).then(|| SizeDecision::Chosen {
            size,
            asked: size.into(),
            verdict: hours(DecisionPoint::Size, Outcome::Passed),
        });
        if self.sim.decisions.size.is_some() {
            self.count("policy", "size chosen");
        }
    }

    /// Policies say more: whom they protect, how many may go, who goes first, where instances are made,
    /// how the rollout does. In half of the cases they say nothing any more.
    pub(super) fn policy_table(&mut self) {
        let decisions = &mut self.sim.decisions;
        decisions.budgets.clear();
        decisions.protections.clear();
        decisions.victims.clear();
        decisions.places.clear();
        decisions.analysis = None;
        decisions.health.clear();
        decisions.drift = Drift::default();
        if self.random.percent(50) {
            return;
        }
        let ids: Vec<InstanceId> = self.sim.recorded.instances.keys().cloned().collect();
        let random = &mut self.random;
        let some: BTreeSet<InstanceId> =
            ids.iter().filter(|_| random.percent(30)).cloned().collect();
        let decisions = &mut self.sim.decisions;
        let templates: Vec<Digests> = self.sim.recorded.templates.keys().cloned().collect();
        let what = match random.below(7) {
            0 => {
                let max = random.below(3);
                let verdict = hours(DecisionPoint::Budget, Outcome::Passed);
                let budget = BudgetDecision { max, verdict };
                decisions.budgets.insert(random.pick(&REASONS), budget);
                "budget"
            }
            1 => {
                decisions.protections.push(Protection {
                    verdict: hours(DecisionPoint::Protect, Outcome::Failed),
                    instances: BTreeMap::from([(random.pick(&REASONS), some)]),
                });
                "instances protected"
            }
            2 => {
                let scores = ids.into_iter().map(|id| (id, f64::from(random.below(4))));
                decisions.victims = BTreeMap::from([(Reason::ScaleIn, scores.collect())]);
                "victims chosen"
            }
            3 => {
                let forbidden = hours(DecisionPoint::Place, Outcome::Failed);
                let choices = [
                    PlaceDecision::Forbidden(forbidden),
                    PlaceDecision::Score(1.0),
                ];
                let zone = random.pick(&["a", "b", "c"]).to_owned();
                decisions.places.insert(zone, random.pick(&choices));
                "zone judged"
            }
            4 => {
                decisions.health.push(HealthOverride {
                    health: random.pick(&HealthVerdict::ALL),
                    verdict: hours(DecisionPoint::Health, Outcome::Passed),
                    instances: some,
                });
                "health chosen"
            }
            5 if !templates.is_empty() => {
                decisions.drift.0.extend(judged(random, &templates));
                "difference judged"
            }
            _ => {
                decisions.analysis = Some(AnalysisDecision {
                    result: random.pick(&AnalysisResult::ALL),
                    verdict: hours(DecisionPoint::Analysis, Outcome::Failed),
                });
                "rollout judged"
            }
        };
        self.count("policy", what);
    }
}

/// Returns what policies make of the difference between two templates, if they differ.
fn judged(random: &mut Random, templates: &[Digests]) -> Option<DriftDecision> {
    let (from, to) = (random.pick(templates), random.pick(templates));
    let needs = from.change_to(&to);
    let classes = FieldClass::ALL.into_iter();
    let more = classes.filter(|class| *class == FieldClass::Ignore || *class > needs);
    let more: Vec<FieldClass> = more.collect();
    (from != to).then(|| DriftDecision {
        from,
        to,
        class: random.pick(&more),
        verdict: hours(DecisionPoint::Drift, Outcome::Passed),
    })
}

/// Returns decisions that close the gate for one reason.
fn closed(reason: Reason) -> Decisions {
    let verdict = hours(DecisionPoint::Gate, Outcome::Failed);
    let mut decisions = Decisions::default();
    decisions.gates.insert(reason, vec![verdict]);
    decisions
}

fn hours(point: DecisionPoint, outcome: Outcome) -> Verdict {
    Verdict {
        policy: PolicyName::parse("hours").expect("a valid label"),
        binding: BindingName::parse("hours").expect("a valid label"),
        point,
        enforcement: Enforcement::Deny,
        outcome,
        message: "outside office hours".to_owned(),
        span: SourceSpan::start_of("policies/hours.yaml"),
        values: std::collections::BTreeMap::new(),
        digest: String::new(),
    }
}
