//! Whose signatures count: OpenSSH's `allowed_signers` format, and signatures checked against it.
//! All of it happens in this process; no key and no program of the repository is ever asked.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::ssh_key::{HashAlg, SshSig};
use russh::keys::{Algorithm, PublicKey};

use crate::error::{Cause, GitError};
use crate::files;
use crate::known_hosts::{described, matches_glob};
use crate::signing::SigningKey;

/// The namespace of signatures on commits and tags, as Git has it.
pub const GIT_NAMESPACE: &str = "git";

/// How an armoured SSH signature begins.
pub const SSH_SIGNATURE_BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";

/// The largest list of signers: some thousand keys.
const SIGNERS_BYTES_MAX: u64 = 1 << 20;

/// The largest signature: one of an RSA key of 16384 bits is a tenth of it.
const SIGNATURE_BYTES_MAX: usize = 32 << 10;

/// A list of keys whose signatures count, and what for.
#[derive(Debug, Clone, Default)]
pub struct AllowedSigners {
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    principals: Vec<String>,
    namespaces: Option<Vec<String>>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
    key: PublicKey,
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// The principal: the first one of the line that names the key.
    pub principal: String,
    /// Kind and fingerprint of the key.
    pub key: String,
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error("it is not signed")]
    Missing,
    /// It cannot be read, or is of a kind that is not checked.
    #[error("its signature cannot be read: {why}")]
    Unreadable {
        /// Why not.
        why: String,
    },
    /// It is one for something else.
    #[error("its signature is for {found:?}, not for {expected:?}")]
    Namespace {
        /// What it is for.
        found: String,
        /// What it has to be for.
        expected: String,
    },
    /// It does not belong to this content.
    #[error("its signature by {key} does not fit its content")]
    Wrong {
        /// Kind and fingerprint of the key.
        key: String,
    },
    /// Nobody whom we know has that key.
    #[error("it is signed with {key}, which is no signer's key")]
    Unknown {
        /// Kind and fingerprint of the key.
        key: String,
    },
    /// The key is a signer's, but not for this, or not at that time.
    #[error("it is signed with {key} of {principal}, which does not count: {why}")]
    NotValid {
        /// Kind and fingerprint of the key.
        key: String,
        /// Whose it is.
        principal: String,
        /// Why it does not count.
        why: String,
    },
}

impl AllowedSigners {
    /// Reads a list of signers.
    ///
    /// # Errors
    ///
    /// [`GitError::Signers`] when it cannot be read, or has a line that cannot: a list that is
    /// understood in part would let somebody in or keep somebody out.
    pub fn read(path: &Path) -> Result<Self, GitError> {
        let failed = |why: String| GitError::Signers {
            path: path.to_owned(),
            source: Cause(why),
        };
        let text = files::read_text(path, SIGNERS_BYTES_MAX);
        let text = text.map_err(|error| failed(error.to_string()))?;
        Self::parse(&text).map_err(failed)
    }

    /// Parses the content of such a list.
    ///
    /// # Errors
    ///
    /// The first line that cannot be read, and why not.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parsed = parse_line(line).map_err(|why| format!("line {}: {why}", index + 1))?;
            lines.push(parsed);
        }
        Ok(Self { lines })
    }

    /// Adds a key of ours, for commits and tags.
    pub(crate) fn add(&mut self, key: &SigningKey) {
        self.lines.push(Line {
            principals: vec![key.fingerprint()],
            namespaces: Some(vec![GIT_NAMESPACE.to_owned()]),
            valid_after: None,
            valid_before: None,
            key: key.public().clone(),
        });
    }

    /// Checks an armoured SSH signature over `content`, for `namespace`, as of `at`.
    ///
    /// # Errors
    ///
    /// See [`SignatureError`].
    pub fn verify(
        &self,
        namespace: &str,
        content: &[u8],
        armoured: &str,
        at: Timestamp,
    ) -> Result<SignedBy, SignatureError> {
        let key = self.fitting(namespace, content, armoured)?;
        self.admit(&key, described(&key), namespace, at)
    }

    /// Returns every name of whoever made an armoured SSH signature over `content`, for `namespace`: those of each line
    /// with its key, whatever the line says that it counts for. Nobody where the signature does not fit.
    pub(crate) fn holders(&self, namespace: &str, content: &[u8], armoured: &str) -> Vec<String> {
        let Ok(key) = self.fitting(namespace, content, armoured) else {
            return Vec::new();
        };
        let theirs = |line: &&Line| line.key.key_data() == key.key_data();
        let lines = self.lines.iter().filter(theirs);
        lines.flat_map(|line| line.principals.clone()).collect()
    }

    /// Returns the key of a signature that fits, if some line has it.
    fn fitting(
        &self,
        namespace: &str,
        content: &[u8],
        armoured: &str,
    ) -> Result<PublicKey, SignatureError> {
        let unreadable = |why: String| SignatureError::Unreadable { why };
        if armoured.len() > SIGNATURE_BYTES_MAX {
            return Err(unreadable("it is too large".to_owned()));
        }
        let signature =
            SshSig::from_pem(armoured.trim_end()).map_err(|error| unreadable(error.to_string()))?;
        let key = PublicKey::new(signature.public_key().clone(), "");
        let shown = described(&key);
        if signature.namespace() != namespace {
            return Err(SignatureError::Namespace {
                found: signature.namespace().chars().take(40).collect(),
                expected: namespace.to_owned(),
            });
        }
        // Before anything is computed: whoever may push can make thousands of keys.
        let listed = |line: &Line| line.key.key_data() == key.key_data();
        if !self.lines.iter().any(listed) {
            return Err(SignatureError::Unknown { key: shown });
        }
        if !fits(&key, &signature, namespace, content) {
            return Err(SignatureError::Wrong { key: shown });
        }
        Ok(key)
    }

    /// Finds who has the key, and whether it counts for this and now.
    fn admit(
        &self,
        key: &PublicKey,
        shown: String,
        namespace: &str,
        at: Timestamp,
    ) -> Result<SignedBy, SignatureError> {
        let mut refused = None;
        let theirs = |line: &&Line| line.key.key_data() == key.key_data();
        for line in self.lines.iter().filter(theirs) {
            let principal = line.principals[0].clone();
            match line.refusal(namespace, at) {
                None => {
                    return Ok(SignedBy {
                        principal,
                        key: shown,
                    });
                }
                Some(why) => refused = Some((principal, why)),
            }
        }
        Err(match refused {
            Some((principal, why)) => SignatureError::NotValid {
                key: shown,
                principal,
                why,
            },
            None => SignatureError::Unknown { key: shown },
        })
    }
}

impl Line {
    fn refusal(&self, namespace: &str, at: Timestamp) -> Option<String> {
        let named = |pattern: &String| matches_glob(pattern.as_bytes(), namespace.as_bytes());
        if let Some(namespaces) = &self.namespaces
            && !namespaces.iter().any(named)
        {
            return Some(format!("it is for {}", namespaces.join(", ")));
        }
        if let Some(after) = self.valid_after.filter(|after| at < *after) {
            return Some(format!("it is valid after {after} only"));
        }
        if let Some(before) = self.valid_before.filter(|before| at > *before) {
            return Some(format!("it was valid before {before}"));
        }
        None
    }
}

/// Tells whether a signature belongs to a content.
fn fits(key: &PublicKey, signature: &SshSig, namespace: &str, content: &[u8]) -> bool {
    let signed = || SshSig::signed_data(namespace, signature.hash_alg(), content).ok();
    match key.key_data() {
        // By ring, which TLS uses: as fast in a build for tests as in any other. A branch of operations may have
        // thousands of signatures.
        KeyData::Ed25519(key) if signature.algorithm() == Algorithm::Ed25519 => {
            let key = UnparsedPublicKey::new(&signature::ED25519, key.as_ref());
            signed().is_some_and(|signed| key.verify(&signed, signature.signature_bytes()).is_ok())
        }
        // The library that reads signatures is built without RSA; ring has it.
        KeyData::Rsa(key) => {
            let algorithm = match signature.algorithm() {
                Algorithm::Rsa {
                    hash: Some(HashAlg::Sha512),
                } => &signature::RSA_PKCS1_2048_8192_SHA512,
                Algorithm::Rsa {
                    hash: Some(HashAlg::Sha256),
                } => &signature::RSA_PKCS1_2048_8192_SHA256,
                // SHA-1 and everything else.
                _ => return false,
            };
            let parts = (key.n().as_positive_bytes(), key.e().as_positive_bytes());
            let ((Some(n), Some(e)), Some(signed)) = (parts, signed()) else {
                return false;
            };
            let key = RsaPublicKeyComponents { n, e };
            key.verify(algorithm, &signed, signature.signature_bytes())
                .is_ok()
        }
        _ => key.verify(namespace, content, signature).is_ok(),
    }
}

fn parse_line(line: &str) -> Result<Line, String> {
    let words = words(line)?;
    let mut words = words.into_iter();
    let principals = words.next().unwrap_or_default();
    let principals: Vec<String> = principals.split(',').map(str::to_owned).collect();
    let plain = |name: &String| !name.is_empty() && !name.contains(['*', '?', '!']);
    if !principals.iter().all(plain) {
        return Err("a signer is named in full, without patterns".to_owned());
    }
    let (mut namespaces, mut valid_after, mut valid_before) = (None, None, None);
    while let Some(word) = words.next() {
        let (name, value) = word.split_once('=').unwrap_or((&word, ""));
        match name.to_ascii_lowercase().as_str() {
            "namespaces" => namespaces = Some(value.split(',').map(str::to_owned).collect()),
            "valid-after" => valid_after = Some(time(value)?),
            "valid-before" => valid_before = Some(time(value)?),
            "cert-authority" => {
                return Err("certificates of signers are not supported".to_owned());
            }
            _ if is_kind_of_key(&word) => {
                let data = words.next().ok_or("the key is missing")?;
                let key = PublicKey::from_openssh(&format!("{word} {data}"))
                    .map_err(|error| format!("its key cannot be read: {error}"))?;
                return Ok(Line {
                    principals,
                    namespaces,
                    valid_after,
                    valid_before,
                    key,
                });
            }
            _ => return Err(format!("{word:?} is no option and no kind of key")),
        }
    }
    Err("it has no key".to_owned())
}

fn is_kind_of_key(word: &str) -> bool {
    Algorithm::new(word).is_ok_and(|known| !matches!(known, Algorithm::Other(_)))
}

/// Splits at blanks outside of quotes, and leaves the quotes out.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if quoted {
        return Err("a quotation mark has no other".to_owned());
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// Reads `YYYYMMDD[HHMM[SS]][Z]`; without `Z` it is local time, as OpenSSH has it.
fn time(text: &str) -> Result<Timestamp, String> {
    let bad = || format!("{text:?} is not a time such as 20260131 or 202601311200Z");
    let (digits, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    if !matches!(digits.len(), 8 | 12 | 14) {
        return Err(bad());
    }
    // What is not written is zero: the beginning of the day, or of the minute.
    let padded = format!("{digits:0<14}");
    let time = DateTime::strptime("%Y%m%d%H%M%S", &padded).map_err(|_| bad())?;
    let zoned = time.to_zoned(zone).map_err(|_| bad())?;
    Ok(zoned.timestamp())
}

/// Where signers are listed, read for each use: a key that is removed counts no more at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignersFile(pub PathBuf);

impl SignersFile {
    /// Returns the content of the file.
    ///
    /// # Errors
    ///
    /// [`GitError::Signers`].
    pub fn text(&self) -> Result<String, GitError> {
        files::read_text(&self.0, SIGNERS_BYTES_MAX).map_err(|error| GitError::Signers {
            path: self.0.clone(),
            source: Cause(error.to_string()),
        })
    }

    /// Reads the list.
    ///
    /// # Errors
    ///
    /// See [`AllowedSigners::read`].
    pub fn read(&self) -> Result<AllowedSigners, GitError> {
        AllowedSigners::read(&self.0)
    }
}
