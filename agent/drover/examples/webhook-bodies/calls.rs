//! Calls of webhooks that are signed, and then changed or not. Whoever changes anything but the case of a digit does
//! not know the secret, so the call must be refused. The same seed and number give the same call.

#[path = "../../../drover-loop/examples/fuzz/dice.rs"]
mod dice;

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use drover_spec::agent_config::WebhookKind;
use ring::hmac;

use self::dice::Dice;
use super::signature::{header, is_signed};

/// The largest body that is made: hosts send some kilobytes.
const BODY_BYTES_MAX: usize = 4 << 10;

const KINDS: [WebhookKind; 4] = [
    WebhookKind::GitHub,
    WebhookKind::GitLab,
    WebhookKind::Gitea,
    WebhookKind::Generic,
];

/// Returns fewer than `most` bytes.
fn any_bytes(dice: &mut Dice, most: usize) -> Vec<u8> {
    let length = dice.below(most);
    (0..length).map(|_| dice.roll() as u8).collect()
}

/// What was done to a signed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Nothing, or another case of a digit.
    None,
    /// Its body.
    Body,
    /// Its signature.
    Signature,
    /// It has the header twice, or not at all.
    Header,
    /// It is signed with another secret.
    Secret,
}

/// A call as it arrives.
struct Call {
    kind: WebhookKind,
    secret: Vec<u8>,
    headers: HeaderMap,
    body: Vec<u8>,
    change: Change,
}

/// Judges call `number` of the walk with `seed`. Returns whether it counts.
///
/// # Errors
///
/// It is judged wrongly.
pub(crate) fn judge(seed: u64, number: u64) -> Result<bool, String> {
    let call = call(&mut Dice::of(seed, number));
    let counts = is_signed(call.kind, &call.secret, &call.headers, &call.body);
    // A token of GitLab stands for a signature, and does not cover the body.
    let token = call.kind == WebhookKind::GitLab;
    let expected = match call.change {
        Change::None => true,
        Change::Body => token,
        Change::Signature | Change::Header | Change::Secret => false,
    };
    if counts == expected {
        return Ok(counts);
    }
    let (kind, change, headers) = (call.kind, call.change, &call.headers);
    Err(format!(
        "{kind:?}, {change:?}: counts: {counts}, {headers:?}, {} bytes",
        call.body.len()
    ))
}

fn call(dice: &mut Dice) -> Call {
    let kind = KINDS[dice.below(KINDS.len())];
    let secret = printable(dice, 40);
    let mut body = body(dice);
    let mut signed_with = secret.clone();
    let mut change = match dice.below(6) {
        0 | 1 => Change::None,
        2 => Change::Body,
        3 => Change::Signature,
        4 => Change::Header,
        _ => Change::Secret,
    };
    if change == Change::Secret {
        mutate(dice, &mut signed_with);
        // A header has printable bytes only. And keys of HMAC are filled up with zeros: a few more make no other key.
        signed_with.retain(u8::is_ascii_graphic);
        if signed_with == secret {
            change = Change::None;
        }
    }
    let mut value = signature(kind, &signed_with, &body);
    match change {
        Change::None => recase(dice, kind, &mut value),
        Change::Body => mutate(dice, &mut body),
        Change::Signature => {
            let before = value.clone();
            mutate(dice, &mut value);
            value.retain(u8::is_ascii_graphic);
            let same = match kind {
                // A secret counts as it is written.
                WebhookKind::GitLab => value == before,
                WebhookKind::GitHub | WebhookKind::Gitea | WebhookKind::Generic => {
                    value.eq_ignore_ascii_case(&before)
                }
            };
            if same {
                value.push(b'0');
            }
        }
        Change::Header | Change::Secret => {}
    }
    Call {
        kind,
        secret,
        headers: headers(dice, kind, &value, change),
        body,
        change,
    }
}

fn headers(dice: &mut Dice, kind: WebhookKind, value: &[u8], change: Change) -> HeaderMap {
    let read = |bytes: &[u8]| HeaderValue::from_bytes(bytes).expect("it has printable bytes only");
    let mut headers = HeaderMap::new();
    for kind in KINDS {
        // What other hosts would send says nothing.
        let other = read(&printable(dice, 80));
        headers.insert(HeaderName::from_static(header(kind)), other);
    }
    let name = HeaderName::from_static(header(kind));
    match change {
        Change::Header if dice.below(2) == 0 => {
            headers.remove(&name);
        }
        Change::Header => {
            headers.insert(name.clone(), read(value));
            headers.append(name, read(value));
        }
        Change::None | Change::Body | Change::Signature | Change::Secret => {
            headers.insert(name, read(value));
        }
    }
    headers
}

/// Returns what a host sends in its header.
fn signature(kind: WebhookKind, secret: &[u8], body: &[u8]) -> Vec<u8> {
    let prefix = match kind {
        WebhookKind::GitHub | WebhookKind::Generic => "sha256=",
        WebhookKind::Gitea => "",
        WebhookKind::GitLab => return secret.to_vec(),
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut text = prefix.to_owned();
    for byte in hmac::sign(&key, body).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text.into_bytes()
}

/// Writes some digits of a signature in capitals.
fn recase(dice: &mut Dice, kind: WebhookKind, value: &mut [u8]) {
    let digits = match kind {
        WebhookKind::GitHub | WebhookKind::Generic => 7,
        WebhookKind::Gitea => 0,
        WebhookKind::GitLab => return,
    };
    for digit in &mut value[digits..] {
        if dice.below(4) == 0 {
            digit.make_ascii_uppercase();
        }
    }
}

/// Makes a body: one that hosts send, cut somewhere, or any bytes.
fn body(dice: &mut Dice) -> Vec<u8> {
    let push =
        br#"{"ref":"refs/heads/main","after":"4be6","repository":{"full_name":"team/fleet"}}"#;
    match dice.below(3) {
        0 => push.to_vec(),
        1 => push[..dice.below(push.len())].to_vec(),
        _ => any_bytes(dice, BODY_BYTES_MAX),
    }
}

/// Makes a text that a header can have: at least a byte, and none that is trimmed.
fn printable(dice: &mut Dice, most: usize) -> Vec<u8> {
    let length = 1 + dice.below(most);
    (0..length)
        .map(|_| b'!' + dice.below(usize::from(b'~' - b'!') + 1) as u8)
        .collect()
}

/// Changes bytes: what comes out is not what went in.
fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let before = bytes.clone();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + dice.below(12)).min(bytes.len());
        match dice.below(5) {
            0 => drop(bytes.drain(at..end)),
            1 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            2 => bytes.truncate(at),
            3 => {
                let new = any_bytes(dice, 8);
                bytes.splice(at..at, new);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
    }
    if *bytes == before {
        bytes.push(b'x');
    }
}
