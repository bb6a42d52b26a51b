//! Where this agent reads secrets: environment variables and files that its own file allows, and values
//! encrypted for its key with age. A document can name only what is allowed here.

use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use drover_model::SecretRef;
use drover_provider::{SecretError, SecretSource, SecretText};
use drover_spec::agent_config::SecretsConfig;

#[cfg(test)]
mod tests;

/// The largest value.
const VALUE_BYTES_MAX: u64 = 64 << 10;

/// How long `age` may take; it takes some milliseconds.
const AGE_LIMIT: Duration = Duration::from_secs(10);

/// How often its end is looked for.
const AGE_POLL: Duration = Duration::from_millis(5);

/// The secrets of this machine.
#[derive(Clone)]
pub(crate) struct LocalSecrets {
    allowed: SecretsConfig,
    /// Reads a variable of the environment.
    environment: fn(&str) -> Option<OsString>,
}

impl std::fmt::Debug for LocalSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSecrets")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

impl LocalSecrets {
    /// Allows what an agent's file does.
    pub(crate) fn new(allowed: SecretsConfig) -> Self {
        Self {
            allowed,
            environment: |name| std::env::var_os(name),
        }
    }

    fn value(&self, reference: &SecretRef) -> Result<String, String> {
        match reference {
            SecretRef::Env(name) => self.variable(name),
            SecretRef::File(path) => self.file(Path::new(path)),
            SecretRef::Age(text) => self.decrypted(text),
        }
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        if !self.allowed.env.iter().any(|allowed| allowed == name) {
            return Err("`secrets.env` of the agent's file does not allow it".to_owned());
        }
        let value = (self.environment)(name);
        let value = value.ok_or("the agent's environment does not have it")?;
        value
            .into_string()
            .map_err(|_| "its value is not UTF-8".to_owned())
            .and_then(usable)
    }

    /// Reads a file below an allowed folder, or an allowed file. Links are followed first: what counts is
    /// where they lead.
    fn file(&self, path: &Path) -> Result<String, String> {
        let allowed = &self.allowed.files;
        // Said first, so that nobody learns from the error whether another file exists.
        if !allowed.iter().any(|allowed| path.starts_with(allowed)) {
            return Err("`secrets.files` of the agent's file does not allow it".to_owned());
        }
        let real = fs::canonicalize(path).map_err(|error| error.to_string())?;
        let within = |allowed: &PathBuf| {
            let allowed = fs::canonicalize(allowed);
            allowed.is_ok_and(|allowed| real.starts_with(allowed))
        };
        if !allowed.iter().any(within) {
            return Err(
                "it leads out of what `secrets.files` of the agent's file allows".to_owned(),
            );
        }
        let kind = fs::metadata(&real).map_err(|error| error.to_string())?;
        if !kind.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        let file = fs::File::open(&real).map_err(|error| error.to_string())?;
        text_of(file)
    }

    /// Asks the program `age`, with the key that the agent's file names.
    fn decrypted(&self, text: &str) -> Result<String, String> {
        let Some(identity) = &self.allowed.age_identity else {
            return Err("the agent's file has no `secrets.ageIdentity`".to_owned());
        };
        let mut child = Command::new("age")
            .arg("--decrypt")
            .arg("--identity")
            .arg(identity)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the program age cannot be started: {error}"))?;
        let ended = feed(&mut child, text);
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if ended? {
            return child.stdout.take().map_or(Ok(String::new()), text_of);
        }
        // The program says what is wrong with key or text, and never what the text holds.
        let mut said = String::new();
        if let Some(stderr) = child.stderr.take() {
            let _ = stderr.take(4_096).read_to_string(&mut said);
        }
        let said = said.lines().next().unwrap_or_default();
        Err(match said.strip_prefix("age: ").unwrap_or(said) {
            "" => "age cannot decrypt it".to_owned(),
            said => format!("age cannot decrypt it: {said}"),
        })
    }
}

/// Hands over the text and waits for the end. Returns whether it went well.
fn feed(child: &mut Child, text: &str) -> Result<bool, String> {
    if let Some(mut input) = child.stdin.take() {
        // One that ends early says why.
        let _ = input.write_all(text.as_bytes());
        let _ = input.write_all(b"\n");
    }
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if begun.elapsed() > AGE_LIMIT => return Err("age did not end".to_owned()),
            Ok(None) => std::thread::sleep(AGE_POLL),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Reads a value without the line break at its end.
fn text_of(from: impl std::io::Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = from.take(VALUE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > VALUE_BYTES_MAX {
        return Err(format!("it is larger than {VALUE_BYTES_MAX} bytes"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    usable(text)
}

fn usable(text: String) -> Result<String, String> {
    match text {
        text if text.is_empty() => Err("it is empty".to_owned()),
        text if text.contains('\0') => Err("it holds a NUL character".to_owned()),
        text => Ok(text),
    }
}

impl SecretSource for LocalSecrets {
    fn read(&self, reference: &SecretRef) -> Result<SecretText, SecretError> {
        self.value(reference)
            .map(SecretText::new)
            .map_err(|why| SecretError {
                reference: reference.to_string(),
                why,
            })
    }
}
