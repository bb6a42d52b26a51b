//! Rollouts of every kind, and what is remembered of those that are over.

use super::*;

fn stages() -> impl Strategy<Value = RolloutStages> {
    let reached = || option::of((any::<u32>(), time()));
    (
        option::of(any::<u32>()),
        reached(),
        any::<bool>(),
        reached(),
        any::<u32>(),
        option::of(time()),
        option::of(any::<u32>()),
    )
        .prop_map(
            |(size, canary, promoted, reached, passed, bake_since, updated)| RolloutStages {
                size,
                canary,
                promoted,
                reached,
                passed,
                bake_since,
                updated,
            },
        )
}

pub(super) fn quarantine() -> impl Strategy<Value = Quarantine> {
    (digests(), pause_cause(), time()).prop_map(|(digests, cause, since)| Quarantine {
        digests,
        cause,
        since,
    })
}

pub(super) fn rollout() -> impl Strategy<Value = Rollout> {
    (
        digests(),
        time(),
        (time(), any::<bool>()),
        option::of(pause_cause()),
        (
            btree_set(instance_id(), 0..3),
            btree_set(instance_id(), 0..3),
        ),
        option::of(text()),
        stages(),
        option::of(text()),
    )
        .prop_map(
            |(
                target,
                started_at,
                (progressed_at, stood_still),
                cause,
                (failures, forgiven),
                last_failure,
                stages,
                refused,
            )| {
                Rollout {
                    stages,
                    target,
                    started_at,
                    progressed_at,
                    clock_stood_still: stood_still,
                    state: cause.map_or(RolloutState::Progressing, RolloutState::Paused),
                    failures,
                    forgiven,
                    last_failure,
                    refused,
                }
            },
        )
}

pub(super) fn proving() -> impl Strategy<Value = Proving> {
    (digests(), any::<u32>(), members(), time(), rollout()).prop_map(|of| Proving {
        before: of.0,
        size_before: of.1,
        members_before: of.2,
        until: of.3,
        rollout: of.4,
    })
}
