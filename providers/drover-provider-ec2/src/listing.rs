//! Listings: one filtered and paged `DescribeInstances` for all Provider documents of an account and region.
//!
//! Who asks while another's call has not begun yet shares it. Nobody shares a call that began before they
//! asked: a listing says what was there after the question.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types::{Filter, Instance, InstanceLifecycleType, InstanceStateName, Reservation};
use drover_model::{
    ErrorClass, ExitReport, FleetName, Listed, Ownership, ProviderName, ProviderPhase, ProviderRef,
    Timestamp,
};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;

use crate::book::Owner;
use crate::budget::{Limit, Priority};
use crate::error::CallError;
use crate::notices::Notices;
use crate::region::{Cost, Region};
use crate::settings::AddressKind;
use crate::tags;

/// Instances of one page: the most that EC2 gives.
pub(crate) const PAGE: i32 = 1_000;

/// Most pages of a listing: a million instances.
const PAGES_MAX: usize = 1_000;

/// How long a listing waits for others that want the same: the agent asks for all its scopes at once.
const GATHER: Duration = Duration::from_millis(20);

/// An instance as EC2 describes it, as far as anybody here wants to know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) launch_index: i32,
    pub(crate) state: InstanceStateName,
    /// The code and the words of the last change of state.
    pub(crate) reason: (String, String),
    pub(crate) launched_at: Option<Timestamp>,
    pub(crate) private: Option<String>,
    pub(crate) public: Option<String>,
    pub(crate) ipv6: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) spot: bool,
}

type Flight = Shared<BoxFuture<'static, Result<Arc<Vec<Seen>>, CallError>>>;

/// The listings that have not begun yet, by fleet.
#[derive(Debug, Default)]
pub(crate) struct Listings(Mutex<BTreeMap<String, Flight>>);

/// Returns EC2's time as ours.
pub(crate) fn timestamp(at: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(at.secs()).ok()
}

impl Seen {
    /// Reads what EC2 describes. None: it has no id.
    pub(crate) fn of(instance: &Instance) -> Option<Self> {
        let id = instance.instance_id()?.to_owned();
        let own = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let tags = tags::read(instance.tags());
        let state = instance.state().and_then(|state| state.name());
        let reason = instance.state_reason();
        let part = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Some(Self {
            id,
            tags: tags
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            launch_index: instance.ami_launch_index().unwrap_or(0),
            state: state.cloned().unwrap_or(InstanceStateName::from("")),
            reason: (
                part(reason.and_then(|reason| reason.code())),
                part(reason.and_then(|reason| reason.message())),
            ),
            launched_at: instance.launch_time().and_then(timestamp),
            private: own(instance.private_ip_address()),
            public: own(instance.public_ip_address()),
            ipv6: own(instance.ipv6_address()),
            zone: own(instance.placement().and_then(|at| at.availability_zone())),
            spot: instance.instance_lifecycle() == Some(&InstanceLifecycleType::Spot),
        })
    }

    /// Returns a tag's value.
    pub(crate) fn tag(&self, key: &str) -> Option<&str> {
        self.tags.get(key).map(String::as_str)
    }

    /// Returns the owner that the tags name.
    pub(crate) fn ownership(&self) -> Option<Ownership> {
        let tags = self.tags.iter();
        let tags = tags.map(|(key, value)| (key.as_str(), value.as_str()));
        tags::owner(&tags.collect(), self.launch_index)
    }

    /// Returns the owner and the document that the tags name.
    pub(crate) fn owner(&self) -> Option<Owner> {
        Some(Owner {
            provider: ProviderName::parse(self.tag(tags::PROVIDER)?).ok()?,
            ownership: self.ownership()?,
            ended_itself: self.state == InstanceStateName::Terminated && self.ended_itself(),
        })
    }

    /// Returns where the instance is in its life. `ending`: its end was accepted.
    pub(crate) fn phase(&self, ending: bool) -> ProviderPhase {
        let dealt_with = ending || self.tag(tags::ENDED).is_some();
        match &self.state {
            InstanceStateName::Terminated if dealt_with || !self.ended_itself() => {
                ProviderPhase::Terminated
            }
            InstanceStateName::Terminated => ProviderPhase::Exited(self.exit()),
            // EC2's listings are behind its answers.
            _ if ending => ProviderPhase::Stopping,
            InstanceStateName::Pending => ProviderPhase::Pending,
            InstanceStateName::Running => ProviderPhase::Running,
            InstanceStateName::ShuttingDown | InstanceStateName::Stopping => {
                ProviderPhase::Stopping
            }
            InstanceStateName::Stopped => ProviderPhase::Exited(self.exit()),
            _ => ProviderPhase::Unknown,
        }
    }

    /// Whether nobody asked for its end: it shut itself down, was taken, or failed to start.
    fn ended_itself(&self) -> bool {
        let code = self.reason.0.as_str();
        !code.is_empty() && code != "Client.UserInitiatedShutdown"
    }

    fn exit(&self) -> ExitReport {
        let (code, message) = &self.reason;
        ExitReport {
            // A machine that shuts itself down in order is all of an exit status that EC2 knows.
            code: (code == "Client.InstanceInitiatedShutdown").then_some(0),
            signal: None,
            message: if message.is_empty() { code } else { message }.clone(),
        }
    }

    pub(crate) fn address(&self, kind: AddressKind) -> Option<String> {
        match kind {
            AddressKind::Private => self.private.clone(),
            AddressKind::Public => self.public.clone(),
            AddressKind::Ipv6 => self.ipv6.clone(),
        }
    }
}

impl Region {
    /// Returns every instance of a fleet in this account and region, as of after the call.
    pub(crate) async fn instances(
        self: &Arc<Self>,
        fleet: &FleetName,
    ) -> Result<Arc<Vec<Seen>>, CallError> {
        let flight = {
            let mut waiting = self
                .listings
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let flight = waiting.entry(fleet.to_string()).or_insert_with(|| {
                let this = Arc::clone(self);
                let fleet = fleet.clone();
                async move {
                    tokio::time::sleep(GATHER).await;
                    this.begin(&fleet).await
                }
                .boxed()
                .shared()
            });
            flight.clone()
        };
        flight.await
    }

    async fn begin(self: Arc<Self>, fleet: &FleetName) -> Result<Arc<Vec<Seen>>, CallError> {
        // From here on nobody may join.
        {
            let waiting = &self.listings.0;
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.remove(fleet.as_str());
        }
        let began = Instant::now();
        let filter = tag_filter(tags::FLEET, fleet.as_str());
        let seen = self.describe(vec![filter], Priority::Observe).await?;
        let owners = seen.iter();
        let owners = owners.filter_map(|seen| Some((seen.id.clone(), seen.owner()?)));
        self.book.replace(fleet, began, owners);
        Ok(Arc::new(seen))
    }

    /// Describes every instance that passes the filters, page by page.
    pub(crate) async fn describe(
        &self,
        filters: Vec<Filter>,
        priority: Priority,
    ) -> Result<Vec<Seen>, CallError> {
        self.describe_as(filters, priority, Seen::of).await
    }

    /// Returns the instances that pass the filters, page by page, as `read` makes of them.
    pub(crate) async fn describe_as<T>(
        &self,
        filters: Vec<Filter>,
        priority: Priority,
        read: fn(&Instance) -> Option<T>,
    ) -> Result<Vec<T>, CallError> {
        let action = "DescribeInstances";
        let cost = Cost {
            action,
            limit: Limit::Describe,
            priority,
        };
        let client = self.client().await;
        let mut seen = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = client
                .describe_instances()
                .set_filters(Some(filters.clone()))
                .max_results(PAGE)
                .set_next_token(next);
            let answer = self.call(cost, || page.clone().send()).await?;
            let owner = answer
                .reservations()
                .first()
                .and_then(Reservation::owner_id);
            self.purse.belongs_to(owner);
            let reservations = answer.reservations().iter();
            let instances = reservations.flat_map(Reservation::instances);
            seen.extend(instances.filter_map(read));
            match answer.next_token() {
                None | Some("") => return Ok(seen),
                Some(token) => next = Some(token.to_owned()),
            }
        }
        let message = format!("more than {PAGES_MAX} pages");
        Err(CallError::new(action, ErrorClass::Unknown, message))
    }
}

/// Returns a filter for a tag's value.
pub(crate) fn tag_filter(key: &str, value: &str) -> Filter {
    filter(&format!("tag:{key}"), &[value])
}

/// Returns a filter.
pub(crate) fn filter(name: &str, values: &[&str]) -> Filter {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Filter::builder()
        .name(name)
        .set_values(Some(values))
        .build()
}

/// Returns an instance as the contract lists it.
pub(crate) fn listed(
    seen: &Seen,
    kind: AddressKind,
    ending: bool,
    notices: &Notices,
) -> Option<Listed> {
    let mut phase = seen.phase(ending);
    if phase == ProviderPhase::Running && notices.impaired.contains(&seen.id) {
        phase = ProviderPhase::Unknown;
    }
    Some(Listed {
        provider_ref: ProviderRef::parse(&seen.id).ok()?,
        ownership: seen.ownership(),
        phase,
        address: seen.address(kind),
        zone: seen.zone.clone(),
        created_at: seen.launched_at,
        interruption: notices.interruptions.get(&seen.id).copied(),
    })
}
