//! Docker provider of drover: instances are containers of an engine that speaks Docker's Engine API
//! on a unix socket: Docker, or Podman with its API service.
//!
//! It knows nothing of groups' sizes, health or rollouts. It keeps no list of containers: what there is
//! is asked of the engine, by labels. Docker cannot change a label, and can change a name, so a name says
//! where a container is in its life: see `names`.
//!
//! Entry points: [`DockerFactory`], with the [`Grants`] that the agent's own file gives to repositories.
//!
//! **Invariant:** a container is ours only with the labels of the fleet and of this Provider document
//! *and* with the name that goes with them. Anything else is listed nowhere and never touched.
//! **Invariant:** nothing that a repository writes reaches the machine around a container: no folder of
//! it, no network, no privilege, no other engine, unless the agent's own file names it.
//! **Invariant:** credentials go to the registry that the agent's own file has them for, and to nobody else:
//! see `registries`.
//! **Invariant:** the words of an engine's error decide nothing; whether something was made is asked.

mod api;
mod body;
mod client;
mod describe;
mod ending;
mod exec;
mod factory;
mod fates;
mod finishing;
mod frames;
mod grants;
mod labels;
mod listing;
mod making;
mod names;
mod provider;
mod pulls;
mod registries;
mod schema;
mod single_flight;
mod spent;
#[cfg(test)]
mod testing;

pub use factory::{DockerFactory, STANDARD_ENDPOINT};
pub use grants::{GrantedMount, Grants};
pub use provider::DockerProvider;
pub use registries::{LoginSource, Registries, RegistryLogin};
