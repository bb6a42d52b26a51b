//! Arguments of the commands that put a signed operation on the operations branch.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use drover_model::{ChangeId, FleetName, GroupName};

use super::SourceOptions;
use super::values::{self, Subject};

/// How an operation is signed, and where it goes.
#[derive(Debug, Args)]
pub(crate) struct SignOptions {
    /// The private ssh key to sign with [default: `key` of the agent's file]
    #[arg(long, env = "DROVER_KEY", value_name = "FILE", hide_env = true)]
    pub(crate) key: Option<PathBuf>,
    /// A file with the passphrase of --key
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) key_passphrase_file: Option<PathBuf>,
    /// The fleet [default: the running agent's, else that of the agent's file]
    #[arg(long, value_name = "NAME")]
    pub(crate) fleet: Option<FleetName>,
    /// Where the repository is.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
}

/// A change as a person names it: the digits that its id begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedChange(String);

impl NamedChange {
    /// Returns the id where all of it is named.
    pub(crate) fn whole(&self) -> Option<ChangeId> {
        ChangeId::parse(&self.0).ok()
    }

    /// Returns whether a change's id begins so.
    pub(crate) fn fits(&self, change: &ChangeId) -> bool {
        change.as_str().starts_with(&self.0)
    }
}

impl FromStr for NamedChange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        match text.len() {
            CHANGE_DIGITS_MIN..=64 if digits => Ok(Self(text.to_owned())),
            _ => Err("is not the first 12 of a change's 64 hexadecimal digits, or more of them"),
        }
    }
}

impl fmt::Display for NamedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fewest digits that name a change: as many as are shown.
const CHANGE_DIGITS_MIN: usize = 12;

/// Arguments of `drover approve`, `reject`, `promote` and `retry`.
#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    /// The group
    pub(crate) group: GroupName,
    /// Why, for everyone who wonders
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: String,
    /// The change, as `drover plan` shows it [default: the one that waits, else the one in progress]
    #[arg(long, value_name = "ID")]
    pub(crate) change: Option<NamedChange>,
    /// How long it counts, at most 720h
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = values::duration)]
    pub(crate) expires: Duration,
    /// How it is signed.
    #[command(flatten)]
    pub(crate) sign: SignOptions,
}

/// Arguments of `drover replace`, `drover restart` and `drover yield`.
#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    /// The instance, as `GROUP/INSTANCE` or its id
    #[arg(value_name = "GROUP/INSTANCE")]
    pub(crate) instance: Subject,
    /// Why, for everyone who wonders
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: String,
    /// How long it counts, at most 720h
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = values::duration)]
    pub(crate) expires: Duration,
    /// How it is signed.
    #[command(flatten)]
    pub(crate) sign: SignOptions,
}

/// Arguments of `drover keep`.
#[derive(Debug, Args)]
pub(crate) struct KeepArgs {
    /// The instance, as `GROUP/INSTANCE` or its id
    #[arg(value_name = "GROUP/INSTANCE")]
    pub(crate) instance: Subject,
    /// Why, for everyone who wonders
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: String,
    /// How long it is kept, at most 720h
    #[arg(long = "for", value_name = "DURATION", default_value = "24h",
        value_parser = values::duration)]
    pub(crate) time: Duration,
    /// Take back what was asked of it before: to keep it, to replace it, to have it yield
    #[arg(long, conflicts_with = "time")]
    pub(crate) release: bool,
    /// How it is signed.
    #[command(flatten)]
    pub(crate) sign: SignOptions,
}
