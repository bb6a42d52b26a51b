use std::collections::BTreeSet;

use super::*;

fn walks(first: u64, until: WalkUntil) -> Walks {
    Walks {
        first,
        until,
        passes: 1,
        trace: None,
    }
}

/// A life of ten passes and one fault.
fn quiet() -> Tally {
    let mut tally = Tally {
        seeds: 1,
        passes: 10,
        ..Tally::default()
    };
    tally.count("agent", "killed");
    tally
}

#[test]
fn every_seed_is_lived_once_and_everything_is_added_up() {
    let lived = Mutex::new(Vec::new());
    let walked = all(walks(40, WalkUntil::Seeds(100)), |seed| {
        lived.lock().unwrap().push(seed);
        Ok(quiet())
    });
    let lived = lived.into_inner().unwrap();
    assert_eq!(lived.len(), 100);
    let distinct: BTreeSet<u64> = lived.into_iter().collect();
    assert_eq!(distinct, (40..140).collect());
    let report = "100 seeds, 1000 passes, 0 steps carried out, 0 instances made, 0 ended, 0 restarted, 0 changed live\n\
        100 faults and changes:\n       100  agent: killed\nviolations: 0";
    assert_eq!(walked.to_string(), report);
}

#[test]
fn every_failing_seed_is_told_with_the_command_that_lives_it_alone() {
    let walked = all(walks(0, WalkUntil::Seeds(50)), |seed| match seed {
        7 | 30 => Err(Violation {
            invariant: "I4 no worse",
            what: "two".to_owned(),
        }),
        11 => panic!("seed {seed} is unlucky"),
        _ => Ok(quiet()),
    });
    assert_eq!(walked.tally.seeds, 47);
    let text = walked.to_string();
    let alone = |seed| {
        format!(
            "\n    alone: SEED={seed} TRACE=1 cargo test -p drover-sim --test walk -- --nocapture"
        )
    };
    let expected = [
        "violations: 3\nseed 7: I4 no worse: two".to_owned() + &alone(7),
        "\nseed 11: panic: seed 11 is unlucky".to_owned() + &alone(11),
        "\nseed 30: I4 no worse: two".to_owned() + &alone(30),
    ];
    assert!(text.ends_with(&expected.concat()), "{text}");
}

#[test]
fn no_life_begins_when_enough_passes_are_done() {
    let walked = all(walks(0, WalkUntil::Passes(1000)), |_| Ok(quiet()));
    let at_once = std::thread::available_parallelism().unwrap().get() as u64;
    let most = 1000 + 10 * at_once;
    assert!((1000..=most).contains(&walked.tally.passes), "{walked}");
}
