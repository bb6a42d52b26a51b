//! Who reviewed what was merged, and of which commit: by GitHub's pulls of a commit and reviews of a pull request,
//! GitLab's merge requests of a commit, approvals and versions, and Gitea's pull of a commit and reviews.

use drover_model::Timestamp;
use reqwest::{Method, Url};
use serde_json::Value as Json;

use super::dialect::{Dialect, ForgeKind, login, text};
use super::http::Answer;
use super::{Forge, ForgeError, PAGES_MAX};

/// Reviews are asked for in pages of this many, the most that hosts give as they are set up. A host may give fewer: a
/// short page is not the last one.
const PAGE: usize = 50;

/// A pull request that was merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MergedPull {
    pub(crate) number: u64,
    /// The login of who opened it.
    pub(crate) author: String,
    /// The branch that it was merged into.
    pub(crate) target: String,
    /// The newest commit that it proposed.
    pub(crate) head: String,
    /// The reference under which the host keeps that commit.
    pub(crate) reference: String,
}

/// What a reviewer said last of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Review {
    pub(crate) login: String,
    pub(crate) verdict: ReviewVerdict,
    /// The commit that was reviewed.
    pub(crate) commit: String,
    pub(crate) at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReviewVerdict {
    Approve,
    /// Changes are asked for.
    Reject,
}

impl Forge {
    /// Returns the pull requests that a commit came with, if they are merged.
    pub(crate) fn merged_pulls(&self, commit: &str) -> Result<Vec<MergedPull>, ForgeError> {
        let url = self.dialect.pulls_of(commit);
        let answer = self.patiently(|| match self.http.call(&Method::GET, &url, None) {
            Ok(answer) => Ok(Some(answer)),
            // Gitea says so of a commit that came with none, the others of one that they do not know.
            Err(ForgeError::Refused {
                status: 404 | 422, ..
            }) => Ok(None),
            Err(error) => Err(error),
        })?;
        answer.map_or_else(
            || Ok(Vec::new()),
            |answer| self.dialect.read_merged(&answer),
        )
    }

    /// Returns the latest word of each reviewer of a pull request.
    pub(crate) fn reviews(&self, pull: &MergedPull) -> Result<Vec<Review>, ForgeError> {
        let mut all = Vec::new();
        if self.dialect.kind() == ForgeKind::GitLab {
            let [approvals, versions] = self.dialect.approvals(pull.number);
            let get = |url: &Url| self.patiently(|| self.http.call(&Method::GET, url, None));
            return Dialect::read_approvals(&get(&approvals)?, &get(&versions)?, pull);
        }
        let mut last = None;
        for page in 1..=PAGES_MAX {
            let url = self.dialect.reviews_page(pull.number, page, PAGE);
            let answer = self.patiently(|| self.http.call(&Method::GET, &url, None))?;
            let list = answer.json.as_array();
            let list = list.ok_or_else(|| answer.unexpected("a list of reviews"))?;
            if list.is_empty() {
                return Ok(latest(&all));
            }
            all.extend(list.iter().cloned());
            last = Some(answer);
        }
        // The word that counts may be behind them.
        match last {
            Some(answer) => Err(answer.unexpected("reviews that come to an end")),
            None => Ok(Vec::new()),
        }
    }
}

/// Keeps the last word of each reviewer, the oldest review first in `all`. A comment takes nothing back; a dismissed
/// review does.
fn latest(all: &[Json]) -> Vec<Review> {
    let mut latest: Vec<(String, Option<Review>)> = Vec::new();
    for review in all {
        let login = text(&review["user"], "login");
        let dismissed = review["dismissed"].as_bool().unwrap_or(false);
        let verdict = match text(review, "state").as_str() {
            "APPROVED" if !dismissed => Some(ReviewVerdict::Approve),
            "CHANGES_REQUESTED" | "REQUEST_CHANGES" if !dismissed => Some(ReviewVerdict::Reject),
            "APPROVED" | "CHANGES_REQUESTED" | "REQUEST_CHANGES" | "DISMISSED" => None,
            // A comment, one that is not sent yet, or a request for one.
            _ => continue,
        };
        let said = verdict.and_then(|verdict| {
            Some(Review {
                login: login.clone(),
                verdict,
                commit: text(review, "commit_id"),
                at: text(review, "submitted_at").parse().ok()?,
            })
        });
        latest.retain(|(known, _)| *known != login);
        latest.push((login, said));
    }
    latest.into_iter().filter_map(|(_, said)| said).collect()
}

impl Dialect {
    fn pulls_of(&self, commit: &str) -> Url {
        match self.kind() {
            ForgeKind::GitHub => self.inside(&["commits", commit, "pulls"]),
            ForgeKind::Gitea => self.inside(&["commits", commit, "pull"]),
            ForgeKind::GitLab => self.inside(&["repository", "commits", commit, "merge_requests"]),
        }
    }

    fn reviews_page(&self, number: u64, page: usize, size: usize) -> Url {
        let mut url = self.inside(&["pulls", &number.to_string(), "reviews"]);
        let size_name = match self.kind() {
            ForgeKind::GitHub | ForgeKind::GitLab => "per_page",
            ForgeKind::Gitea => "limit",
        };
        url.query_pairs_mut()
            .append_pair(size_name, &size.to_string())
            .append_pair("page", &page.to_string());
        url
    }

    fn approvals(&self, number: u64) -> [Url; 2] {
        let number = number.to_string();
        ["approvals", "versions"].map(|what| self.inside(&["merge_requests", &number, what]))
    }

    fn read_merged(&self, answer: &Answer) -> Result<Vec<MergedPull>, ForgeError> {
        let list = match &answer.json {
            Json::Array(list) => list.as_slice(),
            one @ Json::Object(_) => std::slice::from_ref(one),
            _ => return Err(answer.unexpected("pull requests")),
        };
        let merged = |pull: &&Json| match self.kind() {
            ForgeKind::GitHub => pull["merged_at"].is_string(),
            ForgeKind::Gitea => pull["merged"].as_bool().unwrap_or(false),
            ForgeKind::GitLab => text(pull, "state") == "merged",
        };
        let read = |pull: &Json| {
            let (number, author, target, head, kept) = match self.kind() {
                ForgeKind::GitHub | ForgeKind::Gitea => (
                    &pull["number"],
                    &pull["user"],
                    &pull["base"]["ref"],
                    &pull["head"]["sha"],
                    "pull",
                ),
                ForgeKind::GitLab => (
                    &pull["iid"],
                    &pull["author"],
                    &pull["target_branch"],
                    &pull["sha"],
                    "merge-requests",
                ),
            };
            let number = number.as_u64();
            let number = number.ok_or_else(|| answer.unexpected("pull requests with numbers"))?;
            let words = |value: &Json| value.as_str().unwrap_or_default().to_owned();
            Ok(MergedPull {
                number,
                author: login(self.kind(), author),
                target: words(target),
                head: words(head),
                reference: format!("refs/{kept}/{number}/head"),
            })
        };
        list.iter().filter(merged).map(read).collect()
    }

    /// Reads GitLab's approvals, which do not say of which commit: they are of the newest version where they were given
    /// after that was pushed. Of those without a time, which older GitLabs give, nobody knows.
    fn read_approvals(
        approvals: &Answer,
        versions: &Answer,
        pull: &MergedPull,
    ) -> Result<Vec<Review>, ForgeError> {
        let list = approvals.json["approved_by"].as_array();
        let list = list.ok_or_else(|| approvals.unexpected("approvals"))?;
        let all = versions.json.as_array();
        let all = all.ok_or_else(|| versions.unexpected("versions"))?;
        let pushed = all.iter().filter_map(|version| {
            let at: Timestamp = text(version, "created_at").parse().ok()?;
            Some((at, text(version, "head_commit_sha")))
        });
        let Some((pushed, head)) = pushed.max_by_key(|(at, _)| *at) else {
            return Ok(Vec::new());
        };
        if head != pull.head {
            return Ok(Vec::new());
        }
        let read = |approval: &Json| {
            let at: Timestamp = text(approval, "approved_at").parse().ok()?;
            (at >= pushed).then(|| Review {
                login: login(ForgeKind::GitLab, &approval["user"]),
                verdict: ReviewVerdict::Approve,
                commit: head.clone(),
                at,
            })
        };
        Ok(list.iter().filter_map(read).collect())
    }
}
