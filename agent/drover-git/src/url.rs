//! Where a repository is: parsed strictly once, canonical, printed without credentials.

use std::fmt;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use reqwest::Url;

use crate::credentials::{Credentials, Secret};

mod daemon;
mod ssh;
#[cfg(test)]
mod tests;

pub(crate) use daemon::DaemonPlace;
pub(crate) use ssh::SshPlace;

/// The place of a repository.
///
/// Two spellings of one place (letter case of the host, a default port, a trailing slash) give the
/// same canonical text. Credentials are taken out of the URL when it is parsed.
#[derive(Clone)]
pub struct SourceUrl {
    place: Place,
    credentials: Option<Credentials>,
}

#[derive(Clone, PartialEq, Eq)]
enum Place {
    Local(PathBuf),
    Http(Url),
    Ssh(SshPlace),
    Daemon(DaemonPlace),
}

/// A text that names no repository drover can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing was given.
    #[error("the repository's URL is empty")]
    Empty,
    /// A control character or a space, which has no place in a URL.
    #[error("the repository's URL contains a control character or a space")]
    ControlCharacter,
    /// A leading dash, which programs take for an option.
    #[error("the repository's URL starts with a dash")]
    LeadingDash,
    /// A scheme that is known but not supported.
    #[error("{scheme} remotes are not supported: use ssh, https, http or a local path")]
    UnsupportedScheme {
        /// The scheme, for example `ftp`.
        scheme: String,
    },
    /// Credentials that anybody on the way could read.
    #[error("credentials are sent over https only, or to this machine")]
    PlainCredentials,
    /// Anything else that does not parse.
    #[error("not the URL of a repository: {reason}")]
    Invalid {
        /// Why not, without repeating the URL, which may hold credentials.
        reason: String,
    },
}

impl SourceUrl {
    /// Parses a path, a `file://` URL, an `http(s)://` URL, an `ssh://` URL, `user@host:path`, or a `git://` URL.
    ///
    /// # Errors
    ///
    /// [`UrlError`]; a text that programs would take for an option, anywhere in it, is refused.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        if text.starts_with('-') {
            return Err(UrlError::LeadingDash);
        }
        if text.chars().any(char::is_control) {
            return Err(UrlError::ControlCharacter);
        }
        match text.split_once("://") {
            Some((scheme, _)) => Self::parse_url(&scheme.to_ascii_lowercase(), text),
            None if is_scp_form(text) => SshPlace::of_scp_form(text).map(Self::from_ssh),
            None => Self::from_path(Path::new(text)),
        }
    }

    /// Returns the place of a repository on this machine.
    ///
    /// # Errors
    ///
    /// [`UrlError::Invalid`] when the path is empty or the working directory is gone.
    pub fn from_path(path: &Path) -> Result<Self, UrlError> {
        let absolute = std::path::absolute(path).map_err(|error| UrlError::Invalid {
            reason: error.to_string(),
        })?;
        // `..` is resolved only by the file system, where a link may stand before it.
        let mut clean = PathBuf::new();
        for component in absolute.components() {
            if component != Component::CurDir {
                clean.push(component);
            }
        }
        Ok(Self {
            place: Place::Local(clean),
            credentials: None,
        })
    }

    fn parse_url(scheme: &str, text: &str) -> Result<Self, UrlError> {
        match scheme {
            "file" => Self::parse_file(text),
            "http" | "https" => Self::parse_http(text),
            // Git knows the longer spellings too.
            "ssh" | "git+ssh" | "ssh+git" => SshPlace::of_url(text).map(Self::from_ssh),
            "git" => DaemonPlace::of_url(text).map(|place| Self {
                place: Place::Daemon(place),
                credentials: None,
            }),
            _ => Err(UrlError::UnsupportedScheme {
                scheme: scheme.to_owned(),
            }),
        }
    }

    fn from_ssh(place: SshPlace) -> Self {
        Self {
            place: Place::Ssh(place),
            credentials: None,
        }
    }

    fn parse_file(text: &str) -> Result<Self, UrlError> {
        let url = parse_generic(text)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("a query or fragment has no meaning here"));
        }
        match url.to_file_path() {
            Ok(path) if path.to_string_lossy().chars().any(char::is_control) => {
                Err(UrlError::ControlCharacter)
            }
            Ok(path) => Self::from_path(&path),
            Err(()) => Err(invalid("a file URL names an absolute path on this machine")),
        }
    }

    fn parse_http(text: &str) -> Result<Self, UrlError> {
        if text.contains(' ') {
            return Err(UrlError::ControlCharacter);
        }
        let mut url = parse_generic(text)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("a query or fragment has no meaning here"));
        }
        let credentials = take_credentials(&mut url)?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let url = Self {
            place: Place::Http(url),
            credentials,
        };
        match url.credentials {
            Some(_) => url.confidential().map(|()| url),
            None => Ok(url),
        }
    }

    /// Asserts that nobody on the way can read what is sent: credentials go nowhere else.
    ///
    /// # Errors
    ///
    /// [`UrlError::PlainCredentials`] for `http` to another machine.
    pub fn confidential(&self) -> Result<(), UrlError> {
        match &self.place {
            Place::Http(url) if url.scheme() != "https" && !is_loopback(url) => {
                Err(UrlError::PlainCredentials)
            }
            // Over `git://` no credentials are sent at all.
            Place::Http(_) | Place::Local(_) | Place::Ssh(_) | Place::Daemon(_) => Ok(()),
        }
    }

    /// Tells whether the repository is on this machine and opened in place.
    pub fn is_local(&self) -> bool {
        matches!(self.place, Place::Local(_))
    }

    /// Tells whether the repository can only be read, and comes over a connection that authenticates nobody: the
    /// scheme `git`.
    pub fn is_read_only(&self) -> bool {
        matches!(self.place, Place::Daemon(_))
    }

    /// Returns the path of a repository on this machine.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Local(path) => Some(path),
            Place::Http(_) | Place::Ssh(_) | Place::Daemon(_) => None,
        }
    }

    /// Returns the canonical text, without credentials.
    pub fn redacted(&self) -> String {
        match &self.place {
            Place::Local(path) => path.display().to_string(),
            Place::Http(url) => url.as_str().trim_end_matches('/').to_owned(),
            Place::Ssh(place) => place.to_string(),
            Place::Daemon(place) => place.to_string(),
        }
    }

    /// Returns the credentials that the URL contained.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(crate) fn http(&self) -> Option<&Url> {
        match &self.place {
            Place::Local(_) | Place::Ssh(_) | Place::Daemon(_) => None,
            Place::Http(url) => Some(url),
        }
    }

    pub(crate) fn ssh(&self) -> Option<&SshPlace> {
        match &self.place {
            Place::Local(_) | Place::Http(_) | Place::Daemon(_) => None,
            Place::Ssh(place) => Some(place),
        }
    }

    pub(crate) fn daemon(&self) -> Option<&DaemonPlace> {
        match &self.place {
            Place::Local(_) | Place::Http(_) | Place::Ssh(_) => None,
            Place::Daemon(place) => Some(place),
        }
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceUrl({})", self.redacted())
    }
}

impl PartialEq for SourceUrl {
    /// Compares the places; credentials are no part of them.
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for SourceUrl {}

/// Tells whether a URL leads to this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Git's rule: a colon before the first slash makes it `host:path`.
fn is_scp_form(text: &str) -> bool {
    let head = text.split('/').next().unwrap_or(text);
    head.contains(':')
}

fn parse_generic(text: &str) -> Result<Url, UrlError> {
    Url::parse(text).map_err(|error| invalid(&error.to_string()))
}

fn invalid(reason: &str) -> UrlError {
    UrlError::Invalid {
        reason: reason.to_owned(),
    }
}

/// Moves user name and password out of the URL.
fn take_credentials(url: &mut Url) -> Result<Option<Credentials>, UrlError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let credentials = Credentials {
        username: percent_decode(url.username())?,
        password: Secret::new(percent_decode(url.password().unwrap_or_default())?),
    };
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| invalid("its user name cannot be separated"))?;
    Ok(Some(credentials))
}

/// Reads a URL whose scheme has nothing but an authority and a path. That scheme decides how it is read, so that all
/// spellings are read alike.
fn authority_and_path(scheme: &str, text: &str) -> Result<Url, UrlError> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    if rest.starts_with('-') || rest.contains("@-") {
        return Err(UrlError::LeadingDash);
    }
    if text.contains(' ') {
        return Err(UrlError::ControlCharacter);
    }
    let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|e| invalid(&e.to_string()))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("a query or fragment has no meaning here"));
    }
    Ok(url)
}

fn percent_decode(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next().unwrap_or(0), rest.next().unwrap_or(0)];
        let value = std::str::from_utf8(&digits)
            .ok()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or_else(|| invalid("a percent sign stands alone"))?;
        bytes.push(value);
    }
    String::from_utf8(bytes).map_err(|_| invalid("what its percent signs stand for is not UTF-8"))
}
