//! The documents other than groups that two commits differ in, the groups that they concern, and whether a guard goes
//! or withholds less.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Amount, Binding, Enforcement, GroupName, Kind, Policy, PolicyBody, SourceText, Value,
};
use drover_spec::{FleetDoc, Located};

use super::End;
use crate::differences::differences;
use crate::plan_view::fields::{read, viewed};
use crate::plan_view::{DocumentChange, DocumentView, FieldView};
use crate::view::counted;

/// A document's kind and name. There is one Fleet, whatever it is called.
type Identity = (Kind, String);

/// Returns what differs, the guards that go or get weaker first.
pub(super) fn changed(base: &End, head: &End) -> Vec<DocumentView> {
    let (before, after) = (documents(base), documents(head));
    let identities: BTreeSet<&Identity> = before.keys().chain(after.keys()).collect();
    let views = identities.into_iter().filter_map(|identity| {
        let (old, new) = (before.get(identity), after.get(identity));
        let fields = fields(old, new)?;
        let place = new.or(old)?;
        Some(DocumentView {
            kind: identity.0.as_str().to_owned(),
            name: place.name.to_owned(),
            file: place.path.to_owned(),
            change: match (old, new) {
                (None, _) => DocumentChange::Added,
                (Some(_), Some(_)) => DocumentChange::Changed,
                (Some(_), None) => DocumentChange::Removed,
            },
            about: about(identity, place, old.is_none().then_some(base)),
            groups: concerned(identity, &[base, head]),
            weaker: weaker(identity, base, head),
            fields,
        })
    });
    let mut views: Vec<DocumentView> = views.collect();
    views.sort_by_key(|view| match (view.weaker.is_empty(), view.change) {
        (false, DocumentChange::Removed) => 0,
        (false, DocumentChange::Added | DocumentChange::Changed) => 1,
        (true, _) => 2,
    });
    views
}

/// Returns what a document is. One that was there before and not valid is no new one: an agent still goes by what it
/// said when it last was.
fn about(identity: &Identity, place: &Place<'_>, added_to: Option<&End>) -> Option<String> {
    let (kind, _) = identity;
    let was_broken = |end: &End| end.documents.repository.mentions(*kind, place.name);
    let about = place.about.clone();
    if !added_to.is_some_and(was_broken) {
        return about;
    }
    let about = about.map(|about| format!("{about}, "));
    Some(format!("{}was not valid before", about.unwrap_or_default()))
}

/// A document as it stands somewhere.
struct Place<'a> {
    name: &'a str,
    path: &'a str,
    text: &'a str,
    about: Option<String>,
}

impl<'a> Place<'a> {
    fn of<T>(located: &'a Located<T>, name: &'a str, about: Option<String>) -> Self {
        Self {
            name,
            path: &located.path,
            text: &located.text,
            about,
        }
    }
}

fn documents<'a>(end: &'a End) -> BTreeMap<Identity, Place<'a>> {
    let repository = &end.documents.repository;
    let mut all = BTreeMap::new();
    if let Some(fleet) = &repository.fleet {
        let place = Place::of(fleet, &fleet.value.name, None);
        all.insert((Kind::Fleet, String::new()), place);
    }
    let mut add = |kind, place: Place<'a>| all.insert((kind, place.name.to_owned()), place);
    for (name, it) in &repository.policies {
        let about = it.value.point.as_str().to_owned();
        add(Kind::Policy, Place::of(it, name.as_str(), Some(about)));
    }
    for (name, it) in &repository.bindings {
        let (policy, does) = (&it.value.policy, it.value.enforcement.as_str());
        let about = format!("{policy}, {does}");
        add(Kind::Binding, Place::of(it, name.as_str(), Some(about)));
    }
    for (name, it) in &repository.providers {
        let about = it.value.type_.to_string();
        add(Kind::Provider, Place::of(it, name.as_str(), Some(about)));
    }
    for (name, it) in &repository.metric_sources {
        add(Kind::MetricSource, Place::of(it, name.as_str(), None));
    }
    for (name, it) in &repository.calendars {
        add(Kind::Calendar, Place::of(it, name.as_str(), None));
    }
    all
}

/// Returns what differs in a document, or all that is written. None: it says the same, whatever its file and comments.
fn fields(old: Option<&Place<'_>>, new: Option<&Place<'_>>) -> Option<Vec<FieldView>> {
    if let (Some(old), Some(new)) = (old, new)
        && old.text == new.text
    {
        return None;
    }
    let [before, after] = [old, new].map(|place| place.map(|place| said(place.text)));
    let found = differences("", before.as_ref(), after.as_ref());
    let mut views = viewed(found, "");
    if old.is_some() && new.is_some() && views.is_empty() {
        return None;
    }
    // What only tests a policy is the least.
    views.sort_by_key(|view| view.field.starts_with("tests"));
    Some(views)
}

/// Returns everything of `spec`, with the labels and annotations.
fn said(text: &str) -> Value {
    let read = read(text);
    let part = |of: &str| read.get(of).and_then(Value::as_map);
    let mut said = part("spec").cloned().unwrap_or_default();
    let metadata = part("metadata").into_iter().flatten();
    let metadata = metadata.filter(|(key, _)| *key != "name");
    said.extend(metadata.map(|(key, value)| (key.clone(), value.clone())));
    Value::Map(said)
}

/// Returns the groups that a document concerns before or after.
fn concerned(identity: &Identity, ends: &[&End]) -> Vec<String> {
    let (kind, name) = identity;
    let mut found: BTreeSet<&GroupName> = BTreeSet::new();
    for end in ends {
        let groups = end.documents.repository.groups.iter();
        let concerned = groups.filter(|(_, located)| {
            let group = &located.value;
            match kind {
                Kind::Fleet => true,
                Kind::Group => false,
                Kind::Provider => group.spec.provider.as_str() == name,
                Kind::Binding => bindings(end)
                    .any(|it| it.name.as_str() == name && it.selector.matches(&group.labels)),
                Kind::Policy => bindings(end)
                    .any(|it| it.policy.as_str() == name && it.selector.matches(&group.labels)),
                Kind::Calendar => names(end, &group.labels, |it| it == name),
                Kind::MetricSource => {
                    let sources = &end.documents.repository.metric_sources;
                    let mut own = sources.iter().filter(|(it, _)| it.as_str() == name);
                    let metrics = own.next().map(|(_, source)| &source.value.metrics);
                    names(end, &group.labels, |it| {
                        let mut metrics = metrics.into_iter().flat_map(BTreeMap::keys);
                        metrics.any(|metric| metric.as_str() == it)
                    })
                }
            }
        });
        found.extend(concerned.map(|(name, _)| name));
    }
    found.into_iter().map(ToString::to_string).collect()
}

fn bindings(end: &End) -> impl Iterator<Item = &Binding> {
    let bindings = end.documents.repository.bindings.values();
    bindings.map(|located| &located.value)
}

/// Whether a policy that judges groups with `labels` names a metric or a calendar.
fn names(end: &End, labels: &BTreeMap<String, String>, is_it: impl Fn(&str) -> bool) -> bool {
    let digests = end.policies.digests_for(labels);
    // `binding/<name>/<function>/<name>`
    let mut named = digests.keys().filter_map(|key| key.splitn(4, '/').nth(3));
    named.any(is_it)
}

/// Returns in which ways a document withholds less than before, as far as that can be told by looking at it.
fn weaker(identity: &Identity, base: &End, head: &End) -> Vec<String> {
    let (kind, name) = identity;
    let [before, after] = [base, head].map(|end| &end.documents.repository);
    let removed = || vec!["removed".to_owned()];
    match kind {
        Kind::Binding => {
            let of = |end| bindings(end).find(|it| it.name.as_str() == name);
            match (of(base), of(head)) {
                (Some(_), None) => removed(),
                (Some(old), Some(new)) => weaker_binding(old, new, head),
                (None, _) => Vec::new(),
            }
        }
        Kind::Policy => {
            let find = |(it, _): &(&drover_model::PolicyName, _)| it.as_str() == name;
            let old = before.policies.iter().find(find);
            match (old, after.policies.iter().find(find)) {
                (Some(_), None) => removed(),
                (Some((_, old)), Some((_, new))) => weaker_policy(&old.value, &new.value),
                (None, _) => Vec::new(),
            }
        }
        Kind::Fleet => match (&before.fleet, &after.fleet) {
            (Some(old), new) => {
                let sizes = before.groups.values().map(|group| group.value.spec.size);
                let new = new.as_ref().map(|new| &new.value);
                weaker_fleet(&old.value, new, sizes.fold(0, u32::saturating_add))
            }
            (None, _) => Vec::new(),
        },
        Kind::Group | Kind::Provider | Kind::MetricSource | Kind::Calendar => Vec::new(),
    }
}

fn weaker_binding(old: &Binding, new: &Binding, head: &End) -> Vec<String> {
    let mut found = Vec::new();
    if new.enforcement < old.enforcement {
        let [old, new] = [old, new].map(|it| it.enforcement.as_str());
        found.push(format!("enforcement {old} -> {new}"));
    }
    if new.policy != old.policy {
        found.push(format!("{} instead of {}", new.policy, old.policy));
    }
    if (old.enforcement, new.enforcement)
        == (Enforcement::RequireApproval, Enforcement::RequireApproval)
    {
        let (before, after) = (&old.approvals, &new.approvals);
        if after.count < before.count {
            found.push(format!("approvals {} -> {}", before.count, after.count));
        }
        let more = after.from.difference(&before.from);
        let more: Vec<&str> = more.map(drover_model::Signer::as_str).collect();
        if before.from.is_empty() {
            // Everybody could approve before.
        } else if after.from.is_empty() {
            found.push("every signer may approve".to_owned());
        } else if !more.is_empty() {
            found.push(format!("{} may approve, too", more.join(", ")));
        }
    }
    let groups = head.documents.repository.groups.values();
    let left = groups.filter(|group| {
        let labels = &group.value.labels;
        old.selector.matches(labels) && !new.selector.matches(labels)
    });
    let left = left.count();
    if left > 0 {
        found.push(format!("selects {} no longer", counted(left, "group")));
    }
    found
}

fn weaker_policy(old: &Policy, new: &Policy) -> Vec<String> {
    let mut found = Vec::new();
    if new.point != old.point {
        let [old, new] = [old, new].map(|it| it.point.as_str());
        found.push(format!("on {new} instead of {old}"));
    }
    let rules = |policy: &Policy| match &policy.body {
        PolicyBody::Rules(rules) => rules.len(),
        PolicyBody::Value(_) => 0,
    };
    let gone = rules(old).saturating_sub(rules(new));
    if gone > 0 {
        found.push(format!("{} less", counted(gone, "rule")));
    }
    let known: BTreeSet<String> = old.matches.iter().map(expression).collect();
    let added = new.matches.iter().map(expression);
    if added.filter(|it| !known.contains(it)).count() > 0 {
        found.push("applies under another condition (match)".to_owned());
    }
    found
}

/// Returns an expression whatever its breaks and indents.
fn expression(source: &SourceText) -> String {
    let words: Vec<&str> = source.text.split_whitespace().collect();
    words.join(" ")
}

/// Compares what groups share. `total`: the sizes of all groups together.
fn weaker_fleet(old: &FleetDoc, new: Option<&FleetDoc>, total: u32) -> Vec<String> {
    let more = |old: Amount, new: Amount| new.ceil_of(total) > old.ceil_of(total);
    let mut found = Vec::new();
    let limit = new.and_then(|new| new.destroy_max);
    match (old.destroy_max, limit) {
        (Some(old), None) => found.push(format!("limits.maxDestroy of {old} is gone")),
        (Some(old), Some(new)) if more(old, new) => {
            found.push(format!("limits.maxDestroy {old} -> {new}"));
        }
        (Some(_), Some(_)) | (None, _) => {}
    }
    let budgets = new.map(|new| new.budgets.as_slice()).unwrap_or_default();
    for budget in &old.budgets {
        let name = &budget.name;
        match budgets.iter().find(|it| it.name == *name) {
            None => found.push(format!("the budget {name} is gone")),
            Some(now) if more(budget.max, now.max) => {
                found.push(format!("the budget {name} {} -> {}", budget.max, now.max));
            }
            Some(now) if !now.reasons.is_superset(&budget.reasons) => {
                found.push(format!("the budget {name} is for fewer reasons"));
            }
            Some(now) if now.selector != budget.selector => {
                found.push(format!("the budget {name} is for other groups"));
            }
            Some(_) => {}
        }
    }
    found
}

/// Returns the bindings that withhold something and select a group no longer, since it has other labels.
pub(super) fn unguarded(name: &GroupName, base: &End, head: &End) -> Vec<String> {
    let (Some(old), Some(new)) = (base.group(name), head.group(name)) else {
        return Vec::new();
    };
    let lost = bindings(head).filter(|now| {
        let mut before = bindings(base);
        let before = before.find(|it| it.name == now.name && it.selector == now.selector);
        before.is_some()
            && now.enforcement >= Enforcement::RequireApproval
            && now.selector.matches(&old.labels)
            && !now.selector.matches(&new.labels)
    });
    let lost = lost.map(|it| format!("{} ({}, {})", it.name, it.policy, it.enforcement.as_str()));
    lost.collect()
}
