//! Launches: one `RunInstances` for a batch, at the first offering that can be had.
//!
//! Every try of one batch has the same `ClientToken`, ours. So EC2 itself says whether a batch was made already,
//! by whichever offering: a try that differs from the one that worked is answered with
//! `IdempotentParameterMismatch`, and then what the token made is looked up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{ErrorClass, InstanceId, ProviderRef, counted};
use drover_provider::{ProviderError, ProvisionRequest, Provisioned, is_repeated};

use crate::book::Owner;
use crate::budget::{Limit, Priority};
use crate::cooling::{Offering, of_template};
use crate::error::CallError;
use crate::listing::{Seen, filter};
use crate::properties::{Properties, invalid};
use crate::region::{Cost, Region};
use crate::request::{Launch, Where};
use crate::tags;

const ACTION: &str = "RunInstances";

/// Most offerings that one call tries: each costs one of the two `RunInstances` a second that an account has.
const TRIES_MAX: usize = 8;

/// The limit of one type.
const LIMIT_OF_TYPE: &str = "InstanceLimitExceeded";

/// Limits that another type may not have reached: of virtual CPUs, on demand and as spot capacity, and of one type.
const LIMITS_OF_TYPES: [&str; 3] = [
    "VcpuLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    LIMIT_OF_TYPE,
];

/// The waits between looks for what a token has made: its listing may be behind by seconds.
const LOOKS: [Duration; 6] = [
    Duration::from_millis(0),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// What a launch asks for, and where.
#[derive(Debug)]
struct Choice {
    offering: Offering,
    /// The instance type. None: the launch template's.
    type_: Option<String>,
    at: Where,
}

/// Why a try made nothing, where another offering may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    /// It can never work there, whatever room there is.
    Support,
    /// The account may have no more of it.
    Limit,
    /// There is no room.
    Room,
}

/// How a try ended that made nothing.
struct Shortage {
    error: CallError,
    lack: Lack,
}

impl Shortage {
    /// Returns what an error lacks. None: no other offering would change anything.
    fn of(error: &CallError) -> Option<Lack> {
        if error.is("Unsupported") {
            Some(Lack::Support)
        } else if error.class == ErrorClass::Capacity {
            Some(Lack::Room)
        } else if LIMITS_OF_TYPES.iter().any(|code| error.is(code)) {
            Some(Lack::Limit)
        } else {
            None
        }
    }
}

impl Region {
    /// Makes the instances of a batch.
    pub(crate) async fn launch(
        self: &Arc<Self>,
        launch: &Launch<'_>,
    ) -> Result<Provisioned, ProviderError> {
        let choices = self.choices(launch).await?;
        let all = choices.len();
        let mut warm: Vec<&Choice> = choices
            .iter()
            .filter(|choice| self.cooling.until(&choice.offering).is_none())
            .collect();
        if warm.is_empty() {
            // Nobody knows better: the one that is warm first.
            warm.extend(
                choices
                    .iter()
                    .min_by_key(|choice| self.cooling.until(&choice.offering)),
            );
        }
        let mut tried = 0;
        let mut worst: Option<Shortage> = None;
        for choice in warm {
            // A limit that an earlier try has met is met by the type in every other place, too.
            let learned = tried > 0 && self.cooling.until(&choice.offering).is_some();
            if learned || tried == TRIES_MAX {
                continue;
            }
            tried += 1;
            match self.try_at(launch, choice).await? {
                Ok(provisioned) => return Ok(provisioned),
                Err(shortage) if worst.as_ref().is_none_or(|it| it.lack <= shortage.lack) => {
                    worst = Some(shortage);
                }
                Err(_) => {}
            }
        }
        let Some(Shortage { error, lack }) = worst else {
            return Err(invalid("nothing to launch"));
        };
        // An earlier call with this token may have worked at an offering that was left out now.
        if tried < all
            && let Some(made) = self.made_before(launch.request).await?
        {
            return Ok(made);
        }
        let no_room = choices
            .iter()
            .any(|choice| self.cooling.has_no_room(&choice.offering));
        let class = match lack {
            Lack::Support if tried == all => {
                return Err(ProviderError::new(
                    ErrorClass::InvalidSpec,
                    error.to_string(),
                ));
            }
            Lack::Limit if tried < TRIES_MAX && !no_room => ErrorClass::Quota,
            Lack::Support | Lack::Limit | Lack::Room => ErrorClass::Capacity,
        };
        let message = format!("{error} ({tried} of {} tried)", counted(all, "offering"));
        Err(ProviderError::new(class, message))
    }

    /// Returns what may be asked for, in order: each type in every place, then the next type.
    async fn choices(self: &Arc<Self>, launch: &Launch<'_>) -> Result<Vec<Choice>, ProviderError> {
        let Properties {
            types,
            launch_template,
            spot,
            ..
        } = launch.properties;
        let places = self.places_of(launch).await?;
        let mut asked: Vec<Option<&String>> = types.iter().map(Some).collect();
        if asked.is_empty() {
            asked.push(None);
        }
        let templates = launch_template.as_ref().map(of_template);
        let mut choices = Vec::new();
        for type_ in asked {
            for at in &places {
                choices.push(Choice {
                    type_: type_.cloned(),
                    offering: Offering {
                        type_: type_.or(templates.as_ref()).cloned().unwrap_or_default(),
                        place: at
                            .subnet
                            .clone()
                            .or_else(|| at.zone.clone())
                            .unwrap_or_default(),
                        spot: spot.is_some(),
                    },
                    at: at.clone(),
                });
            }
        }
        Ok(choices)
    }

    /// Returns where a batch may be made: the subnets of its zone, or the zone, or wherever.
    async fn places_of(self: &Arc<Self>, launch: &Launch<'_>) -> Result<Vec<Where>, ProviderError> {
        if let Some(place) = &launch.place {
            return Ok(vec![place.at.clone()]);
        }
        let subnets = &launch.properties.subnets;
        let zone = launch.request.zone.as_ref();
        match zone {
            None if subnets.is_empty() => Ok(vec![Where::default()]),
            Some(zone) if subnets.is_empty() => Ok(vec![Where {
                subnet: None,
                zone: Some(zone.clone()),
            }]),
            None => {
                // Batches begin at different subnets, so that they spread; a repeated one at the same.
                let start = spread(launch.request.token.as_str(), subnets.len());
                let turned = subnets[start..].iter().chain(&subnets[..start]);
                let of = |subnet: &String| Where {
                    subnet: Some(subnet.clone()),
                    zone: None,
                };
                Ok(turned.map(of).collect())
            }
            Some(zone) => {
                let zones = self.zones_of(subnets).await?;
                let there = zones.into_iter().filter(|(_, other)| other == zone);
                let places: Vec<Where> = there
                    .map(|(subnet, zone)| Where {
                        subnet: Some(subnet),
                        zone: Some(zone),
                    })
                    .collect();
                if places.is_empty() {
                    return Err(invalid(format!("none of `subnets` is in zone {zone}")));
                }
                Ok(places)
            }
        }
    }

    /// Tries one offering. The inner error: another one may do.
    async fn try_at(
        self: &Arc<Self>,
        launch: &Launch<'_>,
        choice: &Choice,
    ) -> Result<Result<Provisioned, Shortage>, ProviderError> {
        let request = launch.request;
        let count = request.slots.len();
        let resources = Limit::RunResources;
        let priority = Priority::Make(request.urgency);
        let budget = self.purse.budget();
        budget.take(ACTION, resources, count, priority).await?;
        let cost = Cost {
            action: ACTION,
            limit: Limit::Run,
            priority,
        };
        let call = launch.builder(&self.client().await, choice.type_.as_deref(), &choice.at);
        match self.call(cost, || call.clone().send()).await {
            Ok(answer) => {
                self.purse.belongs_to(answer.owner_id());
                let seen: Vec<Seen> = answer.instances().iter().filter_map(Seen::of).collect();
                // Who compares less than we do answers with what another call has made.
                if seen.iter().any(|seen| is_other(seen, request)) {
                    return Err(reused(request));
                }
                let provisioned = self.take_in(request, launch, &seen);
                if provisioned.shortfall.is_some() {
                    self.cooling.cool(&choice.offering);
                }
                Ok(Ok(provisioned))
            }
            Err(error) if error.is("IdempotentParameterMismatch") => {
                self.resolve(launch, error).await.map(Ok)
            }
            Err(error) if error.is("IdempotentInstanceTerminated") => {
                match self.made_before(request).await? {
                    Some(made) => Ok(Ok(made)),
                    None => Err(error.into()),
                }
            }
            Err(error) => {
                let Some(lack) = Shortage::of(&error) else {
                    return Err(error.into());
                };
                match lack {
                    Lack::Support | Lack::Room => self.cooling.cool(&choice.offering),
                    Lack::Limit if error.is(LIMIT_OF_TYPE) => {
                        self.cooling.cool_type(&choice.offering);
                    }
                    Lack::Limit => self.cooling.cool_family(&choice.offering),
                }
                Ok(Err(Shortage { error, lack }))
            }
        }
    }

    /// Notes what was made, by launch index.
    fn take_in(
        &self,
        request: &ProvisionRequest,
        launch: &Launch<'_>,
        seen: &[Seen],
    ) -> Provisioned {
        let mut made: BTreeMap<InstanceId, ProviderRef> = BTreeMap::new();
        for seen in seen {
            let slot = usize::try_from(seen.launch_index)
                .ok()
                .and_then(|index| request.slots.get(index));
            let (Some(slot), Ok(handle)) = (slot, ProviderRef::parse(&seen.id)) else {
                continue;
            };
            let owner = Owner {
                provider: launch.provider.clone(),
                ownership: launch.ownership(slot),
                ended_itself: false,
            };
            self.book.note(&seen.id, owner);
            made.insert(slot.instance.clone(), handle);
        }
        let wanted = request.slots.len();
        let shortfall = (made.len() < wanted).then(|| {
            let message = format!(
                "{ACTION}: made {} of {}",
                made.len(),
                counted(wanted, "instance")
            );
            ProviderError::new(ErrorClass::Partial, message)
        });
        Provisioned { made, shortfall }
    }

    /// Finds out what a token stands for that EC2 has seen with other parameters: this very batch, made at
    /// another offering, or by another release of this program; or another batch.
    async fn resolve(
        self: &Arc<Self>,
        launch: &Launch<'_>,
        error: CallError,
    ) -> Result<Provisioned, ProviderError> {
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            if let Some(made) = self.made_before(launch.request).await? {
                return Ok(made);
            }
        }
        // Made and not listed yet, or refused and remembered: the next call with the token will tell.
        let message = format!("{error}; nothing with the token is listed yet");
        Err(ProviderError::new(ErrorClass::Unknown, message))
    }

    /// Returns what a token has made. None: nothing is listed.
    ///
    /// # Errors
    ///
    /// `InvalidSpec`: it made something else.
    pub(crate) async fn made_before(
        self: &Arc<Self>,
        request: &ProvisionRequest,
    ) -> Result<Option<Provisioned>, ProviderError> {
        let wanted = filter("client-token", &[request.token.as_str()]);
        let seen = self
            .describe(vec![wanted], Priority::Make(request.urgency))
            .await?;
        if seen.is_empty() {
            return Ok(None);
        }
        let mut made = BTreeMap::new();
        for seen in &seen {
            let owned = seen.ownership().filter(|owned| {
                owned.token == request.token
                    && owned.fleet == request.fleet
                    && owned.group == request.group
                    && owned.digests.replace == request.digests.replace
                    && !is_other(seen, request)
                    && request
                        .slots
                        .iter()
                        .any(|slot| slot.instance == owned.instance)
            });
            let (Some(owned), Ok(handle)) = (owned, ProviderRef::parse(&seen.id)) else {
                return Err(reused(request));
            };
            made.insert(owned.instance, handle);
        }
        let wanted = request.slots.len();
        let shortfall = (made.len() < wanted).then(|| {
            let message = format!(
                "{ACTION}: made {} of {}",
                made.len(),
                counted(wanted, "instance")
            );
            ProviderError::new(ErrorClass::Partial, message)
        });
        Ok(Some(Provisioned { made, shortfall }))
    }
}

/// Returns whether an instance says that it was asked for by another call. What an older release has made says nothing.
fn is_other(seen: &Seen, request: &ProvisionRequest) -> bool {
    let asked = seen.tag(tags::ASKED);
    asked.is_some_and(|asked| !is_repeated(request, asked))
}

fn reused(request: &ProvisionRequest) -> ProviderError {
    invalid(format!(
        "token {} was used with other parameters",
        request.token
    ))
}

/// Returns a number below `count` that depends on the text alone.
fn spread(text: &str, count: usize) -> usize {
    let sum = text.bytes().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(byte))
    });
    sum % count.max(1)
}
