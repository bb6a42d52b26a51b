use super::{read_json, write_json};

#[test]
fn what_is_written_is_what_was_read_in_its_order_in_json_and_in_yaml() {
    let text = "{\"z\": [1, -2, 18446744073709551615, 1.5, 1e300, null, true, {}, []], \"a\": {\"c\": \"\", \"b\": \
                \"\\\" \\\\ \\n \u{85} \u{2028} \u{feff} \u{7f} ä \u{1f600} \\u0000\"}}";
    let read = read_json(text).unwrap();
    let written = write_json(&read);
    assert!(
        written.starts_with("{\"z\": [1, -2, 18446744073709551615, 1.5, 1e300, null"),
        "{written}"
    );
    assert!(written.contains("\"c\": \"\", \"b\""), "{written}");
    assert!(
        written.contains("\\u0085 \\u2028 \\ufeff \\u007f \\u00e4 \u{1f600}"),
        "{written}"
    );
    assert_eq!(read_json(&written).unwrap(), read);
    let yaml = written.replace("\\u0000", "");
    let read = read_json(&yaml).unwrap();
    assert_eq!(drover_spec::parse_ordered_value("", &yaml).unwrap(), read);
}

#[test]
fn a_repeated_field_is_refused_at_any_depth() {
    for text in [
        "{\"a\": 1, \"a\": 1}",
        "[{\"a\": {\"b\": 1, \"\\u0062\": 2}}]",
    ] {
        let said = read_json(text).unwrap_err().to_string();
        assert!(said.contains("is repeated"), "{said}");
    }
}
