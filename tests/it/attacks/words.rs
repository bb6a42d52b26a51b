//! Words of people that a terminal would obey, or that would hide what stands beside them: in names, subjects, bodies,
//! trailers, properties, messages of policies and reasons. No reading command shows them as they are.

use crate::support::{PROVIDER, Ran, Sandbox, group};

use super::GOOD;

/// Clears the screen, colours, sets the title, and turns the text around.
const SUBJECT: &str = "su\u{1b}[2Jbj \u{1b}[8mhidden \u{202e}txet\u{2066} \u{9b}31m\u{7f}";
const AUTHOR: &str = "Ja\u{1b}[31mne\u{202e}";

/// As YAML writes them; no document may hold them as they are.
const ESCAPED: &str = "\\e[2J\\u202e\\x9b31m";

fn message() -> String {
    let body = format!("b\u{1b}]0;title\u{7}ody\r{SUBJECT}\n\n{SUBJECT}");
    format!("{SUBJECT}\n\n{body}\n\nDrover-Agent: {SUBJECT}\nReviewed-by: {AUTHOR}\n")
}

fn policy() -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Policy
metadata: {{name: few}}
spec:
  on: approve
  rules:
    - {{expression: 'change.replaces == 0', message: \"no {ESCAPED}\"}}
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {{name: few}}
spec: {{policy: few, selector: {{}}, enforcement: requireApproval, approvals: {{count: 1, from: [ann@example.com]}}}}
"
    )
}

/// The group with a command that differs by a word.
fn good(word: &str) -> String {
    let command = format!("[sh, -c, \"sleep 1000000 # {ESCAPED} {word}\"]");
    group("good", 1, &command, "")
}

/// Returns the first character that must not be shown.
fn obeyed(text: &str) -> Option<char> {
    let obeyed = |c: &char| {
        c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().find(obeyed)
}

#[track_caller]
fn is_harmless(ran: &Ran) {
    for (stream, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        assert_eq!(
            obeyed(text),
            None,
            "drover {}: {stream}: {text:?}",
            ran.what
        );
    }
}

/// The same of a coloured output, from which our own colours are taken away first.
#[track_caller]
fn is_coloured_only(ran: &Ran) {
    let mut text = format!("{}{}", ran.stdout, ran.stderr);
    for style in [
        "0", "1", "2", "3", "31", "32", "33", "34", "36", "91", "93", "94",
    ] {
        text = text.replace(&format!("\u{1b}[{style}m"), "");
    }
    assert_eq!(obeyed(&text), None, "drover {}: {text:?}", ran.what);
}

/// A fleet whose every commit was made by somebody hostile, with a change that waits for approval.
fn fleet() -> Sandbox {
    let policy = policy();
    let sandbox = Sandbox::with_files(&[PROVIDER]);
    sandbox.git("work", &["config", "user.name", AUTHOR]);
    sandbox.push(
        &message(),
        &[(GOOD, &good("one")), ("policies/few.yaml", &policy)],
    );
    sandbox.make_key("jane");
    sandbox.listen_to(&["jane"]);
    is_harmless(&sandbox.with_config(&["run", "--until-converged"]).exits(0));
    let key = sandbox.path("jane").display().to_string();
    let keep = ["keep", "good-1", "--because", "x \u{202e}y", "--key", &key];
    is_harmless(&sandbox.with_config(&keep));
    sandbox.push(&message(), &[(GOOD, &good("two"))]);
    is_harmless(&sandbox.with_config(&["run", "--once"]));
    // Somebody else wrote to the audit log too.
    let name = format!("user.name={AUTHOR}");
    let message = message();
    let commit = [
        "-c",
        &name,
        "-c",
        "user.email=eve@example.com",
        "commit-tree",
        "-p",
        "drover/state",
        "-m",
        &message,
        "drover/state^{tree}",
    ];
    let commit = sandbox.git("fleet.git", &commit);
    let to = ["update-ref", "refs/heads/drover/state", commit.trim()];
    sandbox.git("fleet.git", &to);
    sandbox
}

#[test]
fn no_reading_command_shows_what_a_terminal_would_obey() {
    let sandbox = fleet();
    let commands: &[&[&str]] = &[
        &["get", "groups"],
        &["get", "groups", "-o", "wide"],
        &["get", "instances"],
        &["get", "instances", "-o", "wide"],
        &["get", "policies", "-o", "wide"],
        &["get", "providers", "-o", "wide"],
        &["describe", "good"],
        &["describe", "good-1"],
        &["why", "good"],
        &["why", "good-1"],
        &["log"],
        &["log", "good"],
        &["log", "--oneline"],
        &["plan"],
        &["plan", "--base", "main~1", "--head", "main"],
        &["rollout", "status", "good"],
        &["simulate", "--base", "main~1", "--head", "main"],
        &["audit", "verify"],
        &["audit", "export"],
        &["replay"],
        &["policy", "explain", "good"],
        &["policy", "explain", "few", "good"],
        &["policy", "backtest"],
        &["scale", "good", "2", "--dry-run"],
        &["suspend", "good", "--dry-run"],
        &["rollback", "good", "--dry-run"],
    ];
    for arguments in commands {
        is_harmless(&sandbox.with_config(arguments));
        let colored = [&["--color", "always"], *arguments].concat();
        is_coloured_only(&sandbox.with_config(&colored));
        for format in ["json", "yaml", "markdown"] {
            // Where a command has no such format, its usage is checked.
            let formatted = [*arguments, &["--output", format]].concat();
            is_harmless(&sandbox.with_config(&formatted));
        }
    }
    let why = sandbox.with_config(&["why", "good"]).exits(0);
    let why = why.prints("by Ja\\u001b[31mne\\u202e <ada@example.com>: su\\u001b[2Jbj");
    let why = why.prints("ApprovalNeeded");
    assert!(why.stdout.matches("su\\u001b[2Jbj").count() > 2);
    let json = sandbox.with_config(&["why", "good", "-o", "json"]).exits(0);
    assert_eq!(json.json()["document"]["subject"], SUBJECT);
    assert!(
        json.json()["document"]["author"]
            .as_str()
            .unwrap()
            .starts_with(AUTHOR)
    );
    let log = sandbox.with_config(&["log"]).exits(0);
    log.prints("su\\u001b[2Jbj")
        .prints("Reviewed-by: Ja\\u001b[31mne");
    sandbox
        .with_config(&["audit", "export"])
        .exits(0)
        .prints("\\u202e");
    sandbox.with_config(&["plan"]).prints("ApprovalNeeded");
}
