use drover_model::{BindingName, PolicyName, SourceSpan};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::record::encode::header;
use crate::record::read;
use crate::record::tests::{digests as some_digests, instance_id, name, text, time};
use crate::record::write;

prop_compose! {
    fn verdict()(
        (policy, binding, digest) in (name(), name(), text()),
        point in select(DecisionPoint::ALL.to_vec()),
        enforcement in select(Enforcement::ALL.to_vec()),
        outcome in prop_oneof![
            Just(Outcome::Passed), Just(Outcome::Failed), text().prop_map(Outcome::Error)],
        message in text(),
        (file, line, column, length) in (text(), any::<u32>(), any::<u32>(), any::<u32>()),
        values in btree_map(text(), text(), 0..3),
    ) -> Verdict {
        Verdict {
            policy: PolicyName::parse(&policy).unwrap(),
            binding: BindingName::parse(&binding).unwrap(),
            point,
            enforcement,
            outcome,
            message,
            span: SourceSpan { file: Arc::from(file.as_str()), line, column, length },
            values,
            digest,
        }
    }
}

fn reason() -> impl Strategy<Value = Reason> {
    select(Reason::ALL.to_vec())
}

fn score() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("finite", |score| score.is_finite())
}

fn ids() -> impl Strategy<Value = BTreeSet<InstanceId>> {
    btree_set(instance_id(), 0..4)
}

fn size() -> impl Strategy<Value = SizeDecision> {
    prop_oneof![
        (any::<u32>(), any::<i64>(), verdict()).prop_map(|(size, asked, verdict)| {
            SizeDecision::Chosen {
                size,
                asked,
                verdict,
            }
        }),
        verdict().prop_map(SizeDecision::Failed),
    ]
}

fn health() -> impl Strategy<Value = HealthOverride> {
    let health = select(HealthVerdict::ALL.to_vec());
    (health, verdict(), ids()).prop_map(|(health, verdict, instances)| HealthOverride {
        health,
        verdict,
        instances,
    })
}

fn drift() -> impl Strategy<Value = DriftDecision> {
    let class = select(FieldClass::ALL.to_vec());
    (some_digests(), some_digests(), class, verdict()).prop_map(|(from, to, class, verdict)| {
        DriftDecision {
            from,
            to,
            class,
            verdict,
        }
    })
}

fn place() -> impl Strategy<Value = PlaceDecision> {
    prop_oneof![
        score().prop_map(PlaceDecision::Score),
        verdict().prop_map(PlaceDecision::Forbidden),
    ]
}

prop_compose! {
    fn decisions()(
        (size, health) in (option::of(size()), vec(health(), 0..3)).boxed(),
        (drift, gates) in
            (vec(drift(), 0..3), btree_map(reason(), vec(verdict(), 0..2), 0..3)).boxed(),
        budgets in btree_map(reason(), (any::<u32>(), verdict()), 0..3).boxed(),
        protections in
            vec((verdict(), btree_map(reason(), ids(), 0..3)), 0..3).boxed(),
        victims in btree_map(reason(), btree_map(instance_id(), score(), 0..3), 0..3).boxed(),
        places in btree_map(text(), place(), 0..3).boxed(),
        analysis in
            option::of((select(AnalysisResult::ALL.to_vec()), verdict())).boxed(),
        (violations, trace) in (vec(verdict(), 0..3), vec(verdict(), 0..3)).boxed(),
        review_at in option::of(time()),
    ) -> Decisions {
        Decisions {
            size,
            health,
            drift: Drift(drift),
            gates,
            budgets: budgets
                .into_iter()
                .map(|(reason, (max, verdict))| (reason, BudgetDecision { max, verdict }))
                .collect(),
            protections: protections
                .into_iter()
                .map(|(verdict, instances)| Protection { verdict, instances })
                .collect(),
            victims,
            places,
            analysis: analysis.map(|(result, verdict)| AnalysisDecision { result, verdict }),
            violations,
            trace,
            review_at,
        }
    }
}

const KIND: &str = "Tested";

fn encoded(decisions: &Decisions) -> String {
    let root = header(KIND).with("decisions", decisions_out(decisions));
    write::document(&root.build())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn restores_every_decision_exactly(decisions in decisions()) {
        let text = encoded(&decisions);
        let restored = read::root(&text, KIND).and_then(|root| {
            decisions_in(&Reader::root(&root).get("decisions")?)
        });
        let restored = restored.map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&restored, &decisions, "{}", text);
        prop_assert_eq!(encoded(&restored), text);
    }
}
