//! The checks of releases.

use std::collections::BTreeMap;

use crate::{OptionalMethod, ProvisionRequest};

use super::super::{
    Context, ErrorClass, Miss, ProviderPhase, ProviderRef, Verdict, Words as _, destroying, ensure,
};
use super::adopt::until_surveyed;
use super::tags::take_back;

/// Lets go of an instance, which somebody has to end afterwards: whoever tests, or the suite, by adopting it back.
pub(super) async fn release(context: &Context<'_>) -> Verdict {
    let offers = context.provider.offers();
    let is_adopted_back = [OptionalMethod::Survey, OptionalMethod::Adopt]
        .iter()
        .all(|method| offers.contains(method));
    let is_ended = context.subject.ends_released();
    if !is_ended && !is_adopted_back {
        let why = "nothing here can end a released instance, or adopt it back";
        return Err(Miss::Skipped(why.to_owned()));
    }
    let tags: BTreeMap<String, String> = [(
        "conformance-release".to_owned(),
        context.subject.run_id().to_string(),
    )]
    .into();
    let mut request = context.request(0, 1, context.subject.running());
    if is_adopted_back {
        request.slots[0].tags.clone_from(&tags);
    }
    let made = context.provision(&request).await?.made;
    let instance = made.into_values().next();
    let instance = instance.ok_or_else(|| Miss::Failed("the call made nothing".to_owned()))?;
    context.until_running(&instance).await?;
    let mut verdict = released(context, &request, &instance).await;
    if is_adopted_back && verdict.is_ok() {
        verdict = runs_on(context, &tags, &instance).await;
    }
    if is_ended {
        context.subject.end_released(&instance).await;
        return verdict;
    }
    // Whatever was seen: nothing is left that is nobody's. What was not released cannot be adopted, and is ended.
    let back = take_back(context, 10, &instance).await;
    verdict.and(back)
}

async fn released(
    context: &Context<'_>,
    request: &ProvisionRequest,
    instance: &ProviderRef,
) -> Verdict {
    let fleet = Context::fleet();
    context.provider.release(&fleet, instance).await?;
    succeeds_or_not_found(context, instance, "a repeated release").await?;
    let listed = context.listed(instance).await?;
    let ownership = listed.and_then(|listed| listed.ownership);
    ensure(ownership.is_none(), || {
        format!("still owned: {}", ownership.words())
    })?;
    let end = destroying(request, &request.slots[0].instance, instance);
    match context.provider.destroy(&end).await {
        Err(error) => ensure(error.class == ErrorClass::NotFound, || {
            format!("the class is {}: {error}", error.class.as_str())
        }),
        Ok(()) => Err(Miss::Failed("a released instance was destroyed".to_owned())),
    }
}

/// Fails unless a survey has the instance, and as running.
async fn runs_on(
    context: &Context<'_>,
    tags: &BTreeMap<String, String>,
    instance: &ProviderRef,
) -> Verdict {
    until_surveyed(context, tags, instance).await?;
    let survey = context.provider.survey(tags).await?;
    let mut strangers = survey.strangers.iter();
    let phase = strangers
        .find(|one| one.provider_ref == *instance)
        .map(|one| &one.phase);
    ensure(phase == Some(&ProviderPhase::Running), || {
        format!("a released instance is surveyed as {}", phase.words())
    })
}

async fn succeeds_or_not_found(
    context: &Context<'_>,
    instance: &ProviderRef,
    what: &str,
) -> Verdict {
    match context.provider.release(&Context::fleet(), instance).await {
        Ok(()) => Ok(()),
        Err(error) => ensure(error.class == ErrorClass::NotFound, || {
            format!("{what}: the class is {}: {error}", error.class.as_str())
        }),
    }
}

pub(super) async fn release_gone(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    context.until_running(&instance).await?;
    let end = destroying(&request, &request.slots[0].instance, &instance);
    context.provider.destroy(&end).await?;
    context.until_gone(&instance).await?;
    succeeds_or_not_found(context, &instance, "an instance that is gone").await?;
    let never = Context::never_was();
    succeeds_or_not_found(context, &never, "an instance that never was").await
}
