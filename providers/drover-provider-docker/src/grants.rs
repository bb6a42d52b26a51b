//! What the agent's own file lets repositories have of the machine around the containers.

use crate::registries::Registries;

/// What a repository may use beside images, its own volumes and the engine's default network. Nothing of
/// it by default: each of these leads out of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Engines beside the default one, such as `unix:///run/podman/podman.sock`. Whoever may use an
    /// engine is root on its machine, or whoever the engine runs as.
    pub endpoints: Vec<String>,
    /// Networks of the engine, by name.
    pub networks: Vec<String>,
    /// Folders and files of the machine. Exactly these: a folder below one could be a link that a
    /// container has put there.
    pub mounts: Vec<GrantedMount>,
    /// Registries whose images are pulled with the agent's credentials.
    pub registries: Registries,
}

/// A folder or file of the machine that may be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedMount {
    /// Its absolute path.
    pub path: String,
    /// Whether containers may only read it.
    pub read_only: bool,
}
