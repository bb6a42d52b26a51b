//! Groups for measuring what planning them costs: of any size, quiet or in the middle of a rollout.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_model::{
    AcceptedDocument, Amount, Budget, Check, CheckOutcome, Classified, Completeness, Cron,
    Decisions, Digests, Epoch, ExitReport, Expiry, FleetName, Group, GroupName, GroupPhase,
    GroupSpec, GroupUid, HealthSignal, InstanceId, InstanceMemory, Listed, Listing, Ownership,
    Plan, Probe, Protect, ProviderName, ProviderPhase, ProviderRef, ProviderType, Reason,
    Rebalance, RecordedGroup, Revision, SourceSpan, Template, TemplateParts, Timestamp, Token,
    Value, Window, WindowKind, Zone, defaults,
};
use drover_plan::{ClassifyInput, Desired, PlanInput, ProviderFacts, classify, lint, plan};

/// Instances of each group of a fleet.
pub(crate) const SIZE: u32 = 20;

/// Everything that is known of one group.
pub(crate) struct Known {
    pub(crate) group: Group,
    document: AcceptedDocument,
    listing: Listing,
    signals: BTreeMap<InstanceId, HealthSignal>,
    memory: BTreeMap<InstanceId, InstanceMemory>,
    recorded: RecordedGroup,
}

const ZONES: [&str; 3] = ["a", "b", "c"];

/// When the groups were made.
pub(crate) fn now() -> Timestamp {
    "2026-01-05T12:00:00Z".parse().expect("a valid time")
}

fn template(version: i64) -> Template {
    let env = (0..20).map(|n| (format!("VARIABLE_{n}"), Value::from(format!("value {n}"))));
    Template::from(TemplateParts {
        properties: Value::from_iter([
            ("version".to_owned(), Value::from(version)),
            ("env".to_owned(), env.collect()),
        ]),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    })
}

fn provider() -> ProviderFacts {
    ProviderFacts {
        name: ProviderName::parse("local").expect("a valid label"),
        type_: ProviderType::parse("simulated").expect("a valid label"),
        settings: Value::empty_map(),
        classes: BTreeMap::new(),
        batch_max: 100,
    }
}

fn fleet() -> FleetName {
    FleetName::parse("prod").expect("a valid label")
}

fn spec(size: u32) -> GroupSpec {
    let check = Check {
        probe: Probe::Tcp { port: 80 },
        interval: defaults::CHECK_INTERVAL,
        timeout: defaults::CHECK_TIMEOUT,
    };
    let mut spec = GroupSpec::with_defaults(provider().name, size, template(1));
    spec.health.checks = vec![check];
    with_everything(&mut spec);
    spec
}

/// Sets what a document may set of everything that plans mind.
fn with_everything(spec: &mut GroupSpec) {
    let window = |kind, cron: &str| Window {
        kind,
        cron: Cron::parse(cron).expect("a valid expression"),
        duration: Duration::from_hours(4),
        zone: Zone::utc(),
        reasons: Reason::ALL
            .into_iter()
            .filter(|it| it.is_voluntary())
            .collect(),
    };
    spec.windows = vec![
        window(WindowKind::Allow, "0 10 * * *"),
        window(WindowKind::Deny, "0 22 * * FRI"),
    ];
    let reasons = [Reason::Update, Reason::Heal, Reason::Expiry].into();
    spec.budgets = vec![Budget {
        reasons,
        max: Amount::Percent(50),
    }];
    spec.protect = vec![Protect {
        instances: [InstanceId::new(
            GroupName::parse("group-0").expect("a valid label"),
            1,
        )]
        .into(),
        from: [Reason::ScaleIn].into(),
        until: None,
        because: None,
    }];
    spec.expiry = Some(Expiry {
        age_max: Duration::from_hours(720),
        jitter_percent: 10,
    });
    spec.placement.zones = ZONES.map(str::to_owned).to_vec();
    spec.placement.rebalance = Rebalance::Proactive;
    spec.heal.keep.max = 1;
    spec.limits.create_hourly_max = Some(10 * spec.size);
    spec.limits.destroy_hourly_max = Some(10 * spec.size);
}

/// A group with `size` instances of its template, all healthy.
pub(crate) fn known_of(index: usize, size: u32) -> Known {
    let name = GroupName::parse(&format!("group-{index}")).expect("a valid label");
    let uid = GroupUid::parse(&format!("{index:016}")).expect("sixteen digits");
    let span = SourceSpan::start_of("groups/one.yaml");
    let group = Group {
        name: name.clone(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        span: span.clone(),
        provider_span: span,
        property_spans: BTreeMap::new(),
        spec_spans: BTreeMap::new(),
        depends_spans: Vec::new(),
        spec: spec(size),
    };
    let mut known = Known {
        document: AcceptedDocument {
            text: "kind: Group".into(),
            path: "groups/one.yaml".to_owned(),
            line: 1,
            revision: Revision::parse(&"a".repeat(40)).expect("40 digits"),
        },
        listing: Listing {
            completeness: Completeness::Complete,
            as_of: now(),
            instances: Vec::new(),
            attached: std::collections::BTreeSet::new(),
            places: std::collections::BTreeMap::new(),
        },
        signals: BTreeMap::new(),
        memory: BTreeMap::new(),
        recorded: RecordedGroup::new(name.clone(), uid.clone(), Epoch(1)),
        group,
    };
    let digests = Digests::of(
        &provider().type_,
        &known.group.spec.template,
        &BTreeMap::new(),
    );
    for number in 1..=u64::from(size) {
        let id = InstanceId::new(name.clone(), number);
        let ownership = Ownership {
            fleet: fleet(),
            group: name.clone(),
            token: Token::derive(&fleet(), &uid, Epoch(1), &id, 0),
            instance: id.clone(),
            digests: digests.clone(),
            epoch: Epoch(1),
            seat: None,
        };
        known.listing.instances.push(Listed {
            provider_ref: ProviderRef::parse(&format!("ref-{id}")).expect("not empty"),
            ownership: Some(ownership),
            phase: ProviderPhase::Running,
            address: Some("10.0.0.1".to_owned()),
            zone: Some(ZONES[(number % 3) as usize].to_owned()),
            created_at: Some(now()),
            interruption: None,
        });
        let signal = HealthSignal {
            asked_at: now(),
            checks: vec![CheckOutcome::Passing],
            busy: false,
            leader: None,
            work: 0,
        };
        known.signals.insert(id, signal);
    }
    known
}

/// Classifies, plans and lints.
pub(crate) fn pass(known: &Known, now: Timestamp) -> (Classified, Plan) {
    let (fleet, provider) = (fleet(), provider());
    let (policies, decisions) = (BTreeMap::new(), Decisions::default());
    let classified = classify(&ClassifyInput {
        now,
        group: &known.recorded.name,
        spec: &known.group.spec,
        listing: &known.listing,
        signals: &known.signals,
        memory: &known.memory,
        intents: &[],
        recorded: &known.recorded,
        visibility: Duration::ZERO,
        health: &[],
        surveyed: None,
        provider: &provider,
        emptied: None,
    });
    let input = PlanInput {
        now,
        fleet: &fleet,
        epoch: Epoch(1),
        desired: Desired::Present {
            group: &known.group,
            document: &known.document,
        },
        provider: &provider,
        classified: &classified,
        intents: &[],
        roster: None,
        recorded: &known.recorded,
        recommendations: &[],
        decisions: &decisions,
        policies: &policies,
        peers: &drover_model::Peers::default(),
        fences: &[],
    };
    let (planned, _) = plan(&input).expect("the input is consistent");
    lint(&input, &planned).expect("the plan is good");
    (classified, planned)
}

/// Groups that have converged, but for one that rolls and one that heals.
pub(crate) fn fleet_at_work(groups: usize) -> Vec<Known> {
    let mut groups: Vec<Known> = (0..groups).map(|index| settled(index, SIZE)).collect();
    if let [rolls, heals, ..] = &mut groups[..] {
        rolls.group.spec.template = template(2);
        heals.listing.instances[3].phase = ProviderPhase::Exited(ExitReport::default());
    }
    groups
}

/// A group that has converged.
fn settled(index: usize, size: u32) -> Known {
    let mut group = known_of(index, size);
    // No group makes more than a thousand steps at once: the larger ones are known as made.
    for at in [now(), now() + Duration::from_mins(1)] {
        let (classified, plan) = pass(&group, at);
        group.memory = classified.memory;
        group.recorded = plan.next;
    }
    assert_eq!(group.recorded.phase, GroupPhase::Converged);
    group
}

/// One group in the middle of a roll: half of it is new, and a quarter may be retired now.
pub(crate) fn rolling(size: u32) -> Known {
    let mut group = settled(0, size);
    group.group.spec.template = template(2);
    group.group.spec.rollout.surge_max = Amount::Percent(25);
    group.group.spec.rollout.unavailable_max = Amount::Percent(25);
    let digests = Digests::of(
        &provider().type_,
        &group.group.spec.template,
        &BTreeMap::new(),
    );
    for listed in group.listing.instances.iter_mut().step_by(2) {
        if let Some(ownership) = &mut listed.ownership {
            ownership.digests = digests.clone();
        }
    }
    group
}
