//! The fields of a Group document.

use drover_model::defaults;

use super::rollout::ROLLOUT;
use super::{
    ADOPT, BUDGET, DEPENDS_ON, EXPIRY, MEMBER, Object, PORT, PROTECT, Preset, QUORUM, Shape,
    WINDOW, any, duration, later, one, one_of, optional, preset, required,
};
use crate::limits::{GROUP_SIZE_MAX, MESSAGE_LENGTH_MAX};

/// Most instances in any count of a document.
const COUNT: Shape = Shape::Integer {
    min: 0,
    max: GROUP_SIZE_MAX,
};

/// An amount that may be none.
pub(super) const AMOUNT: Shape = Shape::Amount {
    min: 0,
    max: GROUP_SIZE_MAX,
};

/// An amount that is at least one instance or one percent.
pub(super) const AMOUNT_SOME: Shape = Shape::Amount {
    min: 1,
    max: GROUP_SIZE_MAX,
};

pub(crate) static GROUP_SPEC: Object = one_of(
    "a group's spec",
    "What should exist: interchangeable instances, with `size`, or the members of a quorum, with `members`.",
    &["size", "members"],
    &[
        required(
            "provider",
            Shape::Name,
            "The Provider document that makes the instances. Changing it on a live group is refused.",
        ),
        optional(
            "size",
            COUNT,
            "How many instances; the first value where a `size` policy decides.",
        ),
        optional(
            "members",
            Shape::List {
                of: &Shape::Object(&MEMBER),
                min: 1,
            },
            "The members of a quorum group, each with an identity of its own. Never switched with `size` under live instances.",
        ),
        optional(
            "quorum",
            Shape::Object(&QUORUM),
            "How the members of a quorum group may change.",
        ),
        optional(
            "bounds",
            Shape::Object(&BOUNDS),
            "The bounds within which a `size` policy chooses.",
        ),
        optional(
            "scaling",
            Shape::Object(&SCALING),
            "How fast a size that a `size` policy chooses takes effect, and which instances scale-in prefers.",
        ),
        optional(
            "placement",
            Shape::Object(&PLACEMENT),
            "Where instances are made.",
        ),
        preset(
            "lifecycle",
            Shape::Word(&["service", "ephemeral"], &[]),
            Preset::Word("service"),
            "`service`: an instance that ends by itself failed; `ephemeral`: with status 0 after it was ready it has done its work, and another one takes its place.",
        ),
        preset(
            "manage",
            Shape::Word(&["full", "observe"], &[]),
            Preset::Word("full"),
            "`full`: create, heal, roll and destroy; `observe`: list, plan and record, never mutate.",
        ),
        optional(
            "adopt",
            Shape::Object(&ADOPT),
            "Which instances that somebody else made the group takes over, instead of making its own.",
        ),
        required(
            "template",
            Shape::Object(&TEMPLATE),
            "What makes an instance current or stale.",
        ),
        optional(
            "health",
            Shape::Object(&HEALTH),
            "When an instance is healthy.",
        ),
        optional(
            "heal",
            Shape::Object(&HEAL),
            "How bad instances are replaced.",
        ),
        optional(
            "rollout",
            Shape::Object(&ROLLOUT),
            "How a new template replaces an old one.",
        ),
        optional(
            "drain",
            Shape::Object(&DRAIN),
            "How work moves off an instance before it ends.",
        ),
        optional(
            "windows",
            Shape::List {
                of: &Shape::Object(&WINDOW),
                min: 0,
            },
            "When disruptions may begin.",
        ),
        optional(
            "budgets",
            Shape::List {
                of: &Shape::Object(&BUDGET),
                min: 0,
            },
            "How many disruptions may be in flight at once.",
        ),
        optional(
            "protect",
            Shape::List {
                of: &Shape::Object(&PROTECT),
                min: 0,
            },
            "Instances that some disruptions pass by.",
        ),
        optional(
            "expiry",
            Shape::Object(&EXPIRY),
            "The largest age of an instance.",
        ),
        optional(
            "dependsOn",
            Shape::List {
                of: &Shape::Object(&DEPENDS_ON),
                min: 0,
            },
            "The groups that must have converged before this one is updated or grows.",
        ),
        optional("limits", Shape::Object(&LIMITS), "Hard limits."),
        optional(
            "suspend",
            Shape::List {
                of: &Shape::Object(&SUSPEND),
                min: 0,
            },
            "Activities that are switched off.",
        ),
        optional(
            "deletion",
            Shape::Object(&DELETION),
            "What removing the document does.",
        ),
        later("capacity", "several offerings"),
        later("volumes", "volumes"),
        later("drift", "drift of live instances"),
        later("orphans", "instances without a group"),
    ],
);

pub(crate) static BOUNDS: Object = any(
    "bounds",
    "Bounds of the size, both inclusive.",
    &[
        required("min", COUNT, "The smallest size."),
        required("max", COUNT, "The largest size, not below `min`."),
    ],
);

pub(crate) static PLACEMENT: Object = any(
    "placement",
    "Where instances are made. Not part of the digest: a change makes nothing outdated.",
    &[
        required(
            "zones",
            Shape::List {
                of: &Shape::Text { max: 63 },
                min: 1,
            },
            "The zones, each once, in the order of preference.",
        ),
        preset(
            "spread",
            Shape::Word(&["even", "any"], &[]),
            Preset::Word("even"),
            "`even`: each instance goes where the fewest are; `any`: to the first zone that has room.",
        ),
        preset(
            "maxSkew",
            Shape::Integer {
                min: 1,
                max: GROUP_SIZE_MAX,
            },
            Preset::Integer(defaults::SKEW_MAX),
            "How many more instances a zone may have than another before its instances are moved.",
        ),
        preset(
            "rebalance",
            Shape::Word(&["off", "opportunistic", "proactive"], &[]),
            Preset::Word("opportunistic"),
            "`opportunistic`: what is removed or replaced for another reason is taken from the zone that has most; `proactive`: its instances are moved; `off`: removals mind no zone.",
        ),
        preset(
            "cooldown",
            duration(1000, 24),
            Preset::Duration(defaults::ZONE_COOLDOWN),
            "How long nothing is made in a zone that had no room.",
        ),
    ],
);

pub(crate) static SCALING: Object = any(
    "scaling",
    "How fast a size that a `size` policy chooses takes effect. A size that a person pushes takes effect at once.",
    &[
        optional(
            "stabilization",
            Shape::Object(&STABILIZATION),
            "For how long a policy must ask for a move before it is made.",
        ),
        optional(
            "rate",
            Shape::Object(&RATE),
            "How far the size may move in a time.",
        ),
        preset(
            "prefer",
            Shape::Word(&["oldest", "newest"], &[]),
            Preset::Word("oldest"),
            "Which instances scale-in takes first, of those that are equally good otherwise; also where a person pushed the size.",
        ),
    ],
);

pub(crate) static STABILIZATION: Object = any(
    "scaling.stabilization",
    "For how long a policy must ask for a move before it is made.",
    &[
        preset(
            "up",
            duration(0, 24),
            Preset::Duration(defaults::STABILIZATION_UP),
            "The size grows to the smallest one asked for within this time.",
        ),
        preset(
            "down",
            duration(0, 24),
            Preset::Duration(defaults::STABILIZATION_DOWN),
            "The size shrinks to the largest one asked for within this time.",
        ),
    ],
);

pub(crate) static RATE: Object = any(
    "scaling.rate",
    "How far the size may move in a time: `<amount>/<duration>`. A share is of the size when that time began, rounded up, at least 1.",
    &[
        preset(
            "up",
            Shape::Rate,
            Preset::Rate(defaults::RATE_UP),
            "How many instances more.",
        ),
        preset(
            "down",
            Shape::Rate,
            Preset::Rate(defaults::RATE_DOWN),
            "How many instances fewer.",
        ),
    ],
);

pub(crate) static TEMPLATE: Object = any(
    "a template",
    "What makes an instance current or stale, taken as written.",
    &[
        optional(
            "properties",
            Shape::AnyMap,
            "The provider's own properties, checked against its schema. May use ${instance.id}, ${instance.name}, ${instance.zone}, ${instance.address}, ${group.name} and, in quorum groups, ${member.id}, ${members} and ${bootstrap}; $${ stands for ${.",
        ),
        optional(
            "flavors",
            Shape::List {
                of: &Shape::Object(&FLAVOR),
                min: 0,
            },
            "What prepares an instance, applied in order.",
        ),
        optional(
            "tags",
            Shape::TextMap,
            "Tags put on every instance at creation. Keys that begin with `drover.` are reserved.",
        ),
        later("attachments", "attachments"),
    ],
);

pub(crate) static FLAVOR: Object = one(
    "a flavor",
    "One flavor, by its name.",
    &[
        optional(
            "vanilla",
            Shape::Object(&VANILLA),
            "Init lines, environment, tags and attachments, with substitution and no logic.",
        ),
        optional(
            "cloudInit",
            Shape::Object(&CLOUD_INIT),
            "Parts of user data for cloud-init.",
        ),
        optional(
            "plugin",
            Shape::Object(&PLUGIN_FLAVOR),
            "A program of its own, which is asked for each instance.",
        ),
        later("swarm", "the swarm flavor"),
        later("kubernetes", "the kubernetes flavor"),
        later("combo", "the combo flavor: write several flavors instead"),
    ],
);

pub(crate) static VANILLA: Object = any(
    "the vanilla flavor",
    "Init lines, environment, tags and attachments.",
    &[
        optional(
            "init",
            Shape::List {
                of: &Shape::Line { max: 16 * 1024 },
                min: 0,
            },
            "Shell lines run in order before the command; a failing line fails the instance.",
        ),
        optional(
            "env",
            Shape::SecretTextMap,
            "Environment variables of init and command. A value may be a secret: `{valueFrom: {env: NAME}}`.",
        ),
        optional("tags", Shape::TextMap, "Tags put on the instance."),
        optional(
            "attachments",
            Shape::List {
                of: &Shape::Object(&FLAVOR_ATTACHMENT),
                min: 0,
            },
            "What is there already and is attached to the instance as it is made. Only plugins of InfraKit do that.",
        ),
    ],
);

static FLAVOR_ATTACHMENT: Object = any(
    "an attachment",
    "Something that the instance plugin attaches.",
    &[
        required(
            "id",
            Shape::Text { max: 256 },
            "What the plugin knows it by.",
        ),
        optional(
            "type",
            Shape::Text { max: 256 },
            "Its kind, in the plugin's words, such as ebs.",
        ),
    ],
);

static CLOUD_INIT: Object = any(
    "the cloudInit flavor",
    "Parts of user data for cloud-init; several such flavors make one document.",
    &[required(
        "parts",
        Shape::List {
            of: &Shape::Object(&PART),
            min: 1,
        },
        "The parts, in order.",
    )],
);

static PLUGIN_FLAVOR: Object = any(
    "the plugin flavor",
    "A `Flavor` plugin of InfraKit's kind prepares the instance. Which plugins there are says the agent's own file.",
    &[
        required(
            "name",
            Shape::Text { max: 200 },
            "The plugin: the name of its socket, and `/` and a subtype where it has several.",
        ),
        optional(
            "properties",
            Shape::AnyMap,
            "The plugin's own properties, without secrets. May use ${instance.id}, ${instance.name}, ${instance.zone}, ${group.name} and, in quorum groups, ${member.id} and ${bootstrap}.",
        ),
    ],
);

static PART: Object = any(
    "a part of user data",
    "One part of user data.",
    &[
        required(
            "contentType",
            Shape::Word(
                &[
                    "text/cloud-config",
                    "text/cloud-config-archive",
                    "text/cloud-config-jsonp",
                    "text/cloud-boothook",
                    "text/x-shellscript",
                    "text/x-shellscript-per-boot",
                    "text/x-shellscript-per-instance",
                    "text/x-shellscript-per-once",
                    "text/x-include-url",
                    "text/x-include-once-url",
                    "text/part-handler",
                    "text/jinja2",
                ],
                &[],
            ),
            "What cloud-init takes the part for.",
        ),
        required(
            "content",
            Shape::Text { max: 16 * 1024 },
            "The text, which begins as its type must: `#cloud-config`, `#!`.",
        ),
        optional(
            "mergeHow",
            Shape::Text { max: 256 },
            "How cloud-config is merged into that of the parts before, such as list(append)+dict(recurse_array)+str().",
        ),
    ],
);

pub(crate) static HEALTH: Object = any(
    "health",
    "When an instance is healthy.",
    &[
        preset(
            "startupTimeout",
            duration(100, 24),
            Preset::Duration(defaults::STARTUP_TIMEOUT),
            "An instance that was never ready within this time is a failed launch.",
        ),
        preset(
            "unhealthyAfter",
            duration(0, 24),
            Preset::Duration(defaults::UNHEALTHY_AFTER),
            "How long checks must fail without a break before the instance is unhealthy.",
        ),
        preset(
            "unknownAfter",
            duration(0, 24),
            Preset::Duration(defaults::UNKNOWN_AFTER),
            "How long an instance may be out of the observer's reach before it is lost.",
        ),
        optional(
            "checks",
            Shape::List {
                of: &Shape::Object(&CHECK),
                min: 0,
            },
            "The checks; all must pass. None: the provider's word alone decides.",
        ),
        later("sources", "other sources of health: write `checks`"),
    ],
);

pub(crate) static CHECK: Object = one_of(
    "a health check",
    "One health check: exactly one of http, tcp, command and provider.",
    &["http", "tcp", "command", "provider"],
    &[
        optional(
            "http",
            Shape::Object(&HTTP_GET),
            "A GET answers 200 to 299.",
        ),
        optional("tcp", Shape::Object(&TCP), "A TCP connection opens."),
        optional(
            "command",
            Shape::List {
                of: &Shape::Text { max: 16 * 1024 },
                min: 1,
            },
            "A program and its arguments exit 0, run inside the instance by its provider, never by the agent.",
        ),
        optional(
            "provider",
            Shape::Object(&OWN_WORD),
            "The provider says that the instance is healthy: with docker, the container's own check.",
        ),
        preset(
            "interval",
            duration(100, 1),
            Preset::Duration(defaults::CHECK_INTERVAL),
            "Time between two tries.",
        ),
        preset(
            "timeout",
            duration(10, 1),
            Preset::Duration(defaults::CHECK_TIMEOUT),
            "Time limit of one try.",
        ),
    ],
);

static OWN_WORD: Object = any(
    "the provider's word",
    "Write `{}`: there is nothing to choose.",
    &[],
);

pub(crate) static HTTP_GET: Object = any(
    "an HTTP request",
    "A GET request to the instance.",
    &[
        required("port", PORT, "The port."),
        required(
            "path",
            Shape::HttpPath,
            "The path with its leading slash, and query.",
        ),
    ],
);

pub(crate) static TCP: Object = any(
    "a TCP port",
    "A TCP port of the instance.",
    &[required("port", PORT, "The port.")],
);

pub(crate) static HEAL: Object = any(
    "heal",
    "How bad instances are replaced.",
    &[
        preset(
            "maxInFlight",
            AMOUNT_SOME,
            Preset::Amount(defaults::HEAL_IN_FLIGHT_MAX),
            "Most replacements at once, a share rounded up.",
        ),
        optional(
            "systemic",
            Shape::Object(&SYSTEMIC),
            "When the cause is presumed to lie outside the instances.",
        ),
        later("retry", "bounds of repeated healing"),
        optional(
            "keep",
            Shape::Object(&KEEP),
            "Bad instances that are kept for people to look at, instead of being ended.",
        ),
        optional(
            "revision",
            Shape::Word(&["target", "current"], &[]),
            "Which template replacements get while a rollout is under way: the one that is rolled out, or the one that was replaced. Default: `target`, and `current` in a manual rollout.",
        ),
    ],
);

pub(crate) static KEEP: Object = any(
    "heal.keep",
    "Bad instances that are kept for people to look at: out of service, replaced like any other.",
    &[
        preset(
            "max",
            Shape::Integer {
                min: 0,
                max: GROUP_SIZE_MAX,
            },
            Preset::Integer(defaults::KEEP_MAX),
            "Most of them at once, beside the size and the surge. 0: none is kept.",
        ),
        preset(
            "for",
            duration(60_000, 30 * 24),
            Preset::Duration(defaults::KEEP_FOR),
            "For how long each is kept.",
        ),
    ],
);

pub(crate) static SYSTEMIC: Object = any(
    "heal.systemic",
    "What happens when many instances are bad at once.",
    &[
        preset(
            "threshold",
            AMOUNT_SOME,
            Preset::Amount(defaults::SYSTEMIC_THRESHOLD),
            "The share (rounded up) or count of bad instances from which healing changes mode.",
        ),
        preset(
            "mode",
            Shape::Word(&["slow", "stop"], &[]),
            Preset::Word("slow"),
            "`slow`: one replacement at a time; `stop`: none.",
        ),
    ],
);

pub(crate) static DRAIN: Object = any(
    "drain",
    "How work moves off an instance before it ends.",
    &[
        preset(
            "delay",
            duration(0, 24),
            Preset::Duration(defaults::DRAIN_DELAY),
            "Time between the published mark and `begin`.",
        ),
        optional(
            "begin",
            Shape::List {
                of: &Shape::Object(&DRAIN_BEGIN),
                min: 0,
            },
            "Requests sent once.",
        ),
        optional(
            "done",
            Shape::Object(&DRAIN_DONE),
            "What says that the instance is idle. None: `delay` and `begin` are all there is.",
        ),
        preset(
            "timeout",
            duration(0, 168),
            Preset::Duration(defaults::DRAIN_TIMEOUT),
            "Longest wait for `done`, from the published mark.",
        ),
        preset(
            "unhealthyTimeout",
            duration(0, 168),
            Preset::Duration(defaults::DRAIN_UNHEALTHY_TIMEOUT),
            "The same for an instance that is not healthy.",
        ),
        preset(
            "onTimeout",
            Shape::Word(&["proceed", "abort"], &[]),
            Preset::Word("proceed"),
            "When the wait ends without `done`: `proceed` destroys all the same, `abort` leaves the instance draining, and is the default of quorum groups.",
        ),
        later("hooks", "drain hooks: write `begin` and `done`"),
    ],
);

pub(crate) static DRAIN_BEGIN: Object = one(
    "a drain request",
    "One request that asks the instance to take no more work.",
    &[optional(
        "http",
        Shape::Object(&HTTP_REQUEST),
        "An HTTP request.",
    )],
);

pub(crate) static HTTP_REQUEST: Object = any(
    "an HTTP request",
    "A request to the instance.",
    &[
        preset(
            "method",
            Shape::HttpMethod,
            Preset::Word("POST"),
            "The method, upper case.",
        ),
        required("port", PORT, "The port."),
        required(
            "path",
            Shape::HttpPath,
            "The path with its leading slash, and query.",
        ),
    ],
);

pub(crate) static DRAIN_DONE: Object = one(
    "drain.done",
    "What says that a draining instance is idle: exactly one of these.",
    &[
        optional("http", Shape::Object(&HTTP_GET), "A GET answers 200."),
        optional(
            "tcpClosed",
            Shape::Object(&TCP),
            "The port no longer accepts connections.",
        ),
        optional(
            "exit",
            Shape::Boolean,
            "`true`: the process has ended by itself.",
        ),
    ],
);

pub(crate) static LIMITS: Object = any(
    "limits",
    "Hard limits of a group.",
    &[
        optional(
            "maxTotal",
            Shape::Auto(&Shape::Integer {
                min: 1,
                max: 2 * GROUP_SIZE_MAX,
            }),
            "Most instances that may exist at once, the terminating ones counted. Blocks creation only. `auto`: size + surge.",
        ),
        optional(
            "maxDestroy",
            Shape::Auto(&AMOUNT),
            "Most instances removed without replacement by one change, a share rounded up. `auto`: the larger of 50 % and 10.",
        ),
        optional(
            "maxCreatePerHour",
            Shape::Auto(&Shape::Integer {
                min: 1,
                max: 10 * GROUP_SIZE_MAX,
            }),
            "Most instances made within an hour. Blocks creation only. `auto`: three times the size and 10 more.",
        ),
        optional(
            "maxDestroyPerHour",
            Shape::Auto(&Shape::Integer {
                min: 1,
                max: 10 * GROUP_SIZE_MAX,
            }),
            "Most instances ended within an hour that no change asks for: heal, expiry, rebalance. `auto`: the larger of the size and 10.",
        ),
    ],
);

pub(crate) static SUSPEND: Object = any(
    "a suspension",
    "An activity switched off by a person.",
    &[
        required(
            "what",
            Shape::Words(&["update", "heal", "scale", "gc", "all"]),
            "What is off: one activity or a list of them.",
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

pub(crate) static DELETION: Object = any(
    "deletion",
    "What removing the document does.",
    &[
        preset(
            "policy",
            Shape::Word(&["Destroy", "Orphan"], &[]),
            Preset::Word("Destroy"),
            "`Destroy`: the instances are drained and destroyed; `Orphan`: they are left running, without the ownership tags.",
        ),
        preset(
            "protect",
            Shape::Boolean,
            Preset::Boolean(false),
            "Whether removal is held until a commit says `protect: false`; true in quorum groups unless written.",
        ),
        later("approval", "deletion by approval"),
        later("quorum", "deletion by quorum"),
    ],
);
