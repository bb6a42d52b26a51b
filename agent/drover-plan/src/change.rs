//! What a person reviews: the change, its id and its certificate, and whether it may proceed.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Certificate, Change, ChangeEnd, ChangeId, Digests, Drift, FieldClass, GroupName, GroupSpec,
    Held, Hold, MemberId, Outcome, PolicyHold, RecordedGroup, Value, Verdict,
};

use crate::numbers::Resolved;
use crate::plan::owns_nothing;

/// What a change is computed from: no clock, no observation.
#[derive(Debug, Clone)]
pub struct ChangeInput<'a> {
    /// The group.
    pub group: &'a GroupName,
    /// Its recorded state: where it comes from.
    pub recorded: &'a RecordedGroup,
    /// Where it goes: the specification, the size that [`change_size`] says, and the digests of its
    /// template. None: it is removed.
    pub to: Option<(&'a GroupSpec, u32, Digests)>,
    /// Digests of the policies and bindings that judge it, by name.
    pub policies: BTreeMap<String, String>,
    /// What policies make of the differences between templates.
    pub drift: &'a Drift,
}

/// Returns the size that a change leads to. Where a policy chooses the size, the choice is no part of
/// what a person reviews: the size of the change stays where it was.
pub fn change_size(spec: &GroupSpec, recorded: &RecordedGroup, sized_by_policy: bool) -> u32 {
    if sized_by_policy && recorded.stable.is_some() {
        recorded.stable_size
    } else {
        spec.size
    }
}

/// Returns the change from what is in force to what is asked for. None: they are the same.
///
/// What is in force is what the group last converged at, so the change and its id stay the same
/// from the commit until everything is done. The id covers how the group is to be kept, too, whether
/// that is new or not: who approves the change approves all of the document.
pub fn change(input: &ChangeInput<'_>) -> Option<Change> {
    let (from, to) = ends(input);
    (from != to).then(|| between(input, (from, to), None))
}

/// Returns the change to another document that makes, replaces and ends nothing: what changes is how the group is kept, such as
/// its limits, its checks or what protects it. None: it does more, and [`change`] says what.
///
/// Nothing else tells such documents from each other, so the id covers the document as it is written.
pub fn change_of_document(input: &ChangeInput<'_>, document: &str) -> Option<Change> {
    let (from, to) = ends(input);
    (from == to && to.is_some()).then(|| between(input, (from, to), Some(document)))
}

/// Returns what is in force, and what is asked for.
fn ends(input: &ChangeInput<'_>) -> (Option<ChangeEnd>, Option<ChangeEnd>) {
    let to = input.to.as_ref();
    // What a smaller size has no room for is not taken over, and is no loss.
    let most = to.filter(|_| owns_nothing(input.recorded));
    let most = most.map_or(u32::MAX, |(_, size, _)| *size);
    let from = input.recorded.stable.as_ref().map(|digests| ChangeEnd {
        digests: digests.clone(),
        size: input.recorded.stable_size.min(most),
        members: input
            .recorded
            .quorum
            .as_ref()
            .map(|known| known.stable.clone())
            .unwrap_or_default(),
    });
    let to = to.map(|(spec, size, digests)| ChangeEnd {
        digests: digests.clone(),
        size: *size,
        members: members_of(spec),
    });
    (from, to)
}

fn between(
    input: &ChangeInput<'_>,
    (from, to): (Option<ChangeEnd>, Option<ChangeEnd>),
    document: Option<&str>,
) -> Change {
    let before = from.as_ref().map_or(0, |end| end.size);
    let (creates, destroys) = growth(from.as_ref(), to.as_ref());
    let counted = match (&from, &to) {
        (Some(from), Some(to)) if from.digests != to.digests => before - destroys.min(before),
        _ => 0,
    };
    let action = match (&from, &to) {
        // A member of a quorum is always replaced.
        (Some(from), Some(_)) if !from.members.is_empty() => FieldClass::Replace,
        (Some(from), Some(to)) => input.drift.needs(&from.digests, &to.digests),
        _ => FieldClass::Replace,
    };
    let (replaces, restarts, changes) = match action {
        // Digests of another version say nothing; what comes of that is not known before it is seen.
        FieldClass::Ignore if ignored(input, from.as_ref(), to.as_ref()) => (0, 0, 0),
        FieldClass::Replace | FieldClass::Ignore => (counted, 0, 0),
        FieldClass::Restart => (0, counted, 0),
        FieldClass::Live => (0, 0, counted),
    };
    let certificate = match &input.to {
        Some((spec, size, _)) => {
            let resolved = Resolved::of(spec, *size);
            Certificate {
                unavailable_max: resolved.unavailable,
                destroyed_max: destroys,
                total_max: resolved.ceiling.max(before),
            }
        }
        None => Certificate {
            unavailable_max: before,
            destroyed_max: before,
            total_max: before,
        },
    };
    let mut change = Change {
        id: ChangeId::of(&Value::Null),
        group: input.group.clone(),
        from,
        to,
        creates,
        replaces,
        restarts,
        changes,
        destroys,
        policies: input.policies.clone(),
        certificate,
    };
    let settings = input.to.as_ref().map(|(spec, ..)| spec.settings());
    let covered = Covered { settings, document };
    change.id = ChangeId::of(&content(&change, input.recorded, covered));
    change
}

/// Returns whether policies ignore all that differs between two templates.
fn ignored(input: &ChangeInput<'_>, from: Option<&ChangeEnd>, to: Option<&ChangeEnd>) -> bool {
    let (Some(from), Some(to)) = (from, to) else {
        return false;
    };
    input.drift.decision(&from.digests, &to.digests).is_some()
}

fn members_of(spec: &GroupSpec) -> BTreeSet<MemberId> {
    let members = spec.quorum.iter().flat_map(|quorum| &quorum.members);
    members.map(|member| member.id.clone()).collect()
}

/// Returns how many instances are made and removed without replacement: of members each for itself.
fn growth(from: Option<&ChangeEnd>, to: Option<&ChangeEnd>) -> (u32, u32) {
    let size = |end: Option<&ChangeEnd>| end.map_or(0, |end| end.size);
    let members = |end: Option<&ChangeEnd>| end.map(|end| end.members.clone()).unwrap_or_default();
    let (before, after) = (members(from), members(to));
    if before.is_empty() || after.is_empty() {
        let (before, after) = (size(from), size(to));
        return (after.saturating_sub(before), before.saturating_sub(after));
    }
    let count =
        |one: &BTreeSet<MemberId>, other: &BTreeSet<MemberId>| one.difference(other).count() as u32;
    (count(&after, &before), count(&before, &after))
}

/// What the id of a change covers beside its effect on instances.
struct Covered<'a> {
    /// How the group is to be kept. None: it is removed.
    settings: Option<String>,
    /// The document as it is written, where that is all that changes.
    document: Option<&'a str>,
}

/// Everything of a change but its id, which life of the group it is for, and what else the id covers.
fn content(change: &Change, recorded: &RecordedGroup, covered: Covered<'_>) -> Value {
    let end = |end: &Option<ChangeEnd>| {
        end.as_ref().map_or(Value::Null, |end| {
            let mut content = BTreeMap::from([
                ("digests".to_owned(), end.digests.to_string().into()),
                ("size".to_owned(), i64::from(end.size).into()),
            ]);
            if !end.members.is_empty() {
                let ids = end.members.iter().map(|id| id.as_str().into());
                content.insert("members".to_owned(), Value::List(ids.collect()));
            }
            Value::Map(content)
        })
    };
    let number = |count: u32| Value::from(i64::from(count));
    let policies = change
        .policies
        .iter()
        .map(|(name, digest)| (name.clone(), digest.as_str().into()));
    let Certificate {
        unavailable_max,
        destroyed_max,
        total_max,
    } = change.certificate;
    // A change that does nothing in place keeps the id that it had before there was such a thing.
    let in_place = [("restarts", change.restarts), ("changes", change.changes)];
    let in_place = in_place.into_iter().filter(|(_, count)| *count > 0);
    let in_place = in_place.map(|(name, count)| (name.to_owned(), number(count)));
    let entries = [
        ("group".to_owned(), change.group.as_str().into()),
        ("uid".to_owned(), recorded.uid.as_str().into()),
        ("from".to_owned(), end(&change.from)),
        ("to".to_owned(), end(&change.to)),
        ("creates".to_owned(), number(change.creates)),
        ("replaces".to_owned(), number(change.replaces)),
        ("destroys".to_owned(), number(change.destroys)),
        ("policies".to_owned(), policies.collect()),
        ("unavailable".to_owned(), number(unavailable_max)),
        ("destroyed".to_owned(), number(destroyed_max)),
        ("total".to_owned(), number(total_max)),
    ];
    let Covered { settings, document } = covered;
    let document = document.map(|text| ("document".to_owned(), text.into()));
    let settings = settings.map(|text| ("settings".to_owned(), text.into()));
    let entries = entries.into_iter().chain(in_place);
    entries.chain(document).chain(settings).collect()
}

/// Whether a change may proceed.
#[derive(Debug, Clone, PartialEq)]
pub enum Review {
    /// It may.
    Proceed,
    /// It may not: plan with the last accepted document, and pass the hold as a fence.
    Withheld(Held),
}

/// Judges a change by the verdicts on it. Without a change there is nothing to withhold.
pub fn review(change: Option<&Change>, verdicts: &[Verdict]) -> Review {
    let denial = verdicts.iter().find(|verdict| verdict.withholds());
    match (change, denial) {
        (Some(_), Some(verdict)) => Review::Withheld(Held {
            hold: policy_hold(verdict, Hold::PolicyDenied),
            reason: None,
            instance: None,
            until: None,
        }),
        (Some(_) | None, _) => Review::Proceed,
    }
}

/// Returns the hold that a withholding verdict causes; a broken clause is told from a false one.
pub(crate) fn policy_hold(verdict: &Verdict, denied: fn(PolicyHold) -> Hold) -> Hold {
    let (make, message): (fn(PolicyHold) -> Hold, String) = match &verdict.outcome {
        Outcome::Error(why) if why == &verdict.message => (Hold::PolicyFailed, why.clone()),
        Outcome::Error(why) if verdict.message.is_empty() => (Hold::PolicyFailed, why.clone()),
        Outcome::Error(why) => (Hold::PolicyFailed, format!("{} ({why})", verdict.message)),
        Outcome::Passed | Outcome::Failed => (denied, verdict.message.clone()),
    };
    make(PolicyHold {
        message,
        ..PolicyHold::from(verdict)
    })
}
