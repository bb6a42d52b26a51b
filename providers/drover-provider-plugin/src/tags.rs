//! Ownership as tags: what a provider without a notion of owners keeps for us.

use std::collections::BTreeMap;

use drover_model::{
    Digests, Epoch, FleetName, GroupName, GroupUid, InstanceId, MemberId, Ownership, SeatId, Token,
};

pub(crate) const FLEET: &str = "drover.fleet";
pub(crate) const TOKEN: &str = "drover.token";
pub(crate) const GROUP: &str = "drover.group";
pub(crate) const INSTANCE: &str = "drover.instance";
const DIGEST: &str = "drover.digest";
const EPOCH: &str = "drover.epoch";
const MEMBER: &str = "drover.member";
const LIFE: &str = "drover.life";
/// When the instance was asked for.
pub(crate) const CREATED: &str = "drover.created";
/// The zone that it was asked for in.
pub(crate) const ZONE: &str = "drover.zone";
/// InfraKit's own: which place of a group of fixed members an instance takes. Its plugins read the LogicalID from it.
pub(crate) const LOGICAL_ID: &str = "infrakit.logical_id";
/// The fleet that has released it.
pub(crate) const RELEASED: &str = "drover.released";

/// The tags that make an instance ours, in the order in which they are taken off.
pub(crate) const OWNING: [&str; 8] = [FLEET, TOKEN, GROUP, INSTANCE, DIGEST, EPOCH, MEMBER, LIFE];

/// Returns the tags of an owner.
pub(crate) fn of(owner: &Ownership) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([
        (FLEET.to_owned(), owner.fleet.to_string()),
        (GROUP.to_owned(), owner.group.to_string()),
        (INSTANCE.to_owned(), owner.instance.to_string()),
        (DIGEST.to_owned(), owner.digests.to_string()),
        (TOKEN.to_owned(), owner.token.to_string()),
        (EPOCH.to_owned(), owner.epoch.to_string()),
    ]);
    if let Some(seat) = &owner.seat {
        tags.insert(MEMBER.to_owned(), seat.member.to_string());
        tags.insert(LIFE.to_owned(), seat.life.to_string());
    }
    tags
}

/// Returns a tag's value. An empty one is what a release leaves.
pub(crate) fn get<'a>(tags: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let tag = tags.get(name).map(String::as_str);
    tag.filter(|tag| !tag.is_empty())
}

/// Returns the tags of an owner from the text that the ledger keeps.
pub(crate) fn noted(owner: &str) -> BTreeMap<String, String> {
    let parts = owner.split(' ').filter_map(|part| part.split_once('='));
    parts
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Returns the first of the owner's tags that is there and cannot be read.
pub(crate) fn unreadable(tags: &BTreeMap<String, String>) -> Option<(&'static str, &str)> {
    OWNING.into_iter().find_map(|name| {
        let value = get(tags, name)?;
        let is_read = match name {
            FLEET => FleetName::parse(value).is_ok(),
            TOKEN => Token::parse(value).is_ok(),
            GROUP => GroupName::parse(value).is_ok(),
            INSTANCE => InstanceId::parse(value).is_ok(),
            DIGEST => Digests::parse(value).is_ok(),
            EPOCH => value.parse::<u64>().is_ok(),
            MEMBER => MemberId::parse(value).is_ok(),
            LIFE => GroupUid::parse(value).is_ok(),
            _ => true,
        };
        (!is_read).then_some((name, value))
    })
}

/// Reads the owner. None: a tag is missing or cannot be read, so the instance is nobody's to touch.
pub(crate) fn owner(tags: &BTreeMap<String, String>) -> Option<Ownership> {
    let tag = |name: &str| get(tags, name);
    let seat = match (tag(MEMBER), tag(LIFE)) {
        (None, None) => None,
        (member, life) => Some(SeatId {
            life: GroupUid::parse(life?).ok()?,
            member: MemberId::parse(member?).ok()?,
        }),
    };
    Some(Ownership {
        fleet: FleetName::parse(tag(FLEET)?).ok()?,
        group: GroupName::parse(tag(GROUP)?).ok()?,
        instance: InstanceId::parse(tag(INSTANCE)?).ok()?,
        digests: Digests::parse(tag(DIGEST)?).ok()?,
        token: Token::parse(tag(TOKEN)?).ok()?,
        epoch: Epoch(tag(EPOCH)?.parse().ok()?),
        seat,
    })
}
