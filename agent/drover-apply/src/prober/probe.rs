//! One try of one check.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{CheckOutcome, Probe};
use drover_provider::{Clock, FlavorSubject, Flavors, ProviderError};
use futures::FutureExt as _;

use super::board::{Finished, Job, Probed, Said};
use crate::requests::{self, Trouble};

const PROVIDER: &str = "the provider";

/// How much longer than the check's own limit a provider may take to answer.
const PROVIDER_SLACK: Duration = Duration::from_secs(5);

pub(super) async fn run(job: Job, clock: Arc<dyn Clock>, flavors: Arc<dyn Flavors>) -> Finished {
    let asked_at = clock.now();
    let (outcome, said) = match (&job.probe, &job.address) {
        (Probe::Http { port, path }, Some(address)) => {
            http(address, *port, path, job.timeout).await
        }
        (Probe::Tcp { port }, Some(address)) => {
            let opened = requests::connect(address, *port, job.timeout).await;
            let outcome = opened.map_or_else(of_trouble, |()| CheckOutcome::Passing);
            (outcome, Said::default())
        }
        (Probe::Command { command }, _) => {
            let check = job.provider.check(&job.provider_ref, command, job.timeout);
            (asked(PROVIDER, check, job.timeout).await, Said::default())
        }
        (Probe::Provider, _) => {
            let health = job.provider.health(&job.provider_ref, job.timeout);
            (asked(PROVIDER, health, job.timeout).await, Said::default())
        }
        (Probe::Flavors, _) => {
            let outcome = match &job.flavors {
                Some(subject) => flavored(&*flavors, subject, job.timeout).await,
                // Made from a template that has none: nobody has anything to say.
                None => CheckOutcome::Passing,
            };
            (outcome, Said::default())
        }
        (Probe::Http { .. } | Probe::Tcp { .. }, None) => {
            (unknown("the instance has no address yet"), Said::default())
        }
    };
    Finished {
        key: job.key,
        probed: Probed {
            asked_at,
            outcome,
            said,
        },
    }
}

/// Asks every flavor plugin of an instance. The worst answer counts, and the first of equally bad ones.
async fn flavored(
    flavors: &dyn Flavors,
    subject: &FlavorSubject,
    timeout: Duration,
) -> CheckOutcome {
    let mut worst = CheckOutcome::Passing;
    for flavor in &subject.flavors {
        let asking = flavors.healthy(flavor, &subject.instance, timeout);
        let asking = async { Ok(asking.await) };
        let who = format!("plugin {}", flavor.name);
        match asked(&who, asking, timeout).await {
            failing @ CheckOutcome::Failing { .. } => return failing,
            unknown @ CheckOutcome::Unknown { .. } if worst == CheckOutcome::Passing => {
                worst = unknown;
            }
            CheckOutcome::Passing | CheckOutcome::Unknown { .. } => {}
        }
    }
    worst
}

async fn http(address: &str, port: u16, path: &str, limit: Duration) -> (CheckOutcome, Said) {
    match requests::http("GET", address, port, path, limit).await {
        Ok(answer) if answer.is_success() => (CheckOutcome::Passing, said_in(&answer.body)),
        Ok(answer) => {
            let why = format!("GET {path} on port {port} answered {}", answer.status);
            (CheckOutcome::Failing { why }, Said::default())
        }
        Err(trouble) => (of_trouble(trouble), Said::default()),
    }
}

/// Returns what a health answer says beside its status: `{"busy": true}`, `{"leader": true}`,
/// `{"work": 120}`. Anything else says nothing: most endpoints answer with a word.
fn said_in(body: &[u8]) -> Said {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Said::default();
    }
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) else {
        return Said::default();
    };
    Said {
        busy: answer["busy"] == serde_json::Value::Bool(true),
        leader: answer["leader"].as_bool(),
        work: whole(&answer["work"]),
    }
}

/// Returns a number that is not negative, rounded down; 0 for anything else.
fn whole(number: &serde_json::Value) -> u32 {
    let number = number.as_f64().unwrap_or_default();
    // A cast of what is out of range takes the nearest that is within.
    number as u32
}

/// Waits for the answer of a provider or a plugin, no longer than its slack allows, and contains its panic.
async fn asked(
    who: &str,
    answer: impl Future<Output = Result<CheckOutcome, ProviderError>>,
    timeout: Duration,
) -> CheckOutcome {
    let contained = AssertUnwindSafe(answer).catch_unwind();
    let limit = timeout.saturating_add(PROVIDER_SLACK);
    match tokio::time::timeout(limit, contained).await {
        Ok(Ok(Ok(outcome))) => outcome,
        Ok(Ok(Err(error))) => unknown(&error.message),
        Ok(Err(_)) => unknown(&format!("{who} panicked")),
        Err(_) => unknown(&format!("{who} did not answer")),
    }
}

fn of_trouble(trouble: Trouble) -> CheckOutcome {
    match trouble {
        Trouble::Refused => CheckOutcome::Failing {
            why: "connection refused".to_owned(),
        },
        Trouble::Instance(why) => CheckOutcome::Failing { why },
        Trouble::Local(why) => CheckOutcome::Unknown { why },
    }
}

fn unknown(why: &str) -> CheckOutcome {
    CheckOutcome::Unknown {
        why: why.to_owned(),
    }
}
