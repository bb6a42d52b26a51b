//! Credentials and the settings of a remote, in types that cannot be printed by accident.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::ssh_options::SshOptions;

/// A text that must not appear anywhere: `Debug` and `Display` print `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text itself; the caller must not print or store it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// What stands in a text where a secret was.
const REDACTED: &str = "[redacted]";

/// A user name and its password or token, sent only to the origin of the repository's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name; hosts that want a token alone take any name.
    pub username: String,
    /// The password or token.
    pub password: Secret,
}

impl Credentials {
    /// Removes the password from a text that came from somewhere else.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let password = self.password.expose();
        if password.is_empty() {
            return text.to_owned();
        }
        let encoded: String = reqwest::Url::parse("http://h").map_or_else(
            |_| String::new(),
            |mut url| match url.set_password(Some(password)) {
                Ok(()) => url.password().unwrap_or_default().to_owned(),
                Err(()) => String::new(),
            },
        );
        let text = text.replace(password, REDACTED);
        if encoded.is_empty() {
            text
        } else {
            text.replace(&encoded, REDACTED)
        }
    }
}

/// How to talk to a remote.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// Credentials; they win over those in the URL.
    pub credentials: Option<Credentials>,
    /// Certificate authorities (PEM) to trust *instead of* the system's.
    pub ca_file: Option<PathBuf>,
    /// Keys and known hosts, for a remote over ssh.
    pub ssh: SshOptions,
    /// The limit of a connection attempt and of each read or write.
    pub timeout: Duration,
    /// The limit of a whole operation (a listing, a fetch, a push).
    pub deadline: Duration,
}

/// The limit of each step when nobody says otherwise: a host that is silent for this long is gone.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The limit of a whole operation when nobody says otherwise: long enough for a first fetch of some
/// hundred megabytes.
pub const DEFAULT_DEADLINE: Duration = Duration::from_mins(5);

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            credentials: None,
            ca_file: None,
            ssh: SshOptions::default(),
            timeout: DEFAULT_TIMEOUT,
            deadline: DEFAULT_DEADLINE,
        }
    }
}
