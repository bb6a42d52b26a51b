//! `drover simulate`: base and head from commits, folders and recorded state, in every format.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ran, Sandbox};

const PROVIDER: &str = "\
apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: local}
spec: {type: simulated}
";

fn web(size: u32, image: &str, more: &str) -> String {
    group("web", size, image, more)
}

fn group(name: &str, size: u32, image: &str, more: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: {name}}}
spec:
  provider: local
  size: {size}
  template: {{properties: {{image: {image}}}}}
  health: {{checks: [{{tcp: {{port: 80}}}}]}}
{more}"
    )
}

/// Folders `before` and `after` with a fleet each.
fn folders(before: &[(&str, String)], after: &[(&str, String)]) -> Sandbox {
    let sandbox = Sandbox::new();
    for (folder, groups) in [("before", before), ("after", after)] {
        sandbox.write(&format!("{folder}/providers/local.yaml"), PROVIDER);
        for (name, text) in groups {
            sandbox.write(&format!("{folder}/groups/{name}.yaml"), text);
        }
    }
    sandbox
}

fn roll() -> Sandbox {
    let stages = "  rollout: {maxSurge: 2, minReady: 30s, canary: {count: 1, hold: 10m}}\n";
    folders(
        &[("web", web(4, "a", stages))],
        &[("web", web(4, "b", stages))],
    )
}

const ENDS: [&str; 5] = ["simulate", "--base", "./before", "--head", "./after"];

fn simulate(sandbox: &Sandbox, more: &[&str]) -> Ran {
    let arguments: Vec<&str> = ENDS.iter().chain(more).copied().collect();
    sandbox.drover(&arguments)
}

#[test]
fn a_small_roll_is_told_in_every_format_as_reviewed() {
    let sandbox = roll();
    let plain = simulate(&sandbox, &[]).exits(0);
    assert_eq!(
        plain.stderr, "",
        "what the simulated agent logs is not said"
    );
    insta::assert_snapshot!("simulate-text", plain.stdout);
    for format in ["markdown", "json", "svg"] {
        let ran = simulate(&sandbox, &["-o", format]).exits(0);
        insta::assert_snapshot!(format!("simulate-{format}"), ran.stdout);
    }
}

#[test]
fn the_same_seed_prints_the_same_bytes_and_another_seed_another_story() {
    let sandbox = roll();
    for format in ["text", "json", "markdown", "svg"] {
        let chances = [
            "--boot",
            "90s..4m",
            "--fail",
            "0.3",
            "--throttle",
            "ec2",
            "-o",
            format,
        ];
        let with = |seed: &str| {
            let more: Vec<&str> = chances.iter().copied().chain(["--seed", seed]).collect();
            simulate(&sandbox, &more).stdout
        };
        let first = with("7");
        assert_eq!(with("7"), first, "{format}");
        assert_ne!(with("8"), first, "{format}");
    }
}

#[test]
fn base_and_head_are_commits_branches_or_what_lies_in_the_folder() {
    let sandbox = Sandbox::with_files(&[
        ("providers/local.yaml", PROVIDER),
        ("groups/web.yaml", &web(2, "a", "")),
    ]);
    let first = sandbox.git("work", &["rev-parse", "HEAD"]);
    let source = sandbox.path("fleet.git").display().to_string();
    sandbox.git("work", &["checkout", "--quiet", "-b", "pr"]);
    sandbox.write("work/groups/web.yaml", &web(3, "a", ""));
    sandbox.git(
        "work",
        &["commit", "--quiet", "--all", "--message", "three"],
    );
    sandbox.git("work", &["push", "--quiet", "origin", "pr"]);
    let of_source = |base: &str, head: &str| {
        sandbox.drover(&[
            "simulate", "--source", &source, "--base", base, "--head", head,
        ])
    };
    of_source("main", "pr").exits(0).prints("size 2 -> 3");
    of_source(first.trim(), "pr").exits(0).prints("size 2 -> 3");
    of_source("pr", "main").exits(0).prints("size 3 -> 2");
    of_source("main", "main")
        .exits(0)
        .prints("no group changes");
    // In a clone, edits that nobody committed are what is pushed.
    sandbox.write("work/groups/web.yaml", &web(5, "a", ""));
    let mut here = sandbox.command(&["simulate"]);
    let output = here.current_dir(sandbox.path("work")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("size 2 -> 5"), "{told}{output:?}");
    // Also where the environment names the agent's file, which says what is watched.
    let configured = |dir: &str| {
        let mut command = sandbox.command(&["simulate"]);
        command.env("DROVER_CONFIG", sandbox.path("agent.yaml"));
        command.current_dir(sandbox.path(dir)).output().unwrap()
    };
    let output = configured("work");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("size 2 -> 5"), "{told}{output:?}");
    // Elsewhere nobody knows what is pushed.
    assert_eq!(configured(".").status.code(), Some(64));
}

#[test]
fn what_ec2_changes_in_place_is_planned_and_simulated_so_without_it() {
    let with = |group: &str| {
        let documents = format!(
            "apiVersion: drover/v1alpha1
kind: Provider
metadata: {{name: aws}}
spec: {{type: plugin, plugin: ec2, settings: {{region: eu-west-1}}}}
---
apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: aws
  size: 3
  template:
    properties:
      imageId: ami-0123456789abcdef0
      instanceType: t3.micro
      subnets: [subnet-0123456789abcdef0]
      securityGroups: [{group}]
"
        );
        [("web", documents)]
    };
    let (before, after) = (with("sg-0123456789abcdef0"), with("sg-1123456789abcdef0"));
    let sandbox = folders(&before, &after);
    let told = simulate(&sandbox, &[]).exits(0);
    told.prints("change live 3")
        .prints("provider calls: update 3\n");
    let ends = ["plan", "--base", "./before", "--head", "./after"];
    let told = sandbox.drover(&ends).exits(0);
    let told = told.prints("web: change live 3\n");
    told.prints("0 to create, 0 to replace, 0 to destroy, 3 to change live in");
}

#[test]
fn every_group_is_told_and_one_can_be_chosen() {
    let sandbox = folders(
        &[
            ("api", group("api", 1, "a", "")),
            ("idle", group("idle", 1, "a", "")),
            ("web", web(1, "a", "")),
        ],
        &[
            ("api", group("api", 2, "a", "")),
            ("idle", group("idle", 1, "a", "")),
            ("web", web(1, "b", "")),
        ],
    );
    let told = simulate(&sandbox, &[]).exits(0).prints("2 groups converge");
    assert!(!told.stdout.contains("idle"), "{}", told.stdout);
    let told = simulate(&sandbox, &["web"])
        .exits(0)
        .prints("web converges");
    assert!(!told.stdout.contains("api:"), "{}", told.stdout);
    simulate(&sandbox, &["idle"])
        .exits(0)
        .prints("idle: no change");
    simulate(&sandbox, &["wep"])
        .exits(1)
        .says("there is no group wep")
        .says("hint: the groups are api, idle, web");
}

#[test]
fn a_template_that_never_comes_up_pauses_after_the_first_batch() {
    let told = simulate(&roll(), &["--fail", "1.0"]).exits(6);
    told.prints("RolloutPaused")
        .prints("web does not converge: it pauses after")
        .prints("1 created");
}

#[test]
fn a_denied_change_exits_as_the_plan_of_it_does() {
    let sandbox = roll();
    let policy = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: small}
spec:
  on: validate
  rules: [{expression: 'spec.size <= 3', message: too large}]
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: small}
spec: {policy: small, selector: {}, enforcement: deny}
";
    sandbox.write("after/policies/small.yaml", policy);
    simulate(&sandbox, &[])
        .exits(3)
        .prints("PolicyDenied")
        .prints("too large");
}

#[test]
fn a_simulation_that_never_converges_ends_and_says_what_is_in_the_way() {
    let stages = "  rollout: {canary: {count: 1, hold: 5m, promote: manual}}\n";
    let sandbox = folders(&[("web", web(4, "a", ""))], &[("web", web(4, "b", stages))]);
    simulate(&sandbox, &[])
        .exits(6)
        .prints("web does not converge: it is held after")
        .prints("CanaryHold");
    let stages = "  rollout: {canary: {count: 1, hold: 30h}}\n";
    sandbox.write("after/groups/web.yaml", &web(4, "b", stages));
    simulate(&sandbox, &[])
        .exits(7)
        .prints("is not done in time, held by CanaryHold")
        .prints("after the horizon");
    simulate(&sandbox, &["--horizon", "31h"]).exits(0);
}

#[test]
fn recorded_state_is_where_a_simulation_begins() {
    let sandbox = Sandbox::with_files(&[
        ("providers/local.yaml", PROVIDER),
        ("groups/web.yaml", &web(3, "a", "")),
    ]);
    sandbox.configure("");
    let config = fs::read_to_string(sandbox.path("agent.yaml")).unwrap();
    let allowed = config.replace("[process]", "[simulated]");
    fs::write(sandbox.path("agent.yaml"), allowed).unwrap();
    let recorded = ["simulate", "--recorded", "--head", "main"];
    sandbox
        .with_config(&recorded)
        .exits(1)
        .says("has no branch drover/state");
    sandbox.with_config(&["run", "--until-converged"]).exits(0);
    let same = sandbox.with_config(&recorded).exits(0);
    same.prints("no group changes");
    sandbox.push("b", &[("groups/web.yaml", &web(3, "b", ""))]);
    let told = sandbox.with_config(&recorded).exits(0);
    // The instances that exist are those that the agent made.
    told.prints("over the recorded state")
        .prints("replace 3")
        .prints("3 created, 3 destroyed")
        .prints("web converges in");
}

#[test]
fn wrong_input_is_refused_with_what_to_do_about_it() {
    let sandbox = roll();
    sandbox.write("empty/readme.txt", "nothing");
    sandbox.write("wrong/groups/web.yaml", "kind: Group\n");
    sandbox.git(".", &["init", "--quiet", "--bare", "fleet.git"]);
    let source = sandbox.path("fleet.git").display().to_string();
    let cases: [(&[&str], i32, &str); 17] = [
        (&["--head", "./empty"], 1, "./empty has no documents"),
        (&["--head", "./missing"], 1, "cannot read ./missing"),
        (&["--head", "./wrong"], 1, "./wrong is not valid"),
        (
            &["--head", "pr", "--source", &source],
            1,
            "the repository has no commit",
        ),
        (&["--head", "pr"], 1, "cannot open the repository"),
        (&["--boot", "4m..90s"], 64, "did you mean `90s..4m`?"),
        (&["--boot", "soon"], 64, "--boot"),
        (&["--fail", "1.2"], 64, "no share from 0 to 1"),
        (&["--fail", "wep=0.5"], 1, "there is no group wep"),
        (&["--kill", "3"], 64, "such as 3@10m"),
        (&["--zone-outage", "b"], 64, "such as b@10m"),
        (&["--zone-outage", "b@1h..10m"], 64, "back before it fails"),
        (
            &["--zone-outage", "b@10m"],
            1,
            "a group names its zones in `placement.zones`",
        ),
        (&["--horizon", "800h"], 64, "31 days"),
        (&["--at", "tomorrow"], 64, "--at"),
        (&["--recorded"], 64, "--base"),
        (&["--source", &source], 64, "--head"),
    ];
    for (more, code, says) in cases {
        let mut arguments = vec!["simulate"];
        if !more.contains(&"--base") {
            arguments.extend(["--base", "./before"]);
        }
        let needs_head = !more.contains(&"--head") && says != "--head";
        if needs_head {
            arguments.extend(["--head", "./after"]);
        }
        arguments.extend(more);
        let ran = sandbox.drover(&arguments).exits(code).says(says);
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
}

fn guides() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.unwrap().join("docs/guides")
}

/// Runs a command line of the guide where the guide's example lies.
fn run_in_guide(line: &str) -> String {
    let sandbox = Sandbox::new();
    let arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
    let mut command: Command = sandbox.command(&arguments);
    let output = command.current_dir(guides().join("preview-a-rollout"));
    let output = output.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    String::from_utf8(output.stdout).unwrap()
}

/// Compares a file with what it should be; `UPDATE_DOCS=1` writes the file instead.
fn assert_current(path: &Path, wanted: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, wanted).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is out of date; run the tests with UPDATE_DOCS=1",
        path.display()
    );
}

#[test]
fn the_guide_and_its_pictures_show_what_the_program_prints() {
    let page = guides().join("preview-a-rollout.md");
    let text = fs::read_to_string(&page).unwrap();
    let (mut wanted, mut lines) = (String::new(), Vec::new());
    for (position, block) in text.split("```console\n").enumerate() {
        if position == 0 {
            wanted.push_str(block);
            continue;
        }
        let (shown, rest) = block.split_once("```\n").unwrap();
        let line = shown.lines().next().unwrap().strip_prefix("$ ").unwrap();
        let printed = run_in_guide(line);
        wanted.extend(["```console\n$ ", line, "\n", &printed, "```\n", rest]);
        lines.push(line);
    }
    assert_current(&page, &wanted);
    assert_eq!(lines.len(), 2);
    for (line, picture) in lines.iter().zip(["roll", "failing"]) {
        let drawn = run_in_guide(&format!("{line} -o svg"));
        assert_current(
            &guides().join(format!("preview-a-rollout/{picture}.svg")),
            &drawn,
        );
    }
}
