//! Where the text of a node begins and ends. The parser only knows the place of one token of each:
//! the operator, the opening bracket, the dot.

use std::ops::Range;

use cel::common::ast::{Expr, IdedExpr};

use crate::functions::is_bind;
use crate::parse::{Parsed, children};

/// Returns the bytes of `text` that a node was written as. None: nobody wrote it, a macro made it.
pub(super) fn extent(text: &str, parsed: &Parsed, node: &IdedExpr) -> Option<Range<usize>> {
    let (start, stop) = parsed.offsets.offset_for(node.id)?;
    let token = (start as usize).min(text.len());
    let token_end = (stop as usize + 1).clamp(token, text.len());
    let inside = || {
        children(node)
            .into_iter()
            .filter_map(|child| extent(text, parsed, child))
            .reduce(|one, other| one.start.min(other.start)..one.end.max(other.end))
    };
    let called = |token: usize| {
        let name = name_before(text, token);
        let end = closing(text, token);
        name.start..end
    };
    match &node.expr {
        Expr::Unspecified | Expr::Struct(_) => None,
        Expr::Ident(name) if name.starts_with(['@', '#']) => None,
        Expr::Ident(name) => Some(token..(token + name.len()).min(text.len())),
        Expr::Literal(_) => Some(token..token_end),
        Expr::List(_) | Expr::Map(_) => Some(token..closing(text, token)),
        Expr::Select(select) if select.test => Some(called(token)),
        Expr::Select(select) => {
            let operand = inside()?;
            let from = token.max(operand.end);
            let field = text.get(from..)?.find(select.field.as_str())?;
            let quoted = text[from + field + select.field.len()..].starts_with('`');
            let end = from + field + select.field.len() + usize::from(quoted);
            Some(balanced(text, operand.start..end))
        }
        Expr::Comprehension(loop_) => {
            // `cel.bind` is called on nothing; `optMap` and loops are called on a value.
            let target = if is_bind(loop_) {
                &loop_.accu_init
            } else {
                &loop_.iter_range
            };
            let target = extent(text, parsed, target).filter(|target| target.start < token);
            Some(match target {
                Some(target) => balanced(text, target.start..token).start..closing(text, token),
                None => called(token),
            })
        }
        Expr::Call(_) if text[token..].starts_with(['(', '[']) => {
            let end = closing(text, token);
            let start = inside().map_or(token, |inside| inside.start);
            let start = start.min(name_before(text, token).start);
            Some(balanced(text, start..end))
        }
        Expr::Call(_) => {
            let inside = inside()?;
            Some(balanced(
                text,
                inside.start.min(token)..inside.end.max(token_end),
            ))
        }
    }
}

/// Returns the place of the name in front of the bracket at `bracket`, `math.abs` whole.
fn name_before(text: &str, bracket: usize) -> Range<usize> {
    let before = text[..bracket].trim_end();
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let start = before.trim_end_matches(name).len();
    let start = match before[..start].strip_suffix("cel.") {
        Some(rest) => rest.len(),
        None => start,
    };
    start..before.len()
}

/// Returns the end of what the bracket at `open` begins; the end of the text when it is not closed.
fn closing(text: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code(text, open) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Widens a range until as many round brackets open as close in it: an operand's own are no nodes.
fn balanced(text: &str, range: Range<usize>) -> Range<usize> {
    let Range { mut start, mut end } = range;
    let (mut open, mut missing) = (0_usize, 0_usize);
    for (_, c) in code(text, start).take_while(|(at, _)| *at < end) {
        match c {
            '(' => open += 1,
            ')' if open == 0 => missing += 1,
            ')' => open -= 1,
            _ => {}
        }
    }
    for _ in 0..missing {
        match text[..start].trim_end().strip_suffix('(') {
            Some(before) => start = before.len(),
            None => break,
        }
    }
    for _ in 0..open {
        let rest = text[end..].trim_start();
        if !rest.starts_with(')') {
            break;
        }
        end = text.len() - rest.len() + 1;
    }
    start..end
}

/// Goes through the characters from `from` on that are code: texts and comments are left out.
fn code(text: &str, from: usize) -> impl Iterator<Item = (usize, char)> {
    let mut at = from;
    std::iter::from_fn(move || {
        loop {
            let rest = text.get(at..)?;
            let c = rest.chars().next()?;
            if rest.starts_with("//") {
                at += rest.find('\n').unwrap_or(rest.len());
            } else if matches!(c, '\'' | '"') {
                let raw = text[..at].ends_with(['r', 'R']);
                at += quoted(rest, c, raw);
            } else {
                at += c.len_utf8();
                return Some((at - c.len_utf8(), c));
            }
        }
    })
}

/// Returns the length of the text literal that `rest` begins with.
fn quoted(rest: &str, quote: char, raw: bool) -> usize {
    let triple: String = [quote; 3].iter().collect();
    let long = rest.starts_with(&triple);
    let end = if long { triple.as_str() } else { &triple[..1] };
    let mut at = end.len();
    while let Some(c) = rest[at..].chars().next() {
        if rest[at..].starts_with(end) {
            return at + end.len();
        }
        at += c.len_utf8();
        if c == '\\' && !raw {
            at += rest[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    rest.len()
}
