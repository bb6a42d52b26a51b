//! A few of the mutated expressions that the example `fuzz-expressions` evaluates a million of.

#[path = "../examples/fuzz-expressions/mutate.rs"]
mod mutate;

use std::time::{Duration, Instant};

use drover_model::{
    DecisionPoint, Policy, PolicyBody, PolicyName, PolicyRule, SourceSpan, SourceText,
};
use drover_policy::language::{Checking, Fault, Surroundings, evaluate};
use drover_policy::{Definitions, PolicySet};

/// Generous: a debug build on a busy machine.
const BOUNDED: Duration = Duration::from_secs(20);

#[test]
#[expect(clippy::disallowed_methods, reason = "the test is about time")]
fn mutated_expressions_neither_panic_nor_take_long() {
    let corpus = mutate::corpus();
    let values = mutate::values();
    let mut evaluated = 0;
    for number in 0..1_000 {
        let source = mutate::mutated(&corpus, 7, number);
        for checking in [Checking::Strict, Checking::None] {
            let began = Instant::now();
            let surroundings = Surroundings {
                container: "",
                values: &values,
                checking,
            };
            let result = evaluate(&source, surroundings);
            let took = began.elapsed();
            assert!(
                !matches!(result, Err(Fault::Panicked(_))),
                "{number}: {source}: {result:?}"
            );
            assert!(took < BOUNDED, "{number}: {source}: {took:?}");
            evaluated += usize::from(result.is_ok());
        }
    }
    // Otherwise they would say little about evaluation.
    assert!(evaluated > 100, "{evaluated} had a value");
}

/// A gate with one rule.
fn gate(rule: &str) -> Policy {
    Policy {
        name: PolicyName::parse("fuzzed").expect("a DNS label"),
        span: SourceSpan::start_of("policy.yaml"),
        point: DecisionPoint::Gate,
        matches: Vec::new(),
        params: std::collections::BTreeMap::new(),
        variables: Vec::new(),
        body: PolicyBody::Rules(vec![PolicyRule {
            expression: SourceText::inline(rule),
            message: "the rule".to_owned(),
        }]),
        tests: Vec::new(),
        digest: String::new(),
    }
}

#[test]
fn mutated_expressions_are_followed_as_they_are_evaluated() {
    let corpus = mutate::corpus();
    let mut valid = 0;
    for number in 0..400 {
        let source = mutate::mutated(&corpus, 11, number);
        // Where nothing is read, a condition that reads something.
        let policy = gate(&format!("now > now || size([{source}]) == 1"));
        let (_, mistakes) = PolicySet::compile(std::slice::from_ref(&policy), &[], &[]);
        let (set, same) = PolicySet::compile_traced(&[policy], &[], Definitions::default());
        assert_eq!(mistakes, same, "{number}: {source}");
        let (_, coverages) = set.run_tests_covered();
        for clause in coverages.iter().flat_map(|coverage| &coverage.clauses) {
            assert!(!clause.text.is_empty(), "{number}: {source}");
            valid += 1;
        }
    }
    assert!(valid > 50, "{valid} clauses");
}
