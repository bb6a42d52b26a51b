//! The provider contract, by the suite that every provider passes.

use std::sync::Arc;

use async_trait::async_trait;
use drover_model::{GroupUid, ProviderRef, Value};
use drover_provider::conformance::{self, Outcome, Subject};
use drover_provider::{Provider, ProviderError};
use rustix::process::Signal;

use crate::harness::{Scope, kill, map, open, open_as, processes_of, shell, strings};

struct Processes {
    scope: Scope,
}

#[async_trait]
impl Subject for Processes {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.scope.provider)
    }

    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        Some(open(self.scope.dir.path(), &Value::empty_map()))
    }

    fn other_scope(&self) -> Option<Result<Arc<dyn Provider>, ProviderError>> {
        Some(open_as(self.scope.dir.path(), "other", &Value::empty_map()))
    }

    fn run_id(&self) -> GroupUid {
        GroupUid::parse("processes0000000").unwrap()
    }

    fn running(&self) -> Value {
        shell(0, "exec sleep 1000").properties
    }

    fn invalid(&self) -> Value {
        map(&[("comand", strings(&["true"]))])
    }

    fn exiting(&self) -> Option<Value> {
        Some(shell(0, "exit 3").properties)
    }

    fn printing(&self) -> Option<Value> {
        Some(shell(0, "seq 9; exec sleep 1000").properties)
    }

    async fn end_released(&self, instance: &ProviderRef) {
        let folder = self.scope.folder(instance);
        for pid in processes_of(&folder) {
            kill(pid, Signal::KILL);
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    fn ends_released(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn keeps_the_provider_contract() {
    let subject = Processes {
        scope: Scope::new(),
    };
    let report = conformance::run(&subject).await;
    assert!(report.conforms(), "\n{report}");
    // A process that another one started is nothing that this provider knows, and it has no health but that it runs.
    let unknown = ["tags", "adopt", "health"];
    let rest = report
        .results
        .iter()
        .filter(|one| !unknown.contains(&one.name));
    for result in rest {
        assert_eq!(result.outcome, Outcome::Passed, "{}", result.name);
    }
    // The address of the released instance is taken over when it is needed again.
    let addresses = subject.scope.dir.path().join(".addresses");
    for entry in std::fs::read_dir(addresses).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    subject.scope.finish().await;
}
