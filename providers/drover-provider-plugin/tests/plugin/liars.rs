//! Plugins that break the contract in one point each, in each of their methods, and the check of the suite that must see it.

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use drover_model::{GroupUid, ProviderName, Value};
use drover_provider::conformance::{self, Outcome, Report, Subject};
use drover_provider::{Provider, ProviderError, ProviderFactory as _};
use drover_provider_plugin::{Directory, Place, PluginFactory, from_json};
use futures::StreamExt as _;
use serde_json::json;

use crate::serving::WallClock;
use crate::support::values;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugin/liar.py");

const PYTHON: &str = "/usr/bin/python3";

/// How many liars are tried at once: most of the time is waiting.
const AT_ONCE: usize = 6;

/// A liar's process, and a scope over it.
struct Liar {
    folder: tempfile::TempDir,
    child: Child,
    provider: Option<Arc<dyn Provider>>,
    /// The check that is made. None: every one.
    check: Option<&'static str>,
}

impl Liar {
    async fn start(lie: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("liar");
        let spawned = Command::new(PYTHON)
            .arg(SCRIPT)
            .arg(&socket)
            .arg(lie)
            .stdin(Stdio::null())
            .spawn();
        let mut child = spawned.expect("python3 is needed for this test: tests/run installs it");
        let deadline = Instant::now() + Duration::from_mins(1);
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            assert!(child.try_wait().unwrap().is_none(), "{lie}: it ended");
            assert!(Instant::now() < deadline, "{lie}: it does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self {
            folder,
            child,
            provider: None,
            check: None,
        }
    }

    fn factory(&self) -> PluginFactory {
        let place = Place::Named(Directory::new(self.folder.path()));
        PluginFactory::new(place, self.folder.path().join("data"), Arc::new(WallClock))
    }

    fn open(&self) -> Arc<dyn Provider> {
        self.open_as(&name()).unwrap()
    }

    fn open_as(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, ProviderError> {
        let factory = self.factory();
        tokio::task::block_in_place(|| factory.open(name, &settings()))
    }

    /// Runs the suite, and tries what only the wire shows, as `drover plugin conform` does.
    async fn tried(mut self) -> Report {
        self.provider = Some(self.open());
        let mut report = conformance::run(&self).await;
        let limit = Duration::from_secs(20);
        let (factory, name, settings) = (self.factory(), name(), settings());
        let wire = factory.check_wire(&self, &name, &settings, limit);
        report.results.extend(wire.await);
        report
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn name() -> ProviderName {
    ProviderName::parse("local").unwrap()
}

fn settings() -> Value {
    values(&[("plugin", "liar")])
}

fn of_kind(kind: &str) -> Value {
    from_json(&json!({"kind": kind}))
}

#[async_trait]
impl Subject for Liar {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(self.provider.as_ref().unwrap())
    }

    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        Some(self.open())
    }

    fn other_scope(&self) -> Option<Result<Arc<dyn Provider>, ProviderError>> {
        Some(self.open_as(&ProviderName::parse("other").unwrap()))
    }

    fn run_id(&self) -> GroupUid {
        GroupUid::parse("fedcba9876543210").unwrap()
    }

    fn running(&self) -> Value {
        of_kind("run")
    }

    fn invalid(&self) -> Value {
        of_kind("bad")
    }

    fn exiting(&self) -> Option<Value> {
        Some(of_kind("exit"))
    }

    fn unhealthy(&self) -> Option<Value> {
        Some(of_kind("sick"))
    }

    fn makes(&self, check: &str) -> bool {
        self.check.is_none_or(|only| only == check)
    }

    fn patience(&self) -> u32 {
        60
    }
}

/// Returns what one check says of the plugin with a lie.
async fn report(lie: &str, check: &'static str) -> Report {
    let mut liar = Liar::start(lie).await;
    liar.check = Some(check);
    liar.tried().await
}

fn failed(report: &Report) -> Vec<&'static str> {
    let results = report.results.iter();
    let failed = results.filter(|result| matches!(result.outcome, Outcome::Failed { .. }));
    failed.map(|result| result.name).collect()
}

/// Asserts that each lie fails this check, whatever others it fails too.
async fn assert_seen(cases: &[(&'static str, &'static str)]) {
    let mut reports = futures::stream::iter(cases)
        .map(|(lie, check)| async move { (lie, check, report(lie, check).await) })
        .buffered(AT_ONCE);
    let mut unseen = String::new();
    while let Some((lie, check, report)) = reports.next().await {
        if failed(&report) != [*check] {
            let _ = writeln!(unseen, "{lie} is not seen by {check}: {report}");
        }
    }
    assert!(unseen.is_empty(), "\n{unseen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_lie_passes_every_check() {
    let report = Liar::start("none").await.tried().await;
    let all = report.results.iter();
    assert!(
        all.map(|result| &result.outcome)
            .all(|it| *it == Outcome::Passed),
        "\n{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_that_is_not_true_is_seen() {
    assert_seen(&[
        ("describe-loose", "manifest"),
        ("describe-strict", "manifest"),
        ("describe-batch", "batch"),
        ("hides-update", "unclaimed"),
        ("hides-reserve", "unclaimed"),
        ("hides-survey", "unclaimed"),
        ("hides-adopt", "unclaimed"),
        ("hides-check", "unclaimed"),
        ("hides-health", "unclaimed"),
        ("hides-logs", "unclaimed"),
        ("has-no-update", "update-live"),
        ("has-no-reserve", "place"),
        ("has-no-survey", "adopt"),
        ("has-no-adopt", "adopt"),
        ("has-no-check", "check"),
        ("has-no-health", "health"),
        ("has-no-logs", "logs"),
        ("has-no-release", "release"),
        ("has-no-destroy", "destroy"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_not_true_is_seen() {
    assert_seen(&[
        ("list-partial", "manifest"),
        ("list-late", "visibility"),
        ("list-foreign", "other-fleets"),
        ("list-digest", "ownership"),
        ("list-token", "ownership"),
        ("list-epoch", "ownership"),
        ("list-group", "ownership"),
        ("list-instance", "ownership"),
        ("list-no-owner", "ownership"),
        ("list-seat", "place"),
        ("list-no-birth", "provision"),
        ("birth-long-ago", "created-at"),
        ("birth-moves", "created-at"),
        ("list-ending-runs", "destroy"),
        ("list-exited-runs", "exited"),
        ("list-forgets-exited", "exited"),
        ("list-never-ends", "destroy"),
        ("list-reborn", "repeat-after-end"),
        ("list-repeats-at-page-ends", "many"),
        ("list-loses-pages", "many"),
        ("list-same-page", "provision"),
        ("list-twice", "many"),
        ("list-empty-at-times", "many"),
        ("list-no-attached", "place"),
        ("list-no-places", "place"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_made_as_it_is_said_is_seen() {
    assert_seen(&[
        ("provision-takes-all", "invalid-spec"),
        ("provision-invalid-class", "invalid-spec"),
        ("provision-invalid-spends", "invalid-spec"),
        ("provision-nothing", "provision"),
        ("provision-again", "repeat"),
        ("provision-urgency", "repeat"),
        ("provision-race", "repeat-at-once"),
        ("provision-after-end", "repeat-after-end"),
        ("provision-any-parameters", "token-reuse"),
        ("token-any-fleet", "token-reuse"),
        ("token-any-group", "token-reuse"),
        ("token-any-instance", "token-reuse"),
        ("token-any-digest", "token-reuse"),
        ("token-any-epoch", "token-reuse"),
        ("token-any-zone", "token-reuse"),
        ("token-any-properties", "token-reuse"),
        ("token-any-tags", "token-reuse"),
        ("token-any-env", "token-reuse"),
        ("token-any-init", "token-reuse"),
        ("token-of-values", "repeat-secrets"),
        ("provision-short", "batch"),
        ("provision-one-handle", "batch"),
        ("provision-swaps", "batch"),
        ("provision-more", "provision"),
        ("provision-renames", "provision"),
        ("provision-drops-tags", "tags"),
        ("provision-cuts-tags", "tags"),
        ("place-moves", "place"),
        ("place-shared", "place"),
        ("reserve-elsewhere", "place"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ended_and_let_go_in_another_way_is_seen() {
    assert_seen(&[
        ("destroy-nothing", "destroy"),
        ("destroy-gone-fails", "destroy-again"),
        ("destroy-never-fails", "destroy-again"),
        ("destroy-any-token", "destroy-stranger"),
        ("destroy-any-fleet", "destroy-stranger"),
        ("destroy-any-group", "destroy-stranger"),
        ("destroy-any-instance", "destroy-stranger"),
        ("destroy-stranger-class", "destroy-stranger"),
        ("destroy-more", "many"),
        ("destroy-released", "release"),
        ("release-nothing", "release"),
        ("release-ends", "release"),
        ("release-any-fleet", "other-fleets"),
        ("release-gone-class", "release-gone"),
        ("release-drops-tags", "tags"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_scope_does_to_another_is_seen() {
    assert_seen(&[
        ("scope-lists", "scopes"),
        ("scope-destroys", "scopes"),
        ("scope-releases", "scopes"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_wire_shows_is_seen() {
    assert_seen(&[
        ("unknown-in-calls", "unknown-fields"),
        ("unknown-in-slots", "unknown-fields"),
        ("unknown-in-scopes", "unknown-fields"),
        ("hello-one-by-one", "hello-meanwhile"),
        ("hello-after-half-a-call", "hello-meanwhile"),
        ("hello-waits", "hello-meanwhile"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_surveyed_and_adopted_in_another_way_is_seen() {
    assert_seen(&[
        ("survey-all", "tags"),
        ("survey-one-tag", "tags"),
        ("survey-owned", "adopt"),
        ("survey-loses", "tags"),
        ("survey-empty", "adopt"),
        ("survey-phase", "release"),
        ("survey-claimed", "adopt"),
        ("survey-cuts-tags", "tags"),
        ("survey-twice", "tags"),
        ("survey-partial", "adopt"),
        ("adopt-nothing", "adopt"),
        ("adopt-once", "adopt"),
        ("adopt-never", "adopt"),
        ("adopt-steals", "adopt"),
        ("adopt-digest", "adopt"),
        ("adopt-address", "adopt"),
        ("adopt-restarts", "adopt"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_of_an_instance_and_not_true_is_seen() {
    assert_seen(&[
        ("check-passes", "check"),
        ("check-fails", "check"),
        ("check-never-passes", "check"),
        ("check-gone-passes", "check"),
        ("check-no-why", "check"),
        ("check-ends", "check"),
        ("check-restarts", "check"),
        ("check-does-not-wait", "check"),
        ("check-ignores-status", "check"),
        ("health-passes", "health"),
        ("health-fails", "health"),
        ("health-never-passes", "health"),
        ("health-gone-passes", "health"),
        ("health-no-why", "health"),
        ("health-of-last", "health"),
        ("logs-whole", "logs"),
        ("logs-first", "logs"),
        ("logs-nobodys", "logs"),
        ("logs-nobodys-class", "logs"),
        ("logs-others", "logs"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_in_another_way_is_seen() {
    assert_seen(&[
        ("update-nothing", "update-restart"),
        ("update-live-refused", "update-live"),
        ("update-live-nothing", "update-live"),
        ("update-live-restarts", "update-live"),
        ("update-restart-refused", "update-restart"),
        ("update-repeats", "update-restart"),
        ("update-address", "update-restart"),
        ("update-token", "update-restart"),
        ("update-any-token", "update-stranger"),
        ("update-gone", "update-stranger"),
    ])
    .await;
}
