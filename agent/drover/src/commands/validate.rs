//! `drover validate`: every mistake of every file in one run.

use std::collections::BTreeSet;
use std::path::Path;

use drover_git::{Mirror, RemoteOptions, SourceUrl};
use drover_model::ProviderName;
use drover_spec::{Diagnostic, Severity};
use serde::Serialize;

use crate::check::{self, Checked};
use crate::cli::{Output, ValidateArgs};
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::output;
use crate::printable::printable;
use crate::snapshot::require_commits;
use crate::table::Table;
use crate::ui::Ui;
use crate::view::{List, counted, plural};

mod ask;
mod refused;

/// A mistake, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MistakeView {
    severity: &'static str,
    code: &'static str,
    message: String,
    file: String,
    line: u32,
    column: u32,
    hint: Option<String>,
}

/// Runs `drover validate`.
pub(super) fn run(args: &ValidateArgs, ui: Ui) -> CommandResult {
    let (documents, only) = match &args.reference {
        Some(reference) => (at_reference(&args.path, reference)?, None),
        None if args.path.is_file() => with_file(&args.path)?,
        None => (from_path(&args.path)?, None),
    };
    if documents.files.is_empty() {
        return Err(nothing_in(&args.path));
    }
    let settings = args.config.as_deref().map(ask::settings).transpose()?;
    let asked = match &settings {
        Some(settings) => Some(ask::plugins(&documents.repository, settings)?),
        None => None,
    };
    let mut checked = check::check_asked(&documents, asked.as_ref());
    if let Some(settings) = &settings {
        checked.add(refused::refused(&documents.repository, settings));
    }
    if let Some(file) = &only {
        let diagnostics = &mut checked.diagnostics;
        diagnostics.retain(|mistake| is_about(mistake, file));
    }
    match args.output {
        Output::Json => ui.result(&output::json(&mistakes(&checked.diagnostics))?)?,
        Output::Yaml => ui.result(&output::yaml(&mistakes(&checked.diagnostics))?)?,
        Output::Name => ui.result(&lines(&checked.diagnostics))?,
        Output::Markdown => ui.result(&table(&checked.diagnostics).to_markdown())?,
        Output::Text | Output::Wide => ui.result(&carets(&documents, &checked, ui))?,
    }
    if let Some(file) = &only {
        ui.message(&format!("of {file} alone, with what it refers to:"));
    }
    ui.message(&summary(&documents, &checked));
    if let Some(note) = not_asked(&checked) {
        ui.message(&note);
    }
    Ok(if checked.errors() == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Reads a file with as much of its repository as it refers to: the nearest folder above it with all of that. Returns the
/// file's path in it, if more than the file was read. Editors and hooks name files alone.
fn with_file(path: &Path) -> CommandResult<(Documents, Option<String>)> {
    let alone = Documents::from_path(path)?;
    if !lacks(&alone, None) {
        return Ok((alone, None));
    }
    let attempted = format!("cannot read {}", path.display());
    let file = path.canonicalize().context(attempted)?;
    let top = file.ancestors().find(|folder| folder.join(".git").exists());
    let inside = |folder: &&Path| top.is_some_and(|top| folder.starts_with(top));
    let mut widest = (alone, None);
    for folder in file.ancestors().skip(1).take_while(inside) {
        let name = file.strip_prefix(folder).unwrap_or(&file);
        let name = name.display().to_string();
        let found = Documents::from_path(folder)?;
        if !found.texts.contains_key(&name) {
            continue;
        }
        let whole = !lacks(&found, Some(&name));
        widest = (found, Some(name));
        if whole {
            break;
        }
    }
    Ok(widest)
}

/// Whether a mistake is one of a file: it is there, or what is there is the other half of it.
fn is_about(mistake: &Diagnostic, file: &str) -> bool {
    let related = mistake.related.iter().map(|(span, _)| span);
    let mut places = std::iter::once(&mistake.span).chain(related);
    places.any(|span| *span.file == *file)
}

/// Whether a document, of one file or of any, refers to one that was not read.
fn lacks(documents: &Documents, file: Option<&str>) -> bool {
    let mut mistakes = documents.diagnostics.iter();
    mistakes.any(|mistake| {
        file.is_none_or(|file| *mistake.span.file == *file)
            && ["unknown-reference", "selects-nothing"].contains(&mistake.code)
    })
}

/// A check of nothing passes nothing: a job in the wrong folder would stay green.
fn nothing_in(path: &Path) -> CommandError {
    CommandError::new(format!("there is no document in {}", path.display()))
        .hint("files that end with .yaml or .yml are read, and none whose name begins with a dot")
        .hint("`drover init DIR` makes a repository to start from")
}

/// Says what was not checked, if anything.
fn not_asked(checked: &Checked) -> Option<String> {
    let names: Vec<&str> = checked.unasked.iter().map(ProviderName::as_str).collect();
    let providers = plural(names.len(), "provider", "providers");
    (!names.is_empty()).then(|| {
        format!(
            "not checked: what the plugins of {providers} ({}) take; --config names the agent's file, which says where they are",
            names.join(", ")
        )
    })
}

/// A folder with work is checked as it is; a bare repository at its default branch.
pub(super) fn from_path(path: &Path) -> CommandResult<Documents> {
    let is_bare = path.join("HEAD").is_file() && path.join("refs").is_dir();
    if is_bare {
        return at_reference(path, "HEAD");
    }
    Documents::from_path(path)
}

fn at_reference(path: &Path, reference: &str) -> CommandResult<Documents> {
    let attempted = format!("cannot open the repository {}", path.display());
    let url = SourceUrl::from_path(path).context(attempted.as_str())?;
    let mirror = Mirror::open(path, url, RemoteOptions::default()).context(attempted.as_str())?;
    require_commits(&mirror.list().context(attempted)?)?;
    let commit = mirror
        .resolve(reference)
        .context(format!("cannot find `{reference}`"))?;
    Documents::from_commit(&mirror, commit, "")
}

fn carets(documents: &Documents, checked: &Checked, ui: Ui) -> String {
    let source = |path: &str| documents.texts.get(path).cloned();
    drover_spec::render(&checked.diagnostics, &source, ui.out_color())
}

fn severity(diagnostic: &Diagnostic) -> &'static str {
    match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn mistakes(diagnostics: &[Diagnostic]) -> List<MistakeView> {
    let view = |diagnostic: &Diagnostic| MistakeView {
        severity: severity(diagnostic),
        code: diagnostic.code,
        message: diagnostic.message.clone(),
        file: diagnostic.span.file.to_string(),
        line: diagnostic.span.line,
        column: diagnostic.span.column,
        hint: diagnostic.hint.clone(),
    };
    List::new("MistakeList", diagnostics.iter().map(view).collect())
}

/// One line per mistake, as compilers write it, for editors.
fn lines(diagnostics: &[Diagnostic]) -> String {
    let line = |diagnostic: &Diagnostic| {
        format!(
            "{}: {}: {} [{}]\n",
            diagnostic.span,
            severity(diagnostic),
            printable(&diagnostic.message),
            diagnostic.code
        )
    };
    diagnostics.iter().map(line).collect()
}

fn table(diagnostics: &[Diagnostic]) -> Table {
    let mut table = Table::new(&["PLACE", "SEVERITY", "MISTAKE"]);
    for diagnostic in diagnostics {
        table.row(vec![
            diagnostic.span.to_string(),
            severity(diagnostic).to_owned(),
            diagnostic.message.clone(),
        ]);
    }
    table
}

fn summary(documents: &Documents, checked: &Checked) -> String {
    let repository = &documents.repository;
    let mut what = format!(
        "{} in {}: {}, {}, {}, {}",
        counted(
            repository.groups.len()
                + repository.policies.len()
                + repository.bindings.len()
                + repository.providers.len()
                + repository.metric_sources.len()
                + repository.calendars.len()
                + usize::from(repository.fleet.is_some()),
            "document"
        ),
        counted(documents.files.len(), "file"),
        counted(repository.groups.len(), "group"),
        plural(repository.policies.len(), "policy", "policies"),
        counted(repository.bindings.len(), "binding"),
        counted(repository.providers.len(), "provider"),
    );
    if !repository.metric_sources.is_empty() {
        // Whether the agent has them is not known here.
        let sources = repository.metric_sources.values();
        let asked: BTreeSet<&str> = sources.map(|found| found.value.source.as_str()).collect();
        let asked: Vec<&str> = asked.into_iter().collect();
        let count = counted(repository.metric_sources.len(), "metric source");
        what.push_str(&format!(", {count} (of the agent's {})", asked.join(", ")));
    }
    if !repository.calendars.is_empty() {
        let count = counted(repository.calendars.len(), "calendar");
        what.push_str(&format!(", {count}"));
    }
    let tests = match checked.tests.len() {
        0 => String::new(),
        count => format!("; {} of {count} policy tests passed", checked.passed()),
    };
    match (checked.errors(), checked.warnings()) {
        (0, 0) => format!("valid: {what}{tests}"),
        (0, warnings) => format!("valid, {}: {what}{tests}", counted(warnings, "warning")),
        (errors, _) => format!("invalid, {}: {what}{tests}", counted(errors, "error")),
    }
}
