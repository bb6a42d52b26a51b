//! Pull requests on Git hosts: the one comment and the commit status that `drover pr` keeps there.
//!
//! What is asked and sent follows the published interfaces: GitHub's REST API of 2022-11-28 (pulls, issue
//! comments, commit statuses), GitLab's REST API v4 (merge requests, notes, commit statuses) and Gitea's API
//! v1, which Forgejo has too. The three differ in paths, names and words: that is [`dialect`].

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use drover_git::Secret;
use reqwest::Method;

use self::dialect::Dialect;
use self::http::Http;

mod comments;
mod dialect;
mod error;
mod http;
mod reviews;

#[cfg(test)]
mod tests;

pub(crate) use comments::Said;
pub(crate) use dialect::ForgeKind;
pub(crate) use error::ForgeError;
pub(crate) use reviews::{MergedPull, Review, ReviewVerdict};

/// Comments and statuses are asked for in pages of this many, the most that the hosts give. A host may give fewer: the
/// last page is the one that is empty.
const PAGE: usize = 100;

/// Most pages of comments that are looked through: ten thousand comments.
const PAGES_MAX: usize = 100;

/// How a host is reached.
#[derive(Debug)]
pub(crate) struct ForgeSettings<'a> {
    /// Whose interface it has.
    pub(crate) kind: ForgeKind,
    /// Where its interface is, such as `https://api.github.com`.
    pub(crate) api: &'a str,
    /// Who we are there.
    pub(crate) token: Secret,
    /// Certificates to trust instead of the system's.
    pub(crate) ca_file: Option<&'a Path>,
    /// How long all calls together may take, waits for rate limits included.
    pub(crate) patience: Duration,
}

/// A host, and the repository that is spoken of.
#[derive(Debug)]
pub(crate) struct Forge {
    http: Http,
    dialect: Dialect,
    deadline: Instant,
}

/// A pull request as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullRequest {
    /// The newest commit that it proposes.
    pub(crate) head: String,
    /// The commit that its target branch has now.
    pub(crate) base: String,
    /// Whether it can still be merged.
    pub(crate) open: bool,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Comment {
    id: u64,
    body: String,
    /// The login of who wrote it.
    author: String,
    /// Whether a program wrote it, by what the host says of the account.
    bot: bool,
}

/// How a commit is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitStatus {
    /// Its name among the statuses of a commit.
    pub(crate) context: String,
    /// The judgement.
    pub(crate) state: StatusState,
    /// A line for people.
    pub(crate) description: String,
}

/// The judgement of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusState {
    /// It may be merged.
    Success,
    /// It must not be merged.
    Failure,
}

/// What was done about a comment or a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is new.
    Created,
    /// It said something else before.
    Changed,
    /// It said so already.
    Unchanged,
    /// There is none, and none is needed.
    Absent,
    /// The pull request is at another commit now, or closed: it is no longer ours to say.
    Left,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Absent => "not needed",
            Self::Left => "left alone",
        })
    }
}

impl Forge {
    /// Prepares to speak to a host about a repository. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// What cannot be used: the address, the repository's name, the token or the certificates.
    pub(crate) fn new(settings: &ForgeSettings<'_>, repository: &str) -> Result<Self, ForgeError> {
        let dialect = Dialect::new(settings.kind, settings.api, repository)?;
        Ok(Self {
            http: Http::new(&dialect, &settings.token, settings.ca_file)?,
            dialect,
            deadline: Instant::now() + settings.patience,
        })
    }

    /// Returns a pull request.
    pub(crate) fn pull_request(&self, number: u64) -> Result<PullRequest, ForgeError> {
        let url = self.dialect.pull(number);
        self.patiently(|| {
            let answer = self.http.call(&Method::GET, &url, None)?;
            self.dialect.read_pull(&answer)
        })
    }

    /// Returns our own login. None: the host does not tell it to tokens of this sort.
    fn me(&self) -> Result<Option<String>, ForgeError> {
        match self.http.call(&Method::GET, &self.dialect.user(), None) {
            Ok(answer) => self.dialect.read_login(&answer).map(Some),
            Err(ForgeError::Refused {
                status: 401 | 403 | 404,
                ..
            }) => self.viewer(),
            Err(error) => Err(error),
        }
    }

    /// Returns our own login as GitHub tells it to the tokens of apps and of its own runners, by its other interface.
    fn viewer(&self) -> Result<Option<String>, ForgeError> {
        let Some((url, query)) = self.dialect.viewer() else {
            return Ok(None);
        };
        match self.http.call(&Method::POST, &url, Some(&query)) {
            Ok(answer) => Ok(self.dialect.read_viewer(&answer)),
            // A host that has no such interface, or does not tell.
            Err(ForgeError::Refused { status, .. }) if status < 500 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the status of a commit say this. It is sent only when it differs from the latest of its name.
    pub(crate) fn keep_status(
        &self,
        commit: &str,
        status: &CommitStatus,
    ) -> Result<Kept, ForgeError> {
        self.patiently(|| {
            let url = self.dialect.statuses(commit, status, PAGE);
            let answer = self.http.call(&Method::GET, &url, None)?;
            let latest = self.dialect.read_latest_status(&answer, status)?;
            let wanted = self.dialect.status_line(status);
            if latest.as_ref() == Some(&wanted) {
                return Ok(Kept::Unchanged);
            }
            let url = self.dialect.set_status(commit);
            let said = self.dialect.status(status);
            self.http.call(&Method::POST, &url, Some(&said))?;
            Ok(if latest.is_some() {
                Kept::Changed
            } else {
                Kept::Created
            })
        })
    }

    /// Does something again, while its failure may pass and time is left. A host that asks for a pause gets it.
    fn patiently<T>(
        &self,
        mut act: impl FnMut() -> Result<T, ForgeError>,
    ) -> Result<T, ForgeError> {
        let mut attempt = 0;
        loop {
            let error = match act() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let left = self.deadline.saturating_duration_since(Instant::now());
            match error.pause(attempt) {
                Some(pause) if pause < left => std::thread::sleep(pause),
                Some(_) | None => return Err(error),
            }
            attempt += 1;
        }
    }
}
