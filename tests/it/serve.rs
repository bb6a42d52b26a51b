//! Health and metrics.

use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::support::{IDLE, PATIENCE, PROVIDER, Sandbox, group, wait_until};

/// A free port of an address of our own, so that nothing else takes it in between.
pub(crate) fn free_address(last: u8) -> String {
    let address = format!("127.99.41.{last}");
    let listener = TcpListener::bind(format!("{address}:0")).unwrap();
    format!("{address}:{}", listener.local_addr().unwrap().port())
}

pub(crate) fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[test]
fn health_and_metrics_are_served_and_follow_the_groups() {
    let sandbox = Sandbox::with_files(&[
        PROVIDER,
        ("groups/web.yaml", &group("web", 2, IDLE, "")),
        ("groups/db.yaml", &group("db", 1, IDLE, "")),
        ("groups/other.yaml", &group("other", 1, IDLE, "")),
    ]);
    let address = free_address(1);
    let _agent = sandbox.agent_with(&["--listen", &address]);
    sandbox.wait_converged("web", 2);
    assert_eq!(get(&address, "/healthz").unwrap(), (200, "ok\n".to_owned()));
    assert_eq!(get(&address, "/readyz").unwrap().0, 200);
    assert_eq!(get(&address, "/nothing").unwrap().0, 404);
    let (status, metrics) = get(&address, "/metrics").unwrap();
    assert_eq!(status, 200);
    for line in [
        "drover_build_info{version=",
        "drover_group_condition{group=\"web\",type=\"Ready\",status=\"True\"} 1.0",
        "drover_instances{group=\"web\",class=\"Available\"} 2.0",
        "drover_group_size{group=\"db\"} 1.0",
        "drover_pass_duration_seconds_count",
        "drover_steps_total{action=\"create\",result=\"done\"}",
        "drover_source_last_success_timestamp_seconds",
        "drover_source_lag_seconds",
        "drover_writeback_pending",
        "drover_writeback_lag_seconds",
    ] {
        assert!(metrics.contains(line), "{line} is missing from\n{metrics}");
    }
    std::fs::remove_file(sandbox.path("work/groups/db.yaml")).unwrap();
    sandbox.push("remove db", &[]);
    wait_until("the series of db to go", PATIENCE, || {
        let (_, metrics) = get(&address, "/metrics").unwrap();
        !metrics.contains("group=\"db\"") && metrics.contains("group=\"web\"")
    });
}

#[test]
fn an_agent_is_not_ready_before_it_has_read_its_source() {
    let sandbox = Sandbox::new();
    sandbox.git(".", &["init", "--quiet", "--bare", "fleet.git"]);
    sandbox.configure("");
    let address = free_address(2);
    let _agent = sandbox.agent_with(&["--listen", &address]);
    wait_until("the agent to serve", PATIENCE, || {
        get(&address, "/healthz").is_some()
    });
    assert_eq!(get(&address, "/readyz").unwrap().0, 503);
}

#[test]
fn an_address_that_others_reach_or_that_is_taken_is_refused_before_anything_is_done() {
    let sandbox = Sandbox::with_files(&[PROVIDER, ("groups/web.yaml", &group("web", 1, IDLE, ""))]);
    let ran = sandbox
        .with_config(&["run", "--listen", "0.0.0.0:0"])
        .exits(64);
    ran.says("is not on loopback")
        .says("needs a token and TLS, which is not supported yet");
    let taken = TcpListener::bind("127.99.41.3:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = sandbox.with_config(&["run", "--listen", &address]).exits(1);
    ran.says(&format!("cannot listen on {address}"))
        .says("hint: another agent may be running");
    assert!(sandbox.processes().is_empty());
    assert!(!sandbox.path("data").exists());
}

/// Far less than an idle connection may last.
const SOON: Duration = Duration::from_secs(5);

/// Asserts that the other side has hung up.
fn assert_closed(mut stream: impl Read) {
    let mut bytes = [0; 16];
    match stream.read(&mut bytes) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn a_crowd_that_says_nothing_makes_room_for_who_asks() {
    let sandbox = Sandbox::with_files(&[PROVIDER, ("groups/web.yaml", &group("web", 1, IDLE, ""))]);
    let address = free_address(4);
    let _agent = sandbox.agent_with(&["--listen", &address]);
    sandbox.wait_converged("web", 1);
    let at_the_address: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(get(&address, "/healthz").unwrap().0, 200);
    at_the_address.into_iter().take(30).for_each(assert_closed);

    let socket = sandbox.path("data/agent.sock");
    let at_the_socket: Vec<UnixStream> = (0..300)
        .map(|_| {
            let stream = UnixStream::connect(&socket).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream
        })
        .collect();
    sandbox.with_config(&["get", "groups"]).exits(0);
    at_the_socket.into_iter().take(30).for_each(assert_closed);
}
