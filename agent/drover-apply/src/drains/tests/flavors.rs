//! Flavor plugins that drain: told from the beginning until they have, or until the deadline.

use std::sync::Mutex;

use async_trait::async_trait;
use drover_model::{
    CheckOutcome, Digests, ErrorClass, Flavor, FlavorName, Ownership, PluginFlavor, Template, Value,
};
use drover_provider::{FlavorPrepared, FlavorRequest, Flavors, ProviderError};

use super::*;

/// What the plugins say; one of nothing hangs.
#[derive(Debug, Default)]
pub(super) struct Drainer {
    says: Mutex<Option<Result<(), &'static str>>>,
    told: Mutex<Vec<(String, IntentId)>>,
}

impl Drainer {
    fn say(&self, what: Result<(), &'static str>) {
        *self.says.lock().unwrap() = Some(what);
    }

    fn told(&self) -> usize {
        self.told.lock().unwrap().len()
    }
}

#[async_trait]
impl Flavors for Drainer {
    async fn prepare(
        &self,
        _request: &FlavorRequest,
        _limit: Duration,
    ) -> Result<FlavorPrepared, ProviderError> {
        unreachable!("a drain makes nothing")
    }

    async fn healthy(
        &self,
        _flavor: &FlavorCall,
        _instance: &FlavorInstance,
        _limit: Duration,
    ) -> CheckOutcome {
        unreachable!("a drain asks for nobody's health")
    }

    async fn drain(
        &self,
        flavor: &FlavorCall,
        instance: &FlavorInstance,
        drain: IntentId,
        _limit: Duration,
    ) -> Result<(), ProviderError> {
        assert_eq!(instance.provider_ref, handle("i-1"));
        let told = (flavor.name.to_string(), drain);
        self.told.lock().unwrap().push(told);
        let said = *self.says.lock().unwrap();
        match said {
            Some(said) => said.map_err(|why| ProviderError::new(ErrorClass::Unknown, why)),
            None => std::future::pending().await,
        }
    }
}

fn flavored() -> Template {
    let mut template = template("v1");
    let plugin = |name: &str| {
        Flavor::Plugin(PluginFlavor {
            name: FlavorName::parse(name).unwrap(),
            properties: Value::empty_map(),
            answer: None,
        })
    };
    template.flavors = vec![plugin("one"), plugin("two")];
    template
}

/// A drain of an instance whose template has two plugins.
fn draining_flavored(done: Option<DrainDone>) -> Draining {
    let mut spec = spec(Vec::new(), done);
    spec.delay = Duration::ZERO;
    let mut drain = draining(spec);
    let digests: Digests = digests(&flavored());
    drain.recorded.templates.insert(digests.clone(), flavored());
    drain.listing.instances[0].ownership = Some(Ownership {
        fleet: fleet(),
        group: web(),
        instance: instance(1),
        digests,
        token: token(1, 0),
        epoch: Epoch(1),
        seat: None,
    });
    drain
}

#[tokio::test]
async fn every_plugin_is_told_when_the_drain_begins_and_ends_it() {
    let drain = draining_flavored(None);
    drain.flavors.say(Ok(()));
    assert!(drain.advance().await.changed);
    assert_eq!(drain.marks(), (true, true));
    let told = drain.flavors.told.lock().unwrap().clone();
    assert_eq!(
        told,
        [
            ("one".to_owned(), IntentId(0)),
            ("two".to_owned(), IntentId(0))
        ]
    );
}

#[tokio::test]
async fn a_plugin_that_fails_is_told_again_and_nothing_is_given_up_for_it() {
    let drain = draining_flavored(None);
    drain.flavors.say(Err("not now"));
    let first = drain.advance().await;
    assert_eq!(drain.marks(), (true, false));
    assert_eq!(first.next_at, Some(drain.in_seconds(1)));
    drain.wait(1);
    drain.advance().await;
    assert_eq!((drain.marks(), drain.flavors.told()), ((true, false), 4));
    // After the deadline it is the planner's to say what follows; until then it is tried.
    drain.wait(300);
    let late = drain.advance().await;
    assert_eq!(late.next_at, Some(drain.in_seconds(15)));
    drain.flavors.say(Ok(()));
    drain.advance().await;
    assert_eq!(drain.marks(), (true, true));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_hangs_holds_up_a_round_no_longer_than_an_instance_does() {
    let drain = draining_flavored(None);
    let begun = Instant::now();
    drain.advance().await;
    assert!(
        begun.elapsed() <= POLL_TIMEOUT + SLACK,
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(drain.marks(), (true, false));
}

#[tokio::test]
async fn the_instances_own_word_is_waited_for_beside_the_plugins() {
    let idle = Arc::new(AtomicBool::new(false));
    let is_idle = idle.clone();
    let server = Server::start(move |_| {
        let status = if is_idle.load(Ordering::SeqCst) {
            200
        } else {
            202
        };
        Reaction::Answer(status, String::new())
    });
    let server = server.await;
    let done = DrainDone::Http {
        port: server.port,
        path: "/idle".to_owned(),
    };
    let mut drain = draining_flavored(Some(done));
    drain.listing.instances[0].address = Some("127.0.0.1".to_owned());
    drain.flavors.say(Ok(()));
    drain.advance().await;
    assert_eq!(drain.marks(), (true, false), "not idle yet");
    drain.flavors.say(Err("no"));
    idle.store(true, Ordering::SeqCst);
    drain.wait(1);
    drain.advance().await;
    assert_eq!(drain.marks(), (true, false), "not drained");
    drain.flavors.say(Ok(()));
    drain.wait(1);
    drain.advance().await;
    assert_eq!(drain.marks(), (true, true));
}

#[tokio::test]
async fn an_instance_that_ended_needs_no_plugin_and_one_that_is_not_listed_waits_for_it() {
    let mut drain = draining_flavored(None);
    drain.listing.instances[0].phase = ProviderPhase::Exited(ExitReport::default());
    drain.advance().await;
    assert_eq!((drain.marks(), drain.flavors.told()), ((false, true), 0));

    let mut drain = draining_flavored(None);
    let listed = drain.listing.instances.pop().unwrap();
    let recorded = recorded_as(digests(&flavored()));
    drain.recorded.instances.insert(instance(1), recorded);
    drain.advance().await;
    assert_eq!((drain.marks(), drain.flavors.told()), ((true, false), 0));
    drain.flavors.say(Ok(()));
    drain.listing.instances.push(listed);
    drain.advance().await;
    assert_eq!(drain.marks(), (true, true));
}
