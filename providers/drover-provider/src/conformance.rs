//! The conformance suite: each sentence of the [`Provider`] contract as a check that can fail.
//!
//! A provider's tests implement [`Subject`] and assert that [`run`]'s report [conforms]; the same
//! suite runs against plugins. It makes instances of a group of its own and ends them again. It
//! needs no other instances to be absent, and touches none.
//!
//! [conforms]: Report::conforms

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use drover_model::{
    AttachmentName, Completeness, Digests, Epoch, ErrorClass, FleetName, GroupName, GroupUid,
    InPlace, InstanceId, Listed, Listing, MemberId, Ownership, ProviderPhase, ProviderRef, Seat,
    SeatId, Template, TemplateParts, Token, Value,
};

use crate::{
    DestroyRequest, OptionalMethod, Provider, ProviderError, ProvisionRequest, Provisioned, Slot,
};

mod checks;
mod left;
mod notes;
mod words;

pub use left::{Left, Unclear, clear};
pub use notes::Notes;
use words::{Words, shown_command};

/// What is tested, and how.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Returns the provider.
    fn provider(&self) -> Arc<dyn Provider>;

    /// Opens the same scope once more, as an agent that starts again. None: cannot.
    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        None
    }

    /// Opens another scope in the same place: a second Provider document, with the same settings and another name. None: there
    /// is none, as documents of this kind are told apart by where they lead.
    fn other_scope(&self) -> Option<Result<Arc<dyn Provider>, ProviderError>> {
        None
    }

    /// Returns something drawn for this run, so that no token was used before.
    fn run_id(&self) -> GroupUid;

    /// Returns properties with which an instance runs until it is ended.
    fn running(&self) -> Value;

    /// Returns other properties with which an instance runs. None: what ends, prints or is unhealthy is all that is known.
    fn another(&self) -> Option<Value> {
        None
    }

    /// Returns properties that the schema refuses; where the schema takes every field, properties that
    /// the provider refuses.
    fn invalid(&self) -> Value;

    /// Returns whether [`invalid`](Self::invalid) returns such properties: nobody can know some of a
    /// provider whose schema takes every field.
    fn has_invalid(&self) -> bool {
        true
    }

    /// Returns properties with which an instance soon ends by itself. None: there are none.
    fn exiting(&self) -> Option<Value> {
        None
    }

    /// Returns properties with which an instance runs and is never healthy: neither its own health nor a check, whatever its
    /// command, passes where the provider runs no commands. None: there are none.
    fn unhealthy(&self) -> Option<Value> {
        None
    }

    /// Returns properties with which an instance prints two lines or more, soon after it runs, and then nothing. None:
    /// what [`running`](Self::running) prints is looked at.
    fn printing(&self) -> Option<Value> {
        None
    }

    /// Returns the commands that checks are tried with, where commands are run. The default is what most systems have.
    fn commands(&self) -> CheckCommands {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        CheckCommands {
            passing: words(&["true"]),
            failing: words(&["false"]),
            slow: words(&["sleep", "30"]),
        }
    }

    /// Ends an instance that was released, which no provider may. Where nobody can, a release is tried only if
    /// the instance can be adopted back: nothing is left behind.
    async fn end_released(&self, _instance: &ProviderRef) {}

    /// Returns whether [`end_released`](Self::end_released) does what it says.
    fn ends_released(&self) -> bool {
        false
    }

    /// Returns whether a check is made, by its name.
    fn makes(&self, check: &str) -> bool {
        let _ = check;
        true
    }

    /// Is told how a check turned out, as soon as it has.
    fn told(&self, _result: &CheckResult) {}

    /// Lets a little time pass, in the provider's own sense of time.
    async fn wait(&self) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Returns how many waits any state may take.
    fn patience(&self) -> u32 {
        1_500
    }

    /// Returns how long any state may take, however few the waits are in which it does: a look itself may take long. None: only
    /// waits are counted, as where time is the provider's own.
    fn limit(&self) -> Option<Duration> {
        None
    }
}

/// What is run in an instance to see whether checks are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckCommands {
    /// One that ends with success.
    pub passing: Vec<String>,
    /// One that ends without.
    pub failing: Vec<String>,
    /// One that takes longer than a second.
    pub slow: Vec<String>,
}

/// How one check turned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider keeps the sentence.
    Passed,
    /// It does not.
    Failed {
        /// What was seen instead.
        why: String,
    },
    /// The check could not be made.
    Skipped {
        /// What was missing.
        why: String,
    },
}

/// One check of the suite and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// The check's name, in words joined by hyphens.
    pub name: &'static str,
    /// The sentence of the contract that it checks.
    pub sentence: &'static str,
    /// The outcome.
    pub outcome: Outcome,
}

/// What the suite found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The checks in their order.
    pub results: Vec<CheckResult>,
    /// Why most of the checks were not made: nothing can be seen of what they make. None: they were.
    pub untried: Option<&'static str>,
}

impl Report {
    /// Returns whether no check failed.
    pub fn conforms(&self) -> bool {
        let mut outcomes = self.results.iter().map(|result| &result.outcome);
        !outcomes.any(|outcome| matches!(outcome, Outcome::Failed { .. }))
    }

    /// Returns how a check turned out, by its name.
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        let result = self.results.iter().find(|result| result.name == name)?;
        Some(&result.outcome)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in &self.results {
            writeln!(f, "{result}")?;
        }
        Ok(())
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Passed => write!(f, "passed   {}", self.name),
            Outcome::Skipped { why } => write!(f, "skipped  {}: {why}", self.name),
            Outcome::Failed { why } => {
                write!(
                    f,
                    "failed   {}: {why}\n         {}",
                    self.name, self.sentence
                )
            }
        }
    }
}

/// Returns the names of all checks, in the order in which they are made.
pub fn names() -> impl Iterator<Item = &'static str> {
    checks::ALL.iter().map(|check| check.name)
}

/// Runs the checks that the subject wants, one after the other, and ends what each has made. What it asks for and sees is noted
/// in `notes`.
///
/// # Cancellation
///
/// A dropped future leaves the instances of the check that was running; [`clear`] ends them.
pub async fn run_noting(subject: &dyn Subject, notes: &Notes) -> Report {
    let mut report = Report::default();
    let wanted = checks::ALL.iter().enumerate();
    for (number, check) in wanted.filter(|(_, check)| subject.makes(check.name)) {
        // Each of them would fail for the same, or wait in vain until its time is up.
        let untried = report.untried.filter(|_| check.name != checks::OFFERS);
        let outcome = if let Some(why) = untried {
            let why = why.to_owned();
            Outcome::Skipped { why }
        } else {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            made(subject, notes, number, check).await
        };
        let failed = matches!(outcome, Outcome::Failed { .. });
        let result = CheckResult {
            name: check.name,
            sentence: check.sentence,
            outcome,
        };
        subject.told(&result);
        report.results.push(result);
        if notes.is_blind() {
            report.untried = Some(BLIND);
        } else if failed && report.untried.is_none() && cannot_list(subject, notes).await {
            report.untried = Some(UNLISTED);
        }
    }
    report
}

/// Runs the checks as [`run_noting`] does, for who looks at nothing but the report.
///
/// # Cancellation
///
/// As [`run_noting`].
pub async fn run(subject: &dyn Subject) -> Report {
    run_noting(subject, &Notes::default()).await
}

/// Why most checks are not made of a provider that lists nothing.
const BLIND: &str = "nothing that was made has been listed so far, see above";

/// Why most checks are not made of a provider whose listings fail.
const UNLISTED: &str = "not tried, as the provider does not list what there is, see above";

/// How often a listing that failed in a check is asked for once more: what fails for a moment keeps no other check.
const LISTING_ATTEMPTS: u32 = 3;

/// Returns whether the listing that failed last fails again and again.
async fn cannot_list(subject: &dyn Subject, notes: &Notes) -> bool {
    if !notes.listing_failed() {
        return false;
    }
    for _ in 0..LISTING_ATTEMPTS {
        subject.wait().await;
        if subject.provider().list(&Context::fleet()).await.is_ok() {
            return false;
        }
    }
    true
}

/// Makes a check.
async fn made(subject: &dyn Subject, notes: &Notes, number: u32, check: &checks::Check) -> Outcome {
    let context = Context {
        subject,
        provider: subject.provider(),
        check: number,
        made: Mutex::default(),
        notes,
    };
    let verdict = (check.run)(&context).await;
    // What could not be cleaned up is a failure of the provider too: it did not end.
    match (verdict, context.clean_up().await) {
        (Ok(()), Ok(())) => Outcome::Passed,
        (Err(Miss::Skipped(why)), Ok(())) => Outcome::Skipped { why },
        (Err(Miss::Failed(why)), _) | (_, Err(Miss::Failed(why) | Miss::Skipped(why))) => {
            Outcome::Failed { why }
        }
    }
}

/// Why a check did not pass.
#[derive(Debug)]
enum Miss {
    Failed(String),
    Skipped(String),
}

impl From<ProviderError> for Miss {
    fn from(error: ProviderError) -> Self {
        Self::Failed(format!("{}: {}", error.class.as_str(), error.message))
    }
}

type Verdict = Result<(), Miss>;

/// Fails the check with this message unless the condition holds.
fn ensure(condition: bool, why: impl FnOnce() -> String) -> Verdict {
    if condition {
        Ok(())
    } else {
        Err(Miss::Failed(why()))
    }
}

/// One check's view of the provider.
struct Context<'a> {
    subject: &'a dyn Subject,
    provider: Arc<dyn Provider>,
    /// The check's number, from which its instance ids and tokens come.
    check: u32,
    made: Mutex<Vec<DestroyRequest>>,
    notes: &'a Notes,
}

/// Instance numbers that each check has for itself.
const NUMBERS_PER_CHECK: u64 = 100;

impl Context<'_> {
    fn fleet() -> FleetName {
        FleetName::parse("conformance").expect("a valid label")
    }

    fn other_fleet() -> FleetName {
        FleetName::parse("conformance-other").expect("a valid label")
    }

    fn group() -> GroupName {
        GroupName::parse("conformance").expect("a valid label")
    }

    fn other_group() -> GroupName {
        GroupName::parse("conformance-other").expect("a valid label")
    }

    /// Returns a call for `count` instances from the check's `first` number on.
    fn request(&self, first: u64, count: u64, properties: Value) -> ProvisionRequest {
        let fleet = Self::fleet();
        let base = u64::from(self.check) * NUMBERS_PER_CHECK + first;
        let slot = |number| Slot {
            instance: InstanceId::new(Self::group(), number),
            init: Vec::new(),
            env: BTreeMap::new(),
            tags: BTreeMap::new(),
            attachments: Vec::new(),
            seat: None,
            secrets: BTreeMap::new(),
        };
        let slots: Vec<Slot> = (base..base + count).map(slot).collect();
        let template = Template::from(TemplateParts {
            properties: properties.clone(),
            flavors: Vec::new(),
            flavors_as_written: Value::List(Vec::new()),
            tags: BTreeMap::new(),
        });
        let manifest = self.provider.manifest();
        let classes = manifest.properties.classes();
        let run_id = self.subject.run_id();
        let instance = InstanceId::new(Self::group(), base);
        ProvisionRequest {
            zone: None,
            token: Token::derive(&fleet, &run_id, Epoch(1), &instance, 0),
            fleet,
            group: Self::group(),
            epoch: Epoch(1),
            digests: Digests::of(&manifest.type_, &template, &classes),
            slots,
            properties,
            secrets: crate::Secrets::default(),
            urgency: crate::Urgency::default(),
            asked: None,
        }
    }

    /// Returns a place in the life of this run.
    fn seat(&self) -> Seat {
        let member = MemberId::parse("m1").expect("a valid label");
        Seat {
            id: SeatId {
                life: self.subject.run_id(),
                member: member.clone(),
            },
            members: vec![member],
            bootstrap: false,
            attachments: vec![AttachmentName::parse("data").expect("a valid label")],
        }
    }

    /// Makes instances, and notes them for cleaning up.
    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        self.notes.asks(request);
        let provisioned = self.provider.provision(request).await;
        self.notes.answered(request, &provisioned);
        if let Ok(provisioned) = &provisioned {
            for (instance, provider_ref) in &provisioned.made {
                self.note(destroying(request, instance, provider_ref));
            }
        }
        provisioned
    }

    fn note(&self, destroy: DestroyRequest) {
        self.notes.made(&destroy);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.push(destroy);
    }

    /// Makes one instance that runs.
    async fn one(&self, first: u64) -> Result<(ProvisionRequest, ProviderRef), Miss> {
        self.one_of(first, self.subject.running()).await
    }

    /// Makes one instance with these properties.
    async fn one_of(
        &self,
        first: u64,
        properties: Value,
    ) -> Result<(ProvisionRequest, ProviderRef), Miss> {
        let request = self.request(first, 1, properties);
        let made = self.provision(&request).await?.made;
        let one = made.into_values().next();
        let one = one.ok_or_else(|| Miss::Failed("the call made nothing".to_owned()))?;
        Ok((request, one))
    }

    /// Skips the check of what the provider does not have.
    fn offered(&self, method: OptionalMethod) -> Verdict {
        if self.provider.offers().contains(&method) {
            return Ok(());
        }
        let why = format!("the provider does not offer `{}`", method.as_str());
        Err(Miss::Skipped(why))
    }

    /// Returns the handle of an instance that never was.
    fn never_was() -> ProviderRef {
        ProviderRef::parse("never-was").expect("the text is not empty")
    }

    async fn listing(&self) -> Result<Listing, Miss> {
        let listed = self.provider.list(&Self::fleet()).await;
        self.notes.listing(listed.is_err());
        Ok(listed?)
    }

    async fn listed(&self, instance: &ProviderRef) -> Result<Option<Listed>, Miss> {
        let mut listed = self.listing().await?.instances.into_iter();
        let found = listed.find(|listed| listed.provider_ref == *instance);
        if found.is_some() {
            self.notes.listed();
        }
        Ok(found)
    }

    /// Notes that an instance was to be listed, and was not in time.
    fn tell_unseen(&self, instance: &ProviderRef) {
        self.notes.not_listed(instance);
    }

    /// Returns the waits that any state may take, or a part of them: one in so many.
    fn waits(&self, part: u32) -> impl Iterator<Item = u32> + use<> {
        let limit = self.subject.limit().map(|limit| limit / part);
        let started = Instant::now();
        let in_time = move |_: &u32| limit.is_none_or(|limit| started.elapsed() < limit);
        (0..self.subject.patience() / part).take_while(in_time)
    }

    /// Waits until the instance's phase is as wanted; None: it is not listed.
    async fn until(
        &self,
        instance: &ProviderRef,
        what: &str,
        wanted: impl Fn(Option<&ProviderPhase>) -> bool,
    ) -> Result<Option<Listed>, Miss> {
        let mut seen = None;
        for _ in self.waits(1) {
            seen = self.listed(instance).await?;
            if wanted(seen.as_ref().map(|listed| &listed.phase)) {
                return Ok(seen);
            }
            self.subject.wait().await;
        }
        let Some(seen) = seen.map(|listed| listed.phase) else {
            self.tell_unseen(instance);
            return Err(Miss::Failed(format!(
                "{what} in time; {instance} is not listed"
            )));
        };
        Err(Miss::Failed(format!(
            "{what} in time; it was last listed as {}",
            seen.words()
        )))
    }

    async fn until_running(&self, instance: &ProviderRef) -> Result<Listed, Miss> {
        let what = "the instance does not run";
        let running = |phase: Option<&ProviderPhase>| phase == Some(&ProviderPhase::Running);
        let listed = self.until(instance, what, running).await?;
        listed.ok_or_else(|| Miss::Failed(what.to_owned()))
    }

    async fn until_gone(&self, instance: &ProviderRef) -> Verdict {
        let gone =
            |phase: Option<&ProviderPhase>| matches!(phase, None | Some(ProviderPhase::Terminated));
        let what = "the instance does not end";
        self.until(instance, what, gone).await.map(|_| ())
    }

    async fn clean_up(&self) -> Verdict {
        let made = {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *made)
        };
        // One that cannot be ended keeps none of the others.
        let mut failed: Verdict = Ok(());
        for destroy in &made {
            match self.provider.destroy(destroy).await {
                // A released instance is nobody's; the check that did it has ended it.
                Err(error) if error.class != ErrorClass::NotFound => failed = Err(error.into()),
                _ => {}
            }
        }
        failed?;
        for destroy in &made {
            self.until_gone(&destroy.provider_ref).await?;
            self.notes.gone(&destroy.provider_ref);
        }
        Ok(())
    }
}

/// Returns a call that makes one instance which runs, for checks beside the suite. `number`: of the instance. Those of the suite
/// have numbers of five digits at most.
pub fn request(subject: &dyn Subject, number: u64) -> ProvisionRequest {
    let context = Context {
        subject,
        provider: subject.provider(),
        check: 0,
        made: Mutex::default(),
        notes: &Notes::default(),
    };
    context.request(number, 1, subject.running())
}

/// Returns the call that ends an instance at once.
pub fn destroying(
    request: &ProvisionRequest,
    instance: &InstanceId,
    provider_ref: &ProviderRef,
) -> DestroyRequest {
    DestroyRequest {
        fleet: request.fleet.clone(),
        group: request.group.clone(),
        epoch: request.epoch,
        instance: instance.clone(),
        provider_ref: provider_ref.clone(),
        token: request.token.clone(),
        grace: Duration::ZERO,
        ending: crate::Ending::default(),
    }
}

/// Returns the ownership that an instance of a call must carry.
fn owned(request: &ProvisionRequest, slot: &Slot) -> Ownership {
    Ownership {
        fleet: request.fleet.clone(),
        group: request.group.clone(),
        instance: slot.instance.clone(),
        digests: request.digests.clone(),
        token: request.token.clone(),
        epoch: request.epoch,
        seat: slot.seat.as_ref().map(|seat| seat.id.clone()),
    }
}

/// Fails unless the listing claims to be complete.
fn complete(listing: &Listing) -> Verdict {
    match &listing.completeness {
        Completeness::Complete => Ok(()),
        Completeness::Partial { why } => {
            Err(Miss::Failed(format!("the listing is partial: {why}")))
        }
    }
}
