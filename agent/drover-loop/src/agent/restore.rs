//! An empty data directory: what the state branch has is taken up, where somebody who counts signed it or a person
//! answers for it.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{Epoch, GroupName, RecordedGroup, Revision};
use drover_spec::record::{self, RecordedFleet};
use tracing::{info, warn};

use super::desired::rests_on;
use super::{Agent, authors};
use crate::deletion::SeenUnder;
use crate::entry::GroupEntry;
use crate::fleet::Fleet;
use crate::inputs;
use crate::recorder::{FLEET_FILE, Recorder, RecorderError};
use crate::store::{Batch, GroupMeta, StoredGroup};

/// What the state branch has.
#[derive(Debug, Default)]
pub(super) struct Restored {
    pub(super) groups: BTreeMap<GroupName, (RecordedGroup, Option<SeenUnder>)>,
    fleet: Option<RecordedFleet>,
    unreadable: BTreeMap<String, String>,
}

/// A tip of the state branch that a person answers for, and who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AcceptedState {
    pub(super) tip: Revision,
    pub(super) by: String,
}

/// Returns whether the state branch is believed: the tip that the next commit has to say is believed for a person's word
/// alone, with who gave it.
pub(super) fn vouch(
    recorder: &mut dyn Recorder,
    accepted: Option<&AcceptedState>,
) -> Result<Option<AcceptedState>, RecorderError> {
    let tip = recorder.vouch(accepted.map(|accepted| &accepted.tip))?;
    let by = accepted.map(|accepted| accepted.by.clone());
    Ok(tip.zip(by).map(|(tip, by)| AcceptedState { tip, by }))
}

impl Agent {
    /// Takes up what the state branch has for a dry run, which holds no lease.
    pub(super) fn take_view(&mut self, restored: Result<Restored, RecorderError>) {
        match restored {
            Ok(restored) => {
                let epoch = self.tenure.epoch();
                self.restore(restored, epoch, &mut Batch::default());
            }
            Err(error) => self.write_back.failure = Some(error.to_string()),
        }
    }

    /// Takes up what the state branch has, with an empty data directory.
    pub(super) fn restore(&mut self, restored: Restored, epoch: Epoch, batch: &mut Batch) {
        self.whereabouts.begin(batch);
        for (name, (mut recorded, seen)) in restored.groups {
            recorded.epoch = epoch;
            let committed = Some(crate::material::digest(&recorded));
            let meta = GroupMeta {
                seen,
                file: None,
                committed,
                unconfirmed: None,
                waiting: authors::restored(&recorded),
            };
            batch.recorded(&recorded).meta(&name, &meta);
            let stored = StoredGroup {
                recorded,
                memory: BTreeMap::new(),
                recommendations: Vec::new(),
                meta,
                inputs: None,
            };
            let mut entry = GroupEntry::restored(stored);
            entry.blind = entry.meta.waiting.is_empty();
            self.groups.insert(name, entry);
        }
        if let Some(fleet) = restored.fleet {
            let known = Fleet::restore(Some(&fleet), &fleet.earlier);
            if let Some(revision) = &fleet.revision {
                batch.applied(revision);
                batch.guards(&known.record_earlier(revision));
            }
            batch.fleet(&RecordedFleet {
                earlier: Vec::new(),
                ..fleet.clone()
            });
            self.fleet = known;
            match fleet.revision {
                Some(revision) => self.stand_at(revision),
                None => self.applied = None,
            }
        }
        // Documents of groups are of later commits than the fleet's record tells of.
        let rests: BTreeSet<Revision> = self.groups.values().flat_map(rests_on).collect();
        let rests = rests.difference(&self.fleet.left_behind);
        let rests = rests.filter(|revision| self.applied.as_ref() != Some(revision));
        self.also_applied = rests.cloned().collect();
        batch.also_applied(&self.also_applied);
        for (path, why) in &restored.unreadable {
            warn!(path, error = why, "recorded state cannot be read");
        }
        self.unreadable = restored.unreadable;
        // It was read with nothing known that it could be judged by.
        self.snapshot = None;
        self.looks.anew = true;
        self.looks.asked = true;
        self.desired_stale = true;
        if !self.groups.is_empty() || !self.unreadable.is_empty() {
            info!(groups = self.groups.len(), "restored from the state branch");
        }
    }
}

/// Reads what the branch has. A file of one group that is larger than any may be, or that does not decode, costs that
/// group; the others are taken up.
pub(super) fn read_state(recorder: &mut dyn Recorder) -> Result<Restored, RecorderError> {
    let mut restored = Restored::default();
    for path in recorder.list("groups")? {
        match read(recorder, &path)? {
            None => {}
            Some(Err(why)) => {
                restored.unreadable.insert(path, why);
            }
            Some(Ok(text)) => match record::decode(&text) {
                Ok(recorded) => {
                    // Without its inputs the group is known all the same.
                    let inputs = read(recorder, &format!("inputs/{}.json", recorded.name))?;
                    let inputs = inputs.and_then(Result::ok);
                    let seen = inputs.and_then(|text| inputs::seen(text.as_bytes()));
                    restored
                        .groups
                        .insert(recorded.name.clone(), (recorded, seen));
                }
                Err(error) => {
                    restored.unreadable.insert(path, error.to_string());
                }
            },
        }
    }
    let fleet = match read(recorder, FLEET_FILE)? {
        None => return Ok(restored),
        Some(text) => {
            text.and_then(|text| record::decode_fleet(&text).map_err(|error| error.to_string()))
        }
    };
    match fleet {
        Ok(fleet) => restored.fleet = Some(fleet),
        Err(why) => {
            restored.unreadable.insert(FLEET_FILE.to_owned(), why);
        }
    }
    Ok(restored)
}

/// Reads a file's text; or says why it is none that can be taken up.
fn read(
    recorder: &mut dyn Recorder,
    path: &str,
) -> Result<Option<Result<String, String>>, RecorderError> {
    match recorder.read(path) {
        Ok(bytes) => Ok(bytes.map(|bytes| Ok(String::from_utf8_lossy(&bytes).into_owned()))),
        Err(RecorderError::TooLarge { message }) => Ok(Some(Err(message))),
        Err(error) => Err(error),
    }
}
