//! Secrets that templates refer to: what waits for them, and where they never appear.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_loop::{GitSource, SourceFiles};
use drover_model::{ExitReport, GroupPhase, SecretRef};
use drover_provider::{Clock as _, NoSecrets, SecretError, SecretSource, SecretText};

use crate::git::{commit, git, mirror, place, recorder, repository, write};
use crate::harness::{World, group};

/// The environment of the agent.
#[derive(Debug, Default)]
struct Environment(Mutex<BTreeMap<&'static str, &'static str>>);

impl SecretSource for Environment {
    fn read(&self, reference: &SecretRef) -> Result<SecretText, SecretError> {
        let known = self.0.lock().unwrap();
        match reference {
            SecretRef::Env(name) if known.contains_key(name.as_str()) => {
                Ok(SecretText::new(known[name.as_str()].to_owned()))
            }
            other => NoSecrets.read(other),
        }
    }
}

impl Environment {
    fn set(&self, name: &'static str, value: &'static str) {
        self.0.lock().unwrap().insert(name, value);
    }

    fn unset(&self, name: &str) {
        self.0.lock().unwrap().remove(name);
    }
}

/// A group whose instances need a variable of the agent's environment.
fn secretive(image: &str, variable: &str) -> String {
    let plain = format!("template: {{properties: {{image: {image}}}}}");
    let text = group("web", 3, image);
    assert!(text.contains(&plain), "{text}");
    let from = format!("{{valueFrom: {{env: {variable}}}}}");
    let secret = format!("template: {{properties: {{image: {image}, config: {from}}}}}");
    text.replace(&plain, &secret)
}

fn world(variable: &str) -> (World, Arc<Environment>) {
    let environment = Arc::new(Environment::default());
    let mut world = World::with_groups(&[("web", &secretive("a", variable))]);
    world.secrets = Arc::clone(&environment) as Arc<dyn SecretSource>;
    (world, environment)
}

/// The values that instances of the group got.
fn tokens(world: &World) -> Vec<String> {
    let now = world.clock.now();
    world.sim(|sim| {
        let instances = sim.instances(now);
        let properties = instances.filter_map(|one| Some(&one.blueprint.as_ref()?.properties));
        let config = properties.filter_map(|properties| properties.get("config")?.as_str());
        config.map(str::to_owned).collect()
    })
}

/// Asserts that a value is in nothing that was published.
fn assert_nowhere(world: &World, value: &str) {
    for commit in world.branch.log() {
        assert!(!commit.message.contains(value), "{}", commit.message);
        for (path, content) in &commit.files {
            let text = String::from_utf8_lossy(content.as_deref().unwrap_or_default());
            assert!(!text.contains(value), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn nothing_is_made_until_the_secret_can_be_read() {
    let (mut world, environment) = world("WEB_TOKEN");
    world.passes(5).await;
    assert_eq!(world.holds("web"), ["SecretUnresolved"]);
    assert_eq!(world.living("web").len(), 0);
    let report = world.report("web");
    assert_eq!(
        report.holds[0].hold.to_string(),
        "secret env:WEB_TOKEN cannot be read: no secrets are allowed here"
    );
    environment.set("WEB_TOKEN", "hunter22");
    world.converge().await;
    assert_eq!(tokens(&world), ["hunter22"; 3]);
    assert!(world.holds("web").is_empty());
    assert_nowhere(&world, "hunter22");
}

/// Lets one instance end, with last words that have its secret.
fn lose_one(world: &World) {
    let now = world.clock.now();
    world.sim(|mut sim| {
        let victim = sim.instances(now).next().unwrap().provider_ref.clone();
        let report = ExitReport {
            code: Some(1),
            signal: None,
            message: "cannot log in with hunter22".to_owned(),
        };
        sim.crash(&victim, now, report);
    });
}

#[tokio::test]
async fn a_new_template_waits_for_its_secret_while_the_old_one_is_healed() {
    let (mut world, environment) = world("OLD_TOKEN");
    environment.set("OLD_TOKEN", "hunter22");
    world.converge().await;
    world.push(&[("web", &secretive("b", "NEW_TOKEN"))]);
    world.passes(5).await;
    assert_eq!(world.holds("web"), ["SecretUnresolved"]);
    assert_eq!(tokens(&world), ["hunter22"; 3]);
    // One of them dies: it is replaced with what there is.
    lose_one(&world);
    world
        .until("healing", |world| {
            let living = world.living("web");
            living.len() == 3 && living.contains(&"web-4".to_owned())
        })
        .await;
    environment.set("NEW_TOKEN", "hunter33");
    world.converge().await;
    let now = world.clock.now();
    world.clock.advance(Duration::from_mins(1));
    world.pass().await;
    assert!(world.clock.now() > now);
    assert_eq!(tokens(&world), ["hunter33"; 3]);
    assert_eq!(world.status("web").recorded.phase, GroupPhase::Converged);
    // What the instance printed was recorded, and not what it must not print.
    let recorded = world.branch.log().into_iter().any(|commit| {
        let files = commit.files.iter();
        let mut texts = files.filter_map(|(_, content)| content.as_deref());
        texts.any(|text| {
            String::from_utf8_lossy(text).contains("cannot log in with [secret env:OLD_TOKEN]")
        })
    });
    assert!(recorded);
    assert_nowhere(&world, "hunter22");
    assert_nowhere(&world, "hunter33");
}

#[tokio::test]
async fn what_an_instance_says_is_not_shown_while_its_secret_cannot_be_read() {
    let (mut world, environment) = world("WEB_TOKEN");
    environment.set("WEB_TOKEN", "hunter22");
    world.converge().await;
    environment.unset("WEB_TOKEN");
    lose_one(&world);
    world.passes(5).await;
    assert_nowhere(&world, "hunter22");
    let told = "exit status 1: not shown, as it may have secrets that are not read here";
    let recorded = world.branch.log().into_iter().any(|commit| {
        let files = commit.files.iter();
        let mut texts = files.filter_map(|(_, content)| content.as_deref());
        texts.any(|text| String::from_utf8_lossy(text).contains(told))
    });
    assert!(recorded, "how it ended is told");
}

#[tokio::test]
async fn another_value_of_a_secret_makes_nobody_outdated() {
    let (mut world, environment) = world("WEB_TOKEN");
    environment.set("WEB_TOKEN", "hunter22");
    world.converge().await;
    let commits = world.branch.log().len();
    environment.set("WEB_TOKEN", "hunter33");
    world.passes(10).await;
    assert_eq!(tokens(&world), ["hunter22"; 3]);
    assert_eq!(world.branch.log().len(), commits);
}

/// Takes whatever is asked for from a file of the commit in force.
#[derive(Debug)]
struct InRepository(SourceFiles);

impl SecretSource for InRepository {
    fn read(&self, reference: &SecretRef) -> Result<SecretText, SecretError> {
        let read = self.0.read("token.txt");
        let text = read.map(|bytes| String::from_utf8(bytes).unwrap());
        text.map(SecretText::new).map_err(|why| SecretError {
            reference: reference.to_string(),
            why,
        })
    }
}

#[tokio::test]
async fn a_commit_that_is_refused_takes_no_secret_from_what_is_in_force() {
    let dir = repository();
    write(dir.path(), "groups/web.yaml", &secretive("a", "WEB_TOKEN"));
    write(dir.path(), "token.txt", "first");
    commit(dir.path(), "a secret");
    let mirror = mirror(dir.path());
    let start = |world: &mut World| {
        world.agent = None;
        let source = GitSource::new(std::sync::Arc::clone(&mirror), place(""));
        world.secrets = Arc::new(InRepository(source.files()));
        let recorder = recorder(&mirror, &source);
        world.start_with(Box::new(source), Box::new(recorder));
    };
    let mut world = World::new(&[]);
    start(&mut world);
    world.converge().await;
    assert_eq!(tokens(&world), ["first"; 3]);
    git(dir.path(), &["rm", "-q", "-r", "."]);
    git(dir.path(), &["commit", "-q", "-m", "start over"]);
    for _ in 0..2 {
        world.passes(3).await;
        assert_eq!(world.agent_holds(), ["SourceUnavailable"]);
        lose_one(&world);
        world.passes(30).await;
        assert_eq!(world.holds("web"), [""; 0]);
        assert_eq!(world.living("web").len(), 3);
        // Also by what a start knows.
        start(&mut world);
    }
    assert_eq!(tokens(&world), ["first"; 3]);
    // What comes into force brings its own.
    git(dir.path(), &["revert", "--no-edit", "HEAD"]);
    write(dir.path(), "token.txt", "other");
    commit(dir.path(), "another secret");
    world.passes(2).await;
    lose_one(&world);
    world.passes(30).await;
    assert_eq!(tokens(&world).iter().filter(|it| *it == "other").count(), 1);
}
