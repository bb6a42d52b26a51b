//! Reading and writing as Go does.

use super::GoJson;

fn written(text: &str) -> String {
    GoJson::parse(text.as_bytes())
        .unwrap()
        .marshal_indent()
        .unwrap()
}

#[test]
fn writes_numbers_with_the_fewest_digits_and_an_exponent_only_where_go_does() {
    for (read, written_as) in [
        ("1", "1"),
        ("1.0", "1"),
        ("-0", "-0"),
        ("0.1", "0.1"),
        ("1e3", "1000"),
        ("100000000000000000000", "100000000000000000000"),
        ("1e20", "100000000000000000000"),
        ("999999999999999900000", "999999999999999900000"),
        ("1e21", "1e+21"),
        ("-1E+21", "-1e+21"),
        ("1.5e300", "1.5e+300"),
        ("0.000001", "0.000001"),
        ("1e-6", "0.000001"),
        ("9.9e-7", "9.9e-7"),
        ("1e-7", "1e-7"),
        ("1e-10", "1e-10"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("18446744073709551615", "18446744073709552000"),
        ("9007199254740993", "9007199254740992"),
        ("123456789012345678901234567890", "1.2345678901234568e+29"),
        ("0.1000000000000000055511151231257827", "0.1"),
        ("2.2250738585072011e-308", "2.225073858507201e-308"),
        // Two texts are as short and as near: the even digit is taken.
        ("1125899906842624.25", "1125899906842624.2"),
        ("-1125899906842624.75", "-1125899906842624.8"),
        ("4503599627370497.5", "4503599627370498"),
        ("1.00000762939453125", "1.0000076293945312"),
        ("100000000000.015625", "100000000000.01562"),
        ("1.78813934326171875E-7", "1.7881393432617188e-7"),
        ("2.98023223876953125e-8", "2.9802322387695312e-8"),
        // What is nearest reads back as the number below, as those are denser.
        ("5.9604644775390625e-8", "5.960464477539063e-8"),
        ("618970019642690137449562112", "6.189700196426902e+26"),
    ] {
        assert_eq!(written(read), written_as, "{read}");
    }
    let too_large = GoJson::parse(b"[1e400]").unwrap();
    let refused = too_large.marshal_indent().unwrap_err();
    assert_eq!(refused.to_string(), "the number 1e400 is too large");
    assert_eq!(too_large.to_value().unwrap_err(), refused);
}

#[test]
fn escapes_what_go_escapes_and_nothing_else() {
    for (read, written_as) in [
        (
            r#""<a href=\"x\">&</a>""#,
            r#""\u003ca href=\"x\"\u003e\u0026\u003c/a\u003e""#,
        ),
        (r#""\u2028\u2029""#, r#""\u2028\u2029""#),
        ("\"\u{2028}\"", r#""\u2028""#),
        (r#""\b\f\n\r\t""#, r#""\u0008\u000c\n\r\t""#),
        (r#""\u0000\u001f\u007f""#, "\"\\u0000\\u001f\u{7f}\""),
        (r#""\/ \\ \" '""#, r#""/ \\ \" '""#),
        (r#""\u00e9 \ud83d\ude00""#, "\"é 😀\""),
        // Halves of a character: each becomes the mark for what cannot be read.
        (r#""\ud83d""#, "\"\u{fffd}\""),
        (r#""\ud83dx\ude00""#, "\"\u{fffd}x\u{fffd}\""),
        (r#""\ud83d\u0041""#, "\"\u{fffd}A\""),
    ] {
        assert_eq!(written(read), written_as, "{read}");
    }
    // Bytes that are no text: one mark for each.
    let broken = GoJson::parse(b"\"a\xff\xe2\x82b\"").unwrap();
    assert_eq!(broken.text(), Some("a\u{fffd}\u{fffd}\u{fffd}b"));
}

#[test]
fn indents_with_the_prefix_on_every_line_but_the_first_and_sorts_keys_by_their_bytes() {
    let text = r#" {"b": [1, {}], "é": null, "Z": {"x": []}, "a": "", "b": [true, false]} "#;
    let lines = [
        "{",
        r#"    "Z": {"#,
        r#"      "x": []"#,
        "    },",
        r#"    "a": "","#,
        r#"    "b": ["#,
        "      true,",
        "      false",
        "    ],",
        r#"    "é": null"#,
        "  }",
    ];
    assert_eq!(written(text), lines.join("\n"));
    assert_eq!(
        (written("{}"), written("[]"), written(" null ")),
        ("{}".into(), "[]".into(), "null".into())
    );
}

#[test]
fn reads_fields_in_any_case_and_says_where_a_text_is_no_json() {
    let json = GoJson::parse(br#"{"properties": {"ID": 1}, "Properties": 2}"#).unwrap();
    assert_eq!(
        json.get("Properties"),
        Some(&GoJson::Number("2".to_owned()))
    );
    assert!(json.get("PROPERTIES").is_some());
    assert_eq!(json.get("Nothing"), None);
    for text in [
        "",
        "{",
        "[1,]",
        "{\"a\" 1}",
        "{1: 2}",
        "01",
        "1.",
        "-",
        "1e",
        "nul",
        "\"\\x\"",
        "\"\\u12\"",
        "\"a\nb\"",
        "1 2",
        "\"a",
        "+1",
        ".5",
    ] {
        assert!(GoJson::parse(text.as_bytes()).is_err(), "{text}");
    }
    let error = GoJson::parse(b"[1, x]").unwrap_err();
    assert_eq!(error.to_string(), "no value begins at byte 4");
    let deep = "[".repeat(100_000);
    assert!(GoJson::parse(deep.as_bytes()).is_err());
}

#[test]
fn keeps_whole_numbers_whole_in_documents() {
    use drover_model::Value;
    let value = |text: &str| GoJson::parse(text.as_bytes()).unwrap().to_value().unwrap();
    assert_eq!(value("18446744073709551615"), Value::UInt(u64::MAX));
    assert_eq!(value("-3"), Value::Int(-3));
    assert_eq!(value("1.5"), Value::Float(1.5));
    for text in [
        "{\"a\": [1, 2.5, null, true, \"x\"]}",
        "18446744073709551615",
    ] {
        let json = GoJson::parse(text.as_bytes()).unwrap();
        assert_eq!(GoJson::from_value(&json.to_value().unwrap()), json);
    }
}
