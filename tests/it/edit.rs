//! Commands that commit to the source branch, and plans between two commits.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::ssh_server::{Access, SshServer};
use crate::support::{IDLE, PATIENCE, PROVIDER, Sandbox, group, holds, wait_until};

mod in_force;
mod rollback;

const WEB: &str = "groups/web.yaml";

fn sandbox() -> Sandbox {
    Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 2, IDLE, ""))])
}

fn text(sandbox: &Sandbox) -> String {
    sandbox.pull();
    fs::read_to_string(sandbox.path("work").join(WEB)).unwrap()
}

#[test]
fn scaling_commits_as_the_user_and_keeps_every_other_byte() {
    let sandbox = sandbox();
    let before = text(&sandbox);
    sandbox
        .with_config(&["scale", "web", "5"])
        .exits(0)
        .says("web: scale to 5");
    assert_eq!(text(&sandbox), before.replace("size: 2 ", "size: 5 "));
    let commit = sandbox.git("fleet.git", &["log", "-1", "main", "--format=%an <%ae> %s"]);
    assert_eq!(commit, "Ada <ada@example.com> web: scale to 5\n");
    sandbox
        .with_config(&["scale", "web", "5"])
        .exits(0)
        .says("says so already");
    sandbox
        .with_config(&["scale", "web", "6", "-m", "More for the launch"])
        .exits(0);
    let subject = sandbox.git("fleet.git", &["log", "-1", "main", "--format=%s"]);
    assert_eq!(subject, "More for the launch\n");
}

#[test]
fn a_dry_run_prints_the_diff_and_commits_nothing() {
    let sandbox = sandbox();
    let ran = sandbox
        .with_config(&["scale", "web", "5", "--dry-run"])
        .exits(0);
    insta::assert_snapshot!(ran.stdout, @r"
    --- a/groups/web.yaml
    +++ b/groups/web.yaml
    @@ -3,7 +3,7 @@
     metadata: {name: web, labels: {env: test}}
     spec:
       provider: local
    -  size: 2   # how many
    +  size: 5   # how many
       template:
         properties: {command: [sleep, infinity]}
       rollout: {minReady: 100ms, maxSurge: 2, maxUnavailable: 0}
    ");
    assert_eq!(
        sandbox.git("fleet.git", &["rev-list", "--count", "main"]),
        "1\n"
    );
}

#[test]
fn suspending_and_resuming_restores_the_file_and_stops_the_agent_in_between() {
    let sandbox = sandbox();
    let before = text(&sandbox);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let ran = sandbox.with_config(&[
        "suspend",
        "web",
        "--what",
        "scale",
        "--until",
        "2h",
        "--because",
        "INC-9",
    ]);
    ran.exits(0).says("web: suspend scale until");
    assert!(text(&sandbox).contains("INC-9"));
    sandbox.with_config(&["scale", "web", "3"]).exits(0);
    sandbox.wait_for("web", "the hold", |group| {
        holds(group).contains(&"Suspended".to_owned())
    });
    assert_eq!(sandbox.processes().len(), 2);
    // Also where nothing is in its way yet, people see that it is.
    let described = sandbox.with_config(&["describe", "web"]).exits(0).stdout;
    let line = described
        .lines()
        .find(|line| line.starts_with("Suspended:"));
    let line = line.unwrap_or_else(|| panic!("{described}"));
    assert!(
        line.contains("scale until ") && line.ends_with("Z: INC-9"),
        "{line}"
    );
    let wide = sandbox.with_config(&["get", "groups", "-o", "wide"]).stdout;
    assert!(
        wide.contains("SUSPENDED") && wide.contains("scale"),
        "{wide}"
    );
    let status = sandbox.with_config(&["rollout", "status", "web"]).stdout;
    assert!(status.starts_with("web: held: Suspended: "), "{status}");
    sandbox
        .with_config(&["resume", "web"])
        .exits(0)
        .says("web: resume all");
    sandbox.wait_converged("web", 3);
    assert_eq!(text(&sandbox), before.replace("size: 2 ", "size: 3 "));
    sandbox
        .with_config(&["suspend", "web", "--until", "2020-01-01T00:00:00Z"])
        .exits(64);
}

#[test]
fn what_cannot_be_edited_is_said_and_left_alone() {
    let sandbox = sandbox();
    sandbox
        .with_config(&["scale", "db", "1"])
        .exits(1)
        .says("has no group db")
        .says("it has web");
    sandbox
        .with_config(&["resume", "web"])
        .exits(1)
        .says("cannot make the change");
    sandbox.push(
        "typo",
        &[(WEB, &group("web", 2, IDLE, "").replace("size:", "sise:"))],
    );
    sandbox
        .with_config(&["scale", "web", "1"])
        .exits(1)
        .says("is not valid");
    let missing = sandbox.path("nowhere").display().to_string();
    let ran = sandbox
        .drover(&["scale", "web", "1", "--source", &missing])
        .exits(1);
    ran.says("cannot open the repository");
    assert_eq!(
        sandbox.git("fleet.git", &["rev-list", "--count", "main"]),
        "2\n"
    );
}

#[test]
fn editors_that_collide_all_land() {
    let names: Vec<String> = (0..6).map(|number| format!("g{number}")).collect();
    let files: Vec<(String, String)> = names
        .iter()
        .map(|name| (format!("groups/{name}.yaml"), group(name, 1, IDLE, "")))
        .collect();
    let mut files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    files.push(PROVIDER);
    let sandbox = Sandbox::with_files(&files);
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| sandbox.with_config(&["scale", name, "4"]).exits(0));
        }
    });
    sandbox.pull();
    for name in &names {
        let text = fs::read_to_string(sandbox.path("work/groups").join(format!("{name}.yaml")));
        assert!(text.unwrap().contains("size: 4 "), "{name}");
    }
    assert_eq!(
        sandbox.git("fleet.git", &["rev-list", "--count", "main"]),
        "7\n"
    );
}

#[test]
fn a_pull_request_is_planned_between_two_commits() {
    let sandbox = sandbox();
    sandbox.git("work", &["checkout", "--quiet", "-b", "proposal"]);
    let changed = group("web", 4, "[sleep, '1000']", "");
    sandbox.write("work/groups/web.yaml", &changed);
    sandbox.write("work/groups/new.yaml", &group("new", 1, IDLE, ""));
    sandbox.git("work", &["add", "--all"]);
    sandbox.git("work", &["commit", "--quiet", "--message", "proposal"]);
    sandbox.git("work", &["push", "--quiet", "origin", "proposal"]);

    let between = ["plan", "--base", "main", "--head", "proposal"];
    let plan = |more: &[&str]| {
        let mut arguments = between.to_vec();
        arguments.extend(more);
        sandbox.with_config(&arguments)
    };
    let text = plan(&[]).exits(0);
    text.prints("web: size 2 -> 4")
        .prints("new: new, create 1")
        .prints("Plan: 3 to create, 2 to replace");
    plan(&["--detailed-exitcode"]).exits(2);
    plan(&["-o", "markdown"])
        .exits(0)
        .prints("<!-- drover:plan main..proposal -->\n**Plan: 3 to create");
    let json = plan(&["web", "-o", "json"]).exits(0).json();
    assert_eq!(json["items"].as_array().unwrap().len(), 1);
    assert_eq!(json["items"][0]["change"]["replaces"], 2);
    plan(&["db"]).exits(1).says("there is no group db");
    let ran = sandbox
        .with_config(&["plan", "--base", "main", "--head", "nowhere"])
        .exits(1);
    ran.says("cannot find `nowhere` in ");

    // Edits that nobody committed are planned as a folder.
    sandbox.write("work/groups/web.yaml", &group("web", 7, IDLE, ""));
    let config = sandbox.path("agent.yaml").display().to_string();
    let here = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.args(["--config", &config]);
        let output = command.current_dir(sandbox.path("work")).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    };
    let told = here(&["plan", "web", "--base", "main", "--head", "./"]);
    assert!(told.contains("web: size 2 -> 7"), "{told}");
    let told = here(&["plan", "web", "--base", "./", "--head", "main"]);
    assert!(told.contains("web: size 7 -> 2"), "{told}");
    sandbox.write(
        "work/groups/web.yaml",
        "apiVersion: drover/v1alpha1\nkind: Group\n",
    );
    let told = here(&["plan", "--base", "main", "--head", "./"]);
    assert!(told.contains("./ is not valid: "), "{told}");

    // The same commit against itself changes nothing.
    let same = sandbox.with_config(&[
        "plan",
        "--base",
        "main",
        "--head",
        "main",
        "--detailed-exitcode",
    ]);
    same.exits(0).prints("Plan: no changes");
}

#[test]
fn a_pull_request_that_a_policy_denies_is_denied_in_the_plan() {
    let sandbox = Sandbox::new();
    sandbox.drover(&["init", "fleet"]).exits(0);
    let path = sandbox.path("fleet/groups/hello.yaml");
    let text = fs::read_to_string(&path)
        .unwrap()
        .replace("size: 2 ", "size: 50 ");
    sandbox.git("fleet", &["checkout", "--quiet", "-b", "proposal"]);
    fs::write(&path, &text).unwrap();
    sandbox.git(
        "fleet",
        &["commit", "--quiet", "--all", "--message", "more"],
    );
    let source = sandbox.path("fleet").display().to_string();
    let arguments = [
        "plan", "--source", &source, "--base", "main", "--head", "proposal",
    ];
    let ran = sandbox.drover(&arguments).exits(3);
    ran.prints("the group is larger than this repository allows")
        .prints("1 denied by policy");

    // Removing the rule in the same commit does not help: the rule judges that commit too.
    fs::remove_file(sandbox.path("fleet/policies/size-limit.yaml")).unwrap();
    sandbox.git(
        "fleet",
        &["commit", "--quiet", "--all", "--message", "no rule"],
    );
    sandbox
        .drover(&arguments)
        .exits(3)
        .prints("the group is larger than this repository allows");

    // A proposal with mistakes is no plan.
    fs::write(&path, text.replace("size: 50", "size: many")).unwrap();
    sandbox.git(
        "fleet",
        &["commit", "--quiet", "--all", "--message", "typo"],
    );
    sandbox.drover(&arguments).exits(1).says("`size` must be");
}

/// A repository whose server refuses pushes to main, and a configuration that reaches it by ssh.
fn protected() -> (Sandbox, SshServer) {
    let sandbox = sandbox();
    sandbox.push(
        "another template",
        &[(WEB, &group("web", 2, "[sleep, '100']", ""))],
    );
    let server = SshServer::start(&sandbox.path("sshd"));
    let writer = server.client("writer", Access::Write);
    let hook = sandbox.path("fleet.git/hooks/update");
    let refuses =
        "#!/bin/sh\n[ \"$1\" != refs/heads/main ] || { echo main is protected; exit 1; }\n";
    fs::write(&hook, refuses).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!(
        "name: test\n\
         source: {{url: '{}', knownHosts: '{}'}}\n\
         dataDir: '{}'\n\
         credentials: {{source: {{sshKeyFile: '{}'}}}}\n",
        server.url(&sandbox.path("fleet.git")),
        server.known_hosts().display(),
        sandbox.path("data").display(),
        writer.display(),
    );
    sandbox.write("agent.yaml", &text);
    (sandbox, server)
}

#[test]
fn nothing_needs_a_push_to_a_protected_branch() {
    let (sandbox, _server) = protected();
    let tip = sandbox.git("fleet.git", &["rev-parse", "main"]);
    let refused = sandbox.with_config(&["scale", "web", "5"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("--pr"), "{}", refused.stderr);
    let because = ["--because", "INC-9: too slow", "--pr"];
    for (verb, words, subject, line) in [
        (
            "scale",
            &["scale", "web", "5"][..],
            "web: scale to 5",
            "size: 5",
        ),
        (
            "suspend",
            &["suspend", "web", "--what", "update"],
            "web: suspend update",
            "suspend:",
        ),
        (
            "rollback",
            &["rollback", "web"],
            "web: roll back to the template of ",
            "infinity",
        ),
    ] {
        let ran = sandbox.with_config(&[words, &because].concat()).exits(0);
        let branches = sandbox.git(
            "fleet.git",
            &[
                "for-each-ref",
                "--format=%(refname:short)",
                "refs/heads/drover/pr",
            ],
        );
        let mut branches = branches.lines();
        let branch = branches.find(|branch| branch.contains(&format!("/{verb}-web-")));
        let branch = branch.unwrap();
        let next = format!("open a pull request from {branch} into main");
        assert!(ran.stderr.contains(&next), "{}", ran.stderr);
        let message = sandbox.git("fleet.git", &["log", "-1", "--format=%B", branch]);
        assert!(message.starts_with(subject), "{message}");
        assert!(message.contains("\n\nINC-9: too slow\n"), "{message}");
        assert_eq!(
            sandbox.git("fleet.git", &["rev-parse", &format!("{branch}^")]),
            tip
        );
        let file = sandbox.git("fleet.git", &["show", &format!("{branch}:{WEB}")]);
        assert!(file.contains(line), "{file}");
    }
    assert_eq!(sandbox.git("fleet.git", &["rev-parse", "main"]), tip);
}

#[test]
fn a_rollback_takes_the_template_before_or_that_of_a_commit_and_says_why() {
    let sandbox = sandbox();
    let first = sandbox.git("fleet.git", &["rev-parse", "main"]);
    let next = |command: &str, size: u32| {
        sandbox.push("next", &[(WEB, &group("web", size, command, ""))]);
    };
    next("[sleep, '100']", 2);
    next("[sleep, '100']", 3);
    let silent = sandbox.with_config(&["rollback", "web"]);
    assert_eq!(silent.code, Some(64), "{}", silent.stderr);
    assert!(silent.stderr.contains("--because"), "{}", silent.stderr);
    let roll_back = |more: &[&str]| {
        sandbox.with_config(&[&["rollback", "web", "--because", "INC-9"], more].concat())
    };
    let before = text(&sandbox);
    roll_back(&[]).exits(0);
    // The size that was pushed since stays.
    assert_eq!(text(&sandbox), before.replace("[sleep, '100']", IDLE));
    let message = sandbox.git("fleet.git", &["log", "-1", "--format=%B", "main"]);
    assert!(
        message.contains(&first[..7]) && message.contains("\n\nINC-9\n"),
        "{message}"
    );
    next("[sleep, '200']", 3);
    roll_back(&["--to", "main~2"]).exits(0);
    assert!(text(&sandbox).contains("[sleep, '100']"));
    roll_back(&["--to", "main"])
        .exits(0)
        .says("says so already");
    let unknown = roll_back(&["--to", "nowhere"]);
    assert!(
        unknown.stderr.contains("cannot find nowhere"),
        "{}",
        unknown.stderr
    );
    let elsewhere = sandbox.with_config(&["rollback", "db", "--because", "x"]);
    assert!(
        elsewhere.stderr.contains("has no group db"),
        "{}",
        elsewhere.stderr
    );
}

#[test]
fn a_rollback_without_another_template_in_the_history_is_refused() {
    let sandbox = sandbox();
    sandbox.push("larger", &[(WEB, &group("web", 4, IDLE, ""))]);
    let ran = sandbox.with_config(&["rollback", "web", "--because", "x"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("does not have another template"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("--to"), "{}", ran.stderr);
}

#[test]
fn an_edit_that_is_signed_is_acted_on_where_commits_must_be() {
    let sandbox = sandbox();
    let key = sandbox.path("ada").display().to_string();
    sandbox.make_key("ada");
    sandbox.write_signers(&["ada"]);
    let text = format!(
        "name: test\n\
         source: {{url: '{}', interval: 1s, verify: {{mode: head, signers: '{}'}}}}\n\
         dataDir: '{}'\n\
         listen: 'off'\n\
         providers: {{allow: [process]}}\n",
        sandbox.path("fleet.git").display(),
        sandbox.path("signers").display(),
        sandbox.path("data").display(),
    );
    sandbox.write("agent.yaml", &text);
    sandbox
        .with_config(&["scale", "web", "1", "--key", &key])
        .exits(0);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    sandbox.with_config(&["scale", "web", "3"]).exits(0);
    wait_until("a word about the signature", PATIENCE, || {
        let notes = sandbox.with_config(&["get", "groups"]).stderr;
        notes.contains("is not signed")
    });
    assert_eq!(sandbox.processes().len(), 1);
    sandbox
        .with_config(&["scale", "web", "2", "--key", &key])
        .exits(0);
    sandbox.wait_converged("web", 2);
    assert_eq!(agent.stop(), Some(0));
    let absent = sandbox.with_config(&["scale", "web", "4", "--key", "/nowhere"]);
    assert!(absent.stderr.contains("/nowhere"), "{}", absent.stderr);
}
