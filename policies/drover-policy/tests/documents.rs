//! Policies as people write them: the shipped ones with their tables of cases, and mistakes as
//! people see them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use drover_policy::{Definitions, LIBRARY, PolicySet, TestResult};
use drover_spec::{assemble, parse_file};

mod rendered;

use rendered::{mistakes_of, read};

fn policy_with(rule: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  on: gate\n  \
         params: {{timezone: UTC}}\n  rules:\n    - expression: {rule}\n      message: no\n"
    )
}

#[test]
fn shipped_policies_have_no_mistakes_and_pass_their_cases() {
    for (name, text) in LIBRARY {
        let (policies, _) = read(&format!("policies/library/{name}.yaml"), text);
        assert_eq!(policies.len(), 1, "{name}");
        assert_eq!(policies[0].name.as_str(), *name);
        assert!(policies[0].tests.len() >= 3, "{name} needs more cases");
        let (set, mistakes) = PolicySet::compile(&policies, &[], &[]);
        assert_eq!(mistakes, Vec::new(), "{name}");
        let outcomes = set.run_tests();
        assert_eq!(outcomes.len(), policies[0].tests.len());
        for outcome in outcomes {
            assert_eq!(
                outcome.result,
                TestResult::Passed,
                "{name}: {}",
                outcome.name
            );
        }
    }
}

#[test]
fn the_cases_of_shipped_policies_cover_every_clause() {
    let mut missing = String::new();
    for (name, text) in LIBRARY {
        let (policies, _) = read(&format!("policies/library/{name}.yaml"), text);
        let (set, _) = PolicySet::compile_traced(&policies, &[], Definitions::default());
        let (_, coverages) = set.run_tests_covered();
        for clause in coverages.iter().flat_map(|coverage| &coverage.clauses) {
            if let Some(what) = clause.missing() {
                let _ = writeln!(missing, "{}: {what}: {}", clause.span, clause.text);
            }
        }
    }
    assert_eq!(missing, "");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test compares the list with the folder"
)]
fn every_file_of_the_library_is_shipped_and_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../library");
    let files: BTreeSet<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|file| file.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    let shipped: BTreeSet<String> = LIBRARY.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, shipped);
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for name in shipped {
        assert!(
            readme.contains(&format!("| [{name}]({name}.yaml) |")),
            "{name} is not in README.md"
        );
    }
}

#[test]
fn a_mistake_points_into_the_document() {
    let told = mistakes_of(&policy_with(
        r#""reason == 'heal' || instances.all(i, i.helth == 'x')""#,
    ));
    insta::assert_snapshot!(told, @r#"
    error[policy]: instance has no field `helth`
     --> policies/p.yaml:8:59
      |
    8 |     - expression: "reason == 'heal' || instances.all(i, i.helth == 'x')"
      |                                                           ^^^^^
      |
      = help: did you mean `health`?
    "#);
}

#[test]
fn a_mistake_in_a_block_points_to_its_line() {
    let told = mistakes_of(&policy_with(
        "|-\n        reason in ['heal', 'uptade'] ||\n        status.availble >= spec.size &&\n        now.getHours(params.timezon) > 3",
    ));
    insta::assert_snapshot!(told, @"
    error[policy]: `uptade` is not a reason
     --> policies/p.yaml:9:28
      |
    9 |         reason in ['heal', 'uptade'] ||
      |                            ^^^^^^^^
      |
      = help: did you mean `update`?

    error[policy]: status has no field `availble`
      --> policies/p.yaml:10:16
       |
    10 |         status.availble >= spec.size &&
       |                ^^^^^^^^
       |
       = help: did you mean `available`?

    error[policy]: the policy declares no parameter `timezon`
      --> policies/p.yaml:11:29
       |
    11 |         now.getHours(params.timezon) > 3
       |                             ^^^^^^^
       |
       = help: did you mean `timezone`?
    ");
}

#[test]
fn mistakes_of_bindings_point_into_the_binding() {
    let text = policy_with("now.getHours(params.timezone) > 8")
        + "---\napiVersion: drover/v1alpha1\nkind: Binding\nmetadata: {name: b}\nspec:\n  policy: p\n  \
           selector: {}\n  params: {timezone: Mars/Olympus}\n  enforcement: deny\n";
    insta::assert_snapshot!(mistakes_of(&text), @"
    error[policy]: unknown time zone `Mars/Olympus`, in policy p
      --> policies/p.yaml:17:12
       |
    17 |   params: {timezone: Mars/Olympus}
       |            ^^^^^^^^
       |
       = help: zones have names such as Europe/Berlin, UTC or -08:00
    ");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test reads the page that it checks"
)]
fn the_reference_page_names_every_variable_field_and_function() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/policy.md");
    let page = std::fs::read_to_string(page).unwrap();
    let reference = drover_policy::reference();
    let mut missing = BTreeSet::new();
    for variable in &reference.variables {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", variable.name)))
            .unwrap_or_else(|| panic!("no row for {}", variable.name));
        // `oldSpec` refers to `spec`, and fields of a check are explained with it.
        for field in variable
            .fields
            .iter()
            .filter(|_| variable.name != "oldSpec")
        {
            let name = field.path.rsplit('.').next().unwrap_or(&field.path);
            if !field.path.contains("checks[]") && !row.contains(&format!("`{name}`")) {
                missing.insert(format!("{}.{}", variable.name, field.path));
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn the_rules_in_the_guide_have_no_mistakes() {
    let guide = include_str!("../../../docs/guides/policies.md");
    let named = "---\napiVersion: drover/v1alpha1\nkind: Calendar\nmetadata: {name: de}\n\
                 spec: {days: [{date: \"12-25\"}]}\n\
                 ---\napiVersion: drover/v1alpha1\nkind: MetricSource\nmetadata: {name: errors}\n\
                 spec: {source: prom, metrics: [{name: error.rate, query: errors}]}\n";
    let (_, block) = guide.split_once("```cel\n").unwrap();
    let (rules, _) = block.split_once("```").unwrap();
    assert!(rules.lines().count() > 5);
    for rule in rules.lines() {
        assert_eq!(
            mistakes_of(&format!("{}{named}", policy_with(&format!("'{rule}'")))),
            "",
            "{rule}"
        );
    }
}

/// The YAML of a page, one file per block.
fn blocks(page: &str) -> Vec<String> {
    let parts = page.split("\n```yaml\n").skip(1);
    parts
        .map(|part| part.split("\n```").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn examples_of_metrics_and_calendars_are_good_and_pass_their_cases() {
    let pages = [
        include_str!("../../../docs/reference/metrics.md"),
        include_str!("../../../docs/reference/calendar.md"),
    ];
    for page in pages {
        let block = &blocks(page)[0];
        let file = parse_file("page.yaml", block.as_bytes());
        let repository = assemble([&file]);
        assert!(repository.broken.is_empty(), "{:?}", repository.broken);
        let metrics = repository.metric_sources.values();
        let calendars = repository.calendars.values();
        let definitions = Definitions::new(
            metrics.map(|located| &located.value),
            calendars.map(|located| &located.value),
            false,
        );
        let policies = repository.policies.values();
        let policies: Vec<_> = policies.map(|located| located.value.clone()).collect();
        let (set, mistakes) = PolicySet::compile_with(&policies, &[], &[], definitions);
        assert_eq!(mistakes, Vec::new());
        let outcomes = set.run_tests();
        assert!(outcomes.len() >= 2);
        for outcome in outcomes {
            assert_eq!(outcome.result, TestResult::Passed, "{}", outcome.name);
        }
    }
}

#[test]
fn the_guide_to_scaling_is_a_good_repository_with_the_librarys_policy() {
    let guide = include_str!("../../../docs/guides/scale-on-a-metric.md");
    let indented = guide.split("\n   ```yaml\n").nth(2).unwrap();
    let block = indented.split("\n   ```").next().unwrap();
    let lines = block.lines();
    let lines: Vec<&str> = lines
        .map(|line| line.strip_prefix("   ").unwrap_or(line))
        .collect();
    let (_, policy) = LIBRARY
        .iter()
        .find(|(name, _)| *name == "queue-depth")
        .unwrap();
    let files = [
        parse_file("guide.yaml", lines.join("\n").as_bytes()),
        parse_file("policy.yaml", policy.as_bytes()),
    ];
    let repository = assemble(&files);
    assert_eq!(repository.diagnostics, Vec::new());
    let metrics = repository
        .metric_sources
        .values()
        .map(|located| &located.value);
    let definitions = Definitions::new(metrics, [], false);
    let policies = repository
        .policies
        .values()
        .map(|located| located.value.clone());
    let bindings = repository
        .bindings
        .values()
        .map(|located| located.value.clone());
    let (policies, bindings): (Vec<_>, Vec<_>) = (policies.collect(), bindings.collect());
    let (set, mistakes) = PolicySet::compile_with(&policies, &bindings, &[], definitions);
    assert_eq!(mistakes, Vec::new());
    assert_eq!(set.metrics(None).len(), 1);
}
