//! The demo, played for real.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{PATIENCE, Sandbox, kill, wait_until};

/// What the project promises for a demo on a machine that does nothing else.
const DEMO_MAX: Duration = Duration::from_mins(1);

fn folders(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path(""))
        .unwrap()
        .filter_map(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with("drover-demo-"))
        .collect()
}

#[test]
fn every_act_happens_and_nothing_is_left_behind() {
    let sandbox = Sandbox::new();
    let started = Instant::now();
    let ran = sandbox.drover(&["demo"]).exits(0);
    let took = started.elapsed();
    for number in 1..=7 {
        assert!(
            ran.stdout.contains(&format!("\n{number}. ")),
            "{}",
            ran.stdout
        );
    }
    let verdict = ran
        .stdout
        .lines()
        .find(|line| line.contains("requests failed"))
        .unwrap();
    assert!(verdict.contains("ok  0 of "), "{verdict}");
    assert!(ran.stdout.contains("Everything held"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'), "plain in a pipe");
    assert_eq!(ran.stderr, "");
    assert!(took < DEMO_MAX, "it took {took:?}");
    assert_eq!(folders(&sandbox), [""; 0]);
    assert!(sandbox.processes().is_empty());
}

#[test]
fn an_interrupted_demo_clears_up_after_itself() {
    let sandbox = Sandbox::new();
    let mut demo = sandbox
        .command(&["demo"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the first servers", PATIENCE, || {
        sandbox.processes().len() >= 2
    });
    kill(demo.id() as i32, Signal::INT);
    wait_until("the end of the demo", PATIENCE, || {
        demo.try_wait().unwrap().is_some()
    });
    assert_eq!(demo.wait().unwrap().code(), Some(130));
    assert_eq!(folders(&sandbox), [""; 0]);
    assert!(sandbox.processes().is_empty());
}

#[test]
fn a_kept_demo_runs_on_and_can_be_looked_at() {
    let sandbox = Sandbox::new();
    let ran = sandbox.drover(&["demo", "--keep"]).exits(0);
    assert!(
        ran.stdout.contains("Everything is left running"),
        "{}",
        ran.stdout
    );
    let folder = folders(&sandbox).pop().unwrap();
    let config = sandbox
        .path(&folder)
        .join("agent.yaml")
        .display()
        .to_string();
    let groups = sandbox
        .drover(&["get", "groups", "--no-headers", "--config", &config])
        .exits(0);
    assert_eq!(groups.stderr, "", "the agent answers");
    assert_eq!(groups.stdout, "web   Converged   5   5   5   -\n");
    assert_eq!(sandbox.processes().len(), 5);
}
