use super::*;

/// A plugin of one file: a line for each start, and what it does with each call is in another file.
const PLUGIN: &str = r#"
import os, socket, sys, threading, time
path, starts, orders = sys.argv[1:]
with open(starts, "a") as file:
    file.write("started\n")
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

const PATIENCE: Duration = Duration::from_mins(1);

const SHORT: Probe = Probe {
    interval: Duration::from_millis(50),
    limit: Duration::from_secs(1),
    failures: 3,
};

struct Supervised {
    folder: tempfile::TempDir,
    supervisor: Supervisor,
}

impl Supervised {
    async fn start(order: &str, start_timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        fs::write(path("plugin.py"), PLUGIN).unwrap();
        fs::write(path("orders"), order).unwrap();
        let config = PluginConfig {
            name: "odd".to_owned(),
            program: "/usr/bin/python3".into(),
            args: vec![
                path("plugin.py"),
                "${socket}".to_owned(),
                path("starts"),
                path("orders"),
            ],
            env: BTreeMap::new(),
            memory: None,
            start_timeout,
        };
        let (plugins, sockets) = ([config], folder.path().join("sockets"));
        let started = Supervisor::start_probed(&plugins, &sockets, folder.path(), SHORT);
        let supervisor = started.await.unwrap();
        Self { folder, supervisor }
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
