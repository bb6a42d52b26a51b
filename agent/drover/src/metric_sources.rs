//! Where metrics come from: what the agent's own file names. Nothing of a repository is an address, a path
//! or a program here; it gives a source's name, and a query or the name of a value.
//!
//! **Invariant:** every question is answered within its time limit, counted from the moment that all are
//! asked, and with a reason where there is no value. The reason is the same from pass to pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_loop::{MetricAsk, MetricReader};
use drover_model::{Reading, Readings, SourceName};
use drover_spec::agent_config::{MetricSourceConfig, MetricSourceKind};
use tokio::task::JoinSet;
use tokio::time::Instant;

mod document;
mod file;
mod program;
mod prometheus;

#[cfg(test)]
mod tests;

use document::Values;
use prometheus::Prometheus;

/// Longest reason, in characters: holds say it, and it may be what another program wrote.
const WHY_CHARS_MAX: usize = 200;

/// Why there is no value, in words that stay the same.
type Why = String;

/// The sources of an agent.
#[derive(Debug)]
pub(crate) struct MetricSources {
    by_name: BTreeMap<SourceName, Source>,
}

#[derive(Debug)]
struct Source {
    timeout: Duration,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Prometheus(Arc<Prometheus>),
    /// A file or a program, which says all its values at once.
    Document(MetricSourceKind),
}

impl MetricSources {
    /// Prepares the sources. Nobody is asked yet.
    pub(crate) fn new(configured: &[MetricSourceConfig]) -> Self {
        let source = |config: &MetricSourceConfig| {
            let kind = match &config.kind {
                MetricSourceKind::Prometheus { url, token, ca } => {
                    let prometheus = Prometheus::new(url, token.as_deref(), ca.as_deref());
                    Kind::Prometheus(Arc::new(prometheus))
                }
                other => Kind::Document(other.clone()),
            };
            let source = Source {
                timeout: config.timeout,
                kind,
            };
            (config.name.clone(), source)
        };
        Self {
            by_name: configured.iter().map(source).collect(),
        }
    }
}

#[async_trait]
impl MetricReader for MetricSources {
    async fn read(&self, asks: Vec<MetricAsk>) -> Readings {
        let asked_at = Instant::now();
        let mut by_source: BTreeMap<SourceName, Vec<MetricAsk>> = BTreeMap::new();
        for ask in asks {
            let source = ask.query.source.clone();
            by_source.entry(source).or_default().push(ask);
        }
        // Dropped, the tasks end, and what they started.
        let mut tasks: JoinSet<Readings> = JoinSet::new();
        let mut readings = Readings::new();
        for (name, asks) in by_source {
            let Some(source) = self.by_name.get(&name) else {
                let why = format!("the agent has no metric source `{name}`");
                readings.extend(all_missing(&asks, &why));
                continue;
            };
            match &source.kind {
                Kind::Prometheus(prometheus) => {
                    for ask in asks {
                        let limit = source.timeout.min(ask.timeout);
                        let prometheus = Arc::clone(prometheus);
                        tasks.spawn(async move {
                            let query = &ask.query.query;
                            let asked = prometheus.ask(query, limit);
                            let answer = within(asked_at, limit, asked).await;
                            [(ask.query.clone(), reading(answer))].into()
                        });
                    }
                }
                Kind::Document(kind) => {
                    // One look for all: the longest that any of them waits for.
                    let longest = asks.iter().map(|ask| ask.timeout).max();
                    let limit = source.timeout.min(longest.unwrap_or_default());
                    let kind = kind.clone();
                    tasks.spawn(async move {
                        match within(asked_at, limit, document(&kind)).await {
                            Ok(values) => values.answer(&asks),
                            Err(why) => all_missing(&asks, &shortened(&why)),
                        }
                    });
                }
            }
        }
        while let Some(ended) = tasks.join_next().await {
            // What a task that panicked was to answer is missing, which the caller notices.
            readings.extend(ended.unwrap_or_default());
        }
        readings
    }
}

async fn document(kind: &MetricSourceKind) -> Result<Values, Why> {
    match kind {
        MetricSourceKind::File { path } => file::read(path.clone()).await,
        MetricSourceKind::Program { program, args } => program::run(program, args).await,
        MetricSourceKind::Prometheus { .. } => Err("it has no document".to_owned()),
    }
}

/// Waits for an answer until `limit` after `asked_at`.
async fn within<T>(
    asked_at: Instant,
    limit: Duration,
    answer: impl Future<Output = Result<T, Why>>,
) -> Result<T, Why> {
    let answer = tokio::time::timeout_at(asked_at + limit, answer).await;
    answer.unwrap_or_else(|_elapsed| {
        let limit = drover_spec::format_duration(limit);
        Err(format!("no answer within {limit}"))
    })
}

fn reading(answer: Result<Reading, Why>) -> Reading {
    answer.unwrap_or_else(|why| Reading::Missing {
        why: shortened(&why),
    })
}

fn all_missing(asks: &[MetricAsk], why: &str) -> Readings {
    let missing = |ask: &MetricAsk| {
        let why = why.to_owned();
        (ask.query.clone(), Reading::Missing { why })
    };
    asks.iter().map(missing).collect()
}

/// Returns a reason on one line, of bounded length.
fn shortened(why: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    why.chars().take(WHY_CHARS_MAX).map(plain).collect()
}
