//! Commands that commit to the source branch: `scale`, `suspend`, `resume`, `rollback`; or to a branch of its
//! own, where that one is protected.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_git::{CommitKey, SigningKey};
use drover_model::{Activity, ConditionType, GroupName, RecordedGroup, Suspend, Timestamp};

use super::plan::{Foreseen, foreseen};
use crate::agent::client::AgentClient;
use crate::cli::{EditOptions, ResumeArgs, RollbackArgs, ScaleArgs, SuspendArgs};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::settings::Settings;
use crate::snapshot::{Reader, Repository};
use crate::source_edit::{self, Author, Edited, Mode, Target};
use crate::ui::Ui;
use crate::view;

mod history;
mod pull_request;

use history::{Earlier, Tried, template_of, template_to_roll_back_to};

/// Runs `drover scale`.
pub(super) fn scale(args: &ScaleArgs, ui: Ui) -> CommandResult {
    let message = format!("{}: scale to {}", args.group, args.size);
    let desk = Desk::open(&args.edit)?;
    let edit =
        |text: &str| drover_spec::edit::set_size(text, &args.group, args.size).map_err(refused);
    let recorded = desk.recorded();
    let recorded = recorded.get(&args.group);
    let foreseen = desk.foreseen(&args.group, recorded, &message, &edit);
    if let Some(foreseen) = foreseen.as_ref().filter(|it| it.denied && !desk.options.pr) {
        return desk.denied(foreseen, ui, &args.group, &edit);
    }
    let exit = desk.commit(&args.group, ("scale", &message), ui, &edit)?;
    let holds = foreseen.iter().flat_map(|foreseen| &foreseen.holds);
    for hold in holds {
        ui.message(&format!("warning: {}: {}", hold.code, hold.message));
    }
    // What policies make of this edit is said by then.
    let judged = match foreseen {
        Some(_) => Judged::Yes,
        None => Judged::No,
    };
    desk.warn_of(&args.group, recorded, (judged, ""), ui);
    Ok(exit)
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
        because: args.edit.because.clone(),
    };
    let mut message = format!("{}: suspend {}", args.group, names(&suspend.what));
    if let Some(until) = until {
        message.push_str(&format!(" until {}", view::seconds(until)));
    }
    let desk = Desk::open(&args.edit)?;
    let exit = desk.commit(&args.group, ("suspend", &message), ui, &|text| {
        drover_spec::edit::add_suspend(text, &args.group, &suspend).map_err(refused)
    })?;
    let instead = format!("; `drover freeze {}` works at once", args.group);
    let recorded = desk.recorded();
    desk.warn_of(
        &args.group,
        recorded.get(&args.group),
        (Judged::No, &instead),
        ui,
    );
    Ok(exit)
}

/// Runs `drover resume`.
pub(super) fn resume(args: &ResumeArgs, ui: Ui) -> CommandResult {
    let what: BTreeSet<Activity> = args.what.iter().copied().collect();
    let message = format!("{}: resume {}", args.group, names(&what));
    let desk = Desk::open(&args.edit)?;
    let exit = desk.commit(&args.group, ("resume", &message), ui, &|text| {
        drover_spec::edit::remove_suspend(text, &args.group, &what).map_err(refused)
    })?;
    let recorded = desk.recorded();
    desk.warn_of(&args.group, recorded.get(&args.group), (Judged::No, ""), ui);
    Ok(exit)
}

/// Runs `drover rollback`.
pub(super) fn rollback(args: &RollbackArgs, ui: Ui) -> CommandResult {
    if args
        .edit
        .because
        .as_ref()
        .is_none_or(|because| because.trim().is_empty())
    {
        return Err(CommandError::usage("--because is missing, or says nothing"));
    }
    let desk = Desk::open(&args.edit)?;
    let Earlier { commit, text } = if let Some(reference) = &args.to {
        template_of(desk.target(), &args.group, reference)?
    } else {
        // Without any record there is only what the branch had before.
        let recorded = desk.recorded();
        let mut tried = Tried::new(&desk.repository, &args.group, recorded.get(&args.group));
        template_to_roll_back_to(desk.target(), &args.group, &mut tried)?
    };
    let message = format!(
        "{}: roll back to the template of {}",
        args.group,
        commit.short()
    );
    desk.commit(&args.group, ("rollback", &message), ui, &|now| {
        drover_spec::edit::set_template(now, &args.group, &text).map_err(refused)
    })
}

/// Whether it is known what policies say of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Yes,
    No,
}

/// Returns why the document that the branch has of a group is not in force, in a word. None: it is, as far as anybody
/// knows, or an edit that was judged may bring it into force.
fn not_in_force(recorded: &RecordedGroup, judged: Judged) -> Option<&str> {
    let condition = recorded.conditions.get(&ConditionType::SpecAccepted)?;
    let by_policy = [
        "PolicyDenied",
        "PolicyFailed",
        "ApprovalNeeded",
        "ApprovalRejected",
    ];
    let reason = condition.reason.as_str();
    let mended = judged == Judged::Yes && by_policy.contains(&reason);
    (condition.status == Some(false) && !mended).then_some(reason)
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

/// Where and how an edit is committed.
struct Desk<'a> {
    options: &'a EditOptions,
    settings: Settings,
    repository: Repository,
    key: Option<Arc<CommitKey>>,
}

impl<'a> Desk<'a> {
    fn open(options: &'a EditOptions) -> CommandResult<Self> {
        let settings = Settings::of_source(&options.source)?;
        let passphrase = options.key_passphrase_file.as_deref();
        let key = options.key.as_deref();
        let key = key.map(|key| SigningKey::read(key, passphrase));
        let key = key.transpose().context("cannot sign")?;
        let repository = Repository::open(&settings)?;
        Ok(Self {
            options,
            settings,
            repository,
            key: key.map(|key| Arc::new(CommitKey::Ssh(key))),
        })
    }

    fn target(&self) -> Target<'_> {
        Target {
            mirror: &self.repository.mirror,
            branch: &self.settings.branch,
            path: &self.settings.path,
        }
    }

    /// Returns what the running agent knows of the groups, else what is recorded of them.
    fn recorded(&self) -> BTreeMap<GroupName, RecordedGroup> {
        let known = match AgentClient::connect(&self.settings.data_dir) {
            Ok(client) => Reader::Agent(client).read().map(|state| state.groups),
            Err(_) => self.repository.recorded_here(),
        };
        // Where nobody knows, nothing is said about it.
        known.unwrap_or_default()
    }

    /// Returns the commit's message.
    fn message(&self, subject: &str) -> String {
        let options = self.options;
        let mut message = options.message.as_deref().unwrap_or(subject).to_owned();
        let because = options.because.as_deref().unwrap_or_default().trim();
        if !because.is_empty() {
            message.push_str(&format!("\n\n{because}"));
        }
        message
    }

    fn author<'m>(&self, message: &'m str) -> Author<'m> {
        Author {
            signer: self.key.clone(),
            // A person may put an unsigned commit somewhere else, or sign it later.
            asked: None,
            message,
        }
    }

    /// Returns what policies and limits will say of an edit. None: it changes nothing, or nobody can tell; an edit that
    /// cannot be made is refused when it is to be.
    fn foreseen(
        &self,
        group: &GroupName,
        recorded: Option<&RecordedGroup>,
        subject: &str,
        edit: &dyn Fn(&str) -> CommandResult<String>,
    ) -> Option<Foreseen> {
        let message = self.message(subject);
        let author = self.author(&message);
        let proposed = source_edit::proposed(self.target(), group, &author, edit);
        let commits = proposed.ok().flatten()?;
        foreseen(&self.repository, &self.settings, commits, (group, recorded)).ok()
    }

    /// Refuses what policies deny.
    fn denied(
        &self,
        foreseen: &Foreseen,
        ui: Ui,
        group: &GroupName,
        edit: &dyn Fn(&str) -> CommandResult<String>,
    ) -> CommandResult {
        if self.options.dry_run {
            self.commit(group, ("", ""), ui, edit)?;
        }
        let mut error = CommandError::new("policies deny this, so nothing was written");
        for hold in &foreseen.holds {
            error = error.detail(format!("{}: {}", hold.code, hold.message));
        }
        let error = error.hint("--pr commits it to a branch of its own all the same");
        Err(error.exit(Exit::Denied))
    }

    /// Says that a commit on the branch changes nothing yet, where that is so, and what does.
    fn warn_of(
        &self,
        group: &GroupName,
        recorded: Option<&RecordedGroup>,
        (judged, instead): (Judged, &str),
        ui: Ui,
    ) {
        if self.options.dry_run || self.options.pr {
            return;
        }
        if let Some(reason) = recorded.and_then(|it| not_in_force(it, judged)) {
            ui.message(&format!(
                "warning: group {group}'s document is not in force ({reason}), so this changes nothing yet{instead}"
            ));
        }
    }

    fn commit(
        &self,
        group: &GroupName,
        (verb, message): (&str, &str),
        ui: Ui,
        edit: &dyn Fn(&str) -> CommandResult<String>,
    ) -> CommandResult {
        let options = self.options;
        let message = self.message(message);
        let mode = if options.dry_run {
            Mode::DryRun
        } else if options.pr {
            Mode::Beside(format!("drover/pr/{verb}-{group}"))
        } else {
            Mode::Write
        };
        let author = self.author(&message);
        let branch = &self.settings.branch;
        let subject = message.lines().next().unwrap_or_default();
        match source_edit::edit_group(self.target(), group, &author, &mode, edit)? {
            Edited::Unchanged => ui.message(&format!("branch {branch} says so already")),
            Edited::DryRun { diff } => ui.result(&diff)?,
            Edited::Committed { commit, path } => {
                ui.message(&format!("{}: {subject} ({path})", commit.short()));
            }
            Edited::Beside {
                commit,
                path,
                branch: own,
            } => {
                ui.message(&format!(
                    "{}: {subject} ({path}) on branch {own}",
                    commit.short()
                ));
                let url = self.settings.source_url()?.redacted();
                ui.message(&pull_request::how_to_open(&url, branch, &own));
            }
        }
        Ok(Exit::Done)
    }
}
