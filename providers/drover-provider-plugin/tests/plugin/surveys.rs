//! What a survey says while nobody knows all: of calls without an outcome, and of owners that are silent for a moment.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{Completeness, ErrorClass, Stranger};
use drover_provider::Provider;
use drover_provider_plugin::{GroupService, Served, ServedSocket};
use serde_json::json;

use crate::fake::Trouble;
use crate::groups::Memory;
use crate::support::{Scope, assert_failed, request};
use crate::taking_over::{adopt, of_group, tags};

async fn partial(provider: &Arc<dyn Provider>) -> Option<String> {
    match provider.survey(&tags()).await.unwrap().completeness {
        Completeness::Complete => None,
        Completeness::Partial { why } => Some(why),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_without_an_outcome_may_have_made_is_not_believed_to_be_a_stranger() {
    let mut scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let provider = scope.open();
    assert_eq!(partial(&provider).await, None);
    scope.clock.advance(Duration::from_secs(1));
    scope
        .fake
        .trouble("Instance.Provision", Trouble::LostRequest);
    assert!(provider.provision(&request(1)).await.is_err());
    // What was there before the call is not what it made.
    assert_eq!(partial(&provider).await, None);
    // An instance with a part of its tags.
    of_group(&scope.fake, "i-2");
    let why = "plugin fake: nobody knows yet what became of Instance.Provision for web-1, and i-2 may be what it has made";
    assert_eq!(partial(&provider).await.as_deref(), Some(why));
    // An agent that was started anew knows of none that it was there before.
    scope.restart();
    let provider = scope.open();
    assert!(partial(&provider).await.unwrap().contains("i-1 may be"));
    // Once every listing would have it, it is what it seems to be.
    scope.clock.advance(Duration::from_secs(31));
    assert_eq!(partial(&provider).await, None);
    // Nor has a later call made it.
    scope
        .fake
        .trouble("Instance.Provision", Trouble::LostRequest);
    assert!(provider.provision(&request(2)).await.is_err());
    assert_eq!(partial(&provider).await, None);
    // So it is when the outcome is known.
    let mut scope = Scope::new();
    scope.fake.trouble("Instance.Provision", Trouble::LostReply);
    let provider = scope.open();
    let made = provider.provision(&request(1)).await.unwrap();
    assert_eq!(made.made.len(), 1);
    of_group(&scope.fake, "i-2");
    assert_eq!(partial(&provider).await, None);
    scope.restart();
    assert_eq!(partial(&scope.open()).await, None);
}

/// Serves InfraKit's groups, and returns what ends it.
fn serving(scope: &Scope, groups: &[&str]) -> tokio::task::JoinHandle<()> {
    let served = Served::new(vec![Box::new(GroupService::new(Memory::of(groups)))]);
    let socket = ServedSocket::bind(&scope.folder.path().join("group")).unwrap();
    tokio::spawn(async move { match served.serve(&socket).await {} })
}

/// Ends it as a crash does: the socket stays, and nobody listens there.
async fn crash(scope: &Scope, serving: tokio::task::JoinHandle<()>) {
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    drop(UnixListener::bind(scope.folder.path().join("group")).unwrap());
}

async fn first(provider: &Arc<dyn Provider>) -> Stranger {
    provider.survey(&tags()).await.unwrap().strangers.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_plugin_that_is_started_anew_still_manages_what_it_did() {
    let scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let provider = scope.open();
    let claim = async || first(&provider).await.claimed_by.unwrap_or_default();
    let group = serving(&scope, &["workers"]);
    assert!(claim().await.contains("still manages"));
    crash(&scope, group).await;
    let path = scope.folder.path().join("group");
    let who = format!(
        "the group workers, which plugin group managed when it was last heard; nobody listens on its socket now: start it and free the group, or remove {} if it is gone for good; after ten minutes it counts as gone",
        path.display()
    );
    assert_eq!(claim().await, who);
    let refused = provider.adopt(&adopt("i-1", 1)).await;
    assert_failed(
        refused,
        ErrorClass::InvalidSpec,
        "nobody listens on its socket now",
    );
    scope.clock.advance(Duration::from_secs(599));
    assert_eq!(claim().await, who);
    scope.clock.advance(Duration::from_secs(1));
    assert_eq!(claim().await, "");
    // It is back: it acts, and begins to be silent anew.
    let group = serving(&scope, &["workers"]);
    assert!(claim().await.contains("still manages"));
    crash(&scope, group).await;
    assert_eq!(claim().await, who);
    // Started anew it begins with nothing, until somebody commits the group again.
    let group = serving(&scope, &["others"]);
    let anew = "the group workers, which plugin group managed before it was started anew and has not told of since; free it, or wait: two minutes after the start it counts as free";
    assert_eq!(claim().await, anew);
    scope.clock.advance(Duration::from_secs(119));
    assert_eq!(claim().await, anew);
    crash(&scope, group).await;
    assert_eq!(claim().await, who);
    let group = serving(&scope, &["others"]);
    scope.clock.advance(Duration::from_secs(119));
    assert_eq!(claim().await, anew);
    scope.clock.advance(Duration::from_mins(2));
    assert_eq!(claim().await, "");
    crash(&scope, group).await;
    assert_eq!(claim().await, "");
    // So does a person who takes the file away.
    let group = serving(&scope, &["workers"]);
    assert!(claim().await.contains("still manages"));
    crash(&scope, group).await;
    assert_eq!(claim().await, who);
    std::fs::remove_file(path).unwrap();
    assert_eq!(claim().await, "");
    provider.adopt(&adopt("i-1", 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_socket_that_nobody_was_heard_on_only_those_are_told_who_may_have_had_an_owner() {
    let mut scope = Scope::new();
    of_group(&scope.fake, "i-1");
    let group = serving(&scope, &["workers"]);
    crash(&scope, group).await;
    scope.restart();
    let provider = scope.open();
    let told = first(&provider).await;
    assert_eq!(told.claimed_by, None);
    let who = told.unheard.unwrap();
    assert!(
        who.starts_with(
            "the group workers, which was managed when it was last seen; nobody listens on "
        ),
        "{who}"
    );
    // Nobody holds an instance that is the fleet's already for it.
    provider.adopt(&adopt("i-1", 1)).await.unwrap();
    assert!(provider.survey(&tags()).await.unwrap().strangers.is_empty());
    scope
        .fake
        .add_stranger("i-2", json!({"infrakit.group": "workers"}));
    assert!(first(&provider).await.unheard.is_some());
    scope.clock.advance(Duration::from_mins(10));
    assert_eq!(first(&provider).await.unheard, None);
}
