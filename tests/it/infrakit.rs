//! What drover offers to InfraKit, asked as InfraKit's group controller asks.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::engine::{Engine, IMAGE};
use crate::plugin::PYTHON;
use crate::support::{PATIENCE, Sandbox, wait_until};

/// A `drover plugin serve` of a sandbox, ended with its test.
pub(crate) struct Serving {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Serving {
    pub(crate) fn start(sandbox: &Sandbox, type_: &str, more: &[&str]) -> Self {
        let data = sandbox.path("served").display().to_string();
        Self::start_in(sandbox, type_, &data, more)
    }

    /// Starts one with this data folder.
    pub(crate) fn start_in(sandbox: &Sandbox, type_: &str, data: &str, more: &[&str]) -> Self {
        let socket = sandbox.path(&format!("{type_}.sock"));
        Self::start_at(sandbox, socket, type_, data, more)
    }

    /// Starts one on this socket.
    pub(crate) fn start_at(
        sandbox: &Sandbox,
        socket: PathBuf,
        type_: &str,
        data: &str,
        more: &[&str],
    ) -> Self {
        let shown = socket.display().to_string();
        let mut arguments = vec![
            "plugin",
            "serve",
            type_,
            "--socket",
            &shown,
            "--data-dir",
            data,
        ];
        arguments.extend(more);
        let mut command = sandbox.command(&arguments);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the plugin to listen", PATIENCE, || {
            if child.try_wait().unwrap().is_some() {
                let mut said = String::new();
                let stderr = child.stderr.as_mut().unwrap();
                stderr.read_to_string(&mut said).unwrap();
                panic!("it ended: {said}");
            }
            UnixStream::connect(&socket).is_ok()
        });
        Self { child, socket }
    }

    pub(crate) fn answer(&self, method: &str, params: &Value) -> Value {
        rpc(&self.socket, method, params)
    }

    /// Calls a method, and returns the answer's bytes.
    pub(crate) fn raw(&self, method: &str, params: &Value) -> String {
        answered(&self.socket, method, params)
    }

    /// Calls a method, which must succeed.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, params: &Value) -> Value {
        let answer = self.answer(method, params);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Calls a method, which must fail, and returns its words.
    #[track_caller]
    pub(crate) fn refused(&self, method: &str, params: &Value) -> String {
        let answer = self.answer(method, params);
        assert_eq!(answer["error"]["code"], -32000, "{method}: {answer}");
        answer["error"]["message"].as_str().unwrap().to_owned()
    }

    /// Asks it to end, and waits until it has.
    fn end(mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        crate::support::kill(pid, rustix::process::Signal::TERM);
        wait_until("the plugin to end", PATIENCE, || {
            self.child.try_wait().unwrap().is_some()
        });
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One call on a connection of its own.
fn rpc(socket: &Path, method: &str, params: &Value) -> Value {
    serde_json::from_str(&answered(socket, method, params)).unwrap()
}

/// The body of the answer to one call.
fn answered(socket: &Path, method: &str, params: &Value) -> String {
    let request =
        json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 7}).to_string();
    let mut stream = UnixStream::connect(socket).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        request.len()
    );
    stream.write_all((head + &request).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}

/// The handles that are described.
fn described(serving: &Serving, tags: &Value) -> Vec<String> {
    let params = json!({"Type": "", "Tags": tags, "Properties": false});
    let answer = serving.call("Instance.DescribeInstances", &params);
    let list = answer["Descriptions"].as_array().unwrap().iter();
    list.map(|one| one["ID"].as_str().unwrap().to_owned())
        .collect()
}

/// Makes an instance as a group controller does, and returns its handle.
fn provision(serving: &Serving, properties: &Value, init: &str) -> String {
    let spec = json!({"Properties": properties, "Tags": {"infrakit.group": "g1"}, "Init": init, "LogicalID": null, "Attachments": null});
    let made = serving.call("Instance.Provision", &json!({"Type": "", "Spec": spec}));
    made["ID"].as_str().unwrap().to_owned()
}

#[test]
fn containers_are_offered_to_infrakit() {
    let engine = Engine::start();
    let sandbox = Sandbox::new();
    let endpoint = format!("endpoint={}", engine.endpoint());
    let serving = Serving::start(&sandbox, "docker", &["--setting", &endpoint]);
    let hello = serving.call("Handshake.Hello", &json!({}));
    let objects = hello["Objects"].as_object().unwrap();
    let names: Vec<&String> = objects.keys().collect();
    assert_eq!(names, ["Instance/0.6.1", "Provider/1"]);
    let properties = json!({"image": IMAGE, "command": ["/bin/sh", "-c", "cat /tmp/said; exec sleep 600"], "pull": "never", "stopTimeout": "1s",
        "ulimits": {"nofile": {"soft": 1024, "hard": 1024}, "nproc": {"soft": 4096, "hard": 4096}}});
    let valid = json!({"Type": "", "Properties": properties});
    assert_eq!(serving.call("Instance.Validate", &valid)["OK"], true);
    let none = json!({"Properties": {"comand": ["sleep"]}});
    let refused = serving.refused("Instance.Validate", &none);
    assert!(refused.contains("`image` is missing"), "{refused}");

    let one = provision(&serving, &properties, "echo prepared > /tmp/said");
    let labels = json!({"Type": "", "Instance": one, "Labels": {"l": "v"}});
    serving.call("Instance.Label", &labels);
    assert_eq!(described(&serving, &json!({"l": "v"})), [one.as_str()]);
    let containers = || engine.containers("drover.fleet=infrakit");
    let running = || {
        let containers = containers().into_iter();
        containers.filter(|name| !name.contains(".ending.")).count()
    };
    assert_eq!(running(), 1);
    let container = containers().remove(0);
    // The container itself says whose it is.
    assert_eq!(engine.containers("infrakit.group=g1"), [container.as_str()]);
    wait_until("what init has prepared", PATIENCE, || {
        let (_, log) = engine.get(&format!("/containers/{container}/logs?stdout=true"));
        log.contains("prepared")
    });
    let end = json!({"Type": "", "Instance": one, "Context": {"Reason": "terminate"}});
    serving.call("Instance.Destroy", &end);
    assert!(described(&serving, &json!({})).is_empty());
    wait_until("the container to be gone", PATIENCE, || running() == 0);
    assert_eq!(
        serving.refused("Instance.Destroy", &end),
        format!("not found {one}")
    );
}

#[test]
fn what_is_a_shells_in_scripts_and_properties_stays_the_shells() {
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, "process", &[]);
    let (init, said) = (sandbox.path("init"), sandbox.path("said"));
    let script = format!(
        "#!/bin/sh\n\nprintf '%s\\n' \"${{A:-b}}\" '$${{x}}' '${{instance.id}}' $(( $$ > 1 )) '${{open' > '{}'",
        init.display()
    );
    let command = format!(
        "printf '%s\\n' \"${{A:-b}}\" '$${{x}}' \"$B\" > '{}'; exec sleep 600",
        said.display()
    );
    let properties = json!({"command": ["/bin/sh", "-c", command], "env": {"B": "${HOME}"}});
    let valid = json!({"Type": "", "Properties": properties});
    assert_eq!(serving.call("Instance.Validate", &valid)["OK"], true);
    let tags = json!({"infrakit.group": "g1", "t": "${HOME}"});
    let spec = json!({"Properties": properties, "Tags": tags, "Init": script, "LogicalID": null, "Attachments": null});
    let made = serving.call("Instance.Provision", &json!({"Type": "", "Spec": spec}));
    let one = made["ID"].as_str().unwrap().to_owned();
    assert_eq!(
        described(&serving, &json!({"t": "${HOME}"})),
        [one.as_str()]
    );
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    wait_until("what the command says", PATIENCE, || {
        read(&said).lines().count() == 3
    });
    assert_eq!(read(&init), "b\n$${x}\n${instance.id}\n1\n${open\n");
    assert_eq!(read(&said), "b\n$${x}\n${HOME}\n");
    let folders = fs::read_dir(sandbox.path("served/process/infrakit/instances")).unwrap();
    let mut facts = folders.map(|folder| read(&folder.unwrap().path().join("instance.json")));
    let own = |text: &String| {
        let record: Option<Value> = serde_json::from_str(text).ok();
        record.is_some_and(|record| record["tags"]["t"] == "${HOME}")
    };
    assert!(facts.any(|text| own(&text)), "the instance has its tag");
    let end = json!({"Type": "", "Instance": one, "Context": {"Reason": "terminate"}});
    serving.call("Instance.Destroy", &end);
}

#[test]
fn the_flavor_cloud_init_is_offered_to_infrakit() {
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, "cloudInit", &[]);
    let part = json!({"contentType": "text/x-shellscript", "content": "#!/bin/sh\necho $HOME\n"});
    let spec =
        json!({"Properties": {}, "Tags": null, "Init": "", "LogicalID": null, "Attachments": null});
    let params = json!({"Type": "", "Properties": {"parts": [part]}, "Spec": spec, "Allocation": {"Size": 1}, "Index": {"Group": "g", "Sequence": 1}});
    let prepared = serving.call("Flavor.Prepare", &params);
    let init = prepared["Spec"]["Init"].as_str().unwrap();
    assert!(init.starts_with("MIME-Version: 1.0\n"), "{init}");
    let settings = ["plugin", "serve", "cloudInit", "--setting", "a=b"];
    sandbox
        .drover(&settings)
        .exits(64)
        .says("a flavor has no settings");
}

/// A program that speaks `Provider/1` as the one for EC2 does: the example in Python.
fn program(sandbox: &Sandbox) -> String {
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../providers/drover-provider-plugin/examples/provider.py"
    );
    let machines = sandbox.path("machines").display().to_string();
    let text = format!(
        "#!/bin/sh\nenv > '{machines}.env'\nexec {PYTHON} '{example}' \"$2\" '{machines}'\n"
    );
    sandbox.write("bin/program", &text);
    let program = sandbox.path("bin/program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program.display().to_string()
}

#[test]
fn a_program_that_is_a_provider_is_offered_to_infrakit_and_started_again() {
    let sandbox = Sandbox::new();
    let program = program(&sandbox);
    // The program runs in another folder than this one is relative to.
    let serving = Serving::start_in(&sandbox, "ec2", "served", &["--program", &program]);
    let properties = json!({"command": ["sleep", "600"]});
    let one = provision(&serving, &properties, "");
    assert_eq!(
        described(&serving, &json!({"infrakit.group": "g1"})),
        [one.as_str()]
    );
    let environment = fs::read_to_string(sandbox.path("machines.env")).unwrap();
    assert!(
        !environment.contains("GIT_CONFIG_NOSYSTEM"),
        "{environment}"
    );
    let home = format!("HOME={}", sandbox.path("home").display());
    assert!(environment.contains(&home), "{environment}");

    let socket = sandbox.path("served/infrakit-plugins/ec2");
    let pid = |socket: &Path| -> Option<i32> {
        let command = socket.display().to_string();
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(|pid: &i32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains("provider.py") && line.contains(&command)
        })
    };
    let first = pid(&socket).unwrap();
    crate::support::kill(first, rustix::process::Signal::KILL);
    wait_until("the program to be started again", PATIENCE, || {
        pid(&socket).is_some_and(|again| again != first) && UnixStream::connect(&socket).is_ok()
    });
    assert_eq!(described(&serving, &json!({})), [one.as_str()]);
    let end = json!({"Type": "", "Instance": one, "Context": {"Reason": "terminate"}});
    serving.call("Instance.Destroy", &end);
    assert!(described(&serving, &json!({})).is_empty());
    serving.end();
    assert_eq!(pid(&socket), None, "the program ends with it");
}

#[test]
fn a_program_that_cannot_be_used_is_told_with_its_words() {
    let sandbox = Sandbox::new();
    let serve = |more: &[&str]| {
        let socket = sandbox.path("x.sock").display().to_string();
        let data = sandbox.path("served").display().to_string();
        let own = ["--socket", &socket, "--data-dir", &data];
        let arguments = [&["plugin", "serve"], more, &own].concat();
        sandbox.drover(&arguments)
    };
    let other = ["process", "--program", "/bin/true"];
    serve(&other).exits(64).says("--program is for ec2 and asg");
    sandbox.write("bin/mute", "#!/bin/sh\necho no credentials >&2\nexit 3\n");
    let mute = sandbox.path("bin/mute");
    fs::set_permissions(&mute, fs::Permissions::from_mode(0o755)).unwrap();
    let mute = mute.display().to_string();
    let ran = serve(&["ec2", "--program", &mute]).exits(1);
    let ran = ran.says("does not listen");
    ran.says("it ended with exit status 3; its last words: no credentials");
    let program = program(&sandbox);
    let wrong = ["ec2", "--program", &program, "--setting", "visibility=1s"];
    let ran = serve(&wrong).exits(1);
    ran.says("plugin ec2: settings: visibility: unknown field");
}

#[test]
fn without_a_socket_it_listens_where_infrakit_looks_and_makes_the_folder() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path("home/.infrakit/plugins/vanilla");
    assert!(!socket.parent().unwrap().exists());
    let mut command = sandbox.command(&["plugin", "serve", "vanilla"]);
    let child = command.spawn().unwrap();
    let serving = Serving { child, socket };
    wait_until("the plugin to listen", PATIENCE, || {
        UnixStream::connect(&serving.socket).is_ok()
    });
    let empty = json!({"Type": "", "Properties": {}});
    serving.call("Flavor.Validate", &empty);
    serving.end();
}
