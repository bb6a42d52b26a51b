use std::collections::BTreeMap;

use super::{FirstLook, Missing, Sight};

fn sights(of: &[(&str, Sight)]) -> BTreeMap<String, Sight> {
    let of = of.iter().cloned();
    of.map(|(id, sight)| (id.to_owned(), sight)).collect()
}

fn down() -> Sight {
    Sight::Missing("it is down".to_owned())
}

/// The scopes that are missing, or none if the look is over.
fn missing(look: &mut FirstLook, of: &[(&str, Sight)]) -> Option<Vec<String>> {
    let left = look.take(true, &sights(of))?;
    assert!(!left.source);
    Some(left.scopes.into_keys().collect())
}

#[test]
fn each_scope_is_missing_until_it_was_listed_once() {
    let mut look = FirstLook::default();
    let both = |a, b| [("a", a), ("b", b)];
    assert_eq!(
        missing(&mut look, &both(down(), down())).unwrap(),
        ["a", "b"]
    );
    assert_eq!(
        missing(&mut look, &both(Sight::Whole, down())).unwrap(),
        ["b"]
    );
    // What fails later was listed all the same.
    assert_eq!(missing(&mut look, &both(down(), down())).unwrap(), ["b"]);
    assert!(!look.wants("a") && look.wants("b"));
    assert_eq!(missing(&mut look, &both(down(), Sight::Whole)), None);
}

#[test]
fn nothing_is_over_before_the_source_was_read() {
    let mut look = FirstLook::default();
    let all = sights(&[("a", Sight::Whole)]);
    let unread = Missing {
        source: true,
        scopes: BTreeMap::new(),
    };
    assert_eq!(look.take(false, &all), Some(unread));
    assert!(!look.has_read_source());
    let half = sights(&[("a", Sight::Whole), ("b", down())]);
    assert!(look.take(true, &half).is_some_and(|left| !left.source));
    // It was read once; that it cannot be read now holds nobody, and ends nothing.
    assert_eq!(look.take(false, &all), Some(Missing::default()));
    assert_eq!(look.take(true, &all), None);
}

#[test]
fn what_a_group_waits_for_keeps_a_scope_open_and_holds_nobody_else() {
    let mut look = FirstLook::default();
    assert_eq!(
        missing(&mut look, &[("a", Sight::Claimed)]).unwrap(),
        [""; 0]
    );
    assert!(look.wants("a"));
    assert_eq!(missing(&mut look, &[("a", Sight::Whole)]), None);
}

#[test]
fn a_scope_that_went_and_came_back_is_listed_again() {
    let mut look = FirstLook::default();
    let first = [("a", Sight::Whole), ("b", down())];
    assert_eq!(missing(&mut look, &first).unwrap(), ["b"]);
    assert_eq!(missing(&mut look, &[("b", down())]).unwrap(), ["b"]);
    let back = [("a", down()), ("b", down())];
    assert_eq!(missing(&mut look, &back).unwrap(), ["a", "b"]);
}
