//! Images' names in full, as Docker reads a short one.

use std::fmt;

/// The registry of images that name none.
const HUB: &str = "docker.io";

/// Other names of it.
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// Whose images those without a slash are.
const HUB_LIBRARY: &str = "library";

/// An image's name with its registry, without tag and digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FullName {
    /// As written, but for the other names of the hub.
    written_host: String,
    host: String,
    path: String,
}

impl FullName {
    /// Reads an image's name. None: no engine would take it, so it goes with no credentials.
    pub(crate) fn of(image: &str) -> Option<Self> {
        let name = image.split_once('@').map_or(image, |(name, _)| name);
        // A colon before the last slash belongs to the registry's port.
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let tag = name[last..].rfind(':');
        let name = tag.map_or(name, |at| &name[..last + at]);
        let (first, rest) = name.split_once('/').unwrap_or(("", name));
        // As Docker tells a registry from an account at its own.
        let is_host = first.contains(['.', ':'])
            || first == "localhost"
            || first.contains(|c: char| c.is_ascii_uppercase());
        let (host, path) = if is_host { (first, rest) } else { (HUB, name) };
        if !is_host_name(host) || !path.split('/').all(is_component) {
            return None;
        }
        let is_official = host_of(host) == HUB && !path.contains('/');
        let library = if is_official { HUB_LIBRARY } else { "" };
        let path = format!("{library}/{path}");
        Some(Self::at(host, path.trim_start_matches('/')))
    }

    /// Puts a name together.
    pub(super) fn at(host: &str, path: &str) -> Self {
        let plain = host_of(host);
        Self {
            written_host: if plain == HUB {
                plain.clone()
            } else {
                host.to_owned()
            },
            host: plain,
            path: path.to_owned(),
        }
    }

    /// Returns host and port, in lower case: letters of a host's name may have either, and mean the same.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns what comes after the host.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns what programs and files of Docker's call the registry.
    pub(super) fn server(&self) -> &str {
        if self.host == HUB {
            return "https://index.docker.io/v1/";
        }
        &self.host
    }
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.written_host, self.path)
    }
}

/// Returns the one spelling of a host.
pub(super) fn host_of(text: &str) -> String {
    let plain = text.to_ascii_lowercase();
    if HUB_ALIASES.contains(&plain.as_str()) {
        return HUB.to_owned();
    }
    plain
}

fn is_host_name(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut labels = name.split('.');
    let is_label = |label: &str| !label.is_empty() && label.chars().all(plain);
    labels.all(is_label) && !port.is_empty() && port.chars().all(|c| c.is_ascii_digit())
}

fn is_component(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| plain(c) || "._-".contains(c);
    text.starts_with(plain) && text.ends_with(plain) && text.chars().all(inner)
}
