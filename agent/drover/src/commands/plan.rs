//! `drover plan`: what would happen now, or what a pull request would change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use drover_git::Oid;
use drover_loop::{Mode, PassLimits, plugin_type};
use drover_model::{
    Change, Difference, Drift, Enforcement, Group, GroupName, GroupPhase, Hold, Numbers, Outcome,
    PolicyHold, ProviderName, Readings, RecordedGroup, Timestamp, Verdict,
};
use drover_plan::{ChangeInput, change, change_of_document};
use drover_policy::{EarlyFacts, GroupFacts, GroupSummary, PolicySet};
use drover_spec::agent_config::PluginConfig;
use drover_spec::{Diagnostic, Located};
use serde::Serialize;

use crate::agent::client::{AgentClient, ClientError};
use crate::agent::{Assembled, UNDRAWN, assemble};
use crate::check;
use crate::cli::{PlanArgs, PlanOutput};
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::output;
use crate::plan_view::fields::{self, Side};
use crate::plan_view::{
    self, AdoptionView, ChangeView, DocumentView, FieldView, PlanHold, PlanView, Plans,
};
use crate::plugins::started::{Started, is_idle};
use crate::settings::Settings;
use crate::snapshot::{Lazy, Repository};
use crate::ui::Ui;
use crate::view::{List, counted};

mod adoption;
mod documents;
mod doubts;
mod end;
mod foreseen;

use adoption::Adoption;
use end::{End, Made};
pub(super) use foreseen::{Foreseen, foreseen};

/// How many dry passes a plan may need until every listing has come in.
const DRY_PASSES_MAX: usize = 5;

/// Runs the command.
pub(super) fn run(args: &PlanArgs, ui: Ui) -> CommandResult {
    let mut settings = Settings::of_agent(&args.agent)?;
    let (plans, marker) = if let (Some(base), Some(head)) = (&args.base, &args.head) {
        let is_named = settings.is_source_named();
        if !is_named {
            settings = settings.in_clone();
        }
        let mut repository = Lazy::of(&settings);
        if is_named || Path::new(".git").exists() {
            repository.get()?;
        }
        let ends = [base, head].map(|name| End::named(&mut repository, &settings, name));
        let [base_end, head_end] = ends;
        let base_end = base_end?;
        if let Some(invalid) = Invalid::find(&base_end.documents, &base_end.shown) {
            ui.message(&format!(
                "note: {invalid}: what stands there is not compared, while an agent goes on with what it had in force"
            ));
        }
        let compared = compared(&repository.recorded(), base_end, head_end?)?;
        let plans = compared.map_err(|invalid| invalid.told(ui))?;
        (plans, format!("{base}..{head}"))
    } else {
        let groups = now(&settings)?;
        let documents = Vec::new();
        (Plans { groups, documents }, settings.branch.clone())
    };
    let plans = chosen(plans, args.group.as_ref())?;
    let text = match args.output {
        PlanOutput::Text => plan_view::text(&plans, ui.out_color()),
        PlanOutput::Json => output::json(&PlanList {
            list: List::new("PlanList", plans.groups.clone()),
            documents: &plans.documents,
        })?,
        PlanOutput::Markdown => plan_view::markdown(&plans, &marker),
    };
    ui.result(&text)?;
    let pending = plans.is_pending();
    let asking = plans.groups.iter().any(|plan| plan.approvals_needed > 0);
    let pending = pending && args.detailed_exitcode;
    Ok(match (plans.is_denied(), asking, pending) {
        (true, _, _) => Exit::Denied,
        (false, true, _) => Exit::ApprovalNeeded,
        (false, false, true) => Exit::Pending,
        (false, false, false) => Exit::Done,
    })
}

/// Plans, as a document.
#[derive(Debug, Serialize)]
struct PlanList<'a> {
    #[serde(flatten)]
    list: List<PlanView>,
    /// What changes beside groups.
    documents: &'a [DocumentView],
}

fn chosen(plans: Plans, group: Option<&GroupName>) -> CommandResult<Plans> {
    let Some(group) = group else {
        return Ok(plans);
    };
    let Plans { groups, documents } = plans;
    let groups = groups.into_iter();
    let groups: Vec<PlanView> = groups.filter(|plan| plan.group == group.as_str()).collect();
    if groups.is_empty() {
        return Err(CommandError::new(format!("there is no group {group}")));
    }
    let concerns = |document: &DocumentView| document.groups.iter().any(|it| it == group.as_str());
    let documents = documents.into_iter().filter(concerns).collect();
    Ok(Plans { groups, documents })
}

/// Asks the running agent, else makes dry passes.
fn now(settings: &Settings) -> CommandResult<Vec<PlanView>> {
    match AgentClient::connect(&settings.data_dir) {
        Ok(client) => client.plan().context("cannot read the agent's plan"),
        Err(ClientError::NotRunning { .. }) => dry(settings),
        Err(error) => Err(CommandError::new("cannot ask the agent").because(error)),
    }
}

fn dry(settings: &Settings) -> CommandResult<Vec<PlanView>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let _entered = runtime.enter();
    let needed = idle_plugins(settings);
    let plugins = (!needed.is_empty())
        .then(|| Started::start(&needed, settings.absences(), &runtime))
        .transpose()?;
    let settings = match &plugins {
        Some(started) => &settings.clone().with_started(started.sockets().path()),
        None => settings,
    };
    let Assembled {
        mut agent, scratch, ..
    } = assemble(settings, Mode::DryRun, PassLimits::of_single_pass())?;
    let status = runtime.block_on(async {
        for _ in 0..DRY_PASSES_MAX {
            if agent.pass().await.unfinished == 0 {
                break;
            }
        }
        let status = agent.status();
        agent.shut_down().await;
        if let Some(plugins) = plugins {
            plugins.end().await;
        }
        status
    });
    drop(scratch);
    if let Some((_, why)) = &status.source.failure {
        return Err(CommandError::new("cannot read the source repository").because(why.as_str()));
    }
    let mistakes = status
        .diagnostics
        .iter()
        .filter(|mistake| mistake.is_error())
        .count();
    if mistakes > 0 && status.groups.is_empty() {
        return Err(CommandError::new("no document is valid").hint("see `drover validate`"));
    }
    let mut plans = plan_view::of_status(&status);
    for (plan, group) in plans.iter_mut().zip(status.groups.values()) {
        let unseen = group.recorded.uid.as_str() == UNDRAWN;
        if let Some(change) = plan.change.as_mut().filter(|_| unseen) {
            change.id = None;
        }
    }
    Ok(plans)
}

/// Documents with mistakes.
#[derive(Debug)]
pub(super) struct Invalid {
    /// What has them, as people call it.
    what: String,
    diagnostics: Vec<Diagnostic>,
    texts: BTreeMap<String, String>,
    errors: usize,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, errors, .. } = self;
        write!(f, "{what} is not valid: {}", counted(*errors, "mistake"))
    }
}

impl Invalid {
    /// Returns what is wrong with documents. None: nothing is.
    pub(super) fn find(documents: &Documents, what: impl Into<String>) -> Option<Self> {
        let checked = check::check(documents);
        (checked.errors() > 0).then(|| Self {
            what: what.into(),
            errors: checked.errors(),
            diagnostics: checked.diagnostics,
            texts: documents.texts.clone(),
        })
    }

    /// Shows the mistakes. Returns the error that the command ends with.
    pub(super) fn told(&self, ui: Ui) -> CommandError {
        ui.message(&self.rendered(ui.err_color()));
        CommandError::new(self.to_string())
    }

    /// Returns the mistakes with the lines that they are in.
    pub(super) fn rendered(&self, color: bool) -> String {
        let source = |path: &str| self.texts.get(path).cloned();
        drover_spec::render(&self.diagnostics, &source, color)
    }
}

/// Compares two commits: documents and policies alone, nothing that is observed.
pub(super) fn between(
    repository: &Repository,
    settings: &Settings,
    base: Oid,
    head: Oid,
) -> CommandResult<Result<Plans, Invalid>> {
    let base = End::read(repository, settings, base)?;
    let head = End::read(repository, settings, head)?;
    // Without a state branch at hand nothing is known of plugins that do not come with drover, nor any id.
    let states = repository.recorded_here().unwrap_or_default();
    compared(&states, base, head)
}

fn compared(
    states: &BTreeMap<GroupName, RecordedGroup>,
    base: End,
    head: End,
) -> CommandResult<Result<Plans, Invalid>> {
    if let Some(invalid) = Invalid::find(&head.documents, &head.shown) {
        return Ok(Err(invalid));
    }
    let (base, head) = (&base.knowing(states), &head.knowing(states));
    let names: BTreeSet<&GroupName> = base.groups().chain(head.groups()).collect();
    let summaries = summaries(base, &names);
    let mut doubts = doubts::doubts(base, head);
    let plan = |name: &GroupName| {
        let (mut view, _) = compare(name, base, head, &summaries, states.get(name))?;
        view.holds.extend(doubts.remove(name));
        Ok(view)
    };
    let groups = names.iter().copied().map(plan);
    Ok(Ok(Plans {
        groups: groups.collect::<CommandResult<_>>()?,
        documents: documents::changed(base, head),
    }))
}

fn summaries(base: &End, names: &BTreeSet<&GroupName>) -> BTreeMap<GroupName, GroupSummary> {
    let summary = |name: &&GroupName| {
        let size = base.group(name)?.spec.size;
        let summary = GroupSummary {
            size,
            available: size,
            total: size,
            updated: size,
            phase: GroupPhase::Converged,
        };
        Some(((*name).clone(), summary))
    };
    names.iter().filter_map(summary).collect()
}

/// Returns what would change of a group, and what policies say about that.
fn compare(
    name: &GroupName,
    base: &End,
    head: &End,
    groups: &BTreeMap<GroupName, GroupSummary>,
    state: Option<&RecordedGroup>,
) -> CommandResult<(PlanView, Vec<Verdict>)> {
    let to = head.group(name);
    let by_policy = to.is_some_and(|group: &Group| head.policies.has_size_policy(&group.labels));
    let mut recorded = base.recorded(name)?;
    let adoption = Adoption::of(base.located(name), to, state);
    adoption.begin(&mut recorded);
    let is_known = state.is_some_and(|state| take_up(&mut recorded, state, by_policy));
    let sized = |group: &Group| drover_plan::change_size(&group.spec, &recorded, by_policy);
    let made = to.and_then(|group| Some((group, head.digests(group)?)));
    let in_place_is_known = made.as_ref().is_none_or(|(_, made)| made.is_known);
    // A removal is judged by what the group was.
    let judged = to.or_else(|| base.group(name));
    let policies = judged.map(|group| head.policies.digests_for(&group.labels));
    let (numbers, none) = (Numbers::default(), Drift::default());
    let readings = Readings::new();
    let facts = |group| GroupFacts {
        now: Timestamp::now(),
        group,
        old: base.group(name).map(|group| &group.spec),
        labels_before: base.group(name).map(|group| &group.labels),
        numbers: &numbers,
        recorded: &recorded,
        classified: None,
        source: &head.facts,
        groups,
        // Nobody is asked before a commit is merged.
        readings: &readings,
        early: None,
        drift: &none,
    };
    let fields = differing(base.located(name), head.located(name), made.as_ref());
    let drift = made.as_ref().map(|(group, made)| {
        let to = (&made.digests, &group.spec.template);
        let differences = drover_plan::differences([], &recorded, to, &made.classes);
        drift_of(head, &facts(group), differences)
    });
    let drift = drift.unwrap_or_default();
    let input = ChangeInput {
        group: name,
        recorded: &recorded,
        to: made.map(|(group, made)| (&group.spec, sized(group), made.digests)),
        policies: policies.unwrap_or_default(),
        drift: &drift,
    };
    let found = change(&input).or_else(|| {
        let text = kept_by(base.group(name)?, head.located(name)?)?;
        change_of_document(&input, text)
    });
    let mut view = PlanView {
        fields,
        unguarded: documents::unguarded(name, base, head),
        ..view_of(name, found.as_ref(), is_known, base.group(name))
    };
    let mut verdicts = Vec::new();
    if let (Some(found), Some(group)) = (&found, judged) {
        let facts = GroupFacts {
            drift: &drift,
            ..facts(group)
        };
        verdicts = judge(&mut view, &[&base.policies, &head.policies], &facts, found);
    }
    let size = to.map_or(0, |group| group.spec.size);
    tell_adoption(&mut view, adoption, size);
    adoption::tell_own_revisions(&mut view, state);
    let replaces = view.change.as_ref().is_some_and(|it| it.replaces > 0);
    if let (true, false, Some(group)) = (replaces, in_place_is_known, to) {
        view.holds.push(unknown_properties(&group.spec.provider));
    }
    Ok((view, verdicts))
}

/// Returns the plugins of the agent's file on whose sockets nobody listens, where documents may name any.
fn idle_plugins(settings: &Settings) -> Vec<PluginConfig> {
    if !settings.allowed.allows(&plugin_type()) {
        return Vec::new();
    }
    let running = settings.places(&settings.process_dir).plugins;
    let plugins = settings.plugins.start.iter();
    let idle = plugins.filter(|plugin| is_idle(plugin, &running));
    idle.cloned().collect()
}

/// Returns a plan with a change of a document, and its id where that is known.
fn view_of(
    name: &GroupName,
    found: Option<&Change>,
    is_known: bool,
    before: Option<&Group>,
) -> PlanView {
    let phase = if found.is_some() {
        "Pending"
    } else {
        "Converged"
    };
    PlanView {
        group: name.to_string(),
        phase: phase.to_owned(),
        change: found.map(|found| ChangeView {
            id: is_known.then(|| found.id.to_string()),
            ..ChangeView::from(found).led_from(before)
        }),
        adoption: None,
        fields: Vec::new(),
        unguarded: Vec::new(),
        steps: Vec::new(),
        holds: Vec::new(),
        unseen: false,
        denied: false,
        approvals_needed: 0,
    }
}

/// Says why a change counts as one that replaces.
fn unknown_properties(provider: &ProviderName) -> PlanHold {
    PlanHold {
        code: "PropertiesUnknown".to_owned(),
        message: format!(
            "no agent has recorded yet which properties the plugin of provider {provider} changes in place: each counts \
             as one that replaces"
        ),
        reason: None,
        routine: true,
    }
}

/// Notes what is taken over. Where nobody knows that, nobody knows what is made, replaced and ended beside it either.
fn tell_adoption(view: &mut PlanView, adoption: Adoption<'_>, size: u32) {
    view.adoption = match adoption {
        Adoption::None => None,
        Adoption::Seen(state) => {
            let there = state.strangers.len() as u32;
            Some(AdoptionView {
                strangers: Some(there.min(size)),
                held: there.saturating_sub(size),
            })
        }
        Adoption::Held(state) => {
            let there = state.strangers.len() as u32;
            let taken = there.min(size.saturating_sub(state.size));
            if let Some(change) = &mut view.change {
                // What is there is not made.
                change.creates = change.creates.saturating_sub(taken);
            }
            (taken > 0).then_some(AdoptionView {
                strangers: Some(taken),
                held: there - taken,
            })
        }
        Adoption::Unknown => {
            view.change = None;
            Some(AdoptionView {
                strangers: None,
                held: 0,
            })
        }
    };
}

/// Returns what policies make of what differs between templates.
fn drift_of(head: &End, facts: &GroupFacts<'_>, differences: Vec<Difference>) -> Drift {
    let early = EarlyFacts {
        signals: BTreeMap::new(),
        differences,
    };
    let facts = GroupFacts {
        early: Some(&early),
        ..*facts
    };
    head.policies.decide_early(&facts).drift
}

/// Returns the text of a document by which a group is kept in another way than before. None: in the same.
fn kept_by<'a>(before: &Group, after: &'a Located<Arc<Group>>) -> Option<&'a str> {
    (!after.value.is_kept_as(before)).then_some(&*after.text)
}

/// Takes up which life of the group it is, by its recorded state, and the size that a policy chose. Returns
/// whether the group last converged as it is at the base: only then the agent finds the very same change.
fn take_up(recorded: &mut RecordedGroup, state: &RecordedGroup, by_policy: bool) -> bool {
    recorded.uid = state.uid.clone();
    if by_policy {
        recorded.size = state.size;
        recorded.stable_size = state.stable_size;
    }
    let members = |group: &RecordedGroup| {
        let quorum = group.quorum.as_ref();
        quorum.map(|quorum| quorum.stable.clone())
    };
    recorded.stable == state.stable
        && recorded.stable_size == state.stable_size
        && members(recorded) == members(state)
}

/// Returns what differs in the documents of a group that was there before and is there after, or all that a new one
/// says.
fn differing(
    before: Option<&Located<Arc<Group>>>,
    after: Option<&Located<Arc<Group>>>,
    made: Option<&(&Group, Made)>,
) -> Vec<FieldView> {
    fn side(located: &Located<Arc<Group>>) -> Side<'_> {
        Side {
            size: located.value.spec.size,
            template: &located.value.spec.template,
            text: &located.text,
        }
    }
    let says = |group: &Group| (group.labels.clone(), group.spec.clone());
    match (before, after) {
        (None, Some(after)) => fields::of_new(&after.text),
        // The same is written in another way.
        (Some(before), Some(after)) if says(&before.value) == says(&after.value) => Vec::new(),
        (Some(before), Some(after)) => {
            let none = BTreeMap::new();
            let classes = made.map_or(&none, |(_, made)| &made.classes);
            fields::changed(side(before), side(after), classes)
        }
        (_, None) => Vec::new(),
    }
}

/// Notes what policies say about a change: those before and those after the commit both judge it.
fn judge(
    view: &mut PlanView,
    sets: &[&PolicySet],
    facts: &GroupFacts<'_>,
    change: &Change,
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for set in sets {
        let said = set.validate(facts, change);
        let asks = said.iter().filter(|verdict| verdict.needs_approval());
        let needs = asks.map(|verdict| set.approvals(&verdict.binding).count);
        view.approvals_needed = view.approvals_needed.max(needs.max().unwrap_or(0));
        verdicts.extend(said);
    }
    view.denied = verdicts.iter().any(Verdict::withholds);
    let against = verdicts
        .iter()
        .filter(|verdict| verdict.outcome != Outcome::Passed);
    let mut told: Vec<&Verdict> = Vec::new();
    for verdict in against {
        // Both say the same: shown is the place in the later one, which people review.
        match told.iter_mut().find(|it| says_the_same(it, verdict)) {
            Some(same) => *same = verdict,
            None => told.push(verdict),
        }
    }
    view.holds = told.into_iter().map(hold).collect();
    verdicts
}

/// Whether two verdicts differ in nothing but where the clause stands.
fn says_the_same(one: &Verdict, other: &Verdict) -> bool {
    one.enforcement == other.enforcement
        && one.policy == other.policy
        && one.outcome == other.outcome
        && one.message == other.message
        && one.values == other.values
}

fn hold(verdict: &Verdict) -> PlanHold {
    let mut hold = PolicyHold::from(verdict);
    if let Outcome::Error(error) = &verdict.outcome {
        hold.message = format!("{}: {error}", verdict.message);
    }
    match verdict.enforcement {
        Enforcement::Deny => PlanHold {
            code: "PolicyDenied".to_owned(),
            message: Hold::PolicyDenied(hold).to_string(),
            reason: None,
            routine: false,
        },
        Enforcement::RequireApproval => PlanHold {
            code: "ApprovalNeeded".to_owned(),
            message: format!("must be approved: {hold}"),
            reason: None,
            routine: false,
        },
        Enforcement::Warn | Enforcement::Audit => PlanHold {
            code: format!(
                "Policy{}",
                if verdict.enforcement == Enforcement::Warn {
                    "Warning"
                } else {
                    "Audit"
                }
            ),
            message: hold.to_string(),
            reason: None,
            routine: true,
        },
    }
}
