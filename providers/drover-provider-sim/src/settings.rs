//! How a simulated provider behaves when nothing goes wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_model::{GroupName, Value};
use drover_provider::ObjectSchema;

use crate::Op;

/// The behaviour of a simulated provider. The default is instant, unlimited and faultless.
#[derive(Debug, Clone, PartialEq)]
pub struct SimSettings {
    /// Where chances and jitter come from.
    pub seed: u64,
    /// From creation until an instance runs.
    pub boot: Duration,
    /// At most so much more boot time, by instance.
    pub boot_jitter: Duration,
    /// From running until health checks pass.
    pub ready: Duration,
    /// At most so much more until health checks pass, by instance.
    pub ready_jitter: Duration,
    /// Which share of the instances made from now on never comes up.
    pub failing: Vec<Share>,
    /// From creation until an instance can be listed.
    pub list_lag: Duration,
    /// From creation until the listing has its address.
    pub address_lag: Duration,
    /// From creation until the listing has its ownership tags. More than zero breaks the contract.
    pub tags_lag: Duration,
    /// How far the phases in a listing are behind.
    pub phase_lag: Duration,
    /// From an accepted destroy until the instance is gone.
    pub stop: Duration,
    /// How long an instance that is gone is still listed, as `Terminated`.
    pub remember: Duration,
    /// How long it lets anybody have an instance: it says so from the first listing on, and takes it then.
    pub lease: Option<Duration>,
    /// Most instances that fit, of every owner. Beyond: `Capacity`.
    pub capacity: Option<usize>,
    /// Most instances that the account may have, of every owner. Beyond: `Quota`.
    pub quota: Option<usize>,
    /// Most instances in a zone, of every owner; 0 is an outage. Beyond: `Capacity`. A zone that is not
    /// listed has room for any number.
    pub zones: BTreeMap<String, Option<usize>>,
    /// Most slots in one call.
    pub batch_max: u32,
    /// What the manifest promises of listings. Not below `list_lag`, or the promise is broken.
    pub visibility: Duration,
    /// How long a reply takes.
    pub latency: BTreeMap<Op, Duration>,
    /// How many calls and instances a client may ask for.
    pub throttles: BTreeMap<Op, Throttle>,
    /// The properties that a provision may have. None: anything, for simulating other types.
    pub properties: Option<ObjectSchema>,
    /// Property values that are refused as `InvalidSpec`, such as an image that does not exist.
    pub refused: Vec<(String, Value)>,
    /// What it says when it refuses every change in place as `InvalidSpec`. None: it does not.
    pub refuses_updates: Option<String>,
}

impl Default for SimSettings {
    fn default() -> Self {
        Self {
            seed: 0,
            boot: Duration::ZERO,
            boot_jitter: Duration::ZERO,
            ready: Duration::ZERO,
            ready_jitter: Duration::ZERO,
            failing: Vec::new(),
            list_lag: Duration::ZERO,
            address_lag: Duration::ZERO,
            tags_lag: Duration::ZERO,
            phase_lag: Duration::ZERO,
            stop: Duration::ZERO,
            remember: Duration::ZERO,
            lease: None,
            capacity: None,
            quota: None,
            zones: BTreeMap::new(),
            batch_max: 100,
            visibility: Duration::ZERO,
            latency: BTreeMap::new(),
            throttles: BTreeMap::new(),
            properties: None,
            refused: Vec::new(),
            refuses_updates: None,
        }
    }
}

/// A share of instances, chosen by the seed and the instance's id, never by the order of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Of this group. None: of every group that has no share of its own.
    pub group: Option<GroupName>,
    /// In thousandths.
    pub thousandths: u32,
}

/// Token buckets of one operation, as clouds have them: one for calls, one for the instances that
/// the calls name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Throttle {
    /// Calls.
    pub calls: Option<Bucket>,
    /// Instances named in the calls.
    pub instances: Option<Bucket>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The most tokens that it holds; it starts full.
    pub burst: u32,
    /// Tokens that flow in per second.
    pub per_second: u32,
}
