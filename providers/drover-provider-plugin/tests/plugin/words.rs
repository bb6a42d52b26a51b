//! What plugins of `Provider/1` say of instances, and what they are told: within bounds, filled in, and with nulls as in
//! languages that have them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use drover_model::{Completeness, ErrorClass, ProviderName, SecretRef, Value};
use drover_provider::{Provider, ProviderFactory as _, SecretText};
use drover_provider_plugin::{
    Answered, Directory, Place, PluginFactory, Served, ServedSocket, Service,
};
use serde_json::{Value as Json, json};

use crate::serving::WallClock;
use crate::support::{fleet, request, values};

/// Answers what a test says, and keeps what it was told.
#[derive(Debug, Default)]
struct Plugin {
    listing: Json,
    described: Json,
    told: Arc<Mutex<Vec<Json>>>,
}

#[async_trait]
impl Service for Plugin {
    fn name(&self) -> &'static str {
        "Provider"
    }

    fn versions(&self) -> [Option<&'static str>; 3] {
        [None, None, Some("1")]
    }

    async fn call(&self, method: &str, params: &Json) -> Option<Answered> {
        let answer = match method {
            "Describe" => self.described.clone(),
            "List" => self.listing.clone(),
            "Provision" => {
                self.told.lock().unwrap().push(params.clone());
                json!({"made": {params["slots"][0]["instance"].as_str().unwrap(): "one"}})
            }
            _ => return None,
        };
        Some(Ok(answer.to_string()))
    }
}

/// A scope over such a plugin, as long as it is kept.
struct Scope {
    provider: Arc<dyn Provider>,
    told: Arc<Mutex<Vec<Json>>>,
    _folder: tempfile::TempDir,
}

impl Scope {
    fn new(described: Json, listing: Json) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = ServedSocket::bind(&folder.path().join("odd")).unwrap();
        let told = Arc::default();
        let plugin = Plugin {
            listing,
            described,
            told: Arc::clone(&told),
        };
        let served = Served::new(vec![Box::new(plugin)]);
        tokio::spawn(async move { served.serve(&socket).await });
        let place = Place::Named(Directory::new(folder.path()));
        let factory = PluginFactory::new(place, folder.path().join("data"), Arc::new(WallClock));
        let name = ProviderName::parse("local").unwrap();
        let provider = factory.open(&name, &values(&[("plugin", "odd")])).unwrap();
        Self {
            provider,
            told,
            _folder: folder,
        }
    }
}

fn listing(instance: &Json) -> Json {
    json!({"complete": true, "instances": [instance]})
}

/// An instance of the group `web`, with its owner as drover has given it.
fn instance() -> Json {
    let made = request(1);
    json!({"ref": "one", "phase": "running", "owner": {
        "fleet": made.fleet.to_string(), "group": "web", "instance": "web-1",
        "digest": made.digests.to_string(), "token": made.token.to_string(), "epoch": 1,
    }})
}

fn with(pointer: &str, value: Json) -> Json {
    let mut changed = instance();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    changed.pointer_mut(parent).unwrap()[name] = value;
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_cannot_be_read_makes_the_listing_incomplete() {
    let cases = [
        ("/owner/digest", json!("garbage"), "`digest`"),
        ("/owner/group", json!("WEB"), "`group`"),
        (
            "/owner/instance",
            json!("other-1"),
            "`instance`: other-1 is none of group web",
        ),
        ("/owner/token", json!("-"), "`token`"),
    ];
    for (field, value, wanted) in cases {
        let scope = Scope::new(json!({}), listing(&with(field, value)));
        let listed = scope.provider.list(&fleet()).await.unwrap();
        assert_eq!(
            listed.instances[0].ownership, None,
            "it is nobody's to touch"
        );
        let Completeness::Partial { why } = &listed.completeness else {
            panic!("{field}: {listed:?}");
        };
        let begin = format!(
            "plugin odd: Provider.List: the answer cannot be read: `owner` of one: {wanted}"
        );
        assert!(why.contains(&begin), "{why}");
    }
    // What is another fleet's is its own business.
    let mut foreign = with("/owner/digest", json!("garbage"));
    foreign["owner"]["fleet"] = json!("elsewhere");
    let scope = Scope::new(json!({}), listing(&foreign));
    let listed = scope.provider.list(&fleet()).await.unwrap();
    assert_eq!(listed.completeness, Completeness::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_or_a_zone_that_is_none_makes_the_answer_an_error() {
    let cases = [
        ("/address", "z".repeat(1_025), "is longer than 1024 bytes"),
        ("/zone", "z".repeat(1_025), "is longer than 1024 bytes"),
        ("/address", "a\nb".to_owned(), "has control characters"),
    ];
    for (field, text, wanted) in cases {
        let scope = Scope::new(json!({}), listing(&with(field, json!(text))));
        let error = scope.provider.list(&fleet()).await.unwrap_err();
        let name = field.trim_start_matches('/');
        let told =
            format!("plugin odd: Provider.List: the answer cannot be read: `{name}` {wanted}");
        assert!(error.message.contains(&told), "{}", error.message);
    }
    let longest = with("/address", json!("z".repeat(1_024)));
    let scope = Scope::new(json!({}), listing(&longest));
    assert_eq!(
        scope.provider.list(&fleet()).await.unwrap().instances.len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_for_more_than_is_taken_today_may_be_a_repeat_and_is_made() {
    let scope = Scope::new(json!({"batchMax": 1}), listing(&instance()));
    let mut asked = request(1);
    asked.slots.extend(request(2).slots);
    let provisioned = scope.provider.provision(&asked).await.unwrap();
    assert_eq!(provisioned.made.len(), 1, "as the plugin says");
    let told = scope.told.lock().unwrap();
    assert_eq!(told[0]["slots"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_optional_may_be_null() {
    let described =
        json!({"batchMax": null, "visibilityMs": null, "methods": null, "properties": null});
    let mut exited = with("/phase", json!("exited"));
    exited["exit"] = json!({"code": null, "signal": null, "message": null});
    for field in ["address", "zone", "createdAt", "interruption"] {
        exited[field] = Json::Null;
    }
    exited["owner"]["seat"] = Json::Null;
    let mut page = listing(&exited);
    for field in ["attached", "places", "next", "why"] {
        page[field] = Json::Null;
    }
    let scope = Scope::new(described, page);
    let listed = scope.provider.list(&fleet()).await.unwrap();
    assert!(listed.instances[0].ownership.is_some());
    assert_eq!(listed.completeness, Completeness::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_arrive_filled_in_unless_an_address_is_waited_for() {
    let scope = Scope::new(json!({}), listing(&instance()));
    let mut asked = request(1);
    let reference = SecretRef::Env("DATABASE".to_owned());
    let value = SecretText::new("a${b}c".to_owned());
    asked.secrets.insert(reference.clone(), value);
    let slot = &mut asked.slots[0];
    slot.init = vec!["echo $${HOME} $$".to_owned()];
    slot.env.insert("P".to_owned(), "$${PATH}".to_owned());
    slot.secrets.insert("D".to_owned(), reference);
    slot.tags.insert("t".to_owned(), "x$${y}".to_owned());
    asked.properties = [("note".to_owned(), Value::from("$${n}"))]
        .into_iter()
        .collect();
    scope.provider.provision(&asked).await.unwrap();
    asked.slots[0]
        .init
        .push("echo ${instance.address}".to_owned());
    scope.provider.provision(&asked).await.unwrap();

    let told = scope.told.lock().unwrap().clone();
    let (finished, left) = (&told[0], &told[1]);
    assert_eq!(finished["substitute"], Json::Null);
    let slot = &finished["slots"][0];
    assert_eq!(slot["init"], json!(["echo ${HOME} $$"]));
    assert_eq!(slot["env"], json!({"P": "${PATH}", "D": "a${b}c"}));
    assert_eq!(slot["tags"], json!({"t": "x${y}"}));
    assert_eq!(finished["properties"], json!({"note": "${n}"}));
    assert_eq!(left["substitute"], json!(true));
    let slot = &left["slots"][0];
    assert_eq!(
        slot["init"],
        json!(["echo $${HOME} $$", "echo ${instance.address}"])
    );
    assert_eq!(slot["env"], json!({"P": "$${PATH}", "D": "a$${b}c"}));
    assert_eq!(left["properties"], json!({"note": "$${n}"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_cannot_be_filled_in_is_refused_before_the_call() {
    let scope = Scope::new(json!({}), listing(&instance()));
    let mut asked = request(1);
    asked.slots[0].init = vec!["echo ${nothing.known}".to_owned()];
    let refused = scope.provider.provision(&asked).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    assert!(scope.told.lock().unwrap().is_empty());
}
