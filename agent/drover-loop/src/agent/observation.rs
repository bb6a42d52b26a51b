//! The observation of a pass: open the scopes that groups need, list them, and after the start
//! without data find out when everything that exists is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use drover_model::{
    Completeness, GroupName, Held, Hold, Kind, ProviderDoc, ProviderName, Timestamp,
};
use tracing::{info, warn};

use super::{Agent, plain};
use crate::entry::GroupEntry;
use crate::observe::{Asking, Observed, OpenScope, ScopeKey, ScopeListing, groups_seen};
use crate::registry::RegistryError;
use crate::source::chain;
use crate::status::ProviderStatus;

/// A group's scope with its id, or the provider's name and why there is none.
type GroupScope = Result<(String, Arc<OpenScope>), (ProviderName, String)>;

/// What a pass knows of the groups' scopes.
#[derive(Debug, Default)]
pub(super) struct Observation {
    /// For each group the id of its scope, and the scope, or why there is none.
    pub(super) scopes: BTreeMap<GroupName, GroupScope>,
    pub(super) observed: BTreeMap<String, Observed>,
    /// In which scopes each group has instances.
    seen: BTreeMap<GroupName, BTreeSet<String>>,
    /// Why nothing may be done yet after the start with an empty data directory.
    pub(super) adopting: Option<String>,
}

impl Agent {
    /// Opens and lists every scope that a group needs; with an empty data directory, every scope of
    /// the repository.
    pub(super) async fn observe(&mut self, _now: Timestamp) -> Observation {
        let mut observation = Observation::default();
        for (name, entry) in &self.groups {
            let Some(key) = self.scope_key(entry) else {
                continue;
            };
            let opened = match key {
                Ok(key) => self
                    .scopes
                    .open(&self.registry, &key, self.pass)
                    .map_or_else(
                        |error| Err((key.name.clone(), chain(&error))),
                        |scope| Ok((key.id(), scope)),
                    ),
                Err(missing) => Err(missing),
            };
            observation.scopes.insert(name.clone(), opened);
        }
        if self.adopting {
            for provider in self.fleet.documents.providers.values() {
                let key = key_of(&provider.value);
                if let Err(RegistryError::Open(error)) =
                    self.scopes.open(&self.registry, &key, self.pass)
                {
                    warn!(provider = %key.name, error = %error, "provider not opened");
                }
            }
        }
        self.scopes.close_unused(self.pass);
        let asking = Asking {
            fleet: &self.settings.fleet,
            clock: &self.clock,
            wait: self.settings.limits.list_wait,
            timeout: self.settings.limits.list_timeout,
            tick: self.ticks.fetch_add(1, Ordering::SeqCst) + 1,
        };
        observation.observed = self.scopes.list(&asking).await;
        observation.seen = groups_seen(&observation.observed);
        self.adopt(&mut observation);
        self.note_providers(&observation);
        observation
    }

    /// Returns what identifies the scope of a group. None: it has no document at all.
    fn scope_key(&self, entry: &GroupEntry) -> Option<Result<ScopeKey, (ProviderName, String)>> {
        if entry.is_gone() {
            return None;
        }
        if entry.recorded.deleting.is_some() {
            let provider = entry.recorded.provider.as_ref()?;
            return Some(Ok(ScopeKey {
                name: provider.name.clone(),
                type_: provider.type_.clone(),
                settings: provider.settings.clone(),
            }));
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
                |recorded| {
                    Ok(ScopeKey {
                        name: recorded.name.clone(),
                        type_: recorded.type_.clone(),
                        settings: recorded.settings.clone(),
                    })
                },
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
            _ => Some(Ok(key_of(&found.value))),
        }
    }

    /// After the start with an empty data directory: finds out whether every scope was listed whole.
    fn adopt(&mut self, observation: &mut Observation) {
        if !self.adopting {
            return;
        }
        let unlisted = observation
            .observed
            .values()
            .find_map(|observed| match observed {
                Observed::Fresh(listing) => match &listing.empty.completeness {
                    Completeness::Complete => None,
                    Completeness::Partial { why } => Some(why.clone()),
                },
                Observed::Waiting => Some("a provider has not answered yet".to_owned()),
                Observed::Failed(failure) => Some(failure.message.clone()),
            });
        let missing = match &self.snapshot {
            None => Some("the source was not read yet".to_owned()),
            Some(_) => unlisted,
        };
        if let Some(why) = missing {
            observation.adopting = Some(format!(
                "the data directory was empty, and not every provider was listed yet: {why}"
            ));
            return;
        }
        let found: usize = observation.seen.len();
        info!(
            groups = found,
            "every provider listed after the start without data"
        );
        self.adopting = false;
    }

    /// Notes what people want to know about providers.
    fn note_providers(&mut self, observation: &Observation) {
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
                foreign: before.map_or(0, |before| before.foreign),
                unclaimed: Vec::new(),
            };
            match observed {
                Observed::Fresh(listing) => {
                    note.listed_at = Some(listing.empty.as_of);
                    note.foreign = listing.foreign;
                    note.unclaimed = self.unclaimed_in(listing);
                }
                Observed::Waiting => {}
                Observed::Failed(failure) => note.failure = Some(failure.message.clone()),
            }
            let known = before.map(|before| &before.unclaimed);
            if !note.unclaimed.is_empty() && known != Some(&note.unclaimed) {
                let groups = note.unclaimed.len();
                warn!(
                    provider = name,
                    groups, "instances of groups that nobody knows are left alone"
                );
            }
            notes.insert(name, note);
        }
        self.provider_notes = notes;
    }

    fn unclaimed_in(&self, listing: &ScopeListing) -> Vec<GroupName> {
        let unknown = listing.groups.keys().filter(|group| {
            let mentioned = self
                .snapshot
                .as_ref()
                .is_some_and(|snapshot| snapshot.repository.mentions(Kind::Group, group.as_str()));
            !self.groups.contains_key(*group) && !mentioned
        });
        unknown.cloned().collect()
    }
}

fn key_of(provider: &ProviderDoc) -> ScopeKey {
    ScopeKey {
        name: provider.name.clone(),
        type_: provider.type_.clone(),
        settings: provider.settings.clone(),
    }
}

/// Returns a fence when the group has instances in another scope than its own, which happens when
/// the data directory was lost and the document moved to another provider meanwhile.
pub(super) fn elsewhere(name: &GroupName, observation: &Observation) -> Option<Held> {
    let (own, _) = observation.scopes.get(name)?.as_ref().ok()?;
    let seen = observation.seen.get(name)?;
    if seen.contains(own) {
        return None;
    }
    let other = seen.iter().next()?;
    let other = other.split('/').next().unwrap_or_default();
    let why = format!("its instances are in provider {other}, which its document does not name");
    Some(plain(Hold::ObservationPartial { why }))
}
