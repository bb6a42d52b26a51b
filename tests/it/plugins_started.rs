//! Plugins that the agent starts: limited, watched, ended with it, and what a killed agent leaves of them.

use std::fs;

use crate::plugin::{PYTHON, WEB, fixture, group, machines, made, order, sandbox};
use crate::support::{PATIENCE, Sandbox, holds, wait_until};

/// The agent's file with plugins that it starts.
fn configure_start(sandbox: &Sandbox, start: &str, more: &str) {
    sandbox.configure("");
    let path = sandbox.path("agent.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let dir = sandbox.path("plugins").display().to_string();
    let text = text
        .replace("allow: [process]", "allow: [plugin]")
        .replace("listen: 'off'", more);
    fs::write(
        path,
        format!("{text}plugins:\n  dir: '{dir}'\n  start:\n{start}"),
    )
    .unwrap();
}

fn start_file(sandbox: &Sandbox) -> String {
    let script = fixture("infrakit_file.py").display().to_string();
    let machines = sandbox.path("machines").display().to_string();
    format!(
        "    - {{name: file, command: [{PYTHON}, '{script}', '${{socket}}', '{machines}'], env: {{PLUGIN_MARK: '{machines}'}}, memory: 512MiB}}\n"
    )
}

/// The running plugins of a sandbox: process ids and whole environments.
fn running(sandbox: &Sandbox) -> Vec<(i32, String)> {
    let mark = format!("PLUGIN_MARK={}", sandbox.path("machines").display());
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let environment = |pid: i32| {
        Some((
            pid,
            fs::read_to_string(format!("/proc/{pid}/environ")).ok()?,
        ))
    };
    pids.filter_map(environment)
        .filter(|(_, environment)| environment.contains(&mark))
        .collect()
}

/// What the agent serves as its metrics.
fn metrics(port: u16) -> String {
    let request = "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    answer
}

#[test]
fn a_plugin_of_the_agents_file_is_started_limited_restarted_and_ended_with_it() {
    let sandbox = sandbox(1);
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    configure_start(
        &sandbox,
        &start_file(&sandbox),
        &format!("listen: '127.0.0.1:{port}'"),
    );
    let metrics = || metrics(port);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    let [(pid, environment)] = running(&sandbox).try_into().unwrap();
    let names: Vec<&str> = environment
        .split('\0')
        .filter_map(|entry| entry.split('=').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        names,
        [
            "DROVER_PLUGIN_SOCKET",
            "HOME",
            "LANG",
            "PATH",
            "PLUGIN_MARK"
        ],
        "nothing of the agent's own"
    );
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let memory = limits
        .lines()
        .find(|line| line.starts_with("Max address space"))
        .unwrap();
    assert!(memory.contains("536870912"), "{memory}");
    assert!(metrics().contains("drover_plugin_up{plugin=\"file\"} 1"));
    assert!(metrics().contains("drover_plugin_restarts_total{plugin=\"file\"} 0"));

    // Killed in the middle of a call: started again, and nothing is made twice.
    order(&sandbox, "die-after");
    sandbox.push("more", &[(WEB, &group(2, "one"))]);
    sandbox.wait_converged("web", 2);
    assert_eq!((machines(&sandbox).len(), made(&sandbox)), (2, 2));
    let again = running(&sandbox);
    assert!(again.len() == 1 && again[0].0 != pid, "{again:?}");
    assert!(metrics().contains("drover_plugin_restarts_total{plugin=\"file\"} 1"));
    assert!(
        sandbox
            .agent_log()
            .contains("plugin ended plugin=\"file\" error=\"it ended with exit status 9")
    );

    // A killed agent leaves it behind, and the next one ends it before it starts its own.
    let left = running(&sandbox)[0].0;
    agent.kill();
    assert_eq!(running(&sandbox)[0].0, left);
    let agent = sandbox.agent();
    sandbox.push("more", &[(WEB, &group(3, "one"))]);
    sandbox.wait_converged("web", 3);
    let now = running(&sandbox);
    assert!(now.len() == 1 && now[0].0 != left, "{now:?}");

    assert_eq!(agent.stop(), Some(0));
    assert!(running(&sandbox).is_empty());
    assert!(
        !sandbox.path("plugins/file").exists(),
        "its socket is gone with it"
    );
    assert_eq!(machines(&sandbox).len(), 3, "its machines are not");
}

#[test]
fn a_plugin_is_limited_before_it_runs() {
    let sandbox = sandbox(1);
    let limited = ["plugin-limited", "67108864", "/bin/sh", "-c"];
    let ran =
        sandbox.drover(&[&limited[..], &["ulimit -v; echo $$ \"$0\"; exit 3", "x y"]].concat());
    let ran = ran.exits(3);
    assert!(ran.stdout.starts_with("65536\n"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with(" x y\n"), "{}", ran.stdout);
    let missing = ["plugin-limited", "67108864", "/nonexistent/plugin"];
    let missing = sandbox.drover(&missing).exits(127);
    missing.says("cannot start /nonexistent/plugin: No such file");

    // With the agent's own words, and for a program that is larger than it may be.
    let start = "    - {name: file, command: [/usr/bin/python3, -c, 'x = bytearray(99 << 20)'], memory: 64MiB}
    - {name: missing, command: [/nonexistent/plugin], memory: 64MiB}\n";
    configure_start(&sandbox, start, "listen: 'off'");
    let agent = sandbox.agent();
    for told in [
        "plugin ended plugin=\"file\" error=\"it ended with exit status 1; its last words: Traceback",
        "MemoryError",
        "plugin ended plugin=\"missing\" error=\"it ended with exit status 127; its last words: cannot start /nonexistent/plugin",
    ] {
        wait_until(told, PATIENCE, || sandbox.agent_log().contains(told));
    }
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn plugins_that_cannot_start_are_told_with_their_words_and_hold_only_their_groups() {
    let sandbox = sandbox(1);
    let start =
        "    - {name: file, command: [/bin/sh, -c, 'echo $$ has no credentials >&2; exit 3']}
    - {name: deaf, command: [/bin/sleep, infinity], startTimeout: 100ms}
    - {name: missing, command: [/nonexistent/plugin]}\n";
    configure_start(&sandbox, start, "listen: 'off'");
    let agent = sandbox.agent();
    for told in [
        "plugin ended plugin=\"file\" error=\"it ended with exit status 3; its last words: ",
        " has no credentials\" retry_ms=1000",
        " has no credentials\" retry_ms=2000",
        "plugin ended plugin=\"deaf\" error=\"it did not listen within 100ms\"",
        "plugin ended plugin=\"missing\" error=\"cannot start /nonexistent/plugin: No such file or directory",
    ] {
        wait_until(told, PATIENCE, || sandbox.agent_log().contains(told));
    }
    let web = sandbox.wait_for("web", "the hold", |web| holds(web) == ["ProviderMissing"]);
    let shown = sandbox.with_config(&["describe", "web"]).exits(0);
    shown.prints("Size:        no document in force yet, 0 in total");
    let groups = sandbox.with_config(&["get", "groups"]).exits(0);
    groups.prints("web    Held    -      0 ");
    let known = sandbox.with_config(&["get", "providers"]).exits(0);
    known
        .prints("local   plugin   failing since 20")
        .prints("it ended with exit status 3");
    let said = web["holds"][0]["message"].as_str().unwrap_or_default();
    let ended = "provider local: the provider could not be opened (unknown): plugin file: Handshake.Hello: it ended with exit status 3; it is started again within 1m; its last words: ";
    assert!(
        said.starts_with(ended) && said.ends_with(" has no credentials"),
        "{web}"
    );
    // Its next ends have another process id in their words, and are no news.
    let commits = || sandbox.git("fleet.git", &["rev-list", "--count", "drover/state"]);
    let before = commits();
    let third = " has no credentials\" retry_ms=4000";
    wait_until(third, PATIENCE, || sandbox.agent_log().contains(third));
    sandbox.with_config(&["reconcile"]).exits(0);
    assert_eq!(commits(), before);
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_plan_without_an_agent_starts_what_it_asks_and_says_of_what_it_knows_nothing() {
    let sandbox = sandbox(1);
    configure_start(&sandbox, &start_file(&sandbox), "listen: 'off'");
    let plan = |more: &[&str]| sandbox.with_config(&[&["plan"], more].concat()).exits(0);
    plan(&[]).prints("web: new, create 1");
    assert!(running(&sandbox).is_empty(), "ended with the plan");
    assert!(!sandbox.path("plugins/file").exists());
    assert_eq!(machines(&sandbox).len(), 0);

    let path = sandbox.path("agent.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let (head, _) = text.split_once("  start:\n").unwrap();
    let fails =
        "  start:\n    - {name: file, command: [/bin/sh, -c, 'echo no credentials >&2; exit 3']}\n";
    fs::write(&path, format!("{head}{fails}")).unwrap();
    plan(&[])
        .prints("web: not known, as its provider could not be asked\n")
        .prints("it ended with exit status 3; it is started again within 1m; its last words: no credentials")
        .prints("Plan: nothing is known of 1 of 1 group, whose provider could not be asked\n");
    let told = plan(&["-o", "json"]).json();
    assert_eq!(told["items"][0]["unseen"], true);
    sandbox
        .with_config(&["plan", "--detailed-exitcode"])
        .exits(2);
}

#[test]
fn what_the_agent_knows_of_its_providers_is_shown() {
    let sandbox = sandbox(1);
    configure_start(&sandbox, &start_file(&sandbox), "listen: 'off'");
    let get = |what: &str| sandbox.with_config(&["get", what]).exits(0);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    get("providers").prints("local   plugin   listed   web ");
    fs::write(sandbox.path("machines/fault"), "hang").unwrap();
    wait_until("it fails", PATIENCE, || {
        let shown = get("providers").stdout;
        shown.contains(" failing since 20") && shown.contains("no answer within 5s")
    });
    assert_eq!(agent.stop(), Some(0));
    get("providers").prints("local   plugin   unknown   web ");
}

#[test]
fn what_a_killed_agent_leaves_of_its_plugins_is_ended_by_the_next_one_with_its_group() {
    let sandbox = sandbox(1);
    // A shell that waits for the plugin, and is its group's first process.
    let wrapped = start_file(&sandbox).replace(
        &format!("command: [{PYTHON}, "),
        &format!("command: [/bin/sh, -c, '{PYTHON} \"$0\" \"$@\"; true', "),
    );
    configure_start(&sandbox, &wrapped, "listen: 'off'");
    let mut agent = sandbox.agent();
    sandbox.wait_converged("web", 1);
    for (size, shell_lives) in [(2, true), (3, false)] {
        let left: Vec<i32> = running(&sandbox).into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(left.len(), 2, "the shell and the plugin");
        agent.kill();
        // Nobody calls it any more, and it goes on: nothing of it hangs on the agent.
        let after: Vec<i32> = running(&sandbox).into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(after, left);
        if !shell_lives {
            let shell = left
                .iter()
                .min()
                .copied()
                .and_then(rustix::process::Pid::from_raw);
            rustix::process::kill_process(shell.unwrap(), rustix::process::Signal::KILL).unwrap();
            wait_until("the shell to end", PATIENCE, || {
                running(&sandbox).len() == 1
            });
        }
        sandbox.push("more", &[(WEB, &group(size, "one"))]);
        agent = sandbox.agent();
        sandbox.wait_converged("web", u64::from(size));
        let now: Vec<i32> = running(&sandbox).into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(now.len(), 2, "{now:?} after {left:?}");
        assert!(
            now.iter().all(|pid| !left.contains(pid)),
            "{now:?} after {left:?}"
        );
        assert!(
            sandbox
                .agent_log()
                .contains("plugin of a former agent is ended")
        );
    }
    assert_eq!((machines(&sandbox).len(), made(&sandbox)), (3, 3));
    assert_eq!(agent.stop(), Some(0));
    assert!(running(&sandbox).is_empty());
}
