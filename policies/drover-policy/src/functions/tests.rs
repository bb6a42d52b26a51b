use crate::language::{Checking, Datum, Fault, Surroundings, evaluate};
use crate::testing::{World, binding, defaults, gate, listed, mistakes, outcome};
use crate::{PolicyMistake, PolicySet};
use drover_model::Value;

fn with_now(source: &str, now: &str) -> Result<Datum, Fault> {
    let values = [("now".to_owned(), Datum::Time(now.parse().unwrap()))];
    let surroundings = Surroundings {
        container: "",
        values: &values,
        checking: Checking::Strict,
    };
    evaluate(source, surroundings)
}

fn evaluated(source: &str) -> String {
    match with_now(source, "2026-01-05T12:00:00Z") {
        Ok(Datum::Other(text) | Datum::Text(text)) => text,
        Ok(value) => format!("{value:?}"),
        Err(fault) => fault.to_string(),
    }
}

fn assert_evaluated(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(evaluated(source), *expected, "{source}");
    }
}

#[test]
fn a_window_is_open_from_its_opening_until_it_closes() {
    let rule = "inWindow('0 2 * * TUE', duration('3h'), 'Europe/Berlin')";
    // Berlin is an hour ahead in winter, and the fifth is a Monday.
    for (now, open) in [
        ("2026-01-06T00:59:59Z", false),
        ("2026-01-06T01:00:00Z", true),
        ("2026-01-06T03:59:59.9Z", true),
        ("2026-01-06T04:00:00Z", false),
        ("2026-01-07T02:00:00Z", false),
        // In summer it is two.
        ("2026-07-07T00:00:00Z", true),
        ("2026-07-07T03:00:00Z", false),
    ] {
        assert_eq!(with_now(rule, now), Ok(Datum::Bool(open)), "{now}");
    }
}

#[test]
fn an_hour_that_clocks_skip_opens_a_window_when_they_do() {
    let rule = "inWindow('30 2 29 3 *', duration('30m'), 'Europe/Berlin')";
    for (now, open) in [
        ("2026-03-29T00:59:00Z", false),
        ("2026-03-29T01:00:00Z", true),
        ("2026-03-29T01:30:00Z", false),
    ] {
        assert_eq!(with_now(rule, now), Ok(Datum::Bool(open)), "{now}");
    }
}

#[test]
fn a_window_of_no_length_is_never_open() {
    for length in ["0s", "-1h"] {
        let rule = format!("inWindow('* * * * *', duration('{length}'), 'UTC')");
        assert_eq!(evaluated(&rule), "Bool(false)");
    }
}

#[test]
fn a_window_must_be_known_when_the_policy_is_loaded() {
    let told = |rule: &str| mistakes(&gate(rule));
    insta::assert_snapshot!(told("inWindow('0 2 * *', duration('3h'), 'Europe/Berlin')"), @"1:10+9 `0 2 * *` must have five fields (minute hour day month weekday), found 4 (five fields such as `0 2 * * TUE`: minute, hour, day, month, weekday)");
    insta::assert_snapshot!(told("inWindow('0 2 * * TUE', duration('3h'), 'Europe/Berlim')"), @"1:41+15 unknown time zone `Europe/Berlim` (zones have names such as Europe/Berlin, UTC or -08:00)");
    insta::assert_snapshot!(told("inWindow('0 2 * * TUE', duration('3 hours'), 'UTC')"), @"1:25+18 this always fails: this is not a duration such as 90s or 1h30m");
    insta::assert_snapshot!(told("inWindow(group.labels.window, duration('3h'), group.labels.zone)"), @"
    1:10+19 the times of inWindow() must be known when the policy is loaded (write a text, or a parameter: `params.<name>`)
    1:47+17 the time zone of inWindow() must be known when the policy is loaded (write a text, or a parameter: `params.<name>`)
    ");
    insta::assert_snapshot!(told("inWindow('0 2 * * TUE', '3h', 'UTC')"), @"1:25+4 inWindow() takes duration here, not a string");
    insta::assert_snapshot!(told("inWindow('0 2 * * TUE', duration('3h'))"), @"1:1+8 inWindow() takes 3 arguments, not 2");
    insta::assert_snapshot!(told("inwindow('0 2 * * TUE', duration('3h'), 'UTC')"), @"1:1+8 unknown function `inwindow` (did you mean `inWindow`?)");
}

/// A policy whose window and pattern are parameters.
fn parametrized() -> drover_model::Policy {
    let mut policy = gate(
        "inWindow(params.times, duration('3h'), params.zone) || group.name.matches(params.name)",
    );
    policy.params = defaults([
        ("times", Value::from("0 2 * * TUE")),
        ("zone", Value::from("UTC")),
        ("name", Value::from("^web")),
    ]);
    policy
}

fn bound_with(param: &str, value: &str) -> Vec<PolicyMistake> {
    let mut bound = binding("tested");
    bound.params.insert(param.to_owned(), Value::from(value));
    PolicySet::compile(&[parametrized()], &[bound], &[]).1
}

#[test]
fn parameters_have_the_form_that_the_policy_uses_them_in() {
    assert_eq!(mistakes(&parametrized()), "");
    assert_eq!(listed(&bound_with("times", "30 6 * * *")), "");
    insta::assert_snapshot!(listed(&bound_with("times", "at night")), @"1:1+1 `at night` must have five fields (minute hour day month weekday), found 2, in policy tested (five fields such as `0 2 * * TUE`: minute, hour, day, month, weekday)");
    insta::assert_snapshot!(listed(&bound_with("zone", "Berlin")), @"1:1+1 unknown time zone `Berlin`, in policy tested (zones have names such as Europe/Berlin, UTC or -08:00)");
    insta::assert_snapshot!(listed(&bound_with("name", "(web")), @"1:1+1 not a regular expression: unclosed group, in policy tested");
    let mut policy = parametrized();
    policy
        .params
        .extend(defaults([("times", Value::from("0 25 * * *"))]));
    insta::assert_snapshot!(mistakes(&policy), @r#"1:10+12 the default of `times`: `0 25 * * *` has "25" as the hour, which must be 0 to 23, `*`, a range, a step or a list (five fields such as `0 2 * * TUE`: minute, hour, day, month, weekday)"#);
}

#[test]
fn a_window_makes_a_decision_be_asked_again() {
    let world = World::new();
    let rule = "inWindow('0 11 * * MON', duration('3h'), 'UTC')";
    assert_eq!(outcome(rule, &world), "passed");
    let decisions = crate::testing::bound(gate(rule)).decide(&world.facts());
    assert!(decisions.review_at.is_some());
}

#[test]
fn addresses_are_those_that_everybody_reads_alike() {
    assert_evaluated(&[
        (
            "ip('010.0.0.1')",
            "refused: this always fails: `010.0.0.1` is not an IP address such as 10.0.0.7 or 2001:db8::7",
        ),
        ("isIP('::ffff:10.0.0.1')", "Bool(false)"),
        ("isCIDR('10.0.0.0/08')", "Bool(false)"),
        ("isCIDR('10.0.0.0/+8')", "Bool(false)"),
        ("isCIDR('10.0.0.0/33')", "Bool(false)"),
        ("isCIDR('::/128')", "Bool(true)"),
        ("cidr('10.1.2.3/0').masked()", "0.0.0.0/0"),
        ("cidr('10.1.2.3/32').masked()", "10.1.2.3/32"),
        ("cidr('2001:db8::1/0').masked()", "::/0"),
        (
            "cidr('10.0.0.0/8').containsCIDR('10.0.0.0/7')",
            "Bool(false)",
        ),
        ("cidr('10.0.0.0/8').containsIP('::1')", "Bool(false)"),
        (
            "cidr('10.0.0.0/8').containsIP(dyn('x'))",
            "refused: this always fails: `x` is not an IP address such as 10.0.0.7 or 2001:db8::7",
        ),
    ]);
}

#[test]
fn versions_are_ordered_as_their_specification_says() {
    let ascending = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "2.0.0",
        "2.1.0",
        "2.1.1",
        "2.11.0",
    ];
    for pair in ascending.windows(2) {
        let rule = format!("semver('{}').isLessThan(semver('{}'))", pair[0], pair[1]);
        assert_eq!(evaluated(&rule), "Bool(true)", "{rule}");
    }
    assert_evaluated(&[
        ("isSemver('01.0.0')", "Bool(false)"),
        ("isSemver('v1.0.0')", "Bool(false)"),
        ("isSemver('v1', true)", "Bool(true)"),
        ("isSemver('1.2-rc.1', true)", "Bool(false)"),
        ("semver('v01.02.03-rc.1', true)", "1.2.3-rc.1"),
        ("semver('v00.0', true)", "0.0.0"),
        (
            "semver('1.2')",
            "refused: this always fails: `1.2` is not a version such as 1.2.3; semver(text, true) also takes v1.2",
        ),
        (
            "semver('99999999999999999999.0.0')",
            "refused: this always fails: `99999999999999999999.0.0` is not a version such as 1.2.3; semver(text, true) also takes v1.2",
        ),
    ]);
}

#[test]
fn quantities_are_exact_and_rounded_as_in_kubernetes() {
    assert_evaluated(&[
        ("quantity('1Ki')", "1024"),
        ("quantity('1k')", "1000"),
        ("quantity('250m')", "0.25"),
        ("quantity('1E')", "1000000000000000000"),
        ("quantity('1E3')", "1000"),
        ("quantity('1e-3')", "0.001"),
        ("quantity('.5')", "0.5"),
        ("quantity('5.')", "5"),
        ("quantity('+5')", "5"),
        ("quantity('-1.5Ki')", "-1536"),
        // Finer than a billionth: away from zero.
        ("quantity('0.1n')", "0.000000001"),
        ("quantity('-0.1n')", "-0.000000001"),
        ("quantity('1e-999999999')", "0.000000001"),
        ("quantity('0e99')", "0"),
        // With a suffix of two the largest is that of an int.
        ("quantity('100Ei')", "9223372036854775807"),
        (
            "quantity('1e40')",
            "refused: this always fails: the quantity `1e40` is too large",
        ),
        ("isQuantity('1e40')", "Bool(false)"),
        (
            "quantity('100E').asInteger()",
            "refused: this always fails: the quantity 100000000000000000000 is not a whole number that fits an int; isInteger() tells",
        ),
        (
            "quantity('1e29').add(quantity('1e29'))",
            "refused: this always fails: the quantity is too large",
        ),
    ]);
    for wrong in [
        "", "Ki", "1 Ki", "1ki", "1K", "1.2.3", "--1", "1e", "1e1.5", "١", ".",
    ] {
        let rule = format!("isQuantity('{wrong}')");
        assert_eq!(evaluated(&rule), "Bool(false)", "{rule}");
    }
}

#[test]
fn urls_have_the_parts_that_kubernetes_sees() {
    assert_evaluated(&[
        (
            "url('HTTPS://user:pass@example.com:80/a?b=c').getScheme()",
            "https",
        ),
        (
            "url('https://user:pass@example.com:80/a?b=c').getHost()",
            "example.com:80",
        ),
        (
            "url('https://example.com:80/a').getHostname()",
            "example.com",
        ),
        (
            "url('https://[2001:db8::1]:443/').getHostname()",
            "2001:db8::1",
        ),
        ("url('https://[2001:db8::1]:443/').getPort()", "443"),
        ("url('https://[2001:db8::1]/').getPort()", ""),
        ("url('https://example.com').getEscapedPath()", ""),
        (
            "url('https://example.com/with spaces/é').getEscapedPath()",
            "/with%20spaces/%C3%A9",
        ),
        ("url('/a%20b').getEscapedPath()", "/a%20b"),
        ("url('/a').getHost()", ""),
        (
            "url('https://e.com/?k=a&k=b+c&l&m=%41')",
            "https://e.com/?k=a&k=b+c&l&m=%41",
        ),
        (
            "url('https://e.com/?k=a&k=b+c&l&m=%41').getQuery() == {'k': ['a', 'b c'], 'l': [''], 'm': ['A']}",
            "Bool(true)",
        ),
        ("url('https://e.com/?').getQuery() == {}", "Bool(true)"),
        ("isURL('mailto:ann@example.com')", "Bool(true)"),
        ("type(url('/a')) == kubernetes.URL", "Bool(true)"),
    ]);
    for wrong in [
        "",
        "a",
        "../a",
        "1http://e.com",
        "https://[::1",
        "https://e.com:x/",
        "/a%zz",
        "https://a b/",
        ":a",
    ] {
        let rule = format!("isURL('{wrong}')");
        assert_eq!(evaluated(&rule), "Bool(false)", "{rule}");
    }
}

#[test]
fn texts_are_searched_by_characters() {
    assert_evaluated(&[
        ("'née à'.indexOf('à')", "Int(4)"),
        ("'ééé'.lastIndexOf('é', 1)", "Int(1)"),
        ("'abc'.indexOf('')", "Int(0)"),
        ("'abc'.lastIndexOf('')", "Int(3)"),
        (
            "'abc'.indexOf('c', 3)",
            "refused: this always fails: index out of range: 3",
        ),
        ("'aaa'.replace('', '-')", "-a-a-a-"),
        ("'aaa'.replace('a', 'bb', -1)", "bbbbbb"),
        ("'aaa'.replace('a', 'b', 0)", "aaa"),
        (
            "['a', dyn(1)].join()",
            "refused: this always fails: join() takes a list of strings alone",
        ),
        ("'aXbX'.findAll('X').size()", "Int(2)"),
        (
            "'abc'.findAll('')",
            "List([Text(\"\"), Text(\"\"), Text(\"\"), Text(\"\")])",
        ),
    ]);
}

#[test]
fn types_of_loops_with_two_variables_are_known() {
    let told = |rule: &str| mistakes(&gate(rule));
    insta::assert_snapshot!(told("group.labels.all(k, v, v > 3)"), @"1:26+1 a string and an int have no order (convert one side with int(), double() or string())");
    insta::assert_snapshot!(told("instances.exists(i, m, m.helth == 'x' && i == 'a')"), @"
    1:26+5 instance has no field `helth` (did you mean `health`?)
    1:44+2 an int and a string are never equal (convert one side with int(), double() or string())
    ");
    insta::assert_snapshot!(told("group.labels.transformMap(k, v, size(v))['a'] == 'x'"), @"1:47+2 an int and a string are never equal (convert one side with int(), double() or string())");
    insta::assert_snapshot!(told("group.labels.transformMapEntry(k, v, v) == {}"), @"
    1:1+38 transformMapEntry() makes entries of maps such as {key: value}, not of a string
    1:41+2 a string and a map(string, any) are never equal
    ");
    insta::assert_snapshot!(told("group.labels.all(k, k, k == 'x')"), @"1:21+1 the two names must differ");
    insta::assert_snapshot!(told("cel.bind(n, size(instances), n == 'x')"), @"1:32+2 an int and a string are never equal (convert one side with int(), double() or string())");
    insta::assert_snapshot!(told("cel.bind(spec, 3, spec > status.total)"), @"1:9+1 `spec` is a variable already; name the element otherwise");
    insta::assert_snapshot!(told("cel.bnd(n, 3, n > status.total)"), @"1:5+3 unknown function `cel.bnd` (did you mean `cel.bind`?)");
    insta::assert_snapshot!(told("cel.index(0) == status.total"), @"1:10+1 cel.index() is only known inside cel.block()");
    insta::assert_snapshot!(told("group.labels[?'tier'].orValue(3) == 4 && group.labels[?'tier'] == 'x'"), @"1:64+2 an optional(string) and a string are never equal (`.orValue(..)` gives a value where there is none)");
}

#[test]
fn loops_with_two_variables_inside_each_other_keep_their_names_apart() {
    assert_evaluated(&[
        (
            "{'a': 1, 'b': 2}.transformList(k, v, {'x': v}.transformList(j, w, k + j + string(w)))",
            "List([List([Text(\"ax1\")]), List([Text(\"bx2\")])])",
        ),
        // The inner names hide the outer.
        (
            "{'a': 1}.transformList(k, v, {'z': 9}.transformList(k, v, k + string(v)))",
            "List([List([Text(\"z9\")])])",
        ),
        (
            "{'a': 1}.transformList(k, v, [7].map(k, k + v))",
            "List([List([Int(8)])])",
        ),
        (
            "{'a': 1}.transformMapEntry(k, v, {'k': v, 'l': k})",
            "Map([(Text(\"k\"), Int(1)), (Text(\"l\"), Text(\"a\"))])",
        ),
        (
            "['x', 'y'].transformMapEntry(i, v, {'same': v})",
            "failed: the key same stands twice in the map",
        ),
    ]);
}

#[test]
fn functions_take_the_facts_of_a_group() {
    let mut world = World::new();
    for rule in [
        "group.labels.all(k, v, k == 'env' && v == 'prod')",
        "group.labels.transformMap(k, v, size(v)) == {'env': 4}",
        "group.labels.transformMapEntry(k, v, {v: k})['prod'] == 'env'",
        "groups.exists(name, other, name == 'db' && other.available == 2)",
        "groups.transformMap(name, other, other.total - other.updated)['db'] == 1",
        "spec.template.properties.transformList(k, v, k + '=' + string(v)) == ['image=v1']",
        "instances.exists(i, m, i == 1 && m.id == 'web-2')",
        "instances.existsOne(i, m, m.busy)",
        "instances.map(m, m.zone).distinct().sort().join(',') == 'a,b,c'",
        "instances.sortBy(m, m.zone)[0].zone == 'a'",
        "instances.filter(m, m.busy).slice(0, 1).size() == 1",
        "instances.all(m, cidr('127.64.0.0/16').containsIP(m.address))",
        "cel.bind(busy, instances.filter(m, m.busy), busy.size() == 1 && busy[0].id == 'web-2')",
        "group.labels[?'tier'].orValue('none') == 'none' && group.labels.?env.hasValue()",
        "instances[?7].optMap(m, m.zone).orValue('nowhere') == 'nowhere'",
        "sets.intersects(instances.map(m, m.zone), ['a', 'x']) && status.total == 3",
        "'%s of %d'.format([group.name, status.total]) == 'web of 3'",
        "instances == instances.reverse().reverse()",
        "type(status.total) == int && type(now) == google.protobuf.Timestamp",
        "oldSpec.?size.orValue(7) == 3",
    ] {
        assert_eq!(outcome(rule, &world), "passed", "{rule}");
    }
    world.old = None;
    assert_eq!(outcome("oldSpec.?size.orValue(7) == 7", &world), "passed");
    assert_eq!(outcome("!has(oldSpec.size)", &world), "passed");
}

#[test]
fn a_verdict_shows_the_values_of_every_kind() {
    let world = World::new();
    let mut policy = gate(
        "variables.net.containsIP('10.0.0.1') && variables.size > 3 && variables.maybe.hasValue()",
    );
    policy.variables = vec![
        crate::testing::variable(
            "net",
            "cidr(group.labels.env == 'x' ? '::/0' : '10.0.0.0/8')",
        ),
        crate::testing::variable("size", "status.total"),
        crate::testing::variable("maybe", "group.labels[?'tier']"),
    ];
    let decisions = crate::testing::bound(policy).decide(&world.facts());
    let values: Vec<String> = decisions.trace[0]
        .values
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    insta::assert_snapshot!(values.join("\n"), @"
    variables.maybe = optional.none()
    variables.net = 10.0.0.0/8
    variables.size = 3
    ");
}

#[test]
fn lists_are_folded() {
    assert_evaluated(&[
        ("[].sum()", "Int(0)"),
        ("[1u, 2u].sum()", "Uint(3)"),
        ("[0.5, 0.25].sum()", "Double(0.75)"),
        ("[duration('1h'), duration('30m')].sum()", "1h30m"),
        (
            "[1, 2.0].sum()",
            "refused: this always fails: sum() takes a list of one type",
        ),
        (
            "['a', 'b'].sum()",
            "refused: this always fails: sum() takes a list of numbers or durations",
        ),
        (
            "[[1], [2]].sum()",
            "refused: this always fails: sum() takes a list of numbers or durations",
        ),
        (
            "[9223372036854775807, 1].sum()",
            "refused: this always fails: the result of `add` is too large",
        ),
        (
            "[now, now - duration('1h')].min()",
            "Time(2026-01-05T11:00:00Z)",
        ),
        ("[false, true].max()", "Bool(true)"),
        (
            "[].max()",
            "refused: this always fails: max() of an empty list",
        ),
        (
            "[{}, {}].min()",
            "refused: this always fails: min() takes a list whose elements have an order",
        ),
        (
            "[1, 'a'].max()",
            "refused: this always fails: max() takes a list of one type",
        ),
        (
            "[].isSorted() && [1].isSorted() && [1, 1, 2].isSorted()",
            "Bool(true)",
        ),
        ("[2, 1, 3].isSorted()", "Bool(false)"),
        ("[[1], [2]].indexOf([2])", "Int(1)"),
        ("[1, 2, 1].lastIndexOf(1)", "Int(2)"),
        ("[].lastIndexOf(1)", "Int(-1)"),
    ]);
}

#[test]
fn formats_say_what_is_wrong() {
    let with = |format: &str, text: &str| {
        evaluated(&format!(
            "format.{format}().validate('{text}').orValue([]).join('; ')"
        ))
    };
    let long = "a".repeat(64);
    for (format, good, bad) in [
        ("dns1123Label", "web-1", "Web"),
        ("dns1123Label", "7", "-web"),
        ("dns1123Label", "a", ""),
        ("dns1123LabelPrefix", "web-", "-"),
        ("dns1123Subdomain", "a.b-c.d", "a..b"),
        ("dns1123SubdomainPrefix", "a.b-", "."),
        ("dns1035Label", "web-1", "1web"),
        ("dns1035LabelPrefix", "web-", "1a-"),
        ("qualifiedName", "a.b/C_d.e", "a.b/"),
        ("qualifiedName", "MyName", "/x"),
        ("labelValue", "", "a b"),
        ("uri", "https://example.com/a", "a"),
        (
            "uuid",
            "123E4567e89b12d3a456426614174000",
            "123e4567-e89b-12d3-a456-42661417400g",
        ),
        ("byte", "aGk=", "aGk"),
        ("date", "2026-01-05", "2026-1-5"),
        ("datetime", "2026-01-05t12:00:00Z", "2026-01-05 12:00:00Z"),
    ] {
        assert_eq!(with(format, good), "", "{format} {good}");
        assert_ne!(with(format, bad), "", "{format} {bad}");
    }
    insta::assert_snapshot!(with("dns1123Label", &long), @"must have at most 63 characters");
    insta::assert_snapshot!(with("dns1123Label", &format!("-{long}")), @"must be lower case letters, digits and '-', a letter or digit at both ends; must have at most 63 characters");
    insta::assert_snapshot!(with("qualifiedName", "A/-"), @"the prefix must be lower case letters, digits and '-', a letter or digit at both ends, such parts joined by '.'; the name must be letters, digits, '-', '_' and '.', a letter or digit at both ends");
    insta::assert_snapshot!(evaluated("format.named('uuid').value()"), @"uuid");
    insta::assert_snapshot!(evaluated("format.uuit()"), @"refused: unknown function `format.uuit` (did you mean `format.uuid`?)");
    assert_eq!(
        evaluated("type(format.date()) == type(format.uuid())"),
        "Bool(true)"
    );
}
