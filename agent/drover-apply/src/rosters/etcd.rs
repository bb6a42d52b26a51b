//! etcd's membership list, by the HTTP gateway that every member serves at its client port.
//!
//! A member answers from what it knows, which may be old. So all of them are asked, and the list is
//! believed that the leader has, whom a majority of its voters follow in the same term.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_model::{
    EntryId, EntryRole, ErrorClass, EtcdKeeper, Roster, RosterEntry, RosterView, majority,
};
use drover_provider::ProviderError;
use futures::future::join_all;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::RosterOrder;
use crate::requests::{self, Trouble};

/// Refusals that etcd makes before it proposes a change, and whose code it shares with changes that may
/// have taken effect: the words alone tell them apart.
const REFUSALS: [&str; 2] = [
    "etcdserver: unhealthy cluster",
    "etcdserver: re-configuration failed due to not enough started members",
];

/// Codes of gRPC that say that nothing was changed: invalid argument, not found, already exists,
/// permission denied, failed precondition, unimplemented, unauthenticated.
const REFUSAL_CODES: [u64; 7] = [3, 5, 6, 7, 9, 12, 16];

const NOT_FOUND: u64 = 5;

/// A number as the gateway writes it: in a text, and left out when it is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Header {
    cluster_id: Number,
    member_id: Number,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    header: Header,
    leader: Number,
    raft_term: Number,
    raft_index: Number,
    raft_applied_index: Number,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct List {
    members: Vec<Listed>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Listed {
    #[serde(rename = "ID")]
    id: Number,
    name: String,
    #[serde(rename = "peerURLs")]
    peer_urls: Vec<String>,
    #[serde(rename = "clientURLs")]
    client_urls: Vec<String>,
    is_learner: bool,
}

/// What one member said. One that does not vote has no list to tell.
#[derive(Debug, Clone)]
struct Said {
    status: Status,
    list: Option<List>,
}

pub(super) async fn read(keeper: EtcdKeeper, addresses: &[String], limit: Duration) -> RosterView {
    let asked = addresses.iter().map(|address| ask(keeper, address, limit));
    let (mut said, mut silent) = (Vec::new(), Vec::new());
    for answer in join_all(asked).await {
        match answer {
            Ok(answer) => said.push(answer),
            Err(why) => silent.push(why),
        }
    }
    match judge(&said) {
        Ok(roster) => RosterView::Known(roster),
        Err(mut why) => {
            if let Some(first) = silent.first() {
                why = format!("{why} ({first})");
            }
            RosterView::Unclear { why }
        }
    }
}

async fn ask(keeper: EtcdKeeper, address: &str, limit: Duration) -> Result<Said, String> {
    let nothing = json!({});
    let (status, list) = futures::join!(
        call::<Status>(keeper, address, "/v3/maintenance/status", &nothing, limit),
        call::<List>(keeper, address, "/v3/cluster/member/list", &nothing, limit),
    );
    Ok(Said {
        status: status.map_err(|refused| format!("{address}: {refused}"))?,
        list: list.ok(),
    })
}

/// Returns the list that a majority stands behind, or why there is none.
fn judge(said: &[Said]) -> Result<Roster, String> {
    let clusters: BTreeSet<u64> = said
        .iter()
        .map(|one| one.status.header.cluster_id.0)
        .collect();
    if clusters.len() > 1 {
        return Err("its members are of different clusters".to_owned());
    }
    let term = said.iter().map(|one| one.status.raft_term.0).max();
    let Some(term) = term else {
        return Err("no member answers".to_owned());
    };
    let current = |one: &&Said| one.status.raft_term.0 == term && one.status.leader.0 != 0;
    let leaders: BTreeSet<u64> = said
        .iter()
        .filter(current)
        .map(|one| one.status.leader.0)
        .collect();
    let mut leaders = leaders.into_iter();
    let Some(leader) = leaders.next() else {
        return Err("nobody leads".to_owned());
    };
    if leaders.next().is_some() {
        return Err("its members name different leaders".to_owned());
    }
    let follows: BTreeMap<u64, u64> = said
        .iter()
        .filter(current)
        .map(|one| {
            (
                one.status.header.member_id.0,
                one.status.raft_applied_index.0,
            )
        })
        .collect();
    let speaker = said
        .iter()
        .filter(current)
        .find(|one| one.status.header.member_id.0 == leader);
    let Some((speaker, list)) = speaker.and_then(|one| Some((one, one.list.as_ref()?))) else {
        return Err("who leads does not answer".to_owned());
    };
    let index = speaker.status.raft_index.0;
    let entries: BTreeMap<EntryId, RosterEntry> = list
        .members
        .iter()
        .map(|listed| (EntryId(listed.id.0), entry(listed, &follows, index)))
        .collect();
    let voters = entries.values().filter(|entry| entry.votes());
    let (mut all, mut well) = (0, 0);
    for voter in voters {
        all += 1;
        well += usize::from(voter.answers);
    }
    if well < majority(all) {
        return Err(format!("{well} of its {all} voters follow the leader"));
    }
    Ok(Roster {
        term,
        leader: EntryId(leader),
        entries,
    })
}

fn entry(listed: &Listed, follows: &BTreeMap<u64, u64>, index: u64) -> RosterEntry {
    let applied = follows.get(&listed.id.0);
    let hosts = listed.peer_urls.iter().map(|url| host(url));
    RosterEntry {
        name: listed.name.clone(),
        role: if listed.is_learner {
            EntryRole::Learner
        } else {
            EntryRole::Voter
        },
        // A member tells where its clients reach it when it works for the first time; the name may be in
        // the list from the beginning.
        started: !listed.client_urls.is_empty(),
        hosts: hosts.collect(),
        answers: applied.is_some(),
        lag: applied.map(|applied| index.saturating_sub(*applied)),
    }
}

/// Returns the host of a peer URL, without brackets; the text itself where it is none.
fn host(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let host = parsed.as_ref().and_then(Url::host_str);
    host.unwrap_or(url)
        .trim_matches(|c| c == '[' || c == ']')
        .to_owned()
}

pub(super) async fn change(
    keeper: EtcdKeeper,
    at: &str,
    order: &RosterOrder,
    limit: Duration,
) -> Result<(), ProviderError> {
    let number = |entry: &EntryId| entry.0.to_string();
    let (path, body) = match order {
        RosterOrder::Add { address } => {
            let host = if address.contains(':') {
                format!("[{address}]")
            } else {
                address.clone()
            };
            let url = format!("http://{host}:{}", keeper.peer_port);
            let body = json!({"peerURLs": [url], "isLearner": true});
            ("/v3/cluster/member/add", body)
        }
        RosterOrder::Remove(entry) => ("/v3/cluster/member/remove", json!({"ID": number(entry)})),
        RosterOrder::Promote(entry) => ("/v3/cluster/member/promote", json!({"ID": number(entry)})),
        RosterOrder::HandOver { to } => (
            "/v3/maintenance/transfer-leadership",
            json!({"targetID": number(to)}),
        ),
    };
    match call::<Value>(keeper, at, path, &body, limit).await {
        Ok(_) => Ok(()),
        // What is gone need not be removed.
        Err(Refused::Said {
            code: Some(NOT_FOUND),
            ..
        }) if matches!(order, RosterOrder::Remove(_)) => Ok(()),
        Err(refused) => Err(ProviderError::new(refused.class(), refused.to_string())),
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
enum Refused {
    /// Nobody listens.
    #[error("nobody listens at port {0}")]
    Nobody(u16),
    /// No answer, or none that can be read.
    #[error("{0}")]
    Lost(String),
    /// It said no.
    #[error("{message}")]
    Said { code: Option<u64>, message: String },
}

impl Refused {
    /// Returns `Unknown` for what may have taken effect all the same.
    fn class(&self) -> ErrorClass {
        match self {
            Self::Nobody(_) => ErrorClass::Throttled,
            Self::Lost(_) => ErrorClass::Unknown,
            Self::Said { code, message } => {
                let by_code = code.is_some_and(|code| REFUSAL_CODES.contains(&code));
                if by_code || REFUSALS.contains(&message.as_str()) {
                    ErrorClass::Throttled
                } else {
                    ErrorClass::Unknown
                }
            }
        }
    }
}

async fn call<T: DeserializeOwned>(
    keeper: EtcdKeeper,
    address: &str,
    path: &str,
    body: &Value,
    limit: Duration,
) -> Result<T, Refused> {
    let port = keeper.client_port;
    let answer = requests::post_json(address, port, path, body.to_string(), limit).await;
    let answer = answer.map_err(|trouble| match trouble {
        Trouble::Refused => Refused::Nobody(port),
        Trouble::Instance(why) | Trouble::Local(why) => Refused::Lost(why),
    })?;
    if answer.is_success() {
        return serde_json::from_slice(&answer.body)
            .map_err(|error| Refused::Lost(format!("{path} answered no JSON of etcd: {error}")));
    }
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let message = match said["message"].as_str().or(said["error"].as_str()) {
        Some(message) => message.to_owned(),
        None => format!("{path} answered {}", answer.status),
    };
    Err(Refused::Said {
        code: said["code"].as_u64(),
        message,
    })
}

#[cfg(test)]
mod tests;
