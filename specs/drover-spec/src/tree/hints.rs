//! What is behind a syntax error of the kinds that people make most: a merge that was not finished, and a line that is
//! indented otherwise than the lines around it. The parser only says what it expected next.

use std::ops::Range;

/// How the lines begin that a merge leaves where two sides differ.
const MARKERS: [&str; 4] = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];

/// Returns the first line in a part of a text that a merge left there, as a range of bytes.
pub(super) fn merge_marker(source: &str, within: Range<usize>) -> Option<Range<usize>> {
    let mut lines = lines(source, within);
    lines.find(|line| {
        let text = &source[line.clone()];
        let rest = MARKERS.iter().find_map(|marker| text.strip_prefix(marker));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

/// Returns how to indent the line at a byte of a text so that it follows the lines before it. None: it does already, or
/// tabs are in the way.
pub(super) fn indentation(source: &str, within: Range<usize>) -> Option<String> {
    let all: Vec<&str> = lines(source, within).map(|line| &source[line]).collect();
    let (line, before) = all.split_last()?;
    let own = indent_of(line)?;
    let mut levels: Vec<usize> = Vec::new();
    for line in before.iter().rev() {
        let text = line.trim_start();
        let is_entry = text.starts_with("- ") || text.contains(':');
        if text.is_empty() || text.starts_with('#') || !is_entry {
            continue;
        }
        let indent = indent_of(line)?;
        let lowest = levels.last().copied().unwrap_or(usize::MAX);
        let entry = text.trim_start_matches(['-', ' ']);
        // What stands behind a hyphen is a level of its own.
        let inside = indent + (text.len() - entry.len());
        levels.extend([inside, indent].into_iter().filter(|level| *level < lowest));
        levels.dedup();
        if indent == 0 {
            break;
        }
    }
    if levels.is_empty() || levels.contains(&own) {
        return None;
    }
    let (last, others) = levels.split_last()?;
    let others: Vec<String> = others.iter().map(usize::to_string).collect();
    let known = match others.as_slice() {
        [] => last.to_string(),
        others => format!("{} or {last}", others.join(", ")),
    };
    let spaces = if own == 1 { "space" } else { "spaces" };
    Some(format!(
        "this line is indented by {own} {spaces}, and to follow the lines before it would be by {known}"
    ))
}

/// Returns by how many spaces a line is indented. None: a tab is among them.
fn indent_of(line: &str) -> Option<usize> {
    let rest = line.trim_start_matches(' ');
    (!rest.starts_with('\t')).then_some(line.len() - rest.len())
}

/// Returns the lines of a part of a text, without their ends.
fn lines(source: &str, within: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut start = within.start;
    let part = source.get(within).unwrap_or_default();
    part.split_inclusive('\n').map(move |line| {
        let text = line.trim_end_matches(['\n', '\r']);
        let range = start..start + text.len();
        start += line.len();
        range
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(source: &str) -> Range<usize> {
        0..source.len()
    }

    #[test]
    fn only_whole_markers_at_the_start_of_a_line_are_left_by_a_merge() {
        for (source, at) in [
            ("a: 1\n<<<<<<< HEAD\n", Some(5)),
            ("a: 1\n=======\nb: 2", Some(5)),
            (">>>>>>> feature\r\n", Some(0)),
            ("||||||| base", Some(0)),
            ("a: 1\n  <<<<<<< HEAD\n", None),
            ("======= =", Some(0)),
            ("========\n", None),
            ("<<: *a\n", None),
        ] {
            let found = merge_marker(source, whole(source));
            assert_eq!(found.map(|line| line.start), at, "{source:?}");
        }
        assert_eq!(merge_marker("<<<<<<< a\nb: 1", 10..14), None);
    }

    #[test]
    fn a_line_between_two_levels_is_told_which_there_are() {
        let by = |source: &str| indentation(source, whole(source));
        let told = |own: &str, known: &str| {
            Some(format!(
                "this line is indented by {own}, and to follow the lines before it would be by {known}"
            ))
        };
        assert_eq!(by("spec:\n  a: b\n   c: d"), told("3 spaces", "2 or 0"));
        assert_eq!(by("spec:\n  a: b\n c: d"), told("1 space", "2 or 0"));
        assert_eq!(
            by("spec:\n  # a\n  a:\n    - b: 1\n\n     c: d"),
            told("5 spaces", "6, 4, 2 or 0")
        );
        for right in ["a: b\nc d", "a:\n  - b: 1\n    c", "x", "a: b\n\tc: d", ""] {
            assert_eq!(by(right), None, "{right:?}");
        }
    }
}
