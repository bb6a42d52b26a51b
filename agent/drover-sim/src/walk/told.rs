//! A pass of a random life as text, for people who look for the cause of a failure.

use std::fmt::Write as _;

use drover_apply::StepResult;
use drover_model::{Digests, InPlaceUpdate, IntentKind};
use drover_plan::render;

use crate::Simulation;
use crate::simulation::Pass;

/// Returns a pass as text.
pub(super) fn told(number: u64, sim: &Simulation, pass: &Pass) -> String {
    let short = |digests: Option<&Digests>| match digests {
        Some(digests) => {
            let parts = [&digests.replace, &digests.restart, &digests.live];
            parts.map(|digest| &digest.short()[..4]).join("+")
        }
        None => "none".to_owned(),
    };
    let mut out = format!("--- pass {number} at {}\n", pass.at);
    for member in pass.classified.members.values() {
        let drain = member.drain.as_ref().map(|drain| drain.reason.as_str());
        let line = format!(
            "    {} {} {} drain {drain:?} update {:?} restarted {:?} listed {}",
            member.id,
            short(Some(&member.digests)),
            member.class.as_str(),
            member.update,
            member.restarted_at,
            member.provider_ref.is_some(),
        );
        let _ = writeln!(out, "{line} {:?}", member.class.why());
    }
    for id in pass.classified.gone.keys() {
        let _ = writeln!(out, "    {id} gone");
    }
    for intent in &pass.intents {
        let what = match &intent.kind {
            IntentKind::Create { slots, .. } => format!("create {slots:?}"),
            IntentKind::Drain { instance, .. } => format!("drain {instance}"),
            IntentKind::Destroy { instance, .. } => format!("destroy {instance}"),
            IntentKind::Update(InPlaceUpdate { instance, how, .. }) => {
                format!("update {instance} ({})", how.as_str())
            }
            IntentKind::Adopt(step) => format!("adopt {} as {}", step.provider_ref, step.instance),
            IntentKind::Roster(step) => format!("{} {}", step.verb(), step.subject()),
        };
        let _ = writeln!(out, "    intent {} {what} {:?}", intent.id, intent.state);
    }
    if let Some(roster) = &pass.roster {
        let _ = writeln!(out, "    {roster:?}");
    }
    let next = &pass.plan.next;
    let quarantine = next.quarantine.as_ref();
    let _ = writeln!(
        out,
        "    target {}, last good {}, in quarantine {}",
        short(next.target.as_ref()),
        short(next.stable.as_ref()),
        short(quarantine.map(|quarantine| &quarantine.digests)),
    );
    let there = sim.world().of_group(sim.name(), sim.now()).len();
    let _ = writeln!(out, "    truth: {there} exist; {:?}", next.backoff);
    out.push_str(&render(&pass.plan, &pass.report));
    for outcome in pass.applied.iter().flat_map(|applied| &applied.outcomes) {
        if outcome.result != StepResult::Done {
            let _ = writeln!(out, "    step {}: {:?}", outcome.step, outcome.result);
        }
    }
    out
}
