//! A real engine for tests, started here with storage of its own: Podman's API service, or Docker's where
//! `DROVER_TEST_ENGINE` is `docker` (below `tests/docker-engine` only). Or the engine that it names (`unix:///path`).
//! It has one image, made of the machine's static busybox.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

/// The image. The name is whole, so that no engine looks for it elsewhere; Podman imports under `latest` only.
pub(crate) const IMAGE: &str = "localhost/drover-test:latest";

/// Programs of the image.
const APPLETS: [&str; 16] = [
    "sh", "sleep", "cat", "echo", "true", "false", "httpd", "env", "kill", "ls", "id", "hostname",
    "touch", "rm", "mkdir", "nslookup",
];

/// How long the engine may take to answer at first.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whose engine it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Podman,
    Docker,
    /// It runs already, and is left alone.
    SomebodyElses,
}

impl Kind {
    fn start(self, folder: &Path, socket: &Path) -> Option<Child> {
        match self {
            Self::Podman => Some(podman(folder, socket)),
            Self::Docker => Some(docker(folder, socket)),
            Self::SomebodyElses => None,
        }
    }
}

/// An engine, ended with the test that started it, and everything in it before.
pub(crate) struct Engine {
    folder: tempfile::TempDir,
    kind: Kind,
    service: Option<Child>,
    socket: PathBuf,
}

impl Engine {
    /// Starts one and gives it the image.
    ///
    /// # Panics
    ///
    /// What is needed is missing, or does not work.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("drover-engine-")
            .tempdir()
            .unwrap();
        let named = std::env::var("DROVER_TEST_ENGINE").ok();
        let own = folder.path().join("engine.sock");
        let (kind, socket) = match named.as_deref() {
            None => (Kind::Podman, own),
            Some("docker") => (Kind::Docker, own),
            Some(named) => {
                let socket = named.strip_prefix("unix://").expect("it is a socket");
                (Kind::SomebodyElses, socket.into())
            }
        };
        let engine = Self {
            service: kind.start(folder.path(), &socket),
            folder,
            kind,
            socket,
        };
        engine.wait();
        engine.import();
        engine
    }

    /// Ends the service as it may end by itself. What runs in containers runs on.
    pub(crate) fn stop(&mut self) {
        let service = self.service.as_mut();
        let service = service.expect("an engine of somebody else's is left alone");
        service.kill().unwrap();
        service.wait().unwrap();
        let _ = fs::remove_file(&self.socket);
    }

    /// Lets the machine restart, as far as the engine can tell: nothing of its containers runs any more, and what it keeps
    /// in memory only is gone.
    pub(crate) fn reboot(&mut self) {
        let container = |name: &String| self.inspect(name).unwrap();
        let running = self.containers("drover.fleet");
        let pids: Vec<i64> = running
            .iter()
            .filter_map(|name| container(name)["State"]["Pid"].as_i64())
            .collect();
        self.stop();
        for pid in pids {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap());
            let Some(pid) = pid else { continue };
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            let ended = Instant::now();
            while Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists() {
                assert!(ended.elapsed() < PATIENCE, "a container does not end");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if self.kind == Kind::Podman {
            // What is left of its containers has ended by now, or ends with these.
            end_keepers(self.folder.path());
            for part in ["run", "tmp"] {
                let _ = fs::remove_dir_all(self.folder.path().join(part));
            }
        }
        self.start_again();
    }

    /// Starts the service once more.
    pub(crate) fn start_again(&mut self) {
        self.service = self.kind.start(self.folder.path(), &self.socket);
        self.wait();
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    fn wait(&self) {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if UnixStream::connect(&self.socket).is_ok() && self.get("/_ping").0 == 200 {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        panic!("the engine does not answer:\n{log}");
    }

    /// Makes the image of the machine's busybox.
    fn import(&self) {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"];
        let busybox = busybox.into_iter().find(|path| Path::new(path).exists());
        let busybox =
            busybox.expect("busybox-static is needed for this test: tests/run installs it");
        let root = self.folder.path().join("image");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("tmp")).unwrap();
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let output = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .args(["-cf", "-", "."])
            .output();
        let output = output.expect("tar is needed for this test");
        assert!(output.status.success());
        let (name, tag) = IMAGE.rsplit_once(':').unwrap();
        let path = format!("/images/create?fromSrc=-&repo={name}&tag={tag}");
        let (status, said) = self.call("POST", &path, "application/x-tar", &output.stdout);
        assert_eq!(status, 200, "{said}");
        let (status, said) = self.get(&format!("/images/{IMAGE}/json"));
        assert_eq!(status, 200, "{said}");
    }

    /// Puts the image into a registry, as `drover-test:1`, which the engine has not afterwards. `login`: for a
    /// registry that wants a user name and a password. Returns its name.
    pub(crate) fn publish(&self, registry: SocketAddr, login: Option<(&str, &str)>) -> String {
        let name = format!("{registry}/drover-test");
        let tagged = self.post(&format!("/images/{IMAGE}/tag?repo={name}&tag=1"));
        assert_eq!(tagged.0, 201, "{tagged:?}");
        let auth = match login {
            Some((username, password)) => json!({"username": username, "password": password}),
            None => json!({}),
        };
        let auth = data_encoding::BASE64URL.encode(auth.to_string().as_bytes());
        let path = format!("/images/{name}/push?tag=1&tlsVerify=false");
        let more = format!("X-Registry-Auth: {auth}\r\n");
        let pushed = self.try_call("POST", &path, &more, b"").unwrap();
        assert!(
            pushed.0 == 200 && !pushed.1.contains("\"error\":\""),
            "{pushed:?}"
        );
        let image = format!("{name}:1");
        let removed = self.delete(&format!("/images/{image}"));
        assert_eq!(removed.0, 200, "{removed:?}");
        assert_eq!(self.get(&format!("/images/{image}/json")).0, 404);
        image
    }

    /// Asks the engine, as some other program would.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.call("GET", path, "application/json", b"")
    }

    /// Orders the engine to do something.
    pub(crate) fn post(&self, path: &str) -> (u16, String) {
        self.call("POST", path, "application/json", b"")
    }

    pub(crate) fn delete(&self, path: &str) -> (u16, String) {
        self.call("DELETE", path, "application/json", b"")
    }

    /// One exchange.
    pub(crate) fn call(&self, method: &str, path: &str, type_: &str, body: &[u8]) -> (u16, String) {
        let headers = format!("Content-Type: {type_}\r\n");
        self.try_call(method, path, &headers, body).unwrap()
    }

    /// One exchange, with lines of headers. In HTTP/1.0, so that the answer ends with the connection and has no
    /// chunks.
    fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: engine\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Ok((status.unwrap_or_default(), body.to_owned()))
    }

    /// Returns what the engine says of a container. None: there is none of that name.
    pub(crate) fn inspect(&self, container: &str) -> Option<Json> {
        let (status, said) = self.get(&format!("/containers/{container}/json"));
        (status == 200).then(|| serde_json::from_str(&said).unwrap())
    }

    /// Returns the names of all containers with a label, such as `drover.fleet=web`.
    pub(crate) fn containers(&self, label: &str) -> Vec<String> {
        let filter = format!("%7B%22label%22%3A%5B%22{label}%22%5D%7D");
        let (status, said) = self.get(&format!("/containers/json?all=true&filters={filter}"));
        assert_eq!(status, 200, "{said}");
        let listed: Vec<Json> = serde_json::from_str(&said).unwrap();
        let names = listed.iter().map(|container| {
            let name = container["Names"][0].as_str().unwrap();
            name.trim_start_matches('/').to_owned()
        });
        names.collect()
    }

    /// Removes all containers with a label.
    pub(crate) fn remove(&self, label: &str) {
        for container in self.containers(label) {
            let path = format!("/containers/{container}?force=true&v=true");
            let _ = self.try_call("DELETE", &path, "", b"");
        }
    }

    /// Runs a container's own check once, where the engine needs to be told: Podman leaves that to systemd.
    pub(crate) fn run_healthcheck(&self, container: &str) {
        if self.kind == Kind::Podman {
            self.get(&format!(
                "/v4.0.0/libpod/containers/{container}/healthcheck"
            ));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // In somebody else's engine other tests may run: each clears up behind itself.
        if self.service.is_none() {
            return;
        }
        if UnixStream::connect(&self.socket).is_err() {
            self.start_again();
        }
        self.remove("drover.fleet");
        if let Some(service) = &mut self.service {
            if self.kind == Kind::Docker {
                end_gently(service);
            }
            let _ = service.kill();
            let _ = service.wait();
        }
        end_keepers(self.folder.path());
    }
}

/// Asks Docker's engine to end: it ends its containerd, and takes back what it has mounted.
fn end_gently(service: &mut Child) {
    let pid = rustix::process::Pid::from_child(service);
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE && matches!(service.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends what keeps commands that have ended: Podman does that for five minutes, and makes its folder again
/// to clear up. They are known by the folder on their command line, which nobody else has.
fn end_keepers(folder: &Path) {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.parse().ok().and_then(rustix::process::Pid::from_raw) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split('\0').map(Path::new);
        if words.any(|word| word.starts_with(folder)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Starts Podman's API service. vfs needs no mounts, so the folder can be removed when it has ended.
fn podman(folder: &Path, socket: &Path) -> Child {
    // Locks in shared memory would be those of every Podman on the machine.
    let own_locks = "[engine]\nlock_type = \"file\"\n";
    fs::write(folder.join("containers.conf"), own_locks).unwrap();
    // Registries of the tests, at whatever port: they have no TLS.
    let insecure = "[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n";
    fs::write(folder.join("registries.conf"), insecure).unwrap();
    let mut command = Command::new("podman");
    command
        .arg("--root")
        .arg(folder.join("storage"))
        .arg("--runroot")
        .arg(folder.join("run"))
        .arg("--tmpdir")
        .arg(folder.join("tmp"))
        .arg("--network-config-dir")
        .arg(folder.join("networks"))
        .args(["--storage-driver", "vfs", "--runtime", "runc"])
        .args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"])
        .args(["system", "service", "--time=0"])
        .arg(format!("unix://{}", socket.display()))
        .env_clear()
        .env("HOME", folder)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("CONTAINERS_CONF", folder.join("containers.conf"))
        .env("CONTAINERS_REGISTRIES_CONF", folder.join("registries.conf"));
    let child = logged(&mut command, folder);
    child.expect("podman and runc are needed for this test: tests/run installs them")
}

/// Starts Docker's engine. It makes a bridge, rules for packets and a key of the machine: `tests/docker-engine` sees that
/// they are nobody else's. Containers outlive it, as those of Podman do.
fn docker(folder: &Path, socket: &Path) -> Child {
    assert!(
        std::env::var_os("DROVER_TEST_ISOLATED").is_some(),
        "Docker's engine is started below tests/docker-engine only"
    );
    // The one that was killed before has left its number, which may be another program's by now.
    let _ = fs::remove_file(folder.join("pid"));
    fs::write(folder.join("daemon.json"), "{}").unwrap();
    let mut command = Command::new("dockerd");
    command
        .arg("--config-file")
        .arg(folder.join("daemon.json"))
        .arg("--data-root")
        .arg(folder.join("storage"))
        .arg("--exec-root")
        .arg(folder.join("run"))
        .arg("--pidfile")
        .arg(folder.join("pid"))
        .args(["--storage-driver", "vfs", "--live-restore", "--host"])
        .arg(format!("unix://{}", socket.display()));
    let child = logged(&mut command, folder);
    child.expect("dockerd is needed for this test: tests/run brings it")
}

fn logged(command: &mut Command, folder: &Path) -> io::Result<Child> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    let command = command.stdin(Stdio::null()).stdout(log.try_clone()?);
    command.stderr(log).spawn()
}
