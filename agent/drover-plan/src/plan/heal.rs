//! Replacing bad instances: paced, and slower when so many are bad that the cause lies elsewhere.

use drover_model::{
    ErrorClass, Held, Hold, InPlace, InstanceClass, Lifecycle, Member, Reason, SystemicMode,
    Timestamp, defaults,
};

use super::draft::Draft;
use super::held_for;
use crate::numbers::serves;

impl<'a> Draft<'a> {
    /// Takes bad instances out; scale-out of the same plan refills what the ceiling allows.
    pub(super) fn heal(&mut self) {
        let mut bad: Vec<&'a Member> = self
            .live()
            .filter(|member| rank(member).is_some())
            .collect();
        if bad.is_empty() {
            return;
        }
        bad.sort_by_key(|member| (rank(member), member.created_at, member.id.clone()));
        if self.blind() {
            self.hold(held_for(Reason::Heal, Hold::AllUnknown));
            bad.retain(|member| !matches!(member.class, InstanceClass::Lost { .. }));
        }
        self.leave_changing(&mut bad);
        // What is being repaired is still broken: taking one out must not make the rest look rare.
        let healing = self.healing();
        let pace = self.heal_allowance(&bad, healing);
        let mut on_the_way = healing;
        for member in bad {
            let allowed = if rank(member) == Some(0) {
                pace.ended
            } else {
                pace.doubtful
            };
            if on_the_way >= allowed {
                self.hold(held_for(Reason::Heal, Hold::HealBudget { allowed }));
                return;
            }
            match self.refusal(member, Reason::Heal) {
                None => {
                    self.keep_or_end(member);
                    on_the_way += 1;
                }
                Some(held) => self.hold(held),
            }
        }
    }

    /// Takes those out of `bad` that are lost while the provider changes them without an interruption: it has them, and
    /// what it began may yet come to its end, or be taken back by another change.
    fn leave_changing(&mut self, bad: &mut Vec<&'a Member>) {
        let changing = |member: &&Member| {
            let lost = matches!(member.class, InstanceClass::Lost { .. });
            lost && member.update == Some(InPlace::Live)
        };
        for member in bad.extract_if(.., |member| changing(member)) {
            self.hold(Held {
                instance: Some(member.id.clone()),
                ..held_for(Reason::Heal, Hold::RolloutWindow { waiting: 1 })
            });
        }
    }

    /// Returns how many replacements may be on the way at once, `bad` instances waiting for one and `healing` on the way.
    fn heal_allowance(&mut self, bad: &[&Member], healing: u32) -> Pace {
        let waiting = bad;
        let bad = bad.len() as u32 + healing;
        let spec = &self.spec.heal;
        let size = self.resolved.size;
        let allowed = spec.in_flight_max.ceil_of(size).max(1);
        let threshold = spec
            .systemic
            .threshold
            .ceil_of(size)
            .max(defaults::SYSTEMIC_COUNT_MIN);
        if bad < threshold {
            return Pace::even(allowed);
        }
        self.hold(held_for(Reason::Heal, Hold::Systemic { bad, total: size }));
        match spec.systemic.mode {
            SystemicMode::Stop => Pace::even(0),
            // Of what has ended nothing is lost by a false alarm: each that serves lets one more follow.
            SystemicMode::Slow => Pace {
                ended: allowed.min(1 + self.replaced_well(waiting)),
                doubtful: 1,
            },
        }
    }

    /// Counts the instances that became ready and serve since the first of those that wait for a replacement had ended,
    /// or since the last one failed that had become ready after that. None do while launches fail.
    fn replaced_well(&self, waiting: &[&Member]) -> u32 {
        let failing = self.next.backoff.as_ref();
        if failing.is_some_and(|backoff| speaks_against(backoff.class)) {
            return 0;
        }
        let memory = &self.input.classified.memory;
        let ended = waiting.iter().filter(|member| rank(member) == Some(0));
        let ended = ended.filter_map(|member| memory.get(&member.id)?.failing_since);
        let Some(first) = ended.min() else {
            return 0;
        };
        let ready_since = |member: &Member, since: Timestamp| {
            let ready_at = memory.get(&member.id).and_then(|memory| memory.ready_at);
            ready_at.is_some_and(|at| at > since)
        };
        let failed = waiting.iter().filter(|member| ready_since(member, first));
        let failed = failed.filter_map(|member| {
            let memory = memory.get(&member.id)?;
            memory.failing_since.max(memory.unknown_since)
        });
        let since = failed.max().unwrap_or(first).max(first);
        let well = self.live().filter(|member| serves(member));
        well.filter(|member| ready_since(member, since)).count() as u32
    }

    /// Counts the repairs on the way. Where nothing else makes instances, those that are missing or
    /// not available yet are repairs: one in progress is not one that is done.
    pub(super) fn healing(&self) -> u32 {
        // In an ephemeral group something is always on its way: only what was taken out is a repair.
        let ephemeral = self.spec.lifecycle == Lifecycle::Ephemeral;
        if ephemeral {
            let memory = &self.input.classified.memory;
            let repaired = self.leaving.iter().filter(|(id, reason)| {
                let completed = memory.get(**id).is_some_and(|memory| memory.completed);
                **reason == Some(Reason::Heal) && !completed
            });
            return repaired.count() as u32 + self.just_kept();
        }
        let steady = self.next.rollout.is_none() && self.next.stable_size == self.resolved.size;
        if !steady {
            return self.in_flight(Reason::Heal) + self.just_kept();
        }
        let coming = self.live().filter(|member| match member.class {
            InstanceClass::Starting | InstanceClass::Warming => true,
            InstanceClass::Terminating
            | InstanceClass::Exited(_)
            | InstanceClass::Failed { .. }
            | InstanceClass::Unhealthy { .. }
            | InstanceClass::Lost { .. }
            | InstanceClass::Suspect { .. }
            | InstanceClass::Available => false,
        });
        let coming = coming.count() as u32 + self.made.values().sum::<u32>();
        let (size, there) = (self.resolved.size, self.live_count());
        // What takes the place of something that still serves is above the size, and repairs nothing.
        let successors = there.saturating_sub(size);
        let successors = successors.min(self.doomed().count() as u32);
        size.saturating_sub(there) + coming.saturating_sub(successors)
    }

    /// Returns whether no instance's health is known: then the observer is presumed broken.
    pub(super) fn blind(&self) -> bool {
        let mut lost = false;
        for member in self.live() {
            match member.class {
                InstanceClass::Lost { .. } => lost = true,
                InstanceClass::Available
                | InstanceClass::Warming
                | InstanceClass::Unhealthy { .. } => return false,
                InstanceClass::Suspect { .. } => {
                    let memory = self.input.classified.memory.get(&member.id);
                    if memory.is_some_and(|memory| memory.failing_since.is_some()) {
                        return false;
                    }
                }
                InstanceClass::Starting
                | InstanceClass::Exited(_)
                | InstanceClass::Failed { .. }
                | InstanceClass::Terminating => {}
            }
        }
        lost
    }
}

/// How many replacements may be on the way at once.
struct Pace {
    /// While one is taken out that has ended.
    ended: u32,
    /// While one is taken out of which that is not certain.
    doubtful: u32,
}

impl Pace {
    fn even(allowed: u32) -> Self {
        Self {
            ended: allowed,
            doubtful: allowed,
        }
    }
}

/// Returns whether launches that fail this way say that what is made does not come to serve.
fn speaks_against(class: Option<ErrorClass>) -> bool {
    match class {
        None
        | Some(
            ErrorClass::InvalidSpec
            | ErrorClass::Partial
            | ErrorClass::Unknown
            | ErrorClass::NotFound,
        ) => true,
        Some(
            ErrorClass::Throttled | ErrorClass::Capacity | ErrorClass::Quota | ErrorClass::Auth,
        ) => false,
    }
}

/// Returns the order in which bad instances are replaced, the surest first. None: it is not bad.
fn rank(member: &Member) -> Option<u8> {
    match member.class {
        InstanceClass::Exited(_) => Some(0),
        InstanceClass::Unhealthy { .. } => Some(1),
        InstanceClass::Lost { .. } => Some(2),
        InstanceClass::Terminating
        | InstanceClass::Failed { .. }
        | InstanceClass::Suspect { .. }
        | InstanceClass::Starting
        | InstanceClass::Warming
        | InstanceClass::Available => None,
    }
}
