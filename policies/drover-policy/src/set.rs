//! The policies and bindings in force, and the decisions they make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_model::{
    ApprovalRule, Binding, BindingName, Change, DecisionPoint, Decisions, Enforcement, Metric,
    MetricName, Outcome, Policy, PolicyName, SourceSpan, Value, Verdict,
};

use crate::decide;
use crate::definitions::{Definitions, Named};
use crate::evaluate::{self, Scope};
use crate::facts::GroupFacts;
use crate::meter::Budget;
use crate::params;
use crate::policy::{self, CompiledPolicy, PolicyMistake, Tracing};
use crate::stack::{Failure, on_large_stack};
use crate::types::closest;

#[cfg(test)]
mod tests;

/// The policies and bindings in force, compiled.
#[derive(Debug, Default)]
pub struct PolicySet {
    pub(crate) policies: BTreeMap<PolicyName, Arc<CompiledPolicy>>,
    bindings: Vec<Bound>,
    pub(crate) definitions: Definitions,
}

/// A binding, joined with its policy.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) binding: Binding,
    state: State,
}

#[derive(Debug)]
enum State {
    Ready {
        policy: Arc<CompiledPolicy>,
        params: BTreeMap<String, Value>,
    },
    /// It cannot decide: what it is bound to is held.
    Broken(Broken),
}

#[derive(Debug, Clone)]
struct Broken {
    /// The decision that it takes part in. None: not known, so all.
    point: Option<DecisionPoint>,
    why: String,
    span: SourceSpan,
    digest: String,
}

impl Bound {
    pub(crate) fn point(&self) -> Option<DecisionPoint> {
        match &self.state {
            State::Ready { policy, .. } => Some(policy.point),
            State::Broken(broken) => broken.point,
        }
    }

    /// Returns the policy with its parameters, or why it cannot be asked.
    pub(crate) fn ready(&self) -> Result<(&CompiledPolicy, &BTreeMap<String, Value>), &str> {
        match &self.state {
            State::Ready { policy, params } => Ok((policy, params)),
            State::Broken(broken) => Err(&broken.why),
        }
    }

    /// Returns the verdict of a binding that cannot be asked.
    pub(crate) fn error(&self, point: DecisionPoint, why: &str) -> Verdict {
        let (span, digest) = match &self.state {
            State::Ready { policy, .. } => (policy.span(), policy.digest.clone()),
            State::Broken(broken) => (broken.span.clone(), broken.digest.clone()),
        };
        Verdict {
            policy: self.binding.policy.clone(),
            binding: self.binding.name.clone(),
            point,
            enforcement: match self.binding.enforcement {
                // Nobody can approve it.
                Enforcement::RequireApproval if !is_about_changes(point) => Enforcement::Deny,
                level => level,
            },
            outcome: Outcome::Error(why.to_owned()),
            message: format!("could not be evaluated: {why}"),
            span,
            values: BTreeMap::new(),
            digest,
        }
    }
}

impl PolicySet {
    /// Compiles policies that name no metric and no calendar; see [`PolicySet::compile_with`].
    pub fn compile(
        policies: &[Policy],
        bindings: &[Binding],
        never_good: &[(PolicyName, String)],
    ) -> (Self, Vec<PolicyMistake>) {
        Self::compile_with(policies, bindings, never_good, Definitions::default())
    }

    /// Compiles policies and joins them with their bindings and with the metrics and calendars that they
    /// name.
    ///
    /// All mistakes are returned at once. A policy or binding with a mistake is part of the set all
    /// the same: what it is bound to is held, as it is for the policies in `never_good` (with the
    /// reason why), which could not even be read. A caller that has an older good version of a
    /// document puts that into `policies` instead.
    pub fn compile_with(
        policies: &[Policy],
        bindings: &[Binding],
        never_good: &[(PolicyName, String)],
        definitions: Definitions,
    ) -> (Self, Vec<PolicyMistake>) {
        let definitions = (definitions, Tracing::Off);
        Self::compile_on_stack(policies, bindings, never_good, definitions)
    }

    /// Compiles policies so that the parts of their expressions can be followed while they are
    /// evaluated, which takes some three times as long. They decide the same.
    pub fn compile_traced(
        policies: &[Policy],
        bindings: &[Binding],
        definitions: Definitions,
    ) -> (Self, Vec<PolicyMistake>) {
        Self::compile_on_stack(policies, bindings, &[], (definitions, Tracing::On))
    }

    fn compile_on_stack(
        policies: &[Policy],
        bindings: &[Binding],
        never_good: &[(PolicyName, String)],
        definitions: (Definitions, Tracing),
    ) -> (Self, Vec<PolicyMistake>) {
        let compile = || Self::compile_here(policies, bindings, never_good, definitions);
        match on_large_stack(compile) {
            Ok(compiled) => compiled,
            Err(failure) => Self::failed(policies, bindings, &failure),
        }
    }

    fn compile_here(
        policies: &[Policy],
        bindings: &[Binding],
        never_good: &[(PolicyName, String)],
        (definitions, tracing): (Definitions, Tracing),
    ) -> (Self, Vec<PolicyMistake>) {
        let mut set = Self {
            definitions,
            ..Self::default()
        };
        let mut mistakes = Vec::new();
        let mut broken: BTreeMap<PolicyName, (Option<DecisionPoint>, String)> = never_good
            .iter()
            .map(|(name, why)| (name.clone(), (None, why.clone())))
            .collect();
        for document in policies {
            let (compiled, found) = policy::compile(document, &set.definitions, tracing);
            if let Some(compiled) = compiled {
                broken.remove(&document.name);
                set.policies
                    .insert(document.name.clone(), Arc::new(compiled));
            } else {
                let first = found
                    .first()
                    .map_or("it has mistakes", |mistake| &mistake.message);
                let why = format!("the policy was never valid: {first}");
                broken.insert(document.name.clone(), (Some(document.point), why));
            }
            mistakes.extend(found);
        }
        for binding in bindings {
            let (bound, found) = set.join(binding, &broken);
            set.bindings.push(bound);
            mistakes.extend(found);
        }
        set.bindings
            .sort_by(|left, right| left.binding.name.cmp(&right.binding.name));
        mistakes.sort_by(|left, right| left.span.cmp(&right.span));
        (set, mistakes)
    }

    fn join(
        &self,
        binding: &Binding,
        broken: &BTreeMap<PolicyName, (Option<DecisionPoint>, String)>,
    ) -> (Bound, Vec<PolicyMistake>) {
        let broken_bound = |point, why: String, span: &SourceSpan| Bound {
            binding: binding.clone(),
            state: State::Broken(Broken {
                point,
                why,
                span: span.clone(),
                digest: binding.digest.clone(),
            }),
        };
        if let Some(policy) = self.policies.get(&binding.policy) {
            if let Some(mistake) = enforcement_mistake(binding, policy.point) {
                let why = format!("the binding was never valid: {}", mistake.message);
                let bound = broken_bound(Some(policy.point), why, &mistake.span);
                return (bound, vec![mistake]);
            }
            return match params::merged(policy, binding, &self.definitions) {
                Ok(params) => {
                    let state = State::Ready {
                        policy: Arc::clone(policy),
                        params,
                    };
                    let bound = Bound {
                        binding: binding.clone(),
                        state,
                    };
                    (bound, Vec::new())
                }
                Err(mistakes) => {
                    let first = &mistakes[0];
                    let why = format!("the binding was never valid: {}", first.message);
                    let bound = broken_bound(Some(policy.point), why, &first.span);
                    (bound, mistakes)
                }
            };
        }
        if let Some((point, why)) = broken.get(&binding.policy) {
            return (
                broken_bound(*point, why.clone(), &binding.policy_span),
                Vec::new(),
            );
        }
        let known = self
            .policies
            .keys()
            .chain(broken.keys())
            .map(PolicyName::as_str);
        let close = closest(binding.policy.as_str(), known);
        let message = format!("there is no policy {}", binding.policy);
        let mistake = PolicyMistake {
            policy: Some(binding.policy.clone()),
            binding: Some(binding.name.clone()),
            span: binding.policy_span.clone(),
            message: message.clone(),
            hint: close.map(|close| format!("did you mean `{close}`?")),
        };
        (
            broken_bound(None, message, &binding.policy_span),
            vec![mistake],
        )
    }

    /// The set when nothing could be compiled: everything bound is held.
    fn failed(
        policies: &[Policy],
        bindings: &[Binding],
        failure: &Failure,
    ) -> (Self, Vec<PolicyMistake>) {
        let why = failure.explain();
        let broken = policies
            .iter()
            .map(|policy| (policy.name.clone(), (Some(policy.point), why.clone())))
            .collect();
        let mut set = Self::default();
        for binding in bindings {
            let (bound, _) = set.join(binding, &broken);
            set.bindings.push(bound);
        }
        let mistakes = policies
            .iter()
            .map(|policy| PolicyMistake {
                policy: Some(policy.name.clone()),
                binding: None,
                span: policy.span.clone(),
                message: why.clone(),
                hint: None,
            })
            .collect();
        (set, mistakes)
    }

    /// Returns every binding with its policy.
    pub(crate) fn all_bound(&self) -> &[Bound] {
        &self.bindings
    }

    /// Returns a binding with its policy.
    pub(crate) fn bound(&self, name: &BindingName) -> Option<&Bound> {
        self.bindings
            .iter()
            .find(|bound| bound.binding.name == *name)
    }

    pub(crate) fn applicable<'s>(
        &'s self,
        labels: &'s BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'s Bound> {
        self.bindings
            .iter()
            .filter(|bound| bound.binding.selector.matches(labels))
    }

    /// Returns the digests of the policies and bindings that judge a group with `labels`, by name:
    /// `policy/<name>` and `binding/<name>`.
    pub fn digests_for(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut digests = BTreeMap::new();
        for bound in self.applicable(labels) {
            let binding = &bound.binding;
            digests.insert(format!("binding/{}", binding.name), binding.digest.clone());
            if let Some(policy) = self.policies.get(&binding.policy) {
                digests.insert(format!("policy/{}", policy.name), policy.digest.clone());
            }
            digests.extend(self.definitions_of(bound));
        }
        digests
    }

    /// Returns what a binding's policy is told by documents, as far as it matters for what it says.
    fn definitions_of(&self, bound: &Bound) -> BTreeMap<String, String> {
        let Ok((policy, params)) = bound.ready() else {
            return BTreeMap::new();
        };
        let binding = &bound.binding.name;
        let told = policy
            .names(params)
            .into_iter()
            .filter_map(|(named, name)| {
                let said = match named {
                    Named::Metric => {
                        let metric = self.definitions.metric(name)?;
                        let (query, max) = (&metric.query, metric.age_max.as_millis());
                        format!("{} {max}ms {}", query.source, query.query)
                    }
                    Named::Calendar => self.definitions.calendar(name)?.digest.clone(),
                };
                Some((
                    format!("binding/{binding}/{}/{name}", named.function()),
                    said,
                ))
            });
        told.collect()
    }

    /// Returns the metrics that bound policies name, by name. With `labels`, those of policies that judge a
    /// group which has them.
    pub fn metrics(
        &self,
        labels: Option<&BTreeMap<String, String>>,
    ) -> BTreeMap<&MetricName, &Metric> {
        let judges =
            |bound: &&Bound| labels.is_none_or(|labels| bound.binding.selector.matches(labels));
        let mut metrics = BTreeMap::new();
        for bound in self.bindings.iter().filter(judges) {
            let Ok((policy, params)) = bound.ready() else {
                continue;
            };
            for (named, name) in policy.names(params) {
                if named == Named::Metric
                    && let Some((name, metric)) = self.definitions.metric_named(name)
                {
                    metrics.insert(name, metric);
                }
            }
        }
        metrics
    }

    /// Returns whether a policy that judges a group with `labels` reads the variable `name`.
    pub fn is_read(&self, labels: &BTreeMap<String, String>, name: &str) -> bool {
        self.applicable(labels).any(|bound| {
            let policy = self.policies.get(&bound.binding.policy);
            policy.is_some_and(|policy| policy.reads.roots.contains(name))
        })
    }

    /// Returns whether a policy decides the size of a group with `labels`.
    pub fn has_size_policy(&self, labels: &BTreeMap<String, String>) -> bool {
        self.applicable(labels).any(|bound| {
            bound.point() == Some(DecisionPoint::Size)
                && bound.binding.enforcement == Enforcement::Deny
        })
    }

    /// Returns whether a policy decides about a group with `labels` before everything else; see
    /// [`PolicySet::decide_early`].
    pub fn asks_early(&self, labels: &BTreeMap<String, String>) -> bool {
        let mut points = self.applicable(labels).filter_map(Bound::point);
        points.any(is_early)
    }

    /// Decides what everything else rests on: [`Decisions::health`] and [`Decisions::drift`], and what is
    /// withheld because that could not be decided. Everything else stays empty.
    ///
    /// The facts are those of the instances as they are without these decisions, and
    /// [`GroupFacts::early`].
    pub fn decide_early(&self, facts: &GroupFacts<'_>) -> Decisions {
        self.decide_at(facts, is_early)
    }

    /// Decides everything about a group but its changes and what [`PolicySet::decide_early`] does:
    /// [`Decisions::violations`] stays empty, as a change is judged by [`PolicySet::validate`].
    ///
    /// What cannot be evaluated is an [`Outcome::Error`], which withholds at `deny` what it would have
    /// decided about: disruptions for a reason, of an instance, creations in a zone, the next stage of a
    /// rollout; the size stays.
    pub fn decide(&self, facts: &GroupFacts<'_>) -> Decisions {
        self.decide_at(facts, |point| !is_about_changes(point) && !is_early(point))
    }

    /// Decides with the policies of some points. Those of which nobody knows the point count to those of
    /// a pass, not to the early ones.
    fn decide_at(&self, facts: &GroupFacts<'_>, wanted: fn(DecisionPoint) -> bool) -> Decisions {
        let unknown = wanted(DecisionPoint::Gate);
        let bound: Vec<&Bound> = self
            .applicable(&facts.group.labels)
            .filter(|bound| bound.point().map_or(unknown, wanted))
            .collect();
        if bound.is_empty() {
            return Decisions::default();
        }
        on_large_stack(|| decide::decide(&bound, *facts, &self.definitions))
            .unwrap_or_else(|failure| decide::decide_nothing(&bound, *facts, &failure.explain()))
    }

    /// Returns who must approve what a binding's policy does not hold for.
    pub fn approvals(&self, binding: &BindingName) -> ApprovalRule {
        let bound = self.bound(binding);
        bound
            .map(|bound| bound.binding.approvals.clone())
            .unwrap_or_default()
    }

    /// Returns every rule of `validate` and `approve` that a change does not satisfy, or that cannot be
    /// evaluated, of all enforcement levels. Those of bindings that select the group by the labels in force count as those
    /// that select it by the new ones do; all of them are told the new ones.
    pub fn validate(&self, facts: &GroupFacts<'_>, change: &Change) -> Vec<Verdict> {
        let selects = |bound: &&Bound| {
            let selector = &bound.binding.selector;
            let before = facts.labels_before;
            selector.matches(&facts.group.labels)
                || before.is_some_and(|labels| selector.matches(labels))
        };
        let bound: Vec<&Bound> = self
            .bindings
            .iter()
            .filter(selects)
            .filter(|bound| bound.point().is_none_or(is_about_changes))
            .collect();
        if bound.is_empty() {
            return Vec::new();
        }
        on_large_stack(|| validate_here(&bound, *facts, change, &self.definitions)).unwrap_or_else(
            |failure| {
                let why = failure.explain();
                let error = |bound: &&Bound| bound.error(point_of_change(bound), &why);
                bound.iter().map(error).collect()
            },
        )
    }
}

/// Returns what is wrong with the level at which a policy is bound: people approve changes and nothing
/// else, and what asks for their approval denies nothing.
fn enforcement_mistake(binding: &Binding, point: DecisionPoint) -> Option<PolicyMistake> {
    let of_change = is_about_changes(point);
    let (message, hint) = match binding.enforcement {
        Enforcement::RequireApproval if !of_change => (
            format!(
                "a {} policy cannot require approval: people approve changes",
                point.as_str()
            ),
            "bind a `validate` or an `approve` policy so, or write `enforcement: deny`",
        ),
        Enforcement::Deny if point == DecisionPoint::Approve => (
            "an approve policy denies nothing".to_owned(),
            "write `enforcement: requireApproval`, or bind a `validate` policy",
        ),
        Enforcement::Audit
        | Enforcement::Warn
        | Enforcement::RequireApproval
        | Enforcement::Deny => return None,
    };
    Some(PolicyMistake {
        policy: Some(binding.policy.clone()),
        binding: Some(binding.name.clone()),
        span: binding.enforcement_span.clone(),
        message,
        hint: Some(hint.to_owned()),
    })
}

/// Returns the point at which a binding judges changes; that of all where nobody knows it.
fn point_of_change(bound: &Bound) -> DecisionPoint {
    bound.point().unwrap_or(DecisionPoint::Validate)
}

fn is_about_changes(point: DecisionPoint) -> bool {
    matches!(point, DecisionPoint::Validate | DecisionPoint::Approve)
}

/// Returns whether a decision is made before everything else.
fn is_early(point: DecisionPoint) -> bool {
    matches!(point, DecisionPoint::Health | DecisionPoint::Drift)
}

pub(crate) fn roots(bound: &[&Bound]) -> BTreeSet<&'static str> {
    bound
        .iter()
        .filter_map(|bound| match &bound.state {
            State::Ready { policy, .. } => Some(policy.reads.roots.iter().copied()),
            State::Broken(_) => None,
        })
        .flatten()
        .collect()
}

/// Judges a change by one policy, and returns what that took. Must run on a large stack.
pub(crate) fn measure_change(
    bound: &Bound,
    facts: GroupFacts<'_>,
    change: &Change,
    definitions: &Definitions,
) -> Result<(Vec<Verdict>, Budget), String> {
    let (policy, params) = bound.ready()?;
    let root = evaluate::context(&roots(&[bound]), facts, Some(change), definitions);
    let mut scope = Scope::new(policy, params, &bound.binding, &root);
    scope.variables(|_| true);
    let verdicts = scope.rules();
    Ok((verdicts, scope.budget()))
}

fn validate_here<'a>(
    bound: &'a [&'a Bound],
    facts: GroupFacts<'a>,
    change: &'a Change,
    definitions: &'a Definitions,
) -> Vec<Verdict> {
    let root = evaluate::context(&roots(bound), facts, Some(change), definitions);
    let mut violations = Vec::new();
    for bound in bound {
        match &bound.state {
            State::Ready { policy, params } => {
                let mut scope = Scope::new(policy, params, &bound.binding, &root);
                scope.variables(|_| true);
                violations.extend(scope.rules());
            }
            State::Broken(broken) => {
                violations.push(bound.error(point_of_change(bound), &broken.why));
            }
        }
    }
    violations.retain(|verdict| verdict.outcome != Outcome::Passed);
    violations
}
