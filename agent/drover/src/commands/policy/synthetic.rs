//! A fleet that does not exist: groups with as many instances as asked for, most of them well.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    Bounds, Change, Classified, Digests, Drift, Epoch, Group, GroupName, GroupPhase, GroupSpec,
    GroupUid, HealthSignals, HealthVerdict, InstanceClass, InstanceId, Member, Numbers,
    ProviderName, ProviderType, Readings, RecordedGroup, Revision, Rollout, SourceSpan, Template,
    TemplateParts, Timestamp, Trust, Value,
};
use drover_policy::{EarlyFacts, GroupFacts, GroupSummary, SourceFacts};

use super::live::unchanged;

/// The zones of a synthetic group.
const ZONES: [&str; 3] = ["a", "b", "c"];

/// One group of a fleet that does not exist.
pub(super) struct Synthetic {
    group: Group,
    before: GroupSpec,
    numbers: Numbers,
    recorded: RecordedGroup,
    classified: Classified,
    source: SourceFacts,
    groups: BTreeMap<GroupName, GroupSummary>,
    now: Timestamp,
    readings: Readings,
    early: EarlyFacts,
    drift: Drift,
    pub(super) change: Change,
}

impl Synthetic {
    /// Returns the facts.
    pub(super) fn facts(&self) -> GroupFacts<'_> {
        GroupFacts {
            now: self.now,
            group: &self.group,
            old: Some(&self.before),
            labels_before: None,
            numbers: &self.numbers,
            recorded: &self.recorded,
            classified: Some(&self.classified),
            source: &self.source,
            groups: &self.groups,
            readings: &self.readings,
            early: Some(&self.early),
            drift: &self.drift,
        }
    }
}

/// Returns a fleet of `count` groups with `instances` each, the same for the same numbers but for
/// the time.
pub(super) fn fleet(
    count: u16,
    instances: u32,
    now: Timestamp,
    readings: &Readings,
) -> Vec<Synthetic> {
    let name = |at: u16| GroupName::parse(&format!("bench-{at}")).expect("a DNS label");
    let names: Vec<GroupName> = (1..=count).map(name).collect();
    let summary = GroupSummary {
        size: instances,
        available: instances,
        total: instances,
        updated: instances,
        phase: GroupPhase::Converged,
    };
    let groups: BTreeMap<GroupName, GroupSummary> =
        names.iter().map(|name| (name.clone(), summary)).collect();
    let synthetic = |name: &GroupName| Synthetic {
        readings: readings.clone(),
        ..synthetic(name, instances, now, groups.clone())
    };
    names.iter().map(synthetic).collect()
}

fn synthetic(
    name: &GroupName,
    instances: u32,
    now: Timestamp,
    groups: BTreeMap<GroupName, GroupSummary>,
) -> Synthetic {
    let span = SourceSpan::start_of("bench.yaml");
    let [spec, before] = ["v2", "v1"].map(|image| spec(instances, image));
    let [target, stable] = [&spec, &before].map(digests);
    let uid = GroupUid::parse("benchbenchbench1").expect("16 characters");
    let mut recorded = RecordedGroup::new(name.clone(), uid, Epoch(1));
    recorded.size = instances;
    recorded.target = Some(target.clone());
    recorded.stable = Some(stable.clone());
    recorded.phase = GroupPhase::Progressing;
    let begun = now - std::time::Duration::from_hours(1);
    recorded.rollout = Some(Rollout::new(target.clone(), begun, instances));
    let members = (1..=u64::from(instances)).map(|number| {
        let digests = if number.is_multiple_of(2) {
            &target
        } else {
            &stable
        };
        member(name, number, digests, now)
    });
    let classified = Classified {
        as_of: now,
        trust: Trust::Full,
        members: members.collect(),
        kept: BTreeMap::new(),
        gone: BTreeMap::new(),
        settled: Vec::new(),
        attached: BTreeSet::new(),
        places: BTreeMap::new(),
        adoption: None,
        memory: BTreeMap::new(),
    };
    Synthetic {
        readings: Readings::new(),
        numbers: drover_plan::numbers(&spec, instances, &classified, &recorded, &Drift::default()),
        early: early(&spec, &classified, &recorded),
        drift: Drift::default(),
        change: Change {
            replaces: instances,
            ..unchanged(name, instances, &target)
        },
        before,
        group: Group {
            name: name.clone(),
            labels: [("env".to_owned(), "bench".to_owned())].into(),
            annotations: BTreeMap::new(),
            span: span.clone(),
            provider_span: span,
            property_spans: BTreeMap::new(),
            spec_spans: BTreeMap::new(),
            depends_spans: Vec::new(),
            spec,
        },
        recorded,
        classified,
        source: SourceFacts {
            revision: Revision::parse(&"0".repeat(40)).expect("40 digits"),
            author: "Bench <bench@example.com>".to_owned(),
            subject: "bench".to_owned(),
            trailers: BTreeMap::new(),
            signer: String::new(),
        },
        groups,
        now,
    }
}

/// What `health` and `drift` are asked about: whoever is well says so.
fn early(spec: &GroupSpec, classified: &Classified, recorded: &RecordedGroup) -> EarlyFacts {
    let signals = |member: &Member| {
        let combined = match member.class {
            InstanceClass::Unhealthy { .. } => HealthVerdict::Unhealthy,
            _ => HealthVerdict::Healthy,
        };
        let signals = HealthSignals {
            provider: HealthVerdict::Healthy,
            probe: Some(combined),
            checks: vec![combined],
            combined,
            why: String::new(),
        };
        (member.id.clone(), signals)
    };
    let target = digests(spec);
    let have = classified.members.values().map(|member| &member.digests);
    let to = (&target, &spec.template);
    EarlyFacts {
        signals: classified.members.values().map(signals).collect(),
        differences: drover_plan::differences(have, recorded, to, &BTreeMap::new()),
    }
}

fn digests(spec: &GroupSpec) -> Digests {
    let type_ = ProviderType::parse("simulated").expect("a provider type");
    Digests::of(&type_, &spec.template, &BTreeMap::new())
}

fn spec(instances: u32, image: &str) -> GroupSpec {
    let template = Template::from(TemplateParts {
        properties: [("image".to_owned(), Value::from(image))]
            .into_iter()
            .collect(),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    });
    let provider = ProviderName::parse("bench").expect("a DNS label");
    let mut spec = GroupSpec::with_defaults(provider, instances, template);
    spec.bounds = Some(Bounds {
        min: 0,
        max: instances.saturating_mul(2),
    });
    spec.placement.zones = ZONES.map(str::to_owned).to_vec();
    spec
}

/// Of twenty instances one failed its checks and one is warming; every fifth is busy.
fn member(
    group: &GroupName,
    number: u64,
    digests: &Digests,
    now: Timestamp,
) -> (InstanceId, Member) {
    let id = InstanceId::new(group.clone(), number);
    let class = match number % 20 {
        3 => InstanceClass::Unhealthy {
            why: "status 500".to_owned(),
        },
        7 => InstanceClass::Warming,
        _ => InstanceClass::Available,
    };
    let age = std::time::Duration::from_secs(60 * number);
    let member = Member {
        id: id.clone(),
        provider_ref: None,
        digests: digests.clone(),
        token: None,
        seat: None,
        class,
        drain: None,
        update: None,
        restarted_at: None,
        changed_at: None,
        busy: number.is_multiple_of(5),
        work: (number % 7) as u32,
        leader: None,
        address: Some(format!(
            "10.{}.{}.{}",
            number >> 16 & 255,
            number >> 8 & 255,
            number & 255
        )),
        zone: Some(ZONES[(number % 3) as usize].to_owned()),
        created_at: now - age,
        interruption: None,
        changes_at: None,
    };
    (id, member)
}
