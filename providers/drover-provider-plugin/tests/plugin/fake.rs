//! A plugin as InfraKit's own are: instances in memory, an id of 63 bits, no idempotence, answers that
//! call themselves text. Beyond that it does what a test orders.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value as Json, json};
use tokio::net::UnixListener;

/// What happens to the next call of a method, instead of or beside what it asks for.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// Carried out; the connection ends without an answer.
    LostReply,
    /// Not carried out; the connection ends without an answer.
    LostRequest,
    /// Carried out; the answer takes so long.
    Slow(Duration),
    /// Carried out so late that the caller has gone, whatever becomes of the connection.
    Late(Duration),
    /// Never answered.
    Hang,
    /// Not carried out; this is the answer.
    Says(&'static str),
    /// The same, of any size.
    Sends(Bytes),
    /// Not carried out; an answer of a gigabyte.
    Endless,
    /// Carried out; the answer is cut in the middle.
    Truncated,
    /// Only so many of the labels are put on, and then an error is answered.
    PartOf(usize),
    /// Carried out, and then an error is answered.
    MadeAndFailed,
    /// Carried out; the answer has no id.
    NoId,
    /// Not carried out; an error with this class in its data.
    Class(&'static str),
}

#[derive(Debug, Clone)]
struct Instance {
    tags: Map<String, Json>,
    properties: Json,
    logical_id: Json,
    made: Instant,
}

#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<String, Instance>,
    troubles: BTreeMap<String, VecDeque<Trouble>>,
    calls: Vec<(String, Json)>,
    next: u64,
    /// What the next instances are called, where a test says so.
    handles: VecDeque<String>,
    /// New instances are described so late.
    lag: Duration,
    /// Instances that lack a tag match it too, as in InfraKit's simulator.
    loose_filter: bool,
    capacity: Option<usize>,
    /// The longest value of a tag; what is longer is cut.
    tag_max: Option<usize>,
    /// A tag that it does not keep.
    dropped: Option<&'static str>,
    handshake: Option<Json>,
    /// The groups that it watches.
    groups: Vec<Json>,
    /// As a flavor: the health that it knows, by handle.
    health: BTreeMap<String, u8>,
}

/// A running plugin. Ends with the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    pub(crate) socket: PathBuf,
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>;

impl Fake {
    /// Starts one on the socket `name` in a folder.
    pub(crate) fn start(folder: &Path, name: &str) -> Self {
        let socket = folder.join(name);
        let fake = Self {
            state: Arc::new(Mutex::new(State {
                next: (1 << 63) - 100,
                ..State::default()
            })),
            socket,
        };
        fake.listen();
        fake
    }

    fn listen(&self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        let this = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                let service = service_fn(move |request| {
                    let this = this.clone();
                    async move { this.answer(request).await }
                });
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serving);
            }
        });
    }

    pub(crate) fn trouble(&self, method: &str, trouble: Trouble) {
        let mut state = self.state.lock().unwrap();
        let queue = state.troubles.entry(method.to_owned()).or_default();
        queue.push_back(trouble);
    }

    pub(crate) fn set_lag(&self, lag: Duration) {
        self.state.lock().unwrap().lag = lag;
    }

    /// Calls the next instance by a name that may have been used before.
    pub(crate) fn name_next(&self, handle: &str) {
        let mut state = self.state.lock().unwrap();
        state.handles.push_back(handle.to_owned());
    }

    /// Cuts values of tags, as clouds do.
    pub(crate) fn cut_tags(&self, tag_max: usize) {
        self.state.lock().unwrap().tag_max = Some(tag_max);
    }

    /// Keeps a tag no more, or all of them.
    pub(crate) fn drop_tag(&self, name: Option<&'static str>) {
        self.state.lock().unwrap().dropped = name;
    }

    /// The tags of an instance.
    pub(crate) fn tags(&self, id: &str) -> Json {
        json!(self.state.lock().unwrap().instances[id].tags)
    }

    pub(crate) fn set_capacity(&self, capacity: usize) {
        self.state.lock().unwrap().capacity = Some(capacity);
    }

    pub(crate) fn set_loose_filter(&self) {
        self.state.lock().unwrap().loose_filter = true;
    }

    /// Answers `Handshake.*` and `Plugin.*` from this map by method, and refuses what is not in it.
    pub(crate) fn set_handshake(&self, answers: Json) {
        self.state.lock().unwrap().handshake = Some(answers);
    }

    /// Makes it a plugin that watches groups of these ids.
    pub(crate) fn set_groups(&self, ids: &[&str]) {
        let objects = json!({"Objects": {"Group/0.1.1": [{"Name": ".", "ProxyFor": ""}]}});
        self.set_handshake(json!({"Handshake.Hello": objects}));
        let groups = ids
            .iter()
            .map(|id| json!({"ID": id, "Properties": {"Allocation": {"Size": 1}}}));
        self.state.lock().unwrap().groups = groups.collect();
    }

    /// Makes it a flavor with the subtypes `worker` and `lead`, which knows the health of these.
    pub(crate) fn set_flavor(&self, health: &[(&str, u8)]) {
        let objects = json!([{"Name": "worker", "ProxyFor": ""}, {"Name": "lead"}]);
        self.set_handshake(json!({"Handshake.Hello": {"Objects": {"Flavor/0.1.1": objects}}}));
        let health = health
            .iter()
            .map(|(id, health)| ((*id).to_owned(), *health));
        self.state.lock().unwrap().health = health.collect();
    }

    /// How many instances there are.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap().instances.len()
    }

    /// Adds an instance that nobody of ours has made.
    pub(crate) fn add_stranger(&self, id: &str, tags: Json) {
        let Json::Object(tags) = tags else {
            panic!("tags are a map")
        };
        let instance = Instance {
            tags,
            properties: Json::Null,
            logical_id: Json::Null,
            made: Instant::now(),
        };
        self.state
            .lock()
            .unwrap()
            .instances
            .insert(id.to_owned(), instance);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.state.lock().unwrap().instances.remove(id);
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.state.lock().unwrap().instances.contains_key(id)
    }

    /// The parameters of the calls of a method so far.
    pub(crate) fn calls(&self, method: &str) -> Vec<Json> {
        let state = self.state.lock().unwrap();
        let calls = state.calls.iter().filter(|(called, _)| called == method);
        calls.map(|(_, params)| params.clone()).collect()
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let cut = || std::io::Error::other("the connection is cut");
        let bytes = request
            .into_body()
            .collect()
            .await
            .map_err(|_| cut())?
            .to_bytes();
        let call: Json = serde_json::from_slice(&bytes).unwrap();
        let method = call["method"].as_str().unwrap().to_owned();
        let trouble = {
            let mut state = self.state.lock().unwrap();
            state.calls.push((method.clone(), call["params"].clone()));
            let queue = state.troubles.get_mut(&method);
            queue.and_then(VecDeque::pop_front)
        };
        let carry_out = || self.carry_out(&method, &call["params"]);
        let plain = |outcome: Result<Json, String>| text(&reply(outcome, &call["id"]));
        Ok(match trouble {
            None => plain(carry_out()),
            Some(Trouble::LostReply) => {
                let _ = carry_out();
                return Err(cut());
            }
            Some(Trouble::LostRequest) => return Err(cut()),
            Some(Trouble::Slow(time)) => {
                let outcome = carry_out();
                tokio::time::sleep(time).await;
                plain(outcome)
            }
            Some(Trouble::Late(time)) => {
                let (this, method, params) = (self.clone(), method.clone(), call["params"].clone());
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    let _ = this.carry_out(&method, &params);
                });
                return Err(cut());
            }
            Some(Trouble::Hang) => std::future::pending().await,
            Some(Trouble::Says(words)) => text(words),
            Some(Trouble::Sends(bytes)) => sends(bytes),
            Some(Trouble::Endless) => endless(),
            Some(Trouble::Truncated) => truncated(&reply(carry_out(), &call["id"])),
            Some(Trouble::MadeAndFailed) => {
                let _ = carry_out();
                plain(Err("tagging failed".to_owned()))
            }
            Some(Trouble::PartOf(count)) => {
                let mut params = call["params"].clone();
                let labels = params["Labels"].as_object_mut().unwrap();
                *labels = std::mem::take(labels).into_iter().take(count).collect();
                let _ = self.carry_out(&method, &params);
                plain(Err("rate exceeded while tagging".to_owned()))
            }
            Some(Trouble::NoId) => {
                let _ = carry_out();
                plain(Ok(json!({"Type": "", "ID": null})))
            }
            Some(Trouble::Class(class)) => {
                let error = json!({"code": -32000, "message": "no", "data": {"class": class}});
                text(&json!({"jsonrpc": "2.0", "error": error, "id": call["id"]}).to_string())
            }
        })
    }

    fn carry_out(&self, method: &str, params: &Json) -> Result<Json, String> {
        let mut state = self.state.lock().unwrap();
        if let Some(answers) = &state.handshake
            && (method.starts_with("Handshake.") || method.starts_with("Plugin."))
        {
            let answer = answers.get(method).cloned();
            return answer.ok_or_else(|| format!("rpc: can't find method {method:?}"));
        }
        let ok = Ok(json!({"Type": "", "OK": true}));
        let id = params["Instance"].as_str().unwrap_or_default().to_owned();
        match method {
            "Handshake.Hello" => {
                let objects = json!([{"Name": ".", "ProxyFor": ""}]);
                Ok(json!({"Objects": {"Instance/0.6.1": objects}}))
            }
            "Instance.Validate" | "Flavor.Validate"
                if params["Properties"].get("bad").is_some() =>
            {
                Err("bad properties".to_owned())
            }
            "Instance.Validate" | "Flavor.Validate" | "Flavor.Drain" => ok,
            "Instance.Provision" => state.provision(&params["Spec"]),
            "Instance.Label" => {
                let labels = state.kept(&params["Labels"]);
                let instance = state.instances.get_mut(&id);
                let instance = instance.ok_or_else(|| format!("not found {id}"))?;
                instance.tags.extend(labels);
                ok
            }
            "Instance.Destroy" => match state.instances.remove(&id) {
                Some(_) => ok,
                None => Err(format!("not found {id}")),
            },
            "Instance.DescribeInstances" => Ok(state.describe(params)),
            "Flavor.Prepare" => Ok(json!({"Type": params["Type"], "Spec": prepared(params)})),
            "Flavor.Healthy" => {
                let id = params["Instance"]["ID"].as_str().unwrap_or_default();
                let health = state.health.get(id).copied().unwrap_or_default();
                Ok(json!({"Type": params["Type"], "Health": health}))
            }
            // As programs in Go write an empty list.
            "Group.InspectGroups" if state.groups.is_empty() => Ok(json!({"Groups": null})),
            "Group.InspectGroups" => Ok(json!({"Name": "", "ID": "", "Groups": state.groups})),
            _ => Err(format!("rpc: can't find method {method:?}")),
        }
    }
}

impl State {
    fn provision(&mut self, spec: &Json) -> Result<Json, String> {
        if let Some(capacity) = self.capacity
            && self.instances.len() >= capacity
        {
            return Err(format!("at capacity {capacity}"));
        }
        self.next += 1;
        let named = self.handles.pop_front();
        let id = named.unwrap_or_else(|| format!("instance-{}", self.next));
        let instance = Instance {
            tags: self.kept(&spec["Tags"]),
            properties: spec["Properties"].clone(),
            logical_id: spec["LogicalID"].clone(),
            made: Instant::now(),
        };
        self.instances.insert(id.clone(), instance);
        Ok(json!({"Type": "", "ID": id}))
    }

    /// Returns what it makes of tags.
    fn kept(&self, tags: &Json) -> Map<String, Json> {
        let tags = tags.as_object().cloned().unwrap_or_default().into_iter();
        let tags = tags.filter(|(name, _)| self.dropped != Some(name.as_str()));
        let cut = |value: Json| match (value.as_str(), self.tag_max) {
            (Some(text), Some(max)) => json!(text.chars().take(max).collect::<String>()),
            (_, _) => value,
        };
        tags.map(|(name, value)| (name, cut(value))).collect()
    }

    fn describe(&self, params: &Json) -> Json {
        let wanted = params["Tags"].as_object().cloned().unwrap_or_default();
        let matches = |tags: &Map<String, Json>| {
            let mut wanted = wanted.iter();
            wanted.all(|(name, value)| match tags.get(name) {
                Some(tag) => tag == value,
                None => self.loose_filter,
            })
        };
        let shown = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.made.elapsed() >= self.lag && matches(&instance.tags));
        let shown = shown.map(|(id, instance)| {
            let mut shown =
                json!({"ID": id, "LogicalID": instance.logical_id, "Tags": instance.tags});
            if params["Properties"] == true {
                shown["Properties"] = instance.properties.clone();
            }
            shown
        });
        let shown: Vec<Json> = shown.collect();
        json!({"Type": "", "Descriptions": shown})
    }
}

/// What a flavor makes of an instance: lines after those that are there, and a tag.
fn prepared(params: &Json) -> Json {
    let mut spec = params["Spec"].clone();
    let before = spec["Init"].as_str().unwrap_or_default().to_owned();
    let index = &params["Index"];
    let line = format!(
        "join {} as {}",
        index["Group"].as_str().unwrap(),
        index["Sequence"]
    );
    spec["Init"] = json!(format!("{before}{line}"));
    spec["Tags"]["link"] = json!("a/b=c");
    if let Some(properties) = params["Properties"].get("properties") {
        spec["Properties"] = properties.clone();
    }
    for name in ["LogicalID", "Attachments"] {
        if let Some(said) = params["Properties"].get(name) {
            spec[name] = said.clone();
        }
    }
    spec
}

fn reply(outcome: Result<Json, String>, id: &Json) -> String {
    let answer = match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "result": result, "id": id}),
        Err(message) => {
            let error = json!({"code": -32000, "message": message, "data": null});
            json!({"jsonrpc": "2.0", "error": error, "id": id})
        }
    };
    format!("{answer}\n")
}

fn text(words: &str) -> Response<Body> {
    sends(Bytes::from(words.to_owned()))
}

fn sends(bytes: Bytes) -> Response<Body> {
    let body = Full::new(bytes);
    let body = body
        .map_err(|never: Infallible| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    let type_ = "text/plain; charset=utf-8".parse().unwrap();
    response.headers_mut().insert("content-type", type_);
    response
}

fn endless() -> Response<Body> {
    let part = Bytes::from(vec![b' '; 1 << 20]);
    let parts = (0..1024).map(move |_| Ok(Frame::data(part.clone())));
    Response::new(BodyExt::boxed_unsync(StreamBody::new(
        futures::stream::iter(parts),
    )))
}

fn truncated(words: &str) -> Response<Body> {
    let half = Bytes::from(words[..words.len() / 2].to_owned());
    let parts = vec![Ok(Frame::data(half)), Err(std::io::Error::other("cut"))];
    // What is cut at once is never sent at all.
    let parts = futures::stream::iter(parts).then(|part| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        part
    });
    Response::new(BodyExt::boxed_unsync(StreamBody::new(parts.boxed())))
}
