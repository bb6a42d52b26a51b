//! The small formats inside documents: durations, times and amounts.

use std::time::Duration;

use drover_model::{Amount, Rate, Timestamp};

/// Why a text is not a duration, a time or an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not a duration.
    #[error("is not a duration such as 90s, 10m or 1h30m")]
    Duration,
    /// A number without its unit.
    #[error("has no unit; the units are h, m, s and ms")]
    Unit,
    /// Longer than 64 bits of milliseconds.
    #[error("is too long for a duration")]
    DurationRange,
    /// Not a time.
    #[error("is not a time in UTC such as 2026-12-01T08:00:00Z")]
    Time,
    /// Not an amount.
    #[error("is not an amount such as 2 or \"10%\"")]
    Amount,
    /// Not a rate.
    #[error("is not a rate such as \"4/1m\" or \"10%/1m\"")]
    Rate,
    /// A rate outside its bounds.
    #[error("must be of at least 1 or 1% and of 1s to 24h")]
    RateRange,
}

/// The units of a duration, longest first, with their milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The form of a duration, as a regular expression for JSON Schema.
pub(crate) const DURATION_PATTERN: &str = "^(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";

/// The form of a share, as a regular expression for JSON Schema.
pub(crate) const PERCENT_PATTERN: &str = "^(100|[1-9]?[0-9])%$";

/// Parses a duration such as `90s`, `10m`, `1h30m` or `250ms`: whole numbers, each unit at most
/// once, longest first.
pub fn parse_duration(text: &str) -> Result<Duration, FormatError> {
    if text.is_empty() {
        return Err(FormatError::Duration);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..]
            .bytes()
            .take_while(u8::is_ascii_alphabetic)
            .count();
        if digits == 0 {
            return Err(FormatError::Duration);
        }
        if letters == 0 && digits == rest.len() {
            return Err(FormatError::Unit);
        }
        let name = &rest[digits..digits + letters];
        let (_, millis) = units
            .find(|(unit, _)| *unit == name)
            .ok_or(FormatError::Duration)?;
        let number: u64 = rest[..digits]
            .parse()
            .map_err(|_| FormatError::DurationRange)?;
        total = number
            .checked_mul(*millis)
            .and_then(|part| total.checked_add(part))
            .ok_or(FormatError::DurationRange)?;
        rest = &rest[digits + letters..];
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration as [`parse_duration`] reads it. Fractions of a millisecond are cut off.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, millis) in UNITS {
        let count = rest / millis;
        rest %= millis;
        if count > 0 {
            out.push_str(&count.to_string());
            out.push_str(unit);
        }
    }
    out
}

/// Parses a time as RFC 3339 in UTC, such as `2026-12-01T08:00:00Z`.
pub fn parse_time(text: &str) -> Result<Timestamp, FormatError> {
    let shaped = text.len() >= 20
        && text.ends_with('Z')
        && text.is_ascii()
        && text.as_bytes()[10] == b'T'
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b"-T:.Z".contains(&b));
    if !shaped {
        return Err(FormatError::Time);
    }
    text.parse().map_err(|_| FormatError::Time)
}

/// Writes a time as [`parse_time`] reads it.
pub fn format_time(time: Timestamp) -> String {
    time.to_string()
}

/// Parses the written form of a share: `N%`, 0 to 100.
pub(crate) fn parse_percent(text: &str) -> Result<Amount, FormatError> {
    let digits = text.strip_suffix('%').ok_or(FormatError::Amount)?;
    let canonical = digits == "0" || !digits.starts_with('0');
    if !canonical || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FormatError::Amount);
    }
    match digits.parse() {
        Ok(share @ 0..=100) => Ok(Amount::Percent(share)),
        _ => Err(FormatError::Amount),
    }
}

/// The form of a rate, as a regular expression for JSON Schema.
pub(crate) const RATE_PATTERN: &str =
    "^([1-9][0-9]*|(100|[1-9][0-9]?)%)/(?=[0-9])([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";

/// Parses a rate: an amount of at least one, a slash, and a duration of one second to a day.
pub(crate) fn parse_rate(text: &str) -> Result<Rate, FormatError> {
    let (amount, per) = text.split_once('/').ok_or(FormatError::Rate)?;
    let amount = if amount.ends_with('%') {
        parse_percent(amount).map_err(|_| FormatError::Rate)?
    } else {
        let canonical = amount == "0" || !amount.starts_with('0');
        let digits = canonical && amount.bytes().all(|b| b.is_ascii_digit());
        let count = amount.parse().ok().filter(|_| digits);
        Amount::Count(count.ok_or(FormatError::Rate)?)
    };
    let per = parse_duration(per).map_err(|_| FormatError::Rate)?;
    let some = !matches!(amount, Amount::Count(0) | Amount::Percent(0));
    let bounds = Duration::from_secs(1)..=Duration::from_hours(24);
    if some && bounds.contains(&per) {
        Ok(Rate { amount, per })
    } else {
        Err(FormatError::RateRange)
    }
}

/// Writes a rate as [`parse_rate`] reads it.
pub(crate) fn format_rate(rate: Rate) -> String {
    format!("{}/{}", rate.amount, format_duration(rate.per))
}

#[cfg(test)]
mod tests;
