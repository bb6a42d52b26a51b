//! The recorded answers of InfraKit's own programs, as the host reads them: status, type and body stand on the
//! socket as they stood then.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::hello::{InstanceVersion, Spoken, hello};
use crate::infrakit;
use crate::records::{Record, records};

const LIMIT: Duration = Duration::from_secs(5);

/// How the host must understand an answer.
#[derive(Debug, PartialEq)]
enum Meant {
    /// It is the result.
    Result(Json),
    /// The plugin says that it failed, in these words.
    Refused(String),
    /// The plugin has not carried it out: refused before that.
    NotSent,
    /// It is no answer.
    Lost,
}

/// What a recorded answer means.
fn meant(record: &Record) -> Meant {
    let answer = record.answer.as_deref().unwrap();
    if record.status != Some(200) {
        return Meant::NotSent;
    }
    let Ok(answer) = serde_json::from_str::<Json>(answer) else {
        return Meant::Lost;
    };
    match answer["error"]["message"].as_str() {
        Some(words) => Meant::Refused(words.to_owned()),
        None => Meant::Result(answer["result"].clone()),
    }
}

/// Why the host is not shown an answer. None: it is.
fn not_shown(record: &Record) -> Option<&'static str> {
    match (&record.answer, record.http.as_str()) {
        (Some(_), _) => None,
        (None, http) if http.contains("/events") => Some("a stream that the host never opens"),
        (None, _) => Some("a description for people that the host never asks for"),
    }
}

/// Answers one request after the other with recorded answers, whatever is asked.
struct Player {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    listener: tokio::net::UnixListener,
}

impl Player {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("recorded");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        Self {
            _folder: folder,
            socket,
            listener,
        }
    }

    fn caller(&self) -> Caller {
        caller(&self.socket)
    }

    /// Answers one call, and returns its body.
    async fn play(&self, record: &Record) -> String {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut asked = Vec::new();
        let body = loop {
            let mut part = [0; 4096];
            let read = stream.read(&mut part).await.unwrap();
            asked.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&asked);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let mut lines = head.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse().unwrap() {
                break body.to_owned();
            }
        };
        let answer = record.answer.as_deref().unwrap();
        let type_ = record.type_.as_ref();
        let type_ = type_.map(|type_| format!("Content-Type: {type_}\r\n"));
        let head = format!(
            "HTTP/1.1 {} Recorded\r\n{}Content-Length: {}\r\n\r\n",
            record.status.unwrap(),
            type_.unwrap_or_default(),
            answer.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        body
    }
}

fn caller(socket: &Path) -> Caller {
    let place = Place::Fixed(Endpoint::Unix(socket.to_owned()));
    Caller::new("recorded".parse().unwrap(), place)
}

/// Reads a result with the reader of its method. Returns whether there is one.
fn read_as(method: &str, result: &Json) -> bool {
    let count = |name: &str| result[name].as_array().map_or(0, Vec::len);
    match method {
        "Instance.DescribeInstances" => {
            let read = infrakit::descriptions(result.to_string().as_bytes()).unwrap();
            assert_eq!(read.len(), count("Descriptions"));
            let ids = result["Descriptions"].as_array().into_iter().flatten();
            for (read, recorded) in read.iter().zip(ids) {
                assert_eq!(read.id, recorded["ID"]);
                assert_eq!(read.logical_id.as_deref(), recorded["LogicalID"].as_str());
                assert_eq!(serde_json::json!(read.tags), recorded["Tags"]);
                assert_eq!(read.properties.as_ref(), recorded.get("Properties"));
            }
        }
        "Instance.Provision" => {
            let id = infrakit::made(result).unwrap();
            assert_eq!(id.as_deref(), result["ID"].as_str());
        }
        "Instance.Validate" | "Instance.Label" | "Instance.Destroy" => {
            assert_eq!(infrakit::is_ok(result), Ok(true));
        }
        _ => return false,
    }
    true
}

#[tokio::test]
async fn every_recorded_answer_is_read_as_it_is_meant() {
    let player = Player::new();
    let caller = player.caller();
    // Results, refusals, not carried out, no answers; and answers that are read by their method's reader.
    let (mut counts, mut read, mut left_out) = ([0; 4], 0, 0);
    for record in records() {
        if not_shown(&record).is_some() {
            left_out += 1;
            continue;
        }
        let asked: Json = serde_json::from_str(&record.request).unwrap_or_default();
        let method = match &*record.method {
            "" => asked["method"].as_str().unwrap_or("Some.Method"),
            method => method,
        };
        let params = &asked["params"];
        let (answer, _) = tokio::join!(caller.call(method, params, LIMIT), player.play(&record));
        let answer = answer.map_err(|error| error.fault);
        let place = &record.place;
        match (meant(&record), answer) {
            (Meant::Result(expected), Ok(result)) => {
                assert_eq!(result, expected, "{place}");
                counts[0] += 1;
                read += usize::from(read_as(method, &result));
            }
            (Meant::Refused(words), Err(Fault::Refused { class, message })) => {
                assert_eq!((class, message), (None, words), "{place}");
                counts[1] += 1;
            }
            (Meant::NotSent, Err(Fault::NotSent(why))) => {
                let said = record.answer.as_deref().unwrap().trim();
                assert!(why.ends_with(said), "{place}: {why}");
                counts[2] += 1;
            }
            (Meant::Lost, Err(Fault::Lost(why))) => {
                assert_eq!(why, "the answer is empty", "{place}");
                counts[3] += 1;
            }
            (meant, answer) => panic!("{place}: {answer:?} instead of {meant:?}"),
        }
    }
    assert_eq!((counts, read, left_out), ([157, 63, 3, 3], 42, 8));
}

#[tokio::test]
async fn every_recorded_handshake_is_understood() {
    let mut understood = Vec::new();
    let hellos = |record: &Record| record.method == "Handshake.Hello";
    for record in records().into_iter().filter(hellos) {
        let player = Player::new();
        let caller = player.caller();
        let (interfaces, asked) = tokio::join!(hello(&caller), player.play(&record));
        let expected = r#"{"jsonrpc":"2.0","method":"Handshake.Hello","params":{},"id":1}"#;
        assert_eq!(asked, expected, "{}", record.place);
        let interfaces = interfaces.unwrap();
        let answer: Json = serde_json::from_str(record.answer.as_deref().unwrap()).unwrap();
        let objects = answer["result"]["Objects"].as_object().unwrap();
        let instances = objects.get("Instance/0.6.1");
        let Some(instances) = instances.and_then(Json::as_array) else {
            let refused = interfaces.choose("").unwrap_err();
            let expected = "Plugin does not support interface Instance/0.6.1";
            assert!(refused.starts_with(expected), "{}", record.place);
            continue;
        };
        for instance in instances {
            let subtype = match instance["Name"].as_str().unwrap() {
                "." => "",
                name => name,
            };
            let spoken = Spoken::Instance(InstanceVersion::V0_6_1);
            assert_eq!(interfaces.choose(subtype), Ok(spoken), "{}", record.place);
            understood.push(format!("{}/{subtype}", record.plugin));
        }
        assert!(interfaces.choose("nosuch").is_err(), "{}", record.place);
    }
    understood.sort();
    understood.dedup();
    let expected = [
        "file/",
        "image/",
        "selector/spread",
        "simulator/compute",
        "simulator/disk",
        "simulator/net",
    ];
    assert_eq!(understood, expected);
}
