//! Credentials as they are sent to an engine, and what must not come back from it.

use data_encoding::{BASE64, BASE64URL};
use drover_provider::SecretText;
use serde_json::json;

use super::FullName;
use crate::client::encoded;

/// What stands in a text where a secret was.
const REDACTED: &str = "[redacted]";

/// What is shown to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    Password {
        username: String,
        password: SecretText,
    },
    /// What a registry gave out in exchange for a password.
    IdentityToken(SecretText),
}

impl Credentials {
    /// Returns the value of the header `X-Registry-Auth`.
    pub(crate) fn header(&self, image: &FullName) -> SecretText {
        let server = image.server();
        let content = match self {
            Self::Password { username, password } => {
                let password = password.reveal();
                json!({"username": username, "password": password, "serveraddress": server})
            }
            Self::IdentityToken(token) => {
                json!({"identitytoken": token.reveal(), "serveraddress": server})
            }
        };
        SecretText::new(BASE64URL.encode(content.to_string().as_bytes()))
    }

    /// Returns what an engine says of an image without the secret, in whatever form it was passed on.
    pub(crate) fn redact(&self, image: &FullName, text: &str) -> String {
        let (secret, basic) = match self {
            Self::Password { username, password } => {
                let basic = format!("{username}:{}", password.reveal());
                (password.reveal(), basic.into_bytes())
            }
            Self::IdentityToken(token) => (token.reveal(), token.reveal().as_bytes().to_vec()),
        };
        let quoted = json!(secret).to_string();
        let quoted = quoted.trim_matches('"').to_owned();
        let unpadded = |text: String| text.trim_end_matches('=').to_owned();
        let mut forms = [
            secret.to_owned(),
            quoted,
            encoded(secret),
            unpadded(BASE64.encode(&basic)),
            unpadded(BASE64URL.encode(&basic)),
            unpadded(BASE64.encode(secret.as_bytes())),
            unpadded(BASE64URL.encode(secret.as_bytes())),
            unpadded(self.header(image).reveal().to_owned()),
        ];
        // The longest first: one form may be a part of another.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        let mut clean = text.to_owned();
        for form in forms.iter().filter(|form| !form.is_empty()) {
            clean = clean.replace(form.as_str(), REDACTED);
        }
        clean
    }
}
