//! Holds: a message for people, the data for the agent.

use std::sync::Arc;

use drover_model::{
    Activity, ApprovalNeeded, ApprovalRejected, Authors, FieldClass, Held, Hold, OutageMode,
    PolicyHold, Promote, Reason, RolloutMode, SourceSpan, Timestamp,
};

use super::decode::{error_class, pause_cause, texts};
use super::read::Reader;
use super::write::{MapOf, Yaml};
use super::{RecordError, encode};
use crate::formats::format_time;

/// Encodes a hold.
pub(crate) fn encode_held(held: &Held) -> Yaml {
    let data = match data_of(&held.hold).build() {
        Yaml::Map(entries) if entries.is_empty() => None,
        data => Some(data),
    };
    MapOf::new()
        .text("code", held.hold.code())
        .text("message", &held.hold)
        .optional_text("reason", held.reason)
        .optional_text("instance", held.instance.as_ref())
        .optional_text("until", held.until.map(format_time))
        .optional("data", data)
        .build()
}

#[expect(clippy::too_many_lines, reason = "one arm per hold, nothing to split")]
fn data_of(hold: &Hold) -> MapOf {
    let map = MapOf::new();
    match hold {
        Hold::ObservationStale
        | Hold::ObserveOnly
        | Hold::AllUnknown
        | Hold::Protected
        | Hold::SizingChanged
        | Hold::Bake
        | Hold::DrainTimeout
        | Hold::ClockStepped => map,
        Hold::ObservationPartial { why }
        | Hold::QuorumUnsettled { why }
        | Hold::MembershipUnclear { why }
        | Hold::ClusterDegraded { why }
        | Hold::ClusterUnknown { why }
        | Hold::QuorumUnproven { why }
        | Hold::DeletionUnconfirmed { why }
        | Hold::JournalUnavailable { why }
        | Hold::EpochConflict { why }
        | Hold::AdoptionRefused { why }
        | Hold::AdoptionUnknown { why }
        | Hold::StrayInstances { why }
        | Hold::DuplicateInstances { why }
        | Hold::StateUntrusted { why }
        | Hold::SourceUnavailable { why } => map.text("why", why),
        Hold::RenameUnconfirmed { from } => map.text("from", from),
        Hold::ObservationEmptied {
            expected,
            elsewhere,
            asked,
        } => {
            let some = (*elsewhere > 0).then_some(elsewhere);
            map.number("expected", *expected)
                .optional("elsewhere", some.map(|count| Yaml::number(*count)))
                .text("asked", asked)
        }
        Hold::OwnerUnproven { group, instances } => map
            .text("group", group.as_str())
            .number("instances", *instances),
        Hold::ProviderFailed { class, message }
        | Hold::EndRefused { class, message }
        | Hold::ChangeRefused { class, message } => {
            map.text("class", class.as_str()).text("message", message)
        }
        Hold::OwnerStillActs { owner, instances } => {
            map.text("owner", owner).number("instances", *instances)
        }
        Hold::AdoptionContested { stranger, groups } => map.text("stranger", stranger).with(
            "groups",
            Yaml::List(groups.iter().map(Yaml::text).collect()),
        ),
        Hold::StrangersMissing { missing } => map.number("missing", *missing),
        Hold::AdoptedSurplus { count, handles } => map.number("count", *count).with(
            "handles",
            Yaml::List(handles.iter().map(Yaml::text).collect()),
        ),
        Hold::Adopting { left } => map.number("left", *left),
        Hold::ProviderMissing { provider, why } => map.text("provider", provider).text("why", why),
        Hold::ProviderChanged { from, to, setting } => map
            .text("from", from)
            .text("to", to)
            .optional_text("setting", setting.as_ref()),
        Hold::SpecInvalid { message } | Hold::UpdateRefused { message } => {
            map.text("message", message)
        }
        Hold::Suspended { activity, because } => map
            .text("activity", activity.as_str())
            .optional_text("because", because.as_ref()),
        Hold::Frozen { by } => map.text("by", by),
        Hold::SecretUnresolved { reference, why } => {
            map.text("reference", reference).text("why", why)
        }
        Hold::LaunchesRefused { provider, message } => map
            .text("provider", provider.as_str())
            .text("message", message),
        Hold::SourceOutage { mode, since } => map
            .text("mode", mode.as_str())
            .text("since", &format_time(*since)),
        Hold::PolicyDenied(hold)
        | Hold::GateClosed(hold)
        | Hold::PolicyFailed(hold)
        | Hold::BudgetByPolicy(hold)
        | Hold::ProtectedByPolicy(hold)
        | Hold::PlaceForbidden(hold)
        | Hold::AnalysisPending(hold) => policy(map, hold),
        Hold::ApprovalNeeded(needed) => {
            let map = policy(map, &needed.policy).text("change", &needed.change);
            let have = needed.have.iter().map(Yaml::text);
            encode_authors(map, &needed.authors)
                .with("have", Yaml::List(have.collect()))
                .number("need", needed.need)
                .optional_text("spent", needed.spent.map(format_time))
        }
        Hold::ApprovalRejected(rejected) => {
            let map = policy(map, &rejected.policy).text("change", &rejected.change);
            encode_authors(map, &rejected.authors)
                .text("by", &rejected.by)
                .text("because", &rejected.because)
        }
        Hold::WindowClosed { window } => map.text("window", window),
        Hold::BudgetExhausted { used, max } => map.number("used", *used).number("max", *max),
        Hold::FleetBudgetExhausted {
            budget,
            max,
            taken_by,
        } => map.text("budget", budget).number("max", *max).with(
            "takenBy",
            Yaml::List(taken_by.iter().map(Yaml::text).collect()),
        ),
        Hold::ProtectedInstance { because } => map.optional_text("because", because.as_ref()),
        Hold::KeptInstance { by, because } => map.text("by", by).text("because", because),
        Hold::DependencyNotReady { group } => map.text("group", group),
        Hold::CreateLimit { limit, reserved } | Hold::DestroyRate { limit, reserved } => {
            let reserved = (*reserved > 0).then(|| Yaml::number(*reserved));
            map.number("limit", *limit).optional("reserved", reserved)
        }
        Hold::TotalLimit { limit } => map.number("limit", *limit),
        Hold::SurgeExhausted { ceiling } => map.number("ceiling", *ceiling),
        Hold::AvailabilityFloor { floor, available } => {
            map.number("floor", *floor).number("available", *available)
        }
        Hold::FirstBatch { waiting } | Hold::RolloutWindow { waiting } => {
            map.number("waiting", *waiting)
        }
        Hold::RolloutPaused(cause) | Hold::Quarantined(cause) => {
            map.with("pause", encode::pause_cause(cause))
        }
        Hold::CanaryHold { count, promote } => map
            .number("count", *count)
            .text("promote", promote.as_str()),
        Hold::Checkpoint { at } | Hold::Partition { at } => map.number("at", *at),
        Hold::MaxAction { needs, allowed } => map
            .text("needs", needs.as_str())
            .text("allowed", allowed.as_str()),
        Hold::NotProactive { mode } => map.text("mode", mode.as_str()),
        Hold::LaunchBackoff { failures, message } => {
            map.number("failures", *failures).text("message", message)
        }
        Hold::HealBudget { allowed } => map.number("allowed", *allowed),
        Hold::Systemic { bad, total } => map.number("bad", *bad).number("total", *total),
        Hold::DestroyLimit {
            wanted,
            limit,
            earlier,
        } => {
            let map = map.number("wanted", *wanted).number("limit", *limit);
            let earlier = (*earlier > 0).then(|| Yaml::number(*earlier));
            map.optional("earlier", earlier)
        }
        Hold::FleetDestroyLimit { wanted, limit } => {
            map.number("wanted", *wanted).number("limit", *limit)
        }
        Hold::ZonesCooling { zones } => map.number("zones", *zones),
        Hold::ScalingStabilized { asked, size } | Hold::ScalingRate { asked, size } => {
            map.number("asked", *asked).number("size", *size)
        }
        Hold::QuorumAtRisk {
            healthy,
            voters,
            needed,
        } => map
            .number("healthy", *healthy)
            .number("voters", *voters)
            .number("needed", *needed),
        Hold::NumbersExhausted { next } => map.number("next", *next),
        Hold::UnknownOutcomes { count, said } => map
            .number("count", *count)
            .optional_text("said", said.as_ref()),
    }
}

fn policy(map: MapOf, hold: &PolicyHold) -> MapOf {
    let span = MapOf::new()
        .text("file", &hold.span.file)
        .number("line", hold.span.line)
        .number("column", hold.span.column)
        .number("length", hold.span.length);
    let values = hold.values.iter();
    map.text("policy", &hold.policy)
        .text("binding", &hold.binding)
        .with("span", span.build())
        .text("message", &hold.message)
        .with(
            "values",
            Yaml::Map(
                values
                    .map(|(key, value)| (key.clone(), Yaml::text(value)))
                    .collect(),
            ),
        )
}

/// Adds who wrote a change.
pub(crate) fn encode_authors(map: MapOf, authors: &Authors) -> MapOf {
    let known: Vec<Yaml> = authors.known().map(|known| Yaml::text(&known)).collect();
    let some = !known.is_empty();
    map.optional("authors", some.then_some(Yaml::List(known)))
        .optional("authorsUnknown", authors.unknown.then(|| Yaml::flag(true)))
}

/// Reads who wrote a change; the single `author` is what earlier versions wrote.
pub(crate) fn decode_authors(reader: &Reader<'_>) -> Result<Authors, RecordError> {
    let known = reader.optional("authors")?;
    let known = known.map_or_else(|| Ok(Vec::new()), |known| known.list())?;
    let known = known.into_iter().chain(reader.optional("author")?);
    let known: Vec<String> = known.map(|one| one.string()).collect::<Result<_, _>>()?;
    let unknown = reader.optional("authorsUnknown")?.is_some();
    Ok(Authors::recorded(known, unknown))
}

/// Decodes a hold. The message is derived, and so ignored.
pub(crate) fn decode_held(reader: &Reader<'_>) -> Result<Held, RecordError> {
    reader.only(&["code", "message", "reason", "instance", "until", "data"])?;
    let data = Data {
        owner: reader,
        data: reader.optional("data")?,
    };
    Ok(Held {
        hold: hold_of(&reader.get("code")?, &data)?,
        reason: reader.optional_with("reason", |reader| {
            reader.one_of(&Reason::ALL, Reason::as_str)
        })?,
        instance: reader.optional_with("instance", Reader::parsed)?,
        until: reader.optional_with("until", Reader::time)?,
    })
}

/// The data of a hold.
struct Data<'r, 'a> {
    owner: &'r Reader<'a>,
    data: Option<Reader<'a>>,
}

impl<'a> Data<'_, 'a> {
    /// Returns a field, having checked that there are no others than `names`.
    fn get(&self, name: &str) -> Result<Reader<'a>, RecordError> {
        match &self.data {
            Some(data) => data.get(name),
            None => self.owner.get("data"),
        }
    }

    fn text(&self, name: &str) -> Result<String, RecordError> {
        self.get(name)?.string()
    }

    fn optional_text(&self, name: &str) -> Result<Option<String>, RecordError> {
        match &self.data {
            Some(data) => data.optional_with(name, Reader::string),
            None => Ok(None),
        }
    }

    fn optional_time(&self, name: &str) -> Result<Option<Timestamp>, RecordError> {
        match &self.data {
            Some(data) => data.optional_with(name, Reader::time),
            None => Ok(None),
        }
    }

    fn authors(&self) -> Result<Authors, RecordError> {
        decode_authors(self.data.as_ref().unwrap_or(self.owner))
    }

    fn number(&self, name: &str) -> Result<u32, RecordError> {
        self.get(name)?.number()
    }

    /// Returns a number that is left out where it is 0.
    fn optional_number(&self, name: &str) -> Result<u32, RecordError> {
        let found = match &self.data {
            Some(data) => data.optional_with(name, Reader::number)?,
            None => None,
        };
        Ok(found.unwrap_or(0))
    }
}

/// Every activity that can be suspended.
const ACTIVITIES: [Activity; 5] = [
    Activity::Update,
    Activity::Heal,
    Activity::Scale,
    Activity::Gc,
    Activity::All,
];

#[expect(clippy::too_many_lines, reason = "one arm per hold, nothing to split")]
fn hold_of(code: &Reader<'_>, data: &Data<'_, '_>) -> Result<Hold, RecordError> {
    Ok(match code.text()? {
        "ObservationPartial" => Hold::ObservationPartial {
            why: data.text("why")?,
        },
        "ObservationStale" => Hold::ObservationStale,
        "ObservationEmptied" => Hold::ObservationEmptied {
            expected: data.number("expected")?,
            elsewhere: data.optional_number("elsewhere")?,
            // As it was written before it was recorded who was asked.
            asked: data
                .optional_text("asked")?
                .unwrap_or_else(|| "the provider".to_owned()),
        },
        "ProviderFailed" => Hold::ProviderFailed {
            class: error_class(&data.get("class")?)?,
            message: data.text("message")?,
        },
        "ProviderMissing" => Hold::ProviderMissing {
            provider: data.get("provider")?.parsed()?,
            why: data.text("why")?,
        },
        "ProviderChanged" => Hold::ProviderChanged {
            from: data.get("from")?.parsed()?,
            to: data.get("to")?.parsed()?,
            setting: data.optional_text("setting")?,
        },
        "SpecInvalid" => Hold::SpecInvalid {
            message: data.text("message")?,
        },
        "Suspended" => Hold::Suspended {
            activity: data
                .get("activity")?
                .one_of(&ACTIVITIES, Activity::as_str)?,
            because: data.optional_text("because")?,
        },
        "Frozen" => Hold::Frozen {
            by: data.text("by")?,
        },
        "ObserveOnly" => Hold::ObserveOnly,
        "OwnerStillActs" => Hold::OwnerStillActs {
            owner: data.text("owner")?,
            instances: data.number("instances")?,
        },
        "StrangersMissing" => Hold::StrangersMissing {
            missing: data.number("missing")?,
        },
        "AdoptedSurplus" => Hold::AdoptedSurplus {
            count: data.number("count")?,
            handles: data
                .get("handles")?
                .list()?
                .iter()
                .map(Reader::parsed)
                .collect::<Result<_, _>>()?,
        },
        "AdoptionContested" => Hold::AdoptionContested {
            stranger: data.get("stranger")?.parsed()?,
            groups: data
                .get("groups")?
                .list()?
                .iter()
                .map(Reader::parsed)
                .collect::<Result<_, _>>()?,
        },
        "OwnerUnproven" => Hold::OwnerUnproven {
            group: data.get("group")?.parsed()?,
            instances: data.number("instances")?,
        },
        "AdoptionRefused" => Hold::AdoptionRefused {
            why: data.text("why")?,
        },
        "ClusterDegraded" => Hold::ClusterDegraded {
            why: data.text("why")?,
        },
        "ClusterUnknown" => Hold::ClusterUnknown {
            why: data.text("why")?,
        },
        "AdoptionUnknown" => Hold::AdoptionUnknown {
            why: data.text("why")?,
        },
        "StrayInstances" => Hold::StrayInstances {
            why: data.text("why")?,
        },
        "DuplicateInstances" => Hold::DuplicateInstances {
            why: data.text("why")?,
        },
        "Adopting" => Hold::Adopting {
            left: data.number("left")?,
        },
        "PolicyDenied" => Hold::PolicyDenied(policy_hold(data)?),
        "ApprovalNeeded" => Hold::ApprovalNeeded(Box::new(ApprovalNeeded {
            policy: policy_hold(data)?,
            change: data.get("change")?.parsed()?,
            authors: data.authors()?,
            have: data
                .get("have")?
                .list()?
                .iter()
                .map(Reader::parsed)
                .collect::<Result<_, _>>()?,
            need: data.number("need")?,
            spent: data.optional_time("spent")?,
        })),
        "ApprovalRejected" => Hold::ApprovalRejected(Box::new(ApprovalRejected {
            policy: policy_hold(data)?,
            change: data.get("change")?.parsed()?,
            authors: data.authors()?,
            by: data.get("by")?.parsed()?,
            because: data.text("because")?,
        })),
        "GateClosed" => Hold::GateClosed(policy_hold(data)?),
        "PolicyFailed" => Hold::PolicyFailed(policy_hold(data)?),
        "BudgetByPolicy" => Hold::BudgetByPolicy(policy_hold(data)?),
        "ProtectedByPolicy" => Hold::ProtectedByPolicy(policy_hold(data)?),
        "PlaceForbidden" => Hold::PlaceForbidden(policy_hold(data)?),
        "AnalysisPending" => Hold::AnalysisPending(policy_hold(data)?),
        "WindowClosed" => Hold::WindowClosed {
            window: data.text("window")?,
        },
        "BudgetExhausted" => Hold::BudgetExhausted {
            used: data.number("used")?,
            max: data.number("max")?,
        },
        "FleetBudgetExhausted" => Hold::FleetBudgetExhausted {
            budget: data.get("budget")?.parsed()?,
            max: data.number("max")?,
            taken_by: data
                .get("takenBy")?
                .list()?
                .iter()
                .map(Reader::parsed)
                .collect::<Result<_, _>>()?,
        },
        "ProtectedInstance" => Hold::ProtectedInstance {
            because: data.optional_text("because")?,
        },
        "KeptInstance" => Hold::KeptInstance {
            by: data.get("by")?.parsed()?,
            because: data.text("because")?,
        },
        "DependencyNotReady" => Hold::DependencyNotReady {
            group: data.get("group")?.parsed()?,
        },
        "CreateLimit" => Hold::CreateLimit {
            limit: data.number("limit")?,
            reserved: data.optional_number("reserved")?,
        },
        "DestroyRate" => Hold::DestroyRate {
            limit: data.number("limit")?,
            reserved: data.optional_number("reserved")?,
        },
        "SurgeExhausted" => Hold::SurgeExhausted {
            ceiling: data.number("ceiling")?,
        },
        "AvailabilityFloor" => Hold::AvailabilityFloor {
            floor: data.number("floor")?,
            available: data.number("available")?,
        },
        "FirstBatch" => Hold::FirstBatch {
            waiting: data.number("waiting")?,
        },
        "RolloutWindow" => Hold::RolloutWindow {
            waiting: data.number("waiting")?,
        },
        "RolloutPaused" => Hold::RolloutPaused(pause_cause(&data.get("pause")?)?),
        "Quarantined" => Hold::Quarantined(pause_cause(&data.get("pause")?)?),
        "CanaryHold" => Hold::CanaryHold {
            count: data.number("count")?,
            promote: data
                .get("promote")?
                .one_of(&Promote::ALL, Promote::as_str)?,
        },
        "Checkpoint" => Hold::Checkpoint {
            at: data.number("at")?,
        },
        "Bake" => Hold::Bake,
        "Partition" => Hold::Partition {
            at: data.number("at")?,
        },
        "MaxAction" => Hold::MaxAction {
            needs: data
                .get("needs")?
                .one_of(&FieldClass::ALL, FieldClass::as_str)?,
            allowed: data
                .get("allowed")?
                .one_of(&FieldClass::ALL, FieldClass::as_str)?,
        },
        "UpdateRefused" => Hold::UpdateRefused {
            message: data.text("message")?,
        },
        "NotProactive" => Hold::NotProactive {
            mode: data
                .get("mode")?
                .one_of(&RolloutMode::ALL, RolloutMode::as_str)?,
        },
        "LaunchBackoff" => Hold::LaunchBackoff {
            failures: data.number("failures")?,
            message: data.text("message")?,
        },
        "HealBudget" => Hold::HealBudget {
            allowed: data.number("allowed")?,
        },
        "Systemic" => Hold::Systemic {
            bad: data.number("bad")?,
            total: data.number("total")?,
        },
        "AllUnknown" => Hold::AllUnknown,
        "DestroyLimit" => Hold::DestroyLimit {
            wanted: data.number("wanted")?,
            limit: data.number("limit")?,
            earlier: data.optional_number("earlier")?,
        },
        "FleetDestroyLimit" => Hold::FleetDestroyLimit {
            wanted: data.number("wanted")?,
            limit: data.number("limit")?,
        },
        "ZonesCooling" => Hold::ZonesCooling {
            zones: data.number("zones")?,
        },
        "ScalingStabilized" => Hold::ScalingStabilized {
            asked: data.number("asked")?,
            size: data.number("size")?,
        },
        "ScalingRate" => Hold::ScalingRate {
            asked: data.number("asked")?,
            size: data.number("size")?,
        },
        "TotalLimit" => Hold::TotalLimit {
            limit: data.number("limit")?,
        },
        "QuorumAtRisk" => Hold::QuorumAtRisk {
            healthy: data.number("healthy")?,
            voters: data.number("voters")?,
            needed: data.number("needed")?,
        },
        "QuorumUnsettled" => Hold::QuorumUnsettled {
            why: data.text("why")?,
        },
        "MembershipUnclear" => Hold::MembershipUnclear {
            why: data.text("why")?,
        },
        "QuorumUnproven" => Hold::QuorumUnproven {
            why: data.text("why")?,
        },
        "SizingChanged" => Hold::SizingChanged,
        "Protected" => Hold::Protected,
        "DeletionUnconfirmed" => Hold::DeletionUnconfirmed {
            why: data.text("why")?,
        },
        "RenameUnconfirmed" => Hold::RenameUnconfirmed {
            from: data.get("from")?.parsed()?,
        },
        "DrainTimeout" => Hold::DrainTimeout,
        "NumbersExhausted" => Hold::NumbersExhausted {
            next: data.get("next")?.number()?,
        },
        "UnknownOutcomes" => Hold::UnknownOutcomes {
            count: data.number("count")?,
            said: data.optional_text("said")?,
        },
        "JournalUnavailable" => Hold::JournalUnavailable {
            why: data.text("why")?,
        },
        "ClockStepped" => Hold::ClockStepped,
        "SecretUnresolved" => Hold::SecretUnresolved {
            reference: data.text("reference")?,
            why: data.text("why")?,
        },
        "LaunchesRefused" => Hold::LaunchesRefused {
            provider: data.get("provider")?.parsed()?,
            message: data.text("message")?,
        },
        "EndRefused" => Hold::EndRefused {
            class: error_class(&data.get("class")?)?,
            message: data.text("message")?,
        },
        "ChangeRefused" => Hold::ChangeRefused {
            class: error_class(&data.get("class")?)?,
            message: data.text("message")?,
        },
        "SourceOutage" => Hold::SourceOutage {
            mode: outage_mode(data)?,
            since: data.get("since")?.time()?,
        },
        "EpochConflict" => Hold::EpochConflict {
            why: data.text("why")?,
        },
        "StateUntrusted" => Hold::StateUntrusted {
            why: data.text("why")?,
        },
        "SourceUnavailable" => Hold::SourceUnavailable {
            why: data.text("why")?,
        },
        other => return Err(code.error(format!("is no known hold: {other}"))),
    })
}

fn outage_mode(data: &Data<'_, '_>) -> Result<OutageMode, RecordError> {
    let mode = data.get("mode")?;
    let known = OutageMode::parse(mode.text()?);
    known.ok_or_else(|| mode.error("is no known mode"))
}

fn policy_hold(data: &Data<'_, '_>) -> Result<PolicyHold, RecordError> {
    let span = data.get("span")?;
    Ok(PolicyHold {
        policy: data.get("policy")?.parsed()?,
        binding: data.text("binding")?,
        span: SourceSpan {
            file: Arc::from(span.get("file")?.text()?),
            line: span.get("line")?.number()?,
            column: span.get("column")?.number()?,
            length: span.get("length")?.number()?,
        },
        message: data.text("message")?,
        values: texts(&data.get("values")?)?,
    })
}
