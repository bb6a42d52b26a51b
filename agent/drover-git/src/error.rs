//! What can go wrong with a repository, as data: callers react to the variant, never to a text.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::incoming::PackRefusal;
use crate::known_hosts::HostKeyError;
use crate::oid::Oid;
use crate::signers::SignatureError;
use crate::url::UrlError;

/// What a caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The next pass may succeed without anybody doing anything.
    Retry,
    /// Somebody has to change a setting, a credential or the repository first.
    NeedsOperator,
}

/// A cause whose text has been cleaned of credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Cause(pub(crate) String);

/// A failed Git operation. URLs in it never contain credentials.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The text is not the URL of a repository that drover can use.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The remote could not be reached, or the connection broke.
    #[error("reach {url}")]
    Unreachable {
        /// The remote, without credentials.
        url: String,
        /// What the network said.
        source: Cause,
    },
    /// The remote answered with a status that says "later".
    #[error("{url} is unavailable: http status {status}")]
    Unavailable {
        /// The remote, without credentials.
        url: String,
        /// The status: 429 or 5xx.
        status: u16,
    },
    /// The remote asked to be left alone for a while. It is not asked before, by whatever operation.
    #[error("{url} asks to wait until {until}: http status {status}")]
    Throttled {
        /// The remote, without credentials.
        url: String,
        /// The status: 429, or another one with a time.
        status: u16,
        /// Until when, at the latest an hour from when it said so.
        until: Timestamp,
    },
    /// A connection, a read or the whole operation took too long.
    #[error("{url} did not answer within {} ms", after.as_millis())]
    Timeout {
        /// The remote, without credentials.
        url: String,
        /// The limit that was reached.
        after: Duration,
    },
    /// The credentials are missing, wrong, or do not permit this.
    #[error("{url} {}: http status {status}", refused(*shown))]
    Auth {
        /// The remote, without credentials.
        url: String,
        /// The status: 401 or 403.
        status: u16,
        /// Whether it was shown any.
        shown: bool,
    },
    /// The server's certificate is not trusted.
    #[error("the certificate of {url} is not trusted")]
    Certificate {
        /// The remote, without credentials.
        url: String,
        /// What the verification said.
        source: Cause,
    },
    /// The host is not known, or not by this key.
    #[error("will not talk to {url}")]
    HostKey {
        /// The remote.
        url: String,
        /// Why, and what makes it known.
        source: Box<HostKeyError>,
    },
    /// A file of known hosts could not be used.
    #[error("read the known hosts in {}", path.display())]
    KnownHosts {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Cause,
    },
    /// A private key, its passphrase or the ssh agent could not be used.
    #[error("use the ssh key of {}", path.display())]
    SshKey {
        /// The file, or the agent's socket.
        path: PathBuf,
        /// Why not.
        source: Cause,
    },
    /// The host takes none of our keys.
    #[error("{url} refused user {user}: tried {tried}")]
    SshAuth {
        /// The remote.
        url: String,
        /// The user name.
        user: String,
        /// Kinds and fingerprints of the keys that were shown.
        tried: String,
    },
    /// The program at the other end of an ssh connection ended before it said anything.
    #[error("{url} ended the conversation: {message}")]
    Ended {
        /// The remote.
        url: String,
        /// What it printed, cleaned.
        message: String,
    },
    /// A list of signers could not be used.
    #[error("read the signers in {}", path.display())]
    Signers {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Cause,
    },
    /// `gpg` could not be asked for a signature, or about one.
    #[error("ask gpg with the keyring in {}", home.display())]
    Gpg {
        /// The folder of the keyring.
        home: PathBuf,
        /// Why not.
        source: Cause,
    },
    /// Something is not signed by anybody who counts.
    #[error("{what} is not verified")]
    Unverified {
        /// The commit or tag.
        what: String,
        /// Why not.
        source: SignatureError,
    },
    /// A signature could not be made.
    #[error("sign with {key}")]
    Sign {
        /// Kind and fingerprint of the key.
        key: String,
        /// Why not.
        source: Cause,
    },
    /// A file with a credential could not be used.
    #[error("read the credential in {}", path.display())]
    CredentialFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Cause,
    },
    /// A file with certificates or their key could not be used.
    #[error("read the certificates in {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Cause,
    },
    /// The remote asked to go elsewhere, which would take the credentials along.
    #[error("{url} redirects to {to}, which is not followed: use the final URL")]
    Redirected {
        /// The remote, without credentials.
        url: String,
        /// Scheme, host and port that it points to.
        to: String,
    },
    /// The other side does not speak Git's smart HTTP protocol, or broke it.
    #[error("{url} did not answer as a Git server")]
    Protocol {
        /// The remote, without credentials.
        url: String,
        /// What was wrong.
        source: Cause,
    },
    /// What the remote sends would take more memory or time than it may.
    #[error("will not take what {url} sends")]
    Pack {
        /// The remote, without credentials.
        url: String,
        /// What is too much.
        source: PackRefusal,
    },
    /// The remote is one that can only be read.
    #[error("{url} can only be read, since nothing there knows who pushes: use ssh or https")]
    ReadOnly {
        /// The remote.
        url: String,
    },
    /// There is no repository at this place.
    #[error("no repository at {url}")]
    NotFound {
        /// The remote or the path, without credentials.
        url: String,
    },
    /// The repository belongs to another user, who could steer what Git does in it.
    #[error(
        "the repository {} belongs to another user: run the agent as its owner, or change the owner",
        path.display()
    )]
    NotOwned {
        /// The repository.
        path: PathBuf,
    },
    /// The repository has no reference at all.
    #[error("the repository at {url} is empty")]
    EmptyRepository {
        /// The remote or the path, without credentials.
        url: String,
    },
    /// The repository has references, but not this one.
    #[error("no branch or tag {reference:?} at {url}")]
    RefMissing {
        /// The remote or the path, without credentials.
        url: String,
        /// The name that was asked for.
        reference: String,
    },
    /// The reference moved between the listing and the fetch, and what was listed is gone.
    #[error("{reference} at {url} was rewritten while it was fetched")]
    MovedWhileFetching {
        /// The remote, without credentials.
        url: String,
        /// The reference.
        reference: String,
    },
    /// The remote, a hook or a setting declined the new value of a reference.
    #[error("{url} refused to update {reference}: {message}")]
    Refused {
        /// The remote or the path, without credentials.
        url: String,
        /// The reference.
        reference: String,
        /// What it said, cleaned.
        message: String,
    },
    /// Other writers were faster every time; what was to be published is still pending.
    #[error("{reference} at {url} moved {attempts} times while it was updated")]
    Contended {
        /// The remote or the path, without credentials.
        url: String,
        /// The reference.
        reference: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The object is not in the local repository.
    #[error("object {id} is not in the repository")]
    MissingObject {
        /// The object.
        id: Oid,
    },
    /// The name is not one that resolves to a commit here.
    #[error("{name:?} names no commit")]
    UnknownRevision {
        /// The name as given.
        name: String,
    },
    /// The history was cut off when the repository was cloned, so this cannot be answered.
    #[error("{} is a shallow clone: its history is incomplete", path.display())]
    Shallow {
        /// The repository.
        path: PathBuf,
    },
    /// An object is larger than the caller permits.
    #[error("object {id} has {size} bytes, more than {limit}")]
    TooLarge {
        /// The object.
        id: Oid,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A path that no commit of ours may contain.
    #[error("{path:?} is not a path inside a repository")]
    BadPath {
        /// The path as given.
        path: String,
    },
    /// A file stands where the edit needs a folder, or the other way round, or a link.
    #[error("{path:?} cannot be written: something else stands there")]
    PathConflict {
        /// The path up to the obstacle.
        path: String,
    },
    /// A reference name that Git does not permit.
    #[error("{reference:?} is not a valid reference name")]
    BadReference {
        /// The name as given.
        reference: String,
    },
    /// The local repository is damaged.
    #[error("the repository {} is damaged", path.display())]
    Corrupt {
        /// The repository.
        path: PathBuf,
        /// What was found.
        source: git2::Error,
    },
    /// A file operation in the local repository failed: disk full, not permitted.
    #[error("use the repository {}", path.display())]
    Io {
        /// The repository or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process holds a lock in the local repository.
    #[error("the repository is in use by another process: {attempted}")]
    Busy {
        /// What was attempted.
        attempted: String,
        /// The lock.
        source: git2::Error,
    },
    /// Any other failure of the local repository.
    #[error("{attempted}")]
    Local {
        /// What was attempted.
        attempted: String,
        /// What libgit2 said.
        source: git2::Error,
    },
    /// The agent stops, so nobody waits for this any more.
    #[error("the conversation with {url} was ended, as the agent stops")]
    Stopped {
        /// The remote, without credentials.
        url: String,
    },
    /// The thread that talks to the remote ended early: a bug in drover.
    #[error("the remote operation on {url} ended without a result")]
    Aborted {
        /// The remote, without credentials.
        url: String,
    },
}

/// Says what a remote did that takes nobody, or not us.
fn refused(shown: bool) -> &'static str {
    if shown {
        "refused the credentials"
    } else {
        "asks for credentials, and none are configured (`credentials.source`)"
    }
}

impl GitError {
    /// Returns what to do about this error.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unreachable { .. }
            | Self::Unavailable { .. }
            | Self::Throttled { .. }
            | Self::Timeout { .. }
            | Self::MovedWhileFetching { .. }
            | Self::Contended { .. }
            | Self::Protocol { .. }
            | Self::Ended { .. }
            | Self::Io { .. }
            | Self::Busy { .. }
            | Self::Local { .. }
            | Self::Stopped { .. }
            | Self::Aborted { .. } => Disposition::Retry,
            Self::Url(_)
            | Self::Auth { .. }
            | Self::Certificate { .. }
            | Self::HostKey { .. }
            | Self::KnownHosts { .. }
            | Self::SshKey { .. }
            | Self::CredentialFile { .. }
            | Self::Signers { .. }
            | Self::Gpg { .. }
            | Self::Unverified { .. }
            | Self::Sign { .. }
            | Self::SshAuth { .. }
            | Self::CaFile { .. }
            | Self::Redirected { .. }
            | Self::Pack { .. }
            | Self::ReadOnly { .. }
            | Self::NotFound { .. }
            | Self::NotOwned { .. }
            | Self::EmptyRepository { .. }
            | Self::RefMissing { .. }
            | Self::Refused { .. }
            | Self::MissingObject { .. }
            | Self::UnknownRevision { .. }
            | Self::Shallow { .. }
            | Self::TooLarge { .. }
            | Self::BadPath { .. }
            | Self::PathConflict { .. }
            | Self::BadReference { .. }
            | Self::Corrupt { .. } => Disposition::NeedsOperator,
        }
    }

    /// Wraps a libgit2 error about the local repository; `attempted` is a short phrase.
    pub(crate) fn local(attempted: impl Into<String>, source: git2::Error) -> Self {
        let attempted = attempted.into();
        match source.code() {
            git2::ErrorCode::Locked => Self::Busy { attempted, source },
            _ => Self::Local { attempted, source },
        }
    }

    /// Tells whether a fresh handle on the repository may see what this one did not: somebody
    /// repacked the repository while it was open.
    pub(crate) fn may_be_stale_handle(&self) -> bool {
        match self {
            Self::MissingObject { .. } | Self::Corrupt { .. } => true,
            Self::Local { source, .. } => matches!(
                source.class(),
                git2::ErrorClass::Odb | git2::ErrorClass::Os | git2::ErrorClass::Zlib
            ),
            _ => false,
        }
    }
}
