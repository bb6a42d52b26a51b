//! The observation of a pass: open the scopes that groups need, list them, and after the start
//! without data find out when everything that exists is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use drover_model::{GroupName, Hold, Kind, ProviderDoc, ProviderName, RecordedProvider, Timestamp};
use tracing::{info, warn};

use super::Agent;
use crate::entry::GroupEntry;
use crate::first_look::Missing;
use crate::observe::{Asking, Observed, OpenScope, ScopeKey, groups_seen};
use crate::registry::RegistryError;
use crate::source::chain;
use crate::status::ProviderStatus;
use crate::survey::{self, Question, Surveyors};

/// A group's scope with its id, or the provider's name and why there is none.
type GroupScope = Result<(String, Arc<OpenScope>), (ProviderName, String)>;

/// What a pass knows of the groups' scopes.
#[derive(Debug, Default)]
pub(super) struct Observation {
    /// For each group the id of its scope, and the scope, or why there is none.
    pub(super) scopes: BTreeMap<GroupName, GroupScope>,
    pub(super) observed: BTreeMap<String, Observed>,
    /// What there is that groups adopt.
    pub(super) surveyors: Surveyors,
    /// In which scopes each group has instances.
    pub(super) seen: BTreeMap<GroupName, BTreeSet<String>>,
    /// What was never seen since the start with an empty data directory. None: nothing is missing.
    pub(super) missing: Option<Missing>,
    /// Why the newest settings of its provider are not in force for a group.
    pub(super) moved: BTreeMap<GroupName, Hold>,
    /// The launches that its provider refuses for its credentials, by group that has to know.
    pub(super) refused: BTreeMap<GroupName, Hold>,
}

impl Agent {
    /// Opens and lists every scope that a group needs; with an empty data directory, every scope of
    /// the repository.
    pub(super) async fn observe(&mut self, now: Timestamp) -> Observation {
        let mut observation = Observation::default();
        let mut unopened = BTreeMap::new();
        for (name, entry) in &self.groups {
            let moved = self.moved(entry);
            let Some(key) = self.scope_key(entry, moved.as_ref()) else {
                continue;
            };
            if let Some(moved) = moved {
                observation.moved.insert(name.clone(), moved);
            }
            let opened = match key {
                Ok(key) => self
                    .scopes
                    .open(&self.registry, &key, self.pass)
                    .map_or_else(
                        |error| {
                            let why = chain(&error);
                            unopened.insert(key.id(), error);
                            Err((key.name.clone(), why))
                        },
                        |scope| Ok((key.id(), scope)),
                    ),
                Err(missing) => Err(missing),
            };
            observation.scopes.insert(name.clone(), opened);
        }
        let looks = self.orphans.is_due(now);
        self.open_unused(looks, unopened);
        self.scopes.close_unused(self.pass);
        let asking = Asking {
            fleet: &self.settings.fleet,
            clock: &self.clock,
            wait: self.settings.limits.list_wait,
            timeout: self.settings.limits.list_timeout,
            tick: self.ticks.fetch_add(1, Ordering::SeqCst) + 1,
        };
        let (asked, wanted) = self.questions(&observation);
        observation.surveyors.places = wanted
            .iter()
            .map(|((id, _), scope)| (id.clone(), survey::place_of(&scope.facts)))
            .collect();
        observation.surveyors.asked = asked;
        let deadline = survey::deadline(asking.wait);
        self.surveys.ask(&wanted, &asking);
        observation.observed = self.scopes.list(&asking).await;
        observation.surveyors.found = self.surveys.collect(deadline, &asking).await;
        observation.seen = groups_seen(&observation.observed);
        self.look_first(&mut observation, now).await;
        self.judge_claims(&observation);
        self.note_providers(&observation, now);
        self.watch_orphans(&observation, looks, now);
        observation.refused = self.launches_refused(now);
        observation
    }

    /// Opens the providers that no group uses: instances may be left there, which are looked for now and then, and after the
    /// start with an empty data directory until it is known. `unopened` has what groups use and cannot be opened.
    fn open_unused(&mut self, looks: bool, mut unopened: BTreeMap<String, RegistryError>) {
        let first = self.whereabouts.look.as_ref();
        for provider in self.fleet.documents.providers.values() {
            let key = key_of(&provider.value);
            let id = key.id();
            let wanted = looks || first.is_some_and(|look| look.wants(&id));
            if !wanted || unopened.contains_key(&id) {
                continue;
            }
            if let Err(error) = self.scopes.open(&self.registry, &key, self.pass) {
                let known = self.whereabouts.unopened.get(&id) == Some(&error);
                if matches!(error, RegistryError::Open(_)) && !known {
                    warn!(provider = %key.name, error = chain(&error), "provider not opened");
                }
                unopened.insert(id, error);
            }
        }
        self.whereabouts.unopened = unopened;
    }

    /// Returns what is to be asked for the groups that adopt, by group, and of whom: for the document in force and for
    /// one that may come into force in this pass.
    fn questions(
        &self,
        observation: &Observation,
    ) -> (
        BTreeMap<GroupName, BTreeSet<Question>>,
        BTreeMap<Question, Arc<OpenScope>>,
    ) {
        let (mut asked, mut wanted) = (BTreeMap::new(), BTreeMap::new());
        for (name, entry) in &self.groups {
            let Some(Ok((id, scope))) = observation.scopes.get(name) else {
                continue;
            };
            let candidate = entry.candidate.as_ref().map(|candidate| &candidate.group);
            let documents = entry.accepted.iter().chain(candidate);
            let adopts = documents.filter_map(|group| group.spec.adopt.as_ref());
            let questions: BTreeSet<Question> = adopts
                .map(|adopt| (id.clone(), adopt.match_tags.clone()))
                .collect();
            for question in &questions {
                wanted.insert(question.clone(), Arc::clone(scope));
            }
            if !questions.is_empty() {
                asked.insert(name.clone(), questions);
            }
        }
        (asked, wanted)
    }

    /// Returns what identifies the scope of a group. None: it has no document at all.
    fn scope_key(
        &self,
        entry: &GroupEntry,
        moved: Option<&Hold>,
    ) -> Option<Result<ScopeKey, (ProviderName, String)>> {
        if entry.is_gone() {
            return None;
        }
        if entry.recorded.deleting.is_some() {
            let provider = entry.recorded.provider.as_ref()?;
            return Some(Ok(key_of_record(provider)));
        }
        let candidate = entry.candidate.as_ref().map(|candidate| &candidate.group);
        let group = candidate.or(entry.accepted.as_ref())?;
        let name = &group.spec.provider;
        let recorded = entry.recorded.provider.as_ref().filter(|r| r.name == *name);
        let Some(found) = self.fleet.documents.providers.get(name) else {
            // Removed from the repository while instances live: they are still looked after.
            return Some(recorded.map_or_else(
                || {
                    Err((
                        name.clone(),
                        "there is no such Provider document".to_owned(),
                    ))
                },
                |recorded| Ok(key_of_record(recorded)),
            ));
        };
        match recorded {
            Some(recorded)
                if recorded.type_ != found.value.type_ && !entry.recorded.instances.is_empty() =>
            {
                let why = format!(
                    "its type changed from {} to {}, and live instances belong to the former; make a new Provider and a new group instead",
                    recorded.type_, found.value.type_
                );
                Some(Err((name.clone(), why)))
            }
            // It is looked after where it is.
            Some(recorded) if moved.is_some() => Some(Ok(key_of_record(recorded))),
            _ => Some(Ok(key_of(&found.value))),
        }
    }

    /// Returns why the settings of its Provider document are not in force for a group: they lead to another place than its
    /// instances are in, where these would be left behind. None: nothing is left behind.
    fn moved(&self, entry: &GroupEntry) -> Option<Hold> {
        if entry.is_gone() || entry.recorded.deleting.is_some() {
            return None;
        }
        let candidate = entry.candidate.as_ref().map(|candidate| &candidate.group);
        let name = &candidate.or(entry.accepted.as_ref())?.spec.provider;
        let before = entry.recorded.provider.as_ref()?;
        let after = &self.fleet.documents.providers.get(name)?.value;
        if before.name != *name || before.type_ != after.type_ || before.settings == after.settings
        {
            return None;
        }
        let registry = &self.registry;
        let setting = registry.moved(&before.type_, &before.settings, &after.settings)?;
        let group = &entry.recorded.name;
        // What is being made is there, too, and whoever cannot say what is being made may be making some.
        let making = || {
            self.journal
                .open_intents(group)
                .map_or(true, |open| !open.is_empty())
        };
        (!entry.recorded.instances.is_empty() || making()).then(|| Hold::ProviderChanged {
            from: before.name.clone(),
            to: after.name.clone(),
            setting: Some(setting),
        })
    }

    /// Notes what people want to know about providers.
    fn note_providers(&mut self, observation: &Observation, now: Timestamp) {
        let mut notes: BTreeMap<String, ProviderStatus> = BTreeMap::new();
        for (id, observed) in &observation.observed {
            let mut parts = id.splitn(3, '/');
            let name = parts.next().unwrap_or_default().to_owned();
            let type_ = parts.next().unwrap_or_default().to_owned();
            let before = self.provider_notes.get(&name);
            let mut note = ProviderStatus {
                type_,
                listed_at: before.and_then(|before| before.listed_at),
                failure: None,
                failing_since: None,
                is_open: true,
                foreign: before.map_or(0, |before| before.foreign),
            };
            match observed {
                Observed::Fresh(listing) => {
                    note.listed_at = Some(listing.empty.as_of);
                    note.foreign = listing.foreign;
                }
                Observed::Waiting => {}
                Observed::Failed(failure) => {
                    note.failure = Some(failure.message.clone());
                    note.failing_since = Some(failure.since);
                }
            }
            let listed_before = before.filter(|before| before.is_open);
            let failed = listed_before.is_some_and(|before| before.failure.is_some());
            match (&note.failure, failed, observed) {
                (Some(error), false, _) => warn!(provider = name, error, "provider failed"),
                (None, true, Observed::Fresh(_)) => info!(provider = name, "provider lists again"),
                (None, true, Observed::Waiting) => {
                    // Nothing new is known: it stands as it did.
                    note.failure = before.and_then(|before| before.failure.clone());
                    note.failing_since = before.and_then(|before| before.failing_since);
                }
                _ => {}
            }
            notes.insert(name, note);
        }
        for (name, why) in observation
            .scopes
            .values()
            .filter_map(|it| it.as_ref().err())
        {
            let before = self.provider_notes.get(name.as_str());
            let since = before.filter(|before| !before.is_open);
            let since = since.and_then(|before| before.failing_since);
            notes
                .entry(name.to_string())
                .or_insert_with(|| ProviderStatus {
                    type_: before
                        .map(|before| before.type_.clone())
                        .unwrap_or_default(),
                    listed_at: before.and_then(|before| before.listed_at),
                    failure: Some(why.clone()),
                    failing_since: Some(since.unwrap_or(now)),
                    is_open: false,
                    foreign: before.map_or(0, |before| before.foreign),
                });
        }
        self.provider_notes = notes;
    }

    /// Looks for instances of groups that nobody knows.
    fn watch_orphans(&mut self, observation: &Observation, looked: bool, now: Timestamp) {
        let Some(known) = self.known_groups() else {
            return;
        };
        let mut watch = std::mem::take(&mut self.orphans);
        watch.forget_known(|group| known(group));
        for (id, observed) in &observation.observed {
            let provider = id.split('/').next().unwrap_or_default();
            if let Observed::Fresh(listing) = observed {
                for (_, part) in listing.groups.iter().filter(|(group, _)| !known(group)) {
                    watch.see(provider, part);
                }
                let whole = &listing.empty;
                watch.forget_missing(provider, &whole.completeness, whole.as_of);
            }
        }
        let waiting = |observed: &Observed| matches!(observed, Observed::Waiting);
        if looked && !observation.observed.values().any(waiting) {
            watch.looked(now);
        }
        let documents = self.fleet.documents.providers.keys();
        let used = observation.observed.keys();
        let used = used.map(|id| id.split('/').next().unwrap_or_default().to_owned());
        let there = documents.map(ToString::to_string).chain(used).collect();
        watch.forget_providers(&there);
        let news = watch.judge(now);
        for orphan in &news.found {
            warn!(
                provider = orphan.provider,
                group = %orphan.group,
                instance = %orphan.instance,
                "instance belongs to no group"
            );
        }
        if news.gone > 0 {
            info!(instances = news.gone, "orphans gone or claimed");
        }
        self.orphans = watch;
    }

    /// Returns what tells whether a group is known: by its document, its record or the journal. None:
    /// that cannot be told now, because a document that cannot be read may be its own.
    fn known_groups(&self) -> Option<impl Fn(&GroupName) -> bool + use<>> {
        let snapshot = self.snapshot.clone()?;
        let first = self.whereabouts.look.as_ref();
        let blind = first.is_some_and(|look| !look.has_read_source());
        let readable = snapshot.identities_readable && !self.desired_stale && !blind;
        let journal = self.journal.groups().ok().filter(|_| readable)?;
        let recorded: BTreeSet<GroupName> = self.groups.keys().cloned().collect();
        let unreadable: BTreeSet<String> = self.unreadable.keys().cloned().collect();
        Some(move |group: &GroupName| {
            recorded.contains(group)
                || journal.contains(group)
                || unreadable.contains(&format!("groups/{group}.yaml"))
                || snapshot.repository.mentions(Kind::Group, group.as_str())
        })
    }
}

fn key_of_record(provider: &RecordedProvider) -> ScopeKey {
    ScopeKey {
        name: provider.name.clone(),
        type_: provider.type_.clone(),
        settings: provider.settings.clone(),
    }
}

pub(super) fn key_of(provider: &ProviderDoc) -> ScopeKey {
    ScopeKey {
        name: provider.name.clone(),
        type_: provider.type_.clone(),
        settings: provider.settings.clone(),
    }
}
