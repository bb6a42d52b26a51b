//! Launches: one `RunInstances` for a batch, at the first offering that can be had.
//!
//! Every try of one batch has the same `ClientToken`, ours, and goes to the same zone. EC2 counts the token of a launch
//! that names a zone or a subnet in that zone alone: in another one the same token makes everything again. So a batch
//! has one zone, which follows from the batch and is the same whenever it is asked for, and EC2 itself says whether
//! it was made already, by whichever offering: a try that differs from the one that worked is answered with
//! `IdempotentParameterMismatch`, and then what the token made is looked up.

use std::collections::{BTreeMap, BTreeSet};
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

/// So many instances one after the other, each made alone, go round the zones; where the next ones begin is drawn. Who makes
/// batches of one even size would meet one zone of two again and again otherwise.
const ROUND: u64 = 8;

/// The limit of one type.
const LIMIT_OF_TYPE: &str = "InstanceLimitExceeded";

/// Limits that another type may not have reached: of virtual CPUs, on demand and as spot capacity, and of one type.
const LIMITS_OF_TYPES: [&str; 3] = [
    "VcpuLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    LIMIT_OF_TYPE,
];

/// There is no such network interface.
const UNKNOWN_INTERFACE: &str = "InvalidNetworkInterfaceID.NotFound";

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

/// Where a batch may be made.
#[derive(Debug)]
struct Places {
    here: Vec<Where>,
    /// The subnets in the zones of other batches.
    elsewhere: Vec<String>,
}

impl Places {
    fn only(here: Vec<Where>) -> Self {
        Self {
            here,
            elsewhere: Vec::new(),
        }
    }
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
        if !self.tokens.admit(launch.request) {
            return Err(reused(launch.request));
        }
        let Places { here, elsewhere } = self.places_of(launch).await?;
        let choices = choices(launch, &here);
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
            Lack::Support if self.is_nowhere(launch, &choices, elsewhere) => {
                return Err(ProviderError::new(
                    ErrorClass::InvalidSpec,
                    error.to_string(),
                ));
            }
            Lack::Limit if tried < TRIES_MAX && !no_room => ErrorClass::Quota,
            // Or other batches may have it in their zones.
            Lack::Support | Lack::Limit | Lack::Room => ErrorClass::Capacity,
        };
        let message = format!("{error} ({tried} of {} tried)", counted(all, "offering"));
        Err(ProviderError::new(class, message))
    }

    /// Returns whether nothing that could be asked for is to be had, be it here or in the zones of other batches.
    fn is_nowhere(&self, launch: &Launch<'_>, own: &[Choice], elsewhere: Vec<String>) -> bool {
        let there = elsewhere.into_iter().map(|subnet| Where {
            subnet: Some(subnet),
            zone: None,
        });
        let there: Vec<Where> = there.collect();
        let others = choices(launch, &there);
        let mut every = own.iter().chain(&others);
        every.all(|choice| self.cooling.is_unsupported(&choice.offering))
    }

    /// Returns where a batch may be made, all of it in one zone: the subnets there, or the zone, or wherever.
    async fn places_of(self: &Arc<Self>, launch: &Launch<'_>) -> Result<Places, ProviderError> {
        if let Some(place) = &launch.place {
            return Ok(Places::only(vec![place.at.clone()]));
        }
        let request = launch.request;
        let subnets = &launch.properties.subnets;
        let named = match (subnets.as_slice(), &request.zone) {
            // Nothing names a zone, and the token counts in the whole region.
            ([], None) => return Ok(Places::only(vec![Where::default()])),
            ([], Some(zone)) => {
                return Ok(Places::only(vec![Where {
                    subnet: None,
                    zone: Some(zone.clone()),
                }]));
            }
            ([only], None) => {
                return Ok(Places::only(vec![Where {
                    subnet: Some(only.clone()),
                    zone: None,
                }]));
            }
            (_, zone) => zone.as_ref(),
        };
        let zones = self.zones_of(subnets).await?;
        // Whatever the order in which they are written.
        let all: BTreeSet<&String> = zones.iter().map(|(_, zone)| zone).collect();
        let own = match named {
            Some(zone) => zone,
            None => *all
                .iter()
                .nth(turn(request, all.len()))
                .ok_or_else(|| invalid("`subnets`: none is in a zone"))?,
        };
        let (mut here, others): (Vec<_>, Vec<_>) = zones.iter().partition(|(_, zone)| zone == own);
        if here.is_empty() {
            return Err(invalid(format!("none of `subnets` is in zone {own}")));
        }
        let mut elsewhere = Vec::new();
        if named.is_none() {
            elsewhere.extend(others.into_iter().map(|(subnet, _)| subnet.clone()));
            // Batches begin at different subnets, so that they spread; a repeated one at the same.
            let start = spread(request.token.as_str(), here.len());
            here.rotate_left(start);
        }
        let of = |(subnet, zone): &(String, String)| Where {
            subnet: Some(subnet.clone()),
            zone: Some(zone.clone()),
        };
        Ok(Places {
            here: here.into_iter().map(of).collect(),
            elsewhere,
        })
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
        let mut answered = self.call(cost, || call.clone().send()).await;
        for pause in &LOOKS[1..] {
            if !answered
                .as_ref()
                .is_err_and(|error| awaits_place(launch, error))
            {
                break;
            }
            tokio::time::sleep(*pause).await;
            answered = self.call(cost, || call.clone().send()).await;
        }
        match answered {
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
            Err(error) if awaits_place(launch, &error) => {
                let message = format!("{error}; it was made or listed a moment ago");
                Err(ProviderError::new(ErrorClass::Throttled, message))
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
                    Lack::Support => self.cooling.lacks_support(&choice.offering),
                    Lack::Room => self.cooling.cool(&choice.offering),
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

/// Returns what may be asked for, in order: each type in every place, then the next type.
fn choices(launch: &Launch<'_>, places: &[Where]) -> Vec<Choice> {
    let Properties {
        types,
        launch_template,
        spot,
        ..
    } = launch.properties;
    let mut asked: Vec<Option<&String>> = types.iter().map(Some).collect();
    if asked.is_empty() {
        asked.push(None);
    }
    let templates = launch_template.as_ref().map(of_template);
    let mut choices = Vec::new();
    for type_ in asked {
        for at in places {
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
    choices
}

/// Returns whether EC2 does not know the network interface of a member yet, which was made or listed by this very call: not
/// everything at Amazon knows everything at once.
fn awaits_place(launch: &Launch<'_>, error: &CallError) -> bool {
    launch.place.is_some() && error.is(UNKNOWN_INTERFACE)
}

/// Returns which of `count` zones a batch goes to. It follows from the number of the first instance, which no other
/// batch has: so it is the same for every call with one token. Numbers that follow each other go round, so that who had
/// no room asks elsewhere next.
fn turn(request: &ProvisionRequest, count: usize) -> usize {
    let number = request
        .slots
        .first()
        .map_or(0, |slot| slot.instance.number());
    let count = count.max(1);
    let step = usize::try_from(number % count as u64).unwrap_or(0);
    (spread(&(number / ROUND).to_string(), count) + step) % count
}

/// Returns a number below `count` that depends on the text alone.
fn spread(text: &str, count: usize) -> usize {
    let sum = text.bytes().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(byte))
    });
    sum % count.max(1)
}
