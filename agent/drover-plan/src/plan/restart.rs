//! Restarting an instance because a person with a key asks for it: in place, as it is, and once.
//!
//! The token of the call follows from the word, so that the provider restarts the instance once for it, and the
//! journal shows how far it has come: nothing else has to be remembered. It is done when the restart is seen, which
//! is recorded before the intent is closed.

use drover_model::{
    DrainProgress, FieldClass, Held, Hold, InPlace, InstanceId, Intent, IntentKind, IntentState,
    Member, Order, OrderState, OrderVerb, Reason, RecordedOrder, SettlementOutcome,
};

use super::draft::Draft;
use super::held;
use crate::numbers::serves;
use crate::restarts;

impl<'a> Draft<'a> {
    /// Refuses restarts that the provider cannot carry out, and says what can be done instead.
    pub(super) fn judge_restarts(&mut self) {
        let open = self.input.recorded.orders.iter().filter(|known| {
            known.order.verb == OrderVerb::Restart && known.is_open(self.input.now)
        });
        let judged: Vec<(&Order, String)> = open
            .filter_map(|known| {
                let member = self.input.classified.members.get(&known.order.instance)?;
                Some((&known.order, self.cannot_restart(member)?))
            })
            .collect();
        for (order, why) in judged {
            self.refuse_order(order, &why);
        }
    }

    /// Returns why a member is not restarted in place, if it is not.
    fn cannot_restart(&self, member: &Member) -> Option<String> {
        if member.seat.is_some() {
            return Some("a member of a quorum group is never restarted in place".to_owned());
        }
        let provider = self.input.provider;
        let restarts = provider
            .classes
            .values()
            .any(|class| *class == FieldClass::Restart);
        if !restarts {
            let (name, type_) = (&provider.name, &provider.type_);
            return Some(format!(
                "provider {name} of type {type_} restarts nothing in place"
            ));
        }
        self.template(&member.digests)
            .is_none()
            .then(|| "what it was made from is not recorded".to_owned())
    }

    /// Notes that an order cannot be carried out.
    pub(super) fn refuse_order(&mut self, order: &Order, why: &str) {
        let why = format!("{why}; `drover replace` has another one take its place");
        for known in &mut self.next.orders {
            if known.order == *order {
                known.state = OrderState::Refused { why: why.clone() };
            }
        }
    }

    /// Returns those that are to restart because people say so.
    pub(super) fn to_restart(&self) -> Vec<&'a Member> {
        let mut asked = self.asked_of(OrderVerb::Restart);
        // What the journal knows of is on its way. What has happened is recorded by this plan.
        let begun = |member: &Member| {
            let updates = self.intents.updates.get(&member.id).into_iter().flatten();
            let mut updates = updates.copied();
            let order = self.open_order(&member.id, OrderVerb::Restart);
            updates.any(|intent| {
                let had = order.is_some_and(|known| self.fulfils(intent, known));
                !self.is_settled(intent) || had
            })
        };
        asked.retain(|member| !begun(member) && self.cannot_restart(member).is_none());
        asked
    }

    /// Returns whether a member was restarted because a person asked for it, of late.
    pub(super) fn was_restarted(&self, member: &Member) -> bool {
        member.restarted_at.is_some() && self.restarts_for_people(&member.id)
    }

    /// Returns whether a person asked for a restart of an instance, of late.
    pub(super) fn restarts_for_people(&self, id: &InstanceId) -> bool {
        restarts::latest(self.input.recorded, id).is_some()
    }

    /// Restarts what people say must be: where nothing may be missing, while another one stands in for it.
    pub(super) fn restart_ordered(&mut self) {
        let mut asked = self.to_restart();
        if asked.is_empty() {
            return;
        }
        if let Some(held) = self.withheld(Reason::Heal) {
            self.hold(held);
            return;
        }
        self.succeeded = self.to_succeed();
        self.pass_by(&mut asked, Reason::Heal);
        let allowed = self.orders_at_once();
        let mut left = self.orders_left();
        let stands_in = self.successor_first() && self.resolved.floor >= self.resolved.size;
        if stands_in {
            self.replace_doomed(Reason::Heal, left);
        }
        for member in asked {
            let of_member = |held: Held| Held {
                reason: Some(Reason::Heal),
                instance: Some(member.id.clone()),
                ..held
            };
            let in_turn = !stands_in || !serves(member) || self.is_doomed(member);
            if left == 0 || !in_turn {
                self.hold(of_member(held(Hold::HealBudget { allowed })));
                return;
            }
            if stands_in && serves(member) && self.available <= self.resolved.size {
                let waiting = self.surplus_beside_doomed().max(1);
                self.hold(of_member(held(Hold::RolloutWindow { waiting })));
                continue;
            }
            match self.refusal(member, Reason::Heal) {
                None => {
                    self.restart_as_it_is(member);
                    left -= 1;
                }
                Some(held) => self.hold(of_member(held)),
            }
        }
    }

    /// Adds the call that restarts a member as it is.
    pub(super) fn call_for_restart(&mut self, member: &Member, order: &Order) {
        let change = (member.digests.clone(), order.token(&self.next.uid));
        self.change_to(member, InPlace::Restart, change, Reason::Heal);
    }

    /// Restarts a member that was drained for it, though nobody may ask for it any more: what was drained takes up no
    /// work again. One that cannot be restarted, or is too much by now, is ended.
    pub(super) fn restart_as_asked(
        &mut self,
        member: &'a Member,
        drain: &DrainProgress,
        wanted: bool,
    ) {
        match restarts::latest(self.input.recorded, &member.id) {
            Some(known) if known.state == OrderState::Done => {
                // It has happened, and only this was left open.
                self.close(drain.intent, SettlementOutcome::Observed);
            }
            Some(known) if wanted && self.cannot_restart(member).is_none() => {
                self.call_for_restart(member, &known.order);
            }
            Some(_) | None => self.give_up(member, Reason::Heal),
        }
    }

    /// Returns whether a restart that has happened is what an order asks for.
    fn fulfils(&self, intent: &Intent, asked: &RecordedOrder) -> bool {
        let outcome = self.settled.get(&intent.id).copied();
        let restarted = restarts::order_of(self.input.recorded, intent);
        let observed = outcome == Some(&SettlementOutcome::Observed);
        let Some(restarted) = restarted.filter(|_| observed) else {
            return false;
        };
        let order = &asked.order;
        let at = match &intent.state {
            IntentState::Acked { at, .. } => *at,
            IntentState::Intended | IntentState::Sent | IntentState::Failed { .. } => {
                intent.issued_at
            }
        };
        // Who asked again before the provider said yes has got what they want.
        let again = asked.state == OrderState::Open && order.verb == OrderVerb::Restart;
        let again = again && order.instance == restarted.order.instance && order.at <= at;
        again || *order == restarted.order
    }

    /// Records which restarts have happened: before their intents are closed, so that none is made twice.
    pub(super) fn record_restarts(&mut self) {
        for intent in self.input.intents {
            let happened: Vec<usize> = (0..self.next.orders.len())
                .filter(|at| self.fulfils(intent, &self.next.orders[*at]))
                .collect();
            for at in happened {
                self.next.orders[at].state = OrderState::Done;
            }
        }
    }

    /// Returns the instances whose restart the journal knows, or that have not recovered from theirs.
    pub(super) fn restarts_begun(&self) -> Vec<InstanceId> {
        let begun = self.input.intents.iter().filter_map(|intent| {
            let drained = match &intent.kind {
                IntentKind::Drain {
                    instance,
                    reason: Reason::Heal,
                    returns: Some(_),
                    ..
                } => Some(instance),
                IntentKind::Drain { .. }
                | IntentKind::Create { .. }
                | IntentKind::Destroy { .. }
                | IntentKind::Update(_)
                | IntentKind::Roster(_)
                | IntentKind::Adopt(_) => None,
            };
            let ordered = restarts::order_of(self.input.recorded, intent);
            drained.or(ordered.map(|known| &known.order.instance))
        });
        let recovering = self
            .live()
            .filter(|member| self.was_restarted(member) && self.is_back_soon(member));
        let recovering = recovering.map(|member| &member.id);
        begun.chain(recovering).cloned().collect()
    }
}
