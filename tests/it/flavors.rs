//! Flavors that are programs of their own: the example in Python, asked by a real agent about processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::infrakit::Serving;
use crate::plugin::PYTHON;
use crate::support::{PATIENCE, PROVIDER, Sandbox, holds, instances, wait_until};

const WEB: &str = "groups/web.yaml";

/// The example's process, killed with its test.
struct Greeter(Child);

impl Greeter {
    fn start(sandbox: &Sandbox) -> Self {
        let socket = sandbox.path("plugins/greeter");
        fs::create_dir_all(sandbox.path("plugins")).unwrap();
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let script = root.join("../../providers/drover-provider-plugin/examples/flavor.py");
        let mut command = Command::new(PYTHON);
        command
            .arg(script)
            .args([&socket, &sandbox.path("greeter")])
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
}

impl Drop for Greeter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn web(greeting: &str, more: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: local
  size: 2
  template:
    properties: {{command: [sh, -c, 'echo $0 > where; exec sleep infinity', \"${{instance.address}}\"]}}
    flavors:
      - vanilla: {{init: [\"echo ${{instance.id}} > name\"]}}
      - plugin: {{name: greeter, properties: {{greeting: '{greeting}'}}}}
      - vanilla: {{init: [\"cp greeting copy\"]}}
  rollout: {{minReady: 100ms, maxSurge: 2}}
  drain: {{delay: 0s}}
{more}"
    )
}

fn sandbox(greeting: &str) -> Sandbox {
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &web(greeting, ""))]);
    configure(&sandbox, "[process, plugin]");
    sandbox
}

fn configure(sandbox: &Sandbox, allow: &str) {
    sandbox.configure("");
    let path = sandbox.path("agent.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("allow: [process]", &format!("allow: {allow}"));
    let dir = sandbox.path("plugins").display().to_string();
    fs::write(path, format!("{text}plugins: {{dir: '{dir}'}}\n")).unwrap();
}

/// The tokens that were drawn, by instance.
fn tokens(sandbox: &Sandbox) -> BTreeMap<String, Vec<String>> {
    let log = fs::read_to_string(sandbox.path("greeter/tokens")).unwrap_or_default();
    let mut drawn: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in log.lines() {
        let [group, number, token] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let instance = format!("{group}-{number}");
        drawn.entry(instance).or_default().push(token.to_owned());
    }
    drawn
}

/// The folders in which instances have what they wrote, by instance.
fn written(sandbox: &Sandbox) -> BTreeMap<String, PathBuf> {
    fn look(folder: &Path, found: &mut BTreeMap<String, PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                look(&path, found);
            } else if path.ends_with("name") {
                let name = fs::read_to_string(&path).unwrap().trim().to_owned();
                found.insert(name, folder.to_owned());
            }
        }
    }
    let mut found = BTreeMap::new();
    look(&sandbox.path("data/process"), &mut found);
    found
}

fn read(folder: &Path, name: &str) -> String {
    let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
    text.trim().to_owned()
}

#[test]
fn instances_get_what_a_plugin_answers_for_each_of_them_once() {
    let greeting = "it is $${HOME} of ${group.name} $5";
    let sandbox = sandbox(greeting);
    let _greeter = Greeter::start(&sandbox);
    let agent = sandbox.agent();
    let group = sandbox.wait_converged("web", 2);
    assert_eq!(instances(&group), ["web-1", "web-2"]);
    let drawn = tokens(&sandbox);
    for (instance, folder) in written(&sandbox) {
        let [token] = &drawn[&instance][..] else {
            panic!("{instance}: {drawn:?}");
        };
        let said = format!("it is ${{HOME}} of web $5 {token}");
        assert_eq!(read(&folder, "greeting"), said);
        assert_eq!(read(&folder, "copy"), said, "a later flavor comes later");
        assert!(read(&folder, "where").starts_with("127."), "{folder:?}");
    }

    // Nothing is asked again about what is there, by nobody.
    agent.kill();
    let _agent = sandbox.agent();
    sandbox.push("hello", &[(WEB, &web("hello", ""))]);
    sandbox.wait_for("web", "the update", |web| {
        crate::support::converged(web, 2) && !instances(web).contains(&"web-2".to_owned())
    });
    let drawn = tokens(&sandbox);
    assert!(drawn.values().all(|tokens| tokens.len() == 1), "{drawn:?}");
    assert_eq!(drawn.len(), 4);
    let replaced = written(&sandbox);
    let said = format!("hello {}", drawn["web-3"][0]);
    assert_eq!(read(&replaced["web-3"], "greeting"), said);
}

#[test]
fn what_a_plugin_says_of_health_heals_and_what_it_does_not_say_ends_nobody() {
    let sandbox = sandbox("hello");
    let short = "  health: {unhealthyAfter: 500ms}\n";
    sandbox.push("short", &[(WEB, &web("hello", short))]);
    let greeter = Greeter::start(&sandbox);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    fs::write(sandbox.path("greeter/unhealthy"), "web-1\n").unwrap();
    let healed = sandbox.wait_for("web", "the healing", |web| {
        crate::support::converged(web, 2) && !instances(web).contains(&"web-1".to_owned())
    });
    assert_eq!(instances(&healed), ["web-2", "web-3"]);

    drop(greeter);
    let alone = sandbox.wait_for("web", "the plugin to be missed", |web| {
        web["available"]
            .as_u64()
            .is_some_and(|available| available < 2)
    });
    assert_eq!(instances(&alone), ["web-2", "web-3"]);
    let _greeter = Greeter::start(&sandbox);
    let again = sandbox.wait_converged("web", 2);
    assert_eq!(instances(&again), ["web-2", "web-3"], "nobody is replaced");
    assert_eq!(tokens(&sandbox).len(), 3);
}

#[test]
fn a_plugin_drains_what_ends_and_delays_that_no_longer_than_the_document_says() {
    let sandbox = sandbox("hello");
    let greeter = Greeter::start(&sandbox);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    fs::write(sandbox.path("greeter/busy"), "web-1\nweb-2\n").unwrap();
    let one = |timeout: &str| {
        let drain = format!("drain: {{delay: 0s, timeout: {timeout}}}");
        let text = web("hello", "").replace("size: 2", "size: 1");
        text.replace("drain: {delay: 0s}", &drain)
    };
    sandbox.push("fewer", &[(WEB, &one("5m"))]);
    let told = "flavor plugin has not drained the instance";
    wait_until("the plugin to refuse", PATIENCE, || {
        let log = sandbox.agent_log();
        log.contains(told) && log.contains("is busy")
    });
    assert_eq!(sandbox.group("web").unwrap()["total"], 2);
    fs::remove_file(sandbox.path("greeter/busy")).unwrap();
    sandbox.wait_converged("web", 1);
    let drained = fs::read_to_string(sandbox.path("greeter/drained")).unwrap();
    assert_eq!(drained.lines().count(), 1, "{drained}");

    // One that is gone keeps nobody: the deadline is the document's.
    let text = one("2s").replace("size: 1", "size: 0");
    drop(greeter);
    sandbox.push("none", &[(WEB, &text)]);
    sandbox.wait_for("web", "the end", |web| web["total"] == 0);
    let log = sandbox.agent_log();
    assert!(log.contains("plugin greeter: Flavor.Drain: "), "{log}");
}

#[test]
fn a_plugin_that_is_missing_or_refuses_harms_its_own_group_only() {
    let sandbox = sandbox("hello");
    let other = crate::support::group("db", 1, crate::support::IDLE, "");
    sandbox.push("other", &[("groups/db.yaml", &other)]);
    let _agent = sandbox.agent();
    sandbox.wait_converged("db", 1);
    let told = "unknown: plugin greeter: Handshake.Hello: there is no socket greeter";
    let held = |what: &str| {
        sandbox.wait_for("web", what, |web| {
            holds(web).contains(&"LaunchBackoff".to_owned())
        })
    };
    let web_held = held("the back-off");
    assert!(web_held["total"] == 0, "{web_held}");
    let log = sandbox.git(
        ".",
        &["-C", "fleet.git", "log", "drover/state", "--format=%B"],
    );
    assert!(log.contains(told), "{log}");

    let _greeter = Greeter::start(&sandbox);
    sandbox.push(
        "typo",
        &[(
            WEB,
            &web("hello', greetnig: '", "").replace("web}", "shop}"),
        )],
    );
    let words = "plugin greeter: Flavor.Validate: greetnig: unknown property";
    sandbox.wait_for("shop", "the refusal", |shop| {
        let backoff = &shop["backoff"];
        backoff["class"] == "invalidSpec" && backoff["message"] == words
    });
    assert!(tokens(&sandbox).is_empty());
}

#[test]
fn a_rollout_waits_for_the_cluster_that_a_plugin_keeps_and_joins_who_leads() {
    let sandbox = sandbox("hello");
    let _greeter = Greeter::start(&sandbox);
    let _agent = sandbox.agent();
    sandbox.wait_for("web", "its instances", |web| web["phase"] == "Converged");
    fs::write(sandbox.path("greeter/degraded"), "web-2 is away\n").unwrap();
    fs::write(sandbox.path("greeter/leader"), "web-1\n").unwrap();
    sandbox.push("greet anew", &[(WEB, &web("good morning", ""))]);
    sandbox.wait_for("web", "the hold", |web| {
        let holds = holds(web);
        holds.iter().any(|code| code == "ClusterDegraded")
    });
    let address = read(&written(&sandbox)["web-1"], "where");
    assert_eq!(tokens(&sandbox).len(), 2);
    let drained = || fs::read_to_string(sandbox.path("greeter/drained")).unwrap_or_default();
    assert_eq!(drained(), "");

    fs::remove_file(sandbox.path("greeter/degraded")).unwrap();
    sandbox.wait_for("web", "the end of the rollout", |web| {
        web["phase"] == "Converged" && instances(web).len() == 2
    });
    let mut drained: Vec<String> = drained().lines().map(str::to_owned).collect();
    drained.sort();
    assert_eq!(drained, ["web-1", "web-2"]);
    // A newcomer was told whom to join, who leads first.
    let peers = read(&written(&sandbox)["web-3"], "peers");
    assert!(peers.starts_with(&address), "{peers}");
    assert_eq!(peers.split(' ').count(), 2);
}

#[test]
fn the_suite_of_flavors_is_run_against_a_plugin_that_is_one() {
    let sandbox = sandbox("hello");
    let _greeter = Greeter::start(&sandbox);
    let invalid = ["--invalid", "{\"greetnig\": \"x\"}"];
    let arguments = [&["plugin", "conform", "greeter"][..], &invalid].concat();
    let ran = sandbox.with_config(&arguments).exits(0);
    let counts = "passed   cluster\n10 passed, 0 failed, 0 skipped\n";
    assert!(ran.stdout.ends_with(counts), "{}", ran.stdout);
    let wrong = [
        "plugin",
        "conform",
        "greeter",
        "--properties",
        "{\"greeting\": 1}",
    ];
    let ran = sandbox.with_config(&wrong).exits(1);
    ran.says("plugin greeter does not keep the contract of flavors");
    let wrong = ["plugin", "conform", "greeter", "--setting", "visibility=1s"];
    let ran = sandbox.with_config(&wrong).exits(64);
    ran.says("is a flavor, which makes nothing");
}

#[test]
fn a_flavor_plugin_is_asked_only_where_the_agents_own_file_allows_plugins() {
    let sandbox = sandbox("hello");
    configure(&sandbox, "[process]");
    let _greeter = Greeter::start(&sandbox);
    let ran = sandbox.with_config(&["run", "--until-converged", "--timeout", "20s"]);
    ran.exits(6).says("flavor plugins are not allowed");
    assert!(tokens(&sandbox).is_empty());
}

#[test]
fn a_group_that_infrakit_commits_with_a_flavor_plugin_becomes_a_document_with_it() {
    let sandbox = sandbox("hello");
    let _greeter = Greeter::start(&sandbox);
    let _agent = sandbox.agent();
    sandbox.wait_for("web", "its instances", |web| instances(web).len() == 2);
    let config = sandbox.path("agent.yaml").display().to_string();
    let data = sandbox.path("data").display().to_string();
    let serving = Serving::start_in(&sandbox, "group", &data, &["--config", &config]);
    let flavor = json!({"Plugin": "greeter", "Properties": {"greeting": "hi ${X}"}});
    let spec = |plugin: &str| {
        let mut flavor = flavor.clone();
        flavor["Plugin"] = json!(plugin);
        json!({"Spec": {"ID": "new", "Properties": {
            "Allocation": {"Size": 1},
            "Instance": {"Plugin": "local", "Properties": {"command": ["sleep", "infinity"]}},
            "Flavor": flavor,
        }}, "Pretend": false})
    };
    let nobody = serving.refused("Group.CommitGroup", &spec("nobody"));
    assert_eq!(
        nobody,
        "Failed to find Flavor plugin 'nobody':plugin not found:nobody"
    );
    let made = serving.call("Group.CommitGroup", &spec("greeter"));
    assert_eq!(made["Details"], "Managing 1 instances");
    let text = sandbox.git("fleet.git", &["show", "main:groups/new.yaml"]);
    assert!(
        text.contains(r#"{"plugin":{"name":"greeter","properties":{"greeting":"hi $${X}"}}}"#),
        "{text}"
    );
    let inspected = serving.call("Group.InspectGroups", &json!({}));
    assert_eq!(inspected["Groups"][0]["Properties"]["Flavor"], flavor);
    let again = serving.call("Group.CommitGroup", &spec("greeter"));
    assert_eq!(again["Details"], "Noop");
    wait_until("the plugin to be asked", PATIENCE, || {
        tokens(&sandbox).contains_key("new-1")
    });
}
