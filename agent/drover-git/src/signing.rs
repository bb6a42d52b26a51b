//! Signatures that we make: on commits, as Git knows them, and on documents.

use std::fmt;
use std::path::Path;

use russh::keys::PrivateKey;
use russh::keys::ssh_key::{HashAlg, LineEnding};

use crate::error::{Cause, GitError};
use crate::known_hosts::described;
use crate::signers::GIT_NAMESPACE;
use crate::ssh_options::load_key;

/// A private key that signs. `Debug` shows its fingerprint only.
#[derive(Clone)]
pub struct SigningKey(PrivateKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.fingerprint())
    }
}

impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.public_key().key_data() == other.0.public_key().key_data()
    }
}

impl Eq for SigningKey {}

impl SigningKey {
    /// Reads a private key in OpenSSH's format: ed25519 or ecdsa.
    ///
    /// # Errors
    ///
    /// [`GitError::SshKey`].
    pub fn read(path: &Path, passphrase: Option<&Path>) -> Result<Self, GitError> {
        Ok(Self(load_key(path, passphrase)?))
    }

    /// Returns kind and fingerprint of the key.
    pub fn fingerprint(&self) -> String {
        described(self.0.public_key())
    }

    /// Returns an armoured signature over `content`, for `namespace`.
    ///
    /// # Errors
    ///
    /// [`GitError::Sign`].
    pub fn sign(&self, namespace: &str, content: &[u8]) -> Result<String, GitError> {
        let failed = |error: russh::keys::ssh_key::Error| GitError::Sign {
            key: self.fingerprint(),
            source: Cause(error.to_string()),
        };
        let signature = self.0.sign(namespace, HashAlg::Sha512, content);
        let text = signature.and_then(|signature| signature.to_pem(LineEnding::LF));
        text.map_err(failed)
    }

    /// Returns a commit with its signature as the last header.
    pub(crate) fn sign_commit(&self, commit: &[u8]) -> Result<Vec<u8>, GitError> {
        let signature = self.sign(GIT_NAMESPACE, commit)?;
        let end = commit.windows(2).position(|two| two == b"\n\n");
        let end = end.unwrap_or(commit.len());
        let header = signature.trim_end().replace('\n', "\n ");
        let mut signed = commit[..end].to_vec();
        signed.extend_from_slice(format!("\ngpgsig {header}").as_bytes());
        signed.extend_from_slice(&commit[end..]);
        Ok(signed)
    }
}
