//! Whatever an expression tries, it is refused or stopped soon, and says why.

#[path = "../examples/fuzz-expressions/hostile.rs"]
mod hostile;

use std::time::{Duration, Instant};

use drover_policy::language::{Checking, Surroundings, evaluate};

/// Generous: a debug build on a busy machine. Without its guard each takes hours, or all memory.
const BOUNDED: Duration = Duration::from_mins(1);

#[test]
#[expect(clippy::disallowed_methods, reason = "the test is about time")]
fn hostile_expressions_are_refused_or_stopped_soon() {
    let values = hostile::values();
    let mut wrong = Vec::new();
    for case in hostile::all() {
        let began = Instant::now();
        let surroundings = Surroundings {
            container: "",
            values: &values,
            checking: Checking::Strict,
        };
        let result = evaluate(&case.source, surroundings);
        let took = began.elapsed();
        if !case.end.is(&result) || took > BOUNDED {
            let shown = match result {
                Ok(_) => "a value".to_owned(),
                Err(fault) => fault.to_string(),
            };
            wrong.push(format!(
                "{}: {:?}, not {shown}, in {took:?}",
                case.name, case.end
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
