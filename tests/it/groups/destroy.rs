//! Instances that InfraKit ends by their handles: exactly those, through signed operations and a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{file, head};
use crate::infrakit::Serving;
use crate::support::{
    IDLE, PATIENCE, PROVIDER, Sandbox, converged, group, holds, instances, wait_until,
};

const WEB: &str = "groups/web.yaml";

/// A sandbox whose agent listens to the key `ada`, which is made.
fn sandbox(files: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::with_files(&[&[PROVIDER], files].concat());
    for name in ["ada", "mallory"] {
        sandbox.make_key(name);
    }
    sandbox.listen_to(&["ada"]);
    sandbox
}

fn serve(sandbox: &Sandbox, more: &[&str]) -> Serving {
    let config = sandbox.path("agent.yaml").display().to_string();
    let data = sandbox.path("data").display().to_string();
    let arguments = [&["--config", &config][..], more].concat();
    Serving::start_in(sandbox, "group", &data, &arguments)
}

fn serve_with_key(sandbox: &Sandbox, name: &str) -> Serving {
    let key = sandbox.path(name).display().to_string();
    serve(sandbox, &["--key", &key, "--expires", "2h"])
}

/// The handle of each instance of a group, by its name.
pub(super) fn handles(serving: &Serving, group: &str) -> BTreeMap<String, String> {
    let described = serving.call("Group.DescribeGroup", &json!({"ID": group}));
    let list = described["Description"]["Instances"].as_array().unwrap();
    let pair = |one: &Value| {
        let name = one["Tags"]["drover.instance"].as_str().unwrap().to_owned();
        (name, one["ID"].as_str().unwrap().to_owned())
    };
    list.iter().map(pair).collect()
}

pub(super) fn about(group: &str, known: &BTreeMap<String, String>, names: &[&str]) -> Value {
    let named: Vec<&String> = names.iter().map(|name| &known[*name]).collect();
    json!({"ID": group, "Instances": named})
}

/// Ends a watch, also by a test that fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does something, and returns how many instances ran at most meanwhile, and which.
fn while_watched<T>(sandbox: &Sandbox, work: impl FnOnce() -> T) -> (T, (usize, BTreeSet<String>)) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watched = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                let now: BTreeSet<String> = sandbox.processes().into_values().collect();
                most = most.max(now.len());
                seen.extend(now);
            }
            (most, seen)
        });
        let done = {
            let _over = Over(&over);
            work()
        };
        (done, watched.join().unwrap())
    })
}

/// What is asked of instances and still counts, as `drover why` has it.
fn open_orders(sandbox: &Sandbox, name: &str) -> String {
    let why = sandbox.with_config(&["why", name]).exits(0).stdout;
    let lines = why.lines().filter(|line| line.contains(": yield by "));
    lines
        .filter(|line| !line.contains("superseded") && !line.contains("done"))
        .collect()
}

#[test]
fn exactly_those_that_are_named_are_ended_and_nothing_is_made_in_their_place() {
    let web = group("web", 5, IDLE, "");
    let sandbox = sandbox(&[(WEB, &web)]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 5);
    let serving = serve_with_key(&sandbox, "ada");
    let before = sandbox.processes();
    let known = handles(&serving, "web");
    let two = about("web", &known, &["web-4", "web-2"]);
    let (answer, watched) = while_watched(&sandbox, || {
        let answer = serving.raw("Group.DestroyInstances", &two);
        wait_until("two to be gone", PATIENCE, || {
            let web = sandbox.group("web").unwrap();
            converged(&web, 3)
        });
        answer
    });
    assert_eq!(
        answer.trim_end(),
        r#"{"jsonrpc":"2.0","result":{"Name":"","ID":"web"},"id":7}"#
    );
    let all: BTreeSet<String> = known.keys().cloned().collect();
    assert_eq!(watched, (5, all), "nothing was made");
    let web = sandbox.group("web").unwrap();
    assert_eq!(instances(&web), ["web-1", "web-3", "web-5"]);
    let left = sandbox.processes();
    let stay = |id: &String| id != "web-2" && id != "web-4";
    let mut before = before;
    before.retain(|_, id| stay(id));
    assert_eq!(left, before, "the others are the same processes");
    let mut same = known.clone();
    same.retain(|id, _| stay(id));
    assert_eq!(handles(&serving, "web"), same);
    let size = serving.call("Group.Size", &json!({"ID": "web"}));
    assert_eq!(size["Size"], 3);
    assert_eq!(head(&sandbox), "Ada: web: scale to 3\n");
    assert!(file(&sandbox, WEB).contains("size: 3   # how many"));
    let subject = ["log", "-1", "--format=%an: %s", "drover/ops"];
    assert_eq!(
        sandbox.git("fleet.git", &subject),
        "Ada: web: yield web-2, yield web-4\n"
    );
    let log = sandbox.with_config(&["log", "web"]).exits(0).stdout;
    assert!(
        log.contains("yield web-2 by ada@example.com: InfraKit's DestroyInstances asked for it"),
        "{log}"
    );
    // Nothing is asked for by nobody.
    let nobody = json!({"ID": "web", "Instances": []});
    serving.call("Group.DestroyInstances", &nobody);
    assert_eq!(head(&sandbox), "Ada: web: scale to 3\n");
    // A repeated call ends nobody else.
    let again = serving.refused(
        "Group.DestroyInstances",
        &about("web", &known, &["web-4", "web-2"]),
    );
    assert!(again.contains("group web has no instance"), "{again}");
    assert_eq!(agent.stop(), Some(0));
    sandbox.with_config(&["audit", "verify"]).exits(0);
}

#[test]
fn every_one_of_a_group_can_be_ended() {
    let web = group("web", 2, IDLE, "");
    let sandbox = sandbox(&[(WEB, &web)]);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let serving = serve_with_key(&sandbox, "ada");
    let known = handles(&serving, "web");
    let both = about("web", &known, &["web-1", "web-2"]);
    serving.call("Group.DestroyInstances", &both);
    sandbox.wait_for("web", "nobody", |web| {
        converged(web, 0) && instances(web).is_empty()
    });
    assert!(file(&sandbox, WEB).contains("size: 0   # how many"));
    assert!(sandbox.processes().is_empty());
}

#[test]
fn a_commit_that_is_refused_leaves_everybody_and_says_what_is_left_to_take_back() {
    let web = group("web", 4, IDLE, "");
    let sandbox = sandbox(&[(WEB, &web)]);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 4);
    let serving = serve_with_key(&sandbox, "ada");
    let before = sandbox.processes();
    let known = handles(&serving, "web");
    // Somebody works on the branch in a work tree of the repository itself.
    let tree = sandbox.path("tree").display().to_string();
    sandbox.git("fleet.git", &["worktree", "add", "--quiet", &tree, "main"]);
    sandbox.write("tree/groups/web.yaml", "# unfinished\n");
    let one = about("web", &known, &["web-2"]);
    let refused = serving.refused("Group.DestroyInstances", &one);
    assert!(
        refused.starts_with("nobody is ended as far as is known, but should the group get smaller"),
        "{refused}"
    );
    assert!(
        refused.contains("`drover keep web-2 --release` takes it back"),
        "{refused}"
    );
    assert!(refused.contains("is checked out in"), "{refused}");
    sandbox.wait_converged("web", 4);
    assert_eq!(sandbox.processes(), before);
    assert!(open_orders(&sandbox, "web/web-2").contains("ada@example.com"));
    // Others would not be the only ones to go.
    let other = about("web", &known, &["web-3"]);
    let other = serving.refused("Group.DestroyInstances", &other);
    assert!(
        other.contains("has web-2 go first when it gets smaller, which ada@example.com asked for"),
        "{other}"
    );
    sandbox.git("fleet.git", &["worktree", "remove", "--force", &tree]);
    let file = sandbox.path("ada").display().to_string();
    let release = [
        "keep",
        "web-2",
        "--release",
        "--because",
        "x",
        "--key",
        &file,
    ];
    sandbox.with_config(&release).exits(0);
    wait_until("web-2 to be released", PATIENCE, || {
        open_orders(&sandbox, "web/web-2").is_empty()
    });
    let other = about("web", &known, &["web-3"]);
    serving.call("Group.DestroyInstances", &other);
    sandbox.wait_for("web", "all but web-3", |web| {
        converged(web, 3) && instances(web) == ["web-1", "web-2", "web-4"]
    });
}

#[test]
fn a_key_is_needed_that_the_agent_listens_to() {
    let web = group("web", 2, IDLE, "");
    let sandbox = sandbox(&[(WEB, &web)]);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let first = head(&sandbox);
    let serving = serve(&sandbox, &[]);
    let one = about("web", &handles(&serving, "web"), &["web-1"]);
    let keyless = serving.refused("Group.DestroyInstances", &one);
    assert!(keyless.contains("needs --key"), "{keyless}");
    assert_eq!(
        sandbox.git("fleet.git", &["branch", "--list", "drover/ops"]),
        ""
    );
    drop(serving);
    let serving = serve_with_key(&sandbox, "mallory");
    let stranger = serving.refused("Group.DestroyInstances", &one);
    assert!(
        stranger.contains("the agent does not listen to whom the key belongs to: "),
        "{stranger}"
    );
    assert_eq!(head(&sandbox), first);
    sandbox.wait_converged("web", 2);
    for (arguments, says) in [
        (&["--expires", "900h"][..], "--expires is longer than 720h"),
        (&["--key", "/nowhere"], "cannot sign"),
    ] {
        let serve = ["plugin", "serve", "group", "--socket", "x.sock"];
        let ran = sandbox.with_config(&[&serve[..], arguments].concat());
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
    let other = ["plugin", "serve", "process", "--expires", "2h"];
    sandbox
        .drover(&other)
        .exits(64)
        .says("--expires is for group");
}

const SIZED: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: two}
spec: {on: size, value: '2'}
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: two}
spec: {policy: two, selector: {matchLabels: {sized: 'yes'}}, enforcement: deny}
";

/// A group of each kind that does not let its instances go, and the document of the first.
fn reluctant() -> (Sandbox, String) {
    let protect = "  protect: [{instances: [web-1], from: [scaleIn], because: a long job}]\n  limits: {maxDestroy: 1}\n  bounds: {min: 2, max: 9}\n";
    let web = group("web", 3, IDLE, protect);
    let bounded = "  bounds: {min: 1, max: 9}\n";
    let sized = group("sized", 2, IDLE, bounded).replace("env: test", "sized: 'yes'");
    let free = group("free", 1, IDLE, "");
    let db = group("db", 1, IDLE, "");
    let db = db.replace("size: 1   # how many", "members: [{id: a}]");
    let db = db.replace("maxSurge: 2, ", "");
    let files = [
        (WEB, web.as_str()),
        ("groups/sized.yaml", &sized),
        ("groups/free.yaml", &free),
        ("groups/db.yaml", &db),
        ("policies/two.yaml", SIZED),
    ];
    (sandbox(&files), web)
}

#[test]
fn what_stands_against_the_end_of_instances_is_told_before_anything_is_written() {
    let (sandbox, web) = reluctant();
    let _agent = sandbox.agent();
    for (name, size) in [("web", 3), ("free", 1)] {
        sandbox.wait_converged(name, size);
    }
    let serving = serve_with_key(&sandbox, "ada");
    for group in ["db", "sized"] {
        wait_until("handles", PATIENCE, || !handles(&serving, group).is_empty());
    }
    let freed = about("free", &handles(&serving, "free"), &["free-1"]);
    serving.call("Group.FreeGroup", &json!({"ID": "free"}));
    let first = head(&sandbox);
    let refused = |params: &Value, says: &str| {
        let why = serving.refused("Group.DestroyInstances", params);
        assert!(why.contains(says), "{why}");
    };
    let known = handles(&serving, "web");
    let all = |group: &str| {
        let handles: Vec<String> = handles(&serving, group).into_values().take(1).collect();
        json!({"ID": group, "Instances": handles})
    };
    refused(
        &json!({"ID": "web", "Instances": [known["web-2"], "nobody"]}),
        "group web has no instance nobody",
    );
    refused(&about("web", &known, &["web-2", "web-2"]), "is named twice");
    refused(&all("db"), "group db has members, which its document names");
    refused(&freed, "Group 'free' is not being watched");
    refused(
        &all("sized"),
        "group sized has a size that a policy decides",
    );
    refused(
        &about("web", &known, &["web-1"]),
        "the document protects it: a long job",
    );
    refused(
        &about("web", &known, &["web-2", "web-3"]),
        "may lose 1 instance by one change, and 2 are named",
    );
    let key = sandbox.path("ada").display().to_string();
    let say = |words: &[&str]| {
        let why = ["--because", "looking at it", "--key", &key];
        sandbox.with_config(&[words, &why].concat()).exits(0);
    };
    say(&["keep", "web/web-2", "--for", "2h"]);
    sandbox.wait_for("web", "web-2 to be kept", |web| {
        holds(web).contains(&"KeptInstance".to_owned())
    });
    refused(
        &about("web", &known, &["web-2"]),
        "ada@example.com keeps it until ",
    );
    sandbox.pull();
    let bounded = web.replace("min: 2", "min: 3");
    sandbox.push("bounds", &[(WEB, &bounded)]);
    let second = head(&sandbox);
    wait_until("the bounds to be read", PATIENCE, || {
        sandbox.with_config(&["reconcile"]).code == Some(0)
    });
    refused(&about("web", &known, &["web-3"]), "cannot change group web");
    assert_ne!(first, second);
    assert_eq!(head(&sandbox), second);
    let said = sandbox.git("fleet.git", &["log", "--format=%s", "drover/ops"]);
    assert_eq!(said, "web: keep web-2\n", "nothing was asked");
}
