use proptest::prelude::*;

use super::*;

#[test]
fn shares_round_up_and_down() {
    let tenth = Amount::Percent(10);
    assert_eq!(
        [1, 9, 10, 11, 100].map(|size| tenth.ceil_of(size)),
        [1, 1, 1, 2, 10]
    );
    assert_eq!(
        [1, 9, 10, 11, 100].map(|size| tenth.floor_of(size)),
        [0, 0, 1, 1, 10]
    );
    assert_eq!(Amount::Percent(0).ceil_of(7), 0);
    assert_eq!(Amount::Count(3).ceil_of(1), 3);
}

proptest! {
    #[test]
    fn a_share_never_exceeds_the_size_and_its_roundings_differ_by_at_most_one(
        share in 0u32..=100,
        size in 0u32..=u32::MAX,
    ) {
        let (up, down) = (Amount::Percent(share).ceil_of(size), Amount::Percent(share).floor_of(size));
        prop_assert!(down <= up && up <= size && up - down <= 1);
    }
}
