//! Provider documents that are changed under live instances, so that they lead to another place.

use std::sync::Arc;

use drover_model::{GroupName, Hold, ProviderName, ProviderType, Value};
use drover_provider::{Clock as _, Manifest, Provider, ProviderError, ProviderFactory};
use drover_provider_sim::SimFactory;

use crate::harness::{World, group};

/// A provider type `regional`: simulated, and its `seed` is the region that its instances are in.
#[derive(Debug)]
struct Regional {
    manifest: Manifest,
    inner: Arc<SimFactory>,
}

impl ProviderFactory for Regional {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn open(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        self.inner.open(&region(name, settings), settings)
    }
}

/// The region to which every document leads, whatever it is called: one account.
const SHARED: i64 = 100;

/// Returns the name of the simulated world behind a document.
fn region(name: &ProviderName, settings: &Value) -> ProviderName {
    let region = match settings.get("seed") {
        Some(Value::Int(region)) => *region,
        _ => 0,
    };
    if region == SHARED {
        return ProviderName::parse("shared").unwrap();
    }
    ProviderName::parse(&format!("{name}-{region}")).unwrap()
}

fn provider(settings: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {{name: local}}\nspec: {{type: regional, {settings}}}\n"
    )
}

/// A world without documents.
fn regional() -> World {
    let mut world = World::new(&[]);
    let mut manifest = world.factory.manifest().clone();
    manifest.type_ = ProviderType::parse("regional").unwrap();
    let seed = manifest.settings.fields.get_mut("seed").unwrap();
    seed.class = drover_model::FieldClass::Replace;
    world.more_factories.push(Arc::new(Regional {
        manifest,
        inner: Arc::clone(&world.factory),
    }));
    world
}

/// A world of one group, with three instances in region 1.
async fn world() -> World {
    let mut world = regional();
    push(&world, "seed: 1, bootTime: 2s", 3);
    world.pass().await;
    world.converge().await;
    assert_eq!(there(&world, 1), 3);
    world
}

fn push(world: &World, settings: &str, size: u32) {
    let (provider, web) = (provider(settings), group("web", size, "a"));
    world
        .repository
        .commit(&[("p.yaml", &provider), ("web.yaml", &web)]);
}

fn there(world: &World, region: i64) -> usize {
    let name = ProviderName::parse(&format!("local-{region}")).unwrap();
    let web = GroupName::parse("web").unwrap();
    let (found, now) = (world.factory.world(&name), world.clock.now());
    found.map_or(0, |found| found.lock().unwrap().of_group(&web, now).len())
}

fn holds(world: &World) -> Vec<Hold> {
    let held = world.report("web").holds.clone();
    held.into_iter().map(|held| held.hold).collect()
}

#[tokio::test]
async fn another_place_is_not_in_force_while_instances_live() {
    let mut world = world().await;
    push(&world, "bootTime: 2s, seed: 2", 4);
    world.passes(20).await;
    let local = ProviderName::parse("local").unwrap();
    let held = Hold::ProviderChanged {
        from: local.clone(),
        to: local,
        setting: Some("seed".to_owned()),
    };
    assert_eq!(holds(&world), std::slice::from_ref(&held));
    assert!(
        held.to_string().contains("`seed` of provider local"),
        "{held}"
    );
    // They are looked after where they are, and nothing is made elsewhere.
    assert_eq!((there(&world, 1), there(&world, 2)), (4, 0));

    // Another agent with the same data finds it so, too.
    world.start();
    world.passes(3).await;
    assert_eq!(holds(&world), [held]);
    assert_eq!((there(&world, 1), there(&world, 2)), (4, 0));

    push(&world, "seed: 1, bootTime: 2s", 4);
    world.pass().await;
    world.converge().await;
    assert_eq!(holds(&world), []);
}

#[tokio::test]
async fn an_empty_group_moves() {
    let mut world = world().await;
    push(&world, "seed: 2", 0);
    world.pass().await;
    world.converge().await;
    assert_eq!((there(&world, 1), there(&world, 2)), (0, 0));
    push(&world, "seed: 2", 2);
    world.pass().await;
    world.converge().await;
    assert_eq!(holds(&world), []);
    assert_eq!((there(&world, 1), there(&world, 2)), (0, 2));
}

#[tokio::test]
async fn what_leads_to_the_same_place_comes_into_force() {
    let mut world = world().await;
    push(&world, "bootTime: 3s, seed: 1", 5);
    world.pass().await;
    world.converge().await;
    assert_eq!(holds(&world), []);
    assert_eq!(there(&world, 1), 5);
    let recorded = world.status("web").recorded.provider.clone().unwrap();
    assert_eq!(recorded.settings.get("bootTime"), Some(&"3s".into()));
}

/// Commits two documents for one place, `web` on one of them and two of `db` on `two`.
fn push_shared(world: &World, web_on: &str, web: u32, db: u32) {
    let on = |provider: &str, text: String| {
        text.replace("provider: local", &format!("provider: {provider}"))
    };
    let document = provider(&format!("seed: {SHARED}, bootTime: 2s"));
    let documents = ["one", "two"].map(|name| document.replace("local", name));
    let web = on(web_on, group("web", web, "a"));
    let db = on("two", group("db", db, "a"));
    world.repository.commit(&[
        ("one.yaml", &documents[0]),
        ("two.yaml", &documents[1]),
        ("web.yaml", &web),
        ("db.yaml", &db),
    ]);
}

/// The instances of `web` and of `db` in the place that documents share.
fn shared(world: &World) -> [Vec<String>; 2] {
    let place = world.factory.world(&ProviderName::parse("shared").unwrap());
    let (place, now) = (place.expect("it was opened"), world.clock.now());
    ["web", "db"].map(|group| {
        let group = GroupName::parse(group).unwrap();
        let there = place.lock().unwrap();
        let there = there.of_group(&group, now).into_iter();
        there.map(|(_, one)| one.provider_ref.to_string()).collect()
    })
}

#[tokio::test]
async fn groups_of_two_documents_for_one_place_leave_each_others_instances_alone() {
    let mut world = regional();
    push_shared(&world, "one", 3, 2);
    world.pass().await;
    world.converge().await;
    let before = shared(&world);
    assert_eq!(before.each_ref().map(Vec::len), [3, 2]);
    for group in ["web", "db"] {
        assert_eq!(world.holds(group), [""; 0], "each lists the other's too");
    }
    // Its instances are there already, and it moves all the same only once it has none.
    push_shared(&world, "two", 3, 2);
    for restarts in [false, true] {
        if restarts {
            world.start();
        }
        for _ in 0..3 {
            world.passes(20).await;
            assert_eq!(world.holds("web"), ["ProviderChanged"]);
            assert_eq!(world.holds("db"), [""; 0]);
            assert_eq!(shared(&world), before);
            world.clock.advance(std::time::Duration::from_mins(20));
        }
        let status = world.agent.as_ref().unwrap().status();
        assert!(status.orphans.is_empty(), "{:?}", status.orphans);
    }
    // What ends of the one is not the other's.
    push_shared(&world, "one", 3, 0);
    world.pass().await;
    world.converge().await;
    assert_eq!(shared(&world), [before[0].clone(), Vec::new()]);
}
