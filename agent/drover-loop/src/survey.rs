//! Surveys: what the providers of groups that adopt have that nobody's agent made. One survey per scope and set of
//! tags and pass, bounded like listings, for each scope apart; a slow one goes on beside the pass and is used by the
//! next one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    Completeness, ErrorClass, FleetName, Group, GroupName, Hold, ProviderRef, RecordedGroup,
    Survey, Surveyed, Timestamp, Value,
};
use drover_plan::{ProviderFacts, has_adopted};
use drover_provider::ProviderError;
use jiff::SignedDuration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::observe::{Asking, OpenScope, bounded};

/// Most surveys of one scope at once: groups that adopt ask each for tags of their own, for as long as the take-over
/// lasts.
const SURVEYS_CONCURRENT: usize = 16;

/// The tags that a group asks for.
pub(crate) type Tags = BTreeMap<String, String>;

/// A scope, by its id, and the tags that are asked for there.
pub(crate) type Question = (String, Tags);

/// What a survey came to.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// Answered in this pass, or since the last one.
    Answered(u64, Arc<Survey>),
    /// Asked, no answer yet.
    Waiting,
    /// Asking failed.
    Failed {
        class: ErrorClass,
        message: String,
        /// Since when every survey failed.
        since: Timestamp,
    },
}

/// The surveys under way.
#[derive(Debug, Default)]
pub(crate) struct Surveys {
    asking: BTreeMap<Question, JoinHandle<Answer>>,
    /// What every survey since its first failure has come to.
    failing: BTreeMap<Question, Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Timestamp,
    /// The latest.
    error: ProviderError,
}

impl Failing {
    fn found(&self) -> Found {
        Found::Failed {
            class: self.error.class,
            message: self.error.message.clone(),
            since: self.since,
        }
    }
}

type Answer = (u64, Result<Survey, ProviderError>);

impl Surveys {
    /// Asks what is wanted and not asked already, and lets go of the rest.
    pub(crate) fn ask(&mut self, wanted: &BTreeMap<Question, Arc<OpenScope>>, how: &Asking<'_>) {
        self.asking.retain(|question, asked| {
            let still = wanted.contains_key(question);
            if !still {
                asked.abort();
            }
            still
        });
        self.failing
            .retain(|question, _| wanted.contains_key(question));
        // What one provider does not answer is in no other one's way.
        let mut gates: BTreeMap<&str, Arc<Semaphore>> = BTreeMap::new();
        for (question, scope) in wanted {
            if !self.asking.contains_key(question) {
                let gate = gates.entry(&question.0);
                let gate = gate.or_insert_with(|| Arc::new(Semaphore::new(SURVEYS_CONCURRENT)));
                let asked = ask(scope, &question.1, how, gate);
                self.asking.insert(question.clone(), asked);
            }
        }
    }

    /// Collects the answers, for as long as the pass waits.
    ///
    /// # Cancellation
    ///
    /// Surveys under way go on; the next call collects them.
    pub(crate) async fn collect(
        &mut self,
        deadline: tokio::time::Instant,
        how: &Asking<'_>,
    ) -> BTreeMap<Question, Found> {
        let mut found = BTreeMap::new();
        for (question, mut asked) in std::mem::take(&mut self.asking) {
            let Ok(joined) = tokio::time::timeout_at(deadline, &mut asked).await else {
                // Asked again after a failure: that stands until there is an answer.
                let failing = self.failing.get(&question).map(Failing::found);
                self.asking.insert(question.clone(), asked);
                found.insert(question, failing.unwrap_or(Found::Waiting));
                continue;
            };
            let (tick, answer) = joined.unwrap_or_else(|error| {
                let message = format!("internal error while surveying: {error}");
                let error = ProviderError::new(ErrorClass::Unknown, message);
                (how.tick, Err(error))
            });
            let provider = name_of(&question.0);
            let answer = match answer {
                Ok(survey) => {
                    if self.failing.remove(&question).is_some() {
                        info!(provider, "provider tells again what may be adopted");
                    }
                    Found::Answered(tick, Arc::new(survey))
                }
                Err(error) => {
                    // Told once and at once: its hold is recorded only when it lasts.
                    let before = self.failing.get(&question).map(|failing| failing.since);
                    let since = before.unwrap_or_else(|| {
                        warn!(provider, error = %error.message, "survey of what to adopt failed");
                        how.clock.now()
                    });
                    let failing = Failing { since, error };
                    let found = failing.found();
                    self.failing.insert(question.clone(), failing);
                    found
                }
            };
            found.insert(question, answer);
        }
        found
    }

    /// Returns whether a survey is under way that answers later.
    pub(crate) fn is_asking(&self) -> bool {
        !self.asking.is_empty()
    }
}

impl Drop for Surveys {
    fn drop(&mut self) {
        for asked in self.asking.values() {
            asked.abort();
        }
    }
}

fn ask(
    scope: &Arc<OpenScope>,
    tags: &Tags,
    how: &Asking<'_>,
    gate: &Arc<Semaphore>,
) -> JoinHandle<Answer> {
    let provider = Arc::clone(&scope.provider);
    let (tags, tick, limits) = (tags.clone(), how.tick, how.limits());
    let gate = Arc::clone(gate);
    tokio::spawn(async move {
        let answer = bounded(gate, limits, provider.survey(&tags)).await;
        let answer = answer.unwrap_or_else(|limit| {
            let message = format!("no answer to a survey within {} s", limit.as_secs());
            Err(ProviderError::new(ErrorClass::Unknown, message))
        });
        (tick, answer)
    })
}

/// How long surveys must fail before that is recorded, as for listings, and a newer document is held for it. What can
/// never succeed is recorded at once.
const FAILURE_RECORDED_AFTER: SignedDuration = SignedDuration::from_mins(2);

/// What is known of the strangers of every group that adopts.
#[derive(Debug, Default)]
pub(crate) struct Surveyors {
    /// The questions of each group.
    pub(crate) asked: BTreeMap<GroupName, BTreeSet<Question>>,
    /// Where each scope that is asked leads, by its id.
    pub(crate) places: BTreeMap<String, String>,
    pub(crate) found: BTreeMap<Question, Found>,
}

/// Why a group is not planned in this pass, or without its newest document.
pub(crate) enum Wait {
    /// Its survey has not been answered since its last plan.
    Stale,
    /// It failed, and whether that is to be recorded.
    Failed(Box<Hold>, bool),
}

/// A group that adopts, as far as it matters for what is done without an answer.
pub(crate) struct Asker<'a> {
    pub(crate) name: &'a GroupName,
    pub(crate) fleet: &'a FleetName,
    /// The order of its last step.
    pub(crate) acted: u64,
    pub(crate) recorded: &'a RecordedGroup,
    /// The document in force.
    pub(crate) accepted: Option<&'a Group>,
    /// A newer one.
    pub(crate) candidate: Option<&'a Group>,
    pub(crate) provider: &'a ProviderFacts,
}

impl Asker<'_> {
    /// Returns whether only a document asks for `tags` that is not in force, so that what is in force can go on
    /// without it.
    fn is_newest_alone(&self, tags: &Tags) -> bool {
        let (Some(accepted), Some(candidate)) = (self.accepted, self.candidate) else {
            return false;
        };
        let adopt = accepted.spec.adopt.as_ref();
        let asks_too = adopt.is_some_and(|adopt| adopt.match_tags == *tags);
        !asks_too && accepted.spec.provider == candidate.spec.provider
    }
}

/// What a group's documents are told of what there is to adopt.
#[derive(Default)]
pub(crate) struct Answers {
    /// By the tags that they ask for. Those without an answer are left out, of which everything was adopted before.
    pub(crate) known: BTreeMap<Tags, Surveyed>,
    /// Why the document that is not in force yet has to wait, where that is.
    pub(crate) newest_waits: Option<Wait>,
}

impl Surveyors {
    /// Returns what a group's documents are told.
    ///
    /// # Errors
    ///
    /// Why nothing is known yet: then the group is not planned, as without a listing.
    pub(crate) fn of(&self, group: &Asker<'_>, now: Timestamp) -> Result<Answers, Wait> {
        let mut answers = Answers::default();
        for question in self.asked.get(group.name).into_iter().flatten() {
            let tags = &question.1;
            match self.answer(group, question, now) {
                Ok(surveyed) => {
                    answers.known.insert(tags.clone(), surveyed);
                }
                Err(wait) if has_adopted(group.recorded, tags, group.provider) => {
                    if let Wait::Failed(hold, true) = wait {
                        let unknown = Surveyed::Unknown(*hold);
                        answers.known.insert(tags.clone(), unknown);
                    }
                }
                Err(wait) if group.is_newest_alone(tags) => answers.newest_waits = Some(wait),
                Err(wait) => return Err(wait),
            }
        }
        Ok(answers)
    }

    fn answer(
        &self,
        group: &Asker<'_>,
        question: &Question,
        now: Timestamp,
    ) -> Result<Surveyed, Wait> {
        match self.found.get(question) {
            Some(Found::Answered(tick, survey)) if *tick > group.acted => Ok(Surveyed::Known {
                survey: survey.told_to(group.fleet, group.recorded),
                contested: self.contested(group.name, &question.0, survey),
            }),
            Some(Found::Answered(..) | Found::Waiting) | None => Err(Wait::Stale),
            Some(Found::Failed {
                class,
                message,
                since,
            }) => {
                let lasting = *class == ErrorClass::InvalidSpec
                    || now.duration_since(*since) >= FAILURE_RECORDED_AFTER;
                let hold = Hold::ProviderFailed {
                    class: *class,
                    message: format!("survey of what to adopt: {message}"),
                };
                Err(Wait::Failed(Box::new(hold), lasting))
            }
        }
    }

    /// Returns which other groups ask for the same instances, of those whose Provider documents lead to the same
    /// place. What their own surveys came to does not matter: the tags say whom they would take.
    fn contested(
        &self,
        group: &GroupName,
        scope: &str,
        survey: &Survey,
    ) -> BTreeMap<ProviderRef, BTreeSet<GroupName>> {
        let mut contested: BTreeMap<ProviderRef, BTreeSet<GroupName>> = BTreeMap::new();
        let others = self.asked.iter().filter(|(other, _)| *other != group);
        for (other, questions) in others {
            let there = questions
                .iter()
                .filter(|(id, _)| self.places.get(id) == self.places.get(scope));
            for (_, tags) in there {
                for stranger in survey.strangers.iter().filter(|one| one.has_tags(tags)) {
                    let groups = contested.entry(stranger.provider_ref.clone()).or_default();
                    groups.insert(other.clone());
                }
            }
        }
        contested
    }
}

/// Returns the name of the Provider document in a scope's id.
fn name_of(scope: &str) -> &str {
    scope.split_once('/').map_or(scope, |(name, _)| name)
}

/// Settings of Provider documents that say how a provider is asked, and not which instances are there.
const HOW: [&str; 10] = [
    "address",
    "addressProperty",
    "addressTag",
    "logLimitKiB",
    "places",
    "provisionTimeout",
    "pullTimeout",
    "statusChecks",
    "timeout",
    "visibility",
];

/// Returns a text that is equal for Provider documents that lead to the same instances: type and settings, but not those
/// that say only how.
pub(crate) fn place_of(provider: &ProviderFacts) -> String {
    let mut settings = provider.settings.clone();
    if let Value::Map(settings) = &mut settings {
        settings.retain(|name, _| !HOW.contains(&name.as_str()));
        // A plugin's own.
        if let Some(Value::Map(own)) = settings.get_mut("settings") {
            own.retain(|name, _| !HOW.contains(&name.as_str()));
            if own.is_empty() {
                settings.remove("settings");
            }
        }
    }
    let mut bytes = Vec::new();
    settings.canonical_bytes(&mut bytes);
    format!("{}/{}", provider.type_, String::from_utf8_lossy(&bytes))
}

/// Returns whether surveys found nothing, and nothing that is in doubt.
pub(crate) fn found_nothing(surveyed: &BTreeMap<Tags, Surveyed>) -> bool {
    surveyed.values().all(|surveyed| match surveyed {
        Surveyed::Known { survey, .. } => {
            survey.strangers.is_empty() && survey.completeness == Completeness::Complete
        }
        Surveyed::Unknown(_) => false,
    })
}

/// Returns how long a pass waits for surveys, from when it began to ask.
pub(crate) fn deadline(wait: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + wait
}

#[cfg(test)]
mod tests;
