//! One simulated instance: its whole life is decided by times, so that any moment can be shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    CheckOutcome, Digests, ExitReport, FleetName, GroupName, InstanceId, Listed, Ownership,
    ProviderPhase, ProviderRef, Timestamp, Token, Value,
};

/// Which instances a behaviour is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Which {
    /// Every one.
    All,
    /// Those of a group.
    Group(GroupName),
    /// Those with our id: also a second one made under the same id.
    Instance(InstanceId),
    /// The one with the provider's handle.
    Ref(ProviderRef),
    /// Those made from a template.
    Template(Digests),
    /// Those with a value of a property.
    Property(String, Value),
}

/// What instances do.
#[derive(Debug, Clone, PartialEq)]
pub enum Behavior {
    /// They never get from pending to running.
    NeverBoots,
    /// They end by themselves so long after they began to run, or now if that is past.
    Exits {
        /// How long they run.
        after: Duration,
        /// How they end.
        report: ExitReport,
    },
    /// Their checks turn out so from so long after they began to run.
    Health {
        /// How long after.
        after: Duration,
        /// The outcome.
        outcome: CheckOutcome,
    },
    /// Their checks turn out so between two times, whatever else holds: such as an observer that
    /// is cut off, or a dependency that is down.
    HealthBetween {
        /// The start.
        from: Timestamp,
        /// The end, excluded.
        until: Timestamp,
        /// The outcome.
        outcome: CheckOutcome,
    },
    /// They say that they are busy, or no longer.
    Busy(bool),
}

/// An instance and its life.
#[derive(Debug, Clone, PartialEq)]
pub struct SimInstance {
    /// The handle.
    pub provider_ref: ProviderRef,
    /// The fleet tag, by which listings filter.
    pub fleet: Option<FleetName>,
    /// The ownership tags, when they are whole.
    pub ownership: Option<Ownership>,
    /// What it was made from, where we made it. Instances of one call that are alike have one copy
    /// between them.
    pub blueprint: Option<Arc<Blueprint>>,
    /// The zone that it was made in.
    pub zone: Option<String>,
    /// The address.
    pub address: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last started: when it was made, or restarted.
    pub started_at: Timestamp,
    /// From when it can be listed.
    pub listed_from: Timestamp,
    /// From when listings have its address.
    pub address_from: Timestamp,
    /// From when listings have its tags.
    pub tags_from: Timestamp,
    /// When it begins to run. None: never.
    pub running_at: Option<Timestamp>,
    /// When and how it ends by itself.
    pub exit: Option<(Timestamp, ExitReport)>,
    /// When a destroy was accepted, when it is gone, and when it is forgotten.
    pub stop: Option<Stop>,
    /// The end that the provider has announced.
    pub interruption: Option<Stop>,
    /// An end that the provider announces and does not bring about.
    pub announced: Option<Timestamp>,
    /// Outcomes of checks from times on, in order of time.
    pub health: Vec<(Timestamp, CheckOutcome)>,
    /// Whether it says that it is busy.
    pub busy: bool,
    /// The tags that it had before it was last changed in place, and until when listings have them.
    pub before: Option<(Timestamp, Ownership)>,
    /// The token of the call that changed it last.
    pub update: Option<Token>,
    /// What is known of it where somebody else made it.
    pub stranger: Option<Box<Origin>>,
}

/// What is known of an instance that somebody else made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The name of its place.
    pub member: Option<String>,
    /// Who acts on it.
    pub claimed_by: Option<String>,
}

/// What an instance was made from, substituted.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    /// Shell lines to run first.
    pub init: Vec<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Tags beside the ownership tags.
    pub tags: BTreeMap<String, String>,
    /// The provider's properties.
    pub properties: Value,
}

/// The end of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// When the destroy was accepted.
    pub accepted_at: Timestamp,
    /// From when it is gone.
    pub gone_at: Timestamp,
    /// From when it is no longer listed.
    pub forgotten_at: Timestamp,
}

impl SimInstance {
    /// Returns a property that it was made with.
    fn property(&self, name: &str) -> Option<&Value> {
        self.blueprint.as_ref()?.properties.get(name)
    }

    /// Returns where the instance is in its life. None: gone and forgotten.
    pub fn phase(&self, at: Timestamp) -> Option<ProviderPhase> {
        if let Some(stop) = self.end() {
            if at >= stop.forgotten_at {
                return None;
            }
            if at >= stop.gone_at {
                return Some(ProviderPhase::Terminated);
            }
            if at >= stop.accepted_at {
                return Some(ProviderPhase::Stopping);
            }
        }
        if let Some((_, report)) = self.exit.as_ref().filter(|(when, _)| at >= *when) {
            return Some(ProviderPhase::Exited(report.clone()));
        }
        Some(match self.running_at {
            Some(running_at) if at >= running_at => ProviderPhase::Running,
            _ => ProviderPhase::Pending,
        })
    }

    /// Returns whether somebody else made it.
    pub fn was_strangers(&self) -> bool {
        self.stranger.is_some()
    }

    /// Returns whether the instance holds resources: it is not gone.
    pub fn exists(&self, at: Timestamp) -> bool {
        self.end().is_none_or(|stop| at < stop.gone_at)
    }

    /// Lets the provider take it at `at`, and remember it for so long.
    pub(crate) fn interrupt(&mut self, at: Timestamp, remember: Duration) {
        self.interruption = Some(Stop {
            accepted_at: at,
            gone_at: at,
            forgotten_at: later(at, remember),
        });
    }

    /// Returns its end, by a destroy or because the provider takes it, whichever comes first.
    pub fn end(&self) -> Option<Stop> {
        let ends = [self.stop, self.interruption];
        ends.into_iter().flatten().min_by_key(|stop| stop.gone_at)
    }

    /// Returns how a health check turns out.
    pub fn health(&self, at: Timestamp) -> CheckOutcome {
        let scheduled = self.health.iter().rev().find(|(from, _)| at >= *from);
        match (self.phase(at), scheduled) {
            (Some(ProviderPhase::Running), Some((_, outcome))) => outcome.clone(),
            (Some(ProviderPhase::Running), None) => failing("not ready yet"),
            _ => failing("connection refused"),
        }
    }

    /// Returns the instance as listed at `now` with phases `lag` behind, if it is listed.
    pub(crate) fn listed(&self, now: Timestamp, lag: Duration) -> Option<Listed> {
        let seen_at = before(now, lag).max(self.created_at);
        let phase = self.phase(seen_at).filter(|_| now >= self.listed_from)?;
        let before = self.before.as_ref().filter(|(until, _)| now < *until);
        let ownership = before.map_or(self.ownership.as_ref(), |(_, before)| Some(before));
        Some(Listed {
            provider_ref: self.provider_ref.clone(),
            ownership: ownership.filter(|_| now >= self.tags_from).cloned(),
            phase,
            address: (now >= self.address_from).then(|| self.address.clone()),
            zone: self.zone.clone(),
            created_at: Some(self.created_at),
            interruption: self.interruption.map(|end| end.gone_at).or(self.announced),
        })
    }

    pub(crate) fn matches(&self, which: &Which) -> bool {
        let owned = self.ownership.as_ref();
        match which {
            Which::All => true,
            Which::Group(group) => owned.is_some_and(|owned| owned.group == *group),
            Which::Instance(id) => owned.is_some_and(|owned| owned.instance == *id),
            Which::Ref(provider_ref) => self.provider_ref == *provider_ref,
            Which::Template(digests) => owned.is_some_and(|owned| owned.digests == *digests),
            Which::Property(name, value) => self.property(name) == Some(value),
        }
    }

    /// Applies a behaviour, as of `now`. `HealthBetween` is the world's.
    pub(crate) fn behave(&mut self, behavior: &Behavior, now: Timestamp) {
        match behavior {
            Behavior::NeverBoots => {
                if self.running_at.is_none_or(|running_at| now < running_at) {
                    self.running_at = None;
                }
            }
            Behavior::Exits { after, report } => {
                if let Some(running_at) = self.running_at {
                    let when = later(running_at, *after).max(now);
                    if self
                        .exit
                        .as_ref()
                        .is_none_or(|(earlier, _)| when < *earlier)
                    {
                        self.exit = Some((when, report.clone()));
                    }
                }
            }
            Behavior::Health { after, outcome } => {
                if let Some(running_at) = self.running_at {
                    self.set_health(later(running_at, *after), outcome.clone());
                }
            }
            Behavior::HealthBetween { .. } => {}
            Behavior::Busy(busy) => self.busy = *busy,
        }
    }

    /// Replaces what was to happen to the health from `from` on.
    pub(crate) fn set_health(&mut self, from: Timestamp, outcome: CheckOutcome) {
        self.health.retain(|(earlier, _)| *earlier < from);
        self.health.push((from, outcome));
    }

    /// Returns the times at which something about the instance changes.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let fixed = [self.listed_from, self.address_from, self.tags_from];
        let stop = self
            .end()
            .map(|stop| [stop.accepted_at, stop.gone_at, stop.forgotten_at]);
        fixed
            .into_iter()
            .chain(self.running_at)
            .chain(self.before.as_ref().map(|(until, _)| *until))
            .chain(self.exit.as_ref().map(|(when, _)| *when))
            .chain(stop.into_iter().flatten())
            .chain(self.health.iter().map(|(when, _)| *when))
    }
}

pub(crate) fn failing(why: &str) -> CheckOutcome {
    CheckOutcome::Failing {
        why: why.to_owned(),
    }
}

/// Returns the time `duration` after `at`, or the end of time.
pub(crate) fn later(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

fn before(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_sub(duration).unwrap_or(Timestamp::MIN)
}
