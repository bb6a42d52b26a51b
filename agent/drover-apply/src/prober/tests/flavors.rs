//! The word of flavor plugins, asked about the instances of their own template only.

use std::collections::BTreeMap;

use async_trait::async_trait;
use drover_model::{FlavorName, IntentId, ProviderRef, Value};
use drover_provider::{
    FlavorCall, FlavorInstance, FlavorPrepared, FlavorRequest, FlavorSubject, Flavors,
    ProviderError,
};

use super::*;

/// What plugins say, by their name. Others hang.
#[derive(Debug, Default)]
pub(super) struct Minds {
    says: Mutex<BTreeMap<String, CheckOutcome>>,
    asked: Mutex<Vec<(String, ProviderRef)>>,
}

impl Minds {
    fn say(&self, name: &str, outcome: CheckOutcome) {
        self.says.lock().unwrap().insert(name.to_owned(), outcome);
    }
}

#[async_trait]
impl Flavors for Minds {
    async fn prepare(
        &self,
        _request: &FlavorRequest,
        _limit: Duration,
    ) -> Result<FlavorPrepared, ProviderError> {
        unreachable!("a prober makes nothing")
    }

    async fn healthy(
        &self,
        flavor: &FlavorCall,
        instance: &FlavorInstance,
        _limit: Duration,
    ) -> CheckOutcome {
        let name = flavor.name.to_string();
        assert_ne!(name, "mad", "as told");
        let handle = instance.provider_ref.clone();
        self.asked.lock().unwrap().push((name.clone(), handle));
        let said = self.says.lock().unwrap().get(&name).cloned();
        match said {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }

    async fn drain(
        &self,
        _flavor: &FlavorCall,
        _instance: &FlavorInstance,
        _drain: IntentId,
        _limit: Duration,
    ) -> Result<(), ProviderError> {
        unreachable!("a prober drains nobody")
    }
}

/// An instance whose template has these plugins.
fn flavored(number: u64, names: &[&str]) -> ProbeTarget {
    let call = |name: &&str| FlavorCall {
        name: FlavorName::parse(name).unwrap(),
        properties: Value::empty_map(),
    };
    let target = target(number, true);
    let subject = FlavorSubject {
        flavors: names.iter().map(call).collect(),
        instance: FlavorInstance {
            provider_ref: target.provider_ref.clone(),
            member: None,
            tags: BTreeMap::new(),
            properties: Value::empty_map(),
        },
    };
    ProbeTarget {
        flavors: Some(Arc::new(subject)),
        ..target
    }
}

fn failing(why: &str) -> CheckOutcome {
    let why = why.to_owned();
    CheckOutcome::Failing { why }
}

fn unknown(why: &str) -> CheckOutcome {
    let why = why.to_owned();
    CheckOutcome::Unknown { why }
}

#[tokio::test(start_paused = true)]
async fn the_worst_word_of_an_instances_own_flavors_counts() {
    let probing = probing();
    probing.flavors.say("good", CheckOutcome::Passing);
    probing.flavors.say("bad", failing("no"));
    probing.flavors.say("away", unknown("gone"));
    let cases: [(&[&str], CheckOutcome); 7] = [
        (&["good"], CheckOutcome::Passing),
        (&["good", "bad"], failing("no")),
        (&["away", "bad"], failing("no")),
        (&["away", "good"], unknown("gone")),
        (&["good", "away"], unknown("gone")),
        (&["hangs"], unknown("plugin hangs did not answer")),
        (&["mad", "good"], unknown("plugin mad panicked")),
    ];
    let targets = cases.iter().zip(1..);
    let mut targets: Vec<_> = targets
        .map(|((names, _), number)| flavored(number, names))
        .collect();
    // Made before the template had any.
    targets.push(target(99, true));
    probing.watch(&health(vec![Probe::Flavors]), targets);
    pass(20).await;
    for ((names, outcome), number) in cases.into_iter().zip(1..) {
        assert_eq!(probing.outcome(number), Some(outcome), "{names:?}");
    }
    assert_eq!(probing.outcome(99), Some(CheckOutcome::Passing));
    let asked = probing.flavors.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|(_, asked)| *asked != handle("i-99")));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_has_other_flavors_now_is_asked_about_afresh() {
    let probing = probing();
    probing.flavors.say("one", CheckOutcome::Passing);
    let health = health(vec![Probe::Flavors]);
    probing.watch(&health, vec![flavored(1, &["one"])]);
    pass(1).await;
    assert_eq!(probing.outcome(1), Some(CheckOutcome::Passing));
    probing.watch(&health, vec![flavored(1, &["one"])]);
    assert_eq!(probing.outcome(1), Some(CheckOutcome::Passing), "kept");
    probing.flavors.say("two", failing("no"));
    probing.watch(&health, vec![flavored(1, &["two"])]);
    assert_eq!(probing.outcome(1), None);
    pass(1).await;
    assert_eq!(probing.outcome(1), Some(failing("no")));
}
