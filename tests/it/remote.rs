//! A repository on another machine: `git http-backend` on loopback, with credentials.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::git_daemon::GitDaemon;
use crate::http_backend::{Canned, HttpBackend};
use crate::support::{
    Agent, IDLE, PATIENCE, PROVIDER, Sandbox, converged, group, instances, kill, wait_until,
};

const WEB: &str = "groups/web.yaml";

/// How many agents follow one repository.
const AGENTS: usize = 10;

/// Serves the sandbox's repository to people and agents that know the password.
fn serve(sandbox: &Sandbox) -> HttpBackend {
    sandbox.git("fleet.git", &["config", "http.receivepack", "true"]);
    sandbox.write("secret/user", "agent\n");
    sandbox.write("secret/password", "tulip\n");
    let server = HttpBackend::start(&sandbox.path("."));
    server.require("agent", "tulip");
    server
}

/// Writes the file of an agent with this name, and returns its name in the sandbox.
fn configure(sandbox: &Sandbox, server: &HttpBackend, name: &str) -> String {
    let file = if name == "test" {
        "agent.yaml".to_owned()
    } else {
        format!("{name}.yaml")
    };
    let path = |path: &str| sandbox.path(path).display().to_string();
    let text = format!(
        "name: {name}\n\
         source: {{url: '{}', interval: 1s}}\n\
         state: {{branch: state/{name}}}\n\
         dataDir: '{}'\n\
         listen: 'off'\n\
         providers: {{allow: [process]}}\n\
         credentials: {{source: {{usernameFile: '{}', passwordFile: '{}'}}}}\n",
        server.url("fleet.git"),
        path(&format!("data-{name}")),
        path("secret/user"),
        path("secret/password"),
    );
    sandbox.write(&file, &text);
    file
}

fn sandbox(size: u32) -> Sandbox {
    Sandbox::with_files(&[PROVIDER, (WEB, &group("web", size, IDLE, ""))])
}

/// The subject of the newest commit that an agent has pushed.
fn newest(sandbox: &Sandbox, name: &str) -> String {
    let branch = format!("refs/heads/state/{name}");
    let subject = sandbox.git(
        "fleet.git",
        &["for-each-ref", "--format=%(subject)", &branch],
    );
    subject.trim().to_owned()
}

#[test]
fn an_agent_follows_a_repository_on_another_machine_and_pushes_what_it_did() {
    let sandbox = sandbox(2);
    let server = serve(&sandbox);
    configure(&sandbox, &server, "test");
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    sandbox.push("three", &[(WEB, &group("web", 3, IDLE, ""))]);
    sandbox.wait_converged("web", 3);
    assert_eq!(sandbox.processes().len(), 3);
    // What waits for the next push goes out with the end at the latest.
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(newest(&sandbox, "test"), "web: converged, 3 available");
    sandbox.git("fleet.git", &["fsck", "--strict"]);
    let accepted = server.take_requests();
    assert!(accepted.iter().any(|request| request.status == 200));
    let mut strangers = accepted.iter().filter(|request| !request.authorized);
    assert!(strangers.all(|seen| seen.status == 401), "{accepted:?}");
    assert!(!sandbox.agent_log().contains("tulip"));
}

#[test]
fn a_repository_that_is_down_stops_neither_healing_nor_the_record_of_it() {
    let sandbox = sandbox(2);
    let server = serve(&sandbox);
    configure(&sandbox, &server, "test");
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    server.intercept(|_, _| {
        Some(Canned {
            status: 503,
            headers: Vec::new(),
            body: b"down for maintenance".to_vec(),
        })
    });
    wait_until("a hold that says so", PATIENCE, || {
        sandbox.agent_log().contains("SourceUnavailable")
    });
    let (pid, id) = sandbox.processes().into_iter().next().unwrap();
    kill(pid, Signal::KILL);
    sandbox.wait_for("web", "the replacement", |group| {
        !instances(group).contains(&id) && sandbox.processes().len() == 2
    });
    server.intercept(|_, _| None);
    sandbox.wait_for("web", "the end of the hold", |group| {
        converged(group, 2) && !instances(group).contains(&id)
    });
    assert_eq!(agent.stop(), Some(0));
    let recorded = sandbox.git("fleet.git", &["show", "state/test:groups/web.yaml"]);
    assert!(!recorded.contains(&format!("{id}:")), "{recorded}");
}

/// Somebody deletes the state branch: whatever the agent does meanwhile, it is there again, whole.
#[track_caller]
fn survives_a_lost_state_branch(sandbox: &Sandbox, branch: &str) {
    let name = format!("refs/heads/{branch}");
    let there = |path: &str| {
        let file = format!("{branch}:{path}");
        let mut git = sandbox.hermetic("git", "fleet.git");
        git.args(["cat-file", "-e", &file])
            .output()
            .unwrap()
            .status
            .success()
    };
    let recorded = ["agents/test.json", "groups/web.yaml", "inputs/web.json"];
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    wait_until("the record", PATIENCE, || {
        recorded.iter().all(|path| there(path))
    });
    sandbox.git("fleet.git", &["update-ref", "-d", &name]);
    sandbox.push("three", &[(WEB, &group("web", 3, IDLE, ""))]);
    sandbox.wait_converged("web", 3);
    wait_until("the branch", PATIENCE, || {
        recorded.iter().all(|path| there(path))
    });
    assert!(
        !sandbox.agent_log().contains("EpochConflict"),
        "{}",
        sandbox.agent_log()
    );
    assert_eq!(agent.stop(), Some(0));
    // The same while it is away.
    sandbox.git("fleet.git", &["update-ref", "-d", &name]);
    let agent = sandbox.agent();
    wait_until("the branch again", PATIENCE, || {
        recorded.iter().all(|path| there(path))
    });
    sandbox.push("one", &[(WEB, &group("web", 1, IDLE, ""))]);
    sandbox.wait_converged("web", 1);
    assert_eq!(agent.stop(), Some(0));
    sandbox.git("fleet.git", &["fsck", "--strict"]);
}

#[test]
fn a_state_branch_that_somebody_deletes_is_published_again() {
    let sandbox = sandbox(2);
    survives_a_lost_state_branch(&sandbox, "drover/state");
}

#[test]
fn a_state_branch_that_somebody_deletes_on_another_machine_is_published_again() {
    let sandbox = sandbox(2);
    let server = serve(&sandbox);
    configure(&sandbox, &server, "test");
    survives_a_lost_state_branch(&sandbox, "state/test");
}

#[test]
fn what_git_daemon_serves_is_read_with_a_warning_and_no_agent_runs_on_it() {
    let sandbox = sandbox(2);
    sandbox.with_config(&["run", "--until-converged"]).exits(0);
    let daemon = GitDaemon::start(&sandbox.path("."));
    let url = daemon.url("fleet.git");
    let source = format!("--source={url}");
    let ran = sandbox.drover(&["get", "groups", &source, "--data-dir", "elsewhere"]);
    let ran = ran.exits(0);
    assert!(ran.stdout.contains("web"), "{}", ran.stdout);
    assert!(
        ran.stderr.contains("nothing authenticates"),
        "{}",
        ran.stderr
    );
    let agent = std::fs::read_to_string(sandbox.path("agent.yaml")).unwrap();
    let local = sandbox.path("fleet.git").display().to_string();
    sandbox.write("agent.yaml", &agent.replace(&local, &url));
    let ran = sandbox.with_config(&["run", "--once"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let told = "can only be read, and an agent pushes what it records";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    let ran = sandbox.with_config(&["run", "--once", "--dry-run"]);
    assert!(ran.stdout.contains("web"), "{}\n{}", ran.stdout, ran.stderr);
    let ran = sandbox.with_config(&["scale", "web", "3"]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("can only be read"), "{}", ran.stderr);
}

/// How long the host below wants to be left alone.
const LEFT_ALONE: Duration = Duration::from_secs(4);

#[test]
fn a_host_that_wants_fewer_pushes_is_left_alone_and_gets_everything_later() {
    let sandbox = sandbox(2);
    let server = serve(&sandbox);
    configure(&sandbox, &server, "test");
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    wait_until("the first record", PATIENCE * 2, || {
        newest(&sandbox, "test") == "web: converged, 2 available"
    });
    let seen: Arc<Mutex<Vec<(Instant, bool)>>> = Arc::default();
    let seeing = Arc::clone(&seen);
    server.intercept(move |_, target| {
        let mut seen = seeing.lock().unwrap();
        let declined =
            target.contains("receive-pack") && !seen.iter().any(|(_, declined)| *declined);
        seen.push((Instant::now(), declined));
        declined.then(|| Canned {
            status: 429,
            headers: vec![("Retry-After".to_owned(), LEFT_ALONE.as_secs().to_string())],
            body: b"too many pushes".to_vec(),
        })
    });
    sandbox.push("three", &[(WEB, &group("web", 3, IDLE, ""))]);
    wait_until("what people are told", PATIENCE * 2, || {
        let told = sandbox.with_config(&["get", "groups"]).stderr;
        told.contains("the state branch cannot be written") && told.contains("asks to wait until")
    });
    // What is recorded waits; what is done does not.
    sandbox.wait_for("web", "the third", |group| converged(group, 3));
    wait_until("the record of it", PATIENCE * 2, || {
        newest(&sandbox, "test") == "web: converged, 3 available"
    });
    // The record is there before the agent has heard that it is.
    wait_until("an end of what people are told", PATIENCE, || {
        let told = sandbox.with_config(&["get", "groups"]).stderr;
        !told.contains("asks to wait until")
    });
    assert_eq!(agent.stop(), Some(0));
    let seen = seen.lock().unwrap();
    let declined = seen.iter().position(|(_, declined)| *declined).unwrap();
    let pause = seen[declined + 1].0.duration_since(seen[declined].0);
    assert!(pause >= LEFT_ALONE, "asked again after {pause:?}");
    let log = sandbox.agent_log();
    assert!(log.contains("the remote wants fewer pushes"), "{log}");
    assert!(log.contains("per_hour=180"), "{log}");
}

#[test]
fn ten_agents_that_push_to_one_repository_lose_nothing() {
    let sandbox = sandbox(1);
    let server = serve(&sandbox);
    let names: Vec<String> = (0..AGENTS).map(|number| format!("edge-{number}")).collect();
    let agents: Vec<Agent> = names
        .iter()
        .map(|name| {
            let file = configure(&sandbox, &server, name);
            sandbox.agent_of(&file)
        })
        .collect();
    let recorded = |subject: &str| {
        wait_until(subject, PATIENCE * 2, || {
            names.iter().all(|name| newest(&sandbox, name) == subject)
        });
    };
    recorded("web: converged, 1 available");
    assert_eq!(sandbox.processes().len(), AGENTS);
    sandbox.push("two", &[(WEB, &group("web", 2, IDLE, ""))]);
    recorded("web: converged, 2 available");
    assert_eq!(sandbox.processes().len(), 2 * AGENTS);
    for agent in agents {
        assert_eq!(agent.stop(), Some(0));
    }
    sandbox.git("fleet.git", &["fsck", "--strict"]);
    for name in &names {
        let branch = format!("state/{name}");
        let log = sandbox.git("fleet.git", &["log", "--format=%s", &branch]);
        for size in [1, 2] {
            let told = format!("web: converged, {size} available");
            assert_eq!(log.matches(&told).count(), 1, "{name}:\n{log}");
        }
    }
}

#[test]
fn credentials_are_not_sent_where_anybody_could_read_them() {
    let sandbox = sandbox(1);
    let why = "credentials are sent over https only";
    for login in ["t0kenword@", "me:t0kenword@"] {
        let source = format!("--source=http://{login}git.example.com/fleet.git");
        let ran = sandbox.drover(&["get", "groups", &source, "--data-dir", "data"]);
        let ran = ran.exits(64).says(why);
        assert!(!ran.stderr.contains("t0kenword"), "{}", ran.stderr);
    }
    let agent = std::fs::read_to_string(sandbox.path("agent.yaml")).unwrap();
    let local = sandbox.path("fleet.git").display().to_string();
    sandbox.write("token", "t0kenword\n");
    let token = sandbox.path("token").display().to_string();
    let with =
        |url: &str, more: &str| sandbox.write("agent.yaml", &(agent.replace(&local, url) + more));
    with(
        "http://git.example.com/fleet.git",
        &format!("credentials: {{source: {{tokenFile: '{token}'}}}}\n"),
    );
    let ran = sandbox.with_config(&["get", "groups"]).exits(1);
    ran.says("`url` must begin with https://")
        .says("agent.yaml:2:");
    with("http://me:t0kenword@git.example.com/fleet.git", "");
    let ran = sandbox.with_config(&["get", "groups"]).exits(64).says(why);
    assert!(!ran.stderr.contains("t0kenword"), "{}", ran.stderr);
}
