//! `drover pr`: one comment that is edited in place, and a commit status, on three kinds of Git hosts.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{DROVER, Ran, Sandbox};

mod documents;
mod double;
mod jobs;
mod reviews;

use double::{Double, Fault, Kind};

const TOKEN: &str = "s3cret-t0ken";
const KINDS: [(Kind, &str); 3] = [
    (Kind::GitHub, "github"),
    (Kind::GitLab, "gitlab"),
    (Kind::Gitea, "gitea"),
];
const PROVIDER: (&str, &str) = (
    "providers/local.yaml",
    "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {name: local}\nspec: {type: simulated}\n",
);
const WEB: &str = "groups/web.yaml";

fn web(size: u32, image: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {{name: web}}\nspec:\n  provider: local\n  \
         size: {size}\n  template: {{properties: {{image: '{image}'}}}}\n"
    )
}

/// A policy that says something about large groups, and its binding.
fn limit(enforcement: &str, message: &str) -> (&'static str, String) {
    let text = format!(
        "apiVersion: drover/v1alpha1\nkind: Policy\nmetadata: {{name: small}}\nspec:\n  on: validate\n  rules:\n    \
         - {{expression: 'spec.size <= 4', message: '{message}'}}\n---\napiVersion: drover/v1alpha1\nkind: Binding\n\
         metadata: {{name: small}}\nspec: {{policy: small, selector: {{}}, enforcement: {enforcement}}}\n"
    );
    ("policies/small.yaml", text)
}

/// A clone in which branch `topic` proposes something, and the host that knows pull request 7 of it.
struct Pull {
    sandbox: Sandbox,
    host: Double,
    name: &'static str,
}

impl Pull {
    fn new(kind: (Kind, &'static str), before: &[(&str, &str)]) -> Self {
        let sandbox = Sandbox::with_files(before);
        let base = sandbox.git("work", &["rev-parse", "HEAD"]);
        sandbox.git("work", &["checkout", "--quiet", "-b", "topic"]);
        let host = Double::start(kind.0, TOKEN);
        base.trim().clone_into(&mut host.kept.lock().unwrap().base);
        Self {
            sandbox,
            host,
            name: kind.1,
        }
    }

    /// A fleet of three instances, of which there shall be `size` of another image.
    fn usual(kind: (Kind, &'static str)) -> Self {
        let pull = Self::new(kind, &[PROVIDER, (WEB, &web(3, "a"))]);
        pull.propose(&[(WEB, &web(5, "b"))]);
        pull
    }

    /// Commits to the branch.
    fn propose(&self, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            self.sandbox.write(&format!("work/{path}"), text);
        }
        self.sandbox.git("work", &["add", "--all"]);
        let commit = ["commit", "--quiet", "--allow-empty", "--message", "more"];
        self.sandbox.git("work", &commit);
        let head = self.sandbox.git("work", &["rev-parse", "HEAD"]);
        head.trim()
            .clone_into(&mut self.host.kept.lock().unwrap().head);
        head.trim().to_owned()
    }

    fn run(&self, more: &[&str]) -> Ran {
        let api = self.host.api();
        let source = self.sandbox.path("work").display().to_string();
        let mut arguments = vec!["pr", "7", "--forge", self.name, "--api", &api];
        for (option, usual) in [("--repository", "acme/fleet"), ("--source", &source)] {
            if !more.contains(&option) {
                arguments.extend([option, usual]);
            }
        }
        arguments.extend(more);
        let mut command = self.sandbox.command(&arguments);
        let output = command.env("DROVER_FORGE_TOKEN", TOKEN).output().unwrap();
        let ran = Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            what: arguments.join(" "),
        };
        assert!(!ran.stdout.contains(TOKEN), "{}", ran.stdout);
        assert!(!ran.stderr.contains(TOKEN), "{}", ran.stderr);
        ran
    }

    fn comments(&self) -> Vec<String> {
        let kept = self.host.kept.lock().unwrap();
        kept.comments.iter().map(|it| it.body.clone()).collect()
    }

    /// State and description of every status that was ever set.
    fn statuses(&self) -> Vec<(String, String)> {
        let kept = self.host.kept.lock().unwrap();
        let statuses = kept.statuses.iter();
        statuses
            .map(|it| (it.state.clone(), it.description.clone()))
            .collect()
    }
}

#[test]
fn one_comment_is_created_then_edited_and_a_status_set_only_when_it_changes() {
    for kind in KINDS {
        let pull = Pull::usual(kind);
        // More than a page of what others say, one of them in our words.
        for number in 0..130 {
            pull.host.wrote("eve", &format!("comment {number}"));
        }
        let forged = "<!-- drover:plan drover/plan -->\n**Plan: no changes**";
        pull.host.wrote("eve", forged);
        let ran = pull.run(&[]);
        assert_eq!(ran.code, Some(0), "{kind:?}: {}", ran.stderr);
        assert!(
            ran.stdout.contains("pull request 7: comment created"),
            "{}",
            ran.stdout
        );
        assert_eq!(pull.host.changes().len(), 2, "{kind:?}");
        let body = pull.comments().pop().unwrap();
        assert!(
            body.starts_with("<!-- drover:plan drover/plan -->"),
            "{body}"
        );
        assert!(body.contains("Plan: 2 to create, 3 to replace"), "{body}");
        assert!(
            body.contains("+ properties.image: \"b\"   # replace"),
            "{body}"
        );
        assert!(body.contains("Simulation: web converges in"), "{body}");

        let again = pull.run(&[]);
        assert!(
            again.stdout.contains("comment unchanged"),
            "{}",
            again.stdout
        );
        assert_eq!(pull.host.changes(), Vec::<String>::new(), "{kind:?}");

        pull.propose(&[(WEB, &web(4, "b"))]);
        let ran = pull.run(&[]);
        assert!(ran.stdout.contains("comment changed"), "{}", ran.stdout);
        let comments = pull.comments();
        assert_eq!(comments.len(), 132, "{kind:?}");
        assert_eq!(comments[130], forged, "{kind:?}: that comment is another's");
        assert!(
            comments[131].contains("Plan: 1 to create"),
            "{}",
            comments[131]
        );
        assert_eq!(pull.statuses().len(), 2, "{kind:?}: one for each commit");
        let (state, description) = pull.statuses().pop().unwrap();
        assert_eq!(state, "success");
        assert_eq!(
            description,
            "1 to create, 3 to replace, 0 to destroy in 1 of 1 group"
        );
    }
}

#[test]
fn a_denied_change_and_a_mistake_are_failures_that_say_why() {
    let kind = KINDS[1];
    let (path, policy) = limit("deny", "too large for @everyone <b>");
    let pull = Pull::new(kind, &[PROVIDER, (WEB, &web(3, "a")), (path, &policy)]);
    pull.propose(&[(WEB, &web(5, "a"))]);
    assert_eq!(pull.run(&[]).code, Some(3));
    let body = pull.comments().pop().unwrap();
    assert!(body.contains("1 denied by policy"), "{body}");
    assert!(
        !body.contains("@everyone") && !body.contains("<b>"),
        "{body}"
    );
    assert_eq!(pull.statuses().pop().unwrap().0, "failed");

    pull.propose(&[(WEB, &web(5, "a").replace("size:", "szie:"))]);
    let ran = pull.run(&[]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(pull.comments().len(), 1);
    let body = pull.comments().pop().unwrap();
    assert!(body.contains("did you mean `size`"), "{body}");
    assert!(pull.statuses().pop().unwrap().1.contains("is not valid"));

    // What must be approved may be merged: the agent waits.
    let (path, policy) = limit("requireApproval", "large");
    let pull = Pull::new(kind, &[PROVIDER, (WEB, &web(3, "a")), (path, &policy)]);
    pull.propose(&[(WEB, &web(5, "a"))]);
    assert_eq!(pull.run(&[]).code, Some(0));
    let body = pull.comments().pop().unwrap();
    assert!(
        body.contains("once the agent waits for it: `drover approve web`"),
        "{body}"
    );
    let (state, description) = pull.statuses().pop().unwrap();
    assert_eq!(state, "success");
    assert!(description.contains("1 must be approved"), "{description}");
}

#[test]
fn what_policies_say_before_and_after_a_change_is_told_once_and_denials_first() {
    let asks = "requireApproval, approvals: {count: 1, from: [ann@example.com]}";
    let (path, small) = limit(asks, "see https://evil.example and \"#1\"");
    let (_, other) = limit(asks, "too large");
    let other = other.replace("small", "tiny");
    let other = other.replace("'too large'", "\"too \\u202e large for @ann\"");
    let (_, denies) = limit("deny", "never");
    let denies = denies.replace("small", "zero");
    let before = [
        PROVIDER,
        (WEB, &web(3, "a")),
        (path, &small),
        ("policies/tiny.yaml", &other),
        ("policies/zero.yaml", &denies),
    ];
    let pull = Pull::new(KINDS[0], &before);
    // The clause has moved by a line, and says the same.
    let moved = format!("# moved\n{small}");
    let hidden = web(5, "a").replace("'a'", "\"b\\u202e\"");
    pull.propose(&[(WEB, &hidden), (path, &moved)]);
    let ran = pull.run(&["--no-rollout"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let body = pull.comments().pop().unwrap();
    for policy in ["small", "tiny", "zero"] {
        // In the list, and in the details.
        let told = body.matches(&format!("policy {policy} (policies/")).count();
        assert_eq!(told, 2, "{policy}\n{body}");
    }
    assert!(body.contains("(policies/small.yaml:8:"), "{body}");
    for part in body.split("<details>") {
        assert!(
            part.find("policy zero") < part.find("policy small"),
            "{part}"
        );
    }
    assert!(body.contains("PolicyDenied, ApprovalNeeded |"), "{body}");
    let hidden = |c: char| {
        c.is_control() && !matches!(c, '\r' | '\n') || ('\u{200b}'..='\u{206f}').contains(&c)
    };
    assert!(!body.contains(hidden), "{body:?}");
    assert!(body.contains("properties.image: \"b\\u202e\""), "{body}");
    for live in ["https://", "#1", "@ann"] {
        assert!(!body.contains(live), "{live}: {body}");
    }
}

#[test]
fn limits_are_honoured_and_a_lost_answer_makes_no_second_comment() {
    for (fault, least) in [
        (Fault::TooMany, 1),
        (Fault::Spent, 1),
        (Fault::BadGateway, 0),
    ] {
        let pull = Pull::usual(KINDS[0]);
        pull.host.kept.lock().unwrap().faults.push_back(Some(fault));
        let begun = Instant::now();
        let ran = pull.run(&["--no-rollout"]);
        assert_eq!(ran.code, Some(0), "{fault:?}: {}", ran.stderr);
        assert!(begun.elapsed() >= Duration::from_secs(least), "{fault:?}");
        assert_eq!(pull.comments().len(), 1, "{fault:?}");
    }
    let pull = Pull::usual(KINDS[0]);
    pull.host.kept.lock().unwrap().faults = vec![Some(Fault::TooMany); 2].into();
    let ran = pull.run(&["--timeout", "500ms"]);
    assert!(
        ran.stderr
            .contains("has had enough calls of this token for 1 second"),
        "{}",
        ran.stderr
    );
    for kind in KINDS {
        let pull = Pull::usual(kind);
        let before = calls_before_the_comment(&pull);
        let mut faults = vec![None; before];
        faults.push(Some(Fault::Lost));
        pull.host.kept.lock().unwrap().faults.extend(faults);
        let ran = pull.run(&["--no-rollout"]);
        assert_eq!(ran.code, Some(0), "{kind:?}: {}", ran.stderr);
        assert_eq!(pull.comments().len(), 1, "{kind:?}");
    }
}

#[test]
fn what_cannot_be_done_says_why_and_sends_the_token_nowhere_else() {
    let pull = Pull::usual(KINDS[2]);
    pull.host
        .kept
        .lock()
        .unwrap()
        .faults
        .push_back(Some(Fault::Moved));
    let ran = pull.run(&[]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("status 301: Moved Permanently"),
        "{}",
        ran.stderr
    );

    let pull = Pull::usual(KINDS[0]);
    let ran = pull.run(&["--token-file", "/dev/null"]);
    assert!(ran.stderr.contains("the token is empty"), "{}", ran.stderr);
    pull.sandbox.write("other", "another\n");
    let other = pull.sandbox.path("other").display().to_string();
    let ran = pull.run(&["--token-file", &other]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("status 401: Bad credentials"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("another"), "{}", ran.stderr);
    let ran = pull.run(&["--repository", "acme"]);
    assert!(
        ran.stderr.contains("looks like `owner/name`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn nothing_is_said_of_what_changes_nothing_is_closed_or_has_moved_on() {
    let pull = Pull::new(KINDS[0], &[PROVIDER, (WEB, &web(3, "a"))]);
    let first = pull.propose(&[("README.md", "words\n")]);
    let ran = pull.run(&[]);
    assert!(ran.stdout.contains("comment not needed"), "{}", ran.stdout);
    assert_eq!(pull.comments().len(), 0);
    assert_eq!(
        pull.statuses(),
        [("success".to_owned(), "no changes".to_owned())]
    );

    pull.propose(&[(WEB, &web(5, "a"))]);
    let ran = pull.run(&["--head", &first]);
    assert!(ran.stderr.contains("has moved on to"), "{}", ran.stderr);
    assert_eq!(pull.comments().len(), 0);

    // It changes something and then no longer: the comment that is there says so.
    pull.run(&[]);
    pull.propose(&[(WEB, &web(3, "a"))]);
    pull.run(&[]);
    let comments = pull.comments();
    assert_eq!(comments.len(), 1);
    assert!(comments[0].contains("Plan: no changes"), "{}", comments[0]);

    pull.host.kept.lock().unwrap().closed = true;
    pull.propose(&[(WEB, &web(5, "a"))]);
    let ran = pull.run(&[]);
    assert!(ran.stderr.contains("is closed"), "{}", ran.stderr);
    assert!(pull.comments()[0].contains("Plan: no changes"));
}

#[test]
fn the_token_of_an_app_edits_the_comment_of_that_app_and_no_other() {
    let pull = Pull::usual(KINDS[0]);
    let forged = "<!-- drover:plan drover/plan -->\nforged";
    pull.host.wrote("other-app[bot]", forged);
    {
        let mut kept = pull.host.kept.lock().unwrap();
        (kept.me, kept.viewer) = (None, Some("our-app[bot]".to_owned()));
    }
    for comment in ["created", "unchanged"] {
        let ran = pull.run(&[]);
        let told = format!("comment {comment}");
        assert!(ran.stdout.contains(&told), "{}", ran.stdout);
    }
    let authors = |pull: &Pull| -> Vec<String> {
        let kept = pull.host.kept.lock().unwrap();
        kept.comments.iter().map(|it| it.author.clone()).collect()
    };
    assert_eq!(authors(&pull), ["other-app[bot]", "our-app[bot]"]);
    assert_eq!(pull.comments()[0], forged);
    // A host that does not tell: a program wrote it, and no person.
    pull.host.kept.lock().unwrap().viewer = None;
    let ran = pull.run(&[]);
    assert!(ran.stdout.contains("comment changed"), "{}", ran.stdout);
    assert_eq!(authors(&pull).len(), 2);
    assert!(
        pull.comments()[0].contains("Plan: "),
        "{}",
        pull.comments()[0]
    );
}

#[test]
fn a_job_needs_no_options_and_a_token_that_does_not_know_its_name() {
    let pull = Pull::usual(KINDS[0]);
    let head = pull.host.kept.lock().unwrap().head.clone();
    pull.host.kept.lock().unwrap().me = None;
    pull.host
        .wrote("eve", "<!-- drover:plan drover/plan -->\nforged");
    let event = format!(r#"{{"pull_request": {{"number": 7, "head": {{"sha": "{head}"}}}}}}"#);
    pull.sandbox.write("event.json", &event);
    for comment in ["created", "unchanged"] {
        let mut command = pull.sandbox.command(&["pr"]);
        let output = command
            .current_dir(pull.sandbox.path("work"))
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_API_URL", pull.host.api())
            .env("GITHUB_REPOSITORY", "acme/fleet")
            .env("GITHUB_EVENT_PATH", pull.sandbox.path("event.json"))
            .env("GITHUB_TOKEN", TOKEN)
            .output()
            .unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.contains(&format!("comment {comment}")), "{stdout}");
    }
    assert_eq!(pull.comments().len(), 2);
}

#[test]
fn it_is_compared_with_where_its_branch_began() {
    let pull = Pull::usual(KINDS[0]);
    pull.sandbox.git("work", &["checkout", "--quiet", "main"]);
    let newer = web(3, "a").replace("name: web", "name: api");
    let main = pull.sandbox.push("api", &[("groups/api.yaml", &newer)]);
    pull.host.kept.lock().unwrap().base = main;
    let ran = pull.run(&["--dry-run"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("in 1 of 1 group"), "{}", ran.stdout);
    assert!(ran.stdout.contains("has moved on to"), "{}", ran.stdout);
    assert_eq!(pull.comments().len(), 0, "a dry run sends nothing");

    // A clone without the history cannot tell.
    let (from, to) = (pull.sandbox.path("work"), pull.sandbox.path("shallow"));
    let url = format!("file://{}", from.display());
    let to_text = to.display().to_string();
    let clone = [
        "clone", "--quiet", "--depth", "1", "--branch", "topic", &url, &to_text,
    ];
    pull.sandbox.git(".", &clone);
    let ran = pull.run(&["--source", &to_text]);
    assert!(ran.stderr.contains("fetch-depth: 0"), "{}", ran.stderr);
}

/// How many calls a run makes until the comment is sent. The comment is forgotten again.
fn calls_before_the_comment(pull: &Pull) -> usize {
    pull.run(&["--no-rollout", "--no-status"]);
    let mut kept = pull.host.kept.lock().unwrap();
    kept.comments.clear();
    let calls = std::mem::take(&mut kept.calls);
    let sent = calls.iter().position(|call| call.starts_with("POST "));
    sent.unwrap()
}

/// The commands of the guide's console blocks, a block for each, with what is fed to them.
fn commands(guide: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        if line != "```console" {
            continue;
        }
        let block = lines.by_ref().take_while(|line| *line != "```");
        let block: Vec<&str> = block.map(|line| line.trim_start_matches("$ ")).collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

#[test]
fn the_guide_leads_from_an_empty_folder_to_an_approved_change() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/pull-requests.md");
    let guide = std::fs::read_to_string(root).unwrap();
    let sandbox = Sandbox::new();
    let binaries = Path::new(DROVER).parent().unwrap().display();
    let blocks = commands(&guide).into_iter().enumerate();
    let blocks: Vec<String> = blocks
        .map(|(number, block)| format!("echo \"=== part {number}\"\n{block}\n"))
        .collect();
    let script = format!("set -eu\nPATH={binaries}:$PATH\n{}", blocks.concat());
    sandbox.write("guide.sh", &script);
    let output = sandbox
        .hermetic("bash", ".")
        .arg("guide.sh")
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let parts: Vec<&str> = stdout.split("=== part ").collect();
    let part = |number: usize| parts[number + 1];
    let proposed = part(3);
    assert!(proposed.contains("1 must be approved"), "{proposed}");
    assert!(proposed.contains("hello converges in"), "{proposed}");
    let (_, id) = proposed.split_once("- change `").unwrap();
    let (id, _) = id.split_once('`').unwrap();
    // The agent waits for the very change that the comment names, and is let go on by it.
    assert!(
        part(4).contains(&format!("change {} needs 1 approval", &id[..12])),
        "{}",
        part(4)
    );
    let after = part(6);
    assert!(after.contains(&format!("Drover-Plan: {id}")), "{after}");
    assert!(
        after.contains("Drover-Approved-By: tom@example.com"),
        "{after}"
    );
    assert!(after.contains("hello: reproduced"), "{after}");
}
