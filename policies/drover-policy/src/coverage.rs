//! Which clauses of a policy its test table evaluates, and with which outcomes.

use drover_model::{PolicyName, SourceSpan};

use crate::cases::{self, TestOutcome};
use crate::expression::Expression;
use crate::policy::CompiledPolicy;
use crate::set::PolicySet;
use crate::stack::on_large_stack;
use crate::trace::{Key, Record, Role, recorded};
use crate::value::shorten;

#[cfg(test)]
mod tests;

/// Longest text of a clause in a report, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// What the test table of one policy covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// The policy.
    pub policy: PolicyName,
    /// Where it stands.
    pub span: SourceSpan,
    /// How many rows its table has.
    pub tests: usize,
    /// Its clauses in the order of the document.
    pub clauses: Vec<ClauseCoverage>,
}

/// What becomes of one clause in all rows together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClauseCoverage {
    /// Where it stands.
    pub span: SourceSpan,
    /// Its text, shortened.
    pub text: String,
    /// What it is.
    pub kind: ClauseKind,
    /// How often it was evaluated.
    pub evaluated: u64,
    /// How often it could not be evaluated to the end.
    pub failed: u64,
    /// How often it was true and how often false. None: it is no bool, or a literal.
    pub outcomes: Option<(u64, u64)>,
}

/// What a clause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClauseKind {
    /// A whole expression: a rule, a value, a variable, a condition of `match`.
    Expression,
    /// What `&&` or `||` joins.
    Operand,
    /// What `?:` asks.
    Condition,
    /// What `?:` chooses from.
    Branch,
    /// What a loop asks about each element.
    Predicate,
}

impl ClauseKind {
    /// Returns the kind as it is written in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expression => "expression",
            Self::Operand => "operand",
            Self::Condition => "condition",
            Self::Branch => "branch",
            Self::Predicate => "predicate",
        }
    }

    fn of(role: Role) -> Option<Self> {
        match role {
            Role::Whole => Some(Self::Expression),
            Role::Operand => Some(Self::Operand),
            Role::Condition => Some(Self::Condition),
            Role::Branch => Some(Self::Branch),
            Role::Predicate => Some(Self::Predicate),
            Role::Inner => None,
        }
    }
}

impl ClauseCoverage {
    /// Returns how many outcomes there are to be seen: two of a bool, one of anything else.
    pub fn total(&self) -> usize {
        if self.outcomes.is_some() { 2 } else { 1 }
    }

    /// Returns how many of them were seen.
    pub fn covered(&self) -> usize {
        match self.outcomes {
            Some((truths, falsehoods)) => usize::from(truths > 0) + usize::from(falsehoods > 0),
            None => usize::from(self.evaluated > 0),
        }
    }

    /// Returns what was not seen, in words; None where nothing is missing.
    pub fn missing(&self) -> Option<&'static str> {
        match self.outcomes {
            _ if self.evaluated == 0 => Some("never evaluated"),
            Some((0, 0)) => Some("never true or false"),
            Some((0, _)) => Some("never true"),
            Some((_, 0)) => Some("never false"),
            Some(_) | None => None,
        }
    }
}

impl Coverage {
    /// Returns how many outcomes of clauses there are to be seen.
    pub fn total(&self) -> usize {
        self.clauses.iter().map(ClauseCoverage::total).sum()
    }

    /// Returns how many of them were seen.
    pub fn covered(&self) -> usize {
        self.clauses.iter().map(ClauseCoverage::covered).sum()
    }

    /// Returns the share that was seen, in percent, rounded down: 100 means all.
    pub fn percent(&self) -> usize {
        self.covered() * 100 / self.total().max(1)
    }
}

impl PolicySet {
    /// Runs the test tables of all policies without mistakes, as [`PolicySet::run_tests`] does, and
    /// says what each of them covers. The set must be of [`PolicySet::compile_traced`]: without, no
    /// clauses are known.
    pub fn run_tests_covered(&self) -> (Vec<TestOutcome>, Vec<Coverage>) {
        let mut outcomes = Vec::new();
        let mut coverages = Vec::new();
        for policy in self.policies.values() {
            let run = || recorded(|| cases::run(policy, &self.definitions));
            let (found, record) = on_large_stack(run)
                .unwrap_or_else(|failure| (cases::failed(policy, &failure), Record::new()));
            outcomes.extend(found);
            coverages.push(coverage(policy, &record));
        }
        (outcomes, coverages)
    }
}

fn coverage(policy: &CompiledPolicy, record: &Record) -> Coverage {
    let mut clauses: Vec<ClauseCoverage> = policy
        .expressions()
        .flat_map(|expression| clauses(expression, record))
        .collect();
    // What begins at one place stays in the order of the outline: the whole before its parts.
    clauses.sort_by_key(|clause| (clause.span.line, clause.span.column));
    Coverage {
        policy: policy.name.clone(),
        span: policy.span(),
        tests: policy.tests.len(),
        clauses,
    }
}

fn clauses(expression: &Expression, record: &Record) -> Vec<ClauseCoverage> {
    let Some((number, outline)) = &expression.traced else {
        return Vec::new();
    };
    let text = &expression.source.text;
    let parts = outline.flat().into_iter();
    let clause = |part: &crate::trace::Part| {
        let kind = ClauseKind::of(part.role)?;
        let seen = record.get(&Key::new(*number, part.id));
        let seen = seen.cloned().unwrap_or_default();
        let range = part.range.clone();
        let span = expression.source.locate(range.start, range.len());
        Some(ClauseCoverage {
            span,
            text: shorten(&text[range], TEXT_CHARS_MAX),
            kind,
            evaluated: seen.entered,
            failed: seen.entered - seen.left,
            outcomes: part.boolean.then_some((seen.truths, seen.falsehoods)),
        })
    };
    parts.filter_map(clause).collect()
}
