//! The check of surveys and adoptions.

use std::collections::BTreeMap;

use crate::{AdoptRequest, OptionalMethod};

use super::super::{
    Completeness, Context, ErrorClass, Listed, Miss, ProviderRef, ProvisionRequest, Verdict,
    Words as _, destroying, ensure, owned,
};

/// Makes an instance nobody's, and takes it over as another one.
pub(super) async fn adopt(context: &Context<'_>) -> Verdict {
    let tag = ("conformance-run", context.subject.run_id().to_string());
    let tags: BTreeMap<String, String> = [(tag.0.to_owned(), tag.1)].into();
    context.offered(OptionalMethod::Survey)?;
    context.offered(OptionalMethod::Adopt)?;
    let before = context.provider.survey(&tags).await?;
    if let Completeness::Partial { why } = &before.completeness {
        return Err(Miss::Failed(format!("the survey is partial: {why}")));
    }
    ensure(before.strangers.is_empty(), || {
        "something has tags that nobody has used yet".to_owned()
    })?;
    let mut request = context.request(0, 1, context.subject.running());
    request.slots[0].tags.clone_from(&tags);
    let made = context.provision(&request).await?.made;
    let instance = made.into_values().next();
    let instance = instance.ok_or_else(|| Miss::Failed("the call made nothing".to_owned()))?;
    let before = context.until_running(&instance).await?;
    let owned = context.provider.survey(&tags).await?;
    ensure(owned.strangers.is_empty(), || {
        "an instance with ownership was surveyed".to_owned()
    })?;
    context
        .provider
        .release(&Context::fleet(), &instance)
        .await?;
    let next = context.request(1, 1, context.subject.running());
    let taken = AdoptRequest {
        fleet: next.fleet.clone(),
        group: next.group.clone(),
        epoch: next.epoch,
        provider_ref: instance.clone(),
        instance: next.slots[0].instance.clone(),
        token: next.token.clone(),
        digests: next.digests.clone(),
        seat: None,
    };
    context.note(destroying(&next, &taken.instance, &instance));
    until_surveyed(context, &tags, &instance).await?;
    let surveyed = context.provider.survey(&tags).await?.strangers;
    let claimed = surveyed.iter().find_map(|one| one.claimed_by.as_ref());
    ensure(claimed.is_none(), || {
        let claimed = claimed.words();
        format!("a released instance, which nobody acts on, is said to be claimed: {claimed}")
    })?;
    nobody(context, &taken).await?;
    context.provider.adopt(&taken).await?;
    context.provider.adopt(&taken).await?;
    let listed = until_owned(context, &next, &instance).await?;
    let same = |one: &Listed| (one.address.clone(), one.zone.clone(), one.phase.clone());
    ensure(same(&listed) == same(&before), || {
        format!(
            "adopting changed more than the ownership: {}",
            listed.words()
        )
    })?;
    let left = context.provider.survey(&tags).await?.strangers;
    ensure(left.is_empty(), || {
        "an adopted instance is surveyed".to_owned()
    })?;
    adopted_by_another(context, &taken, &next).await
}

/// What never was is adopted by nobody.
async fn nobody(context: &Context<'_>, taken: &AdoptRequest) -> Verdict {
    let never = AdoptRequest {
        provider_ref: Context::never_was(),
        ..taken.clone()
    };
    match context.provider.adopt(&never).await {
        Ok(()) => Err(Miss::Failed("what never was is adopted".to_owned())),
        Err(error) => ensure(error.class == ErrorClass::NotFound, || {
            let class = error.class.as_str();
            format!("what never was: the class is {class}: {error}")
        }),
    }
}

/// What carries an ownership keeps it, whoever else asks.
async fn adopted_by_another(
    context: &Context<'_>,
    taken: &AdoptRequest,
    next: &ProvisionRequest,
) -> Verdict {
    let other = AdoptRequest {
        fleet: Context::other_fleet(),
        ..taken.clone()
    };
    match context.provider.adopt(&other).await {
        Err(error) if error.class == ErrorClass::InvalidSpec => {}
        Err(error) => return Err(error.into()),
        Ok(()) => return Err(Miss::Failed("it was adopted by another fleet".to_owned())),
    }
    until_owned(context, next, &taken.provider_ref)
        .await
        .map(drop)
}

pub(super) async fn until_surveyed(
    context: &Context<'_>,
    tags: &BTreeMap<String, String>,
    instance: &ProviderRef,
) -> Verdict {
    for _ in context.waits(1) {
        let survey = context.provider.survey(tags).await?;
        let mut strangers = survey.strangers.iter();
        if strangers.any(|stranger| stranger.provider_ref == *instance) {
            return Ok(());
        }
        context.subject.wait().await;
    }
    Err(Miss::Failed(
        "a released instance is not surveyed in time".to_owned(),
    ))
}

async fn until_owned(
    context: &Context<'_>,
    request: &ProvisionRequest,
    instance: &ProviderRef,
) -> Result<Listed, Miss> {
    let wanted = owned(request, &request.slots[0]);
    for _ in context.waits(1) {
        if let Some(listed) = context.listed(instance).await?
            && listed.ownership.as_ref() == Some(&wanted)
        {
            return Ok(listed);
        }
        context.subject.wait().await;
    }
    Err(Miss::Failed(
        "the instance does not have the ownership in time".to_owned(),
    ))
}
