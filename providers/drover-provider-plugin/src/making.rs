//! One call that makes an instance, from the ledger to the ledger.

use std::collections::BTreeMap;

use drover_model::{ErrorClass, InstanceId, Ownership, ProviderRef, Timestamp};
use drover_provider::{ProviderError, ProvisionRequest, Provisioned, fingerprint};

use crate::call::{CallError, Fault};
use crate::infrakit::{Spec, made};
use crate::instance::{AsListed, Inner, Made, reused};
use crate::ledger::{Entry, State};
use crate::{spec, tags};

/// What is to be made, and for whom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Making {
    pub(crate) owner: Ownership,
    /// The fingerprint of what is asked for: the same token with another one is another call.
    pub(crate) asked: String,
    spec: Spec,
}

/// What is known of a call before it is made once more.
enum Before {
    /// Nothing was made, or it was never made at all.
    Nothing,
    /// The question is answered.
    Answered(Made),
}

impl Making {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// What this protocol cannot carry is `InvalidSpec`.
    pub(crate) fn of(request: &ProvisionRequest, now: Timestamp) -> Result<Self, ProviderError> {
        let slot = match request.slots.as_slice() {
            [slot] => slot,
            slots => {
                let message = format!("a batch has one slot, not {}", slots.len());
                return Err(spec::invalid(message));
            }
        };
        let owner = Ownership {
            fleet: request.fleet.clone(),
            group: request.group.clone(),
            instance: slot.instance.clone(),
            digests: request.digests.clone(),
            token: request.token.clone(),
            epoch: request.epoch,
            seat: slot.seat.as_ref().map(|seat| seat.id.clone()),
        };
        let spec = spec::of(request, slot, &owner, now)?;
        let asked = fingerprint(request);
        Ok(Self { owner, asked, spec })
    }

    /// Makes the instance, unless that was done before.
    pub(crate) async fn carry_out(&self, inner: &Inner) -> Made {
        match self.before(inner).await? {
            Before::Answered(made) => return made,
            Before::Nothing => {}
        }
        inner.keeps_tags().await?;
        self.place_is_free(inner).await?;
        self.validate(inner).await?;
        self.note(inner, State::Sent, None, None).await?;
        let method = "Instance.Provision";
        let params = inner.dialect().provision(&self.spec);
        let called = inner.caller.call(method, &params, inner.usage.making).await;
        let answered = called
            .and_then(|answer| made(&answer).map_err(|why| inner.caller.garbled(method, &why)));
        match answered {
            Ok(Some(id)) => self.is_made(inner, id).await,
            Ok(None) => {
                self.note(inner, State::Acked, None, None).await?;
                self.settle(inner).await
            }
            Err(error) => self.failed(inner, error).await,
        }
    }

    /// Finds out what is known of the token, without making anything.
    async fn before(&self, inner: &Inner) -> Result<Before, ProviderError> {
        let Some(entry) = inner.ledger.get(&self.owner.token) else {
            // An agent that lost its data folder may have made it all the same.
            return self.found_alone(inner).await;
        };
        let is_other = entry.asked.as_ref().is_some_and(|it| *it != self.asked);
        if is_other || entry.owner != spec::owner_text(&self.owner) {
            return Err(reused(&self.owner.token));
        }
        Ok(match entry.state {
            State::Made | State::Ended => Before::Answered(self.answer(&entry)),
            State::Failed => Before::Nothing,
            State::Sent if inner.is_past(&entry) => match self.find(inner).await? {
                Some(id) => Before::Answered(self.is_made(inner, id).await),
                // Every listing would have it by now: the call came to nothing, and may be repeated.
                None => Before::Nothing,
            },
            State::Sent | State::Acked | State::Refused => {
                Before::Answered(self.repeated(inner, entry).await)
            }
        })
    }

    /// Finds out what is known of a token of which nothing was written down. What else the call asked for is not known, and
    /// not compared.
    async fn found_alone(&self, inner: &Inner) -> Result<Before, ProviderError> {
        let found = inner.find(&self.owner.token).await;
        let Some(found) = found.map_err(|error| unknown(error.to_string()))? else {
            return Ok(Before::Nothing);
        };
        let owner = inner.owner_of(&found);
        if owner.is_some_and(|owner| owner != self.owner) {
            return Err(reused(&self.owner.token));
        }
        Ok(Before::Answered(self.is_made(inner, found.id).await))
    }

    /// Makes sure that nobody holds the place of the member that is to be made.
    async fn place_is_free(&self, inner: &Inner) -> Result<(), ProviderError> {
        let Some(seat) = &self.owner.seat else {
            return Ok(());
        };
        let fleet = (tags::FLEET.to_owned(), self.owner.fleet.to_string());
        let found = inner.describe(&BTreeMap::from([fleet])).await;
        let found = found.map_err(|error| unknown(error.to_string()))?;
        let holder = found.into_iter().find(|found| {
            let owner = inner.owner_of(found);
            owner.is_some_and(|owner| {
                owner.group == self.owner.group && owner.seat.as_ref() == Some(seat)
            })
        });
        match holder {
            None => Ok(()),
            Some(holder) => {
                let message = format!(
                    "the place of member {} is taken by {}",
                    seat.member, holder.id
                );
                Err(ProviderError::new(ErrorClass::Capacity, message))
            }
        }
    }

    /// Asks whether such an instance can be made at all. Nothing was written down yet, so the token is
    /// not spent.
    async fn validate(&self, inner: &Inner) -> Result<(), ProviderError> {
        let method = "Instance.Validate";
        let params = inner.dialect().validate(&self.spec.properties);
        let called = inner
            .caller
            .call(method, &params, inner.usage.timeout)
            .await;
        let agreed = called.and_then(|answer| inner.agreed(method, &answer));
        agreed.map_err(|error| match &error.fault {
            Fault::Refused { class, .. } => {
                let class = class.unwrap_or(ErrorClass::InvalidSpec);
                ProviderError::new(class, error.to_string())
            }
            Fault::Absent(_) | Fault::NotSent(_) | Fault::Lost(_) => error.into_provider_error(),
        })
    }

    async fn failed(&self, inner: &Inner, error: CallError) -> Made {
        let message = error.to_string();
        match error.fault {
            Fault::Absent(_) | Fault::NotSent(_) => {
                self.note(inner, State::Failed, None, Some(message.clone()))
                    .await?;
                Err(ProviderError::new(ErrorClass::Unknown, message))
            }
            Fault::Lost(_) => {
                self.note(inner, State::Sent, None, Some(message.clone()))
                    .await?;
                self.settle(inner).await
            }
            // A class is a promise that nothing was made.
            Fault::Refused {
                class: Some(class), ..
            } if class != ErrorClass::Unknown => {
                self.note(inner, State::Failed, None, Some(message.clone()))
                    .await?;
                Err(ProviderError::new(class, message))
            }
            Fault::Refused { .. } => {
                self.note(inner, State::Refused, None, Some(message.clone()))
                    .await?;
                self.settle(inner).await
            }
        }
    }

    /// Answers a repeated call while nobody knows what came of the first one: from the latest listing where that is later.
    /// As long as the plugin may be behind, one listing for each repeated call would say no more.
    async fn repeated(&self, inner: &Inner, entry: Entry) -> Made {
        if inner.is_past(&entry) {
            return self.settle(inner).await;
        }
        match inner.made_as_listed(&entry) {
            AsListed::Made(id) => self.is_made(inner, id).await,
            AsListed::Nothing => self.undecided(inner, entry).await,
            AsListed::Unknown => self.settle(inner).await,
        }
    }

    /// Lets the listing decide an open question.
    async fn settle(&self, inner: &Inner) -> Made {
        let entry = inner.ledger.get(&self.owner.token);
        let found = self.find(inner).await?;
        match (found, entry) {
            (Some(id), _) => self.is_made(inner, id).await,
            (None, Some(entry)) => self.undecided(inner, entry).await,
            (None, None) => Err(unknown("the ledger was emptied meanwhile".to_owned())),
        }
    }

    /// The listing does not have it: not yet, or it never will.
    async fn undecided(&self, inner: &Inner, entry: Entry) -> Made {
        let plugin = &inner.caller.name;
        let said = entry.message.clone().unwrap_or_else(|| {
            let what = match entry.state {
                State::Acked => "made without a handle",
                State::Sent | State::Refused | State::Made | State::Ended | State::Failed => {
                    "no answer to an earlier call"
                }
            };
            format!("plugin {plugin}: Instance.Provision: {what}")
        });
        if !inner.is_past(&entry) || entry.state == State::Sent {
            return Err(unknown(format!(
                "{said}; the plugin's listings decide whether it was made"
            )));
        }
        self.note(inner, State::Failed, None, Some(said.clone()))
            .await?;
        // Less was made than was asked for, and nobody knows why but who reads the plugin's words.
        Err(ProviderError::new(ErrorClass::Partial, said))
    }

    async fn find(&self, inner: &Inner) -> Result<Option<String>, ProviderError> {
        let found = inner.find(&self.owner.token).await;
        let found = found.map_err(|error| unknown(error.to_string()))?;
        Ok(found.map(|found| found.id))
    }

    async fn note(
        &self,
        inner: &Inner,
        state: State,
        id: Option<String>,
        message: Option<String>,
    ) -> Result<(), ProviderError> {
        let asked = Some(self.asked.as_str());
        inner.note(&self.owner, asked, state, id, message).await
    }

    async fn is_made(&self, inner: &Inner, id: String) -> Made {
        self.note(inner, State::Made, Some(id.clone()), None)
            .await?;
        self.handle(&id)
    }

    fn answer(&self, entry: &Entry) -> Made {
        match &entry.id {
            Some(id) => self.handle(id),
            None => Err(unknown("the ledger has no handle for the token".to_owned())),
        }
    }

    fn handle(&self, id: &str) -> Made {
        let handle = ProviderRef::parse(id).map_err(|error| unknown(error.to_string()))?;
        let made: BTreeMap<InstanceId, ProviderRef> =
            BTreeMap::from([(self.owner.instance.clone(), handle)]);
        Ok(Provisioned {
            made,
            shortfall: None,
        })
    }
}

fn unknown(message: String) -> ProviderError {
    ProviderError::new(ErrorClass::Unknown, message)
}
