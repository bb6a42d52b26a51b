//! The checks of tokens: the same call makes nothing new, and another one with the same token makes nothing.

use drover_model::{Digests, SecretRef, counted};

use crate::{ProvisionRequest, SecretText, Urgency};

use super::super::{
    Context, ErrorClass, InstanceId, Miss, ProviderPhase, Subject, Token, Verdict, Words as _,
    destroying, ensure,
};

pub(super) async fn repeat(context: &Context<'_>) -> Verdict {
    let mut request = context.request(0, 1, context.subject.running());
    let first = context.provision(&request).await?;
    // What it is for may be another thing by then, and is no parameter.
    for urgency in Urgency::ALL {
        request.urgency = urgency;
        let again = context.provision(&request).await?;
        ensure(again.made == first.made, || {
            let (again, first) = (again.made.words(), first.made.words());
            format!("other handles: {again}, not {first}")
        })?;
    }
    for instance in first.made.values() {
        context.until_running(instance).await?;
    }
    one_set(context, &request.token, 1).await
}

/// Asks once more, when a secret has another value than it had.
pub(super) async fn repeat_secrets(context: &Context<'_>) -> Verdict {
    let reference = SecretRef::Env("CONFORMANCE".to_owned());
    let with = |text: &str| {
        let mut request = context.request(0, 1, context.subject.running());
        let text = SecretText::new(text.to_owned());
        request.secrets.insert(reference.clone(), text);
        let named = &mut request.slots[0].secrets;
        named.insert("CONFORMANCE".to_owned(), reference.clone());
        request
    };
    let (first, later) = (with("first"), with("later"));
    let made = match context.provision(&first).await {
        Ok(provisioned) => provisioned.made,
        Err(error) if error.class == ErrorClass::InvalidSpec => {
            let why = format!("instances take no environment here: {error}");
            return Err(Miss::Skipped(why));
        }
        Err(error) => return Err(error.into()),
    };
    let again = context.provision(&later).await?;
    ensure(again.made == made, || {
        let (again, first) = (again.made.words(), made.words());
        format!("other handles: {again}, not {first}")
    })?;
    for instance in made.values() {
        context.until_running(instance).await?;
    }
    one_set(context, &first.token, 1).await
}

/// Fails if the listing has another number of instances of a token.
async fn one_set(context: &Context<'_>, token: &Token, expected: usize) -> Verdict {
    let listing = context.listing().await?;
    let of_token = listing.instances.iter().filter(|listed| {
        let ownership = listed.ownership.as_ref();
        listed.phase != ProviderPhase::Terminated
            && ownership.is_some_and(|owned| owned.token == *token)
    });
    let count = of_token.count();
    ensure(count == expected, || {
        format!(
            "{} of one token, not {expected}",
            counted(count, "instance")
        )
    })
}

pub(super) async fn repeat_at_once(context: &Context<'_>) -> Verdict {
    let request = context.request(0, 1, context.subject.running());
    let (one, two, three) = tokio::join!(
        context.provision(&request),
        context.provision(&request),
        context.provision(&request)
    );
    // A provider may refuse a call while another one is under way; the caller repeats it.
    let made: Vec<_> = [one, two, three].into_iter().flatten().collect();
    let last = context.provision(&request).await?;
    ensure(made.iter().all(|one| one.made == last.made), || {
        "calls at the same time returned different handles".to_owned()
    })?;
    for instance in last.made.values() {
        context.until_running(instance).await?;
    }
    one_set(context, &request.token, 1).await
}

pub(super) async fn repeat_after_end(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    // Before it is listed, its absence would not mean that it is gone.
    context.until_running(&instance).await?;
    let end = destroying(&request, &request.slots[0].instance, &instance);
    context.provider.destroy(&end).await?;
    context.until_gone(&instance).await?;
    let again = context.provision(&request).await?;
    ensure(again.made.values().eq([&instance]), || {
        format!("other handles: {}, not {instance}", again.made.words())
    })?;
    for _ in 0..3 {
        context.subject.wait().await;
        one_set(context, &request.token, 0).await?;
    }
    Ok(())
}

pub(super) async fn token_reuse(context: &Context<'_>) -> Verdict {
    let (request, instance) = context.one(0).await?;
    for (what, other) in other_parameters(context.subject, &request) {
        let Err(error) = context.provision(&other).await else {
            let why = format!("another {what} was promised under the same token");
            return Err(Miss::Failed(why));
        };
        ensure(error.class == ErrorClass::InvalidSpec, || {
            let class = error.class.as_str();
            format!("with another {what} the class is {class}: {error}")
        })?;
    }
    context.until_running(&instance).await?;
    one_set(context, &request.token, 1).await
}

/// Returns calls with the token of `request` and something else that they ask for.
fn other_parameters(
    subject: &dyn Subject,
    request: &ProvisionRequest,
) -> Vec<(&'static str, ProvisionRequest)> {
    let id = &request.slots[0].instance;
    let changed = |what, change: &dyn Fn(&mut ProvisionRequest)| {
        let mut other = request.clone();
        change(&mut other);
        (what, other)
    };
    let mut others = vec![
        changed("instance", &|other| {
            let next = InstanceId::new(id.group().clone(), id.number() + 1);
            other.slots[0].instance = next;
        }),
        changed("tag", &|other| {
            let tags = &mut other.slots[0].tags;
            tags.insert("conformance".to_owned(), "another".to_owned());
        }),
        changed("digest", &|other| {
            other.digests = Digests::of_unknown_template();
        }),
        changed("epoch", &|other| other.epoch.0 += 1),
        changed("zone", &|other| other.zone = Some("another".to_owned())),
        changed("fleet", &|other| other.fleet = Context::other_fleet()),
        changed("group", &|other| {
            other.group = Context::other_group();
            other.slots[0].instance = InstanceId::new(Context::other_group(), id.number());
        }),
        changed("environment", &|other| {
            let env = &mut other.slots[0].env;
            env.insert("CONFORMANCE".to_owned(), "another".to_owned());
        }),
        changed("init", &|other| {
            other.slots[0].init = vec!["true".to_owned()];
        }),
    ];
    // Others that are right, where some are known.
    let right = [
        subject.another(),
        subject.exiting(),
        subject.unhealthy(),
        subject.printing(),
    ];
    let mut right = right.into_iter().flatten();
    if let Some(properties) = right.find(|other| *other != request.properties) {
        others.push(changed("set of properties", &|other| {
            other.properties.clone_from(&properties);
        }));
    }
    others
}

pub(super) async fn dropped_call(context: &Context<'_>) -> Verdict {
    let request = context.request(0, 1, context.subject.running());
    // Polled once, then dropped: what a caller's time limit does at the worst moment.
    let provider = std::sync::Arc::clone(&context.provider);
    let mut call = provider.provision(&request);
    std::future::poll_fn(|task| {
        let _ = call.as_mut().poll(task);
        std::task::Poll::Ready(())
    })
    .await;
    drop(call);
    let provisioned = context.provision(&request).await?;
    for instance in provisioned.made.values() {
        context.until_running(instance).await?;
    }
    one_set(context, &request.token, 1).await
}
