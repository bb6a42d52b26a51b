//! Connections that hold nobody up, and calls that end.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose surroundings fail has nothing better to do than to say so"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::super::{Answered, Served, ServedSocket, Service};
use super::Limits;
use crate::connections::{self, ConnectionLimits, Listener};

/// Longer than any test.
const NEVER: Duration = Duration::from_hours(1);

/// Far more than a socket takes that nobody reads.
const MUCH: usize = 2 << 20;

/// How long what has to happen may take.
const SOON: Duration = Duration::from_secs(20);

/// A plugin whose calls wait until they are let go, and are counted when they are done.
#[derive(Debug, Clone)]
struct Waiting {
    gate: Arc<Semaphore>,
    done: Arc<Semaphore>,
}

#[async_trait]
impl Service for Waiting {
    fn name(&self) -> &'static str {
        "Test"
    }

    fn versions(&self) -> [Option<&'static str>; 3] {
        [None; 3]
    }

    async fn call(&self, method: &str, _params: &Json) -> Option<Answered> {
        match method {
            "Wait" => {
                self.gate.acquire().await.unwrap().forget();
                self.done.add_permits(1);
                Some(Ok("true".to_owned()))
            }
            "Much" => {
                self.done.add_permits(1);
                Some(Ok(json!("x".repeat(MUCH)).to_string()))
            }
            _ => Some(Ok("true".to_owned())),
        }
    }
}

struct Server {
    _folder: tempfile::TempDir,
    path: PathBuf,
    service: Waiting,
}

const LIMITS: Limits = Limits {
    connections: CONNECTIONS,
    calls: 2,
    queue: NEVER,
    call: NEVER,
};

const CONNECTIONS: ConnectionLimits = ConnectionLimits {
    connections: 2,
    idle: NEVER,
    lifetime: None,
};

/// More than any test opens.
const MANY: ConnectionLimits = ConnectionLimits {
    connections: 9,
    ..CONNECTIONS
};

impl Server {
    fn start(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test");
        let service = Waiting {
            gate: Arc::new(Semaphore::new(0)),
            done: Arc::new(Semaphore::new(0)),
        };
        let served = Served::new(vec![Box::new(service.clone())]);
        let socket = ServedSocket::bind(&path).unwrap();
        tokio::spawn(async move { served.serve_within(&socket, limits).await });
        Self {
            _folder: folder,
            path,
            service,
        }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }
}

fn request(method: &str) -> String {
    let body = json!({"jsonrpc": "2.0", "method": format!("Test.{method}"), "params": {}, "id": 1});
    let body = body.to_string();
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
}

async fn send(stream: &mut UnixStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Returns what comes up to an end of an answer.
async fn answer(stream: &mut UnixStream) -> String {
    let mut read = Vec::new();
    let all = async {
        while !read.ends_with(b"}\n") && !read.ends_with(b"way") {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "closed after {read:?}");
            read.extend(&bytes[..count]);
        }
    };
    tokio::time::timeout(SOON, all).await.unwrap();
    String::from_utf8(read).unwrap()
}

/// Waits until the other side hangs up, and returns how much it has said.
async fn closed(stream: &mut UnixStream) -> usize {
    let mut read = Vec::new();
    let all = tokio::time::timeout(SOON, stream.read_to_end(&mut read)).await;
    // Hung up on in the middle of a request.
    let _ = all.unwrap();
    read.len()
}

#[tokio::test]
async fn connections_that_say_nothing_make_room_for_one_that_does() {
    let server = Server::start(LIMITS);
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for stream in [&mut first, &mut second] {
        send(stream, &request("Now")).await;
        assert!(answer(stream).await.contains("\"result\":true"));
    }
    let mut third = server.connect().await;
    send(&mut third, &request("Now")).await;
    assert!(answer(&mut third).await.contains("\"result\":true"));
    // The one that had been idle for longest has gone, and nobody else.
    assert_eq!(closed(&mut first).await, 0);
    send(&mut second, &request("Now")).await;
    assert!(answer(&mut second).await.contains("\"result\":true"));
}

#[tokio::test]
async fn whoever_is_in_a_call_keeps_the_place() {
    let server = Server::start(LIMITS);
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for stream in [&mut first, &mut second] {
        send(stream, &request("Wait")).await;
    }
    let mut third = server.connect().await;
    send(&mut third, &request("Now")).await;
    let early = tokio::time::timeout(Duration::from_millis(300), third.read_u8()).await;
    assert!(early.is_err(), "{early:?}");
    server.service.gate.add_permits(2);
    for stream in [&mut first, &mut second, &mut third] {
        assert!(answer(stream).await.contains("\"result\":true"));
    }
}

#[tokio::test]
async fn whoever_was_in_a_call_may_ask_again() {
    let server = Server::start(LIMITS);
    let mut first = server.connect().await;
    send(&mut first, &request("Wait")).await;
    let mut second = server.connect().await;
    send(&mut second, &request("Now")).await;
    answer(&mut second).await;
    let mut third = server.connect().await;
    send(&mut third, &request("Now")).await;
    answer(&mut third).await;
    // The one that asked for nothing has gone.
    assert_eq!(closed(&mut second).await, 0);
    server.service.gate.add_permits(1);
    answer(&mut first).await;
    send(&mut first, &request("Now")).await;
    assert!(answer(&mut first).await.contains("\"result\":true"));
}

#[tokio::test]
async fn an_answer_that_is_under_way_is_sent_before_another_one_gets_the_place() {
    let server = Server::start(Limits {
        connections: ConnectionLimits {
            connections: 1,
            ..CONNECTIONS
        },
        ..LIMITS
    });
    let mut first = server.connect().await;
    send(&mut first, &request("Much")).await;
    server.service.done.acquire().await.unwrap().forget();
    let mut second = server.connect().await;
    send(&mut second, &request("Now")).await;
    let early = tokio::time::timeout(Duration::from_millis(300), second.read_u8()).await;
    assert!(early.is_err(), "{early:?}");
    assert!(closed(&mut first).await > MUCH);
    assert!(answer(&mut second).await.contains("\"result\":true"));
}

#[tokio::test]
async fn requests_that_are_too_large_are_not_read_to_their_end() {
    let server = Server::start(LIMITS);
    let mut heading = server.connect().await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: {}\r\n",
        "x".repeat(300 << 10)
    );
    let body = request("Now");
    let body = body.strip_prefix("POST / HTTP/1.1\r\nHost: h\r\n").unwrap();
    // It may be hung up on before all is sent.
    let _ = heading.write_all((head + body).as_bytes()).await;
    let mut read = Vec::new();
    let all = tokio::time::timeout(SOON, heading.read_to_end(&mut read)).await;
    let _ = all.unwrap();
    assert!(!String::from_utf8_lossy(&read).contains("result"));
    let much =
        json!({"jsonrpc": "2.0", "method": "Test.Now", "params": "x".repeat(5 << 20), "id": 1});
    let much = much.to_string();
    let length = much.len();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    let (mut reading, mut writing) = server.connect().await.into_split();
    let writing = tokio::spawn(async move {
        let _ = writing.write_all((head + &much).as_bytes()).await;
        writing
    });
    let mut read = Vec::new();
    let all = tokio::time::timeout(SOON, reading.read_to_end(&mut read)).await;
    let _ = all.unwrap();
    let text = String::from_utf8_lossy(&read);
    assert!(
        text.is_empty() || text.contains("\r\ncontent-length: 0\r\n"),
        "{text}"
    );
    drop(writing);
}

#[tokio::test]
async fn the_time_of_a_request_begins_when_it_is_heard_of() {
    let idle = Duration::from_secs(2);
    let server = Server::start(Limits {
        connections: ConnectionLimits { idle, ..MANY },
        ..LIMITS
    });
    let mut late = server.connect().await;
    tokio::time::sleep(idle * 2 / 3).await;
    let request = request("Now");
    let (begin, end) = request.split_at(request.len() - 9);
    send(&mut late, begin).await;
    tokio::time::sleep(idle * 2 / 3).await;
    send(&mut late, end).await;
    assert!(answer(&mut late).await.contains("\"result\":true"));
}

#[tokio::test]
async fn a_connection_that_drips_is_closed_in_time() {
    let idle = Duration::from_millis(200);
    let server = Server::start(Limits {
        connections: ConnectionLimits { idle, ..MANY },
        ..LIMITS
    });
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n";
    for begins in ["POST / HTTP/1.1\r\nX: ", head] {
        let (mut reading, mut writing) = server.connect().await.into_split();
        writing.write_all(begins.as_bytes()).await.unwrap();
        let dripping = tokio::spawn(async move {
            while writing.write_all(b"x").await.is_ok() {
                tokio::time::sleep(idle / 10).await;
            }
        });
        let mut read = Vec::new();
        let all = tokio::time::timeout(SOON, reading.read_to_end(&mut read)).await;
        let _ = all.unwrap();
        tokio::time::timeout(SOON, dripping).await.unwrap().unwrap();
    }
}

/// A listener for which the system had no more files once.
struct Exhausted {
    inner: UnixListener,
    failures: std::sync::atomic::AtomicUsize,
}

impl Listener for Exhausted {
    type Stream = UnixStream;

    async fn next(&self) -> std::io::Result<UnixStream> {
        use std::sync::atomic::Ordering::Relaxed;
        if self.failures.fetch_add(1, Relaxed) == 0 {
            let error = rustix::io::Errno::MFILE;
            return Err(error.into());
        }
        self.inner.next().await
    }
}

#[tokio::test]
async fn a_moment_without_files_ends_nobodys_serving() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test");
    let listener = Exhausted {
        inner: UnixListener::bind(&path).unwrap(),
        failures: std::sync::atomic::AtomicUsize::new(0),
    };
    let respond = async |_request, _connection| {
        hyper::Response::new(http_body_util::Full::new(hyper::body::Bytes::from("{}\n")))
    };
    tokio::spawn(async move { match connections::serve(&listener, MANY, respond).await {} });
    let mut stream = UnixStream::connect(&path).await.unwrap();
    send(&mut stream, &request("Now")).await;
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_served_socket_is_its_users_and_no_second_one_takes_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start(LIMITS);
    let mode = std::fs::metadata(&server.path)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let taken = ServedSocket::bind(&server.path).unwrap_err();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    let mut stream = server.connect().await;
    send(&mut stream, &request("Now")).await;
    answer(&mut stream).await;
}

#[tokio::test]
async fn a_connection_without_a_call_is_closed_in_time() {
    let idle = Duration::from_millis(200);
    let server = Server::start(Limits {
        connections: ConnectionLimits { idle, ..MANY },
        ..LIMITS
    });
    let mut called = server.connect().await;
    send(&mut called, &request("Now")).await;
    answer(&mut called).await;
    let mut silent = server.connect().await;
    let mut heading = server.connect().await;
    send(&mut heading, "POST / HTTP/1.1\r\nHost").await;
    let mut half = server.connect().await;
    send(
        &mut half,
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{",
    )
    .await;
    for stream in [&mut called, &mut silent, &mut heading, &mut half] {
        assert_eq!(closed(stream).await, 0);
    }
    // Nobody reads the answer while it is written.
    let mut deaf = server.connect().await;
    send(&mut deaf, &request("Much")).await;
    server.service.done.acquire().await.unwrap().forget();
    tokio::time::sleep(10 * idle).await;
    assert!(closed(&mut deaf).await < MUCH);
    // A call may take its time.
    let mut slow = server.connect().await;
    send(&mut slow, &request("Wait")).await;
    tokio::time::sleep(5 * idle).await;
    server.service.gate.add_permits(1);
    assert!(answer(&mut slow).await.contains("\"result\":true"));
}

#[tokio::test]
async fn a_call_that_waits_for_others_for_too_long_is_told_so() {
    let server = Server::start(Limits {
        connections: MANY,
        queue: Duration::from_millis(200),
        ..LIMITS
    });
    for _ in 0..2 {
        let mut gone = server.connect().await;
        send(&mut gone, &request("Wait")).await;
        // It is carried out by the time that another connection is answered, or refused.
        let mut other = server.connect().await;
        send(&mut other, &request("Now")).await;
        answer(&mut other).await;
        drop(gone);
    }
    let mut third = server.connect().await;
    send(&mut third, &request("Now")).await;
    let refused = answer(&mut third).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(
        refused.ends_with("too many calls are under way"),
        "{refused}"
    );
    // Both whose callers have hung up are carried out.
    server.service.gate.add_permits(2);
    let done = server.service.done.acquire_many(2);
    tokio::time::timeout(SOON, done)
        .await
        .unwrap()
        .unwrap()
        .forget();
    send(&mut third, &request("Now")).await;
    assert!(answer(&mut third).await.contains("\"result\":true"));
}

#[tokio::test]
async fn a_call_that_has_no_end_gives_its_place_back() {
    let server = Server::start(Limits {
        connections: MANY,
        call: Duration::from_millis(200),
        ..LIMITS
    });
    // As many as may be carried out at once.
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for stream in [&mut first, &mut second] {
        send(stream, &request("Wait")).await;
    }
    for stream in [&mut first, &mut second] {
        let mut told = [0; 12];
        let read = stream.read_exact(&mut told);
        tokio::time::timeout(SOON, read).await.unwrap().unwrap();
        assert_eq!(&told, b"HTTP/1.1 500");
    }
    let mut third = server.connect().await;
    send(&mut third, &request("Now")).await;
    assert!(answer(&mut third).await.contains("\"result\":true"));
    // Nobody waits at the gate any more.
    server.service.gate.add_permits(1);
    assert!(server.service.done.try_acquire().is_err());
}
