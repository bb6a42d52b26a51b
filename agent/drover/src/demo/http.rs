//! The smallest HTTP client: one request, one connection, no retry that could hide a failure.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The limit of connecting, and of each read.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Sends a GET and returns the body of a 200.
///
/// # Errors
///
/// Anything else that happens.
pub(crate) fn get(address: &str, port: u16, path: &str) -> io::Result<String> {
    let place: SocketAddr = format!("{address}:{port}")
        .parse()
        .map_err(|_| io::Error::other(format!("{address} is not an address")))?;
    let mut stream = TcpStream::connect_timeout(&place, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut short"))?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        Ok(body.to_owned())
    } else {
        Err(io::Error::other(status.to_owned()))
    }
}
