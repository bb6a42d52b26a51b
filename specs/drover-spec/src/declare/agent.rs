//! The fields of the agent's own configuration file.

use std::time::Duration;

use super::{Object, Preset, Shape, any, duration, later, optional, preset, required};

/// Default of `source.interval`: hosts allow far more, people notice no less.
const INTERVAL: Duration = Duration::from_secs(30);

pub(crate) static AGENT: Object = any(
    "the agent's file",
    "The configuration of one agent.",
    &[
        required(
            "name",
            Shape::Name,
            "The name of this agent, written into commits.",
        ),
        optional(
            "fleet",
            Shape::Name,
            "The fleet: the owner in every instance's tags. Default: `name`. Never change it on a live fleet.",
        ),
        preset(
            "mode",
            Shape::Word(&["act", "observe"], &[]),
            Preset::Word("act"),
            "`act`, or `observe`: full passes without a provider mutation.",
        ),
        required(
            "source",
            Shape::Object(&AGENT_SOURCE),
            "The repository with the documents.",
        ),
        optional(
            "state",
            Shape::Object(&AGENT_STATE),
            "Where recorded state goes.",
        ),
        preset(
            "dataDir",
            Shape::Text { max: 4096 },
            Preset::Word("/var/lib/drover"),
            "The folder of the journal and the caches: an absolute path.",
        ),
        optional(
            "processDir",
            Shape::Text { max: 4096 },
            "Where the provider type `process` keeps its instances: an absolute path. Default: `process` in `dataDir`.",
        ),
        preset(
            "listen",
            Shape::Text { max: 255 },
            Preset::Word("127.0.0.1:7643"),
            "Address and port of /healthz, /readyz and /metrics, loopback only; `off` for none.",
        ),
        optional(
            "providers",
            Shape::Object(&AGENT_PROVIDERS),
            "Which provider types the repository may use.",
        ),
        optional(
            "credentials",
            Shape::Object(&AGENT_CREDENTIALS),
            "Where credentials are read from.",
        ),
        later("plugins", "plugins"),
        later("signers", "signed operations"),
        later("key", "signed state commits"),
        later("cluster", "several agents"),
        later("webhooks", "webhooks"),
    ],
);

pub(crate) static AGENT_SOURCE: Object = any(
    "source",
    "The repository with the documents.",
    &[
        required(
            "url",
            Shape::Text { max: 4096 },
            "A path, or a URL with file, ssh or https.",
        ),
        preset(
            "branch",
            Shape::Text { max: 255 },
            Preset::Word("main"),
            "The watched branch.",
        ),
        optional(
            "path",
            Shape::Text { max: 4096 },
            "The folder inside the repository. Default: its root.",
        ),
        preset(
            "interval",
            duration(1_000, 24),
            Preset::Duration(INTERVAL),
            "Time between two looks at the branch.",
        ),
        later("verify", "verification of signatures"),
        later("knownHosts", "a known-hosts file here"),
    ],
);

pub(crate) static AGENT_STATE: Object = any(
    "state",
    "Where recorded state goes.",
    &[
        preset(
            "branch",
            Shape::Text { max: 255 },
            Preset::Word("drover/state"),
            "The branch, never the watched one.",
        ),
        later("url", "a repository of its own for recorded state"),
    ],
);

pub(crate) static AGENT_PROVIDERS: Object = any(
    "providers",
    "Which provider types the repository may use.",
    &[optional(
        "allow",
        Shape::List {
            of: &Shape::Name,
            min: 0,
        },
        "The allowed types. Default: every type but `process`, which runs what the repository says as the agent's own user.",
    )],
);

pub(crate) static AGENT_CREDENTIALS: Object = any(
    "credentials",
    "Where credentials are read from. They are files, so that no secret stands in this one.",
    &[optional(
        "source",
        Shape::Object(&AGENT_SOURCE_CREDENTIALS),
        "Credentials for the host of `source.url`.",
    )],
);

pub(crate) static AGENT_SOURCE_CREDENTIALS: Object = any(
    "credentials.source",
    "Credentials for the host of `source.url`. Each field names a file.",
    &[
        optional(
            "usernameFile",
            Shape::Text { max: 4096 },
            "A file with the user name.",
        ),
        optional(
            "passwordFile",
            Shape::Text { max: 4096 },
            "A file with the password.",
        ),
        optional(
            "tokenFile",
            Shape::Text { max: 4096 },
            "A file with an access token, instead of user name and password.",
        ),
        optional(
            "caFile",
            Shape::Text { max: 4096 },
            "A PEM file with the authorities that sign the host's certificate.",
        ),
        later("sshKeyFile", "ssh keys from a file"),
    ],
);
