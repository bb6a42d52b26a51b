//! What a run leaves behind: what it made and could not end, for people to remove.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use drover_model::{Epoch, InstanceId, Listed, Ownership, ProviderPhase, ProviderRef, Token};

use super::{Context, NUMBERS_PER_CHECK, Notes, Provider, Subject, Words as _};
use crate::{DestroyRequest, ProviderError};

/// An instance of a run that is still there, or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its handle.
    pub provider_ref: ProviderRef,
    /// Why it counts as left.
    pub why: String,
}

/// What is left cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear {
    /// Why not.
    pub error: ProviderError,
    /// What was made and not seen to end. There may be more.
    pub left: Vec<Left>,
}

/// Ends what a run has left behind, and returns what is there all the same. `notes`: what the run has asked for and seen.
///
/// # Errors
///
/// What is there cannot be listed. Its end was asked for all the same, as far as it is known: [`Unclear`] has what nobody has
/// seen end.
///
/// # Cancellation
///
/// A dropped future leaves what is left.
pub async fn clear(subject: &dyn Subject, notes: &Notes) -> Result<Vec<Left>, Unclear> {
    let cleared = clear_listed(subject, notes).await;
    let Err(error) = cleared else {
        return Ok(cleared.unwrap_or_default());
    };
    let provider = subject.provider();
    let mut left = Vec::new();
    for destroy in notes.open() {
        let ended = match provider.destroy(&destroy).await {
            Ok(()) => "its end was accepted".to_owned(),
            Err(error) => format!("it is not ended: {error}"),
        };
        left.push(Left {
            provider_ref: destroy.provider_ref,
            why: format!(
                "{} was made, and {ended}; nobody can see it",
                destroy.instance
            ),
        });
    }
    Err(Unclear { error, left })
}

async fn clear_listed(subject: &dyn Subject, notes: &Notes) -> Result<Vec<Left>, ProviderError> {
    let provider = subject.provider();
    let mut found = found(subject, &*provider).await?;
    let mut refused = BTreeMap::new();
    for (handle, listed) in &found {
        if let Some(owner) = &listed.ownership {
            notes.known(&owner.instance);
        }
        if let Some(destroy) = listed.ownership.as_ref().map(|of| destroying(of, handle))
            && let Err(error) = provider.destroy(&destroy).await
        {
            refused.insert(handle.clone(), error.to_string());
        }
    }
    let (started, mut waits) = (Instant::now(), 0);
    let limit = subject.limit().unwrap_or(Duration::MAX);
    while !found.is_empty() && waits < subject.patience() && started.elapsed() < limit {
        subject.wait().await;
        waits += 1;
        found = self::found(subject, &*provider).await?;
    }
    let left = found.into_iter().map(|(provider_ref, listed)| {
        let refused = refused.get(&provider_ref);
        let refused = refused.map(|why| format!(", and is not ended: {why}"));
        let (instance, phase) = (listed.ownership.map(|of| of.instance), listed.phase.words());
        let instance = instance.map(|id| format!("{id}, ")).unwrap_or_default();
        let why = format!(
            "{instance}is listed as {phase}{}",
            refused.unwrap_or_default()
        );
        Left { provider_ref, why }
    });
    let mut left: Vec<Left> = left.collect();
    for provider_ref in notes.unseen() {
        if left.iter().all(|left| left.provider_ref != provider_ref) {
            let why = "was made and not listed: nobody can see whether it has ended".to_owned();
            left.push(Left { provider_ref, why });
        }
    }
    Ok(left)
}

/// Returns the instances of the run that are listed and have not ended.
async fn found(
    subject: &dyn Subject,
    provider: &dyn Provider,
) -> Result<BTreeMap<ProviderRef, Listed>, ProviderError> {
    let mut found = BTreeMap::new();
    // One check asks for another fleet under a token of ours, and some provider may make it.
    for fleet in [Context::fleet(), Context::other_fleet()] {
        let listing = provider.list(&fleet).await?;
        let ours = listing.instances.into_iter().filter(|listed| {
            let owner = listed.ownership.as_ref();
            listed.phase != ProviderPhase::Terminated && owner.is_some_and(|of| is_of(subject, of))
        });
        found.extend(ours.map(|listed| (listed.provider_ref.clone(), listed)));
    }
    Ok(found)
}

/// Returns whether an instance is one of this run: its token is that of a call of a check, which is named after the first
/// instance of the call.
fn is_of(subject: &dyn Subject, owner: &Ownership) -> bool {
    let run_id = subject.run_id();
    let number = owner.instance.number();
    let mut firsts = number.saturating_sub(NUMBERS_PER_CHECK)..=number;
    firsts.any(|first| {
        let first = InstanceId::new(Context::group(), first);
        Token::derive(&Context::fleet(), &run_id, Epoch(1), &first, 0) == owner.token
    })
}

/// Returns the call that ends an instance as its tags have it.
fn destroying(owner: &Ownership, handle: &ProviderRef) -> DestroyRequest {
    DestroyRequest {
        fleet: owner.fleet.clone(),
        group: owner.group.clone(),
        epoch: owner.epoch,
        instance: owner.instance.clone(),
        provider_ref: handle.clone(),
        token: owner.token.clone(),
        grace: Duration::ZERO,
        ending: crate::Ending::default(),
    }
}
