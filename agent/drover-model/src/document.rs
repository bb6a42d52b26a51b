//! The other documents: policies, bindings and providers.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    BindingName, PolicyName, ProviderName, ProviderType, Signer, SourceSpan, SourceText, Value,
};

/// The kinds of document in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Defaults and limits of the whole repository.
    Fleet,
    /// A group of instances.
    Group,
    /// A CEL policy.
    Policy,
    /// Where a policy applies.
    Binding,
    /// A named provider configuration.
    Provider,
    /// Metrics that policies read.
    MetricSource,
    /// Days that policies know.
    Calendar,
}

impl Kind {
    /// Every kind, in the order of this enum.
    pub const ALL: [Self; 7] = [
        Self::Fleet,
        Self::Group,
        Self::Policy,
        Self::Binding,
        Self::Provider,
        Self::MetricSource,
        Self::Calendar,
    ];

    /// Returns the name used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fleet => "Fleet",
            Self::Group => "Group",
            Self::Policy => "Policy",
            Self::Binding => "Binding",
            Self::Provider => "Provider",
            Self::MetricSource => "MetricSource",
            Self::Calendar => "Calendar",
        }
    }
}

/// A Policy document: CEL for one decision point, not yet compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The name, which bindings refer to.
    pub name: PolicyName,
    /// Where `metadata.name` stands.
    pub span: SourceSpan,
    /// The decision that the policy takes part in.
    pub point: DecisionPoint,
    /// Conditions that must all hold for the policy to apply.
    pub matches: Vec<SourceText>,
    /// Parameters by name.
    pub params: BTreeMap<String, PolicyParam>,
    /// Named expressions, evaluated in order, usable as `variables.<name>`.
    pub variables: Vec<PolicyVariable>,
    /// What is decided.
    pub body: PolicyBody,
    /// The policy's own test table.
    pub tests: Vec<PolicyTest>,
    /// A digest of the document's text as written, in hexadecimal, for the record.
    pub digest: String,
}

/// A parameter of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyParam {
    /// Where its name stands.
    pub span: SourceSpan,
    /// Its value where a binding sets none. None: a binding must set it.
    pub default: Option<Value>,
    /// What values it may have. None: those of the default's type.
    pub schema: Option<ParamSchema>,
}

/// What values a parameter may have.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSchema {
    /// Its type.
    pub type_: ParamType,
    /// The type of a list's elements. What follows is about these where the parameter is a list.
    pub items: ParamType,
    /// What it is for, in a sentence.
    pub description: Option<String>,
    /// The smallest number.
    pub minimum: Option<f64>,
    /// The largest number.
    pub maximum: Option<f64>,
    /// The values that there are. Empty: any.
    pub values: Vec<Value>,
    /// A regular expression that a text must match somewhere.
    pub pattern: Option<String>,
    /// A form that a text must have.
    pub format: Option<ParamFormat>,
    /// The fewest elements of a list.
    pub items_min: Option<u32>,
    /// The most elements of a list.
    pub items_max: Option<u32>,
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamType {
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number with a fraction; a whole one is taken for it.
    Double,
    /// A text.
    String,
    /// A list.
    List,
    /// A map from texts to anything.
    Map,
    /// Anything.
    Any,
}

impl ParamType {
    /// Every type.
    pub const ALL: [Self; 7] = [
        Self::Bool,
        Self::Int,
        Self::Double,
        Self::String,
        Self::List,
        Self::Map,
        Self::Any,
    ];

    /// Returns the type as documents write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
            Self::List => "list",
            Self::Map => "map",
            Self::Any => "any",
        }
    }
}

/// A form that the text of a parameter must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamFormat {
    /// The name of a time zone, such as `Europe/Berlin`.
    Timezone,
    /// The times at which a window opens, such as `0 2 * * TUE`.
    Cron,
    /// A regular expression.
    Regex,
    /// A duration, such as `1h30m`.
    Duration,
    /// A time, such as `2026-01-05T12:00:00Z`.
    Timestamp,
}

impl ParamFormat {
    /// Every form.
    pub const ALL: [Self; 5] = [
        Self::Timezone,
        Self::Cron,
        Self::Regex,
        Self::Duration,
        Self::Timestamp,
    ];

    /// Returns the form as documents write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timezone => "timezone",
            Self::Cron => "cron",
            Self::Regex => "regex",
            Self::Duration => "duration",
            Self::Timestamp => "timestamp",
        }
    }
}

/// A named expression of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyVariable {
    /// The name after `variables.`.
    pub name: String,
    /// The expression.
    pub expression: SourceText,
}

/// What a policy decides.
#[derive(Debug, Clone, PartialEq)]
pub enum PolicyBody {
    /// Conditions that must hold, each with a message.
    Rules(Vec<PolicyRule>),
    /// One expression of the decision point's result type.
    Value(SourceText),
}

/// A condition that must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRule {
    /// The condition.
    pub expression: SourceText,
    /// What to tell people when it does not hold.
    pub message: String,
}

/// One row of a policy's test table.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyTest {
    /// The row's name.
    pub name: String,
    /// Variables by name; what is not given has the test defaults of the decision point.
    pub given: Value,
    /// The expected result: a boolean for rules, the value for values.
    pub expect: Value,
    /// Where the row stands.
    pub span: SourceSpan,
}

/// A decision that policies take part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DecisionPoint {
    /// Rules that a change must satisfy.
    Validate,
    /// Rules that a change must satisfy, or people must approve it.
    Approve,
    /// The number of instances, within the bounds.
    Size,
    /// Whether a disruption for a reason may begin now.
    Gate,
    /// Most instances out of service at once for a reason.
    Budget,
    /// Whether a running instance is healthy.
    Health,
    /// What is done to instances for a changed field of their template.
    Drift,
    /// Whether one instance may be taken out of service for a reason.
    Protect,
    /// Whether a bad instance is replaced.
    Heal,
    /// Which of otherwise equal instances goes first.
    Victim,
    /// How good a zone is for the next instance.
    Place,
    /// Whether the new template does well enough for its rollout to go on.
    Analysis,
}

impl DecisionPoint {
    /// Every point that this version knows.
    pub const ALL: [Self; 12] = [
        Self::Validate,
        Self::Approve,
        Self::Size,
        Self::Gate,
        Self::Budget,
        Self::Health,
        Self::Protect,
        Self::Heal,
        Self::Drift,
        Self::Victim,
        Self::Place,
        Self::Analysis,
    ];

    /// Returns the name used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Approve => "approve",
            Self::Size => "size",
            Self::Gate => "gate",
            Self::Budget => "budget",
            Self::Health => "health",
            Self::Drift => "drift",
            Self::Protect => "protect",
            Self::Heal => "heal",
            Self::Victim => "victim",
            Self::Place => "place",
            Self::Analysis => "analysis",
        }
    }

    /// Returns whether policies of this point are rules (else one value).
    pub fn takes_rules(self) -> bool {
        match self {
            Self::Validate | Self::Approve | Self::Gate | Self::Protect => true,
            Self::Size
            | Self::Budget
            | Self::Health
            | Self::Heal
            | Self::Drift
            | Self::Victim
            | Self::Place
            | Self::Analysis => false,
        }
    }
}

/// A Binding document: puts a policy on groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The name.
    pub name: BindingName,
    /// Where `metadata.name` stands.
    pub span: SourceSpan,
    /// The policy.
    pub policy: PolicyName,
    /// Where the policy's name is written.
    pub policy_span: SourceSpan,
    /// The groups.
    pub selector: Selector,
    /// Parameters over the policy's defaults.
    pub params: BTreeMap<String, Value>,
    /// Where each parameter is written, for one that the policy does not have.
    pub param_spans: BTreeMap<String, SourceSpan>,
    /// What a verdict does.
    pub enforcement: Enforcement,
    /// Where that is written.
    pub enforcement_span: SourceSpan,
    /// Who must approve what does not hold, for [`Enforcement::RequireApproval`].
    pub approvals: ApprovalRule,
    /// A digest of the document's text as written, in hexadecimal.
    pub digest: String,
}

/// How many people must approve a change, and who they may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRule {
    /// How many, at least 1.
    pub count: u32,
    /// The signers whose word counts. Empty: every signer of the agent's file.
    pub from: BTreeSet<Signer>,
}

impl Default for ApprovalRule {
    fn default() -> Self {
        Self {
            count: 1,
            from: BTreeSet::new(),
        }
    }
}

/// Selects groups by label: all pairs must match. An empty selector matches every group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Labels that must be present with these values.
    pub match_labels: BTreeMap<String, String>,
}

impl Selector {
    /// Returns whether `labels` satisfy the selector.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// What a policy's verdict does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Enforcement {
    /// Recorded only.
    Audit,
    /// Shown to people; nothing is withheld.
    Warn,
    /// Withheld until people have approved it: changes only.
    RequireApproval,
    /// Withheld (rules), or used (values).
    Deny,
}

impl Enforcement {
    /// Every level, the weakest first.
    pub const ALL: [Self; 4] = [Self::Audit, Self::Warn, Self::RequireApproval, Self::Deny];

    /// Returns the name used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::RequireApproval => "requireApproval",
            Self::Deny => "deny",
        }
    }
}

/// A Provider document: a named configuration of a provider type. Never holds secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderDoc {
    /// The name, which groups refer to.
    pub name: ProviderName,
    /// Where `metadata.name` stands.
    pub span: SourceSpan,
    /// What implements it.
    pub type_: ProviderType,
    /// Where the type is written.
    pub type_span: SourceSpan,
    /// Everything in `spec` beside `type`.
    pub settings: Value,
    /// Where each setting is written, by path (`seed`, `failures[0]`), for mistakes against the
    /// provider's schema. The empty path is `spec` as a whole.
    pub setting_spans: BTreeMap<String, SourceSpan>,
}
