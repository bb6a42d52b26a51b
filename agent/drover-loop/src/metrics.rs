//! Metrics that policies read: asked for once per pass, all at once, before anything is decided.
//!
//! **Invariant:** a metric that is not there, or not new enough, has no value: nothing here makes a number
//! up. A source that does not answer costs a pass its time limit and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{Metric, MetricName, MetricQuery, Reading, Readings, SourceName, Timestamp};
use drover_policy::PolicySet;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::task::Shared;

/// A question of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricAsk {
    /// Whom to ask what.
    pub query: MetricQuery,
    /// How long the answer is waited for, from the moment that all questions are asked.
    pub timeout: Duration,
}

/// Reads metrics.
///
/// # Guarantees
///
/// Every question has an answer, within its time limit, that says why there is no value where there is
/// none. A value is a finite number.
#[async_trait]
pub trait MetricReader: Send + Sync + fmt::Debug {
    /// Asks all questions at once.
    ///
    /// # Cancellation
    ///
    /// Asking changes nothing. A program that was started is ended.
    async fn read(&self, asks: Vec<MetricAsk>) -> Readings;
}

/// Where there are no metrics.
#[derive(Debug, Clone, Copy)]
pub struct NoMetrics {
    why: &'static str,
}

impl NoMetrics {
    /// Answers every question with `why`.
    pub fn new(why: &'static str) -> Self {
        Self { why }
    }
}

#[async_trait]
impl MetricReader for NoMetrics {
    async fn read(&self, asks: Vec<MetricAsk>) -> Readings {
        let missing = |ask: MetricAsk| {
            let why = self.why.to_owned();
            (ask.query, Reading::Missing { why })
        };
        asks.into_iter().map(missing).collect()
    }
}

/// A metric at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricStatus {
    /// The source, as the agent's file calls it.
    pub source: SourceName,
    /// The value and its age, or why the metric is not ok.
    pub judged: Result<(f64, Duration), String>,
    /// How old a value is that is too old.
    pub stale_age: Option<Duration>,
}

impl MetricStatus {
    /// Returns how old the value is, one that is too old included.
    pub fn age(&self) -> Option<Duration> {
        let known = self.judged.as_ref().ok().map(|(_, age)| *age);
        known.or(self.stale_age)
    }
}

/// What a group's policies were told of one metric, its age aside: the bits of the value, or why not.
pub(crate) type Told = (MetricQuery, Result<u64, String>);

/// The metrics of the agent.
#[derive(Debug)]
pub(crate) struct Metrics {
    reader: Arc<dyn MetricReader>,
    /// What came of asking in the latest pass.
    pub(crate) readings: Arc<Readings>,
    /// Whether any policy reads a metric.
    pub(crate) asked: bool,
    /// The metrics of the policies in force.
    pub(crate) status: BTreeMap<MetricName, MetricStatus>,
}

/// Questions under way. Dropped, they are no longer asked.
#[derive(Debug)]
pub(crate) struct Asked {
    queries: BTreeSet<MetricQuery>,
    answer: JoinSet<Readings>,
}

impl Metrics {
    pub(crate) fn new(reader: Arc<dyn MetricReader>) -> Self {
        Self {
            reader,
            readings: Arc::default(),
            asked: false,
            status: BTreeMap::new(),
        }
    }

    /// Begins to ask for everything that policies read, those too that still judge from before.
    pub(crate) fn ask(&self, sets: &[Arc<PolicySet>]) -> Asked {
        let mut timeouts: BTreeMap<MetricQuery, Duration> = BTreeMap::new();
        for metric in sets.iter().flat_map(|set| set.metrics(None).into_values()) {
            let timeout = timeouts.entry(metric.query.clone()).or_default();
            *timeout = metric.timeout.max(*timeout);
        }
        let mut answer = JoinSet::new();
        let queries = timeouts.keys().cloned().collect();
        if !timeouts.is_empty() {
            let reader = Arc::clone(&self.reader);
            let asks = timeouts.into_iter();
            let asks = asks.map(|(query, timeout)| MetricAsk { query, timeout });
            let asks = asks.collect();
            answer.spawn(async move { reader.read(asks).await });
        }
        Asked { queries, answer }
    }

    /// Waits for the answers, at most for `wait`.
    pub(crate) async fn take(
        &mut self,
        mut asked: Asked,
        sets: &[Arc<PolicySet>],
        now: Timestamp,
        wait: Duration,
    ) {
        self.asked = !asked.queries.is_empty();
        let mut why = "the source gave no answer";
        let readings = match tokio::time::timeout(wait, asked.answer.join_next()).await {
            Ok(Some(Ok(readings))) => readings,
            Ok(None) => Readings::new(),
            Ok(Some(Err(_))) => {
                why = "internal error while asking";
                Readings::new()
            }
            Err(_elapsed) => Readings::new(),
        };
        let mut readings = readings;
        for query in asked.queries {
            readings.entry(query).or_insert_with(|| Reading::Missing {
                why: why.to_owned(),
            });
        }
        let current = sets.last();
        let metrics = current.map(|set| set.metrics(None)).unwrap_or_default();
        let status = metrics.into_iter().map(|(name, metric)| {
            let status = status(metric, &readings, now);
            self.log(name, &status);
            (name.clone(), status)
        });
        self.status = status.collect();
        self.readings = Arc::new(readings);
    }

    /// Says once that a metric is no longer ok, and once that it is again.
    fn log(&self, name: &MetricName, status: &MetricStatus) {
        let before = self.status.get(name).map(|before| &before.judged);
        match (&status.judged, before) {
            (Err(why), Some(Err(same))) if why == same => {}
            (Err(why), _) => {
                warn!(metric = %name, source = %status.source, error = why, "metric not ok");
            }
            (Ok(_), Some(Err(_))) => info!(metric = %name, "metric ok again"),
            (Ok(_), _) => {}
        }
    }
}

fn status(metric: &Metric, readings: &Readings, now: Timestamp) -> MetricStatus {
    let judged = metric.judge(readings, now);
    MetricStatus {
        source: metric.query.source.clone(),
        stale_age: judged.as_ref().err().and_then(|not_ok| not_ok.age),
        judged: judged.map_err(|not_ok| not_ok.why),
    }
}

impl Shared {
    /// Returns what the policies of a group with `labels` are told of metrics, its age aside.
    pub(crate) fn told(&self, labels: &BTreeMap<String, String>) -> Vec<Told> {
        let sets = self.policies.iter();
        let metrics = sets.flat_map(|set| set.metrics(Some(labels)).into_values());
        let told = metrics.map(|metric| {
            let judged = metric.judge(&self.readings, self.now);
            let judged = judged.map(|(value, _)| value.to_bits());
            (metric.query.clone(), judged.map_err(|not_ok| not_ok.why))
        });
        told.collect()
    }
}
