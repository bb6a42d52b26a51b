//! Arguments of the commands of `drover import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use drover_model::ProviderName;

/// Commands of `drover import`, by what manages the instances today.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Write documents for groups of InfraKit, from their specification or their plugin
    Infrakit(ImportInfrakitArgs),
}

/// Where documents are written.
#[derive(Debug, Args)]
pub(crate) struct ImportOutput {
    /// The folder to write to, a configuration repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,
    /// Write over files that are there and say something else
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `drover import infrakit`.
#[derive(Debug, Args)]
pub(crate) struct ImportInfrakitArgs {
    /// A file with one specification or a list of them, JSON or YAML; or the socket of a Group plugin
    #[arg(value_name = "FILE|SOCKET")]
    pub(crate) source: PathBuf,
    /// The Provider document to write [default: named after the instance plugin]
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<ProviderName>,
    /// Where to write.
    #[command(flatten)]
    pub(crate) output: ImportOutput,
}
