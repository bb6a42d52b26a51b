//! The shape of the repository: what may depend on what, and the rules that no compiler checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each crate may depend on, of ours and of the kinds of crate that break its promise.
/// A crate that is not listed may depend on everything.
const ALLOWED: [(&str, &[&str]); 12] = [
    ("drover-model", &[]),
    ("drover-plan", &["drover-model"]),
    ("drover-policy", &["drover-model"]),
    ("drover-spec", &["drover-model"]),
    ("drover-provider", &["drover-model"]),
    ("drover-provider-sim", &["drover-model", "drover-provider"]),
    (
        "drover-provider-process",
        &["drover-model", "drover-provider"],
    ),
    (
        "drover-provider-docker",
        &["drover-model", "drover-provider"],
    ),
    (
        "drover-provider-plugin",
        &["drover-model", "drover-provider"],
    ),
    (
        "drover-provider-ec2",
        &["drover-model", "drover-provider", "drover-provider-plugin"],
    ),
    ("drover-apply", &["drover-model", "drover-provider"]),
    ("drover-git", &[]),
];

/// The crates whose functions are pure: no runtime, no files, no network, no clock.
const PURE: [&str; 3] = ["drover-model", "drover-plan", "drover-policy"];

/// External crates that a pure crate must not use directly.
const IMPURE: [&str; 9] = [
    "tokio", "git2", "reqwest", "redb", "notify", "rustix", "tempfile", "tracing", "axum",
];

/// Longest source file in lines, its tests aside.
const LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_path_buf()
}

fn tracked_files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is needed to list the project's files");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn is_rust(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "rs")
}

/// What Cargo says of the workspace's members.
fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The direct, normal dependencies of each workspace member.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    let normal = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().unwrap();
        dependencies
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .map(name)
            .collect()
    };
    packages
        .iter()
        .map(|package| (name(package), normal(package)))
        .collect()
}

/// What no build that says nothing of packages may compile: one crate of it takes minutes and gigabytes.
const HEAVY: &str = "aws-sdk-ec2";

/// The members whose dependencies are heavy: programs of their own.
const PROGRAMS: [&str; 1] = ["drover-provider-ec2"];

#[test]
fn what_is_built_by_default_is_everything_but_the_heavy_programs() {
    let metadata = metadata();
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let text = |field: &str| package[field].as_str().unwrap();
            (text("id"), text("name"))
        })
        .collect();
    let of = |field: &str| -> BTreeSet<&str> {
        let ids = metadata[field].as_array().unwrap().iter();
        ids.map(|id| names[id.as_str().unwrap()]).collect()
    };
    let mut expected = of("workspace_members");
    for program in PROGRAMS {
        assert!(expected.remove(program), "{program} is no member");
    }
    assert_eq!(of("workspace_default_members"), expected);
    for (member, direct) in dependencies() {
        let is_program = PROGRAMS.contains(&member.as_str());
        assert!(
            is_program || PROGRAMS.iter().all(|program| !direct.contains(*program)),
            "{member} depends on a heavy program"
        );
        assert_eq!(direct.contains(HEAVY), is_program, "{member} and {HEAVY}");
    }
}

#[test]
fn crates_depend_in_one_direction() {
    let dependencies = dependencies();
    for (member, allowed) in ALLOWED {
        let ours = dependencies[member]
            .iter()
            .filter(|name| name.starts_with("drover"));
        let forbidden: Vec<_> = ours
            .filter(|name| !allowed.contains(&name.as_str()))
            .collect();
        assert!(
            forbidden.is_empty(),
            "{member} must not depend on {forbidden:?}"
        );
    }
}

#[test]
fn pure_crates_use_no_runtime_and_no_outside_world() {
    let dependencies = dependencies();
    for member in PURE {
        let forbidden: Vec<_> = dependencies[member]
            .iter()
            .filter(|name| IMPURE.contains(&name.as_str()))
            .collect();
        assert!(
            forbidden.is_empty(),
            "{member} is pure and must not depend on {forbidden:?}"
        );
    }
}

#[test]
fn pure_crates_repeat_the_lint_limits_of_the_root() {
    let root = root();
    let folders = [
        "agent/drover-model",
        "agent/drover-plan",
        "policies/drover-policy",
    ];
    let wanted = std::fs::read_to_string(root.join("clippy.toml")).unwrap();
    for folder in folders {
        let own = std::fs::read_to_string(root.join(folder).join("clippy.toml")).unwrap();
        for line in wanted.lines() {
            assert!(own.contains(line), "{folder}/clippy.toml lacks {line:?}");
        }
        assert!(
            own.contains("std::collections::HashMap"),
            "{folder} does not disallow HashMap"
        );
    }
}

#[test]
fn the_top_level_has_seven_names_beside_the_usual_files() {
    let beside = [
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "Cargo.lock",
        "deny.toml",
        "clippy.toml",
    ];
    let names = [
        "Cargo.toml",
        "agent",
        "policies",
        "specs",
        "providers",
        "tests",
        "docs",
    ];
    let found: BTreeSet<String> = tracked_files()
        .iter()
        .map(|path| path.split('/').next().unwrap().to_owned())
        .filter(|name| !name.starts_with('.') && !beside.contains(&name.as_str()))
        .collect();
    assert_eq!(found, names.map(str::to_owned).into());
}

#[test]
fn unsafe_code_stands_in_one_file() {
    let files = tracked_files();
    let sources = files
        .iter()
        .filter(|path| is_rust(path) && !path.ends_with("tidy.rs"));
    let with_unsafe: Vec<&String> = sources
        .filter(|path| {
            let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
            text.contains("unsafe {") || text.contains("unsafe impl") || text.contains("unsafe fn")
        })
        .collect();
    assert!(with_unsafe.len() <= 1, "{with_unsafe:?}");
    assert!(
        with_unsafe
            .iter()
            .all(|path| path.starts_with("agent/drover-git/src/"))
    );
}

#[test]
fn no_source_file_is_longer_than_one_reader_can_hold() {
    for path in tracked_files().iter().filter(|path| is_rust(path)) {
        let Ok(text) = std::fs::read_to_string(root().join(path)) else {
            continue;
        };
        let lines = text.lines().count();
        assert!(
            lines <= LINES_MAX,
            "{path} has {lines} lines, the most allowed is {LINES_MAX}"
        );
    }
}

/// The sources of the planner, but for their tests: the name of each file, and its text.
fn planner() -> Vec<(String, String)> {
    let folder = "agent/drover-plan/src/plan/";
    let files = tracked_files();
    let ours = files
        .iter()
        .filter(|path| path.starts_with(folder) && is_rust(path) && !path.contains("tests"));
    ours.map(|path| {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        (path[folder.len()..].to_owned(), text)
    })
    .collect()
}

/// Returns the functions of `text` that contain `what`, with what stands in each before it.
fn functions_with<'a>(text: &'a str, what: &str) -> Vec<(&'a str, &'a str)> {
    let places = text.match_indices(what).map(|(at, _)| at);
    places
        .map(|at| {
            let begins = text[..at].rfind("fn ").expect("it stands in a function") + 3;
            let name = text[begins..].split(['(', '<']).next().unwrap();
            (name, &text[begins..at])
        })
        .collect()
}

#[test]
fn every_disruption_asks_the_one_function_that_admits_them() {
    // The one caller of each asks.
    let asked = [("deletion.rs", "remove"), ("keep.rs", "keep_or_end")];
    let questions = [
        "self.refusal(",
        "self.refusal_of_begun(",
        "self.refusal_to_retire(",
        "self.refusal_to_replace(",
    ];
    let mut found = 0;
    for (file, text) in planner() {
        let disrupting = ["self.disrupt(", "self.keep_or_end("];
        let disrupting = disrupting.map(|what| functions_with(&text, what));
        for (name, before) in disrupting.into_iter().flatten() {
            found += 1;
            let asks = questions.iter().any(|question| before.contains(question));
            assert!(
                asks || asked.contains(&(file.as_str(), name)),
                "{name} in {file} takes an instance out of service without asking `refusal`"
            );
        }
    }
    assert!(found >= 8, "only {found} disruptions were found");
}

#[test]
fn steps_that_end_instances_are_built_in_few_places() {
    // What was begun is ended, and what never served is cleared away, without being asked again.
    let built = [
        ("let action = Action::Drain {", vec!["admit.rs"]),
        ("let action = Action::Destroy {", vec!["admit.rs"]),
        ("let action = Action::Release {", vec!["deletion.rs"]),
        ("let action = Action::Update(", vec!["in_place.rs"]),
        ("self.drain(", vec!["admit.rs"]),
        ("self.destroy(", vec!["admit.rs", "follow_up.rs"]),
    ];
    for (what, allowed) in built {
        let files = planner().into_iter();
        let with: BTreeSet<String> = files
            .filter(|(_, text)| text.contains(what))
            .map(|(file, _)| file)
            .collect();
        let allowed: BTreeSet<String> = allowed.into_iter().map(str::to_owned).collect();
        assert_eq!(with, allowed, "{what}");
    }
}

/// Sentences with a number that is more than one where they stand, or that are somebody else's word for word.
const MANY: [(&str, &str); 13] = [
    ("agent/drover-loop/src/deletion.rs", "groups"),
    ("agent/drover-sim/src/fleet/track.rs", "instances"),
    ("agent/drover-sim/src/members.rs", "instances"),
    ("agent/drover-sim/src/walk.rs", "instances"),
    ("agent/drover-sim/src/walk/tally.rs", "instances"),
    ("agent/drover-sim/src/walk/tally.rs", "steps"),
    ("agent/drover/src/commands/replay.rs", "steps"),
    ("agent/drover/src/simulation.rs", "groups"),
    ("agent/drover/src/simulation/text.rs", "instances"),
    ("agent/drover/src/snapshot.rs", "instances"),
    ("policies/drover-policy/src/meter.rs", "steps"),
    (
        "providers/drover-provider/src/conformance/checks/many.rs",
        "instances",
    ),
    ("specs/drover-spec/src/decode/quorum.rs", "members"),
];

/// The sentences of InfraKit's own programs.
const INFRAKIT: &str = "providers/drover-provider-plugin/src/serve/group.rs";

#[test]
fn a_number_and_what_it_counts_agree_where_there_is_one() {
    let nouns = [
        "instances",
        "launches",
        "replacements",
        "members",
        "groups",
        "steps",
        "mistakes",
        "slots",
        "plugins",
    ];
    let is_told = |path: &String| {
        let ours = ["agent/", "providers/", "specs/", "policies/"];
        let ours = ours.iter().any(|start| path.starts_with(start));
        let aside = [
            "/tests/",
            "/tests.rs",
            "/benches/",
            "/examples/",
            "/testing",
            "/demo/",
        ];
        is_rust(path) && ours && path != INFRAKIT && !aside.iter().any(|part| path.contains(part))
    };
    let mut found = Vec::new();
    for path in tracked_files().into_iter().filter(is_told) {
        let text = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
        for noun in nouns {
            let many = MANY.contains(&(path.as_str(), noun));
            // A brace that ends a number in a sentence, and what is counted right behind it.
            if text.contains(&format!("}} {noun}")) && !many {
                found.push(format!("{path}: a number of {noun}"));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new(), "`counted` writes these");
}
