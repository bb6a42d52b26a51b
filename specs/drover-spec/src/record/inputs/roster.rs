//! The membership list of a quorum group's program, and the changes of it.

use drover_model::{
    EntryRole, EtcdKeeper, Keeper, Roster, RosterChange, RosterEntry, RosterStep, RosterView,
};

use super::seen::seat_id_out;
use super::{list_in, list_out};
use crate::record::RecordError;
use crate::record::decode::{self, entry_id};
use crate::record::read::Reader;
use crate::record::write::{MapOf, Yaml};

pub(super) fn view_out(view: &RosterView) -> Yaml {
    match view {
        RosterView::Unclear { why } => MapOf::new().text("unclear", why).build(),
        RosterView::Known(Roster {
            term,
            leader,
            entries,
        }) => {
            let entries = entries.iter().map(|(id, entry)| {
                let RosterEntry {
                    name,
                    role,
                    started,
                    hosts,
                    answers,
                    lag,
                } = entry;
                MapOf::new()
                    .text("id", id)
                    .text("name", name)
                    .with("votes", Yaml::flag(*role == EntryRole::Voter))
                    .with("started", Yaml::flag(*started))
                    .with("hosts", list_out(hosts, Yaml::text))
                    .with("answers", Yaml::flag(*answers))
                    .optional("lag", lag.map(Yaml::number))
                    .build()
            });
            MapOf::new()
                .number("term", *term)
                .text("leader", leader)
                .with("entries", Yaml::List(entries.collect()))
                .build()
        }
    }
}

pub(super) fn view_in(reader: &Reader<'_>) -> Result<RosterView, RecordError> {
    reader.only(&["unclear", "term", "leader", "entries"])?;
    if let Some(why) = reader.optional_with("unclear", Reader::string)? {
        return Ok(RosterView::Unclear { why });
    }
    let entry = |reader: &Reader<'_>| {
        reader.only(&["id", "name", "votes", "started", "hosts", "answers", "lag"])?;
        let votes = reader.get("votes")?.flag()?;
        let entry = RosterEntry {
            name: reader.get("name")?.string()?,
            role: if votes {
                EntryRole::Voter
            } else {
                EntryRole::Learner
            },
            started: reader.get("started")?.flag()?,
            hosts: list_in(&reader.get("hosts")?, Reader::string)?,
            answers: reader.get("answers")?.flag()?,
            lag: reader.optional_with("lag", Reader::number)?,
        };
        Ok((entry_id(&reader.get("id")?)?, entry))
    };
    Ok(RosterView::Known(Roster {
        term: reader.get("term")?.number()?,
        leader: entry_id(&reader.get("leader")?)?,
        entries: list_in(&reader.get("entries")?, entry)?
            .into_iter()
            .collect(),
    }))
}

pub(super) fn step_out(step: &RosterStep) -> MapOf {
    let RosterStep {
        keeper: Keeper::Etcd(EtcdKeeper {
            client_port,
            peer_port,
        }),
        at,
        seat,
        change,
    } = step;
    let keeper = MapOf::new()
        .number("clientPort", *client_port)
        .number("peerPort", *peer_port);
    let map = MapOf::new()
        .with("etcd", keeper.build())
        .text("at", at)
        .text("change", step.verb());
    let map = seat_id_out(map, seat.as_ref());
    match change {
        RosterChange::Add => map,
        RosterChange::Remove(entry) | RosterChange::Promote(entry) => map.text("entry", entry),
        RosterChange::HandOver { from, to } => map.text("entry", from).text("to", to),
    }
}

pub(super) fn step_in(reader: &Reader<'_>) -> Result<RosterStep, RecordError> {
    reader.only(&["etcd", "at", "change", "member", "life", "entry", "to"])?;
    let etcd = reader.get("etcd")?;
    etcd.only(&["clientPort", "peerPort"])?;
    let entry = || entry_id(&reader.get("entry")?);
    let word = reader.get("change")?;
    Ok(RosterStep {
        keeper: Keeper::Etcd(EtcdKeeper {
            client_port: etcd.get("clientPort")?.number()?,
            peer_port: etcd.get("peerPort")?.number()?,
        }),
        at: reader.get("at")?.string()?,
        seat: decode::seat_id(reader)?,
        change: match word.text()? {
            "addMember" => RosterChange::Add,
            "removeMember" => RosterChange::Remove(entry()?),
            "promoteMember" => RosterChange::Promote(entry()?),
            "moveLeader" => RosterChange::HandOver {
                from: entry()?,
                to: entry_id(&reader.get("to")?)?,
            },
            other => return Err(word.error(format!("is no known word: {other}"))),
        },
    })
}

#[cfg(test)]
mod tests;
