//! Plugins that answer each call with something made up: answers as they should be, with parts of another type, parts that are
//! missing, repeated or far too large, cut off, or with other bytes in between. Drawn from numbers that a failure names, so
//! that it can be seen again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_model::{
    Completeness, GroupUid, InPlace, InstanceId, Listing, MemberId, ProviderName, ProviderRef,
    SeatId, Survey, Token,
};
use drover_provider::{
    AdoptRequest, Provider, ProviderError, ProviderFactory as _, ProvisionRequest, Provisioned,
    ReserveRequest, UpdateRequest,
};
use drover_provider_plugin::{Directory, Place, PluginFactory};
use serde_json::{Map, Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::serving::WallClock;
use crate::support::{destroying, fleet, request, values};

/// How many calls are made of each kind of plugin.
const CALLS: u64 = 3_000;

/// How many plugins are met, each of which answers all handshakes with garbage.
const PLUGINS: u64 = 300;

/// Longer than any call may take here: its time limit, and a machine that is busy.
const LIMIT: Duration = Duration::from_secs(20);

/// The most that an error says: the plugin's words are 500 characters of it.
const WORDS_MAX: usize = 2_000;

/// The longest handle, address or zone that is believed.
const TEXT_MAX: usize = 1_024;

/// Numbers that are drawn: SplitMix64.
#[derive(Debug, Clone)]
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Returns a value of any type.
fn odd(draw: &mut Draw) -> Json {
    match draw.below(18) {
        0 => Json::Null,
        1 => json!(true),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(u64::MAX),
        5 => json!(1.5e300),
        6 => json!(""),
        7 => json!("x".repeat(5_000)),
        8 => json!("a\nb\u{1b}[2J\u{7f}"),
        9 => json!([]),
        10 => json!({}),
        11 => json!([[], {}, null]),
        12 => json!({"ID": {"ID": 7}, "ref": [], "instances": null}),
        13 => json!("web-18446744073709551614"),
        14 => json!("../../etc"),
        15 => (0..200).fold(json!(1), |inner, _| json!([inner])),
        16 => json!("running"),
        _ => json!("\u{202e}\u{0}é"),
    }
}

/// Changes one part of a value, somewhere.
fn disturb(value: &mut Json, draw: &mut Draw) {
    let goes_down = !draw.one_in(4);
    match value {
        Json::Object(map) if goes_down && !map.is_empty() => disturb_map(map, draw),
        Json::Array(list) if goes_down && !list.is_empty() => match draw.below(6) {
            0 => {
                let at = draw.below(list.len());
                list.remove(at);
            }
            1 => {
                let again = draw.pick(list).clone();
                list.push(again);
            }
            _ => {
                let at = draw.below(list.len());
                disturb(&mut list[at], draw);
            }
        },
        other => *other = odd(draw),
    }
}

fn disturb_map(map: &mut Map<String, Json>, draw: &mut Draw) {
    let names: Vec<String> = map.keys().cloned().collect();
    let name = draw.pick(&names).clone();
    match draw.below(8) {
        0 => {
            map.remove(&name);
        }
        1 => {
            let taken = map.remove(&name).unwrap_or_default();
            map.insert(name.to_uppercase(), taken);
        }
        2 => {
            map.insert(format!("{name}s"), odd(draw));
        }
        _ => {
            if let Some(inner) = map.get_mut(&name) {
                disturb(inner, draw);
            }
        }
    }
}

/// Changes some bytes.
fn scramble(bytes: &mut Vec<u8>, draw: &mut Draw) {
    if bytes.is_empty() {
        return;
    }
    let at = draw.below(bytes.len());
    match draw.below(5) {
        0 => bytes.truncate(at),
        1 => bytes[at] = draw.next() as u8,
        2 => bytes.insert(at, *draw.pick(b"\"{}[],:\\0e-\xff\x00")),
        3 => {
            let part: Vec<u8> = bytes[at..].iter().take(40).copied().collect();
            bytes.splice(at..at, part);
        }
        _ => {
            let to = (at + 20).min(bytes.len());
            bytes.drain(at..to);
        }
    }
}

/// Returns the body of an answer whose result should be this one.
fn body(result: &Json, draw: &mut Draw) -> Vec<u8> {
    let mut answer = json!({"jsonrpc": "2.0", "result": result, "id": 1});
    if draw.one_in(12) {
        let class = *draw.pick(&["notFound", "capacity", "unknown", "nothing"]);
        answer["error"] = json!({"code": -1, "message": "no", "data": {"class": class}});
    }
    for _ in 0..draw.below(4) {
        disturb(&mut answer, draw);
    }
    let mut bytes = answer.to_string().into_bytes();
    if draw.one_in(3) {
        scramble(&mut bytes, draw);
    }
    bytes
}

/// Returns what is sent: a head and a body, which may not fit together.
fn message(body: &[u8], draw: &mut Draw) -> Vec<u8> {
    let status = if draw.one_in(40) {
        *draw.pick(&["204 No", "404 No", "500 No", "503 No", "101 No", "999 x"])
    } else {
        "200 OK"
    };
    let length = match draw.below(60) {
        0 => "Content-Length: 18446744073709551615\r\n".to_owned(),
        1 => format!("Content-Length: {}\r\n", body.len() + 9),
        2 => format!("Content-Length: {}\r\n", body.len() / 2),
        3 => "Transfer-Encoding: chunked\r\n".to_owned(),
        4 => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    let mut bytes = format!("HTTP/1.1 {status}\r\n{length}\r\n").into_bytes();
    bytes.extend(body);
    if draw.one_in(60) {
        scramble(&mut bytes, draw);
    }
    bytes
}

/// The bodies that were sent since they were looked at last.
type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

/// Answers a method with a result as it should be. None: there is no such method.
type Script = fn(&str, &mut Draw) -> Option<Json>;

/// A plugin that answers with garbage, and its handshake in order.
#[derive(Debug)]
struct Plugin {
    _folder: tempfile::TempDir,
    factory: PluginFactory,
    sent: Sent,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Plugin {
    fn start(seed: u64, script: Script, shakes_hands: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("garbage")).unwrap();
        let sent = Sent::default();
        let (kept, mut draw) = (Arc::clone(&sent), Draw(seed));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = Draw(draw.next());
                tokio::spawn(converse(
                    stream,
                    own,
                    script,
                    shakes_hands,
                    Arc::clone(&kept),
                ));
            }
        });
        Self {
            factory: factory(folder.path()),
            _folder: folder,
            sent,
            serving,
        }
    }

    fn open(&self) -> Result<Arc<dyn Provider>, ProviderError> {
        let settings = values(&[
            ("plugin", "garbage"),
            ("timeout", "200ms"),
            ("provisionTimeout", "200ms"),
        ]);
        let name = ProviderName::parse("local").unwrap();
        tokio::task::block_in_place(|| self.factory.open(&name, &settings))
    }
}

fn factory(folder: &Path) -> PluginFactory {
    let place = Place::Named(Directory::new(folder));
    PluginFactory::new(place, folder.join("data"), Arc::new(WallClock)).of_fleet(Some(fleet()))
}

/// Reads one request and answers it.
async fn converse(
    mut stream: UnixStream,
    mut draw: Draw,
    script: Script,
    shakes_hands: bool,
    sent: Sent,
) {
    let mut read = Vec::new();
    let call: Json = loop {
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(count) => read.extend(&bytes[..count]),
        }
        let end = read.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(call) = end.and_then(|end| serde_json::from_slice(&read[end + 4..]).ok()) {
            break call;
        }
    };
    let method = call["method"].as_str().unwrap();
    let opens = matches!(
        method,
        "Handshake.Hello" | "Provider.Describe" | "Provider.Settings"
    );
    let result = script(method, &mut draw);
    if opens && shakes_hands {
        let whole = match result {
            Some(result) => json!({"jsonrpc": "2.0", "result": result, "id": call["id"]}),
            None => json!({"error": {"code": -1, "message": "can't find method"}}),
        };
        let whole = whole.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len());
        let _ = stream.write_all((head + &whole).as_bytes()).await;
        return;
    }
    if draw.one_in(200) {
        // Never answered.
        std::future::pending::<()>().await;
    }
    let body = body(&result.unwrap_or_default(), &mut draw);
    let bytes = message(&body, &mut draw);
    sent.lock().unwrap().push(body);
    let _ = stream.write_all(&bytes).await;
}

fn owner(number: usize) -> Json {
    let asked = request(number as u64);
    json!({
        "fleet": "prod", "group": "web", "instance": format!("web-{number}"), "epoch": 1,
        "digest": asked.digests.to_string(), "token": asked.token.to_string(),
    })
}

fn seat() -> Json {
    json!({"life": "0123456789abcdef", "member": "m1"})
}

/// What a plugin with `Provider/1` answers.
fn provider_answer(method: &str, draw: &mut Draw) -> Option<Json> {
    let instance = |number: usize| {
        json!({
            "ref": format!("m-{number}"), "phase": "running", "owner": owner(number), "address": "10.0.0.7",
            "zone": "a", "createdAt": "2026-01-01T00:00:00Z", "exit": {"code": 1, "message": "x"},
        })
    };
    let place = json!({"group": "web", "seat": seat(), "address": "10.0.0.8"});
    Some(match method {
        "Handshake.Hello" => json!({"Objects": {"Provider/1": [{"Name": "."}]}}),
        "Provider.Describe" => json!({
            "batchMax": 5, "visibilityMs": 0,
            "methods": ["update", "reserve", "survey", "adopt", "check", "health", "logs"],
            "properties": {"type": "object", "properties": {"kind": {"type": "string", "pattern": "^[a-z]+$"}}},
        }),
        "Provider.Settings" => json!({"settings": {"type": "object", "properties": {}}}),
        "Provider.List" => {
            let count = draw.below(5);
            let mut page = json!({
                "complete": !draw.one_in(4), "why": "some are missing", "attached": [place], "places": [place],
                "instances": (0..count).map(instance).collect::<Vec<_>>(),
            });
            if draw.one_in(3) {
                page["next"] = json!(format!("page-{}", draw.below(3)));
            }
            page
        }
        "Provider.Survey" => {
            let stranger = |number| json!({"ref": format!("s-{number}"), "phase": "running", "tags": {"a": "b"}});
            let count = draw.below(5);
            let strangers: Vec<Json> = (0..count).map(stranger).collect();
            json!({"complete": !draw.one_in(4), "strangers": strangers})
        }
        "Provider.Provision" => {
            let second = *draw.pick(&["m-2", "m-2", "m-1"]);
            json!({"made": {"web-1": "m-1", "web-2": second}, "shortfall": null})
        }
        "Provider.Reserve" => json!({"address": "10.0.0.9"}),
        "Provider.Check" | "Provider.Health" => json!({"outcome": "failing", "why": "x"}),
        "Provider.Logs" => json!({"text": "one\ntwo\n"}),
        "Provider.Destroy" | "Provider.Release" | "Provider.Update" | "Provider.Adopt" => json!({}),
        _ => return None,
    })
}

/// What a plugin of InfraKit answers.
fn instance_answer(method: &str, draw: &mut Draw) -> Option<Json> {
    Some(match method {
        "Handshake.Hello" => json!({"Objects": {"Instance/0.6.0": [{"Name": "."}]}}),
        "Instance.DescribeInstances" => {
            let asked = request(1);
            let token = asked.token.to_string();
            let one = |number: usize| {
                json!({
                    "ID": format!("i-{number}"), "LogicalID": "10.0.0.7", "Properties": {"a": [1]},
                    "Tags": {"drover.fleet": "prod", "drover.group": "web", "drover.token": token, "a": "b",
                        "drover.instance": format!("web-{number}"), "drover.epoch": "1",
                        "drover.digest": asked.digests.to_string()},
                })
            };
            let count = draw.below(5);
            json!({"Type": "", "Descriptions": (0..count).map(one).collect::<Vec<_>>()})
        }
        "Instance.Provision" => json!({"Type": "", "ID": format!("i-{}", draw.below(5))}),
        "Instance.Validate" | "Instance.Destroy" | "Instance.Label" => {
            json!({"Type": "", "OK": true})
        }
        _ => return None,
    })
}

/// Asserts of a failure that it names the plugin and the call, and is one line of a bounded length.
#[track_caller]
fn assert_named(error: &ProviderError, call: &str, seed: u64) {
    let text = &error.message;
    assert!(text.chars().count() <= WORDS_MAX, "{seed}: {}", text.len());
    assert!(!text.contains(char::is_control), "{seed}: {text:?}");
    assert!(!text.contains("cut short"), "{seed}: {text}");
    let named = text.starts_with("plugin garbage: ") && text.contains(call);
    assert!(named, "{seed}: {call}: {text}");
}

#[track_caller]
fn assert_bounded(text: &str, seed: u64) {
    let fine = !text.is_empty() && text.len() <= TEXT_MAX && !text.contains(char::is_control);
    assert!(fine, "{seed}: {} bytes: {:.40?}", text.len(), text);
}

/// Returns the results that were sent, where each can be read.
fn results(sent: &[Vec<u8>]) -> Vec<Json> {
    let read = sent.iter().map(|body| {
        let answer: Json = serde_json::from_slice(body).unwrap_or_default();
        let found = ["result", "Result", "RESULT"].map(|name| answer.get(name).cloned());
        found.into_iter().flatten().next().unwrap_or_default()
    });
    read.collect()
}

#[track_caller]
fn assert_listing(listing: &Listing, sent: &[Vec<u8>], seed: u64) {
    let mut handles = BTreeSet::new();
    let mut is_unique = true;
    for listed in &listing.instances {
        assert_bounded(listed.provider_ref.as_str(), seed);
        is_unique &= handles.insert(&listed.provider_ref);
        for text in listed.address.iter().chain(&listed.zone) {
            assert_bounded(text, seed);
        }
    }
    listing
        .places
        .values()
        .for_each(|text| assert_bounded(text, seed));
    if listing.completeness != Completeness::Complete {
        return;
    }
    assert!(is_unique, "{seed}: complete, and one handle is there twice");
    for result in results(sent) {
        // A plugin of InfraKit says nothing of it, and is read in any case.
        let has = |name: &str| {
            let mut names = result.as_object().into_iter().flat_map(Map::keys);
            names.any(|found| found.eq_ignore_ascii_case(name))
        };
        let says = has("descriptions") || result["complete"] == true;
        assert!(says, "{seed}: complete: {result}");
        let count = result["instances"].as_array().map_or(0, Vec::len);
        assert!(count <= listing.instances.len(), "{seed}: {result}");
    }
}

#[track_caller]
fn assert_survey(survey: &Survey, seed: u64) {
    let mut handles = BTreeSet::new();
    let mut is_unique = true;
    for stranger in &survey.strangers {
        assert_bounded(stranger.provider_ref.as_str(), seed);
        is_unique &= handles.insert(&stranger.provider_ref);
        assert_eq!(
            stranger.tags.get("a").map(String::as_str),
            Some("b"),
            "{seed}"
        );
        let texts = stranger.address.iter().chain(&stranger.zone);
        texts
            .chain(&stranger.member)
            .for_each(|text| assert_bounded(text, seed));
    }
    let complete = survey.completeness == Completeness::Complete;
    assert!(
        is_unique || !complete,
        "{seed}: complete, and one handle is there twice"
    );
}

#[track_caller]
fn assert_made(made: &Provisioned, asked: &ProvisionRequest, seed: u64) {
    let slots: BTreeSet<&InstanceId> = asked.slots.iter().map(|slot| &slot.instance).collect();
    let handles: BTreeSet<&ProviderRef> = made.made.values().collect();
    assert!(
        made.made.keys().all(|id| slots.contains(id)),
        "{seed}: {made:?}"
    );
    assert_eq!(handles.len(), made.made.len(), "{seed}: one handle for two");
    for handle in handles {
        assert_bounded(handle.as_str(), seed);
    }
    if let Some(shortfall) = &made.shortfall {
        let text = &shortfall.message;
        assert!(!text.contains(char::is_control), "{seed}: {text:?}");
        assert!(text.chars().count() <= WORDS_MAX, "{seed}: {}", text.len());
    }
}

/// Waits for a call, which has to end.
async fn ended<T: Debug>(
    call: impl Future<Output = Result<T, ProviderError>>,
    name: &str,
    seed: u64,
) -> Option<T> {
    let answer = tokio::time::timeout(LIMIT, call).await;
    match answer.unwrap_or_else(|_| panic!("{seed}: {name} does not end")) {
        Ok(answer) => Some(answer),
        Err(error) => {
            assert_named(&error, name, seed);
            None
        }
    }
}

/// Makes one call, and looks at what is believed of its answer.
async fn call(provider: &Arc<dyn Provider>, plugin: &Plugin, infrakit: bool, seed: u64) -> bool {
    plugin.sent.lock().unwrap().clear();
    let mut draw = Draw(seed);
    let of = |name: &'static str| if infrakit { "Instance." } else { name };
    let tags: BTreeMap<String, String> = [("a".to_owned(), "b".to_owned())].into();
    let mut asked = request(1 + seed % 400);
    let handle = ProviderRef::parse("m-1").unwrap();
    let kinds = if infrakit { 6 } else { 11 };
    match draw.below(kinds) {
        0 | 1 => {
            let listing = ended(provider.list(&fleet()), of("Provider.List"), seed).await;
            let sent = plugin.sent.lock().unwrap().clone();
            listing
                .inspect(|listing| assert_listing(listing, &sent, seed))
                .is_some()
        }
        2 => {
            if !infrakit {
                asked = request(1);
                let mut second = asked.slots[0].clone();
                second.instance = InstanceId::new(asked.group.clone(), 2);
                asked.slots.push(second);
            }
            let made = ended(provider.provision(&asked), of("Provider.Provision"), seed).await;
            made.inspect(|made| assert_made(made, &asked, seed))
                .is_some()
        }
        3 => {
            let survey = ended(provider.survey(&tags), of("Provider.Survey"), seed).await;
            survey
                .inspect(|survey| assert_survey(survey, seed))
                .is_some()
        }
        4 => {
            let end = destroying(&request(1), &handle);
            let ending = provider.destroy(&end);
            // What it lists of another owner is not meant, and no fault of the plugin.
            if infrakit {
                let answer = tokio::time::timeout(LIMIT, ending).await;
                let answer = answer.unwrap_or_else(|_| panic!("{seed}: it does not end"));
                return answer.is_ok();
            }
            ended(ending, "Provider.Destroy", seed).await.is_some()
        }
        5 => {
            let fleet = fleet();
            let letting_go = provider.release(&fleet, &handle);
            if infrakit {
                let answer = tokio::time::timeout(LIMIT, letting_go).await;
                let answer = answer.unwrap_or_else(|_| panic!("{seed}: it does not end"));
                return answer.is_ok();
            }
            ended(letting_go, "Provider.Release", seed).await.is_some()
        }
        other => optional(provider, other, &asked, seed).await,
    }
}

/// The calls that only `Provider/1` has.
async fn optional(
    provider: &Arc<dyn Provider>,
    kind: usize,
    asked: &ProvisionRequest,
    seed: u64,
) -> bool {
    let handle = ProviderRef::parse("m-1").unwrap();
    let second = Duration::from_millis(100);
    match kind {
        6 => {
            let member = MemberId::parse("m1").unwrap();
            let life = GroupUid::parse("0123456789abcdef").unwrap();
            let reserve = ReserveRequest {
                fleet: fleet(),
                group: asked.group.clone(),
                seat: SeatId { life, member },
            };
            let address = ended(provider.reserve(&reserve), "Provider.Reserve", seed).await;
            address
                .inspect(|address| assert_bounded(address, seed))
                .is_some()
        }
        7 => {
            let command = ["true".to_owned()];
            let check = provider.check(&handle, &command, second);
            ended(check, "Provider.Check", seed).await.is_some()
        }
        8 => {
            let health = provider.health(&handle, second);
            ended(health, "Provider.Health", seed).await.is_some()
        }
        9 => {
            let logs = provider.logs(&handle, 2);
            ended(logs, "Provider.Logs", seed).await.is_some()
        }
        _ if seed.is_multiple_of(2) => {
            let adopt = AdoptRequest {
                fleet: fleet(),
                group: asked.group.clone(),
                epoch: asked.epoch,
                provider_ref: handle,
                instance: asked.slots[0].instance.clone(),
                token: asked.token.clone(),
                digests: asked.digests.clone(),
                seat: None,
            };
            ended(provider.adopt(&adopt), "Provider.Adopt", seed)
                .await
                .is_some()
        }
        _ => changed(provider, handle, asked, seed).await,
    }
}

async fn changed(
    provider: &Arc<dyn Provider>,
    handle: ProviderRef,
    asked: &ProvisionRequest,
    seed: u64,
) -> bool {
    let token: Token = asked.token.clone();
    let update = UpdateRequest {
        fleet: fleet(),
        group: asked.group.clone(),
        epoch: asked.epoch,
        provider_ref: handle,
        token: token.clone(),
        update: token,
        how: InPlace::Live,
        digests: asked.digests.clone(),
        slot: asked.slots[0].clone(),
        properties: asked.properties.clone(),
        grace: Duration::ZERO,
        secrets: drover_provider::Secrets::default(),
    };
    let changing = provider.update(&update);
    ended(changing, "Provider.Update", seed).await.is_some()
}

/// Returns what is added to every number that is drawn from: nothing, but where somebody tries others.
fn elsewhere() -> u64 {
    let seed = std::env::var("DROVER_TEST_SEED");
    seed.map_or(0, |seed| {
        seed.parse().expect("DROVER_TEST_SEED is a number")
    })
}

async fn calls(script: Script, infrakit: bool, start: u64) {
    let start = start + elsewhere();
    let plugin = Plugin::start(start, script, true);
    let provider = plugin.open().unwrap();
    let (mut believed, mut refused) = (0, 0);
    for seed in start..start + CALLS {
        if call(&provider, &plugin, infrakit, seed).await {
            believed += 1;
        } else {
            refused += 1;
        }
    }
    // Otherwise it was no trial.
    let most = CALLS / 10;
    assert!(
        believed > most && refused > most,
        "{believed} believed, {refused} refused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_over_provider_1_is_refused_with_its_name_or_keeps_the_rules() {
    calls(provider_answer, false, 1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_over_infrakits_instance_is_refused_with_its_name_or_keeps_the_rules() {
    calls(instance_answer, true, 2_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_of_garbage_opens_what_can_be_called_or_is_refused() {
    let scripts: [Script; 2] = [provider_answer, instance_answer];
    let (mut opened, mut refused) = (0, 0);
    for seed in elsewhere()..elsewhere() + PLUGINS {
        let plugin = Plugin::start(seed, scripts[(seed % 2) as usize], false);
        match plugin.open() {
            Ok(provider) => {
                opened += 1;
                let listed = tokio::time::timeout(LIMIT, provider.list(&fleet())).await;
                assert!(listed.is_ok(), "{seed}: it does not end");
            }
            Err(error) => {
                refused += 1;
                let text = &error.message;
                assert!(text.contains("garbage"), "{seed}: {text}");
                assert!(text.chars().count() <= WORDS_MAX, "{seed}: {}", text.len());
                assert!(!text.contains(char::is_control), "{seed}: {text:?}");
            }
        }
    }
    assert!(
        opened > 10 && refused > 10,
        "{opened} opened, {refused} refused"
    );
}
