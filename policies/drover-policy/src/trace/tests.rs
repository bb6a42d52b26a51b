use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use drover_model::{DecisionPoint, SourceText};

use super::{Key, Part, recorded};
use crate::check::Declared;
use crate::evaluate::context_of;
use crate::expression::Expression;
use crate::meter::Budget;
use crate::stack::on_large_stack;
use crate::types::Fields;
use crate::value;

/// The parts of an expression with what they came to, as people read them.
fn traced(text: &str) -> String {
    on_large_stack(|| {
        let declared = Declared {
            point: Some(DecisionPoint::Gate),
            params: Arc::new(Fields {
                name: "params",
                types: BTreeMap::new(),
            }),
            variables: &BTreeMap::new(),
            all_variables: &BTreeSet::new(),
        };
        let expression =
            Expression::compile(&SourceText::inline(text), &declared, Some(7)).unwrap();
        let plain = Expression::compile(&SourceText::inline(text), &declared, None).unwrap();
        let context = context_of([("reason", value::text("update"))]);
        let show = |value: Result<value::Boxed<'_>, String>| {
            value.map(|value| value::show(value.as_ref()))
        };
        let (mut spent, mut spent_plain) = (Budget::new(1_000_000), Budget::new(1_000_000));
        let (result, record) = recorded(|| show(expression.evaluate(&context, &mut spent)));
        assert_eq!(result, show(plain.evaluate(&context, &mut spent_plain)));
        assert_eq!(
            spent.spent(),
            spent_plain.spent(),
            "following an expression costs nothing"
        );
        let (number, part) = expression.traced.unwrap();
        let mut told = String::new();
        tell(text, number, &part, &record, 0, &mut told);
        told
    })
    .unwrap()
}

fn tell(
    text: &str,
    number: u32,
    part: &Part,
    record: &super::Record,
    depth: usize,
    told: &mut String,
) {
    let came = match record.get(&Key::new(number, part.id)) {
        None => "-".to_owned(),
        Some(seen) if seen.left == 0 => "failed".to_owned(),
        Some(seen) => {
            let values = seen.values.iter();
            let values = values.map(|(value, times)| match times {
                1 => value.clone(),
                times => format!("{value} x{times}"),
            });
            values.collect::<Vec<_>>().join(", ")
        }
    };
    let text_of = &text[part.range.clone()];
    let _ = writeln!(told, "{}{text_of} => {came}", "  ".repeat(depth));
    for child in &part.children {
        tell(text, number, child, record, depth + 1, told);
    }
}

#[test]
fn operands_and_branches_are_followed() {
    insta::assert_snapshot!(traced(
        r#"(reason == "heal" || (reason != "scaleIn" && size(reason) > 3)) ? (1 + 2) * 3 : size("a)")"#
    ), @r#"
    (reason == "heal" || (reason != "scaleIn" && size(reason) > 3)) ? (1 + 2) * 3 : size("a)") => 9
      reason == "heal" || (reason != "scaleIn" && size(reason) > 3) => true
        reason == "heal" => false
          reason => update
        reason != "scaleIn" && size(reason) > 3 => true
          reason != "scaleIn" => true
            reason => update
          size(reason) > 3 => true
            size(reason) => 6
              reason => update
      (1 + 2) * 3 => 9
        1 + 2 => 3
      size("a)") => -
    "#);
}

#[test]
fn what_is_not_needed_is_not_evaluated() {
    insta::assert_snapshot!(traced(r#"reason == "update" || reason.matches("(x)") && [1].all(x, x > 0)"#), @r#"
    reason == "update" || reason.matches("(x)") && [1].all(x, x > 0) => true
      reason == "update" => true
        reason => update
      reason.matches("(x)") && [1].all(x, x > 0) => -
        reason.matches("(x)") => -
          reason => -
        [1].all(x, x > 0) => -
          x > 0 => -
            x => -
    "#);
}

#[test]
fn loops_have_a_value_per_round() {
    insta::assert_snapshot!(traced(
        "[1, 2, 3].filter(x, x > 1).map(x, x * 2).exists(i, v, i > 0 && v == 6) && [3, 1].sortBy(x, -x)[0] == 3"
    ), @"
    [1, 2, 3].filter(x, x > 1).map(x, x * 2).exists(i, v, i > 0 && v == 6) && [3, 1].sortBy(x, -x)[0] == 3 => true
      [1, 2, 3].filter(x, x > 1).map(x, x * 2).exists(i, v, i > 0 && v == 6) => true
        [1, 2, 3].filter(x, x > 1).map(x, x * 2) => [4, 6]
          [1, 2, 3].filter(x, x > 1) => [2, 3]
            x > 1 => false, true x2
              x => 1, 2, 3
          x * 2 => 4, 6
            x => 2, 3
        i > 0 && v == 6 => false, true
          i > 0 => false, true
            i => 0, 1
          v == 6 => true
            v => 6
      [3, 1].sortBy(x, -x)[0] == 3 => true
        [3, 1].sortBy(x, -x)[0] => 3
          [3, 1].sortBy(x, -x) => [3, 1]
            -x => -3, -1
              x => 3, 1
    ");
}

#[test]
fn macros_show_what_was_written() {
    insta::assert_snapshot!(traced(
        "cel.bind(a, size(reason), a + 1) > optional.of(3).optMap(x, x + size(reason)).orValue(1) || has({'a': 1}.a)"
    ), @"
    cel.bind(a, size(reason), a + 1) > optional.of(3).optMap(x, x + size(reason)).orValue(1) || has({'a': 1}.a) => true
      cel.bind(a, size(reason), a + 1) > optional.of(3).optMap(x, x + size(reason)).orValue(1) => false
        cel.bind(a, size(reason), a + 1) => 7
          size(reason) => 6
            reason => update
          a + 1 => 7
            a => 6
        optional.of(3).optMap(x, x + size(reason)).orValue(1) => 9
          optional.of(3).optMap(x, x + size(reason)) => optional.of(9)
            optional.of(3) => optional.of(3)
            x + size(reason) => 9
              x => 3
              size(reason) => 6
                reason => update
      has({'a': 1}.a) => true
    ");
}

#[test]
fn a_part_that_fails_is_told() {
    insta::assert_snapshot!(traced(
        "{'a': {'b': [1]}}['a'].b[int(reason == 'update' ? '5' : '0')] == math.greatest(1, 2)"
    ), @"
    {'a': {'b': [1]}}['a'].b[int(reason == 'update' ? '5' : '0')] == math.greatest(1, 2) => failed
      {'a': {'b': [1]}}['a'].b[int(reason == 'update' ? '5' : '0')] => failed
        {'a': {'b': [1]}}['a'] => {1 entry}
        int(reason == 'update' ? '5' : '0') => 5
          reason == 'update' ? '5' : '0' => 5
            reason == 'update' => true
              reason => update
            '5' => 5
            '0' => -
    ");
}

#[test]
fn places_are_told_in_bytes_whatever_the_text() {
    insta::assert_snapshot!(traced("'né(' + reason == 'é\u{1f600}' || ( size('ü)') == 2 )"), @"
    'né(' + reason == 'é😀' || ( size('ü)') == 2 ) => true
      'né(' + reason == 'é😀' => false
        'né(' + reason => né(update
          reason => update
      size('ü)') == 2 => true
        size('ü)') => 2
    ");
    insta::assert_snapshot!(traced("reason == 'heal' // a ( comment 'é\n || {'é': 1}['é'] == 1"), @"
    reason == 'heal' // a ( comment 'é
     || {'é': 1}['é'] == 1 => true
      reason == 'heal' => false
        reason => update
      {'é': 1}['é'] == 1 => true
        {'é': 1}['é'] => 1
    ");
}
