use super::*;

/// A plugin of one file: a line for each start, and what it does with each call is in another file.
const PLUGIN: &str = r#"
import os, socket, sys, threading, time
path, starts, orders = sys.argv[1:]
with open(starts, "a") as file:
    file.write("%d %d\n" % (os.getpid(), os.getpgrp()))
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()

def order():
    with open(orders) as file:
        return file.read().strip()

def serve(connection):
    what = order()
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096)
    if what == "hang":
        time.sleep(3600)
    if what == "slow":
        time.sleep(0.2)
    body = b'{"jsonrpc":"2.0","result":{"Objects":{}},"id":1}'
    if what == "refuse":
        body = b'{"jsonrpc":"2.0","error":{"code":-32000,"message":"no"},"id":1}'
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(head + body)
    connection.close()

while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
"#;

/// A shell that waits for the plugin, and is its group's first process.
const WRAPPER: &str = r#"python3 "$1/plugin.py" "$0" "$1/starts" "$1/orders"; true"#;

const PATIENCE: Duration = Duration::from_mins(1);

const SHORT: Probe = Probe {
    interval: Duration::from_millis(50),
    limit: Duration::from_secs(1),
    failures: 3,
};

struct Supervised {
    folder: tempfile::TempDir,
    absences: Absences,
    supervisor: Supervisor,
}

impl Supervised {
    async fn start(order: &str, start_timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let mut args = vec![path("plugin.py"), "${socket}".to_owned()];
        args.extend([path("starts"), path("orders")]);
        Self::start_as(folder, "/usr/bin/python3", args, order, start_timeout).await
    }

    /// Starts it through a shell that waits for it.
    async fn start_wrapped(folder: tempfile::TempDir) -> Self {
        let args = ["-c", WRAPPER, "${socket}"].map(str::to_owned).to_vec();
        let args = [args, vec![folder.path().to_string_lossy().into_owned()]].concat();
        Self::start_as(folder, "/bin/sh", args, "answer", PATIENCE).await
    }

    async fn start_as(
        folder: tempfile::TempDir,
        program: &str,
        args: Vec<String>,
        order: &str,
        start_timeout: Duration,
    ) -> Self {
        fs::write(folder.path().join("plugin.py"), PLUGIN).unwrap();
        fs::write(folder.path().join("orders"), order).unwrap();
        let config = PluginConfig {
            name: "odd".to_owned(),
            program: program.into(),
            args,
            env: BTreeMap::new(),
            memory: None,
            start_timeout,
        };
        let sockets = Directory::new(folder.path().join("sockets"));
        let plugins = [config];
        let started = Supervisor::start_probed(&plugins, &sockets, folder.path(), SHORT);
        let supervisor = started.await.unwrap();
        let absences = sockets.absences().clone();
        Self {
            folder,
            absences,
            supervisor,
        }
    }

    /// Replaced at once, so that no call sees half of it.
    fn order(&self, order: &str) {
        let path = self.folder.path().join("orders");
        let new = self.folder.path().join("orders.new");
        fs::write(&new, order).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn starts(&self) -> usize {
        let starts = fs::read_to_string(self.folder.path().join("starts"));
        starts.unwrap_or_default().lines().count()
    }

    /// Returns the process of the latest start, and its group.
    fn latest(&self) -> (i32, i32) {
        latest(self.folder.path())
    }

    fn status(&self) -> PluginStatus {
        self.supervisor.states().all()["odd"]
    }

    async fn until(&self, what: &str, is: impl Fn(PluginStatus) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is(self.status()) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.status());
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_accepts_and_never_answers_is_started_again() {
    let plugin = Supervised::start("hang", Duration::from_secs(1)).await;
    assert!(!plugin.status().up);
    plugin
        .until("started again", |status| status.restarts >= 1)
        .await;
    plugin.order("answer");
    plugin.until("it answers", |status| status.up).await;
    let starts = plugin.starts();
    assert!(starts >= 2, "{starts}");
    plugin.supervisor.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_ends_at_once_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let plugin = Supervised::start_as(folder, "/bin/false", vec![], "", PATIENCE).await;
    assert!(!plugin.status().up);
    assert!(
        began.elapsed() < FIRST_WAIT_MAX * 4,
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_plugin_does_not_run_is_told_once_however_often_it_ends_and_until_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"echo "$$ at $(date +%N): no credentials" >&2
test "$(cat "$1/orders")" = answer && exec python3 "$1/plugin.py" "$0" "$1/starts" "$1/orders"
echo one more >> "$1/starts"; exit 3"#;
    let own = folder.path().to_string_lossy().into_owned();
    let args = ["-c", script, "${socket}", &own]
        .map(str::to_owned)
        .to_vec();
    let plugin = Supervised::start_as(folder, "/bin/sh", args, "crash", PATIENCE).await;
    let told = plugin.absences.of("odd").unwrap();
    let expected = "it ended with exit status 3; it is started again within 1m; its last words: ";
    let words = told.strip_prefix(expected).expect(&told);
    assert!(words.ends_with(": no credentials"), "{told}");
    plugin
        .until("started a third time", |status| status.restarts >= 2)
        .await;
    assert_eq!(plugin.absences.of("odd"), Some(told));
    plugin.order("answer");
    plugin.until("it answers", |status| status.up).await;
    assert_eq!(plugin.absences.of("odd"), None);
    plugin.supervisor.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_leaves_a_folder_or_a_link_where_its_socket_was_is_started_again() {
    for leaves in ["mkdir", "ln -s /nowhere"] {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("echo one more >> \"$1\"; {leaves} \"$0\"");
        let starts = folder.path().join("starts").to_string_lossy().into_owned();
        let args = vec!["-c".to_owned(), script, "${socket}".to_owned(), starts];
        let plugin = Supervised::start_as(folder, "/bin/sh", args, "", PATIENCE).await;
        let second = |status: PluginStatus| status.restarts >= 2;
        plugin.until("started a third time", second).await;
        assert!(plugin.starts() >= 2, "{leaves}: {}", plugin.starts());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_hangs_later_is_started_again() {
    let plugin = Supervised::start("answer", PATIENCE).await;
    assert_eq!((plugin.status().up, plugin.starts()), (true, 1));
    plugin.order("hang");
    plugin.until("it is down", |status| !status.up).await;
    plugin
        .until("started again", |status| status.restarts == 1)
        .await;
    plugin.order("answer");
    plugin.until("it answers", |status| status.up).await;
    assert_eq!((plugin.status().restarts, plugin.starts()), (1, 2));
    plugin.supervisor.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_slow_or_refuses_or_misses_one_question_goes_on() {
    let plugin = Supervised::start("slow", PATIENCE).await;
    for order in ["slow", "refuse", "hang", "answer"] {
        plugin.order(order);
        if order == "hang" {
            plugin.until("it misses one", |status| !status.up).await;
            continue;
        }
        plugin.until("it answers", |status| status.up).await;
        tokio::time::sleep(SHORT.interval * 10).await;
    }
    assert_eq!((plugin.status().up, plugin.status().restarts), (true, 0));
    assert_eq!(plugin.starts(), 1);
    plugin.supervisor.end().await;
}

fn latest(folder: &Path) -> (i32, i32) {
    let starts = fs::read_to_string(folder.join("starts")).unwrap_or_default();
    let last = starts.lines().last().and_then(|line| line.split_once(' '));
    last.map_or((0, 0), |(pid, group)| {
        (pid.parse().unwrap(), group.parse().unwrap())
    })
}

fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, state)| state);
    state.is_some_and(|state| !state.starts_with('Z'))
}

fn kill(pid: i32) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_whose_shell_is_killed_is_ended_and_started_again() {
    let plugin = Supervised::start_wrapped(tempfile::tempdir().unwrap()).await;
    let (before, shell) = plugin.latest();
    assert!(plugin.status().up && before != shell && lives(shell));
    kill(shell);
    plugin
        .until("it answers again", |status| {
            status.restarts == 1 && status.up
        })
        .await;
    let (after, _) = plugin.latest();
    assert!(after != before && !lives(before) && lives(after));
    plugin.supervisor.end().await;
    assert!(!lives(after), "the shell alone was ended");
}

/// Starts a plugin as an agent does that is killed afterwards, and waits until it listens.
fn left_behind(folder: &Path) -> std::process::Child {
    use std::os::unix::process::CommandExt as _;
    let (socket, records) = (folder.join("sockets/odd"), folder.join("plugins-started"));
    fs::create_dir(folder.join("sockets")).unwrap();
    fs::create_dir(&records).unwrap();
    fs::write(folder.join("plugin.py"), PLUGIN).unwrap();
    fs::write(folder.join("orders"), "answer").unwrap();
    let child = std::process::Command::new("/bin/sh")
        .args(["-c", WRAPPER])
        .args([&socket, folder])
        .env(SOCKET_VARIABLE, &socket)
        .process_group(0)
        .spawn()
        .unwrap();
    let left = Left::new(records.join("odd.json"), socket.clone());
    left.note(Pid::from_child(&child)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < deadline, "it does not listen");
        std::thread::sleep(PAUSE);
    }
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_agent_left_is_ended_with_all_of_its_group() {
    for shell_lives in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = left_behind(folder.path());
        let (before, _) = latest(folder.path());
        if !shell_lives {
            shell.kill().unwrap();
            shell.wait().unwrap();
        }
        assert!(lives(before));
        let plugin = Supervised::start_wrapped(folder).await;
        assert!(plugin.status().up, "shell lives: {shell_lives}");
        let (after, _) = plugin.latest();
        assert!(after != before && !lives(before) && lives(after));
        assert_eq!(plugin.status().restarts, 0);
        plugin.supervisor.end().await;
        // It may have been reaped already.
        let _ = shell.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_has_a_former_plugins_number_is_left_alone() {
    use std::os::unix::process::CommandExt as _;
    let folder = tempfile::tempdir().unwrap();
    let mut other = std::process::Command::new("/bin/sleep")
        .arg("3600")
        .process_group(0)
        .spawn()
        .unwrap();
    let record = folder.path().join("odd.json");
    let left = Left::new(record.clone(), folder.path().join("sockets/odd"));
    left.note(Pid::from_child(&other)).unwrap();
    let noted = fs::read_to_string(&record).unwrap();
    let mut noted: serde_json::Value = serde_json::from_str(&noted).unwrap();
    noted["started"] = (noted["started"].as_u64().unwrap() - 1).into();
    fs::write(&record, noted.to_string()).unwrap();
    left.end().await.unwrap();
    assert!(other.try_wait().unwrap().is_none() && !record.exists());
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_configured_no_more_is_ended_with_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = left_behind(folder.path());
    let (before, _) = latest(folder.path());
    let sockets = Directory::new(folder.path().join("other"));
    let supervisor = Supervisor::start(&[], &sockets, folder.path())
        .await
        .unwrap();
    assert!(!lives(before));
    // Where it listened once, though plugins listen elsewhere by now.
    assert!(!folder.path().join("sockets/odd").exists());
    assert!(!folder.path().join("plugins-started/odd.json").exists());
    supervisor.end().await;
    shell.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_nothing_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = left_behind(folder.path());
    let (before, group) = latest(folder.path());
    Supervisor::idle().end().await;
    assert!(lives(before));
    end_left(group).await;
    shell.wait().unwrap();
}

/// A record that was copied with its folder, or that an older drover wrote for another socket.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_folders_record_names_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = left_behind(folder.path());
    let (before, group) = latest(folder.path());
    let noted = fs::read_to_string(folder.path().join("plugins-started/odd.json")).unwrap();
    let mut noted: serde_json::Value = serde_json::from_str(&noted).unwrap();
    for older in [false, true] {
        if older {
            let noted = noted.as_object_mut().unwrap();
            assert!(noted.remove("owner").is_some() && noted.remove("socket").is_some());
        }
        let copy = tempfile::tempdir().unwrap();
        let record = copy.path().join("odd.json");
        fs::write(&record, noted.to_string()).unwrap();
        let other = Left::new(record.clone(), copy.path().join("odd"));
        other.end().await.unwrap();
        assert!(lives(before) && !record.exists(), "older: {older}");
        assert!(UnixStream::connect(folder.path().join("sockets/odd")).is_ok());
        // Whose socket it serves on may end it.
        if older {
            fs::write(&record, noted.to_string()).unwrap();
            let own = Left::new(record.clone(), folder.path().join("sockets/odd"));
            own.end().await.unwrap();
            assert!(!lives(before));
        }
    }
    end_left(group).await;
    shell.wait().unwrap();
}

async fn end_left(group: i32) {
    left::end_group(group).await.unwrap();
}
