//! Commands that commit to the source branch: `scale`, `suspend`, `resume`, `rollback`; or to a branch of its
//! own, where that one is protected.

use std::collections::BTreeSet;
use std::sync::Arc;

use drover_git::{CommitKey, SigningKey};
use drover_model::{Activity, GroupName, Suspend, Timestamp};

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

use history::{Earlier, template_of, template_to_roll_back_to};

/// Runs `drover scale`.
pub(super) fn scale(args: &ScaleArgs, ui: Ui) -> CommandResult {
    let message = format!("{}: scale to {}", args.group, args.size);
    let desk = Desk::open(&args.edit)?;
    desk.commit(&args.group, ("scale", &message), ui, &|text| {
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
        because: args.edit.because.clone(),
    };
    let mut message = format!("{}: suspend {}", args.group, names(&suspend.what));
    if let Some(until) = until {
        message.push_str(&format!(" until {}", view::seconds(until)));
    }
    let desk = Desk::open(&args.edit)?;
    desk.commit(&args.group, ("suspend", &message), ui, &|text| {
        drover_spec::edit::add_suspend(text, &args.group, &suspend).map_err(refused)
    })
}

/// Runs `drover resume`.
pub(super) fn resume(args: &ResumeArgs, ui: Ui) -> CommandResult {
    let what: BTreeSet<Activity> = args.what.iter().copied().collect();
    let message = format!("{}: resume {}", args.group, names(&what));
    let desk = Desk::open(&args.edit)?;
    desk.commit(&args.group, ("resume", &message), ui, &|text| {
        drover_spec::edit::remove_suspend(text, &args.group, &what).map_err(refused)
    })
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
        let recorded = Reader::open(&desk.settings).and_then(|reader| reader.read());
        let recorded = recorded.ok();
        let recorded = recorded.as_ref().and_then(|it| it.groups.get(&args.group));
        template_to_roll_back_to(desk.target(), &args.group, recorded)?
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

    fn commit(
        &self,
        group: &GroupName,
        (verb, message): (&str, &str),
        ui: Ui,
        edit: &dyn Fn(&str) -> CommandResult<String>,
    ) -> CommandResult {
        let options = self.options;
        let mut message = options.message.as_deref().unwrap_or(message).to_owned();
        let because = options.because.as_deref().unwrap_or_default().trim();
        if !because.is_empty() {
            message.push_str(&format!("\n\n{because}"));
        }
        let mode = if options.dry_run {
            Mode::DryRun
        } else if options.pr {
            Mode::Beside(format!("drover/pr/{verb}-{group}"))
        } else {
            Mode::Write
        };
        let author = Author {
            signer: self.key.clone(),
            // A person may put an unsigned commit somewhere else, or sign it later.
            asked: None,
            message: &message,
        };
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
