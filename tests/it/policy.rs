//! `drover policy`: coverage of test tables, expressions by themselves, explanations.

use crate::support::{IDLE, PROVIDER, Sandbox, group};

const OFFICE_HOURS: &str = r#"apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: office-hours}
spec:
  on: gate
  params: {timezone: UTC}
  variables:
    - {name: hour, expression: 'now.getHours(params.timezone)'}
  rules:
    - expression: 'reason in ["heal", "interruption"] || (variables.hour >= 9 && variables.hour < 17)'
      message: outside office hours
  tests:
    - {name: night, given: {now: "2026-01-05T03:00:00Z", reason: update}, expect: false}
"#;

fn with_office_hours() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("fleet/policies/office-hours.yaml", OFFICE_HOURS);
    sandbox
}

#[test]
fn clauses_that_no_test_covers_are_listed() {
    let sandbox = with_office_hours();
    let ran = sandbox
        .drover(&["policy", "test", "fleet", "--coverage"])
        .exits(0)
        .says("1 passed, 0 failed");
    insta::assert_snapshot!(ran.stdout, @r#"
    ok office-hours/night
     45 % office-hours: 5 of 11 outcomes by 1 test
          policies/office-hours.yaml:10:20: expression never true: reason in ["heal", "interruption"] || (variables.hour >= 9 && variables.hour < 17)
          policies/office-hours.yaml:10:20: operand never true: reason in ["heal", "interruption"]
          policies/office-hours.yaml:10:59: operand never true: variables.hour >= 9 && variables.hour < 17
          policies/office-hours.yaml:10:59: operand never true: variables.hour >= 9
          policies/office-hours.yaml:10:82: operand never evaluated: variables.hour < 17
    "#);
    insta::assert_snapshot!(ran.stderr, @"
    1 passed, 0 failed
    coverage 45 %: 5 of 11 outcomes of clauses in 1 policy, 0 of them fully
    ");
    let json = sandbox
        .drover(&["policy", "test", "fleet", "-o", "json"])
        .exits(0)
        .json();
    let coverage = &json["coverage"][0];
    assert_eq!(coverage["policy"], "office-hours", "{json:#}");
    assert_eq!(coverage["clauses"][2]["falsehoods"], 1, "{json:#}");
    assert_eq!(coverage["clauses"][2]["missing"], "never true", "{json:#}");
}

#[test]
fn too_little_coverage_fails() {
    let sandbox = with_office_hours();
    let percent =
        |least: &str| sandbox.drover(&["policy", "test", "fleet", "--min-coverage", least]);
    percent("45").exits(0);
    percent("46")
        .exits(1)
        .says("policy office-hours is covered to 45 %, less than 46 %");
    percent("101").exits(64);
}

/// A repository with one group, bound to a policy, and one pass over it behind.
fn with_a_pass() -> Sandbox {
    with_a_pass_of("")
}

/// The same, with more policies.
fn with_a_pass_of(more: &str) -> Sandbox {
    let binding = "---\napiVersion: drover/v1alpha1\nkind: Binding\nmetadata: {name: all}\nspec: \
                   {policy: office-hours, selector: {}, params: {timezone: Europe/Berlin}, \
                   enforcement: audit}\n";
    let policies = format!("{OFFICE_HOURS}{binding}{more}");
    let sandbox = Sandbox::with_files(&[
        PROVIDER,
        ("groups/web.yaml", &group("web", 2, IDLE, "")),
        ("policies/office-hours.yaml", &policies),
    ]);
    sandbox
        .with_config(&["run", "--until-converged", "--timeout", "60s"])
        .exits(0);
    sandbox
}

#[test]
fn an_expression_is_evaluated_over_given_values() {
    let sandbox = with_office_hours();
    sandbox.write(
        "given.yaml",
        "spec: {size: 7, bounds: {min: 1, max: 9}}\nreason: heal\n",
    );
    let eval = |expression: &str, more: &[&str]| {
        let mut arguments = vec!["policy", "eval", "-f", "given.yaml", "-e", expression];
        arguments.extend(more);
        sandbox.drover(&arguments)
    };
    let gate = ["--point", "gate"];
    assert_eq!(eval("reason + '!'", &gate).exits(0).stdout, "heal!\n");
    assert_eq!(eval("spec.size * 2", &gate).exits(0).stdout, "14\n");
    assert_eq!(
        eval("spec.bounds", &gate).exits(0).stdout,
        "max: 9\nmin: 1\n"
    );
    let json = eval(
        "{'a': [1u, duration('90s')]}",
        &["--point", "gate", "-o", "json"],
    );
    assert_eq!(json.exits(0).json(), serde_json::json!({"a": [1, "1m30s"]}));
    eval("spec.size", &[])
        .exits(1)
        .says("`given` sets `reason`, which not every policy knows");
    let refused = eval("spec.size > 3 && spec.bonds != null", &gate).exits(1);
    insta::assert_snapshot!(refused.stderr, @"
    error[policy]: spec has no field `bonds`
     --> <expression>:1:23
      |
    1 | spec.size > 3 && spec.bonds != null
      |                       ^^^^^
      |
      = help: did you mean `bounds`?

    error: the expression is not valid
    ");
    eval("1 / (spec.size - 7)", &gate)
        .exits(1)
        .says("cannot be evaluated: division by zero");
    sandbox.write("given.yaml", "spec: {size: 7\n");
    eval("1", &gate).exits(1).says("given.yaml:1:7");
    sandbox.write("given.yaml", "spec: {size: 7}\n---\nspec: {size: 8}\n");
    eval("1", &gate)
        .exits(1)
        .says("one value is wanted, here is another");
}

#[test]
fn a_decision_is_explained_over_given_values() {
    let sandbox = with_office_hours();
    sandbox.write(
        "given.json",
        r#"{"now": "2026-01-05T03:00:00Z", "reason": "update"}"#,
    );
    let explain = |more: &[&str]| {
        let mut arguments = vec!["policy", "explain"];
        arguments.extend(["office-hours", "fleet", "-f", "given.json"]);
        arguments.extend(more);
        sandbox.drover(&arguments)
    };
    insta::assert_snapshot!(explain(&[]).exits(0).stdout, @r#"
    policy office-hours (gate): false, outside office hours
      with params.timezone = UTC

    variable hour at policies/office-hours.yaml:8:33
      now.getHours(params.timezone)
         8:33  now.getHours(params.timezone)  3
         8:33    now                          2026-01-05T03:00:00Z
         8:46    params.timezone              UTC

    rule 1 at policies/office-hours.yaml:10:20: outside office hours
      reason in ["heal", "interruption"] || (variables.hour >= 9 && variables.hour < 17)
        10:20  reason in ["heal", "interruption"] || (variables.hour >= 9 …  false
        10:20    reason in ["heal", "interruption"]                          false
        10:20      reason                                                    update
        10:59    variables.hour >= 9 && variables.hour < 17                  false
        10:59      variables.hour >= 9                                       false
        10:59        variables.hour                                          3
        10:82      variables.hour < 17                                       not evaluated
        10:82        variables.hour                                          not evaluated

    0 steps
    "#);
    let json = explain(&["-o", "json"]).exits(0).json();
    let rule = &json["items"][0]["expressions"][1];
    assert_eq!(rule["title"], "rule 1", "{json:#}");
    assert_eq!(rule["parts"][1]["parts"][1]["evaluated"], 0, "{json:#}");
}

#[test]
fn what_cannot_be_evaluated_is_pointed_at() {
    let sandbox = with_office_hours();
    let explain =
        |policy: &str| sandbox.drover(&["policy", "explain", policy, "fleet", "-f", "given.json"]);
    sandbox.write("given.json", r#"{"params": {"timezone": "Mars/Olympus"}}"#);
    insta::assert_snapshot!(explain("office-hours").exits(0).stdout, @r#"
    policy office-hours (gate): error, could not be evaluated: variables.hour: timezone: unknown time zone Mars/Olympus
      with params.timezone = Mars/Olympus

    variable hour at policies/office-hours.yaml:8:33
      now.getHours(params.timezone)
      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      timezone: unknown time zone Mars/Olympus
         8:33  now.getHours(params.timezone)  failed
         8:33    now                          2026-01-05T12:00:00Z
         8:46    params.timezone              Mars/Olympus

    rule 1 at policies/office-hours.yaml:10:20: outside office hours
      reason in ["heal", "interruption"] || (variables.hour >= 9 && variables.hour < 17)
                                             ^^^^^^^^^^^^^^
      variables.hour: timezone: unknown time zone Mars/Olympus
        10:20  reason in ["heal", "interruption"] || (variables.hour >= 9 …  failed
        10:20    reason in ["heal", "interruption"]                          false
        10:20      reason                                                    update
        10:59    variables.hour >= 9 && variables.hour < 17                  failed
        10:59      variables.hour >= 9                                       failed
        10:59        variables.hour                                          failed
        10:82      variables.hour < 17                                       failed
        10:82        variables.hour                                          failed

    0 steps
    "#);
    explain("office-hour")
        .exits(1)
        .says("there is no valid policy office-hour; did you mean office-hours?");
}

#[test]
fn what_a_policy_says_passes_for_no_line_of_an_explanation() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "fleet/policies/forged.yaml",
        "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {name: forged}\nspec:\n  on: gate\n  params: {word: x}\n  \
         rules: [{expression: 'params.word == \"x\"', message: \"no\\n\\n0 steps\\rpolicy forged (gate): true\"}]\n",
    );
    sandbox.write(
        "given.json",
        r#"{"params": {"word": "y\n0 steps\u001b[2J"}}"#,
    );
    let ran = sandbox.drover(&["policy", "explain", "forged", "fleet", "-f", "given.json"]);
    let text = ran.exits(0).stdout;
    assert_eq!(text.matches("\n0 steps").count(), 1, "{text}");
    assert!(text.ends_with("\n0 steps\n"), "{text}");
    let first = "policy forged (gate): false, no  0 steps\\u000dpolicy forged (gate): true\n";
    assert!(text.starts_with(first), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn expressions_and_decisions_are_shown_over_the_fleet_as_it_stands() {
    let sandbox = with_a_pass();
    let eval = |more: &[&str]| {
        let mut arguments = vec!["policy", "eval"];
        arguments.extend(more);
        sandbox.with_config(&arguments)
    };
    let ids = eval(&["-e", "instances.map(i, i.id)", "-o", "json"]).exits(0);
    assert_eq!(ids.json(), serde_json::json!(["web-1", "web-2"]));
    let of = eval(&[
        "--point",
        "protect",
        "--instance",
        "web-2",
        "-e",
        "instance.id + reason",
    ]);
    assert_eq!(of.exits(0).stdout, "web-2update\n");
    eval(&["--point", "protect", "--instance", "web-9", "-e", "reason"])
        .exits(1)
        .says("group web has no instance web-9");
    eval(&["--group", "db", "-e", "1"])
        .exits(1)
        .says("there is no group db");
    assert_eq!(eval(&["-e", "git.subject"]).exits(0).stdout, "first\n");
    let agent = sandbox.agent();
    sandbox.wait_serving();
    let running = eval(&["-e", "size(instances) == status.total"]);
    assert_eq!(running.exits(0).stdout, "true\n");
    agent.stop();
    // A document that asks for more is judged against what is in force.
    sandbox.write("work/groups/web.yaml", &group("web", 5, IDLE, ""));
    let sizes = "[spec.size, oldSpec.size, change.creates]";
    let json = eval(&["work", "--point", "validate", "-e", sizes, "-o", "json"]).exits(0);
    assert_eq!(json.json(), serde_json::json!([5, 2, 3]));
    eval(&["--point", "validate", "-e", "change.creates"])
        .exits(1)
        .says("its document asks for no change");
    let explained = sandbox
        .with_config(&["policy", "explain", "office-hours", "--reason", "heal"])
        .exits(0);
    explained
        .prints("policy office-hours (gate), bound by all: true")
        .prints("with params.timezone = Europe/Berlin")
        .prints("asked with reason = heal");
}

#[test]
fn what_policies_take_is_measured_and_limited() {
    let sandbox = with_a_pass();
    let expensive = r"apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: pairs}
spec:
  on: size
  value: 'instances.filter(i, instances.exists(o, o.id == i.id)).size()'
";
    sandbox.write("work/policies/pairs.yaml", expensive);
    let bench = |more: &[&str]| {
        let mut arguments = vec!["policy", "bench", "work", "-o", "json"];
        arguments.extend(more);
        sandbox.with_config(&arguments)
    };
    let small = bench(&["--groups", "2", "--instances", "40"])
        .exits(0)
        .json();
    let (hours, pairs) = (&small["items"][0], &small["items"][1]);
    assert_eq!(hours["binding"], "all", "{small:#}");
    assert_eq!(pairs["binding"], serde_json::Value::Null, "{small:#}");
    assert_eq!(pairs["groups"], 2, "{small:#}");
    assert_eq!(
        hours["evaluations"], 10,
        "a variable, and nine reasons: {small:#}"
    );
    assert!(pairs["steps"].as_u64() > Some(40 * 20), "{small:#}");
    assert!(
        pairs["worstUs"].as_u64() >= pairs["meanUs"].as_u64(),
        "{small:#}"
    );
    let large = bench(&["--groups", "1", "--instances", "1000", "--max-budget", "90"])
        .exits(1)
        .says("1 of the policies take more than 90 % of their budget");
    let large = large.json();
    assert_eq!(large["items"][1]["budgetPercent"], 100, "{large:#}");
    let error = large["items"][1]["error"].as_str().unwrap();
    assert!(error.contains("is used up"), "{error}");
    let live = bench(&["--live"]).exits(0).json();
    assert_eq!(live["items"][1]["groups"], 1, "{live:#}");
    assert!(
        live["items"][1]["steps"].as_u64() < pairs["steps"].as_u64(),
        "{live:#}"
    );
}

#[test]
fn recorded_passes_are_decided_again_with_other_policies() {
    // What the time of another hour would decide otherwise.
    let sandbox = with_a_pass_of(
        "---\napiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {name: aged}\nspec:\n  on: gate\n  \
         rules:\n    - {expression: 'instances.all(i, i.age > duration(\"1h\"))', message: young}\n\
         ---\napiVersion: drover/v1alpha1\nkind: Binding\nmetadata: {name: aged}\n\
         spec: {policy: aged, selector: {}, enforcement: warn}\n",
    );
    let backtest = |more: &[&str]| {
        let mut arguments = vec!["policy", "backtest"];
        arguments.extend(more);
        sandbox.with_config(&arguments)
    };
    // What was in force decides what it decided.
    let same = backtest(&["--policy", "work", "-o", "json"])
        .exits(0)
        .json();
    assert!(same["passes"].as_u64() > Some(1), "{same:#}");
    assert_eq!(same["items"], serde_json::json!([]), "{same:#}");
    assert_eq!(same["skipped"], serde_json::json!([]), "{same:#}");

    let stricter = OFFICE_HOURS
        .replace(
            "variables.hour >= 9 && variables.hour < 17",
            "size(instances) > 5",
        )
        .replace("outside office hours", "too few of them");
    sandbox.write("hours.yaml", &stricter);
    // The recorded binding puts it on the group, at `audit`.
    let told = backtest(&["--policy", "hours.yaml", "-o", "json"])
        .exits(0)
        .json();
    let item = told["items"].as_array().unwrap().last().unwrap();
    assert_eq!(item["group"], "web", "{told:#}");
    assert!(
        item["wouldBe"] == "open, told by office-hours: too few of them"
            && told["differing"].as_u64() > Some(0),
        "{told:#}"
    );
    let denied = backtest(&["--policy", "hours.yaml", "--as-deny"])
        .exits(0)
        .says("would have been decided otherwise");
    assert!(
        denied.stdout.contains("gate update: ")
            && denied
                .stdout
                .contains("-> closed by office-hours: too few of them"),
        "{}",
        denied.stdout
    );
    assert!(!denied.stdout.contains("gate heal"), "{}", denied.stdout);
}

#[test]
fn accepted_changes_are_judged_again() {
    let sandbox = with_a_pass();
    let backtest = |more: &[&str]| {
        let mut arguments = vec!["policy", "backtest"];
        arguments.extend(more);
        sandbox.with_config(&arguments)
    };
    sandbox.write(
        "work/policies/small.yaml",
        "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {name: small}\nspec:\n  on: validate\n  \
         rules:\n    - {expression: 'change.toSize < 2 && oldSpec == null', message: keep it small}\n\
         ---\napiVersion: drover/v1alpha1\nkind: Binding\nmetadata: {name: small}\n\
         spec: {policy: small, selector: {}, enforcement: deny}\n",
    );
    let change = backtest(&["--policy", "work", "-o", "json"])
        .exits(0)
        .json();
    let items = change["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{change:#}");
    assert_eq!(
        (
            &items[0]["question"],
            &items[0]["was"],
            &items[0]["wouldBe"]
        ),
        (
            &"change".into(),
            &"accepted".into(),
            &"denied by small: keep it small".into()
        )
    );
    let nothing = backtest(&[
        "--policy",
        "work",
        "--since",
        "2100-01-01T00:00:00Z",
        "-o",
        "json",
    ]);
    assert_eq!(nothing.exits(0).json()["passes"], 0);
    sandbox.write("alone.yaml", &OFFICE_HOURS.replace("office-hours", "other"));
    backtest(&["--policy", "alone.yaml"])
        .exits(1)
        .says("no binding puts a policy of alone.yaml on a group");
}

#[test]
fn parameters_keep_to_their_declaration() {
    let sandbox = Sandbox::new();
    let policy = OFFICE_HOURS.replace(
        "params: {timezone: UTC}",
        "params: {timezone: {type: string, format: timezone, description: where people work}}",
    );
    let binding = |params: &str| {
        format!(
            "---\napiVersion: drover/v1alpha1\nkind: Binding\nmetadata: {{name: all}}\n\
             spec: {{policy: office-hours, selector: {{}}, {params}enforcement: deny}}\n"
        )
    };
    let validate = |text: &str| {
        sandbox.write("fleet/policies/office-hours.yaml", text);
        sandbox.drover(&["validate", "fleet"])
    };
    let tested = policy.replace(
        "reason: update}",
        "reason: update, params: {timezone: UTC}}",
    );
    validate(&format!(
        "{tested}{}",
        binding("params: {timezone: Europe/Berlin}, ")
    ))
    .exits(0);
    let wrong = format!("{policy}{}", binding("params: {timezone: Berlin}, "));
    insta::assert_snapshot!(validate(&wrong).exits(1).stdout, @r#"
    error[policy-test-failed]: test `night` of policy office-hours failed: nothing sets parameter `timezone`, which has no default
      --> policies/office-hours.yaml:13:7
       |
    13 |     - {name: night, given: {now: "2026-01-05T03:00:00Z", reason: update}, expect: false}
       |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    warning[selects-nothing]: the binding `all` selects no group
      --> policies/office-hours.yaml:17:18
       |
    17 | metadata: {name: all}
       |                  ^^^

    error[policy]: parameter `timezone` must be a timezone: unknown time zone `Berlin`, in policy office-hours
      --> policies/office-hours.yaml:18:53
       |
    18 | spec: {policy: office-hours, selector: {}, params: {timezone: Berlin}, enforcement: deny}
       |                                                     ^^^^^^^^
       |
       = help: zones have names such as Europe/Berlin, UTC or -08:00
    "#);
    let missing = format!("{tested}{}", binding(""));
    insta::assert_snapshot!(validate(&missing).exits(1).stdout, @"
    warning[selects-nothing]: the binding `all` selects no group
      --> policies/office-hours.yaml:17:18
       |
    17 | metadata: {name: all}
       |                  ^^^

    error[policy]: policy office-hours needs parameter `timezone`
      --> policies/office-hours.yaml:18:16
       |
    18 | spec: {policy: office-hours, selector: {}, enforcement: deny}
       |                ^^^^^^^^^^^^
       |
       = help: set it in `params`: where people work
    ");
}
