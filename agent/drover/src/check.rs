//! Everything that can be known to be wrong with a configuration repository before anything acts on
//! it: documents, references, policies with their tests, provider settings and properties.

use drover_loop::Asked;
use drover_model::{ErrorClass, Kind, ProviderDoc, ProviderName};
use drover_policy::{Coverage, PolicyMistake, TestOutcome, TestResult};
use drover_spec::{Diagnostic, Repository, Severity};

use crate::documents::Documents;
use crate::{providers, shipped};

/// The result of a check.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Every mistake, by place.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Every row of every test table.
    pub(crate) tests: Vec<TestOutcome>,
    /// What the test tables cover; empty unless asked for.
    pub(crate) coverage: Vec<Coverage>,
    /// The Provider documents of plugins that nobody was asked about, which is all that is known of them.
    pub(crate) unasked: Vec<ProviderName>,
}

impl Checked {
    fn count(&self, severity: Severity) -> usize {
        let of = |diagnostic: &&Diagnostic| diagnostic.severity == severity;
        self.diagnostics.iter().filter(of).count()
    }

    /// Returns how many errors there are.
    pub(crate) fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// Returns how many warnings there are.
    pub(crate) fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// Adds what was found elsewhere.
    pub(crate) fn add(&mut self, more: Vec<Diagnostic>) {
        self.diagnostics.extend(more);
        in_order(&mut self.diagnostics);
    }

    /// Returns how many tests passed.
    pub(crate) fn passed(&self) -> usize {
        self.tests
            .iter()
            .filter(|test| test.result == TestResult::Passed)
            .count()
    }

    /// Returns the mistakes in files with policies, other than failed tests.
    pub(crate) fn of_policies(&self, documents: &Documents) -> Vec<Diagnostic> {
        let has_policies = |file: &str| {
            documents.files.iter().any(|parsed| {
                let kinds = parsed.documents.iter().filter_map(|d| d.identity.as_ref());
                let policy =
                    |(kind, _): &(Kind, String)| matches!(kind, Kind::Policy | Kind::Binding);
                parsed.path == file && kinds.into_iter().any(policy)
            })
        };
        self.diagnostics
            .iter()
            .filter(|d| d.is_error() && d.code != TEST_FAILED && has_policies(&d.span.file))
            .cloned()
            .collect()
    }
}

const TEST_FAILED: &str = "policy-test-failed";

/// Checks everything that is known without asking a plugin; of those that come with drover that is what they take.
pub(crate) fn check(documents: &Documents) -> Checked {
    check_asked(documents, None)
}

/// Checks everything, with what plugins say of themselves where they were asked.
pub(crate) fn check_asked(documents: &Documents, asked: Option<&Asked>) -> Checked {
    let (set, mistakes) = documents.compile_policies();
    let tests = set.run_tests();
    checked(documents, mistakes, tests, Vec::new(), asked)
}

/// Checks everything, and finds out which clauses the test tables cover.
pub(crate) fn check_covered(documents: &Documents) -> Checked {
    let (set, mistakes) = documents.compile_policies_traced();
    let (tests, coverage) = set.run_tests_covered();
    checked(documents, mistakes, tests, coverage, None)
}

fn checked(
    documents: &Documents,
    mistakes: Vec<PolicyMistake>,
    tests: Vec<TestOutcome>,
    coverage: Vec<Coverage>,
    asked: Option<&Asked>,
) -> Checked {
    let mut diagnostics = documents.diagnostics.clone();
    for mistake in mistakes {
        // A reference to nothing was found when the documents were joined.
        let known = diagnostics.iter().any(|known| known.span == mistake.span);
        if known {
            continue;
        }
        let mut diagnostic = Diagnostic::error("policy", mistake.message, mistake.span);
        diagnostic.hint = mistake.hint;
        diagnostics.push(diagnostic);
    }
    for test in &tests {
        if let Some(failure) = failure(test) {
            let message = format!(
                "test `{}` of policy {} failed: {failure}",
                test.name, test.policy
            );
            diagnostics.push(Diagnostic::error(TEST_FAILED, message, test.span.clone()));
        }
    }
    let registry = providers::registry();
    let repository = &documents.repository;
    let shipped = asked
        .is_none()
        .then(|| shipped::asked(repository, &registry));
    let said = asked.or(shipped.as_ref());
    let nobody = Asked::default();
    let said = said.unwrap_or(&nobody);
    diagnostics.extend(drover_loop::check_repository(repository, &registry, said));
    diagnostics.extend(silent(repository, said));
    if asked.is_none() {
        diagnostics.extend(shipped::misnamed(repository));
    }
    in_order(&mut diagnostics);
    Checked {
        diagnostics,
        tests,
        coverage,
        unasked: match asked {
            Some(_) => Vec::new(),
            None => of_plugins(repository)
                .map(|document| document.name.clone())
                .filter(|name| !said.described.contains_key(name))
                .collect(),
        },
    }
}

/// Sorts mistakes by place, each once.
fn in_order(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| (&a.span, a.code, &a.message).cmp(&(&b.span, b.code, &b.message)));
    diagnostics.dedup();
}

/// The documents of the type whose settings and properties a program of its own knows.
fn of_plugins(repository: &Repository) -> impl Iterator<Item = &ProviderDoc> {
    let documents = repository.providers.values().map(|located| &located.value);
    documents.filter(|document| document.type_.as_str() == "plugin")
}

/// Says which plugins were asked and said nothing: a warning, or an error where it refuses the document.
fn silent(repository: &Repository, asked: &Asked) -> Vec<Diagnostic> {
    let found = of_plugins(repository).filter_map(|document| {
        let error = asked.failed.get(&document.name)?;
        let span = document.setting_spans.get("plugin");
        let span = span.unwrap_or(&document.span).clone();
        Some(if error.class == ErrorClass::InvalidSpec {
            Diagnostic::error("provider-setting", error.message.clone(), span)
        } else {
            let message = format!("{}: what it takes is not checked", error.message);
            Diagnostic::warning("plugin-unreachable", message, span)
        })
    });
    found.collect()
}

/// Says how a test came out, if it is not as expected.
pub(crate) fn failure(test: &TestOutcome) -> Option<String> {
    match &test.result {
        TestResult::Passed => None,
        TestResult::Failed {
            expected,
            got,
            message,
            values,
            ..
        } => {
            let mut text = format!("expected {expected}, got {got}");
            if !message.is_empty() {
                text.push_str(&format!(": {message}"));
            }
            for (position, (name, value)) in values.iter().enumerate() {
                let joint = if position == 0 { "; with" } else { "," };
                text.push_str(&format!("{joint} {name} = {value}"));
            }
            Some(text)
        }
        TestResult::Invalid { message } => Some(message.clone()),
    }
}
