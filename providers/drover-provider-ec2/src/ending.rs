//! Ending instances, many with one call.
//!
//! Ends that are asked for at about the same time share a `TerminateInstances`. One instance that cannot be
//! ended would fail the whole call: then each is asked for alone.

use std::collections::BTreeMap;
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
        let whole = self.terminate(ids.clone()).await;
        let alone = match &whole {
            Ok(()) => false,
            Err(_) if ids.len() == 1 => false,
            // What all of them have in common.
            Err(error) => !matches!(
                error.class,
                ErrorClass::Throttled | ErrorClass::Auth | ErrorClass::Unknown
            ),
        };
        let mut answers = BTreeMap::new();
        for id in ids {
            let answer = if alone {
                self.terminate(vec![id.clone()]).await
            } else {
                whole.clone()
            };
            answers.insert(id, answer);
        }
        Arc::new(answers)
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

const ACTION: &str = "TerminateInstances";
