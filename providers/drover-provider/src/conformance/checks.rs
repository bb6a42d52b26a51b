//! The checks. Each makes its own instances; the suite ends them.

use std::pin::Pin;

use drover_model::{Attachment, counted, plural};

use crate::{AttachmentUse, OptionalMethod, Others};

use super::{
    Completeness, Context, DestroyRequest, ErrorClass, InstanceId, Miss, ProviderPhase, Verdict,
    Words as _, complete, destroying, ensure, owned,
};

mod adopt;
mod asking;
mod birth;
mod in_place;
mod many;
mod offers;
mod release;
mod scopes;
mod tags;
mod tokens;
mod visibility;

use adopt::adopt;
use asking::{check, health, logs};
use birth::created_at;
use in_place::{update_again, update_live, update_restart, update_stranger};
use many::many;
use offers::offers;
use release::{release, release_gone};
use scopes::scopes;
use tags::tags;
use tokens::{dropped_call, repeat, repeat_after_end, repeat_at_once, repeat_secrets, token_reuse};
use visibility::visibility;

/// One check.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) sentence: &'static str,
    pub(super) run: for<'a> fn(&'a Context<'a>) -> Running<'a>,
}

type Running<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

macro_rules! check {
    ($name:literal, $function:ident, $sentence:literal) => {
        Check {
            name: $name,
            sentence: $sentence,
            run: |context| Box::pin($function(context)),
        }
    };
}

/// The check that makes nothing, and can be made of what lists nothing.
pub(super) const OFFERS: &str = "offers";

/// Every check, in the order in which they are run.
pub(super) const ALL: &[Check] = &[
    check!(
        "manifest",
        manifest,
        "The schema accepts what can be made, finds what cannot, and a batch holds at least one."
    ),
    check!(
        "invalid-spec",
        invalid_spec,
        "A request that can never succeed is `invalidSpec`, and nothing was changed."
    ),
    check!(
        "provision",
        provision,
        "Every slot gets a handle and becomes an instance that is listed as running."
    ),
    check!(
        "ownership",
        ownership,
        "Ownership tags are on the instance from the moment it can be listed."
    ),
    check!(
        "visibility",
        visibility,
        "An instance that was made is in every listing that begins later than the manifest's visibility after the answer."
    ),
    check!(
        "created-at",
        created_at,
        "`createdAt` is when the instance was made, and stays."
    ),
    check!(
        "repeat",
        repeat,
        "A repeated call with the same token and parameters, whatever its urgency, makes nothing new and returns the same handles."
    ),
    check!(
        "repeat-secrets",
        repeat_secrets,
        "A call that is repeated when its secrets have other values is the same call: the values are no parameters."
    ),
    check!(
        "repeat-at-once",
        repeat_at_once,
        "One token makes at most one set of instances, also by calls at the same time."
    ),
    check!(
        "repeat-after-end",
        repeat_after_end,
        "One token makes at most one set of instances, also when they are gone again."
    ),
    check!(
        "place",
        place,
        "What is attached to a place belongs to one instance at a time, outlives it, and is listed; the place keeps its address."
    ),
    check!(
        "token-reuse",
        token_reuse,
        "A token that comes with other parameters is refused (`invalidSpec`) and makes nothing: another owner, instance, digest, epoch, zone, tag, environment, init line or set of properties."
    ),
    check!(
        "dropped-call",
        dropped_call,
        "A call that its caller gives up leaves either nothing or a complete effect, which the next listing shows."
    ),
    check!(
        "batch",
        batch,
        "A batch has at most so many slots as the manifest says, each with its own handle."
    ),
    check!(
        "many",
        many,
        "A listing has each instance exactly once, however many batches and pages there are, and also while others end."
    ),
    check!(
        "destroy",
        destroy,
        "Success means that the end was accepted: until it has happened, the instance is listed as `stopping`."
    ),
    check!(
        "destroy-again",
        destroy_again,
        "Destroying what is gone succeeds."
    ),
    check!(
        "destroy-stranger",
        destroy_stranger,
        "An instance whose token or owner differs from the request's is left alone (`notFound`)."
    ),
    check!(
        "update-restart",
        update_restart,
        "Where the schema has a field of the class `restart`, a restart is accepted. It keeps id, handle, token and address; from when it has happened the instance is listed with the digests of the request, and a repeated call does nothing more."
    ),
    check!(
        "update-again",
        update_again,
        "A restart with the digests that it has leaves an instance what it is and runs it again; it is `pending` until then, and a repeated call does nothing more."
    ),
    check!(
        "update-live",
        update_live,
        "Where the schema has a field of the class `live`, a live change is accepted. It shows in the digests and interrupts nothing."
    ),
    check!(
        "update-stranger",
        update_stranger,
        "An instance whose token differs from the request's is not changed (`notFound`), nor is one that is gone."
    ),
    check!(
        "other-fleets",
        other_fleets,
        "A listing holds the fleet's instances, and no other fleet's."
    ),
    check!(
        "scopes",
        scopes,
        "What was made in one scope is listed, ended and let go of in that one only."
    ),
    check!(
        "exited",
        exited,
        "An instance that ended by itself is listed, as `exited`, until it is destroyed."
    ),
    check!(
        "release",
        release,
        "A released instance runs on, is not listed, and cannot be destroyed."
    ),
    check!(
        "release-gone",
        release_gone,
        "Releasing what is gone, or never was, succeeds or is `notFound`."
    ),
    check!(
        "tags",
        tags,
        "The tags of a slot are on its instance and on no other, all of them, and a survey finds it by them."
    ),
    check!(
        "adopt",
        adopt,
        "What has the tags and nobody's ownership is surveyed; adopting it puts ownership on and changes nothing else; what another ownership is on is refused."
    ),
    check!(
        "check",
        check,
        "A check passes when its command ends with success within the limit, and in no other case; what is gone is never passing."
    ),
    check!(
        "health",
        health,
        "Health is that of the instance that is asked for; what is gone, or never was, is never passing."
    ),
    check!(
        "logs",
        logs,
        "Logs are the last lines, as many as asked for at most; of what never was they are `notFound`."
    ),
    check!(
        "offers",
        offers,
        "What the provider does not say it has is refused (`invalidSpec`), or unknown where a health is asked for."
    ),
    check!(
        "independence",
        independence,
        "Instances outlive whoever asked for them, and are there for the next one."
    ),
];

async fn manifest(context: &Context<'_>) -> Verdict {
    let manifest = context.provider.manifest();
    ensure(manifest.batch_max >= 1, || "batch_max is 0".to_owned())?;
    let mistakes = manifest.properties.check(&context.subject.running());
    ensure(mistakes.is_empty(), || {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        format!(
            "the schema refuses properties that run: {}",
            mistakes.words()
        )
    })?;
    if manifest.properties.others == Others::Refused && context.subject.has_invalid() {
        let mistakes = manifest.properties.check(&context.subject.invalid());
        ensure(!mistakes.is_empty(), || {
            "the schema accepts invalid properties".to_owned()
        })?;
    }
    // And a scope without instances can be listed.
    complete(&context.listing().await?)
}

async fn invalid_spec(context: &Context<'_>) -> Verdict {
    attachments(context).await?;
    if !context.subject.has_invalid() {
        return Err(Miss::Skipped("no invalid properties are known".to_owned()));
    }
    let request = context.request(0, 1, context.subject.invalid());
    match context.provision(&request).await {
        Ok(_) => return Err(Miss::Failed("invalid properties were accepted".to_owned())),
        Err(error) => ensure(error.class == ErrorClass::InvalidSpec, || {
            format!("the class is {}: {error}", error.class.as_str())
        })?,
    }
    // Nothing was changed, so the token is not spent either.
    let mut better = request.clone();
    better.properties = context.subject.running();
    let made = context.provision(&better).await?.made;
    ensure(made.len() == 1, || "the token was spent".to_owned())
}

/// What the manifest says is refused: an instance without what it was to have is worse than none.
async fn attachments(context: &Context<'_>) -> Verdict {
    match context.provider.manifest().attachments {
        AttachmentUse::Refused => {}
        // Whether there is such a thing, only who made it knows.
        AttachmentUse::HandedOver => return Ok(()),
    }
    let mut request = context.request(1, 1, context.subject.running());
    request.slots[0].attachments = vec![Attachment {
        id: "conformance".to_owned(),
        type_: String::new(),
    }];
    match context.provision(&request).await {
        Ok(_) => Err(Miss::Failed(
            "an instance was made without its attachment".to_owned(),
        )),
        Err(error) => ensure(error.class == ErrorClass::InvalidSpec, || {
            format!(
                "attachments: the class is {}: {error}",
                error.class.as_str()
            )
        }),
    }
}

async fn provision(context: &Context<'_>) -> Verdict {
    let request = context.request(0, 1, context.subject.running());
    let made = context.provision(&request).await?.made;
    let instance = match made.into_iter().next() {
        Some((id, instance)) if id == request.slots[0].instance => instance,
        Some((id, instance)) => {
            let wanted = &request.slots[0].instance;
            let why = format!("the call for {wanted} made {id} = {instance}");
            return Err(Miss::Failed(why));
        }
        None => return Err(Miss::Failed("the call made nothing".to_owned())),
    };
    let listed = context.until_running(&instance).await?;
    ensure(listed.created_at.is_some(), || {
        "the listing does not say when the instance was made".to_owned()
    })?;
    complete(&context.listing().await?)
}

async fn ownership(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    let expected = owned(&request, &request.slots[0]);
    // The first listing that has it counts, so there is no wait before the first.
    let what = "the instance is not listed";
    let listed = context
        .until(&instance, what, |phase| phase.is_some())
        .await?;
    let ownership = listed.and_then(|listed| listed.ownership);
    ensure(ownership.as_ref() == Some(&expected), || {
        format!(
            "the tags are {}; not {}",
            ownership.words(),
            expected.words()
        )
    })
}

/// A provider that cannot attach says so.
async fn place(context: &Context<'_>) -> Verdict {
    let take = |number| {
        let mut request = context.request(number, 1, context.subject.running());
        request.slots[0].seat = Some(Box::new(context.seat()));
        request
    };
    let first = take(0);
    let instance = match context.provision(&first).await {
        Ok(provisioned) => provisioned.made.into_values().next(),
        Err(error) if error.class == ErrorClass::InvalidSpec => {
            context.offered(OptionalMethod::Reserve)?;
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    };
    ensure(
        context.provider.offers().contains(&OptionalMethod::Reserve),
        || "it makes members with attachments, and does not offer `reserve`".to_owned(),
    )?;
    let instance = instance.ok_or_else(|| Miss::Failed("nothing was made".to_owned()))?;
    let before = context.until_running(&instance).await?;
    let owner = before
        .ownership
        .ok_or_else(|| Miss::Failed("no tags".to_owned()))?;
    ensure(owner.seat == Some(context.seat().id), || {
        format!("the tags are {}", owner.words())
    })?;
    ensure(context.provision(&take(1)).await.is_err(), || {
        "a place that is held was given again".to_owned()
    })?;
    let end = destroying(&first, &first.slots[0].instance, &instance);
    context.provider.destroy(&end).await?;
    context.until_gone(&instance).await?;
    let listing = context.listing().await?;
    let key = (first.group.clone(), context.seat().id);
    let address = listing.places.get(&key).cloned();
    // Where addresses come late, the instance's own was not known yet.
    let known = before.address.is_none() || address == before.address;
    ensure(known && address.is_some(), || {
        let (before, listed) = (before.address.words(), address.words());
        format!("the place whose address was {before} is listed with {listed}")
    })?;
    let reserve = crate::ReserveRequest {
        fleet: first.fleet.clone(),
        group: first.group.clone(),
        seat: key.1,
    };
    let reserved = context.provider.reserve(&reserve).await?;
    ensure(Some(&reserved) == address.as_ref(), || {
        format!("{} is reserved at {reserved}", address.words())
    })?;
    let attached = listing.attached;
    ensure(
        attached.contains(&(first.group.clone(), context.seat().id)),
        || "what is attached to the place is not listed".to_owned(),
    )?;
    // Whoever held it may still be letting go.
    for _ in context.waits(1) {
        if let Ok(provisioned) = context.provision(&take(2)).await {
            let again = provisioned.made.into_values().next();
            let again = again.ok_or_else(|| Miss::Failed("nothing was made".to_owned()))?;
            let after = context.until_running(&again).await?;
            return ensure(after.address == before.address, || {
                let (before, after) = (before.address.words(), after.address.words());
                format!("the address was {before} and is {after}")
            });
        }
        context.subject.wait().await;
    }
    Err(Miss::Failed("the place is never free again".to_owned()))
}

async fn batch(context: &Context<'_>) -> Verdict {
    let most = context.provider.manifest().batch_max;
    let count = u64::from(most).min(many::COUNT);
    let request = context.request(0, count, context.subject.running());
    let provisioned = context.provision(&request).await?;
    if let Some(shortfall) = provisioned.shortfall {
        return Err(Miss::Skipped(format!("not everything fits: {shortfall}")));
    }
    let handles: std::collections::BTreeSet<_> = provisioned.made.values().collect();
    ensure(handles.len() as u64 == count, || {
        let handles = counted(handles.len(), "handle");
        format!("{handles} for {}", counted(count, "slot"))
    })?;
    for (id, instance) in &provisioned.made {
        let listed = context.until_running(instance).await?;
        let of = listed.ownership.map(|owned| owned.instance);
        ensure(of.as_ref() == Some(id), || {
            format!("{instance} is listed as {}, not {id}", of.words())
        })?;
    }
    let mut larger = context.request(20, 1, context.subject.running());
    let base = larger.slots[0].clone();
    larger.slots = (0..=u64::from(most))
        .map(|step| {
            let number = base.instance.number() + step;
            let mut slot = base.clone();
            slot.instance = InstanceId::new(base.instance.group().clone(), number);
            slot
        })
        .collect();
    match context.provision(&larger).await {
        Err(error) if error.class == ErrorClass::InvalidSpec => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Miss::Failed(format!(
            "more than {} accepted",
            plural(most, "slot was", "slots were")
        ))),
    }
}

async fn destroy(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    context.until_running(&instance).await?;
    let end = destroying(&request, &request.slots[0].instance, &instance);
    context.provider.destroy(&end).await?;
    for _ in context.waits(1) {
        match context.listed(&instance).await? {
            None => return Ok(()),
            Some(listed) => match listed.phase {
                ProviderPhase::Terminated => return Ok(()),
                ProviderPhase::Stopping => {}
                phase => {
                    let phase = phase.words();
                    let why = format!("listed as {phase} after its end was accepted");
                    return Err(Miss::Failed(why));
                }
            },
        }
        context.subject.wait().await;
    }
    Err(Miss::Failed("the instance does not end".to_owned()))
}

async fn destroy_again(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    let end = destroying(&request, &request.slots[0].instance, &instance);
    context.provider.destroy(&end).await?;
    context.provider.destroy(&end).await?;
    context.until_gone(&instance).await?;
    context.provider.destroy(&end).await?;
    let end = DestroyRequest {
        provider_ref: Context::never_was(),
        ..end
    };
    Ok(context.provider.destroy(&end).await?)
}

async fn destroy_stranger(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    context.until_running(&instance).await?;
    let (_, other) = context.one(1).await?;
    let right = destroying(&request, &request.slots[0].instance, &instance);
    let other_request = context.request(1, 1, context.subject.running());
    let wrong = [
        DestroyRequest {
            token: other_request.token.clone(),
            ..right.clone()
        },
        DestroyRequest {
            provider_ref: other,
            ..right.clone()
        },
        DestroyRequest {
            fleet: Context::other_fleet(),
            ..right.clone()
        },
        DestroyRequest {
            group: Context::other_group(),
            ..right.clone()
        },
        DestroyRequest {
            instance: other_request.slots[0].instance.clone(),
            ..right.clone()
        },
    ];
    for wrong in wrong {
        match context.provider.destroy(&wrong).await {
            Err(error) => ensure(error.class == ErrorClass::NotFound, || {
                format!("the class is {}: {error}", error.class.as_str())
            })?,
            Ok(()) => return Err(Miss::Failed("accepted for a stranger".to_owned())),
        }
    }
    context.until_running(&instance).await.map(|_| ())
}

async fn other_fleets(context: &Context<'_>) -> Verdict {
    let (_, instance) = context.one(0).await?;
    context.until_running(&instance).await?;
    let listing = context.provider.list(&Context::other_fleet()).await?;
    let found = listing
        .instances
        .iter()
        .any(|listed| listed.provider_ref == instance);
    ensure(!found, || {
        "an instance of another fleet is listed".to_owned()
    })?;
    let other = Context::other_fleet();
    match context.provider.release(&other, &instance).await {
        Err(error) => ensure(error.class == ErrorClass::NotFound, || {
            format!("the class is {}: {error}", error.class.as_str())
        })?,
        Ok(()) => return Err(Miss::Failed("released for another fleet".to_owned())),
    }
    context.until_running(&instance).await.map(|_| ())
}

async fn exited(context: &Context<'_>) -> Verdict {
    let Some(properties) = context.subject.exiting() else {
        return Err(Miss::Skipped("no instance here ends by itself".to_owned()));
    };
    let request = context.request(0, 1, properties);
    let made = context.provision(&request).await?.made;
    let has_exited =
        |phase: Option<&ProviderPhase>| matches!(phase, Some(ProviderPhase::Exited(_)));
    for instance in made.values() {
        let what = "the instance is not listed as exited";
        context.until(instance, what, has_exited).await?;
        for _ in 0..3 {
            context.subject.wait().await;
            let listed = context.listed(instance).await?;
            ensure(
                has_exited(listed.as_ref().map(|listed| &listed.phase)),
                || format!("not listed as exited any more: {}", listed.words()),
            )?;
        }
    }
    Ok(())
}

async fn independence(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    context.until_running(&instance).await?;
    let Some(reopened) = context.subject.reopen() else {
        return Err(Miss::Skipped("the scope cannot be opened twice".to_owned()));
    };
    let listing = reopened.list(&Context::fleet()).await?;
    ensure(listing.completeness == Completeness::Complete, || {
        "the listing is partial".to_owned()
    })?;
    let listed = listing.instances.into_iter();
    let listed = listed.filter(|listed| listed.provider_ref == instance);
    let phases: Vec<ProviderPhase> = listed.map(|listed| listed.phase).collect();
    ensure(phases == [ProviderPhase::Running], || {
        format!("listed as {}", phases.words())
    })?;
    let again = reopened.provision(&request).await?;
    ensure(again.made.values().eq([&instance]), || {
        format!("other handles: {}, not {instance}", again.made.words())
    })
}
