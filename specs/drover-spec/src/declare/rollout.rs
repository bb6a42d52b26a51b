//! The fields of a Group document that say how a new template takes the place of an old one.

use drover_model::defaults;

use super::group::{AMOUNT, AMOUNT_SOME};
use super::{Object, Preset, Shape, any, duration, later, optional, preset, required};
use crate::limits::GROUP_SIZE_MAX;

pub(crate) static ROLLOUT: Object = any(
    "rollout",
    "How a new template replaces an old one.",
    &[
        preset(
            "maxSurge",
            AMOUNT,
            Preset::Amount(defaults::SURGE_MAX),
            "Instances allowed above the size, a share rounded up; 0 in quorum groups.",
        ),
        preset(
            "maxUnavailable",
            AMOUNT,
            Preset::Amount(defaults::UNAVAILABLE_MAX),
            "Instances that may be missing, a share rounded down; 1 in quorum groups unless written.",
        ),
        preset(
            "firstBatch",
            Shape::Integer {
                min: 1,
                max: GROUP_SIZE_MAX,
            },
            Preset::Integer(defaults::FIRST_BATCH),
            "Instances of the new template made before one of them is available.",
        ),
        preset(
            "minReady",
            duration(0, 24),
            Preset::Duration(defaults::MIN_READY),
            "How long an instance is healthy before it counts as available.",
        ),
        optional(
            "progressDeadline",
            Shape::Auto(&duration(100, 168)),
            "Time without a new available instance after which the rollout failed. `auto`: max(15m, startupTimeout + minReady + drain.timeout + 5m).",
        ),
        optional(
            "failureThreshold",
            Shape::Auto(&Shape::Integer {
                min: 1,
                max: GROUP_SIZE_MAX,
            }),
            "Distinct failed instances of the new template after which the rollout failed. `auto`: 10 % of the size, at least 1, at most 10.",
        ),
        preset(
            "onFailure",
            Shape::Word(&["pause", "rollback", "continue"], &[]),
            Preset::Word("pause"),
            "What a failed rollout does: `pause` stops replacing, while healing and scaling go on; `rollback` returns to the last good template; `continue` goes on.",
        ),
        preset(
            "mode",
            Shape::Word(&["proactive", "opportunistic", "manual"], &[]),
            Preset::Word("proactive"),
            "`proactive`: outdated instances are replaced; `opportunistic`: only what is replaced for another reason gets the new template; `manual`: not even that, unless `heal.revision` says so.",
        ),
        preset(
            "paused",
            Shape::Boolean,
            Preset::Boolean(false),
            "Whether outdated instances are left alone for now. Healing and scaling go on, with the last good template.",
        ),
        preset(
            "order",
            Shape::Word(&["auto", "createFirst", "deleteFirst"], &[]),
            Preset::Word("auto"),
            "`createFirst`: nothing that serves goes while fewer than the size would be left; `deleteFirst`: nothing is made above the size; `auto`: both, as surge and unavailability allow.",
        ),
        optional(
            "canary",
            Shape::Object(&CANARY),
            "The first instances of a new template, which are watched before the others follow.",
        ),
        optional(
            "checkpoints",
            Shape::List {
                of: &Shape::Object(&CHECKPOINT),
                min: 0,
            },
            "Points at which the rollout waits, each once.",
        ),
        preset(
            "bake",
            duration(0, 168),
            Preset::Duration(defaults::BAKE),
            "How long every instance is available with the new template before it becomes the last good one.",
        ),
        optional(
            "partition",
            AMOUNT,
            "Most instances of the new template, a share rounded up. None: all.",
        ),
        preset(
            "monitor",
            duration(0, 168),
            Preset::Duration(defaults::MONITOR),
            "How long after being ready an instance that breaks counts against its template.",
        ),
        preset(
            "maxAction",
            Shape::Word(&["live", "restart", "replace"], &[]),
            Preset::Word("replace"),
            "The most that may be done to an instance for being outdated. What needs more is blocked, and says so.",
        ),
        later("batch", "barrier batches"),
        later("minAction", "a smallest action"),
    ],
);

pub(crate) static CANARY: Object = any(
    "rollout.canary",
    "The first instances of a new template, which are watched before the others follow.",
    &[
        preset(
            "count",
            AMOUNT_SOME,
            Preset::Amount(defaults::CANARY_COUNT),
            "How many, a share rounded up.",
        ),
        preset(
            "hold",
            duration(0, 168),
            Preset::Duration(defaults::CANARY_HOLD),
            "How long they are watched, from the moment when all of them are available.",
        ),
        preset(
            "promote",
            Shape::Word(&["auto", "manual"], &[]),
            Preset::Word("auto"),
            "`auto`: the others follow after `hold`; `manual`: when a commit says `auto` or removes the canary.",
        ),
    ],
);

pub(crate) static CHECKPOINT: Object = any(
    "a checkpoint",
    "A point at which the rollout waits.",
    &[
        required(
            "at",
            AMOUNT_SOME,
            "How many instances have the new template there, a share of the size at the rollout's beginning, rounded up.",
        ),
        preset(
            "wait",
            duration(0, 168),
            Preset::Duration(defaults::CHECKPOINT_WAIT),
            "For how long it waits, from the moment when they are available.",
        ),
    ],
);
