//! Registries for tests, on loopback: a real one (Debian's `docker-registry`), open or with a password, and one
//! that only takes down what it is asked.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The user name that private ones know.
pub(crate) const USER: &str = "robot$shop";

/// A registry, ended with the test.
pub(crate) struct Registry {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// Starts one that is open to everybody.
    pub(crate) fn open() -> Self {
        Self::start(None)
    }

    /// Starts one that wants the user [`USER`] and this password.
    pub(crate) fn private(password: &str) -> Self {
        Self::start(Some(password))
    }

    fn start(password: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // Free again at once, and nobody else's for as long as the test takes.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let auth = password.map_or(String::new(), |password| {
            let file = at("htpasswd");
            fs::write(&file, format!("{USER}:{}\n", bcrypt(password))).unwrap();
            let path = file.display();
            format!("auth: {{htpasswd: {{realm: drover, path: '{path}'}}}}\n")
        });
        let storage = at("storage");
        let storage = storage.display();
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: '{storage}'}}}}\nhttp: {{addr: '{address}'}}\n{auth}"
        );
        fs::write(at("config.yaml"), config).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command
            .arg("serve")
            .arg(at("config.yaml"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn();
        let child = child.expect("docker-registry is needed for this test: tests/run installs it");
        let registry = Self {
            child,
            address,
            _folder: folder,
        };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < PATIENCE, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }
}

/// Returns a password as the registry keeps it: bcrypt, which the C library of Debian has.
fn bcrypt(password: &str) -> String {
    let mut command = Command::new("perl");
    command
        .args(["-e", "print crypt($ENV{PASSWORD}, $ENV{SALT})"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("PASSWORD", password)
        .env("SALT", format!("$2b$04${}", &drawn()[..22]));
    let output = command.output();
    let output = output.expect("perl is needed for this test: tests/run installs it");
    let hash = String::from_utf8(output.stdout).unwrap();
    assert!(hash.starts_with("$2b$04$") && hash.len() == 60, "{hash:?}");
    hash
}

/// Returns letters and digits that are drawn for this test.
pub(crate) fn drawn() -> String {
    let mut bytes = [0; 16];
    let mut random = fs::File::open("/dev/urandom").unwrap();
    random.read_exact(&mut bytes).unwrap();
    data_encoding::HEXLOWER.encode(&bytes)
}

/// Writes the login of a registry to a file of Docker's, with Podman's own command.
pub(crate) fn log_in(registry: SocketAddr, password: &str, file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("podman");
    command
        .arg("login")
        .arg("--authfile")
        .arg(file)
        .args(["--tls-verify=false", "--username", USER, "--password-stdin"])
        .arg(registry.to_string())
        .env_clear()
        .env("HOME", folder.path())
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(password.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// What listens like a registry, wants a password for everything, and lets nobody in.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    /// Starts one. It listens as long as the program runs.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let notes = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let notes = Arc::clone(&notes);
                std::thread::spawn(move || {
                    refuse(stream, |request| notes.lock().unwrap().push(request));
                });
            }
        });
        Self { address, requests }
    }

    /// Returns the heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Reads the head of one request, notes it and asks for a password.
fn refuse(mut stream: TcpStream, note: impl FnOnce(String)) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 << 10 {
        stream.read_exact(&mut byte).ok()?;
        if head.is_empty() && byte != *b"G" && byte != *b"H" {
            // Neither GET nor HEAD: it tries TLS first.
            return None;
        }
        head.push(byte[0]);
    }
    let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"drover\"\r\nDocker-Distribution-Api-Version: registry/2.0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // Before the answer: who has it may ask at once what was noted.
    note(String::from_utf8(head).ok()?);
    stream.write_all(answer.as_bytes()).ok()
}
