//! Git's smart HTTP protocol over reqwest and rustls, as a subtransport of libgit2.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::time::Duration;

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use jiff::Timestamp;
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use reqwest::{StatusCode, Url};

mod retry_after;

use crate::client::{is_certificate_problem, same_origin};
use crate::credentials::Credentials;
use crate::error::GitError;
use crate::session::{Carrier, Session, current};

/// Redirects that are followed on the first request; hosts need one (a renamed repository).
const REDIRECTS_MAX: usize = 4;

/// The largest request body: a pack with years of state commits has some megabytes.
const REQUEST_BYTES_MAX: usize = 512 << 20;

/// The slowest upload that is still waited for, per second.
const UPLOAD_BYTES_PER_SECOND: u64 = 16 << 10;

/// A remote over HTTP.
pub(crate) struct Http {
    client: Client,
    /// The repository's URL; a redirect within the origin replaces it for the rest of the operation.
    base: RefCell<Url>,
    credentials: Option<Credentials>,
}

impl Http {
    pub(crate) fn new(client: Client, base: Url, credentials: Option<Credentials>) -> Self {
        Self {
            client,
            base: RefCell::new(base),
            credentials,
        }
    }

    pub(crate) fn url(&self) -> String {
        let base = self.base.borrow();
        base.as_str().trim_end_matches('/').to_owned()
    }

    pub(crate) fn scrub(&self, text: &str) -> String {
        match &self.credentials {
            Some(credentials) => credentials.scrub(text),
            None => text.to_owned(),
        }
    }
}

/// The requests of one conversation.
struct Talk<'s> {
    session: &'s Session,
    http: &'s Http,
}

impl Talk<'_> {
    /// Translates an error of the HTTP client; its own text would repeat the URL.
    fn explain_reqwest(&self, error: reqwest::Error, limit: Duration) -> GitError {
        let url = self.session.url();
        if error.is_timeout() {
            return GitError::Timeout { url, after: limit };
        }
        let certificate = is_certificate_problem(&error);
        let source = self.session.cause(&chain(&error.without_url()));
        if certificate {
            GitError::Certificate { url, source }
        } else {
            GitError::Unreachable { url, source }
        }
    }

    fn status_error(&self, response: &Response) -> GitError {
        let url = self.session.url();
        let status = response.status();
        let now = Timestamp::now();
        if let Some(until) = retry_after::until(status, response.headers(), now) {
            return GitError::Throttled {
                url,
                status: status.as_u16(),
                until,
            };
        }
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => GitError::Auth {
                url,
                status: status.as_u16(),
                shown: self.http.credentials.is_some(),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE => GitError::NotFound { url },
            _ if status.is_server_error() => GitError::Unavailable {
                url,
                status: status.as_u16(),
            },
            _ => self.session.protocol(&format!("http status {status}")),
        }
    }

    /// Sends a request, with the credentials, which only ever go to the origin of the base.
    fn send(
        &self,
        request: reqwest::blocking::RequestBuilder,
        limit: Duration,
    ) -> Result<Response, GitError> {
        self.session.remaining()?;
        let request = match &self.http.credentials {
            Some(c) => request.basic_auth(&c.username, Some(c.password.expose())),
            None => request,
        };
        request
            .send()
            .map_err(|error| self.explain_reqwest(error, limit))
    }

    /// The first request of a conversation: the references that the remote advertises.
    fn advertisement(&self, service: &str) -> Result<Response, GitError> {
        let suffix = "/info/refs";
        let mut url = self.under_base(suffix)?;
        url.set_query(Some(&format!("service={service}")));
        for _ in 0..=REDIRECTS_MAX {
            let request = self
                .http
                .client
                .get(url.clone())
                .header(ACCEPT, "*/*")
                .header(CACHE_CONTROL, "no-cache");
            let response = self.send(request, self.session.timeout())?;
            let status = response.status();
            if status.is_redirection() {
                url = self.redirect_target(&url, &response)?;
                continue;
            }
            if status != StatusCode::OK {
                return Err(self.status_error(&response));
            }
            self.expect_type(&response, &format!("application/x-{service}-advertisement"))?;
            self.adopt_base(&url, suffix)?;
            return Ok(response);
        }
        Err(self.session.protocol("too many redirects"))
    }

    fn under_base(&self, suffix: &str) -> Result<Url, GitError> {
        let text = format!("{}{suffix}", self.session.url());
        Url::parse(&text).map_err(|error| self.session.protocol(&error.to_string()))
    }

    /// Checks where the remote points to: only elsewhere on the same origin.
    fn redirect_target(&self, from: &Url, response: &Response) -> Result<Url, GitError> {
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| self.session.protocol("a redirect without a target"))?;
        let target = from.join(location).map_err(|_| {
            self.session
                .protocol("a redirect to something that is no URL")
        })?;
        let plain = target.username().is_empty() && target.password().is_none();
        if same_origin(from, &target) && plain {
            // Another path of the host may belong to somebody else.
            if self.http.credentials.is_none() || from.path() == target.path() {
                return Ok(target);
            }
            let place = target.as_str().split('?').next().unwrap_or_default();
            return Err(GitError::Redirected {
                url: self.session.url(),
                to: self.session.scrub(place.trim_end_matches("/info/refs")),
            });
        }
        Err(GitError::Redirected {
            url: self.session.url(),
            to: self.session.scrub(&target.origin().ascii_serialization()),
        })
    }

    /// After a redirect the other requests go to the new place, as Git itself does it.
    fn adopt_base(&self, url: &Url, suffix: &str) -> Result<(), GitError> {
        let Some(path) = url.path().strip_suffix(suffix) else {
            return Err(self
                .session
                .protocol("a redirect to something that is no repository"));
        };
        let mut base = url.clone();
        base.set_path(path);
        base.set_query(None);
        base.set_fragment(None);
        self.http.base.replace(base);
        Ok(())
    }

    /// The second request: what is wanted, or the pack that is pushed.
    fn exchange(&self, service: &str, body: Vec<u8>) -> Result<Response, GitError> {
        let upload = body.len() as u64;
        let mut request = self
            .http
            .client
            .post(self.under_base(&format!("/{service}"))?)
            .header(CONTENT_TYPE, format!("application/x-{service}-request"))
            .header(ACCEPT, format!("application/x-{service}-result"))
            .body(body);
        let mut limit = self.session.timeout();
        if service == RECEIVE_PACK {
            // The answer comes after upload and hooks, so the limit grows with the upload.
            let transfer = Duration::from_secs(upload / UPLOAD_BYTES_PER_SECOND);
            limit = (self.session.timeout() + transfer).min(self.session.remaining()?);
            request = request.timeout(limit);
        }
        let response = self.send(request, limit)?;
        let status = response.status();
        if status.is_redirection() {
            // Credentials and packs are never sent twice because an answer says so.
            let base = self.http.base.borrow().clone();
            let to = self.redirect_target(&base, &response)?;
            return Err(GitError::Redirected {
                url: self.session.url(),
                to: self.session.scrub(&to.origin().ascii_serialization()),
            });
        }
        if status != StatusCode::OK {
            return Err(self.status_error(&response));
        }
        self.expect_type(&response, &format!("application/x-{service}-result"))?;
        Ok(response)
    }

    fn expect_type(&self, response: &Response, expected: &str) -> Result<(), GitError> {
        let found = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("none");
        if found.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        let found: String = found.chars().take(80).collect();
        Err(self
            .session
            .protocol(&format!("content type {found} instead of {expected}")))
    }
}

const UPLOAD_PACK: &str = "git-upload-pack";
const RECEIVE_PACK: &str = "git-receive-pack";

/// What libgit2 creates for each remote; the state is in the session.
pub(crate) struct HttpTransport;

impl SmartSubtransport for HttpTransport {
    fn action(
        &self,
        _url: &str,
        action: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let session = current()?;
        let stream = match action {
            Service::UploadPackLs => {
                Exchange::receiving(talk(&session, |talk| talk.advertisement(UPLOAD_PACK)))
            }
            Service::ReceivePackLs => {
                Exchange::receiving(talk(&session, |talk| talk.advertisement(RECEIVE_PACK)))
            }
            Service::UploadPack => Ok(Exchange::collecting(UPLOAD_PACK)),
            Service::ReceivePack => Ok(Exchange::collecting(RECEIVE_PACK)),
        };
        match stream {
            Ok(stream) => Ok(Box::new(stream)),
            Err(failure) => Err(session.fail(failure)),
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// Runs `work` with the requests of the session of this thread.
fn talk<T>(
    session: &Session,
    work: impl FnOnce(&Talk<'_>) -> Result<T, GitError>,
) -> Result<T, GitError> {
    match session.carrier() {
        Carrier::Http(http) => work(&Talk { session, http }),
        Carrier::Ssh(_) | Carrier::Daemon(_) => {
            Err(session.protocol("the transport of another scheme was asked"))
        }
    }
}

/// One request and its answer: what libgit2 writes is collected, and sent when it begins to read.
enum Exchange {
    Collecting {
        service: &'static str,
        body: Vec<u8>,
    },
    Receiving(Response),
}

impl Exchange {
    fn collecting(service: &'static str) -> Self {
        Self::Collecting {
            service,
            body: Vec::new(),
        }
    }

    fn receiving(response: Result<Response, GitError>) -> Result<Self, GitError> {
        response.map(Self::Receiving)
    }
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Collecting { body, .. } if body.len() + bytes.len() <= REQUEST_BYTES_MAX => {
                body.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            Self::Collecting { .. } => Err(io::Error::other("the request is too large")),
            Self::Receiving(_) => Err(io::Error::other("the request has been sent")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let session = current().map_err(|error| io::Error::other(error.message().to_owned()))?;
        let fail = |failure| session.fail_io(failure);
        if let Self::Collecting { service, body } = self {
            let body = std::mem::take(body);
            session.said(&body);
            let response = talk(&session, |talk| talk.exchange(service, body));
            *self = Self::Receiving(response.map_err(fail)?);
        }
        let Self::Receiving(response) = self else {
            return Ok(0);
        };
        session.remaining().map_err(fail)?;
        let count = response
            .read(buffer)
            .map_err(|error| fail(read_failure(&session, &error)))?;
        session.count_received(count).map_err(fail)?;
        session.arrived(&buffer[..count]).map_err(fail)?;
        Ok(count)
    }
}

/// Translates an error while reading an answer; reqwest wraps its own in an `io::Error`.
fn read_failure(session: &Session, error: &io::Error) -> GitError {
    let timed_out = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<reqwest::Error>())
        .is_some_and(reqwest::Error::is_timeout);
    let url = session.url();
    if timed_out || error.kind() == io::ErrorKind::TimedOut {
        return GitError::Timeout {
            url,
            after: session.timeout(),
        };
    }
    GitError::Unreachable {
        url,
        source: session.cause("the connection broke while the answer was read"),
    }
}

/// Joins an error and its causes into one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
