//! JSON that keeps its order and repeats no field, and the writing of it so that every reader of JSON or YAML sees the same.

use std::fmt;

use drover_model::Value;
use drover_spec::OrderedValue;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Reads JSON.
pub(super) fn read_json(text: &str) -> Result<OrderedValue, serde_json::Error> {
    serde_json::from_str(text).map(|Read(value)| value)
}

struct Read(OrderedValue);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = OrderedValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<OrderedValue, E> {
        Ok(OrderedValue::Single(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<OrderedValue, E> {
        Ok(OrderedValue::Single(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<OrderedValue, E> {
        Ok(OrderedValue::Single(Value::Int(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<OrderedValue, E> {
        let small = i64::try_from(value).map(Value::Int);
        Ok(OrderedValue::Single(small.unwrap_or(Value::UInt(value))))
    }

    fn visit_f64<E>(self, value: f64) -> Result<OrderedValue, E> {
        Ok(OrderedValue::Single(Value::Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<OrderedValue, E> {
        Ok(OrderedValue::Single(Value::String(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OrderedValue, A::Error> {
        let mut items = Vec::new();
        while let Some(Read(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(OrderedValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OrderedValue, A::Error> {
        let mut seen = std::collections::BTreeSet::new();
        let mut entries = Vec::new();
        while let Some((key, Read(value))) = map.next_entry::<String, Read>()? {
            if !seen.insert(key.clone()) {
                return Err(de::Error::custom(format!("`{key}` is repeated")));
            }
            entries.push((key, value));
        }
        Ok(OrderedValue::Map(entries))
    }
}

/// Writes a value as JSON that is YAML as well, of either version.
pub(super) fn write_json(value: &OrderedValue) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &OrderedValue, text: &mut String) {
    match value {
        OrderedValue::Single(single) => write_single(single, text),
        OrderedValue::List(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                write(item, text);
            }
            text.push(']');
        }
        OrderedValue::Map(entries) => {
            text.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                write_text(key, text);
                text.push_str(": ");
                write(value, text);
            }
            text.push('}');
        }
    }
}

fn write_single(value: &Value, text: &mut String) {
    match value {
        Value::Null | Value::List(_) | Value::Map(_) => text.push_str("null"),
        Value::Bool(value) => text.push_str(&value.to_string()),
        Value::Int(value) => text.push_str(&value.to_string()),
        Value::UInt(value) => text.push_str(&value.to_string()),
        Value::Float(value) => text.push_str(&format!("{value:?}")),
        Value::String(value) => write_text(value, text),
    }
}

/// Writes a text. Whatever is no printable ASCII is escaped, as YAML 1.1 has line breaks that JSON does not know; above the
/// basic plane it stands as it is, as the two write it differently.
fn write_text(value: &str, text: &mut String) {
    use fmt::Write as _;
    text.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            ' '..='~' | '\u{10000}'.. => text.push(character),
            _ => {
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests;
