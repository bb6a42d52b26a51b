//! User data, from a group's document to what a provider got.

use drover_loop::check_group;
use drover_model::ProviderName;
use drover_provider::{AttachmentUse, InitUse, Manifest, ProviderFactory, is_user_data};
use drover_spec::{assemble, parse_file};

use crate::harness::{World, group};

/// Returns the group `web` with a `cloudInit` flavor whose script has so many more characters.
fn with_script(padding: usize) -> String {
    let flavors = format!(
        "image: a}}, flavors: [{{cloudInit: {{parts: [{{contentType: text/x-shellscript, content: \"#!/bin/sh\\necho ${{instance.id}} $${{HOME}} {}\\n\"}}]}}}}]}}",
        "x".repeat(padding)
    );
    group("web", 2, "a").replace("image: a}}", &flavors)
}

#[tokio::test]
async fn every_instance_is_made_with_user_data_of_its_own() {
    let mut world = World::with_groups(&[("web", &with_script(0))]);
    world.converge().await;
    let now = drover_provider::Clock::now(&*world.clock);
    let name = ProviderName::parse("local").unwrap();
    let simulated = world.factory.world(&name).unwrap();
    let simulated = simulated.lock().unwrap();
    let mut found = Vec::new();
    for instance in simulated.instances(now) {
        let owner = instance.ownership.as_ref().unwrap();
        let init = &instance.blueprint.as_ref().unwrap().init;
        assert!(is_user_data(init), "{init:?}");
        let line = format!("\necho {} ${{HOME}} \n", owner.instance);
        assert!(init[0].contains(&line), "{init:?}");
        found.push(owner.instance.to_string());
    }
    assert_eq!(found.len(), 2);
}

/// Returns what is wrong with the group for a provider of the manifest: line and message.
fn mistakes(text: &str, manifest: &Manifest) -> Vec<(u32, String)> {
    let repository = assemble(&[parse_file("web.yaml", text.as_bytes())]);
    let group = &repository.groups.values().next().unwrap().value;
    let found = check_group(group, manifest).into_iter();
    found.map(|one| (one.span.line, one.message)).collect()
}

#[tokio::test]
async fn user_data_that_is_too_large_or_that_nobody_takes_is_a_mistake_with_its_place() {
    let world = World::new(&[]);
    let takes = world.factory.manifest().clone();
    // A line that is too long for mail goes as base64, which takes a third more.
    assert_eq!(mistakes(&with_script(11_700), &takes), []);
    let found = mistakes(&with_script(12_100), &takes);
    let (line, message) = &found[0];
    assert_eq!((found.len(), *line), (1, 7));
    assert!(message.ends_with("and 16384 is the most"), "{message}");
    let refuses = Manifest {
        init: InitUse::ShellLines,
        ..takes
    };
    let message = "`cloudInit`: instances of provider type simulated take no user data, they have no cloud-init";
    assert_eq!(
        mistakes(&with_script(0), &refuses),
        [(7, message.to_owned())]
    );
}

#[tokio::test]
async fn attachments_that_nobody_would_attach_are_a_mistake_with_their_place() {
    let flavors = "image: a}, flavors: [{vanilla: {init: [x]}},
      {vanilla: {attachments: [{id: \"vol-${instance.id}\", type: ebs}]}}]}";
    let attaching = group("web", 2, "a").replace("image: a}}", flavors);
    let world = World::new(&[]);
    let refuses = world.factory.manifest().clone();
    let message = "`attachments`: provider type simulated attaches nothing that a flavor names, only plugins of InfraKit do";
    assert_eq!(mistakes(&attaching, &refuses), [(8, message.to_owned())]);
    let attaches = Manifest {
        attachments: AttachmentUse::HandedOver,
        ..refuses
    };
    assert_eq!(mistakes(&attaching, &attaches), []);
}
