//! A plugin's answer: how much of it is read, and what is in it. Its parts are found in the text as it came, so that only
//! what is asked for is ever built in memory, once.

use std::borrow::Cow;
use std::fmt;

use drover_model::ErrorClass;
use hyper::body::Bytes;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::Fault;
use crate::json::field;
use crate::weight::{Size, weigh};

/// The longest part of a plugin's own words that is passed on, in characters.
const WORDS_MAX: usize = 500;

/// The code of JSON-RPC for a method that there is none of.
const NO_METHOD: i64 = -32601;

/// What is added to a message that came with this code.
const NO_METHOD_SUFFIX: &str = " (-32601)";

/// How InfraKit's own plugins say that there is no such method: their code is that of any failure.
const NO_METHOD_WORDS: [&str; 2] = ["rpc: can't find method", "rpc: can't find service"];

impl Fault {
    /// Returns whether the plugin said that it has no such method. Whatever else it says, it may have it.
    pub(crate) fn is_unknown_method(&self) -> bool {
        match self {
            Self::Refused { message, .. } => {
                let mut words = NO_METHOD_WORDS.iter();
                message.ends_with(NO_METHOD_SUFFIX) || words.any(|words| message.starts_with(words))
            }
            Self::Absent(_) | Self::NotSent(_) | Self::Lost(_) => false,
        }
    }
}

/// Returns whether a method only asks what a plugin offers.
pub(crate) fn is_handshake(method: &str) -> bool {
    matches!(
        method,
        "Handshake.Hello" | "Handshake.Implements" | "Handshake.Types" | "Plugin.Implements"
    )
}

/// How much of an answer is read, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// As it comes over the wire.
    pub(crate) text: usize,
    /// What it takes in memory once it is read, as [`weigh`] estimates it.
    pub(crate) memory: usize,
}

impl Bounds {
    /// What a plugin offers. One of InfraKit's managers lists each group as an object of 40 bytes: 6,000 of them.
    pub(crate) const HANDSHAKE: Self = Self {
        text: 256 << 10,
        memory: 8 << 20,
    };

    /// An answer about one thing. As large as a request may be: some answer a failure with the request in it.
    pub(crate) const ONE: Self = Self {
        text: 4 << 20,
        memory: 32 << 20,
    };

    /// A listing, and what holds a text of unknown length. 50,000 instances with a dozen tags each; all pages of one listing
    /// are bounded together. More is a plugin that has lost its mind, and is not read to its end.
    pub(crate) const LISTING: Self = Self {
        text: 32 << 20,
        memory: 256 << 20,
    };

    /// Returns the bounds of a method's answers.
    pub(crate) fn of(method: &str) -> Self {
        match method {
            method if is_handshake(method) => Self::HANDSHAKE,
            "Instance.DescribeInstances"
            | "Group.InspectGroups"
            | "Provider.List"
            | "Provider.Survey"
            | "Provider.Logs" => Self::LISTING,
            _ => Self::ONE,
        }
    }

    /// Refuses an answer of which more comes than is read.
    pub(crate) fn too_long(self) -> Fault {
        Fault::Lost(format!("the answer is larger than {}", Size(self.text)))
    }
}

/// The result of a call, as it stands in the answer. It is JSON, and not null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) result: Bytes,
    /// What the whole answer takes in memory once it is read.
    pub(crate) weight: usize,
}

/// Reads the answer: a result that is not null, or an error. What `id` and `jsonrpc` say is not looked at,
/// as InfraKit's own client does not, and as some plugins leave them out.
pub(super) fn read(bytes: &Bytes, bounds: Bounds) -> Result<Answer, Fault> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Fault::Lost("the answer is empty".to_owned()));
    }
    let weighed = weigh(bytes, bounds.memory);
    let weight = weighed.map_err(|why| Fault::Lost(format!("the answer is too much: {why}")))?;
    let garbage = |error: serde_json::Error| {
        Fault::Lost(shortened(&format!("the answer is not JSON: {error}")))
    };
    let whole: &RawValue = serde_json::from_slice(bytes).map_err(garbage)?;
    if !whole.get().starts_with('{') {
        return Err(Fault::Lost("the answer is not a JSON object".to_owned()));
    }
    let found = members(whole.get(), ["error", "result"]).map_err(garbage)?;
    // Most plugins answer with one of them and leave the other out; some answer with null.
    let [error, result] = found.map(|value| value.filter(|value| value.get() != "null"));
    if let Some(error) = error {
        let error: Json = serde_json::from_str(error.get()).map_err(garbage)?;
        return Err(refusal(&error));
    }
    let none = || Fault::Lost("the answer has neither a result nor an error".to_owned());
    let result = bytes.slice_ref(result.ok_or_else(none)?.get().as_bytes());
    Ok(Answer { result, weight })
}

fn refusal(error: &Json) -> Fault {
    let object = error.as_object();
    let message = object.and_then(|object| field(object, "message"));
    let message = match (message, error) {
        (Some(Json::String(message)), _) | (None, Json::String(message)) => shortened(message),
        _ => shortened(&error.to_string()),
    };
    let class = object.and_then(|object| field(object, "data"));
    let class = class.and_then(|data| data.get("class"));
    let code = object.and_then(|object| field(object, "code"));
    let message = if code.and_then(Json::as_i64) == Some(NO_METHOD) {
        format!("{message}{NO_METHOD_SUFFIX}")
    } else {
        message
    };
    Fault::Refused {
        class: class.and_then(Json::as_str).and_then(class_of),
        message,
    }
}

/// Every class, for names that come over the wire.
const CLASSES: [ErrorClass; 8] = [
    ErrorClass::Throttled,
    ErrorClass::Capacity,
    ErrorClass::Quota,
    ErrorClass::InvalidSpec,
    ErrorClass::Auth,
    ErrorClass::Partial,
    ErrorClass::Unknown,
    ErrorClass::NotFound,
];

/// Returns the class of this name. None: an unknown one says nothing.
pub(crate) fn class_of(name: &str) -> Option<ErrorClass> {
    CLASSES.into_iter().find(|class| class.as_str() == name)
}

/// Returns what a plugin said, within bounds and on one line.
pub(crate) fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(WORDS_MAX).map(plain).collect();
    if text.chars().nth(WORDS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// Finds members of an object, each spelled exactly so, else in another case, as Go reads it. Nothing is built of them, and
/// nothing of the others.
///
/// # Errors
///
/// It is no object.
pub(crate) fn members<'a, const N: usize>(
    object: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    use serde::Deserializer as _;
    let mut reader = serde_json::Deserializer::from_str(object);
    reader.deserialize_map(Finding(names))
}

struct Finding<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Finding<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found: [(Option<&RawValue>, bool); N] = [(None, false); N];
        while let Some(Name(key)) = map.next_key::<Name<'de>>()? {
            let named = self
                .0
                .iter()
                .position(|name| key.eq_ignore_ascii_case(name));
            let Some(named) = named else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let exact = key == self.0[named];
            let value: &RawValue = map.next_value()?;
            if exact || !found[named].1 {
                found[named] = (Some(value), exact);
            }
        }
        Ok(found.map(|(value, _)| value))
    }
}

/// A member's name, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
