//! Expressions made out of ours by plain mutation. The same seed and number give the same one.

#[path = "../../../../agent/drover-loop/examples/fuzz/dice.rs"]
mod dice;

use drover_policy::LIBRARY;
use drover_policy::language::Datum;

use self::dice::Dice;

/// The page of the language, whose examples are a part of the corpus.
const PAGE: &str = include_str!("../../../../docs/reference/cel.md");

/// What is put into expressions.
const PIECES: [&str; 72] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    ",",
    "?",
    ":",
    "'",
    "\"",
    "`",
    "\\",
    "%",
    "!",
    "-",
    "+",
    "*",
    "/",
    "==",
    "!=",
    "<",
    ">=",
    " in ",
    " && ",
    " || ",
    "?.",
    "[?",
    "true",
    "false",
    "null",
    "0",
    "1",
    "-1",
    "9223372036854775807",
    "18446744073709551615u",
    "1e308",
    "0.0",
    "''",
    "b''",
    "r'",
    "'''",
    "numbers",
    "text",
    "table",
    "now",
    "dyn(",
    "type(",
    "size(",
    "string(",
    ".map(x, ",
    ".all(k, v, ",
    ".exists(x, ",
    ".filter(x, ",
    ".transformMap(k, v, ",
    ".transformMapEntry(k, v, ",
    "cel.bind(x, ",
    "cel.block([",
    "cel.index(0)",
    ".optMap(x, ",
    ".orValue(",
    "optional.none()",
    ".sortBy(x, ",
    ".format([",
    ".findAll('",
    "sets.contains(",
    "quantity('",
    "semver('",
    "cidr('",
    "inWindow('",
    "duration('",
];

/// What joins two expressions.
const JOINTS: [&str; 10] = [
    " && ",
    " || ",
    " == ",
    " != ",
    " in ",
    " + ",
    " ? true : ",
    ".map(x, ",
    "[",
    ".orValue(",
];

/// What stands in place of names and values.
const ATOMS: [&str; 40] = [
    "numbers",
    "text",
    "table",
    "now",
    "x",
    "k",
    "v",
    "0",
    "1",
    "2",
    "1.5",
    "3u",
    "true",
    "null",
    "[]",
    "{}",
    "'a'",
    "''",
    "b'x'",
    "int",
    "9223372036854775807",
    "ip('10.0.0.7')",
    "cidr('10.0.0.0/8')",
    "semver('1.2.3')",
    "quantity('1Gi')",
    "duration('1h')",
    "optional.of(1)",
    "all",
    "exists",
    "map",
    "filter",
    "transformMap",
    "size",
    "matches",
    "contains",
    "replace",
    "getHours",
    "flatten",
    "distinct",
    "sort",
];

impl Dice {
    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let at = self.below(all.len());
        &all[at]
    }
}

/// What is mutated: the examples of the page and the expressions of the policies that come with drover.
pub(crate) fn corpus() -> Vec<String> {
    let examples = PAGE
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.trim_matches('|').rsplit('|').next())
        .map(|cell| cell.trim().trim_matches('`').to_owned());
    let policies = LIBRARY.iter().flat_map(|(_, text)| {
        text.lines().filter_map(|line| {
            let (_, expression) = line
                .split_once("expression: ")
                .or_else(|| line.split_once("value: "))?;
            Some(expression.trim_matches(['\'', '"', '}', ' ']).to_owned())
        })
    });
    examples.chain(policies).collect()
}

/// Returns expression `number` of the walk with `seed`.
pub(crate) fn mutated(corpus: &[String], seed: u64, number: u64) -> String {
    let mut dice = Dice::of(seed, number);
    let mut source: Vec<char> = dice.one_of(corpus).chars().collect();
    for _ in 0..=dice.below(3) {
        mutate(&mut source, corpus, &mut dice);
    }
    source.into_iter().collect()
}

fn mutate(source: &mut Vec<char>, corpus: &[String], dice: &mut Dice) {
    let at = dice.below(source.len() + 1);
    let end = (at + dice.below(12)).min(source.len());
    match dice.below(14) {
        0 => {
            source.drain(at..end);
        }
        1 => {
            let again: Vec<char> = source[at..end].to_vec();
            source.splice(at..at, again);
        }
        2 | 3 => {
            let piece: Vec<char> = dice.one_of(&PIECES).chars().collect();
            source.splice(at..at, piece);
        }
        4 => {
            let piece: Vec<char> = dice.one_of(&PIECES).chars().collect();
            source.splice(at..end, piece);
        }
        5 => {
            // The end of another expression.
            let other: Vec<char> = dice.one_of(corpus).chars().collect();
            let from = dice.below(other.len() + 1);
            source.truncate(at);
            source.extend(&other[from..]);
        }
        6 => {
            // Another expression in place of a part.
            let other: Vec<char> = dice.one_of(corpus).chars().collect();
            source.splice(at..end, other);
        }
        7..=10 => swap_atom(source, at, dice),
        11 | 12 => {
            // Two expressions joined.
            let joint: Vec<char> = dice.one_of(&JOINTS).chars().collect();
            let other = dice.one_of(corpus);
            source.splice(0..0, ['(']);
            source.push(')');
            source.extend(joint);
            source.extend(format!("({other})").chars());
        }
        _ => {
            let character = char::from_u32(dice.below(0x250) as u32).unwrap_or('?');
            if let Some(replaced) = source.get_mut(at) {
                *replaced = character;
            }
        }
    }
}

/// Replaces the name, number or word at a place by another.
fn swap_atom(source: &mut Vec<char>, at: usize, dice: &mut Dice) {
    let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let Some(start) = (at..source.len()).find(|at| is_part(&source[*at])) else {
        return;
    };
    let end = (start..source.len())
        .find(|at| !is_part(&source[*at]))
        .unwrap_or(source.len());
    let other: Vec<char> = dice.one_of(&ATOMS).chars().collect();
    source.splice(start..end, other);
}

/// The values that the expressions may use.
pub(crate) fn values() -> Vec<(String, Datum)> {
    let name = |name: &str| name.to_owned();
    let entries = (0..10).map(|number| (Datum::Text(format!("key-{number}")), Datum::Int(number)));
    vec![
        (name("text"), Datum::Text("web-1 ".repeat(40))),
        (
            name("numbers"),
            Datum::List((0..100).map(Datum::Int).collect()),
        ),
        (name("table"), Datum::Map(entries.collect())),
        (
            name("now"),
            Datum::Time("2026-01-05T12:00:00Z".parse().unwrap_or_default()),
        ),
    ]
}
