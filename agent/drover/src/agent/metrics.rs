//! Prometheus metrics. What describes groups is read from the latest state at every scrape, so that
//! nothing of a group that is gone can stay behind; only counts and durations live here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use drover_loop::AgentStatus;
use drover_model::{MetricName, SourceName, Timestamp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::notices::Posted;
use super::webhook::Verdict;
use crate::commands::VERSION;
use crate::plugins::PluginStates;
use crate::view;

#[cfg(test)]
pub(super) mod tests;

/// Bounds of the pass duration in seconds: from a pass with nothing to do to one that waits for a
/// slow provider.
const PASS_BUCKETS_S: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// The labels of `drover_steps_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    action: String,
    result: String,
}

/// The metrics of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    passes: Histogram,
    steps: Family<StepLabels, Counter>,
    metric_errors: Family<MetricLabels, Counter>,
    webhooks: Family<WebhookLabels, Counter>,
    notices: Family<NoticeLabels, Counter>,
}

/// The labels of `drover_notifications_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoticeLabels {
    result: &'static str,
}

/// The labels of `drover_webhook_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    result: &'static str,
}

/// The labels of `drover_metric_errors_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MetricLabels {
    metric: String,
    source: String,
}

impl Metrics {
    /// Registers everything.
    pub(crate) fn new(states: watch::Receiver<Arc<AgentStatus>>, plugins: PluginStates) -> Self {
        let mut registry = Registry::with_prefix("drover");
        let passes = Histogram::new(PASS_BUCKETS_S);
        registry.register(
            "pass_duration_seconds",
            "How long passes took",
            passes.clone(),
        );
        let steps = Family::default();
        registry.register("steps", "Steps carried out, by result", steps.clone());
        let metric_errors = Family::default();
        registry.register(
            "metric_errors",
            "Passes in which a metric that policies read was not ok",
            metric_errors.clone(),
        );
        let webhooks = Family::default();
        registry.register(
            "webhook",
            "Requests to webhooks, by what became of them",
            webhooks.clone(),
        );
        let notices = Family::default();
        registry.register(
            "notifications",
            "Events told to the address to notify, by what became of them",
            notices.clone(),
        );
        registry.register_collector(Box::new(State { states }));
        registry.register_collector(Box::new(Plugins { plugins }));
        Self {
            registry: Arc::new(registry),
            passes,
            steps,
            metric_errors,
            webhooks,
            notices,
        }
    }

    /// Shows a count of zero for whatever may become of an event.
    pub(crate) fn show_notices(&self) {
        for posted in Posted::ALL {
            drop(self.notices(posted));
        }
    }

    /// Counts an event that is told, or is not.
    pub(crate) fn observe_notice(&self, posted: Posted) {
        self.notices(posted).inc();
    }

    fn notices(&self, posted: Posted) -> Counter {
        let result = posted.word();
        self.notices.get_or_create_owned(&NoticeLabels { result })
    }

    /// Shows a count of zero for whatever may become of a request to a webhook.
    pub(crate) fn show_webhooks(&self) {
        for verdict in Verdict::ALL {
            drop(self.webhooks(verdict));
        }
    }

    /// Counts a request to a webhook.
    pub(crate) fn observe_webhook(&self, verdict: Verdict) {
        self.webhooks(verdict).inc();
    }

    fn webhooks(&self, verdict: Verdict) -> Counter {
        let result = verdict.word();
        self.webhooks.get_or_create_owned(&WebhookLabels { result })
    }

    /// Counts a pass in which a metric was not ok.
    pub(crate) fn observe_metric_error(&self, metric: &str, source: &str) {
        let labels = MetricLabels {
            metric: metric.to_owned(),
            source: source.to_owned(),
        };
        self.metric_errors.get_or_create(&labels).inc();
    }

    /// Counts a pass.
    pub(crate) fn observe_pass(&self, duration: Duration) {
        self.passes.observe(duration.as_secs_f64());
    }

    /// Counts a step.
    pub(crate) fn observe_step(&self, action: &str, result: &str) {
        let labels = StepLabels {
            action: action.to_owned(),
            result: result.to_owned(),
        };
        self.steps.get_or_create(&labels).inc();
    }

    /// Returns the exposition in OpenMetrics text.
    pub(crate) fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[derive(Debug)]
struct State {
    states: watch::Receiver<Arc<AgentStatus>>,
}

/// The plugins that the agent starts.
#[derive(Debug)]
struct Plugins {
    plugins: PluginStates,
}

impl Collector for Plugins {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let plugins = self.plugins.all();
        let help = "1 if a plugin that the agent starts listens";
        let mut up = encoder.encode_descriptor("plugin_up", help, None, MetricType::Gauge)?;
        for (name, plugin) in &plugins {
            let labels = vec![("plugin", name.clone())];
            let value = ConstGauge::new(f64::from(u8::from(plugin.up)));
            value.encode(up.encode_family(&labels)?)?;
        }
        let help = "How often a plugin was started again";
        let mut restarts =
            encoder.encode_descriptor("plugin_restarts", help, None, MetricType::Counter)?;
        for (name, plugin) in &plugins {
            let labels = vec![("plugin", name.clone())];
            let value = ConstCounter::new(plugin.restarts);
            value.encode(restarts.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

type Labels = Vec<(&'static str, String)>;

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let state = self.states.borrow().clone();
        let now = Timestamp::now().as_second();
        for (name, help, samples) in gauges(&state, now) {
            let mut descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, value) in samples {
                let gauge = ConstGauge::new(value);
                if labels.is_empty() {
                    // A family would write empty braces.
                    gauge.encode(descriptor)?;
                    break;
                }
                gauge.encode(descriptor.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

type Gauge = (&'static str, &'static str, Vec<(Labels, f64)>);

fn gauges(state: &AgentStatus, now: i64) -> Vec<Gauge> {
    let plain = |value: f64| vec![(Vec::new(), value)];
    let mut gauges = vec![
        (
            "build_info",
            "The version that runs",
            vec![(vec![("version", VERSION.to_owned())], 1.0)],
        ),
        (
            "writeback_pending",
            "Commits of recorded state that are not pushed yet",
            plain(state.write_back.pending as f64),
        ),
        (
            "writeback_lag_seconds",
            "Age of the oldest commit that is not pushed yet",
            plain(state.write_back.lag.as_secs_f64()),
        ),
    ];
    if let Some(last) = state.source.asked_at {
        gauges.push((
            "source_last_success_timestamp_seconds",
            "When the source was last read",
            plain(last.as_second() as f64),
        ));
        gauges.push((
            "source_lag_seconds",
            "Time since the source was last read",
            plain((now - last.as_second()).max(0) as f64),
        ));
    }
    if let Some((reason, _)) = &state.source.failure {
        gauges.push((
            "source_failure",
            "1 for the reason why the source cannot be used",
            vec![(vec![("reason", (*reason).to_owned())], 1.0)],
        ));
    }
    gauges.push(operation_gauges(state));
    let mut orphans = BTreeMap::new();
    for provider in state.providers.keys() {
        orphans.insert(provider, 0_u32);
    }
    for orphan in &state.orphans {
        *orphans.entry(&orphan.provider).or_default() += 1;
    }
    let orphans = orphans
        .into_iter()
        .map(|(provider, count)| (vec![("provider", provider.clone())], f64::from(count)));
    gauges.push((
        "orphans",
        "Instances that carry the fleet's tags and belong to no group",
        orphans.collect(),
    ));
    gauges.extend(metric_gauges(state));
    gauges.extend(group_gauges(state));
    gauges
}

/// What people with a key asked and does not count, by reason.
fn operation_gauges(state: &AgentStatus) -> Gauge {
    let mut reasons = BTreeMap::new();
    for refused in &state.operations.refused {
        *reasons.entry(refused.reason.word()).or_insert(0_u32) += 1;
    }
    let samples = reasons.into_iter();
    let samples =
        samples.map(|(reason, count)| (vec![("reason", reason.to_owned())], f64::from(count)));
    (
        "operations_refused",
        "Signed operations that do not count",
        samples.collect(),
    )
}

/// What policies are told, as of the latest pass.
fn metric_gauges(state: &AgentStatus) -> Vec<Gauge> {
    let labels = |name: &MetricName, source: &SourceName| {
        vec![("metric", name.to_string()), ("source", source.to_string())]
    };
    let metrics = state.metrics.iter();
    let ok = metrics.clone().map(|(name, status)| {
        let ok = f64::from(u8::from(status.judged.is_ok()));
        (labels(name, &status.source), ok)
    });
    let ages = metrics.filter_map(|(name, status)| {
        let age = status.age()?.as_secs_f64();
        Some((labels(name, &status.source), age))
    });
    vec![
        (
            "metric_ok",
            "1 if a metric that policies read has a value that is new enough",
            ok.collect(),
        ),
        (
            "metric_age_seconds",
            "Age of the value of a metric that policies read at the time of the pass",
            ages.collect(),
        ),
    ]
}

fn group_gauges(state: &AgentStatus) -> Vec<Gauge> {
    let mut conditions = Vec::new();
    let mut instances = Vec::new();
    let mut sizes = Vec::new();
    let mut holds = Vec::new();
    for (name, group) in &state.groups {
        let group = &group.recorded;
        let label = || ("group", name.to_string());
        sizes.push((vec![label()], f64::from(group.size)));
        for (type_, condition) in &group.conditions {
            for status in [Some(true), Some(false), None] {
                let labels = vec![
                    label(),
                    ("type", type_.as_str().to_owned()),
                    ("status", view::status(status).to_owned()),
                ];
                conditions.push((labels, f64::from(u8::from(condition.status == status))));
            }
        }
        let view = view::group(group, &view::Declared::default());
        for (class, count) in view.classes {
            instances.push((vec![label(), ("class", class)], f64::from(count)));
        }
        let mut codes = BTreeMap::new();
        for held in &group.holds {
            *codes.entry(held.hold.code()).or_insert(0_u32) += 1;
        }
        for (code, count) in codes {
            let labels = vec![label(), ("code", code.to_owned())];
            holds.push((labels, f64::from(count)));
        }
    }
    vec![
        ("group_size", "Instances wanted", sizes),
        (
            "group_condition",
            "1 for the status that a condition has",
            conditions,
        ),
        ("instances", "Instances by class", instances),
        ("holds", "Reasons not to act", holds),
    ]
}
