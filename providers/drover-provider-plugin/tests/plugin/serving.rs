//! Our own providers, served: byte for byte as InfraKit's servers answer, and through our own host the whole
//! contract again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{CheckOutcome, GroupUid, ProviderName, ProviderRef, Timestamp, Value};
use drover_provider::conformance::{self, Outcome, Report, Subject};
use drover_provider::{Clock, Provider, ProviderError, ProviderFactory as _};
use drover_provider_plugin::{
    CloudInitService, Directory, InstanceService, Place, PluginFactory, ProviderService, Served,
    ServedSocket, VanillaService, from_json,
};
use drover_provider_sim::SimFactory;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::values;

#[derive(Debug)]
pub(crate) struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

fn simulated() -> Arc<SimFactory> {
    Arc::new(SimFactory::new(Arc::new(WallClock)))
}

fn instances(folder: &Path) -> InstanceService {
    let provider = simulated()
        .open(
            &ProviderName::parse("infrakit").unwrap(),
            &Value::empty_map(),
        )
        .unwrap();
    InstanceService::new(provider, &folder.join("tags"), Arc::new(WallClock)).unwrap()
}

/// Serves on the socket `sim` of a folder until the test ends.
pub(crate) fn serve(folder: &Path, served: Served) {
    let socket = ServedSocket::bind(&folder.join("sim")).unwrap();
    tokio::spawn(async move { served.serve(&socket).await });
}

struct Sim {
    folder: tempfile::TempDir,
    factory: PluginFactory,
    settings: Value,
    provider: Arc<dyn Provider>,
}

impl Sim {
    fn open(served: impl FnOnce(&Path) -> Served, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        serve(folder.path(), served(folder.path()));
        let place = Place::Named(Directory::new(folder.path()));
        let factory = PluginFactory::new(place, folder.path().join("data"), Arc::new(WallClock));
        let mut all = vec![("plugin", "sim")];
        all.extend(settings);
        let settings = values(&all);
        let name = ProviderName::parse("local").unwrap();
        let provider = factory.open(&name, &settings).unwrap();
        Self {
            folder,
            factory,
            settings,
            provider,
        }
    }
}

#[async_trait]
impl Subject for Sim {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }

    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        assert!(self.folder.path().exists());
        let name = ProviderName::parse("local").unwrap();
        self.factory.open(&name, &self.settings).ok()
    }

    fn other_scope(&self) -> Option<Result<Arc<dyn Provider>, ProviderError>> {
        // InfraKit's plugins know no scopes.
        let name = ProviderName::parse("local").unwrap();
        self.factory.describe(&name, &self.settings).unwrap()?;
        let other = ProviderName::parse("other").unwrap();
        Some(self.factory.open(&other, &self.settings))
    }

    fn run_id(&self) -> GroupUid {
        GroupUid::parse("fedcba9876543210").unwrap()
    }

    fn running(&self) -> Value {
        values(&[("image", "a")])
    }

    fn invalid(&self) -> Value {
        values(&[("imgae", "a")])
    }

    fn exiting(&self) -> Option<Value> {
        Some(values(&[("image", "a"), ("exitAfter", "10ms")]))
    }

    fn unhealthy(&self) -> Option<Value> {
        Some(from_json(&json!({"image": "a", "unhealthy": true})))
    }

    async fn end_released(&self, _instance: &ProviderRef) {}

    fn ends_released(&self) -> bool {
        // It ends with the test.
        true
    }

    async fn wait(&self) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn skipped(report: &Report) -> Vec<&'static str> {
    let results = report.results.iter();
    let skipped = results.filter(|result| matches!(result.outcome, Outcome::Skipped { .. }));
    skipped.map(|result| result.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_served_keeps_the_whole_contract_through_the_host() {
    let served = |_: &Path| Served::new(vec![Box::new(ProviderService::new(simulated()))]);
    let sim = Sim::open(served, &[]);
    assert_eq!(
        sim.provider.manifest().properties,
        drover_provider_sim::properties_schema()
    );
    let report = conformance::run(&sim).await;
    assert!(report.conforms(), "\n{report}");
    assert_eq!(skipped(&report), ["health"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_served_provider_that_knows_no_health_is_not_asked_for_it() {
    let served = |_: &Path| Served::new(vec![Box::new(ProviderService::new(simulated()))]);
    let sim = Sim::open(served, &[]);
    let instance = ProviderRef::parse("i-1").unwrap();
    let said = sim.provider.health(&instance, Duration::from_secs(1)).await;
    let why = "plugin sim: it says nothing of its instances' health".to_owned();
    assert_eq!(said.unwrap(), CheckOutcome::Unknown { why });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_served_to_infrakit_keeps_the_contract_of_infrakits_plugins() {
    let served = |folder: &Path| Served::new(vec![Box::new(instances(folder))]);
    let sim = Sim::open(served, &[("visibility", "1s")]);
    let report = conformance::run(&sim).await;
    let failed = report
        .results
        .iter()
        .filter(|result| matches!(result.outcome, Outcome::Failed { .. }));
    let failed: Vec<&str> = failed.map(|result| result.name).collect();
    // InfraKit's protocol has no word for what ended by itself: it is described no more.
    assert_eq!(failed, ["exited"], "\n{report}");
    assert_eq!(
        skipped(&report),
        [
            "place",
            "update-restart",
            "update-again",
            "update-live",
            "update-stranger",
            "scopes",
            "check",
            "health",
            "logs"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_the_served_provider_cannot_open_is_told_with_the_reason() {
    let served = |_: &Path| Served::new(vec![Box::new(ProviderService::new(simulated()))]);
    let sim = Sim::open(served, &[]);
    let settings = from_json(&json!({"plugin": "sim", "settings": {"bootTiem": "1s"}}));
    let name = ProviderName::parse("other").unwrap();
    let error = sim.factory.open(&name, &settings).unwrap_err();
    assert!(
        error
            .message
            .contains("plugin sim: settings: bootTiem: unknown field"),
        "{error}"
    );
    let settings = values(&[("plugin", "sim"), ("visibility", "1s")]);
    let error = sim.factory.open(&name, &settings).unwrap_err();
    assert!(
        error
            .message
            .contains("`visibility`: plugin sim says that itself"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_served_plugin_may_have_subtypes_beside_itself() {
    let served = |_: &Path| {
        let service = ProviderService::new(simulated()).with_subtype("other", simulated());
        Served::new(vec![Box::new(service)])
    };
    let sim = Sim::open(served, &[]);
    let open = |plugin: &str, name: &str| {
        let name = ProviderName::parse(name).unwrap();
        sim.factory.open(&name, &values(&[("plugin", plugin)]))
    };
    let other = open("sim/other", "one").unwrap();
    let fleet = crate::support::fleet();
    let mut asked = crate::support::request(1);
    asked.properties = values(&[("image", "a")]);
    crate::support::make(&other, &asked).await;
    let count =
        async |provider: &Arc<dyn Provider>| provider.list(&fleet).await.unwrap().instances.len();
    assert_eq!(count(&other).await, 1);
    // Of the same name, and another world.
    let same = open("sim", "one").unwrap();
    assert_eq!(count(&same).await, 0);
    let missing = open("sim/third", "two").unwrap_err();
    assert!(
        missing
            .message
            .contains("it has no subtype third; it has other"),
        "{missing}"
    );
}

/// Sends one request on a connection of its own, and returns status, headers and body.
pub(crate) async fn http(folder: &Path, request: &str) -> (String, String) {
    let mut stream = tokio::net::UnixStream::connect(folder.join("sim"))
        .await
        .unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

pub(crate) fn post(path: &str, type_: &str, body: &str) -> String {
    let type_ = if type_.is_empty() {
        String::new()
    } else {
        format!("Content-Type: {type_}\r\n")
    };
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\n{type_}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

const TEXT: &str = "content-type: text/plain; charset=utf-8";

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_every_form_are_answered_as_infrakits_servers_answer_them() {
    let folder = tempfile::tempdir().unwrap();
    serve(
        folder.path(),
        Served::new(vec![Box::new(instances(folder.path()))]),
    );
    let hello = r#"{"jsonrpc": "2.0", "method": "Handshake.Hello", "params": {}, "id": 7}"#;
    let objects = "{\"jsonrpc\":\"2.0\",\"result\":{\"Objects\":{\"Instance/0.6.1\":[{\"Name\":\".\",\"ProxyFor\":\"\"}]}},\"id\":7}\n";
    let json = "application/json";
    let cases = [
        (post("/", json, hello), "200", objects),
        (
            post("/", "application/json; charset=utf-8", hello),
            "200",
            objects,
        ),
        (post("/", "", hello), "200", objects),
        (
            post("/", "text/plain", hello),
            "415",
            "rpc: unrecognized Content-Type: text/plain",
        ),
        (post("/foo", json, hello), "404", "404 page not found\n"),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned(),
            "405",
            "rpc: POST method required, received GET",
        ),
        (post("/", json, "{bad"), "200", ""),
        (post("/", json, &format!("[{hello}]")), "200", ""),
        (
            post("/", json, &hello.replace(", \"id\": 7", "")),
            "200",
            "",
        ),
        (
            post(
                "/",
                json,
                &hello.replace("{}, \"id\": 7", "[{}], \"id\": \"str\""),
            ),
            "200",
            &objects.replace(":7}", ":\"str\"}"),
        ),
        (
            post(
                "/",
                json,
                &hello.replace("{}, \"id\": 7", "null, \"id\": 9223372036854775807"),
            ),
            "200",
            &objects.replace(":7}", ":9223372036854775807}"),
        ),
    ];
    for (request, status, expected) in cases {
        let (head, body) = http(folder.path(), &request).await;
        assert!(
            head.starts_with(&format!("http/1.1 {status} ")),
            "{request}\n{head}"
        );
        assert_eq!(body, expected, "{request}");
        assert_eq!(head.contains(TEXT), !expected.is_empty(), "{head}");
        assert!(
            head.contains(&format!("content-length: {}", expected.len())),
            "{head}"
        );
    }
}

/// Exchanges whose answers the protocol fixes to the byte: method, parameters, answer.
fn exchanges() -> Vec<(&'static str, &'static str, String)> {
    let error = |message: &str| {
        let message = Json::from(message);
        format!(
            "{{\"jsonrpc\":\"2.0\",\"error\":{{\"code\":-32000,\"message\":{message},\"data\":null}},\"id\":1}}\n"
        )
    };
    let result = |result: &str| format!("{{\"jsonrpc\":\"2.0\",\"result\":{result},\"id\":1}}\n");
    let apis = |version: &str| {
        result(&format!(
            "{{\"APIs\":[{{\"Name\":\"Instance\",\"Version\":\"{version}\",\"Sub\":\"\"}}]}}"
        ))
    };
    vec![
        (
            "Instance.Validate",
            r#"{"Type":"","Properties":{"image":"x"}}"#,
            result(r#"{"Type":"","OK":true}"#),
        ),
        (
            "Instance.DescribeInstances",
            r#"{"Type":"","Tags":{"a":"b"},"Properties":true}"#,
            result(r#"{"Type":"","Descriptions":[]}"#),
        ),
        (
            "Instance.DescribeInstances",
            r#"{"Type":"x","Tags":{}}"#,
            error("no-plugin:x"),
        ),
        (
            "Instance.Label",
            r#"{"Type":"","Instance":"nope","Labels":{"l1":"v1"}}"#,
            error("not found nope"),
        ),
        (
            "Instance.Destroy",
            r#"{"Type":"","Instance":"nope","Context":{"Reason":"terminate"}}"#,
            error("not found nope"),
        ),
        (
            "Instance.NoSuch",
            "{}",
            error(r#"rpc: can't find method "Instance.NoSuch""#),
        ),
        (
            "instance.describeInstances",
            "{}",
            error(r#"rpc: can't find service "instance.describeInstances""#),
        ),
        (
            "nodot",
            "{}",
            error(r#"rpc: service/method request ill-formed: "nodot""#),
        ),
        ("Handshake.Implements", "{}", apis("0.5.0")),
        ("Plugin.Implements", "{}", apis("0.1.0")),
        (
            "Handshake.Types",
            "{}",
            result(r#"{"Types":{"Instance/0.5.0":["."]}}"#),
        ),
        (
            "Handshake.Other",
            "{}",
            error(r#"rpc: can't find method "Handshake.Other""#),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_bytes_that_the_protocol_fixes() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::new(vec![Box::new(instances(folder.path()))]);
    for (method, params, expected) in exchanges() {
        let request =
            format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{params},\"id\":1}}");
        assert_eq!(
            served.answer(request.as_bytes()).await,
            expected,
            "{method} {params}"
        );
    }
    let old = r#"{"method":"Handshake.Hello","params":{},"id":7}"#;
    let expected = "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":\"jsonrpc must be 2.0\",\"data\":{\"jsonrpc\":\"\",\"method\":\"Handshake.Hello\",\"params\":{},\"id\":7}},\"id\":7}\n";
    assert_eq!(served.answer(old.as_bytes()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_read_as_go_reads_it_and_its_id_comes_back_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::new(vec![Box::new(instances(folder.path()))]);
    let ask = async |request: String| served.answer(request.as_bytes()).await;
    let types = async |id: &str| {
        ask(format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"Plugin.Implements\",\"params\":{{}},\"id\":{id}}}"
        ))
        .await
    };
    let result = types("1").await;
    let result = result.strip_suffix(",\"id\":1}\n").unwrap();
    for (id, back) in [
        ("1.50", "1.50"),
        ("18446744073709551617", "18446744073709551617"),
        ("-0", "-0"),
        ("1e400", "1e400"),
        (r#""a\u0041\\\"  b""#, r#""a\u0041\\\"  b""#),
        (r#"{ "b" : 1, "a" : [ 1.0 ] }"#, r#"{"b":1,"a":[1.0]}"#),
    ] {
        assert_eq!(types(id).await, format!("{result},\"id\":{back}}}\n"));
    }
    let call = r#""Method":"Plugin.Implements","PARAMS":{}"#;
    for request in [
        format!("{{\"JSONRPC\":\"2.0\",{call},\"Id\":3}}"),
        format!(" {{\"id\":2,\"ID\":3,\"jsonrpc\":\"2.0\",{call}}} and more"),
        format!("{{\"jsonrpc\":\"2.0\",{call},\"id\":3}}{{\"id\":4}}]"),
    ] {
        let answer = ask(request.clone()).await;
        assert_eq!(answer, format!("{result},\"id\":3}}\n"), "{request}");
    }
    let old = r#"{"ID": 1.50, "Method": "x<y", "Params": { "a" : 2.0 } }"#;
    let expected = "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":\"jsonrpc must be 2.0\",\"data\":{\"jsonrpc\":\"\",\"method\":\"x\\u003cy\",\"params\":{\"a\":2.0},\"id\":1.50}},\"id\":1.50}\n";
    assert_eq!(ask(old.to_owned()).await, expected);
    for none in [
        "",
        "[]",
        "1",
        "{",
        "{\"jsonrpc\":\"2.0\"",
        "{\"id\":null}",
        "{}",
        "}",
    ] {
        assert_eq!(ask(none.to_owned()).await, "", "{none}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_are_no_map_are_refused_and_of_a_list_the_first_entry_counts() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::new(vec![Box::new(instances(folder.path()))]);
    let ask = async |params: &str| {
        let request =
            format!(r#"{{"jsonrpc":"2.0","method":"Instance.Destroy","params":{params},"id":1}}"#);
        let answer = served.answer(request.as_bytes()).await;
        serde_json::from_str::<Json>(&answer).unwrap()["error"].clone()
    };
    for params in [r#"[{"Instance":"i-1"}]"#, r#"[{"Instance":"i-1"},{}]"#] {
        assert_eq!(ask(params).await["message"], "not found i-1", "{params}");
    }
    for params in ["null", "{}", "[]", "[null]"] {
        assert_eq!(ask(params).await["message"], "not found ", "{params}");
    }
    for params in ["1", r#""i-1""#, "[1]", "[[{}]]", "true"] {
        let refused = ask(params).await;
        assert_eq!(refused["code"], -32600, "{params}");
        assert_eq!(refused["message"], "`params`: not a map", "{params}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_served_keeps_tags_logical_id_and_spec() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::new(vec![Box::new(instances(folder.path()))]);
    let call = async |method: &str, params: Json| {
        let request = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1});
        let answer = served.answer(request.to_string().as_bytes()).await;
        let answer: Json = serde_json::from_str(&answer).unwrap();
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    };
    // Names of fields in any case, as Go reads them.
    let spec = json!({"properties": {"image": "x"}, "tags": {"infrakit.group": "g1", "t": "1", "none": null}, "Init": "echo hi", "LogicalID": "10.0.0.5", "Attachments": null});
    let made = call("Instance.Provision", json!({"Type": "", "Spec": spec})).await;
    let id = made["ID"].as_str().unwrap().to_owned();
    call(
        "Instance.Label",
        json!({"Instance": id, "Labels": {"l1": "v1", "t": "2"}}),
    )
    .await;
    let described = call(
        "Instance.DescribeInstances",
        json!({"Tags": {"l1": "v1"}, "Properties": true}),
    )
    .await;
    // A text that is `null` is an empty one.
    let tags = json!({"infrakit.group": "g1", "l1": "v1", "none": "", "t": "2"});
    let spec = json!({"Properties": {"image": "x"}, "Tags": tags, "Init": "echo hi", "LogicalID": "10.0.0.5", "Attachments": null});
    assert_eq!(
        described["Descriptions"],
        json!([{"ID": id, "LogicalID": "10.0.0.5", "Tags": tags, "Properties": spec}])
    );
    let none = call("Instance.DescribeInstances", json!({"Tags": {"t": "1"}})).await;
    assert_eq!(none["Descriptions"], json!([]));
    call("Instance.Destroy", json!({"Instance": id})).await;
    assert_eq!(
        call("Instance.DescribeInstances", json!({})).await["Descriptions"],
        json!([])
    );
    assert_eq!(
        std::fs::read_dir(folder.path().join("tags"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flavor_vanilla_answers_infrakit_byte_for_byte() {
    let served = Served::new(vec![Box::new(VanillaService)]);
    let properties = r#""Properties":{"Init":["docker pull nginx","docker run -d nginx"],"Tags":{"tier":"web"},"Attachments":[{"ID":"v1","Type":"ebs"}]}"#;
    let instance = r#""Instance":{"ID":"i-1","LogicalID":null,"Tags":{"infrakit.group":"g1"}}"#;
    let index = r#""Allocation":{"Size":3,"LogicalIDs":null},"Index":{"Group":"g1","Sequence":3}"#;
    let spec = r#""Spec":{"Properties":{"Note":"x"},"Tags":{"infrakit.group":"g1"},"Init":"","LogicalID":null,"Attachments":null}"#;
    let kept = r#""Spec":{"Properties":{},"Tags":{},"Init":"pre","LogicalID":"10.0.0.1","Attachments":[]}"#;
    let ok = r#"{"Type":"","OK":true}"#;
    let cases = [
        (
            "Validate",
            format!("{{\"Type\":\"\",{properties},{index}}}"),
            ok,
        ),
        (
            "Healthy",
            format!("{{\"Type\":\"\",{properties},{instance}}}"),
            r#"{"Type":"","Health":1}"#,
        ),
        (
            "Drain",
            format!("{{\"Type\":\"\",{properties},{instance}}}"),
            ok,
        ),
        (
            "Prepare",
            format!("{{\"Type\":\"\",{properties},{spec},{index}}}"),
            r#"{"Type":"","Spec":{"Properties":{"Note":"x"},"Tags":{"infrakit.group":"g1","tier":"web"},"Init":"docker pull nginx\ndocker run -d nginx","LogicalID":null,"Attachments":[{"ID":"v1","Type":"ebs"}]}}"#,
        ),
        (
            "Prepare",
            format!(
                "{{\"Type\":\"\",\"Properties\":{{\"Init\":[\"echo <&>\"],\"InitScriptTemplateURL\":\"\"}},{kept},{index}}}"
            ),
            r#"{"Type":"","Spec":{"Properties":{},"Tags":{},"Init":"pre\necho \u003c\u0026\u003e","LogicalID":"10.0.0.1","Attachments":[]}}"#,
        ),
    ];
    for (method, params, result) in cases {
        let request = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"Flavor.{method}\",\"params\":{params},\"id\":61}}"
        );
        let expected = format!("{{\"jsonrpc\":\"2.0\",\"result\":{result},\"id\":61}}\n");
        assert_eq!(
            served.answer(request.as_bytes()).await,
            expected,
            "{method}"
        );
    }
    let refused = [
        (
            r#"{"Properties":{"Init":"notalist"}}"#,
            "Init: expected a list",
        ),
        (
            r#"{"Properties":{"InitScriptTemplateURL":"str://x"}}"#,
            "InitScriptTemplateURL: templates",
        ),
        (
            r#"{"Properties":{"Attachments":[{"ID":"a"}]}}"#,
            "Attachments: an entry has no ID",
        ),
        (r#"{"Type":"x","Properties":{}}"#, "no-plugin:x"),
    ];
    for (params, says) in refused {
        let request = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"Flavor.Validate\",\"params\":{params},\"id\":1}}"
        );
        let answer = served.answer(request.as_bytes()).await;
        assert!(answer.contains(says), "{answer}");
    }
}

/// Calls the flavor `cloudInit`, and returns the whole answer.
async fn cloud_init(method: &str, params: Json) -> Json {
    let served = Served::new(vec![Box::new(CloudInitService)]);
    let method = format!("Flavor.{method}");
    let request = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1});
    let answer = served.answer(request.to_string().as_bytes()).await;
    serde_json::from_str(&answer).unwrap()
}

fn config() -> Json {
    json!({"parts": [{"contentType": "text/cloud-config", "content": "#cloud-config\nhostname: ${instance.id}\n"}]})
}

#[tokio::test]
async fn the_flavor_cloud_init_renders_its_parts_and_what_was_there_once() {
    let spec = |init: &str| json!({"Properties": {}, "Tags": {"a": "b"}, "Init": init, "LogicalID": null, "Attachments": null});
    let ask = async |init: &str| {
        let params = json!({"Type": "", "Properties": config(), "Spec": spec(init), "Allocation": {"Size": 1}, "Index": {"Group": "g", "Sequence": 1}});
        cloud_init("Prepare", params).await
    };
    let prepared = async |init: &str| {
        let answer = ask(init).await;
        assert_eq!(
            answer["result"]["Spec"]["Tags"],
            json!({"a": "b"}),
            "{answer}"
        );
        answer["result"]["Spec"]["Init"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let alone = prepared("").await;
    assert!(alone.starts_with("MIME-Version: 1.0\n"), "{alone}");
    // InfraKit knows no facts, so that the text is handed over as it stands.
    assert!(alone.contains("hostname: ${instance.id}\n"), "{alone}");
    assert!(!alone.contains("x-shellscript"), "{alone}");
    let lines = prepared("echo ${A}").await;
    let at = |text: &str, what: &str| text.find(what).unwrap_or_else(|| panic!("{text}"));
    let (script, config) = ("#!/bin/sh\nset -eu\necho ${A}\n", "#cloud-config");
    assert!(at(&lines, script) < at(&lines, config), "{lines}");
    assert_eq!(lines.matches("echo ${A}").count(), 1, "{lines}");
    let whole = prepared("#!/usr/bin/python3\nprint()").await;
    assert!(
        whole.contains("\n\n#!/usr/bin/python3\nprint()\n"),
        "{whole}"
    );
    for (init, says) in [
        (alone.as_str(), "the init is user data already"),
        (
            "#cloud-config\n",
            "begins with \"#cloud-config\", which is no script",
        ),
    ] {
        let refused = ask(init).await;
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{refused}");
    }
}

#[tokio::test]
async fn the_flavor_cloud_init_refuses_what_cloud_init_would_drop() {
    let part = |type_: &str, content: &str| json!({"contentType": type_, "content": content});
    let script = || part("text/x-shellscript", "#!/bin/sh\n");
    let mut merged = script();
    merged["mergeHow"] = json!("list(append)");
    let mut typo = script();
    typo["contnet"] = json!("x");
    let long = "x".repeat(16 * 1024);
    let cases = [
        (json!({"parts": [script()]}), ""),
        (json!("parts"), "the properties are not a map"),
        (json!({}), "parts: expected a list"),
        (json!({"parts": []}), "parts: at least one is needed"),
        (
            json!({"parts": [script()], "prats": []}),
            "prats: unknown field",
        ),
        (json!({"parts": ["x"]}), "parts[0]: expected a map"),
        (
            json!({"parts": [script(), typo]}),
            "parts[1]: contnet: unknown field",
        ),
        (
            json!({"parts": [{"content": "x"}]}),
            "parts[0]: contentType is missing",
        ),
        (
            json!({"parts": [{"contentType": "text/x"}]}),
            "parts[0]: content is missing",
        ),
        (
            json!({"parts": [{"contentType": 1}]}),
            "parts[0]: contentType: not a text",
        ),
        (
            json!({"parts": [part("text/x", "x")]}),
            "contentType: there is no \"text/x\"",
        ),
        (
            json!({"parts": [part("text/cloud-config", "x")]}),
            "must begin with `#cloud-config`",
        ),
        (
            json!({"parts": [merged]}),
            "a part of text/x-shellscript is not merged",
        ),
        (
            json!({"parts": [part("text/x-shellscript", &format!("#!/bin/sh\n{long}"))]}),
            "and 16384 is the most",
        ),
    ];
    for (properties, says) in cases {
        let answer = cloud_init("Validate", json!({"Properties": properties})).await;
        if says.is_empty() {
            assert_eq!(answer["result"], json!({"Type": "", "OK": true}));
            continue;
        }
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(says), "{properties}: {answer}");
        assert_eq!(answer["error"]["data"]["class"], "invalidSpec");
    }
}

#[tokio::test]
async fn the_flavor_cloud_init_has_no_health_of_its_own_and_nothing_to_drain() {
    let instance = json!({"ID": "i-1", "LogicalID": null, "Tags": {}});
    let about = json!({"Properties": config(), "Instance": instance});
    let healthy = cloud_init("Healthy", about.clone()).await;
    assert_eq!(healthy["result"], json!({"Type": "", "Health": 1}));
    let drained = cloud_init("Drain", about).await;
    assert_eq!(drained["result"], json!({"Type": "", "OK": true}));
    let typed = cloud_init("Drain", json!({"Type": "x"})).await;
    assert_eq!(typed["error"]["message"], "no-plugin:x");
    let other = cloud_init("NoSuch", json!({})).await;
    assert_eq!(
        other["error"]["message"],
        "rpc: can't find method \"Flavor.NoSuch\""
    );
}

#[tokio::test]
async fn the_settings_of_a_subtype_are_its_own() {
    let service = ProviderService::new(simulated()).with_subtype("other", simulated());
    let served = Served::new(vec![Box::new(service)]);
    let ask = async |type_: &str| {
        let params = json!({"type": type_});
        let request =
            json!({"jsonrpc": "2.0", "method": "Provider.Settings", "params": params, "id": 1});
        let answer = served.answer(request.to_string().as_bytes()).await;
        serde_json::from_str::<Json>(&answer).unwrap()
    };
    for type_ in ["", "other"] {
        let settings = &ask(type_).await["result"]["settings"];
        assert!(settings["properties"]["bootTime"].is_object(), "{settings}");
    }
    assert_eq!(ask("third").await["error"]["message"], "no-plugin:third");
}

#[tokio::test]
async fn a_request_that_would_take_much_memory_is_none() {
    let served = Served::new(Vec::new());
    let ask = async |params: &str| {
        let request =
            format!("{{\"jsonrpc\":\"2.0\",\"method\":\"A.B\",\"params\":{params},\"id\":1}}");
        served.answer(request.as_bytes()).await
    };
    let list = |count: usize| format!("[{}]", vec!["{\"\":0}"; count].join(","));
    assert!(ask(&list(10_000)).await.contains("can't find service"));
    assert_eq!(ask(&list(50_000)).await, "");
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    assert_eq!(ask(&deep).await, "");
}
