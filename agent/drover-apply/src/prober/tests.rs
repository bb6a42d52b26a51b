use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{Check, CheckOutcome, ErrorClass, Probe, ProviderType, defaults};
use drover_provider::{
    AttachmentUse, Forward, Forwarding, InitUse, Manifest, ObjectSchema, ProviderError, Refusing,
};

use super::*;
use crate::testing::*;

mod flavors;

/// A provider whose commands answer as the test says, and which notes when each was asked.
#[derive(Debug)]
struct Scripted {
    inner: Refusing,
    started: Instant,
    /// By instance handle; `pass` where nothing is said.
    answers: Mutex<BTreeMap<String, Scene>>,
    asked: Mutex<Vec<(String, Duration)>>,
}

#[derive(Debug, Clone, Copy)]
enum Scene {
    Pass,
    Fail,
    Broken,
    Panic,
    Hang,
}

impl Scripted {
    fn new() -> Arc<Forward<Self>> {
        let manifest = Manifest {
            type_: ProviderType::parse("scripted").unwrap(),
            properties: ObjectSchema::default(),
            settings: ObjectSchema::default(),
            batch_max: 1,
            visibility: Duration::ZERO,
            init: InitUse::ShellLines,
            attachments: AttachmentUse::Refused,
        };
        Arc::new(Forward(Self {
            inner: Refusing(manifest),
            started: Instant::now(),
            answers: Mutex::default(),
            asked: Mutex::default(),
        }))
    }

    fn say(&self, number: u64, scene: Scene) {
        self.answers
            .lock()
            .unwrap()
            .insert(format!("i-{number}"), scene);
    }

    /// Returns when the checks of an instance were tried, in milliseconds since the beginning.
    fn tried(&self, number: u64) -> Vec<u128> {
        let asked = self.asked.lock().unwrap();
        let handle = format!("i-{number}");
        let of_instance = asked.iter().filter(|(who, _)| *who == handle);
        of_instance.map(|(_, at)| at.as_millis()).collect()
    }

    fn gaps(&self, number: u64) -> Vec<u128> {
        self.tried(number)
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect()
    }
}

#[async_trait]
impl Forwarding for Scripted {
    fn inner(&self) -> &dyn Provider {
        &self.inner
    }
    async fn check(
        &self,
        instance: &ProviderRef,
        _command: &[String],
        _timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        let elapsed = self.started.elapsed();
        self.asked
            .lock()
            .unwrap()
            .push((instance.to_string(), elapsed));
        let scene = self.answers.lock().unwrap().get(instance.as_str()).copied();
        match scene.unwrap_or(Scene::Pass) {
            Scene::Pass => Ok(CheckOutcome::Passing),
            Scene::Fail => Ok(CheckOutcome::Failing {
                why: format!("exit status 1 after {elapsed:?}"),
            }),
            Scene::Broken => Err(ProviderError::new(ErrorClass::Unknown, "no connection")),
            Scene::Panic => panic!("as told"),
            Scene::Hang => std::future::pending().await,
        }
    }
    async fn health(
        &self,
        instance: &ProviderRef,
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        match self.check(instance, &[], timeout).await? {
            CheckOutcome::Failing { .. } => Ok(CheckOutcome::Failing {
                why: "its own check says so".to_owned(),
            }),
            outcome => Ok(outcome),
        }
    }
}

fn health(probes: Vec<Probe>) -> HealthSpec {
    let check = |probe| Check {
        probe,
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
    };
    HealthSpec {
        startup_timeout: defaults::STARTUP_TIMEOUT,
        unhealthy_after: defaults::UNHEALTHY_AFTER,
        unknown_after: defaults::UNKNOWN_AFTER,
        checks: probes.into_iter().map(check).collect(),
    }
}

fn command() -> HealthSpec {
    let command = vec!["healthy".to_owned()];
    health(vec![Probe::Command { command }])
}

fn target(number: u64, settled: bool) -> ProbeTarget {
    ProbeTarget {
        instance: instance(number),
        provider_ref: handle(&format!("i-{number}")),
        address: Some("127.0.0.1".to_owned()),
        settled,
        flavors: None,
    }
}

struct Probing {
    prober: Prober,
    provider: Arc<Forward<Scripted>>,
    clock: Arc<TestClock>,
    changed: Arc<Notify>,
    flavors: Arc<flavors::Minds>,
}

fn probing() -> Probing {
    let clock = Arc::new(TestClock::default());
    let flavors = Arc::new(flavors::Minds::default());
    let changed = Arc::new(Notify::new());
    Probing {
        prober: Prober::new(clock.clone(), flavors.clone(), changed.clone()),
        provider: Scripted::new(),
        clock,
        changed,
        flavors,
    }
}

impl Probing {
    fn watch(&self, health: &HealthSpec, targets: Vec<ProbeTarget>) {
        self.prober
            .watch(&web(), health, targets, self.provider.clone());
    }

    fn outcome(&self, number: u64) -> Option<CheckOutcome> {
        let signals = self.prober.signals(&web());
        signals
            .get(&instance(number))
            .map(|signal| signal.checks[0].clone())
    }

    /// Returns whether the loop was told of a change since the last time.
    async fn was_told(&self) -> bool {
        let told = self.changed.notified();
        tokio::time::timeout(Duration::from_millis(1), told)
            .await
            .is_ok()
    }

    /// Watches one instance at loopback with one check, until it has a result.
    async fn result(&self, probe: Probe, timeout: Duration) -> HealthSignal {
        let mut health = health(vec![probe]);
        health.checks[0].timeout = timeout;
        self.watch(&health, vec![target(1, false)]);
        eventually("checked", || !self.prober.signals(&web()).is_empty()).await;
        self.prober.signals(&web())[&instance(1)].clone()
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn new_instance_is_found_healthy_within_a_second() {
    let probing = probing();
    probing.provider.say(1, Scene::Fail);
    probing.watch(&command(), vec![target(1, false)]);
    pass(20).await;
    assert!(probing.provider.gaps(1).iter().all(|gap| *gap <= 1000));
    assert!(matches!(
        probing.outcome(1),
        Some(CheckOutcome::Failing { .. })
    ));
    probing.provider.say(1, Scene::Pass);
    pass(1).await;
    assert_eq!(probing.outcome(1), Some(CheckOutcome::Passing));
    // Also one that takes long.
    probing.provider.say(2, Scene::Fail);
    probing.watch(&command(), vec![target(2, false)]);
    pass(600).await;
    probing.provider.say(2, Scene::Pass);
    pass(1).await;
    assert_eq!(probing.outcome(2), Some(CheckOutcome::Passing));
}

#[tokio::test(start_paused = true)]
async fn healthy_instances_are_asked_at_their_interval_and_spread_out() {
    let probing = probing();
    let targets = (1..=100).map(|number| target(number, true)).collect();
    probing.watch(&command(), targets);
    pass(300).await;
    let mut last = std::collections::BTreeSet::new();
    for number in 1..=100 {
        let gaps = probing.provider.gaps(number);
        assert!((28..=32).contains(&gaps.len()), "{gaps:?}");
        assert!(
            gaps.iter().all(|gap| (9_500..=10_501).contains(gap)),
            "{gaps:?}"
        );
        last.insert(probing.provider.tried(number).last().unwrap() / 500);
    }
    assert!(last.len() > 10, "all in step: {last:?}");
}

#[tokio::test(start_paused = true)]
async fn failure_of_a_healthy_instance_is_confirmed_soon_and_then_left_at_the_interval() {
    let probing = probing();
    probing.watch(&command(), vec![target(1, true)]);
    pass(15).await;
    let before = probing.provider.gaps(1).len();
    probing.provider.say(1, Scene::Fail);
    pass(60).await;
    let gaps = &probing.provider.gaps(1)[before + 1..];
    assert!(
        gaps[..3].iter().all(|gap| (1000..=2001).contains(gap)),
        "{gaps:?}"
    );
    assert!(gaps[3..].iter().all(|gap| *gap >= 9_500), "{gaps:?}");
    // Whoever recovers and fails again is confirmed again.
    probing.provider.say(1, Scene::Pass);
    pass(15).await;
    assert_eq!(probing.outcome(1), Some(CheckOutcome::Passing));
}

#[tokio::test(start_paused = true)]
async fn loop_is_told_of_changes_and_of_nothing_else() {
    let probing = probing();
    probing.watch(&command(), vec![target(1, true)]);
    pass(1).await;
    assert!(probing.was_told().await, "first results");
    pass(60).await;
    assert!(!probing.was_told().await, "nothing changed");
    probing.provider.say(1, Scene::Fail);
    pass(12).await;
    assert!(probing.was_told().await, "failing now");
    // The text of a failure is another each time.
    pass(60).await;
    assert!(!probing.was_told().await, "still failing");
    probing.provider.say(1, Scene::Broken);
    pass(12).await;
    assert!(probing.was_told().await, "unknown now");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_watched_is_no_longer_asked() {
    let probing = probing();
    probing.watch(&command(), vec![target(1, true), target(2, true)]);
    pass(1).await;
    probing.watch(&command(), vec![target(2, true)]);
    pass(60).await;
    assert_eq!(probing.provider.tried(1).len(), 1);
    assert!(probing.provider.tried(2).len() > 5);
    assert_eq!(
        probing.prober.signals(&web()).keys().collect::<Vec<_>>(),
        [&instance(2)]
    );
    probing.prober.forget(&web());
    let asked = probing.provider.tried(2).len();
    pass(60).await;
    assert_eq!(probing.provider.tried(2).len(), asked);
    assert!(probing.prober.signals(&web()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn watching_again_keeps_results_and_pace_unless_something_changed() {
    let probing = probing();
    probing.watch(&command(), vec![target(1, true)]);
    pass(1).await;
    for _ in 0..50 {
        probing.watch(&command(), vec![target(1, true)]);
        assert_eq!(probing.outcome(1), Some(CheckOutcome::Passing));
    }
    pass(1).await;
    assert_eq!(probing.provider.tried(1).len(), 1);
    // Another machine under the same id starts afresh, and so does another check.
    let mut moved = target(1, false);
    moved.address = Some("127.0.0.2".to_owned());
    probing.watch(&command(), vec![moved.clone()]);
    assert_eq!(probing.outcome(1), None);
    pass(1).await;
    assert_eq!(probing.provider.tried(1).len(), 2);
    let mut slower = command();
    slower.checks[0].interval = Duration::from_mins(1);
    probing.watch(&slower, vec![moved]);
    assert_eq!(probing.outcome(1), None);
    pass(1).await;
    assert_eq!(probing.provider.tried(1).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn signal_waits_for_every_check_and_is_as_old_as_the_oldest() {
    let probing = probing();
    let mut two = command();
    two.checks.push(two.checks[0].clone());
    two.checks[1].interval = Duration::from_hours(1);
    let Probe::Command { command } = &mut two.checks[1].probe else {
        unreachable!()
    };
    command.push("--deep".to_owned());
    probing.watch(&two, vec![target(1, true)]);
    let first = probing.clock.now();
    pass(1).await;
    probing.clock.advance(Duration::from_secs(30));
    pass(30).await;
    let signal = &probing.prober.signals(&web())[&instance(1)];
    assert_eq!(
        signal.checks,
        [CheckOutcome::Passing, CheckOutcome::Passing]
    );
    assert_eq!(signal.asked_at, first);
}

#[tokio::test(start_paused = true)]
async fn trouble_of_the_provider_says_nothing_about_the_instance() {
    let probing = probing();
    let scenes = [Scene::Broken, Scene::Panic, Scene::Hang];
    for (number, scene) in (1..).zip(scenes) {
        probing.provider.say(number, scene);
    }
    probing.watch(
        &command(),
        (1..=4).map(|number| target(number, true)).collect(),
    );
    pass(30).await;
    let whys: Vec<_> = (1..=3)
        .map(|number| match probing.outcome(number) {
            Some(CheckOutcome::Unknown { why }) => why,
            other => panic!("{number}: {other:?}"),
        })
        .collect();
    assert_eq!(
        whys,
        [
            "no connection",
            "the provider panicked",
            "the provider did not answer"
        ]
    );
    assert_eq!(probing.outcome(4), Some(CheckOutcome::Passing));
}

#[tokio::test(start_paused = true)]
async fn silent_group_does_not_delay_another() {
    let probing = probing();
    let silent = GroupName::parse("silent").unwrap();
    let targets = |range: std::ops::Range<u64>| range.map(|number| target(number, true));
    for number in 1000..3000 {
        probing.provider.say(number, Scene::Hang);
    }
    let of_silent = targets(1000..3000).map(|target| ProbeTarget {
        instance: InstanceId::new(silent.clone(), target.instance.number()),
        ..target
    });
    let provider = probing.provider.clone();
    probing
        .prober
        .watch(&silent, &command(), of_silent.collect(), provider);
    probing.watch(&command(), targets(1..100).collect());
    pass(300).await;
    for number in 1..100 {
        let gaps = probing.provider.gaps(number);
        assert!(gaps.iter().all(|gap| *gap <= 10_600), "{gaps:?}");
    }
    // Every silent one gets its turn.
    for number in 1000..3000 {
        assert!(
            !probing.provider.tried(number).is_empty(),
            "i-{number} was never asked"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn instance_without_an_address_is_unknown_until_it_has_one() {
    let probing = probing();
    let mut nowhere = target(1, false);
    nowhere.address = None;
    let tcp = health(vec![Probe::Tcp { port: 1 }]);
    probing.watch(&tcp, vec![nowhere]);
    let why = "the instance has no address yet".to_owned();
    assert_eq!(probing.outcome(1), Some(CheckOutcome::Unknown { why }));
    assert!(probing.was_told().await);
    probing.watch(&tcp, vec![target(1, false)]);
    assert_eq!(probing.outcome(1), None);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_the_checks() {
    let probing = probing();
    probing.watch(&command(), vec![target(1, true)]);
    pass(1).await;
    probing.prober.shutdown().await;
    pass(60).await;
    assert_eq!(probing.provider.tried(1).len(), 1);
    probing.watch(&command(), vec![target(1, true)]);
    assert!(probing.prober.signals(&web()).is_empty());
}

#[tokio::test]
async fn http_answers_are_sorted_into_passing_and_failing() {
    type Case = (&'static str, fn() -> Reaction, Option<&'static str>);
    let endless = "an answer whose body never ends";
    let cases: [Case; 9] = [
        ("200", || Reaction::Answer(200, "ok".to_owned()), None),
        ("204", || Reaction::Answer(204, String::new()), None),
        (endless, || Reaction::Endless, None),
        (
            "a redirect",
            || Reaction::Answer(302, String::new()),
            Some("answered 302"),
        ),
        (
            "404",
            || Reaction::Answer(404, String::new()),
            Some("answered 404"),
        ),
        (
            "503",
            || Reaction::Answer(503, "{}".to_owned()),
            Some("answered 503"),
        ),
        ("a closed connection", || Reaction::Bytes(b""), Some("")),
        (
            "another protocol",
            || Reaction::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n"),
            Some(""),
        ),
        ("silence", || Reaction::Hang, Some("no answer within 300ms")),
    ];
    for (name, react, why_not) in cases {
        let server = Server::start(move |_| react()).await;
        let probe = Probe::Http {
            port: server.port,
            path: "/healthz?deep".to_owned(),
        };
        let probing = probing();
        // Only where the limit is what is tested may it be short.
        let limit = match react() {
            Reaction::Hang => Duration::from_millis(300),
            Reaction::Endless => Duration::from_secs(2),
            Reaction::Answer(..) | Reaction::Bytes(_) => Duration::from_secs(30),
        };
        let signal = probing.result(probe, limit).await;
        match (&signal.checks[0], why_not) {
            (CheckOutcome::Passing, None) => {}
            (CheckOutcome::Failing { why }, Some(part)) if why.contains(part) => {}
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
        assert_eq!(server.seen()[0], "GET /healthz?deep", "{name}");
        assert!(!signal.busy, "{name}");
    }
}

#[tokio::test]
async fn what_keeps_a_check_from_being_tried_is_unknown_and_a_refusal_is_failing() {
    let server = Server::start(|_| Reaction::Hang).await;
    let closed = server.port;
    server.stop().await;
    let http = |path: &str| Probe::Http {
        port: closed,
        path: path.to_owned(),
    };
    let tcp = Probe::Tcp { port: closed };
    let cases = [
        ("127.0.0.1", http("/"), true),
        ("127.0.0.1", tcp.clone(), true),
        // Broadcast: the kernel refuses, nothing leaves the machine.
        ("255.255.255.255", http("/"), false),
        ("255.255.255.255", tcp, false),
        ("not an address", http("/"), false),
        ("127.0.0.1@10.0.0.1", http("/"), false),
        ("127.0.0.1/", http("/"), false),
        ("127.0.0.1", http("@10.0.0.1/"), false),
    ];
    for (address, probe, failing) in cases {
        let probing = probing();
        let mut target = target(1, true);
        target.address = Some(address.to_owned());
        probing.watch(&health(vec![probe.clone()]), vec![target]);
        eventually("checked", || probing.outcome(1).is_some()).await;
        let outcome = probing.outcome(1).unwrap();
        let found = matches!(outcome, CheckOutcome::Failing { .. });
        assert_eq!(found, failing, "{address} {probe:?}: {outcome:?}");
        assert_ne!(outcome, CheckOutcome::Passing, "{address} {probe:?}");
    }
}

#[tokio::test]
async fn open_port_passes_a_tcp_check() {
    let server = Server::start(|_| Reaction::Hang).await;
    let probe = Probe::Tcp { port: server.port };
    let signal = probing().result(probe, Duration::from_secs(30)).await;
    assert_eq!(signal.checks, [CheckOutcome::Passing]);
}

#[tokio::test]
async fn busy_is_read_from_a_json_answer_and_told() {
    let long = format!("{{\"busy\": true, \"why\": \"{}\"}}", "x".repeat(100_000));
    let bodies = [
        (" {\"busy\": true, \"jobs\": 3}".to_owned(), true),
        ("{\"busy\": false}".to_owned(), false),
        ("{\"busy\": \"true\"}".to_owned(), false),
        ("{\"busy\"".to_owned(), false),
        ("busy".to_owned(), false),
        (String::new(), false),
        (long, false),
    ];
    for (body, busy) in bodies {
        let answer = body.clone();
        let server = Server::start(move |_| Reaction::Answer(200, answer.clone())).await;
        let probe = Probe::Http {
            port: server.port,
            path: "/".to_owned(),
        };
        let signal = probing().result(probe, Duration::from_secs(5)).await;
        assert_eq!(signal.checks, [CheckOutcome::Passing]);
        assert_eq!(signal.busy, busy, "{body:.60}");
    }
}

#[tokio::test]
async fn how_much_work_would_be_lost_is_read_from_a_json_answer() {
    let bodies = [
        ("{\"work\": 120}", 120),
        ("{\"work\": 7.9, \"busy\": true}", 7),
        ("{\"work\": -3}", 0),
        ("{\"work\": \"many\"}", 0),
        ("{\"work\": 1e300}", u32::MAX),
        ("ok", 0),
    ];
    for (body, work) in bodies {
        let server = Server::start(move |_| Reaction::Answer(200, body.to_owned())).await;
        let probe = Probe::Http {
            port: server.port,
            path: "/".to_owned(),
        };
        let signal = probing().result(probe, Duration::from_secs(5)).await;
        assert_eq!(signal.work, work, "{body}");
    }
}

#[tokio::test]
async fn who_leads_is_read_from_a_json_answer() {
    let bodies = [
        ("{\"leader\": true}", Some(true)),
        ("{\"busy\": true, \"leader\": false}", Some(false)),
        ("{\"leader\": \"m1\"}", None),
        ("{\"health\": \"true\"}", None),
        ("leader", None),
    ];
    for (body, leader) in bodies {
        let server = Server::start(move |_| Reaction::Answer(200, body.to_owned())).await;
        let probe = Probe::Http {
            port: server.port,
            path: "/".to_owned(),
        };
        let signal = probing().result(probe, Duration::from_secs(5)).await;
        assert_eq!(signal.leader, leader, "{body}");
    }
}

#[tokio::test]
async fn loop_is_told_when_an_instance_gets_busy() {
    let busy = Arc::new(AtomicBool::new(false));
    let is_busy = busy.clone();
    let server = Server::start(move |_| {
        let body = format!("{{\"busy\": {}}}", is_busy.load(Ordering::SeqCst));
        Reaction::Answer(200, body)
    })
    .await;
    let probe = Probe::Http {
        port: server.port,
        path: "/".to_owned(),
    };
    let mut health = health(vec![probe]);
    health.checks[0].interval = Duration::from_millis(20);
    let probing = probing();
    probing.watch(&health, vec![target(1, true)]);
    probing.changed.notified().await;
    busy.store(true, Ordering::SeqCst);
    probing.changed.notified().await;
    assert!(probing.prober.signals(&web())[&instance(1)].busy);
}

#[tokio::test(start_paused = true)]
async fn the_providers_word_is_asked_for_like_any_check_and_needs_no_address() {
    let probing = probing();
    let health = health(vec![Probe::Provider]);
    let nowhere = |number| ProbeTarget {
        address: None,
        ..target(number, false)
    };
    probing.provider.say(1, Scene::Fail);
    probing.provider.say(2, Scene::Panic);
    probing.watch(&health, vec![nowhere(1), nowhere(2)]);
    pass(1).await;
    let why = "its own check says so".to_owned();
    assert_eq!(probing.outcome(1), Some(CheckOutcome::Failing { why }));
    let why = "the provider panicked".to_owned();
    assert_eq!(probing.outcome(2), Some(CheckOutcome::Unknown { why }));
    probing.provider.say(1, Scene::Pass);
    pass(1).await;
    assert_eq!(probing.outcome(1), Some(CheckOutcome::Passing));
}
