//! The commits of the state branch, the oldest first, each checked.

use std::cell::{Cell, RefCell};

use drover_git::{CommitInfo, GitError, Oid, SignatureError, SignersFile, Trust};
use drover_loop::{ACCEPTED_STATE, AuditCommit, Auditor, Checked, ProblemKind, ReadError};
use drover_model::FleetName;

use crate::cli::VerifyOptions;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::settings::Settings;
use crate::snapshot::Repository;

use super::approvals::{Approvers, Counts};
use super::sources::{Missing, Sources};

/// The folder of leases on the state branch.
const LEASES_FOLDER: &str = "agents";

/// Commits between two times at which unpacked objects are let go of.
const LET_GO_EVERY: usize = 256;

/// The history of a state branch.
pub(super) struct History {
    pub(super) repository: Repository,
    pub(super) tip: Oid,
    /// Where it begins: the commit before. None: with the branch.
    since: Option<Oid>,
    /// The first parents of the tip, the oldest first.
    commits: Vec<Oid>,
    trust: Option<Trust>,
    sources: RefCell<Sources>,
    approvers: RefCell<Approvers>,
}

/// A commit with what came of it.
pub(super) struct Audited {
    pub(super) id: Oid,
    pub(super) info: CommitInfo,
    pub(super) checked: Checked,
    /// Who signed it, where that was asked and counts.
    pub(super) signer: Option<String>,
}

impl History {
    /// Opens the history.
    ///
    /// # Errors
    ///
    /// There is none, or it does not hold the commit that it should begin after.
    pub(super) fn open(options: &VerifyOptions, settings: &Settings) -> CommandResult<Self> {
        let repository = Repository::open(settings)?;
        let branch = &repository.state_branch;
        let Some(tip) = repository.state_tip()? else {
            let url = repository.mirror.url();
            let message = format!("{url} has no branch {branch}: nothing was ever recorded");
            let hint = "start the agent with `drover run`, or name the right --config";
            return Err(CommandError::new(message).hint(hint));
        };
        let commits = repository.mirror.first_parents(tip);
        let mut commits = commits.context(format!("cannot read branch {branch}"))?;
        commits.reverse();
        let since = match &options.since {
            None => None,
            Some(name) => {
                let named = format!("--since {name}");
                let since = repository.mirror.resolve(name).context(named)?;
                let Some(at) = commits.iter().position(|id| *id == since) else {
                    return Err(CommandError::new(format!(
                        "the history of {branch} does not hold {}: it was rewritten, or that is no commit of it",
                        since.short()
                    )));
                };
                commits.drain(..=at);
                Some(since)
            }
        };
        let trust = trust(options, settings)?;
        let approvers = approvers(options, settings, &repository, tip)?;
        Ok(Self {
            repository,
            tip,
            sources: RefCell::new(Sources::new(settings, since.is_none())),
            approvers: RefCell::new(approvers),
            since,
            commits,
            trust,
        })
    }

    /// Returns whether every commit has to be signed.
    pub(super) fn checks_signatures(&self) -> bool {
        self.trust.is_some()
    }

    /// Returns how many commits are checked.
    pub(super) fn len(&self) -> usize {
        self.commits.len()
    }

    /// Returns what could not be compared, as its commits are gone.
    pub(super) fn missing(&self) -> Missing {
        self.sources.borrow().missing()
    }

    /// Returns how many approvals were checked, and why others were not.
    pub(super) fn approvals(&self) -> (Counts, Option<String>) {
        let approvers = self.approvers.borrow();
        let counts = approvers.counts();
        let why = approvers.missing().filter(|_| counts.unchecked > 0);
        let why = why.map(str::to_owned);
        (counts, why)
    }

    /// Checks every commit, the oldest first, and hands it over.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(Audited) -> CommandResult<()>,
    ) -> CommandResult<()> {
        let mut auditor = self.auditor()?;
        let mut parent = self.since;
        for (number, id) in self.commits.iter().enumerate() {
            let audited = self.audit(&mut auditor, parent, *id);
            take(audited.map_err(|error| reading(*id, error))?)?;
            parent = Some(*id);
            if number % LET_GO_EVERY == LET_GO_EVERY - 1 {
                let let_go = self.repository.mirror.let_go();
                let_go.context("cannot open the repository again")?;
            }
        }
        Ok(())
    }

    fn auditor(&self) -> CommandResult<Auditor> {
        let Some(since) = self.since else {
            return Ok(Auditor::new());
        };
        let mirror = &self.repository.mirror;
        let attempted = format!("cannot read commit {}", since.short());
        let leases = mirror.recorded_below(since, LEASES_FOLDER);
        let leases = leases.context(attempted.clone())?.into_iter();
        let leases: Vec<String> = leases.map(|(path, _)| path).collect();
        let failed = Cell::new(None);
        let auditor = Auditor::after(&|path| self.read(since, path, &failed), &leases);
        auditor.map_err(|error| {
            reading(
                since,
                failed.take().map_or_else(|| error.into(), Into::into),
            )
        })
    }

    fn read(
        &self,
        id: Oid,
        path: &str,
        failed: &Cell<Option<GitError>>,
    ) -> Result<Option<Vec<u8>>, ReadError> {
        match self.repository.mirror.recorded(id, path) {
            Ok(file) => Ok(file.map(|(_, bytes)| bytes)),
            Err(error) => {
                let message = error.to_string();
                failed.set(Some(error));
                Err(ReadError(message))
            }
        }
    }

    fn audit(
        &self,
        auditor: &mut Auditor,
        parent: Option<Oid>,
        id: Oid,
    ) -> Result<Audited, Box<dyn std::error::Error + Send + Sync>> {
        let mirror = &self.repository.mirror;
        let info = mirror.commit(id)?;
        let changed = mirror.tree_diff(parent, id, "")?;
        let changed: Vec<String> = changed.into_iter().map(|change| change.path).collect();
        let failed = Cell::new(None);
        let checked = auditor.check(&AuditCommit {
            parents: info.parents.len(),
            message: &info.message,
            trailers: &info.trailers,
            time: info.time,
            changed: &changed,
            read: &|path| self.read(id, path, &failed),
        });
        let mut checked = match (checked, failed.take()) {
            (Ok(checked), _) => checked,
            (Err(_), Some(error)) => return Err(error.into()),
            (Err(error), None) => return Err(error.into()),
        };
        answered(&info, &mut checked);
        self.sources
            .borrow_mut()
            .check(mirror, &info, &mut checked)?;
        self.approvers.borrow_mut().check(info.time, &mut checked);
        let signer = self.signer(id, &mut checked)?;
        Ok(Audited {
            id,
            info,
            checked,
            signer,
        })
    }

    fn signer(&self, id: Oid, checked: &mut Checked) -> Result<Option<String>, GitError> {
        let Some(trust) = &self.trust else {
            return Ok(None);
        };
        match self.repository.mirror.verify_commit(id, trust) {
            Ok(signed) => Ok(Some(signed.principal)),
            Err(GitError::Unverified { what: _, source }) => {
                let kind = match source {
                    SignatureError::Missing => ProblemKind::Unsigned,
                    SignatureError::Unreadable { .. }
                    | SignatureError::Namespace { .. }
                    | SignatureError::Wrong { .. }
                    | SignatureError::Unknown { .. }
                    | SignatureError::NotValid { .. } => ProblemKind::SignatureInvalid,
                };
                checked.problem(kind, source.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns whose signatures count: those whom the flags name, else those whom the agent's file does. None: nobody's are
/// asked for.
fn trust(options: &VerifyOptions, settings: &Settings) -> CommandResult<Option<Trust>> {
    let named = Trust {
        signers: options.signers.clone().map(SignersFile),
        gnupg_home: options.gnupg_home.clone(),
    };
    let (trust, what) = if named == Trust::default() {
        (settings.state_trust.clone(), "`state.signers`")
    } else {
        (named, "--signers")
    };
    if let Some(signers) = &trust.signers {
        signers.read().context(format!("cannot read {what}"))?;
    }
    Ok(Some(trust).filter(|trust| *trust != Trust::default()))
}

/// Reads people's operations: of those whom a flag names, else of those whom the agent's file does.
fn approvers(
    options: &VerifyOptions,
    settings: &Settings,
    repository: &Repository,
    tip: Oid,
) -> CommandResult<Approvers> {
    let named = options.approvers.clone().map(SignersFile);
    let signers = named.or_else(|| settings.signers.clone());
    let mut fleet = settings.fleet.clone();
    if settings.signers.is_none() {
        // Without the agent's file its commits say which fleet it is.
        let info = repository
            .mirror
            .commit(tip)
            .context("cannot read the branch")?;
        let host = info.author.email.rsplit_once('@');
        let said = host.and_then(|(_, fleet)| FleetName::parse(fleet).ok());
        fleet = said.unwrap_or(fleet);
    }
    Approvers::read(&repository.mirror, fleet, signers)
}

/// Checks that who answers for recorded state that nobody signed answers for the commit before.
fn answered(info: &CommitInfo, checked: &mut Checked) {
    let Some(named) = info.trailer(ACCEPTED_STATE) else {
        return;
    };
    let parent = info.parents.first().map(ToString::to_string);
    if parent.as_deref() != Some(named) {
        let parent = parent.unwrap_or_else(|| "none".to_owned());
        let detail = format!("{ACCEPTED_STATE} says {named}, and the commit before is {parent}");
        checked.problem(ProblemKind::TrailerDiffers, detail);
    }
}

fn reading(id: Oid, error: Box<dyn std::error::Error + Send + Sync>) -> CommandError {
    CommandError::new(format!("cannot check commit {}", id.short())).because(error)
}
