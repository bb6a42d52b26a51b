//! The command line itself: help, wrong usage, the small tools.

use crate::support::{DROVER, Sandbox};

/// Every command with its subcommands.
const COMMANDS: [&[&str]; 50] = [
    &[],
    &["demo"],
    &["init"],
    &["import"],
    &["import", "infrakit"],
    &["validate"],
    &["run"],
    &["plan"],
    &["simulate"],
    &["get"],
    &["describe"],
    &["log"],
    &["why"],
    &["replay"],
    &["audit"],
    &["audit", "verify"],
    &["audit", "export"],
    &["logs"],
    &["rollout"],
    &["rollout", "status"],
    &["scale"],
    &["suspend"],
    &["resume"],
    &["rollback"],
    &["pr"],
    &["approve"],
    &["reject"],
    &["promote"],
    &["retry"],
    &["replace"],
    &["restart"],
    &["yield"],
    &["keep"],
    &["freeze"],
    &["unfreeze"],
    &["reconcile"],
    &["policy"],
    &["policy", "test"],
    &["policy", "eval"],
    &["policy", "explain"],
    &["policy", "bench"],
    &["policy", "backtest"],
    &["plugin"],
    &["plugin", "conform"],
    &["plugin", "serve"],
    &["schema"],
    &["completions"],
    &["version"],
    &["shim"],
    &["demo-server"],
];

#[test]
fn the_help_tree_is_as_reviewed() {
    let sandbox = Sandbox::new();
    let mut tree = String::new();
    let visible = COMMANDS
        .iter()
        .filter(|command| !matches!(command.first(), Some(&("shim" | "demo-server"))));
    for command in visible {
        let mut arguments = command.to_vec();
        arguments.push("--help");
        let ran = sandbox.drover(&arguments).exits(0);
        assert_eq!(ran.stderr, "", "help is a result");
        let line = format!("$ drover {}\n", arguments.join(" "));
        tree.extend([line.as_str(), &ran.stdout, "\n"]);
    }
    insta::assert_snapshot!("help", tree);
}

#[test]
fn the_help_lists_every_command_that_is_not_hidden() {
    let sandbox = Sandbox::new();
    let help = sandbox.drover(&["--help"]).exits(0).stdout;
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut known: Vec<&str> = COMMANDS
        .iter()
        .filter_map(|command| command.first().copied())
        .collect();
    known.retain(|command| !matches!(*command, "shim" | "demo-server"));
    known.dedup();
    assert_eq!(listed, known);
}

#[test]
fn wrong_usage_exits_with_64_and_says_so_on_stderr() {
    let sandbox = Sandbox::new();
    let cases: [&[&str]; 14] = [
        &[],
        &["frobnicate"],
        &["get", "machines"],
        &["get", "groups", "-o", "xml"],
        &["get", "groups", "-l", "=prod"],
        &["scale", "web"],
        &["scale", "web", "-1"],
        &["scale", "Web", "1"],
        &["suspend", "web", "--what", "everything", "--source", "."],
        &["logs", "web"],
        &["plan", "--base", "main"],
        &["run", "--once", "--until-converged"],
        &["run", "--listen", "localhost"],
        &["schema", "Deployment"],
    ];
    for arguments in cases {
        let ran = sandbox.drover(arguments).exits(64);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_list_without_a_kind_names_the_kinds() {
    let ran = Sandbox::new().drover(&["get"]).exits(64);
    let [help, told] = [Sandbox::new().drover(&["get", "--help"]).stdout, ran.stderr];
    let kinds = help.split_once("Possible values:\n").unwrap().1;
    let kinds = kinds
        .lines()
        .map_while(|line| line.trim().strip_prefix("- "));
    let kinds: Vec<&str> = kinds.map(|line| line.split(':').next().unwrap()).collect();
    assert!(told.contains(&kinds.join("|")), "{kinds:?} {told}");
    assert_eq!(kinds.len(), 6, "{help}");
}

#[test]
fn a_command_that_needs_a_repository_says_how_to_name_one() {
    let sandbox = Sandbox::new();
    let data = sandbox.path("data").display().to_string();
    let ran = sandbox.drover(&["get", "groups", "--data-dir", &data]);
    ran.exits(64)
        .says("no source repository is named")
        .says("hint: name the agent's file");
}

#[test]
fn an_agents_file_with_mistakes_is_refused_with_carets() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "agent.yaml",
        "name: test\nsource: {url: /srv/x.git, brunch: main}\n",
    );
    let ran = sandbox.with_config(&["run", "--once"]).exits(1);
    ran.says("unknown field `brunch`")
        .says("did you mean `branch`?")
        .says("^^^^^^");
}

#[test]
fn results_are_plain_in_a_pipe_and_coloured_when_asked() {
    let sandbox = Sandbox::new();
    sandbox.write("fleet/bad.yaml", "kind: Group\n");
    let path = sandbox.path("fleet").display().to_string();
    let plain = sandbox.drover(&["validate", &path]).exits(1);
    assert!(!plain.stdout.contains('\u{1b}'), "{}", plain.stdout);
    let coloured = sandbox
        .drover(&["validate", &path, "--color", "always"])
        .exits(1);
    assert!(coloured.stdout.contains('\u{1b}'), "{}", coloured.stdout);
}

#[test]
fn a_reader_that_goes_away_is_no_failure_worth_words() {
    let sandbox = Sandbox::new();
    let script = format!("'{DROVER}' completions bash | true; echo \"${{PIPESTATUS[0]}}\"");
    let mut bash = std::process::Command::new("bash");
    bash.env_clear()
        .env("HOME", sandbox.path("home"))
        .env("PATH", "/usr/bin:/bin");
    let output = bash.args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    // The shell may be done reading before or after everything was written.
    let code = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(code == "141" || code == "0", "{code}");
}

#[test]
fn the_version_is_the_same_in_every_format() {
    let sandbox = Sandbox::new();
    let version = env!("CARGO_PKG_VERSION");
    sandbox
        .drover(&["version"])
        .exits(0)
        .prints(&format!("drover {version} ("));
    sandbox
        .drover(&["--version"])
        .exits(0)
        .prints(&format!("drover {version}\n"));
    let json = sandbox.drover(&["version", "-o", "json"]).exits(0).json();
    assert_eq!(json["version"], version);
    assert_eq!(json["apiVersion"], "drover/v1alpha1");
}

#[test]
fn completions_cover_every_shell_and_schemas_every_kind() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = sandbox.drover(&["completions", shell]).exits(0);
        assert!(ran.stdout.contains("rollout"), "{shell}");
    }
    let kinds = [
        "Fleet",
        "Group",
        "Policy",
        "Binding",
        "Provider",
        "MetricSource",
        "Calendar",
        "group",
    ];
    for kind in kinds {
        let schema = sandbox.drover(&["schema", kind]).exits(0).json();
        assert!(
            schema["$schema"].as_str().unwrap().contains("draft-07"),
            "{kind}"
        );
    }
    let all = sandbox.drover(&["schema"]).exits(0).json();
    assert_eq!(all.as_object().unwrap().len(), 7);
}
