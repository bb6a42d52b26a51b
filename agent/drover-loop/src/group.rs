//! One group in one pass: judge the document, decide, plan, check the plan. Pure; what it rests on is
//! in [`GroupInput`], what follows from it in [`Judged`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    AcceptedDocument, ApprovalRule, Approvals, ApprovedChange, Authors, BudgetDecision, Change,
    Classified, Decisions, Deleting, Drift, Epoch, FleetName, Group, GroupName, GroupSpec,
    HealthSignal, Held, Hold, InstanceId, InstanceMemory, Intent, Listing, Numbers, Peers,
    PlaceDecision, Plan, PlanReport, PolicyName, Protection, Readings, Reason, Recommendation,
    RecordedGroup, RosterView, SpentApprovals, Surveyed, Timestamp, Verdict,
};
use drover_plan::{
    ApprovalInput, ApprovalReview, ChangeInput, ClassifyInput, Desired, LintError, PlanError,
    PlanInput, ProviderFacts, Review,
};
use drover_policy::{EarlyFacts, GroupFacts, GroupSummary, PolicySet, SourceFacts};
use drover_spec::record::{self, PlanOutcome};

use crate::agent::plain;
use crate::facts::early_facts;
use crate::inputs;
use crate::survey::Tags;
use crate::task::Keep;

/// A document of the repository that is not in force yet.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// The document.
    pub(crate) group: Arc<Group>,
    /// The same as written.
    pub(crate) document: AcceptedDocument,
}

/// Everything that is decided about a group rests on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupInput<'a> {
    pub(crate) now: Timestamp,
    pub(crate) fleet: &'a FleetName,
    pub(crate) epoch: Epoch,
    /// With `next_number` above every number that was ever used.
    pub(crate) recorded: &'a RecordedGroup,
    pub(crate) memory: &'a BTreeMap<InstanceId, InstanceMemory>,
    pub(crate) recommendations: &'a [Recommendation],
    /// The document in force, parsed.
    pub(crate) accepted: Option<&'a Arc<Group>>,
    pub(crate) candidate: Option<&'a Candidate>,
    /// The removal that a commit asks for.
    pub(crate) removal: Option<&'a Deleting>,
    /// Who wrote the one or the other.
    pub(crate) authors: &'a Authors,
    pub(crate) provider: &'a ProviderFacts,
    pub(crate) visibility: Duration,
    pub(crate) listing: &'a Listing,
    /// What there is to adopt, by the tags that a document asks for.
    pub(crate) surveyed: &'a BTreeMap<Tags, Surveyed>,
    pub(crate) signals: &'a BTreeMap<InstanceId, HealthSignal>,
    pub(crate) intents: &'a [Intent],
    /// The membership list of its program. None: nobody was asked.
    pub(crate) roster: Option<&'a RosterView>,
    /// The policies that judge, the current ones last.
    pub(crate) policies: &'a [Arc<PolicySet>],
    pub(crate) source: &'a SourceFacts,
    pub(crate) groups: &'a BTreeMap<GroupName, GroupSummary>,
    pub(crate) readings: &'a Readings,
    /// What people said about changes.
    pub(crate) approvals: &'a Approvals,
    /// What the planner knows of them.
    pub(crate) peers: &'a Peers,
    /// What is in the way, and why newer documents are not in force.
    pub(crate) fences: &'a [Held],
    pub(crate) keep: Keep,
}

/// What was decided about a group.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) classified: Classified,
    pub(crate) plan: Plan,
    pub(crate) report: PlanReport,
    pub(crate) decisions: Decisions,
    /// The document in force from now on.
    pub(crate) in_force: Arc<Group>,
    /// Digests of the policies that judged, by name.
    pub(crate) policies: BTreeMap<String, String>,
    /// For each earlier set of policies, whether something is withheld by it alone.
    pub(crate) guards_withhold: Vec<bool>,
    /// What is needed to compute the plan again, where it changes anything.
    pub(crate) inputs: Option<String>,
}

/// Why nothing was decided.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum JudgeError {
    /// No document was ever accepted, and this is why not.
    #[error("no document is in force")]
    NothingInForce(Vec<Held>),
    /// A mistake in drover.
    #[error("no plan could be made")]
    Plan(#[source] PlanError),
    /// A mistake in drover: the plan breaks a rule and is not carried out.
    #[error("the plan breaks a rule and is not carried out")]
    Lint(#[source] LintError),
}

/// Judges, decides and plans.
pub(crate) fn judge(input: &GroupInput<'_>) -> Result<Judged, JudgeError> {
    let mut fences = input.fences.to_vec();
    let mut guards = vec![false; input.policies.len().saturating_sub(1)];
    let mut recorded = None;
    let mut in_force = input.accepted.cloned();
    let mut document = input.recorded.accepted.clone();
    if let Some(candidate) = input.candidate
        && input.recorded.deleting.is_none()
    {
        let group = &candidate.group;
        let early = early(input, group, input.recorded);
        let drift = &early.decisions.drift;
        let change = change_to(input, group, drift);
        let change = change.or_else(|| change_of_document(input, candidate, drift));
        match review_change(input, group, change, (&early, &mut guards)) {
            Reviewed::Proceed(Consent { approved, spent }) => {
                in_force = Some(Arc::clone(&candidate.group));
                document = Some(candidate.document.clone());
                let accepted = RecordedGroup {
                    accepted: document.clone(),
                    approved,
                    spent,
                    ..input.recorded.clone()
                };
                recorded = Some(accepted);
            }
            Reviewed::Withheld(held) => fences.push(held),
        }
    }
    if let (Some(removal), Some(group)) = (input.removal, &in_force)
        && input.recorded.deleting.is_none()
    {
        let early = early(input, group, input.recorded);
        let change = change_away(input, group);
        match review_change(input, group, change, (&early, &mut guards)) {
            Reviewed::Proceed(Consent { approved, spent }) => {
                recorded = Some(RecordedGroup {
                    deleting: Some(removal.clone()),
                    approved,
                    spent,
                    ..input.recorded.clone()
                });
            }
            Reviewed::Withheld(held) => fences.push(held),
        }
    }
    if in_force.is_none() && document.is_some() {
        let message = "the document in force cannot be read by this version of drover".to_owned();
        fences.push(plain(Hold::SpecInvalid { message }));
    }
    let (Some(in_force), Some(document)) = (in_force, document) else {
        return Err(JudgeError::NothingInForce(fences));
    };
    if in_force.spec.provider != input.provider.name {
        // A withheld document names another provider than the one in force.
        return Err(JudgeError::NothingInForce(fences));
    }
    let recorded = recorded.as_ref().unwrap_or(input.recorded);
    let mut judged = decide(input, recorded, &in_force, &document, &fences)?;
    mark_guards(&mut guards, input, &judged);
    judged.guards_withhold = guards;
    Ok(judged)
}

fn classify_input<'a>(
    input: &GroupInput<'a>,
    spec: &'a GroupSpec,
    recorded: &'a RecordedGroup,
) -> ClassifyInput<'a> {
    ClassifyInput {
        now: input.now,
        group: &input.recorded.name,
        spec,
        listing: input.listing,
        signals: input.signals,
        memory: input.memory,
        intents: input.intents,
        recorded,
        visibility: input.visibility,
        health: &[],
        surveyed: spec
            .adopt
            .as_ref()
            .and_then(|adopt| input.surveyed.get(&adopt.match_tags)),
        provider: input.provider,
        emptied: input.peers.emptied.as_ref(),
    }
}

/// A group with what its policies decide before everything else.
struct Early {
    classified: Classified,
    facts: EarlyFacts,
    decisions: Decisions,
}

/// Asks the policies in force about the health of instances and about what differs between templates,
/// and classifies the instances with the answers.
///
/// Earlier policies are not asked: the two say what a group is, and withhold nothing.
fn early(input: &GroupInput<'_>, group: &Group, recorded: &RecordedGroup) -> Early {
    let classify_input = classify_input(input, &group.spec, recorded);
    let classified = drover_plan::classify(&classify_input);
    let nothing = |classified| Early {
        classified,
        facts: EarlyFacts::default(),
        decisions: Decisions::default(),
    };
    let Some(set) = current(input).filter(|set| set.asks_early(&group.labels)) else {
        return nothing(classified);
    };
    let facts = early_facts(&classify_input, &classified, input.provider);
    let drift = Drift::default();
    let size = recorded.size;
    let numbers = drover_plan::numbers(&group.spec, size, &classified, recorded, &drift);
    let seen = Seen {
        classified: &classified,
        numbers: &numbers,
        early: &facts,
        drift: &drift,
    };
    let decisions = set.decide_early(&GroupFacts {
        recorded,
        ..group_facts(input, group, seen)
    });
    let classified = if decisions.health.is_empty() {
        classified
    } else {
        drover_plan::classify(&ClassifyInput {
            health: &decisions.health,
            ..classify_input
        })
    };
    Early {
        classified,
        facts,
        decisions,
    }
}

/// What policies are told of a group's instances.
#[derive(Clone, Copy)]
struct Seen<'a> {
    classified: &'a Classified,
    numbers: &'a Numbers,
    early: &'a EarlyFacts,
    drift: &'a Drift,
}

/// Returns the policies in force, without the earlier ones that still judge.
fn current<'a>(input: &GroupInput<'a>) -> Option<&'a PolicySet> {
    input.policies.last().map(|set| &**set)
}

/// Asks every set of policies about a change that is not in force yet: the stricter wins.
fn review_change(
    input: &GroupInput<'_>,
    group: &Group,
    change: Option<Change>,
    (early, guards): (&Early, &mut [bool]),
) -> Reviewed {
    let Some(change) = change else {
        return Reviewed::Proceed(Consent {
            approved: input.recorded.approved.clone(),
            spent: input.recorded.spent.clone(),
        });
    };
    let size = input
        .recorded
        .size
        .max(u32::from(input.accepted.is_none()) * group.spec.size);
    let drift = &early.decisions.drift;
    let classified = &early.classified;
    let numbers = drover_plan::numbers(&group.spec, size, classified, input.recorded, drift);
    let seen = Seen {
        classified,
        numbers: &numbers,
        early: &early.facts,
        drift,
    };
    let facts = group_facts(input, group, seen);
    let mut verdicts = Vec::new();
    let mut wanted = Vec::new();
    for (position, set) in input.policies.iter().enumerate() {
        let said = set.validate(&facts, &change);
        if let Some(guard) = guards.get_mut(position) {
            *guard |= said.iter().any(|it| it.withholds() || it.needs_approval());
        }
        let asks = said.iter().filter(|verdict| verdict.needs_approval());
        wanted.extend(asks.map(|verdict| (verdict.clone(), set.approvals(&verdict.binding))));
        verdicts.extend(said);
    }
    if let Review::Withheld(held) = drover_plan::review(Some(&change), &verdicts) {
        return Reviewed::Withheld(held);
    }
    approve(input, change, (&wanted, drift))
}

/// Asks whether people have approved a change as far as `wanted` says that they must.
fn approve(
    input: &GroupInput<'_>,
    change: Change,
    (wanted, drift): (&[(Verdict, ApprovalRule)], &Drift),
) -> Reviewed {
    let in_force = input.accepted.filter(|_| !input.recorded.spent.is_empty());
    let in_force = in_force.and_then(|group| change_to(input, group, drift));
    let review = drover_plan::review_approvals(&ApprovalInput {
        now: input.now,
        change: &change,
        recorded: input.recorded,
        in_force: in_force.as_ref().map(|change| &change.id),
        authors: input.authors,
        wanted,
        approvals: input.approvals,
    });
    match review {
        ApprovalReview::Withheld(held) => Reviewed::Withheld(held),
        ApprovalReview::Approved { by, authors, spent } => {
            let approved = (!by.is_empty()).then_some(ApprovedChange {
                change: change.id,
                authors,
                approvals: by,
            });
            Reviewed::Proceed(Consent { approved, spent })
        }
    }
}

/// What comes of a change that is not in force yet.
enum Reviewed {
    /// It comes into force.
    Proceed(Consent),
    /// It does not, yet.
    Withheld(Held),
}

/// What people said to a change that comes into force.
struct Consent {
    /// What they approved. None: nothing asked for it.
    approved: Option<ApprovedChange>,
    /// Which approvals are used from now on.
    spent: SpentApprovals,
}

/// Returns the change that removes the group.
fn change_away(input: &GroupInput<'_>, group: &Group) -> Option<Change> {
    drover_plan::change(&ChangeInput {
        group: &group.name,
        recorded: input.recorded,
        to: None,
        policies: digests_for(input, group),
        drift: &Drift::default(),
    })
}

/// Returns the change to a document that has no effect on instances and says something else than the one in force. None: it says
/// the same, or it merely suspends something or ends that, which policies are not asked about.
fn change_of_document(
    input: &GroupInput<'_>,
    candidate: &Candidate,
    drift: &Drift,
) -> Option<Change> {
    let group = &candidate.group;
    let in_force = input.accepted?;
    if group.is_kept_as(in_force) {
        return None;
    }
    let input = change_input(input, group, drift);
    drover_plan::change_of_document(&input, &candidate.document.text)
}

/// Returns the change that `group`'s document asks for, with the digests of the policies in force.
fn change_to(input: &GroupInput<'_>, group: &Group, drift: &Drift) -> Option<Change> {
    drover_plan::change(&change_input(input, group, drift))
}

fn change_input<'a>(input: &GroupInput<'a>, group: &'a Group, drift: &'a Drift) -> ChangeInput<'a> {
    let sized = current(input).is_some_and(|set| set.has_size_policy(&group.labels));
    let size = drover_plan::change_size(&group.spec, input.recorded, sized);
    let digests = drover_plan::target_digests(&group.spec, input.provider, input.recorded);
    ChangeInput {
        group: &group.name,
        recorded: input.recorded,
        to: Some((&group.spec, size, digests)),
        policies: digests_for(input, group),
        drift,
    }
}

fn digests_for(input: &GroupInput<'_>, group: &Group) -> BTreeMap<String, String> {
    current(input)
        .map(|set| set.digests_for(&group.labels))
        .unwrap_or_default()
}

fn group_facts<'a>(input: &GroupInput<'a>, group: &'a Group, seen: Seen<'a>) -> GroupFacts<'a> {
    let Seen {
        classified,
        numbers,
        early,
        drift,
    } = seen;
    GroupFacts {
        now: input.now,
        group,
        old: input.accepted.map(|group| &group.spec),
        numbers,
        recorded: input.recorded,
        classified: Some(classified),
        source: input.source,
        groups: input.groups,
        readings: input.readings,
        early: Some(early),
        drift,
    }
}

/// Classifies the instances, and asks every set of policies about them.
fn decided(
    input: &GroupInput<'_>,
    recorded: &RecordedGroup,
    in_force: &Group,
) -> (Classified, Decisions) {
    let Early {
        classified,
        facts: early_facts,
        decisions: early,
    } = early(input, in_force, recorded);
    let size = if recorded.stable.is_none() && recorded.size == 0 {
        in_force.spec.size
    } else {
        recorded.size
    };
    let drift = &early.drift;
    let numbers = drover_plan::numbers(&in_force.spec, size, &classified, recorded, drift);
    let seen = Seen {
        classified: &classified,
        numbers: &numbers,
        early: &early_facts,
        drift,
    };
    let facts = GroupFacts {
        recorded,
        ..group_facts(input, in_force, seen)
    };
    let decisions = decisions(input.policies, &facts).after(early);
    (classified, decisions)
}

fn decide(
    input: &GroupInput<'_>,
    recorded: &RecordedGroup,
    in_force: &Arc<Group>,
    document: &AcceptedDocument,
    fences: &[Held],
) -> Result<Judged, JudgeError> {
    let (classified, decisions) = decided(input, recorded, in_force);
    let policies = digests_for(input, in_force);
    let desired = match &recorded.deleting {
        Some(deleting) => Desired::Deleting {
            spec: &in_force.spec,
            revision: &deleting.revision,
        },
        None => Desired::Present {
            group: in_force,
            document,
        },
    };
    let plan_input = PlanInput {
        now: input.now,
        fleet: input.fleet,
        epoch: input.epoch,
        desired,
        provider: input.provider,
        classified: &classified,
        intents: input.intents,
        roster: input.roster,
        recorded,
        decisions: &decisions,
        recommendations: input.recommendations,
        policies: &policies,
        peers: input.peers,
        fences,
    };
    let (plan, report) = drover_plan::plan(&plan_input).map_err(JudgeError::Plan)?;
    drover_plan::lint(&plan_input, &plan).map_err(JudgeError::Lint)?;
    let changes = !plan.steps.is_empty() || plan.next != *input.recorded;
    let inputs = (changes && input.keep == Keep::Everything).then(|| {
        let source = &input.source.revision;
        let readings = readings(input, in_force);
        let classify_input = ClassifyInput {
            health: &decisions.health,
            ..classify_input(input, &in_force.spec, recorded)
        };
        let inputs = inputs::collect(source, document, &classify_input, &plan_input, readings);
        let outcome = PlanOutcome {
            plan: &plan,
            report: &report,
        };
        record::encode_inputs(&inputs, &outcome)
    });
    Ok(Judged {
        inputs,
        plan,
        report,
        decisions,
        policies,
        in_force: Arc::clone(in_force),
        classified,
        guards_withhold: Vec::new(),
    })
}

/// Returns what the group's policies were told of metrics.
fn readings(input: &GroupInput<'_>, group: &Group) -> Readings {
    let sets = input.policies.iter();
    let metrics = sets.flat_map(|set| set.metrics(Some(&group.labels)).into_values());
    let found = metrics.filter_map(|metric| {
        let reading = input.readings.get(&metric.query)?;
        Some((metric.query.clone(), reading.clone()))
    });
    found.collect()
}

/// Joins the decisions of every set: the size and the preferences of the current one, and what any of
/// them withholds.
fn decisions(sets: &[Arc<PolicySet>], facts: &GroupFacts<'_>) -> Decisions {
    let Some((current, earlier)) = sets.split_last() else {
        return Decisions::default();
    };
    let mut decisions = current.decide(facts);
    for set in earlier {
        let before = set.decide(facts);
        for (reason, verdicts) in before.gates {
            let known = decisions.gates.entry(reason).or_default();
            for verdict in verdicts {
                if !known.iter().any(|known| same_clause(known, &verdict)) {
                    known.push(verdict);
                }
            }
        }
        join_limits(&mut decisions, before.budgets, before.places);
        for protection in before.protections {
            let told = |known: &Protection| {
                same_clause(&known.verdict, &protection.verdict)
                    && known.instances == protection.instances
            };
            if !decisions.protections.iter().any(told) {
                decisions.protections.push(protection);
            }
        }
        if let Some(before) = before.analysis {
            let known = decisions.analysis.as_ref();
            if known.is_none_or(|known| known.result < before.result) {
                decisions.analysis = Some(before);
            }
        }
        decisions.review_at = [decisions.review_at, before.review_at]
            .into_iter()
            .flatten()
            .min();
    }
    decisions
}

/// The tighter budget wins, and what is forbidden stays so.
fn join_limits(
    decisions: &mut Decisions,
    budgets: BTreeMap<Reason, BudgetDecision>,
    places: BTreeMap<String, PlaceDecision>,
) {
    for (reason, before) in budgets {
        let known = decisions.budgets.get(&reason);
        if known.is_none_or(|known| before.max < known.max) {
            decisions.budgets.insert(reason, before);
        }
    }
    for (zone, before) in places {
        if matches!(before, PlaceDecision::Forbidden(_)) {
            decisions.places.insert(zone, before);
        }
    }
}

fn same_clause(one: &Verdict, other: &Verdict) -> bool {
    (&one.policy, &one.binding, &one.digest, &one.span)
        == (&other.policy, &other.binding, &other.digest, &other.span)
        && one.outcome == other.outcome
}

/// Notes which earlier sets hold something back with a clause that the current one does not have.
fn mark_guards(guards: &mut [bool], input: &GroupInput<'_>, judged: &Judged) {
    if guards.is_empty() {
        return;
    }
    let closed = judged.report.holds.iter().filter_map(gate);
    let closed: Vec<(&PolicyName, &str)> = closed.collect();
    let labels = &judged.in_force.labels;
    let now = current(input)
        .map(|set| set.digests_for(labels))
        .unwrap_or_default();
    for (guard, set) in guards.iter_mut().zip(input.policies) {
        let then = set.digests_for(labels);
        // A clause that both sets have would be closed anyway.
        let only_then = |(policy, binding): &(&PolicyName, &str)| {
            let changed = |name: &str| then.contains_key(name) && then.get(name) != now.get(name);
            then.keys().any(|key| {
                // Also what documents tell the binding's policy: `binding/<name>/isHoliday/<name>`.
                let mut parts = key.split('/').skip(1).take(1);
                let named = parts.any(|part| part == policy.as_str() || part == *binding);
                named && changed(key)
            })
        };
        *guard |= closed.iter().any(only_then);
    }
}

fn gate(held: &Held) -> Option<(&PolicyName, &str)> {
    match &held.hold {
        Hold::GateClosed(hold)
        | Hold::PolicyFailed(hold)
        | Hold::BudgetByPolicy(hold)
        | Hold::ProtectedByPolicy(hold)
        | Hold::PlaceForbidden(hold)
        | Hold::AnalysisPending(hold) => Some((&hold.policy, hold.binding.as_str())),
        _ => None,
    }
}
