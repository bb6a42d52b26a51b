//! The documents that groups rest on: policies, bindings and providers, each in its last good version.
//!
//! **Invariant:** a document that goes bad keeps its last good version in force. A policy that never
//! was good holds what it is bound to. A policy that a commit removes or loosens keeps judging until
//! it holds nothing back any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_model::{
    AcceptedDocument, Amount, Binding, BindingName, Calendar, CalendarName, FleetBudget, Kind,
    MetricSource, MetricSourceName, Policy, PolicyName, ProviderDoc, ProviderName, Revision,
};
use drover_policy::{Definitions, PolicyMistake, PolicySet};
use drover_spec::record::{AcceptedRewrite, FleetDocuments, RecordedFleet};
use drover_spec::{Diagnostic, Document, FleetDoc, Located};

use crate::check::check_provider;
use crate::registry::Registry;
use crate::source::Snapshot;

/// Most earlier sets of policies that still judge. Beyond it new policies wait.
pub(crate) const GUARDS_MAX: usize = 4;

/// Of documents that were in force before, nobody knows which others could not be read then.
const RESTORED: bool = true;

/// A document with its text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept<T> {
    pub(crate) value: T,
    pub(crate) document: AcceptedDocument,
}

/// The documents of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Documents {
    pub(crate) policies: BTreeMap<PolicyName, Kept<Policy>>,
    pub(crate) bindings: BTreeMap<BindingName, Kept<Binding>>,
    pub(crate) providers: BTreeMap<ProviderName, Kept<ProviderDoc>>,
    /// The document of the fleet itself, if there is one.
    pub(crate) fleet: BTreeMap<String, Kept<FleetDoc>>,
    pub(crate) metric_sources: BTreeMap<MetricSourceName, Kept<MetricSource>>,
    pub(crate) calendars: BTreeMap<CalendarName, Kept<Calendar>>,
    /// Policies that never were good, with the first mistake.
    pub(crate) never_good: BTreeMap<PolicyName, String>,
}

/// What is in force for the whole fleet.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) documents: Documents,
    /// Earlier documents whose policies still judge, oldest first.
    pub(crate) earlier: Vec<Documents>,
    /// One set per entry of `earlier`, then the current one.
    pub(crate) sets: Vec<Arc<PolicySet>>,
    /// What is wrong with policies and bindings beyond their syntax.
    pub(crate) mistakes: Vec<Diagnostic>,
    /// A rewritten history that was accepted, until a commit of the state branch tells of it.
    pub(crate) rewrite: Option<AcceptedRewrite>,
    /// Commits of documents of groups that were in force when a rewritten history was accepted: it need not have them.
    pub(crate) left_behind: BTreeSet<Revision>,
}

/// What a snapshot changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FleetChanged {
    /// Any document.
    pub(crate) documents: bool,
    /// The list of earlier sets.
    pub(crate) guards: bool,
}

impl Fleet {
    /// Takes up what was stored, or published.
    pub(crate) fn restore(current: Option<&RecordedFleet>, earlier: &[FleetDocuments]) -> Self {
        let documents = current.map(|it| Documents::restore(&it.documents));
        let documents = documents.unwrap_or_default();
        let earlier: Vec<Documents> = earlier.iter().map(Documents::restore).collect();
        let mut sets: Vec<_> = earlier
            .iter()
            .map(|then| Arc::new(then.compile(RESTORED).0))
            .collect();
        let (set, mistakes) = documents.compile(RESTORED);
        sets.push(Arc::new(set));
        Self {
            mistakes: mistakes.iter().map(diagnostic).collect(),
            documents,
            earlier,
            sets,
            rewrite: current.and_then(|current| current.accepted_rewrite.clone()),
            left_behind: current.map(|it| it.left_behind.clone()).unwrap_or_default(),
        }
    }

    /// Returns the documents as they are published, with the earlier sets: whoever has nothing else is to judge by them.
    pub(crate) fn publish(&self, revision: &Revision) -> RecordedFleet {
        RecordedFleet {
            earlier: self.earlier.iter().map(Documents::judging).collect(),
            ..self.record(revision)
        }
    }

    /// Returns the documents as they are recorded, with what else the record is to tell.
    pub(crate) fn record(&self, revision: &Revision) -> RecordedFleet {
        RecordedFleet {
            accepted_rewrite: self.rewrite.clone(),
            left_behind: self.left_behind.clone(),
            ..self.documents.record(revision)
        }
    }

    /// Takes up the documents of a snapshot.
    pub(crate) fn update(&mut self, snapshot: &Snapshot, registry: &Registry) -> FleetChanged {
        let (documents, set, mistakes) = self.documents.follow(snapshot, registry);
        self.mistakes = mistakes.iter().map(diagnostic).collect();
        if documents == self.documents {
            return FleetChanged::default();
        }
        let judges = |documents: &Documents| {
            let digests = documents.policies.values().map(|kept| &kept.value.digest);
            let bindings = documents.bindings.values().map(|kept| &kept.value.digest);
            let metrics = documents.metric_sources.values();
            let metrics = metrics.map(|kept| &kept.value.digest);
            let calendars = documents.calendars.values().map(|kept| &kept.value.digest);
            let all = digests.chain(bindings).chain(metrics).chain(calendars);
            let all: Vec<String> = all.cloned().collect();
            (all, documents.never_good.clone())
        };
        let same_judges = judges(&documents) == judges(&self.documents);
        if !same_judges && self.earlier.len() >= GUARDS_MAX {
            // Taking them would drop a guard that still holds something back.
            self.documents.providers = documents.providers;
            self.documents.fleet = documents.fleet;
            self.mistakes.extend(self.waiting());
            return FleetChanged {
                documents: true,
                guards: false,
            };
        }
        let before = std::mem::replace(&mut self.documents, documents);
        let guards = !same_judges && !before.policies.is_empty();
        if guards {
            self.earlier.push(before);
        } else {
            self.sets.pop();
        }
        self.sets.push(Arc::new(set));
        FleetChanged {
            documents: true,
            guards,
        }
    }

    /// Says that newer policies wait, at the place of each binding in force.
    fn waiting(&self) -> Vec<Diagnostic> {
        let bindings = self.documents.bindings.values();
        let wait = bindings.map(|kept| {
            let message = format!(
                "newer policies wait: {GUARDS_MAX} earlier sets of policies still hold something back"
            );
            Diagnostic::warning("policies-wait", message, kept.value.span.clone())
        });
        wait.take(1).collect()
    }

    /// Lets go of the earlier sets that held nothing back in a whole pass. Returns whether any was.
    pub(crate) fn release(&mut self, withholds: &[bool]) -> bool {
        let before = self.earlier.len();
        let mut position = 0;
        let mut keep = |_: &Documents| {
            position += 1;
            withholds.get(position - 1).copied().unwrap_or(true)
        };
        self.earlier.retain(|documents| keep(documents));
        let mut position = 0;
        self.sets.retain(|_| {
            position += 1;
            position > before || withholds.get(position - 1).copied().unwrap_or(true)
        });
        self.earlier.len() != before
    }

    /// Returns the earlier documents as they are stored.
    pub(crate) fn record_earlier(&self, revision: &Revision) -> Vec<RecordedFleet> {
        let earlier = self.earlier.iter();
        earlier
            .map(|documents| documents.record(revision))
            .collect()
    }
}

impl Documents {
    fn restore(recorded: &FleetDocuments) -> Self {
        let mut documents = Self::default();
        for ((kind, name), document) in recorded {
            documents.restore_one(*kind, name, document);
        }
        documents
    }

    fn restore_one(&mut self, kind: Kind, name: &str, document: &AcceptedDocument) {
        let parsed = drover_spec::parse_document(&document.path, document.line, &document.text);
        let Some(outcome) = parsed
            .documents
            .into_iter()
            .find_map(|parsed| parsed.outcome)
        else {
            // Written by another version, and no longer readable: a policy holds from then on.
            if let (Kind::Policy, Ok(name)) = (kind, PolicyName::parse(name)) {
                let why = "the recorded document cannot be read by this version".to_owned();
                self.never_good.insert(name, why);
            }
            return;
        };
        let document = document.clone();
        match outcome {
            Document::Policy(value) => {
                let value = *value;
                let name = value.name.clone();
                self.policies.insert(name, Kept { value, document });
            }
            Document::Binding(value) => {
                let value = *value;
                let name = value.name.clone();
                self.bindings.insert(name, Kept { value, document });
            }
            Document::Provider(value) => {
                let value = *value;
                let name = value.name.clone();
                self.providers.insert(name, Kept { value, document });
            }
            Document::Fleet(value) => {
                let name = value.name.clone();
                self.fleet.insert(name, Kept { value, document });
            }
            Document::MetricSource(value) => {
                let value = *value;
                let name = value.name.clone();
                self.metric_sources.insert(name, Kept { value, document });
            }
            Document::Calendar(value) => {
                let value = *value;
                let name = value.name.clone();
                self.calendars.insert(name, Kept { value, document });
            }
            Document::Group(_) => {}
        }
    }

    /// Returns the budgets that groups share.
    pub(crate) fn budgets(&self) -> &[FleetBudget] {
        let fleet = self.fleet.values().next();
        fleet.map_or(&[], |kept| &kept.value.budgets)
    }

    /// Returns the fleet's own limit of what changes remove.
    pub(crate) fn destroy_max(&self) -> Option<Amount> {
        let fleet = self.fleet.values().next();
        fleet.and_then(|kept| kept.value.destroy_max)
    }

    /// Returns the documents as they are recorded.
    pub(crate) fn record(&self, revision: &Revision) -> RecordedFleet {
        RecordedFleet {
            revision: Some(revision.clone()),
            documents: self.documents(),
            ..RecordedFleet::default()
        }
    }

    fn documents(&self) -> FleetDocuments {
        let policies = self.policies.iter();
        let policies = policies.map(|(n, k)| ((Kind::Policy, n.to_string()), &k.document));
        let bindings = self.bindings.iter();
        let bindings = bindings.map(|(n, k)| ((Kind::Binding, n.to_string()), &k.document));
        let providers = self.providers.iter();
        let providers = providers.map(|(n, k)| ((Kind::Provider, n.to_string()), &k.document));
        let fleet = self.fleet.iter();
        let fleet = fleet.map(|(n, k)| ((Kind::Fleet, n.clone()), &k.document));
        let metrics = self.metric_sources.iter();
        let metrics = metrics.map(|(n, k)| ((Kind::MetricSource, n.to_string()), &k.document));
        let calendars = self.calendars.iter();
        let calendars = calendars.map(|(n, k)| ((Kind::Calendar, n.to_string()), &k.document));
        let documents = policies.chain(bindings).chain(providers).chain(fleet);
        let documents = documents.chain(metrics).chain(calendars);
        documents
            .map(|(identity, document)| (identity, document.clone()))
            .collect()
    }

    /// Returns the documents that policies consist of, as they are recorded.
    fn judging(&self) -> FleetDocuments {
        let documents = self.documents().into_iter();
        let judging = documents.filter(|((kind, _), _)| match kind {
            Kind::Policy | Kind::Binding | Kind::MetricSource | Kind::Calendar => true,
            Kind::Provider | Kind::Fleet | Kind::Group => false,
        });
        judging.collect()
    }

    /// Compiles the policies. `partial`: see [`Definitions::new`].
    fn compile(&self, partial: bool) -> (PolicySet, Vec<PolicyMistake>) {
        let policies: Vec<Policy> = self.policies.values().map(|k| k.value.clone()).collect();
        let bindings: Vec<Binding> = self.bindings.values().map(|k| k.value.clone()).collect();
        let never: Vec<_> = self.never_good.clone().into_iter().collect();
        let metrics = self.metric_sources.values().map(|kept| &kept.value);
        let calendars = self.calendars.values().map(|kept| &kept.value);
        let definitions = Definitions::new(metrics, calendars, partial);
        PolicySet::compile_with(&policies, &bindings, &never, definitions)
    }

    /// Returns what is in force after a snapshot: its good documents, and the last good version of
    /// those that are bad in it.
    fn follow(
        &self,
        snapshot: &Snapshot,
        registry: &Registry,
    ) -> (Self, PolicySet, Vec<PolicyMistake>) {
        let repository = &snapshot.repository;
        let from = &snapshot.commit.revision;
        let broken = Broken::of(snapshot);
        let fleet = repository.fleet.iter();
        let fleet = fleet.map(|found| (found.value.name.clone(), found.clone()));
        let fleet: BTreeMap<String, Located<FleetDoc>> = fleet.collect();
        let mut next = Self {
            policies: follow(&repository.policies, &self.policies, from, &|name| {
                broken.keeps(Kind::Policy, name.as_str())
            }),
            bindings: follow(&repository.bindings, &self.bindings, from, &|name| {
                broken.keeps(Kind::Binding, name.as_str())
            }),
            providers: follow(&repository.providers, &self.providers, from, &|name| {
                broken.keeps(Kind::Provider, name.as_str())
            }),
            // Whatever it is called now, the new one takes the place of the old one.
            fleet: follow(&fleet, &self.fleet, from, &|name| {
                fleet.is_empty() && broken.keeps(Kind::Fleet, name)
            }),
            metric_sources: follow(
                &repository.metric_sources,
                &self.metric_sources,
                from,
                &|name| broken.keeps(Kind::MetricSource, name.as_str()),
            ),
            calendars: follow(&repository.calendars, &self.calendars, from, &|name| {
                broken.keeps(Kind::Calendar, name.as_str())
            }),
            never_good: BTreeMap::new(),
        };
        for (name, good) in &self.providers {
            let unusable = |doc: &ProviderDoc| !check_provider(doc, registry).is_empty();
            if let Some(kept) = next.providers.get_mut(name)
                && unusable(&kept.value)
                && !unusable(&good.value)
            {
                kept.clone_from(good);
            }
        }
        for (name, why) in broken.policies() {
            if !next.policies.contains_key(&name) {
                next.never_good.insert(name, why);
            }
        }
        let partial = repository.defines_more();
        let (set, mistakes) = next.compile(partial);
        let bad: BTreeMap<&PolicyName, &PolicyMistake> = mistakes
            .iter()
            .filter_map(|mistake| Some((mistake.policy.as_ref()?, mistake)))
            .collect();
        if bad.is_empty() {
            return (next, set, mistakes);
        }
        for (name, mistake) in bad {
            if let Some(good) = self.policies.get(name) {
                next.policies.insert(name.clone(), good.clone());
            } else {
                let why = format!("{}: {}", mistake.span, mistake.message);
                next.never_good.insert(name.clone(), why);
                next.policies.remove(name);
            }
        }
        let (set, _) = next.compile(partial);
        (next, set, mistakes)
    }
}

/// Which documents of a snapshot are bad.
struct Broken<'a> {
    snapshot: &'a Snapshot,
}

impl<'a> Broken<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        Self { snapshot }
    }

    /// Returns whether a document that the snapshot does not have in a good version stays in force:
    /// it is there and bad, or may be the one that cannot be read.
    fn keeps(&self, kind: Kind, name: &str) -> bool {
        !self.snapshot.identities_readable || self.snapshot.repository.mentions(kind, name)
    }

    fn policies(&self) -> BTreeMap<PolicyName, String> {
        let broken = self.snapshot.repository.broken.iter().filter_map(|broken| {
            let (Kind::Policy, name) = broken.identity.as_ref()? else {
                return None;
            };
            let first = broken.diagnostics.iter().find(|d| d.is_error())?;
            let why = format!("{}: {}", first.span, first.message);
            Some((PolicyName::parse(name).ok()?, why))
        });
        broken.collect()
    }
}

fn follow<K: Ord + Clone, T: Clone + PartialEq>(
    found: &BTreeMap<K, Located<T>>,
    before: &BTreeMap<K, Kept<T>>,
    revision: &Revision,
    keeps: &dyn Fn(&K) -> bool,
) -> BTreeMap<K, Kept<T>> {
    let mut next = BTreeMap::new();
    for (name, located) in found {
        let kept = match before.get(name) {
            // An unchanged document keeps the commit that it was first read from.
            Some(kept) if kept.document.text == located.text && kept.value == located.value => {
                kept.clone()
            }
            _ => Kept {
                value: located.value.clone(),
                document: AcceptedDocument {
                    text: located.text.clone(),
                    path: located.path.clone(),
                    line: located.line,
                    revision: revision.clone(),
                },
            },
        };
        next.insert(name.clone(), kept);
    }
    for (name, kept) in before {
        if !next.contains_key(name) && keeps(name) {
            next.insert(name.clone(), kept.clone());
        }
    }
    next
}

fn diagnostic(mistake: &PolicyMistake) -> Diagnostic {
    let diagnostic = Diagnostic::error("policy", mistake.message.clone(), mistake.span.clone());
    match &mistake.hint {
        Some(hint) => diagnostic.hint(hint.clone()),
        None => diagnostic,
    }
}
