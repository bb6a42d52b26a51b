//! Whether a commit or a tag is signed by somebody who counts: SSH signatures in this process,
//! OpenPGP through the `gpg` program, with a keyring that the agent's own file names.

use std::path::PathBuf;
use std::sync::Arc;

use git2::{ErrorCode, ObjectType};
use jiff::Timestamp;

use crate::commits::{find_commit, missing_or};
use crate::error::GitError;
use crate::gnupg::{self, PGP_SIGNATURE_BEGIN};
use crate::mirror::Mirror;
use crate::oid::Oid;
use crate::signers::{GIT_NAMESPACE, SSH_SIGNATURE_BEGIN, SignatureError, SignedBy, SignersFile};
use crate::signing::CommitKey;

/// Whose signatures on commits and tags count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// SSH keys.
    pub signers: Option<SignersFile>,
    /// The folder of a GnuPG keyring: every public key in it counts, as far as it is neither
    /// expired nor revoked. A folder of the agent's own, never the home of a person.
    pub gnupg_home: Option<PathBuf>,
}

/// What the signature of a commit or a tag is over, and the signature.
pub(crate) struct Signed {
    /// What it is, for people.
    what: String,
    pub(crate) content: Vec<u8>,
    /// Empty: it is not signed.
    pub(crate) armoured: String,
    /// When it was made.
    at: Timestamp,
}

/// Whose signatures on a branch of recorded state count: the key that signs there now, whatever else its keyring
/// has, and whoever is named beside it, such as the key before it.
#[derive(Debug, Clone, Default)]
pub struct StateTrust {
    /// The key that signs.
    pub own: Option<Arc<CommitKey>>,
    /// Who else.
    pub others: Trust,
}

impl Mirror {
    /// Checks the signature of a commit.
    ///
    /// # Errors
    ///
    /// [`GitError::Unverified`] when it does not count, [`GitError::Signers`] or [`GitError::Gpg`]
    /// when it cannot be checked.
    pub fn verify_commit(&self, id: Oid, trust: &Trust) -> Result<SignedBy, GitError> {
        let signed = self.signature_of(id)?;
        check(&signed, trust, None)
    }

    /// Checks the signature of a commit of recorded state.
    ///
    /// # Errors
    ///
    /// As [`Mirror::verify_commit`].
    pub fn verify_state_commit(&self, id: Oid, trust: &StateTrust) -> Result<SignedBy, GitError> {
        let signed = self.signature_of(id)?;
        check(&signed, &trust.others, trust.own.as_deref())
    }

    /// Returns the signature of a commit, not checked.
    pub(crate) fn signature_of(&self, id: Oid) -> Result<Signed, GitError> {
        self.with_repository(|repository| {
            let commit = find_commit(repository, id)?;
            let at = seconds(commit.time().seconds());
            let (armoured, content) = match repository.extract_signature(&id.raw(), None) {
                Ok((signature, content)) => (signature.to_vec(), content.to_vec()),
                Err(error) if error.code() == ErrorCode::NotFound => (Vec::new(), Vec::new()),
                Err(error) => {
                    let attempted = format!("read the signature of {id}");
                    return Err(GitError::local(attempted, error));
                }
            };
            Ok(Signed {
                what: format!("commit {}", id.short()),
                content,
                armoured: String::from_utf8_lossy(&armoured).into_owned(),
                at,
            })
        })
    }

    /// Checks the signature of an annotated tag: that it is the one of this name, and stands for
    /// this commit. A tag that was moved or renamed is another.
    ///
    /// # Errors
    ///
    /// As [`Mirror::verify_commit`].
    pub fn verify_tag(
        &self,
        name: &str,
        tag: Oid,
        commit: Oid,
        trust: &Trust,
    ) -> Result<SignedBy, GitError> {
        let what = format!("tag {name}");
        let unsigned = |source| GitError::Unverified {
            what: what.clone(),
            source,
        };
        let raw = self.with_repository(|repository| {
            let odb = repository
                .odb()
                .map_err(|error| GitError::local("open the object database", error))?;
            let object = odb
                .read(tag.raw())
                .map_err(|error| missing_or(error, tag, "read a tag"))?;
            Ok((object.kind() == ObjectType::Tag).then(|| object.data().to_vec()))
        })?;
        // A light-weight tag is only a name.
        let raw = raw.ok_or_else(|| unsigned(SignatureError::Missing))?;
        let text = String::from_utf8_lossy(&raw);
        let begins = [SSH_SIGNATURE_BEGIN, PGP_SIGNATURE_BEGIN];
        let at = begins
            .iter()
            .filter_map(|begin| text.rfind(&format!("\n{begin}")))
            .max();
        let Some(at) = at.filter(|_| matches!(text, std::borrow::Cow::Borrowed(_))) else {
            return Err(unsigned(SignatureError::Missing));
        };
        let (content, signature) = text.split_at(at + 1);
        let header = content.split("\n\n").next().unwrap_or_default();
        let field = |key: &str| {
            let mut lines = header.lines();
            lines
                .find_map(|line| line.strip_prefix(key))
                .unwrap_or_default()
        };
        let stands_for = field("object ") == commit.to_string() && field("type ") == "commit";
        if !stands_for || field("tag ") != name {
            let why = "it stands for another commit, or has another name".to_owned();
            return Err(unsigned(SignatureError::Unreadable { why }));
        }
        let tagged = field("tagger ")
            .rsplit(' ')
            .nth(1)
            .and_then(|text| text.parse().ok());
        let signed = Signed {
            what: what.clone(),
            content: content.as_bytes().to_vec(),
            armoured: signature.to_owned(),
            at: seconds(tagged.unwrap_or_default()),
        };
        check(&signed, trust, None)
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Checks a signature. `own`: a key that counts beside those of `trust`.
fn check(signed: &Signed, trust: &Trust, own: Option<&CommitKey>) -> Result<SignedBy, GitError> {
    let refused = |source| GitError::Unverified {
        what: signed.what.clone(),
        source,
    };
    let signature = signed.armoured.trim();
    if signature.is_empty() {
        return Err(refused(SignatureError::Missing));
    }
    if signature.starts_with(SSH_SIGNATURE_BEGIN) {
        let signers = trust.signers.as_ref().map(SignersFile::read).transpose()?;
        let mut signers = signers.unwrap_or_default();
        if let Some(CommitKey::Ssh(key)) = own {
            signers.add(key);
        }
        let verified = signers.verify(GIT_NAMESPACE, &signed.content, signature, signed.at);
        return verified.map_err(refused);
    }
    let unread = |why: &str| SignatureError::Unreadable {
        why: why.to_owned(),
    };
    if !signature.starts_with(PGP_SIGNATURE_BEGIN) {
        return Err(refused(unread("it is neither of SSH nor of OpenPGP")));
    }
    let by_own = match own {
        Some(CommitKey::OpenPgp(key)) => Some(gnupg::verify_by(key, &signed.content, signature)?),
        Some(CommitKey::Ssh(_)) | None => None,
    };
    match (by_own, &trust.gnupg_home) {
        (Some(Ok(signed_by)), _) => Ok(signed_by),
        (_, Some(home)) => gnupg::verify(home, &signed.content, signature)?.map_err(refused),
        (Some(Err(error)), None) => Err(refused(error)),
        (None, None) => Err(refused(unread("no keyring for OpenPGP is configured"))),
    }
}
