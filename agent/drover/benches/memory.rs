//! How much memory an agent holds that serves a large fleet: the release binary as people run it, over
//! a real repository, with the simulated instances in the same process.
//!
//! Measured half a minute after the last group converged; Linux only, for `/proc`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends where something is not as it should be"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const GROUPS: usize = 1_000;
const INSTANCES: usize = 10;

/// The time between the last group's convergence and the measurement.
const REST: Duration = Duration::from_secs(30);

/// How long convergence may take: generous, because machines are shared.
const PATIENCE: Duration = Duration::from_mins(10);

const PROVIDER: &str = "\
apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: local}
spec: {type: simulated}
";

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = folder.path().join("fleet");
    write_fleet(&fleet);
    let mut agent = Agent(run(&fleet, folder.path()));
    let began = Instant::now();
    let log = folder.path().join("log");
    while converged(&log) < GROUPS {
        assert!(agent.0.try_wait().unwrap().is_none(), "the agent ended");
        assert!(began.elapsed() < PATIENCE, "the fleet does not converge");
        std::thread::sleep(Duration::from_millis(500));
    }
    println!(
        "{GROUPS} groups of {INSTANCES} converged after {} s",
        began.elapsed().as_secs()
    );
    std::thread::sleep(REST);
    println!("{} s later, in MiB:", REST.as_secs());
    let status = fs::read_to_string(format!("/proc/{}/status", agent.0.id())).unwrap();
    for (field, what) in [
        ("VmRSS:", "resident"),
        ("RssAnon:", "of it anonymous"),
        ("RssFile:", "of it the binary and its libraries"),
        ("VmHWM:", "most ever resident"),
    ] {
        println!("{what}: {:.1}", mebibytes(&status, field));
    }
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

fn write_fleet(fleet: &Path) {
    fs::create_dir_all(fleet.join("groups")).unwrap();
    fs::create_dir_all(fleet.join("providers")).unwrap();
    fs::write(fleet.join("providers/local.yaml"), PROVIDER).unwrap();
    for number in 0..GROUPS {
        let mut text = format!(
            "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: group-{number}, labels: {{env: prod, tier: web}}}}
spec:
  provider: local
  size: {INSTANCES}
  template:
    properties: {{image: \"app:{number}\"}}
    flavors:
      - vanilla: {{env: {{PORT: \"8080\"}}}}
  rollout: {{maxSurge: \"10%\", firstBatch: 10, minReady: 0s}}
"
        );
        let _ = writeln!(text, "  drain: {{delay: 2s, timeout: 1m}}");
        fs::write(fleet.join(format!("groups/group-{number}.yaml")), text).unwrap();
    }
    for arguments in [
        &["init", "--quiet", "--initial-branch", "main"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message", "a large fleet"],
    ] {
        let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"];
        let mut git = Command::new("git");
        git.arg("-C").arg(fleet).args(identity).args(arguments);
        assert!(git.status().unwrap().success(), "git {arguments:?}");
    }
}

fn run(fleet: &Path, folder: &Path) -> Child {
    let log = File::create(folder.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_drover"));
    command
        .args(["run", "--interval", "5s", "--listen", "off"])
        .args(["--verbose", "--log-format", "json"])
        .arg("--source")
        .arg(fleet)
        .arg("--data-dir")
        .arg(folder.join("data"))
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().unwrap()
}

/// Returns how many groups the log says are converged.
fn converged(log: &Path) -> usize {
    let text = fs::read_to_string(log).unwrap();
    let lines = text.lines().filter(|line| line.contains("Converged"));
    let groups = lines.filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        Some(line.get("group")?.as_str()?.to_owned())
    });
    groups.collect::<BTreeSet<String>>().len()
}

fn mebibytes(status: &str, field: &str) -> f64 {
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<f64>().unwrap() / 1_024.0
}
