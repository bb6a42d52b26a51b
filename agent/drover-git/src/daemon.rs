//! Git's own protocol without anything around it, as `git daemon` speaks it: for reading alone, since nothing there
//! knows who pushes, and nothing vouches for what is read but signatures of commits.

use std::io::{self, Read, Write};
use std::rc::Rc;

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::error::{Cause, GitError};
use crate::session::{Carrier, Session, current};
use crate::ssh::within;
use crate::url::DaemonPlace;

/// What libgit2 creates for each remote; the state is in the session.
pub(crate) struct DaemonTransport;

impl SmartSubtransport for DaemonTransport {
    fn action(
        &self,
        _url: &str,
        action: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let session = current()?;
        match action {
            Service::UploadPackLs => match Stream::open(&session) {
                Ok(stream) => Ok(Box::new(stream)),
                Err(failure) => Err(session.fail(failure)),
            },
            Service::ReceivePackLs => Err(session.fail(GitError::ReadOnly { url: session.url() })),
            // The conversation goes on over the stream that it began with.
            Service::UploadPack | Service::ReceivePack => {
                Err(git2::Error::from_str("the conversation has not begun"))
            }
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// The connection, read and written from one thread.
struct Stream {
    // Dropped before the runtime that drives it.
    connection: TcpStream,
    runtime: Runtime,
}

impl Stream {
    fn open(session: &Rc<Session>) -> Result<Self, GitError> {
        let Carrier::Daemon(place) = session.carrier() else {
            return Err(session.protocol("the transport of another scheme was asked"));
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| unreachable(session, &error))?;
        let connecting = TcpStream::connect((place.host.as_str(), place.port));
        let connection = within(session, &runtime, connecting)?;
        let connection = connection.map_err(|error| unreachable(session, &error))?;
        let mut stream = Self {
            connection,
            runtime,
        };
        stream.send(session, &request(place))?;
        Ok(stream)
    }

    fn send(&mut self, session: &Session, bytes: &[u8]) -> Result<(), GitError> {
        let sent = within(session, &self.runtime, self.connection.write_all(bytes))?;
        sent.map_err(|error| unreachable(session, &error))
    }
}

/// The one line that says what is wanted.
fn request(place: &DaemonPlace) -> Vec<u8> {
    let line = format!(
        "git-upload-pack {}\0host={}\0",
        place.path,
        place.authority()
    );
    let mut request = format!("{:04x}", line.len() + 4).into_bytes();
    request.extend(line.bytes());
    request
}

fn unreachable(session: &Session, error: &io::Error) -> GitError {
    GitError::Unreachable {
        url: session.url(),
        source: Cause(error.to_string()),
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let session = current().map_err(|error| io::Error::other(error.message().to_owned()))?;
        let read = within(&session, &self.runtime, self.connection.read(buffer));
        let count = read.and_then(|read| {
            let count = read.map_err(|error| unreachable(&session, &error))?;
            session.count_received(count)?;
            session.arrived(&buffer[..count])?;
            Ok(count)
        });
        count.map_err(|failure| session.fail_io(failure))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let session = current().map_err(|error| io::Error::other(error.message().to_owned()))?;
        session.said(bytes);
        match self.send(&session, bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(failure) => Err(session.fail_io(failure)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
