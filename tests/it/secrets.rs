//! Secrets reach the instances that need them and nothing that is recorded, printed or logged. Their
//! values are made at run time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::serve::{free_address, get};
use crate::support::{PATIENCE, PROVIDER, Sandbox, converged, holds, wait_until};

const WEB: &str = "groups/web.yaml";

/// Returns a text that nobody has ever seen.
fn value(of: &str) -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    format!("{of}-{}", id.trim())
}

/// A group whose instances have secrets in their environment, from the provider's properties and a flavor.
fn web(properties: &str, flavor: &str, command: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: local
  size: 2
  template:
    properties: {{command: {command}, env: {{PLAIN: here, {properties}}}}}
    flavors: [{{vanilla: {{env: {{{flavor}}}}}}}]
  rollout: {{minReady: 100ms, maxSurge: 2, maxUnavailable: 0}}
  drain: {{delay: 0s}}
"
    )
}

/// The environment of an instance's process.
fn environment(sandbox: &Sandbox, name: &str) -> Vec<Option<String>> {
    let pids = sandbox.processes().into_keys();
    let read = pids.map(|pid| {
        let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let prefix = format!("{name}=");
        let mut entries = text.split('\0');
        entries.find_map(|entry| entry.strip_prefix(&prefix).map(str::to_owned))
    });
    read.collect()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries.map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}

fn holds_bytes(content: &[u8], value: &str) -> bool {
    let value = value.as_bytes();
    content.windows(value.len()).any(|window| window == value)
}

/// Looks for a value in everything that a run leaves behind and everything that it says.
fn assert_nowhere(sandbox: &Sandbox, value: &str, said: &[String]) {
    let mut looked = 0;
    let own = sandbox.path("data/process");
    for path in files(&sandbox.path(".")) {
        // The instances' own folders have what the instances have: for this user alone.
        if path.starts_with(&own) || path.starts_with(sandbox.path("secrets")) {
            continue;
        }
        let content = fs::read(&path).unwrap_or_default();
        assert!(!holds_bytes(&content, value), "{}", path.display());
        looked += 1;
    }
    assert!(looked > 10, "only {looked} files were looked at");
    // Git compresses what it keeps.
    let all = [
        "cat-file",
        "--batch-all-objects",
        "--batch-check=%(objectname)",
    ];
    let objects = sandbox.git("fleet.git", &all);
    assert!(objects.lines().count() > 20);
    for object in objects.lines() {
        let kind = sandbox.git("fleet.git", &["cat-file", "-t", object]);
        if kind.trim() != "tree" {
            let text = sandbox.git("fleet.git", &["cat-file", kind.trim(), object]);
            assert!(!text.contains(value), "{kind}: {text}");
        }
    }
    for text in said {
        assert!(!text.contains(value), "{text}");
    }
}

/// What every command that shows something says.
fn everything_said(sandbox: &Sandbox) -> Vec<String> {
    let commands: [&[&str]; 14] = [
        &["get", "groups", "-o", "json"],
        &["get", "instances", "-o", "wide"],
        &["get", "policies", "-o", "yaml"],
        &["get", "providers", "-o", "yaml"],
        &["describe", "web"],
        &["describe", "web", "-o", "json"],
        &["describe", "web/web-1", "-o", "yaml"],
        &["plan", "-o", "json"],
        &["why", "web"],
        &["log", "web", "-o", "json"],
        &["replay", "web", "-o", "json"],
        &["audit", "verify", "-o", "json"],
        &["audit", "export"],
        &["validate", "work"],
    ];
    let said = commands.map(|command| {
        let ran = sandbox.with_config_if(command);
        format!("{}{}", ran.stdout, ran.stderr)
    });
    said.into()
}

#[test]
fn secrets_reach_the_instances_and_nothing_else() {
    let (from_env, from_file) = (value("env"), value("file"));
    let text = web(
        "TOKEN: {valueFrom: {env: WEB_TOKEN}}",
        "PASSWORD: {valueFrom: {file: FOLDER/password}}",
        "[sh, -c, 'echo I got $TOKEN; exec sleep infinity']",
    );
    let sandbox = Sandbox::with_files(&[PROVIDER]);
    let folder = sandbox.path("secrets").display().to_string();
    sandbox.write("secrets/password", &format!("{from_file}\n"));
    let text = text.replace("FOLDER", &folder);
    sandbox.configure(&format!(
        "secrets: {{env: [WEB_TOKEN], files: ['{folder}']}}\n"
    ));
    sandbox.push("web", &[(WEB, &text)]);
    let run = ["run", "-vvv", "--until-converged", "--timeout", "60s"];
    let ran = sandbox.with_environment(&run, &[("WEB_TOKEN", &from_env)]);
    let mut said = vec![ran.stdout.clone(), ran.stderr.clone()];
    ran.exits(0);
    assert_eq!(
        environment(&sandbox, "TOKEN"),
        [Some(from_env.clone()), Some(from_env.clone())]
    );
    let password = Some(from_file.clone());
    assert_eq!(
        environment(&sandbox, "PASSWORD"),
        [password.clone(), password]
    );
    said.extend(everything_said(&sandbox));
    let state = sandbox.git("fleet.git", &["show", "drover/state:groups/web.yaml"]);
    assert!(
        state.contains("WEB_TOKEN"),
        "the reference is recorded: {state}"
    );
    for value in [&from_env, &from_file] {
        assert_nowhere(&sandbox, value, &said);
    }
    // What is on disk for the instances is for this user alone.
    for path in files(&sandbox.path("data/process")) {
        use std::os::unix::fs::PermissionsExt as _;
        let content = fs::read(&path).unwrap_or_default();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if holds_bytes(&content, &from_env) {
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        }
    }
}

#[test]
fn what_an_instance_prints_before_it_dies_is_recorded_without_its_secrets() {
    let secret = value("env");
    let text = web(
        "TOKEN: {valueFrom: {env: WEB_TOKEN}}",
        "PLAIN: there",
        "[sh, -c, 'echo cannot log in with $TOKEN >&2; exit 3']",
    );
    let sandbox = Sandbox::with_files(&[PROVIDER]);
    sandbox.configure("secrets: {env: [WEB_TOKEN]}\n");
    sandbox.push("web", &[(WEB, &text)]);
    let run = ["run", "-vvv", "--until-converged", "--timeout", "10s"];
    let ran = sandbox.with_environment(&run, &[("WEB_TOKEN", &secret)]);
    let mut said = vec![ran.stdout.clone(), ran.stderr.clone()];
    said.extend(everything_said(&sandbox));
    let told = "cannot log in with [secret env:WEB_TOKEN]";
    let state = sandbox.git("fleet.git", &["log", "-p", "drover/state"]);
    assert!(state.contains(told), "{state}");
    assert_nowhere(&sandbox, &secret, &said);
}

#[test]
fn what_is_posted_measured_and_told_before_a_merge_has_no_secrets() {
    let secret = value("file");
    // What it prints when it dies is told in a hold, and so posted.
    let dying = "[sh, -c, 'echo cannot log in with $TOKEN >&2; exit 3']";
    let from = "TOKEN: {valueFrom: {file: FOLDER/token}}";
    let sandbox = Sandbox::with_files(&[PROVIDER]);
    let folder = sandbox.path("secrets").display().to_string();
    sandbox.write("secrets/token", &secret);
    let text = |size: u32, command: &str| {
        let text = web(from, "PLAIN: there", command).replace("FOLDER", &folder);
        text.replace("size: 2", &format!("size: {size}"))
    };
    let (url, received) = crate::notify::receiver();
    sandbox.configure(&format!(
        "secrets: {{files: ['{folder}']}}\nnotify: {{url: '{url}'}}\n"
    ));
    sandbox.push("dying", &[(WEB, &text(2, dying))]);
    let address = free_address(7);
    let agent = sandbox.agent_with(&["--listen", &address]);
    let mut posted = String::new();
    wait_until("an event about what died", PATIENCE, || {
        for (_, event) in received.try_iter() {
            posted.push_str(&event.to_string());
        }
        posted.contains("[secret file:")
    });
    sandbox.push("living", &[(WEB, &text(1, "[sleep, infinity]"))]);
    sandbox.wait_converged("web", 1);
    assert_eq!(
        environment(&sandbox, "TOKEN"),
        std::slice::from_ref(&Some(secret.clone()))
    );
    let (status, metrics) = get(&address, "/metrics").unwrap();
    assert_eq!(status, 200);
    assert!(
        metrics.contains("drover_instances{group=\"web\""),
        "{metrics}"
    );
    let base = sandbox.git("work", &["rev-parse", "HEAD"]);
    sandbox.push("three", &[(WEB, &text(3, dying))]);
    let simulate = ["simulate", "--base", base.trim(), "--head", "main"];
    let recorded = ["simulate", "--recorded", "--head", "main", "-o", "json"];
    let pr = ["pr", "--dry-run", "--base", base.trim(), "--head", "main"];
    let mut said = vec![posted, metrics];
    for command in [&simulate[..], &recorded, &pr] {
        let ran = sandbox.with_config(command).exits(0);
        assert!(ran.stdout.contains("web"), "{}", ran.stdout);
        said.extend([ran.stdout, ran.stderr]);
    }
    assert_eq!(agent.stop(), Some(0));
    for (_, event) in received.try_iter() {
        said.push(event.to_string());
    }
    said.extend(everything_said(&sandbox));
    assert_nowhere(&sandbox, &secret, &said);
}

#[test]
fn a_document_reads_only_what_the_agents_file_allows() {
    let sandbox = Sandbox::with_files(&[PROVIDER]);
    let own = value("own");
    sandbox.write("own/key", &own);
    sandbox.write("secrets/password", "enough of it");
    let folder = sandbox.path("secrets").display().to_string();
    let config = format!("secrets: {{env: [WEB_TOKEN], files: ['{folder}']}}\n");
    sandbox.configure(&config);
    let refused = [
        ("env: HOME".to_owned(), "secret env:HOME cannot be read"),
        (
            format!("file: {}", sandbox.path("own/key").display()),
            "does not allow it",
        ),
        (
            "env: WEB_TOKEN".to_owned(),
            "the agent's environment does not have it",
        ),
    ];
    let document = |from: &str| {
        let token = format!("TOKEN: {{valueFrom: {{{from}}}}}");
        web(&token, "PLAIN: there", "[sleep, infinity]")
    };
    let agent = sandbox.agent();
    for (from, why) in &refused {
        sandbox.push(from, &[(WEB, &document(from))]);
        // The pass that takes a document up is held for the one before it, too.
        sandbox.wait_for("web", why, |group| {
            holds(group) == ["SecretUnresolved"] && group.to_string().contains(why)
        });
        assert_eq!(sandbox.processes().len(), 0);
    }
    sandbox.push(
        "good",
        &[(WEB, &document(&format!("file: {folder}/password")))],
    );
    let web = sandbox.wait_converged("web", 2);
    assert!(converged(&web, 2));
    assert_eq!(
        environment(&sandbox, "TOKEN"),
        vec![Some("enough of it".to_owned()); 2]
    );
    assert_eq!(agent.stop(), Some(0));
    assert_nowhere_but(&sandbox, &own, "own/key");
}

/// Looks for a value everywhere but in one file.
fn assert_nowhere_but(sandbox: &Sandbox, value: &str, but: &str) {
    for path in files(&sandbox.path(".")) {
        let content = fs::read(&path).unwrap_or_default();
        let found = holds_bytes(&content, value);
        assert_eq!(found, path == sandbox.path(but), "{}", path.display());
    }
}

/// Makes a key of age in a file. Returns for whom to encrypt.
fn key_in(path: &Path) -> String {
    let made = Command::new("age-keygen")
        .arg("-o")
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .expect("these tests need `age-keygen` and `age` (package age)");
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    said.trim().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn a_file_of_sops_in_the_repository_has_the_value_of_the_commit_in_force() {
    let (first, second) = (value("sops"), value("sops"));
    let sandbox = Sandbox::with_files(&[PROVIDER]);
    let key = sandbox.path("agent.key");
    let recipient = key_in(&key);
    let encrypted = |value: &str| {
        sandbox.write("secrets/plain.yaml", &format!("web: {{token: {value}}}\n"));
        let sops = Command::new("sops")
            .args(["encrypt", "--age", &recipient])
            .arg(sandbox.path("secrets/plain.yaml"))
            .output()
            .expect("these tests need `sops`; `tests/run` installs it");
        assert!(sops.status.success(), "{sops:?}");
        fs::remove_file(sandbox.path("secrets/plain.yaml")).unwrap();
        String::from_utf8(sops.stdout).unwrap()
    };
    let text = |size: u32, key: &str| {
        let from = format!("{{sops: {{file: secrets/web.yaml, key: {key}}}}}");
        let text = web(
            &format!("TOKEN: {{valueFrom: {from}}}"),
            "PLAIN: there",
            "[sleep, infinity]",
        );
        text.replace("size: 2", &format!("size: {size}"))
    };
    sandbox.configure(&format!("secrets: {{ageIdentity: '{}'}}\n", key.display()));
    let file = "secrets/web.yaml";
    sandbox.push(
        "web",
        &[(WEB, &text(2, "web.token")), (file, &encrypted(&first))],
    );
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    let environments = || environment(&sandbox, "TOKEN");
    assert_eq!(environments(), vec![Some(first.clone()); 2]);

    // Another value makes nothing outdated; what is made from now on has it.
    sandbox.push(
        "rotated",
        &[(WEB, &text(3, "web.token")), (file, &encrypted(&second))],
    );
    sandbox.wait_converged("web", 3);
    let has = |value: &String| {
        let all = environments();
        let has = all.iter().filter(|found| found.as_ref() == Some(value));
        has.count()
    };
    assert_eq!((has(&first), has(&second)), (2, 1));

    sandbox.push("broken", &[(WEB, &text(3, "web.tokn"))]);
    wait_until("the hold", PATIENCE, || {
        let ran = sandbox.with_config(&["describe", "web"]);
        ran.stdout
            .contains("the file has no web.tokn: there is token")
    });
    assert_eq!(sandbox.processes().len(), 3);
    assert_eq!(agent.stop(), Some(0));
    let said = everything_said(&sandbox);
    for secret in [&first, &second] {
        assert_nowhere(&sandbox, secret, &said);
    }
}

#[test]
fn a_value_that_is_encrypted_for_the_agent_may_stand_in_the_document() {
    let secret = value("age");
    let sandbox = Sandbox::with_files(&[PROVIDER]);
    let (key, plain) = (sandbox.path("agent.key"), sandbox.path("secrets/plain"));
    sandbox.write("secrets/plain", &secret);
    let recipient = key_in(&key);
    let encrypted = Command::new("age")
        .args(["--armor", "--recipient", &recipient])
        .arg(&plain)
        .output()
        .expect("these tests need `age` (package age)");
    assert!(encrypted.status.success());
    let armoured = String::from_utf8(encrypted.stdout).unwrap();
    let armoured = armoured.trim().replace('\n', "\\n");
    let text = web(
        &format!("TOKEN: {{valueFrom: {{age: \"{armoured}\"}}}}"),
        "PLAIN: there",
        "[sleep, infinity]",
    );
    sandbox.configure(&format!("secrets: {{ageIdentity: '{}'}}\n", key.display()));
    sandbox.push("web", &[(WEB, &text)]);
    let agent = sandbox.agent();
    sandbox.wait_converged("web", 2);
    assert_eq!(
        environment(&sandbox, "TOKEN"),
        vec![Some(secret.clone()); 2]
    );
    assert_eq!(agent.stop(), Some(0));
    let said = everything_said(&sandbox);
    assert_nowhere(&sandbox, &secret, &said);
    // Another key: the agent says that it cannot, and ends nothing.
    fs::remove_file(&key).unwrap();
    key_in(&key);
    let agent = sandbox.agent();
    wait_until("the hold", PATIENCE, || {
        let ran = sandbox.with_config(&["describe", "web"]);
        sandbox.with_config(&["reconcile"]);
        ran.stdout.contains("age cannot decrypt it")
    });
    assert_eq!(sandbox.processes().len(), 2);
    assert_eq!(agent.stop(), Some(0));
}
