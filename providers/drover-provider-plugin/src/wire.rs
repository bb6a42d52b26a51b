//! The messages of `Provider/1`, drover's own interface: the provider contract, written out. They are
//! documented in docs/reference/plugin-protocol.md, which people write plugins from.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use drover_model::{
    AttachmentName, Completeness, Digests, Epoch, ErrorClass, ExitReport, FleetName, GroupName,
    GroupUid, InPlace, InstanceId, Listed, Listing, MemberId, Ownership, ProviderPhase,
    ProviderRef, Seat, SeatId, Timestamp, Token, Value,
};
use drover_provider::{
    ProviderError, Slot, Urgency, asks_for_address, escaped, escaped_value, fingerprint, finish,
    is_fingerprint,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

use crate::call::{class_of, shortened};
use crate::json::{from_json, to_json};

mod adoption;

pub(crate) use adoption::{AdoptDto, SurveyResult};

/// Which scope a call is about: a Provider document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScopeDto {
    /// The document's name.
    pub(crate) provider: String,
    /// The plugin's subtype; empty: it has none.
    #[serde(rename = "type", default, deserialize_with = "null_as_default")]
    pub(crate) type_: String,
    /// The document's `settings`.
    #[serde(default)]
    pub(crate) settings: Json,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeResult {
    #[serde(default)]
    pub(crate) batch_max: Option<u32>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) visibility_ms: u64,
    /// The JSON Schema of `template.properties`. None: any properties.
    #[serde(default)]
    pub(crate) properties: Option<Json>,
    /// The optional methods that the plugin has.
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) methods: BTreeSet<String>,
}

/// What a plugin says of settings, whatever a document has written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SettingsResult {
    /// The JSON Schema of `settings`. None: any settings.
    #[serde(default)]
    pub(crate) settings: Option<Json>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListResult {
    pub(crate) complete: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    pub(crate) instances: Vec<ListedDto>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) attached: Vec<PlaceDto>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) places: Vec<PlaceDto>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedDto {
    #[serde(rename = "ref")]
    pub(crate) ref_: String,
    pub(crate) phase: String,
    #[serde(default)]
    pub(crate) owner: Option<OwnerDto>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interruption: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<ExitDto>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ExitDto {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<i32>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnerDto {
    pub(crate) fleet: String,
    pub(crate) group: String,
    pub(crate) instance: String,
    pub(crate) digest: String,
    pub(crate) token: String,
    pub(crate) epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seat: Option<SeatIdDto>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeatIdDto {
    pub(crate) life: String,
    pub(crate) member: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlaceDto {
    pub(crate) group: String,
    pub(crate) seat: SeatIdDto,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SeatDto {
    pub(crate) life: String,
    pub(crate) member: String,
    pub(crate) members: Vec<String>,
    pub(crate) bootstrap: bool,
    pub(crate) attachments: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SlotDto {
    pub(crate) instance: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) init: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seat: Option<SeatDto>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProvisionDto {
    pub(crate) token: String,
    pub(crate) fleet: String,
    pub(crate) group: String,
    pub(crate) epoch: u64,
    pub(crate) digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    pub(crate) slots: Vec<SlotDto>,
    pub(crate) properties: Json,
    /// Whether texts have substitutions that wait for an address.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "is_false"
    )]
    pub(crate) substitute: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) urgency: Option<String>,
    /// The fingerprint of the call, without the values of secrets that stand in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProvisionResult {
    pub(crate) made: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shortfall: Option<ErrorDto>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ErrorDto {
    pub(crate) class: String,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DestroyDto {
    pub(crate) fleet: String,
    pub(crate) group: String,
    pub(crate) epoch: u64,
    pub(crate) instance: String,
    #[serde(rename = "ref")]
    pub(crate) ref_: String,
    pub(crate) token: String,
    pub(crate) grace_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateDto {
    pub(crate) fleet: String,
    pub(crate) group: String,
    pub(crate) epoch: u64,
    #[serde(rename = "ref")]
    pub(crate) ref_: String,
    pub(crate) token: String,
    pub(crate) update: String,
    pub(crate) how: String,
    pub(crate) digest: String,
    pub(crate) slot: SlotDto,
    pub(crate) properties: Json,
    /// Whether texts have substitutions that wait for an address.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "is_false"
    )]
    pub(crate) substitute: bool,
    pub(crate) grace_ms: u64,
}

/// Why a message cannot be used, as `field: what`.
pub(crate) type Unreadable = String;

pub(crate) fn parsed<T: FromStr>(field: &str, text: &str) -> Result<T, Unreadable>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error| format!("`{field}`: {:?} {error}", shortened(text)))
}

/// The longest handle, address or zone that is believed, in bytes: no API has any of half the length. They are recorded with
/// each commit and shown on terminals.
const TEXT_BYTES_MAX: usize = 1_024;

/// Returns why a text that a plugin says of an instance cannot be one: it is far too long, or has characters that no
/// terminal shows as they are.
pub(crate) fn strange(text: &str) -> Option<String> {
    if text.len() > TEXT_BYTES_MAX {
        return Some(format!("is longer than {TEXT_BYTES_MAX} bytes"));
    }
    let control = text.contains(char::is_control);
    control.then(|| "has control characters".to_owned())
}

/// Returns a text that a plugin says of an instance.
pub(crate) fn plain(field: &str, text: String) -> Result<String, Unreadable> {
    match strange(&text) {
        None => Ok(text),
        Some(why) => Err(format!("`{field}` {why}: {:?}", shortened(&text))),
    }
}

/// The same, of what may be left out; an empty text is none.
pub(crate) fn plain_if_any(
    field: &str,
    text: Option<String>,
) -> Result<Option<String>, Unreadable> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| plain(field, text)).transpose()
}

/// Reads the handle of an instance.
pub(crate) fn handle(field: &str, text: &str) -> Result<ProviderRef, Unreadable> {
    parsed(field, &plain(field, text.to_owned())?)
}

pub(crate) fn digests(text: &str) -> Result<Digests, Unreadable> {
    Digests::parse(text).map_err(|error| format!("`digest`: {:?} {error}", shortened(text)))
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl OwnerDto {
    pub(crate) fn of(owner: &Ownership) -> Self {
        Self {
            fleet: owner.fleet.to_string(),
            group: owner.group.to_string(),
            instance: owner.instance.to_string(),
            digest: owner.digests.to_string(),
            token: owner.token.to_string(),
            epoch: owner.epoch.0,
            seat: owner.seat.as_ref().map(SeatIdDto::of),
        }
    }

    /// Reads the owner.
    fn read(&self) -> Result<Ownership, Unreadable> {
        let seat = self.seat.as_ref().map(SeatIdDto::read).transpose()?;
        let group = parsed::<GroupName>("group", &self.group)?;
        let instance = parsed::<InstanceId>("instance", &self.instance)?;
        if instance.group() != &group {
            return Err(format!("`instance`: {instance} is none of group {group}"));
        }
        Ok(Ownership {
            fleet: parsed::<FleetName>("fleet", &self.fleet)?,
            group,
            instance,
            digests: digests(&self.digest)?,
            token: parsed::<Token>("token", &self.token)?,
            epoch: Epoch(self.epoch),
            seat,
        })
    }
}

impl SeatIdDto {
    pub(crate) fn of(seat: &SeatId) -> Self {
        Self {
            life: seat.life.to_string(),
            member: seat.member.to_string(),
        }
    }

    pub(crate) fn read(&self) -> Result<SeatId, Unreadable> {
        Ok(SeatId {
            life: parsed::<GroupUid>("life", &self.life)?,
            member: parsed::<MemberId>("member", &self.member)?,
        })
    }
}

impl SlotDto {
    /// Writes a slot with what the secrets in its environment stand for.
    fn of(slot: &Slot, env: BTreeMap<String, String>) -> Self {
        let seat = slot.seat.as_deref().map(|seat| SeatDto {
            life: seat.id.life.to_string(),
            member: seat.id.member.to_string(),
            members: seat.members.iter().map(ToString::to_string).collect(),
            bootstrap: seat.bootstrap,
            attachments: seat.attachments.iter().map(ToString::to_string).collect(),
        });
        Self {
            instance: slot.instance.to_string(),
            init: slot.init.clone(),
            env,
            tags: slot.tags.clone(),
            seat,
        }
    }

    fn read(&self, substitute: bool) -> Result<Slot, Unreadable> {
        let text = |text: &String| {
            if substitute {
                text.clone()
            } else {
                escaped(text)
            }
        };
        let texts = |map: &BTreeMap<String, String>| {
            let entries = map.iter();
            entries.map(|(key, one)| (key.clone(), text(one))).collect()
        };
        let seat = |seat: &SeatDto| -> Result<Seat, Unreadable> {
            let members = seat
                .members
                .iter()
                .map(|member| parsed::<MemberId>("members", member));
            let attachments = seat.attachments.iter();
            let attachments = attachments.map(|name| parsed::<AttachmentName>("attachments", name));
            Ok(Seat {
                id: SeatId {
                    life: parsed::<GroupUid>("life", &seat.life)?,
                    member: parsed::<MemberId>("member", &seat.member)?,
                },
                members: members.collect::<Result<_, _>>()?,
                bootstrap: seat.bootstrap,
                attachments: attachments.collect::<Result<_, _>>()?,
            })
        };
        Ok(Slot {
            instance: parsed::<InstanceId>("instance", &self.instance)?,
            init: self.init.iter().map(text).collect(),
            env: texts(&self.env),
            tags: texts(&self.tags),
            // There is no field for them: the host refuses them before it asks.
            attachments: Vec::new(),
            seat: self.seat.as_ref().map(seat).transpose()?.map(Box::new),
            secrets: BTreeMap::new(),
        })
    }
}

impl ListedDto {
    pub(crate) fn of(listed: &Listed) -> Self {
        Self {
            ref_: listed.provider_ref.to_string(),
            phase: phase_name(&listed.phase).to_owned(),
            owner: listed.ownership.as_ref().map(OwnerDto::of),
            address: listed.address.clone(),
            zone: listed.zone.clone(),
            created_at: listed.created_at.map(|at| at.to_string()),
            interruption: listed.interruption.map(|at| at.to_string()),
            exit: exit_of(&listed.phase),
        }
    }

    /// Reads an instance of a fleet's listing, and says why the fleet's own owner on it cannot be read. It is nobody's to
    /// touch then, and whose it is is not known.
    fn read(self, fleet: &FleetName) -> Result<(Listed, Option<Unreadable>), Unreadable> {
        let time = |field: &str, text: Option<String>| {
            text.map(|text| parsed::<Timestamp>(field, &text))
                .transpose()
        };
        let (ownership, doubt) = match self.owner.as_ref().map(|owner| (owner, owner.read())) {
            None => (None, None),
            Some((_, Ok(ownership))) => (Some(ownership), None),
            Some((owner, Err(why))) => {
                let ours = owner.fleet == fleet.as_str();
                (
                    None,
                    ours.then(|| format!("`owner` of {}: {why}", shortened(&self.ref_))),
                )
            }
        };
        let listed = Listed {
            provider_ref: handle("ref", &self.ref_)?,
            ownership,
            phase: phase_of(&self.phase, self.exit)?,
            address: plain_if_any("address", self.address)?,
            zone: plain_if_any("zone", self.zone)?,
            created_at: time("createdAt", self.created_at)?,
            interruption: time("interruption", self.interruption)?,
        };
        Ok((listed, doubt))
    }
}

/// The texts of a call, as a plugin gets them.
struct Texts {
    slots: Vec<SlotDto>,
    properties: Json,
    substitute: bool,
}

impl Texts {
    /// Fills in everything, values of secrets too. What waits for an address is left as it is, and whatever else reads
    /// like a substitution is escaped then.
    fn of(
        slots: &[Slot],
        properties: &Value,
        secrets: &drover_provider::Secrets,
    ) -> Result<Self, ProviderError> {
        if slots.iter().any(|slot| asks_for_address(slot, properties)) {
            let secrets = secrets.escaped();
            let slots = slots.iter();
            return Ok(Self {
                slots: slots
                    .map(|slot| SlotDto::of(slot, secrets.env(slot)))
                    .collect(),
                properties: to_json(&secrets.reveal(properties)),
                substitute: true,
            });
        }
        let refused = |error: drover_provider::SubstitutionError| {
            ProviderError::new(ErrorClass::InvalidSpec, error.to_string())
        };
        let mut finished = Self {
            slots: Vec::new(),
            properties: Json::Null,
            substitute: false,
        };
        for slot in slots {
            let prepared = finish(slot, properties, "", &[], secrets).map_err(refused)?;
            let env = prepared.slot.env.clone();
            finished.slots.push(SlotDto::of(&prepared.slot, env));
            finished.properties = to_json(&prepared.properties);
        }
        Ok(finished)
    }
}

/// Reads properties as a provider gets them: what is finished has nothing to fill in any more.
fn properties(written: &Json, substitute: bool) -> Value {
    let read = from_json(written);
    if substitute {
        read
    } else {
        escaped_value(&read)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with one")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Takes null for what is left out.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads a phase, with what is said of the end of one that ended by itself.
fn phase_of(name: &str, exit: Option<ExitDto>) -> Result<ProviderPhase, Unreadable> {
    let exit = exit.unwrap_or_default();
    Ok(match name {
        "pending" => ProviderPhase::Pending,
        "running" => ProviderPhase::Running,
        "stopping" => ProviderPhase::Stopping,
        "exited" => ProviderPhase::Exited(ExitReport {
            code: exit.code,
            signal: exit.signal,
            message: shortened(&exit.message),
        }),
        "terminated" => ProviderPhase::Terminated,
        "unknown" => ProviderPhase::Unknown,
        other => return Err(format!("`phase`: {:?} is none", shortened(other))),
    })
}

/// Returns what is to be said of the end of an instance, where it ended by itself.
fn exit_of(phase: &ProviderPhase) -> Option<ExitDto> {
    match phase {
        ProviderPhase::Exited(report) => Some(ExitDto {
            code: report.code,
            signal: report.signal,
            message: report.message.clone(),
        }),
        ProviderPhase::Pending
        | ProviderPhase::Running
        | ProviderPhase::Stopping
        | ProviderPhase::Terminated
        | ProviderPhase::Unknown => None,
    }
}

/// Returns what a page says of completeness where it is not whole.
fn whole(complete: bool, why: Option<String>) -> Option<Completeness> {
    (!complete).then(|| Completeness::Partial {
        why: why.map_or_else(
            || "the plugin does not say why".to_owned(),
            |why| shortened(&why),
        ),
    })
}

fn phase_name(phase: &ProviderPhase) -> &'static str {
    match phase {
        ProviderPhase::Pending => "pending",
        ProviderPhase::Running => "running",
        ProviderPhase::Stopping => "stopping",
        ProviderPhase::Exited(_) => "exited",
        ProviderPhase::Terminated => "terminated",
        ProviderPhase::Unknown => "unknown",
    }
}

impl ListResult {
    pub(crate) fn of(listing: &Listing) -> Self {
        let why = match &listing.completeness {
            Completeness::Complete => None,
            Completeness::Partial { why } => Some(why.clone()),
        };
        let place = |(group, seat): &(GroupName, SeatId), address: Option<String>| PlaceDto {
            group: group.to_string(),
            seat: SeatIdDto::of(seat),
            address,
        };
        Self {
            complete: why.is_none(),
            why,
            instances: listing.instances.iter().map(ListedDto::of).collect(),
            attached: listing
                .attached
                .iter()
                .map(|key| place(key, None))
                .collect(),
            places: listing
                .places
                .iter()
                .map(|(key, address)| place(key, Some(address.clone())))
                .collect(),
            next: None,
        }
    }

    /// Adds this page to a listing. What it says of completeness holds for the whole. Returns the first owner that
    /// cannot be read.
    pub(crate) fn add_to(
        self,
        listing: &mut Listing,
        fleet: &FleetName,
    ) -> Result<Option<Unreadable>, Unreadable> {
        let mut doubtful = None;
        if let Some(partial) = whole(self.complete, self.why) {
            listing.completeness = partial;
        }
        for listed in self.instances {
            let (listed, doubt) = listed.read(fleet)?;
            listing.instances.push(listed);
            doubtful = doubtful.or(doubt);
        }
        let key = |place: &PlaceDto| -> Result<(GroupName, SeatId), Unreadable> {
            Ok((
                parsed::<GroupName>("group", &place.group)?,
                place.seat.read()?,
            ))
        };
        for place in &self.attached {
            listing.attached.insert(key(place)?);
        }
        for place in &self.places {
            let address = plain_if_any("address", place.address.clone())?;
            let address = address.ok_or_else(|| "a place has no `address`".to_owned())?;
            listing.places.insert(key(place)?, address);
        }
        Ok(doubtful)
    }
}

impl ErrorDto {
    pub(crate) fn of(error: &ProviderError) -> Self {
        Self {
            class: error.class.as_str().to_owned(),
            message: error.message.clone(),
        }
    }

    pub(crate) fn read(self) -> ProviderError {
        ProviderError::new(
            class_of(&self.class).unwrap_or(ErrorClass::Unknown),
            shortened(&self.message),
        )
    }
}

pub(crate) fn how(name: &str) -> Result<InPlace, Unreadable> {
    let found = InPlace::ALL.into_iter().find(|how| how.as_str() == name);
    found.ok_or_else(|| format!("`how`: {name:?} is neither live nor restart"))
}

impl ProvisionDto {
    pub(crate) fn of(request: &drover_provider::ProvisionRequest) -> Result<Self, ProviderError> {
        let texts = Texts::of(&request.slots, &request.properties, &request.secrets)?;
        Ok(Self {
            token: request.token.to_string(),
            fleet: request.fleet.to_string(),
            group: request.group.to_string(),
            epoch: request.epoch.0,
            digest: request.digests.to_string(),
            zone: request.zone.clone(),
            slots: texts.slots,
            properties: texts.properties,
            substitute: texts.substitute,
            urgency: Some(request.urgency.as_str().to_owned()),
            asked: Some(fingerprint(request)),
        })
    }

    pub(crate) fn read(&self) -> Result<drover_provider::ProvisionRequest, Unreadable> {
        // One that this release does not know is as good as none.
        let urgency = self.urgency.as_deref();
        let urgency = Urgency::ALL
            .into_iter()
            .find(|it| urgency == Some(it.as_str()));
        Ok(drover_provider::ProvisionRequest {
            token: parsed("token", &self.token)?,
            fleet: parsed("fleet", &self.fleet)?,
            group: parsed("group", &self.group)?,
            epoch: Epoch(self.epoch),
            digests: digests(&self.digest)?,
            zone: self.zone.clone(),
            slots: self
                .slots
                .iter()
                .map(|slot| slot.read(self.substitute))
                .collect::<Result<_, _>>()?,
            properties: properties(&self.properties, self.substitute),
            secrets: drover_provider::Secrets::default(),
            urgency: urgency.unwrap_or_default(),
            asked: self.asked.clone().filter(|text| is_fingerprint(text)),
        })
    }
}

impl DestroyDto {
    pub(crate) fn of(request: &drover_provider::DestroyRequest) -> Self {
        Self {
            fleet: request.fleet.to_string(),
            group: request.group.to_string(),
            epoch: request.epoch.0,
            instance: request.instance.to_string(),
            ref_: request.provider_ref.to_string(),
            token: request.token.to_string(),
            grace_ms: milliseconds(request.grace),
        }
    }

    pub(crate) fn read(&self) -> Result<drover_provider::DestroyRequest, Unreadable> {
        Ok(drover_provider::DestroyRequest {
            fleet: parsed("fleet", &self.fleet)?,
            group: parsed("group", &self.group)?,
            epoch: Epoch(self.epoch),
            instance: parsed("instance", &self.instance)?,
            provider_ref: parsed("ref", &self.ref_)?,
            token: parsed("token", &self.token)?,
            grace: Duration::from_millis(self.grace_ms),
            ending: drover_provider::Ending::default(),
        })
    }
}

impl UpdateDto {
    pub(crate) fn of(request: &drover_provider::UpdateRequest) -> Result<Self, ProviderError> {
        let slots = std::slice::from_ref(&request.slot);
        let mut texts = Texts::of(slots, &request.properties, &request.secrets)?;
        Ok(Self {
            fleet: request.fleet.to_string(),
            group: request.group.to_string(),
            epoch: request.epoch.0,
            ref_: request.provider_ref.to_string(),
            token: request.token.to_string(),
            update: request.update.to_string(),
            how: request.how.as_str().to_owned(),
            digest: request.digests.to_string(),
            slot: texts.slots.remove(0),
            properties: texts.properties,
            substitute: texts.substitute,
            grace_ms: milliseconds(request.grace),
        })
    }

    pub(crate) fn read(&self) -> Result<drover_provider::UpdateRequest, Unreadable> {
        Ok(drover_provider::UpdateRequest {
            fleet: parsed("fleet", &self.fleet)?,
            group: parsed("group", &self.group)?,
            epoch: Epoch(self.epoch),
            provider_ref: parsed("ref", &self.ref_)?,
            token: parsed("token", &self.token)?,
            update: parsed("update", &self.update)?,
            how: how(&self.how)?,
            digests: digests(&self.digest)?,
            slot: self.slot.read(self.substitute)?,
            properties: properties(&self.properties, self.substitute),
            grace: Duration::from_millis(self.grace_ms),
            secrets: drover_provider::Secrets::default(),
        })
    }
}
