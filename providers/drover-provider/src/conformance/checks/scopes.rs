//! The check of what two scopes know of each other.

use super::super::{
    Completeness, Context, ErrorClass, Miss, ProviderError, Verdict, Words as _, destroying,
    ensure, owned,
};

/// Makes an instance, and asks another scope for it: nothing of it is listed, ended or let go of there.
pub(super) async fn scopes(context: &Context<'_>) -> Verdict {
    let other = match context.subject.other_scope() {
        Some(Ok(other)) => other,
        Some(Err(error)) => return Err(error.into()),
        None => {
            let why = "there is no second scope in the same place here";
            return Err(Miss::Skipped(why.to_owned()));
        }
    };
    let (request, instance) = context.one(0).await?;
    context.until_running(&instance).await?;
    let listing = other.list(&Context::fleet()).await?;
    ensure(listing.completeness == Completeness::Complete, || {
        "the listing of the other scope is partial".to_owned()
    })?;
    let mut listed = listing.instances.iter();
    ensure(listed.all(|one| one.provider_ref != instance), || {
        format!("{instance} is listed in another scope, too")
    })?;
    let end = destroying(&request, &request.slots[0].instance, &instance);
    is_nobodys(other.destroy(&end).await, "a destroy")?;
    let released = other.release(&Context::fleet(), &instance).await;
    is_nobodys(released, "a release")?;
    // An end would not show at once.
    for _ in 0..3 {
        context.subject.wait().await;
        let owner = context.until_running(&instance).await?.ownership;
        let expected = owned(&request, &request.slots[0]);
        ensure(owner.as_ref() == Some(&expected), || {
            let owner = owner.words();
            format!("the tags are {owner} after another scope was asked to let go")
        })?;
    }
    Ok(())
}

/// Of what a scope does not know, it says that it is gone, or that it is not there.
fn is_nobodys(answered: Result<(), ProviderError>, what: &str) -> Verdict {
    match answered {
        Ok(()) => Ok(()),
        Err(error) => ensure(error.class == ErrorClass::NotFound, || {
            let class = error.class.as_str();
            format!("{what} in another scope: the class is {class}: {error}")
        }),
    }
}
