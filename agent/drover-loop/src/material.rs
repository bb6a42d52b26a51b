//! What of a group's recorded state is worth a commit: transitions, never timers or counters.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use drover_model::{Held, Hold, RecordedGroup, RolloutState};
use sha2::{Digest as _, Sha256};

use crate::source::hex;

/// Returns a digest of everything in `recorded` whose change is a transition: document, target, size,
/// phase, holds by kind, conditions by status and reason, instances by class.
///
/// Left out are times, counters, messages with numbers in them, and holds that belong to a rollout
/// going well: they change from pass to pass.
pub(crate) fn digest(recorded: &RecordedGroup) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &dyn std::fmt::Debug| {
        let _ = writeln!(text, "{name}={value:?}");
    };
    field("uid", &recorded.uid);
    field("accepted", &recorded.accepted.as_ref().map(|a| &a.text));
    field("provider", &recorded.provider);
    field("size", &recorded.size);
    field("target", &recorded.target);
    field("stable", &recorded.stable);
    field(
        "quarantine",
        &recorded.quarantine.as_ref().map(|q| &q.digests),
    );
    field("ignored", &recorded.ignored);
    field("phase", &recorded.phase);
    field("change", &recorded.change);
    field(
        "heeded",
        &recorded
            .heeded
            .iter()
            .filter(|it| it.effect)
            .collect::<Vec<_>>(),
    );
    if !recorded.orders.is_empty() {
        field("orders", &recorded.orders);
    }
    if !recorded.spent.is_empty() {
        field("spent", &recorded.spent);
    }
    field("deleting", &recorded.deleting.as_ref().map(|d| &d.revision));
    let rollout = recorded.rollout.as_ref();
    let rollout = rollout.map(|rollout| {
        let paused = matches!(rollout.state, RolloutState::Paused(_));
        // What was waited for would be waited for again after a restore from the published copy.
        (&rollout.target, paused, &rollout.failures, &rollout.stages)
    });
    field("rollout", &rollout);
    let holds: BTreeSet<_> = recorded.holds.iter().filter_map(kind_of_hold).collect();
    field("holds", &holds);
    for (type_, condition) in &recorded.conditions {
        field(type_.as_str(), &(condition.status, &condition.reason));
    }
    for (id, instance) in &recorded.instances {
        let facts = (
            &instance.class,
            instance.draining,
            &instance.provider_ref,
            &instance.digests,
            &instance.address,
        );
        field("instance", &(id, facts));
    }
    hex(&Sha256::digest(text.as_bytes()))
}

/// The code of a hold, its reason, and what it is about.
type HoldKind = (&'static str, Option<&'static str>, String);

fn kind_of_hold(held: &Held) -> Option<HoldKind> {
    if held.hold.is_routine() {
        return None;
    }
    let mut about: String = held.instance.iter().map(ToString::to_string).collect();
    // Another change that waits is another transition: people approve what is published.
    match &held.hold {
        Hold::ApprovalNeeded(needed) => {
            let _ = write!(
                about,
                "{} {:?} {:?}",
                needed.change, needed.authors, needed.have
            );
        }
        Hold::ApprovalRejected(rejected) => {
            let _ = write!(about, "{} {}", rejected.change, rejected.by);
        }
        _ => {}
    }
    let reason = held.reason.map(drover_model::Reason::as_str);
    Some((held.hold.code(), reason, about))
}
