//! Guards put into a checked expression, because the evaluator has no budget: every round of a loop
//! is charged, and so is everything that can make a value larger or walks through one.

use std::collections::BTreeMap;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr,
    operators,
};

use crate::check::{Append, namespace};
use crate::functions::{self, Cost, is_bind};
use crate::guards;
use crate::parse::{children_mut, count};
use crate::trace::{self, Key};
use crate::types::{Type, mask};

#[cfg(test)]
mod tests;

/// Returns the expression with its guards. `types` are those that the check found, by node.
pub(crate) fn guarded(node: &IdedExpr, types: &BTreeMap<u64, Type>) -> IdedExpr {
    let keys = &BTreeMap::new();
    Guard { types, keys }.node(node)
}

/// Returns the expression with its guards, and with the nodes in `keys` traced.
pub(crate) fn traced(
    node: &IdedExpr,
    types: &BTreeMap<u64, Type>,
    keys: &BTreeMap<u64, Key>,
) -> IdedExpr {
    Guard { types, keys }.node(node)
}

struct Guard<'a> {
    types: &'a BTreeMap<u64, Type>,
    /// The nodes that are traced.
    keys: &'a BTreeMap<u64, Key>,
}

impl Guard<'_> {
    fn node(&self, node: &IdedExpr) -> IdedExpr {
        let plain = self.plain(node);
        let Some(key) = self.keys.get(&node.id) else {
            return plain;
        };
        let key = || literal(LiteralValue::Int(key.number().into()));
        let enter = call(trace::ENTER, vec![key()]);
        let leave = call(trace::LEAVE, vec![key(), plain]);
        let nothing = literal(LiteralValue::Null);
        call(operators::CONDITIONAL, vec![enter, leave, nothing])
    }

    fn plain(&self, node: &IdedExpr) -> IdedExpr {
        let expr = match &node.expr {
            // The check refuses struct literals.
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {
                node.expr.clone()
            }
            Expr::Call(call) => return self.call(node, call),
            Expr::Comprehension(comprehension) => {
                Expr::Comprehension(Box::new(self.comprehension(comprehension)))
            }
            Expr::List(list) => Expr::List(ListExpr::new_with_optionals(
                list.elements
                    .iter()
                    .map(|element| self.node(element))
                    .collect(),
                list.optional_indices.clone(),
            )),
            Expr::Map(map) => {
                let mut map = map.clone();
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        entry.key = self.node(&entry.key);
                        entry.value = self.node(&entry.value);
                    }
                }
                Expr::Map(map)
            }
            Expr::Select(select) => return self.select(node, select),
        };
        IdedExpr { id: node.id, expr }
    }

    /// A nullable field is present when it is not null: `has(spec.bounds)`.
    fn select(&self, node: &IdedExpr, select: &SelectExpr) -> IdedExpr {
        let operand = self.node(&select.operand);
        let field = |test| IdedExpr {
            id: node.id,
            expr: Expr::Select(SelectExpr {
                operand: Box::new(operand.clone()),
                field: select.field.clone(),
                test,
            }),
        };
        if select.test && self.nullable_field(select) {
            let present = call(
                operators::NOT_EQUALS,
                vec![field(false), literal(LiteralValue::Null)],
            );
            return call(
                operators::CONDITIONAL,
                vec![
                    field(true),
                    present,
                    literal(LiteralValue::Boolean(false.into())),
                ],
            );
        }
        field(select.test)
    }

    fn nullable_field(&self, select: &SelectExpr) -> bool {
        match self.type_of(&select.operand).present() {
            Type::Record(shape) => shape
                .field(&select.field)
                .is_some_and(|field| matches!((field.type_)(), Type::Nullable(_))),
            _ => false,
        }
    }

    fn type_of(&self, node: &IdedExpr) -> Type {
        self.types.get(&node.id).cloned().unwrap_or(Type::Dyn)
    }

    fn call(&self, node: &IdedExpr, original: &CallExpr) -> IdedExpr {
        let arguments: Vec<IdedExpr> = original
            .args
            .iter()
            .map(|argument| self.node(argument))
            .collect();
        let name = original.func_name.as_str();
        if let Some(target) = &original.target {
            let full = namespace(target).map(|namespace| format!("{namespace}.{name}"));
            let namespaced = full.and_then(|full| functions::cost(&full, false));
            if let Some(cost) = namespaced {
                return self.function(node, original, cost, None, arguments);
            }
            let cost = functions::cost(name, true).unwrap_or(Cost::Walk);
            return self.function(node, original, cost, Some(target), arguments);
        }
        match (name, original.args.as_slice()) {
            (operators::ADD, [left, right]) => {
                let plain = self.type_of(left).is_scalar() && self.type_of(right).is_scalar();
                call(if plain { operators::ADD } else { guards::ADD }, arguments)
            }
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                self.equality(name, left, right, arguments)
            }
            (operators::IN, [_, hay]) if !matches!(hay.expr, Expr::List(_)) => {
                call(guards::CONTAINS, arguments)
            }
            _ if is_function(name) => {
                let cost = functions::cost(name, false).unwrap_or(Cost::Walk);
                self.function(node, original, cost, None, arguments)
            }
            _ => rebuilt(node, original, None, arguments),
        }
    }

    /// Charges for a call of a function: for reading what it is given before, for its result after.
    fn function(
        &self,
        node: &IdedExpr,
        original: &CallExpr,
        cost: Cost,
        receiver: Option<&IdedExpr>,
        mut arguments: Vec<IdedExpr>,
    ) -> IdedExpr {
        let mut target = receiver.map(|receiver| self.node(receiver));
        let (first, others) = match cost {
            Cost::Own(name) => {
                let all = target.into_iter().chain(arguments).collect();
                return call(name, all);
            }
            Cost::Fixed => (None, None),
            Cost::Read => (Some(guards::READ), Some(guards::READ)),
            Cost::Walk | Cost::Grow => (Some(guards::WALK), Some(guards::WALK)),
            Cost::Sort => (Some(guards::SORT), Some(guards::WALK)),
            Cost::Pairwise => (Some(guards::PAIRWISE), Some(guards::WALK)),
        };
        let originals = receiver.into_iter().chain(&original.args);
        let parts = target.iter_mut().chain(&mut arguments);
        for (at, (part, original)) in parts.zip(originals).enumerate() {
            let guard = if at == 0 { first } else { others };
            let cheap =
                matches!(original.expr, Expr::Literal(_)) || self.type_of(original).is_scalar();
            if let (Some(guard), false) = (guard, cheap) {
                *part = call(guard, vec![std::mem::take(part)]);
            }
        }
        let target = target.map(Box::new).or_else(|| original.target.clone());
        let made = rebuilt(node, original, target, arguments);
        if cost == Cost::Grow {
            call(guards::SHORT, vec![made])
        } else if functions::grows(&self.type_of(node)) {
            call(guards::KEEP, vec![made])
        } else {
            made
        }
    }

    /// The evaluator asks the left operand alone. So null goes to the right, where our own values
    /// answer; and values that may be large are compared by a guard.
    fn equality(
        &self,
        name: &str,
        left: &IdedExpr,
        right: &IdedExpr,
        mut arguments: Vec<IdedExpr>,
    ) -> IdedExpr {
        let is_null = |node: &IdedExpr| matches!(&node.expr, Expr::Literal(LiteralValue::Null));
        if is_null(left) {
            arguments.swap(0, 1);
        }
        let cheap = |node: &IdedExpr| {
            let type_ = self.type_of(node);
            type_.is_scalar() || (!type_.is_dyn() && type_.mask() & mask::TEXT != 0)
        };
        if is_null(left) || is_null(right) || cheap(left) || cheap(right) {
            return call(name, arguments);
        }
        let equal = call(guards::EQUAL, arguments);
        if name == operators::NOT_EQUALS {
            call(operators::LOGICAL_NOT, vec![equal])
        } else {
            equal
        }
    }

    /// Keeps a value under a name: the evaluator copies it, and the result too.
    fn bind(&self, original: &ComprehensionExpr) -> ComprehensionExpr {
        let kept = |node: &IdedExpr| {
            let guarded = self.node(node);
            if functions::grows(&self.type_of(node)) {
                call(guards::KEEP, vec![guarded])
            } else {
                guarded
            }
        };
        ComprehensionExpr {
            accu_init: kept(&original.accu_init),
            result: kept(&original.result),
            ..original.clone()
        }
    }

    fn comprehension(&self, original: &ComprehensionExpr) -> ComprehensionExpr {
        if is_bind(original) {
            return self.bind(original);
        }
        // The evaluator has loops with one variable alone: a loop with two becomes one over pairs.
        let single;
        let (range, original) = match &original.iter_var2 {
            None => (guards::RANGE, original),
            Some(second) => {
                single = over_pairs(original, second);
                (functions::PAIRS, &single)
            }
        };
        let steps = count(&original.loop_step) + 1;
        let mut rebuilt = original.clone();
        rebuilt.iter_range = call(range, vec![self.node(&original.iter_range)]);
        rebuilt.accu_init = self.node(&original.accu_init);
        rebuilt.result = self.node(&original.result);
        let Some(append) = Append::of(original) else {
            rebuilt.loop_step = self.node(&original.loop_step);
            rebuilt.loop_cond = ticked(
                steps,
                self.node(&original.loop_cond),
                literal(LiteralValue::Boolean(false.into())),
            );
            return rebuilt;
        };
        // The evaluator appends in place only as long as the step keeps its form and the loop's own
        // condition is a literal; otherwise a loop copies its result once per element.
        let element = call(guards::KEEP, vec![self.node(append.element)]);
        let element = match append.condition {
            Some(_) => element,
            None => ticked(steps, element, literal(LiteralValue::Null)),
        };
        let accumulator = || IdedExpr {
            id: 0,
            expr: Expr::Ident(original.accu_var.clone()),
        };
        let tail = IdedExpr {
            id: 0,
            expr: Expr::List(ListExpr::new(vec![element])),
        };
        let grown = call(operators::ADD, vec![accumulator(), tail]);
        rebuilt.loop_step = match append.condition {
            None => grown,
            Some(condition) => {
                let condition = ticked(
                    steps,
                    self.node(condition),
                    literal(LiteralValue::Boolean(false.into())),
                );
                call(
                    operators::CONDITIONAL,
                    vec![condition, grown, accumulator()],
                )
            }
        };
        rebuilt
    }
}

/// Charges `steps` before `node`. A conditional and not `&&`, which would hide the error of an
/// exhausted budget behind a false condition and go on.
fn ticked(steps: u64, node: IdedExpr, otherwise: IdedExpr) -> IdedExpr {
    let steps = literal(LiteralValue::Int((steps as i64).into()));
    let tick = call(guards::TICK, vec![steps]);
    call(operators::CONDITIONAL, vec![tick, node, otherwise])
}

/// Returns a loop with two variables as one whose variable is a pair.
fn over_pairs(original: &ComprehensionExpr, second: &str) -> ComprehensionExpr {
    // No two loops have the same name for it, so that one inside another still sees the outer pair.
    let pair = format!("@pair{}", original.iter_range.id);
    let names = [original.iter_var.as_str(), second];
    let in_pair = |node: &IdedExpr| {
        let mut node = node.clone();
        name_parts(&mut node, &names, &pair);
        node
    };
    ComprehensionExpr {
        loop_cond: in_pair(&original.loop_cond),
        loop_step: in_pair(&original.loop_step),
        iter_var: pair.clone(),
        iter_var2: None,
        ..original.clone()
    }
}

/// Replaces each of two names by the part of a pair that it stands for.
fn name_parts(node: &mut IdedExpr, names: &[&str; 2], pair: &str) {
    match &mut node.expr {
        Expr::Ident(name) => {
            let at = names.iter().position(|part| part == name);
            if let Some(at) = at {
                let pair = IdedExpr {
                    id: 0,
                    expr: Expr::Ident(pair.to_owned()),
                };
                let index = literal(LiteralValue::Int((at as i64).into()));
                node.expr = call(operators::INDEX, vec![pair, index]).expr;
            }
        }
        // Inside, the names mean something else where the loop gives them itself.
        Expr::Comprehension(inner) => {
            name_parts(&mut inner.iter_range, names, pair);
            name_parts(&mut inner.accu_init, names, pair);
            let hidden = |name: &str| {
                name == inner.iter_var
                    || name == inner.accu_var
                    || Some(name) == inner.iter_var2.as_deref()
            };
            let visible = names.map(|name| if hidden(name) { "" } else { name });
            name_parts(&mut inner.loop_cond, &visible, pair);
            name_parts(&mut inner.loop_step, &visible, pair);
            name_parts(&mut inner.result, &visible, pair);
        }
        _ => {
            for child in children_mut(node) {
                name_parts(child, names, pair);
            }
        }
    }
}

/// Returns a call with other arguments.
fn rebuilt(
    node: &IdedExpr,
    original: &CallExpr,
    target: Option<Box<IdedExpr>>,
    args: Vec<IdedExpr>,
) -> IdedExpr {
    IdedExpr {
        id: node.id,
        expr: Expr::Call(CallExpr {
            func_name: original.func_name.clone(),
            target,
            args,
        }),
    }
}

fn call(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr {
        id: 0,
        expr: Expr::Call(CallExpr {
            func_name: name.to_owned(),
            target: None,
            args,
        }),
    }
}

fn literal(value: LiteralValue) -> IdedExpr {
    IdedExpr {
        id: 0,
        expr: Expr::Literal(value),
    }
}

/// Returns whether a name is that of a function, not of an operator.
fn is_function(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
}
