//! What is asked of the other side's identity: its key or certificate, against the known hosts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use russh::client::Handler;
use russh::keys::PublicKeyOrCertificate;

use crate::known_hosts::{HostKeyError, KnownHosts};

/// Judges the host's key, and keeps why it was refused: russh only knows that it was.
pub(super) struct Client {
    pub(super) known: KnownHosts,
    /// As the files of known hosts have it.
    pub(super) known_as: String,
    /// Without the port.
    pub(super) name: String,
    pub(super) refusal: Arc<Mutex<Option<Box<HostKeyError>>>>,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        offered: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let verdict = match offered {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.known.check_key(&self.known_as, key)
            }
            PublicKeyOrCertificate::Certificate(certificate) => {
                // A clock before 1970 is one at which no certificate holds.
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let now = now.map_or(0, |since| since.as_secs());
                self.known
                    .check_certificate(&self.known_as, &self.name, certificate, now)
            }
        };
        let accepted = verdict.is_ok();
        let mut slot = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = verdict.err();
        Ok(accepted)
    }
}
