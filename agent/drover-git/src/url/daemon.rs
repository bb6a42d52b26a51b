//! A repository behind `git daemon`: `git://host:port/path`.

use std::fmt;
use std::net::Ipv6Addr;

use super::ssh::escaped;
use super::{UrlError, authority_and_path, invalid, percent_decode};

/// The port that is not written.
const DEFAULT_PORT: u16 = 9418;

/// The longest path: it goes into one line of Git's protocol.
const PATH_BYTES_MAX: usize = 4096;

/// Which host has it, and where.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DaemonPlace {
    /// In lower case; an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Begins with a slash.
    pub(crate) path: String,
}

impl DaemonPlace {
    /// Parses `git://host[:port]/path`.
    pub(super) fn of_url(text: &str) -> Result<Self, UrlError> {
        let url = authority_and_path("git", text)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("git:// takes neither user names nor passwords"));
        }
        let host = percent_decode(url.host_str().unwrap_or_default())?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.starts_with('-') {
            return Err(UrlError::LeadingDash);
        }
        let name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_host =
            !bare.is_empty() && bare.chars().all(name) || bare.parse::<Ipv6Addr>().is_ok();
        if !is_host {
            return Err(invalid("its host is neither a name nor an address"));
        }
        let path = percent_decode(url.path())?;
        let path = path.trim_end_matches('/');
        if path.is_empty() {
            return Err(invalid("it names no repository on the host"));
        }
        if path.chars().any(char::is_control) {
            return Err(UrlError::ControlCharacter);
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(invalid("its path is too long"));
        }
        Ok(Self {
            host: bare.to_ascii_lowercase(),
            port: url.port().unwrap_or(DEFAULT_PORT),
            path: path.to_owned(),
        })
    }

    /// Returns host and port as a URL has them.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match self.port {
            DEFAULT_PORT => host,
            port => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for DaemonPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "git://{}{}", self.authority(), escaped(&self.path))
    }
}
