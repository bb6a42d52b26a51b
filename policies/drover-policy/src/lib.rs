//! CEL policies of drover: compile, check, bind facts, evaluate to typed decisions.
//!
//! It does not know documents' format (`drover-spec` reads them), the planner, files, clocks or any
//! runtime: the time is part of the facts. Nothing of the CEL implementation shows in this interface.
//!
//! Entry points: [`PolicySet::compile_with`], then [`PolicySet::decide`] and [`PolicySet::validate`] per
//! group and pass, and [`PolicySet::run_tests`] for the policies' own test tables.
//!
//! **Invariant:** a decision fails closed. An error, a missing value, a panic, an exhausted budget, a
//! policy with mistakes and a binding that names nothing all become a verdict that withholds at
//! `deny`, and says which clause, where, and with which values.
//!
//! **Invariant:** the same facts give the same decisions, byte for byte.
//!
//! **Invariant:** the source of an expression, whatever it is, cannot end the process, nor take more
//! time and memory than the limits allow: size, nesting and literals are bounded when it is loaded,
//! loops and growing values by a budget when it is evaluated.

mod bench;
mod cases;
mod check;
mod coverage;
mod decide;
mod definitions;
mod eval;
mod evaluate;
mod explain;
mod explanation;
mod expression;
mod facts;
mod functions;
mod given;
mod guard;
mod guards;
pub mod language;
mod library;
mod limits;
mod meter;
mod params;
mod parse;
mod policy;
mod reference;
mod set;
mod stack;
mod trace;
mod types;
mod value;
mod variables;

#[cfg(test)]
mod testing;

pub use bench::Measured;
pub use cases::{TestOutcome, TestResult};
pub use coverage::{ClauseCoverage, ClauseKind, Coverage};
pub use definitions::Definitions;
pub use eval::{EvalError, Evaluated, evaluate};
pub use explanation::{ExplainedExpression, ExplainedPart, Explanation};
pub use facts::*;
pub use given::{Given, Question};
pub use library::LIBRARY;
pub use policy::PolicyMistake;
pub use reference::{FieldReference, Reference, VariableReference, reference};
pub use set::PolicySet;
