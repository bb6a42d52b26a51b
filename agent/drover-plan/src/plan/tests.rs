use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_model::{
    Action, BindingName, Cause, CheckOutcome, Completeness, ConditionType, DecisionPoint, Digests,
    Enforcement, ExitReport, Flavor, FlavorAnswer, FlavorName, GroupPhase, Held, Hold, InstanceId,
    IntentKind, IntentState, OutageMode, Outcome, Plan, PlanReport, PluginFlavor, PolicyName,
    ProviderName, ProviderPhase, Reason, RecordedProvider, SourceSpan, Template, Token, Value,
    Verdict,
};

use crate::testing::{Fixture, at, id, ignoring_version, template};
use crate::{PlanError, render};

fn creates(plan: &Plan) -> Vec<(Vec<InstanceId>, Token)> {
    let creates = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Create { slots, token, .. } => Some((slots.clone(), token.clone())),
        _ => None,
    });
    creates.collect()
}

fn holds(report: &PlanReport) -> Vec<&'static str> {
    report.holds.iter().map(|held| held.hold.code()).collect()
}

fn gate(reason: Reason, hour: &str) -> (Reason, Vec<Verdict>) {
    let verdict = Verdict {
        policy: PolicyName::parse("hours").unwrap(),
        binding: BindingName::parse("prod-hours").unwrap(),
        point: DecisionPoint::Gate,
        enforcement: Enforcement::Deny,
        outcome: Outcome::Failed,
        message: "outside office hours".to_owned(),
        span: SourceSpan::start_of("policies/hours.yaml"),
        values: std::iter::once(("hour".to_owned(), hour.to_owned())).collect(),
        digest: String::new(),
    };
    (reason, vec![verdict])
}

#[test]
fn a_quiet_group_gets_no_step_no_hold_and_no_new_record() {
    let mut fixture = Fixture::converged(3);
    let (first, report) = fixture.planned();
    assert!(first.steps.is_empty() && report.holds.is_empty());
    fixture.recorded = first.next;
    let (second, _) = fixture.later(30).planned();
    assert_eq!(second.next, fixture.recorded, "nothing to commit");
    assert_eq!(second.next.phase, GroupPhase::Converged);
}

#[test]
fn the_same_input_gives_the_same_plan() {
    let mut fixture = Fixture::converged(9);
    fixture.group.spec.template = template(2);
    fixture.list("web-4", ProviderPhase::Exited(ExitReport::default()));
    assert_eq!(
        format!("{:?}", fixture.planned()),
        format!("{:?}", fixture.planned())
    );
}

#[test]
fn instances_are_made_in_batches_that_the_provider_takes() {
    let mut fixture = Fixture::empty(7);
    fixture.provider.batch_max = 3;
    let (plan, _) = fixture.planned();
    let sizes: Vec<usize> = creates(&plan)
        .iter()
        .map(|(slots, _)| slots.len())
        .collect();
    assert_eq!(sizes, [3, 3, 1]);
    let tokens: BTreeSet<Token> = creates(&plan).into_iter().map(|(_, token)| token).collect();
    assert_eq!(tokens.len(), 3, "one token per batch");
    assert_eq!(creates(&plan)[1].1, fixture.token("web-4"));
    assert_eq!(plan.next.next_number, 8);
}

#[test]
fn instances_that_differ_by_a_fact_of_their_own_are_batches_of_one() {
    let mention = Value::from("--name=${instance.name}");
    let list = Value::List(vec![Value::from("serve"), mention.clone()]);
    for value in [mention, list] {
        let mut fixture = Fixture::empty(3);
        fixture.group.spec.template.properties = Value::from_iter([("command".to_owned(), value)]);
        assert_eq!(creates(&fixture.planned().0).len(), 3);
    }
    let mut fixture = Fixture::empty(3);
    let tags = &mut fixture.group.spec.template.tags;
    tags.insert("group".to_owned(), "${group.name}".to_owned());
    assert_eq!(creates(&fixture.planned().0).len(), 1);
}

/// A template with a flavor plugin.
fn plugin_template(answer: Option<FlavorAnswer>) -> Template {
    let mut template = template(1);
    template.flavors = vec![Flavor::Plugin(PluginFlavor {
        name: FlavorName::parse("swarm/worker").unwrap(),
        properties: Value::empty_map(),
        answer: answer.map(Box::new),
    })];
    template.flavors_as_written = Value::List(vec!["plugin".into()]);
    template
}

#[test]
fn instances_that_a_flavor_plugin_prepares_are_batches_of_one() {
    let mut fixture = Fixture::empty(3);
    fixture.group.spec.template = plugin_template(None);
    assert_eq!(creates(&fixture.planned().0).len(), 3);
}

#[test]
fn what_a_flavor_plugin_has_prepared_is_drained_by_it_although_the_document_says_no_way() {
    for (template, drains) in [(plugin_template(None), true), (template(1), false)] {
        let mut fixture = Fixture::empty(2);
        fixture.group.spec.drain.delay = Duration::ZERO;
        fixture.group.spec.drain.begin = Vec::new();
        fixture.group.spec.drain.done = None;
        fixture.group.spec.template = template;
        fixture.settle(2);
        fixture.group.spec.size = 1;
        let (plan, _) = fixture.planned();
        let verbs: Vec<_> = plan.steps.iter().map(|step| step.action.verb()).collect();
        let wanted = if drains { "drain" } else { "destroy" };
        assert_eq!(verbs, [wanted]);
    }
}

#[test]
fn what_a_plugin_answered_for_one_instance_is_not_recorded_as_its_template() {
    let mut fixture = Fixture::empty(2);
    fixture.create(&["web-1"], -5, IntentState::Sent);
    let answered = plugin_template(Some(FlavorAnswer::default()));
    let (type_, classes) = (&fixture.provider.type_, &fixture.provider.classes);
    let of_answered = Digests::of(type_, &answered, classes);
    let IntentKind::Create {
        digests, template, ..
    } = &mut fixture.intents[0].kind
    else {
        unreachable!("a create");
    };
    (*digests, *template) = (of_answered.clone(), answered);
    let (plan, _) = fixture.planned();
    assert_eq!(plan.next.templates[&of_answered], plugin_template(None));
}

#[test]
fn the_tags_that_a_plugin_gave_an_instance_are_recorded_with_it_and_stay() {
    let mut fixture = Fixture::converged(1);
    let answer = FlavorAnswer {
        tags: [("joined".to_owned(), "as 1".to_owned())].into(),
        ..FlavorAnswer::default()
    };
    fixture.create(&["web-1"], -5, IntentState::Sent);
    let IntentKind::Create { template, .. } = &mut fixture.intents[0].kind else {
        unreachable!("a create");
    };
    *template = plugin_template(Some(answer.clone()));
    let (plan, _) = fixture.planned();
    assert_eq!(plan.next.instances[&id("web-1")].tags, answer.tags);
    fixture.recorded = plan.next;
    fixture.intents.clear();
    let (plan, _) = fixture.planned();
    assert_eq!(plan.next.instances[&id("web-1")].tags, answer.tags);
}

#[test]
fn a_number_is_never_given_twice_whoever_remembers_it() {
    let mut fixture = Fixture::converged(2);
    fixture.recorded.next_number = 3;
    fixture.create(&["web-7"], -5, IntentState::Sent);
    fixture.group.spec.size = 4;
    let (plan, _) = fixture.planned();
    assert_eq!(creates(&plan)[0].0, [id("web-8")]);

    let mut fixture = Fixture::converged(2);
    fixture.list("web-30", ProviderPhase::Terminated);
    fixture.group.spec.size = 3;
    let (plan, _) = fixture.planned();
    assert_eq!(creates(&plan)[0].0, [id("web-31")]);
}

#[test]
fn digests_of_another_version_are_never_outdated() {
    let mut fixture = Fixture::converged(2);
    let text = fixture.digests().to_string().replacen("1:", "9:", 1);
    let foreign = Digests::parse(&text).unwrap();
    for listed in &mut fixture.listing.instances {
        listed.ownership.as_mut().unwrap().digests = foreign.clone();
    }
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(report.numbers.outdated, 0);
}

#[test]
fn a_provider_that_changes_its_mind_about_a_field_makes_nothing_outdated() {
    let mut fixture = Fixture::converged(2);
    let before = fixture.digests();
    let digests = before.clone();
    fixture.provider.classes = ignoring_version();
    assert_ne!(fixture.digests(), digests);
    for listed in &mut fixture.listing.instances {
        listed.ownership.as_mut().unwrap().digests = before.clone();
    }
    let (plan, _) = fixture.planned();
    assert!(plan.steps.is_empty());
    assert_eq!(plan.next.target, Some(before));
}

#[test]
fn a_live_group_stays_with_its_provider() {
    let mut fixture = Fixture::converged(2);
    fixture.recorded.provider = Some(RecordedProvider {
        name: ProviderName::parse("elsewhere").unwrap(),
        type_: fixture.provider.type_.clone(),
        settings: Value::empty_map(),
        classes: BTreeMap::new(),
    });
    fixture.group.spec.size = 5;
    let (plan, report) = fixture.planned();
    assert_eq!(holds(&report), ["ProviderChanged"]);
    assert!(plan.steps.is_empty());
    assert_eq!(plan.next.provider, fixture.recorded.provider);

    fixture.listing.instances.clear();
    fixture.recorded.instances.clear();
    assert_eq!(
        creates(&fixture.planned().0).len(),
        1,
        "an empty group may move"
    );
}

#[test]
fn a_document_of_another_group_is_a_mistake() {
    let mut fixture = Fixture::converged(1);
    fixture.group.name = drover_model::GroupName::parse("db").unwrap();
    assert!(matches!(
        fixture.plan_error(),
        Some(PlanError::WrongGroup { .. })
    ));
    let mut fixture = Fixture::converged(1);
    fixture.provider.batch_max = 0;
    assert!(matches!(
        fixture.plan_error(),
        Some(PlanError::NoBatch { .. })
    ));
}

#[test]
fn whoever_marks_a_group_for_removal_protection_is_asked_again() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.deletion.protect = true;
    fixture.removed = true;
    fixture.recorded.deleting = Some(drover_model::Deleting {
        revision: drover_model::Revision::parse(&"b".repeat(40)).unwrap(),
        since: at(-60),
    });
    let (plan, report) = fixture.planned();
    assert_eq!(holds(&report), ["Protected"]);
    assert!(plan.steps.is_empty());
    assert_eq!(plan.next.phase, GroupPhase::Held);

    fixture.group.spec.deletion.protect = false;
    let (plan, _) = fixture.planned();
    assert_eq!(plan.steps.len(), 3);
    assert_eq!(plan.next.phase, GroupPhase::Deleting);
    assert_eq!(plan.next.deleting.unwrap().since, at(-60));
}

#[test]
fn a_hold_keeps_the_words_that_it_began_with() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.template = template(2);
    fixture.decisions.gates = [gate(Reason::Update, "3")].into();
    let (first, _) = fixture.planned();
    fixture.recorded = first.next;
    fixture.decisions.gates = [gate(Reason::Update, "4")].into();
    let (second, report) = fixture.later(30).planned();
    assert_eq!(
        second.next, fixture.recorded,
        "no commit for the clock in a clause"
    );
    let now = report.holds[0].hold.to_string();
    assert!(
        now.ends_with("hour = 4"),
        "people see the values of now: {now}"
    );
}

#[test]
fn a_condition_counts_from_when_its_status_changed() {
    let mut fixture = Fixture::converged(3);
    let (plan, _) = fixture.planned();
    fixture.recorded = plan.next;
    let since = |fixture: &Fixture, type_| fixture.recorded.conditions[&type_].since;
    assert_eq!(since(&fixture, ConditionType::Ready), at(0));
    fixture.later(30);
    fixture.signal(
        "web-1",
        CheckOutcome::Failing {
            why: "refused".to_owned(),
        },
    );
    fixture.recorded = fixture.planned().0.next;
    assert_eq!(since(&fixture, ConditionType::Ready), at(30));
    assert_eq!(since(&fixture, ConditionType::SpecAccepted), at(0));
    fixture.later(60);
    fixture.recorded = fixture.planned().0.next;
    assert_eq!(since(&fixture, ConditionType::Ready), at(30));
}

#[test]
fn a_withheld_document_leaves_healing_and_scaling_alive() {
    let mut fixture = Fixture::converged(3);
    fixture.fences = vec![Held {
        hold: Hold::SpecInvalid {
            message: "unknown field sise".to_owned(),
        },
        reason: None,
        instance: None,
        until: None,
    }];
    fixture.list("web-2", ProviderPhase::Exited(ExitReport::default()));
    let (plan, _) = fixture.planned();
    assert!(
        plan.steps
            .iter()
            .any(|step| step.cause == Cause::Because(Reason::Heal))
    );
    let accepted = &plan.next.conditions[&ConditionType::SpecAccepted];
    assert_eq!(
        (accepted.status, accepted.reason.as_str()),
        (Some(false), "SpecInvalid")
    );
    assert_eq!(plan.next.phase, GroupPhase::Held);
}

#[test]
fn a_clock_that_stepped_back_holds_voluntary_work_only() {
    let mut fixture = Fixture::converged(3);
    fixture.fences = vec![Held {
        hold: Hold::ClockStepped,
        reason: None,
        instance: None,
        until: None,
    }];
    fixture.group.spec.template = template(2);
    fixture.list("web-2", ProviderPhase::Exited(ExitReport::default()));
    let (plan, _) = fixture.planned();
    let reasons: BTreeSet<Cause> = plan.steps.iter().map(|step| step.cause).collect();
    assert!(reasons.contains(&Cause::Because(Reason::Heal)));
    assert!(!reasons.contains(&Cause::Because(Reason::Update)));
}

#[test]
fn an_outage_of_the_source_leaves_what_its_mode_leaves() {
    let steps = |mode, change: fn(&mut Fixture)| {
        let mut fixture = Fixture::converged(3);
        fixture.fences = vec![Held {
            hold: Hold::SourceOutage {
                mode,
                since: at(-600),
            },
            reason: None,
            instance: None,
            until: None,
        }];
        change(&mut fixture);
        let (plan, _) = fixture.planned();
        let steps = plan.steps.iter().map(|step| step.cause);
        steps.collect::<Vec<Cause>>()
    };
    let sick: fn(&mut Fixture) = |fixture| {
        let why = "503".to_owned();
        fixture.signal("web-2", CheckOutcome::Failing { why });
        fixture.later(119);
        fixture.later(120);
    };
    let ended: fn(&mut Fixture) =
        |fixture| fixture.list("web-2", ProviderPhase::Exited(ExitReport::default()));
    let wanted: fn(&mut Fixture) = |fixture| {
        fixture.group.spec.size = 5;
        fixture.group.spec.template = template(2);
    };
    let told = |change| OutageMode::ALL.map(|mode| !steps(mode, change).is_empty());
    // healOnly, holdCapacity, freeze.
    assert_eq!(told(sick), [true, false, false]);
    assert_eq!(told(ended), [true, true, false]);
    assert_eq!(told(wanted), [false, false, false]);
}

#[test]
fn the_templates_in_use_are_kept_and_the_others_forgotten() {
    let mut fixture = Fixture::converged(2);
    let one = fixture.digests();
    fixture.group.spec.template = template(2);
    let two = fixture.digests();
    let (plan, _) = fixture.planned();
    let kept: Vec<&Digests> = plan.next.templates.keys().collect();
    assert_eq!(kept.len(), 2);
    assert!(kept.contains(&&one) && kept.contains(&&two));

    fixture.recorded = plan.next;
    fixture.group.spec.template = template(3);
    let (plan, _) = fixture.planned();
    assert!(
        !plan.next.templates.contains_key(&two),
        "nothing was made of it"
    );
    assert!(plan.next.templates.contains_key(&one));
}

#[test]
fn ten_thousand_steps_are_not_planned_at_once() {
    let mut fixture = Fixture::converged(1500);
    fixture.group.spec.limits.destroy_max = Some(drover_model::Amount::Percent(100));
    fixture.group.spec.size = 0;
    let (plan, _) = fixture.planned();
    assert_eq!(plan.steps.len(), super::STEPS_MAX);
    assert!(plan.wake_at.is_some());

    let fixture = Fixture::empty(5000);
    let made: usize = creates(&fixture.planned().0)
        .iter()
        .map(|(slots, _)| slots.len())
        .sum();
    assert_eq!(made, 500);
}

#[test]
fn a_plan_reads_as_people_would_say_it() {
    let mut fixture = Fixture::converged(3);
    fixture.list("web-2", ProviderPhase::Exited(ExitReport::default()));
    fixture.group.spec.template = template(2);
    let (plan, report) = fixture.planned();
    let text = render(&plan, &report);
    let digest = fixture.digests();
    insta::assert_snapshot!(text.replace(digest.short(), "DIGEST"), @r"
    web: size 3, 3 total, 2 available (floor 3, ceiling 4), 0 updated, 3 outdated: Progressing
      destroy web-2 (heal)
      create web-4 from DIGEST (scaleOut)
      hold FirstBatch (update): waiting for the first instance of the new template to become available
    ");
}

mod admission;
mod adopt;
mod changes;
mod cluster;
mod ends;
mod heal;
mod health;
mod hourly;
mod in_place;
mod keep;
mod launch_room;
mod orders;
mod placement;
mod policies;
mod proving;
mod restart;
mod rollout;
mod room;
mod scaling;
mod shrink;
mod strangers;
mod unfinished;

#[test]
fn what_was_made_is_recorded_even_where_it_is_first_seen_on_a_partial_listing() {
    let mut fixture = Fixture::converged(2);
    fixture.group.spec.size = 3;
    fixture.create(&["web-3"], -5, IntentState::Sent);
    fixture.list("web-3", ProviderPhase::Running);
    fixture.listing.completeness = Completeness::Partial {
        why: "one page failed".to_owned(),
    };
    let (plan, _) = fixture.planned();
    assert!(matches!(plan.steps[0].action, Action::Settle(_)));
    // The plan is carried out; then the memory is lost, and a listing leaves the instance out.
    fixture.recorded = plan.next;
    fixture.intents.clear();
    fixture.memory.clear();
    fixture.listing.completeness = Completeness::Complete;
    fixture.unlist("web-3");
    assert_eq!(fixture.class("web-3"), "Suspect");
    let (plan, _) = fixture.later(15).planned();
    assert!(creates(&plan).is_empty(), "it is not made twice");
}

#[test]
fn where_no_number_is_left_nothing_is_made_and_the_group_still_shrinks() {
    for next in [u64::MAX, InstanceId::NUMBER_MAX + 1, InstanceId::NUMBER_MAX] {
        let mut fixture = Fixture::converged(2);
        fixture.recorded.next_number = next;
        let (plan, report) = fixture.planned();
        assert!(plan.steps.is_empty() && report.holds.is_empty());
        fixture.group.spec.size = 4;
        let (plan, report) = fixture.planned();
        assert_eq!((plan.steps.len(), plan.next.next_number), (0, next));
        assert_eq!(holds(&report), ["NumbersExhausted"]);
        fixture.group.spec.size = 1;
        let (plan, _) = fixture.planned();
        assert_eq!(plan.steps.len(), 1);
    }
}
