//! The local store: what must survive a restart, as blobs of the journal. Authoritative; the state
//! branch is its published copy.

use std::collections::BTreeMap;
use std::sync::Arc;

use drover_apply::{Journal, JournalChange, JournalError, write_journal};
use drover_model::{
    Absence, GroupName, IdError, InstanceId, InstanceMemory, Recommendation, RecordedGroup,
    Revision, Timestamp,
};
use drover_spec::record::{self, FleetDocuments, RecordedFleet};
use serde::{Deserialize, Serialize};

use crate::deletion::SeenUnder;
use crate::first_look::FirstLook;
use crate::fleet::GUARDS_MAX;
use crate::lease::Lease;
use crate::removals::Removals;

const AGENT: &str = "agent";
const FLEET: &str = "fleet";
const GUARDS: &str = "guards/";
const APPLIED: &str = "applied";
const ALSO_APPLIED: &str = "applied-also";
const FREEZE: &str = "freeze";
const REMOVALS: &str = "removals";
const CLOCK: &str = "clock";
const FIRST_LOOK: &str = "first-look";
const GROUP: &str = "group/";
const MEMORY: &str = "memory/";
const META: &str = "meta/";
const SIZES: &str = "sizes/";
const INPUTS: &str = "inputs/";

/// Why the local store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The journal cannot be read or written.
    #[error("use the journal")]
    Journal(#[from] JournalError),
    /// A blob cannot be decoded.
    #[error("read {key} of the local store: {message}")]
    Decode {
        /// The blob's key.
        key: String,
        /// What is wrong with it.
        message: String,
    },
}

/// What is kept with a group beside its recorded state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroupMeta {
    /// Where its document was last seen.
    pub(crate) seen: Option<SeenUnder>,
    /// The file in which its document was last seen. None: not since this is noted.
    #[serde(default)]
    pub(crate) file: Option<String>,
    /// A digest of what was last committed about it.
    pub(crate) committed: Option<String>,
    /// Why it is not removed although its document is gone, until that is back. For people.
    #[serde(default)]
    pub(crate) unconfirmed: Option<String>,
    /// Who wrote what is not in force yet, the oldest first. Empty: everything is.
    #[serde(default)]
    pub(crate) waiting: Vec<WaitingAuthors>,
}

/// Who wrote what one look at the source found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WaitingAuthors {
    /// The commit that was looked at.
    pub(crate) revision: String,
    /// The last commit in which nothing more was written.
    pub(crate) until: String,
    /// Their addresses.
    pub(crate) authors: Vec<String>,
    /// Whether there may be others.
    pub(crate) unknown: bool,
}

/// One group as stored.
#[derive(Debug)]
pub(crate) struct StoredGroup {
    pub(crate) recorded: RecordedGroup,
    pub(crate) memory: BTreeMap<InstanceId, InstanceMemory>,
    pub(crate) recommendations: Vec<Recommendation>,
    pub(crate) meta: GroupMeta,
    /// What its latest plan was made from, where no commit tells of that yet.
    pub(crate) inputs: Option<Arc<[u8]>>,
}

/// The agent frozen by a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Freeze {
    /// Who or what froze it, for people.
    pub by: String,
    /// The groups. Empty: all of them.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// Everything in the store at the start.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) lease: Option<Lease>,
    pub(crate) fleet: Option<RecordedFleet>,
    /// Earlier policies that still judge, oldest first.
    pub(crate) guards: Vec<FleetDocuments>,
    pub(crate) applied: Option<Revision>,
    /// What else the source has to descend from.
    pub(crate) also_applied: Vec<Revision>,
    pub(crate) freeze: Vec<Freeze>,
    pub(crate) removals: Removals,
    pub(crate) clock: Option<Timestamp>,
    /// What is known since the start with an empty data directory. None: everything.
    pub(crate) first_look: Option<FirstLook>,
    pub(crate) groups: BTreeMap<GroupName, StoredGroup>,
}

/// Access to the blobs.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    journal: Arc<dyn Journal>,
}

type Entry = (String, Option<Vec<u8>>);

impl Store {
    pub(crate) fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal }
    }

    /// Reads everything. Blocks.
    pub(crate) fn load(&self) -> Result<Stored, StoreError> {
        let mut stored = Stored {
            lease: self.json(AGENT)?,
            fleet: self.fleet(FLEET)?,
            freeze: self.json(FREEZE)?.unwrap_or_default(),
            removals: self.json(REMOVALS)?.unwrap_or_default(),
            first_look: self.json(FIRST_LOOK)?,
            ..Stored::default()
        };
        for key in self.journal.keys(GUARDS)? {
            stored
                .guards
                .extend(self.fleet(&key)?.map(|guard| guard.documents));
        }
        if let Some(text) = self.text(APPLIED)? {
            stored.applied = Some(Revision::parse(&text).map_err(|e| decode(APPLIED, &e))?);
        }
        let also: Option<Vec<String>> = self.json(ALSO_APPLIED)?;
        for text in also.into_iter().flatten() {
            let revision = Revision::parse(&text).map_err(|e| decode(ALSO_APPLIED, &e))?;
            stored.also_applied.push(revision);
        }
        if let Some(text) = self.text(CLOCK)? {
            stored.clock = Some(text.parse().map_err(|e| decode(CLOCK, &e))?);
        }
        for key in self.journal.keys(GROUP)? {
            let name = GroupName::parse(&key[GROUP.len()..]).map_err(|e| decode(&key, &e))?;
            if let Some(group) = self.group(&name)? {
                stored.groups.insert(name, group);
            }
        }
        Ok(stored)
    }

    /// Reads one group. Blocks.
    pub(crate) fn group(&self, name: &GroupName) -> Result<Option<StoredGroup>, StoreError> {
        let key = format!("{GROUP}{name}");
        let Some(text) = self.text(&key)? else {
            return Ok(None);
        };
        let recorded = record::decode(&text).map_err(|error| decode(&key, &error))?;
        let key = format!("{MEMORY}{name}");
        let memory: Option<Vec<StoredMemory>> = self.json(&key)?;
        let memory = memory.into_iter().flatten();
        let memory: Result<_, IdError> = memory.map(StoredMemory::restore).collect();
        let sizes: Option<Vec<(i64, u32, u32)>> = self.json(&format!("{SIZES}{name}"))?;
        let sizes = sizes.into_iter().flatten();
        let recommendations = sizes.map(|(since, least, most)| Recommendation {
            since: time(since),
            least,
            most,
        });
        Ok(Some(StoredGroup {
            recorded,
            recommendations: recommendations.collect(),
            memory: memory.map_err(|error| decode(&key, &error))?,
            meta: self.json(&format!("{META}{name}"))?.unwrap_or_default(),
            inputs: self.journal.get(&format!("{INPUTS}{name}"))?.map(Arc::from),
        }))
    }

    fn fleet(&self, key: &str) -> Result<Option<RecordedFleet>, StoreError> {
        let text = self.text(key)?;
        let fleet = text.map(|text| record::decode_fleet(&text)).transpose();
        fleet.map_err(|error| decode(key, &error))
    }

    fn text(&self, key: &str) -> Result<Option<String>, StoreError> {
        let bytes = self.journal.get(key)?;
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|error| decode(key, &error))
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let bytes = self.journal.get(key)?;
        let value = bytes.map(|bytes| serde_json::from_slice(&bytes));
        value.transpose().map_err(|error| decode(key, &error))
    }

    /// Makes `batch` durable as a whole.
    pub(crate) async fn write(&self, batch: Batch) -> Result<(), JournalError> {
        if batch.0.is_empty() {
            return Ok(());
        }
        let change = JournalChange::Put(batch.0);
        write_journal(&*self.journal, vec![change]).await.map(drop)
    }
}

fn decode(key: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Decode {
        key: key.to_owned(),
        message: error.to_string(),
    }
}

/// Blobs to be written as a whole.
#[derive(Debug, Default, Clone)]
pub(crate) struct Batch(Vec<Entry>);

impl Batch {
    fn put(&mut self, key: impl Into<String>, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.0.push((key.into(), Some(bytes.into())));
        self
    }

    fn json(&mut self, key: impl Into<String>, value: &impl Serialize) -> &mut Self {
        self.put(
            key,
            serde_json::to_vec(value).expect("texts and numbers encode"),
        )
    }

    pub(crate) fn lease(&mut self, lease: &Lease) -> &mut Self {
        self.json(AGENT, lease)
    }

    pub(crate) fn fleet(&mut self, fleet: &RecordedFleet) -> &mut Self {
        self.put(FLEET, record::encode_fleet(fleet))
    }

    /// Replaces the earlier policies.
    pub(crate) fn guards(&mut self, guards: &[RecordedFleet]) -> &mut Self {
        for position in 0..GUARDS_MAX {
            let guard = guards.get(position);
            let bytes = guard.map(|guard| record::encode_fleet(guard).into_bytes());
            self.0.push((format!("{GUARDS}{position:03}"), bytes));
        }
        self
    }

    pub(crate) fn applied(&mut self, revision: &Revision) -> &mut Self {
        self.put(APPLIED, revision.as_str())
    }

    /// Keeps what else the source has to descend from. Nothing: what it had to descend from it did.
    pub(crate) fn also_applied(&mut self, revisions: &[Revision]) -> &mut Self {
        let texts: Vec<&str> = revisions.iter().map(Revision::as_str).collect();
        if texts.is_empty() {
            self.0.push((ALSO_APPLIED.to_owned(), None));
            return self;
        }
        self.json(ALSO_APPLIED, &texts)
    }

    pub(crate) fn freeze(&mut self, freeze: &[Freeze]) -> &mut Self {
        self.json(FREEZE, &freeze)
    }

    pub(crate) fn removals(&mut self, removals: &Removals) -> &mut Self {
        self.json(REMOVALS, removals)
    }

    pub(crate) fn clock(&mut self, now: Timestamp) -> &mut Self {
        self.put(CLOCK, now.to_string())
    }

    /// Keeps what is known since the start with an empty data directory. None: everything is.
    pub(crate) fn first_look(&mut self, look: Option<&FirstLook>) -> &mut Self {
        let bytes = look.map(|look| serde_json::to_vec(look).expect("texts encode"));
        self.0.push((FIRST_LOOK.to_owned(), bytes));
        self
    }

    pub(crate) fn recorded(&mut self, recorded: &RecordedGroup) -> &mut Self {
        self.put(
            format!("{GROUP}{}", recorded.name),
            record::encode(recorded),
        )
    }

    pub(crate) fn memory(
        &mut self,
        group: &GroupName,
        memory: &BTreeMap<InstanceId, InstanceMemory>,
    ) -> &mut Self {
        let stored: Vec<StoredMemory> = memory.iter().map(StoredMemory::of).collect();
        self.json(format!("{MEMORY}{group}"), &stored)
    }

    pub(crate) fn recommendations(
        &mut self,
        group: &GroupName,
        recommendations: &[Recommendation],
    ) -> &mut Self {
        let sizes = recommendations
            .iter()
            .map(|entry| (nanoseconds(entry.since), entry.least, entry.most));
        let sizes: Vec<(i64, u32, u32)> = sizes.collect();
        self.json(format!("{SIZES}{group}"), &sizes)
    }

    pub(crate) fn meta(&mut self, group: &GroupName, meta: &GroupMeta) -> &mut Self {
        self.json(format!("{META}{group}"), meta)
    }

    /// Keeps what the latest plan was made from, until a commit tells of it.
    pub(crate) fn inputs(&mut self, group: &GroupName, inputs: &[u8]) -> &mut Self {
        self.put(format!("{INPUTS}{group}"), inputs)
    }

    /// Lets go of what [`Batch::inputs`] keeps.
    pub(crate) fn forget_inputs(&mut self, group: &GroupName) -> &mut Self {
        self.0.push((format!("{INPUTS}{group}"), None));
        self
    }

    pub(crate) fn forget(&mut self, group: &GroupName) -> &mut Self {
        for prefix in [GROUP, MEMORY, META, SIZES, INPUTS] {
            self.0.push((format!("{prefix}{group}"), None));
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The local encoding of [`InstanceMemory`], times in nanoseconds: no promise to anybody.
#[derive(Debug, Serialize, Deserialize)]
struct StoredMemory {
    id: String,
    seen: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    healthy: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ready: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failing: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restarted: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<i64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    completed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    absent: Option<(i64, i64, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notice: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease: Option<i64>,
}

/// Nanoseconds since 1970 as they fit: until the year 2262.
fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::MAX)
}

impl StoredMemory {
    fn of((id, memory): (&InstanceId, &InstanceMemory)) -> Self {
        let absent = memory.absent.map(|absent| {
            let (since, last) = (nanoseconds(absent.since), nanoseconds(absent.last));
            (since, last, absent.listings)
        });
        Self {
            id: id.to_string(),
            seen: nanoseconds(memory.first_seen),
            healthy: memory.healthy_since.map(nanoseconds),
            ready: memory.ready_at.map(nanoseconds),
            failing: memory.failing_since.map(nanoseconds),
            unknown: memory.unknown_since.map(nanoseconds),
            restarted: memory.restarted_at.map(nanoseconds),
            changed: memory.changed_at.map(nanoseconds),
            completed: memory.completed,
            absent,
            lost: memory.lost_at.map(nanoseconds),
            notice: memory.notice.map(nanoseconds),
            lease: memory.lease.map(nanoseconds),
        }
    }

    fn restore(self) -> Result<(InstanceId, InstanceMemory), IdError> {
        let absent = self.absent.map(|(since, last, listings)| Absence {
            since: time(since),
            last: time(last),
            listings,
        });
        let memory = InstanceMemory {
            first_seen: time(self.seen),
            healthy_since: self.healthy.map(time),
            ready_at: self.ready.map(time),
            failing_since: self.failing.map(time),
            unknown_since: self.unknown.map(time),
            restarted_at: self.restarted.map(time),
            changed_at: self.changed.map(time),
            completed: self.completed,
            absent,
            lost_at: self.lost.map(time),
            notice: self.notice.map(time),
            lease: self.lease.map(time),
            // Whoever starts anew asks anew.
            unanswered: None,
            unheeded: None,
        };
        Ok((InstanceId::parse(&self.id)?, memory))
    }
}
