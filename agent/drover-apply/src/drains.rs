//! Drains in progress: delay, then `begin` once, then waiting for `done` and for the flavor plugins of the instance's
//! template, which are told to drain it until each has.
//!
//! Everything is read off the intent and the clock, so a restarted agent goes on where the last one
//! stopped. When a drain has taken too long, and what follows then, is the planner's to say.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use drover_model::{
    DrainDone, DrainSpec, GroupName, HttpRequest, InstanceId, Intent, IntentId, IntentKind, Listed,
    Listing, ProviderPhase, ProviderRef, RecordedGroup, Timestamp,
};
use drover_provider::{FlavorCall, FlavorInstance, FlavorSubject};
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use jiff::SignedDuration;
use tokio::time::Instant;

use crate::requests::Trouble;
use crate::{ApplyContext, JournalChange, JournalError, Reach, flavor_subject, write_journal};

#[cfg(test)]
mod tests;

/// Time limit of one `begin` request: it starts work, it does not wait for it.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How much longer than that a flavor plugin may be waited for, so that who asks it can say what became of it.
const SLACK: Duration = Duration::from_secs(1);
/// Time limit of one question whether the work is off.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);
/// Most instances that are asked at once. An instance is a descriptor for as long as it is silent.
const ASKED_AT_ONCE_MAX: usize = 64;
/// Most drains that begin in one round, so that instances which are all silent hold it up no longer
/// than two rounds of requests. The others begin in the next one, at once.
const BEGUN_MAX: usize = 2 * ASKED_AT_ONCE_MAX;
/// After this time a round asks nobody else: what it learnt must be written, and the group's pass has a
/// deadline. The next round starts elsewhere.
const ROUND_LIMIT: Duration = Duration::from_secs(5);
/// Time between two questions: a rollout of a thousand instances waits for each of them.
const POLL_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// The same once the deadline has passed, when a person is needed anyway.
const POLL_INTERVAL_LATE: SignedDuration = SignedDuration::from_secs(15);

/// What became of the drains of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainsAdvanced {
    /// Whether the journal holds something new, so that planning again may be worth it.
    pub changed: bool,
    /// When to look again. None: nothing is waited for.
    pub next_at: Option<Timestamp>,
    /// The same without the questions to instances: when time alone changes something.
    pub timer_at: Option<Timestamp>,
}

/// An open drain.
struct Drain<'a> {
    id: IntentId,
    instance: &'a InstanceId,
    provider_ref: &'a ProviderRef,
    address: Option<&'a str>,
    spec: &'a DrainSpec,
    /// When `begin` may be sent.
    due_at: Timestamp,
    deadline: Timestamp,
    begun: bool,
    flavors: Flavored,
}

/// Who of the flavor plugins is to drain an instance.
enum Flavored {
    /// Its template has none.
    None,
    /// It has some, and the listing does not have the instance: nobody can be told of it, and absence proves nothing.
    Unlisted,
    /// These.
    Plugins(FlavorSubject),
}

/// What is done about a drain in this round.
enum Next {
    /// The instance has ended by itself: the work is off.
    Ended,
    /// Nothing before this time.
    Wait(Timestamp),
    /// `begin` is to be sent.
    Begin,
    /// Only the question whether it is done.
    Poll,
}

/// Moves the open drains among `intents` on: sends `begin` where the delay has passed, tells flavor plugins, asks the
/// instances whether they are idle, and writes down what it learns. Which plugins an instance has is said by the template
/// in `recorded` that it was made from.
///
/// An instance that `listing` shows as ended needs no more draining. Absence proves nothing here.
/// While the brake is on, nothing is sent, but questions are asked.
///
/// # Errors
///
/// A journal that cannot be written. Nothing was sent that was not durable before.
///
/// # Cancellation
///
/// May be dropped at any await. `begin` requests that were marked as sent are not sent again, whether
/// or not they were.
pub async fn advance_drains(
    group: &GroupName,
    intents: &[Intent],
    listing: &Listing,
    recorded: &RecordedGroup,
    ctx: &ApplyContext,
) -> Result<DrainsAdvanced, JournalError> {
    let now = ctx.clock.now();
    let mut round = Round::default();
    // Looked up for each drain: a rollout of a thousand instances drains hundreds at once.
    let listed: BTreeMap<&ProviderRef, &Listed> = listing
        .instances
        .iter()
        .map(|one| (&one.provider_ref, one))
        .collect();
    for drain in intents
        .iter()
        .filter_map(|intent| open_drain(group, intent, &listed))
        .map(|drain| Drain {
            flavors: flavored(&drain, &listed, recorded, intents),
            ..drain
        })
    {
        match next(&drain, &listed, now) {
            Next::Ended => round.mark(&drain, drain.begun, true),
            Next::Wait(at) => round.wake(at),
            Next::Poll => round.polled.push(drain),
            // Released brakes start a pass, so there is no time to look again.
            Next::Begin if ctx.brake.stop(group).is_some() => {}
            Next::Begin if drain.address.is_none() && !drain.spec.begin.is_empty() => {
                round.look_at(later(now, &drain));
            }
            Next::Begin if round.begun.len() >= BEGUN_MAX => round.wake(now),
            Next::Begin => {
                let nothing_to_wait_for = drain.spec.begin.is_empty()
                    && drain.spec.done.is_none()
                    && matches!(drain.flavors, Flavored::None);
                round.mark(&drain, true, nothing_to_wait_for);
                if !nothing_to_wait_for {
                    round.begun.push(drain);
                }
            }
        }
    }
    round.write(ctx).await?;
    let Round { begun, polled, .. } = &mut round;
    let (begun, mut polled) = (std::mem::take(begun), std::mem::take(polled));
    let first = now.as_second().unsigned_abs() as usize * ASKED_AT_ONCE_MAX;
    let count = polled.len().max(1);
    polled.rotate_left(first % count);
    let done = send_and_ask(group, ctx, begun, polled).await;
    for (drain, is_done) in done {
        if is_done {
            round.mark(&drain, true, true);
        } else {
            round.look_at(later(now, &drain));
        }
    }
    round.write(ctx).await?;
    Ok(DrainsAdvanced {
        changed: round.changed,
        next_at: round.next_at,
        timer_at: round.timer_at,
    })
}

#[derive(Default)]
struct Round<'a> {
    begun: Vec<Drain<'a>>,
    polled: Vec<Drain<'a>>,
    changes: Vec<JournalChange>,
    changed: bool,
    next_at: Option<Timestamp>,
    timer_at: Option<Timestamp>,
}

impl Round<'_> {
    fn mark(&mut self, drain: &Drain<'_>, begun: bool, done: bool) {
        self.changes.push(JournalChange::UpdateDrain {
            id: drain.id,
            begun,
            done,
        });
        self.changed = true;
    }

    fn look_at(&mut self, at: Timestamp) {
        self.next_at = Some(self.next_at.map_or(at, |next| next.min(at)));
    }

    fn wake(&mut self, at: Timestamp) {
        self.timer_at = Some(self.timer_at.map_or(at, |timer| timer.min(at)));
        self.look_at(at);
    }

    async fn write(&mut self, ctx: &ApplyContext) -> Result<(), JournalError> {
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            return Ok(());
        }
        write_journal(&*ctx.journal, changes).await.map(drop)
    }
}

fn open_drain<'a>(
    group: &GroupName,
    intent: &'a Intent,
    listed: &BTreeMap<&ProviderRef, &'a Listed>,
) -> Option<Drain<'a>> {
    let IntentKind::Drain {
        instance,
        provider_ref,
        address,
        spec,
        deadline,
        begun,
        done: false,
        ..
    } = &intent.kind
    else {
        return None;
    };
    if intent.group != *group {
        return None;
    }
    // The latest address: an instance may have got one after its drain began.
    let known = listed.get(provider_ref);
    let known = known.and_then(|one| one.address.as_deref());
    let delay = SignedDuration::try_from(spec.delay).unwrap_or(SignedDuration::MAX);
    Some(Drain {
        id: intent.id,
        instance,
        flavors: Flavored::None,
        provider_ref,
        address: known.or(address.as_deref()),
        spec,
        due_at: intent
            .issued_at
            .saturating_add(delay)
            .unwrap_or(Timestamp::MAX),
        deadline: *deadline,
        begun: *begun,
    })
}

/// Returns which flavor plugins drain the instance.
fn flavored(
    drain: &Drain<'_>,
    listed: &BTreeMap<&ProviderRef, &Listed>,
    recorded: &RecordedGroup,
    intents: &[Intent],
) -> Flavored {
    if let Some(listed) = listed.get(drain.provider_ref) {
        let subject = flavor_subject(listed, recorded, intents);
        return subject.map_or(Flavored::None, Flavored::Plugins);
    }
    let known = recorded.instances.get(drain.instance);
    let template = known.and_then(|known| recorded.templates.get(&known.digests));
    match template {
        Some(template) if template.plugin_flavors().next().is_some() => Flavored::Unlisted,
        Some(_) | None => Flavored::None,
    }
}

fn next(drain: &Drain<'_>, listed: &BTreeMap<&ProviderRef, &Listed>, now: Timestamp) -> Next {
    let ended = listed
        .get(drain.provider_ref)
        .is_some_and(|one| match one.phase {
            ProviderPhase::Exited(_) | ProviderPhase::Terminated => true,
            ProviderPhase::Pending
            | ProviderPhase::Running
            | ProviderPhase::Stopping
            | ProviderPhase::Unknown => false,
        });
    if ended {
        Next::Ended
    } else if drain.begun {
        Next::Poll
    } else if now < drain.due_at {
        Next::Wait(drain.due_at)
    } else {
        Next::Begin
    }
}

fn later(now: Timestamp, drain: &Drain<'_>) -> Timestamp {
    let interval = if now < drain.deadline {
        POLL_INTERVAL
    } else {
        POLL_INTERVAL_LATE
    };
    now.saturating_add(interval).unwrap_or(Timestamp::MAX)
}

/// Sends `begin` to the first ones and asks all whether they are done.
async fn send_and_ask<'a>(
    group: &GroupName,
    ctx: &ApplyContext,
    begun: Vec<Drain<'a>>,
    polled: Vec<Drain<'a>>,
) -> Vec<(Drain<'a>, bool)> {
    let polled = polled.into_iter().map(|drain| (drain, false));
    let mut waiting = begun.into_iter().map(|drain| (drain, true)).chain(polled);
    let mut under_way = FuturesUnordered::new();
    let mut asked = Vec::new();
    let started = Instant::now();
    loop {
        while under_way.len() < ASKED_AT_ONCE_MAX {
            let Some((drain, begins)) = waiting.next() else {
                break;
            };
            under_way.push(async move {
                let reach = &*ctx.reach;
                if begins {
                    begin(group, reach, &drain).await;
                }
                let in_time = started.elapsed() < ROUND_LIMIT;
                if !begins && !in_time {
                    return (drain, false);
                }
                let (idle, drained) = futures::join!(
                    is_done(reach, &drain),
                    is_drained(group, ctx, &drain, begins)
                );
                (drain, idle && drained)
            });
        }
        let Some(one) = under_way.next().await else {
            break;
        };
        asked.push(one);
    }
    asked
}

/// Sends the `begin` requests in order. A failure changes nothing: they are sent at most once, and
/// `done` or the deadline ends the wait.
async fn begin(group: &GroupName, reach: &dyn Reach, drain: &Drain<'_>) {
    let Some(address) = drain.address else { return };
    let instance = drain.instance.to_string();
    for HttpRequest { method, port, path } in &drain.spec.begin {
        match reach
            .http(method, address, *port, path, BEGIN_TIMEOUT)
            .await
        {
            Ok(answer) if answer.is_success() => {
                tracing::info!(%group, instance, method, path, "drain begun");
            }
            Ok(answer) => {
                let status = answer.status;
                tracing::warn!(%group, instance, method, path, status, "drain request refused");
            }
            Err(trouble) => {
                let error = why(&trouble);
                tracing::warn!(%group, instance, method, path, error, "drain request failed");
            }
        }
    }
}

async fn is_done(reach: &dyn Reach, drain: &Drain<'_>) -> bool {
    match (&drain.spec.done, drain.address) {
        (None, _) => true,
        // The listing answers this one.
        (Some(DrainDone::Exit), _) | (Some(_), None) => false,
        (Some(DrainDone::Http { port, path }), Some(address)) => {
            let answer = reach.http("GET", address, *port, path, POLL_TIMEOUT).await;
            answer.is_ok_and(|answer| answer.status == 200)
        }
        (Some(DrainDone::TcpClosed { port }), Some(address)) => {
            // Only a refusal says that nobody listens: silence may be a filter or a dead network.
            reach.connect(address, *port, POLL_TIMEOUT).await == Err(Trouble::Refused)
        }
    }
}

/// Tells the flavor plugins to drain the instance, and returns whether all of them have. One that fails is told again: the
/// deadline ends that.
async fn is_drained(
    group: &GroupName,
    ctx: &ApplyContext,
    drain: &Drain<'_>,
    begins: bool,
) -> bool {
    let subject = match &drain.flavors {
        Flavored::None => return true,
        Flavored::Unlisted => return false,
        Flavored::Plugins(subject) => subject,
    };
    // Once when it begins, and then why it was in vain.
    let is_told = begins || ctx.clock.now() >= drain.deadline;
    let asked = subject.flavors.iter().map(|flavor| async move {
        let Err(error) = drained_by(flavor, &subject.instance, drain.id, ctx).await else {
            return true;
        };
        let instance = drain.instance;
        if is_told {
            tracing::warn!(%group, %instance, error, "flavor plugin has not drained the instance");
        } else {
            tracing::debug!(%group, %instance, error, "flavor plugin has not drained the instance");
        }
        false
    });
    join_all(asked).await.into_iter().all(|drained| drained)
}

async fn drained_by(
    flavor: &FlavorCall,
    instance: &FlavorInstance,
    drain: IntentId,
    ctx: &ApplyContext,
) -> Result<(), String> {
    let asking = ctx.flavors.drain(flavor, instance, drain, POLL_TIMEOUT);
    let contained = AssertUnwindSafe(asking).catch_unwind();
    let said = |what: &str| format!("plugin {}: Flavor.Drain: {what}", flavor.name);
    match tokio::time::timeout(POLL_TIMEOUT + SLACK, contained).await {
        Ok(Ok(answered)) => answered.map_err(|error| error.message),
        Ok(Err(_)) => Err(said("internal error")),
        Err(_) => Err(said("no answer yet")),
    }
}

fn why(trouble: &Trouble) -> &str {
    match trouble {
        Trouble::Refused => "connection refused",
        Trouble::Instance(why) | Trouble::Local(why) => why,
    }
}
