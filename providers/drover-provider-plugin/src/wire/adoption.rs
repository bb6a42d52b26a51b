//! The messages of adoption: what others made, and whose it is from now on.

use std::collections::BTreeMap;

use drover_model::{
    Completeness, Epoch, FleetName, GroupName, InstanceId, Owned, ProviderRef, Stranger, Survey,
    Timestamp, Token,
};
use drover_provider::AdoptRequest;
use serde::{Deserialize, Serialize};

use super::{
    ExitDto, SeatIdDto, Unreadable, digests, exit_of, handle, null_as_default, parsed, phase_name,
    phase_of, plain_if_any, whole,
};
use crate::call::shortened;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct SurveyResult {
    pub(crate) complete: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    pub(crate) strangers: Vec<StrangerDto>,
    /// What has the tags and an owner.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) owned: Vec<OwnedDto>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StrangerDto {
    #[serde(rename = "ref")]
    pub(crate) ref_: String,
    pub(crate) phase: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claimed_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<ExitDto>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OwnedDto {
    #[serde(flatten)]
    pub(crate) stranger: StrangerDto,
    pub(crate) owner: HolderDto,
}

/// Who has an instance; an owner whole, as in listings, is one too.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HolderDto {
    pub(crate) fleet: String,
    pub(crate) group: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AdoptDto {
    pub(crate) fleet: String,
    pub(crate) group: String,
    pub(crate) epoch: u64,
    #[serde(rename = "ref")]
    pub(crate) ref_: String,
    pub(crate) instance: String,
    pub(crate) token: String,
    pub(crate) digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seat: Option<SeatIdDto>,
}

impl StrangerDto {
    fn of(stranger: &Stranger) -> Self {
        Self {
            ref_: stranger.provider_ref.to_string(),
            phase: phase_name(&stranger.phase).to_owned(),
            address: stranger.address.clone(),
            zone: stranger.zone.clone(),
            created_at: stranger.created_at.map(|at| at.to_string()),
            tags: stranger.tags.clone(),
            member: stranger.member.clone(),
            claimed_by: stranger.claimed_by.clone(),
            exit: exit_of(&stranger.phase),
        }
    }

    fn read(self) -> Result<Stranger, Unreadable> {
        let created_at = self.created_at;
        let created_at = created_at.map(|at| parsed::<Timestamp>("createdAt", &at));
        Ok(Stranger {
            provider_ref: handle("ref", &self.ref_)?,
            phase: phase_of(&self.phase, self.exit)?,
            address: plain_if_any("address", self.address)?,
            zone: plain_if_any("zone", self.zone)?,
            created_at: created_at.transpose()?,
            tags: self.tags,
            member: plain_if_any("member", self.member)?,
            // Somebody without a name is somebody.
            claimed_by: self.claimed_by.map(|words| shortened(&words)),
            unheard: None,
        })
    }
}

impl OwnedDto {
    fn of(owned: &Owned) -> Self {
        Self {
            stranger: StrangerDto::of(&owned.stranger),
            owner: HolderDto {
                fleet: owned.fleet.to_string(),
                group: owned.group.to_string(),
            },
        }
    }

    fn read(self) -> Result<Owned, Unreadable> {
        Ok(Owned {
            fleet: parsed::<FleetName>("owner.fleet", &self.owner.fleet)?,
            group: parsed::<GroupName>("owner.group", &self.owner.group)?,
            stranger: self.stranger.read()?,
        })
    }
}

/// Makes sure that an instance of an answer has the tags that were asked for: whoever filters wrongly may have left out
/// others.
fn has_all(
    list: &str,
    stranger: &Stranger,
    tags: &BTreeMap<String, String>,
) -> Result<(), Unreadable> {
    let mut missing = tags.iter();
    let missing = missing.find(|(name, value)| stranger.tags.get(*name) != Some(*value));
    missing.map_or(Ok(()), |(name, value)| {
        let stranger = &stranger.provider_ref;
        Err(format!("`{list}`: {stranger} lacks the tag {name}={value}"))
    })
}

impl SurveyResult {
    pub(crate) fn of(survey: &Survey) -> Self {
        let why = match &survey.completeness {
            Completeness::Complete => None,
            Completeness::Partial { why } => Some(why.clone()),
        };
        Self {
            complete: why.is_none(),
            why,
            strangers: survey.strangers.iter().map(StrangerDto::of).collect(),
            owned: survey.owned.iter().map(OwnedDto::of).collect(),
            next: None,
        }
    }

    /// Adds this page to a survey. What it says of completeness holds for the whole. An instance that lacks one of
    /// the tags that were asked for makes the answer unreadable.
    pub(crate) fn add_to(
        self,
        survey: &mut Survey,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), Unreadable> {
        if let Some(partial) = whole(self.complete, self.why) {
            survey.completeness = partial;
        }
        for stranger in self.strangers {
            let stranger = stranger.read()?;
            has_all("strangers", &stranger, tags)?;
            survey.strangers.push(stranger);
        }
        for owned in self.owned {
            let owned = owned.read()?;
            has_all("owned", &owned.stranger, tags)?;
            survey.owned.push(owned);
        }
        Ok(())
    }
}

impl AdoptDto {
    pub(crate) fn of(request: &AdoptRequest) -> Self {
        Self {
            fleet: request.fleet.to_string(),
            group: request.group.to_string(),
            epoch: request.epoch.0,
            ref_: request.provider_ref.to_string(),
            instance: request.instance.to_string(),
            token: request.token.to_string(),
            digest: request.digests.to_string(),
            seat: request.seat.as_ref().map(SeatIdDto::of),
        }
    }

    pub(crate) fn read(&self) -> Result<AdoptRequest, Unreadable> {
        Ok(AdoptRequest {
            fleet: parsed::<FleetName>("fleet", &self.fleet)?,
            group: parsed::<GroupName>("group", &self.group)?,
            epoch: Epoch(self.epoch),
            provider_ref: parsed::<ProviderRef>("ref", &self.ref_)?,
            instance: parsed::<InstanceId>("instance", &self.instance)?,
            token: parsed::<Token>("token", &self.token)?,
            digests: digests(&self.digest)?,
            seat: self.seat.as_ref().map(SeatIdDto::read).transpose()?,
        })
    }
}
