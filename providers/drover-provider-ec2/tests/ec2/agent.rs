//! The whole of it: the agent starts the program as a plugin, and the program talks to the double of EC2.

#![allow(
    clippy::print_stdout,
    reason = "what a test prints appears when it fails, and is what a long run is for"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use crate::fake::{Fake, FakeSettings, Machine};
use crate::support::drawn;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_drover-provider-ec2");

/// How long anything may take before a test gives up: generous, because machines are shared.
const PATIENCE: Duration = Duration::from_mins(2);

/// Kills unless `DROVER_TEST_EC2_KILLS` says otherwise.
const KILLS: u64 = 8;

/// Instances of the group that is rolled.
const SIZE: usize = 50;

/// Instances above that while it is.
const SURGE: usize = 10;

/// Returns the agent's program, which Cargo builds beside this test for the whole workspace.
pub(crate) fn drover() -> PathBuf {
    let program = Path::new(PROGRAM).with_file_name("drover");
    assert!(
        program.exists(),
        "the agent is needed for this test and is not at {}: tests/run builds it, or `cargo build -p drover`",
        program.display()
    );
    program
}

/// A folder with a repository, a work tree, and an agent's file.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    agent: Option<Child>,
}

impl Sandbox {
    pub(crate) fn new(fake: &Fake) -> Self {
        let folder = tempfile::Builder::new().prefix("drover-ec2-").tempdir();
        let sandbox = Self {
            folder: folder.unwrap(),
            agent: None,
        };
        fs::create_dir(sandbox.path("home")).unwrap();
        let identity =
            "[user]\n\tname = Ada\n\temail = ada@example.com\n[init]\n\tdefaultBranch = main\n";
        fs::write(sandbox.path("home/.gitconfig"), identity).unwrap();
        sandbox.git(".", &["init", "--quiet", "--bare", "fleet.git"]);
        sandbox.git(".", &["clone", "--quiet", "fleet.git", "work"]);
        sandbox.configure(fake);
        sandbox
    }

    fn configure(&self, fake: &Fake) {
        let shown = |path: &str| self.path(path).display().to_string();
        let text = format!(
            "name: test\n\
             source: {{url: '{}', branch: main, interval: 1s}}\n\
             dataDir: '{}'\n\
             listen: 'off'\n\
             providers: {{allow: [plugin]}}\n\
             plugins:\n  \
               dir: '{}'\n  \
               start:\n    \
                 - name: ec2\n      \
                   command: ['{PROGRAM}', --socket, '${{socket}}', --endpoint, '{}']\n      \
                   env: {{AWS_ACCESS_KEY_ID: {}, AWS_SECRET_ACCESS_KEY: {}, DROVER_LOG: debug}}\n      \
                   memory: 256MiB\n",
            shown("fleet.git"),
            shown("data"),
            shown("plugins"),
            fake.endpoint(),
            drawn(),
            drawn(),
        );
        fs::write(self.path("agent.yaml"), text).unwrap();
    }

    /// Lets the agent serve its metrics, and returns where.
    pub(crate) fn listen(&self) -> String {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        let text = fs::read_to_string(self.path("agent.yaml")).unwrap();
        let listening = format!("listen: '{address}'");
        fs::write(
            self.path("agent.yaml"),
            text.replace("listen: 'off'", &listening),
        )
        .unwrap();
        address
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn hermetic(&self, program: &Path, dir: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LANG", "C.UTF-8")
            .current_dir(self.path(dir))
            .stdin(Stdio::null());
        command
    }

    fn git(&self, dir: &str, arguments: &[&str]) {
        let output = self
            .hermetic(Path::new("git"), dir)
            .args(arguments)
            .output();
        let output = output.expect("git is needed for these tests");
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
    }

    /// Commits files and pushes them, as a person would.
    pub(crate) fn push(&self, message: &str, files: &[(&str, &str)]) {
        for (path, text) in files {
            let place = self.path("work").join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
        }
        self.git("work", &["add", "--all"]);
        self.git("work", &["commit", "--quiet", "--message", message]);
        self.git("work", &["push", "--quiet", "origin", "HEAD:main"]);
    }

    pub(crate) fn start(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("agent.log"))
            .unwrap();
        let mut command = self.hermetic(&drover(), ".");
        command
            .args(["run", "-v", "--config"])
            .arg(self.path("agent.yaml"))
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.agent = Some(command.spawn().unwrap());
    }

    /// Ends the agent where it stands. What it started lives on.
    pub(crate) fn kill(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// Returns a group as `describe` shows it, once there is one.
    pub(crate) fn group(&self, name: &str) -> Option<Json> {
        let output = self
            .hermetic(&drover(), ".")
            .args(["describe", "group", name, "-o", "json", "--config"])
            .arg(self.path("agent.yaml"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        output
            .status
            .success()
            .then(|| serde_json::from_str(&text).unwrap())
    }

    /// Waits until a group is as wanted; there may be none yet.
    #[track_caller]
    pub(crate) fn wait(&self, name: &str, what: &str, done: impl Fn(&Json) -> bool) {
        let started = Instant::now();
        let mut last = Json::Null;
        while started.elapsed() < PATIENCE {
            last = self.group(name).unwrap_or_default();
            if done(&last) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{what}: {last:#}\n{}", self.log());
    }

    /// Waits until what is told of a group has all of these words.
    #[track_caller]
    pub(crate) fn wait_told(&self, name: &str, words: &[&str]) {
        self.wait(name, &format!("{words:?} is not told"), |group| {
            let told = group.to_string();
            words.iter().all(|word| told.contains(word))
        });
    }

    /// Waits until a group has converged at a size and the double has that many with this key, and no others.
    #[track_caller]
    pub(crate) fn wait_converged(&self, fake: &Fake, name: &str, size: usize, key: &str) {
        let started = Instant::now();
        let mut last = None;
        while started.elapsed() < PATIENCE {
            last = self.group(name);
            let done = last.as_ref().is_some_and(|group| {
                let counts = ["size", "total", "available", "updated"];
                group["phase"] == "Converged" && counts.iter().all(|count| group[*count] == size)
            });
            let world = fake.world();
            let all = world.living().count();
            let right = world.living().filter(|one| one.key == key).count();
            drop(world);
            if done && all == size && right == size {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let living = fake.world().living().count();
        panic!(
            "{name} does not converge at {size}; {living} live; {last:#?}\n{}",
            self.log()
        );
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.kill();
        // The plugin of an agent that was killed; it has the folder on its command line.
        let folder = self.folder.path().as_os_str().as_encoded_bytes().to_vec();
        let own = std::process::id().to_string();
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let names = line.windows(folder.len()).any(|part| part == folder);
            if let (Ok(pid), true, true) = (name.parse(), names, name != own)
                && let Some(pid) = Pid::from_raw(pid)
            {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

pub(crate) const PROVIDER: (&str, &str) = (
    "providers/aws.yaml",
    "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {name: aws}\n\
     spec: {type: plugin, plugin: ec2, settings: {region: eu-central-1}}\n",
);

fn group(size: usize, key: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: aws
  size: {size}
  template:
    properties: {{imageId: ami-00000001, instanceType: t3.micro, keyName: {key}}}
  rollout: {{minReady: 100ms, maxSurge: {SURGE}, failureThreshold: {SIZE}}}
  drain: {{delay: 0s}}
  limits: {{maxDestroy: '100%', maxCreatePerHour: 10000}}
"
    )
}

pub(crate) fn push(sandbox: &Sandbox, size: usize, key: &str) {
    let text = group(size, key);
    let message = format!("{size} with {key}");
    sandbox.push(&message, &[PROVIDER, ("groups/web.yaml", &text)]);
}

/// An EC2 that is slow and behind.
pub(crate) fn real() -> FakeSettings {
    let ms = Duration::from_millis;
    FakeSettings {
        boot: ms(300),
        list_lag: ms(200),
        interface_lag: ms(300),
        state_lag: ms(150),
        stop: ms(300),
        latency: ms(20),
        ..FakeSettings::default()
    }
}

/// Fails if anything was made twice: our ids, in the order of their launch index, and the tokens.
fn check_made_once(machines: &BTreeMap<String, Machine>) {
    let mut ids = BTreeMap::new();
    for machine in machines.values() {
        let name = match machine.tags.get("drover.instance") {
            Some(name) => name.clone(),
            None => format!(
                "{}[{}]",
                machine.tags["drover.instances"], machine.launch_index
            ),
        };
        let other = ids.insert(name.clone(), (&machine.id, &machine.token));
        assert_eq!(other, None, "{name} was made twice, also as {machine:?}");
    }
}

#[test]
fn the_agent_makes_rolls_and_ends_instances_over_the_program() {
    let fake = Fake::start(real());
    let mut sandbox = Sandbox::new(&fake);
    push(&sandbox, 5, "one");
    sandbox.start();
    sandbox.wait_converged(&fake, "web", 5, "one");
    push(&sandbox, 5, "two");
    sandbox.wait_converged(&fake, "web", 5, "two");
    check_made_once(&fake.world().machines);
    assert_eq!(fake.world().machines.len(), 10);
    // At rest, each pass is one listing.
    fake.calls();
    let passes = Instant::now();
    std::thread::sleep(Duration::from_secs(4));
    let calls = fake.calls();
    let listings = calls["DescribeInstances"];
    assert_eq!(calls.len(), 1, "{calls:?}");
    let seconds = passes.elapsed().as_secs();
    assert!(
        (1..=seconds + 2).contains(&listings),
        "{calls:?} in {seconds} s"
    );
    push(&sandbox, 0, "two");
    sandbox.wait_converged(&fake, "web", 0, "two");
}

/// Returns a figure in KiB of the status of the program that serves a sandbox.
fn kib(sandbox: &Sandbox, figure: &str) -> u64 {
    let socket = sandbox.path("plugins/ec2").display().to_string();
    let serves = |pid: &PathBuf| {
        let line = fs::read_to_string(pid.join("cmdline")).unwrap_or_default();
        line.starts_with(PROGRAM) && line.contains(&socket)
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pid = all.map(|entry| entry.path()).find(serves).unwrap();
    let status = fs::read_to_string(pid.join("status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with(figure))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn ten_thousand_instances_of_a_fleet_fit_into_the_memory_that_the_page_names() {
    let fake = Fake::start(FakeSettings::default());
    let mut sandbox = Sandbox::new(&fake);
    push(&sandbox, 1, "one");
    sandbox.start();
    sandbox.wait_converged(&fake, "web", 1, "one");
    {
        let mut world = fake.world();
        let template = world.machines.values().next().unwrap().clone();
        for copy in 0..10_000 {
            let mut machine = template.clone();
            machine.id = format!("i-{:017x}", 0x10_0000 + copy);
            // Another document's, so that the agent has nothing to do with them.
            let tags = &mut machine.tags;
            tags.insert("drover.provider".to_owned(), "other".to_owned());
            tags.insert("drover.instance".to_owned(), format!("web-{}", 2 + copy));
            world.machines.insert(machine.id.clone(), machine);
        }
    }
    fake.calls();
    let started = Instant::now();
    while fake.world().calls.get("DescribeInstances") < Some(&33) {
        assert!(started.elapsed() < PATIENCE, "three listings take too long");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!sandbox.log().contains("plugin ended"), "{}", sandbox.log());
    println!(
        "10,001 instances: address space {} MiB at most, resident {} MiB at most",
        kib(&sandbox, "VmPeak") / 1_024,
        kib(&sandbox, "VmHWM") / 1_024
    );
}

/// Random numbers that a seed gives again; splitmix64.
struct Random(u64);

impl Random {
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
    )
}

#[test]
fn fifty_instances_are_rolled_while_the_agent_is_killed_and_none_is_made_twice_or_left() {
    let kills = number("DROVER_TEST_EC2_KILLS").unwrap_or(KILLS);
    let seed = number("DROVER_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}: repeat with DROVER_TEST_SEED={seed}");
    let mut random = Random(seed);
    let fake = Fake::start(real());
    let mut sandbox = Sandbox::new(&fake);
    let push = |sandbox: &Sandbox, key: &str| {
        let subnets = "subnets: [subnet-a, subnet-b], keyName";
        let text = group(SIZE, key).replace("keyName", subnets);
        sandbox.push(key, &[PROVIDER, ("groups/web.yaml", &text)]);
    };
    push(&sandbox, "key-0");
    sandbox.start();
    sandbox.wait_converged(&fake, "web", SIZE, "key-0");
    let began = Instant::now();
    let mut rolls = 0;
    let mut killed_while_rolling = 0;
    for kill in 0..kills {
        // A new roll every ten kills: the one before may still be under way.
        if kill % 10 == 0 {
            rolls += 1;
            push(&sandbox, &format!("key-{rolls}"));
        }
        // One zone has no room for the next that asks there, and somebody does not hear what was made for them.
        if kill % 10 == 1 {
            let zone = ["eu-central-1a", "eu-central-1b"][rolls % 2];
            let mut world = fake.world();
            // After a third failure the agent would wait for longer than this test does.
            if rolls <= 2 {
                world.shortages.insert(zone.to_owned(), 1);
            }
            world.lose("RunInstances", 3);
        }
        // From before the first pass to some passes later.
        let life = Duration::from_secs_f64(0.2 + 3.0 * random.fraction());
        std::thread::sleep(life);
        let machines = fake.world();
        let wanted = format!("key-{rolls}");
        let old = machines.living().filter(|one| one.key != wanted).count();
        killed_while_rolling += u64::from(old > 0);
        drop(machines);
        sandbox.kill();
        sandbox.start();
    }
    sandbox.wait_converged(&fake, "web", SIZE, &format!("key-{rolls}"));
    let world = fake.world();
    check_made_once(&world.machines);
    assert!(world.peak <= SIZE + SURGE, "{} at once", world.peak);
    assert!(
        killed_while_rolling * 2 >= kills,
        "{killed_while_rolling} of {kills} kills came while a roll was under way"
    );
    println!(
        "{kills} kills, {killed_while_rolling} of them during {rolls} rolls of {SIZE} instances in {:?}: \
         {} instances made, each once; {} live; at most {} at once; calls: {:?}",
        began.elapsed(),
        world.machines.len(),
        world.living().count(),
        world.peak,
        world.calls
    );
}

/// A provider with places for members.
const PLACES: (&str, &str) = (
    "providers/aws.yaml",
    "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {name: aws}\n\
     spec:\n  type: plugin\n  plugin: ec2\n  \
     settings: {region: eu-central-1, places: {subnets: [subnet-a, subnet-b, subnet-c]}}\n",
);

fn quorum(key: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: db}}
spec:
  provider: aws
  members:
    - {{id: m1, attachments: [{{name: data}}]}}
    - {{id: m2, attachments: [{{name: data}}]}}
    - {{id: m3, attachments: [{{name: data}}]}}
  quorum: {{stabilize: 1s}}
  template:
    properties:
      imageId: ami-00000001
      instanceType: t3.micro
      keyName: {key}
      attachments: {{data: {{device: /dev/sdf, sizeGiB: 10}}}}
    flavors: [{{vanilla: {{init: ['join ${{members}} as ${{member.id}}']}}}}]
  rollout: {{minReady: 100ms}}
  drain: {{delay: 0s}}
  deletion: {{protect: true}}
"
    )
}

/// What each member has, by its name: address and volume.
fn belongings(fake: &Fake) -> BTreeMap<String, (String, String)> {
    let world = fake.world();
    let of = |machine: &Machine| {
        let mut disks = world.disks.iter();
        let own = disks.find(|(_, disk)| {
            let holder = disk.attached.as_ref();
            holder.is_some_and(|(holder, _)| *holder == machine.id)
        });
        let (volume, _) = own.unwrap_or_else(|| panic!("{machine:?} has no volume"));
        let member = machine.tags["drover.member"].clone();
        (member, (machine.address.clone(), volume.clone()))
    };
    world.living().map(of).collect()
}

#[test]
fn members_of_a_quorum_are_rolled_one_by_one_and_keep_addresses_and_volumes() {
    let fake = Fake::start(real());
    let mut sandbox = Sandbox::new(&fake);
    sandbox.push("one", &[PLACES, ("groups/db.yaml", &quorum("one"))]);
    sandbox.start();
    sandbox.wait_converged(&fake, "db", 3, "one");
    let before = belongings(&fake);
    assert_eq!(before.len(), 3);
    sandbox.push("two", &[("groups/db.yaml", &quorum("two"))]);
    sandbox.wait_converged(&fake, "db", 3, "two");
    assert_eq!(belongings(&fake), before);
    let world = fake.world();
    check_made_once(&world.machines);
    assert_eq!((world.machines.len(), world.peak), (6, 3));
    assert_eq!((world.interfaces.len(), world.disks.len()), (3, 3));
}

#[test]
fn members_get_their_volumes_however_often_these_are_refused() {
    let fake = Fake::start(real());
    let mut sandbox = Sandbox::new(&fake);
    let refused = 8;
    fake.world()
        .refuse("AttachVolume", "UnauthorizedOperation", refused);
    sandbox.push("one", &[PLACES, ("groups/db.yaml", &quorum("one"))]);
    sandbox.start();
    let called = |action: &str| fake.world().calls.get(action).copied().unwrap_or(0);
    let started = Instant::now();
    while called("AttachVolume") < 4 {
        assert!(started.elapsed() < PATIENCE, "{}", sandbox.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    // Whatever is listed and runs, the group is not there.
    let phase = |group: Option<Json>| group.map(|group| group["phase"].clone());
    assert_ne!(phase(sandbox.group("db")), Some("Converged".into()));
    // The agent dies, and does not take what is listed for finished either.
    sandbox.kill();
    fake.world().lose("AttachVolume", 1);
    sandbox.start();
    sandbox.wait_converged(&fake, "db", 3, "one");
    assert_eq!(belongings(&fake).len(), 3);
    let log = sandbox.log();
    assert!(log.contains("UnauthorizedOperation"), "{log}");
    let world = fake.world();
    check_made_once(&world.machines);
    assert_eq!((world.machines.len(), world.disks.len()), (3, 3));
}

#[test]
fn a_spot_instance_is_replaced_before_it_is_taken_and_a_live_change_replaces_none() {
    let fake = Fake::start(real());
    let mut sandbox = Sandbox::new(&fake);
    let spot = |groups: &str| {
        let text = group(2, "one");
        text.replace(
            "keyName",
            &format!("market: spot, securityGroups: [{groups}], keyName"),
        )
    };
    sandbox.push("one", &[PROVIDER, ("groups/web.yaml", &spot("sg-1"))]);
    sandbox.start();
    sandbox.wait_converged(&fake, "web", 2, "one");
    sandbox.push("groups", &[("groups/web.yaml", &spot("sg-1, sg-2"))]);
    let started = Instant::now();
    let changed = |machine: &Machine| machine.groups == ["sg-1", "sg-2"];
    while !fake.world().living().all(changed) {
        assert!(started.elapsed() < PATIENCE, "{}", sandbox.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    sandbox.wait_converged(&fake, "web", 2, "one");
    assert_eq!(fake.world().machines.len(), 2, "nothing was replaced");

    let marked = {
        let mut world = fake.world();
        let machine = world.machines.values_mut().next().unwrap();
        machine.marked = Some(drover_model::Timestamp::now());
        machine.id.clone()
    };
    let started = Instant::now();
    while fake.world().machines[&marked].ended.is_none() {
        assert!(started.elapsed() < PATIENCE, "{}", sandbox.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    sandbox.wait_converged(&fake, "web", 2, "one");
    let world = fake.world();
    assert_eq!(
        (world.machines.len(), world.peak),
        (3, 3),
        "the next one first"
    );
}
