//! Deaths around an instance: of the agent, of the shim, of the machine.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use drover_model::{ProviderPhase, ProviderRef, Value};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::harness::{Scope, is_running, kill, open, processes_of, program, until};

fn run_file(scope: &Scope, instance: &ProviderRef) -> std::path::PathBuf {
    scope.folder(instance).join("run.json")
}

fn run_record(scope: &Scope, instance: &ProviderRef) -> serde_json::Value {
    serde_json::from_slice(&fs::read(run_file(scope, instance)).unwrap()).unwrap()
}

fn pid_of(record: &serde_json::Value, who: &str) -> i32 {
    i32::try_from(record[who]["pid"].as_i64().unwrap()).unwrap()
}

#[tokio::test]
async fn instances_outlive_the_agent_that_made_them() {
    let scope = Scope::new();
    let mut agent = Command::new(program())
        .arg("agent")
        .arg(scope.dir.path())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let stdout = agent.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut said).unwrap();
    assert!(said.starts_with("Ok("), "{said}");
    // The whole group, as a terminal does it, and then for good.
    let group = Pid::from_child(&agent);
    kill_process_group(group, Signal::INT).unwrap();
    kill_process_group(group, Signal::KILL).unwrap();
    agent.wait().unwrap();
    let next = Scope {
        provider: open(scope.dir.path(), &Value::empty_map()),
        dir: tempfile::tempdir().unwrap(),
    };
    let listed = next.list().await;
    assert_eq!(listed.len(), 1);
    assert!(matches!(
        listed[0].phase,
        ProviderPhase::Pending | ProviderPhase::Running
    ));
    assert_eq!(
        listed[0].ownership.as_ref().unwrap().instance.to_string(),
        "web-1"
    );
    scope.finish().await;
}

#[tokio::test]
async fn the_shim_is_detached_from_whoever_started_it() {
    let scope = Scope::new();
    let instance = scope.run(1, "echo up; exec sleep 1000").await;
    scope.printed(&instance, "up").await;
    let record = run_record(&scope, &instance);
    for who in ["shim", "child"] {
        let pid = pid_of(&record, who);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let own = pid.to_string();
        // state, ppid, pgrp, session, tty
        assert_eq!(
            fields[2..5],
            [own.as_str(), own.as_str(), "0"],
            "{who}: {stat}"
        );
        if who == "shim" {
            assert_ne!(fields[1], std::process::id().to_string());
        }
    }
    scope.finish().await;
}

#[tokio::test]
async fn a_killed_shim_takes_the_command_along_and_its_daemons_are_found() {
    let scope = Scope::new();
    let instance = scope
        .run(1, "setsid sleep 1000 & echo up; exec sleep 1000")
        .await;
    scope.printed(&instance, "up").await;
    until("shim, command and daemon run", async || {
        (processes_of(scope.dir.path()).len() == 3).then_some(())
    })
    .await;
    let record = run_record(&scope, &instance);
    kill(pid_of(&record, "shim"), Signal::KILL);
    assert_eq!(
        scope.exit(&instance).await,
        "ended: its shim ended without a report: up"
    );
    until("the command is gone", async || {
        (!is_running(pid_of(&record, "child"))).then_some(())
    })
    .await;
    assert_eq!(processes_of(scope.dir.path()).len(), 1, "the daemon");
    scope.destroy(&instance, Duration::from_mins(1)).await;
    assert!(processes_of(scope.dir.path()).is_empty());
    scope.finish().await;
}

#[tokio::test]
async fn a_reused_pid_is_neither_believed_nor_signalled() {
    let scope = Scope::new();
    let instance = scope.run(1, "echo up; exec sleep 1000").await;
    scope.printed(&instance, "up").await;
    let mut record = run_record(&scope, &instance);
    kill(pid_of(&record, "shim"), Signal::KILL);
    scope.exit(&instance).await;
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    for who in ["shim", "child"] {
        record[who]["pid"] = stranger.id().into();
    }
    fs::write(run_file(&scope, &instance), record.to_string()).unwrap();
    assert!(matches!(
        scope.phase(&instance).await,
        Some(ProviderPhase::Exited(_))
    ));
    scope.destroy(&instance, Duration::ZERO).await;
    assert_eq!(scope.list().await, []);
    assert_eq!(stranger.try_wait().unwrap(), None, "the stranger lives");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    scope.finish().await;
}

#[tokio::test]
async fn nothing_survives_a_restart_of_the_machine() {
    let scope = Scope::new();
    let instance = scope.run(1, "echo up; exec sleep 1000").await;
    scope.printed(&instance, "up").await;
    let mut record = run_record(&scope, &instance);
    let boot = record["boot"].clone();
    record["boot"] = "00000000-0000-0000-0000-000000000000".into();
    fs::write(run_file(&scope, &instance), record.to_string()).unwrap();
    assert_eq!(
        scope.exit(&instance).await,
        "ended: the machine was started again: up"
    );
    record["boot"] = boot;
    fs::write(run_file(&scope, &instance), record.to_string()).unwrap();
    assert_eq!(scope.phase(&instance).await, Some(ProviderPhase::Running));
    scope.finish().await;
}

#[tokio::test]
async fn a_stop_that_nobody_heard_is_carried_out_by_the_next_listing() {
    let scope = Scope::new();
    let instance = scope.run(1, "echo up; exec sleep 1000").await;
    scope.printed(&instance, "up").await;
    let shim = pid_of(&run_record(&scope, &instance), "shim");
    kill(shim, Signal::KILL);
    scope.exit(&instance).await;
    fs::write(scope.folder(&instance).join("stop.json"), "{\"graceMs\":1}").unwrap();
    assert_eq!(scope.list().await, []);
    scope.finish().await;
}

#[tokio::test]
async fn a_shim_costs_little_memory() {
    let scope = Scope::new();
    let instance = scope.run(1, "echo up; exec sleep 1000").await;
    scope.printed(&instance, "up").await;
    let shim = pid_of(&run_record(&scope, &instance), "shim");
    let status = fs::read_to_string(format!("/proc/{shim}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let number = line.split_ascii_whitespace().nth(1).unwrap();
        number.parse::<u64>().unwrap()
    };
    assert_eq!(field("Threads:"), 1);
    // What it has for itself; the rest is the binary's own pages, which all shims share.
    assert!(field("RssAnon:") < 1_024, "{status}");
    scope.finish().await;
}

#[tokio::test]
async fn a_shim_that_is_started_again_leaves_the_instance_as_it_is() {
    let scope = Scope::new();
    let runs = scope.run(1, "echo up; exec sleep 1000").await;
    let ended = scope.run(2, "echo up; exit 3").await;
    scope.printed(&runs, "up").await;
    scope.exit(&ended).await;
    until("its shim has ended", async || {
        processes_of(&scope.folder(&ended)).is_empty().then_some(())
    })
    .await;
    for instance in [&ended, &runs] {
        let mut shim = Command::new(program());
        shim.arg("shim").arg(scope.folder(instance));
        assert!(shim.status().unwrap().success());
        let log = scope.provider.logs(instance, 9).await.unwrap();
        assert_eq!(log, "up\n");
    }
    assert_eq!(scope.phase(&runs).await, Some(ProviderPhase::Running));
    assert_eq!(scope.exit(&ended).await, "exit status 3: up");
    scope.finish().await;
}

#[tokio::test]
async fn a_shim_that_ends_finds_the_note_that_nobody_brought_it() {
    let scope = Scope::new();
    let go = scope.dir.path().join("go");
    let script = format!(
        "echo up; until [ -e {} ]; do sleep 0.01; done",
        go.display()
    );
    let instance = scope.run(1, &script).await;
    scope.printed(&instance, "up").await;
    let folder = scope.folder(&instance);
    fs::write(folder.join("stop.json"), "{\"graceMs\":1}").unwrap();
    fs::write(go, "").unwrap();
    // Looked at without a listing, which would clear up too.
    until("the folder is gone", async || {
        (!folder.exists()).then_some(())
    })
    .await;
    scope.finish().await;
}
