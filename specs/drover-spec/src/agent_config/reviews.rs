//! `reviews` of the agent's file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use drover_model::Signer;

use super::{absolute, path};
use crate::decode::Fields;

/// Whose reviews on the Git host count as approvals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewsConfig {
    /// Whose interface the host has.
    pub kind: ReviewsKind,
    /// Where its interface is.
    pub api: String,
    /// The repository, as the host calls it.
    pub repository: String,
    /// A file with a token that may read pull requests.
    pub token_file: PathBuf,
    /// A file with the authorities that sign the host's certificate. None: the system's.
    pub ca_file: Option<PathBuf>,
    /// Who counts: logins on the host, with what these people are called among the signers.
    pub reviewers: BTreeMap<String, Signer>,
}

/// Whose interface a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewsKind {
    /// GitHub's.
    GitHub,
    /// GitLab's.
    GitLab,
    /// Gitea's, and Forgejo's.
    Gitea,
}

pub(super) fn reviews(fields: &Fields<'_>) -> Option<ReviewsConfig> {
    let there = fields.has("reviews");
    let fields = fields.object("reviews");
    let (kind, usual) = match fields.word("type") {
        "gitlab" => (ReviewsKind::GitLab, Some("https://gitlab.com/api/v4")),
        "gitea" => (ReviewsKind::Gitea, None),
        _ => (ReviewsKind::GitHub, Some("https://api.github.com")),
    };
    let api = fields.text("api").or_else(|| usual.map(str::to_owned));
    if let (None, true, Some(entry)) = (&api, there, fields.get("type").1) {
        fields.bad(entry, "has no address that is known: write `api`");
    }
    let repository = fields.text("repository");
    let token_file = absolute(&fields, "tokenFile");
    let ca_file = path(&fields, "caFile");
    let check = |_: &str, name: &str| {
        let signer = Signer::parse(name);
        signer
            .map(drop)
            .map_err(|error| format!("{name:?} {error}"))
    };
    let reviewers = fields.text_map("reviewers", check).into_iter();
    let reviewers = reviewers.filter_map(|(login, name)| Some((login, Signer::parse(&name).ok()?)));
    let reviewers = reviewers.collect();
    if !there {
        return None;
    }
    Some(ReviewsConfig {
        kind,
        api: api?,
        repository: repository?,
        token_file: token_file?,
        ca_file,
        reviewers,
    })
}
