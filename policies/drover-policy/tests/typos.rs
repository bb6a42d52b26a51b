//! Typical mistakes in policies, all found when the policy is loaded: what people are told, where, and
//! what they are offered instead.

use std::fmt::Write as _;

mod rendered;

use rendered::mistakes_of;

/// A gate, the mistake being in its rule.
fn rule(expression: &str) -> String {
    gate(&format!(
        "  rules:\n    - expression: {}\n      message: no\n",
        quoted(expression)
    ))
}

fn gate(rest: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  on: gate\n  \
         params: {{timezone: UTC, from: 9}}\n{rest}"
    )
}

fn size(expression: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  on: size\n  value: {}\n",
        quoted(expression)
    )
}

fn quoted(expression: &str) -> String {
    format!("'{}'", expression.replace('\'', "''"))
}

fn bound(params: &str) -> String {
    let policy = rule("now.getHours(params.timezone) > params.from");
    format!(
        "{policy}---\napiVersion: drover/v1alpha1\nkind: Binding\nmetadata: {{name: b}}\nspec:\n  policy: p\n  \
         selector: {{}}\n  params: {{{params}}}\n  enforcement: deny\n"
    )
}

/// Mistakes in names.
const IN_NAMES: &[(&str, &str)] = &[
    (
        "a field that does not exist",
        "instances.all(i, i.helth == \"ok\")",
    ),
    ("a misspelt field", "status.availble >= 3"),
    ("a misspelt variable", "staus.available >= 3"),
    ("a field without its variable", "labels.env == \"prod\""),
    ("a misspelt parameter", "now.getHours(params.timezon) > 8"),
    (
        "a parameter without `params.`",
        "now.getHours(\"UTC\") > from",
    ),
    ("a variable of another point", "current > 3"),
    (
        "a variable of the policy that is not declared",
        "variables.hour > 3",
    ),
    ("a function that does not exist", "length(instances) > 3"),
    ("a misspelt method", "group.name.startWith(\"web\")"),
    (
        "a method used as a function",
        "contains(group.name, \"web\")",
    ),
    ("a function used as a method", "group.name.int() > 3"),
    ("a misspelt loop", "instances.exsits(i, i.busy)"),
    ("the length of a list", "instances.length > 3"),
    ("a field of a list", "instances.busy"),
    (
        "a misspelt namespace member",
        "math.greates(status.available, 3) > 3",
    ),
];

/// Mistakes in types.
const IN_TYPES: &[(&str, &str)] = &[
    ("too many arguments", "group.name.startsWith(\"a\", \"b\")"),
    ("a loop without its element", "instances.all(i.busy)"),
    ("an argument of the wrong type", "group.name.contains(3)"),
    ("a number and a text", "status.available + \"1\" == \"4\""),
    (
        "a whole number and a fraction",
        "status.available * 1.5 > 3.0",
    ),
    ("a number compared with a text", "status.available > \"3\""),
    ("a number that is never null", "status.available == null"),
    ("a reason that does not exist", "reason == \"uptade\""),
    (
        "an optional compared with a text",
        "group.labels[?\"env\"] == \"prod\"",
    ),
    (
        "versions compared with an operator",
        "semver(group.labels.version) > semver(\"1.2.3\")",
    ),
    ("a rule that is no condition", "status.available"),
    (
        "a condition that is no condition",
        "status.available ? true : reason == \"heal\"",
    ),
    ("a division by zero", "status.available / 0 > 1"),
];

/// Mistakes in constants.
const IN_CONSTANTS: &[(&str, &str)] = &[
    ("a rule that is always true", "1 < 2"),
    ("a rule that is always false", "size(\"abc\") > 3"),
    (
        "a condition that decides nothing",
        "reason == \"heal\" || true",
    ),
    ("a time zone", "now.getHours(\"Europe/Berlim\") > 8"),
    (
        "the times of a window",
        "inWindow(\"0 2 * * TUESDAY\", duration(\"3h\"), \"UTC\")",
    ),
    (
        "a window from a label",
        "inWindow(group.labels.window, duration(\"3h\"), \"UTC\")",
    ),
    (
        "a duration",
        "rollout.startedAt + duration(\"5 minutes\") < now",
    ),
    ("a time", "now > timestamp(\"2026-13-01\")"),
    ("a regular expression", "group.name.matches(\"web-[0-9\")"),
    (
        "a network",
        "instances.all(i, cidr(\"10.0.0.0\").containsIP(i.address))",
    ),
    (
        "a quantity",
        "quantity(group.labels.memory).isLessThan(quantity(\"4GiB\"))",
    ),
];

/// Mistakes in form.
const IN_SYNTAX: &[(&str, &str)] = &[
    ("an assignment", "reason = \"heal\""),
    (
        "a word for an operator",
        "reason == \"heal\" and status.available > 3",
    ),
    (
        "half an operator",
        "reason == \"heal\" & status.available > 3",
    ),
    ("a missing quote", "reason == \"heal"),
    (
        "a missing bracket",
        "(reason == \"heal\" || status.available > 3",
    ),
    (
        "an operator too many",
        "reason == \"heal\" && && status.available > 3",
    ),
    ("an expression that ends too early", "reason =="),
    ("has() of a variable", "has(oldSpec)"),
];

/// What people meant, and the document that they wrote.
fn typos() -> Vec<(&'static str, String)> {
    let rules = [IN_NAMES, IN_TYPES, IN_CONSTANTS, IN_SYNTAX].concat();
    let mut all: Vec<(&str, String)> = rules
        .into_iter()
        .map(|(name, expression)| (name, rule(expression)))
        .collect();
    all.extend([
        ("a size that is a fraction", size("double(spec.size) * 1.5")),
        ("a size that is a text", size("string(spec.size)")),
        ("a size that may be missing", size("group.annotations[?\"size\"]")),
        (
            "a match that never holds",
            gate("  match: ['\"prod\" == \"test\"']\n  rules:\n    - {expression: 'reason == \"heal\"', message: no}\n"),
        ),
        (
            "a variable used above its declaration",
            gate("  variables:\n    - {name: late, expression: 'variables.hour > params.from'}\n    \
                  - {name: hour, expression: 'now.getHours(params.timezone)'}\n  rules:\n    \
                  - {expression: 'variables.late', message: no}\n"),
        ),
        ("a parameter that the policy does not have", bound("timezome: UTC")),
        ("a parameter of the wrong type", bound("from: nine")),
        ("a parameter that is no time zone", bound("timezone: Berlin")),
    ]);
    all
}

#[test]
fn typical_mistakes_are_told_with_their_place_and_a_way_out() {
    let mut told = String::new();
    for (name, document) in typos() {
        let mistakes = mistakes_of(&document);
        assert_eq!(mistakes.matches("error[").count(), 1, "{name}: {mistakes}");
        assert!(mistakes.contains('^'), "{name} has no place");
        let _ = writeln!(told, "## {name}\n\n{mistakes}");
    }
    insta::assert_snapshot!(told);
}
