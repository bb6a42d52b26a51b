//! The check of what a provider does not say it has.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_model::CheckOutcome;

use crate::{AdoptRequest, OptionalMethod, ProviderError, ReserveRequest, UpdateRequest};

use super::super::{Context, ErrorClass, InPlace, Miss, Verdict, Words as _, ensure};

/// Calls what is not offered, about an instance that never was: nothing can come of it.
pub(super) async fn offers(context: &Context<'_>) -> Verdict {
    let offers = context.provider.offers();
    for method in OptionalMethod::ALL {
        if offers.contains(&method) {
            continue;
        }
        let name = method.as_str();
        match method {
            OptionalMethod::Update => refused(name, update(context).await)?,
            OptionalMethod::Reserve => refused(name, reserve(context).await)?,
            OptionalMethod::Survey => {
                let tags: BTreeMap<String, String> =
                    [("conformance".into(), "offers".into())].into();
                refused(name, context.provider.survey(&tags).await.map(drop))?;
            }
            OptionalMethod::Adopt => refused(name, adopt(context).await)?,
            OptionalMethod::Check => {
                let command = context.subject.commands().passing;
                let never = Context::never_was();
                let limit = Duration::from_secs(1);
                unknown(name, &context.provider.check(&never, &command, limit).await)?;
            }
            OptionalMethod::Health => {
                let never = Context::never_was();
                let limit = Duration::from_secs(1);
                unknown(name, &context.provider.health(&never, limit).await)?;
            }
            OptionalMethod::Logs => {
                let never = Context::never_was();
                refused(name, context.provider.logs(&never, 1).await.map(drop))?;
            }
        }
    }
    Ok(())
}

fn refused(name: &str, answer: Result<(), ProviderError>) -> Verdict {
    match answer {
        Ok(()) => Err(Miss::Failed(format!(
            "`{name}` is not offered, and is done"
        ))),
        Err(error) => ensure(error.class == ErrorClass::InvalidSpec, || {
            let class = error.class.as_str();
            format!("`{name}` is not offered, and the class is {class}: {error}")
        }),
    }
}

fn unknown(name: &str, answer: &Result<CheckOutcome, ProviderError>) -> Verdict {
    ensure(matches!(answer, Ok(CheckOutcome::Unknown { .. })), || {
        format!(
            "`{name}` is not offered, and the answer is {}",
            answer.words()
        )
    })
}

async fn update(context: &Context<'_>) -> Result<(), ProviderError> {
    let request = context.request(0, 1, context.subject.running());
    let other = context.request(1, 1, context.subject.running());
    let update = UpdateRequest {
        fleet: request.fleet,
        group: request.group,
        epoch: request.epoch,
        provider_ref: Context::never_was(),
        token: request.token,
        update: other.token,
        how: InPlace::Live,
        digests: request.digests,
        slot: request.slots[0].clone(),
        properties: request.properties,
        grace: Duration::ZERO,
        secrets: crate::Secrets::default(),
    };
    context.provider.update(&update).await
}

async fn reserve(context: &Context<'_>) -> Result<(), ProviderError> {
    let reserve = ReserveRequest {
        fleet: Context::fleet(),
        group: Context::group(),
        seat: context.seat().id,
    };
    context.provider.reserve(&reserve).await.map(drop)
}

async fn adopt(context: &Context<'_>) -> Result<(), ProviderError> {
    let request = context.request(0, 1, context.subject.running());
    let adopt = AdoptRequest {
        fleet: request.fleet,
        group: request.group,
        epoch: request.epoch,
        provider_ref: Context::never_was(),
        instance: request.slots[0].instance.clone(),
        token: request.token,
        digests: request.digests,
        seat: None,
    };
    context.provider.adopt(&adopt).await
}
