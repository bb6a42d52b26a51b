use std::collections::BTreeSet;

use drover_model::{
    Activity, Approval, ApprovalNeeded, ApprovalRejected, ApprovalVerdict, ApprovedChange, Authors,
    BindingName, BudgetName, ChangeId, Condition, ConditionType, Deleting, Digests, EntryId, Epoch,
    ErrorClass, FieldClass, Flavor, GroupName, GroupPhase, GroupUid, Heeded, Held, Hold,
    IgnoredDifference, InstanceId, Kept, LaunchBackoff, MemberId, Order, OrderState, OrderVerb,
    PauseCause, PolicyHold, PolicyName, Promote, ProviderName, ProviderRef, ProviderType, Proving,
    Quarantine, RateSlot, Reason, RecordedInstance, RecordedOrder, RecordedProvider,
    RecordedQuorum, RecordedStranger, Resize, Rollout, RolloutMode, RolloutStages, RolloutState,
    SeatId, Settled, Signer, SourceSpan, SpentApprovals, Template, TemplateParts, Timestamp,
    UpDown, Value, Vanilla,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use self::rollouts::{proving, quarantine, rollout};
use super::*;

mod flavors;
mod fleet;
mod holds;
mod rollouts;

/// Texts that YAML makes hard: other readers' booleans and numbers, indicators, line breaks, spaces.
pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        Just(String::new()),
        proptest::sample::select(vec![
            "yes",
            "no",
            "off",
            "~",
            "null",
            "true",
            "012",
            "1.5",
            "0x1F",
            "1e3",
            ".inf",
            "---",
            "...",
            "- a",
            "a: b",
            "a #b",
            "#c",
            " lead",
            "trail ",
            "{",
            "[]",
            "*x",
            "&y",
            "!z",
            "%d",
            "@a",
            "`",
            "'",
            "\"",
            "\\",
            "2026-12-01",
            "2026-12-01T08:00:00Z",
            "1:30",
            "?",
            ":",
            ",",
            "|",
            ">",
            "<<",
            "=",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{feff}x",
            "\u{202e}x",
            "\0",
            "\r",
            "a\r\nb",
            "\t",
            "a\n\tb",
            "ünïcode 日本 🚀",
        ])
        .prop_map(str::to_owned),
        // Blocks of lines, with blank, indented and trailing ones.
        "( {0,3}[a-z:#-]{0,3} {0,2}\n){0,5}[a-z ]{0,2}\n{0,3}",
        any::<String>(),
    ]
}

pub(super) fn name() -> impl Strategy<Value = String> {
    "[a-z]([a-z0-9-]{0,8}[a-z0-9])?"
}

pub(super) fn time() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_i64, 0..1_000_000_000_i32).prop_map(|(second, nanosecond)| {
        Timestamp::new(second, nanosecond).expect("the range is within jiff's")
    })
}

pub(super) fn digests() -> impl Strategy<Value = Digests> {
    ("[1-9]", "[a-z2-7]{32}", "[a-z2-7]{32}", "[a-z2-7]{32}")
        .prop_map(|(v, a, b, c)| Digests::parse(&format!("{v}:{a}+{b}+{c}")).unwrap())
}

fn revision() -> impl Strategy<Value = Revision> {
    "[0-9a-f]{40}".prop_map(|text| Revision::parse(&text).unwrap())
}

fn change() -> impl Strategy<Value = drover_model::ChangeId> {
    "[0-9a-f]{64}".prop_map(|text| drover_model::ChangeId::parse(&text).unwrap())
}

pub(super) fn instance_id() -> impl Strategy<Value = InstanceId> {
    any::<u64>().prop_map(|number| InstanceId::new(GroupName::parse("web").unwrap(), number))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (i64::MAX as u64 + 1..).prop_map(Value::UInt),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(Value::Float),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            btree_map(text(), inner, 0..4).prop_map(Value::Map),
        ]
    })
}

/// Returns the value as JSON.
fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::UInt(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::List(list) => list.iter().map(json).collect(),
        Value::Map(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), json(value)))
            .collect(),
    }
}

/// The flavors are what their written form says: the codec keeps the written form alone.
fn template() -> impl Strategy<Value = Template> {
    let vanilla = (
        vec("[^\\p{C}]{1,20}|[a-z\n ]{1,20}", 0..3),
        btree_map("[A-Z_]{1,5}", text(), 0..3),
    );
    let map = btree_map(text(), value(), 0..4).prop_map(Value::Map);
    let tags = btree_map(text(), text(), 0..3);
    (map, vec(vanilla, 0..3), tags).prop_map(|(properties, vanillas, tags)| {
        let written = vanillas.iter().map(|(init, env)| {
            let init = init.iter().map(|line| line.as_str().into()).collect();
            let env = env.iter().map(|(k, v)| (k.clone(), v.as_str().into()));
            let vanilla: Value = [
                ("init".to_owned(), Value::List(init)),
                ("env".to_owned(), env.collect()),
            ]
            .into_iter()
            .collect();
            [("vanilla".to_owned(), vanilla)].into_iter().collect()
        });
        let written = written.chain([flavors::as_written()]);
        Template::from(TemplateParts {
            properties,
            flavors_as_written: Value::List(written.collect()),
            flavors: vanillas
                .into_iter()
                .map(|(init, env)| {
                    Flavor::Vanilla(Vanilla {
                        attachments: Vec::new(),
                        init,
                        env,
                        tags: BTreeMap::new(),
                        secrets: BTreeMap::new(),
                    })
                })
                .chain([flavors::plugin()])
                .collect(),
            tags,
        })
    })
}

fn error_class() -> impl Strategy<Value = ErrorClass> {
    proptest::sample::select(vec![
        ErrorClass::Throttled,
        ErrorClass::Capacity,
        ErrorClass::Quota,
        ErrorClass::InvalidSpec,
        ErrorClass::Auth,
        ErrorClass::Partial,
        ErrorClass::Unknown,
        ErrorClass::NotFound,
    ])
}

fn pause_cause() -> impl Strategy<Value = PauseCause> {
    prop_oneof![
        (any::<(u32, u32)>(), option::of(text())).prop_map(|((failed, threshold), last)| {
            PauseCause::Failures {
                failed,
                threshold,
                last,
            }
        }),
        Just(PauseCause::Deadline),
        text().prop_map(|message| PauseCause::Rejected { message }),
    ]
}

fn policy_hold() -> impl Strategy<Value = PolicyHold> {
    let span = (text(), any::<(u32, u32, u32)>());
    (
        name(),
        text(),
        span,
        text(),
        btree_map(text(), text(), 0..3),
    )
        .prop_map(
            |(policy, binding, (file, (line, column, length)), message, values)| PolicyHold {
                policy: PolicyName::parse(&policy).unwrap(),
                binding,
                span: SourceSpan {
                    file: file.as_str().into(),
                    line,
                    column,
                    length,
                },
                message,
                values,
            },
        )
}

fn held() -> impl Strategy<Value = Held> {
    (
        (text(), any::<u32>(), policy_hold(), pause_cause()),
        any::<proptest::sample::Index>(),
        option::of(proptest::sample::select(Reason::ALL.to_vec())),
        option::of(instance_id()),
        option::of(time()),
    )
        .prop_map(
            |((why, count, policy, cause), index, reason, instance, until)| Held {
                hold: index
                    .get(&holds::all_holds(&why, count, &policy, &cause))
                    .clone(),
                reason,
                instance,
                until,
            },
        )
}

fn accepted() -> impl Strategy<Value = AcceptedDocument> {
    (text(), text(), any::<u32>(), revision()).prop_map(|(text, path, line, revision)| {
        AcceptedDocument {
            text: text.into(),
            path,
            line,
            revision,
        }
    })
}

fn instance() -> impl Strategy<Value = RecordedInstance> {
    (
        option::of("[^ ]{1,10}".prop_map(|text| ProviderRef::parse(&text).unwrap())),
        digests(),
        text(),
        any::<bool>(),
        option::of(text()),
        option::of(text()),
        option::of(text()),
        time(),
    )
        .prop_map(
            |(provider_ref, digests, class, draining, why, address, zone, created_at)| {
                RecordedInstance {
                    seat: draining.then(seat_id),
                    provider_ref,
                    digests,
                    class,
                    draining,
                    address,
                    kept: why.as_ref().map(|why| Kept {
                        since: created_at,
                        until: created_at,
                        because: why.clone(),
                    }),
                    tags: flavors::tags(zone.as_deref()),
                    zone,
                    why,
                    created_at,
                }
            },
        )
}

fn seat_id() -> SeatId {
    SeatId {
        life: GroupUid::parse("0123456789abcdef").unwrap(),
        member: MemberId::parse("m1").unwrap(),
    }
}

fn members() -> impl Strategy<Value = BTreeSet<MemberId>> {
    let id = "[a-z][a-z0-9]{0,5}".prop_map(|text| MemberId::parse(&text).unwrap());
    btree_set(id, 0..4)
}

fn quorum() -> impl Strategy<Value = RecordedQuorum> {
    (
        members(),
        members(),
        any::<bool>(),
        option::of(time()),
        option::of(any::<u64>()),
    )
        .prop_map(
            |(voters, stable, established, calm_since, seated)| RecordedQuorum {
                life: seat_id().life,
                voters,
                stable,
                established,
                calm_since,
                seated: seated.map(EntryId),
            },
        )
}

fn condition() -> impl Strategy<Value = Condition> {
    (any::<Option<bool>>(), text(), text(), time()).prop_map(|(status, reason, message, since)| {
        Condition {
            status,
            reason,
            message,
            since,
        }
    })
}

fn backoff() -> impl Strategy<Value = LaunchBackoff> {
    (any::<u32>(), time(), option::of(error_class()), text()).prop_map(
        |(failures, until, class, message)| LaunchBackoff {
            failures,
            until,
            class,
            message,
        },
    )
}

fn resize() -> impl Strategy<Value = Resize> {
    (time(), any::<u32>()).prop_map(|(until, from)| Resize { until, from })
}

fn heeded() -> impl Strategy<Value = Approval> {
    let verdicts = proptest::sample::select(ApprovalVerdict::ALL.to_vec());
    let said = (
        change(),
        name(),
        verdicts,
        time(),
        time(),
        text(),
        revision(),
    );
    said.prop_map(
        |(change, signer, verdict, at, expires, because, operation)| Approval {
            change,
            signer: Signer::parse(&signer).unwrap(),
            verdict,
            at,
            expires,
            because,
            operation,
        },
    )
}

fn stranger() -> impl Strategy<Value = RecordedStranger> {
    let texts = (
        option::of(text()),
        option::of(text()),
        option::of(text()),
        option::of(time()),
    );
    (
        option::of(instance_id()),
        any::<bool>(),
        option::of(name()),
        texts,
    )
        .prop_map(
            |(instance, outdated, member, (address, zone, claimed_by, missing_since))| {
                RecordedStranger {
                    instance,
                    outdated,
                    member: member.map(|name| MemberId::parse(&name).unwrap()),
                    address,
                    zone,
                    claimed_by,
                    missing_since,
                }
            },
        )
}

fn order() -> impl Strategy<Value = RecordedOrder> {
    let states = prop_oneof![
        Just(OrderState::Open),
        Just(OrderState::Done),
        Just(OrderState::Superseded),
        text().prop_map(|why| OrderState::Refused { why }),
    ];
    let verbs = proptest::sample::select(OrderVerb::ALL.to_vec());
    let said = (instance_id(), name(), verbs, time(), time(), text());
    (said, revision(), states).prop_map(
        |((instance, signer, verb, at, expires, because), operation, state)| RecordedOrder {
            order: Order {
                verb,
                instance,
                signer: Signer::parse(&signer).unwrap(),
                at,
                expires,
                because,
                operation,
            },
            state,
        },
    )
}

// Boxed, as all of them in one value are more than the stack of a test.
prop_compose! {
    fn group()(
        (uid, epoch, next_number, size, stable_size) in
            ("[a-z0-9]{16}", any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>()),
        accepted in option::of(accepted()).boxed(),
        approved in option::of((change(), vec((name(), time(), time(), text(), revision()), 0..3))).boxed(),
        (spent, spent_before) in (btree_map(change(), time(), 0..3), option::of(time())).boxed(),
        (heeded, orders) in
            (vec((heeded(), any::<bool>()), 0..3), vec(order(), 0..3)).boxed(),
        provider in option::of((name(), name(), value())).boxed(),
        (target, stable) in (option::of(digests()), option::of(digests())),
        templates in btree_map(digests(), template(), 0..3).boxed(),
        ignored in btree_map(digests(), (name(), name(), text()), 0..3),
        (rollout, proving) in
            (option::of(rollout()).boxed(), option::of(proving()).boxed()),
        (quarantine, backoff) in (option::of(quarantine()).boxed(), option::of(backoff()).boxed()),
        (change, destroyed) in (option::of(change()), option::of((change(), any::<u32>()))),
        cooling in btree_map(text(), time(), 0..3),
        (up, down, shrunk) in
            (vec(resize(), 0..3), vec(resize(), 0..3), vec(resize(), 0..3)),
        rates in vec((time(), any::<u32>(), any::<u32>(), any::<u32>()), 0..3),
        deleting in option::of((revision(), time())),
        phase in proptest::sample::select(GroupPhase::ALL.to_vec()),
        (quorum, instances) in
            (option::of(quorum()), btree_map(instance_id(), instance(), 0..4)).boxed(),
        (strangers, adopted) in (
            btree_map(text(), stranger(), 0..3),
            option::of(btree_map(text(), text(), 1..3)),
        ).boxed(),
        conditions in btree_map(
            proptest::sample::select(ConditionType::ALL.to_vec()), condition(), 0..4).boxed(),
        holds in vec(held(), 0..3).boxed(),
    ) -> RecordedGroup {
        RecordedGroup {
            name: GroupName::parse("web").unwrap(),
            uid: GroupUid::parse(&uid).unwrap(),
            epoch: Epoch(epoch),
            accepted,
            approved: approved.map(|(change, approvals)| ApprovedChange {
                authors: Authors::recorded([change.to_string()], false),
                approvals: approvals
                    .into_iter()
                    .map(|(signer, at, expires, because, operation)| Approval {
                        change: change.clone(),
                        signer: Signer::parse(&signer).unwrap(),
                        verdict: ApprovalVerdict::Approve,
                        at,
                        expires,
                        because,
                        operation,
                    })
                    .collect(),
                change,
            }),
            spent: SpentApprovals::recorded(spent, spent_before),
            settled: deleting.as_ref().map(|(revision, _)| Settled {
                revision: revision.clone(),
                policies: uid.clone(),
            }),
            heeded: heeded.into_iter().map(|(asked, effect)| Heeded { asked, effect }).collect(),
            orders,
            provider: provider.map(|(name, type_, settings)| RecordedProvider {
                name: ProviderName::parse(&name).unwrap(),
                type_: ProviderType::parse(&type_).unwrap(),
                settings,
                classes: BTreeMap::new(),
            }),
            next_number,
            size,
            target,
            stable,
            stable_size,
            templates,
            strangers: strangers
                .into_iter()
                .filter_map(|(handle, one)| Some((ProviderRef::parse(&handle).ok()?, one)))
                .collect(),
            adopted,
            ignored: ignored
                .into_iter()
                .map(|(digests, (policy, binding, message))| {
                    let ignored = IgnoredDifference {
                        policy: PolicyName::parse(&policy).unwrap(),
                        binding: BindingName::parse(&binding).unwrap(),
                        message,
                    };
                    (digests, ignored)
                })
                .collect(),
            rollout,
            proving,
            quarantine,
            backoff,
            change,
            destroyed,
            cooling,
            resizes: UpDown { up, down },
            shrunk,
            rates: rates
                .into_iter()
                .map(|(since, created, destroyed, size)| RateSlot {
                    since,
                    created,
                    destroyed,
                    size,
                })
                .collect(),
            deleting: deleting.map(|(revision, since)| Deleting { revision, since }),
            phase,
            quorum,
            instances,
            conditions,
            holds,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn restores_every_group_exactly(group in group()) {
        let text = encode(&group);
        let restored = decode(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&restored, &group, "{}", text);
        prop_assert_eq!(encode(&restored), text);
    }

    #[test]
    fn restores_every_value_exactly(value in value()) {
        let mut group = RecordedGroup::new(
            GroupName::parse("web").unwrap(),
            GroupUid::parse("0123456789abcdef").unwrap(),
            Epoch(1),
        );
        group.provider = Some(RecordedProvider {
            name: ProviderName::parse("local").unwrap(),
            type_: ProviderType::parse("process").unwrap(),
            settings: value,
            classes: BTreeMap::from([("env".to_owned(), FieldClass::Live)]),
        });
        let text = encode(&group);
        prop_assert_eq!(decode(&text), Ok(group), "{}", text);
    }

    #[test]
    fn another_reader_sees_the_same(value in value()) {
        let yaml = write::document(&write::Yaml::Map(vec![
            ("value".to_owned(), write::Yaml::value(&value)),
        ]));
        let read: serde_json::Value = serde_saphyr::from_str(&yaml)
            .map_err(|error| TestCaseError::fail(format!("{error}\n{yaml}")))?;
        prop_assert_eq!(&read["value"], &json(&value), "{}", yaml);
    }

    #[test]
    fn never_panics_on_a_damaged_record(group in group(), at in any::<prop::sample::Index>(), with in any::<char>()) {
        let text = encode(&group);
        let mut characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len());
        characters[at] = with;
        let _ = decode(&characters.into_iter().collect::<String>());
    }
}

fn small() -> RecordedGroup {
    RecordedGroup::new(
        GroupName::parse("web").unwrap(),
        GroupUid::parse("0123456789abcdef").unwrap(),
        Epoch(3),
    )
}

#[test]
fn refuses_a_newer_format_by_its_number() {
    let text = encode(&small()).replace("format: 1", "format: 2");
    let newer = RecordError::Newer { found: 2, known: 1 };
    assert_eq!(decode(&text), Err(newer.clone()));
    insta::assert_snapshot!(newer, @"the recorded state has format 2, and this version of drover knows 1: use the newer version that wrote it");
    // Also where the newer format has fields that this version does not know.
    let text = text.replace("phase:", "stage:");
    assert!(matches!(decode(&text), Err(RecordError::Newer { .. })));
}

#[test]
fn refuses_another_kind_of_record() {
    let text = encode_fleet(&RecordedFleet::default());
    assert!(matches!(decode(&text), Err(RecordError::Kind { .. })));
    assert!(matches!(decode(""), Err(RecordError::Syntax { .. })));
}

#[test]
fn names_the_field_that_is_damaged() {
    let text = encode(&small());
    let message = |text: &str| decode(text).unwrap_err().to_string();
    insta::assert_snapshot!(message(&text.replace("size: 0", "size: many")), @"the recorded state is damaged, line 9: `size` must be a whole number in its range");
    insta::assert_snapshot!(message(&text.replace("phase: Pending", "phase: Pnding")), @"the recorded state is damaged, line 8: `phase` is no known word: Pnding");
    insta::assert_snapshot!(message(&text.replace("uid: ", "uit: ")), @"the recorded state is damaged, line 6: `metadata.uit` is unknown");
}

fn kept(why: &str) -> Kept {
    Kept {
        since: "2026-03-01T09:30:00Z".parse().unwrap(),
        until: "2026-03-02T09:30:00Z".parse().unwrap(),
        because: why.to_owned(),
    }
}

#[test]
fn reads_well() {
    let digests = |letter: &str| {
        let hash = letter.repeat(32);
        Digests::parse(&format!("1:{hash}+{hash}+{hash}")).unwrap()
    };
    let time = |text: &str| crate::parse_time(text).unwrap();
    let mut group = small();
    group.phase = GroupPhase::Held;
    group.size = 2;
    group.stable_size = 2;
    group.next_number = 4;
    group.target = Some(digests("b"));
    group.stable = Some(digests("a"));
    group.accepted = Some(AcceptedDocument {
        text: "# The shop.\napiVersion: drover/v1alpha1\nkind: Group\nmetadata: {name: web}\n"
            .into(),
        path: "groups/web.yaml".to_owned(),
        line: 1,
        revision: Revision::parse(&"c0ffee".repeat(7)[..40]).unwrap(),
    });
    group.provider = Some(RecordedProvider {
        name: ProviderName::parse("local").unwrap(),
        type_: ProviderType::parse("process").unwrap(),
        settings: Value::empty_map(),
        classes: BTreeMap::new(),
    });
    group.conditions.insert(
        ConditionType::Ready,
        Condition {
            status: Some(false),
            reason: "Held".to_owned(),
            message: "1 of 2 instances is available".to_owned(),
            since: time("2026-03-01T10:00:00Z"),
        },
    );
    group.holds.push(Held {
        hold: Hold::AvailabilityFloor {
            floor: 2,
            available: 1,
        },
        reason: Some(Reason::Update),
        instance: None,
        until: None,
    });
    for (number, class, why) in [
        (1, "Available", None),
        (
            3,
            "Failed",
            Some("exit status 1: no such file\ngiving up\n"),
        ),
    ] {
        group.instances.insert(
            InstanceId::new(group.name.clone(), number),
            RecordedInstance {
                seat: None,
                provider_ref: Some(ProviderRef::parse("p-1").unwrap()),
                digests: digests("a"),
                class: class.to_owned(),
                draining: number == 1,
                why: why.map(str::to_owned),
                address: Some("127.64.0.1".to_owned()),
                zone: None,
                created_at: time("2026-03-01T09:00:00.5Z"),
                tags: flavors::joined(why),
                kept: why.map(kept),
            },
        );
    }
    insta::assert_snapshot!(encode(&group));
}
