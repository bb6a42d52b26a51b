//! What EC2 says is about to happen to instances, beyond their state: spot capacity that is taken back,
//! scheduled events, failed status checks.
//!
//! Nothing of this is in `DescribeInstances`. Spot requests are asked about only where there are spot instances,
//! status only where the document says so; both with filters that let nothing pass on a good day.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use drover_model::{ErrorClass, Timestamp};

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

/// The scheduled events that end or interrupt an instance.
const EVENTS: [&str; 5] = [
    "instance-reboot",
    "system-reboot",
    "system-maintenance",
    "instance-retirement",
    "instance-stop",
];

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
        let wanted = filter("event.code", &EVENTS);
        self.statuses(wanted, |status| {
            for event in status.events() {
                // What is done already stays listed for a while.
                let done = event.description().unwrap_or_default();
                if done.starts_with("[Completed]") || done.starts_with("[Canceled]") {
                    continue;
                }
                let at = event.not_before().and_then(timestamp);
                notices.interrupts(status.instance_id(), at);
            }
        })
        .await
    }

    async fn impaired(&self, name: &str, notices: &mut Notices) -> Result<(), CallError> {
        self.statuses(filter(name, &["impaired"]), |status| {
            notices
                .impaired
                .extend(status.instance_id().map(str::to_owned));
        })
        .await
    }

    async fn statuses(
        &self,
        wanted: aws_sdk_ec2::types::Filter,
        mut each: impl FnMut(&aws_sdk_ec2::types::InstanceStatus),
    ) -> Result<(), CallError> {
        let action = "DescribeInstanceStatus";
        let client = self.client().await;
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let page = client
                .describe_instance_status()
                .filters(wanted.clone())
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
