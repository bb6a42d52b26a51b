//! The surroundings of a test: a double, and providers over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use drover_model::{
    Digests, Epoch, FieldClass, FleetName, GroupName, GroupUid, InstanceId, ProviderName, Template,
    TemplateParts, Timestamp, Token, Value,
};
use drover_provider::{
    Clock, DestroyRequest, Provider, ProviderFactory as _, ProvisionRequest, Slot, UpdateRequest,
};
use drover_provider_ec2::{Ec2Factory, Reach};

/// The system's clock.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Draws a text that no other run has drawn.
pub(crate) fn drawn() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let bytes = (since.as_nanos() as u64 ^ number.rotate_left(48)).to_be_bytes();
    data_encoding::BASE32_NOPAD
        .encode(&[bytes.as_slice(), &[number as u8, 0]].concat())
        .to_ascii_lowercase()
}

pub(crate) fn run_id() -> GroupUid {
    GroupUid::parse(&drawn()[..16]).unwrap()
}

/// Makes a factory for an endpoint, with credentials that are drawn.
pub(crate) fn factory(endpoint: &str) -> Ec2Factory {
    factory_with(endpoint, false)
}

/// The same, where documents may turn IMDSv1 on.
pub(crate) fn factory_with(endpoint: &str, allow_imdsv1: bool) -> Ec2Factory {
    let reach = Reach {
        allow_imdsv1,
        ..reach(endpoint, 100)
    };
    Ec2Factory::new(reach, Arc::new(SystemClock))
}

/// Makes a factory that takes so many percent of an account's limits.
pub(crate) fn factory_sharing(endpoint: &str, percent: u8) -> Ec2Factory {
    Ec2Factory::new(reach(endpoint, percent), Arc::new(SystemClock))
}

fn reach(endpoint: &str, percent: u8) -> Reach {
    let credentials = Credentials::new(drawn(), drawn(), None, None, "test");
    Reach {
        endpoint: Some(endpoint.to_owned()),
        scaling_endpoint: None,
        limit_share: percent,
        allow_imdsv1: false,
        credentials: Some(SharedCredentialsProvider::new(credentials)),
    }
}

/// Returns a value from entries.
pub(crate) fn map(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter();
    entries
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

pub(crate) fn texts(list: &[&str]) -> Value {
    Value::List(list.iter().map(|text| (*text).into()).collect())
}

pub(crate) fn settings() -> Value {
    map(&[("region", "eu-central-1".into())])
}

pub(crate) fn open_with(factory: &Ec2Factory, name: &str, settings: &Value) -> Arc<dyn Provider> {
    factory
        .open(&ProviderName::parse(name).unwrap(), settings)
        .unwrap()
}

pub(crate) fn open(factory: &Ec2Factory) -> Arc<dyn Provider> {
    open_with(factory, "aws", &settings())
}

/// Properties with which an instance runs, and more.
pub(crate) fn running_with(more: &[(&str, Value)]) -> Value {
    let mut entries = vec![
        ("imageId", "ami-0123456789abcdef0".into()),
        ("instanceType", "t3.micro".into()),
    ];
    entries.extend(more.iter().cloned());
    map(&entries)
}

pub(crate) fn fleet() -> FleetName {
    FleetName::parse("prod").unwrap()
}

pub(crate) fn web() -> GroupName {
    GroupName::parse("web").unwrap()
}

/// Returns a call for `count` instances of the group web, from number `first` on.
pub(crate) fn request(first: u64, count: u64, properties: Value) -> ProvisionRequest {
    let slot = |number| Slot {
        instance: InstanceId::new(web(), number),
        init: Vec::new(),
        env: std::collections::BTreeMap::new(),
        tags: std::collections::BTreeMap::new(),
        attachments: Vec::new(),
        seat: None,
        secrets: std::collections::BTreeMap::new(),
    };
    let slots: Vec<Slot> = (first..first + count).map(slot).collect();
    let template = Template::from(TemplateParts {
        properties: properties.clone(),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: std::collections::BTreeMap::new(),
    });
    let classes = std::collections::BTreeMap::<String, FieldClass>::new();
    let type_ = drover_model::ProviderType::parse("plugin").unwrap();
    ProvisionRequest {
        token: Token::derive(&fleet(), &run_id(), Epoch(1), &slots[0].instance, 0),
        fleet: fleet(),
        group: web(),
        epoch: Epoch(1),
        digests: Digests::of(&type_, &template, &classes),
        zone: None,
        slots,
        properties,
        secrets: drover_provider::Secrets::default(),
        urgency: drover_provider::Urgency::default(),
        asked: None,
    }
}

/// Returns the end of a call's instance.
pub(crate) fn end(
    request: &ProvisionRequest,
    slot: usize,
    handle: &drover_model::ProviderRef,
) -> DestroyRequest {
    DestroyRequest {
        fleet: request.fleet.clone(),
        group: request.group.clone(),
        epoch: request.epoch,
        instance: request.slots[slot].instance.clone(),
        provider_ref: handle.clone(),
        token: request.token.clone(),
        grace: Duration::ZERO,
        ending: drover_provider::Ending::default(),
    }
}

/// Returns the change in place of an instance to what another call would make.
pub(crate) fn live_change(
    made: &ProvisionRequest,
    handle: &drover_model::ProviderRef,
    changed: &ProvisionRequest,
) -> UpdateRequest {
    UpdateRequest {
        fleet: made.fleet.clone(),
        group: made.group.clone(),
        epoch: made.epoch,
        provider_ref: handle.clone(),
        token: made.token.clone(),
        update: changed.token.clone(),
        how: drover_model::InPlace::Live,
        digests: changed.digests.clone(),
        slot: made.slots[0].clone(),
        properties: changed.properties.clone(),
        grace: Duration::ZERO,
        secrets: drover_provider::Secrets::default(),
    }
}

/// Returns a client of the SDK's for an endpoint, for what no provider may do.
pub(crate) async fn client(endpoint: &str) -> aws_sdk_ec2::Client {
    aws_sdk_ec2::Client::new(&config(endpoint).await)
}

/// Returns a client of EC2 Auto Scaling.
pub(crate) async fn scaling_client(endpoint: &str) -> aws_sdk_autoscaling::Client {
    aws_sdk_autoscaling::Client::new(&config(endpoint).await)
}

async fn config(endpoint: &str) -> aws_config::SdkConfig {
    let credentials = Credentials::new(drawn(), drawn(), None, None, "test");
    aws_config::defaults(aws_config::BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .region(aws_config::Region::new("eu-central-1"))
        .credentials_provider(credentials)
        .endpoint_url(endpoint)
        .load()
        .await
}
