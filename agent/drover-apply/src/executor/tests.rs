use std::pin::pin;
use std::task::{Context, Poll, Waker};

use drover_model::{Cause, Intent, Reason, Step, Vanilla};
use drover_provider::Urgency;
use drover_provider_sim::{Fault, FaultKind, Op, SimSettings};

use super::*;
use crate::testing::*;
use crate::{FailWrites, MemoryJournal, Reply};

mod adopt;
mod ending;
mod flavors;
mod secrets;

fn fixture() -> Fixture {
    Fixture::new(SimSettings::default())
}

fn results(report: &ApplyReport) -> Vec<StepResult> {
    report
        .outcomes
        .iter()
        .map(|one| one.result.clone())
        .collect()
}

fn failed(class: ErrorClass) -> impl Fn(&StepResult) -> bool {
    move |result| matches!(result, StepResult::Failed { class: found, .. } if *found == class)
}

fn is_unknown(result: &StepResult) -> bool {
    matches!(result, StepResult::Unknown { .. })
}

fn resend(intent: IntentId) -> Step {
    Step {
        action: Action::Resend { intent },
        cause: Cause::FollowUp,
        preconditions: vec![Precondition::Open(intent)],
    }
}

fn settle(intent: IntentId) -> Step {
    let outcome = SettlementOutcome::NoEffect;
    Step {
        action: Action::Settle(Settlement { intent, outcome }),
        cause: Cause::FollowUp,
        preconditions: vec![Precondition::Open(intent)],
    }
}

#[tokio::test]
async fn makes_what_the_plan_names_and_writes_down_the_handles() {
    let fixture = fixture();
    let report = apply(&plan(vec![create(&[1, 2]), create(&[3])]), &fixture.ctx()).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(fixture.alive(), ["web-1", "web-2", "web-3"]);
    let IntentState::Acked { made, .. } = &fixture.states()[0] else {
        panic!("{:?}", fixture.states());
    };
    assert_eq!(
        made.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["web-1", "web-2"]
    );
    assert_eq!(fixture.journal.last_number(&web()).unwrap(), 3);
}

#[tokio::test]
async fn applying_a_plan_twice_makes_nothing_twice() {
    let fixture = fixture();
    let plan = plan(vec![create(&[1])]);
    apply(&plan, &fixture.ctx()).await;
    let again = apply(&plan, &fixture.ctx()).await;
    let skipped = StepResult::Skipped(Skip::Precondition(Precondition::Absent(instance(1))));
    assert_eq!(results(&again), [skipped]);
    assert_eq!(fixture.provider.calls.load(Ordering::SeqCst), 1);
}

/// A plan with a step of every kind, on a world with four instances.
async fn plan_of_all_kinds(fixture: &Fixture) -> Plan {
    let mut existing = Vec::new();
    for number in 1..=4 {
        existing.push(fixture.existing(number).await);
    }
    let [one, two, three, four] = &existing[..] else {
        unreachable!()
    };
    let unknown = IntentKind::Create {
        zone: None,
        slots: vec![instance(5)],
        attempt: 1,
        token: token(5, 1),
        digests: digests(&template("v1")),
        template: template("v1"),
        seat: None,
    };
    let old = fixture
        .journal
        .append(
            &web(),
            Epoch(1),
            fixture.clock.now(),
            vec![unknown.clone(), unknown],
        )
        .unwrap();
    fixture.journal.advance(old[0], IntentState::Sent).unwrap();
    plan(vec![
        settle(old[1]),
        resend(old[0]),
        drain(1, &one.0, &one.1, fixture.clock.now()),
        create(&[6, 7]),
        create(&[8]),
        create(&[9]),
        destroy(2, &two.0, &two.1),
        destroy(3, &three.0, &three.1),
        release(4, &four.0, &four.1),
    ])
}

#[tokio::test]
async fn carries_out_every_kind_of_step() {
    let fixture = fixture();
    let plan = plan_of_all_kinds(&fixture).await;
    let report = apply(&plan, &fixture.ctx()).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(
        fixture.alive(),
        ["web-1", "web-5", "web-6", "web-7", "web-8", "web-9"]
    );
    let world = fixture.provider.sim.world();
    assert_eq!(
        world.instances(fixture.clock.now()).count(),
        7,
        "web-4 was not left running"
    );
    assert_eq!(world.stats().duplicates, 0);
}

/// Fails the nth write, in both ways, for every n, and checks the promise at every call.
#[tokio::test]
async fn no_provider_call_without_a_durable_intent() {
    for how in [FailWrites::Before, FailWrites::After] {
        let mut survived = 0;
        for nth in 1.. {
            let fixture = fixture();
            let plan = plan_of_all_kinds(&fixture).await;
            let first = fixture.journal.writes() + nth;
            fixture.journal.fail_from(first, how);
            let report = apply(&plan, &fixture.ctx()).await;
            let breaches = fixture.provider.breaches.lock().unwrap().clone();
            assert_eq!(breaches, Vec::<String>::new(), "write {nth}, {how:?}");
            if report.journal_error.is_none() {
                break;
            }
            survived += 1;
            assert!(!report.is_complete());
            after_a_crash(&fixture, fixture.journal.crashed()).await;
        }
        // Settle, mark and answer of one resend, drain, and the creates and destroys with both.
        assert!(survived >= 15, "only {survived} writes were tried");
    }
}

/// Starts again on what was durable, follows up every intent as the planner would, and checks that
/// every token made at most one set of instances and that nothing exists twice.
async fn after_a_crash(fixture: &Fixture, journal: MemoryJournal) {
    journal.recover();
    let journal = Arc::new(journal);
    let open = journal.open_intents(&web()).unwrap();
    let follow_up = |intent: &Intent| match (&intent.kind, &intent.state) {
        (IntentKind::Create { .. }, IntentState::Intended) => Some(settle(intent.id)),
        (IntentKind::Create { .. }, IntentState::Sent) => Some(resend(intent.id)),
        _ => None,
    };
    let steps = plan(open.iter().filter_map(follow_up).collect());
    let report = apply(&steps, &fixture.ctx_with(journal.clone())).await;
    assert!(report.is_complete(), "{report:?}");
    let missing: Vec<Step> = (6..=9)
        .filter(|number| !fixture.alive().contains(&instance(*number).to_string()))
        .map(|number| create_from(&[number], 2, template("v1")))
        .collect();
    let report = apply(&plan(missing), &fixture.ctx_with(journal.clone())).await;
    assert!(report.is_complete(), "{report:?}");
    let mut alive = fixture.alive();
    alive.sort();
    let count = alive.len();
    alive.dedup();
    assert_eq!(alive.len(), count, "something exists twice");
    for number in 6..=9 {
        assert!(
            alive.contains(&instance(number).to_string()),
            "web-{number} is missing"
        );
    }
    let world = fixture.provider.sim.world();
    assert_eq!(world.stats().duplicates, 0);
    assert!(fixture.provider.breaches.lock().unwrap().is_empty());
}

/// A journal whose writes become durable only when the test says so.
#[derive(Debug, Default)]
struct SlowJournal {
    inner: MemoryJournal,
    queue: Mutex<Vec<(Vec<JournalChange>, Waiting)>>,
}

struct Waiting(Reply);

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

impl SlowJournal {
    fn pump(&self) {
        let queue = std::mem::take(&mut *self.queue.lock().unwrap());
        for (changes, reply) in queue {
            self.inner.submit(changes, reply.0);
        }
    }
}

impl Journal for SlowJournal {
    fn open_intents(&self, group: &GroupName) -> Result<Vec<Intent>, JournalError> {
        self.inner.open_intents(group)
    }
    fn groups(&self) -> Result<BTreeSet<GroupName>, JournalError> {
        self.inner.groups()
    }
    fn last_number(&self, group: &GroupName) -> Result<u64, JournalError> {
        self.inner.last_number(group)
    }
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, JournalError> {
        self.inner.get(key)
    }
    fn keys(&self, prefix: &str) -> Result<Vec<String>, JournalError> {
        self.inner.keys(prefix)
    }
    fn submit(&self, changes: Vec<JournalChange>, reply: Reply) {
        self.queue.lock().unwrap().push((changes, Waiting(reply)));
    }
}

/// Polls a plan `polls` times and drops it there, before or after waiting writes became durable.
/// Returns whether it had ended by then.
fn dropped_after(
    plan: &Plan,
    ctx: &ApplyContext,
    journal: &SlowJournal,
    polls: usize,
    flush: bool,
) -> bool {
    let mut applying = pin!(apply(plan, ctx));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        journal.pump();
        if let Poll::Ready(report) = applying.as_mut().poll(&mut context) {
            assert!(report.is_complete(), "{report:?}");
            return true;
        }
    }
    if flush {
        journal.pump();
    }
    false
}

#[tokio::test]
async fn crash_at_any_await_leaves_what_the_next_pass_can_follow_up() {
    for flush in [false, true] {
        for polls in 1.. {
            let fixture = fixture();
            let made = plan(vec![create(&[6, 7]), create(&[8]), create(&[9])]);
            let journal = Arc::new(SlowJournal::default());
            let ctx = fixture.ctx_with(journal.clone());
            let ended = dropped_after(&made, &ctx, &journal, polls, flush);
            assert!(fixture.provider.breaches.lock().unwrap().is_empty());
            after_a_crash(&fixture, journal.inner.crashed()).await;
            if ended {
                assert!(polls > 5, "there were only {polls} awaits");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn late_answer_is_an_unknown_outcome_and_the_repeat_finds_the_instance() {
    let fixture = fixture();
    let slow = FaultKind::Slow(Duration::from_mins(5));
    fixture
        .provider
        .sim
        .world()
        .inject(Fault::next(Op::Provision, 1, slow));
    let report = apply(&plan(vec![create(&[1])]), &fixture.ctx()).await;
    assert!(is_unknown(&report.outcomes[0].result), "{report:?}");
    assert_eq!(fixture.states(), [IntentState::Sent]);
    let open = fixture.journal.open_intents(&web()).unwrap();
    let report = apply(&plan(vec![resend(open[0].id)]), &fixture.ctx()).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(fixture.alive(), ["web-1"]);
}

#[tokio::test]
async fn what_the_provider_says_to_a_call_that_stays_open_is_kept_with_the_class_of_a_refusal() {
    let fixture = fixture();
    let said = || {
        fixture.journal.open_intents(&web()).unwrap()[0]
            .said
            .clone()
    };
    let inject = |kind| {
        let fault = Fault::next(Op::Provision, 1, kind);
        fixture.provider.sim.world().inject(fault);
    };
    inject(FaultKind::LostReply);
    apply(&plan(vec![create(&[1])]), &fixture.ctx()).await;
    let lost = said().unwrap();
    let again = plan(vec![resend(
        fixture.journal.open_intents(&web()).unwrap()[0].id,
    )]);
    // The same words are written once.
    let writes = fixture.journal.writes();
    inject(FaultKind::LostReply);
    apply(&again, &fixture.ctx()).await;
    let unsaid = fixture.journal.writes() - writes;
    assert_eq!(said(), Some(lost));
    let writes = fixture.journal.writes();
    inject(FaultKind::Error(ErrorClass::Auth));
    apply(&again, &fixture.ctx()).await;
    assert_eq!(fixture.journal.writes() - writes, unsaid + 1);
    let refused = said().unwrap();
    assert!(refused.starts_with("auth: "), "{refused}");
    assert_eq!(fixture.states(), [IntentState::Sent]);
    apply(&again, &fixture.ctx()).await;
    assert_eq!(said(), None, "there is an answer");
}

#[tokio::test]
async fn repeated_request_is_identical_even_from_a_later_epoch() {
    let fixture = fixture();
    fixture
        .provider
        .sim
        .world()
        .inject(Fault::next(Op::Provision, 1, FaultKind::LostReply));
    apply(&plan(vec![create(&[1, 2])]), &fixture.ctx()).await;
    let open = fixture.journal.open_intents(&web()).unwrap();
    let mut ctx = fixture.ctx();
    ctx.epoch = Epoch(7);
    let report = apply(&plan(vec![resend(open[0].id)]), &ctx).await;
    assert!(report.is_complete(), "{report:?}");
    let sent = fixture.provider.provisions.lock().unwrap();
    assert_eq!(sent[0], sent[1]);
}

#[tokio::test]
async fn repeat_that_is_turned_away_early_proves_nothing() {
    // Only what was made in part is an answer to the first call.
    for (class, first, stays_unknown) in [
        (ErrorClass::Throttled, FaultKind::LostReply, true),
        (ErrorClass::Auth, FaultKind::LostReply, true),
        (ErrorClass::Capacity, FaultKind::LostRequest, true),
        (ErrorClass::Quota, FaultKind::LostRequest, true),
        (ErrorClass::InvalidSpec, FaultKind::LostReply, true),
        (ErrorClass::Partial, FaultKind::LostRequest, false),
    ] {
        let fixture = fixture();
        let lost = Fault::next(Op::Provision, 1, first);
        fixture.provider.sim.world().inject(lost);
        apply(&plan(vec![create(&[1])]), &fixture.ctx()).await;
        let open = fixture.journal.open_intents(&web()).unwrap();
        let refuse = Fault::next(Op::Provision, 1, FaultKind::Error(class));
        fixture.provider.sim.world().inject(refuse);
        let report = apply(&plan(vec![resend(open[0].id)]), &fixture.ctx()).await;
        assert!(failed(class)(&report.outcomes[0].result), "{report:?}");
        assert_eq!(
            fixture.states()[0] == IntentState::Sent,
            stays_unknown,
            "{class:?}"
        );
    }
}

#[tokio::test]
async fn repeat_finds_what_was_made_though_there_is_no_more_room() {
    let fixture = fixture();
    let lost = Fault::next(Op::Provision, 1, FaultKind::LostReply);
    fixture.provider.sim.world().inject(lost);
    apply(&plan(vec![create(&[1])]), &fixture.ctx()).await;
    let open = fixture.journal.open_intents(&web()).unwrap();
    let full = Fault::next(Op::Provision, 1, FaultKind::Error(ErrorClass::Capacity));
    fixture.provider.sim.world().inject(full);
    let report = apply(&plan(vec![resend(open[0].id)]), &fixture.ctx()).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(fixture.alive(), ["web-1"]);
}

#[tokio::test]
async fn panic_of_the_provider_is_an_unknown_outcome() {
    let fixture = fixture();
    let existing = fixture.existing(1).await;
    fixture.provider.panics.store(true, Ordering::SeqCst);
    let steps = vec![create(&[2]), destroy(1, &existing.0, &existing.1)];
    let report = apply(&plan(steps), &fixture.ctx()).await;
    assert!(results(&report).iter().all(is_unknown), "{report:?}");
    assert_eq!(fixture.states(), [IntentState::Sent, IntentState::Sent]);
}

#[tokio::test]
async fn batch_whose_instances_differ_is_refused_and_remembered() {
    let mut own_properties = template("${instance.id}");
    let mut own_env = template("v1");
    let env = [("NAME".to_owned(), "${instance.name}".to_owned())].into();
    own_env.flavors = vec![drover_model::Flavor::Vanilla(Vanilla {
        env,
        ..Vanilla::default()
    })];
    let mut messages = Vec::new();
    for template in [&own_properties, &own_env] {
        let fixture = fixture();
        let steps = vec![create_from(&[1, 2], 1, template.clone())];
        let report = apply(&plan(steps), &fixture.ctx()).await;
        let StepResult::Failed { class, message } = &report.outcomes[0].result else {
            panic!("{report:?}");
        };
        assert_eq!(*class, ErrorClass::InvalidSpec);
        messages.push(message.clone());
        assert!(matches!(
            &fixture.states()[..],
            [IntentState::Failed { .. }]
        ));
        assert_eq!(fixture.provider.calls.load(Ordering::SeqCst), 0);
    }
    insta::assert_snapshot!(messages.join("\n"), @"
    web-1 and web-2 have different properties, so one call cannot make both
    web-1 and web-2 have different environments, so one call cannot make both
    ");
    own_properties.properties = "${instance.color}".into();
    let fixture = fixture();
    let steps = vec![create_from(&[1], 1, own_properties)];
    let report = apply(&plan(steps), &fixture.ctx()).await;
    assert!(
        failed(ErrorClass::InvalidSpec)(&report.outcomes[0].result),
        "{report:?}"
    );
}

#[tokio::test]
async fn one_refusal_does_not_keep_other_steps_from_being_tried() {
    // Class, and which of create, create, destroy, create are tried after the first was refused.
    let cases = [
        (ErrorClass::Throttled, [true, false, false, false]),
        (ErrorClass::Auth, [true, false, false, false]),
        (ErrorClass::Capacity, [true, false, true, false]),
        (ErrorClass::Quota, [true, false, true, false]),
        (ErrorClass::InvalidSpec, [true, false, true, false]),
        (ErrorClass::Unknown, [true, true, true, true]),
    ];
    for (class, tried) in cases {
        let fixture = fixture();
        let existing = fixture.existing(1).await;
        let fault = Fault::next(Op::Provision, 1, FaultKind::Error(class));
        fixture.provider.sim.world().inject(fault);
        let mut ctx = fixture.ctx();
        ctx.concurrency = 1;
        let ending = destroy(1, &existing.0, &existing.1);
        let steps = vec![create(&[2]), create(&[3]), ending, create(&[4])];
        let report = apply(&plan(steps), &ctx).await;
        let skipped = StepResult::Skipped(Skip::AfterFailure { class });
        let begun: Vec<bool> = results(&report).iter().map(|one| *one != skipped).collect();
        assert_eq!(begun, tried, "{class:?}");
        // What was written for steps that were not begun is closed again.
        assert!(
            !fixture.states().contains(&IntentState::Intended),
            "{class:?}"
        );
    }
}

/// Stops after so many questions.
#[derive(Debug)]
struct StopsAfter(std::sync::atomic::AtomicI64, Stop);

impl Brake for StopsAfter {
    fn stop(&self, _group: &GroupName) -> Option<Stop> {
        (self.0.fetch_sub(1, Ordering::SeqCst) <= 0).then_some(self.1)
    }
}

#[tokio::test]
async fn brake_stops_between_two_calls() {
    for questions in 0..12 {
        let fixture = fixture();
        let mut ctx = fixture.ctx();
        ctx.concurrency = 1;
        ctx.brake = Arc::new(StopsAfter(questions.into(), Stop::Frozen));
        let steps = (1..=4).map(|number| create(&[number])).collect();
        let report = apply(&plan(steps), &ctx).await;
        let stopped = StepResult::Skipped(Skip::Stopped(Stop::Frozen));
        let done = results(&report)
            .iter()
            .filter(|one| **one == StepResult::Done)
            .count();
        let skipped = results(&report)
            .iter()
            .filter(|one| **one == stopped)
            .count();
        assert_eq!(done + skipped, 4, "{report:?}");
        assert_eq!(fixture.alive().len(), done);
        assert!(!fixture.states().contains(&IntentState::Intended));
    }
}

#[tokio::test]
async fn frozen_agent_closes_intents_and_calls_nothing() {
    let fixture = fixture();
    let plan = plan_of_all_kinds(&fixture).await;
    fixture.frozen.store(true, Ordering::SeqCst);
    let report = apply(&plan, &fixture.ctx()).await;
    let stopped = StepResult::Skipped(Skip::Stopped(Stop::Frozen));
    assert_eq!(report.outcomes[0].result, StepResult::Done);
    assert!(
        results(&report)[1..].iter().all(|one| *one == stopped),
        "{report:?}"
    );
    assert_eq!(fixture.provider.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn agent_that_lost_its_epoch_does_nothing() {
    let fixture = fixture();
    let late = plan_of_all_kinds(&fixture).await;
    let kind = fixture.journal.open_intents(&web()).unwrap()[0]
        .kind
        .clone();
    fixture
        .journal
        .append(&web(), Epoch(2), fixture.clock.now(), vec![kind])
        .unwrap();
    let report = apply(&late, &fixture.ctx()).await;
    let lost = StepResult::Skipped(Skip::Stopped(Stop::EpochLost));
    assert!(
        results(&report).iter().all(|one| *one == lost),
        "{report:?}"
    );

    let fresh = self::fixture();
    let mut newer = plan(vec![create(&[1])]);
    newer.next.epoch = Epoch(2);
    let report = apply(&newer, &fresh.ctx()).await;
    assert_eq!(results(&report), [lost]);
}

#[tokio::test]
async fn skips_steps_that_the_journal_contradicts() {
    let fixture = fixture();
    let (one, two) = (fixture.existing(1).await, fixture.existing(2).await);
    let now = fixture.clock.now();
    // Web-1 is being ended already; web-2 is known under another token.
    apply(&plan(vec![destroy(1, &one.0, &one.1)]), &fixture.ctx()).await;
    let steps = vec![
        drain(1, &one.0, &one.1, now),
        create(&[1]),
        release(1, &one.0, &one.1),
        drain(2, &two.0, &two.1, now),
        drain(2, &handle("other"), &two.1, now),
        settle(IntentId(99)),
    ];
    let report = apply(&plan(steps.clone()), &fixture.ctx()).await;
    let skipped =
        |step: &Step| StepResult::Skipped(Skip::Precondition(step.preconditions[0].clone()));
    let expected: Vec<_> = steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            if at == 3 {
                StepResult::Done
            } else {
                skipped(step)
            }
        })
        .collect();
    assert_eq!(results(&report), expected);
}

#[tokio::test]
async fn create_after_a_refused_one_is_allowed() {
    let fixture = fixture();
    let refuse = FaultKind::Error(ErrorClass::Capacity);
    fixture
        .provider
        .sim
        .world()
        .inject(Fault::next(Op::Provision, 1, refuse));
    let report = apply(&plan(vec![create(&[1])]), &fixture.ctx()).await;
    assert!(
        failed(ErrorClass::Capacity)(&report.outcomes[0].result),
        "{report:?}"
    );
    let again = plan(vec![create_from(&[1], 2, template("v1"))]);
    assert!(apply(&again, &fixture.ctx()).await.is_complete());
}

#[tokio::test]
async fn bounds_the_calls_under_way() {
    let fixture = fixture();
    let steps = (1..=50).map(|number| create(&[number])).collect();
    assert!(apply(&plan(steps), &fixture.ctx()).await.is_complete());
    assert_eq!(fixture.provider.most_at_once.load(Ordering::SeqCst), 4);
    assert_eq!(fixture.alive().len(), 50);
}

#[tokio::test]
async fn destroy_of_what_is_not_found_is_accepted_and_proves_nothing() {
    let fixture = fixture();
    let existing = fixture.existing(1).await;
    fixture
        .provider
        .sim
        .world()
        .inject(Fault::next(Op::Destroy, 1, FaultKind::NotFound));
    let steps = vec![destroy(1, &existing.0, &existing.1)];
    assert!(apply(&plan(steps), &fixture.ctx()).await.is_complete());
    assert!(matches!(&fixture.states()[..], [IntentState::Acked { made, .. }] if made.is_empty()));
    assert_eq!(fixture.alive(), ["web-1"]);
}

#[tokio::test]
async fn destroy_that_is_planned_again_repeats_the_open_one() {
    let fixture = fixture();
    let existing = fixture.existing(1).await;
    fixture
        .provider
        .sim
        .world()
        .inject(Fault::next(Op::Destroy, 1, FaultKind::LostRequest));
    let ending = plan(vec![destroy(1, &existing.0, &existing.1)]);
    let report = apply(&ending, &fixture.ctx()).await;
    assert!(is_unknown(&report.outcomes[0].result), "{report:?}");
    assert!(apply(&ending, &fixture.ctx()).await.is_complete());
    assert!(matches!(&fixture.states()[..], [IntentState::Acked { .. }]));
    assert_eq!(fixture.alive(), Vec::<String>::new());
}

#[tokio::test]
async fn keeps_what_a_partial_create_made() {
    let fixture = fixture();
    fixture
        .provider
        .sim
        .world()
        .inject(Fault::next(Op::Provision, 1, FaultKind::Fewer(1)));
    let report = apply(&plan(vec![create(&[1, 2])]), &fixture.ctx()).await;
    assert!(
        matches!(report.outcomes[0].result, StepResult::Failed { .. }),
        "{report:?}"
    );
    let IntentState::Acked { made, .. } = &fixture.states()[0] else {
        panic!("{:?}", fixture.states());
    };
    assert_eq!(made.keys().collect::<Vec<_>>(), [&instance(1)]);
}

#[tokio::test]
async fn drain_and_destroy_carry_the_reason() {
    let fixture = fixture();
    let existing = fixture.existing(1).await;
    let draining = plan(vec![drain(
        1,
        &existing.0,
        &existing.1,
        fixture.clock.now(),
    )]);
    apply(&draining, &fixture.ctx()).await;
    let mut ending = destroy(1, &existing.0, &existing.1);
    ending.cause = Cause::FollowUp;
    apply(&plan(vec![ending]), &fixture.ctx()).await;
    let open = fixture.journal.open_intents(&web()).unwrap();
    let reasons = open.iter().filter_map(|intent| match &intent.kind {
        IntentKind::Drain { reason, .. } | IntentKind::Destroy { reason, .. } => Some(*reason),
        IntentKind::Create { .. }
        | IntentKind::Update(_)
        | IntentKind::Roster(_)
        | IntentKind::Adopt(_) => None,
    });
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [Reason::Update, Reason::Update]
    );
}

#[tokio::test]
async fn a_create_says_what_it_is_for() {
    let cases = [
        (Cause::ScaleOut, 3, 3, Urgency::Heal),
        (Cause::ScaleOut, 5, 3, Urgency::Scale),
        (Cause::ScaleOut, 5, 0, Urgency::Scale),
        (Cause::Because(Reason::Update), 3, 3, Urgency::Roll),
        (Cause::Because(Reason::Expiry), 3, 3, Urgency::Roll),
        (Cause::Because(Reason::Heal), 5, 3, Urgency::Heal),
        (Cause::Because(Reason::Interruption), 5, 3, Urgency::Heal),
    ];
    for (cause, size, reached, urgency) in cases {
        let fixture = fixture();
        let mut step = create(&[1]);
        step.cause = cause;
        let mut plan = plan(vec![step]);
        plan.next.size = size;
        plan.next.stable_size = reached;
        assert!(apply(&plan, &fixture.ctx()).await.is_complete());
        let asked = fixture.provider.provisions.lock().unwrap();
        assert_eq!(asked[0].urgency, urgency, "{cause:?} {size} {reached}");
    }
}

#[tokio::test]
async fn apply_can_be_spawned() {
    let fixture = fixture();
    let ctx = fixture.ctx();
    let applied = tokio::spawn(async move { apply(&plan(vec![create(&[1])]), &ctx).await });
    assert!(applied.await.unwrap().is_complete());
}

/// A planner that went mad: everything is to end.
async fn plan_that_ends(fixture: &Fixture, count: u64, reason: Reason) -> Plan {
    let mut steps = Vec::new();
    for number in 1..=count {
        let (provider_ref, token) = fixture.existing(number).await;
        let mut step = destroy(number, &provider_ref, &token);
        step.cause = Cause::Because(reason);
        steps.push(step);
    }
    plan(steps)
}

#[tokio::test]
async fn no_more_instances_end_than_the_certificate_allows() {
    let fixture = fixture();
    let mut mad = plan_that_ends(&fixture, 6, Reason::Heal).await;
    mad.allowance.ending_max = 2;
    let report = apply(&mad, &fixture.ctx()).await;
    let refused = StepResult::Skipped(Skip::BeyondAllowance { allowed: 2 });
    let mut expected = vec![StepResult::Done; 2];
    expected.extend(vec![refused; 4]);
    assert_eq!(results(&report), expected);
    assert!(!report.is_complete());
    assert_eq!(fixture.alive(), ["web-3", "web-4", "web-5", "web-6"]);
    // What is on its way counts in the next pass too, and goes on.
    let again = apply(&mad, &fixture.ctx()).await;
    assert_eq!(results(&again), expected);
    assert_eq!(fixture.alive().len(), 4);
}

#[tokio::test]
async fn no_more_instances_are_removed_than_the_change_has_left() {
    let fixture = fixture();
    let mut mad = plan_that_ends(&fixture, 4, Reason::ScaleIn).await;
    mad.steps[0].cause = Cause::Because(Reason::Update);
    mad.allowance.removed_max = 1;
    let report = apply(&mad, &fixture.ctx()).await;
    let refused = StepResult::Skipped(Skip::BeyondAllowance { allowed: 1 });
    let done = StepResult::Done;
    let expected = [done.clone(), done, refused.clone(), refused];
    assert_eq!(results(&report), expected);
    assert_eq!(fixture.alive(), ["web-3", "web-4"]);
}

#[tokio::test]
async fn what_the_plan_closes_is_not_on_its_way_any_more() {
    let fixture = fixture();
    let mut first = plan_that_ends(&fixture, 2, Reason::Heal).await;
    let last = first.steps.pop().unwrap();
    first.allowance.ending_max = 1;
    assert!(apply(&first, &fixture.ctx()).await.is_complete());
    let open = fixture.journal.open_intents(&web()).unwrap();
    let mut next = plan(vec![settle(open[0].id), last]);
    next.allowance.ending_max = 1;
    let report = apply(&next, &fixture.ctx()).await;
    assert_eq!(results(&report), [StepResult::Done, StepResult::Done]);
}

mod in_place;
mod roster;
