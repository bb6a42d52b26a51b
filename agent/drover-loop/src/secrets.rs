//! The secrets that a group's templates need: a fence of the planner where one cannot be read, and nothing of
//! the others in what instances say about themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_model::{
    CheckOutcome, Completeness, HealthSignal, Held, Hold, InstanceId, Listing, ProviderPhase,
    SecretRef,
};
use drover_provider::Secrets;

use crate::agent::plain;
use crate::task::{GroupTask, Mode, Shared};

/// What came of reading them.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// One hold for each that cannot be read.
    pub(crate) holds: Vec<Held>,
    /// The others.
    known: Secrets,
    /// Whether instances may have others than the known ones: nothing that they say is shown then.
    unknown: bool,
}

/// What stands in the place of a text that may have secrets which were not read.
const NOT_SHOWN: &str = "not shown, as it may have secrets that are not read here";

/// Reads the secrets of the templates in use and of those that come. A dry run reads none: it is made where
/// people are, and what they may read is not what the agent may.
pub(crate) async fn look(task: &GroupTask, shared: &Shared) -> Looked {
    // What instances are made of: the documents' templates, and the last good one.
    let mut made_of: BTreeSet<SecretRef> = BTreeSet::new();
    let candidate = task.candidate.as_ref().map(|candidate| &candidate.group);
    for group in task.accepted.iter().chain(candidate) {
        made_of.extend(group.spec.template.secrets());
    }
    let templates = &task.recorded.templates;
    let stable = task.recorded.stable.as_ref();
    if let Some(template) = stable.and_then(|digests| templates.get(digests)) {
        made_of.extend(template.secrets());
    }
    // What instances of others have is looked for in what they say.
    let others = templates.values().flat_map(|template| template.secrets());
    let needed: BTreeSet<SecretRef> = others.chain(made_of.iter().cloned()).collect();
    if needed.is_empty() || shared.mode == Mode::DryRun {
        return Looked {
            unknown: !needed.is_empty(),
            ..Looked::default()
        };
    }
    let instances = task.recorded.instances.values();
    let had = instances.filter_map(|instance| templates.get(&instance.digests));
    let had: BTreeSet<SecretRef> = had.flat_map(|template| template.secrets()).collect();
    let source = Arc::clone(&shared.secrets);
    let read = tokio::task::spawn_blocking(move || {
        let mut looked = Looked::default();
        for reference in needed {
            match source.read(&reference) {
                Ok(text) => looked.known.insert(reference, text),
                Err(error) => {
                    looked.unknown |= had.contains(&reference);
                    if made_of.contains(&reference) {
                        looked.holds.push(plain(Hold::SecretUnresolved {
                            reference: error.reference,
                            why: error.why,
                        }));
                    }
                }
            }
        }
        looked
    });
    read.await.unwrap_or_default()
}

impl Looked {
    fn shows_all(&self) -> bool {
        self.known.is_empty() && !self.unknown
    }

    fn cleaned(&self, text: &str) -> String {
        if self.unknown && !text.is_empty() {
            return NOT_SHOWN.to_owned();
        }
        self.known.redact(text)
    }

    /// Takes the secrets out of what checks and instances said: it is recorded, and a program may print
    /// what it was given.
    pub(crate) fn clean_signals(&self, signals: &mut BTreeMap<InstanceId, HealthSignal>) {
        if self.shows_all() {
            return;
        }
        for outcome in signals.values_mut().flat_map(|signal| &mut signal.checks) {
            match outcome {
                CheckOutcome::Passing => {}
                CheckOutcome::Failing { why } | CheckOutcome::Unknown { why } => {
                    *why = self.cleaned(why);
                }
            }
        }
    }

    /// The same of a listing.
    pub(crate) fn clean_listing(&self, listing: &mut Arc<Listing>) {
        if self.shows_all() {
            return;
        }
        let listing = Arc::make_mut(listing);
        if let Completeness::Partial { why } = &mut listing.completeness {
            *why = self.cleaned(why);
        }
        for listed in &mut listing.instances {
            if let ProviderPhase::Exited(report) = &mut listed.phase {
                report.message = self.cleaned(&report.message);
            }
        }
    }
}
