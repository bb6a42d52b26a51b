//! What a scalar means: the core schema of YAML 1.2, without what readers disagree about.

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes.
    Plain,
    /// In single or double quotes.
    Quoted,
    /// As a block after `|` or `>`.
    Block,
}

/// What a scalar means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text,
}

/// Returns what a plain scalar means, or why it means nothing that we accept.
pub(crate) fn resolve(text: &str) -> Result<Resolved, &'static str> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Resolved::Null),
        "true" | "True" | "TRUE" => return Ok(Resolved::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Resolved::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(
        unsigned,
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    ) {
        return Err("infinite numbers and NaN are not accepted");
    }
    if let Some(digits) = unsigned.strip_prefix("0x") {
        return radix(text, digits, 16, |c| c.is_ascii_hexdigit());
    }
    if let Some(digits) = unsigned.strip_prefix("0o") {
        return radix(text, digits, 8, |c| matches!(c, '0'..='7'));
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return integer(text, unsigned);
    }
    if is_float(unsigned) {
        return match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Resolved::Float(value)),
            _ => Err("the number is too large"),
        };
    }
    Ok(Resolved::Text)
}

/// Returns what readers of YAML 1.1 take a plain text for that is one in YAML 1.2. None: nothing else.
pub(crate) fn taken_for(text: &str) -> Option<&'static str> {
    // In lower case, with a capital, or in capitals, and as a letter.
    let spelled = |word: &str| {
        let capital = word[..1].to_uppercase() + &word[1..];
        text == word || text == capital || text == word.to_uppercase()
    };
    let words = ["y", "yes", "on", "n", "no", "off"];
    if words.into_iter().any(spelled) {
        return Some("a boolean");
    }
    if text.starts_with("0o") && resolve(text) != Ok(Resolved::Text) {
        return Some("a text");
    }
    let sign = text.strip_prefix(['-', '+']);
    let unsigned = sign.unwrap_or(text);
    if is_prefixed(unsigned) && resolve(text) == Ok(Resolved::Text) {
        return Some("a number");
    }
    let begins = |first: char| first.is_ascii_digit() || first == '.';
    let begins = unsigned.starts_with(begins) || (sign.is_some() && unsigned.starts_with('_'));
    let number = |text: &str| resolve(&text.replace('_', "")) != Ok(Resolved::Text);
    (begins && text.contains('_') && number(text)).then_some("a number")
}

/// Returns whether an unsigned text is a number of another base to some reader: in Go the letter may be a capital.
fn is_prefixed(unsigned: &str) -> bool {
    let Some((prefix, digits)) = unsigned.split_at_checked(2) else {
        return false;
    };
    let radix = match prefix {
        "0x" | "0X" => 16,
        "0b" | "0B" => 2,
        "0o" | "0O" => 8,
        _ => return false,
    };
    !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix) || c == '_')
}

fn integer(text: &str, unsigned: &str) -> Result<Resolved, &'static str> {
    if unsigned.len() > 1 && unsigned.starts_with('0') {
        return Err("some YAML readers take a leading zero for octal; quote it or drop the zero");
    }
    if let Ok(value) = text.parse::<i64>() {
        return Ok(Resolved::Int(value));
    }
    text.parse::<u64>()
        .map(Resolved::UInt)
        .map_err(|_| "the integer does not fit 64 bits; quote it if it is a text")
}

fn radix(
    text: &str,
    digits: &str,
    radix: u32,
    is_digit: impl Fn(char) -> bool,
) -> Result<Resolved, &'static str> {
    // The core schema knows no sign here, so such a text stays a text.
    if digits.is_empty() || text.starts_with(['-', '+']) || !digits.chars().all(is_digit) {
        return Ok(Resolved::Text);
    }
    match u64::from_str_radix(digits, radix) {
        Ok(value) => Ok(i64::try_from(value).map_or(Resolved::UInt(value), Resolved::Int)),
        Err(_) => Err("the integer does not fit 64 bits; quote it if it is a text"),
    }
}

/// Returns whether an unsigned text is a number with a fraction or an exponent.
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_ok =
        digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_ok = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    mantissa_ok && exponent_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_readers_disagree_about_are_told_from_texts() {
        for text in [
            "y", "Y", "yes", "Yes", "YES", "on", "On", "off", "OFF", "n", "No",
        ] {
            assert_eq!(taken_for(text), Some("a boolean"), "{text}");
        }
        for text in [
            "1_000", "0b101", "-0b1_0", "1_0.5", "0x_ff", "0_644", "+0x1F", "-0x1f", "0X1F",
            "0B11", "+0o17", "0O17", "+_1",
        ] {
            assert_eq!(taken_for(text), Some("a number"), "{text}");
        }
        // What YAML 1.2 alone takes for a number.
        assert_eq!(taken_for("0o17"), Some("a text"));
        for text in [
            "yEs",
            "yes!",
            "none",
            "a_1",
            "_1",
            "1_a",
            "x86_64",
            "10.0.0.1_x",
            "0b",
            "0b2",
            "0o18",
            "0x1g",
            "0x1F",
            "+10",
        ] {
            assert_eq!(taken_for(text), None, "{text}");
        }
    }
}
