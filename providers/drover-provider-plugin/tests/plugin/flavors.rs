//! Flavor plugins: asked whole, in the words of InfraKit's, and never believed when they cannot be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drover_model::{
    CheckOutcome, ErrorClass, FlavorName, GroupName, InstanceId, IntentId, MemberId, ProviderRef,
    Value,
};
use drover_provider::conformance::Outcome;
use drover_provider::{
    Allocation, ClusterHealth, ClusterMember, ClusterReport, ClusterView, FlavorCall, FlavorIndex,
    FlavorInstance, FlavorPrepared, FlavorRequest, FlavorSpec, Flavors as _, ProviderError,
};
use drover_provider_plugin::{
    CloudInitService, Directory, FlavorSubject, Place, PluginFlavors, Served, ServedSocket,
    Service, VanillaService, check_flavor, from_json, is_flavor,
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
        cluster: Arc::default(),
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

    let moved = request("fake/worker", &json!({"LogicalID": "other"}));
    let error = flavor.prepare(&moved).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    let says = "Flavor.Prepare: it sets the LogicalID other";
    assert!(error.message.contains(says), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_attaches_is_read_in_its_order_and_never_half() {
    let flavor = Flavor::new();
    let attached = json!([{"ID": "v2", "Type": "ebs"}, {"ID": "v1", "Type": ""}]);
    let asked = request("fake/worker", &json!({ "Attachments": attached }));
    let made = flavor.prepare(&asked).await.unwrap();
    let made: Vec<(&str, &str)> = made
        .attachments
        .iter()
        .map(|one| (one.id.as_str(), one.type_.as_str()))
        .collect();
    assert_eq!(made, [("v2", "ebs"), ("v1", "")]);
    // Each flavor is told of nothing that others attach, as in InfraKit's groups.
    assert_eq!(
        flavor.fake.calls(PREPARE)[0]["Spec"]["Attachments"],
        json!(null)
    );

    let half = json!([{"ID": "v1", "Type": "ebs"}, {"Type": "ebs"}]);
    let asked = request("fake/worker", &json!({ "Attachments": half }));
    let error = flavor.prepare(&asked).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unknown);
    let says =
        "plugin fake/worker: Flavor.Prepare: the answer cannot be read: an attachment has no `ID`";
    assert!(error.message.contains(says), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_unknown_and_names_plugin_and_call() {
    let flavor = Flavor::new();
    let troubles = [
        (Trouble::Hang, "no answer"),
        (Trouble::LostReply, "no answer"),
        (Trouble::LostRequest, "no answer"),
        (Trouble::Truncated, "ends early"),
        (Trouble::Endless, "larger than 4 MiB"),
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
            asked(name).await.map_err(|error| short(&error)),
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
fn short(error: &ProviderError) -> ProviderError {
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

/// What the suite finds wrong, by the checks' names.
async fn failures(flavor: &Flavor, plugin: &str, properties: &Json, invalid: &Json) -> Vec<String> {
    let (properties, invalid) = (from_json(properties), from_json(invalid));
    let subject = FlavorSubject {
        plugin: plugin.parse().unwrap(),
        place: Place::Named(Directory::new(flavor.folder.path())),
        properties: &properties,
        invalid: Some(&invalid),
        limit: LIMIT,
    };
    assert!(is_flavor(&subject.plugin, &subject.place).await);
    let report = check_flavor(&subject).await;
    assert_eq!(report.results.len(), 9, "\n{report}");
    let results = report.results.into_iter();
    let failed = results.filter_map(|result| match result.outcome {
        Outcome::Passed => None,
        Outcome::Failed { why } | Outcome::Skipped { why } => {
            Some(format!("{}: {why}", result.name))
        }
    });
    failed.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_ours_and_the_fake_and_tells_what_a_bad_one_does() {
    let flavor = Flavor::new();
    let serve = |name: &str, service: Box<dyn Service>| {
        let socket = ServedSocket::bind(&flavor.folder.path().join(name)).unwrap();
        let served = Served::new(vec![service]);
        tokio::spawn(async move { served.serve(&socket).await });
    };
    serve("vanilla", Box::new(VanillaService));
    serve("cloudInit", Box::new(CloudInitService));
    let none = Vec::<String>::new();
    let (vanilla, wrong) = (
        json!({"Init": ["a"], "Tags": {"b": "c"}}),
        json!({"Init": "a"}),
    );
    assert_eq!(failures(&flavor, "vanilla", &vanilla, &wrong).await, none);
    let part = json!({"contentType": "text/cloud-config", "content": "#cloud-config\n"});
    let (parts, wrong) = (json!({"parts": [part]}), json!({"parts": []}));
    assert_eq!(failures(&flavor, "cloudInit", &parts, &wrong).await, none);
    let (good, bad) = (json!({"a": 1}), json!({"bad": true}));
    assert_eq!(failures(&flavor, "fake/lead", &good, &bad).await, none);

    // Each of these spoils the checks that ask for it.
    let found = failures(&flavor, "fake/worker", &bad, &good).await;
    assert_eq!(
        found,
        [
            "validate: plugin fake/worker: Flavor.Validate: bad properties",
            "invalid: Flavor.Validate takes them",
        ]
    );
    let attaches = json!({"Attachments": [{"ID": "v1", "Type": "ebs"}]});
    assert_eq!(
        failures(&flavor, "fake/worker", &attaches, &bad).await,
        none
    );
    let moves = json!({"LogicalID": "other"});
    let found = failures(&flavor, "fake/worker", &moves, &bad).await;
    let names: Vec<&str> = found
        .iter()
        .filter_map(|one| one.split(':').next())
        .collect();
    assert_eq!(
        names,
        ["prepare", "prepare-tags", "prepare-again"],
        "{found:?}"
    );

    flavor.fake.set_flavor(&[("drover-conformance-nobody", 9)]);
    let forgets = "{\"result\":{\"Spec\":{\"Tags\":{\"drover.group\":\"x\"}}}}";
    let loses = "{\"result\":{\"Spec\":{}}}";
    for (answer, says) in [
        (forgets, "it sets drover.group"),
        (loses, "it leaves conformance.foreign out"),
    ] {
        flavor.fake.trouble(PREPARE, Trouble::Says(loses));
        flavor.fake.trouble(PREPARE, Trouble::Says(answer));
        let found = failures(&flavor, "fake/worker", &good, &bad).await;
        let wanted = [
            format!("prepare-tags: {says}"),
            "health-nobody: 9 is no health".to_owned(),
        ];
        assert!(
            found[0].starts_with(&wanted[0]) && found[1] == wanted[1],
            "{found:?}"
        );
        assert_eq!(found.len(), 2);
    }
    flavor.fake.trouble("Flavor.Drain", Trouble::LostReply);
    let found = failures(&flavor, "fake/worker", &good, &bad).await;
    assert!(
        found[1].starts_with("drain-nobody: plugin fake/worker: Flavor.Drain: no answer"),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_instances_too_or_is_not_there_is_no_flavor_alone() {
    let flavor = Flavor::new();
    let place = Place::Named(Directory::new(flavor.folder.path()));
    let flavored = json!([{"Name": "."}]);
    let both = json!({"Objects": {"Flavor/0.1.1": flavored, "Instance/0.6.1": flavored}});
    flavor.fake.set_handshake(json!({ HELLO: both }));
    for name in ["fake", "gone"] {
        assert!(!is_flavor(&name.parse().unwrap(), &place).await, "{name}");
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_takes_long_is_joined_and_one_that_failed_is_told_anew() {
    const DRAIN: &str = "Flavor.Drain";
    let flavor = Flavor::new();
    let host = flavor.host();
    let (call, one) = (call("fake/worker", &json!({"a": 1})), instance("i-1"));
    let drain = async |id: u64, limit: u64| {
        let limit = Duration::from_millis(limit);
        host.drain(&call, &one, IntentId(id), limit).await
    };
    flavor
        .fake
        .trouble(DRAIN, Trouble::Slow(Duration::from_millis(300)));
    for _ in 0..2 {
        let error = drain(1, 50).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Unknown);
        assert_eq!(
            error.message,
            "plugin fake/worker: Flavor.Drain: no answer yet"
        );
    }
    assert_eq!(drain(1, 5000).await, Ok(()));
    assert_eq!(drain(1, 50).await, Ok(()), "it has");
    assert_eq!(flavor.fake.calls(DRAIN).len(), 1);
    let asked = &flavor.fake.calls(DRAIN)[0];
    let whom = ["Type", "Properties", "Instance"].map(|name| asked[name].clone());
    let instance = json!({"ID": "i-1", "LogicalID": "10.0.0.5", "Tags": {"link": "a/b=c"}, "Properties": {"image": "a"}});
    assert_eq!(whom, [json!("worker"), json!({"a": 1}), instance]);

    // Another drain of the same instance is another one.
    for (trouble, says) in [
        (Trouble::LostReply, "no answer"),
        (Trouble::Says("{\"error\":{\"message\":\"busy\"}}"), "busy"),
        (
            Trouble::Says("{\"result\":{\"OK\":false}}"),
            "it has not drained",
        ),
    ] {
        flavor.fake.trouble(DRAIN, trouble);
        let error = drain(2, 5000).await.unwrap_err();
        assert!(error.message.contains(says), "{says}: {error}");
    }
    assert_eq!(drain(2, 5000).await, Ok(()));
    assert_eq!(flavor.fake.calls(DRAIN).len(), 5);
}

const CLUSTER: &str = "Cluster.Health";

/// Lets the fake keep clusters.
fn keep_clusters(flavor: &Flavor) {
    let objects = json!([{"Name": "worker", "ProxyFor": ""}, {"Name": "lead"}]);
    let offers = json!({"Flavor/0.1.1": objects, "Cluster/1": objects});
    let answers = json!({"Handshake.Hello": {"Objects": offers}});
    flavor.fake.set_handshake(answers);
}

fn two() -> ClusterView {
    let member = |name: &str, address: &str| ClusterMember {
        instance: InstanceId::parse(name).unwrap(),
        provider_ref: ProviderRef::parse(&format!("i-{name}")).unwrap(),
        member: None,
        address: Some(address.to_owned()),
        running: true,
    };
    let members = vec![member("web-1", "10.0.0.1"), member("web-2", "10.0.0.2")];
    let leader = InstanceId::parse("web-2").unwrap();
    ClusterView::new(members, Some(leader)).with_secrets(["JOIN".to_owned()].into())
}

async fn ask(host: &PluginFlavors, name: &str) -> Option<ClusterReport> {
    let (flavor, group) = (
        call(name, &json!({"a": 1})),
        GroupName::parse("web").unwrap(),
    );
    host.cluster_health(&flavor, &group, &two(), LIMIT).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_keeps_a_cluster_is_asked_about_it_and_told_whom_to_join() {
    let flavor = Flavor::new();
    let host = flavor.host();
    // One of InfraKit's: it is told nothing that it does not know, and asked nothing.
    let joins = FlavorRequest {
        cluster: Arc::new(two()),
        ..request("fake/lead", &json!({}))
    };
    host.prepare(&joins, LIMIT).await.unwrap();
    assert_eq!(flavor.fake.calls(PREPARE)[0].get("Cluster"), None);
    assert_eq!(ask(&host, "fake/lead").await, None);
    assert_eq!(flavor.fake.calls(CLUSTER).len(), 0);

    keep_clusters(&flavor);
    host.prepare(&joins, LIMIT).await.unwrap();
    let member = |name: &str, address: &str| json!({"ID": format!("i-{name}"), "Name": name, "LogicalID": null, "Address": address, "Running": true});
    let members = [member("web-1", "10.0.0.1"), member("web-2", "10.0.0.2")];
    let join = json!({"Addresses": ["10.0.0.2", "10.0.0.1"], "Secrets": ["JOIN"]});
    let view = json!({"Members": members, "Leader": "i-web-2", "Join": join});
    assert_eq!(flavor.fake.calls(PREPARE)[1]["Cluster"], view);

    let says = |text| flavor.fake.trouble(CLUSTER, Trouble::Says(text));
    says("{\"result\":{\"Health\":\"healthy\",\"Leader\":\"i-web-1\"}}");
    let report = ask(&host, "fake/lead").await.unwrap();
    assert_eq!(report.health, ClusterHealth::Healthy);
    assert_eq!(report.leader.unwrap().as_str(), "i-web-1");
    let asked = &flavor.fake.calls(CLUSTER)[0];
    assert_eq!(
        *asked,
        json!({"Type": "lead", "Properties": {"a": 1}, "Group": "web", "Cluster": view})
    );
    says("{\"result\":{\"Health\":\"degraded\",\"Why\":\"1 of 3 is away\"}}");
    let why = "plugin fake/lead: 1 of 3 is away".to_owned();
    assert_eq!(
        ask(&host, "fake/lead").await.unwrap().health,
        ClusterHealth::Degraded { why }
    );
    says("{\"result\":{\"Health\":\"unknown\"}}");
    let why = "plugin fake/lead gives no reason".to_owned();
    assert_eq!(
        ask(&host, "fake/lead").await.unwrap().health,
        ClusterHealth::Unknown { why }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_nobody_can_speak_for_is_unknown_and_never_well() {
    let flavor = Flavor::new();
    keep_clusters(&flavor);
    let host = flavor.host();
    let unknown = |report: Option<ClusterReport>| match report.unwrap().health {
        ClusterHealth::Unknown { why } => why,
        other => panic!("{other:?}"),
    };
    for (trouble, words) in [
        (
            Trouble::Says("{\"result\":{\"Health\":\"splendid\"}}"),
            "`Health`",
        ),
        (Trouble::Says("{\"result\":{}}"), "`Health`"),
        (Trouble::Says("{\"result\":[]}"), "not a map"),
        (Trouble::Class("throttled"), "Cluster.Health"),
        (Trouble::LostReply, "Cluster.Health"),
        (Trouble::Truncated, "Cluster.Health"),
        (Trouble::Hang, "Cluster.Health"),
    ] {
        flavor.fake.trouble(CLUSTER, trouble.clone());
        let why = unknown(ask(&host, "fake/lead").await);
        assert!(why.contains("fake/lead"), "{trouble:?}: {why}");
        assert!(why.contains(words), "{trouble:?}: {why}");
    }
    // It was there, and is not any more: it keeps its cluster all the same.
    std::fs::remove_file(&flavor.fake.socket).unwrap();
    unknown(ask(&host, "fake/lead").await);
    // Of one that was never met nobody knows.
    unknown(ask(&host, "nobody").await);
    // One that has said that it keeps none need not be there.
    let plain = Flavor::new();
    let host = plain.host();
    assert_eq!(ask(&host, "fake/lead").await, None);
    std::fs::remove_file(&plain.fake.socket).unwrap();
    assert_eq!(ask(&host, "fake/lead").await, None);
}
