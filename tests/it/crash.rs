//! The agent is killed at random moments, again and again, a fifth of the time with its data lost.
//! In the end exactly the right processes run, and no instance was ever started twice.
//!
//! `DROVER_CRASHES` sets how often, `DROVER_CRASH_SEED` repeats a run.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{PROVIDER, Sandbox, group};

const WEB: &str = "groups/web.yaml";

/// How often the agent is killed unless somebody says otherwise.
const CRASHES: u64 = 200;

/// Every so many crashes something is pushed.
const CRASHES_PER_PUSH: u64 = 8;

/// The longest life of an agent, in milliseconds: a start takes some 100, a step some 50.
const LIFE_MAX_MS: u64 = 500;

/// The whole test; a machine this slow would prove nothing more by going on.
const LIMIT: Duration = Duration::from_mins(8);

/// xorshift64*: small, seeded, good enough to choose moments.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).unwrap_or_default();
    text.parse().unwrap_or(otherwise)
}

/// The group at a size and version. Each instance notes its start in a file, once per process.
fn web(sandbox: &Sandbox, size: u32, version: u64) -> String {
    let notes = sandbox.path("started").display().to_string();
    let command = format!(
        "[/bin/sh, -c, 'echo \"$DROVER_INSTANCE {version}\" >> {notes}; exec sleep infinity']"
    );
    group("web", size, &command, "  limits: {maxDestroy: \"100%\"}\n")
}

/// Loses everything that the agent knows. What the provider has is the outside world, and stays.
fn lose_data(sandbox: &Sandbox) {
    fs::remove_dir_all(sandbox.path("data")).unwrap();
}

#[test]
fn crashes_at_any_moment_leave_nothing_behind_and_make_nothing_twice() {
    let crashes = number("DROVER_CRASHES", CRASHES);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let seed = number("DROVER_CRASH_SEED", now.as_nanos() as u64) | 1;
    println!("DROVER_CRASH_SEED={seed} DROVER_CRASHES={crashes}");
    let mut random = Random(seed);
    let sandbox = Sandbox::with_files(&[PROVIDER]);
    let outside = sandbox.path("outside").display().to_string();
    sandbox.configure(&format!("processDir: '{outside}'\n"));
    sandbox.push("none", &[(WEB, &web(&sandbox, 0, 1))]);

    let started = Instant::now();
    let (mut version, mut pushes, mut lost) = (1, 0, 0);
    for crash in 0..crashes {
        if crash % CRASHES_PER_PUSH == 0 {
            // 0 -> 20 -> 5, then a new version, and again.
            let size = if pushes % 3 == 0 { 20 } else { 5 };
            if pushes % 3 == 2 {
                version += 1;
            }
            pushes += 1;
            let message = format!("{size} of version {version}");
            sandbox.push(&message, &[(WEB, &web(&sandbox, size, version))]);
        }
        let agent = sandbox.agent();
        std::thread::sleep(Duration::from_millis(1 + random.below(LIFE_MAX_MS)));
        agent.kill();
        if random.below(5) == 0 && sandbox.path("data").exists() {
            lost += 1;
            lose_data(&sandbox);
        }
        let elapsed = started.elapsed();
        assert!(
            elapsed < LIMIT,
            "seed {seed}: {crash} crashes took {elapsed:?}"
        );
    }
    version += 1;
    sandbox.push("the end", &[(WEB, &web(&sandbox, 5, version))]);
    println!("crashed {crashes} times in {:?}", started.elapsed());
    let ran = sandbox.with_config(&["run", "--until-converged", "--timeout", "2m"]);
    assert_eq!(
        ran.code,
        Some(0),
        "seed {seed}: {}\n{}",
        ran.stderr,
        sandbox.agent_log()
    );
    println!(
        "{crashes} crashes, {lost} with lost data, {pushes} pushes, {:?}",
        started.elapsed()
    );

    check(&sandbox, seed, version);
}

/// Exactly the right processes run, and none was ever started twice.
fn check(sandbox: &Sandbox, seed: u64, version: u64) {
    let notes = fs::read_to_string(sandbox.path("started")).unwrap();
    let mut starts: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for line in notes.lines() {
        let (id, version) = line.split_once(' ').unwrap();
        starts.entry(id).or_default().push(version.parse().unwrap());
    }
    let twice: Vec<_> = starts
        .iter()
        .filter(|(_, versions)| versions.len() > 1)
        .collect();
    assert!(twice.is_empty(), "seed {seed}: started twice: {twice:?}");
    let running: Vec<String> = sandbox.processes().into_values().collect();
    assert_eq!(running.len(), 5, "seed {seed}: {running:?}");
    for id in &running {
        assert_eq!(
            starts[id.as_str()],
            [version],
            "seed {seed}: {id} is outdated"
        );
    }
    let folders = fs::read_dir(sandbox.path("outside/local/instances"))
        .unwrap()
        .count();
    assert_eq!(
        folders, 5,
        "seed {seed}: folders of instances that are gone"
    );
}
