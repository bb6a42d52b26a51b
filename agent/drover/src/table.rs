//! Tables for people, and in Markdown.

use crate::printable::printable;

#[cfg(test)]
mod tests;

/// A table: a head, and rows of as many cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Makes an empty table.
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Missing cells are empty.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        let mut cells = cells;
        cells.resize(self.head.len(), String::new());
        self.rows
            .push(cells.iter().map(|cell| one_line(cell)).collect());
    }

    /// Returns the table in aligned columns, an empty cell as `-`, so that columns can be counted.
    pub(crate) fn to_text(&self, headers: bool) -> String {
        let mut lines: Vec<Vec<&str>> = Vec::new();
        if headers {
            lines.push(self.head.clone());
        }
        for row in &self.rows {
            let cells = row
                .iter()
                .map(|cell| if cell.is_empty() { "-" } else { cell });
            lines.push(cells.collect());
        }
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| {
                lines
                    .iter()
                    .map(|line| width(line[column]))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for line in lines {
            let mut rendered = String::new();
            for (cell, column_width) in line.iter().zip(&widths) {
                rendered.push_str(cell);
                rendered.push_str(&" ".repeat(column_width - width(cell) + 3));
            }
            text.push_str(rendered.trim_end());
            text.push('\n');
        }
        text
    }

    /// Returns the table in Markdown. What comes from a repository cannot mention or embed anything.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!("| {} |\n", self.head.join(" | "));
        text.push_str(&format!("|{}\n", " --- |".repeat(self.head.len())));
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| escape_markdown(cell)).collect();
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        text
    }
}

/// Shows nothing, and ends what a forge would take for a mention, a reference or an address.
const BREAK: &str = "&#8203;";

/// Escapes what Markdown or a forge would interpret: markup, HTML, mentions, references, addresses. What is hidden is
/// shown.
pub(crate) fn escape_markdown(text: &str) -> String {
    let text = printable(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' => {
                out.push('\\');
                out.push(character);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\r' => out.push(' '),
            _ => out.push(character),
        }
        if is_live(character, rest.as_str(), &out) {
            out.push_str(BREAK);
        }
    }
    out
}

/// Whether something that forges make a link of would go on behind a character: a mention, an issue, a merge request,
/// a snippet, a milestone, a label, an epic, an address.
fn is_live(character: char, rest: &str, out: &str) -> bool {
    let named = rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '"' | '_'));
    let ends = |word: &str| {
        let from = out.len().checked_sub(word.len());
        let end = from.and_then(|from| out.get(from..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(word))
    };
    match character {
        '@' | '#' | '!' | '$' | '%' | '~' | '&' => named,
        ':' => rest.starts_with("//"),
        'w' | 'W' => rest.starts_with('.') && ends("www"),
        '-' => named && ends("gh-"),
        _ => false,
    }
}

fn one_line(cell: &str) -> String {
    printable(cell).trim().to_owned()
}

fn width(text: &str) -> usize {
    text.chars().count()
}
