//! A real OpenSSH server for tests: `sshd` on loopback, with keys of its own, as our own user.

#![allow(
    dead_code,
    reason = "each test target that includes this uses another part"
)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any start took on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What a client's key may do at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anything.
    Write,
    /// Fetching only: a deploy key.
    Read,
    /// It gets in, and then nobody says anything.
    Stalled,
    /// Anything, but one program for each connection; nothing is said to a second one.
    Once,
    /// It gets so many bytes, and then nothing.
    StallsAfter(usize),
    /// It gets so many bytes, and then one a second.
    DripsAfter(usize),
}

/// The server and its keys. Ends, by its process id, when dropped.
pub(crate) struct SshServer {
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl SshServer {
    /// Starts a server whose files are in `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, "")
    }

    /// The same, with more lines in its configuration.
    pub(crate) fn start_with(folder: &Path, lines: &str) -> Self {
        fs::create_dir_all(folder).unwrap();
        // sshd refuses to start as root without it, and only the package's unit makes it.
        if fs::metadata("/proc/self")
            .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
        {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let mut server = Self {
            folder: folder.to_owned(),
            port: 0,
            process: None,
        };
        server.make_key("host");
        fs::write(folder.join("authorized_keys"), "").unwrap();
        server.port = free_port();
        server.run(lines);
        server
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How files of known hosts name the server.
    pub(crate) fn known_as(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    pub(crate) fn url(&self, repository: &Path) -> String {
        let user = user();
        let port = self.port;
        format!("ssh://{user}@127.0.0.1:{port}{}", repository.display())
    }

    /// Returns how many connections were let in since the start.
    pub(crate) fn admitted(&self) -> usize {
        let log = fs::read_to_string(self.folder.join("sshd.log")).unwrap();
        log.matches("Accepted publickey").count()
    }

    /// Makes a key pair without a passphrase and returns the private key's file.
    pub(crate) fn make_key(&self, name: &str) -> PathBuf {
        self.make_key_of(name, &["-t", "ed25519", "-N", ""])
    }

    pub(crate) fn make_key_of(&self, name: &str, options: &[&str]) -> PathBuf {
        let path = self.folder.join(name);
        let _ = fs::remove_file(&path);
        let file = path.display().to_string();
        let fixed = ["-q", "-C", name, "-f", &file];
        keygen(&[options, &fixed].concat());
        path
    }

    pub(crate) fn public(&self, name: &str) -> String {
        let path = self.folder.join(format!("{name}.pub"));
        fs::read_to_string(path).unwrap().trim().to_owned()
    }

    /// Makes a key that the server knows.
    pub(crate) fn client(&self, name: &str, access: Access) -> PathBuf {
        let path = self.make_key(name);
        self.admit(name, access);
        path
    }

    /// Lets a key in.
    pub(crate) fn admit(&self, name: &str, access: Access) {
        let forced = match access {
            Access::Write => String::new(),
            Access::Read => {
                let script = "#!/bin/sh\ncase \"$SSH_ORIGINAL_COMMAND\" in\n\
                    'git-upload-pack '*) exec git shell -c \"$SSH_ORIGINAL_COMMAND\";;\n\
                    *) echo 'this key may only read' >&2; exit 1;;\nesac\n";
                format!(
                    "command=\"sh {}\" ",
                    self.script("serve-read-only.sh", script)
                )
            }
            Access::Stalled => {
                let script = "cat >/dev/null\n";
                format!(
                    "command=\"sh {}\" ",
                    self.script("serve-nothing.sh", script)
                )
            }
            Access::Once => {
                let script = "#!/bin/sh\nserved=\"$0-$(echo \"$SSH_CONNECTION\" | tr ' ' -)\"\n\
                    [ -e \"$served\" ] && exit 0\n: >\"$served\"\n\
                    exec git shell -c \"$SSH_ORIGINAL_COMMAND\"\n";
                format!("command=\"sh {}\" ", self.script("serve-once.sh", script))
            }
            Access::StallsAfter(bytes) => self.slow(bytes, "exec cat >/dev/null <&3"),
            Access::DripsAfter(bytes) => {
                // At the end of the bytes `dd` succeeds, too: the loop ends by itself.
                let drip =
                    "for i in $(seq 120); do dd bs=1 count=1 2>/dev/null || exit; sleep 1; done";
                self.slow(bytes, drip)
            }
        };
        let file = self.folder.join("authorized_keys");
        let known = fs::read_to_string(&file).unwrap();
        let text = format!("{known}{forced}{}\n", self.public(name));
        fs::write(&file, text).unwrap();
    }

    /// Serves so many bytes, and then what else a shell does with the rest. `head` would keep what it reads.
    fn slow(&self, bytes: usize, then: &str) -> String {
        let script = format!(
            "exec 3<&0\ngit shell -c \"$SSH_ORIGINAL_COMMAND\" | {{ dd bs=1 count={bytes} 2>/dev/null; {then}; }}\n"
        );
        let name = format!("serve-slowly-{bytes}-{}.sh", then.len());
        format!("command=\"sh {}\" ", self.script(&name, &script))
    }

    fn script(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Writes a file that knows the server by its host key.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.write_known(&format!("{} {}", self.known_as(), self.public("host")))
    }

    pub(crate) fn write_known(&self, text: &str) -> PathBuf {
        let path = self.folder.join("known_hosts");
        fs::write(&path, format!("{text}\n")).unwrap();
        path
    }

    /// Restarts at the same address with another host key.
    pub(crate) fn rotate_host_key(&mut self) {
        self.stop();
        self.make_key("host");
        self.run("");
    }

    /// Restarts with a certificate of `authority` for `principal`.
    pub(crate) fn certify_host(&mut self, authority: &str, principal: &str) {
        self.stop();
        let path = |name: &str| self.folder.join(name).display().to_string();
        let (authority, host) = (path(authority), path("host.pub"));
        keygen(&[
            "-q", "-s", &authority, "-I", "host", "-h", "-n", principal, &host,
        ]);
        let certificate = path("host-cert.pub");
        self.run(&format!("HostCertificate {certificate}\n"));
    }

    fn run(&mut self, more: &str) {
        let folder = self.folder.display();
        let port = self.port;
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n\
             AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             PidFile none\nMaxStartups 100\nSetEnv HOME={folder}\n{more}"
        );
        let file = self.folder.join("sshd_config");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(self.folder.join("sshd.log")).unwrap();
        let process = Command::new(sshd())
            .args(["-D", "-e", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("these tests need `sshd` (package openssh-server)");
        self.process = Some(process);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < START_TIMEOUT,
                "sshd does not listen: {}",
                fs::read_to_string(self.folder.join("sshd.log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Restarts at the same address with the same host key. Connections break.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.run("");
    }

    /// Ends the server with all its connections: each is a process of its own, which would outlive it.
    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            for served in descendants(process.id()) {
                let _ = Command::new("kill")
                    .args(["-KILL", &served.to_string()])
                    .stderr(Stdio::null())
                    .status();
            }
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Returns the processes that a process has started, and theirs.
fn descendants(process: u32) -> Vec<u32> {
    let folders = fs::read_dir("/proc").unwrap().flatten();
    let family: Vec<(u32, u32)> = folders
        .filter_map(|folder| {
            let child = folder.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(folder.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((child, parent.parse().ok()?))
        })
        .collect();
    let mut found = vec![process];
    let mut seen = 0;
    while let Some(parent) = found.get(seen).copied() {
        seen += 1;
        let children = family.iter().filter(|(_, of)| *of == parent);
        found.extend(children.map(|(child, _)| *child));
    }
    found.split_off(1)
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// An ssh agent that holds some keys. Ends when dropped.
pub(crate) struct SshAgent {
    pub(crate) socket: PathBuf,
    process: Child,
}

impl SshAgent {
    pub(crate) fn start(folder: &Path, keys: &[&Path]) -> Self {
        let socket = folder.join("agent.sock");
        let process = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need `ssh-agent` (package openssh-client)");
        let agent = Self { socket, process };
        let begun = Instant::now();
        // The file is there a moment before anybody listens.
        while UnixStream::connect(&agent.socket).is_err() {
            assert!(begun.elapsed() < START_TIMEOUT, "ssh-agent does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        for key in keys {
            let added = Command::new("ssh-add")
                .arg("-q")
                .arg(key)
                .env("SSH_AUTH_SOCK", &agent.socket)
                .status()
                .unwrap();
            assert!(added.success());
        }
        agent
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs `ssh-keygen`.
pub(crate) fn keygen(arguments: &[&str]) {
    let output = Command::new("ssh-keygen")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("these tests need `ssh-keygen` (package openssh-client)");
    assert!(
        output.status.success(),
        "ssh-keygen {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Our own user's name.
pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// sshd wants to be called by its full path.
fn sshd() -> PathBuf {
    let places = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
    let found = places.iter().map(Path::new).find(|path| path.exists());
    found
        .expect("these tests need `sshd` (package openssh-server)")
        .to_owned()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
