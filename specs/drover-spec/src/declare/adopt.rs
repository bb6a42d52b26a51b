//! The fields of adoption.

use super::{Object, Preset, Shape, any, optional, preset, required};

pub(crate) static ADOPT: Object = any(
    "adopt",
    "Which instances that somebody else made the group takes over.",
    &[
        required(
            "selector",
            Shape::Object(&TAGS),
            "What an instance must have to be taken over.",
        ),
        preset(
            "revision",
            Shape::Word(&["assume", "keep"], &[]),
            Preset::Word("assume"),
            "What an adopted instance counts as. `assume`: as made from the template in force when it is adopted, so that a later template replaces it; `keep`: as of a revision of its own, which no rollout replaces.",
        ),
        optional(
            "current",
            Shape::Object(&CURRENT),
            "What tells instances of the template in Git from outdated ones: what lacks one of these tags is adopted as outdated, and the rollout replaces it. For `revision: assume`.",
        ),
    ],
);

static CURRENT: Object = any(
    "a selector of tags with others beside it",
    "What an instance of the template in Git has.",
    &[
        required(
            "matchTags",
            Shape::TextMap,
            "The tags with their values: all of them, and at least one.",
        ),
        optional(
            "or",
            Shape::List {
                of: &Shape::Object(&TAGS),
                min: 1,
            },
            "Other sets of tags: an instance that has all tags of one of them is current, too.",
        ),
    ],
);

pub(crate) static TAGS: Object = any(
    "a selector of tags",
    "The provider's own tags that an instance must have.",
    &[required(
        "matchTags",
        Shape::TextMap,
        "The tags with their values: all of them, and at least one.",
    )],
);
