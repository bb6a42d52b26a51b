//! A page for each policy of the library, made from the policy itself: purpose, parameters, clauses, a
//! binding, cases. `UPDATE_PAGES=1` writes the pages.

#![expect(
    clippy::unwrap_used,
    reason = "helpers outside of test functions; a panic is the failure"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use drover_model::{DecisionPoint, Policy, PolicyBody, Value};
use drover_policy::{Definitions, LIBRARY, PolicySet};
use drover_spec::{Repository, assemble, parse_file};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/library")
}

fn read(text: &str) -> Repository {
    let repository = assemble([&parse_file("library.yaml", text.as_bytes())]);
    assert!(repository.broken.is_empty(), "{:?}", repository.broken);
    repository
}

/// The one policy of a file of the library.
fn policy_of(text: &str) -> Policy {
    let (_, located) = read(text).policies.pop_first().unwrap();
    located.value
}

/// The comment at the head of a policy, with its examples as blocks.
fn purpose(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.starts_with('#'));
    let lines = lines.map(|line| line.trim_start_matches('#'));
    let mut page = String::new();
    let mut inside = false;
    for line in lines {
        let example = line.starts_with("   ");
        if example != inside {
            page.push_str(if example { "\n```yaml\n" } else { "```\n\n" });
            inside = example;
        }
        let line = line
            .strip_prefix(if example { "   " } else { " " })
            .unwrap_or(line);
        writeln!(page, "{line}").unwrap();
    }
    if inside {
        page.push_str("```\n");
    }
    page
}

/// The comment above a parameter, on one line.
fn about(text: &str, param: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let key = format!("    {param}:");
    let Some(at) = lines.iter().position(|line| line.starts_with(&key)) else {
        return String::new();
    };
    let above = lines[..at].iter().rev();
    let above = above.map_while(|line| line.strip_prefix("    # "));
    let mut comment: Vec<&str> = above.collect();
    comment.reverse();
    comment.join(" ")
}

/// A value in one line of YAML.
fn flow(value: &Value) -> String {
    let of_all = |items: Vec<String>| items.join(", ");
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::String(text) => format!("{text:?}"),
        Value::List(items) => format!("[{}]", of_all(items.iter().map(flow).collect())),
        Value::Map(entries) => {
            let pair = |(key, value): (&String, &Value)| format!("{key}: {}", flow(value));
            format!("{{{}}}", of_all(entries.iter().map(pair).collect()))
        }
    }
}

/// The same in a cell of a table.
fn cell(value: &Value) -> String {
    flow(value).replace('|', "\\|")
}

/// The value that the cases have for a parameter without a default.
fn of_cases(policy: &Policy, param: &str) -> Value {
    let mut cases = policy.tests.iter();
    let value = cases.find_map(|test| test.given.get("params")?.get(param).cloned());
    value.unwrap()
}

fn binding(policy: &Policy) -> String {
    let name = &policy.name;
    let mut text = format!(
        "apiVersion: drover/v1alpha1\nkind: Binding\nmetadata: {{name: {name}}}\nspec:\n  \
         policy: {name}\n  selector: {{matchLabels: {{env: prod}}}}\n"
    );
    if !policy.params.is_empty() {
        text.push_str("  params:\n");
        for (param, declared) in &policy.params {
            let value = declared.default.clone();
            let value = value.unwrap_or_else(|| of_cases(policy, param));
            writeln!(text, "    {param}: {}", flow(&value)).unwrap();
        }
    }
    text.push_str(match policy.point {
        DecisionPoint::Approve => "  enforcement: requireApproval\n  approvals: {count: 1}\n",
        _ => "  enforcement: deny\n",
    });
    text
}

fn page(name: &str, text: &str, policy: &Policy) -> String {
    let mut page = format!("# {name}\n\n{}\n", purpose(text));
    let point = policy.point.as_str();
    writeln!(
        page,
        "Decides [`{point}`](../reference/policy.md#policy). The policy: \
         [{name}.yaml](../../policies/library/{name}.yaml). This page is made from it.\n"
    )
    .unwrap();
    page.push_str("## Parameters\n\n");
    if policy.params.is_empty() {
        page.push_str("None.\n");
    } else {
        page.push_str("| parameter | default | meaning |\n| --- | --- | --- |\n");
        for (param, declared) in &policy.params {
            let described = declared.schema.as_ref();
            let described = described.and_then(|schema| schema.description.clone());
            let about = described.unwrap_or_else(|| about(text, param));
            let default = declared.default.as_ref();
            let default =
                default.map_or("required".to_owned(), |value| format!("`{}`", cell(value)));
            writeln!(page, "| `{param}` | {default} | {about} |").unwrap();
        }
    }
    page.push_str("\n## What it says\n\n```cel\n");
    for condition in &policy.matches {
        writeln!(page, "// Only where\n{}", condition.text.trim()).unwrap();
    }
    for variable in &policy.variables {
        let expression = variable.expression.text.trim();
        writeln!(page, "// variables.{}\n{expression}", variable.name).unwrap();
    }
    match &policy.body {
        PolicyBody::Rules(rules) => {
            for rule in rules {
                writeln!(
                    page,
                    "// Or else: {}\n{}",
                    rule.message,
                    rule.expression.text.trim()
                )
                .unwrap();
            }
        }
        PolicyBody::Value(value) => writeln!(page, "// The result\n{}", value.text.trim()).unwrap(),
    }
    write!(page, "```\n\n## A binding\n\nWith the defaults; leave out what you do not change.\n\n```yaml\n{}```\n", binding(policy)).unwrap();
    page.push_str("\n## Cases\n\n| case | result |\n| --- | --- |\n");
    for test in &policy.tests {
        let result = flow(&test.expect);
        writeln!(
            page,
            "| {} | `{}` |",
            test.name.replace('|', "\\|"),
            result.trim_matches('"')
        )
        .unwrap();
    }
    page
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test compares the pages with the library, and writes them when it is told to"
)]
fn every_policy_of_the_library_has_its_page() {
    let update = std::env::var_os("UPDATE_PAGES").is_some();
    let mut wanted = BTreeSet::new();
    for (name, text) in LIBRARY {
        let page = page(name, text, &policy_of(text));
        let path = folder().join(name).with_extension("md");
        if update {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&path, &page).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == page,
            "docs/library/{name}.md differs from the policy; run this test with UPDATE_PAGES=1"
        );
        wanted.insert(format!("{name}.md"));
    }
    let found: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, wanted, "pages of policies that are not there");
}

#[test]
fn the_binding_of_every_page_is_good() {
    for (name, text) in LIBRARY {
        let policies = [policy_of(text)];
        let bound = read(&binding(&policies[0])).bindings.into_values();
        let bindings: Vec<_> = bound.map(|located| located.value).collect();
        let definitions = Definitions::new([], [], true);
        let (_, mistakes) = PolicySet::compile_with(&policies, &bindings, &[], definitions);
        assert_eq!(mistakes, Vec::new(), "{name}");
        assert!(
            !purpose(text).trim().is_empty(),
            "{name} does not say what it is for"
        );
    }
}
