use drover_model::Timestamp;
use proptest::prelude::*;

use super::*;

/// A file with everything that an edit must keep: comments, odd spaces, other documents.
const FILE: &str = "\
# Everything about the shop.
apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: local}
spec: {type: process}   # the same host
---
# The front.
apiVersion: drover/v1alpha1
kind: Group
metadata:
  name: web
  labels:   {env: prod}
spec:
  provider: local
  size:   3   # three, because of the racks

  template:
    properties:
      command: [serve, \"--size: 9\"]
      script: |
        size: 7
        ---
    # nothing more here
# the end of web
---
apiVersion: drover/v1alpha1
kind: Group
metadata: {name: api}
spec: {provider: local, size: 1, template: {}}
";

fn name(text: &str) -> GroupName {
    GroupName::parse(text).unwrap()
}

fn suspend(what: &[Activity]) -> Suspend {
    Suspend {
        what: what.iter().copied().collect(),
        until: None,
        because: None,
    }
}

/// Returns the lines that differ, as a diff shows them.
fn diff(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev());
    let tail = tail.take_while(|(a, b)| a == b).count();
    let lines = |sign: &str, lines: &[&str]| -> String {
        lines.iter().flat_map(|line| [sign, line, "\n"]).collect()
    };
    let removed = lines("-", &old[..old.len() - tail]);
    removed + &lines("+", &new[..new.len() - tail])
}

#[test]
fn sets_the_size_and_keeps_every_other_byte() {
    let after = set_size(FILE, &name("web"), 12).unwrap();
    assert_eq!(after, FILE.replace("size:   3 ", "size:   12 "));
    let after = set_size(FILE, &name("api"), 0).unwrap();
    assert_eq!(after, FILE.replace("size: 1,", "size: 0,"));
    assert_eq!(set_size(FILE, &name("web"), 3).unwrap(), FILE);
}

#[test]
fn refuses_a_size_outside_the_bounds() {
    let text = FILE.replace("size: 1,", "size: 1, bounds: {min: 1, max: 4},");
    assert!(set_size(&text, &name("api"), 4).is_ok());
    let Err(EditError::Refused { diagnostics, .. }) = set_size(&text, &name("api"), 5) else {
        panic!("the size is outside the bounds");
    };
    insta::assert_snapshot!(diagnostics[0].message, @"`size` (5) is outside the bounds, 1 to 4");
}

#[test]
fn says_when_there_is_nothing_to_edit() {
    let missing = set_size(FILE, &name("db"), 1);
    assert_eq!(missing, Err(EditError::NotFound { group: name("db") }));
    let twice = format!("{FILE}---\n{}", FILE.split("---\n").last().unwrap());
    let twice = set_size(&twice, &name("api"), 1);
    assert_eq!(twice, Err(EditError::Repeated { group: name("api") }));
    let wrong = FILE.replace("size: 1", "size: one");
    let wrong = set_size(&wrong, &name("api"), 1);
    assert!(matches!(wrong, Err(EditError::Invalid { .. })));
}

#[test]
fn a_mistake_in_another_document_does_not_matter() {
    let text = FILE.replace("spec: {type: process}", "spec: {type: process");
    let after = set_size(&text, &name("web"), 5).unwrap();
    assert_eq!(after, text.replace("size:   3 ", "size:   5 "));
}

#[test]
fn leaves_a_size_that_is_an_alias_of_something_else_to_people() {
    let text = FILE.replace(
        "size: 1, template: {}",
        "template: {properties: {n: &n 2}}, size: *n",
    );
    let shared = set_size(&text, &name("api"), 3);
    assert_eq!(shared, Err(EditError::ByHand { group: name("api") }));
}

#[test]
fn suspends_a_group_in_block_style() {
    let mut entry = suspend(&[Activity::Update]);
    entry.until = Some("2026-12-01T08:00:00Z".parse::<Timestamp>().unwrap());
    entry.because = Some("INC-123, see: \"chat\"".to_owned());
    let once = add_suspend(FILE, &name("web"), &entry).unwrap();
    insta::assert_snapshot!(diff(FILE, &once), @r#"
+  suspend:
+    - {what: update, until: 2026-12-01T08:00:00Z, because: "INC-123, see: \"chat\""}
"#);
    let twice = add_suspend(
        &once,
        &name("web"),
        &suspend(&[Activity::Heal, Activity::Gc]),
    );
    insta::assert_snapshot!(diff(&once, &twice.unwrap()), @"+    - {what: [heal, gc]}");
}

#[test]
fn suspends_a_group_in_flow_style() {
    let once = add_suspend(FILE, &name("api"), &suspend(&[Activity::All])).unwrap();
    insta::assert_snapshot!(diff(FILE, &once), @r"
-spec: {provider: local, size: 1, template: {}}
+spec: {provider: local, size: 1, template: {}, suspend: [{what: all}]}
");
    let twice = add_suspend(&once, &name("api"), &suspend(&[Activity::Heal])).unwrap();
    insta::assert_snapshot!(diff(&once, &twice), @r"
-spec: {provider: local, size: 1, template: {}, suspend: [{what: all}]}
+spec: {provider: local, size: 1, template: {}, suspend: [{what: all}, {what: heal}]}
");
    let empty = FILE.replace("size: 1,", "size: 1, suspend: [ ],");
    let filled = add_suspend(&empty, &name("api"), &suspend(&[Activity::Heal])).unwrap();
    insta::assert_snapshot!(diff(&empty, &filled), @r"
-spec: {provider: local, size: 1, suspend: [ ], template: {}}
+spec: {provider: local, size: 1, suspend: [{what: heal} ], template: {}}
");
}

#[test]
fn resumes_one_activity_of_several() {
    let text = FILE.replace(
        "  provider: local\n",
        "  suspend:\n    # during the move\n    - what: [heal, update]\n      because: move\n    - {what: scale}\n    - what:\n        - gc\n        - update\n  provider: local\n",
    );
    let update = BTreeSet::from([Activity::Update]);
    let after = remove_suspend(&text, &name("web"), &update).unwrap();
    insta::assert_snapshot!(diff(&text, &after), @r"
-    - what: [heal, update]
-      because: move
-    - {what: scale}
-    - what:
-        - gc
-        - update
+    - what: [heal]
+      because: move
+    - {what: scale}
+    - what:
+        - gc
");
    let scale = BTreeSet::from([Activity::Scale]);
    let after = remove_suspend(&text, &name("web"), &scale).unwrap();
    insta::assert_snapshot!(diff(&text, &after), @"-    - {what: scale}");
    let all = BTreeSet::from([Activity::All]);
    let after = remove_suspend(&text, &name("web"), &all).unwrap();
    assert_eq!(after, FILE);
}

#[test]
fn resumes_in_flow_style() {
    let text = FILE.replace(
        "spec: {provider: local, size: 1,",
        "spec: {suspend: [{what: update}, {what: [gc, heal]}], provider: local, size: 1,",
    );
    let resumed = |activities: &[Activity]| {
        let activities = activities.iter().copied().collect();
        let after = remove_suspend(&text, &name("api"), &activities).unwrap();
        diff(&text, &after)
    };
    insta::assert_snapshot!(resumed(&[Activity::Update]), @r"
-spec: {suspend: [{what: update}, {what: [gc, heal]}], provider: local, size: 1, template: {}}
+spec: {suspend: [{what: [gc, heal]}], provider: local, size: 1, template: {}}
");
    insta::assert_snapshot!(resumed(&[Activity::Gc]), @r"
-spec: {suspend: [{what: update}, {what: [gc, heal]}], provider: local, size: 1, template: {}}
+spec: {suspend: [{what: update}, {what: [heal]}], provider: local, size: 1, template: {}}
");
    insta::assert_snapshot!(resumed(&[Activity::Gc, Activity::Heal]), @r"
-spec: {suspend: [{what: update}, {what: [gc, heal]}], provider: local, size: 1, template: {}}
+spec: {suspend: [{what: update}], provider: local, size: 1, template: {}}
");
    insta::assert_snapshot!(resumed(&[Activity::All]), @r"
-spec: {suspend: [{what: update}, {what: [gc, heal]}], provider: local, size: 1, template: {}}
+spec: {provider: local, size: 1, template: {}}
");
}

#[test]
fn resuming_what_is_not_suspended_is_an_error() {
    let update = BTreeSet::from([Activity::Update]);
    let nothing = remove_suspend(FILE, &name("web"), &update);
    let error = EditError::NotSuspended { group: name("web") };
    assert_eq!(nothing, Err(error.clone()));
    let all = add_suspend(FILE, &name("web"), &suspend(&[Activity::All])).unwrap();
    assert_eq!(remove_suspend(&all, &name("web"), &update), Err(error));
}

#[test]
fn edits_files_of_other_systems() {
    let text = FILE.replace('\n', "\r\n");
    let after = set_size(&text, &name("web"), 4).unwrap();
    assert_eq!(after, text.replace("size:   3 ", "size:   4 "));
    let after = add_suspend(&text, &name("web"), &suspend(&[Activity::Heal])).unwrap();
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
    let all = BTreeSet::from([Activity::All]);
    assert_eq!(remove_suspend(&after, &name("web"), &all).unwrap(), text);
}

#[test]
fn edits_a_file_without_a_last_line_break() {
    let text = "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {name: web}\nspec:\n  provider: a\n  template: {}\n  size: 1";
    let after = add_suspend(text, &name("web"), &suspend(&[Activity::Heal])).unwrap();
    assert_eq!(after, format!("{text}\n  suspend:\n    - {{what: heal}}"));
    let all = BTreeSet::from([Activity::All]);
    assert_eq!(remove_suspend(&after, &name("web"), &all).unwrap(), text);
}

/// Groups in many ways of writing: comments, blank lines, order of fields, styles, line breaks.
fn file() -> impl Strategy<Value = String> {
    let noise = proptest::sample::select(vec!["", "\n", "  # note\n", "# size: 9\n", "   \n"]);
    let fields = Just(vec![
        "  provider: local\n",
        "  size: 3 # three\n",
        "  template:\n    properties: {a: \"size: 4\", b: [1,\n      2]}\n",
        "  rollout:\n    maxSurge: 1\n",
        "  heal: {maxInFlight: 1}\n",
        "  drain:\n    begin:\n    - http: {port: 1, path: /x}\n",
    ])
    .prop_shuffle();
    let block = proptest::sample::select(vec![
        "",
        "  deletion: {protect: true}   \n",
        "  limits:\n    maxTotal: auto\n\n\n",
    ]);
    (
        fields,
        proptest::collection::vec(noise, 8),
        block,
        any::<(bool, bool, bool)>(),
    )
        .prop_map(|(fields, noise, block, (crlf, second, cut))| {
            let mut text =
                "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {name: web}\nspec:\n"
                    .to_owned();
            for (field, noise) in fields.iter().zip(&noise) {
                text.push_str(noise);
                text.push_str(field);
            }
            text.push_str(block);
            if second {
                text.push_str("---\n# two\napiVersion: drover/v1alpha1\nkind: Group\nmetadata: {name: api}\nspec: {provider: local, size: 3, template: {}}\n");
            }
            if cut {
                text.truncate(text.trim_end().len());
            }
            if crlf { text.replace('\n', "\r\n") } else { text }
        })
}

proptest! {
    #[test]
    fn any_size_edit_changes_the_number_alone(text in file(), size in 0_u32..10_000) {
        let after = set_size(&text, &name("web"), size).unwrap();
        prop_assert_eq!(after, text.replacen("size: 3 #", &format!("size: {size} #"), 1));
    }

    #[test]
    fn suspending_and_resuming_restores_every_byte(
        text in file(),
        what in proptest::sample::subsequence(
            vec![Activity::Update, Activity::Heal, Activity::Scale, Activity::Gc], 1..4),
        because in proptest::option::of("\\PC{1,20}"),
    ) {
        let mut entry = suspend(&what);
        entry.because = because;
        let suspended = add_suspend(&text, &name("web"), &entry).unwrap();
        let resumed = remove_suspend(&suspended, &name("web"), &entry.what).unwrap();
        prop_assert_eq!(resumed, text);
    }
}

const FREE: &str = "apiVersion: drover/v1alpha1
kind: Group
metadata: {name: web}
spec:
  provider: local # here
  size: 3
  template:
    properties:
      image: a # the first
      ports: [80]
    tags: {a: b}
";

const OTHER: &str = "apiVersion: drover/v1alpha1
kind: Group
metadata: {name: db}
spec: {provider: local, size: 1, template: {properties: {image: b}}}
";

fn named(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

#[test]
fn manage_is_written_behind_the_other_fields_or_where_it_stands() {
    let free = set_manage(FREE, &named("web"), Manage::Observe).unwrap();
    assert_eq!(free, format!("{FREE}  manage: observe\n"));
    let back = set_manage(&free, &named("web"), Manage::Full).unwrap();
    assert_eq!(back, format!("{FREE}  manage: full\n"));
    let flow = set_manage(OTHER, &named("db"), Manage::Observe).unwrap();
    assert!(
        flow.contains("{properties: {image: b}}, manage: observe}\n"),
        "{flow}"
    );
    let unsure = FREE.replace("    tags: {a: b}\n", "    tags:\n      a: |\n        b\n");
    let free = set_manage(&unsure, &named("web"), Manage::Observe).unwrap();
    assert!(free.contains("manage: observe"), "{free}");
    let missing = set_manage(FREE, &named("db"), Manage::Observe);
    assert_eq!(missing, Err(EditError::NotFound { group: named("db") }));
}

#[test]
fn properties_are_replaced_as_a_whole_and_nothing_else() {
    let value: Value = [("image".to_owned(), Value::from("c"))]
        .into_iter()
        .collect();
    let written = "{\"image\":\"c\"}";
    let changed = set_properties(FREE, &named("web"), &value, written).unwrap();
    let expected = FREE.replace(
        "image: a # the first\n      ports: [80]\n",
        "{\"image\":\"c\"}\n",
    );
    assert_eq!(changed, expected);
    let flow = set_properties(OTHER, &named("db"), &value, written).unwrap();
    assert_eq!(flow, OTHER.replace("{image: b}", written));
    // What is written is not what is meant.
    let other = set_properties(OTHER, &named("db"), &value, "{image: d}");
    assert_eq!(other, Err(EditError::ByHand { group: named("db") }));
    let bare = OTHER.replace("{properties: {image: b}}", "{}");
    let none = set_properties(&bare, &named("db"), &value, written);
    assert!(none.is_err(), "{none:?}");
}

#[test]
fn a_group_is_taken_out_of_its_file_with_its_dashes() {
    assert_eq!(remove_group(FREE, &named("web")), Ok(None));
    let both = format!("{FREE}---\n{OTHER}");
    assert_eq!(remove_group(&both, &named("db")), Ok(Some(FREE.to_owned())));
    assert_eq!(
        remove_group(&both, &named("web")),
        Ok(Some(OTHER.to_owned()))
    );
    let three = format!("{both}---\n{}", OTHER.replace("db", "cache"));
    let left = remove_group(&three, &named("db")).unwrap().unwrap();
    assert_eq!(left, format!("{FREE}---\n{}", OTHER.replace("db", "cache")));
    let missing = remove_group(&both, &named("cache"));
    assert_eq!(
        missing,
        Err(EditError::NotFound {
            group: named("cache")
        })
    );
}

/// The same shop with another template of web, and the front's file written otherwise.
const BEFORE: &str = "\
apiVersion: drover/v1alpha1
kind: Group
metadata: {name: web}
spec:
    size: 9
    template:
        # as it was in spring
        properties:
            command: [serve, old]   # before the rewrite

            script: |
                size: 7
                ---
    provider: local
";

#[test]
fn a_template_is_taken_over_as_it_was_written_and_nothing_else() {
    let changed = set_template(FILE, &name("web"), BEFORE).unwrap();
    insta::assert_snapshot!(changed, @r"
    # Everything about the shop.
    apiVersion: drover/v1alpha1
    kind: Provider
    metadata: {name: local}
    spec: {type: process}   # the same host
    ---
    # The front.
    apiVersion: drover/v1alpha1
    kind: Group
    metadata:
      name: web
      labels:   {env: prod}
    spec:
      provider: local
      size:   3   # three, because of the racks

      template:
          # as it was in spring
          properties:
              command: [serve, old]   # before the rewrite

              script: |
                  size: 7
                  ---
        # nothing more here
    # the end of web
    ---
    apiVersion: drover/v1alpha1
    kind: Group
    metadata: {name: api}
    spec: {provider: local, size: 1, template: {}}
    ");
    // There and back again.
    let back = set_template(&changed, &name("web"), FILE).unwrap();
    assert_eq!(back, FILE);
    let same = set_template(FILE, &name("web"), FILE).unwrap();
    assert_eq!(same, FILE);
}

#[test]
fn a_template_in_one_line_is_taken_over_too_and_others_by_hand() {
    let flow = "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {name: api}\nspec: {provider: local, size: 1, template: {properties: {command: [serve]}}}\n";
    let changed = set_template(FILE, &name("api"), flow).unwrap();
    assert_eq!(
        changed,
        FILE.replace("template: {}", "template: {properties: {command: [serve]}}")
    );
    let block = BEFORE.replace("name: web", "name: api");
    let refused = set_template(FILE, &name("api"), &block).unwrap_err();
    assert!(matches!(refused, EditError::ByHand { .. }), "{refused}");
    let missing = set_template(FILE, &name("api"), BEFORE).unwrap_err();
    assert!(matches!(missing, EditError::NotFound { .. }), "{missing}");
    let windows = set_template(&FILE.replace('\n', "\r\n"), &name("web"), BEFORE).unwrap();
    assert!(!windows.replace("\r\n", "").contains('\n'));
}
