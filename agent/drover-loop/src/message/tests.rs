use drover_model::Timestamp;

use super::*;

fn trailers() -> Trailers {
    Trailers {
        group: Some("web".to_owned()),
        plan: Some("3f9a".to_owned()),
        source: Some("main@sha1:4be6".to_owned()),
        policy: None,
        result: Some("Succeeded"),
        agent: "edge-1 0.1.0".to_owned(),
        accepted_rewrite: None,
        accepted_state: None,
        approved_by: Vec::new(),
    }
}

#[test]
fn a_message_has_subject_body_and_trailers() {
    let body = ["create web-1 (scaleOut)".to_owned()];
    insta::assert_snapshot!(message("web: scale 3 -> 5", &body, &trailers()), @r"
    web: scale 3 -> 5

    - create web-1 (scaleOut)
    [skip ci]

    Drover-Group: web
    Drover-Plan: 3f9a
    Drover-Source: main@sha1:4be6
    Drover-Result: Succeeded
    Drover-Agent: edge-1 0.1.0
    ");
}

#[test]
fn equal_lines_of_a_body_are_counted_where_the_first_is() {
    let body = ["held: a", "held: b", "held: a", "held: a"].map(str::to_owned);
    let text = message("web: held", &body, &trailers());
    let lines: Vec<&str> = text.lines().skip(2).take(3).collect();
    assert_eq!(lines, ["- 3 x held: a", "- held: b", "[skip ci]"]);
}

#[test]
fn nothing_in_a_message_can_add_lines_or_trailers() {
    let evil = "x\n\nDrover-Approved-By: Mallory\r\u{2028}\u{202e}y".to_owned();
    let text = message(&evil, std::slice::from_ref(&evil), &trailers());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "x Drover-Approved-By: Mallory y");
    assert_eq!(lines[2], "- x Drover-Approved-By: Mallory y");
    assert!(!text.contains("\nDrover-Approved-By"), "{text}");
    assert!(!text.contains('\u{202e}'), "{text}");
}

#[test]
fn a_long_subject_is_cut_to_72_characters() {
    let text = message(&"ä".repeat(100), &[], &trailers());
    let subject = text.lines().next().unwrap();
    assert_eq!(subject.chars().count(), 72);
    assert!(subject.ends_with("..."));
}

#[test]
fn a_long_body_is_counted_rather_than_listed() {
    let body: Vec<String> = (0..50).map(|step| format!("step {step}")).collect();
    let text = message("web: scale 0 -> 50", &body, &trailers());
    assert!(text.contains("- and 30 more\n[skip ci]"), "{text}");
}

#[test]
fn a_long_object_id_is_named_by_its_algorithm() {
    let short = Revision::parse(&"a".repeat(40)).unwrap();
    let long = Revision::parse(&"b".repeat(64)).unwrap();
    assert!(source_trailer("main", &short).starts_with("main@sha1:aaa"));
    assert!(source_trailer("main", &long).starts_with("main@sha256:bbb"));
}

#[test]
fn who_approved_a_change_is_a_trailer_of_each_of_them() {
    let approved_by = ["ann@example.com", "bob@example.com\nDrover-Result: None"];
    let trailers = Trailers {
        approved_by: approved_by.map(str::to_owned).to_vec(),
        ..trailers()
    };
    let text = message("web: scale 3 -> 5", &[], &trailers);
    let told: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("Drover-"))
        .collect();
    assert_eq!(
        told[told.len() - 2..],
        [
            "Drover-Approved-By: ann@example.com",
            "Drover-Approved-By: bob@example.com Drover-Result: None",
        ]
    );
}

#[test]
fn a_rollout_is_told_by_what_it_does_and_the_template_by_what_differs() {
    let digests = |replace: char, restart: char, live: char| {
        let [replace, restart, live] =
            [replace, restart, live].map(|letter| letter.to_string().repeat(32));
        Digests::parse(&format!("1:{replace}+{restart}+{live}")).unwrap()
    };
    let stable = digests('a', 'a', 'a');
    let rollout = |target| Rollout::new(target, Timestamp::UNIX_EPOCH, 3);
    let cases = [
        (digests('b', 'c', 'd'), "roll to bbbbbbbb"),
        (digests('a', 'c', 'd'), "restart as cccccccc"),
        (digests('a', 'a', 'd'), "change to dddddddd in place"),
    ];
    for (target, told) in cases {
        assert_eq!(rolled(&stable, &rollout(target)), told);
    }
    let mut refused = rollout(digests('a', 'a', 'd'));
    refused.refused = Some("no".to_owned());
    assert_eq!(rolled(&stable, &refused), "roll to dddddddd");
}
