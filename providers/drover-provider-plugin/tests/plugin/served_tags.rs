//! The tags of instances that are served to InfraKit: what its group controller is not told of, it makes again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use drover_model::{FleetName, Listing, ProviderName, ProviderRef, Value};
use drover_provider::{
    DestroyRequest, Forward, Forwarding, Provider, ProviderError, ProviderFactory as _,
    ProvisionRequest, Provisioned,
};
use drover_provider_plugin::{InstanceService, Served};
use drover_provider_sim::SimFactory;
use serde_json::{Value as Json, json};
use tokio::sync::Barrier;

use crate::serving::WallClock;

/// A provider; on order, its instances end right after it was asked which there are, and instances are made when so
/// many calls are there.
#[derive(Debug)]
pub(crate) struct Ending {
    inner: Arc<dyn Provider>,
    tags: PathBuf,
    ends: AtomicBool,
    together: Option<Barrier>,
}

#[async_trait]
impl Forwarding for Ending {
    fn inner(&self) -> &dyn Provider {
        &*self.inner
    }

    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError> {
        let listing = self.inner.list(fleet).await?;
        if self.ends.swap(false, Ordering::Relaxed) {
            for listed in &listing.instances {
                let owner = listed.ownership.clone().unwrap();
                let end = DestroyRequest {
                    fleet: owner.fleet,
                    group: owner.group,
                    epoch: owner.epoch,
                    instance: owner.instance,
                    provider_ref: listed.provider_ref.clone(),
                    token: owner.token,
                    grace: std::time::Duration::ZERO,
                    ending: drover_provider::Ending::default(),
                };
                self.inner.destroy(&end).await?;
            }
            for file in files(&self.tags) {
                std::fs::remove_file(file).unwrap();
            }
        }
        Ok(listing)
    }

    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        if let Some(together) = &self.together {
            together.wait().await;
        }
        self.inner.provision(request).await
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn serve(provider: &Arc<Forward<Ending>>, folder: &Path) -> Served {
    let provider = Arc::clone(provider) as Arc<dyn Provider>;
    let service = InstanceService::new(provider, &folder.join("tags"), Arc::new(WallClock));
    Served::new(vec![Box::new(service.unwrap())])
}

pub(crate) struct Scope {
    folder: tempfile::TempDir,
    provider: Arc<Forward<Ending>>,
    served: Served,
}

impl Scope {
    pub(crate) fn new() -> Self {
        Self::over(&Value::empty_map(), None)
    }

    /// Serves a simulated provider with settings. `together`: instances are made when so many calls are there.
    pub(crate) fn over(settings: &Value, together: Option<usize>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = ProviderName::parse("infrakit").unwrap();
        let factory = SimFactory::new(Arc::new(WallClock));
        let provider = Arc::new(Forward(Ending {
            inner: factory.open(&name, settings).unwrap(),
            tags: folder.path().join("tags"),
            ends: AtomicBool::new(false),
            together: together.map(Barrier::new),
        }));
        let served = serve(&provider, folder.path());
        Self {
            folder,
            provider,
            served,
        }
    }

    /// Whether anything has been asked for.
    pub(crate) fn has_files(&self) -> bool {
        !files(&self.folder.path().join("tags")).is_empty()
    }

    /// Is one of those that calls wait for.
    pub(crate) async fn arrive(&self) {
        self.provider.together.as_ref().unwrap().wait().await;
    }

    /// Serves on the socket `sim` of a folder as well.
    pub(crate) fn serve(&self, folder: &Path) {
        crate::serving::serve(folder, self.served.clone());
    }

    /// Ends what serves, and serves anew.
    pub(crate) fn restart(&mut self) {
        self.served = serve(&self.provider, self.folder.path());
    }

    pub(crate) async fn ask(&self, method: &str, params: Json) -> Result<Json, String> {
        let method = format!("Instance.{method}");
        let request = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1});
        let answer = self.served.answer(request.to_string().as_bytes()).await;
        let answer: Json = serde_json::from_str(&answer).unwrap();
        match answer["error"]["message"].as_str() {
            Some(message) => Err(message.to_owned()),
            None => Ok(answer["result"].clone()),
        }
    }

    pub(crate) async fn make(&self, tags: Json) -> String {
        let spec = json!({"Properties": {"image": "x"}, "Tags": tags, "Init": ""});
        let made = self.ask("Provision", json!({"Spec": spec})).await.unwrap();
        made["ID"].as_str().unwrap().to_owned()
    }

    /// Returns the instances with these tags.
    pub(crate) async fn found(&self, tags: Json) -> Result<Vec<String>, String> {
        let described = self.ask("DescribeInstances", json!({"Tags": tags})).await?;
        let described = described["Descriptions"].as_array().unwrap().iter();
        Ok(described
            .map(|one| one["ID"].as_str().unwrap().to_owned())
            .collect())
    }

    /// Returns the one file with this text in its name or in what it holds.
    fn file(&self, text: &str) -> PathBuf {
        let files = files(&self.folder.path().join("tags")).into_iter();
        let mut files = files.filter(|file| {
            let name = file.to_str().unwrap().contains(text);
            name || std::fs::read_to_string(file).unwrap().contains(text)
        });
        let file = files.next().unwrap();
        assert!(files.next().is_none());
        file
    }

    /// Fails unless the call fails with what there is to know.
    async fn refused(&self, tags: Json, instance: &str, file: &Path) {
        let why = self.found(tags.clone()).await.unwrap_err();
        let name = file.file_name().unwrap().to_str().unwrap();
        for part in [instance, name, "put the file back"] {
            assert!(why.contains(part), "{tags}: {why}");
        }
    }
}

#[tokio::test]
async fn a_bad_file_of_tags_fails_the_calls_that_its_instance_may_belong_to_and_no_others() {
    let scope = Scope::new();
    let one = scope.make(json!({"infrakit.group": "g1"})).await;
    let two = scope.make(json!({"infrakit.group": "g2"})).await;
    // As a crash of the machine leaves it.
    let file = scope.file("g1");
    let kept = std::fs::read(&file).unwrap();
    std::fs::write(&file, "").unwrap();
    let others = scope.found(json!({"infrakit.group": "g2"})).await.unwrap();
    assert_eq!(others, [two.as_str()]);
    for tags in [
        json!({}),
        json!({"a": "b"}),
        json!({"infrakit.group": "g1"}),
    ] {
        scope.refused(tags, &one, &file).await;
    }
    let label = json!({"Instance": one, "Labels": {"a": "b"}});
    let why = scope.ask("Label", label.clone()).await.unwrap_err();
    assert!(
        why.contains(&one) && why.contains("put the file back"),
        "{why}"
    );
    std::fs::write(&file, kept).unwrap();
    scope.ask("Label", label).await.unwrap();
    assert_eq!(
        scope.found(json!({"a": "b"})).await.unwrap(),
        [one.as_str()]
    );
    std::fs::write(&file, "{").unwrap();
    scope
        .ask("Destroy", json!({"Instance": one}))
        .await
        .unwrap();
    assert_eq!(scope.found(json!({})).await.unwrap(), [two]);
    assert_eq!(files(&scope.folder.path().join("tags")).len(), 1);
}

#[tokio::test]
async fn a_file_that_is_lost_or_of_no_known_group_fails_every_call() {
    let scope = Scope::new();
    let odd = "a group / of no plain name";
    let one = scope.make(json!({"infrakit.group": odd})).await;
    let group = json!({"infrakit.group": odd});
    assert_eq!(scope.found(group.clone()).await.unwrap(), [one.as_str()]);
    let file = scope.file(odd);
    std::fs::write(&file, "").unwrap();
    scope
        .refused(json!({"infrakit.group": "g2"}), &one, &file)
        .await;
    scope
        .ask("Destroy", json!({"Instance": one}))
        .await
        .unwrap();

    let two = scope.make(json!({"infrakit.group": "g2"})).await;
    let file = scope.file("g2");
    std::fs::remove_file(&file).unwrap();
    let token = file.file_stem().unwrap().to_str().unwrap();
    let token = token.split('@').next().unwrap();
    let plain = PathBuf::from(format!("{token}.json"));
    scope
        .refused(json!({"infrakit.group": "g1"}), &two, &plain)
        .await;
}

#[tokio::test]
async fn parameters_of_another_form_are_refused_and_make_nothing() {
    let scope = Scope::new();
    let spec = |attachments: Json| {
        let properties = json!({"image": "x"});
        json!({"Spec": {"Properties": properties, "Attachments": attachments}})
    };
    let mut typed = spec(json!(null));
    typed["Type"] = json!(1);
    for (method, params, says) in [
        ("Provision", json!({}), "`Spec`: not a map"),
        ("Provision", json!({"Spec": "x"}), "`Spec`: not a map"),
        ("Provision", json!([{}, {"Spec": {}}]), "`Spec`: not a map"),
        ("Provision", spec(json!("v1")), "`Attachments`: not a list"),
        ("Provision", typed, "`Type`: not a text"),
        (
            "DescribeInstances",
            json!({"Properties": 1}),
            "`Properties`: neither true nor false",
        ),
    ] {
        let why = scope.ask(method, params.clone()).await.unwrap_err();
        assert_eq!(why, says, "{method} {params}");
    }
    assert_eq!(scope.found(json!({})).await.unwrap(), Vec::<String>::new());
    scope.ask("Provision", spec(json!([]))).await.unwrap();
}

#[tokio::test]
async fn an_instance_that_moved_to_another_group_is_not_taken_for_one_of_its_first() {
    let scope = Scope::new();
    let one = scope.make(json!({"infrakit.group": "g1"})).await;
    let label = json!({"Instance": one, "Labels": {"infrakit.group": "g2"}});
    scope.ask("Label", label).await.unwrap();
    let group = json!({"infrakit.group": "g2"});
    assert_eq!(scope.found(group.clone()).await.unwrap(), [one.as_str()]);
    let file = scope.file("g2");
    std::fs::write(&file, "").unwrap();
    scope.refused(group, &one, &file).await;
}

#[tokio::test]
async fn an_instance_that_ends_while_it_is_described_is_left_out() {
    let scope = Scope::new();
    scope.make(json!({"infrakit.group": "g1"})).await;
    scope.provider.ends.store(true, Ordering::Relaxed);
    let found = scope.found(json!({"infrakit.group": "g1"})).await;
    assert_eq!(found.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn the_instance_itself_carries_the_tags_that_its_provider_takes() {
    let scope = Scope::new();
    let long = "x".repeat(257);
    let tags = json!({"infrakit.group": "g1", "infrakit.config_sha": "abc", "tier": "web", "drover.fleet": "prod", "AWS:x": "y", "long": long});
    let one = scope.make(tags.clone()).await;
    // InfraKit is told all of them.
    let described = scope.ask("DescribeInstances", json!({})).await.unwrap();
    assert_eq!(described["Descriptions"][0]["Tags"], tags);
    // The provider shows the tags of what is nobody's.
    let fleet = FleetName::parse("infrakit").unwrap();
    let handle = ProviderRef::parse(&one).unwrap();
    scope.provider.release(&fleet, &handle).await.unwrap();
    let group: BTreeMap<String, String> = [("infrakit.group".to_owned(), "g1".to_owned())].into();
    let strangers = scope.provider.survey(&group).await.unwrap().strangers;
    let carried = json!(strangers[0].tags);
    assert_eq!(
        carried,
        json!({"infrakit.group": "g1", "infrakit.config_sha": "abc", "tier": "web"})
    );
}
