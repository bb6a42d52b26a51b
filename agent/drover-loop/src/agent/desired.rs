//! From a snapshot to what should be in force: the fleet's documents, and for each group its document,
//! why it is not taken, or its removal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use drover_model::{
    AcceptedDocument, Amount, Deleting, Deletion, DeletionPolicy, Group, GroupName, GroupUid, Held,
    Hold, Kind, RecordedGroup, Revision, Timestamp,
};
use drover_spec::record::AcceptedRewrite;
use drover_spec::{Diagnostic, Located};
use tracing::{info, warn};

use super::{Agent, plain};
use crate::check::{Asked, check_group, check_repository};
use crate::deletion::{self, Described, InForceGroup, Looked, Missing, Renamed, SeenUnder, Sign};
use crate::entry::GroupEntry;
use crate::group::Candidate;
use crate::removals::Removal;
use crate::source::Snapshot;
use crate::store::Batch;

/// Problems of a document that have a hold of their own.
const REFERENCE: &str = "unknown-reference";

impl Agent {
    /// Compares the snapshot with what is in force, where either has changed.
    pub(super) async fn follow_documents(&mut self, now: Timestamp) {
        self.desired_stale |= self.removals_at.is_some_and(|at| at <= now);
        let Some(snapshot) = self.snapshot.clone().filter(|_| self.desired_stale) else {
            return;
        };
        let mut batch = Batch::default();
        let limit_before = self.fleet.documents.destroy_max();
        self.note_rewrite(&snapshot);
        self.follow_fleet(&snapshot, &mut batch);
        let mut diagnostics = snapshot.diagnostics.clone();
        diagnostics.extend(self.fleet.mistakes.iter().cloned());
        // A plugin that does not answer now refuses what is wrong when it is to make it.
        let registry = &self.registry;
        let asked = Asked::of(&snapshot.repository, registry, &|document| {
            registry.describe(document)
        });
        diagnostics.extend(check_repository(&snapshot.repository, registry, &asked));
        let waiting = self.waiting_deletions();
        self.follow_groups(&snapshot, &diagnostics, &mut batch);
        self.follow_missing(&snapshot, &waiting, now, &mut batch);
        self.follow_authors(&snapshot, &mut batch);
        self.limit_removals(&snapshot, limit_before, now, &mut batch);
        self.diagnostics = Arc::new(diagnostics);
        let revision = &snapshot.commit.revision;
        if self.applied.as_ref() != Some(revision) {
            info!(
                revision = revision.short(),
                subject = snapshot.commit.subject,
                "commit in force"
            );
            batch.applied(revision);
        }
        if !self.also_applied.is_empty() {
            batch.also_applied(&[]);
        }
        if !batch.is_empty() {
            batch.clock(now);
        }
        // Until everything is written down, all of it is compared again.
        self.desired_stale = !self.write_store(batch).await;
        self.unsaved.documents &= self.desired_stale;
        self.unsaved.guards &= self.desired_stale;
        self.stand_at(revision.clone());
        self.also_applied.clear();
        self.source_status.commit = Some(snapshot.commit.clone());
    }

    /// Notes that what is in force is replaced by another history, which a person accepted: the next commit tells of it.
    fn note_rewrite(&mut self, snapshot: &Snapshot) {
        let Some(replaced) = &snapshot.replaces else {
            return;
        };
        let accepted = self.accepted_rewrite.as_ref();
        let mut known = self.applied.iter().chain(&self.also_applied);
        let accepted = accepted.filter(|_| known.any(|known| known == replaced));
        if let Some((revision, by)) = accepted {
            self.fleet.rewrite = Some(AcceptedRewrite {
                revision: revision.clone(),
                replaced: replaced.clone(),
                by: by.clone(),
            });
            self.fleet.left_behind = self.groups.values().flat_map(rests_on).collect();
            self.unsaved.documents = true;
            self.unsaved.commit = true;
        }
    }

    fn follow_fleet(&mut self, snapshot: &Snapshot, batch: &mut Batch) {
        let changed = self.fleet.update(snapshot, &self.registry);
        self.unsaved.documents |= changed.documents;
        self.unsaved.commit |= changed.documents;
        self.unsaved.guards |= changed.guards;
        let revision = &snapshot.commit.revision;
        if self.unsaved.documents {
            batch.fleet(&self.fleet.record(revision));
        }
        if self.unsaved.guards {
            batch.guards(&self.fleet.record_earlier(revision));
        }
    }

    /// Returns what documents that are not in force yet say of the removal of their groups.
    fn waiting_deletions(&self) -> BTreeMap<GroupName, Deletion> {
        let waiting = self.groups.iter().filter_map(|(name, entry)| {
            let candidate = entry.candidate.as_ref()?;
            Some((name.clone(), candidate.group.spec.deletion))
        });
        waiting.collect()
    }

    fn follow_groups(
        &mut self,
        snapshot: &Snapshot,
        diagnostics: &[Diagnostic],
        batch: &mut Batch,
    ) {
        let seen = SeenUnder::of(&snapshot.place, &snapshot.ignore_digest);
        for entry in self.groups.values_mut() {
            entry.candidate = None;
            entry.removal = None;
            entry.notices.clear();
            entry.diagnostics.clear();
        }
        for (name, located) in &snapshot.repository.groups {
            self.follow_good(name, located, snapshot, diagnostics);
            let deletion = Some(located.value.spec.deletion);
            if !self.mark_refused(name, &located.path, deletion, snapshot, batch) {
                self.mark_seen(name, (&seen, &located.path), batch);
            }
            self.bring_back(name, Some(&located.value), batch);
        }
        for broken in &snapshot.repository.broken {
            let Some((Kind::Group, name)) = &broken.identity else {
                continue;
            };
            let Ok(name) = GroupName::parse(name) else {
                continue;
            };
            if !snapshot.repository.groups.contains_key(&name) {
                let errors: Vec<_> = broken.diagnostics.iter().filter(|d| d.is_error()).collect();
                self.refuse_document(&name, errors);
                if !self.mark_refused(&name, &broken.path, None, snapshot, batch) {
                    self.mark_seen(&name, (&seen, &broken.path), batch);
                }
                self.bring_back(&name, None, batch);
            }
        }
    }

    /// Notes that a document cannot come into force, if it says something else of the removal of its group than the one in
    /// force does, or nobody can tell. It has to be known later, too: the commit that removes it shows the removal alone.
    fn mark_refused(
        &mut self,
        name: &GroupName,
        file: &str,
        deletion: Option<Deletion>,
        snapshot: &Snapshot,
        batch: &mut Batch,
    ) -> bool {
        let Some(entry) = self.groups.get_mut(name) else {
            return false;
        };
        let Some(accepted) = &entry.accepted else {
            return false;
        };
        let settled = entry.candidate.is_some() || entry.recorded.deleting.is_some();
        if settled || deletion == Some(accepted.spec.deletion) {
            return false;
        }
        let why = deletion::why_refused(file, &snapshot.commit.revision);
        if entry.meta.unconfirmed.as_ref() != Some(&why) {
            entry.meta.seen = None;
            entry.meta.file = Some(file.to_owned());
            entry.meta.unconfirmed = Some(why);
            batch.meta(name, &entry.meta);
        }
        true
    }

    fn mark_seen(&mut self, name: &GroupName, (seen, file): (&SeenUnder, &str), batch: &mut Batch) {
        let Some(entry) = self.groups.get_mut(name) else {
            return;
        };
        let meta = &entry.meta;
        let same = meta.seen.as_ref() == Some(seen) && meta.file.as_deref() == Some(file);
        if !same || meta.unconfirmed.is_some() {
            entry.meta.seen = Some(seen.clone());
            entry.meta.file = Some(file.to_owned());
            entry.meta.unconfirmed = None;
            batch.meta(name, &entry.meta);
        }
    }

    /// Ends the removal of a group whose document is back: what is left of it stays. One that only a new group can have is
    /// none of it. `group`: the document, if it can be read.
    fn bring_back(&mut self, name: &GroupName, group: Option<&Arc<Group>>, batch: &mut Batch) {
        let Some(entry) = self.groups.get_mut(name) else {
            return;
        };
        let anew = group.is_some_and(|group| makes_anew(entry, group).is_some());
        if entry.recorded.deleting.is_some() && !entry.is_gone() && !anew {
            info!(group = %name, "the document is back, the group stays");
            let back = RecordedGroup {
                deleting: None,
                ..(*entry.recorded).clone()
            };
            batch.recorded(&back);
            entry.record(Arc::new(back));
        }
    }

    fn follow_good(
        &mut self,
        name: &GroupName,
        located: &Located<Arc<Group>>,
        snapshot: &Snapshot,
        diagnostics: &[Diagnostic],
    ) {
        let errors = errors_of(located, diagnostics);
        let invalid: Vec<_> = errors
            .iter()
            .copied()
            .filter(|found| found.code != REFERENCE)
            .collect();
        if !invalid.is_empty() {
            return self.refuse_document(name, invalid);
        }
        let provider = &located.value.spec.provider;
        let found = self.fleet.documents.providers.get(provider);
        let problem = match found.map(|kept| self.registry.manifest(&kept.value.type_)) {
            None => Some("there is no such Provider document".to_owned()),
            Some(Err(error)) => Some(error.to_string()),
            Some(Ok(manifest)) => {
                // The provider's good version may be older than the snapshot's.
                let mistakes = check_group(&located.value, manifest);
                if !mistakes.is_empty() {
                    return self.refuse_document(name, mistakes.iter().collect());
                }
                None
            }
        };
        let entry = self.entry(name);
        if let Some(why) = problem {
            entry.diagnostics = errors.into_iter().cloned().collect();
            entry.notices.push(plain(match entry.accepted {
                Some(_) => Hold::SpecInvalid {
                    message: format!("provider {provider}: {why}"),
                },
                None => Hold::ProviderMissing {
                    provider: provider.clone(),
                    why,
                },
            }));
            return;
        }
        if let Some(hold) = makes_anew(entry, &located.value) {
            // What was removed goes first: the document is one of another group, with the same name.
            if entry.recorded.deleting.is_none() {
                entry.notices.push(hold);
            }
            return;
        }
        let accepted = entry.recorded.accepted.as_ref();
        if entry.accepted.is_some() && accepted.is_some_and(|a| a.text == located.text) {
            return;
        }
        entry.candidate = Some(Candidate {
            group: Arc::clone(&located.value),
            document: AcceptedDocument {
                text: located.text.clone(),
                path: located.path.clone(),
                line: located.line,
                revision: snapshot.commit.revision.clone(),
            },
        });
    }

    /// Keeps the last good document of a group in force.
    fn refuse_document(&mut self, name: &GroupName, errors: Vec<&Diagnostic>) {
        let message = first_mistake(&errors);
        let entry = self.entry(name);
        entry.diagnostics = errors.into_iter().cloned().collect();
        entry.notices.push(plain(Hold::SpecInvalid { message }));
    }

    /// Returns the group's entry, made anew for a group that was never seen.
    fn entry(&mut self, name: &GroupName) -> &mut GroupEntry {
        if !self.groups.contains_key(name) {
            let uid = draw_uid(&mut self.entropy);
            let recorded = RecordedGroup::new(name.clone(), uid, self.tenure.epoch());
            self.groups.insert(name.clone(), GroupEntry::new(recorded));
        }
        self.groups.get_mut(name).expect("made above")
    }

    /// Judges the groups whose documents are not there.
    fn follow_missing(
        &mut self,
        snapshot: &Snapshot,
        waiting: &BTreeMap<GroupName, Deletion>,
        now: Timestamp,
        batch: &mut Batch,
    ) {
        let described = deletion::described(&snapshot.repository);
        let present: BTreeSet<GroupName> = described.keys().cloned().collect();
        let accepted = self.accepted_rewrite.as_ref().map(|(tip, _)| tip);
        if accepted == Some(&snapshot.commit.revision) {
            // Nobody removed them by a commit that follows what was in force.
            for (name, entry) in &mut self.groups {
                if !present.contains(name) {
                    entry.meta.seen = None;
                }
            }
        }
        let renamed = deletion::renamed(&self.described_in_force(&present), &described);
        self.doubt_removals(&present, &renamed, (waiting, snapshot), batch);
        self.hold_renamed(&renamed);
        let in_force = self.groups.iter().map(|(name, entry)| {
            let group = InForceGroup {
                spec: entry.accepted.as_ref().map(|group| &group.spec),
                size: entry.recorded.size,
                instances: entry.recorded.instances.len() as u32,
                seen: entry.meta.seen.as_ref(),
                unconfirmed: entry.meta.unconfirmed.as_deref(),
                deleting: entry.recorded.deleting.is_some(),
            };
            (name.clone(), group)
        });
        let in_force: BTreeMap<GroupName, InForceGroup<'_>> = in_force.collect();
        let judged = deletion::judge(&in_force, &present, &Looked::of(snapshot));
        for (name, verdict) in judged {
            self.follow_removal(&name, verdict, snapshot, now, batch);
        }
    }

    /// Returns where and as what each group in force is described. Of those that are gone, only those are told of which
    /// something would be lost.
    fn described_in_force(
        &self,
        present: &BTreeSet<GroupName>,
    ) -> BTreeMap<GroupName, Described<'_>> {
        let described = self.groups.iter().filter_map(|(name, entry)| {
            let accepted = entry.recorded.accepted.as_ref()?;
            let living = !entry.recorded.instances.is_empty() && entry.recorded.deleting.is_none();
            let described = Described {
                path: entry.meta.file.as_ref().unwrap_or(&accepted.path),
                spec: entry.accepted.as_ref().map(|group| &group.spec),
            };
            (living || present.contains(name)).then(|| (name.clone(), described))
        });
        described.collect()
    }

    /// Lets nothing be made of a document that took the place of another group's.
    fn hold_renamed(&mut self, renamed: &BTreeMap<GroupName, Renamed>) {
        for (from, Renamed { to, by }) in renamed {
            let Some(entry) = self.groups.get_mut(to).filter(|_| *by == Sign::File) else {
                continue;
            };
            let from = from.clone();
            entry.candidate = None;
            entry.notices.push(plain(Hold::RenameUnconfirmed { from }));
        }
    }

    /// Notes which documents were changed between what is in force and their removal, and which go on under another name.
    /// It has to be known later, too: the next commit shows the removal alone.
    fn doubt_removals(
        &mut self,
        present: &BTreeSet<GroupName>,
        renamed: &BTreeMap<GroupName, Renamed>,
        (waiting, snapshot): (&BTreeMap<GroupName, Deletion>, &Snapshot),
        batch: &mut Batch,
    ) {
        for (name, entry) in &mut self.groups {
            let settled = entry.recorded.deleting.is_some() || entry.meta.unconfirmed.is_some();
            let Some(accepted) = entry
                .accepted
                .as_ref()
                .filter(|_| !settled && !present.contains(name))
            else {
                continue;
            };
            let waiting = waiting.get(name).copied();
            let recorded = entry.recorded.accepted.as_ref();
            let path = entry.meta.file.as_ref().or(recorded.map(|it| &it.path));
            let known = (name, path.map_or("", String::as_str));
            let renamed = renamed.get(name);
            let why = renamed
                .map(|renamed| deletion::why_renamed(name, &renamed.to))
                .or_else(|| deletion::passed_by(known, accepted.spec.deletion, waiting, snapshot));
            if why.is_some() {
                // The state branch, too, is to say that nobody has seen it since.
                entry.meta.seen = None;
                entry.meta.unconfirmed = why;
                batch.meta(name, &entry.meta);
            }
        }
    }

    fn follow_removal(
        &mut self,
        name: &GroupName,
        verdict: Missing,
        snapshot: &Snapshot,
        now: Timestamp,
        batch: &mut Batch,
    ) {
        let Some(entry) = self.groups.get_mut(name) else {
            return;
        };
        match verdict {
            Missing::Asks(hold) => {
                warn!(group = %name, hold = hold.code(), "removal held");
                entry.notices.push(plain(hold));
            }
            Missing::Removed
                if entry.recorded.accepted.is_none()
                    && !entry.busy
                    && self.journal.groups().is_ok_and(|open| !open.contains(name)) =>
            {
                // Nothing was ever made of it, and nothing is being made.
                batch.forget(name);
                self.prober.forget(name);
                self.groups.remove(name);
            }
            Missing::Removed => {
                // The policies have their say when the group is planned.
                entry.removal = Some(Deleting {
                    revision: snapshot.commit.revision.clone(),
                    since: now,
                });
            }
        }
    }
}

impl Agent {
    /// Withholds what the snapshot takes away, where that is too much for the fleet as a whole.
    fn limit_removals(
        &mut self,
        snapshot: &Snapshot,
        limit_before: Option<Amount>,
        now: Timestamp,
        batch: &mut Batch,
    ) {
        let before = self.removals.clone();
        let set = self.fleet.sets.last();
        let asked = self.groups.iter().filter_map(|(name, entry)| {
            let sized = |group: &Group| set.is_some_and(|set| set.has_size_policy(&group.labels));
            asked_of(name, entry, sized)
        });
        let asked: Vec<Removal> = asked.collect();
        let groups = &self.groups;
        self.removals.settle(now, &asked, |name, to| {
            let entry = GroupName::parse(name)
                .ok()
                .and_then(|name| groups.get(&name));
            entry.is_none_or(|entry| match to {
                0 if entry.recorded.deleting.is_some() => true,
                to => entry.recorded.size <= to,
            })
        });
        let sizes = groups.values().map(|entry| entry.recorded.size);
        let size = sizes.fold(0, u32::saturating_add);
        let limit = self.fleet.documents.destroy_max();
        let revision = &snapshot.commit.revision;
        let limit = self.removals.limit(revision, limit_before, limit, size);
        let held = self.removals.judge(&asked, limit, now);
        let alone = asked.iter().map(|asked| asked.instances);
        // What is too much by itself does not become less by waiting.
        let waits = limit.is_some_and(|limit| alone.fold(0, u32::saturating_add) <= limit);
        self.removals_at = self.removals.eases_at().filter(|_| held.is_some() && waits);
        if let Some(hold) = held {
            for asked in &asked {
                let Some(entry) = self.groups.get_mut(&asked.group) else {
                    continue;
                };
                warn!(group = %asked.group, hold = hold.code(), "removal held");
                (entry.candidate, entry.removal) = (None, None);
                entry.notices.push(Held {
                    until: self.removals_at,
                    ..plain(hold.clone())
                });
            }
        }
        if self.removals != before {
            batch.removals(&self.removals);
        }
    }
}

/// Returns what a group loses by a document that is not in force, or by its removal. What a policy takes away has its
/// own bounds.
fn asked_of(
    name: &GroupName,
    entry: &GroupEntry,
    sized: impl Fn(&Group) -> bool,
) -> Option<Removal> {
    let accepted = entry.accepted.as_ref()?;
    let (to, instances) = match (&entry.candidate, &entry.removal) {
        (Some(candidate), _) if !sized(&candidate.group) => {
            let to = candidate.group.spec.size;
            (to, entry.recorded.size.saturating_sub(to))
        }
        (_, Some(_)) if accepted.spec.deletion.policy == DeletionPolicy::Destroy => {
            (0, entry.recorded.instances.len() as u32)
        }
        _ => return None,
    };
    (instances > 0).then(|| Removal {
        group: name.clone(),
        to,
        instances,
    })
}

/// Returns the commits that what is in force of a group is of: its document, and its removal.
pub(super) fn rests_on(entry: &GroupEntry) -> impl Iterator<Item = Revision> + use<> {
    let accepted = entry.recorded.accepted.as_ref();
    let deleting = entry.recorded.deleting.as_ref();
    let accepted = accepted.map(|document| document.revision.clone());
    let deleting = deleting.map(|removal| removal.revision.clone());
    accepted.into_iter().chain(deleting)
}

/// Returns the errors that stand within a document.
fn errors_of<'a>(
    located: &Located<Arc<Group>>,
    diagnostics: &'a [Diagnostic],
) -> Vec<&'a Diagnostic> {
    let last = located.line + located.text.lines().count() as u32;
    let within = |found: &&Diagnostic| {
        found.is_error()
            && *found.span.file == *located.path
            && (located.line..=last).contains(&found.span.line)
    };
    diagnostics.iter().filter(within).collect()
}

/// Refuses a document that the instances of a group cannot have.
fn makes_anew(entry: &GroupEntry, group: &Group) -> Option<Held> {
    provider_changed(entry, group).or_else(|| sizing_changed(entry, group))
}

/// Refuses to switch between `size` and `members` for a group that has instances.
fn sizing_changed(entry: &GroupEntry, group: &Group) -> Option<Held> {
    let quorum = group.spec.quorum.is_some();
    let instances = entry.recorded.instances.values();
    let other = |instance: &drover_model::RecordedInstance| instance.seat.is_some() != quorum;
    let known = entry.recorded.quorum.is_some() && !quorum;
    let differs = known || instances.into_iter().any(other);
    (differs && entry.recorded.accepted.is_some()).then(|| plain(Hold::SizingChanged))
}

/// Returns the mistake that explains a document best, in one line: one that is known to have a remedy comes before what follows from it.
fn first_mistake(errors: &[&Diagnostic]) -> String {
    let helped = errors.iter().find(|error| error.hint.is_some());
    let Some(first) = helped.or(errors.first()) else {
        return "its file cannot be read".to_owned();
    };
    let mut text = format!("{}: {}", first.span, first.message);
    if let Some(hint) = &first.hint {
        text.push_str("; ");
        text.push_str(hint);
    }
    match errors.len() - 1 {
        0 => {}
        1 => text.push_str(" (and 1 more mistake)"),
        more => {
            let _ = write!(text, " (and {more} more mistakes)");
        }
    }
    text
}

/// Refuses another provider for a group that has instances.
fn provider_changed(entry: &GroupEntry, group: &Group) -> Option<Held> {
    let from = &entry.recorded.provider.as_ref()?.name;
    let to = &group.spec.provider;
    if from == to || entry.recorded.instances.is_empty() {
        return None;
    }
    Some(plain(Hold::ProviderChanged {
        from: from.clone(),
        to: to.clone(),
        setting: None,
    }))
}

/// Draws the id of one life of a group.
fn draw_uid(entropy: &mut super::Entropy) -> GroupUid {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let (high, low) = (u128::from(entropy()), u128::from(entropy()));
    let bits = high << 64 | low;
    let letter = |position: u32| {
        let index = (bits >> (5 * position)) as usize & 31;
        char::from(ALPHABET[index])
    };
    let text: String = (0..16).map(letter).collect();
    GroupUid::parse(&text).expect("sixteen letters and digits")
}
