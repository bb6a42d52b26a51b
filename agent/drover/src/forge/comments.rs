//! The one comment that we keep below a pull request, with other jobs that keep the same one.

use reqwest::Method;
use serde_json::json;

use super::{Comment, Forge, ForgeError, Kept, PAGE, PAGES_MAX};

/// What our comment on a pull request shall say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    /// The pull request.
    pub(crate) number: u64,
    /// The commit that it is said of: of another one, another job speaks.
    pub(crate) head: &'a str,
    /// How our comment begins.
    pub(crate) marker: &'a str,
    /// All of it.
    pub(crate) body: &'a str,
    /// Whether none is created.
    pub(crate) only_edit: bool,
}

impl Forge {
    /// Makes our comment on a pull request say this: it is created once, and edited afterwards. Directly before it is
    /// written, the pull request is looked at again: the job of an older commit must not undo what a newer one's said.
    pub(crate) fn keep_comment(&self, said: Said<'_>) -> Result<Kept, ForgeError> {
        let mut created = None;
        // Repeated as a whole: whether a lost answer created a comment, the next look at them tells.
        self.patiently(|| {
            let mut ours = self.our_comment(said)?;
            if ours.is_none() && created.is_none() {
                if said.only_edit {
                    return Ok(Kept::Absent);
                }
                if !self.is_current(said)? {
                    return Ok(Kept::Left);
                }
                let url = self.dialect.comments(said.number);
                let body = json!({ "body": said.body });
                let answer = self.http.call(&Method::POST, &url, Some(&body))?;
                created = answer.json["id"].as_u64();
                // Two jobs that both saw none have made two: the older one stays.
                ours = self.our_comment(said)?;
            }
            let Some(ours) = ours else {
                return Ok(Kept::Created);
            };
            let kept = self.edit_comment(said, &ours)?;
            match created {
                Some(id) if id != ours.id => {
                    self.remove_comment(said.number, id)?;
                    Ok(kept)
                }
                Some(_) => Ok(Kept::Created),
                None => Ok(kept),
            }
        })
    }

    fn edit_comment(&self, said: Said<'_>, ours: &Comment) -> Result<Kept, ForgeError> {
        // Hosts change line ends and drop what is white at the end.
        if same_text(&ours.body, said.body) {
            return Ok(Kept::Unchanged);
        }
        if !self.is_current(said)? {
            return Ok(Kept::Left);
        }
        let (method, url) = self.dialect.edit(said.number, ours.id);
        let body = json!({ "body": said.body });
        self.http.call(&method, &url, Some(&body))?;
        Ok(Kept::Changed)
    }

    /// Takes back a comment that we have just written. Where the host does not let us, it stays.
    fn remove_comment(&self, number: u64, id: u64) -> Result<(), ForgeError> {
        let (_, url) = self.dialect.edit(number, id);
        match self.http.call(&Method::DELETE, &url, None) {
            Ok(_) | Err(ForgeError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the pull request is still open, and at the commit that is spoken of.
    fn is_current(&self, said: Said<'_>) -> Result<bool, ForgeError> {
        let answer = self
            .http
            .call(&Method::GET, &self.dialect.pull(said.number), None)?;
        let pull = self.dialect.read_pull(&answer)?;
        Ok(pull.open && pull.head == said.head)
    }

    /// Returns the oldest comment that carries the marker and is ours. Anybody may write a comment with a marker, and
    /// change it again after we edited it: such a one is not ours.
    fn our_comment(&self, said: Said<'_>) -> Result<Option<Comment>, ForgeError> {
        let me = self.me()?;
        for page in 1..=PAGES_MAX {
            let url = self.dialect.comments_page(said.number, page, PAGE);
            let answer = self.http.call(&Method::GET, &url, None)?;
            let comments = self.dialect.read_comments(&answer)?;
            let last = comments.is_empty() || !self.dialect.pages_comments();
            let ours = comments.into_iter().find(|comment| {
                comment.body.starts_with(said.marker)
                    && self.dialect.is_ours(comment, me.as_deref())
            });
            if ours.is_some() || last {
                return Ok(ours);
            }
        }
        Ok(None)
    }
}

pub(super) fn same_text(a: &str, b: &str) -> bool {
    a.trim_end().lines().eq(b.trim_end().lines())
}
