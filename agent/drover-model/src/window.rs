//! When disruptions may begin: windows of time, and how many may be in flight: budgets.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use crate::{Amount, BudgetName, Cron, InstanceId, Reason, Selector, Timestamp};

/// Openings that run into each other are followed this far; beyond, a window counts as always open.
const OVERLAPS_MAX: u32 = 1000;

/// A time zone of the IANA database that is built into this program, so that the same document means
/// the same wherever it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Returns the zone of that name, written as the database has it.
    pub fn parse(name: &str) -> Option<Self> {
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        (zone.iana_name() == Some(name)).then_some(Self(zone))
    }

    /// Returns coordinated universal time.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Returns the name of every zone.
    pub fn names() -> Vec<String> {
        TimeZoneDatabase::bundled()
            .available()
            .map(|name| name.to_string())
            .collect()
    }

    /// Returns what clocks in the zone show at `at`.
    pub fn civil(&self, at: Timestamp) -> DateTime {
        self.0.to_datetime(at)
    }

    /// Returns when clocks first show `civil`. What they never show, because they are put forward, is
    /// the moment at which they are.
    pub fn first(&self, civil: DateTime) -> Option<Timestamp> {
        let ambiguous = self.0.to_ambiguous_timestamp(civil);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                ambiguous.earlier().ok()
            }
            AmbiguousOffset::Gap { .. } => {
                let after = ambiguous.later().ok()?;
                let just_after = after.checked_add(Duration::from_nanos(1)).ok()?;
                let switch = self.0.preceding(just_after).next();
                Some(switch.map_or(after, |switch| switch.timestamp()))
            }
        }
    }
}

/// What a window does to the disruptions that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// They may begin while it is open, and not while no such window is.
    Allow,
    /// They may not begin while it is open, whatever else is.
    Deny,
}

/// A window: times at which disruptions may, or may not, begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// What it does.
    pub kind: WindowKind,
    /// When it opens, on the clocks of its zone.
    pub cron: Cron,
    /// How long it stays open, in time that passes: a switch of the clocks makes it no longer.
    pub duration: Duration,
    /// The zone of `cron`.
    pub zone: Zone,
    /// The disruptions that it is about.
    pub reasons: BTreeSet<Reason>,
}

impl Window {
    /// Returns when the window that is open at `now` closes. None: it is closed. A window that opens
    /// again before it closes goes on.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let opened = last_opening(&self.cron, &self.zone, now)?;
        let mut closes = opened.checked_add(self.duration).unwrap_or(Timestamp::MAX);
        if closes <= now {
            return None;
        }
        let mut from = now;
        for _ in 0..OVERLAPS_MAX {
            match self.next_opening(from) {
                Some(again) if again <= closes => {
                    closes = again.checked_add(self.duration).unwrap_or(Timestamp::MAX);
                    from = again;
                }
                Some(_) | None => return Some(closes),
            }
        }
        Some(Timestamp::MAX)
    }

    /// Returns the first opening after `now`.
    pub fn next_opening(&self, now: Timestamp) -> Option<Timestamp> {
        let mut civil = self.zone.civil(now);
        for _ in 0..OVERLAPS_MAX {
            let named = self.cron.next_from(civil)?;
            let opens = self.zone.first(named)?;
            if opens > now {
                return Some(opens);
            }
            // The hour that clocks show twice counts once.
            civil = named.checked_add(jiff::SignedDuration::from_mins(1)).ok()?;
        }
        None
    }
}

/// Returns the last time at or before `now` that `cron` names on the clocks of `zone`.
pub fn last_opening(cron: &Cron, zone: &Zone, now: Timestamp) -> Option<Timestamp> {
    // While clocks show an hour for the second time, what they showed in the first time may be
    // later on the dial.
    let mut civil = zone
        .civil(now)
        .checked_add(jiff::SignedDuration::from_hours(2))
        .ok()?;
    loop {
        let named = cron.last_until(civil)?;
        let opens = zone.first(named)?;
        if opens <= now {
            return Some(opens);
        }
        civil = named.checked_sub(jiff::SignedDuration::from_mins(1)).ok()?;
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            WindowKind::Allow => "allow",
            WindowKind::Deny => "deny",
        };
        write!(
            f,
            "{kind} {:?} for {:#} in {}",
            self.cron.as_str(),
            span(self.duration),
            self.zone.as_str()
        )
    }
}

fn span(duration: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}

/// The most disruptions in flight at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// The disruptions that share it.
    pub reasons: BTreeSet<Reason>,
    /// How many, a share of the size rounded up.
    pub max: Amount,
}

/// The most disruptions in flight at once, in several groups together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetBudget {
    /// What it is called in holds.
    pub name: BudgetName,
    /// The groups that share it.
    pub selector: Selector,
    /// The disruptions that share it.
    pub reasons: BTreeSet<Reason>,
    /// How many, a share of the sizes of the groups together, rounded up.
    pub max: Amount,
}

/// Instances that some disruptions pass by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protect {
    /// The instances.
    pub instances: BTreeSet<InstanceId>,
    /// What they are protected from.
    pub from: BTreeSet<Reason>,
    /// Until when. None: until the entry is removed.
    pub until: Option<Timestamp>,
    /// Why, for everyone who wonders.
    pub because: Option<String>,
}

/// The largest age of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// The age at which an instance is replaced at the latest.
    pub age_max: Duration,
    /// The share of it, in percent, by which instances are replaced earlier, each by its own part.
    pub jitter_percent: u32,
}

impl Expiry {
    /// Returns the age at which an instance is replaced: the same for the same instance of the same
    /// life of a group, and spread evenly over the jitter.
    pub fn age_of(&self, uid: &crate::GroupUid, instance: &InstanceId) -> Duration {
        use sha2::{Digest as _, Sha256};
        let mut hash = Sha256::new();
        hash.update(uid.as_str().as_bytes());
        hash.update([0]);
        hash.update(instance.to_string().as_bytes());
        let hash = hash.finalize();
        let part = u64::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]));
        let percent = u64::from(self.jitter_percent.min(100));
        let spread_ms = self.age_max.as_millis() * u128::from(percent) / 100;
        let earlier_ms = spread_ms * u128::from(part) / u128::from(u32::MAX);
        let earlier = Duration::from_millis(u64::try_from(earlier_ms).unwrap_or(u64::MAX));
        self.age_max.saturating_sub(earlier)
    }
}

#[cfg(test)]
mod tests;
