//! Somebody is told: events posted by a running agent, and alert rules that Prometheus takes.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use serde_json::Value;

use crate::support::{IDLE, PATIENCE, PROVIDER, Sandbox, group, wait_until};

const WEB: &str = "groups/web.yaml";
const SECRET: &str = "correct horse battery staple";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Takes one request after the other and hands on signature and body. It ends with the test.
pub(crate) fn receiver() -> (String, mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/t0ken", listener.local_addr().unwrap());
    let (events, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut length, mut signature) = (0, String::new());
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let Some((name, value)) = line.trim().split_once(": ") else {
                    if line.trim().is_empty() {
                        break;
                    }
                    continue;
                };
                match name {
                    "content-length" => length = value.parse().unwrap(),
                    "x-signature" => value.clone_into(&mut signature),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            write!(stream, "HTTP/1.1 204 x\r\nConnection: close\r\n\r\n").unwrap();
            let event = serde_json::from_slice(&body).unwrap();
            if events.send((signature, event)).is_err() {
                return;
            }
        }
    });
    (url, received)
}

#[test]
fn an_agent_tells_what_happens_and_shows_the_address_nowhere() {
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 2, IDLE, ""))]);
    let (url, received) = receiver();
    sandbox.write("secret/url", &url);
    sandbox.write("secret/key", SECRET);
    let file = |name: &str| sandbox.path(name).display().to_string();
    sandbox.configure(&format!(
        "notify: {{urlFile: '{}', secretFile: '{}'}}\n",
        file("secret/url"),
        file("secret/key")
    ));
    let agent = sandbox.agent();
    let mut told = Vec::new();
    let mut hears = |reason: &str| {
        wait_until(reason, PATIENCE, || {
            told.extend(received.try_iter());
            told.iter().any(|(_, event)| event["reason"] == reason)
        });
        let (signature, event) = told
            .iter()
            .find(|(_, event)| event["reason"] == reason)
            .unwrap();
        assert!(signature.starts_with("sha256="), "{signature}");
        event.clone()
    };
    let converged = hears("Converged");
    assert_eq!(converged["involvedObject"]["kind"], "Group");
    assert_eq!(converged["involvedObject"]["name"], "web");
    assert_eq!(converged["severity"], "info");
    let revision = converged["metadata"]["revision"].as_str().unwrap();
    assert!(revision.starts_with("main@sha1:"), "{revision}");
    sandbox.push(
        "broken",
        &[(WEB, &group("web", 2, IDLE, "  nonsense: true\n"))],
    );
    let invalid = hears("SpecInvalid");
    assert_eq!(invalid["severity"], "error");
    assert_eq!(invalid["reportingInstance"], "test");
    sandbox.push("mended", &[(WEB, &group("web", 2, IDLE, ""))]);
    hears("SpecInvalidEnded");
    agent.stop();
    let log = sandbox.agent_log();
    assert!(!log.contains("t0ken"), "{log}");
}

#[test]
fn prometheus_takes_the_alert_rules_and_they_fire_when_they_should() {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("docs/guides/alerts/drover.rules.yml", "drover.rules.yml"),
        ("tests/fixtures/alerts.test.yml", "alerts.test.yml"),
    ] {
        std::fs::copy(root().join(from), folder.path().join(to)).unwrap();
    }
    for arguments in [
        ["check", "rules", "drover.rules.yml"],
        ["test", "rules", "alerts.test.yml"],
    ] {
        let mut promtool = Command::new("promtool");
        let output = promtool.args(arguments).current_dir(folder.path()).output();
        let output = output.expect("promtool is needed: it comes with Debian's package prometheus");
        let told = String::from_utf8_lossy(&output.stdout);
        let more = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}{more}");
    }
}

#[test]
fn the_alert_rules_name_metrics_and_holds_that_there_are() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let rules = read("docs/guides/alerts/drover.rules.yml");
    let (metrics, holds) = (
        read("agent/drover/src/agent/metrics.rs"),
        read("docs/reference/holds.md"),
    );
    let word = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        text[..end.unwrap_or(text.len())].to_owned()
    };
    let names: BTreeSet<String> = rules.split("drover_").skip(1).map(word).collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        let name = name.trim_end_matches("_total");
        assert!(
            metrics.contains(&format!("\"{name}\"")),
            "there is no metric {name}"
        );
    }
    let codes: BTreeSet<String> = rules.split("code=\"").skip(1).map(word).collect();
    assert!(codes.len() >= 3, "{codes:?}");
    for code in codes {
        assert!(
            holds.contains(&format!("| `{code}` |")),
            "there is no hold {code}"
        );
    }
}
