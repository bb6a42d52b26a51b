//! A file with policies and bindings: read, compiled, its tests run and their coverage counted. A set
//! that is traced decides what a plain one does.

#![no_main]

use drover_policy::{Definitions, Given, PolicySet};
use drover_spec::{Document, parse_file, parse_value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse_file("policies/fuzzed.yaml", bytes);
    let mut policies = Vec::new();
    let mut bindings = Vec::new();
    for document in parsed.documents {
        match document.outcome {
            Some(Document::Policy(policy)) => policies.push(*policy),
            Some(Document::Binding(binding)) => bindings.push(*binding),
            _ => {}
        }
    }
    if policies.is_empty() {
        return;
    }
    let (plain, mistakes) = PolicySet::compile(&policies, &bindings, &[]);
    let (traced, same) = PolicySet::compile_traced(&policies, &bindings, Definitions::default());
    assert_eq!(mistakes, same);
    let (outcomes, coverages) = traced.run_tests_covered();
    assert_eq!(plain.run_tests(), outcomes);
    let nothing =
        parse_value("given.yaml", "").unwrap_or_else(|_| unreachable!("an empty file is a value"));
    for coverage in coverages {
        assert!(coverage.covered() <= coverage.total());
        let given = Given::Values(&nothing);
        let _ = traced.explain(&coverage.policy, None, given);
    }
});
