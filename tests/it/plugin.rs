//! Providers that are plugins: programs of their own behind a socket, which may be killed at any moment. Those that the
//! agent starts itself are in `plugins_started`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{PATIENCE, Sandbox, holds, instances, wait_until};

pub(crate) const PYTHON: &str = "/usr/bin/python3";

pub(crate) fn fixture(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../../tests/fixtures").join(name)
}

/// A plugin's process, killed with its test.
pub(crate) struct Plugin(Child);

impl Plugin {
    pub(crate) fn start(sandbox: &Sandbox) -> Self {
        let socket = sandbox.path("plugins/file");
        fs::create_dir_all(sandbox.path("plugins")).unwrap();
        let mut command = Command::new(PYTHON);
        command
            .arg(fixture("infrakit_file.py"))
            .args([&socket, &sandbox.path("machines")])
            .env_clear()
            .stdin(Stdio::null());
        let child = command.spawn();
        let mut child = child.expect("python3 is needed for this test: tests/run installs it");
        wait_until("the plugin to listen", PATIENCE, || {
            assert!(child.try_wait().unwrap().is_none(), "the plugin ended");
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        Self(child)
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_ended(&mut self) {
        wait_until("the plugin to die", PATIENCE, || {
            self.0.try_wait().unwrap().is_some()
        });
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) const PROVIDER: &str = "apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: local}
spec: {type: plugin, plugin: file, visibility: 1s, timeout: 5s, provisionTimeout: 1s}
";

pub(crate) fn group(size: u32, note: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: local
  size: {size}
  template: {{properties: {{note: {note}}}}}
  rollout: {{minReady: 100ms, maxSurge: 2}}
  drain: {{delay: 0s}}
"
    )
}

pub(crate) const WEB: &str = "groups/web.yaml";

pub(crate) fn sandbox(size: u32) -> Sandbox {
    let files = [
        ("providers/local.yaml", PROVIDER),
        (WEB, &group(size, "one")),
    ];
    let sandbox = Sandbox::with_files(&files);
    configure(&sandbox);
    fs::create_dir_all(sandbox.path("machines")).unwrap();
    sandbox
}

fn configure(sandbox: &Sandbox) {
    sandbox.configure("");
    let path = sandbox.path("agent.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let dir = sandbox.path("plugins").display().to_string();
    let text = text.replace("allow: [process]", "allow: [plugin]");
    fs::write(path, format!("{text}plugins: {{dir: '{dir}'}}\n")).unwrap();
}

/// The machines that there are.
pub(crate) fn machines(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.path("machines")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_machine = |path: &PathBuf| path.extension().is_some_and(|end| end == "json");
    paths.filter(is_machine).collect()
}

/// How many machines were ever made.
pub(crate) fn made(sandbox: &Sandbox) -> usize {
    let log = fs::read_to_string(sandbox.path("machines/made")).unwrap_or_default();
    log.lines().count()
}

/// Why machines were ended, in InfraKit's words.
fn reasons(sandbox: &Sandbox) -> Vec<String> {
    let log = fs::read_to_string(sandbox.path("machines/ended")).unwrap_or_default();
    let reasons = log.lines().filter_map(|line| line.split(' ').nth(1));
    reasons.map(str::to_owned).collect()
}

/// Waits until people are told once more which plugin and which call failed.
fn wait_for_failure(sandbox: &Sandbox) {
    let told = "error=\"plugin file: Instance.DescribeInstances: ";
    wait_until("the failure to be told", PATIENCE, || {
        let log = sandbox.agent_log();
        let failed = log.rfind("provider failed");
        let again = log.rfind("provider lists again");
        failed > again && log.contains(told)
    });
}

pub(crate) fn order(sandbox: &Sandbox, what: &str) {
    fs::write(sandbox.path("machines").join(what), "").unwrap();
}

#[test]
fn a_group_on_a_plugin_of_infrakits_kind_converges_rolls_heals_and_goes() {
    let sandbox = sandbox(3);
    let _plugin = Plugin::start(&sandbox);
    let _agent = sandbox.agent();
    let web = sandbox.wait_converged("web", 3);
    assert_eq!((machines(&sandbox).len(), made(&sandbox)), (3, 3));
    assert_eq!(instances(&web), ["web-1", "web-2", "web-3"]);

    sandbox.push("two", &[(WEB, &group(3, "two"))]);
    sandbox.wait_for("web", "the update", |web| {
        crate::support::converged(web, 3) && !instances(web).contains(&"web-3".to_owned())
    });
    wait_until("the old machines to be gone", PATIENCE, || {
        machines(&sandbox).len() == 3
    });
    for machine in machines(&sandbox) {
        assert!(
            fs::read_to_string(machine)
                .unwrap()
                .contains("\"note\": \"two\"")
        );
    }

    sandbox.push("fewer", &[(WEB, &group(1, "two"))]);
    sandbox.wait_converged("web", 1);
    wait_until("the other machines to be gone", PATIENCE, || {
        machines(&sandbox).len() == 1
    });
    assert_eq!(made(&sandbox), 6, "three and three");
    assert_eq!(
        reasons(&sandbox),
        [&["rolling_update"; 3][..], &["terminate"; 2]].concat()
    );
}

#[test]
fn a_plugin_that_is_killed_in_mid_call_makes_nothing_twice() {
    let sandbox = sandbox(1);
    let mut plugin = Plugin::start(&sandbox);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);

    // Made, and no answer: what was made is found again.
    order(&sandbox, "die-after");
    sandbox.push("more", &[(WEB, &group(2, "one"))]);
    plugin.wait_ended();
    wait_for_failure(&sandbox);
    // It is not recorded yet.
    let told = sandbox.with_config(&["get", "groups"]).exits(0);
    told.says("note: provider local cannot be listed")
        .says("plugin file: Instance.DescribeInstances: ");
    let mut plugin = Plugin::start(&sandbox);
    sandbox.wait_converged("web", 2);
    assert_eq!((machines(&sandbox).len(), made(&sandbox)), (2, 2));

    // Neither made nor answered, and the agent is killed on top: made once.
    order(&sandbox, "die-before");
    sandbox.push("more", &[(WEB, &group(3, "one"))]);
    plugin.wait_ended();
    agent.kill();
    let _plugin = Plugin::start(&sandbox);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 3);
    assert_eq!((machines(&sandbox).len(), made(&sandbox)), (3, 3));
}

/// A group that needs no plugin.
const OTHER: &str = "apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: memory}
spec: {type: simulated}
---
apiVersion: drover/v1alpha1
kind: Group
metadata: {name: db}
spec: {provider: memory, size: 1, template: {properties: {image: a}}, rollout: {minReady: 100ms}}
";

/// A sandbox of five instances on the plugin, and with one in the other group.
fn sandbox_with_another_group() -> Sandbox {
    let sandbox = sandbox(5);
    let path = sandbox.path("agent.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("allow: [plugin]", "allow: [plugin, simulated]"),
    )
    .unwrap();
    sandbox.push("other", &[("groups/db.yaml", OTHER)]);
    sandbox
}

/// Gives the other group another size, and waits until it has it.
fn grow_other(sandbox: &Sandbox, size: u64) {
    let other = OTHER.replace("size: 1", &format!("size: {size}"));
    sandbox.push("other", &[("groups/db.yaml", &other)]);
    sandbox.wait_converged("db", size);
}

#[test]
fn a_plugin_whose_answer_swells_harms_its_own_group_only() {
    let sandbox = sandbox_with_another_group();
    let _plugin = Plugin::start(&sandbox);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 5);
    sandbox.wait_converged("db", 1);

    order(&sandbox, "swell");
    wait_for_failure(&sandbox);
    let said = "plugin file: Instance.DescribeInstances: the answer is too much: its values take more than 256 MiB of memory";
    assert!(sandbox.agent_log().contains(said));
    grow_other(&sandbox, 2);
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let peak: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert!(peak < 300 << 10, "{peak} KiB");

    fs::remove_file(sandbox.path("machines/swell")).unwrap();
    sandbox.wait_converged("web", 5);
    assert_eq!((machines(&sandbox).len(), made(&sandbox)), (5, 5));
}

#[test]
fn a_plugin_that_describes_an_empty_fleet_or_is_gone_harms_its_own_group_only() {
    let sandbox = sandbox_with_another_group();
    let plugin = Plugin::start(&sandbox);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 5);
    sandbox.wait_converged("db", 1);

    order(&sandbox, "empty");
    let emptied = sandbox.wait_for("web", "the hold", |web| !holds(web).is_empty());
    assert_eq!(holds(&emptied), ["ObservationEmptied"]);
    let why = emptied["holds"][0]["message"].as_str().unwrap();
    let named =
        "provider local (plugin file, asked by Provider.List or Instance.DescribeInstances)";
    assert!(why.contains(named), "{why}");
    grow_other(&sandbox, 2);
    assert_eq!((machines(&sandbox).len(), made(&sandbox)), (5, 5));
    fs::remove_file(sandbox.path("machines/empty")).unwrap();
    sandbox.wait_converged("web", 5);

    drop(plugin);
    wait_for_failure(&sandbox);
    grow_other(&sandbox, 3);
    let _plugin = Plugin::start(&sandbox);
    sandbox.wait_converged("web", 5);
    assert_eq!((machines(&sandbox).len(), made(&sandbox)), (5, 5));
}

#[test]
fn a_plugin_that_fails_in_any_other_way_harms_its_own_group_only_and_is_named() {
    let sandbox = sandbox_with_another_group();
    let mut plugin = Plugin::start(&sandbox);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 5);
    sandbox.wait_converged("db", 1);
    let note = "note: provider local cannot be listed, so nothing is done to its groups: plugin file: Instance.DescribeInstances: ";
    let noted = |fault: &str, is: bool| {
        wait_until(&format!("{fault}: a note ({is})"), PATIENCE, || {
            let told = sandbox.with_config(&["get", "groups"]).exits(0);
            told.stderr.contains(note) == is
        });
    };
    let faults = ["hang", "garbage", "lie", "truncate", "flood", "die"];
    for (fault, size) in faults.into_iter().zip(2..) {
        fs::write(sandbox.path("machines/fault"), fault).unwrap();
        noted(fault, true);
        grow_other(&sandbox, size);
        fs::remove_file(sandbox.path("machines/fault")).unwrap();
        if fault == "die" {
            plugin.wait_ended();
            plugin = Plugin::start(&sandbox);
        }
        noted(fault, false);
    }
    sandbox.wait_converged("web", 5);
    assert_eq!((machines(&sandbox).len(), made(&sandbox)), (5, 5));
    drop(plugin);
}

#[test]
fn a_plugin_is_used_only_where_the_agents_own_file_allows_the_type() {
    let sandbox = sandbox(1);
    sandbox.configure("");
    let ran = sandbox.with_config(&["run", "--until-converged", "--timeout", "20s"]);
    ran.exits(6).says("provider type plugin is not allowed");
    assert!(!sandbox.path("data/plugin-ledger").exists());
}

#[test]
fn the_suite_is_run_against_a_plugin_by_its_name_or_its_socket() {
    let sandbox = sandbox(1);
    let _plugin = Plugin::start(&sandbox);
    let settings = [
        "--setting",
        "visibility=1s",
        "--setting",
        "provisionTimeout=1s",
    ];
    let by_name = [
        "plugin",
        "conform",
        "file",
        "--properties",
        "{\"note\": \"x\"}",
    ];
    let ran = sandbox.with_config(&[&by_name[..], &settings].concat());
    let ran = ran.exits(0).prints("passed   repeat-at-once\n");
    assert!(
        ran.stdout.ends_with("23 passed, 0 failed, 14 skipped\n"),
        "{}",
        ran.stdout
    );
    assert!(machines(&sandbox).is_empty());
    let two = ["--check", "repeat", "--check", "hello-meanwhile"];
    let ran = sandbox.with_config(&[&by_name[..], &settings, &two].concat());
    let only = "passed   repeat\nskipped  hello-meanwhile: the plugin has InfraKit's interface, and not `Provider/1`\n";
    ran.exits(0)
        .prints(&format!("{only}1 passed, 0 failed, 1 skipped\n"));
    let ran = sandbox.with_config(&[&by_name[..], &["--check", "repaet"]].concat());
    ran.exits(64)
        .says("there is no check repaet")
        .says("did you mean repeat?");

    // A plugin that describes nothing keeps no contract.
    order(&sandbox, "empty");
    let socket = sandbox.path("plugins/file").display().to_string();
    let by_socket = [
        "plugin",
        "conform",
        &socket,
        "-o",
        "json",
        "--setting",
        "provisionTimeout=1s",
        "--setting",
        "visibility=1ms",
        "--patience",
        "200ms",
    ];
    let ran = sandbox
        .drover(&by_socket)
        .exits(1)
        .says("does not keep the provider contract");
    let report = ran.json();
    assert_eq!(report["conforms"], false);
    assert_eq!(report["checks"][2]["name"], "provision");
    assert_eq!(report["checks"][2]["outcome"], "failed");

    let missing = sandbox
        .with_config(&["plugin", "conform", "other"])
        .exits(1);
    missing.says("there is no socket other and no file other.listen");
    let nowhere = sandbox.path("nowhere").display().to_string();
    let ran = sandbox.drover(&["plugin", "conform", &nowhere]).exits(1);
    let ran = ran.says(&format!("there is no socket {nowhere} (nothing is there)"));
    assert!(!ran.stderr.contains("a plugin's name"), "{}", ran.stderr);
    let ran = sandbox.drover(&["plugin", "conform", "./agent.yaml"]);
    ran.exits(1)
        .says("error: ./agent.yaml is no socket of a plugin\n");
    let wrong = ["plugin", "conform", "file", "--subtype", "x"];
    sandbox.with_config(&wrong).exits(64).says("write file/x");
}

/// A `drover plugin serve` of a sandbox.
fn serve(sandbox: &Sandbox, type_: &str) -> Plugin {
    let socket = sandbox.path("plugins").join(type_).display().to_string();
    let data = sandbox.path("served").display().to_string();
    fs::create_dir_all(sandbox.path("plugins")).unwrap();
    let arguments = [
        "plugin",
        "serve",
        type_,
        "--socket",
        &socket,
        "--data-dir",
        &data,
    ];
    let child = sandbox.command(&arguments).spawn().unwrap();
    wait_until("the plugin to listen", PATIENCE, || {
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    });
    Plugin(child)
}

#[test]
fn our_own_provider_is_served_to_another_agent_and_survives_a_kill() {
    let sandbox = sandbox(2);
    let provider = PROVIDER.replace("plugin: file, visibility: 1s, ", "plugin: process, ");
    let web = group(2, "x").replace("{note: x}", "{command: [sleep, infinity]}");
    // Without a surge, so that each instance is restarted where it is.
    let web = web.replace("maxSurge: 2", "maxSurge: 0, maxUnavailable: 1");
    sandbox.push(
        "served",
        &[("providers/local.yaml", &provider), (WEB, &web)],
    );
    let plugin = serve(&sandbox, "process");
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    assert_eq!(sandbox.processes().len(), 2);

    // Restarts in place, as the schema that the plugin publishes says.
    let env = web.replace("infinity]}", "infinity], env: {A: b}}");
    let digest = |web: &serde_json::Value| web["target"].clone();
    let before = digest(&sandbox.group("web").unwrap());
    let restarts = sandbox.push("restart", &[(WEB, &env)]);
    let web = sandbox.wait_for("web", "the restart", |web| {
        web["source"]["revision"] == restarts.as_str() && crate::support::converged(web, 2)
    });
    assert_eq!(digest(&web), before, "nothing was replaced");
    assert_eq!(instances(&web), ["web-1", "web-2"]);

    drop(plugin);
    assert_eq!(sandbox.processes().len(), 2, "instances outlive the plugin");
    let _plugin = serve(&sandbox, "process");
    sandbox.push("more", &[(WEB, &env.replace("size: 2", "size: 3"))]);
    sandbox.wait_converged("web", 3);
    assert_eq!(sandbox.processes().len(), 3);
}

#[test]
fn what_is_served_passes_the_suite_as_a_program() {
    let sandbox = sandbox(1);
    let _plugin = serve(&sandbox, "simulated");
    let properties = [
        "--properties",
        "{\"image\": \"a\"}",
        "--invalid",
        "{\"imgae\": \"a\"}",
    ];
    let exiting = ["--exiting", "{\"image\": \"a\", \"exitAfter\": \"10ms\"}"];
    let unhealthy = ["--unhealthy", "{\"image\": \"a\", \"unhealthy\": true}"];
    let arguments = [
        &["plugin", "conform", "simulated"][..],
        &properties,
        &exiting,
        &unhealthy,
    ]
    .concat();
    // Nobody is told of 20 checks that failed where nothing can be tried.
    let without = sandbox.with_config(&["plugin", "conform", "simulated"]);
    let without = without
        .exits(64)
        .says("nothing can be tried: `image` is missing");
    let without = without.says("--properties '{...}' says with which");
    assert_eq!(without.stdout, "");
    let ran = sandbox.with_config(&arguments).exits(0);
    assert!(
        ran.stdout.ends_with("36 passed, 0 failed, 1 skipped\n"),
        "{}",
        ran.stdout
    );
    let second = [
        "plugin",
        "serve",
        "simulated",
        "--data-dir",
        "served",
        "--socket",
        "plugins/simulated",
    ];
    sandbox
        .drover(&second)
        .exits(1)
        .says("somebody listens there");
}

/// The example of the guide, in Python.
fn example(sandbox: &Sandbox) -> Plugin {
    started(sandbox, Path::new(EXAMPLE))
}

/// Starts a program as the plugin `example`.
fn started(sandbox: &Sandbox, program: &Path) -> Plugin {
    fs::create_dir_all(sandbox.path("plugins")).unwrap();
    let socket = sandbox.path("plugins/example");
    let mut command = Command::new(PYTHON);
    command
        .arg(program)
        .args([&socket, &sandbox.path("machines")])
        .stdin(Stdio::null());
    let child = command.spawn();
    let child = child.expect("python3 is needed for this test: tests/run installs it");
    wait_until("the plugin to listen", PATIENCE, || {
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    });
    Plugin(child)
}

const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../providers/drover-provider-plugin/examples/provider.py"
);

/// The example with a function that answers something else.
pub(crate) fn changed_example(sandbox: &Sandbox, function: &str, answer: &str) -> Plugin {
    let text = fs::read_to_string(EXAMPLE).unwrap();
    let head = format!("def {function}(params):\n");
    assert!(text.contains(&head), "the example has no {function}");
    let other = format!("{head}    return {answer}\n\n\ndef other_{function}(params):\n");
    let program = sandbox.path("changed.py");
    fs::write(&program, text.replace(&head, &other)).unwrap();
    started(sandbox, &program)
}

/// The example that lists nothing of what it makes.
fn lists_nothing(sandbox: &Sandbox) -> Plugin {
    let nothing = "{\"instances\": [], \"complete\": True}";
    changed_example(sandbox, "list_instances", nothing)
}

pub(crate) const CONFORM: [&str; 6] = [
    "plugin",
    "conform",
    "example",
    "--properties",
    // It ends by itself, as one of these plugins ends nothing.
    "{\"command\": [\"sleep\", \"20\"]}",
    "--patience",
];

#[test]
fn a_plugin_that_lists_nothing_is_told_at_once_and_what_it_made_by_its_handle() {
    let sandbox = sandbox(1);
    let _plugin = lists_nothing(&sandbox);
    let ran = sandbox
        .with_config(&[&CONFORM[..], &["1s"]].concat())
        .exits(1);
    let ran = ran
        .prints("failed   provision: the instance does not run in time; ")
        .prints("skipped  many: nothing that was made has been listed so far, see above\n")
        .prints("skipped  unknown-fields: nothing that was made has been listed")
        .prints("passed   offers\n");
    let ends = "2 passed, 1 failed, 34 skipped\n";
    assert!(ran.stdout.ends_with(ends), "{}", ran.stdout);
    ran.says("left behind, to be looked at and removed by hand:")
        .says("was made and not listed: nobody can see whether it has ended");
}

#[test]
fn each_check_is_told_when_it_has_ended() {
    use std::io::BufRead as _;
    let sandbox = sandbox(1);
    let _plugin = lists_nothing(&sandbox);
    let config = sandbox.path("agent.yaml").display().to_string();
    let mut command = sandbox.command(&[&CONFORM[..], &["60s", "--config", &config]].concat());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let first = std::io::BufReader::new(stdout).lines().next();
    assert_eq!(first.unwrap().unwrap(), "passed   manifest");
    assert!(child.try_wait().unwrap().is_none(), "the next one waits");
    // Whoever interrupts it is not left with what it made.
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error: interrupted"), "{said}");
}

#[test]
fn what_a_plugin_does_not_end_is_named_by_its_handle() {
    let sandbox = sandbox(1);
    let _plugin = changed_example(&sandbox, "destroy", "{}");
    let only = [
        "1s",
        "-o",
        "json",
        "--check",
        "provision",
        "--check",
        "unknown-fields",
    ];
    let ran = sandbox
        .with_config(&[&CONFORM[..], &only].concat())
        .exits(1);
    let ran = ran.says("left behind, to be looked at and removed by hand:");
    let left = ran.json()["left"].clone();
    let left = left.as_array().unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
    for one in left {
        let why = one["why"].as_str().unwrap();
        assert!(
            why.starts_with("conformance-") && why.ends_with(", is listed as running"),
            "{why}"
        );
    }
}

#[test]
fn the_guides_command_tries_everything_that_the_example_has() {
    let sandbox = sandbox(1);
    let _plugin = example(&sandbox);
    let end = format!(
        "{PYTHON} {EXAMPLE} end '{}' \"$DROVER_REF\"",
        sandbox.path("machines").display()
    );
    let mut arguments = vec![
        "plugin",
        "conform",
        "example",
        "--properties",
        "{\"command\": [\"sleep\", \"600\"]}",
        "--invalid",
        "{\"command\": \"sleep\"}",
        "--exiting",
        "{\"command\": [\"true\"]}",
        "--printing",
        "{\"command\": [\"sh\", \"-c\", \"seq 9; exec sleep 600\"]}",
        "--end-released",
        &end,
    ];
    let ran = sandbox.with_config(&arguments).exits(0);
    for line in [
        "passed   release\n",
        "passed   logs\n",
        "passed   unclaimed\n",
        "skipped  check: the provider does not offer `check`\n",
    ] {
        assert!(ran.stdout.contains(line), "{line}{}", ran.stdout);
    }
    assert!(
        ran.stdout.ends_with("28 passed, 0 failed, 9 skipped\n"),
        "{}",
        ran.stdout
    );
    // The guide says the same.
    let guide = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/guides/write-a-provider.md"
    );
    let guide = fs::read_to_string(guide).unwrap();
    assert!(guide.contains("28 passed, 0 failed, 9 skipped\n"));

    // What should have ended a released instance and did not is no success.
    arguments.pop();
    arguments.push("echo it is locked >&2; exit 3");
    let ran = sandbox.with_config(&arguments).exits(1);
    let ran = ran.says("a released instance was not ended");
    ran.says("ended with exit status: 3: it is locked");
    for entry in fs::read_dir(sandbox.path("machines")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(token) = name.strip_suffix(".batch") {
            let mut shell = Command::new("/bin/sh");
            shell.env("DROVER_REF", format!("{token}-0"));
            // What was not released is refused.
            shell.args(["-c", &end]).output().unwrap();
        }
    }
}

/// What `drover plan` and `drover simulate` say of a commit that nobody has merged.
fn compared(sandbox: &Sandbox) -> (String, String) {
    let work = sandbox.path("work").display().to_string();
    let ends = ["--source", &work, "--base", "main", "--head", "topic"];
    let run = |command: &str| sandbox.drover(&[&[command], &ends[..]].concat());
    (run("plan").exits(0).stdout, run("simulate").exits(0).stdout)
}

#[test]
fn what_a_plugin_changes_in_place_is_known_without_it_once_an_agent_has_recorded_it() {
    let of = |note: &str| {
        let properties = format!("{{command: [sleep, '600'], note: {note}}}");
        group(1, "one").replace("{note: one}", &properties)
    };
    let (kind, _) = PROVIDER.split_once("spec:").unwrap();
    let provider = format!("{kind}spec: {{type: plugin, plugin: example}}\n");
    let sandbox = sandbox(1);
    sandbox.push(
        "the example",
        &[("providers/local.yaml", &provider), (WEB, &of("one"))],
    );
    let git = |arguments: &[&str]| sandbox.git("work", arguments);
    git(&["checkout", "--quiet", "-b", "topic"]);
    sandbox.write(&format!("work/{WEB}"), &of("two"));
    git(&["commit", "--quiet", "--all", "--message", "note"]);
    git(&["checkout", "--quiet", "main"]);

    let (plan, _) = compared(&sandbox);
    assert!(plan.contains("PropertiesUnknown"), "{plan}");
    assert!(plan.contains("one\" -> \"two\" (replace)"), "{plan}");

    let plugin = example(&sandbox);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    drop((agent, plugin));
    git(&["fetch", "--quiet", "origin"]);
    let (plan, simulation) = compared(&sandbox);
    assert!(!plan.contains("PropertiesUnknown"), "{plan}");
    assert!(plan.contains("one\" -> \"two\" (ignore)"), "{plan}");
    assert!(plan.contains("and no instance\n"), "{plan}");
    assert!(!simulation.contains("provision"), "{simulation}");
}
