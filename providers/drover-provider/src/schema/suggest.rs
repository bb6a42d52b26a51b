//! What somebody probably meant who wrote something else: for messages, never for what is done.

use drover_model::Value;

use super::{Form, ObjectSchema, Shape, parse_duration};

/// Returns the known name that is most like `name`, if one is like it at all.
pub(super) fn name<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_', ' '], "");
    let meant = plain(name);
    let scored = known.map(|known| {
        let distance = if plain(known) == meant {
            0
        } else {
            strsim::damerau_levenshtein(name, known)
        };
        (distance, known)
    });
    let (distance, best) = scored.min()?;
    (distance <= 2.max(name.len() / 3)).then(|| best.clone())
}

/// Returns where below an object a field of this name is.
pub(super) fn elsewhere(name: &str, schema: &ObjectSchema) -> Option<String> {
    let inside = |shape: &Shape, at: &str| -> Option<String> {
        let (shape, at) = if let Shape::List(list) = shape {
            (&*list.of, format!("{at}[]"))
        } else {
            (shape, at.to_owned())
        };
        let Shape::Object(inner) = shape else {
            return None;
        };
        let there = inner.fields.contains_key(name);
        there.then(|| format!("{at}.{name}"))
    };
    let mut fields = schema.fields.iter();
    fields.find_map(|(at, field)| inside(&field.shape, at))
}

/// Returns a number or a truth value as the text that was expected.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Int(number) => Some(format!("\"{number}\"")),
        Value::UInt(number) => Some(format!("\"{number}\"")),
        Value::Float(number) => Some(format!("\"{number}\"")),
        Value::Bool(flag) => Some(format!("\"{flag}\"")),
        Value::Null | Value::String(_) | Value::List(_) | Value::Map(_) => None,
    }
}

/// Returns a word as the truth value that was expected.
pub(super) fn boolean(value: &Value) -> Option<String> {
    let meant = match value.as_str()?.trim().to_lowercase().as_str() {
        "true" | "yes" | "on" | "enabled" => "true",
        "false" | "no" | "off" | "disabled" => "false",
        _ => return None,
    };
    Some(meant.to_owned())
}

/// Returns one thing as the list that was expected. A command line is not taken apart.
pub(super) fn list(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    (!text.is_empty() && text.chars().all(plain)).then(|| format!("[{text}]"))
}

/// Returns the duration that a number, or a text with other units, stands for.
pub(super) fn duration(value: &Value) -> Option<String> {
    if let Value::Int(seconds @ 0..) = value {
        return Some(format!("{seconds}s"));
    }
    let text = value.as_str()?.to_lowercase().replace([' ', ','], "");
    let mut meant = String::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (times, unit) = match &rest[..letters] {
            "ms" | "msec" | "millis" | "milliseconds" => (1, "ms"),
            "" | "s" | "sec" | "secs" | "second" | "seconds" => (1, "s"),
            "m" | "min" | "mins" | "minute" | "minutes" => (1, "m"),
            "h" | "hr" | "hrs" | "hour" | "hours" => (1, "h"),
            "d" | "day" | "days" => (24, "h"),
            "w" | "week" | "weeks" => (7 * 24, "h"),
            _ => return None,
        };
        meant.push_str(&number.checked_mul(times)?.to_string());
        meant.push_str(unit);
        rest = &rest[letters..];
    }
    parse_duration(&meant).map(|_| meant)
}

/// Returns the number that a text stands for, in the unit that the field's name ends with.
pub(super) fn integer(path: &str, value: &Value, min: i64, max: i64) -> Option<String> {
    let scale = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(unit, _)| path.ends_with(unit));
    let number = match value {
        Value::Float(number) if path.ends_with("Millis") => whole(number * 1_000.0)?,
        Value::String(text) => {
            let text = text.trim();
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let number: i64 = text[..digits].parse().ok()?;
            match (text[digits..].trim(), scale) {
                ("", _) => number,
                ("m", None) if path.ends_with("Millis") => number,
                (unit, Some((_, scale))) => {
                    let bytes = number.checked_mul(factor(unit)?)?;
                    (bytes % scale == 0).then_some(bytes / scale)?
                }
                (_, None) => return None,
            }
        }
        _ => return None,
    };
    (min..=max).contains(&number).then(|| number.to_string())
}

/// Returns what a unit of memory means to most people who write it.
fn factor(unit: &str) -> Option<i64> {
    Some(match unit.to_lowercase().as_str() {
        "b" => 1,
        "k" | "kb" | "ki" | "kib" => 1 << 10,
        "m" | "mb" | "mi" | "mib" => 1 << 20,
        "g" | "gb" | "gi" | "gib" => 1 << 30,
        "t" | "tb" | "ti" | "tib" => 1 << 40,
        _ => return None,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the bounds are far inside what an i64 holds"
)]
fn whole(number: f64) -> Option<i64> {
    let near = number.round();
    ((number - near).abs() < 1e-6 && near.abs() < 1e15).then_some(near as i64)
}

/// Returns the key of the form that is a little change away, or is the word most like it where the form is one of words.
pub(super) fn key(key: &str, form: &Form) -> Option<String> {
    let lower = key.trim().to_lowercase();
    if lower != key && form.fits(&lower) {
        return Some(lower);
    }
    let pattern = form.pattern.as_ref()?.as_str();
    let words = pattern.strip_prefix("^(")?.strip_suffix(")$")?.split('|');
    let words: Vec<String> = words.map(str::to_owned).collect();
    let plain = |word: &String| word.chars().all(|c| c.is_ascii_alphanumeric());
    if !words.iter().all(plain) {
        return None;
    }
    name(key, words.iter())
}

/// Returns the text of the form that is a little change away: of case, of separators, of what is around it.
pub(super) fn form(text: &str, form: &Form) -> Option<String> {
    let trimmed = text.trim();
    let lower = trimmed.to_lowercase();
    let joined = lower.replace(['_', ' '], "-");
    let plain = trimmed.split_once("://").map(|(_, rest)| rest.to_owned());
    // A zone for its region. What has no hyphen is something else: a duration with one letter less has another unit.
    let shorter = joined.strip_suffix(|c: char| c.is_ascii_lowercase());
    let shorter = shorter.filter(|it| it.contains('-')).map(str::to_owned);
    let relative = !trimmed.is_empty() && !trimmed.starts_with('/');
    let duration = duration(&Value::from(trimmed));
    let candidates = [
        Some(trimmed.to_owned()),
        Some(lower),
        Some(joined.clone()),
        plain,
        shorter,
        relative.then(|| format!("/{trimmed}")),
        duration,
    ];
    let mut candidates = candidates.into_iter().flatten();
    candidates.find(|meant| !meant.is_empty() && meant != text && form.fits(meant))
}

#[cfg(test)]
mod tests;
