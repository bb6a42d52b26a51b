//! What can be told about an expression without evaluating it: unknown names and fields, wrong
//! types, conditions that are always the same; and what it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators};
use drover_model::DecisionPoint;

use crate::definitions::Named;
use crate::functions::{self, IS_HOLIDAY, SHOWN_HOLIDAY};
use crate::limits::{CONSTANT_STEPS_MAX, MISTAKES_MAX};
use crate::meter;
use crate::parse::{Mistake, Parsed};
use crate::types::{Fields, Type, closest, enumerated};
use crate::value::shorten;
use crate::variables::{self, VARIABLES};

mod calls;
mod loops;
mod operations;

pub(crate) use calls::{namespace, zone_is_known};
pub(crate) use loops::Append;

#[cfg(test)]
mod tests;

/// How soon a result may change by time alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Clock {
    /// It does not read the clock.
    #[default]
    None,
    /// It reads the hour or the date.
    Coarse,
    /// It reads the clock in another way.
    Fine,
}

/// What an expression depends on, through variables too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reads {
    pub(crate) roots: BTreeSet<&'static str>,
    pub(crate) variables: BTreeSet<String>,
    pub(crate) clock: Clock,
}

impl Reads {
    pub(crate) fn merge(&mut self, other: &Reads) {
        self.roots.extend(&other.roots);
        self.variables.extend(other.variables.iter().cloned());
        self.clock = self.clock.max(other.clock);
    }
}

/// What a policy declares itself, as far as an expression may use it.
#[derive(Debug)]
pub(crate) struct Declared<'a> {
    /// None: an expression that is of no policy, and has what every decision point has.
    pub(crate) point: Option<DecisionPoint>,
    pub(crate) params: Arc<Fields>,
    /// The variables above this expression.
    pub(crate) variables: &'a BTreeMap<String, (Type, Reads)>,
    /// The names of all variables, also of those below.
    pub(crate) all_variables: &'a BTreeSet<String>,
}

/// A parameter that is used as something with a form of its own, which its value must have.
#[derive(Debug, Clone)]
pub(crate) struct ParamUse {
    pub(crate) param: String,
    pub(crate) form: Form,
    /// The place of the use.
    pub(crate) offset: usize,
}

/// A metric or a calendar that is named.
#[derive(Debug, Clone)]
pub(crate) struct NameUse {
    pub(crate) named: Named,
    pub(crate) name: NameOf,
    /// The place of the name.
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

/// How a name is written.
#[derive(Debug, Clone)]
pub(crate) enum NameOf {
    Literal(String),
    /// A parameter has it.
    Param(String),
}

/// A form that a text must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// The name of a time zone.
    Zone,
    /// The times at which a window opens.
    Cron,
    /// A regular expression.
    Pattern,
}

impl Form {
    /// Returns what is wrong with a text that should have the form, and what to do about it.
    pub(crate) fn mistake(self, text: &str) -> Option<(String, Option<&'static str>)> {
        match self {
            Self::Zone => (!zone_is_known(text)).then(|| {
                let hint = "zones have names such as Europe/Berlin, UTC or -08:00";
                (
                    format!("unknown time zone `{}`", shorten(text, 60)),
                    Some(hint),
                )
            }),
            Self::Cron => crate::functions::cron_mistake(text).map(|why| {
                let hint = "five fields such as `0 2 * * TUE`: minute, hour, day, month, weekday";
                (format!("`{}` {why}", shorten(text, 60)), Some(hint))
            }),
            Self::Pattern => meter::pattern(text).err().map(|why| (why, None)),
        }
    }
}

/// What was found out about an expression.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) type_: Type,
    /// The type of each node by id.
    pub(crate) types: BTreeMap<u64, Type>,
    pub(crate) reads: Reads,
    /// The values that it reads, by the text that people know them under.
    pub(crate) values: BTreeMap<String, IdedExpr>,
    /// The parameters that it uses as something with a form of its own.
    pub(crate) uses: Vec<ParamUse>,
    /// The metrics and calendars that it names.
    pub(crate) names: Vec<NameUse>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Checks an expression.
pub(crate) fn check(text: &str, parsed: &Parsed, declared: &Declared<'_>) -> Checked {
    check_with(text, parsed, declared, Vec::new())
}

/// Checks an expression in which the names in `given` are known, too.
pub(crate) fn check_with(
    text: &str,
    parsed: &Parsed,
    declared: &Declared<'_>,
    given: Vec<(String, Type)>,
) -> Checked {
    let mut checker = Checker {
        text,
        parsed,
        declared,
        locals: given,
        in_path: false,
        constant_steps: CONSTANT_STEPS_MAX,
        patterns: 0,
        found: Checked {
            type_: Type::Dyn,
            types: BTreeMap::new(),
            reads: Reads::default(),
            values: BTreeMap::new(),
            uses: Vec::new(),
            names: Vec::new(),
            mistakes: Vec::new(),
        },
    };
    let type_ = checker.infer(&parsed.root);
    let mut found = checker.found;
    found.type_ = type_;
    found.mistakes.sort_by_key(|mistake| mistake.offset);
    found.mistakes.dedup();
    found.mistakes.truncate(MISTAKES_MAX);
    found
}

struct Checker<'a> {
    text: &'a str,
    parsed: &'a Parsed,
    declared: &'a Declared<'a>,
    /// The elements of the loops around, innermost last.
    locals: Vec<(String, Type)>,
    /// Whether the node is part of a path whose value is already recorded.
    in_path: bool,
    /// What is left of the steps for trying calls of constants.
    constant_steps: u64,
    /// How many regular expressions were compiled to look for mistakes in them.
    patterns: usize,
    found: Checked,
}

impl Checker<'_> {
    fn infer(&mut self, node: &IdedExpr) -> Type {
        let outer = self.in_path;
        if !outer && let Some(path) = self.path_of(node) {
            let shown = metric_of(node).map_or_else(|| shown_node(node), Clone::clone);
            self.found.values.insert(path, shown);
            self.in_path = true;
        }
        let type_ = self.infer_node(node);
        self.in_path = outer;
        self.found.types.insert(node.id, type_.clone());
        type_
    }

    fn infer_node(&mut self, node: &IdedExpr) -> Type {
        match &node.expr {
            Expr::Unspecified => Type::Dyn,
            Expr::Literal(literal) => literal_type(literal),
            Expr::Ident(name) => self.ident(node, name),
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) => self.call(node, call),
            Expr::Comprehension(comprehension) => self.comprehension(node, comprehension),
            Expr::List(list) => {
                let mut element: Option<Type> = None;
                for (at, inner) in list.elements.iter().enumerate() {
                    let mut type_ = self.part(inner);
                    if list.optional_indices.contains(&at) {
                        type_ = type_.held();
                    }
                    element = Some(match element {
                        Some(before) => before.join(type_),
                        None => type_,
                    });
                }
                Type::list(element.unwrap_or(Type::Dyn))
            }
            Expr::Map(map) => {
                let mut value: Option<Type> = None;
                let mut text_keys = true;
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        let key = self.part(&entry.key);
                        text_keys &= matches!(key, Type::Text | Type::Word(_));
                        let mut type_ = self.part(&entry.value);
                        if entry.optional {
                            type_ = type_.held();
                        }
                        value = Some(match value {
                            Some(before) => before.join(type_),
                            None => type_,
                        });
                    }
                }
                if text_keys {
                    Type::map(value.unwrap_or(Type::Dyn))
                } else {
                    Type::Dyn
                }
            }
            Expr::Struct(record) => {
                let message = format!("there are no messages such as {}{{}}", record.type_name);
                self.mistake(node, 1, message);
                Type::Dyn
            }
        }
    }

    /// Infers a node that is not part of the path around it.
    fn part(&mut self, node: &IdedExpr) -> Type {
        let outer = std::mem::replace(&mut self.in_path, false);
        let type_ = self.infer(node);
        self.in_path = outer;
        type_
    }

    fn ident(&mut self, node: &IdedExpr, name: &str) -> Type {
        if let Some((_, type_)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return type_.clone();
        }
        match name {
            "params" => return Type::Named(Arc::clone(&self.declared.params)),
            "variables" => {
                let message = "`variables` is used as `variables.<name>`";
                self.mistake(node, name.len(), message);
                return Type::Dyn;
            }
            _ => {}
        }
        let Some(variable) = variables::variable(name) else {
            if functions::environment().types().find_type(name).is_some() {
                return Type::Kind;
            }
            return self.unknown_ident(node, name);
        };
        if !variable.available_in(self.declared.point) {
            let points: Vec<&str> = variable.points.iter().map(|point| point.as_str()).collect();
            let here = self.declared.point.map_or(String::new(), |point| {
                format!(", this is a {} policy", point.as_str())
            });
            let message = format!(
                "`{name}` is only known to {} policies{here}",
                enumerated(&points, "and"),
            );
            let mistake = self.at(node, name.len(), message);
            self.found.mistakes.push(match self.declared_as(name) {
                Some(path) => mistake.hint(format!("did you mean `{path}`?")),
                None => mistake,
            });
            return (variable.type_)();
        }
        self.found.reads.roots.insert(variable.name);
        if name == "now" {
            self.found.reads.clock = Clock::Fine;
        }
        (variable.type_)()
    }

    /// Returns how something that the policy itself declares under `name` is written.
    fn declared_as(&self, name: &str) -> Option<String> {
        let declared = self.declared;
        if declared.all_variables.contains(name) {
            Some(format!("variables.{name}"))
        } else if declared.params.types.contains_key(name) {
            Some(format!("params.{name}"))
        } else {
            None
        }
    }

    fn unknown_ident(&mut self, node: &IdedExpr, name: &str) -> Type {
        let declared = self.declared;
        if let Some(written) = functions::block_index(name) {
            let message = format!("{written}() is only known inside cel.block()");
            self.mistake(node, 1, message);
            return Type::Dyn;
        }
        let mut hint = self
            .declared_as(name)
            .or_else(|| self.field_of_a_variable(name));
        if hint.is_none() {
            let known = VARIABLES
                .iter()
                .filter(|variable| variable.available_in(declared.point))
                .map(|variable| variable.name)
                .chain(["params", "variables", "true", "false", "null"])
                .chain(self.locals.iter().map(|(local, _)| local.as_str()));
            if let Some(close) = closest(name, known) {
                hint = Some(close.to_owned());
            }
        }
        let message = format!("unknown variable `{name}`");
        let mistake = self.at(node, name.len(), message);
        self.found.mistakes.push(match hint {
            Some(hint) => mistake.hint(format!("did you mean `{hint}`?")),
            None => mistake,
        });
        Type::Dyn
    }

    /// Returns the path of a field that has a name, such as `group.labels` of `labels`.
    fn field_of_a_variable(&self, name: &str) -> Option<String> {
        VARIABLES
            .iter()
            .filter(|variable| variable.available_in(self.declared.point))
            .find(|variable| match (variable.type_)() {
                Type::Record(shape) => shape.field(name).is_some(),
                _ => false,
            })
            .map(|variable| format!("{}.{name}", variable.name))
    }

    fn select(&mut self, node: &IdedExpr, select: &SelectExpr) -> Type {
        if self.is_type_name(node) {
            return Type::Kind;
        }
        let type_ = if self.is_variables(&select.operand) {
            self.policy_variable(node, &select.field)
        } else {
            let operand = self.infer(&select.operand);
            self.field(node, &operand, &select.field)
        };
        if select.test { Type::Bool } else { type_ }
    }

    /// Returns whether a path is the name of a type, such as `net.IP`.
    fn is_type_name(&self, node: &IdedExpr) -> bool {
        fn spelled(node: &IdedExpr) -> Option<String> {
            match &node.expr {
                Expr::Ident(name) => Some(name.clone()),
                Expr::Select(select) if !select.test => {
                    Some(format!("{}.{}", spelled(&select.operand)?, select.field))
                }
                _ => None,
            }
        }
        let root = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        spelled(node).is_some_and(|name| {
            !self.is_local(&root(&name))
                && functions::environment().types().find_type(&name).is_some()
        })
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|(local, _)| local == name)
    }

    fn is_variables(&self, node: &IdedExpr) -> bool {
        matches!(&node.expr, Expr::Ident(name) if name == "variables")
            && !self.is_local("variables")
    }

    fn policy_variable(&mut self, node: &IdedExpr, name: &str) -> Type {
        let declared = self.declared;
        if let Some((type_, reads)) = declared.variables.get(name) {
            self.found.reads.merge(reads);
            self.found.reads.variables.insert(name.to_owned());
            return type_.clone();
        }
        let (offset, length) = self.field_place(node, name);
        let mistake = if declared.all_variables.contains(name) {
            Mistake::new(
                offset,
                length,
                format!("`variables.{name}` is used before it is declared"),
            )
            .hint("a variable sees only those above it")
        } else {
            let known = declared.all_variables.iter().map(String::as_str);
            let mistake = Mistake::new(offset, length, format!("no variable `{name}` is declared"));
            if declared.all_variables.is_empty() {
                mistake.hint("declare it in `spec.variables`")
            } else {
                did_you_mean(mistake, closest(name, known))
            }
        };
        self.found.mistakes.push(mistake);
        Type::Dyn
    }

    /// Returns the type of field `name` of a value of type `operand`.
    fn field(&mut self, node: &IdedExpr, operand: &Type, name: &str) -> Type {
        let (offset, length) = self.field_place(node, name);
        match operand.present() {
            Type::Dyn => Type::Dyn,
            Type::Map(value) => (**value).clone(),
            Type::Optional(held) => {
                let held = (**held).clone();
                Type::optional(self.field(node, &held, name))
            }
            Type::Record(shape) => {
                if shape.name == "instance" && name == "age" {
                    self.found.reads.clock = Clock::Fine;
                }
                if let Some(field) = shape.field(name) {
                    return (field.type_)();
                }
                let known = shape.fields.iter().map(|field| field.name);
                let message = format!("{} has no field `{name}`", shape.name);
                let mistake = Mistake::new(offset, length, message);
                let close = closest(name, known.clone());
                let mistake = if close.is_some() {
                    did_you_mean(mistake, close)
                } else {
                    let known: Vec<&str> = known.collect();
                    mistake.hint(format!("it has {}", known.join(", ")))
                };
                self.found.mistakes.push(mistake);
                Type::Dyn
            }
            Type::Named(fields) => {
                if let Some(type_) = fields.types.get(name) {
                    return type_.clone();
                }
                let known = fields.types.keys().map(String::as_str);
                let message = format!("the policy declares no parameter `{name}`");
                let mistake = Mistake::new(offset, length, message);
                self.found
                    .mistakes
                    .push(did_you_mean(mistake, closest(name, known)));
                Type::Dyn
            }
            other => {
                let message = format!("{} has no fields, so no `{name}`", article(other));
                let mut mistake = Mistake::new(offset, length, message);
                if matches!(name, "length" | "len" | "count" | "size") {
                    mistake = mistake.hint("write size(value)");
                } else if let Type::List(element) = other
                    && let Type::Record(shape) = element.present()
                    && shape.field(name).is_some()
                {
                    mistake = mistake.hint(format!(
                        "its elements have it: `.all(i, i.{name} ..)`, `.exists(i, i.{name} ..)`"
                    ));
                }
                self.found.mistakes.push(mistake);
                Type::Dyn
            }
        }
    }

    /// Returns the text that people know the value of a node under, if it is a path that starts at
    /// a variable, such as `groups["web"].available`.
    fn path_of(&self, node: &IdedExpr) -> Option<String> {
        if let Some(metric) = metric_of(node) {
            return named_path(metric);
        }
        match &node.expr {
            Expr::Call(call) if call.func_name == IS_HOLIDAY => match call.args.as_slice() {
                [calendar, time] if matches!(&time.expr, Expr::Ident(name) if name == "now") => {
                    named_path(calendar)
                }
                _ => None,
            },
            Expr::Ident(name) => {
                let local = self.is_local(name);
                let known = name == "params" || variables::variable(name).is_some();
                (!local && known).then(|| name.clone())
            }
            Expr::Select(select) if self.is_variables(&select.operand) => {
                Some(format!("variables.{}", select.field))
            }
            Expr::Select(select) => Some(format!(
                "{}.{}",
                self.path_of(&select.operand)?,
                select.field
            )),
            Expr::Call(call) if call.func_name == operators::INDEX => {
                let [operand, index] = call.args.as_slice() else {
                    return None;
                };
                let operand = self.path_of(operand)?;
                let index = match &index.expr {
                    Expr::Literal(LiteralValue::String(text)) => format!("\"{}\"", text.inner()),
                    Expr::Literal(LiteralValue::Int(number)) => number.inner().to_string(),
                    _ => self.path_of(index)?,
                };
                Some(format!("{operand}[{index}]"))
            }
            _ => None,
        }
    }

    fn offset(&self, node: &IdedExpr) -> usize {
        self.parsed.offsets.offset_for(node.id).unwrap_or((0, 0)).0 as usize
    }

    fn at(&self, node: &IdedExpr, length: usize, message: impl Into<String>) -> Mistake {
        Mistake::new(self.offset(node), length, message)
    }

    fn mistake(&mut self, node: &IdedExpr, length: usize, message: impl Into<String>) {
        let mistake = self.at(node, length, message);
        self.found.mistakes.push(mistake);
    }

    /// Returns the place of the first and last character of a node and all below it.
    fn whole(&self, node: &IdedExpr) -> (usize, usize) {
        fn extent(checker: &Checker<'_>, node: &IdedExpr, range: &mut (usize, usize)) {
            if let Some((start, stop)) = checker.parsed.offsets.offset_for(node.id) {
                range.0 = range.0.min(start as usize);
                let mut end = stop as usize + 1;
                match &node.expr {
                    Expr::Select(select) => {
                        let (at, length) = checker.field_place(node, &select.field);
                        end = end.max(at + length);
                    }
                    Expr::Call(call) if call.func_name.starts_with(char::is_alphabetic) => {
                        range.0 = range.0.min(checker.name_place(node, &call.func_name).0);
                    }
                    _ => {}
                }
                range.1 = range.1.max(end);
            }
            for child in crate::parse::children(node) {
                extent(checker, child, range);
            }
        }
        let mut range = (self.text.len(), 0);
        extent(self, node, &mut range);
        (range.0, range.1.saturating_sub(range.0).max(1))
    }

    fn mistake_over(&mut self, node: &IdedExpr, message: impl Into<String>) -> &mut Mistake {
        let (offset, length) = self.whole(node);
        self.found
            .mistakes
            .push(Mistake::new(offset, length, message));
        self.found.mistakes.last_mut().expect("just pushed")
    }

    /// Returns the place of a selected field: the node's own offset is that of the dot (of the
    /// bracket, for `has`).
    fn field_place(&self, node: &IdedExpr, field: &str) -> (usize, usize) {
        let from = self.offset(node).min(self.text.len());
        let at = self.text.get(from..).and_then(|rest| rest.find(field));
        (at.map_or(from, |at| from + at), field.len())
    }

    /// Returns the place of a called function's name: the node's own offset is that of the bracket.
    fn name_place(&self, node: &IdedExpr, name: &str) -> (usize, usize) {
        let bracket = self.offset(node).min(self.text.len());
        let before = self.text.get(..bracket).unwrap_or("").trim_end();
        if before.ends_with(name) {
            (before.len() - name.len(), name.len())
        } else {
            (bracket, 1)
        }
    }
}

/// Returns the lookup of a metric that a node is, or is a field of.
fn metric_of(node: &IdedExpr) -> Option<&IdedExpr> {
    match &node.expr {
        Expr::Select(select) => metric_of(&select.operand),
        Expr::Call(_) => lookup(node)
            .filter(|(named, _)| *named == Named::Metric)
            .map(|_| node),
        _ => None,
    }
}

/// Returns what is looked up by which name, if a node is what `metric` and `isHoliday` expand to.
fn lookup(node: &IdedExpr) -> Option<(Named, &IdedExpr)> {
    match &node.expr {
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [operand, name] => match &operand.expr {
                Expr::Ident(variable) => Some((Named::of(variable)?, name)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// Returns a lookup as people write it.
fn named_path(node: &IdedExpr) -> Option<String> {
    let (named, name) = lookup(node)?;
    let name = match literal_text(name) {
        Some(text) => format!("\"{text}\""),
        None => format!("params.{}", calls::param_of(name)?),
    };
    Some(format!("{}({name})", named.function()))
}

/// Returns what is evaluated to show the value of a path.
fn shown_node(node: &IdedExpr) -> IdedExpr {
    let mut node = node.clone();
    match &mut node.expr {
        Expr::Select(select) => select.test = false,
        Expr::Call(call) if call.func_name == IS_HOLIDAY => {
            SHOWN_HOLIDAY.clone_into(&mut call.func_name);
        }
        _ => {}
    }
    node
}

fn did_you_mean(mistake: Mistake, close: Option<&str>) -> Mistake {
    match close {
        Some(close) => mistake.hint(format!("did you mean `{close}`?")),
        None => mistake,
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::Text,
        LiteralValue::UInt(_) => Type::Uint,
    }
}

/// Returns the type with its article, for messages.
fn article(type_: &Type) -> String {
    let name = type_.to_string();
    match name.chars().next() {
        Some('a' | 'i' | 'o') => format!("an {name}"),
        _ if matches!(type_, Type::Null) => name,
        _ => format!("a {name}"),
    }
}

/// Returns the literal text of a node, if it is one.
fn literal_text(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// Returns whether a node is made of literals alone.
fn is_constant(node: &IdedExpr) -> bool {
    match &node.expr {
        Expr::Literal(_) => true,
        Expr::List(_) | Expr::Map(_) => crate::parse::children(node).into_iter().all(is_constant),
        Expr::Call(call) => {
            let known = call.func_name.starts_with(char::is_alphabetic);
            let target = call.target.as_deref();
            known
                && target.is_none_or(|target| namespace(target).is_some() || is_constant(target))
                && call.args.iter().all(is_constant)
        }
        _ => false,
    }
}

/// Returns the names of all functions and macros, as they are written.
fn callable_names(member: bool) -> Vec<&'static str> {
    let mut names: Vec<&str> = functions::signatures()
        .filter(|signature| signature.member == member && !signature.name.starts_with('@'))
        .map(|signature| functions::written_name(signature.name))
        .collect();
    if member {
        names.extend(
            functions::MACROS
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| !["has", "metric", "isHoliday"].contains(name))
                .filter(|name| !name.contains('.')),
        );
    } else {
        names.extend(["has", "metric", "isHoliday", "cel.bind", "cel.block"]);
    }
    names.dedup();
    names
}
