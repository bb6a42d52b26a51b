//! `drover describe`: everything known about one thing.

use drover_model::{GroupName, InstanceId, Timestamp};
use serde::Serialize;

use super::get::declared;
use crate::cli::{DescribeArgs, Output, Subject};
use crate::error::{CommandError, CommandResult};
use crate::exit::Exit;
use crate::output;
use crate::settings::Settings;
use crate::snapshot::{Reader, Snapshot};
use crate::ui::Ui;
use crate::view::{self, GroupView, InstanceView};

/// A group with its instances, as a document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupDocument {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    group: GroupView,
    instances: Vec<InstanceView>,
}

/// An instance, as a document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceDocument {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    instance: InstanceView,
}

/// Runs the command.
pub(super) fn run(args: &DescribeArgs, ui: Ui) -> CommandResult {
    let settings = Settings::of_source(&args.source)?;
    let snapshot = Reader::open(&settings)?.read()?;
    super::note(&snapshot, ui);
    let text = match subject(&args.name, &snapshot)? {
        Subject::Group(name) => group(&name, &snapshot, args.output, ui)?,
        Subject::Instance(id) => instance(&id, &snapshot, args.output, ui)?,
    };
    ui.result(&text)?;
    Ok(Exit::Done)
}

/// Finds out what is meant: `web-7` may be a group as well as an instance of `web`.
fn subject(words: &[String], snapshot: &Snapshot) -> CommandResult<Subject> {
    let group = |name: &str| {
        GroupName::parse(name)
            .map(Subject::Group)
            .map_err(|error| CommandError::usage(format!("group name `{name}` {error}")))
    };
    match words {
        [kind, name] if matches!(kind.as_str(), "group" | "groups" | "g") => group(name),
        [kind, name] if matches!(kind.as_str(), "instance" | "instances" | "i") => {
            name.parse().map_err(CommandError::usage)
        }
        [kind, _] => Err(CommandError::usage(format!(
            "cannot describe a `{kind}`: groups and instances only"
        ))),
        [name] => super::find_subject(name, snapshot),
        _ => Err(CommandError::usage("name one thing")),
    }
}

fn group(name: &GroupName, snapshot: &Snapshot, format: Output, ui: Ui) -> CommandResult<String> {
    let recorded = snapshot.group(name)?;
    let view = view::group(recorded, &declared(recorded));
    if matches!(format, Output::Text | Output::Wide | Output::Markdown) {
        let now = Timestamp::now();
        return Ok(view::describe_group(recorded, &view, now, ui.out_color()));
    }
    let instances = recorded.instances.iter();
    let document = GroupDocument {
        api_version: view::API_VERSION,
        kind: "GroupStatus",
        group: view,
        instances: instances
            .map(|(id, instance)| view::instance(recorded, id, instance))
            .collect(),
    };
    structured(&document, &document.group.name, format)
}

fn instance(id: &InstanceId, snapshot: &Snapshot, format: Output, ui: Ui) -> CommandResult<String> {
    let recorded = snapshot.group_of(id)?;
    let missing = || CommandError::new(format!("there is no instance {id}"));
    if matches!(format, Output::Text | Output::Wide | Output::Markdown) {
        let now = Timestamp::now();
        return view::describe_instance(recorded, id, now, ui.out_color()).ok_or_else(missing);
    }
    let entry = recorded.instances.get(id).ok_or_else(missing)?;
    let document = InstanceDocument {
        api_version: view::API_VERSION,
        kind: "InstanceStatus",
        instance: view::instance(recorded, id, entry),
    };
    structured(&document, &document.instance.name, format)
}

fn structured(document: &impl Serialize, name: &str, format: Output) -> CommandResult<String> {
    match format {
        Output::Json => output::json(document),
        Output::Yaml => output::yaml(document),
        Output::Name => Ok(name.to_owned()),
        Output::Text | Output::Wide | Output::Markdown => {
            Err(CommandError::usage("this format has no document"))
        }
    }
}
