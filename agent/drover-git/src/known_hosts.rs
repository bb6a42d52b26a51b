//! Which keys a host may have: OpenSSH's `known_hosts` files, read strictly. An unknown or changed
//! key is refused, with what has to be written where for it to be known.

use std::fmt;
use std::path::{Path, PathBuf};

use ring::hmac;
use russh::keys::ssh_key::Fingerprint;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

use crate::error::{Cause, GitError};
use crate::files;

#[cfg(test)]
mod tests;

/// The largest file of known hosts: some ten thousand hosts.
const KNOWN_HOSTS_BYTES_MAX: u64 = 4 << 20;

/// The lines of some `known_hosts` files.
#[derive(Debug)]
pub(crate) struct KnownHosts {
    files: Vec<PathBuf>,
    lines: Vec<Line>,
    /// Lines with content that mean nothing to us, such as keys of another kind.
    unread: usize,
}

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinePlace {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for LinePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

#[derive(Debug)]
struct Line {
    place: LinePlace,
    marker: Marker,
    hosts: Hosts,
    key: PublicKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    /// The host's own key.
    Host,
    /// An authority that signs hosts' certificates.
    Authority,
    /// A key that is never accepted.
    Revoked,
}

#[derive(Debug)]
enum Hosts {
    /// A keyed hash of the name, so that the file does not tell whom somebody visits.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
    /// Names with `*` and `?`; with `!` in front they exclude.
    Patterns(Vec<String>),
}

/// Why a host's key is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// No line names the host.
    #[error(
        "the key of host {host} is not known: it offers {offered}; compare that with what its owner publishes, then add to {}: {line}{}", shown(files), hint(*unread)
    )]
    Unknown {
        /// The host, as the files have it.
        host: String,
        /// Kind and fingerprint of what it offers.
        offered: String,
        /// The line that makes it known.
        line: String,
        /// The files that were looked through.
        files: Vec<PathBuf>,
        /// Lines in them that could not be read.
        unread: usize,
    },
    /// The host is known with other keys.
    #[error(
        "the key of host {host} has changed, or somebody stands between: it offers {offered}, but {} has {known}; if its owner announced a new key, replace that line by: {line}",
        place
    )]
    Changed {
        /// The host, as the files have it.
        host: String,
        /// Kind and fingerprint of what it offers.
        offered: String,
        /// Kind and fingerprint of a known key.
        known: String,
        /// Where the known key stands.
        place: LinePlace,
        /// The line that makes the new key known.
        line: String,
    },
    /// The key was revoked.
    #[error("host {host} offers {offered}, which {place} revokes")]
    Revoked {
        /// The host, as the files have it.
        host: String,
        /// Kind and fingerprint of what it offers.
        offered: String,
        /// Where it is revoked.
        place: LinePlace,
    },
    /// The host's certificate is signed by a known authority, and does not hold.
    #[error("the certificate of host {host} does not hold: {reason}")]
    Certificate {
        /// The host, as the files have it.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn shown(files: &[PathBuf]) -> String {
    match files.first() {
        Some(first) => first.display().to_string(),
        None => "a file of known hosts, of which none is configured".to_owned(),
    }
}

fn hint(unread: usize) -> String {
    match unread {
        0 => String::new(),
        count => format!(" ({count} lines could not be read)"),
    }
}

impl KnownHosts {
    /// Reads the files; one that does not exist knows no host.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self, GitError> {
        let mut known = Self {
            files: files.to_vec(),
            lines: Vec::new(),
            unread: 0,
        };
        for path in files {
            let text = match files::read_text(path, KNOWN_HOSTS_BYTES_MAX) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(GitError::KnownHosts {
                        path: path.clone(),
                        source: Cause(error.to_string()),
                    });
                }
            };
            known.add(path, &text);
        }
        Ok(known)
    }

    fn add(&mut self, path: &Path, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = LinePlace {
                path: path.to_owned(),
                line: index + 1,
            };
            match parse(line, place) {
                Some(line) => self.lines.push(line),
                None => self.unread += 1,
            }
        }
    }

    /// Returns the kinds of keys that the host is known with, which it is asked for first.
    pub(crate) fn algorithms(&self, host: &str) -> Vec<Algorithm> {
        self.of(host, Marker::Host)
            .map(|line| line.key.algorithm())
            .collect()
    }

    /// Tells whether some authority may vouch for the host.
    pub(crate) fn has_authority(&self, host: &str) -> bool {
        self.of(host, Marker::Authority).next().is_some()
    }

    /// Accepts a bare key, or says why not.
    pub(crate) fn check_key(&self, host: &str, key: &PublicKey) -> Result<(), Box<HostKeyError>> {
        self.check_revoked(host, key)?;
        let mut others = None;
        for line in self.of(host, Marker::Host) {
            if line.key.key_data() == key.key_data() {
                return Ok(());
            }
            others.get_or_insert(line);
        }
        let offered = described(key);
        let line = format!("{host} {}", openssh(key));
        match others {
            Some(other) => Err(Box::new(HostKeyError::Changed {
                host: host.to_owned(),
                offered,
                known: described(&other.key),
                place: other.place.clone(),
                line,
            })),
            None => Err(Box::new(HostKeyError::Unknown {
                host: host.to_owned(),
                offered,
                line,
                files: self.files.clone(),
                unread: self.unread,
            })),
        }
    }

    /// Accepts a certificate of a known authority, or else the key in it, or says why not. `name` is
    /// the host without its port, `now` in seconds of Unix time.
    pub(crate) fn check_certificate(
        &self,
        host: &str,
        name: &str,
        certificate: &Certificate,
        now: u64,
    ) -> Result<(), Box<HostKeyError>> {
        let key = PublicKey::new(certificate.public_key().clone(), "");
        let authority = PublicKey::new(certificate.signature_key().clone(), "");
        self.check_revoked(host, &key)?;
        self.check_revoked(host, &authority)?;
        let known = self
            .of(host, Marker::Authority)
            .any(|line| line.key.key_data() == authority.key_data());
        if !known {
            return self.check_key(host, &key);
        }
        let bad = |reason: String| {
            Box::new(HostKeyError::Certificate {
                host: host.to_owned(),
                reason,
            })
        };
        if !certificate.cert_type().is_host() {
            return Err(bad("it is one of a user".to_owned()));
        }
        let named = certificate.valid_principals();
        if !named
            .iter()
            .any(|principal| principal.eq_ignore_ascii_case(name))
        {
            return Err(bad(format!("it is for {named:?}")));
        }
        if certificate.critical_options().iter().next().is_some() {
            return Err(bad(
                "it has critical options, which hosts' have not".to_owned()
            ));
        }
        let fingerprint = authority.fingerprint(HashAlg::Sha256);
        certificate
            .validate_at(now, [&fingerprint])
            .map_err(|error| bad(format!("{error} (signed by {})", described(&authority))))
    }

    fn check_revoked(&self, host: &str, key: &PublicKey) -> Result<(), Box<HostKeyError>> {
        let revoked = self
            .of(host, Marker::Revoked)
            .find(|line| line.key.key_data() == key.key_data());
        match revoked {
            Some(line) => Err(Box::new(HostKeyError::Revoked {
                host: host.to_owned(),
                offered: described(key),
                place: line.place.clone(),
            })),
            None => Ok(()),
        }
    }

    fn of(&self, host: &str, marker: Marker) -> impl Iterator<Item = &Line> {
        self.lines
            .iter()
            .filter(move |line| line.marker == marker && line.hosts.name(host))
    }
}

fn parse(line: &str, place: LinePlace) -> Option<Line> {
    let mut words = line.split_ascii_whitespace();
    let mut first = words.next()?;
    let marker = match first {
        "@cert-authority" => Marker::Authority,
        "@revoked" => Marker::Revoked,
        other if other.starts_with('@') => return None,
        _ => Marker::Host,
    };
    if marker != Marker::Host {
        first = words.next()?;
    }
    let key = format!("{} {}", words.next()?, words.next()?);
    Some(Line {
        place,
        marker,
        hosts: Hosts::parse(first)?,
        key: PublicKey::from_openssh(&key).ok()?,
    })
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if let Some(hashed) = text.strip_prefix("|1|") {
            let (salt, hash) = hashed.split_once('|')?;
            let decode = |text: &str| data_encoding::BASE64.decode(text.as_bytes()).ok();
            return Some(Self::Hashed {
                salt: decode(salt)?,
                hash: decode(hash)?,
            });
        }
        let patterns = text.split(',').map(str::to_ascii_lowercase);
        Some(Self::Patterns(patterns.collect()))
    }

    /// Tells whether the line is about this host, which is in lower case.
    fn name(&self, host: &str) -> bool {
        match self {
            Self::Hashed { salt, hash } => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::verify(&key, host.as_bytes(), hash).is_ok()
            }
            Self::Patterns(patterns) => {
                let excluded = patterns
                    .iter()
                    .filter_map(|pattern| pattern.strip_prefix('!'))
                    .any(|pattern| matches_glob(pattern.as_bytes(), host.as_bytes()));
                !excluded
                    && patterns
                        .iter()
                        .any(|pattern| matches_glob(pattern.as_bytes(), host.as_bytes()))
            }
        }
    }
}

/// Compares with `*` (any characters) and `?` (one). Takes time in the product of the lengths.
pub(crate) fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stood, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else {
                    return false;
                };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Returns kind and fingerprint, as `ssh-keygen -l` shows them.
pub(crate) fn described(key: &PublicKey) -> String {
    let fingerprint: Fingerprint = key.fingerprint(HashAlg::Sha256);
    format!("{} {fingerprint}", key.algorithm().as_str())
}

fn openssh(key: &PublicKey) -> String {
    let bare = PublicKey::new(key.key_data().clone(), "");
    bare.to_openssh().unwrap_or_else(|_| described(key))
}
