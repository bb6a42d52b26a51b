use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use data_encoding::{BASE64, BASE64URL};
use drover_model::{ErrorClass, Value};
use serde_json::Value as Json;

use super::*;
use crate::testing::{FakeEngine, map, request, strings, version};

fn name(image: &str) -> FullName {
    FullName::of(image).unwrap_or_else(|| panic!("{image} is no image's name"))
}

fn login(host: &str, prefix: &str, source: LoginSource) -> RegistryLogin {
    RegistryLogin {
        host: host.to_owned(),
        prefix: prefix.to_owned(),
        source,
    }
}

/// Credentials for these registries, that of each in a file called like it.
fn registries(written: &[&str]) -> Registries {
    let logins = written.iter().map(|registry| {
        let (host, prefix) = registry.split_once('/').unwrap_or((registry, ""));
        login(host, prefix, LoginSource::ConfigFile(registry.into()))
    });
    Registries {
        logins: logins.collect(),
        ..Registries::default()
    }
}

/// A text that is drawn for this run.
fn drawn(kind: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{kind}-{}", now.unwrap().as_nanos())
}

#[test]
fn a_name_is_read_in_full_as_docker_reads_it() {
    for (image, full) in [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1.27", "docker.io/library/nginx"),
        ("shop/web@sha256:0f", "docker.io/shop/web"),
        ("shop/web:1@sha256:0f", "docker.io/shop/web"),
        ("shop/team/web", "docker.io/shop/team/web"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("index.docker.io/shop/web", "docker.io/shop/web"),
        ("registry-1.docker.io/shop/web", "docker.io/shop/web"),
        ("localhost/web:1", "localhost/web"),
        ("localhost:5000/web:1", "localhost:5000/web"),
        ("registry:5000/web", "registry:5000/web"),
        (
            "registry.example.com/shop/web:1",
            "registry.example.com/shop/web",
        ),
        ("Registry.Example.com/web", "Registry.Example.com/web"),
        // An account of that name, and not a registry.
        ("registry/web", "docker.io/registry/web"),
        // A tag, and not a port.
        ("localhost:5000", "docker.io/library/localhost"),
    ] {
        assert_eq!(name(image).to_string(), full, "{image}");
    }
    for image in [
        "",
        "Web",
        "a.example/Web",
        "a.example/",
        "a.example//web",
        "a.example/../web",
        "a.example/shop/./web",
        "a.example:/web",
        "a.example:+1/web",
        "a.example:1:2/web",
        "user@a.example/web:",
        "user:password@a.example/web",
        "https://a.example/web",
        "a.example/web:1:2",
        "a.example#b.example/web",
        "a..example/web",
        "a.example\\b.example/web",
    ] {
        // What is behind an @ is a digest, whatever it looks like: that is not the registry.
        let read = FullName::of(image);
        let host = read.as_ref().map(FullName::host);
        assert!(
            matches!(host, None | Some("docker.io")),
            "{image}: {read:?}"
        );
    }
}

#[test]
fn the_longest_registry_that_an_images_name_begins_with_is_used_by_whole_parts() {
    let registries = registries(&[
        "docker.io",
        "docker.io/shop",
        "registry.example.com/shop",
        "registry.example.com/shop/web",
        "registry.example.com:5000",
    ]);
    let used = |image: &str| registries.of(&name(image)).map(RegistryLogin::registry);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(used("nginx"), some("docker.io"));
    assert_eq!(used("shop/web"), some("docker.io/shop"));
    assert_eq!(used("shopper/web"), some("docker.io"));
    assert_eq!(used("index.docker.io/shop/web"), some("docker.io/shop"));
    assert_eq!(
        used("registry.example.com/shop/api:1"),
        some("registry.example.com/shop")
    );
    assert_eq!(
        used("REGISTRY.example.com/shop/api"),
        some("registry.example.com/shop")
    );
    assert_eq!(
        used("registry.example.com/shop/web"),
        some("registry.example.com/shop/web")
    );
    assert_eq!(
        used("registry.example.com/shop/web/a"),
        some("registry.example.com/shop/web")
    );
    assert_eq!(
        used("registry.example.com/shop/web2"),
        some("registry.example.com/shop")
    );
    assert_eq!(
        used("registry.example.com:5000/any"),
        some("registry.example.com:5000")
    );
    for other in [
        "registry.example.com/shopper/web",
        "registry.example.com/web",
        "registry.example.com:443/shop/web",
        "registry.example.com.evil.example/shop/web",
        "evil.example/registry.example.com/shop/web",
        "xregistry.example.com/shop/web",
    ] {
        assert_eq!(used(other), None, "{other}");
    }
}

#[tokio::test]
async fn a_password_is_read_for_each_pull_and_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let (first, second) = (drawn("tulip"), drawn("rose"));
    let source = LoginSource::Password {
        username: "robot".to_owned(),
        file: file.clone(),
    };
    let registries = Registries {
        logins: vec![login("registry.example.com", "", source)],
        ..Registries::default()
    };
    let image = name("registry.example.com/web");
    let read = async || registries.read(&registries.logins[0], &image).await;
    let missing = read().await.unwrap_err().to_string();
    assert!(missing.contains(&*file.to_string_lossy()), "{missing}");
    assert_eq!(registries.mistakes().len(), 1);
    for password in [&first, &second] {
        fs::write(&file, format!("{password}\r\n")).unwrap();
        let credentials = read().await.unwrap();
        let expected = Credentials::Password {
            username: "robot".to_owned(),
            password: SecretText::new(password.clone()),
        };
        assert!(credentials == expected);
        assert!(!format!("{registries:?} {credentials:?}").contains(password.as_str()));
    }
    assert_eq!(registries.mistakes(), Vec::<String>::new());
    for (content, why) in [
        ("\n".to_owned(), "is empty"),
        ("x".repeat(70_000), "larger than 64 KiB"),
    ] {
        fs::write(&file, content).unwrap();
        let error = read().await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// A file of Docker's with these entries under `auths`, and more.
fn config(folder: &Path, auths: &Json, more: &str) -> PathBuf {
    let path = folder.join("config.json");
    fs::write(&path, format!("{{\"auths\": {auths}{more}}}")).unwrap();
    path
}

fn entry(user: &str, password: &str) -> Json {
    serde_json::json!({ "auth": BASE64.encode(format!("{user}:{password}").as_bytes()) })
}

async fn read_config(path: &Path, image: &str) -> Result<Credentials, String> {
    let image = name(image);
    let source = LoginSource::ConfigFile(path.to_owned());
    let registries = Registries {
        logins: vec![login(image.host(), "", source)],
        ..Registries::default()
    };
    let read = registries.read(&registries.logins[0], &image).await;
    read.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_file_of_dockers_is_read_as_docker_and_podman_write_it() {
    let folder = tempfile::tempdir().unwrap();
    let auths = serde_json::json!({
        "https://index.docker.io/v1/": entry("hub", "1"),
        "registry.example.com": entry("host", "a:b"),
        "registry.example.com/shop": entry("shop", "3"),
        "https://old.example.com/v2/": entry("old", "4\0\0"),
        "token.example.com": {"auth": BASE64.encode(b"me:"), "identitytoken": "5"},
        "empty.example.com": {},
        "odd.example.com": {"auth": "%%%"},
        "nobody.example.com": entry("", "6"),
    });
    let path = config(folder.path(), &auths, ", \"HttpHeaders\": {}");
    let read = async |image: &str| match read_config(&path, image).await {
        Ok(Credentials::Password { username, password }) => {
            format!("{username} {}", password.reveal())
        }
        Ok(Credentials::IdentityToken(token)) => format!("token {}", token.reveal()),
        Err(why) => why.replace(&*path.to_string_lossy(), "FILE"),
    };
    assert_eq!(read("nginx").await, "hub 1");
    assert_eq!(read("registry.example.com/shopper/web").await, "host a:b");
    assert_eq!(read("registry.example.com/shop/web").await, "shop 3");
    assert_eq!(read("old.example.com/web").await, "old 4");
    assert_eq!(read("token.example.com/web").await, "token 5");
    for absent in ["empty.example.com", "other.example.com"] {
        let said = read(&format!("{absent}/web")).await;
        let expected = format!(
            "FILE has nothing for {absent}: log in to it with this file, as by `podman login --authfile`"
        );
        assert_eq!(said, expected);
    }
    for odd in ["odd.example.com", "nobody.example.com"] {
        let said = read(&format!("{odd}/web")).await;
        let expected =
            format!("what FILE has as `auth` for {odd} is not a user name and a password");
        assert_eq!(said, expected);
    }
}

#[tokio::test]
async fn a_file_that_is_none_of_dockers_is_told_by_its_place_and_not_by_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let secret = drawn("tulip");
    for text in [
        format!("{secret}\n"),
        format!("{{\"auths\":\n \"{secret}\"}}"),
        format!("{{\"auths\": {{\"a.example\": \"{secret}\"}}}}"),
    ] {
        let path = folder.path().join("config.json");
        fs::write(&path, text).unwrap();
        let error = read_config(&path, "a.example/web").await.unwrap_err();
        assert!(
            error.contains("is no configuration of Docker's: line "),
            "{error}"
        );
        assert!(!error.contains("tulip"), "{error}");
    }
}

/// Programs are written and started by one test at a time: while one is open for writing in a process that
/// another test has just started, nobody can start it.
static STARTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn write_program(folder: &Path, script: &str) {
    let program = folder.join("docker-credential-test");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn environment(folder: &Path) -> BTreeMap<String, OsString> {
    let search = format!("{}:/usr/bin:/bin", folder.display());
    [("PATH".to_owned(), search.into())].into()
}

/// Asks a program of these lines, which a file of Docker's names.
async fn ask(folder: &Path, script: &str, file: &str, image: &str) -> Result<Credentials, String> {
    let _turn = STARTING.lock().await;
    write_program(folder, script);
    let path = folder.join("config.json");
    fs::write(&path, file).unwrap();
    let image = name(image);
    let registries = Registries {
        logins: vec![login(image.host(), "", LoginSource::ConfigFile(path))],
        helper_environment: environment(folder),
    };
    let read = registries.read(&registries.logins[0], &image).await;
    read.map_err(|error| {
        error
            .to_string()
            .replace(&*folder.to_string_lossy(), "FOLDER")
    })
}

const FOR_ALL: &str =
    "{\"credsStore\": \"test\", \"auths\": {\"a.example\": {\"auth\": \"eDp5\"}}}";

#[tokio::test]
async fn a_program_that_keeps_credentials_is_asked_by_dockers_protocol() {
    let folder = tempfile::tempdir().unwrap();
    // It says what it was given.
    let script = "read server; env | grep -qv -e ^PATH= -e ^PWD= -e ^SHLVL= -e ^_= && exit 1
echo \"{\\\"ServerURL\\\": \\\"$server\\\", \\\"Username\\\": \\\"$1\\\", \\\"Secret\\\": \\\"$server\\\"}\"";
    let asked = async |file: &str, image: &str| ask(folder.path(), script, file, image).await;
    let said = |secret: &str| {
        Ok(Credentials::Password {
            username: "get".to_owned(),
            password: SecretText::new(secret.to_owned()),
        })
    };
    let one = "{\"credHelpers\": {\"a.example\": \"test\"}, \"credsStore\": \"absent\"}";
    assert_eq!(asked(one, "a.example/web").await, said("a.example"));
    assert_eq!(asked(FOR_ALL, "a.example/web").await, said("a.example"));
    let hub = said("https://index.docker.io/v1/");
    assert_eq!(asked(FOR_ALL, "nginx").await, hub);
    let absent = asked(one, "b.example/web").await.unwrap_err();
    assert!(
        absent.contains(
            "docker-credential-absent, which FOLDER/config.json names, cannot be started"
        ),
        "{absent}"
    );

    let token = "echo '{\"ServerURL\": \"x\", \"Username\": \"<token>\", \"Secret\": \"t\"}'";
    let given = ask(folder.path(), token, FOR_ALL, "a.example/web").await;
    assert_eq!(
        given,
        Ok(Credentials::IdentityToken(SecretText::new("t".to_owned())))
    );

    // No program of another kind, and none elsewhere.
    for named in ["../test", "test;true", "te st"] {
        let file = format!("{{\"credsStore\": \"{named}\"}}");
        let refused = asked(&file, "a.example/web").await.unwrap_err();
        assert!(refused.contains("is no ending of a program"), "{refused}");
    }
}

#[tokio::test]
async fn a_program_that_fails_is_told_without_its_words_and_with_how_to_see_them() {
    let folder = tempfile::tempdir().unwrap();
    for (script, why) in [
        (
            "echo tulip; echo tulip >&2; exit 3",
            "ends with exit status: 3",
        ),
        ("echo tulip", "prints no user name and secret"),
        (
            "echo '{\"Username\": \"tulip\", \"Secret\": \"\"}'",
            "prints an empty secret",
        ),
        ("exec cat /dev/zero", "prints more than 64 KiB"),
        ("exec 1>&-; kill -9 $$", "ends with signal: 9 (SIGKILL)"),
    ] {
        let error = ask(folder.path(), script, FOR_ALL, "a.example/web")
            .await
            .unwrap_err();
        let expected = format!(
            "docker-credential-test, which FOLDER/config.json names, {why}: run `echo a.example | docker-credential-test get` as the agent's user"
        );
        assert_eq!(error, expected);
    }
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_with_what_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let child = folder.path().join("child");
    // The child has standard output, so that ending the program alone would leave both running.
    let script = format!("sleep 1000 & echo $! > {}; wait", child.display());
    let _turn = STARTING.lock().await;
    write_program(folder.path(), &script);
    let helper = Helper::named(Path::new("FILE"), "test", "a.example").unwrap();
    let environment = environment(folder.path());
    let limit = std::time::Duration::from_secs(3);
    let error = helper.ask(&environment, limit).await.unwrap_err();
    assert!(
        error.to_string().contains("does not answer within 3s"),
        "{error}"
    );
    let child = fs::read_to_string(child).unwrap();
    let is_there = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        let state = stat
            .ok()
            .and_then(|stat| Some(stat.rsplit_once(") ")?.1.to_owned()));
        state.is_some_and(|state| !state.starts_with('Z'))
    };
    let begun = Instant::now();
    while is_there() {
        assert!(begun.elapsed().as_secs() < 20, "{child} runs on");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[test]
fn credentials_are_sent_as_docker_writes_them() {
    let sent = |credentials: &Credentials, image: &str| -> Json {
        let header = credentials.header(&name(image));
        let bytes = BASE64URL.decode(header.reveal().as_bytes()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let password = Credentials::Password {
        username: "robot$shop".to_owned(),
        password: SecretText::new("a\"b?~ÿ".to_owned()),
    };
    assert_eq!(
        sent(&password, "a.example:5000/web"),
        serde_json::json!({"username": "robot$shop", "password": "a\"b?~ÿ", "serveraddress": "a.example:5000"})
    );
    let token = Credentials::IdentityToken(SecretText::new("t".to_owned()));
    assert_eq!(
        sent(&token, "nginx"),
        serde_json::json!({"identitytoken": "t", "serveraddress": "https://index.docker.io/v1/"})
    );
}

/// Pulls an image at an engine that answers so to a pull, and returns the error and all requests.
async fn pulled(
    image: &str,
    registries: Registries,
    answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static,
) -> (drover_provider::ProviderError, Vec<String>) {
    let fake = FakeEngine::start(move |asked| match asked {
        "GET /version" => Some(version("1.44")),
        asked if asked.contains("/containers/json") => Some((200, "[]".to_owned())),
        asked if asked.contains("/images/create") => Some(answer(asked)),
        _ => Some((404, "{\"message\": \"no such image\"}".to_owned())),
    });
    let properties = map(&[("image", Value::from(image)), ("command", strings(&["x"]))]);
    let made = fake
        .provider_with(registries)
        .provision(&request(properties))
        .await;
    (made.expect_err("nothing is made"), fake.requests())
}

/// Credentials for one registry, in a file of the folder.
fn one(folder: &Path, host: &str, prefix: &str, password: &str) -> Registries {
    let file = folder.join("password");
    fs::write(&file, password).unwrap();
    let source = LoginSource::Password {
        username: "robot".to_owned(),
        file,
    };
    Registries {
        logins: vec![login(host, prefix, source)],
        ..Registries::default()
    }
}

fn has_credentials(request: &str) -> bool {
    request.to_ascii_lowercase().contains("x-registry-auth")
}

#[tokio::test]
async fn credentials_go_with_the_pull_of_their_registrys_image_and_with_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let no = |_: &str| (500, "{\"message\": \"no\"}".to_owned());
    for (image, asked) in [
        (
            "a.example/shop/web:1",
            Some("fromImage=a.example%2Fshop%2Fweb&tag=1"),
        ),
        ("a.example/web:1", None),
        ("b.example/shop/web:1", None),
        ("web:1", None),
        ("a.example:443/shop/web:1", None),
    ] {
        let registries = one(folder.path(), "a.example", "shop", "tulip");
        let (_, requests) = pulled(image, registries, no).await;
        let with: Vec<&String> = requests.iter().filter(|it| has_credentials(it)).collect();
        match asked {
            Some(asked) => assert!(
                with.len() == 1 && with[0].contains("POST") && with[0].contains(asked),
                "{requests:?}"
            ),
            None => assert!(with.is_empty(), "{image}: {with:?}"),
        }
        assert!(
            requests.iter().any(|it| it.contains("/images/create")),
            "{requests:?}"
        );
    }
    // A short name goes in full, so that no engine looks for it elsewhere with them.
    let registries = one(folder.path(), "docker.io", "", "tulip");
    let (_, requests) = pulled("web", registries, no).await;
    let full = "fromImage=docker.io%2Flibrary%2Fweb&tag=latest";
    let with = requests.iter().filter(|it| has_credentials(it));
    assert!(with.into_iter().all(|it| it.contains(full)), "{requests:?}");
    assert!(requests.iter().any(|it| it.contains(full)), "{requests:?}");
}

#[tokio::test]
async fn what_an_engine_repeats_of_credentials_is_not_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    // With a sign that each way to write it has in another form, and at the end of what is passed on.
    let password = drawn("tu\"li?p/");
    let basic = BASE64.encode(format!("robot:{password}").as_bytes());
    let quoted = Json::from(password.as_str()).to_string();
    let query = crate::client::encoded(&password);
    let credentials = Credentials::Password {
        username: "robot".to_owned(),
        password: SecretText::new(password.clone()),
    };
    let header = credentials.header(&name("a.example/web"));
    let header = header.reveal().to_owned();
    let forms = [password.clone(), basic, quoted, query, header];
    let padding = "x".repeat(490);
    for form in forms {
        for text in [format!("no {form} here"), format!("{padding}{form}")] {
            let message = serde_json::json!({ "message": text }).to_string();
            let line = serde_json::json!({ "error": text }).to_string() + "\n";
            for (status, body) in [(500, message), (200, line), (401, text.clone())] {
                let registries = one(folder.path(), "a.example", "", &password);
                let answer = move |_: &str| (status, body.clone());
                let (error, _) = pulled("a.example/web:1", registries, answer).await;
                let cut = &form.trim_matches('"')[..8];
                assert!(!error.message.contains(cut), "{error}");
                assert!(error.message.contains("[redact"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_pull_that_fails_says_which_credentials_it_had_or_where_to_write_some() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |status| move |_: &str| (status, "{\"message\": \"denied\"}".to_owned());
    let registries = || one(folder.path(), "a.example", "shop", "tulip");
    let (error, _) = pulled("a.example/shop/web", registries(), refuse(401)).await;
    assert_eq!(error.class, ErrorClass::Partial);
    let file = folder.path().join("password");
    let told = format!(
        ": denied; asked with the credentials of a.example/shop in {}: if they are wrong or may not read this image, write others there",
        file.display()
    );
    assert!(error.message.ends_with(&told), "{error}");
    let (error, _) = pulled("b.example/web", registries(), refuse(500)).await;
    assert_eq!(error.class, ErrorClass::Partial);
    let told = ": denied; asked without credentials: if b.example wants some for this image, write them under `docker.registries` of the agent's file";
    assert!(error.message.ends_with(told), "{error}");

    // Without the file the engine is not asked at all.
    let without = registries();
    fs::remove_file(&file).unwrap();
    let (error, requests) = pulled("a.example/shop/web", without, refuse(500)).await;
    assert_eq!(error.class, ErrorClass::Partial);
    let told = format!(
        "cannot pull image a.example/shop/web: no credentials for a.example/shop, which `docker.registries` of the agent's file has: {} cannot be read: No such file",
        file.display()
    );
    assert!(error.message.starts_with(&told), "{error}");
    assert!(
        !requests.iter().any(|it| it.contains("/images/create")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_registry_that_refuses_concerns_its_image_and_who_refuses_the_engine_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let engine = "{\"message\": \"unauthorized: authentication required\"}";
    let podman = "{\"cause\": \"x\", \"message\": \"denied\", \"response\": 403}";
    let before_it = "<html><body><h1>403 Forbidden</h1></body></html>";
    let answers = [
        (401, engine, ErrorClass::Partial),
        (403, engine, ErrorClass::Partial),
        (403, podman, ErrorClass::Partial),
        (429, engine, ErrorClass::Throttled),
        (404, engine, ErrorClass::InvalidSpec),
        (403, before_it, ErrorClass::Auth),
        (401, "", ErrorClass::Auth),
    ];
    for (status, body, class) in answers {
        let registries = one(folder.path(), "a.example", "shop", "tulip");
        let answer = move |_: &str| (status, body.to_owned());
        let (error, _) = pulled("a.example/shop/web", registries, answer).await;
        assert_eq!(error.class, class, "{status}: {error}");
    }
}
