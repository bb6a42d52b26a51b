//! The beginning of a conversation: connect, check the host, show a key, start the program.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{AuthResult, Config, Handle, Msg};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKeyWithHashAlg};
use russh::{Channel, Preferred};
use tokio::net::TcpStream;

use super::Ssh;
use super::host::Client;
use crate::error::{Cause, GitError};
use crate::known_hosts::{HostKeyError, KnownHosts, described};
use crate::private_key::{LogIn, SecretKey};
use crate::session::Session;
use crate::ssh_options::SshIdentity;

/// Keys of an agent that are tried; servers give up after six.
const AGENT_KEYS_MAX: usize = 5;

/// What is said of an RSA key that was not shown.
const SHA1_ONLY: &str = "which was not shown, as the host takes RSA signatures with SHA-1 only";

type Opened = (Handle<Client>, Channel<Msg>);

/// Connects and starts `program` on the repository, each step within the session's limits.
pub(super) async fn open(session: &Session, ssh: &Ssh, program: &str) -> Result<Opened, GitError> {
    let refusal = Arc::default();
    let mut handle = limited(session, greet(session, ssh, Arc::clone(&refusal)))
        .await
        .map_err(|error| refused_host(session, &refusal).unwrap_or(error))?;
    limited(
        session,
        authenticate(session, ssh, ssh.identity(), &mut handle),
    )
    .await?;
    let channel = limited(session, start(session, ssh, program, &handle)).await?;
    Ok((handle, channel))
}

async fn limited<T>(
    session: &Session,
    work: impl Future<Output = Result<T, GitError>>,
) -> Result<T, GitError> {
    let limit = session.timeout().min(session.remaining()?);
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(GitError::Timeout {
            url: session.url(),
            after: limit,
        }),
    }
}

fn unreachable(session: &Session, error: &impl ToString) -> GitError {
    GitError::Unreachable {
        url: session.url(),
        source: Cause(error.to_string()),
    }
}

fn refused_host(session: &Session, refusal: &Mutex<Option<Box<HostKeyError>>>) -> Option<GitError> {
    let mut slot = refusal.lock().unwrap_or_else(PoisonError::into_inner);
    slot.take().map(|source| GitError::HostKey {
        url: session.url(),
        source,
    })
}

/// Connects, and agrees on keys with a host that is known.
async fn greet(
    session: &Session,
    ssh: &Ssh,
    refusal: Arc<Mutex<Option<Box<HostKeyError>>>>,
) -> Result<Handle<Client>, GitError> {
    let place = &ssh.place;
    let known = KnownHosts::read(&ssh.options.known_hosts)?;
    let known_as = place.known_as();
    let config = Config {
        preferred: preferred(&known, &known_as),
        // The limits of each step are ours; a rekey by time would be in their way.
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    };
    let client = Client {
        known,
        known_as,
        name: place.host.clone(),
        refusal,
    };
    let socket = TcpStream::connect((place.host.as_str(), place.port))
        .await
        .map_err(|error| unreachable(session, &error))?;
    // Without it small packets wait for one another; with a failure they do.
    let _ = socket.set_nodelay(true);
    russh::client::connect_stream(Arc::new(config), socket, client)
        .await
        .map_err(|error| unreachable(session, &error))
}

/// Asks first for the kinds of keys that are known, as OpenSSH does: a host has several.
fn preferred(known: &KnownHosts, host: &str) -> Preferred {
    let mut preferred = Preferred::default();
    // RSA keys of hosts are not checked by what we build in.
    let mut keys: Vec<Algorithm> = preferred.key.to_vec();
    keys.retain(|algorithm| !matches!(algorithm, Algorithm::Rsa { .. }));
    let ours = known.algorithms(host);
    // Stable: false sorts before true.
    keys.sort_by_key(|algorithm| !ours.contains(algorithm));
    if known.has_authority(host) {
        preferred.host_key_certificates = Cow::Owned(keys.clone());
    }
    preferred.key = Cow::Owned(keys);
    preferred
}

async fn authenticate(
    session: &Session,
    ssh: &Ssh,
    identity: Option<&SshIdentity>,
    handle: &mut Handle<Client>,
) -> Result<(), GitError> {
    let user = ssh.place.user.as_str();
    let tried = match identity {
        Some(SshIdentity::KeyFile { path, passphrase }) => {
            let key = SecretKey::read(path, passphrase.as_deref())?;
            with_key(session, user, &key, handle).await?
        }
        Some(SshIdentity::Agent { socket }) => with_agent(session, user, socket, handle).await?,
        None => Some("no key is configured".to_owned()),
    };
    match tried {
        None => Ok(()),
        Some(tried) => Err(GitError::SshAuth {
            url: session.url(),
            user: user.to_owned(),
            tried,
        }),
    }
}

/// Returns none on success, or what was tried.
async fn with_key(
    session: &Session,
    user: &str,
    secret: &SecretKey,
    handle: &mut Handle<Client>,
) -> Result<Option<String>, GitError> {
    let tried = described(secret.public());
    let answer = if let Some(key) = secret.plain() {
        let key = PrivateKeyWithHashAlg::new(key, None);
        let answer = handle.authenticate_publickey(user, key).await;
        answer.map_err(|error| unreachable(session, &error))?
    } else {
        let Some(hash) = rsa_hash(session, handle).await? else {
            return Ok(Some(format!("{tried}, {SHA1_ONLY}")));
        };
        let (key, mut signer) = (secret.public().clone(), LogIn(secret));
        handle
            .authenticate_publickey_with(user, key, Some(hash), &mut signer)
            .await
            .map_err(|error| unreachable(session, &error))?
    };
    Ok(answered(&answer, tried))
}

/// Returns the hash of RSA signatures that the host takes. None: SHA-1 alone, which proves nothing any more.
async fn rsa_hash(session: &Session, handle: &Handle<Client>) -> Result<Option<HashAlg>, GitError> {
    let said = handle.best_supported_rsa_hash().await;
    let said = said.map_err(|error| unreachable(session, &error))?;
    // A host that says nothing of it may well take what every one of this decade does.
    Ok(said.unwrap_or(Some(HashAlg::Sha256)))
}

fn answered(answer: &AuthResult, tried: String) -> Option<String> {
    match answer {
        AuthResult::Success => None,
        AuthResult::Failure {
            partial_success: true,
            ..
        } => Some(format!("{tried}, and the host wants more than a key")),
        AuthResult::Failure { .. } => Some(tried),
    }
}

async fn with_agent(
    session: &Session,
    user: &str,
    socket: &Path,
    handle: &mut Handle<Client>,
) -> Result<Option<String>, GitError> {
    let broken = |error: russh::keys::Error| GitError::SshKey {
        path: socket.to_owned(),
        source: Cause(format!("the ssh agent does not answer: {error}")),
    };
    let mut agent = AgentClient::connect_uds(socket).await.map_err(broken)?;
    let identities = agent.request_identities().await.map_err(broken)?;
    let mut tried = Vec::new();
    for identity in identities {
        let AgentIdentity::PublicKey { key, .. } = identity else {
            continue;
        };
        if tried.len() == AGENT_KEYS_MAX {
            break;
        }
        let shown = described(&key);
        let hash = match key.algorithm() {
            Algorithm::Rsa { .. } => {
                let hash = rsa_hash(session, handle).await?;
                if hash.is_none() {
                    tried.push(format!("{shown}, {SHA1_ONLY}"));
                    continue;
                }
                hash
            }
            _ => None,
        };
        let answer = handle
            .authenticate_publickey_with(user, key, hash, &mut agent)
            .await
            .map_err(|error| unreachable(session, &error))?;
        match answered(&answer, shown) {
            None => return Ok(None),
            Some(shown) => tried.push(shown),
        }
    }
    if tried.is_empty() {
        return Ok(Some(
            "the ssh agent holds no key that can be used".to_owned(),
        ));
    }
    Ok(Some(tried.join(", ")))
}

/// Starts `program` on the repository, on a connection that was let in.
pub(super) async fn start(
    session: &Session,
    ssh: &Ssh,
    program: &str,
    handle: &Handle<Client>,
) -> Result<Channel<Msg>, GitError> {
    let failed = |error: russh::Error| unreachable(session, &error);
    let channel = handle.channel_open_session().await.map_err(failed)?;
    let command = format!("{program} {}", quoted(&ssh.place.path));
    channel.exec(true, command).await.map_err(failed)?;
    Ok(channel)
}

/// Quotes a path for the shell at the other end, as Git does it.
fn quoted(path: &str) -> String {
    let mut text = String::from("'");
    for character in path.chars() {
        match character {
            '\'' | '!' => {
                text.push_str("'\\");
                text.push(character);
                text.push('\'');
            }
            other => text.push(other),
        }
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_the_shell_at_the_other_end() {
        assert_eq!(quoted("/srv/fleet.git"), "'/srv/fleet.git'");
        assert_eq!(quoted("a'; evil #!"), "'a'\\''; evil #'\\!''");
        for path in ["a b", "$(evil)", "'`evil`'", "\\", "!x'"] {
            let echo = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(path))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&echo.stdout), path);
        }
    }
}
