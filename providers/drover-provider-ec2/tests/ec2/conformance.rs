//! The suite that every provider passes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{GroupUid, ProviderRef, Value};
use drover_provider::conformance::{self, CheckResult, Outcome, Report, Subject};
use drover_provider::{Provider, ProviderError};
use drover_provider_ec2::Ec2Factory;

use crate::fake::{Fake, FakeSettings};
use crate::support::{factory, map, open_with, run_id, running_with, settings, texts};

/// The provider over an endpoint.
pub(crate) struct Reached {
    pub(crate) endpoint: String,
    factory: Ec2Factory,
    run: GroupUid,
    settings: Value,
    properties: Value,
    pause: Duration,
}

impl Reached {
    pub(crate) fn new(endpoint: &str, settings: Value, properties: Value) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            factory: factory(endpoint),
            run: run_id(),
            settings,
            properties,
            pause: Duration::from_millis(30),
        }
    }
}

#[async_trait]
impl Subject for Reached {
    fn provider(&self) -> Arc<dyn Provider> {
        open_with(&self.factory, "aws", &self.settings)
    }

    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        // With nothing remembered, as a program that was killed.
        Some(open_with(&factory(&self.endpoint), "aws", &self.settings))
    }

    fn other_scope(&self) -> Option<Result<Arc<dyn Provider>, ProviderError>> {
        Some(Ok(open_with(&self.factory, "other", &self.settings)))
    }

    fn run_id(&self) -> GroupUid {
        self.run.clone()
    }

    fn running(&self) -> Value {
        self.properties.clone()
    }

    fn another(&self) -> Option<Value> {
        let Value::Map(properties) = &self.properties else {
            return None;
        };
        let mut other = properties.clone();
        other.insert("instanceType".to_owned(), "t3.small".into());
        Some(Value::Map(other))
    }

    fn invalid(&self) -> Value {
        map(&[("imageIdd", "ami-00000001".into())])
    }

    async fn end_released(&self, instance: &ProviderRef) {
        let client = crate::support::client(&self.endpoint).await;
        let ended = client
            .terminate_instances()
            .instance_ids(instance.as_str())
            .send()
            .await;
        ended.unwrap();
    }

    fn ends_released(&self) -> bool {
        true
    }

    async fn wait(&self) {
        tokio::time::sleep(self.pause).await;
    }

    fn patience(&self) -> u32 {
        // Longer than a status may be old, which is ten seconds.
        500
    }
}

/// A double that is slow, and behind in everything.
pub(crate) fn slow() -> FakeSettings {
    let ms = Duration::from_millis;
    FakeSettings {
        boot: ms(150),
        list_lag: ms(120),
        interface_lag: ms(60),
        state_lag: ms(100),
        stop: ms(100),
        latency: ms(5),
        ..FakeSettings::default()
    }
}

pub(crate) fn with_places() -> Value {
    let places = map(&[("subnets", texts(&["subnet-a", "subnet-b", "subnet-c"]))]);
    map(&[("region", "eu-central-1".into()), ("places", places)])
}

pub(crate) fn with_attachment() -> Value {
    let data = map(&[("device", "/dev/sdf".into()), ("sizeGiB", Value::Int(10))]);
    running_with(&[("attachments", map(&[("data", data)]))])
}

fn skipped(report: &Report) -> Vec<&'static str> {
    let of = |result: &CheckResult| {
        matches!(result.outcome, Outcome::Skipped { .. }).then_some(result.name)
    };
    report.results.iter().filter_map(of).collect()
}

#[tokio::test]
async fn keeps_the_contract_over_an_instant_ec2_and_a_slow_one() {
    for speed in [FakeSettings::default(), slow()] {
        let fake = Fake::start(speed);
        let subject = Reached::new(&fake.endpoint(), with_places(), with_attachment());
        let report = conformance::run(&subject).await;
        assert!(report.conforms(), "\n{report}");
        // Nothing restarts in place, ends by itself here, or runs commands.
        assert_eq!(
            skipped(&report),
            ["update-restart", "update-again", "exited", "check"],
            "\n{report}"
        );
        assert_eq!(fake.world().living().count(), 0, "nothing is left behind");
    }
}

#[tokio::test]
async fn a_member_without_places_is_refused() {
    let fake = Fake::start(FakeSettings::default());
    let subject = Reached::new(&fake.endpoint(), settings(), running_with(&[]));
    let report = conformance::run(&subject).await;
    assert!(report.conforms(), "\n{report}");
    assert_eq!(
        skipped(&report),
        ["place", "update-restart", "update-again", "exited", "check"]
    );
    assert!(fake.world().interfaces.is_empty());
}
