//! Arguments of the commands that commit to the source branch.

use std::path::PathBuf;

use clap::Args;
use drover_model::{Activity, GroupName};

use super::SourceOptions;
use super::values::{self, Until};

/// What the commands that commit to the source branch share.
#[derive(Debug, Args)]
pub(crate) struct EditOptions {
    /// Why, for everyone who wonders: a part of the commit's message
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: Option<String>,
    /// Commit to a branch of its own, to be merged by a pull request
    #[arg(long)]
    pub(crate) pr: bool,
    /// Print the edit as a diff and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The commit's message instead of the usual one
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// The private ssh key to sign the commit with [default: it is not signed]
    #[arg(long, env = "DROVER_KEY", value_name = "FILE", hide_env = true)]
    pub(crate) key: Option<PathBuf>,
    /// A file with the passphrase of --key
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) key_passphrase_file: Option<PathBuf>,
    /// Where to write.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// Arguments of `drover scale`.
#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// The group
    pub(crate) group: GroupName,
    /// How many instances it shall have
    pub(crate) size: u32,
    /// How to commit.
    #[command(flatten)]
    pub(crate) edit: EditOptions,
}

/// Arguments of `drover suspend`.
#[derive(Debug, Args)]
pub(crate) struct SuspendArgs {
    /// The group
    pub(crate) group: GroupName,
    /// What to switch off: update, heal, scale, gc or all
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "all",
        value_parser = values::activity)]
    pub(crate) what: Vec<Activity>,
    /// Until when: a time (RFC 3339) or a duration from now. Otherwise until `resume`
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<Until>,
    /// How to commit.
    #[command(flatten)]
    pub(crate) edit: EditOptions,
}

/// Arguments of `drover resume`.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The group
    pub(crate) group: GroupName,
    /// What to switch on again. Otherwise everything
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "all",
        value_parser = values::activity)]
    pub(crate) what: Vec<Activity>,
    /// How to commit.
    #[command(flatten)]
    pub(crate) edit: EditOptions,
}

/// Arguments of `drover rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The group
    pub(crate) group: GroupName,
    /// Take the template of this commit or branch [default: the last good one, else the one before]
    #[arg(long, value_name = "REF")]
    pub(crate) to: Option<String>,
    /// How to commit.
    #[command(flatten)]
    pub(crate) edit: EditOptions,
}
