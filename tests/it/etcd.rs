//! A quorum of three real etcd members, as the guide has it: started from Git, updated one after the
//! other, and with a member that dies, while a client writes. What was acknowledged is never lost. Once
//! with the data that follows each member, and once with a list that the agent changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Sandbox, instances, kill};

const GROUP: &str = "groups/etcd.yaml";

/// Longest time without an acknowledged write: an election, and a client that waits for a member that
/// is gone.
const GAP_MAX: Duration = Duration::from_secs(15);

fn example(file: &str) -> String {
    example_of("etcd", file)
}

fn example_of(name: &str, file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../specs/examples");
    std::fs::read_to_string(root.join(name).join(file)).unwrap()
}

/// The example's group, with times for a test.
fn document(snapshot_count: &str) -> String {
    for_a_test(example(GROUP), snapshot_count)
}

/// The same, whose list the agent changes.
fn dynamic(snapshot_count: &str) -> String {
    for_a_test(example_of("etcd-dynamic", GROUP), snapshot_count)
}

fn for_a_test(text: String, snapshot_count: &str) -> String {
    let replaced = [
        ("stabilize: 30s", "stabilize: 2s"),
        ("unhealthyAfter: 30s", "unhealthyAfter: 5s"),
        ("minReady: 10s", "minReady: 1s"),
        ("path: /health}", "path: /health}\n        interval: 500ms"),
        ("\"10000\"", snapshot_count),
    ];
    replaced.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "the example has no {from:?}");
        text.replacen(from, to, 1)
    })
}

/// The members' client addresses, by id.
fn endpoints(group: &Value) -> BTreeMap<String, String> {
    let all = group["instances"].as_array().unwrap();
    let of = |instance: &Value| {
        let member = instance["member"].as_str().unwrap().to_owned();
        let address = instance["address"].as_str().unwrap();
        (member, format!("http://{address}:2379"))
    };
    all.iter().map(of).collect()
}

fn etcdctl(endpoints: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", endpoints, "--command-timeout", "2s"])
        .args(["--dial-timeout", "1s"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("etcdctl is needed for this test");
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a client was told.
#[derive(Debug, Default)]
struct Told {
    acknowledged: BTreeSet<String>,
    /// The longest time between two acknowledged writes.
    gap: Duration,
}

/// Writes one key after the other until it is told to stop.
fn write(endpoints: String, stop: Arc<AtomicBool>) -> JoinHandle<Told> {
    std::thread::spawn(move || {
        let mut told = Told::default();
        let mut last = Instant::now();
        for number in 0.. {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let key = format!("w/{number:06}");
            if etcdctl(&endpoints, &["put", &key, "written"]).is_some() {
                told.acknowledged.insert(key);
                told.gap = told.gap.max(last.elapsed());
                last = Instant::now();
            }
        }
        told.gap = told.gap.max(last.elapsed());
        told
    })
}

fn member_ids(endpoint: &str) -> BTreeSet<String> {
    let listed = etcdctl(endpoint, &["member", "list"]).expect("a member answers");
    listed
        .lines()
        .filter_map(|line| Some(line.split(',').next()?.to_owned()))
        .collect()
}

fn instance_of(group: &Value, member: &str) -> String {
    let all = group["instances"].as_array().unwrap();
    let one = all.iter().find(|one| one["member"] == member);
    one.expect("the member has an instance")["name"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Kills everything that an instance runs.
fn kill_all(sandbox: &Sandbox, victim: &str) {
    let processes = sandbox.processes();
    let of_victim = processes.iter().filter(|(_, id)| id.as_str() == victim);
    let killed: Vec<i32> = of_victim.map(|(pid, _)| *pid).collect();
    assert!(!killed.is_empty());
    for pid in killed {
        kill(pid, Signal::KILL);
    }
}

/// Every member has what was acknowledged, and there was no long time without.
fn assert_kept(told: &Told, addresses: &BTreeMap<String, String>) {
    assert!(told.acknowledged.len() > 20, "{}", told.acknowledged.len());
    assert!(told.gap < GAP_MAX, "nothing was written for {:?}", told.gap);
    for (member, endpoint) in addresses {
        let kept = etcdctl(endpoint, &["get", "w/", "--prefix", "--keys-only"]);
        let kept = kept.unwrap_or_else(|| panic!("{member} does not answer"));
        let kept: BTreeSet<String> = kept.lines().map(str::to_owned).collect();
        let lost: Vec<_> = told.acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "{member} lost {lost:?}");
    }
}

#[test]
fn no_acknowledged_write_is_lost_while_members_are_updated_and_one_dies() {
    let files = [
        ("drover.yaml", example("drover.yaml")),
        ("providers/local.yaml", example("providers/local.yaml")),
        (GROUP, document("\"10000\"")),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    let sandbox = Sandbox::with_files(&files);
    let places = sandbox.path("machines").display().to_string();
    sandbox.configure(&format!("processDir: '{places}'\n"));
    let agent = sandbox.agent();
    let group = sandbox.wait_converged("etcd", 3);
    assert_eq!(instances(&group), ["etcd-1", "etcd-2", "etcd-3"]);
    let addresses = endpoints(&group);
    let all = addresses.values().cloned().collect::<Vec<_>>().join(",");
    let ids = member_ids(&all);
    assert_eq!(ids.len(), 3);

    let stop = Arc::new(AtomicBool::new(false));
    let writer = write(all.clone(), Arc::clone(&stop));

    // Updated once: each member by an instance of its own, one after the other.
    sandbox.push("snapshot more often", &[(GROUP, &document("\"5000\""))]);
    let updated = |group: &Value| {
        let names: BTreeSet<String> = instances(group).into_iter().collect();
        let wanted = ["etcd-4", "etcd-5", "etcd-6"].map(str::to_owned);
        names == BTreeSet::from(wanted) && group["phase"] == "Converged"
    };
    let group = sandbox.wait_for("etcd", "the update", updated);
    assert_eq!(endpoints(&group), addresses, "members keep their addresses");

    // One dies with all its processes, and comes back with what is attached to it.
    let victim = instance_of(&group, "m2");
    kill_all(&sandbox, &victim);
    let group = sandbox.wait_for("etcd", "the member to come back", |group| {
        group["phase"] == "Converged" && instance_of(group, "m2") != victim
    });

    // All that the agent knows is lost, here and in Git, under the live group: it is taken over as it is.
    let before = instances(&group);
    agent.kill();
    std::fs::remove_dir_all(sandbox.path("data")).unwrap();
    // The branch itself, and the agent's own copy of it in the same repository.
    let refs = sandbox.git("fleet.git", &["for-each-ref", "--format=%(refname)"]);
    let lost: Vec<&str> = refs
        .lines()
        .filter(|name| name.contains("drover"))
        .collect();
    assert!(lost.contains(&"refs/heads/drover/state"), "{refs}");
    for name in lost {
        sandbox.git("fleet.git", &["update-ref", "-d", name]);
    }
    // That it is its own, and not another agent's, a person has to say.
    let agent = sandbox.agent();
    sandbox.wait_for("etcd", "the hold", |group| {
        group["holds"].to_string().contains("OwnerUnproven")
    });
    agent.kill();
    let _agent = sandbox.agent_with(&["--accept-instances", "etcd"]);
    let group = sandbox.wait_converged("etcd", 3);
    assert_eq!(instances(&group), before, "nothing was started");
    assert_eq!(endpoints(&group), addresses);

    stop.store(true, Ordering::SeqCst);
    assert_kept(&writer.join().unwrap(), &addresses);
    assert_eq!(member_ids(&all), ids, "nobody joined and nobody left");
}

/// The members in the list by their names, each with whether it only learns. One that never worked has no
/// name.
fn listed(endpoint: &str) -> BTreeMap<String, bool> {
    let listed = etcdctl(endpoint, &["member", "list"]).expect("a member answers");
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split(", ").collect();
        (fields[2].to_owned(), fields[5] == "true")
    };
    listed.lines().map(entry).collect()
}

/// Waits for three members that vote and have nobody beside them.
fn all_vote(endpoint: &str) -> BTreeSet<String> {
    let voters = ["m1", "m2", "m3"].map(|name| (name.to_owned(), false));
    assert_eq!(listed(endpoint), BTreeMap::from(voters));
    member_ids(endpoint)
}

/// A member's entry in etcd's list is part of its instance: it leaves first, and the next one joins without
/// data. Nothing else of the member stays but its id and its address.
#[test]
fn no_acknowledged_write_is_lost_while_members_leave_and_join() {
    let files = [
        ("drover.yaml", example_of("etcd-dynamic", "drover.yaml")),
        (
            "providers/local.yaml",
            example_of("etcd-dynamic", "providers/local.yaml"),
        ),
        (GROUP, dynamic("\"10000\"")),
    ];
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    let sandbox = Sandbox::with_files(&files);
    let places = sandbox.path("machines").display().to_string();
    sandbox.configure(&format!("processDir: '{places}'\n"));
    let _agent = sandbox.agent();
    let group = sandbox.wait_converged("etcd", 3);
    let addresses = endpoints(&group);
    let all = addresses.values().cloned().collect::<Vec<_>>().join(",");
    let first = all_vote(&all);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write(all.clone(), Arc::clone(&stop));

    // Each member leaves, is made anew with no data, and joins: the leader last, who hands that over.
    sandbox.push("snapshot more often", &[(GROUP, &dynamic("\"5000\""))]);
    let updated = |group: &Value| {
        let names: BTreeSet<String> = instances(group).into_iter().collect();
        let wanted = ["etcd-4", "etcd-5", "etcd-6"].map(str::to_owned);
        names == BTreeSet::from(wanted) && group["phase"] == "Converged"
    };
    for name in ["etcd-4", "etcd-5"] {
        // Each may take as long as an update of all of them does where the data stays.
        sandbox.wait_for("etcd", name, |group| {
            instances(group).contains(&name.to_owned())
        });
    }
    let group = sandbox.wait_for("etcd", "the update", updated);
    assert_eq!(endpoints(&group), addresses, "members keep their addresses");
    let second = all_vote(&all);
    assert!(first.is_disjoint(&second), "{first:?} {second:?}");
    let log = sandbox.git("fleet.git", &["log", "--format=%b", "drover/state"]);
    for step in ["removeMember m3", "addMember m3", "promoteMember m3"] {
        assert!(log.contains(step), "{log}");
    }

    // One dies with all its processes.
    let victim = instance_of(&group, "m2");
    kill_all(&sandbox, &victim);
    sandbox.wait_for("etcd", "the member to come back", |group| {
        group["phase"] == "Converged" && instance_of(group, "m2") != victim
    });
    all_vote(&all);

    // Somebody adds a member that never comes.
    let ghost = [
        "member",
        "add",
        "ghost",
        "--learner",
        "--peer-urls=http://127.0.0.1:1",
    ];
    crate::support::wait_until("the ghost to be added", Duration::from_secs(20), || {
        etcdctl(&all, &ghost).is_some()
    });
    crate::support::wait_until("the ghost to be removed", Duration::from_mins(1), || {
        listed(&all).len() == 3
    });
    sandbox.wait_converged("etcd", 3);
    all_vote(&all);

    stop.store(true, Ordering::SeqCst);
    assert_kept(&writer.join().unwrap(), &addresses);
}

#[test]
fn the_guide_shows_the_examples_word_for_word() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/quorum.md");
    let guide = std::fs::read_to_string(root).unwrap();
    let shown = example(GROUP);
    let (_, document) = shown.split_once("apiVersion").unwrap();
    assert!(guide.contains(document.trim_end()));
    let shown = example_of("etcd-dynamic", GROUP);
    let (_, differs) = shown.split_once("  members:").unwrap();
    let (differs, _) = differs.split_once("  template:").unwrap();
    assert!(guide.contains(differs.trim_end()));
}
