//! Documents other than groups that two commits differ in, and what is said of them.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::markdown::{difference, fenced, while_room};
use super::{FieldView, text_fields};
use crate::printable::printable;
use crate::table::{Table, escape_markdown};
use crate::ui::Style;
use crate::view::counted;

/// Most groups that a line names.
const NAMES_MAX: usize = 3;

/// Most bytes of what is said of guards that go or get weaker, at the top of a comment.
const GUARDS_MAX: usize = 4_000;

/// Most bytes of the table, and of everything that is to unfold.
const TABLE_MAX: usize = 4_000;
const DETAILS_MAX: usize = 8_000;

/// A document that two commits differ in, and that is no group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DocumentView {
    /// The kind, such as `Policy`.
    pub(crate) kind: String,
    pub(crate) name: String,
    /// Where it stands, or stood.
    pub(crate) file: String,
    pub(crate) change: DocumentChange,
    /// What it is, in a few words: what a policy decides, what a binding does, which type a provider is of.
    pub(crate) about: Option<String>,
    /// The groups that it concerns, before or after.
    pub(crate) groups: Vec<String>,
    /// In which ways it withholds less than before. Empty: in none that can be told by looking.
    pub(crate) weaker: Vec<String>,
    /// What differs, or all that is written.
    pub(crate) fields: Vec<FieldView>,
}

/// What happens to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum DocumentChange {
    /// It is new.
    Added,
    /// It says something else.
    Changed,
    /// It is gone.
    Removed,
}

impl DocumentChange {
    fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

impl DocumentView {
    fn title(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// Returns what happens to it, in a few words.
    fn verdict(&self) -> String {
        let word = match (self.change, self.weaker.is_empty()) {
            (DocumentChange::Removed, false) => "REMOVED",
            (DocumentChange::Changed, false) => "changed, WEAKER",
            (change, _) => change.word(),
        };
        match &self.about {
            Some(about) => format!("{word} ({about})"),
            None => word.to_owned(),
        }
    }

    /// Returns how many groups it concerns, and the first of them.
    fn concerned(&self) -> String {
        let count = self.groups.len();
        match count {
            0 => "none".to_owned(),
            // One more is as long as its name.
            _ if count <= NAMES_MAX + 1 => format!("{count}: {}", self.groups.join(", ")),
            _ => {
                let named = self.groups[..NAMES_MAX].join(", ");
                format!("{count}: {named} and {} more", count - NAMES_MAX)
            }
        }
    }

    /// Returns the sentence that warns of it. None: it withholds no less than before.
    fn warning(&self) -> Option<String> {
        if self.weaker.is_empty() {
            return None;
        }
        let groups = match self.groups.len() {
            0 => "it concerns no group".to_owned(),
            1 => format!("it concerns 1 group, {}", self.groups[0]),
            _ => {
                let concerned = self.concerned();
                format!("it concerns {}", concerned.replacen(": ", " groups: ", 1))
            }
        };
        Some(match self.change {
            DocumentChange::Removed => format!("{} is removed; {groups}", self.title()),
            DocumentChange::Added | DocumentChange::Changed => {
                let weaker = self.weaker.join(", ");
                format!("{} withholds less: {weaker}; {groups}", self.title())
            }
        })
    }
}

/// Returns what the first line says of documents. None: there is nothing to say.
pub(super) fn headline(documents: &[DocumentView]) -> Option<String> {
    let mut text = match documents.len() {
        0 => return None,
        1 => "1 other document changes".to_owned(),
        count => format!("{count} other documents change"),
    };
    let weaker = documents.iter().filter(|it| !it.weaker.is_empty());
    let weaker = weaker.count();
    if weaker > 0 {
        let _ = write!(text, ", {} removed or loosened", counted(weaker, "guard"));
    }
    Some(text)
}

/// Returns documents for a terminal.
pub(super) fn text(documents: &[DocumentView], color: bool, out: &mut String) {
    for document in documents {
        let title = Style::Bold.paint(&printable(&document.title()), color);
        let verdict = document.verdict();
        let verdict = if document.weaker.is_empty() {
            verdict
        } else {
            Style::Red.paint(&verdict, color)
        };
        let (concerned, file) = (document.concerned(), printable(&document.file));
        let _ = writeln!(out, "{title}: {verdict}, groups {concerned} - {file}");
        if document.change == DocumentChange::Changed {
            for weaker in &document.weaker {
                let _ = writeln!(out, "  withholds less: {}", printable(weaker));
            }
        }
        text_fields(&document.fields, out);
    }
}

/// Writes which guards go or get weaker: what a reviewer must not overlook.
pub(super) fn guards(documents: &[DocumentView], out: &mut String) {
    let warnings = documents.iter().filter_map(DocumentView::warning);
    let lines = warnings.map(|warning| format!("- **guard**: {}\n", escape_markdown(&warning)));
    let left_out = while_room(lines, out.len() + GUARDS_MAX, out);
    if left_out > 0 {
        let _ = writeln!(out, "- and {}", counted(left_out, "more guard"));
    }
}

/// Writes a row for each document while there is room.
pub(super) fn overview(documents: &[DocumentView], out: &mut String) {
    if documents.is_empty() {
        return;
    }
    out.push_str("**Other documents**\n\n");
    let mut table = Table::new(&["document", "change", "groups", "file"]);
    let (mut length, mut left_out) = (0, 0);
    for document in documents {
        let cells = vec![
            document.title(),
            document.verdict(),
            document.concerned(),
            document.file.clone(),
        ];
        let escaped = cells.iter().map(|cell| escape_markdown(cell).len() + 3);
        length += escaped.sum::<usize>();
        if length > TABLE_MAX {
            left_out += 1;
        } else {
            table.row(cells);
        }
    }
    out.push_str(&table.to_markdown());
    if left_out > 0 {
        let _ = writeln!(out, "\nTruncated: {}.", counted(left_out, "more document"));
    }
    out.push('\n');
}

/// Writes what differs in each document, to unfold, while there is room.
pub(super) fn details(documents: &[DocumentView], out: &mut String) {
    let told = documents.iter().map(|document| {
        format!(
            "<details><summary>{}: {}</summary>\n\n{}\n</details>\n\n",
            escape_markdown(&document.title()),
            escape_markdown(&document.verdict()),
            fenced("diff", &difference(&document.fields))
        )
    });
    let untold = while_room(told, out.len() + DETAILS_MAX, out);
    if untold > 0 {
        let _ = writeln!(
            out,
            "Truncated: what differs in {}.\n",
            counted(untold, "more document")
        );
    }
}
