//! The command line of `drover pr`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::SourceOptions;
use super::values;
use crate::forge::ForgeKind;

/// Arguments of `drover pr`.
#[derive(Debug, Args)]
#[command(
    after_help = "In a job of GitHub Actions, Gitea or Forgejo Actions or GitLab CI, forge, address, repository, \
number and head come from its environment. The token comes from --token-file, else DROVER_FORGE_TOKEN, else \
GITHUB_TOKEN, GITLAB_TOKEN or GITEA_TOKEN. The repository's clone is the folder `.`, without --source or --config.\n\
Exit codes: 0 comment and status are there, 1 a document is not valid or the host refuses, 3 a policy denies the \
change, 64 wrong usage."
)]
pub(crate) struct PrArgs {
    /// The number of the pull request [default: of the CI job]
    #[arg(value_name = "NUMBER")]
    pub(crate) number: Option<u64>,
    /// Whose interface the host has [default: of the CI job]
    #[arg(long, env = "DROVER_FORGE", value_enum, hide_env = true)]
    pub(crate) forge: Option<ForgeKind>,
    /// Where the host's interface is, such as https://git.example.com/api/v1 [default: of the CI job,
    /// else of github.com or gitlab.com]
    #[arg(long, env = "DROVER_FORGE_API", value_name = "URL", hide_env = true)]
    pub(crate) api: Option<String>,
    /// The repository on the host, such as owner/fleet [default: of the CI job]
    #[arg(
        long,
        env = "DROVER_FORGE_REPOSITORY",
        value_name = "NAME",
        hide_env = true
    )]
    pub(crate) repository: Option<String>,
    /// A file with the token
    #[arg(
        long,
        env = "DROVER_FORGE_TOKEN_FILE",
        value_name = "FILE",
        hide_env = true
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificates to trust for the host, instead of the system's
    #[arg(
        long,
        env = "DROVER_FORGE_CA_FILE",
        value_name = "FILE",
        hide_env = true
    )]
    pub(crate) ca_file: Option<PathBuf>,
    /// What the comment and the commit status are known by: one for each fleet of a repository
    #[arg(long, value_name = "NAME", default_value = "drover/plan")]
    pub(crate) context: String,
    /// Compare with this commit or branch [default: where the pull request's branch began]
    #[arg(long, value_name = "REF")]
    pub(crate) base: Option<String>,
    /// The commit or branch that is proposed [default: the pull request's newest commit]
    #[arg(long, value_name = "REF")]
    pub(crate) head: Option<String>,
    /// Leave the simulated rollout out
    #[arg(long)]
    pub(crate) no_rollout: bool,
    /// Set no commit status
    #[arg(long)]
    pub(crate) no_status: bool,
    /// Print the comment and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long the host may take in all, waits that it asks for included
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = values::duration)]
    pub(crate) timeout: Duration,
    /// Where the repository's clone is.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}
