//! `drover policy bench`: what policies take.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use drover_model::{
    ApprovalRule, Binding, BindingName, Change, Enforcement, Policy, PolicyName, Selector,
    SourceSpan, Timestamp,
};
use drover_policy::{GroupFacts, Measured, PolicySet};
use serde::Serialize;

use super::live::Fleet;
use super::{insist_on_valid, synthetic};
use crate::check;
use crate::cli::{Output, PolicyBenchArgs};
use crate::commands::validate::from_path;
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult};
use crate::exit::Exit;
use crate::output;
use crate::table::Table;
use crate::ui::Ui;
use crate::view::{List, counted};

/// What one binding took, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    policy: String,
    /// None: the policy has no binding, and was measured with its default parameters.
    binding: Option<String>,
    point: String,
    groups: usize,
    /// Microseconds of a decision about one group.
    mean_us: u64,
    worst_us: u64,
    /// Expressions evaluated in the largest decision about one group.
    evaluations: u64,
    /// Steps of the largest decision about one group, of those that a binding has in a pass.
    steps: u64,
    steps_max: u64,
    /// Steps of the largest evaluation of one expression, of those that one may have.
    expression_steps: u64,
    expression_steps_max: u64,
    /// How much of whichever budget is closer to its end, in percent, rounded up.
    budget_percent: u64,
    error: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &PolicyBenchArgs, ui: Ui) -> CommandResult {
    let documents = from_path(&args.documents)?;
    insist_on_valid(&documents, &check::check(&documents), ui)?;
    let (set, unbound) = bound_everywhere(&documents);
    let views = if args.live {
        let fleet = Fleet::read(&args.source)?;
        let names = fleet.snapshot.groups.keys();
        let live: Vec<_> = names
            .map(|name| fleet.group(name, Some(&documents)))
            .collect::<CommandResult<_>>()?;
        let changes: Vec<Change> = live.iter().map(super::live::Live::change_or_none).collect();
        let facts = live.iter().zip(&changes);
        measure(
            &set,
            &facts
                .map(|(live, change)| (live.facts(), change))
                .collect::<Vec<_>>(),
            args.repeat,
        )
    } else {
        let now = Timestamp::now();
        let readings = documents.readings(1.0, now);
        let fleet = synthetic::fleet(args.groups, args.instances, now, &readings);
        let facts = fleet.iter().map(|group| (group.facts(), &group.change));
        ui.message(&format!(
            "{} of {} each, decided about {}",
            counted(usize::from(args.groups), "group"),
            counted(args.instances as usize, "instance"),
            counted(usize::from(args.repeat), "time")
        ));
        measure(&set, &facts.collect::<Vec<_>>(), args.repeat)
    };
    let mut views: Vec<View> = views
        .into_iter()
        .map(|view| View {
            binding: view.binding.filter(|name| !unbound.contains(name)),
            ..view
        })
        .collect();
    views
        .sort_by(|left, right| (&left.policy, &left.binding).cmp(&(&right.policy, &right.binding)));
    let least = u64::from(args.max_budget.unwrap_or(100));
    let above = views
        .iter()
        .filter(|view| view.budget_percent > least)
        .count();
    let text = match args.output {
        Output::Json => output::json(&List::new("PolicyBenchList", views))?,
        Output::Yaml => output::yaml(&List::new("PolicyBenchList", views))?,
        Output::Name => views
            .iter()
            .map(|view| format!("{}\n", view.policy))
            .collect(),
        Output::Markdown => table(&views).to_markdown(),
        Output::Text | Output::Wide => table(&views).to_text(true),
    };
    ui.result(&text)?;
    if above == 0 {
        return Ok(Exit::Done);
    }
    Err(CommandError::new(format!(
        "{above} of the policies take more than {least} % of their budget"
    ))
    .hint("loop once over the instances, and keep what several rules need in `variables`"))
}

/// Compiles the policies, those without a binding with one of their own. Returns the names of these.
fn bound_everywhere(documents: &Documents) -> (PolicySet, Vec<String>) {
    let policies = documents.policies();
    let mut bindings = documents.bindings();
    let mut unbound = Vec::new();
    for policy in &policies {
        if bindings.iter().all(|binding| binding.policy != policy.name) {
            let binding = default_binding(policy, bindings.len());
            unbound.push(binding.name.to_string());
            bindings.push(binding);
        }
    }
    let definitions = documents.definitions();
    let (set, _) = PolicySet::compile_with(&policies, &bindings, &[], definitions);
    (set, unbound)
}

fn default_binding(policy: &Policy, number: usize) -> Binding {
    let span = SourceSpan::start_of("bench");
    Binding {
        name: BindingName::parse(&format!("bench-default-{number}")).expect("a DNS label"),
        span: span.clone(),
        policy: policy.name.clone(),
        policy_span: span.clone(),
        selector: Selector::default(),
        params: BTreeMap::new(),
        param_spans: BTreeMap::new(),
        enforcement: Enforcement::Audit,
        enforcement_span: span,
        approvals: ApprovalRule::default(),
        digest: String::new(),
    }
}

fn measure(set: &PolicySet, groups: &[(GroupFacts<'_>, &Change)], repeat: u16) -> Vec<View> {
    let started = Instant::now();
    let clock = move || started.elapsed();
    let mut views = Vec::new();
    for (binding, policy, point) in set.bindings() {
        let mut all = Vec::new();
        let mut refused = None;
        for (facts, change) in groups {
            for _ in 0..repeat {
                match set.measure(&binding, facts, change, &clock) {
                    Ok(measured) => all.push(measured),
                    // Such as a parameter without default, which no binding sets.
                    Err(why) => refused = Some(why),
                }
            }
        }
        let point = point.map_or("", drover_model::DecisionPoint::as_str);
        let view = view(&binding, &policy, point, groups.len(), &all);
        let error = refused.or_else(|| view.error.clone());
        views.push(View { error, ..view });
    }
    views
}

fn view(
    binding: &BindingName,
    policy: &PolicyName,
    point: &str,
    groups: usize,
    all: &[Measured],
) -> View {
    let total: Duration = all.iter().map(|it| it.elapsed).sum();
    let worst = all.iter().map(|it| it.elapsed).max().unwrap_or_default();
    let most = |of: &dyn Fn(&Measured) -> u64| all.iter().map(of).max().unwrap_or(0);
    let share = |it: &Measured| {
        let binding = (it.steps * 100).div_ceil(it.steps_max.max(1));
        binding.max((it.largest * 100).div_ceil(it.largest_max.max(1)))
    };
    View {
        policy: policy.to_string(),
        binding: Some(binding.to_string()),
        point: point.to_owned(),
        groups,
        mean_us: (total.as_micros() / (all.len().max(1) as u128)) as u64,
        worst_us: worst.as_micros() as u64,
        evaluations: most(&|it| it.evaluations),
        steps: most(&|it| it.steps),
        steps_max: most(&|it| it.steps_max),
        expression_steps: most(&|it| it.largest),
        expression_steps_max: most(&|it| it.largest_max),
        budget_percent: most(&share),
        error: all.iter().find_map(|it| it.error.clone()),
    }
}

fn table(views: &[View]) -> Table {
    let head = [
        "POLICY",
        "BINDING",
        "POINT",
        "MEAN",
        "WORST",
        "EVALUATIONS",
        "STEPS",
        "BUDGET",
        "ERROR",
    ];
    let mut table = Table::new(&head);
    for view in views {
        table.row(vec![
            view.policy.clone(),
            view.binding.clone().unwrap_or_default(),
            view.point.clone(),
            milliseconds(view.mean_us),
            milliseconds(view.worst_us),
            view.evaluations.to_string(),
            view.steps.to_string(),
            format!("{} %", view.budget_percent),
            view.error.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn milliseconds(microseconds: u64) -> String {
    format!("{:.3} ms", microseconds as f64 / 1000.0)
}
