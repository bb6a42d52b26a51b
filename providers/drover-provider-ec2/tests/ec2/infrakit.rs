//! The program, started by `drover plugin serve ec2` or `asg` and offered to InfraKit, over the double of EC2.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::agent::{PROGRAM, drover};
use crate::fake::{Fake, FakeSettings};
use crate::support::drawn;

/// Kills what serves, which takes its program with it.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.0.id().cast_signed());
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

fn serve(fake: &Fake, folder: &Path) -> Serving {
    serve_as("ec2", fake, folder)
}

fn serve_as(type_: &str, fake: &Fake, folder: &Path) -> Serving {
    let mut command = Command::new(drover());
    command
        .args(["plugin", "serve", type_, "--program", PROGRAM, "--socket"])
        .arg(folder.join("ec2"))
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--setting", "region=eu-central-1", "--", "--endpoint"])
        .arg(fake.endpoint())
        .env_clear()
        .env("HOME", folder)
        .env("AWS_ACCESS_KEY_ID", drawn())
        .env("AWS_SECRET_ACCESS_KEY", drawn())
        .stdin(Stdio::null());
    let mut serving = Serving(command.spawn().unwrap());
    let deadline = Instant::now() + Duration::from_mins(1);
    while UnixStream::connect(folder.join("ec2")).is_err() {
        assert!(serving.0.try_wait().unwrap().is_none(), "it ended");
        assert!(Instant::now() < deadline, "it does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    serving
}

#[track_caller]
fn call(folder: &Path, method: &str, params: &Json) -> Json {
    let request =
        json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 7}).to_string();
    let mut stream = UnixStream::connect(folder.join("ec2")).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        request.len()
    );
    stream.write_all((head + &request).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let answer: Json = serde_json::from_str(body).unwrap();
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    answer["result"].clone()
}

/// Makes an instance of the group g1, and returns what its group controller is told of the group then.
#[track_caller]
fn make(folder: &Path) -> (Json, Json) {
    let tags = json!({"infrakit.group": "g1"});
    let spec = json!({
        "Properties": {"imageId": "ami-00000001", "instanceType": "t3.micro"},
        "Tags": tags, "Init": "#!/bin/sh\necho hi", "LogicalID": null, "Attachments": null
    });
    let provision = json!({"Type": "", "Spec": spec});
    let made = call(folder, "Instance.Provision", &provision)["ID"].clone();
    let described = call(folder, "Instance.DescribeInstances", &describe());
    let expected = json!([{"ID": made, "LogicalID": null, "Tags": tags}]);
    assert_eq!(described["Descriptions"], expected);
    (made, described)
}

fn describe() -> Json {
    json!({"Type": "", "Tags": {"infrakit.group": "g1"}, "Properties": false})
}

#[test]
fn machines_of_ec2_are_offered_to_infrakit() {
    let fake = Fake::start(FakeSettings::default());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _serving = serve(&fake, folder);
    let (made, _) = make(folder);
    let machines: Vec<String> = fake.world().living().map(|one| one.id.clone()).collect();
    assert_eq!(machines.len(), 1);
    assert!(
        made.as_str().unwrap().contains(&machines[0]),
        "{made} {machines:?}"
    );
    let end = json!({"Type": "", "Instance": made, "Context": {"Reason": "terminate"}});
    call(folder, "Instance.Destroy", &end);
    assert_eq!(fake.world().living().count(), 0);
    let described = call(folder, "Instance.DescribeInstances", &describe());
    assert_eq!(described["Descriptions"], json!([]));
}

#[test]
fn a_machine_that_ec2_does_not_list_yet_is_told_to_infrakit() {
    let fake = Fake::start(FakeSettings {
        list_lag: Duration::from_hours(1),
        ..FakeSettings::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&fake, folder.path());
    let (_, described) = make(folder.path());
    drop(serving);
    let _serving = serve(&fake, folder.path());
    let after = call(folder.path(), "Instance.DescribeInstances", &describe());
    assert_eq!(after, described);
}

#[test]
fn scaling_groups_are_offered_to_infrakit() {
    let fake = Fake::start(FakeSettings::default());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _serving = serve_as("asg", &fake, folder);
    let properties = json!({
        "minSize": 1, "maxSize": 4, "subnets": ["subnet-a"],
        "launchTemplate": {"id": "lt-1", "version": "1"}
    });
    let tags = json!({"infrakit.group": "g1"});
    let spec = json!({
        "Properties": properties, "Tags": tags, "Init": "", "LogicalID": null, "Attachments": null
    });
    let made = call(
        folder,
        "Instance.Provision",
        &json!({"Type": "", "Spec": spec}),
    );
    let described = call(folder, "Instance.DescribeInstances", &describe());
    let expected = json!([{"ID": made["ID"], "LogicalID": null, "Tags": tags}]);
    assert_eq!(described["Descriptions"], expected);
    assert_eq!(fake.world().living().count(), 1);
    let end = json!({"Type": "", "Instance": made["ID"], "Context": {"Reason": "terminate"}});
    call(folder, "Instance.Destroy", &end);
    let described = call(folder, "Instance.DescribeInstances", &describe());
    assert_eq!(described["Descriptions"], json!([]));
}
