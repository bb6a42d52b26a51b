//! Observing providers: one listing per scope and pass, shared by all groups in it. A slow scope's
//! listing goes on beside the pass and is used by the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    ErrorClass, FleetName, GroupName, Listing, ProviderName, ProviderPhase, ProviderType,
    Timestamp, Value,
};
use drover_plan::ProviderFacts;
use drover_provider::{Clock, Provider, ProviderError};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::registry::{Registry, RegistryError};

/// Most scopes whose listing is begun at once: a fleet has a handful of Provider documents. One that has not answered
/// for as long as a pass waits gives its place up, so that many that hang are in nobody's way.
pub(crate) const SCOPES_CONCURRENT: usize = 16;

/// What identifies an open scope: a document whose type or settings change is opened anew.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScopeKey {
    pub(crate) name: ProviderName,
    pub(crate) type_: ProviderType,
    pub(crate) settings: Value,
}

impl ScopeKey {
    /// Returns a text that is equal for equal keys, for ordered maps.
    pub(crate) fn id(&self) -> String {
        let mut bytes = Vec::new();
        self.settings.canonical_bytes(&mut bytes);
        let mut id = format!("{}/{}/", self.name, self.type_);
        for byte in bytes {
            let _ = write!(id, "{byte:02x}");
        }
        id
    }
}

/// An open provider with what planning needs of it.
#[derive(Debug)]
pub(crate) struct OpenScope {
    /// Another one for each that is opened.
    pub(crate) number: u64,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) facts: ProviderFacts,
    pub(crate) visibility: Duration,
}

/// One listing, split by group.
#[derive(Debug)]
pub(crate) struct ScopeListing {
    /// Position in the agent's order of events: not a time, which may step.
    pub(crate) tick: u64,
    pub(crate) groups: BTreeMap<GroupName, Arc<Listing>>,
    /// What a group without instances gets.
    pub(crate) empty: Arc<Listing>,
    /// Instances of another fleet, or whose tags cannot be read: never touched.
    pub(crate) foreign: usize,
}

impl ScopeListing {
    fn split(tick: u64, fleet: &FleetName, listing: Listing) -> Self {
        let part = || Listing {
            completeness: listing.completeness.clone(),
            as_of: listing.as_of,
            instances: Vec::new(),
            attached: BTreeSet::new(),
            places: BTreeMap::new(),
        };
        let mut groups: BTreeMap<GroupName, Listing> = BTreeMap::new();
        let mut foreign = 0;
        for listed in listing.instances {
            match &listed.ownership {
                Some(owner) if owner.fleet == *fleet && owner.instance.group() == &owner.group => {
                    let group = groups.entry(owner.group.clone()).or_insert_with(part);
                    group.instances.push(listed);
                }
                _ => foreign += 1,
            }
        }
        // What is attached to a group without instances is seen by that group all the same.
        for (group, seat) in listing.attached {
            let own = groups.entry(group.clone()).or_insert_with(part);
            own.attached.insert((group, seat));
        }
        for ((group, seat), address) in listing.places {
            let own = groups.entry(group.clone()).or_insert_with(part);
            own.places.insert((group, seat), address);
        }
        let kept = |(group, mut listing): (GroupName, Listing)| {
            // Kept until the next listing, and there is one for each group.
            listing.instances.shrink_to_fit();
            (group, Arc::new(listing))
        };
        Self {
            tick,
            empty: Arc::new(part()),
            groups: groups.into_iter().map(kept).collect(),
            foreign,
        }
    }

    /// Returns the group's part of the listing.
    pub(crate) fn of(&self, group: &GroupName) -> &Arc<Listing> {
        self.groups.get(group).unwrap_or(&self.empty)
    }
}

/// What is known of a scope in a pass.
#[derive(Debug, Clone)]
pub(crate) enum Observed {
    /// Listed in this pass, or since the last one.
    Fresh(Arc<ScopeListing>),
    /// Asked, no answer yet.
    Waiting,
    /// Asking failed.
    Failed(ScopeFailure),
}

/// A scope that cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScopeFailure {
    pub(crate) class: ErrorClass,
    pub(crate) message: String,
    /// Since when every listing failed.
    pub(crate) since: Timestamp,
}

#[derive(Debug)]
struct Scope {
    open: Arc<OpenScope>,
    /// The listing under way.
    asking: Option<JoinHandle<Asked>>,
    /// Since when every listing failed.
    failing_since: Option<Timestamp>,
    used_in: u64,
}

/// A listing's answer.
type Asked = (u64, Result<Listing, ProviderError>);

/// The scopes that are open.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    open: BTreeMap<String, Scope>,
    opened: u64,
}

/// What listing needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Asking<'a> {
    pub(crate) fleet: &'a FleetName,
    pub(crate) clock: &'a Arc<dyn Clock>,
    /// How long the pass waits.
    pub(crate) wait: Duration,
    /// How long a listing may take.
    pub(crate) timeout: Duration,
    pub(crate) tick: u64,
}

impl Asking<'_> {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            place: self.wait,
            answer: self.timeout,
        }
    }
}

/// How long a call, or a group's work, may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long it keeps its place among those that go on at once.
    pub(crate) place: Duration,
    /// How long it may take in all, from when it has its place.
    pub(crate) answer: Duration,
}

/// Waits for a call or a group's work, begun as soon as `gate` has a place for it.
///
/// # Errors
///
/// It had no answer within this time.
pub(crate) async fn bounded<T>(
    gate: Arc<Semaphore>,
    limits: Limits,
    call: impl Future<Output = T>,
) -> Result<T, Duration> {
    // Closing never happens; without a permit the call would merely be unbounded.
    let permit = gate.acquire_owned().await;
    let limited = tokio::time::timeout(limits.answer, call);
    tokio::pin!(limited);
    let answered = match tokio::time::timeout(limits.place, &mut limited).await {
        Ok(answered) => answered,
        Err(_elapsed) => {
            drop(permit);
            limited.await
        }
    };
    answered.map_err(|_elapsed| limits.answer)
}

impl Scopes {
    /// Returns the open scope of a document, opening it if need be.
    pub(crate) fn open(
        &mut self,
        registry: &Registry,
        key: &ScopeKey,
        pass: u64,
    ) -> Result<Arc<OpenScope>, RegistryError> {
        let id = key.id();
        if let Some(scope) = self.open.get_mut(&id) {
            scope.used_in = pass;
            return Ok(Arc::clone(&scope.open));
        }
        let provider = registry.open(&key.name, &key.type_, &key.settings)?;
        let manifest = provider.manifest();
        self.opened += 1;
        let open = Arc::new(OpenScope {
            number: self.opened,
            facts: ProviderFacts {
                name: key.name.clone(),
                type_: key.type_.clone(),
                settings: key.settings.clone(),
                classes: manifest.properties.classes(),
                batch_max: manifest.batch_max,
            },
            visibility: manifest.visibility,
            provider,
        });
        let scope = Scope {
            open: Arc::clone(&open),
            asking: None,
            failing_since: None,
            used_in: pass,
        };
        self.open.insert(id, scope);
        Ok(open)
    }

    /// Closes the scopes that no group used in pass `pass`.
    pub(crate) fn close_unused(&mut self, pass: u64) {
        self.open.retain(|_, scope| {
            let used = scope.used_in == pass;
            if let (false, Some(asking)) = (used, &scope.asking) {
                asking.abort();
            }
            used
        });
    }

    /// Lists every open scope, and returns what is known of each by its key's id.
    ///
    /// # Cancellation
    ///
    /// Listings under way go on; the next call collects them.
    pub(crate) async fn list(&mut self, asking: &Asking<'_>) -> BTreeMap<String, Observed> {
        let gate = Arc::new(Semaphore::new(SCOPES_CONCURRENT));
        for scope in self.open.values_mut() {
            if scope.asking.is_none() {
                scope.asking = Some(ask(&scope.open, asking, &gate));
            }
        }
        let deadline = tokio::time::Instant::now() + asking.wait;
        let mut observed = BTreeMap::new();
        for (id, scope) in &mut self.open {
            let known = scope.collect(deadline, asking).await;
            observed.insert(id.clone(), known);
        }
        observed
    }

    /// Returns whether a listing is under way that answers later.
    pub(crate) fn is_asking(&self) -> bool {
        self.open.values().any(|scope| scope.asking.is_some())
    }
}

impl Drop for Scopes {
    fn drop(&mut self) {
        for scope in self.open.values() {
            if let Some(asking) = &scope.asking {
                asking.abort();
            }
        }
    }
}

impl Scope {
    async fn collect(&mut self, deadline: tokio::time::Instant, asking: &Asking<'_>) -> Observed {
        let Some(handle) = &mut self.asking else {
            return Observed::Waiting;
        };
        let Ok(joined) = tokio::time::timeout_at(deadline, handle).await else {
            return Observed::Waiting;
        };
        self.asking = None;
        let (tick, answer) = joined.unwrap_or_else(|error| {
            let message = format!("internal error while listing: {error}");
            (
                asking.tick,
                Err(ProviderError::new(ErrorClass::Unknown, message)),
            )
        });
        match answer {
            Ok(listing) => {
                self.failing_since = None;
                Observed::Fresh(Arc::new(ScopeListing::split(tick, asking.fleet, listing)))
            }
            Err(error) => {
                let now = asking.clock.now();
                Observed::Failed(ScopeFailure {
                    class: error.class,
                    message: error.message,
                    since: *self.failing_since.get_or_insert(now),
                })
            }
        }
    }
}

fn ask(scope: &OpenScope, asking: &Asking<'_>, gate: &Arc<Semaphore>) -> JoinHandle<Asked> {
    let provider = Arc::clone(&scope.provider);
    let asked = drover_plan::lister(&scope.facts);
    let fleet = asking.fleet.clone();
    let (tick, limits) = (asking.tick, asking.limits());
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        let answer = bounded(gate, limits, provider.list(&fleet)).await;
        let answer = answer.unwrap_or_else(|limit| {
            let message = format!("{asked}: no answer within {} s", limit.as_secs());
            Err(ProviderError::new(ErrorClass::Unknown, message))
        });
        (tick, answer)
    })
}

/// Returns the groups that have instances in some scope, with the scopes' ids. What has ended is nowhere.
pub(crate) fn groups_seen(
    observed: &BTreeMap<String, Observed>,
) -> BTreeMap<GroupName, BTreeSet<String>> {
    let mut seen: BTreeMap<GroupName, BTreeSet<String>> = BTreeMap::new();
    for (id, observed) in observed {
        if let Observed::Fresh(listing) = observed {
            let groups = listing.groups.iter();
            let there = groups.filter(|(_, listing)| {
                let mut phases = listing.instances.iter().map(|listed| &listed.phase);
                phases.any(|phase| *phase != ProviderPhase::Terminated)
            });
            for (group, _) in there {
                seen.entry(group.clone()).or_default().insert(id.clone());
            }
        }
    }
    seen
}
