//! What it takes to check an audit log of 10,000 commits, and how much memory: a real agent over simulated
//! instances makes it, and the program as people run it checks it.
//!
//! Linux only, for `/proc`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends where something is not as it should be"
)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const COMMITS: usize = 10_000;
const GROUPS: usize = 200;
const INSTANCES: usize = 10;

/// Between two templates that are pushed: long enough for most of a roll.
const ROLL: Duration = Duration::from_secs(20);

/// How long making the history may take: generous, because machines are shared.
const PATIENCE: Duration = Duration::from_mins(30);

const PROVIDER: &str = "\
apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: local}
spec: {type: simulated, bootTime: 1s}
";

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = folder.path().join("fleet");
    fs::create_dir_all(fleet.join("groups")).unwrap();
    fs::create_dir_all(fleet.join("providers")).unwrap();
    fs::write(fleet.join("providers/local.yaml"), PROVIDER).unwrap();
    git(&fleet, &["init", "--quiet", "--initial-branch", "main"]);
    // What the pushes below would collect, and the agent's packs with it.
    git(&fleet, &["config", "gc.auto", "0"]);
    push(&fleet, 0);
    let began = Instant::now();
    let mut agent = Agent(run(&fleet, folder.path()));
    let mut round = 0;
    while commits(&fleet) < COMMITS {
        assert!(agent.0.try_wait().unwrap().is_none(), "the agent ended");
        assert!(began.elapsed() < PATIENCE, "the history does not grow");
        std::thread::sleep(ROLL);
        round += 1;
        push(&fleet, round);
    }
    drop(agent);
    let made = commits(&fleet);
    println!(
        "{made} commits about {GROUPS} groups of {INSTANCES}, made in {} s",
        began.elapsed().as_secs()
    );
    tell_size("as the agent leaves them", &fleet, made);
    let data = folder.path().join("data");
    for arguments in [&["audit", "verify"][..], &["audit", "export"]] {
        measure(arguments, &fleet, &data, folder.path());
    }
    // Without the documents' own commits.
    git(&fleet, &["checkout", "--quiet", "drover/state"]);
    git(&fleet, &["branch", "--quiet", "-D", "main"]);
    git(&fleet, &["reflog", "expire", "--expire=now", "--all"]);
    git(&fleet, &["gc", "--quiet", "--prune=now"]);
    tell_size("after git gc", &fleet, made);
}

/// The packs hold the state branch: the documents' own objects are loose.
fn tell_size(when: &str, fleet: &Path, commits: usize) {
    let (bytes, packs) = packed(fleet);
    println!(
        "{when}: {:.1} MB in {packs} packs, {} bytes a commit",
        bytes as f64 / 1e6,
        bytes / commits as u64
    );
}

/// Ends with the benchmark, however that ends.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn git(fleet: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"];
    let mut git = Command::new("git");
    git.arg("-C").arg(fleet).args(identity).args(arguments);
    let output = git.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn push(fleet: &Path, round: usize) {
    for number in 0..GROUPS {
        let text = format!(
            "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: group-{number}}}
spec:
  provider: local
  size: {INSTANCES}
  template: {{properties: {{image: \"app:{round}\"}}}}
  rollout: {{maxSurge: \"20%\", firstBatch: 2, minReady: 0s}}
  drain: {{delay: 1s, timeout: 1m}}
"
        );
        fs::write(fleet.join(format!("groups/group-{number}.yaml")), text).unwrap();
    }
    git(fleet, &["add", "--all"]);
    let message = format!("round {round}");
    git(fleet, &["commit", "--quiet", "--message", &message]);
}

fn commits(fleet: &Path) -> usize {
    let count = git(fleet, &["rev-list", "--count", "drover/state"]);
    count.trim().parse().unwrap_or(0)
}

/// Returns the size of a repository's packs with their indexes in bytes, and how many they are.
fn packed(fleet: &Path) -> (u64, u64) {
    let counted = git(fleet, &["count-objects", "--verbose"]);
    let field = |name: &str| {
        let mut lines = counted.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.map_or(0, |value| value.trim().parse::<u64>().unwrap())
    };
    (field("size-pack") * 1_024, field("packs"))
}

fn run(fleet: &Path, folder: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
    command
        .args(["run", "--interval", "1s", "--listen", "off"])
        .arg("--source")
        .arg(fleet)
        .arg("--data-dir")
        .arg(folder.join("data"))
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(folder.join("log")).unwrap());
    command.spawn().unwrap()
}

/// Runs a command over the history, and prints how long it took and the most memory that it held.
fn measure(arguments: &[&str], fleet: &Path, data: &Path, folder: &Path) {
    let output = folder.join("output");
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
    command.args(arguments);
    command.arg("--source").arg(fleet);
    command.arg("--data-dir").arg(data);
    command.env("HOME", folder).stdin(Stdio::null());
    command.stdout(File::create(&output).unwrap());
    let mut child = Agent(command.spawn().unwrap());
    let mut peak = 0.0_f64;
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        let status = fs::read_to_string(format!("/proc/{}/status", child.0.id()));
        peak = peak.max(mebibytes(&status.unwrap_or_default()));
        std::thread::sleep(Duration::from_millis(20));
    };
    println!(
        "drover {}: {status}, {:.1} s, at most {peak:.0} MiB resident",
        arguments.join(" "),
        began.elapsed().as_secs_f64()
    );
    let text = fs::read_to_string(output).unwrap();
    for line in text.lines().rev().take(2) {
        println!("  {}", line.chars().take(160).collect::<String>());
    }
}

fn mebibytes(status: &str) -> f64 {
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.map_or(0.0, |kib| kib.parse::<f64>().unwrap() / 1_024.0)
}
