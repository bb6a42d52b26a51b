use super::*;
use crate::agent::notices::send::tests::event_of;

fn first(lines: &mut Lines, now: Instant) -> Option<String> {
    let event = lines.begin(now)?;
    Some(format!("{} {}", event.involved_object.name, event.reason))
}

#[test]
fn what_is_new_comes_before_what_has_failed_and_the_order_of_an_object_holds() {
    let begin = Instant::now();
    let after = |seconds| begin + Duration::from_secs(seconds);
    let mut lines = Lines::new(begin);
    lines.add(event_of("web", "First"), begin);
    assert_eq!(first(&mut lines, begin).unwrap(), "web First");
    assert!(lines.failed(Duration::ZERO, false, begin));
    assert_eq!(lines.due(), Some(after(1)));
    lines.add(event_of("web", "FirstEnded"), begin);
    lines.add(event_of("db", "QuorumAtRisk"), begin);
    assert!(lines.has_untried());
    assert_eq!(first(&mut lines, after(2)).unwrap(), "db QuorumAtRisk");
    lines.passed(after(2));
    assert_eq!(first(&mut lines, after(2)).unwrap(), "web First");
    lines.passed(after(2));
    assert_eq!(first(&mut lines, after(2)).unwrap(), "web FirstEnded");
    lines.passed(after(2));
    assert!(lines.is_empty());
}

#[test]
fn a_receiver_that_wants_to_be_left_alone_is_and_nothing_starves() {
    let begin = Instant::now();
    let after = |seconds| begin + Duration::from_secs(seconds);
    let mut lines = Lines::new(begin);
    lines.add(event_of("web", "First"), begin);
    first(&mut lines, begin);
    assert!(lines.failed(Duration::from_secs(30), true, begin));
    assert_eq!(lines.resumed(), after(30));
    lines.add(event_of("db", "Second"), after(1));
    assert_eq!(lines.due(), Some(after(30)));
    // Whatever the receiver chokes on, others have their turn.
    assert_eq!(first(&mut lines, after(30)).unwrap(), "db Second");
    lines.passed(after(30));
    assert_eq!(first(&mut lines, after(30)).unwrap(), "web First");
    // Ten minutes after it was first tried it is over.
    assert!(lines.failed(Duration::ZERO, false, after(500)));
    assert!(!lines.failed(Duration::from_secs(100), false, after(501)));
    assert_eq!(lines.give_up(after(501)).unwrap().reason, "First");
}

#[test]
fn the_longest_line_loses_its_first_when_too_many_wait() {
    let begin = Instant::now();
    let mut lines = Lines::new(begin);
    lines.add(event_of("db", "QuorumAtRisk"), begin);
    for number in 1..WAITING_MAX {
        let event = event_of("web", &format!("Hold{number}"));
        assert_eq!(lines.add(event, begin), None);
    }
    let given_up = lines.add(event_of("api", "Held"), begin).unwrap();
    assert_eq!(given_up.reason, "Hold1");
}
