//! The surroundings of a test: a folder with a home of its own, a repository that people push to with
//! the real Git, agents, and a way to end everything.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The binary under test.
pub(crate) const DROVER: &str = env!("CARGO_BIN_EXE_drover");

/// How long anything may take before a test gives up: generous, because machines are shared.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// A folder of its own: home, repository, work tree, data folder.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    /// Makes an empty one, with a Git identity.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("drover-it-")
            .tempdir()
            .unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        fs::write(
            folder.path().join("home/.gitconfig"),
            "[user]\n\tname = Ada\n\temail = ada@example.com\n[init]\n\tdefaultBranch = main\n",
        )
        .unwrap();
        Self { folder }
    }

    /// Makes one with a bare repository that has these files, and an agent's file for it.
    pub(crate) fn with_files(files: &[(&str, &str)]) -> Self {
        let sandbox = Self::new();
        sandbox.git(".", &["init", "--quiet", "--bare", "fleet.git"]);
        sandbox.git(".", &["clone", "--quiet", "fleet.git", "work"]);
        sandbox.configure("");
        sandbox.push("first", files);
        sandbox
    }

    /// Writes the agent's file, with `more` lines at its end.
    pub(crate) fn configure(&self, more: &str) {
        let text = format!(
            "name: test\nsource: {{url: '{}', branch: main, interval: 1s}}\ndataDir: '{}'\n\
             listen: 'off'\nproviders: {{allow: [process]}}\n{more}",
            self.path("fleet.git").display(),
            self.path("data").display()
        );
        fs::write(self.path("agent.yaml"), text).unwrap();
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let place = self.path(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    /// Returns a command with no environment but the sandbox's.
    pub(crate) fn hermetic(&self, program: &str, dir: &str) -> Command {
        let mut command = Command::new(program);
        let mut path = OsString::from("/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        // Programs that no package of the system has.
        if let Some(tools) = std::env::var_os("DROVER_TEST_TOOLS") {
            path.push(":");
            path.push(tools);
        }
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", path)
            .env("TMPDIR", self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LANG", "C.UTF-8")
            .current_dir(self.path(dir))
            .stdin(Stdio::null());
        command
    }

    /// Runs Git, which must succeed, and returns what it printed.
    pub(crate) fn git(&self, dir: &str, arguments: &[&str]) -> String {
        let output = self.hermetic("git", dir).args(arguments).output();
        let output = output.expect("git is needed for these tests");
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            both(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Commits files to the work tree and pushes them, as a person would.
    pub(crate) fn push(&self, message: &str, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            self.write(&format!("work/{path}"), text);
        }
        self.git("work", &["add", "--all"]);
        self.git("work", &["commit", "--quiet", "--message", message]);
        self.git("work", &["push", "--quiet", "origin", "HEAD:main"]);
        self.git("work", &["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Brings the work tree to what others pushed.
    pub(crate) fn pull(&self) {
        self.git("work", &["pull", "--quiet", "--rebase", "origin", "main"]);
    }

    /// Makes an ssh key pair without a passphrase, in the sandbox.
    pub(crate) fn make_key(&self, name: &str) {
        let made = self
            .hermetic("ssh-keygen", ".")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(self.path(name))
            .stdin(Stdio::null())
            .status()
            .expect("these tests need `ssh-keygen` (package openssh-client)");
        assert!(made.success());
    }

    /// Returns the line of a list of signers by which `name@example.com` has the key of that name.
    pub(crate) fn signer(&self, name: &str) -> String {
        let public = fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        format!("{name}@example.com {public}")
    }

    /// Writes the list of signers.
    pub(crate) fn write_signers(&self, names: &[&str]) {
        let lines = names.iter().map(|name| self.signer(name));
        self.write("signers", &lines.collect::<String>());
    }

    /// Lets the agent listen to these signers' operations.
    pub(crate) fn listen_to(&self, names: &[&str]) {
        self.write_signers(names);
        let signers = self.path("signers").display().to_string();
        self.configure(&format!("signers: '{signers}'\n"));
    }

    /// Returns a command of the binary, with no environment but the sandbox's.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.hermetic(DROVER, ".");
        command.args(arguments);
        command
    }

    /// Runs the binary and returns how it ended.
    pub(crate) fn drover(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            what: arguments.join(" "),
        }
    }

    /// Runs the binary with the sandbox's agent file.
    pub(crate) fn with_config(&self, arguments: &[&str]) -> Ran {
        let config = self.path("agent.yaml").display().to_string();
        let mut all = arguments.to_vec();
        all.extend(["--config", &config]);
        self.drover(&all)
    }

    /// Runs the binary with the sandbox's agent file, where the command takes one.
    pub(crate) fn with_config_if(&self, arguments: &[&str]) -> Ran {
        match arguments.first() {
            Some(&"validate") => self.drover(arguments),
            Some(_) | None => self.with_config(arguments),
        }
    }

    /// Runs the binary with the sandbox's agent file and variables in its environment.
    pub(crate) fn with_environment(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(arguments);
        command.arg("--config").arg(self.path("agent.yaml"));
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            what: arguments.join(" "),
        }
    }

    /// Starts an agent that runs until it is stopped.
    pub(crate) fn agent(&self) -> Agent {
        self.agent_with(&[])
    }

    /// Starts an agent with more arguments.
    pub(crate) fn agent_with(&self, arguments: &[&str]) -> Agent {
        self.start_agent("agent.yaml", arguments)
    }

    /// Starts the agent of another agent's file in the sandbox.
    pub(crate) fn agent_of(&self, file: &str) -> Agent {
        self.start_agent(file, &[])
    }

    fn start_agent(&self, file: &str, arguments: &[&str]) -> Agent {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("agent.log"))
            .unwrap();
        let mut command = self.command(&["run", "--config"]);
        command.arg(self.path(file)).args(arguments);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Agent {
            child: command.spawn().unwrap(),
        }
    }

    /// Waits until the agent answers.
    #[track_caller]
    pub(crate) fn wait_serving(&self) {
        wait_until("the agent to answer", PATIENCE, || {
            let ran = self.with_config(&["reconcile"]);
            ran.code == Some(0)
        });
    }

    /// What the agents wrote.
    pub(crate) fn agent_log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// Returns a group as `describe -o json` shows it, once there is one.
    pub(crate) fn group(&self, name: &str) -> Option<Value> {
        let ran = self.with_config(&["describe", "group", name, "-o", "json"]);
        (ran.code == Some(0)).then(|| ran.json())
    }

    /// Waits until a group is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let started = Instant::now();
        let mut last = None;
        while started.elapsed() < PATIENCE {
            if let Some(group) = self.group(name) {
                if wanted(&group) {
                    return group;
                }
                last = Some(group);
            }
            std::thread::sleep(PAUSE);
        }
        panic!(
            "waited in vain for {what}; the group: {last:#?}\nthe agent's log:\n{}",
            self.agent_log()
        );
    }

    /// Waits until a group has converged at a size.
    #[track_caller]
    pub(crate) fn wait_converged(&self, name: &str, size: u64) -> Value {
        self.wait_for(name, &format!("{name} to converge at {size}"), |group| {
            converged(group, size)
        })
    }

    /// The instances' processes, by our id: everything that runs with the sandbox's data folders.
    pub(crate) fn processes(&self) -> BTreeMap<i32, String> {
        processes_below(self.folder.path())
            .into_iter()
            .filter_map(|(pid, environment)| {
                // The supervisor has the folder on its command line, the instance in its environment.
                let id = environment.get("DROVER_INSTANCE")?;
                Some((pid, id.clone()))
            })
            .collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Supervisors first: they would report the end of what they supervise.
        for _ in 0..50 {
            let left = all_processes_below(self.folder.path());
            if left.is_empty() {
                return;
            }
            for pid in left {
                kill(pid, rustix::process::Signal::KILL);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Whether a described group has converged at a size.
pub(crate) fn converged(group: &Value, size: u64) -> bool {
    group["phase"] == "Converged"
        && ["size", "total", "available", "updated"]
            .iter()
            .all(|field| group[*field] == size)
}

/// The codes of a described group's holds.
pub(crate) fn holds(group: &Value) -> Vec<String> {
    let holds = group["holds"].as_array().unwrap();
    holds
        .iter()
        .map(|hold| hold["code"].as_str().unwrap().to_owned())
        .collect()
}

/// The names of a described group's instances.
pub(crate) fn instances(group: &Value) -> Vec<String> {
    let instances = group["instances"].as_array().unwrap();
    instances
        .iter()
        .map(|instance| instance["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Sends a signal. A process that is gone does not mind.
pub(crate) fn kill(pid: i32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

type Environment = BTreeMap<String, String>;

/// Processes whose instance folder is below `root`, with their environment.
fn processes_below(root: &Path) -> Vec<(i32, Environment)> {
    let mut found = Vec::new();
    for pid in pids() {
        let environment = environment(pid);
        let inside = environment
            .get("DROVER_DATA_DIR")
            .is_some_and(|dir| Path::new(dir).starts_with(root));
        if inside {
            found.push((pid, environment));
        }
    }
    found
}

/// Every process that belongs to the sandbox: instances, supervisors, agents.
fn all_processes_below(root: &Path) -> Vec<i32> {
    let mut found: Vec<i32> = processes_below(root)
        .into_iter()
        .map(|(pid, _)| pid)
        .collect();
    for pid in pids() {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line
            .split('\0')
            .any(|word| Path::new(word).starts_with(root))
        {
            found.push(pid);
        }
    }
    found.sort_unstable();
    found.dedup();
    found.retain(|pid| *pid != std::process::id() as i32);
    found
}

fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn environment(pid: i32) -> Environment {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.split('\0')
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn both(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) what: String,
}

impl Ran {
    /// Asserts the exit status.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "drover {}\nstdout:\n{}\nstderr:\n{}",
            self.what,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Asserts that a text is among the messages.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "drover {} does not say {text:?}:\n{}",
            self.what,
            self.stderr
        );
        self
    }

    /// Asserts that a text is in the result.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text),
            "drover {} does not print {text:?}:\n{}",
            self.what,
            self.stdout
        );
        self
    }

    /// Returns the result as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("drover {}: {error}:\n{}", self.what, self.stdout))
    }
}

/// A running agent, ended with the test.
pub(crate) struct Agent {
    child: Child,
}

impl Agent {
    /// Asks it to stop, and returns its exit status.
    pub(crate) fn stop(mut self) -> Option<i32> {
        kill(self.child.id() as i32, rustix::process::Signal::TERM);
        self.wait()
    }

    /// Returns the id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without a warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(PAUSE);
        }
        panic!("the agent did not end");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < limit {
        if holds() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("waited in vain for {what}");
}

/// A provider document for processes.
pub(crate) const PROVIDER: (&str, &str) = (
    "providers/local.yaml",
    "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {name: local}\nspec: {type: process}\n",
);

/// A group document, with short times.
pub(crate) fn group(name: &str, size: u32, command: &str, more: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: {name}, labels: {{env: test}}}}
spec:
  provider: local
  size: {size}   # how many
  template:
    properties: {{command: {command}}}
  rollout: {{minReady: 100ms, maxSurge: 2, maxUnavailable: 0}}
  drain: {{delay: 0s}}
{more}"
    )
}

/// A command that does nothing for ever.
pub(crate) const IDLE: &str = "[sleep, infinity]";
