//! Places of quorum groups: a network interface, whose address stays, and volumes, whose data stays.
//!
//! Both carry the place's tags and outlive every instance that takes the place. EC2 attaches an interface and a
//! volume to one instance at a time, which is what makes a place exclusive. Nothing here ever deletes one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::types::{
    Filter, InstanceStateName, ResourceType, TagSpecification, VolumeAttachmentState, VolumeType,
};
use drover_model::{
    AttachmentName, ErrorClass, FleetName, GroupName, MemberId, ProviderName, Seat, SeatId,
};
use drover_provider::{ProviderError, Urgency};
use sha2::{Digest as _, Sha256};

use crate::budget::{Limit, Priority};
use crate::error::CallError;
use crate::listing::{filter, tag_filter};
use crate::properties::{Disk, Properties, invalid};
use crate::region::{Cost, Region};
use crate::request::Where;
use crate::settings::Places;
use crate::tags;

/// Entries of one page: the most that EC2 gives of these.
const PAGE: i32 = 1_000;

/// Most pages of one question.
const PAGES_MAX: usize = 1_000;

/// How often a new instance is looked at until it runs, and how often in all: a volume is attached to a running
/// instance only. A call that gives up is repeated with the same token, and goes on from there.
const LOOK: Duration = Duration::from_secs(2);
const LOOKS_MAX: usize = 25;

/// A member's place, made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The network interface.
    pub(crate) interface: String,
    /// Its private address.
    pub(crate) address: String,
    pub(crate) at: Where,
}

/// A volume that goes with a place.
#[derive(Debug)]
pub(crate) struct Furniture {
    volume: String,
    device: String,
}

/// Whose places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) fleet: &'a FleetName,
    pub(crate) provider: &'a ProviderName,
    pub(crate) group: &'a GroupName,
}

/// What is attached to places, and where they are.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) attached: BTreeSet<(GroupName, SeatId)>,
    pub(crate) places: BTreeMap<(GroupName, SeatId), Place>,
}

/// A volume of a place.
#[derive(Debug)]
struct Volume {
    id: String,
    key: (GroupName, SeatId),
    name: String,
    /// The instance that has it.
    holder: Option<String>,
}

impl Owner<'_> {
    fn filters(&self) -> Vec<Filter> {
        vec![
            tag_filter(tags::FLEET, self.fleet.as_str()),
            tag_filter(tags::PROVIDER, self.provider.as_str()),
        ]
    }

    fn tags(&self, seat: &SeatId, attachment: Option<&str>) -> BTreeMap<String, String> {
        let name = match attachment {
            None => format!("{}.{}", self.group, seat.member),
            Some(attachment) => format!("{}.{}.{attachment}", self.group, seat.member),
        };
        let mut tags = BTreeMap::new();
        let mut own = |key: &str, value: &str| tags.insert(key.to_owned(), value.to_owned());
        own(tags::NAME, &name);
        own(tags::FLEET, self.fleet.as_str());
        own(tags::PROVIDER, self.provider.as_str());
        own(tags::GROUP, self.group.as_str());
        own(tags::LIFE, seat.life.as_str());
        own(tags::MEMBER, seat.member.as_str());
        if let Some(attachment) = attachment {
            own(tags::ATTACHMENT, attachment);
        }
        tags
    }

    /// Returns EC2's token for making a part of a place: the same for ever.
    fn token(&self, seat: &SeatId, part: &str) -> String {
        let mut hash = Sha256::new();
        for text in [
            self.fleet.as_str(),
            self.provider.as_str(),
            self.group.as_str(),
            seat.life.as_str(),
            seat.member.as_str(),
            part,
        ] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        data_encoding::HEXLOWER.encode(&hash.finalize())
    }
}

fn specification(kind: ResourceType, tags: &BTreeMap<String, String>) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(kind)
        .set_tags(Some(tags::to_sdk(tags)))
        .build()
}

const fn describing(action: &'static str, priority: Priority) -> Cost {
    Cost {
        action,
        limit: Limit::Describe,
        priority,
    }
}

/// What belongs to a member's place: a few calls in its life, and the quorum waits for them.
const FOR_A_MEMBER: Priority = Priority::Make(Urgency::Heal);

const fn making(action: &'static str) -> Cost {
    Cost {
        action,
        limit: Limit::Create,
        priority: FOR_A_MEMBER,
    }
}

/// Returns whose place tags name.
fn key(tags: &BTreeMap<&str, &str>) -> Option<(GroupName, SeatId)> {
    let group = GroupName::parse(tags.get(tags::GROUP)?).ok()?;
    Some((group, tags::seat(tags).ok()??))
}

impl Region {
    /// Returns every place of a document's groups, and what is attached.
    pub(crate) async fn held(
        self: &Arc<Self>,
        owner: Owner<'_>,
        priority: Priority,
    ) -> Result<Held, CallError> {
        let places = self.interfaces(owner.filters(), priority).await?;
        let volumes = self.volumes(owner.filters(), priority).await?;
        Ok(Held {
            attached: volumes.into_iter().map(|volume| volume.key).collect(),
            places,
        })
    }

    async fn interfaces(
        &self,
        filters: Vec<Filter>,
        priority: Priority,
    ) -> Result<BTreeMap<(GroupName, SeatId), Place>, CallError> {
        let action = "DescribeNetworkInterfaces";
        let client = self.client().await;
        let mut places = BTreeMap::new();
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let page = client
                .describe_network_interfaces()
                .set_filters(Some(filters.clone()))
                .max_results(PAGE)
                .set_next_token(next);
            let answer = self
                .call(describing(action, priority), || page.clone().send())
                .await?;
            for interface in answer.network_interfaces() {
                let (Some(id), Some(address)) = (
                    interface.network_interface_id(),
                    interface.private_ip_address(),
                ) else {
                    continue;
                };
                let Some(key) = key(&tags::read(interface.tag_set())) else {
                    continue;
                };
                let place = Place {
                    interface: id.to_owned(),
                    address: address.to_owned(),
                    at: Where {
                        subnet: interface.subnet_id().map(str::to_owned),
                        zone: interface.availability_zone().map(str::to_owned),
                    },
                };
                places.insert(key, place);
            }
            match answer.next_token() {
                None | Some("") => return Ok(places),
                Some(token) => next = Some(token.to_owned()),
            }
        }
        Err(endless(action))
    }

    async fn volumes(
        &self,
        mut filters: Vec<Filter>,
        priority: Priority,
    ) -> Result<Vec<Volume>, CallError> {
        let action = "DescribeVolumes";
        // The volumes of instances have the place's tags too, and this one not.
        filters.push(filter("tag-key", &[tags::ATTACHMENT]));
        let client = self.client().await;
        let mut volumes = Vec::new();
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let page = client
                .describe_volumes()
                .set_filters(Some(filters.clone()))
                .max_results(PAGE)
                .set_next_token(next);
            let answer = self
                .call(describing(action, priority), || page.clone().send())
                .await?;
            for volume in answer.volumes() {
                let tags = tags::read(volume.tags());
                let (Some(id), Some(key), Some(name)) =
                    (volume.volume_id(), key(&tags), tags.get(tags::ATTACHMENT))
                else {
                    continue;
                };
                let holds = volume.attachments().iter().find(|attachment| {
                    attachment.state() != Some(&VolumeAttachmentState::Detached)
                });
                volumes.push(Volume {
                    id: id.to_owned(),
                    key,
                    name: (*name).to_owned(),
                    holder: holds.and_then(|held| held.instance_id()).map(str::to_owned),
                });
            }
            match answer.next_token() {
                None | Some("") => return Ok(volumes),
                Some(token) => next = Some(token.to_owned()),
            }
        }
        Err(endless(action))
    }

    /// Makes the places of members that have none yet, and returns all of them. `zone`: where the first of
    /// them is wanted.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        settings: &Places,
        owner: Owner<'_>,
        seats: &[SeatId],
        zone: Option<&str>,
    ) -> Result<Vec<Place>, ProviderError> {
        // One at a time, so that each sees where the others went.
        let _making = self.making_places.lock().await;
        let mut known = self.interfaces(owner.filters(), FOR_A_MEMBER).await?;
        known.extend(self.book.places());
        let subnets = self.zones_of(&settings.subnets).await?;
        let mut places = Vec::new();
        for (position, seat) in seats.iter().enumerate() {
            let key = (owner.group.clone(), seat.clone());
            if let Some(place) = known.get(&key) {
                places.push(place.clone());
                continue;
            }
            let zone = zone.filter(|_| position == 0);
            let wanted = subnets
                .iter()
                .filter(|(_, of)| zone.is_none_or(|zone| zone == of));
            let taken = |subnet: &str| {
                let others = known.iter().filter(|((group, other), place)| {
                    group == owner.group
                        && other.life == seat.life
                        && place.at.subnet.as_deref() == Some(subnet)
                });
                others.count()
            };
            let (subnet, zone) = wanted
                .min_by_key(|(subnet, _)| taken(subnet))
                .ok_or_else(|| invalid("places.subnets: none is in the zone that is asked for"))?;
            let at = Where {
                subnet: Some(subnet.clone()),
                zone: Some(zone.clone()),
            };
            let place = self.make_interface(settings, owner, seat, at).await?;
            self.book.note_place(key.clone(), place.clone());
            known.insert(key, place.clone());
            places.push(place);
        }
        Ok(places)
    }

    async fn make_interface(
        &self,
        settings: &Places,
        owner: Owner<'_>,
        seat: &SeatId,
        at: Where,
    ) -> Result<Place, CallError> {
        let action = "CreateNetworkInterface";
        let groups = &settings.security_groups;
        let tags = owner.tags(seat, None);
        let call = self
            .client()
            .await
            .create_network_interface()
            .client_token(owner.token(seat, "interface"))
            .description(format!("drover: {} {}", owner.group, seat.member))
            .set_subnet_id(at.subnet.clone())
            .set_groups((!groups.is_empty()).then(|| groups.clone()))
            .tag_specifications(specification(ResourceType::NetworkInterface, &tags));
        let answered = self.call(making(action), || call.clone().send()).await;
        let answer = answered.map_err(|error| {
            // Made already, in another subnet: by a call whose answer was lost, and not listed yet.
            if error.is("IdempotentParameterMismatch") {
                let message = format!("{}; it is not listed yet", error.message);
                return CallError {
                    message,
                    class: ErrorClass::Unknown,
                    ..error
                };
            }
            error
        })?;
        let interface = answer.network_interface();
        let id = interface.and_then(|interface| interface.network_interface_id());
        let address = interface.and_then(|interface| interface.private_ip_address());
        let (Some(id), Some(address)) = (id, address) else {
            let message = "the answer names no interface or no address";
            return Err(CallError::new(action, ErrorClass::Unknown, message));
        };
        Ok(Place {
            interface: id.to_owned(),
            address: address.to_owned(),
            at,
        })
    }

    /// Makes the volumes of a place that are missing, and returns all of them.
    pub(crate) async fn furnish(
        self: &Arc<Self>,
        owner: Owner<'_>,
        seat: &Seat,
        properties: &Properties,
        place: &Place,
    ) -> Result<Vec<Furniture>, ProviderError> {
        if seat.attachments.is_empty() {
            return Ok(Vec::new());
        }
        let volumes = self.volumes_of(owner, seat).await?;
        let mut furniture = Vec::new();
        for name in &seat.attachments {
            let disk = disk_of(properties, name)?;
            let volume = match volumes.get(name.as_str()) {
                Some(volume) => volume.id.clone(),
                None => self.make_volume(owner, &seat.id, name, disk, place).await?,
            };
            furniture.push(Furniture {
                volume,
                device: disk.device.clone(),
            });
        }
        Ok(furniture)
    }

    /// Attaches the volumes of a place to an instance that was made for it.
    ///
    /// # Errors
    ///
    /// `Unknown` always, whatever EC2 said: the instance is there, and the call goes on from there when it is repeated,
    /// as the agent does for as long as there is no answer. The message has what EC2 said, and the class of that.
    pub(crate) async fn attach(
        self: &Arc<Self>,
        owner: Owner<'_>,
        seat: &Seat,
        furniture: &[Furniture],
        instance: &str,
    ) -> Result<(), ProviderError> {
        if furniture.is_empty() {
            return Ok(());
        }
        let unknown = |error: CallError| {
            let message = format!("{error} (class {})", error.class.as_str());
            ProviderError::new(ErrorClass::Unknown, message)
        };
        if !self.until_running(instance).await.map_err(unknown)? {
            // It ended already: the listing tells, and there is nothing to attach to.
            return Ok(());
        }
        let volumes = self.volumes_of(owner, seat).await.map_err(unknown)?;
        let holders: BTreeMap<&str, Option<&str>> = volumes
            .values()
            .map(|volume| (volume.id.as_str(), volume.holder.as_deref()))
            .collect();
        for Furniture { volume, device } in furniture {
            let holder = holders.get(volume.as_str()).copied().flatten();
            if holder != Some(instance) {
                let attached = self.attach_one(volume, instance, device).await;
                attached.map_err(unknown)?;
            }
        }
        Ok(())
    }

    async fn volumes_of(
        &self,
        owner: Owner<'_>,
        seat: &Seat,
    ) -> Result<BTreeMap<String, Volume>, CallError> {
        let mut filters = owner.filters();
        filters.push(tag_filter(tags::GROUP, owner.group.as_str()));
        filters.push(tag_filter(tags::LIFE, seat.id.life.as_str()));
        filters.push(tag_filter(tags::MEMBER, seat.id.member.as_str()));
        let volumes = self.volumes(filters, FOR_A_MEMBER).await?;
        let named = volumes
            .into_iter()
            .map(|volume| (volume.name.clone(), volume));
        Ok(named.collect())
    }

    async fn make_volume(
        &self,
        owner: Owner<'_>,
        seat: &SeatId,
        name: &AttachmentName,
        disk: &Disk,
        place: &Place,
    ) -> Result<String, CallError> {
        let action = "CreateVolume";
        let tags = owner.tags(seat, Some(name.as_str()));
        let call = self
            .client()
            .await
            .create_volume()
            .client_token(owner.token(seat, name.as_str()))
            .set_availability_zone(place.at.zone.clone())
            .set_size(disk.size_gib)
            .volume_type(VolumeType::from(disk.type_.as_str()))
            .set_iops(disk.iops)
            .set_throughput(disk.throughput)
            .encrypted(disk.encrypted)
            .set_kms_key_id(disk.kms_key_id.clone())
            .set_snapshot_id(disk.snapshot_id.clone())
            .tag_specifications(specification(ResourceType::Volume, &tags));
        let answer = self.call(making(action), || call.clone().send()).await?;
        answer.volume_id().map(str::to_owned).ok_or_else(|| {
            CallError::new(action, ErrorClass::Unknown, "the answer names no volume")
        })
    }

    /// Attaches a volume, which may still be being made.
    async fn attach_one(
        &self,
        volume: &str,
        instance: &str,
        device: &str,
    ) -> Result<(), CallError> {
        let cost = Cost {
            action: "AttachVolume",
            limit: Limit::Mutating,
            priority: FOR_A_MEMBER,
        };
        let mut last = None;
        for _ in 0..LOOKS_MAX {
            let call = self
                .client()
                .await
                .attach_volume()
                .volume_id(volume)
                .instance_id(instance)
                .device(device);
            match self.call(cost, || call.clone().send()).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is("IncorrectState") || error.is("InvalidVolume.NotFound") => {
                    last = Some(error);
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) => return Err(error),
            }
        }
        let message = last.map_or_else(String::new, |error| error.to_string());
        Err(CallError::new(cost.action, ErrorClass::Unknown, message))
    }

    /// Waits until an instance runs. False: it never will.
    async fn until_running(&self, instance: &str) -> Result<bool, CallError> {
        let action = "DescribeInstances";
        for _ in 0..LOOKS_MAX {
            let wanted = filter("instance-id", &[instance]);
            let seen = self.describe(vec![wanted], FOR_A_MEMBER).await?;
            match seen.first().map(|seen| &seen.state) {
                Some(InstanceStateName::Running) => return Ok(true),
                None | Some(InstanceStateName::Pending) => tokio::time::sleep(LOOK).await,
                Some(_) => return Ok(false),
            }
        }
        let message = format!("{instance} does not run yet, so that nothing is attached");
        Err(CallError::new(action, ErrorClass::Unknown, message))
    }
}

/// Returns the volume that a template has for an attachment.
pub(crate) fn disk_of<'a>(
    properties: &'a Properties,
    name: &AttachmentName,
) -> Result<&'a Disk, ProviderError> {
    let disk = properties.attachments.get(name.as_str());
    disk.ok_or_else(|| invalid(format!("properties.attachments: {name} is missing")))
}

/// Returns the places of members of the same life.
pub(crate) fn seats(seat: &Seat) -> Vec<SeatId> {
    let of = |member: &MemberId| SeatId {
        life: seat.id.life.clone(),
        member: member.clone(),
    };
    let others = seat
        .members
        .iter()
        .filter(|member| **member != seat.id.member);
    std::iter::once(seat.id.clone())
        .chain(others.map(of))
        .collect()
}

fn endless(action: &'static str) -> CallError {
    let message = format!("more than {PAGES_MAX} pages");
    CallError::new(action, ErrorClass::Unknown, message)
}
