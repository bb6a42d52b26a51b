//! Windows of time: `inWindow("0 2 * * TUE", duration("3h"), "Europe/Berlin")`.

use cel::common::ast::{CallExpr, Expr};
use cel::common::types::{
    CelBool, CelDuration, CelString, CelTimestamp, DURATION_TYPE, STRING_TYPE, TIMESTAMP_TYPE,
};
use cel::parser::Macro;
use cel::{DeclarationError, Env, ExecutionError};
use drover_model::{Cron, Timestamp, Zone, last_opening};

use super::{Arguments, Outcome, failure, no_overload, owned};
use crate::limits::WINDOW_STEPS;
use crate::meter;
use crate::value::shorten;

/// What `inWindow` is called once the time of the pass is one of its arguments.
pub(crate) const IN_WINDOW: &str = "@inWindow";

pub(super) fn extension(env: &mut Env) -> Result<(), DeclarationError> {
    let arguments = vec![TIMESTAMP_TYPE, STRING_TYPE, DURATION_TYPE, STRING_TYPE];
    env.add_overload(IN_WINDOW, "in_window", arguments, in_window)?;
    env.add_macro(Macro::global("inWindow", 3, |helper, _, arguments| {
        let mut all = vec![helper.next_expr(Expr::Ident("now".to_owned()))];
        all.append(arguments);
        Ok(Some(helper.next_expr(Expr::Call(CallExpr {
            func_name: IN_WINDOW.to_owned(),
            target: None,
            args: all,
        }))))
    }))
}

/// Returns what is wrong with the times at which a window opens, if something is.
pub(crate) fn cron_mistake(text: &str) -> Option<String> {
    Cron::parse(text).err().map(|error| error.to_string())
}

fn in_window<'b, 'v>(arguments: Arguments<'b, 'v>) -> Outcome<'b, 'v> {
    meter::charge(WINDOW_STEPS)?;
    let wrong = || no_overload("inWindow", &arguments[1..]);
    let text = |at: usize| {
        arguments[at]
            .downcast_ref::<CelString<'_>>()
            .map(CelString::inner)
    };
    let now = arguments[0].downcast_ref::<CelTimestamp>();
    let length = arguments[2].downcast_ref::<CelDuration>();
    let (Some(now), Some(cron), Some(length), Some(zone)) = (now, text(1), length, text(3)) else {
        return Err(wrong());
    };
    let now = now.inner();
    let now = Timestamp::new(now.timestamp(), now.timestamp_subsec_nanos() as i32)
        .map_err(|_| failure("the time is out of range"))?;
    let cron = Cron::parse(cron).map_err(failure)?;
    let zone = parse_zone(zone)?;
    // A negative length is that of a window that is never open.
    let length = length.inner().to_std().unwrap_or_default();
    let open = last_opening(&cron, &zone, now).is_some_and(|opened| {
        let closes = opened.checked_add(length).unwrap_or(Timestamp::MAX);
        now < closes
    });
    Ok(owned(CelBool::from(open)))
}

fn parse_zone(name: &str) -> Result<Zone, ExecutionError> {
    Zone::parse(name).ok_or_else(|| {
        failure(format!(
            "`{}` is not a time zone such as Europe/Berlin or UTC",
            shorten(name, 60)
        ))
    })
}
