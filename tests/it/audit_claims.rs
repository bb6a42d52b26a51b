//! What the audit log says of people and of the configuration is compared with what they said and with what it has: by
//! forgers who hold the agent's key and know how the log is made, so that nothing else tells.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;

use serde_json::Value;

use crate::signed::RULE;
use crate::support::{IDLE, PROVIDER, Ran, Sandbox, group};

const WEB: &str = "groups/web.yaml";
const STATE: &str = "refs/heads/drover/state";

/// A repository whose agent, which signs, made an instance, and a second one when tom had approved that.
fn approved() -> Sandbox {
    let web = group("web", 1, IDLE, "");
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &web), ("policies/small.yaml", RULE)]);
    for name in ["agent", "tom", "zoe"] {
        sandbox.make_key(name);
    }
    sandbox.write("signers-agent", &sandbox.signer("agent"));
    sandbox.write_signers(&["tom", "zoe"]);
    sandbox.configure(&format!(
        "key: '{}'\nsigners: '{}'\n",
        sandbox.path("agent").display(),
        sandbox.path("signers").display()
    ));
    let run = ["run", "--until-converged", "--timeout", "60s"];
    sandbox.with_config(&run).exits(0);
    sandbox.push("two", &[(WEB, &group("web", 2, IDLE, ""))]);
    sandbox.with_config(&run).exits(4);
    let key = sandbox.path("tom").display().to_string();
    let approve = ["approve", "web", "--because", "all seen", "--key", &key];
    sandbox.with_config(&approve).exits(0);
    sandbox.with_config(&run).exits(0);
    // What the agent remembers would tell of every forgery.
    fs::remove_file(sandbox.path("data/audit-anchor.json")).unwrap();
    sandbox
}

fn verify(sandbox: &Sandbox, more: &[&str]) -> Ran {
    let signers = sandbox.path("signers-agent").display().to_string();
    let all = ["audit", "verify", "--signers", &signers, "-o", "json"];
    sandbox.with_config(&[&all[..], more].concat())
}

/// Returns the commit and the code of every problem.
fn problems(ran: &Ran) -> Vec<(String, String)> {
    let report = ran.json();
    let problems = report["problems"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |problem: &Value| (text(&problem["commit"]), text(&problem["problem"]));
    problems.iter().map(one).collect()
}

fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in ring::digest::digest(&ring::digest::SHA256, bytes).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Somebody who writes the whole state branch anew, with the agent's key.
struct Forger<'a> {
    sandbox: &'a Sandbox,
    /// Digests of what was there, and of what stands in its place.
    digests: BTreeMap<String, String>,
    /// The digest of the entry that was made last.
    last: Option<String>,
    parent: Option<String>,
}

impl<'a> Forger<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        Self {
            sandbox,
            digests: BTreeMap::new(),
            last: None,
            parent: None,
        }
    }

    fn show(&self, what: &str) -> String {
        self.sandbox.git("fleet.git", &["show", what])
    }

    /// Edits every file and every message. Returns the new ids by subject, the first of each.
    fn rewrite(
        mut self,
        edit_file: impl Fn(&str, &str) -> String,
        edit_message: impl Fn(&str) -> String,
    ) -> BTreeMap<String, String> {
        let list = ["rev-list", "--reverse", STATE];
        let commits = self.sandbox.git("fleet.git", &list);
        let mut made = BTreeMap::new();
        for id in commits.lines() {
            let new = self.commit(id, &edit_file, &edit_message);
            let subject = self
                .sandbox
                .git("fleet.git", &["show", "-s", "--format=%s", &new]);
            made.entry(subject.trim().to_owned())
                .or_insert_with(|| new.clone());
            self.parent = Some(new);
        }
        let tip = self.parent.clone().unwrap();
        self.sandbox.git("fleet.git", &["update-ref", STATE, &tip]);
        made
    }

    fn commit(
        &mut self,
        id: &str,
        edit_file: &impl Fn(&str, &str) -> String,
        edit_message: &impl Fn(&str) -> String,
    ) -> String {
        let message = edit_message(
            &self
                .sandbox
                .git("fleet.git", &["show", "-s", "--format=%B", id]),
        );
        let tree = self.tree(id, message.trim_end(), edit_file);
        let format = "--format=%an%n%ae%n%aI%n%cn%n%ce%n%cI";
        let who = self.sandbox.git("fleet.git", &["show", "-s", format, id]);
        let who: Vec<&str> = who.lines().collect();
        self.sandbox.write("message", message.trim_end());
        let key = self.sandbox.path("agent").display().to_string();
        let signing = format!("user.signingkey={key}");
        let mut git = self.sandbox.hermetic("git", "fleet.git");
        git.args([
            "-c",
            "gpg.format=ssh",
            "-c",
            &signing,
            "commit-tree",
            "-S",
            &tree,
            "-F",
        ]);
        git.arg(self.sandbox.path("message"));
        if let Some(parent) = &self.parent {
            git.args(["-p", parent]);
        }
        for (name, value) in ["AUTHOR_NAME", "AUTHOR_EMAIL", "AUTHOR_DATE"]
            .iter()
            .chain(["COMMITTER_NAME", "COMMITTER_EMAIL", "COMMITTER_DATE"].iter())
            .zip(&who)
        {
            git.env(format!("GIT_{name}"), value);
        }
        let output = git.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes the tree of a commit with its files edited, and with an entry that names them.
    fn tree(&mut self, id: &str, message: &str, edit: &impl Fn(&str, &str) -> String) -> String {
        let listed = self
            .sandbox
            .git("fleet.git", &["ls-tree", "-r", "--name-only", id]);
        let mut paths: Vec<&str> = listed.lines().collect();
        // What names others comes after them.
        paths.sort_by_key(|path| (*path == "audit.json", path.starts_with("inputs/")));
        let mut files = BTreeMap::new();
        for path in paths {
            let old = self.show(&format!("{id}:{path}"));
            let mut new = edit(path, &old);
            for (was, is) in &self.digests {
                new = new.replace(was, is);
            }
            if path == "audit.json" {
                new = self.entry(id, &new, message, &files);
            }
            self.digests
                .insert(digest(old.as_bytes()), digest(new.as_bytes()));
            files.insert(path.to_owned(), new);
        }
        let index = self.sandbox.path("index");
        let _ = fs::remove_file(&index);
        for (path, text) in &files {
            self.sandbox.write("object", text);
            let object = self.sandbox.path("object").display().to_string();
            let blob = self
                .sandbox
                .git("fleet.git", &["hash-object", "-w", &object]);
            let entry = format!("100644,{},{path}", blob.trim());
            self.index(&["update-index", "--add", "--cacheinfo", &entry]);
        }
        self.index(&["write-tree"])
    }

    fn index(&self, arguments: &[&str]) -> String {
        let mut git = self.sandbox.hermetic("git", "fleet.git");
        let git = git.env("GIT_INDEX_FILE", self.sandbox.path("index"));
        let output = git.args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Makes the entry of a commit that has one. One that only takes the lease leaves it as it is.
    fn entry(
        &mut self,
        id: &str,
        text: &str,
        message: &str,
        files: &BTreeMap<String, String>,
    ) -> String {
        let parents = self
            .sandbox
            .git("fleet.git", &["show", "-s", "--format=%P", id]);
        let before = match parents.trim() {
            "" => String::new(),
            parent => {
                let list = ["ls-tree", parent, "audit.json"];
                self.sandbox.git("fleet.git", &list)
            }
        };
        if before
            == self
                .sandbox
                .git("fleet.git", &["ls-tree", id, "audit.json"])
        {
            return text.to_owned();
        }
        let mut entry: Value = serde_json::from_str(text).unwrap();
        entry["message"] = digest(message.as_bytes()).into();
        if let Some(last) = &self.last {
            entry["previous"] = last.clone().into();
        }
        for (path, named) in entry["files"].as_object_mut().unwrap() {
            *named = digest(files[path].as_bytes()).into();
        }
        let mut text = serde_json::to_string_pretty(&entry).unwrap();
        text.push('\n');
        self.last = Some(digest(text.as_bytes()));
        text
    }
}

fn as_it_is(text: &str) -> String {
    text.to_owned()
}

#[test]
fn approvals_are_proven_by_operations_and_what_is_not_at_hand_is_said() {
    let sandbox = approved();
    let report = verify(&sandbox, &["--strict"]).exits(0).json();
    let counts = |report: &Value| {
        [
            "operationsProven",
            "approvalsByReview",
            "operationsUnchecked",
        ]
        .map(|count| report[count].as_u64().unwrap())
    };
    assert_eq!(counts(&report), [1, 0, 0], "{report}");
    for none in ["sourcesMissing", "sourcesGone", "sourcesElsewhere"] {
        assert_eq!(report[none], 0, "{none}: {report}");
    }
    // A forger who changes nothing is no forger: the log that is written anew holds.
    Forger::new(&sandbox).rewrite(|_, text| as_it_is(text), as_it_is);
    let report = verify(&sandbox, &["--strict"]).exits(0).json();
    assert_eq!(counts(&report), [1, 0, 0], "{report}");

    let fleet = sandbox.path("fleet.git").display().to_string();
    let without = ["audit", "verify", "--source", &fleet];
    let told = "operations: 1 not checked: it is not said whose operations count (--approvers)";
    sandbox.drover(&without).exits(0).prints(told);
    let strict = [&without[..], &["--strict"]].concat();
    sandbox.drover(&strict).exits(1).says("--approvers");
    let signers = sandbox.path("signers").display().to_string();
    let with = [&without[..], &["--approvers", &signers]].concat();
    sandbox
        .drover(&with)
        .exits(0)
        .prints("operations: 1 checked");
    // Whoever has nothing but the log is told what is missing.
    let clone = ["clone", "--quiet", "--bare", "--no-local"];
    let clone = [
        &clone[..],
        &[
            "--single-branch",
            "--branch",
            "drover/state",
            &fleet,
            "log.git",
        ],
    ]
    .concat();
    sandbox.git(".", &clone);
    let log = sandbox.path("log.git").display().to_string();
    let alone = ["audit", "verify", "--source", &log, "--approvers", &signers];
    sandbox
        .drover(&alone)
        .exits(0)
        .prints("with a document whose commit is gone")
        .prints("whose source is gone")
        .prints("operations: 1 not checked: the repository has no branch drover/ops");
}

#[test]
fn an_approver_who_was_written_into_the_log_is_found() {
    let sandbox = approved();
    let forged = Forger::new(&sandbox).rewrite(
        |_, text| text.replace("tom@example.com", "zoe@example.com"),
        |message| message.replace("tom@example.com", "zoe@example.com"),
    );
    let ran = verify(&sandbox, &[]).exits(1);
    let scale = forged["web: scale 1 -> 2"].clone();
    let found = [(scale, "ApprovalUnproven".to_owned())];
    assert_eq!(problems(&ran), found, "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains("zoe@example.com is said to have said approve change"),
        "{}",
        ran.stdout
    );
    // Of somebody who is taken off the list nothing is proven, either, and it is said why.
    Forger::new(&sandbox).rewrite(
        |_, text| text.replace("zoe@example.com", "tom@example.com"),
        |message| message.replace("zoe@example.com", "tom@example.com"),
    );
    verify(&sandbox, &[]).exits(0);
    sandbox.write_signers(&["zoe"]);
    let ran = verify(&sandbox, &[]).exits(1);
    assert!(
        ran.stdout.contains("does not count, it is signed with"),
        "{}",
        ran.stdout
    );
}

#[test]
fn what_is_said_to_be_of_a_review_is_counted_as_that() {
    let sandbox = approved();
    let review = "review of pull request 7";
    Forger::new(&sandbox).rewrite(
        |_, text| text.replace("all seen", review),
        |message| message.replace("all seen", review),
    );
    let report = verify(&sandbox, &["--strict"]).exits(0).json();
    assert_eq!(report["approvalsByReview"], 1, "{report}");
    assert_eq!(report["operationsProven"], 0, "{report}");
    sandbox.with_config(&["audit", "verify"]).exits(0).prints(
        "operations: 1 said to be of a review on the Git host, which nothing in Git proves",
    );
}

#[test]
fn a_document_that_the_source_never_had_is_found() {
    let sandbox = approved();
    let good = sandbox.git("fleet.git", &["rev-parse", STATE]);
    let forged =
        Forger::new(&sandbox).rewrite(|_, text| text.replace("# how many", "# how much"), as_it_is);
    let ran = verify(&sandbox, &[]).exits(1);
    let found = problems(&ran);
    let commits: Vec<&String> = found.iter().map(|(commit, _)| commit).collect();
    let codes = found.iter().map(|(_, code)| code.as_str());
    assert!(
        codes.clone().all(|code| code == "DocumentDiffers"),
        "{found:?}"
    );
    assert_eq!(codes.count(), 2, "{found:?}");
    assert!(commits.contains(&&forged["web: scale 1 -> 2"]), "{found:?}");
    // A policy as well.
    sandbox.git("fleet.git", &["update-ref", STATE, good.trim()]);
    Forger::new(&sandbox).rewrite(
        |path, text| match path {
            "fleet.yaml" => text.replace("message: more than one", "message: more than ten"),
            _ => as_it_is(text),
        },
        as_it_is,
    );
    let ran = verify(&sandbox, &[]).exits(1);
    let codes: Vec<String> = problems(&ran).into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["DocumentDiffers"], "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains("the Policy small in force is not the one of"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_source_that_does_not_have_the_document_in_its_history_is_found() {
    let sandbox = approved();
    let good = sandbox.git("fleet.git", &["rev-parse", STATE]);
    let two = sandbox.git("work", &["rev-parse", "HEAD"]);
    sandbox.git("work", &["switch", "--quiet", "--orphan", "other"]);
    sandbox.write("work/README", "another history\n");
    sandbox.git("work", &["add", "--all"]);
    sandbox.git("work", &["commit", "--quiet", "-m", "another history"]);
    sandbox.git("work", &["push", "--quiet", "origin", "other"]);
    let other = sandbox.git("work", &["rev-parse", "HEAD"]);
    let (two, other) = (two.trim(), other.trim());
    // The documents' own commit keeps its source, which is compared with what it records.
    let of_web = |message: &str, id: &str| {
        if message.contains("Drover-Group: web") {
            message.replace(&format!("sha1:{two}"), &format!("sha1:{id}"))
        } else {
            as_it_is(message)
        }
    };
    let forged =
        Forger::new(&sandbox).rewrite(|_, text| as_it_is(text), |message| of_web(message, other));
    let ran = verify(&sandbox, &[]).exits(1);
    let found = problems(&ran);
    assert!(
        found.contains(&(
            forged["web: scale 1 -> 2"].clone(),
            "SourceDiffers".to_owned()
        )),
        "{found:?}"
    );
    assert!(ran.json()["sourcesElsewhere"].as_u64().unwrap() > 0);
    sandbox.git("fleet.git", &["update-ref", STATE, good.trim()]);
    // One that is in no repository is no proof of anything: it is counted.
    let gone = "ab".repeat(20);
    Forger::new(&sandbox).rewrite(|_, text| as_it_is(text), |message| of_web(message, &gone));
    let report = verify(&sandbox, &[]).exits(0).json();
    assert!(report["sourcesGone"].as_u64().unwrap() > 0, "{report}");
    sandbox.git("fleet.git", &["update-ref", STATE, good.trim()]);
    // The commit about the documents names another one than they are of.
    Forger::new(&sandbox).rewrite(
        |_, text| as_it_is(text),
        |message| {
            if message.starts_with("fleet: ") {
                message.lines().map(|line| source_of(line, other)).collect()
            } else {
                as_it_is(message)
            }
        },
    );
    let ran = verify(&sandbox, &[]).exits(1);
    let codes: Vec<String> = problems(&ran).into_iter().map(|(_, code)| code).collect();
    assert!(codes.contains(&"TrailerDiffers".to_owned()), "{codes:?}");
}

fn source_of(line: &str, id: &str) -> String {
    match line.strip_prefix("Drover-Source: ") {
        Some(_) => format!("Drover-Source: main@sha1:{id}\n"),
        None => format!("{line}\n"),
    }
}
