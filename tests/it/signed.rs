//! Git that people can trust: an agent over ssh at a real OpenSSH server, signed commits, and
//! approvals that people with a key give.

use crate::ssh_server::{Access, SshServer};
use crate::support::{IDLE, PATIENCE, PROVIDER, Sandbox, converged, group, instances, wait_until};

const WEB: &str = "groups/web.yaml";

fn sandbox() -> Sandbox {
    Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 1, IDLE, ""))])
}

#[test]
fn an_agent_follows_a_repository_over_ssh_and_signs_what_it_records() {
    let sandbox = sandbox();
    let server = SshServer::start(&sandbox.path("sshd"));
    let reader = server.client("reader", Access::Read);
    let writer = server.client("writer", Access::Write);
    sandbox.make_key("agent");
    sandbox.write_signers(&["agent"]);
    let text = format!(
        "name: test\n\
         source: {{url: '{}', interval: 1s, knownHosts: '{}'}}\n\
         dataDir: '{}'\n\
         listen: 'off'\n\
         key: '{}'\n\
         providers: {{allow: [process]}}\n\
         credentials: {{source: {{sshKeyFile: '{}'}}, push: {{sshKeyFile: '{}'}}}}\n",
        server.url(&sandbox.path("fleet.git")),
        server.known_hosts().display(),
        sandbox.path("data").display(),
        sandbox.path("agent").display(),
        reader.display(),
        writer.display(),
    );
    sandbox.write("agent.yaml", &text);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    sandbox.push("two", &[(WEB, &group("web", 2, IDLE, ""))]);
    sandbox.wait_converged("web", 2);
    assert_eq!(agent.stop(), Some(0));
    let ids = sandbox.git("fleet.git", &["rev-list", "drover/state"]);
    assert!(ids.lines().count() > 2, "{ids}");
    let file = sandbox.path("signers").display().to_string();
    let allowed = format!("gpg.ssh.allowedSignersFile={file}");
    for id in ids.lines() {
        sandbox.git("fleet.git", &["-c", &allowed, "verify-commit", id]);
    }
    // The commands find the repository the same way.
    let ran = sandbox.with_config(&["scale", "web", "3"]).exits(0);
    assert!(ran.stderr.contains("scale to 3"), "{}", ran.stderr);
}

/// An agent that signs, which made an instance and has ended.
fn signing() -> Sandbox {
    let sandbox = sandbox();
    for name in ["agent", "mallory"] {
        sandbox.make_key(name);
    }
    sandbox.configure(&format!("key: '{}'\n", sandbox.path("agent").display()));
    sandbox.with_config(&RUN).exits(0);
    sandbox
}

const RUN: [&str; 4] = ["run", "--until-converged", "--timeout", "60s"];

/// Loses what the agent knew. Its instances go on.
fn lose_data(sandbox: &Sandbox) {
    for name in ["journal.redb", "audit-anchor.json"] {
        std::fs::remove_file(sandbox.path(&format!("data/{name}"))).unwrap();
    }
}

/// Edits a file of the state branch as somebody may who can push, and signs with a key of their own.
fn forge(sandbox: &Sandbox, path: &str, edit: impl Fn(&str) -> String) -> String {
    sandbox.git("work", &["fetch", "--quiet", "origin", "drover/state"]);
    sandbox.git("work", &["switch", "--quiet", "--detach", "FETCH_HEAD"]);
    let file = sandbox.path(&format!("work/{path}"));
    let text = std::fs::read_to_string(file).unwrap_or_default();
    sandbox.write(&format!("work/{path}"), &edit(&text));
    sandbox.git("work", &["add", "--all"]);
    let signing = format!("user.signingkey={}", sandbox.path("mallory").display());
    let options = ["-c", "gpg.format=ssh", "-c", &signing];
    let commit = ["commit", "--quiet", "-S", "-m", "web: thirty"];
    sandbox.git("work", &[&options[..], &commit[..]].concat());
    let push = ["push", "--quiet", "origin", "HEAD:drover/state"];
    sandbox.git("work", &push);
    let id = sandbox.git("work", &["rev-parse", "HEAD"]);
    id.trim().to_owned()
}

fn state_tip(sandbox: &Sandbox) -> String {
    let tip = sandbox.git("fleet.git", &["rev-parse", "drover/state"]);
    tip.trim().to_owned()
}

#[test]
fn an_agent_whose_data_are_lost_takes_up_what_it_signed_itself_and_no_forged_state() {
    let sandbox = signing();
    let instances = sandbox.processes();
    lose_data(&sandbox);
    sandbox.with_config(&RUN).exits(0);
    assert_eq!(sandbox.processes(), instances);
    let forged = forge(&sandbox, WEB, |text| text.replace("size: 1", "size: 30"));
    lose_data(&sandbox);
    let refused = sandbox.with_config(&RUN).exits(6);
    refused
        .says("StateUntrusted")
        .says(&format!("commit {forged} is not believed"))
        .says("which is no signer's key")
        .says(&format!("drover reconcile --accept-state {forged}"));
    assert_eq!(state_tip(&sandbox), forged);
    assert_eq!(sandbox.processes(), instances);
}

#[test]
fn a_person_answers_for_recorded_state_or_the_agents_file_names_who_signed_it() {
    let sandbox = signing();
    let instances = sandbox.processes();
    let forged = &forge(&sandbox, "README", |_| "what is all this?\n".to_owned());
    lose_data(&sandbox);
    // A running agent waits, says so, and is told by a person that it may.
    let agent = sandbox.agent();
    wait_until("the agent to say why it waits", PATIENCE, || {
        sandbox.agent_log().contains("StateUntrusted")
    });
    assert_eq!(sandbox.processes(), instances);
    let accept = ["reconcile", "--accept-state", forged];
    wait_until("the agent to be told", PATIENCE, || {
        sandbox.with_config(&accept).code == Some(0)
    });
    sandbox.wait_converged("web", 1);
    assert_eq!(agent.stop(), Some(0));
    let log = sandbox.git("fleet.git", &["log", "--format=%B", "drover/state"]);
    let trailer = format!("Drover-Accepted-State: {forged}\n");
    assert!(log.contains(&trailer), "{log}");
    assert!(log.contains("accepted by Ada <ada@example.com>"), "{log}");
    // The same for a command that ends.
    sandbox.make_key("newer");
    let key = |name: &str| format!("key: '{}'\n", sandbox.path(name).display());
    sandbox.configure(&key("newer"));
    lose_data(&sandbox);
    sandbox.with_config(&RUN).exits(6).says("StateUntrusted");
    let tip = state_tip(&sandbox);
    let answered = [&RUN[..], &["--accept-state", &tip]].concat();
    sandbox.with_config(&answered).exits(0);
    // Nobody has to where the file names them all.
    sandbox.write_signers(&["agent", "newer", "mallory"]);
    let signers = sandbox.path("signers").display().to_string();
    let state = format!("{}state: {{signers: '{signers}'}}\n", key("agent"));
    sandbox.configure(&state);
    lose_data(&sandbox);
    sandbox.with_config(&RUN).exits(0);
    // The forged commit is still one that no agent made, and everybody who signed is listed.
    let ran = sandbox.with_config(&["audit", "verify"]).exits(1);
    let ran = ran.prints("signatures checked").prints(forged);
    assert_eq!(ran.stdout.matches("Foreign:").count(), 1, "{}", ran.stdout);
    assert!(!ran.stdout.contains("SignatureInvalid"), "{}", ran.stdout);
}

#[test]
fn what_nobody_signed_is_not_acted_on_and_the_last_signed_commit_stays_in_force() {
    let sandbox = sandbox();
    sandbox.make_key("ada");
    sandbox.write_signers(&["ada"]);
    let signed = |message: &str, size: u32| {
        sandbox.write(&format!("work/{WEB}"), &group("web", size, IDLE, ""));
        let signing = format!("user.signingkey={}", sandbox.path("ada").display());
        let options = ["-c", "gpg.format=ssh", "-c", &signing];
        let commit = ["commit", "--quiet", "--all", "-S", "--message", message];
        sandbox.git("work", &[&options[..], &commit[..]].concat());
        sandbox.git("work", &["push", "--quiet", "origin", "HEAD:main"]);
    };
    let text = format!(
        "name: test\n\
         source: {{url: '{}', interval: 1s, verify: {{signers: '{}'}}}}\n\
         dataDir: '{}'\n\
         listen: 'off'\n\
         providers: {{allow: [process]}}\n",
        sandbox.path("fleet.git").display(),
        sandbox.path("signers").display(),
        sandbox.path("data").display(),
    );
    sandbox.write("agent.yaml", &text);
    let agent = sandbox.agent();
    let told = |words: &str| {
        wait_until(words, PATIENCE, || {
            sandbox
                .with_config(&["get", "groups"])
                .stderr
                .contains(words)
        });
    };
    told("is not signed");
    assert_eq!(sandbox.processes().len(), 0);
    signed("two", 2);
    sandbox.wait_converged("web", 2);
    sandbox.push("three, unsigned", &[(WEB, &group("web", 3, IDLE, ""))]);
    told("is not signed");
    assert_eq!(sandbox.processes().len(), 2);
    assert!(sandbox.agent_log().contains("SourceUnavailable"));
    // The same after a restart.
    assert_eq!(agent.stop(), Some(0));
    let agent = sandbox.agent();
    told("is not signed");
    let web = sandbox.wait_for("web", "what is in force", |group| {
        !instances(group).is_empty()
    });
    assert!(converged(&web, 2), "{web}");
    signed("four", 4);
    sandbox.wait_converged("web", 4);
    assert_eq!(agent.stop(), Some(0));
}

/// A rule that people must approve what goes beyond.
pub(crate) const RULE: &str = "apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: small}
spec:
  on: approve
  rules: [{expression: 'change.toSize <= 1', message: more than one}]
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: small}
spec: {policy: small, selector: {}, enforcement: requireApproval, approvals: {count: 1}}
";

#[test]
fn an_agent_that_reads_no_operations_says_so_where_an_approval_is_waited_for() {
    let web = group("web", 1, IDLE, "");
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &web), ("policies/small.yaml", RULE)]);
    sandbox.make_key("tom");
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    let notes = sandbox.with_config(&["get", "groups"]).stderr;
    assert!(!notes.contains("nobody can approve"), "{notes}");
    sandbox.push("two", &[(WEB, &group("web", 2, IDLE, ""))]);
    sandbox.wait_for("web", "the hold", |group| {
        group["holds"].to_string().contains("ApprovalNeeded")
    });
    let key = sandbox.path("tom").display().to_string();
    sandbox
        .with_config(&["approve", "web", "--because", "INC-1", "--key", &key])
        .exits(0)
        .says("the agent's file has no `signers`");
    sandbox
        .with_config(&["get", "groups"])
        .exits(0)
        .says("nobody can approve anything");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_change_waits_until_somebody_on_the_list_approves_it() {
    let web = group("web", 1, IDLE, "");
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &web), ("policies/small.yaml", RULE)]);
    for name in ["tom", "mallory"] {
        sandbox.make_key(name);
    }
    sandbox.listen_to(&["tom"]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    sandbox.push("two", &[(WEB, &group("web", 2, IDLE, ""))]);
    let held = |code: &'static str| {
        let holds = move |group: &serde_json::Value| group["holds"].to_string().contains(code);
        sandbox.wait_for("web", code, holds);
    };
    held("ApprovalNeeded");
    let decide = |verb: &str, name: &str| {
        let file = sandbox.path(name).display().to_string();
        let because = ["--because", "INC-1: reviewed", "--key", &file];
        let arguments = [&[verb, "web"][..], &because[..]].concat();
        sandbox.with_config(&arguments).exits(0).stderr
    };
    let unheard = decide("approve", "mallory");
    assert!(
        unheard.contains("warning: this operation does not count: "),
        "{unheard}"
    );
    wait_until("a word about the stranger", PATIENCE, || {
        let notes = sandbox.with_config(&["get", "groups"]).stderr;
        notes.contains("does not count") && notes.contains("no signer's key")
    });
    assert_eq!(sandbox.processes().len(), 1);
    // As it is shown: its first digits.
    let plan = sandbox.with_config(&["plan"]).exits(4).stdout;
    let (_, shown) = plan.split_once("change ").unwrap();
    let file = sandbox.path("tom").display().to_string();
    let named = [
        "reject",
        "web",
        "--because",
        "no",
        "--key",
        &file,
        "--change",
    ];
    let other = [&named[..], &["0123456789ab"]].concat();
    sandbox
        .with_config(&other)
        .exits(1)
        .says("begins with 0123456789ab");
    let shown = [&named[..], &[&shown[..12]]].concat();
    sandbox
        .with_config(&shown)
        .exits(0)
        .says("web: reject change ");
    held("ApprovalRejected");
    let told = decide("approve", "tom");
    assert!(
        told.contains("web: approve change ") && told.contains("SHA256:"),
        "{told}"
    );
    assert!(!told.contains("warning"), "{told}");
    sandbox.wait_converged("web", 2);
    assert_eq!(agent.stop(), Some(0));
    let log = sandbox.git("fleet.git", &["log", "--format=%s", "drover/ops"]);
    assert_eq!(log.lines().count(), 3, "{log}");
    let recorded = sandbox.git("fleet.git", &["log", "--format=%B", "drover/state"]);
    assert!(
        recorded.contains("Drover-Approved-By: tom@example.com"),
        "{recorded}"
    );
}

/// Waits for a change of `authors`, of whom Alice is one, and has her approve it in vain and Bob with effect.
fn approved_by_bob_alone(sandbox: &Sandbox, size: u64, authors: &'static str) {
    sandbox.wait_for("web", "a change that waits", move |group| {
        let holds = group["holds"].to_string();
        let told = format!("by others than {authors}, has none");
        holds.contains("ApprovalNeeded") && holds.contains(&told)
    });
    let approve = |name: &str| {
        let file = sandbox.path(name).display().to_string();
        let because = ["--because", "seen", "--key", &file];
        let all = [&["approve", "web"][..], &because[..]].concat();
        sandbox.with_config(&all).exits(0);
    };
    let taken_up = || {
        let log = sandbox.agent_log();
        log.matches("operation taken up").count()
    };
    let before = taken_up();
    approve("alice");
    wait_until("alice to be heard", PATIENCE, || taken_up() > before);
    sandbox.with_config(&["reconcile"]);
    let web = sandbox.wait_for("web", "the same", |group| !group.is_null());
    assert!(web["holds"].to_string().contains("has none"), "{web}");
    approve("bob");
    sandbox.wait_converged("web", size);
}

#[test]
fn who_wrote_a_change_does_not_approve_it_and_who_merged_it_or_pushed_something_else_does() {
    let web = group("web", 1, IDLE, "");
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &web), ("policies/small.yaml", RULE)]);
    for name in ["alice", "bob"] {
        sandbox.make_key(name);
    }
    sandbox.listen_to(&["alice", "bob"]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    let commit = |who: &str, path: &str, text: &str| {
        sandbox.write(&format!("work/{path}"), text);
        sandbox.git("work", &["add", "--all"]);
        let author = format!("{who} <{who}@example.com>");
        let commit = ["commit", "--quiet", "--author", &author, "-m", "a change"];
        sandbox.git("work", &commit);
    };
    let approved = |size: u64, authors| approved_by_bob_alone(&sandbox, size, authors);
    sandbox.git("work", &["switch", "--quiet", "--create", "side"]);
    commit("alice", WEB, &group("web", 2, IDLE, ""));
    sandbox.git("work", &["switch", "--quiet", "main"]);
    let identity = ["-c", "user.name=Bob", "-c", "user.email=bob@example.com"];
    let merge = ["merge", "--quiet", "--no-ff", "--no-edit", "side"];
    sandbox.git("work", &[&identity[..], &merge].concat());
    sandbox.git("work", &["push", "--quiet", "origin", "main"]);
    approved(2, "alice@example.com");
    commit("alice", WEB, &group("web", 3, IDLE, ""));
    commit("bob", "groups/db.yaml", &group("db", 1, IDLE, ""));
    sandbox.git("work", &["push", "--quiet", "origin", "main"]);
    approved(3, "alice@example.com");
    // Alice has written it in another's name, and signs it.
    let key = format!("user.signingkey={}", sandbox.path("alice").display());
    sandbox.write(&format!("work/{WEB}"), &group("web", 4, IDLE, ""));
    let signing = [
        "-c",
        "gpg.format=ssh",
        "-c",
        &key,
        "commit",
        "--quiet",
        "--all",
        "-S",
    ];
    let author = ["--author", "carol <carol@example.com>", "-m", "a change"];
    sandbox.git("work", &[&signing[..], &author].concat());
    sandbox.git("work", &["push", "--quiet", "origin", "main"]);
    approved(4, "alice@example.com, carol@example.com");
    assert_eq!(agent.stop(), Some(0));
    sandbox.with_config(&["audit", "verify"]).exits(0);
    let export = sandbox.with_config(&["audit", "export"]).exits(0).stdout;
    assert!(
        export.contains(r#""authors":["alice@example.com"]"#),
        "{export}"
    );
}

#[test]
fn a_canary_that_waits_for_a_person_is_promoted_by_one() {
    let waiting = |command: &str| {
        let manual = "rollout: {canary: {count: 1, hold: 1m, promote: manual}, ";
        group("web", 2, command, "").replace("rollout: {", manual)
    };
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &waiting(IDLE))]);
    sandbox.make_key("tom");
    sandbox.listen_to(&["tom"]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    sandbox.push("next", &[(WEB, &waiting("[sleep, '100000']"))]);
    sandbox.wait_for("web", "the canary to wait", |group| {
        group["holds"].to_string().contains("CanaryHold")
    });
    let file = sandbox.path("tom").display().to_string();
    let promote = ["promote", "web", "--because", "it serves", "--key", &file];
    sandbox.with_config(&promote).exits(0);
    sandbox.wait_converged("web", 2);
    let why = sandbox.with_config(&["why", "web"]).exits(0).stdout;
    assert!(why.contains("promote by tom@example.com"), "{why}");
    assert_eq!(agent.stop(), Some(0));
    let log = sandbox.with_config(&["log", "web"]).exits(0).stdout;
    assert!(
        log.contains("promote by tom@example.com: it serves"),
        "{log}"
    );
    sandbox.with_config(&["audit", "verify"]).exits(0);
}

#[test]
fn one_instance_is_kept_and_another_replaced_by_people_with_a_key() {
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 2, IDLE, ""))]);
    for name in ["tom", "mallory"] {
        sandbox.make_key(name);
    }
    sandbox.listen_to(&["tom"]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let say = |words: &[&str], name: &str| {
        let file = sandbox.path(name).display().to_string();
        let because = ["--because", "INC-7: slow disk", "--key", &file];
        sandbox.with_config(&[words, &because].concat())
    };
    let unknown = say(&["replace", "web/web-22"], "tom");
    assert_ne!(unknown.code, Some(0));
    assert!(
        unknown.stderr.contains("there is no instance web-22"),
        "{}",
        unknown.stderr
    );
    assert!(
        unknown.stderr.contains("did you mean web-2?"),
        "{}",
        unknown.stderr
    );
    let whole = say(&["keep", "web"], "tom");
    assert_eq!(whole.code, Some(64), "{}", whole.stderr);
    say(&["replace", "web/web-1"], "mallory").exits(0);
    let kept = say(&["keep", "web/web-1", "--for", "2h"], "tom")
        .exits(0)
        .stderr;
    assert!(kept.contains("web: keep web-1 until "), "{kept}");
    sandbox.wait_for("web", "web-1 to be kept", |group| {
        group["holds"].to_string().contains("KeptInstance")
    });
    say(&["replace", "web-2"], "tom").exits(0);
    sandbox.wait_for("web", "web-3 in the place of web-2", |group| {
        let there = instances(group);
        converged(group, 2) && there.iter().any(|id| id == "web-3")
    });
    let why = sandbox.with_config(&["why", "web/web-1"]).exits(0).stdout;
    assert!(
        why.contains("held by KeptInstance: tom@example.com keeps it: INC-7: slow disk"),
        "{why}"
    );
    assert!(why.contains("web-1: keep by tom@example.com at "), "{why}");
    let log = sandbox.with_config(&["log", "web"]).exits(0).stdout;
    assert!(
        log.contains("replace web-2 by tom@example.com: INC-7: slow disk"),
        "{log}"
    );
    let notes = sandbox.with_config(&["get", "groups"]).stderr;
    assert!(
        notes.contains("does not count") && notes.contains("no signer's key"),
        "{notes}"
    );
    say(&["keep", "web/web-1", "--release"], "tom").exits(0);
    sandbox.wait_for("web", "web-1 to be released", |group| {
        !group["holds"].to_string().contains("KeptInstance")
    });
    assert_eq!(agent.stop(), Some(0));
    // Keep, replace and release; what a stranger said is in no record.
    let verify = ["audit", "verify", "-o", "json"];
    let report = sandbox.with_config(&verify).exits(0).json();
    assert_eq!(report["operationsProven"], 3, "{report}");
    assert_eq!(report["operationsUnchecked"], 0, "{report}");
}

#[test]
fn whom_a_person_names_goes_when_there_is_one_too_many_and_not_before() {
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 3, IDLE, ""))]);
    sandbox.make_key("tom");
    sandbox.listen_to(&["tom"]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 3);
    let file = sandbox.path("tom").display().to_string();
    let say = ["--because", "INC-9: its rack goes", "--key", &file];
    sandbox
        .with_config(&[&["yield", "web/web-2"][..], &say].concat())
        .exits(0);
    wait_until("the word to be taken up", PATIENCE, || {
        let why = sandbox.with_config(&["why", "web/web-2"]).exits(0).stdout;
        why.contains("web-2: yield by tom@example.com at ")
    });
    sandbox.wait_converged("web", 3);
    sandbox.with_config(&["scale", "web", "2"]).exits(0);
    sandbox.wait_for("web", "the others", |group| {
        converged(group, 2) && instances(group) == ["web-1", "web-3"]
    });
    assert_eq!(agent.stop(), Some(0));
    sandbox.with_config(&["audit", "verify"]).exits(0);
}

#[test]
fn an_instance_is_restarted_in_place_once_because_a_person_says_so() {
    let sandbox = Sandbox::with_files(&[PROVIDER, (WEB, &group("web", 2, IDLE, ""))]);
    sandbox.make_key("tom");
    sandbox.listen_to(&["tom"]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let pids = |id: &str| -> Vec<i32> {
        let all = sandbox.processes().into_iter();
        all.filter(|(_, of)| of == id).map(|(pid, _)| pid).collect()
    };
    let (first, other) = (pids("web-1"), pids("web-2"));
    let file = sandbox.path("tom").display().to_string();
    let say = ["--because", "INC-8: it leaks", "--key", &file];
    sandbox
        .with_config(&[&["restart", "web/web-1"][..], &say].concat())
        .exits(0);
    wait_until("another process of web-1", PATIENCE, || {
        let now = pids("web-1");
        now.len() == 1 && now != first
    });
    sandbox.wait_converged("web", 2);
    let again = pids("web-1");
    assert_eq!(pids("web-2"), other);
    // Nor again, by an agent that starts anew.
    assert_eq!(agent.stop(), Some(0));
    let agent = sandbox.agent();
    wait_until("a pass of the new agent", PATIENCE, || {
        sandbox.with_config(&["reconcile"]).code == Some(0)
    });
    sandbox.wait_converged("web", 2);
    assert_eq!((pids("web-1"), pids("web-2")), (again, other));
    let why = sandbox.with_config(&["why", "web/web-1"]).exits(0).stdout;
    assert!(why.contains("web-1: restart by tom@example.com"), "{why}");
    assert!(why.contains(", done"), "{why}");
    assert_eq!(agent.stop(), Some(0));
    sandbox.with_config(&["audit", "verify"]).exits(0);
}

#[test]
fn a_decision_needs_a_key_a_change_and_an_end() {
    let sandbox = sandbox();
    sandbox.make_key("tom");
    let file = sandbox.path("tom").display().to_string();
    let told = |more: &[&str]| {
        let ran = sandbox.with_config(&[&["approve", "web", "--because", "x"], more].concat());
        assert_ne!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    assert!(told(&[]).contains("--key"));
    assert!(told(&["--key", &file, "--expires", "800h"]).contains("longer than 720h"));
    assert!(told(&["--key", &file]).contains("no branch drover/state"));
    assert!(told(&["--key", "/nowhere"]).contains("/nowhere"));
    assert!(told(&["--key", &file, "--change", "abc"]).contains("64 hexadecimal digits"));
    // A change that is named needs no agent and no record.
    let change = "ab".repeat(32);
    let named = [
        "reject",
        "web",
        "--because",
        "x",
        "--key",
        &file,
        "--change",
        &change,
    ];
    sandbox.with_config(&named).exits(0);
    let files = sandbox.git("fleet.git", &["ls-tree", "-r", "--name-only", "drover/ops"]);
    assert!(files.contains("-web-reject-"), "{files}");
}
