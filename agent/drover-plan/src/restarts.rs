//! Restarts that people asked for, told from changes in place by their tokens: they leave an instance as it is, so
//! that its digests do not show whether they have happened.

use drover_model::{
    InPlaceUpdate, InstanceId, Intent, IntentKind, OrderState, OrderVerb, RecordedGroup,
    RecordedOrder,
};

/// Returns the order that an open change in place is the restart for. None: it is another change.
pub(crate) fn order_of<'a>(
    recorded: &'a RecordedGroup,
    intent: &Intent,
) -> Option<&'a RecordedOrder> {
    let IntentKind::Update(InPlaceUpdate {
        instance, update, ..
    }) = &intent.kind
    else {
        return None;
    };
    let mut orders = orders_for(recorded, instance);
    orders.find(|known| known.order.token(&recorded.uid) == *update)
}

/// Returns the latest restart that was asked of an instance and not refused.
pub(crate) fn latest<'a>(
    recorded: &'a RecordedGroup,
    instance: &InstanceId,
) -> Option<&'a RecordedOrder> {
    let orders = orders_for(recorded, instance);
    orders.max_by_key(|known| known.order.at)
}

fn orders_for<'a>(
    recorded: &'a RecordedGroup,
    instance: &InstanceId,
) -> impl Iterator<Item = &'a RecordedOrder> {
    let of_it = move |known: &&RecordedOrder| {
        let refused = matches!(known.state, OrderState::Refused { .. });
        known.order.verb == OrderVerb::Restart && known.order.instance == *instance && !refused
    };
    recorded.orders.iter().filter(of_it)
}
