//! How to talk to a remote over ssh: whose keys, and which hosts are known.

use std::path::PathBuf;

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
