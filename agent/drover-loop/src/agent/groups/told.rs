//! What the agent's log says of a group after a pass.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use drover_model::{GroupName, Heeded, Held, InstanceId, RecordedGroup, RecordedOrder};
use tracing::{debug, info};

/// Logs what began and ended for a group.
pub(super) fn log_transition(before: &RecordedGroup, recorded: &RecordedGroup) {
    let name = &recorded.name;
    if recorded.phase != before.phase {
        info!(group = %name, phase = recorded.phase.as_str(), "phase changed");
    }
    let holds_before: BTreeSet<_> = before.holds.iter().map(|held| held.hold.code()).collect();
    let is_new = |held: &&Held| !held.hold.is_routine() && !holds_before.contains(held.hold.code());
    for (held, whom) in one_by_reason(recorded.holds.iter().filter(is_new)) {
        let instances = (!whom.is_empty()).then(|| instances(&whom));
        info!(group = %name, hold = held.hold.code(), instances, why = held.hold.to_string(), "hold begun");
    }
    let now: BTreeSet<_> = recorded.holds.iter().map(|held| held.hold.code()).collect();
    for ended in holds_before.difference(&now) {
        debug!(group = %name, hold = ended, "hold ended");
    }
}

/// Returns each reason once, with the instances that it concerns, in the order of the first of each.
fn one_by_reason<'a>(
    holds: impl Iterator<Item = &'a Held>,
) -> Vec<(&'a Held, Vec<&'a InstanceId>)> {
    let mut reasons: Vec<(&Held, Vec<&InstanceId>)> = Vec::new();
    for held in holds {
        match reasons
            .iter_mut()
            .find(|(known, _)| known.hold == held.hold)
        {
            Some((_, whom)) => whom.extend(&held.instance),
            None => reasons.push((held, held.instance.iter().collect())),
        }
    }
    reasons
}

/// Names a few instances and counts the rest.
fn instances(whom: &[&InstanceId]) -> String {
    const NAMED_MAX: usize = 5;
    let named = whom.iter().take(NAMED_MAX).map(ToString::to_string);
    let mut text = named.collect::<Vec<_>>().join(", ");
    if let Some(more) = whom.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// Returns the orders that were not known before.
fn new_orders<'a>(
    before: &'a [RecordedOrder],
    after: &'a [RecordedOrder],
) -> impl Iterator<Item = &'a RecordedOrder> {
    let known = |order: &RecordedOrder| before.iter().any(|known| known.order == order.order);
    after.iter().filter(move |order| !known(order))
}

/// Logs what people asked of a rollout or of an instance, and whether there was anything to do.
pub(super) fn tell_heeded(name: &GroupName, before: &RecordedGroup, after: &RecordedGroup) {
    let known = |heeded: &&Heeded| !before.heeded.contains(heeded);
    for Heeded { asked, effect } in after.heeded.iter().filter(known) {
        info!(
            group = %name,
            operation = asked.verdict.word(),
            signer = asked.signer.as_str(),
            effect,
            "operation heeded"
        );
    }
    for RecordedOrder { order, state } in new_orders(&before.orders, &after.orders) {
        info!(
            group = %name,
            instance = %order.instance,
            operation = order.verb.word(),
            signer = order.signer.as_str(),
            state = state.as_str(),
            "operation heeded"
        );
    }
}

#[cfg(test)]
mod tests {
    use drover_model::Hold;

    use super::*;

    #[test]
    fn a_reason_that_concerns_many_is_told_once() {
        let web = GroupName::parse("web").unwrap();
        let held = |hold: Hold, number: Option<u64>| Held {
            hold,
            reason: None,
            instance: number.map(|number| InstanceId::new(web.clone(), number)),
            until: None,
        };
        let observed = (1..=7).map(|number| held(Hold::ObserveOnly, Some(number)));
        let holds: Vec<Held> = observed
            .chain([held(Hold::ObservationStale, None)])
            .collect();
        let told: Vec<(&str, String)> = one_by_reason(holds.iter())
            .into_iter()
            .map(|(held, whom)| (held.hold.code(), instances(&whom)))
            .collect();
        let all = "web-1, web-2, web-3, web-4, web-5 and 2 more".to_owned();
        assert_eq!(
            told,
            [("ObserveOnly", all), ("ObservationStale", String::new())]
        );
    }
}
