//! Why a Git host did not do what it was asked.

use std::time::Duration;

use drover_model::counted;
use reqwest::Url;

/// How often a call that failed for a while is made again.
const ATTEMPTS_MAX: u32 = 5;

/// The pause after the first failure; it doubles with each.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a Git host did not do what it was asked. No variant has anything of the token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForgeError {
    /// The address of the interface is none.
    #[error("`{api}` is not the address of an API: {why}")]
    Address {
        /// As given.
        api: String,
        /// What is wrong with it.
        why: String,
    },
    /// The repository's name is none.
    #[error("`{repository}` is not the name of a repository: {wanted}")]
    Repository {
        /// As given.
        repository: String,
        /// What it looks like.
        wanted: &'static str,
    },
    /// The token cannot be sent.
    #[error("the token has characters that cannot be sent")]
    Token,
    /// The certificates cannot be used.
    #[error("cannot use the host's authorities: {0}")]
    Certificates(String),
    /// There is no conversation.
    #[error("cannot reach {host}")]
    Unreachable {
        /// Whom.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The host says no.
    #[error("{host} refuses {method} {path} with status {status}{}", told(.message))]
    Refused {
        /// Who.
        host: String,
        /// What was asked.
        method: String,
        /// Of what.
        path: String,
        /// Its status.
        status: u16,
        /// Its words, for one line.
        message: String,
    },
    /// The host wants fewer calls.
    #[error("{host} has had enough calls of this token{}", for_now(*.wait))]
    RateLimited {
        /// Who.
        host: String,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// The host says something that its interface does not have.
    #[error("{host} answers {path} with something else than {wanted}")]
    Answer {
        /// Who.
        host: String,
        /// Asked for what.
        path: String,
        /// What was expected.
        wanted: &'static str,
    },
}

impl ForgeError {
    /// Returns how long to wait before the same is tried again. None: it would fail again.
    pub(super) fn pause(&self, attempt: u32) -> Option<Duration> {
        let backoff = PAUSE * 2_u32.saturating_pow(attempt.min(8));
        match self {
            Self::RateLimited { wait, .. } => Some(wait.unwrap_or(backoff).max(PAUSE)),
            Self::Unreachable { .. } => (attempt + 1 < ATTEMPTS_MAX).then_some(backoff),
            Self::Refused { status, .. } if *status >= 500 => {
                (attempt + 1 < ATTEMPTS_MAX).then_some(backoff)
            }
            Self::Refused { .. }
            | Self::Address { .. }
            | Self::Repository { .. }
            | Self::Token
            | Self::Certificates(_)
            | Self::Answer { .. } => None,
        }
    }
}

/// Returns host and port for people.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the host");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn told(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

fn for_now(wait: Option<Duration>) -> String {
    wait.map_or_else(String::new, |wait| {
        format!(" for {}", counted(wait.as_secs().max(1), "second"))
    })
}
