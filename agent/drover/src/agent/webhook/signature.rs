//! Whether a request of a Git host is signed: over the raw bytes of its body, compared in constant time.

use axum::http::HeaderMap;
use drover_spec::agent_config::WebhookKind;
use ring::hmac;

/// Returns the header with the signature, or with what stands for one.
pub(crate) fn header(kind: WebhookKind) -> &'static str {
    match kind {
        WebhookKind::GitHub => "x-hub-signature-256",
        WebhookKind::GitLab => "x-gitlab-token",
        WebhookKind::Gitea => "x-gitea-signature",
        WebhookKind::Generic => "x-signature-256",
    }
}

/// Returns whether a request is signed with the secret. A header that is missing, there twice or not of
/// the form takes as long as one with another signature.
pub(crate) fn is_signed(
    kind: WebhookKind,
    secret: &[u8],
    headers: &HeaderMap,
    body: &[u8],
) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut values = headers.get_all(header(kind)).iter();
    let only = match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes()),
        (None | Some(_), _) => None,
    };
    let prefix: &[u8] = match kind {
        WebhookKind::GitHub | WebhookKind::Generic => b"sha256=",
        WebhookKind::Gitea => b"",
        // The comparison of two secrets must not tell where they part or how long they are: their
        // keyed hashes are compared.
        WebhookKind::GitLab => {
            let given = hmac::sign(&key, only.unwrap_or_default());
            return hmac::verify(&key, secret, given.as_ref()).is_ok();
        }
    };
    let given = only
        .and_then(|value| value.strip_prefix(prefix))
        .and_then(hex);
    let equal = hmac::verify(&key, body, &given.unwrap_or_default()).is_ok();
    equal && given.is_some()
}

/// Reads a SHA-256 in hexadecimal digits.
fn hex(text: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|value| value as u8);
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}
