//! Flavor plugins in the whole pass: what they answer is used once, recorded in part, and nowhere else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use drover_loop::{Replayed, replay};
use drover_model::{CheckOutcome, GroupPhase, IntentId};
use drover_provider::{
    Clock as _, FlavorCall, FlavorInstance, FlavorPrepared, FlavorRequest, Flavors, ProviderError,
};
use drover_provider_sim::{Fault, FaultKind, Op};

use crate::harness::{World, group};

/// Draws a token for each instance, and finds every instance healthy that has its tag.
#[derive(Debug, Default)]
struct Greeter {
    drawn: Mutex<u32>,
    told: Mutex<Vec<BTreeMap<String, String>>>,
    drained: Mutex<Vec<String>>,
}

#[async_trait]
impl Flavors for Greeter {
    async fn prepare(
        &self,
        request: &FlavorRequest,
        _limit: Duration,
    ) -> Result<FlavorPrepared, ProviderError> {
        let mut drawn = self.drawn.lock().unwrap();
        *drawn += 1;
        let mut tags = request.spec.tags.clone();
        tags.insert("joined".to_owned(), format!("as {drawn}"));
        Ok(FlavorPrepared {
            attachments: Vec::new(),
            init: format!("join --token hush-hush-{drawn}"),
            tags,
            properties: None,
        })
    }

    async fn healthy(
        &self,
        _flavor: &FlavorCall,
        instance: &FlavorInstance,
        _limit: Duration,
    ) -> CheckOutcome {
        self.told.lock().unwrap().push(instance.tags.clone());
        if instance.tags.contains_key("joined") {
            return CheckOutcome::Passing;
        }
        let why = "not one of mine".to_owned();
        CheckOutcome::Unknown { why }
    }

    async fn drain(
        &self,
        _flavor: &FlavorCall,
        instance: &FlavorInstance,
        _drain: IntentId,
        _limit: Duration,
    ) -> Result<(), ProviderError> {
        let name = instance.tags["drover.instance"].clone();
        self.drained.lock().unwrap().push(name);
        Ok(())
    }
}

/// A group of instances that the greeter prepares.
fn flavored(image: &str) -> String {
    let plain = format!("template: {{properties: {{image: {image}}}");
    let text = group("web", 3, image);
    assert!(text.contains(&plain), "{text}");
    let flavors = format!("{plain}, flavors: [{{plugin: {{name: greeter}}}}]");
    text.replace(&plain, &flavors)
}

fn world() -> (World, Arc<Greeter>) {
    let greeter = Arc::new(Greeter::default());
    let mut world = World::with_groups(&[("web", &flavored("a"))]);
    world.flavors = Arc::clone(&greeter) as Arc<dyn Flavors>;
    (world, greeter)
}

/// The init of the instances that there are.
fn inits(world: &World) -> Vec<String> {
    let now = world.clock.now();
    world.sim(|sim| {
        let blueprints = sim.instances(now).filter_map(|one| one.blueprint.as_ref());
        let mut inits: Vec<String> = blueprints.map(|made| made.init.join("")).collect();
        inits.sort();
        inits
    })
}

/// Asserts that the latest plan that was published follows from its inputs.
fn assert_reproduced(world: &World) {
    let text = |path: &str| {
        let bytes = world.branch.file(path)?;
        Some(String::from_utf8(bytes).unwrap())
    };
    let Some(inputs) = text("inputs/web.json") else {
        return;
    };
    let replayed = replay(&inputs, text("groups/web.yaml").as_deref()).unwrap();
    assert!(
        matches!(replayed, Replayed::Reproduced { .. }),
        "{replayed:?}"
    );
}

/// Lets real time pass, in which health is asked for.
async fn until_converged(world: &mut World) {
    until_updated(world, "web-").await;
}

/// The same, until there is an instance whose name begins so.
async fn until_updated(world: &mut World, name: &str) {
    for _ in 0..200 {
        world.pass().await;
        assert_reproduced(world);
        let recorded = world.status("web").recorded.clone();
        let mut instances = recorded.instances.keys();
        let is_there = instances.any(|id| id.to_string().starts_with(name));
        if recorded.phase == GroupPhase::Converged && is_there {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        world.clock.advance(Duration::from_secs(1));
    }
    panic!("{:?}", world.report("web"));
}

#[tokio::test]
async fn each_instance_is_prepared_once_whatever_is_lost_and_keeps_its_tags() {
    let (mut world, greeter) = world();
    until_converged(&mut world).await;
    let tokens: Vec<String> = (1..=3)
        .map(|n| format!("join --token hush-hush-{n}"))
        .collect();
    assert_eq!(inits(&world), tokens);
    assert_eq!(*greeter.drawn.lock().unwrap(), 3);
    let recorded = world.status("web").recorded.clone();
    let mut tags: Vec<&String> = recorded
        .instances
        .values()
        .map(|one| &one.tags["joined"])
        .collect();
    tags.sort();
    assert_eq!(tags, ["as 1", "as 2", "as 3"]);
    let told = greeter.told.lock().unwrap().clone();
    assert!(
        told.iter().all(|tags| tags.contains_key("joined")),
        "{told:?}"
    );
    assert!(told.iter().any(|tags| tags["drover.instance"] == "web-1"));

    // Nothing of it that lets anybody in is published.
    for commit in world.branch.log() {
        for content in commit
            .files
            .iter()
            .filter_map(|(_, content)| content.as_ref())
        {
            let content = String::from_utf8_lossy(content);
            assert!(!content.contains("hush-hush"), "{content}");
        }
    }

    // What leaves is drained by the plugin of its own template, and a lost reply draws nothing anew.
    let lost = Fault::next(Op::Provision, 1, FaultKind::LostReply);
    world.sim(|mut sim| sim.inject(lost));
    let text = flavored("b");
    world.push(&[("web", &text)]);
    world.pass().await;
    world.restart();
    until_updated(&mut world, "web-6").await;
    let mut drained = greeter.drained.lock().unwrap().clone();
    drained.sort();
    drained.dedup();
    assert_eq!(drained, ["web-1", "web-2", "web-3"]);

    // An agent that has lost its data finds the tags on the branch.
    greeter.told.lock().unwrap().clear();
    world.restart_without_data();
    until_converged(&mut world).await;
    let told = greeter.told.lock().unwrap().clone();
    assert!(
        told.iter().all(|tags| tags.contains_key("joined")),
        "{told:?}"
    );
    assert_eq!(*greeter.drawn.lock().unwrap(), 6);
}
