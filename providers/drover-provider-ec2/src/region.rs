//! One profile in a region: the clients, their budget, and what every Provider document for it shares.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region as RegionName};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use drover_model::ErrorClass;
use drover_provider::Urgency;

use crate::book::Book;
use crate::budget::{Limit, Priority};
use crate::clients::{Clients, Current};
use crate::cooling::Cooling;
use crate::ending::Endings;
use crate::error::CallError;
use crate::listing::Listings;
use crate::notices::{Statuses, Told};
use crate::purse::{Purse, Purses};
use crate::reached::Reached;
use crate::settings::Account;
use crate::tokens::Tokens;

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long one try of a call may take: a launch of a hundred takes some seconds.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(20);

/// The waits between the tries of one call, three in all: as many as the SDK's own default.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// How long after its beginning a call is tried again: with [`ATTEMPT_LIMIT`] it ends within 45 s, or 50 s where it waited
/// for the budget, and so before the minute that agents wait for a listing, which would leave its own words unheard.
const RETRY_LIMIT: Duration = Duration::from_secs(25);

/// How the program reaches EC2.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Where EC2 is. None: as the environment (`AWS_ENDPOINT_URL`) and the region say.
    pub endpoint: Option<String>,
    /// Where EC2 Auto Scaling is. None: where [`endpoint`](Self::endpoint) says, as emulators have it.
    pub scaling_endpoint: Option<String>,
    /// Percent of the account's API limits that are ours, 1 to 100.
    pub limit_share: u8,
    /// Whether properties may let instances answer IMDSv1.
    pub allow_imdsv1: bool,
    /// Credentials. None: as the SDK finds them.
    pub credentials: Option<SharedCredentialsProvider>,
}

/// One profile in a region. Two profiles may lead to one account: then they share its limits, and nothing else.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) account: Account,
    reach: Reach,
    clients: Current,
    /// What calls are counted against: shared with whatever profile leads to the same account.
    pub(crate) purse: Purse,
    pub(crate) cooling: Cooling,
    pub(crate) book: Book,
    pub(crate) listings: Listings,
    pub(crate) endings: Endings,
    pub(crate) statuses: Statuses,
    pub(crate) told: Told,
    pub(crate) tokens: Tokens,
    /// Held while places are made.
    pub(crate) making_places: tokio::sync::Mutex<()>,
    zones: Mutex<BTreeMap<String, String>>,
}

/// What a call takes from the budget.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) action: &'static str,
    pub(crate) limit: Limit,
    pub(crate) priority: Priority,
}

impl Region {
    pub(crate) fn new(account: Account, reach: Reach, purses: &Arc<Purses>) -> Self {
        let purse = Purse::new(&account.region, reach.limit_share, Arc::clone(purses));
        Self {
            account,
            purse,
            reach,
            clients: Current::new(|name| std::env::var_os(name)),
            cooling: Cooling::default(),
            book: Book::default(),
            listings: Listings::default(),
            endings: Endings::default(),
            statuses: Statuses::default(),
            told: Told::default(),
            tokens: Tokens::default(),
            making_places: tokio::sync::Mutex::default(),
            zones: Mutex::default(),
        }
    }

    /// Returns the client, made at the first call: reading configuration takes files and perhaps the network. Asked for
    /// each call, as its credentials may be others by then.
    pub(crate) async fn client(&self) -> Client {
        self.clients.get(|| self.connect()).await.ec2
    }

    /// Returns the client of EC2 Auto Scaling.
    pub(crate) async fn scaling(&self) -> aws_sdk_autoscaling::Client {
        self.clients.get(|| self.connect()).await.scaling
    }

    async fn connect(&self) -> Clients {
        use aws_smithy_http_client::tls;
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(
                tls::rustls_provider::CryptoMode::Ring,
            ))
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_LIMIT)
            .operation_attempt_timeout(ATTEMPT_LIMIT)
            .operation_timeout(ATTEMPT_LIMIT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .region(RegionName::new(self.account.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(profile) = &self.account.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(credentials) = &self.reach.credentials {
            loader = loader.credentials_provider(credentials.clone());
        }
        if let Some(endpoint) = &self.reach.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        let mut scaling = aws_sdk_autoscaling::config::Builder::from(&config);
        if let Some(endpoint) = &self.reach.scaling_endpoint {
            scaling = scaling.endpoint_url(endpoint);
        }
        let reached = [Reached::default(), Reached::default()];
        let ec2 = aws_sdk_ec2::config::Builder::from(&config).interceptor(reached[0].clone());
        let scaling = scaling.interceptor(reached[1].clone());
        Clients {
            ec2: Client::from_conf(ec2.build()),
            scaling: aws_sdk_autoscaling::Client::from_conf(scaling.build()),
            reached,
        }
    }

    /// Returns whether properties may let instances answer IMDSv1.
    pub(crate) fn allows_imdsv1(&self) -> bool {
        self.reach.allow_imdsv1
    }

    /// Makes a call when the budget allows it, and again where that may help. Each try is the same request and
    /// takes from the budget: the SDK's own retries would not.
    ///
    /// # Errors
    ///
    /// Of the last try. When nobody knows what became of an earlier one, what turned a later one away at the door
    /// says nothing about it: then it is `Unknown`.
    pub(crate) async fn call<T, E, F>(
        &self,
        cost: Cost,
        call: impl Fn() -> F,
    ) -> Result<T, CallError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let Cost {
            action,
            limit,
            priority,
        } = cost;
        let mut may_have_worked = false;
        let mut pauses = PAUSES.iter();
        let begun = tokio::time::Instant::now();
        let mut tries = 0;
        loop {
            let budget = self.purse.budget();
            let taken = budget.take(action, limit, 1, priority).await;
            let answered = match taken {
                // Large: the SDK puts its whole pipeline into it.
                Ok(()) => Box::pin(call()).await,
                Err(error) => return Err(unknown_if(may_have_worked, error)),
            };
            tries += 1;
            let error = match answered {
                Ok(answer) => return Ok(answer),
                Err(error) if is_unanswered(&error) => {
                    let error = CallError::of(action, &error);
                    Box::pin(self.without_answer(limit, tries, error)).await
                }
                Err(error) => CallError::of(action, &error),
            };
            if error.class == ErrorClass::Auth {
                self.clients.refused().await;
            }
            let again = match error.class {
                // Some moments seldom end it, and it is no matter of how fast calls come.
                ErrorClass::Throttled if error.is_busy() => false,
                ErrorClass::Throttled => {
                    budget.empty(limit);
                    true
                }
                ErrorClass::Unknown => {
                    may_have_worked = true;
                    true
                }
                ErrorClass::Capacity
                | ErrorClass::Quota
                | ErrorClass::InvalidSpec
                | ErrorClass::Auth
                | ErrorClass::Partial
                | ErrorClass::NotFound => false,
            };
            let in_time = begun.elapsed() < RETRY_LIMIT;
            match pauses.next().filter(|_| again && in_time) {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(unknown_if(may_have_worked, error)),
            }
        }
    }

    /// Adds where a call went that nobody answered, and how long it was tried. Without credentials nothing went anywhere.
    async fn without_answer(&self, limit: Limit, tries: usize, error: CallError) -> CallError {
        if error.class != ErrorClass::Unknown {
            return error;
        }
        let [ec2, scaling] = self.clients.get(|| self.connect()).await.reached;
        let reached = match limit {
            Limit::Scaling => scaling,
            Limit::Describe
            | Limit::Run
            | Limit::RunResources
            | Limit::Terminate
            | Limit::TerminateResources
            | Limit::Tags
            | Limit::Create
            | Limit::Mutating => ec2,
        };
        let region = &self.account.region;
        let at = match reached.address() {
            Some(address) => format!("{address}, for the region {region},"),
            None => format!("the region {region}"),
        };
        let tried = match tries {
            1 => "one try".to_owned(),
            tries => format!("{tries} tries"),
        };
        let (connect, attempt) = (CONNECT_LIMIT.as_secs(), ATTEMPT_LIMIT.as_secs());
        let message = format!(
            "no answer from {at} in {tried} of {attempt} s at most ({connect} s to connect): {}",
            error.message
        );
        CallError { message, ..error }
    }

    fn lock_zones(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the zone of each subnet, in the order that is asked for. A subnet never moves, so each is
    /// asked about once.
    pub(crate) async fn zones_of(
        self: &Arc<Self>,
        subnets: &[String],
    ) -> Result<Vec<(String, String)>, CallError> {
        let missing: Vec<String> = {
            let known = self.lock_zones();
            let unknown = subnets.iter().filter(|subnet| !known.contains_key(*subnet));
            unknown.cloned().collect()
        };
        let action = "DescribeSubnets";
        if !missing.is_empty() {
            let cost = Cost {
                action,
                limit: Limit::Describe,
                // Asked once for each subnet.
                priority: Priority::Make(Urgency::Heal),
            };
            let request = self.client().await.describe_subnets();
            let request = request.set_subnet_ids(Some(missing));
            let answer = self.call(cost, || request.clone().send()).await?;
            let mut known = self.lock_zones();
            for subnet in answer.subnets() {
                if let (Some(id), Some(zone)) = (subnet.subnet_id(), subnet.availability_zone()) {
                    known.insert(id.to_owned(), zone.to_owned());
                }
            }
        }
        let known = self.lock_zones();
        let zones = subnets.iter().map(|subnet| {
            let zone = known.get(subnet).cloned();
            let zone = zone.ok_or_else(|| {
                let message = format!("EC2 does not say which zone {subnet} is in");
                CallError::new(action, ErrorClass::InvalidSpec, message)
            })?;
            Ok((subnet.clone(), zone))
        });
        zones.collect()
    }
}

/// Returns whether nothing came back that is an answer.
fn is_unanswered<E>(error: &SdkError<E>) -> bool {
    matches!(
        error,
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_)
    )
}

/// Makes an error of one that says nothing about earlier tries.
fn unknown_if(may_have_worked: bool, error: CallError) -> CallError {
    let at_the_door = matches!(error.class, ErrorClass::Throttled | ErrorClass::Auth);
    if may_have_worked && at_the_door {
        return CallError {
            class: ErrorClass::Unknown,
            ..error
        };
    }
    error
}

#[cfg(test)]
mod tests;
