//! One conversation with a remote: what it may use, how long it may take, and how it went. libgit2
//! hands a transport nothing but a URL, so the session stands in a thread-local around the call, and
//! what failed is left there as a typed error. A conversation runs on one thread from start to end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Cause, GitError};
use crate::http::Http;
use crate::incoming::{Incoming, PackRefusal};
use crate::ssh::Ssh;
use crate::url::DaemonPlace;

/// The largest answer: a configuration repository beyond this is not one.
const RESPONSE_BYTES_MAX: u64 = 2 << 30;

/// One operation against one remote.
pub(crate) struct Session {
    carrier: Carrier,
    timeout: Duration,
    deadline: Instant,
    deadline_length: Duration,
    stopping: Arc<AtomicBool>,
    listing_bytes_max: u64,
    failure: RefCell<Option<GitError>>,
    received: Cell<u64>,
    /// Whether the remote's references are known, and something is asked of it.
    asked: Cell<bool>,
    /// Looks at what a fetch brings. None: nothing is fetched.
    incoming: RefCell<Option<Incoming>>,
}

/// What carries Git's protocol.
pub(crate) enum Carrier {
    /// One request and one answer at a time.
    Http(Http),
    /// A program at the other end of a channel.
    Ssh(Ssh),
    /// A connection with nothing around it.
    Daemon(DaemonPlace),
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Session>>> = const { RefCell::new(None) };
}

/// Returns the session of this thread. Only operations of this crate have one, so no other user of
/// libgit2 in the process can use its transports or its credentials.
pub(crate) fn current() -> Result<Rc<Session>, git2::Error> {
    CURRENT.with_borrow(Clone::clone).ok_or_else(|| {
        git2::Error::from_str("no operation of drover-git is running on this thread")
    })
}

impl Session {
    pub(crate) fn new(
        carrier: Carrier,
        timeout: Duration,
        deadline: Duration,
        stopping: Arc<AtomicBool>,
        listing_bytes_max: u64,
    ) -> Self {
        Self {
            carrier,
            timeout,
            deadline: Instant::now() + deadline,
            deadline_length: deadline,
            stopping,
            listing_bytes_max,
            failure: RefCell::new(None),
            received: Cell::new(0),
            asked: Cell::new(false),
            incoming: RefCell::new(None),
        }
    }

    /// From now on this conversation is a fetch, whose pack is looked at.
    pub(crate) fn watch(&self, incoming: Incoming) {
        self.incoming.replace(Some(incoming));
    }

    /// Takes note of what libgit2 says to the program at the other end.
    pub(crate) fn said(&self, bytes: &[u8]) {
        self.asked.set(true);
        if let Some(incoming) = &mut *self.incoming.borrow_mut() {
            incoming.said(bytes);
        }
    }

    /// Looks at what that program says, before libgit2 sees it.
    pub(crate) fn arrived(&self, bytes: &[u8]) -> Result<(), GitError> {
        let mut incoming = self.incoming.borrow_mut();
        let Some(incoming) = &mut *incoming else {
            return Ok(());
        };
        incoming.arrived(bytes).map_err(|refusal| match refusal {
            PackRefusal::Malformed(why) => self.protocol(why),
            PackRefusal::Objects { .. }
            | PackRefusal::Whole { .. }
            | PackRefusal::Delta { .. }
            | PackRefusal::Listing { .. }
            | PackRefusal::Inflated { .. } => GitError::Pack {
                url: self.url(),
                source: refusal,
            },
        })
    }

    /// Runs libgit2 calls with this session as the transport's.
    pub(crate) fn run<T>(
        self: &Rc<Self>,
        call: impl FnOnce() -> Result<T, git2::Error>,
    ) -> Result<T, GitError> {
        struct Clear;
        impl Drop for Clear {
            fn drop(&mut self) {
                CURRENT.with_borrow_mut(Option::take);
            }
        }
        CURRENT.with_borrow_mut(|current| *current = Some(Rc::clone(self)));
        let clear = Clear;
        let outcome = call();
        drop(clear);
        outcome.map_err(|error| match self.failure.borrow_mut().take() {
            Some(failure) => failure,
            None => self.explain_libgit2(&error),
        })
    }

    pub(crate) fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    /// Returns where the remote is, for people.
    pub(crate) fn url(&self) -> String {
        match &self.carrier {
            Carrier::Http(http) => http.url(),
            Carrier::Ssh(ssh) => ssh.url(),
            Carrier::Daemon(place) => place.to_string(),
        }
    }

    /// Returns a URL that makes libgit2 choose our transport.
    pub(crate) fn transport_url(&self) -> String {
        match &self.carrier {
            Carrier::Http(http) => http.url(),
            // The transport knows the place; libgit2 would only take a path apart.
            Carrier::Ssh(_) => "ssh://remote/repository".to_owned(),
            Carrier::Daemon(_) => "git://remote/repository".to_owned(),
        }
    }

    /// Removes the credentials from a text of the remote.
    pub(crate) fn scrub(&self, text: &str) -> String {
        match &self.carrier {
            Carrier::Http(http) => http.scrub(text),
            Carrier::Ssh(_) | Carrier::Daemon(_) => text.to_owned(),
        }
    }

    pub(crate) fn cause(&self, text: &str) -> Cause {
        Cause(self.scrub(text))
    }

    /// An error that libgit2 found by itself in what the remote sent.
    fn explain_libgit2(&self, error: &git2::Error) -> GitError {
        let url = self.url();
        let source = self.cause(error.message());
        match error.class() {
            git2::ErrorClass::Os | git2::ErrorClass::Filesystem => GitError::Local {
                attempted: format!("store what {url} sent"),
                source: git2::Error::new(error.code(), error.class(), source.0),
            },
            _ => GitError::Protocol { url, source },
        }
    }

    pub(crate) fn protocol(&self, text: &str) -> GitError {
        GitError::Protocol {
            url: self.url(),
            source: self.cause(text),
        }
    }

    /// Returns the limit of each step.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns what is left of the whole operation.
    ///
    /// # Errors
    ///
    /// [`GitError::Timeout`] when nothing is, [`GitError::Stopped`] when nobody waits for it any more.
    pub(crate) fn remaining(&self) -> Result<Duration, GitError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(GitError::Stopped { url: self.url() });
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(GitError::Timeout {
                url: self.url(),
                after: self.deadline_length,
            });
        }
        Ok(left)
    }

    /// Keeps the first failure for [`Session::run`]; libgit2 carries only a text.
    pub(crate) fn fail(&self, failure: GitError) -> git2::Error {
        let mut slot = self.failure.borrow_mut();
        slot.get_or_insert(failure);
        git2::Error::new(
            git2::ErrorCode::GenericError,
            git2::ErrorClass::Net,
            "the transport failed",
        )
    }

    /// The same, for a stream that libgit2 reads and writes.
    pub(crate) fn fail_io(&self, failure: GitError) -> std::io::Error {
        std::io::Error::other(self.fail(failure).message().to_owned())
    }

    pub(crate) fn count_received(&self, bytes: usize) -> Result<(), GitError> {
        self.received.set(self.received.get() + bytes as u64);
        if self.received.get() > RESPONSE_BYTES_MAX {
            return Err(self.protocol(&format!("more than {RESPONSE_BYTES_MAX} bytes")));
        }
        if !self.asked.get() && self.received.get() > self.listing_bytes_max {
            return Err(GitError::Pack {
                url: self.url(),
                source: PackRefusal::Listing {
                    limit: self.listing_bytes_max,
                },
            });
        }
        Ok(())
    }
}
