use drover_model::SecretRef;

use super::*;

fn field(shape: Shape, required: bool) -> Field {
    Field {
        shape,
        required,
        class: FieldClass::Replace,
        doc: "A field.".to_owned(),
    }
}

fn schema() -> ObjectSchema {
    let text = Shape::String;
    let words = ["always", "never"].map(str::to_owned).to_vec();
    let inner = ObjectSchema {
        fields: BTreeMap::from([("path".to_owned(), field(Shape::String, true))]),
        others: Others::Refused,
        rules: Rules::default(),
    };
    let shapes = [
        (
            "command",
            Shape::List(ListShape::of(text.clone()).at_least(1)),
            true,
        ),
        ("env", Shape::Map(Box::new(text.clone())), false),
        ("count", Shape::Integer { min: 1, max: 9 }, false),
        ("wait", Shape::Duration, false),
        ("fast", Shape::Boolean, false),
        ("disk", Shape::Object(inner), false),
        ("name", text, false),
        ("when", Shape::Word(words), false),
    ];
    let fields = shapes.map(|(name, shape, required)| (name.to_owned(), field(shape, required)));
    ObjectSchema {
        fields: fields.into(),
        others: Others::Refused,
        rules: Rules::default(),
    }
}

fn map(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

/// The mistakes in `command: [x]` with these entries beside it, as `path: message (suggestion)`.
fn mistakes(entries: &[(&str, Value)]) -> Vec<String> {
    let mut all = vec![("command", Value::List(vec!["x".into()]))];
    all.extend(entries.iter().cloned());
    let found = schema().check(&map(&all)).into_iter();
    let shown = found.map(|mistake| {
        let suggestion = mistake.suggestion.map(|name| format!(" ({name})"));
        let Mistake { path, message, .. } = mistake;
        format!("{path}: {message}{}", suggestion.unwrap_or_default())
    });
    shown.collect()
}

#[test]
fn accepts_what_it_describes() {
    let good = [
        ("env", map(&[("PORT", "80".into())])),
        ("count", Value::Int(9)),
        ("wait", "1h30m".into()),
        ("fast", Value::Bool(true)),
        ("disk", map(&[("path", "/".into())])),
        ("name", "".into()),
        ("when", "never".into()),
    ];
    assert_eq!(mistakes(&good), Vec::<String>::new());
}

#[test]
fn finds_every_mistake_in_one_run_with_its_path() {
    let bad = [
        (
            "command",
            Value::List(vec!["x".into(), Value::Int(1), Value::Null]),
        ),
        (
            "env",
            map(&[("PORT", Value::Int(80)), ("A", "fine".into())]),
        ),
        ("count", Value::Int(10)),
        ("wait", "soon".into()),
        ("fast", "yes".into()),
        ("disk", map(&[("pth", "/".into())])),
        ("name", Value::List(Vec::new())),
        ("when", "alway".into()),
        ("commnd", Value::Null),
        ("unlike-anything", Value::Null),
    ];
    let expected = [
        "command[1]: expected a string, found 1 (\"1\")",
        "command[2]: expected a string, found null",
        "count: expected an integer from 1 to 9, found 10",
        "disk: `path` is missing",
        "disk.pth: unknown field `pth` (path)",
        "env.PORT: expected a string, found 80 (\"80\")",
        "fast: expected a boolean, found \"yes\" (true)",
        "name: expected a string, found a list",
        "wait: expected a duration such as 90s, found \"soon\"",
        "when: expected one of always, never, found \"alway\" (always)",
        "commnd: unknown field `commnd` (command)",
        "unlike-anything: unknown field `unlike-anything`",
    ];
    assert_eq!(mistakes(&bad), expected);
}

#[test]
fn counts_entries_and_types_of_the_whole() {
    let empty = schema().check(&map(&[("command", Value::List(Vec::new()))]));
    assert_eq!(empty[0].message, "expected at least one entry");
    let missing = schema().check(&Value::empty_map());
    assert_eq!(missing[0].message, "`command` is missing");
    let wrong = schema().check(&Value::Null);
    assert_eq!(wrong[0].message, "expected a map, found null");
    assert_eq!(wrong[0].path, "");
    let large = schema().check(&map(&[
        ("command", Value::List(vec!["x".into()])),
        ("count", Value::UInt(u64::MAX)),
    ]));
    assert_eq!(large.len(), 1);
}

#[test]
fn reads_durations_and_nothing_else() {
    let good = [
        ("0s", 0),
        ("90s", 90_000),
        ("1h30m", 5_400_000),
        ("250ms", 250),
        ("1m1ms", 60_001),
        ("1s1s", 2_000),
    ];
    for (text, milliseconds) in good {
        assert_eq!(
            parse_duration(text),
            Some(Duration::from_millis(milliseconds)),
            "{text}"
        );
    }
    let bad = [
        "",
        "s",
        "1",
        "1d",
        "-1s",
        "1.5s",
        "1 s",
        "s1",
        "1s ",
        "99999999999999999999s",
        "18446744073709551615h",
    ];
    for text in bad {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn publishes_the_same_as_json_schema() {
    let published = schema().to_json_schema();
    assert_eq!(
        published.get("additionalProperties"),
        Some(&Value::Bool(false))
    );
    assert_eq!(
        published.get("required"),
        Some(&Value::List(vec!["command".into()]))
    );
    let property = |name: &str| published.get("properties").and_then(|all| all.get(name));
    let count = property("count").unwrap();
    assert_eq!(count.get("minimum"), Some(&Value::Int(1)));
    assert_eq!(count.get("x-drover-class"), Some(&"replace".into()));
    assert_eq!(count.get("description"), Some(&"A field.".into()));
    let command = property("command").unwrap();
    assert_eq!(command.get("minItems"), Some(&Value::Int(1)));
    assert_eq!(
        command.get("items").and_then(|items| items.get("type")),
        Some(&"string".into())
    );
    let disk = property("disk").unwrap();
    assert_eq!(
        disk.get("required"),
        Some(&Value::List(vec!["path".into()]))
    );
    assert_eq!(
        schema().classes().get("command"),
        Some(&FieldClass::Replace)
    );
}

#[test]
fn a_schema_that_is_published_is_read_back_as_it_was() {
    let mut whole = schema();
    whole.fields.insert(
        "more".to_owned(),
        field(Shape::Map(Box::new(Shape::Any)), false),
    );
    let mut live = field(Shape::Any, false);
    live.class = FieldClass::Live;
    whole.fields.insert("any".to_owned(), live);
    for others in [Others::Refused, Others::Taken] {
        whole.others = others;
        let read = ObjectSchema::from_json_schema(&whole.to_json_schema());
        assert_eq!(read.as_ref(), Ok(&whole));
    }
}

#[test]
fn an_open_schema_takes_other_fields_and_still_checks_its_own() {
    let open = ObjectSchema {
        others: Others::Taken,
        rules: Rules::default(),
        ..schema()
    };
    let value = map(&[("other", Value::Null), ("count", Value::Int(10))]);
    let found: Vec<String> = open.check(&value).into_iter().map(|m| m.message).collect();
    assert_eq!(
        found,
        [
            "`command` is missing",
            "expected an integer from 1 to 9, found 10"
        ]
    );
}

#[test]
fn an_object_that_names_no_properties_takes_any_unless_it_says_otherwise() {
    let schema = |more: &[(&str, Value)]| {
        let mut all = vec![("type", Value::from("object"))];
        all.extend(more.iter().cloned());
        ObjectSchema::from_json_schema(&map(&all))
    };
    let given = map(&[("size", Value::Int(1))]);
    for more in [&[][..], &[("additionalProperties", true.into())]] {
        let read = schema(more).unwrap();
        assert_eq!(read.check(&given), [], "{more:?}");
        assert_eq!(
            ObjectSchema::from_json_schema(&read.to_json_schema()),
            Ok(read)
        );
    }
    let none = schema(&[("additionalProperties", false.into())]).unwrap();
    assert_eq!(none.check(&given).len(), 1);
    // What cannot be kept is refused and not left out.
    let texts = map(&[("type", "string".into())]);
    for more in [
        ("additionalProperties", texts.clone()),
        ("propertyNames", map(&[("pattern", "^a".into())])),
        ("required", Value::List(vec!["a".into()])),
    ] {
        assert!(schema(&[more]).is_err());
    }
}

#[test]
fn a_schema_that_says_more_than_is_understood_is_refused() {
    let object = |name: &str, inner: Value| {
        let properties = map(&[(name, inner)]);
        map(&[("type", "object".into()), ("properties", properties)])
    };
    let pattern = map(&[("type", "string".into()), ("pattern", "(?!a)".into())]);
    let refused = |schema: &Value| {
        ObjectSchema::from_json_schema(schema)
            .unwrap_err()
            .to_string()
    };
    let cases = [
        (
            object("a", map(&[("oneOf", Value::List(vec![]))])),
            "schema.a: `oneOf` is not part",
        ),
        (
            object("a", map(&[("type", "number".into())])),
            "schema.a: `type: number` is not part",
        ),
        (
            object("a", pattern),
            "schema.a: `pattern`: `(?` of anything",
        ),
        (
            object("a", map(&[("x-drover-class", "maybe".into())])),
            "schema.a: `x-drover-class` is none",
        ),
        (
            map(&[("type", "string".into())]),
            "schema: expected `type: object`",
        ),
        (Value::Null, "schema: expected a map, found null"),
        (object("a", Value::Int(1)), "schema.a: expected a map"),
    ];
    for (schema, expected) in cases {
        let said = refused(&schema);
        assert!(said.starts_with(expected), "{said}");
    }
    let mut deep = map(&[("type", "array".into())]);
    for _ in 0..100 {
        deep = map(&[("type", "array".into()), ("items", deep)]);
    }
    assert!(refused(&object("a", deep)).ends_with("it is nested too deeply"));
}

#[test]
fn a_text_may_come_from_a_secret_and_nothing_else_may() {
    let secret = SecretRef::Env("WEB_TOKEN".to_owned()).to_value();
    let broken: Value = [("valueFrom".to_owned(), Value::from("WEB_TOKEN"))]
        .into_iter()
        .collect();
    let command = Value::List(vec![secret.clone()]);
    let map = |entries: &[(&str, &Value)]| -> Value {
        let entries = entries.iter();
        entries
            .map(|(key, value)| ((*key).to_owned(), (*value).clone()))
            .collect()
    };
    let good = map(&[
        ("command", &command),
        ("env", &map(&[("TOKEN", &secret)])),
        ("name", &secret),
    ]);
    assert_eq!(schema().check(&good), []);
    let bad = map(&[
        ("command", &command),
        ("count", &secret),
        ("wait", &secret),
        ("fast", &secret),
        ("name", &broken),
    ]);
    let mistakes = schema().check(&bad);
    let said: Vec<String> = mistakes
        .iter()
        .map(|mistake| format!("{}: {}", mistake.path, mistake.message))
        .collect();
    assert_eq!(
        said,
        [
            "count: expected no secret: only texts may come from one",
            "fast: expected no secret: only texts may come from one",
            "name: needs one of `env`, `file`, `age` and `sops` under `valueFrom`",
            "wait: expected no secret: only texts may come from one",
        ]
    );
}

#[test]
fn fields_ask_for_each_other() {
    let names = ["image", "size", "template", "id", "name", "price", "market"];
    let fields = names.map(|name| (name.to_owned(), field(Shape::String, false)));
    let of = |rules: Rules| ObjectSchema {
        fields: fields.clone().into(),
        others: Others::Refused,
        rules,
    };
    let any =
        of(Rules::any_of(&[&["image", "size"], &["template"]]).requiring("price", &["market"]));
    let one = of(Rules::one_of(&[&["id"], &["name"]]));
    let said = |schema: &ObjectSchema, written: &[&str]| -> Vec<String> {
        let entries: Vec<(&str, Value)> = written.iter().map(|name| (*name, "x".into())).collect();
        let found = schema.check(&map(&entries)).into_iter();
        found
            .map(|it| format!("{}: {}", it.path, it.message))
            .collect()
    };
    let none: [&str; 0] = [];
    for written in [
        &["template"][..],
        &["image", "size"],
        &["image", "template"],
    ] {
        assert_eq!(said(&any, written), none, "{written:?}");
    }
    let expected = ": expected `image` and `size`, or `template`;";
    let nothing = format!("{expected} none of them is there");
    assert_eq!(said(&any, &[]), [nothing]);
    let missing = format!("{expected} missing: `size`, or `template`");
    assert_eq!(said(&any, &["image"]), [missing]);
    let useless = "price: it is of no use without `market`";
    assert_eq!(said(&any, &["template", "price"]), [useless]);
    assert_eq!(said(&any, &["template", "price", "market"]), none);
    assert_eq!(said(&one, &["id"]), none);
    let expected = ": expected exactly one of `id`, or `name`, found";
    assert_eq!(said(&one, &[]), [format!("{expected} none of them")]);
    assert_eq!(
        said(&one, &["id", "name"]),
        [format!("{expected} `id` and `name`")]
    );
    // A plugin in another language says the same with JSON Schema.
    for schema in [any, one] {
        let published = schema.to_json_schema();
        assert_eq!(ObjectSchema::from_json_schema(&published), Ok(schema));
    }
}

#[test]
fn digits_are_a_text() {
    let schema = ObjectSchema {
        fields: [("version".to_owned(), field(Shape::Digits, true))].into(),
        ..ObjectSchema::default()
    };
    let said = |value: Value| schema.check(&map(&[("version", value)])).len();
    assert_eq!(said("12".into()), 0);
    for wrong in ["$Latest".into(), "".into(), "1a".into(), Value::Int(1)] {
        assert_eq!(said(wrong), 1);
    }
    let published = schema.to_json_schema();
    assert_eq!(ObjectSchema::from_json_schema(&published), Ok(schema));
}
