//! How the agent talks to instances themselves, as opposed to their provider: health checks and
//! drains. Everything real goes over the network; a simulation answers instead.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{GroupName, HealthSignal, HealthSpec, InstanceId};
use drover_provider::Provider;

use crate::prober::{ProbeTarget, Prober};
use crate::requests::{self, Answer, Trouble};

/// Knows the latest results of health checks.
#[async_trait]
pub trait HealthSource: Send + Sync + fmt::Debug {
    /// Checks exactly `targets` of `group` from now on, as `health` says.
    fn watch(
        &self,
        group: &GroupName,
        health: &HealthSpec,
        targets: Vec<ProbeTarget>,
        provider: Arc<dyn Provider>,
    );

    /// Returns the latest results of `group`.
    fn signals(&self, group: &GroupName) -> BTreeMap<InstanceId, HealthSignal>;

    /// Stops checking `group` and forgets its results.
    fn forget(&self, group: &GroupName);

    /// Stops all checks and waits until none is under way.
    ///
    /// # Cancellation
    ///
    /// The checks stop all the same.
    async fn shutdown(&self);
}

#[async_trait]
impl HealthSource for Prober {
    fn watch(
        &self,
        group: &GroupName,
        health: &HealthSpec,
        targets: Vec<ProbeTarget>,
        provider: Arc<dyn Provider>,
    ) {
        Prober::watch(self, group, health, targets, provider);
    }

    fn signals(&self, group: &GroupName) -> BTreeMap<InstanceId, HealthSignal> {
        Prober::signals(self, group)
    }

    fn forget(&self, group: &GroupName) {
        Prober::forget(self, group);
    }

    async fn shutdown(&self) {
        Prober::shutdown(self).await;
    }
}

/// Sends the requests of drains to instances.
#[async_trait]
pub trait Reach: Send + Sync + fmt::Debug {
    /// Sends a request without body, and reads the status and of a success the body.
    ///
    /// # Errors
    ///
    /// See [`Trouble`].
    async fn http(
        &self,
        method: &str,
        address: &str,
        port: u16,
        path: &str,
        limit: Duration,
    ) -> Result<Answer, Trouble>;

    /// Opens a TCP connection and closes it again.
    ///
    /// # Errors
    ///
    /// See [`Trouble`].
    async fn connect(&self, address: &str, port: u16, limit: Duration) -> Result<(), Trouble>;
}

/// The network.
#[derive(Debug, Clone, Copy)]
pub struct Network;

#[async_trait]
impl Reach for Network {
    async fn http(
        &self,
        method: &str,
        address: &str,
        port: u16,
        path: &str,
        limit: Duration,
    ) -> Result<Answer, Trouble> {
        requests::http(method, address, port, path, limit).await
    }

    async fn connect(&self, address: &str, port: u16, limit: Duration) -> Result<(), Trouble> {
        requests::connect(address, port, limit).await
    }
}
