//! Taking over what somebody else made: what is planned, what is held, and what is never done before.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Action, Adopt, AdoptRevision, AdoptStep, AttachmentName, CheckOutcome, Completeness, Digests,
    ErrorClass, GroupName, Hold, InstanceId, IntentKind, IntentState, Manage, MemberId, MemberSpec,
    MembershipSpec, Plan, ProviderPhase, ProviderRef, QuorumSpec, Stranger, Survey, Surveyed,
};
use insta::assert_snapshot;

use crate::render;
use crate::testing::{Fixture, at, id, provider_ref, template};

pub(super) fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

pub(super) fn stranger(name: &str) -> Stranger {
    Stranger {
        provider_ref: ProviderRef::parse(name).unwrap(),
        phase: ProviderPhase::Running,
        address: Some("10.0.0.9".to_owned()),
        zone: None,
        created_at: Some(at(-7200)),
        tags: tags(&[("owner", "infra"), ("config", "new")]),
        member: None,
        claimed_by: None,
        unheard: None,
    }
}

pub(super) fn surveyed(strangers: Vec<Stranger>) -> Surveyed {
    Surveyed::Known {
        survey: Survey {
            completeness: Completeness::Complete,
            as_of: at(0),
            strangers,
            owned: Vec::new(),
        },
        contested: BTreeMap::new(),
    }
}

/// A group of `size` that adopts what is called so.
pub(super) fn adopting(size: u32, names: &[&str]) -> Fixture {
    let mut fixture = Fixture::empty(size);
    fixture.group.spec.adopt = Some(Adopt {
        match_tags: tags(&[("owner", "infra")]),
        revision: AdoptRevision::Assume,
        current: Vec::new(),
    });
    fixture.surveyed = Some(surveyed(names.iter().map(|name| stranger(name)).collect()));
    fixture
}

pub(super) fn edit(fixture: &mut Fixture, edit: impl FnOnce(&mut Vec<Stranger>)) {
    let Some(Surveyed::Known { survey, .. }) = &mut fixture.surveyed else {
        panic!("nothing was surveyed");
    };
    edit(&mut survey.strangers);
}

pub(super) fn adopt(fixture: &mut Fixture) -> &mut Adopt {
    fixture.group.spec.adopt.as_mut().unwrap()
}

pub(super) fn text(fixture: &Fixture) -> String {
    let (plan, report) = fixture.planned();
    render(&plan, &report)
}

pub(super) fn adopted(plan: &Plan) -> Vec<&AdoptStep> {
    let steps = plan.steps.iter();
    let adopts = steps.filter_map(|step| match &step.action {
        Action::Adopt(step) => Some(step),
        _ => None,
    });
    adopts.collect()
}

pub(super) fn codes(fixture: &Fixture) -> Vec<&'static str> {
    let (_, report) = fixture.planned();
    report.holds.iter().map(|held| held.hold.code()).collect()
}

/// Since when a recorded stranger is missing.
pub(super) fn since(fixture: &Fixture, name: &str) -> Option<drover_model::Timestamp> {
    let handle = ProviderRef::parse(name).unwrap();
    fixture.recorded.strangers[&handle].missing_since
}

/// The intent that a plan's adoption of the first stranger leaves.
fn begun(fixture: &Fixture) -> IntentKind {
    let (plan, _) = fixture.planned();
    IntentKind::Adopt((*adopted(&plan)[0]).clone())
}

#[test]
fn where_no_number_is_left_nothing_is_adopted() {
    let mut fixture = adopting(2, &["i-1", "i-2"]);
    fixture.recorded.next_number = InstanceId::NUMBER_MAX;
    let (plan, report) = fixture.planned();
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    let mut holds = report.holds.iter();
    assert!(holds.any(|held| matches!(held.hold, Hold::NumbersExhausted { .. })));
}

#[test]
fn adopts_what_there_is_and_makes_nothing_beside_it() {
    let fixture = adopting(3, &["i-2", "i-1", "i-3"]);
    assert_snapshot!(text(&fixture), @"
    web: size 3, 0 total, 3 to adopt, 0 available (floor 3, ceiling 4), 0 updated, 0 outdated: Progressing
      adopt i-1 as web-1, i-2 as web-2, i-3 as web-3 (adoption)
      hold Adopting: instances are being adopted, 3 to go, and nothing else is done before that
    ");
    let (plan, _) = fixture.planned();
    assert_eq!(plan.next.next_number, 4);
    assert_eq!(plan.next.strangers.len(), 3);
    // What there is, is what a later change comes from.
    assert_eq!(
        (plan.next.stable_size, plan.next.stable.clone()),
        (3, plan.next.target.clone())
    );
}

#[test]
fn a_new_group_that_finds_nothing_to_adopt_makes_nothing() {
    let mut fixture = adopting(3, &[]);
    assert_snapshot!(text(&fixture), @"
    web: size 3, 0 total, 0 available (floor 3, ceiling 4), 0 updated, 0 outdated: Held
      hold AdoptionRefused: what the document adopts cannot be adopted: nothing has all the tags of adopt.selector, and nothing is made beside what they should mean; correct them, or remove `adopt` to make the instances
    ");
    let made = Fixture::empty(3).planned().0.steps;
    let error = fixture.linted(|plan| {
        plan.steps.clone_from(&made);
        plan.next.next_number = 9;
    });
    assert_snapshot!(error.unwrap_err(), @"create would be done before everything is adopted");
    // What was taken over once is made again when it is gone.
    let (found, _) = adopting(3, &["i-1", "i-2", "i-3"]).planned();
    fixture.recorded = found.next;
    fixture.recorded.strangers.clear();
    assert_eq!(codes(&fixture), ["AdoptionRefused"], "it never was its own");
    fixture.recorded.adopted = Some(tags(&[("owner", "infra")]));
    assert_eq!(fixture.planned().0.steps.len(), 1);
    // Who wants nothing has it.
    let mut fixture = adopting(0, &[]);
    assert_eq!(codes(&fixture), Vec::<&str>::new());
    fixture.group.spec.size = 1;
    fixture.group.spec.adopt = None;
    fixture.surveyed = None;
    assert_eq!(fixture.planned().0.steps.len(), 1);
}

#[test]
fn who_only_watches_is_told_all_and_does_nothing() {
    let mut fixture = adopting(3, &["i-1", "i-2", "i-3"]);
    fixture.group.spec.manage = Manage::Observe;
    assert_snapshot!(text(&fixture), @"
    web: size 3, 0 total, 3 to adopt, 0 available (floor 3, ceiling 4), 0 updated, 0 outdated: Observed
      hold ObserveOnly (web-1): the group says manage: observe
      hold ObserveOnly (web-2): the group says manage: observe
      hold ObserveOnly (web-3): the group says manage: observe
    ");
    let (plan, _) = fixture.planned();
    assert_eq!((plan.next.next_number, plan.next.stable_size), (1, 3));
    // The promotion is no change of what there is.
    fixture.recorded = plan.next;
    fixture.group.spec.manage = Manage::Full;
    let (plan, _) = fixture.planned();
    assert_eq!((plan.change.clone(), adopted(&plan).len()), (None, 3));
}

#[test]
fn a_former_owner_who_scales_is_followed_while_watching() {
    let mut fixture = adopting(3, &["i-1", "i-2", "i-3"]);
    fixture.group.spec.manage = Manage::Observe;
    fixture.recorded = fixture.planned().0.next;
    edit(&mut fixture, |strangers| {
        strangers.extend([stranger("i-4"), stranger("i-5")]);
    });
    fixture.recorded = fixture.planned().0.next;
    assert_eq!(fixture.recorded.stable_size, 5);
    // What the size has no room for is no loss, and a larger one comes from all that there is.
    assert_eq!(fixture.planned().0.change, None);
    fixture.group.spec.size = 6;
    let (plan, _) = fixture.planned();
    let change = plan.change.unwrap();
    assert_eq!(
        (change.creates, change.replaces, change.destroys),
        (1, 0, 0)
    );
}

#[test]
fn nothing_is_touched_while_another_owner_acts_on_one_of_them() {
    let mut fixture = adopting(3, &["i-1", "i-2"]);
    edit(&mut fixture, |strangers| {
        strangers[1].claimed_by = Some("the InfraKit group workers".to_owned());
    });
    assert_snapshot!(text(&fixture), @"
    web: size 3, 0 total, 2 to adopt, 0 available (floor 3, ceiling 4), 0 updated, 0 outdated: Held
      hold OwnerStillActs: of what the group adopts, 1 still has an owner who makes and ends it, so nothing is touched: the InfraKit group workers
    ");
    // Waiting uses no numbers up.
    assert_eq!(fixture.planned().0.next.next_number, 1);
    let forced = fixture.linted(|plan| {
        let open = adopting(3, &["i-1"]);
        plan.steps = open.planned().0.steps;
        plan.next.next_number = 2;
    });
    assert_snapshot!(forced.unwrap_err(), @"i-1 would be adopted while another owner acts");
}

#[test]
fn an_owner_who_acts_again_on_what_was_adopted_holds_the_group_and_is_told() {
    let failing = || {
        let mut fixture = Fixture::converged(3);
        let why = "down".to_owned();
        fixture.signal("web-2", CheckOutcome::Failing { why });
        fixture.memory.get_mut(&id("web-2")).unwrap().failing_since = Some(at(-300));
        fixture
    };
    let healing = failing().planned().0.steps;
    assert!(!healing.is_empty());
    let mut fixture = failing();
    fixture.group.spec.adopt = adopting(3, &[]).group.spec.adopt;
    // A survey tells of what the group has already, as its former owner acts on it.
    let mut again = stranger("i-1");
    again.provider_ref = fixture.listing.instances[0].provider_ref.clone();
    again.claimed_by = Some("the InfraKit group workers".to_owned());
    fixture.surveyed = Some(surveyed(vec![again]));
    let (plan, _) = fixture.planned();
    assert!(plan.steps.is_empty());
    let codes: Vec<_> = plan
        .next
        .holds
        .iter()
        .map(|held| held.hold.code())
        .collect();
    assert_eq!(codes, ["OwnerStillActs"]);
    assert!(fixture.linted(|plan| plan.steps = healing.clone()).is_err());
    // With nobody else, it is a group like any other.
    edit(&mut fixture, Vec::clear);
    assert_eq!(fixture.planned().0.steps, healing);
}

#[test]
fn what_two_groups_ask_for_neither_takes() {
    let mut fixture = adopting(2, &["i-1", "i-2"]);
    let others = BTreeSet::from([GroupName::parse("db").unwrap()]);
    if let Some(Surveyed::Known { contested, .. }) = &mut fixture.surveyed {
        contested.insert(ProviderRef::parse("i-2").unwrap(), others);
    }
    assert_snapshot!(text(&fixture), @"
    web: size 2, 0 total, 2 to adopt, 0 available (floor 2, ceiling 3), 0 updated, 0 outdated: Held
      hold AdoptionContested: i-2 is what db would adopt too, so no group does; narrow adopt.selector until each instance matches one
    ");
}

#[test]
fn a_survey_that_failed_or_is_partial_or_old_or_was_never_made_is_not_nothing_to_adopt() {
    let failed = Surveyed::Unknown(Hold::ProviderFailed {
        class: ErrorClass::Auth,
        message: "no".to_owned(),
    });
    let mut partial = surveyed(Vec::new());
    let mut stale = surveyed(Vec::new());
    if let Surveyed::Known { survey, .. } = &mut partial {
        let why = "a page was lost".to_owned();
        survey.completeness = Completeness::Partial { why };
    }
    if let Surveyed::Known { survey, .. } = &mut stale {
        survey.as_of = at(-600);
    }
    let cases = [
        (Some(failed), "ProviderFailed"),
        (Some(partial), "ObservationPartial"),
        (Some(stale), "ObservationStale"),
        (None, "ObservationStale"),
    ];
    for (known, code) in cases {
        let mut fixture = adopting(3, &[]);
        fixture.surveyed = known;
        assert_eq!(codes(&fixture), [code]);
        assert_eq!(fixture.planned().0.steps, []);
        // And a group that has everything already heals nothing on the strength of it.
        let mut converged = Fixture::converged(3);
        converged
            .group
            .spec
            .adopt
            .clone_from(&fixture.group.spec.adopt);
        converged.surveyed.clone_from(&fixture.surveyed);
        converged.list("web-1", ProviderPhase::Terminated);
        assert_eq!(converged.planned().0.steps, []);
    }
}

#[test]
fn with_everything_adopted_the_group_is_one_like_any_other() {
    let mut fixture = Fixture::converged(3);
    fixture.group.spec.adopt = adopting(3, &[]).group.spec.adopt;
    fixture.surveyed = Some(surveyed(Vec::new()));
    assert_eq!(fixture.planned().0.steps, []);
    assert_eq!(fixture.planned().0.next.phase.as_str(), "Converged");
    // With room for it, a newcomer comes before everything else, healing too.
    fixture.group.spec.size = 4;
    fixture.list(
        "web-1",
        ProviderPhase::Exited(drover_model::ExitReport::default()),
    );
    edit(&mut fixture, |strangers| strangers.push(stranger("i-1")));
    assert_snapshot!(text(&fixture), @"
    web: size 4, 3 total, 1 to adopt, 2 available (floor 4, ceiling 5), 2 updated, 0 outdated: Progressing
      adopt i-1 as web-4 (adoption)
      hold Adopting: instances are being adopted, 1 to go, and nothing else is done before that
    ");
}

#[test]
fn what_is_a_member_already_or_has_ended_is_not_adopted_again() {
    let mut fixture = Fixture::converged(2);
    fixture.group.spec.adopt = adopting(2, &[]).group.spec.adopt;
    let ended = Stranger {
        phase: ProviderPhase::Stopping,
        ..stranger("i-9")
    };
    let known = Stranger {
        provider_ref: provider_ref("web-1"),
        ..stranger("i-8")
    };
    fixture.surveyed = Some(surveyed(vec![ended, known]));
    assert_eq!(fixture.planned().0.steps, []);
    assert_eq!(codes(&fixture), Vec::<&str>::new());
    // Nor is what the listing lacks for a moment.
    fixture.unlist("web-1");
    assert_eq!(adopted(&fixture.planned().0), Vec::<&AdoptStep>::new());
    // What is listed without an owner is nobody's.
    let mut listed = adopting(1, &["i-1"]);
    listed.list("web-1", ProviderPhase::Running);
    listed.listing.instances[0].provider_ref = ProviderRef::parse("i-1").unwrap();
    listed.listing.instances[0].ownership = None;
    assert_eq!(adopted(&listed.planned().0).len(), 1);
}

#[test]
fn a_kept_revision_is_replaced_by_no_template_and_healed_like_any_other() {
    let mut fixture = adopting(3, &["i-1", "i-2", "i-3"]);
    adopt(&mut fixture).revision = AdoptRevision::Keep;
    let (plan, _) = fixture.planned();
    let own = Digests::of_own_revision();
    assert!(adopted(&plan).iter().all(|step| step.digests == own));

    let mut fixture = Fixture::converged(3);
    for listed in &mut fixture.listing.instances {
        listed.ownership.as_mut().unwrap().digests = own.clone();
    }
    for was in fixture.recorded.instances.values_mut() {
        was.digests = own.clone();
    }
    assert_eq!(fixture.planned().0.steps, []);
    fixture.group.spec.template = template(2);
    let (plan, _) = fixture.planned();
    assert_eq!(plan.steps, []);
    // Broken, it goes, and what takes its place is of the template in Git.
    fixture.recorded = plan.next;
    fixture.signal(
        "web-2",
        CheckOutcome::Failing {
            why: "down".to_owned(),
        },
    );
    fixture.memory.get_mut(&id("web-2")).unwrap().failing_since = Some(at(-300));
    assert_snapshot!(text(&fixture), @"
    web: size 3, 3 total, 2 available (floor 3, ceiling 4), 2 updated, 0 outdated: Progressing
      drain web-2 (heal)
      create web-4 from wcde3ctf (scaleOut)
    ");
}

#[test]
fn what_has_the_tags_of_one_of_several_current_ones_is_current() {
    let mut fixture = adopting(3, &["i-1", "i-2", "i-3"]);
    let sets = ["new", "bootstrap"].map(|config| tags(&[("config", config)]));
    adopt(&mut fixture).current = sets.to_vec();
    edit(&mut fixture, |strangers| {
        for (stranger, config) in strangers.iter_mut().zip(["old", "bootstrap", "new"]) {
            stranger.tags = tags(&[("owner", "infra"), ("config", config)]);
        }
    });
    let (plan, _) = fixture.planned();
    let unknown = Digests::of_unknown_template();
    let steps = adopted(&plan);
    let outdated: Vec<bool> = steps.iter().map(|step| step.digests == unknown).collect();
    assert_eq!(outdated, [true, false, false]);
}

#[test]
fn what_lacks_the_tags_of_the_current_template_is_adopted_as_outdated() {
    let mut fixture = adopting(2, &["i-1", "i-2"]);
    adopt(&mut fixture).current = vec![tags(&[("config", "new")])];
    edit(&mut fixture, |strangers| {
        strangers[1].tags = tags(&[("owner", "infra"), ("config", "old")]);
    });
    let (plan, _) = fixture.planned();
    let unknown = Digests::of_unknown_template();
    let digests: Vec<_> = adopted(&plan)
        .iter()
        .map(|step| step.digests.clone())
        .collect();
    assert_eq!(digests, [fixture.digests(), unknown.clone()]);
    let outdated: Vec<bool> = plan
        .next
        .strangers
        .values()
        .map(|one| one.outdated)
        .collect();
    assert_eq!(outdated, [false, true]);
    // A person sees that something will be replaced.
    fixture.recorded = plan.next;
    let change = fixture.planned().0.change.unwrap();
    assert_eq!(
        (change.creates, change.replaces, change.destroys),
        (0, 2, 0)
    );
    // Once it is adopted, the rollout replaces it.
    let mut fixture = Fixture::converged(2);
    fixture.listing.instances[1]
        .ownership
        .as_mut()
        .unwrap()
        .digests = unknown;
    assert_snapshot!(text(&fixture), @"
    web: size 2, 2 total, 2 available (floor 2, ceiling 3), 1 updated, 1 outdated: Progressing
      create web-3 from ib2qdw74 (update)
      hold RolloutWindow (update): waiting for 1 on the way to become available
    ");
}

#[test]
fn an_adoption_is_followed_up_until_the_listing_shows_it() {
    let mut fixture = adopting(1, &["i-1"]);
    let kind = begun(&fixture);
    fixture.recorded = fixture.planned().0.next;
    fixture.intent(-10, kind, IntentState::Sent);
    assert_snapshot!(text(&fixture), @"
    web: size 1, 0 total, 1 to adopt, 0 available (floor 1, ceiling 2), 0 updated, 0 outdated: Progressing
      resend intent 1 (followUp)
      hold Adopting: instances are being adopted, 1 to go, and nothing else is done before that
    ");
    // Accepted, and the tags do not show yet: asked again only after a while.
    let acked = |at| IntentState::Acked {
        made: BTreeMap::new(),
        at,
    };
    fixture.intents[0].state = acked(at(-10));
    assert_eq!(fixture.planned().0.steps, []);
    assert_eq!(codes(&fixture), ["Adopting"]);
    fixture.intents[0].state = acked(at(-90));
    assert_eq!(fixture.planned().0.steps[0].action.verb(), "resend");
    // Neither listed nor surveyed: it is on its way, and nothing is made in its place.
    edit(&mut fixture, Vec::clear);
    assert_eq!(fixture.planned().0.steps, []);
    assert_eq!(codes(&fixture), ["Adopting"]);
    // Neither where the record lacks it, nor where nobody asked, or only a part was listed, since then.
    let mut unrecorded = finished_and_short();
    let mut other = adopting(1, &["i-1"]);
    other.recorded.next_number = 9;
    unrecorded.recorded.next_number = 10;
    unrecorded.intent(-60, begun(&other), acked(at(-60)));
    assert_eq!(unrecorded.planned().0.steps, []);
    fixture.intents[0].state = acked(at(-600));
    assert_eq!(fixture.classified().settled.len(), 1);
    let survey = fixture.surveyed.take();
    assert_eq!(fixture.classified().settled.len(), 0);
    fixture.surveyed = survey;
    let why = "the second page failed".to_owned();
    fixture.listing.completeness = Completeness::Partial { why };
    assert_eq!(fixture.classified().settled.len(), 0);
    fixture.listing.completeness = Completeness::Complete;
    fixture.intents[0].state = acked(at(-90));
    // Listed: it is over.
    fixture.list("web-1", ProviderPhase::Running);
    fixture.listing.instances[0].provider_ref = ProviderRef::parse("i-1").unwrap();
    assert_snapshot!(text(&fixture), @"
    web: size 1, 1 total, 0 available (floor 1, ceiling 2), 0 updated, 0 outdated: Progressing
      settle intent 1 (followUp)
    ");
}

#[test]
fn what_is_gone_before_it_was_adopted_is_let_go_and_replaced() {
    let mut fixture = adopting(1, &["i-1"]);
    let kind = begun(&fixture);
    fixture.recorded = fixture.planned().0.next;
    fixture.intent(-600, kind, IntentState::Sent);
    edit(&mut fixture, Vec::clear);
    let (plan, report) = fixture.planned();
    assert_snapshot!(render(&plan, &report), @"
    web: size 1, 0 total, 0 available (floor 1, ceiling 2), 0 updated, 0 outdated: Held
      settle intent 1 (followUp)
      hold StrangersMissing: the provider's answer lacks 1 instance that the group is to adopt; nothing is created or ended until each is shown again, or gone for certain
    ");
    fixture.recorded = plan.next;
    assert_eq!(since(&fixture, "i-1"), Some(at(0)));
    let strangers = &mut fixture.recorded.strangers;
    strangers.values_mut().next().unwrap().missing_since = Some(at(-120));
    // An adoption without effect has given the group nothing, though it used a number up.
    assert_eq!(codes(&fixture), ["AdoptionRefused"]);
    fixture.recorded.adopted = Some(tags(&[("owner", "infra")]));
    assert_snapshot!(text(&fixture), @"
    web: size 1, 0 total, 0 available (floor 1, ceiling 2), 0 updated, 0 outdated: Progressing
      settle intent 1 (followUp)
      create web-2 from ib2qdw74 (scaleOut)
    ");
    // Not on the word of a survey that failed.
    fixture.surveyed = Some(Surveyed::Unknown(Hold::ObservationStale));
    assert_eq!(fixture.planned().0.steps, []);
}

#[test]
fn a_refused_adoption_holds_and_is_tried_again_later() {
    let mut fixture = adopting(1, &["i-1"]);
    let kind = begun(&fixture);
    fixture.recorded = fixture.planned().0.next;
    let failed = |class, at| IntentState::Failed {
        class,
        message: "it cannot change labels".to_owned(),
        at,
    };
    fixture.intent(-60, kind, failed(ErrorClass::InvalidSpec, at(-60)));
    assert_snapshot!(text(&fixture), @"
    web: size 1, 0 total, 1 to adopt, 0 available (floor 1, ceiling 2), 0 updated, 0 outdated: Held
      hold AdoptionRefused: what the document adopts cannot be adopted: i-1: it cannot change labels
      hold Adopting: instances are being adopted, 1 to go, and nothing else is done before that
    ");
    fixture.intents[0].state = failed(ErrorClass::InvalidSpec, at(-300));
    assert_eq!(fixture.planned().0.steps[0].action.verb(), "resend");
    fixture.intents[0].state = failed(ErrorClass::Throttled, at(-14));
    assert_eq!(fixture.planned().0.steps, []);
    fixture.intents[0].state = failed(ErrorClass::Throttled, at(-15));
    assert_eq!(fixture.planned().0.steps[0].action.verb(), "resend");
    // It does not exist: decided anew.
    fixture.intents[0].state = failed(ErrorClass::NotFound, at(-1));
    let (plan, _) = fixture.planned();
    let verbs: Vec<_> = plan.steps.iter().map(|step| step.action.verb()).collect();
    assert_eq!(verbs, ["settle", "adopt"]);
    // The document says something else by now: what was refused is not asked again.
    fixture.intents[0].state = failed(ErrorClass::InvalidSpec, at(-300));
    adopt(&mut fixture).revision = AdoptRevision::Keep;
    let (plan, _) = fixture.planned();
    let verbs: Vec<_> = plan.steps.iter().map(|step| step.action.verb()).collect();
    assert_eq!(verbs, ["settle"]);
}

#[test]
fn an_intent_that_was_never_sent_is_closed_and_decided_anew() {
    let mut fixture = adopting(1, &["i-1"]);
    let kind = begun(&fixture);
    fixture.recorded = fixture.planned().0.next;
    fixture.intent(-10, kind, IntentState::Intended);
    let (plan, _) = fixture.planned();
    let verbs: Vec<_> = plan.steps.iter().map(|step| step.action.verb()).collect();
    assert_eq!(verbs, ["settle", "adopt"]);
    assert_eq!(adopted(&plan)[0].instance, id("web-2"));
}

pub(super) fn quorum(members: &[(&str, bool)]) -> QuorumSpec {
    let members = members.iter().map(|(name, attached)| MemberSpec {
        id: MemberId::parse(name).unwrap(),
        attachments: attached
            .then(|| AttachmentName::parse("data").unwrap())
            .into_iter()
            .collect(),
    });
    QuorumSpec {
        members: members.collect(),
        membership: MembershipSpec::Static,
        stabilize: std::time::Duration::ZERO,
        allow_downtime: false,
    }
}

pub(super) fn members(names: &[(&str, Option<&str>)], spec: QuorumSpec) -> Fixture {
    let handles: Vec<&str> = names.iter().map(|(handle, _)| *handle).collect();
    let mut fixture = adopting(spec.members.len() as u32, &handles);
    fixture.group.spec.quorum = Some(spec);
    edit(&mut fixture, |strangers| {
        for (stranger, (_, member)) in strangers.iter_mut().zip(names) {
            stranger.member = member.map(str::to_owned);
        }
    });
    fixture
}

#[test]
fn members_of_a_quorum_keep_their_places_and_nobody_is_started_for_the_first_time() {
    let three = || quorum(&[("m1", false), ("m2", false), ("m3", false)]);
    let fixture = members(&[("i-1", Some("m3")), ("i-2", Some("m1"))], three());
    assert_snapshot!(text(&fixture), @"
    web: size 3, 0 total, 2 to adopt, 0 available (floor 3, ceiling 4), 0 updated, 0 outdated: Progressing
      adopt i-1 as web-1 (m3), i-2 as web-2 (m1) (adoption)
      hold Adopting: instances are being adopted, 2 to go, and nothing else is done before that
    ");
    let (plan, _) = fixture.planned();
    let known = plan.next.quorum.unwrap();
    let voters: Vec<_> = known.voters.iter().map(MemberId::as_str).collect();
    assert!(known.established);
    assert_eq!(voters, ["m1", "m3"]);

    let refused = |names: &[(&str, Option<&str>)], spec| {
        let fixture = members(names, spec);
        let (plan, report) = fixture.planned();
        assert_eq!(plan.steps, []);
        report.holds[0].hold.to_string()
    };
    let what = "what the document adopts cannot be adopted: ";
    let told = [
        refused(&[("i-1", None)], three()),
        refused(&[("i-1", Some("x1"))], three()),
        refused(&[("i-1", Some("m1")), ("i-2", Some("m1"))], three()),
        refused(&[("i-1", Some("m1"))], quorum(&[("m1", true)])),
    ];
    let told = told.map(|told| told.strip_prefix(what).unwrap().to_owned());
    assert_snapshot!(told.join("\n"), @r#"
    nothing says which member i-1 is
    i-1 is the member "x1", which the document does not have
    i-2 is the member m1, and so is another instance
    the member m1 has attachments in the document, and nobody can tell what of i-1 they are; take it over without them
    "#);
}

#[test]
fn the_lint_sees_adoptions_that_may_not_be() {
    let plain = || adopting(2, &["i-1", "i-2"]);
    let tampered = |fixture: &Fixture, tamper: &dyn Fn(&mut AdoptStep)| {
        let error = fixture.linted(|plan| {
            if let Action::Adopt(step) = &mut plan.steps[1].action {
                tamper(step);
            }
        });
        error.unwrap_err().to_string()
    };
    let handle = |name: &str| ProviderRef::parse(name).unwrap();
    let told = [
        tampered(&plain(), &|step| step.provider_ref = handle("i-7")),
        tampered(&plain(), &|step| step.provider_ref = handle("i-1")),
        tampered(&plain(), &|step| step.digests = Digests::of_own_revision()),
        tampered(&plain(), &|step| step.instance = id("web-9")),
        tampered(&plain(), &|step| step.instance = id("db-2")),
    ];
    assert_snapshot!(told.join("\n"), @"
    i-7 is not what the document adopts
    i-1 would be adopted twice
    i-2 would count as another revision than the document says
    i-2 would get a number that is given out again
    db-2 is not of group web
    ");
    // Nothing else before everything is adopted.
    let made = Fixture::empty(2).planned().0.steps;
    let error = plain().linted(|plan| {
        plan.steps.clone_from(&made);
        plan.next.next_number = 9;
    });
    assert_snapshot!(error.unwrap_err(), @"create would be done before everything is adopted");
    // And nothing at all where nobody knows what there is.
    let adopts = plain().planned().0;
    let mut unknown = plain();
    unknown.surveyed = None;
    let error = unknown.linted(|plan| *plan = adopts.clone());
    assert_snapshot!(error.unwrap_err(), @"adopt would be done before everything is adopted");
}

/// A group of three that has adopted all there was, and of which one instance was lost since.
fn finished_and_short() -> Fixture {
    let mut fixture = adopting(3, &[]);
    fixture.settle(3);
    fixture.recorded = fixture.planned().0.next;
    assert_eq!(fixture.recorded.adopted, Some(tags(&[("owner", "infra")])));
    fixture.unlist("web-3");
    fixture.recorded.instances.remove(&id("web-3"));
    fixture
}

pub(super) fn failed() -> Surveyed {
    Surveyed::Unknown(Hold::ProviderFailed {
        class: ErrorClass::Unknown,
        message: "no answer to a survey within 60 s".to_owned(),
    })
}

#[test]
fn a_survey_that_fails_withholds_only_what_it_is_for_once_everything_is_adopted() {
    let mut fixture = finished_and_short();
    fixture.surveyed = Some(failed());
    assert_snapshot!(text(&fixture), @"
    web: size 3, 2 total, 2 available (floor 3, ceiling 4), 2 updated, 0 outdated: Progressing
      create web-4 from ib2qdw74 (scaleOut)
      hold AdoptionUnknown: nobody knows what there is to adopt, so nothing is, and the group goes on with what it has: the provider could not be asked (unknown): no answer to a survey within 60 s
    ");
    // Nothing is adopted on it, whatever the planner believes.
    let mut adopts = adopting(1, &["i-1"]);
    adopts.recorded.next_number = 8;
    let adopts = adopts.planned().0;
    let error = fixture.linted(|plan| {
        plan.steps.clone_from(&adopts.steps);
        plan.next.next_number = 9;
    });
    assert_snapshot!(error.unwrap_err(), @"i-1 is not what the document adopts");
    // An answer that is late is told by nothing.
    fixture.surveyed = None;
    assert_eq!(codes(&fixture), Vec::<&str>::new());
    assert_eq!(fixture.planned().0.steps.len(), 1);
    // And what was noted stands until there is an answer.
    assert_eq!(fixture.planned().0.next.adopted, fixture.recorded.adopted);
    let mut rests = adopting(3, &[]);
    rests.settle(3);
    rests.recorded = rests.planned().0.next;
    rests.surveyed = Some(failed());
    assert_snapshot!(text(&rests), @"
    web: size 3, 3 total, 3 available (floor 3, ceiling 4), 3 updated, 0 outdated: Converged
      hold AdoptionUnknown: nobody knows what there is to adopt, so nothing is, and the group goes on with what it has: the provider could not be asked (unknown): no answer to a survey within 60 s
    ");
}

#[test]
fn who_may_have_something_to_adopt_waits_for_an_answer() {
    let waits = |edit: &dyn Fn(&mut Fixture)| {
        let mut fixture = finished_and_short();
        edit(&mut fixture);
        fixture.surveyed = Some(failed());
        assert_eq!(fixture.planned().0.steps, []);
        assert_eq!(codes(&fixture), ["ProviderFailed"]);
        let mut made = finished_and_short();
        made.recorded.next_number = 9;
        let made = made.planned().0;
        let error = fixture.linted(|plan| *plan = made.clone()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "create would be done before everything is adopted"
        );
        // Nor does a place that changed pass for the old one afterwards.
        fixture.recorded = fixture.planned().0.next;
        assert_eq!(fixture.planned().0.steps, []);
    };
    // It never had an answer.
    waits(&|fixture| fixture.recorded.adopted = None);
    // It asks for something else by now, or somewhere else.
    waits(&|fixture| adopt(fixture).match_tags = tags(&[("owner", "ops")]));
    waits(&|fixture| {
        fixture.provider.settings =
            drover_model::Value::Map([("region".to_owned(), drover_model::Value::Null)].into());
    });
    // The last answer had one more.
    waits(&|fixture| {
        fixture.surveyed = Some(surveyed(vec![stranger("i-9")]));
        fixture.recorded = fixture.planned().0.next;
        assert_eq!(fixture.recorded.adopted, None);
    });
}

#[test]
fn that_everything_is_adopted_is_noted_on_an_answer_alone() {
    // A group that has nothing yet, or wants nothing, has adopted nothing.
    assert_eq!(adopting(3, &[]).planned().0.next.adopted, None);
    assert_eq!(adopting(0, &[]).planned().0.next.adopted, None);
    let noted = finished_and_short().recorded.adopted;
    let what = "everything would count as adopted, which no survey says";
    let mut unknown = adopting(3, &[]);
    unknown.settle(3);
    unknown.surveyed = Some(failed());
    for fixture in [unknown, adopting(3, &["i-1"]), adopting(3, &[])] {
        let error = fixture.linted(|plan| plan.next.adopted.clone_from(&noted));
        assert_eq!(error.unwrap_err().to_string(), what);
    }
    // It is over when the document adopts nothing any more.
    let mut fixture = finished_and_short();
    fixture.group.spec.adopt = None;
    fixture.surveyed = None;
    assert_eq!(fixture.planned().0.next.adopted, None);
}
