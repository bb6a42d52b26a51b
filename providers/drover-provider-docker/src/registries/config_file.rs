//! Docker's configuration file, as far as it has credentials: `auths`, and the programs that keep them instead.

use std::collections::BTreeMap;
use std::path::Path;

use data_encoding::BASE64;
use drover_provider::SecretText;
use serde::Deserialize;

use super::helper::Helper;
use super::name::host_of;
use super::{Credentials, Found, FullName, LoginError, is_within};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    identitytoken: String,
}

/// Returns what the file has for an image, in Docker's order: the registry's own program, the one for every
/// registry, then what is written in the file itself.
pub(super) fn find(path: &Path, text: &SecretText, image: &FullName) -> Result<Found, LoginError> {
    let file: File = serde_json::from_str(text.reveal()).map_err(|error| LoginError::Form {
        path: path.to_owned(),
        // Its words may have a piece of the text.
        line: error.line(),
        column: error.column(),
    })?;
    let helpers = file.cred_helpers.iter();
    let mut helpers = helpers.filter(|(key, _)| Key::of(key).covers(image));
    let store = Some(&file.creds_store).filter(|store| !store.is_empty());
    if let Some(name) = helpers.next().map(|(_, name)| name).or(store) {
        return Helper::named(path, name, image.server()).map(Found::At);
    }
    let written = file.auths.iter().filter(|(_, entry)| !entry.is_empty());
    let keys = written.map(|(key, entry)| (Key::of(key), entry));
    let fitting = keys.filter(|(key, _)| key.covers(image));
    let longest = fitting.max_by_key(|(key, _)| key.path.len());
    let (_, entry) = longest.ok_or_else(|| LoginError::Missing {
        path: path.to_owned(),
        registry: image.host().to_owned(),
    })?;
    let read = entry.read().map(Found::Credentials);
    read.ok_or_else(|| LoginError::Auth {
        path: path.to_owned(),
        registry: image.host().to_owned(),
    })
}

/// What an entry is for.
struct Key {
    host: String,
    path: String,
}

impl Key {
    /// Reads what Docker writes (hosts, and addresses of former interfaces such as
    /// `https://index.docker.io/v1/`), and what Podman writes (hosts and paths of images).
    fn of(text: &str) -> Self {
        let bare = text.strip_prefix("https://");
        let bare = bare.or_else(|| text.strip_prefix("http://"));
        let (host, path) = bare
            .unwrap_or(text)
            .split_once('/')
            .unwrap_or((bare.unwrap_or(text), ""));
        let path = path.trim_matches('/');
        let is_interface = bare.is_some() || ["v1", "v2"].contains(&path);
        Self {
            host: host_of(host),
            path: if is_interface { "" } else { path }.to_owned(),
        }
    }

    fn covers(&self, image: &FullName) -> bool {
        self.host == image.host() && is_within(image.path(), &self.path)
    }
}

impl Entry {
    /// Returns whether it only says that somebody logged in: the rest is where `credsStore` says.
    fn is_empty(&self) -> bool {
        self.auth.is_empty() && self.identitytoken.is_empty()
    }

    fn read(&self) -> Option<Credentials> {
        if !self.identitytoken.is_empty() {
            let token = SecretText::new(self.identitytoken.clone());
            return Some(Credentials::IdentityToken(token));
        }
        let plain = BASE64.decode(self.auth.as_bytes()).ok()?;
        let plain = SecretText::new(String::from_utf8(plain).ok()?);
        let (username, password) = plain.reveal().split_once(':')?;
        // Docker has written some with zeroes at their end.
        let password = password.trim_end_matches('\0');
        if username.is_empty() || password.is_empty() {
            return None;
        }
        Some(Credentials::Password {
            username: username.to_owned(),
            password: SecretText::new(password.to_owned()),
        })
    }
}
