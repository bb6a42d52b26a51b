//! The program `gpg`: one call with a keyring that the agent's own file names, and what it answers.
//! Nothing of a person's home counts, nothing is fetched from key servers, and no call waits for a person.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::armour;
use crate::error::{Cause, GitError};
use crate::program::{ProgramBounds, ProgramError, run_program};
use crate::signers::{SignatureError, SignedBy};

/// How an OpenPGP signature begins.
pub(crate) const PGP_SIGNATURE_BEGIN: &str = "-----BEGIN PGP SIGNATURE-----";

/// How long `gpg` may take for one signature; it takes some milliseconds, and a second when it has to start its agent.
const GPG_LIMIT: Duration = Duration::from_secs(20);

/// What is read of what `gpg` says.
const GPG_ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What is taken of a user id: a name and an address.
const USER_ID_MAX: usize = 300;

/// A private key in a GnuPG keyring that signs commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPgpKey {
    home: PathBuf,
    fingerprint: String,
    passphrase: Option<PathBuf>,
}

impl OpenPgpKey {
    /// Takes the key with this fingerprint (40 or 64 hexadecimal digits) in the keyring `home`, and sees that it signs.
    /// `passphrase`: a file whose first line unlocks it.
    ///
    /// # Errors
    ///
    /// [`GitError::Gpg`] when `gpg` cannot be asked, [`GitError::Sign`] when it does not sign with that key.
    pub fn open(
        home: PathBuf,
        fingerprint: &str,
        passphrase: Option<PathBuf>,
    ) -> Result<Self, GitError> {
        let key = Self {
            home,
            fingerprint: fingerprint.to_ascii_uppercase(),
            passphrase,
        };
        key.sign(b"drover\n")?;
        Ok(key)
    }

    /// Returns kind and fingerprint of the key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("OpenPGP {}", self.fingerprint)
    }

    /// Returns an armoured signature over `content`.
    pub(crate) fn sign(&self, content: &[u8]) -> Result<String, GitError> {
        let refused = |why: String| GitError::Sign {
            key: self.fingerprint(),
            source: Cause(why),
        };
        let mut gpg = gpg(&self.home)?;
        // The agent that keeps private keys is of this keyring too: `gpg` starts it where it does not run.
        gpg.args(["--pinentry-mode", "loopback", "--status-fd", "2"])
            .args(["--local-user", &self.fingerprint, "--armor"]);
        if let Some(path) = &self.passphrase {
            gpg.arg("--passphrase-file").arg(path);
        }
        gpg.args(["--detach-sign", "--output", "-"]);
        let answer = ask(&self.home, gpg, content)?;
        if !answer.status.success() {
            return Err(refused(why_not(&answer.told)));
        }
        if !answer.text.starts_with(PGP_SIGNATURE_BEGIN) {
            return Err(refused("gpg made no signature".to_owned()));
        }
        Ok(answer.text)
    }
}

/// What `gpg` did.
struct Answer {
    status: ExitStatus,
    /// What it wrote to its output.
    text: String,
    /// What it said where it failed: lines for people, and status lines for programs.
    told: String,
}

/// Returns a call of `gpg` with a keyring.
fn gpg(home: &Path) -> Result<Command, GitError> {
    if !home.is_dir() {
        return Err(failed(home, "there is no such folder".to_owned()));
    }
    let mut command = Command::new("gpg");
    command
        .args(["--batch", "--no-tty", "--no-options", "--disable-dirmngr"])
        .args(["--no-auto-key-retrieve", "--trust-model", "always"])
        .arg("--homedir")
        .arg(home)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C");
    Ok(command)
}

/// Runs it to its end, or to that of its time.
fn ask(home: &Path, gpg: Command, content: &[u8]) -> Result<Answer, GitError> {
    run(home, gpg, content, GPG_LIMIT)
}

fn run(home: &Path, gpg: Command, content: &[u8], limit: Duration) -> Result<Answer, GitError> {
    let bounds = ProgramBounds {
        time: limit,
        printed: GPG_ANSWER_BYTES_MAX,
        said: GPG_ANSWER_BYTES_MAX,
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    // The agent of private keys that it may have started keeps no end of a pipe.
    let ended = run_program(gpg, content, &bounds).map_err(|error| {
        let why = match error {
            ProgramError::NotStarted(error) => {
                format!("the program gpg cannot be started: {error}")
            }
            ProgramError::Late => "gpg did not end".to_owned(),
            ProgramError::TooMuch { limit } => format!("gpg printed more than {limit} bytes"),
            ProgramError::Pipe(error) => error.to_string(),
        };
        failed(home, why)
    })?;
    Ok(Answer {
        status: ended.status,
        text: text(ended.printed),
        told: text(ended.said),
    })
}

fn failed(home: &Path, why: String) -> GitError {
    GitError::Gpg {
        home: home.to_owned(),
        source: Cause(why),
    }
}

/// Asks whether a detached signature fits. The outer error: it could not be asked.
pub(crate) fn verify(
    home: &Path,
    content: &[u8],
    signature: &str,
) -> Result<Result<SignedBy, SignatureError>, GitError> {
    let status = status_of(home, content, signature)?;
    Ok(status.and_then(|status| judge(&status)))
}

/// Asks whose key made a detached signature that fits: its primary user id. None: it does not fit, or nobody's in the
/// keyring. A key that has expired or was revoked is somebody's all the same.
pub(crate) fn holder(
    home: &Path,
    content: &[u8],
    signature: &str,
) -> Result<Option<String>, GitError> {
    let status = status_of(home, content, signature)?;
    Ok(status.ok().and_then(|status| held_by(&status)))
}

/// Returns what `gpg` tells programs about a detached signature. It gets what was looked at here, and no armour, which it
/// might read in another way. The inner error: it was not asked.
fn status_of(
    home: &Path,
    content: &[u8],
    signature: &str,
) -> Result<Result<String, SignatureError>, GitError> {
    let packet = match armour::signature_packet(signature) {
        Ok(packet) => packet,
        Err(why) => return Ok(Err(SignatureError::Unreadable { why })),
    };
    let io = |error: io::Error| failed(home, error.to_string());
    let mut file = tempfile::NamedTempFile::new().map_err(io)?;
    file.write_all(&packet).map_err(io)?;
    let mut gpg = gpg(home)?;
    gpg.args(["--no-autostart", "--status-fd", "1", "--verify"])
        .arg(file.path())
        .arg("-");
    Ok(Ok(ask(home, gpg, content)?.text))
}

/// Reads from the status lines of `gpg` whose key it was.
fn held_by(status: &str) -> Option<String> {
    let lines = status.lines();
    let mut lines = lines.filter_map(|line| line.strip_prefix("[GNUPG:] "));
    if lines.clone().filter(|it| it.starts_with("NEWSIG")).count() > 1 {
        return None;
    }
    lines.find_map(|line| {
        let mut words = line.splitn(3, ' ');
        let mark = words.next()?;
        let fits = matches!(mark, "GOODSIG" | "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG");
        let user = words.nth(1).filter(|_| fits)?;
        Some(user.chars().take(USER_ID_MAX).collect())
    })
}

/// Asks whether a detached signature was made with this key, whatever others its keyring has.
pub(crate) fn verify_by(
    key: &OpenPgpKey,
    content: &[u8],
    signature: &str,
) -> Result<Result<SignedBy, SignatureError>, GitError> {
    let answer = match status_of(&key.home, content, signature)? {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error)),
    };
    Ok(judge(&answer).and_then(|signed| {
        if made_with(&answer, &key.fingerprint) {
            Ok(signed)
        } else {
            Err(SignatureError::Unknown { key: signed.key })
        }
    }))
}

/// Returns whether the key of a valid signature is this one, or belongs to it.
fn made_with(status: &str, fingerprint: &str) -> bool {
    let valid = status
        .lines()
        .find_map(|line| line.strip_prefix("[GNUPG:] VALIDSIG "));
    // The first word is the key that signed, the tenth the key that it belongs to.
    let words = valid.into_iter().flat_map(|line| line.split(' '));
    let fingerprints = words.enumerate().filter(|(at, _)| matches!(at, 0 | 9));
    let mut fingerprints = fingerprints.map(|(_, word)| word);
    fingerprints.any(|found| found.eq_ignore_ascii_case(fingerprint))
}

/// Says in a line why `gpg` did not sign.
fn why_not(told: &str) -> String {
    let lines = || told.lines().filter_map(|line| line.strip_prefix("gpg: "));
    let failed = lines().find(|line| line.contains("failed: "));
    let locked = told.contains("[GNUPG:] NEED_PASSPHRASE ");
    let why = match failed.or_else(|| lines().next_back()) {
        None => "gpg does not say why",
        Some(_) if failed.is_none() && locked => "the key needs a passphrase, and none is given",
        Some(why) => why,
    };
    why.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Reads the status lines of `gpg`, which are meant for programs.
fn judge(status: &str) -> Result<SignedBy, SignatureError> {
    let lines = || {
        status
            .lines()
            .filter_map(|line| line.strip_prefix("[GNUPG:] "))
    };
    let word = |key: &str, index: usize| {
        let line = lines().find(|line| line.split(' ').next() == Some(key))?;
        line.split(' ').nth(index).map(str::to_owned)
    };
    let has = |key: &str| word(key, 0).is_some();
    let key = |id: Option<String>| format!("OpenPGP {}", id.unwrap_or_default());
    if lines().filter(|line| line.starts_with("NEWSIG")).count() > 1 {
        let why = "there are several".to_owned();
        return Err(SignatureError::Unreadable { why });
    }
    if has("BADSIG") {
        return Err(SignatureError::Wrong {
            key: key(word("BADSIG", 1)),
        });
    }
    for (mark, why) in [
        ("EXPSIG", "the signature has expired"),
        ("EXPKEYSIG", "the key has expired"),
        ("REVKEYSIG", "the key was revoked"),
    ] {
        if has(mark) {
            return Err(SignatureError::NotValid {
                key: key(word(mark, 1)),
                principal: word(mark, 2).unwrap_or_default(),
                why: why.to_owned(),
            });
        }
    }
    if has("GOODSIG")
        && let Some(fingerprint) = word("VALIDSIG", 1)
    {
        return Ok(SignedBy {
            principal: fingerprint.clone(),
            key: key(Some(fingerprint)),
        });
    }
    if has("NO_PUBKEY") {
        return Err(SignatureError::Unknown {
            key: key(word("NO_PUBKEY", 1)),
        });
    }
    let why = "gpg cannot read it".to_owned();
    Err(SignatureError::Unreadable { why })
}

#[cfg(test)]
mod tests;
