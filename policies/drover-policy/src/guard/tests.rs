use std::fmt::Write as _;
use std::time::{Duration, Instant};

use drover_model::{Outcome, SizeDecision};
use proptest::prelude::*;

use crate::testing::{
    World, binding, bound, classified, gate, mistakes, outcome, policy, variable,
};
use crate::{PolicySet, meter};

/// Generous: a debug build on a busy machine. Without its guard each of these takes hours, or all
/// memory.
const BOUNDED: Duration = Duration::from_mins(1);

#[expect(clippy::disallowed_methods, reason = "the test is about time")]
fn bounded<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    let took = began.elapsed();
    assert!(took < BOUNDED, "{what} took {took:?}");
    result
}

fn hostile_sources() -> Vec<(&'static str, String)> {
    let many = 10_000;
    let mut sources = vec![
        (
            "nested brackets",
            "(".repeat(many) + "1" + &")".repeat(many),
        ),
        ("open brackets", "(".repeat(2000)),
        ("open lists", "[".repeat(2000)),
        ("open maps", "{".repeat(2000)),
        ("closed lists", "[".repeat(1900) + &"]".repeat(1900)),
        ("negations", "!".repeat(4000) + "true"),
        ("minuses", "-".repeat(4000) + "1"),
        ("sum", "1".to_owned() + &"+1".repeat(2000) + " > spec.size"),
        ("long sum", "1".to_owned() + &"+1".repeat(many)),
        ("fields", "spec".to_owned() + &".a".repeat(2000)),
        (
            "indices",
            "spec.template.properties".to_owned() + &"[0]".repeat(1300),
        ),
        ("and", "reason == 'heal'".to_owned() + &" && a".repeat(800)),
        ("or", "a".to_owned() + &"||a".repeat(1300)),
        ("conditionals", "a?b:".repeat(1000) + "c"),
        ("calls", "string(".repeat(580) + "1" + &")".repeat(580)),
        (
            "chained calls",
            "group.name".to_owned() + &".trim()".repeat(580),
        ),
        ("one long token", "a".repeat(4000)),
        ("one long text", format!("'{}' == reason", "x".repeat(4000))),
        ("a large source", "1 + ".repeat(1024 * 1024)),
        ("elements", format!("[{}1] == []", "1,".repeat(2000))),
        ("entries", {
            let mut map = "{".to_owned();
            for key in 0..600 {
                let _ = write!(map, "{key}:1,");
            }
            map + "} == {}"
        }),
        (
            "nested loops",
            "instances.all(a,".repeat(200) + "true" + &")".repeat(200),
        ),
        (
            "four loops",
            "instances.all(a, instances.all(b, instances.all(c, instances.all(d, a == d))))"
                .to_owned(),
        ),
        ("question marks", "?".repeat(4000)),
        ("quotes", "'".repeat(4001)),
        ("nul", "\0".repeat(100)),
        ("multi-byte", "é".repeat(2000)),
        ("comments", "//".repeat(2000)),
        (
            "a regular expression too large",
            "group.name.matches('(a{1000}){1000}')".to_owned(),
        ),
    ];
    sources.push(("spaces", " ".repeat(4000)));
    sources
}

#[test]
fn hostile_sources_are_refused_without_harm() {
    for (what, source) in hostile_sources() {
        let told = bounded(what, || mistakes(&gate(&source)));
        assert!(!told.is_empty(), "{what} was accepted");
        assert!(told.len() < 20_000, "{what}: {}", told.len());
    }
}

#[test]
fn limits_are_told_with_a_way_out() {
    let told = |source: &str| mistakes(&gate(source));
    assert_eq!(
        told(&"1 + ".repeat(2000)),
        "1:1+1 the expression is 8000 bytes long; at most 4096 are allowed (split it into `variables`)"
    );
    let four = "instances.all(a, instances.all(b, instances.all(c, instances.all(d, a == d))))";
    assert_eq!(
        told(four),
        "1:65+1 loops are nested more than 3 deep (keep an inner result in `variables`)"
    );
    let chain = "status.total".to_owned() + &" + 1".repeat(300) + " > 1";
    assert!(
        told(&chain).contains("more than 200 deep"),
        "{}",
        told(&chain)
    );
}

fn ten_thousand() -> World {
    let mut world = World::new();
    world.classified = Some(classified(10_000));
    world
}

#[test]
fn the_budget_stops_loops_over_many_instances() {
    let world = ten_thousand();
    for rule in [
        "instances.all(a, instances.all(b, instances.all(c, a.id != b.id + c.id)))",
        "instances.exists(a, instances.exists(b, instances.exists(c, a.id == b.id + c.id)))",
        "instances.map(a, instances.map(b, b.zone)).size() == 3",
        "instances.filter(a, instances.exists_one(b, b.id == a.id)).size() == 3",
        "instances.all(a, a in instances) || status.total == 3",
        "instances.map(a, a.id).map(a, instances.map(b, b.id).filter(c, c == a)).size() == 1",
        "instances.map(a, instances == instances).size() == 1",
    ] {
        let told = bounded(rule, || outcome(rule, &world));
        assert_eq!(told, meter::exhausted(), "{rule}");
    }
}

#[test]
fn an_exhausted_budget_is_not_hidden_by_the_rest_of_the_expression() {
    let world = ten_thousand();
    let expensive = "instances.all(a, instances.all(b, instances.all(c, a.id != b.id + c.id)))";
    for rule in [
        format!("{expensive} || status.total == 3"),
        format!("status.total == 4 && {expensive}"),
        format!("!({expensive} && status.total == 4)"),
        format!("[{expensive}].exists(x, x || status.total == 3) || status.total == 3"),
        "instances.map(a, instances.filter(b, a.id != b.id)).size() == 1 || status.total == 3"
            .to_owned(),
    ] {
        let told = bounded(&rule, || outcome(&rule, &world));
        if rule.starts_with("status.total == 4 &&") {
            // Never evaluated.
            assert_eq!(told, "failed");
        } else {
            assert_eq!(told, meter::exhausted(), "{rule}");
        }
    }
}

#[test]
fn a_filter_over_ten_thousand_instances_is_within_the_budget() {
    let world = ten_thousand();
    let rule = "instances.filter(i, i.class == 'Available' && !i.outdated && i.zone in ['a', 'b']) \
                .size() >= spec.size - 1";
    assert_eq!(outcome(rule, &world), "passed");
    let rule = "instances.map(i, i.zone + '/' + i.id).filter(z, z.startsWith('a/')).size() > 10";
    assert_eq!(outcome(rule, &world), "passed");
}

#[test]
fn values_cannot_grow_without_end() {
    let world = World::new();
    let doubling = |times: usize, start: &str| {
        format!("[{start}]{}.size() == 1", ".map(x, x + x)".repeat(times))
    };
    let told = bounded("texts", || outcome(&doubling(60, "group.name"), &world));
    assert_eq!(told, "the text would be longer than 16384 bytes");
    let told = bounded("lists", || outcome(&doubling(60, "[reason]"), &world));
    assert_eq!(told, meter::exhausted());
    let told = bounded("bytes", || {
        outcome(&doubling(60, "bytes(group.name)"), &world)
    });
    assert_eq!(told, "the text would be longer than 16384 bytes");
    let nested = format!("[reason]{}.size() == 1", ".map(x, [x, x])".repeat(40));
    let told = bounded("nested lists", || outcome(&nested, &world));
    assert_eq!(told, meter::exhausted());
    let maps = format!(
        "[reason]{}.size() == 1",
        ".map(x, {'a': x, 'b': x})".repeat(40)
    );
    let told = bounded("maps", || outcome(&maps, &world));
    assert_eq!(told, meter::exhausted());
}

#[test]
fn variables_do_not_add_up_to_more_than_the_budget_of_the_binding() {
    let world = ten_thousand();
    let mut policy = gate("variables.v0.all(v, size(v) > 0)");
    // Each is well within its own budget; together they are not.
    let loops = "instances.map(i, i.id + i.zone + i.class)";
    policy.variables = (0..60)
        .map(|number| variable(&format!("v{number}"), loops))
        .collect();
    let set = bound(policy);
    let decisions = bounded("sixty variables", || set.decide(&world.facts()));
    // The one that the rule reads was evaluated in time, but nothing was left for the rule.
    let Outcome::Error(why) = &decisions.trace[0].outcome else {
        panic!("{:?}", decisions.trace);
    };
    assert!(
        why.starts_with("the budget of 10000000 steps of the binding"),
        "{why}"
    );
}

#[test]
fn regular_expressions_take_linear_time() {
    let mut world = World::new();
    let text = "a".repeat(100_000) + "!";
    world.group.annotations.insert("x".to_owned(), text);
    let rule = "group.annotations.x.matches('^(a+)+$')";
    assert_eq!(bounded(rule, || outcome(rule, &world)), "failed");
    // A pattern that is not a literal is compiled under the budget.
    world.classified = Some(classified(10_000));
    let rule = "instances.all(i, group.name.matches('(\\\\w{50}){10}' + i.id))";
    let told = bounded(rule, || outcome(rule, &world));
    assert!(
        told.contains("too large") || told == meter::exhausted() || told == "failed",
        "{told}"
    );
}

#[test]
fn a_size_that_is_out_of_range_is_bounded() {
    let world = World::new();
    for (value, size) in [
        ("9223372036854775807", 20),
        ("-9223372036854775807", 2),
        ("status.available - 9223372036854775807 - 5", 0),
        ("status.available * 9223372036854775807", 0),
    ] {
        let decision = bound(policy(drover_model::DecisionPoint::Size, value))
            .decide(&world.facts())
            .size;
        match decision {
            Some(SizeDecision::Chosen { size: chosen, .. }) => assert_eq!(chosen, size, "{value}"),
            Some(SizeDecision::Failed(_)) => assert_eq!(size, 0, "{value}"),
            None => panic!("{value}"),
        }
    }
}

/// Pieces that expressions are made of, so that random text gets past the lexer.
const PIECES: [&str; 62] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    ",",
    ":",
    "?",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    ">=",
    "&&",
    "||",
    "in",
    "'a'",
    "\"b\"",
    "b'c'",
    "r'd'",
    "0",
    "1",
    "-9223372036854775808",
    "18446744073709551615u",
    "1.5",
    "1e999",
    "true",
    "null",
    "now",
    "reason",
    "spec",
    "oldSpec",
    "status.available",
    "instances",
    "groups['db']",
    "git.trailers",
    "params.x",
    "variables.v",
    "x",
    ".all(x,",
    ".map(x,",
    ".filter(x,",
    ".exists_one(x,",
    "has(",
    "size(",
    ".getHours(",
    "timestamp(",
    "duration('1h')",
    ".matches(",
    ".split(",
    ".substring(",
    ".?size",
    "[?0]",
    "optional.of(",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_pieces_never_panic(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 1..24), glue in prop::bool::ANY) {
        harmless(&pieces.join(if glue { " " } else { "" }))?;
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,80}") {
        harmless(&text)?;
    }

    #[test]
    fn mutated_expressions_never_panic(at in 0..200usize, piece in prop::sample::select(&PIECES[..]), cut in 0..12usize) {
        let good = "reason in ['heal'] || (variables.v >= 9 && instances.filter(x, x.class == 'Available' && x.age > duration('1m')).size() >= spec.size - 1 && has(oldSpec.size) && now.getHours('UTC') < 17)";
        let at = at.min(good.len());
        let end = (at + cut).min(good.len());
        harmless(&format!("{}{piece}{}", &good[..at], &good[end..]))?;
    }
}

/// Compiles and, where it compiles, evaluates.
fn harmless(rule: &str) -> Result<(), TestCaseError> {
    let mut policy = gate(rule);
    policy.params = crate::testing::defaults([("x", drover_model::Value::Int(1))]);
    policy.variables = vec![variable("v", "status.available")];
    let (set, found) = PolicySet::compile(&[policy], &[binding("tested")], &[]);
    for mistake in &found {
        prop_assert!(
            !mistake.message.contains("panicked"),
            "{rule:?}: {}",
            mistake.message
        );
    }
    let decisions = set.decide(&World::new().facts());
    prop_assert!(!decisions.trace.is_empty());
    for verdict in &decisions.trace {
        prop_assert!(
            !verdict.message.contains("panicked"),
            "{rule:?}: {}",
            verdict.message
        );
    }
    Ok(())
}

#[test]
fn guards_do_not_change_what_an_expression_means() {
    let world = World::new();
    // Each pair says the same with and without what is guarded.
    for rule in [
        "[1, 2, 3].map(x, x * 2) == [2, 4, 6] && status.total == 3",
        "[1, 2, 3].map(x, x > 1, x * 2) == [4, 6] && status.total == 3",
        "[3, 1, 2].filter(x, x < 3) == [1, 2] && status.total == 3",
        "[].all(x, x == status.total) && ![].exists(x, x == status.total)",
        "[1, 2, 3].exists(x, x == status.total) && [3, 3].all(x, x == status.total)",
        "[1, 2, 3].exists_one(x, x == status.total) && ![3, 3].exists_one(x, x == status.total)",
        "[1, 0].exists(x, status.total / x == 3) && ![0, 1].all(x, status.total / x == 4)",
        "group.name + '-' + string(status.total) == 'web-3'",
        "dyn(group.name) + 'x' == 'webx' && dyn(status.total) + 1 == 4",
        "[group.name] + ['x'] == ['web', 'x'] && bytes(group.name) + b'x' == b'webx'",
        "now + duration('1h') - now == duration('3600s')",
        "dyn(now) + dyn(duration('1h')) > now",
        "group.name.matches('^w') && matches(group.name, 'b$') && !group.name.matches('^b')",
        "'env' in group.labels && !('x' in group.labels) && group.name in ['web']",
        "status.total in [1, 2, 3].map(x, x) && 3.0 in [status.total]",
        "dyn(status.total) == 3.0 && dyn(status.total) != dyn('3') && {'a': [status.total]} == {'a': [3]}",
        "{'a': 1}.map(k, k + group.name) == ['aweb'] && {1: 2, true: 3}.size() + 1 == status.total",
        "[[1, 2], [status.total]].map(l, l.map(x, x + 1)) == [[2, 3], [4]]",
        "(status.total > 2 ? [1] : [2])[0] == 1 && {'a': {'b': status.total}}.a.b == 3",
        "has(group.labels.env) && !has(group.labels.x) && has(spec.template.properties.image)",
        "group.?name.hasValue() && optional.of(status.total).value() == 3",
        "spec.template.properties.?image.orValue('') == 'v1'",
    ] {
        assert_eq!(outcome(rule, &world), "passed", "{rule}");
    }
}

#[test]
fn errors_in_a_loop_stay_errors_unless_an_element_decides() {
    let world = World::new();
    for (rule, told) in [
        ("[0, 1].all(x, status.total / x == 3)", "division by zero"),
        (
            "[0, 1].exists(x, status.total / x == 4)",
            "division by zero",
        ),
        (
            "[0, 1].filter(x, status.total / x == 3).size() == 1",
            "division by zero",
        ),
        (
            "[0, 1].map(x, status.total / x).size() == 2",
            "division by zero",
        ),
        (
            "[0, 1].exists_one(x, status.total / x == 3)",
            "division by zero",
        ),
    ] {
        assert_eq!(outcome(rule, &world), told, "{rule}");
    }
}

#[test]
fn the_deepest_expression_that_is_accepted_fits_an_ordinary_stack_once_compiled() {
    // Dropping a set happens wherever its owner is.
    let mut rule = "spec.template.properties.image".to_owned();
    for _ in 0..190 {
        rule.push_str(" + 'x'");
    }
    rule.push_str(" == reason");
    let set = bound(gate(&rule));
    assert_eq!(
        set.decide(&World::new().facts()).trace[0].outcome,
        Outcome::Failed
    );
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(move || drop(set))
        .unwrap()
        .join()
        .unwrap();
}
