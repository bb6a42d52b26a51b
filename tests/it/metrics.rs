//! Metrics from files and programs, through the real binary, and what people see of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::serve::{free_address, get};
use crate::support::{IDLE, PATIENCE, PROVIDER, Sandbox, group, holds, wait_until};

const DOCUMENTS: &str = "apiVersion: drover/v1alpha1
kind: MetricSource
metadata: {name: work}
spec: {source: work, metrics: [{name: work.waiting, query: waiting, maxAge: 1h}]}
---
apiVersion: drover/v1alpha1
kind: MetricSource
metadata: {name: limits}
spec: {source: limits, metrics: [{name: work.limit, query: limit}]}
---
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: by-work}
spec:
  on: size
  value: int(math.least(metric('work.waiting').value, metric('work.limit').value))
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: by-work}
spec: {policy: by-work, selector: {}, enforcement: deny}
";

const SCALING: &str = "  bounds: {min: 1, max: 4}
  scaling: {stabilization: {down: 0s}, rate: {up: 8/1s, down: 8/1s}}
";

fn say(sandbox: &Sandbox, waiting: &str) {
    let text = format!("{{\"metrics\": {{\"waiting\": {{\"value\": {waiting}}}}}}}");
    // As the reference says: written beside, and renamed.
    sandbox.write("work.new", &text);
    fs::rename(sandbox.path("work.new"), sandbox.path("work.json")).unwrap();
}

/// A group that follows both sources, of which the agent calls the second one `limits`.
fn sandbox(limits: &str) -> Sandbox {
    let sandbox = Sandbox::with_files(&[
        PROVIDER,
        ("metrics.yaml", DOCUMENTS),
        ("groups/web.yaml", &group("web", 1, IDLE, SCALING)),
    ]);
    let print = "#!/bin/sh\necho '{\"metrics\": {\"limit\": {\"value\": 3}}}'\n";
    sandbox.write("limits", print);
    fs::set_permissions(sandbox.path("limits"), fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.configure(&format!(
        "metrics:\n  sources:\n    - {{name: work, type: file, path: '{}'}}\n    \
         - {{name: {limits}, type: program, command: ['{}']}}\n",
        sandbox.path("work.json").display(),
        sandbox.path("limits").display()
    ));
    sandbox
}

#[test]
fn a_size_follows_a_file_and_a_program_and_people_see_what_is_known() {
    let sandbox = sandbox("limits");
    say(&sandbox, "2");
    let address = free_address(3);
    let agent = sandbox.agent_with(&["--listen", &address]);
    sandbox.wait_converged("web", 2);
    say(&sandbox, "70");
    sandbox.wait_converged("web", 3);
    say(&sandbox, "\"many\"");
    let held = sandbox.wait_for("web", "the size to be held", |group| {
        holds(group) == ["PolicyFailed"]
    });
    assert!(
        held["holds"]
            .to_string()
            .contains("what it says is not as expected")
    );
    let listed = sandbox
        .with_config(&["get", "metrics", "-o", "json"])
        .exits(0)
        .json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items[0]["name"], "work.limit");
    assert_eq!(
        (&items[0]["ok"], &items[0]["value"]),
        (&true.into(), &3.0.into())
    );
    assert_eq!(
        (&items[1]["ok"], &items[1]["source"]),
        (&false.into(), &"work".into())
    );
    wait_until("the gauges to say it", PATIENCE, || {
        let (_, text) = get(&address, "/metrics").unwrap();
        [
            "drover_metric_ok{metric=\"work.limit\",source=\"limits\"} 1.0",
            "drover_metric_ok{metric=\"work.waiting\",source=\"work\"} 0.0",
            "drover_metric_age_seconds{metric=\"work.limit\",source=\"limits\"} 0",
            "drover_metric_errors_total{metric=\"work.waiting\",source=\"work\"}",
        ]
        .iter()
        .all(|line| text.contains(line))
    });
    agent.stop();
    let ran = sandbox.with_config(&["get", "metrics"]).exits(1);
    ran.says("only a running agent knows of metrics");
}

#[test]
fn a_source_that_the_agent_does_not_have_is_no_number() {
    let sandbox = sandbox("others");
    say(&sandbox, "2");
    let _agent = sandbox.agent();
    let group = sandbox.wait_for("web", "the size to be held", |group| {
        holds(group) == ["PolicyFailed"] && group["available"] == 1
    });
    assert_eq!(group["size"], 1);
    let metrics = sandbox.with_config(&["get", "metrics"]).exits(0);
    metrics.prints("the agent has no metric source `limits`");
    let log = sandbox.agent_log();
    assert!(log.contains("metric not ok"), "{log}");
}

#[test]
fn names_that_nobody_defines_are_found_before_they_are_merged() {
    let sandbox = Sandbox::new();
    let typo = DOCUMENTS.replace("metric('work.limit')", "metric('work.limits')");
    sandbox.write("fleet/metrics.yaml", &typo);
    let ran = sandbox.drover(&["validate", "fleet"]).exits(1);
    ran.prints("there is no metric `work.limits`")
        .prints("metrics.yaml:16:62")
        .prints("did you mean `work.limit`?");
    sandbox.write("fleet/metrics.yaml", DOCUMENTS);
    // Without groups the binding selects none, which is no mistake.
    let ran = sandbox.drover(&["validate", "fleet"]).exits(0);
    ran.says("4 documents in 1 file")
        .says("2 metric sources (of the agent's limits, work)");
}
