//! What an agent would refuse is found by `drover validate --config`, each with its place.

use crate::support::Sandbox;

const PROVIDERS: &str = "apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: local}
spec: {type: process}
---
apiVersion: drover/v1alpha1
kind: Provider
metadata: {name: engine}
spec:
  type: docker
  endpoint: unix:///run/elsewhere.sock
";

const WEB: &str = "apiVersion: drover/v1alpha1
kind: Group
metadata: {name: web}
spec:
  provider: engine
  size: 1
  template:
    properties:
      image: docker.io/library/nginx:1
      networks: [inside]
      mounts:
        - {target: /data, path: /srv/data}
      env:
        TOKEN: {valueFrom: {env: WEB_TOKEN}}
    flavors:
      - vanilla: {env: {PASSWORD: {valueFrom: {file: /etc/secrets/password}}}}
      - plugin: {name: extra, properties: {}}
";

const SOPS: &str = "apiVersion: drover/v1alpha1
kind: Group
metadata: {name: sops}
spec:
  provider: local
  size: 1
  template:
    properties: {command: [sleep, infinity]}
    flavors:
      - vanilla: {env: {PASSWORD: {valueFrom: {sops: {file: secrets/web.enc, key: password}}}}}
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("fleet/providers/all.yaml", PROVIDERS);
    sandbox.write("fleet/groups/web.yaml", WEB);
    sandbox.write("fleet/groups/sops.yaml", SOPS);
    sandbox
}

fn configure(sandbox: &Sandbox, more: &str) {
    let text = format!(
        "name: test\nsource: {{url: '{}'}}\ndataDir: '{}'\nlisten: 'off'\n{more}",
        sandbox.path("fleet").display(),
        sandbox.path("data").display()
    );
    sandbox.write("agent.yaml", &text);
}

#[test]
fn everything_that_the_file_does_not_allow_is_told_at_once() {
    let sandbox = sandbox();
    sandbox.drover(&["validate", "fleet"]).exits(0);
    configure(&sandbox, "providers: {allow: [docker]}\n");
    let validate = ["validate", "fleet", "-o", "name"];
    let told = sandbox.with_config(&validate).exits(1).stdout;
    let expected = [
        (
            "providers/all.yaml:4:14",
            "provider type process is not allowed",
        ),
        (
            "providers/all.yaml:11:13",
            "is not among `docker.endpoints`",
        ),
        ("groups/web.yaml:10:18", "is not among `docker.networks`"),
        ("groups/web.yaml:12:33", "is not among `docker.mounts`"),
        ("groups/web.yaml:14:", "secret env:WEB_TOKEN: `secrets.env`"),
        ("groups/web.yaml:16:", "`secrets.files` of the agent's file"),
        ("groups/web.yaml:17:", "flavor plugins are not allowed"),
        ("groups/sops.yaml:10:", "has no `secrets.ageIdentity`"),
    ];
    for (place, what) in expected {
        let mut lines = told.lines();
        let found = lines.any(|line| line.contains(place) && line.contains(what));
        assert!(found, "{place} {what}:\n{told}");
    }
    assert_eq!(told.lines().count(), expected.len(), "{told}");
}

#[test]
fn what_the_file_allows_is_valid() {
    let sandbox = sandbox();
    configure(
        &sandbox,
        "providers: {allow: [docker, process, plugin]}
docker: {endpoints: ['unix:///run/elsewhere.sock'], networks: [inside], mounts: [{path: /srv/data}]}
secrets: {env: [WEB_TOKEN], files: [/etc/secrets], ageIdentity: /nowhere/key}
",
    );
    sandbox.with_config(&["validate", "fleet"]).exits(0);
}
