//! Commands that put a signed operation on the operations branch: about changes, and about instances.

use std::time::Duration;

use drover_git::SigningKey;
use drover_model::{
    ApprovalVerdict, ChangeId, FleetName, GroupName, Hold, InstanceId, OrderVerb, RecordedGroup,
    Timestamp,
};
use drover_spec::operation::{self, Asked, OPERATION_NAMESPACE, Operation};

use crate::cli::{DecideArgs, KeepArgs, NamedChange, OrderArgs, SignOptions, Subject};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::operations::{self, Signed, what};
use crate::settings::Settings;
use crate::snapshot::{Origin, Reader, Repository, Snapshot};
use crate::ui::Ui;
use crate::view;

/// Runs `drover approve`, `reject`, `promote` and `retry`.
pub(super) fn decide(args: &DecideArgs, verdict: ApprovalVerdict, ui: Ui) -> CommandResult {
    let request = Request {
        because: &args.because,
        counts: args.expires,
        option: "--expires",
        sign: &args.sign,
    };
    let desk = request.open()?;
    let snapshot = Reader::open(&desk.settings).and_then(|reader| reader.read());
    // With the change named, what is recorded is of no need: a first change may wait as well.
    let snapshot = match snapshot {
        Err(_) if args.change.as_ref().is_some_and(|it| it.whole().is_some()) => None,
        read => Some(read?),
    };
    let change = change(args, verdict, snapshot.as_ref())?;
    let asked = Asked::Change { verdict, change };
    desk.ask(&request, snapshot.as_ref(), &args.group, asked, ui)
}

/// Runs `drover replace`, `drover restart` and `drover yield`.
pub(super) fn order_of(args: &OrderArgs, verb: OrderVerb, ui: Ui) -> CommandResult {
    let request = Request {
        because: &args.because,
        counts: args.expires,
        option: "--expires",
        sign: &args.sign,
    };
    order(&request, &args.instance, verb, ui)
}

/// Runs `drover keep`.
pub(super) fn keep(args: &KeepArgs, ui: Ui) -> CommandResult {
    let request = Request {
        because: &args.because,
        counts: args.time,
        option: "--for",
        sign: &args.sign,
    };
    let verb = if args.release {
        OrderVerb::Release
    } else {
        OrderVerb::Keep
    };
    order(&request, &args.instance, verb, ui)
}

/// Asks something of an instance that is there.
fn order(request: &Request<'_>, subject: &Subject, verb: OrderVerb, ui: Ui) -> CommandResult {
    let Some(instance) = subject.instance() else {
        return Err(CommandError::usage("no instance is named").hint("such as web/web-7"));
    };
    let desk = request.open()?;
    let snapshot = Reader::open(&desk.settings)?.read()?;
    let recorded = snapshot.group(instance.group())?;
    if !recorded.instances.contains_key(instance) {
        return Err(no_instance(instance, recorded));
    }
    let asked = Asked::Instance {
        verb,
        instance: instance.clone(),
    };
    desk.ask(request, Some(&snapshot), instance.group(), asked, ui)
}

fn no_instance(instance: &InstanceId, recorded: &RecordedGroup) -> CommandError {
    let error = CommandError::new(format!("there is no instance {instance}"));
    let known: Vec<String> = recorded.instances.keys().map(ToString::to_string).collect();
    let name = instance.to_string();
    match drover_spec::closest(&name, known.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None if known.is_empty() => error.hint(format!("group {} has none", recorded.name)),
        None => error.hint("`drover get instances` lists them"),
    }
}

/// What every operation is asked with.
struct Request<'a> {
    because: &'a str,
    /// How long it counts, and the option that says so.
    counts: Duration,
    option: &'static str,
    sign: &'a SignOptions,
}

/// What an operation is signed with, and where it is put.
struct Desk {
    settings: Settings,
    key: SigningKey,
}

impl Request<'_> {
    fn open(&self) -> CommandResult<Desk> {
        operations::check_lifetime(self.counts, self.option)?;
        if self.because.trim().is_empty() {
            return Err(CommandError::usage("--because says nothing"));
        }
        let settings = Settings::of_source(&self.sign.source)?;
        let own = self.sign.key.clone();
        let own = own.map(|key| (key, self.sign.key_passphrase_file.clone()));
        let key = operations::signing_key(own, &settings)?;
        Ok(Desk { settings, key })
    }
}

impl Desk {
    /// Signs an operation and puts it on its branch.
    fn ask(
        &self,
        request: &Request<'_>,
        snapshot: Option<&Snapshot>,
        group: &GroupName,
        asked: Asked,
        ui: Ui,
    ) -> CommandResult {
        let now = Timestamp::now().as_second();
        let at = Timestamp::from_second(now).context("cannot tell the time")?;
        let expires = at.checked_add(request.counts);
        let operation = Operation {
            asked,
            fleet: fleet(request.sign, &self.settings, snapshot)?,
            group: group.clone(),
            at,
            expires: expires.context(format!("{} is beyond all times", request.option))?,
            because: request.because.trim().to_owned(),
        };
        let signed = [operations::signed(&self.key, operation)?];
        let repository = Repository::open(&self.settings)?;
        operations::publish(&repository.mirror, &signed)?;
        let [signed] = &signed;
        ui.message(&format!(
            "{} until {}, signed with {}",
            what(&signed.operation),
            view::seconds(signed.operation.expires),
            self.key.fingerprint()
        ));
        if let Some(why) = self.unheard(signed) {
            ui.message(&format!("warning: {why}"));
        }
        Ok(Exit::Done)
    }
}

impl Desk {
    /// Says why an agent that runs with this file would not heed the operation. None: it would, or that is not known here.
    fn unheard(&self, signed: &Signed) -> Option<String> {
        let Some(signers) = &self.settings.signers else {
            let why =
                "the agent's file has no `signers`: an agent that runs with it reads no operations";
            return self.settings.from_file.then(|| why.to_owned());
        };
        let (document, signature) = operation::split(&signed.text)?;
        let file = signers.0.display();
        let (document, at) = (document.as_bytes(), signed.operation.at);
        let read = match signers.read() {
            Ok(read) => read,
            Err(error) => return Some(format!("{file}, the agent's `signers`: {error}")),
        };
        let judged = read.verify(OPERATION_NAMESPACE, document, signature, at);
        let why = judged.err()?;
        Some(format!(
            "this operation does not count: {why} (`signers` of the agent's file is {file})"
        ))
    }
}

/// The fleet, which is a part of what is signed: another's agents must not listen.
fn fleet(
    sign: &SignOptions,
    settings: &Settings,
    snapshot: Option<&Snapshot>,
) -> CommandResult<FleetName> {
    if let Some(fleet) = &sign.fleet {
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
    let named = args.change.as_ref();
    if let Some(whole) = named.and_then(NamedChange::whole) {
        return Ok(whole);
    }
    let snapshot = snapshot.ok_or_else(|| CommandError::usage("name the change with --change"))?;
    let group = snapshot.group(&args.group)?;
    // What waits for people's word comes before what goes on already.
    let waiting = group.holds.iter().find_map(|held| {
        if let Hold::ApprovalNeeded(needed) = &held.hold {
            return Some(&needed.change);
        }
        if let Hold::ApprovalRejected(rejected) = &held.hold {
            return Some(&rejected.change);
        }
        None
    });
    let Some(named) = named else {
        let waiting = waiting.filter(|_| verdict.is_decision());
        return waiting.or(group.change.as_ref()).cloned().ok_or_else(|| {
            CommandError::new(format!("group {} is in no change", args.group))
                .hint("name the change with --change: `drover plan` shows it")
        });
    };
    let known = waiting.into_iter().chain(group.change.as_ref());
    let mut known: Vec<&ChangeId> = known.filter(|change| named.fits(change)).collect();
    known.dedup();
    if let [one] = known.as_slice() {
        return Ok((*one).clone());
    }
    let error = CommandError::new(format!(
        "no change of group {} that waits or goes on begins with {named}",
        args.group
    ));
    Err(error.hint("all 64 digits name any change: `drover plan -o json` has them"))
}
