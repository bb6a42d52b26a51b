//! The driver: pass after pass, when a timer is due or somebody asks, until the end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{GroupName, Revision, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use crate::agent::{Agent, Ask, Control};
use crate::brake::AgentBrake;
use crate::status::{AgentStatus, PassReport};
use crate::store::Freeze;

/// The shortest time between two passes, so that a stream of events makes one pass, not hundreds.
pub const PASS_GAP: Duration = Duration::from_millis(100);

/// Most triggers that wait for a pass: they all share the next one, so more carry no news.
const TRIGGERS_MAX: usize = 1_024;

/// Asks the agent for things, from any thread.
#[derive(Debug, Clone)]
pub struct AgentHandle {
    triggers: mpsc::Sender<Trigger>,
    status: tokio::sync::watch::Receiver<Arc<AgentStatus>>,
    brake: Arc<AgentBrake>,
    control: Arc<Control>,
}

/// A wish for a pass.
#[derive(Debug)]
struct Trigger {
    done: Option<oneshot::Sender<Arc<PassReport>>>,
}

/// The agent ended before it could answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent has ended")]
pub struct Ended;

impl AgentHandle {
    /// Asks for a pass, without waiting. Several wishes share one pass.
    pub fn trigger(&self) {
        self.control.ask(Ask::Look);
        // A full queue means that a pass is due anyway.
        let _ = self.triggers.try_send(Trigger { done: None });
    }

    /// Asks for a pass that begins after this call, and waits for its end.
    pub async fn reconcile(&self) -> Result<Arc<PassReport>, Ended> {
        self.control.ask(Ask::Look);
        let (done, answer) = oneshot::channel();
        let trigger = Trigger { done: Some(done) };
        self.triggers.send(trigger).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }

    /// Returns the agent as it was after the latest pass.
    pub fn status(&self) -> Arc<AgentStatus> {
        self.status.borrow().clone()
    }

    /// Returns a receiver of the status after each pass.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<Arc<AgentStatus>> {
        self.status.clone()
    }

    /// Freezes groups (none named: all) at once: no new step begins. Kept over restarts.
    pub fn freeze(&self, by: &str, groups: Vec<String>) {
        let mut frozen = self.brake.frozen();
        let freeze = Freeze {
            by: by.to_owned(),
            groups,
        };
        frozen.retain(|other| other.groups != freeze.groups);
        frozen.push(freeze);
        self.set_frozen(frozen);
    }

    /// Lifts freezes of groups (none named: all freezes). The freeze file is left alone.
    pub fn unfreeze(&self, groups: &[String]) {
        let mut frozen = self.brake.frozen();
        if groups.is_empty() {
            frozen.clear();
        } else {
            for freeze in &mut frozen {
                freeze.groups.retain(|group| !groups.contains(group));
            }
            // One that named only these is over; one that named none still covers everything.
            frozen.retain(|freeze| !freeze.groups.is_empty());
        }
        self.set_frozen(frozen);
    }

    fn set_frozen(&self, frozen: Vec<Freeze>) {
        self.brake.set_frozen(frozen);
        self.control.ask(Ask::StoreFreeze);
        self.trigger();
    }

    /// Accepts that the source's history was rewritten, if its tip is this commit. Groups that are
    /// missing from it stay, and ask. The record says by whom.
    pub fn accept_rewrite(&self, tip: Revision, by: &str) {
        self.control.ask(Ask::AcceptRewrite(tip, by.to_owned()));
        self.trigger();
    }

    /// Lets an agent with an empty data directory take up what the state branch has, if its tip is this commit, although
    /// nobody who counts signed it. The log says by whom.
    pub fn accept_state(&self, tip: Revision, by: &str) {
        self.control.ask(Ask::AcceptState(tip, by.to_owned()));
        self.trigger();
    }

    /// Takes the instances of a group of which nothing is recorded for its own. The log says by whom.
    pub fn accept_instances(&self, group: GroupName, by: &str) {
        self.control.ask(Ask::AcceptInstances(group, by.to_owned()));
        self.trigger();
    }
}

/// Runs passes.
#[derive(Debug)]
pub struct Driver {
    agent: Agent,
    triggers: mpsc::Receiver<Trigger>,
    jitter: u64,
}

/// Puts an agent behind a handle.
pub fn drive(agent: Agent, jitter_seed: u64) -> (AgentHandle, Driver) {
    let (sender, triggers) = mpsc::channel(TRIGGERS_MAX);
    let handle = AgentHandle {
        triggers: sender,
        status: agent.watch_status(),
        brake: agent.brake(),
        control: agent.control(),
    };
    let driver = Driver {
        agent,
        triggers,
        jitter: jitter_seed,
    };
    (handle, driver)
}

impl Driver {
    /// Makes passes until `shutdown` resolves, then ends at a safe point: the pass in progress is
    /// finished, no further step begins, and what waits is published.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut waiting: Vec<Trigger> = Vec::new();
        loop {
            while let Ok(trigger) = self.triggers.try_recv() {
                waiting.push(trigger);
            }
            let report = self.agent.pass().await;
            for trigger in waiting.drain(..) {
                if let Some(done) = trigger.done {
                    // Whoever asked may have gone away.
                    let _ = done.send(Arc::clone(&report));
                }
            }
            let pause = self.pause(&report);
            let changed = self.agent.changed();
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                trigger = self.triggers.recv() => waiting.extend(trigger),
                () = changed.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = tokio::time::sleep(PASS_GAP) => {}
            }
        }
        debug!("agent ends");
        self.agent.shut_down().await;
    }

    /// Returns how long to wait: until the next timer, at most the interval, which is jittered so
    /// that many agents do not ask one host at the same moment.
    fn pause(&mut self, report: &PassReport) -> Duration {
        let interval = self.agent.interval();
        let spread = interval.mul_f64(0.9 + 0.2 * self.random());
        let until = |at: Timestamp| {
            let wait = at.duration_since(self.agent.clock().now());
            Duration::try_from(wait).unwrap_or(Duration::ZERO)
        };
        report.wake_at.map_or(spread, |at| until(at).min(spread))
    }

    /// Returns a number from 0 to 1: good enough to spread waits.
    fn random(&mut self) -> f64 {
        // xorshift64*
        self.jitter ^= self.jitter >> 12;
        self.jitter ^= self.jitter << 25;
        self.jitter ^= self.jitter >> 27;
        let mixed = self.jitter.wrapping_mul(0x2545_f491_4f6c_dd1d);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}
