//! One expression, with the check and without it: whatever it is, it is refused, fails, runs out of its
//! budget or has a value. A panic is a bug, and so is one that takes long or much memory.

#![no_main]

use drover_policy::language::{Checking, Datum, Fault, Surroundings, evaluate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let values = [
        (
            "text".to_owned(),
            Datum::Text("web-12 example.com".to_owned()),
        ),
        (
            "numbers".to_owned(),
            Datum::List((0..64).map(Datum::Int).collect()),
        ),
        (
            "labels".to_owned(),
            Datum::Map(vec![(
                Datum::Text("env".to_owned()),
                Datum::Text("prod".to_owned()),
            )]),
        ),
    ];
    for checking in [Checking::Strict, Checking::None] {
        let surroundings = Surroundings {
            container: "",
            values: &values,
            checking,
        };
        if let Err(Fault::Panicked(why)) = evaluate(source, surroundings) {
            panic!("{why}");
        }
    }
});
