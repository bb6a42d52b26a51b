//! The places of quorum groups' members: what is attached to them, and the address that they keep.
//!
//! ```text
//! <base>/<provider>/places/<life>.<member>/
//!     place.json           whose it is, and its address
//!     attachments/<name>/  what is attached: it outlives every instance that has the place
//!     lock                 held by the shim of the instance that has the place, and by all that it started
//! ```
//!
//! A place is made when an instance or a peer of one is, and never removed by the agent: only a person
//! knows when nobody needs what is attached to it any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use drover_model::{FleetName, GroupName, GroupUid, MemberId, SeatId};
use serde::{Deserialize, Serialize};

use crate::address;
use crate::folder::{Root, make_dir_all, open_lock, write_atomically};
use crate::record::{self, VERSION};

/// `place.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlaceRecord {
    version: u32,
    fleet: String,
    group: String,
    life: String,
    member: String,
    address: String,
}

/// The place of one member in one life of its group.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    path: PathBuf,
}

impl Place {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn of(root: &Root, seat: &SeatId) -> Self {
        // Neither a life nor a member has a dot in it.
        let name = format!("{}.{}", seat.life, seat.member);
        Self::at(root.places().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of an attachment, whether or not it exists.
    pub(crate) fn attachment(&self, name: &str) -> PathBuf {
        self.path.join("attachments").join(name)
    }

    /// Makes the place if it is missing, and returns its address: the same one for good. The caller
    /// holds the lock of the base.
    pub(crate) fn claim(
        &self,
        root: &Root,
        fleet: &FleetName,
        group: &GroupName,
        seat: &SeatId,
    ) -> io::Result<String> {
        let file = self.path.join("place.json");
        if let Some(known) = record::read::<PlaceRecord>(&file)? {
            if known.version != VERSION {
                let version = known.version;
                return Err(io::Error::other(format!("format {version} is not known")));
            }
            if known.fleet != fleet.as_str() || known.group != group.as_str() {
                let (fleet, group) = (known.fleet, known.group);
                return Err(io::Error::other(format!(
                    "the place is of group {group} in fleet {fleet}"
                )));
            }
            return Ok(known.address);
        }
        make_dir_all(&self.path)?;
        let key = format!("{fleet} {group} {} {}", seat.life, seat.member);
        let address = address::claim(root.base(), &self.path, &key)?;
        let made = PlaceRecord {
            version: VERSION,
            fleet: fleet.to_string(),
            group: group.to_string(),
            life: seat.life.to_string(),
            member: seat.member.to_string(),
            address: address.clone(),
        };
        write_atomically(&file, &record::encode(&made)?)?;
        Ok(address)
    }

    /// Makes the folders of attachments. The caller holds the lock of the base.
    pub(crate) fn attach<'a>(&self, names: impl Iterator<Item = &'a str>) -> io::Result<()> {
        for name in names {
            make_dir_all(&self.attachment(name))?;
        }
        Ok(())
    }

    /// Takes the place for as long as the file is open, here or in a process that inherits it. None:
    /// somebody has it.
    pub(crate) fn try_take(&self) -> io::Result<Option<File>> {
        let file = open_lock(&self.path.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The places of a fleet.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Those that have something attached.
    pub(crate) attached: BTreeSet<(GroupName, SeatId)>,
    /// Where they are.
    pub(crate) addresses: BTreeMap<(GroupName, SeatId), String>,
}

/// Returns the places of a fleet.
pub(crate) fn known(root: &Root, fleet: &FleetName) -> io::Result<Known> {
    let mut found = Known::default();
    for entry in fs::read_dir(root.places())? {
        let place = Place::at(entry?.path());
        let Some(known) = record::read::<PlaceRecord>(&place.path.join("place.json"))? else {
            // Being made: nothing is attached before it is whole.
            continue;
        };
        let attachments = place.path.join("attachments");
        let any = fs::read_dir(attachments).is_ok_and(|mut entries| entries.next().is_some());
        if known.fleet != fleet.as_str() {
            continue;
        }
        let parsed = GroupName::parse(&known.group).and_then(|group| {
            let life = GroupUid::parse(&known.life)?;
            let member = MemberId::parse(&known.member)?;
            Ok((group, SeatId { life, member }))
        });
        let place = parsed.map_err(io::Error::other)?;
        if any {
            found.attached.insert(place.clone());
        }
        found.addresses.insert(place, known.address);
    }
    Ok(found)
}

/// Returns the environment variable that names an attachment's folder.
pub(crate) fn variable(attachment: &str) -> String {
    let name = attachment.to_ascii_uppercase().replace('-', "_");
    format!("DROVER_ATTACHMENT_{name}")
}
