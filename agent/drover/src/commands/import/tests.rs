//! What every kind of import shares.

use drover_model::Value;

use super::{comments, entry, literal, literal_text};

#[test]
fn entries_stand_where_they_belong_whatever_is_in_them() {
    let lines = Value::from("first\n\n  indented\n");
    assert_eq!(
        entry(1, "script", &lines),
        "  script: |\n    first\n\n      indented\n"
    );
    let nested: Value = [(
        "a".to_owned(),
        Value::List(vec!["on".into(), Value::Int(1)]),
    )]
    .into_iter()
    .collect();
    assert_eq!(entry(0, "x", &nested), "x:\n  a:\n    - \"on\"\n    - 1\n");
}

#[test]
fn comments_stay_comments_and_dollars_stay_dollars() {
    let told = comments(&["one\nkind: Group".to_owned(), String::new()]);
    assert_eq!(told, "# one kind: Group\n#\n");
    assert_eq!(literal_text("${HOME} $${x} $y"), "$${HOME} $$${x} $y");
    assert_eq!(literal_text("${A:-${B}} ${open"), "$${A:-${B}} $${open");
    let value: Value = [(
        "${k}".to_owned(),
        Value::List(vec!["${v}".into(), Value::Null]),
    )]
    .into_iter()
    .collect();
    let escaped = literal(&value);
    assert_eq!(
        escaped.get("${k}").unwrap().as_list().unwrap()[0],
        Value::from("$${v}")
    );
}
