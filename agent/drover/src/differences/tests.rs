use super::*;

fn value(text: &str) -> Value {
    drover_spec::parse_value("", text).unwrap()
}

/// A line for each field that differs.
fn differing(old: &str, new: &str) -> String {
    let of = |text: &str| (!text.is_empty()).then(|| value(text));
    let (old, new) = (of(old), of(new));
    let found = differences("", old.as_ref(), new.as_ref());
    let line = |it: &FieldDifference| {
        let [old, new] = [&it.old, &it.new].map(|it| it.as_deref().unwrap_or("none"));
        format!("{}: {old} -> {new}\n", it.field)
    };
    found.iter().map(line).collect()
}

#[test]
fn maps_and_lists_of_maps_are_compared_by_their_parts() {
    let old = "{a: {b: 1, c: [1, 2]}, rules: [{e: x, m: one}, {e: y}], gone: {}}";
    let new = "{a: {b: 2, c: [1, 3]}, rules: [{e: x, m: two}, {e: y}], new: {d: true}}";
    insta::assert_snapshot!(differing(old, new), @r#"
    a.b: 1 -> 2
    a.c: [1,2] -> [1,3]
    gone: {} -> none
    new.d: none -> true
    rules[0].m: "one" -> "two"
    "#);
    assert_eq!(differing(old, old), "");
    assert_eq!(differing("a: {b: 1}", "a: 1"), "a: {\"b\":1} -> 1\n");
    assert_eq!(differing("a: {}", "a: {b: 1}"), "a.b: none -> 1\n");
    assert_eq!(differing("", "a: {b: [x]}"), "a.b: none -> [\"x\"]\n");
}

#[test]
fn an_entry_that_goes_or_comes_leaves_the_others_alone() {
    let three = "rules: [{e: x}, {e: y}, {e: z}]";
    assert_eq!(
        differing(three, "rules: [{e: x}, {e: z}]"),
        "rules[1].e: \"y\" -> none\n"
    );
    assert_eq!(
        differing("rules: [{e: x}, {e: z}]", three),
        "rules[1].e: none -> \"y\"\n"
    );
    insta::assert_snapshot!(differing(three, "rules: [{e: a}, {e: b}]"), @r#"
    rules[0].e: "x" -> none
    rules[1].e: "y" -> none
    rules[2].e: "z" -> none
    rules[0].e: none -> "a"
    rules[1].e: none -> "b"
    "#);
}

#[test]
fn what_looks_like_a_secret_is_not_repeated() {
    let old = "url: 'postgres://app:hunter2@db:5432/x and https://t0ken@host/y, ssh://git@host/z'";
    let new = old.replace("hunter2", "hunter3");
    insta::assert_snapshot!(differing(old, &new), @r#"url: "postgres://app:[redacted]@db:5432/x and https://[redacted]@host/y, ssh://git@host/z" -> "postgres://app:[redacted, another one]@db:5432/x and https://[redacted, another one]@host/y, ssh://git@host/z""#);
    let key = "key: \"-----BEGIN OPENSSH PRIVATE KEY-----\\nabc\"";
    assert_eq!(differing("", key), "key: none -> \"[redacted]\"\n");
    let plain = "a: 'http://host/x?mail=a@b, user:name@host'";
    assert_eq!(
        differing("", plain),
        "a: none -> \"http://host/x?mail=a@b, user:name@host\"\n"
    );
}
