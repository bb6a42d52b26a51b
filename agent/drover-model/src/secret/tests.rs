use super::SecretRef;
use crate::Value;

fn map(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter();
    Value::Map(
        entries
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    )
}

fn from(source: &str, name: &str) -> Value {
    map(&[("valueFrom", map(&[(source, Value::from(name))]))])
}

fn sops(file: &str, key: Value) -> Value {
    let sops = map(&[("file", Value::from(file)), ("key", key)]);
    map(&[("valueFrom", map(&[("sops", sops)]))])
}

const ARMOURED: &str = "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5\ncHRlZA==\n-----END AGE ENCRYPTED FILE-----\n";

#[test]
fn a_reference_is_read_written_and_named() {
    for (value, name) in [
        (from("env", "WEB_TOKEN"), "env:WEB_TOKEN"),
        (from("file", "/run/secrets/web"), "file:/run/secrets/web"),
        (from("age", ARMOURED.trim()), "age:...cHRlZA=="),
        (
            sops("secrets/web.yaml", Value::from("db.password")),
            "sops:secrets/web.yaml#db.password",
        ),
        (
            sops(
                "web.json",
                Value::List(vec![Value::from("tls.key"), Value::from("a")]),
            ),
            "sops:web.json#tls.key.a",
        ),
    ] {
        let reference = SecretRef::of_value(&value).unwrap().unwrap();
        assert_eq!(reference.to_string(), name);
        assert_eq!(reference.to_value(), value);
    }
}

#[test]
fn what_is_no_reference_says_why() {
    let refused = |value: Value| SecretRef::of_value(&value).unwrap().unwrap_err();
    for (value, why) in [
        (from("env", "A B"), "names no environment variable"),
        (from("env", ""), "names no environment variable"),
        (from("file", "secrets/web"), "needs an absolute path"),
        (from("file", "/run/../etc/shadow"), "needs an absolute path"),
        (from("file", "/run/${instance.id}"), "has a substitution"),
        (from("age", "AGE"), "needs what `age --armor` writes"),
        (from("sops", "a"), "needs `file` and `key`"),
        (
            sops("/etc/web.yaml", Value::from("a")),
            "inside the repository",
        ),
        (
            sops("a/../../b.yaml", Value::from("a")),
            "inside the repository",
        ),
        (
            sops(".git/config", Value::from("a")),
            "inside the repository",
        ),
        (
            sops("${group.name}.yaml", Value::from("a")),
            "inside the repository",
        ),
        (sops("a.yaml", Value::from("a..b")), "needs a key such as"),
        (sops("a.yaml", Value::from("a\"]")), "needs a key such as"),
        (
            sops("a.yaml", Value::List(Vec::new())),
            "needs a key such as",
        ),
        (sops("a.yaml", Value::Int(1)), "needs a key such as"),
        (
            from("vault", "a"),
            "known are `env`, `file`, `age` and `sops`",
        ),
        (map(&[("valueFrom", Value::from("TOKEN"))]), "needs one of"),
        (map(&[("valueFrom", map(&[]))]), "needs one of"),
        (
            map(&[("valueFrom", map(&[("env", Value::Int(1))]))]),
            "needs a text",
        ),
        (
            map(&[
                ("valueFrom", map(&[("env", Value::from("A"))])),
                ("value", Value::from("b")),
            ]),
            "and something else",
        ),
    ] {
        let said = refused(value);
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(SecretRef::of_value(&Value::from("plain")), None);
    assert_eq!(
        SecretRef::of_value(&map(&[("env", Value::from("A"))])),
        None
    );
}

#[test]
fn references_are_found_wherever_they_stand() {
    let value = map(&[
        (
            "env",
            map(&[("A", from("env", "ONE")), ("B", Value::from("plain"))]),
        ),
        ("command", Value::List(vec![from("file", "/two")])),
    ]);
    let mut found = Vec::new();
    SecretRef::collect(&value, &mut |reference| found.push(reference.to_string()));
    assert_eq!(found, ["file:/two", "env:ONE"]);
}
