//! Git over ssh, as a subtransport of libgit2: a channel of russh, on which the other side runs
//! `git-upload-pack` or `git-receive-pack`. Strict about host keys, and every step has a limit. The connection is kept for
//! the next conversation of the pass.

use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::runtime::Runtime;

use crate::error::{Cause, GitError};
use crate::session::{Carrier, Session, current};
use crate::ssh_options::{SshIdentity, SshOptions};
use crate::url::SshPlace;

mod connect;
mod host;
mod line;

use line::{Begun, Line};

pub(crate) use line::Lines;

/// What is kept of what the other side's program complains about.
const COMPLAINT_BYTES_MAX: usize = 2 << 10;

/// How long the end of a channel is waited for, so that the program at the other end is not cut off
/// in its last hook.
const FAREWELL: Duration = Duration::from_secs(2);

/// A remote over ssh.
pub(crate) struct Ssh {
    pub(crate) place: SshPlace,
    pub(crate) options: SshOptions,
    /// Whether the conversation is to write.
    pub(crate) purpose: Purpose,
    /// The connections that wait for a conversation.
    pub(crate) lines: Lines,
}

/// What a conversation is for: reading and writing may have credentials of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    Write,
}

impl Ssh {
    pub(crate) fn url(&self) -> String {
        self.place.to_string()
    }

    /// Returns the key to show.
    fn identity(&self) -> Option<&SshIdentity> {
        match self.purpose {
            Purpose::Read => self.options.identity.as_ref(),
            Purpose::Write => self.options.for_writing(),
        }
    }
}

/// What libgit2 creates for each remote; the state is in the session.
pub(crate) struct SshTransport;

impl SmartSubtransport for SshTransport {
    fn action(
        &self,
        _url: &str,
        action: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let session = current()?;
        let program = match action {
            Service::UploadPackLs => "git-upload-pack",
            Service::ReceivePackLs => "git-receive-pack",
            // The conversation goes on over the stream that it began with.
            Service::UploadPack | Service::ReceivePack => {
                return Err(git2::Error::from_str("the conversation has not begun"));
            }
        };
        match Stream::open(&session, program) {
            Ok(stream) => Ok(Box::new(stream)),
            Err(failure) => Err(session.fail(failure)),
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// The channel to a program at the other end, read and written from one thread.
struct Stream {
    channel: Channel<Msg>,
    /// The connection under the channel. None: a step failed, and nothing is known of it any more.
    line: Option<Line>,
    /// Where it is kept afterwards.
    lines: Lines,
    program: &'static str,
    /// Whether the connection has served another conversation: it may have had enough of them.
    kept: bool,
    /// What has arrived and was not read yet.
    arrived: Bytes,
    /// What the program wrote to its standard error.
    complaint: Vec<u8>,
    /// Whether the program said anything at all.
    spoke: bool,
    ended: bool,
}

impl Stream {
    fn open(session: &Rc<Session>, program: &'static str) -> Result<Self, GitError> {
        let ssh = carrier(session)?;
        let begun = line::begin(session, ssh, program)?;
        Ok(Self::of(begun, ssh.lines.clone(), program))
    }

    fn of(begun: Begun, lines: Lines, program: &'static str) -> Self {
        let Begun {
            channel,
            line,
            kept,
        } = begun;
        Self {
            channel,
            line: Some(line),
            lines,
            program,
            kept,
            arrived: Bytes::new(),
            complaint: Vec::new(),
            spoke: false,
            ended: false,
        }
    }

    /// Begins again on a connection of its own: some hosts take one program for each and say nothing more. Nothing was said
    /// to it yet, as the program speaks first.
    fn begin_anew(&mut self, session: &Rc<Session>) -> Result<(), GitError> {
        let begun = line::anew(session, carrier(session)?, self.program)?;
        // The old connection is not waited for, nor kept in its place.
        self.line = None;
        *self = Self::of(begun, self.lines.clone(), self.program);
        Ok(())
    }

    /// Waits for the next thing that the host says.
    fn next(&mut self, session: &Session) -> Result<Option<ChannelMsg>, GitError> {
        let Some(line) = &self.line else {
            return Ok(None);
        };
        within(session, &line.runtime, self.channel.wait())
    }

    /// Waits for the next bytes of the program's output; none at its end.
    fn receive(&mut self, session: &Rc<Session>) -> Result<(), GitError> {
        while self.arrived.is_empty() && !self.ended {
            match self.next(session)? {
                Some(ChannelMsg::Data { data }) => {
                    session.count_received(data.len())?;
                    self.spoke = true;
                    self.arrived = data;
                }
                Some(ChannelMsg::ExtendedData { data, .. }) => self.keep(&data),
                Some(ChannelMsg::Failure) if self.kept => self.begin_anew(session)?,
                Some(ChannelMsg::Failure) => {
                    return Err(session.protocol("the host runs no programs for this key"));
                }
                Some(ChannelMsg::Close) | None if self.kept && !self.spoke => {
                    self.begin_anew(session)?;
                }
                Some(ChannelMsg::Close) | None => self.ended = true,
                // The exit status comes before the close, and the output may end before either.
                Some(_) => {}
            }
        }
        if self.ended && !self.spoke {
            return Err(GitError::Ended {
                url: session.url(),
                message: self.words(),
            });
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = COMPLAINT_BYTES_MAX - self.complaint.len().min(COMPLAINT_BYTES_MAX);
        self.complaint
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What the program complained about, on one line.
    fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.complaint);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let clean: String = lines
            .iter()
            .filter(|line| !line.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join("; ")
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        if clean.is_empty() {
            "it said nothing".to_owned()
        } else {
            clean
        }
    }
}

fn carrier(session: &Session) -> Result<&Ssh, GitError> {
    match session.carrier() {
        Carrier::Ssh(ssh) => Ok(ssh),
        Carrier::Http(_) | Carrier::Daemon(_) => {
            Err(session.protocol("the transport of another scheme was asked"))
        }
    }
}

/// Waits within the limit of a step and what is left of the operation.
pub(crate) fn within<T>(
    session: &Session,
    runtime: &Runtime,
    work: impl Future<Output = T>,
) -> Result<T, GitError> {
    let (limit, remaining) = (session.timeout(), session.remaining()?);
    let outcome = runtime.block_on(async {
        let limit = limit.min(remaining);
        tokio::time::timeout(limit, work).await
    });
    outcome.map_err(|_| match session.remaining() {
        // Told by its own length, and not by what was left of it.
        Err(late) if remaining < limit => late,
        Ok(_) | Err(_) => GitError::Timeout {
            url: session.url(),
            after: limit,
        },
    })
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let session = current().map_err(|error| io::Error::other(error.message().to_owned()))?;
        self.receive(&session).map_err(|failure| {
            self.line = None;
            session.fail_io(failure)
        })?;
        let count = buffer.len().min(self.arrived.len());
        buffer[..count].copy_from_slice(&self.arrived.split_to(count));
        session
            .arrived(&buffer[..count])
            .map_err(|failure| session.fail_io(failure))?;
        Ok(count)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let session = current().map_err(|error| io::Error::other(error.message().to_owned()))?;
        session.said(bytes);
        let broken = |error: russh::Error| GitError::Unreachable {
            url: session.url(),
            source: Cause(format!("the connection broke while writing: {error}")),
        };
        let Some(line) = &self.line else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let sent = within(&session, &line.runtime, self.channel.data(bytes));
        match sent.and_then(|sent| sent.map_err(broken)) {
            Ok(()) => Ok(bytes.len()),
            Err(failure) => {
                self.line = None;
                Err(session.fail_io(failure))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else {
            return;
        };
        let mut over = self.ended;
        if !over {
            let channel = &mut self.channel;
            let farewell = async {
                // A broken connection needs none.
                let _ = channel.eof().await;
                while channel.wait().await.is_some() {}
            };
            over = line
                .runtime
                .block_on(async { tokio::time::timeout(FAREWELL, farewell).await })
                .is_ok();
        }
        if over {
            self.lines.keep(line);
        }
    }
}
