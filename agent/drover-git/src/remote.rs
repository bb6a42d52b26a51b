//! The conversations with a remote. Each mirror has one thread for them: the transport's
//! context is thread-local, the blocking client must not run inside an async runtime, and a remote
//! that hangs holds up nobody but its own mirror.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use git2::{Direction, FetchOptions, OdbLookupFlags, PushOptions, RemoteCallbacks, Repository};
use jiff::Timestamp;
use reqwest::Url;
use reqwest::blocking::Client;

use crate::client;
use crate::credentials::RemoteOptions;
use crate::error::GitError;
use crate::files::{self, Stamp};
use crate::http::Http;
use crate::incoming::{Incoming, PackLimits, SizeOf};
use crate::oid::Oid;
use crate::refs::{PRIVATE_PREFIX, RemoteRefs};
use crate::session::{Carrier, Session};
use crate::ssh::{Lines, Purpose, Ssh};
use crate::update::{self, PushOutcome};
use crate::url::SourceUrl;

/// What a caller waits beyond the deadline for the thread to notice it and clean up.
const GRACE: Duration = Duration::from_secs(30);

/// What is kept of a remote's messages (hooks) for an error text.
const MESSAGE_BYTES_MAX: usize = 2 << 10;

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// The thread that talks to one remote, and the settings of the next conversation.
pub(crate) struct Remote {
    url: SourceUrl,
    options: Mutex<Arc<RemoteOptions>>,
    stopping: Arc<AtomicBool>,
    /// What the remote said when it asked to be left alone.
    quiet: Mutex<Option<Quiet>>,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What lives on the thread.
struct Worker {
    directory: PathBuf,
    stopping: Arc<AtomicBool>,
    client: Option<BuiltClient>,
    /// The one that pushes, where that shows a certificate of its own: connections are shared otherwise.
    write_client: Option<BuiltClient>,
    /// Connections over ssh that wait for the next conversation of the pass.
    lines: Lines,
}

/// A client, and what it was built from: when that changes it is built anew.
struct BuiltClient {
    options: Arc<RemoteOptions>,
    stamps: Vec<Stamp>,
    client: Client,
}

impl Remote {
    pub(crate) fn start(
        directory: PathBuf,
        url: SourceUrl,
        options: RemoteOptions,
    ) -> Result<Self, GitError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let path = directory.clone();
        let stopping = Arc::new(AtomicBool::new(false));
        let for_worker = Arc::clone(&stopping);
        let thread = std::thread::Builder::new()
            .name("drover-git".to_owned())
            .spawn(move || {
                let mut worker = Worker {
                    directory,
                    stopping: for_worker,
                    client: None,
                    write_client: None,
                    lines: Lines::default(),
                };
                worker.serve(&queue);
            })
            .map_err(|source| GitError::Io { path, source })?;
        Ok(Self {
            url,
            options: Mutex::new(Arc::new(options)),
            stopping,
            quiet: Mutex::new(None),
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Replaces credentials, authorities and limits from the next operation on.
    pub(crate) fn set_options(&self, options: RemoteOptions) {
        let mut slot = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Arc::new(options);
    }

    pub(crate) fn list(&self) -> Result<RemoteRefs, GitError> {
        self.call(Purpose::Read, list)
    }

    /// Fetches references under their own names into the mirror, in a pack of at most so many objects.
    pub(crate) fn fetch(&self, names: Vec<String>, objects_max: u32) -> Result<(), GitError> {
        let limits = PackLimits {
            objects: objects_max,
            ..self.options().limits
        };
        self.call(Purpose::Read, move |session, repository| {
            fetch(session, repository, &names, limits)
        })
    }

    /// Ends the conversation that is under way at its next step, and all that are asked for later.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Returns the settings of the next conversation.
    pub(crate) fn options(&self) -> Arc<RemoteOptions> {
        let slot = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&slot)
    }

    pub(crate) fn push(
        &self,
        reference: String,
        expected: Option<Oid>,
        new: Oid,
    ) -> Result<PushOutcome, GitError> {
        if self.url.is_read_only() {
            let url = self.url.redacted();
            return Err(GitError::ReadOnly { url });
        }
        self.call(Purpose::Write, move |session, repository| {
            push(session, repository, &reference, expected, new)
        })
    }

    /// Runs one conversation on the remote's thread and waits for its result.
    fn call<T: Send + 'static>(
        &self,
        purpose: Purpose,
        conversation: impl FnOnce(&Rc<Session>, &Repository) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let url = self.url.redacted();
        self.check_quiet(&url)?;
        let options = self.options();
        let limit = options.deadline + options.timeout + GRACE;
        let place = self.url.clone();
        let (answer, wait) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |worker| {
            let run = AssertUnwindSafe(|| {
                let session = Rc::new(worker.session(&place, purpose, &options)?);
                let repository = worker.repository()?;
                conversation(&session, &repository)
            });
            // A panic ends this conversation, not the thread: dropping `answer` reports it.
            if let Ok(outcome) = std::panic::catch_unwind(run) {
                // The caller may have given up already.
                let _ = answer.send(outcome);
            }
        });
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        if !sent {
            return Err(GitError::Aborted { url });
        }
        match wait.recv_timeout(limit) {
            Ok(outcome) => outcome.inspect_err(|error| self.note_quiet(error)),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(GitError::Timeout { url, after: limit }),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(GitError::Aborted { url }),
        }
    }
}

/// A time in which the remote is not asked.
struct Quiet {
    status: u16,
    until: Timestamp,
    /// The same by a clock that nobody sets.
    ends: Instant,
}

impl Remote {
    /// Keeps quiet for as long as the remote has asked for; that is about all that is asked of it.
    fn check_quiet(&self, url: &str) -> Result<(), GitError> {
        let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        match &*quiet {
            Some(Quiet {
                status,
                until,
                ends,
            }) if Instant::now() < *ends => Err(GitError::Throttled {
                url: url.to_owned(),
                status: *status,
                until: *until,
            }),
            Some(_) | None => {
                *quiet = None;
                Ok(())
            }
        }
    }

    fn note_quiet(&self, error: &GitError) {
        if let GitError::Throttled { status, until, .. } = error {
            let wait = until.duration_since(Timestamp::now());
            let mut quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
            *quiet = Some(Quiet {
                status: *status,
                until: *until,
                ends: Instant::now() + wait.try_into().unwrap_or_default(),
            });
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.stop();
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            // Every step of a conversation has a limit, so this ends; a panic was reported already.
            let _ = thread.join();
        }
    }
}

impl Worker {
    /// Runs conversations until nobody can ask for one any more.
    fn serve(&mut self, queue: &mpsc::Receiver<Job>) {
        loop {
            let next = match self.lines.idle_for() {
                Some(idle) => queue.recv_timeout(idle),
                None => queue
                    .recv()
                    .map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(job) => job(self),
                Err(mpsc::RecvTimeoutError::Timeout) => self.lines.tidy(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn session(
        &mut self,
        place: &SourceUrl,
        purpose: Purpose,
        options: &Arc<RemoteOptions>,
    ) -> Result<Session, GitError> {
        let carrier = match (place.http(), place.ssh(), place.daemon()) {
            (Some(base), _, _) => {
                let login = match purpose {
                    Purpose::Read => options.credentials.as_ref(),
                    Purpose::Write => options.for_writing(),
                };
                let credentials = match login {
                    Some(login) => {
                        place.confidential()?;
                        Some(login.read()?)
                    }
                    None => place.credentials().cloned(),
                };
                let client = self.client(base, purpose, options)?;
                Carrier::Http(Http::new(client, base.clone(), credentials))
            }
            (None, Some(ssh), _) => Carrier::Ssh(Ssh {
                place: ssh.clone(),
                options: options.ssh.clone(),
                purpose,
                lines: self.lines.clone(),
            }),
            (None, None, Some(place)) => Carrier::Daemon(place.clone()),
            (None, None, None) => {
                return Err(GitError::Aborted {
                    url: place.redacted(),
                });
            }
        };
        Ok(Session::new(
            carrier,
            options.timeout,
            options.deadline,
            Arc::clone(&self.stopping),
            options.limits.listing_bytes,
        ))
    }

    fn client(
        &mut self,
        base: &Url,
        purpose: Purpose,
        options: &Arc<RemoteOptions>,
    ) -> Result<Client, GitError> {
        let (slot, shown) = match (purpose, &options.write_client_certificate) {
            (Purpose::Write, Some(own)) => (&mut self.write_client, Some(own)),
            (Purpose::Read | Purpose::Write, _) => {
                (&mut self.client, options.client_certificate.as_ref())
            }
        };
        let stamps = files::stamps(&options.client_files());
        if let Some(built) = slot
            && Arc::ptr_eq(&built.options, options)
            && built.stamps == stamps
        {
            return Ok(built.client.clone());
        }
        let client = client::build(base, options, shown)?;
        *slot = Some(BuiltClient {
            options: Arc::clone(options),
            stamps,
            client: client.clone(),
        });
        Ok(client)
    }

    /// A handle of its own for each conversation: it sees every pack, and shares no lock.
    fn repository(&self) -> Result<Repository, GitError> {
        crate::open::open_repository(&self.directory)
    }
}

fn list(session: &Rc<Session>, repository: &Repository) -> Result<RemoteRefs, GitError> {
    let url = session.url();
    let (all, default_branch) = session.run(|| {
        let mut remote = repository.remote_anonymous(&session.transport_url())?;
        let connection = remote.connect_auth(Direction::Fetch, None, None)?;
        let mut all = BTreeMap::new();
        let mut default_branch = None;
        for head in connection.list()? {
            if head.name() == "HEAD" {
                default_branch = head.symref_target().map(str::to_owned);
            }
            // Another agent may use the served repository in place.
            if head.name().starts_with(PRIVATE_PREFIX) {
                continue;
            }
            all.insert(head.name().to_owned(), Oid::from(head.oid()));
        }
        Ok((all, default_branch))
    })?;
    Ok(RemoteRefs::new(url, all, default_branch))
}

fn fetch(
    session: &Rc<Session>,
    repository: &Repository,
    names: &[String],
    limits: PackLimits,
) -> Result<(), GitError> {
    let specs: Vec<String> = names.iter().map(|name| format!("+{name}:{name}")).collect();
    session.watch(Incoming::new(limits, sizes_in(repository.path())?));
    session.run(|| {
        let mut remote = repository.remote_anonymous(&session.transport_url())?;
        let mut callbacks = RemoteCallbacks::new();
        // Differences are resolved when everything has arrived, where no read would notice the time.
        callbacks.transfer_progress(|_| match session.remaining() {
            Ok(_) => true,
            Err(late) => {
                session.fail(late);
                false
            }
        });
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(callbacks)
            .download_tags(git2::AutotagOption::None)
            .update_fetchhead(false);
        remote.fetch(&specs, Some(&mut options), Some("drover: fetch"))
    })
}

/// Returns what tells the sizes of objects that are here. It has a handle of its own, since libgit2 is at work on the
/// other one.
fn sizes_in(directory: &Path) -> Result<SizeOf, GitError> {
    let repository = crate::open::open_repository(directory)?;
    Ok(Box::new(move |id| {
        let id = git2::Oid::from_bytes(id).ok()?;
        let odb = repository.odb().ok()?;
        // Without looking for new packs: most bases are in the pack that arrives.
        if !odb.exists_ext(id, OdbLookupFlags::NO_REFRESH) {
            return None;
        }
        let (size, _) = odb.read_header(id).ok()?;
        Some(size as u64)
    }))
}

/// What the callbacks of one push saw.
#[derive(Default)]
struct Seen {
    /// The remote's value, when it was not the expected one.
    other: Cell<Option<git2::Oid>>,
    /// The server's answer for our reference: accepted, or why not.
    status: RefCell<Option<Result<(), String>>>,
    /// What hooks printed.
    output: RefCell<Vec<u8>>,
}

fn push(
    session: &Rc<Session>,
    repository: &Repository,
    reference: &str,
    expected: Option<Oid>,
    new: Oid,
) -> Result<PushOutcome, GitError> {
    if let Some(expected) = expected
        && !update::is_fast_forward(repository, expected, new)?
    {
        return Ok(PushOutcome::Refused {
            message: update::NOT_FAST_FORWARD.to_owned(),
        });
    }
    let seen = Seen::default();
    let outcome = push_once(session, repository, reference, expected, new, &seen);
    if let Some(other) = seen.other.get() {
        // An earlier push of ours whose answer was lost has arrived after all.
        if other == new.raw() {
            return Ok(PushOutcome::Done);
        }
        let current = (!other.is_zero()).then(|| Oid::from(other));
        return Ok(PushOutcome::Moved { current });
    }
    let status = seen.status.borrow_mut().take();
    match (outcome, status) {
        (_, Some(Err(message))) => {
            let message = describe(session, &message, &seen.output.borrow());
            after_refusal(session, repository, reference, expected, new, message)
        }
        (Ok(()), Some(Ok(()))) => Ok(PushOutcome::Done),
        // Without the server's word nothing is known to have been stored.
        (Ok(()), None) => Err(GitError::Protocol {
            url: session.url(),
            source: crate::error::Cause("the push was not answered".to_owned()),
        }),
        // The program that takes pushes did not even begin: it is the key that may only read.
        (Err(GitError::Ended { message, .. }), None) => Ok(PushOutcome::Refused { message }),
        (Err(error), None | Some(Ok(()))) => Err(error),
    }
}

fn push_once(
    session: &Rc<Session>,
    repository: &Repository,
    reference: &str,
    expected: Option<Oid>,
    new: Oid,
    seen: &Seen,
) -> Result<(), GitError> {
    let lease = expected.map_or(git2::Oid::ZERO_SHA1, Oid::raw);
    session.run(|| {
        let mut callbacks = RemoteCallbacks::new();
        callbacks.push_negotiation(|updates| {
            for update in updates {
                if update.src() != lease {
                    seen.other.set(Some(update.src()));
                    return Err(git2::Error::from_str("the reference has moved"));
                }
            }
            Ok(())
        });
        // libgit2 calls a push that the server refused a success; only this callback tells.
        callbacks.push_update_reference(|_, status| {
            let status = status.map_or(Ok(()), |message| Err(message.to_owned()));
            seen.status.replace(Some(status));
            Ok(())
        });
        callbacks.sideband_progress(|bytes| {
            let mut output = seen.output.borrow_mut();
            let room = MESSAGE_BYTES_MAX - output.len().min(MESSAGE_BYTES_MAX);
            output.extend_from_slice(&bytes[..bytes.len().min(room)]);
            true
        });
        let mut options = PushOptions::new();
        options
            .remote_callbacks(callbacks)
            .packbuilder_parallelism(1);
        let mut remote = repository.remote_anonymous(&session.transport_url())?;
        // No plus sign: never forced.
        remote.push(&[format!("{new}:{reference}")], Some(&mut options))
    })
}

/// A server words a lost race in many ways, so the references are listed again instead of reading
/// its text.
fn after_refusal(
    session: &Rc<Session>,
    repository: &Repository,
    reference: &str,
    expected: Option<Oid>,
    new: Oid,
    message: String,
) -> Result<PushOutcome, GitError> {
    let current = list(session, repository)?.all().get(reference).copied();
    if current == Some(new) {
        Ok(PushOutcome::Done)
    } else if current == expected {
        Ok(PushOutcome::Refused { message })
    } else {
        Ok(PushOutcome::Moved { current })
    }
}

/// The server's reason and its hooks' output on one line, without credentials.
fn describe(session: &Session, message: &str, output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    let words: Vec<&str> = std::iter::once(message)
        .chain(output.lines())
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let clean: String = words
        .join("; ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    session.scrub(&clean)
}
