//! Whether a commit or a tag is signed by somebody who counts: SSH signatures in this process,
//! OpenPGP through the `gpg` program, with a keyring that the agent's own file names.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use git2::{ErrorCode, ObjectType};
use jiff::Timestamp;

use crate::commits::{find_commit, missing_or};
use crate::error::{Cause, GitError};
use crate::mirror::Mirror;
use crate::oid::Oid;
use crate::signers::{GIT_NAMESPACE, SSH_SIGNATURE_BEGIN, SignatureError, SignedBy, SignersFile};

/// How an OpenPGP signature begins.
const PGP_SIGNATURE_BEGIN: &str = "-----BEGIN PGP SIGNATURE-----";

/// How long `gpg` may take for one signature; it takes some milliseconds.
const GPG_LIMIT: Duration = Duration::from_secs(20);

/// How often the end of `gpg` is looked for.
const GPG_POLL: Duration = Duration::from_millis(5);

/// What is read of what `gpg` says.
const GPG_STATUS_BYTES_MAX: u64 = 64 << 10;

/// Whose signatures on commits and tags count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// SSH keys.
    pub signers: Option<SignersFile>,
    /// The folder of a GnuPG keyring: every public key in it counts, as far as it is neither
    /// expired nor revoked. A folder of the agent's own, never the home of a person.
    pub gnupg_home: Option<PathBuf>,
}

impl Mirror {
    /// Checks the signature of a commit.
    ///
    /// # Errors
    ///
    /// [`GitError::Unverified`] when it does not count, [`GitError::Signers`] or [`GitError::Gpg`]
    /// when it cannot be checked.
    pub fn verify_commit(&self, id: Oid, trust: &Trust) -> Result<SignedBy, GitError> {
        let (content, signature, at) = self.with_repository(|repository| {
            let commit = find_commit(repository, id)?;
            let at = seconds(commit.time().seconds());
            match repository.extract_signature(&id.raw(), None) {
                Ok((signature, content)) => Ok((content.to_vec(), Some(signature.to_vec()), at)),
                Err(error) if error.code() == ErrorCode::NotFound => Ok((Vec::new(), None, at)),
                Err(error) => Err(GitError::local(
                    format!("read the signature of {id}"),
                    error,
                )),
            }
        })?;
        let signature = signature.unwrap_or_default();
        let signature = String::from_utf8_lossy(&signature).into_owned();
        check(
            &format!("commit {}", id.short()),
            &content,
            &signature,
            at,
            trust,
        )
    }

    /// Checks the signature of an annotated tag: that it is the one of this name, and stands for
    /// this commit. A tag that was moved or renamed is another.
    ///
    /// # Errors
    ///
    /// As [`Mirror::verify_commit`].
    pub fn verify_tag(
        &self,
        name: &str,
        tag: Oid,
        commit: Oid,
        trust: &Trust,
    ) -> Result<SignedBy, GitError> {
        let what = format!("tag {name}");
        let unsigned = |source| GitError::Unverified {
            what: what.clone(),
            source,
        };
        let raw = self.with_repository(|repository| {
            let odb = repository
                .odb()
                .map_err(|error| GitError::local("open the object database", error))?;
            let object = odb
                .read(tag.raw())
                .map_err(|error| missing_or(error, tag, "read a tag"))?;
            Ok((object.kind() == ObjectType::Tag).then(|| object.data().to_vec()))
        })?;
        // A light-weight tag is only a name.
        let raw = raw.ok_or_else(|| unsigned(SignatureError::Missing))?;
        let text = String::from_utf8_lossy(&raw);
        let begins = [SSH_SIGNATURE_BEGIN, PGP_SIGNATURE_BEGIN];
        let at = begins
            .iter()
            .filter_map(|begin| text.rfind(&format!("\n{begin}")))
            .max();
        let Some(at) = at.filter(|_| matches!(text, std::borrow::Cow::Borrowed(_))) else {
            return Err(unsigned(SignatureError::Missing));
        };
        let (content, signature) = text.split_at(at + 1);
        let header = content.split("\n\n").next().unwrap_or_default();
        let field = |key: &str| {
            let mut lines = header.lines();
            lines
                .find_map(|line| line.strip_prefix(key))
                .unwrap_or_default()
        };
        let stands_for = field("object ") == commit.to_string() && field("type ") == "commit";
        if !stands_for || field("tag ") != name {
            let why = "it stands for another commit, or has another name".to_owned();
            return Err(unsigned(SignatureError::Unreadable { why }));
        }
        let tagged = field("tagger ")
            .rsplit(' ')
            .nth(1)
            .and_then(|text| text.parse().ok());
        let tagged = seconds(tagged.unwrap_or_default());
        check(&what, content.as_bytes(), signature, tagged, trust)
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn check(
    what: &str,
    content: &[u8],
    signature: &str,
    at: Timestamp,
    trust: &Trust,
) -> Result<SignedBy, GitError> {
    let refused = |source| GitError::Unverified {
        what: what.to_owned(),
        source,
    };
    let signature = signature.trim();
    if signature.is_empty() {
        return Err(refused(SignatureError::Missing));
    }
    if signature.starts_with(SSH_SIGNATURE_BEGIN) {
        let signers = trust.signers.as_ref().map(SignersFile::read).transpose()?;
        let verified = signers
            .unwrap_or_default()
            .verify(GIT_NAMESPACE, content, signature, at);
        return verified.map_err(refused);
    }
    let unread = |why: &str| SignatureError::Unreadable {
        why: why.to_owned(),
    };
    if !signature.starts_with(PGP_SIGNATURE_BEGIN) {
        return Err(refused(unread("it is neither of SSH nor of OpenPGP")));
    }
    match &trust.gnupg_home {
        Some(home) => gpg(home, content, signature)?.map_err(refused),
        None => Err(refused(unread("no keyring for OpenPGP is configured"))),
    }
}

/// Asks `gpg`. The outer error: it could not be asked.
fn gpg(
    home: &Path,
    content: &[u8],
    signature: &str,
) -> Result<Result<SignedBy, SignatureError>, GitError> {
    let failed = |why: String| GitError::Gpg {
        home: home.to_owned(),
        source: Cause(why),
    };
    let io = |error: std::io::Error| failed(error.to_string());
    if !home.is_dir() {
        return Err(failed("there is no such folder".to_owned()));
    }
    let mut file = tempfile::NamedTempFile::new().map_err(io)?;
    file.write_all(signature.as_bytes()).map_err(io)?;
    file.write_all(b"\n").map_err(io)?;
    let mut child = Command::new("gpg")
        .args(["--batch", "--no-tty", "--no-options", "--no-autostart"])
        .args([
            "--no-auto-key-retrieve",
            "--disable-dirmngr",
            "--trust-model",
            "always",
        ])
        .args(["--status-fd", "1", "--homedir"])
        .arg(home)
        .arg("--verify")
        .arg(file.path())
        .arg("-")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(format!("the program gpg cannot be started: {error}")))?;
    if let Some(mut input) = child.stdin.take() {
        // One that ends early says why on its status.
        let _ = input.write_all(content);
    }
    let begun = Instant::now();
    while child.try_wait().map_err(io)?.is_none() {
        if begun.elapsed() > GPG_LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed("gpg did not end".to_owned()));
        }
        std::thread::sleep(GPG_POLL);
    }
    let mut status = String::new();
    if let Some(output) = child.stdout.take() {
        let mut output = output.take(GPG_STATUS_BYTES_MAX);
        output.read_to_string(&mut status).map_err(io)?;
    }
    Ok(judge(&status))
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
