//! `drover get`: lists.

use drover_model::{GroupName, InstanceId, RecordedGroup, Timestamp};
use drover_spec::Document;
use serde::Serialize;

use crate::cli::{GetArgs, GetKind, ListOptions, Output};
use crate::error::{CommandError, CommandResult};
use crate::exit::Exit;
use crate::output;
use crate::settings::Settings;
use crate::snapshot::{Reader, Snapshot};
use crate::table::Table;
use crate::ui::Ui;
use crate::view::{self, Declared, GroupView, InstanceView, List};

mod fleet;
mod metrics;
mod orphans;

/// Runs the command.
pub(super) fn run(args: &GetArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.source)?;
    let reader = Reader::open(&settings)?;
    let mut snapshot = reader.read()?;
    super::note(&snapshot, ui);
    let mut printed = render(args, &snapshot)?;
    ui.result(&printed)?;
    if !args.list.watch {
        return Ok(Exit::Done);
    }
    loop {
        snapshot = reader.next(&snapshot)?;
        let next = render(args, &snapshot)?;
        if next != printed {
            ui.result(&next)?;
            printed = next;
        }
    }
}

fn render(args: &GetArgs, snapshot: &Snapshot) -> CommandResult<String> {
    match args.kind {
        GetKind::Groups => groups(args, snapshot),
        GetKind::Instances => instances(args, snapshot),
        GetKind::Policies => fleet::policies(args, snapshot),
        GetKind::Providers => fleet::providers(args, snapshot),
        GetKind::Orphans => orphans::orphans(args, snapshot),
        GetKind::Metrics => metrics::metrics(args, snapshot),
    }
}

/// A list in every format: its rows as documents and as cells.
struct Listing<T> {
    kind: &'static str,
    items: Vec<T>,
    table: Table,
    names: Vec<String>,
}

impl<T: Serialize> Listing<T> {
    fn render(self, options: &ListOptions) -> CommandResult<String> {
        Ok(match options.output {
            Output::Text | Output::Wide => self.table.to_text(!options.no_headers),
            Output::Markdown => self.table.to_markdown(),
            Output::Name => self.names.iter().map(|name| format!("{name}\n")).collect(),
            Output::Json => output::json(&List::new(self.kind, self.items))?,
            Output::Yaml => output::yaml(&List::new(self.kind, self.items))?,
        })
    }
}

/// Returns what the document of a group that is in force says of it.
pub(super) fn declared(recorded: &RecordedGroup) -> Declared {
    let Some(accepted) = &recorded.accepted else {
        return Declared::default();
    };
    let parsed = drover_spec::parse_document(&accepted.path, accepted.line, &accepted.text);
    let mut documents = parsed.documents.into_iter();
    let group = documents.find_map(|document| match document.outcome {
        Some(Document::Group(group)) => Some(group),
        _ => None,
    });
    group.map_or_else(Declared::default, |group| {
        Declared::of(&group, Timestamp::now())
    })
}

/// Returns the chosen groups with their labels.
fn chosen<'a>(
    args: &GetArgs,
    snapshot: &'a Snapshot,
    names: &[String],
) -> CommandResult<Vec<(&'a RecordedGroup, Declared)>> {
    let mut wanted = Vec::new();
    for name in names {
        let name = GroupName::parse(name)
            .map_err(|error| CommandError::usage(format!("group name `{name}` {error}")))?;
        wanted.push(snapshot.group(&name)?);
    }
    if names.is_empty() {
        wanted.extend(snapshot.groups.values());
    }
    let with_declared = wanted.into_iter().map(|group| (group, declared(group)));
    Ok(with_declared
        .filter(|(_, declared)| args.list.selector.matches(&declared.labels))
        .collect())
}

fn groups(args: &GetArgs, snapshot: &Snapshot) -> CommandResult<String> {
    let wide = args.list.output == Output::Wide;
    let mut head = vec!["NAME", "PHASE", "SIZE", "AVAILABLE", "UPDATED", "HOLD"];
    if wide {
        head.extend([
            "TOTAL",
            "PROVIDER",
            "TEMPLATE",
            "REVISION",
            "SUSPENDED",
            "LABELS",
        ]);
    }
    let mut table = Table::new(&head);
    let mut items: Vec<GroupView> = Vec::new();
    for (recorded, declared) in chosen(args, snapshot, &args.names)? {
        let view = view::group(recorded, &declared);
        let mut cells = vec![
            view.name.clone(),
            view.phase.to_owned(),
            // Nothing has a size before a document is in force.
            match (&view.source, &view.target) {
                (None, None) => String::new(),
                _ => view.size.to_string(),
            },
            view.available.to_string(),
            view.updated.to_string(),
            headline(&view),
        ];
        if wide {
            let suspended: Vec<&str> = view.suspended.iter().map(|it| it.what.as_str()).collect();
            let pairs: Vec<String> = view
                .labels
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            cells.extend([
                view.total.to_string(),
                view.provider.clone().unwrap_or_default(),
                view.target.clone().unwrap_or_default(),
                view.source
                    .as_ref()
                    .map(|source| source.revision.chars().take(7).collect())
                    .unwrap_or_default(),
                suspended.join(","),
                pairs.join(","),
            ]);
        }
        table.row(cells);
        items.push(view);
    }
    let names = items.iter().map(|view| view.name.clone()).collect();
    let listing = Listing {
        kind: "GroupStatusList",
        items,
        table,
        names,
    };
    listing.render(&args.list)
}

/// The hold that a person should read first: one that does not end by itself.
fn headline(view: &GroupView) -> String {
    let serious = view.holds.iter().find(|hold| !hold.routine);
    serious
        .or(view.holds.first())
        .map(|hold| hold.code.to_owned())
        .unwrap_or_default()
}

fn instances(args: &GetArgs, snapshot: &Snapshot) -> CommandResult<String> {
    let (ids, names): (Vec<_>, Vec<_>) = args
        .names
        .iter()
        .cloned()
        .partition(|name| name.contains('/'));
    let mut only = Vec::new();
    for name in &ids {
        only.push(instance_id(name)?);
    }
    let mut found: Vec<(&RecordedGroup, InstanceId)> = Vec::new();
    let mut adopting: Vec<&RecordedGroup> = Vec::new();
    if only.is_empty() || !names.is_empty() {
        for (group, _) in chosen(args, snapshot, &names)? {
            adopting.push(group);
            found.extend(group.instances.keys().map(|id| (group, id.clone())));
        }
    }
    for id in only {
        found.push((snapshot.group_of(&id)?, id));
    }
    let listing = instance_listing(args, &found, &adopting);
    listing.render(&args.list)
}

fn instance_id(name: &str) -> CommandResult<InstanceId> {
    let subject = name.parse::<crate::cli::Subject>();
    match subject.map(|subject| subject.instance().cloned()) {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(CommandError::usage(format!("`{name}` names no instance"))),
        Err(error) => Err(CommandError::usage(error)),
    }
}

fn instance_listing(
    args: &GetArgs,
    found: &[(&RecordedGroup, InstanceId)],
    adopting: &[&RecordedGroup],
) -> Listing<InstanceView> {
    let wide = args.list.output == Output::Wide;
    let mut head = vec!["NAME", "GROUP", "CLASS", "TEMPLATE", "ADDRESS", "AGE"];
    if wide {
        head.extend(["DIGEST", "ZONE", "HANDLE", "WHY"]);
    }
    let now = Timestamp::now();
    let mut table = Table::new(&head);
    let mut items = Vec::new();
    let known = found.iter().filter_map(|(group, id)| {
        let entry = group.instances.get(id)?;
        Some((view::instance(group, id, entry), Some(entry.created_at)))
    });
    let strangers = adopting.iter().flat_map(|group| {
        group
            .to_adopt()
            .map(|(handle, one)| (view::stranger(group, handle, one), None))
    });
    for (view, created_at) in known.chain(strangers) {
        let mut cells = vec![
            view.name.clone(),
            view.group.clone(),
            view.standing(","),
            if view.current { "current" } else { "outdated" }.to_owned(),
            view.address.clone().unwrap_or_default(),
            created_at.map_or_else(String::new, |at| view::age(now, at)),
        ];
        if wide {
            cells.extend([
                view.digest.clone(),
                view.zone.clone().unwrap_or_default(),
                view.provider_ref.clone().unwrap_or_default(),
                view.why.clone().unwrap_or_default(),
            ]);
        }
        table.row(cells);
        items.push(view);
    }
    let name = |view: &InstanceView| format!("{}/{}", view.group, view.name);
    Listing {
        kind: "InstanceStatusList",
        names: items.iter().map(name).collect(),
        items,
        table,
    }
}
