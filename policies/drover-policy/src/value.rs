//! Values of expressions over drover's own types: fields are read when an expression asks for
//! them, so that binding ten thousand instances copies nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use cel::ExecutionError;
use cel::common::traits::{self, Container, Indexer, Iterable, Sizer};
use cel::common::types::{
    CelBool, CelDouble, CelDuration, CelInt, CelList, CelNull, CelOptional, CelString,
    CelTimestamp, CelUInt, Kind, MAP_TYPE, NULL_TYPE, Type as CelType,
};
use cel::common::value::{CowVal, Val};
use drover_model::{Timestamp, Value, counted, plural};

/// A value of an expression that may borrow for `'a`.
pub(crate) type Boxed<'a> = Box<dyn Val + 'a>;

pub(crate) fn bool<'a>(value: bool) -> Boxed<'a> {
    Box::new(CelBool::from(value))
}

pub(crate) fn int<'a>(value: impl Into<i64>) -> Boxed<'a> {
    Box::new(CelInt::from(value.into()))
}

pub(crate) fn text(value: &str) -> Boxed<'_> {
    Box::new(CelString::from(value))
}

pub(crate) fn owned_text<'a>(value: String) -> Boxed<'a> {
    Box::new(CelString::from(value))
}

pub(crate) fn list(elements: Vec<Boxed<'_>>) -> Boxed<'_> {
    Box::new(CelList::from(elements))
}

pub(crate) fn time<'a>(value: Timestamp) -> Boxed<'a> {
    let nanos = u32::try_from(value.subsec_nanosecond()).unwrap_or(0);
    let utc = chrono::DateTime::from_timestamp(value.as_second(), nanos).unwrap_or_default();
    Box::new(CelTimestamp::from(utc.fixed_offset()))
}

pub(crate) fn duration<'a>(value: std::time::Duration) -> Boxed<'a> {
    let span = chrono::Duration::from_std(value).unwrap_or(chrono::Duration::MAX);
    Box::new(CelDuration::from(span))
}

/// Returns the time from `earlier` to `later`, never negative: clocks of providers may be ahead.
pub(crate) fn elapsed<'a>(earlier: Timestamp, later: Timestamp) -> Boxed<'a> {
    let passed = later.duration_since(earlier);
    duration(std::time::Duration::try_from(passed).unwrap_or_default())
}

/// Returns a value of a document.
pub(crate) fn document(value: &Value) -> Boxed<'_> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => bool(*value),
        Value::Int(value) => int(*value),
        Value::UInt(value) => Box::new(CelUInt::from(*value)),
        Value::Float(value) => Box::new(CelDouble::from(*value)),
        Value::String(value) => text(value),
        Value::List(elements) => list(elements.iter().map(document).collect()),
        Value::Map(entries) => map(entries),
    }
}

/// Returns a map of a document.
pub(crate) fn map(entries: &BTreeMap<String, Value>) -> Boxed<'_> {
    keyed(Documents(entries))
}

/// Returns a map of texts.
pub(crate) fn texts(entries: &BTreeMap<String, String>) -> Boxed<'_> {
    keyed(Texts(entries))
}

/// Returns a record or a map.
pub(crate) fn keyed<'a, E: Entries<'a> + 'a>(entries: E) -> Boxed<'a> {
    Box::new(Keyed {
        entries,
        keys: OnceLock::new(),
    })
}

/// Returns null, which says what it stands for when somebody selects a field of it.
pub(crate) fn absent<'a>(why: &'static str) -> Boxed<'a> {
    Box::new(Absent { why })
}

/// Something with values by name: a record with fixed fields, or a map.
pub(crate) trait Entries<'a>: Clone + Send + Sync {
    /// Whether it is a map, which has a size and can be looped over.
    const MAP: bool;

    /// Returns the value of `key`, if there is one.
    fn entry(&self, key: &str) -> Option<Boxed<'a>>;

    /// Returns every key in order.
    fn keys(&self) -> Vec<&'a str>;
}

/// The entries of a map in a document.
#[derive(Clone, Copy)]
struct Documents<'a>(&'a BTreeMap<String, Value>);

impl<'a> Entries<'a> for Documents<'a> {
    const MAP: bool = true;

    fn entry(&self, key: &str) -> Option<Boxed<'a>> {
        self.0.get(key).map(document)
    }

    fn keys(&self) -> Vec<&'a str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// The entries of a map of texts.
#[derive(Clone, Copy)]
struct Texts<'a>(&'a BTreeMap<String, String>);

impl<'a> Entries<'a> for Texts<'a> {
    const MAP: bool = true;

    fn entry(&self, key: &str) -> Option<Boxed<'a>> {
        self.0.get(key).map(|value| text(value))
    }

    fn keys(&self) -> Vec<&'a str> {
        self.0.keys().map(String::as_str).collect()
    }
}

static RECORD_TYPE: CelType = CelType::new_unspecified_type("record");

struct Keyed<'a, E> {
    entries: E,
    /// The keys as values, made when a loop asks for them.
    keys: OnceLock<Box<[CelString<'a>]>>,
}

/// Each step of a loop clones the element that it is about: keys are made again where they are asked for.
impl<E: Clone> Clone for Keyed<'_, E> {
    fn clone(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            keys: OnceLock::new(),
        }
    }
}

impl<'a, E: Entries<'a>> Keyed<'a, E> {
    fn key_values(&self) -> &[CelString<'a>] {
        self.keys
            .get_or_init(|| self.entries.keys().into_iter().map(Into::into).collect())
    }
}

impl<E> fmt::Debug for Keyed<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{..}")
    }
}

impl<'a, E: Entries<'a>> Val for Keyed<'a, E> {
    fn get_type(&self) -> &CelType {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static CelType {
        if E::MAP { &MAP_TYPE } else { &RECORD_TYPE }
    }

    fn as_container(&self) -> Option<&dyn Container> {
        E::MAP.then_some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        E::MAP.then_some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        E::MAP.then_some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let Some(indexer) = other.as_indexer() else {
            return false;
        };
        let same_kind = other.get_type().kind() == self.get_type().kind();
        let same_size = other.as_sizer().is_none_or(|sizer| {
            usize::try_from(*sizer.size().inner()) == Ok(self.key_values().len())
        });
        same_kind
            && same_size
            && self.key_values().iter().all(|key| {
                let mine = self.entries.entry(key.inner());
                let theirs = indexer.get(key);
                matches!((mine, theirs), (Some(mine), Ok(theirs)) if mine.equals(theirs.as_ref()))
            })
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

impl<'a, E: Entries<'a>> Indexer for Keyed<'a, E> {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let Some(key) = key.downcast_ref::<CelString<'_>>() else {
            return Err(ExecutionError::UnexpectedType {
                got: key.get_type().name().to_owned(),
                want: "string".to_owned(),
            });
        };
        match self.entries.entry(key.inner()) {
            Some(value) => Ok(CowVal::Owned(value)),
            None => Err(ExecutionError::no_such_key(key.inner())),
        }
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

impl<'a, E: Entries<'a>> Container for Keyed<'a, E> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(key
            .downcast_ref::<CelString<'_>>()
            .is_some_and(|key| self.entries.entry(key.inner()).is_some()))
    }
}

impl<'a, E: Entries<'a>> Sizer for Keyed<'a, E> {
    fn size(&self) -> CelInt {
        CelInt::from(self.key_values().len() as i64)
    }
}

struct Keys<'b, 'a>(std::slice::Iter<'b, CelString<'a>>);

impl<'b, 'a: 'v, 'v> traits::Iterator<'b, 'v> for Keys<'b, 'a> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|key| key as &(dyn Val + 'v))
    }
}

impl<'a, E: Entries<'a>> Iterable for Keyed<'a, E> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn traits::Iterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Keys(self.key_values().iter()))
    }
}

/// Null where a record may stand, such as `oldSpec` of a new group. Unlike the language's own null
/// it can be asked for fields: it has none, so that `has(oldSpec.size)` is false.
#[derive(Debug, Clone, Copy)]
struct Absent {
    why: &'static str,
}

impl Val for Absent {
    fn get_type(&self) -> &CelType {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static CelType {
        &NULL_TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.get_type().kind() == Kind::NullType
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(*self)
    }
}

impl Indexer for Absent {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let key = key.downcast_ref::<CelString<'_>>();
        let key = key.map_or("", CelString::inner);
        Err(ExecutionError::no_such_key(&format!(
            "{key} ({})",
            self.why
        )))
    }

    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

/// Returns a short text of a value for people.
pub(crate) fn show(value: &dyn Val) -> String {
    let whole = if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        text.inner().to_owned()
    } else if let Some(value) = value.downcast_ref::<CelBool>() {
        value.inner().to_string()
    } else if let Some(value) = value.downcast_ref::<CelInt>() {
        value.inner().to_string()
    } else if let Some(value) = value.downcast_ref::<CelUInt>() {
        value.inner().to_string()
    } else if let Some(value) = value.downcast_ref::<CelDouble>() {
        value.inner().to_string()
    } else if let Some(value) = value.downcast_ref::<CelTimestamp>() {
        show_time(value)
    } else if let Some(value) = value.downcast_ref::<CelDuration>() {
        show_duration(value)
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        show_list(list)
    } else if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
        match optional.option() {
            Some(held) => format!("optional.of({})", show(held)),
            None => "optional.none()".to_owned(),
        }
    } else if let Some(metric) = value.downcast_ref::<crate::definitions::MetricValue>() {
        metric.to_string()
    } else if let Some(shown) = crate::functions::show_opaque(value) {
        shown
    } else if let Some(size) = value.as_sizer() {
        format!("{{{}}}", plural(*size.size().inner(), "entry", "entries"))
    } else if value.get_type().kind() == Kind::NullType {
        "null".to_owned()
    } else {
        "{..}".to_owned()
    };
    shorten(&whole, crate::limits::VALUE_CHARS_MAX)
}

fn show_time(value: &CelTimestamp) -> String {
    let time = value.inner();
    jiff::Timestamp::new(time.timestamp(), time.timestamp_subsec_nanos() as i32)
        .map_or_else(|_| time.to_rfc3339(), |time| time.to_string())
}

fn show_duration(value: &CelDuration) -> String {
    let mut seconds = value.inner().num_seconds();
    let sign = if seconds < 0 { "-" } else { "" };
    seconds = seconds.abs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let part = |amount: i64, unit: &str| match amount {
        0 => String::new(),
        amount => format!("{amount}{unit}"),
    };
    let text = part(hours, "h") + &part(minutes, "m") + &part(rest, "s");
    if text.is_empty() {
        format!("{}ms", value.inner().num_milliseconds())
    } else {
        format!("{sign}{text}")
    }
}

fn show_list(list: &CelList<'_>) -> String {
    const SHOWN_MAX: usize = 4;
    let elements = list.inner();
    let simple = |value: &Boxed<'_>| {
        value.downcast_ref::<CelString<'_>>().is_some()
            || (value.as_indexer().is_none() && value.as_sizer().is_none())
    };
    if elements.len() > SHOWN_MAX || !elements.iter().all(simple) {
        return format!("[{}]", counted(elements.len(), "element"));
    }
    let shown: Vec<String> = elements.iter().map(|value| show(value.as_ref())).collect();
    format!("[{}]", shown.join(", "))
}

/// Returns at most `chars_max` characters of `text`, on one line.
pub(crate) fn shorten(text: &str, chars_max: usize) -> String {
    let mut short: String = text
        .chars()
        .take(chars_max)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if short.len() < text.len() && text.chars().nth(chars_max).is_some() {
        short.pop();
        short.push('…');
    }
    short
}
