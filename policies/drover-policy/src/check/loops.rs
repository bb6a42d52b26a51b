//! Loops: what `all`, `exists`, `exists_one`, `filter` and `map` were expanded to.

use cel::common::ast::{ComprehensionExpr, Expr, IdedExpr, operators};

use super::{Checker, article};
use crate::functions::{NAMESPACES, is_bind};
use crate::types::{Type, mask};
use crate::variables;

/// The step of `filter` and `map`: an element is appended to the result, maybe on a condition.
/// The evaluator recognises the same form and appends in place; a guard must keep it.
pub(crate) struct Append<'a> {
    pub(crate) condition: Option<&'a IdedExpr>,
    pub(crate) element: &'a IdedExpr,
}

impl<'a> Append<'a> {
    pub(crate) fn of(comprehension: &'a ComprehensionExpr) -> Option<Self> {
        let step = &comprehension.loop_step;
        match &step.expr {
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                let [condition, then, _] = call.args.as_slice() else {
                    return None;
                };
                Some(Self {
                    condition: Some(condition),
                    element: appended(comprehension, then)?,
                })
            }
            _ => Some(Self {
                condition: None,
                element: appended(comprehension, step)?,
            }),
        }
    }
}

fn appended<'a>(comprehension: &ComprehensionExpr, step: &'a IdedExpr) -> Option<&'a IdedExpr> {
    let Expr::Call(call) = &step.expr else {
        return None;
    };
    let [result, tail] = call.args.as_slice() else {
        return None;
    };
    let onto_result = matches!(&result.expr, Expr::Ident(name) if *name == comprehension.accu_var);
    match &tail.expr {
        Expr::List(list) if call.func_name == operators::ADD && onto_result => {
            match list.elements.as_slice() {
                [element] => Some(element),
                _ => None,
            }
        }
        _ => None,
    }
}

impl Checker<'_> {
    pub(super) fn comprehension(
        &mut self,
        node: &IdedExpr,
        comprehension: &ComprehensionExpr,
    ) -> Type {
        if is_bind(comprehension) {
            return self.bind(node, comprehension);
        }
        let range = self.part(&comprehension.iter_range);
        let second = comprehension.iter_var2.as_ref();
        let (first_type, second_type) = match range.present() {
            Type::List(element) if second.is_some() => (Type::Int, (**element).clone()),
            Type::List(element) => ((**element).clone(), Type::Dyn),
            Type::Map(value) => (Type::Text, (**value).clone()),
            Type::Dyn => (Type::Dyn, Type::Dyn),
            other => {
                let message = format!(
                    "only lists and maps can be looped over, not {}",
                    article(other)
                );
                self.mistake_over(&comprehension.iter_range, message);
                (Type::Dyn, Type::Dyn)
            }
        };
        let outer = self.locals.len();
        let result = self.part(&comprehension.accu_init);
        self.locals
            .push((comprehension.accu_var.clone(), result.clone()));
        self.name(node, &comprehension.iter_var, first_type);
        if let Some(second) = second {
            self.name(node, second, second_type);
        }
        let type_ = self.loop_body(comprehension, &result);
        self.locals.truncate(outer);
        type_
    }

    /// Checks `cel.bind(name, value, expression)`.
    fn bind(&mut self, node: &IdedExpr, comprehension: &ComprehensionExpr) -> Type {
        let value = self.part(&comprehension.accu_init);
        let outer = self.locals.len();
        self.name(node, &comprehension.accu_var, value);
        let type_ = self.part(&comprehension.result);
        self.locals.truncate(outer);
        type_
    }

    /// Makes a name known. One that means something already would hide that from who reads it.
    fn name(&mut self, node: &IdedExpr, name: &str, type_: Type) {
        let shadows = matches!(name, "params" | "variables")
            || NAMESPACES.contains(&name) && name != "ip"
            || variables::variable(name).is_some();
        if shadows {
            let message = format!("`{name}` is a variable already; name the element otherwise");
            self.mistake(node, 1, message);
        }
        self.locals.push((name.to_owned(), type_));
    }

    fn loop_body(&mut self, comprehension: &ComprehensionExpr, result: &Type) -> Type {
        if let Some(append) = Append::of(comprehension) {
            if let Some(condition) = append.condition {
                let type_ = self.part(condition);
                self.expect_condition(condition, &type_);
            }
            return Type::list(self.part(append.element));
        }
        self.part(&comprehension.loop_cond);
        self.part(&comprehension.loop_step);
        self.part(&comprehension.result);
        if result.mask() & mask::BOOL != 0 || result.mask() & mask::INT != 0 {
            Type::Bool
        } else {
            Type::Dyn
        }
    }

    /// Reports a condition that is not a boolean.
    pub(super) fn expect_condition(&mut self, node: &IdedExpr, type_: &Type) {
        if type_.mask() & mask::BOOL == 0 {
            let message = format!("a condition must be a bool, this is {}", article(type_));
            self.mistake_over(node, message);
        }
    }
}
