//! Taking over an instance that somebody else made: our tags go on, and nothing else changes.

use aws_sdk_ec2::types::InstanceStateName;
use drover_model::{ErrorClass, Ownership};
use drover_provider::{AdoptRequest, ProviderError};

use crate::book::Owner;
use crate::budget::{Limit, Priority};
use crate::listing::{Seen, filter};
use crate::properties::invalid;
use crate::provider::{Ec2Provider, LOOKS, not_found};
use crate::region::Cost;
use crate::strangers::is_owned;
use crate::tags;

/// Whose an instance is, seen from who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Nobodys,
    Ours,
    Anothers,
}

impl Ec2Provider {
    /// Puts an owner's tags on an instance, and looks whether they are the ones that stayed: two agents may try at
    /// once, and EC2 has no condition for tags.
    pub(crate) async fn take_over(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        let id = request.provider_ref.as_str();
        if request.seat.is_some() {
            return Err(invalid(format!(
                "instance {id}: a member of a quorum group has a network interface of drover's own, which outlives it; one that others made has none"
            )));
        }
        let ends = |seen: &Seen| {
            matches!(
                seen.state,
                InstanceStateName::Terminated | InstanceStateName::ShuttingDown
            ) || self.region.book.is_ending(id)
        };
        let seen = self.look(id, Priority::Rest).await?;
        let Some(seen) = seen.filter(|seen| !ends(seen)) else {
            return Err(not_found(format!("instance {id} is gone, or ends")));
        };
        let wanted = self.owner_after(request);
        match standing(&seen, &wanted) {
            Standing::Ours => return Ok(()),
            Standing::Anothers => {
                return Err(invalid(format!(
                    "instance {id} carries tags of an owner already"
                )));
            }
            Standing::Nobodys => {}
        }
        if let Some(claim) = self.region.claims(&[&seen]).await?.remove(id) {
            return Err(invalid(format!("instance {id} still belongs to {claim}")));
        }
        let own = tags::of_adoption(&self.name, request, &seen.tags);
        let own = own.map_err(|error| invalid(error.to_string()))?;
        let call = self.region.client().await.create_tags();
        let call = call.resources(id).set_tags(Some(tags::to_sdk(&own)));
        let cost = Cost {
            action: "CreateTags",
            limit: Limit::Tags,
            priority: Priority::Rest,
        };
        self.region.call(cost, || call.clone().send()).await?;
        self.verify(id, wanted).await
    }

    fn owner_after(&self, request: &AdoptRequest) -> Owner {
        Owner {
            provider: self.name.clone(),
            ownership: Ownership {
                fleet: request.fleet.clone(),
                group: request.group.clone(),
                instance: request.instance.clone(),
                digests: request.digests.clone(),
                token: request.token.clone(),
                epoch: request.epoch,
                seat: None,
            },
            ended_itself: false,
        }
    }

    async fn verify(&self, id: &str, wanted: Owner) -> Result<(), ProviderError> {
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            let only = vec![filter("instance-id", &[id])];
            let seen = self.region.describe(only, Priority::Rest).await?;
            match seen.first().map(|seen| standing(seen, &wanted)) {
                Some(Standing::Ours) => {
                    self.region.book.note(id, wanted);
                    return Ok(());
                }
                Some(Standing::Anothers) => {
                    return Err(invalid(format!(
                        "instance {id} was adopted by another agent at the same moment"
                    )));
                }
                // EC2's listings are behind its answers.
                Some(Standing::Nobodys) | None => {}
            }
        }
        let message = format!("instance {id} was tagged, but is not listed with its tags yet");
        Err(ProviderError::new(ErrorClass::Unknown, message))
    }
}

fn standing(seen: &Seen, wanted: &Owner) -> Standing {
    if !is_owned(seen) {
        return Standing::Nobodys;
    }
    let owner = seen.owner();
    if owner.is_some_and(|owner| {
        owner.provider == wanted.provider && owner.ownership == wanted.ownership
    }) {
        Standing::Ours
    } else {
        Standing::Anothers
    }
}
