//! What a host means that asks to be left alone for a while.

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

#[cfg(test)]
mod tests;

/// The longest wait that a host is believed: what it counts is counted by the hour.
const WAIT_MAX: SignedDuration = SignedDuration::from_hours(1);

/// The wait after "too many requests" without a time that can be read.
const WAIT_DEFAULT: SignedDuration = SignedDuration::from_mins(1);

/// The shortest wait: nobody who complains means at once.
const WAIT_MIN: SignedDuration = SignedDuration::from_secs(1);

/// Returns until when a host wants to be left alone that answers with this. None: it does not say so.
///
/// GitHub says it with 403, and hosts that are overloaded with 503.
pub(super) fn until(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let asked = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| wait(text.trim(), now));
    let wait = match status {
        StatusCode::TOO_MANY_REQUESTS => asked.unwrap_or(WAIT_DEFAULT),
        StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE => asked?,
        _ => return None,
    };
    let until = now.saturating_add(wait.clamp(WAIT_MIN, WAIT_MAX)).ok()?;
    // Whole seconds, for people; never earlier.
    let whole = until.as_second() + i64::from(until.subsec_nanosecond() > 0);
    Timestamp::from_second(whole).ok()
}

/// Reads a number of seconds, or a time.
fn wait(text: &str, now: Timestamp) -> Option<SignedDuration> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        // One that has no room in a number is long, too.
        return Some(text.parse().map_or(WAIT_MAX, SignedDuration::from_secs));
    }
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    Some(time.ok()?.duration_since(now))
}
