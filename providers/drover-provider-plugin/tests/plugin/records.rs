//! Exchanges that were recorded with InfraKit's own programs: what was asked, and what they answered, byte for byte.
//! Dates and paths of the machine are taken out, and so are the bodies of what no plugin host ever asks for.

#![allow(
    dead_code,
    reason = "three tests read the records, each other parts of them"
)]

use serde::Deserialize;

/// One exchange.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Record {
    /// The program that answered.
    pub(crate) plugin: String,
    /// The method of a call in the usual form.
    #[serde(default)]
    pub(crate) method: String,
    /// Method and path of a request in another form.
    #[serde(default)]
    pub(crate) http: String,
    /// The `Content-Type` of a request in another form.
    #[serde(default)]
    pub(crate) content_type: String,
    /// The body of the request.
    #[serde(default)]
    pub(crate) request: String,
    /// The status of the answer. None: there was no answer.
    pub(crate) status: Option<u16>,
    /// The `Content-Type` of the answer.
    #[serde(rename = "type")]
    pub(crate) type_: Option<String>,
    /// The body of the answer. None: not kept.
    pub(crate) answer: Option<String>,
    /// What was tried.
    #[serde(default)]
    pub(crate) note: String,
    /// Where it stands: file and line.
    #[serde(skip)]
    pub(crate) place: String,
}

/// The files, and how many exchanges each has.
const FILES: [(&str, usize, &str); 5] = [
    (
        "handshake-http",
        30,
        include_str!("../fixtures/infrakit/handshake-http.jsonl"),
    ),
    (
        "instance",
        47,
        include_str!("../fixtures/infrakit/instance.jsonl"),
    ),
    (
        "flavor",
        7,
        include_str!("../fixtures/infrakit/flavor.jsonl"),
    ),
    (
        "group",
        72,
        include_str!("../fixtures/infrakit/group.jsonl"),
    ),
    (
        "other-interfaces",
        78,
        include_str!("../fixtures/infrakit/other-interfaces.jsonl"),
    ),
];

/// Returns every exchange, in the order in which they were had.
pub(crate) fn records() -> Vec<Record> {
    let mut all = Vec::new();
    for (name, count, text) in FILES {
        let read = text.lines().enumerate().map(|(index, line)| {
            let mut record: Record = serde_json::from_str(line).unwrap();
            record.place = format!("{name}:{}", index + 1);
            record
        });
        let before = all.len();
        all.extend(read);
        assert_eq!(all.len() - before, count, "{name}");
    }
    all
}

impl Record {
    /// Returns the name of the file that it stands in.
    pub(crate) fn file(&self) -> &str {
        self.place.split(':').next().unwrap_or_default()
    }
}
