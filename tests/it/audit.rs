//! The audit log of a real agent proves itself, and whatever anybody does to the branch is found in the
//! commit in which it stands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{DROVER, IDLE, PROVIDER, Ran, Sandbox, group};

const WEB: &str = "groups/web.yaml";
const STATE: &str = "refs/heads/drover/state";

/// A repository whose agent, which signs, made two instances and then three, and has ended.
fn audited() -> Sandbox {
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 2, IDLE, ""))]);
    for name in ["agent", "mallory"] {
        sandbox.make_key(name);
        let line = sandbox.signer(name);
        sandbox.write(&format!("signers-{name}"), &line);
    }
    sandbox.configure(&format!("key: '{}'\n", sandbox.path("agent").display()));
    let run = ["run", "--until-converged", "--timeout", "60s"];
    sandbox.with_config(&run).exits(0);
    sandbox.push("three", &[(WEB, &group("web", 3, IDLE, ""))]);
    sandbox.with_config(&run).exits(0);
    sandbox
}

/// The commits of the state branch, the oldest first, with their subjects.
fn commits(sandbox: &Sandbox) -> Vec<(String, String)> {
    let format = "--format=%H %s";
    let log = sandbox.git("fleet.git", &["log", "--reverse", format, STATE]);
    let split = |line: &str| {
        let (id, subject) = line.split_once(' ').unwrap();
        (id.to_owned(), subject.to_owned())
    };
    log.lines().map(split).collect()
}

fn commit(sandbox: &Sandbox, subject: &str) -> String {
    let commits = commits(sandbox);
    let found = commits.iter().find(|(_, s)| s.starts_with(subject));
    let (id, _) = found.unwrap_or_else(|| panic!("no {subject:?} in {commits:?}"));
    id.clone()
}

fn write_object(sandbox: &Sandbox, type_: &str, content: &str) -> String {
    sandbox.write("object", content);
    let path = sandbox.path("object").display().to_string();
    let arguments = ["hash-object", "-t", type_, "-w", "--literally", &path];
    sandbox.git("fleet.git", &arguments).trim().to_owned()
}

/// Writes the history from `at` on anew, as somebody may who can push: `edit` gets the commit and gives
/// what stands in its place, or nothing. Returns the id of the commit after what was changed, which is
/// the changed one itself where it stays.
fn rewrite(sandbox: &Sandbox, at: &str, edit: impl Fn(&str) -> Option<String>) -> String {
    let range = format!("{at}..{STATE}");
    let later = sandbox.git("fleet.git", &["rev-list", "--reverse", &range]);
    let raw = |id: &str| sandbox.git("fleet.git", &["cat-file", "commit", id]);
    let text = raw(at);
    let mut parent = text
        .lines()
        .find_map(|line| line.strip_prefix("parent "))
        .unwrap()
        .to_owned();
    let mut first = None;
    if let Some(edited) = edit(&text) {
        parent = write_object(sandbox, "commit", &edited);
        first = Some(parent.clone());
    }
    for id in later.lines() {
        let text = raw(id);
        let old = text.lines().find(|line| line.starts_with("parent "));
        let new = text.replacen(old.unwrap(), &format!("parent {parent}"), 1);
        parent = write_object(sandbox, "commit", &new);
        first.get_or_insert_with(|| parent.clone());
    }
    sandbox.git("fleet.git", &["update-ref", STATE, &parent]);
    first.unwrap()
}

fn verify(sandbox: &Sandbox, more: &[&str]) -> Ran {
    sandbox.with_config(&[&["audit", "verify"], more].concat())
}

/// Returns commit and code of every problem; no commit where it is about the history.
fn problems(ran: &Ran) -> Vec<(Option<String>, String)> {
    let report = ran.json();
    let problems = report["problems"].as_array().unwrap();
    let one = |problem: &Value| {
        let commit = problem["commit"].as_str().map(str::to_owned);
        (commit, problem["problem"].as_str().unwrap().to_owned())
    };
    problems.iter().map(one).collect()
}

#[test]
fn an_untouched_log_is_verified_and_exported() {
    let sandbox = audited();
    let signers = sandbox.path("signers-agent").display().to_string();
    let ran = verify(&sandbox, &["--signers", &signers, "--strict", "-o", "json"]).exits(0);
    let report = ran.json();
    let all = commits(&sandbox).len();
    assert_eq!(report["verified"], true, "{report}");
    assert_eq!(report["commits"], all);
    let recomputed = report["recomputed"].as_u64().unwrap() as usize;
    let recorded = report["recorded"].as_u64().unwrap() as usize;
    assert!(recomputed > 3, "{report}");
    assert_eq!(recomputed + recorded, all, "{report}");
    // The agent remembers what it published.
    assert_eq!(report["anchors"][0]["from"], "dataDir");
    assert_eq!(report["anchors"][0]["found"], true);
    verify(&sandbox, &[])
        .exits(0)
        .prints(&format!("{all} commits of drover/state up to "))
        .prints("signatures not checked (--signers, --gnupg-home); 1 anchor");
    let scale = commit(&sandbox, "web: scale 2 -> 3");
    let since = verify(&sandbox, &["--since", &scale, "-o", "json"]).exits(0);
    assert!(since.json()["commits"].as_u64().unwrap() < all as u64);
    let export = ["audit", "export", "--signers", &signers, "--group", "web"];
    let ran = sandbox.with_config(&export).exits(0);
    let lines: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let line = lines.iter().find(|line| line["commit"] == scale).unwrap();
    let head = sandbox.git("work", &["rev-parse", "HEAD"]);
    assert_eq!(line["group"], "web");
    assert_eq!(line["agent"], "test");
    assert_eq!(line["source"]["commit"], head.trim());
    assert_eq!(line["source"]["author"], "Ada <ada@example.com>");
    assert_eq!(line["verified"], "Recomputed");
    assert_eq!(line["signer"], "agent@example.com");
    assert_eq!(line["steps"][0]["step"], "create");
    assert_eq!(line["steps"][0]["instances"][0], "web-3");
    assert_eq!(line["steps"][0]["result"], "Done");
}

#[test]
fn whatever_is_done_to_the_branch_is_found_where_it_stands() {
    let sandbox = audited();
    let good = sandbox.git("fleet.git", &["rev-parse", STATE]);
    let good = good.trim();
    let scale = commit(&sandbox, "web: scale 2 -> 3");
    // Without what the agent remembers, so that each is found by what it is.
    let anchor = sandbox.path("data/audit-anchor.json");
    let kept = fs::read(&anchor).unwrap();
    fs::remove_file(&anchor).unwrap();
    let check = |what: &str, expected: &[(&str, &str)]| {
        let ran = verify(&sandbox, &["-o", "json"]).exits(1);
        let found = problems(&ran);
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(commit, code)| (commit.as_deref().unwrap_or_default(), code.as_str()))
            .collect();
        assert_eq!(found, expected, "{what}: {}", ran.stdout);
        sandbox.git("fleet.git", &["update-ref", STATE, good]);
    };

    let id = rewrite(&sandbox, &scale, |text| {
        Some(text.replace("web: scale 2 -> 3", "web: scale 2 -> 9"))
    });
    check("a changed subject", &[(&id, "MessageDiffers")]);

    let id = rewrite(&sandbox, &scale, |text| {
        Some(text.replace("Drover-Result: Succeeded", "Drover-Result: Failed"))
    });
    let both = [(id.as_str(), "MessageDiffers"), (&id, "TrailerDiffers")];
    check("a changed trailer", &both);

    let id = rewrite(&sandbox, &scale, |_| None);
    let ran = verify(&sandbox, &[]).exits(1);
    ran.prints("is missing before it");
    check("a commit taken out", &[(&id, "ChainBroken")]);

    // A person edits the recorded state as any other file.
    sandbox.git("work", &["fetch", "--quiet", "origin", "drover/state"]);
    sandbox.git("work", &["checkout", "--quiet", "FETCH_HEAD"]);
    let path = sandbox.path("work/groups/web.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("size: 3", "size: 30")).unwrap();
    sandbox.git("work", &["commit", "--quiet", "--all", "-m", "web: thirty"]);
    let push = ["push", "--quiet", "origin", "HEAD:drover/state"];
    sandbox.git("work", &push);
    let id = sandbox.git("work", &["rev-parse", "HEAD"]);
    check("a person's commit", &[(id.trim(), "Foreign")]);

    sandbox.git("work", &["checkout", "--quiet", "FETCH_HEAD"]);
    let merge = [
        "merge",
        "--quiet",
        "--allow-unrelated-histories",
        "-s",
        "ours",
    ];
    sandbox.git("work", &[&merge[..], &["-m", "join", "main"]].concat());
    sandbox.git("work", &push);
    let id = sandbox.git("work", &["rev-parse", "HEAD"]);
    check("a merge", &[(id.trim(), "Merge")]);

    // The newest commits are taken away: what is left is in order, and only a memory tells.
    sandbox.git("fleet.git", &["update-ref", STATE, &scale]);
    verify(&sandbox, &[])
        .exits(0)
        .prints("no anchor: a history that was rewritten as a whole cannot be told");
    let ran = verify(&sandbox, &["--anchor", good, "-o", "json"]).exits(1);
    assert_eq!(problems(&ran), [(None, "Rewritten".to_owned())]);
    fs::write(&anchor, kept).unwrap();
    check("a branch that was set back", &[("", "Rewritten")]);
    verify(&sandbox, &[]).exits(0);
}

#[test]
fn an_agent_that_finds_its_branch_rewritten_says_so_and_goes_on() {
    let sandbox = audited();
    let before = commit(&sandbox, "web: scale 2 -> 3");
    let good = sandbox.git("fleet.git", &["rev-parse", STATE]);
    sandbox.git("fleet.git", &["update-ref", STATE, &before]);
    sandbox.git(
        "fleet.git",
        &["update-ref", "-d", "refs/drover/published/drover/state"],
    );
    sandbox.push("four", &[(WEB, &group("web", 4, IDLE, ""))]);
    let run = ["run", "--until-converged", "--timeout", "60s"];
    let ran = sandbox.with_config(&run).exits(0);
    ran.says("the state branch was rewritten");
    let ran = verify(&sandbox, &["-o", "json"]).exits(1);
    assert_eq!(problems(&ran), [(None, "Rewritten".to_owned())]);
    assert!(ran.stdout.contains(good.trim()), "{}", ran.stdout);
}

#[test]
fn only_signatures_of_those_who_are_listed_count() {
    let sandbox = audited();
    let signers = |name: &str| {
        sandbox
            .path(&format!("signers-{name}"))
            .display()
            .to_string()
    };
    let (agent, mallory) = (signers("agent"), signers("mallory"));
    let all = commits(&sandbox);
    let ran = verify(&sandbox, &["--signers", &mallory, "-o", "json"]).exits(1);
    let expected: Vec<(Option<String>, String)> = all
        .iter()
        .map(|(id, _)| (Some(id.clone()), "SignatureInvalid".to_owned()))
        .collect();
    assert_eq!(problems(&ran), expected);
    // Somebody without the key repeats the history: the first commit is where it begins.
    let scale = commit(&sandbox, "web: scale 2 -> 3");
    let id = rewrite(&sandbox, &scale, |text| {
        let (head, rest) = text.split_once("gpgsig ").unwrap();
        let (_, rest) = rest.split_once("-----END SSH SIGNATURE-----").unwrap();
        Some(format!("{head}{}", rest.strip_prefix('\n').unwrap()))
    });
    let ran = verify(&sandbox, &["--signers", &agent, "-o", "json"]).exits(1);
    let found = problems(&ran);
    assert_eq!(found[0], (Some(id), "Unsigned".to_owned()), "{found:?}");
    // What stands on it was signed for another parent.
    assert_eq!(found[1].1, "SignatureInvalid", "{found:?}");
    let missing = sandbox.path("nowhere").display().to_string();
    verify(&sandbox, &["--signers", &missing]).exits(1);
}

/// A folder for a GnuPG keyring. The agent of its private keys ends with it.
struct GnuPg(PathBuf);

impl GnuPg {
    fn create(home: PathBuf) -> Self {
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        Self(home)
    }

    /// Runs `gpg`. Returns what it prints.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("gpg")
            .args([
                "--batch",
                "--quiet",
                "--pinentry-mode",
                "loopback",
                "--homedir",
            ])
            .arg(&self.0)
            .args(arguments)
            .output()
            .expect("these tests need `gpg` (package gnupg)");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a key that signs, without a passphrase.
    fn make_key(&self, user: &str) {
        let make = ["--passphrase", "", "--quick-gen-key", user];
        self.run(&[&make[..], &["ed25519", "sign", "1y"]].concat());
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for GnuPg {
    fn drop(&mut self) {
        let kill = ["--kill", "all"];
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(&self.0)
            .args(kill)
            .status();
    }
}

/// An agent's keyring, its key there, and the agent's file that names it.
struct OpenPgpAgent {
    sandbox: Sandbox,
    keyring: GnuPg,
    fingerprint: String,
}

impl OpenPgpAgent {
    fn new() -> Self {
        let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 2, IDLE, ""))]);
        let keyring = GnuPg::create(sandbox.path("gnupg"));
        keyring.make_key("Edge <edge-1@example.com>");
        let listed = keyring.run(&["--with-colons", "--list-keys"]);
        let mut lines = listed.lines();
        let line = lines.find(|line| line.starts_with("fpr:")).unwrap();
        let fingerprint = line.split(':').nth(9).unwrap().to_owned();
        Self {
            sandbox,
            keyring,
            fingerprint,
        }
    }

    fn sign_with(&self, fingerprint: &str, more: &str) {
        let home = self.keyring.path();
        self.sandbox.configure(&format!(
            "openPgp: {{gnupgHome: '{home}', fingerprint: '{fingerprint}'}}\n{more}"
        ));
    }
}

const RUN: [&str; 4] = ["run", "--until-converged", "--timeout", "60s"];

#[test]
fn an_agent_with_an_open_pgp_key_signs_with_it_or_does_not_start() {
    let agent = OpenPgpAgent::new();
    let (sandbox, fingerprint) = (&agent.sandbox, agent.fingerprint.as_str());
    agent.sign_with(&"A".repeat(40), "");
    let refused = sandbox.with_config(&RUN).exits(1);
    refused
        .says("cannot sign state commits")
        .says("No secret key");
    agent.sign_with(fingerprint, "");
    sandbox.with_config(&RUN).exits(0);

    // Whoever has the public key alone can check all of it; another keyring fits nothing.
    let auditor = GnuPg::create(sandbox.path("auditor"));
    let public = sandbox.path("public.asc").display().to_string();
    let export = ["--output", &public, "--export", fingerprint];
    agent.keyring.run(&export);
    auditor.run(&["--import", &public]);
    let check = ["--gnupg-home", &auditor.path(), "--strict", "-o", "json"];
    let ran = verify(sandbox, &check).exits(0);
    assert_eq!(ran.json()["verified"], true);
    let none = GnuPg::create(sandbox.path("none"));
    let ran = verify(sandbox, &["--gnupg-home", &none.path(), "-o", "json"]).exits(1);
    assert_eq!(problems(&ran).len(), commits(sandbox).len());
    let export = ["audit", "export", "--gnupg-home", &auditor.path()];
    let ran = sandbox.with_config(&export).exits(0);
    assert!(ran.stdout.contains(fingerprint), "{}", ran.stdout);
    // Git itself accepts each of them.
    for (id, _) in commits(sandbox) {
        let mut git = sandbox.hermetic("git", "fleet.git");
        let git = git.env("GNUPGHOME", auditor.path());
        let output = git.args(["verify-commit", &id]).output().unwrap();
        assert!(output.status.success(), "{id}: {output:?}");
    }
}

#[test]
fn without_its_data_an_agent_believes_its_open_pgp_key_and_no_other_of_the_keyring() {
    let agent = OpenPgpAgent::new();
    let sandbox = &agent.sandbox;
    agent.sign_with(&agent.fingerprint, "");
    sandbox.with_config(&RUN).exits(0);
    let lose_data = || fs::remove_file(sandbox.path("data/journal.redb")).unwrap();
    lose_data();
    sandbox.with_config(&RUN).exits(0);
    agent.keyring.make_key("Ada <ada@example.com>");
    let home = agent.keyring.path();
    let program = format!("#!/bin/sh\nexec gpg --batch --homedir '{home}' \"$@\"\n");
    sandbox.write("gpg-of-agent", &program);
    let program = sandbox.path("gpg-of-agent");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    sandbox.git("work", &["fetch", "--quiet", "origin", "drover/state"]);
    sandbox.git("work", &["switch", "--quiet", "--detach", "FETCH_HEAD"]);
    let program = format!("gpg.program={}", program.display());
    let sign = ["-c", &program, "commit", "--quiet", "--allow-empty"];
    let sign = [&sign[..], &["-Sada@example.com", "-m", "web: more"]].concat();
    sandbox.git("work", &sign);
    let push = ["push", "--quiet", "origin", "HEAD:drover/state"];
    sandbox.git("work", &push);
    lose_data();
    let refused = sandbox.with_config(&RUN).exits(6);
    refused
        .says("StateUntrusted")
        .says("is signed with OpenPGP")
        .says("which is no signer's key");
    // Unless its file says that all of them count.
    let state = format!("state: {{gnupgHome: '{home}'}}\n");
    agent.sign_with(&agent.fingerprint, &state);
    sandbox.with_config(&RUN).exits(0);
}

#[test]
fn the_guide_works_as_it_is_written() {
    let sandbox = audited();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = fs::read_to_string(root.join("docs/guides/audit.md")).unwrap();
    let typed = guide.lines().filter_map(|line| line.strip_prefix("$ "));
    let typed: Vec<&str> = typed.collect();
    assert!(typed.len() > 6, "{typed:?}");
    fs::rename(
        sandbox.path("signers-agent"),
        sandbox.path("allowed_signers"),
    )
    .unwrap();
    let bin = Path::new(DROVER).parent().unwrap().display().to_string();
    let output = Command::new("sh")
        .args(["-e", "-x", "-c", &typed.join("\n")])
        .env_clear()
        .env("HOME", sandbox.path("home"))
        .env("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin"))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .current_dir(sandbox.path("."))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let exported = fs::read_to_string(sandbox.path("audit.jsonl")).unwrap();
    assert_eq!(exported.lines().count(), commits(&sandbox).len());
}
