//! Fixtures of the unit tests: policies, bindings and facts, and decisions as people read them.

use std::collections::BTreeMap;

use drover_model::*;

use crate::{EarlyFacts, GroupFacts, GroupSummary, PolicyMistake, PolicySet, SourceFacts};

pub(crate) fn policy(point: DecisionPoint, body: &str) -> Policy {
    let rules = |text: &str| {
        PolicyBody::Rules(vec![PolicyRule {
            expression: SourceText::inline(text),
            message: "the rule".to_owned(),
        }])
    };
    Policy {
        name: PolicyName::parse("tested").unwrap(),
        span: SourceSpan::start_of("policy.yaml"),
        point,
        matches: Vec::new(),
        params: BTreeMap::new(),
        variables: Vec::new(),
        body: if point.takes_rules() {
            rules(body)
        } else {
            PolicyBody::Value(SourceText::inline(body))
        },
        tests: Vec::new(),
        digest: "digest-of-policy".to_owned(),
    }
}

pub(crate) fn gate(rule: &str) -> Policy {
    policy(DecisionPoint::Gate, rule)
}

/// Parameters that have a default and nothing else.
pub(crate) fn defaults<const N: usize>(
    defaults: [(&str, Value); N],
) -> BTreeMap<String, PolicyParam> {
    let param = |(name, default): (&str, Value)| {
        let param = PolicyParam {
            span: SourceSpan::start_of("policy.yaml"),
            default: Some(default),
            schema: None,
        };
        (name.to_owned(), param)
    };
    defaults.into_iter().map(param).collect()
}

pub(crate) fn variable(name: &str, expression: &str) -> PolicyVariable {
    PolicyVariable {
        name: name.to_owned(),
        expression: SourceText::inline(expression),
    }
}

pub(crate) fn binding(policy: &str) -> Binding {
    Binding {
        name: BindingName::parse(&format!("bound-{policy}")).unwrap(),
        span: SourceSpan::start_of("binding.yaml"),
        policy: PolicyName::parse(policy).unwrap(),
        policy_span: SourceSpan::start_of("binding.yaml"),
        selector: Selector::default(),
        params: BTreeMap::new(),
        param_spans: BTreeMap::new(),
        enforcement: Enforcement::Deny,
        enforcement_span: SourceSpan::start_of("binding.yaml"),
        approvals: ApprovalRule::default(),
        digest: "digest-of-binding".to_owned(),
    }
}

/// Compiles one policy, bound to every group at `deny`, and insists that it has no mistakes.
pub(crate) fn bound(policy: Policy) -> PolicySet {
    let (set, mistakes) = PolicySet::compile(&[policy], &[binding("tested")], &[]);
    assert_eq!(mistakes, Vec::new());
    set
}

/// Everything that [`GroupFacts`] borrows.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) group: Group,
    pub(crate) old: Option<GroupSpec>,
    pub(crate) numbers: Numbers,
    pub(crate) recorded: RecordedGroup,
    pub(crate) classified: Option<Classified>,
    pub(crate) source: SourceFacts,
    pub(crate) groups: BTreeMap<GroupName, GroupSummary>,
    pub(crate) readings: Readings,
    pub(crate) early: EarlyFacts,
    pub(crate) drift: Drift,
}

impl World {
    pub(crate) fn new() -> Self {
        let name = GroupName::parse("web").unwrap();
        let span = SourceSpan::start_of("groups/web.yaml");
        let spec = spec(3);
        Self {
            now: at("2026-01-05T12:00:00Z"),
            group: Group {
                name: name.clone(),
                labels: [("env".to_owned(), "prod".to_owned())].into(),
                annotations: BTreeMap::new(),
                span: span.clone(),
                provider_span: span,
                property_spans: BTreeMap::new(),
                spec_spans: BTreeMap::new(),
                depends_spans: Vec::new(),
                spec: spec.clone(),
            },
            old: Some(spec),
            numbers: Numbers {
                size: 3,
                total: 3,
                available: 3,
                updated: 3,
                ..Numbers::default()
            },
            recorded: RecordedGroup::new(
                name.clone(),
                GroupUid::parse("abcdefgh12345678").unwrap(),
                Epoch(1),
            ),
            classified: Some(classified(3)),
            source: SourceFacts {
                revision: Revision::parse(&"0".repeat(40)).unwrap(),
                author: "Ann <ann@example.com>".to_owned(),
                subject: "scale web".to_owned(),
                trailers: [("Reviewed-by".to_owned(), "Bob".to_owned())].into(),
                signer: String::new(),
            },
            groups: [(
                GroupName::parse("db").unwrap(),
                GroupSummary {
                    size: 2,
                    available: 2,
                    total: 2,
                    updated: 1,
                    phase: GroupPhase::Progressing,
                },
            )]
            .into(),
            readings: Readings::new(),
            early: EarlyFacts::default(),
            drift: Drift::default(),
        }
    }

    pub(crate) fn facts(&self) -> GroupFacts<'_> {
        GroupFacts {
            now: self.now,
            group: &self.group,
            old: self.old.as_ref(),
            labels_before: None,
            numbers: &self.numbers,
            recorded: &self.recorded,
            classified: self.classified.as_ref(),
            source: &self.source,
            groups: &self.groups,
            readings: &self.readings,
            early: Some(&self.early),
            drift: &self.drift,
        }
    }
}

pub(crate) fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

pub(crate) fn spec(size: u32) -> GroupSpec {
    let template = Template::from(TemplateParts {
        properties: [("image".to_owned(), Value::from("v1"))]
            .into_iter()
            .collect(),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    });
    let mut spec = GroupSpec::with_defaults(ProviderName::parse("local").unwrap(), size, template);
    spec.bounds = Some(Bounds { min: 2, max: 20 });
    spec
}

pub(crate) fn digests(image: &str) -> Digests {
    let mut spec = spec(1);
    spec.template.properties = [("image".to_owned(), Value::from(image))]
        .into_iter()
        .collect();
    let type_ = ProviderType::parse("simulated").unwrap();
    Digests::of(&type_, &spec.template, &BTreeMap::new())
}

pub(crate) fn classified(count: u64) -> Classified {
    let group = GroupName::parse("web").unwrap();
    let digests = digests("v1");
    let member = |number: u64| {
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
            work: number as u32,
            leader: None,
            address: Some(format!("127.64.0.{}", number % 250)),
            zone: Some(["a", "b", "c"][(number % 3) as usize].to_owned()),
            created_at: at("2026-01-05T10:00:00Z"),
            interruption: None,
            changes_at: None,
        };
        (id, member)
    };
    Classified {
        as_of: at("2026-01-05T12:00:00Z"),
        trust: Trust::Full,
        members: (1..=count).map(member).collect(),
        kept: BTreeMap::new(),
        gone: BTreeMap::new(),
        settled: Vec::new(),
        attached: std::collections::BTreeSet::new(),
        places: std::collections::BTreeMap::new(),
        adoption: None,
        memory: BTreeMap::new(),
    }
}

/// Returns the mistakes of one policy as lines `line:column+length message (hint)`.
pub(crate) fn mistakes(policy: &Policy) -> String {
    let (_, mistakes) = PolicySet::compile(std::slice::from_ref(policy), &[], &[]);
    listed(&mistakes)
}

pub(crate) fn listed(mistakes: &[PolicyMistake]) -> String {
    let line = |mistake: &PolicyMistake| {
        let span = &mistake.span;
        let hint = mistake
            .hint
            .as_ref()
            .map_or(String::new(), |hint| format!(" ({hint})"));
        format!(
            "{}:{}+{} {}{hint}",
            span.line, span.column, span.length, mistake.message
        )
    };
    mistakes.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns what came out of a rule of a gate: `passed`, `failed` or the error.
pub(crate) fn outcome(rule: &str, world: &World) -> String {
    let set = bound(gate(rule));
    let decisions = set.decide(&world.facts());
    match &decisions.trace[0].outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed => "failed".to_owned(),
        Outcome::Error(why) => why.clone(),
    }
}
