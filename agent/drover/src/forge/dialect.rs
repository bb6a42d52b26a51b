//! In what the interfaces of the hosts differ: paths, names and words.

use std::fmt;

use clap::ValueEnum;
use drover_spec::agent_config::ReviewsKind;
use reqwest::{Method, Url};
use serde_json::{Value as Json, json};

use super::error::{ForgeError, host};
use super::http::Answer;
use super::{Comment, CommitStatus, PullRequest, StatusState};

/// Most characters of a status' description that every host takes.
const DESCRIPTION_MAX: usize = 140;

/// Whose interface a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ForgeKind {
    /// GitHub, and GitHub Enterprise Server.
    #[value(name = "github")]
    GitHub,
    /// GitLab.
    #[value(name = "gitlab")]
    GitLab,
    /// Gitea, and Forgejo.
    #[value(alias = "forgejo")]
    Gitea,
}

impl From<ReviewsKind> for ForgeKind {
    fn from(kind: ReviewsKind) -> Self {
        match kind {
            ReviewsKind::GitHub => Self::GitHub,
            ReviewsKind::GitLab => Self::GitLab,
            ReviewsKind::Gitea => Self::Gitea,
        }
    }
}

impl fmt::Display for ForgeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
        })
    }
}

/// How a repository on a host is spoken of.
#[derive(Debug)]
pub(super) struct Dialect {
    kind: ForgeKind,
    api: Url,
    repository: Vec<String>,
}

impl Dialect {
    pub(super) fn new(kind: ForgeKind, api: &str, repository: &str) -> Result<Self, ForgeError> {
        Ok(Self {
            kind,
            api: address(api)?,
            repository: parts(kind, repository)?,
        })
    }

    pub(super) fn host(&self) -> String {
        host(&self.api)
    }

    /// Returns the header with which the token is sent.
    pub(super) fn authorization(&self, token: &str) -> (&'static str, String) {
        match self.kind {
            ForgeKind::GitHub => ("authorization", format!("Bearer {token}")),
            ForgeKind::GitLab => ("private-token", token.to_owned()),
            ForgeKind::Gitea => ("authorization", format!("token {token}")),
        }
    }

    /// Returns what else is sent with each call.
    pub(super) fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self.kind {
            ForgeKind::GitHub => &[
                ("accept", "application/vnd.github+json"),
                ("x-github-api-version", "2022-11-28"),
            ],
            ForgeKind::GitLab | ForgeKind::Gitea => &[("accept", "application/json")],
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.api.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    pub(super) fn kind(&self) -> ForgeKind {
        self.kind
    }

    /// Returns an address inside the repository.
    pub(super) fn inside(&self, path: &[&str]) -> Url {
        let root = match self.kind {
            ForgeKind::GitHub | ForgeKind::Gitea => "repos",
            ForgeKind::GitLab => "projects",
        };
        let mut whole = vec![root];
        whole.extend(self.repository.iter().map(String::as_str));
        whole.extend(path);
        self.url(&whole)
    }

    pub(super) fn user(&self) -> Url {
        self.url(&["user"])
    }

    /// Returns how GitHub's interface of queries is asked who we are. None: there is none.
    pub(super) fn viewer(&self) -> Option<(Url, Json)> {
        match self.kind {
            ForgeKind::GitHub => {
                let mut url = self.url(&["graphql"]);
                // On a server of one's own the interfaces stand beside each other.
                if let Some(root) = url.path().strip_suffix("/v3/graphql") {
                    let beside = format!("{root}/graphql");
                    url.set_path(&beside);
                }
                Some((url, json!({ "query": "query { viewer { login } }" })))
            }
            ForgeKind::GitLab | ForgeKind::Gitea => None,
        }
    }

    /// Reads that answer. None: it does not tell.
    pub(super) fn read_viewer(&self, answer: &Answer) -> Option<String> {
        let login = login(self.kind, &answer.json["data"]["viewer"]);
        (!login.is_empty()).then_some(login)
    }

    pub(super) fn pull(&self, number: u64) -> Url {
        let number = number.to_string();
        match self.kind {
            ForgeKind::GitHub | ForgeKind::Gitea => self.inside(&["pulls", &number]),
            ForgeKind::GitLab => self.inside(&["merge_requests", &number]),
        }
    }

    pub(super) fn comments(&self, number: u64) -> Url {
        let number = number.to_string();
        match self.kind {
            ForgeKind::GitHub | ForgeKind::Gitea => self.inside(&["issues", &number, "comments"]),
            ForgeKind::GitLab => self.inside(&["merge_requests", &number, "notes"]),
        }
    }

    /// Whether comments come in pages. Gitea gives them all at once.
    pub(super) fn pages_comments(&self) -> bool {
        match self.kind {
            ForgeKind::GitHub | ForgeKind::GitLab => true,
            ForgeKind::Gitea => false,
        }
    }

    pub(super) fn comments_page(&self, number: u64, page: usize, size: usize) -> Url {
        let mut url = self.comments(number);
        if self.pages_comments() {
            url.query_pairs_mut()
                .append_pair("per_page", &size.to_string())
                .append_pair("page", &page.to_string());
        }
        if self.kind == ForgeKind::GitLab {
            // The oldest first, as the others have it.
            url.query_pairs_mut()
                .append_pair("sort", "asc")
                .append_pair("order_by", "created_at");
        }
        url
    }

    /// Returns how a comment is changed.
    pub(super) fn edit(&self, number: u64, comment: u64) -> (Method, Url) {
        let (number, comment) = (number.to_string(), comment.to_string());
        match self.kind {
            ForgeKind::GitHub | ForgeKind::Gitea => (
                Method::PATCH,
                self.inside(&["issues", "comments", &comment]),
            ),
            ForgeKind::GitLab => (
                Method::PUT,
                self.inside(&["merge_requests", &number, "notes", &comment]),
            ),
        }
    }

    /// Returns where the statuses of a commit are, the newest first.
    pub(super) fn statuses(&self, commit: &str, status: &CommitStatus, size: usize) -> Url {
        let size = size.to_string();
        match self.kind {
            ForgeKind::GitHub => {
                let mut url = self.inside(&["commits", commit, "statuses"]);
                url.query_pairs_mut().append_pair("per_page", &size);
                url
            }
            ForgeKind::Gitea => {
                let mut url = self.inside(&["commits", commit, "statuses"]);
                url.query_pairs_mut()
                    .append_pair("sort", "recentupdate")
                    .append_pair("limit", &size);
                url
            }
            ForgeKind::GitLab => {
                let mut url = self.inside(&["repository", "commits", commit, "statuses"]);
                url.query_pairs_mut().append_pair("name", &status.context);
                url
            }
        }
    }

    pub(super) fn set_status(&self, commit: &str) -> Url {
        self.inside(&["statuses", commit])
    }

    fn word(&self, state: StatusState) -> &'static str {
        match (self.kind, state) {
            (_, StatusState::Success) => "success",
            (ForgeKind::GitHub | ForgeKind::Gitea, StatusState::Failure) => "failure",
            (ForgeKind::GitLab, StatusState::Failure) => "failed",
        }
    }

    pub(super) fn status(&self, status: &CommitStatus) -> Json {
        let (state, description) = self.status_line(status);
        json!({ "state": state, "context": status.context, "description": description })
    }

    /// Returns word and description of a status, as the host has them.
    pub(super) fn status_line(&self, status: &CommitStatus) -> (String, String) {
        let description = status.description.chars().take(DESCRIPTION_MAX);
        (self.word(status.state).to_owned(), description.collect())
    }

    /// Returns word and description of the newest status of the same name.
    pub(super) fn read_latest_status(
        &self,
        answer: &Answer,
        like: &CommitStatus,
    ) -> Result<Option<(String, String)>, ForgeError> {
        let (name, word) = match self.kind {
            ForgeKind::GitHub => ("context", "state"),
            ForgeKind::Gitea => ("context", "status"),
            ForgeKind::GitLab => ("name", "status"),
        };
        let list = answer.json.as_array();
        let list = list.ok_or_else(|| answer.unexpected("a list of statuses"))?;
        let latest = list
            .iter()
            .find(|status| text(status, name) == like.context);
        Ok(latest.map(|latest| (text(latest, word), text(latest, "description"))))
    }

    pub(super) fn read_pull(&self, answer: &Answer) -> Result<PullRequest, ForgeError> {
        let pull = &answer.json;
        let (head, base) = match self.kind {
            ForgeKind::GitHub | ForgeKind::Gitea => (&pull["head"]["sha"], &pull["base"]["sha"]),
            ForgeKind::GitLab => (&pull["sha"], &pull["diff_refs"]["start_sha"]),
        };
        let commit = |value: &Json| {
            let text = value.as_str().unwrap_or_default();
            let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            (text.len() == 40 && hexadecimal)
                .then(|| text.to_owned())
                .ok_or_else(|| answer.unexpected("a pull request with its two commits"))
        };
        let state = text(pull, "state");
        Ok(PullRequest {
            head: commit(head)?,
            base: commit(base)?,
            open: matches!(state.as_str(), "open" | "opened" | "locked"),
        })
    }

    pub(super) fn read_comments(&self, answer: &Answer) -> Result<Vec<Comment>, ForgeError> {
        let list = answer.json.as_array();
        let list = list.ok_or_else(|| answer.unexpected("a list of comments"))?;
        let read = |comment: &Json| {
            let author = match self.kind {
                ForgeKind::GitHub | ForgeKind::Gitea => &comment["user"],
                ForgeKind::GitLab => &comment["author"],
            };
            let id = comment["id"].as_u64();
            Ok(Comment {
                id: id.ok_or_else(|| answer.unexpected("comments with their ids"))?,
                body: text(comment, "body"),
                bot: text(author, "type") == "Bot",
                author: login(self.kind, author),
            })
        };
        list.iter().map(read).collect()
    }

    pub(super) fn read_login(&self, answer: &Answer) -> Result<String, ForgeError> {
        let login = login(self.kind, &answer.json);
        if login.is_empty() {
            return Err(answer.unexpected("a user"));
        }
        Ok(login)
    }

    /// Whether a comment was written by us. Some of the tokens that hosts give to their own runners cannot ask who
    /// they are; what they write is by a program's account, which no person can write with.
    pub(super) fn is_ours(&self, comment: &Comment, me: Option<&str>) -> bool {
        match (me, self.kind) {
            (Some(me), _) => comment.author == me,
            (None, ForgeKind::GitHub) => comment.bot,
            (None, ForgeKind::Gitea) => {
                ["gitea-actions", "forgejo-actions"].contains(&comment.author.as_str())
            }
            (None, ForgeKind::GitLab) => false,
        }
    }
}

/// Checks the address of an interface: encrypted, except to this machine.
fn address(api: &str) -> Result<Url, ForgeError> {
    let wrong = |why: &str| ForgeError::Address {
        api: api.to_owned(),
        why: why.to_owned(),
    };
    let url = Url::parse(api).map_err(|error| wrong(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ForgeError::Address {
            api: "https://[redacted]".to_owned(),
            why: "the token is not a part of it".to_owned(),
        });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it ends with its path"));
    }
    let here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    match url.scheme() {
        "https" => Ok(url),
        "http" if here => Ok(url),
        "http" => Err(wrong("a token is sent over https only")),
        _ => Err(wrong("it begins with https://")),
    }
}

/// Returns the path segments that name a repository.
fn parts(kind: ForgeKind, repository: &str) -> Result<Vec<String>, ForgeError> {
    let wrong = |wanted| ForgeError::Repository {
        repository: repository.to_owned(),
        wanted,
    };
    let names: Vec<&str> = repository.split('/').collect();
    let fine = |name: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !name.is_empty() && !matches!(*name, "." | "..") && name.chars().all(plain)
    };
    let all = names.iter().all(fine);
    match kind {
        ForgeKind::GitHub | ForgeKind::Gitea if all && names.len() == 2 => {
            Ok(names.into_iter().map(str::to_owned).collect())
        }
        ForgeKind::GitHub | ForgeKind::Gitea => Err(wrong("it looks like `owner/name`")),
        // One segment, in which the slashes are escaped.
        ForgeKind::GitLab if all => Ok(vec![repository.to_owned()]),
        ForgeKind::GitLab => Err(wrong(
            "it looks like `group/name`, or is the project's number",
        )),
    }
}

pub(super) fn login(kind: ForgeKind, user: &Json) -> String {
    match kind {
        ForgeKind::GitHub | ForgeKind::Gitea => text(user, "login"),
        ForgeKind::GitLab => text(user, "username"),
    }
}

pub(super) fn text(value: &Json, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}
