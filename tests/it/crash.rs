//! The agent is killed at random moments, and nothing is made twice or lost.
//!
//! A group goes from nothing to twenty instances, to a second and a third template, and to five,
//! while the agent is killed two hundred times, mostly within the first moments of its life. A fifth
//! of the kills take the data directory with them: what was done and not published yet is forgotten
//! then, and the group waits a minute for instances that are missing from the listing.
//! Everything is real: binary, repository, processes.

#![allow(
    clippy::print_stdout,
    reason = "what a test prints appears when it fails"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use drover_apply::{Journal as _, RedbJournal};

use random::{Random, number_from_environment};

use crate::support::{PATIENCE, PROVIDER, Sandbox, wait_until};

mod random;

const LARGE: usize = 20;
const SMALL: usize = 5;
const SURGE: usize = 4;

/// Kills unless `DROVER_TEST_KILLS` says otherwise.
const KILLS: u64 = 200;

/// The group's file. Each start of a command leaves a line in the file `starts`.
fn group(sandbox: &Sandbox, size: usize, template: &str) -> String {
    let starts = sandbox.path("starts");
    let starts = starts.display();
    format!(
        r#"apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: local
  size: {size}
  template:
    properties:
      command:
        - /bin/sh
        - -c
        - 'echo "$DROVER_INSTANCE $DROVER_DATA_DIR" >> {starts}; exec sleep infinity'
    flavors: [{{vanilla: {{env: {{TEMPLATE: {template}}}}}}}]
  health: {{startupTimeout: 1m}}
  rollout: {{maxSurge: {SURGE}, minReady: 100ms, failureThreshold: {LARGE}}}
  drain: {{delay: 0s, timeout: 1s}}
  limits: {{maxDestroy: "100%"}}
"#
    )
}

fn push(sandbox: &Sandbox, size: usize, template: &str) {
    let text = group(sandbox, size, template);
    let message = format!("{size} of {template}");
    sandbox.push(&message, &[("groups/web.yaml", &text)]);
}

#[test]
fn nothing_is_made_twice_or_lost_when_the_agent_is_killed_at_any_moment() {
    let mut random = Random::from_environment();
    let kills = number_from_environment("DROVER_TEST_KILLS").unwrap_or(KILLS);
    let sandbox = Sandbox::with_files(&[PROVIDER]);
    let config = format!("processDir: '{}'\n", sandbox.path("processes").display());
    sandbox.configure(&config);
    push(&sandbox, 0, "first");
    let span = lifetime(&sandbox);
    let began = Instant::now();
    // One by one, so that there are many moments at which one is being made.
    let one_more = |made| (kills / 5 * made / LARGE as u64, made as usize + 1, "first");
    let mut acts: VecDeque<_> = (0..LARGE as u64).map(one_more).collect();
    acts.extend([
        (kills / 5, LARGE, "second"),
        (kills * 3 / 5, LARGE, "third"),
        (kills * 4 / 5, SMALL, "third"),
    ]);
    let mut witness = Witness::default();
    for kill in 0..kills {
        if let Some((_, size, template)) = acts.pop_front_if(|(at, ..)| *at <= kill) {
            push(&sandbox, size, template);
        }
        let agent = sandbox.agent_with(&["-v"]);
        // Some live longer, so that work which takes several passes gets on.
        let stretch = if random.one_in(10) { 4.0 } else { 1.0 };
        std::thread::sleep(span.mul_f64(random.fraction() * stretch));
        agent.kill();
        witness.look(&sandbox, kill);
        if loses_data(kill, kills, &mut random) {
            // It may have been killed before it made one.
            let data = sandbox.path("data");
            assert!(!data.exists() || fs::remove_dir_all(data).is_ok());
        }
    }
    println!(
        "{kills} kills in {:?}, each within {span:?}",
        began.elapsed()
    );
    for (_, size, template) in acts {
        push(&sandbox, size, template);
    }
    converge(&sandbox);

    // A few kills may all come too early to see anything.
    if kills >= KILLS {
        assert!(witness.mixed > 0, "the roll happened between the kills");
    }
    check_instances(&sandbox);
    check_starts(&sandbox);
    check_state_branch(&sandbox);
    check_journal(&sandbox);
}

/// Decides whether a kill takes the data directory with it: many do while instances are made, none
/// while the second template is rolled out, so that this gets on, and some after that.
fn loses_data(kill: u64, kills: u64, random: &mut Random) -> bool {
    match kill * 5 / kills {
        0 => random.one_in(2),
        1 | 2 => false,
        _ => random.one_in(4),
    }
}

/// Returns how long an agent lives mostly: for some of its first passes, however slow the machine.
fn lifetime(sandbox: &Sandbox) -> Duration {
    let began = Instant::now();
    sandbox.with_config(&["run", "--once"]).exits(0);
    let limits = (Duration::from_millis(300), Duration::from_secs(2));
    (began.elapsed() * 3).clamp(limits.0, limits.1)
}

/// Runs the agent until it is done and everything that it did is on the record: a lock in the
/// repository that it was killed with holds that up until it is old enough to be nobody's.
fn converge(sandbox: &Sandbox) {
    let began = Instant::now();
    while began.elapsed() < PATIENCE * 3 {
        // On a busy machine launches that were killed may have to back off for a minute more than once.
        let run = ["run", "--until-converged", "--timeout", "240s", "-v"];
        let ran = sandbox.with_config(&run).exits(0);
        let subject = last_of_group(sandbox);
        if subject.contains("web: converged") {
            return;
        }
        println!("{subject}{}", ran.stderr);
        std::thread::sleep(Duration::from_secs(1));
    }
    panic!("the end was never recorded:\n{}", sandbox.agent_log());
}

/// The subject of the newest commit about the group.
fn last_of_group(sandbox: &Sandbox) -> String {
    let path = "groups/web.yaml";
    let subject = git(
        sandbox,
        &["log", "-1", "--format=%s", "drover/state", "--", path],
    );
    subject.trim().to_owned()
}

/// Runs Git in the repository that the agent follows.
fn git(sandbox: &Sandbox, arguments: &[&str]) -> String {
    sandbox.git("fleet.git", arguments)
}

/// The command of an instance that lives.
#[derive(Debug)]
struct Live {
    instance: String,
    /// Which template it was made of.
    template: String,
}

fn live(sandbox: &Sandbox) -> Vec<Live> {
    let processes = sandbox.processes().into_iter();
    let of = |(pid, instance)| {
        let environment = fs::read_to_string(format!("/proc/{pid}/environ")).ok()?;
        let mut variables = environment.split('\0');
        let template = variables.find_map(|pair| pair.strip_prefix("TEMPLATE="))?;
        Some(Live {
            instance,
            template: template.to_owned(),
        })
    };
    processes.filter_map(of).collect()
}

/// Returns the processes that keep an instance below `process_dir`.
fn shims(process_dir: &Path) -> Vec<PathBuf> {
    let keeps_one = |path: &PathBuf| {
        let line = fs::read_to_string(path).unwrap_or_default();
        let words: Vec<&str> = line.split('\0').collect();
        let ours =
            |pair: &[&str]| pair[0] == "--keep" && Path::new(pair[1]).starts_with(process_dir);
        words.windows(2).any(ours)
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|entry| entry.path().join("cmdline"))
        .filter(keeps_one)
        .collect()
}

/// What was seen between the kills.
#[derive(Debug, Default)]
struct Witness {
    /// How often instances of both templates lived.
    mixed: usize,
}

impl Witness {
    fn look(&mut self, sandbox: &Sandbox, kill: u64) {
        let live = live(sandbox);
        assert!(
            live.len() <= LARGE + SURGE,
            "after kill {kill} {} instances live:\n{live:#?}\n{}",
            live.len(),
            sandbox.agent_log()
        );
        let ids: BTreeSet<_> = live.iter().map(|live| &live.instance).collect();
        assert_eq!(ids.len(), live.len(), "after kill {kill}: {live:#?}");
        let templates: BTreeSet<_> = live.iter().map(|live| &live.template).collect();
        self.mixed += usize::from(templates.len() > 1);
    }
}

/// Exactly the right processes live, each under one shim, and nothing else.
fn check_instances(sandbox: &Sandbox) {
    let process_dir = sandbox.path("processes");
    // A command's last moments, and its shim's, may be still to come.
    wait_until("five commands and five shims", PATIENCE, || {
        live(sandbox).len() == SMALL && shims(&process_dir).len() == SMALL
    });
    let live = live(sandbox);
    assert!(
        live.iter().all(|live| live.template == "third"),
        "{live:#?}"
    );
    let instances = names(sandbox, "instances");
    let spent = names(sandbox, "spent");
    assert_eq!(instances.len(), SMALL, "{instances:?}");
    assert!(instances.is_disjoint(&spent), "a token of one that is gone");
    let recorded = git(sandbox, &["show", "drover/state:groups/web.yaml"]);
    for live in &live {
        assert!(recorded.contains(&live.instance), "{recorded}");
    }
}

/// Each instance, and each token, was started once at most, whatever became of it.
fn check_starts(sandbox: &Sandbox) {
    let starts = fs::read_to_string(sandbox.path("starts")).unwrap();
    let mut instances = BTreeMap::new();
    let mut tokens = BTreeSet::new();
    for start in starts.lines() {
        let (instance, data) = start.split_once(' ').expect("two words a line");
        let token = data.trim_end_matches("/data").rsplit('/').next();
        let token = token.expect("the folder is named by the token");
        let earlier = instances.insert(instance.to_owned(), token.to_owned());
        assert_eq!(
            earlier,
            None,
            "{instance} was made twice:\n{}",
            sandbox.agent_log()
        );
        assert!(tokens.insert(token.to_owned()), "{token} was started twice");
    }
    assert!(instances.len() >= SMALL, "{starts}");
    let known: BTreeSet<_> = names(sandbox, "instances")
        .into_iter()
        .chain(names(sandbox, "spent"))
        .collect();
    assert!(tokens.is_subset(&known), "a token was forgotten");
    println!("{} instances were made", instances.len());
}

/// The audit log is whole: valid objects, no empty commit, every commit says who and why.
fn check_state_branch(sandbox: &Sandbox) {
    // It fails where it finds something.
    git(sandbox, &["fsck", "--strict", "--full"]);
    let trailer = |key| format!("%(trailers:key={key},valueonly,separator=%x2C)");
    let trailers = ["Drover-Agent", "Drover-Group", "Drover-Result"].map(trailer);
    let format = format!("--format=%H%x09%T%x09%P%x09{}%x09%s", trailers.join("%x09"));
    let log = git(sandbox, &["log", "--reverse", &format, "drover/state"]);
    let last = last_of_group(sandbox);
    assert_eq!(last, "web: converged, 5 available");
    let mut before: Option<(String, String)> = None;
    let mut commits = 0;
    for line in log.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, tree, parents, agent, group, result, subject] = fields[..] else {
            panic!("{line:?}");
        };
        let (parent, parent_tree) = before.clone().unwrap_or_default();
        assert_eq!(parents, parent, "one line of history: {line}");
        assert_ne!(tree, parent_tree, "an empty commit: {line}");
        assert!(agent.starts_with("test "), "{line}");
        if subject.starts_with("web: ") {
            assert_eq!(group, "web", "{line}");
            assert!(!result.is_empty(), "{line}");
        }
        before = Some((id.to_owned(), tree.to_owned()));
        commits += 1;
    }
    println!("{commits} commits");
}

/// Nothing is left that somebody would have to find the end of.
fn check_journal(sandbox: &Sandbox) {
    let journal = RedbJournal::open(&sandbox.path("data")).unwrap();
    let open = journal.groups().unwrap();
    assert!(open.is_empty(), "open intents of {open:?}");
}

fn names(sandbox: &Sandbox, kind: &str) -> BTreeSet<String> {
    let folder = sandbox.path("processes").join("local").join(kind);
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}
