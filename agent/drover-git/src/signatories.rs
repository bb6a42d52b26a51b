//! Who made the signatures of commits, many commits in a row: for who wrote what, not for whether it counts.

use std::path::PathBuf;

use crate::error::GitError;
use crate::gnupg::{self, PGP_SIGNATURE_BEGIN};
use crate::mirror::Mirror;
use crate::oid::Oid;
use crate::signers::{AllowedSigners, GIT_NAMESPACE, SSH_SIGNATURE_BEGIN, SignersFile};

/// Most OpenPGP signatures that are looked at in a row: each is a call of `gpg`, ten seconds in all.
pub const OPEN_PGP_CHECKED_MAX: usize = 1000;

/// Where it says whose a key is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identities {
    /// Lists of signers.
    pub signers: Vec<SignersFile>,
    /// Folders of GnuPG keyrings.
    pub keyrings: Vec<PathBuf>,
}

/// Tells who made signatures, by lists and keyrings as they were at one moment.
#[derive(Debug)]
pub struct Signatories {
    /// None: one of them cannot be read, so that nobody knows whose a key is.
    lists: Option<Vec<AllowedSigners>>,
    keyrings: Vec<PathBuf>,
    /// OpenPGP signatures that may still be looked at.
    left: usize,
}

impl Signatories {
    /// Reads the lists.
    pub fn read(identities: &Identities) -> Self {
        let lists = identities.signers.iter().map(SignersFile::read);
        Self {
            lists: lists.collect::<Result<_, _>>().ok(),
            keyrings: identities.keyrings.clone(),
            left: OPEN_PGP_CHECKED_MAX,
        }
    }

    /// Returns every name of whoever signed a commit: nobody where it is not signed, the signature does not fit, or
    /// nobody is known who has the key. None: that cannot be told, as a list cannot be read, `gpg` cannot be asked, or it was
    /// asked too often.
    ///
    /// A key is somebody's whatever else its line says: one that signs nothing that counts, or not any more, still tells who
    /// it was.
    ///
    /// # Errors
    ///
    /// The commit cannot be read.
    pub fn of(&mut self, mirror: &Mirror, commit: Oid) -> Result<Option<Vec<String>>, GitError> {
        let signed = mirror.signature_of(commit)?;
        let signature = signed.armoured.trim();
        if signature.starts_with(SSH_SIGNATURE_BEGIN) {
            let of_list =
                |list: &AllowedSigners| list.holders(GIT_NAMESPACE, &signed.content, signature);
            let lists = self.lists.as_ref();
            return Ok(lists.map(|lists| lists.iter().flat_map(of_list).collect()));
        }
        if signature.starts_with(PGP_SIGNATURE_BEGIN) {
            return Ok(self.of_open_pgp(&signed.content, signature));
        }
        Ok(Some(Vec::new()))
    }

    fn of_open_pgp(&mut self, content: &[u8], signature: &str) -> Option<Vec<String>> {
        let mut holders = Vec::new();
        for keyring in &self.keyrings {
            self.left = self.left.checked_sub(1)?;
            let Ok(holder) = gnupg::holder(keyring, content, signature) else {
                // One that hangs is not waited for a thousand times.
                self.left = 0;
                return None;
            };
            holders.extend(holder);
        }
        Some(holders)
    }
}
