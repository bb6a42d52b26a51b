use drover_model::{ErrorClass, Timestamp};

use super::*;

#[derive(Debug)]
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

fn factory(endpoint: &str, granted: &[&str], data: &Path) -> DockerFactory {
    let grants = Grants {
        endpoints: granted.iter().map(|text| (*text).to_owned()).collect(),
        ..Grants::default()
    };
    DockerFactory::new(
        endpoint.to_owned(),
        grants,
        data.to_owned(),
        Arc::new(NoClock),
    )
}

fn open(factory: &DockerFactory, settings: &[(&str, &str)]) -> Result<(), String> {
    let settings = settings.iter();
    let settings = settings.map(|(name, text)| ((*name).to_owned(), Value::from(*text)));
    let name = ProviderName::parse("local").unwrap();
    match factory.open(&name, &settings.collect()) {
        Ok(_) => Ok(()),
        Err(error) => {
            assert_eq!(error.class, ErrorClass::InvalidSpec);
            Err(error.message)
        }
    }
}

#[test]
fn a_document_uses_the_default_engine_or_one_that_the_agents_file_names() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("docker");
    let other = "unix:///run/podman/podman.sock";
    let factory_ = factory(STANDARD_ENDPOINT, &[other], &data);
    assert_eq!(open(&factory_, &[]), Ok(()));
    assert_eq!(open(&factory_, &[("endpoint", STANDARD_ENDPOINT)]), Ok(()));
    assert_eq!(
        open(&factory_, &[("endpoint", other), ("pullTimeout", "1m")]),
        Ok(())
    );
    let refused = open(&factory_, &[("endpoint", "unix:///run/user/0/docker.sock")]);
    assert!(
        refused
            .unwrap_err()
            .contains("not among `docker.endpoints`")
    );
    let misspelt = open(&factory_, &[("endpiont", other)]);
    assert!(misspelt.unwrap_err().contains("unknown field `endpiont`"));
    assert!(!data.exists(), "opening makes nothing");
}

#[test]
fn an_engine_that_is_reached_in_another_way_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for endpoint in [
        "tcp://127.0.0.1:2375",
        "ssh://machine",
        "unix://engine.sock",
        "/run/engine.sock",
    ] {
        let refused = open(&factory(endpoint, &[], folder.path()), &[]).unwrap_err();
        assert!(refused.contains("not supported"), "{refused}");
    }
}
