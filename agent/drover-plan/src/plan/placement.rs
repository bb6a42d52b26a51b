//! Zones: where instances are made, which zones wait, and what a zone has too many of.

use std::collections::{BTreeMap, VecDeque};

use drover_model::{
    Cause, Digests, ErrorClass, Held, Hold, IntentKind, IntentState, Member, PlaceDecision, Reason,
    Rebalance, Spread, Timestamp, Verdict,
};

use super::draft::Draft;
use super::held;
use super::late::is_well;
use crate::change::policy_hold;
use crate::numbers::serves;
use crate::time::later;

impl<'a> Draft<'a> {
    /// Leaves alone the zones that had no room.
    pub(super) fn track_zones(&mut self) {
        let placement = &self.spec.placement;
        let short: Vec<(String, Timestamp)> = self
            .intents
            .creates
            .iter()
            .filter_map(|intent| match (&intent.kind, &intent.state) {
                (
                    IntentKind::Create {
                        zone: Some(zone), ..
                    },
                    IntentState::Failed {
                        class: ErrorClass::Capacity,
                        at,
                        ..
                    },
                ) => Some((zone.clone(), *at)),
                (
                    IntentKind::Create {
                        zone: Some(zone),
                        slots,
                        ..
                    },
                    IntentState::Acked { made, at },
                ) if made.len() < slots.len() => Some((zone.clone(), *at)),
                _ => None,
            })
            .collect();
        if short.is_empty() {
            return;
        }
        let now = self.input.now;
        let cooling = &mut self.next.cooling;
        cooling.retain(|zone, until| *until > now && placement.zones.contains(zone));
        for (zone, at) in short {
            let until = later(at, placement.cooldown);
            if placement.zones.contains(&zone) && until > now {
                let known = cooling.entry(zone).or_insert(until);
                *known = until.max(*known);
            }
        }
    }

    /// Returns whether a lack of room is a matter of one zone of several, and so no reason for all
    /// launches to wait.
    pub(super) fn is_zonal(&self, kind: &IntentKind) -> bool {
        match kind {
            IntentKind::Create { zone, .. } => zone
                .as_ref()
                .is_some_and(|zone| self.spec.placement.zones.contains(zone)),
            IntentKind::Drain { .. }
            | IntentKind::Destroy { .. }
            | IntentKind::Update(_)
            | IntentKind::Roster(_)
            | IntentKind::Adopt(_) => false,
        }
    }

    fn cools(&self, zone: &str) -> bool {
        let until = self.next.cooling.get(zone);
        until.is_some_and(|until| *until > self.input.now)
    }

    /// Returns the verdict that forbids a zone.
    fn forbids(&self, zone: &str) -> Option<&'a Verdict> {
        match self.input.decisions.places.get(zone)? {
            PlaceDecision::Forbidden(verdict) => Some(verdict),
            PlaceDecision::Score(_) => None,
        }
    }

    /// Returns whether something may be made in a zone now.
    fn is_open(&self, zone: &str) -> bool {
        !self.cools(zone) && self.forbids(zone).is_none()
    }

    /// Returns the zones in which something may be made now, those with the highest score of a policy.
    fn open_zones(&self) -> Vec<&'a String> {
        let zones = &self.spec.placement.zones;
        let open: Vec<&'a String> = zones.iter().filter(|zone| self.is_open(zone)).collect();
        let score = |zone: &String| match self.input.decisions.places.get(zone) {
            Some(PlaceDecision::Score(score)) => *score,
            Some(PlaceDecision::Forbidden(_)) | None => 0.0,
        };
        let best = open.iter().map(|zone| score(zone)).max_by(f64::total_cmp);
        let is_best =
            |zone: &&String| best.is_some_and(|best| score(zone).total_cmp(&best).is_eq());
        open.into_iter().filter(is_best).collect()
    }

    /// Returns the hold while nothing may be made in any zone: none is expected to have room, or
    /// policies forbid those that are.
    pub(super) fn zones_closed(&self) -> Option<Held> {
        let zones = &self.spec.placement.zones;
        if zones.is_empty() || zones.iter().any(|zone| self.is_open(zone)) {
            return None;
        }
        if let Some(verdict) = zones.iter().find_map(|zone| self.forbids(zone)) {
            return Some(held(policy_hold(verdict, Hold::PlaceForbidden)));
        }
        let until = zones.iter().filter_map(|zone| self.next.cooling.get(zone));
        Some(Held {
            until: until.min().copied(),
            ..held(Hold::ZonesCooling {
                zones: zones.len() as u32,
            })
        })
    }

    /// Returns in which zones the next `count` instances are made, with how many each, in an order
    /// that does not depend on anything else.
    pub(super) fn spread(&self, count: u32, digests: &Digests) -> Vec<(Option<String>, u32)> {
        let placement = &self.spec.placement;
        let open = self.open_zones();
        if open.is_empty() {
            return vec![(None, if placement.zones.is_empty() { count } else { 0 })];
        }
        // Those of the same template come first: in a rollout the others are about to go.
        let there = self.zone_counts();
        let mut alike = ZoneCounts::default();
        for member in self.live().filter(|member| member.digests == *digests) {
            alike.add(member.zone.as_deref(), 1);
        }
        for ((made, zone), count) in &self.made_in {
            if made == digests {
                alike.add(zone.as_deref(), *count);
            }
        }
        let mut counts: Vec<((u32, u32), u32)> = open
            .iter()
            .map(|zone| Some(zone.as_str()))
            .map(|zone| ((alike.get(zone), there.get(zone)), 0))
            .collect();
        for _ in 0..count {
            // The first of the smallest: zones of equal count are filled in the order as written.
            let next = match placement.spread {
                Spread::Even => counts.iter_mut().min_by_key(|(there, _)| *there),
                Spread::Any => counts.first_mut(),
            };
            if let Some(((alike, there), more)) = next {
                *alike += 1;
                *there += 1;
                *more += 1;
            }
        }
        let made = open.into_iter().zip(counts);
        made.filter(|(_, (_, more))| *more > 0)
            .map(|(zone, (_, more))| (Some(zone.clone()), more))
            .collect()
    }

    /// Counts those that stay, by zone, those that this plan makes among them.
    pub(super) fn zone_counts(&self) -> ZoneCounts {
        let mut counts = ZoneCounts::default();
        for ((_, zone), count) in &self.made_in {
            counts.add(zone.as_deref(), *count);
        }
        for member in self.live() {
            counts.add(member.zone.as_deref(), 1);
        }
        counts
    }

    /// Returns whether removals mind the zones.
    pub(super) fn minds_zones(&self) -> bool {
        let placement = &self.spec.placement;
        let some = !placement.zones.is_empty() && placement.spread == Spread::Even;
        some && placement.rebalance >= Rebalance::Opportunistic
    }

    /// Returns how many instances a move between zones has above the size now: its successor is there,
    /// and what it replaces is still to go. Where neither a person nor a policy moved the size since the
    /// group was at rest, one too many is the successor.
    pub(super) fn rebalance_allowance(&self) -> u32 {
        let moving = self.minds_zones()
            && self.spec.placement.rebalance == Rebalance::Proactive
            && self.next.rollout.is_none()
            && self.next.stable_size == self.resolved.size
            && self.resolved.surge > 0
            && self.withheld(Reason::Rebalance).is_none();
        let useful = |(from, to): (InZone, InZone)| from.count > to.count;
        let goes_on = moving && self.live().all(is_well) && self.imbalance().is_some_and(useful);
        u32::from(goes_on)
    }

    /// Moves an instance from a zone that has too many to the one with the fewest: its successor is
    /// made first where there is a surge. One at a time, and only while nothing else goes on.
    ///
    /// Each move makes the counts more even, since two zones differ by two at least when it begins: no
    /// sequence of moves comes back to where it was.
    pub(super) fn rebalance(&mut self) {
        let steady = self.next.rollout.is_none()
            && self.unmet == 0
            && self.made.is_empty()
            && self.leaving.is_empty()
            && self
                .live()
                .all(|member| serves(member) && self.current(member));
        if !self.minds_zones()
            || self.spec.placement.rebalance != Rebalance::Proactive
            || !steady
            || self.size_withheld
            || self.has_work_ordered()
        {
            return;
        }
        let Some((from, to)) = self.imbalance() else {
            return;
        };
        let excess = self.live_count().saturating_sub(self.resolved.size);
        // With the successor there, one more or less is what the move is about.
        if excess == 0 && !self.converged {
            return;
        }
        if excess == 0 && from.count.saturating_sub(to.count) <= self.spec.placement.skew_max {
            return;
        }
        if let Some(held) = self.withheld(Reason::Rebalance) {
            self.hold(held);
            return;
        }
        let for_rebalance = |held: Held| Held {
            reason: Some(Reason::Rebalance),
            ..held
        };
        let mut victims = self.victims_in(from.zone.as_deref());
        self.pass_by(&mut victims, Reason::Rebalance);
        if victims.is_empty() {
            return;
        }
        if excess == 0 && self.resolved.surge > 0 {
            let target = self.target.clone();
            let cause = Cause::Because(Reason::Rebalance);
            let (count, limit) = self.creatable(1, &target, cause);
            self.create(count, &target, cause);
            self.converged &= count == 0;
            if let Some(held) = limit {
                self.hold(for_rebalance(held));
            }
            return;
        }
        if excess > 1 || (excess == 1 && from.count <= to.count) {
            return;
        }
        for member in victims {
            match self.refusal_to_replace(member, Reason::Rebalance) {
                None => {
                    self.disrupt(member, Reason::Rebalance);
                    self.converged = false;
                    return;
                }
                Some(held) => {
                    let floor = matches!(held.hold, Hold::AvailabilityFloor { .. });
                    self.hold(held);
                    if floor {
                        return;
                    }
                }
            }
        }
    }

    /// Returns the zone with the most instances, and the one with the fewest that may get some. One
    /// that is not in the document has too many whatever it has.
    fn imbalance(&self) -> Option<(InZone, InZone)> {
        let counts = self.zone_counts();
        let zones = &self.spec.placement.zones;
        let foreign = counts.0.iter().find(|(zone, count)| {
            let listed = zone.as_ref().is_some_and(|zone| zones.contains(zone));
            !listed && **count > 0
        });
        let in_zone = |zone: &String| InZone {
            zone: Some(zone.clone()),
            count: counts.get(Some(zone)),
        };
        let open = self.open_zones().into_iter();
        let fewest = open.map(in_zone).min_by_key(|zone| zone.count)?;
        if let Some((zone, _)) = foreign {
            let from = InZone {
                zone: zone.clone(),
                count: u32::MAX,
            };
            return Some((from, fewest));
        }
        let most = zones.iter().map(in_zone).rev();
        Some((most.max_by_key(|zone| zone.count)?, fewest))
    }

    fn victims_in(&self, zone: Option<&str>) -> Vec<&'a Member> {
        let victims = self.victims().into_iter();
        victims
            .filter(|member| member.zone.as_deref() == zone)
            .collect()
    }
}

/// A zone and how many instances it has.
struct InZone {
    zone: Option<String>,
    count: u32,
}

/// How many instances each zone has.
#[derive(Debug, Clone, Default)]
pub(super) struct ZoneCounts(pub(super) BTreeMap<Option<String>, u32>);

impl ZoneCounts {
    pub(super) fn get(&self, zone: Option<&str>) -> u32 {
        self.0
            .get(&zone.map(str::to_owned))
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn add(&mut self, zone: Option<&str>, count: u32) {
        *self.0.entry(zone.map(str::to_owned)).or_default() += count;
    }
}

/// Reorders members that are sorted already: among those of one tier, the next is of the zone that has
/// the most left by the first of `counts`, then by the second. What is outside of `zones` comes first:
/// it should not be there.
pub(super) fn fullest_zone_first<'a>(
    sorted: &[&'a Member],
    tier: impl Fn(&Member) -> u8,
    mut counts: [ZoneCounts; 2],
    zones: &[String],
) -> Vec<&'a Member> {
    let mut out = Vec::with_capacity(sorted.len());
    for members in sorted.chunk_by(|one, other| tier(one) == tier(other)) {
        let mut queues: BTreeMap<Option<&str>, VecDeque<(usize, &'a Member)>> = BTreeMap::new();
        for (position, member) in members.iter().enumerate() {
            let queue = queues.entry(member.zone.as_deref()).or_default();
            queue.push_back((position, *member));
        }
        for _ in 0..members.len() {
            let weight = |zone: Option<&str>| {
                let listed = zone.is_some_and(|zone| zones.iter().any(|one| one == zone));
                (!listed, counts[0].get(zone), counts[1].get(zone))
            };
            let fullest = queues
                .iter()
                .filter_map(|(zone, queue)| Some((*zone, queue.front()?.0)))
                .max_by_key(|(zone, position)| (weight(*zone), std::cmp::Reverse(*position)))
                .map(|(zone, _)| zone);
            let Some(zone) = fullest else { break };
            if let Some((_, member)) = queues.get_mut(&zone).and_then(VecDeque::pop_front) {
                out.push(member);
                for counts in &mut counts {
                    let left = counts.get(zone).saturating_sub(1);
                    counts.0.insert(zone.map(str::to_owned), left);
                }
            }
        }
    }
    out
}
