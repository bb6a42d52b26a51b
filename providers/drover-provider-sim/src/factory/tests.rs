use super::*;
use drover_model::{FleetName, Timestamp};

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

fn name(text: &str) -> ProviderName {
    ProviderName::parse(text).unwrap()
}

fn settings(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter();
    entries
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

#[test]
fn reads_every_setting_of_its_schema() {
    let factory = SimFactory::new(Arc::new(Still));
    let written = settings(&[
        ("seed", Value::Int(7)),
        ("bootTime", "3s".into()),
        ("bootJitter", "4s".into()),
        ("readyTime", "5s".into()),
        ("listLag", "6s".into()),
        ("stopTime", "7s".into()),
        ("capacity", Value::Int(8)),
        ("quota", Value::Int(9)),
        ("batchMax", Value::Int(10)),
        ("lossPercent", Value::Int(11)),
        ("refusedImages", Value::List(vec!["broken".into()])),
    ]);
    let known: Vec<&String> = factory.manifest.settings.fields.keys().collect();
    let given: Vec<&String> = written.as_map().unwrap().keys().collect();
    assert_eq!(known, given, "this test names every setting");
    let provider = factory.open(&name("a"), &written).unwrap();
    assert_eq!(provider.manifest().batch_max, 10);
    assert_eq!(provider.manifest().visibility, Duration::from_secs(6));
    let world = factory.world(&name("a")).unwrap();
    let world = world.lock().unwrap();
    let expected = SimSettings {
        seed: 7,
        boot: Duration::from_secs(3),
        boot_jitter: Duration::from_secs(4),
        ready: Duration::from_secs(5),
        list_lag: Duration::from_secs(6),
        stop: Duration::from_secs(7),
        capacity: Some(8),
        quota: Some(9),
        batch_max: 10,
        visibility: Duration::from_secs(6),
        properties: Some(properties_schema()),
        refused: vec![("image".to_owned(), "broken".into())],
        ..SimSettings::default()
    };
    assert_eq!(world.settings, expected);
}

#[test]
fn refuses_settings_that_its_schema_does_not_have() {
    let factory = SimFactory::new(Arc::new(Still));
    let error = factory
        .open(&name("a"), &settings(&[("capacty", Value::Int(1))]))
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert_eq!(error.message, "settings: capacty: unknown field `capacty`");
}

#[test]
fn opening_a_document_again_finds_its_instances() {
    let factory = SimFactory::new(Arc::new(Still));
    factory.open(&name("a"), &Value::empty_map()).unwrap();
    let fleet = FleetName::parse("f").unwrap();
    let world = factory.world(&name("a")).unwrap();
    world.lock().unwrap().add_foreign(
        Timestamp::UNIX_EPOCH,
        crate::Foreign::Incomplete(fleet.clone()),
    );
    factory
        .open(&name("a"), &settings(&[("capacity", Value::Int(1))]))
        .unwrap();
    factory.open(&name("b"), &Value::empty_map()).unwrap();
    let count = |name| {
        let world = factory.world(&name).unwrap();
        let mut world = world.lock().unwrap();
        let listing = world.list(Timestamp::UNIX_EPOCH, &fleet).result.unwrap();
        listing.instances.len()
    };
    assert_eq!((count(name("a")), count(name("b"))), (1, 0));
}
