//! References to secrets. A document, a plan and everything that is recorded hold the reference; the
//! value is read where the agent runs, when a provider is called, and is nowhere else.

use std::collections::BTreeSet;
use std::fmt;

use crate::{Flavor, TemplateParts, Value};

/// The key of a value that stands somewhere else.
pub const VALUE_FROM: &str = "valueFrom";

/// Where a secret's value is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretRef {
    /// In an environment variable of the agent.
    Env(String),
    /// In a file on the agent's machine: an absolute path.
    File(String),
    /// Here, encrypted for the agent with age, armoured.
    Age(String),
    /// In a file of SOPS in the repository.
    Sops {
        /// The file, from the configuration's root on.
        file: String,
        /// The keys that lead to the value, outermost first.
        key: Vec<String>,
    },
}

/// Characters of the names of age's fingerprints: enough to tell them apart.
const FINGERPRINT: usize = 8;

/// The longest name or path.
const NAME_MAX: usize = 4_096;

/// The longest encrypted value: 64 KiB and its armour.
const AGE_MAX: usize = 96 << 10;

/// How an armoured value of age begins.
const AGE_BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";

/// How it ends.
const AGE_END: &str = "-----END AGE ENCRYPTED FILE-----";

impl SecretRef {
    /// Reads `{valueFrom: {env: NAME}}`. None: the value stands where it is written.
    ///
    /// # Errors
    ///
    /// It begins as a reference and is none; what is wrong, in words that follow the field's name.
    pub fn of_value(value: &Value) -> Option<Result<Self, String>> {
        let map = value.as_map().filter(|map| map.contains_key(VALUE_FROM))?;
        let from = map.get(VALUE_FROM).and_then(Value::as_map);
        Some(match from {
            _ if map.len() > 1 => Err("has `valueFrom` and something else".to_owned()),
            Some(from) if from.len() == 1 => {
                let mut sources = from.iter();
                let (source, name) = sources.next().expect("one is there");
                Self::of_source(source, name)
            }
            Some(_) | None => {
                Err("needs one of `env`, `file`, `age` and `sops` under `valueFrom`".to_owned())
            }
        })
    }

    fn of_source(source: &str, name: &Value) -> Result<Self, String> {
        if source == "sops" {
            return Self::of_sops(name);
        }
        let name = name.as_str().ok_or_else(|| {
            format!(
                "needs a text under `valueFrom.{source}`, found {}",
                name.kind()
            )
        })?;
        if name.contains("${") {
            return Err(format!(
                "has a substitution under `valueFrom.{source}`: a reference is the same for every instance"
            ));
        }
        match source {
            "env" if is_variable(name) => Ok(Self::Env(name.to_owned())),
            "env" => Err(format!("names no environment variable: {name:?}")),
            "file" if is_path(name) => Ok(Self::File(name.to_owned())),
            "file" => Err(format!(
                "needs an absolute path without `..`, found {name:?}"
            )),
            "age" if is_armoured(name) => Ok(Self::Age(name.trim().to_owned())),
            "age" => Err(format!(
                "needs what `age --armor` writes, which begins with {AGE_BEGIN}"
            )),
            _ => Err(format!(
                "uses `valueFrom.{source}`: known are `env`, `file`, `age` and `sops`"
            )),
        }
    }

    /// Reads `{file: secrets/web.yaml, key: db.password}`.
    fn of_sops(value: &Value) -> Result<Self, String> {
        let wanted = || "needs `file` and `key` under `valueFrom.sops`".to_owned();
        let map = value.as_map().filter(|map| map.len() == 2);
        let map = map.ok_or_else(wanted)?;
        let (file, key) = map.get("file").zip(map.get("key")).ok_or_else(wanted)?;
        let file = file.as_str().filter(|path| is_inside(path));
        let file = file.ok_or_else(|| {
            "needs a path inside the repository, without `..`, under `valueFrom.sops.file`"
                .to_owned()
        })?;
        let key: Option<Vec<String>> = match key {
            Value::String(key) => Some(key.split('.').map(str::to_owned).collect()),
            Value::List(parts) => parts
                .iter()
                .map(|part| part.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        };
        let plain = |part: &String| {
            let strange = |c: char| c.is_control() || matches!(c, '"' | '\\' | '[' | ']' | '$');
            !part.is_empty() && part.len() <= NAME_MAX && !part.contains(strange)
        };
        let key = key.filter(|key| !key.is_empty() && key.iter().all(plain));
        let key = key.ok_or_else(|| {
            "needs a key such as `db.password`, or a list of keys, under `valueFrom.sops.key`"
                .to_owned()
        })?;
        Ok(Self::Sops {
            file: file.to_owned(),
            key,
        })
    }

    /// Returns the value that is written for it.
    pub fn to_value(&self) -> Value {
        let (source, value) = match self {
            Self::Env(name) => ("env", Value::from(name.as_str())),
            Self::File(path) => ("file", Value::from(path.as_str())),
            Self::Age(text) => ("age", Value::from(text.as_str())),
            Self::Sops { file, key } => {
                let key = if key.iter().any(|part| part.contains('.')) {
                    let parts = key.iter().map(|part| Value::from(part.as_str()));
                    Value::List(parts.collect())
                } else {
                    Value::from(key.join(".").as_str())
                };
                let file = ("file".to_owned(), Value::from(file.as_str()));
                let map = [file, ("key".to_owned(), key)];
                ("sops", Value::Map(map.into()))
            }
        };
        let one = |key: &str, value: Value| Value::Map([(key.to_owned(), value)].into());
        one(VALUE_FROM, one(source, value))
    }

    /// Collects the references in a value, however deep.
    pub fn collect(value: &Value, found: &mut impl FnMut(Self)) {
        if let Some(reference) = Self::of_value(value) {
            // A broken one is refused where documents are read.
            return reference.into_iter().for_each(found);
        }
        match value {
            Value::List(list) => {
                for item in list {
                    Self::collect(item, found);
                }
            }
            Value::Map(map) => {
                for item in map.values() {
                    Self::collect(item, found);
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::UInt(_)
            | Value::Float(_)
            | Value::String(_) => {}
        }
    }
}

fn is_variable(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty()
        && name.len() <= NAME_MAX
        && name.chars().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= NAME_MAX
        && !path.contains('\0')
        && !path.split('/').any(|part| part == "..")
}

fn is_inside(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | ".." | ".git");
    path.len() <= NAME_MAX
        && path.split('/').all(plain)
        && !path.contains(|c: char| c.is_control() || matches!(c, '\\' | '$'))
}

fn is_armoured(text: &str) -> bool {
    let text = text.trim();
    text.len() <= AGE_MAX && text.starts_with(AGE_BEGIN) && text.ends_with(AGE_END)
}

impl fmt::Display for SecretRef {
    /// Names the reference, for people: `env:TOKEN`, `file:/run/secrets/token`. A value of age is
    /// told by the end of its text, which differs with every encryption.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Age(text) => {
                let body = text.strip_suffix(AGE_END).unwrap_or(text);
                let body: Vec<char> = body.chars().filter(|c| !c.is_whitespace()).collect();
                let end: String = body[body.len().saturating_sub(FINGERPRINT)..]
                    .iter()
                    .collect();
                write!(f, "age:...{end}")
            }
            Self::Sops { file, key } => write!(f, "sops:{file}#{}", key.join(".")),
        }
    }
}

impl TemplateParts {
    /// Returns the secrets that an instance of it needs.
    pub fn secrets(&self) -> BTreeSet<SecretRef> {
        let mut found = BTreeSet::new();
        SecretRef::collect(&self.properties, &mut |reference| {
            found.insert(reference);
        });
        for flavor in &self.flavors {
            match flavor {
                Flavor::Vanilla(vanilla) => found.extend(vanilla.secrets.values().cloned()),
                // Properties of plugins have none.
                Flavor::CloudInit(_) | Flavor::Plugin(_) => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
