//! Signed operations on their branch, as a person with a key puts them there: signed here, pushed without force,
//! repeated when somebody was faster.

use std::path::PathBuf;
use std::time::Duration;

use drover_git::{CommitMeta, Edit, Mirror, PushOutcome, SigningKey};
use drover_loop::{LIFETIME_MAX, OPERATIONS_BRANCH, operation_path};
use drover_model::Timestamp;
use drover_spec::operation::{self, Asked, OPERATION_NAMESPACE, Operation};

use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::identity;
use crate::settings::Settings;

/// How often somebody else may be faster: enough for a dozen people who press the key at once.
const ATTEMPTS_MAX: u64 = 12;

/// The longest pause before the second attempt; it grows by as much with each.
const PAUSE_MS: u64 = 25;

/// How many instances a commit's subject names.
const NAMED_MAX: usize = 3;

/// An operation with the file that it is.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) operation: Operation,
    /// The file on the operations branch.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A private key, and a file with its passphrase.
pub(crate) type KeyFile = (PathBuf, Option<PathBuf>);

/// Reads the key that is named, else the agent's.
///
/// # Errors
///
/// No key is named, or it cannot be read.
pub(crate) fn signing_key(own: Option<KeyFile>, settings: &Settings) -> CommandResult<SigningKey> {
    let Some((path, passphrase)) = own.or_else(|| settings.key.clone()) else {
        return Err(CommandError::usage("no key to sign with is named")
            .hint("name a private ssh key with --key, such as ~/.ssh/id_ed25519"));
    };
    SigningKey::read(&path, passphrase.as_deref()).context("cannot sign")
}

/// Refuses what agents would refuse: an operation that counts for too long. `option` says how long.
pub(crate) fn check_lifetime(counts: Duration, option: &str) -> CommandResult<()> {
    if counts > LIFETIME_MAX {
        let message = format!("{option} is longer than 720h");
        return Err(CommandError::usage(message));
    }
    Ok(())
}

/// Signs an operation.
pub(crate) fn signed(key: &SigningKey, operation: Operation) -> CommandResult<Signed> {
    let document = operation::encode(&operation);
    let signature = key
        .sign(OPERATION_NAMESPACE, document.as_bytes())
        .context("cannot sign")?;
    Ok(Signed {
        path: operation_path(&operation, &document),
        text: operation::join(&document, &signature),
        operation,
    })
}

/// Returns what is asked, in words.
pub(crate) fn what(operation: &Operation) -> String {
    format!("{}: {}", operation.group, asked(operation))
}

fn asked(operation: &Operation) -> String {
    match &operation.asked {
        Asked::Change { verdict, change } => {
            format!("{} change {}", verdict.word(), change.short())
        }
        Asked::Instance { verb, instance } => format!("{} {instance}", verb.word()),
    }
}

/// Returns the message of the commit that brings operations about one group.
fn message(first: &Signed, all: &[Signed]) -> String {
    let group = &first.operation.group;
    let named = all.iter().take(NAMED_MAX).map(|one| asked(&one.operation));
    let mut subject = named.collect::<Vec<_>>().join(", ");
    if all.len() > NAMED_MAX {
        subject.push_str(&format!(" and {} more", all.len() - NAMED_MAX));
    }
    let about = all.iter().map(|one| match &one.operation.asked {
        Asked::Change { change, .. } => format!("\nDrover-Plan: {change}"),
        Asked::Instance { instance, .. } => format!("\nDrover-Instance: {instance}"),
    });
    let about: String = about.collect();
    format!("{group}: {subject}\n\n[skip ci]\n\nDrover-Group: {group}{about}")
}

/// Adds operations about one group to their branch, which is made where it does not exist: all of them by one
/// commit, or none.
///
/// # Errors
///
/// A branch that refuses the push or moves every time.
pub(crate) fn publish(mirror: &Mirror, all: &[Signed]) -> CommandResult<()> {
    let Some(first) = all.first() else {
        return Ok(());
    };
    let attempted = || format!("cannot write to branch {OPERATIONS_BRANCH}");
    let reference = format!("refs/heads/{OPERATIONS_BRANCH}");
    let meta = CommitMeta {
        message: message(first, all),
        author: identity::user(),
        time: Timestamp::now(),
        signer: None,
    };
    let edits = all
        .iter()
        .map(|one| Edit::put(one.path.as_str(), one.text.as_str()));
    let edits: Vec<Edit> = edits.collect();
    for attempt in 0..ATTEMPTS_MAX {
        if attempt > 0 {
            // At random, so that those who collided do not collide again.
            let pause = crate::agent::random() % (PAUSE_MS * attempt);
            std::thread::sleep(Duration::from_millis(pause));
        }
        let refs = mirror.list().context(attempted())?;
        let tip = refs.all().get(&reference).copied();
        if let Some(tip) = tip {
            mirror.fetch(&[(&reference, tip)]).context(attempted())?;
        }
        let commit = mirror
            .build_commit(tip, &edits, &meta)
            .context(attempted())?;
        let Some(commit) = commit else {
            return Ok(());
        };
        match mirror
            .update(&reference, tip, commit)
            .context(attempted())?
        {
            PushOutcome::Done => return Ok(()),
            PushOutcome::Moved { .. } => {}
            PushOutcome::Refused { message } => {
                return Err(CommandError::new(attempted()).because(message));
            }
        }
    }
    let moved = format!("branch {OPERATIONS_BRANCH} moved {ATTEMPTS_MAX} times");
    Err(CommandError::new(moved)
        .exit(Exit::Stale)
        .hint("somebody is pushing a lot; try again"))
}
