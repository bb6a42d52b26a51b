//! The names of containers: which instance, of which call, and where it is in its life.
//!
//! Docker cannot change a label of a container, and renames one at once, running or not. So what changes
//! in a container's life is in its name, where it survives the agent and its data folder:
//!
//! - `web-7.<token>`: ours;
//! - `web-7.<token>.ending.<seconds since 1970>`: to be ended, killed from that time on, and removed;
//! - `web-7.<token>.released`: nobody's. Its labels say whose it was.
//!
//! A person who renames a container has taken it out of the agent's hands.

use drover_model::{InstanceId, ProviderRef, Token};

/// A container's name, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) instance: InstanceId,
    pub(crate) token: Token,
    pub(crate) stage: Stage,
}

/// Where a container is in its life, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Made.
    Made,
    /// To be ended.
    Ending {
        /// When it is killed, in seconds since 1970.
        kill_at: i64,
    },
    /// Not ours any more.
    Released,
}

const ENDING: &str = "ending";
const RELEASED: &str = "released";

impl Name {
    /// Returns the name that a container is made with.
    pub(crate) fn new(instance: &InstanceId, token: &Token) -> Self {
        Self {
            instance: instance.clone(),
            token: token.clone(),
            stage: Stage::Made,
        }
    }

    /// Reads a name, without the slash that the API puts in front. None: no name of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let instance = InstanceId::parse(parts.next()?).ok()?;
        let token = Token::parse(parts.next()?).ok()?;
        let stage = match (parts.next(), parts.next(), parts.next()) {
            (None, None, None) => Stage::Made,
            (Some(RELEASED), None, None) => Stage::Released,
            (Some(ENDING), Some(seconds), None) => Stage::Ending {
                kill_at: seconds.parse().ok()?,
            },
            _ => return None,
        };
        Some(Self {
            instance,
            token,
            stage,
        })
    }

    /// Returns the same container's name at another stage.
    pub(crate) fn at(&self, stage: Stage) -> Self {
        Self {
            stage,
            ..self.clone()
        }
    }

    /// Returns whether it is the name that its container was made with.
    pub(crate) fn is_made(&self) -> bool {
        self.stage == Stage::Made
    }

    /// Returns the handle: the name that the container was made with, which it is known by for ever.
    pub(crate) fn handle(&self) -> ProviderRef {
        let text = self.at(Stage::Made).to_string();
        ProviderRef::parse(&text).expect("the text is not empty")
    }

    /// Reads a handle. None: no handle of ours, so nothing that exists.
    pub(crate) fn of_handle(handle: &ProviderRef) -> Option<Self> {
        Self::parse(handle.as_str()).filter(|name| name.stage == Stage::Made)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.instance, self.token)?;
        match self.stage {
            Stage::Made => Ok(()),
            Stage::Ending { kill_at } => write!(f, ".{ENDING}.{kill_at}"),
            Stage::Released => write!(f, ".{RELEASED}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "abcdefghijklmnopqrstuvwxyz234567";

    fn name(stage: Stage) -> Name {
        Name {
            instance: InstanceId::parse("web-7").unwrap(),
            token: Token::parse(TOKEN).unwrap(),
            stage,
        }
    }

    #[test]
    fn every_stage_is_read_as_it_is_written() {
        let ending = Stage::Ending {
            kill_at: 1_796_022_042,
        };
        for stage in [Stage::Made, ending, Stage::Released] {
            let name = name(stage);
            assert_eq!(Name::parse(&name.to_string()), Some(name.clone()));
            assert_eq!(name.handle().as_str(), format!("web-7.{TOKEN}"));
        }
    }

    #[test]
    fn nothing_else_is_a_name_of_ours() {
        let others = [
            "web-7".to_owned(),
            "web.abc".to_owned(),
            format!("web.{TOKEN}"),
            format!("web-7.{TOKEN}.ending"),
            format!("web-7.{TOKEN}.ending.soon"),
            format!("web-7.{TOKEN}.ending.1.2"),
            format!("web-7.{TOKEN}.kept"),
            format!("web-7.{TOKEN}.released.1"),
            format!("x/web-7.{TOKEN}"),
            String::new(),
        ];
        for other in others {
            assert_eq!(Name::parse(&other), None, "{other}");
        }
        let ending = ProviderRef::parse(&name(Stage::Released).to_string()).unwrap();
        assert_eq!(Name::of_handle(&ending), None);
    }
}
