//! The provider contract, by the suite that every provider passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{GroupUid, ProviderRef, Value};
use drover_provider::conformance::{self, Outcome, Subject};
use drover_provider::{Provider, ProviderError};

use crate::harness::{IDLE, Scope, map, shell};

struct Containers {
    scope: Scope,
    /// Whether containers' own checks are to be run: this engine has no timers of its own.
    runs_checks: AtomicBool,
}

#[async_trait]
impl Subject for Containers {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.scope.provider)
    }

    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        Some(self.scope.reopened())
    }

    fn other_scope(&self) -> Option<Result<Arc<dyn Provider>, ProviderError>> {
        Some(Ok(self.scope.neighbour()))
    }

    fn run_id(&self) -> GroupUid {
        GroupUid::parse("containers000000").unwrap()
    }

    fn running(&self) -> Value {
        shell(IDLE, &[])
    }

    fn invalid(&self) -> Value {
        map(&[("imgae", Value::from("x"))])
    }

    fn exiting(&self) -> Option<Value> {
        Some(shell("exit 3", &[]))
    }

    fn unhealthy(&self) -> Option<Value> {
        self.runs_checks.store(true, Ordering::Relaxed);
        let check = map(&[
            ("command", Value::List(vec!["false".into()])),
            ("interval", "1s".into()),
            ("retries", Value::Int(1)),
        ]);
        Some(shell(IDLE, &[("healthcheck", check)]))
    }

    fn printing(&self) -> Option<Value> {
        Some(shell(&format!("seq 9; {IDLE}"), &[]))
    }

    async fn wait(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if self.runs_checks.load(Ordering::Relaxed) {
            for container in self.scope.engine.containers("drover.fleet") {
                self.scope.engine.run_healthcheck(&container);
            }
        }
    }

    async fn end_released(&self, instance: &ProviderRef) {
        let path = format!("/containers/{instance}.released?force=true");
        let (status, said) = self.scope.engine.delete(&path);
        assert!(matches!(status, 200 | 204), "{status} {said}");
    }

    fn ends_released(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_provider_contract() {
    let subject = Containers {
        scope: Scope::new("conformance"),
        runs_checks: AtomicBool::new(false),
    };
    let report = conformance::run(&subject).await;
    assert!(report.conforms(), "\n{report}");
    let skipped = report.results.iter().filter_map(|result| {
        let is_skipped = matches!(result.outcome, Outcome::Skipped { .. });
        is_skipped.then_some(result.name)
    });
    // What containers cannot do, and nothing else.
    let expected = [
        "place",
        "update-restart",
        "update-again",
        "update-live",
        "update-stranger",
        "tags",
        "adopt",
    ];
    assert_eq!(skipped.collect::<Vec<_>>(), expected, "\n{report}");
}
