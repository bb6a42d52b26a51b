//! Files of SOPS: one value of them, through the program `sops`.
//!
//! Such a file names its own keys, and `sops` asks whoever it names: key services of clouds, a Vault at any
//! address, `gpg`. A file comes from the repository, so what it may name is checked first: age keys alone. What two readers
//! see in one file differs (letter case, repeated fields, line breaks of YAML 1.1), so `sops` gets no file: it gets what was
//! read and checked here, written anew.

use std::path::Path;

use drover_model::Value;
use drover_spec::OrderedValue;

use self::json::{read_json, write_json};
use super::{decrypt, quiet};

mod json;

/// The largest file.
const FILE_BYTES_MAX: usize = 256 << 10;

/// Where a file says of itself how it is encrypted.
const OWN: &str = "sops";

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
    "shamir_threshold",
];

/// Rules that look at comments, which are left out of what `sops` gets.
const OF_COMMENTS: &[&str] = &["unencrypted_comment_regex", "encrypted_comment_regex"];

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
    let encrypted = checked(read(file, form, bytes)?)?;
    check_value(&encrypted.to_value(), key)?;
    // JSON is YAML as well, so the file keeps its kind: what a plain value is, is asked of the same reader.
    let text = write_json(&encrypted);
    let mut sops = quiet("sops");
    sops.env("SOPS_AGE_KEY_FILE", identity)
        .args(["decrypt", "--input-type", form, "--output-type", "json"])
        .args(["--extract", &path_of(key), "/dev/stdin"]);
    decrypt(sops, "sops", text.as_bytes())
}

fn form(file: &str) -> Result<&'static str, String> {
    match file.rsplit_once('.').map(|(_, extension)| extension) {
        Some("yaml" | "yml") => Ok("yaml"),
        Some("json") => Ok("json"),
        Some(_) | None => Err("the file must be YAML or JSON, by its name".to_owned()),
    }
}

/// Reads the file as it is: keys stand in it as they are, values encrypted.
fn read(file: &str, form: &str, bytes: &[u8]) -> Result<OrderedValue, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())?;
    if form == "json" {
        return read_json(text).map_err(|error| format!("the file is no JSON: {error}"));
    }
    drover_spec::parse_ordered_value(file, text).map_err(|mistakes| {
        let first = mistakes.first();
        let why = first.map_or(String::new(), |mistake| {
            format!(": line {}: {}", mistake.span.line, mistake.message)
        });
        format!("the file cannot be read{why}")
    })
}

/// Returns the file with nothing of its own beside age keys and what asks nobody, or refuses one that would make `sops`
/// ask anybody.
fn checked(encrypted: OrderedValue) -> Result<OrderedValue, String> {
    let not_sops = || "the file is not encrypted with SOPS".to_owned();
    let OrderedValue::Map(entries) = encrypted else {
        return Err(not_sops());
    };
    let mut own = None;
    let mut kept = Vec::new();
    for (name, value) in entries {
        if name == OWN {
            own = Some(value);
        } else if in_any_case(&name, OWN) {
            return Err(format!(
                "the file has `{name}`, which `sops` takes for `{OWN}`"
            ));
        } else {
            kept.push((name, value));
        }
    }
    let Some(OrderedValue::Map(own)) = own else {
        return Err(not_sops());
    };
    kept.push((OWN.to_owned(), OrderedValue::Map(checked_keys(own)?)));
    Ok(OrderedValue::Map(kept))
}

/// Whether a reader that does not heed letter case takes a name for another. To such a reader the long s is an s.
fn in_any_case(name: &str, other: &str) -> bool {
    name.to_uppercase().to_lowercase() == other
}

/// Returns what the file may say of itself.
fn checked_keys(own: Vec<(String, OrderedValue)>) -> Result<Vec<(String, OrderedValue)>, String> {
    let mut kept = Vec::new();
    for (name, value) in own {
        let names_nothing = match &value {
            OrderedValue::Single(value) => *value == Value::Null,
            OrderedValue::List(list) => list.is_empty(),
            OrderedValue::Map(_) => false,
        };
        if names_nothing {
            continue;
        }
        let single = matches!(value, OrderedValue::Single(_));
        if name == KEYS {
            kept.push((name, age_keys(value)?));
        } else if HARMLESS.contains(&name.as_str()) && single {
            kept.push((name, value));
        } else if OF_COMMENTS.contains(&name.as_str()) {
            return Err(format!(
                "the file goes by comments (`{name}`), which are not read"
            ));
        } else {
            return Err(format!(
                "the file has `{name}` beside age keys: only files for age keys are decrypted"
            ));
        }
    }
    if kept.iter().any(|(name, _)| name == KEYS) {
        Ok(kept)
    } else {
        Err("the file is encrypted for no age key".to_owned())
    }
}

/// Returns the age keys of a file: whom it is encrypted for, and for each the key of the file.
fn age_keys(keys: OrderedValue) -> Result<OrderedValue, String> {
    let unknown = || format!("`{OWN}.{KEYS}` of the file is no list of keys");
    let OrderedValue::List(keys) = keys else {
        return Err(unknown());
    };
    for key in &keys {
        let OrderedValue::Map(fields) = key else {
            return Err(unknown());
        };
        let known = |(name, value): &(String, OrderedValue)| {
            let text = matches!(value, OrderedValue::Single(Value::String(_)));
            matches!(name.as_str(), "recipient" | "enc") && text
        };
        if !fields.iter().all(known) {
            return Err(unknown());
        }
    }
    Ok(OrderedValue::List(keys))
}

/// Says what is wrong with a key before a program is started for it.
fn check_value(encrypted: &Value, key: &[String]) -> Result<(), String> {
    let shown = key.join(".");
    if key.first().is_some_and(|first| in_any_case(first, OWN)) {
        return Err("`sops` is what the file says of itself".to_owned());
    }
    let mut value = encrypted;
    for part in key {
        let map = value.as_map();
        let next = map.and_then(|map| map.get(part));
        value = next.ok_or_else(|| match map {
            Some(map) => {
                let mut known: Vec<&str> = map.keys().map(String::as_str).collect();
                known.retain(|name| *name != OWN);
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
