use drover_model::Selector;

use super::*;

fn name(text: &str) -> GroupName {
    GroupName::parse(text).unwrap()
}

fn budget(text: &str, max: u32) -> FleetBudget {
    FleetBudget {
        name: BudgetName::parse(text).unwrap(),
        selector: Selector {
            match_labels: BTreeMap::new(),
        },
        reasons: Reason::voluntary(),
        max: Amount::Count(max),
    }
}

fn partner(text: &str) -> Partner {
    Partner {
        name: name(text),
        labels: BTreeMap::new(),
        size: 5,
        short: 0,
        phase: GroupPhase::Progressing,
        busy: false,
    }
}

fn partners(names: &[&str]) -> Vec<Partner> {
    names.iter().map(|name| partner(name)).collect()
}

/// Returns each group's room in the first budget.
fn rooms(parts: &BTreeMap<GroupName, Vec<Share>>) -> Vec<(&str, u32)> {
    let rooms = parts.iter();
    rooms
        .map(|(name, shares)| (name.as_str(), shares[0].room))
        .collect()
}

fn waits() -> Vec<Held> {
    vec![Held {
        reason: Some(Reason::Update),
        ..crate::agent::plain(Hold::FleetBudgetExhausted {
            budget: BudgetName::parse("all").unwrap(),
            max: 1,
            taken_by: Vec::new(),
        })
    }]
}

fn disturbance(begun: u32, leaving: u32, short: u32) -> Disturbance {
    Disturbance {
        begun: BTreeMap::from([(Reason::Update, begun)]),
        leaving: BTreeMap::from([(Some(Reason::Update), leaving)]),
        short,
    }
}

fn asks(shares: &mut Shares, group: &str) {
    shares.planned(
        &name(group),
        GroupPhase::Progressing,
        &Disturbance::default(),
        &waits(),
    );
}

fn takes(shares: &mut Shares, group: &str, begun: u32) {
    let holds = waits();
    let taken = disturbance(begun, begun, begun);
    shares.planned(&name(group), GroupPhase::Progressing, &taken, &holds);
}

#[test]
fn who_does_not_ask_gets_no_room_and_keeps_nobody_waiting() {
    let (mut shares, budgets) = (Shares::default(), [budget("all", 3)]);
    let partners = partners(&["a", "b", "c"]);
    let parts = shares.divide(&budgets, &partners);
    assert_eq!(rooms(&parts), [("a", 0), ("b", 0), ("c", 0)]);
    asks(&mut shares, "b");
    assert!(shares.has_room_for_somebody());
    let parts = shares.divide(&budgets, &partners);
    assert_eq!(rooms(&parts), [("a", 0), ("b", 3), ("c", 0)]);
    // It had its turn and did not use it.
    shares.planned(
        &name("b"),
        GroupPhase::Progressing,
        &Disturbance::default(),
        &[],
    );
    assert!(!shares.has_room_for_somebody());
    assert_eq!(rooms(&shares.divide(&budgets, &partners))[1], ("b", 0));
}

#[test]
fn what_was_given_and_what_is_used_is_never_more_than_the_budget() {
    let (mut shares, budgets) = (Shares::default(), [budget("all", 3)]);
    let mut partners = partners(&["a", "b", "c"]);
    shares.divide(&budgets, &partners);
    for group in ["a", "b", "c"] {
        asks(&mut shares, group);
    }
    let parts = shares.divide(&budgets, &partners);
    assert_eq!(rooms(&parts), [("a", 1), ("b", 1), ("c", 1)]);
    takes(&mut shares, "a", 1);
    // The work of b goes on beside the pass, with what it was given.
    partners[1].busy = true;
    shares.planned(
        &name("c"),
        GroupPhase::Progressing,
        &disturbance(0, 0, 0),
        &waits(),
    );
    let parts = shares.divide(&budgets, &partners);
    assert_eq!(rooms(&parts), [("a", 0), ("b", 0), ("c", 1)]);
    assert_eq!(
        parts[&name("c")][0].taken_by,
        BTreeSet::from([name("a"), name("b")])
    );
    // It ended in an unknown way: what it could have taken counts until it is planned again.
    shares.lost(&name("b"));
    partners[1].busy = false;
    takes(&mut shares, "c", 1);
    let parts = shares.divide(&budgets, &partners);
    assert_eq!(rooms(&parts), [("a", 0), ("b", 0), ("c", 0)]);
    assert!(!shares.has_room_for_somebody());
}

#[test]
fn turns_go_round() {
    let (mut shares, budgets) = (Shares::default(), [budget("all", 1)]);
    let partners = partners(&["a", "b", "c"]);
    shares.divide(&budgets, &partners);
    for group in ["a", "b", "c"] {
        asks(&mut shares, group);
    }
    let mut served = Vec::new();
    for _ in 0..6 {
        let parts = shares.divide(&budgets, &partners);
        let rooms = rooms(&parts);
        let (group, _) = rooms.iter().find(|(_, room)| *room == 1).unwrap();
        served.push((*group).to_owned());
        takes(&mut shares, group, 1);
        // Another one for which there is no room while the first is being made good.
        assert!(
            shares
                .divide(&budgets, &partners)
                .values()
                .all(|s| s[0].room == 0)
        );
        asks(&mut shares, group);
    }
    assert_eq!(served, ["a", "b", "c", "a", "b", "c"]);
}

#[test]
fn what_was_taken_counts_until_it_is_made_good_or_the_rollout_stops() {
    let (mut shares, budgets) = (Shares::default(), [budget("all", 1)]);
    let partners = partners(&["a", "b"]);
    shares.divide(&budgets, &partners);
    asks(&mut shares, "a");
    asks(&mut shares, "b");
    shares.divide(&budgets, &partners);
    takes(&mut shares, "a", 1);
    let room_of_b = |shares: &mut Shares| rooms(&shares.divide(&budgets, &partners))[1].1;
    assert_eq!(room_of_b(&mut shares), 0);
    // The old instance is gone, the new one is not there yet.
    let gone = disturbance(0, 0, 1);
    shares.planned(&name("a"), GroupPhase::Progressing, &gone, &[]);
    assert_eq!(room_of_b(&mut shares), 0);
    let mut paused = Shares::default();
    std::mem::swap(&mut paused, &mut shares);
    paused.planned(&name("a"), GroupPhase::Paused, &gone, &[]);
    assert_eq!(room_of_b(&mut paused), 1);
}

#[test]
fn what_is_missing_for_another_cause_uses_up_nothing() {
    let (mut shares, budgets) = (Shares::default(), [budget("all", 1)]);
    let partners = partners(&["a", "b"]);
    shares.divide(&budgets, &partners);
    // Three of a are down, none of them because somebody took it out of service.
    shares.planned(
        &name("a"),
        GroupPhase::Progressing,
        &disturbance(0, 0, 3),
        &[],
    );
    asks(&mut shares, "b");
    assert_eq!(
        rooms(&shares.divide(&budgets, &partners)),
        [("a", 0), ("b", 1)]
    );
}

#[test]
fn after_a_restart_what_is_missing_counts_until_the_group_is_planned() {
    let (mut shares, budgets) = (Shares::default(), [budget("all", 1)]);
    let mut partners = partners(&["a", "b"]);
    partners[0].short = 1;
    shares.divide(&budgets, &partners);
    asks(&mut shares, "b");
    assert_eq!(rooms(&shares.divide(&budgets, &partners))[1], ("b", 0));
    shares.planned(
        &name("a"),
        GroupPhase::Converged,
        &Disturbance::default(),
        &[],
    );
    assert_eq!(rooms(&shares.divide(&budgets, &partners))[1], ("b", 1));
}

#[test]
fn who_was_given_room_and_is_not_planned_keeps_nobody_waiting() {
    let (mut shares, budgets) = (Shares::default(), [budget("all", 1)]);
    let partners = partners(&["a", "b"]);
    shares.divide(&budgets, &partners);
    asks(&mut shares, "a");
    asks(&mut shares, "b");
    assert_eq!(
        rooms(&shares.divide(&budgets, &partners)),
        [("a", 1), ("b", 0)]
    );
    assert_eq!(
        rooms(&shares.divide(&budgets, &partners)),
        [("a", 0), ("b", 1)]
    );
}

#[test]
fn two_budgets_are_never_held_half_each() {
    let budgets = [budget("one", 1), budget("two", 1)];
    let (mut shares, partners) = (Shares::default(), partners(&["a", "b"]));
    shares.divide(&budgets, &partners);
    asks(&mut shares, "a");
    asks(&mut shares, "b");
    let parts = shares.divide(&budgets, &partners);
    let rooms: Vec<u32> = parts[&name("a")].iter().map(|share| share.room).collect();
    assert_eq!(rooms, [1, 1]);
}

#[test]
fn a_share_is_of_all_sizes_together_and_at_least_one() {
    let mut shares = Shares::default();
    let percent = |percent| FleetBudget {
        max: Amount::Percent(percent),
        ..budget("all", 0)
    };
    let partners = partners(&["a", "b", "c"]);
    let max_of =
        |shares: &mut Shares, of: u32| shares.divide(&[percent(of)], &partners)[&name("a")][0].max;
    assert_eq!(max_of(&mut shares, 10), 2);
    assert_eq!(max_of(&mut shares, 20), 3);
    assert_eq!(max_of(&mut shares, 1), 1);
}
