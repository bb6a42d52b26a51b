//! The fields of a quorum group's members.

use drover_model::defaults;

use super::{Object, PORT, Preset, Shape, any, duration, one, optional, preset, required};

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

pub(crate) static KEEPER: Object = one(
    "a keeper",
    "The program that keeps a membership list, and how it is reached at a member's address.",
    &[optional(
        "etcd",
        Shape::Object(&ETCD),
        "etcd, by its HTTP gateway.",
    )],
);

pub(crate) static ETCD: Object = any(
    "etcd",
    "Where the members of etcd listen.",
    &[
        preset(
            "clientPort",
            PORT,
            Preset::Integer(defaults::ETCD_CLIENT_PORT as u32),
            "For clients: the port that is asked, over HTTP.",
        ),
        preset(
            "peerPort",
            PORT,
            Preset::Integer(defaults::ETCD_PEER_PORT as u32),
            "For peers: the port that goes into the list, over HTTP.",
        ),
    ],
);

pub(crate) static QUORUM: Object = any(
    "quorum",
    "How the members of a quorum group may change.",
    &[
        preset(
            "membership",
            Shape::Word(&["static", "dynamic"], &[]),
            Preset::Word("static"),
            "`static`: a member comes back under its identity with what is attached to it, and nobody is told. `dynamic`: the program keeps a list of its members, and the agent changes it.",
        ),
        optional(
            "keeper",
            Shape::Object(&KEEPER),
            "The program that keeps the list; for `membership: dynamic`.",
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
