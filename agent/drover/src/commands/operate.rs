//! Commands that put a signed operation on the operations branch: `approve`, `reject`.

use std::time::Duration;

use drover_git::{CommitMeta, Edit, Mirror, PushOutcome, SigningKey};
use drover_loop::{LIFETIME_MAX, OPERATIONS_BRANCH, operation_path};
use drover_model::{ApprovalVerdict, ChangeId, FleetName, Hold, Timestamp};
use drover_spec::operation::{self, OPERATION_NAMESPACE, Operation};

use crate::cli::DecideArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::identity;
use crate::settings::Settings;
use crate::snapshot::{Origin, Reader, Repository, Snapshot};
use crate::ui::Ui;
use crate::view;

/// How often somebody else may be faster: enough for a dozen people who press the key at once.
const ATTEMPTS_MAX: u64 = 12;

/// The longest pause before the second attempt; it grows by as much with each.
const PAUSE_MS: u64 = 25;

/// Runs `drover approve` and `drover reject`.
pub(super) fn decide(args: &DecideArgs, verdict: ApprovalVerdict, ui: Ui) -> CommandResult {
    if args.expires > LIFETIME_MAX {
        return Err(CommandError::usage("--expires is longer than 720h"));
    }
    let because = args.because.trim();
    if because.is_empty() {
        return Err(CommandError::usage("--because says nothing"));
    }
    let settings = Settings::of_source(&args.source)?;
    let key = signing_key(args, &settings)?;
    let snapshot = Reader::open(&settings).and_then(|reader| reader.read());
    // With the change named, what is recorded is of no need: a first change may wait as well.
    let snapshot = match snapshot {
        Err(_) if args.change.is_some() => None,
        read => Some(read?),
    };
    let at =
        Timestamp::from_second(Timestamp::now().as_second()).context("cannot tell the time")?;
    let expires = at.checked_add(args.expires);
    let operation = Operation {
        verdict,
        fleet: fleet(args, &settings, snapshot.as_ref())?,
        group: args.group.clone(),
        change: change(args, verdict, snapshot.as_ref())?,
        at,
        expires: expires.context("--expires is beyond all times")?,
        because: because.to_owned(),
    };
    let document = operation::encode(&operation);
    let signature = key
        .sign(OPERATION_NAMESPACE, document.as_bytes())
        .context("cannot sign")?;
    let file = operation::join(&document, &signature);
    let path = operation_path(&operation, &document);
    let repository = Repository::open(&settings)?;
    publish(&repository.mirror, &operation, &path, &file)?;
    ui.message(&format!(
        "{}: {} change {} until {}, signed with {}",
        operation.group,
        operation.verdict.word(),
        operation.change.short(),
        view::seconds(operation.expires),
        key.fingerprint()
    ));
    Ok(Exit::Done)
}

fn signing_key(args: &DecideArgs, settings: &Settings) -> CommandResult<SigningKey> {
    let own = args.key.clone();
    let own = own.map(|key| (key, args.key_passphrase_file.clone()));
    let Some((path, passphrase)) = own.or_else(|| settings.key.clone()) else {
        return Err(CommandError::usage("no key to sign with is named")
            .hint("name a private ssh key with --key, such as ~/.ssh/id_ed25519"));
    };
    SigningKey::read(&path, passphrase.as_deref()).context("cannot sign")
}

/// The fleet, which is a part of what is signed: another's agents must not listen.
fn fleet(
    args: &DecideArgs,
    settings: &Settings,
    snapshot: Option<&Snapshot>,
) -> CommandResult<FleetName> {
    if let Some(fleet) = &args.fleet {
        return Ok(fleet.clone());
    }
    match snapshot.map(|snapshot| &snapshot.origin) {
        Some(Origin::Agent { status, .. }) => {
            let fleet = FleetName::parse(&status.fleet);
            fleet.context("cannot tell the agent's fleet")
        }
        Some(Origin::Branch) | None => Ok(settings.fleet.clone()),
    }
}

fn change(
    args: &DecideArgs,
    verdict: ApprovalVerdict,
    snapshot: Option<&Snapshot>,
) -> CommandResult<ChangeId> {
    let snapshot = match (&args.change, snapshot) {
        (Some(change), _) => return Ok(change.clone()),
        (None, Some(snapshot)) => snapshot,
        (None, None) => return Err(CommandError::usage("name the change with --change")),
    };
    let group = snapshot.group(&args.group)?;
    // What waits for people's word comes before what goes on already.
    let holds = group.holds.iter().filter(|_| verdict.is_decision());
    let waiting = holds.into_iter().find_map(|held| {
        if let Hold::ApprovalNeeded(needed) = &held.hold {
            return Some(&needed.change);
        }
        if let Hold::ApprovalRejected(rejected) = &held.hold {
            return Some(&rejected.change);
        }
        None
    });
    waiting.or(group.change.as_ref()).cloned().ok_or_else(|| {
        CommandError::new(format!("group {} is in no change", args.group))
            .hint("name the change with --change: `drover plan` shows it")
    })
}

/// Adds the file to the operations branch, which is made where it does not exist.
fn publish(mirror: &Mirror, operation: &Operation, path: &str, file: &str) -> CommandResult<()> {
    let attempted = || format!("cannot write to branch {OPERATIONS_BRANCH}");
    let reference = format!("refs/heads/{OPERATIONS_BRANCH}");
    let (group, verb) = (&operation.group, operation.verdict.word());
    let meta = CommitMeta {
        message: format!(
            "{group}: {verb} change {}\n\n[skip ci]\n\nDrover-Group: {group}\nDrover-Plan: {}",
            operation.change.short(),
            operation.change
        ),
        author: identity::user(),
        time: Timestamp::now(),
        signer: None,
    };
    let edits = [Edit::put(path, file)];
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
