use drover_model::FieldClass;

use super::super::{Demand, Field, Form, Pattern, Rules};
use super::*;

fn map(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

fn list(entries: &[Value]) -> Value {
    Value::List(entries.to_vec())
}

fn object(fields: &[(&str, Shape)], rules: Rules) -> ObjectSchema {
    let fields = fields.iter().map(|(name, shape)| {
        let field = Field {
            shape: shape.clone(),
            required: false,
            class: FieldClass::Replace,
            doc: String::new(),
        };
        ((*name).to_owned(), field)
    });
    ObjectSchema {
        fields: fields.collect(),
        others: Others::Refused,
        rules,
    }
}

fn said(schema: &ObjectSchema, entries: &[(&str, Value)]) -> Vec<String> {
    let mistakes = schema.check(&map(entries)).into_iter();
    mistakes.map(|mistake| mistake.to_string()).collect()
}

/// A schema with every word of the vocabulary is read back as it was: a plugin in another language has all of it.
fn assert_published(schema: &ObjectSchema) {
    let published = schema.to_json_schema();
    let read = ObjectSchema::from_json_schema(&published);
    assert_eq!(read.as_ref(), Ok(schema));
}

#[test]
fn lists_are_of_so_many_entries_that_differ() {
    let port = object(
        &[("port", Shape::Any), ("protocol", Shape::String)],
        Rules::default(),
    );
    let by = [("port", Value::Null), ("protocol", "tcp".into())];
    let by = Unique::By(by.map(|(name, value)| (name.to_owned(), value)).into());
    let ports = ListShape::of(Shape::Object(port)).unique(by);
    let program = Shape::text(Form::program());
    let schema = object(
        &[
            (
                "names",
                Shape::List(
                    ListShape::of(Shape::String)
                        .at_least(1)
                        .at_most(2)
                        .unique(Unique::Whole),
                ),
            ),
            ("ports", Shape::List(ports)),
            (
                "command",
                Shape::List(ListShape::of(Shape::String).first(program)),
            ),
        ],
        Rules::default(),
    );
    let port = |port: i64| ("port", Value::Int(port));
    let udp = ("protocol", "udp".into());
    let tcp = ("protocol", "tcp".into());
    let good = [
        ("names", list(&["a".into(), "b".into()])),
        (
            "ports",
            list(&[map(&[port(80)]), map(&[port(80), udp]), map(&[port(81)])]),
        ),
        ("command", list(&["sh".into(), "".into()])),
    ];
    assert_eq!(said(&schema, &good), Vec::<String>::new());
    let bad = [
        ("names", list(&["a".into(), "a".into(), "b".into()])),
        ("ports", list(&[map(&[port(80)]), map(&[port(80), tcp])])),
        ("command", list(&["".into(), "x".into()])),
    ];
    let expected = [
        "command[0]: expected a program's name, not empty and without NUL characters, found \"\"",
        "names: expected at most 2 entries, found 3",
        "names[1]: it is there twice",
        "ports[1]: another entry has the same `port` and `protocol`",
    ];
    assert_eq!(said(&schema, &bad), expected);
    let none = said(&schema, &[("names", list(&[]))]);
    assert_eq!(none, ["names: expected at least one entry"]);
    assert_published(&schema);
}

#[test]
fn keys_have_a_form_too() {
    let keys = Form::but("^aws:", "a key of one's own").within(1, Some(5));
    let schema = object(
        &[("tags", Shape::keyed(keys, Shape::String))],
        Rules::default(),
    );
    let tags = |key: &str| said(&schema, &[("tags", map(&[(key, "x".into())]))]);
    assert_eq!(tags("mine"), Vec::<String>::new());
    for key in ["aws:x", "", "longer", "${x}${x}"] {
        let expected = format!("tags.{key}: expected a key of one's own, found {key:?}");
        assert_eq!(tags(key), [expected]);
    }
    assert_published(&schema);
}

#[test]
fn a_mistake_in_a_key_is_one_of_the_name() {
    let keys = Form::of("^(core|nofile|nproc)$", "the name of a limit", "nofile");
    let schema = object(
        &[("ulimits", Shape::keyed(keys, Shape::String))],
        Rules::default(),
    );
    let meant = |key: &str| {
        let written = map(&[("ulimits", map(&[(key, "x".into())]))]);
        let [mistake] = &schema.check(&written)[..] else {
            panic!("{key} has another number of mistakes than one");
        };
        assert_eq!(mistake.part, FieldPart::Name);
        mistake.suggestion.clone()
    };
    assert_eq!(meant("nofiles").as_deref(), Some("nofile"));
    assert_eq!(meant("NPROC").as_deref(), Some("nproc"));
    assert_eq!(meant("memory"), None);
}

#[test]
fn what_is_left_out_may_mean_what_its_default_means() {
    let fast = Shape::Integer { min: 3, max: 9 };
    let any = Shape::Integer { min: 0, max: 99 };
    let rules = Rules::default().by_default(
        ("type", "a"),
        "speed",
        Demand::Like(Box::new(fast)),
        "`speed` of type a is from 3 to 9",
    );
    let schema = object(&[("type", Shape::String), ("speed", any)], rules);
    let of = |type_: Option<&str>, speed: i64| {
        let type_ = type_.map(|type_| ("type", type_.into()));
        let written: Vec<_> = type_
            .into_iter()
            .chain([("speed", Value::Int(speed))])
            .collect();
        said(&schema, &written)
    };
    for type_ in [None, Some("a")] {
        assert_eq!(of(type_, 3), Vec::<String>::new());
        assert_eq!(of(type_, 2), ["speed: `speed` of type a is from 3 to 9"]);
    }
    assert_eq!(of(Some("b"), 2), Vec::<String>::new());
    assert_published(&schema);
}

#[test]
fn sizes_are_compared_with_each_other() {
    let integer = Shape::Integer { min: 0, max: 9 };
    let schema = object(
        &[
            ("min", integer.clone()),
            ("wanted", integer.clone()),
            ("max", integer),
            ("short", Shape::Duration),
            ("long", Shape::Duration),
        ],
        Rules::default()
            .at_most("min", &["wanted", "max"])
            .at_most("wanted", &["max"])
            .at_most("short", &["long"]),
    );
    let sizes = |min: i64, max: i64| [("min", Value::Int(min)), ("max", Value::Int(max))];
    let none = Vec::<String>::new();
    assert_eq!(said(&schema, &sizes(3, 3)), none);
    let larger = "min: expected no more than `max`, which is 3, found 5";
    assert_eq!(said(&schema, &sizes(5, 3)), [larger]);
    let wanted = [&sizes(1, 3)[..], &[("wanted", Value::Int(9))]].concat();
    let more = "wanted: expected no more than `max`, which is 3, found 9";
    assert_eq!(said(&schema, &wanted), [more]);
    let fewer = [&sizes(2, 3)[..], &[("wanted", Value::Int(1))]].concat();
    let less = "min: expected no more than `wanted`, which is 1, found 2";
    assert_eq!(said(&schema, &fewer), [less]);
    let times = |short: &str, long: &str| [("short", short.into()), ("long", long.into())];
    assert_eq!(said(&schema, &times("60s", "1m")), none);
    let longer = "short: expected no more than `long`, which is 1m, found 61s";
    assert_eq!(said(&schema, &times("61s", "1m")), [longer]);
    // What is no number has its own mistake, and is compared with nothing.
    let wrong = said(&schema, &[("min", "7".into()), ("max", Value::Int(3))]);
    assert_eq!(wrong, ["min: expected an integer from 0 to 9, found \"7\""]);
    assert_published(&schema);
}

#[test]
fn no_limit_is_more_than_every_limit() {
    let integer = Shape::Integer { min: -1, max: 9 };
    let limits = [("soft", integer.clone()), ("hard", integer)];
    let rules = || Rules::default().at_most("soft", &["hard"]);
    let schema = object(&limits, rules().no_limit(-1));
    let said = |soft: i64, hard: i64| {
        said(
            &schema,
            &[("soft", Value::Int(soft)), ("hard", Value::Int(hard))],
        )
    };
    for (soft, hard) in [(3, 3), (3, -1), (-1, -1)] {
        assert_eq!(said(soft, hard), Vec::<String>::new(), "{soft} {hard}");
    }
    let endless = "soft: expected no more than `hard`, which is 3, found -1, no limit";
    assert_eq!(said(-1, 3), [endless]);
    let more = "soft: expected no more than `hard`, which is 3, found 4";
    assert_eq!(said(4, 3), [more]);
    assert_published(&schema);
    assert_published(&object(&limits, rules()));
}

#[test]
fn values_ask_for_others_that_look_like_something() {
    let bursts = || Shape::text(Form::of("^t[2-9]", "a type that bursts", "t3.micro"));
    let types = || Shape::List(ListShape::of(bursts()));
    let any = || Shape::List(ListShape::of(Shape::String));
    let fields = [
        ("credits", Shape::String),
        ("type", Shape::String),
        ("others", any()),
    ];
    let ask = |why: &str| {
        let like = |shape: Shape| Demand::Like(Box::new(shape));
        Rules::default()
            .when(("credits", &[]), "type", like(bursts()), why)
            .when(("credits", &[]), "others", like(types()), why)
    };
    let schema = object(&fields, ask("only types that burst have credits"));
    let credits = ("credits", Value::from("standard"));
    let others = ("others", list(&["t3.micro".into(), "m5.large".into()]));
    let written = |type_: &str| [credits.clone(), ("type", type_.into())];
    for good in ["t3.micro", "${group.name}"] {
        assert_eq!(said(&schema, &written(good)), Vec::<String>::new());
    }
    let without = [("type", "m5.large".into()), others.clone()];
    assert_eq!(said(&schema, &without), Vec::<String>::new());
    assert_eq!(
        said(
            &schema,
            &[credits.clone(), ("type", "m5.large".into()), others]
        ),
        [
            "type: only types that burst have credits",
            "others[1]: only types that burst have credits",
        ]
    );
    let told = object(&fields, ask(""));
    assert_eq!(
        said(&told, &written("m5")),
        [
            "type: expected a type that bursts such as t3.micro, found \"m5\", where `credits` is there"
        ]
    );
    let finished = told.check_finished(&map(&written("m5")));
    assert!(!finished[0].message.contains("m5"), "{finished:?}");
    assert_published(&schema);
    assert_published(&told);
}

#[test]
fn values_ask_for_values_of_others() {
    let names = ["market", "price", "stop", "size"];
    let spot = |asked: Demand, field: &str, why: &str| {
        let rules = Rules::default().when(("market", &["spot"]), field, asked, why);
        object(&names.map(|name| (name, Shape::Any)), rules)
    };
    let ends = || vec![Value::from("terminate"), Value::from("hibernate")];
    let market = ("market", Value::from("spot"));
    let with = |name: &'static str, value: Value| vec![market.clone(), (name, value)];
    let none = Vec::<String>::new();

    let needs = spot(Demand::There, "price", "");
    assert_eq!(said(&needs, &with("price", Value::Null)), none);
    assert_eq!(said(&needs, &[("market", "other".into())]), none);
    let missing = "market: `price` is missing, where `market` is spot";
    assert_eq!(said(&needs, std::slice::from_ref(&market)), [missing]);

    let refuses = spot(Demand::NotThere, "size", "");
    assert_eq!(said(&refuses, std::slice::from_ref(&market)), none);
    let there = "size: `size` has no place here, where `market` is spot";
    assert_eq!(said(&refuses, &with("size", Value::Int(1))), [there]);

    let among = spot(Demand::OneOf(ends()), "stop", "");
    assert_eq!(said(&among, std::slice::from_ref(&market)), none);
    assert_eq!(said(&among, &with("stop", "hibernate".into())), none);
    let other = "stop: expected terminate or hibernate, found \"stop\", where `market` is spot";
    assert_eq!(said(&among, &with("stop", "stop".into())), [other]);

    let both = spot(Demand::ThereAsOneOf(ends()), "stop", "it cannot stop");
    assert_eq!(
        said(&both, std::slice::from_ref(&market)),
        ["market: it cannot stop"]
    );
    let wrong = said(&both, &with("stop", "stop".into()));
    assert_eq!(wrong, ["stop: it cannot stop"]);

    let whenever = Rules::default().when(("price", &[]), "market", Demand::There, "");
    let whenever = object(&names.map(|name| (name, Shape::Any)), whenever);
    let missing = "price: `market` is missing, where `price` is there";
    assert_eq!(said(&whenever, &[("price", Value::Null)]), [missing]);
    assert_eq!(said(&whenever, &[("size", Value::Null)]), none);
    for schema in [needs, refuses, among, both, whenever] {
        assert_published(&schema);
    }
}

#[test]
fn what_is_filled_in_later_is_of_no_form_yet() {
    let form = Form::of("^[a-z]+$", "a name", "");
    let schema = object(&[("name", Shape::text(form))], Rules::default());
    let written = map(&[("name", "${group.name}".into())]);
    assert_eq!(schema.check(&written), []);
    // Then it is what it is: nothing is filled in a second time.
    assert_eq!(schema.check_finished(&written).len(), 1);
    assert_eq!(schema.check(&map(&[("name", "A".into())])).len(), 1);
    let secret = SecretRef::Env("NAME".to_owned()).to_value();
    assert_eq!(schema.check(&map(&[("name", secret)])), []);
}

#[test]
fn no_message_shows_what_a_secret_became() {
    let words = Shape::Word(vec!["one".to_owned()]);
    let form = Shape::text(Form::of("^[a-z]+$", "a name", ""));
    let integer = Shape::Integer { min: 0, max: 9 };
    let names = ["boolean", "duration", "form", "integer", "list", "words"];
    let shapes = [
        Shape::Boolean,
        Shape::Duration,
        form,
        integer,
        Shape::List(ListShape::of(Shape::String)),
        words,
    ];
    let fields: Vec<_> = names.into_iter().zip(shapes).collect();
    let rules = Rules::default().when(
        ("form", &[]),
        "words",
        Demand::OneOf(vec!["one".into()]),
        "",
    );
    let schema = object(&fields, rules);
    let value = map(&names.map(|name| (name, "S3CRET".into())));
    let mistakes = schema.check_finished(&value);
    assert_eq!(mistakes.len(), 7, "{mistakes:?}");
    for mistake in &mistakes {
        assert!(!format!("{mistake:?}").contains("S3CRET"), "{mistake:?}");
    }
    let shown = schema.check(&value);
    let shown = shown.iter().filter(|one| one.message.contains("S3CRET"));
    assert_eq!(shown.count(), 7);
}

#[test]
fn a_long_value_is_shown_by_its_beginning() {
    let schema = object(&[("fast", Shape::Boolean)], Rules::default());
    let found = said(&schema, &[("fast", "é".repeat(1_000).into())]);
    assert_eq!(found[0].chars().filter(|c| *c == 'é').count(), SHOWN_MAX);
}

/// A text's schema, with these keywords.
fn string(more: &[(&str, Value)]) -> Value {
    let mut all = vec![("type", "string".into())];
    all.extend(more.iter().cloned());
    map(&all)
}

/// The schema of an object with two texts, `a` and `b`, with these keywords.
fn whole(more: &[(&str, Value)]) -> Value {
    let names = ["a", "b"].map(|name| (name, string(&[])));
    let mut all = vec![("type", "object".into()), ("properties", map(&names))];
    all.extend(more.iter().cloned());
    map(&all)
}

/// The schema of an object with one property.
fn one(property: Value) -> Value {
    whole(&[("properties", map(&[("a", property)]))])
}

fn assert_refused(schema: &Value, why: &str) {
    let said = ObjectSchema::from_json_schema(schema);
    let said = said.map(|_| ()).unwrap_err().to_string();
    assert!(said.contains(why), "{said}, not {why}");
}

#[test]
fn what_a_schema_may_not_say_of_values_is_refused() {
    let text = |name: &str, value: Value| one(string(&[(name, value)]));
    let array = |name: &str, value: Value| one(map(&[("type", "array".into()), (name, value)]));
    let not = map(&[("enum", list(&[]))]);
    assert_refused(&text("not", not), "`not` of anything");
    assert_refused(
        &text("minLength", Value::Int(-1)),
        "`minLength` is negative",
    );
    let both = [("enum", list(&["x".into()])), ("pattern", "x".into())];
    assert_refused(&one(string(&both)), "beside `enum`");
    let others = array("additionalItems", string(&[]));
    assert_refused(&others, "`additionalItems` without");
    assert_refused(&array("items", list(&[])), "`items` of more than one");
    assert_refused(
        &array("uniqueItems", Value::Int(1)),
        "`uniqueItems` is neither",
    );
    let by = array("x-drover-uniqueBy", list(&[]));
    assert_refused(&by, "`x-drover-uniqueBy` is no map");
    let many = (0..=200).map(|n| (format!("f{n}"), string(&[("pattern", "x".into())])));
    let many = whole(&[("properties", many.collect())]);
    assert_refused(&many, "more than 200 patterns");
    assert!(Pattern::parse("x").is_ok());
}

#[test]
fn what_a_schema_may_not_say_of_fields_is_refused() {
    let names = whole(&[("propertyNames", string(&[]))]);
    assert_refused(&names, "`propertyNames` beside");
    let most = |others: Value| whole(&[("x-drover-atMost", map(&[("a", others)]))]);
    assert_refused(&most(list(&["c".into()])), "a rule names `c`");
    assert_refused(&most("b".into()), "`x-drover-atMost` of anything");
    let given = map(&[("required", list(&["a".into()]))]);
    let asked = map(&[("properties", map(&[("b", Value::Bool(false))]))]);
    let rule = |given: &Value, asked: &Value| {
        let rule = map(&[("if", given.clone()), ("then", asked.clone())]);
        whole(&[("allOf", list(&[rule]))])
    };
    assert!(ObjectSchema::from_json_schema(&rule(&given, &asked)).is_ok());
    let none = map(&[]);
    let both = map(&[
        ("required", list(&["b".into()])),
        ("properties", map(&[("b", Value::Bool(false))])),
    ]);
    let other = map(&[("not", Value::Null)]);
    for (given, asked) in [
        (&given, &other),
        (&given, &none),
        (&given, &both),
        (&none, &asked),
        (&both, &asked),
        (&asked, &asked),
    ] {
        assert_refused(&rule(given, asked), "`allOf` of anything");
    }
}
