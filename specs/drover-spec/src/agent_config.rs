//! The agent's own configuration file, read with the same strictness as documents.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drover_model::{AgentName, FleetName, OutageMode, ProviderType, SourceName, SourceSpan};

use crate::declare::AGENT;
use crate::decode::{Fields, Others};
use crate::diagnostic::{Diagnostic, Report};
use crate::document::report_faults;
use crate::tree::{Node, TreeLimits, read};

mod docker;
mod metrics;
mod notify;
mod open_pgp;
mod plugins;
mod reviews;
mod secrets;
mod verify;
mod webhooks;

pub use docker::{DockerConfig, DockerLogin, DockerMount, DockerRegistry};
pub use open_pgp::OpenPgpConfig;
pub use reviews::{ReviewsConfig, ReviewsKind};
pub use secrets::SecretsConfig;
pub use verify::{Verify, VerifyMode, VerifyPath};

/// The configuration of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// The name of this agent.
    pub name: AgentName,
    /// The fleet: the owner in every instance's tags.
    pub fleet: FleetName,
    /// Whether the agent acts.
    pub mode: Mode,
    /// The repository with the documents.
    pub source: Source,
    /// The branch of the same repository that recorded state goes to.
    pub state_branch: String,
    /// Whose signatures on recorded state count, beside the agent's own.
    pub state_signers: StateSigners,
    /// The folder of the journal and the caches: an absolute path.
    pub data_dir: PathBuf,
    /// Where the provider type `process` keeps its instances: an absolute path. None: a folder in
    /// the data directory.
    pub process_dir: Option<PathBuf>,
    /// Address and port of the health and metrics pages, loopback only. None: no pages.
    pub listen: Option<SocketAddr>,
    /// The provider types that the repository may use. None: see [`AgentConfig::allows`].
    pub providers_allowed: Option<Vec<ProviderType>>,
    /// Where metrics come from.
    pub metric_sources: Vec<MetricSourceConfig>,
    /// The plugins.
    pub plugins: PluginsConfig,
    /// What containers may have of the machine around them.
    pub docker: DockerConfig,
    /// A list of people's keys: whose operations count. None: nobody's.
    pub signers: Option<PathBuf>,
    /// A private key that signs state commits, and a file with its passphrase.
    pub key: Option<(PathBuf, Option<PathBuf>)>,
    /// An OpenPGP key that signs state commits instead.
    pub open_pgp: Option<OpenPgpConfig>,
    /// Which secrets documents may refer to.
    pub secrets: SecretsConfig,
    /// The webhooks that are answered on `listen`.
    pub webhooks: Vec<WebhookConfig>,
    /// Who is told what happens. None: nobody.
    pub notify: Option<NotifyConfig>,
    /// Whose reviews on the Git host count as approvals. None: nobody's.
    pub reviews: Option<ReviewsConfig>,
}

/// Whose signatures on recorded state count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateSigners {
    /// A list of ssh keys.
    pub signers: Option<PathBuf>,
    /// The folder of a GnuPG keyring.
    pub gnupg_home: Option<PathBuf>,
}

/// Where events are posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyConfig {
    /// The address.
    pub address: NotifyAddress,
    /// A file with the secret that signs: an absolute path. None: they are not signed.
    pub secret_file: Option<PathBuf>,
    /// The authorities that sign the receiver's certificate, PEM. None: the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether only errors and their ends are told.
    pub errors_only: bool,
}

/// The address of a receiver, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum NotifyAddress {
    /// As written.
    Known(String),
    /// In a file: an absolute path.
    File(PathBuf),
}

impl fmt::Debug for NotifyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(_) => f.write_str("Known([redacted])"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// A webhook that a Git host may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    /// The last part of its path: a DNS label.
    pub id: String,
    /// How its requests are signed.
    pub kind: WebhookKind,
    /// The file with its secret: an absolute path.
    pub secret_file: PathBuf,
}

/// How the requests of a webhook are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookKind {
    /// `X-Hub-Signature-256: sha256=<hex>`.
    GitHub,
    /// `X-Gitlab-Token`: the secret itself.
    GitLab,
    /// `X-Gitea-Signature: <hex>`, of Gitea and Forgejo.
    Gitea,
    /// `X-Signature-256: sha256=<hex>`.
    Generic,
}

/// The plugins that the provider type `plugin` may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginsConfig {
    /// The folder with their sockets: an absolute path. None: where InfraKit looks.
    pub dir: Option<PathBuf>,
    /// The plugins that the agent starts.
    pub start: Vec<PluginConfig>,
}

/// A plugin that the agent starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginConfig {
    /// Its name, and that of its socket: a DNS label.
    pub name: String,
    /// The program, an absolute path.
    pub program: PathBuf,
    /// Its arguments, `${socket}` not replaced yet.
    pub args: Vec<String>,
    /// Its environment, beside what every plugin has.
    pub env: BTreeMap<String, String>,
    /// The most address space in bytes. None: no limit.
    pub memory: Option<u64>,
    /// How long it may take to listen.
    pub start_timeout: Duration,
}

/// A source of metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricSourceConfig {
    /// The name that documents use.
    pub name: SourceName,
    /// How long an answer is waited for at most.
    pub timeout: Duration,
    /// What it is.
    pub kind: MetricSourceKind,
}

/// What a source of metrics is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricSourceKind {
    /// A Prometheus server.
    Prometheus {
        /// Its address.
        url: String,
        /// A file with a token.
        token: Option<PathBuf>,
        /// The authorities that sign its certificate, PEM.
        ca: Option<PathBuf>,
    },
    /// A file.
    File {
        /// An absolute path.
        path: PathBuf,
    },
    /// A program.
    Program {
        /// The program, an absolute path.
        program: PathBuf,
        /// Its arguments.
        args: Vec<String>,
    },
}

/// Whether an agent acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It does what it plans.
    Act,
    /// Full passes without a provider mutation.
    Observe,
}

/// The repository with the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A path or a URL, as written: what it may be is for the Git side to say.
    pub url: String,
    /// Where `source.url` is written.
    pub url_span: SourceSpan,
    /// The watched branch.
    pub branch: String,
    /// The folder inside the repository, with '/' and without one at either end. Empty: its root.
    pub path: String,
    /// Time between two looks at the branch.
    pub interval: Duration,
    /// Files with credentials for `url`, and for nothing else.
    pub credentials: CredentialFiles,
    /// Others for pushing to it. None: the same.
    pub push_credentials: Option<CredentialFiles>,
    /// A file of known hosts, for ssh. None: OpenSSH's own.
    pub known_hosts: Option<PathBuf>,
    /// What goes on while it cannot be read or verified, and after how long. None: everything.
    pub outage: Option<(OutageMode, Duration)>,
    /// What has to be signed. None: nothing.
    pub verify: Option<Verify>,
    /// Which way HTTP requests take. None: as the environment says.
    pub proxy: Option<Proxy>,
    /// How much a fetch may bring.
    pub limits: SourceLimits,
}

/// How much a fetch may bring. None: what the Git side holds for right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceLimits {
    /// Objects in one pack.
    pub objects: Option<u32>,
    /// Bytes of an object that has to be in memory as a whole.
    pub object_bytes: Option<u64>,
    /// Bytes of a listing of references.
    pub listing_bytes: Option<u64>,
}

/// Which way HTTP requests take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// Straight to the host.
    Off,
    /// Through this proxy.
    Through {
        /// Its URL.
        url: String,
        /// Files with credentials for it.
        credentials: Box<CredentialFiles>,
    },
}

/// Files with credentials. Their content is read by who needs it, each time anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialFiles {
    /// The user name.
    pub username: Option<PathBuf>,
    /// The password.
    pub password: Option<PathBuf>,
    /// An access token, instead of user name and password.
    pub token: Option<PathBuf>,
    /// The authorities that sign the host's certificate, PEM.
    pub ca: Option<PathBuf>,
    /// A certificate to show to the host, PEM.
    pub client_certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub client_key: Option<PathBuf>,
    /// A private key, for ssh.
    pub ssh_key: Option<PathBuf>,
    /// Its passphrase.
    pub ssh_passphrase: Option<PathBuf>,
    /// The socket of an ssh agent, instead of a key.
    pub ssh_agent: Option<PathBuf>,
}

/// The type that is not allowed unless it is named: it runs what the repository says as the agent's
/// own user.
pub const PROCESS_TYPE: &str = "process";

impl AgentConfig {
    /// Returns whether the repository may use providers of this type: those that are listed, or
    /// every type but [`PROCESS_TYPE`] where no list is written.
    pub fn allows(&self, type_: &ProviderType) -> bool {
        match &self.providers_allowed {
            Some(allowed) => allowed.contains(type_),
            None => type_.as_str() != PROCESS_TYPE,
        }
    }
}

/// Parses the agent's file.
///
/// # Errors
///
/// Every mistake, in the order of their places.
pub fn parse(path: &str, bytes: &[u8]) -> Result<AgentConfig, Vec<Diagnostic>> {
    let file: Arc<str> = path.into();
    let start = || SourceSpan::start_of(path);
    let text = std::str::from_utf8(bytes).map_err(|_| {
        vec![Diagnostic::error(
            "not-utf8",
            "the file is not UTF-8",
            start(),
        )]
    })?;
    let raw = read(text, 0, TreeLimits::DOCUMENTS);
    let report = Report::new(file);
    report_faults(&report, raw.fault.into_iter().collect());
    let mut documents = raw.documents;
    if documents.len() != 1 && report.count() == 0 {
        let message = format!("expected one document, found {}", documents.len());
        return Err(vec![Diagnostic::error("wrong-type", message, start())]);
    }
    let mut config = None;
    if let Some(document) = documents.pop() {
        report_faults(&report, document.faults);
        if let (Some(root), true) = (&document.root, document.finished) {
            config = decode(&report, root);
        }
    }
    let diagnostics = report.finish();
    match config {
        Some(config) if diagnostics.iter().all(|found| !found.is_error()) => Ok(config),
        Some(_) | None => Err(diagnostics),
    }
}

fn decode(report: &Report, root: &Node) -> Option<AgentConfig> {
    let fields = Fields::open(report, root, root.place, &AGENT, Others::Refuse);
    let name: Option<AgentName> = fields.id("name");
    let fleet: Option<FleetName> = fields.id("fleet");
    let mode = match fields.word("mode") {
        "observe" => Mode::Observe,
        _ => Mode::Act,
    };
    let source = source(&fields);
    let (state_branch, state_signers) = state(report, &fields, source.as_ref());
    let data_dir = absolute(&fields, "dataDir");
    let process_dir = match fields.get("processDir").1 {
        Some(_) => absolute(&fields, "processDir"),
        None => None,
    };
    let listen = listen(&fields);
    let providers = fields.object("providers");
    let providers_allowed = providers.ids("allow");
    let metric_sources = metrics::sources(&fields.object("metrics"));
    let plugins = plugins::plugins(&fields.object("plugins"));
    let docker = docker::docker(&fields.object("docker"));
    let signers = path(&fields, "signers");
    let key = path(&fields, "key");
    let passphrase = path(&fields, "keyPassphraseFile");
    let open_pgp = open_pgp::open_pgp(&fields);
    let secrets = secrets::secrets(&fields.object("secrets"));
    let webhooks = webhooks::webhooks(&fields, listen);
    let notify = notify::notify(&fields);
    let reviews = reviews::reviews(&fields);
    let name = name?;
    Some(AgentConfig {
        fleet: match fleet {
            Some(fleet) => fleet,
            None => FleetName::parse(name.as_str()).ok()?,
        },
        name,
        mode,
        source: source?,
        state_branch: state_branch?,
        state_signers,
        data_dir: data_dir?,
        process_dir,
        listen,
        providers_allowed,
        metric_sources,
        plugins,
        docker,
        signers,
        key: key.map(|key| (key, passphrase)),
        open_pgp,
        secrets,
        webhooks,
        notify,
        reviews,
    })
}

/// Returns the branch of recorded state, and whose signatures count there.
fn state(
    report: &Report,
    fields: &Fields<'_>,
    source: Option<&Source>,
) -> (Option<String>, StateSigners) {
    let state = fields.object("state");
    let state_branch = branch(&state, "branch");
    let signers = StateSigners {
        signers: path(&state, "signers"),
        gnupg_home: path(&state, "gnupgHome"),
    };
    if let (Some(source), Some(state_branch)) = (source, &state_branch)
        && source.branch == *state_branch
    {
        let message = "recorded state cannot go to the watched branch";
        let name = if fields.has("state") {
            "state"
        } else {
            "source"
        };
        report.push(Diagnostic::error(
            "inconsistent",
            message,
            fields.span_of(name),
        ));
    }
    (state_branch, signers)
}

fn source(fields: &Fields<'_>) -> Option<Source> {
    let credentials = fields.object("credentials");
    let files = credential_files(&credentials.object("source"), FILES);
    let push = credential_files(&credentials.object("push"), PUSH_FILES);
    let push = credentials.has("push").then_some(push);
    let source = fields.object("source");
    let url = source.text("url");
    let sends = |files: &CredentialFiles| {
        files.username.is_some() || files.password.is_some() || files.token.is_some()
    };
    let sends = sends(&files) || push.as_ref().is_some_and(sends);
    if let (true, Some(url), Some(entry)) = (sends, &url, source.get("url").1)
        && is_plain(url)
    {
        source.bad(entry, PLAIN);
    }
    let branch = branch(&source, "branch");
    let folder = folder(&source);
    let interval = source.duration("interval");
    let known_hosts = path(&source, "knownHosts");
    let proxy_files = credential_files(&credentials.object("proxy"), PROXY_FILES);
    let proxy = proxy(&source, proxy_files);
    let verify = verify::verify(&source, fields.has("signers"));
    let outage = outage(&source, interval);
    let limits = source_limits(&source);
    Some(Source {
        url: url?,
        url_span: source.span_of("url"),
        branch: branch?,
        path: folder?,
        interval,
        credentials: files,
        push_credentials: push,
        known_hosts,
        outage,
        verify,
        proxy,
        limits,
    })
}

/// The files for pushing.
const PUSH_FILES: &[&str] = &[
    "usernameFile",
    "passwordFile",
    "tokenFile",
    "sshKeyFile",
    "sshPassphraseFile",
    "sshAgent",
    "clientCertificateFile",
    "clientKeyFile",
];

/// Whom to trust is the same for both.
const FILES: &[&str] = &[
    "usernameFile",
    "passwordFile",
    "tokenFile",
    "sshKeyFile",
    "sshPassphraseFile",
    "sshAgent",
    "caFile",
    "clientCertificateFile",
    "clientKeyFile",
];

/// The files for a proxy.
const PROXY_FILES: &[&str] = &["usernameFile", "passwordFile"];

fn credential_files(fields: &Fields<'_>, names: &[&'static str]) -> CredentialFiles {
    let file = |name: &'static str| {
        let known = names.contains(&name) && fields.has(name);
        known.then(|| absolute(fields, name)).flatten()
    };
    for name in names {
        let _ = fields.get(name);
    }
    let files = CredentialFiles {
        username: file("usernameFile"),
        password: file("passwordFile"),
        token: file("tokenFile"),
        ca: file("caFile"),
        client_certificate: file("clientCertificateFile"),
        client_key: file("clientKeyFile"),
        ssh_key: file("sshKeyFile"),
        ssh_passphrase: file("sshPassphraseFile"),
        ssh_agent: file("sshAgent"),
    };
    let bad = |message: &str, name| {
        let span = fields.span_of(name);
        let diagnostic = Diagnostic::error("inconsistent", message, span);
        fields.report.push(diagnostic);
    };
    if files.token.is_some() && files.password.is_some() {
        bad("write either `tokenFile` or `passwordFile`", "tokenFile");
    }
    if files.client_certificate.is_some() != files.client_key.is_some() {
        let message = "`clientCertificateFile` and `clientKeyFile` belong together";
        bad(message, "clientKeyFile");
    }
    if files.ssh_key.is_some() && files.ssh_agent.is_some() {
        bad("write either `sshKeyFile` or `sshAgent`", "sshAgent");
    }
    if files.ssh_passphrase.is_some() && files.ssh_key.is_none() {
        let message = "a passphrase is of use with `sshKeyFile` only";
        bad(message, "sshPassphraseFile");
    }
    files
}

/// What is wrong with an address that credentials would be sent to in the open.
const PLAIN: &str =
    "must begin with https://: credentials are sent over https only, or to this machine";

/// Whether anybody on the way could read what is sent to a URL. One with credentials of its own is refused by who
/// opens it: a mistake here would show them with its line.
fn is_plain(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let place = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let bracketed = place.strip_prefix('[').and_then(|it| it.split_once(']'));
    let host = match bracketed {
        Some((host, _)) => host,
        None => place.split(':').next().unwrap_or_default(),
    };
    let here = host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    scheme.eq_ignore_ascii_case("http") && !place.contains('@') && !here
}

/// Reads which way HTTP requests take.
fn proxy(source: &Fields<'_>, credentials: CredentialFiles) -> Option<Proxy> {
    let entry = source.get("proxy").1;
    let url = source.text("proxy")?;
    if url == "off" {
        return Some(Proxy::Off);
    }
    let host = url.strip_prefix("http://").or(url.strip_prefix("https://"));
    let plain = |host: &str| !host.is_empty() && !host.contains(['@', '?', '#', ' ']);
    if let (false, Some(entry)) = (host.is_some_and(plain), entry) {
        source.bad(
            entry,
            "must be `off`, or http:// or https:// with a host and without a user name",
        );
        return None;
    }
    let sends = credentials.username.is_some() || credentials.password.is_some();
    if let (true, Some(entry)) = (sends && is_plain(&url), entry) {
        source.bad(entry, PLAIN);
        return None;
    }
    Some(Proxy::Through {
        url,
        credentials: Box::new(credentials),
    })
}

/// Reads what goes on while the source is out of reach.
fn outage(source: &Fields<'_>, interval: Duration) -> Option<(OutageMode, Duration)> {
    let fields = source.object("outage");
    let (after, mode) = (fields.duration("after"), fields.word("mode"));
    if !source.has("outage") {
        return None;
    }
    if let Some(entry) = fields.get("after").1.filter(|_| after <= interval) {
        fields.bad(entry, "must be longer than `source.interval`");
    }
    Some((OutageMode::parse(mode)?, after))
}

/// Reads an amount of bytes of at least `min`, which is a whole number of MiB.
fn bytes(fields: &Fields<'_>, name: &'static str, min: u64) -> Option<u64> {
    let text = fields.text(name)?;
    let bytes = bytes_of(&text).filter(|bytes| *bytes >= min);
    if bytes.is_none()
        && let Some(entry) = fields.get(name).1
    {
        let min = min >> 20;
        let rule = format!("must be at least {min}MiB, with the unit KiB, MiB or GiB");
        fields.bad(entry, &rule);
    }
    bytes
}

/// Reads an amount of bytes such as `256MiB`.
fn bytes_of(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (digits, shift) = units
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))?;
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(1 << shift)
}

/// The smallest limit: a document may have as much.
const LIMIT_BYTES_MIN: u64 = 1 << 20;

fn source_limits(source: &Fields<'_>) -> SourceLimits {
    let fields = source.object("limits");
    SourceLimits {
        // None is that small.
        objects: Some(fields.integer("objects")).filter(|objects| *objects > 0),
        object_bytes: bytes(&fields, "object", LIMIT_BYTES_MIN),
        listing_bytes: bytes(&fields, "listing", LIMIT_BYTES_MIN),
    }
}

/// Reads an absolute path, where one is written.
fn path(fields: &Fields<'_>, name: &'static str) -> Option<PathBuf> {
    let written = fields.get(name).1.is_some();
    written.then(|| absolute(fields, name)).flatten()
}

/// Reads a path that means the same wherever the agent is started.
fn absolute(fields: &Fields<'_>, name: &'static str) -> Option<PathBuf> {
    let path = PathBuf::from(fields.text(name)?);
    if path.is_absolute() {
        return Some(path);
    }
    if let Some(entry) = fields.get(name).1 {
        fields.bad(entry, "must be an absolute path");
    }
    None
}

/// Reads a folder inside the repository.
fn folder(fields: &Fields<'_>) -> Option<String> {
    let Some(entry) = fields.get("path").1 else {
        return Some(String::new());
    };
    // The empty path is the root, written out.
    if entry.value.text() == Some("") {
        return Some(String::new());
    }
    let text = fields.text("path")?;
    let trimmed = text.trim_end_matches('/');
    let normal = |part: &str| !part.is_empty() && part != "." && part != ".." && part != ".git";
    if trimmed == "." {
        return Some(String::new());
    }
    if Path::new(&text).is_absolute() || !trimmed.split('/').all(normal) {
        fields.bad(entry, "must be a folder inside the repository");
        return None;
    }
    Some(trimmed.to_owned())
}

fn branch(fields: &Fields<'_>, name: &'static str) -> Option<String> {
    let branch = fields.text(name)?;
    if is_branch(&branch) {
        return Some(branch);
    }
    if let Some(entry) = fields.get(name).1 {
        fields.bad(entry, "is not the name of a branch");
    }
    None
}

/// Returns whether Git takes the text for a branch's name.
pub fn is_branch(text: &str) -> bool {
    let part_ok = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none()
    };
    text.split('/').all(part_ok)
        && !text.starts_with('-')
        && !text.starts_with("refs/")
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && text != "@"
        && text != "HEAD"
        && !text
            .chars()
            .any(|c| c.is_control() || " ~^:?*[\\".contains(c))
}

/// Reads `listen`. A mistake was reported and stands in as `off`.
fn listen(fields: &Fields<'_>) -> Option<SocketAddr> {
    let text = fields.text("listen").filter(|text| text != "off")?;
    let entry = fields.get("listen").1;
    match (text.parse::<SocketAddr>(), entry) {
        (Ok(address), _) if address.ip().is_loopback() => return Some(address),
        (Ok(_), Some(entry)) => {
            let message = "`listen` on another address than loopback is not supported yet";
            let span = fields.report.span(entry.value.place);
            let diagnostic = Diagnostic::error("not-supported", message, span);
            fields.report.push(diagnostic.label("tokens and TLS"));
        }
        (Err(_), Some(entry)) => fields.bad(
            entry,
            "must be `off` or an address with a port, such as 127.0.0.1:7643",
        ),
        (_, None) => unreachable!("the default is a loopback address"),
    }
    None
}

#[cfg(test)]
mod tests;
