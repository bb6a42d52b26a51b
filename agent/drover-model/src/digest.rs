//! Digests: what makes an instance current or stale.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::id::base32;
use crate::{IdError, ProviderType, Template, Value};

/// The version of the digest's definition. An instance tagged with another version is never rolled
/// because of that: its digest is computed again and its tag renewed.
pub const DIGEST_VERSION: u32 = 1;

/// The version of digests that say nothing of a template: those of adopted instances with a revision of their own.
const OWN_VERSION: u32 = 0;

/// The digest of one class of a template's fields, as `1:<hash>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpecDigest {
    version: u32,
    hash: Arc<str>,
}

impl SpecDigest {
    fn of(provider: &ProviderType, class: FieldClass, fields: &BTreeMap<String, Value>) -> Self {
        let mut bytes = Vec::new();
        Value::from(provider.as_str()).canonical_bytes(&mut bytes);
        Value::from(class.as_str()).canonical_bytes(&mut bytes);
        Value::Map(fields.clone()).canonical_bytes(&mut bytes);
        Self {
            version: DIGEST_VERSION,
            hash: base32(&Sha256::digest(&bytes)).into(),
        }
    }

    /// Returns the first eight characters of the hash, for people.
    pub fn short(&self) -> &str {
        &self.hash[..8]
    }
}

impl fmt::Display for SpecDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.version, self.hash)
    }
}

impl fmt::Debug for SpecDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpecDigest({self})")
    }
}

/// What a change of a field asks for, least disruptive first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldClass {
    /// The field does not make an instance stale.
    Ignore,
    /// The provider can change it on a running instance.
    Live,
    /// The instance must restart.
    Restart,
    /// The instance must be replaced.
    Replace,
}

impl FieldClass {
    /// Every class, least disruptive first.
    pub const ALL: [Self; 4] = [Self::Ignore, Self::Live, Self::Restart, Self::Replace];

    /// Returns the name used in documents and schemas.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Live => "live",
            Self::Restart => "restart",
            Self::Replace => "replace",
        }
    }

    /// Returns what is done to an instance for a field of this class, for people.
    pub fn as_action(self) -> &'static str {
        match self {
            Self::Ignore => "nothing",
            Self::Live => "a live change",
            Self::Restart => "a restart",
            Self::Replace => "a replacement",
        }
    }
}

/// How an instance is changed in place: it keeps its id, its handle and what is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InPlace {
    /// Without an interruption.
    Live,
    /// It goes out of service and comes back.
    Restart,
}

impl InPlace {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Live, Self::Restart];

    /// Returns the name used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => FieldClass::Live.as_str(),
            Self::Restart => FieldClass::Restart.as_str(),
        }
    }
}

/// The digests of a template, one per class that can make an instance stale.
///
/// Computed over the template as written: no defaults filled in, before substitution. So neither a
/// new agent with a new default nor a changed address makes an instance stale.
///
/// Shared: every instance has one, in each place that knows the instance.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digests(Arc<DigestOfClass>);

/// The digest of each class: what [`Digests`] dereferences to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DigestOfClass {
    /// Fields whose change replaces the instance.
    pub replace: SpecDigest,
    /// Fields whose change restarts the instance.
    pub restart: SpecDigest,
    /// Fields whose change is applied to the running instance.
    pub live: SpecDigest,
}

impl Digests {
    /// Computes the digests of `template`, with `classes` giving the class of each top-level
    /// property (a property that is not listed is `Replace`). Flavors and tags are `Replace`.
    pub fn of(
        provider: &ProviderType,
        template: &Template,
        classes: &BTreeMap<String, FieldClass>,
    ) -> Self {
        let mut by_class: BTreeMap<FieldClass, BTreeMap<String, Value>> = BTreeMap::new();
        let properties = template.properties.as_map().into_iter().flatten();
        for (key, value) in properties {
            let class = classes.get(key).copied().unwrap_or(FieldClass::Replace);
            by_class
                .entry(class)
                .or_default()
                .insert(format!("properties.{key}"), value.clone());
        }
        let replace = by_class.entry(FieldClass::Replace).or_default();
        replace.insert("flavors".to_owned(), template.flavors_as_written.clone());
        let tags = template
            .tags
            .iter()
            .map(|(key, tag)| (key.clone(), tag.as_str().into()));
        replace.insert("tags".to_owned(), tags.collect());
        let digest = |class| {
            SpecDigest::of(
                provider,
                class,
                by_class.get(&class).unwrap_or(&BTreeMap::new()),
            )
        };
        Self(Arc::new(DigestOfClass {
            replace: digest(FieldClass::Replace),
            restart: digest(FieldClass::Restart),
            live: digest(FieldClass::Live),
        }))
    }

    /// Returns the digests of an adopted instance with a revision of its own. They say nothing of any template, so
    /// that no template makes the instance outdated.
    pub fn of_own_revision() -> Self {
        Self::marked(OWN_VERSION, "a revision of its own")
    }

    /// Returns the digests of an adopted instance of which nothing is known but that it was made from another
    /// template. No template has them, so that every template makes the instance outdated.
    pub fn of_unknown_template() -> Self {
        Self::marked(DIGEST_VERSION, "a template that nobody knows")
    }

    fn marked(version: u32, mark: &str) -> Self {
        let digest = SpecDigest {
            version,
            hash: base32(&Sha256::digest(mark)).into(),
        };
        Self(Arc::new(DigestOfClass {
            replace: digest.clone(),
            restart: digest.clone(),
            live: digest,
        }))
    }

    /// Returns whether these are the digests of an adopted instance with a revision of its own.
    pub fn is_own_revision(&self) -> bool {
        self.version() == OWN_VERSION
    }

    /// Parses what [`Digests`]' `Display` wrote: `1:<replace>+<restart>+<live>`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let form = IdError::Form {
            expected: "a digest such as 1:<hash>+<hash>+<hash>",
        };
        let (version, hashes) = text.split_once(':').ok_or_else(|| form.clone())?;
        let version: u32 = version.parse().map_err(|_| form.clone())?;
        let hashes: Vec<&str> = hashes.split('+').collect();
        let well_formed = |hash: &&str| {
            hash.len() == 32 && hash.chars().all(|c| matches!(c, 'a'..='z' | '2'..='7'))
        };
        let [replace, restart, live] = hashes.as_slice() else {
            return Err(form);
        };
        if !hashes.iter().all(well_formed) {
            return Err(form);
        }
        let digest = |hash: &str| SpecDigest {
            version,
            hash: hash.into(),
        };
        Ok(Self(Arc::new(DigestOfClass {
            replace: digest(replace),
            restart: digest(restart),
            live: digest(live),
        })))
    }

    /// Returns what makes an instance with these digests one with the digests `other`: the most
    /// disruptive class that differs. Digests of another version say nothing.
    pub fn change_to(&self, other: &Self) -> FieldClass {
        if self.version() != other.version() {
            FieldClass::Ignore
        } else if self.replace != other.replace {
            FieldClass::Replace
        } else if self.restart != other.restart {
            FieldClass::Restart
        } else if self.live != other.live {
            FieldClass::Live
        } else {
            FieldClass::Ignore
        }
    }

    /// Returns a short name for people: the first eight characters of the `replace` hash.
    pub fn short(&self) -> &str {
        self.replace.short()
    }

    /// Returns the version of the definition that these digests follow.
    pub fn version(&self) -> u32 {
        self.replace.version
    }
}

impl Deref for Digests {
    type Target = DigestOfClass;

    fn deref(&self) -> &DigestOfClass {
        &self.0
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digests")
            .field("replace", &self.replace)
            .field("restart", &self.restart)
            .field("live", &self.live)
            .finish()
    }
}

impl fmt::Display for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DigestOfClass {
            replace,
            restart,
            live,
        } = &**self;
        write!(
            f,
            "{}:{}+{}+{}",
            replace.version, replace.hash, restart.hash, live.hash
        )
    }
}

#[cfg(test)]
mod tests;
