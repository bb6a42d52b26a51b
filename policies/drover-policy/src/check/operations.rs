//! Operators.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::{Checker, article, literal_text};
use crate::definitions::Named;
use crate::types::{Type, closest, mask};

impl Checker<'_> {
    /// Infers a call of an operator; None: it is none.
    pub(super) fn operator(&mut self, node: &IdedExpr, call: &CallExpr) -> Option<Type> {
        let type_ = match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [left, right]) => {
                self.logical(left);
                self.logical(right);
                Type::Bool
            }
            (operators::LOGICAL_NOT, [operand]) => {
                let type_ = self.part(operand);
                self.expect_condition(operand, &type_);
                Type::Bool
            }
            (operators::NOT_STRICTLY_FALSE, [operand]) => {
                self.part(operand);
                Type::Bool
            }
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                self.logical(condition);
                let then = self.part(then);
                then.join(self.part(otherwise))
            }
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                self.equality(node, left, right);
                Type::Bool
            }
            (
                operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                [left, right],
            ) => {
                self.ordering(node, left, right);
                Type::Bool
            }
            (operators::IN, [needle, hay]) => {
                self.membership(node, needle, hay);
                Type::Bool
            }
            (operators::NEGATE, [operand]) => {
                let type_ = self.part(operand);
                if type_.mask() & (mask::INT | mask::DOUBLE) == 0 {
                    let message = format!("{} cannot be negated", article(&type_));
                    self.mistake(node, 1, message);
                }
                type_.present().clone()
            }
            (
                operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO,
                [left, right],
            ) => self.arithmetic(node, &call.func_name, left, right),
            (operators::INDEX, [operand, index]) => self.index(node, operand, index),
            (operators::OPT_INDEX, [operand, index]) => maybe(self.index(node, operand, index)),
            (operators::OPT_SELECT, [operand, field]) => {
                let operand = self.part(operand);
                let field = literal_text(field);
                maybe(field.map_or(Type::Dyn, |field| self.field(node, &operand, field)))
            }
            _ => return None,
        };
        Some(type_)
    }

    /// Checks an operand of `&&`, `||` or `?:`.
    fn logical(&mut self, operand: &IdedExpr) {
        let type_ = self.part(operand);
        self.expect_condition(operand, &type_);
        if let Expr::Literal(LiteralValue::Boolean(value)) = &operand.expr {
            // The loops' own conditions are literals too; they have no place in the source.
            if !self.is_synthesized(operand) {
                let message = format!("this condition is always {}", value.inner());
                self.mistake_over(operand, message).hint =
                    Some("remove it, or use a parameter".to_owned());
            }
        }
    }

    fn is_synthesized(&self, node: &IdedExpr) -> bool {
        let at = self.offset(node);
        !self
            .text
            .get(at..)
            .is_some_and(|rest| rest.starts_with("true") || rest.starts_with("false"))
    }

    fn equality(&mut self, node: &IdedExpr, left: &IdedExpr, right: &IdedExpr) {
        let (left_type, right_type) = (self.part(left), self.part(right));
        self.word(&left_type, right);
        self.word(&right_type, left);
        if !left_type.comparable(&right_type) {
            let message = if matches!(left_type, Type::Null) || matches!(right_type, Type::Null) {
                let other = if matches!(left_type, Type::Null) {
                    &right_type
                } else {
                    &left_type
                };
                format!("{} is never null", article(other))
            } else {
                format!(
                    "{} and {} are never equal",
                    article(&left_type),
                    article(&right_type)
                )
            };
            let mut mistake = self.at(node, 2, message);
            mistake.hint = conversion(&left_type, &right_type).map(str::to_owned);
            self.found.mistakes.push(mistake);
        }
    }

    /// Reports a literal that a value out of a fixed set of words is compared with and never has.
    fn word(&mut self, type_: &Type, literal: &IdedExpr) {
        let (Type::Word(words), Some(text)) = (type_.present(), literal_text(literal)) else {
            return;
        };
        let all = (words.all)();
        if all.contains(&text) {
            return;
        }
        let message = format!("`{text}` is not {}", words.name);
        let hint = match closest(text, all.iter().copied()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("one of {}", all.join(", ")),
        };
        self.mistake_over(literal, message).hint = Some(hint);
    }

    fn ordering(&mut self, node: &IdedExpr, left: &IdedExpr, right: &IdedExpr) {
        const ORDERED: u32 =
            mask::NUMBER | mask::TEXT | mask::BYTES | mask::BOOL | mask::TIMESTAMP | mask::DURATION;
        let (left, right) = (self.part(left), self.part(right));
        let (first, second) = (left.mask() & ORDERED, right.mask() & ORDERED);
        let both_numbers = first & mask::NUMBER != 0 && second & mask::NUMBER != 0;
        if first & second == 0 && !both_numbers {
            let message = format!("{} and {} have no order", article(&left), article(&right));
            let mut mistake = self.at(node, 1, message);
            if let Some(hint) = conversion(&left, &right) {
                mistake = mistake.hint(hint);
            } else if (left.mask() | right.mask()) & (mask::QUANTITY | mask::SEMVER) != 0 {
                mistake = mistake.hint("compare with isLessThan() and isGreaterThan()");
            }
            self.found.mistakes.push(mistake);
        }
    }

    fn membership(&mut self, node: &IdedExpr, needle: &IdedExpr, hay: &IdedExpr) {
        let (needle_type, hay_type) = (self.part(needle), self.part(hay));
        let element = match hay_type.present() {
            Type::List(element) => (**element).clone(),
            Type::Map(_) => Type::Text,
            Type::Dyn => return,
            other => {
                let message = format!(
                    "`in` looks into lists and maps, not into {}",
                    article(other)
                );
                self.mistake(node, 2, message);
                return;
            }
        };
        if !needle_type.comparable(&element) {
            let message = format!(
                "{} is never in {}",
                article(&needle_type),
                article(&hay_type)
            );
            self.mistake(node, 2, message);
        }
        if let Expr::List(list) = &hay.expr {
            for literal in &list.elements {
                self.word(&needle_type, literal);
            }
        }
    }

    fn arithmetic(
        &mut self,
        node: &IdedExpr,
        operator: &str,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Type {
        let (left_type, right_type) = (self.part(left), self.part(right));
        let divides = matches!(operator, operators::DIVIDE | operators::MODULO);
        if divides
            && matches!(&right.expr, Expr::Literal(LiteralValue::Int(zero)) if *zero.inner() == 0)
        {
            self.mistake(node, 1, "division by zero");
        }
        if left_type.is_dyn() || right_type.is_dyn() {
            return dynamic_result(operator, &left_type, &right_type);
        }
        let result = result_of(operator, left_type.present(), right_type.present());
        result.unwrap_or_else(|| {
            let sign = operator.trim_matches('_');
            let message = format!(
                "`{sign}` does not take {} and {}",
                article(&left_type),
                article(&right_type)
            );
            let mut mistake = self.at(node, 1, message);
            let numbers = left_type.mask() | right_type.mask();
            if numbers & !mask::NUMBER == 0 {
                mistake = mistake.hint("convert one side with int(), uint() or double()");
            } else if operator == operators::ADD && numbers & mask::TEXT != 0 {
                mistake = mistake.hint("convert the other side with string()");
            } else if numbers & mask::QUANTITY != 0 {
                mistake = mistake.hint("compute with add() and sub()");
            }
            self.found.mistakes.push(mistake);
            Type::Dyn
        })
    }

    fn index(&mut self, node: &IdedExpr, operand: &IdedExpr, index: &IdedExpr) -> Type {
        if let Expr::Ident(name) = &operand.expr
            && let Some(named) = Named::of(name)
        {
            return self.named(named, index);
        }
        let literal = literal_text(index);
        if self.is_variables(operand) {
            return match literal {
                Some(name) => {
                    let (offset, length) = self.whole(index);
                    let message = format!("write variables.{name}");
                    self.found
                        .mistakes
                        .push(super::Mistake::new(offset, length, message));
                    Type::Dyn
                }
                None => self.part(operand),
            };
        }
        let operand_type = self.infer(operand);
        let index_type = self.part(index);
        self.indexed(node, &operand_type, index, &index_type)
    }

    /// Returns the type of an element of a value of type `operand`.
    fn indexed(
        &mut self,
        node: &IdedExpr,
        operand: &Type,
        index: &IdedExpr,
        index_type: &Type,
    ) -> Type {
        match operand.present() {
            Type::Dyn => Type::Dyn,
            Type::Optional(held) => maybe(self.indexed(node, held, index, index_type)),
            Type::List(element) => {
                if index_type.mask() & mask::NUMBER == 0 {
                    let message = format!(
                        "a list is indexed by an int, not by {}",
                        article(index_type)
                    );
                    self.mistake_over(index, message);
                }
                (**element).clone()
            }
            Type::Map(value) => {
                if index_type.mask() & mask::TEXT == 0 {
                    let message =
                        format!("this map has strings as keys, not {}", article(index_type));
                    self.mistake_over(index, message);
                }
                (**value).clone()
            }
            record @ (Type::Record(_) | Type::Named(_)) => match literal_text(index) {
                Some(name) => {
                    let record = record.clone();
                    self.field(node, &record, name)
                }
                None => Type::Dyn,
            },
            other => {
                let message = format!("{} cannot be indexed", article(other));
                self.mistake(node, 1, message);
                Type::Dyn
            }
        }
    }
}

/// Returns how two values of different types may be made to fit each other.
fn conversion(left: &Type, right: &Type) -> Option<&'static str> {
    let both = left.mask() | right.mask();
    if both == mask::ANY {
        return None;
    }
    if both & mask::OPTIONAL != 0 {
        return Some("`.orValue(..)` gives a value where there is none");
    }
    let convertible = both & !(mask::TEXT | mask::NUMBER) == 0;
    (convertible && both & mask::TEXT != 0)
        .then_some("convert one side with int(), double() or string()")
}

/// Returns the type of a value that may be missing. What is optional already stays so.
fn maybe(type_: Type) -> Type {
    match type_ {
        optional @ Type::Optional(_) => optional,
        other => Type::optional(other.present().clone()),
    }
}

/// Returns the type of `left operator right` where one side is not known.
fn dynamic_result(operator: &str, left: &Type, right: &Type) -> Type {
    let known = if left.is_dyn() { right } else { left };
    match known.present() {
        // Adding to a text, or multiplying, leaves no choice for the other side.
        Type::Text | Type::Word(_) if operator == operators::ADD => Type::Text,
        Type::Int | Type::Double | Type::Uint => known.present().clone(),
        _ => Type::Dyn,
    }
}

/// Returns the type of `left operator right`; None: there is no such operation.
fn result_of(operator: &str, left: &Type, right: &Type) -> Option<Type> {
    let result = match (operator, left, right) {
        (_, Type::Int, Type::Int) => Type::Int,
        (_, Type::Uint, Type::Uint) => Type::Uint,
        (operators::MODULO, ..) => return None,
        (_, Type::Double, Type::Double) => Type::Double,
        (operators::ADD, Type::Text | Type::Word(_), Type::Text | Type::Word(_)) => Type::Text,
        (operators::ADD, Type::Bytes, Type::Bytes) => Type::Bytes,
        (operators::ADD, Type::List(left), Type::List(right)) => {
            Type::list(left.as_ref().clone().join(right.as_ref().clone()))
        }
        (operators::ADD | operators::SUBSTRACT, Type::Timestamp, Type::Duration)
        | (operators::ADD, Type::Duration, Type::Timestamp) => Type::Timestamp,
        (operators::ADD | operators::SUBSTRACT, Type::Duration, Type::Duration)
        | (operators::SUBSTRACT, Type::Timestamp, Type::Timestamp) => Type::Duration,
        _ => return None,
    };
    Some(result)
}
