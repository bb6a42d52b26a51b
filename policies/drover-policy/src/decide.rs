//! Fills the table of decisions about one group: what each bound policy is asked, and how the answers of
//! several join.

#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "a method of a scope is bound to its lifetimes, and a question has shorter ones"
)]

use std::collections::BTreeMap;

use drover_model::{
    AnalysisDecision, AnalysisResult, BudgetDecision, DecisionPoint, Decisions, Enforcement,
    InstanceClass, Member, Outcome, PlaceDecision, Protection, Reason, SizeDecision, Timestamp,
    Verdict,
};

use crate::check::Clock;
use crate::definitions::Definitions;
use crate::evaluate::{self, Clause, Scope};
use crate::facts::GroupFacts;
use crate::limits::{REVIEW_COARSE_SECONDS, REVIEW_SECONDS};
use crate::meter::Budget;
use crate::policy::{CompiledPolicy, WAIT};
use crate::set::{Bound, roots};
use crate::value;
use crate::variables;

mod early;

#[cfg(test)]
mod tests;

use early::{Said, UNSURE_OF_HEALTH, UPDATING};

/// The reasons for which it matters who goes first.
const CHOOSING: [Reason; 4] = [
    Reason::ScaleIn,
    Reason::Update,
    Reason::Expiry,
    Reason::Rebalance,
];

/// Decides with every policy of `bound` but those about changes. Must run on a large stack.
pub(crate) fn decide<'a>(
    bound: &'a [&'a Bound],
    facts: GroupFacts<'a>,
    definitions: &'a Definitions,
) -> Decisions {
    let root = evaluate::context(&roots(bound), facts, None, definitions);
    let mut table = Table::new(facts);
    for bound in bound {
        match bound.ready() {
            Ok((policy, params)) => {
                table.clock = table.clock.max(policy.reads.clock);
                let mut scope = Scope::new(policy, params, &bound.binding, &root);
                table.ask(policy, &mut scope);
            }
            Err(why) => table.broken(bound, why),
        }
    }
    table.finish()
}

/// Decides with one policy, and returns what that took. Must run on a large stack.
pub(crate) fn measure(
    bound: &Bound,
    facts: GroupFacts<'_>,
    definitions: &Definitions,
) -> Result<(Decisions, Budget), String> {
    let (policy, params) = bound.ready()?;
    let root = evaluate::context(&roots(&[bound]), facts, None, definitions);
    let mut table = Table::new(facts);
    let mut scope = Scope::new(policy, params, &bound.binding, &root);
    table.ask(policy, &mut scope);
    let budget = scope.budget();
    Ok((table.finish(), budget))
}

/// Decides as though no policy could be asked.
pub(crate) fn decide_nothing(bound: &[&Bound], facts: GroupFacts<'_>, why: &str) -> Decisions {
    let mut table = Table::new(facts);
    for bound in bound {
        table.broken(bound, why);
    }
    table.finish()
}

/// Returns the reasons that a policy which is asked per reason is asked for. One that does not read the
/// reason means every one that may wait.
fn reasons_of(policy: &CompiledPolicy) -> Vec<Reason> {
    let reads = policy.reads.roots.contains("reason");
    let asked = |reason: &Reason| match reason {
        // What drifts is told apart by gates alone.
        Reason::Delete | Reason::Interruption | Reason::Drift => false,
        reason => reads || reason.is_voluntary(),
    };
    Reason::ALL.into_iter().filter(asked).collect()
}

/// Returns reasons with what counts as one of them where drift is not told apart.
fn with_drift(reasons: &[Reason]) -> Vec<Reason> {
    let drift = reasons.contains(&Reason::Update).then_some(Reason::Drift);
    reasons.iter().copied().chain(drift).collect()
}

/// Returns the sets of reasons that one answer is for.
fn questions(policy: &CompiledPolicy, reasons: &[Reason]) -> Vec<Vec<Reason>> {
    if policy.reads.roots.contains("reason") {
        reasons.iter().map(|reason| vec![*reason]).collect()
    } else {
        vec![reasons.to_vec()]
    }
}

/// The decisions on one group, being filled.
struct Table<'a> {
    facts: GroupFacts<'a>,
    clock: Clock,
    decisions: Decisions,
    said: Said,
}

impl<'a> Table<'a> {
    fn new(facts: GroupFacts<'a>) -> Self {
        Self {
            facts,
            clock: Clock::None,
            decisions: Decisions::default(),
            said: Said::default(),
        }
    }

    fn ask<'v>(&mut self, policy: &'v CompiledPolicy, scope: &mut Scope<'_, 'v>)
    where
        'a: 'v,
    {
        scope.common_variables();
        match policy.point {
            DecisionPoint::Size => {
                if let Some(decision) = scope.size(self.facts.group.spec.bounds) {
                    self.size(decision);
                }
            }
            DecisionPoint::Gate => {
                for reasons in questions(policy, &Reason::ALL) {
                    let verdicts = scope.ask(asked_for(&reasons), |scope| scope.rules());
                    self.gate(&reasons, verdicts);
                }
            }
            DecisionPoint::Budget => self.budget(policy, scope),
            DecisionPoint::Health => self.health(scope),
            DecisionPoint::Drift => self.drift(scope),
            DecisionPoint::Protect => self.protect(policy, scope),
            DecisionPoint::Heal => self.heal(scope),
            DecisionPoint::Victim => self.victim(policy, scope),
            DecisionPoint::Place => self.place(scope),
            DecisionPoint::Analysis => {
                if self.facts.recorded.rollout.is_some()
                    && let Some(answer) = scope.word()
                {
                    self.analysis(answer.map_err(|verdict| *verdict));
                }
            }
            DecisionPoint::Validate | DecisionPoint::Approve => {}
        }
    }

    fn gate(&mut self, reasons: &[Reason], verdicts: Vec<Verdict>) {
        for verdict in &verdicts {
            if verdict.outcome != Outcome::Passed {
                for reason in reasons {
                    let closed = self.decisions.gates.entry(*reason).or_default();
                    closed.push(verdict.clone());
                }
            }
        }
        self.decisions.trace.extend(verdicts);
    }

    /// Takes a size that a policy chose. Only `deny` is used; two of them contradict each other.
    fn size(&mut self, decision: SizeDecision) {
        let verdict = verdict_of(&decision);
        self.decisions.trace.push(verdict.clone());
        if verdict.enforcement != Enforcement::Deny {
            return;
        }
        let decision = match &self.decisions.size {
            None => decision,
            Some(other) => {
                let other = verdict_of(other);
                let why = format!(
                    "two policies decide the size: {} by binding {} and {} by binding {}",
                    other.policy, other.binding, verdict.policy, verdict.binding
                );
                SizeDecision::Failed(Verdict {
                    message: why.clone(),
                    outcome: Outcome::Error(why),
                    ..verdict.clone()
                })
            }
        };
        self.decisions.size = Some(decision);
    }

    /// The tightest budget wins. One that nobody knows lets nothing go.
    fn budget<'v>(&mut self, policy: &'v CompiledPolicy, scope: &mut Scope<'_, 'v>) {
        for reasons in questions(policy, &reasons_of(policy)) {
            let answer = scope.ask(asked_for(&reasons), |scope| scope.count("at once"));
            let (max, verdict) = match answer {
                None => continue,
                Some(Ok(answer)) => answer,
                Some(Err(verdict)) => {
                    self.gate(&with_drift(&reasons), vec![*verdict]);
                    continue;
                }
            };
            self.decisions.trace.push(verdict.clone());
            if verdict.enforcement != Enforcement::Deny {
                continue;
            }
            for reason in reasons {
                let budgets = &mut self.decisions.budgets;
                let tighter = budgets.get(&reason).is_none_or(|known| max < known.max);
                if tighter {
                    let verdict = verdict.clone();
                    budgets.insert(reason, BudgetDecision { max, verdict });
                }
            }
        }
    }

    fn protect<'v>(&mut self, policy: &'v CompiledPolicy, scope: &mut Scope<'_, 'v>)
    where
        'a: 'v,
    {
        let mut known = BTreeMap::new();
        let reasons = questions(policy, &reasons_of(policy));
        for member in self.members() {
            for reasons in &reasons {
                let mut question = asked_for(reasons);
                question.push(("instance", variables::instance(member, self.facts)));
                let found = scope.ask(question, |scope| scope.violation(&known));
                if let Some((clause, verdict)) = found {
                    self.keep(&mut known, clause, verdict, member, reasons);
                }
            }
        }
    }

    /// Notes that a clause keeps an instance in service.
    fn keep(
        &mut self,
        known: &mut BTreeMap<Clause, usize>,
        clause: Clause,
        verdict: Option<Verdict>,
        member: &Member,
        reasons: &[Reason],
    ) {
        if let Some(verdict) = verdict {
            self.decisions.trace.push(verdict.clone());
            known.insert(clause, self.decisions.protections.len());
            self.decisions.protections.push(Protection {
                verdict,
                instances: BTreeMap::new(),
            });
        }
        let entry = known.get(&clause).copied();
        if let Some(entry) = entry.and_then(|entry| self.decisions.protections.get_mut(entry)) {
            for reason in reasons {
                let instances = entry.instances.entry(*reason).or_default();
                instances.insert(member.id.clone());
            }
        }
    }

    /// Asks about each bad instance whether it is replaced.
    fn heal<'v>(&mut self, scope: &mut Scope<'_, 'v>)
    where
        'a: 'v,
    {
        let mut known = BTreeMap::new();
        let bad = self.members().filter(|member| is_bad(member));
        for member in bad.collect::<Vec<_>>() {
            let question = vec![("instance", variables::instance(member, self.facts))];
            let waits = match scope.ask(question, |scope| scope.word()) {
                None => continue,
                Some(Ok((word, _))) if word != WAIT => continue,
                Some(Ok((_, verdict))) => Verdict {
                    outcome: Outcome::Failed,
                    message: "it is to wait".to_owned(),
                    ..verdict
                },
                Some(Err(verdict)) => *verdict,
            };
            let clause = Clause::of_value(waits.outcome != Outcome::Failed);
            let verdict = (!known.contains_key(&clause)).then_some(waits);
            self.keep(&mut known, clause, verdict, member, &[Reason::Heal]);
        }
    }

    /// The scores of several policies add up. Where one is not known, nobody can be chosen.
    fn victim<'v>(&mut self, policy: &'v CompiledPolicy, scope: &mut Scope<'_, 'v>)
    where
        'a: 'v,
    {
        for reasons in questions(policy, &CHOOSING) {
            let mut told = false;
            for member in self.members() {
                let mut question = asked_for(&reasons);
                question.push(("instance", variables::instance(member, self.facts)));
                let (score, verdict) = match scope.ask(question, |scope| scope.score()) {
                    None => continue,
                    Some(Ok(answer)) => answer,
                    Some(Err(verdict)) => {
                        self.gate(&with_drift(&reasons), vec![*verdict]);
                        break;
                    }
                };
                let used = verdict.enforcement == Enforcement::Deny;
                if !told {
                    self.decisions.trace.push(verdict);
                    told = true;
                }
                for reason in reasons.iter().filter(|_| used && score != 0.0) {
                    let scores = self.decisions.victims.entry(*reason).or_default();
                    *scores.entry(member.id.clone()).or_default() += score;
                }
            }
        }
    }

    /// The scores of several policies add up; one that is negative, or not known, forbids the zone.
    fn place<'v>(&mut self, scope: &mut Scope<'_, 'v>)
    where
        'a: 'v,
    {
        for zone in &self.facts.group.spec.placement.zones {
            let question = vec![("zone", value::text(zone))];
            let decision = match scope.ask(question, |scope| scope.score()) {
                None => continue,
                Some(Ok((score, verdict))) if score < 0.0 => PlaceDecision::Forbidden(Verdict {
                    outcome: Outcome::Failed,
                    message: format!("zone {zone} has a score of {score}"),
                    ..verdict
                }),
                Some(Ok((score, verdict))) => {
                    self.decisions.trace.push(Verdict {
                        message: format!("zone {zone} has a score of {score}"),
                        ..verdict.clone()
                    });
                    if verdict.enforcement != Enforcement::Deny {
                        continue;
                    }
                    PlaceDecision::Score(score)
                }
                Some(Err(verdict)) => PlaceDecision::Forbidden(*verdict),
            };
            if let PlaceDecision::Forbidden(verdict) = &decision {
                self.decisions.trace.push(verdict.clone());
            }
            self.place_in(zone, decision);
        }
    }

    fn place_in(&mut self, zone: &str, decision: PlaceDecision) {
        let places = &mut self.decisions.places;
        let known = places.remove(zone);
        let joined = match (known, decision) {
            // What only warns forbids nothing.
            (known, PlaceDecision::Forbidden(verdict)) if !verdict.withholds() => known,
            (Some(PlaceDecision::Forbidden(first)), _) => Some(PlaceDecision::Forbidden(first)),
            (Some(PlaceDecision::Score(one)), PlaceDecision::Score(other)) => {
                Some(PlaceDecision::Score(one + other))
            }
            (_, decision) => Some(decision),
        };
        if let Some(joined) = joined {
            places.insert(zone.to_owned(), joined);
        }
    }

    /// The least favourable analysis counts. One that is not known does not let the rollout go on.
    fn analysis(&mut self, answer: Result<(&'static str, Verdict), Verdict>) {
        let (result, verdict) = match answer {
            Ok((word, verdict)) => {
                let results = AnalysisResult::ALL.into_iter();
                let mut result = results.filter(|result| result.as_str() == word);
                let result = result.next().unwrap_or(AnalysisResult::Inconclusive);
                let outcome = match result {
                    AnalysisResult::Pass => Outcome::Passed,
                    AnalysisResult::Inconclusive | AnalysisResult::Fail => Outcome::Failed,
                };
                (result, Verdict { outcome, ..verdict })
            }
            Err(verdict) => (AnalysisResult::Inconclusive, verdict),
        };
        self.decisions.trace.push(verdict.clone());
        if verdict.enforcement != Enforcement::Deny {
            return;
        }
        let known = &mut self.decisions.analysis;
        if known.as_ref().is_none_or(|known| known.result < result) {
            *known = Some(AnalysisDecision { result, verdict });
        }
    }

    /// Nobody knows what the policy would have decided: whatever it takes part in is withheld.
    fn broken(&mut self, bound: &Bound, why: &str) {
        let error = |point| bound.error(point, why);
        match bound.point() {
            Some(DecisionPoint::Size) => {
                self.size(SizeDecision::Failed(error(DecisionPoint::Size)));
            }
            Some(DecisionPoint::Gate) | None => {
                self.gate(&Reason::ALL, vec![error(DecisionPoint::Gate)]);
            }
            // Which reasons it is about can only be guessed, but what heals is none by default.
            Some(point @ (DecisionPoint::Budget | DecisionPoint::Protect)) => {
                let voluntary: Vec<Reason> = Reason::voluntary().into_iter().collect();
                self.gate(&voluntary, vec![error(point)]);
            }
            Some(point @ DecisionPoint::Victim) => {
                self.gate(&with_drift(&CHOOSING), vec![error(point)]);
            }
            Some(point @ DecisionPoint::Health) => {
                self.gate(&UNSURE_OF_HEALTH, vec![error(point)]);
            }
            Some(point @ DecisionPoint::Drift) => {
                self.gate(&UPDATING, vec![error(point)]);
            }
            Some(point @ DecisionPoint::Heal) => self.gate(&[Reason::Heal], vec![error(point)]),
            Some(point @ DecisionPoint::Place) => {
                for zone in &self.facts.group.spec.placement.zones {
                    self.place_in(zone, PlaceDecision::Forbidden(error(point)));
                }
                self.decisions.trace.push(error(point));
            }
            Some(point @ DecisionPoint::Analysis) => {
                if self.facts.recorded.rollout.is_some() {
                    self.analysis(Err(error(point)));
                }
            }
            Some(DecisionPoint::Validate | DecisionPoint::Approve) => {}
        }
    }

    fn members(&self) -> impl Iterator<Item = &'a Member> + use<'a> {
        let classified = self.facts.classified;
        classified
            .into_iter()
            .flat_map(|classified| classified.members.values())
    }

    fn finish(mut self) -> Decisions {
        self.settle();
        self.decisions.review_at = match self.clock {
            Clock::None => None,
            Clock::Coarse => next_multiple(self.facts.now, REVIEW_COARSE_SECONDS),
            Clock::Fine => next_multiple(self.facts.now, REVIEW_SECONDS),
        };
        self.decisions
    }
}

/// Returns the variables of a question for `reasons`: those of several do not read which it is.
fn asked_for<'v>(reasons: &[Reason]) -> Vec<(&'static str, value::Boxed<'v>)> {
    match reasons {
        [reason] => vec![("reason", value::text(reason.as_str()))],
        _ => Vec::new(),
    }
}

/// Returns whether an instance is one that healing replaces.
fn is_bad(member: &Member) -> bool {
    matches!(
        member.class,
        InstanceClass::Exited(_) | InstanceClass::Unhealthy { .. } | InstanceClass::Lost { .. }
    )
}

fn verdict_of(decision: &SizeDecision) -> &Verdict {
    match decision {
        SizeDecision::Chosen { verdict, .. } | SizeDecision::Failed(verdict) => verdict,
    }
}

/// Returns the next time after `now` that is a multiple of `seconds`.
fn next_multiple(now: Timestamp, seconds: i64) -> Option<Timestamp> {
    let next = (now.as_second().div_euclid(seconds) + 1) * seconds;
    Timestamp::from_second(next).ok()
}
