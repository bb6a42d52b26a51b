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

/// Returns the name of the simulated world behind a document.
fn region(name: &ProviderName, settings: &Value) -> ProviderName {
    let region = match settings.get("seed") {
        Some(Value::Int(region)) => *region,
        _ => 0,
    };
    ProviderName::parse(&format!("{name}-{region}")).unwrap()
}

fn provider(settings: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {{name: local}}\nspec: {{type: regional, {settings}}}\n"
    )
}

/// A world of one group, with three instances in region 1.
async fn world() -> World {
    let mut world = World::new(&[]);
    let mut manifest = world.factory.manifest().clone();
    manifest.type_ = ProviderType::parse("regional").unwrap();
    let seed = manifest.settings.fields.get_mut("seed").unwrap();
    seed.class = drover_model::FieldClass::Replace;
    world.more_factories.push(Arc::new(Regional {
        manifest,
        inner: Arc::clone(&world.factory),
    }));
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
