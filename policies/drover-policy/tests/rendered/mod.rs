//! Documents with policies, and their mistakes as people see them.

use drover_model::{Binding, Policy};
use drover_policy::{Definitions, PolicyMistake, PolicySet};
use drover_spec::{Diagnostic, assemble, parse_file, render};

/// Returns the policies and bindings of one file, which must have no mistakes of form.
pub(crate) fn read(path: &str, text: &str) -> (Vec<Policy>, Vec<Binding>) {
    let file = parse_file(path, text.as_bytes());
    let repository = assemble([&file]);
    let mistakes: Vec<Diagnostic> = repository
        .broken
        .iter()
        .flat_map(|broken| broken.diagnostics.clone())
        .collect();
    assert_eq!(shown(&mistakes, text), "");
    let policies = repository
        .policies
        .into_values()
        .map(|located| located.value)
        .collect();
    let bindings = repository
        .bindings
        .into_values()
        .map(|located| located.value)
        .collect();
    (policies, bindings)
}

fn shown(diagnostics: &[Diagnostic], text: &str) -> String {
    render(diagnostics, &|_| Some(text.to_owned()), false)
}

/// Returns the mistakes of the policies and bindings of one file, as people see them.
pub(crate) fn mistakes_of(text: &str) -> String {
    let (policies, bindings) = read("policies/p.yaml", text);
    let repository = assemble([&parse_file("policies/p.yaml", text.as_bytes())]);
    let metrics = repository.metric_sources.values();
    let calendars = repository.calendars.values();
    let definitions = Definitions::new(
        metrics.map(|located| &located.value),
        calendars.map(|located| &located.value),
        false,
    );
    let (_, mistakes) = PolicySet::compile_with(&policies, &bindings, &[], definitions);
    let diagnostic = |mistake: PolicyMistake| {
        let diagnostic = Diagnostic::error("policy", mistake.message, mistake.span);
        match mistake.hint {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }
    };
    let diagnostics: Vec<Diagnostic> = mistakes.into_iter().map(diagnostic).collect();
    shown(&diagnostics, text)
}
