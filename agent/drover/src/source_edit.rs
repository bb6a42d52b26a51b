//! Edits of the source branch, as a person would make them: on the branch's tip, in memory, comments
//! kept, checked before they are committed, pushed without force, repeated when somebody was faster.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use drover_git::{CommitKey, CommitMeta, Edit, Mirror, Oid, PushOutcome, Signature};
use drover_loop::{GitSource, SourcePlace, Verification, chain};
use drover_model::{Group, GroupName, Kind, Revision, Timestamp};
use drover_spec::Document;

use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::identity;

#[cfg(test)]
mod tests;

/// How often somebody else may be faster before the person is told: enough for a dozen people who
/// press the key at once.
const ATTEMPTS_MAX: u32 = 12;

/// The longest pause before the second attempt; it grows by as much with each.
const PAUSE_MS: u64 = 25;

/// Where to edit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The repository.
    pub(crate) mirror: &'a Arc<Mirror>,
    /// The branch.
    pub(crate) branch: &'a str,
    /// The folder inside the repository, empty for its root.
    pub(crate) path: &'a str,
}

/// What became of an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edited {
    /// The branch says that already.
    Unchanged,
    /// It would be this.
    DryRun {
        /// A unified diff.
        diff: String,
    },
    /// It is on the branch.
    Committed {
        /// The commit.
        commit: Oid,
        /// The file.
        path: String,
    },
    /// It is on a branch of its own.
    Beside {
        /// The commit.
        commit: Oid,
        /// The file.
        path: String,
        /// That branch.
        branch: String,
    },
}

/// Whether to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Commit and push.
    Write,
    /// Commit, and push to a branch of its own, whose name begins like this.
    Beside(String),
    /// Show the difference only.
    DryRun,
}

/// How an edit is committed.
#[derive(Debug, Clone)]
pub(crate) struct Author<'a> {
    /// The commit's message.
    pub(crate) message: &'a str,
    /// Who signs it. None: nobody.
    pub(crate) signer: Option<Arc<CommitKey>>,
    /// What its signature has to stand before it is pushed. None: nothing.
    pub(crate) asked: Option<Signatures>,
}

/// Which signatures the agent asks for.
#[derive(Debug, Clone)]
pub(crate) struct Signatures {
    /// Whose.
    pub(crate) verification: Verification,
    /// What the agent acts on.
    pub(crate) in_force: Option<Revision>,
}

impl Signatures {
    /// Refuses a commit that the agent would not act on, and one on top of such a commit: it would bring that one into
    /// force.
    fn check(
        &self,
        target: Target<'_>,
        tip: Oid,
        edits: &[Edit],
        meta: &CommitMeta,
    ) -> CommandResult<()> {
        let place = SourcePlace {
            branch: target.branch.to_owned(),
            path: target.path.to_owned(),
        };
        let source = GitSource::new(Arc::clone(target.mirror), place);
        let source = source.verifying(Some(self.verification.clone()));
        let counts = |commit| source.would_verify(commit, self.in_force.as_ref());
        if let Err(error) = counts(tip) {
            let branch = target.branch;
            return Err(CommandError::new(format!(
                "the agent does not act on what branch {branch} has, and nothing is put on top of that: {}",
                chain(&error)
            )));
        }
        let attempted = "cannot make the commit";
        let built = target.mirror.build_commit(Some(tip), edits, meta);
        let Some(commit) = built.context(attempted)? else {
            return Ok(());
        };
        counts(commit).map_err(|error| {
            CommandError::new(format!(
                "`source.verify` asks for a signature that this change would not have: {}",
                chain(&error)
            ))
        })
    }
}

/// Edits the file that holds `group`; `edit` gets the file's text and returns the new one.
///
/// # Errors
///
/// No such group, an edit that does not fit the file, a result that is not valid, a branch that
/// refuses the push or moves every time.
pub(crate) fn edit_group(
    target: Target<'_>,
    group: &GroupName,
    author: &Author<'_>,
    mode: &Mode,
    edit: &dyn Fn(&str) -> CommandResult<String>,
) -> CommandResult<Edited> {
    change_branch(target, author, mode, &|documents| {
        let (file, before) = file_of(documents, group, target.branch)?;
        let after = edit(&before)?;
        if after == before {
            return Ok(None);
        }
        check(&file, &after)?;
        Ok(Some(FileChange {
            file,
            before,
            after: Some(after),
        }))
    })
}

/// Makes the commit of an edit of the file that holds `group`, and leaves the branch where it is. Returns the branch's
/// tip and the commit; none, where the edit changes nothing.
///
/// # Errors
///
/// As with [`edit_group`].
pub(crate) fn proposed(
    target: Target<'_>,
    group: &GroupName,
    author: &Author<'_>,
    edit: &dyn Fn(&str) -> CommandResult<String>,
) -> CommandResult<Option<(Oid, Oid)>> {
    let tip = tip(target)?;
    let documents = Documents::from_commit(target.mirror, tip, target.path)?;
    let (file, before) = file_of(&documents, group, target.branch)?;
    let after = edit(&before)?;
    if after == before {
        return Ok(None);
    }
    check(&file, &after)?;
    let edits = [Edit::put(
        in_repository(target, file).as_str(),
        after.as_str(),
    )];
    let built = target
        .mirror
        .build_commit(Some(tip), &edits, &author.meta())
        .context("cannot make the commit")?;
    Ok(built.map(|commit| (tip, commit)))
}

/// Adds the document of a group that there is not, as a file of its own.
///
/// # Errors
///
/// As with [`edit_group`]; and a group or a file of that name that there is.
pub(crate) fn add_group(
    target: Target<'_>,
    group: &GroupName,
    text: &str,
    author: &Author<'_>,
    mode: &Mode,
) -> CommandResult<Edited> {
    let file = format!("groups/{group}.yaml");
    change_branch(target, author, mode, &|documents| {
        if documents.repository.groups.contains_key(group) {
            let message = format!("branch {} has a group {group} already", target.branch);
            return Err(CommandError::new(message));
        }
        if documents.texts.contains_key(&file) {
            let message = format!("branch {} has a file {file} already", target.branch);
            return Err(CommandError::new(message));
        }
        check(&file, text)?;
        Ok(Some(FileChange {
            file: file.clone(),
            before: String::new(),
            after: Some(text.to_owned()),
        }))
    })
}

/// Takes the document of `group` out of its file, and the file out of the branch when nothing is left in it.
///
/// # Errors
///
/// As with [`edit_group`].
pub(crate) fn remove_group(
    target: Target<'_>,
    group: &GroupName,
    author: &Author<'_>,
    mode: &Mode,
) -> CommandResult<Edited> {
    change_branch(target, author, mode, &|documents| {
        let (file, before) = file_of(documents, group, target.branch)?;
        let after = drover_spec::edit::remove_group(&before, group).map_err(|error| {
            CommandError::new("cannot make the change")
                .because(error)
                .hint("make it by hand: nothing was written")
        })?;
        Ok(Some(FileChange {
            file,
            before,
            after,
        }))
    })
}

impl Author<'_> {
    fn meta(&self) -> CommitMeta {
        CommitMeta {
            message: self.message.to_owned(),
            author: identity::user(),
            time: Timestamp::now(),
            signer: self.signer.clone(),
        }
    }
}

/// Returns the path of a file of the target, in the repository.
fn in_repository(target: Target<'_>, file: String) -> String {
    match target.path.trim_matches('/') {
        "" => file,
        root => format!("{root}/{file}"),
    }
}

/// A change of one file.
struct FileChange {
    file: String,
    /// Its text; empty, where it is new.
    before: String,
    /// Its text from then on. None: it goes.
    after: Option<String>,
}

/// Changes one file of the branch; `change` sees what is there, and says how. None: it is so already.
fn change_branch(
    target: Target<'_>,
    author: &Author<'_>,
    mode: &Mode,
    change: &dyn Fn(&Documents) -> CommandResult<Option<FileChange>>,
) -> CommandResult<Edited> {
    for attempt in 0..u64::from(ATTEMPTS_MAX) {
        if attempt > 0 {
            // At random, so that those who collided do not collide again.
            let pause = crate::agent::random() % (PAUSE_MS * attempt);
            std::thread::sleep(Duration::from_millis(pause));
        }
        let tip = tip(target)?;
        let documents = Documents::from_commit(target.mirror, tip, target.path)?;
        let Some(change) = change(&documents)? else {
            return Ok(Edited::Unchanged);
        };
        let FileChange {
            file,
            before,
            after,
        } = change;
        let path = in_repository(target, file);
        let put = match &after {
            Some(after) => Edit::put(path.as_str(), after.as_str()),
            None => Edit::remove(path.as_str()),
        };
        let edits = [put];
        let meta = author.meta();
        if let Some(asked) = &author.asked {
            asked.check(target, tip, &edits, &meta)?;
        }
        if *mode == Mode::DryRun {
            let diff = unified_diff(&path, &before, after.as_deref().unwrap_or_default());
            return Ok(Edited::DryRun { diff });
        }
        if let Mode::Beside(name) = mode {
            let (branch, commit) = commit_beside(target, tip, &edits, &meta, name)?;
            return Ok(Edited::Beside {
                commit,
                path,
                branch,
            });
        }
        if let Some(commit) = commit_with(target, tip, &edits, &meta)? {
            return Ok(Edited::Committed { commit, path });
        }
    }
    Err(CommandError::new(format!(
        "branch {} moved {ATTEMPTS_MAX} times while the change was made",
        target.branch
    ))
    .exit(Exit::Stale)
    .hint("somebody is pushing a lot; try again"))
}

/// Returns the branch's tip, fetched.
pub(crate) fn tip(target: Target<'_>) -> CommandResult<Oid> {
    let attempted = || format!("cannot read branch {}", target.branch);
    let refs = target.mirror.list().context(attempted())?;
    let tip = refs.require(target.branch).context(attempted())?;
    let name = refs
        .full_name(target.branch)
        .unwrap_or_else(|| target.branch.to_owned());
    target.mirror.fetch(&[(&name, tip)]).context(attempted())?;
    Ok(tip)
}

/// Commits `edits` on `tip` and moves the branch; none when somebody was faster.
pub(crate) fn commit_on(
    target: Target<'_>,
    tip: Oid,
    edits: &[Edit],
    message: &str,
    author: Signature,
) -> CommandResult<Option<Oid>> {
    let meta = CommitMeta {
        message: message.to_owned(),
        author,
        time: Timestamp::now(),
        signer: None,
    };
    commit_with(target, tip, edits, &meta)
}

/// Commits `edits` on `tip`, and pushes that to a branch of its own: the target stays where it is.
fn commit_beside(
    target: Target<'_>,
    tip: Oid,
    edits: &[Edit],
    meta: &CommitMeta,
    name: &str,
) -> CommandResult<(String, Oid)> {
    let built = target.mirror.build_commit(Some(tip), edits, meta);
    let commit = built.context("cannot make the commit")?.unwrap_or(tip);
    // By the commit, so that nobody else has it.
    let branch = format!("{name}-{}", commit.short());
    let attempted = || format!("cannot push branch {branch}");
    let reference = format!("refs/heads/{branch}");
    let outcome = target.mirror.update(&reference, None, commit);
    match outcome.context(attempted())? {
        PushOutcome::Done => Ok((branch, commit)),
        PushOutcome::Moved { .. } => {
            Err(CommandError::new(attempted()).because("it exists already"))
        }
        PushOutcome::Refused { message } => Err(CommandError::new(attempted()).because(message)),
    }
}

fn commit_with(
    target: Target<'_>,
    tip: Oid,
    edits: &[Edit],
    meta: &CommitMeta,
) -> CommandResult<Option<Oid>> {
    let attempted = || format!("cannot commit to branch {}", target.branch);
    let commit = target
        .mirror
        .build_commit(Some(tip), edits, meta)
        .context(attempted())?;
    let Some(commit) = commit else {
        return Ok(Some(tip));
    };
    let outcome = target
        .mirror
        .update(target.branch, Some(tip), commit)
        .context(attempted())?;
    match outcome {
        PushOutcome::Done => Ok(Some(commit)),
        PushOutcome::Moved { .. } => Ok(None),
        PushOutcome::Refused { message } => Err(CommandError::new(attempted())
            .because(message)
            .hint("where the branch is protected, --pr commits to a branch of its own")),
    }
}

/// Returns the document of a group on the branch's tip. None: there is none.
///
/// # Errors
///
/// One that is not valid, a branch that cannot be read.
pub(crate) fn group_on(target: Target<'_>, group: &GroupName) -> CommandResult<Option<Arc<Group>>> {
    let tip = tip(target)?;
    let documents = Documents::from_commit(target.mirror, tip, target.path)?;
    if let Some(found) = documents.repository.groups.get(group) {
        return Ok(Some(Arc::clone(&found.value)));
    }
    if is_broken(&documents, group) {
        return Err(invalid(group, target.branch));
    }
    Ok(None)
}

fn is_broken(documents: &Documents, group: &GroupName) -> bool {
    let is_it = |(kind, name): &(Kind, String)| *kind == Kind::Group && name == group.as_str();
    let mut broken = documents.repository.broken.iter();
    broken.any(|broken| broken.identity.as_ref().is_some_and(is_it))
}

fn invalid(group: &GroupName, branch: &str) -> CommandError {
    CommandError::new(format!("group {group} on branch {branch} is not valid"))
        .hint("see `drover validate`, and mend it by hand")
}

/// Returns path and text of the file that holds the group's document.
fn file_of(
    documents: &Documents,
    group: &GroupName,
    branch: &str,
) -> CommandResult<(String, String)> {
    let located = documents.repository.groups.get(group);
    let found = located.and_then(|located| {
        let text = documents.texts.get(&located.path)?;
        Some((located.path.clone(), text.clone()))
    });
    found.ok_or_else(|| {
        if is_broken(documents, group) {
            invalid(group, branch)
        } else {
            let names: Vec<&str> = documents
                .repository
                .groups
                .keys()
                .map(GroupName::as_str)
                .collect();
            let error = CommandError::new(format!("branch {branch} has no group {group}"));
            match names.as_slice() {
                [] => error,
                names => error.hint(format!("it has {}", names.join(", "))),
            }
        }
    })
}

/// Refuses a result that is worse than what was there.
fn check(path: &str, text: &str) -> CommandResult<()> {
    let parsed = drover_spec::parse_file(path, text.as_bytes());
    let documents = parsed.documents.iter();
    let mistakes: Vec<_> = parsed
        .diagnostics
        .iter()
        .chain(documents.flat_map(|document| &document.diagnostics))
        .filter(|diagnostic| diagnostic.is_error())
        .cloned()
        .collect();
    let has_group = parsed
        .documents
        .iter()
        .any(|document| matches!(document.outcome, Some(Document::Group(_))));
    if mistakes.is_empty() && has_group {
        return Ok(());
    }
    let source = |_: &str| Some(text.to_owned());
    let rendered = drover_spec::render(&mistakes, &source, false);
    Err(CommandError::new(format!("the change would make {path} invalid")).because(rendered))
}

/// Returns the lines that differ, with three lines around them, as `diff -u` writes it.
///
/// An edit touches one place of a file, so one hunk from the first to the last difference is exact.
pub(crate) fn unified_diff(path: &str, old: &str, new: &str) -> String {
    const AROUND: usize = 3;
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let same_before = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - same_before;
    let same_after = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(rest)
        .take_while(|(a, b)| a == b)
        .count();
    let start = same_before.saturating_sub(AROUND);
    let end_old = (old.len() - same_after + AROUND).min(old.len());
    let end_new = (new.len() - same_after + AROUND).min(new.len());
    let mut text = format!("--- a/{path}\n+++ b/{path}\n");
    let _ = writeln!(
        text,
        "@@ -{},{} +{},{} @@",
        start + 1,
        end_old - start,
        start + 1,
        end_new - start
    );
    let mut lines = |sign: char, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(text, "{sign}{line}");
        }
    };
    lines(' ', &old[start..same_before]);
    lines('-', &old[same_before..old.len() - same_after]);
    lines('+', &new[same_before..new.len() - same_after]);
    lines(' ', &old[old.len() - same_after..end_old]);
    text
}
