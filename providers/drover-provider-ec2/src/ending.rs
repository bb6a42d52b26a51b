//! Ending instances, many with one call.
//!
//! Ends that are asked for at about the same time share a `TerminateInstances`. One instance that cannot or may not be
//! ended fails the whole call: then each half is asked for, and so on, until the others have ended without it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use drover_model::ErrorClass;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};

use crate::budget::{Limit, Priority};
use crate::error::CallError;
use crate::region::{Cost, Region};

/// Most instances of one call: a choice of ours that bounds what one mistaken call can do. EC2 takes a thousand.
const CHUNK_MAX: usize = 100;

/// How long an end waits for others.
const GATHER: Duration = Duration::from_millis(20);

/// After so many refusals of the role, and nothing that ended, it is taken to be the whole of it that may not: those of all,
/// of the halves, quarters and eighths.
const DENIALS_MAX: usize = 15;

/// How each instance's end was answered.
type Answers = Arc<BTreeMap<String, Result<(), CallError>>>;

type Flight = Shared<BoxFuture<'static, Answers>>;

/// A call that has not begun yet.
#[derive(Debug, Clone)]
struct Chunk {
    ids: Arc<Mutex<Vec<String>>>,
    flight: Flight,
}

/// The call that gathers now.
#[derive(Debug, Default)]
pub(crate) struct Endings(Mutex<Option<Chunk>>);

impl Region {
    /// Ends an instance. Success means that EC2 accepted it.
    ///
    /// # Cancellation
    ///
    /// The instance may end all the same.
    pub(crate) async fn end(self: &Arc<Self>, id: &str) -> Result<(), CallError> {
        let flight = self.join_chunk(id);
        let answers = flight.await;
        let answer = answers.get(id).cloned();
        let answer = answer.unwrap_or_else(|| {
            let message = format!("no answer for {id}");
            Err(CallError::new(ACTION, ErrorClass::Unknown, message))
        });
        if answer.is_ok() {
            self.book.ends(id);
        }
        answer
    }

    fn join_chunk(self: &Arc<Self>, id: &str) -> Flight {
        let mut gathering = self
            .endings
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = &*gathering {
            let mut ids = chunk.ids.lock().unwrap_or_else(PoisonError::into_inner);
            if ids.len() < CHUNK_MAX {
                if !ids.iter().any(|other| other == id) {
                    ids.push(id.to_owned());
                }
                return chunk.flight.clone();
            }
        }
        let ids = Arc::new(Mutex::new(vec![id.to_owned()]));
        let this = Arc::clone(self);
        let own = Arc::clone(&ids);
        let flight = async move {
            tokio::time::sleep(GATHER).await;
            this.begin_chunk(&own).await
        };
        let flight = flight.boxed().shared();
        let chunk = Chunk {
            ids,
            flight: flight.clone(),
        };
        *gathering = Some(chunk);
        flight
    }

    async fn begin_chunk(&self, own: &Arc<Mutex<Vec<String>>>) -> Answers {
        let ids = {
            let mut gathering = self
                .endings
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // A full chunk has made room for the next one already.
            if gathering
                .as_ref()
                .is_some_and(|chunk| Arc::ptr_eq(&chunk.ids, own))
            {
                *gathering = None;
            }
            own.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        Arc::new(self.end_all(ids).await)
    }

    /// Ends all of these that can be ended.
    async fn end_all(&self, ids: Vec<String>) -> BTreeMap<String, Result<(), CallError>> {
        let mut answers = BTreeMap::new();
        let mut parts = VecDeque::from([ids]);
        let mut denials = Vec::new();
        let mut has_ended = false;
        while let Some(part) = parts.pop_front() {
            let whole_role = denials.len() == DENIALS_MAX && !has_ended;
            let answer = match denials.last() {
                Some(denial) if whole_role => Err(CallError::clone(denial)),
                Some(_) | None => self.terminate(part.clone()).await,
            };
            has_ended |= answer.is_ok();
            let divides = match &answer {
                Ok(()) => false,
                // Permissions may depend on an instance's tags.
                Err(error) if is_denial(error) => {
                    if denials.len() < DENIALS_MAX {
                        denials.push(error.clone());
                    }
                    has_ended || denials.len() < DENIALS_MAX
                }
                // What all of them have in common.
                Err(error) => !matches!(
                    error.class,
                    ErrorClass::Throttled | ErrorClass::Auth | ErrorClass::Unknown
                ),
            };
            if divides && part.len() > 1 {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([first.to_vec(), second.to_vec()]);
            } else {
                answers.extend(part.into_iter().map(|id| (id, answer.clone())));
            }
        }
        answers
    }

    async fn terminate(&self, ids: Vec<String>) -> Result<(), CallError> {
        let cost = Cost {
            action: ACTION,
            limit: Limit::Terminate,
            priority: Priority::End,
        };
        let resources = Limit::TerminateResources;
        let budget = self.purse.budget();
        budget
            .take(ACTION, resources, ids.len(), Priority::End)
            .await?;
        let request = self.client().await.terminate_instances();
        let request = request.set_instance_ids(Some(ids));
        self.call(cost, || request.clone().send()).await.map(drop)
    }
}

/// Returns whether EC2 knows who asks, and says that they may not.
fn is_denial(error: &CallError) -> bool {
    let codes = [
        "UnauthorizedOperation",
        "AccessDenied",
        "AccessDeniedException",
    ];
    codes.iter().any(|code| error.is(code))
}

const ACTION: &str = "TerminateInstances";
