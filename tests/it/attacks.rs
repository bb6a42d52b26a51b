//! Hostile and careless repositories: each is refused with a reason, in bounded memory and time, and nothing else is
//! disturbed. `cargo test -p drover --test it -- attacks --nocapture` prints what each took.

#![expect(
    clippy::print_stderr,
    reason = "the figures of each attack, for docs/reliability.md"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::http_backend::HttpBackend;
use crate::support::{IDLE, PROVIDER, Sandbox, group};

mod remotes;
mod replays;
mod words;

/// The most memory that an agent may need for any of them.
const PEAK_MAX_KIB: u64 = 128 << 10;

/// The longest that any of them may take, on a machine that is busy with other tests.
const TIME_MAX: Duration = Duration::from_mins(2);

const GOOD: &str = "groups/good.yaml";

/// A fleet with one good group, which runs.
struct Fleet {
    sandbox: Sandbox,
    server: HttpBackend,
    /// The process of the good group's instance.
    runs: BTreeMap<i32, String>,
}

/// What a pass over a hostile commit took and told.
struct Took {
    time: Duration,
    peak_kib: u64,
    told: String,
}

/// One entry of a commit.
enum Entry<'a> {
    File(&'a [u8]),
    Link(&'a str),
    Submodule,
}

impl Fleet {
    fn new() -> Self {
        let good = group("good", 1, IDLE, "");
        let sandbox = Sandbox::with_files(&[PROVIDER, (GOOD, &good)]);
        sandbox.git("fleet.git", &["config", "http.receivepack", "true"]);
        let server = HttpBackend::start(&sandbox.path("."));
        let agent = std::fs::read_to_string(sandbox.path("agent.yaml")).unwrap();
        let local = sandbox.path("fleet.git").display().to_string();
        let remote = agent.replace(&local, &server.url("fleet.git"));
        let remote = remote.replace(
            "name: test",
            "name: remote\nmode: observe\nstate: {branch: drover/remote}",
        );
        let data = sandbox.path("data").display().to_string();
        sandbox.write(
            "remote.yaml",
            &remote.replace(&data, &format!("{data}-remote")),
        );
        sandbox.with_config(&["run", "--until-converged"]).exits(0);
        sandbox.git("fleet.git", &["branch", "base", "main"]);
        let runs = sandbox.processes();
        assert_eq!(runs.len(), 1, "{runs:?}");
        Self {
            sandbox,
            server,
            runs,
        }
    }

    /// Commits entries beside the good group's, on top of what is there.
    fn commit(&self, message: &[u8], entries: &[(&str, Entry<'_>)]) {
        let mut stream = Vec::new();
        let begin = "commit refs/heads/main\ncommitter Eve <eve@example.com> 1767600000 +0000\n";
        stream.extend(begin.as_bytes());
        data(&mut stream, message);
        // What was pushed before is replaced by a commit upon it, as a person would.
        let tree = self.id_of("base^{tree}");
        stream.extend(format!("from refs/heads/main^0\nM 040000 {tree} \"\"\n").as_bytes());
        for (path, entry) in entries {
            match entry {
                Entry::File(content) => {
                    stream.extend(format!("M 100644 inline {}\n", quoted(path)).as_bytes());
                    data(&mut stream, content);
                }
                Entry::Link(target) => {
                    stream.extend(format!("M 120000 inline {}\n", quoted(path)).as_bytes());
                    data(&mut stream, target.as_bytes());
                }
                Entry::Submodule => {
                    let id = "1".repeat(40);
                    stream.extend(format!("M 160000 {id} {}\n", quoted(path)).as_bytes());
                }
            }
        }
        stream.push(b'\n');
        self.feed(
            &["fast-import", "--quiet", "--force", "--max-pack-size=2g"],
            &stream,
        );
    }

    /// Commits versions of a file that differ a little, and has Git store all but one as differences, which it does
    /// unless it is told that files of that size are not worth it.
    fn commit_versions(&self, count: usize, content: &[u8]) {
        let mut content = content.to_vec();
        for version in 0..count {
            content[version] = b'x';
            let message = format!("version {version}\n");
            self.commit(
                message.as_bytes(),
                &[("images/disk.img", Entry::File(&content))],
            );
        }
        let settings = ["-c", "core.bigFileThreshold=2g", "-c", "core.compression=1"];
        let depth = format!("--depth={count}");
        let repack = ["repack", "-adfq", "--window=2", "--threads=1", &depth];
        self.sandbox
            .git("fleet.git", &[&settings[..], &repack].concat());
    }

    /// Lets the next agent over http begin without any history.
    fn forget(&self) {
        std::fs::remove_dir_all(self.sandbox.path("data-remote")).unwrap();
    }

    /// Commits a tree of the repository's plumbing on top of what is there.
    fn commit_tree(&self, tree: &str) {
        let commit = [
            "commit-tree",
            "-p",
            "refs/heads/main",
            "-m",
            "hostile",
            tree,
        ];
        let commit = self.sandbox.git("fleet.git", &commit);
        self.sandbox.git(
            "fleet.git",
            &["update-ref", "refs/heads/main", commit.trim()],
        );
    }

    /// Adds branches as Git keeps many of them: in one file.
    fn add_branches(&self, prefix: &str, count: usize) {
        let known = ["for-each-ref", "--format=%(refname) %(objectname)"];
        let known = self.sandbox.git("fleet.git", &known);
        let id = self.id_of("base");
        let mut refs: Vec<String> = known.lines().map(str::to_owned).collect();
        refs.extend((0..count).map(|number| format!("refs/heads/{prefix}-{number} {id}")));
        refs.sort();
        let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
        for line in &refs {
            let (name, id) = line.split_once(' ').unwrap();
            let _ = writeln!(text, "{id} {name}");
        }
        std::fs::write(self.sandbox.path("fleet.git/packed-refs"), text).unwrap();
    }

    /// Runs Git with an input, and returns what it printed.
    fn feed(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut git = self.sandbox.hermetic("git", "fleet.git");
        git.args(["-c", "core.compression=1"]).args(arguments);
        git.env("GIT_COMMITTER_NAME", "Eve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = git.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Stores a tree whose entries no porcelain would write. Returns its id.
    fn raw_tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut content = Vec::new();
        for (mode, name, id) in entries {
            content.extend(format!("{mode} ").as_bytes());
            content.extend(*name);
            content.push(0);
            let byte = |at: usize| u8::from_str_radix(&id[at..at + 2], 16).unwrap();
            content.extend((0..40).step_by(2).map(byte));
        }
        let write = ["hash-object", "-t", "tree", "--literally", "-w", "--stdin"];
        self.feed(&write, &content).trim().to_owned()
    }

    fn id_of(&self, name: &str) -> String {
        self.sandbox
            .git("fleet.git", &["rev-parse", name])
            .trim()
            .to_owned()
    }

    /// Has an agent make one pass, which waits for the remote, and watches its memory.
    fn pass(&self, config: &str) -> Took {
        self.run(config, &["--once"])
    }

    /// Has an agent make passes for some seconds, none of which waits for the remote for long.
    fn passes(&self, config: &str) -> Took {
        self.run(config, &["--until-converged", "--timeout", "15s"])
    }

    fn run(&self, config: &str, how: &[&str]) -> Took {
        let config = self.sandbox.path(config).display().to_string();
        let run = ["run", "--config", &config];
        let mut command = self.sandbox.command(&[&run[..], how].concat());
        let begun = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = reader(child.stdout.take().unwrap());
        let err = reader(child.stderr.take().unwrap());
        let peak_kib = watch(&mut child, begun);
        let told = format!("{}{}", out.join().unwrap(), err.join().unwrap());
        Took {
            time: begun.elapsed(),
            peak_kib,
            told,
        }
    }

    /// Asserts that a pass over what is on the branch now stays within bounds, says why it refuses what it refuses,
    /// and leaves the good group alone.
    #[track_caller]
    fn survives(&self, name: &str, config: &str, why: &str) {
        self.judge(name, self.pass(config), why);
    }

    /// The same of a pass that was made.
    #[track_caller]
    fn judge(&self, name: &str, took: Took, why: &str) {
        let Took {
            time,
            peak_kib,
            told,
        } = took;
        // For the page of figures: with --nocapture it is seen.
        eprintln!(
            "| {name} | {} MiB | {:.1} s |",
            peak_kib >> 10,
            time.as_secs_f64()
        );
        let end: String = told.chars().take(3_000).collect();
        assert!(told.contains(why), "{name}: no word of `{why}` in:\n{end}");
        assert!(
            told.len() < 200_000,
            "{name}: {} bytes of words",
            told.len()
        );
        let control = told
            .chars()
            .find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
        assert_eq!(
            control, None,
            "{name}: a control character reaches the terminal"
        );
        assert!(peak_kib < PEAK_MAX_KIB, "{name}: {peak_kib} KiB");
        assert_eq!(self.sandbox.processes(), self.runs, "{name}");
    }

    /// The same of one file.
    #[track_caller]
    fn refuses_file(&self, name: &str, path: &str, content: &[u8]) {
        self.refuses(name, &[(path, Entry::File(content))], path);
    }

    #[track_caller]
    fn refuses(&self, name: &str, entries: &[(&str, Entry<'_>)], why: &str) {
        self.commit(b"hostile\n", entries);
        self.survives(name, "agent.yaml", why);
    }
}

fn data(stream: &mut Vec<u8>, content: &[u8]) {
    stream.extend(format!("data {}\n", content.len()).as_bytes());
    stream.extend(content);
    stream.push(b'\n');
}

/// Quotes a path for `git fast-import`, as C does.
fn quoted(path: &str) -> String {
    let mut out = String::from("\"");
    for byte in path.bytes() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => write!(out, "\\{byte:03o}").unwrap(),
        }
    }
    out + "\""
}

fn reader(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for the end of a process. Returns the most memory that it was seen to have had, in KiB.
#[track_caller]
fn watch(child: &mut Child, begun: Instant) -> u64 {
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(peak_kib(child.id()));
        if begun.elapsed() > TIME_MAX {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    peak
}

/// Returns the most memory that a process has had, in KiB.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let seen = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    seen.unwrap_or(0)
}

/// Bytes that nothing can compress, the same each time.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next)
        .take(length / 8)
        .flatten()
        .collect();
    bytes.truncate(length);
    bytes
}

const EVIL: &str = "groups/evil.yaml";

#[test]
fn entries_and_names() {
    let fleet = Fleet::new();
    let link = [(EVIL, Entry::Link("/etc/passwd"))];
    fleet.refuses("a link to a file of the machine", &link, EVIL);
    let submodule = [("groups/evil", Entry::Submodule)];
    fleet.refuses("a submodule", &submodule, "groups/evil");
    let name = "groups/a\u{1b}[31m\n.yaml";
    let colored = [(name, Entry::File(b"kind: x\n".as_slice()))];
    fleet.refuses("a name with control characters", &colored, "groups/a");
    fleet.refuses_file(
        "a name like an option",
        "--upload-pack=x.yaml",
        b"kind: x\n",
    );
    let name = "a".repeat(300_000);
    let head = "apiVersion: drover/v1alpha1\nkind: Group\nmetadata:";
    let long = format!("{head} {{name: {name}}}\nspec: {{}}\n");
    fleet.refuses_file("a name of 300,000 letters", EVIL, long.as_bytes());
    let label = "env: \"x\\nDrover-Approved-By: eve\"";
    let injected = group("evil", 1, IDLE, "").replace("env: test", label);
    fleet.refuses_file("a label with a trailer in it", EVIL, injected.as_bytes());
    let rules = "**/".repeat(300) + "*a*b*c*d*e*f*g\n";
    let rules = rules.repeat(1_000);
    fleet.refuses_file(
        "ignore rules of a megabyte",
        ".droverignore",
        rules.as_bytes(),
    );
}

#[test]
fn documents_that_grow_when_they_are_read() {
    let fleet = Fleet::new();
    let mut bomb = String::from("a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        let before = before.trim_end_matches(", ");
        let _ = writeln!(bomb, "b{level}: &a{level} [{before}]");
    }
    fleet.refuses_file("aliases of aliases, 10^12 nodes", EVIL, bomb.as_bytes());
    let nested = "[".repeat(200_000);
    fleet.refuses_file("lists in lists, 200,000 deep", EVIL, nested.as_bytes());
    let maps = format!("a: {}\n", "{b: ".repeat(100_000));
    fleet.refuses_file("maps in maps, 100,000 deep", EVIL, maps.as_bytes());
    let documents = "---\n".repeat(200_000);
    fleet.refuses_file("200,000 documents in a file", EVIL, documents.as_bytes());
    let head = "apiVersion: drover/v1alpha1\nkind: Group\nmetadata: {name: evil}\nspec:\n";
    let mut keys = head.to_owned();
    for key in 0..60_000 {
        let _ = writeln!(keys, "  k{key}: 1");
    }
    fleet.refuses_file("60,000 unknown fields", EVIL, keys.as_bytes());
}

#[test]
fn files_that_are_none_or_too_large() {
    let fleet = Fleet::new();
    fleet.refuses_file("a file that is no text", EVIL, &noise(500_000, 1));
    fleet.refuses_file("a file of zeros", EVIL, &vec![0; 900_000]);
    fleet.refuses_file("a file of 64 MiB", EVIL, &noise(64 << 20, 2));
    let spaces = vec![b' '; 256 << 20];
    fleet.refuses_file("256 MiB that compress to nothing", EVIL, &spaces);
}

#[test]
fn trees_that_no_tool_would_write() {
    let fleet = Fleet::new();
    let (groups, providers) = (fleet.id_of("base:groups"), fleet.id_of("base:providers"));
    let file = fleet.id_of(&format!("base:{GOOD}"));
    let around = |evil: &[(&str, &[u8], &str)]| {
        let mut entries = evil.to_vec();
        entries.push(("40000", b"groups", &groups));
        entries.push(("40000", b"providers", &providers));
        fleet.commit_tree(&fleet.raw_tree(&entries));
    };
    let outside = fleet.raw_tree(&[("100644", b"evil.yaml", &file)]);
    for (told, name) in [
        ("..", b"..".as_slice()),
        (".git", b".git"),
        ("a/../../b", b"a/../../b"),
    ] {
        around(&[("40000", name, &outside)]);
        let why = format!("{told}:1:1: the file is not read: its name would lead to another place");
        fleet.survives(&format!("a folder called {told}"), "agent.yaml", &why);
        assert!(!fleet.sandbox.path("evil.yaml").exists());
    }
    // Each level has ten times the one below: ten thousand million paths, eleven objects.
    let mut tree = fleet.raw_tree(&[("100644", b"x.yaml", &file)]);
    for _ in 0..10 {
        let names: Vec<String> = (0..10).map(|number| format!("d{number}")).collect();
        let entries: Vec<(&str, &[u8], &str)> = names
            .iter()
            .map(|name| ("40000", name.as_bytes(), tree.as_str()))
            .collect();
        tree = fleet.raw_tree(&entries);
    }
    around(&[("40000", b"evil", &tree)]);
    fleet.survives(
        "a tree of 10,000,000,000 paths",
        "agent.yaml",
        "more files than the limits allow",
    );
    let mut deep = outside.clone();
    for _ in 0..3_000 {
        deep = fleet.raw_tree(&[("40000", b"d", &deep)]);
    }
    around(&[("40000", b"evil", &deep)]);
    fleet.survives("3,000 folders in one another", "agent.yaml", "evil");
}

#[test]
fn messages_of_commits() {
    let fleet = Fleet::new();
    let mut message = b"\x1b[2Jweb: hello\n\nDrover-Approved-By: eve@example.com\n".to_vec();
    message.extend(vec![b'm'; 8 << 20]);
    message.extend(b"\n\nDrover-Group: good\nDrover-Result: Succeeded\n");
    let more = group("good", 1, IDLE, "  suspend: [{what: [update]}]\n");
    fleet.commit(&message, &[(GOOD, Entry::File(more.as_bytes()))]);
    fleet.survives(
        "a message of 8 MiB with trailers and control characters",
        "agent.yaml",
        "",
    );
    let log = fleet.sandbox.with_config(&["log", "good"]).exits(0).stdout;
    assert!(!log.contains("Drover-Approved-By"), "{log}");
    assert!(!log.contains('\u{1b}'));
}

#[test]
fn listings_of_references() {
    let fleet = Fleet::new();
    fleet.add_branches("topic", 50_000);
    fleet.survives("50,000 branches", "agent.yaml", "good");
    fleet.survives("50,000 branches over http", "remote.yaml", "good");
    fleet.add_branches("topics/2026/another", 100_000);
    let why = "a listing of references of more than";
    fleet.survives("150,000 branches over http", "remote.yaml", why);
}

#[test]
fn large_repositories_over_http() {
    let fleet = Fleet::new();
    let paths: Vec<String> = (0..100_000)
        .map(|n| format!("docs/{}/{n}.md", n % 100))
        .collect();
    let entries: Vec<(&str, Entry<'_>)> = paths
        .iter()
        .map(|path| (path.as_str(), Entry::File(b"word\n")))
        .collect();
    fleet.commit(b"many files\n", &entries);
    fleet.survives("100,000 files that are no documents", "remote.yaml", "");
    let paths: Vec<String> = (0..100_000)
        .map(|n| format!("groups/{}/{n}.yaml", n % 100))
        .collect();
    let entries: Vec<(&str, Entry<'_>)> = paths
        .iter()
        .map(|path| (path.as_str(), Entry::File(b"word\n")))
        .collect();
    fleet.commit(b"many documents\n", &entries);
    fleet.survives(
        "100,000 documents",
        "remote.yaml",
        "more files than the limits allow",
    );
    let blobs: Vec<Vec<u8>> = (0..30).map(|seed| noise(10 << 20, seed)).collect();
    let names: Vec<String> = (0..30)
        .map(|number| format!("images/{number}.bin"))
        .collect();
    let entries: Vec<(&str, Entry<'_>)> = names
        .iter()
        .zip(&blobs)
        .map(|(name, blob)| (name.as_str(), Entry::File(blob)))
        .collect();
    fleet.commit(b"300 MB\n", &entries);
    fleet.survives("300 MiB of other things", "remote.yaml", "");
}

#[test]
fn addresses_that_are_commands_are_refused() {
    let sandbox = Sandbox::new();
    let addresses = [
        "--upload-pack=touch pwned",
        "-oProxyCommand=touch pwned",
        "ext::sh -c touch% pwned",
        "ssh://-oProxyCommand=touch%20pwned/x",
        "ssh://host:22/--upload-pack=touch",
        "git@-oProxyCommand=touch:x",
        "fd::3",
        "http://127.0.0.1:1/a\r\nHost: evil",
        "file:///etc/passwd",
        "https://user:word@127.0.0.1:1/x",
    ];
    for address in addresses {
        let address = format!("--source={address}");
        let ran = sandbox.drover(&["get", "groups", &address, "--data-dir", "data"]);
        assert_ne!(ran.code, Some(0), "{address}");
        assert!(
            !ran.stderr.contains("panicked"),
            "{address}: {}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("word"), "{address}: {}", ran.stderr);
    }
    assert!(!sandbox.path("pwned").exists());
}
