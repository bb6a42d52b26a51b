use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use drover_model::SecretRef;
use drover_provider::SecretSource as _;
use drover_spec::agent_config::SecretsConfig;

use super::LocalSecrets;

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
