//! Which credentials go with the pull of an image. They are those of the agent's own file; an image's name,
//! which a repository writes, only decides which of them its registry gets, if any.
//!
//! **Invariant:** credentials go with the pull of an image whose full name begins with the registry that the
//! agent's file has them for, and nowhere else. An image that goes with credentials is asked for by its full
//! name, so that the engine has no say in which registry a short one means.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use drover_provider::SecretText;

mod config_file;
mod credentials;
mod helper;
mod name;

pub(crate) use credentials::Credentials;
use helper::Helper;
pub(crate) use name::FullName;

/// The largest file with credentials that is read.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The registries that images are pulled from with credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// Each with what to show to it.
    pub logins: Vec<RegistryLogin>,
    /// The environment of programs that hand out credentials. They get nothing else of the agent's.
    pub helper_environment: BTreeMap<String, OsString>,
}

/// What is shown to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// Host and port as images name them, in lower case: `docker.io`, `registry.example.com:5000`.
    pub host: String,
    /// For which of its images: those below this path, which has no slash at either end. Empty: for all.
    pub prefix: String,
    /// Where the credentials are. They are read for each pull.
    pub source: LoginSource,
}

/// Where the credentials of a registry are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginSource {
    /// In a file of their own.
    Password {
        /// The user name.
        username: String,
        /// The file with the password, of which line breaks at the end do not count.
        file: PathBuf,
    },
    /// In a file as `docker login` and `podman login` write it.
    ConfigFile(PathBuf),
}

/// Why there are no credentials. Says where they should be, and nothing of what is there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    // The cause is in the text, as errors of providers have none.
    #[error("{path} cannot be read: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("{path} is empty")]
    Empty { path: PathBuf },
    #[error("{path} is no configuration of Docker's: line {line}, column {column}")]
    Form {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    #[error(
        "{path} has nothing for {registry}: log in to it with this file, as by `podman login --authfile`"
    )]
    Missing { path: PathBuf, registry: String },
    #[error("what {path} has as `auth` for {registry} is not a user name and a password")]
    Auth { path: PathBuf, registry: String },
    #[error("{path} names {name:?}, which is no ending of a program docker-credential-...")]
    HelperName { path: PathBuf, name: String },
    #[error(
        "{program}, which {path} names, {why}: run `echo {server} | {program} get` as the agent's user"
    )]
    Helper {
        path: PathBuf,
        program: String,
        server: String,
        why: String,
    },
}

/// What was found in place of credentials, or credentials.
enum Found {
    Credentials(Credentials),
    /// Somebody else has them.
    At(Helper),
}

impl Registries {
    /// Returns what is for this image: of several the one with the longest path.
    pub(crate) fn of(&self, image: &FullName) -> Option<&RegistryLogin> {
        let fitting = self.logins.iter().filter(|login| login.is_for(image));
        fitting.max_by_key(|login| login.prefix.len())
    }

    /// Reads the credentials of a registry.
    ///
    /// # Cancellation
    ///
    /// A program that was asked is killed.
    pub(crate) async fn read(
        &self,
        login: &RegistryLogin,
        image: &FullName,
    ) -> Result<Credentials, LoginError> {
        let (source, name) = (login.source.clone(), image.clone());
        let read = tokio::task::spawn_blocking(move || source.find(&name)).await;
        let read = read.map_err(|error| LoginError::File {
            path: login.source.path().to_owned(),
            error: io::Error::other(error),
        });
        match read?? {
            Found::Credentials(credentials) => Ok(credentials),
            Found::At(helper) => helper.ask(&self.helper_environment, helper::LIMIT).await,
        }
    }

    /// Returns what is wrong with the files as they are now, one text for each registry. Blocks. No program is
    /// run for it.
    pub fn mistakes(&self) -> Vec<String> {
        let mistake = |login: &RegistryLogin| {
            let found = login.source.find(&login.any_image());
            let error = found.err()?;
            Some(format!("credentials for {}: {error}", login.registry()))
        };
        self.logins.iter().filter_map(mistake).collect()
    }
}

impl RegistryLogin {
    fn is_for(&self, image: &FullName) -> bool {
        self.host == image.host() && is_within(image.path(), &self.prefix)
    }

    /// Returns the registry as it is written in the agent's file.
    pub(crate) fn registry(&self) -> String {
        if self.prefix.is_empty() {
            return self.host.clone();
        }
        format!("{}/{}", self.host, self.prefix)
    }

    /// Returns the name that stands for all images of it.
    fn any_image(&self) -> FullName {
        FullName::at(&self.host, &self.prefix)
    }
}

/// Returns whether `path` is `folder` or below it.
fn is_within(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder);
    folder.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl LoginSource {
    /// Returns the file.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Password { file, .. } | Self::ConfigFile(file) => file,
        }
    }

    fn find(&self, image: &FullName) -> Result<Found, LoginError> {
        match self {
            Self::Password { username, file } => {
                let text = read(file)?;
                let password = text.reveal().trim_end_matches(['\r', '\n']);
                if password.is_empty() {
                    let path = file.clone();
                    return Err(LoginError::Empty { path });
                }
                let password = SecretText::new(password.to_owned());
                let username = username.clone();
                Ok(Found::Credentials(Credentials::Password {
                    username,
                    password,
                }))
            }
            Self::ConfigFile(file) => config_file::find(file, &read(file)?, image),
        }
    }
}

/// Reads a text file; a pipe or a device does not fool the limit.
fn read(path: &Path) -> Result<SecretText, LoginError> {
    let failed = |error| LoginError::File {
        path: path.to_owned(),
        error,
    };
    let mut text = String::new();
    let opened = File::open(path).map_err(failed)?;
    let length = opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let text = SecretText::new(text);
    if length.map_err(failed)? as u64 > FILE_BYTES_MAX {
        let message = format!("it is larger than {} KiB", FILE_BYTES_MAX >> 10);
        let error = io::Error::new(io::ErrorKind::FileTooLarge, message);
        return Err(failed(error));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
