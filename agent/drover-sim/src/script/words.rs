//! Numbers, shares, rates and times as scripts write them.

use std::time::Duration;

use drover_model::{Amount, Rate};

/// Reads `3` or `10%`.
pub(super) fn amount(text: &str) -> Option<Amount> {
    match text.strip_suffix('%') {
        Some(share) => share.parse().ok().map(Amount::Percent),
        None => text.parse().ok().map(Amount::Count),
    }
}

/// Reads `10%/1m` or `4/90s`.
pub(super) fn rate(text: &str) -> Option<Rate> {
    let (number, per) = text.split_once('/')?;
    Some(Rate {
        amount: amount(number)?,
        per: span(per)?,
    })
}

/// Reads `90s`, `10m` or `2h`.
pub(super) fn span(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.len().checked_sub(1)?);
    let number: u64 = number.parse().ok()?;
    match unit {
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_mins(number)),
        "h" => Some(Duration::from_hours(number)),
        _ => None,
    }
}
