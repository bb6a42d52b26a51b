//! Runs the public test files of the CEL specification through drover's own expressions.
//!
//! ```text
//! cargo run -p drover-policy --example conformance -- DIR [--failing]
//! ```
//!
//! DIR holds the `*.textproto` files of `tests/simple/testdata` of the specification. Tests that need
//! protobuf messages are left out and counted. Every other test is evaluated with the check that
//! policies go through; what that refuses is evaluated again without it, and counted.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program, which reads files and prints a report"
)]

mod textproto;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use drover_policy::language::{Checking, Datum, Fault, Surroundings, evaluate};
use textproto::{Item, Message};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(directory) = arguments.iter().find(|argument| !argument.starts_with('-')) else {
        eprintln!("usage: conformance DIR [--failing]");
        return ExitCode::from(2);
    };
    match run(Path::new(directory)) {
        Ok(report) => {
            report.print(arguments.iter().any(|argument| argument == "--failing"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What a file's tests came to.
#[derive(Default)]
struct Tally {
    passed: usize,
    /// Of those that passed, how many the check refuses.
    unchecked: usize,
    failed: usize,
    protobuf: usize,
}

#[derive(Default)]
struct Report {
    files: BTreeMap<String, Tally>,
    /// File, name, expression and reason of what failed.
    failures: Vec<[String; 4]>,
    /// The same of what passed once it was not checked.
    unchecked: Vec<[String; 4]>,
}

fn run(directory: &Path) -> Result<Report, String> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "textproto")
        {
            files.push(path);
        }
    }
    files.sort();
    let mut report = Report::default();
    for path in files {
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let message =
            textproto::parse(&text).map_err(|why| format!("{}: {why}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        report.file(&name, &message);
    }
    Ok(report)
}

impl Report {
    fn file(&mut self, file: &str, message: &Message) {
        let tally = self.files.entry(file.to_owned()).or_default();
        for section in message.messages("section") {
            for test in section.messages("test") {
                if needs_protobuf(test) {
                    tally.protobuf += 1;
                    continue;
                }
                let line = |why: String| {
                    let expression = test.text("expr").replace('\n', "\\n");
                    [file.to_owned(), test.text("name"), expression, why]
                };
                match judge(test) {
                    Judgement::Passed => tally.passed += 1,
                    Judgement::Unchecked(why) => {
                        tally.passed += 1;
                        tally.unchecked += 1;
                        self.unchecked.push(line(why));
                    }
                    Judgement::Failed(why) => {
                        tally.failed += 1;
                        self.failures.push(line(why));
                    }
                }
            }
        }
    }

    fn print(&self, failing_only: bool) {
        let mut all = Tally::default();
        if !failing_only {
            println!("| file | passed | of | with the check off | need protobuf |");
            println!("| --- | --- | --- | --- | --- |");
        }
        for (file, tally) in &self.files {
            let Tally {
                passed,
                unchecked,
                failed,
                protobuf,
            } = tally;
            if !failing_only {
                println!(
                    "| {file} | {passed} | {} | {unchecked} | {protobuf} |",
                    passed + failed
                );
            }
            all.passed += passed;
            all.unchecked += unchecked;
            all.failed += failed;
            all.protobuf += protobuf;
        }
        let Tally {
            passed,
            unchecked,
            failed,
            protobuf,
        } = all;
        if !failing_only {
            println!(
                "| **all** | {passed} | {} | {unchecked} | {protobuf} |\n",
                passed + failed
            );
        }
        for [file, name, expression, why] in &self.failures {
            println!("FAILED {file}/{name}: {expression}\n    {why}");
        }
        if !failing_only {
            for [file, name, expression, why] in &self.unchecked {
                println!("CHECK OFF {file}/{name}: {expression}\n    {why}");
            }
        }
    }
}

/// Returns whether a test is about protobuf messages, which drover does not have.
fn needs_protobuf(test: &Message) -> bool {
    let messages = |text: &str| {
        let literal = text.match_indices("google.protobuf.").any(|(at, name)| {
            let rest = &text[at + name.len()..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
            end.is_some_and(|end| rest[end..].starts_with('{'))
        });
        literal
            || ["TestAllTypes", "cel.expr.conformance", "proto2.", "proto3."]
                .iter()
                .any(|name| text.contains(name))
            || matches!(text, "object_value" | "enum_value" | "message_type")
    };
    test.mentions(&messages) || test.text("container").starts_with("google.protobuf")
}

enum Judgement {
    Passed,
    /// It passed without the check, which said this.
    Unchecked(String),
    Failed(String),
}

fn judge(test: &Message) -> Judgement {
    let source = test.text("expr");
    let container = test.text("container");
    let mut values = Vec::new();
    for binding in test.messages("bindings") {
        let value = binding.messages("value").next();
        let value = value
            .and_then(|value| value.messages("value").next())
            .and_then(datum);
        if let Some(value) = value {
            values.push((binding.text("key"), value));
        }
    }
    let with = |checking| {
        let surroundings = Surroundings {
            container: &container,
            values: &values,
            checking,
        };
        evaluate(&source, surroundings)
    };
    let checked = with(Checking::Strict);
    let refused = match &checked {
        Err(fault @ Fault::Refused { .. }) => Some(fault.to_string()),
        _ => None,
    };
    match (compare(test, &checked), refused) {
        // An error that is expected must be one of the evaluation, too: the check may have found
        // another reason to refuse.
        (Ok(()), Some(_)) => match compare(test, &with(Checking::None)) {
            Ok(()) => Judgement::Passed,
            Err(why) => Judgement::Failed(why),
        },
        (Ok(()), None) => Judgement::Passed,
        (Err(why), None) => Judgement::Failed(why),
        (Err(_), Some(refused)) => match compare(test, &with(Checking::None)) {
            Ok(()) => Judgement::Unchecked(refused),
            Err(why) => Judgement::Failed(why),
        },
    }
}

/// Compares a result with what a test expects.
fn compare(test: &Message, result: &Result<Datum, Fault>) -> Result<(), String> {
    let shown = || match result {
        Ok(value) => format!("{value:?}"),
        Err(fault) => fault.to_string(),
    };
    if test.get("eval_error").is_some() || test.get("any_eval_errors").is_some() {
        return match result {
            Ok(_) => Err(format!("an error is expected, not {}", shown())),
            Err(Fault::Panicked(_)) => Err(shown()),
            Err(_) => Ok(()),
        };
    }
    let typed = test.messages("typed_result").next();
    let expected = match (test.messages("value").next(), typed) {
        (Some(value), _) => datum(value),
        (None, Some(typed)) => match typed.messages("result").next() {
            Some(result) => datum(result),
            // Only a type is expected, and that it can be read at all.
            None => {
                return match result {
                    Err(Fault::Refused { message, .. }) if test.flag("check_only") => {
                        let unknown = message.starts_with("unknown function");
                        if unknown { Ok(()) } else { Err(shown()) }
                    }
                    Err(Fault::Panicked(_)) => Err(shown()),
                    _ => Ok(()),
                };
            }
        },
        (None, None) => Some(Datum::Bool(true)),
    };
    let Some(expected) = expected else {
        return Err("the expected value cannot be read".to_owned());
    };
    match result {
        Ok(value) if same(value, &expected) => Ok(()),
        _ => Err(format!("expected {expected:?}, not {}", shown())),
    }
}

fn same(left: &Datum, right: &Datum) -> bool {
    match (left, right) {
        (Datum::Double(left), Datum::Double(right)) => {
            left.partial_cmp(right)
                .is_some_and(std::cmp::Ordering::is_eq)
                || (left.is_nan() && right.is_nan())
        }
        (Datum::List(left), Datum::List(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| same(left, right))
        }
        (Datum::Map(left), Datum::Map(right)) => {
            let held = |key: &Datum| right.iter().find(|(known, _)| same(known, key));
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| held(key).is_some_and(|(_, other)| same(value, other)))
        }
        (left, right) => left == right,
    }
}

/// Reads a value.
fn datum(value: &Message) -> Option<Datum> {
    let (kind, item) = value.fields.first()?;
    let text = value.text(kind);
    Some(match (kind.as_str(), item) {
        ("null_value", _) => Datum::Null,
        ("bool_value", _) => Datum::Bool(text == "true"),
        ("int64_value", _) => Datum::Int(integer(&text)?),
        ("uint64_value", _) => Datum::Uint(integer(&text)?),
        ("double_value", _) => Datum::Double(double(&text)?),
        ("string_value", _) => Datum::Text(text),
        ("bytes_value", Item::Quoted(bytes)) => Datum::Bytes(bytes.clone()),
        ("type_value", _) => Datum::Type(text),
        ("list_value", Item::Message(list)) => {
            Datum::List(list.messages("values").map(datum).collect::<Option<_>>()?)
        }
        ("map_value", Item::Message(map)) => {
            let entry = |entry: &Message| {
                let key = entry.messages("key").next().and_then(datum)?;
                let value = entry.messages("value").next().and_then(datum)?;
                Some((key, value))
            };
            Datum::Map(map.messages("entries").map(entry).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn integer<T: TryFrom<i128>>(text: &str) -> Option<T> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let number = match digits.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    T::try_from(if negative { -number } else { number }).ok()
}

fn double(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        "nan" => Some(f64::NAN),
        number => number.parse().ok(),
    }
}
