//! `drover policy explain`: a decision with the value of every part of the policy's expressions.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use drover_model::{BindingName, counted};
use drover_policy::{ExplainedExpression, ExplainedPart, Explanation, Given, PolicySet, Question};
use serde::Serialize;

use super::eval::read_values;
use super::live::Fleet;
use crate::cli::{PolicyExplainArgs, ValueOutput};
use crate::commands::validate::from_path;
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult};
use crate::exit::Exit;
use crate::output;
use crate::printable::printable;
use crate::ui::{Style, Ui};
use crate::view::List;

/// Longest text of a part that is shown in full, in characters.
const TEXT_CHARS_MAX: usize = 60;

/// A decision, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    policy: String,
    binding: Option<String>,
    point: &'static str,
    result: String,
    message: String,
    asked: BTreeMap<&'static str, String>,
    params: BTreeMap<String, String>,
    steps: u64,
    expressions: Vec<ExpressionView>,
}

/// An expression of a policy, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExpressionView {
    title: String,
    message: Option<String>,
    file: String,
    error: Option<String>,
    #[serde(flatten)]
    whole: PartView,
}

/// A part of an expression, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PartView {
    text: String,
    line: u32,
    column: u32,
    evaluated: u64,
    failed: u64,
    values: Vec<ValueView>,
    parts: Vec<PartView>,
}

/// A value that a part had.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ValueView {
    value: String,
    times: u64,
}

/// Runs the command.
pub(super) fn run(args: &PolicyExplainArgs, ui: Ui) -> CommandResult {
    let views = match &args.given.file {
        Some(file) => {
            let values = read_values(file, ui)?;
            let path = args.documents.as_deref().unwrap_or(".".as_ref());
            let (set, _) = from_path(path)?.compile_policies_traced();
            let found = set.explain(&args.policy, None, Given::Values(&values));
            vec![(found.map_err(CommandError::new)?, BTreeMap::new())]
        }
        None => live(args, ui)?,
    };
    let text = match args.output {
        ValueOutput::Json => output::json(&list(&views))?,
        ValueOutput::Yaml => output::yaml(&list(&views))?,
        ValueOutput::Text => {
            let views = views.iter();
            let texts = views.map(|(found, asked)| render(found, asked, ui.out_color()));
            texts.collect::<Vec<_>>().join("\n")
        }
    };
    ui.result(&text)?;
    Ok(Exit::Done)
}

type Asked = BTreeMap<&'static str, String>;

/// Explains the policy under each binding that puts it on the group, or by itself.
fn live(args: &PolicyExplainArgs, ui: Ui) -> CommandResult<Vec<(Explanation, Asked)>> {
    let fleet = Fleet::read(&args.given.source)?;
    let documents = match &args.documents {
        Some(path) => from_path(path)?,
        None => Documents::from_recorded(fleet.snapshot.fleet.as_ref()),
    };
    let (set, _) = documents.compile_policies_traced();
    let name = fleet.name(args.given.group.as_ref())?;
    let live = fleet.group(&name, Some(&documents))?;
    ui.message(&live.note());
    let facts = live.facts();
    let point = set.point(&args.policy);
    let question = live.question(&args.given, point)?;
    let bindings = set.bindings_of(&args.policy, &facts.group.labels);
    if bindings.is_empty() {
        ui.message("note: no binding puts the policy on the group: these are its own defaults");
    }
    let bindings: Vec<Option<&BindingName>> = match bindings.as_slice() {
        [] => vec![None],
        bindings => bindings.iter().map(Some).collect(),
    };
    let asked = asked(&set, args, &question);
    let mut all = Vec::new();
    for binding in bindings {
        let found = set.explain(&args.policy, binding, Given::Facts(facts, question));
        let found = found.map_err(|why| {
            CommandError::new(why).hint("`drover get policies` lists those in force")
        })?;
        all.push((found, asked.clone()));
    }
    Ok(all)
}

/// Returns what the decision point is asked, in words.
fn asked(set: &PolicySet, args: &PolicyExplainArgs, question: &Question<'_>) -> Asked {
    let reads = |name: &str| set.reads(&args.policy, name);
    let mut asked = BTreeMap::new();
    if let Some(reason) = question.reason.filter(|_| reads("reason")) {
        asked.insert("reason", reason.as_str().to_owned());
    }
    if let Some(instance) = question.instance.filter(|_| reads("instance")) {
        asked.insert("instance", instance.to_string());
    }
    if let Some(zone) = question.zone.filter(|_| reads("zone")) {
        asked.insert("zone", zone.to_owned());
    }
    asked
}

fn list(views: &[(Explanation, Asked)]) -> List<View> {
    let view = |(found, asked): &(Explanation, Asked)| View {
        policy: found.policy.to_string(),
        binding: found.binding.as_ref().map(ToString::to_string),
        point: found.point.as_str(),
        result: found.result.clone(),
        message: found.message.clone(),
        asked: asked.clone(),
        params: found.params.clone(),
        steps: found.steps,
        expressions: found.expressions.iter().map(expression_view).collect(),
    };
    List::new("PolicyExplanationList", views.iter().map(view).collect())
}

fn expression_view(expression: &ExplainedExpression) -> ExpressionView {
    ExpressionView {
        title: expression.title.clone(),
        message: expression.message.clone(),
        file: expression.span.file.to_string(),
        error: expression.error.clone(),
        whole: part_view(&expression.text, &expression.whole),
    }
}

fn part_view(text: &str, part: &ExplainedPart) -> PartView {
    let values = part.values.iter();
    let parts = part.parts.iter();
    PartView {
        text: text_of(text, part).to_owned(),
        line: part.span.line,
        column: part.span.column,
        evaluated: part.evaluated,
        failed: part.failed,
        values: values
            .map(|(value, times)| ValueView {
                value: value.clone(),
                times: *times,
            })
            .collect(),
        parts: parts.map(|part| part_view(text, part)).collect(),
    }
}

fn text_of<'t>(text: &'t str, part: &ExplainedPart) -> &'t str {
    text.get(part.range.0..part.range.1).unwrap_or_default()
}

fn render(found: &Explanation, asked: &Asked, color: bool) -> String {
    let mut text = format!("policy {} ({})", found.policy, found.point.as_str());
    if let Some(binding) = &found.binding {
        // Writing to a string cannot fail.
        let _ = write!(text, ", bound by {binding}");
    }
    let style = match found.result.as_str() {
        "true" => Style::Green,
        "false" | "error" => Style::Red,
        _ => Style::Bold,
    };
    let result = printable(&found.result);
    let _ = write!(text, ": {}", style.paint(&result, color));
    if !found.message.is_empty() {
        let _ = write!(text, ", {}", printable(&found.message));
    }
    text.push('\n');
    for (name, value) in asked {
        let _ = writeln!(text, "  asked with {name} = {}", printable(value));
    }
    for (name, value) in &found.params {
        let _ = writeln!(text, "  with params.{name} = {}", printable(value));
    }
    for expression in &found.expressions {
        let title = Style::Bold.paint(&expression.title, color);
        let _ = write!(text, "\n{title} at {}", expression.span);
        if let Some(message) = &expression.message {
            let _ = write!(text, ": {}", printable(message));
        }
        text.push('\n');
        for line in expression.text.lines() {
            let _ = writeln!(text, "  {}", printable(line));
        }
        if let Some(error) = &expression.error {
            let error = Style::Red.paint(&printable(error), color);
            text.push_str(&caret(&expression.text, &expression.whole));
            let _ = writeln!(text, "  {error}");
        }
        let mut rows = Vec::new();
        collect(&expression.text, &expression.whole, 0, &mut rows);
        let width = rows.iter().map(|row| row.text.chars().count()).max();
        for row in rows {
            let value = printable(&row.value);
            let value = match row.kind {
                Kind::Value => value.into_owned(),
                Kind::Absent => Style::Dim.paint(&value, color),
                Kind::Failed => Style::Red.paint(&value, color),
            };
            let width = width.unwrap_or(0);
            let _ = writeln!(text, "  {:>7}  {:width$}  {value}", row.place, row.text);
        }
    }
    let _ = writeln!(text, "\n{}", counted(found.steps, "step"));
    text
}

/// A line under the source that points to the innermost part that failed; only where the source has
/// one line.
fn caret(text: &str, whole: &ExplainedPart) -> String {
    let mut part = whole;
    while let Some(inner) = part.parts.iter().find(|part| part.failed > 0) {
        part = inner;
    }
    if text.trim_end().contains('\n') || part.failed == 0 {
        return String::new();
    }
    let before = text[..part.range.0].chars().count();
    let length = text_of(text, part).chars().count().max(1);
    format!("  {}{}\n", " ".repeat(before), "^".repeat(length))
}

struct Row {
    place: String,
    text: String,
    value: String,
    kind: Kind,
}

enum Kind {
    Value,
    Absent,
    Failed,
}

fn collect(text: &str, part: &ExplainedPart, depth: usize, rows: &mut Vec<Row>) {
    let words: Vec<&str> = text_of(text, part).split_whitespace().collect();
    let mut source = printable(&words.join(" ")).into_owned();
    if source.chars().count() > TEXT_CHARS_MAX {
        source = source.chars().take(TEXT_CHARS_MAX - 1).collect::<String>() + "…";
    }
    let kind = if part.evaluated == 0 {
        Kind::Absent
    } else if part.values.is_empty() {
        Kind::Failed
    } else {
        Kind::Value
    };
    rows.push(Row {
        place: format!("{}:{}", part.span.line, part.span.column),
        text: format!("{}{source}", "  ".repeat(depth)),
        value: value_text(part),
        kind,
    });
    for part in &part.parts {
        collect(text, part, depth + 1, rows);
    }
}

fn value_text(part: &ExplainedPart) -> String {
    if part.evaluated == 0 {
        return "not evaluated".to_owned();
    }
    let values = part.values.iter().map(|(value, times)| match times {
        1 => value.clone(),
        times => format!("{value} ({times} times)"),
    });
    let mut values: Vec<String> = values.collect();
    let shown: u64 = part.values.iter().map(|(_, times)| times).sum();
    let others = part.evaluated - part.failed - shown;
    if others > 0 {
        values.push(counted(others, "other"));
    }
    match part.failed {
        0 => {}
        1 if part.evaluated == 1 => values.push("failed".to_owned()),
        failed => values.push(format!("failed {}", counted(failed, "time"))),
    }
    values.join(", ")
}
