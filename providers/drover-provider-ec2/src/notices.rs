//! What EC2 says is about to happen to instances, beyond their state: spot capacity that is taken back,
//! scheduled events, failed status checks.
//!
//! Nothing of this is in `DescribeInstances`. Spot requests are asked about only where there are spot instances,
//! status only where the document says so; both with filters that let nothing pass on a good day.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_ec2::types::{Filter, InstanceStatus, SummaryStatus};
use drover_model::{CheckOutcome, ErrorClass, Timestamp};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;

use crate::budget::{Limit, Priority};
use crate::error::CallError;
use crate::listing::{Seen, filter, timestamp};
use crate::region::{Cost, Region};

/// Entries of one page: the most that EC2 gives of these.
const PAGE: i32 = 1_000;

/// Most pages of one question.
const PAGES_MAX: usize = 1_000;

/// How long after the mark spot capacity is taken: Amazon's two minutes.
const SPOT_NOTICE: Duration = Duration::from_mins(2);

/// What a spot request's status is called while its instance is about to be taken.
const SPOT_MARKS: [&str; 2] = ["marked-for-termination", "marked-for-stop"];

/// The scheduled events that end an instance, or stop it for good as far as anybody here knows.
const ENDS: [&str; 2] = ["instance-retirement", "instance-stop"];

/// The scheduled events from which an instance comes back by itself. Nobody needs to make another one before them, and one
/// that was announced as taken would be ended for them, successor or not: they are told in the log alone, and what
/// they do to the instance its checks say.
const PASSING: [&str; 3] = ["instance-reboot", "system-reboot", "system-maintenance"];

/// How long the status of every instance is taken for what it is now. EC2's own checks run once a minute.
const STATUS_AGE: Duration = Duration::from_secs(10);

/// The outcome of EC2's checks of every instance that runs, by id.
type Outcomes = Arc<BTreeMap<String, CheckOutcome>>;

type Flight = Shared<BoxFuture<'static, Result<Outcomes, CallError>>>;

/// The last question for the status of every instance, and when it was asked.
#[derive(Debug, Default)]
pub(crate) struct Statuses(Mutex<Option<(Instant, Flight)>>);

/// The events that an instance comes back from, as they were listed last: instance, code and time.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<BTreeSet<(String, String, Option<Timestamp>)>>);

impl Told {
    /// Tells what was not listed before. What is listed no longer is forgotten.
    fn tell(&self, listed: BTreeSet<(String, String, Option<Timestamp>)>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (instance, event, at) in listed.difference(&told) {
            let at = at.map(|at| at.to_string());
            tracing::warn!(%instance, %event, at, "event scheduled by EC2");
        }
        *told = listed;
    }
}

/// What is about to happen, by instance id.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Notices {
    /// When it will be interrupted.
    pub(crate) interruptions: BTreeMap<String, Timestamp>,
    /// Whether EC2's own checks of it fail.
    pub(crate) impaired: BTreeSet<String>,
}

impl Notices {
    fn interrupts(&mut self, id: Option<&str>, at: Option<Timestamp>) {
        if let (Some(id), Some(at)) = (id, at) {
            let first = self.interruptions.entry(id.to_owned()).or_insert(at);
            *first = at.min(*first);
        }
    }
}

const fn cost(action: &'static str) -> Cost {
    Cost {
        action,
        limit: Limit::Describe,
        priority: Priority::Observe,
    }
}

fn endless(action: &'static str) -> CallError {
    let message = format!("more than {PAGES_MAX} pages");
    CallError::new(action, ErrorClass::Unknown, message)
}

impl Region {
    /// Returns what is about to happen to these instances.
    pub(crate) async fn notices(
        self: &Arc<Self>,
        seen: &[Seen],
        status_checks: bool,
    ) -> Result<Notices, CallError> {
        let mut notices = Notices::default();
        if seen.iter().any(|seen| seen.spot) {
            self.spot_notices(&mut notices).await?;
        }
        if status_checks && !seen.is_empty() {
            self.events(&mut notices).await?;
            for name in ["instance-status.status", "system-status.status"] {
                self.impaired(name, &mut notices).await?;
            }
        }
        Ok(notices)
    }

    /// Returns the outcome of EC2's own checks of an instance. All instances are asked about with one call for a
    /// thousand of them, which is good for some seconds.
    pub(crate) async fn health(self: &Arc<Self>, id: &str) -> Result<CheckOutcome, CallError> {
        let outcomes = self.outcomes().await?;
        let outcome = outcomes.get(id).cloned();
        Ok(outcome.unwrap_or_else(|| CheckOutcome::Unknown {
            why: "EC2 reports no status of the instance".to_owned(),
        }))
    }

    fn outcomes(self: &Arc<Self>) -> Flight {
        let mut last = self
            .statuses
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((asked, flight)) = &*last
            && asked.elapsed() < STATUS_AGE
            && !matches!(flight.peek(), Some(Err(_)))
        {
            return flight.clone();
        }
        let this = Arc::clone(self);
        let asking = async move {
            let mut outcomes = BTreeMap::new();
            this.statuses_of(None, |status| {
                if let Some(id) = status.instance_id() {
                    outcomes.insert(id.to_owned(), outcome(status));
                }
            })
            .await?;
            Ok(Arc::new(outcomes))
        };
        let flight = asking.boxed().shared();
        *last = Some((Instant::now(), flight.clone()));
        flight
    }

    async fn spot_notices(&self, notices: &mut Notices) -> Result<(), CallError> {
        let action = "DescribeSpotInstanceRequests";
        let client = self.client().await;
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let page = client
                .describe_spot_instance_requests()
                .filters(filter("status-code", &SPOT_MARKS))
                .max_results(PAGE)
                .set_next_token(next);
            let answer = self.call(cost(action), || page.clone().send()).await?;
            for request in answer.spot_instance_requests() {
                let marked = request.status().and_then(|status| status.update_time());
                let marked = marked.and_then(timestamp);
                let at = marked.and_then(|at| at.checked_add(SPOT_NOTICE).ok());
                notices.interrupts(request.instance_id(), at);
            }
            match answer.next_token() {
                None | Some("") => return Ok(()),
                Some(token) => next = Some(token.to_owned()),
            }
        }
        Err(endless(action))
    }

    async fn events(&self, notices: &mut Notices) -> Result<(), CallError> {
        let wanted = filter("event.code", &[&ENDS[..], &PASSING[..]].concat());
        let mut passing = BTreeSet::new();
        self.statuses_of(Some(wanted), |status| {
            for event in status.events() {
                // What is done already stays listed for a while.
                let done = event.description().unwrap_or_default();
                if done.starts_with("[Completed]") || done.starts_with("[Canceled]") {
                    continue;
                }
                let at = event.not_before().and_then(timestamp);
                let code = event.code().map_or("", |code| code.as_str());
                if ENDS.contains(&code) {
                    notices.interrupts(status.instance_id(), at);
                } else if let Some(id) = status.instance_id() {
                    passing.insert((id.to_owned(), code.to_owned(), at));
                }
            }
        })
        .await?;
        self.told.tell(passing);
        Ok(())
    }

    async fn impaired(&self, name: &str, notices: &mut Notices) -> Result<(), CallError> {
        self.statuses_of(Some(filter(name, &["impaired"])), |status| {
            notices
                .impaired
                .extend(status.instance_id().map(str::to_owned));
        })
        .await
    }

    async fn statuses_of(
        &self,
        wanted: Option<Filter>,
        mut each: impl FnMut(&InstanceStatus),
    ) -> Result<(), CallError> {
        let action = "DescribeInstanceStatus";
        let client = self.client().await;
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let page = client
                .describe_instance_status()
                .set_filters(wanted.clone().map(|filter| vec![filter]))
                .max_results(PAGE)
                .set_next_token(next);
            let answer = self.call(cost(action), || page.clone().send()).await?;
            answer.instance_statuses().iter().for_each(&mut each);
            match answer.next_token() {
                None | Some("") => return Ok(()),
                Some(token) => next = Some(token.to_owned()),
            }
        }
        Err(endless(action))
    }
}

/// Returns what EC2's two checks of an instance come to.
fn outcome(status: &InstanceStatus) -> CheckOutcome {
    let system = status.system_status().and_then(|one| one.status());
    let instance = status.instance_status().and_then(|one| one.status());
    let checks = [("system", system), ("instance", instance)];
    let shown =
        |found: Option<&SummaryStatus>| found.map_or("not known", SummaryStatus::as_str).to_owned();
    for (name, found) in checks {
        if found == Some(&SummaryStatus::Impaired) {
            let why = format!("EC2's {name} status check fails");
            return CheckOutcome::Failing { why };
        }
    }
    for (name, found) in checks {
        if found != Some(&SummaryStatus::Ok) {
            let why = format!("EC2's {name} status check is {}", shown(found));
            return CheckOutcome::Unknown { why };
        }
    }
    CheckOutcome::Passing
}
