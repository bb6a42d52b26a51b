//! Programs that hand out credentials, by Docker's protocol: `docker-credential-NAME get` is given a
//! registry's name on standard input, and prints a user name and a secret as JSON.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use drover_provider::SecretText;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::{Credentials, LoginError};

/// How long one may take: it may ask a cloud, and start an interpreter for that.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// The most that is read of what one prints.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// The user name with which a program says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// A program to ask.
#[derive(Debug)]
pub(super) struct Helper {
    /// The file that names it.
    path: PathBuf,
    program: String,
    /// What it is asked about.
    server: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The processes of a program that has not ended yet, ended with this value.
struct Running(Option<Pid>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            // The leader is not reaped yet, so the number is still its own.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Helper {
    /// Takes a program by the end of its name. It is one of the search path: a file can choose among those that
    /// are there for this purpose, and can name no other.
    pub(super) fn named(path: &Path, name: &str, server: &str) -> Result<Self, LoginError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(LoginError::HelperName {
                path: path.to_owned(),
                name: name.to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            program: format!("docker-credential-{name}"),
            server: server.to_owned(),
        })
    }

    /// Asks it, for `limit` at most.
    ///
    /// # Cancellation
    ///
    /// Its whole process group is killed.
    pub(super) async fn ask(
        self,
        environment: &BTreeMap<String, OsString>,
        limit: Duration,
    ) -> Result<Credentials, LoginError> {
        let asked = tokio::time::timeout(limit, self.run(environment)).await;
        let asked = asked.unwrap_or_else(|_| Err(format!("does not answer within {limit:?}")));
        asked.map_err(|why| LoginError::Helper {
            path: self.path,
            program: self.program,
            server: self.server,
            why,
        })
    }

    async fn run(&self, environment: &BTreeMap<String, OsString>) -> Result<Credentials, String> {
        let mut command = Command::new(&self.program);
        command
            .arg("get")
            .env_clear()
            .envs(environment)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What it says may have the secret, or a part of it.
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        let spawned = command.spawn();
        let mut child = spawned.map_err(|error| format!("cannot be started: {error}"))?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        // Declared after the child, so dropped before it: killed before it is reaped.
        let mut running = Running(pid);
        let printed = talk(&mut child, &self.server).await?;
        let status = child.wait().await;
        running.0 = None;
        let status = status.map_err(|error| format!("cannot be waited for: {error}"))?;
        if !status.success() {
            return Err(format!("ends with {status}"));
        }
        let answer: Result<Answer, _> = serde_json::from_str(printed.reveal());
        // The error's words may have a piece of the text.
        let answer = answer.map_err(|_| "prints no user name and secret".to_owned())?;
        credentials(answer)
    }
}

/// Hands over the question, and reads until nothing more is printed.
async fn talk(child: &mut Child, server: &str) -> Result<SecretText, String> {
    if let Some(mut input) = child.stdin.take() {
        // One that ends early says why.
        let _ = input.write_all(format!("{server}\n").as_bytes()).await;
    }
    let mut text = String::new();
    if let Some(output) = child.stdout.take() {
        let mut output = output.take(OUTPUT_BYTES_MAX + 1);
        let read = output.read_to_string(&mut text).await;
        read.map_err(|error| format!("prints what cannot be read: {error}"))?;
    }
    if text.len() as u64 > OUTPUT_BYTES_MAX {
        return Err(format!("prints more than {} KiB", OUTPUT_BYTES_MAX >> 10));
    }
    Ok(SecretText::new(text))
}

fn credentials(answer: Answer) -> Result<Credentials, String> {
    let secret = SecretText::new(answer.secret);
    if secret.reveal().is_empty() {
        return Err("prints an empty secret".to_owned());
    }
    if answer.username == TOKEN_USER {
        return Ok(Credentials::IdentityToken(secret));
    }
    Ok(Credentials::Password {
        username: answer.username,
        password: secret,
    })
}
