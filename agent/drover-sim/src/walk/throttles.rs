//! Calls that are limited as a cloud limits them.

use std::collections::BTreeMap;

use drover_provider_sim::{Bucket, Op, Throttle};

/// Returns token buckets in the proportions of Amazon EC2's, as small as the groups here: few calls at
/// once, launches the fewest, and instances counted apart.
pub(super) fn throttles() -> BTreeMap<Op, Throttle> {
    let bucket = |burst| {
        Some(Bucket {
            burst,
            per_second: 1,
        })
    };
    let of = |calls, instances| Throttle { calls, instances };
    BTreeMap::from([
        (Op::List, of(bucket(4), None)),
        // A batch is never larger than what may be made at once, or it would be refused for ever.
        (Op::Provision, of(bucket(1), bucket(30))),
        (Op::Destroy, of(bucket(3), bucket(30))),
        (Op::Release, of(bucket(3), None)),
    ])
}
