//! What was there to be adopted and is missing from an answer, what may be the group's own, and what the instance plugins
//! call it.

use std::collections::BTreeMap;

use drover_model::{
    Action, Flavor, GroupName, IntentState, Manage, PluginFlavor, ProviderPhase, ProviderRef,
    Surveyed, Value,
};
use insta::assert_snapshot;

use super::adopt::{
    adopted, adopting, codes, edit, members, quorum, since, stranger, surveyed, tags, text,
};
use crate::testing::{Fixture, at, id};

/// Moves the clock, the listing and the survey to so many seconds after noon.
fn later(fixture: &mut Fixture, seconds: i64) {
    fixture.later(seconds);
    if let Some(Surveyed::Known { survey, .. }) = &mut fixture.surveyed {
        survey.as_of = at(seconds);
    }
}

/// A pass whose answer tells of these, so many seconds after noon. Its record is kept.
fn pass(fixture: &mut Fixture, seconds: i64, names: &[&str]) -> Vec<&'static str> {
    fixture.surveyed = Some(surveyed(names.iter().map(|name| stranger(name)).collect()));
    later(fixture, seconds);
    let codes = codes(fixture);
    fixture.recorded = fixture.planned().0.next;
    codes
}

/// Returns how many instances the plan makes.
fn creates(fixture: &Fixture) -> usize {
    let (plan, _) = fixture.planned();
    let slots = plan.steps.iter().map(|step| match &step.action {
        Action::Create { slots, .. } => slots.len(),
        _ => 0,
    });
    slots.sum()
}

fn handle(name: &str) -> ProviderRef {
    ProviderRef::parse(name).unwrap()
}

/// Lints a plan that makes instances all the same.
fn lint_of_creates(fixture: &Fixture, size: u32) -> String {
    let mut empty = Fixture::empty(size);
    empty.recorded.next_number = 50;
    let made = empty.planned().0.steps;
    let error = fixture.linted(|plan| {
        plan.steps.clone_from(&made);
        plan.next.next_number = 99;
    });
    error.unwrap_err().to_string()
}

#[test]
fn an_empty_answer_makes_nothing_beside_what_another_owner_has() {
    let owner = "the InfraKit group workers";
    let mut fixture = adopting(3, &["i-1", "i-2", "i-3"]);
    edit(&mut fixture, |strangers| {
        for stranger in strangers {
            stranger.claimed_by = Some(owner.to_owned());
        }
    });
    // The group had instances before.
    fixture.recorded.next_number = 8;
    assert_eq!(codes(&fixture), ["OwnerStillActs"]);
    fixture.recorded = fixture.planned().0.next;
    // Nobody says that the owner has let go, however long nothing is shown.
    for seconds in [1, 2, 150, 7200] {
        assert_eq!(pass(&mut fixture, seconds, &[]), ["OwnerStillActs"]);
        assert_eq!(creates(&fixture), 0, "{seconds}");
        assert_eq!(since(&fixture, "i-2"), Some(at(1)));
        // That owner is not said to act now: nobody knows.
        let told = text(&fixture);
        let before =
            "nothing is touched: not shown now; when last seen, the InfraKit group workers";
        assert!(told.contains(before), "{told}");
    }
    let told = lint_of_creates(&fixture, 3);
    assert_snapshot!(told, @"create would be done before everything is adopted");
    // A person who wants none says that they are gone.
    let mut none = adopting(0, &[]);
    none.recorded = fixture.recorded.clone();
    none.group.spec.limits.destroy_max = Some(drover_model::Amount::Percent(100));
    pass(&mut none, 7201, &[]);
    assert!(none.recorded.strangers.is_empty());
    // Shown without an owner, they are free.
    assert_eq!(
        pass(&mut fixture, 7201, &["i-1", "i-2", "i-3"]),
        ["Adopting"]
    );
    // One of several that its owner ends is gone after a while: the others tell whether he acts.
    let mut fixture = adopting(3, &["i-1", "i-2", "i-3"]);
    edit(&mut fixture, |strangers| {
        strangers[2].claimed_by = Some(owner.to_owned());
    });
    fixture.group.spec.manage = Manage::Observe;
    fixture.recorded = fixture.planned().0.next;
    pass(&mut fixture, 10, &["i-1", "i-2"]);
    assert_eq!(
        (
            fixture.recorded.strangers.len(),
            fixture.recorded.stable_size
        ),
        (3, 3)
    );
    pass(&mut fixture, 130, &["i-1", "i-2"]);
    assert_eq!(
        (
            fixture.recorded.strangers.len(),
            fixture.recorded.stable_size
        ),
        (2, 2)
    );
}

#[test]
fn whoever_is_hidden_for_a_moment_is_neither_replaced_nor_gone() {
    let mut fixture = adopting(3, &["i-1", "i-2", "i-3"]);
    fixture.group.spec.manage = Manage::Observe;
    fixture.recorded = fixture.planned().0.next;
    // Promoted while two are hidden.
    fixture.group.spec.manage = Manage::Full;
    fixture.surveyed = Some(surveyed(vec![stranger("i-1")]));
    later(&mut fixture, 1);
    assert_snapshot!(text(&fixture), @"
    web: size 3, 0 total, 1 to adopt, 0 available (floor 3, ceiling 4), 0 updated, 0 outdated: Held
      adopt i-1 as web-1 (adoption)
      hold StrangersMissing: the provider's answer lacks 2 instances that the group is to adopt; nothing is created or ended until each is shown again, or gone for certain
      hold Adopting: instances are being adopted, 1 to go, and nothing else is done before that
    ");
    fixture.recorded = fixture.planned().0.next;
    fixture.list("web-1", ProviderPhase::Running);
    fixture.listing.instances[0].provider_ref = handle("i-1");
    for seconds in [2, 9] {
        assert_eq!(pass(&mut fixture, seconds, &[]), ["StrangersMissing"]);
        assert_eq!(fixture.planned().0.steps, []);
    }
    let told = lint_of_creates(&fixture, 1);
    assert_snapshot!(told, @"create would be done before everything is adopted");
    let noted = tags(&[("owner", "infra")]);
    let error = fixture.linted(|plan| plan.next.adopted = Some(noted.clone()));
    assert_snapshot!(error.unwrap_err(), @"everything would count as adopted, which no survey says");
    // Back, they are adopted, and what was counted of their absence is forgotten.
    fixture.surveyed = Some(surveyed(vec![stranger("i-2"), stranger("i-3")]));
    later(&mut fixture, 10);
    assert_eq!(adopted(&fixture.planned().0).len(), 2);
    fixture.recorded = fixture.planned().0.next;
    assert_eq!(since(&fixture, "i-2"), None);
    // An answer that is partial or old says nothing of them, and the time of the first one counts.
    assert_eq!(pass(&mut fixture, 20, &[]), ["StrangersMissing"]);
    fixture.surveyed = None;
    fixture.later(139);
    fixture.recorded = fixture.planned().0.next;
    assert_eq!(since(&fixture, "i-2"), Some(at(20)));
    assert_eq!(pass(&mut fixture, 139, &[]), ["StrangersMissing"]);
    // Absent for as long as the provider may be behind, they are gone, and are made anew.
    fixture.surveyed = Some(surveyed(Vec::new()));
    later(&mut fixture, 140);
    assert_eq!(creates(&fixture), 2);
    assert!(fixture.planned().0.next.strangers.is_empty());
}

#[test]
fn many_that_vanish_at_once_freeze_the_group_until_a_person_confirms_it() {
    let names: Vec<String> = (1..=20).map(|number| format!("i-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut fixture = adopting(20, &names);
    fixture.recorded.next_number = 8;
    fixture.recorded = fixture.planned().0.next;
    for seconds in [3, 600] {
        assert_eq!(pass(&mut fixture, seconds, &[]), ["ObservationEmptied"]);
        assert_eq!(creates(&fixture), 0);
        assert_eq!(fixture.recorded.strangers.len(), 20);
        // What is not believed does not count later either.
        assert_eq!(since(&fixture, "i-7"), None);
    }
    // Four are not many, and one that is left shows that the answer is one.
    let mut some = adopting(20, &names);
    some.recorded = fixture.recorded.clone();
    assert_eq!(pass(&mut some, 601, &names[..1])[0], "StrangersMissing");
    // Who are back are adopted.
    let mut back = adopting(20, &names);
    back.recorded = fixture.recorded.clone();
    back.surveyed = Some(surveyed(names.iter().map(|name| stranger(name)).collect()));
    later(&mut back, 601);
    assert_eq!(adopted(&back.planned().0).len(), 20);
    // A person who wants none says that they are gone.
    fixture.group.spec.size = 0;
    fixture.group.spec.limits.destroy_max = Some(drover_model::Amount::Percent(100));
    assert!(pass(&mut fixture, 610, &[]).contains(&"StrangersMissing"));
    pass(&mut fixture, 730, &[]);
    assert!(fixture.recorded.strangers.is_empty());
}

#[test]
fn who_has_taken_nothing_over_makes_nothing_whatever_it_has_seen() {
    let mut fixture = adopting(3, &["i-1", "i-2", "i-3"]);
    fixture.group.spec.manage = Manage::Observe;
    fixture.recorded = fixture.planned().0.next;
    assert!(fixture.recorded.stable.is_some());
    // A selector with a mistake, in the commit that promotes.
    fixture.group.spec.manage = Manage::Full;
    assert_eq!(pass(&mut fixture, 1, &[]), ["StrangersMissing"]);
    assert_eq!(pass(&mut fixture, 300, &[]), ["AdoptionRefused"]);
    assert_eq!(creates(&fixture), 0);
    let told = lint_of_creates(&fixture, 3);
    assert_snapshot!(told, @"create would be done before everything is adopted");
}

#[test]
fn a_member_that_is_hidden_keeps_its_place() {
    let three = quorum(&[("m1", false), ("m2", false), ("m3", false)]);
    let shown = [
        ("i-1", Some("m1")),
        ("i-2", Some("m2")),
        ("i-3", Some("m3")),
    ];
    let mut fixture = members(&shown, three.clone());
    fixture.group.spec.manage = Manage::Observe;
    fixture.recorded = fixture.planned().0.next;
    let two = members(&shown[..2], three);
    fixture.group.spec.manage = Manage::Full;
    fixture.surveyed = two.surveyed;
    later(&mut fixture, 1);
    let (plan, _) = fixture.planned();
    assert_eq!((adopted(&plan).len(), plan.steps.len()), (2, 2));
    assert_eq!(codes(&fixture), ["StrangersMissing", "Adopting"]);
}

#[test]
fn what_a_create_may_have_made_is_not_adopted_before_its_answer() {
    let mut fixture = adopting(3, &[]);
    fixture.settle(2);
    fixture.recorded.size = 3;
    fixture.create(&["web-3"], -10, IntentState::Sent);
    edit(&mut fixture, |strangers| strangers.push(stranger("i-3")));
    assert_snapshot!(text(&fixture), @"
    web: size 3, 3 total, 1 to adopt, 2 available (floor 3, ceiling 4), 2 updated, 0 outdated: Held
      resend intent 1 (followUp)
      hold UnknownOutcomes: the outcome of 1 provider call is unknown; no new ones until it is
    ");
    let mut other = adopting(1, &["i-3"]);
    other.recorded.next_number = 50;
    let other = other.planned().0.steps;
    let error = fixture.linted(|plan| {
        plan.steps.clone_from(&other);
        plan.next.next_number = 99;
    });
    assert_snapshot!(error.unwrap_err(), @"i-3 would be adopted while it may be what a create has made");
    // While something is missing, not even what was decided before is made.
    let mut lacks = fixture_of(&fixture);
    lacks.surveyed = fixture.surveyed.clone();
    lacks.recorded.strangers = adopting(1, &["i-9"]).planned().0.next.strangers;
    assert_eq!(lacks.planned().0.steps, []);
    // The answer names it: it is the group's own, whatever tags it shows by now.
    let made = BTreeMap::from([(id("web-3"), handle("i-3"))]);
    fixture.intents[0].state = IntentState::Acked { made, at: at(-1) };
    assert_eq!(fixture.planned().0.steps, []);
    assert!(!codes(&fixture).contains(&"Adopting"));
    // With an owner that acts, not even what was asked before is asked again.
    fixture.intents[0].state = IntentState::Sent;
    edit(&mut fixture, |strangers| {
        strangers[0].claimed_by = Some("workers".to_owned());
    });
    assert_eq!(fixture.planned().0.steps, []);
    let resend = |fixture: &Fixture| {
        let intent = fixture.intents[0].id;
        let mut steps = adopting(1, &["i-3"]).planned().0.steps;
        steps[0].action = Action::Resend { intent };
        fixture.linted(|plan| plan.steps.clone_from(&steps))
    };
    assert_snapshot!(resend(&fixture).unwrap_err(), @"resend would be done before everything is adopted");
}

fn asks_plugins(fixture: &mut Fixture) {
    let flavor = Flavor::Plugin(PluginFlavor {
        name: drover_model::FlavorName::parse("swarm").unwrap(),
        properties: Value::empty_map(),
        answer: None,
    });
    fixture.group.spec.template.flavors.push(flavor);
}

#[test]
fn flavor_plugins_see_the_tags_that_an_adopted_instance_had() {
    let with = |fixture: &mut Fixture| {
        edit(fixture, |strangers| {
            let more = [
                ("infrakit_link", "x1".to_owned()),
                ("drover.released", "prod".to_owned()),
                ("long", "x".repeat(600)),
            ];
            let more = more.map(|(name, tag)| (name.to_owned(), tag));
            strangers[0].tags.extend(more);
        });
    };
    let mut fixture = adopting(1, &["i-1"]);
    with(&mut fixture);
    // No plugin is asked: nothing is kept of them.
    assert_eq!(adopted(&fixture.planned().0)[0].tags, BTreeMap::new());
    asks_plugins(&mut fixture);
    let step = adopted(&fixture.planned().0)[0].clone();
    let kept = tags(&[
        ("config", "new"),
        ("infrakit_link", "x1"),
        ("owner", "infra"),
    ]);
    assert_eq!(step.tags, kept);
    // They are recorded when the instance is listed as the group's, on a listing that is not trusted too.
    fixture.recorded = fixture.planned().0.next;
    fixture.intent(
        -10,
        drover_model::IntentKind::Adopt(step),
        IntentState::Sent,
    );
    fixture.list("web-1", ProviderPhase::Running);
    fixture.listing.instances[0].provider_ref = handle("i-1");
    fixture.surveyed = Some(surveyed(Vec::new()));
    for partial in [false, true] {
        let mut fixture = fixture_of(&fixture);
        if partial {
            let why = "a page was lost".to_owned();
            fixture.listing.completeness = drover_model::Completeness::Partial { why };
        }
        let next = fixture.planned().0.next;
        assert_eq!(next.instances[&id("web-1")].tags, kept, "{partial}");
    }
}

/// The same group once more.
fn fixture_of(fixture: &Fixture) -> Fixture {
    let mut same = adopting(1, &[]);
    same.group = fixture.group.clone();
    same.recorded = fixture.recorded.clone();
    same.intents.clone_from(&fixture.intents);
    same.listing = fixture.listing.clone();
    same.signals = fixture.signals.clone();
    same
}

#[test]
fn an_owner_that_is_silent_for_a_moment_still_counts_where_it_was_seen() {
    let mut fixture = adopting(1, &["i-1"]);
    let unheard = |fixture: &mut Fixture| {
        edit(fixture, |strangers| {
            strangers[0].unheard = Some("who was there".to_owned());
        });
    };
    unheard(&mut fixture);
    assert_eq!(codes(&fixture), ["Adopting"], "nobody was seen");
    edit(&mut fixture, |strangers| {
        strangers[0].claimed_by = Some("workers".to_owned());
    });
    fixture.recorded = fixture.planned().0.next;
    edit(&mut fixture, |strangers| strangers[0].claimed_by = None);
    for _ in 0..2 {
        assert_eq!(codes(&fixture), ["OwnerStillActs"]);
        fixture.recorded = fixture.planned().0.next;
        let recorded = &fixture.recorded.strangers[&handle("i-1")];
        assert_eq!(recorded.claimed_by.as_deref(), Some("who was there"));
    }
    edit(&mut fixture, |strangers| strangers[0].unheard = None);
    assert_eq!(codes(&fixture), ["Adopting"]);
    // Shown without one since then, it is free.
    fixture.recorded = fixture.planned().0.next;
    unheard(&mut fixture);
    assert_eq!(codes(&fixture), ["Adopting"]);
}

#[test]
fn what_another_group_has_taken_is_neither_missing_nor_made_anew() {
    let mut fixture = adopting(2, &["i-1", "i-2"]);
    fixture.group.spec.manage = Manage::Observe;
    pass(&mut fixture, 0, &["i-1", "i-2"]);
    fixture.group.spec.manage = Manage::Full;
    // A survey that is behind; the listing is not.
    fixture.list("web-9", ProviderPhase::Running);
    let mut taken = fixture.listing.instances.remove(0);
    taken.provider_ref = handle("i-1");
    taken.ownership.as_mut().unwrap().group = GroupName::parse("db").unwrap();
    fixture.listing.instances.push(taken.clone());
    for (seconds, names) in [(1, &["i-1", "i-2"][..]), (200, &["i-1", "i-2"])] {
        assert_eq!(pass(&mut fixture, seconds, names), ["OwnerStillActs"]);
        assert_eq!(creates(&fixture), 0);
    }
    let (_, report) = fixture.planned();
    let said = report.holds[0].hold.to_string();
    assert!(said.contains("the group db, which has taken it"), "{said}");
    // What there was no room for may be anybody's.
    let mut smaller = adopting(1, &["i-1", "i-2"]);
    pass(&mut smaller, 0, &["i-1", "i-2"]);
    let left = smaller.recorded.strangers.iter();
    let mut left = left.filter(|(_, was)| was.instance.is_none());
    let mut theirs = taken.clone();
    theirs.provider_ref = left.next().unwrap().0.clone();
    smaller.listing.instances.push(theirs);
    assert_eq!(pass(&mut smaller, 1, &["i-1", "i-2"]), ["Adopting"]);
    // Whoever never saw it as one of its own is not held by it.
    let mut newer = adopting(1, &["i-1", "i-2"]);
    newer.listing.instances.push(taken);
    assert_eq!(pass(&mut newer, 0, &["i-1", "i-2"]), ["Adopting"]);
    let handles: Vec<_> = newer.recorded.strangers.keys().collect();
    assert_eq!(handles, [&handle("i-2")]);
}
