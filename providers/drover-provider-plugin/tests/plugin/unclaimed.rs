//! Plugins that answer what they do not announce.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::ProviderName;
use drover_provider::conformance::Outcome;
use drover_provider_plugin::{
    Answered, Directory, Place, PluginFactory, Served, ServedSocket, Service,
};
use serde_json::{Value as Json, json};

use crate::serving::WallClock;
use crate::support::values;

/// What a plugin makes of methods that it does not announce.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// There is no such method.
    Refuses,
    /// A health is unknown, and the rest is refused.
    Unknown,
    /// It does as though it had done it.
    Pretends,
    /// It passes what it does not check.
    Passes,
    /// It answers with nothing that can be read.
    Garbles,
}

#[derive(Debug)]
struct Plugin {
    manner: Manner,
    announces: Vec<&'static str>,
}

#[async_trait]
impl Service for Plugin {
    fn name(&self) -> &'static str {
        "Provider"
    }

    fn versions(&self) -> [Option<&'static str>; 3] {
        [None, None, Some("1")]
    }

    async fn call(&self, method: &str, _params: &Json) -> Option<Answered> {
        let is_judgement = matches!(method, "Check" | "Health");
        match (method, self.manner) {
            ("Describe", _) => Some(Ok(json!({"methods": self.announces}).to_string())),
            (_, Manner::Unknown) if is_judgement => {
                let unknown = json!({"outcome": "unknown", "why": "there are none"});
                Some(Ok(unknown.to_string()))
            }
            (_, Manner::Passes) if is_judgement => {
                Some(Ok(json!({"outcome": "passing"}).to_string()))
            }
            ("Logs", Manner::Garbles) => Some(Ok("{".to_owned())),
            ("Conformance" | "Logs", Manner::Pretends) => Some(Ok(json!({}).to_string())),
            (
                _,
                Manner::Refuses
                | Manner::Unknown
                | Manner::Pretends
                | Manner::Passes
                | Manner::Garbles,
            ) => None,
        }
    }
}

async fn outcome(manner: Manner, announces: Vec<&'static str>) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let socket = ServedSocket::bind(&folder.path().join("odd")).unwrap();
    let served = Served::new(vec![Box::new(Plugin { manner, announces })]);
    tokio::spawn(async move { served.serve(&socket).await });
    let place = Place::Named(Directory::new(folder.path()));
    let factory = PluginFactory::new(place, folder.path().join("data"), Arc::new(WallClock));
    let name = ProviderName::parse("local").unwrap();
    let settings = values(&[("plugin", "odd")]);
    let limit = Duration::from_secs(20);
    let result = factory.check_unclaimed(&name, &settings, limit).await;
    result.unwrap().outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_announced_is_refused_or_seen_to_be_answered() {
    for manner in [Manner::Refuses, Manner::Unknown] {
        assert_eq!(outcome(manner, vec![]).await, Outcome::Passed, "{manner:?}");
    }
    let cases = [
        (
            Manner::Pretends,
            vec![],
            "Provider.Logs is answered with {}",
        ),
        // Whatever it announces: there is no such method.
        (
            Manner::Pretends,
            vec!["logs"],
            "Provider.Conformance is answered with {}",
        ),
        (
            Manner::Passes,
            vec![],
            "Provider.Check is answered with {\"outcome\":\"passing\"}",
        ),
        (
            Manner::Garbles,
            vec![],
            "plugin odd: Provider.Logs: the answer is not JSON",
        ),
    ];
    for (manner, announces, wanted) in cases {
        let outcome = outcome(manner, announces).await;
        let Outcome::Failed { why } = &outcome else {
            panic!("{manner:?}: {outcome:?}");
        };
        assert!(why.starts_with(wanted), "{manner:?}: {why}");
    }
    // What is announced is the suite's to try.
    let announced = vec!["check", "health"];
    assert_eq!(outcome(Manner::Passes, announced).await, Outcome::Passed);
}
