//! The record of the fleet's documents.

use super::*;

proptest! {
    #[test]
    fn restores_every_fleet_exactly(
        revision in option::of(revision()),
        documents in btree_map(
            (proptest::sample::select(Kind::ALL.to_vec()), name()), accepted(), 0..4),
        others in proptest::collection::vec(btree_map(
            (proptest::sample::select(Kind::ALL.to_vec()), name()), accepted(), 0..3), 0..3),
        left_behind in proptest::collection::btree_set(revision(), 0..3),
        rewrite in option::of((revision(), revision(), text())),
    ) {
        let accepted_rewrite = rewrite.map(|(revision, replaced, by)| AcceptedRewrite {
            revision,
            replaced,
            by,
        });
        // Some are in force as they were.
        let mut earlier = others;
        for (set, both) in earlier.iter_mut().zip(0..) {
            set.extend(documents.clone().into_iter().skip(both));
        }
        let fleet = RecordedFleet { revision, documents, earlier, accepted_rewrite, left_behind };
        let text = encode_fleet(&fleet);
        prop_assert_eq!(decode_fleet(&text), Ok(fleet), "{}", text);
    }
}
