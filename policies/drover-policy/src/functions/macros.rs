//! The macros that the evaluator lacks: `cel.bind`, `cel.block`, and loops with two variables.
//!
//! A loop with two variables stays one in the syntax tree, so that the check knows the types of both;
//! the evaluator only has loops with one, so the guards turn it into a loop over pairs.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators,
};
use cel::parser::{Macro, MacroExprHelper, ParseError};
use cel::{DeclarationError, Env};

use super::{MERGE_MAPS, TO_MAP};

/// The variable that holds the result of a loop, in every macro of the language.
const RESULT: &str = "@result";

type Helper<'a, 'b> = &'a mut MacroExprHelper<'b>;
type Target = Option<IdedExpr>;
type Expanded = Result<Option<IdedExpr>, ParseError>;

pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_macro(Macro::receiver("bind", 3, bind))?;
    env.add_macro(Macro::receiver("block", 2, block))?;
    env.add_macro(Macro::receiver("index", 1, |helper, target, arguments| {
        slot(helper, target, arguments, "@index")
    }))?;
    env.add_macro(Macro::receiver(
        "iterVar",
        2,
        |helper, target, arguments| slot(helper, target, arguments, "@it"),
    ))?;
    env.add_macro(Macro::receiver(
        "accuVar",
        2,
        |helper, target, arguments| slot(helper, target, arguments, "@ac"),
    ))?;
    env.add_macro(Macro::receiver("all", 3, all))?;
    env.add_macro(Macro::receiver("exists", 3, exists))?;
    env.add_macro(Macro::receiver("existsOne", 3, exists_one))?;
    env.add_macro(Macro::receiver("exists_one", 3, exists_one))?;
    for count in [3, 4] {
        env.add_macro(Macro::receiver("transformList", count, transform_list))?;
        env.add_macro(Macro::receiver("transformMap", count, transform_map))?;
        env.add_macro(Macro::receiver(
            "transformMapEntry",
            count,
            transform_entries,
        ))?;
    }
    Ok(())
}

/// Returns whether a comprehension is no loop but gives a value a name, as `cel.bind` does.
pub(crate) fn is_bind(comprehension: &ComprehensionExpr) -> bool {
    let empty =
        matches!(&comprehension.iter_range.expr, Expr::List(list) if list.elements.is_empty());
    let never = matches!(
        &comprehension.loop_cond.expr,
        Expr::Literal(LiteralValue::Boolean(condition)) if !*condition.inner()
    );
    empty && never
}

/// Returns how a name was written that `cel.index` and its like made.
pub(crate) fn block_index(name: &str) -> Option<&'static str> {
    match name.get(..3)? {
        "@in" => Some("cel.index"),
        "@it" => Some("cel.iterVar"),
        "@ac" => Some("cel.accuVar"),
        _ => None,
    }
}

fn is_cel(target: &Target) -> bool {
    matches!(target, Some(IdedExpr { expr: Expr::Ident(name), .. }) if name == "cel")
}

fn bind(helper: Helper<'_, '_>, target: &mut Target, arguments: &mut Vec<IdedExpr>) -> Expanded {
    if !is_cel(target) {
        return Ok(None);
    }
    let body = arguments.pop().unwrap_or_default();
    let value = arguments.pop().unwrap_or_default();
    let name = name_of(helper, arguments)?;
    Ok(Some(bound(helper, name, value, body)))
}

/// Expands `cel.block([a, b], r)`: each value gets the name that `cel.index` of its place expands to.
fn block(helper: Helper<'_, '_>, target: &mut Target, arguments: &mut Vec<IdedExpr>) -> Expanded {
    if !is_cel(target) {
        return Ok(None);
    }
    let body = arguments.pop().unwrap_or_default();
    let values = arguments.pop().unwrap_or_default();
    let Expr::List(values) = values.expr else {
        return Err(helper.new_error(values.id, "cel.block() takes a list of values"));
    };
    let values = values.elements.into_iter().enumerate().rev();
    Ok(Some(values.fold(body, |body, (at, value)| {
        bound(helper, format!("@index{at}"), value, body)
    })))
}

/// Expands `cel.index(1)` and its like to the name that they stand for.
fn slot(
    helper: Helper<'_, '_>,
    target: &mut Target,
    arguments: &mut [IdedExpr],
    prefix: &str,
) -> Expanded {
    if !is_cel(target) {
        return Ok(None);
    }
    let mut numbers = Vec::new();
    for argument in arguments {
        match &argument.expr {
            Expr::Literal(LiteralValue::Int(number)) if *number.inner() >= 0 => {
                numbers.push(number.inner().to_string());
            }
            _ => return Err(helper.new_error(argument.id, "a literal number is needed here")),
        }
    }
    let name = format!("{prefix}{}", numbers.join(":"));
    Ok(Some(helper.next_expr(Expr::Ident(name))))
}

/// A comprehension over nothing, whose result is `body` with `value` under a name.
fn bound(helper: Helper<'_, '_>, name: String, value: IdedExpr, body: IdedExpr) -> IdedExpr {
    let comprehension = ComprehensionExpr {
        iter_range: helper.next_expr(Expr::List(ListExpr::new(Vec::new()))),
        iter_var: "#unused".to_owned(),
        iter_var2: None,
        accu_init: value,
        loop_cond: literal(helper, LiteralValue::Boolean(false.into())),
        loop_step: helper.next_expr(Expr::Ident(name.clone())),
        accu_var: name,
        result: body,
    };
    helper.next_expr(Expr::Comprehension(Box::new(comprehension)))
}

/// Takes the first argument, which must be a name.
fn name_of(helper: Helper<'_, '_>, arguments: &mut Vec<IdedExpr>) -> Result<String, ParseError> {
    let argument = arguments.remove(0);
    match argument.expr {
        Expr::Ident(name) => Ok(name),
        _ => Err(helper.new_error(argument.id, "a simple name is needed here")),
    }
}

/// The parts of a loop with two variables.
struct Loop {
    range: IdedExpr,
    names: [String; 2],
}

impl Loop {
    fn of(
        helper: Helper<'_, '_>,
        target: &mut Target,
        arguments: &mut Vec<IdedExpr>,
    ) -> Result<Self, ParseError> {
        let place = arguments.get(1).map_or(0, |argument| argument.id);
        let names = [name_of(helper, arguments)?, name_of(helper, arguments)?];
        if names[0] == names[1] {
            return Err(helper.new_error(place, "the two names must differ"));
        }
        let range = target.take().unwrap_or_default();
        Ok(Self { range, names })
    }

    fn build(
        self,
        helper: Helper<'_, '_>,
        init: LiteralValue,
        condition: IdedExpr,
        step: IdedExpr,
        result: IdedExpr,
    ) -> IdedExpr {
        let init = literal(helper, init);
        self.build_from(helper, init, condition, step, result)
    }

    fn build_from(
        self,
        helper: Helper<'_, '_>,
        init: IdedExpr,
        condition: IdedExpr,
        step: IdedExpr,
        result: IdedExpr,
    ) -> IdedExpr {
        let [key, value] = self.names;
        let comprehension = ComprehensionExpr {
            iter_range: self.range,
            iter_var: key,
            iter_var2: Some(value),
            accu_var: RESULT.to_owned(),
            accu_init: init,
            loop_cond: condition,
            loop_step: step,
            result,
        };
        helper.next_expr(Expr::Comprehension(Box::new(comprehension)))
    }
}

fn literal(helper: Helper<'_, '_>, value: LiteralValue) -> IdedExpr {
    helper.next_expr(Expr::Literal(value))
}

fn result(helper: Helper<'_, '_>) -> IdedExpr {
    helper.next_expr(Expr::Ident(RESULT.to_owned()))
}

fn call(helper: Helper<'_, '_>, name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    helper.next_expr(Expr::Call(CallExpr {
        func_name: name.to_owned(),
        target: None,
        args,
    }))
}

fn all(helper: Helper<'_, '_>, target: &mut Target, arguments: &mut Vec<IdedExpr>) -> Expanded {
    let parts = Loop::of(helper, target, arguments)?;
    let predicate = arguments.pop().unwrap_or_default();
    let so_far = result(helper);
    let condition = call(helper, operators::NOT_STRICTLY_FALSE, vec![so_far]);
    let so_far = result(helper);
    let step = call(helper, operators::LOGICAL_AND, vec![so_far, predicate]);
    let end = result(helper);
    let start = LiteralValue::Boolean(true.into());
    Ok(Some(parts.build(helper, start, condition, step, end)))
}

fn exists(helper: Helper<'_, '_>, target: &mut Target, arguments: &mut Vec<IdedExpr>) -> Expanded {
    let parts = Loop::of(helper, target, arguments)?;
    let predicate = arguments.pop().unwrap_or_default();
    let so_far = result(helper);
    let not_yet = call(helper, operators::LOGICAL_NOT, vec![so_far]);
    let condition = call(helper, operators::NOT_STRICTLY_FALSE, vec![not_yet]);
    let so_far = result(helper);
    let step = call(helper, operators::LOGICAL_OR, vec![so_far, predicate]);
    let end = result(helper);
    let start = LiteralValue::Boolean(false.into());
    Ok(Some(parts.build(helper, start, condition, step, end)))
}

fn exists_one(
    helper: Helper<'_, '_>,
    target: &mut Target,
    arguments: &mut Vec<IdedExpr>,
) -> Expanded {
    let parts = Loop::of(helper, target, arguments)?;
    let predicate = arguments.pop().unwrap_or_default();
    let condition = literal(helper, LiteralValue::Boolean(true.into()));
    let one = literal(helper, LiteralValue::Int(1.into()));
    let so_far = result(helper);
    let more = call(helper, operators::ADD, vec![so_far, one]);
    let so_far = result(helper);
    let step = call(
        helper,
        operators::CONDITIONAL,
        vec![predicate, more, so_far],
    );
    let one = literal(helper, LiteralValue::Int(1.into()));
    let count = result(helper);
    let end = call(helper, operators::EQUALS, vec![count, one]);
    let start = LiteralValue::Int(0.into());
    Ok(Some(parts.build(helper, start, condition, step, end)))
}

/// A loop that collects `element` of each round, maybe on a condition.
fn collect(
    helper: Helper<'_, '_>,
    parts: Loop,
    filter: Option<IdedExpr>,
    element: IdedExpr,
) -> IdedExpr {
    let tail = helper.next_expr(Expr::List(ListExpr::new(vec![element])));
    let so_far = result(helper);
    let grown = call(helper, operators::ADD, vec![so_far, tail]);
    let step = match filter {
        None => grown,
        Some(filter) => {
            let so_far = result(helper);
            call(helper, operators::CONDITIONAL, vec![filter, grown, so_far])
        }
    };
    let start = helper.next_expr(Expr::List(ListExpr::new(Vec::new())));
    let condition = literal(helper, LiteralValue::Boolean(true.into()));
    let end = result(helper);
    parts.build_from(helper, start, condition, step, end)
}

/// Takes the value of each round, and the condition before it if there is one.
fn filter_and_value(arguments: &mut Vec<IdedExpr>) -> (Option<IdedExpr>, IdedExpr) {
    let value = arguments.pop().unwrap_or_default();
    (arguments.pop(), value)
}

fn transform_list(
    helper: Helper<'_, '_>,
    target: &mut Target,
    arguments: &mut Vec<IdedExpr>,
) -> Expanded {
    let parts = Loop::of(helper, target, arguments)?;
    let (filter, value) = filter_and_value(arguments);
    Ok(Some(collect(helper, parts, filter, value)))
}

fn transform_map(
    helper: Helper<'_, '_>,
    target: &mut Target,
    arguments: &mut Vec<IdedExpr>,
) -> Expanded {
    let parts = Loop::of(helper, target, arguments)?;
    let (filter, value) = filter_and_value(arguments);
    let key = helper.next_expr(Expr::Ident(parts.names[0].clone()));
    let pair = helper.next_expr(Expr::List(ListExpr::new(vec![key, value])));
    let pairs = collect(helper, parts, filter, pair);
    Ok(Some(call(helper, TO_MAP, vec![pairs])))
}

fn transform_entries(
    helper: Helper<'_, '_>,
    target: &mut Target,
    arguments: &mut Vec<IdedExpr>,
) -> Expanded {
    let parts = Loop::of(helper, target, arguments)?;
    let (filter, entry) = filter_and_value(arguments);
    let maps = collect(helper, parts, filter, entry);
    Ok(Some(call(helper, MERGE_MAPS, vec![maps])))
}
