//! Which check is due when, and what the latest results are. Synchronous, with the time passed in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    Check, CheckOutcome, GroupName, HealthSignal, InstanceId, Probe, ProviderRef, Timestamp,
};
use drover_provider::{FlavorSubject, Provider};
use tokio::time::Instant;

use super::ProbeTarget;

/// Time between two tries of a check that has never passed: an instance that becomes healthy is found
/// so within a second, the try itself included.
const STARTING_INTERVAL: Duration = Duration::from_millis(500);
/// The same once an instance has been starting for long.
const STARTING_INTERVAL_LATE: Duration = Duration::from_secs(1);
/// Tries after which an instance has been starting for long: half a minute.
const STARTING_TRIES: u64 = 60;
/// Shortest time until a check that went wrong is tried again; at most twice as long. A blip is over by
/// then, and a real failure is confirmed soon.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(1);
/// Tries in a row at that pace; then the usual interval applies.
const CONFIRM_TRIES: u64 = 3;
/// Most checks of one group under way at once: a group whose instances are all silent must not delay
/// the others' checks.
const GROUP_PROBES_MAX: usize = 128;

/// All groups' targets.
#[derive(Debug, Default)]
pub(super) struct Board {
    groups: BTreeMap<GroupName, Watch>,
    lives: BTreeMap<u64, Life>,
    due: BinaryHeap<Reverse<Due>>,
    /// Was parked; its group has room for it now.
    released: VecDeque<(GroupName, Due)>,
    last_life: u64,
}

/// One group.
#[derive(Debug)]
struct Watch {
    checks: Arc<[Check]>,
    provider: Arc<dyn Provider>,
    lives: BTreeMap<InstanceId, u64>,
    under_way: usize,
    /// Due, but waiting, first come first served, for others of the group to end.
    parked: VecDeque<Due>,
}

/// One target, for as long as its address, handle and checks stay the same.
#[derive(Debug)]
struct Life {
    group: GroupName,
    target: ProbeTarget,
    checks: Vec<CheckState>,
}

#[derive(Debug, Default)]
struct CheckState {
    latest: Option<Probed>,
    /// Whether it has ever passed.
    settled: bool,
    tries: u64,
    /// Tries in a row that did not pass.
    misses: u64,
}

/// One check of one target is due. Ordered by time; the rest makes the order complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    life: u64,
    check: usize,
}

/// A check to be carried out.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: JobKey,
    pub(super) probe: Probe,
    pub(super) timeout: Duration,
    pub(super) address: Option<String>,
    pub(super) provider_ref: ProviderRef,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) flavors: Option<Arc<FlavorSubject>>,
}

/// What a job belongs to.
#[derive(Debug, Clone)]
pub(super) struct JobKey {
    group: GroupName,
    life: u64,
    check: usize,
}

/// How a check turned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) asked_at: Timestamp,
    pub(super) outcome: CheckOutcome,
    pub(super) said: Said,
}

/// What an instance says of itself beside being well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) busy: bool,
    pub(super) leader: Option<bool>,
    pub(super) work: u32,
}

/// A check that was carried out.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) key: JobKey,
    pub(super) probed: Probed,
}

impl Board {
    /// Takes over the targets of a group. Returns whether its signals changed by that alone.
    pub(super) fn watch(
        &mut self,
        group: &GroupName,
        checks: &[Check],
        targets: Vec<ProbeTarget>,
        provider: Arc<dyn Provider>,
        now: Instant,
        asked_at: Timestamp,
    ) -> bool {
        if self
            .groups
            .get(group)
            .is_some_and(|watch| *watch.checks != *checks)
        {
            self.forget(group);
        }
        let watch = self.groups.entry(group.clone()).or_insert_with(|| Watch {
            checks: checks.into(),
            provider: provider.clone(),
            lives: BTreeMap::new(),
            under_way: 0,
            parked: VecDeque::new(),
        });
        watch.provider = provider;
        let mut before = std::mem::take(&mut watch.lives);
        let mut changed = false;
        for target in targets {
            let known = before.remove(&target.instance).filter(|life| {
                let same = self
                    .lives
                    .get(life)
                    .is_some_and(|life| life.is_same(&target));
                if !same {
                    self.lives.remove(life);
                }
                same
            });
            let id = known.unwrap_or_else(|| {
                self.last_life += 1;
                self.last_life
            });
            watch.lives.insert(target.instance.clone(), id);
            let life = self
                .lives
                .entry(id)
                .or_insert_with(|| Life::new(group, &target, checks));
            if target.settled {
                life.checks
                    .iter_mut()
                    .for_each(|check| check.settled = true);
            }
            changed |= life.note_unreachable(checks, asked_at);
            if known.is_none() {
                let reachable = (0..checks.len()).filter(|check| life.can_try(&checks[*check]));
                let due = reachable.map(|check| {
                    Reverse(Due {
                        at: now,
                        life: id,
                        check,
                    })
                });
                self.due.extend(due);
            }
        }
        for gone in before.values() {
            self.lives.remove(gone);
        }
        changed
    }

    pub(super) fn forget(&mut self, group: &GroupName) {
        // Their entries in the heap find no life and vanish when they are due.
        let Some(watch) = self.groups.remove(group) else {
            return;
        };
        for life in watch.lives.values() {
            self.lives.remove(life);
        }
    }

    pub(super) fn signals(&self, group: &GroupName) -> BTreeMap<InstanceId, HealthSignal> {
        let Some(watch) = self.groups.get(group) else {
            return BTreeMap::new();
        };
        let signal = |(instance, life): (&InstanceId, &u64)| {
            let signal = self.lives.get(life)?.signal()?;
            Some((instance.clone(), signal))
        };
        watch.lives.iter().filter_map(signal).collect()
    }

    /// Returns when the next check is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    /// Takes out a check that is due.
    pub(super) fn begin(&mut self, now: Instant) -> Option<Job> {
        while let Some((group, due)) = self.released.pop_front() {
            if !self.lives.contains_key(&due.life) {
                // No longer watched: its turn goes to the next one of the group.
                self.release(&group);
            } else if let Some(job) = self.begin_one(due) {
                return Some(job);
            }
        }
        while self.due.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Reverse(due) = self.due.pop()?;
            if let Some(job) = self.begin_one(due) {
                return Some(job);
            }
        }
        None
    }

    /// Returns None for what is no longer watched, and for what has to wait for its group.
    fn begin_one(&mut self, due: Due) -> Option<Job> {
        let life = self.lives.get(&due.life)?;
        let watch = self.groups.get_mut(&life.group)?;
        if watch.under_way >= GROUP_PROBES_MAX {
            watch.parked.push_back(due);
            return None;
        }
        let check = watch.checks.get(due.check)?;
        watch.under_way += 1;
        Some(Job {
            key: JobKey {
                group: life.group.clone(),
                life: due.life,
                check: due.check,
            },
            probe: check.probe.clone(),
            timeout: check.timeout,
            address: life.target.address.clone(),
            provider_ref: life.target.provider_ref.clone(),
            provider: watch.provider.clone(),
            flavors: life.target.flavors.clone(),
        })
    }

    /// Lets the first of a group's waiting checks go.
    fn release(&mut self, group: &GroupName) {
        let Some(watch) = self.groups.get_mut(group) else {
            return;
        };
        while let Some(due) = watch.parked.pop_front() {
            if self.lives.contains_key(&due.life) {
                self.released.push_back((group.clone(), due));
                return;
            }
        }
    }

    /// Takes note of a result and plans the next try. Returns whether the target's signal changed.
    pub(super) fn finish(&mut self, finished: Finished, now: Instant) -> bool {
        let Finished { key, probed } = finished;
        if let Some(watch) = self.groups.get_mut(&key.group) {
            // After `forget` and `watch`, results of the former watch may still come: they count too
            // low rather than too high, which only lets a few more checks run at once.
            watch.under_way = watch.under_way.saturating_sub(1);
        }
        self.release(&key.group);
        let (Some(watch), Some(life)) =
            (self.groups.get(&key.group), self.lives.get_mut(&key.life))
        else {
            return false;
        };
        let Some(check) = watch.checks.get(key.check) else {
            return false;
        };
        let before = life.signal();
        let state = &mut life.checks[key.check];
        state.note(probed);
        let wait = state.wait(check, &life.target.instance);
        self.due.push(Reverse(Due {
            at: now + wait,
            life: key.life,
            check: key.check,
        }));
        differs(before.as_ref(), life.signal().as_ref())
    }
}

impl Life {
    fn new(group: &GroupName, target: &ProbeTarget, checks: &[Check]) -> Self {
        Self {
            group: group.clone(),
            target: target.clone(),
            checks: checks.iter().map(|_| CheckState::default()).collect(),
        }
    }

    fn is_same(&self, target: &ProbeTarget) -> bool {
        self.target.address == target.address
            && self.target.provider_ref == target.provider_ref
            && self.target.flavors == target.flavors
    }

    fn can_try(&self, check: &Check) -> bool {
        match check.probe {
            Probe::Http { .. } | Probe::Tcp { .. } => self.target.address.is_some(),
            Probe::Command { .. } | Probe::Provider | Probe::Flavors => true,
        }
    }

    /// Gives checks that need an address an outcome while there is none.
    fn note_unreachable(&mut self, checks: &[Check], asked_at: Timestamp) -> bool {
        let before = self.signal();
        for (at, check) in checks.iter().enumerate() {
            if !self.can_try(check) {
                self.checks[at].latest = Some(Probed {
                    asked_at,
                    outcome: CheckOutcome::Unknown {
                        why: "the instance has no address yet".to_owned(),
                    },
                    said: Said::default(),
                });
            }
        }
        differs(before.as_ref(), self.signal().as_ref())
    }

    /// Returns the results, once there is one of every check. As old as the oldest of them.
    fn signal(&self) -> Option<HealthSignal> {
        let mut signal: Option<HealthSignal> = None;
        for state in &self.checks {
            let latest = state.latest.as_ref()?;
            let signal = signal.get_or_insert_with(|| HealthSignal {
                asked_at: latest.asked_at,
                checks: Vec::new(),
                busy: false,
                leader: None,
                work: 0,
            });
            signal.asked_at = signal.asked_at.min(latest.asked_at);
            signal.checks.push(latest.outcome.clone());
            signal.busy |= latest.said.busy;
            signal.work = signal.work.max(latest.said.work);
            signal.leader = latest.said.leader.or(signal.leader);
        }
        signal
    }
}

impl CheckState {
    fn note(&mut self, probed: Probed) {
        self.tries += 1;
        if probed.outcome == CheckOutcome::Passing {
            self.settled = true;
            self.misses = 0;
        } else {
            self.misses += 1;
        }
        self.latest = Some(probed);
    }

    /// Returns how long to wait until the next try. The same for the same history, different from
    /// instance to instance, so that checks of many instances spread out.
    fn wait(&self, check: &Check, instance: &InstanceId) -> Duration {
        let jitter = |most: Duration| most.mul_f64(share(instance, self.tries));
        if !self.settled {
            let interval = if self.tries < STARTING_TRIES {
                STARTING_INTERVAL
            } else {
                STARTING_INTERVAL_LATE
            };
            return interval.min(check.interval);
        }
        if (1..=CONFIRM_TRIES).contains(&self.misses) {
            return (CONFIRM_INTERVAL + jitter(CONFIRM_INTERVAL)).min(check.interval);
        }
        check.interval * 19 / 20 + jitter(check.interval / 10)
    }
}

/// Returns a number from 0 up to 1 that looks random (FNV-1a).
fn share(instance: &InstanceId, tries: u64) -> f64 {
    let text = instance.to_string();
    let bytes = text.bytes().chain(tries.to_be_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The upper bits are mixed best.
    (hash >> 40) as f64 / (1_u64 << 24) as f64
}

/// Returns whether the loop should look at a group again: another text of the same outcome is none of
/// its business.
fn differs(before: Option<&HealthSignal>, after: Option<&HealthSignal>) -> bool {
    let gist = |signal: &HealthSignal| {
        let kinds = signal.checks.iter().map(std::mem::discriminant);
        (kinds.collect::<Vec<_>>(), signal.busy, signal.leader)
    };
    before.map(gist) != after.map(gist)
}
