//! The recorded exchanges of InfraKit's own programs, asked of our servers: status, `Content-Type` and body are the
//! same to the byte, or the table below says what differs and why.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    Completeness, ErrorClass, FleetName, Listed, Listing, Ownership, ProviderPhase, ProviderRef,
    ProviderType, Value,
};
use drover_provider::{
    AttachmentUse, DestroyRequest, Forward, Forwarding, InitUse, Manifest, ObjectSchema, Others,
    Provider, ProviderError, ProvisionRequest, Provisioned, Refusing,
};
use drover_provider_plugin::{InstanceService, Served, Service, VanillaService};
use serde_json::Value as Json;

use crate::groups::Memory;
use crate::records::{Record, records};
use crate::serving::{WallClock, http, post, serve};

/// A provider that gives its instances the handles that were recorded.
#[derive(Debug)]
struct Recorded {
    inner: Refusing,
    handles: Mutex<VecDeque<String>>,
    there: Mutex<BTreeMap<ProviderRef, Ownership>>,
}

impl Recorded {
    fn new(handles: VecDeque<String>) -> Self {
        let any = ObjectSchema {
            fields: BTreeMap::new(),
            others: Others::Taken,
            rules: drover_provider::Rules::default(),
        };
        let manifest = Manifest {
            type_: ProviderType::parse("recorded").unwrap(),
            properties: any.clone(),
            settings: any,
            batch_max: 1,
            visibility: Duration::ZERO,
            init: InitUse::UserData,
            attachments: AttachmentUse::Refused,
        };
        Self {
            inner: Refusing(manifest),
            handles: Mutex::new(handles),
            there: Mutex::default(),
        }
    }
}

#[async_trait]
impl Forwarding for Recorded {
    fn inner(&self) -> &dyn Provider {
        &self.inner
    }

    async fn list(&self, _fleet: &FleetName) -> Result<Listing, ProviderError> {
        let there = self.there.lock().unwrap();
        let instances = there.iter().map(|(provider_ref, owner)| Listed {
            provider_ref: provider_ref.clone(),
            phase: ProviderPhase::Running,
            address: None,
            zone: None,
            created_at: None,
            ownership: Some(owner.clone()),
            interruption: None,
        });
        Ok(Listing {
            completeness: Completeness::Complete,
            as_of: drover_model::Timestamp::now(),
            instances: instances.collect(),
            attached: std::collections::BTreeSet::new(),
            places: BTreeMap::new(),
        })
    }

    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        let mut there = self.there.lock().unwrap();
        let most = request.properties.get("simulator_cap");
        if let Some(Value::Int(most)) = most
            && there.len() as i64 >= *most
        {
            let message = format!("at capacity {most}");
            return Err(ProviderError::new(ErrorClass::Capacity, message));
        }
        let handle = self.handles.lock().unwrap().pop_front().unwrap();
        let handle = ProviderRef::parse(&handle).unwrap();
        let instance = request.slots[0].instance.clone();
        let owner = Ownership {
            fleet: request.fleet.clone(),
            group: request.group.clone(),
            instance: instance.clone(),
            digests: request.digests.clone(),
            token: request.token.clone(),
            epoch: request.epoch,
            seat: None,
        };
        there.insert(handle.clone(), owner);
        Ok(Provisioned {
            made: BTreeMap::from([(instance, handle)]),
            shortfall: None,
        })
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        self.there.lock().unwrap().remove(&request.provider_ref);
        Ok(())
    }
}

/// Which of our servers answers what was asked of which of InfraKit's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Server {
    /// An `Instance` without subtypes, as InfraKit's `file` is.
    File,
    /// Another one, for what was asked of the subtype `compute`: ours have no subtypes, so it is taken out.
    Compute,
    /// The same for `disk`.
    Disk,
    /// The flavor `vanilla`.
    Vanilla,
    /// Groups.
    Group,
    /// Other groups, for what was asked of InfraKit's manager, which has names for them.
    Manager,
}

/// What becomes of a recorded exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replay {
    /// Answered with the same bytes.
    Same(Server),
    /// Answered with the same code of error, in words of our own: theirs name files, and types of Go.
    OwnWords(Server),
    /// Answered otherwise on purpose, or not at all: this is why.
    Not(&'static str),
}

const SIMULATORS_HABITS: &str = "the simulator's own habits: properties that nobody asked for, a tag of its own, and instances that lack \
the tag that was asked for";
const OLDER: &str = "the last release refuses the handshakes of older ones; we answer them";
const FOR_PEOPLE: &str = "a program's description of itself, for people";
const STREAM: &str = "a stream of events, which is not served";
const NOT_OURS: &str =
    "Controller, Stack, Metadata, Updatable, L4 and Event: interfaces that are not served";
const COMBINED: &str =
    "flavors are combined by the list of a group, and the base's lines are not repeated";
const EMPTY: &str = "a group of drover's may be empty";
const TYPOS: &str = "refused: InfraKit drops a field that there is not, and a word";
const MANAGER: &str = "the manager's own trouble with its names";
const HANDLES: &str =
    "instances without the hash count as other ones there; ours have it from the start";
const SWITCH: &str = "refused: InfraKit ends every instance, and makes none";
const UNKNOWN: &str = "refused: InfraKit makes the group smaller for an instance that there is not";
const WAITS: &str = "waits of an update are the document's";

/// The table: every exchange is in exactly one row.
#[expect(
    clippy::match_same_arms,
    reason = "each arm is a row of its own, and the order is that of the recordings"
)]
fn replay(record: &Record) -> Replay {
    use Replay::{Not, OwnWords, Same};
    let (plugin, method, note) = (
        record.plugin.as_str(),
        record.method.as_str(),
        record.note.as_str(),
    );
    if record.answer.is_none() {
        let events = record.http.contains("/events");
        return Not(if events { STREAM } else { FOR_PEOPLE });
    }
    match (plugin, method) {
        // In other forms than a plain call.
        ("file", "") if note == "bad type" => OwnWords(Server::File),
        ("file", "") => Same(Server::File),
        ("file", "Plugin.Implements" | "Handshake.Implements" | "Handshake.Types") => Not(OLDER),
        ("file" | "image", "Handshake.Hello") => Same(Server::File),
        ("vanilla" | "combo", "Handshake.Hello") => Same(Server::Vanilla),
        ("file", _) if record.file() == "group" => {
            Not("instances that InfraKit's own group controller has made")
        }
        ("file", "Instance.Label") if note == "unknown id" => OwnWords(Server::File),
        ("file", "Instance.Destroy") if note == "destroy twice" => OwnWords(Server::File),
        ("file", _) => Same(Server::File),
        ("simulator", "Instance.DescribeInstances") if note == "no Type on a typed plugin" => {
            Not("what we serve has no subtypes, so that none is missing")
        }
        ("simulator", "Instance.DescribeInstances") if note != "no match" => Not(SIMULATORS_HABITS),
        ("simulator", _) if method.starts_with("Instance.") => {
            let disk = record.request.contains("\"Type\":\"disk\"");
            let server = if disk { Server::Disk } else { Server::Compute };
            match note {
                "at capacity" => OwnWords(server),
                _ => Same(server),
            }
        }
        ("vanilla", "Flavor.Validate") if note == "bad properties" => OwnWords(Server::Vanilla),
        ("vanilla", "Flavor.Prepare") if note == "template in init" => {
            Not("templates of Go are not rendered, and refused")
        }
        ("vanilla", _) => Same(Server::Vanilla),
        ("combo", _) => Not(COMBINED),
        ("group-stateless", "Handshake.Hello") => Not("Metadata is announced there, and not here"),
        ("group-stateless", _) if method.starts_with("Group.") => match note {
            "size zero refused" | "size 0" => Not(EMPTY),
            "typo in SkipBeforeInstanceDestroy"
            | "unknown fields silently accepted"
            | "duplicate logical ids accepted" => Not(TYPOS),
            "doc says error; actually OK and lowers the size" => Not(UNKNOWN),
            "destroy all: instances die, then SetSize(0) fails" => Not(EMPTY),
            "roll with Updating.Count=2" => Not(WAITS),
            "untagged counts as undesired: would roll" => Not(HANDLES),
            "switch size->logical ids" => Not(SWITCH),
            "negative size"
            | "float size"
            | "string size"
            | "flavor used as instance"
            | "bad flavor properties" => OwnWords(Server::Group),
            _ => Same(Server::Group),
        },
        ("group", _) if method.starts_with("Group.") => {
            let answer = record.answer.as_deref().unwrap_or_default();
            if answer.contains("not found: group (key=)") {
                Not(MANAGER)
            } else {
                Same(Server::Manager)
            }
        }
        // A service that there is not is told in the same words by everybody.
        ("group", _) if method.starts_with("Stack.") => Same(Server::File),
        ("vars", "Metadata.Keys") => Same(Server::File),
        _ => Not(NOT_OURS),
    }
}

const ATTACHED: &str = r#""Attachments":[{"ID":"vol1","Type":"ebs"}]"#;

/// Returns a recorded text as it is with our server: instances without attachments, which our providers refuse,
/// and without a subtype.
fn adapted(text: &str, server: Server) -> String {
    match server {
        Server::File => text.replace(ATTACHED, "\"Attachments\":null"),
        Server::Compute | Server::Disk => {
            let text = text.replace(ATTACHED, "\"Attachments\":null");
            text.replace("\"Type\":\"compute\"", "\"Type\":\"\"")
                .replace("\"Type\":\"disk\"", "\"Type\":\"\"")
        }
        Server::Vanilla => text.to_owned(),
        Server::Group | Server::Manager => sorted(text),
    }
}

/// Returns an answer with what a provider says of its own instances in the order of the alphabet: that order is the
/// provider's, and ours keeps none.
fn sorted(text: &str) -> String {
    let answer: Json = serde_json::from_str(text).unwrap_or_default();
    let instances = answer.pointer("/result/Description/Instances");
    let instances = instances.and_then(Json::as_array).into_iter().flatten();
    instances.fold(text.to_owned(), |text, instance| {
        let own = &instance["Properties"];
        let parts = ["Properties", "Tags", "Init", "LogicalID", "Attachments"];
        let parts = parts.map(|part| format!("\"{part}\":{}", own[part]));
        text.replace(&format!("{{{}}}", parts.join(",")), &own.to_string())
    })
}

/// The handles that a server's instances had, in the order in which they were made.
fn handles(server: Server) -> VecDeque<String> {
    let records = records();
    let made = records.iter().filter(|record| {
        replay(record) == Replay::Same(server) && record.request.contains("\"Instance.Provision\"")
    });
    let id = |record: &Record| {
        let answer: Json = serde_json::from_str(record.answer.as_ref().unwrap()).unwrap();
        answer["result"]["ID"].as_str().unwrap().to_owned()
    };
    made.map(id).collect()
}

/// Starts a server on a socket of its own.
fn start(server: Server, folder: &Path, groups: &Memory) {
    let service: Box<dyn Service> = match server {
        Server::File | Server::Compute | Server::Disk => {
            let provider = Arc::new(Forward(Recorded::new(handles(server))));
            let service = InstanceService::new(provider, &folder.join("tags"), Arc::new(WallClock));
            Box::new(service.unwrap())
        }
        Server::Vanilla => Box::new(VanillaService),
        Server::Group | Server::Manager => return serve(folder, groups.served()),
    };
    serve(folder, Served::new(vec![service]));
}

/// Returns the request as it went over the socket.
fn request(record: &Record, body: &str) -> String {
    match record.http.split_once(' ') {
        None => post("/", "application/json", body),
        Some(("POST", path)) => post(path, &record.content_type, body),
        Some((method, path)) => {
            format!("{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        }
    }
}

/// Returns an answer without what an error says and carries.
fn without_words(answer: &str) -> Json {
    let mut answer: Json = serde_json::from_str(answer).unwrap();
    let error = answer["error"].as_object_mut().unwrap();
    assert!(
        error
            .remove("message")
            .is_some_and(|words| words.is_string() && words != "")
    );
    error.remove("data");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn our_servers_answer_what_was_asked_of_infrakits_programs() {
    let mut folders: BTreeMap<Server, tempfile::TempDir> = BTreeMap::new();
    let (groups, managed) = (Memory::default(), Memory::default());
    let mut counts = [0; 3];
    for record in records() {
        let (server, row) = match replay(&record) {
            Replay::Same(server) => (server, 0),
            Replay::OwnWords(server) => (server, 1),
            Replay::Not(why) => {
                assert!(!why.is_empty());
                counts[2] += 1;
                continue;
            }
        };
        counts[row] += 1;
        let folder = folders.entry(server).or_insert_with(|| {
            let folder = tempfile::tempdir().unwrap();
            let memory = if server == Server::Group {
                &groups
            } else {
                &managed
            };
            start(server, folder.path(), memory);
            folder
        });
        match server {
            Server::Group => groups.prime(&record),
            Server::Manager => managed.prime(&record),
            Server::File | Server::Compute | Server::Disk | Server::Vanilla => {}
        }
        let asked = adapted(&record.request, server);
        let expected = adapted(record.answer.as_ref().unwrap(), server);
        let (head, body) = http(folder.path(), &request(&record, &asked)).await;
        let place = format!("{}: {asked}", record.place);
        let status = format!("http/1.1 {} ", record.status.unwrap());
        assert!(head.starts_with(&status), "{place}\n{head}");
        let type_ = head
            .lines()
            .find_map(|line| line.strip_prefix("content-type: "));
        assert_eq!(type_, record.type_.as_deref(), "{place}\n{head}");
        let length = format!("content-length: {}", body.len());
        assert!(head.contains(&length), "{place}\n{head}");
        match row {
            0 => assert_eq!(body, expected, "{place}"),
            _ => assert_eq!(without_words(&body), without_words(&expected), "{place}"),
        }
    }
    assert_eq!(counts, [123, 10, 101], "every exchange is accounted for");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_otherwise_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let provider = Arc::new(Forward(Recorded::new(VecDeque::new())));
    let instances = InstanceService::new(provider, folder.path(), Arc::new(WallClock)).unwrap();
    let served = Served::new(vec![Box::new(instances), Box::new(VanillaService)]);
    let mut refused = Vec::new();
    for record in records() {
        let attached = record.request.contains("Provision") && record.request.contains(ATTACHED);
        let template = record.note == "template in init";
        if !(attached && record.plugin == "file" || template) {
            continue;
        }
        let answer = served.answer(record.request.as_bytes()).await;
        let answer: Json = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"]["data"]["class"], "invalidSpec", "{answer}");
        refused.push(answer["error"]["message"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        refused,
        [
            "this provider attaches nothing that has an id",
            "InitScriptTemplateURL: templates are not rendered here; write the lines into Init"
        ]
    );
}
