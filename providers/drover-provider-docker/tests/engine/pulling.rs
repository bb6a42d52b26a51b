//! Images from a real registry.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use drover_model::{ErrorClass, Value};
use drover_provider_docker::{Grants, LoginSource, Registries, RegistryLogin};
use tokio::sync::{Mutex, MutexGuard};

use crate::harness::{Scope, shell};
use crate::registry::{Listener, Registry, USER, drawn, log_in};

/// Lets one test at a time change the images of the engine that all of them share. Podman 4.3 loses names of an image
/// that is tagged, untagged and pulled at a time, and does not find what it has just written.
async fn alone() -> MutexGuard<'static, ()> {
    static CHANGING: Mutex<()> = Mutex::const_new(());
    CHANGING.lock().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_when_it_is_missing_or_always_as_it_is_written() {
    let _alone = alone().await;
    let scope = Scope::new("pulling");
    let registry = Registry::open();
    let image = scope.engine.publish(registry.address, None);
    let with = |image: &str, pull: &str| {
        let more = [("image", Value::from(image)), ("pull", Value::from(pull))];
        shell("echo from the registry", &more)
    };
    let never = scope
        .try_make(&scope.request(1, with(&image, "never")))
        .await;
    assert_eq!(never.unwrap_err().class, ErrorClass::InvalidSpec);

    // Several at once: one of them pulls.
    let (one, two) = (
        scope.request(2, with(&image, "missing")),
        scope.request(3, with(&image, "missing")),
    );
    let (one, two) = tokio::join!(scope.make(&one), scope.make(&two));
    for handle in [one, two] {
        let report = scope.until_ended(&handle).await;
        assert_eq!(report.message, "from the registry");
    }
    scope.make(&scope.request(4, with(&image, "always"))).await;

    // What no registry has is refused, in whatever way the engine says so, and leaves nothing behind.
    let before = scope.containers().len();
    let absent = format!("{}:2", image.trim_end_matches(":1"));
    let error = scope
        .try_make(&scope.request(5, with(&absent, "missing")))
        .await
        .unwrap_err();
    let classes = [ErrorClass::InvalidSpec, ErrorClass::Partial];
    assert!(
        classes.contains(&error.class),
        "{}: {error}",
        error.class.as_str()
    );
    assert!(error.message.contains("cannot pull image"), "{error}");

    // Without the registry what is there is used, unless it has to be pulled.
    drop(registry);
    scope.make(&scope.request(6, with(&image, "missing"))).await;
    let error = scope
        .try_make(&scope.request(7, with(&image, "always")))
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::Partial, "{error}");
    assert_eq!(scope.containers().len(), before + 1);
    scope.engine.remove("drover.fleet=pulling");
    scope.engine.delete(&format!("/images/{image}?force=true"));
}

/// A password of this test's own, with signs that are written in another way in JSON, in base64 and in URLs.
fn password() -> String {
    format!("{}\"/?~ü", drawn())
}

/// Lets the images of a registry below a path be pulled with credentials.
fn with_login(registry: SocketAddr, prefix: &str, source: LoginSource) -> Grants {
    let login = RegistryLogin {
        host: registry.to_string(),
        prefix: prefix.to_owned(),
        source,
    };
    Grants {
        registries: Registries {
            logins: vec![login],
            ..Registries::default()
        },
        ..Grants::default()
    }
}

/// With the password in a file.
fn with_password(registry: SocketAddr, prefix: &str, file: PathBuf) -> Grants {
    let source = LoginSource::Password {
        username: USER.to_owned(),
        file,
    };
    with_login(registry, prefix, source)
}

fn of_image(image: &str) -> Value {
    shell("echo from the registry", &[("image", Value::from(image))])
}

/// Fails to make an instance, and returns the reason, which has nothing of the secrets.
async fn refused(
    scope: &Scope,
    number: u64,
    image: &str,
    secrets: &[&str],
) -> (ErrorClass, String) {
    let made = scope
        .try_make(&scope.request(number, of_image(image)))
        .await;
    let error = made.expect_err("it cannot be pulled");
    for secret in secrets {
        assert!(!error.message.contains(secret), "{error}");
    }
    (error.class, error.message)
}

fn clear(scope: &Scope, image: &str) {
    scope
        .engine
        .remove(&format!("drover.fleet={}", scope.fleet));
    scope.engine.delete(&format!("/images/{image}?force=true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_image_is_pulled_with_the_password_that_its_file_has_now() {
    let _alone = alone().await;
    let (right, wrong) = (password(), password());
    let registry = Registry::private(&right);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let grants = with_password(registry.address, "", file.clone());
    let scope = Scope::granted("pulling-private", grants);
    let login = Some((USER, right.as_str()));
    let image = scope.engine.publish(registry.address, login);

    // Without its file nobody is asked.
    let (class, why) = refused(&scope, 1, &image, &[]).await;
    assert_eq!(class, ErrorClass::Partial);
    let told = format!(
        "no credentials for {}, which `docker.registries` of the agent's file has: {} cannot be read",
        registry.address,
        file.display()
    );
    assert!(why.contains(&told), "{why}");

    fs::write(&file, &wrong).unwrap();
    let (class, why) = refused(&scope, 2, &image, &[&wrong]).await;
    // It concerns this image, in whatever way the engine says it.
    assert_eq!(class, ErrorClass::Partial, "{why}");
    let told = format!(
        "asked with the credentials of {} in {}: if they are wrong",
        registry.address,
        file.display()
    );
    assert!(why.contains(&told), "{why}");

    // The same provider, and the file as it is now.
    fs::write(&file, format!("{right}\n")).unwrap();
    let handle = scope.make(&scope.request(3, of_image(&image))).await;
    let report = scope.until_ended(&handle).await;
    assert_eq!(report.message, "from the registry");
    let container = scope.containers().remove(0);
    let inspected = scope.engine.inspect(&container).unwrap().to_string();
    assert!(!inspected.contains(&right[..32]), "{inspected}");
    clear(&scope, &image);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_image_without_credentials_says_where_to_write_some() {
    let _alone = alone().await;
    let right = password();
    let registry = Registry::private(&right);
    let scope = Scope::new("pulling-without");
    let login = Some((USER, right.as_str()));
    let image = scope.engine.publish(registry.address, login);
    let (_, why) = refused(&scope, 1, &image, &[&right]).await;
    let told = format!(
        "asked without credentials: if {} wants some for this image, write them under `docker.registries` of the agent's file",
        registry.address
    );
    assert!(why.contains(&told), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_image_is_pulled_with_the_file_that_podman_login_has_written() {
    let _alone = alone().await;
    let right = password();
    let registry = Registry::private(&right);
    let folder = tempfile::tempdir().unwrap();
    let file: &Path = &folder.path().join("auth.json");
    log_in(registry.address, &right, file);
    let written = fs::read_to_string(file).unwrap();
    assert!(written.contains("\"auth\""), "{written}");
    let grants = with_login(
        registry.address,
        "",
        LoginSource::ConfigFile(file.to_owned()),
    );
    let scope = Scope::granted("pulling-config", grants);
    let login = Some((USER, right.as_str()));
    let image = scope.engine.publish(registry.address, login);
    let handle = scope.make(&scope.request(1, of_image(&image))).await;
    assert_eq!(
        scope.until_ended(&handle).await.message,
        "from the registry"
    );
    clear(&scope, &image);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_reach_their_own_registry_and_no_other() {
    let (own, other) = (Listener::start(), Listener::start());
    let right = password();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, &right).unwrap();
    let scope = Scope::granted("pulling-bound", with_password(own.address, "shop", file));
    // Podman answers with no name and no password where it has none.
    let is_shown = |request: &String| {
        let header = request
            .split("\r\n")
            .find(|line| line.starts_with("Authorization:"));
        header.is_some_and(|line| line != "Authorization: Basic Og==")
    };

    // Another registry, and the same one's other images.
    let (here, there) = (own.address, other.address);
    let images = [
        format!("{there}/shop/web:1"),
        format!("{there}/{}/shop/web:1", here.ip()),
        format!("{here}/shopper/web:1"),
        format!("{here}/web:1"),
    ];
    for (number, image) in (1..).zip(&images) {
        refused(&scope, number, image, &[&right]).await;
    }
    for listener in [&own, &other] {
        let requests = listener.requests();
        assert!(!requests.is_empty(), "it was asked");
        assert!(!requests.iter().any(is_shown), "{requests:?}");
    }

    // What would be seen if it were so.
    refused(&scope, 9, &format!("{here}/shop/web:1"), &[&right]).await;
    let requests = own.requests();
    let basic = data_encoding::BASE64.encode(format!("{USER}:{right}").as_bytes());
    assert!(
        requests.iter().any(|it| it.contains(&basic)),
        "{requests:?}"
    );
    assert!(!other.requests().iter().any(is_shown));
}
