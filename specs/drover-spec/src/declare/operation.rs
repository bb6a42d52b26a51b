//! The fields of an operation.

use super::{Object, Shape, any, optional, required};

/// The longest reason that somebody gives.
const BECAUSE_MAX: usize = 1000;

pub(crate) static OPERATION: Object = any(
    "an operation",
    "What a person with a key asks of the agents.",
    &[
        required(
            "apiVersion",
            Shape::Word(&["drover/v1alpha1"], &[]),
            "The version of the format.",
        ),
        required("kind", Shape::Word(&["Operation"], &[]), "The kind."),
        required("spec", Shape::Object(&OPERATION_SPEC), "What is asked."),
    ],
);

pub(crate) static OPERATION_SPEC: Object = any(
    "spec",
    "What is asked.",
    &[
        required(
            "operation",
            Shape::Word(
                &[
                    "approve", "reject", "promote", "retry", "replace", "restart", "yield", "keep",
                    "release",
                ],
                &[],
            ),
            "What: `approve` or `reject` a change, `promote` its rollout past the stage that it waits at, or `retry` it after failures; `replace`, `restart` or `keep` an instance, let it `yield` its place when its group gets smaller, or `release` it from what was asked of it.",
        ),
        required(
            "fleet",
            Shape::Name,
            "The fleet: another's agents do not listen.",
        ),
        required("group", Shape::Name, "The group."),
        optional(
            "change",
            Shape::Text { max: 64 },
            "The id of the change, as `drover plan` and the trailer `Drover-Plan` have it; for what is asked of a change.",
        ),
        optional(
            "instance",
            Shape::Text { max: 64 },
            "The id of the instance, such as `web-7`; for what is asked of an instance.",
        ),
        required("at", Shape::Time, "When it was asked."),
        required(
            "expires",
            Shape::Time,
            "When it ends to count, at most 30 days after `at`.",
        ),
        required("because", Shape::Text { max: BECAUSE_MAX }, "Why."),
    ],
);
