use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_model::SecretRef;
use drover_provider::SecretSource as _;
use drover_spec::agent_config::SecretsConfig;

use super::{FAILURE_FOR, LocalSecrets};

/// The environment of the tests.
fn environment(name: &str) -> Option<OsString> {
    match name {
        "WEB_TOKEN" | "OTHER_TOKEN" => Some(OsString::from("value of it")),
        "EMPTY" => Some(OsString::new()),
        "LATIN" => Some(OsString::from_vec(vec![0xe4])),
        _ => None,
    }
}

fn secrets(env: &[&str], files: &[&Path]) -> LocalSecrets {
    LocalSecrets {
        allowed: SecretsConfig {
            env: env.iter().map(|name| (*name).to_owned()).collect(),
            files: files.iter().map(|path| path.to_path_buf()).collect(),
            age_identity: None,
        },
        environment,
        repository: Arc::new(|path| Err(format!("no {path}"))),
        decrypted: Arc::default(),
    }
}

fn read(secrets: &LocalSecrets, reference: &SecretRef) -> Result<String, String> {
    let read = secrets.read(reference);
    read.map(|text| text.reveal().to_owned())
        .map_err(|error| error.why)
}

fn env(name: &str) -> SecretRef {
    SecretRef::Env(name.to_owned())
}

fn file(path: &Path) -> SecretRef {
    SecretRef::File(path.display().to_string())
}

#[test]
fn only_variables_that_are_allowed_are_read() {
    let secrets = secrets(&["WEB_TOKEN", "MISSING", "EMPTY", "LATIN"], &[]);
    let read = |name: &str| read(&secrets, &env(name));
    assert_eq!(read("WEB_TOKEN").as_deref(), Ok("value of it"));
    let refused = read("OTHER_TOKEN").unwrap_err();
    assert!(refused.contains("does not allow it"), "{refused}");
    for (name, why) in [
        ("MISSING", "does not have it"),
        ("EMPTY", "is empty"),
        ("LATIN", "is not UTF-8"),
    ] {
        let said = read(name).unwrap_err();
        assert!(said.contains(why), "{name}: {said}");
    }
}

#[test]
fn only_files_below_allowed_folders_are_read_wherever_links_lead() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("allowed"), folder.path().join("own"));
    for dir in [&inside, &outside] {
        fs::create_dir(dir).unwrap();
    }
    fs::write(inside.join("token"), "value of it\n").unwrap();
    fs::write(inside.join("lines"), "one\ntwo\r\n").unwrap();
    fs::write(outside.join("id_ed25519"), "the agent's own").unwrap();
    symlink(outside.join("id_ed25519"), inside.join("link")).unwrap();
    symlink(inside.join("token"), inside.join("near")).unwrap();
    let secrets = secrets(&[], &[&inside]);
    let read = |path: &Path| read(&secrets, &file(path));
    assert_eq!(read(&inside.join("token")).as_deref(), Ok("value of it"));
    assert_eq!(read(&inside.join("lines")).as_deref(), Ok("one\ntwo"));
    assert_eq!(read(&inside.join("near")).as_deref(), Ok("value of it"));
    for (path, why) in [
        (outside.join("id_ed25519"), "does not allow it"),
        (inside.join("link"), "leads out"),
        (inside.join("missing"), "No such file"),
        (inside.clone(), "not a regular file"),
    ] {
        let said = read(&path).unwrap_err();
        assert!(said.contains(why), "{}: {said}", path.display());
    }
}

#[test]
fn what_is_too_large_or_no_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = secrets(&[], &[folder.path()]);
    let refused = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        read(&secrets, &file(&path)).unwrap_err()
    };
    assert!(refused("large", &vec![b'a'; 65_537]).contains("is larger than 65536 bytes"));
    assert!(refused("bytes", &[0xe4]).contains("is not UTF-8"));
    assert!(refused("nul", b"a\0b").contains("a NUL"));
    assert!(refused("empty", b"\n").contains("is empty"));
}

#[test]
fn nothing_is_decrypted_without_a_key() {
    let refused = read(&secrets(&[], &[]), &SecretRef::Age("text".to_owned())).unwrap_err();
    assert!(
        refused.contains("has no `secrets.ageIdentity`"),
        "{refused}"
    );
}

/// A key of age, and files of SOPS for it.
struct Vault {
    folder: tempfile::TempDir,
    recipient: String,
}

fn ran(command: &mut Command, input: &str) -> String {
    use std::io::Write as _;
    let name = command.get_program().to_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{}: {error}; `tests/run` installs it", name.display());
        });
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl Vault {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        ran(Command::new("age-keygen").arg("-o").arg(&key), "");
        let recipient = ran(Command::new("age-keygen").arg("-y").arg(&key), "");
        let recipient = recipient.trim().to_owned();
        Self { folder, recipient }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Encrypts a file in the repository.
    fn put(&self, name: &str, plain: &str) -> String {
        let form = name.rsplit_once('.').unwrap().1;
        let mut sops = Command::new("sops");
        sops.env("HOME", self.folder.path())
            .args(["encrypt", "--age", &self.recipient])
            .args(["--input-type", form, "--output-type", form, "/dev/stdin"]);
        let encrypted = ran(&mut sops, plain);
        fs::write(self.path(name), &encrypted).unwrap();
        encrypted
    }

    fn secrets(&self) -> LocalSecrets {
        let root = self.folder.path().to_owned();
        let mut secrets = secrets(&[], &[]);
        secrets.allowed.age_identity = Some(self.path("key"));
        secrets.repository =
            Arc::new(move |path| fs::read(root.join(path)).map_err(|error| error.to_string()));
        secrets
    }

    fn read(&self, file: &str, key: &str) -> Result<String, String> {
        let key = key.split('.').map(str::to_owned).collect();
        let file = file.to_owned();
        read(&self.secrets(), &SecretRef::Sops { file, key })
    }
}

const PLAIN: &str = "db:\n    password: hunter2 of it\n    port: 5432\n    hosts: [a, b]\n";

#[test]
fn a_value_of_a_file_of_sops_is_decrypted() {
    let vault = Vault::new();
    let encrypted = vault.put("web.yaml", PLAIN);
    assert!(!encrypted.contains("hunter2"));
    assert_eq!(
        vault.read("web.yaml", "db.password").as_deref(),
        Ok("hunter2 of it")
    );
    assert_eq!(vault.read("web.yaml", "db.port").as_deref(), Ok("5432"));
    vault.put("web.json", "{\"token\": \"of JSON\", \"none\": null}");
    assert_eq!(vault.read("web.json", "token").as_deref(), Ok("of JSON"));
    for (file, key, why) in [
        ("web.yaml", "db.pasword", "there is hosts, password, port"),
        ("web.yaml", "db.port.x", "what is above `x` is no map"),
        ("web.yaml", "db.hosts", "is no text"),
        ("web.yaml", "db", "is no text"),
        ("web.yaml", "sops.mac", "what the file says of itself"),
        ("web.json", "none", "is no text"),
        ("none.yaml", "db", "No such file"),
        ("key", "db", "must be YAML or JSON"),
    ] {
        let said = vault.read(file, key).unwrap_err();
        assert!(said.contains(why), "{file} {key}: {said}");
    }
}

#[test]
fn a_file_of_sops_that_was_changed_is_for_others_or_asks_somebody_is_refused() {
    let vault = Vault::new();
    let encrypted = vault.put("web.yaml", PLAIN);
    let refused = |text: &str| {
        fs::write(vault.path("web.yaml"), text).unwrap();
        let said = vault.read("web.yaml", "db.password").unwrap_err();
        assert!(!said.contains("hunter2"), "{said}");
        said
    };
    // Moved to another place, a value does not decrypt; nor does a file that lost one.
    let swapped = encrypted.replace("    password:", "    passwort:");
    let other = swapped.replace("    port:", "    password:");
    for text in [&other, &encrypted.replace("    hosts:", "    others:")] {
        let said = refused(text);
        assert!(said.starts_with("sops cannot decrypt it: "), "{said}");
    }
    for asks in [
        "    hc_vault: [{vault_address: 'http://127.0.0.1:1/', engine_path: a, key_name: b}]",
        "    kms: [{arn: 'arn:aws:kms:eu-1:1:key/a'}]",
        "    pgp: [{fp: ABCD}]",
        "    key_groups: [{age: []}]",
    ] {
        let text = encrypted.replace("\nsops:\n", &format!("\nsops:\n{asks}\n"));
        assert_ne!(text, encrypted);
        let said = refused(&text);
        assert!(said.contains("only files for age keys"), "{said}");
    }
    let rule = "\nsops:\n    encrypted_comment_regex: secret\n";
    assert!(refused(&encrypted.replace("\nsops:\n", rule)).contains("goes by comments"));
    assert!(refused("db: {password: hunter2}\n").contains("not encrypted with SOPS"));
    assert!(refused("sops: {mac: a, age: []}\n").contains("for no age key"));
    assert!(refused("db: [\n").contains("cannot be read"));
    assert!(refused(&format!("a: {}\n", "b".repeat(256 << 10))).contains("larger than"));

    // Encrypted for somebody else.
    let other = Vault::new();
    let said = refused(&other.put("web.yaml", PLAIN));
    assert!(
        said.contains("Failed to get the data key required to decrypt the SOPS file"),
        "{said}"
    );
    let none = secrets(&[], &[]);
    let reference = SecretRef::Sops {
        file: "web.yaml".to_owned(),
        key: vec!["db".to_owned()],
    };
    assert!(read(&none, &reference).unwrap_err().contains("ageIdentity"));
}

#[test]
fn values_keep_their_order_and_kind_and_comments_count_for_nothing() {
    let vault = Vault::new();
    let plain = "# of a person\nzeta_unencrypted: 5\nalpha: 'one ä \u{1f600} \"two\"'\nof_unencrypted: {on: true, \
                 ratio: 1.50, large: 12345678901, none: null, text: \"05\", list: [1, two, {b: 1, a: 2}]}\n# and more\n\
                 number: 12345678901\nlast: [a, {d: 1, c: 2}]\n";
    let text = vault.put("web.yaml", plain);
    assert!(text.contains("ratio: 1.5") && text.contains('#'), "{text}");
    let alpha = "one ä \u{1f600} \"two\"";
    assert_eq!(vault.read("web.yaml", "alpha").as_deref(), Ok(alpha));
    assert_eq!(
        vault.read("web.yaml", "number").as_deref(),
        Ok("12345678901")
    );
    let plain = "{\"z_unencrypted\": [5, 1.5, true, null, \"x\"], \"alpha\": \"one ä\", \"a_unencrypted\": 12345678901}";
    vault.put("web.json", plain);
    assert_eq!(vault.read("web.json", "alpha").as_deref(), Ok("one ä"));
}

#[test]
fn what_another_reader_would_see_in_a_file_of_sops_never_comes_to_it() {
    let vault = Vault::new();
    let vaults = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    vaults.set_nonblocking(true).unwrap();
    let asks = format!(
        "[{{\"vault_address\": \"http://{}/\", \"engine_path\": \"a\", \"key_name\": \"b\", \"created_at\": \
         \"2026-01-01T00:00:00Z\", \"enc\": \"vault:v1:AAAA\"}}]",
        vaults.local_addr().unwrap()
    );
    let encrypted = vault.put("web.json", "{\"token\": \"of JSON\"}");
    // `sops` reads names in any letter case, and takes of a repeated one what both say.
    for name in ["sops", "SOPS", "sopS", "\\u017fops"] {
        let more = format!("{{\"{name}\": {{\"hc_vault\": {asks}}}, ");
        let text = encrypted.replacen('{', &more, 1);
        fs::write(vault.path("web.json"), text).unwrap();
        let said = vault.read("web.json", "token").unwrap_err();
        let repeated = said.contains("`sops` is repeated");
        assert!(
            repeated || said.contains("which `sops` takes for"),
            "{said}"
        );
    }
    for name in ["HC_VAULT", "Age", "AGE"] {
        let more = format!("\"sops\": {{\"{name}\": {asks}, ");
        let text = encrypted.replacen("\"sops\": {", &more, 1);
        assert_ne!(text, encrypted);
        fs::write(vault.path("web.json"), text).unwrap();
        let said = vault.read("web.json", "token").unwrap_err();
        assert!(said.contains("only files for age keys"), "{said}");
    }
    let other = encrypted.replacen("\"recipient\"", "\"arn\": \"a\", \"recipient\"", 1);
    fs::write(vault.path("web.json"), other).unwrap();
    let said = vault.read("web.json", "token").unwrap_err();
    assert!(said.contains("no list of keys"), "{said}");
    // To a reader of YAML 1.1 the comment ends with its first line.
    let encrypted = vault.put("web.yaml", PLAIN);
    let hidden = format!("\nsops:\n    # c\u{2028}    hc_vault: {asks}\n");
    let text = encrypted.replacen("\nsops:\n", &hidden, 1);
    assert_ne!(text, encrypted);
    fs::write(vault.path("web.yaml"), &text).unwrap();
    let read = vault.read("web.yaml", "db.password");
    assert_eq!(read.as_deref(), Ok("hunter2 of it"));
    // And where no age key opens the file, `sops` turns to the other keys that it sees.
    let (before, after) = text.split_once("AGE ENCRYPTED FILE-----").unwrap();
    let broken = format!("{before}AGE ENCRYPTED FILE-----x{after}");
    fs::write(vault.path("web.yaml"), broken).unwrap();
    vault.read("web.yaml", "db.password").unwrap_err();
    let asked = vaults.accept().map(|_| ()).unwrap_err();
    assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn what_was_decrypted_is_remembered_until_the_key_or_the_file_is_another() {
    let vault = Vault::new();
    vault.put("web.yaml", PLAIN);
    let secrets = vault.secrets();
    let reference = SecretRef::Sops {
        file: "web.yaml".to_owned(),
        key: vec!["db".to_owned(), "password".to_owned()],
    };
    let read = || read(&secrets, &reference);
    assert_eq!(read().as_deref(), Ok("hunter2 of it"));
    assert_eq!(secrets.decrypted.lock().unwrap().len(), 1);
    assert_eq!(read().as_deref(), Ok("hunter2 of it"));
    assert_eq!(secrets.decrypted.lock().unwrap().len(), 1);
    vault.put("web.yaml", "db: {password: another one}\n");
    assert_eq!(read().as_deref(), Ok("another one"));
    fs::write(vault.path("key"), "# lost\n").unwrap();
    read().unwrap_err();
    fs::remove_file(vault.path("key")).unwrap();
    assert!(read().unwrap_err().contains("cannot be read"));
}

#[test]
fn what_cannot_be_decrypted_is_not_tried_in_every_pass() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "one").unwrap();
    let secrets = secrets(&[], &[]);
    let tries = std::cell::Cell::new(0);
    let read = |text: &[u8]| {
        let refused = secrets.once(&[text], &key, || {
            tries.set(tries.get() + 1);
            Err("no".to_owned())
        });
        assert_eq!(refused, Err("no".to_owned()));
        tries.get()
    };
    assert_eq!(read(b"one"), 1);
    assert_eq!(read(b"one"), 1);
    assert_eq!(read(b"another"), 2);
    // With another key it is another question.
    fs::write(&key, "one more").unwrap();
    assert_eq!(read(b"one"), 3);
    // A minute later it is tried again.
    for known in secrets.decrypted.lock().unwrap().values_mut() {
        let found = &mut known.as_mut().unwrap_err().1;
        *found = found.checked_sub(FAILURE_FOR).unwrap();
    }
    assert_eq!(read(b"another"), 4);
}

#[test]
fn a_value_of_a_file_that_is_too_large_is_refused_at_once() {
    let vault = Vault::new();
    let of = |length: usize| {
        vault.put("web.yaml", &format!("a: {}\n", "b".repeat(length)));
        vault.read("web.yaml", "a")
    };
    assert_eq!(of(65_536).map(|value| value.len()), Ok(65_536));
    let begun = Instant::now();
    assert_eq!(of(100_000), Err("it is larger than 65536 bytes".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(8), "{begun:?}");
}

#[test]
fn a_program_that_reads_nothing_or_prints_without_end_stops_nobody() {
    let text = vec![b'a'; 200_000];
    let run = |script: &str| {
        let mut program = super::quiet("sh");
        program.args(["-c", script]);
        let begun = Instant::now();
        let came = super::decrypt(program, "sh", &text);
        assert!(begun.elapsed() < Duration::from_secs(8), "{script}");
        came
    };
    assert_eq!(run("echo a value"), Ok("a value".to_owned()));
    // It ignores that nobody reads on.
    let endless =
        "trap '' PIPE; while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done 2>/dev/null";
    assert_eq!(
        run(endless),
        Err("it is larger than 65536 bytes".to_owned())
    );
    let loud = "i=0; while [ $i -lt 9000 ]; do echo no key here >&2; i=$((i+1)); done; exit 1";
    assert_eq!(
        run(loud),
        Err("sh cannot decrypt it: no key here".to_owned())
    );
}
