//! How long decisions take: one expression over a group of 1,000 and of 100,000 instances, and what five
//! policies add to each of 1,000 groups.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark ends where something is not as it should be"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use drover_model::{
    Classified, Digests, Drift, Epoch, Group, GroupName, GroupSpec, GroupUid, InstanceClass,
    InstanceId, Member, Numbers, Outcome, ProviderName, ProviderRef, ProviderType, Readings,
    RecordedGroup, Revision, SourceSpan, Template, TemplateParts, Timestamp, Token, Trust, Value,
    Verdict,
};
use drover_policy::{GroupFacts, GroupSummary, PolicySet, SourceFacts};
use drover_spec::{assemble, parse_file};

const SIZES: [u32; 2] = [1_000, 100_000];
const GROUPS: u32 = 1_000;
const INSTANCES: u32 = 10;

/// The expression that the goals name.
const COUNTING: &str = "\
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: count}
spec:
  on: gate
  rules:
    - expression: 'size(instances.filter(i, i.health == \"healthy\")) >= spec.size - 1'
      message: too few are healthy
";

/// Five policies as people write them, on five decisions.
const FIVE: &str = "\
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: hours}
spec:
  on: gate
  rules:
    - expression: 'reason in [\"heal\", \"interruption\"] || inWindow(\"0 7 * * *\", duration(\"10h\"), \"Europe/Berlin\")'
      message: outside office hours
---
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: tenth}
spec: {on: budget, expression: 'max(1, status.total / 10)'}
---
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: busy}
spec:
  on: protect
  rules:
    - {expression: '!instance.busy', message: it is busy}
---
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: daytime}
spec: {on: size, expression: 'now.getHours(\"UTC\") < 18 ? spec.size : max(1, spec.size / 2)'}
---
apiVersion: drover/v1alpha1
kind: Policy
metadata: {name: youngest}
spec: {on: victim, expression: '-double(instance.age.getSeconds())'}
";

/// The policies of `text`, bound to every group.
fn policies(text: &str) -> PolicySet {
    let read = |path: &str, text: &str| assemble([&parse_file(path, text.as_bytes())]);
    let policies = read("policies.yaml", text).policies.into_values();
    let policies: Vec<_> = policies.map(|located| located.value).collect();
    let names = policies.iter().map(|policy| &policy.name);
    let mut bindings = String::new();
    for name in names {
        write!(
            bindings,
            "---\napiVersion: drover/v1alpha1\nkind: Binding\nmetadata: {{name: {name}}}\n\
             spec: {{policy: {name}, selector: {{}}, enforcement: deny}}\n"
        )
        .unwrap();
    }
    let bindings = read("bindings.yaml", &bindings).bindings.into_values();
    let bindings: Vec<_> = bindings.map(|located| located.value).collect();
    assert_eq!(policies.len(), bindings.len());
    let (set, mistakes) = PolicySet::compile(&policies, &bindings, &[]);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    set
}

/// Everything that is known of one group.
struct Known {
    group: Group,
    numbers: Numbers,
    recorded: RecordedGroup,
    classified: Classified,
    source: SourceFacts,
}

impl Known {
    /// A group of `size` instances, all of them available.
    fn new(size: u32) -> Self {
        let name = GroupName::parse("web").unwrap();
        let span = SourceSpan::start_of("groups/web.yaml");
        let template = Template::from(TemplateParts {
            properties: Value::from_iter([("image".to_owned(), Value::from("v1"))]),
            flavors: Vec::new(),
            flavors_as_written: Value::List(Vec::new()),
            tags: BTreeMap::new(),
        });
        let type_ = ProviderType::parse("simulated").unwrap();
        let digests = Digests::of(&type_, &template, &BTreeMap::new());
        let provider = ProviderName::parse("local").unwrap();
        Self {
            numbers: Numbers {
                size,
                total: size,
                available: size,
                updated: size,
                ..Numbers::default()
            },
            recorded: RecordedGroup::new(
                name.clone(),
                GroupUid::parse("abcdefgh12345678").unwrap(),
                Epoch(1),
            ),
            classified: Classified {
                as_of: now(),
                trust: Trust::Full,
                members: (1..=u64::from(size))
                    .map(|number| member(&name, number, &digests))
                    .collect(),
                kept: BTreeMap::new(),
                gone: BTreeMap::new(),
                settled: Vec::new(),
                attached: BTreeSet::new(),
                places: BTreeMap::new(),
                adoption: None,
                memory: BTreeMap::new(),
            },
            source: SourceFacts {
                revision: Revision::parse(&"0".repeat(40)).unwrap(),
                author: "Ann <ann@example.com>".to_owned(),
                subject: "scale web".to_owned(),
                trailers: BTreeMap::new(),
                signer: String::new(),
            },
            group: Group {
                name,
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
                span: span.clone(),
                provider_span: span,
                property_spans: BTreeMap::new(),
                spec_spans: BTreeMap::new(),
                depends_spans: Vec::new(),
                spec: GroupSpec::with_defaults(provider, size, template),
            },
        }
    }

    fn facts<'a>(
        &'a self,
        groups: &'a BTreeMap<GroupName, GroupSummary>,
        readings: &'a Readings,
    ) -> GroupFacts<'a> {
        GroupFacts {
            now: now(),
            group: &self.group,
            old: Some(&self.group.spec),
            labels_before: Some(&self.group.labels),
            numbers: &self.numbers,
            recorded: &self.recorded,
            classified: Some(&self.classified),
            source: &self.source,
            groups,
            readings,
            early: None,
            drift: &NO_DRIFT,
        }
    }
}

static NO_DRIFT: Drift = Drift(Vec::new());

fn now() -> Timestamp {
    "2026-01-05T12:00:00Z".parse().unwrap()
}

fn member(group: &GroupName, number: u64, digests: &Digests) -> (InstanceId, Member) {
    let id = InstanceId::new(group.clone(), number);
    let member = Member {
        id: id.clone(),
        provider_ref: Some(ProviderRef::parse(&format!("ref-{number}")).unwrap()),
        digests: digests.clone(),
        token: Some(Token::parse(&"a".repeat(32)).unwrap()),
        seat: None,
        class: InstanceClass::Available,
        drain: None,
        update: None,
        restarted_at: None,
        changed_at: None,
        busy: number.is_multiple_of(2),
        work: 0,
        leader: None,
        address: Some("127.0.0.1".to_owned()),
        zone: Some("a".to_owned()),
        created_at: "2026-01-05T10:00:00Z".parse().unwrap(),
        interruption: None,
        changes_at: None,
    };
    (id, member)
}

fn evaluate(criterion: &mut Criterion) {
    let (groups, readings) = (BTreeMap::new(), Readings::new());
    let counting = policies(COUNTING);
    let mut sizes = criterion.benchmark_group("count the healthy ones of one group");
    for size in SIZES {
        let known = Known::new(size);
        let facts = known.facts(&groups, &readings);
        let outcome = &counting.decide(&facts).trace[0].outcome;
        assert_eq!(*outcome, Outcome::Passed);
        sizes.bench_function(BenchmarkId::from_parameter(size), |bench| {
            bench.iter(|| black_box(counting.decide(&facts)));
        });
    }
    sizes.finish();
    let five = policies(FIVE);
    let known = Known::new(INSTANCES);
    let facts = known.facts(&groups, &readings);
    let errors = five.decide(&facts).trace;
    let error = |verdict: &&Verdict| matches!(verdict.outcome, Outcome::Error(_));
    assert_eq!(errors.iter().find(error), None);
    criterion.bench_function("five policies on each of 1,000 groups of 10", |bench| {
        bench.iter(|| {
            for _ in 0..GROUPS {
                black_box(five.decide(&facts));
            }
        });
    });
}

criterion_group!(benches, evaluate);
criterion_main!(benches);
