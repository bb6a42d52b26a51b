use super::*;
use drover_loop::{GroupStatus, MetricStatus, Orphan, SourceStatus, WriteBackStatus};
use drover_model::{
    AgentName, Condition, ConditionType, Epoch, FleetName, GroupName, GroupUid, InstanceId,
    ProviderRef, RecordedGroup,
};

fn group(name: &str) -> RecordedGroup {
    let uid = GroupUid::parse("aaaaaaaaaaaaaaaa").unwrap();
    let mut group = RecordedGroup::new(GroupName::parse(name).unwrap(), uid, Epoch(1));
    group.size = 3;
    let condition = Condition {
        status: Some(true),
        reason: "Converged".to_owned(),
        message: String::new(),
        since: "2026-01-05T10:00:00Z".parse().unwrap(),
    };
    group.conditions.insert(ConditionType::Ready, condition);
    group
}

pub(in crate::agent) fn status(names: &[&str]) -> Arc<AgentStatus> {
    let groups = names.iter().map(|name| {
        let recorded = group(name);
        let status = GroupStatus {
            recorded: Arc::new(recorded),
            group: None,
            report: Arc::default(),
            wanted: None,
            change: None,
            withheld: None,
            differing: Arc::default(),
            decisions: Arc::default(),
            members: None,
        };
        (GroupName::parse(name).unwrap(), Arc::new(status))
    });
    Arc::new(AgentStatus {
        agent: AgentName::parse("edge-1").unwrap(),
        fleet: FleetName::parse("prod").unwrap(),
        epoch: Epoch(1),
        source: SourceStatus::default(),
        operations: drover_loop::OperationsStatus::default(),
        write_back: WriteBackStatus::default(),
        providers: BTreeMap::new(),
        orphans: vec![Orphan {
            provider: "cloud".to_owned(),
            group: GroupName::parse("gone").unwrap(),
            instance: InstanceId::parse("gone-1").unwrap(),
            provider_ref: ProviderRef::parse("i-1").unwrap(),
            created_at: None,
            first_seen: "2026-01-05T10:00:00Z".parse().unwrap(),
        }],
        metrics: metrics(),
        groups: groups.collect(),
        holds: Vec::new(),
        diagnostics: Arc::default(),
        pass: None,
    })
}

fn metrics() -> BTreeMap<MetricName, MetricStatus> {
    let of = |name: &str, judged, stale_age| {
        let status = MetricStatus {
            source: SourceName::parse("prom").unwrap(),
            judged,
            stale_age,
        };
        (MetricName::parse(name).unwrap(), status)
    };
    let (new, old) = (Duration::from_millis(1500), Duration::from_mins(10));
    [
        of("queue.depth", Ok((120.0, new)), None),
        of(
            "queue.age",
            Err("its value is too old".to_owned()),
            Some(old),
        ),
        of("error.rate", Err("no answer".to_owned()), None),
    ]
    .into()
}

#[test]
fn series_of_a_group_that_is_gone_are_dropped() {
    let (owner, states) = watch::channel(status(&["web", "db"]));
    let metrics = Metrics::new(states, PluginStates::default());
    let text = metrics.render().unwrap();
    assert!(text.contains("drover_build_info{version=\""), "{text}");
    assert!(
        text.contains("drover_group_condition{group=\"web\",type=\"Ready\",status=\"True\"} 1.0"),
        "{text}"
    );
    assert!(
        text.contains("drover_group_size{group=\"db\"} 3.0"),
        "{text}"
    );
    assert!(
        text.contains("drover_orphans{provider=\"cloud\"} 1.0"),
        "{text}"
    );

    owner.send(status(&["web"])).unwrap();
    let text = metrics.render().unwrap();
    assert!(text.contains("group=\"web\""), "{text}");
    assert!(!text.contains("group=\"db\""), "{text}");
}

#[test]
fn the_exposition_is_complete_and_well_formed() {
    let (_owner, states) = watch::channel(status(&["web"]));
    let metrics = Metrics::new(states, PluginStates::default());
    metrics.observe_pass(Duration::from_millis(20));
    metrics.observe_step("create", "done");
    metrics.observe_metric_error("error.rate", "prom");
    let text = metrics.render().unwrap();
    for line in [
        "drover_steps_total{action=\"create\",result=\"done\"} 1",
        "drover_pass_duration_seconds_count 1",
        "drover_writeback_pending 0.0",
        "drover_metric_ok{metric=\"queue.depth\",source=\"prom\"} 1.0",
        "drover_metric_ok{metric=\"error.rate\",source=\"prom\"} 0.0",
        "drover_metric_age_seconds{metric=\"queue.depth\",source=\"prom\"} 1.5",
        "drover_metric_age_seconds{metric=\"queue.age\",source=\"prom\"} 600.0",
        "drover_metric_errors_total{metric=\"error.rate\",source=\"prom\"} 1",
        "drover_writeback_lag_seconds 0.0",
    ] {
        assert!(text.contains(line), "{line} is missing from\n{text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(
        names.len(),
        unique.len(),
        "a metric is described twice:\n{text}"
    );
}
