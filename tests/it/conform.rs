//! `drover plugin conform` of plugins that are not as they should be, and of those whose neighbours are not.

use std::fs;
use std::process::Stdio;

use crate::plugin::{CONFORM, Plugin, changed_example, sandbox};
use crate::support::{PATIENCE, wait_until};

#[test]
fn a_plugin_that_does_not_list_is_told_once_and_what_it_made_is_named() {
    let sandbox = sandbox(1);
    // The check of the schema lists nothing that was made, and the next one does.
    let twice = "globals().setdefault('asked', []).append(1) or (1 / 0 if len(asked) > 1 else other_list_instances(params))";
    let _plugin = changed_example(&sandbox, "list_instances", twice);
    let run = |more: &[&str]| sandbox.with_config(&[&CONFORM[..], &["1s"], more].concat());
    let ran = run(&[]).exits(1);
    let ran = ran
        .prints("failed   provision: unknown: plugin example: Provider.List: ")
        .prints("skipped  ownership: not tried, as the provider does not list what there is, see above\n")
        .prints("skipped  unknown-fields: not tried, as the provider does not list")
        .prints("passed   offers\n");
    let ends = "2 passed, 1 failed, 34 skipped\n";
    assert!(ran.stdout.ends_with(ends), "{}", ran.stdout);
    ran.says("error: plugin example does not keep the provider contract")
        .says("what is left is not known: plugin example: Provider.List: ")
        .says("left behind, to be looked at and removed by hand:")
        .says(" was made, and its end was accepted; nobody can see it");
    let told = run(&["-o", "json"]).exits(1).json();
    assert_eq!(told["conforms"], false);
    let unknown = told["leftUnknown"].as_str().unwrap();
    assert!(unknown.starts_with("plugin example: Provider.List: "));
}

#[test]
fn a_listing_that_fails_once_keeps_no_other_check() {
    let sandbox = sandbox(1);
    let once = "globals().setdefault('asked', []).append(1) or (1 / 0 if len(asked) == 2 else other_list_instances(params))";
    let _plugin = changed_example(&sandbox, "list_instances", once);
    let ran = sandbox.with_config(&[&CONFORM[..], &["20s"]].concat());
    let ran = ran.exits(1).prints("failed   provision: unknown: ");
    let ran = ran.prints("passed   ownership\n");
    assert!(!ran.stdout.contains("not tried"), "{}", ran.stdout);
    assert!(!ran.stderr.contains("left"), "{}", ran.stderr);
}

#[test]
fn who_interrupts_it_is_told_what_was_asked_for_and_has_no_answer() {
    let sandbox = sandbox(1);
    let called = sandbox.path("called");
    let answer = format!(
        "open({:?}, 'w').close() or time.sleep(3)",
        called.display().to_string()
    );
    let _plugin = changed_example(&sandbox, "provision", &answer);
    let config = sandbox.path("agent.yaml").display().to_string();
    let mut command = sandbox.command(&[&CONFORM[..], &["60s", "--config", &config]].concat());
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the call", PATIENCE, || called.exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = " was asked for, and nobody knows whether it is made: look for it by its tags";
    assert!(said.contains("error: interrupted"), "{said}");
    assert!(said.contains(expected), "{said}");
}

#[test]
fn a_plugin_is_not_blamed_for_its_neighbours() {
    let sandbox = sandbox(1);
    let _plugin = Plugin::start(&sandbox);
    fs::write(sandbox.path("plugins/broken.listen"), "nowhere").unwrap();
    let ran = sandbox.with_config(&[
        "plugin",
        "conform",
        "file",
        "--properties",
        "{\"note\": \"x\"}",
        "--setting",
        "visibility=1s",
        "--check",
        "adopt",
    ]);
    let ran = ran.exits(0);
    assert_eq!(
        ran.stdout,
        "passed   adopt\n1 passed, 0 failed, 0 skipped\n"
    );
}

#[test]
fn a_mistaken_setting_is_told_with_what_was_meant() {
    let sandbox = sandbox(1);
    let _plugin = Plugin::start(&sandbox);
    let wrong = ["plugin", "conform", "file", "--setting", "visbility=10s"];
    let ran = sandbox.with_config(&wrong).exits(64);
    ran.says("--setting visbility: unknown field `visbility`")
        .says("hint: did you mean visibility?");
}
