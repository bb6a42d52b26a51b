//! Changes in place that a provider takes and that come to nothing, as an instance refresh that fails.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use drover_model::{ErrorClass, Value};
use drover_provider::{Forwarding, Manifest, Provider, ProviderError, UpdateRequest};

use crate::harness::{PROVIDER, World, group};
use crate::wrapped::Wrapped;

/// How the provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// It takes changes, which come to nothing.
    Fails,
    /// It is busy with such a change.
    Busy,
}

/// What was asked of it: values of `weight`, and what it took of them.
#[derive(Debug)]
struct Told {
    mood: Mood,
    asked: Vec<i64>,
    taken: Vec<i64>,
}

/// A simulated provider that drives others, which change when they do.
#[derive(Debug)]
struct Delegating {
    manifest: Manifest,
    inner: Arc<dyn Provider>,
    told: Arc<Mutex<Told>>,
}

#[async_trait]
impl Forwarding for Delegating {
    fn inner(&self) -> &dyn Provider {
        &*self.inner
    }
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    async fn update(&self, request: &UpdateRequest) -> Result<(), ProviderError> {
        let Some(Value::Int(weight)) = request.properties.get("weight") else {
            panic!("{:?}", request.properties);
        };
        let mood = {
            let mut told = self.told.lock().unwrap();
            told.asked.push(*weight);
            told.mood
        };
        if mood == Mood::Busy {
            let message = "a refresh is under way";
            return Err(ProviderError::new(ErrorClass::Throttled, message));
        }
        if mood == Mood::Well {
            self.inner.update(request).await?;
        }
        self.told.lock().unwrap().taken.push(*weight);
        Ok(())
    }
}

fn push(world: &World, weight: i64) {
    let text = group("web", 2, &format!("a, weight: {weight}"));
    let provider = PROVIDER.replace("simulated", "delegating");
    world.repository.commit(&[
        ("providers/local.yaml", &provider),
        ("groups/web.yaml", &text),
    ]);
}

/// Two instances with the weight 1, and a provider of that type.
async fn converged() -> (World, Arc<Mutex<Told>>) {
    let mut world = World::new(&[]);
    let told = Arc::new(Mutex::new(Told {
        mood: Mood::Well,
        asked: Vec::new(),
        taken: Vec::new(),
    }));
    let ears = Arc::clone(&told);
    let wrap = move |inner, manifest| Delegating {
        manifest,
        inner,
        told: Arc::clone(&ears),
    };
    world.more_factories = vec![Wrapped::new("delegating", &world.factory, wrap)];
    push(&world, 1);
    world.converge().await;
    (world, told)
}

/// What becomes of a template that does not take, when `next` is pushed while the provider is busy with it.
async fn taken_after(next: i64) -> Vec<i64> {
    let (mut world, told) = converged().await;
    let living = world.living("web");
    told.lock().unwrap().mood = Mood::Fails;
    push(&world, 2);
    let taken = |told: &Mutex<Told>| told.lock().unwrap().taken.clone();
    let ears = Arc::clone(&told);
    world
        .until("the change", move |_| !taken(&ears).is_empty())
        .await;
    // Nobody is replaced for it, and it is begun once more.
    world.passes(620).await;
    assert_eq!(world.living("web"), living);

    told.lock().unwrap().mood = Mood::Busy;
    push(&world, next);
    world.passes(60).await;
    {
        let told = told.lock().unwrap();
        let tries = told.asked.iter().filter(|weight| **weight == next);
        assert!((2..=8).contains(&tries.count()), "{:?}", told.asked);
    }
    told.lock().unwrap().mood = Mood::Well;
    world.converge().await;
    // Nor does the old one come back at its time.
    world.passes(620).await;
    assert_eq!(world.living("web"), living);
    taken(&told)
}

#[tokio::test]
async fn a_corrected_template_takes_the_place_of_one_that_came_to_nothing() {
    let taken = taken_after(3).await;
    // The first instance gets the bad one, twice in these ten minutes, and both get the next one.
    assert_eq!(taken, [2, 2, 3, 3]);
}

#[tokio::test]
async fn a_revert_takes_the_place_of_a_template_that_came_to_nothing() {
    let taken = taken_after(1).await;
    assert_eq!(taken, [2, 2, 1]);
}
