//! What there was to adopt, and what was adopted.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    AdoptStep, Completeness, GroupName, Held, ProviderRef, Stranger, Survey, Surveyed,
};

use super::seen::{exit_out, phase_in, phase_out, seat_id_out};
use super::{list_in, list_out, map_out};
use crate::formats::format_time;
use crate::record::decode::{digests, seat_id, texts};
use crate::record::read::Reader;
use crate::record::write::{MapOf, Yaml};
use crate::record::{RecordError, hold};

pub(super) fn step_out(step: &AdoptStep) -> MapOf {
    let AdoptStep {
        instance,
        provider_ref,
        token,
        digests,
        seat,
        tags,
    } = step;
    let map = MapOf::new()
        .text("instance", instance)
        .text("ref", provider_ref)
        .text("token", token)
        .text("digests", digests)
        .optional(
            "tags",
            (!tags.is_empty()).then(|| map_out(tags, Yaml::text)),
        );
    seat_id_out(map, seat.as_ref())
}

pub(super) fn step_in(reader: &Reader<'_>) -> Result<AdoptStep, RecordError> {
    reader.only(&[
        "instance", "ref", "token", "digests", "tags", "member", "life",
    ])?;
    Ok(AdoptStep {
        instance: reader.get("instance")?.parsed()?,
        provider_ref: reader.get("ref")?.parsed()?,
        token: reader.get("token")?.parsed()?,
        digests: digests(&reader.get("digests")?)?,
        tags: reader.optional_with("tags", texts)?.unwrap_or_default(),
        seat: seat_id(reader)?,
    })
}

pub(super) fn surveyed_out(surveyed: &Surveyed) -> Yaml {
    let (survey, contested) = match surveyed {
        Surveyed::Known { survey, contested } => (survey, contested),
        Surveyed::Unknown(hold) => {
            let held = Held {
                hold: hold.clone(),
                reason: None,
                instance: None,
                until: None,
            };
            return MapOf::new()
                .with("unknown", hold::encode_held(&held))
                .build();
        }
    };
    let Survey {
        completeness,
        as_of,
        strangers,
        // A group is told of it by its strangers.
        owned: _,
    } = survey;
    let partial = match completeness {
        Completeness::Complete => None,
        Completeness::Partial { why } => Some(why),
    };
    let groups = |groups: &BTreeSet<GroupName>| Yaml::List(groups.iter().map(Yaml::text).collect());
    MapOf::new()
        .text("asOf", &format_time(*as_of))
        .optional_text("partial", partial)
        .with("strangers", list_out(strangers, stranger_out))
        .optional(
            "contested",
            (!contested.is_empty()).then(|| map_out(contested, groups)),
        )
        .build()
}

pub(super) fn surveyed_in(reader: &Reader<'_>) -> Result<Surveyed, RecordError> {
    reader.only(&["unknown", "asOf", "partial", "strangers", "contested"])?;
    if let Some(held) = reader.optional_with("unknown", hold::decode_held)? {
        return Ok(Surveyed::Unknown(held.hold));
    }
    let partial = reader.optional_with("partial", Reader::string)?;
    let groups = |reader: &Reader<'_>| -> Result<BTreeSet<GroupName>, RecordError> {
        reader.list()?.iter().map(Reader::parsed).collect()
    };
    let contested: Option<BTreeMap<ProviderRef, BTreeSet<GroupName>>> = reader
        .optional_with("contested", |reader| {
            reader.map_of(|key| ProviderRef::parse(key).ok(), groups)
        })?;
    Ok(Surveyed::Known {
        survey: Survey {
            completeness: partial
                .map_or(Completeness::Complete, |why| Completeness::Partial { why }),
            as_of: reader.get("asOf")?.time()?,
            strangers: list_in(&reader.get("strangers")?, stranger_in)?,
            owned: Vec::new(),
        },
        contested: contested.unwrap_or_default(),
    })
}

fn stranger_out(stranger: &Stranger) -> Yaml {
    let Stranger {
        provider_ref,
        phase,
        address,
        zone,
        created_at,
        tags,
        member,
        claimed_by,
        unheard,
    } = stranger;
    let (phase, exit) = phase_out(phase);
    MapOf::new()
        .text("ref", provider_ref)
        .text("phase", phase)
        .optional("exit", exit.map(exit_out))
        .optional_text("address", address.as_ref())
        .optional_text("zone", zone.as_ref())
        .optional_text("createdAt", created_at.map(format_time))
        .with("tags", map_out(tags, Yaml::text))
        .optional_text("member", member.as_ref())
        .optional_text("claimedBy", claimed_by.as_ref())
        .optional_text("unheard", unheard.as_ref())
        .build()
}

fn stranger_in(reader: &Reader<'_>) -> Result<Stranger, RecordError> {
    reader.only(&[
        "ref",
        "phase",
        "exit",
        "address",
        "zone",
        "createdAt",
        "tags",
        "member",
        "claimedBy",
        "unheard",
    ])?;
    Ok(Stranger {
        provider_ref: reader.get("ref")?.parsed()?,
        phase: phase_in(reader)?,
        address: reader.optional_with("address", Reader::string)?,
        zone: reader.optional_with("zone", Reader::string)?,
        created_at: reader.optional_with("createdAt", Reader::time)?,
        tags: texts(&reader.get("tags")?)?,
        member: reader.optional_with("member", Reader::string)?,
        claimed_by: reader.optional_with("claimedBy", Reader::string)?,
        unheard: reader.optional_with("unheard", Reader::string)?,
    })
}
