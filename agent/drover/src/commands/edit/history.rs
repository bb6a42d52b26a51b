//! What a group's document was before: where a rollback finds the template that it goes back to.

use drover_git::Oid;
use drover_model::{GroupName, GroupSpec, RecordedGroup, Template};

use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::source_edit::{self, Target};

/// Changes of the file that are looked through, the newest first: years of releases.
const CHANGES_MAX: usize = 500;

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
/// the newest template before the one that the branch has.
pub(super) fn template_to_roll_back_to(
    target: Target<'_>,
    group: &GroupName,
    recorded: Option<&RecordedGroup>,
) -> CommandResult<Earlier> {
    let tip = source_edit::tip(target)?;
    let Some((path, now, _)) = document(target, tip, group)? else {
        let missing = format!(
            "branch {} has no group {group} that is valid",
            target.branch
        );
        return Err(CommandError::new(missing).hint("see `drover validate`"));
    };
    let good = recorded.and_then(|recorded| recorded.templates.get(recorded.stable.as_ref()?));
    let good = good.filter(|good| !same(good, &now.template));
    let attempted = || format!("cannot read the history of {path}");
    let log = target.mirror.log(tip, Some(&path), CHANGES_MAX);
    for change in log.context(attempted())? {
        let Some(commit) = change.parents.first().copied() else {
            break;
        };
        let Some((_, before, text)) = document(target, commit, group)? else {
            continue;
        };
        let wanted = match good {
            Some(good) => same(&before.template, good),
            None => !same(&before.template, &now.template),
        };
        if wanted {
            return Ok(Earlier { commit, text });
        }
    }
    let what = if good.is_some() {
        "the last good template"
    } else {
        "another template"
    };
    Err(CommandError::new(format!(
        "the history of {path} does not have {what} of group {group}"
    ))
    .hint("name a commit with --to"))
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
