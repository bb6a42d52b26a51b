//! The example in Python, which is what other languages start from: it passes the whole suite.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use drover_model::{ErrorClass, GroupUid, ProviderName, ProviderRef, Timestamp, Value};
use drover_provider::conformance::{self, Outcome, Subject};
use drover_provider::{Clock, Provider, ProviderError, ProviderFactory as _};
use drover_provider_plugin::{Directory, Place, PluginFactory, from_json};
use serde_json::json;

use crate::support::{fleet, make, request, values};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/provider.py");

const PYTHON: &str = "/usr/bin/python3";

#[derive(Debug)]
struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The example's process, and a scope over it.
struct Example {
    folder: tempfile::TempDir,
    child: Child,
}

impl Example {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = run(&folder);
        Self { folder, child }
    }

    /// Kills the plugin and starts it again.
    fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = run(&self.folder);
    }

    fn open(&self) -> Arc<dyn Provider> {
        self.open_as("local").unwrap()
    }

    fn open_as(&self, name: &str) -> Result<Arc<dyn Provider>, ProviderError> {
        let place = Place::Named(Directory::new(self.folder.path()));
        let factory =
            PluginFactory::new(place, self.folder.path().join("data"), Arc::new(WallClock));
        let name = ProviderName::parse(name).unwrap();
        factory.open(&name, &values(&[("plugin", "example")]))
    }
}

fn run(folder: &tempfile::TempDir) -> Child {
    let socket = folder.path().join("example");
    let spawned = Command::new(PYTHON)
        .arg(SCRIPT)
        .args([&socket, &folder.path().join("machines")])
        .stdin(Stdio::null())
        .spawn();
    let mut child = spawned.expect("python3 is needed for this test: tests/run installs it");
    let deadline = Instant::now() + Duration::from_mins(1);
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "the example ended");
        assert!(Instant::now() < deadline, "the example does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(words: &[&str]) -> Value {
    from_json(&json!({"command": words}))
}

struct Suite {
    example: Example,
    provider: Arc<dyn Provider>,
}

#[async_trait]
impl Subject for Suite {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }

    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        Some(self.example.open())
    }

    fn other_scope(&self) -> Option<Result<Arc<dyn Provider>, ProviderError>> {
        Some(self.example.open_as("other"))
    }

    fn run_id(&self) -> GroupUid {
        GroupUid::parse("fedcba9876543210").unwrap()
    }

    fn running(&self) -> Value {
        command(&["/bin/sleep", "600"])
    }

    fn invalid(&self) -> Value {
        from_json(&json!({"command": "sleep"}))
    }

    fn exiting(&self) -> Option<Value> {
        Some(command(&["/bin/true"]))
    }

    fn printing(&self) -> Option<Value> {
        Some(command(&["/bin/sh", "-c", "seq 9; exec sleep 600"]))
    }

    async fn end_released(&self, instance: &ProviderRef) {
        let machines = self.example.folder.path().join("machines");
        let mut end = Command::new(PYTHON);
        let end = end
            .args([SCRIPT, "end"])
            .arg(machines)
            .arg(instance.as_str());
        assert!(end.status().unwrap().success());
    }

    fn ends_released(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_in_python_keeps_the_contract() {
    let example = Example::start();
    let provider = example.open();
    assert_eq!(provider.manifest().batch_max, 5);
    let suite = Suite { example, provider };
    let report = conformance::run(&suite).await;
    assert!(report.conforms(), "\n{report}");
    let skipped = report
        .results
        .iter()
        .filter(|result| matches!(result.outcome, Outcome::Skipped { .. }));
    let skipped: Vec<&str> = skipped.map(|result| result.name).collect();
    assert_eq!(
        skipped,
        [
            "place",
            "update-restart",
            "update-again",
            "update-live",
            "update-stranger",
            "tags",
            "adopt",
            "check",
            "health"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_instances_outlive_it_and_its_listing_has_pages() {
    let mut example = Example::start();
    let provider = example.open();
    let mut asked = request(1);
    asked.properties = command(&["/bin/sh", "-c", "echo hello; exec sleep 600"]);
    for number in 2..=5 {
        let mut slot = asked.slots[0].clone();
        slot.instance = drover_model::InstanceId::new(asked.group.clone(), number);
        asked.slots.push(slot);
    }
    let one = make(&provider, &asked).await;
    example.restart();
    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.instances.len(), 5, "three pages");
    assert_eq!(make(&provider, &asked).await, one);
    let deadline = Instant::now() + Duration::from_mins(1);
    while provider.logs(&one, 10).await.unwrap() != "hello\n" {
        assert!(Instant::now() < deadline, "nothing was printed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let provision = provider.provision(&asked).await.unwrap();
    for (instance, handle) in provision.made {
        let mut end = crate::support::destroying(&asked, &handle);
        end.instance = instance;
        provider.destroy(&end).await.unwrap();
    }
    let nothing = provider.list(&fleet()).await.unwrap();
    assert!(nothing.instances.is_empty());
    let mut bad = request(7);
    bad.properties = command(&[]);
    let refused = provider.provision(&bad).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec, "{refused}");
    assert!(
        refused
            .message
            .starts_with("plugin example: Provider.Provision: "),
        "{refused}"
    );
}
