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
