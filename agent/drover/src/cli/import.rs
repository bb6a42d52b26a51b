//! Arguments of the commands of `drover import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use drover_model::{GroupName, ProviderName};

use super::values;

/// Commands of `drover import`, by what manages the instances today.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Write documents for groups of InfraKit, from their specification or their plugin
    Infrakit(ImportInfrakitArgs),
    /// Write documents for instances of EC2, by their tags
    Ec2(ImportEc2Args),
    /// Write documents for the instances of an Auto Scaling group
    Asg(ImportAsgArgs),
    /// Write documents for EC2 instances and Auto Scaling groups of a Terraform state
    Terraform(ImportTerraformArgs),
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

/// How `drover-provider-ec2` is asked, and where documents are written.
#[derive(Debug, Args)]
pub(crate) struct DescribeOptions {
    /// The region; else AWS_REGION or AWS_DEFAULT_REGION
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// A profile of the AWS configuration files
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The program that looks, with the credentials of its environment [default: drover-provider-ec2 beside this one, or in PATH]
    #[arg(long, value_name = "PATH")]
    pub(crate) program: Option<PathBuf>,
    /// The Provider document to write [default: aws]
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<ProviderName>,
    /// Where to write.
    #[command(flatten)]
    pub(crate) output: ImportOutput,
}

/// Arguments of `drover import ec2`.
#[derive(Debug, Args)]
pub(crate) struct ImportEc2Args {
    /// A tag that the instances have; of several, all
    #[arg(long = "tag", value_name = "KEY=VALUE", required = true, value_parser = values::tag)]
    pub(crate) tags: Vec<(String, String)>,
    /// The group to write [default: named after the first tag's value]
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<GroupName>,
    /// How to ask, and where to write.
    #[command(flatten)]
    pub(crate) describe: DescribeOptions,
}

/// Arguments of `drover import asg`.
#[derive(Debug, Args)]
pub(crate) struct ImportAsgArgs {
    /// The Auto Scaling group
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The group to write [default: named after the scaling group]
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<GroupName>,
    /// How to ask, and where to write.
    #[command(flatten)]
    pub(crate) describe: DescribeOptions,
}

/// Arguments of `drover import terraform`.
#[derive(Debug, Args)]
pub(crate) struct ImportTerraformArgs {
    /// A state file of version 4, such as `terraform state pull` prints
    #[arg(value_name = "STATE")]
    pub(crate) state: PathBuf,
    /// The Provider document to write [default: aws, or aws-REGION for several regions]
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<ProviderName>,
    /// Where to write.
    #[command(flatten)]
    pub(crate) output: ImportOutput,
}
