//! Writes a tree as JSON: the outer levels a line each, so that a difference is worth reading, and
//! what is inside on one line, so that it stays small. YAML contains JSON, so one reader reads both.

use std::fmt::Write as _;

use super::write::{Yaml, quoted};

/// The levels whose entries have lines of their own.
const LINE_LEVELS: usize = 2;

/// Writes a whole document.
pub(crate) fn document(root: &Yaml) -> String {
    let mut out = String::new();
    value(&mut out, root, 0);
    out.push('\n');
    out
}

fn value(out: &mut String, tree: &Yaml, depth: usize) {
    match tree {
        Yaml::Literal(text) => out.push_str(text),
        Yaml::Text(text) => quoted(out, text, escape),
        Yaml::List(items) => {
            entries(out, ('[', ']'), depth, items, |out, item| {
                value(out, item, depth + 1);
            });
        }
        Yaml::Map(map) => entries(out, ('{', '}'), depth, map, |out, (key, item)| {
            quoted(out, key, escape);
            out.push_str(": ");
            value(out, item, depth + 1);
        }),
    }
}

fn entries<T>(
    out: &mut String,
    (open, close): (char, char),
    depth: usize,
    items: &[T],
    mut each: impl FnMut(&mut String, &T),
) {
    let lines = depth < LINE_LEVELS && !items.is_empty();
    out.push(open);
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push_str(if lines { "," } else { ", " });
        }
        if lines {
            line(out, depth + 1);
        }
        each(out, item);
    }
    if lines {
        line(out, depth);
    }
    out.push(close);
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth));
}

fn escape(out: &mut String, character: char) {
    // Every character that a reader may refuse has four digits at most. Writing to a string cannot
    // fail.
    let _ = write!(out, "\\u{:04x}", u32::from(character));
}
