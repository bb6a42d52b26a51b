//! Answers that are small and become large once they are read: refused, by a process that is not allowed to grow.

use std::io::Write as _;
use std::process::Command;

use drover_model::ErrorClass;
use drover_provider_plugin::{Directory, Place, inspect_groups};
use rustix::process::{Resource, Rlimit};
use serde_json::json;

use crate::fake::Trouble;
use crate::support::{Scope, assert_failed, fleet, values};

/// The most address space of the process that reads, so that a mistake ends it and not the machine.
const ADDRESSES_MAX: u64 = 3 << 30;

/// The most memory that it may need at once: the answer itself, twice, as it also plays the plugin; and what is read of it.
const MEMORY_MAX: usize = 330 << 20;

/// Just below the limit of a listing's bytes.
const BODY: usize = 31 << 20;

/// Returns a list of a unit again and again, of about so many bytes.
fn list(unit: &str, bytes: usize) -> String {
    format!("[{}]", vec![unit; bytes / (unit.len() + 1)].join(","))
}

/// Forgets the peak of this process's memory, which building an answer has raised.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Asserts the peak of this process's memory, and tells it.
#[track_caller]
fn assert_peak() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    let peak = number.parse::<usize>().unwrap() << 10;
    let told = format!("peak: {} MiB\n", peak >> 20);
    std::io::stdout().write_all(told.as_bytes()).unwrap();
    assert!(peak < MEMORY_MAX, "{told}");
}

/// Returns an answer to a listing, and what must be said of it. They are built one by one: each is large itself.
fn answer(number: usize) -> Option<(String, &'static str)> {
    let described = |what: &str| format!("{{\"result\":{{\"Descriptions\":{what}}}}}");
    let within = |what: String| described(&format!("[{{\"ID\":\"a\",\"Properties\":{what}}}]"));
    let much = "the answer is too much: its values take more than 256 MiB of memory";
    // One byte, which is escaped where it is shown.
    let long = || format!("\"{}\"", "\u{7f}".repeat(BODY));
    Some(match number {
        // As much as is read at most.
        0 => {
            let unit = "{\"\":0}";
            (within(list(unit, (1 << 28) / 900 * (unit.len() + 1))), "")
        }
        1 => (described(&list("{\"\":0}", BODY)), much),
        2 => (described(&list("{}", BODY)), much),
        3 => (within(list("{\"\":0}", BODY)), much),
        4 => (within(list("[0]", BODY)), much),
        5 => (within(list("0", BODY)), much),
        6 => {
            let keys: Vec<String> = (0..BODY / 12).map(|at| format!("\"{at:07}\":0")).collect();
            (within(format!("{{{}}}", keys.join(","))), much)
        }
        7 => {
            let twice = vec!["\"a\":0"; BODY / 6].join(",");
            (within(format!("{{{twice}}}")), much)
        }
        8 => {
            let deep = format!("{}{}", "[".repeat(BODY / 2), "]".repeat(BODY / 2));
            (within(deep), "nested more than 127 levels deep")
        }
        9 => {
            let data = list("{\"\":0}", BODY);
            let error = format!("{{\"message\":\"no\",\"data\":{data}}}");
            (format!("{{\"error\":{error}}}"), much)
        }
        // Long and not large: read, and never repeated whole.
        10 => {
            let tags = format!("{{{}:0}}", long());
            let tagged = format!("[{{\"ID\":\"a\",\"Tags\":{tags}}}]");
            (described(&tagged), "`Tags` of a: the entry")
        }
        11 => (
            format!("{{\"error\":{}}}", long()),
            "Instance.DescribeInstances: ",
        ),
        12 => (
            described(&list("{\"\":0}", 1 << 20)),
            "a description has no `ID`",
        ),
        _ => return None,
    })
}

/// Reads all of them, and then one that is as it should be.
async fn read_them() {
    let scope = Scope::new();
    let settings = [
        ("plugin", "fake"),
        ("timeout", "1m"),
        ("addressProperty", "ip"),
    ];
    let provider = scope.try_open(&values(&settings)).unwrap();
    for (answer, says) in (0..).map_while(answer) {
        let trouble = Trouble::Sends(answer.into());
        scope.fake.trouble("Instance.DescribeInstances", trouble);
        forget_peak();
        let listed = provider.list(&fleet()).await;
        assert_peak();
        if says.is_empty() {
            listed.unwrap();
            continue;
        }
        let length = listed.as_ref().err().map(|error| error.message.len());
        assert!(length.is_some_and(|length| length < 2000), "{length:?}");
        assert_failed(listed, ErrorClass::Unknown, says);
    }
    let place = Place::Named(Directory::new(scope.folder.path()));
    let hello = format!("{{\"result\":{}}}", list("{\"\":0}", BODY));
    let small = format!("{{\"result\":{}}}", list("{\"\":0}", 250 << 10));
    let large = "plugin fake: Handshake.Hello: the answer is larger than 256 KiB";
    let much = "plugin fake: Handshake.Hello: the answer is too much: its values take more than 8 MiB of memory";
    for (answer, says) in [(hello, large), (small, much)] {
        scope
            .fake
            .trouble("Handshake.Hello", Trouble::Sends(answer.into()));
        forget_peak();
        let asked = inspect_groups(&place, &"fake".parse().unwrap()).await;
        assert_peak();
        assert_eq!(asked.unwrap_err().to_string(), says);
    }
    scope.fake.set_groups(&["web"]);
    let groups = format!(
        "{{\"result\":{{\"Groups\":{}}}}}",
        list("{\"ID\":\"a\"}", BODY)
    );
    scope
        .fake
        .trouble("Group.InspectGroups", Trouble::Sends(groups.into()));
    forget_peak();
    let asked = inspect_groups(&place, &"fake".parse().unwrap()).await;
    assert_peak();
    let says = "plugin fake: Group.InspectGroups: the answer is too much: its values take more than 256 MiB of memory";
    assert_eq!(asked.unwrap_err().to_string(), says);
}

/// Reads a listing of ten thousand instances with twelve tags and properties.
async fn read_many() {
    let scope = Scope::new();
    let settings = [
        ("plugin", "fake"),
        ("timeout", "1m"),
        ("addressProperty", "ip"),
    ];
    let provider = scope.try_open(&values(&settings)).unwrap();
    let instances = (0..10_000).map(|number| {
        let mut tags = serde_json::Map::new();
        for tag in 0..11 {
            tags.insert(format!("some.tag-{tag}"), json!(format!("some value of it {number}")));
        }
        tags.insert("drover.fleet".to_owned(), json!("prod"));
        let disks = json!([{"name": "a", "size": 10}, {"name": "b", "size": 20}]);
        let properties = json!({"ip": "10.0.0.5", "image": "debian", "disks": disks});
        json!({"ID": format!("i-{number}"), "LogicalID": null, "Tags": tags, "Properties": properties})
    });
    let instances: Vec<_> = instances.collect();
    let answer = json!({"result": {"Descriptions": instances}}).to_string();
    drop(instances);
    scope
        .fake
        .trouble("Instance.DescribeInstances", Trouble::Sends(answer.into()));
    forget_peak();
    let listed = provider.list(&fleet()).await.unwrap();
    assert_peak();
    assert_eq!(listed.instances.len(), 10_000);
}

#[test]
fn no_answer_takes_more_memory_than_its_bounds() {
    const CHILD: &str = "DROVER_TEST_MEMORY";
    if std::env::var_os(CHILD).is_some() {
        let limit = Rlimit {
            current: Some(ADDRESSES_MAX),
            maximum: Some(ADDRESSES_MAX),
        };
        rustix::process::setrlimit(Resource::As, limit).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(read_them());
        runtime.block_on(read_many());
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("memory::no_answer_takes_more_memory_than_its_bounds")
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    assert_eq!(said.matches("peak: ").count(), 17, "{said}");
}
