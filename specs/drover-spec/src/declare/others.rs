//! The fields that every document has, and those of Policy, Binding, Provider and Fleet.

use super::admission::FLEET_BUDGET;
use super::{Object, Preset, Shape, any, later, optional, preset, required};
use crate::limits::{APPROVALS_MAX, LIST_LENGTH_MAX, MESSAGE_LENGTH_MAX};
use drover_model::SIGNER_LENGTH_MAX;

pub(crate) static METADATA: Object = any(
    "metadata",
    "The identity of the document.",
    &[
        required(
            "name",
            Shape::Name,
            "The name: identity is kind + name, never the path.",
        ),
        optional(
            "labels",
            Shape::TextMap,
            "Labels, which bindings select groups by.",
        ),
        optional(
            "annotations",
            Shape::TextMap,
            "Annotations: for people and other programs.",
        ),
    ],
);

pub(crate) static POLICY_SPEC: Object = any(
    "a policy's spec",
    "CEL for one decision point.",
    &[
        required(
            "on",
            Shape::Word(
                &[
                    "validate", "approve", "size", "gate", "budget", "health", "protect", "heal",
                    "drift", "victim", "place", "analysis",
                ],
                &[
                    "expiry",
                    "drain",
                    "order",
                    "quorumReady",
                    "orphan",
                    "dependsOn",
                    "onFailure",
                    "interrupt",
                ],
            ),
            "The decision that the policy takes part in.",
        ),
        optional(
            "match",
            Shape::List {
                of: &Shape::Expression,
                min: 0,
            },
            "Conditions that must all hold for the policy to apply.",
        ),
        optional(
            "params",
            Shape::Params(&POLICY_PARAM),
            "Parameters, usable as `params.<name>`: a default, or a declaration with a `type`.",
        ),
        optional(
            "variables",
            Shape::List {
                of: &Shape::Object(&POLICY_VARIABLE),
                min: 0,
            },
            "Named expressions, evaluated in order, usable as `variables.<name>`.",
        ),
        optional(
            "rules",
            Shape::List {
                of: &Shape::Object(&POLICY_RULE),
                min: 1,
            },
            "For `validate`, `gate` and `protect`: conditions that must hold.",
        ),
        optional(
            "value",
            Shape::Expression,
            "For the others: one expression of the decision point's result type.",
        ),
        optional(
            "tests",
            Shape::List {
                of: &Shape::Object(&POLICY_TEST),
                min: 0,
            },
            "The policy's own test table, run by `drover policy test` and `drover validate`.",
        ),
    ],
);

/// The types of a parameter, in the order of the documentation.
const PARAM_TYPES: &[&str] = &["bool", "int", "double", "string", "list", "map", "any"];

pub(crate) static POLICY_PARAM: Object = any(
    "a policy parameter",
    "A parameter with what values it may have.",
    &[
        required("type", Shape::Word(PARAM_TYPES, &[]), "The type."),
        optional(
            "default",
            Shape::Any,
            "The value where a binding sets none; without, every binding must set one.",
        ),
        optional(
            "description",
            Shape::Text {
                max: MESSAGE_LENGTH_MAX,
            },
            "What it is for.",
        ),
        optional(
            "items",
            Shape::Word(&["bool", "int", "double", "string", "any"], &[]),
            "The type of a list's elements; any without. The limits below are those of each element.",
        ),
        optional("minimum", Shape::Any, "The smallest number."),
        optional("maximum", Shape::Any, "The largest number."),
        optional(
            "enum",
            Shape::List {
                of: &Shape::Any,
                min: 1,
            },
            "The values that there are.",
        ),
        optional(
            "pattern",
            Shape::Text {
                max: MESSAGE_LENGTH_MAX,
            },
            "A regular expression that the text must match somewhere.",
        ),
        optional(
            "format",
            Shape::Word(&["timezone", "cron", "regex", "duration", "timestamp"], &[]),
            "A form that the text must have.",
        ),
        optional("minItems", ITEMS, "The fewest elements of a list."),
        optional("maxItems", ITEMS, "The most elements of a list."),
    ],
);

const ITEMS: Shape = Shape::Integer {
    min: 0,
    max: LIST_LENGTH_MAX as u32,
};

pub(crate) static POLICY_VARIABLE: Object = any(
    "a policy variable",
    "A named expression.",
    &[
        required(
            "name",
            Shape::Text { max: 63 },
            "The name after `variables.`: letters, digits and '_'.",
        ),
        required("expression", Shape::Expression, "The expression."),
    ],
);

pub(crate) static POLICY_RULE: Object = any(
    "a policy rule",
    "A condition that must hold.",
    &[
        required("expression", Shape::Expression, "The condition."),
        required(
            "message",
            Shape::Text {
                max: MESSAGE_LENGTH_MAX,
            },
            "What to tell people when it does not hold.",
        ),
    ],
);

pub(crate) static POLICY_TEST: Object = any(
    "a policy test",
    "One row of a policy's test table.",
    &[
        required("name", Shape::Text { max: 200 }, "The row's name."),
        optional(
            "given",
            Shape::AnyMap,
            "Variables by name; what is not given has the test defaults of the decision point.",
        ),
        required(
            "expect",
            Shape::Any,
            "The expected result: true or false for rules, the value for values.",
        ),
    ],
);

pub(crate) static BINDING_SPEC: Object = any(
    "a binding's spec",
    "Puts a policy on groups.",
    &[
        required("policy", Shape::Name, "The policy."),
        required(
            "selector",
            Shape::Object(&SELECTOR),
            "The groups. `{}` selects every group.",
        ),
        optional(
            "params",
            Shape::AnyMap,
            "Parameters over the policy's defaults.",
        ),
        required(
            "enforcement",
            Shape::Word(&["deny", "requireApproval", "warn", "audit"], &[]),
            "What a verdict does: `deny` withholds (rules) or is used (values), `requireApproval` withholds a change until people approve it (`validate` and `approve`), `warn` is shown, `audit` is recorded only.",
        ),
        optional(
            "approvals",
            Shape::Object(&APPROVALS),
            "With `requireApproval`: how many people must approve, and who they may be.",
        ),
    ],
);

pub(crate) static APPROVALS: Object = any(
    "a binding's approvals",
    "How many people must approve a change, and who they may be.",
    &[
        preset(
            "count",
            Shape::Integer {
                min: 1,
                max: APPROVALS_MAX,
            },
            Preset::Integer(1),
            "How many; nobody who wrote the change is one of them.",
        ),
        optional(
            "from",
            Shape::List {
                of: &Shape::Text {
                    max: SIGNER_LENGTH_MAX,
                },
                min: 1,
            },
            "Whose word counts, as the agent's file of signers names them; everybody there without it.",
        ),
    ],
);

pub(crate) static SELECTOR: Object = any(
    "a selector",
    "Selects groups by label: all pairs must match.",
    &[
        optional(
            "matchLabels",
            Shape::TextMap,
            "Labels that must be present with these values.",
        ),
        later("matchExpressions", "label expressions"),
    ],
);

/// The declared part of a Provider document; everything else in `spec` belongs to its type.
pub(crate) static PROVIDER_SPEC: Object = any(
    "a provider's spec",
    "A named provider configuration. Never holds secrets. What stands beside `type` belongs to the type.",
    &[required(
        "type",
        Shape::Name,
        "What implements it, such as `process`.",
    )],
);

pub(crate) static FLEET_SPEC: Object = any(
    "a fleet's spec",
    "Limits of the whole repository.",
    &[
        optional(
            "budgets",
            Shape::List {
                of: &Shape::Object(&FLEET_BUDGET),
                min: 0,
            },
            "How many disruptions may be in flight at once in several groups together.",
        ),
        preset(
            "orphans",
            Shape::Word(&["report"], &["delete"]),
            Preset::Word("report"),
            "Instances that carry the fleet's tags and belong to no group that anybody knows: `report` tells people and leaves them alone.",
        ),
        later("defaults", "defaults of the repository"),
        optional(
            "limits",
            Shape::Object(&FLEET_LIMITS),
            "Limits for all groups together.",
        ),
    ],
);

pub(crate) static FLEET_LIMITS: Object = any(
    "a fleet's limits",
    "Limits for all groups together.",
    &[optional(
        "maxDestroy",
        Shape::Amount {
            min: 0,
            max: u32::MAX,
        },
        "Most instances that commits may remove without replacement within an hour, a share of those of all groups, rounded up.",
    )],
);
