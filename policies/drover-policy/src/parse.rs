//! From source to a syntax tree within limits.

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, SourceInfo};

use crate::functions::{self, is_bind};
use crate::limits::{
    DEPTH_MAX, LITERAL_BYTES_MAX, LITERAL_ELEMENTS_MAX, LOOPS_NESTED_MAX, NODES_MAX,
    SOURCE_BYTES_MAX,
};
use crate::value::shorten;

/// A mistake in one expression, by byte offset in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) offset: usize,
    pub(crate) length: usize,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Mistake {
    pub(crate) fn new(offset: usize, length: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            length,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A syntax tree within the limits.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) root: IdedExpr,
    /// Byte offsets of nodes. Of a selection it is the dot, of a call the opening bracket.
    pub(crate) offsets: SourceInfo,
}

/// Parses `text`. Must run on a large stack.
pub(crate) fn parse(text: &str) -> Result<Parsed, Mistake> {
    if text.trim().is_empty() {
        return Err(Mistake::new(
            0,
            text.len().max(1),
            "the expression is empty",
        ));
    }
    if text.len() > SOURCE_BYTES_MAX {
        let message = format!(
            "the expression is {} bytes long; at most {SOURCE_BYTES_MAX} are allowed",
            text.len()
        );
        return Err(Mistake::new(0, 1, message).hint("split it into `variables`"));
    }
    let (root, offsets) = functions::environment()
        .parser()
        .enable_ident_escape_syntax(true)
        .parse_with_source_info(text)
        .map_err(|errors| syntax_mistake(text, errors))?;
    let parsed = Parsed { root, offsets };
    let mut measure = Measure {
        parsed: &parsed,
        nodes: 0,
    };
    measure.node(&parsed.root, 0, 0)?;
    Ok(parsed)
}

fn syntax_mistake(text: &str, errors: cel::ParseErrors) -> Mistake {
    let Some(first) = errors.errors.into_iter().next() else {
        return Mistake::new(0, 1, "the expression cannot be parsed");
    };
    let offset = offset_of(text, first.pos);
    let message = first.msg.trim_start_matches("Syntax error: ").to_owned();
    let quoted = || {
        let start = message.find('\'').map_or(0, |at| at + 1);
        let end = message[start..]
            .find("' expecting")
            .or_else(|| message[start..].rfind('\''))
            .map_or(message.len(), |at| start + at);
        shorten(message[start..end].trim(), 40)
    };
    let at = |message: String, length: usize| Mistake::new(offset, length.max(1), message);
    if message.contains("Recursion limit") {
        let message = "the expression is nested too deep".to_owned();
        return Mistake::new(0, 1, message).hint("split it into `variables`");
    }
    if message.contains("'<EOF>'") {
        let mistake = at("the expression ends too early".to_owned(), 1);
        return match unclosed(text) {
            Some(bracket) => mistake.hint(format!("a `{bracket}` is not closed")),
            None => mistake,
        };
    }
    if message.starts_with("token recognition error") {
        let token = quoted();
        let mistake = at(format!("`{token}` is not understood"), token.len());
        return if token.starts_with('=') {
            mistake.hint("`==` compares")
        } else if token.starts_with('&') || token.starts_with('|') {
            mistake.hint("`&&` and `||` join conditions")
        } else if token.starts_with(['\'', '"']) {
            mistake.hint("the text has no closing quote, or an escape that does not exist")
        } else {
            mistake
        };
    }
    if message.starts_with("extraneous input")
        || message.starts_with("mismatched input")
        || message.starts_with("no viable alternative")
    {
        let token = quoted();
        let mistake = at(format!("`{token}` is not expected here"), token.len());
        return match token.to_ascii_lowercase().as_str() {
            "and" => mistake.hint("`&&` joins conditions that must both hold"),
            "or" => mistake.hint("`||` joins conditions of which one must hold"),
            "not" => mistake.hint("`!` negates a condition"),
            "is" => mistake.hint("`==` compares"),
            "then" | "if" | "else" => mistake.hint("write `condition ? value : otherwise`"),
            _ => mistake,
        };
    }
    if message.starts_with("invalid argument to has()") {
        return at(
            "has() takes a field, such as has(oldSpec.size)".to_owned(),
            1,
        )
        .hint("compare a variable itself with null: `oldSpec != null`");
    }
    at(shorten(&message, 200), 1)
}

/// Returns the bracket that is opened more often than it is closed, if there is one.
fn unclosed(text: &str) -> Option<char> {
    [('(', ')'), ('[', ']'), ('{', '}')]
        .into_iter()
        .find(|(open, close)| text.matches(*open).count() > text.matches(*close).count())
        .map(|(open, _)| open)
}

/// Turns the parser's line and column, both from 1, into a byte offset. It counts characters.
fn offset_of(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let column = usize::try_from(column - 1).unwrap_or(0);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    text[start..]
        .char_indices()
        .nth(column)
        .map_or(text.len(), |(at, _)| start + at)
}

struct Measure<'a> {
    parsed: &'a Parsed,
    nodes: usize,
}

impl Measure<'_> {
    fn refuse(&self, node: &IdedExpr, message: String, hint: &str) -> Mistake {
        let offset = self.parsed.offsets.offset_for(node.id).unwrap_or((0, 0)).0;
        Mistake::new(offset as usize, 1, message).hint(hint)
    }

    fn node(&mut self, node: &IdedExpr, depth: usize, loops: usize) -> Result<(), Mistake> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let message = format!("the expression has more than {NODES_MAX} parts");
            return Err(self.refuse(node, message, "split it into `variables`"));
        }
        if depth > DEPTH_MAX {
            let message =
                format!("the expression is nested, or chained, more than {DEPTH_MAX} deep");
            return Err(self.refuse(
                node,
                message,
                "use a list and `in`, or split it into `variables`",
            ));
        }
        self.literal(node)?;
        if let Expr::Comprehension(comprehension) = &node.expr
            && !is_bind(comprehension)
        {
            if loops + 1 > LOOPS_NESTED_MAX {
                let message = format!("loops are nested more than {LOOPS_NESTED_MAX} deep");
                return Err(self.refuse(node, message, "keep an inner result in `variables`"));
            }
            self.node(&comprehension.iter_range, depth + 1, loops)?;
            self.node(&comprehension.accu_init, depth + 1, loops)?;
            for inner in [
                &comprehension.loop_cond,
                &comprehension.loop_step,
                &comprehension.result,
            ] {
                self.node(inner, depth + 1, loops + 1)?;
            }
            return Ok(());
        }
        children(node)
            .into_iter()
            .try_for_each(|child| self.node(child, depth + 1, loops))
    }

    fn literal(&self, node: &IdedExpr) -> Result<(), Mistake> {
        let (size, max, what) = match &node.expr {
            Expr::Literal(LiteralValue::String(text)) => {
                (text.inner().len(), LITERAL_BYTES_MAX, "bytes in one text")
            }
            Expr::Literal(LiteralValue::Bytes(bytes)) => (
                bytes.inner().len(),
                LITERAL_BYTES_MAX,
                "bytes in one literal",
            ),
            Expr::List(list) => (
                list.elements.len(),
                LITERAL_ELEMENTS_MAX,
                "elements in one list",
            ),
            Expr::Map(map) => (
                map.entries.len(),
                LITERAL_ELEMENTS_MAX,
                "entries in one map",
            ),
            _ => return Ok(()),
        };
        if size <= max {
            return Ok(());
        }
        let message = format!("{size} {what}; at most {max} are allowed");
        Err(self.refuse(node, message, "put large values into `params`"))
    }
}

/// Returns the direct children of a node in source order.
pub(crate) fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect(),
        Expr::Comprehension(loop_) => vec![
            &loop_.iter_range,
            &loop_.accu_init,
            &loop_.loop_cond,
            &loop_.loop_step,
            &loop_.result,
        ],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map
            .entries
            .iter()
            .flat_map(|entry| entry_children(&entry.expr))
            .collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Struct(record) => record
            .entries
            .iter()
            .flat_map(|entry| entry_children(&entry.expr))
            .collect(),
    }
}

/// Returns the direct children of a node, to be changed.
pub(crate) fn children_mut(node: &mut IdedExpr) -> Vec<&mut IdedExpr> {
    match &mut node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call
            .target
            .as_deref_mut()
            .into_iter()
            .chain(&mut call.args)
            .collect(),
        Expr::Comprehension(loop_) => vec![
            &mut loop_.iter_range,
            &mut loop_.accu_init,
            &mut loop_.loop_cond,
            &mut loop_.loop_step,
            &mut loop_.result,
        ],
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Map(map) => entries_mut(&mut map.entries),
        Expr::Select(select) => vec![&mut select.operand],
        Expr::Struct(record) => entries_mut(&mut record.entries),
    }
}

fn entries_mut(entries: &mut [IdedEntryExpr]) -> Vec<&mut IdedExpr> {
    entries
        .iter_mut()
        .flat_map(|entry| match &mut entry.expr {
            EntryExpr::MapEntry(entry) => vec![&mut entry.key, &mut entry.value],
            EntryExpr::StructField(field) => vec![&mut field.value],
        })
        .collect()
}

fn entry_children(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        EntryExpr::StructField(field) => vec![&field.value],
    }
}

/// Returns the number of nodes of a tree.
pub(crate) fn count(node: &IdedExpr) -> u64 {
    1 + children(node).into_iter().map(count).sum::<u64>()
}
