//! Evaluation errors in words.

use cel::ExecutionError;

use crate::limits::ERROR_CHARS_MAX;
use crate::value::shorten;

/// What the key of an error begins with that says all by itself.
const WHOLE: char = '\u{1}';

/// Returns the error of a value that is missing for a reason of its own. Like any missing key, it is what
/// `has()` and `.?` ask for.
pub(crate) fn missing(message: &str) -> ExecutionError {
    ExecutionError::no_such_key(&format!("{WHOLE}{message}"))
}

/// Returns an evaluation error for people. Values are left out: they may be large, and the order
/// in which the evaluator prints its maps differs from run to run.
pub(crate) fn explain(error: &ExecutionError) -> String {
    let text = match error {
        ExecutionError::NoSuchKey(key) if key.starts_with(WHOLE) => key[1..].to_owned(),
        ExecutionError::NoSuchKey(key) => {
            format!("there is no `{key}`; `has(..)` or `in` tell before it is read")
        }
        ExecutionError::NoSuchOverload(overload) => {
            let types: Vec<&str> = overload
                .argument_types()
                .iter()
                .map(|name| type_name(name))
                .collect();
            format!(
                "`{}` does not take {}",
                operator_name(overload.function()),
                types.join(" and ")
            )
        }
        ExecutionError::UndeclaredReference(name) => format!("`{name}` has no value here"),
        ExecutionError::FunctionError { function, message }
            if matches!(function.as_str(), "budget" | "@") =>
        {
            message.clone()
        }
        ExecutionError::FunctionError { function, .. } if function == "duration" => {
            "this is not a duration such as 90s or 1h30m".to_owned()
        }
        ExecutionError::FunctionError { function, .. } if function == "timestamp" => {
            "this is not a time such as 2026-01-05T12:00:00Z".to_owned()
        }
        ExecutionError::FunctionError { function, message } => format!("{function}: {message}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "remainder of a division by zero".to_owned(),
        ExecutionError::Overflow(operator, ..) => {
            format!("the result of `{operator}` is too large")
        }
        ExecutionError::IndexOutOfBounds(_) => "the list has no such element".to_owned(),
        ExecutionError::DuplicateKey(_) => "a key stands twice in a map".to_owned(),
        ExecutionError::UnexpectedType { got, want } => {
            format!("{want} is wanted, this is {}", type_name(got))
        }
        ExecutionError::UnsupportedBinaryOperator(operator, ..) => {
            format!("`{operator}` does not take these two")
        }
        ExecutionError::ValuesNotComparable(..) => "these two have no order".to_owned(),
        ExecutionError::UnsupportedKeyType(_) => "this cannot be a key of a map".to_owned(),
        other => other.to_string(),
    };
    shorten(&text, ERROR_CHARS_MAX)
}

fn type_name(name: &str) -> &str {
    match name {
        "google.protobuf.Timestamp" => "timestamp",
        "google.protobuf.Duration" => "duration",
        "null_type" => "null",
        "optional_type" => "optional",
        other => crate::functions::opaque_type_name(other).unwrap_or(other),
    }
}

fn operator_name(name: &str) -> &str {
    match name {
        "@in" => "in",
        "_._" => ".",
        "_[_]" => "[]",
        other => other.trim_matches('_'),
    }
}
