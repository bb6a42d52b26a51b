//! What a provider lists of groups that do not use it. A plugin may say so of any group: it is told to the groups that do use
//! it, and holds nobody.

use std::collections::BTreeSet;

use drover_model::{GroupName, Held, Hold, ProviderPhase, ProviderRef};
use tracing::{info, warn};

use super::first_look::provider_of;
use super::observation::{Observation, key_of};
use super::{Agent, plain};
use crate::entry::GroupEntry;
use crate::observe::{Observed, ScopeListing};

/// Instances of groups that do not use the provider that lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// The first of the groups.
    group: GroupName,
    /// How many instances of it.
    instances: usize,
    /// How many other groups there are.
    others: usize,
}

impl Claim {
    /// Returns what people are told.
    fn tell(&self, provider: &str) -> String {
        let Self {
            group,
            instances,
            others,
        } = self;
        let plural = if *instances == 1 { "" } else { "s" };
        let rest = match others {
            0 => String::new(),
            1 => ", and some of another group".to_owned(),
            more => format!(", and some of {more} other groups"),
        };
        format!(
            "provider {provider} lists {instances} instance{plural} of group {group}, which does not use it{rest}"
        )
    }
}

impl Agent {
    /// Finds out what providers list of groups that do not use them, and logs what is new.
    pub(super) fn judge_claims(&mut self, observation: &Observation) {
        let mut claims = std::mem::take(&mut self.whereabouts.claims);
        let documents = self.fleet.documents.providers.values();
        let there = documents.map(|provider| key_of(&provider.value).id());
        let there: BTreeSet<String> = there.collect();
        claims.retain(|id, _| there.contains(id) || observation.observed.contains_key(id));
        for (id, observed) in &observation.observed {
            // What does not answer now may say the same as before.
            let Observed::Fresh(listing) = observed else {
                continue;
            };
            let provider = provider_of(id);
            let before = claims.remove(id);
            let Some(claim) = self.claim_of(id, listing, observation) else {
                if before.is_some() {
                    info!(provider, "provider lists nothing of other groups any more");
                }
                continue;
            };
            if before.is_none_or(|before| before.group != claim.group) {
                warn!(
                    provider,
                    group = %claim.group,
                    instances = claim.instances,
                    other_groups = claim.others,
                    "provider lists instances of a group that does not use it"
                );
            }
            claims.insert(id.clone(), claim);
        }
        self.whereabouts.claims = claims;
    }

    /// Returns what a listing has of groups that do not use the provider.
    fn claim_of(
        &self,
        id: &str,
        listing: &ScopeListing,
        observation: &Observation,
    ) -> Option<Claim> {
        let unused = |entry: &&GroupEntry| {
            // One of which neither document nor record can be read may use any.
            let named = entry.providers().next().is_some();
            !entry.is_gone() && named && !entry.uses(provider_of(id))
        };
        let mut claimed = listing.groups.iter().filter_map(|(group, listing)| {
            let entry = self.groups.get(group).filter(unused)?;
            let own = own_handles(id, group, entry, observation);
            let strays = listing.instances.iter().filter(|listed| {
                let leaves = matches!(
                    listed.phase,
                    ProviderPhase::Terminated | ProviderPhase::Stopping
                );
                !leaves && !own.contains(&listed.provider_ref)
            });
            let instances = strays.count();
            (instances > 0).then_some((group, instances))
        });
        let (group, instances) = claimed.next()?;
        Some(Claim {
            group: group.clone(),
            instances,
            others: claimed.count(),
        })
    }

    /// Returns what the provider of a group lists of others.
    pub(super) fn claimed(&self, name: &GroupName, observation: &Observation) -> Option<Held> {
        let (id, _) = observation.scopes.get(name)?.as_ref().ok()?;
        let claim = self.whereabouts.claims.get(id)?;
        let why = claim.tell(provider_of(id));
        Some(plain(Hold::StrayInstances { why }))
    }
}

/// Returns what a group has where its document says, if scope `other` may list the same: two Provider documents of one type
/// may lead to one account.
fn own_handles<'a>(
    other: &str,
    group: &GroupName,
    entry: &'a GroupEntry,
    observation: &'a Observation,
) -> BTreeSet<&'a ProviderRef> {
    let type_of = |id: &str| id.split('/').nth(1).map(str::to_owned);
    let Some(Ok((own, _))) = observation.scopes.get(group) else {
        return BTreeSet::new();
    };
    if type_of(own) != type_of(other) {
        return BTreeSet::new();
    }
    let recorded = entry.recorded.instances.values();
    let mut handles: BTreeSet<&ProviderRef> = recorded
        .filter_map(|instance| instance.provider_ref.as_ref())
        .collect();
    if let Some(Observed::Fresh(listing)) = observation.observed.get(own) {
        let listed = listing.of(group).instances.iter();
        handles.extend(listed.map(|listed| &listed.provider_ref));
    }
    handles
}

#[cfg(test)]
mod tests;
