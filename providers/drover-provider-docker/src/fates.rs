//! What became of containers that do not run. The engine is asked about each of them, in the background and side by
//! side: one that it cannot look at keeps no listing waiting. How one ended is asked once, and remembered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::ExitReport;
use tokio::time::{Instant, timeout_at};

use crate::api::Inspected;
use crate::frames;
use crate::listing::Word;
use crate::provider::{Found, Inner};
use crate::single_flight::Waiting;

/// Lines of the log that are read for an exit report.
const LOG_LINES: usize = 20;

/// How long a listing waits for answers about single containers, for all of them together: it has a minute in all.
const ANSWERS_LIMIT: Duration = Duration::from_secs(5);

/// Containers that an engine is asked about at once.
pub(crate) const ASKED_MAX: usize = 32;

/// What became of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Ended(ExitReport),
    /// It was made, and has never run.
    Fresh,
    /// Somebody has started it.
    Runs,
    /// Somebody has removed it.
    Gone,
    /// The engine does not say.
    Untold,
}

impl Inner {
    /// Returns what became of those that do not run, as far as the engine says so in time. What it says later is there
    /// for the next listing.
    pub(crate) async fn fates(self: &Arc<Self>, found: &[Found]) -> BTreeMap<String, Fate> {
        let until = Instant::now() + ANSWERS_LIMIT;
        let mut fates = BTreeMap::new();
        let mut questions = Vec::new();
        for id in found.iter().filter_map(asked_about) {
            let known = self.memory.exits().get(id).cloned();
            match known {
                Some(report) => {
                    fates.insert(id.to_owned(), Fate::Ended(report));
                }
                None => questions.push((id, self.ask(id))),
            }
        }
        for (id, question) in questions {
            let answered = timeout_at(until, question.answer()).await;
            fates.extend(answered.ok().flatten().map(|fate| (id.to_owned(), fate)));
        }
        fates
    }

    /// Begins to ask what became of a container, unless that is being done already.
    fn ask(self: &Arc<Self>, id: &str) -> Waiting<Fate> {
        let (question, duty) = self.memory.questions.ask(id);
        if let Some(duty) = duty {
            let (this, id) = (Arc::clone(self), id.to_owned());
            // Bounded by the limits of its calls.
            tokio::spawn(async move {
                let _permit = this.memory.asking.permit().await;
                let fate = this.fate(&id).await;
                if let Fate::Ended(report) = &fate {
                    this.memory.exits().insert(id, report.clone());
                }
                duty.answer(fate);
            });
        }
        question
    }

    async fn fate(&self, id: &str) -> Fate {
        let inspected = match self.engine.inspect(id).await {
            Ok(inspected) => inspected,
            Err(error) if error.is_missing() => return Fate::Gone,
            Err(_) => return Fate::Untold,
        };
        match Word::read(&inspected.state.status) {
            Word::Ended => {}
            Word::Created if inspected.state.has_run() => {}
            Word::Created => return Fate::Fresh,
            Word::Running | Word::Stopping | Word::Other => return Fate::Runs,
        }
        // Some ways of keeping logs cannot be read, which is no reason not to say the rest.
        let log = self.engine.logs(id, LOG_LINES).await.unwrap_or_default();
        Fate::Ended(report(&inspected, &frames::text(&log)))
    }
}

/// Returns the id of a container whose fate is to be asked for.
fn asked_about(found: &Found) -> Option<&str> {
    match Word::read(&found.summary.state) {
        Word::Ended | Word::Created if found.name.is_made() => Some(&found.summary.id),
        Word::Ended | Word::Created | Word::Running | Word::Stopping | Word::Other => None,
    }
}

/// Returns how a container ended.
fn report(inspected: &Inspected, log: &str) -> ExitReport {
    let state = &inspected.state;
    let memory = match state.out_of_memory {
        Some(true) => "out of memory",
        Some(false) | None => "",
    };
    let error = state.error.as_deref().unwrap_or_default();
    let log = frames::digest(log);
    // Podman forgets with a restart of the machine how its containers ended, and what became of them.
    let forgotten = Word::read(&state.status) == Word::Created;
    let restart = if forgotten {
        "with the machine or its engine"
    } else {
        ""
    };
    let parts = [restart, memory, error, log.as_str()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    ExitReport {
        // The engine says 128 and the signal's number for a signal, as shells do, and nothing else.
        code: state.exit_code.filter(|_| !forgotten),
        signal: None,
        message: parts.join(": "),
    }
}
