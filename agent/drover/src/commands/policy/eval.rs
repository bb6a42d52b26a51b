//! `drover policy eval`: one expression.

use std::fs;
use std::path::Path;

use drover_model::{SourceText, Value};
use drover_policy::language::Datum;
use drover_policy::{EvalError, Evaluated, Given, PolicyMistake};
use drover_spec::Diagnostic;
use serde_json::Value as Json;

use super::live::Fleet;
use crate::cli::{PolicyEvalArgs, ValueOutput};
use crate::commands::validate::from_path;
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::output;
use crate::ui::Ui;

/// Runs the command.
pub(super) fn run(args: &PolicyEvalArgs, ui: Ui) -> CommandResult {
    let source = SourceText::inline(&args.expression);
    let documents = args.documents.as_deref().map(from_path).transpose()?;
    let definitions = documents.as_ref().map(Documents::definitions);
    let definitions = definitions.unwrap_or_default();
    let result = if let Some(file) = &args.given.file {
        let values = read_values(file, ui)?;
        let given = Given::Values(&values);
        drover_policy::evaluate(&source, args.point, given, &definitions)
    } else {
        let fleet = Fleet::read(&args.given.source)?;
        let name = fleet.name(args.given.group.as_ref())?;
        let live = fleet.group(&name, documents.as_ref())?;
        ui.message(&live.note());
        let question = live.question(&args.given, args.point)?;
        let given = Given::Facts(live.facts(), question);
        drover_policy::evaluate(&source, args.point, given, &definitions)
    };
    let found = result.map_err(|error| failure(error, &args.expression, ui))?;
    ui.result(&render(&found, args.output)?)?;
    Ok(Exit::Done)
}

/// Reads the variables of a file, and tells its mistakes with carets.
pub(super) fn read_values(file: &Path, ui: Ui) -> CommandResult<Value> {
    let shown = file.display().to_string();
    let text = fs::read_to_string(file).context(format!("cannot read {shown}"))?;
    drover_spec::parse_value(&shown, &text).map_err(|mistakes| {
        let source = |_: &str| Some(text.clone());
        ui.message(&drover_spec::render(&mistakes, &source, ui.err_color()));
        CommandError::new(format!("{shown} cannot be read"))
    })
}

fn failure(error: EvalError, expression: &str, ui: Ui) -> CommandError {
    match error {
        EvalError::Given(why) => CommandError::new(why)
            .hint("--point says which variables there are; `drover policy test` has the same form"),
        EvalError::Failed(why) => CommandError::new(format!("cannot be evaluated: {why}")),
        EvalError::Refused(mistakes) => {
            let diagnostic = |mistake: PolicyMistake| {
                let mut diagnostic = Diagnostic::error("policy", mistake.message, mistake.span);
                diagnostic.hint = mistake.hint;
                diagnostic
            };
            let mistakes: Vec<Diagnostic> = mistakes.into_iter().map(diagnostic).collect();
            let source = |_: &str| Some(expression.to_owned());
            ui.message(&drover_spec::render(&mistakes, &source, ui.err_color()));
            CommandError::new("the expression is not valid")
        }
    }
}

fn render(found: &Evaluated, output: ValueOutput) -> CommandResult<String> {
    let value = json(&found.value);
    match output {
        ValueOutput::Json => output::json(&value),
        ValueOutput::Yaml => output::yaml(&value),
        ValueOutput::Text => match value {
            Json::String(text) => Ok(text),
            Json::Array(_) | Json::Object(_) => output::yaml(&value),
            scalar => Ok(scalar.to_string()),
        },
    }
}

/// Returns a value as JSON: what has no form there, such as a duration, as people read it.
fn json(value: &Datum) -> Json {
    match value {
        Datum::Null | Datum::Optional(None) => Json::Null,
        Datum::Bool(value) => Json::from(*value),
        Datum::Int(value) => Json::from(*value),
        Datum::Uint(value) => Json::from(*value),
        // JSON has no infinity, and no way to say that something is no number.
        Datum::Double(value) if !value.is_finite() => Json::from(value.to_string()),
        Datum::Double(value) => Json::from(*value),
        Datum::Text(text) | Datum::Other(text) | Datum::Type(text) => Json::from(text.as_str()),
        Datum::Bytes(bytes) => Json::from(bytes.clone()),
        Datum::Time(time) => Json::from(time.to_string()),
        Datum::Optional(Some(held)) => json(held),
        Datum::List(elements) => elements.iter().map(json).collect(),
        Datum::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key_text(key), json(value)))
            .collect(),
    }
}

fn key_text(key: &Datum) -> String {
    match json(key) {
        Json::String(text) => text,
        other => other.to_string(),
    }
}
