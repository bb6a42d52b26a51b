use std::net::SocketAddr;

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::*;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

const HALF: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n";

/// Long limits, of which a test shortens one.
const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 8,
    idle: Duration::from_mins(10),
    lifetime: None,
};

async fn start(limits: ConnectionLimits) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/read", post(async |body: String| body));
    let mut serving = JoinSet::new();
    serving.spawn(async move { match serve(&listener, router, limits).await {} });
    (address, serving)
}

async fn say(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// Returns everything that comes until the connection is closed.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    // One that is closed before its request was read is reset.
    let _ = tokio::time::timeout(PATIENCE, read).await.unwrap();
    text
}

async fn asks(address: SocketAddr) -> String {
    rest(say(address, &format!("{HALF}Connection: close\r\n\r\n")).await).await
}

#[tokio::test]
async fn a_crowd_that_says_half_of_something_keeps_nobody_out() {
    let (address, _serving) = start(LIMITS).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(say(address, HALF).await);
    }
    assert!(asks(address).await.ends_with("ok\n"));
    // All but the newest were closed.
    crowd.truncate(90);
    for stream in crowd {
        assert_eq!(rest(stream).await, "");
    }
}

#[tokio::test]
async fn who_waits_for_an_answer_is_not_closed_for_who_asks_nothing() {
    let (address, _serving) = start(LIMITS).await;
    let head = "POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\n";
    let mut asked = say(address, head).await;
    // Answered after it, so it was read.
    assert!(asks(address).await.ends_with("ok\n"));
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(say(address, HALF).await);
    }
    assert!(asks(address).await.ends_with("ok\n"));
    asked.write_all(b"hello").await.unwrap();
    assert!(rest(asked).await.ends_with("\r\n\r\nhello"));
}

#[tokio::test]
async fn headers_that_do_not_end_and_silence_end_a_connection() {
    let idle = Duration::from_millis(200);
    let (address, _serving) = start(ConnectionLimits { idle, ..LIMITS }).await;
    assert_eq!(rest(say(address, HALF).await).await, "");
    assert_eq!(rest(say(address, "").await).await, "");
    // Nothing more is asked after the first answer.
    let kept = rest(say(address, &format!("{HALF}\r\n")).await).await;
    assert!(kept.ends_with("ok\n"), "{kept}");
}

#[tokio::test]
async fn no_connection_lasts_for_ever() {
    let lifetime = Lifetime {
        asking: Duration::from_millis(200),
        grace: Duration::from_millis(200),
    };
    let limits = ConnectionLimits {
        lifetime: Some(lifetime),
        ..LIMITS
    };
    let (address, _serving) = start(limits).await;
    let kept = rest(say(address, &format!("{HALF}\r\n")).await).await;
    assert!(kept.ends_with("ok\n"), "{kept}");
    // A body that never comes.
    let head = "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(rest(say(address, head).await).await, "");
}

#[tokio::test]
async fn who_says_nothing_on_the_socket_makes_room_for_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let router = Router::new().route("/v1/state", get(async || "ok\n"));
    let limits = ConnectionLimits {
        connections: 4,
        ..OF_THE_SOCKET
    };
    let mut serving = JoinSet::new();
    serving.spawn(async move { match serve(&listener, router, limits).await {} });
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(UnixStream::connect(&path).await.unwrap());
    }
    let mut command = UnixStream::connect(&path).await.unwrap();
    let asked = b"GET /v1/state HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    command.write_all(asked).await.unwrap();
    let mut text = String::new();
    let read = command.read_to_string(&mut text);
    tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
    assert!(text.ends_with("ok\n"), "{text}");
}
