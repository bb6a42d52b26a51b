//! JSON as programs in Go read and write it, to the byte: the fingerprint of a group's configuration is a hash of such
//! a text. Readers for other purposes round numbers differently in the last place, and refuse texts that Go repairs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use drover_model::Value;
use serde_json::Value as Json;

use self::fields::{ANSWER, GROUPS, Shape, add};
use crate::json::from_json;

mod fields;

/// Deepest nesting of lists and maps: far beyond what anybody writes, and far from the end of any stack.
const DEPTH_MAX: usize = 256;

/// A value of JSON. Keys are sorted by their bytes, and of two alike the last one counts.
#[derive(Debug, Clone, PartialEq)]
pub enum GoJson {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it is written.
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<GoJson>),
    /// A map.
    Map(BTreeMap<String, GoJson>),
}

/// Why a text is no JSON, or cannot be written as Go would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct GoJsonError {
    /// What is wrong.
    pub what: String,
    /// Where.
    pub at: usize,
}

/// Returns the entries of an object in their order, each as it is written. What follows the object is not looked at, as by
/// Go's decoder of a stream.
///
/// # Errors
///
/// It begins with no object.
pub(crate) fn entries(bytes: &[u8]) -> Result<Vec<(String, &[u8])>, GoJsonError> {
    let mut reader = Reader { bytes, at: 0 };
    reader.space();
    if reader.peek() != Some(b'{') {
        return Err(reader.error("no object begins"));
    }
    let mut entries = Vec::new();
    reader.each(|reader, key| {
        reader.space();
        let begin = reader.at;
        reader.value(1, &Shape::Any)?;
        entries.push((key, &bytes[begin..reader.at]));
        Ok(())
    })?;
    Ok(entries)
}

/// Returns JSON without the space between its marks, as Go hands on what it does not read.
pub(crate) fn compact(json: &[u8]) -> String {
    let (mut within, mut escaped) = (false, false);
    let kept = json.iter().copied().filter(|byte| {
        let drop = !within && matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        if *byte == b'"' && !escaped {
            within = !within;
        }
        escaped = within && *byte == b'\\' && !escaped;
        !drop
    });
    let kept: Vec<u8> = kept.collect();
    String::from_utf8_lossy(&kept).into_owned()
}

/// Returns JSON as a program in Go has it once it has read it: `1.0` and `1e0` are the number `1`, and of whole numbers
/// beyond 2^53 the last digits are lost. What InfraKit takes for one configuration is one value here.
#[must_use]
pub fn as_read_by_go(json: &Json) -> Json {
    let text = GoJson::from_value(&from_json(json)).marshal_indent();
    // No value of JSON is without such a text: its numbers are 64-bit floats at most.
    let read = text.ok().and_then(|text| serde_json::from_str(&text).ok());
    read.unwrap_or_else(|| json.clone())
}

/// A number that no 64-bit float holds: Go refuses to read it as one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the number {0} is too large")]
pub struct NumberTooLarge(pub String);

impl GoJson {
    /// Reads one value, as Go's `encoding/json` does.
    ///
    /// # Errors
    ///
    /// What is no JSON, and more than one value.
    pub fn parse(bytes: &[u8]) -> Result<Self, GoJsonError> {
        Self::parse_as(bytes, &Shape::Any)
    }

    /// Reads a specification of InfraKit's, or a list of them: the fields that are known have the names that Go gives
    /// them, and of those that are written more than once there is left what Go would have read.
    ///
    /// # Errors
    ///
    /// Those of [`GoJson::parse`].
    pub fn parse_groups(bytes: &[u8]) -> Result<Self, GoJsonError> {
        Self::parse_as(bytes, &GROUPS)
    }

    /// The same of the answer of a plugin that was asked for its groups.
    pub(crate) fn parse_answer(bytes: &[u8]) -> Result<Self, GoJsonError> {
        Self::parse_as(bytes, &ANSWER)
    }

    fn parse_as(bytes: &[u8], shape: &Shape) -> Result<Self, GoJsonError> {
        let mut reader = Reader { bytes, at: 0 };
        let value = reader.value(0, shape)?;
        reader.space();
        if reader.at < bytes.len() {
            return Err(reader.error("there is more after the value"));
        }
        Ok(value)
    }

    /// The same as [`GoJson::parse_groups`] of what was written in YAML, which InfraKit makes JSON of with sorted keys.
    pub fn groups_from_value(value: &Value) -> Self {
        Self::from_value(value).read_as(&GROUPS)
    }

    fn read_as(self, shape: &Shape) -> Self {
        match self {
            Self::List(list) => {
                let elements = list.into_iter();
                Self::List(elements.map(|it| it.read_as(shape.element())).collect())
            }
            Self::Map(entries) => {
                let mut map = BTreeMap::new();
                for (key, value) in entries {
                    match shape.field(&key) {
                        Some((name, inner)) => {
                            add(&mut map, name.to_owned(), value.read_as(inner), inner);
                        }
                        None => add(&mut map, key, value, &Shape::Any),
                    }
                }
                Self::Map(map)
            }
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => self,
        }
    }

    /// Returns a value of ours as Go would have read it.
    pub fn from_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(number) => Self::Number(number.to_string()),
            Value::UInt(number) => Self::Number(number.to_string()),
            // The shortest text that reads back as the same number, with a point or an exponent.
            Value::Float(number) => Self::Number(format!("{number:?}")),
            Value::String(text) => Self::Text(text.clone()),
            Value::List(list) => Self::List(list.iter().map(Self::from_value).collect()),
            Value::Map(map) => {
                let entries = map.iter();
                Self::Map(
                    entries
                        .map(|(key, value)| (key.clone(), Self::from_value(value)))
                        .collect(),
                )
            }
        }
    }

    /// Returns the value as documents have it: whole numbers stay whole as far as they fit.
    ///
    /// # Errors
    ///
    /// A number that nothing holds.
    pub fn to_value(&self) -> Result<Value, NumberTooLarge> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(text) => match (text.parse(), text.parse()) {
                (Ok(number), _) => Value::Int(number),
                (_, Ok(number)) => Value::UInt(number),
                _ => Value::Float(float(text)?),
            },
            Self::Text(text) => Value::String(text.clone()),
            Self::List(list) => {
                let values = list.iter().map(Self::to_value);
                Value::List(values.collect::<Result<_, _>>()?)
            }
            Self::Map(map) => {
                let entries = map.iter();
                let values = entries.map(|(key, value)| Ok((key.clone(), value.to_value()?)));
                Value::Map(values.collect::<Result<_, _>>()?)
            }
        })
    }

    /// Returns the entry `name` of a map: spelled exactly so, else in another case, as Go reads it.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Map(map) = self else {
            return None;
        };
        map.get(name).or_else(|| {
            let mut entries = map.iter();
            let found = entries.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value)
        })
    }

    /// Takes the entry `name` out of a map: spelled exactly so, else in another case, as Go reads it.
    pub(crate) fn take(&mut self, name: &str) -> Option<Self> {
        let Self::Map(map) = self else {
            return None;
        };
        map.remove(name).or_else(|| {
            let mut keys = map.keys();
            let key = keys.find(|key| key.eq_ignore_ascii_case(name))?.clone();
            map.remove(&key)
        })
    }

    /// Returns the text, where it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// Returns the elements, where it is a list.
    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Map(_) => None,
        }
    }

    /// Returns the entries, where it is a map.
    pub fn map(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Map(map) => Some(map),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// Writes the value as Go's `MarshalIndent` does with a prefix and an indentation of two spaces each.
    ///
    /// # Errors
    ///
    /// A number that no 64-bit float holds.
    pub fn marshal_indent(&self) -> Result<String, NumberTooLarge> {
        let mut out = String::new();
        self.write(&mut out, 0)?;
        Ok(out)
    }

    fn write(&self, out: &mut String, depth: usize) -> Result<(), NumberTooLarge> {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(text) => number(out, float(text)?),
            Self::Text(text) => quoted(out, text),
            Self::List(list) if list.is_empty() => out.push_str("[]"),
            Self::Map(map) if map.is_empty() => out.push_str("{}"),
            Self::List(list) => {
                out.push('[');
                for (position, value) in list.iter().enumerate() {
                    separated(out, position, depth + 1);
                    value.write(out, depth + 1)?;
                }
                line(out, depth);
                out.push(']');
            }
            Self::Map(map) => {
                out.push('{');
                for (position, (key, value)) in map.iter().enumerate() {
                    separated(out, position, depth + 1);
                    quoted(out, key);
                    out.push_str(": ");
                    value.write(out, depth + 1)?;
                }
                line(out, depth);
                out.push('}');
            }
        }
        Ok(())
    }
}

fn separated(out: &mut String, position: usize, depth: usize) {
    if position > 0 {
        out.push(',');
    }
    line(out, depth);
}

/// Begins a line: the prefix, then the indentation.
fn line(out: &mut String, depth: usize) {
    out.push_str("\n  ");
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// Every number is a 64-bit float to Go, so that large ones lose their last digits.
fn float(text: &str) -> Result<f64, NumberTooLarge> {
    let parsed = text.parse::<f64>().ok().filter(|number| number.is_finite());
    parsed.ok_or_else(|| NumberTooLarge(text.to_owned()))
}

/// Writes a number: with an exponent below 1e-6 and from 1e21 on, with the fewest digits that read back as the same.
fn number(out: &mut String, number: f64) {
    let size = number.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        out.push_str(&even(number, format!("{number}"), |places| {
            format!("{number:.places$}")
        }));
        return;
    }
    let text = even(number, format!("{number:e}"), |places| {
        format!("{number:.places$e}")
    });
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => {
            out.extend([digits, "e+", exponent]);
        }
        Some(_) | None => out.push_str(&text),
    }
}

/// Returns `shortest`, or another text that is as short and as near: of two, Rust takes the one that is farther from zero,
/// and Go the one whose last digit is even, as `rounded` to so many places does. Only fractions have such texts.
fn even(number: f64, shortest: String, rounded: impl Fn(usize) -> String) -> String {
    let Some((_, fraction)) = shortest.split_once('.') else {
        return shortest;
    };
    let places = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let other = rounded(places);
    // The nearest text may be that of the number below, where those are denser.
    if other.parse() == Ok(number) {
        other
    } else {
        shortest
    }
}

/// Writes a text. What HTML and JavaScript might stumble over is escaped.
fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{0}'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn error(&self, what: impl Into<String>) -> GoJsonError {
        GoJsonError {
            what: what.into(),
            at: self.at,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize, shape: &Shape) -> Result<GoJson, GoJsonError> {
        if depth > DEPTH_MAX {
            return Err(self.error("it is nested too deeply"));
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth, shape),
            Some(b'[') => self.array(depth, shape),
            Some(b'"') => self.string().map(GoJson::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", GoJson::Bool(true)),
            Some(b'f') => self.word("false", GoJson::Bool(false)),
            Some(b'n') => self.word("null", GoJson::Null),
            Some(_) => Err(self.error("no value begins")),
            None => Err(self.error("it ends too early")),
        }
    }

    fn word(&mut self, word: &str, value: GoJson) -> Result<GoJson, GoJsonError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("no value begins"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn array(&mut self, depth: usize, shape: &Shape) -> Result<GoJson, GoJsonError> {
        self.at += 1;
        let mut list = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(GoJson::List(list));
        }
        loop {
            list.push(self.value(depth + 1, shape.element())?);
            self.space();
            if self.take(b']') {
                return Ok(GoJson::List(list));
            }
            if !self.take(b',') {
                return Err(self.error("neither `,` nor `]` follows"));
            }
        }
    }

    fn object(&mut self, depth: usize, shape: &Shape) -> Result<GoJson, GoJsonError> {
        let mut map = BTreeMap::new();
        self.each(|reader, key| {
            let (name, inner) = match shape.field(&key) {
                Some((name, inner)) => (name.to_owned(), inner),
                None => (key, &Shape::Any),
            };
            let value = reader.value(depth + 1, inner)?;
            add(&mut map, name, value, inner);
            Ok(())
        })?;
        Ok(GoJson::Map(map))
    }

    /// Reads an object; `entry` reads the value of each key.
    fn each(
        &mut self,
        mut entry: impl FnMut(&mut Self, String) -> Result<(), GoJsonError>,
    ) -> Result<(), GoJsonError> {
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.error("no key begins"));
            }
            let key = self.string()?;
            self.space();
            if !self.take(b':') {
                return Err(self.error("no `:` follows the key"));
            }
            entry(self, key)?;
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.error("neither `,` nor `}` follows"));
            }
        }
    }

    fn digits(&mut self) -> Result<(), GoJsonError> {
        let begin = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == begin {
            return Err(self.error("a digit is missing"));
        }
        Ok(())
    }

    fn number(&mut self) -> Result<GoJson, GoJsonError> {
        let begin = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = String::from_utf8_lossy(&self.bytes[begin..self.at]);
        Ok(GoJson::Number(text.into_owned()))
    }

    fn string(&mut self) -> Result<String, GoJsonError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(0..=0x1f) => return Err(self.error("a control character is not escaped")),
                Some(_) => text.push(self.character()),
                None => return Err(self.error("a text ends too early")),
            }
        }
    }

    /// Reads one character. Of bytes that are none, each becomes a replacement character.
    fn character(&mut self) -> char {
        let rest = &self.bytes[self.at..];
        let whole = (1..=rest.len().min(4)).find_map(|length| {
            let text = std::str::from_utf8(&rest[..length]).ok()?;
            Some((text.chars().next()?, length))
        });
        let (character, length) = whole.unwrap_or((char::REPLACEMENT_CHARACTER, 1));
        self.at += length;
        character
    }

    fn escape(&mut self) -> Result<char, GoJsonError> {
        self.at += 1;
        let escaped = self.peek();
        self.at += 1;
        Ok(match escaped {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex()?;
                self.pair(first)?
            }
            Some(_) | None => return Err(self.error("an escape is not known")),
        })
    }

    fn hex(&mut self) -> Result<u32, GoJsonError> {
        let digits = self.bytes.get(self.at..self.at + 4);
        let text = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let hexadecimal = |text: &&str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = text.filter(hexadecimal);
        let number = number.and_then(|text| u32::from_str_radix(text, 16).ok());
        let number = number.ok_or_else(|| self.error("an escape has no four digits"))?;
        self.at += 4;
        Ok(number)
    }

    /// Joins two halves of one character. A half alone becomes a replacement character.
    fn pair(&mut self, first: u32) -> Result<char, GoJsonError> {
        if !(0xd800..0xe000).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if first < 0xdc00 && self.bytes[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }
}

#[cfg(test)]
mod tests;
