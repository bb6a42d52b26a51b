//! The fields of a Group document that say when and how many disruptions may be.

use std::time::Duration;

use drover_model::{Amount, defaults};

use super::group::AMOUNT_SOME;
use super::others::SELECTOR;
use super::{Field, Object, Preset, Shape, any, optional, preset, required};
use crate::limits::MESSAGE_LENGTH_MAX;

/// Every reason of a disruption.
pub(crate) const REASONS: &[&str] = &[
    "update",
    "heal",
    "scaleIn",
    "expiry",
    "rebalance",
    "interruption",
    "delete",
    "cost",
];

/// The reasons that a budget may have: a removed group has none.
pub(crate) const BUDGET_REASONS: &[&str] = &[
    "update",
    "heal",
    "scaleIn",
    "expiry",
    "rebalance",
    "interruption",
    "cost",
];

/// What shares a budget, of a group or of the fleet.
const REASONS_OF_BUDGET: Field = optional(
    "reasons",
    Shape::Words(BUDGET_REASONS),
    "The disruptions that share it. None: update, scaleIn, expiry, rebalance and cost.",
);

/// What single instances can be protected from.
pub(crate) const PROTECT_REASONS: &[&str] = &["scaleIn", "update", "expiry", "heal", "rebalance"];

/// Longest cron expression and zone name.
const WORD_MAX: usize = 256;

pub(crate) static WINDOW: Object = any(
    "a window",
    "Times at which disruptions may, or may not, begin.",
    &[
        required(
            "kind",
            Shape::Word(&["allow", "deny"], &[]),
            "`allow`: they may begin while it is open, and not while no such window is; `deny`: they may not begin while it is open, whatever else is.",
        ),
        required(
            "cron",
            Shape::Text { max: WORD_MAX },
            "When it opens: minute, hour, day of the month, month and day of the week, as cron has them.",
        ),
        required(
            "duration",
            Shape::Duration {
                min: Duration::from_mins(1),
                max: Duration::from_hours(31 * 24),
            },
            "How long it stays open.",
        ),
        preset(
            "timezone",
            Shape::Text { max: WORD_MAX },
            Preset::Word("UTC"),
            "The IANA time zone of `cron`, such as Europe/Berlin.",
        ),
        optional(
            "reasons",
            Shape::Words(REASONS),
            "The disruptions that it is about. None: update, scaleIn, expiry, rebalance and cost.",
        ),
    ],
);

pub(crate) static BUDGET: Object = any(
    "a budget",
    "The most disruptions in flight at once.",
    &[
        REASONS_OF_BUDGET,
        required(
            "max",
            AMOUNT_SOME,
            "How many at once, a share of the size rounded up.",
        ),
    ],
);

pub(crate) static FLEET_BUDGET: Object = any(
    "a budget of the fleet",
    "The most disruptions in flight at once, in several groups together.",
    &[
        required("name", Shape::Name, "What it is called in holds."),
        optional(
            "selector",
            Shape::Object(&SELECTOR),
            "The groups that share it. None: all of them.",
        ),
        REASONS_OF_BUDGET,
        required(
            "max",
            AMOUNT_SOME,
            "How many at once, a share of the sizes of these groups together, rounded up.",
        ),
    ],
);

pub(crate) static PROTECT: Object = any(
    "a protection",
    "Instances that some disruptions pass by.",
    &[
        required(
            "instances",
            Shape::List {
                of: &Shape::Text { max: WORD_MAX },
                min: 1,
            },
            "The instances, such as web-7.",
        ),
        optional(
            "from",
            Shape::Words(PROTECT_REASONS),
            "What they are protected from. None: scaleIn, update, expiry and rebalance.",
        ),
        optional(
            "until",
            Shape::Time,
            "Until when. None: until the entry is removed.",
        ),
        optional(
            "because",
            Shape::Text {
                max: MESSAGE_LENGTH_MAX,
            },
            "Why, for everyone who wonders.",
        ),
    ],
);

pub(crate) static EXPIRY: Object = any(
    "expiry",
    "The largest age of an instance.",
    &[
        required(
            "maxAge",
            Shape::Duration {
                min: Duration::from_mins(1),
                max: Duration::from_hours(10 * 366 * 24),
            },
            "The age at which an instance is replaced at the latest.",
        ),
        preset(
            "jitter",
            Shape::Amount { min: 0, max: 0 },
            Preset::Amount(Amount::Percent(defaults::EXPIRY_JITTER_PERCENT)),
            "The share of the age by which instances are replaced earlier, each by its own part of it, so that those made together do not expire together.",
        ),
    ],
);

pub(crate) static DEPENDS_ON: Object = any(
    "a dependency",
    "A group that must have converged before this one is updated or grows.",
    &[required("group", Shape::Name, "The other group.")],
);
