//! The values of secrets on their way to a provider: read when a call is made, given to the provider
//! with the call, and shown to nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use drover_model::{SecretRef, Value};

use crate::Slot;

/// The shortest value that is looked for in texts: a shorter one would be found in every other word.
const REDACTED_MIN: usize = 4;

/// The value of a secret. Neither `Debug` nor anything else shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// Takes a value.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the value, for who hands it to the instance.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Drop for SecretText {
    /// Best effort: what was copied before is out of reach.
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        std::hint::black_box(&bytes);
    }
}

/// Why a secret cannot be read. Says which, and never what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret {reference} cannot be read: {why}")]
pub struct SecretError {
    /// The reference, as it is named for people.
    pub reference: String,
    /// What is in the way.
    pub why: String,
}

/// Reads the values of secrets, where the agent allows that. Calls block.
pub trait SecretSource: Send + Sync + fmt::Debug {
    /// Returns the value.
    ///
    /// # Errors
    ///
    /// It is not allowed, not there, or not a text.
    fn read(&self, reference: &SecretRef) -> Result<SecretText, SecretError>;
}

/// A source that has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

impl SecretSource for NoSecrets {
    fn read(&self, reference: &SecretRef) -> Result<SecretText, SecretError> {
        Err(SecretError {
            reference: reference.to_string(),
            why: "no secrets are allowed here".to_owned(),
        })
    }
}

/// The values that a call needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<SecretRef, SecretText>);

impl Secrets {
    /// Reads everything that `references` name. Blocks.
    ///
    /// # Errors
    ///
    /// The first that cannot be read.
    pub fn read(
        source: &dyn SecretSource,
        references: &BTreeSet<SecretRef>,
    ) -> Result<Self, SecretError> {
        let read = |reference: &SecretRef| Ok((reference.clone(), source.read(reference)?));
        Ok(Self(references.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Adds a value that was read.
    pub fn insert(&mut self, reference: SecretRef, text: SecretText) {
        self.0.insert(reference, text);
    }

    /// Returns the same, so written that nothing in the values reads like a substitution.
    #[must_use]
    pub fn escaped(&self) -> Self {
        let texts = self.0.iter();
        let texts = texts.map(|(reference, text)| {
            let text = SecretText::new(crate::flavor::escaped(text.reveal()));
            (reference.clone(), text)
        });
        Self(texts.collect())
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `value` with every reference replaced by what it stands for, as far as that is known.
    pub fn reveal(&self, value: &Value) -> Value {
        if let Some(Ok(reference)) = SecretRef::of_value(value) {
            let known = self.0.get(&reference);
            return known.map_or_else(|| value.clone(), |text| Value::from(text.reveal()));
        }
        match value {
            Value::List(list) => Value::List(list.iter().map(|item| self.reveal(item)).collect()),
            Value::Map(map) => {
                let entries = map.iter();
                entries
                    .map(|(key, item)| (key.clone(), self.reveal(item)))
                    .collect()
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::UInt(_)
            | Value::Float(_)
            | Value::String(_) => value.clone(),
        }
    }

    /// Returns the environment of a slot, with the values of its secrets as far as they are known.
    pub fn env(&self, slot: &Slot) -> BTreeMap<String, String> {
        let mut env = slot.env.clone();
        for (name, reference) in &slot.secrets {
            if let Some(text) = self.0.get(reference) {
                env.insert(name.clone(), text.reveal().to_owned());
            }
        }
        env
    }

    /// Returns `text` without the values: a provider's error may repeat what it was given.
    pub fn redact(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for (reference, value) in &self.0 {
            // What was given in lines may come back in pieces.
            let pieces = value.reveal().lines().chain([value.reveal()]);
            for piece in pieces.filter(|piece| piece.len() >= REDACTED_MIN) {
                if clean.contains(piece) {
                    clean = clean.replace(piece, &format!("[secret {reference}]"));
                }
            }
        }
        clean
    }
}

/// Returns the secrets that a call needs.
pub fn references(slots: &[Slot], properties: &Value) -> BTreeSet<SecretRef> {
    let named = slots.iter().flat_map(|slot| slot.secrets.values().cloned());
    let mut found: BTreeSet<SecretRef> = named.collect();
    SecretRef::collect(properties, &mut |reference| {
        found.insert(reference);
    });
    found
}

#[cfg(test)]
mod tests;
