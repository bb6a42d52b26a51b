//! After the start with an empty data directory: which groups wait for a provider that was not listed since, because it may
//! have instances of theirs; and which ones wait for instances that are where their document does not look.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{Completeness, GroupName, Held, Hold, Kind, Timestamp};
use tracing::info;

use super::claims::Claim;
use super::observation::{Observation, key_of};
use super::{Agent, plain};
use crate::entry::GroupEntry;
use crate::first_look::{FirstLook, Sight};
use crate::lease::Lease;
use crate::observe::Observed;
use crate::registry::RegistryError;
use crate::source::chain;
use crate::store::Batch;

/// What is known of where groups may have instances.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    /// Set until everything was listed after the start with an empty data directory.
    pub(super) look: Option<FirstLook>,
    /// The same as the local store has it.
    kept: Option<FirstLook>,
    /// Scopes that could not be opened in the latest pass, by id.
    pub(super) unopened: BTreeMap<String, RegistryError>,
    /// What scopes list of groups that do not use them, by id, as of their latest listing.
    pub(super) claims: BTreeMap<String, Claim>,
}

impl Whereabouts {
    /// Takes up what the local store has, with the lease: without one the data directory is empty.
    pub(super) fn of(lease: Option<&Lease>, stored: Option<FirstLook>) -> Self {
        Self {
            kept: stored.clone(),
            look: stored.or_else(|| lease.is_none().then(FirstLook::default)),
            ..Self::default()
        }
    }

    /// Begins anew, with a data directory that is empty: the batch is what will be in it.
    pub(super) fn begin(&mut self, batch: &mut Batch) {
        self.look = Some(FirstLook::default());
        self.kept.clone_from(&self.look);
        batch.first_look(self.look.as_ref());
    }
}

/// Returns the name of a scope's provider.
pub(super) fn provider_of(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

impl Agent {
    /// Finds out what is missing still after the start with an empty data directory, and keeps it.
    pub(super) async fn look_first(&mut self, observation: &mut Observation, now: Timestamp) {
        if self.whereabouts.look.is_some() {
            let reads = self.snapshot.is_some();
            let sights = self.sights(observation);
            let look = self.whereabouts.look.as_mut();
            observation.missing = look.and_then(|look| look.take(reads, &sights));
            if observation.missing.is_none() {
                info!(
                    groups = observation.seen.len(),
                    "every provider listed after the start without data"
                );
                self.whereabouts.look = None;
            }
        }
        // Until it is kept a restart knows less, and waits for longer.
        if self.whereabouts.look != self.whereabouts.kept {
            let mut batch = Batch::default();
            batch.first_look(self.whereabouts.look.as_ref()).clock(now);
            if self.write_store(batch).await {
                self.whereabouts.kept.clone_from(&self.whereabouts.look);
            }
        }
    }

    /// Returns what this pass has seen of each scope that there is.
    fn sights(&self, observation: &Observation) -> BTreeMap<String, Sight> {
        let waited_for: BTreeSet<&str> = self
            .groups
            .keys()
            .filter_map(|name| self.strays_of(name, observation))
            .flatten()
            .collect();
        let mut sights = BTreeMap::new();
        for (id, observed) in &observation.observed {
            let missing = match observed {
                Observed::Fresh(listing) => match &listing.empty.completeness {
                    Completeness::Complete => None,
                    Completeness::Partial { why } => {
                        Some(format!("its listing is incomplete: {why}"))
                    }
                },
                Observed::Waiting => Some("it has not answered the listing yet".to_owned()),
                Observed::Failed(failure) => Some(format!("listing it fails: {}", failure.message)),
            };
            let sight = match missing {
                Some(why) => Sight::Missing(why),
                None if waited_for.contains(&**id) => Sight::Claimed,
                None => Sight::Whole,
            };
            sights.insert(id.clone(), sight);
        }
        for (id, error) in &self.whereabouts.unopened {
            if error.is_barred() && !self.is_former(provider_of(id)) {
                continue;
            }
            let why = format!("it cannot be opened: {}", chain(error));
            sights.insert(id.clone(), Sight::Missing(why));
        }
        let documents = &self.fleet.documents.providers;
        // What was listed before was not asked again.
        let look = self.whereabouts.look.as_ref();
        for provider in documents.values() {
            let id = key_of(&provider.value).id();
            if look.is_some_and(|look| !look.wants(&id)) {
                let unasked = || Sight::Missing("it was not asked".to_owned());
                sights.entry(id).or_insert_with(unasked);
            }
        }
        for (name, why) in self.unreadable_providers() {
            if !documents.keys().any(|known| known.as_str() == name) {
                sights.insert(name, Sight::Missing(why.to_owned()));
            }
        }
        sights
    }

    /// Returns the names of providers that have a document, or may have one, that cannot be read, with the reason.
    fn unreadable_providers(&self) -> Vec<(String, &'static str)> {
        let readable = self.snapshot.as_ref();
        let readable = readable.is_some_and(|snapshot| snapshot.identities_readable);
        let named = self.groups.values().flat_map(GroupEntry::providers);
        let doubtful = named.filter(|_| !readable);
        let doubtful = doubtful.map(|name| (name.to_string(), "its document may be unreadable"));
        let broken = self.snapshot.iter().flat_map(|it| &it.repository.broken);
        let broken = broken.filter_map(|broken| match &broken.identity {
            Some((Kind::Provider, name)) => Some((name.clone(), "its document is not valid")),
            Some(_) | None => None,
        });
        doubtful.chain(broken).collect()
    }

    /// Returns whether the record of some group names a provider that its document does not name.
    fn is_former(&self, provider: &str) -> bool {
        self.groups.values().any(|entry| {
            let recorded = entry.recorded.provider.as_ref();
            recorded.is_some_and(|recorded| recorded.name.as_str() == provider)
                && entry.providers().any(|name| name.as_str() != provider)
        })
    }

    /// Returns a fence for a group of which there may be instances that nobody has seen since the start.
    fn unseen(&self, name: &GroupName, observation: &Observation) -> Option<Held> {
        let missing = observation.missing.as_ref()?;
        let held = |why: &str| {
            let why = format!("the data directory was empty, and {why}");
            Some(plain(Hold::ObservationPartial { why }))
        };
        if missing.source {
            return held("the source was not read yet");
        }
        let entry = self.groups.get(name)?;
        let (id, why) = if entry.is_unproven() && !is_home(name, observation) {
            missing.scopes.first_key_value()?
        } else {
            let mut others = self.others(name, entry, observation);
            others.find_map(|id| missing.scopes.get_key_value(&id))?
        };
        let provider = provider_of(id);
        held(&format!(
            "provider {provider}, where this group may have instances, was not listed yet: {why}"
        ))
    }

    /// Returns the ids of the other scopes than its own where a group may have instances, as far as documents and record
    /// say: without its own it is not planned anyway. A provider that has no good document goes by its name.
    fn others<'a>(
        &'a self,
        name: &GroupName,
        entry: &'a GroupEntry,
        observation: &'a Observation,
    ) -> impl Iterator<Item = String> + 'a {
        let own = observation.scopes.get(name);
        let own = own.map(|scope| match scope {
            Ok((id, _)) => provider_of(id),
            Err((provider, _)) => provider.as_str(),
        });
        let others = entry.providers().filter(move |it| own != Some(it.as_str()));
        others.map(|other| {
            let document = self.fleet.documents.providers.get(other);
            let id = document.map(|document| key_of(&document.value).id());
            id.unwrap_or_else(|| other.to_string())
        })
    }

    /// Returns in which other scopes than its own a group has instances that it waits for. None: it has some where its
    /// document says, or nowhere.
    fn strays_of<'a>(
        &'a self,
        name: &GroupName,
        observation: &'a Observation,
    ) -> Option<impl Iterator<Item = &'a str>> {
        observation.scopes.get(name)?.as_ref().ok()?;
        let seen = observation.seen.get(name)?;
        if is_home(name, observation) {
            return None;
        }
        let entry = self.groups.get(name)?;
        let anywhere = self.whereabouts.look.is_some() && entry.is_unproven();
        let ids = seen.iter().map(String::as_str);
        Some(ids.filter(move |id| anywhere || entry.uses(provider_of(id))))
    }

    /// Returns the fences of a group whose instances may be, or are, in another provider than its document names: it moved
    /// before the data directory was lost, or while it was.
    pub(super) fn astray(&self, name: &GroupName, observation: &Observation) -> Vec<Held> {
        let strays = self.strays_of(name, observation);
        let elsewhere = strays.and_then(|mut strays| strays.next()).map(|id| {
            let provider = provider_of(id);
            let why = format!(
                "its instances are in provider {provider}, which its document does not name"
            );
            plain(Hold::ObservationPartial { why })
        });
        let unseen = self.unseen(name, observation);
        unseen.into_iter().chain(elsewhere).collect()
    }
}

/// Returns whether a group has instances where its document says.
fn is_home(name: &GroupName, observation: &Observation) -> bool {
    let Some(Ok((own, _))) = observation.scopes.get(name) else {
        return false;
    };
    let seen = observation.seen.get(name);
    seen.is_some_and(|seen| seen.contains(own))
}
