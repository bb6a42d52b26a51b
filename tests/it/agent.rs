//! The agent: passes, restarts, pushes, faults, and what the read commands say about them.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    DROVER, IDLE, PATIENCE, PROVIDER, Sandbox, converged, group, holds, instances, kill, wait_until,
};

const WEB: &str = "groups/web.yaml";

fn sandbox(size: u32) -> Sandbox {
    Sandbox::with_files(&[PROVIDER, (WEB, &group("web", size, IDLE, ""))])
}

fn until_converged(sandbox: &Sandbox) {
    let ran = sandbox.with_config(&["run", "--until-converged", "--timeout", "60s"]);
    ran.exits(0).says("converged");
}

#[test]
fn a_scaffolded_repository_converges_as_it_is() {
    let sandbox = Sandbox::new();
    sandbox.drover(&["init", "fleet"]).exits(0);
    let config = sandbox
        .path("fleet/.drover/agent.yaml")
        .display()
        .to_string();
    let ran = sandbox.drover(&[
        "run",
        "--config",
        &config,
        "--until-converged",
        "--timeout",
        "60s",
        "--listen",
        "off",
    ]);
    ran.exits(0).says("converged");
    let groups = sandbox
        .drover(&["get", "groups", "--config", &config, "--no-headers"])
        .exits(0);
    assert_eq!(groups.stdout, "hello   Converged   2   2   2   -\n");
    // The work tree of the person is left alone.
    assert_eq!(sandbox.git("fleet", &["status", "--porcelain"]), "");
}

#[test]
fn what_converged_is_read_back_without_an_agent_in_every_format() {
    let sandbox = sandbox(2);
    until_converged(&sandbox);
    assert_eq!(sandbox.processes().len(), 2);

    let text = sandbox
        .with_config(&["get", "groups"])
        .exits(0)
        .says("no agent runs");
    assert_eq!(
        text.stdout,
        "NAME   PHASE       SIZE   AVAILABLE   UPDATED   HOLD\nweb    Converged   2      2           2         -\n"
    );
    sandbox
        .with_config(&["get", "groups", "-o", "wide"])
        .exits(0)
        .prints("env=test");
    sandbox
        .with_config(&["get", "groups", "-o", "yaml"])
        .exits(0)
        .prints("  - available: 2\n");
    sandbox
        .with_config(&["get", "groups", "-o", "markdown"])
        .exits(0)
        .prints("| web | Converged |");
    let names = sandbox
        .with_config(&["get", "instances", "-o", "name"])
        .exits(0)
        .stdout;
    assert_eq!(names, "web/web-1\nweb/web-2\n");
    let json = sandbox
        .with_config(&["get", "instances", "web/web-2", "-o", "json"])
        .exits(0)
        .json();
    assert_eq!(json["kind"], "InstanceStatusList");
    assert_eq!(json["items"][0]["class"], "Available");
    let none = sandbox
        .with_config(&["get", "groups", "-l", "env=prod", "-o", "name"])
        .exits(0);
    assert_eq!(none.stdout, "");
    sandbox
        .with_config(&["get", "providers"])
        .exits(0)
        .prints("local   process   unknown   web");

    sandbox
        .with_config(&["describe", "web"])
        .exits(0)
        .prints("Holds: none");
    sandbox
        .with_config(&["describe", "web/web-1"])
        .exits(0)
        .prints("Class:       Available");
    sandbox
        .with_config(&["describe", "instance", "web-1", "-o", "yaml"])
        .exits(0)
        .prints("name: web-1");
    sandbox
        .with_config(&["describe", "db"])
        .exits(1)
        .says("there is no group db")
        .says("the groups are web");
    sandbox
        .with_config(&["describe", "web/web-9"])
        .exits(1)
        .says("group web has web-1, web-2");
    sandbox
        .with_config(&["rollout", "status", "web"])
        .exits(0)
        .prints("web: complete: 2 of 2 updated");
}

#[test]
fn the_audit_log_is_made_of_commits_that_git_reads() {
    let sandbox = sandbox(1);
    until_converged(&sandbox);
    let log = sandbox.with_config(&["log", "--oneline"]).exits(0).stdout;
    assert!(log.contains("web: create 1"), "{log}");
    assert!(log.contains("web: converged, 1 available"), "{log}");
    let trailers = sandbox.git(
        "fleet.git",
        &[
            "log",
            "-1",
            "drover/state",
            "--format=%(trailers:key=Drover-Group,valueonly)",
        ],
    );
    assert_eq!(trailers.trim(), "web");
    let commit = sandbox.git("work", &["rev-parse", "HEAD"]);
    let json = sandbox
        .with_config(&["log", "web", "-n", "1", "-o", "json"])
        .exits(0)
        .json();
    let trailers = json["items"][0]["trailers"].as_array().unwrap();
    let source = trailers
        .iter()
        .find(|trailer| trailer["key"] == "Drover-Source")
        .unwrap();
    assert_eq!(source["value"], format!("main@sha1:{}", commit.trim()));
    // Nobody but people writes to the branch of the people.
    let authors = sandbox.git("fleet.git", &["log", "main", "--format=%an"]);
    assert_eq!(authors, "Ada\n");
    sandbox
        .with_config(&["log", "db"])
        .exits(1)
        .says("says nothing about a group db");

    let why = sandbox.with_config(&["why", "web-1"]).exits(0);
    why.prints("web-1 Available")
        .prints("web: create 1")
        .prints("by Ada <ada@example.com>: first");
}

#[test]
fn an_agent_that_starts_again_finds_its_instances() {
    let sandbox = sandbox(3);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 3);
    let before = sandbox.processes();
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(sandbox.processes(), before, "instances outlive the agent");

    let agent = sandbox.agent();
    sandbox.wait_serving();
    sandbox.with_config(&["reconcile"]).exits(0).says("0 steps");
    sandbox.wait_converged("web", 3);
    assert_eq!(sandbox.processes(), before, "nothing was made again");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn an_agent_that_is_killed_leaves_its_instances_and_the_next_one_goes_on() {
    let sandbox = sandbox(3);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 3);
    let before = sandbox.processes();
    agent.kill();
    assert_eq!(sandbox.processes(), before);
    // The dead agent's socket does not stand in the way, for readers or for the next agent.
    sandbox
        .with_config(&["get", "groups"])
        .exits(0)
        .says("no agent runs");
    let _agent = sandbox.agent();
    sandbox.push("more", &[(WEB, &group("web", 4, IDLE, ""))]);
    sandbox.wait_converged("web", 4);
    let after = sandbox.processes();
    assert!(
        before.iter().all(|(pid, id)| after.get(pid) == Some(id)),
        "{before:?} {after:?}"
    );
}

#[test]
fn a_push_is_acted_on_within_two_seconds() {
    let sandbox = sandbox(1);
    // Far longer than the test: only the watch can be this fast.
    let _agent = sandbox.agent_with(&["--interval", "1h"]);
    sandbox.wait_converged("web", 1);
    let pushed = Instant::now();
    sandbox.push("two", &[(WEB, &group("web", 2, IDLE, ""))]);
    wait_until("the second instance", PATIENCE, || {
        sandbox.processes().len() == 2
    });
    let took = pushed.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
}

#[test]
fn a_killed_instance_is_replaced() {
    let sandbox = sandbox(2);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let (pid, id) = sandbox.processes().into_iter().next().unwrap();
    kill(pid, Signal::KILL);
    let group = sandbox.wait_for("web", "the replacement", |group| {
        converged(group, 2) && !instances(group).contains(&id)
    });
    assert!(instances(&group).contains(&"web-3".to_owned()));
    assert_eq!(sandbox.processes().len(), 2);
}

#[test]
fn a_bad_push_changes_nothing_and_is_described() {
    let sandbox = sandbox(2);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let before = sandbox.processes();
    let bad = group("web", 0, IDLE, "").replace("size:", "sise:");
    sandbox.push("typo", &[(WEB, &bad)]);
    let group_ = sandbox.wait_for("web", "the refusal", |group| {
        holds(group).contains(&"SpecInvalid".to_owned())
    });
    assert_eq!(group_["size"], 2);
    sandbox
        .with_config(&["describe", "web"])
        .exits(0)
        .prints("the last good one stays in force")
        .prints("did you mean `size`? (and 1 more mistake)");
    assert_eq!(sandbox.processes(), before);
    sandbox.push("mended", &[(WEB, &group("web", 2, IDLE, ""))]);
    sandbox.wait_for("web", "the release", |group| {
        converged(group, 2) && holds(group).is_empty()
    });
    assert_eq!(sandbox.processes(), before);
}

#[test]
fn a_program_that_is_missing_pauses_the_rollout_and_describe_says_why() {
    let sandbox = sandbox(2);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let before = sandbox.processes();
    sandbox.push(
        "broken",
        &[(WEB, &group("web", 2, "[/no/such/program]", ""))],
    );
    paused(&sandbox);
    let ran = sandbox.with_config(&["describe", "web"]).exits(0);
    let ran = ran.prints("/no/such/program");
    let sentence =
        "1 instance of the new template failed, 1 is enough to stop; the latest: web-3: ";
    let told = ran.stdout.matches(sentence).count();
    assert_eq!(told, 1, "once, where the hold is: {}", ran.stdout);
    assert!(ran.stdout.contains("see below"), "{}", ran.stdout);
    let left = sandbox.processes();
    assert!(
        before.iter().all(|(pid, id)| left.get(pid) == Some(id)),
        "{before:?} {left:?}"
    );
    sandbox
        .with_config(&["rollout", "status", "web", "--watch"])
        .exits(6)
        .prints("web: paused");
}

#[test]
fn a_port_that_is_taken_pauses_the_rollout_and_describe_says_why() {
    let taken = TcpListener::bind("127.99.31.7:8080").unwrap();
    let sandbox = sandbox(2);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let command = format!("[/usr/bin/env, DROVER_ADDRESS=127.99.31.7, '{DROVER}', demo-server]");
    sandbox.push("conflict", &[(WEB, &group("web", 2, &command, ""))]);
    paused(&sandbox);
    sandbox
        .with_config(&["describe", "web"])
        .exits(0)
        .prints("Address already in use");
    drop(taken);
}

#[track_caller]
fn paused(sandbox: &Sandbox) {
    let group = sandbox.wait_for("web", "the pause", |group| group["phase"] == "Paused");
    assert!(
        holds(&group).contains(&"RolloutPaused".to_owned()),
        "{group:#}"
    );
    assert_eq!(group["available"], 2, "what served goes on: {group:#}");
}

#[test]
fn waiting_for_convergence_ends_with_the_exit_status_that_says_why_it_waits_in_vain() {
    // 7: the time is over.
    let slow = "  health: {startupTimeout: 10m, checks: [{tcp: {port: 1}, interval: 200ms, timeout: 100ms}]}\n";
    let waiting = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 1, IDLE, slow))]);
    let ran = waiting.with_config(&["run", "--until-converged", "--timeout", "3s"]);
    ran.exits(7)
        .says("not converged after 3s")
        .says("web: Progressing, 0 of 1 available");

    // 6: suspended, which only a person lifts.
    let suspend = "  suspend: [{what: all, because: INC-1}]\n";
    let suspended = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 1, IDLE, suspend))]);
    let ran = suspended.with_config(&["run", "--until-converged", "--timeout", "60s"]);
    ran.exits(6).says("INC-1");
    assert!(suspended.processes().is_empty());

    // 3: denied by a policy.
    let policy = "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {name: small}\nspec:\n  on: validate\n  rules:\n    - {expression: spec.size <= 1, message: too large for this test}\n---\napiVersion: drover/v1alpha1\nkind: Binding\nmetadata: {name: small}\nspec: {policy: small, selector: {}, enforcement: deny}\n";
    let denied = Sandbox::with_files(&[
        PROVIDER,
        ("policies/small.yaml", policy),
        (WEB, &group("web", 2, IDLE, "")),
    ]);
    let ran = denied.with_config(&["run", "--until-converged", "--timeout", "60s"]);
    ran.exits(3).says("too large for this test");
    assert!(denied.processes().is_empty());

    // 4: removing a protected group asks.
    let protect = "  deletion: {protect: true}\n";
    let protected = Sandbox::with_files(&[
        PROVIDER,
        (WEB, &group("web", 1, IDLE, protect)),
        ("groups/other.yaml", &group("other", 1, IDLE, "")),
        ("groups/third.yaml", &group("third", 1, IDLE, "")),
    ]);
    until_converged(&protected);
    fs::remove_file(protected.path("work").join(WEB)).unwrap();
    protected.push("remove", &[]);
    let ran = protected.with_config(&["run", "--until-converged", "--timeout", "60s"]);
    ran.exits(4).says("Protected");
    assert_eq!(protected.processes().len(), 3);
}

#[test]
fn a_removed_group_is_destroyed_and_nothing_else() {
    let sandbox = Sandbox::with_files(&[
        PROVIDER,
        (WEB, &group("web", 2, IDLE, "")),
        ("groups/other.yaml", &group("other", 1, IDLE, "")),
        ("groups/third.yaml", &group("third", 1, IDLE, "")),
    ]);
    until_converged(&sandbox);
    fs::remove_file(sandbox.path("work").join(WEB)).unwrap();
    sandbox.push("remove", &[]);
    until_converged(&sandbox);
    let left: Vec<String> = sandbox.processes().into_values().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().all(|id| !id.starts_with("web-")), "{left:?}");
}

#[test]
fn a_frozen_agent_takes_no_step_until_it_is_unfrozen() {
    let sandbox = sandbox(1);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    sandbox
        .with_config(&["freeze", "--because", "INC-7"])
        .exits(0);
    sandbox.push("two", &[(WEB, &group("web", 2, IDLE, ""))]);
    sandbox.wait_for("web", "the hold", |group| {
        holds(group).contains(&"Frozen".to_owned())
    });
    sandbox
        .with_config(&["describe", "web"])
        .exits(0)
        .prints("INC-7");
    assert_eq!(sandbox.processes().len(), 1);
    // It survives a restart.
    assert_eq!(agent.stop(), Some(0));
    let agent = sandbox.agent();
    sandbox.wait_serving();
    sandbox.with_config(&["reconcile"]).exits(0);
    assert_eq!(sandbox.processes().len(), 1);
    sandbox.with_config(&["unfreeze"]).exits(0);
    sandbox.wait_converged("web", 2);
    assert_eq!(agent.stop(), Some(0));

    // Without an agent, a file holds the next one.
    sandbox
        .with_config(&["freeze"])
        .exits(0)
        .says("which holds the next one");
    sandbox.push("three", &[(WEB, &group("web", 3, IDLE, ""))]);
    let ran = sandbox.with_config(&["run", "--until-converged", "--timeout", "60s"]);
    ran.exits(6).says("Frozen");
    assert_eq!(sandbox.processes().len(), 2);
    sandbox.with_config(&["unfreeze"]).exits(0);
    until_converged(&sandbox);
    assert_eq!(sandbox.processes().len(), 3);
}

#[test]
fn a_second_agent_on_the_same_data_folder_refuses() {
    let sandbox = sandbox(1);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    let ran = sandbox.with_config(&["run", "--once"]).exits(1);
    ran.says("is in use by")
        .says("hint: one agent per data folder");
}

#[test]
fn a_second_agent_of_the_same_name_on_this_machine_refuses() {
    let sandbox = sandbox(1);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    let other = sandbox.path("other").display().to_string();
    let ran = sandbox.with_config(&["run", "--once", "--data-dir", &other]);
    ran.exits(1)
        .prints("EpochConflict")
        .prints("give this agent a name of its own");
    assert_eq!(sandbox.processes().len(), 1);
}

#[test]
fn only_the_owner_reaches_the_socket_and_the_data() {
    let sandbox = sandbox(1);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    let mode = |path: &str| {
        fs::metadata(sandbox.path(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("data/agent.sock"), 0o600);
    assert_eq!(mode("data"), 0o700);
}

#[test]
fn a_data_folder_with_a_long_path_has_a_socket_all_the_same() {
    let sandbox = sandbox(1);
    let deep = sandbox.path(&"a-rather-long-name-of-a-folder/".repeat(6));
    let text = fs::read_to_string(sandbox.path("agent.yaml")).unwrap();
    let data = sandbox.path("data").display().to_string();
    let long = deep.display().to_string();
    assert!(long.len() > 150);
    fs::write(
        sandbox.path("agent.yaml"),
        text.replace(&data, long.trim_end_matches('/')),
    )
    .unwrap();
    let _agent = sandbox.agent();
    let ran = || sandbox.with_config(&["get", "groups"]);
    wait_until("the agent's answer", PATIENCE, || {
        let ran = ran();
        ran.code == Some(0) && !ran.stderr.contains("no agent runs")
    });
}

#[test]
fn what_an_instance_prints_is_shown() {
    let command = "[/bin/sh, -c, 'echo one; echo two; exec sleep infinity']";
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 1, command, ""))]);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    let log = sandbox.with_config(&["logs", "web/web-1"]).exits(0).stdout;
    assert_eq!(log, "one\ntwo\n");
    let last = sandbox
        .with_config(&["logs", "web-1", "-n", "1"])
        .exits(0)
        .stdout;
    assert_eq!(last, "two\n");
    sandbox
        .with_config(&["logs", "web/web-9"])
        .exits(1)
        .says("there is no instance web-9");
    sandbox.with_config(&["logs", "web/db-1"]).exits(64);
}

#[test]
fn a_rewritten_source_is_followed_once_a_person_says_so() {
    let sandbox = sandbox(1);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    sandbox.write(&format!("work/{WEB}"), &group("web", 2, IDLE, ""));
    sandbox.git("work", &["add", "--all"]);
    sandbox.git("work", &["commit", "--quiet", "--amend", "--no-edit"]);
    sandbox.git(
        "work",
        &["push", "--quiet", "--force", "origin", "HEAD:main"],
    );
    let tip = sandbox.git("work", &["rev-parse", "HEAD"]);
    let tip = tip.trim();
    let way_out = format!("drover reconcile --accept-rewrite {tip}");
    sandbox.with_config(&["reconcile"]).exits(1).says(&way_out);
    sandbox
        .with_config(&["reconcile", "--accept-rewrite", &tip[..7]])
        .exits(64)
        .says("expected the full id of a commit");
    assert_eq!(sandbox.processes().len(), 1);
    sandbox
        .with_config(&["reconcile", "--accept-rewrite", tip])
        .exits(0);
    sandbox.wait_converged("web", 2);
    assert_eq!(agent.stop(), Some(0));
    // Who accepted it stands in the log.
    let log = sandbox.with_config(&["log"]).exits(0).stdout;
    let trailer = format!("Drover-Accepted-Rewrite: {tip}");
    assert_eq!(log.matches(&trailer).count(), 1, "{log}");
    assert!(
        log.contains(" accepted by Ada <ada@example.com>, in place of "),
        "{log}"
    );
    sandbox.with_config(&["audit", "verify"]).exits(0);
    let export = sandbox.with_config(&["audit", "export"]).exits(0).stdout;
    let accepted = format!(r#""acceptedRewrite":{{"commit":"{tip}","replaced":""#);
    assert!(export.contains(&accepted), "{export}");
}

#[test]
fn asking_without_an_agent_says_how_to_start_one() {
    let sandbox = sandbox(1);
    sandbox
        .with_config(&["reconcile"])
        .exits(1)
        .says("hint: start it with `drover run`");
    sandbox
        .with_config(&["logs", "web-1"])
        .exits(1)
        .says("no agent runs on the data folder");
    sandbox
        .with_config(&["get", "groups"])
        .exits(1)
        .says("has no branch drover/state");
    sandbox
        .with_config(&["log"])
        .exits(1)
        .says("nothing was ever recorded");
}

#[test]
fn a_dry_run_plans_and_changes_nothing_anywhere() {
    let sandbox = sandbox(2);
    let ran = sandbox
        .with_config(&["run", "--once", "--dry-run"])
        .exits(0);
    ran.prints("create web-1")
        .prints("dry run: nothing was changed");
    let ran = sandbox.with_config(&["plan"]).exits(0);
    let ran = ran.prints("web: new, create 2").prints("Plan: 2 to create");
    // The agent gives the group a life of its own, and the change its id with it.
    assert!(!ran.stdout.contains("  change "), "{}", ran.stdout);
    sandbox
        .with_config(&["plan", "--detailed-exitcode"])
        .exits(2);
    assert!(sandbox.processes().is_empty());
    assert!(!sandbox.path("data").exists());
    let branches = sandbox.git("fleet.git", &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(branches, "refs/heads/main\n");

    until_converged(&sandbox);
    sandbox
        .with_config(&["plan", "--detailed-exitcode"])
        .exits(0)
        .prints("Plan: no changes");

    // Of a group that is known, the id is the agent's.
    sandbox.push("three", &[(WEB, &group("web", 3, IDLE, ""))]);
    let planned = sandbox.with_config(&["plan"]).exits(0).stdout;
    until_converged(&sandbox);
    let change = sandbox.with_config(&["describe", "web"]).exits(0);
    let change = change.stdout.lines().find_map(|line| {
        let id = line.strip_prefix("Change:")?;
        Some(format!("  change {}\n", id.trim()))
    });
    let change = change.unwrap();
    assert!(planned.contains(&change), "{planned}{change}");
}

#[test]
fn one_pass_makes_what_is_missing_and_ends() {
    let sandbox = sandbox(2);
    let ran = sandbox.with_config(&["run", "--once"]).exits(0);
    ran.prints("create web-1 (scaleOut): done");
    assert_eq!(sandbox.processes().len(), 2);
}

#[test]
fn processes_run_only_where_the_agents_file_allows_them() {
    let sandbox = sandbox(1);
    let text = fs::read_to_string(sandbox.path("agent.yaml")).unwrap();
    let without = text.replace("providers: {allow: [process]}\n", "");
    fs::write(sandbox.path("agent.yaml"), &without).unwrap();
    let ran = sandbox.with_config(&["run", "--until-converged", "--timeout", "60s"]);
    ran.exits(6).says("provider type process is not allowed");
    assert!(sandbox.processes().is_empty());
    let ran = sandbox.with_config(&[
        "run",
        "--until-converged",
        "--timeout",
        "60s",
        "--allow-provider",
        "process",
    ]);
    ran.exits(0);
    assert_eq!(sandbox.processes().len(), 1);
}

#[test]
fn a_watch_prints_every_change_until_it_is_interrupted() {
    let sandbox = sandbox(1);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    let out = sandbox.path("watch.out");
    let config = sandbox.path("agent.yaml").display().to_string();
    let mut watch = sandbox
        .command(&["get", "groups", "-w", "--no-headers", "--config", &config])
        .stdout(fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let printed = || fs::read_to_string(&out).unwrap_or_default();
    wait_until("the first line", PATIENCE, || {
        printed().contains("web   Converged   1")
    });
    sandbox.push("two", &[(WEB, &group("web", 2, IDLE, ""))]);
    wait_until("the change", PATIENCE, || {
        printed().contains("web   Converged   2   2   2")
    });
    watch.kill().unwrap();
    watch.wait().unwrap();
}
