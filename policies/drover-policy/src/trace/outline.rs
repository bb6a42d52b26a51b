//! The parts of an expression that somebody wrote, as a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, operators};

use super::extent::extent;
use crate::check::{Append, namespace};
use crate::functions::{self, is_bind};
use crate::parse::{Parsed, children};
use crate::types::Type;

/// What a part is to what is around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The expression itself.
    Whole,
    /// One of those that `&&` or `||` joins.
    Operand,
    /// What `?:` asks.
    Condition,
    /// What `?:` chooses from.
    Branch,
    /// What a loop asks about each element.
    Predicate,
    /// Anything else.
    Inner,
}

/// A part of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its node.
    pub(crate) id: u64,
    /// What it is to what is around it.
    pub(crate) role: Role,
    /// Its bytes in the text of the expression.
    pub(crate) range: Range<usize>,
    /// Whether it is a bool that may be either.
    pub(crate) boolean: bool,
    /// Its own parts, in order.
    pub(crate) children: Vec<Part>,
}

impl Part {
    /// Returns the part and all below it, in the order of the text.
    pub(crate) fn flat(&self) -> Vec<&Part> {
        let below = self.children.iter().flat_map(Part::flat);
        std::iter::once(self).chain(below).collect()
    }
}

/// Returns the parts of an expression. `types` are those that the check found, by node.
pub(crate) fn outline(text: &str, parsed: &Parsed, types: &BTreeMap<u64, Type>) -> Part {
    let mut outliner = Outliner {
        text,
        parsed,
        types,
        known: BTreeSet::new(),
    };
    let mut parts = outliner.parts(&parsed.root, Role::Whole);
    match (parts.pop(), parts.is_empty()) {
        (Some(part), true) if part.role == Role::Whole => part,
        (last, _) => {
            parts.extend(last);
            Part {
                id: parsed.root.id,
                role: Role::Whole,
                range: 0..text.len(),
                boolean: outliner.is_boolean(&parsed.root),
                children: parts,
            }
        }
    }
}

struct Outliner<'a> {
    text: &'a str,
    parsed: &'a Parsed,
    types: &'a BTreeMap<u64, Type>,
    /// The nodes that are parts already: some macros use one node twice.
    known: BTreeSet<u64>,
}

impl Outliner<'_> {
    fn token(&self, node: &IdedExpr) -> usize {
        let offset = self.parsed.offsets.offset_for(node.id).unwrap_or((0, 0)).0;
        (offset as usize).min(self.text.len())
    }

    fn is_boolean(&self, node: &IdedExpr) -> bool {
        let is_bool = matches!(self.types.get(&node.id), Some(Type::Bool));
        is_bool && !matches!(node.expr, Expr::Literal(_))
    }

    /// Returns the parts that a node consists of: itself, or what is below it when nobody wrote it or
    /// nothing is gained by showing it.
    fn parts(&mut self, node: &IdedExpr, role: Role) -> Vec<Part> {
        let shown = match &node.expr {
            Expr::Literal(_) => role != Role::Inner,
            Expr::List(_) | Expr::Map(_) => role != Role::Inner && role != Role::Predicate,
            // The loop inside of `sortBy` goes over a name that the macro made.
            Expr::Comprehension(loop_) => !is_made(&loop_.iter_range) && !is_made(&loop_.accu_init),
            Expr::Call(call) => self.is_written_call(node, call),
            Expr::Ident(_) | Expr::Select(_) => {
                !matches!(self.types.get(&node.id), Some(Type::Kind))
            }
            Expr::Unspecified | Expr::Struct(_) => false,
        };
        let range = extent(self.text, self.parsed, node).filter(|_| shown);
        let Some(range) = range else {
            return self.below(node);
        };
        if !self.known.insert(node.id) {
            return Vec::new();
        }
        vec![Part {
            id: node.id,
            role,
            range,
            boolean: self.is_boolean(node),
            children: self.below(node),
        }]
    }

    fn all<'n>(&mut self, nodes: impl IntoIterator<Item = (&'n IdedExpr, Role)>) -> Vec<Part> {
        let parts = nodes.into_iter();
        parts
            .flat_map(|(node, role)| self.parts(node, role))
            .collect()
    }

    fn below(&mut self, node: &IdedExpr) -> Vec<Part> {
        match &node.expr {
            Expr::Call(call) => self.below_call(node, call),
            Expr::Comprehension(loop_) if is_bind(loop_) => self.all([
                (&loop_.accu_init, Role::Inner),
                (&loop_.result, Role::Inner),
            ]),
            Expr::Comprehension(loop_) => self.below_loop(loop_),
            Expr::Select(select) => self.below_path(&select.operand),
            _ => self.all(children(node).into_iter().map(|node| (node, Role::Inner))),
        }
    }

    /// What a path begins with, unless it is a name: `groups["web"]` of `groups["web"].total`.
    fn below_path(&mut self, operand: &IdedExpr) -> Vec<Part> {
        match &operand.expr {
            Expr::Ident(_) => Vec::new(),
            Expr::Select(select) if !select.test => self.below_path(&select.operand),
            _ => self.parts(operand, Role::Inner),
        }
    }

    fn below_call(&mut self, node: &IdedExpr, call: &CallExpr) -> Vec<Part> {
        let written = self.is_written_call(node, call);
        match (call.func_name.as_str(), call.args.as_slice()) {
            (name @ (operators::LOGICAL_AND | operators::LOGICAL_OR), _) if written => {
                let mut operands = Vec::new();
                joined(node, name, &mut operands);
                self.all(operands.into_iter().map(|node| (node, Role::Operand)))
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) if written => self.all([
                (condition, Role::Condition),
                (then, Role::Branch),
                (otherwise, Role::Branch),
            ]),
            (operators::INDEX, [operand, index]) => {
                let mut parts = self.below_path(operand);
                parts.extend(self.parts(index, Role::Inner));
                parts
            }
            _ => {
                let target = call.target.as_deref();
                let target = target.filter(|target| {
                    let name = namespace(target).map(|name| format!("{name}.{}", call.func_name));
                    name.is_none_or(|name| functions::cost(&name, false).is_none())
                });
                let nodes = target.into_iter().chain(&call.args);
                self.all(nodes.map(|node| (node, Role::Inner)))
            }
        }
    }

    /// The range of a loop and what it does with each element; the rest is the macro's.
    fn below_loop(&mut self, loop_: &ComprehensionExpr) -> Vec<Part> {
        let mut parts = self.parts(&loop_.iter_range, Role::Inner);
        if let Some(append) = Append::of(loop_) {
            if let Some(condition) = append.condition {
                parts.extend(self.parts(condition, Role::Predicate));
            }
            let is_element =
                matches!(&append.element.expr, Expr::Ident(name) if *name == loop_.iter_var);
            if !is_element {
                parts.extend(self.parts(append.element, Role::Inner));
            }
            return parts;
        }
        let Expr::Call(step) = &loop_.loop_step.expr else {
            return parts;
        };
        let ((operators::CONDITIONAL, [predicate, _, _])
        | (operators::LOGICAL_AND | operators::LOGICAL_OR, [_, predicate])) =
            (step.func_name.as_str(), step.args.as_slice())
        else {
            return parts;
        };
        parts.extend(self.parts(predicate, Role::Predicate));
        parts
    }

    /// Returns whether a call stands in the text, and does not come out of a macro.
    fn is_written_call(&self, node: &IdedExpr, call: &CallExpr) -> bool {
        let name = call.func_name.as_str();
        let token = self.token(node);
        if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return self.text[..token].trim_end().ends_with(name);
        }
        let operator = match name {
            operators::LOGICAL_AND => "&&",
            operators::LOGICAL_OR => "||",
            operators::CONDITIONAL => "?",
            operators::LOGICAL_NOT => "!",
            operators::IN => return true,
            // `math.greatest` is a call of `math.@max`.
            _ if name.starts_with('@') => {
                return call.target.as_deref().and_then(namespace).is_some();
            }
            _ => return true,
        };
        self.text[token..].starts_with(operator)
    }
}

/// Returns whether a node is a name that a macro made, or is called on one.
fn is_made(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Ident(name) => name.starts_with('@'),
        Expr::Call(call) => call.target.as_deref().is_some_and(is_made),
        _ => false,
    }
}

/// Returns what an operator joins, `a && b && c` as three.
fn joined<'n>(node: &'n IdedExpr, name: &str, operands: &mut Vec<&'n IdedExpr>) {
    match &node.expr {
        Expr::Call(call) if call.func_name == name && call.target.is_none() => {
            for operand in &call.args {
                joined(operand, name, operands);
            }
        }
        _ => operands.push(node),
    }
}
