use drover_model::{
    Action, Completeness, IntentState, Listed, ProviderPhase, Reason, SettlementOutcome,
};

use crate::testing::{Fixture, at, id, provider_ref};

/// A group of two, `web-1` of which is drained and ended; beside it another one stands under the same id.
fn doubled(state: IntentState) -> Fixture {
    let mut fixture = Fixture::converged(2);
    let listed = &fixture.listing.instances;
    let first = listed
        .iter()
        .find(|one| one.provider_ref == provider_ref("web-1"));
    let late = Listed {
        provider_ref: provider_ref("late-1"),
        ..first.unwrap().clone()
    };
    fixture.listing.instances.push(late);
    fixture.drain("web-1", Reason::Heal);
    fixture.destroy("web-1", Reason::Heal, state);
    fixture
}

fn acked() -> IntentState {
    IntentState::Acked {
        made: std::collections::BTreeMap::new(),
        at: at(-5),
    }
}

/// Whose handle `web-1` has, its class, and how many intents are over.
fn seen(fixture: &Fixture) -> (String, String, usize) {
    let classified = fixture.classified();
    let over = classified.settled.iter();
    let over = over.filter(|it| it.outcome == SettlementOutcome::Observed);
    let one = &classified.members[&id("web-1")];
    let handle = one.provider_ref.as_ref().unwrap().to_string();
    (handle, fixture.class("web-1"), over.count())
}

fn first(class: &str) -> (String, String, usize) {
    (provider_ref("web-1").to_string(), class.to_owned(), 0)
}

fn late(class: &str, over: usize) -> (String, String, usize) {
    (provider_ref("late-1").to_string(), class.to_owned(), over)
}

#[test]
fn who_stands_under_the_id_of_one_that_ended_is_not_on_its_way_out() {
    let mut fixture = doubled(acked());
    assert_eq!(seen(&fixture), first("Terminating"));
    fixture.list("web-1", ProviderPhase::Terminated);
    assert_eq!(seen(&fixture), late("Available", 2));
    fixture.unlist("web-1");
    assert_eq!(seen(&fixture), late("Available", 2));
    let (plan, _) = fixture.planned();
    let settles = |action: &Action| matches!(action, Action::Settle(_));
    assert_eq!(plan.steps.len(), 2, "{plan:?}");
    assert!(plan.steps.iter().all(|step| settles(&step.action)));
    // It is one like any other.
    fixture.group.spec.size = 1;
    let (plan, _) = fixture.planned();
    assert_eq!(plan.steps.len(), 3, "{plan:?}");
}

#[test]
fn an_end_is_over_only_with_proof() {
    // A listing that is not whole says of nobody that it is gone.
    let mut fixture = doubled(acked());
    fixture.unlist("web-1");
    let why = "the second page failed".to_owned();
    fixture.listing.completeness = Completeness::Partial { why };
    assert_eq!(seen(&fixture), late("Terminating", 0));
    // Nor does one from before the provider said yes.
    let mut fixture = doubled(acked());
    fixture.unlist("web-1");
    fixture.listing.as_of = at(-5);
    assert_eq!(seen(&fixture), late("Terminating", 0));
    // Nobody knows what became of the call: then as long as the provider may leave out what is there.
    let mut fixture = doubled(IntentState::Sent);
    fixture.unlist("web-1");
    fixture.later(110);
    assert_eq!(seen(&fixture), late("Terminating", 0));
    fixture.later(111);
    assert_eq!(seen(&fixture), late("Available", 2));
}
