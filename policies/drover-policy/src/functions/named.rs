//! What documents define, by name: `metric("queue.depth")` and `isHoliday("de")`.
//!
//! Both are macros that read a variable which no source can spell, so that the name can be looked up when
//! a policy is loaded, and everything that is read is known before a pass is made.

use cel::common::ast::{CallExpr, Expr, IdedExpr, operators};
use cel::common::types::{CelBool, CelString, CelTimestamp, DYN_TYPE, TIMESTAMP_TYPE};
use cel::parser::{Macro, MacroExprHelper};
use cel::{DeclarationError, Env, ExecutionError};
use drover_model::{CalendarDays, Timestamp};

use super::opaque::Held;
use super::{Arguments, Outcome, failure, no_overload, owned};
use crate::definitions::{CALENDARS, CalendarValue, METRICS};
use crate::limits::CALENDAR_STEPS;
use crate::meter;

/// What `isHoliday` is called once the calendar and the time are its arguments.
pub(crate) const IS_HOLIDAY: &str = "@isHoliday";

/// The same in words for people, with the name of the day.
pub(crate) const SHOWN_HOLIDAY: &str = "@shownHoliday";

pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let arguments = || vec![DYN_TYPE, TIMESTAMP_TYPE];
    env.add_overload(IS_HOLIDAY, "is_holiday", arguments(), is_holiday)?;
    env.add_overload(SHOWN_HOLIDAY, "shown_holiday", arguments(), shown_holiday)?;
    env.add_macro(Macro::global("metric", 1, |helper, _, arguments| {
        Ok(Some(looked_up(helper, METRICS, arguments)))
    }))?;
    env.add_macro(Macro::global("isHoliday", 1, |helper, _, arguments| {
        let calendar = looked_up(helper, CALENDARS, arguments);
        let now = helper.next_expr(Expr::Ident("now".to_owned()));
        Ok(Some(holiday(helper, calendar, now)))
    }))?;
    env.add_macro(Macro::global("isHoliday", 2, |helper, _, arguments| {
        let time = arguments.remove(1);
        let calendar = looked_up(helper, CALENDARS, arguments);
        Ok(Some(holiday(helper, calendar, time)))
    }))
}

/// Returns `variable[name]`.
fn looked_up(
    helper: &mut MacroExprHelper<'_>,
    variable: &str,
    name: &mut Vec<IdedExpr>,
) -> IdedExpr {
    let mut args = vec![helper.next_expr(Expr::Ident(variable.to_owned()))];
    args.append(name);
    helper.next_expr(Expr::Call(CallExpr {
        func_name: operators::INDEX.to_owned(),
        target: None,
        args,
    }))
}

fn holiday(helper: &mut MacroExprHelper<'_>, calendar: IdedExpr, time: IdedExpr) -> IdedExpr {
    helper.next_expr(Expr::Call(CallExpr {
        func_name: IS_HOLIDAY.to_owned(),
        target: None,
        args: vec![calendar, time],
    }))
}

fn is_holiday<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let is = entry(&arguments, |entry| entry.is_some())?;
    Ok(owned(CelBool::from(is)))
}

fn shown_holiday<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    let shown = entry(&arguments, |entry| match entry {
        None => "false".to_owned(),
        Some(CalendarDays { name: None, .. }) => "true".to_owned(),
        Some(CalendarDays {
            name: Some(name), ..
        }) => format!("true ({name})"),
    })?;
    Ok(owned(CelString::from(shown)))
}

/// Returns what `read` makes of the entry of a calendar at a time.
fn entry<T>(
    arguments: &Arguments<'_, '_>,
    read: impl FnOnce(Option<&CalendarDays>) -> T,
) -> Result<T, ExecutionError> {
    meter::charge(CALENDAR_STEPS)?;
    let calendar = arguments[0].downcast_ref::<Held<CalendarValue>>();
    let time = arguments[1].downcast_ref::<CelTimestamp>();
    let (Some(Held(calendar)), Some(time)) = (calendar, time) else {
        return Err(no_overload("isHoliday", &arguments[1..]));
    };
    let calendar = calendar
        .calendar()
        .map_err(|name| failure(format!("there is no calendar `{name}`")))?;
    let time = time.inner();
    let time = Timestamp::new(time.timestamp(), time.timestamp_subsec_nanos() as i32)
        .map_err(|_| failure("the time is out of range"))?;
    Ok(read(calendar.entry_at(time)))
}
