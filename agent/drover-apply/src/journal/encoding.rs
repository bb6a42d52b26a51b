//! The journal's own encoding of intents: JSON of private mirrors of the model's types, so that the
//! model stays free to change. Local, not a promise; [`FORMAT`] grows with every change of it.
//!
//! Every field is explicit and unknown ones are refused: what this version does not understand it must
//! not silently lose when it writes the intent back.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use drover_model::{
    AdoptStep, Digests, DrainDone, DrainSpec, EntryId, Epoch, ErrorClass, EtcdKeeper, HttpRequest,
    InPlace, InPlaceUpdate, Intent, IntentId, IntentKind, IntentState, Keeper, OnDrainTimeout,
    Reason, RosterChange, RosterStep, Seat, SeatId,
};
use serde::{Deserialize, Serialize};

mod template;

use template::{TemplateRow, template_in, template_out};

/// The format that this version writes, and the newest that it reads.
pub(crate) const FORMAT: u64 = 1;

pub(crate) fn encode(intent: &Intent) -> Result<Vec<u8>, String> {
    let row = Row {
        group: intent.group.to_string(),
        epoch: intent.epoch.0,
        issued_at: intent.issued_at.to_string(),
        kind: kind_out(&intent.kind),
        state: state_out(&intent.state),
        said: intent.said.clone(),
    };
    serde_json::to_vec(&row).map_err(|error| error.to_string())
}

pub(crate) fn decode(id: IntentId, bytes: &[u8]) -> Result<Intent, String> {
    let row: Row = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(Intent {
        id,
        group: parse("group", &row.group)?,
        epoch: Epoch(row.epoch),
        issued_at: parse("time", &row.issued_at)?,
        kind: kind_in(row.kind)?,
        state: state_in(row.state)?,
        said: row.said,
    })
}

fn parse<T: FromStr>(what: &str, text: &str) -> Result<T, String>
where
    T::Err: Display,
{
    text.parse()
        .map_err(|error| format!("{what} {text:?} {error}"))
}

fn parse_digests(text: &str) -> Result<Digests, String> {
    Digests::parse(text).map_err(|error| format!("digest {text:?} {error}"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    group: String,
    epoch: u64,
    issued_at: String,
    kind: KindRow,
    state: StateRow,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    said: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum KindRow {
    Create {
        slots: Vec<String>,
        attempt: u32,
        token: String,
        digests: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        template: TemplateRow,
        /// Of instances that are interchangeable there is none, nor in rows of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seat: Option<SeatRow>,
    },
    Drain {
        instance: String,
        provider_ref: String,
        address: Option<String>,
        reason: String,
        spec: DrainRow,
        deadline: String,
        begun: bool,
        done: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        returns: Option<String>,
    },
    Destroy {
        instance: String,
        provider_ref: String,
        token: String,
        reason: String,
    },
    Update {
        instance: String,
        provider_ref: String,
        token: String,
        update: String,
        how: String,
        digests: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        template: TemplateRow,
        grace: Duration,
    },
    Roster {
        keeper: KeeperRow,
        at: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        life: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<String>,
        change: ChangeRow,
    },
    Adopt {
        instance: String,
        provider_ref: String,
        token: String,
        digests: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        life: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<String>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        tags: BTreeMap<String, String>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum KeeperRow {
    Etcd { client_port: u16, peer_port: u16 },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ChangeRow {
    Add,
    Remove { entry: u64 },
    Promote { entry: u64 },
    HandOver { from: u64, to: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeatRow {
    life: String,
    member: String,
    members: Vec<String>,
    bootstrap: bool,
    attachments: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StateRow {
    Intended,
    Sent,
    Acked {
        made: BTreeMap<String, String>,
        at: String,
    },
    Failed {
        class: String,
        message: String,
        at: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainRow {
    delay: Duration,
    begin: Vec<RequestRow>,
    done: Option<DoneRow>,
    timeout: Duration,
    unhealthy_timeout: Duration,
    on_timeout: TimeoutRow,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestRow {
    method: String,
    port: u16,
    path: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum DoneRow {
    Http { port: u16, path: String },
    TcpClosed { port: u16 },
    Exit,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TimeoutRow {
    Proceed,
    Abort,
}

#[expect(clippy::too_many_lines, reason = "one arm per kind, nothing to split")]
fn kind_out(kind: &IntentKind) -> KindRow {
    match kind {
        IntentKind::Create {
            slots,
            attempt,
            token,
            digests,
            zone,
            template,
            seat,
        } => KindRow::Create {
            slots: slots.iter().map(ToString::to_string).collect(),
            attempt: *attempt,
            token: token.to_string(),
            digests: digests.to_string(),
            zone: zone.clone(),
            template: template_out(template),
            seat: seat.as_deref().map(seat_out),
        },
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
        } => KindRow::Drain {
            instance: instance.to_string(),
            provider_ref: provider_ref.to_string(),
            address: address.clone(),
            reason: reason.to_string(),
            spec: drain_out(spec),
            deadline: deadline.to_string(),
            begun: *begun,
            done: *done,
            returns: returns.as_ref().map(ToString::to_string),
        },
        IntentKind::Destroy {
            instance,
            provider_ref,
            token,
            reason,
        } => KindRow::Destroy {
            instance: instance.to_string(),
            provider_ref: provider_ref.to_string(),
            token: token.to_string(),
            reason: reason.to_string(),
        },
        IntentKind::Update(InPlaceUpdate {
            instance,
            provider_ref,
            token,
            update,
            how,
            digests,
            zone,
            template,
            grace,
        }) => KindRow::Update {
            instance: instance.to_string(),
            provider_ref: provider_ref.to_string(),
            token: token.to_string(),
            update: update.to_string(),
            how: how.as_str().to_owned(),
            digests: digests.to_string(),
            zone: zone.clone(),
            template: template_out(template),
            grace: *grace,
        },
        IntentKind::Roster(step) => roster_out(step),
        IntentKind::Adopt(AdoptStep {
            instance,
            provider_ref,
            token,
            digests,
            seat,
            tags,
        }) => KindRow::Adopt {
            instance: instance.to_string(),
            provider_ref: provider_ref.to_string(),
            token: token.to_string(),
            digests: digests.to_string(),
            life: seat.as_ref().map(|seat| seat.life.to_string()),
            member: seat.as_ref().map(|seat| seat.member.to_string()),
            tags: tags.clone(),
        },
    }
}

#[expect(clippy::too_many_lines, reason = "one arm per kind, nothing to split")]
fn kind_in(row: KindRow) -> Result<IntentKind, String> {
    Ok(match row {
        KindRow::Create {
            slots,
            attempt,
            token,
            digests,
            zone,
            template,
            seat,
        } => IntentKind::Create {
            slots: slots
                .iter()
                .map(|slot| parse("instance", slot))
                .collect::<Result<_, _>>()?,
            attempt,
            token: parse("token", &token)?,
            digests: parse_digests(&digests)?,
            zone,
            template: template_in(template)?,
            seat: seat.as_ref().map(seat_in).transpose()?.map(Box::new),
        },
        KindRow::Drain {
            instance,
            provider_ref,
            address,
            reason,
            spec,
            deadline,
            begun,
            done,
            returns,
        } => IntentKind::Drain {
            instance: parse("instance", &instance)?,
            provider_ref: parse("handle", &provider_ref)?,
            address,
            reason: reason_in(&reason)?,
            spec: drain_in(spec),
            deadline: parse("time", &deadline)?,
            begun,
            done,
            returns: returns.as_deref().map(parse_digests).transpose()?,
        },
        KindRow::Update {
            instance,
            provider_ref,
            token,
            update,
            how,
            digests,
            zone,
            template,
            grace,
        } => IntentKind::Update(InPlaceUpdate {
            instance: parse("instance", &instance)?,
            provider_ref: parse("handle", &provider_ref)?,
            token: parse("token", &token)?,
            update: parse("token", &update)?,
            how: how_in(&how)?,
            digests: parse_digests(&digests)?,
            zone,
            template: template_in(template)?,
            grace,
        }),
        KindRow::Roster {
            keeper,
            at,
            life,
            member,
            change,
        } => IntentKind::Roster(RosterStep {
            keeper: keeper_in(&keeper),
            at,
            seat: seat_id_in(life.as_deref(), member.as_deref())?,
            change: change_in(&change),
        }),
        KindRow::Adopt {
            instance,
            provider_ref,
            token,
            digests,
            life,
            member,
            tags,
        } => IntentKind::Adopt(AdoptStep {
            instance: parse("instance", &instance)?,
            provider_ref: parse("handle", &provider_ref)?,
            token: parse("token", &token)?,
            digests: parse_digests(&digests)?,
            seat: seat_id_in(life.as_deref(), member.as_deref())?,
            tags,
        }),
        KindRow::Destroy {
            instance,
            provider_ref,
            token,
            reason,
        } => IntentKind::Destroy {
            instance: parse("instance", &instance)?,
            provider_ref: parse("handle", &provider_ref)?,
            token: parse("token", &token)?,
            reason: reason_in(&reason)?,
        },
    })
}

fn roster_out(step: &RosterStep) -> KindRow {
    let RosterStep {
        keeper: Keeper::Etcd(EtcdKeeper {
            client_port,
            peer_port,
        }),
        at,
        seat,
        change,
    } = step;
    KindRow::Roster {
        keeper: KeeperRow::Etcd {
            client_port: *client_port,
            peer_port: *peer_port,
        },
        at: at.clone(),
        life: seat.as_ref().map(|seat| seat.life.to_string()),
        member: seat.as_ref().map(|seat| seat.member.to_string()),
        change: match change {
            RosterChange::Add => ChangeRow::Add,
            RosterChange::Remove(EntryId(entry)) => ChangeRow::Remove { entry: *entry },
            RosterChange::Promote(EntryId(entry)) => ChangeRow::Promote { entry: *entry },
            RosterChange::HandOver { from, to } => ChangeRow::HandOver {
                from: from.0,
                to: to.0,
            },
        },
    }
}

fn keeper_in(row: &KeeperRow) -> Keeper {
    match *row {
        KeeperRow::Etcd {
            client_port,
            peer_port,
        } => Keeper::Etcd(EtcdKeeper {
            client_port,
            peer_port,
        }),
    }
}

fn change_in(row: &ChangeRow) -> RosterChange {
    match *row {
        ChangeRow::Add => RosterChange::Add,
        ChangeRow::Remove { entry } => RosterChange::Remove(EntryId(entry)),
        ChangeRow::Promote { entry } => RosterChange::Promote(EntryId(entry)),
        ChangeRow::HandOver { from, to } => RosterChange::HandOver {
            from: EntryId(from),
            to: EntryId(to),
        },
    }
}

fn seat_id_in(life: Option<&str>, member: Option<&str>) -> Result<Option<SeatId>, String> {
    let (Some(life), Some(member)) = (life, member) else {
        return Ok(None);
    };
    Ok(Some(SeatId {
        life: parse("uid", life)?,
        member: parse("member", member)?,
    }))
}

fn seat_out(seat: &Seat) -> SeatRow {
    let Seat {
        id,
        members,
        bootstrap,
        attachments,
    } = seat;
    SeatRow {
        life: id.life.to_string(),
        member: id.member.to_string(),
        members: members.iter().map(ToString::to_string).collect(),
        bootstrap: *bootstrap,
        attachments: attachments.iter().map(ToString::to_string).collect(),
    }
}

fn seat_in(row: &SeatRow) -> Result<Seat, String> {
    Ok(Seat {
        id: SeatId {
            life: parse("uid", &row.life)?,
            member: parse("member", &row.member)?,
        },
        members: row
            .members
            .iter()
            .map(|id| parse("member", id))
            .collect::<Result<_, _>>()?,
        bootstrap: row.bootstrap,
        attachments: row
            .attachments
            .iter()
            .map(|name| parse("attachment", name))
            .collect::<Result<_, _>>()?,
    })
}

fn reason_in(text: &str) -> Result<Reason, String> {
    let found = Reason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == text);
    found.ok_or_else(|| format!("unknown reason {text:?}"))
}

fn how_in(text: &str) -> Result<InPlace, String> {
    let found = InPlace::ALL.into_iter().find(|how| how.as_str() == text);
    found.ok_or_else(|| format!("unknown change in place {text:?}"))
}

const CLASSES: [ErrorClass; 8] = [
    ErrorClass::Throttled,
    ErrorClass::Capacity,
    ErrorClass::Quota,
    ErrorClass::InvalidSpec,
    ErrorClass::Auth,
    ErrorClass::Partial,
    ErrorClass::Unknown,
    ErrorClass::NotFound,
];

fn state_out(state: &IntentState) -> StateRow {
    match state {
        IntentState::Intended => StateRow::Intended,
        IntentState::Sent => StateRow::Sent,
        IntentState::Acked { made, at } => StateRow::Acked {
            made: made
                .iter()
                .map(|(id, handle)| (id.to_string(), handle.to_string()))
                .collect(),
            at: at.to_string(),
        },
        IntentState::Failed { class, message, at } => StateRow::Failed {
            class: class.as_str().to_owned(),
            message: message.clone(),
            at: at.to_string(),
        },
    }
}

fn state_in(row: StateRow) -> Result<IntentState, String> {
    Ok(match row {
        StateRow::Intended => IntentState::Intended,
        StateRow::Sent => IntentState::Sent,
        StateRow::Acked { made, at } => IntentState::Acked {
            made: made
                .iter()
                .map(|(id, handle)| Ok((parse("instance", id)?, parse("handle", handle)?)))
                .collect::<Result<_, String>>()?,
            at: parse("time", &at)?,
        },
        StateRow::Failed { class, message, at } => IntentState::Failed {
            class: CLASSES
                .into_iter()
                .find(|known| known.as_str() == class)
                .ok_or_else(|| format!("unknown error class {class:?}"))?,
            message,
            at: parse("time", &at)?,
        },
    })
}

fn drain_out(spec: &DrainSpec) -> DrainRow {
    let request = |request: &HttpRequest| RequestRow {
        method: request.method.clone(),
        port: request.port,
        path: request.path.clone(),
    };
    DrainRow {
        delay: spec.delay,
        begin: spec.begin.iter().map(request).collect(),
        done: spec.done.as_ref().map(|done| match done {
            DrainDone::Http { port, path } => DoneRow::Http {
                port: *port,
                path: path.clone(),
            },
            DrainDone::TcpClosed { port } => DoneRow::TcpClosed { port: *port },
            DrainDone::Exit => DoneRow::Exit,
        }),
        timeout: spec.timeout,
        unhealthy_timeout: spec.unhealthy_timeout,
        on_timeout: match spec.on_timeout {
            OnDrainTimeout::Proceed => TimeoutRow::Proceed,
            OnDrainTimeout::Abort => TimeoutRow::Abort,
        },
    }
}

fn drain_in(row: DrainRow) -> DrainSpec {
    let request = |row: RequestRow| HttpRequest {
        method: row.method,
        port: row.port,
        path: row.path,
    };
    DrainSpec {
        delay: row.delay,
        begin: row.begin.into_iter().map(request).collect(),
        done: row.done.map(|done| match done {
            DoneRow::Http { port, path } => DrainDone::Http { port, path },
            DoneRow::TcpClosed { port } => DrainDone::TcpClosed { port },
            DoneRow::Exit => DrainDone::Exit,
        }),
        timeout: row.timeout,
        unhealthy_timeout: row.unhealthy_timeout,
        on_timeout: match row.on_timeout {
            TimeoutRow::Proceed => OnDrainTimeout::Proceed,
            TimeoutRow::Abort => OnDrainTimeout::Abort,
        },
    }
}
