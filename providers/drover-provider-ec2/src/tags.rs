//! Ownership as tags, which go on with the launch itself.
//!
//! One launch puts the same tags on each of its instances. A launch of several has the numbers of all its slots
//! in `drover.instances`, in launch order, and each instance's launch index says which one is its own.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Tag;
use drover_model::{
    Digests, Epoch, FleetName, GroupName, GroupUid, InstanceId, MemberId, Ownership, ProviderName,
    SeatId, Token,
};
use drover_provider::{AdoptRequest, Form, ProvisionRequest, Shape, fingerprint};

/// How the tags of drover's own begin.
pub(crate) const PREFIX: &str = "drover.";

pub(crate) const FLEET: &str = "drover.fleet";
pub(crate) const PROVIDER: &str = "drover.provider";
pub(crate) const GROUP: &str = "drover.group";
pub(crate) const INSTANCE: &str = "drover.instance";
pub(crate) const INSTANCES: &str = "drover.instances";
pub(crate) const DIGEST: &str = "drover.digest";
pub(crate) const TOKEN: &str = "drover.token";
pub(crate) const EPOCH: &str = "drover.epoch";
pub(crate) const LIFE: &str = "drover.life";
pub(crate) const MEMBER: &str = "drover.member";
pub(crate) const ATTACHMENT: &str = "drover.attachment";
/// The fingerprint of what the launch asked for: the same token with another one is another call.
pub(crate) const ASKED: &str = "drover.asked";
/// On what ended by itself and was dealt with: EC2 lists it for an hour, also to a program that remembers nothing.
pub(crate) const ENDED: &str = "drover.ended";
/// What people see in the console.
pub(crate) const NAME: &str = "Name";

/// Every tag that makes an owner, for taking it off again.
pub(crate) const OWNER: [&str; 10] = [
    FLEET, PROVIDER, GROUP, INSTANCE, INSTANCES, DIGEST, TOKEN, EPOCH, LIFE, MEMBER,
];

/// The longest value of a tag, in characters: EC2's own limit.
pub(crate) const VALUE_MAX: usize = 256;

/// The longest key of a tag, in characters: EC2's own limit.
pub(crate) const KEY_MAX: usize = 128;

/// Most tags of a resource: EC2's own limit.
pub(crate) const TAGS_MAX: usize = 50;

/// Why tags cannot be put on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TagError {
    /// EC2 takes no tag of this size.
    #[error("tag {key}: {what} has more than {max} characters")]
    TooLong {
        /// The tag.
        key: String,
        /// The key or the value.
        what: &'static str,
        /// The most.
        max: usize,
    },
    /// A template's tag has a name that is ours, or Amazon's.
    #[error("tag {key}: names that begin with `drover.`, or with `aws:` in any case, are taken")]
    Taken {
        /// The tag.
        key: String,
    },
    /// More tags than EC2 takes.
    #[error("{count} tags with drover's own; EC2 takes {TAGS_MAX}")]
    TooMany {
        /// How many there would be.
        count: usize,
    },
    /// The numbers of the slots do not fit into one tag.
    #[error("the numbers of the slots do not fit into one tag")]
    Scattered,
}

/// The form of the keys of others' tags: none is drover's own, and none is Amazon's, which are its own in any case.
pub(crate) const NOT_TAKEN: &str = "^(drover\\.|[aA][wW][sS]:)";

/// Returns whether a tag's name is drover's or Amazon's own.
pub(crate) fn is_taken(key: &str) -> bool {
    let amazons = key.get(..4);
    key.starts_with(PREFIX) || amazons.is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
}

/// Returns what tags look like that are not drover's.
pub(crate) fn shape() -> Shape {
    let what = "a tag's key, of 1 to 128 characters and none of drover's or Amazon's own, which begin with `drover.` and `aws:`";
    let keys = Form::but(NOT_TAKEN, what).within(1, Some(KEY_MAX));
    let values = Form::default().within(0, Some(VALUE_MAX));
    Shape::keyed(keys, Shape::text(values))
}

/// Returns the tags of a launch.
pub(crate) fn of_launch(
    provider: &ProviderName,
    request: &ProvisionRequest,
) -> Result<BTreeMap<String, String>, TagError> {
    let mut tags = BTreeMap::new();
    let Some(first) = request.slots.first() else {
        return Ok(tags);
    };
    let shown = if request.slots.len() == 1 {
        first.instance.to_string()
    } else {
        request.group.to_string()
    };
    tags.insert(NAME.to_owned(), shown);
    for (key, value) in &first.tags {
        if is_taken(key) {
            return Err(TagError::Taken { key: key.clone() });
        }
        tags.insert(key.clone(), value.clone());
    }
    let mut own = |key: &str, value: String| tags.insert(key.to_owned(), value);
    own(FLEET, request.fleet.to_string());
    own(PROVIDER, provider.to_string());
    own(GROUP, request.group.to_string());
    own(DIGEST, request.digests.to_string());
    own(TOKEN, request.token.to_string());
    own(EPOCH, request.epoch.to_string());
    own(ASKED, fingerprint(request));
    if let Some(seat) = &first.seat {
        own(LIFE, seat.id.life.to_string());
        own(MEMBER, seat.id.member.to_string());
    }
    if request.slots.len() == 1 {
        own(INSTANCE, first.instance.to_string());
    } else {
        let numbers = request.slots.iter().map(|slot| slot.instance.number());
        let numbers = write_numbers(numbers);
        if numbers.len() > VALUE_MAX {
            return Err(TagError::Scattered);
        }
        own(INSTANCES, numbers);
    }
    check(&tags)?;
    Ok(tags)
}

/// Returns the tags that make an owner of who adopts an instance. `there`: what it has already.
pub(crate) fn of_adoption(
    provider: &ProviderName,
    request: &AdoptRequest,
    there: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, TagError> {
    let own = [
        (FLEET, request.fleet.to_string()),
        (PROVIDER, provider.to_string()),
        (GROUP, request.group.to_string()),
        (INSTANCE, request.instance.to_string()),
        (DIGEST, request.digests.to_string()),
        (TOKEN, request.token.to_string()),
        (EPOCH, request.epoch.to_string()),
    ];
    let tags: BTreeMap<String, String> = own.map(|(key, value)| (key.to_owned(), value)).into();
    check(&tags)?;
    // Amazon's own do not count.
    let kept = there.keys().filter(|key| !key.starts_with("aws:"));
    let count = kept.count() + tags.len();
    if count > TAGS_MAX {
        return Err(TagError::TooMany { count });
    }
    Ok(tags)
}

fn check(tags: &BTreeMap<String, String>) -> Result<(), TagError> {
    let too_long = |key: &String, what, max| TagError::TooLong {
        key: key.clone(),
        what,
        max,
    };
    for (key, value) in tags {
        if key.chars().count() > KEY_MAX {
            return Err(too_long(key, "the name", KEY_MAX));
        }
        if value.chars().count() > VALUE_MAX {
            return Err(too_long(key, "the value", VALUE_MAX));
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(TagError::TooMany { count: tags.len() });
    }
    Ok(())
}

/// Writes numbers in their order: runs as `7-16`, commas between them.
fn write_numbers(numbers: impl Iterator<Item = u64>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let written = runs.iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    written.collect::<Vec<_>>().join(",")
}

/// Returns the number at a position of what [`write_numbers`] wrote.
fn number_at(written: &str, position: u64) -> Option<u64> {
    let mut left = position;
    for run in written.split(',') {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let first: u64 = first.parse().ok()?;
        let last: u64 = last.parse().ok()?;
        let count = last.checked_sub(first)?.checked_add(1)?;
        if left < count {
            return first.checked_add(left);
        }
        left -= count;
    }
    None
}

/// Reads tags into a map. An absent value is an empty one.
pub(crate) fn read(tags: &[Tag]) -> BTreeMap<&str, &str> {
    tags.iter()
        .filter_map(|tag| Some((tag.key()?, tag.value().unwrap_or_default())))
        .collect()
}

/// Returns the owner that tags name, of the instance with this launch index. None: they are incomplete or
/// unreadable, so the instance is nobody's to touch.
pub(crate) fn owner(tags: &BTreeMap<&str, &str>, launch_index: i32) -> Option<Ownership> {
    let text = |key: &str| tags.get(key).copied();
    let group = GroupName::parse(text(GROUP)?).ok()?;
    let instance = if let Some(instance) = text(INSTANCE) {
        InstanceId::parse(instance).ok()?
    } else {
        let position = u64::try_from(launch_index).ok()?;
        let number = number_at(text(INSTANCES)?, position)?;
        InstanceId::new(group.clone(), number)
    };
    if *instance.group() != group {
        return None;
    }
    Some(Ownership {
        fleet: FleetName::parse(text(FLEET)?).ok()?,
        group,
        instance,
        digests: Digests::parse(text(DIGEST)?).ok()?,
        token: Token::parse(text(TOKEN)?).ok()?,
        epoch: Epoch(text(EPOCH)?.parse().ok()?),
        seat: seat(tags).ok()?,
    })
}

/// Half of a seat in tags, or one that cannot be read: it cannot be trusted.
#[derive(Debug)]
pub(crate) struct BadSeat;

/// Returns the seat that tags name. None: they name none.
pub(crate) fn seat(tags: &BTreeMap<&str, &str>) -> Result<Option<SeatId>, BadSeat> {
    match (tags.get(LIFE), tags.get(MEMBER)) {
        (None, None) => Ok(None),
        (Some(life), Some(member)) => Ok(Some(SeatId {
            life: GroupUid::parse(life).map_err(|_| BadSeat)?,
            member: MemberId::parse(member).map_err(|_| BadSeat)?,
        })),
        (None, Some(_)) | (Some(_), None) => Err(BadSeat),
    }
}

/// Returns tags as the SDK has them.
pub(crate) fn to_sdk(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    let tags = tags.iter();
    tags.map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect()
}

#[cfg(test)]
mod tests;
