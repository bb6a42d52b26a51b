//! Arguments of the commands of `drover audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use drover_model::GroupName;

use super::{SourceOptions, ValueOutput};

/// Commands of `drover audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Compute the audit log again, and say which commit does not follow
    Verify(AuditVerifyArgs),
    /// Write the audit log as JSON Lines, the oldest commit first
    Export(AuditExportArgs),
}

/// What both commands check.
#[derive(Debug, Args)]
pub(crate) struct VerifyOptions {
    /// Begin after this commit of the state branch, which is taken to hold
    #[arg(long, value_name = "COMMIT")]
    pub(crate) since: Option<String>,
    /// Every commit must be signed by somebody in this file (OpenSSH allowed signers) [default: `state.signers` of --config]
    #[arg(long, value_name = "FILE")]
    pub(crate) signers: Option<PathBuf>,
    /// Every commit must be signed with a key of this GnuPG keyring, or by somebody in --signers [default: `state.gnupgHome`]
    #[arg(long, value_name = "DIR")]
    pub(crate) gnupg_home: Option<PathBuf>,
    /// Whose operations count (OpenSSH allowed signers) [default: `signers` of --config]
    #[arg(long, value_name = "FILE")]
    pub(crate) approvers: Option<PathBuf>,
    /// Where to read.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// Arguments of `drover audit verify`.
#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    /// What to check.
    #[command(flatten)]
    pub(crate) options: VerifyOptions,
    /// A commit that must be in the history; repeatable [default: what the agent remembers in its --data-dir]
    #[arg(long, value_name = "COMMIT")]
    pub(crate) anchor: Vec<String>,
    /// Fail also for commits that this version of drover cannot compute again, and for operations that are not checked
    #[arg(long)]
    pub(crate) strict: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = ValueOutput::Text)]
    pub(crate) output: ValueOutput,
}

/// Arguments of `drover audit export`.
#[derive(Debug, Args)]
pub(crate) struct AuditExportArgs {
    /// What to check.
    #[command(flatten)]
    pub(crate) options: VerifyOptions,
    /// Only this group
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<GroupName>,
}
