//! Git for drover: fetches the desired revision and commits the observed state.
//!
//! This crate moves paths, object ids and bytes. It knows no document format and nothing of groups
//! or plans: `drover-spec` reads and writes the documents, the loop joins the two. All calls block;
//! from asynchronous code they go through `spawn_blocking`.
//!
//! Entry points: [`Mirror`] reads a repository and moves its references, [`StateBranch`] queues and
//! publishes commits of recorded state, [`PushBudget`] says when to publish.
//!
//! - **Invariant:** files are read from a commit's tree, never from a work tree; links and
//!   submodules are not followed.
//! - **Invariant:** no reference is ever moved by force, nor without comparing its old value, and no
//!   push goes over `file://`.
//! - **Invariant:** objects are on disk before a reference names them.
//! - **Invariant:** credentials go to the origin of the repository's URL only, and into no text.
//! - **Invariant:** nothing is said to a host whose key is not known, but what finding that out takes.
//! - **Invariant:** a listing that failed or was cut short is an error or says so; it never looks
//!   like an empty repository.

mod armour;
mod budget;
mod client;
mod commits;
mod credentials;
mod daemon;
mod error;
mod files;
mod gnupg;
mod http;
mod incoming;
mod known_hosts;
mod mirror;
mod oid;
mod open;
mod pack;
mod private_key;
mod program;
mod refs;
mod remote;
mod session;
mod signatories;
mod signers;
mod signing;
mod ssh;
mod ssh_options;
mod state;
mod transport;
mod tree;
mod update;
mod url;
mod verify;
mod write;

pub use budget::{PushAdvice, PushBudget, PushLimits};
pub use commits::{
    ChangedPath, Changes, CommitChanges, CommitFiles, CommitInfo, Signature, trailers,
};
pub use credentials::{
    ClientCertificate, Credentials, DEFAULT_DEADLINE, DEFAULT_TIMEOUT, Login, Proxy, RemoteOptions,
    Secret,
};
pub use error::{Cause, Disposition, GitError};
pub use gnupg::OpenPgpKey;
pub use incoming::{
    LISTING_BYTES_MAX, PACK_OBJECTS_MAX, PackLimits, PackRefusal, WHOLE_BYTES_MAX, WholeKind,
};
pub use known_hosts::{HostKeyError, LinePlace};
pub use mirror::Mirror;
pub use oid::{Oid, ParseOidError};
pub use open::{RepositoryKind, init_repository};
pub use program::{ProgramBounds, ProgramEnd, ProgramError, run_program};
pub use refs::RemoteRefs;
pub use signatories::{Identities, OPEN_PGP_CHECKED_MAX, Signatories};
pub use signers::{
    AllowedSigners, GIT_NAMESPACE, SSH_SIGNATURE_BEGIN, SignatureError, SignedBy, SignersFile,
};
pub use signing::{CommitKey, SigningKey};
pub use ssh_options::{SshIdentity, SshOptions};
pub use state::{
    DEFAULT_ATTEMPTS, Loaded, PublishPolicy, Published, RECORDED_BYTES_MAX, StateBranch,
    StateCommit,
};
pub use tree::{
    DEPTH_MAX, ENTRIES_MAX, FILE_BYTES_MAX, FILES_MAX, FileEntry, IGNORE_FILE, IgnoreRules,
    PathPatterns, REFUSED_MAX, Refused, RefusedWhy, TOTAL_BYTES_MAX, TreeListing, is_document,
};
pub use update::PushOutcome;
pub use url::{SourceUrl, UrlError};
pub use verify::{StateTrust, Trust};
pub use write::{CommitMeta, Edit};
