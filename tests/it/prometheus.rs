//! A group whose size follows a number that a real Prometheus scrapes: within its bounds, not down at
//! once, and not at all while nobody knows the number.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{
    IDLE, PATIENCE, PROVIDER, Sandbox, converged, group, holds, kill, wait_until,
};

/// How long the size shrinks to nothing smaller than what was asked for before.
const STABLE: Duration = Duration::from_secs(4);

/// What the exporter says while it is broken.
const BROKEN: u64 = u64::MAX;

/// Something to scrape, whose one number the test sets. Its thread ends with the program.
struct Exporter {
    address: String,
    depth: Arc<AtomicU64>,
}

impl Exporter {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let depth = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&depth);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let (status, body) = match shown.load(Ordering::SeqCst) {
                    BROKEN => ("500 Broken", String::new()),
                    depth => (
                        "200 OK",
                        format!("# TYPE queue_depth gauge\nqueue_depth {depth}\n"),
                    ),
                };
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Self { address, depth }
    }

    fn say(&self, depth: u64) {
        self.depth.store(depth, Ordering::SeqCst);
    }
}

/// A running server, ended with the test.
struct Prometheus(Child);

impl Prometheus {
    fn start(sandbox: &Sandbox, port: u16) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(sandbox.path("prometheus.log"))
            .unwrap();
        let child = Command::new("prometheus")
            .arg(format!(
                "--config.file={}",
                sandbox.path("prometheus.yaml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                sandbox.path("tsdb").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(sandbox.path("."))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("prometheus is needed for this test: install the package prometheus");
        let server = Self(child);
        wait_until("Prometheus to be ready", PATIENCE, || ready(port));
        server
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ready(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let request = "GET /-/ready HTTP/1.0\r\n\r\n";
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.contains(" 200 ")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

const DOCUMENTS: &str = "apiVersion: drover/v1alpha1
kind: MetricSource
metadata: {name: queues}
spec:
  source: prom
  metrics: [{name: queue.depth, query: sum(queue_depth), maxAge: 10s}]
---
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: by-depth}
spec:
  on: size
  value: int(math.ceil(metric('queue.depth').value / 50.0))
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {name: by-depth}
spec: {policy: by-depth, selector: {}, enforcement: deny}
";

const SCALING: &str = "  bounds: {min: 1, max: 4}
  scaling: {stabilization: {down: 4s}, rate: {up: 8/1s, down: 8/1s}}
";

fn sandbox(exporter: &Exporter, port: u16) -> Sandbox {
    let sandbox = Sandbox::with_files(&[
        PROVIDER,
        ("metrics.yaml", DOCUMENTS),
        ("groups/web.yaml", &group("web", 1, IDLE, SCALING)),
    ]);
    let scrape = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\nscrape_configs:\n  \
         - {{job_name: queue, static_configs: [{{targets: ['{}']}}]}}\n",
        exporter.address
    );
    sandbox.write("prometheus.yaml", &scrape);
    sandbox.configure(&format!(
        "metrics: {{sources: [{{name: prom, type: prometheus, url: 'http://127.0.0.1:{port}'}}]}}\n"
    ));
    sandbox
}

/// Waits until the group is held because the number is not known, and returns why.
fn wait_unknown(sandbox: &Sandbox, why: &str) {
    let held = sandbox.wait_for("web", "the size to be held", |group| {
        let told = group["holds"].to_string();
        holds(group) == ["PolicyFailed"] && told.contains(why)
    });
    assert!(
        held["holds"]
            .to_string()
            .contains("metric queue.depth is not ok: ")
    );
}

#[test]
fn a_size_follows_what_a_real_prometheus_scrapes_and_stays_while_nobody_knows() {
    let (exporter, port) = (Exporter::start(), free_port());
    let sandbox = sandbox(&exporter, port);
    let server = Prometheus::start(&sandbox, port);
    exporter.say(100);
    let _agent = sandbox.agent();
    sandbox.wait_converged("web", 2);

    // Up to the bounds, at once; down no sooner than it is stable.
    exporter.say(100_000);
    sandbox.wait_converged("web", 4);
    let lowered = Instant::now();
    exporter.say(0);
    sandbox.wait_converged("web", 1);
    // What was asked for last may be a pass old by then.
    let least = STABLE.saturating_sub(Duration::from_millis(1500));
    assert!(lowered.elapsed() > least, "{:?}", lowered.elapsed());
    exporter.say(120);
    sandbox.wait_converged("web", 3);

    // What is scraped goes away: the series ends, and there is no number.
    exporter.say(BROKEN);
    wait_unknown(&sandbox, "the query has no value");
    exporter.say(120);
    sandbox.wait_converged("web", 3);

    // The server itself goes away, and what it would say is not guessed.
    drop(server);
    exporter.say(100_000);
    wait_unknown(&sandbox, "cannot be asked: Connection refused");
    let metrics = sandbox.with_config(&["get", "metrics"]).exits(0);
    metrics
        .prints("queue.depth")
        .prints("false")
        .prints("Connection refused");
    let groups = sandbox.with_config(&["get", "groups"]).exits(0);
    groups.says("metric queue.depth is not ok: cannot be asked");
    let why = sandbox.with_config(&["why", "web"]).exits(0);
    why.prints("metric queue.depth is not ok")
        .prints("policy by-depth");
    // Healing goes on at the size that it has.
    let (pid, victim) = sandbox.processes().into_iter().next().unwrap();
    kill(pid, Signal::KILL);
    let healed = sandbox.wait_for("web", "the dead one to be replaced", |group| {
        !group["instances"]
            .to_string()
            .contains(&format!("\"{victim}\""))
            && group["available"] == 3
    });
    assert_eq!(healed["size"], 3);
    assert!(!converged(&healed, 4));

    // It comes back, and the size follows again. What was done can be computed again.
    let _server = Prometheus::start(&sandbox, port);
    sandbox.wait_converged("web", 4);
    let replayed = sandbox.with_config(&["replay"]).exits(0);
    replayed.prints("web");
}
