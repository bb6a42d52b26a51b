//! What people with a key ask of single instances.

use std::time::Duration;

use drover_model::{
    Activity, Amount, HealRevision, LaunchBackoff, Order, OrderState, OrderVerb, Prefer, Protect,
    RecordedOrder, Revision, RolloutOrder, Signer, Step, Suspend,
};

use super::*;

/// Records an order that counts for ten minutes.
pub(super) fn order(fixture: &mut Fixture, verb: OrderVerb, instance: &str) {
    let order = Order {
        verb,
        instance: id(instance),
        signer: Signer::parse("tom@example.com").unwrap(),
        at: at(-60),
        expires: at(600),
        because: "its disk is slow".to_owned(),
        operation: Revision::parse(&"b".repeat(40)).unwrap(),
    };
    fixture.recorded.orders.push(RecordedOrder {
        order,
        state: OrderState::Open,
    });
}

fn kept(fixture: &mut Fixture, instance: &str) {
    order(fixture, OrderVerb::Keep, instance);
}

fn replaced(size: u32, instance: &str) -> Fixture {
    let mut fixture = Fixture::converged(size);
    order(&mut fixture, OrderVerb::Replace, instance);
    fixture
}

/// Records another template as the one that the group converged with last.
pub(super) fn last_good(fixture: &mut Fixture, template: Template) -> Digests {
    let target = std::mem::replace(&mut fixture.group.spec.template, template);
    let good = fixture.digests();
    let template = std::mem::replace(&mut fixture.group.spec.template, target);
    fixture.recorded.templates.insert(good.clone(), template);
    fixture.recorded.stable = Some(good.clone());
    good
}

/// Returns the steps as words: the verb, the instance, and why.
pub(super) fn steps(fixture: &Fixture) -> Vec<String> {
    let (plan, _) = fixture.planned();
    let words = plan.steps.iter().map(|step| {
        let subject = match &step.action {
            Action::Create { slots, .. } => slots[0].to_string(),
            Action::Drain { instance, .. } | Action::Destroy { instance, .. } => {
                instance.to_string()
            }
            Action::Update(change) => change.instance.to_string(),
            other => other.verb().to_owned(),
        };
        format!("{} {subject} {}", step.action.verb(), step.cause.as_str())
    });
    words.collect()
}

pub(super) fn serving(fixture: &mut Fixture, name: &str) {
    fixture.known(name, "Available");
    fixture.list(name, ProviderPhase::Running);
    let number = id(name).number() + 1;
    fixture.recorded.next_number = fixture.recorded.next_number.max(number);
}

#[test]
fn a_kept_instance_is_shown_and_ended_for_nothing() {
    let mut fixture = Fixture::converged(3);
    kept(&mut fixture, "web-1");
    let (plan, report) = fixture.planned();
    assert_eq!(plan.next.phase, GroupPhase::Converged);
    assert_eq!(
        report.holds[0].hold.to_string(),
        "tom@example.com keeps it: its disk is slow"
    );
    assert_eq!(
        (report.holds[0].instance.clone(), report.holds[0].until),
        (Some(id("web-1")), Some(at(600)))
    );
    assert_eq!(plan.wake_at, Some(at(600)));
    // Scale-in takes another one, a rollout passes it by, and healing leaves it.
    fixture.group.spec.size = 2;
    fixture.group.spec.drain.delay = Duration::ZERO;
    fixture.group.spec.scaling.prefer = Prefer::Oldest;
    assert_eq!(steps(&fixture), ["destroy web-2 scaleIn"]);
    fixture.group.spec.size = 3;
    fixture.signal(
        "web-1",
        CheckOutcome::Failing {
            why: "500".to_owned(),
        },
    );
    let memory = fixture.memory.get_mut(&id("web-1")).unwrap();
    memory.failing_since = Some(at(-3600));
    assert_eq!(fixture.class("web-1"), "Unhealthy");
    assert_eq!(steps(&fixture), Vec::<String>::new());
    // Until it ends to count.
    fixture.recorded.orders[0].order.expires = at(0);
    assert_eq!(steps(&fixture)[0], "destroy web-1 heal");
    assert!(fixture.planned().0.next.orders.is_empty());
}

#[test]
fn a_kept_instance_that_failed_to_start_is_not_cleared() {
    let mut fixture = Fixture::converged(3);
    fixture.known("web-1", "Starting");
    fixture.memory.get_mut(&id("web-1")).unwrap().ready_at = None;
    fixture.list("web-1", ProviderPhase::Exited(ExitReport::default()));
    assert_eq!(fixture.class("web-1"), "Failed");
    let cleared = "destroy web-1 failedLaunch".to_owned();
    assert!(steps(&fixture).contains(&cleared));
    kept(&mut fixture, "web-1");
    assert!(!steps(&fixture).contains(&cleared));
}

#[test]
fn what_was_begun_before_it_was_kept_goes_on() {
    let mut fixture = Fixture::converged(3);
    kept(&mut fixture, "web-1");
    fixture.drain("web-1", Reason::Heal);
    fixture.now = at(300);
    fixture.listing.as_of = at(300);
    assert!(steps(&fixture).contains(&"destroy web-1 heal".to_owned()));
}

#[test]
fn the_removal_of_a_group_takes_what_is_kept_too() {
    let mut fixture = Fixture::converged(2);
    kept(&mut fixture, "web-1");
    fixture.removed = true;
    fixture.group.spec.drain.delay = Duration::ZERO;
    assert_eq!(
        steps(&fixture),
        ["destroy web-1 delete", "destroy web-2 delete"]
    );
}

#[test]
fn a_replacement_comes_before_what_it_replaces() {
    let mut fixture = replaced(3, "web-2");
    fixture.group.spec.drain.delay = Duration::ZERO;
    assert_eq!(steps(&fixture), ["create web-4 heal"]);
    let (plan, report) = fixture.planned();
    assert_eq!(plan.next.phase, GroupPhase::Progressing);
    assert_eq!(holds(&report), ["RolloutWindow"]);
    assert_eq!(report.holds[0].instance, Some(id("web-2")));
    serving(&mut fixture, "web-4");
    assert_eq!(steps(&fixture), ["destroy web-2 heal"]);
    // Once it is gone that is that.
    fixture.unlist("web-2");
    fixture.destroy(
        "web-2",
        Reason::Heal,
        IntentState::Acked {
            made: BTreeMap::new(),
            at: at(-5),
        },
    );
    let (plan, _) = fixture.planned();
    assert_eq!(plan.next.orders[0].state, OrderState::Done);
    fixture.recorded.orders = plan.next.orders;
    fixture.intents.clear();
    fixture.recorded.instances.remove(&id("web-2"));
    let (plan, report) = fixture.planned();
    assert_eq!(
        (plan.next.phase, holds(&report)),
        (GroupPhase::Converged, vec![])
    );
}

#[test]
fn without_room_for_a_successor_it_goes_first_within_the_floor() {
    let mut fixture = replaced(3, "web-2");
    fixture.group.spec.drain.delay = Duration::ZERO;
    fixture.group.spec.rollout.order = RolloutOrder::DeleteFirst;
    fixture.group.spec.rollout.unavailable_max = Amount::Count(1);
    assert_eq!(steps(&fixture), ["destroy web-2 heal"]);
    fixture.known("web-1", "Warming");
    fixture.memory.get_mut(&id("web-1")).unwrap().healthy_since = Some(at(0));
    fixture.group.spec.rollout.min_ready = Duration::from_mins(1);
    assert_eq!(steps(&fixture), Vec::<String>::new());
    let (_, report) = fixture.planned();
    let held = report
        .holds
        .iter()
        .find(|held| held.instance == Some(id("web-2")));
    assert_eq!(held.unwrap().reason, Some(Reason::Heal));
}

#[test]
fn what_withholds_healing_withholds_a_replacement_that_is_asked_for() {
    let mut fixture = replaced(3, "web-2");
    fixture.group.spec.suspend.push(Suspend {
        what: [Activity::Heal].into(),
        until: None,
        because: None,
    });
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["Suspended"]);
    assert_ne!(plan.next.phase, GroupPhase::Converged);
    fixture.group.spec.suspend.clear();
    fixture.group.spec.protect.push(Protect {
        instances: [id("web-2")].into(),
        from: [Reason::Heal].into(),
        until: None,
        because: None,
    });
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["ProtectedInstance"]);
}

#[test]
fn one_is_replaced_at_a_time_as_healing_has_it() {
    let mut fixture = replaced(3, "web-1");
    order(&mut fixture, OrderVerb::Replace, "web-2");
    fixture.group.spec.drain.delay = Duration::ZERO;
    fixture.group.spec.rollout.surge_max = Amount::Count(2);
    fixture.group.spec.heal.in_flight_max = Amount::Count(1);
    assert_eq!(steps(&fixture), ["create web-4 heal"]);
    serving(&mut fixture, "web-4");
    assert_eq!(steps(&fixture), ["destroy web-1 heal"]);
}

#[test]
fn a_successor_has_the_template_of_what_it_succeeds() {
    let mut fixture = replaced(3, "web-2");
    let target = fixture.digests();
    last_good(&mut fixture, template(2));
    // Healing brings nobody to the new template, and takes nobody from it.
    fixture.group.spec.heal.revision = Some(HealRevision::Current);
    let (plan, _) = fixture.planned();
    assert!(plan.next.rollout.is_some());
    let [
        Step {
            action: Action::Create { digests, .. },
            ..
        },
    ] = &plan.steps[..]
    else {
        panic!("{:?}", plan.steps);
    };
    assert_eq!(*digests, target);
}

#[test]
fn nothing_is_taken_for_a_successor_that_cannot_be_made() {
    let mut fixture = replaced(3, "web-2");
    fixture.group.spec.rollout.order = RolloutOrder::DeleteFirst;
    fixture.group.spec.rollout.unavailable_max = Amount::Count(1);
    fixture.recorded.backoff = Some(LaunchBackoff {
        failures: 3,
        until: at(60),
        class: None,
        message: "no room".to_owned(),
    });
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["LaunchBackoff"]);
    assert_eq!(report.holds[0].reason, Some(Reason::Heal));
}

#[test]
fn scale_in_takes_first_what_is_to_be_replaced() {
    let mut fixture = replaced(3, "web-2");
    fixture.group.spec.drain.delay = Duration::ZERO;
    fixture.group.spec.size = 2;
    // What is too much stands in for it.
    assert_eq!(steps(&fixture), ["destroy web-2 heal"]);
    fixture.group.spec.suspend.push(Suspend {
        what: [Activity::Heal].into(),
        until: None,
        because: None,
    });
    assert_eq!(steps(&fixture), ["destroy web-2 scaleIn"]);
}

#[test]
fn scale_in_takes_whom_people_name_before_anybody_worse() {
    let mut fixture = Fixture::converged(4);
    order(&mut fixture, OrderVerb::Yield, "web-2");
    fixture.group.spec.drain.delay = Duration::ZERO;
    // Nothing is asked for by that alone.
    let (plan, _) = fixture.planned();
    assert_eq!(
        (plan.steps.len(), plan.next.phase),
        (0, GroupPhase::Converged)
    );
    fixture.known("web-4", "Starting");
    fixture.memory.get_mut(&id("web-4")).unwrap().ready_at = None;
    fixture.group.spec.size = 3;
    // It waits for what serves in its place, and nobody else goes meanwhile.
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["AvailabilityFloor"]);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(1);
    assert_eq!(steps(&fixture), ["destroy web-2 scaleIn"]);
    fixture.recorded.orders.clear();
    assert_eq!(steps(&fixture), ["destroy web-4 scaleIn"]);
}

#[test]
fn nobody_goes_in_the_place_of_whom_people_name() {
    let mut fixture = Fixture::converged(3);
    order(&mut fixture, OrderVerb::Yield, "web-2");
    fixture.group.spec.drain.delay = Duration::ZERO;
    fixture.group.spec.size = 2;
    fixture.group.spec.protect.push(Protect {
        instances: [id("web-2")].into(),
        from: [Reason::ScaleIn].into(),
        until: None,
        because: None,
    });
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(holds(&report), ["ProtectedInstance"]);
    // Without that word another one goes.
    fixture.recorded.orders.clear();
    assert_eq!(steps(&fixture), ["destroy web-1 scaleIn"]);
}

#[test]
fn the_lint_finds_what_people_did_not_ask_for() {
    let mut fixture = replaced(3, "web-2");
    fixture.group.spec.drain.delay = Duration::ZERO;
    serving(&mut fixture, "web-4");
    let error = |fixture: &Fixture, tamper: &dyn Fn(&mut Plan)| {
        fixture.linted(|plan| tamper(plan)).unwrap_err().to_string()
    };
    let forgets: &dyn Fn(&mut Plan) = &|plan| plan.next.orders.clear();
    assert_eq!(
        error(&fixture, forgets),
        "web-2 would be forgotten, and a person asked something of it"
    );
    let keep = |fixture: &Fixture| {
        let mut kept_too = fixture.recorded.orders[0].clone();
        kept_too.order.verb = OrderVerb::Keep;
        kept_too
    };
    // The same plan, where a person keeps what it ends.
    let (plan, _) = fixture.planned();
    let steps = plan.steps.clone();
    let mut keeps = replaced(3, "web-2");
    keeps.recorded.orders = vec![keep(&fixture)];
    keeps.group.spec.drain.delay = Duration::ZERO;
    serving(&mut keeps, "web-4");
    let ends = |plan: &mut Plan| plan.steps.clone_from(&steps);
    assert_eq!(
        error(&keeps, &ends),
        "web-2 would be touched, and a person keeps it"
    );
    // Where nobody says anything of it.
    keeps.recorded.orders.clear();
    assert_eq!(
        error(&keeps, &ends),
        "web-2 would be replaced like what is bad, and it serves"
    );
    // Before its successor serves.
    let mut early = replaced(3, "web-2");
    early.group.spec.drain.delay = Duration::ZERO;
    early.group.spec.rollout.unavailable_max = Amount::Count(1);
    assert_eq!(
        error(&early, &ends),
        "web-2 would be replaced, and nothing serves in its place"
    );
}
