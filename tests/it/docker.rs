//! Groups of containers, at a real engine.

use std::fs;

use serde_json::Value;

use crate::engine::{Engine, IMAGE};
use crate::registry::{Registry, USER, drawn};
use crate::support::{PATIENCE, Sandbox, converged, holds, instances, wait_until};

const WEB: &str = "groups/web.yaml";

/// A group whose instances serve a page at an address of their own.
fn web(size: u32, page: &str, more: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: local
  size: {size}
  template:
    properties:
      image: {IMAGE}
      command: [/bin/sh, -c, \"echo serving $PAGE; exec httpd -f -p 80 -h /tmp\"]
      env: {{PAGE: {page}}}
      ports: [{{port: 8080, container: 80}}]
      stopTimeout: 1s
      ulimits:
        nofile: {{soft: 1024, hard: 1024}}
        nproc: {{soft: 4096, hard: 4096}}
      {more}
    flavors:
      - vanilla: {{init: ['echo \"${{instance.id}} $PAGE\" > /tmp/index.html']}}
  health: {{checks: [{{http: {{port: 8080, path: /}}, interval: 1s}}]}}
  rollout: {{minReady: 100ms, maxSurge: 2}}
  drain: {{delay: 0s}}
"
    )
}

fn sandbox(engine: &Engine, size: u32) -> Sandbox {
    let endpoint = engine.endpoint();
    let provider = format!(
        "apiVersion: drover/v1alpha1
kind: Provider
metadata: {{name: local}}
spec: {{type: docker, endpoint: '{endpoint}'}}
"
    );
    let files = [
        ("providers/local.yaml", provider.as_str()),
        (WEB, &web(size, "one", "pull: never")),
    ];
    let sandbox = Sandbox::with_files(&files);
    configure(&sandbox, &format!("docker: {{endpoints: ['{endpoint}']}}"));
    sandbox
}

/// Every type is allowed that is by default.
fn configure(sandbox: &Sandbox, more: &str) {
    sandbox.configure(more);
    let path = sandbox.path("agent.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let fleet = fleet(sandbox);
    let text = text.replace("providers: {allow: [process]}", &format!("fleet: {fleet}"));
    fs::write(path, text).unwrap();
}

/// A fleet of the test's own, as engines may be shared.
fn fleet(sandbox: &Sandbox) -> String {
    let folder = sandbox.path("");
    let name = folder.file_name().unwrap().to_str().unwrap();
    let plain = name.chars().filter(char::is_ascii_alphanumeric);
    plain.collect::<String>().to_lowercase()
}

/// The containers of the fleet, but for those that are being ended.
fn containers(sandbox: &Sandbox, engine: &Engine) -> Vec<String> {
    let names = engine.containers(&format!("drover.fleet={}", fleet(sandbox)));
    let made = names.into_iter().filter(|name| !name.contains(".ending."));
    made.collect()
}

fn container_of(sandbox: &Sandbox, engine: &Engine, instance: &str) -> String {
    let names = containers(sandbox, engine).into_iter();
    let mut named = names.filter(|name| name.starts_with(&format!("{instance}.")));
    named
        .next()
        .unwrap_or_else(|| panic!("no container of {instance}"))
}

fn updated(group: &Value, size: u64, first: &str) -> bool {
    converged(group, size) && !instances(group).contains(&first.to_owned())
}

#[test]
fn a_group_of_containers_converges_scales_rolls_heals_and_goes() {
    let engine = Engine::start();
    let sandbox = sandbox(&engine, 3);
    let agent = sandbox.agent();
    let group = sandbox.wait_converged("web", 3);
    assert_eq!(instances(&group), ["web-1", "web-2", "web-3"]);
    assert_eq!(containers(&sandbox, &engine).len(), 3);
    let log = sandbox.with_config(&["logs", "web/web-2"]).exits(0);
    log.prints("serving one\n");

    sandbox.push("four", &[(WEB, &web(4, "one", "pull: never"))]);
    sandbox.wait_converged("web", 4);

    sandbox.push("two", &[(WEB, &web(4, "two", "pull: never"))]);
    let group = sandbox.wait_for("web", "the update", |group| updated(group, 4, "web-4"));
    for instance in instances(&group) {
        let log = sandbox.with_config(&["logs", &format!("web/{instance}")]);
        log.exits(0).prints("serving two\n");
    }

    // Somebody kills a container while no agent runs.
    agent.kill();
    let victim = instances(&group)[0].clone();
    let container = container_of(&sandbox, &engine, &victim);
    engine.post(&format!("/containers/{container}/kill?signal=KILL"));
    let _agent = sandbox.agent();
    sandbox.wait_for("web", "the healing", |group| updated(group, 4, &victim));
    wait_until("four containers", PATIENCE, || {
        containers(&sandbox, &engine).len() == 4
    });
    let log = sandbox.with_config(&["log", "web"]).exits(0);
    // As one that was bad, or, to an agent that was killed before it had noted that it was ready, as a launch that
    // failed.
    log.prints(&format!("- destroy {victim} ("));

    sandbox.push("fewer", &[(WEB, &web(1, "two", "pull: never"))]);
    sandbox.wait_converged("web", 1);
    sandbox.git("work", &["rm", "--quiet", WEB]);
    sandbox.push("none", &[]);
    wait_until("the containers to be gone", PATIENCE, || {
        engine
            .containers(&format!("drover.fleet={}", fleet(&sandbox)))
            .is_empty()
    });
}

#[test]
fn what_a_repository_may_not_have_of_the_machine_is_held_and_told() {
    let engine = Engine::start();
    let sandbox = sandbox(&engine, 1);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    let mount = "mounts: [{target: /m, path: /etc}]";
    sandbox.push("mount", &[(WEB, &web(1, "two", mount))]);
    let refused = sandbox.wait_for("web", "the refusal", |group| {
        group.to_string().contains("not among `docker.mounts`")
    });
    assert!(
        holds(&refused).contains(&"RolloutPaused".to_owned()),
        "{refused:#}"
    );
    assert_eq!(instances(&refused), ["web-1"], "the old one stays");

    // Nor does a document choose another engine: neither for what runs already, nor for what is new.
    let endpoint = "{type: docker, endpoint: 'unix:///var/run/other.sock'}";
    let elsewhere = |name: &str| {
        format!(
            "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {{name: {name}}}\nspec: {endpoint}\n"
        )
    };
    sandbox.push(
        "elsewhere",
        &[("providers/local.yaml", &elsewhere("local"))],
    );
    sandbox.wait_for("web", "the refusal", |group| {
        holds(group).contains(&"ProviderChanged".to_owned())
    });
    let api = web(1, "one", "pull: never");
    let api = api
        .replace("name: web", "name: api")
        .replace("provider: local", "provider: other");
    let files = [
        ("providers/other.yaml", &*elsewhere("other")),
        ("groups/api.yaml", &*api),
    ];
    sandbox.push("another", &files);
    sandbox.wait_for("api", "the refusal", |group| {
        group.to_string().contains("not among `docker.endpoints`")
    });
    assert_eq!(containers(&sandbox, &engine).len(), 1);
    engine.remove(&format!("drover.fleet={}", fleet(&sandbox)));
}

#[test]
fn an_engine_that_is_gone_for_a_while_costs_nothing() {
    let mut engine = Engine::start();
    let sandbox = sandbox(&engine, 2);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let before = containers(&sandbox, &engine);
    engine.stop();
    let told = "error=\"cannot list containers at unix:///";
    wait_until("the failure to be told", PATIENCE, || {
        sandbox.agent_log().contains(told)
    });
    sandbox.push("three", &[(WEB, &web(3, "one", "pull: never"))]);
    engine.start_again();
    sandbox.wait_converged("web", 3);
    let after = containers(&sandbox, &engine);
    assert!(
        before.iter().all(|name| after.contains(name)),
        "{before:?} {after:?}"
    );
}

#[test]
fn a_private_image_is_pulled_with_the_agents_credentials_which_show_nowhere() {
    let engine = Engine::start();
    let (right, wrong) = (drawn(), drawn());
    let registry = Registry::private(&right);
    let image = engine.publish(registry.address, Some((USER, &right)));
    let sandbox = sandbox(&engine, 1);
    let (endpoint, file) = (engine.endpoint(), sandbox.path("password"));
    let login = format!(
        "{{registry: '{}', username: '{USER}', passwordFile: '{}'}}",
        registry.address,
        file.display()
    );
    let settings = format!("docker: {{endpoints: ['{endpoint}'], registries: [{login}]}}");
    configure(&sandbox, &settings);
    let agent = sandbox.agent();
    // What needs no pull needs no password.
    sandbox.wait_converged("web", 1);
    let log = sandbox.agent_log();
    assert!(
        log.contains("credentials for a registry cannot be read"),
        "{log}"
    );
    fs::write(&file, &wrong).unwrap();
    let private = |page: &str| web(1, page, "pull: missing").replace(IMAGE, &image);
    sandbox.push("private", &[(WEB, &private("two"))]);
    sandbox.wait_for("web", "the wrong password", |group| {
        let told = format!("asked with the credentials of {}", registry.address);
        group.to_string().contains(&told)
    });
    // The agent runs on, and takes the file as it is; another group has nothing to wait for.
    fs::write(&file, &right).unwrap();
    let api = private("three").replace("name: web", "name: api");
    sandbox.push("api", &[("groups/api.yaml", &api)]);
    sandbox.wait_converged("api", 1);
    let container = container_of(&sandbox, &engine, "api-1");
    let inspected = engine.inspect(&container).unwrap().to_string();
    let log = sandbox.with_config(&["log", "web"]).exits(0).stdout;
    let group = sandbox.group("web").unwrap().to_string();
    let settings = fs::read_to_string(sandbox.path("agent.yaml")).unwrap();
    drop(agent);
    let basic = |password: &str| {
        let text = format!("{USER}:{password}");
        data_encoding::BASE64.encode(text.as_bytes())
    };
    let told = [inspected, log, group, settings, sandbox.agent_log()];
    for secret in [&right, &wrong, &basic(&right), &basic(&wrong)] {
        for text in &told {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
        // Journal and ledgers; the status is 1 where nothing is found.
        let mut grep = sandbox.hermetic("grep", ".");
        grep.args(["-rqaF", secret.as_str(), "data"]);
        assert_eq!(grep.status().unwrap().code(), Some(1));
    }
    let state = sandbox.git("fleet.git", &["log", "-p", "drover/state"]);
    assert!(state.contains("web-1"), "{state}");
    assert!(
        !state.contains(&right) && !state.contains(&wrong),
        "{state}"
    );
}

/// The blocks of YAML on the reference page.
fn examples() -> Vec<String> {
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/providers/docker.md"
    );
    let text = fs::read_to_string(page).unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap().to_owned());
    blocks.collect()
}

#[test]
fn the_examples_of_the_reference_page_are_valid() {
    let examples = examples();
    let [documents, agent, policy] = examples.as_slice() else {
        panic!("{} examples", examples.len());
    };
    let binding = "---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: own-registry}
spec: {policy: own-registry, selector: {}, enforcement: deny}
";
    let sandbox = Sandbox::with_files(&[
        ("groups/all.yaml", documents),
        ("policies/all.yaml", &format!("{policy}{binding}")),
    ]);
    sandbox.drover(&["validate", "work"]).exits(0);
    configure(&sandbox, agent);
    // It is read before anything else is asked for.
    let ran = sandbox.with_config(&["plan"]);
    assert!(!ran.stderr.contains("agent.yaml"), "{}", ran.stderr);
    let wrong = documents.replace("pids: 200", "pids: many");
    sandbox.write("work/groups/all.yaml", &wrong);
    let refused = sandbox.drover(&["validate", "work"]).exits(1);
    refused.prints("expected an integer from 1 to 4194304");
}
