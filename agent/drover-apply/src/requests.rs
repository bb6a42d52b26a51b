//! Requests to instances, for health checks and drains: to the instance's own address only, without
//! proxy, redirect or kept connection, bounded in time and size.
//!
//! What goes wrong is sorted by whose fault it is: a check that could not be tried says nothing about
//! the instance.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reqwest::{Client, Method, Url};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

/// Most bytes of an answer that are read: a health answer is a few words, and nobody may fill the
/// agent's memory with one.
const BODY_BYTES_MAX: usize = 64 << 10;

/// What an instance answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of the body of a success, as far as it came in time.
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..=299).contains(&self.status)
    }
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody listens at the port.
    Refused,
    /// The instance did not answer in time, or not properly.
    Instance(String),
    /// The request could not be made: no route, no free descriptor, no such name.
    Local(String),
}

/// One client for the process: connections are not kept, so it holds nothing but settings.
static CLIENT: LazyLock<Result<Client, String>> = LazyLock::new(|| {
    // Requests are plain HTTP. An empty TLS configuration spares reading the system's certificates.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .http1_only()
        .user_agent("drover");
    builder.build().map_err(|error| error.to_string())
});

/// Sends a request without body and reads the status, and of a success the body.
pub(crate) async fn http(
    method: &str,
    address: &str,
    port: u16,
    path: &str,
    limit: Duration,
) -> Result<Answer, Trouble> {
    let client = CLIENT.as_ref().map_err(|why| Trouble::Local(why.clone()))?;
    let url = url(address, port, path)?;
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Trouble::Local(format!("{method:?} is no HTTP method")))?;
    let end = tokio::time::Instant::now() + limit;
    let sent = timeout_at(end, client.request(method, url).send()).await;
    let mut response = sent
        .map_err(|_| late(limit))?
        .map_err(|error| of_request(&error))?;
    let mut answer = Answer {
        status: response.status().as_u16(),
        body: Vec::new(),
    };
    while answer.is_success() && answer.body.len() < BODY_BYTES_MAX {
        // The status is the answer: a body that breaks off or never ends changes nothing about it.
        let Ok(Ok(Some(chunk))) = timeout_at(end, response.chunk()).await else {
            break;
        };
        let room = BODY_BYTES_MAX - answer.body.len();
        answer
            .body
            .extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(answer)
}

/// Sends a JSON document and reads the whole answer, of a refusal too.
pub(crate) async fn post_json(
    address: &str,
    port: u16,
    path: &str,
    body: String,
    limit: Duration,
) -> Result<Answer, Trouble> {
    let client = CLIENT.as_ref().map_err(|why| Trouble::Local(why.clone()))?;
    let request = client
        .post(url(address, port, path)?)
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(body);
    let end = tokio::time::Instant::now() + limit;
    let sent = timeout_at(end, request.send()).await;
    let mut response = sent
        .map_err(|_| late(limit))?
        .map_err(|error| of_request(&error))?;
    let mut answer = Answer {
        status: response.status().as_u16(),
        body: Vec::new(),
    };
    loop {
        let chunk = timeout_at(end, response.chunk()).await;
        let chunk = chunk.map_err(|_| late(limit))?;
        let Some(chunk) = chunk.map_err(|error| of_request(&error))? else {
            return Ok(answer);
        };
        if answer.body.len() + chunk.len() > BODY_BYTES_MAX {
            let message = format!("the answer is longer than {BODY_BYTES_MAX} bytes");
            return Err(Trouble::Instance(message));
        }
        answer.body.extend_from_slice(&chunk);
    }
}

/// Opens a TCP connection and closes it again.
pub(crate) async fn connect(address: &str, port: u16, limit: Duration) -> Result<(), Trouble> {
    match tokio::time::timeout(limit, TcpStream::connect((address, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(of_io(&error)),
        Err(_) => Err(late(limit)),
    }
}

fn late(limit: Duration) -> Trouble {
    Trouble::Instance(format!("no answer within {limit:?}"))
}

/// Builds the URL and makes sure that it leads to the instance and nowhere else.
fn url(address: &str, port: u16, path: &str) -> Result<Url, Trouble> {
    let host = match address.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => address.to_owned(),
    };
    let wrong = |why: &str| Trouble::Local(format!("http://{host}:{port}{path} {why}"));
    let url = Url::parse(&format!("http://{host}:{port}{path}"))
        .map_err(|error| wrong(&format!("is no URL: {error}")))?;
    let same_host = match host.parse::<IpAddr>() {
        // An address may be written in several ways.
        Ok(address) => url.host_str().and_then(|host| host.parse().ok()) == Some(address),
        Err(_) => url.host_str() == Some(&host),
    };
    let elsewhere = !same_host
        || url.port_or_known_default() != Some(port)
        || !url.username().is_empty()
        || url.password().is_some();
    if elsewhere || !path.starts_with('/') {
        return Err(wrong("leads elsewhere than to the instance"));
    }
    Ok(url)
}

fn of_request(error: &reqwest::Error) -> Trouble {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    let mut deepest = String::new();
    while let Some(current) = source {
        if let Some(error) = current.downcast_ref::<io::Error>() {
            return of_io(error);
        }
        deepest = current.to_string();
        source = current.source();
    }
    if error.is_builder() || error.is_connect() {
        Trouble::Local(deepest)
    } else {
        Trouble::Instance(deepest)
    }
}

fn of_io(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Trouble::Refused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::NotConnected
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::InvalidData
        | io::ErrorKind::TimedOut => Trouble::Instance(error.to_string()),
        _ => Trouble::Local(error.to_string()),
    }
}
