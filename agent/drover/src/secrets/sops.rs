//! Files of SOPS: one value of them, through the program `sops`.
//!
//! Such a file names its own keys, and `sops` asks whoever it names: key services of clouds, a Vault at any
//! address, `gpg`. A file comes from the repository, so what it may name is checked first: age keys alone.

use std::path::Path;

use drover_model::Value;

use super::{decrypt, quiet};

/// The largest file.
const FILE_BYTES_MAX: usize = 256 << 10;

/// What holds the keys of a file, where nobody has to be asked.
const KEYS: &str = "age";

/// The fields of a file's own that name no key.
const HARMLESS: &[&str] = &[
    "lastmodified",
    "mac",
    "mac_only_encrypted",
    "version",
    "unencrypted_suffix",
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
    "shamir_threshold",
];

/// Returns the value under `key`. `identity`: the file with the agent's age key.
pub(super) fn value(
    file: &str,
    bytes: &[u8],
    key: &[String],
    identity: &Path,
) -> Result<String, String> {
    let form = form(file)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("the file is larger than {FILE_BYTES_MAX} bytes"));
    }
    let encrypted = read(file, form, bytes)?;
    check_keys(&encrypted)?;
    check_value(&encrypted, key)?;
    let mut sops = quiet("sops");
    sops.env("SOPS_AGE_KEY_FILE", identity)
        .args(["decrypt", "--input-type", form, "--output-type", "json"])
        .args(["--extract", &path_of(key), "/dev/stdin"]);
    decrypt(sops, "sops", bytes)
}

fn form(file: &str) -> Result<&'static str, String> {
    match file.rsplit_once('.').map(|(_, extension)| extension) {
        Some("yaml" | "yml") => Ok("yaml"),
        Some("json") => Ok("json"),
        Some(_) | None => Err("the file must be YAML or JSON, by its name".to_owned()),
    }
}

/// Reads the file as it is: keys stand in it as they are, values encrypted.
fn read(file: &str, form: &str, bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())?;
    if form == "json" {
        return serde_json::from_str::<serde_json::Value>(text)
            .map(|json| drover_provider_plugin::from_json(&json))
            .map_err(|error| format!("the file is no JSON: {error}"));
    }
    drover_spec::parse_value(file, text).map_err(|mistakes| {
        let first = mistakes.first();
        let why = first.map_or(String::new(), |mistake| {
            format!(": line {}: {}", mistake.span.line, mistake.message)
        });
        format!("the file cannot be read{why}")
    })
}

/// Refuses a file that would make `sops` ask anybody.
fn check_keys(encrypted: &Value) -> Result<(), String> {
    let own = encrypted.as_map().and_then(|map| map.get("sops"));
    let own = own.and_then(Value::as_map);
    let own = own.ok_or_else(|| "the file is not encrypted with SOPS".to_owned())?;
    let names_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::List(list) => list.is_empty(),
        _ => false,
    };
    for (name, value) in own {
        if name != KEYS && !HARMLESS.contains(&name.as_str()) && !names_nothing(value) {
            return Err(format!(
                "the file has `{name}` beside age keys: only files for age keys are decrypted"
            ));
        }
    }
    match own.get(KEYS) {
        Some(keys) if !names_nothing(keys) => Ok(()),
        Some(_) | None => Err("the file is encrypted for no age key".to_owned()),
    }
}

/// Says what is wrong with a key before a program is started for it.
fn check_value(encrypted: &Value, key: &[String]) -> Result<(), String> {
    let shown = key.join(".");
    if key.first().is_some_and(|first| first == "sops") {
        return Err("`sops` is what the file says of itself".to_owned());
    }
    let mut value = encrypted;
    for part in key {
        let map = value.as_map();
        let next = map.and_then(|map| map.get(part));
        value = next.ok_or_else(|| match map {
            Some(map) => {
                let mut known: Vec<&str> = map.keys().map(String::as_str).collect();
                known.retain(|name| *name != "sops");
                format!("the file has no {shown}: there is {}", known.join(", "))
            }
            None => format!("the file has no {shown}: what is above `{part}` is no map"),
        })?;
    }
    match value {
        Value::String(_) | Value::Int(_) | Value::UInt(_) => Ok(()),
        // Left as it was by a rule of the file, such as `unencrypted_suffix`.
        Value::Bool(_) | Value::Float(_) | Value::Null | Value::List(_) | Value::Map(_) => {
            Err(format!("{shown} is no text in the file"))
        }
    }
}

/// Returns a key as `sops` has it. Its parts have no quotes.
fn path_of(key: &[String]) -> String {
    key.iter().map(|part| format!("[\"{part}\"]")).collect()
}
