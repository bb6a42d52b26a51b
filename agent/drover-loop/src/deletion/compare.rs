//! What a commit that is not merged yet would ask about what it removes, as far as the documents tell.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{GroupName, Hold, Kind};
use drover_spec::Repository;

use super::{
    Described, InForceGroup, Looked, Missing, Renamed, SeenUnder, Sign, judge, renamed, why_renamed,
};

/// The documents of one commit.
#[derive(Debug, Clone, Copy)]
pub struct ComparedDocuments<'a> {
    /// The documents.
    pub repository: &'a Repository,
    /// The ignore rules, as written.
    pub ignore_rules: &'a str,
}

impl<'a> ComparedDocuments<'a> {
    fn under(&self) -> SeenUnder {
        SeenUnder {
            branch: String::new(),
            path: String::new(),
            ignore: self.ignore_rules.to_owned(),
        }
    }

    fn described(&self) -> BTreeMap<GroupName, Described<'a>> {
        described(self.repository)
    }
}

/// Returns where and as what each group of a commit is described, those with mistakes as well.
pub(crate) fn described(repository: &Repository) -> BTreeMap<GroupName, Described<'_>> {
    let broken = repository.broken.iter().filter_map(|broken| {
        let Some((Kind::Group, name)) = &broken.identity else {
            return None;
        };
        let described = Described {
            path: &broken.path,
            spec: None,
        };
        Some((GroupName::parse(name).ok()?, described))
    });
    let good = repository.groups.iter().map(|(name, located)| {
        let described = Described {
            path: &located.path,
            spec: Some(&located.value.spec),
        };
        (name.clone(), described)
    });
    broken.chain(good).collect()
}

/// Returns what would be held if `after` followed on `before`, and every group were as `before` says: the removals that
/// ask, and the groups that go on under another name.
pub fn doubts_between(
    before: &ComparedDocuments<'_>,
    after: &ComparedDocuments<'_>,
) -> BTreeMap<GroupName, Hold> {
    let (was, is) = (before.described(), after.described());
    let mut living = was.clone();
    living.retain(|name, it| is.contains_key(name) || it.spec.is_none_or(|spec| spec.size > 0));
    let renamed = renamed(&living, &is);
    let whys: BTreeMap<&GroupName, String> = renamed
        .iter()
        .map(|(from, Renamed { to, .. })| (from, why_renamed(from, to)))
        .collect();
    let seen = before.under();
    let in_force = was.iter().map(|(name, described)| {
        let size = described.spec.map_or(0, |spec| spec.size);
        let group = InForceGroup {
            spec: described.spec,
            size,
            instances: size,
            seen: Some(&seen),
            unconfirmed: whys.get(name).map(String::as_str),
            deleting: false,
        };
        (name.clone(), group)
    });
    let in_force: BTreeMap<_, _> = in_force.collect();
    let present: BTreeSet<GroupName> = is.keys().cloned().collect();
    let looked = Looked {
        under: after.under(),
        unreadable: None,
    };
    let judged = judge(&in_force, &present, &looked);
    let removals = judged
        .into_iter()
        .filter_map(|(name, verdict)| match verdict {
            Missing::Asks(hold) => Some((name, hold)),
            Missing::Removed => None,
        });
    let waiting = renamed.iter().filter(|(_, it)| it.by == Sign::File);
    let waiting = waiting.map(|(from, Renamed { to, .. })| {
        let from = from.clone();
        (to.clone(), Hold::RenameUnconfirmed { from })
    });
    removals.chain(waiting).collect()
}
