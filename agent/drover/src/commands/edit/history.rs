//! What a group's document was before: where a rollback finds the template that it goes back to.

use drover_git::Oid;
use drover_model::{
    Digests, GroupName, GroupSpec, PauseCause, RecordedGroup, RolloutState, Template,
};
use drover_spec::record;

use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::snapshot::{GROUPS_FOLDER, Repository};
use crate::source_edit::{self, Target};

/// Changes of the file that are looked through, the newest first: years of releases.
const CHANGES_MAX: usize = 500;

/// Recorded states of the group that are looked through for what became of its templates, the newest first: a rollout
/// records some ten, and a state of 1,000 instances takes some milliseconds to read.
const RECORDS_MAX: usize = 500;

/// A file that the group's document stood in, as it was.
pub(super) struct Earlier {
    /// The commit that it is of.
    pub(super) commit: Oid,
    /// Its text.
    pub(super) text: String,
}

/// Returns the file with the group's document as it is in `reference`.
pub(super) fn template_of(
    target: Target<'_>,
    group: &GroupName,
    reference: &str,
) -> CommandResult<Earlier> {
    // What is named may be on the branch only.
    source_edit::tip(target)?;
    let commit = target.mirror.resolve(reference);
    let commit = commit.context(format!("cannot find {reference}"))?;
    match document(target, commit, group)? {
        Some((_, _, text)) => Ok(Earlier { commit, text }),
        None => Err(CommandError::new(format!(
            "{reference} has no group {group} that is valid"
        ))),
    }
}

/// Returns the file with the last good template, where it is known and another one than the document's; else with
/// the newest template before the one that the branch has that is not known to have failed.
pub(super) fn template_to_roll_back_to(
    target: Target<'_>,
    group: &GroupName,
    tried: &mut Tried<'_>,
) -> CommandResult<Earlier> {
    let tip = source_edit::tip(target)?;
    let Some((path, now, _)) = document(target, tip, group)? else {
        let missing = format!(
            "branch {} has no group {group} that is valid",
            target.branch
        );
        return Err(CommandError::new(missing).hint("see `drover validate`"));
    };
    let stable = tried.last_good().cloned();
    let good = stable
        .as_ref()
        .filter(|stable| !same(stable, &now.template));
    let attempted = || format!("cannot read the history of {path}");
    let log = target.mirror.log(tip, Some(&path), CHANGES_MAX);
    let mut failed = None;
    for change in log.context(attempted())? {
        let Some(commit) = change.parents.first().copied() else {
            break;
        };
        let Some((_, before, text)) = document(target, commit, group)? else {
            continue;
        };
        match good {
            Some(good) if same(&before.template, good) => return Ok(Earlier { commit, text }),
            None if !same(&before.template, &now.template) => {
                let Some(cause) = tried.why_it_failed(&before.template)? else {
                    return Ok(Earlier { commit, text });
                };
                failed.get_or_insert((commit, cause));
            }
            Some(_) | None => {}
        }
    }
    let error = match (good, failed) {
        (Some(_), _) => CommandError::new(format!(
            "the history of {path} does not have the last good template of group {group}"
        )),
        (None, Some((commit, cause))) => {
            let standing = if stable.is_some() {
                "the template in force is the last good one"
            } else {
                "no good template is known"
            };
            CommandError::new(format!(
                "group {group}: {standing}, and every other one in the history of {path} failed"
            ))
            .detail(format!("the one of {}: {cause}", commit.short()))
        }
        (None, None) => CommandError::new(format!(
            "the history of {path} does not have another template of group {group}"
        )),
    };
    Err(error.hint("name a commit with --to"))
}

/// What became of a group's templates, as its recorded state tells it: the newest word on each counts.
pub(super) struct Tried<'a> {
    repository: &'a Repository,
    group: &'a GroupName,
    /// The group as recorded last.
    now: Option<&'a RecordedGroup>,
    /// What was read so far, the newest first.
    read: Vec<(Template, Option<PauseCause>)>,
    /// Commits of the state branch that are to be read still, the oldest first. None: nobody asked so far.
    older: Option<Vec<Oid>>,
}

impl<'a> Tried<'a> {
    /// Begins with what is recorded now. None: nothing is.
    pub(super) fn new(
        repository: &'a Repository,
        group: &'a GroupName,
        now: Option<&'a RecordedGroup>,
    ) -> Self {
        Self {
            repository,
            group,
            now,
            read: now.map(outcomes).unwrap_or_default(),
            older: None,
        }
    }

    /// Returns the last template that a rollout completed with, where one is known.
    fn last_good(&self) -> Option<&'a Template> {
        let now = self.now?;
        now.templates.get(now.stable.as_ref()?)
    }

    /// Returns why the rollout to a template stopped. None: it did not, or nobody knows.
    fn why_it_failed(&mut self, template: &Template) -> CommandResult<Option<PauseCause>> {
        let mut from = 0;
        loop {
            let mut read = self.read.iter().skip(from);
            if let Some((_, cause)) = read.find(|(of, _)| same(of, template)) {
                return Ok(cause.clone());
            }
            from = self.read.len();
            if !self.read_on()? {
                return Ok(None);
            }
        }
    }

    /// Reads one more commit of the state branch. False: there is none.
    fn read_on(&mut self) -> CommandResult<bool> {
        let Repository { mirror, .. } = self.repository;
        let path = format!("{GROUPS_FOLDER}/{}.yaml", self.group);
        let attempted = || format!("cannot read branch {}", self.repository.state_branch);
        let older = if let Some(older) = &mut self.older {
            older
        } else {
            let log = match self.repository.state_tip()? {
                Some(tip) => mirror.log(tip, Some(&path), RECORDS_MAX),
                None => Ok(Vec::new()),
            };
            let log = log.context(attempted())?;
            self.older
                .insert(log.iter().rev().map(|commit| commit.id).collect())
        };
        let Some(commit) = older.pop() else {
            return Ok(false);
        };
        let file = mirror.recorded(commit, &path).context(attempted())?;
        // What another version wrote, or a group that is gone, tells nothing.
        let recorded =
            file.and_then(|(_, bytes)| record::decode(&String::from_utf8_lossy(&bytes)).ok());
        for (template, cause) in recorded.as_ref().map(outcomes).unwrap_or_default() {
            if !self.read.iter().any(|(of, _)| same(of, &template)) {
                self.read.push((template, cause));
            }
        }
        Ok(true)
    }
}

/// Returns the templates of which a recorded state says that they are bad, with why, or good.
fn outcomes(recorded: &RecordedGroup) -> Vec<(Template, Option<PauseCause>)> {
    let stopped = recorded
        .rollout
        .as_ref()
        .and_then(|rollout| match &rollout.state {
            RolloutState::Paused(cause) => Some((&rollout.target, Some(cause.clone()))),
            RolloutState::Progressing => None,
        });
    let quarantine = recorded.quarantine.as_ref();
    let quarantine = quarantine.map(|of| (&of.digests, Some(of.cause.clone())));
    let good = recorded.stable.as_ref().map(|digests| (digests, None));
    let of = |(digests, cause): (&Digests, Option<PauseCause>)| {
        let template = recorded.templates.get(digests)?;
        Some((template.clone(), cause))
    };
    let told = stopped.into_iter().chain(quarantine).chain(good);
    told.filter_map(of).collect()
}

/// Returns the path of the group's file in the repository, its specification and the text of the file. None: it is
/// not there, or not valid.
fn document(
    target: Target<'_>,
    commit: Oid,
    group: &GroupName,
) -> CommandResult<Option<(String, GroupSpec, String)>> {
    let documents = Documents::from_commit(target.mirror, commit, target.path)?;
    let found = documents.repository.groups.get(group).and_then(|located| {
        let text = documents.texts.get(&located.path)?.clone();
        let path = match target.path.trim_matches('/') {
            "" => located.path.clone(),
            root => format!("{root}/{}", located.path),
        };
        Some((path, located.value.spec.clone(), text))
    });
    Ok(found)
}

fn same(one: &Template, other: &Template) -> bool {
    one.properties == other.properties
        && one.flavors_as_written == other.flavors_as_written
        && one.tags == other.tags
}
