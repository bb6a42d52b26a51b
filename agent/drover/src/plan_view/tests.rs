use super::*;

fn plans(groups: impl Into<Vec<PlanView>>) -> Plans {
    Plans {
        groups: groups.into(),
        documents: Vec::new(),
    }
}

fn plan(group: &str, denied: bool) -> PlanView {
    PlanView {
        group: group.to_owned(),
        phase: "Progressing".to_owned(),
        change: Some(ChangeView {
            id: Some("0123456789abcdef0123456789abcdef".to_owned()),
            from: Some(EndView {
                template: "aaaaaaaa".to_owned(),
                size: 3,
            }),
            to: Some(EndView {
                template: "bbbbbbbb".to_owned(),
                size: 5,
            }),
            creates: 2,
            replaces: 3,
            restarts: 0,
            changes: 0,
            destroys: 0,
            releases: 0,
            unavailable_max: 0,
            destroyed_max: 10,
            total_max: 6,
            policies: BTreeMap::new(),
        }),
        adoption: None,
        fields: vec![FieldView {
            field: "properties.image".to_owned(),
            class: "replace".to_owned(),
            old: Some("\"v1\"".to_owned()),
            new: Some("\"v2\"".to_owned()),
        }],
        unguarded: Vec::new(),
        steps: vec![StepView {
            action: "create".to_owned(),
            instances: vec!["web-4".to_owned()],
            cause: "scaleOut".to_owned(),
        }],
        holds: vec![PlanHold {
            code: if denied { "PolicyDenied" } else { "FirstBatch" }.to_owned(),
            message: "because of @everyone".to_owned(),
            reason: None,
            routine: !denied,
        }],
        unseen: false,
        denied,
        approvals_needed: 0,
    }
}

/// Returns what is told of a removal by a document with these lines.
fn removal(lines: &str) -> String {
    let document = format!(
        "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {{name: web}}\nspec:\n  provider: local\n  size: 3\n  \
         template: {{}}\n{lines}"
    );
    let mut file = drover_spec::parse_file("groups/web.yaml", document.as_bytes());
    let Some(drover_spec::Document::Group(group)) = file.documents.remove(0).outcome else {
        panic!("no group: {document}");
    };
    let mut plan = plan("web", false);
    plan.fields.clear();
    plan.steps.clear();
    plan.holds.clear();
    plan.change = plan.change.map(|change| {
        let removed = ChangeView {
            to: None,
            creates: 0,
            replaces: 0,
            destroys: 3,
            unavailable_max: 3,
            destroyed_max: 3,
            ..change
        };
        removed.led_from(Some(&group))
    });
    text(&plans([plan]), false)
}

#[test]
fn a_removal_that_ends_nothing_is_not_told_as_one_that_does() {
    insta::assert_snapshot!(removal(""), @r"
    web: removed, destroy 3
      at once at most: 3 unavailable, 3 destroyed without replacement, 6 in total
      change 0123456789ab
    Plan: 0 to create, 0 to replace, 3 to destroy in 1 of 1 group
    ");
    insta::assert_snapshot!(removal("  deletion: {policy: Orphan}\n"), @r"
    web: removed, release 3
      at once at most: 0 unavailable, 0 destroyed without replacement, 6 in total
      change 0123456789ab
    Plan: 0 to create, 0 to replace, 0 to destroy, 3 to release in 1 of 1 group
    ");
    insta::assert_snapshot!(removal("  manage: observe\n"), @r"
    web: removed
      at once at most: 0 unavailable, 0 destroyed without replacement, 6 in total
      change 0123456789ab
    Plan: settings of 1 of 1 group change, and no instance
    ");
}

#[test]
fn text_says_what_changes_and_what_holds() {
    insta::assert_snapshot!(text(&plans([plan("web", false)]), false), @r#"
    web: size 3 -> 5, template aaaaaaaa -> bbbbbbbb, create 2, replace 3
      ~ properties.image: "v1" -> "v2" (replace)
      at once at most: 0 unavailable, 10 destroyed without replacement, 6 in total
      change 0123456789ab
      create web-4 (scaleOut)
      held: FirstBatch: because of @everyone
    Plan: 2 to create, 3 to replace, 0 to destroy in 1 of 1 group
    "#);
}

#[test]
fn markdown_puts_denials_first_and_mentions_nobody() {
    let text = markdown(&plans([plan("web", true)]), "a..b");
    assert!(
        text.starts_with("<!-- drover:plan a..b -->\n**Plan: 2 to create"),
        "{text}"
    );
    assert!(text.contains("1 denied by policy"), "{text}");
    assert!(!text.contains("@everyone"), "{text}");
    assert!(text.contains("| web | size 3 -&gt; 5"), "{text}");
}

#[test]
fn markdown_stays_within_what_hosts_take() {
    let groups: Vec<PlanView> = (0..1_000)
        .map(|number| plan(&format!("g{number}"), false))
        .collect();
    let text = markdown(&plans(groups), "a..b");
    assert!(text.len() < 40_000, "{}", text.len());
    assert!(
        text.contains("Truncated:"),
        "nothing says that groups are missing"
    );
}

#[test]
fn markdown_shows_what_is_hidden_in_a_value() {
    let mut plan = plan("web", false);
    plan.fields[0].field = "properties.a\n+ b".to_owned();
    plan.fields[0].new = Some("\"rm \u{202e}x\u{2066}\u{200b}\"".to_owned());
    plan.holds[0].message = "see https://evil.example, #1, @ann \u{202e}".to_owned();
    let text = markdown(&plans([plan]), "a..b");
    let hidden = |c: char| c != '\n' && drover_loop::is_hidden(c);
    assert!(!text.contains(hidden), "{text:?}");
    let line = "+ properties.a + b: \"rm \\u202ex\\u2066\\u200b\"   # replace\n";
    assert!(text.contains(line), "{text}");
    let held = "see https:&#8203;//evil.example, #&#8203;1, @&#8203;ann";
    assert!(text.contains(held), "{text}");
}

#[test]
fn markdown_shows_where_long_values_differ_first_and_how_much_is_cut() {
    let mut plan = plan("web", false);
    let long = |word: &str| format!("\"{}{word}{}\"", "a".repeat(500), "b".repeat(300));
    plan.fields[0].old = Some(long("good"));
    plan.fields[0].new = Some(long("evil"));
    let text = markdown(&plans([plan.clone()]), "a..b");
    let line = |word: &str, sign: &str| {
        let (before, behind) = ("a".repeat(40), "b".repeat(116));
        format!(
            "{sign} properties.image: (461 characters)...{before}{word}{behind}...(185 characters)"
        )
    };
    for line in [line("good", "-"), line("evil", "+")] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
    // One that begins otherwise is shown from its beginning, and a short one whole.
    plan.fields[0].new = Some("\"c\"".to_owned());
    let text = markdown(&plans([plan]), "a..b");
    let old = format!(
        "- properties.image: \"{}...(646 characters)\n",
        "a".repeat(159)
    );
    assert!(text.contains(&old), "{text}");
    assert!(
        text.contains("+ properties.image: \"c\"   # replace"),
        "{text}"
    );
}

#[test]
fn markdown_tells_denials_before_approvals_everywhere() {
    let hold = |code: &str, message: &str| PlanHold {
        code: code.to_owned(),
        message: message.to_owned(),
        reason: None,
        routine: false,
    };
    let mut asks = plan("asks", false);
    asks.holds = vec![hold("ApprovalNeeded", "must be approved: asks")];
    asks.approvals_needed = 1;
    let mut denied = plan("denied", true);
    denied.holds = vec![
        hold("ApprovalNeeded", "must be approved: denied"),
        hold("PolicyDenied", "no"),
    ];
    denied.approvals_needed = 1;
    let text = markdown(&plans([plan("plain", false), asks, denied]), "a..b");
    let order = |words: &[&str]| {
        let places: Vec<usize> = words.iter().map(|word| text.find(word).unwrap()).collect();
        assert!(places.is_sorted(), "{words:?}: {places:?}\n{text}");
    };
    order(&[
        "- denied: no",
        "- asks: must be",
        "- denied: must be",
        "| group",
    ]);
    order(&["| denied |", "| asks |", "| plain |"]);
    order(&["<summary>denied", "<summary>asks", "<summary>plain"]);
    assert!(text.contains("PolicyDenied, ApprovalNeeded |"), "{text}");
    order(&["- held: PolicyDenied", "- held: ApprovalNeeded"]);
}

fn document(name: &str, change: DocumentChange, weaker: &[&str]) -> DocumentView {
    let field = |field: &str, old: Option<&str>, new: Option<&str>| FieldView {
        field: field.to_owned(),
        class: String::new(),
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
    };
    DocumentView {
        kind: "Binding".to_owned(),
        name: name.to_owned(),
        file: "policies/prod.yaml".to_owned(),
        change,
        about: Some("freeze, warn".to_owned()),
        groups: ["api", "db", "queue", "web", "worker"]
            .map(str::to_owned)
            .into(),
        weaker: weaker.iter().map(|it| (*it).to_owned()).collect(),
        fields: vec![
            field("enforcement", Some("\"deny\""), Some("\"warn\"")),
            field("params.to", Some("\"@ann\n+ x\""), None),
        ],
    }
}

#[test]
fn documents_that_are_no_groups_are_told_and_guards_that_go_come_first() {
    let plans = Plans {
        groups: Vec::new(),
        documents: vec![
            document("gone", DocumentChange::Removed, &["removed"]),
            document(
                "less",
                DocumentChange::Changed,
                &["enforcement deny -> warn"],
            ),
            document("more", DocumentChange::Added, &[]),
        ],
    };
    assert_eq!(
        headline(&plans),
        "Plan: no group changes; 3 other documents change, 2 guards removed or loosened"
    );
    assert!(plans.is_pending());
    insta::assert_snapshot!(text(&plans, false), @r#"
    Binding gone: REMOVED (freeze, warn), groups 5: api, db, queue and 2 more - policies/prod.yaml
      ~ enforcement: "deny" -> "warn"
      - params.to: "@ann + x"
    Binding less: changed, WEAKER (freeze, warn), groups 5: api, db, queue and 2 more - policies/prod.yaml
      withholds less: enforcement deny -> warn
      ~ enforcement: "deny" -> "warn"
      - params.to: "@ann + x"
    Binding more: added (freeze, warn), groups 5: api, db, queue and 2 more - policies/prod.yaml
      ~ enforcement: "deny" -> "warn"
      - params.to: "@ann + x"
    Plan: no group changes; 3 other documents change, 2 guards removed or loosened
    "#);
    let text = markdown(&plans, "a..b");
    let text = text.split("<details><summary>Binding less").next().unwrap();
    insta::assert_snapshot!(text, @r#"
    <!-- drover:plan a..b -->
    **Plan: no group changes; 3 other documents change, 2 guards removed or loosened**

    - **guard**: Binding gone is removed; it concerns 5 groups: api, db, queue and 2 more
    - **guard**: Binding less withholds less: enforcement deny -&gt; warn; it concerns 5 groups: api, db, queue and 2 more

    **Other documents**

    | document | change | groups | file |
    | --- | --- | --- | --- |
    | Binding gone | REMOVED (freeze, warn) | 5: api, db, queue and 2 more | policies/prod.yaml |
    | Binding less | changed, WEAKER (freeze, warn) | 5: api, db, queue and 2 more | policies/prod.yaml |
    | Binding more | added (freeze, warn) | 5: api, db, queue and 2 more | policies/prod.yaml |

    <details><summary>Binding gone: REMOVED (freeze, warn)</summary>

    ```diff
    - enforcement: "deny"
    + enforcement: "warn"
    - params.to: "@ann + x"
    ```

    </details>
    "#);
}

#[test]
fn a_comment_has_room_for_many_documents_and_says_how_many_more_there_are() {
    let documents = (0..1_000).map(|number| {
        let name = format!("b{number}");
        document(&name, DocumentChange::Removed, &["removed"])
    });
    let groups = (0..1_000).map(|number| plan(&format!("g{number}"), false));
    let plans = Plans {
        groups: groups.collect(),
        documents: documents.collect(),
    };
    let text = markdown(&plans, "a..b");
    assert!(text.len() < 50_000, "{}", text.len());
    for told in [
        "more guards\n",
        "more groups.",
        "more documents.",
        "what differs in",
        "| Binding b0 |",
        "<summary>Binding b0:",
    ] {
        assert!(text.contains(told), "{told}\n{text}");
    }
}

#[test]
fn a_headline_counts_what_is_done_in_place_and_a_comment_names_the_bindings() {
    let mut plan = plan("web", false);
    let change = plan.change.as_mut().unwrap();
    change.restarts = 4;
    for name in ["binding/prod", "binding/prod/isHoliday/de", "policy/freeze"] {
        change.policies.insert(name.to_owned(), "0".to_owned());
    }
    let plans = plans([plan]);
    assert_eq!(
        headline(&plans),
        "Plan: 2 to create, 3 to replace, 0 to destroy, 4 to restart in place in 1 of 1 group"
    );
    let text = markdown(&plans, "a..b");
    assert!(text.contains("\n- judged by prod\n"), "{text}");
}

#[test]
fn a_group_whose_settings_alone_change_is_told() {
    let mut plan = plan("web", false);
    (plan.change, plan.steps) = (None, Vec::new());
    plan.unguarded = vec!["prod (freeze, deny)".to_owned()];
    let told = plans([plan.clone()]);
    let line = "Plan: settings of 1 of 1 group change, and no instance";
    assert_eq!(headline(&told), line);
    assert!(text(&told, false).contains("no longer judged by prod"));
    let guard = "- **guard**: web has other labels, and is no longer judged by prod (freeze, deny)";
    assert!(markdown(&told, "a..b").contains(guard));
    plan.fields.clear();
    assert_eq!(headline(&plans([plan.clone()])), "Plan: no changes");
    let adopt = StepView {
        action: "adopt".to_owned(),
        instances: vec!["web-1".to_owned()],
        cause: "adoption".to_owned(),
    };
    plan.steps = vec![adopt];
    let line = "Plan: 1 step to keep what is in force, in 1 of 1 group";
    assert_eq!(headline(&plans([plan])), line);
}

#[test]
fn what_a_promotion_takes_over_and_has_no_room_for_is_told() {
    let mut plan = plan("web", false);
    (plan.change, plan.steps) = (None, Vec::new());
    plan.adoption = Some(super::AdoptionView {
        strangers: Some(2),
        held: 3,
    });
    let told = plans([plan.clone()]);
    let line = "Plan: 0 to create, 0 to replace, 0 to destroy, 2 to adopt in 1 of 1 group";
    assert_eq!(headline(&told), line);
    let adopts = "web: adopt 2, hold 3 (AdoptedSurplus)";
    assert!(
        text(&told, false).contains(adopts),
        "{}",
        text(&told, false)
    );
}
