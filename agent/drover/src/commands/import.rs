//! `drover import`: documents for what runs already and something else manages. Every kind drafts documents with
//! `manage: observe` and says what it could not translate; [`write`] checks and writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use drover_model::Value;

use crate::cli::{ImportCommand, ImportOutput};
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::printable::printable;
use crate::ui::Ui;

mod aws;
mod beside;
mod infrakit;
mod machines;
mod terraform;

use beside::Present;

/// Runs a command.
pub(super) fn run(command: &ImportCommand, ui: Ui) -> CommandResult {
    match command {
        ImportCommand::Infrakit(args) => infrakit::run(args, ui),
        ImportCommand::Ec2(args) => aws::ec2(args, ui),
        ImportCommand::Asg(args) => aws::asg(args, ui),
        ImportCommand::Terraform(args) => terraform::run(args, ui),
    }
}

/// What an import comes to.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    /// The documents, one a file.
    pub(super) files: Vec<Draft>,
    /// What people must know: what was left out, and what was changed.
    pub(super) remarks: Vec<String>,
}

/// A document to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Draft {
    /// The file, from the output folder on.
    pub(super) path: String,
    /// What it says.
    pub(super) text: String,
}

impl Drafts {
    /// Leaves documents out, with the reasons.
    fn leave_out(&mut self, bad: impl IntoIterator<Item = (String, Vec<String>)>) {
        for (path, why) in bad {
            self.files.retain(|draft| draft.path != path);
            self.remarks
                .push(format!("{path} is left out: {}", why.join("; ")));
        }
    }
}

impl Draft {
    fn is_group(&self) -> bool {
        self.path.starts_with("groups/")
    }
}

/// Writes documents, and says on stderr what people must know of them, each remark on one line. What makes no valid
/// document is left out with a remark, and the result is then a failure. Nothing is written unless all of the rest can be.
///
/// What the output folder has counts, too: a Provider document that is there is used, and a group that is there in another
/// file is refused.
pub(super) fn write(mut drafts: Drafts, output: &ImportOutput, ui: Ui) -> CommandResult {
    let present = Present::read(&output.output)?;
    present.keep_providers(&mut drafts, output.force)?;
    let whole = drafts.files.len();
    let drafts = sound(drafts, &present)?;
    for remark in &drafts.remarks {
        ui.message(&format!("note: {}", printable(remark)));
    }
    if !drafts.files.iter().any(Draft::is_group) {
        return Err(CommandError::new("there is nothing to import"));
    }
    let is_there = |draft: &&Draft| {
        let found = fs::read(output.output.join(&draft.path)).ok();
        found.is_some_and(|found| found != draft.text.as_bytes())
    };
    let there: Vec<&Draft> = drafts.files.iter().filter(is_there).collect();
    if !there.is_empty() && !output.force {
        let mut error = CommandError::new("files are there already and say something else");
        for draft in there {
            error = error.detail(output.output.join(&draft.path).display().to_string());
        }
        return Err(error.hint("compare them, or write over them with --force"));
    }
    let mut told = String::new();
    for draft in &drafts.files {
        let path = output.output.join(&draft.path);
        put(&path, &draft.text)?;
        told.push_str(&format!("{}\n", path.display()));
    }
    ui.result(&told)?;
    Ok(if drafts.files.len() < whole {
        Exit::Failed
    } else {
        Exit::Done
    })
}

fn put(path: &Path, text: &str) -> CommandResult<()> {
    let attempted = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).context(attempted())?;
    }
    fs::write(path, text).context(attempted())
}

/// Leaves out what makes no valid document, and says so in the remarks.
fn sound(mut drafts: Drafts, present: &Present) -> CommandResult<Drafts> {
    let mut paths = BTreeSet::new();
    let twice = drafts.files.iter().map(|draft| draft.path.clone());
    let twice: BTreeSet<String> = twice.filter(|path| !paths.insert(path.clone())).collect();
    drafts.leave_out(twice.into_iter().map(|path| {
        // Which of them is meant is not for us to choose.
        let why = "two documents would be this file: their names differ only in what names of documents cannot have";
        (path, vec![why.to_owned()])
    }));
    let elsewhere = drafts.files.iter().filter_map(|draft| {
        let (name, file) = present.elsewhere(draft)?;
        let why = format!("group {name} is there already, in {file}");
        Some((draft.path.clone(), vec![why]))
    });
    let elsewhere: Vec<_> = elsewhere.collect();
    drafts.leave_out(elsewhere);
    // One that is left out may be missed by others. Each round leaves at least one out.
    loop {
        let mistakes = mistakes(&drafts, present)?;
        if mistakes.is_empty() {
            return Ok(drafts);
        }
        let is_ours = |path: &String| drafts.files.iter().any(|draft| draft.path == *path);
        let (ours, others): (Vec<_>, Vec<_>) =
            mistakes.into_iter().partition(|(path, _)| is_ours(path));
        if ours.is_empty() {
            let mut error = CommandError::new("the documents would make others wrong");
            for (path, why) in others {
                error = error.detail(format!("{path}: {}", why.join("; ")));
            }
            return Err(error);
        }
        drafts.leave_out(ours);
    }
}

/// Checks the documents as `drover validate` does, beside those that are there, and returns the mistakes that come with
/// them, by their paths: what has none can be committed as it is.
fn mistakes(drafts: &Drafts, present: &Present) -> CommandResult<BTreeMap<String, Vec<String>>> {
    let scratch = tempfile::tempdir().context("cannot make a scratch folder")?;
    for (path, text) in present.texts() {
        put(&scratch.path().join(path), text)?;
    }
    for draft in &drafts.files {
        put(&scratch.path().join(&draft.path), &draft.text)?;
    }
    let documents = Documents::from_path(scratch.path())?;
    let mut mistakes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, message) in beside::mistakes(&documents) {
        let drafted = drafts.files.iter().any(|draft| draft.path == file);
        if drafted || !present.has_mistake(&file, &message) {
            let of_file = mistakes.entry(file).or_default();
            of_file.push(printable(&message).into_owned());
        }
    }
    Ok(mistakes)
}

/// Returns an entry of a document as YAML, `depth` levels in.
pub(super) fn entry(depth: usize, key: &str, value: &Value) -> String {
    let map: Value = [(key.to_owned(), value.clone())].into_iter().collect();
    let text = drover_spec::record::to_yaml(&map);
    let margin = "  ".repeat(depth);
    let lines = text.lines().map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("{margin}{line}\n"),
    });
    lines.collect()
}

/// Returns a map of texts as a value.
pub(super) fn texts<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let entries = entries.into_iter();
    entries
        .map(|(key, text)| (key.to_owned(), Value::from(text)))
        .collect()
}

/// Returns lines as comments of a document.
pub(super) fn comments(lines: &[String]) -> String {
    let line = |line: &String| match line.as_str() {
        "" => "#\n".to_owned(),
        line => format!("# {}\n", printable(line)),
    };
    lines.iter().map(line).collect()
}

/// Returns a value with every `${` escaped, which would be drover's own substitution otherwise.
pub(super) fn literal(value: &Value) -> Value {
    value.map_texts(&literal_text)
}

/// Returns a text with every `${...}` escaped, also one within another, as shells have them.
pub(super) fn literal_text(text: &str) -> String {
    drover_provider::escaped(text)
}

#[cfg(test)]
mod tests;
