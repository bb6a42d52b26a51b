//! Webhooks: whoever knows the secret may say that something has changed, and nothing more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ring::hmac;

use crate::http_backend::HttpBackend;
use crate::serve::{free_address, get};
use crate::support::{IDLE, PATIENCE, PROVIDER, Sandbox, group, wait_until};

const WEB: &str = "groups/web.yaml";
const SECRET: &str = "correct horse battery staple";
const BODY: &str = r#"{"ref":"refs/heads/main","after":"$(touch /tmp/believed)"}"#;

/// How many requests a flood has.
const FLOOD: usize = 200;

pub(crate) fn signature(secret: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut text = String::from("sha256=");
    for byte in hmac::sign(&key, body.as_bytes()).as_ref() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// Posts a body that is said to have a length, and returns the whole answer.
fn send(address: &str, path: &str, headers: &str, length: usize, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status(answer: &str) -> u16 {
    let word = answer.split(' ').nth(1);
    word.and_then(|word| word.parse().ok()).unwrap()
}

/// Posts the body with a signature. Returns the answer's status.
pub(crate) fn post(address: &str, path: &str, signature: &str) -> u16 {
    let header = format!("X-Hub-Signature-256: {signature}\r\n");
    status(&send(address, path, &header, BODY.len(), BODY))
}

/// A repository on another machine, which no agent can watch, and an agent that would look at it again
/// after a day.
fn start(address: &str) -> (Sandbox, HttpBackend) {
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 2, IDLE, ""))]);
    sandbox.git("fleet.git", &["config", "http.receivepack", "true"]);
    sandbox.write("secret/hook", &format!("{SECRET}\n"));
    let server = HttpBackend::start(&sandbox.path("."));
    let text = format!(
        "name: test\nsource: {{url: '{}', interval: 24h}}\ndataDir: '{}'\nlisten: '{address}'\n\
         providers: {{allow: [process]}}\n\
         webhooks: [{{id: gh-1, type: github, secretFile: '{}'}}]\n",
        server.url("fleet.git"),
        sandbox.path("data").display(),
        sandbox.path("secret/hook").display(),
    );
    sandbox.write("agent.yaml", &text);
    (sandbox, server)
}

/// How often the agent asked where the branches are since the last call.
pub(crate) fn looks(server: &HttpBackend) -> usize {
    let seen = server.take_requests().into_iter();
    let looks = seen.filter(|request| {
        request
            .target
            .ends_with("info/refs?service=git-upload-pack")
    });
    looks.count()
}

#[test]
fn a_signed_webhook_starts_a_pass_and_no_other_request_does() {
    let address = free_address(11);
    let (sandbox, server) = start(&address);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    looks(&server);

    let signed = signature(SECRET, BODY);
    assert_eq!(post(&address, "/hook/gh-1", &signature("guess", BODY)), 401);
    assert_eq!(post(&address, "/hook/gh-1", &signature(SECRET, "{}")), 401);
    assert_eq!(status(&send(&address, "/hook/gh-1", "", 0, "")), 401);
    assert_eq!(post(&address, "/hook/gh-2", &signed), 404);
    assert_eq!(get(&address, "/hook/gh-1").unwrap().0, 405);
    let header = format!("X-Hub-Signature-256: {signed}\r\n");
    let large = send(&address, "/hook/gh-1", &header, (256 << 10) + 1, "");
    assert_eq!(status(&large), 413, "{large}");
    sandbox.with_config(&["reconcile"]).exits(0);
    assert_eq!(looks(&server), 1, "nobody but `drover reconcile` asked");

    sandbox.push("three", &[(WEB, &group("web", 3, IDLE, ""))]);
    let answer = send(&address, "/hook/gh-1", &header, BODY.len(), BODY);
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "it has a body: {answer}");
    sandbox.wait_converged("web", 3);

    sandbox.write("secret/hook", "rotated");
    assert_eq!(post(&address, "/hook/gh-1", &signed), 401);
    assert_eq!(
        post(&address, "/hook/gh-1", &signature("rotated", BODY)),
        202
    );
    let (_, metrics) = get(&address, "/metrics").unwrap();
    for line in [
        "drover_webhook_total{result=\"accepted\"} 2",
        "drover_webhook_total{result=\"refused\"} 4",
        "drover_webhook_total{result=\"unknown\"} 1",
        "drover_webhook_total{result=\"too-large\"} 1",
        "drover_webhook_total{result=\"limited\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is missing from\n{metrics}");
    }
    std::fs::remove_file(sandbox.path("secret/hook")).unwrap();
    for _ in 0..2 {
        assert_eq!(post(&address, "/hook/gh-1", &signed), 503);
    }
    let log = sandbox.agent_log();
    let told = log.matches("secret of a webhook not read").count();
    assert_eq!(told, 1, "told once: {log}");
    assert!(!log.contains("believed") && !log.contains("horse"), "{log}");
}

#[test]
fn a_flood_of_webhooks_is_answered_and_ends_in_few_passes() {
    let address = free_address(12);
    let (sandbox, server) = start(&address);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    looks(&server);
    let signed = signature(SECRET, BODY);
    let started = std::time::Instant::now();
    let mut answers = BTreeMap::new();
    for _ in 0..FLOOD {
        *answers
            .entry(post(&address, "/hook/gh-1", &signed))
            .or_insert(0_usize) += 1;
    }
    assert_eq!(answers.values().sum::<usize>(), FLOOD);
    assert_eq!(answers.keys().copied().collect::<Vec<_>>(), [202, 429]);
    assert!(answers[&202] >= 20 && answers[&429] > 20, "{answers:?}");
    // A request that is looked at after the flood is acted on as ever.
    sandbox.push("one", &[(WEB, &group("web", 1, IDLE, ""))]);
    wait_until("a request that is looked at", PATIENCE, || {
        post(&address, "/hook/gh-1", &signed) == 202
    });
    sandbox.wait_converged("web", 1);
    let looked = looks(&server);
    // One each second, the first one and the last one.
    let passes_max = started.elapsed().as_secs() as usize + 2;
    assert!(looked <= passes_max, "{looked} looks, {answers:?}");
}

#[test]
fn webhooks_that_nothing_listens_for_are_told() {
    let (sandbox, _server) = start(&free_address(13));
    let ran = sandbox.with_config(&["run", "--listen", "off", "--until-converged"]);
    ran.exits(0).says("webhooks not answered");
}
