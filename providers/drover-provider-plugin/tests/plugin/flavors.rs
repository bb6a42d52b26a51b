//! Flavor plugins: asked whole, in the words of InfraKit's, and never believed when they cannot be.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_model::{CheckOutcome, ErrorClass, FlavorName, GroupName, MemberId, ProviderRef, Value};
use drover_provider::{
    Allocation, FlavorCall, FlavorIndex, FlavorInstance, FlavorPrepared, FlavorRequest, FlavorSpec,
    Flavors as _, ProviderError,
};
use drover_provider_plugin::{
    CloudInitService, Directory, Place, PluginFlavors, Served, ServedSocket, Service,
    VanillaService, from_json,
};
use serde_json::{Value as Json, json};

use crate::fake::{Fake, Trouble};
use crate::support::assert_failed;

const PREPARE: &str = "Flavor.Prepare";
const VALIDATE: &str = "Flavor.Validate";
const HELLO: &str = "Handshake.Hello";
const LIMIT: Duration = Duration::from_millis(500);

struct Flavor {
    folder: tempfile::TempDir,
    fake: Fake,
}

impl Flavor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fake = Fake::start(folder.path(), "fake");
        fake.set_flavor(&[]);
        Self { folder, fake }
    }

    fn host(&self) -> PluginFlavors {
        PluginFlavors::new(Place::Named(Directory::new(self.folder.path())))
    }

    async fn prepare(&self, request: &FlavorRequest) -> Result<FlavorPrepared, ProviderError> {
        self.host().prepare(request, LIMIT).await
    }
}

fn call(name: &str, properties: &Json) -> FlavorCall {
    FlavorCall {
        name: FlavorName::parse(name).unwrap(),
        properties: from_json(properties),
    }
}

fn request(name: &str, properties: &Json) -> FlavorRequest {
    FlavorRequest {
        flavor: call(name, properties),
        spec: FlavorSpec {
            properties: from_json(&json!({"image": "a"})),
            tags: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
        },
        allocation: Allocation::Size(3),
        index: FlavorIndex {
            group: GroupName::parse("web").unwrap(),
            number: 7,
            member: None,
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_asked_whether_it_takes_the_properties_and_then_what_it_makes() {
    let flavor = Flavor::new();
    let made = flavor
        .prepare(&request("fake/worker", &json!({"a": 1})))
        .await
        .unwrap();
    assert_eq!(made.init, "join web as 7");
    let tags = [("link", "a/b=c"), ("team", "shop")];
    let tags = tags.map(|(name, tag)| (name.to_owned(), tag.to_owned()));
    assert_eq!(made.tags, BTreeMap::from(tags));
    assert_eq!(
        made.properties,
        Some(from_json(&json!({"image": "a"}))),
        "as they were"
    );
    let allocation = json!({"Size": 3, "LogicalIDs": null});
    assert_eq!(
        flavor.fake.calls(VALIDATE),
        [json!({"Type": "worker", "Properties": {"a": 1}, "Allocation": allocation})]
    );
    assert_eq!(
        flavor.fake.calls(PREPARE),
        [json!({
            "Type": "worker", "Properties": {"a": 1}, "Allocation": allocation,
            "Spec": {"Properties": {"image": "a"}, "Tags": {"team": "shop"}, "Init": "", "LogicalID": null, "Attachments": null},
            "Index": {"Group": "web", "Sequence": 7},
        })]
    );

    let member = MemberId::parse("10-0-0-5").unwrap();
    let mut seated = request("fake/lead", &json!({"properties": {"more": 2}}));
    seated.allocation = Allocation::Members(vec![member.clone()]);
    seated.index.member = Some(member);
    let made = flavor.prepare(&seated).await.unwrap();
    assert_eq!(made.properties, Some(from_json(&json!({"more": 2}))));
    let asked = &flavor.fake.calls(PREPARE)[1];
    assert_eq!(asked["Spec"]["LogicalID"], "10.0.0.5");
    let allocation = json!({"Size": 0, "LogicalIDs": ["10.0.0.5"]});
    assert_eq!(asked["Allocation"], allocation);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_refuses_is_told_in_its_words_and_not_asked_for_twice() {
    let flavor = Flavor::new();
    let bad = request("fake/worker", &json!({"bad": true}));
    let says = "fake/worker: Flavor.Validate: bad properties";
    let error = flavor.prepare(&bad).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert!(error.message.contains(says), "{error}");
    assert_eq!(flavor.fake.calls(PREPARE).len(), 0);

    flavor.fake.trouble(PREPARE, Trouble::Class("quota"));
    let quota = flavor.prepare(&request("fake/worker", &json!({}))).await;
    assert_eq!(quota.unwrap_err().class, ErrorClass::Quota);
    let nothing = "{\"result\":{\"OK\":false}}";
    flavor.fake.trouble(VALIDATE, Trouble::Says(nothing));
    let no = flavor.prepare(&request("fake/worker", &json!({}))).await;
    let error = no.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec, "{error}");

    for (name, value) in [
        ("Attachments", json!([{"ID": "v1", "Type": "ebs"}])),
        ("LogicalID", json!("other")),
    ] {
        let request = request("fake/worker", &json!({ name: value }));
        let error = flavor.prepare(&request).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::InvalidSpec);
        let says = format!(
            "Flavor.Prepare: it sets {}",
            if name == "LogicalID" {
                "the LogicalID other"
            } else {
                name
            }
        );
        assert!(error.message.contains(&says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_unknown_and_names_plugin_and_call() {
    let flavor = Flavor::new();
    let troubles = [
        (Trouble::Hang, "no answer"),
        (Trouble::LostReply, "no answer"),
        (Trouble::LostRequest, "no answer"),
        (Trouble::Truncated, "ends early"),
        (Trouble::Endless, "larger than 32 MiB"),
        (Trouble::Says(""), "the answer is empty"),
        (Trouble::Says("<html>"), "not JSON"),
        (Trouble::Says("[]"), "not a JSON object"),
        (Trouble::Says("{\"id\":1}"), "neither a result nor an error"),
        (Trouble::Says("{\"result\":{}}"), "`Spec` is not a map"),
        (
            Trouble::Says("{\"result\":{\"Spec\":{\"Init\":[]}}}"),
            "`Init` is not a text",
        ),
    ];
    for (trouble, says) in troubles {
        flavor.fake.trouble(PREPARE, trouble);
        let asked = request("fake/worker", &json!({}));
        let error = flavor.prepare(&asked).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Unknown, "{error}");
        let named = error
            .message
            .starts_with("plugin fake/worker: Flavor.Prepare: ");
        assert!(named && error.message.contains(says), "{says}: {error}");
    }
    // Each of them was asked once: whoever wants to know again asks again.
    assert_eq!(flavor.fake.calls(PREPARE).len(), 11);
    assert!(
        flavor
            .prepare(&request("fake/worker", &json!({})))
            .await
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_limit_holds_for_all_that_is_asked_together() {
    let flavor = Flavor::new();
    for method in [HELLO, VALIDATE, PREPARE] {
        let slow = Trouble::Slow(Duration::from_millis(300));
        flavor.fake.trouble(method, slow);
    }
    let begun = std::time::Instant::now();
    let late = flavor.prepare(&request("fake/worker", &json!({}))).await;
    assert_eq!(late.unwrap_err().class, ErrorClass::Unknown);
    assert!(begun.elapsed() < Duration::from_millis(590), "not each");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_flavors_that_are_there_are_asked() {
    let flavor = Flavor::new();
    let asked = |name: &str| {
        let (host, request) = (flavor.host(), request(name, &json!({})));
        async move { host.prepare(&request, LIMIT).await }
    };
    let missing = asked("other").await.unwrap_err();
    assert_eq!(missing.class, ErrorClass::Unknown, "it may come");
    assert!(
        missing.message.contains("there is no socket other"),
        "{missing}"
    );
    for (name, says) in [
        ("fake", "it needs a subtype, one of lead, worker"),
        ("fake/boss", "it has no subtype boss; it has lead, worker"),
    ] {
        assert_failed(
            asked(name).await.map_err(short),
            ErrorClass::InvalidSpec,
            says,
        );
    }
    let objects = json!({"Objects": {"Instance/0.6.1": [{"Name": "."}]}});
    flavor.fake.set_handshake(json!({ HELLO: objects }));
    let says = "Plugin does not support interface Flavor/0.1.1";
    assert_failed(asked("fake").await, ErrorClass::InvalidSpec, says);
    let newer = json!({"Objects": {"Flavor/0.2.0": [{"Name": "."}]}});
    flavor.fake.set_handshake(json!({ HELLO: newer }));
    let says = "Plugin supports Flavor interface version 0.2.0, client requires 0.1.1";
    assert_failed(asked("fake").await, ErrorClass::InvalidSpec, says);
    // The first releases of InfraKit.
    let apis = json!({"APIs": [{"Name": "Flavor", "Version": "0.1.0"}]});
    flavor
        .fake
        .set_handshake(json!({"Plugin.Implements": apis}));
    assert!(asked("fake").await.is_ok());
    assert_eq!(flavor.fake.calls(PREPARE).len(), 1);
}

/// Takes the subtype out of the plugin's name.
fn short(error: ProviderError) -> ProviderError {
    let message = error.message.replace("fake/boss: ", "fake: ");
    ProviderError::new(error.class, message)
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_flavors_are_plugins_like_any() {
    let flavor = Flavor::new();
    let serve = |name: &str, service: Box<dyn Service>| {
        let socket = ServedSocket::bind(&flavor.folder.path().join(name)).unwrap();
        let served = Served::new(vec![service]);
        tokio::spawn(async move { served.serve(&socket).await });
    };
    serve("vanilla", Box::new(VanillaService));
    serve("cloudInit", Box::new(CloudInitService));
    let properties = json!({"Init": ["echo a", "echo b"], "Tags": {"tier": "web"}});
    let made = flavor
        .prepare(&request("vanilla", &properties))
        .await
        .unwrap();
    assert_eq!(made.init, "echo a\necho b");
    assert_eq!((made.tags["tier"].as_str(), made.tags.len()), ("web", 2));
    let error = flavor
        .prepare(&request("vanilla", &json!({"Init": "a"})))
        .await;
    let error = error.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert!(error.message.contains("Init: expected a list"), "{error}");

    let part = json!({"contentType": "text/cloud-config", "content": "#cloud-config\n"});
    let parts = request("cloudInit", &json!({"parts": [part]}));
    assert!(
        flavor
            .prepare(&parts)
            .await
            .unwrap()
            .init
            .starts_with("MIME-Version")
    );
    let empty = flavor.prepare(&request("cloudInit", &json!({}))).await;
    assert_eq!(empty.unwrap_err().class, ErrorClass::InvalidSpec);
    let none = FlavorCall {
        properties: Value::Null,
        ..call("vanilla", &json!({}))
    };
    let nothing = FlavorRequest {
        flavor: none,
        ..request("vanilla", &json!({}))
    };
    assert_eq!(flavor.prepare(&nothing).await.unwrap().init, "");
}

fn instance(handle: &str) -> FlavorInstance {
    FlavorInstance {
        provider_ref: ProviderRef::parse(handle).unwrap(),
        member: Some(MemberId::parse("10-0-0-5").unwrap()),
        tags: BTreeMap::from([("link".to_owned(), "a/b=c".to_owned())]),
        properties: from_json(&json!({"image": "a"})),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugins_word_on_health_is_believed_and_nothing_else_is_taken_for_one() {
    let flavor = Flavor::new();
    let known = [("i-0", 0), ("i-1", 1), ("i-2", 2), ("i-7", 7)];
    flavor.fake.set_flavor(&known);
    let host = flavor.host();
    let call = call("fake/worker", &json!({"a": 1}));
    let says = |handle: &'static str| {
        let (host, call) = (host.clone(), call.clone());
        async move { host.healthy(&call, &instance(handle), LIMIT).await }
    };
    assert_eq!(says("i-1").await, CheckOutcome::Passing);
    let why = "plugin fake/worker: Flavor.Healthy: it is unhealthy".to_owned();
    assert_eq!(says("i-2").await, CheckOutcome::Failing { why });
    let unknown = |outcome: CheckOutcome, what: &str| {
        let CheckOutcome::Unknown { why } = outcome else {
            panic!("{outcome:?}");
        };
        let named = why.starts_with("plugin fake/worker: Flavor.Healthy: ");
        assert!(named && why.contains(what), "{what}: {why}");
    };
    unknown(says("i-0").await, "it does not know");
    unknown(says("i-7").await, "it answers 7");
    let asked = &flavor.fake.calls("Flavor.Healthy")[0];
    assert_eq!(
        *asked,
        json!({"Type": "worker", "Properties": {"a": 1}, "Instance": {
            "ID": "i-1", "LogicalID": "10.0.0.5", "Tags": {"link": "a/b=c"}, "Properties": {"image": "a"},
        }})
    );
    for (trouble, what) in [
        (Trouble::Hang, "no answer within 500ms"),
        (Trouble::LostReply, "no answer"),
        (Trouble::Says("{\"result\":{}}"), "`Health` is not a number"),
        (
            Trouble::Says("{\"result\":{\"Health\":-1}}"),
            "`Health` is not a number",
        ),
        (Trouble::Says("{\"error\":\"boom\"}"), "boom"),
        (Trouble::Class("quota"), "no"),
    ] {
        flavor.fake.trouble("Flavor.Healthy", trouble);
        unknown(says("i-1").await, what);
    }
    let gone = FlavorCall {
        name: FlavorName::parse("gone").unwrap(),
        ..call
    };
    let (one, missing) = (instance("i-1"), flavor.host());
    let missing = missing.healthy(&gone, &one, LIMIT);
    let CheckOutcome::Unknown { why } = missing.await else {
        panic!("a plugin that is not there says nothing");
    };
    assert!(why.contains("there is no socket gone"), "{why}");
}
