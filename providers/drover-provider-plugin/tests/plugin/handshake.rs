//! Plugins of every release, and plugins that are not there.

use drover_model::{ErrorClass, Value};
use drover_provider_plugin::from_json;
use serde_json::{Value as Json, json};

use crate::fake::Trouble;
use crate::support::{Scope, assert_failed, destroying, fleet, make, request, values};

fn apis(version: &str) -> Json {
    json!({"APIs": [{"Name": "Instance", "Version": version, "Sub": ""}]})
}

/// Lives a short life with a plugin that answers the handshake so, and returns what was sent.
async fn life(handshake: Json) -> Vec<(&'static str, Json)> {
    let scope = Scope::new();
    scope.fake.set_handshake(handshake);
    let provider = scope.open();
    let one = make(&provider, &request(1)).await;
    provider.list(&fleet()).await.unwrap();
    provider
        .destroy(&destroying(&request(1), &one))
        .await
        .unwrap();
    let methods = [
        "Instance.Validate",
        "Instance.Provision",
        "Instance.DescribeInstances",
        "Instance.Destroy",
    ];
    methods
        .map(|method| (method, scope.fake.calls(method)[0].clone()))
        .into()
}

fn keys(params: &Json) -> Vec<&str> {
    params
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_release_is_spoken_to_in_its_own_fields() {
    let types = json!({"Types": {"Instance/0.5.0": []}});
    let hello = json!({"Objects": {"Instance/0.6.1": [{"Name": "."}]}});
    let cases = [
        (
            json!({"Plugin.Implements": apis("0.1.0")}),
            false,
            false,
            false,
        ),
        (
            json!({"Handshake.Implements": apis("0.3.0")}),
            true,
            false,
            false,
        ),
        (
            json!({"Handshake.Implements": apis("0.5.0"), "Handshake.Types": types}),
            true,
            true,
            false,
        ),
        (json!({"Handshake.Hello": hello}), true, true, true),
    ];
    for (handshake, types, flags, reasons) in cases {
        let sent = life(handshake.clone()).await;
        for (method, params) in &sent {
            assert_eq!(
                keys(params).contains(&"Type"),
                types,
                "{handshake} {method}"
            );
        }
        assert_eq!(
            keys(&sent[2].1).contains(&"Properties"),
            flags,
            "{handshake}"
        );
        assert_eq!(
            keys(&sent[3].1).contains(&"Context"),
            reasons,
            "{handshake}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_another_version_is_refused_by_name() {
    let scope = Scope::new();
    scope.fake.set_handshake(
        json!({"Handshake.Hello": {"Objects": {"Instance/0.9.0": [{"Name": "."}]}}}),
    );
    let opened = scope.try_open(&values(&[("plugin", "fake")]));
    assert_failed(
        opened,
        ErrorClass::InvalidSpec,
        "Plugin supports Instance interface version 0.9.0, client requires 0.6.1",
    );
    scope.fake.set_handshake(json!({}));
    let other = scope
        .try_open(&values(&[("plugin", "fake/compute")]))
        .unwrap_err();
    assert!(
        other
            .message
            .contains("Handshake.Hello: rpc: can't find method"),
        "{other}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_not_there_or_hangs_costs_a_moment_and_names_the_call() {
    let scope = Scope::new();
    let missing = scope.try_open(&values(&[("plugin", "other")])).unwrap_err();
    assert_eq!(missing.class, ErrorClass::Unknown);
    assert!(
        missing
            .message
            .contains("plugin other: Handshake.Hello: there is no socket other"),
        "{missing}"
    );

    scope.fake.trouble("Handshake.Hello", Trouble::Hang);
    let fake = values(&[("plugin", "fake")]);
    assert_failed(
        scope.try_open(&fake),
        ErrorClass::Unknown,
        "Handshake.Hello: no answer yet",
    );
    let again = std::time::Instant::now();
    assert_failed(
        scope.try_open(&fake),
        ErrorClass::Unknown,
        "Handshake.Hello: no answer yet",
    );
    assert!(
        again.elapsed().as_millis() < 500,
        "the second time is not waited for"
    );

    // Nor are other documents that name it, nor a later time: the handshake has failed by then.
    for _ in 0..100 {
        scope.fake.trouble("Handshake.Hello", Trouble::Hang);
    }
    let many = std::time::Instant::now();
    for number in 0..30 {
        scope.try_open(&own(number)).unwrap_err();
    }
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    for number in 0..30 {
        let refused = scope.try_open(&own(number)).unwrap_err();
        assert!(refused.message.contains("Handshake.Hello"), "{refused}");
    }
    let waited = many.elapsed().as_millis();
    assert!(waited < 7_500, "{waited} ms");

    let bad = scope
        .try_open(&values(&[("plugin", "../fake")]))
        .unwrap_err();
    assert_eq!(bad.class, ErrorClass::InvalidSpec, "{bad}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_elsewhere_is_found_by_its_listen_file() {
    let scope = Scope::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = scope.fake.socket.clone();
    tokio::spawn(async move {
        while let Ok((mut outside, _)) = listener.accept().await {
            let mut inside = tokio::net::UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(
                async move { tokio::io::copy_bidirectional(&mut outside, &mut inside).await },
            );
        }
    });
    let path = scope.folder.path().join("far.listen");
    std::fs::write(path, format!("tcp://{address}\n")).unwrap();
    let provider = scope.try_open(&values(&[("plugin", "far")])).unwrap();
    make(&provider, &request(1)).await;
    assert_eq!(provider.list(&fleet()).await.unwrap().instances.len(), 1);
}

/// A document's settings for a plugin of our own kind; another number is another scope.
fn own(number: u64) -> Value {
    from_json(&json!({"plugin": "fake", "settings": {"number": number}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_checked_by_what_a_plugin_says_of_them_if_it_says_anything() {
    let scope = Scope::new();
    let hello = json!({"Objects": {"Provider/1": [{"Name": "."}]}});
    scope.fake.set_handshake(json!({"Handshake.Hello": hello}));
    let describes = || {
        let described = r#"{"result": {"batchMax": 1}}"#;
        scope
            .fake
            .trouble("Provider.Describe", Trouble::Says(described));
    };
    let settings = |answer| {
        scope
            .fake
            .trouble("Provider.Settings", Trouble::Says(answer));
    };
    // A plugin that is older than the method, and one that has nothing to say.
    describes();
    assert!(scope.try_open(&own(1)).is_ok());
    settings(r#"{"result": {}}"#);
    describes();
    assert!(scope.try_open(&own(2)).is_ok());
    let schema = r#"{"result": {"settings": {"type": "object", "properties": {"nmuber": {"type": "integer"}}, "additionalProperties": false}}}"#;
    settings(schema);
    let opened = scope.try_open(&own(3));
    let says = "settings: number: unknown field";
    assert_failed(opened, ErrorClass::InvalidSpec, says);
    settings(schema);
    let described = scope.describe(&own(3)).unwrap().unwrap();
    let mistake = &described.mistakes[0];
    assert_eq!(mistake.path, "settings.number");
    assert_eq!(mistake.suggestion.as_deref(), Some("nmuber"));
    // What cannot be read is no leave to go on.
    for (number, garbled) in [
        (4, r#"{"result": {"settings": {"type": "strnig"}}}"#),
        (5, r#"{"result": 1}"#),
    ] {
        settings(garbled);
        let opened = scope.try_open(&own(number));
        let says = "Provider.Settings: the answer cannot be read";
        assert_failed(opened, ErrorClass::Unknown, says);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_plugin_is_another_place_and_of_its_own_settings_a_plugin_knows() {
    let scope = Scope::new();
    let of = |document| from_json(&document);
    let moved = |before, after| scope.moved(&of(before), &of(after));
    let fake = |settings| json!({"plugin": "fake", "settings": settings});
    let other = json!({"plugin": "other", "visibility": "5s"});
    assert_eq!(
        moved(json!({"plugin": "fake"}), other).as_deref(),
        Some("plugin")
    );
    let slower = json!({"timeout": "5s", "plugin": "fake"});
    assert_eq!(moved(json!({"plugin": "fake"}), slower), None);
    assert_eq!(moved(json!({"plugin": "fake"}), fake(json!({}))), None);
    // Nobody was asked: everything counts.
    let (here, there) = (json!({"at": "a", "log": 1}), json!({"log": 1, "at": "b"}));
    let louder = json!({"at": "a", "log": 2});
    let met = moved(fake(here.clone()), fake(there.clone()));
    assert_eq!(met.as_deref(), Some("settings.at"));
    let met = moved(fake(here.clone()), fake(louder.clone()));
    assert_eq!(met.as_deref(), Some("settings.log"));

    let hello = json!({"Objects": {"Provider/1": [{"Name": "."}]}});
    scope.fake.set_handshake(json!({"Handshake.Hello": hello}));
    let schema = r#"{"result": {"settings": {"type": "object", "properties": {"at": {"type": "string"}, "log": {"type": "integer", "x-drover-class": "ignore"}}}}}"#;
    scope
        .fake
        .trouble("Provider.Settings", Trouble::Says(schema));
    let described = r#"{"result": {"batchMax": 1}}"#;
    scope
        .fake
        .trouble("Provider.Describe", Trouble::Says(described));
    scope.try_open(&of(fake(here.clone()))).unwrap();
    let met = moved(fake(here.clone()), fake(there));
    assert_eq!(met.as_deref(), Some("settings.at"));
    assert_eq!(moved(fake(here.clone()), fake(louder)), None);
    let gone = moved(fake(here), json!({"plugin": "fake"}));
    assert_eq!(gone.as_deref(), Some("settings.at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_document_takes_is_said_by_plugins_of_our_own_kind_only() {
    let scope = Scope::new();
    let fake = values(&[("plugin", "fake")]);
    assert_eq!(scope.describe(&fake), Ok(None));
    let hello = json!({"Objects": {"Provider/1": [{"Name": "."}]}});
    scope.fake.set_handshake(json!({"Handshake.Hello": hello}));
    let describes = |answer| {
        scope
            .fake
            .trouble("Provider.Describe", Trouble::Says(answer));
    };
    describes(
        r#"{"result": {"properties": {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": false}}}"#,
    );
    let described = scope.describe(&own(1)).unwrap().unwrap();
    assert!(
        described.properties.fields.contains_key("a"),
        "{described:?}"
    );
    assert!(described.mistakes.is_empty());
    describes(r#"{"result": {"properties": {"type": "strnig"}}}"#);
    let garbled = scope.describe(&own(2));
    let says = "Provider.Describe: `properties`: ";
    assert_failed(garbled, ErrorClass::InvalidSpec, says);
    let nobody = scope.describe(&values(&[("plugin", "../x")])).unwrap_err();
    assert_eq!(nobody.class, ErrorClass::InvalidSpec, "{nobody}");
}
