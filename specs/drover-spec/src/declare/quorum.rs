//! The fields of a quorum group's members.

use drover_model::defaults;

use super::{Object, Preset, Shape, any, duration, optional, preset, required};

pub(crate) static MEMBER: Object = any(
    "a member",
    "One member of a quorum group.",
    &[
        required(
            "id",
            Shape::Name,
            "Its identity, which outlives the instances that take its place.",
        ),
        optional(
            "attachments",
            Shape::List {
                of: &Shape::Object(&ATTACHMENT),
                min: 0,
            },
            "What follows the identity from instance to instance.",
        ),
    ],
);

pub(crate) static ATTACHMENT: Object = any(
    "an attachment",
    "Something that follows a member from instance to instance.",
    &[
        required("name", Shape::Name, "Its name, unique within the member."),
        preset(
            "exclusive",
            Shape::Boolean,
            Preset::Boolean(true),
            "`true`: one instance at a time has it. `false` is not supported yet.",
        ),
    ],
);

pub(crate) static QUORUM: Object = any(
    "quorum",
    "How the members of a quorum group may change.",
    &[
        preset(
            "membership",
            Shape::Word(&["static"], &["dynamic"]),
            Preset::Word("static"),
            "`static`: a member comes back under its identity with what is attached to it, and nobody is told.",
        ),
        preset(
            "stabilize",
            duration(0, 24),
            Preset::Duration(defaults::STABILIZE),
            "How long every member must have been well before the next is touched on purpose.",
        ),
        preset(
            "allowDowntime",
            Shape::Boolean,
            Preset::Boolean(false),
            "Whether the group may be without a majority while a member is replaced.",
        ),
    ],
);
