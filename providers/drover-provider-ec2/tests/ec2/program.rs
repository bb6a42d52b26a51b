//! The program behind its socket, as an agent reaches it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use drover_model::{GroupUid, ProviderName, ProviderRef, Value};
use drover_provider::conformance::{self, Outcome, Subject};
use drover_provider::{Provider, ProviderError, ProviderFactory as _};
use drover_provider_plugin::{Endpoint, Place, PluginFactory};

use crate::conformance::{slow, with_attachment, with_places};
use crate::fake::Fake;
use crate::support::{SystemClock, drawn, map, run_id};

const PROGRAM: &str = env!("CARGO_BIN_EXE_drover-provider-ec2");

/// The program, ended with its test.
pub(crate) struct Program(Child);

impl Program {
    fn start(socket: &Path, endpoint: &str) -> Self {
        let child = Command::new(PROGRAM)
            .arg("--socket")
            .arg(socket)
            .args(["--endpoint", endpoint])
            .env_clear()
            .env("AWS_ACCESS_KEY_ID", drawn())
            .env("AWS_SECRET_ACCESS_KEY", drawn())
            .stdin(Stdio::null())
            .spawn();
        let program = Self(child.unwrap());
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "it does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Served {
    endpoint: String,
    factory: PluginFactory,
    run: GroupUid,
}

impl Served {
    fn open(&self) -> Arc<dyn Provider> {
        self.open_as("aws")
    }

    fn open_as(&self, name: &str) -> Arc<dyn Provider> {
        let document = map(&[("plugin", "ec2".into()), ("settings", with_places())]);
        let name = ProviderName::parse(name).unwrap();
        self.factory.open(&name, &document).unwrap()
    }
}

#[async_trait]
impl Subject for Served {
    fn provider(&self) -> Arc<dyn Provider> {
        self.open()
    }

    fn reopen(&self) -> Option<Arc<dyn Provider>> {
        Some(self.open())
    }

    fn other_scope(&self) -> Option<Result<Arc<dyn Provider>, ProviderError>> {
        Some(Ok(self.open_as("other")))
    }

    fn run_id(&self) -> GroupUid {
        self.run.clone()
    }

    fn running(&self) -> Value {
        with_attachment()
    }

    fn invalid(&self) -> Value {
        map(&[("imageIdd", "ami-00000001".into())])
    }

    async fn end_released(&self, instance: &ProviderRef) {
        let client = crate::support::client(&self.endpoint).await;
        let ending = client.terminate_instances().instance_ids(instance.as_str());
        ending.send().await.unwrap();
    }

    fn ends_released(&self) -> bool {
        true
    }

    async fn wait(&self) {
        tokio::time::sleep(Duration::from_millis(30)).await;
    }

    fn patience(&self) -> u32 {
        500
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_keeps_the_contract_behind_its_socket() {
    let fake = Fake::start(slow());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("ec2");
    let _program = Program::start(&socket, &fake.endpoint());
    let place = Place::Fixed(Endpoint::Unix(socket));
    let subject = Served {
        endpoint: fake.endpoint(),
        factory: PluginFactory::new(place, folder.path().join("data"), Arc::new(SystemClock)),
        run: run_id(),
    };
    let report = conformance::run(&subject).await;
    assert!(report.conforms(), "\n{report}");
    let passed = report.results.iter();
    let passed = passed.filter(|result| result.outcome == Outcome::Passed);
    assert_eq!(passed.count(), report.results.len() - 4, "\n{report}");
    assert_eq!(fake.world().living().count(), 0);
}

/// Starts a program that finds credentials below `home` only, and opens its provider.
async fn at_home(home: &Path, fake: &Fake) -> (Program, Arc<dyn Provider>) {
    // Where instances find theirs: nobody listens there.
    let nowhere = [("AWS_EC2_METADATA_DISABLED", "true".to_owned())];
    within(home, fake, &nowhere).await
}

/// Starts a program with this environment and opens its provider.
pub(crate) async fn within(
    home: &Path,
    fake: &Fake,
    environment: &[(&str, String)],
) -> (Program, Arc<dyn Provider>) {
    let socket = home.join("ec2");
    let mut command = Command::new(PROGRAM);
    command
        .arg("--socket")
        .arg(&socket)
        .args(["--endpoint", &fake.endpoint()])
        .env_clear()
        .env("HOME", home)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    let program = Program(command.spawn().unwrap());
    let place = Place::Fixed(Endpoint::Unix(socket.clone()));
    let started = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it does not listen"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let factory = PluginFactory::new(place, home.join("data"), Arc::new(SystemClock));
    let document = map(&[
        ("plugin", "ec2".into()),
        ("settings", crate::support::settings()),
    ]);
    let opened = tokio::task::spawn_blocking(move || {
        factory.open(&ProviderName::parse("aws").unwrap(), &document)
    });
    (program, opened.await.unwrap().unwrap())
}

#[tokio::test]
async fn a_key_that_is_replaced_in_its_file_is_used_at_once() {
    let fake = Fake::start(slow());
    let folder = tempfile::tempdir().unwrap();
    let (_program, provider) = at_home(folder.path(), &fake).await;
    let list = async || provider.list(&crate::support::fleet()).await;
    assert!(list().await.is_err(), "there is none yet");
    fs::create_dir(folder.path().join(".aws")).unwrap();
    let file = folder.path().join(".aws/credentials");
    let (first, second) = (drawn(), drawn());
    for key in [&first, &second] {
        let secret = drawn();
        let text =
            format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
        let new = folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &file).unwrap();
        fake.world().key = Some(key.clone());
        list().await.unwrap();
    }
    fake.world().key = Some(first);
    let error = list().await.unwrap_err();
    assert_eq!(error.class, drover_model::ErrorClass::Auth, "{error}");
}

#[tokio::test]
async fn without_credentials_it_says_so_and_calls_nobody() {
    let fake = Fake::start(slow());
    let folder = tempfile::tempdir().unwrap();
    let (_program, provider) = at_home(folder.path(), &fake).await;
    let error = provider.list(&crate::support::fleet()).await.unwrap_err();
    assert_eq!(error.class, drover_model::ErrorClass::Auth, "{error}");
    let says = "DescribeInstances: no credentials were found, neither in the environment";
    assert!(error.message.contains(says), "{error}");
    assert!(fake.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_type_is_a_subtype_of_the_same_program() {
    let fake = Fake::start(slow());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("ec2");
    let _program = Program::start(&socket, &fake.endpoint());
    let place = Place::Fixed(Endpoint::Unix(socket));
    let factory = PluginFactory::new(place, folder.path().join("data"), Arc::new(SystemClock));
    let open = |name: &str, plugin: &str| {
        let document = map(&[
            ("plugin", plugin.into()),
            ("settings", crate::support::settings()),
        ]);
        factory.open(&ProviderName::parse(name).unwrap(), &document)
    };
    let groups = open("groups", "ec2/asg").unwrap();
    let machines = open("machines", "ec2").unwrap();
    let has = |provider: &dyn Provider, name: &str| {
        let fields = &provider.manifest().properties.fields;
        fields.contains_key(name)
    };
    assert!(has(&*groups, "minSize") && !has(&*groups, "imageId"));
    assert!(has(&*machines, "imageId") && !has(&*machines, "minSize"));
    let fleet = crate::support::fleet();
    assert!(groups.list(&fleet).await.unwrap().instances.is_empty());
    assert!(fake.calls().contains_key("DescribeAutoScalingGroups"));
    let error = open("others", "ec2/fleet").unwrap_err();
    assert!(
        error
            .message
            .contains("it has no subtype fleet; it has asg"),
        "{error}"
    );
}
