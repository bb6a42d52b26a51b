//! Process-wide settings of libgit2, made once: our own transports and no configuration files
//! but a repository's own. This is the only file of the crate with `unsafe` code.

use std::sync::OnceLock;

use git2::ConfigLevel;
use git2::transport::Transport;

use crate::daemon::DaemonTransport;
use crate::error::GitError;
use crate::http::HttpTransport;
use crate::ssh::SshTransport;

/// The schemes that our transport over HTTP serves instead of libgit2's own.
const HTTP_SCHEMES: [&str; 2] = ["http", "https"];

/// The levels of configuration outside a repository.
const OUTSIDE_LEVELS: [ConfigLevel; 4] = [
    ConfigLevel::ProgramData,
    ConfigLevel::System,
    ConfigLevel::XDG,
    ConfigLevel::Global,
];

/// Prepares libgit2, the first time it is called; every way into this crate comes through here
/// before any repository is opened.
pub(crate) fn prepare() -> Result<(), GitError> {
    static PREPARED: OnceLock<Result<(), String>> = OnceLock::new();
    let outcome = PREPARED.get_or_init(|| prepare_once().map_err(|e| e.message().to_owned()));
    match outcome {
        Ok(()) => Ok(()),
        Err(message) => Err(GitError::local(
            "prepare libgit2",
            git2::Error::from_str(message),
        )),
    }
}

/// What libgit2 may keep of objects that were read: the trees of a state branch of some thousand groups.
const OBJECT_CACHE_BYTES: isize = 4 << 20;

#[expect(
    unsafe_code,
    reason = "libgit2 keeps transports, search paths and limits in unguarded globals; the OnceLock above \
              lets one thread through, before this crate opens any repository or remote"
)]
fn prepare_once() -> Result<(), git2::Error> {
    for level in OUTSIDE_LEVELS {
        // A user's `insteadOf` or `http.extraHeader` would send our credentials elsewhere.
        unsafe { git2::opts::set_search_path(level, "")? };
    }
    // An agent reads most objects once; libgit2 would keep 256 MiB of them.
    unsafe { git2::opts::set_cache_max_size(OBJECT_CACHE_BYTES)? };
    for scheme in HTTP_SCHEMES {
        unsafe {
            git2::transport::register(scheme, |remote| {
                Transport::smart(remote, true, HttpTransport)
            })?;
        }
    }
    unsafe {
        git2::transport::register("ssh", |remote| {
            Transport::smart(remote, false, SshTransport)
        })?;
    }
    unsafe {
        git2::transport::register("git", |remote| {
            Transport::smart(remote, false, DaemonTransport)
        })?;
    }
    Ok(())
}
