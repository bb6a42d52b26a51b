use drover_model::{
    Action, Activity, Amount, Canary, Cause, Checkpoint, Completeness, ExitReport, GroupName,
    GroupSpec, Held, Hold, InstanceId, IntentId, IntentState, Manage, PauseCause, Plan,
    Precondition, Promote, ProviderPhase, Quarantine, Reason, RolloutMode, RolloutOrder,
    Settlement, SettlementOutcome, Step, Suspend,
};

use super::LintError;
use crate::testing::{Fixture, at, id, provider_ref, template};

fn destroy(fixture: &Fixture, name: &str, reason: Reason) -> Step {
    Step {
        action: Action::Destroy {
            instance: id(name),
            provider_ref: provider_ref(name),
            token: fixture.token(name),
            grace: std::time::Duration::ZERO,
        },
        cause: Cause::Because(reason),
        preconditions: Vec::<Precondition>::new(),
    }
}

fn create(fixture: &Fixture, names: &[&str]) -> Step {
    Step {
        action: Action::Create {
            zone: None,
            slots: names.iter().map(|name| id(name)).collect(),
            attempt: 0,
            token: fixture.token(names[0]),
            digests: fixture.digests(),
            template: fixture.group.spec.template.clone(),
            seat: None,
        },
        cause: Cause::ScaleOut,
        preconditions: Vec::new(),
    }
}

/// Lints a plan of `fixture` with `steps` added.
fn with(fixture: &Fixture, steps: Vec<Step>) -> Result<(), LintError> {
    fixture.linted(|plan| {
        plan.next.next_number = 100;
        plan.steps.extend(steps);
    })
}

fn without_drain(size: u32) -> Fixture {
    let mut fixture = Fixture::converged(size);
    fixture.group.spec.drain.delay = std::time::Duration::ZERO;
    fixture
}

#[test]
fn an_honest_plan_passes() {
    let mut fixture = Fixture::converged(3);
    assert_eq!(with(&fixture, vec![]), Ok(()));
    fixture.list("web-2", ProviderPhase::Exited(ExitReport::default()));
    assert_eq!(with(&fixture, vec![]), Ok(()));
}

#[test]
fn refuses_to_touch_another_group() {
    let fixture = without_drain(3);
    let mut step = create(&fixture, &["web-50"]);
    if let Action::Create { slots, .. } = &mut step.action {
        slots[0] = InstanceId::new(GroupName::parse("db").unwrap(), 1);
    }
    let found = with(&fixture, vec![step]);
    assert!(matches!(found, Err(LintError::OutsideGroup { .. })));
}

#[test]
fn refuses_an_instance_under_another_handle_or_token() {
    let fixture = without_drain(3);
    let mut by_ref = destroy(&fixture, "web-1", Reason::Heal);
    let mut by_token = by_ref.clone();
    if let Action::Destroy {
        provider_ref: r, ..
    } = &mut by_ref.action
    {
        *r = provider_ref("stranger");
    }
    if let Action::Destroy { token, .. } = &mut by_token.action {
        *token = fixture.token("web-2");
    }
    for step in [by_ref, by_token] {
        let found = with(&fixture, vec![step]);
        assert_eq!(found, Err(LintError::NotObserved(id("web-1"))));
    }
}

#[test]
fn refuses_a_name_that_was_given_before() {
    let mut fixture = without_drain(3);
    fixture.create(&["web-9"], -5, IntentState::Sent);
    for name in ["web-1", "web-3", "web-9"] {
        let found = with(&fixture, vec![create(&fixture, &[name])]);
        assert_eq!(found, Err(LintError::NotNew(id(name))));
    }
}

#[test]
fn refuses_to_touch_an_instance_twice() {
    let fixture = without_drain(3);
    let step = destroy(&fixture, "web-1", Reason::Heal);
    let found = with(&fixture, vec![step.clone(), step]);
    assert_eq!(found, Err(LintError::Twice(id("web-1"))));
    let found = with(&fixture, vec![create(&fixture, &["web-50", "web-50"])]);
    assert_eq!(found, Err(LintError::Twice(id("web-50"))));
}

#[test]
fn refuses_a_token_that_was_used_before() {
    let mut fixture = without_drain(3);
    fixture.group.spec.rollout.surge_max = drover_model::Amount::Count(5);
    let mut second = create(&fixture, &["web-51"]);
    if let Action::Create { token, .. } = &mut second.action {
        *token = fixture.token("web-50");
    }
    let found = with(&fixture, vec![create(&fixture, &["web-50"]), second]);
    assert!(matches!(found, Err(LintError::TokenReused(_))));
}

#[test]
fn refuses_to_speak_of_intents_that_are_not_open() {
    let fixture = Fixture::converged(1);
    let settle = Action::Settle(Settlement {
        intent: IntentId(7),
        outcome: SettlementOutcome::Observed,
    });
    for action in [
        settle,
        Action::Resend {
            intent: IntentId(7),
        },
    ] {
        let step = Step {
            action,
            cause: Cause::FollowUp,
            preconditions: Vec::new(),
        };
        let found = with(&fixture, vec![step]);
        assert_eq!(found, Err(LintError::NotOpen(IntentId(7))));
    }
}

#[test]
fn refuses_to_repeat_a_create_that_was_answered() {
    let mut fixture = Fixture::converged(1);
    let answered = IntentState::Acked {
        made: std::iter::once((id("web-2"), provider_ref("web-2"))).collect(),
        at: fixture.now,
    };
    fixture.create(&["web-2"], -5, answered);
    let step = Step {
        action: Action::Resend {
            intent: IntentId(1),
        },
        cause: Cause::FollowUp,
        preconditions: Vec::new(),
    };
    let found = with(&fixture, vec![step]);
    assert_eq!(found, Err(LintError::NotOpen(IntentId(1))));
}

#[test]
fn refuses_creates_above_the_ceiling_with_terminating_instances_and_ghosts_counted() {
    let fixture = Fixture::converged(3);
    assert_eq!(with(&fixture, vec![create(&fixture, &["web-50"])]), Ok(()));
    let found = with(&fixture, vec![create(&fixture, &["web-50", "web-51"])]);
    let above = |total| Err(LintError::AboveCeiling { total, ceiling: 4 });
    assert_eq!(found, above(5));

    let mut fixture = Fixture::converged(3);
    fixture.list("web-3", ProviderPhase::Stopping);
    fixture.create(&["web-4"], -5, IntentState::Sent);
    let found = with(&fixture, vec![create(&fixture, &["web-50"])]);
    assert_eq!(found, above(5));
}

#[test]
fn refuses_to_go_below_the_floor_for_every_reason_but_deletion() {
    let fixture = without_drain(3);
    for reason in [
        Reason::Update,
        Reason::Heal,
        Reason::ScaleIn,
        Reason::Expiry,
    ] {
        let found = with(&fixture, vec![destroy(&fixture, "web-1", reason)]);
        let below = LintError::BelowFloor {
            available: 2,
            floor: 3,
        };
        assert_eq!(found, Err(below));
    }
}

#[test]
fn refuses_to_remove_more_than_the_surplus() {
    let mut fixture = without_drain(5);
    fixture.group.spec.size = 4;
    fixture.group.spec.rollout.unavailable_max = drover_model::Amount::Percent(100);
    let found = with(&fixture, vec![destroy(&fixture, "web-5", Reason::ScaleIn)]);
    let too_many = LintError::RemovesTooMany {
        removed: 2,
        surplus: 1,
    };
    assert_eq!(found, Err(too_many));
}

#[test]
fn refuses_a_deletion_that_nobody_asked_for() {
    let fixture = without_drain(3);
    let found = with(&fixture, vec![destroy(&fixture, "web-1", Reason::Delete)]);
    assert!(matches!(found, Err(LintError::Uncertified { .. })));
}

#[test]
fn refuses_to_destroy_what_serves_without_a_drain() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.rollout.unavailable_max = drover_model::Amount::Count(1);
    let found = with(&fixture, vec![destroy(&fixture, "web-1", Reason::Update)]);
    assert_eq!(found, Err(LintError::NotDrained(id("web-1"))));
}

#[test]
fn refuses_every_change_while_something_forbids_it() {
    let partial = |fixture: &mut Fixture| {
        fixture.listing.completeness = Completeness::Partial { why: String::new() };
    };
    let stale = |fixture: &mut Fixture| fixture.now = crate::testing::at(1000);
    let observe = |fixture: &mut Fixture| fixture.group.spec.manage = Manage::Observe;
    let suspend = |fixture: &mut Fixture| {
        fixture.group.spec.suspend = vec![Suspend {
            what: [Activity::All].into(),
            until: None,
            because: None,
        }];
    };
    let freeze = |fixture: &mut Fixture| {
        fixture.fences = vec![Held {
            hold: Hold::Frozen { by: String::new() },
            reason: None,
            instance: None,
            until: None,
        }];
    };
    let reasons: [fn(&mut Fixture); 5] = [partial, stale, observe, suspend, freeze];
    for forbid in reasons {
        let mut fixture = without_drain(3);
        forbid(&mut fixture);
        let found = with(&fixture, vec![create(&fixture, &["web-50"])]);
        assert!(
            matches!(found, Err(LintError::MayNotAct { .. })),
            "{found:?}"
        );
    }
}

#[test]
fn refuses_a_record_that_would_give_a_number_twice_or_forget_which_group_it_is() {
    let fixture = Fixture::converged(3);
    let step = create(&fixture, &["web-50"]);
    let found = fixture.linted(|plan: &mut Plan| plan.steps.push(step));
    assert!(matches!(found, Err(LintError::WrongRecord { .. })));
    let found = fixture.linted(|plan| {
        plan.next.uid = drover_model::GroupUid::parse("fedcba9876543210").unwrap();
    });
    assert!(matches!(found, Err(LintError::WrongRecord { .. })));
}

/// A group that rolls from one template to the next, without a drain.
fn rolling(size: u32) -> Fixture {
    let mut fixture = without_drain(size);
    fixture.group.spec.template = template(2);
    fixture
}

#[test]
fn refuses_to_use_a_template_in_quarantine() {
    let fixture = rolling(3);
    let quarantined = fixture.linted(|plan| {
        plan.next.quarantine = Some(Quarantine {
            digests: fixture.digests(),
            cause: PauseCause::Deadline,
            since: at(0),
        });
    });
    assert_eq!(quarantined, Err(LintError::Quarantined));
}

#[test]
fn refuses_to_retire_where_nothing_may_be_retired() {
    let retire = |fixture: &Fixture| with(fixture, vec![destroy(fixture, "web-1", Reason::Update)]);
    let mut fixture = rolling(3);
    fixture.group.spec.rollout.unavailable_max = Amount::Count(2);
    assert_eq!(retire(&fixture), Ok(()));
    fixture.group.spec.rollout.order = RolloutOrder::CreateFirst;
    let below = LintError::BelowFloor {
        available: 2,
        floor: 3,
    };
    assert_eq!(retire(&fixture), Err(below));
    for change in [
        |spec: &mut GroupSpec| spec.rollout.paused = true,
        |spec: &mut GroupSpec| spec.rollout.mode = RolloutMode::Manual,
    ] {
        let mut fixture = rolling(3);
        fixture.group.spec.rollout.unavailable_max = Amount::Count(2);
        change(&mut fixture.group.spec);
        let refused = retire(&fixture);
        assert!(
            matches!(refused, Err(LintError::MayNotUpdate { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn refuses_more_of_a_new_template_than_its_stage_allows() {
    let canary = Canary {
        count: Amount::Count(1),
        hold: std::time::Duration::ZERO,
        promote: Promote::Manual,
    };
    let checkpoint = Checkpoint {
        at: Amount::Percent(10),
        wait: std::time::Duration::ZERO,
    };
    let changes: [&dyn Fn(&mut GroupSpec); 3] = [
        &|spec| spec.rollout.canary = Some(canary),
        &|spec| spec.rollout.checkpoints = vec![checkpoint],
        &|spec| spec.rollout.partition = Some(Amount::Count(1)),
    ];
    for change in changes {
        let mut fixture = rolling(3);
        fixture.group.spec.rollout.surge_max = Amount::Count(3);
        change(&mut fixture.group.spec);
        let above = LintError::AboveStage {
            updated: 2,
            most: 1,
        };
        let more = with(&fixture, vec![create(&fixture, &["web-50"])]);
        assert_eq!(more, Err(above));
    }
}

mod admission;
mod keep;
