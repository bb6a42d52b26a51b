//! Reviews on the Git host as approvals: of the right commit, by those whom the agent's file names, and nobody else.

use crate::signed::RULE;
use crate::support::{Agent, IDLE, PATIENCE, PROVIDER, Sandbox, group, holds, wait_until};

use super::double::{Double, Kind, Reviewed};
use super::{KINDS, TOKEN, WEB};

/// A fleet whose agent counts reviews, and a merged pull request that asks for one.
struct Fleet {
    sandbox: Sandbox,
    host: Double,
    agent: Option<Agent>,
    /// What was there before, and what was proposed.
    base: String,
    head: String,
}

impl Fleet {
    fn start((kind, name): (Kind, &str)) -> Self {
        let web = group("web", 1, IDLE, "");
        let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &web), ("policies/small.yaml", RULE)]);
        let host = Double::start(kind, TOKEN);
        sandbox.write("token", TOKEN);
        sandbox.configure(&format!(
            "reviews:
  type: {name}
  api: {}
  repository: acme/fleet
  tokenFile: '{}'
  reviewers: {{Tom-Dev: tom@example.com, jane-dev: jane@example.com, ada-dev: ada@example.com}}
",
            host.api(),
            sandbox.path("token").display()
        ));
        let base = sandbox
            .git("work", &["rev-parse", "HEAD"])
            .trim()
            .to_owned();
        let agent = Some(sandbox.agent());
        sandbox.wait_converged("web", 1);
        Self {
            sandbox,
            host,
            agent,
            head: base.clone(),
            base,
        }
    }

    /// Merges a branch that makes the group larger. `squash`: as a commit that does not descend from it.
    fn merge(&mut self, size: u32, squash: bool) {
        self.merge_of("jane", size, squash);
    }

    /// The same, of what `who` wrote. Ada merges.
    fn merge_of(&mut self, who: &str, size: u32, squash: bool) {
        let git = |arguments: &[&str]| self.sandbox.git("work", arguments);
        git(&["checkout", "--quiet", "-B", "topic"]);
        self.sandbox
            .write(&format!("work/{WEB}"), &group("web", size, IDLE, ""));
        let author = format!("--author={who} <{who}@example.com>");
        git(&["commit", "--quiet", "--all", &author, "--message", "larger"]);
        let head = git(&["rev-parse", "HEAD"]).trim().to_owned();
        git(&["checkout", "--quiet", "main"]);
        // Something else was merged meanwhile, to another group.
        self.sandbox
            .write("work/groups/db.yaml", &group("db", 1, IDLE, ""));
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--allow-empty", "--message", "another"]);
        if squash {
            git(&["merge", "--quiet", "--squash", "topic"]);
            git(&["commit", "--quiet", &author, "--message", "larger (#7)"]);
        } else {
            git(&[
                "merge",
                "--quiet",
                "--no-ff",
                "--message",
                "Merge #7",
                "topic",
            ]);
        }
        let merged = git(&["rev-parse", "HEAD"]).trim().to_owned();
        let kept = match self.host.kind() {
            Kind::GitHub | Kind::Gitea => "HEAD:refs/pull/7/head",
            Kind::GitLab => "HEAD:refs/merge-requests/7/head",
        };
        let kept = kept.replace("HEAD", &head);
        git(&["push", "--quiet", "origin", &kept]);
        {
            let mut said = self.host.kept.lock().unwrap();
            said.head.clone_from(&head);
            said.base.clone_from(&self.base);
            said.merged = Some(merged);
        }
        git(&["push", "--quiet", "origin", "main"]);
        self.head = head;
    }

    fn review(&self, author: &'static str, state: &'static str, commit: &str) {
        let commit = commit.to_owned();
        self.host.kept.lock().unwrap().reviews.push(Reviewed {
            author,
            state,
            commit,
        });
    }

    fn wait_held(&self, code: &'static str) {
        self.sandbox.wait_for("web", code, move |web| {
            holds(web).contains(&code.to_owned())
        });
    }

    /// Waits until the host was asked for reviews twice more. Each time the last page is an empty one.
    fn wait_asked(&self) {
        let asked = || {
            let kept = self.host.kept.lock().unwrap();
            let last = |call: &&String| call.ends_with("reviews") || call.ends_with("approvals");
            kept.calls.iter().filter(last).count()
        };
        let before = asked();
        wait_until("questions for reviews", PATIENCE, || asked() >= before + 4);
    }

    fn stop(&mut self) {
        assert_eq!(self.agent.take().unwrap().stop(), Some(0));
        let log = self.sandbox.agent_log();
        assert!(!log.contains(TOKEN), "{log}");
    }
}

#[test]
fn a_review_of_what_was_merged_approves_it_on_every_host() {
    for kind in KINDS {
        let mut fleet = Fleet::start(kind);
        // A stranger, the author, and somebody who saw something else.
        fleet.merge(2, false);
        let head = fleet.head.clone();
        fleet.review("mallory", "APPROVED", &head);
        fleet.review("jane-dev", "APPROVED", &head);
        fleet.review("tom-dev", "APPROVED", &fleet.base.clone());
        fleet.wait_held("ApprovalNeeded");
        fleet.wait_asked();
        fleet.wait_held("ApprovalNeeded");
        assert_eq!(fleet.sandbox.processes().len(), 2, "web-1 and db-1");
        fleet.host.kept.lock().unwrap().reviews.pop();
        fleet.review("tom-dev", "APPROVED", &head);
        fleet.sandbox.wait_converged("web", 2);
        let log = fleet
            .sandbox
            .git("fleet.git", &["log", "--format=%B", "drover/state"]);
        assert!(log.contains("Drover-Approved-By: tom@example.com"), "{log}");
        fleet.stop();
        let verify = ["audit", "verify", "-o", "json"];
        let report = fleet.sandbox.with_config(&verify).exits(0).json();
        assert_eq!(report["approvalsByReview"], 1, "{report}");
    }
}

#[test]
fn a_review_by_who_wrote_a_commit_of_it_approves_nothing_and_one_by_who_merged_it_does() {
    let mut fleet = Fleet::start(KINDS[0]);
    // Jane opened it, with a commit of Tom's in it.
    fleet.merge_of("tom", 2, false);
    let head = fleet.head.clone();
    fleet.review("tom-dev", "APPROVED", &head);
    fleet.wait_held("ApprovalNeeded");
    fleet.wait_asked();
    fleet.wait_held("ApprovalNeeded");
    fleet.review("ada-dev", "APPROVED", &head);
    fleet.sandbox.wait_converged("web", 2);
    fleet.stop();
}

#[test]
fn a_review_is_used_once() {
    let mut fleet = Fleet::start(KINDS[0]);
    fleet.merge(2, false);
    let head = fleet.head.clone();
    fleet.review("tom-dev", "APPROVED", &head);
    fleet.sandbox.wait_converged("web", 2);
    let merged = fleet.sandbox.git("fleet.git", &["rev-parse", "main"]);
    fleet.merge(1, false);
    fleet.sandbox.wait_converged("web", 1);
    fleet.merge(2, false);
    fleet.wait_held("ApprovalNeeded");
    fleet.wait_asked();
    fleet.wait_held("ApprovalNeeded");
    let why = fleet.sandbox.with_config(&["why", "web"]);
    let why = why.prints("are used: approve it again");
    // The commit that it was used for, and not one of those that came after it.
    let line = why
        .stdout
        .lines()
        .find(|line| line.contains("were used for"));
    let line = line.unwrap_or_else(|| panic!("{}", why.stdout));
    let commit = format!("were used for commit {} by ", &merged[..7]);
    assert!(line.contains(&commit), "{line}");
    assert!(line.ends_with("(approved by tom@example.com)"), "{line}");
    // Another one, given a moment from now.
    {
        let mut said = fleet.host.kept.lock().unwrap();
        said.reviews.clear();
        said.begun = drover_model::Timestamp::now().as_second() + 601;
    }
    let head = fleet.head.clone();
    fleet.review("tom-dev", "APPROVED", &head);
    fleet.sandbox.wait_converged("web", 2);
    fleet.stop();
}

#[test]
fn changes_that_are_asked_for_reject_and_a_squashed_branch_is_found() {
    let mut fleet = Fleet::start(KINDS[0]);
    fleet.merge(3, true);
    let head = fleet.head.clone();
    fleet.review("tom-dev", "APPROVED", &head);
    fleet.review("tom-dev", "CHANGES_REQUESTED", &head);
    fleet.review("tom-dev", "COMMENTED", &head);
    fleet.wait_held("ApprovalRejected");
    fleet.review("tom-dev", "APPROVED", &head);
    fleet.sandbox.wait_converged("web", 3);
    fleet.stop();
}

#[test]
fn a_rejection_behind_a_short_page_counts() {
    let mut fleet = Fleet::start(KINDS[2]);
    assert_eq!(fleet.host.kind(), Kind::Gitea);
    fleet.host.kept.lock().unwrap().page_max = Some(2);
    fleet.merge(2, false);
    let head = fleet.head.clone();
    {
        let review = |author, state| Reviewed {
            author,
            state,
            commit: head.clone(),
        };
        // All at once: nobody sees the approval without what came after it.
        fleet.host.kept.lock().unwrap().reviews = vec![
            review("tom-dev", "APPROVED"),
            review("mallory", "COMMENTED"),
            review("mallory", "COMMENTED"),
            review("ada-dev", "COMMENTED"),
            review("tom-dev", "CHANGES_REQUESTED"),
        ];
    }
    fleet.wait_held("ApprovalRejected");
    assert_eq!(fleet.sandbox.processes().len(), 2, "web-1 and db-1");
    fleet.stop();
}

#[test]
fn a_host_that_is_down_approves_nothing_and_is_told() {
    let mut fleet = Fleet::start(KINDS[2]);
    fleet.sandbox.write("token", "another");
    fleet.merge(2, false);
    let head = fleet.head.clone();
    fleet.review("tom-dev", "APPROVED", &head);
    fleet.wait_held("ApprovalNeeded");
    wait_until("a word in the log", PATIENCE, || {
        let log = fleet.sandbox.agent_log();
        log.contains("cannot ask for reviews") && log.contains("401")
    });
    fleet.wait_held("ApprovalNeeded");
    fleet.sandbox.write("token", TOKEN);
    fleet.sandbox.wait_converged("web", 2);
    fleet.stop();
}
