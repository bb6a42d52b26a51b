//! Telling somebody what happens: events about groups and about the agent, posted to one address.
//!
//! [`events`] finds them by comparing what is with what was told, [`send`] posts them. Neither is waited for by a
//! pass, and what cannot be posted is counted and forgotten.

use std::sync::Arc;

use drover_loop::AgentStatus;
use drover_model::Timestamp;
use drover_spec::agent_config::NotifyConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::warn;

use self::events::Told;
use self::send::Sender;
use super::metrics::Metrics;

mod events;
mod send;

pub(crate) use events::Event;
pub(crate) use send::Posted;

/// Most events that wait to be posted: a thousand groups that all begin to hold at once.
const QUEUE_MAX: usize = 1_000;

/// How long a stopping agent posts what waits.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);

/// Tells until it is ended.
#[derive(Debug)]
pub(crate) struct Notices {
    watching: JoinHandle<()>,
    sending: JoinHandle<()>,
}

impl Notices {
    /// Begins to tell.
    ///
    /// # Errors
    ///
    /// What cannot be used of the configuration, for people.
    pub(crate) fn start(
        config: &NotifyConfig,
        states: watch::Receiver<Arc<AgentStatus>>,
        metrics: Metrics,
    ) -> Result<Self, String> {
        let sender = Sender::new(config)?;
        metrics.show_notices();
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let sending = tokio::spawn(sender.run(waiting, metrics.clone()));
        let told = Told::new(config.errors_only);
        let watching = tokio::spawn(follow(told, states, queue, metrics));
        Ok(Self { watching, sending })
    }

    /// Posts what waits, for a moment, once no more passes are made.
    pub(crate) async fn end(self) {
        // With the agent gone the watching ends by itself, and with it the queue.
        let all = async {
            let _ = self.watching.await;
            let _ = self.sending.await;
        };
        let _ = tokio::time::timeout(LAST_WORDS, all).await;
    }
}

async fn follow(
    mut told: Told,
    mut states: watch::Receiver<Arc<AgentStatus>>,
    queue: mpsc::Sender<Event>,
    metrics: Metrics,
) {
    while states.changed().await.is_ok() {
        let status = states.borrow_and_update().clone();
        for event in told.follow(&status, Timestamp::now()) {
            if queue.try_send(event).is_err() {
                metrics.observe_notice(Posted::Dropped);
                warn!("event not told, as too many wait");
            }
        }
    }
}
