//! Signatures that we make: on commits, as Git knows them, and on documents.

use std::fmt;
use std::path::Path;

use russh::keys::PublicKey;

use crate::error::{Cause, GitError};
use crate::gnupg::OpenPgpKey;
use crate::known_hosts::described;
use crate::private_key::SecretKey;
use crate::signers::GIT_NAMESPACE;

/// A private key that signs. `Debug` shows its fingerprint only.
#[derive(Clone)]
pub struct SigningKey(SecretKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.fingerprint())
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.public().key_data() == other.0.public().key_data()
    }
}

impl Eq for SigningKey {}

impl SigningKey {
    /// Reads a private key in OpenSSH's format: ed25519, ecdsa, or RSA of 2048 to 4096 bits.
    ///
    /// # Errors
    ///
    /// [`GitError::SshKey`].
    pub fn read(path: &Path, passphrase: Option<&Path>) -> Result<Self, GitError> {
        Ok(Self(SecretKey::read(path, passphrase)?))
    }

    /// Returns kind and fingerprint of the key.
    pub fn fingerprint(&self) -> String {
        described(self.0.public())
    }

    pub(crate) fn public(&self) -> &PublicKey {
        self.0.public()
    }

    /// Returns an armoured signature over `content`, for `namespace`.
    ///
    /// # Errors
    ///
    /// [`GitError::Sign`].
    pub fn sign(&self, namespace: &str, content: &[u8]) -> Result<String, GitError> {
        let signed = self.0.sign_content(namespace, content);
        signed.map_err(|error| GitError::Sign {
            key: self.fingerprint(),
            source: Cause(error.to_string()),
        })
    }
}

/// What signs commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitKey {
    /// An ssh key, in this process.
    Ssh(SigningKey),
    /// A key in a GnuPG keyring, by the program `gpg`.
    OpenPgp(OpenPgpKey),
}

impl CommitKey {
    /// Returns kind and fingerprint of the key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Ssh(key) => key.fingerprint(),
            Self::OpenPgp(key) => key.fingerprint(),
        }
    }

    /// Returns a commit with its signature as the last header.
    pub(crate) fn sign_commit(&self, commit: &[u8]) -> Result<Vec<u8>, GitError> {
        let signature = match self {
            Self::Ssh(key) => key.sign(GIT_NAMESPACE, commit)?,
            Self::OpenPgp(key) => key.sign(commit)?,
        };
        let end = commit.windows(2).position(|two| two == b"\n\n");
        let end = end.unwrap_or(commit.len());
        let header = signature.trim_end().replace('\n', "\n ");
        let mut signed = commit[..end].to_vec();
        signed.extend_from_slice(format!("\ngpgsig {header}").as_bytes());
        signed.extend_from_slice(&commit[end..]);
        Ok(signed)
    }
}
