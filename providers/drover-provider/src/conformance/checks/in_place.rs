//! The checks of changes in place.

use std::time::Duration;

use drover_model::FieldClass;

use crate::UpdateRequest;

use super::super::{
    Context, Digests, ErrorClass, InPlace, Listed, Miss, ProviderPhase, ProviderRef,
    ProvisionRequest, Verdict, Words as _, destroying, ensure, owned,
};

/// Returns the call that changes an instance of `request` to the same fields under other digests. None: the
/// provider changes nothing in place.
async fn updating(
    context: &Context<'_>,
    request: &ProvisionRequest,
    instance: &ProviderRef,
    how: InPlace,
) -> Result<UpdateRequest, Miss> {
    let other = context.request(90, 1, context.subject.running());
    let slot = &request.slots[0];
    let before = request.digests.to_string();
    let (version, hashes) = before.split_once(':').unwrap_or_default();
    let mut hashes: Vec<String> = hashes.split('+').map(str::to_owned).collect();
    let of_class = match how {
        InPlace::Restart => 1,
        InPlace::Live => 2,
    };
    if let Some(hash) = hashes.get_mut(of_class) {
        // Another hash of the same form.
        *hash = hash.chars().rev().collect();
    }
    let digests = Digests::parse(&format!("{version}:{}", hashes.join("+")));
    let update = UpdateRequest {
        fleet: request.fleet.clone(),
        group: request.group.clone(),
        epoch: request.epoch,
        provider_ref: instance.clone(),
        token: request.token.clone(),
        update: other.token,
        how,
        digests: digests.map_err(|error| Miss::Failed(error.to_string()))?,
        slot: slot.clone(),
        properties: request.properties.clone(),
        grace: Duration::from_secs(5),
        secrets: crate::Secrets::default(),
    };
    accepted(context, &update).await?;
    Ok(update)
}

/// Makes a change in place, which only a provider may refuse whose schema promises none of its kind.
async fn accepted(context: &Context<'_>, update: &UpdateRequest) -> Verdict {
    let class = match update.how {
        InPlace::Live => FieldClass::Live,
        InPlace::Restart => FieldClass::Restart,
    };
    let class_name = class.as_str();
    match context.provider.update(update).await {
        Err(error) if error.class == ErrorClass::InvalidSpec => {
            let fields = &context.provider.manifest().properties.fields;
            let promised = fields.iter().find(|(_, field)| field.class == class);
            Err(match promised {
                Some((name, _)) => Miss::Failed(format!(
                    "the schema says that `{name}` is `{class_name}`, and the change is refused: {}",
                    error.message
                )),
                None => Miss::Skipped(format!(
                    "no field of the schema is `{class_name}`, and the provider refuses: {}",
                    error.message
                )),
            })
        }
        done => Ok(done?),
    }
}

/// Waits until an instance is listed as running with the digests of an update.
async fn until_updated(context: &Context<'_>, update: &UpdateRequest) -> Result<Listed, Miss> {
    for _ in context.waits(1) {
        if let Some(listed) = context.listed(&update.provider_ref).await?
            && listed.phase == ProviderPhase::Running
            && let Some(owned) = &listed.ownership
            && owned.digests == update.digests
        {
            return Ok(listed);
        }
        context.subject.wait().await;
    }
    Err(Miss::Failed("the change does not show in time".to_owned()))
}

pub(super) async fn update_restart(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    let before = context.until_running(&instance).await?;
    let update = updating(context, &request, &instance, InPlace::Restart).await?;
    let after = until_updated(context, &update).await?;
    // It may not have been listed with one yet.
    let same = before.address.is_none() || after.address == before.address;
    ensure(same, || {
        format!(
            "the address was {} and is {}",
            before.address.words(),
            after.address.words()
        )
    })?;
    let mut owner = owned(&request, &request.slots[0]);
    owner.digests = update.digests.clone();
    ensure(after.ownership.as_ref() == Some(&owner), || {
        format!("the tags are {}", after.ownership.words())
    })?;
    repeated(context, &update).await
}

/// Makes the call once more, which changes nothing and interrupts nothing.
async fn repeated(context: &Context<'_>, update: &UpdateRequest) -> Verdict {
    context.provider.update(update).await?;
    let again = context.listed(&update.provider_ref).await?;
    let phase = again.map(|listed| listed.phase);
    ensure(phase == Some(ProviderPhase::Running), || {
        format!("the repeated call left it {}", phase.words())
    })
}

pub(super) async fn update_again(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    let before = context.until_running(&instance).await?;
    let other = context.request(90, 1, context.subject.running());
    let update = UpdateRequest {
        fleet: request.fleet.clone(),
        group: request.group.clone(),
        epoch: request.epoch,
        provider_ref: instance.clone(),
        token: request.token.clone(),
        update: other.token,
        how: InPlace::Restart,
        digests: request.digests.clone(),
        slot: request.slots[0].clone(),
        properties: request.properties.clone(),
        grace: Duration::from_secs(5),
        secrets: crate::Secrets::default(),
    };
    accepted(context, &update).await?;
    let after = until_updated(context, &update).await?;
    ensure(after.ownership == before.ownership, || {
        format!("the tags are {}", after.ownership.words())
    })?;
    repeated(context, &update).await
}

pub(super) async fn update_live(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    context.until_running(&instance).await?;
    let update = updating(context, &request, &instance, InPlace::Live).await?;
    let listed = context.listed(&instance).await?;
    let phase = listed.map(|listed| listed.phase);
    ensure(phase == Some(ProviderPhase::Running), || {
        format!("it was interrupted: {}", phase.words())
    })?;
    until_updated(context, &update).await.map(|_| ())
}

pub(super) async fn update_stranger(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    context.until_running(&instance).await?;
    let update = updating(context, &request, &instance, InPlace::Live).await?;
    let strange = UpdateRequest {
        token: update.update.clone(),
        update: request.token.clone(),
        ..update
    };
    not_found(context, &strange, "another token").await?;
    let destroy = destroying(&request, &request.slots[0].instance, &instance);
    context.provider.destroy(&destroy).await?;
    context.until_gone(&instance).await?;
    let late = UpdateRequest {
        token: request.token,
        ..strange
    };
    not_found(context, &late, "an instance that is gone").await
}

async fn not_found(context: &Context<'_>, update: &UpdateRequest, what: &str) -> Verdict {
    match context.provider.update(update).await {
        Ok(()) => Err(Miss::Failed(format!("{what} was changed"))),
        Err(error) => ensure(error.class == ErrorClass::NotFound, || {
            format!("{what}: the class is {}", error.class.as_str())
        }),
    }
}
