//! The labels of containers: who owns one, and what else must be known of it later.

use std::collections::BTreeMap;

use drover_model::{
    Digests, Epoch, FleetName, GroupName, InstanceId, Ownership, ProviderName, Token,
};

pub(crate) const FLEET: &str = "drover.fleet";
pub(crate) const TOKEN: &str = "drover.token";
const GROUP: &str = "drover.group";
const INSTANCE: &str = "drover.instance";
const DIGEST: &str = "drover.digest";
const EPOCH: &str = "drover.epoch";
/// The Provider document: several may be of one engine.
pub(crate) const PROVIDER: &str = "drover.provider";
/// The hash of the call that made it, to tell a repeated call from another one.
pub(crate) const CALL: &str = "drover.call";
/// The zone that was asked for: a label, since all containers are on one machine.
pub(crate) const ZONE: &str = "drover.zone";
/// The loopback address that its ports are published at.
pub(crate) const ADDRESS: &str = "drover.address";
/// The networks that it is to be in, with commas between them; its own address is that in the first.
pub(crate) const NETWORKS: &str = "drover.networks";
/// How long it may take to end by itself at most, in milliseconds.
pub(crate) const STOP_TIMEOUT: &str = "drover.stop-timeout-ms";

/// What begins so is not for anybody else.
pub(crate) const RESERVED: &str = "drover.";

pub(crate) type Labels = BTreeMap<String, String>;

/// Returns the labels that say who owns a container.
pub(crate) fn of(owner: &Ownership, provider: &ProviderName, call: &str) -> Labels {
    let labels = [
        (FLEET, owner.fleet.to_string()),
        (GROUP, owner.group.to_string()),
        (INSTANCE, owner.instance.to_string()),
        (DIGEST, owner.digests.to_string()),
        (TOKEN, owner.token.to_string()),
        (EPOCH, owner.epoch.to_string()),
        (PROVIDER, provider.to_string()),
        (CALL, call.to_owned()),
    ];
    labels
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Reads the owner. None: the labels are incomplete or unreadable, so the container is not ours to touch.
pub(crate) fn owner(labels: &Labels) -> Option<Ownership> {
    let text = |name: &str| labels.get(name).map(String::as_str);
    Some(Ownership {
        fleet: FleetName::parse(text(FLEET)?).ok()?,
        group: GroupName::parse(text(GROUP)?).ok()?,
        instance: InstanceId::parse(text(INSTANCE)?).ok()?,
        digests: Digests::parse(text(DIGEST)?).ok()?,
        token: Token::parse(text(TOKEN)?).ok()?,
        epoch: Epoch(text(EPOCH)?.parse().ok()?),
        seat: None,
    })
}
