//! The acts. Each tells what it does, lets it happen, and verifies that it did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use drover_git::{CommitInfo, Edit, Oid};
use drover_model::{GroupPhase, Hold, RecordedGroup};

use super::documents::{GROUP_FILE, Web, policy, provider};
use super::load::{Load, field};
use super::server::PORT;
use super::stage::{GROUP, Stage};
use super::{Narrator, by_version, http};
use crate::commands::entries;
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::source_edit;
use crate::view;

/// How long any act may take. They take seconds; a loaded machine may be ten times slower.
const LIMIT: Duration = Duration::from_secs(90);

/// How long the held update is watched not to happen.
const HELD_FOR: Duration = Duration::from_millis(1_500);

/// The fewest requests that make the claim about the rolling update worth something.
const REQUESTS_MIN: u64 = 100;

/// Plays everything.
pub(super) fn play(stage: &mut Stage, narrator: &Narrator) -> CommandResult<()> {
    first_group(stage, narrator)?;
    scale(stage, narrator)?;
    rolling_update(stage, narrator)?;
    healing(stage, narrator)?;
    bad_push(stage, narrator)?;
    held_update(stage, narrator)?;
    audit_log(stage, narrator)
}

/// The group as most acts have it.
fn web(size: u32, version: u32) -> Web {
    Web {
        size,
        version,
        updates: "welcome",
    }
}

fn first_group(stage: &mut Stage, narrator: &Narrator) -> CommandResult<()> {
    narrator.act(1, "A first group converges")?;
    narrator.say("The repository gets a group of 3 web servers, and an agent follows it.")?;
    let web = web(3, 1);
    stage.push("web: three servers", &[provider(), web.edit()?])?;
    let started = Instant::now();
    stage.start_agent()?;
    let group = stage.wait("the first group", LIMIT, &mut |group| converged(group, 3))?;
    narrator.say(&instances(&group))?;
    let servers = servers(stage, 3)?;
    ensure(
        servers.values().all(|server| server.version == "1"),
        "every server answers as version 1",
    )?;
    narrator.verified(&format!(
        "3 of 3 available and answering, {}",
        took(started)
    ))
}

fn scale(stage: &mut Stage, narrator: &Narrator) -> CommandResult<()> {
    narrator.act(2, "A push scales it")?;
    narrator.say("git push: size: 3 -> 5")?;
    let before = servers(stage, 3)?;
    let started = Instant::now();
    let web = web(5, 1);
    let commit = stage.push("web: five servers", &[web.edit()?])?;
    stage.wait("five instances", LIMIT, &mut |group| {
        in_force(group, commit) && converged(group, 5)
    })?;
    let after = servers(stage, 5)?;
    ensure(
        before
            .iter()
            .all(|(id, server)| after.get(id).map(|s| s.pid) == Some(server.pid)),
        "the first three servers are the same processes as before",
    )?;
    narrator.verified(&format!(
        "5 of 5 available, the first 3 untouched, {}",
        took(started)
    ))
}

fn rolling_update(stage: &mut Stage, narrator: &Narrator) -> CommandResult<()> {
    narrator.act(3, "A rolling update under load")?;
    narrator.say("git push: version 1 -> 2, while requests keep coming without a pause.")?;
    let load = Load::start(&stage.members_file());
    let started = Instant::now();
    let web = web(5, 2);
    let commit = stage.push("web: version 2", &[web.edit()?])?;
    let mut told = String::new();
    stage.wait("the update", LIMIT, &mut |group| {
        if !in_force(group, commit) {
            return false;
        }
        let view = view::group(group, &view::Declared::default());
        let line = format!(
            "{} of {} updated, {} available, {} in total",
            view.updated, view.size, view.available, view.total
        );
        if line != told {
            // A closed stdout is noticed by whoever tells the next thing.
            let _ = narrator.say(&line);
            told = line;
        }
        rolled(group, 5)
    })?;
    let tally = load.stop();
    let servers = servers(stage, 5)?;
    ensure(
        servers.values().all(|server| server.version == "2"),
        "every server answers as version 2",
    )?;
    if tally.failed > 0 {
        let why = tally.first_failure.unwrap_or_default();
        return Err(CommandError::new(format!(
            "{} of {} requests failed during the rolling update; the first: {why}",
            tally.failed, tally.sent
        )));
    }
    ensure(tally.sent >= REQUESTS_MIN, "enough requests were sent")?;
    ensure(tally.versions.len() == 2, "both versions answered requests")?;
    narrator.verified(&format!(
        "0 of {} requests failed ({}), {}",
        tally.sent,
        by_version(&tally.versions),
        took(started)
    ))
}

fn healing(stage: &mut Stage, narrator: &Narrator) -> CommandResult<()> {
    narrator.act(4, "A killed server is replaced")?;
    let servers = servers(stage, 5)?;
    let (victim, server) = servers
        .iter()
        .next()
        .ok_or_else(|| CommandError::new("there is no server to kill"))?;
    narrator.say(&format!("kill -9 {} ({victim})", server.pid))?;
    let started = Instant::now();
    let pid = rustix::process::Pid::from_raw(server.pid)
        .ok_or_else(|| CommandError::new("the server did not say its process id"))?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        .context(format!("cannot kill process {}", server.pid))?;
    let group = stage.wait("the replacement", LIMIT, &mut |group| {
        let gone = group.instances.keys().all(|id| id.to_string() != *victim);
        gone && converged(group, 5)
    })?;
    let new: Vec<String> = group
        .instances
        .keys()
        .map(ToString::to_string)
        .filter(|id| !servers.contains_key(id))
        .collect();
    ensure(new.len() == 1, "exactly one new server replaces it")?;
    narrator.verified(&format!(
        "{} took the place of {victim}, {}",
        new.join(", "),
        took(started)
    ))
}

fn bad_push(stage: &mut Stage, narrator: &Narrator) -> CommandResult<()> {
    narrator.act(5, "A bad push is refused")?;
    narrator.say("git push: a typo, and a percentage that is none")?;
    let before = servers(stage, 5)?;
    let good = web(5, 2).text()?;
    let bad = good
        .replace("  size: 5", "  sise: 50")
        .replace("maxSurge: 3", "maxSurge: 120%");
    let commit = stage.push("web: fifty servers", &[Edit::put(GROUP_FILE, bad)])?;
    let group = stage.wait("the refusal", LIMIT, &mut |group| {
        group
            .holds
            .iter()
            .any(|held| matches!(held.hold, Hold::SpecInvalid { .. }))
    })?;
    let documents = Documents::from_commit(&stage.repository.mirror, commit, "")?;
    let source = |path: &str| documents.texts.get(path).cloned();
    let rendered = drover_spec::render(&documents.diagnostics, &source, narrator.ui.out_color());
    narrator.say(rendered.trim_end())?;
    ensure(
        documents
            .diagnostics
            .iter()
            .filter(|mistake| mistake.is_error())
            .count()
            >= 3,
        "all mistakes are found in one run",
    )?;
    ensure(group.size == 5, "the last good document stays in force")?;
    let after = servers(stage, 5)?;
    ensure(pids(&before) == pids(&after), "no server was touched")?;
    stage.push(
        "Revert \"web: fifty servers\"",
        &[Edit::put(GROUP_FILE, good)],
    )?;
    stage.wait("the revert", LIMIT, &mut |group| {
        group.holds.is_empty() && converged(group, 5)
    })?;
    narrator.verified("the last good document stayed in force, no server was touched")
}

fn held_update(stage: &mut Stage, narrator: &Narrator) -> CommandResult<()> {
    narrator.act(6, "A policy holds an update")?;
    narrator.say("git push: updates only where the label `updates` says `welcome`, in CEL")?;
    stage.push("Update groups by invitation only", &[policy()])?;
    narrator.say("git push: version 2 -> 3, and the label `updates: later`")?;
    let mut web = web(5, 3);
    web.updates = "later";
    stage.push("web: version 3, later", &[web.edit()?])?;
    let is_gate = |group: &RecordedGroup| {
        group
            .holds
            .iter()
            .any(|held| matches!(held.hold, Hold::GateClosed(_)))
    };
    let group = stage.wait("the hold", LIMIT, &mut |group| is_gate(group))?;
    for held in group
        .holds
        .iter()
        .filter(|held| matches!(held.hold, Hold::GateClosed(_)))
    {
        narrator.say(view::hold_lines(held).trim_end())?;
    }
    let started = Instant::now();
    while started.elapsed() < HELD_FOR {
        stage.check_interrupted()?;
        let servers = servers(stage, 5)?;
        ensure(
            servers.values().all(|server| server.version == "2"),
            "no server is updated while the policy holds",
        )?;
        std::thread::sleep(Duration::from_millis(100));
    }
    narrator.verified("all 5 servers stay at version 2")?;
    narrator.say("git push: updates: later -> welcome")?;
    let started = Instant::now();
    web.updates = "welcome";
    let commit = stage.push("web: updates are welcome", &[web.edit()?])?;
    stage.wait("the released update", LIMIT, &mut |group| {
        in_force(group, commit) && rolled(group, 5) && !is_gate(group)
    })?;
    let servers = servers(stage, 5)?;
    ensure(
        servers.values().all(|server| server.version == "3"),
        "every server answers as version 3",
    )?;
    narrator.verified(&format!("released: all 5 at version 3, {}", took(started)))
}

fn audit_log(stage: &mut Stage, narrator: &Narrator) -> CommandResult<()> {
    narrator.act(7, "The audit log is the Git log")?;
    narrator.say("git log --reverse drover/state")?;
    // The last commits may be on their way.
    let started = Instant::now();
    let mut log = entries(&stage.repository, None, 1_000)?;
    while !log.iter().any(is_complete) && started.elapsed() < LIMIT {
        stage.check_interrupted()?;
        std::thread::sleep(Duration::from_millis(100));
        log = entries(&stage.repository, None, 1_000)?;
    }
    tell_log(&log, narrator)?;
    let of_group: Vec<_> = log
        .iter()
        .filter(|entry| entry.trailer("Drover-Group") == Some(GROUP))
        .collect();
    // The first group, the scaling, the update, the healing, the refusal and the release.
    ensure(of_group.len() >= 6, "every act left an entry")?;
    let sources: BTreeSet<_> = of_group
        .iter()
        .filter_map(|e| e.trailer("Drover-Source"))
        .collect();
    ensure(
        sources.len() >= 3,
        "entries name the commits that caused them",
    )?;
    let tip = source_edit::tip(stage.target())?;
    let by_people = stage
        .repository
        .mirror
        .log(tip, None, 1_000)
        .context("cannot read the branch main")?;
    ensure(
        by_people.iter().all(|commit| commit.author.name == "Ada"),
        "the agent never writes to the branch of the people",
    )?;
    narrator.verified(&format!("{} entries, one for each transition", log.len()))
}

/// Prints the subjects, each once where several in a row say the same, and one entry in full.
fn tell_log(log: &[CommitInfo], narrator: &Narrator) -> CommandResult<()> {
    let mut last = "";
    for entry in log.iter().rev() {
        if entry.subject != last {
            narrator.say(&format!("{} {}", entry.id.short(), entry.subject))?;
        }
        last = &entry.subject;
    }
    if let Some(newest) = log.iter().find(|entry| is_complete(entry)) {
        narrator.say("The newest entry in full:")?;
        let lines: Vec<String> = newest
            .message
            .trim_end()
            .lines()
            .map(|l| format!("  {l}"))
            .collect();
        narrator.say(&lines.join("\n"))?;
    }
    Ok(())
}

fn is_complete(entry: &CommitInfo) -> bool {
    entry.trailer("Drover-Group") == Some(GROUP)
}

/// A server as it describes itself.
#[derive(Debug, Clone)]
struct Server {
    version: String,
    pid: i32,
}

/// Asks every published member who it is.
fn servers(stage: &Stage, count: usize) -> CommandResult<BTreeMap<String, Server>> {
    let mut servers = BTreeMap::new();
    for member in stage.ready_members() {
        let address = member.address.unwrap_or_default();
        let body = http::get(&address, PORT, "/")
            .context(format!("{} at {address} does not answer", member.id))?;
        let said = |name| field(&body, name).unwrap_or_default();
        ensure(
            said("instance") == member.id,
            "a server answers under its own address",
        )?;
        let server = Server {
            version: said("version"),
            pid: said("pid").parse().unwrap_or_default(),
        };
        servers.insert(member.id, server);
    }
    if servers.len() == count {
        return Ok(servers);
    }
    Err(CommandError::new(format!(
        "{count} members should be published as ready, not {}",
        servers.len()
    )))
}

fn pids(servers: &BTreeMap<String, Server>) -> Vec<i32> {
    servers.values().map(|server| server.pid).collect()
}

/// Whether the document of this commit is the one in force.
fn in_force(group: &RecordedGroup, commit: Oid) -> bool {
    let accepted = group.accepted.as_ref();
    accepted.is_some_and(|accepted| accepted.revision.as_str() == commit.to_string())
}

fn converged(group: &RecordedGroup, size: u32) -> bool {
    let view = view::group(group, &view::Declared::default());
    group.phase == GroupPhase::Converged
        && view.size == size
        && view.available == size
        && view.updated == size
        && view.total == size
}

fn rolled(group: &RecordedGroup, size: u32) -> bool {
    converged(group, size) && group.rollout.is_none() && group.stable == group.target
}

fn instances(group: &RecordedGroup) -> String {
    let line = |(id, instance): (&drover_model::InstanceId, &drover_model::RecordedInstance)| {
        let address = instance.address.as_deref().unwrap_or("-");
        format!("{id}  {address}  {}\n", instance.class)
    };
    group.instances.iter().map(line).collect()
}

fn took(started: Instant) -> String {
    format!("{:.1} s", started.elapsed().as_secs_f64())
}

fn ensure(holds: bool, what: &str) -> CommandResult<()> {
    if holds {
        Ok(())
    } else {
        Err(CommandError::new(format!("this does not hold: {what}")))
    }
}
