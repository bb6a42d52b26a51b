//! Documents that make, replace and end nothing, and change how a group is kept: policies are asked about them too.

use drover_model::{ApprovalVerdict, Hold};

use crate::harness::{PROVIDER, World, group_with};

/// What keeps its `deletion.protect`, and what people must approve: whatever has no other effect.
fn rules(protected: &str, enforced: &str) -> String {
    format!(
        "apiVersion: drover/v1alpha1
kind: Policy
metadata: {{name: protected}}
spec:
  on: validate
  rules: [{{expression: '{protected}', message: the group is to be protected}}]
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {{name: protected}}
spec: {{policy: protected, selector: {{}}, enforcement: deny}}
---
apiVersion: drover/v1alpha1
kind: Policy
metadata: {{name: no-effect}}
spec:
  on: approve
  rules: [{{expression: change.creates > 0, message: people look at settings}}]
---
apiVersion: drover/v1alpha1
kind: Binding
metadata: {{name: no-effect}}
spec: {{policy: no-effect, selector: {{}}, enforcement: {enforced}}}
"
    )
}

const KEPT: &str = "  deletion: {protect: true}\n";

/// Pushes the group with more lines of `spec`, after a comment.
fn push(world: &World, rules: &str, more: &str, comment: &str) {
    let web = format!("{comment}{}", group_with("web", 3, "a", more));
    let files = [
        ("p.yaml", PROVIDER),
        ("rules.yaml", rules),
        ("web.yaml", &web),
    ];
    world.repository.commit(&files);
}

async fn converged(rules: &str) -> World {
    let mut world = World::new(&[]);
    push(&world, rules, KEPT, "");
    world.pass().await;
    world.converge().await;
    world
}

fn in_force(world: &World) -> String {
    let status = world.status("web");
    status.recorded.accepted.as_ref().unwrap().text.to_string()
}

#[tokio::test]
async fn a_document_that_only_takes_a_safeguard_away_is_denied() {
    let rules = rules("spec.deletion.protect", "audit");
    let mut world = converged(&rules).await;
    push(&world, &rules, "", "");
    world.passes(2).await;
    assert_eq!(world.holds("web"), ["PolicyDenied"]);
    assert!(in_force(&world).contains("protect: true"));
    // What says the same in other words comes into force at once.
    push(&world, &rules, KEPT, "# a comment\n");
    world.passes(2).await;
    assert_eq!(world.holds("web"), [""; 0]);
    assert!(in_force(&world).contains("# a comment"));
}

#[tokio::test]
async fn nobody_is_asked_about_a_suspension() {
    let mut world = converged(&rules("spec.size > 0", "audit")).await;
    let never = rules("spec.size > 100", "requireApproval");
    let suspended = format!("{KEPT}  suspend: [{{what: update, because: an incident}}]\n");
    push(&world, &never, &suspended, "");
    world.passes(2).await;
    assert!(in_force(&world).contains("an incident"));
}

#[tokio::test]
async fn people_approve_exactly_the_document_that_has_no_other_effect() {
    let rules = rules("spec.size > 0", "requireApproval");
    let mut world = converged(&rules).await;
    let waiting = |world: &World| {
        let report = world.report("web");
        report.holds.iter().find_map(|held| match &held.hold {
            Hold::ApprovalNeeded(needed) => Some(needed.change.clone()),
            _ => None,
        })
    };
    let limited = format!("{KEPT}  limits: {{maxDestroy: 1}}\n");
    push(&world, &rules, &limited, "");
    world.passes(2).await;
    let change = waiting(&world).unwrap();
    let operations = world.operations.clone();
    operations.say(&world, "bob@example.com", ApprovalVerdict::Approve, &change);
    // Another document with no effect is another change.
    let other = limited.replace("maxDestroy: 1", "maxDestroy: 2");
    push(&world, &rules, &other, "");
    world.passes(2).await;
    assert_ne!(waiting(&world).unwrap(), change);
    push(&world, &rules, &limited, "");
    world.passes(2).await;
    assert_eq!(waiting(&world), None);
    assert!(in_force(&world).contains("maxDestroy: 1"));
}
