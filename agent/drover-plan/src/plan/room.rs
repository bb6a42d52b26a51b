//! How many strangers the size has room for. What it has no room for is not adopted: adopted, it would be too much, and
//! the group would end it, or another one in its place. Nobody asked for either.
//!
//! Once it was held, a place that becomes free by the group's own doing, as in a rollout, is not filled with it: only a
//! larger size is, or a group that has nothing any more.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Adoption, Held, Hold, InstanceId, Intent, MemberId, ProviderRef, RecordedGroup,
    RecordedStranger, Stranger,
};

use super::adopt::goes_on;
use super::draft::Draft;
use super::held;
use crate::input::PlanInput;

/// Most handles that a hold names: enough to find the rest by.
const HANDLES_MAX: usize = 10;

/// Strangers, each part in the order of their handles.
pub(super) struct Sorted<'a> {
    /// Those that the group takes, those apart that it is adopting already.
    pub(super) taken: Vec<&'a Stranger>,
    /// Those that its size has no room for.
    pub(super) surplus: Vec<&'a Stranger>,
}

impl<'a> Draft<'a> {
    /// Sorts strangers by whether there is room for them. First come those of the template in Git, of which nothing is to
    /// be replaced, then the oldest; in a quorum group, before all, those whose places are free.
    pub(super) fn sorted(&self, strangers: &'a [Stranger]) -> Sorted<'a> {
        let size = places(self.input, self.resolved.size);
        let mut grown = size.saturating_sub(self.input.recorded.size);
        let begun = self.adopting().filter(|(intent, _)| goes_on(intent));
        let begun: BTreeSet<&ProviderRef> = begun.map(|(_, step)| &step.provider_ref).collect();
        let live = self.live_count().saturating_sub(self.may_be_made());
        let mut room = size.saturating_sub(live).saturating_sub(begun.len() as u32);
        let is_begun = |one: &&Stranger| begun.contains(&one.provider_ref);
        let (mut taken, mut new): (Vec<&Stranger>, Vec<&Stranger>) =
            strangers.iter().partition(is_begun);
        let seated = self.seated_members();
        new.sort_by_cached_key(|one| {
            (
                is_held(self.input.recorded, &one.provider_ref),
                !self.has_free_place(one, &seated),
                !self.counts_as_current(&self.digests_of(one)),
                one.created_at.is_none(),
                one.created_at,
                one.provider_ref.clone(),
            )
        });
        let mut surplus = Vec::new();
        for one in new {
            let held = is_held(self.input.recorded, &one.provider_ref);
            if room == 0 || (held && grown == 0) {
                surplus.push(one);
                continue;
            }
            room -= 1;
            grown -= u32::from(held);
            taken.push(one);
        }
        let handle = |one: &&Stranger| one.provider_ref.clone();
        taken.sort_by_cached_key(handle);
        surplus.sort_by_cached_key(handle);
        Sorted { taken, surplus }
    }

    /// Counts what creates without an answer may have made: what is found may be just that, so that it waits for the answer.
    fn may_be_made(&self) -> u32 {
        let unanswered = self.unanswered().into_iter();
        let slots = unanswered.filter(|intent| !self.is_there(intent));
        let slots: BTreeSet<&InstanceId> = slots.flat_map(Intent::slots).collect();
        let staying = self.live().filter(|member| member.provider_ref.is_none());
        staying.filter(|member| slots.contains(&member.id)).count() as u32
    }

    fn seated_members(&self) -> BTreeSet<&'a MemberId> {
        let seats = self.known().filter_map(|member| member.seat.as_ref());
        seats.map(|seat| &seat.member).collect()
    }

    /// Returns whether a stranger's place in a quorum group is nobody else's. Without places every stranger has one.
    fn has_free_place(&self, stranger: &Stranger, seated: &BTreeSet<&MemberId>) -> bool {
        let Some(quorum) = &self.spec.quorum else {
            return true;
        };
        let place = self.place_for(stranger);
        place.is_some_and(|seat| {
            quorum.member(&seat.member).is_some() && !seated.contains(&seat.member)
        })
    }

    /// Records the strangers that there is no room for.
    pub(super) fn record_surplus(&mut self, surplus: &[&Stranger]) {
        let recorded = surplus.iter().map(|stranger| {
            let outdated = !self.counts_as_current(&self.digests_of(stranger));
            let place = self.place_for(stranger);
            let recorded = RecordedStranger {
                instance: None,
                outdated,
                member: place.map(|seat| seat.member),
                address: stranger.address.clone(),
                zone: stranger.zone.clone(),
                claimed_by: stranger.claimed_by.clone(),
                missing_since: None,
            };
            (stranger.provider_ref.clone(), recorded)
        });
        let recorded: BTreeMap<ProviderRef, RecordedStranger> = recorded.collect();
        self.next.strangers.extend(recorded);
    }

    /// Tells of the strangers that there is no room for. Nothing else is withheld for them.
    pub(super) fn tell_surplus(&mut self) {
        let surplus: Vec<&ProviderRef> = self.next.left_alone().map(|(handle, _)| handle).collect();
        if surplus.is_empty() {
            return;
        }
        let handles = surplus.iter().take(HANDLES_MAX);
        let told = Hold::AdoptedSurplus {
            count: surplus.len() as u32,
            handles: handles.map(|&handle| handle.clone()).collect(),
        };
        self.hold(held(told));
    }

    /// Counts those that were held and are there.
    pub(super) fn surplus_shown(&self) -> u32 {
        let held = self.next.left_alone();
        held.filter(|(_, one)| one.missing_since.is_none()).count() as u32
    }

    /// Records the strangers of a group that goes on beside them. Where nobody can tell now, they are those of before.
    pub(super) fn leave_alone(&mut self) {
        match &self.input.classified.adoption {
            Some(Adoption::Known { strangers, .. }) => {
                let surplus = self.sorted(strangers).surplus;
                self.next.strangers.clear();
                self.record_surplus(&surplus);
            }
            Some(Adoption::Unknown(_)) => {
                self.next.strangers.retain(|_, one| one.instance.is_none());
            }
            None => self.next.strangers.clear(),
        }
    }

    /// Returns why the size may not grow: who was held is taken over by a larger size, and nobody knows who is there.
    pub(super) fn growth_unknown(&self) -> Option<Held> {
        let adoption = self.input.classified.adoption.as_ref();
        let Some(Adoption::Unknown(hold)) = adoption else {
            return None;
        };
        let recorded = self.input.recorded;
        recorded.left_alone().next()?;
        let size = recorded.size;
        let why = format!(
            "the size stays {size}, as a larger one takes over what was left alone: {hold}"
        );
        Some(held(Hold::AdoptionUnknown { why }))
    }

    /// Returns whether the group has nothing of its own, and has seen what it is to take over: it has nothing to lose by
    /// a smaller size.
    pub(super) fn has_strangers_alone(&self) -> bool {
        let Self { input, .. } = self;
        let own = self.known().next().is_some() || !input.intents.is_empty();
        !own && owns_nothing(input.recorded)
    }
}

/// Returns how many places a group has for what it takes over. While a smaller size is withheld, those of the larger one
/// are not filled.
fn places(input: &PlanInput<'_>, in_force: u32) -> u32 {
    if input.decisions.size.is_some() {
        in_force
    } else {
        in_force.min(input.desired.spec().size)
    }
}

/// Returns whether a stranger was held before, for want of room in a group that has instances.
pub(super) fn is_held(recorded: &RecordedGroup, handle: &ProviderRef) -> bool {
    let was = recorded.strangers.get(handle);
    !recorded.instances.is_empty() && was.is_some_and(|was| was.instance.is_none())
}

/// Returns whether a group has seen what it is to take over, and has nothing yet, as far as is recorded.
pub(crate) fn owns_nothing(recorded: &RecordedGroup) -> bool {
    recorded.instances.is_empty() && !recorded.strangers.is_empty()
}
