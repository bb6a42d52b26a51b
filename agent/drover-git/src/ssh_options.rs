//! How to talk to a remote over ssh: whose keys, and which hosts are known.

use std::path::{Path, PathBuf};

use russh::keys::{Algorithm, PrivateKey};

use crate::error::{Cause, GitError};
use crate::files;

/// The largest file with a private key.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// How to talk to a remote over ssh. Files are read for each conversation, so that what is rotated
/// takes effect without a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshOptions {
    /// The key to show.
    pub identity: Option<SshIdentity>,
    /// Another key for pushing.
    pub write_identity: Option<SshIdentity>,
    /// Files of known hosts, as OpenSSH has them; the first is the one that advice names. A host
    /// that is in none of them is refused.
    pub known_hosts: Vec<PathBuf>,
}

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshIdentity {
    /// In a file.
    KeyFile {
        /// The private key, in OpenSSH's format.
        path: PathBuf,
        /// A file with its passphrase.
        passphrase: Option<PathBuf>,
    },
    /// With an ssh agent, which has to know the key that the host wants.
    Agent {
        /// The agent's socket.
        socket: PathBuf,
    },
}

impl SshOptions {
    pub(crate) fn for_writing(&self) -> Option<&SshIdentity> {
        self.write_identity.as_ref().or(self.identity.as_ref())
    }
}

/// Reads a private key of a kind that we can sign with.
pub(crate) fn load_key(path: &Path, passphrase: Option<&Path>) -> Result<PrivateKey, GitError> {
    let failed = |path: &Path, text: String| GitError::SshKey {
        path: path.to_owned(),
        source: Cause(text),
    };
    let text =
        files::read_text(path, KEY_BYTES_MAX).map_err(|error| failed(path, error.to_string()))?;
    let key = PrivateKey::from_openssh(&text)
        .map_err(|error| failed(path, format!("not a private key of OpenSSH: {error}")))?;
    let key = match (key.is_encrypted(), passphrase) {
        (false, _) => key,
        (true, None) => {
            let text = "it has a passphrase, and no file with one is configured";
            return Err(failed(path, text.to_owned()));
        }
        (true, Some(file)) => {
            let phrase = files::read_text(file, KEY_BYTES_MAX)
                .map_err(|error| failed(file, error.to_string()))?;
            key.decrypt(phrase.trim_end_matches(['\r', '\n']))
                .map_err(|_| failed(path, "the passphrase does not open it".to_owned()))?
        }
    };
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(key),
        other => {
            let text = format!(
                "{} keys are not supported: use ed25519 or ecdsa",
                other.as_str()
            );
            Err(failed(path, text))
        }
    }
}
