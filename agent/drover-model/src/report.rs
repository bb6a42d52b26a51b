//! What a plan says of itself, and what its holds say of policies and failures.

use std::collections::BTreeMap;
use std::fmt;

use crate::{
    Held, PauseCause, PolicyName, Reason, SourceSpan, Timestamp, Verdict, counted, plural,
};

/// How a metric without a value is shown, before why it has none.
const NOT_OK: &str = "not ok: ";

/// What a plan says about itself beside its steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanReport {
    /// Why something that should be done is not done in this pass.
    pub holds: Vec<Held>,
    /// Numbers behind the decisions.
    pub numbers: Numbers,
    /// When time alone changes what is planned: [`Plan::wake_at`](crate::Plan::wake_at) without the looks at what providers
    /// and instances do meanwhile. None: never.
    pub timer_at: Option<Timestamp>,
    /// What the plan disturbs.
    pub disturbance: Disturbance,
}

/// What a group has out of service, as its plan leaves it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disturbance {
    /// How many instances the plan begins to take out of service, by reason; those that budgets do not
    /// count are left out.
    pub begun: BTreeMap<Reason, u32>,
    /// How many are on their way out, those of this plan counted, by reason where it is known.
    pub leaving: BTreeMap<Option<Reason>, u32>,
    /// How many instances are not available that should be.
    pub short: u32,
}

/// The numbers that a plan was made with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The size in force.
    pub size: u32,
    /// Instances of any kind, the terminating, the unconfirmed and the kept counted.
    pub total: u32,
    /// Instances that are kept for people to look at.
    pub kept: u32,
    /// Available instances.
    pub available: u32,
    /// Available instances of the target template.
    pub updated: u32,
    /// Instances of another template.
    pub outdated: u32,
    /// Instances that must stay available.
    pub floor: u32,
    /// Most instances at once, those that are kept counted.
    pub ceiling: u32,
    /// Instances of somebody else that are to be adopted: in no other number.
    pub strangers: u32,
}

/// A hold that a policy caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyHold {
    /// The policy.
    pub policy: PolicyName,
    /// The binding, as text.
    pub binding: String,
    /// Where the clause stands.
    pub span: SourceSpan,
    /// The message.
    pub message: String,
    /// The values that the clause read.
    pub values: BTreeMap<String, String>,
}

impl From<&Verdict> for PolicyHold {
    fn from(verdict: &Verdict) -> Self {
        Self {
            policy: verdict.policy.clone(),
            binding: verdict.binding.to_string(),
            span: verdict.span.clone(),
            message: verdict.message.clone(),
            values: verdict.values.clone(),
        }
    }
}

impl fmt::Display for PolicyHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "policy {} ({}): {}",
            self.policy, self.span, self.message
        )?;
        for (position, (name, value)) in self.values.iter().enumerate() {
            // The same words twice say no more than once: why a metric is not ok is in the message.
            let why = value.strip_prefix(NOT_OK);
            let is_told = why.is_some_and(|why| self.message.contains(why));
            let value = if is_told { "not ok" } else { value };
            write!(
                f,
                "{}{name} = {value}",
                if position == 0 { "; with " } else { ", " }
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for PauseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failures {
                failed,
                threshold,
                last,
            } => {
                write!(
                    f,
                    "{} of the new template failed, {} enough to stop",
                    counted(*failed, "instance"),
                    plural(*threshold, "is", "are")
                )?;
                last.as_ref()
                    .map_or(Ok(()), |last| write!(f, "; the latest: {last}"))
            }
            Self::Deadline => write!(
                f,
                "no instance became available within the progress deadline"
            ),
            Self::Rejected { message } => write!(f, "the provider refused the template: {message}"),
            Self::Analysis { message } => write!(f, "the new template is bad, says {message}"),
        }
    }
}
