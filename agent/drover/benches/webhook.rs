//! How soon after a webhook's request the agent plans: the program as people run it, 1,000 groups of 10 simulated
//! instances, one request every 1.2 seconds.
//!
//! The start of planning is a line of the agent's log, with what fetching took, which is taken off.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends where something is not as it should be"
)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use ring::hmac;

const GROUPS: usize = 1_000;
const REQUESTS: usize = 200;

/// Longer than hints are coalesced for.
const BETWEEN: Duration = Duration::from_millis(1_200);

/// How long the fleet may take to come up, and a request to be followed by a plan.
const PATIENCE: Duration = Duration::from_mins(5);

const SECRET: &str = "of this benchmark";
const BODY: &str = r#"{"ref":"refs/heads/main"}"#;

const PROVIDER: &str = "\
apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: local}
spec: {type: simulated}
";

/// Ends with the benchmark, however that ends.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = folder.path().join("fleet");
    fs::create_dir_all(fleet.join("groups")).unwrap();
    fs::create_dir_all(fleet.join("providers")).unwrap();
    fs::write(fleet.join("providers/local.yaml"), PROVIDER).unwrap();
    git(&fleet, &["init", "--quiet", "--initial-branch", "main"]);
    for number in 0..GROUPS {
        write(&fleet, number, 10);
    }
    commit(&fleet);
    let address = free();
    let log = folder.path().join("log");
    let _agent = run(&fleet, folder.path(), &address);
    converged(&log);
    let mut taken: Vec<Duration> = (0..REQUESTS)
        .map(|round| {
            // The last one's commit had its pass.
            std::thread::sleep(BETWEEN);
            let asked = SystemTime::now();
            assert_eq!(post(&address), 202, "round {round}");
            planned_after(&log, asked)
        })
        .collect();
    taken.sort_unstable();
    let share = |percent: usize| taken[(taken.len() * percent).div_ceil(100) - 1].as_millis();
    println!(
        "{REQUESTS} requests, from sending one to the start of planning, without the fetch: median {} ms, p99 {} ms, most {} ms",
        share(50),
        share(99),
        share(100)
    );
}

fn git(fleet: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"];
    let mut git = Command::new("git");
    git.arg("-C").arg(fleet).args(identity).args(arguments);
    assert!(git.output().unwrap().status.success());
}

fn write(fleet: &Path, number: usize, size: usize) {
    let text = format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: group-{number}}}
spec:
  provider: local
  size: {size}
  template: {{properties: {{image: \"app:1\"}}}}
  rollout: {{minReady: 0s}}
"
    );
    fs::write(fleet.join(format!("groups/group-{number}.yaml")), text).unwrap();
}

fn commit(fleet: &Path) {
    git(fleet, &["add", "--all"]);
    git(fleet, &["commit", "--quiet", "--message", "a change"]);
}

fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Starts an agent that looks at the repository by itself once a day.
fn run(fleet: &Path, folder: &Path, address: &str) -> Agent {
    let (config, secret) = (folder.join("agent.yaml"), folder.join("secret"));
    fs::write(&secret, SECRET).unwrap();
    let text = format!(
        "name: bench
source: {{url: '{}', interval: 24h}}
dataDir: '{}'
listen: {address}
webhooks: [{{id: push, type: github, secretFile: '{}'}}]
",
        fleet.display(),
        folder.join("data").display(),
        secret.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
    command
        .args(["run", "--log-format", "json", "--config"])
        .arg(config)
        .env("HOME", folder)
        .env("RUST_LOG", "drover_loop::agent=debug")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(folder.join("log")).unwrap());
    Agent(command.spawn().unwrap())
}

/// Waits until every group is converged.
fn converged(log: &Path) {
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(log).unwrap();
        let lines = text.lines().filter(|line| {
            line.contains("phase changed") && line.contains("\"phase\":\"Converged\"")
        });
        if lines.count() >= GROUPS {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "the fleet does not converge");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn post(address: &str) -> u16 {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let mut signature = String::from("sha256=");
    for byte in hmac::sign(&key, BODY.as_bytes()).as_ref() {
        write!(signature, "{byte:02x}").unwrap();
    }
    let length = BODY.len();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /hook/push HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         X-Hub-Signature-256: {signature}\r\nContent-Length: {length}\r\n\r\n{BODY}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Returns how long after `asked` planning began, without what fetching took.
fn planned_after(log: &Path, asked: SystemTime) -> Duration {
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(log).unwrap();
        let found = text.lines().rev().take(50).filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            (line["message"] == "planning begins").then_some(())?;
            let at: SystemTime = line["timestamp"]
                .as_str()?
                .parse::<drover_model::Timestamp>()
                .ok()?
                .into();
            let after = at.duration_since(asked).ok()?;
            after.checked_sub(Duration::from_micros(line["fetch_us"].as_u64()?))
        });
        if let Some(first) = found.min() {
            return first;
        }
        assert!(begun.elapsed() < PATIENCE, "no plan:\n{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
