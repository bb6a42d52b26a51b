//! Where everything lies on disk, and how it gets there and away without ever being half there.
//!
//! ```text
//! <base>/.lock                    held while an instance is made; agents on one base take turns
//! <base>/.addresses/<address>     a link to the instance's folder: who has the address
//! <base>/<provider>/instances/<token>/
//!     instance.json               what it is; written before the folder gets its name
//!     init.sh  data/  log  log.1
//!     control                     a fifo: what the shim is asked
//!     lock                        held by the shim as long as it lives
//!     run.json  stop.json  exit.json
//!     next.json  next.sh          what it becomes by the restart that was asked for
//! <base>/<provider>/places/        see `place.rs`
//! <base>/<provider>/spent/<token> a token that made an instance which is gone
//! <base>/<provider>/trash/        folders on their way out
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use drover_model::ProviderName;
use rustix::fs::{CWD, Mode, OFlags};

use crate::record::{self, ExitRecord, InstanceRecord, RunRecord, StopRecord};

/// How long a spent token is remembered. A repeated call comes within an hour at most: the journal
/// keeps its intent open until a listing has settled it.
const SPENT_KEPT: Duration = Duration::from_hours(7 * 24);

/// The folders of one provider.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    base: PathBuf,
    own: PathBuf,
}

impl Root {
    /// Makes the folders where they are missing, and clears what crashed agents left.
    pub(crate) fn open(base: &Path, provider: &ProviderName) -> io::Result<Self> {
        let root = Self {
            base: base.to_owned(),
            own: base.join(provider.as_str()),
        };
        make_dir_all(&base.join(".addresses"))?;
        for name in ["instances", "places", "spent", "trash"] {
            make_dir_all(&root.own.join(name))?;
        }
        let _lock = root.lock()?;
        for entry in fs::read_dir(root.instances())? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                remove_all(&entry.path())?;
            }
        }
        let now = SystemTime::now();
        for entry in fs::read_dir(root.own.join("spent"))? {
            let entry = entry?;
            let age = now.duration_since(entry.metadata()?.modified()?);
            if age.is_ok_and(|age| age > SPENT_KEPT) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(root)
    }

    /// Waits for the lock that serialises the making of instances.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let file = open_lock(&self.base.join(".lock"))?;
        file.lock()?;
        Ok(file)
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    pub(crate) fn instances(&self) -> PathBuf {
        self.own.join("instances")
    }

    pub(crate) fn places(&self) -> PathBuf {
        self.own.join("places")
    }

    pub(crate) fn folder(&self, token: &str) -> Folder {
        Folder {
            path: self.instances().join(token),
        }
    }

    /// The folder of an instance that is being made.
    pub(crate) fn unfinished(&self, token: &str) -> Folder {
        Folder {
            path: self.instances().join(format!(".new-{token}")),
        }
    }

    pub(crate) fn is_spent(&self, token: &str) -> bool {
        self.own.join("spent").join(token).exists()
    }

    /// Deletes what is left in the trash of a deletion that was cut short.
    pub(crate) fn empty_trash(&self) {
        let entries = fs::read_dir(self.own.join("trash")).into_iter().flatten();
        for entry in entries.flatten() {
            if let Err(error) = remove_all(&entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "trash not deleted");
            }
        }
    }
}

/// The folder of one instance.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The instance's own data: `DROVER_DATA_DIR`.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    fn next(&self) -> PathBuf {
        self.path.join("next.json")
    }

    fn next_script(&self) -> PathBuf {
        self.path.join("next.sh")
    }

    pub(crate) fn script(&self) -> PathBuf {
        self.path.join("init.sh")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn shim_log(&self) -> PathBuf {
        self.path.join("shim.log")
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.path.join("control")
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.join("instance.json").exists()
    }

    pub(crate) fn record(&self) -> io::Result<Option<InstanceRecord>> {
        record::read(&self.path.join("instance.json"))
    }

    pub(crate) fn run(&self) -> io::Result<Option<RunRecord>> {
        record::read(&self.path.join("run.json"))
    }

    pub(crate) fn exit(&self) -> io::Result<Option<ExitRecord>> {
        record::read(&self.path.join("exit.json"))
    }

    pub(crate) fn stop(&self) -> io::Result<Option<StopRecord>> {
        record::read(&self.path.join("stop.json"))
    }

    pub(crate) fn write_record(&self, record: &InstanceRecord) -> io::Result<()> {
        write_atomically(&self.path.join("instance.json"), &record::encode(record)?)
    }

    /// Writes down what the instance becomes when it restarts. It stays what it is until then.
    pub(crate) fn write_next(
        &self,
        record: &InstanceRecord,
        script: Option<&str>,
    ) -> io::Result<()> {
        // The record last: it is what the shim looks for.
        if let Some(script) = script {
            write_atomically(&self.next_script(), script.as_bytes())?;
        }
        write_atomically(&self.next(), &record::encode(record)?)
    }

    /// Returns whether a restart was asked for and has not happened yet.
    pub(crate) fn restarts(&self) -> bool {
        self.next().exists()
    }

    /// Forgets what the instance was to become: its shim was never told.
    pub(crate) fn forget_next(&self) -> io::Result<()> {
        match fs::remove_file(self.next()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes the instance what it becomes by the change with this token. Its record is put in place as a
    /// whole, so that it says what the instance is, whenever anybody looks. None: there is no such change.
    /// The caller is its shim, and nothing of it runs.
    pub(crate) fn take_next(&self, update: &str) -> io::Result<Option<InstanceRecord>> {
        let next: Option<InstanceRecord> = record::read(&self.next())?;
        let Some(next) = next.filter(|next| next.update.as_deref() == Some(update)) else {
            return Ok(None);
        };
        if next.init {
            fs::rename(self.next_script(), self.script())?;
        }
        fs::rename(self.next(), self.path.join("instance.json"))?;
        sync_parent(&self.next())?;
        Ok(Some(next))
    }

    pub(crate) fn write_run(&self, run: &RunRecord) -> io::Result<()> {
        write_atomically(&self.path.join("run.json"), &record::encode(run)?)
    }

    pub(crate) fn write_exit(&self, exit: &ExitRecord) -> io::Result<()> {
        write_atomically(&self.path.join("exit.json"), &record::encode(exit)?)
    }

    pub(crate) fn write_stop(&self, stop: StopRecord) -> io::Result<()> {
        write_atomically(&self.path.join("stop.json"), &record::encode(&stop)?)
    }

    /// Makes an unfinished folder with everything but a run in it, and gives it its name.
    pub(crate) fn make(
        unfinished: &Self,
        finished: &Self,
        record: &InstanceRecord,
        script: Option<&str>,
    ) -> io::Result<()> {
        remove_all(&unfinished.path)?;
        make_dir_all(&unfinished.data())?;
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mkfifoat(CWD, unfinished.control(), mode)?;
        if let Some(script) = script {
            write_atomically(&unfinished.script(), script.as_bytes())?;
        }
        unfinished.write_record(record)?;
        fs::rename(&unfinished.path, &finished.path)?;
        sync_parent(&finished.path)
    }

    /// Takes the lock that a shim holds as long as it lives. None: a shim holds it.
    pub(crate) fn try_lock(&self) -> io::Result<Option<File>> {
        let file = open_lock(&self.path.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Tells the shim to end the instance. False: no shim listens.
    pub(crate) fn ask_to_stop(&self, stop: StopRecord) -> io::Result<bool> {
        self.ask(&format!("stop {}\n", stop.grace_ms))
    }

    /// Tells the shim to start the instance again with what was written down for it. False: no shim
    /// listens.
    pub(crate) fn ask_to_restart(&self, update: &str, grace: Duration) -> io::Result<bool> {
        self.ask(&format!("restart {} {update}\n", grace.as_millis()))
    }

    fn ask(&self, message: &str) -> io::Result<bool> {
        let fifo = OpenOptions::new()
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(self.control());
        match fifo {
            Ok(mut fifo) => {
                // Shorter than PIPE_BUF, so it arrives whole or not at all.
                fifo.write_all(message.as_bytes())?;
                Ok(true)
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the folder of an instance that is gone. The caller is its shim or holds its lock.
    pub(crate) fn bury(&self) -> io::Result<()> {
        let own = self.ancestor(2);
        let name = self.path.file_name().unwrap_or_default();
        // The tombstone first: a repeated call must never find neither folder nor tombstone. A full
        // disk must not keep an instance from ending, so its failure is let pass.
        if let Err(error) = File::create(own.join("spent").join(name)) {
            tracing::warn!(path = %self.path.display(), %error, "spent token not noted");
        }
        if let Ok(Some(record)) = self.record() {
            crate::address::release(&self.ancestor(3), &record.address, &self.path);
        }
        let trash = own.join("trash").join(name);
        match fs::rename(&self.path, &trash) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        remove_all(&trash)
    }

    fn ancestor(&self, level: usize) -> PathBuf {
        let ancestor = self.path.ancestors().nth(level);
        ancestor.unwrap_or(Path::new("/")).to_owned()
    }
}

/// Makes a folder that only this user may enter: environments may hold what others must not see.
pub(crate) fn make_dir_all(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
}

pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("tmp-{}-{write}", std::process::id()));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Removes a folder and everything in it; one that somebody else removes meanwhile is fine too.
fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
