//! The provider against moto, an EC2 of somebody else's making: what goes over the wire is not only what the
//! double in this folder understands. moto keeps no client tokens, and gives interfaces away that are in use: what rests
//! on them is tested there, and here with both kept in front of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_ec2::types::Reservation;
use drover_model::{ErrorClass, ProviderPhase, Value};
use drover_provider::ProvisionRequest;
use drover_provider::conformance::{self, Outcome};

use crate::conformance::Reached;
use crate::support::{
    client, end, factory, factory_with, fleet, live_change, map, open, open_with, request,
    running_with, settings, texts,
};

/// How long the server may take to listen.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long it may live, in seconds, whatever becomes of its test.
const LIFE: &str = "600";

/// A server, ended with its test.
pub(crate) struct Moto {
    child: Child,
    pub(crate) endpoint: String,
    /// An image that it knows.
    pub(crate) image: String,
    /// Three subnets in zones of their own.
    pub(crate) subnets: Vec<(String, String)>,
    _home: tempfile::TempDir,
}

/// Returns the program, which `tests/run` installs.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("DROVER_TEST_MOTO") {
        return program.into();
    }
    // Beside the test program itself: target/debug/deps/ec2-...
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    target.join("moto-venv/bin/moto_server")
}

impl Moto {
    pub(crate) async fn start() -> Self {
        let program = program();
        assert!(
            Path::new(&program).exists(),
            "moto is needed for this test and is not at {}: tests/run installs it, or DROVER_TEST_MOTO says where moto_server is",
            program.display()
        );
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new("timeout")
            .arg(LIFE)
            .arg(&program)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", home.path())
            .env("MOTO_ENABLE_AMI_VALIDATION", "1")
            .env("MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION", "1")
            .env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "moto ended");
            assert!(started.elapsed() < PATIENCE, "moto does not listen");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut moto = Self {
            child,
            endpoint: format!("http://{address}"),
            image: String::new(),
            subnets: Vec::new(),
            _home: home,
        };
        moto.prepare().await;
        moto
    }

    async fn prepare(&mut self) {
        let client = client(&self.endpoint).await;
        let image = client.register_image().name("drover").send().await.unwrap();
        image.image_id().unwrap().clone_into(&mut self.image);
        let subnets = client.describe_subnets().send().await.unwrap();
        let subnets = subnets.subnets().iter().take(3);
        self.subnets = subnets
            .map(|subnet| {
                let zone = subnet.availability_zone().unwrap().to_owned();
                (subnet.subnet_id().unwrap().to_owned(), zone)
            })
            .collect();
        assert_eq!(self.subnets.len(), 3);
    }

    fn properties(&self, more: &[(&str, Value)]) -> Value {
        let mut all = vec![("imageId", self.image.as_str().into())];
        all.extend(more.iter().cloned());
        running_with(&all)
    }

    fn settings(&self) -> Value {
        let subnets: Vec<&str> = self.subnets.iter().map(|(id, _)| id.as_str()).collect();
        let places = map(&[("subnets", texts(&subnets))]);
        map(&[("region", "eu-central-1".into()), ("places", places)])
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // `timeout` passes it on.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// The checks that rest on what moto does not keep: it ignores client tokens and makes another instance each time,
/// and it gives an interface that is in use to a second instance.
const NOT_KEPT: [&str; 6] = [
    "place",
    "repeat",
    "repeat-secrets",
    "repeat-at-once",
    "repeat-after-end",
    "independence",
];

/// Asserts that over `endpoint`, where moto is, these checks fail and no others.
async fn fails_only(moto: &Moto, endpoint: &str, expected: &[&str]) {
    let data = map(&[("device", "/dev/sdf".into()), ("sizeGiB", Value::Int(10))]);
    let properties = moto.properties(&[("attachments", map(&[("data", data)]))]);
    let subject = Reached::new(endpoint, moto.settings(), properties);
    let report = conformance::run(&subject).await;
    for result in &report.results {
        let failed = matches!(result.outcome, Outcome::Failed { .. });
        let expected = expected.contains(&result.name);
        assert_eq!(failed, expected, "{}\n{report}", result.name);
    }
}

#[tokio::test]
async fn keeps_the_contract_over_moto_with_what_it_ignores_kept_in_front_of_it() {
    let moto = Moto::start().await;
    let endpoint = crate::proxy::before(&moto.endpoint);
    fails_only(&moto, &endpoint, &[]).await;
}

#[tokio::test]
async fn keeps_the_contract_over_moto_but_for_what_moto_does_not_keep() {
    let moto = Moto::start().await;
    fails_only(&moto, &moto.endpoint, &NOT_KEPT).await;
}

/// A batch with nearly everything that properties may say.
async fn full_batch(moto: &Moto) -> ProvisionRequest {
    let client = client(&moto.endpoint).await;
    let group = client
        .create_security_group()
        .group_name("web")
        .description("web")
        .send()
        .await
        .unwrap();
    let subnets: Vec<&str> = moto.subnets.iter().map(|(id, _)| id.as_str()).collect();
    let volume = [
        ("device", "/dev/xvda".into()),
        ("sizeGiB", Value::Int(20)),
        ("type", "gp3".into()),
    ];
    let metadata = [("hopLimit", Value::Int(2)), ("instanceTags", true.into())];
    let properties = moto.properties(&[
        ("market", "spot".into()),
        ("spotMaxPrice", "0.05".into()),
        ("subnets", texts(&subnets)),
        ("securityGroups", texts(&[group.group_id().unwrap()])),
        ("volumes", Value::List(vec![map(&volume)])),
        ("metadata", map(&metadata)),
        ("monitoring", true.into()),
        ("ebsOptimized", true.into()),
        ("cpuCredits", "standard".into()),
        ("tenancy", "default".into()),
    ]);
    let mut batch = request(1, 3, properties);
    batch.zone = Some(moto.subnets[1].1.clone());
    for slot in &mut batch.slots {
        slot.init = vec!["echo hello".to_owned()];
        slot.tags.insert("team".to_owned(), "web & co".to_owned());
    }
    batch
}

#[tokio::test]
async fn what_goes_over_the_wire_is_what_an_ec2_of_somebody_elses_understands() {
    let moto = Moto::start().await;
    let provider = open(&factory(&moto.endpoint));
    let batch = full_batch(&moto).await;
    let provisioned = provider.provision(&batch).await.unwrap();
    let made = provisioned.made;
    // It makes as few as it may.
    assert_eq!(made.len(), 1);
    assert_eq!(provisioned.shortfall.unwrap().class, ErrorClass::Partial);

    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!(listing.instances.len(), 1);
    for listed in &listing.instances {
        let owned = listed.ownership.as_ref().unwrap();
        assert_eq!(made[&owned.instance], listed.provider_ref);
        assert_eq!(owned.digests, batch.digests);
        assert_eq!(listed.phase, ProviderPhase::Running);
        assert_eq!(listed.zone, batch.zone);
        assert!(listed.address.is_some() && listed.created_at.is_some());
    }

    let client = client(&moto.endpoint).await;
    let described = client.describe_instances().send().await.unwrap();
    for instance in described
        .reservations()
        .iter()
        .flat_map(Reservation::instances)
    {
        assert_eq!(instance.subnet_id(), Some(moto.subnets[1].0.as_str()));
        let metadata = instance.metadata_options().unwrap();
        let tokens = metadata.http_tokens().unwrap().as_str();
        assert_eq!(
            (tokens, metadata.http_put_response_hop_limit()),
            ("required", Some(2))
        );
        let tags = instance.tags().iter();
        let team = tags.clone().find(|tag| tag.key() == Some("team")).unwrap();
        assert_eq!(team.value(), Some("web & co"));
        assert_eq!(instance.security_groups().len(), 1);
        let lifecycle = instance
            .instance_lifecycle()
            .map(|one| one.as_str().to_owned());
        assert_eq!(lifecycle.as_deref(), Some("spot"));
    }
    let handle = &made[&batch.slots[0].instance];
    let data = client
        .describe_instance_attribute()
        .instance_id(handle.as_str())
        .attribute(aws_sdk_ec2::types::InstanceAttributeName::UserData)
        .send()
        .await
        .unwrap();
    let data = data.user_data().and_then(|data| data.value()).unwrap();
    let script = data_encoding::BASE64.decode(data.as_bytes()).unwrap();
    assert_eq!(script, b"#!/bin/sh\nset -eu\necho hello\n");

    provider.destroy(&end(&batch, 0, handle)).await.unwrap();
    let listing = provider.list(&fleet()).await.unwrap();
    let ended = |phase: &ProviderPhase| {
        matches!(phase, ProviderPhase::Terminated | ProviderPhase::Stopping)
    };
    assert!(
        listing.instances.iter().all(|one| ended(&one.phase)),
        "{listing:?}"
    );
}

#[tokio::test]
async fn an_ec2_of_somebody_elses_refuses_what_does_not_exist_and_changes_what_may_change() {
    let moto = Moto::start().await;
    let provider = open_with(&factory_with(&moto.endpoint, true), "aws", &settings());
    let wrong = [
        ("imageId", "ami-00000000000000000"),
        ("instanceType", "t3.gigantic"),
    ];
    for (number, (field, value)) in (1..).zip(wrong) {
        let mut properties = moto.properties(&[]);
        let Value::Map(fields) = &mut properties else {
            panic!("it is a map");
        };
        fields.insert(field.to_owned(), value.into());
        let refused = provider.provision(&request(number, 1, properties)).await;
        let error = refused.unwrap_err();
        assert_eq!(error.class, ErrorClass::InvalidSpec, "{error}");
    }
    let elsewhere = moto.properties(&[("subnets", texts(&["subnet-00000000"]))]);
    let refused = provider.provision(&request(3, 1, elsewhere)).await;
    assert_eq!(refused.unwrap_err().class, ErrorClass::InvalidSpec);

    let batch = request(4, 1, moto.properties(&[]));
    let made = provider.provision(&batch).await.unwrap().made;
    let handle = made[&batch.slots[0].instance].clone();
    let optional = map(&[("tokens", "optional".into())]);
    let changed = request(4, 1, moto.properties(&[("metadata", optional)]));
    let update = live_change(&batch, &handle, &changed);
    provider.update(&update).await.unwrap();
    let listing = provider.list(&fleet()).await.unwrap();
    let owned = listing.instances[0].ownership.as_ref().unwrap();
    assert_eq!(owned.digests, changed.digests);
    let logs = provider.logs(&handle, 1).await.unwrap();
    assert!(logs.lines().count() <= 1, "{logs}");
}
