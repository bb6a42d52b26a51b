//! What was observed: listing, signals, memory, intents.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Absence, CheckOutcome, Completeness, DrainDone, DrainSpec, Epoch, ExitReport, GroupName,
    HealthSignal, HttpRequest, InPlace, InPlaceUpdate, InstanceId, InstanceMemory, Intent,
    IntentId, IntentKind, IntentState, Listed, Listing, OnDrainTimeout, Ownership, ProviderPhase,
    Reason, Seat, SeatId, Timestamp, Unanswered,
};

use super::roster::{step_in, step_out};
use super::{adopt, duration, list_in, list_out, map_in, map_out};
use crate::formats::{format_duration, format_time};
use crate::record::RecordError;
use crate::record::decode::{self, digests, error_class};
use crate::record::encode;
use crate::record::read::Reader;
use crate::record::write::{MapOf, Yaml};

fn optional_time(map: MapOf, key: &str, time: Option<Timestamp>) -> MapOf {
    map.optional_text(key, time.map(format_time))
}

fn flagged(map: MapOf, key: &str, flag: bool) -> MapOf {
    map.optional(key, flag.then(|| Yaml::flag(true)))
}

fn flag(reader: &Reader<'_>, key: &str) -> Result<bool, RecordError> {
    Ok(reader.optional_with(key, Reader::flag)?.unwrap_or(false))
}

pub(super) fn listing_out(listing: &Listing) -> Yaml {
    let Listing {
        completeness,
        as_of,
        instances,
        attached,
        places,
    } = listing;
    let partial = match completeness {
        Completeness::Complete => None,
        Completeness::Partial { why } => Some(why),
    };
    MapOf::new()
        .text("asOf", &format_time(*as_of))
        .optional_text("partial", partial)
        .with("instances", list_out(instances, listed_out))
        .optional("attached", attached_out(attached))
        .optional("places", places_out(places))
        .build()
}

pub(super) fn listing_in(reader: &Reader<'_>) -> Result<Listing, RecordError> {
    reader.only(&["asOf", "partial", "instances", "attached", "places"])?;
    let partial = reader.optional_with("partial", Reader::string)?;
    Ok(Listing {
        completeness: partial.map_or(Completeness::Complete, |why| Completeness::Partial { why }),
        as_of: reader.get("asOf")?.time()?,
        instances: list_in(&reader.get("instances")?, listed_in)?,
        attached: match reader.optional("attached")? {
            Some(attached) => list_in(&attached, attached_in)?.into_iter().collect(),
            None => BTreeSet::new(),
        },
        places: match reader.optional("places")? {
            Some(places) => list_in(&places, place_in)?.into_iter().collect(),
            None => BTreeMap::new(),
        },
    })
}

fn places_out(places: &BTreeMap<(GroupName, SeatId), String>) -> Option<Yaml> {
    let one = |((group, seat), address): (&(GroupName, SeatId), &String)| {
        seat_id_out(MapOf::new().text("group", group), Some(seat))
            .text("address", address)
            .build()
    };
    (!places.is_empty()).then(|| Yaml::List(places.iter().map(one).collect()))
}

fn place_in(reader: &Reader<'_>) -> Result<((GroupName, SeatId), String), RecordError> {
    reader.only(&["group", "member", "life", "address"])?;
    let seat = decode::seat_id(reader)?.ok_or_else(|| reader.error("lacks `member`"))?;
    let place = (reader.get("group")?.parsed()?, seat);
    Ok((place, reader.get("address")?.string()?))
}

fn attached_out(attached: &BTreeSet<(GroupName, SeatId)>) -> Option<Yaml> {
    let one = |(group, seat): &(GroupName, SeatId)| {
        seat_id_out(MapOf::new().text("group", group), Some(seat)).build()
    };
    (!attached.is_empty()).then(|| Yaml::List(attached.iter().map(one).collect()))
}

fn attached_in(reader: &Reader<'_>) -> Result<(GroupName, SeatId), RecordError> {
    reader.only(&["group", "member", "life"])?;
    let seat = decode::seat_id(reader)?.ok_or_else(|| reader.error("lacks `member`"))?;
    Ok((reader.get("group")?.parsed()?, seat))
}

pub(super) fn seat_id_out(map: MapOf, seat: Option<&SeatId>) -> MapOf {
    map.optional_text("member", seat.map(|seat| &seat.member))
        .optional_text("life", seat.map(|seat| &seat.life))
}

pub(super) fn seat_out(seat: &Seat) -> Yaml {
    let Seat {
        id,
        members,
        bootstrap,
        attachments,
    } = seat;
    let map = seat_id_out(MapOf::new(), Some(id))
        .with("members", list_out(members, Yaml::text))
        .with("attachments", list_out(attachments, Yaml::text));
    flagged(map, "bootstrap", *bootstrap).build()
}

fn seat_in(reader: &Reader<'_>) -> Result<Box<Seat>, RecordError> {
    reader.only(&["member", "life", "members", "attachments", "bootstrap"])?;
    let id = decode::seat_id(reader)?.ok_or_else(|| reader.error("lacks `member`"))?;
    Ok(Box::new(Seat {
        id,
        members: list_in(&reader.get("members")?, Reader::parsed)?,
        bootstrap: flag(reader, "bootstrap")?,
        attachments: list_in(&reader.get("attachments")?, Reader::parsed)?,
    }))
}

fn listed_out(listed: &Listed) -> Yaml {
    let Listed {
        provider_ref,
        ownership,
        phase,
        address,
        zone,
        created_at,
        interruption,
    } = listed;
    let (phase, exit) = phase_out(phase);
    let map = MapOf::new()
        .text("ref", provider_ref)
        .text("phase", phase)
        .optional("exit", exit.map(exit_out))
        .optional_text("address", address.as_ref())
        .optional_text("zone", zone.as_ref());
    let map = optional_time(map, "createdAt", *created_at);
    optional_time(map, "interruption", *interruption)
        .optional("owner", ownership.as_ref().map(ownership_out))
        .build()
}

fn listed_in(reader: &Reader<'_>) -> Result<Listed, RecordError> {
    reader.only(&[
        "ref",
        "phase",
        "exit",
        "address",
        "zone",
        "createdAt",
        "interruption",
        "owner",
    ])?;
    Ok(Listed {
        provider_ref: reader.get("ref")?.parsed()?,
        ownership: reader.optional_with("owner", ownership_in)?,
        phase: phase_in(reader)?,
        address: reader.optional_with("address", Reader::string)?,
        zone: reader.optional_with("zone", Reader::string)?,
        created_at: reader.optional_with("createdAt", Reader::time)?,
        interruption: reader.optional_with("interruption", Reader::time)?,
    })
}

pub(super) fn phase_out(phase: &ProviderPhase) -> (&'static str, Option<&ExitReport>) {
    match phase {
        ProviderPhase::Pending => ("Pending", None),
        ProviderPhase::Running => ("Running", None),
        ProviderPhase::Stopping => ("Stopping", None),
        ProviderPhase::Exited(report) => ("Exited", Some(report)),
        ProviderPhase::Terminated => ("Terminated", None),
        ProviderPhase::Unknown => ("Unknown", None),
    }
}

pub(super) fn phase_in(reader: &Reader<'_>) -> Result<ProviderPhase, RecordError> {
    let phase = reader.get("phase")?;
    Ok(match phase.text()? {
        "Pending" => ProviderPhase::Pending,
        "Running" => ProviderPhase::Running,
        "Stopping" => ProviderPhase::Stopping,
        "Exited" => ProviderPhase::Exited(exit_in(&reader.get("exit")?)?),
        "Terminated" => ProviderPhase::Terminated,
        "Unknown" => ProviderPhase::Unknown,
        other => return Err(phase.error(format!("is no known word: {other}"))),
    })
}

pub(super) fn exit_out(report: &ExitReport) -> Yaml {
    let ExitReport {
        code,
        signal,
        message,
    } = report;
    let number = |number: i32| Yaml::Literal(number.to_string());
    MapOf::new()
        .optional("code", code.map(number))
        .optional("signal", signal.map(number))
        .text("message", message)
        .build()
}

fn exit_in(reader: &Reader<'_>) -> Result<ExitReport, RecordError> {
    reader.only(&["code", "signal", "message"])?;
    Ok(ExitReport {
        code: reader.optional_with("code", Reader::signed)?,
        signal: reader.optional_with("signal", Reader::signed)?,
        message: reader.get("message")?.string()?,
    })
}

fn ownership_out(owner: &Ownership) -> Yaml {
    let Ownership {
        fleet,
        group,
        instance,
        digests,
        token,
        epoch,
        seat,
    } = owner;
    let map = MapOf::new()
        .text("fleet", fleet)
        .text("group", group)
        .text("instance", instance)
        .text("digests", digests)
        .text("token", token)
        .number("epoch", epoch.0);
    seat_id_out(map, seat.as_ref()).build()
}

fn ownership_in(reader: &Reader<'_>) -> Result<Ownership, RecordError> {
    reader.only(&[
        "fleet", "group", "instance", "digests", "token", "epoch", "member", "life",
    ])?;
    Ok(Ownership {
        fleet: reader.get("fleet")?.parsed()?,
        group: reader.get("group")?.parsed()?,
        instance: reader.get("instance")?.parsed()?,
        digests: digests(&reader.get("digests")?)?,
        token: reader.get("token")?.parsed()?,
        epoch: Epoch(reader.get("epoch")?.number()?),
        seat: decode::seat_id(reader)?,
    })
}

pub(super) fn signal_out(signal: &HealthSignal) -> Yaml {
    let HealthSignal {
        asked_at,
        checks,
        busy,
        leader,
        work,
    } = signal;
    let check = |check: &CheckOutcome| match check {
        CheckOutcome::Passing => Yaml::text("passing"),
        CheckOutcome::Failing { why } => MapOf::new().text("failing", why).build(),
        CheckOutcome::Unknown { why } => MapOf::new().text("unknown", why).build(),
    };
    let map = MapOf::new()
        .text("askedAt", &format_time(*asked_at))
        .with("checks", list_out(checks, check));
    flagged(map, "busy", *busy)
        .optional("leader", leader.map(Yaml::flag))
        .optional("work", (*work > 0).then(|| Yaml::number(*work)))
        .build()
}

pub(super) fn signal_in(reader: &Reader<'_>) -> Result<HealthSignal, RecordError> {
    reader.only(&["askedAt", "checks", "busy", "leader", "work"])?;
    let check = |reader: &Reader<'_>| {
        if reader.text().is_ok_and(|text| text == "passing") {
            return Ok(CheckOutcome::Passing);
        }
        reader.only(&["failing", "unknown"])?;
        Ok(match reader.optional_with("failing", Reader::string)? {
            Some(why) => CheckOutcome::Failing { why },
            None => CheckOutcome::Unknown {
                why: reader.get("unknown")?.string()?,
            },
        })
    };
    Ok(HealthSignal {
        asked_at: reader.get("askedAt")?.time()?,
        checks: list_in(&reader.get("checks")?, check)?,
        busy: flag(reader, "busy")?,
        leader: reader.optional_with("leader", Reader::flag)?,
        work: reader.optional_with("work", Reader::number)?.unwrap_or(0),
    })
}

pub(super) fn memory_out(memory: &InstanceMemory) -> Yaml {
    let InstanceMemory {
        first_seen,
        healthy_since,
        ready_at,
        failing_since,
        unknown_since,
        restarted_at,
        changed_at,
        completed,
        absent,
        lost_at,
        notice,
        lease,
        unanswered,
        unheeded,
    } = memory;
    let mut map = MapOf::new().text("firstSeen", &format_time(*first_seen));
    for (key, time) in [
        ("healthySince", healthy_since),
        ("readyAt", ready_at),
        ("failingSince", failing_since),
        ("unknownSince", unknown_since),
        ("restartedAt", restarted_at),
        ("changedAt", changed_at),
        ("lostAt", lost_at),
        ("notice", notice),
        ("lease", lease),
    ] {
        map = optional_time(map, key, *time);
    }
    let absent = absent.map(|absence| {
        let Absence {
            since,
            last,
            listings,
        } = absence;
        MapOf::new()
            .text("since", &format_time(since))
            .text("last", &format_time(last))
            .number("listings", listings)
            .build()
    });
    flagged(map, "completed", *completed)
        .optional("absent", absent)
        .optional("unanswered", unanswered.as_deref().map(unanswered_out))
        .optional("unheeded", unheeded.as_deref().map(unanswered_out))
        .build()
}

pub(super) fn memory_in(reader: &Reader<'_>) -> Result<InstanceMemory, RecordError> {
    reader.only(&[
        "firstSeen",
        "healthySince",
        "readyAt",
        "failingSince",
        "unknownSince",
        "restartedAt",
        "changedAt",
        "lostAt",
        "notice",
        "lease",
        "completed",
        "absent",
        "unanswered",
        "unheeded",
    ])?;
    let absence = |reader: &Reader<'_>| {
        reader.only(&["since", "last", "listings"])?;
        Ok(Absence {
            since: reader.get("since")?.time()?,
            last: reader.get("last")?.time()?,
            listings: reader.get("listings")?.number()?,
        })
    };
    Ok(InstanceMemory {
        first_seen: reader.get("firstSeen")?.time()?,
        healthy_since: reader.optional_with("healthySince", Reader::time)?,
        ready_at: reader.optional_with("readyAt", Reader::time)?,
        failing_since: reader.optional_with("failingSince", Reader::time)?,
        unknown_since: reader.optional_with("unknownSince", Reader::time)?,
        restarted_at: reader.optional_with("restartedAt", Reader::time)?,
        changed_at: reader.optional_with("changedAt", Reader::time)?,
        completed: flag(reader, "completed")?,
        absent: reader.optional_with("absent", absence)?,
        lost_at: reader.optional_with("lostAt", Reader::time)?,
        notice: reader.optional_with("notice", Reader::time)?,
        lease: reader.optional_with("lease", Reader::time)?,
        unanswered: reader
            .optional_with("unanswered", unanswered_in)?
            .map(Box::new),
        unheeded: reader
            .optional_with("unheeded", unanswered_in)?
            .map(Box::new),
    })
}

fn unanswered_out(unanswered: &Unanswered) -> Yaml {
    let Unanswered {
        calls,
        last,
        refused_since,
    } = unanswered;
    let map = MapOf::new()
        .number("calls", *calls)
        .text("last", &format_time(*last));
    optional_time(map, "refusedSince", *refused_since).build()
}

fn unanswered_in(reader: &Reader<'_>) -> Result<Unanswered, RecordError> {
    reader.only(&["calls", "last", "refusedSince"])?;
    Ok(Unanswered {
        calls: reader.get("calls")?.number()?,
        last: reader.get("last")?.time()?,
        refused_since: reader.optional_with("refusedSince", Reader::time)?,
    })
}

pub(super) fn intent_out(intent: &Intent) -> Yaml {
    let Intent {
        id,
        group,
        epoch,
        issued_at,
        kind,
        state,
        said,
    } = intent;
    let (what, kind) = kind_out(kind);
    MapOf::new()
        .number("id", id.0)
        .text("group", group)
        .number("epoch", epoch.0)
        .text("issuedAt", &format_time(*issued_at))
        .with(what, kind)
        .with("state", state_out(state))
        .optional_text("said", said.as_ref())
        .build()
}

pub(super) fn intent_in(reader: &Reader<'_>) -> Result<Intent, RecordError> {
    reader.only(&[
        "id", "group", "epoch", "issuedAt", "create", "drain", "destroy", "update", "roster",
        "adopt", "state", "said",
    ])?;
    Ok(Intent {
        id: IntentId(reader.get("id")?.number()?),
        group: reader.get("group")?.parsed()?,
        epoch: Epoch(reader.get("epoch")?.number()?),
        issued_at: reader.get("issuedAt")?.time()?,
        kind: kind_in(reader)?,
        state: state_in(&reader.get("state")?)?,
        said: reader.optional_with("said", Reader::string)?,
    })
}

pub(super) fn update_out(change: &InPlaceUpdate) -> MapOf {
    let InPlaceUpdate {
        instance,
        provider_ref,
        token,
        update,
        how,
        digests,
        zone,
        template,
        grace,
    } = change;
    MapOf::new()
        .text("instance", instance)
        .text("ref", provider_ref)
        .text("token", token)
        .text("update", update)
        .text("how", how.as_str())
        .text("digests", digests)
        .optional_text("zone", zone.as_ref())
        .with("template", encode::template(template))
        .text("grace", &format_duration(*grace))
}

fn kind_out(kind: &IntentKind) -> (&'static str, Yaml) {
    match kind {
        IntentKind::Create {
            slots,
            attempt,
            token,
            digests,
            zone,
            template,
            seat,
        } => {
            let map = MapOf::new()
                .with("slots", list_out(slots, Yaml::text))
                .number("attempt", *attempt)
                .text("token", token)
                .text("digests", digests)
                .optional_text("zone", zone.as_ref())
                .with("template", encode::template(template))
                // What else plugins answered is nobody's to read: it may let others in.
                .optional("tags", encode::texts(&template.answered_tags()))
                .optional("seat", seat.as_deref().map(seat_out));
            ("create", map.build())
        }
        IntentKind::Drain {
            instance,
            provider_ref,
            address,
            reason,
            spec,
            deadline,
            begun,
            done,
            returns,
        } => {
            let map = MapOf::new()
                .text("instance", instance)
                .text("ref", provider_ref)
                .optional_text("address", address.as_ref())
                .text("reason", reason)
                .with("spec", drain_out(spec))
                .text("deadline", &format_time(*deadline))
                .optional_text("returns", returns.as_ref());
            let map = flagged(flagged(map, "begun", *begun), "done", *done);
            ("drain", map.build())
        }
        IntentKind::Update(change) => ("update", update_out(change).build()),
        IntentKind::Roster(step) => ("roster", step_out(step).build()),
        IntentKind::Adopt(step) => ("adopt", adopt::step_out(step).build()),
        IntentKind::Destroy {
            instance,
            provider_ref,
            token,
            reason,
        } => {
            let map = MapOf::new()
                .text("instance", instance)
                .text("ref", provider_ref)
                .text("token", token)
                .text("reason", reason);
            ("destroy", map.build())
        }
    }
}

fn reason_in(reader: &Reader<'_>) -> Result<Reason, RecordError> {
    reader.one_of(&Reason::ALL, Reason::as_str)
}

fn how_in(reader: &Reader<'_>) -> Result<InPlace, RecordError> {
    reader.one_of(&InPlace::ALL, InPlace::as_str)
}

fn kind_in(reader: &Reader<'_>) -> Result<IntentKind, RecordError> {
    if let Some(create) = reader.optional("create")? {
        return Ok(IntentKind::Create {
            slots: list_in(&create.get("slots")?, Reader::parsed)?,
            attempt: create.get("attempt")?.number()?,
            token: create.get("token")?.parsed()?,
            digests: digests(&create.get("digests")?)?,
            zone: create.optional_with("zone", Reader::string)?,
            template: match create.optional_with("tags", decode::texts)? {
                Some(tags) => decode::template(&create.get("template")?)?.with_answered_tags(tags),
                None => decode::template(&create.get("template")?)?,
            },
            seat: create.optional_with("seat", seat_in)?,
        });
    }
    if let Some(drain) = reader.optional("drain")? {
        return Ok(IntentKind::Drain {
            instance: drain.get("instance")?.parsed()?,
            provider_ref: drain.get("ref")?.parsed()?,
            address: drain.optional_with("address", Reader::string)?,
            reason: reason_in(&drain.get("reason")?)?,
            spec: drain_in(&drain.get("spec")?)?,
            deadline: drain.get("deadline")?.time()?,
            begun: flag(&drain, "begun")?,
            done: flag(&drain, "done")?,
            returns: drain.optional_with("returns", digests)?,
        });
    }
    if let Some(update) = reader.optional("update")? {
        return Ok(IntentKind::Update(InPlaceUpdate {
            instance: update.get("instance")?.parsed()?,
            provider_ref: update.get("ref")?.parsed()?,
            token: update.get("token")?.parsed()?,
            update: update.get("update")?.parsed()?,
            how: how_in(&update.get("how")?)?,
            digests: digests(&update.get("digests")?)?,
            zone: update.optional_with("zone", Reader::string)?,
            template: decode::template(&update.get("template")?)?,
            grace: duration(&update.get("grace")?)?,
        }));
    }
    if let Some(step) = reader.optional_with("roster", step_in)? {
        return Ok(IntentKind::Roster(step));
    }
    if let Some(step) = reader.optional_with("adopt", adopt::step_in)? {
        return Ok(IntentKind::Adopt(step));
    }
    let destroy = reader.get("destroy")?;
    Ok(IntentKind::Destroy {
        instance: destroy.get("instance")?.parsed()?,
        provider_ref: destroy.get("ref")?.parsed()?,
        token: destroy.get("token")?.parsed()?,
        reason: reason_in(&destroy.get("reason")?)?,
    })
}

pub(super) fn drain_out(spec: &DrainSpec) -> Yaml {
    let DrainSpec {
        delay,
        begin,
        done,
        timeout,
        unhealthy_timeout,
        on_timeout,
    } = spec;
    let request = |request: &HttpRequest| {
        let HttpRequest { method, port, path } = request;
        MapOf::new()
            .text("method", method)
            .number("port", *port)
            .text("path", path)
            .build()
    };
    let done = done.as_ref().map(|done| match done {
        DrainDone::Http { port, path } => MapOf::new().number("http", *port).text("path", path),
        DrainDone::TcpClosed { port } => MapOf::new().number("tcpClosed", *port),
        DrainDone::Exit => MapOf::new().with("exit", Yaml::flag(true)),
    });
    let map = MapOf::new()
        .text("delay", &format_duration(*delay))
        .with("begin", list_out(begin, request))
        .optional("done", done.map(MapOf::build))
        .text("timeout", &format_duration(*timeout))
        .text("unhealthyTimeout", &format_duration(*unhealthy_timeout));
    flagged(map, "abort", *on_timeout == OnDrainTimeout::Abort).build()
}

fn drain_in(reader: &Reader<'_>) -> Result<DrainSpec, RecordError> {
    reader.only(&[
        "delay",
        "begin",
        "done",
        "timeout",
        "unhealthyTimeout",
        "abort",
    ])?;
    let request = |reader: &Reader<'_>| {
        Ok(HttpRequest {
            method: reader.get("method")?.string()?,
            port: reader.get("port")?.number()?,
            path: reader.get("path")?.string()?,
        })
    };
    let done = |reader: &Reader<'_>| {
        if let Some(port) = reader.optional_with("http", Reader::number)? {
            let path = reader.get("path")?.string()?;
            return Ok(DrainDone::Http { port, path });
        }
        Ok(match reader.optional_with("tcpClosed", Reader::number)? {
            Some(port) => DrainDone::TcpClosed { port },
            None => DrainDone::Exit,
        })
    };
    Ok(DrainSpec {
        delay: duration(&reader.get("delay")?)?,
        begin: list_in(&reader.get("begin")?, request)?,
        done: reader.optional_with("done", done)?,
        timeout: duration(&reader.get("timeout")?)?,
        unhealthy_timeout: duration(&reader.get("unhealthyTimeout")?)?,
        on_timeout: if flag(reader, "abort")? {
            OnDrainTimeout::Abort
        } else {
            OnDrainTimeout::Proceed
        },
    })
}

fn state_out(state: &IntentState) -> Yaml {
    match state {
        IntentState::Intended => Yaml::text("intended"),
        IntentState::Sent => Yaml::text("sent"),
        IntentState::Acked { made, at } => MapOf::new()
            .text("acked", &format_time(*at))
            .with("made", map_out(made, Yaml::text))
            .build(),
        IntentState::Failed { class, message, at } => MapOf::new()
            .text("failed", &format_time(*at))
            .text("class", class.as_str())
            .text("message", message)
            .build(),
    }
}

fn state_in(reader: &Reader<'_>) -> Result<IntentState, RecordError> {
    match reader.text() {
        Ok("intended") => return Ok(IntentState::Intended),
        Ok("sent") => return Ok(IntentState::Sent),
        Ok(other) => return Err(reader.error(format!("is no known word: {other}"))),
        Err(_) => {}
    }
    if let Some(at) = reader.optional_with("acked", Reader::time)? {
        let made = reader.get("made")?;
        let made = map_in(&made, Reader::parsed)?;
        return Ok(IntentState::Acked { made, at });
    }
    Ok(IntentState::Failed {
        class: error_class(&reader.get("class")?)?,
        message: reader.get("message")?.string()?,
        at: reader.get("failed")?.time()?,
    })
}

/// The ids of slots as a list of texts.
pub(super) fn ids(ids: &[InstanceId]) -> Yaml {
    list_out(ids, Yaml::text)
}
