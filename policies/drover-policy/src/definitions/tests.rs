use std::collections::BTreeMap;
use std::time::Duration;

use drover_model::*;

use super::Definitions;
use crate::testing::{World, binding, defaults, gate, listed, policy};
use crate::{PolicyMistake, PolicySet};

fn query(text: &str) -> MetricQuery {
    MetricQuery {
        source: SourceName::parse("prom").unwrap(),
        query: text.to_owned(),
    }
}

fn definitions() -> Definitions {
    let metric = |name: &str| {
        let metric = Metric {
            span: SourceSpan::start_of("metrics.yaml"),
            query: query(&format!("sum({name})")),
            age_max: Duration::from_mins(1),
            timeout: Duration::from_secs(2),
        };
        (MetricName::parse(name).unwrap(), metric)
    };
    let source = MetricSource {
        name: MetricSourceName::parse("queues").unwrap(),
        span: SourceSpan::start_of("metrics.yaml"),
        source: SourceName::parse("prom").unwrap(),
        metrics: [metric("queue.depth"), metric("error.rate")].into(),
        digest: "digest-of-metrics".to_owned(),
    };
    let calendar = Calendar {
        name: CalendarName::parse("de").unwrap(),
        span: SourceSpan::start_of("de.yaml"),
        zone: Zone::parse("Europe/Berlin").unwrap(),
        days: vec![CalendarDays {
            first: "12-25".parse().unwrap(),
            last: "12-26".parse().unwrap(),
            name: Some("Christmas".to_owned()),
        }],
        digest: "digest-of-calendar".to_owned(),
    };
    Definitions::new([&source], [&calendar], false)
}

fn compiled(policy: Policy, params: &[(&str, &str)]) -> (PolicySet, Vec<PolicyMistake>) {
    let mut binding = binding("tested");
    for (name, value) in params {
        binding
            .params
            .insert((*name).to_owned(), Value::from(*value));
    }
    PolicySet::compile_with(&[policy], &[binding], &[], definitions())
}

fn set(policy: Policy) -> PolicySet {
    let (set, mistakes) = compiled(policy, &[]);
    assert_eq!(mistakes, Vec::new());
    set
}

fn mistakes(rule: &str) -> String {
    listed(&compiled(gate(rule), &[]).1)
}

fn sample(value: f64, at: &str) -> Readings {
    let sample = Reading::Sample {
        value,
        at: at.parse().unwrap(),
    };
    [(query("sum(queue.depth)"), sample)].into()
}

/// Returns what came of a rule over readings, with the values that it saw.
fn told(rule: &str, readings: Readings) -> String {
    let mut world = World::new();
    world.readings = readings;
    let decisions = set(gate(rule)).decide(&world.facts());
    let verdict = &decisions.trace[0];
    let outcome = match &verdict.outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Error(why) => why,
    };
    let values = verdict.values.iter();
    let values: Vec<String> = values
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    format!("{outcome} | {}", values.join(", "))
}

#[test]
fn a_metric_has_a_value_and_an_age_and_is_told_with_them() {
    let readings = sample(120.5, "2026-01-05T11:59:30Z");
    insta::assert_snapshot!(
        told("metric('queue.depth').value > 100.0", readings.clone()),
        @r#"passed | metric("queue.depth") = 120.5 (30s old)"#
    );
    insta::assert_snapshot!(
        told("metric('queue.depth').ok && metric('queue.depth').age < duration('10s')", readings),
        @r#"failed | metric("queue.depth") = 120.5 (30s old)"#
    );
}

#[test]
fn a_value_that_is_not_ok_is_no_value() {
    let rule = "metric('queue.depth').value < 100.0";
    insta::assert_snapshot!(
        told(rule, Readings::new()),
        @r#"metric queue.depth is not ok: it was not asked for in this pass | metric("queue.depth") = not ok: it was not asked for in this pass"#
    );
    insta::assert_snapshot!(
        told(rule, sample(0.0, "2026-01-05T11:00:00Z")),
        @r#"metric queue.depth is not ok: its value is older than maxAge, 60 s | metric("queue.depth") = not ok: its value is older than maxAge, 60 s"#
    );
    let ok = "metric('queue.depth').ok && metric('queue.depth').value < 100.0";
    assert!(told(ok, Readings::new()).starts_with("failed | "));
    let stale = sample(0.0, "2026-01-05T11:00:00Z");
    assert!(
        told("metric('queue.depth').age == duration('1h')", stale.clone()).starts_with("passed")
    );
    assert!(told("has(metric('queue.depth').value)", stale.clone()).starts_with("failed"));
    assert!(
        told("metric('queue.depth').?value.orValue(-1.0) == -1.0", stale).starts_with("passed")
    );
}

#[test]
fn a_size_that_rests_on_a_metric_that_is_not_ok_stays() {
    let value = "int(math.ceil(metric('queue.depth').value / 50.0))";
    let set = set(policy(DecisionPoint::Size, value));
    let mut world = World::new();
    let decided = set.decide(&world.facts()).size;
    assert!(
        matches!(decided, Some(SizeDecision::Failed(_))),
        "{decided:?}"
    );
    world.readings = sample(480.0, "2026-01-05T12:00:00Z");
    let decided = set.decide(&world.facts()).size;
    assert!(
        matches!(decided, Some(SizeDecision::Chosen { size: 10, .. })),
        "{decided:?}"
    );
}

#[test]
fn names_are_looked_up_when_a_policy_is_loaded() {
    insta::assert_snapshot!(mistakes("metric('queue.dept').ok"), @"1:8+12 there is no metric `queue.dept` (did you mean `queue.depth`?)");
    insta::assert_snapshot!(mistakes("isHoliday('fr')"), @"1:11+4 there is no calendar `fr` (there is de)");
    insta::assert_snapshot!(mistakes("metric(group.name).ok"), @"1:8+10 metric() needs a name that is known when the policy is loaded (write a text, or a parameter that is one: `params.<name>`)");
    insta::assert_snapshot!(mistakes("metric('queue.depth').valeu > 1.0"), @"1:23+5 metric(name) has no field `valeu` (did you mean `value`?)");
    insta::assert_snapshot!(mistakes("metric('queue.depth').value > 1"), @"");
    insta::assert_snapshot!(mistakes("metrik('queue.depth').ok"), @"1:1+6 unknown function `metrik` (did you mean `metric`?)");
    insta::assert_snapshot!(mistakes("isHoliday('de', 'now')"), @"1:17+5 isHoliday() takes timestamp here, not a string");
    insta::assert_snapshot!(mistakes("isHoliday()"), @"1:1+9 isHoliday() is not used like this (write isHoliday(calendar) or isHoliday(calendar, time))");
}

fn parametrized() -> Policy {
    let mut policy = gate("metric(params.metric).ok && !isHoliday(params.days)");
    policy.params = defaults([
        ("metric", Value::from("error.rate")),
        ("days", Value::from("")),
    ]);
    policy
}

#[test]
fn names_in_parameters_are_looked_up_where_a_binding_sets_them() {
    let told = |params: &[(&str, &str)]| listed(&compiled(parametrized(), params).1);
    assert_eq!(told(&[]), "");
    insta::assert_snapshot!(told(&[("metric", "error.rat")]), @"1:1+1 parameter `metric`: there is no metric `error.rat` (did you mean `error.rate`?)");
    insta::assert_snapshot!(told(&[("days", "us")]), @"1:1+1 parameter `days`: there is no calendar `us` (there is de)");
}

#[test]
fn a_document_that_cannot_be_read_may_define_any_name() {
    let mut definitions = definitions();
    definitions.partial = true;
    let policies = [gate("metric('queue.dept').ok")];
    let (_, mistakes) = PolicySet::compile_with(&policies, &[], &[], definitions);
    assert_eq!(mistakes, Vec::new());
}

#[test]
fn only_the_metrics_of_bound_policies_are_asked_for() {
    let names = |set: &PolicySet, labels: Option<&BTreeMap<String, String>>| {
        let metrics = set.metrics(labels).into_keys();
        metrics
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let literal = gate("metric('queue.depth').ok");
    let (unbound, _) =
        PolicySet::compile_with(std::slice::from_ref(&literal), &[], &[], definitions());
    assert_eq!(names(&unbound, None), "");
    assert_eq!(names(&set(literal.clone()), None), "queue.depth");
    let (chosen, _) = compiled(parametrized(), &[("metric", "queue.depth")]);
    assert_eq!(names(&chosen, None), "queue.depth");
    let mut selective = binding("tested");
    selective.selector.match_labels = [("env".to_owned(), "prod".to_owned())].into();
    let (set, _) = PolicySet::compile_with(&[literal], &[selective], &[], definitions());
    let labels = |env: &str| BTreeMap::from([("env".to_owned(), env.to_owned())]);
    assert_eq!(names(&set, Some(&labels("prod"))), "queue.depth");
    assert_eq!(names(&set, Some(&labels("dev"))), "");
}

#[test]
fn what_documents_say_is_part_of_the_digest_of_what_rests_on_it() {
    let digests =
        set(gate("isHoliday('de') || metric('queue.depth').ok")).digests_for(&BTreeMap::new());
    let lines: Vec<String> = digests
        .iter()
        .map(|(name, digest)| format!("{name}: {digest}"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
binding/bound-tested: digest-of-binding
binding/bound-tested/isHoliday/de: digest-of-calendar
binding/bound-tested/metric/queue.depth: prom 60000ms sum(queue.depth)
policy/tested: digest-of-policy
"#);
}

#[test]
fn holidays_are_those_of_the_calendars_zone() {
    let asked = |rule: &str, now: &str| {
        let mut world = World::new();
        world.now = now.parse().unwrap();
        let decisions = set(gate(rule)).decide(&world.facts());
        let verdict = &decisions.trace[0];
        let review = decisions
            .review_at
            .map(|at| at.to_string())
            .unwrap_or_default();
        format!("{:?} {:?} {review}", verdict.outcome, verdict.values)
    };
    insta::assert_snapshot!(asked("!isHoliday('de')", "2026-12-24T22:59:00Z"), @r#"Passed {"isHoliday(\"de\")": "false", "now": "2026-12-24T22:59:00Z"} 2026-12-24T23:00:00Z"#);
    insta::assert_snapshot!(asked("!isHoliday('de')", "2026-12-24T23:00:00Z"), @r#"Failed {"isHoliday(\"de\")": "true (Christmas)", "now": "2026-12-24T23:00:00Z"} 2026-12-24T23:15:00Z"#);
    insta::assert_snapshot!(asked("isHoliday('de', now + duration('24h'))", "2026-12-24T12:00:00Z"), @r#"Passed {"now": "2026-12-24T12:00:00Z"} 2026-12-24T12:01:00Z"#);
}

#[test]
fn rows_of_a_test_table_give_metrics_and_days() {
    let mut tested = gate("metric('queue.depth').value > 1.0 && !isHoliday('de')");
    let row = |name: &str, given: Value, expect: Value| PolicyTest {
        name: name.to_owned(),
        given,
        expect,
        span: SourceSpan::start_of("policy.yaml"),
    };
    let map = |entries: &[(&str, Value)]| {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.clone()))
            .collect::<Value>()
    };
    let metrics = |metric: Value| map(&[("metrics", map(&[("queue.depth", metric)]))]);
    let stale = map(&[
        ("value", Value::Int(5)),
        ("age", Value::from("5m")),
        ("ok", Value::Bool(false)),
    ]);
    let mut holiday = metrics(Value::Int(5));
    if let Value::Map(given) = &mut holiday {
        let days = Value::List(vec![Value::from("2026-01-05")]);
        given.insert("calendars".to_owned(), map(&[("de", days)]));
    }
    tested.tests = vec![
        row("deep", metrics(Value::Int(5)), Value::Bool(true)),
        row("shallow", metrics(Value::Float(0.5)), Value::Bool(false)),
        row("nothing given", Value::Null, Value::from("error")),
        row("stale", metrics(stale), Value::from("error")),
        row("a holiday", holiday, Value::Bool(false)),
        row(
            "typo",
            metrics(map(&[("valeu", Value::Int(5))])),
            Value::Bool(true),
        ),
        row(
            "no calendar",
            map(&[("calendars", map(&[("de", Value::Int(1))]))]),
            Value::Bool(true),
        ),
    ];
    let told = set(tested)
        .run_tests()
        .into_iter()
        .map(|test| match test.result {
            crate::TestResult::Passed => format!("{}: passed", test.name),
            crate::TestResult::Failed { got, .. } => format!("{}: got {got}", test.name),
            crate::TestResult::Invalid { message } => format!("{}: {message}", test.name),
        });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @r#"
deep: passed
shallow: passed
nothing given: passed
stale: passed
a holiday: passed
typo: `metrics.queue.depth` has no field `valeu`; did you mean `value`?
no calendar: `calendars.de` is a list of days, not an integer
"#);
}
