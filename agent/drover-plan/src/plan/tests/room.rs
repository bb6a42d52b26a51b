//! What is there and the size has no room for: held, and never ended for having been adopted.

use drover_model::{
    Adopt, CheckOutcome, Hold, Manage, Plan, ProviderPhase, ProviderRef, RecordedStranger,
    Stranger, Surveyed,
};
use insta::assert_snapshot;

use super::adopt::{
    adopt, adopted, adopting, codes, edit, failed, members, quorum, stranger, surveyed, tags, text,
};
use crate::testing::{Fixture, at, id, template};

/// A group of `size` that has converged and still adopts what is called so.
fn settled(size: u32, names: &[&str]) -> Fixture {
    let mut fixture = Fixture::converged(size);
    fixture.group.spec.adopt = adopting(size, &[]).group.spec.adopt;
    fixture.surveyed = Some(surveyed(names.iter().map(|name| stranger(name)).collect()));
    fixture
}

fn handle(name: &str) -> ProviderRef {
    ProviderRef::parse(name).unwrap()
}

/// The handles that are adopted.
fn taken(plan: &Plan) -> Vec<&str> {
    let steps = adopted(plan).into_iter();
    steps.map(|step| step.provider_ref.as_str()).collect()
}

fn held(plan: &Plan) -> Vec<&str> {
    let held = |one: &&RecordedStranger| one.instance.is_none();
    let strangers = plan.next.strangers.iter();
    let strangers = strangers.filter(|(_, one)| held(one));
    strangers.map(|(handle, _)| handle.as_str()).collect()
}

fn verbs(plan: &Plan) -> Vec<&'static str> {
    plan.steps.iter().map(|step| step.action.verb()).collect()
}

fn fail(fixture: &mut Fixture, name: &str) {
    let why = "down".to_owned();
    fixture.signal(name, CheckOutcome::Failing { why });
    fixture.memory.get_mut(&id(name)).unwrap().failing_since = Some(at(-300));
}

#[test]
fn what_appears_above_the_size_is_held_and_the_group_goes_on_beside_it() {
    let mut fixture = settled(4, &["i-2", "i-1", "i-3"]);
    assert_snapshot!(text(&fixture), @"
    web: size 4, 4 total, 4 available (floor 4, ceiling 5), 4 updated, 0 outdated: Converged
      hold AdoptedSurplus: `size` has no room for 3 instances that match adopt.selector, so they are left alone: i-1, i-2, i-3; raise `size` to take them over, or narrow the selector
    ");
    let (plan, _) = fixture.planned();
    assert_eq!(held(&plan), ["i-1", "i-2", "i-3"]);
    // Everything is adopted that there is room for.
    assert_eq!(plan.next.adopted, Some(tags(&[("owner", "infra")])));
    fixture.recorded = plan.next;
    assert_eq!(fixture.planned().0.steps, []);
    // It is healed as ever, and the place that becomes free is not filled with one of them.
    fail(&mut fixture, "web-2");
    assert_eq!(verbs(&fixture.planned().0), ["drain", "create"]);
    fixture.unlist("web-2");
    fixture.recorded.instances.remove(&id("web-2"));
    assert_eq!(verbs(&fixture.planned().0), ["create"]);
    // Whoever is hidden or ended of them is not waited for.
    edit(&mut fixture, |strangers| strangers.truncate(1));
    let (plan, _) = fixture.planned();
    assert_eq!(verbs(&plan), ["create"]);
    assert_eq!(plan.next.strangers.len(), 3);
    // One that has an owner who acts holds the group, as before.
    edit(&mut fixture, |strangers| {
        strangers[0].claimed_by = Some("workers".to_owned());
    });
    assert_eq!(codes(&fixture), ["AdoptedSurplus", "OwnerStillActs"]);
}

#[test]
fn while_a_survey_fails_what_was_left_alone_stays_so_and_the_size_does_not_grow() {
    let mut fixture = settled(4, &["i-1", "i-2"]);
    fixture.recorded = fixture.planned().0.next;
    fixture.surveyed = Some(failed());
    fail(&mut fixture, "web-2");
    let (plan, _) = fixture.planned();
    assert_eq!(verbs(&plan), ["drain", "create"]);
    assert_eq!(held(&plan), ["i-1", "i-2"]);
    assert_eq!(plan.next.adopted, fixture.recorded.adopted);
    assert_eq!(codes(&fixture), ["AdoptionUnknown", "AdoptedSurplus"]);
    // A larger size would take them over, or make others beside them.
    let mut larger = settled(4, &["i-1", "i-2"]);
    larger.recorded = larger.planned().0.next;
    larger.surveyed = None;
    assert_eq!(codes(&larger), ["AdoptedSurplus"]);
    larger.group.spec.size = 5;
    assert_snapshot!(text(&larger), @"
    web: size 4, 4 total, 4 available (floor 4, ceiling 5), 4 updated, 0 outdated: Progressing
      hold AdoptionUnknown: nobody knows what there is to adopt, so nothing is, and the group goes on with what it has: the size stays 4, as a larger one takes over what was left alone: the provider's listing is too old to act on
      hold AdoptedSurplus: `size` has no room for 2 instances that match adopt.selector, so they are left alone: i-1, i-2; raise `size` to take them over, or narrow the selector
    ");
    let error = larger.linted(|plan| plan.next.size = 5);
    assert_snapshot!(error.unwrap_err(), @"the size would grow while nobody knows what was left alone");
    // Who has lost all of its own takes what there is, and who never had an answer may have something to take.
    for edit in [
        |fixture: &mut Fixture| {
            fixture.recorded.instances.clear();
            fixture.listing.instances.clear();
        },
        |fixture: &mut Fixture| fixture.recorded.adopted = None,
    ] {
        let mut waits = settled(4, &["i-1"]);
        waits.recorded = waits.planned().0.next;
        waits.surveyed = Some(failed());
        edit(&mut waits);
        assert_eq!(waits.planned().0.steps, []);
        assert_eq!(codes(&waits), ["ProviderFailed"]);
    }
}

#[test]
fn a_larger_size_takes_what_was_held_and_what_fails_meanwhile_takes_no_more() {
    let mut fixture = settled(4, &["i-1", "i-2", "i-3"]);
    fixture.recorded = fixture.planned().0.next;
    fixture.group.spec.size = 6;
    let (plan, _) = fixture.planned();
    assert_eq!(
        (taken(&plan), held(&plan)),
        (vec!["i-1", "i-2"], vec!["i-3"])
    );
    // Withheld for a moment, it is done afterwards: the size need not grow once more.
    edit(&mut fixture, |strangers| {
        strangers[2].claimed_by = Some("workers".to_owned());
    });
    fixture.recorded = fixture.planned().0.next;
    assert_eq!(fixture.recorded.size, 6);
    edit(&mut fixture, |strangers| strangers[2].claimed_by = None);
    let (plan, _) = fixture.planned();
    assert_eq!(
        (taken(&plan), held(&plan)),
        (vec!["i-1", "i-2"], vec!["i-3"])
    );
    // With room, a newcomer is taken, and what was held is not.
    fixture.unlist("web-4");
    fixture.recorded.instances.remove(&id("web-4"));
    edit(&mut fixture, |strangers| strangers.push(stranger("i-9")));
    let (plan, _) = fixture.planned();
    assert_eq!(taken(&plan), ["i-1", "i-2", "i-9"]);
    // A group that has nothing left takes what there is.
    for name in ["web-1", "web-2", "web-3"] {
        fixture.unlist(name);
        fixture.recorded.instances.remove(&id(name));
    }
    assert_eq!(taken(&fixture.planned().0), ["i-1", "i-2", "i-3", "i-9"]);
}

#[test]
fn originals_that_come_back_end_neither_themselves_nor_others_nor_their_replacements() {
    let mut fixture = adopting(4, &["i-1", "i-2", "i-3", "i-4"]);
    fixture.group.spec.manage = Manage::Observe;
    fixture.recorded = fixture.planned().0.next;
    fixture.group.spec.manage = Manage::Full;
    // Two were given up, and replaced.
    fixture.settle(4);
    for (name, handle) in [("web-1", "i-1"), ("web-2", "i-2")] {
        let listed = fixture.listing.instances.iter_mut();
        let owned = |listed: &&mut drover_model::Listed| {
            listed.ownership.as_ref().unwrap().instance == id(name)
        };
        let mut listed = listed.filter(owned);
        listed.next().unwrap().provider_ref = ProviderRef::parse(handle).unwrap();
        let was = fixture.recorded.instances.get_mut(&id(name)).unwrap();
        was.provider_ref = Some(ProviderRef::parse(handle).unwrap());
    }
    fixture.recorded.strangers.clear();
    fixture.surveyed = Some(surveyed(vec![stranger("i-3"), stranger("i-4")]));
    let (plan, _) = fixture.planned();
    assert_eq!((verbs(&plan), held(&plan)), (vec![], vec!["i-3", "i-4"]));
    assert_eq!(codes(&fixture), ["AdoptedSurplus"]);
    assert_eq!(plan.next.phase.as_str(), "Converged");
    // Neither while the replacements are on their way.
    fixture.unlist("web-4");
    fixture.recorded.instances.remove(&id("web-4"));
    fixture.create(&["web-4"], -10, drover_model::IntentState::Sent);
    assert_eq!(verbs(&fixture.planned().0), ["resend"]);
    assert_eq!(codes(&fixture)[1..], ["UnknownOutcomes"]);
}

#[test]
fn a_promotion_with_a_size_below_what_is_there_takes_as_many_and_ends_none() {
    let names = ["i-1", "i-2", "i-3", "i-4", "i-5"];
    let watched = |size| {
        let mut fixture = adopting(size, &names);
        fixture.group.spec.manage = Manage::Observe;
        fixture.recorded = fixture.planned().0.next;
        fixture
    };
    let mut fixture = watched(2);
    assert_snapshot!(text(&fixture), @"
    web: size 2, 0 total, 2 to adopt, 0 available (floor 2, ceiling 3), 0 updated, 0 outdated: Observed
      hold AdoptedSurplus: `size` has no room for 3 instances that match adopt.selector, so they are left alone: i-3, i-4, i-5; raise `size` to take them over, or narrow the selector
      hold ObserveOnly (web-1): the group says manage: observe
      hold ObserveOnly (web-2): the group says manage: observe
    ");
    // Promoted by a commit that asks for fewer, no limit is in the way, as nothing is ended.
    for size in [2, 5] {
        let mut fixture = watched(size);
        fixture.group.spec.manage = Manage::Full;
        fixture.group.spec.size = 2;
        let (plan, _) = fixture.planned();
        assert_eq!((taken(&plan).len(), held(&plan).len()), (2, 3), "{size}");
        assert_eq!((plan.change, plan.next.size), (None, 2));
        assert_eq!(plan.next.stable_size, 2);
        assert_eq!(codes(&fixture), ["AdoptedSurplus", "Adopting"]);
    }
    // While a smaller size is withheld, what is above it is not taken over either.
    let mut fixture5 = watched(5);
    fixture5.group.spec.manage = Manage::Full;
    fixture5.group.spec.size = 2;
    fixture5.group.spec.suspend = suspended_scaling();
    let (plan, _) = fixture5.planned();
    assert_eq!((taken(&plan).len(), plan.next.size), (2, 5));
    // One that asks for more comes from all that there is.
    fixture.group.spec.manage = Manage::Full;
    fixture.group.spec.size = 6;
    let (plan, _) = fixture.planned();
    let change = plan.change.clone().unwrap();
    assert_eq!((change.creates, change.destroys), (1, 0));
    assert_eq!((taken(&plan).len(), plan.next.stable_size), (5, 5));
}

fn suspended_scaling() -> Vec<drover_model::Suspend> {
    vec![drover_model::Suspend {
        what: [drover_model::Activity::Scale].into(),
        because: None,
        until: None,
    }]
}

#[test]
fn taken_first_are_those_of_the_template_in_git_and_then_the_oldest() {
    let mut fixture = adopting(3, &["i-1", "i-2", "i-3", "i-4", "i-5"]);
    adopt(&mut fixture).current = vec![tags(&[("config", "new")])];
    let old = |stranger: &mut Stranger| stranger.tags = tags(&[("owner", "infra")]);
    edit(&mut fixture, |strangers| {
        old(&mut strangers[0]);
        strangers[1].created_at = None;
        strangers[2].created_at = Some(at(-60));
        old(&mut strangers[3]);
        strangers[3].created_at = Some(at(-90_000));
    });
    let (plan, _) = fixture.planned();
    assert_eq!(taken(&plan), ["i-2", "i-3", "i-5"]);
    fixture.group.spec.size = 2;
    assert_eq!(taken(&fixture.planned().0), ["i-3", "i-5"]);
    // What is under way comes first.
    fixture.group.spec.size = 3;
    let begun = drover_model::IntentKind::Adopt(adopted(&plan)[0].clone());
    fixture.recorded = plan.next.clone();
    fixture.intent(-1, begun, drover_model::IntentState::Sent);
    fixture.group.spec.size = 1;
    let (plan, _) = fixture.planned();
    assert_eq!((verbs(&plan), held(&plan).len()), (vec!["resend"], 4));
}

#[test]
fn in_a_quorum_group_a_place_that_is_taken_holds_the_one_who_had_it() {
    let three = quorum(&[("m1", false), ("m2", false), ("m3", false)]);
    let fixture = members(
        &[
            ("i-1", Some("m1")),
            ("i-2", Some("m2")),
            ("i-3", Some("m3")),
        ],
        three.clone(),
    );
    let (plan, _) = fixture.planned();
    let mut next = plan.next;
    next.strangers.clear();
    let listed = |fixture: &mut Fixture, name: &str, member: &str| {
        let seat = drover_model::SeatId {
            life: next.uid.clone(),
            member: drover_model::MemberId::parse(member).unwrap(),
        };
        fixture.seats.insert(name.to_owned(), seat);
        fixture.known(name, "Available");
        fixture.list(name, ProviderPhase::Running);
    };
    let mut fixture = members(&[("i-1", Some("m1")), ("i-3", Some("m3"))], three);
    fixture.recorded = next.clone();
    listed(&mut fixture, "web-1", "m1");
    listed(&mut fixture, "web-2", "m2");
    let (plan, _) = fixture.planned();
    assert_eq!((taken(&plan), held(&plan)), (vec!["i-3"], vec!["i-1"]));
}

#[test]
fn the_lint_sees_what_would_be_adopted_without_room() {
    let steps = |size, names: &[&str]| {
        let mut fixture = adopting(size, names);
        fixture.recorded.next_number = 50;
        fixture.planned().0.steps
    };
    let lint = |fixture: &Fixture, names: &[&str], next_size: Option<u32>| {
        let error = fixture.linted(|plan| {
            plan.steps = steps(9, names);
            plan.next.next_number = 99;
            plan.next.size = next_size.unwrap_or(plan.next.size);
        });
        error.unwrap_err().to_string()
    };
    let mut short = settled(4, &["i-1", "i-2"]);
    let full = settled(4, &["i-1", "i-2"]);
    let mut told = vec![lint(&full, &["i-1"], None)];
    short.unlist("web-4");
    short.recorded.instances.remove(&id("web-4"));
    told.push(lint(&short, &["i-1", "i-2"], None));
    // A group that is short adopts before it makes anything.
    let error = short.linted(|plan| {
        let mut made = Fixture::empty(1);
        made.recorded.next_number = 60;
        plan.steps = made.planned().0.steps;
        plan.next.next_number = 99;
    });
    told.push(error.unwrap_err().to_string());
    // What was held is not for a place that became free.
    short.recorded.strangers = full.planned().0.next.strangers;
    told.push(lint(&short, &["i-1"], None));
    assert_snapshot!(told.join("\n"), @"
    more would be adopted than the size has room for
    more would be adopted than the size has room for
    create would be done before everything is adopted
    what was held would be adopted although the size did not grow
    ");
}

#[test]
fn a_hold_names_some_of_many() {
    let names: Vec<String> = (1..=14).map(|number| format!("i-{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_, report) = settled(4, &names).planned();
    let Hold::AdoptedSurplus { count, handles } = &report.holds[0].hold else {
        panic!("{:?}", report.holds);
    };
    assert_eq!((*count, handles.len()), (14, 10));
    assert_eq!(handles[0], handle("i-01"));
    assert!(
        report.holds[0]
            .hold
            .to_string()
            .contains("i-10 and 4 more; raise")
    );
}

#[test]
fn a_rollout_takes_none_of_them_for_what_it_replaces() {
    let mut fixture = settled(2, &["i-1"]);
    fixture.recorded = fixture.planned().0.next;
    fixture.group.spec.template = template(2);
    fixture.recorded = fixture.planned().0.next;
    fixture.unlist("web-1");
    fixture.recorded.instances.remove(&id("web-1"));
    let (plan, _) = fixture.planned();
    assert_eq!((verbs(&plan), held(&plan)), (vec!["create"], vec!["i-1"]));
    let Some(Adopt { revision, .. }) = &fixture.group.spec.adopt else {
        panic!("it adopts");
    };
    assert_eq!(*revision, drover_model::AdoptRevision::Assume);
}

/// A group whose only adoption was asked for so many seconds after noon, and has no answer.
fn unanswered(seconds: i64) -> Fixture {
    let mut fixture = adopting(1, &["i-1"]);
    let (plan, _) = fixture.planned();
    let kind = drover_model::IntentKind::Adopt(adopted(&plan)[0].clone());
    fixture.recorded = plan.next;
    fixture.intent(seconds, kind, drover_model::IntentState::Sent);
    fixture
}

#[test]
fn a_removal_does_not_wait_for_ever_for_an_adoption_without_an_answer() {
    let mut fixture = unanswered(-30);
    fixture.removed = true;
    // Nobody is asked for what a removed document adopts.
    fixture.surveyed = None;
    let (plan, _) = fixture.planned();
    assert_eq!(
        (verbs(&plan), plan.next.phase.as_str()),
        (vec![], "Deleting")
    );
    fixture.recorded = plan.next;
    fixture.intents[0].issued_at = at(-600);
    assert_eq!(verbs(&fixture.planned().0), ["settle"]);
    let unknown = Some(Surveyed::Unknown(Hold::ObservationStale));
    fixture.surveyed.clone_from(&unknown);
    assert_eq!(verbs(&fixture.planned().0), ["settle"]);
    fixture.recorded.deleting = None;
    for surveyed in [None, unknown] {
        fixture.surveyed = surveyed;
        assert_eq!(fixture.classified().settled, []);
    }
}

#[test]
fn an_adoption_without_an_answer_is_told_with_what_the_provider_said() {
    let mut fixture = unanswered(-29);
    fixture.intents[0].said = Some("labels are read-only".to_owned());
    assert_eq!(codes(&fixture), ["Adopting"]);
    fixture.intents[0].issued_at = at(-30);
    assert_eq!(codes(&fixture), ["AdoptionRefused", "Adopting"]);
    assert!(text(&fixture).contains("cannot be adopted: i-1: labels are read-only"));
    assert_eq!(verbs(&fixture.planned().0), ["resend"]);
    // Less and less often: after five calls sixteen seconds later.
    let told = drover_model::Unanswered {
        calls: 5,
        last: at(0),
        refused_since: None,
    };
    let mut memory = drover_model::InstanceMemory::new(at(-30));
    memory.unanswered = Some(Box::new(told));
    fixture.memory.insert(id("web-1"), memory);
    for (seconds, expected) in [(15, vec![]), (16, vec!["resend"])] {
        fixture.later(seconds);
        if let Some(Surveyed::Known { survey, .. }) = &mut fixture.surveyed {
            survey.as_of = at(seconds);
        }
        assert_eq!(verbs(&fixture.planned().0), expected, "{seconds}");
    }
}
