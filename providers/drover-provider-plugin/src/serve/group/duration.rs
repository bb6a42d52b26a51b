//! Durations as Go reads and writes them: `1h0m0.5s`, `1.5s`, `100µs`.

use std::time::Duration;

/// Go's units, in nanoseconds; a longer name before one that it begins with.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Most digits of a number, so that no sum of them is too large.
const DIGITS_MAX: usize = 18;

/// Reads a duration, in whole milliseconds: what is below is cut off. None: it is none, or negative.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total: u128 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (whole, after) = digits(rest)?;
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after)?,
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, nanoseconds) = UNITS
            .into_iter()
            .find(|(unit, _)| after.starts_with(unit))?;
        total += number(whole) * nanoseconds;
        total += number(fraction) * nanoseconds / 10_u128.pow(fraction.len() as u32);
        rest = &after[unit.len()..];
    }
    let milliseconds = u64::try_from(total / 1_000_000).ok()?;
    Some(Duration::from_millis(milliseconds))
}

/// Splits the digits off that a text begins with. None: there are too many.
fn digits(text: &str) -> Option<(&str, &str)> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    (count <= DIGITS_MAX).then(|| text.split_at(count))
}

fn number(digits: &str) -> u128 {
    digits.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("1h0m0.5s", 3_600_500),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1.s", 1_000),
            ("100ms", 100),
            ("2m3s4ms", 123_004),
            ("1500µs", 1),
            ("999us", 0),
            ("+1s", 1_000),
            ("1s1s", 2_000),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "1",
            "s",
            ".s",
            "-1s",
            "1d",
            "1 s",
            "1,5s",
            "1h 2m",
            "1..5s",
            "1.5.5s",
            "1234567890123456789s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
