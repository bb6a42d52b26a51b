//! Talking to the running agent.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use drover_model::{GroupName, Revision};
use reqwest::blocking::{Client, RequestBuilder};
use serde::de::DeserializeOwned;

use super::protocol::{
    Accept, AcceptInstances, FreezeRequest, LogsQuery, PassStatus, Refusal, StateReply, WAIT_MAX_S,
};
use super::socket::SocketFolder;
use crate::identity;
use crate::plan_view::PlanView;

/// A connection to the agent of one data folder.
#[derive(Debug)]
pub(crate) struct AgentClient {
    client: Client,
    _folder: SocketFolder,
}

/// Why the agent could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No agent runs on this data folder.
    #[error("no agent runs on the data folder {path}")]
    NotRunning {
        /// The data folder.
        path: String,
    },
    /// The socket is somebody else's, or unusable.
    #[error("cannot connect to the agent's socket {path}")]
    Unreachable {
        /// The socket.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The conversation failed.
    #[error("the agent did not answer")]
    Conversation {
        /// Why.
        source: reqwest::Error,
    },
    /// The agent said no.
    #[error("the agent refused: {message}")]
    Refused {
        /// What it said.
        message: String,
    },
}

/// How long an answer that needs no pass may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(WAIT_MAX_S + 10);

impl ClientError {
    /// Returns whether the answer did not come in time.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::Conversation { source } if source.is_timeout())
    }
}

impl AgentClient {
    /// Connects once, to find out whether an agent runs.
    pub(crate) fn connect(data_dir: &Path) -> Result<Self, ClientError> {
        let not_running = || ClientError::NotRunning {
            path: data_dir.display().to_string(),
        };
        let folder = match SocketFolder::open(data_dir) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_running()),
            Err(source) => {
                return Err(ClientError::Unreachable {
                    path: data_dir.display().to_string(),
                    source,
                });
            }
        };
        match UnixStream::connect(folder.socket()) {
            Ok(_) => {}
            // A socket without a listener was left behind by an agent that was killed.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Err(not_running());
            }
            Err(source) => {
                return Err(ClientError::Unreachable {
                    path: folder.path().display().to_string(),
                    source,
                });
            }
        }
        let client = Client::builder()
            .unix_socket(folder.socket())
            .timeout(ANSWER_TIMEOUT)
            .no_proxy()
            .build()
            .map_err(conversation)?;
        Ok(Self {
            client,
            _folder: folder,
        })
    }

    /// Returns the state, once it is newer than `after` if that is given.
    pub(crate) fn state(&self, after: Option<u64>) -> Result<StateReply, ClientError> {
        let mut url = "http://agent/v1/state".to_owned();
        if let Some(after) = after {
            url.push_str(&format!("?after={after}"));
        }
        send(self.client.get(url))
    }

    /// Runs a pass and waits for it.
    pub(crate) fn reconcile(&self, timeout: Duration) -> Result<PassStatus, ClientError> {
        let url = "http://agent/v1/reconcile";
        send(self.client.post(url).timeout(timeout))
    }

    /// Lets the source's history be another one, if its tip is this commit.
    pub(crate) fn accept_rewrite(&self, commit: &Revision) -> Result<(), ClientError> {
        self.accept("accept-rewrite", commit)
    }

    /// Lets an agent with an empty data directory take up what the state branch has, if its tip is this commit.
    pub(crate) fn accept_state(&self, commit: &Revision) -> Result<(), ClientError> {
        self.accept("accept-state", commit)
    }

    /// Takes the instances of a group of which nothing is recorded for its own.
    pub(crate) fn accept_instances(&self, group: &GroupName) -> Result<(), ClientError> {
        let accept = AcceptInstances {
            group: group.to_string(),
            by: Some(identity::user().to_string()),
        };
        let request = self.client.post("http://agent/v1/accept-instances");
        send(request.json(&accept))
    }

    fn accept(&self, what: &str, commit: &Revision) -> Result<(), ClientError> {
        let accept = Accept {
            commit: commit.to_string(),
            by: Some(identity::user().to_string()),
        };
        let request = self.client.post(format!("http://agent/v1/{what}"));
        send(request.json(&accept))
    }

    /// Freezes a group, or all of them.
    pub(crate) fn freeze(
        &self,
        because: Option<String>,
        group: Option<String>,
    ) -> Result<(), ClientError> {
        let request = self.client.post("http://agent/v1/freeze");
        send(request.json(&FreezeRequest { group, because }))
    }

    /// Lifts the freeze of a group, or of all of them.
    pub(crate) fn unfreeze(&self, group: Option<String>) -> Result<(), ClientError> {
        let request = self.client.post("http://agent/v1/unfreeze");
        send(request.json(&FreezeRequest {
            group,
            because: None,
        }))
    }

    /// Returns the plans of the latest pass.
    pub(crate) fn plan(&self) -> Result<Vec<PlanView>, ClientError> {
        send(self.client.get("http://agent/v1/plan"))
    }

    /// Returns the last lines that an instance printed.
    pub(crate) fn logs(&self, query: &LogsQuery) -> Result<String, ClientError> {
        let url = format!(
            "http://agent/v1/logs?instance={}&lines={}",
            query.instance, query.lines
        );
        send(self.client.get(url))
    }
}

fn conversation(source: reqwest::Error) -> ClientError {
    ClientError::Conversation { source }
}

fn send<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, ClientError> {
    let response = request.send().map_err(conversation)?;
    if response.status().is_success() {
        return response.json().map_err(conversation);
    }
    let status = response.status();
    let message = match response.json::<Refusal>() {
        Ok(refusal) => refusal.error,
        Err(_) => status.to_string(),
    };
    Err(ClientError::Refused { message })
}
