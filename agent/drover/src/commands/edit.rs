//! Commands that commit to the source branch: `scale`, `suspend`, `resume`.

use std::collections::BTreeSet;

use drover_model::{Activity, GroupName, Suspend, Timestamp};

use crate::cli::{EditOptions, ResumeArgs, ScaleArgs, SuspendArgs};
use crate::error::{CommandError, CommandResult};
use crate::exit::Exit;
use crate::settings::Settings;
use crate::snapshot::Repository;
use crate::source_edit::{self, Edited, Mode, Target};
use crate::ui::Ui;
use crate::view;

/// Runs `drover scale`.
pub(super) fn scale(args: &ScaleArgs, ui: Ui) -> CommandResult {
    let message = format!("{}: scale to {}", args.group, args.size);
    commit(&args.edit, &args.group, &message, ui, &|text| {
        drover_spec::edit::set_size(text, &args.group, args.size).map_err(refused)
    })
}

/// Runs `drover suspend`.
pub(super) fn suspend(args: &SuspendArgs, ui: Ui) -> CommandResult {
    let now = Timestamp::now();
    let until = args
        .until
        .as_ref()
        .map(|until| whole_seconds(until.at(now)));
    if until.is_some_and(|until| until <= now) {
        return Err(CommandError::usage("--until is in the past"));
    }
    let suspend = Suspend {
        what: args.what.iter().copied().collect(),
        until,
        because: args.because.clone(),
    };
    let mut message = format!("{}: suspend {}", args.group, names(&suspend.what));
    if let Some(until) = until {
        message.push_str(&format!(" until {}", view::seconds(until)));
    }
    if let Some(because) = &args.because {
        message.push_str(&format!("\n\n{because}"));
    }
    commit(&args.edit, &args.group, &message, ui, &|text| {
        drover_spec::edit::add_suspend(text, &args.group, &suspend).map_err(refused)
    })
}

/// Runs `drover resume`.
pub(super) fn resume(args: &ResumeArgs, ui: Ui) -> CommandResult {
    let what: BTreeSet<Activity> = args.what.iter().copied().collect();
    let message = format!("{}: resume {}", args.group, names(&what));
    commit(&args.edit, &args.group, &message, ui, &|text| {
        drover_spec::edit::remove_suspend(text, &args.group, &what).map_err(refused)
    })
}

fn names(what: &BTreeSet<Activity>) -> String {
    let names: Vec<&str> = what.iter().map(|activity| activity.as_str()).collect();
    names.join(", ")
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn refused(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CommandError {
    CommandError::new("cannot make the change")
        .because(error)
        .hint("make it by hand: nothing was written")
}

fn commit(
    options: &EditOptions,
    group: &GroupName,
    message: &str,
    ui: Ui,
    edit: &dyn Fn(&str) -> CommandResult<String>,
) -> CommandResult {
    let settings = Settings::of_source(&options.source)?;
    let repository = Repository::open(&settings)?;
    let target = Target {
        mirror: &repository.mirror,
        branch: &settings.branch,
        path: &settings.path,
    };
    let mode = if options.dry_run {
        Mode::DryRun
    } else {
        Mode::Write
    };
    let message = options.message.as_deref().unwrap_or(message);
    match source_edit::edit_group(target, group, message, mode, edit)? {
        Edited::Unchanged => ui.message(&format!("branch {} says so already", settings.branch)),
        Edited::DryRun { diff } => ui.result(&diff)?,
        Edited::Committed { commit, path } => ui.message(&format!(
            "{}: {} ({path})",
            commit.short(),
            message.lines().next().unwrap_or_default()
        )),
    }
    Ok(Exit::Done)
}
