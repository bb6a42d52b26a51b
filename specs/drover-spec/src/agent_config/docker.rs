//! `docker` of the agent's file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::path;
use crate::decode::Fields;
use crate::diagnostic::Diagnostic;

/// What repositories may have of the machine around containers, with the provider type `docker`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerConfig {
    /// Engines beside the default one, as `unix://` and an absolute path.
    pub endpoints: Vec<String>,
    /// Networks of the engine.
    pub networks: Vec<String>,
    /// Folders and files of the machine.
    pub mounts: Vec<DockerMount>,
    /// Registries that images are pulled from with credentials: each place once.
    pub registries: Vec<DockerRegistry>,
}

/// A registry that images are pulled from with credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerRegistry {
    /// Its host and port, as images name them, in lower case.
    pub host: String,
    /// The path that its images begin with. Empty: all of its images.
    pub prefix: String,
    /// Where the credentials are.
    pub login: DockerLogin,
}

/// Where the credentials of a registry are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerLogin {
    /// The password is in a file.
    Password {
        /// The user name.
        username: String,
        /// The file: an absolute path.
        file: PathBuf,
    },
    /// In a file as `docker login` writes it: an absolute path.
    ConfigFile(PathBuf),
}

/// Docker's own registry: images without one are there.
const HUB: &str = "docker.io";

/// Other names of it.
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

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
        registries: registries(fields),
    }
}

fn registries(fields: &Fields<'_>) -> Vec<DockerRegistry> {
    let mut seen = BTreeSet::new();
    let mut registries = Vec::new();
    for fields in fields.objects("registries") {
        let (place, login) = (place(&fields), login(&fields));
        let (Some((host, prefix)), Some(login)) = (place, login) else {
            continue;
        };
        if !seen.insert((host.clone(), prefix.clone())) {
            let message = format!("the registry `{}` is there twice", shown(&host, &prefix));
            let span = fields.span_of("registry");
            let mistake = Diagnostic::error("duplicate-name", message, span);
            fields.report.push(mistake);
        }
        registries.push(DockerRegistry {
            host,
            prefix,
            login,
        });
    }
    registries
}

fn shown(host: &str, prefix: &str) -> String {
    let slash = if prefix.is_empty() { "" } else { "/" };
    format!("{host}{slash}{prefix}")
}

/// Reads which images credentials are for: a host, and the path that they begin with.
fn place(fields: &Fields<'_>) -> Option<(String, String)> {
    let text = fields.text("registry")?;
    let (host, prefix) = text.split_once('/').unwrap_or((&text, ""));
    let host = host.to_ascii_lowercase();
    // As Docker tells a registry from an account at its own.
    let names_host = host.contains(['.', ':']) || host == "localhost";
    let has_path = text.contains('/');
    let prefix_ok = !has_path || prefix.split('/').all(is_component);
    if names_host && is_host(&host) && prefix_ok {
        let is_hub = HUB_ALIASES.contains(&host.as_str());
        let host = if is_hub { HUB.to_owned() } else { host };
        return Some((host, prefix.to_owned()));
    }
    let message = "`registry` must be a host, with a path if it is for some of its images only, as images name them: such as registry.example.com:5000/shop";
    let mistake = Diagnostic::error("bad-value", message, fields.span_of("registry"));
    fields.report.push(match meant(&text) {
        Some(meant) => mistake.hint(format!("did you mean `{meant}`?")),
        None => mistake,
    });
    None
}

/// Returns what somebody means who writes an address, or an account at Docker's registry.
fn meant(text: &str) -> Option<String> {
    let bare = text.strip_prefix("https://");
    let bare = bare.or_else(|| text.strip_prefix("http://"));
    let bare = bare.unwrap_or(text).trim_end_matches('/');
    let (first, rest) = bare.split_once('/').unwrap_or((bare, ""));
    let first = first.to_ascii_lowercase();
    if first.contains(['.', ':']) || first == "localhost" {
        // What follows is the address of an interface rather than a path of images.
        let path = if matches!(rest, "v1" | "v2") {
            ""
        } else {
            rest
        };
        let good = is_host(&first) && (path.is_empty() || path.split('/').all(is_component));
        return good.then(|| shown(&first, path));
    }
    let good = bare.split('/').all(is_component);
    good.then(|| shown(HUB, bare))
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_label = |label: &str| !label.is_empty() && label.chars().all(plain);
    let is_port = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    name.split('.').all(is_label) && is_port
}

fn is_component(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| plain(c) || "._-".contains(c);
    text.starts_with(plain) && text.ends_with(plain) && text.chars().all(inner)
}

/// Reads where credentials are.
fn login(fields: &Fields<'_>) -> Option<DockerLogin> {
    let (username, file) = (fields.text("username"), path(fields, "passwordFile"));
    let config = path(fields, "configFile");
    let inconsistent = |name, message: &str| {
        let mistake = Diagnostic::error("inconsistent", message, fields.span_of(name));
        fields.report.push(mistake);
        None
    };
    let (has_name, has_password) = (fields.has("username"), fields.has("passwordFile"));
    match (fields.has("configFile"), has_name, has_password) {
        (true, false, false) => config.map(DockerLogin::ConfigFile),
        (false, true, true) => {
            let username = username?;
            if username.contains(|c: char| c == ':' || c.is_control()) {
                let (_, entry) = fields.get("username");
                fields.bad(entry?, "must be a name without a colon");
                return None;
            }
            let file = file?;
            Some(DockerLogin::Password { username, file })
        }
        (true, _, _) => inconsistent(
            "configFile",
            "write either `configFile`, or `username` and `passwordFile`",
        ),
        (false, true, false) => {
            inconsistent("username", "`username` and `passwordFile` belong together")
        }
        (false, false, true) => inconsistent(
            "passwordFile",
            "`username` and `passwordFile` belong together",
        ),
        (false, false, false) => inconsistent(
            "registry",
            "write where the credentials are: `username` and `passwordFile`, or `configFile`",
        ),
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
    let text = path.to_str()?;
    // Documents are compared with it as texts, and may not have such parts.
    let mut parts = text.split('/');
    if parts.any(|part| matches!(part, "." | "..")) || text.contains("//") {
        if let Some(entry) = fields.get("path").1 {
            fields.bad(entry, "must have no `.`, `..` and empty parts");
        }
        return None;
    }
    Some(DockerMount {
        path: text.to_owned(),
        read_only,
    })
}
