//! When a group that is gone goes on under another name.
//!
//! Drover knows a group by its name alone. To it, another name is another group: everything of the one would be
//! destroyed, and everything of the other made, at once. Nobody who corrects a name means that. So a group that is gone
//! (its document is not there any more, its instances are) goes on as a new one (nothing was ever in force of it) where
//! either holds:
//!
//! - **Its file:** the new one is described in the file that described the one that is gone, and either no group stays in
//!   that file, or both have the same provider and template. Then neither does anything: the one is not removed and the
//!   other is not made, [`Hold::RenameUnconfirmed`](drover_model::Hold::RenameUnconfirmed).
//! - **Its likeness:** it is described in another file, with the same provider, template and size. Then only the removal
//!   waits. Of groups that are all alike, one per tenant, one may well go and another come in the same commit, and what
//!   serves somebody new is not to wait for that.
//!
//! Both are told from the document in force and the commit that is looked at. How many commits lie between the two does
//! not matter.

use std::collections::BTreeMap;

use drover_model::{GroupName, GroupSpec};

/// Where a group is described, and what as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Described<'a> {
    pub(crate) path: &'a str,
    /// None: it cannot be read.
    pub(crate) spec: Option<&'a GroupSpec>,
}

/// The new name of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renamed {
    pub(crate) to: GroupName,
    pub(crate) by: Sign,
}

/// What says that it is the same group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The file.
    File,
    /// The likeness.
    Likeness,
}

/// Returns which groups go on under another name. `before`: what is in force; `after`: what a commit describes.
pub(crate) fn renamed(
    before: &BTreeMap<GroupName, Described<'_>>,
    after: &BTreeMap<GroupName, Described<'_>>,
) -> BTreeMap<GroupName, Renamed> {
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    let new: Vec<_> = after
        .iter()
        .filter(|(name, _)| !before.contains_key(*name))
        .collect();
    if new.is_empty() {
        return BTreeMap::new();
    }
    let found = gone.filter_map(|(name, was)| {
        let left = after
            .iter()
            .any(|(name, is)| is.path == was.path && before.contains_key(name));
        Some((name.clone(), goes_on_as(was, left, &new)?))
    });
    found.collect()
}

/// `left`: whether the file still describes a group that it described before.
fn goes_on_as(
    was: &Described<'_>,
    left: bool,
    new: &[(&GroupName, &Described<'_>)],
) -> Option<Renamed> {
    let in_file = || new.iter().filter(|(_, is)| is.path == was.path);
    let like = in_file().find(|(_, is)| are_alike(was, is));
    if let Some((name, _)) = like.or_else(|| in_file().next().filter(|_| !left)) {
        return Some(Renamed {
            to: (*name).clone(),
            by: Sign::File,
        });
    }
    let size = |of: &Described<'_>| of.spec.map(|spec| spec.size);
    let mut alike = new.iter().filter(|(_, is)| are_alike(was, is));
    let (name, _) = alike.find(|(_, is)| size(is) == size(was))?;
    Some(Renamed {
        to: (*name).clone(),
        by: Sign::Likeness,
    })
}

fn are_alike(one: &Described<'_>, other: &Described<'_>) -> bool {
    let both = one.spec.zip(other.spec);
    both.is_some_and(|(one, other)| {
        one.provider == other.provider && one.template == other.template
    })
}

/// Returns why the removal of a group that goes on as `to` waits, for people.
pub(crate) fn why(from: &GroupName, to: &GroupName) -> String {
    format!(
        "group {to} is new and looks like this one under another name, and a rename would destroy every instance; to keep them, give it back the name {from}; to replace it by {to}, bring the document back beside {to}'s, wait until both are in force, and remove it then"
    )
}
