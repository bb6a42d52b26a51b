//! What a reviewer is told of documents that are no groups, of new groups, and of labels that lead away from a guard.

use super::{KINDS, PROVIDER, Pull, WEB, web};

const GUARD: &str = "policies/freeze.yaml";
const REST: &str = "rest.yaml";

/// A policy and where it applies.
fn guard(enforcement: &str, selector: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {{name: no-friday}}\nspec:\n  on: gate\n  rules:\n    \
         - expression: 'now.getDayOfWeek() != 5 && !isHoliday(\"de\")'\n      message: not today\n---\n\
         apiVersion: drover/v1alpha1\nkind: Binding\nmetadata: {{name: prod-no-friday}}\n\
         spec: {{policy: no-friday, selector: {selector}, enforcement: {enforcement}}}\n"
    )
}

/// A calendar and what all groups share.
fn rest(day: &str, max: u32) -> String {
    format!(
        "apiVersion: drover/v1alpha1\nkind: Calendar\nmetadata: {{name: de}}\n\
         spec: {{days: [{{date: \"12-25\", name: Christmas}}, {{date: \"{day}\", name: another}}]}}\n---\n\
         apiVersion: drover/v1alpha1\nkind: Fleet\nmetadata: {{name: shop}}\n\
         spec: {{budgets: [{{name: by-choice, max: {max}}}]}}\n"
    )
}

fn labelled(name: &str, labels: &str) -> String {
    web(3, "a").replace("name: web", &format!("name: {name}, labels: {labels}"))
}

/// Two groups, of which the guard is for one.
fn guarded() -> Pull {
    let pull = Pull::new(
        KINDS[0],
        &[
            PROVIDER,
            (WEB, &labelled("web", "{env: prod}")),
            ("groups/dev.yaml", &labelled("dev", "{env: dev}")),
            (GUARD, &guard("deny", "{matchLabels: {env: prod}}")),
            (REST, &rest("01-01", 1)),
        ],
    );
    pull.sandbox.git("work", &["branch", "--force", "begun"]);
    pull
}

/// The comment as it was sent, with line breaks as everywhere.
fn comment(pull: &Pull) -> String {
    pull.comments().pop().unwrap().replace("\r\n", "\n")
}

fn plan(pull: &Pull, more: &[&str]) -> crate::support::Ran {
    let source = pull.sandbox.path("work").display().to_string();
    let mut arguments = vec!["plan", "--source", &source];
    arguments.extend(["--base", "begun", "--head", "topic"]);
    arguments.extend(more);
    pull.sandbox.drover(&arguments)
}

#[test]
fn a_guard_that_goes_is_told_first_and_leaves_no_quiet_pull_request() {
    let pull = guarded();
    std::fs::remove_file(pull.sandbox.path("work").join(GUARD)).unwrap();
    pull.propose(&[]);
    let ran = pull.run(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let body = comment(&pull);
    insta::assert_snapshot!(body.split("<sub>").next().unwrap(), @r#"
    <!-- drover:plan drover/plan -->
    **Plan: no group changes; 2 other documents change, 2 guards removed or loosened**

    - **guard**: Policy no-friday is removed; it concerns 1 group, web
    - **guard**: Binding prod-no-friday is removed; it concerns 1 group, web

    **Other documents**

    | document | change | groups | file |
    | --- | --- | --- | --- |
    | Policy no-friday | REMOVED (gate) | 1: web | policies/freeze.yaml |
    | Binding prod-no-friday | REMOVED (no-friday, deny) | 1: web | policies/freeze.yaml |

    <details><summary>Policy no-friday: REMOVED (gate)</summary>

    ```diff
    - on: "gate"
    - rules[0].expression: "now.getDayOfWeek() != 5 && !isHoliday(\"de\")"
    - rules[0].message: "not today"
    ```

    </details>

    <details><summary>Binding prod-no-friday: REMOVED (no-friday, deny)</summary>

    ```diff
    - enforcement: "deny"
    - policy: "no-friday"
    - selector.matchLabels.env: "prod"
    ```

    </details>
    "#);
    let described =
        "no group changes; 2 other documents change, 2 guards removed or loosened".to_owned();
    assert_eq!(pull.statuses(), [("success".to_owned(), described)]);

    let ran = plan(&pull, &["--detailed-exitcode", "-o", "json"]).exits(2);
    let json = ran.json();
    assert_eq!(json["kind"], "PlanList", "{json:#}");
    assert_eq!(json["items"].as_array().unwrap().len(), 2, "{json:#}");
    let binding = &json["documents"][0];
    assert_eq!(binding["kind"], "Policy", "{json:#}");
    assert_eq!(binding["change"], "removed", "{json:#}");
    assert_eq!(binding["groups"], serde_json::json!(["web"]), "{json:#}");
    assert_eq!(binding["weaker"], serde_json::json!(["removed"]));
    // Of one group: what concerns it.
    plan(&pull, &["web"])
        .exits(0)
        .prints("Binding prod-no-friday: REMOVED");
    let dev = plan(&pull, &["dev", "--detailed-exitcode"]).exits(0);
    assert_eq!(dev.stdout, "dev: no changes\nPlan: no changes\n");
}

#[test]
fn what_changes_in_other_documents_is_told_with_the_groups_that_it_concerns() {
    let pull = guarded();
    let guard = guard("warn", "{}").replace("not today", "not @ann <b>");
    let provider = PROVIDER.1.replace("simulated}", "simulated, bootTime: 9s}");
    pull.propose(&[
        (GUARD, &guard),
        (REST, &rest("05-01", 4)),
        (PROVIDER.0, &provider),
    ]);
    let text = plan(&pull, &[]).exits(0).stdout;
    insta::assert_snapshot!(text, @r#"
    dev: no changes
    web: no changes
    Fleet shop: changed, WEAKER, groups 2: dev, web - rest.yaml
      withholds less: the budget by-choice 1 -> 4
      ~ budgets[0].max: 1 -> 4
    Binding prod-no-friday: changed, WEAKER (no-friday, warn), groups 2: dev, web - policies/freeze.yaml
      withholds less: enforcement deny -> warn
      ~ enforcement: "deny" -> "warn"
      - selector.matchLabels.env: "prod"
    Policy no-friday: changed (gate), groups 2: dev, web - policies/freeze.yaml
      ~ rules[0].message: "not today" -> "not @ann <b>"
    Provider local: changed (simulated), groups 2: dev, web - providers/local.yaml
      + bootTime: "9s"
    Calendar de: changed, groups 2: dev, web - rest.yaml
      ~ days[1].date: "01-01" -> "05-01"
    Plan: no group changes; 5 other documents change, 2 guards removed or loosened
    "#);
    assert_eq!(pull.run(&["--no-status"]).code, Some(0));
    let body = comment(&pull);
    assert!(
        body.contains("+ rules[0].message: \"not @ann <b>\"\n"),
        "{body}"
    );

    // Another place, another order, another comment: it says the same.
    let moved = guard.replace("on: gate\n  rules", "# on fridays\n  on: gate\n  rules");
    pull.sandbox.git("work", &["branch", "--force", "begun"]);
    pull.propose(&[("policies/moved.yaml", &moved), (GUARD, "")]);
    assert_eq!(
        plan(&pull, &["--detailed-exitcode"]).exits(0).stdout,
        "dev: no changes\nweb: no changes\nPlan: no changes\n"
    );
}

#[test]
fn a_document_that_was_not_valid_is_no_new_one() {
    let pull = guarded();
    let good = rest("01-01", 1);
    pull.propose(&[(REST, &good.replace("12-25", "12-35"))]);
    pull.sandbox.git("work", &["branch", "--force", "begun"]);
    pull.propose(&[(REST, &good)]);
    let told = "Calendar de: added (was not valid before), groups 1: web - rest.yaml\n";
    plan(&pull, &[]).exits(0).prints(told);
}

#[test]
fn labels_that_lead_away_from_a_guard_are_told() {
    let pull = guarded();
    pull.propose(&[(WEB, &labelled("web", "{env: dev}"))]);
    assert_eq!(pull.run(&[]).code, Some(0));
    let body = comment(&pull);
    let guard = "- **guard**: web has other labels, and is no longer judged by prod-no-friday (no-friday, deny)\n";
    assert!(body.contains(guard), "{body}");
    assert!(body.contains("+ labels.env: \"dev\"   # setting"), "{body}");
    let described = "settings of 1 of 2 groups change, and no instance".to_owned();
    assert_eq!(pull.statuses(), [("success".to_owned(), described)]);
}

#[test]
fn a_new_group_is_shown_field_by_field() {
    let pull = guarded();
    let api = "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {name: api, labels: {env: prod}}\nspec:\n  \
         provider: local\n  size: 4\n  template:\n    properties: {image: 'registry.example/api:1'}\n    \
         tags: {team: payments}\n  rollout: {maxSurge: 2}\n";
    pull.propose(&[("groups/api.yaml", api)]);
    assert_eq!(pull.run(&["--no-rollout"]).code, Some(0));
    let body = comment(&pull);
    let (_, details) = body.split_once("```diff\n").unwrap();
    let (diff, _) = details.split_once("```").unwrap();
    insta::assert_snapshot!(diff, @r#"
    + provider: "local"
    + size: 4
    + properties.image: "registry.example/api:1"
    + tags.team: "payments"
    + labels.env: "prod"
    + rollout.maxSurge: 2
    "#);
    let text = plan(&pull, &["api"]).exits(0).stdout;
    insta::assert_snapshot!(text, @r#"
    api: new, create 4
      + provider: "local"
      + size: 4
      + properties.image: "registry.example/api:1"
      + tags.team: "payments"
      + labels.env: "prod"
      + rollout.maxSurge: 2
      at once at most: 0 unavailable, 0 destroyed without replacement, 6 in total
    Plan: 4 to create, 0 to replace, 0 to destroy in 1 of 1 group
    "#);
    let json = plan(&pull, &["api", "-o", "json"]).exits(0).json();
    let first =
        serde_json::json!({"field": "provider", "class": "new", "old": null, "new": "\"local\""});
    assert_eq!(json["items"][0]["fields"][0], first, "{json:#}");
}
