//! Expressions that are written to take the most time or memory, and what becomes of each.

use std::fmt::Write as _;

use drover_policy::language::{Datum, Fault};

/// One of them.
pub(crate) struct Hostile {
    /// What it tries.
    pub(crate) name: &'static str,
    pub(crate) source: String,
    /// What it must come to.
    pub(crate) end: End,
}

/// What a hostile expression comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It is refused before it is evaluated, with a message that says this.
    Refused(&'static str),
    /// Its evaluation runs out of its budget.
    Exhausted,
    /// Its evaluation fails, with a message that says this.
    Failed(&'static str),
    /// It has a value after all, because it only looks bad.
    Value,
}

impl End {
    /// Returns whether a result is this end.
    pub(crate) fn is(self, result: &Result<Datum, Fault>) -> bool {
        match (self, result) {
            (Self::Refused(wanted), Err(Fault::Refused { message, .. })) => {
                message.contains(wanted)
            }
            (Self::Failed(wanted), Err(Fault::Failed(why))) => why.contains(wanted),
            (Self::Exhausted, Err(Fault::Exhausted)) | (Self::Value, Ok(_)) => true,
            _ => false,
        }
    }
}

/// The values that the expressions may use: a long text, long lists, a map.
pub(crate) fn values() -> Vec<(String, Datum)> {
    let name = |name: &str| name.to_owned();
    let numbers = (0..10_000).map(Datum::Int).collect();
    let words = (0..2_000)
        .map(|number| Datum::Text(format!("word-{number}")))
        .collect();
    let entries =
        (0..1_000).map(|number| (Datum::Text(format!("key-{number}")), Datum::Int(number)));
    // Each of its beginnings looks different to a regular expression.
    let coins = (0..16_000_u64).map(|at| {
        if at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 0 {
            'a'
        } else {
            'b'
        }
    });
    vec![
        (name("coins"), Datum::Text(coins.collect())),
        (name("long"), Datum::Text("a".repeat(16_000))),
        (name("numbers"), Datum::List(numbers)),
        (name("words"), Datum::List(words)),
        (name("table"), Datum::Map(entries.collect())),
        (
            name("now"),
            Datum::Time("2026-01-05T12:00:00Z".parse().unwrap_or_default()),
        ),
    ]
}

/// Returns every hostile expression.
pub(crate) fn all() -> Vec<Hostile> {
    let tables = [LOOPS, GROWTH, TEXTS].into_iter().flatten();
    let fixed = tables.map(|(name, source, end)| hostile(name, *source, *end));
    let made = [chains(), nests(), doublings()];
    fixed.chain(made.into_iter().flatten()).collect()
}

fn hostile(name: &'static str, source: impl Into<String>, end: End) -> Hostile {
    Hostile {
        name,
        source: source.into(),
        end,
    }
}

const LONG: End = End::Refused("bytes long; at most 4096 are allowed");
const DEEP: End = End::Refused("deep");

/// Loops that take long.
const LOOPS: &[(&str, &str, End)] = &[
    (
        "four loops",
        "numbers.all(a, numbers.all(b, numbers.all(c, numbers.all(d, a == d))))",
        End::Refused("loops are nested more than 3 deep"),
    ),
    (
        "four loops with two variables",
        "table.all(a, e, table.all(b, f, table.all(c, g, table.all(d, h, e == h))))",
        End::Refused("loops are nested more than 3 deep"),
    ),
    (
        "three loops",
        "numbers.all(a, numbers.all(b, numbers.all(c, a + b + c >= 0)))",
        End::Exhausted,
    ),
    (
        "three loops with two variables",
        "table.all(a, e, table.all(b, f, table.all(c, g, e + f + g >= 0)))",
        End::Exhausted,
    ),
    (
        "a loop in a name in a loop",
        "numbers.all(a, cel.bind(l, numbers, l.all(b, a + b >= 0)))",
        End::Exhausted,
    ),
    (
        "a list copied for each element",
        "numbers.all(a, cel.bind(l, numbers, true != false))",
        End::Exhausted,
    ),
    (
        "pairs for each element",
        "numbers.all(a, numbers.exists(i, v, i == -1) != true)",
        End::Exhausted,
    ),
    (
        "lists compared",
        "numbers.all(a, numbers == numbers)",
        End::Exhausted,
    ),
    (
        "a set against itself",
        "sets.equivalent(numbers, numbers.reverse())",
        End::Exhausted,
    ),
    (
        "sets in a loop",
        "words.all(w, sets.contains(words, [w]))",
        End::Exhausted,
    ),
    (
        "sums in a loop",
        "numbers.all(n, numbers.sum() > n)",
        End::Exhausted,
    ),
    (
        "looking for an element in a loop",
        "words.all(w, words.indexOf('none') < 0 && words.lastIndexOf(w) >= 0)",
        End::Exhausted,
    ),
    (
        "sums of texts",
        "words.sum() == ''",
        End::Failed("numbers or durations"),
    ),
    ("distinct", "numbers.distinct().size() == 1", End::Exhausted),
    (
        "sorting in a loop",
        "numbers.all(n, numbers.sort().size() > n)",
        End::Exhausted,
    ),
    (
        "sorting by a key in a loop",
        "numbers.all(n, numbers.sortBy(m, -m).size() > n)",
        End::Exhausted,
    ),
    (
        "windows in a loop",
        "numbers.all(n, inWindow('0 0 29 2 MON', duration('1h'), 'UTC') || n >= 0)",
        End::Exhausted,
    ),
    (
        "maps of maps",
        "table.transformMap(a, x, table.transformMap(b, y, table.transformMap(c, z, x + y + z))).size() == 1",
        End::Exhausted,
    ),
];

/// Values that grow.
const GROWTH: &[(&str, &str, End)] = &[
    (
        "a billion numbers",
        "lists.range(1000000000).size() == 1",
        End::Exhausted,
    ),
    (
        "as many as there are",
        "lists.range(9223372036854775807).size() == 1",
        End::Exhausted,
    ),
    (
        "ranges in a loop",
        "numbers.map(n, lists.range(10000)).flatten().size() == 1",
        End::Exhausted,
    ),
    (
        "join",
        "numbers.map(n, long).join().size() == 1",
        End::Exhausted,
    ),
    (
        "join with a long text",
        "words.join(long).size() == 1",
        End::Failed("longer than 16384 bytes"),
    ),
    (
        "replace",
        "long.replace('a', long).size() == 1",
        End::Failed("longer than 16384 bytes"),
    ),
    (
        "replace nothing",
        "long.replace('', 'aaaaaaaaaaaaaaaa').size() == 1",
        End::Failed("longer than 16384 bytes"),
    ),
    (
        "format",
        "'%s%s%s%s'.format([long, long, long, long]).size() == 1",
        End::Failed("longer than 16384 bytes"),
    ),
    (
        "format a list",
        "'%s'.format([numbers]).size() == 1",
        End::Failed("longer than 16384 bytes"),
    ),
    ("digits", "'%.100f'.format([1.5]).size() == 102", End::Value),
    (
        "more digits",
        "'%.1000000f'.format([1.5]).size() == 1",
        End::Refused("precision"),
    ),
    (
        "base64",
        "base64.encode(bytes(long)).size() == 1",
        End::Failed("longer than 16384 bytes"),
    ),
    (
        "quotes",
        "strings.quote(long.replace('a', r'\"')).size() == 1",
        End::Failed("longer than 16384 bytes"),
    ),
    (
        "texts kept",
        "numbers.map(n, long + string(n)).size() == 1",
        End::Exhausted,
    ),
    (
        "long texts kept",
        "numbers.map(n, long.upperAscii()).size() == 1",
        End::Exhausted,
    ),
    (
        "characters",
        "numbers.map(n, long.split('')).size() == 1",
        End::Exhausted,
    ),
    (
        "a quantity without end",
        "quantity('1e999999999').sign() == 1",
        End::Refused("too large"),
    ),
];

/// Texts and regular expressions.
const TEXTS: &[(&str, &str, End)] = &[
    (
        "a needle that nearly fits",
        "numbers.all(n, long.indexOf(long.substring(8000) + 'b') == -1)",
        End::Exhausted,
    ),
    (
        "the same backwards",
        "numbers.all(n, long.lastIndexOf('b' + long.substring(8000)) == -1)",
        End::Exhausted,
    ),
    (
        "contains",
        "numbers.all(n, !long.contains(long.substring(8000) + 'b'))",
        End::Exhausted,
    ),
    (
        "sizes",
        "numbers.all(n, numbers.all(m, size(long) == 16000))",
        End::Exhausted,
    ),
    (
        "a nested repetition",
        "!long.matches('^(a+)+$b')",
        End::Value,
    ),
    (
        "a repetition of repetitions",
        "long.matches('((a{1000}){1000}){1000}')",
        End::Refused("too large once compiled"),
    ),
    (
        "a large pattern",
        "numbers.all(n, !long.matches('(a?){200}b$'))",
        End::Exhausted,
    ),
    (
        "all letters many times",
        r"numbers.all(n, !long.matches('\\pL{2}b$'))",
        End::Exhausted,
    ),
    (
        "a large pattern some times",
        "lists.range(100).all(n, !long.matches('(a?){200}b$'))",
        End::Exhausted,
    ),
    (
        "a pattern with many states",
        "numbers.all(n, !coins.matches('[ab]*a[ab]{400}c'))",
        End::Exhausted,
    ),
    (
        "a pattern with many states and letters",
        r"numbers.all(n, !coins.matches(r'\w*a[ab]{200}c'))",
        End::Exhausted,
    ),
    (
        "a pattern with many states, short texts",
        "numbers.all(n, !coins.substring(n, n + 60).matches('[ab]*a[ab]{40}c'))",
        End::Exhausted,
    ),
    (
        "words of many instances",
        r"numbers.all(n, 'web-12'.matches(r'^\w+-\w+$'))",
        End::Value,
    ),
    (
        "a small pattern some times",
        "lists.range(100).all(n, !long.matches('b$'))",
        End::Value,
    ),
    (
        "a pattern that is made",
        "numbers.all(n, !long.matches(string(n) + '[b-z]$'))",
        End::Exhausted,
    ),
    (
        "every match looks to the end",
        "long.findAll('a.*b|a').size() == 16000",
        End::Exhausted,
    ),
    (
        "matches of nothing",
        "numbers.all(n, long.findAll('').size() > 0)",
        End::Exhausted,
    ),
    (
        "replace in a loop",
        "numbers.all(n, long.replace('b', 'c') == long)",
        End::Exhausted,
    ),
];

/// Sources that are long.
fn chains() -> Vec<Hostile> {
    let many = 10_000;
    vec![
        hostile(
            "10,000 additions",
            "1".to_owned() + &"+1".repeat(many),
            LONG,
        ),
        hostile(
            "2,000 additions",
            "1".to_owned() + &"+1".repeat(2_000),
            DEEP,
        ),
        hostile("10,000 fields", "now".to_owned() + &".a".repeat(many), LONG),
        hostile("2,000 fields", "now".to_owned() + &".a".repeat(2_000), DEEP),
        hostile(
            "2,000 optional fields",
            "table".to_owned() + &".?a".repeat(1_300),
            DEEP,
        ),
        hostile(
            "10,000 indices",
            "[1]".to_owned() + &"[0]".repeat(many),
            LONG,
        ),
        hostile(
            "1,300 indices",
            "[1]".to_owned() + &"[0]".repeat(1_300),
            DEEP,
        ),
        hostile(
            "10,000 conditions",
            "true".to_owned() + &" && true".repeat(many),
            LONG,
        ),
        hostile("2,000 open brackets", "(".repeat(2_000), DEEP),
        hostile("2,000 open maps", "{".repeat(2_000), DEEP),
        hostile("4,000 negations", "!".repeat(4_000) + "true", End::Value),
        hostile("4,000 quotes", "'".repeat(4_000), End::Refused("")),
        hostile("4,000 backticks", "`".repeat(4_000), End::Refused("")),
        hostile(
            "1,500 elements",
            format!("[{}1].size() == 1", "1,".repeat(1_500)),
            End::Refused("at most 256 are allowed"),
        ),
        hostile(
            "a text of 4,000 bytes",
            format!("'{}' == long", "x".repeat(4_000)),
            End::Refused("at most 1024 are allowed"),
        ),
    ]
}

/// Sources that are deep, or very long.
fn nests() -> Vec<Hostile> {
    let many = 10_000;
    let around = |open: &str, inside: &str, close: &str, times: usize| {
        open.repeat(times) + inside + &close.repeat(times)
    };
    vec![
        hostile("10,000 brackets", around("(", "1", ")", many), LONG),
        hostile("2,000 brackets", around("(", "1", ")", 2_000), DEEP),
        hostile("2,000 lists", around("[", "", "]", 2_000), DEEP),
        hostile(
            "580 conversions",
            around("string(", "1", ")", 580),
            End::Refused(""),
        ),
        hostile("250 names", around("cel.bind(a, 1, ", "a", ")", 250), DEEP),
        hostile("4 MiB of additions", "1 + ".repeat(1024 * 1024), LONG),
        hostile("4 MiB of one name", "a".repeat(4 * 1024 * 1024), LONG),
        hostile("4 MiB of brackets", "(".repeat(4 * 1024 * 1024), LONG),
    ]
}

/// Values that are doubled again and again, and literals that are too long.
fn doublings() -> Vec<Hostile> {
    let doubled = |times: usize, start: &str| {
        let names = "abcdefghijklmnopqrstuvwxyz";
        let mut source = format!("cel.bind(a, {start}, ");
        for pair in names.as_bytes().windows(2).take(times) {
            let (before, after) = (char::from(pair[0]), char::from(pair[1]));
            let _ = write!(source, "cel.bind({after}, {before} + {before}, ");
        }
        let last = char::from(names.as_bytes()[times]);
        format!("{source}size({last}){} > 0", ")".repeat(times + 1))
    };
    let mapped = |times: usize, each: &str| format!("[[1]]{}.size() == 1", each.repeat(times));
    let sums = (0..40).fold(String::new(), |mut sums, at| {
        let _ = write!(sums, ", cel.index({at}) + cel.index({at})");
        sums
    });
    vec![
        hostile(
            "a text doubled",
            doubled(25, "'xxxxxxxx'"),
            End::Failed("longer than 16384 bytes"),
        ),
        hostile(
            "a list doubled",
            doubled(25, "[1, 2, 3, 4]"),
            End::Exhausted,
        ),
        hostile(
            "a list doubled by a loop",
            mapped(40, ".map(x, x + x)"),
            End::Exhausted,
        ),
        hostile(
            "lists in lists",
            mapped(40, ".map(x, [x, x])"),
            End::Exhausted,
        ),
        hostile(
            "maps in maps",
            mapped(40, ".map(x, {1: x, 2: x})"),
            End::Exhausted,
        ),
        hostile(
            "optionals in lists",
            mapped(40, ".map(x, [optional.of(x), optional.of(x)])"),
            End::Exhausted,
        ),
        hostile(
            "a block doubled",
            format!("cel.block([[1, 2]{sums}], size(cel.index(40))) > 0"),
            End::Exhausted,
        ),
        hostile(
            "a quantity with many digits",
            format!("quantity('{}').sign() == 1", "9".repeat(1_000)),
            End::Refused("too large"),
        ),
        hostile(
            "a long version",
            format!("isSemver('1.0.0-{}')", "a.".repeat(500)),
            End::Value,
        ),
        hostile(
            "the longest pattern",
            format!("!'b'.matches('{}')", "(a?)".repeat(250)),
            End::Value,
        ),
    ]
}
