//! Adoption over `Provider/1`: what others made, page after page, and whose it becomes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use drover_model::{
    Completeness, Digests, Epoch, ErrorClass, ExitReport, FleetName, GroupName, GroupUid,
    InstanceId, MemberId, Owned, ProviderName, ProviderPhase, ProviderRef, SeatId, Stranger,
    Survey, Template, TemplateParts, Timestamp, Token, Value,
};
use drover_provider::{
    AdoptRequest, Clock, Forward, Forwarding, Manifest, OptionalMethod, Provider, ProviderError,
    ProviderFactory, Refusing,
};
use drover_provider_plugin::{
    Answered, Directory, Place, PluginFactory, ProviderService, Served, ServedSocket, Service,
};
use drover_provider_sim::SimFactory;
use serde_json::{Value as Json, json};

use crate::support::values;

#[derive(Debug)]
struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A provider with two instances that others made, and what it was asked to adopt.
#[derive(Debug)]
struct Yard {
    inner: Refusing,
    adopted: Mutex<Vec<AdoptRequest>>,
}

impl Yard {
    fn new() -> Arc<Forward<Self>> {
        let factory = SimFactory::new(Arc::new(WallClock));
        Arc::new(Forward(Self {
            inner: Refusing(factory.manifest().clone()),
            adopted: Mutex::default(),
        }))
    }
}

#[derive(Debug)]
struct YardFactory(Arc<Forward<Yard>>);

impl ProviderFactory for YardFactory {
    fn manifest(&self) -> &Manifest {
        Provider::manifest(&*self.0)
    }

    fn open(&self, _: &ProviderName, _: &Value) -> Result<Arc<dyn Provider>, ProviderError> {
        Ok(Arc::clone(&self.0) as Arc<dyn Provider>)
    }
}

fn strangers(tags: &BTreeMap<String, String>) -> Vec<Stranger> {
    let exit = ExitReport {
        code: Some(3),
        signal: None,
        message: "it ended".to_owned(),
    };
    let plain = Stranger {
        provider_ref: ProviderRef::parse("i-1").unwrap(),
        phase: ProviderPhase::Running,
        address: Some("10.0.0.1".to_owned()),
        zone: Some("a".to_owned()),
        created_at: Some("2026-01-05T03:00:00Z".parse().unwrap()),
        tags: tags.clone(),
        member: Some("m1".to_owned()),
        claimed_by: None,
        unheard: None,
    };
    let claimed = Stranger {
        provider_ref: ProviderRef::parse("i-2").unwrap(),
        phase: ProviderPhase::Exited(exit),
        address: None,
        zone: None,
        created_at: None,
        member: None,
        claimed_by: Some("the neighbour".to_owned()),
        ..plain.clone()
    };
    vec![plain, claimed]
}

fn owned(tags: &BTreeMap<String, String>) -> Vec<Owned> {
    let mut stranger = strangers(tags).remove(0);
    stranger.provider_ref = ProviderRef::parse("i-3").unwrap();
    vec![Owned {
        stranger,
        fleet: FleetName::parse("theirs").unwrap(),
        group: GroupName::parse("db").unwrap(),
    }]
}

#[async_trait]
impl Forwarding for Yard {
    fn inner(&self) -> &dyn Provider {
        &self.inner
    }

    fn offers(&self) -> BTreeSet<OptionalMethod> {
        [OptionalMethod::Survey, OptionalMethod::Adopt].into()
    }

    async fn survey(&self, tags: &BTreeMap<String, String>) -> Result<Survey, ProviderError> {
        if tags.contains_key("none") {
            return Err(ProviderError::new(ErrorClass::Auth, "not yours to see"));
        }
        Ok(Survey {
            completeness: Completeness::Partial {
                why: "one zone is silent".to_owned(),
            },
            as_of: Timestamp::now(),
            strangers: strangers(tags),
            owned: owned(tags),
        })
    }

    async fn adopt(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        if request.provider_ref.as_str() == "i-2" {
            let message = "the neighbour still acts on it";
            return Err(ProviderError::new(ErrorClass::InvalidSpec, message));
        }
        self.adopted.lock().unwrap().push(request.clone());
        Ok(())
    }
}

/// Serves on the socket `yard` of a folder until the test ends, and opens a scope over it.
fn open(folder: &Path, service: Box<dyn Service>) -> Arc<dyn Provider> {
    let socket = ServedSocket::bind(&folder.join("yard")).unwrap();
    let served = Served::new(vec![service]);
    tokio::spawn(async move { served.serve(&socket).await });
    let place = Place::Named(Directory::new(folder));
    let factory = PluginFactory::new(place, folder.join("data"), Arc::new(WallClock));
    let name = ProviderName::parse("local").unwrap();
    factory.open(&name, &values(&[("plugin", "yard")])).unwrap()
}

fn asked() -> BTreeMap<String, String> {
    [("app".to_owned(), "web".to_owned())].into()
}

fn adoption(handle: &str) -> AdoptRequest {
    let fleet = FleetName::parse("prod").unwrap();
    let group = GroupName::parse("web").unwrap();
    let instance = InstanceId::new(group.clone(), 7);
    let life = GroupUid::parse("0123456789abcdef").unwrap();
    let template = Template::from(TemplateParts {
        properties: Value::empty_map(),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    });
    AdoptRequest {
        token: Token::derive(&fleet, &life, Epoch(3), &instance, 0),
        fleet,
        group,
        epoch: Epoch(3),
        provider_ref: ProviderRef::parse(handle).unwrap(),
        instance,
        digests: Digests::of(&"plugin".parse().unwrap(), &template, &BTreeMap::new()),
        seat: Some(SeatId {
            life,
            member: MemberId::parse("m1").unwrap(),
        }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survey_and_an_adoption_come_through_whole() {
    let folder = tempfile::tempdir().unwrap();
    let yard = Yard::new();
    let service = ProviderService::new(Arc::new(YardFactory(Arc::clone(&yard))));
    let provider = open(folder.path(), Box::new(service));
    let survey = provider.survey(&asked()).await.unwrap();
    let why = "one zone is silent".to_owned();
    assert_eq!(survey.completeness, Completeness::Partial { why });
    assert_eq!(survey.strangers, strangers(&asked()));
    assert_eq!(survey.owned, owned(&asked()));

    let request = adoption("i-1");
    provider.adopt(&request).await.unwrap();
    assert_eq!(*yard.adopted.lock().unwrap(), [request]);

    let refused = provider.adopt(&adoption("i-2")).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::InvalidSpec);
    assert!(refused.message.contains("still acts on it"), "{refused}");
    let none = [("none".to_owned(), String::new())].into();
    let refused = provider.survey(&none).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Auth);
}

/// A plugin with these answers to surveys, one after the other, and these optional methods.
#[derive(Debug)]
struct Script {
    methods: &'static [&'static str],
    answers: Mutex<Vec<Json>>,
    calls: Arc<Mutex<Vec<Json>>>,
}

#[async_trait]
impl Service for Script {
    fn name(&self) -> &'static str {
        "Provider"
    }

    fn versions(&self) -> [Option<&'static str>; 3] {
        [None, None, Some("1")]
    }

    async fn call(&self, method: &str, params: &Json) -> Option<Answered> {
        if method == "Describe" {
            return Some(Ok(json!({"methods": self.methods}).to_string()));
        }
        if !matches!(method, "Survey" | "Adopt") {
            return None;
        }
        self.calls.lock().unwrap().push(params.clone());
        Some(Ok(self.answers.lock().unwrap().remove(0).to_string()))
    }
}

type Calls = Arc<Mutex<Vec<Json>>>;

fn scripted(
    folder: &Path,
    methods: &'static [&'static str],
    answers: Vec<Json>,
) -> (Arc<dyn Provider>, Calls) {
    let calls = Calls::default();
    let script = Script {
        methods,
        answers: Mutex::new(answers),
        calls: Arc::clone(&calls),
    };
    (open(folder, Box::new(script)), calls)
}

fn page(handles: &[&str], next: Option<&str>) -> Json {
    let shown = |handle: &&str| json!({"ref": handle, "phase": "running", "tags": {"app": "web", "more": "x"}});
    let strangers: Vec<Json> = handles.iter().map(shown).collect();
    json!({"complete": true, "strangers": strangers, "next": next})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survey_has_pages_and_one_that_is_partial_makes_the_whole_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut second = page(&["i-3"], None);
    second["complete"] = false.into();
    let pages = vec![page(&["i-1", "i-2"], Some("2")), second];
    let (provider, calls) = scripted(folder.path(), &["survey"], pages);
    let survey = provider.survey(&asked()).await.unwrap();
    let handles: Vec<&str> = survey
        .strangers
        .iter()
        .map(|one| one.provider_ref.as_str())
        .collect();
    assert_eq!(handles, ["i-1", "i-2", "i-3"]);
    let why = "the plugin does not say why".to_owned();
    assert_eq!(survey.completeness, Completeness::Partial { why });
    let calls = calls.lock().unwrap();
    let from: Vec<&Json> = calls.iter().map(|params| &params["from"]).collect();
    assert_eq!(from, [&Json::Null, &json!("2")]);
    assert_eq!(calls[0]["tags"], json!({"app": "web"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survey_that_cannot_be_believed_is_an_error() {
    let cases = [
        (
            json!({"complete": true, "strangers": [{"ref": "i-1", "phase": "running", "tags": {"app": "db"}}]}),
            "i-1 lacks the tag app=web",
        ),
        (
            json!({"complete": true, "strangers": [], "owned": [{"ref": "i-1", "phase": "running", "owner": {"fleet": "f", "group": "g"}}]}),
            "`owned`: i-1 lacks the tag app=web",
        ),
        (
            json!({"complete": true, "strangers": [], "owned": [{"ref": "i-1", "phase": "running", "tags": {"app": "web"}}]}),
            "owner",
        ),
        (
            json!({"complete": true, "strangers": [{"ref": "i-1", "phase": "running"}]}),
            "i-1 lacks the tag app=web",
        ),
        (
            json!({"complete": true, "strangers": [{"ref": "i-1", "phase": "asleep", "tags": {"app": "web"}}]}),
            "`phase`: \"asleep\" is none",
        ),
        (
            json!({"complete": true, "strangers": [{"ref": "i-1", "phase": "running", "tags": {"app": "web"}, "createdAt": "noon"}]}),
            "`createdAt`",
        ),
        (json!({"complete": true}), "missing field `strangers`"),
    ];
    for (answer, says) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (provider, _) = scripted(folder.path(), &["survey"], vec![answer.clone()]);
        let error = provider.survey(&asked()).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Unknown, "{answer}: {error}");
        assert!(error.message.contains(says), "{answer}: {error}");
        assert!(error.message.contains("Provider.Survey"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = vec![page(&["i-1"], Some("2")), page(&["i-2"], Some("2"))];
    let (provider, _) = scripted(folder.path(), &["survey"], pages);
    let error = provider.survey(&asked()).await.unwrap_err();
    assert!(error.message.contains("is the page itself"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_without_end_are_not_read_beyond_what_one_answer_may_take() {
    let folder = tempfile::tempdir().unwrap();
    let pages = (1..20).map(|number| {
        let mut page = page(&[], Some(&number.to_string()));
        // A hundred megabytes of memory, in one of text.
        page["more"] = vec![json!([]); 400_000].into();
        page
    });
    let (provider, calls) = scripted(folder.path(), &["survey"], pages.collect());
    let error = provider.survey(&asked()).await.unwrap_err();
    let says = "plugin yard: Provider.Survey: the answer cannot be read: all pages together: its values take more than 256 MiB of memory";
    assert_eq!(
        (error.class, error.message.as_str()),
        (ErrorClass::Unknown, says)
    );
    assert_eq!(calls.lock().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_without_adoption_is_not_asked_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (provider, calls) = scripted(folder.path(), &["logs"], Vec::new());
    let survey = provider.survey(&asked()).await.unwrap_err();
    let adopt = provider.adopt(&adoption("i-1")).await.unwrap_err();
    for (error, says) in [
        (
            survey,
            "plugin yard: it says nothing of instances that others made",
        ),
        (
            adopt,
            "plugin yard: it puts no tags on instances that others made",
        ),
    ] {
        assert_eq!(error.class, ErrorClass::InvalidSpec);
        assert_eq!(error.message, says);
    }
    assert!(calls.lock().unwrap().is_empty());
}
