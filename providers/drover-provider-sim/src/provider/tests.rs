use std::time::Duration;

use drover_model::{ErrorClass, GroupUid, Timestamp, Value};
use drover_provider::conformance::{self, Outcome, Report, Subject};

use super::*;
use crate::{Fault, FaultKind, Op, SimSettings};

mod broken;

/// A clock that moves when it is told.
#[derive(Debug, Default)]
struct Hand(Mutex<i64>);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(*self.0.lock().unwrap()).unwrap()
    }
}

struct Simulated {
    clock: Arc<Hand>,
    provider: SimProvider,
}

impl Simulated {
    fn new(settings: SimSettings) -> Self {
        let clock = Arc::new(Hand::default());
        let settings = SimSettings {
            properties: Some(crate::properties_schema()),
            ..settings
        };
        let world = Arc::new(Mutex::new(SimWorld::new(settings)));
        let provider = SimProvider::new(world, Arc::clone(&clock) as Arc<dyn Clock>);
        Self { clock, provider }
    }
}

fn properties(entries: &[(&str, Value)]) -> Value {
    let image = ("image".to_owned(), Value::from("v1"));
    let entries = entries.iter();
    let entries = entries.map(|(name, value)| ((*name).to_owned(), value.clone()));
    entries.chain([image]).collect()
}

#[async_trait]
impl Subject for Simulated {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(self.provider.clone())
    }

    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        Some(self.provider())
    }

    fn other_scope(&self) -> Option<Result<Arc<dyn Provider>, ProviderError>> {
        let settings = SimSettings {
            properties: Some(crate::properties_schema()),
            ..SimSettings::default()
        };
        let world = Arc::new(Mutex::new(SimWorld::new(settings)));
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Some(Ok(Arc::new(SimProvider::new(world, clock))))
    }

    fn run_id(&self) -> GroupUid {
        GroupUid::parse("simulated0000000").unwrap()
    }

    fn running(&self) -> Value {
        properties(&[])
    }

    fn invalid(&self) -> Value {
        properties(&[("imagee", "v1".into())])
    }

    fn exiting(&self) -> Option<Value> {
        Some(properties(&[("exitAfter", "3s".into())]))
    }

    fn unhealthy(&self) -> Option<Value> {
        Some(properties(&[("unhealthy", Value::Bool(true))]))
    }

    async fn end_released(&self, instance: &ProviderRef) {
        let now = self.clock.now();
        self.provider.world().vanish(instance, now);
    }

    fn ends_released(&self) -> bool {
        true
    }

    async fn wait(&self) {
        *self.clock.0.lock().unwrap() += 1;
    }

    fn patience(&self) -> u32 {
        100
    }
}

async fn report(settings: SimSettings, faults: &[Fault]) -> Report {
    let subject = Simulated::new(settings);
    for fault in faults {
        subject.provider.world().inject(fault.clone());
    }
    conformance::run(&subject).await
}

fn slow() -> SimSettings {
    SimSettings {
        boot: Duration::from_secs(5),
        list_lag: Duration::from_secs(3),
        address_lag: Duration::from_secs(6),
        stop: Duration::from_secs(7),
        remember: Duration::from_secs(20),
        visibility: Duration::from_secs(3),
        batch_max: 4,
        ..SimSettings::default()
    }
}

#[tokio::test]
async fn keeps_the_contract_instantly_and_slowly() {
    for settings in [SimSettings::default(), slow()] {
        let report = report(settings, &[]).await;
        assert!(report.conforms(), "\n{report}");
        let passed = |result: &&conformance::CheckResult| result.outcome != Outcome::Passed;
        let rest: Vec<_> = report.results.iter().filter(passed).collect();
        // It knows nothing of its instances but what checks say.
        let names: Vec<&str> = rest.iter().map(|result| result.name).collect();
        assert_eq!(names, ["health"], "\n{report}");
    }
}

/// Each way of breaking the contract, and the check that must see it.
#[tokio::test]
async fn the_suite_sees_a_broken_contract() {
    let late_tags = SimSettings {
        tags_lag: Duration::from_secs(5),
        ..SimSettings::default()
    };
    let stale = SimSettings {
        boot: Duration::from_secs(1),
        phase_lag: Duration::from_secs(5),
        ..SimSettings::default()
    };
    let always = |op, kind| vec![Fault::always(op, kind)];
    let plain = SimSettings::default;
    let cases = [
        ("ownership", late_tags, vec![]),
        ("destroy", stale, vec![]),
        (
            "provision",
            plain(),
            always(Op::List, FaultKind::EMPTY_LIST),
        ),
        (
            "other-fleets",
            plain(),
            always(Op::List, FaultKind::Foreign),
        ),
        ("repeat", plain(), always(Op::List, FaultKind::Repeated)),
        ("destroy", plain(), always(Op::Destroy, FaultKind::NotFound)),
        (
            "provision",
            plain(),
            always(Op::Provision, FaultKind::Error(ErrorClass::Auth)),
        ),
        (
            "invalid-spec",
            plain(),
            always(Op::Provision, FaultKind::LostReply),
        ),
        ("adopt", plain(), always(Op::Survey, FaultKind::EMPTY_LIST)),
    ];
    for (check, settings, faults) in cases {
        let report = report(settings, &faults).await;
        let outcome = report.outcome(check);
        assert!(
            matches!(outcome, Some(Outcome::Failed { .. })),
            "{check} with {faults:?}: {outcome:?}"
        );
        assert!(!report.conforms());
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reply_comes_late_and_its_effect_at_once() {
    let subject = Simulated::new(SimSettings::default());
    let slow = Fault::next(Op::List, 1, FaultKind::Slow(Duration::from_secs(40)));
    subject.provider.world().inject(slow);
    let fleet = FleetName::parse("prod").unwrap();
    let limit = tokio::time::timeout(Duration::from_secs(15), subject.provider.list(&fleet));
    assert!(limit.await.is_err());
    assert_eq!(subject.provider.world().stats().calls_of(Op::List), 1);
    assert!(subject.provider.list(&fleet).await.is_ok());
}
