//! What commits take away, and what asks before it goes: names that change, sizes that fall step by step, labels that go.

use std::collections::BTreeMap;
use std::fs;

use crate::support::{IDLE, PROVIDER, Sandbox, group, holds};

const WEB: &str = "groups/web.yaml";

/// Returns the processes of a group, by process id.
fn of_group(sandbox: &Sandbox, group: &str) -> BTreeMap<i32, String> {
    let mut processes = sandbox.processes();
    processes.retain(|_, id| id.starts_with(&format!("{group}-")));
    processes
}

#[test]
fn another_name_in_place_keeps_every_process_until_it_is_said_what_is_meant() {
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 2, IDLE, ""))]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let before = sandbox.processes();
    sandbox.push("rename", &[(WEB, &group("shop", 2, IDLE, ""))]);
    // What a pull request shows, the agent does.
    sandbox
        .with_config(&["plan", "--base", "main~1", "--head", "main"])
        .exits(0)
        .prints("held: DeletionUnconfirmed: the group's removal is not certain: group shop is new")
        .prints("held: RenameUnconfirmed: the document took the place of group web's");
    sandbox.wait_for("web", "the question", |group| {
        holds(group) == ["DeletionUnconfirmed"]
    });
    sandbox.wait_for("shop", "the hold", |group| {
        holds(group) == ["RenameUnconfirmed"]
    });
    sandbox
        .with_config(&["why", "shop"])
        .exits(0)
        .prints("give it back the name web");
    assert_eq!(sandbox.processes(), before);
    // The old name again: calm, and nothing was made or ended.
    sandbox.push("back", &[(WEB, &group("web", 2, IDLE, ""))]);
    sandbox.wait_for("web", "no question", |group| holds(group).is_empty());
    assert_eq!(sandbox.processes(), before);

    // On purpose: beside each other first, and the old one goes in a commit of its own.
    let shop = ("groups/shop.yaml", &*group("shop", 2, IDLE, ""));
    sandbox.push("both", &[shop]);
    sandbox.wait_converged("shop", 2);
    fs::remove_file(sandbox.path("work").join(WEB)).unwrap();
    sandbox.push("the new one alone", &[]);
    crate::support::wait_until("the removal", crate::support::PATIENCE, || {
        of_group(&sandbox, "web").is_empty()
    });
    assert_eq!(of_group(&sandbox, "shop").len(), 2);
    agent.stop();
}
