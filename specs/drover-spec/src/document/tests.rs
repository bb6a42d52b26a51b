use std::time::Duration;

use drover_model::{Amount, Value, defaults};

use super::*;

/// The smallest group: everything that may be left out is.
const SMALL: &str = "\
apiVersion: drover/v1alpha1
kind: Group
metadata: {name: web}
spec:
  provider: local
  size: 3
  template: {}
";

fn group(text: &str) -> Group {
    let mut file = parse_file("groups/web.yaml", text.as_bytes());
    assert_eq!(file.diagnostics, []);
    assert_eq!(file.documents.len(), 1);
    let document = file.documents.remove(0);
    assert_eq!(document.diagnostics, []);
    match document.outcome {
        Some(Document::Group(group)) => *group,
        other => panic!("no group: {other:?}"),
    }
}

#[test]
fn fills_in_every_default_of_a_small_group() {
    let group = group(SMALL);
    assert_eq!(group.name.as_str(), "web");
    assert_eq!(group.spec.size, 3);
    assert_eq!(group.spec.rollout.surge_max, defaults::SURGE_MAX);
    assert_eq!(group.spec.rollout.unavailable_max, Amount::Count(0));
    assert_eq!(group.spec.rollout.min_ready, Duration::from_secs(30));
    assert_eq!(group.spec.health.startup_timeout, Duration::from_mins(10));
    assert_eq!(group.spec.drain.delay, Duration::from_secs(2));
    assert_eq!(group.spec.template.properties, Value::empty_map());
    assert_eq!(
        group.spec.template.flavors_as_written,
        Value::List(Vec::new())
    );
}
