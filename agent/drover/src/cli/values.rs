//! Parsers of single values of the command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use drover_model::{
    Activity, DecisionPoint, GroupName, InstanceId, Kind, Reason, Revision, Timestamp, Value,
};
use drover_provider_plugin::from_json;

use super::options::Listen;

#[cfg(test)]
mod tests;

/// A group or one of its instances, as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// `web`
    Group(GroupName),
    /// `web-7` after a group's name, as in `web/web-7`
    Instance(InstanceId),
}

/// When a suspension ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Until {
    /// At a time.
    Time(Timestamp),
    /// So long from now.
    After(Duration),
}

impl FromStr for Subject {
    type Err = String;

    /// Parses `GROUP/INSTANCE`, else `INSTANCE`, else `GROUP`.
    ///
    /// `web-7` may be a group's name as well as an instance of `web`; where that matters, the
    /// caller looks at what exists.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((group, instance)) = text.split_once('/') {
            let id =
                InstanceId::parse(instance).map_err(|error| format!("`{instance}` {error}"))?;
            if id.group().as_str() != group {
                return Err(format!("instance {id} is not one of group {group}"));
            }
            return Ok(Self::Instance(id));
        }
        if let Ok(id) = InstanceId::parse(text) {
            return Ok(Self::Instance(id));
        }
        let name = GroupName::parse(text).map_err(|error| format!("`{text}` {error}"))?;
        Ok(Self::Group(name))
    }
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(after) = duration(text) {
            return Ok(Self::After(after));
        }
        text.parse::<Timestamp>().map(Self::Time).map_err(|_| {
            "expected a duration such as 2h or a time such as 2026-12-01T08:00:00Z".to_owned()
        })
    }
}

/// Parses `KEY=VALUE` of a tag. The value may be empty, and may hold `=`.
pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("a tag is KEY=VALUE".to_owned()),
    }
}

/// Parses a duration such as `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    drover_spec::parse_duration(text).map_err(|error| error.to_string())
}

/// Parses how long ago something was, `30d` being thirty days.
pub(super) fn since(text: &str) -> Result<Until, String> {
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.parse::<u32>().ok());
    match days {
        Some(days) => Ok(Until::After(Duration::from_secs(u64::from(days) * 86_400))),
        None => text.parse(),
    }
}

/// Parses an activity's name.
pub(super) fn activity(text: &str) -> Result<Activity, String> {
    let known = [
        Activity::Update,
        Activity::Heal,
        Activity::Scale,
        Activity::Gc,
        Activity::All,
    ];
    known
        .into_iter()
        .find(|activity| activity.as_str() == text)
        .ok_or_else(|| "expected update, heal, scale, gc or all".to_owned())
}

/// Parses a reason.
pub(super) fn reason(text: &str) -> Result<Reason, String> {
    let mut known = Reason::ALL.into_iter();
    known.find(|reason| reason.as_str() == text).ok_or_else(|| {
        format!(
            "expected one of {}",
            Reason::ALL.map(Reason::as_str).join(", ")
        )
    })
}

/// Parses a decision point.
pub(super) fn point(text: &str) -> Result<DecisionPoint, String> {
    let mut known = DecisionPoint::ALL.into_iter();
    known.find(|point| point.as_str() == text).ok_or_else(|| {
        let known = DecisionPoint::ALL.map(DecisionPoint::as_str);
        format!("expected one of {}", known.join(", "))
    })
}

/// Parses a document kind, whatever its case.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            "expected Fleet, Group, Policy, Binding, Provider, MetricSource or Calendar".to_owned()
        })
}

/// Parses the full id of a commit.
pub(super) fn commit(text: &str) -> Result<Revision, String> {
    Revision::parse(text)
        .map_err(|_| "expected the full id of a commit, as `git rev-parse` prints it".to_owned())
}

/// Parses a JSON object.
pub(super) fn json_map(text: &str) -> Result<Value, String> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let value = from_json(&json);
    match value.as_map() {
        Some(_) => Ok(value),
        None => Err(format!("expected a JSON object, found {}", value.kind())),
    }
}

/// Parses `NAME=VALUE`, the value as JSON where it is some, else as a text.
pub(super) fn setting(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "expected NAME=VALUE".to_owned())?;
    let json = serde_json::from_str(value);
    let value = json.map_or_else(|_| Value::from(value), |json| from_json(&json));
    Ok((name.to_owned(), value))
}

/// Parses `off` or a socket address.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    if text == "off" {
        return Ok(Listen::Off);
    }
    text.parse::<SocketAddr>()
        .map(Listen::On)
        .map_err(|_| "expected an address such as 127.0.0.1:7643, or off".to_owned())
}

/// A selector over labels, as kubectl writes it: `a=b`, `a!=b`, `a`, `!a`, joined by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    Lacks(String),
}

impl LabelSelector {
    /// Returns whether `labels` satisfy every term.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.terms.iter().all(|term| match term {
            Term::Is(key, value) => labels.get(key) == Some(value),
            Term::IsNot(key, value) => labels.get(key) != Some(value),
            Term::Has(key) => labels.contains_key(key),
            Term::Lacks(key) => !labels.contains_key(key),
        })
    }
}

/// Parses a label selector.
pub(super) fn selector(text: &str) -> Result<LabelSelector, String> {
    let mut terms = Vec::new();
    for term in text
        .split(',')
        .map(str::trim)
        .filter(|term| !term.is_empty())
    {
        let pair = |(key, value): (&str, &str)| (key.trim().to_owned(), value.trim().to_owned());
        let parsed = if let Some((key, value)) = term.split_once("!=").map(pair) {
            Term::IsNot(key, value)
        } else if let Some((key, value)) = term.split_once("==").map(pair) {
            Term::Is(key, value)
        } else if let Some((key, value)) = term.split_once('=').map(pair) {
            Term::Is(key, value)
        } else if let Some(key) = term.strip_prefix('!') {
            Term::Lacks(key.to_owned())
        } else {
            Term::Has(term.to_owned())
        };
        let (Term::Is(key, _) | Term::IsNot(key, _) | Term::Has(key) | Term::Lacks(key)) = &parsed;
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(format!("`{term}` is not a term such as env=prod"));
        }
        terms.push(parsed);
    }
    Ok(LabelSelector { terms })
}
