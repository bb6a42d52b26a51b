//! What is written into an instance's folder. Local to this machine and this crate; a format that
//! changes gets another `version`, and an agent that does not know it leaves the instance alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use drover_model::{
    Digests, Epoch, ExitReport, FleetName, GroupName, GroupUid, IdError, InstanceId, MemberId,
    Ownership, SeatId, Token,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::process::ProcessId;

/// The version of these files.
pub(crate) const VERSION: u32 = 1;

/// `instance.json`: what the instance is. Written once; a release takes the ownership out, and a change in
/// place puts another one there. `next.json`: what it is after the restart that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceRecord {
    pub(crate) version: u32,
    /// The hash of the call that made it, to tell a repeated call from another one.
    pub(crate) fingerprint: String,
    pub(crate) ownership: Option<OwnershipRecord>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) address: String,
    /// The zone that was asked for: a label, since all instances are on one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// Program and arguments, substituted.
    pub(crate) command: Vec<String>,
    /// The whole environment, substituted.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) working_dir: String,
    /// Whether there is an `init.sh`.
    pub(crate) init: bool,
    /// The folder of the member's place, which the shim takes before anything runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// Bytes of log that are kept.
    pub(crate) log_limit: u64,
    /// The token of the call that changed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) update: Option<String>,
}

/// The ownership tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnershipRecord {
    #[serde(rename = "drover.fleet")]
    fleet: String,
    #[serde(rename = "drover.group")]
    group: String,
    #[serde(rename = "drover.instance")]
    instance: String,
    #[serde(rename = "drover.digest")]
    digests: String,
    #[serde(rename = "drover.token")]
    token: String,
    #[serde(rename = "drover.epoch")]
    epoch: u64,
    #[serde(
        rename = "drover.member",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    member: Option<String>,
    #[serde(
        rename = "drover.life",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    life: Option<String>,
}

impl OwnershipRecord {
    pub(crate) fn new(ownership: &Ownership) -> Self {
        let seat = ownership.seat.as_ref();
        Self {
            fleet: ownership.fleet.to_string(),
            group: ownership.group.to_string(),
            instance: ownership.instance.to_string(),
            digests: ownership.digests.to_string(),
            token: ownership.token.to_string(),
            epoch: ownership.epoch.0,
            member: seat.map(|seat| seat.member.to_string()),
            life: seat.map(|seat| seat.life.to_string()),
        }
    }

    pub(crate) fn fleet(&self) -> &str {
        &self.fleet
    }

    pub(crate) fn parse(&self) -> Result<Ownership, IdError> {
        let seat = match (&self.member, &self.life) {
            (Some(member), Some(life)) => Some(SeatId {
                life: GroupUid::parse(life)?,
                member: MemberId::parse(member)?,
            }),
            (_, _) => None,
        };
        Ok(Ownership {
            seat,
            fleet: FleetName::parse(&self.fleet)?,
            group: GroupName::parse(&self.group)?,
            instance: InstanceId::parse(&self.instance)?,
            digests: Digests::parse(&self.digests)?,
            token: Token::parse(&self.token)?,
            epoch: Epoch(self.epoch),
        })
    }
}

/// `run.json`: what was started. Written by the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunRecord {
    /// The boot of the machine that the processes belong to.
    pub(crate) boot: String,
    pub(crate) shim: ProcessId,
    /// The process of the stage, once it was started.
    pub(crate) child: Option<ProcessId>,
    pub(crate) stage: Stage,
}

/// What the shim is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Stage {
    /// The init script, or about to begin with it.
    Init,
    /// The command.
    Command,
}

/// `stop.json`: that the instance is to end. Written by the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StopRecord {
    pub(crate) grace_ms: u64,
}

/// `exit.json`: how the instance ended. Written by the shim when no process of it is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExitRecord {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) message: String,
    /// RFC 3339.
    pub(crate) at: String,
}

impl From<ExitRecord> for ExitReport {
    fn from(record: ExitRecord) -> Self {
        Self {
            code: record.code,
            signal: record.signal,
            message: record.message,
        }
    }
}

/// Reads a file. None: there is no such file, or no such folder any more.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn encode<T: Serialize>(record: &T) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(record)?;
    bytes.push(b'\n');
    Ok(bytes)
}
