//! The conformance suite over a plugin of InfraKit's kind.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{GroupUid, ProviderRef, Value};
use drover_provider::Provider;
use drover_provider::conformance::{self, Outcome, Subject};

use crate::support::{Scope, values};

struct Plugin {
    scope: Scope,
    provider: Arc<dyn Provider>,
}

#[async_trait]
impl Subject for Plugin {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }

    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        Some(self.scope.open())
    }

    fn run_id(&self) -> GroupUid {
        GroupUid::parse("fedcba9876543210").unwrap()
    }

    fn running(&self) -> Value {
        values(&[("note", "hello")])
    }

    fn another(&self) -> Option<Value> {
        Some(values(&[("note", "another")]))
    }

    fn invalid(&self) -> Value {
        values(&[("bad", "yes")])
    }

    async fn end_released(&self, instance: &ProviderRef) {
        self.scope.fake.remove(instance.as_str());
    }

    fn ends_released(&self) -> bool {
        true
    }

    async fn wait(&self) {
        self.scope.clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_knows_no_tokens_keeps_the_contract_through_the_host() {
    for (lag, loose) in [(0, false), (20, true)] {
        let scope = Scope::new();
        scope.fake.set_lag(Duration::from_millis(lag));
        if loose {
            scope.fake.set_loose_filter();
            scope
                .fake
                .add_stranger("stranger", serde_json::json!({"simulator": "simulator"}));
        }
        let provider = scope.open();
        let subject = Plugin { scope, provider };
        let report = conformance::run(&subject).await;
        assert!(report.conforms(), "\n{report}");
        let skipped: Vec<&str> = report
            .results
            .iter()
            .filter(|result| matches!(result.outcome, Outcome::Skipped { .. }))
            .map(|result| result.name)
            .collect();
        // What the protocol has no calls or no words for.
        assert_eq!(
            skipped,
            [
                "place",
                "update-restart",
                "update-again",
                "update-live",
                "update-stranger",
                "scopes",
                "exited",
                "check",
                "health",
                "logs"
            ]
        );
        assert_eq!(
            subject.scope.fake.count(),
            usize::from(loose),
            "nothing is left over"
        );
    }
}
