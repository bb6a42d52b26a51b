//! `drover validate`, `policy test` and `init`.

use std::fs;
use std::path::Path;

use crate::support::{IDLE, PROVIDER, Sandbox, group};

fn fixture(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    root.join("tests/fixtures").join(name).display().to_string()
}

#[test]
fn every_mistake_of_every_file_is_found_in_one_run() {
    let sandbox = Sandbox::new();
    let ran = sandbox.drover(&["validate", &fixture("invalid")]).exits(1);
    insta::assert_snapshot!("validate-invalid", ran.stdout);
    assert!(ran.stderr.starts_with("invalid, "), "{}", ran.stderr);
}

#[test]
fn what_only_a_provider_would_have_refused_is_found_with_its_place_and_a_suggestion() {
    let sandbox = Sandbox::new();
    let ran = sandbox.drover(&["validate", &fixture("properties")]);
    insta::assert_snapshot!("validate-properties", ran.exits(1).stdout);
}

#[test]
fn mistakes_are_listed_for_programs_and_editors() {
    let sandbox = Sandbox::new();
    let invalid = fixture("invalid");
    let json = sandbox
        .drover(&["validate", &invalid, "-o", "json"])
        .exits(1)
        .json();
    let items = json["items"].as_array().unwrap();
    assert!(items.len() > 5, "{json:#}");
    assert!(
        items.iter().all(|item| item["line"].as_u64() >= Some(1)),
        "{json:#}"
    );
    let lines = sandbox
        .drover(&["validate", &invalid, "-o", "name"])
        .exits(1)
        .stdout;
    assert_eq!(lines.lines().count(), items.len());
    let table = sandbox
        .drover(&["validate", &invalid, "-o", "markdown"])
        .exits(1)
        .stdout;
    assert!(
        table.starts_with("| PLACE | SEVERITY | MISTAKE |"),
        "{table}"
    );
}

#[test]
fn a_scaffolded_repository_is_valid_and_its_policies_pass_their_tests() {
    let sandbox = Sandbox::new();
    let ran = sandbox.drover(&["init", "fleet"]).exits(0);
    assert!(ran.stdout.contains("drover validate"), "{}", ran.stdout);
    sandbox
        .drover(&["validate", "fleet"])
        .exits(0)
        .says("valid: 4 documents in 3 files");
    sandbox
        .drover(&["validate", "fleet", "--ref", "main"])
        .exits(0)
        .says("valid: 4 documents");
    sandbox
        .drover(&["policy", "test", "fleet"])
        .exits(0)
        .says("2 passed, 0 failed");
    let author = sandbox.git("fleet", &["log", "-1", "--format=%an <%ae>"]);
    assert_eq!(author, "Ada <ada@example.com>\n");
    assert_eq!(sandbox.git("fleet", &["status", "--porcelain"]), "");
}

#[test]
fn init_overwrites_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("fleet/README.md", "mine");
    sandbox
        .drover(&["init", "fleet"])
        .exits(1)
        .says("already has README.md");
    assert_eq!(
        fs::read_to_string(sandbox.path("fleet/README.md")).unwrap(),
        "mine"
    );
    assert!(!sandbox.path("fleet/groups").exists());

    // A repository that is there already is left for its owner to commit to.
    sandbox.git(".", &["init", "--quiet", "own"]);
    sandbox
        .drover(&["init", "own"])
        .exits(0)
        .prints("commit the files yourself");
    let status = sandbox.git("own", &["status", "--porcelain"]);
    assert!(status.contains("?? groups/"), "{status}");

    // Its branch is followed, whatever its name.
    sandbox.git(
        ".",
        &["init", "--quiet", "--initial-branch", "trunk", "other"],
    );
    sandbox.drover(&["init", "other"]).exits(0);
    let agent = fs::read_to_string(sandbox.path("other/.drover/agent.yaml")).unwrap();
    assert!(agent.contains("branch: 'trunk'"), "{agent}");

    // Two agents on one machine do not take each other's instances for their own.
    let fleet_of = |folder: &str| {
        let text = fs::read_to_string(sandbox.path(folder).join(".drover/agent.yaml")).unwrap();
        let line = text.lines().find(|line| line.starts_with("fleet: local-"));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    assert_ne!(fleet_of("own"), fleet_of("other"));
    assert_eq!(fleet_of("own").len(), "fleet: local-".len() + 6);
}

#[test]
fn a_document_that_is_there_twice_is_told_of_either_file() {
    let web = group("web", 1, IDLE, "");
    let sandbox = Sandbox::with_files(&[
        PROVIDER,
        ("groups/a.yaml", &web),
        ("groups/b.yaml", &web),
        ("groups/c.yaml", &group("db", 1, IDLE, "")),
    ]);
    let ran = sandbox.drover(&["validate", "work", "-o", "name"]).exits(1);
    let told: Vec<&str> = ran.stdout.lines().collect();
    let [told] = told[..] else {
        panic!("each pair once: {told:?}");
    };
    assert!(told.starts_with("groups/b.yaml:"), "{told}");
    assert!(told.contains("also at groups/a.yaml:"), "{told}");
    for (file, status) in [("a", 1), ("b", 1), ("c", 0)] {
        let path = format!("work/groups/{file}.yaml");
        sandbox.drover(&["validate", &path]).exits(status);
    }
}

#[test]
fn a_file_is_checked_with_what_it_refers_to() {
    let web = group("web", 1, IDLE, "");
    let other = group("db", 1, IDLE, "").replace("size:", "sise:");
    let sandbox = Sandbox::with_files(&[
        PROVIDER,
        ("groups/web.yaml", &web),
        ("groups/db.yaml", &other),
    ]);
    sandbox
        .drover(&["validate", "work/groups/web.yaml"])
        .exits(0)
        .says("of groups/web.yaml alone")
        .says("valid: ");
    let ran = sandbox.drover(&["validate", "work/groups/db.yaml", "-o", "name"]);
    ran.exits(1).prints("db.yaml:");
    let astray = web.replace("provider: ", "provider: x");
    sandbox.write("work/groups/web.yaml", &astray);
    let ran = sandbox.drover(&["validate", "work/groups/web.yaml", "-o", "name"]);
    let ran = ran
        .exits(1)
        .prints("groups/web.yaml:")
        .prints("there is no Provider");
    assert!(!ran.stdout.contains("db.yaml"), "{}", ran.stdout);
}

#[test]
fn a_check_of_nothing_fails() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.write("near/x.YAML", "kind: Group\n");
    for folder in ["empty", "near"] {
        sandbox
            .drover(&["validate", folder])
            .exits(1)
            .says("there is no document in ")
            .says("files that end with .yaml or .yml");
    }
}

#[test]
fn a_commit_is_checked_and_not_the_files_beside_it() {
    let sandbox = Sandbox::with_files(&[PROVIDER, ("groups/web.yaml", &group("web", 1, IDLE, ""))]);
    sandbox.write("work/groups/web.yaml", "kind: nonsense\n");
    sandbox.drover(&["validate", "work"]).exits(1);
    sandbox
        .drover(&["validate", "work", "--ref", "HEAD"])
        .exits(0);
    sandbox.drover(&["validate", "fleet.git"]).exits(0);
    sandbox
        .drover(&["validate", "work", "--ref", "nowhere"])
        .exits(1)
        .says("cannot find `nowhere`");
    sandbox
        .drover(&["validate", "no-such-folder"])
        .exits(1)
        .says("cannot read no-such-folder");
}

#[test]
fn a_failing_policy_test_fails_both_commands() {
    let sandbox = Sandbox::new();
    sandbox.drover(&["init", "fleet"]).exits(0);
    let path = sandbox.path("fleet/policies/size-limit.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("{spec: {size: 11}}", "{spec: {size: 9}}"),
    )
    .unwrap();
    let ran = sandbox.drover(&["policy", "test", "fleet"]).exits(1);
    ran.says("1 passed, 1 failed")
        .prints("FAILED size-limit/large");
    sandbox
        .drover(&["validate", "fleet"])
        .exits(1)
        .prints("test `large` of policy size-limit failed");
    let json = sandbox
        .drover(&["policy", "test", "fleet", "-o", "json"])
        .exits(1)
        .json();
    assert_eq!(json["items"][1]["passed"], false);
}

#[test]
fn a_repository_without_a_commit_says_so() {
    let sandbox = Sandbox::new();
    sandbox.git(".", &["init", "--quiet", "--bare", "empty.git"]);
    for arguments in [
        &["validate", "empty.git"][..],
        &[
            "plan",
            "--source",
            "empty.git",
            "--base",
            "a",
            "--head",
            "b",
        ],
    ] {
        sandbox
            .drover(arguments)
            .exits(1)
            .says("the repository has no commit");
    }
}
