//! `drover pr`: keeps the plan of a pull request in one comment there, with a status of its commit.
//!
//! It needs a clone and a token of the Git host, nothing of the fleet, and runs nothing that the repository
//! says.

use std::fmt::Write as _;

use drover_git::{Oid, Secret};

use crate::cli::{PrArgs, SimulateArgs, SourceOptions};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::forge::{
    CommitStatus, Forge, ForgeKind, ForgeSettings, Kept, PullRequest, Said, StatusState,
};
use crate::plan_view::{self, PlanView, Plans};
use crate::settings::Settings;
use crate::simulation;
use crate::snapshot::Repository;
use crate::table::escape_markdown;
use crate::ui::Ui;

use self::ci::CiJob;
use super::plan::{Invalid, between};
use super::simulate::simulated;

mod ci;

/// Most bytes of what is shown of documents with mistakes.
const MISTAKES_MAX: usize = 30_000;

/// Most bytes of a comment. GitHub takes 65,536 characters, the others more.
const COMMENT_MAX: usize = 65_000;

/// Runs the command.
pub(super) fn run(args: &PrArgs, ui: Ui) -> CommandResult {
    let source = clone_of(&args.source);
    let settings = Settings::of_source(&source)?;
    let repository = Repository::open(&settings)?;
    let place = Place::of(args)?;
    // One client for the whole command: its patience counts for all of it.
    let mut host = Host {
        args,
        place: &place,
        forge: None,
    };
    let Some(ends) = Ends::find(&mut host, &repository, ui)? else {
        return Ok(Exit::Done);
    };
    let compared = between(&repository, &settings, ends.base, ends.head)?;
    let review = Review {
        context: &args.context,
        ends: &ends,
        rollout: match &compared {
            Ok(plans) if !args.no_rollout && plans.groups.iter().any(PlanView::is_pending) => {
                Some(rollout(&source, &ends, ui))
            }
            Ok(_) | Err(_) => None,
        },
        compared,
    };
    let body = review.comment();
    if args.dry_run {
        ui.result(&body)?;
        return Ok(review.exit());
    }
    let Some(posted) = post(&mut host, &review, &body, ui)? else {
        return Ok(Exit::Done);
    };
    ui.result(&posted)?;
    Ok(review.exit())
}

/// The clone of a CI job, where nothing else is said.
fn clone_of(source: &SourceOptions) -> SourceOptions {
    let mut source = source.clone();
    if source.source.is_none() && source.config.is_none() {
        source.source = Some(".".to_owned());
    }
    source
}

/// Writes comment and status. Returns what became of them, for people; nothing where it is no longer ours to say.
fn post(
    host: &mut Host<'_>,
    review: &Review<'_>,
    body: &str,
    ui: Ui,
) -> CommandResult<Option<String>> {
    let args = host.args;
    let number = host.place.number()?;
    let forge = host.forge()?;
    let head = review.ends.head;
    // A pull request that changes nothing gets no comment, unless an earlier one must be put right.
    let quiet = review.is_quiet();
    let marker = plan_view::marked(&args.context);
    let comment = forge.keep_comment(Said {
        number,
        head: &head.to_string(),
        marker: &marker,
        body,
        only_edit: quiet,
    });
    let comment = comment.context(format!("cannot comment on pull request {number}"))?;
    // Pushes do not wait for a plan and a simulation, nor for a call.
    let pull = forge.pull_request(number);
    let pull = pull.context(format!("cannot read pull request {number}"))?;
    if comment == Kept::Left && is_settled(&pull, head, ui) {
        return Ok(None);
    }
    if pull.open && pull.head != head.to_string() {
        ui.message(&format!(
            "note: the pull request has moved on to {} meanwhile: the job of that commit writes the comment anew",
            short(&pull.head)
        ));
    }
    let headline = review.headline();
    let mut out = format!("{headline}\npull request {number}: comment {comment}\n");
    if !args.no_status {
        let status = CommitStatus {
            context: args.context.clone(),
            state: review.state(),
            description: headline.trim_start_matches("Plan: ").to_owned(),
        };
        let kept = forge
            .keep_status(&head.to_string(), &status)
            .context(format!("cannot set the status of commit {}", head.short()))?;
        let word = match status.state {
            StatusState::Success => "success",
            StatusState::Failure => "failure",
        };
        let _ = writeln!(
            out,
            "commit {}: status {} {kept}: {word}",
            head.short(),
            args.context
        );
    }
    Ok(Some(out))
}

/// Where the pull request is: as said, else as the CI job says.
struct Place {
    kind: Option<ForgeKind>,
    job: CiJob,
    number: Option<u64>,
}

impl Place {
    fn of(args: &PrArgs) -> CommandResult<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let job = CiJob::of(variable, |path| std::fs::read_to_string(path).ok());
        if args.context.trim().is_empty() || args.context.chars().any(char::is_control) {
            return Err(CommandError::usage("--context is not a name"));
        }
        Ok(Self {
            kind: args.forge.or(job.forge),
            number: args.number.or(job.number),
            job,
        })
    }

    fn number(&self) -> CommandResult<u64> {
        self.number.ok_or_else(|| {
            CommandError::usage("which pull request?")
                .hint("name its number, as in `drover pr 7`; a CI job for a pull request knows it")
        })
    }

    fn forge(&self, args: &PrArgs) -> CommandResult<Forge> {
        let kind = self.kind.ok_or_else(|| {
            CommandError::usage("on which Git host is the pull request?")
                .hint("say --forge github, gitlab or gitea; a CI job knows it")
        })?;
        let same = self.job.forge == Some(kind);
        let of_job = |value: &Option<String>| value.clone().filter(|_| same);
        let repository = args
            .repository
            .clone()
            .or_else(|| of_job(&self.job.repository));
        let repository = repository.ok_or_else(|| {
            CommandError::usage("of which repository?")
                .hint("say --repository owner/name, as the host calls it")
        })?;
        let usual = match kind {
            ForgeKind::GitHub => Some("https://api.github.com"),
            ForgeKind::GitLab => Some("https://gitlab.com/api/v4"),
            ForgeKind::Gitea => None,
        };
        let api = args.api.clone().or_else(|| of_job(&self.job.api));
        let api = api.or_else(|| usual.map(str::to_owned)).ok_or_else(|| {
            CommandError::usage("where is the host's interface?")
                .hint("say --api URL, such as https://codeberg.org/api/v1")
        })?;
        let settings = ForgeSettings {
            kind,
            api: &api,
            token: token(args, kind)?,
            ca_file: args.ca_file.as_deref(),
            patience: args.timeout,
        };
        Forge::new(&settings, &repository).context("cannot speak to the Git host")
    }
}

/// The Git host, spoken to once something must be asked or said.
struct Host<'a> {
    args: &'a PrArgs,
    place: &'a Place,
    forge: Option<Forge>,
}

impl Host<'_> {
    fn forge(&mut self) -> CommandResult<&Forge> {
        let forge = match self.forge.take() {
            Some(forge) => forge,
            None => self.place.forge(self.args)?,
        };
        Ok(self.forge.insert(forge))
    }
}

/// Most bytes of a token.
const TOKEN_MAX: usize = 8 << 10;

fn token(args: &PrArgs, kind: ForgeKind) -> CommandResult<Secret> {
    let names: &[&str] = match kind {
        ForgeKind::GitHub => &["DROVER_FORGE_TOKEN", "GITHUB_TOKEN", "GH_TOKEN"],
        ForgeKind::GitLab => &["DROVER_FORGE_TOKEN", "GITLAB_TOKEN"],
        ForgeKind::Gitea => &["DROVER_FORGE_TOKEN", "GITEA_TOKEN", "GITHUB_TOKEN"],
    };
    let text = match &args.token_file {
        Some(path) => {
            let attempted = format!("cannot read the token in {}", path.display());
            let text = std::fs::read_to_string(path).context(attempted)?;
            Some(text.trim().to_owned())
        }
        None => names.iter().find_map(|name| {
            let value = std::env::var(name).ok()?;
            Some(value.trim().to_owned()).filter(|value| !value.is_empty())
        }),
    };
    let text = text.ok_or_else(|| {
        CommandError::usage(format!("there is no token for {kind}")).hint(format!(
            "set {}, or name a file with --token-file",
            names.join(" or ")
        ))
    })?;
    if text.is_empty() || text.len() > TOKEN_MAX {
        return Err(CommandError::new("the token is empty or too long"));
    }
    Ok(Secret::new(text))
}

/// The two commits that are compared.
struct Ends {
    /// Where the proposed branch began.
    base: Oid,
    head: Oid,
    /// The target branch as it is now, where it has moved on since.
    moved_to: Option<Oid>,
}

impl Ends {
    /// Finds out what to compare. None: there is nothing left to say.
    fn find(host: &mut Host<'_>, repository: &Repository, ui: Ui) -> CommandResult<Option<Self>> {
        let (args, place) = (host.args, host.place);
        let said = args.head.as_ref().or(place.job.head.as_ref());
        let known = args.dry_run && args.base.is_some() && said.is_some();
        let pull = if known {
            None
        } else {
            let number = place.number()?;
            let pull = host.forge()?.pull_request(number);
            Some(pull.context(format!("cannot read pull request {number}"))?)
        };
        let head = said.or(pull.as_ref().map(|pull| &pull.head));
        let head = head.ok_or_else(|| CommandError::usage("say what is proposed: --head REF"))?;
        let head = here(repository, head)?;
        if let Some(pull) = &pull
            && is_settled(pull, head, ui)
        {
            return Ok(None);
        }
        let target = args.base.as_ref().or(pull.as_ref().map(|pull| &pull.base));
        let target = target.ok_or_else(|| CommandError::usage("say --base REF"))?;
        let target = here(repository, target)?;
        let base = repository.mirror.merge_base(target, head);
        let base = base
            .map_err(|error| {
                CommandError::new("cannot find where the branch began")
                    .because(error)
                    .hint(WHOLE_CLONE)
            })?
            .ok_or_else(|| {
                CommandError::new(format!(
                    "commits {} and {} have no common history",
                    target.short(),
                    head.short()
                ))
            })?;
        Ok(Some(Self {
            base,
            head,
            moved_to: (target != base).then_some(target),
        }))
    }
}

/// What to do where the clone is not enough.
const WHOLE_CLONE: &str = "clone with the whole history: `fetch-depth: 0` with actions/checkout, `GIT_DEPTH: 0` in GitLab CI";

fn here(repository: &Repository, name: &str) -> CommandResult<Oid> {
    repository
        .commit_named(name)
        .map_err(|error| error.hint(WHOLE_CLONE))
}

/// Whether nothing must be said any more: it is merged or closed, or a newer commit has a job of its own, whose
/// words an old one must not undo.
fn is_settled(pull: &PullRequest, head: Oid, ui: Ui) -> bool {
    if !pull.open {
        ui.message("note: the pull request is closed: nothing is said");
        return true;
    }
    if pull.head != head.to_string() {
        ui.message(&format!(
            "note: the pull request has moved on to {}: nothing is said of {}",
            short(&pull.head),
            head.short()
        ));
        return true;
    }
    false
}

fn short(commit: &str) -> String {
    commit.chars().take(7).collect()
}

/// Returns the simulated rollout as a part of the comment.
fn rollout(source: &SourceOptions, ends: &Ends, ui: Ui) -> String {
    let args = SimulateArgs::between(source, ends.base.to_string(), ends.head.to_string());
    match simulated(&args, ui) {
        Ok(view) => simulation::markdown(&view),
        Err(error) => format!(
            "The rollout cannot be simulated: {}\n",
            escape_markdown(&error.to_string())
        ),
    }
}

/// What is to be said.
struct Review<'a> {
    context: &'a str,
    ends: &'a Ends,
    compared: Result<Plans, Invalid>,
    rollout: Option<String>,
}

impl Review<'_> {
    fn headline(&self) -> String {
        match &self.compared {
            Ok(plans) => plan_view::headline(plans),
            Err(invalid) => format!("Plan: none, {invalid}"),
        }
    }

    /// Whether there is nothing that anybody must know.
    fn is_quiet(&self) -> bool {
        let plans = self.compared.as_ref().ok();
        plans.is_some_and(|plans| !plans.is_pending())
    }

    fn is_denied(&self) -> bool {
        let plans = self.compared.as_ref().ok();
        plans.is_some_and(Plans::is_denied)
    }

    fn state(&self) -> StatusState {
        if self.compared.is_err() || self.is_denied() {
            StatusState::Failure
        } else {
            // What must be approved may be merged: the agent waits for the approvals.
            StatusState::Success
        }
    }

    fn exit(&self) -> Exit {
        if self.compared.is_err() {
            Exit::Failed
        } else if self.is_denied() {
            Exit::Denied
        } else {
            Exit::Done
        }
    }

    fn comment(&self) -> String {
        let mut out = match &self.compared {
            Ok(plans) => plan_view::markdown(plans, self.context),
            Err(invalid) => {
                let mut mistakes = invalid.rendered(false);
                let whole = mistakes.len();
                mistakes.truncate(mistakes.floor_char_boundary(MISTAKES_MAX));
                let cut = if mistakes.len() < whole {
                    "\nTruncated: see `drover validate`.\n"
                } else {
                    ""
                };
                format!(
                    "{}\n**{}**\n\n{}{cut}\n",
                    plan_view::marked(self.context),
                    escape_markdown(&self.headline()),
                    plan_view::fenced("text", &mistakes)
                )
            }
        };
        let footer = self.footer();
        if let Some(rollout) = &self.rollout {
            let room = COMMENT_MAX.saturating_sub(out.len() + footer.len());
            if rollout.len() <= room {
                out.push_str(rollout);
                out.push('\n');
            } else {
                out.push_str("The simulated rollout is too long: see `drover simulate`.\n\n");
            }
        }
        out.push_str(&footer);
        out
    }

    fn footer(&self) -> String {
        let moved = self.ends.moved_to.map(|target| {
            format!(
                "; the target branch has moved on to `{}`, which is not looked at",
                target.short()
            )
        });
        format!(
            "<sub>`{}` over `{}`{}. Documents and policies alone: what runs now is not looked at.</sub>\n",
            self.ends.head.short(),
            self.ends.base.short(),
            moved.unwrap_or_default()
        )
    }
}
