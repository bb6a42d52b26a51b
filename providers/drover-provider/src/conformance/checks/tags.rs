//! The check of the tags beside the ownership, where they can be seen: by a survey.

use std::collections::BTreeMap;

use drover_model::Stranger;

use crate::{AdoptRequest, OptionalMethod};

use super::super::{
    Context, Miss, ProviderRef, ProvisionRequest, Verdict, Words as _, destroying, ensure,
};

type Tags = BTreeMap<String, String>;

/// Makes two instances with tags of their own, lets go of them, and looks for them by these.
pub(super) async fn tags(context: &Context<'_>) -> Verdict {
    let run = context.subject.run_id().to_string();
    let common: Tags = [("conformance-tags".to_owned(), run)].into();
    // Nothing else shows them.
    context.offered(OptionalMethod::Survey)?;
    context.offered(OptionalMethod::Adopt)?;
    context.provider.survey(&common).await?;
    let mut both = Vec::new();
    for (number, part) in (0..).zip(["web + 1 = a/b:c_d@e", "db"]) {
        let mut request = context.request(number, 1, context.subject.running());
        let mut own = common.clone();
        own.insert("conformance-part".to_owned(), part.to_owned());
        request.slots[0].tags.clone_from(&own);
        let made = context.provision(&request).await?.made;
        let handle = made.into_values().next();
        let handle = handle.ok_or_else(|| Miss::Failed("the call made nothing".to_owned()))?;
        context.until_running(&handle).await?;
        both.push((handle, own));
    }
    let mut released = Vec::new();
    let mut verdict = Ok(());
    for (handle, _) in &both {
        verdict = release(context, handle).await;
        if verdict.is_err() {
            break;
        }
        released.push(handle);
    }
    if verdict.is_ok() {
        verdict = found(context, &common, &both).await;
    }
    // Whatever was found: nothing is left that is nobody's.
    for (number, handle) in (10..).zip(released) {
        let back = take_back(context, number, handle).await;
        verdict = verdict.and(back);
    }
    verdict
}

async fn release(context: &Context<'_>, handle: &ProviderRef) -> Verdict {
    Ok(context.provider.release(&Context::fleet(), handle).await?)
}

/// Takes an instance that is nobody's over, as another one that the suite ends.
pub(super) async fn take_back(context: &Context<'_>, number: u64, handle: &ProviderRef) -> Verdict {
    let next: ProvisionRequest = context.request(number, 1, context.subject.running());
    let instance = &next.slots[0].instance;
    let taken = AdoptRequest {
        fleet: next.fleet.clone(),
        group: next.group.clone(),
        epoch: next.epoch,
        provider_ref: handle.clone(),
        instance: instance.clone(),
        token: next.token.clone(),
        digests: next.digests.clone(),
        seat: None,
    };
    context.provider.adopt(&taken).await?;
    context.note(destroying(&next, instance, handle));
    Ok(())
}

/// Fails unless the common tag finds both, each with its own tags, and all tags of one find that one alone.
async fn found(context: &Context<'_>, common: &Tags, both: &[(ProviderRef, Tags)]) -> Verdict {
    let handles = |strangers: &[Stranger]| -> Vec<ProviderRef> {
        let mut handles: Vec<_> = strangers
            .iter()
            .map(|one| one.provider_ref.clone())
            .collect();
        handles.sort();
        handles
    };
    let mut wanted: Vec<_> = both.iter().map(|(handle, _)| handle.clone()).collect();
    wanted.sort();
    let mut seen = Vec::new();
    for _ in context.waits(1) {
        seen = context.provider.survey(common).await?.strangers;
        if handles(&seen) == wanted {
            break;
        }
        context.subject.wait().await;
    }
    ensure(handles(&seen) == wanted, || {
        format!(
            "the tags {} were given to {} and find {}",
            common.words(),
            wanted.words(),
            handles(&seen).words()
        )
    })?;
    for (handle, own) in both {
        let its = seen.iter().find(|one| one.provider_ref == *handle);
        let its = its.map(|one| &one.tags);
        ensure(
            its.is_some_and(|its| own.iter().all(|(name, value)| its.get(name) == Some(value))),
            || format!("{handle} was given {} and has {}", own.words(), its.words()),
        )?;
        let alone = context.provider.survey(own).await?.strangers;
        ensure(handles(&alone) == [handle.clone()], || {
            let (own, found) = (own.words(), handles(&alone).words());
            format!("the tags {own} find {found}, not {handle}")
        })?;
    }
    Ok(())
}
