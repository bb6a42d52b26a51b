//! Documents from a folder or from a commit, parsed and joined, with their texts kept for carets.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use drover_git::{FILE_BYTES_MAX, FILES_MAX, IGNORE_FILE, IgnoreRules, Mirror, Oid, RefusedWhy};
use drover_model::{Binding, Policy, Reading, Readings, Revision, SourceSpan, Timestamp};
use drover_policy::{Definitions, PolicyMistake, PolicySet};
use drover_spec::record::RecordedFleet;
use drover_spec::{Diagnostic, ParsedFile, Repository};

use crate::error::{CommandError, CommandResult, Context as _};

#[cfg(test)]
mod tests;

/// A configuration repository as read from somewhere.
#[derive(Debug)]
pub(crate) struct Documents {
    /// The parsed files, by path.
    pub(crate) files: Vec<ParsedFile>,
    /// The joined documents.
    pub(crate) repository: Repository,
    /// Mistakes of the files and of reading them.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// The text of each file, by path.
    pub(crate) texts: BTreeMap<String, String>,
    /// The rules of what is no document of a commit, as written.
    pub(crate) ignore_rules: String,
}

impl Documents {
    /// Compiles the policies with their bindings, and returns what is wrong with them.
    pub(crate) fn compile_policies(&self) -> (PolicySet, Vec<PolicyMistake>) {
        let (policies, bindings) = (self.policies(), self.bindings());
        PolicySet::compile_with(&policies, &bindings, &[], self.definitions())
    }

    /// Like [`Documents::compile_policies`], for who wants to see inside of their expressions.
    pub(crate) fn compile_policies_traced(&self) -> (PolicySet, Vec<PolicyMistake>) {
        PolicySet::compile_traced(&self.policies(), &self.bindings(), self.definitions())
    }

    /// Returns what the metrics of the documents would be, were each of them `value` at `at`.
    pub(crate) fn readings(&self, value: f64, at: Timestamp) -> Readings {
        let sources = self.repository.metric_sources.values();
        let metrics = sources.flat_map(|found| found.value.metrics.values());
        let sample = || Reading::Sample { value, at };
        metrics
            .map(|metric| (metric.query.clone(), sample()))
            .collect()
    }

    /// Returns the metrics and calendars that policies may name.
    pub(crate) fn definitions(&self) -> Definitions {
        let metrics = self.repository.metric_sources.values();
        let calendars = self.repository.calendars.values();
        Definitions::new(
            metrics.map(|found| &found.value),
            calendars.map(|found| &found.value),
            self.repository.defines_more(),
        )
    }

    pub(crate) fn policies(&self) -> Vec<Policy> {
        let policies = self.repository.policies.values();
        policies.map(|found| found.value.clone()).collect()
    }

    pub(crate) fn bindings(&self) -> Vec<Binding> {
        let bindings = self.repository.bindings.values();
        bindings.map(|found| found.value.clone()).collect()
    }

    fn new(texts: BTreeMap<String, Vec<u8>>, reading: Vec<Diagnostic>) -> Self {
        let files: Vec<ParsedFile> = texts
            .iter()
            .map(|(path, bytes)| drover_spec::parse_file(path, bytes))
            .collect();
        let repository = drover_spec::assemble(&files);
        let mut diagnostics = reading;
        diagnostics.extend(repository.diagnostics.iter().cloned());
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            files,
            repository,
            diagnostics,
            texts: texts
                .into_iter()
                .map(|(path, bytes)| (path, text(bytes)))
                .collect(),
            ignore_rules: String::new(),
        }
    }

    /// Returns the documents in force, as they are recorded.
    pub(crate) fn from_recorded(fleet: Option<&RecordedFleet>) -> Self {
        let documents = fleet.into_iter().flat_map(|fleet| fleet.documents.values());
        let parsed = documents.map(|accepted| {
            drover_spec::parse_document(&accepted.path, accepted.line, &accepted.text)
        });
        let files: Vec<ParsedFile> = parsed.collect();
        let repository = drover_spec::assemble(&files);
        Self {
            diagnostics: repository.diagnostics.clone(),
            files,
            repository,
            texts: BTreeMap::new(),
            ignore_rules: String::new(),
        }
    }

    /// Reads a folder or a single file, with the limits and rules that hold for a commit.
    pub(crate) fn from_path(path: &Path) -> CommandResult<Self> {
        let shown = path.display();
        let facts = fs::metadata(path).context(format!("cannot read {shown}"))?;
        let root = match path.parent() {
            Some(parent) if facts.is_file() => parent,
            _ => path,
        };
        let mut walk = Walk {
            root: root.to_owned(),
            ignore: IgnoreRules::defaults(),
            texts: BTreeMap::new(),
            diagnostics: Vec::new(),
        };
        if facts.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            walk.file(&name)?;
        } else {
            walk.ignore_rules()?;
            walk.folder("")?;
        }
        Ok(Self::new(walk.texts, walk.diagnostics))
    }

    /// Returns a name for what has no commit: it is the same for the same documents.
    pub(crate) fn revision(&self) -> CommandResult<Revision> {
        let mut text = String::new();
        for (path, content) in &self.texts {
            text.push_str(path);
            text.push('\0');
            text.push_str(content);
        }
        let [first, second] = [1, 2].map(|seed| drover_provider_sim::of_text(seed, &text));
        let revision = format!("{first:016x}{second:016x}{:08x}", text.len());
        Revision::parse(&revision).context("cannot name the folder's state")
    }

    /// Reads a commit below `root`.
    pub(crate) fn from_commit(mirror: &Mirror, commit: Oid, root: &str) -> CommandResult<Self> {
        let attempted = format!("cannot read the documents of {}", commit.short());
        let root = root.trim_matches('/');
        let within = |path: &str| match root {
            "" => path.to_owned(),
            root => format!("{root}/{path}"),
        };
        let rules = mirror
            .file(commit, &within(IGNORE_FILE))
            .context(attempted.as_str())?
            .map(|(_, bytes)| bytes)
            .unwrap_or_default();
        let (ignore, mistakes) = IgnoreRules::parse(&rules);
        let mut diagnostics = rule_mistakes(mistakes);
        let listing = mirror
            .tree(commit, root, &ignore)
            .context(attempted.as_str())?;
        if !listing.root_found {
            return Err(CommandError::new(format!(
                "commit {} has no folder {root}",
                commit.short()
            )));
        }
        for refused in &listing.refused {
            diagnostics.push(refused_file(&refused.path, refused.why));
        }
        let mut texts = BTreeMap::new();
        for file in &listing.files {
            if is_document(&file.path) {
                let bytes = mirror
                    .read(file.oid, FILE_BYTES_MAX as usize)
                    .context(attempted.as_str())?;
                texts.insert(file.path.clone(), bytes);
            }
        }
        Ok(Self {
            ignore_rules: String::from_utf8_lossy(&rules).into_owned(),
            ..Self::new(texts, diagnostics)
        })
    }
}

/// Whether a name is that of a folder and not of a commit: `.`, or a path that begins with `/`, `./` or `../`.
pub(crate) fn is_folder(name: &str) -> bool {
    let starts = ["/", "./", "../"];
    matches!(name, "." | "..") || starts.iter().any(|start| name.starts_with(start))
}

/// Whether a file's name says that it holds documents.
fn is_document(path: &str) -> bool {
    let extension = Path::new(path).extension().unwrap_or_default();
    extension == "yaml" || extension == "yml"
}

fn rule_mistakes(mistakes: Vec<(usize, String)>) -> Vec<Diagnostic> {
    let diagnostic = |(line, why): (usize, String)| {
        let span = SourceSpan {
            line: line as u32,
            ..SourceSpan::start_of(IGNORE_FILE)
        };
        Diagnostic::error(
            "ignore-rule",
            format!("the rule has no effect: {why}"),
            span,
        )
    };
    mistakes.into_iter().map(diagnostic).collect()
}

fn refused_file(path: &str, why: RefusedWhy) -> Diagnostic {
    let message = format!("the file is not read: {why}");
    Diagnostic::error("file-refused", message, SourceSpan::start_of(path))
}

/// Returns whether a file's name is nearly that of one that is read: it has another case, or something behind it.
fn is_nearly_document(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let mut endings = name.split('.').skip(1);
    endings.any(|ending| matches!(ending, "yaml" | "yml"))
}

fn unread_file(path: &str) -> Diagnostic {
    let message = "a document stands in the file, which is not read: documents are in files that end with .yaml or .yml";
    Diagnostic::warning("file-not-read", message, SourceSpan::start_of(path))
}

struct Walk {
    root: PathBuf,
    ignore: IgnoreRules,
    texts: BTreeMap<String, Vec<u8>>,
    diagnostics: Vec<Diagnostic>,
}

impl Walk {
    fn ignore_rules(&mut self) -> CommandResult<()> {
        let path = self.root.join(IGNORE_FILE);
        if path.is_file() {
            let bytes = fs::read(&path).context(format!("cannot read {}", path.display()))?;
            let (ignore, mistakes) = IgnoreRules::parse(&bytes);
            self.ignore = ignore;
            self.diagnostics.extend(rule_mistakes(mistakes));
        }
        Ok(())
    }

    fn folder(&mut self, prefix: &str) -> CommandResult<()> {
        let folder = self.root.join(prefix);
        let attempted = || format!("cannot list {}", folder.display());
        let mut entries = Vec::new();
        for entry in fs::read_dir(&folder).context(attempted())? {
            entries.push(entry.context(attempted())?);
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if prefix.is_empty() {
                name
            } else {
                format!("{prefix}/{name}")
            };
            let kind = entry.file_type().context(attempted())?;
            if self.ignore.ignores(&path, kind.is_dir()) {
                continue;
            }
            if kind.is_symlink() {
                let diagnostic = refused_file(&path, RefusedWhy::Symlink);
                self.diagnostics.push(diagnostic);
            } else if kind.is_dir() {
                self.folder(&path)?;
            } else if is_document(&path) {
                self.file(&path)?;
            } else if is_nearly_document(&path) && self.holds_document(&path) {
                self.diagnostics.push(unread_file(&path));
            }
        }
        Ok(())
    }

    /// Returns whether a file that is not read has a document of drover's. One that cannot be looked at is nobody's loss.
    fn holds_document(&self, path: &str) -> bool {
        let bytes = fs::File::open(self.root.join(path)).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        bytes.is_ok_and(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            let mut lines = text.lines().map(str::trim_start);
            lines.any(|line| line.starts_with("apiVersion: drover/"))
        })
    }

    fn file(&mut self, path: &str) -> CommandResult<()> {
        let place = self.root.join(path);
        let attempted = || format!("cannot read {}", place.display());
        let size = fs::metadata(&place).context(attempted())?.len();
        if size > FILE_BYTES_MAX {
            let diagnostic = refused_file(path, RefusedWhy::TooLarge);
            self.diagnostics.push(diagnostic);
        } else if self.texts.len() >= FILES_MAX {
            return Err(CommandError::new(format!(
                "{} has more than {FILES_MAX} documents",
                self.root.display()
            )));
        } else {
            let bytes = fs::read(&place).context(attempted())?;
            self.texts.insert(path.to_owned(), bytes);
        }
        Ok(())
    }
}
