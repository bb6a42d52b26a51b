//! Plugin host of drover: providers that are programs of their own, spoken to by JSON-RPC 2.0 over HTTP on
//! a unix socket.
//!
//! Two interfaces are spoken. InfraKit's `Instance`, as of every release, so that plugins written for it
//! work unchanged; it knows no tokens, no owners and no classes of errors, and this crate adds the safety
//! around it. And drover's own `Provider/1`, which carries the whole provider contract.
//!
//! It knows nothing of groups' sizes, health or rollouts, and starts no program.
//!
//! Entry points: [`PluginFactory`] and [`PluginFlavors`] for the agent, [`Directory`] and [`PluginName`] for finding plugins,
//! [`inspect_groups`] and [`config_hash`] for taking over groups of InfraKit, [`serve_http`] for what is served to many.
//!
//! **Invariant:** a call that makes something is written down before it is sent, and not made again while
//! nobody knows what became of it.
//! **Invariant:** an answer that cannot be read is an error of that call, never an empty list.
//! **Invariant:** every call is bounded in time, and its answer in bytes and in the memory that it takes once it is read.

mod absences;
mod adopting;
mod call;
mod config_hash;
mod connections;
mod contact;
mod endpoint;
mod factory;
mod flavors;
mod go_json;
mod groups;
mod hello;
mod infrakit;
mod instance;
mod json;
mod ledger;
mod making;
mod ownership;
#[cfg(test)]
#[path = "../tests/plugin/records.rs"]
mod records;
mod remote;
mod serve;
mod spec;
mod tags;
mod unclaimed;
mod weight;
mod wire;
mod wire_checks;

pub use absences::Absences;
pub use call::Place;
pub use config_hash::config_hash;
pub use connections::{
    Busy, Connection, ConnectionLimits, Lifetime, Listener, serve as serve_http,
};
pub use endpoint::{Directory, Endpoint, FindError, PluginName, PluginNameError};
pub use factory::PluginFactory;
pub use flavors::{FlavorSubject, PluginFlavors, check_flavor, is_flavor};
pub use go_json::{GoJson, GoJsonError, NumberTooLarge, as_read_by_go};
pub use groups::{AskError, InfrakitGroup, InfrakitInstance, describe_instances, inspect_groups};
pub use hello::answers;
pub use json::{from_json, to_json};
pub use serve::{
    AgentService, Answered, CloudInitService, Failure, GroupChange, GroupService, GroupSpec,
    Groups, InstanceService, Managed, ManagingAgent, ProviderService, Served, ServedGroup,
    ServedInstance, ServedSocket, Service, Trying, VanillaService, Watch, WrittenGroup,
};
pub use spec::logical_id;
pub use wire_checks::{check_names, wire_unchecked};
