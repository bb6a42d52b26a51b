//! Rolls 1,000 instances through the whole agent, as `drover simulate` does, and tells how long that takes on the
//! virtual clock, and how long it takes here: `cargo run --release -p drover-sim --example fleet_roll`.

#![expect(clippy::print_stdout, reason = "what the example is for")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use drover_loop::SourcePlace;
use drover_model::{AgentName, FleetName, GroupName, ProviderType, Revision};
use drover_provider::{AttachmentUse, InitUse, Manifest, ObjectSchema};
use drover_provider_sim::properties_schema;
use drover_sim::fleet::{Commit, Scenario, Span, Timing, WhatIf, short, simulate};

fn commit(number: u32, image: &str, rollout: &str) -> Commit {
    let provider = "apiVersion: drover/v1alpha1\nkind: Provider\nmetadata: {name: cloud}\nspec: {type: simulated}\n";
    let group = format!(
        "apiVersion: drover/v1alpha1
kind: Group
metadata: {{name: web}}
spec:
  provider: cloud
  size: 1000
  template: {{properties: {{image: {image}}}}}
  health: {{checks: [{{tcp: {{port: 80}}}}]}}
  drain: {{done: {{http: {{port: 80, path: /drained}}}}, timeout: 5m}}
  rollout: {rollout}
"
    );
    let files = [
        ("providers/cloud.yaml", provider.to_owned()),
        ("groups/web.yaml", group),
    ];
    Commit {
        revision: Revision::parse(&format!("{number:040x}")).expect("forty digits"),
        author: "Ada <ada@example.com>".to_owned(),
        subject: format!("commit {number}"),
        trailers: BTreeMap::new(),
        files: files.map(|(path, text)| (path.to_owned(), text)).into(),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rollouts = [
        "{maxSurge: \"10%\"}",
        "{maxSurge: \"10%\", maxUnavailable: \"10%\"}",
        "{maxSurge: \"25%\", maxUnavailable: \"25%\"}",
    ];
    for rollout in rollouts {
        let scenario = Scenario {
            fleet: FleetName::parse("fleet")?,
            agent: AgentName::parse("agent")?,
            place: SourcePlace {
                branch: "main".to_owned(),
                path: String::new(),
            },
            base: commit(1, "a", rollout),
            head: commit(2, "b", rollout),
            then: Vec::new(),
            recorded: None,
            types: vec![Manifest {
                type_: ProviderType::parse("simulated")?,
                properties: properties_schema(),
                settings: ObjectSchema::default(),
                batch_max: 100,
                visibility: Duration::ZERO,
                init: InitUse::UserData,
                attachments: AttachmentUse::Refused,
            }],
            properties: BTreeMap::new(),
            at: "2026-01-05T10:00:00Z".parse()?,
            horizon: Duration::from_hours(24),
            seed: 1,
            timing: Timing {
                boot: Some(Span::exactly(Duration::from_secs(90))),
                ready: Some(Span::exactly(Duration::ZERO)),
                drain: Span::exactly(Duration::from_secs(30)),
                stop: Some(Duration::ZERO),
            },
            what_if: WhatIf::default(),
        };
        let begun = Instant::now();
        let outcome = simulate(&scenario)?;
        let web = &outcome.groups[&GroupName::parse("web")?];
        println!(
            "{rollout}: {} after {} ({} s), {} passes, in {:?}",
            web.end.as_str(),
            short(web.took),
            web.took.as_secs(),
            outcome.passes,
            begun.elapsed()
        );
    }
    Ok(())
}
