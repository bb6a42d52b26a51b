//! A real `git daemon` for tests, on loopback.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any start took on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The server. Ends, by its process id, when dropped.
pub(crate) struct GitDaemon {
    port: u16,
    process: Child,
}

impl GitDaemon {
    /// Serves the repositories below `root`, and would take pushes.
    pub(crate) fn start(root: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        // Not by way of `git`, which would start it as a process of its own.
        let mut process = Command::new(programs().join("git-daemon"))
            .args([
                "--listen=127.0.0.1",
                "--export-all",
                "--enable=receive-pack",
            ])
            .arg("--informative-errors")
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", root.display()))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need `git daemon`, which comes with Git");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = process.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < START_TIMEOUT,
                "git daemon does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { port, process }
    }

    /// The URL of the repository in the folder `name`.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for GitDaemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where Git keeps its programs.
fn programs() -> PathBuf {
    let output = Command::new("git").arg("--exec-path").output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}
