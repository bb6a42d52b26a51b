//! The command line of `drover simulate`.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use drover_model::{GroupName, Timestamp};
use drover_sim::fleet::{Kill, Outage, Span};
use drover_spec::format_duration;

use super::SourceOptions;
use super::values;

#[cfg(test)]
mod tests;

/// Arguments of `drover simulate`.
#[derive(Debug, Args)]
#[command(
    after_help = "The real planner and the repository's policies decide; providers, instances and time are \
simulated. Without --source or --config the repository is the folder `.`.\n\
Exit codes: 0 every group gets to where the commit wants it, 3 a policy denies the change, 6 a rollout \
pauses, rolls back or is held, 7 it is not done within --horizon, 1 a document is not valid, 64 wrong usage."
)]
pub(crate) struct SimulateArgs {
    /// Only these groups [default: every group that something happens to]
    #[arg(value_name = "GROUP")]
    pub(crate) groups: Vec<GroupName>,
    /// Where the repository is.
    #[command(flatten)]
    pub(crate) source: SourceOptions,
    /// What is in force before: a commit, a branch, or a folder such as `./before` [default: the
    /// watched branch]
    #[arg(long, value_name = "REF|DIR", conflicts_with = "recorded")]
    pub(crate) base: Option<String>,
    /// What is pushed: a commit, a branch, or a folder such as `./after` [default: the folder `.`,
    /// edits included]
    #[arg(long, value_name = "REF|DIR")]
    pub(crate) head: Option<String>,
    /// Begin with what the agent recorded on its state branch, instances as they are
    #[arg(long)]
    pub(crate) recorded: bool,
    /// Show every group, also those that nothing happens to
    #[arg(long)]
    pub(crate) all: bool,
    /// When the push happens, in RFC 3339, for policies and schedules that read the clock [default:
    /// the next minute]
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    /// Stop after this much virtual time, at most 744h
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = horizon)]
    pub(crate) horizon: Duration,
    /// Where chances come from: the same seed gives the same output
    #[arg(long, value_name = "N", default_value_t = SEED)]
    pub(crate) seed: u64,
    /// From creation until an instance runs, as `90s` or a range `90s..4m` [default: 1m]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) boot: Option<Span>,
    /// From running until its checks pass, where it has any [default: 15s]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) ready: Option<Span>,
    /// How long a drain takes, where `drain.done` asks for its end [default: 15s]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) drain: Option<Span>,
    /// From destroy until an instance is gone [default: 20s]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(crate) stop: Option<Duration>,
    /// What if this share of the new instances never comes up: `0.2`, `20%`, `web=0.2`; repeatable
    #[arg(long, value_name = "[GROUP=]SHARE")]
    pub(crate) fail: Vec<Fail>,
    /// What if each provider has room for so many instances
    #[arg(long, value_name = "N")]
    pub(crate) capacity: Option<u32>,
    /// What if the provider's calls are limited as a cloud limits them
    #[arg(long, value_name = "RATES", value_enum)]
    pub(crate) throttle: Option<Rates>,
    /// What if so many instances are killed then: `3@10m`, `web=3@10m`; repeatable
    #[arg(long, value_name = "[GROUP=]N@AFTER", value_parser = kill)]
    pub(crate) kill: Vec<Kill>,
    /// What if a zone fails then, for good or until it is back: `b@10m`, `b@10m..1h`; repeatable. Its
    /// instances end, and none can be made there
    #[arg(long, value_name = "ZONE@AFTER[..AFTER]", value_parser = outage)]
    pub(crate) zone_outage: Vec<Outage>,
    /// What if the agent is killed then and starts again; repeatable
    #[arg(long, value_name = "AFTER", value_parser = values::duration)]
    pub(crate) crash_agent: Vec<Duration>,
    /// What if people approve whatever must be approved, as soon as it waits for them
    #[arg(long)]
    pub(crate) approved: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = SimulateOutput::Text)]
    pub(crate) output: SimulateOutput,
}

/// How long a simulation goes on at most, where nothing is said.
const HORIZON: Duration = Duration::from_hours(24);

/// Where chances come from, where nothing is said.
const SEED: u64 = 1;

impl SimulateArgs {
    /// Returns the arguments of a simulation of one commit after another, in which nothing goes wrong and nobody
    /// withholds an approval.
    pub(crate) fn between(source: &SourceOptions, base: String, head: String) -> Self {
        Self {
            groups: Vec::new(),
            source: source.clone(),
            base: Some(base),
            head: Some(head),
            recorded: false,
            all: false,
            at: None,
            horizon: HORIZON,
            seed: SEED,
            boot: None,
            ready: None,
            drain: None,
            stop: None,
            fail: Vec::new(),
            capacity: None,
            throttle: None,
            kill: Vec::new(),
            zone_outage: Vec::new(),
            crash_agent: Vec::new(),
            approved: true,
            output: SimulateOutput::Markdown,
        }
    }
}

/// How a simulation is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SimulateOutput {
    /// A timeline for people.
    Text,
    /// For programs.
    Json,
    /// For a pull request's comment.
    Markdown,
    /// A picture.
    Svg,
}

/// Whose rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rates {
    /// Amazon EC2's, of an account that has asked for nothing.
    Ec2,
}

/// A share of new instances that never come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fail {
    /// Of this group. None: of every group.
    pub(crate) group: Option<GroupName>,
    /// In thousandths.
    pub(crate) thousandths: u32,
}

impl FromStr for Fail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (group, share) = of_group(text)?;
        let number = share.strip_suffix('%').unwrap_or(share);
        let unit = if share.ends_with('%') { 10.0 } else { 1_000.0 };
        let wrong = || format!("`{share}` is no share from 0 to 1, such as 0.2 or 20%");
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let thousandths = (number * unit).round();
        if !(0.0..=1_000.0).contains(&thousandths) {
            return Err(wrong());
        }
        Ok(Self {
            group,
            thousandths: thousandths as u32,
        })
    }
}

/// Splits `GROUP=REST`.
fn of_group(text: &str) -> Result<(Option<GroupName>, &str), String> {
    match text.split_once('=') {
        None => Ok((None, text)),
        Some((group, rest)) => {
            let group = GroupName::parse(group).map_err(|error| format!("`{group}` {error}"))?;
            Ok((Some(group), rest))
        }
    }
}

/// The longest time that is simulated: a month of schedules.
const HORIZON_MAX: Duration = Duration::from_hours(24 * 31);

fn horizon(text: &str) -> Result<Duration, String> {
    let horizon = values::duration(text)?;
    if horizon.is_zero() || horizon > HORIZON_MAX {
        return Err("it is from 1s to 744h, which is 31 days".to_owned());
    }
    Ok(horizon)
}

/// Parses `90s` or `90s..4m`.
fn span(text: &str) -> Result<Span, String> {
    let Some((least, most)) = text.split_once("..") else {
        return values::duration(text).map(Span::exactly);
    };
    let span = Span {
        least: values::duration(least)?,
        most: values::duration(most)?,
    };
    if span.least > span.most {
        let turned = format!("{most}..{least}");
        return Err(format!(
            "the range begins with its longer end; did you mean `{turned}`?"
        ));
    }
    Ok(span)
}

/// Returns a span as it is written.
pub(crate) fn span_text(span: Span) -> String {
    if span.least == span.most {
        format_duration(span.least)
    } else {
        format!(
            "{}..{}",
            format_duration(span.least),
            format_duration(span.most)
        )
    }
}

/// Parses `3@10m` or `web=3@10m`.
fn kill(text: &str) -> Result<Kill, String> {
    let (group, rest) = of_group(text)?;
    let wrong = || "expected a number and a time after the push, such as 3@10m".to_owned();
    let (count, after) = rest.split_once('@').ok_or_else(wrong)?;
    let count: usize = count.parse().map_err(|_| wrong())?;
    if count == 0 {
        return Err("nothing is killed by 0".to_owned());
    }
    Ok(Kill {
        group,
        count,
        after: values::duration(after)?,
    })
}

/// Parses `b@10m` or `b@10m..1h`.
fn outage(text: &str) -> Result<Outage, String> {
    let wrong = || "expected a zone and a time after the push, such as b@10m or b@10m..1h";
    let (zone, times) = text.rsplit_once('@').ok_or_else(wrong)?;
    if zone.is_empty() {
        return Err(wrong().to_owned());
    }
    let (after, until) = match times.split_once("..") {
        None => (values::duration(times)?, None),
        Some((after, until)) => (values::duration(after)?, Some(values::duration(until)?)),
    };
    if until.is_some_and(|until| until <= after) {
        return Err("the zone is back before it fails".to_owned());
    }
    Ok(Outage {
        zone: zone.to_owned(),
        after,
        until,
    })
}

/// Returns an outage as it is written.
pub(crate) fn outage_text(outage: &Outage) -> String {
    let until = outage.until;
    let until = until.map_or_else(String::new, |until| format!("..{}", format_duration(until)));
    format!("{}@{}{until}", outage.zone, format_duration(outage.after))
}
