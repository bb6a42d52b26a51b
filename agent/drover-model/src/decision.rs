//! What policies decided for one group in one pass: a finite table, filled before planning.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::{
    BindingName, DecisionPoint, Drift, Enforcement, HealthOverride, InstanceId, PolicyName,
    SourceSpan, Timestamp,
};

/// Why an instance is taken out of service on purpose. The only names in policies, windows,
/// budgets and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Its template is outdated.
    Update,
    /// It is dead, failing or unreachable.
    Heal,
    /// The group shrinks.
    ScaleIn,
    /// It is too old.
    Expiry,
    /// Its zone has too many.
    Rebalance,
    /// The provider is about to take it.
    Interruption,
    /// The group is being removed.
    Delete,
    /// Something cheaper does.
    Cost,
    /// It left what the group had settled on, although nothing in Git and no policy changed since. Only gates tell it
    /// from [`Update`](Self::Update), which it is otherwise.
    Drift,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Update,
        Self::Heal,
        Self::ScaleIn,
        Self::Expiry,
        Self::Rebalance,
        Self::Interruption,
        Self::Delete,
        Self::Cost,
        Self::Drift,
    ];

    /// Returns whether a disruption for it may wait.
    pub fn is_voluntary(self) -> bool {
        match self {
            Self::Heal | Self::Interruption | Self::Delete => false,
            Self::Update
            | Self::ScaleIn
            | Self::Expiry
            | Self::Rebalance
            | Self::Cost
            | Self::Drift => true,
        }
    }

    /// Returns every voluntary reason: what windows and budgets mean when they name none.
    pub fn voluntary() -> BTreeSet<Self> {
        Self::ALL
            .into_iter()
            .filter(|it| it.is_voluntary())
            .collect()
    }

    /// Returns the name used in policies, documents and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Heal => "heal",
            Self::ScaleIn => "scaleIn",
            Self::Expiry => "expiry",
            Self::Rebalance => "rebalance",
            Self::Interruption => "interruption",
            Self::Delete => "delete",
            Self::Cost => "cost",
            Self::Drift => "drift",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The table of decisions that the planner works with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decisions {
    /// The size chosen by a policy. None: no size policy is bound.
    pub size: Option<SizeDecision>,
    /// Which instances have another health than the one that follows from their signals; of one that is
    /// named twice, the least favourable counts.
    pub health: Vec<HealthOverride>,
    /// What is done to instances of other templates, where that is not what the provider says.
    pub drift: Drift,
    /// For each reason, the clauses that withhold it now. A reason without an entry is open.
    pub gates: BTreeMap<Reason, Vec<Verdict>>,
    /// Most instances out of service at once, by reason: the tightest of all policies.
    pub budgets: BTreeMap<Reason, BudgetDecision>,
    /// What keeps single instances in service, clause by clause: `protect`, and `heal` for the reason
    /// `heal`.
    pub protections: Vec<Protection>,
    /// How gladly each instance is let go, by reason: higher goes first among equals. One without an
    /// entry has 0.
    pub victims: BTreeMap<Reason, BTreeMap<InstanceId, f64>>,
    /// What policies say about zones, by name. One without an entry has a score of 0.
    pub places: BTreeMap<String, PlaceDecision>,
    /// What policies say about the rollout in progress. None: nobody was asked.
    pub analysis: Option<AnalysisDecision>,
    /// Rules of `validate` that the change does not satisfy.
    pub violations: Vec<Verdict>,
    /// Everything that was decided, for the record and for `why`.
    pub trace: Vec<Verdict>,
    /// When a decision may turn out differently because time has passed. None: it depends on no clock.
    pub review_at: Option<Timestamp>,
}

/// The size that policy chose.
#[derive(Debug, Clone, PartialEq)]
pub enum SizeDecision {
    /// A value, already within the bounds.
    Chosen {
        /// The size.
        size: u32,
        /// What the policy said before the bounds.
        asked: i64,
        /// Who said so.
        verdict: Verdict,
    },
    /// The policy failed: the last target holds.
    Failed(Verdict),
}

/// Most instances out of service at once that a policy allows.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetDecision {
    /// How many, 0 for none.
    pub max: u32,
    /// Who said so.
    pub verdict: Verdict,
}

/// One clause that keeps instances in service.
#[derive(Debug, Clone, PartialEq)]
pub struct Protection {
    /// What it said, with the values that it read of the first of the instances.
    pub verdict: Verdict,
    /// The instances, by reason.
    pub instances: BTreeMap<Reason, BTreeSet<InstanceId>>,
}

/// What policies say about a zone.
#[derive(Debug, Clone, PartialEq)]
pub enum PlaceDecision {
    /// The higher, the better; never negative.
    Score(f64),
    /// Nothing may be made there now.
    Forbidden(Verdict),
}

/// What policies say about the rollout in progress: the least favourable of all.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisDecision {
    /// What comes of it.
    pub result: AnalysisResult,
    /// Who said so.
    pub verdict: Verdict,
}

/// How an analysis turns out, the least favourable last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnalysisResult {
    /// The rollout may go on.
    Pass,
    /// It is too early to say, or could not be evaluated: the rollout rests at its stage.
    Inconclusive,
    /// The new template is bad: the rollout fails.
    Fail,
}

impl AnalysisResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Pass, Self::Inconclusive, Self::Fail];

    /// Returns the word that policies use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

/// What one clause of one bound policy said.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The policy.
    pub policy: PolicyName,
    /// The binding that put it on the group.
    pub binding: BindingName,
    /// The decision point.
    pub point: DecisionPoint,
    /// What the verdict does.
    pub enforcement: Enforcement,
    /// What was decided.
    pub outcome: Outcome,
    /// The message for people.
    pub message: String,
    /// Where the clause stands.
    pub span: SourceSpan,
    /// The values that the clause read, as text, by name.
    pub values: BTreeMap<String, String>,
    /// The policy's digest.
    pub digest: String,
}

/// How a clause turned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The condition holds, or the value was used.
    Passed,
    /// The condition does not hold.
    Failed,
    /// The clause could not be evaluated: treated as the safe default, a hold.
    Error(String),
}

impl Verdict {
    /// Returns whether people must approve what the verdict speaks of: a failed or broken clause at
    /// `requireApproval`.
    pub fn needs_approval(&self) -> bool {
        self.enforcement == Enforcement::RequireApproval && self.outcome != Outcome::Passed
    }

    /// Returns whether the verdict withholds what it speaks of: a failed or broken clause at `deny`.
    pub fn withholds(&self) -> bool {
        self.enforcement == Enforcement::Deny && self.outcome != Outcome::Passed
    }
}

impl Decisions {
    /// Returns the verdict that withholds disruptions for `reason`, if any.
    pub fn closed_gate(&self, reason: Reason) -> Option<&Verdict> {
        self.gates
            .get(&reason)?
            .iter()
            .find(|verdict| verdict.withholds())
    }

    /// Returns the verdict that keeps an instance in service, if any.
    pub fn protector(&self, instance: &InstanceId, reason: Reason) -> Option<&Verdict> {
        let mut verdicts = self.protections.iter().filter(|protection| {
            let instances = protection.instances.get(&reason);
            instances.is_some_and(|instances| instances.contains(instance))
        });
        let found = verdicts.find(|protection| protection.verdict.withholds())?;
        Some(&found.verdict)
    }

    /// Returns how gladly an instance is let go: higher goes first among equals.
    pub fn victim_score(&self, instance: &InstanceId, reason: Reason) -> f64 {
        let scores = self.victims.get(&reason);
        let score = scores.and_then(|scores| scores.get(instance));
        score.copied().unwrap_or_default()
    }

    /// Returns these decisions with what was decided before them.
    pub fn after(mut self, early: Self) -> Self {
        let Self {
            health,
            drift,
            gates,
            protections,
            trace,
            review_at,
            ..
        } = early;
        self.health = health;
        self.drift = drift;
        for (reason, verdicts) in gates {
            self.gates.entry(reason).or_default().extend(verdicts);
        }
        self.protections.extend(protections);
        self.trace.splice(0..0, trace);
        self.review_at = [self.review_at, review_at].into_iter().flatten().min();
        self
    }

    /// Returns the first violation that withholds the change.
    pub fn denial(&self) -> Option<&Verdict> {
        self.violations.iter().find(|verdict| verdict.withholds())
    }
}
