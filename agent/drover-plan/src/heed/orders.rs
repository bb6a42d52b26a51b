//! What people ask of single instances. The latest word about an instance counts: each takes the place of what
//! was asked of it before.

use drover_model::{Order, OrderState, OrderVerb, RecordedGroup, RecordedOrder, Timestamp};

/// Returns what is recorded of orders once those of `asked` that are new are taken up. None: none is new.
pub(super) fn take_up(
    recorded: &RecordedGroup,
    asked: &[Order],
    now: Timestamp,
) -> Option<Vec<RecordedOrder>> {
    let is_new = |asked: &&Order| {
        let known = |known: &RecordedOrder| known.order == **asked;
        asked.counts(now) && !recorded.orders.iter().any(known)
    };
    let mut new = asked.iter().filter(is_new).peekable();
    new.peek()?;
    let mut orders = recorded.orders.clone();
    for order in new {
        let state = begin(recorded, &mut orders, order);
        orders.push(RecordedOrder {
            order: order.clone(),
            state,
        });
    }
    Some(orders)
}

/// Lets an order take the place of the earlier ones about its instance. Returns how it begins.
fn begin(recorded: &RecordedGroup, orders: &mut [RecordedOrder], order: &Order) -> OrderState {
    let refused = |why: &str| OrderState::Refused {
        why: why.to_owned(),
    };
    let Some(instance) = recorded.instances.get(&order.instance) else {
        // Nor does it count for an instance that gets this id later.
        return refused("there is no such instance");
    };
    let ends = match order.verb {
        OrderVerb::Replace | OrderVerb::Restart | OrderVerb::Yield => true,
        OrderVerb::Keep | OrderVerb::Release => false,
    };
    if ends && instance.kept.is_some() {
        return refused("another one has its place already: it is kept for people to look at");
    }
    if order.verb == OrderVerb::Yield && recorded.quorum.is_some() {
        return refused("the document says which members there are");
    }
    let about = |known: &&mut RecordedOrder| {
        known.order.instance == order.instance && known.state == OrderState::Open
    };
    let mut open = orders.iter_mut().filter(about).peekable();
    if open.peek().is_none() && order.verb == OrderVerb::Release {
        return refused("nothing is asked of it");
    }
    for known in open {
        if known.order.at > order.at {
            return OrderState::Superseded;
        }
        known.state = OrderState::Superseded;
    }
    match order.verb {
        OrderVerb::Replace | OrderVerb::Restart | OrderVerb::Yield | OrderVerb::Keep => {
            OrderState::Open
        }
        OrderVerb::Release => OrderState::Done,
    }
}
