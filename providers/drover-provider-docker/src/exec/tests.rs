use super::*;
use crate::api::HealthLog;

fn health(status: &str, log: Vec<HealthLog>) -> Health {
    Health {
        status: Some(status.to_owned()),
        log: Some(log),
    }
}

#[test]
fn a_containers_own_check_is_read_in_the_words_of_both_engines() {
    let said = |status: &str| health_outcome(Some(&health(status, Vec::new())));
    assert_eq!(said("healthy"), CheckOutcome::Passing);
    assert_eq!(
        said("starting"),
        unknown("its own check has not passed yet")
    );
    let none = unknown("the container has no check of its own");
    assert_eq!(said("none"), none);
    assert_eq!(said(""), none);
    assert_eq!(health_outcome(None), none);
    assert_eq!(health_outcome(Some(&Health::default())), none);
    assert_eq!(said("dozing"), unknown("its own check says dozing"));
    assert_eq!(said("unhealthy"), failing("its own check fails"));
}

#[test]
fn a_failing_check_says_what_it_printed_last() {
    let tried = |code, output: &str| HealthLog {
        exit_code: Some(code),
        output: Some(output.to_owned()),
    };
    let log = vec![tried(0, "fine\n"), tried(7, "connection refused\n")];
    assert_eq!(
        health_outcome(Some(&health("unhealthy", log))),
        failing("its own check fails: exit status 7: connection refused")
    );
}
