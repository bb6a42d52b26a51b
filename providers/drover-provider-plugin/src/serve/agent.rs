//! `Drover/1`, our own interface beside InfraKit's `Group`: whose groups are told there, and which of them are managed.
//! InfraKit's programs look for the interfaces that they know, and for no other. Agents that take instances over tell
//! themselves by it from other owners.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value as Json;

use super::{Answered, Failure, Service, written};
use crate::hello::DROVER;

/// What an agent manages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Managed {
    /// Its fleet.
    pub fleet: String,
    /// The groups whose instances it may make and end: every one that is not only watched.
    pub groups: Vec<String>,
}

/// An agent whose groups are served.
#[async_trait]
pub trait ManagingAgent: Send + Sync + std::fmt::Debug {
    /// Returns what it manages now.
    ///
    /// # Errors
    ///
    /// Why nobody knows, for people.
    async fn managed(&self) -> Result<Managed, String>;
}

/// Tells what an agent manages.
#[derive(Debug)]
pub struct AgentService<A> {
    agent: A,
}

impl<A: ManagingAgent> AgentService<A> {
    /// Tells it of `agent`.
    pub fn new(agent: A) -> Self {
        Self { agent }
    }
}

#[async_trait]
impl<A: ManagingAgent> Service for AgentService<A> {
    fn name(&self) -> &'static str {
        DROVER
    }

    fn versions(&self) -> [Option<&'static str>; 3] {
        // Who asks for it asks the newest question.
        [None, None, Some("1")]
    }

    async fn call(&self, method: &str, _params: &Json) -> Option<Answered> {
        if method != "Managed" {
            return None;
        }
        let managed = self.agent.managed().await;
        Some(match managed {
            Ok(managed) => written(&managed),
            Err(why) => Err(Failure::plain(why)),
        })
    }
}
