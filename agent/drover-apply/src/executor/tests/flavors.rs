//! Flavor plugins are asked once, before anything is written down, and never again.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use drover_model::{
    Attachment, CheckOutcome, CloudInit, Flavor, FlavorName, InPlace, InstanceId, IntentKind,
    PartType, PluginFlavor, ProviderRef, SecretRef, Template, UserDataPart, Value,
};
use drover_provider::{
    Allocation, AttachmentUse, ClusterMember, ClusterView, FlavorCall, FlavorInstance,
    FlavorPrepared, FlavorRequest, Flavors, Manifest, Provider as _, ProviderError,
    ProvisionRequest,
};

use super::*;
use crate::testing::update;

/// What a plugin does with its next question.
#[derive(Debug, Clone)]
enum Mood {
    Answers,
    Says(ErrorClass),
    Hangs,
    Panics,
    SetsTag(&'static str),
    /// Answers with so many KiB.
    Rambles(usize),
    /// Answers with user data.
    Renders,
    /// Attaches these, and the number of times that it was asked.
    Attaches(&'static [&'static str]),
}

/// A plugin that answers differently each time, and notes what it was asked.
#[derive(Debug)]
struct Plugin {
    mood: Mutex<Mood>,
    asked: Mutex<Vec<FlavorRequest>>,
}

impl Plugin {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            mood: Mutex::new(mood),
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> Vec<FlavorRequest> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Flavors for Plugin {
    async fn prepare(
        &self,
        request: &FlavorRequest,
        _limit: Duration,
    ) -> Result<FlavorPrepared, ProviderError> {
        let times = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(request.clone());
            asked.len()
        };
        let mood = self.mood.lock().unwrap().clone();
        let mut tags = request.spec.tags.clone();
        tags.insert("asked".to_owned(), format!("{times} ${{x}}"));
        let mut init = format!("join {} ${{TOKEN}} {times}", request.flavor.name);
        let mut attachments = Vec::new();
        match mood {
            Mood::Answers => {}
            Mood::Says(class) => return Err(ProviderError::new(class, "plugin p: no")),
            Mood::Hangs => std::future::pending().await,
            Mood::Panics => panic!("as told"),
            Mood::SetsTag(name) => {
                tags.insert(name.to_owned(), "mine".to_owned());
            }
            Mood::Renders => {
                init =
                    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"x\"\n".to_owned();
            }
            Mood::Attaches(ids) => {
                let times = times.to_string();
                let ids = ids.iter().copied().chain([times.as_str()]);
                attachments = ids.map(|id| attachment(id, "ebs")).collect();
            }
            Mood::Rambles(kib) => init = "x".repeat(kib << 10),
        }
        Ok(FlavorPrepared {
            attachments,
            init,
            tags,
            properties: None,
        })
    }

    async fn healthy(
        &self,
        _flavor: &FlavorCall,
        _instance: &FlavorInstance,
        _limit: Duration,
    ) -> CheckOutcome {
        unreachable!("an executor asks for nobody's health")
    }

    async fn drain(
        &self,
        _flavor: &FlavorCall,
        _instance: &FlavorInstance,
        _drain: IntentId,
        _limit: Duration,
    ) -> Result<(), ProviderError> {
        unreachable!("an executor only writes drains down")
    }
}

fn plugin(name: &str, properties: Value) -> Flavor {
    Flavor::Plugin(PluginFlavor {
        name: FlavorName::parse(name).unwrap(),
        properties,
        answer: None,
    })
}

fn attachment(id: &str, type_: &str) -> Attachment {
    Attachment {
        id: id.to_owned(),
        type_: type_.to_owned(),
    }
}

/// A fixture whose provider hands attachments over.
fn attaching() -> Fixture {
    let mut fixture = fixture();
    let provider = Arc::get_mut(&mut fixture.provider).unwrap();
    let manifest = Manifest {
        attachments: AttachmentUse::HandedOver,
        ..provider.0.sim.manifest().clone()
    };
    provider.0.sim = provider.0.sim.clone().with_manifest(manifest);
    fixture
}

fn line(line: &str) -> Flavor {
    Flavor::Vanilla(Vanilla {
        init: vec![line.to_owned()],
        tags: [("by".to_owned(), format!("{line} ${{instance.id}}"))].into(),
        ..Vanilla::default()
    })
}

fn flavored(flavors: Vec<Flavor>) -> Template {
    let mut template = template("v1");
    template.flavors = flavors;
    template
}

fn with_plugin() -> Template {
    let properties = [("as".to_owned(), Value::from("${instance.name}"))];
    flavored(vec![
        line("first"),
        plugin("swarm/worker", properties.into_iter().collect()),
        line("last"),
    ])
}

fn ctx(fixture: &Fixture, plugin: &Arc<Plugin>) -> ApplyContext {
    ApplyContext {
        flavors: Arc::clone(plugin) as Arc<dyn Flavors>,
        ..fixture.ctx()
    }
}

fn requests(fixture: &Fixture) -> Vec<ProvisionRequest> {
    fixture.provider.provisions.lock().unwrap().clone()
}

#[tokio::test]
async fn a_plugin_is_asked_before_the_call_and_its_part_stands_in_its_place() {
    let (fixture, plugin) = (fixture(), Plugin::new(Mood::Answers));
    let mut steps = plan(vec![create_from(&[4], 1, with_plugin())]);
    steps.next.size = 9;
    assert!(apply(&steps, &ctx(&fixture, &plugin)).await.is_complete());
    let [asked] = &plugin.asked()[..] else {
        panic!("{:?}", plugin.asked());
    };
    assert_eq!(asked.allocation, Allocation::Size(9));
    assert_eq!((asked.index.number, &asked.index.group), (4, &web()));
    assert_eq!(asked.flavor.properties.get("as"), Some(&"web-4".into()));
    let so_far = BTreeMap::from([("by".to_owned(), "first web-4".to_owned())]);
    assert_eq!(asked.spec.tags, so_far);

    let world = fixture.provider.sim.world();
    let instances = world.of_group(&web(), fixture.clock.now());
    let made = instances[0].1.blueprint.clone().unwrap();
    // Nothing in an answer is substituted.
    assert_eq!(made.init, ["first", "join swarm/worker ${TOKEN} 1", "last"]);
    assert_eq!(made.tags["asked"], "1 ${x}");
    assert_eq!(made.tags["by"], "last web-4");
    assert_eq!(
        *fixture.provider.breaches.lock().unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_repeated_call_is_made_with_the_first_answer_and_asks_nobody() {
    let (fixture, plugin) = (fixture(), Plugin::new(Mood::Answers));
    let fault = Fault::next(Op::Provision, 1, FaultKind::LostReply);
    fixture.provider.sim.world().inject(fault);
    let steps = plan(vec![create_from(&[1], 1, with_plugin())]);
    apply(&steps, &ctx(&fixture, &plugin)).await;
    assert_eq!(fixture.states(), [IntentState::Sent]);
    let intent = fixture.journal.open_intents(&web()).unwrap()[0].clone();
    let IntentKind::Create { template, .. } = &intent.kind else {
        panic!("{intent:?}");
    };
    assert!(template.plugin_flavors().all(|one| one.answer.is_some()));
    assert_eq!(template.unanswered(), with_plugin());

    // The plugin would answer something else by now, if it answered at all.
    *plugin.mood.lock().unwrap() = Mood::Hangs;
    let again = apply(&plan(vec![resend(intent.id)]), &ctx(&fixture, &plugin)).await;
    assert!(again.is_complete(), "{again:?}");
    assert_eq!(plugin.asked().len(), 1);
    let [first, second] = &requests(&fixture)[..] else {
        panic!("two calls");
    };
    assert_eq!(first, second);
    assert_eq!(fixture.alive(), ["web-1"]);
}

fn with_attachments() -> Template {
    let vanilla = |id: &str| {
        Flavor::Vanilla(Vanilla {
            attachments: vec![attachment(id, "nvme")],
            ..Vanilla::default()
        })
    };
    flavored(vec![
        vanilla("log-${instance.id}"),
        plugin("swarm/worker", Value::empty_map()),
        vanilla("last"),
        plugin("swarm/worker", Value::empty_map()),
    ])
}

#[tokio::test]
async fn what_flavors_attach_is_appended_and_a_repeated_call_attaches_the_same() {
    let mood = Mood::Attaches(&["data", "${instance.id}"]);
    let (fixture, plugin) = (attaching(), Plugin::new(mood));
    let fault = Fault::next(Op::Provision, 1, FaultKind::LostRequest);
    fixture.provider.sim.world().inject(fault);
    let steps = plan(vec![create_from(&[4], 1, with_attachments())]);
    apply(&steps, &ctx(&fixture, &plugin)).await;
    let intent = fixture.journal.open_intents(&web()).unwrap()[0].clone();
    *plugin.mood.lock().unwrap() = Mood::Attaches(&["other"]);
    let again = apply(&plan(vec![resend(intent.id)]), &ctx(&fixture, &plugin)).await;
    assert!(again.is_complete(), "{again:?}");
    let [first, second] = &requests(&fixture)[..] else {
        panic!("two calls");
    };
    assert_eq!(first, second);
    let attached = &first.slots[0].attachments;
    let ids: Vec<&str> = attached.iter().map(|one| one.id.as_str()).collect();
    // What a plugin said is escaped until the provider has filled in what it knows.
    let plugins = ["data", "$${instance.id}"];
    let wanted = [
        &["log-web-4"][..],
        &plugins,
        &["1", "last"],
        &plugins,
        &["2"],
    ]
    .concat();
    assert_eq!(ids, wanted);
}

#[tokio::test]
async fn attachments_that_nobody_would_attach_are_refused_before_anything_is_made() {
    let asked = flavored(vec![plugin("swarm/worker", Value::empty_map())]);
    let mut own = with_attachments();
    own.flavors.truncate(1);
    let mood = Mood::Attaches(&["data"]);
    let says = [
        (
            asked,
            "plugin swarm/worker: Flavor.Prepare: its Attachments begin with \"data\", and provider type simulated attaches nothing",
        ),
        (
            own,
            "attachment \"log-web-4\": only plugins of InfraKit attach",
        ),
    ];
    for (template, says) in says {
        let (fixture, plugin) = (fixture(), Plugin::new(mood.clone()));
        let steps = plan(vec![create_from(&[4], 1, template)]);
        let report = apply(&steps, &ctx(&fixture, &plugin)).await;
        let StepResult::Failed { class, message } = &results(&report)[0] else {
            panic!("{report:?}");
        };
        assert_eq!(*class, ErrorClass::InvalidSpec);
        assert!(message.starts_with(says), "{message}");
        assert_eq!(requests(&fixture), []);
        // The planner sees that the template cannot succeed.
        let state = &fixture.states()[0];
        let failed =
            matches!(state, IntentState::Failed { class, .. } if *class == ErrorClass::InvalidSpec);
        assert!(failed, "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_plugin_does_not_answer_makes_nothing_and_ends_the_plans_creates() {
    let cases = [
        (
            Mood::Says(ErrorClass::Unknown),
            ErrorClass::Unknown,
            "plugin p: no",
        ),
        (
            Mood::Says(ErrorClass::InvalidSpec),
            ErrorClass::InvalidSpec,
            "plugin p: no",
        ),
        (
            Mood::Says(ErrorClass::Quota),
            ErrorClass::Quota,
            "plugin p: no",
        ),
        (Mood::Hangs, ErrorClass::Unknown, "no answer in time"),
        (Mood::Panics, ErrorClass::Unknown, "internal error"),
        (
            Mood::SetsTag("Drover.group"),
            ErrorClass::InvalidSpec,
            "plugin swarm/worker: Flavor.Prepare: it sets the tag Drover.group",
        ),
        (
            Mood::Rambles(300),
            ErrorClass::InvalidSpec,
            "more than 256 KiB",
        ),
    ];
    for (mood, wanted, says) in cases {
        let (fixture, plugin) = (fixture(), Plugin::new(mood));
        let existing = fixture.existing(99).await;
        // More than one wave, and something that is not made.
        let mut steps: Vec<Step> = (1..=20)
            .map(|number| create_from(&[number], 1, with_plugin()))
            .collect();
        steps.push(destroy(99, &existing.0, &existing.1));
        let report = apply(&plan(steps), &ctx(&fixture, &plugin)).await;
        let results = results(&report);
        let StepResult::Failed { class, message } = &results[0] else {
            panic!("{results:?}");
        };
        assert!(
            *class == wanted && message.contains(says),
            "{class:?} {message}"
        );
        let skipped = StepResult::Skipped(Skip::AfterFailure { class: wanted });
        assert_eq!(results[19], skipped);
        assert_eq!(results[20], StepResult::Done, "the others go on");
        assert!(plugin.asked().len() <= 16, "not asked in vain");
        assert_eq!(requests(&fixture).len(), 0);
        let state = &fixture.states()[0];
        let is_failed = matches!(state, IntentState::Failed { class, .. } if *class == wanted);
        assert!(is_failed, "{state:?}");
        // What failed is written as it was wanted.
        let open = fixture.journal.open_intents(&web()).unwrap();
        let IntentKind::Create { template, .. } = &open[0].kind else {
            panic!("{open:?}");
        };
        assert_eq!(*template, with_plugin());
    }
}

#[tokio::test]
async fn a_plan_of_many_creates_is_asked_about_in_parts() {
    let (fixture, plugin) = (fixture(), Plugin::new(Mood::Answers));
    let steps = (1..=40).map(|number| create_from(&[number], 1, with_plugin()));
    let steps = plan(steps.collect());
    let ctx = ctx(&fixture, &plugin);
    let mut applying = pin!(apply(&steps, &ctx));
    let mut context = Context::from_waker(Waker::noop());
    // Dropped as soon as the first instances are made: a pass that ran out of time.
    while fixture.alive().is_empty() {
        assert!(matches!(
            applying.as_mut().poll(&mut context),
            Poll::Pending
        ));
    }
    assert_eq!(plugin.asked().len(), 16);
    assert_eq!(fixture.states().len(), 16);
}

#[tokio::test]
async fn a_template_is_asked_about_one_instance_at_a_time() {
    let (fixture, plugin) = (fixture(), Plugin::new(Mood::Answers));
    let steps = plan(vec![create_from(&[1, 2], 1, with_plugin())]);
    let report = apply(&steps, &ctx(&fixture, &plugin)).await;
    assert!(failed(ErrorClass::InvalidSpec)(&report.outcomes[0].result));
    assert_eq!(plugin.asked().len(), 0);
}

#[tokio::test]
async fn a_change_in_place_is_prepared_too() {
    let (fixture, plugin) = (fixture(), Plugin::new(Mood::Answers));
    let (handle, token) = fixture.existing(1).await;
    let mut step = update(1, &handle, &token, InPlace::Restart);
    let Action::Update(change) = &mut step.action else {
        unreachable!("an update");
    };
    change.template.flavors = with_plugin().flavors.clone();
    assert!(
        apply(&plan(vec![step]), &ctx(&fixture, &plugin))
            .await
            .is_complete()
    );
    let open = fixture.journal.open_intents(&web()).unwrap();
    let IntentKind::Update(change) = &open[0].kind else {
        panic!("{open:?}");
    };
    let mut flavors = change.template.plugin_flavors();
    let answer = flavors.next().unwrap().answer.clone().unwrap();
    assert_eq!(answer.init, "join swarm/worker ${TOKEN} 1");
}

#[tokio::test]
async fn beside_cloud_init_a_plugins_script_is_a_part_and_counts() {
    let part = UserDataPart {
        content_type: PartType::CloudConfig,
        content: "#cloud-config\n".to_owned(),
        merge_how: None,
    };
    let template = flavored(vec![
        Flavor::CloudInit(CloudInit { parts: vec![part] }),
        plugin("p", Value::empty_map()),
    ]);
    let (fixture, plugin) = (fixture(), Plugin::new(Mood::Answers));
    let steps = plan(vec![create_from(&[1], 1, template.clone())]);
    assert!(apply(&steps, &ctx(&fixture, &plugin)).await.is_complete());
    let document = requests(&fixture)[0].slots[0].init.join("");
    assert!(
        document.contains("#!/bin/sh\nset -eu\njoin p $${TOKEN} 1\n"),
        "{document}"
    );

    *plugin.mood.lock().unwrap() = Mood::Rambles(16);
    let steps = plan(vec![create_from(&[2], 1, template)]);
    let report = apply(&steps, &ctx(&fixture, &plugin)).await;
    assert!(failed(ErrorClass::InvalidSpec)(&report.outcomes[0].result));
}

#[tokio::test]
async fn user_data_of_a_plugin_is_joined_with_nothing() {
    for (flavors, made) in [
        (vec![plugin("p", Value::empty_map())], 1),
        (vec![plugin("p", Value::empty_map()), line("a")], 0),
    ] {
        let (fixture, plugin) = (fixture(), Plugin::new(Mood::Renders));
        let steps = plan(vec![create_from(&[1], 1, flavored(flavors))]);
        apply(&steps, &ctx(&fixture, &plugin)).await;
        assert_eq!(fixture.alive().len(), made);
    }
}

#[tokio::test]
async fn nobody_is_asked_while_the_brake_is_on_or_about_what_is_there() {
    let (fixture, plugin) = (fixture(), Plugin::new(Mood::Answers));
    let steps = plan(vec![create_from(&[1], 1, with_plugin())]);
    fixture.frozen.store(true, Ordering::SeqCst);
    apply(&steps, &ctx(&fixture, &plugin)).await;
    assert_eq!(plugin.asked().len(), 0);
    fixture.frozen.store(false, Ordering::SeqCst);
    apply(&steps, &ctx(&fixture, &plugin)).await;
    apply(&steps, &ctx(&fixture, &plugin)).await;
    assert_eq!(plugin.asked().len(), 1);
}

#[tokio::test]
async fn a_plugin_is_told_whom_to_join_and_the_names_of_secrets_and_never_their_values() {
    let (fixture, plugin) = (fixture(), Plugin::new(Mood::Answers));
    let member = |number: u64| ClusterMember {
        instance: InstanceId::new(web(), number),
        provider_ref: ProviderRef::parse(&format!("i-{number}")).unwrap(),
        member: None,
        address: Some(format!("10.0.0.{number}")),
        running: number != 3,
    };
    let view = ClusterView::new(
        vec![member(3), member(1), member(2)],
        Some(member(2).instance),
    );
    let reference = SecretRef::Env("TOKEN".to_owned());
    let vanilla = Flavor::Vanilla(Vanilla {
        secrets: [("JOIN".to_owned(), reference)].into(),
        ..Vanilla::default()
    });
    let mut template = with_plugin();
    template.flavors.push(vanilla);
    let ctx = ApplyContext {
        cluster: Arc::new(view),
        ..ctx(&fixture, &plugin)
    };
    apply(&plan(vec![create_from(&[4], 1, template)]), &ctx).await;
    let asked = plugin.asked()[0].cluster.clone();
    let names: Vec<u64> = asked
        .members
        .iter()
        .map(|one| one.instance.number())
        .collect();
    assert_eq!(names, [1, 2, 3]);
    // Who leads is asked first, and who does not run is not asked.
    assert_eq!(asked.join.addresses, ["10.0.0.2", "10.0.0.1"]);
    assert_eq!(asked.join.secrets, ["JOIN".to_owned()].into());
}
