//! Credentials and the settings of a remote, in types that cannot be printed by accident.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::{BASE64, BASE64_NOPAD};

use crate::error::{Cause, GitError};
use crate::files;
use crate::incoming::PackLimits;
use crate::ssh_options::SshOptions;

/// A text that must not appear anywhere: `Debug` and `Display` print `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text itself; the caller must not print or store it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// What stands in a text where a secret was.
const REDACTED: &str = "[redacted]";

/// A user name and its password or token, sent only to the origin of the repository's URL. Hosts take a token as the
/// user name too, so that is not printed either.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name; hosts that want a token alone take any name.
    pub username: String,
    /// The password or token.
    pub password: Secret,
}

/// Where user name and password come from. Files are read for each conversation, so that what is
/// rotated takes effect without a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// They are known.
    Given(Credentials),
    /// They are in files, of which the last line break does not count.
    Files {
        /// The user name. Hosts that want a token alone take any name.
        username: Option<PathBuf>,
        /// The password or token.
        password: Option<PathBuf>,
    },
}

/// The user name that goes with a token alone.
const ANY_NAME: &str = "drover";

/// The largest file with a credential that is read.
const CREDENTIAL_BYTES_MAX: u64 = 64 << 10;

impl Login {
    /// Reads user name and password.
    ///
    /// # Errors
    ///
    /// [`GitError::CredentialFile`], which has the file's name and nothing of what is in it.
    pub fn read(&self) -> Result<Credentials, GitError> {
        let (username, password) = match self {
            Self::Given(credentials) => return Ok(credentials.clone()),
            Self::Files { username, password } => (username, password),
        };
        let read = |path: &Option<PathBuf>| {
            let text = path.as_ref().map(|path| read_credential(path));
            text.transpose()
        };
        Ok(Credentials {
            username: read(username)?.unwrap_or_else(|| ANY_NAME.to_owned()),
            password: Secret::new(read(password)?.unwrap_or_default()),
        })
    }
}

fn read_credential(path: &Path) -> Result<String, GitError> {
    let text = files::read_text(path, CREDENTIAL_BYTES_MAX);
    let text = text.map_err(|error| GitError::CredentialFile {
        path: path.to_owned(),
        source: Cause(error.to_string()),
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Credentials");
        shown.field("username", &Secret::new(self.username.as_str()));
        shown.field("password", &self.password).finish()
    }
}

/// What some hosts want for a password where the user name is a token.
const NO_PASSWORD: &str = "x-oauth-basic";

/// User names that are no secret, whatever stands beside them: a host's name may have them.
const KNOWN_NAMES: &[&str] = &["git", "oauth2", "x-access-token", "x-token-auth", ANY_NAME];

impl Credentials {
    /// Removes the password, or the token that stands in the user name's place, from a text that came from somewhere
    /// else, in the forms that a URL and a header have them too.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let (name, password) = (self.username.as_str(), self.password.expose());
        let is_token = password.is_empty() || password == NO_PASSWORD;
        let lone = (is_token && !KNOWN_NAMES.contains(&name)).then_some(name);
        let basic = format!("{name}:{password}");
        let mut forms = vec![
            BASE64.encode(basic.as_bytes()),
            BASE64_NOPAD.encode(basic.as_bytes()),
        ];
        for secret in [Some(password), lone].into_iter().flatten() {
            forms.extend([in_url(secret), secret.to_owned()]);
        }
        let mut text = text.to_owned();
        for form in forms.iter().filter(|form| !form.is_empty()) {
            text = text.replace(form, REDACTED);
        }
        text
    }
}

/// Returns a secret as a URL has it.
fn in_url(secret: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse("http://h") else {
        return String::new();
    };
    match url.set_password(Some(secret)) {
        Ok(()) => url.password().unwrap_or_default().to_owned(),
        Err(()) => String::new(),
    }
}

/// A certificate that we show to the host, and its key; both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, followed by those that lead to a known authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Which way HTTP requests take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say; never to loopback.
    #[default]
    Environment,
    /// Straight to the host.
    Off,
    /// Through this proxy.
    Through {
        /// Its URL, without credentials.
        url: String,
        /// Credentials for the proxy alone.
        login: Option<Login>,
    },
}

/// How to talk to a remote.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// Credentials; they win over those in the URL.
    pub credentials: Option<Login>,
    /// Others for pushing.
    pub write_credentials: Option<Login>,
    /// Certificate authorities (PEM) to trust *instead of* the system's.
    pub ca_file: Option<PathBuf>,
    /// A certificate to show to the host.
    pub client_certificate: Option<ClientCertificate>,
    /// Another one for pushing.
    pub write_client_certificate: Option<ClientCertificate>,
    /// Which way requests take.
    pub proxy: Proxy,
    /// Keys and known hosts, for a remote over ssh.
    pub ssh: SshOptions,
    /// How much a fetch may bring.
    pub limits: PackLimits,
    /// The limit of a connection attempt and of each read or write.
    pub timeout: Duration,
    /// The limit of a whole operation (a listing, a fetch, a push).
    pub deadline: Duration,
}

/// The limit of each step when nobody says otherwise: a host that is silent for this long is gone.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The limit of a whole operation when nobody says otherwise: long enough for a first fetch of some
/// hundred megabytes.
pub const DEFAULT_DEADLINE: Duration = Duration::from_mins(5);

impl RemoteOptions {
    /// Returns the files that a client is built from.
    pub(crate) fn client_files(&self) -> Vec<&Path> {
        let shown = [&self.client_certificate, &self.write_client_certificate];
        let shown = shown.into_iter().flatten();
        let shown = shown.flat_map(|shown| [&shown.certificate, &shown.key]);
        let proxy = match &self.proxy {
            Proxy::Through {
                login: Some(Login::Files { username, password }),
                ..
            } => [username.as_ref(), password.as_ref()],
            Proxy::Through { .. } | Proxy::Environment | Proxy::Off => [None, None],
        };
        let files = self.ca_file.iter().chain(shown);
        files
            .chain(proxy.into_iter().flatten())
            .map(PathBuf::as_path)
            .collect()
    }

    pub(crate) fn for_writing(&self) -> Option<&Login> {
        self.write_credentials
            .as_ref()
            .or(self.credentials.as_ref())
    }
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            credentials: None,
            write_credentials: None,
            ca_file: None,
            client_certificate: None,
            write_client_certificate: None,
            proxy: Proxy::Environment,
            ssh: SshOptions::default(),
            limits: PackLimits::default(),
            timeout: DEFAULT_TIMEOUT,
            deadline: DEFAULT_DEADLINE,
        }
    }
}
