//! `docker` of the agent's file.

use std::path::Path;

use crate::decode::Fields;

/// What repositories may have of the machine around containers, with the provider type `docker`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerConfig {
    /// Engines beside the default one, as `unix://` and an absolute path.
    pub endpoints: Vec<String>,
    /// Networks of the engine.
    pub networks: Vec<String>,
    /// Folders and files of the machine.
    pub mounts: Vec<DockerMount>,
}

/// A folder or file of the machine that may be mounted into containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerMount {
    /// Its absolute path.
    pub path: String,
    /// Whether containers may only read it.
    pub read_only: bool,
}

/// How a container shares the network of something else, which is no network of its own name.
const SHARED: [&str; 2] = ["host", "none"];

pub(super) fn docker(fields: &Fields<'_>) -> DockerConfig {
    let endpoints = fields.texts("endpoints");
    let is_socket = |endpoint: &String| {
        let path = endpoint.strip_prefix("unix://");
        path.is_some_and(|path| Path::new(path).is_absolute())
    };
    all(
        fields,
        "endpoints",
        &endpoints,
        is_socket,
        "must be sockets such as unix:///run/podman/podman.sock",
    );
    let networks = fields.texts("networks");
    let is_network = |network: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        !network.is_empty() && network.chars().all(plain) && !SHARED.contains(&network.as_str())
    };
    all(
        fields,
        "networks",
        &networks,
        is_network,
        "must be names of networks; `host`, `none` and those of other containers are none",
    );
    let mounts = fields.objects("mounts");
    DockerConfig {
        endpoints,
        networks,
        mounts: mounts.iter().filter_map(mount).collect(),
    }
}

fn all(
    fields: &Fields<'_>,
    name: &'static str,
    texts: &[String],
    is_good: impl Fn(&String) -> bool,
    message: &str,
) {
    if let (false, Some(entry)) = (texts.iter().all(is_good), fields.get(name).1) {
        fields.bad(entry, message);
    }
}

fn mount(fields: &Fields<'_>) -> Option<DockerMount> {
    let read_only = fields.boolean("readOnly");
    let path = super::absolute(fields, "path")?;
    Some(DockerMount {
        path: path.to_str()?.to_owned(),
        read_only,
    })
}
