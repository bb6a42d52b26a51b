//! The agent's status as the socket, metrics and messages show it.

use std::fmt::Write as _;

use drover_loop::{AgentStatus, GroupReport, Mode, Orphan, PassReport, ProviderStatus, StepFate};
use drover_model::{Held, Hold, MetricName, Timestamp};

use super::protocol::{
    MetricStatus, OrphanStatus, PassStatus, ProviderReply, RefusedOperation, SourceStatus,
    StateStatus, Status,
};
use crate::commands::VERSION;
use crate::printable::printable;
use crate::settings::Settings;
use crate::view;

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub(crate) struct About {
    mode: &'static str,
    source_url: String,
    pub(crate) state_branch: String,
    started_at: Timestamp,
    /// Whether anybody's decisions are read.
    decides: bool,
}

impl About {
    /// Notes it at the start.
    pub(crate) fn new(settings: &Settings, mode: Mode, source_url: String) -> Self {
        Self {
            mode: match mode {
                Mode::Act => "act",
                Mode::Observe => "observe",
                Mode::DryRun => "dryRun",
            },
            source_url,
            state_branch: settings.state_branch.clone(),
            started_at: Timestamp::now(),
            decides: settings.signers.is_some() || settings.reviews.is_some(),
        }
    }
}

/// Returns the status as it travels.
pub(crate) fn wire(status: &AgentStatus, about: &About) -> Status {
    let source = &status.source;
    let write_back = &status.write_back;
    let oldest = |lag: std::time::Duration| Timestamp::now().as_second() - lag.as_secs() as i64;
    Status {
        name: status.agent.to_string(),
        fleet: status.fleet.to_string(),
        version: VERSION.to_owned(),
        pid: std::process::id(),
        mode: about.mode.to_owned(),
        epoch: status.epoch.0,
        started_at: view::seconds(about.started_at),
        source: SourceStatus {
            url: about.source_url.clone(),
            branch: source.branch.clone(),
            revision: source
                .commit
                .as_ref()
                .map(|commit| commit.revision.to_string()),
            last_success_s: source.asked_at.map(Timestamp::as_second),
            error: source.failure.as_ref().map(|(_, message)| message.clone()),
        },
        state: StateStatus {
            branch: about.state_branch.clone(),
            pending: write_back.pending as u64,
            pending_since_s: (write_back.pending > 0).then(|| oldest(write_back.lag)),
            error: write_back.failure.clone(),
        },
        holds: status
            .holds
            .iter()
            .map(|held| format!("{}: {}", held.hold.code(), held.hold))
            .collect(),
        orphans: status.orphans.iter().map(orphan).collect(),
        metrics: status.metrics.iter().map(metric).collect(),
        refused_operations: status.operations.refused.iter().map(refused).collect(),
        operations_error: status
            .operations
            .failure
            .clone()
            .or_else(|| nobody_decides(about, status)),
        provider_errors: status
            .providers
            .iter()
            // What cannot be opened is told by the holds of its groups, which are recorded at once.
            .filter(|(_, known)| known.is_open)
            .filter_map(|(name, known)| Some((name.clone(), known.failure.clone()?)))
            .collect(),
        providers: (status.providers.iter())
            .map(|(name, known)| (name.clone(), provider(known)))
            .collect(),
        pass: status.pass.as_deref().map(pass),
    }
}

/// Says why approvals are waited for in vain, where they are.
fn nobody_decides(about: &About, status: &AgentStatus) -> Option<String> {
    let waits = |hold: &Held| matches!(hold.hold, Hold::ApprovalNeeded(_));
    let groups = status.groups.values();
    let mut holds = groups.flat_map(|group| &group.recorded.holds);
    (!about.decides && holds.any(waits)).then(|| {
        "the agent's file has neither `signers` nor `reviews`, so that nobody can approve anything"
            .to_owned()
    })
}

fn refused(operation: &drover_loop::RefusedOperation) -> RefusedOperation {
    RefusedOperation {
        path: operation.path.clone(),
        reason: operation.reason.word().to_owned(),
        why: operation.why.clone(),
    }
}

fn provider(known: &ProviderStatus) -> ProviderReply {
    ProviderReply {
        listed_at: known.listed_at.map(view::seconds),
        failing_since: known.failing_since.map(view::seconds),
        error: known.failure.clone(),
    }
}

fn metric((name, status): (&MetricName, &drover_loop::MetricStatus)) -> MetricStatus {
    let known = status.judged.as_ref().ok();
    MetricStatus {
        name: name.to_string(),
        source: status.source.to_string(),
        ok: known.is_some(),
        value: known.map(|(value, _)| *value),
        age_s: status.age().map(|age| age.as_secs_f64()),
        why: status.judged.as_ref().err().cloned(),
    }
}

fn orphan(orphan: &Orphan) -> OrphanStatus {
    OrphanStatus {
        instance: orphan.instance.to_string(),
        group: orphan.group.to_string(),
        provider: orphan.provider.clone(),
        provider_ref: orphan.provider_ref.to_string(),
        created_at: orphan.created_at.map(view::seconds),
        first_seen: view::seconds(orphan.first_seen),
    }
}

/// Returns a pass as it travels.
pub(crate) fn pass(report: &PassReport) -> PassStatus {
    let steps = report.groups.values().map(|group| group.steps.len() as u64);
    let errors = report.groups.iter().filter_map(|(name, group)| {
        let error = group.error.as_ref()?;
        Some(format!("{name}: {error}"))
    });
    let held = report.holds.iter().map(|held| held.hold.to_string());
    let error = held
        .chain(errors)
        .reduce(|all, next| format!("{all}; {next}"));
    PassStatus {
        number: report.pass,
        finished_at: view::seconds(report.at),
        duration_ms: report.took.as_millis() as u64,
        steps: steps.sum(),
        error,
    }
}

/// Returns what a single pass did, or would do, for people.
pub(crate) fn tell(report: &PassReport, dry_run: bool) -> String {
    let mut text = String::new();
    for (name, group) in &report.groups {
        let phase = group.phase.map_or("not in force", |phase| phase.as_str());
        let numbers = &group.numbers;
        let _ = writeln!(
            text,
            "{name}: {phase}: {} wanted, {} in total, {} available, {} updated",
            numbers.size, numbers.total, numbers.available, numbers.updated
        );
        text.push_str(&steps(group));
        for held in &group.holds {
            let _ = writeln!(
                text,
                "  held: {}: {}",
                held.hold.code(),
                printable(&held.hold.to_string())
            );
        }
        if let Some(error) = &group.error {
            let _ = writeln!(text, "  failed: {}", printable(error));
        }
    }
    for held in &report.holds {
        let _ = writeln!(
            text,
            "held: {}: {}",
            held.hold.code(),
            printable(&held.hold.to_string())
        );
    }
    for diagnostic in report.diagnostics.iter() {
        let _ = writeln!(
            text,
            "{}: {}",
            diagnostic.span,
            printable(&diagnostic.message)
        );
    }
    if report.groups.is_empty() {
        text.push_str("no groups\n");
    }
    if dry_run {
        text.push_str("dry run: nothing was changed\n");
    }
    text
}

fn steps(group: &GroupReport) -> String {
    let mut text = String::new();
    for step in &group.steps {
        let instances = step.instances.join(", ");
        let result = match &step.result {
            StepFate::Planned => "planned".to_owned(),
            StepFate::Done => "done".to_owned(),
            StepFate::Skipped(why) => format!("skipped: {}", printable(why)),
            StepFate::Failed(why) => format!("failed: {}", printable(why)),
            StepFate::Unknown(why) => format!("outcome unknown: {why}"),
        };
        let _ = writeln!(
            text,
            "  {} {instances} ({}): {result}",
            step.verb, step.cause
        );
    }
    text
}
