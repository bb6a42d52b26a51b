//! `drover plan`: what would happen now, or what a pull request would change.

use std::collections::{BTreeMap, BTreeSet};

use drover_git::{Mirror, Oid};
use drover_loop::Mode;
use drover_model::{
    Change, Digests, Drift, Enforcement, Epoch, FieldClass, Group, GroupName, GroupPhase, GroupUid,
    Hold, Numbers, Outcome, PolicyHold, ProviderType, Readings, RecordedGroup, RecordedProvider,
    Revision, Timestamp, Verdict,
};
use drover_plan::{ChangeInput, change};
use drover_policy::{EarlyFacts, GroupFacts, GroupSummary, PolicySet, SourceFacts};

use crate::agent::client::{AgentClient, ClientError};
use crate::agent::{Assembled, assemble};
use crate::check;
use crate::cli::{PlanArgs, PlanOutput};
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::output;
use crate::plan_view::{self, ChangeView, PlanHold, PlanView};
use crate::providers;
use crate::settings::Settings;
use crate::snapshot::Repository;
use crate::ui::Ui;
use crate::view::List;

/// How many dry passes a plan may need until every listing has come in.
const DRY_PASSES_MAX: usize = 5;

/// Runs the command.
pub(super) fn run(args: &PlanArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_agent(&args.agent)?;
    let (plans, marker) = match (&args.base, &args.head) {
        (Some(base), Some(head)) => {
            let plans = between(&settings, base, head, ui)?;
            (plans, format!("{base}..{head}"))
        }
        _ => (now(&settings)?, settings.branch.clone()),
    };
    let plans = chosen(plans, args.group.as_ref())?;
    let text = match args.output {
        PlanOutput::Text => plan_view::text(&plans, ui.out_color()),
        PlanOutput::Json => output::json(&List::new("PlanList", plans.clone()))?,
        PlanOutput::Markdown => plan_view::markdown(&plans, &marker),
    };
    ui.result(&text)?;
    let denied = plans.iter().any(|plan| plan.denied);
    let pending = plans.iter().any(PlanView::is_pending);
    let asking = plans.iter().any(|plan| plan.approvals_needed > 0);
    Ok(match (denied, asking, pending && args.detailed_exitcode) {
        (true, _, _) => Exit::Denied,
        (false, true, _) => Exit::ApprovalNeeded,
        (false, false, true) => Exit::Pending,
        (false, false, false) => Exit::Done,
    })
}

fn chosen(plans: Vec<PlanView>, group: Option<&GroupName>) -> CommandResult<Vec<PlanView>> {
    let Some(group) = group else {
        return Ok(plans);
    };
    let chosen: Vec<PlanView> = plans
        .into_iter()
        .filter(|plan| plan.group == group.as_str())
        .collect();
    if chosen.is_empty() {
        return Err(CommandError::new(format!("there is no group {group}")));
    }
    Ok(chosen)
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
    let Assembled {
        mut agent, scratch, ..
    } = assemble(settings, Mode::DryRun)?;
    let status = runtime.block_on(async {
        for _ in 0..DRY_PASSES_MAX {
            if agent.pass().await.unfinished == 0 {
                break;
            }
        }
        let status = agent.status();
        agent.shut_down().await;
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
    Ok(plan_view::of_status(&status))
}

/// Compares two commits: documents and policies alone, nothing that is observed.
fn between(settings: &Settings, base: &str, head: &str, ui: Ui) -> CommandResult<Vec<PlanView>> {
    let repository = Repository::open(settings)?;
    let base = End::read(&repository, settings, base)?;
    let head = End::read(&repository, settings, head)?;
    let checked = check::check(&head.documents);
    if checked.errors() > 0 {
        let source = |path: &str| head.documents.texts.get(path).cloned();
        ui.message(&drover_spec::render(
            &checked.diagnostics,
            &source,
            ui.err_color(),
        ));
        return Err(CommandError::new(format!(
            "commit {} is not valid: {} mistakes",
            head.commit.short(),
            checked.errors()
        )));
    }
    let names: BTreeSet<&GroupName> = base.groups().chain(head.groups()).collect();
    let summaries = summaries(&base, &names);
    let plan = |name: &GroupName| compare(name, &base, &head, &summaries);
    names.into_iter().map(plan).collect()
}

/// One side of the comparison.
struct End {
    commit: Oid,
    documents: Documents,
    policies: PolicySet,
    facts: SourceFacts,
}

impl End {
    fn read(repository: &Repository, settings: &Settings, name: &str) -> CommandResult<Self> {
        let mirror = &repository.mirror;
        let commit = repository.commit_named(name)?;
        let attempted = || format!("cannot read commit {}", commit.short());
        let info = mirror.commit(commit).context(attempted())?;
        let documents = Documents::from_commit(mirror, commit, &settings.path)?;
        let (policies, _) = documents.compile_policies();
        Ok(Self {
            commit,
            policies,
            facts: SourceFacts {
                revision: Revision::parse(&commit.to_string()).context(attempted())?,
                author: format!("{} <{}>", info.author.name, info.author.email),
                subject: info.subject,
                trailers: info.trailers.into_iter().collect(),
                signer: signer(mirror, commit, settings),
            },
            documents,
        })
    }

    fn groups(&self) -> impl Iterator<Item = &GroupName> {
        self.documents.repository.groups.keys()
    }

    fn group(&self, name: &GroupName) -> Option<&Group> {
        let located = self.documents.repository.groups.get(name)?;
        Some(&located.value)
    }

    /// Returns type and digests of a group's template.
    fn digests(&self, group: &Group) -> Option<Made> {
        let provider = self
            .documents
            .repository
            .providers
            .get(&group.spec.provider)?;
        let type_ = provider.value.type_.clone();
        let registry = providers::registry();
        let classes = registry.manifest(&type_).ok()?.properties.classes();
        let digests = Digests::of(&type_, &group.spec.template, &classes);
        Some(Made {
            type_,
            digests,
            classes,
        })
    }

    /// Returns the state that would be recorded if the group had converged at this commit.
    fn recorded(&self, name: &GroupName) -> CommandResult<RecordedGroup> {
        // No uid is needed to compare documents.
        let uid = GroupUid::parse("0000000000000000").context("cannot compare")?;
        let mut recorded = RecordedGroup::new(name.clone(), uid, Epoch(0));
        let Some(group) = self.group(name) else {
            return Ok(recorded);
        };
        if let Some(Made { type_, digests, .. }) = self.digests(group) {
            recorded.provider = Some(RecordedProvider {
                name: group.spec.provider.clone(),
                type_,
                settings: drover_model::Value::empty_map(),
            });
            recorded.target = Some(digests.clone());
            recorded.stable = Some(digests.clone());
            recorded
                .templates
                .insert(digests, group.spec.template.clone());
        }
        recorded.size = group.spec.size;
        recorded.stable_size = group.spec.size;
        recorded.phase = GroupPhase::Converged;
        Ok(recorded)
    }
}

/// Returns who signed a commit, where the agent's file is at hand and says that somebody has to.
fn signer(mirror: &Mirror, commit: Oid, settings: &Settings) -> String {
    let verification = settings.verification.as_ref();
    let verified = verification.and_then(|it| mirror.verify_commit(commit, &it.trust).ok());
    verified.map_or_else(String::new, |signed| signed.principal)
}

/// What the instances of a group at a commit are made from.
struct Made {
    type_: ProviderType,
    digests: Digests,
    classes: BTreeMap<String, FieldClass>,
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

fn compare(
    name: &GroupName,
    base: &End,
    head: &End,
    groups: &BTreeMap<GroupName, GroupSummary>,
) -> CommandResult<PlanView> {
    let recorded = base.recorded(name)?;
    let to = head.group(name);
    let sized = |group: &Group| {
        let by_policy = head.policies.has_size_policy(&group.labels);
        drover_plan::change_size(&group.spec, &recorded, by_policy)
    };
    let made = to.and_then(|group| Some((group, head.digests(group)?)));
    let policies = to.map(|group| head.policies.digests_for(&group.labels));
    let (numbers, none) = (Numbers::default(), Drift::default());
    let readings = Readings::new();
    let facts = |group| GroupFacts {
        now: Timestamp::now(),
        group,
        old: base.group(name).map(|group| &group.spec),
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
    let drift = made.as_ref().map(|(group, made)| {
        let to = (&made.digests, &group.spec.template);
        let early = EarlyFacts {
            signals: BTreeMap::new(),
            differences: drover_plan::differences([], &recorded, to, &made.classes),
        };
        let facts = GroupFacts {
            early: Some(&early),
            ..facts(group)
        };
        head.policies.decide_early(&facts).drift
    });
    let drift = drift.unwrap_or_default();
    let found = change(&ChangeInput {
        group: name,
        recorded: &recorded,
        to: made.map(|(group, made)| (&group.spec, sized(group), made.digests)),
        policies: policies.unwrap_or_default(),
        drift: &drift,
    });
    let mut view = PlanView {
        group: name.to_string(),
        phase: if found.is_some() {
            "Pending"
        } else {
            "Converged"
        }
        .to_owned(),
        change: found.as_ref().map(ChangeView::from),
        steps: Vec::new(),
        holds: Vec::new(),
        denied: false,
        approvals_needed: 0,
    };
    if let (Some(found), Some(group)) = (&found, to) {
        let facts = GroupFacts {
            drift: &drift,
            ..facts(group)
        };
        judge(&mut view, &[&base.policies, &head.policies], &facts, found);
    }
    Ok(view)
}

/// Notes what policies say about a change: those before and those after the commit both judge it.
fn judge(view: &mut PlanView, sets: &[&PolicySet], facts: &GroupFacts<'_>, change: &Change) {
    let mut verdicts = Vec::new();
    for set in sets {
        let said = set.validate(facts, change);
        let asks = said.iter().filter(|verdict| verdict.needs_approval());
        let needs = asks.map(|verdict| set.approvals(&verdict.binding).count);
        view.approvals_needed = view.approvals_needed.max(needs.max().unwrap_or(0));
        verdicts.extend(said);
    }
    let against = verdicts
        .iter()
        .filter(|verdict| verdict.outcome != Outcome::Passed);
    let mut holds: Vec<PlanHold> = against.map(hold).collect();
    holds.dedup_by(|a, b| a.message == b.message && a.code == b.code);
    view.denied = verdicts.iter().any(Verdict::withholds);
    view.holds = holds;
}

fn hold(verdict: &Verdict) -> PlanHold {
    let hold = PolicyHold {
        policy: verdict.policy.clone(),
        binding: verdict.binding.to_string(),
        span: verdict.span.clone(),
        message: match &verdict.outcome {
            Outcome::Error(error) => format!("{}: {error}", verdict.message),
            Outcome::Passed | Outcome::Failed => verdict.message.clone(),
        },
        values: verdict.values.clone(),
    };
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
