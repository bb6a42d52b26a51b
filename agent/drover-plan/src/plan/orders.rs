//! What people with a key ask of single instances: to replace one that looks well, to keep one, and whom scale-in
//! takes first. To restart one is [`restart`](super::restart).
//!
//! A person's word that an instance is bad is reason enough to heal it, and no more: a replacement that is asked
//! for waits for whatever healing waits for, and for its successor where there is room for one. What is kept is
//! ended for no reason but the removal of its group, which asks by itself.

use drover_model::{
    Held, Hold, InstanceClass, InstanceId, Member, Order, OrderState, OrderVerb, QuorumSpec,
    Reason, RecordedOrder, RecordedQuorum, Trust,
};

use super::council::Council;
use super::draft::Draft;
use super::held;
use crate::numbers::serves;

impl<'a> Draft<'a> {
    /// Returns the order of this kind that counts for an instance.
    pub(super) fn ordered(&self, id: &InstanceId, verb: OrderVerb) -> Option<&'a Order> {
        self.open_order(id, verb).map(|known| &known.order)
    }

    /// Returns the same as it is recorded.
    pub(super) fn open_order(&self, id: &InstanceId, verb: OrderVerb) -> Option<&'a RecordedOrder> {
        let mut orders = self.input.recorded.orders.iter();
        orders.find(|known| {
            let order = &known.order;
            order.verb == verb && order.instance == *id && known.is_open(self.input.now)
        })
    }

    /// Returns the hold for an instance that a person keeps.
    pub(super) fn kept_by_person(&self, member: &Member) -> Option<Held> {
        let order = self.ordered(&member.id, OrderVerb::Keep)?;
        let hold = Hold::KeptInstance {
            by: order.signer.clone(),
            because: order.because.clone(),
        };
        Some(Held {
            instance: Some(member.id.clone()),
            until: Some(order.expires),
            ..held(hold)
        })
    }

    /// Returns whether people say that a member goes first when there is one too many.
    pub(super) fn yields(&self, member: &Member) -> bool {
        self.ordered(&member.id, OrderVerb::Yield).is_some()
    }

    /// Says what people keep, whether or not anything would end it, and wakes when an order expires.
    pub(super) fn tell_orders(&mut self) {
        let kept: Vec<Held> = self
            .known()
            .filter_map(|member| self.kept_by_person(member))
            .collect();
        for held in kept {
            self.hold(held);
        }
        self.judge_restarts();
        let open = self.input.recorded.orders.iter();
        let open = open.filter(|known| known.is_open(self.input.now));
        for expires in open.map(|known| known.order.expires) {
            self.wake(expires);
        }
    }

    /// Returns whether something is asked of a member that stays. One that is bad is replaced for that.
    fn is_asked(&self, member: &Member, verb: OrderVerb) -> bool {
        let well = match member.class {
            InstanceClass::Starting
            | InstanceClass::Warming
            | InstanceClass::Suspect { .. }
            | InstanceClass::Available => true,
            InstanceClass::Terminating
            | InstanceClass::Exited(_)
            | InstanceClass::Failed { .. }
            | InstanceClass::Unhealthy { .. }
            | InstanceClass::Lost { .. } => false,
        };
        // What the provider is about to take is replaced anyway.
        let stays = well && member.interruption.is_none();
        stays && self.ordered(&member.id, verb).is_some()
    }

    /// Returns those that are to be replaced because people say so, in the order in which they go.
    fn condemned(&self) -> Vec<&'a Member> {
        self.asked_of(OrderVerb::Replace)
    }

    /// Returns those that something is asked of, in the order in which it is done.
    pub(super) fn asked_of(&self, verb: OrderVerb) -> Vec<&'a Member> {
        if self.input.recorded.orders.is_empty() {
            return Vec::new();
        }
        let condemned = self.live().filter(|member| self.is_asked(member, verb));
        let mut condemned: Vec<&'a Member> = condemned.collect();
        condemned.sort_by_key(|member| (serves(member), member.busy, member.id.clone()));
        condemned
    }

    /// Returns whether something that is asked of an instance is still to be done.
    pub(super) fn has_work_ordered(&self) -> bool {
        !self.condemned().is_empty() || !self.to_restart().is_empty()
    }

    /// Returns how many replacements may be on the way at once.
    pub(super) fn orders_at_once(&self) -> u32 {
        let in_flight_max = self.spec.heal.in_flight_max;
        in_flight_max.ceil_of(self.resolved.size).max(1)
    }

    /// Returns how many more may be begun now. One whose successor serves is missing nowhere, and still on its way out.
    pub(super) fn orders_left(&self) -> u32 {
        let on_the_way = self.healing().max(self.in_flight(Reason::Heal));
        self.orders_at_once().saturating_sub(on_the_way)
    }

    /// Returns whether a member goes anyway, after a successor: the provider takes it, or people have it replaced.
    pub(super) fn is_doomed(&self, member: &Member) -> bool {
        let mut succeeded = self.succeeded.iter();
        member.interruption.is_some() || succeeded.any(|one| one.id == member.id)
    }

    /// Returns whether there may be an instance above the size, so that a successor comes first.
    pub(super) fn successor_first(&self) -> bool {
        let limit = self.spec.limits.total_max;
        let room = limit.is_none_or(|limit| limit > self.resolved.size);
        self.spec.quorum.is_none() && self.resolved.surge > 0 && room
    }

    /// Returns those that people have replaced and that there may be a successor beside: no more than may be on the way
    /// at once. What healing has on the way is no matter here: who has a successor keeps it, and whether one is made
    /// is decided where it is.
    pub(super) fn to_succeed(&self) -> Vec<&'a Member> {
        let mut condemned = self.condemned();
        // Where nothing may be missing another one stands in for what restarts.
        if self.resolved.floor >= self.resolved.size {
            condemned.extend(self.to_restart());
        }
        if condemned.is_empty() || !self.successor_first() || self.withheld(Reason::Heal).is_some()
        {
            return Vec::new();
        }
        condemned.retain(|member| self.protection(member, Reason::Heal).is_none());
        condemned.truncate(self.orders_at_once() as usize);
        condemned
    }

    /// Replaces what people say must be replaced: after a successor serves where there is room for one.
    pub(super) fn replace_ordered(&mut self) {
        let mut condemned = self.condemned();
        if condemned.is_empty() {
            return;
        }
        if let Some(held) = self.withheld(Reason::Heal) {
            self.hold(held);
            return;
        }
        self.succeeded = self.to_succeed();
        self.pass_by(&mut condemned, Reason::Heal);
        let allowed = self.orders_at_once();
        let mut left = self.orders_left();
        if self.successor_first() {
            self.replace_doomed(Reason::Heal, left);
        } else if condemned.iter().any(|member| serves(member)) && self.has_no_successor() {
            return;
        }
        for member in condemned {
            let of_member = |held: Held| Held {
                reason: Some(Reason::Heal),
                instance: Some(member.id.clone()),
                ..held
            };
            let in_turn = !self.successor_first() || self.is_doomed(member);
            if !in_turn || left == 0 {
                self.hold(of_member(held(Hold::HealBudget { allowed })));
                return;
            }
            let waits = serves(member) && self.successor_first();
            if waits && self.available <= self.resolved.size {
                let waiting = self.surplus_beside_doomed().max(1);
                self.hold(of_member(held(Hold::RolloutWindow { waiting })));
                continue;
            }
            match self.refusal(member, Reason::Heal) {
                None => {
                    self.disrupt(member, Reason::Heal);
                    left -= 1;
                }
                Some(held) => self.hold(of_member(held)),
            }
        }
    }

    /// Returns whether nothing can be made in the place of what is taken out now, and says why: then nothing is.
    fn has_no_successor(&mut self) -> bool {
        let waits = match self.templates_for(1) {
            Ok(parts) => parts
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .find_map(|(digests, _)| self.launch_withheld(&digests)),
            Err(held) => Some(*held),
        };
        let Some(held) = waits else {
            return false;
        };
        self.hold(Held {
            reason: Some(Reason::Heal),
            ..held
        });
        true
    }

    /// Takes out a member of a quorum that people say must be replaced, so that it is made again. Returns whether
    /// there is one.
    pub(super) fn replace_ordered_member(
        &mut self,
        quorum: &QuorumSpec,
        known: &RecordedQuorum,
        council: &Council<'a>,
    ) -> bool {
        let mut condemned = self.condemned();
        condemned.retain(|member| council.is_wanted(member));
        self.pass_by(&mut condemned, Reason::Heal);
        condemned.sort_by_key(|member| (council.leads(member), member.busy, member.id.clone()));
        let Some(member) = condemned.first() else {
            return false;
        };
        // While launches wait there will be no replacement, so nobody is taken out for one.
        if self.launchable(None).is_some() {
            self.disrupt_in_turn(member, Reason::Heal, quorum, known, council);
        }
        true
    }

    /// Records what has become of orders: what is gone has been replaced, and what has expired is forgotten.
    pub(super) fn record_orders(&mut self) {
        if self.next.orders.is_empty() {
            return;
        }
        let classified = self.input.classified;
        let now = self.input.now;
        if matches!(classified.trust, Trust::Full) {
            for known in &mut self.next.orders {
                let id = &known.order.instance;
                let there = classified.members.contains_key(id) || classified.kept.contains_key(id);
                if known.state == OrderState::Open && !there {
                    known.state = OrderState::Done;
                }
            }
        }
        self.record_restarts();
        let begun: Vec<InstanceId> = self.restarts_begun();
        let counts = |known: &RecordedOrder| {
            let begun = begun.contains(&known.order.instance);
            known.order.counts(now) || (known.order.verb == OrderVerb::Restart && begun)
        };
        self.next.orders.retain(counts);
    }
}
