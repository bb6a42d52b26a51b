//! The check of listings that are longer than one batch, and than one page where a provider has pages.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{
    Context, DestroyRequest, ErrorClass, InstanceId, Listing, Miss, ProviderPhase, ProviderRef,
    Verdict, Words as _, complete, destroying, ensure,
};

/// How many instances are made: a few pages of a plugin whose pages are small, and few enough for a machine
/// that makes containers.
pub(super) const COUNT: u64 = 12;

/// The largest batch, so that there are several wherever they may be larger.
const BATCH: u64 = 5;

/// Makes many instances, ends every other one, and looks at the listing before, meanwhile and afterwards.
pub(super) async fn many(context: &Context<'_>) -> Verdict {
    let made = make(context).await?;
    for end in made.values() {
        context.until_running(&end.provider_ref).await?;
    }
    let all: Vec<&DestroyRequest> = made.values().collect();
    ensure(all.len() as u64 == COUNT, || {
        format!("{} handles for {COUNT} instances", all.len())
    })?;
    each_once(&listed(context).await?, &all)?;
    // Every other one, so that whatever counts positions finds others there.
    let (ended, rest): (Vec<_>, Vec<_>) = made
        .values()
        .partition(|end| end.instance.number().is_multiple_of(2));
    let (destroyed, seen) = tokio::join!(end(context, &ended), meanwhile(context, &rest));
    destroyed?;
    seen?;
    until_gone(context, &ended, &rest).await
}

/// Waits until `ended` are gone, and wants every listing on the way to have the rest.
async fn until_gone(
    context: &Context<'_>,
    ended: &[&DestroyRequest],
    rest: &[&DestroyRequest],
) -> Verdict {
    let mut left = None;
    for _ in context.waits(1) {
        if let Some(listing) = attempted(context).await {
            each_once(&listing, rest)?;
            let of_left = ended.iter().map(|end| &end.provider_ref);
            let of_left = of_left.filter(|handle| lives(&listing, handle));
            let of_left: Vec<&ProviderRef> = of_left.collect();
            if of_left.is_empty() {
                return Ok(());
            }
            left = Some(of_left);
        }
        context.subject.wait().await;
    }
    Err(Miss::Failed(match left {
        Some(left) => format!(
            "instances that were ended are still listed: {}",
            left.words()
        ),
        None => "no listing was complete after instances were ended".to_owned(),
    }))
}

/// Makes the instances in several batches. Returns the calls that end them.
async fn make(context: &Context<'_>) -> Result<BTreeMap<InstanceId, DestroyRequest>, Miss> {
    let size = u64::from(context.provider.manifest().batch_max).clamp(1, BATCH);
    let mut all = BTreeMap::new();
    let mut first = 0;
    while first < COUNT {
        let size = size.min(COUNT - first);
        let request = context.request(first, size, context.subject.running());
        let short = |why: &str| Miss::Skipped(format!("{COUNT} instances do not fit: {why}"));
        let provisioned = match context.provision(&request).await {
            Err(error) if matches!(error.class, ErrorClass::Capacity | ErrorClass::Quota) => {
                return Err(short(&error.message));
            }
            other => other?,
        };
        if let Some(shortfall) = provisioned.shortfall {
            return Err(short(&shortfall.message));
        }
        for (instance, handle) in provisioned.made {
            let end = destroying(&request, &instance, &handle);
            all.insert(instance, end);
        }
        first += size;
    }
    Ok(all)
}

async fn end(context: &Context<'_>, ended: &[&DestroyRequest]) -> Verdict {
    for end in ended {
        context.provider.destroy(end).await?;
    }
    Ok(())
}

/// Looks at listings while the others end: twice as many as there are ends.
async fn meanwhile(context: &Context<'_>, rest: &[&DestroyRequest]) -> Verdict {
    for _ in 0..COUNT {
        if let Some(listing) = attempted(context).await {
            each_once(&listing, rest)?;
        }
    }
    Ok(())
}

/// Looks while instances end. One that fails then, or says that it is not complete, says nothing of who is missing, and
/// an agent asks again.
async fn attempted(context: &Context<'_>) -> Option<Listing> {
    listed(context).await.ok()
}

async fn listed(context: &Context<'_>) -> Result<Listing, Miss> {
    let listing = context.listing().await?;
    complete(&listing)?;
    Ok(listing)
}

fn lives(listing: &Listing, handle: &ProviderRef) -> bool {
    let mut instances = listing.instances.iter();
    instances
        .any(|listed| listed.provider_ref == *handle && listed.phase != ProviderPhase::Terminated)
}

/// Fails unless each of `expected` is listed as its own, and nothing is listed twice.
fn each_once(listing: &Listing, expected: &[&DestroyRequest]) -> Verdict {
    let mut handles = BTreeSet::new();
    for listed in &listing.instances {
        let handle = &listed.provider_ref;
        ensure(handles.insert(handle), || {
            format!("{handle} is listed more than once")
        })?;
    }
    for end in expected {
        let of = |owned: &drover_model::Ownership| owned.instance == end.instance;
        let is_there = listing.instances.iter().any(|listed| {
            listed.provider_ref == end.provider_ref && listed.ownership.as_ref().is_some_and(of)
        });
        ensure(is_there, || {
            let count = listing.instances.len();
            format!("{} is not among the {count} that are listed", end.instance)
        })?;
    }
    Ok(())
}
