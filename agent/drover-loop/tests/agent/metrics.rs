//! Metrics through the whole agent: a size that follows one, what is done while it is not ok, and who is
//! not held up by that.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drover_loop::{MetricAsk, MetricReader};
use drover_model::{ExitReport, GroupName, MetricName, Reading, Readings, Timestamp};

use crate::harness::{PROVIDER, World, group, group_with};

/// Answers with what a test says. What it does not say is missing.
#[derive(Debug, Default)]
pub(crate) struct TestMetrics {
    samples: Mutex<BTreeMap<String, (f64, Timestamp)>>,
    asked: Mutex<Vec<Vec<String>>>,
    silent: AtomicBool,
}

impl TestMetrics {
    fn say(&self, query: &str, value: f64, at: Timestamp) {
        let mut samples = self.samples.lock().unwrap();
        samples.insert(query.to_owned(), (value, at));
    }

    fn forget(&self) {
        self.samples.lock().unwrap().clear();
    }
}

#[async_trait]
impl MetricReader for TestMetrics {
    async fn read(&self, asks: Vec<MetricAsk>) -> Readings {
        let queries = asks.iter().map(|ask| ask.query.query.clone()).collect();
        self.asked.lock().unwrap().push(queries);
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let samples = self.samples.lock().unwrap().clone();
        let answer = |ask: MetricAsk| {
            let reading = match samples.get(&ask.query.query) {
                Some((value, at)) => Reading::Sample {
                    value: *value,
                    at: *at,
                },
                None => Reading::Missing {
                    why: "nothing is known".to_owned(),
                },
            };
            (ask.query, reading)
        };
        asks.into_iter().map(answer).collect()
    }
}

const SOURCES: &str = "apiVersion: drover/v1alpha1
kind: MetricSource
metadata: {name: queues}
spec:
  source: prom
  metrics:
    - {name: queue.depth, query: sum(queue_depth), maxAge: 1m}
    - {name: unused, query: sum(unused)}
";

const BY_DEPTH: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: by-depth}
spec:
  on: size
  value: int(math.ceil(metric('queue.depth').value / 50.0))
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: by-depth}
spec: {policy: by-depth, selector: {matchLabels: {queue: work}}, enforcement: deny}
";

/// A group `web` that follows the metric, and a group `db` that does not.
fn world() -> World {
    let world = World::new(&[]);
    push(&world, SOURCES, BY_DEPTH);
    world
}

fn push(world: &World, sources: &str, policy: &str) {
    let more = "  bounds: {min: 1, max: 8}\n  scaling:\n    stabilization: {down: 0s}\n    rate: {up: \"100%/1s\", down: \"100%/1s\"}";
    let web = group_with("web", 3, "a", more);
    let web = web.replacen("labels: {env: test}", "labels: {queue: work}", 1);
    let db = group("db", 2, "a");
    world.repository.commit(&[
        ("p.yaml", PROVIDER),
        ("metrics.yaml", sources),
        ("policy.yaml", policy),
        ("web.yaml", &web),
        ("db.yaml", &db),
    ]);
}

async fn size_becomes(world: &mut World, depth: f64, size: usize) {
    world
        .until("the size to follow", |world| {
            world.metrics.say("sum(queue_depth)", depth, now(world));
            world.living("web").len() == size && world.holds("web").is_empty()
        })
        .await;
}

fn now(world: &World) -> Timestamp {
    drover_provider::Clock::now(&*world.clock)
}

#[tokio::test]
async fn a_size_follows_a_metric_within_its_bounds() {
    let mut world = world();
    world.metrics.say("sum(queue_depth)", 120.0, now(&world));
    world.pass().await;
    world.converge().await;
    size_becomes(&mut world, 120.0, 3).await;
    size_becomes(&mut world, 240.0, 5).await;
    size_becomes(&mut world, 24_000.0, 8).await;
    size_becomes(&mut world, 0.0, 1).await;
    assert_eq!(world.living("db").len(), 2);
}

#[tokio::test]
async fn only_what_a_bound_policy_names_is_asked_for_once_per_pass() {
    let mut world = world();
    world.passes(2).await;
    let asked = world.metrics.asked.lock().unwrap().clone();
    assert_eq!(asked, [["sum(queue_depth)"], ["sum(queue_depth)"]]);
}

#[tokio::test]
async fn a_metric_that_is_not_ok_leaves_the_size_as_it_is_and_says_why() {
    let mut world = world();
    world.metrics.say("sum(queue_depth)", 240.0, now(&world));
    world.pass().await;
    world.converge().await;
    size_becomes(&mut world, 240.0, 5).await;
    // Nothing new is said: once the value is too old, it counts for nothing.
    world.passes(59).await;
    assert_eq!(world.holds("web"), Vec::<&str>::new());
    world.passes(2).await;
    assert_eq!(world.holds("web"), ["PolicyFailed"]);
    let holds = world.report("web").holds.clone();
    let told = holds[0].hold.to_string();
    assert!(
        told.contains("metric queue.depth is not ok: its value is older than maxAge, 60 s"),
        "{told}"
    );
    let subjects = world.subjects().len();
    world.metrics.forget();
    world.passes(30).await;
    assert_eq!(world.living("web").len(), 5);
    // The reason changed once; that it goes on is no news.
    assert!(
        world.subjects().len() <= subjects + 1,
        "{:?}",
        world.subjects()
    );
    let status = world.agent.as_ref().unwrap().status();
    let metric = &status.metrics[&MetricName::parse("queue.depth").unwrap()];
    assert_eq!(metric.judged, Err("nothing is known".to_owned()));
    size_becomes(&mut world, 100.0, 2).await;
}

#[tokio::test]
async fn a_source_that_never_answers_keeps_nobody_from_healing() {
    let mut world = world();
    world.settings.limits.metric_wait = Duration::from_millis(20);
    world.metrics.silent.store(true, Ordering::SeqCst);
    world.pass().await;
    world
        .until("both groups to be made", |world| {
            // A new group whose size nobody knows begins with the smallest.
            world.living("db").len() == 2 && world.living("web").len() == 1
        })
        .await;
    world.passes(60).await;
    let crashed = now(&world);
    let id = world.sim(|mut sim| {
        let db = GroupName::parse("db").unwrap();
        let found = sim.of_group(&db, crashed);
        let (id, victim) = (found[0].0.clone(), found[0].1.provider_ref.clone());
        sim.crash(&victim, crashed, ExitReport::default());
        id
    });
    world
        .until("the dead one to be replaced", |world| {
            let living = world.living("db");
            living.len() == 2 && !living.contains(&id.to_string())
        })
        .await;
    assert_eq!(world.living("web").len(), 1);
}

#[tokio::test]
async fn a_policy_that_names_no_known_metric_never_comes_into_force() {
    let mut world = world();
    world.metrics.say("sum(queue_depth)", 120.0, now(&world));
    world.pass().await;
    world.converge().await;
    size_becomes(&mut world, 150.0, 3).await;
    push(
        &world,
        SOURCES,
        &BY_DEPTH.replace("queue.depth", "queue.dept"),
    );
    size_becomes(&mut world, 200.0, 4).await;
    let status = world.agent.as_ref().unwrap().status();
    let told: Vec<String> = status
        .diagnostics
        .iter()
        .map(|d| d.message.clone())
        .collect();
    assert!(
        told.iter()
            .any(|told| told.contains("there is no metric `queue.dept`")),
        "{told:?}"
    );
    // The metric goes, and the policy that reads it stays: it is not ok.
    push(
        &world,
        &SOURCES.replace("queue.depth", "queue.length"),
        BY_DEPTH,
    );
    world.passes(3).await;
    assert_eq!(world.holds("web"), ["PolicyFailed"]);
    assert_eq!(world.living("web").len(), 4);
}

#[tokio::test]
async fn a_plan_is_recorded_with_the_numbers_that_it_rests_on_and_computed_again_from_them() {
    let mut world = world();
    world.metrics.say("sum(queue_depth)", 120.0, now(&world));
    world.pass().await;
    world.converge().await;
    size_becomes(&mut world, 240.0, 5).await;
    world.converge().await;
    let text = |path| String::from_utf8(world.branch.file(path).unwrap()).unwrap();
    let inputs = text("inputs/web.json");
    assert!(inputs.contains(r#""metric(\"queue.depth\")""#), "{inputs}");
    assert!(inputs.contains("240 ("), "{inputs}");
    let read = drover_spec::record::decode_inputs(&inputs).unwrap();
    let (query, reading) = read.readings.first_key_value().unwrap();
    assert_eq!(query.query, "sum(queue_depth)");
    assert!(
        matches!(reading, Reading::Sample { value: 240.0, .. }),
        "{reading:?}"
    );
    // Another group's policies read nothing.
    assert!(!text("inputs/db.json").contains("queue_depth"));
    // Nothing is asked for when it is computed again.
    let replayed = drover_loop::replay(&inputs, Some(&text("groups/web.yaml"))).unwrap();
    assert!(
        matches!(replayed, drover_loop::Replayed::Reproduced { .. }),
        "{replayed:?}"
    );
}

const NO_HOLIDAYS: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: no-holidays}
spec:
  on: gate
  rules: [{expression: 'reason == \"heal\" || !isHoliday(\"de\")', message: a holiday}]
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: no-holidays}
spec: {policy: no-holidays, selector: {}, enforcement: deny}
";

fn push_days(world: &World, day: &str, image: &str) {
    let calendar = format!(
        "apiVersion: drover/v1alpha1\nkind: Calendar\nmetadata: {{name: de}}\n\
         spec: {{timezone: Europe/Berlin, days: [{{date: \"{day}\"}}]}}\n"
    );
    let web = group("web", 2, image);
    world.repository.commit(&[
        ("p.yaml", PROVIDER),
        ("policy.yaml", NO_HOLIDAYS),
        ("de.yaml", &calendar),
        ("web.yaml", &web),
    ]);
}

#[tokio::test]
async fn a_holiday_holds_a_rollout_and_cannot_be_taken_away_from_under_it() {
    let mut world = World::new(&[]);
    // The world begins on the fifth of January.
    push_days(&world, "01-05", "a");
    world.pass().await;
    world.converge().await;
    push_days(&world, "01-05", "b");
    world.passes(20).await;
    assert_eq!(world.holds("web"), ["GateClosed"]);
    assert_eq!(world.living("web"), ["web-1", "web-2"]);
    // The day goes from the calendar: what judged before still does.
    push_days(&world, "05-01", "b");
    world.passes(60).await;
    assert_eq!(world.holds("web"), ["GateClosed"]);
    assert_eq!(world.living("web"), ["web-1", "web-2"]);
    world.restart();
    world.passes(60).await;
    assert_eq!(world.living("web"), ["web-1", "web-2"]);
    // In Berlin the next day has begun, in UTC it has not.
    world.clock.set("2026-01-05T23:00:00Z".parse().unwrap());
    world
        .until("the rollout", |world| {
            let living = world.living("web");
            living.len() == 2
                && !living.contains(&"web-1".to_owned())
                && !living.contains(&"web-2".to_owned())
        })
        .await;
}

const CALM: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: calm}
spec:
  on: gate
  rules: [{expression: 'metric(\"error.rate\").value < 0.1', message: too many errors}]
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: calm}
spec: {policy: calm, selector: {}, enforcement: deny}
";

fn push_query(world: &World, query: &str, image: &str) {
    let source = format!(
        "apiVersion: drover/v1alpha1\nkind: MetricSource\nmetadata: {{name: errors}}\n\
         spec: {{source: prom, metrics: [{{name: error.rate, query: {query}, maxAge: 24h}}]}}\n"
    );
    let web = group("web", 2, image);
    world.repository.commit(&[
        ("p.yaml", PROVIDER),
        ("policy.yaml", CALM),
        ("errors.yaml", &source),
        ("web.yaml", &web),
    ]);
}

#[tokio::test]
async fn another_query_does_not_open_what_the_one_before_it_keeps_closed() {
    let mut world = World::new(&[]);
    world.metrics.say("errors", 0.5, now(&world));
    world.metrics.say("zero", 0.0, now(&world));
    push_query(&world, "errors", "a");
    world.pass().await;
    world.converge().await;
    push_query(&world, "errors", "b");
    world.passes(20).await;
    assert_eq!(world.holds("web"), ["GateClosed"]);
    let commits = world.subjects().len();
    push_query(&world, "zero", "b");
    world.passes(60).await;
    assert_eq!(world.living("web"), ["web-1", "web-2"]);
    let last = world.metrics.asked.lock().unwrap().last().cloned();
    assert_eq!(last.unwrap(), ["errors", "zero"]);
    // A value that changes under a closed gate is no news for the record.
    for step in 0..20 {
        world
            .metrics
            .say("errors", 0.5 + f64::from(step) / 100.0, now(&world));
        world.passes(1).await;
    }
    assert!(
        world.subjects().len() <= commits + 2,
        "{:?}",
        world.subjects()
    );
    world.metrics.say("errors", 0.0, now(&world));
    world
        .until("the rollout", |world| {
            !world.living("web").contains(&"web-1".to_owned())
        })
        .await;
}

#[tokio::test]
async fn a_rollout_whose_new_instances_make_errors_fails_by_the_librarys_policy() {
    let library = drover_policy::LIBRARY.iter();
    let mut found = library.filter(|(name, _)| *name == "error-rate-canary");
    let (_, policy) = found.next().unwrap();
    let documents = format!(
        "{policy}---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {{name: errors}}
spec:
  policy: error-rate-canary
  selector: {{}}
  params: {{canary: new.errors, baseline: old.errors, atLeast: 0s}}
  enforcement: deny
---
apiVersion: drover/v1alpha1
kind: MetricSource
metadata: {{name: errors}}
spec:
  source: prom
  metrics:
    - {{name: new.errors, query: new, maxAge: 24h}}
    - {{name: old.errors, query: old, maxAge: 24h}}
"
    );
    let mut world = World::new(&[]);
    let push = |world: &World, image: &str| {
        let staged = "rollout: {canary: {count: 1, hold: 5s}, ";
        let web = group("web", 4, image).replacen("rollout: {", staged, 1);
        let files = [
            ("p.yaml", PROVIDER),
            ("policy.yaml", &*documents),
            ("web.yaml", &web),
        ];
        world.repository.commit(&files);
    };
    world.metrics.say("old", 0.01, now(&world));
    push(&world, "a");
    world.pass().await;
    world.converge().await;
    // Nobody knows how the new one does: the rollout rests at its canary.
    push(&world, "b");
    world.passes(120).await;
    let living = world.living("web");
    assert_eq!(living, ["web-2", "web-3", "web-4", "web-5"]);
    assert_eq!(codes(&world), ["PolicyFailed"]);
    world.metrics.say("new", 0.4, now(&world));
    world.passes(30).await;
    assert!(
        codes(&world).contains(&"RolloutPaused"),
        "{:?}",
        codes(&world)
    );
}

/// The codes of all holds, those too that are part of any rollout.
fn codes(world: &World) -> Vec<&'static str> {
    let report = world.report("web");
    report.holds.iter().map(|held| held.hold.code()).collect()
}
