//! What a plugin says that it takes, before anything is made: by `drover validate`, and by the agent.

use std::fs;

use crate::plugin::PYTHON;
use crate::support::{Sandbox, holds, instances};

const WEB: &str = "groups/web.yaml";
const LOCAL: &str = "providers/local.yaml";

fn provider(settings: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Provider
metadata: {{name: local}}
spec:
  type: plugin
  plugin: example
  settings: {settings}
"
    )
}

fn group(properties: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: local
  size: 1
  template:
    properties: {properties}
  rollout: {{minReady: 100ms}}
  drain: {{delay: 0s}}
"
    )
}

const SLEEP: &str = "{command: [sleep, infinity]}";

/// A repository on the example in Python, which the agent's file starts.
fn sandbox(settings: &str, properties: &str) -> Sandbox {
    let sandbox = Sandbox::with_files(&[(LOCAL, &provider(settings)), (WEB, &group(properties))]);
    let path = sandbox.path("agent.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../providers/drover-provider-plugin/examples/provider.py"
    );
    let text = text.replace("allow: [process]", "allow: [plugin]");
    let plugins = format!(
        "plugins:\n  dir: '{}'\n  start:\n    - {{name: example, command: [{PYTHON}, '{example}', '${{socket}}', '{}']}}\n",
        sandbox.path("plugins").display(),
        sandbox.path("machines").display()
    );
    fs::write(path, text + &plugins).unwrap();
    sandbox
}

#[test]
fn validate_finds_what_a_plugin_does_not_take_with_place_and_suggestion() {
    let sandbox = sandbox("{pagesize: 5}", "{comand: [sleep, infinity]}");
    let ran = sandbox.with_config(&["validate", "work"]).exits(1);
    let ran = ran.prints("settings.pagesize: unknown field");
    let ran = ran.prints("did you mean `pageSize`?");
    ran.prints("providers/local.yaml:7:");

    sandbox.write("work/providers/local.yaml", &provider("{pageSize: 0}"));
    let ran = sandbox.with_config(&["validate", "work"]).exits(1);
    ran.prints("settings.pageSize: expected an integer from 1 to 1000");

    sandbox.write("work/providers/local.yaml", &provider("{pageSize: 5}"));
    let ran = sandbox.with_config(&["validate", "work"]).exits(1);
    let ran = ran.prints("unknown field `comand`");
    let ran = ran.prints("did you mean `command`?");
    ran.prints("groups/web.yaml:8:");

    sandbox.write("work/groups/web.yaml", &group(SLEEP));
    let ran = sandbox.with_config(&["validate", "work"]).exits(0);
    assert!(!ran.stderr.contains("not checked"), "{}", ran.stderr);
    assert!(
        !sandbox.path("plugins").exists(),
        "what was started for the check is nobody else's"
    );
}

#[test]
fn validate_says_what_it_could_not_ask() {
    let sandbox = sandbox("{pagesize: 5}", "{comand: [sleep]}");
    let ran = sandbox.drover(&["validate", "work"]).exits(0);
    ran.says("not checked: what the plugins of 1 provider (local) take");
    let path = sandbox.path("agent.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("name: example", "name: other")).unwrap();
    let ran = sandbox.with_config(&["validate", "work"]).exits(0);
    let ran = ran.prints("plugin example: Handshake.Hello: there is no socket example");
    let ran = ran.prints("what it takes is not checked");
    ran.says("valid, 1 warning");

    // A plugin that is none of the kind refuses the document.
    let vanilla = crate::infrakit::Serving::start(&sandbox, "vanilla", &[]);
    fs::create_dir_all(sandbox.path("plugins")).unwrap();
    fs::rename(&vanilla.socket, sandbox.path("plugins/example")).unwrap();
    let ran = sandbox.with_config(&["validate", "work"]).exits(1);
    ran.prints("Plugin does not support interface Instance/0.6.1");
}

#[test]
fn what_the_shipped_programs_take_is_known_without_asking_them() {
    let ec2 = |settings: &str| {
        provider(settings)
            .replace("plugin: example", "plugin: ec2")
            .replace("name: local", "name: aws")
    };
    let on_ec2 = |properties: &str| group(properties).replace("provider: local", "provider: aws");
    let fine = "{imageId: ami-0123456789abcdef0, instanceType: t3.micro}";
    let sandbox = Sandbox::with_files(&[
        ("providers/aws.yaml", &ec2("{regoin: eu-central-1}")),
        (WEB, &on_ec2("{imageID: ami-0123456789abcdef0}")),
    ]);
    let ran = sandbox.drover(&["validate", "work"]).exits(1);
    let ran = ran.prints("settings.regoin: unknown field");
    let ran = ran.prints("did you mean `region`?");
    let ran = ran.prints("providers/aws.yaml:7:");
    let ran = ran.prints("did you mean `imageId`?");
    ran.prints("groups/web.yaml:8:");

    let named = sandbox.path("work/providers/aws.yaml");
    fs::write(&named, ec2("{region: eu-central-1}")).unwrap();
    for (wrong, says) in [
        (
            "{}",
            "expected `imageId` and `instanceType`, or `launchTemplate`",
        ),
        (
            "{launchTemplate: {id: lt-1, name: a, version: '1'}}",
            "expected exactly one of `id`, or `name`, found `id` and `name`",
        ),
        (
            "{launchTemplate: {id: lt-1, version: $Latest}}",
            "launchTemplate.version: expected digits, as text",
        ),
    ] {
        sandbox.write("work/groups/web.yaml", &on_ec2(wrong));
        sandbox.drover(&["validate", "work"]).exits(1).prints(says);
    }
    sandbox.write("work/groups/web.yaml", &on_ec2(fine));
    let ran = sandbox.drover(&["validate", "work"]).exits(0);
    assert!(!ran.stderr.contains("not checked"), "{}", ran.stderr);
    // Without settings there is no region.
    fs::write(&named, ec2("{}")).unwrap();
    let ran = sandbox.drover(&["validate", "work"]).exits(1);
    ran.prints("settings: `region` is missing");
    sandbox.write("work/providers/local.yaml", &provider("{}"));
    let ran = sandbox.drover(&["validate", "work"]).exits(1);
    ran.says("what the plugins of 1 provider (local) take");
}

#[test]
fn the_agent_refuses_what_a_plugin_does_not_take_and_keeps_what_it_had() {
    let sandbox = sandbox("{pageSize: 5}", SLEEP);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    sandbox.push(
        "wrong",
        &[(WEB, &group("{command: [sleep, '1'], nots: x}"))],
    );
    let web = sandbox.wait_for("web", "the refusal", |web| holds(web) == ["SpecInvalid"]);
    let said = web["holds"][0]["message"].as_str().unwrap();
    assert!(said.contains("unknown field `nots`"), "{said}");
    assert!(said.contains("groups/web.yaml:8:"), "{said}");
    assert_eq!(instances(&web), ["web-1"]);
    sandbox.push("right", &[(WEB, &group(SLEEP))]);
    sandbox.wait_for("web", "the end of the hold", |web| holds(web).is_empty());
}
