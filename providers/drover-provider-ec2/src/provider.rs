//! The provider contract over one account and region.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_ec2::types::{InstanceStateName, Tag};
use data_encoding::BASE64;
use drover_model::{
    CheckOutcome, Completeness, ErrorClass, FleetName, InPlace, Listing, MemberId, Owned,
    ProviderName, ProviderRef, Stranger, Survey, Value, counted,
};
use drover_provider::{
    AdoptRequest, Clock, DestroyRequest, Manifest, OptionalMethod, Prepared, Provider,
    ProviderError, ProvisionRequest, Provisioned, ReserveRequest, Secrets, Slot, UpdateRequest,
    asks_for_address, fingerprint, finish, refuse_attachments,
};

use crate::budget::{Limit, Priority};
use crate::error::is_missing_instance;
use crate::listing::{Seen, filter, listed};
use crate::places::{self, Owner, Place};
use crate::properties::{Properties, decode, invalid};
use crate::region::{Cost, Region};
use crate::request::{Launch, http_tokens, metadata_tags, user_data};
use crate::settings::Settings;
use crate::tags;

/// The waits between looks for one instance that was made, or tagged, a moment ago.
pub(crate) const LOOKS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(300),
    Duration::from_millis(700),
];

/// The waits between tries to end an instance that EC2 says it does not know, although it was made or seen a
/// moment ago: not everything at Amazon knows everything at once.
const ENDS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// One Provider document.
#[derive(Debug)]
pub(crate) struct Ec2Provider {
    pub(crate) name: ProviderName,
    pub(crate) settings: Settings,
    pub(crate) manifest: Manifest,
    pub(crate) region: Arc<Region>,
    pub(crate) clock: Arc<dyn Clock>,
}

pub(crate) fn not_found(message: impl Into<String>) -> ProviderError {
    ProviderError::new(ErrorClass::NotFound, message)
}

/// Does the provider's part of the substitution. `place`: the address and those of the members.
pub(crate) fn finished(
    slot: &Slot,
    properties: &Value,
    place: Option<(&str, &[(MemberId, String)])>,
    secrets: &Secrets,
) -> Result<Prepared, ProviderError> {
    let Some((address, members)) = place else {
        if asks_for_address(slot, properties) {
            return Err(invalid(
                "${instance.address}: only members of quorum groups have an address before they are made",
            ));
        }
        let prepared = finish(slot, properties, "", &[], secrets);
        return prepared.map_err(|error| invalid(error.to_string()));
    };
    finish(slot, properties, address, members, secrets).map_err(|error| invalid(error.to_string()))
}

impl Ec2Provider {
    fn owner<'a>(&'a self, fleet: &'a FleetName, group: &'a drover_model::GroupName) -> Owner<'a> {
        Owner {
            fleet,
            provider: &self.name,
            group,
        }
    }

    fn check_batch(&self, request: &ProvisionRequest) -> Result<(), ProviderError> {
        let Some((first, others)) = request.slots.split_first() else {
            return Err(invalid("a batch without slots"));
        };
        let most = self.manifest.batch_max;
        if request.slots.len() > most as usize {
            return Err(invalid(format!(
                "a batch has at most {}",
                counted(most, "slot")
            )));
        }
        let alike = |slot: &Slot| {
            slot.init == first.init
                && slot.env == first.env
                && slot.tags == first.tags
                && slot.seat.is_none()
        };
        if !others.iter().all(alike) || (first.seat.is_some() && !others.is_empty()) {
            return Err(invalid(
                "the slots of a batch must have the same init, environment and tags, and no place",
            ));
        }
        Ok(())
    }

    /// Makes a member's place and those of its peers, as far as they are missing.
    async fn seated(
        &self,
        request: &ProvisionRequest,
        slot: &Slot,
    ) -> Result<Option<(Place, Vec<(MemberId, String)>)>, ProviderError> {
        let Some(seat) = &slot.seat else {
            return Ok(None);
        };
        let Some(settings) = &self.settings.places else {
            return Err(invalid(
                "a member of a quorum group needs `places` in the Provider document",
            ));
        };
        let owner = self.owner(&request.fleet, &request.group);
        let seats = places::seats(seat);
        let zone = request.zone.as_deref();
        let made = self.region.reserve(settings, owner, &seats, zone).await?;
        let of = |member: &MemberId| {
            let mut all = seats.iter().zip(&made);
            let found = all.find(|(seat, _)| seat.member == *member);
            found.map(|(_, place)| (member.clone(), place.address.clone()))
        };
        let members = seat.members.iter().filter_map(of).collect();
        let own = made.into_iter().next();
        Ok(own.map(|place| (place, members)))
    }

    /// Refuses what a member's instance cannot have: its interface has it.
    fn check_member(properties: &Properties, slot: &Slot) -> Result<(), ProviderError> {
        let Some(seat) = &slot.seat else {
            return Ok(());
        };
        let written = [
            ("subnets", !properties.subnets.is_empty()),
            ("securityGroups", properties.security_groups.is_some()),
            ("publicAddress", properties.public_address.is_some()),
        ];
        if let Some((name, _)) = written.iter().find(|(_, written)| *written) {
            return Err(invalid(format!(
                "`{name}`: a member of a quorum group has what `places` of the Provider document says"
            )));
        }
        for name in &seat.attachments {
            places::disk_of(properties, name)?;
        }
        Ok(())
    }

    /// Returns an instance as EC2 describes it now.
    pub(crate) async fn look(
        &self,
        id: &str,
        priority: Priority,
    ) -> Result<Option<Seen>, ProviderError> {
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            let wanted = filter("instance-id", &[id]);
            let seen = self.region.describe(vec![wanted], priority).await?;
            if let Some(seen) = seen.into_iter().next() {
                return Ok(Some(seen));
            }
        }
        Ok(None)
    }

    /// Reads properties, and refuses what this program is not to do whatever a document says.
    fn decode(&self, properties: &Value) -> Result<Properties, ProviderError> {
        let properties = decode(properties)?;
        if !properties.metadata.requires_tokens() && !self.region.allows_imdsv1() {
            return Err(invalid(
                "metadata.tokens: `optional` answers IMDSv1, to which any request from the instance can take its role's credentials; drover-provider-ec2 allows it with --allow-imdsv1",
            ));
        }
        Ok(properties)
    }

    async fn change(&self, request: &UpdateRequest, id: &str) -> Result<(), ProviderError> {
        let prepared = finished(&request.slot, &request.properties, None, &request.secrets)?;
        let properties = self.decode(&prepared.properties)?;
        let client = self.region.client().await;
        let cost = |action, limit| Cost {
            action,
            limit,
            priority: Priority::Rest,
        };
        if let Some(groups) = &properties.security_groups {
            let call = client
                .modify_instance_attribute()
                .instance_id(id)
                .set_groups(Some(groups.clone()));
            let cost = cost("ModifyInstanceAttribute", Limit::Mutating);
            self.region.call(cost, || call.clone().send()).await?;
        }
        // What the document does not mention stays as it is: an instance that was adopted may have been made without.
        if prepared.properties.get("metadata").is_some() {
            let metadata = &properties.metadata;
            let call = client
                .modify_instance_metadata_options()
                .instance_id(id)
                .set_http_tokens(metadata.tokens_required.map(http_tokens))
                .set_http_put_response_hop_limit(metadata.hop_limit)
                .set_instance_metadata_tags(metadata.instance_tags.map(metadata_tags));
            let options = cost("ModifyInstanceMetadataOptions", Limit::Create);
            self.region.call(options, || call.clone().send()).await?;
        }
        // Last, so that the digest never says what has not happened.
        let tag = Tag::builder()
            .key(tags::DIGEST)
            .value(request.digests.to_string());
        let call = client.create_tags().resources(id).tags(tag.build());
        self.region
            .call(cost("CreateTags", Limit::Tags), || call.clone().send())
            .await?;
        Ok(())
    }

    /// Notes that what ended by itself was dealt with: EC2 lists it for about an hour.
    async fn note_ended(&self, id: &str) {
        let tag = Tag::builder().key(tags::ENDED).value("true").build();
        let call = self.region.client().await.create_tags();
        let call = call.resources(id).tags(tag);
        let cost = Cost {
            action: "CreateTags",
            limit: Limit::Tags,
            priority: Priority::End,
        };
        // It is gone all the same. Without the tag, a program that starts within the hour shows it once more.
        if let Err(error) = self.region.call(cost, || call.clone().send()).await {
            tracing::warn!(instance = id, %error, "ended instance not tagged");
        }
        self.region.book.ends(id);
    }

    async fn has_tags(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<bool, ProviderError> {
        let unknown = || not_found(format!("instance {instance} does not exist"));
        let seen = self.look(instance.as_str(), Priority::Rest).await?;
        let seen = seen.ok_or_else(unknown)?;
        let owner = (seen.tag(tags::FLEET), seen.tag(tags::PROVIDER));
        if owner == (None, None) {
            return Ok(false);
        }
        if owner != (Some(fleet.as_str()), Some(self.name.as_str())) {
            return Err(not_found(format!("instance {instance} is another's")));
        }
        Ok(true)
    }
}

#[async_trait]
impl Provider for Ec2Provider {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn offers(&self) -> BTreeSet<OptionalMethod> {
        use OptionalMethod::{Adopt, Health, Logs, Reserve, Survey, Update};
        let reserve = self.settings.places.as_ref().map(|_| Reserve);
        let always = [Update, Survey, Adopt, Health, Logs];
        always.into_iter().chain(reserve).collect()
    }

    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let as_of = self.clock.now();
        let all = self.region.instances(fleet).await?;
        let own: Vec<Seen> = all
            .iter()
            .filter(|seen| seen.tag(tags::PROVIDER) == Some(self.name.as_str()))
            .cloned()
            .collect();
        let notices = self
            .region
            .notices(&own, self.settings.status_checks)
            .await?;
        let kind = self.settings.address;
        let instances = own.iter().filter_map(|seen| {
            let ending = self.region.book.is_ending(&seen.id);
            listed(seen, kind, ending, &notices)
        });
        let mut listing = Listing {
            completeness: Completeness::Complete,
            as_of,
            instances: instances.collect(),
            attached: std::collections::BTreeSet::new(),
            places: std::collections::BTreeMap::new(),
        };
        if self.settings.places.is_some() {
            let nobody = drover_model::GroupName::parse("any").expect("a valid label");
            let owner = self.owner(fleet, &nobody);
            let held = self.region.held(owner, Priority::Observe).await?;
            listing.attached = held.attached;
            let places = held.places.into_iter();
            listing.places = places.map(|(key, place)| (key, place.address)).collect();
        }
        Ok(listing)
    }

    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        request.slots.iter().try_for_each(refuse_attachments)?;
        self.check_batch(request)?;
        let slot = &request.slots[0];
        // Before a place is made for what can never be.
        Self::check_member(&self.decode(&request.properties)?, slot)?;
        let seated = self.seated(request, slot).await?;
        let known = seated
            .as_ref()
            .map(|(place, members)| (place.address.as_str(), members.as_slice()));
        let prepared = finished(slot, &request.properties, known, &request.secrets)?;
        let properties = self.decode(&prepared.properties)?;
        let mut finished = ProvisionRequest {
            asked: Some(fingerprint(request)),
            ..request.clone()
        };
        for slot in &mut finished.slots {
            slot.tags.clone_from(&prepared.slot.tags);
        }
        let place = seated.map(|(place, _)| place);
        let launch = Launch {
            provider: &self.name,
            request: &finished,
            properties: &properties,
            tags: tags::of_launch(&self.name, &finished)
                .map_err(|error| invalid(error.to_string()))?,
            user_data: user_data(&prepared.slot)?,
            place,
        };
        let owner = self.owner(&request.fleet, &request.group);
        let furniture = match (&slot.seat, &launch.place) {
            (Some(seat), Some(place)) => {
                let made = self.region.furnish(owner, seat, &properties, place);
                made.await?
            }
            _ => Vec::new(),
        };
        // A member's call is repeated for as long as its volumes cannot be attached: longer than a token may last.
        let before = match &slot.seat {
            Some(_) => self.region.made_before(&finished).await?,
            None => None,
        };
        let provisioned = match before {
            Some(made) => made,
            None => self.region.launch(&launch).await?,
        };
        if let Some(seat) = &slot.seat {
            for instance in provisioned.made.values() {
                let id = instance.as_str();
                let attached = self.region.attach(owner, seat, &furniture, id);
                attached.await?;
            }
        }
        Ok(provisioned)
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        let id = request.provider_ref.as_str();
        let known = match self.region.book.owner(id) {
            Some(owner) => Some(owner),
            None => match self.look(id, Priority::End).await? {
                // What EC2 does not know is gone, or has never been.
                None => return Ok(()),
                Some(seen) => seen.owner(),
            },
        };
        let named = (
            &request.fleet,
            &request.group,
            &request.instance,
            &request.token,
        );
        let own = known.filter(|owner| owner.provider == self.name && owner.named() == named);
        let Some(own) = own else {
            return Err(not_found(format!("instance {id} is another's")));
        };
        if own.ended_itself {
            self.note_ended(id).await;
            return Ok(());
        }
        let mut last = None;
        for pause in ENDS {
            tokio::time::sleep(pause).await;
            match self.region.end(id).await {
                Err(error) if error.code.as_deref().is_some_and(is_missing_instance) => {
                    if !self.region.book.is_fresh(id) {
                        return Ok(());
                    }
                    last = Some(error);
                }
                answered => return Ok(answered?),
            }
        }
        let error = last.map_or_else(String::new, |error| error.to_string());
        let message = format!("{error}; it was made or seen a moment ago");
        Err(ProviderError::new(ErrorClass::Throttled, message))
    }

    async fn reserve(&self, request: &ReserveRequest) -> Result<String, ProviderError> {
        let Some(settings) = &self.settings.places else {
            return Err(invalid("the Provider document has no `places`"));
        };
        let owner = self.owner(&request.fleet, &request.group);
        let seats = [request.seat.clone()];
        let made = self.region.reserve(settings, owner, &seats, None).await?;
        let place = made.into_iter().next();
        place
            .map(|place| place.address)
            .ok_or_else(|| ProviderError::new(ErrorClass::Unknown, "no place was made"))
    }

    async fn update(&self, request: &UpdateRequest) -> Result<(), ProviderError> {
        refuse_attachments(&request.slot)?;
        match request.how {
            InPlace::Restart => return Err(invalid("EC2 instances are not restarted in place")),
            InPlace::Live => {}
        }
        let id = request.provider_ref.as_str();
        let seen = self.look(id, Priority::Rest).await?;
        let lives = |seen: &Seen| {
            matches!(
                seen.state,
                InstanceStateName::Pending | InstanceStateName::Running
            ) && !self.region.book.is_ending(id)
        };
        let owner = seen.filter(lives).and_then(|seen| seen.owner());
        let named = (
            &request.fleet,
            &request.group,
            &request.slot.instance,
            &request.token,
        );
        let same = owner.is_some_and(|owner| owner.provider == self.name && owner.named() == named);
        if !same {
            let message = format!("instance {id} is gone, ends, or is another's");
            return Err(not_found(message));
        }
        self.change(request, id).await
    }

    async fn release(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        if !self.has_tags(fleet, instance).await? {
            return Ok(());
        }
        let keys = tags::OWNER.iter().chain([&tags::ASKED]);
        let keys = keys.map(|key| Tag::builder().key(*key).build());
        let call = self
            .region
            .client()
            .await
            .delete_tags()
            .resources(instance.as_str())
            .set_tags(Some(keys.collect()));
        let cost = Cost {
            action: "DeleteTags",
            limit: Limit::Tags,
            priority: Priority::Rest,
        };
        self.region.call(cost, || call.clone().send()).await?;
        self.region.book.forget(instance.as_str());
        Ok(())
    }

    async fn survey(&self, tags: &BTreeMap<String, String>) -> Result<Survey, ProviderError> {
        let as_of = self.clock.now();
        let found = self.region.strangers(tags, Seen::of, |seen| seen).await?;
        let stranger = |(seen, claimed_by): (Seen, Option<String>)| {
            Some(Stranger {
                provider_ref: ProviderRef::parse(&seen.id).ok()?,
                phase: seen.phase(false),
                address: seen.address(self.settings.address),
                zone: seen.zone,
                created_at: seen.launched_at,
                tags: seen.tags,
                member: None,
                claimed_by,
                unheard: None,
            })
        };
        let owned = |seen: Seen| {
            let owner = seen.owner()?.ownership;
            Some(Owned {
                stranger: stranger((seen, None))?,
                fleet: owner.fleet,
                group: owner.group,
            })
        };
        Ok(Survey {
            completeness: Completeness::Complete,
            as_of,
            owned: found.owned.into_iter().filter_map(owned).collect(),
            strangers: found.free.into_iter().filter_map(stranger).collect(),
        })
    }

    async fn adopt(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        self.take_over(request).await
    }

    async fn health(
        &self,
        instance: &ProviderRef,
        timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        let asking = self.region.health(instance.as_str());
        match tokio::time::timeout(timeout, asking).await {
            Ok(answered) => Ok(answered?),
            Err(_) => Ok(CheckOutcome::Unknown {
                why: format!("EC2 says nothing within {timeout:?}"),
            }),
        }
    }

    async fn logs(&self, instance: &ProviderRef, lines: usize) -> Result<String, ProviderError> {
        let call = self
            .region
            .client()
            .await
            .get_console_output()
            .instance_id(instance.as_str());
        let cost = Cost {
            action: "GetConsoleOutput",
            limit: Limit::Describe,
            priority: Priority::Rest,
        };
        let answer = self.region.call(cost, || call.clone().send()).await?;
        let encoded: Vec<u8> = answer.output().unwrap_or_default().bytes().collect();
        let packed: Vec<u8> = encoded
            .into_iter()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        let bytes = BASE64.decode(&packed).map_err(|error| {
            let message = format!("GetConsoleOutput: not base64: {error}");
            ProviderError::new(ErrorClass::Unknown, message)
        })?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let all: Vec<&str> = text.lines().collect();
        let from = all.len().saturating_sub(lines);
        let mut kept = all[from..].join("\n");
        if !kept.is_empty() {
            kept.push('\n');
        }
        Ok(kept)
    }
}
