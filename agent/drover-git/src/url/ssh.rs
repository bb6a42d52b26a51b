//! A repository behind ssh: `ssh://user@host:port/path`, or `user@host:path` as scp has it.

use std::fmt;
use std::net::Ipv6Addr;

use super::{UrlError, authority_and_path, invalid, percent_decode};

/// The user that every host of Git repositories knows.
const DEFAULT_USER: &str = "git";

/// The port that is not written.
const DEFAULT_PORT: u16 = 22;

/// Who asks whom for what.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SshPlace {
    pub(crate) user: String,
    /// In lower case; an IPv6 address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the program at the other end gets it: one that does not begin with a slash is relative to
    /// the user's home there.
    pub(crate) path: String,
}

impl SshPlace {
    /// Parses `ssh://[user@]host[:port]/path`.
    pub(super) fn of_url(text: &str) -> Result<Self, UrlError> {
        let url = authority_and_path("ssh", text)?;
        if url.password().is_some() {
            return Err(invalid("ssh takes keys, no password"));
        }
        let path = percent_decode(url.path())?;
        // `/~user/path` is relative to a home.
        let path = match path.strip_prefix('/') {
            Some(home) if home.starts_with('~') => home.to_owned(),
            _ => path,
        };
        Self::checked(
            &percent_decode(url.username())?,
            url.host_str().unwrap_or_default(),
            url.port(),
            &path,
        )
    }

    /// Parses `[user@]host:path`.
    pub(super) fn of_scp_form(text: &str) -> Result<Self, UrlError> {
        let (user, rest) = match text.split_once('@') {
            Some((user, rest)) if !user.contains(':') => (user, rest),
            _ => ("", text),
        };
        let (host, path) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once("]:"),
            None => rest.split_once(':'),
        }
        .ok_or_else(|| invalid("expected host:path"))?;
        // One slash too few: what follows may hold a password, which would be taken for a path and shown.
        let schemes = ["http", "https", "ssh", "git", "file", "ftp"];
        if user.is_empty() && schemes.contains(&host.to_ascii_lowercase().as_str()) {
            return Err(invalid("a scheme is followed by `://`"));
        }
        if path.starts_with(':') {
            // `ext::command` would have a program run.
            return Err(UrlError::UnsupportedScheme {
                scheme: host.chars().filter(char::is_ascii_alphanumeric).collect(),
            });
        }
        Self::checked(user, host, None, path)
    }

    fn checked(user: &str, host: &str, port: Option<u16>, path: &str) -> Result<Self, UrlError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let path = match path.trim_end_matches('/') {
            "" => return Err(invalid("it names no repository on the host")),
            path => path,
        };
        if [user, bare, path].iter().any(|part| part.starts_with('-')) {
            return Err(UrlError::LeadingDash);
        }
        if [user, bare, path].concat().chars().any(char::is_control) {
            return Err(UrlError::ControlCharacter);
        }
        let name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_host =
            !bare.is_empty() && bare.chars().all(name) || bare.parse::<Ipv6Addr>().is_ok();
        if !is_host {
            return Err(invalid("its host is neither a name nor an address"));
        }
        if !user.chars().all(|c| name(c) || "+@".contains(c)) {
            return Err(invalid("its user name has characters that none has"));
        }
        Ok(Self {
            user: if user.is_empty() { DEFAULT_USER } else { user }.to_owned(),
            host: bare.to_ascii_lowercase(),
            port: port.unwrap_or(DEFAULT_PORT),
            path: path.to_owned(),
        })
    }

    /// Returns the name under which OpenSSH's files of known hosts have this host.
    pub(crate) fn known_as(&self) -> String {
        if self.port == DEFAULT_PORT {
            self.host.clone()
        } else {
            format!("[{}]:{}", self.host, self.port)
        }
    }
}

/// Escapes what means something else in a URL.
pub(super) fn escaped(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for character in part.chars() {
        match character {
            '%' => out.push_str("%25"),
            '?' => out.push_str("%3F"),
            '#' => out.push_str("%23"),
            '@' => out.push_str("%40"),
            ' ' => out.push_str("%20"),
            _ => out.push(character),
        }
    }
    out
}

impl fmt::Display for SshPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            host,
            port,
            path,
        } = self;
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.clone()
        };
        // In a URL, `/~jane` is a home.
        let rooted = path.starts_with('/') && !path.starts_with("/~") || path.starts_with('~');
        let dots = path.split('/').any(|part| matches!(part, "." | ".."));
        // Only the form of scp, which has no port, says what is relative, and takes a path as it is.
        if *port == DEFAULT_PORT && (!rooted || dots) && !user.contains('@') {
            return write!(f, "{user}@{host}:{path}");
        }
        let (user, path) = (escaped(user), escaped(path));
        let slash = if path.starts_with('/') { "" } else { "/" };
        match *port {
            DEFAULT_PORT => write!(f, "ssh://{user}@{host}{slash}{path}"),
            port => write!(f, "ssh://{user}@{host}:{port}{slash}{path}"),
        }
    }
}
