//! Calls of functions.

use cel::common::ast::{CallExpr, Expr, IdedExpr};
use cel::{Context, Value};

use super::{Checker, Clock, Mistake, article, callable_names, is_constant, literal_text};
use crate::explain::explain;
use crate::functions::{self, ACCESSORS, COARSE_ACCESSORS, Signature};
use crate::meter;
use crate::types::{Type, closest, mask};

impl Checker<'_> {
    pub(super) fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Type {
        if let Some(type_) = self.operator(node, call) {
            return type_;
        }
        match &call.target {
            None => self.global_call(node, call, &call.func_name, &call.func_name),
            Some(target) => match namespace(target) {
                Some(namespace) => {
                    let name = format!("{namespace}.{}", call.func_name);
                    self.global_call(node, call, &name, &call.func_name)
                }
                None => self.member_call(node, call, target),
            },
        }
    }

    fn global_call(&mut self, node: &IdedExpr, call: &CallExpr, name: &str, written: &str) -> Type {
        let arguments: Vec<Type> = call
            .args
            .iter()
            .map(|argument| self.part(argument))
            .collect();
        let result = self.resolve(node, name, written, false, &arguments, &call.args);
        self.constant_call(node, call);
        result
    }

    fn member_call(&mut self, node: &IdedExpr, call: &CallExpr, target: &IdedExpr) -> Type {
        let name = call.func_name.as_str();
        let clock = self.found.reads.clock;
        let mut arguments = vec![self.part(target)];
        let coarse = COARSE_ACCESSORS.contains(&name);
        let of_now = matches!(&target.expr, Expr::Ident(root) if root == "now")
            && matches!(arguments[0], Type::Timestamp);
        if of_now && coarse {
            self.found.reads.clock = clock.max(Clock::Coarse);
        }
        arguments.extend(call.args.iter().map(|argument| self.part(argument)));
        let result = self.resolve(node, name, name, true, &arguments, &call.args);
        if ACCESSORS.contains(&name)
            && let [zone] = call.args.as_slice()
        {
            self.zone(zone);
        }
        if name == "matches"
            && let [pattern] = call.args.as_slice()
        {
            self.regular_expression(pattern);
        }
        result
    }

    /// Finds the overload that takes the arguments, and reports when there is none.
    fn resolve(
        &mut self,
        node: &IdedExpr,
        name: &str,
        written: &str,
        member: bool,
        arguments: &[Type],
        nodes: &[IdedExpr],
    ) -> Type {
        let overloads: Vec<&Signature> = functions::signatures()
            .filter(|signature| signature.name == name && signature.member == member)
            .collect();
        let fits = |signature: &&&Signature| {
            signature.arguments.len() == arguments.len()
                && signature
                    .arguments
                    .iter()
                    .zip(arguments)
                    .all(|(accepted, given)| accepts(*accepted, given))
        };
        if let Some(signature) = overloads.iter().find(fits) {
            return if arguments.iter().any(Type::is_dyn) && overloads.len() > 1 {
                common_result(&overloads)
            } else {
                (signature.result)()
            };
        }
        if overloads.is_empty() {
            self.unknown_function(node, name, written, member);
            return Type::Dyn;
        }
        let receiver = usize::from(member);
        let counts: Vec<usize> = overloads
            .iter()
            .map(|overload| overload.arguments.len() - receiver)
            .collect();
        if counts.contains(&(arguments.len() - receiver)) {
            self.wrong_argument(node, written, member, &overloads, arguments, nodes);
        } else {
            let (offset, length) = self.name_place(node, written);
            let message = format!(
                "{written}() takes {}, not {}",
                counted(&counts),
                arguments.len() - receiver
            );
            self.found
                .mistakes
                .push(Mistake::new(offset, length, message));
        }
        common_result(&overloads)
    }

    fn wrong_argument(
        &mut self,
        node: &IdedExpr,
        written: &str,
        member: bool,
        overloads: &[&Signature],
        arguments: &[Type],
        nodes: &[IdedExpr],
    ) {
        let accepted = |position: usize| {
            overloads
                .iter()
                .filter(|overload| overload.arguments.len() == arguments.len())
                .fold(0, |set, overload| set | overload.arguments[position])
        };
        let wrong = (0..arguments.len())
            .find(|position| !accepts(accepted(*position), &arguments[*position]));
        let position = wrong.unwrap_or(0);
        let wanted = mask::names(accepted(position));
        let given = article(&arguments[position]);
        let receiver = usize::from(member);
        if member && position == 0 {
            let (offset, length) = self.name_place(node, written);
            let message = format!("{written}() is called on {wanted}, not on {given}");
            self.found
                .mistakes
                .push(Mistake::new(offset, length, message));
        } else {
            let message = format!("{written}() takes {wanted} here, not {given}");
            self.mistake_over(&nodes[position - receiver], message);
        }
    }

    fn unknown_function(&mut self, node: &IdedExpr, name: &str, written: &str, member: bool) {
        let (offset, length) = self.name_place(node, written);
        let macro_use = functions::MACROS
            .iter()
            .find(|(macro_, _)| *macro_ == written);
        let other_style = functions::signatures()
            .any(|signature| signature.name == name && signature.member != member);
        let mistake = Mistake::new(offset, length, format!("unknown function `{name}`"));
        let mistake = if let Some((_, usage)) = macro_use {
            Mistake::new(offset, length, format!("{written}() is not used like this"))
                .hint(format!("write {usage}"))
        } else if other_style && member {
            mistake.hint(format!("write {name}(value)"))
        } else if other_style {
            mistake.hint(format!("write value.{name}()"))
        } else {
            super::did_you_mean(mistake, closest(name, callable_names(member)))
        };
        self.found.mistakes.push(mistake);
    }

    /// Reports a function of literals alone that fails, such as `duration("5 minutes")`.
    fn constant_call(&mut self, node: &IdedExpr, call: &CallExpr) {
        if call.func_name == "matches" {
            if let [_, pattern] = call.args.as_slice() {
                self.regular_expression(pattern);
            }
            return;
        }
        if call.args.is_empty() || !call.args.iter().all(is_constant) {
            return;
        }
        let context = Context::with_env(functions::environment());
        let (result, _) = meter::metered(1000, || Value::resolve_val(node, &context).map(|_| ()));
        if let Err(error) = result
            && self
                .found
                .mistakes
                .iter()
                .all(|mistake| mistake.offset < self.whole(node).0)
        {
            let why = explain(&error);
            self.mistake_over(node, format!("this always fails: {why}"));
        }
    }

    fn regular_expression(&mut self, pattern: &IdedExpr) {
        if let Some(text) = literal_text(pattern)
            && let Err(why) = meter::pattern(text)
        {
            self.mistake_over(pattern, why);
        }
    }

    fn zone(&mut self, zone: &IdedExpr) {
        if let Some(name) = literal_text(zone) {
            if !zone_is_known(name) {
                self.mistake_over(zone, format!("unknown time zone `{name}`"))
                    .hint =
                    Some("zones have names such as Europe/Berlin, UTC or -08:00".to_owned());
            }
        } else if let Expr::Select(select) = &zone.expr
            && matches!(&select.operand.expr, Expr::Ident(root) if root == "params")
        {
            let at = self.whole(zone).0;
            self.found.zones.push((select.field.clone(), at));
        }
    }
}

/// Returns whether the evaluator knows a time zone.
pub(crate) fn zone_is_known(name: &str) -> bool {
    let mut context = Context::with_env(functions::environment());
    context.add_variable_as_val("zone", crate::value::text(name));
    functions::environment()
        .compile("timestamp(0).getHours(zone)")
        .is_ok_and(|program| program.execute(&context).is_ok())
}

/// Returns the namespace that a call's target is, as in `math.abs(x)`.
fn namespace(target: &IdedExpr) -> Option<&str> {
    match &target.expr {
        Expr::Ident(name) if matches!(name.as_str(), "math" | "optional" | "strings") => Some(name),
        _ => None,
    }
}

fn accepts(accepted: u32, given: &Type) -> bool {
    given.is_dyn() || given.mask() & accepted != 0
}

fn common_result(overloads: &[&Signature]) -> Type {
    overloads
        .iter()
        .map(|overload| (overload.result)())
        .reduce(Type::join)
        .unwrap_or(Type::Dyn)
}

fn counted(counts: &[usize]) -> String {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    counts.dedup();
    let words: Vec<String> = counts.iter().map(usize::to_string).collect();
    let noun = if counts == [1] {
        "argument"
    } else {
        "arguments"
    };
    format!("{} {noun}", words.join(" or "))
}
