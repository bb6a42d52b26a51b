//! Mistakes in documents, as values: what is wrong, where, and what to do about it.

use std::cell::RefCell;
use std::sync::Arc;

use drover_model::{SourceSpan, plural};

use crate::limits::DIAGNOSTICS_MAX;
use crate::tree::Place;

/// The kind of a number that is ambiguous or does not fit.
pub(crate) const UNREADABLE_NUMBER: &str = "bad-number";

/// How bad a mistake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document can be used, but probably says something else than its author meant.
    Warning,
}

/// One mistake, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Its kind: a short stable name such as `unknown-field`, for filters and tests.
    pub code: &'static str,
    /// What is wrong, in one line without a full stop.
    pub message: String,
    /// Where.
    pub span: SourceSpan,
    /// A few words beside the caret.
    pub label: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Other places that matter, each with a few words.
    pub related: Vec<(SourceSpan, String)>,
}

impl Diagnostic {
    /// Makes an error.
    pub fn error(code: &'static str, message: impl Into<String>, span: SourceSpan) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            span,
            label: None,
            hint: None,
            related: Vec::new(),
        }
    }

    /// Makes a warning.
    pub fn warning(code: &'static str, message: impl Into<String>, span: SourceSpan) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message, span)
        }
    }

    /// Adds what to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Adds a few words beside the caret.
    pub fn label(self, label: impl Into<String>) -> Self {
        Self {
            label: Some(label.into()),
            ..self
        }
    }

    /// Adds another place that matters.
    pub fn related(mut self, span: SourceSpan, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Returns whether this is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Returns the order in which mistakes are shown: by place, then by kind.
    pub(crate) fn sort_key(&self) -> (&SourceSpan, Severity, &str, &str) {
        (&self.span, self.severity, self.code, &self.message)
    }
}

/// Collects the mistakes of one document.
#[derive(Debug)]
pub(crate) struct Report {
    file: Arc<str>,
    found: RefCell<Vec<Diagnostic>>,
    /// Mistakes beyond [`DIAGNOSTICS_MAX`].
    beyond: RefCell<usize>,
}

impl Report {
    pub(crate) fn new(file: Arc<str>) -> Self {
        Self {
            file,
            found: RefCell::default(),
            beyond: RefCell::default(),
        }
    }

    pub(crate) fn span(&self, place: Place) -> SourceSpan {
        SourceSpan {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            length: place.length.max(1),
        }
    }

    pub(crate) fn push(&self, diagnostic: Diagnostic) {
        let mut found = self.found.borrow_mut();
        // A number that nobody can read is no string either: to say so would mislead.
        let unreadable =
            |other: &Diagnostic| other.code == UNREADABLE_NUMBER && other.span == diagnostic.span;
        if found.iter().any(unreadable) {
            return;
        }
        if found.len() < DIAGNOSTICS_MAX {
            found.push(diagnostic);
        } else {
            *self.beyond.borrow_mut() += 1;
        }
    }

    pub(crate) fn error(&self, code: &'static str, place: Place, message: impl Into<String>) {
        self.push(Diagnostic::error(code, message, self.span(place)));
    }

    pub(crate) fn error_hint(
        &self,
        code: &'static str,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Diagnostic::error(code, message, self.span(place)).hint(hint));
    }

    /// Returns how many mistakes there are so far, so that a caller can tell whether it added any.
    /// Returns whether there is any error; warnings do not count.
    pub(crate) fn has_errors(&self) -> bool {
        *self.beyond.borrow() > 0 || self.found.borrow().iter().any(Diagnostic::is_error)
    }

    pub(crate) fn count(&self) -> usize {
        self.found.borrow().len() + *self.beyond.borrow()
    }

    /// Returns the mistakes in the order of their places.
    pub(crate) fn finish(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
        found.dedup();
        let beyond = self.beyond.into_inner();
        if let (true, Some(last)) = (beyond > 0, found.last()) {
            let message = format!(
                "{} not shown",
                plural(
                    beyond,
                    "more mistake in this document is",
                    "more mistakes in this document are"
                )
            );
            found.push(Diagnostic::error(
                "too-many-mistakes",
                message,
                last.span.clone(),
            ));
        }
        found
    }
}
