//! The fingerprint, against InfraKit's own and against texts that were written by hand.

use super::config_hash;
use crate::go_json::GoJson;

fn hash(instance: &str, flavor: &str) -> String {
    let [instance, flavor] = [instance, flavor].map(|text| GoJson::parse(text.as_bytes()).unwrap());
    config_hash(&instance, &flavor).unwrap()
}

/// Recorded from InfraKit's group plugin.
#[test]
fn is_infrakits_own() {
    let recorded = [
        (
            r#"{"Plugin": "file", "Properties": {"Note": "v1"}}"#,
            r#"{"Plugin": "vanilla", "Properties": {"Init": ["a"]}}"#,
            "ryx5jnkugtqiqo6aporzme5ponk3vv3y",
        ),
        (
            r#"{"Plugin": "file", "Properties": {}}"#,
            r#"{"Plugin": "vanilla", "Properties": {}}"#,
            "4zrcjpqw3gmanosfmphcbu44zq27oqyy",
        ),
        (
            r#"{"Plugin": "file", "Properties": {"z": 1, "a": {"y": [1, {"b": 2, "a": 1}], "x": null, "e": [], "o": {}}}}"#,
            r#"{"Plugin": "vanilla", "Properties": {"Tags": {"b": "2", "a": "1"}}}"#,
            "sdljoknmd3fbs44h6svagoyqdvpawyx6",
        ),
    ];
    for (instance, flavor, known) in recorded {
        assert_eq!(hash(instance, flavor), known);
    }
}

/// Computed with another program over texts that were laid out by hand.
#[test]
fn is_that_of_the_text_which_go_would_write() {
    let instance = r#"{"Properties": {"small": 1e-7, "one": 1.0, "nothing": null, "large": 1e21,
        "big": 18446744073709551615, "html": "<a> & \u2028"}, "Plugin": "simulator/compute", "Labels": {"x": "y"}}"#;
    let flavor = r#"{"Plugin": "vanilla"}"#;
    assert_eq!(hash(instance, flavor), "nz6ydyv6s3uhiikvdtmv5wt6zdwnaero");
    let instance = r#"{"properties": []}"#;
    let flavor = r#"{"plugin": "combo", "Properties": [{}, [], -0, 0.000001, 9.5e-7, 123456789.5,
        "\b\f\n\r\t\u0000\u00e9\ud83d\ude00"]}"#;
    assert_eq!(hash(instance, flavor), "junh4pqiz7tsw7fegfzpstpf67b72ug4");
}

#[test]
fn refuses_what_infrakit_refuses() {
    let instance = GoJson::parse(br#"{"Properties": {"x": 1e999}}"#).unwrap();
    assert!(config_hash(&instance, &GoJson::Null).is_err());
}

/// As Go reads a structure: the last of two keys that are alike counts, in whatever case, and a structure that is
/// written twice is joined. What is a plugin's own keeps its keys.
#[test]
fn keys_that_are_written_twice_are_read_as_go_does() {
    let hash_of = |properties: &str| {
        let text = format!(r#"[{{"ID": "g", "Properties": {properties}}}]"#);
        let read = GoJson::parse_groups(text.as_bytes()).unwrap();
        let properties = read.list().unwrap()[0].get("Properties").unwrap().clone();
        let [instance, flavor] = ["Instance", "Flavor"].map(|name| properties.get(name).unwrap());
        config_hash(instance, flavor).unwrap()
    };
    let flavor = r#""Flavor": {"Plugin": "vanilla", "Properties": {}}"#;
    let plain = hash_of(&format!(
        r#"{{"Instance": {{"Plugin": "file", "Properties": {{"a": 1, "A": 2}}}}, {flavor}}}"#
    ));
    let twice = [
        r#""Instance": {"Plugin": "x", "plugin": "file", "Properties": {"b": 1}, "properties": {"a": 1, "A": 2}}"#,
        r#""Instance": {"plugin": "x", "properties": {"b": 1}, "Plugin": "file", "Properties": {"A": 2, "a": 1}}"#,
        r#""Instance": {"Plugin": "file", "Plugin": null, "Properties": null, "Properties": {"a": 3, "a": 1, "A": 2}}"#,
        r#""Instance": {"Plugin": "file"}, "inſtance": {"PROPERTIES": {"a": 1, "A": 2}}, "INSTANCE": null"#,
    ];
    for instance in twice {
        assert_eq!(
            hash_of(&format!("{{{instance}, {flavor}}}")),
            plain,
            "{instance}"
        );
    }
    let without = hash_of(&format!(
        r#"{{"Instance": {{"Plugin": "file"}}, {flavor}}}"#
    ));
    let null = r#""Instance": {"Plugin": "file", "Properties": {"a": 1}, "properties": null}"#;
    assert_eq!(hash_of(&format!("{{{null}, {flavor}}}")), without);
    assert_ne!(without, plain);

    // What the group's properties are is decided by the last of them, which is not joined.
    let last = r#"{"Instance": {"Plugin": "x"}}, "properties": "#;
    let whole = format!(
        r#"{{"Instance": {{"Plugin": "file", "Properties": {{"a": 1, "A": 2}}}}, {flavor}}}"#
    );
    assert_eq!(hash_of(&format!("{last}{whole}")), plain);
}
