//! Groups for simulations, with every default of a document filled in.

use std::collections::BTreeMap;

use drover_model::{
    Check, Deletion, DeletionPolicy, DrainSpec, Group, GroupName, GroupSpec, HealSpec, HealthSpec,
    Limits, Manage, OnDrainTimeout, OnFailure, Probe, ProviderName, RolloutSpec, SourceSpan,
    Systemic, SystemicMode, Template, Value, defaults,
};

/// Returns a group with the defaults of a document: `size` instances of the template `version`.
pub fn group(name: &str, size: u32, version: i64) -> Group {
    let span = SourceSpan::start_of(name);
    Group {
        name: GroupName::parse(name).expect("simulations use valid names"),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        span: span.clone(),
        provider_span: span,
        property_spans: BTreeMap::new(),
        spec: GroupSpec {
            provider: ProviderName::parse("sim").expect("a valid label"),
            size,
            bounds: None,
            manage: Manage::Full,
            template: template(version),
            health: HealthSpec {
                startup_timeout: defaults::STARTUP_TIMEOUT,
                unhealthy_after: defaults::UNHEALTHY_AFTER,
                unknown_after: defaults::UNKNOWN_AFTER,
                checks: vec![Check {
                    probe: Probe::Tcp { port: 80 },
                    interval: defaults::CHECK_INTERVAL,
                    timeout: defaults::CHECK_TIMEOUT,
                }],
            },
            heal: HealSpec {
                in_flight_max: defaults::HEAL_IN_FLIGHT_MAX,
                systemic: Systemic {
                    threshold: defaults::SYSTEMIC_THRESHOLD,
                    mode: SystemicMode::Slow,
                },
            },
            rollout: RolloutSpec {
                surge_max: defaults::SURGE_MAX,
                unavailable_max: defaults::UNAVAILABLE_MAX,
                first_batch: defaults::FIRST_BATCH,
                min_ready: defaults::MIN_READY,
                progress_deadline: None,
                failure_threshold: None,
                on_failure: OnFailure::Pause,
            },
            drain: DrainSpec {
                delay: defaults::DRAIN_DELAY,
                begin: Vec::new(),
                done: None,
                timeout: defaults::DRAIN_TIMEOUT,
                unhealthy_timeout: defaults::DRAIN_UNHEALTHY_TIMEOUT,
                on_timeout: OnDrainTimeout::Proceed,
            },
            limits: Limits {
                total_max: None,
                destroy_max: None,
            },
            suspend: Vec::new(),
            deletion: Deletion {
                policy: DeletionPolicy::Destroy,
                protect: false,
            },
        },
    }
}

/// Returns a template that differs from others by its `version` alone.
pub fn template(version: i64) -> Template {
    let properties = Value::from_iter([("version".to_owned(), Value::from(version))]);
    Template {
        properties,
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    }
}
