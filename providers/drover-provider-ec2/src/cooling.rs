//! Offerings that cannot be had, left alone for a while: an instance type in a place that has no room, and types whose limit
//! in the account is reached, wherever.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::properties::LaunchTemplate;

/// How long an offering without room is not asked for where there is another: what Karpenter found to work
/// for EC2. Room seldom comes back sooner, and each try costs one of five `RunInstances` requests.
pub(crate) const COOLING: Duration = Duration::from_mins(3);

/// How long it is remembered that a place does not have a type at all. A batch asks in one zone: so long the next ones may take
/// until all are known.
const UNSUPPORTED: Duration = Duration::from_hours(1);

/// Most offerings that are remembered, and most limits; the one that is warm first goes.
const OFFERINGS_MAX: usize = 4_096;

/// What can be asked for: an instance type in a place, at a price.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offering {
    /// The instance type; where a launch template names it, that one, see [`of_template`].
    pub(crate) type_: String,
    /// The subnet, else the zone, else empty.
    pub(crate) place: String,
    /// Whether it is spot capacity.
    pub(crate) spot: bool,
}

/// A limit of the account, in the whole region, and from which size of a type on it is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reached {
    /// The types that share it, see [`shared_by`]; or one type.
    of: String,
    spot: bool,
    /// See [`size_of`].
    size: u32,
}

/// What is left alone, until when.
type Left<T> = Mutex<BTreeMap<T, Instant>>;

/// What cannot be had in a region.
#[derive(Debug, Default)]
pub(crate) struct Cooling {
    /// The offerings without room.
    room: Left<Offering>,
    /// The offerings that there are not, whatever room there is.
    unsupported: Left<Offering>,
    /// The limits of the account.
    limits: Left<Reached>,
}

/// Returns what stands for the type that a launch template names: nobody else knows it, so its launches share nothing with
/// others. No instance type has such a name.
pub(crate) fn of_template(template: &LaunchTemplate) -> String {
    let LaunchTemplate { id, name, version } = template;
    let named = id.as_ref().or(name.as_ref());
    let named = named.map_or("", String::as_str);
    format!("{TEMPLATE}{named}/{version}")
}

/// What the stand-in for a launch template's type begins with.
const TEMPLATE: &str = "template:";

impl Cooling {
    /// Notes that an offering has no room now.
    pub(crate) fn cool(&self, offering: &Offering) {
        note(&self.room, offering.clone(), Instant::now() + COOLING);
    }

    /// Notes that there is no such offering: for a while it has no room either.
    pub(crate) fn lacks_support(&self, offering: &Offering) {
        self.cool(offering);
        let until = Instant::now() + UNSUPPORTED;
        note(&self.unsupported, offering.clone(), until);
    }

    /// Returns whether an offering was found not to be one.
    pub(crate) fn is_unsupported(&self, offering: &Offering) -> bool {
        lock(&self.unsupported, Instant::now()).contains_key(offering)
    }

    /// Notes that the limit of virtual CPUs is reached, which types of several families share: it leaves no room for that
    /// type, and so for none of its size or a larger one. Of a launch template, whose type is not known, that one alone.
    pub(crate) fn cool_family(&self, offering: &Offering) {
        self.cool_family_at(offering, Instant::now());
    }

    fn cool_family_at(&self, offering: &Offering, now: Instant) {
        let reached = Reached {
            of: shared_by(&offering.type_),
            spot: offering.spot,
            size: size_of(&offering.type_),
        };
        note(&self.limits, reached, now + COOLING);
    }

    /// Notes that the limit of one type is reached.
    pub(crate) fn cool_type(&self, offering: &Offering) {
        let reached = Reached {
            of: offering.type_.clone(),
            spot: offering.spot,
            size: 0,
        };
        note(&self.limits, reached, Instant::now() + COOLING);
    }

    /// Returns when an offering may be asked for again. None: now.
    pub(crate) fn until(&self, offering: &Offering) -> Option<Instant> {
        self.until_at(offering, Instant::now())
    }

    fn until_at(&self, offering: &Offering, now: Instant) -> Option<Instant> {
        let room = lock(&self.room, now).get(offering).copied();
        let limits = lock(&self.limits, now);
        let up_to = |of: String, size: u32| {
            let least = Reached {
                of,
                spot: offering.spot,
                size: 0,
            };
            let most = Reached {
                size,
                ..least.clone()
            };
            limits.range(least..=most).map(|(_, until)| *until).max()
        };
        let family = up_to(shared_by(&offering.type_), size_of(&offering.type_));
        let type_ = up_to(offering.type_.clone(), 0);
        room.max(family).max(type_)
    }

    /// Returns whether there was no room for an offering lately, whatever the limits of the account are.
    pub(crate) fn has_no_room(&self, offering: &Offering) -> bool {
        lock(&self.room, Instant::now()).contains_key(offering)
    }
}

fn lock<T: Ord>(left: &Left<T>, now: Instant) -> MutexGuard<'_, BTreeMap<T, Instant>> {
    let mut until = left.lock().unwrap_or_else(PoisonError::into_inner);
    until.retain(|_, until| *until > now);
    until
}

fn note<T: Ord + Clone>(left: &Left<T>, what: T, warm: Instant) {
    let mut until = lock(left, Instant::now());
    if until.len() >= OFFERINGS_MAX
        && let Some(first) = until.iter().min_by_key(|(_, until)| **until)
    {
        let first = first.0.clone();
        until.remove(&first);
    }
    until.insert(what, warm);
}

/// Returns a name for all types that share a limit of virtual CPUs with this one: by the letters before the number of its
/// generation, as Amazon's page "Amazon EC2 instance type quotas" has them.
fn shared_by(type_: &str) -> String {
    if type_.starts_with(TEMPLATE) {
        return type_.to_owned();
    }
    let letters: String = type_
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect();
    let alone = ["dl", "f", "hpc", "inf", "mac", "p", "trn", "u", "x"];
    if alone.contains(&&*letters) {
        return letters;
    }
    match letters.chars().next() {
        Some('g' | 'v') => "g".to_owned(),
        Some('a' | 'c' | 'd' | 'h' | 'i' | 'm' | 'r' | 't' | 'z') => "standard".to_owned(),
        _ => letters,
    }
}

/// Returns a number that grows with the virtual CPUs of a type, from the name of its size.
fn size_of(type_: &str) -> u32 {
    if type_.starts_with(TEMPLATE) {
        return 0;
    }
    let size = type_.split_once('.').map_or("", |(_, size)| size);
    let size = size.strip_prefix("metal-").unwrap_or(size);
    match size {
        "" | "nano" | "micro" | "small" | "medium" => 1,
        "large" => 2,
        "xlarge" => 4,
        other => {
            let number = other.strip_suffix("xlarge").or(other.strip_suffix("xl"));
            let number = number.and_then(|number| number.parse::<u32>().ok());
            // A whole machine, or what is not known: as large as any.
            number.map_or(u32::MAX, |number| number.saturating_mul(4))
        }
    }
}

#[cfg(test)]
mod tests;
