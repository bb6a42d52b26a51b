//! Calls of functions.

use cel::common::ast::{CallExpr, Expr, IdedExpr};
use cel::{Context, Value};

use super::{
    Append, Checker, Clock, Form, Mistake, NameOf, NameUse, ParamUse, article, callable_names,
    is_constant, literal_text,
};
use crate::definitions::Named;
use crate::explain::explain;
use crate::functions::{
    self, ACCESSORS, COARSE_ACCESSORS, IN_WINDOW, IS_HOLIDAY, MERGE_MAPS, NAMESPACES, Signature,
    TO_MAP,
};
use crate::guard;
use crate::limits::PATTERNS_MAX;
use crate::meter;
use crate::types::{Type, closest, mask};

impl Checker<'_> {
    pub(super) fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Type {
        if let Some(type_) = self.operator(node, call) {
            return type_;
        }
        match (&call.target, call.func_name.as_str(), call.args.as_slice()) {
            (None, TO_MAP, [pairs]) => self.made_map(pairs),
            (None, MERGE_MAPS, [maps]) => self.merged_maps(maps),
            (None, IN_WINDOW, [now, arguments @ ..]) => self.in_window(node, now, arguments),
            (None, IS_HOLIDAY, [calendar, time]) => self.is_holiday(calendar, time),
            (None, name, _) => self.global_call(node, call, name, name),
            (Some(target), name, _) => match self.namespace(target) {
                Some(namespace) => {
                    let full = format!("{namespace}.{name}");
                    self.global_call(node, call, &full, name)
                }
                None => self.member_call(node, call, target),
            },
        }
    }

    fn namespace<'a>(&self, target: &'a IdedExpr) -> Option<&'a str> {
        namespace(target).filter(|name| !self.is_local(name))
    }

    fn global_call(&mut self, node: &IdedExpr, call: &CallExpr, name: &str, written: &str) -> Type {
        let known = functions::cost(name, false).is_some();
        if !known && self.misspelt_macro(node, name, written, false) {
            return Type::Dyn;
        }
        let arguments: Vec<Type> = call
            .args
            .iter()
            .map(|argument| self.part(argument))
            .collect();
        let result = self.resolve(node, name, written, false, &arguments, &call.args);
        if name == "matches"
            && let [_, pattern] = call.args.as_slice()
        {
            self.form(pattern, Form::Pattern);
        } else if !call.args.is_empty() && call.args.iter().all(is_constant) {
            self.constant_call(node);
        }
        result
    }

    fn member_call(&mut self, node: &IdedExpr, call: &CallExpr, target: &IdedExpr) -> Type {
        let name = call.func_name.as_str();
        if functions::cost(name, true).is_none() && self.misspelt_macro(node, name, name, true) {
            self.part(target);
            return Type::Dyn;
        }
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
        match (name, call.args.as_slice()) {
            (_, [zone]) if ACCESSORS.contains(&name) => self.form(zone, Form::Zone),
            ("matches" | "find", [pattern]) | ("findAll", [pattern, ..]) => {
                self.form(pattern, Form::Pattern);
            }
            _ if is_constant(target) && call.args.iter().all(is_constant) => {
                self.constant_call(node);
            }
            _ => {}
        }
        result
    }

    /// Returns the type of the map that `transformMap` makes, from that of its pairs.
    fn made_map(&mut self, pairs: &IdedExpr) -> Type {
        self.part(pairs);
        let Expr::Comprehension(comprehension) = &pairs.expr else {
            return Type::Dyn;
        };
        let element = Append::of(comprehension).map(|append| &append.element.expr);
        let Some(Expr::List(pair)) = element else {
            return Type::Dyn;
        };
        let known = |at: usize| {
            let node = pair.elements.get(at)?;
            self.found.types.get(&node.id).cloned()
        };
        match (known(0), known(1)) {
            (Some(Type::Text | Type::Word(_)), Some(value)) => Type::map(value),
            _ => Type::Dyn,
        }
    }

    /// Returns the type of the map that `transformMapEntry` makes, from that of its entries.
    fn merged_maps(&mut self, maps: &IdedExpr) -> Type {
        let element = self.part(maps).element();
        if element.mask() & mask::MAP == 0 {
            let message = format!(
                "transformMapEntry() makes entries of maps such as {{key: value}}, not of {}",
                article(&element)
            );
            self.mistake_over(maps, message);
        }
        element
    }

    /// Checks `metric(name)` and the calendar of `isHoliday(name)`: the name is known when the policy is
    /// loaded.
    pub(super) fn named(&mut self, named: Named, name: &IdedExpr) -> Type {
        let type_ = self.part(name);
        self.found.reads.roots.insert(named.variable());
        let (offset, length) = self.whole(name);
        let found = match (literal_text(name), param_of(name)) {
            (Some(text), _) => Some(NameOf::Literal(text.to_owned())),
            (None, Some(param)) if type_.mask() & mask::TEXT != 0 => {
                Some(NameOf::Param(param.to_owned()))
            }
            (None, _) => None,
        };
        let Some(found) = found else {
            let message = format!(
                "{}() needs a name that is known when the policy is loaded",
                named.function()
            );
            self.mistake_over(name, message).hint =
                Some("write a text, or a parameter that is one: `params.<name>`".to_owned());
            return named.type_();
        };
        self.found.names.push(NameUse {
            named,
            name: found,
            offset,
            length,
        });
        named.type_()
    }

    /// Checks `isHoliday(calendar, time)`. What it says of the time of the pass changes with the date.
    fn is_holiday(&mut self, calendar: &IdedExpr, time: &IdedExpr) -> Type {
        self.part(calendar);
        let clock = self.found.reads.clock;
        let given = self.part(time);
        if matches!(&time.expr, Expr::Ident(name) if name == "now") {
            self.found.reads.clock = clock.max(Clock::Coarse);
        }
        if given.mask() & mask::TIMESTAMP == 0 {
            let message = format!("isHoliday() takes timestamp here, not {}", article(&given));
            self.mistake_over(time, message);
        }
        Type::Bool
    }

    /// Checks `inWindow(cron, length, zone)`, which also reads the time.
    fn in_window(&mut self, node: &IdedExpr, now: &IdedExpr, arguments: &[IdedExpr]) -> Type {
        self.part(now);
        let types: Vec<Type> = arguments
            .iter()
            .map(|argument| self.part(argument))
            .collect();
        let result = self.resolve(node, "inWindow", "inWindow", false, &types, arguments);
        if let [cron, _, zone] = arguments {
            for (argument, form) in [(cron, Form::Cron), (zone, Form::Zone)] {
                self.form(argument, form);
                self.known_when_loaded(argument, form);
            }
        }
        result
    }

    /// Reports an argument whose value is only known when a pass is made, where a mistake in it
    /// would come too late.
    fn known_when_loaded(&mut self, argument: &IdedExpr, form: Form) {
        if literal_text(argument).is_some() || param_of(argument).is_some() {
            return;
        }
        let what = match form {
            Form::Zone => "the time zone",
            Form::Cron => "the times",
            Form::Pattern => "the pattern",
        };
        let message = format!("{what} of inWindow() must be known when the policy is loaded");
        self.mistake_over(argument, message).hint =
            Some("write a text, or a parameter: `params.<name>`".to_owned());
    }

    /// Reports a call that is a misspelt macro, or one with a wrong number of arguments: what it is
    /// given cannot be understood without it.
    fn misspelt_macro(&mut self, node: &IdedExpr, name: &str, written: &str, member: bool) -> bool {
        let wanted = if member { written } else { name };
        let exact = functions::MACROS.iter().any(|(known, _)| *known == wanted);
        let close = functions::synonym(wanted).or_else(|| closest(wanted, callable_names(member)));
        let known = if exact { Some(wanted) } else { close };
        let usages: Vec<&str> = functions::MACROS
            .iter()
            .filter(|(macro_, _)| Some(*macro_) == known)
            .map(|(_, usage)| *usage)
            .collect();
        if usages.is_empty() {
            return false;
        }
        let (offset, length) = self.name_place(node, written);
        let mistake = if exact {
            Mistake::new(offset, length, format!("{wanted}() is not used like this"))
                .hint(format!("write {}", usages.join(" or ")))
        } else {
            let message = format!("unknown function `{wanted}`");
            super::did_you_mean(Mistake::new(offset, length, message), known)
        };
        self.found.mistakes.push(mistake);
        true
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
            return if arguments.iter().any(Type::is_dyn) {
                let fitting = overloads.iter().filter(fits).copied();
                let fitting: Vec<&Signature> = fitting.collect();
                common_result(&fitting, arguments)
            } else {
                (signature.result)(arguments)
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
        // What it was given says nothing about what it would return.
        common_result(&overloads, &vec![Type::Dyn; arguments.len()])
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
        let other_style = functions::signatures()
            .any(|signature| signature.name == name && signature.member != member);
        let mistake = Mistake::new(offset, length, format!("unknown function `{name}`"));
        let mistake = if other_style && member {
            mistake.hint(format!("write {name}(value)"))
        } else if other_style {
            mistake.hint(format!("write value.{name}()"))
        } else {
            let close = functions::synonym(name);
            super::did_you_mean(
                mistake,
                close.or_else(|| closest(name, callable_names(member))),
            )
        };
        self.found.mistakes.push(mistake);
    }

    /// Reports a call of constants alone that fails, such as `duration("5 minutes")`.
    fn constant_call(&mut self, node: &IdedExpr) {
        if self.constant_steps == 0 {
            return;
        }
        let context = Context::with_env(functions::environment());
        let guarded = guard::guarded(node, &self.found.types);
        let (result, used) = meter::metered(self.constant_steps, || {
            Value::resolve_val(&guarded, &context).map(|_| ())
        });
        // A few for the call itself, so that many cheap ones come to an end, too.
        self.constant_steps = self.constant_steps.saturating_sub(used.steps + 10);
        if let Err(error) = result
            && !used.exhausted
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

    /// Checks an argument that must have a form, as far as it is known: a literal now, a parameter
    /// once its value is.
    fn form(&mut self, argument: &IdedExpr, form: Form) {
        if let Some(text) = literal_text(argument) {
            if form == Form::Pattern {
                self.patterns += 1;
                if self.patterns > PATTERNS_MAX {
                    let message =
                        format!("an expression has at most {PATTERNS_MAX} regular expressions");
                    self.mistake_over(argument, message);
                    return;
                }
            }
            if let Some((message, hint)) = form.mistake(text) {
                self.mistake_over(argument, message).hint = hint.map(str::to_owned);
            }
        } else if let Some(param) = param_of(argument) {
            let offset = self.whole(argument).0;
            self.found.uses.push(ParamUse {
                param: param.to_owned(),
                form,
                offset,
            });
        }
    }
}

/// Returns the name of the parameter that a node reads, if it does nothing else.
pub(super) fn param_of(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Select(select) if matches!(&select.operand.expr, Expr::Ident(root) if root == "params") => {
            Some(&select.field)
        }
        _ => None,
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
pub(crate) fn namespace(target: &IdedExpr) -> Option<&str> {
    match &target.expr {
        Expr::Ident(name) if NAMESPACES.contains(&name.as_str()) => Some(name),
        _ => None,
    }
}

fn accepts(accepted: u32, given: &Type) -> bool {
    given.is_dyn() || given.mask() & accepted != 0
}

fn common_result(overloads: &[&Signature], arguments: &[Type]) -> Type {
    overloads
        .iter()
        .map(|overload| (overload.result)(arguments))
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
