//! `drover policy test`: the policies' own test tables, and which clauses they cover.

use std::fmt::Write as _;

use drover_policy::{ClauseCoverage, Coverage};
use serde::Serialize;

use super::insist_on_valid;
use crate::check::{self, Checked};
use crate::cli::{Output, PolicyTestArgs};
use crate::commands::validate::from_path;
use crate::error::CommandResult;
use crate::exit::Exit;
use crate::output;
use crate::printable::printable;
use crate::table::Table;
use crate::ui::{Style, Ui};
use crate::view::{API_VERSION, counted, plural};

/// The results, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TestList {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<TestView>,
    coverage: Vec<CoverageView>,
}

/// A row of a policy's test table, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TestView {
    policy: String,
    test: String,
    passed: bool,
    message: Option<String>,
    file: String,
    line: u32,
}

/// What the tests of a policy cover, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CoverageView {
    policy: String,
    file: String,
    tests: usize,
    /// Outcomes of clauses: two of a boolean, one of anything else.
    total: usize,
    covered: usize,
    percent: usize,
    clauses: Vec<ClauseView>,
}

/// One clause of a policy, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClauseView {
    kind: &'static str,
    text: String,
    line: u32,
    column: u32,
    evaluated: u64,
    failed: u64,
    /// Absent of what is no boolean.
    #[serde(skip_serializing_if = "Option::is_none")]
    truths: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    falsehoods: Option<u64>,
    missing: Option<&'static str>,
}

/// Runs the command.
pub(super) fn run(args: &PolicyTestArgs, ui: Ui) -> CommandResult {
    let documents = from_path(&args.path)?;
    let checked = check::check_covered(&documents);
    insist_on_valid(&documents, &checked, ui)?;
    let views = tests(&checked);
    let coverage = &checked.coverage;
    let text = match args.output {
        Output::Json => output::json(&list(views, coverage))?,
        Output::Yaml => output::yaml(&list(views, coverage))?,
        Output::Name => views
            .iter()
            .map(|view| format!("{}/{}\n", view.policy, view.test))
            .collect(),
        Output::Markdown => test_table(&views).to_markdown(),
        Output::Text | Output::Wide => {
            let mut text = test_lines(&views, ui.out_color());
            if args.coverage || args.output == Output::Wide {
                text.push_str(&uncovered(coverage, ui.out_color()));
            }
            text
        }
    };
    ui.result(&text)?;
    let failed = checked.tests.len() - checked.passed();
    ui.message(&format!("{} passed, {failed} failed", checked.passed()));
    ui.message(&summary(coverage));
    let least = usize::from(args.min_coverage.unwrap_or(0));
    let below: Vec<&Coverage> = coverage
        .iter()
        .filter(|coverage| coverage.percent() < least)
        .collect();
    for coverage in &below {
        ui.message(&format!(
            "policy {} is covered to {} %, less than {least} %",
            coverage.policy,
            coverage.percent()
        ));
    }
    Ok(if failed == 0 && below.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// One line about all policies together.
fn summary(coverage: &[Coverage]) -> String {
    let total: usize = coverage.iter().map(Coverage::total).sum();
    let covered: usize = coverage.iter().map(Coverage::covered).sum();
    let policies = plural(coverage.len(), "policy", "policies");
    let whole = coverage.iter().filter(|it| it.percent() == 100).count();
    format!(
        "coverage {} %: {covered} of {} of clauses in {policies}, {whole} of them fully",
        covered * 100 / total.max(1),
        counted(total, "outcome")
    )
}

/// A line per policy, and one per clause that is missing something.
fn uncovered(coverage: &[Coverage], color: bool) -> String {
    let mut text = String::new();
    for policy in coverage {
        let percent = policy.percent();
        let style = if percent == 100 {
            Style::Green
        } else {
            Style::Yellow
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} {}: {} of {} by {}",
            style.paint(&format!("{percent:>3} %"), color),
            policy.policy,
            policy.covered(),
            counted(policy.total(), "outcome"),
            counted(policy.tests, "test")
        );
        for clause in &policy.clauses {
            if let Some(missing) = clause.missing() {
                let _ = writeln!(
                    text,
                    "      {}: {} {missing}: {}",
                    clause.span,
                    clause.kind.as_str(),
                    clause.text
                );
            }
        }
    }
    text
}

fn list(items: Vec<TestView>, coverage: &[Coverage]) -> TestList {
    TestList {
        api_version: API_VERSION,
        kind: "PolicyTestList",
        items,
        coverage: coverage.iter().map(coverage_view).collect(),
    }
}

fn coverage_view(coverage: &Coverage) -> CoverageView {
    let clause = |clause: &ClauseCoverage| ClauseView {
        kind: clause.kind.as_str(),
        text: clause.text.clone(),
        line: clause.span.line,
        column: clause.span.column,
        evaluated: clause.evaluated,
        failed: clause.failed,
        truths: clause.outcomes.map(|(truths, _)| truths),
        falsehoods: clause.outcomes.map(|(_, falsehoods)| falsehoods),
        missing: clause.missing(),
    };
    CoverageView {
        policy: coverage.policy.to_string(),
        file: coverage.span.file.to_string(),
        tests: coverage.tests,
        total: coverage.total(),
        covered: coverage.covered(),
        percent: coverage.percent(),
        clauses: coverage.clauses.iter().map(clause).collect(),
    }
}

fn tests(checked: &Checked) -> Vec<TestView> {
    let view = |test: &drover_policy::TestOutcome| TestView {
        policy: test.policy.to_string(),
        test: test.name.clone(),
        passed: check::failure(test).is_none(),
        message: check::failure(test),
        file: test.span.file.to_string(),
        line: test.span.line,
    };
    checked.tests.iter().map(view).collect()
}

fn test_table(views: &[TestView]) -> Table {
    let mut table = Table::new(&["POLICY", "TEST", "RESULT"]);
    for view in views {
        let result = view.message.clone().unwrap_or_else(|| "passed".to_owned());
        table.row(vec![view.policy.clone(), view.test.clone(), result]);
    }
    table
}

fn test_lines(views: &[TestView], color: bool) -> String {
    let line = |view: &TestView| match &view.message {
        None => format!(
            "{} {}/{}\n",
            Style::Green.paint("ok", color),
            view.policy,
            printable(&view.test)
        ),
        Some(message) => format!(
            "{} {}/{} ({}:{}): {}\n",
            Style::Red.paint("FAILED", color),
            view.policy,
            printable(&view.test),
            printable(&view.file),
            view.line,
            printable(message)
        ),
    };
    views.iter().map(line).collect()
}
