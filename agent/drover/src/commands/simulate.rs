//! `drover simulate`: the rollout that a change would cause, on a virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use drover_loop::SourcePlace;
use drover_model::{
    ApprovalRule, GroupName, ProviderName, RecordedGroup, Revision, Signer, Timestamp, counted,
};
use drover_provider::ObjectSchema;
use drover_provider_sim::{Bucket, Op, Share, Throttle};
use drover_sim::fleet::{self, Commit, RecordedStart, Scenario, Timing, WhatIf};
use drover_spec::format_duration;

use crate::check;
use crate::cli::{Rates, SimulateArgs, SimulateOutput};
use crate::documents::{Documents, is_folder};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::output;
use crate::providers;
use crate::settings::Settings;
use crate::shipped;
use crate::simulation::{self, Assumed, SimulationView};
use crate::snapshot::{Lazy, Repository};
use crate::ui::Ui;

use super::plan::Invalid;

/// Runs the command.
pub(super) fn run(args: &SimulateArgs, ui: Ui) -> CommandResult {
    let view = simulated(args, ui)?;
    let text = match args.output {
        SimulateOutput::Text => simulation::text(&view, ui.out_color()),
        SimulateOutput::Json => output::json(&view)?,
        SimulateOutput::Markdown => simulation::markdown(&view),
        SimulateOutput::Svg => simulation::svg(&view),
    };
    ui.result(&text)?;
    Ok(view.exit())
}

/// Simulates what the arguments ask for.
pub(super) fn simulated(args: &SimulateArgs, ui: Ui) -> CommandResult<SimulationView> {
    let settings = settings(args)?;
    let ends = Ends::open(args, &settings)?;
    if let Some(invalid) = Invalid::find(&ends.head.documents, &ends.head.shown) {
        return Err(invalid.told(ui));
    }
    for note in ends.notes() {
        ui.message(&format!("note: {note}"));
    }
    let scenario = scenario(args, &settings, &ends)?;
    known_groups(&args.groups, &scenario, &ends)?;
    known_zones(&scenario, &ends)?;
    let outcome = fleet::simulate(&scenario).context("cannot simulate")?;
    for note in &outcome.notes {
        ui.message(&format!("note: {note}"));
    }
    let assumed = Assumed {
        base: ends.base_name(),
        head: ends.head.shown.clone(),
        at: args.at,
        seed: args.seed,
        horizon: args.horizon,
        what_if: what_if_words(args),
    };
    let groups = &args.groups;
    let chosen = |name: &GroupName| groups.is_empty() || groups.contains(name);
    let all = args.all || !groups.is_empty();
    Ok(SimulationView::of(&outcome, &assumed, &|name, group| {
        chosen(name) && (all || group.is_touched())
    }))
}

/// Resolves where the repository is: what is configured, else here.
fn settings(args: &SimulateArgs) -> CommandResult<Settings> {
    let mut source = args.source.clone();
    let is_clone = || Path::new(".git").exists();
    if source.source.is_none() && source.config.is_none() {
        let here = std::env::current_dir().context("cannot use this folder")?;
        source.source = Some(here.display().to_string());
    } else if args.head.is_none() && (source.source.is_some() || !is_clone()) {
        // The agent's file, which may be named for good, says what is watched and not what is pushed.
        let wanted = "say what is pushed: --head REF, or --head ./FOLDER";
        return Err(CommandError::usage(wanted));
    }
    Settings::of_source(&source)
}

/// One end of the comparison.
struct End {
    documents: Documents,
    commit: Commit,
    /// How it is called.
    shown: String,
}

/// Both ends, or the recorded state and the head.
struct Ends {
    base: Option<End>,
    recorded: Option<RecordedStart>,
    head: End,
    /// What agents recorded, as far as that is at hand.
    states: BTreeMap<GroupName, RecordedGroup>,
}

impl Ends {
    fn open(args: &SimulateArgs, settings: &Settings) -> CommandResult<Self> {
        let mut repository = Lazy::of(settings);
        let head = match &args.head {
            Some(name) => End::read(name, settings, &mut repository)?,
            None => End::folder(Path::new("."), settings, "the folder as it is")?,
        };
        if head.documents.files.is_empty() {
            return Err(
                CommandError::new(format!("{} has no documents", head.shown)).hint(
                    "a fleet has YAML files such as groups/web.yaml; `drover init DIR` makes one",
                ),
            );
        }
        if args.recorded {
            let recorded = recorded(repository.get()?)?;
            return Ok(Self {
                base: None,
                states: recorded.groups.clone(),
                recorded: Some(recorded),
                head,
            });
        }
        let base = args.base.as_deref().unwrap_or(&settings.branch);
        let base = End::read(base, settings, &mut repository).map_err(|error| {
            if args.base.is_some() {
                error
            } else {
                error.hint("say what to compare with: --base REF, or --base ./FOLDER")
            }
        })?;
        Ok(Self {
            base: Some(base),
            recorded: None,
            head,
            states: repository.recorded(),
        })
    }

    fn base_name(&self) -> String {
        let base = self.base.as_ref();
        base.map_or_else(
            || "the recorded state".to_owned(),
            |base| base.shown.clone(),
        )
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(base) = &self.base {
            let mistakes = check::check(&base.documents).errors();
            if mistakes > 0 {
                notes.push(format!(
                    "the base {} has {}; what is not valid there does not exist at the start",
                    base.shown,
                    counted(mistakes, "mistake")
                ));
            }
        }
        let recorded = self.recorded.as_ref();
        if recorded.is_some_and(|recorded| recorded.groups.is_empty()) {
            notes.push("the state branch records no group".to_owned());
        }
        notes
    }
}

impl End {
    /// Reads a commit or branch, or a folder: `.`, or a path that begins with `/`, `./` or `../`.
    fn read(name: &str, settings: &Settings, repository: &mut Lazy<'_>) -> CommandResult<Self> {
        if is_folder(name) {
            return Self::folder(Path::new(name), settings, name);
        }
        let repository = repository
            .get()
            .map_err(|error| error.hint("a folder is written with a slash, such as ./before"))?;
        let mirror = &repository.mirror;
        let commit = repository.commit_named(name).map_err(|error| {
            error.hint(
                "name a commit or a branch; a folder is written with a slash, such as ./after",
            )
        })?;
        let attempted = || format!("cannot read commit {}", commit.short());
        let info = mirror.commit(commit).context(attempted())?;
        let documents = Documents::from_commit(mirror, commit, &settings.path)?;
        let short = commit.short();
        Ok(Self {
            shown: if name.starts_with(&short) {
                short
            } else {
                format!("{name} ({short})")
            },
            commit: Commit {
                revision: Revision::parse(&commit.to_string()).context(attempted())?,
                author: format!("{} <{}>", info.author.name, info.author.email),
                subject: info.subject,
                trailers: info.trailers.into_iter().collect(),
                files: documents.texts.clone(),
            },
            documents,
        })
    }

    fn folder(path: &Path, settings: &Settings, shown: &str) -> CommandResult<Self> {
        let path = match settings.path.trim_matches('/') {
            "" => path.to_owned(),
            inside => path.join(inside),
        };
        let documents = Documents::from_path(&path)?;
        Ok(Self {
            commit: Commit {
                revision: documents.revision()?,
                author: String::new(),
                subject: "not committed".to_owned(),
                trailers: BTreeMap::new(),
                files: documents.texts.clone(),
            },
            documents,
            shown: shown.to_owned(),
        })
    }
}

fn known_groups(groups: &[GroupName], scenario: &Scenario, ends: &Ends) -> CommandResult<()> {
    let ends = ends.base.iter().chain([&ends.head]);
    let names = ends.flat_map(|end| end.documents.repository.groups.keys());
    let mut known: BTreeSet<GroupName> = names.cloned().collect();
    if let Some(recorded) = &scenario.recorded {
        known.extend(recorded.groups.keys().cloned());
    }
    let named = groups.iter().chain(
        scenario
            .what_if
            .kills
            .iter()
            .filter_map(|kill| kill.group.as_ref()),
    );
    let named = named.chain(
        scenario
            .what_if
            .failing
            .iter()
            .filter_map(|share| share.group.as_ref()),
    );
    for group in named {
        if !known.contains(group) {
            let names: Vec<&str> = known.iter().map(GroupName::as_str).collect();
            return Err(CommandError::new(format!("there is no group {group}"))
                .hint(format!("the groups are {}", names.join(", "))));
        }
    }
    Ok(())
}

fn known_zones(scenario: &Scenario, ends: &Ends) -> CommandResult<()> {
    let documents = ends.base.iter().chain([&ends.head]);
    let groups = documents.flat_map(|end| end.documents.repository.groups.values());
    let placed = groups.map(|group| &group.value.spec.placement);
    let mut known: BTreeSet<&str> = placed
        .flat_map(|placement| placement.zones.iter().map(String::as_str))
        .collect();
    let recorded = scenario.recorded.iter().flat_map(|one| one.groups.values());
    let instances = recorded.flat_map(|group| group.instances.values());
    known.extend(instances.filter_map(|instance| instance.zone.as_deref()));
    for outage in &scenario.what_if.outages {
        let zone = outage.zone.as_str();
        if !known.contains(zone) {
            let error = CommandError::new(format!("no group has instances in a zone {zone}"));
            return Err(if known.is_empty() {
                error.hint("a group names its zones in `placement.zones`")
            } else {
                let known: Vec<&str> = known.into_iter().collect();
                error.hint(format!("the zones are {}", known.join(", ")))
            });
        }
    }
    Ok(())
}

fn recorded(repository: &Repository) -> CommandResult<RecordedStart> {
    let snapshot = repository.snapshot()?;
    Ok(RecordedStart {
        files: repository.state_files()?,
        groups: snapshot.groups,
    })
}

/// Returns what is known of the properties of plugins, by the later document where both ends have one.
fn properties(ends: &Ends) -> BTreeMap<ProviderName, ObjectSchema> {
    let documents = ends.base.iter().chain([&ends.head]);
    let known =
        documents.flat_map(|end| shipped::properties(&end.documents.repository, &ends.states));
    known.collect()
}

fn scenario(args: &SimulateArgs, settings: &Settings, ends: &Ends) -> CommandResult<Scenario> {
    let registry = providers::registry();
    let mut types = Vec::new();
    for type_ in registry.types() {
        let manifest = registry.manifest(type_);
        types.push(manifest.context("cannot stand in for a provider")?.clone());
    }
    let at = start(args, ends.recorded.as_ref())?;
    let usual = Timing::default();
    Ok(Scenario {
        fleet: settings.fleet.clone(),
        agent: settings.name.clone(),
        place: SourcePlace {
            branch: settings.branch.clone(),
            path: settings.path.clone(),
        },
        base: ends.base.as_ref().unwrap_or(&ends.head).commit.clone(),
        head: ends.head.commit.clone(),
        then: Vec::new(),
        recorded: ends.recorded.clone(),
        types,
        properties: properties(ends),
        at,
        horizon: args.horizon,
        seed: args.seed,
        timing: Timing {
            boot: args.boot,
            ready: args.ready,
            drain: args.drain.unwrap_or(usual.drain),
            stop: args.stop,
        },
        what_if: WhatIf {
            approvers: if args.approved {
                approvers(ends)
            } else {
                BTreeSet::new()
            },
            ..what_if(args)
        },
    })
}

/// Returns when the push happens: as said, else with the next minute, and not before what is recorded.
fn start(args: &SimulateArgs, recorded: Option<&RecordedStart>) -> CommandResult<Timestamp> {
    let groups = recorded.iter().flat_map(|start| start.groups.values());
    let moments = groups.flat_map(|group| {
        let instances = group.instances.values().map(|one| one.created_at);
        let conditions = group.conditions.values().map(|condition| condition.since);
        instances.chain(conditions)
    });
    let latest = moments.max().unwrap_or(Timestamp::MIN);
    match args.at {
        Some(at) if at < latest => Err(CommandError::new(format!(
            "the recorded state is of {latest}, later than --at {at}"
        ))
        .hint("leave --at out, or name a later time")),
        Some(at) => Ok(at),
        None => Ok(minute_after(Timestamp::now()).max(minute_after(latest))),
    }
}

/// Returns the next whole minute, so that simulations of one minute begin alike.
fn minute_after(at: Timestamp) -> Timestamp {
    let minutes = at.as_second().div_euclid(60) + 1;
    Timestamp::from_second(minutes * 60).unwrap_or(at)
}

fn what_if(args: &SimulateArgs) -> WhatIf {
    let share = |fail: &crate::cli::Fail| Share {
        group: fail.group.clone(),
        thousandths: fail.thousandths,
    };
    WhatIf {
        failing: args.fail.iter().map(share).collect(),
        capacity: args.capacity.map(|capacity| capacity as usize),
        throttles: args.throttle.map(throttles).unwrap_or_default(),
        kills: args.kill.clone(),
        outages: args.zone_outage.clone(),
        crashes: args.crash_agent.clone(),
        approvers: BTreeSet::new(),
    }
}

/// Returns people enough for every approval: those that bindings name, and as many others as one may need.
fn approvers(ends: &Ends) -> BTreeSet<Signer> {
    let documents = ends.base.iter().chain([&ends.head]);
    let bindings = documents.flat_map(|end| end.documents.repository.bindings.values());
    let rules: Vec<&ApprovalRule> = bindings.map(|binding| &binding.value.approvals).collect();
    let named = rules.iter().flat_map(|rule| rule.from.iter().cloned());
    let most = rules.iter().map(|rule| rule.count).max().unwrap_or(0);
    let others = (1..=most).map(|number| format!("approver-{number}@simulated"));
    let others = others.filter_map(|name| Signer::parse(&name).ok());
    named.chain(others).collect()
}

/// Returns the rates of a cloud, as it publishes them for an account and region.
fn throttles(rates: Rates) -> BTreeMap<Op, Throttle> {
    let bucket = |burst, per_second| Some(Bucket { burst, per_second });
    match rates {
        Rates::Ec2 => BTreeMap::from([
            (
                Op::List,
                Throttle {
                    calls: bucket(100, 20),
                    instances: None,
                },
            ),
            (
                Op::Provision,
                Throttle {
                    calls: bucket(5, 2),
                    instances: bucket(1_000, 2),
                },
            ),
            (
                Op::Destroy,
                Throttle {
                    calls: bucket(100, 5),
                    instances: bucket(1_000, 20),
                },
            ),
            (
                Op::Update,
                Throttle {
                    calls: bucket(50, 5),
                    instances: None,
                },
            ),
            (
                Op::Release,
                Throttle {
                    calls: bucket(100, 10),
                    instances: None,
                },
            ),
        ]),
    }
}

/// Says what was assumed beyond the usual, as it was asked for.
fn what_if_words(args: &SimulateArgs) -> Vec<String> {
    let mut words = Vec::new();
    let spans = [
        ("boot", args.boot),
        ("ready", args.ready),
        ("drain", args.drain),
    ];
    for (name, span) in spans {
        if let Some(span) = span {
            words.push(format!("--{name} {}", crate::cli::span_text(span)));
        }
    }
    words.extend(
        args.stop
            .map(|stop| format!("--stop {}", format_duration(stop))),
    );
    let of = |group: &Option<GroupName>| {
        let group = group.as_ref();
        group.map(|group| format!("{group}=")).unwrap_or_default()
    };
    for fail in &args.fail {
        let share = f64::from(fail.thousandths) / 1_000.0;
        words.push(format!("--fail {}{share}", of(&fail.group)));
    }
    words.extend(
        args.capacity
            .map(|capacity| format!("--capacity {capacity}")),
    );
    if let Some(Rates::Ec2) = args.throttle {
        words.push("--throttle ec2".to_owned());
    }
    for kill in &args.kill {
        let after = format_duration(kill.after);
        words.push(format!("--kill {}{}@{after}", of(&kill.group), kill.count));
    }
    for outage in &args.zone_outage {
        words.push(format!("--zone-outage {}", crate::cli::outage_text(outage)));
    }
    if args.approved {
        words.push("--approved".to_owned());
    }
    for crash in &args.crash_agent {
        words.push(format!("--crash-agent {}", format_duration(*crash)));
    }
    words
}
