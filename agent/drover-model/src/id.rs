//! Ids: one newtype each, parsed once. Their texts are shared: a pass copies each id many times.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::{Digests, Timestamp, Value};

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text is longer than the format allows.
    #[error("is longer than {max} characters")]
    TooLong {
        /// The largest length in characters.
        max: usize,
    },
    /// A character is outside the alphabet.
    #[error("contains {character:?}; only lower-case letters, digits and '-' are allowed")]
    Character {
        /// The first character that is not allowed.
        character: char,
    },
    /// The text starts or ends with a hyphen.
    #[error("starts or ends with '-'")]
    Edge,
    /// The text does not have the id's form.
    #[error("is not {expected}")]
    Form {
        /// What the form is, in words.
        expected: &'static str,
    },
}

/// The longest DNS label, in characters (RFC 1035).
pub const NAME_LENGTH_MAX: usize = 63;

fn check_dns_label(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > NAME_LENGTH_MAX {
        return Err(IdError::TooLong {
            max: NAME_LENGTH_MAX,
        });
    }
    if let Some(character) = text
        .chars()
        .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-'))
    {
        return Err(IdError::Character { character });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(IdError::Edge);
    }
    Ok(())
}

/// The longest name of a plugin, in characters: a file name has at most 255 bytes, and some endings are added to it.
const PLUGIN_LENGTH_MAX: usize = 200;

/// The part before the first `/` is one file name, so that no document leads out of the plugins' folder.
fn check_plugin(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > PLUGIN_LENGTH_MAX {
        return Err(IdError::TooLong {
            max: PLUGIN_LENGTH_MAX,
        });
    }
    let lookup = text.split('/').next().unwrap_or_default();
    let names_a_file = !matches!(lookup, "" | "." | "..") && !text.ends_with('/');
    let strange = |c: char| c.is_control() || c.is_whitespace() || c == '$';
    if names_a_file && !text.contains(strange) {
        return Ok(());
    }
    Err(IdError::Form {
        expected: "the name of a plugin, such as `swarm` or `swarm/worker`",
    })
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses the id.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> Result<(), IdError> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }

            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
    };
}

text_id!(
    /// The name of a group in a repository: a DNS label. Not its uid, which a re-created group changes.
    GroupName,
    check_dns_label
);
text_id!(
    /// The name of a Provider document: a DNS label. Not its type, such as `process`.
    ProviderName,
    check_dns_label
);
text_id!(
    /// The type of a provider, such as `process`: what implements it.
    ProviderType,
    check_dns_label
);
text_id!(
    /// What a document calls a flavor plugin: the name of its socket, and `/` and a subtype where it has several.
    /// Not the name of a flavor that is part of drover.
    FlavorName,
    check_plugin
);
text_id!(
    /// The name of a Policy document.
    PolicyName,
    check_dns_label
);
text_id!(
    /// The name of a Binding document.
    BindingName,
    check_dns_label
);
text_id!(
    /// The name of a fleet: the owner written into every instance's tags, from the agent's own file.
    FleetName,
    check_dns_label
);
text_id!(
    /// The name of one agent. Several agents may serve one fleet.
    AgentName,
    check_dns_label
);
text_id!(
    /// The identity of a member of a quorum group: a DNS label. It outlives the instances that take its
    /// place one after the other.
    MemberId,
    check_dns_label
);
text_id!(
    /// The name of something attached to a member: a DNS label.
    AttachmentName,
    check_dns_label
);
text_id!(
    /// The name of a budget that groups share: a DNS label.
    BudgetName,
    check_dns_label
);
text_id!(
    /// The name of a MetricSource document: a DNS label.
    MetricSourceName,
    check_dns_label
);
text_id!(
    /// The name of a source of metrics in the agent's own file: a DNS label. Documents name it; what is
    /// behind it they do not know.
    SourceName,
    check_dns_label
);
text_id!(
    /// The name that policies know a metric under, such as `queue.depth`.
    MetricName,
    |text| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > NAME_LENGTH_MAX {
            return Err(IdError::TooLong { max: NAME_LENGTH_MAX });
        }
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed) {
            return Ok(());
        }
        Err(IdError::Form { expected: "a metric's name of letters, digits, '.', '_' and '-' that begins with a letter or digit" })
    }
);
text_id!(
    /// The name of a Calendar document: a DNS label.
    CalendarName,
    check_dns_label
);
text_id!(
    /// The identity of one life of a group, drawn when the agent first sees it and recorded.
    /// A group deleted and created again has the same name and another uid.
    GroupUid,
    |text| match text.len() {
        16 if text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) => Ok(()),
        _ => Err(IdError::Form { expected: "16 lower-case letters or digits" }),
    }
);
text_id!(
    /// A Git commit id in hexadecimal (40 or 64 digits). Not a digest of a document.
    Revision,
    |text| match text.len() {
        40 | 64 if text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) => Ok(()),
        _ => Err(IdError::Form { expected: "a commit id of 40 or 64 hexadecimal digits" }),
    }
);
text_id!(
    /// The provider's own handle of an instance. Opaque to the agent; not our [`InstanceId`].
    ProviderRef,
    |text| if text.is_empty() { Err(IdError::Empty) } else { Ok(()) }
);
text_id!(
    /// The idempotency token of a provision call: one token, at most one set of instances.
    Token,
    |text| match text.len() {
        TOKEN_LENGTH if text.chars().all(|c| matches!(c, 'a'..='z' | '2'..='7')) => Ok(()),
        _ => Err(IdError::Form { expected: "32 characters of lower-case base32" }),
    }
);
text_id!(
    /// The principal of a signing key, as the agent's list of signers names it; often a mail address.
    /// Not the author of a commit, which anybody may write.
    Signer,
    |text| match text {
        "" => Err(IdError::Empty),
        _ if text.len() > SIGNER_LENGTH_MAX => Err(IdError::TooLong { max: SIGNER_LENGTH_MAX }),
        _ if text.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            Err(IdError::Form { expected: "a principal without spaces, such as jane@example.com" })
        }
        _ => Ok(()),
    }
);
text_id!(
    /// The id of a change: what a person reviews and approves, equal through a whole rollout.
    ChangeId,
    |text| match text.len() {
        64 if text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) => Ok(()),
        _ => Err(IdError::Form { expected: "64 hexadecimal digits" }),
    }
);

/// The longest [`Signer`] in bytes: the longest mail address (RFC 5321), rounded up.
pub const SIGNER_LENGTH_MAX: usize = 320;

impl Revision {
    /// Returns the first seven digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl ChangeId {
    /// Derives the id from the change's whole content: the same content, the same id.
    pub fn of(content: &Value) -> Self {
        let mut bytes = Vec::new();
        content.canonical_bytes(&mut bytes);
        Self(
            data_encoding::HEXLOWER
                .encode(&Sha256::digest(&bytes))
                .into(),
        )
    }

    /// Returns the first twelve digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// Returns the DNS label that a name comes closest to: lower case, with `-` for what a label cannot have. None: nothing
/// of it is left.
pub fn label_of(name: &str) -> Option<String> {
    /// Longest DNS label.
    const LENGTH_MAX: usize = 63;
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let text: String = name.chars().map(plain).take(LENGTH_MAX).collect();
    let text = text.trim_matches('-');
    (!text.is_empty()).then(|| text.to_owned())
}

/// Length of a [`Token`] in characters: 160 bits of a SHA-256 in base32.
pub const TOKEN_LENGTH: usize = 32;

/// A fencing number: grows with each change of the agent that holds a group. Zero before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Our id of one instance: `<group>-<number>`, the number never reused within a group.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct InstanceId {
    group: GroupName,
    number: u64,
}

impl Ord for InstanceId {
    /// Compares the groups by name, then the numbers. The ids of a group share its name, and maps by
    /// id are most of what a pass does: equal texts are not read.
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.group.0, &other.group.0) {
            return self.number.cmp(&other.number);
        }
        let groups = self.group.cmp(&other.group);
        groups.then_with(|| self.number.cmp(&other.number))
    }
}

impl PartialOrd for InstanceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl InstanceId {
    /// The largest number that an instance is ever given: one that every reader of JSON has exactly. Ids above it can be
    /// read, for what was written down; no listing that has one is believed.
    pub const NUMBER_MAX: u64 = (1 << 53) - 1;

    /// Names instance `number` of `group`.
    pub fn new(group: GroupName, number: u64) -> Self {
        Self { group, number }
    }

    /// Parses `<group>-<number>`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let form = IdError::Form {
            expected: "an instance id such as web-7",
        };
        let (group, number) = text.rsplit_once('-').ok_or_else(|| form.clone())?;
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = digits && (number == "0" || !number.starts_with('0'));
        let number: u64 = number.parse().map_err(|_| form.clone())?;
        if !canonical {
            return Err(form);
        }
        Ok(Self {
            group: GroupName::parse(group)?,
            number,
        })
    }

    /// Returns the group that the instance belongs to.
    pub fn group(&self) -> &GroupName {
        &self.group
    }

    /// Returns the instance's number within its group.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.group, self.number)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({self})")
    }
}

impl FromStr for InstanceId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl Token {
    /// Derives the token of a provision call: base32(sha256(fleet, uid, epoch, first instance, attempt)).
    ///
    /// It can be derived again after the journal is lost; only `attempt` must be durable before the call.
    pub fn derive(
        fleet: &FleetName,
        uid: &GroupUid,
        epoch: Epoch,
        instance: &InstanceId,
        attempt: u32,
    ) -> Self {
        let parts = [
            fleet.as_str(),
            uid.as_str(),
            &epoch.to_string(),
            &instance.to_string(),
        ];
        Self::of(&parts, &attempt.to_be_bytes())
    }

    /// Derives the token of a change in place: of one that was decided at another time it is another.
    pub fn of_update(
        fleet: &FleetName,
        uid: &GroupUid,
        epoch: Epoch,
        instance: &InstanceId,
        digests: &Digests,
        decided_at: Timestamp,
    ) -> Self {
        let parts = [
            fleet.as_str(),
            uid.as_str(),
            &epoch.to_string(),
            &instance.to_string(),
            &digests.to_string(),
        ];
        Self::of(&parts, &decided_at.as_nanosecond().to_be_bytes())
    }

    /// Derives the token of a restart that a person asked for, by the commit that brought the word.
    pub fn of_order(
        uid: &GroupUid,
        instance: &InstanceId,
        operation: &Revision,
        asked_at: Timestamp,
    ) -> Self {
        let parts = [
            "order",
            uid.as_str(),
            &instance.to_string(),
            operation.as_str(),
        ];
        Self::of(&parts, &asked_at.as_nanosecond().to_be_bytes())
    }

    fn of(parts: &[&str], last: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(last);
        Self(base32(&hash.finalize()).into())
    }
}

/// Encodes the first 160 bits of a SHA-256 as 32 characters of lower-case base32.
pub(crate) fn base32(hash: &[u8]) -> String {
    data_encoding::BASE32_NOPAD
        .encode(&hash[..20])
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
