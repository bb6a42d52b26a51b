//! The journal on disk: one redb file, one thread that writes it.
//!
//! Intents and numbers are also held in memory, where reads find them; blobs are read from the file.
//! The writing thread takes every write that waits, commits them in one transaction, and answers all.
//! After a failed commit it is not known what the file holds, so the file is opened and read anew
//! before the next write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use drover_model::{Epoch, GroupName, Intent, IntentId};
use redb::{
    Builder, Database, Durability, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition, TableError, WriteTransaction,
};

use super::encoding::{FORMAT, decode, encode};
use super::lock::{DirLock, storage};
use super::state::{Delta, GroupMarks, Staged, State};
use super::{Attempted, Journal, JournalChange, JournalError, Reply};

/// The journal's file in the data directory.
const FILE: &str = "journal.redb";
/// Where a new journal is made. It gets its name when it is complete, so an empty or half-made file
/// under the real name is damage and never taken for a new journal.
const FILE_NEW: &str = "journal.redb.new";

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const INTENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("intents");
const GROUPS: TableDefinition<'_, &str, (u64, u64)> = TableDefinition::new("groups");
const BLOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("blobs");

const META_FORMAT: &str = "format";
const META_NEXT_INTENT: &str = "next_intent";

/// Most writes in one transaction. Bounds the memory of a commit; a thousand groups fit at once.
const COMMIT_WRITES_MAX: usize = 1024;
/// Page cache. Only the tree's inner pages are read again and again; recorded state is read at the start
/// and then only written.
const CACHE_BYTES: usize = 2 << 20;

/// A write that waits for its commit, and who is to be told.
type Queued = (Vec<JournalChange>, Reply);
type Open = Box<dyn Fn() -> Result<Database, JournalError> + Send + Sync>;

/// The journal on disk. One per data directory, held by a file lock until it is dropped.
pub struct RedbJournal {
    shared: Arc<Shared>,
    queue: Mutex<Option<mpsc::Sender<Queued>>>,
    writer: Option<JoinHandle<()>>,
    _lock: Option<DirLock>,
}

struct Shared {
    path: PathBuf,
    state: RwLock<State>,
    /// None after a failed write, until the file could be opened and read again.
    database: Mutex<Option<Arc<Database>>>,
    open: Open,
}

impl fmt::Debug for RedbJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbJournal")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

impl RedbJournal {
    /// Opens the journal in `dir`, which is made where it is missing, and locks the directory.
    ///
    /// # Errors
    ///
    /// - `Locked`: another agent uses the directory.
    /// - `NewerFormat`: a newer drover wrote it.
    /// - `Damaged`: the file is no journal, or not all of it can be read. It is left as it is.
    /// - `Storage`: the file system refused.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let lock = DirLock::take(dir)?;
        let path = dir.join(FILE);
        if !path.exists() {
            create(dir)?;
        }
        let file = path.clone();
        let open: Open = Box::new(move || open_file(&file));
        Self::start(path, open, Some(lock))
    }

    /// Starts on whatever `open` opens; tests pass storage that fails.
    pub(crate) fn start(
        path: PathBuf,
        open: Open,
        lock: Option<DirLock>,
    ) -> Result<Self, JournalError> {
        let database = open()?;
        let state = load(&database, &path)?;
        let shared = Arc::new(Shared {
            path,
            state: RwLock::new(state),
            database: Mutex::new(Some(Arc::new(database))),
            open,
        });
        let (sender, receiver) = mpsc::channel();
        let of_writer = shared.clone();
        let writer = std::thread::Builder::new()
            .name("drover-journal".to_owned())
            .spawn(move || of_writer.serve(&receiver))
            .map_err(|error| storage(Attempted::Open, shared.path.clone(), error))?;
        Ok(Self {
            shared,
            queue: Mutex::new(Some(sender)),
            writer: Some(writer),
            _lock: lock,
        })
    }
}

impl Drop for RedbJournal {
    fn drop(&mut self) {
        // Without a sender the writer finishes what it has and ends; then the lock may go.
        self.queue
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Journal for RedbJournal {
    fn open_intents(&self, group: &GroupName) -> Result<Vec<Intent>, JournalError> {
        Ok(self.shared.read_state(|state| state.open_intents(group)))
    }

    fn groups(&self) -> Result<BTreeSet<GroupName>, JournalError> {
        Ok(self.shared.read_state(State::open_groups))
    }

    fn last_number(&self, group: &GroupName) -> Result<u64, JournalError> {
        Ok(self.shared.read_state(|state| state.last_number(group)))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, JournalError> {
        self.shared.read(|database| {
            let table = database.begin_read()?.open_table(BLOBS)?;
            let found = table.get(key)?;
            Ok(found.map(|blob| blob.value().to_vec()))
        })
    }

    fn keys(&self, prefix: &str) -> Result<Vec<String>, JournalError> {
        self.shared.read(|database| {
            let table = database.begin_read()?.open_table(BLOBS)?;
            let mut keys = Vec::new();
            for entry in table.range(prefix..)? {
                let (key, _) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                keys.push(key.value().to_owned());
            }
            Ok(keys)
        })
    }

    fn submit(&self, changes: Vec<JournalChange>, reply: Reply) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match queue.as_ref() {
            Some(queue) => queue.send((changes, reply)).err().map(|error| error.0.1),
            None => Some(reply),
        };
        drop(queue);
        if let Some(reply) = refused {
            reply(Err(JournalError::Closed));
        }
    }
}

impl Shared {
    fn read_state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        // Only `merge` and assignment write the state, and neither panics half-way.
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, JournalError> {
        let database = self.database()?;
        let contained = catch_unwind(AssertUnwindSafe(|| read(&database)));
        match contained {
            Ok(result) => result.map_err(|error| self.failed(Attempted::Read, error)),
            Err(_) => Err(self.panicked()),
        }
    }

    /// Returns the open database; opens it again after a failure.
    fn database(&self) -> Result<Arc<Database>, JournalError> {
        let mut database = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = database.as_ref() {
            return Ok(database.clone());
        }
        let opened = (self.open)()?;
        let state = load(&opened, &self.path)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(database.insert(Arc::new(opened)).clone())
    }

    fn serve(&self, queue: &mpsc::Receiver<Queued>) {
        while let Ok(first) = queue.recv() {
            let mut writes = vec![first];
            while writes.len() < COMMIT_WRITES_MAX {
                match queue.try_recv() {
                    Ok(write) => writes.push(write),
                    Err(_) => break,
                }
            }
            self.commit(writes);
        }
    }

    /// Commits the accepted ones of `writes` together and answers all of them.
    fn commit(&self, writes: Vec<Queued>) {
        let database = match self.database() {
            Ok(database) => database,
            Err(error) => return refuse(writes.into_iter().map(|(_, reply)| reply), &error),
        };
        let mut accepted = Vec::new();
        let delta = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            let mut staged = Staged::on(&state);
            for (changes, reply) in writes {
                match staged.apply(changes) {
                    Ok(ids) => accepted.push((ids, reply)),
                    Err(error) => reply(Err(error)),
                }
            }
            staged.delta
        };
        let contained = catch_unwind(AssertUnwindSafe(|| store(&database, &delta)));
        let error = match contained {
            Ok(Ok(())) => {
                let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                state.merge(delta);
                drop(state);
                for (ids, reply) in accepted {
                    reply(Ok(ids));
                }
                return;
            }
            Ok(Err(error)) => self.failed(Attempted::Write, error),
            Err(_) => self.panicked(),
        };
        // Closing may fail like the write did; the file is read anew anyway.
        drop(database);
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = None;
        refuse(accepted.into_iter().map(|(_, reply)| reply), &error);
    }

    fn failed(&self, attempted: Attempted, error: redb::Error) -> JournalError {
        classify(attempted, &self.path, error)
    }

    fn panicked(&self) -> JournalError {
        JournalError::Damaged {
            path: self.path.clone(),
            what: "the storage engine gave up on its content".to_owned(),
        }
    }
}

fn refuse(replies: impl Iterator<Item = Reply>, error: &JournalError) {
    for reply in replies {
        reply(Err(error.clone()));
    }
}

/// Writes `delta` in one durable transaction. Nothing to write costs nothing.
fn store(database: &Database, delta: &Delta) -> Result<(), redb::Error> {
    if delta.intents.is_empty() && delta.groups.is_empty() && delta.blobs.is_empty() {
        return Ok(());
    }
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    store_rows(&transaction, delta)?;
    transaction.commit()?;
    Ok(())
}

fn store_rows(transaction: &WriteTransaction, delta: &Delta) -> Result<(), redb::Error> {
    if let Some(next) = delta.next_intent {
        transaction
            .open_table(META)?
            .insert(META_NEXT_INTENT, next)?;
    }
    if !delta.intents.is_empty() {
        let mut table = transaction.open_table(INTENTS)?;
        for (id, intent) in &delta.intents {
            match intent {
                Some(intent) => {
                    let row = encode(intent).map_err(unencodable)?;
                    table.insert(id.0, row.as_slice())?;
                }
                None => drop(table.remove(id.0)?),
            }
        }
    }
    if !delta.groups.is_empty() {
        let mut table = transaction.open_table(GROUPS)?;
        for (group, marks) in &delta.groups {
            table.insert(group.as_str(), (marks.last_number, marks.epoch.0))?;
        }
    }
    if !delta.blobs.is_empty() {
        let mut table = transaction.open_table(BLOBS)?;
        for (key, blob) in &delta.blobs {
            match blob {
                Some(blob) => drop(table.insert(key.as_str(), blob.as_slice())?),
                None => drop(table.remove(key.as_str())?),
            }
        }
    }
    Ok(())
}

fn unencodable(what: String) -> redb::Error {
    redb::Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidInput, what))
}

/// Makes a new, empty journal under its real name, durable before it is used.
fn create(dir: &Path) -> Result<(), JournalError> {
    let new = dir.join(FILE_NEW);
    let refused = |error| storage(Attempted::Create, new.clone(), error);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(refused(error)),
        Ok(()) | Err(_) => {}
    }
    let database = builder()
        .create(&new)
        .map_err(|error| classify(Attempted::Create, &new, error.into()))?;
    initialize(&database).map_err(|error| classify(Attempted::Create, &new, error))?;
    drop(database);
    std::fs::rename(&new, dir.join(FILE)).map_err(refused)?;
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(refused)
}

/// Makes the tables, so that a reader finds them.
pub(crate) fn initialize(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
    transaction.open_table(INTENTS)?;
    transaction.open_table(GROUPS)?;
    transaction.open_table(BLOBS)?;
    transaction.commit()?;
    Ok(())
}

pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    // Without the check, a file that something else altered may panic later.
    builder.set_check_integrity_on_open(true);
    builder
}

fn open_file(path: &Path) -> Result<Database, JournalError> {
    let damaged = |what: &str| JournalError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    match catch_unwind(AssertUnwindSafe(|| builder().open(path))) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(classify(Attempted::Open, path, error.into())),
        Err(_) => Err(damaged("the storage engine gave up on its content")),
    }
}

/// Sorts what redb says into damage, which no retry heals, and refusals of the file system.
fn classify(attempted: Attempted, path: &Path, error: redb::Error) -> JournalError {
    let damaged = |what: String| JournalError::Damaged {
        path: path.to_owned(),
        what,
    };
    match error {
        redb::Error::Corrupted(what) => damaged(what),
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            damaged(error.to_string())
        }
        redb::Error::UpgradeRequired(version) => {
            damaged(format!("it has the storage format {version}"))
        }
        redb::Error::TableDoesNotExist(table) => damaged(format!("the table {table} is missing")),
        redb::Error::Io(error) => storage(attempted, path.to_owned(), error),
        error => storage(attempted, path.to_owned(), error),
    }
}

/// Reads everything but the blobs.
fn load(database: &Database, path: &Path) -> Result<State, JournalError> {
    let contained = catch_unwind(AssertUnwindSafe(|| load_rows(database, path)));
    contained.unwrap_or_else(|_| {
        Err(JournalError::Damaged {
            path: path.to_owned(),
            what: "the storage engine gave up on its content".to_owned(),
        })
    })
}

fn load_rows(database: &Database, path: &Path) -> Result<State, JournalError> {
    let damaged = |what: String| JournalError::Damaged {
        path: path.to_owned(),
        what,
    };
    let transaction = database
        .begin_read()
        .map_err(|error| classify(Attempted::Read, path, error.into()))?;
    let of_table = |error: TableError| classify(Attempted::Read, path, error.into());
    let of_row = |error: StorageError| classify(Attempted::Read, path, error.into());

    // The format first: a newer one may have other tables.
    let meta = transaction.open_table(META).map_err(of_table)?;
    let format = meta.get(META_FORMAT).map_err(of_row)?;
    let format = format.ok_or_else(|| damaged("it names no format".to_owned()))?;
    if format.value() > FORMAT {
        return Err(JournalError::NewerFormat {
            path: path.to_owned(),
            found: format.value(),
            supported: FORMAT,
        });
    }
    let next = meta.get(META_NEXT_INTENT).map_err(of_row)?;
    let next = next.map_or(1, |next| next.value());

    let mut intents = BTreeMap::new();
    let table = transaction.open_table(INTENTS).map_err(of_table)?;
    for row in table.iter().map_err(of_row)? {
        let (key, bytes) = row.map_err(of_row)?;
        let id = IntentId(key.value());
        let intent =
            decode(id, bytes.value()).map_err(|what| damaged(format!("intent {id}: {what}")))?;
        intents.insert(id, intent);
    }
    let mut groups = BTreeMap::new();
    let table = transaction.open_table(GROUPS).map_err(of_table)?;
    for row in table.iter().map_err(of_row)? {
        let (key, marks) = row.map_err(of_row)?;
        let group = GroupName::parse(key.value())
            .map_err(|error| damaged(format!("group {:?} {error}", key.value())))?;
        let (last_number, epoch) = marks.value();
        let marks = GroupMarks {
            last_number,
            epoch: Epoch(epoch),
        };
        groups.insert(group, marks);
    }
    Ok(State::from_parts(next, intents, groups))
}
