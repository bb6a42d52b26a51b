//! Groups of InfraKit, taken over as they run and handed back: import, watch, promote, free, adopt, roll, release.
//! What happens is counted at the instance plugin.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::groups::serve_at;
use crate::plugin::PYTHON;
use crate::support::{
    IDLE, PATIENCE, PROVIDER, Sandbox, converged, group, holds, instances, wait_until,
};

/// InfraKit's own fingerprint of the group below.
const HASH: &str = "bamp22swpa7wcav5722nebxz7ktt2dvv";

/// The specification as its group plugin tells it.
fn specification() -> Value {
    json!({"ID": "workers", "Properties": {
        "Allocation": {"Size": 3, "LogicalIDs": null},
        "Instance": {"Plugin": "file", "Properties": {"note": "one", "numbers": [1.0, 1e21, 18_446_744_073_709_551_615_u64]}},
        "Flavor": {"Plugin": "vanilla", "Properties": {"Init": ["echo <hi> & bye"], "Tags": {"tier": "web"}}},
        "Updating": {"Duration": "0s", "Count": 0, "SkipBeforeInstanceDestroy": null}}})
}

/// A `Group` plugin: it tells which groups it watches, and does nothing.
struct GroupPlugin {
    groups: Arc<Mutex<Vec<Value>>>,
    _serving: JoinHandle<()>,
}

impl GroupPlugin {
    fn start(socket: PathBuf, groups: Vec<Value>) -> Self {
        let groups = Arc::new(Mutex::new(groups));
        let listener = UnixListener::bind(socket).unwrap();
        let told = Arc::clone(&groups);
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                // Who asks may go away in the middle of it.
                let _ = answer(stream, &told);
            }
        });
        Self {
            groups,
            _serving: serving,
        }
    }

    /// As `infrakit group free` does.
    fn free(&self) {
        self.groups.lock().unwrap().clear();
    }
}

fn answer(stream: UnixStream, groups: &Mutex<Vec<Value>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let call: Value = serde_json::from_slice(&body)?;
    let result = match call["method"].as_str() {
        Some("Handshake.Hello") => {
            json!({"Objects": {"Group/0.1.1": [{"Name": ".", "ProxyFor": ""}]}})
        }
        Some("Group.InspectGroups") => {
            json!({"Name": "", "ID": "", "Groups": *groups.lock().unwrap()})
        }
        other => panic!("the agent calls {other:?} of a Group plugin"),
    };
    let text = json!({"jsonrpc": "2.0", "result": result, "id": call["id"]}).to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close";
    let mut stream = reader.into_inner();
    write!(
        stream,
        "{head}\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

/// The instance plugin's process, killed with its test.
struct InstancePlugin(Child);

impl InstancePlugin {
    fn start(sandbox: &Sandbox) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let socket = sandbox.path("plugins/file");
        let mut command = Command::new(PYTHON);
        command
            .arg(root.join("../../tests/fixtures/infrakit_file.py"))
            .args([&socket, &sandbox.path("machines")])
            .env_clear()
            .stdin(Stdio::null());
        let child = command.spawn();
        let child = child.expect("python3 is needed for this test: tests/run installs it");
        wait_until("the plugin to listen", PATIENCE, || {
            UnixStream::connect(&socket).is_ok()
        });
        Self(child)
    }
}

impl Drop for InstancePlugin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_files(&[("README", "A fleet.\n")]);
    let path = sandbox.path("agent.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let dir = sandbox.path("plugins").display().to_string();
    let text = text.replace("allow: [process]", "allow: [plugin]");
    fs::write(path, format!("{text}plugins: {{dir: '{dir}'}}\n")).unwrap();
    fs::create_dir_all(sandbox.path("machines")).unwrap();
    fs::create_dir_all(sandbox.path("plugins")).unwrap();
    sandbox
}

/// Puts a machine there, as the group of InfraKit has made it.
fn machine(sandbox: &Sandbox, name: &str, hash: &str) {
    let tags = json!({"infrakit.group": "workers", "infrakit.config.hash": hash, "tier": "web"});
    let spec = json!({"Properties": {"note": "one"}, "Tags": tags, "Init": "", "LogicalID": null});
    sandbox.write(&format!("machines/{name}.json"), &spec.to_string());
}

/// The machines with their specifications.
fn machines(sandbox: &Sandbox) -> Vec<(String, Value)> {
    let entries = fs::read_dir(sandbox.path("machines")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let mut machines: Vec<(String, Value)> = files
        .filter_map(|path| {
            let name = path.file_stem()?.to_str()?.to_owned();
            Some((
                name,
                serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?,
            ))
        })
        .collect();
    machines.sort_by(|one, other| one.0.cmp(&other.0));
    machines
}

fn names(sandbox: &Sandbox) -> Vec<String> {
    machines(sandbox)
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

/// How many machines the plugin was ever asked to make.
fn made(sandbox: &Sandbox) -> usize {
    let log = fs::read_to_string(sandbox.path("machines/made")).unwrap_or_default();
    log.lines().count()
}

const WORKERS: &str = "groups/workers.yaml";

/// Changes the document in the work tree and pushes it.
fn edit(sandbox: &Sandbox, message: &str, from: &str, to: &str) {
    let text = fs::read_to_string(sandbox.path("work").join(WORKERS)).unwrap();
    assert!(text.contains(from), "{text}");
    sandbox.push(message, &[(WORKERS, &text.replace(from, to))]);
}

fn import(sandbox: &Sandbox) {
    let socket = sandbox
        .path("plugins/group-stateless")
        .display()
        .to_string();
    let work = sandbox.path("work").display().to_string();
    sandbox
        .drover(&["import", "infrakit", &socket, "--output", &work])
        .exits(0);
}

/// Writes the documents and watches by them, with shorter times.
fn documents(sandbox: &Sandbox) {
    import(sandbox);
    let provider = sandbox.path("work/providers/file.yaml");
    let text = fs::read_to_string(&provider).unwrap();
    fs::write(
        &provider,
        text.replace(
            "type: plugin",
            "type: plugin\n  visibility: 1s\n  provisionTimeout: 1s",
        ),
    )
    .unwrap();
    let work = sandbox.path("work").display().to_string();
    sandbox.drover(&["validate", &work]).exits(0);
    edit(
        sandbox,
        "import",
        "  manage: observe\n",
        "  manage: observe\n  rollout: {minReady: 100ms, maxSurge: 2}\n  drain: {delay: 0s}\n",
    );
}

/// Everything is told, nothing is touched.
fn watched(sandbox: &Sandbox, before: &[(String, Value)]) {
    let watched = sandbox.wait_for("workers", "the strangers", |group| group["strangers"] == 3);
    assert_eq!(watched["phase"], "Observed");
    assert_eq!(holds(&watched), ["OwnerStillActs"]);
    let listed = sandbox
        .with_config(&["get", "instances", "-o", "wide"])
        .exits(0);
    let listed = listed
        .prints("workers-1")
        .prints("Stranger")
        .prints("instance-3");
    drop(listed);
    sandbox
        .with_config(&["describe", "workers"])
        .exits(0)
        .prints("To adopt:");
    assert_eq!(machines(sandbox), before);
}

/// Promoted while its owner acts: refused, and everybody can read why.
fn refused(sandbox: &Sandbox, before: &[(String, Value)]) {
    edit(sandbox, "promote", "manage: observe", "manage: full");
    let refused = sandbox.wait_for("workers", "the hold", |group| {
        group["phase"] == "Held" && holds(group) == ["OwnerStillActs"]
    });
    let told = refused["holds"][0]["message"].as_str().unwrap();
    assert!(told.ends_with("the InfraKit group workers, which plugin group-stateless still manages; free it with `infrakit group free workers`"), "{told}");
    sandbox.with_config(&["reconcile"]).exits(0);
    assert_eq!(machines(sandbox), before);
}

/// Freed: adopted, with nothing made and nothing ended.
fn taken(sandbox: &Sandbox, before: &[(String, Value)]) {
    let taken = sandbox.wait_converged("workers", 3);
    assert_eq!(instances(&taken), ["workers-1", "workers-2", "workers-3"]);
    assert_eq!(
        (names(sandbox), made(sandbox)),
        (before.iter().map(|(name, _)| name.clone()).collect(), 0)
    );
    for (name, spec) in machines(sandbox) {
        assert_eq!(spec["Tags"]["drover.fleet"], "test", "{name}");
        assert_eq!(spec["Tags"]["infrakit.config.hash"], HASH, "{name}");
        assert_eq!(spec["Tags"]["tier"], "web", "{name}");
    }
    let log = sandbox.with_config(&["log", "workers"]).exits(0);
    for number in 1..=3 {
        assert!(
            log.stdout
                .contains(&format!("- adopt workers-{number} (adoption)\n"))
        );
    }
}

/// Released: running, with the tags that InfraKit knows them by.
fn handed_back(sandbox: &Sandbox) {
    edit(
        sandbox,
        "orphan",
        "manage: full\n",
        "manage: full\n  deletion: {policy: Orphan}\n",
    );
    // What it does with the instances is what the document in force says when it goes.
    let orphan = sandbox
        .git("work", &["rev-parse", "HEAD"])
        .trim()
        .to_owned();
    sandbox.wait_for("workers", "the document in force", move |group| {
        converged(group, 3) && group["source"]["revision"] == *orphan
    });
    let kept = names(sandbox);
    fs::remove_file(sandbox.path("work").join(WORKERS)).unwrap();
    sandbox.push("hand back", &[("README", "Handed back.\n")]);
    sandbox
        .with_config(&["plan", "--base", "main~1", "--head", "main"])
        .exits(0)
        .prints("workers: removed, release 3")
        .prints("0 to destroy, 3 to release");
    wait_until("the tags to be off", PATIENCE, || {
        let all = machines(sandbox);
        all.iter()
            .all(|(_, spec)| spec["Tags"]["drover.fleet"] == "")
    });
    assert_eq!((names(sandbox), made(sandbox)), (kept, 3));
    for (_, spec) in machines(sandbox) {
        assert_eq!(spec["Tags"]["infrakit.group"], "workers");
        assert_eq!(spec["Tags"]["infrakit.config.hash"], HASH);
    }
}

#[test]
fn a_group_of_infrakit_is_taken_over_as_it_runs_and_handed_back() {
    let sandbox = sandbox();
    for name in ["instance-1", "instance-2", "instance-3"] {
        machine(&sandbox, name, HASH);
    }
    let before = machines(&sandbox);
    let _instances = InstancePlugin::start(&sandbox);
    let groups = GroupPlugin::start(
        sandbox.path("plugins/group-stateless"),
        vec![specification()],
    );
    documents(&sandbox);
    let _agent = sandbox.agent();
    watched(&sandbox, &before);
    refused(&sandbox, &before);
    groups.free();
    taken(&sandbox, &before);
    // One of the family from now on: a change rolls.
    edit(&sandbox, "two", "note: one", "note: two");
    sandbox.wait_for("workers", "the update", |group| {
        converged(group, 3) && !instances(group).contains(&"workers-3".to_owned())
    });
    wait_until("the old machines to be gone", PATIENCE, || {
        names(&sandbox).len() == 3
    });
    assert_eq!(made(&sandbox), 3);
    handed_back(&sandbox);
}

/// The agent of another fleet, which manages a group of the same name.
fn of_another_fleet() -> Sandbox {
    let workers = group("workers", 1, IDLE, "");
    let other = Sandbox::with_files(&[PROVIDER, (WORKERS, &workers)]);
    let path = other.path("agent.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("name: test", "name: other")).unwrap();
    other
}

/// What a pull request with the branch `topic` is told.
fn proposed(sandbox: &Sandbox, base: &str, more: &[&str]) -> String {
    let work = sandbox.path("work").display().to_string();
    let ends = [
        "plan", "--source", &work, "--base", base, "--head", "topic", "workers",
    ];
    sandbox.drover(&[&ends[..], more].concat()).exits(0).stdout
}

/// Starts InfraKit's plugins over so many machines of the group.
fn of_infrakit(sandbox: &Sandbox, count: u32) -> (InstancePlugin, GroupPlugin) {
    for number in 1..=count {
        machine(sandbox, &format!("instance-{number}"), HASH);
    }
    let instances = InstancePlugin::start(sandbox);
    let socket = sandbox.path("plugins/group-stateless");
    (instances, GroupPlugin::start(socket, vec![specification()]))
}

#[test]
fn a_promotion_that_is_proposed_tells_what_it_takes_over_and_ends() {
    let sandbox = sandbox();
    let (_instances, groups) = of_infrakit(&sandbox, 8);
    let git = |arguments: &[&str]| sandbox.git("work", arguments);
    git(&["branch", "empty"]);
    documents(&sandbox);
    groups.free();
    git(&["branch", "watched"]);
    let text = fs::read_to_string(sandbox.path("work").join(WORKERS)).unwrap();
    git(&["checkout", "--quiet", "-b", "edited"]);
    let edited = text.replace("minReady: 100ms", "minReady: 200ms");
    sandbox.write(&format!("work/{WORKERS}"), &edited);
    git(&["commit", "--quiet", "--all", "--message", "edit"]);
    git(&["checkout", "--quiet", "-b", "topic", "watched"]);
    let promoted = text.replace("manage: observe", "manage: full");
    sandbox.write(&format!("work/{WORKERS}"), &promoted);
    git(&["commit", "--quiet", "--all", "--message", "promote"]);

    // Nobody has looked, or by no document yet.
    let unknown = "workers: what it adopts, replaces or ends is known once the agent has looked: `drover plan workers`\n";
    let headline = "Plan: settings of 1 of 1 group change; what 1 group adopts is known once the agent has looked";
    let is_unknown = |base: &str| {
        let text = proposed(&sandbox, base, &[]);
        assert!(text.starts_with(unknown), "{text}");
        assert!(text.contains(headline), "{text}");
        assert!(!text.contains("at once at most"), "{text}");
        let json: Value = serde_json::from_str(&proposed(&sandbox, base, &["-o", "json"])).unwrap();
        assert_eq!(json["items"][0]["change"], Value::Null, "{json:#}");
        assert_eq!(json["items"][0]["adoption"], json!({"strangers": null}));
        let markdown = proposed(&sandbox, base, &["-o", "markdown"]);
        assert!(markdown.contains("has looked"), "{markdown}");
        assert!(!markdown.contains("no instance"), "{markdown}");
    };
    is_unknown("watched");
    is_unknown("empty");

    let _agent = sandbox.agent();
    sandbox.wait_for("workers", "the strangers", |group| group["strangers"] == 3);
    wait_until("the record of them", PATIENCE, || {
        git(&["fetch", "--quiet", "origin"]);
        proposed(&sandbox, "watched", &[]).contains("hold 5")
    });
    let text = proposed(&sandbox, "watched", &[]);
    let first = "workers: adopt 3, hold 5 (AdoptedSurplus)\n";
    assert!(text.starts_with(first), "{text}");
    let last = "Plan: 0 to create, 0 to replace, 0 to destroy, 3 to adopt in 1 of 1 group\n";
    assert!(text.ends_with(last), "{text}");
    let json: Value =
        serde_json::from_str(&proposed(&sandbox, "watched", &["-o", "json"])).unwrap();
    let plan = &json["items"][0];
    assert_eq!(
        plan["adoption"],
        json!({"strangers": 3, "held": 5}),
        "{json:#}"
    );
    assert_eq!(plan["change"]["destroys"], 0, "{json:#}");
    let markdown = proposed(&sandbox, "watched", &["-o", "markdown"]);
    let row = "| workers | adopt 3, hold 5 (AdoptedSurplus) | 0 | 0 | 0 | 0 |  |";
    assert!(markdown.contains(row), "{markdown}");
    // What nobody watched by is not what was seen.
    is_unknown("empty");
    is_unknown("edited");

    // The agent does just that: what there is no room for runs on, and is nobody's.
    git(&["push", "--quiet", "origin", "HEAD:main"]);
    sandbox.wait_converged("workers", 3);
    assert_eq!((names(&sandbox).len(), made(&sandbox)), (8, 0));
    let told = sandbox.with_config(&["describe", "workers"]);
    told.prints("AdoptedSurplus").prints("(no room)");
}

#[test]
fn what_keeps_a_revision_of_its_own_is_not_told_as_replaced() {
    let sandbox = sandbox();
    let (_instances, groups) = of_infrakit(&sandbox, 3);
    documents(&sandbox);
    groups.free();
    let text = fs::read_to_string(sandbox.path("work").join(WORKERS)).unwrap();
    let (before, after) = text.split_once("    # What was made from").unwrap();
    let (_, after) = after.split_once("    revision: assume").unwrap();
    let own =
        format!("{before}    revision: keep{after}").replace("manage: observe", "manage: full");
    let _agent = sandbox.agent();
    sandbox.push("keep", &[(WORKERS, &own)]);
    sandbox.wait_converged("workers", 3);
    let git = |arguments: &[&str]| sandbox.git("work", arguments);
    git(&["checkout", "--quiet", "-b", "topic"]);
    let other = own.replace("    properties:\n", "    properties:\n      More: x\n");
    assert_ne!(other, own);
    sandbox.write(&format!("work/{WORKERS}"), &other);
    git(&["commit", "--quiet", "--all", "--message", "other"]);
    wait_until("the record of them", PATIENCE, || {
        git(&["fetch", "--quiet", "origin"]);
        proposed(&sandbox, "main", &[]).contains("OwnRevision")
    });
    let told = proposed(&sandbox, "main", &[]);
    assert!(
        told.contains("3 instances were adopted with `revision: keep`"),
        "{told}"
    );
    assert!(!told.contains("replace 3"), "{told}");
    // The agent does just that.
    git(&["push", "--quiet", "origin", "HEAD:main"]);
    sandbox.wait_for("workers", "the other template", |group| {
        converged(group, 3) && group["source"]["revision"] == git(&["rev-parse", "HEAD"]).trim()
    });
    assert_eq!((names(&sandbox).len(), made(&sandbox)), (3, 0));
}

#[test]
fn what_an_agent_offers_to_infrakit_keeps_others_from_its_instances_and_not_itself() {
    let sandbox = sandbox();
    machine(&sandbox, "instance-1", HASH);
    let before = machines(&sandbox);
    let _instances = InstancePlugin::start(&sandbox);
    let mut specification = specification();
    specification["Properties"]["Allocation"]["Size"] = json!(1);
    let groups = GroupPlugin::start(sandbox.path("plugins/group-stateless"), vec![specification]);
    documents(&sandbox);
    groups.free();
    let other = of_another_fleet();
    let _other_agent = other.agent();
    other.wait_converged("workers", 1);
    let theirs = serve_at(&other, sandbox.path("plugins/theirs"));
    let _agent = sandbox.agent();
    sandbox.wait_for("workers", "the stranger", |group| group["strangers"] == 1);
    let ours = serve_at(&sandbox, sandbox.path("plugins/group"));

    edit(&sandbox, "promote", "manage: observe", "manage: full");
    let refused = sandbox.wait_for("workers", "the hold", |group| {
        group["phase"] == "Held" && holds(group) == ["OwnerStillActs"]
    });
    let told = refused["holds"][0]["message"].as_str().unwrap();
    let who = "the group workers of the fleet other, which plugin theirs offers and its agent still manages; free it with `manage: observe` in its document";
    assert!(told.ends_with(who), "{told}");
    assert_eq!(machines(&sandbox), before);

    theirs.call("Group.FreeGroup", &json!({"ID": "workers"}));
    let taken = sandbox.wait_converged("workers", 1);
    assert_eq!(instances(&taken), ["workers-1"]);
    assert_eq!((names(&sandbox).len(), made(&sandbox)), (1, 0));
    assert_eq!(machines(&sandbox)[0].1["Tags"]["drover.fleet"], "test");
    let managed = json!({"Fleet": "test", "Groups": ["workers"]});
    assert_eq!(ours.call("Drover.Managed", &json!({})), managed);
    let watching = json!({"Fleet": "other", "Groups": []});
    assert_eq!(theirs.call("Drover.Managed", &json!({})), watching);
}

#[test]
fn a_survey_that_fails_is_told_at_once_and_once_with_whom_it_could_not_ask() {
    let sandbox = sandbox();
    machine(&sandbox, "instance-1", HASH);
    let _instances = InstancePlugin::start(&sandbox);
    let groups = GroupPlugin::start(
        sandbox.path("plugins/group-stateless"),
        vec![specification()],
    );
    documents(&sandbox);
    groups.free();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", closed.local_addr().unwrap());
    drop(closed);
    sandbox.write("plugins/remote.listen", &address);
    let _agent = sandbox.agent();
    let told = "survey of what to adopt failed";
    wait_until("the failure to be told", PATIENCE, || {
        let log = sandbox.agent_log();
        log.contains(told) && log.contains("plugin remote: Handshake.Hello: cannot connect to")
    });
    sandbox.with_config(&["reconcile"]).exits(0);
    fs::remove_file(sandbox.path("plugins/remote.listen")).unwrap();
    sandbox.wait_for("workers", "the stranger", |group| group["strangers"] == 1);
    let log = sandbox.agent_log();
    assert_eq!(log.matches(told).count(), 1, "{log}");
    let again = "provider tells again what may be adopted";
    assert_eq!(log.matches(again).count(), 1, "{log}");
}

#[test]
fn what_an_older_specification_has_made_is_told_and_replaced() {
    let sandbox = sandbox();
    machine(&sandbox, "instance-1", HASH);
    machine(&sandbox, "instance-2", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    machine(&sandbox, "instance-3", HASH);
    let _instances = InstancePlugin::start(&sandbox);
    let socket = sandbox.path("plugins/group-stateless");
    let groups = GroupPlugin::start(socket.clone(), vec![specification()]);
    let work = sandbox.path("work").display().to_string();
    let socket = socket.display().to_string();
    let command = ["import", "infrakit", &socket, "--output", &work];
    let outdated = "of 3 instances, 1 is of another specification and outdated, so that a rollout replaces them: instance-2";
    let ran = sandbox.drover(&command).exits(0).says(outdated);
    assert_eq!(ran.stdout.lines().count(), 2);
    let text = fs::read_to_string(sandbox.path("work").join(WORKERS)).unwrap();
    assert!(text.contains(&format!("# - {outdated}\n")));
    // The same again changes nothing; what somebody has edited is not written over.
    sandbox.drover(&command).exits(0);
    sandbox.write(
        "work/groups/workers.yaml",
        &text.replace("manage: observe", "manage: full"),
    );
    sandbox
        .drover(&command)
        .exits(1)
        .says("files are there already")
        .says("--force");
    let forced = [&command[..], &["--force"]].concat();
    sandbox.drover(&forced).exits(0);
    groups.free();
    edit(
        &sandbox,
        "import",
        "  manage: observe\n",
        "  manage: full\n  rollout: {minReady: 100ms}\n  drain: {delay: 0s}\n",
    );
    let _agent = sandbox.agent();
    sandbox.wait_converged("workers", 3);
    wait_until("the outdated machine to be gone", PATIENCE, || {
        let names = names(&sandbox);
        names.len() == 3 && !names.contains(&"instance-2".to_owned())
    });
    assert_eq!(made(&sandbox), 1);
    let kept = names(&sandbox);
    assert!(kept.contains(&"instance-1".to_owned()) && kept.contains(&"instance-3".to_owned()));
}

#[test]
fn an_import_leaves_out_what_makes_no_document_and_writes_the_others() {
    let sandbox = sandbox();
    let out = sandbox.path("out").display().to_string();
    let named = |id: &str, plugin: &str, size: u64| {
        let mut one = specification();
        one["ID"] = json!(id);
        one["Properties"]["Instance"]["Plugin"] = json!(plugin);
        one["Properties"]["Allocation"]["Size"] = json!(size);
        one
    };
    let import = |groups: &[Value]| {
        sandbox.write("groups.json", &json!(groups).to_string());
        let from = sandbox.path("groups.json").display().to_string();
        sandbox.drover(&["import", "infrakit", &from, "--output", &out])
    };
    // Names that come to the same file are nobody's to choose between; two plugins may have one, too.
    let groups = [
        named("web", "file", 1),
        named("Web", "file", 2),
        named("huge", "file", 4_000_000_000),
        named("first", "a.b", 1),
        named("second", "a-b", 1),
        named("api", "file", 1),
    ];
    let mut ran = import(&groups).exits(1);
    let written: Vec<String> = ["groups/api.yaml", "providers/file.yaml"]
        .map(|path| format!("{out}/{path}"))
        .into();
    let printed: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(printed, written);
    for path in [
        "groups/web",
        "groups/huge",
        "groups/first",
        "groups/second",
        "providers/a-b",
    ] {
        ran = ran.says(&format!("note: {path}.yaml is left out: "));
        assert!(!sandbox.path("out").join(format!("{path}.yaml")).exists());
    }
    sandbox.drover(&["validate", &out]).exits(0);
    import(&groups[..3])
        .exits(1)
        .says("there is nothing to import");
}

#[test]
fn what_an_import_says_of_names_is_one_line_each() {
    let sandbox = sandbox();
    let mut odd = specification();
    odd["ID"] = json!("odd\nerror: nothing\r\u{1b}[2J\u{2028}was found");
    odd["Properties"]["Flavor"]["Properties"]["a\nhint: b"] = json!(1);
    let out = sandbox.path("out").display().to_string();
    sandbox.write("groups.json", &json!([odd]).to_string());
    let from = sandbox.path("groups.json").display().to_string();
    let ran = sandbox.drover(&["import", "infrakit", &from, "--output", &out]);
    let ran = ran.exits(0);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.stderr);
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("note: group odd error: nothing\\u000d")),
        "{}",
        ran.stderr
    );
    sandbox.drover(&["validate", &out]).exits(0);
}

#[test]
fn an_import_reads_files_and_says_what_is_wrong_with_them() {
    let sandbox = sandbox();
    let file = |name: &str, text: &str| {
        sandbox.write(name, text);
        sandbox.path(name).display().to_string()
    };
    let out = sandbox.path("out").display().to_string();
    let good = file("groups.json", &specification().to_string());
    let run = |path: &str, more: &[&str]| {
        let command = ["import", "infrakit", path, "--output", &out];
        sandbox.drover(&[&command[..], more].concat())
    };
    run(&good, &["--provider", "machines"])
        .exits(0)
        .prints("providers/machines.yaml");
    let text = fs::read_to_string(sandbox.path("out").join(WORKERS)).unwrap();
    assert!(text.contains("provider: machines"), "{text}");
    assert!(
        text.contains(&format!("infrakit.config.hash: {HASH}")),
        "{text}"
    );
    sandbox.drover(&["validate", &out]).exits(0);

    let mut other = specification();
    other["ID"] = json!("others");
    other["Properties"]["Instance"]["Plugin"] = json!("simulator/compute");
    let two = file("two.json", &json!([specification(), other]).to_string());
    run(&two, &["--provider", "machines"])
        .exits(64)
        .says("file, simulator/compute");
    // One that cannot be translated is left out, and the others are written.
    let mut broken = specification();
    broken["ID"] = json!("broken");
    broken["Properties"]["Allocation"] = json!({});
    let some = file("some.json", &json!([broken, other]).to_string());
    let ran = run(&some, &[])
        .exits(1)
        .says("group broken: not imported: its `Allocation` has neither");
    ran.prints("groups/others.yaml");
    let none = file("none.json", &json!([broken]).to_string());
    run(&none, &[]).exits(1).says("there is nothing to import");
    run(&file("wrong.json", "[1]"), &[])
        .exits(1)
        .says("entry 1 is no group");
    run(&sandbox.path("missing").display().to_string(), &[])
        .exits(1)
        .says("cannot read");
    let dead = sandbox.path("plugins/dead");
    drop(UnixListener::bind(&dead).unwrap());
    run(&dead.display().to_string(), &[])
        .exits(1)
        .says("cannot ask for groups");
}
