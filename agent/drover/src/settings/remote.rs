//! How to talk to the source repository: which files have credentials, and which hosts are known.

use std::env;
use std::path::{Path, PathBuf};

use drover_git::{
    ClientCertificate, Identities, Login, PackLimits, PathPatterns, Proxy, RemoteOptions,
    SignersFile, SourceUrl, SshIdentity, SshOptions, Trust,
};
use drover_loop::{PathRule, Verification, VerifyMode};
use drover_spec::agent_config::{self, AgentConfig, CredentialFiles, SourceLimits};
use tracing::warn;

use crate::error::{CommandError, CommandResult, Context as _};

/// Where OpenSSH keeps the hosts that the whole system knows.
const SYSTEM_KNOWN_HOSTS: &str = "/etc/ssh/ssh_known_hosts";

/// Returns how to talk to the source. `named` is the repository that a flag names instead of the
/// file's: the file's credentials are not for it.
///
/// # Errors
///
/// A file with a credential cannot be read. It is read again for each conversation; this is to find
/// a mistake at the start.
pub(super) fn options(
    config: Option<&AgentConfig>,
    named: Option<&str>,
) -> CommandResult<RemoteOptions> {
    let own = SshOptions {
        identity: agent_of_environment(),
        write_identity: None,
        known_hosts: known_hosts_of_openssh(),
    };
    let Some(config) = config.filter(|config| is_for(config, named)) else {
        return Ok(RemoteOptions {
            ssh: own,
            ..RemoteOptions::default()
        });
    };
    let source = &config.source;
    let push = source.push_credentials.as_ref();
    let options = RemoteOptions {
        credentials: login(&source.credentials),
        write_credentials: push.and_then(login),
        ca_file: source.credentials.ca.clone(),
        client_certificate: client_certificate(&source.credentials),
        write_client_certificate: push.and_then(client_certificate),
        proxy: match &source.proxy {
            None => Proxy::Environment,
            Some(agent_config::Proxy::Off) => Proxy::Off,
            Some(agent_config::Proxy::Through { url, credentials }) => Proxy::Through {
                url: url.clone(),
                login: login(credentials),
            },
        },
        ssh: SshOptions {
            identity: identity(&source.credentials).or(own.identity),
            write_identity: push.and_then(identity),
            known_hosts: match &source.known_hosts {
                Some(path) => vec![path.clone()],
                None => own.known_hosts,
            },
        },
        limits: limits(source.limits),
        ..RemoteOptions::default()
    };
    let logins = [&options.credentials, &options.write_credentials];
    for login in logins.into_iter().flatten() {
        login.read().context("cannot use the credentials")?;
    }
    Ok(options)
}

fn limits(written: SourceLimits) -> PackLimits {
    let usual = PackLimits::default();
    PackLimits {
        objects: written.objects.unwrap_or(usual.objects),
        whole_bytes: written.object_bytes.unwrap_or(usual.whole_bytes),
        listing_bytes: written.listing_bytes.unwrap_or(usual.listing_bytes),
    }
}

/// Returns what has to be signed.
pub(super) fn verification(config: Option<&AgentConfig>) -> CommandResult<Option<Verification>> {
    let Some(config) = config else {
        return Ok(None);
    };
    let Some(verify) = &config.source.verify else {
        return Ok(None);
    };
    let signers = verify.signers.as_ref().or(config.signers.as_ref());
    let paths = verify.paths.iter().map(|rule| {
        // Said at the start, and not when somebody pushes.
        PathPatterns::parse(&rule.patterns).map_err(|(pattern, why)| {
            CommandError::new(format!(
                "`source.verify.paths`: pattern {pattern:?} cannot be used: {why}"
            ))
        })?;
        Ok(PathRule {
            patterns: rule.patterns.clone(),
            trust: Trust {
                signers: rule.signers.clone().map(SignersFile),
                gnupg_home: rule.gnupg_home.clone(),
            },
        })
    });
    let paths = paths.collect::<CommandResult<_>>()?;
    Ok(Some(Verification {
        paths,
        mode: match verify.mode {
            agent_config::VerifyMode::Head => VerifyMode::Head,
            agent_config::VerifyMode::Tag => VerifyMode::Tag,
        },
        trust: Trust {
            signers: signers.cloned().map(SignersFile),
            gnupg_home: verify.gnupg_home.clone(),
        },
    }))
}

/// Returns where it says whose a key is: in every list and keyring that the agent's file names.
pub(super) fn identities(config: Option<&AgentConfig>) -> Identities {
    let mut identities = Identities::default();
    let Some(config) = config else {
        return identities;
    };
    let verify = config.source.verify.as_ref();
    let rules = verify.into_iter().flat_map(|verify| &verify.paths);
    let of_rules = rules.map(|rule| (rule.signers.as_ref(), rule.gnupg_home.as_ref()));
    let own = verify.map(|verify| (verify.signers.as_ref(), verify.gnupg_home.as_ref()));
    let all = [(config.signers.as_ref(), None)].into_iter();
    for (signers, keyring) in all.chain(own).chain(of_rules) {
        let signers = signers.map(|path| SignersFile(path.clone()));
        let new = signers.filter(|file| !identities.signers.contains(file));
        identities.signers.extend(new);
        let new = keyring.filter(|path| !identities.keyrings.contains(path));
        identities.keyrings.extend(new.cloned());
    }
    identities
}

/// Tells whether the file's credentials are for the repository that is used.
fn is_for(config: &AgentConfig, named: Option<&str>) -> bool {
    let Some(named) = named else {
        return true;
    };
    let same = match (
        SourceUrl::parse(named),
        SourceUrl::parse(&config.source.url),
    ) {
        (Ok(named), Ok(written)) => named == written,
        _ => false,
    };
    let has_any = config.source.credentials != CredentialFiles::default()
        || config.source.push_credentials.is_some();
    if !same && has_any {
        warn!("the agent's file has credentials for another repository: they are not used");
    }
    same
}

fn login(files: &CredentialFiles) -> Option<Login> {
    let password = files.password.as_ref().or(files.token.as_ref());
    if files.username.is_none() && password.is_none() {
        return None;
    }
    Some(Login::Files {
        username: files.username.clone(),
        password: password.cloned(),
    })
}

fn client_certificate(files: &CredentialFiles) -> Option<ClientCertificate> {
    let shown = files
        .client_certificate
        .clone()
        .zip(files.client_key.clone());
    shown.map(|(certificate, key)| ClientCertificate { certificate, key })
}

fn identity(files: &CredentialFiles) -> Option<SshIdentity> {
    let key = files.ssh_key.clone().map(|path| SshIdentity::KeyFile {
        path,
        passphrase: files.ssh_passphrase.clone(),
    });
    let agent = files.ssh_agent.clone();
    key.or_else(|| agent.map(|socket| SshIdentity::Agent { socket }))
}

fn agent_of_environment() -> Option<SshIdentity> {
    let socket = env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty())?;
    Some(SshIdentity::Agent {
        socket: socket.into(),
    })
}

fn known_hosts_of_openssh() -> Vec<PathBuf> {
    let home = env::var_os("HOME").filter(|home| !home.is_empty());
    let own = home.map(|home| Path::new(&home).join(".ssh/known_hosts"));
    own.into_iter()
        .chain([PathBuf::from(SYSTEM_KNOWN_HOSTS)])
        .collect()
}
