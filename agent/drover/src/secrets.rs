//! Where this agent reads secrets: environment variables and files that its own file allows, and values
//! encrypted for its key with age, alone or in files of SOPS. A document can name only what is allowed here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use drover_git::{ProgramBounds, ProgramError, run_program};
use drover_model::SecretRef;
use drover_provider::{SecretError, SecretSource, SecretText};
use drover_spec::agent_config::SecretsConfig;

mod sops;

#[cfg(test)]
mod tests;

/// The largest value.
const VALUE_BYTES_MAX: u64 = 64 << 10;

/// Most that is read of what a program says is wrong.
const COMPLAINT_BYTES_MAX: u64 = 4 << 10;

/// Values that are remembered; a fleet has some dozen.
const DECRYPTED_MAX: usize = 256;

/// How long it is remembered that something cannot be decrypted: passes come every few seconds, and each would start a
/// program in vain, or wait for one that does not end.
const FAILURE_FOR: Duration = Duration::from_mins(1);

/// How long a program that decrypts may take; it takes some ten milliseconds.
const DECRYPT_LIMIT: Duration = Duration::from_secs(10);

/// The secrets of this machine.
#[derive(Clone)]
pub(crate) struct LocalSecrets {
    allowed: SecretsConfig,
    /// Reads a variable of the environment.
    environment: fn(&str) -> Option<OsString>,
    /// Reads a file of the commit in force.
    repository: RepositoryFile,
    /// What came of decrypting, by a digest of the question.
    decrypted: Arc<Mutex<BTreeMap<Vec<u8>, Decrypted>>>,
}

/// What came of decrypting: the value, or why there is none and when that was found.
type Decrypted = Result<SecretText, (String, Instant)>;

/// Reads a file of the repository by its path, or says why it cannot.
pub(crate) type RepositoryFile = Arc<dyn Fn(&str) -> Result<Vec<u8>, String> + Send + Sync>;

impl std::fmt::Debug for LocalSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalSecrets")
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

impl LocalSecrets {
    /// Allows what an agent's file does.
    pub(crate) fn new(allowed: SecretsConfig, repository: RepositoryFile) -> Self {
        Self {
            allowed,
            environment: |name| std::env::var_os(name),
            repository,
            decrypted: Arc::default(),
        }
    }

    /// Returns why the agent's file refuses a reference, whatever is behind it.
    pub(crate) fn allows(&self, reference: &SecretRef) -> Result<(), String> {
        match reference {
            SecretRef::Env(name) if !self.allowed.env.iter().any(|allowed| allowed == name) => {
                Err("`secrets.env` of the agent's file does not allow it".to_owned())
            }
            SecretRef::File(path) => {
                let mut allowed = self.allowed.files.iter();
                if allowed.any(|allowed| Path::new(path).starts_with(allowed)) {
                    Ok(())
                } else {
                    Err("`secrets.files` of the agent's file does not allow it".to_owned())
                }
            }
            SecretRef::Age(_) | SecretRef::Sops { .. } => self.identity().map(|_| ()),
            SecretRef::Env(_) => Ok(()),
        }
    }

    fn value(&self, reference: &SecretRef) -> Result<String, String> {
        // Said first, so that nobody learns from another error what else there is.
        self.allows(reference)?;
        match reference {
            SecretRef::Env(name) => self.variable(name),
            SecretRef::File(path) => self.file(Path::new(path)),
            SecretRef::Age(text) => {
                let identity = self.identity()?;
                self.once(&[b"age", text.as_bytes()], identity, || {
                    let mut age = quiet("age");
                    age.arg("--decrypt").arg("--identity").arg(identity);
                    decrypt(age, "age", text.as_bytes())
                })
            }
            SecretRef::Sops { file, key } => {
                let identity = self.identity()?;
                let bytes = (self.repository)(file)?;
                let mut parts: Vec<&[u8]> = vec![b"sops", file.as_bytes(), &bytes];
                parts.extend(key.iter().map(String::as_bytes));
                self.once(&parts, identity, || {
                    sops::value(file, &bytes, key, identity)
                })
            }
        }
    }

    fn variable(&self, name: &str) -> Result<String, String> {
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

    /// Decrypts what `parts` are with the key in `identity`, or remembers what came of it: every pass asks again, and
    /// a program would be started each time. Another key is another question.
    fn once(
        &self,
        parts: &[&[u8]],
        identity: &Path,
        decrypt: impl FnOnce() -> Result<String, String>,
    ) -> Result<String, String> {
        let key = fs::metadata(identity).map_err(|error| {
            let identity = identity.display();
            format!("the key in {identity} cannot be read: {error}")
        })?;
        let key = (
            key.dev(),
            key.ino(),
            key.size(),
            key.mtime_nsec(),
            key.mtime(),
        );
        let mut asked = ring::digest::Context::new(&ring::digest::SHA256);
        asked.update(format!("{}{key:?}", identity.display()).as_bytes());
        for part in parts {
            asked.update(&(part.len() as u64).to_le_bytes());
            asked.update(part);
        }
        let asked = asked.finish().as_ref().to_vec();
        let remembered = || {
            self.decrypted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        match remembered().get(&asked) {
            Some(Ok(known)) => return Ok(known.reveal().to_owned()),
            Some(Err((why, found))) if found.elapsed() < FAILURE_FOR => return Err(why.clone()),
            Some(Err(_)) | None => {}
        }
        let decrypted = decrypt();
        let mut remembered = remembered();
        if remembered.len() >= DECRYPTED_MAX {
            remembered.clear();
        }
        let known = decrypted.clone().map(SecretText::new);
        remembered.insert(asked, known.map_err(|why| (why, Instant::now())));
        decrypted
    }

    fn identity(&self) -> Result<&Path, String> {
        let identity = self.allowed.age_identity.as_deref();
        identity.ok_or_else(|| "the agent's file has no `secrets.ageIdentity`".to_owned())
    }
}

/// A program that gets nothing of the agent's environment, which has other secrets.
fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Runs a program that decrypts, on a text of its own. Returns what it prints.
fn decrypt(program: Command, name: &str, text: &[u8]) -> Result<String, String> {
    let bounds = ProgramBounds {
        time: DECRYPT_LIMIT,
        printed: VALUE_BYTES_MAX,
        said: COMPLAINT_BYTES_MAX,
    };
    let text = [text, b"\n"].concat();
    let ended = run_program(program, &text, &bounds).map_err(|error| match error {
        ProgramError::NotStarted(error) => format!("the program {name} cannot be started: {error}"),
        ProgramError::Late => format!("{name} did not end"),
        ProgramError::TooMuch { limit } => too_large(limit),
        ProgramError::Pipe(error) => error.to_string(),
    })?;
    if ended.status.success() {
        return text_of(ended.printed.as_slice());
    }
    // The program says what is wrong with key or text, and never what the text holds.
    let said = String::from_utf8_lossy(&ended.said);
    let said = said.lines().next().unwrap_or_default();
    let prefix = format!("{name}: ");
    Err(match said.strip_prefix(&prefix).unwrap_or(said) {
        "" => format!("{name} cannot decrypt it"),
        said => format!("{name} cannot decrypt it: {said}"),
    })
}

fn too_large(limit: u64) -> String {
    format!("it is larger than {limit} bytes")
}

/// Reads a value without the line break at its end.
fn text_of(from: impl io::Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = from.take(VALUE_BYTES_MAX + 1).read_to_end(&mut bytes);
    let bytes = fitting(read.map(|_| bytes))?;
    let mut text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    usable(text)
}

/// Returns what was read if it is no larger than a value may be.
fn fitting(read: io::Result<Vec<u8>>) -> Result<Vec<u8>, String> {
    let bytes = read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > VALUE_BYTES_MAX {
        return Err(too_large(VALUE_BYTES_MAX));
    }
    Ok(bytes)
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
