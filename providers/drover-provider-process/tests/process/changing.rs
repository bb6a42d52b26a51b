//! Changing instances in place: with a restart, without one, asked twice, cut short.

use std::fs;
use std::time::Duration;

use drover_model::{Digests, ErrorClass, InPlace, ProviderPhase, ProviderRef, Token, Value};
use drover_provider::{ProvisionRequest, UpdateRequest};

use crate::harness::{Scope, map, request, strings, until};

/// Prints a word and its data folder, and counts its starts there.
const SCRIPT: &str =
    "echo start >> starts; echo $WORD $DROVER_DATA_DIR $DROVER_ADDRESS; exec sleep 1000";

fn says(number: u64, word: &str, script: &str) -> ProvisionRequest {
    let command = strings(&["/bin/sh", "-c", script]);
    let env = map(&[("WORD", Value::from(word))]);
    request(number, map(&[("command", command), ("env", env)]))
}

/// Returns the call that makes an instance of `before` one of `after`.
fn change(
    before: &ProvisionRequest,
    after: &ProvisionRequest,
    handle: &ProviderRef,
) -> UpdateRequest {
    UpdateRequest {
        fleet: before.fleet.clone(),
        group: before.group.clone(),
        epoch: before.epoch,
        provider_ref: handle.clone(),
        token: before.token.clone(),
        update: Token::parse(&"u".repeat(32)).unwrap(),
        how: InPlace::Restart,
        digests: after.digests.clone(),
        slot: before.slots[0].clone(),
        properties: after.properties.clone(),
        grace: Duration::from_secs(20),
        secrets: drover_provider::Secrets::default(),
    }
}

async fn digests(scope: &Scope, instance: &ProviderRef) -> Digests {
    let listed = scope.listed(instance).await.unwrap();
    listed.ownership.unwrap().digests
}

async fn changed(scope: &Scope, instance: &ProviderRef, digests: &Digests) {
    until("the change shows", async || {
        let listed = scope.listed(instance).await?;
        let owned = listed.ownership?;
        let shown = owned.digests == *digests && listed.phase == ProviderPhase::Running;
        shown.then_some(())
    })
    .await;
}

/// Takes its time to end.
const SLOW: &str =
    "trap 'sleep 1; exit 0' TERM; echo start >> starts; while :; do sleep 0.05; done";

#[tokio::test]
async fn a_restart_that_changes_nothing_is_listed_as_pending_until_it_runs_again() {
    let scope = Scope::new();
    let same = says(1, "same", SLOW);
    let instance = scope.provision(&same).await;
    let starts = scope.folder(&instance).join("data/starts");
    let started = |times: usize| {
        let written = fs::read_to_string(&starts).unwrap_or_default();
        written == "start\n".repeat(times)
    };
    until("it runs", async || started(1).then_some(())).await;
    changed(&scope, &instance, &same.digests).await;
    let update = change(&same, &same, &instance);
    scope.provider.update(&update).await.unwrap();
    let listed = scope.listed(&instance).await.unwrap();
    assert_eq!(listed.phase, ProviderPhase::Pending);
    assert!(started(1), "what ran before goes on for a second");
    changed(&scope, &instance, &same.digests).await;
    until("it runs again", async || started(2).then_some(())).await;
    scope.provider.update(&update).await.unwrap();
    changed(&scope, &instance, &same.digests).await;
    assert!(started(2));
}

#[tokio::test]
async fn a_restart_keeps_folder_address_and_log_and_happens_once() {
    let scope = Scope::new();
    let (old, new) = (says(1, "old", SCRIPT), says(1, "new", SCRIPT));
    let instance = scope.provision(&old).await;
    let folder = scope.folder(&instance).join("data");
    let address = scope.listed(&instance).await.unwrap().address.unwrap();
    let line = |word: &str| format!("{word} {} {address}", folder.display());
    scope.printed(&instance, &line("old")).await;
    let update = change(&old, &new, &instance);
    scope.provider.update(&update).await.unwrap();
    scope.printed(&instance, &line("new")).await;
    changed(&scope, &instance, &new.digests).await;
    // What it printed before is still there.
    scope.printed(&instance, &line("old")).await;
    // The repeated call, and the call that made it, do nothing more.
    scope.provider.update(&update).await.unwrap();
    assert_eq!(scope.provision(&old).await, instance);
    changed(&scope, &instance, &new.digests).await;
    assert_eq!(
        fs::read_to_string(folder.join("starts")).unwrap(),
        "start\nstart\n"
    );
    scope.finish().await;
}

#[tokio::test]
async fn what_ignores_the_request_is_killed_before_it_starts_again() {
    let scope = Scope::new();
    let deaf = "trap '' TERM; echo $WORD; while true; do sleep 0.01; done";
    let (old, new) = (says(1, "old", deaf), says(1, "new", deaf));
    let instance = scope.provision(&old).await;
    scope.printed(&instance, "old").await;
    let update = UpdateRequest {
        grace: Duration::from_millis(300),
        ..change(&old, &new, &instance)
    };
    scope.provider.update(&update).await.unwrap();
    // Until it has happened, the tags are those that it had.
    assert_eq!(digests(&scope, &instance).await, old.digests);
    scope.printed(&instance, "new").await;
    changed(&scope, &instance, &new.digests).await;
    scope.finish().await;
}

#[tokio::test]
async fn an_agent_that_is_killed_before_it_asks_leaves_the_instance_as_it_was() {
    let scope = Scope::new();
    let (old, new) = (says(1, "old", SCRIPT), says(1, "new", SCRIPT));
    let instance = scope.provision(&old).await;
    changed(&scope, &instance, &old.digests).await;
    // As if it had got as far as writing down what the instance becomes.
    let control = scope.folder(&instance).join("control");
    let hidden = scope.folder(&instance).join("hidden");
    fs::rename(&control, &hidden).unwrap();
    let update = change(&old, &new, &instance);
    let error = scope.provider.update(&update).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
    fs::rename(&hidden, &control).unwrap();
    assert_eq!(digests(&scope, &instance).await, old.digests);
    scope.provider.update(&update).await.unwrap();
    changed(&scope, &instance, &new.digests).await;
    scope.finish().await;
}

#[tokio::test]
async fn what_is_to_end_does_not_start_again() {
    let scope = Scope::new();
    let deaf = "trap '' TERM; echo $WORD; while true; do sleep 0.01; done";
    let (old, new) = (says(1, "old", deaf), says(1, "new", deaf));
    let instance = scope.provision(&old).await;
    scope.printed(&instance, "old").await;
    let update = change(&old, &new, &instance);
    scope.provider.update(&update).await.unwrap();
    scope.destroy(&instance, Duration::ZERO).await;
    until("it is gone", async || {
        scope.list().await.is_empty().then_some(())
    })
    .await;
    let error = scope.provider.update(&update).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
    scope.finish().await;
}
