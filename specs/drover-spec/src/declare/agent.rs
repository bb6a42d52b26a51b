//! The fields of the agent's own configuration file.

use std::time::Duration;

use super::{Field, Object, Preset, Shape, any, duration, later, optional, preset, required};

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
        optional(
            "metrics",
            Shape::Object(&AGENT_METRICS),
            "Where metrics come from that policies read.",
        ),
        optional(
            "plugins",
            Shape::Object(&AGENT_PLUGINS),
            "The plugins that the provider type `plugin` may use.",
        ),
        optional(
            "docker",
            Shape::Object(&AGENT_DOCKER),
            "What containers of the provider type `docker` may have of the machine around them, and with which credentials their images are pulled. Default: nothing, and none.",
        ),
        optional(
            "signers",
            Shape::Text { max: 4096 },
            "A list of people's keys in OpenSSH's format `allowed_signers`, an absolute path: whose operations count.",
        ),
        optional(
            "key",
            Shape::Text { max: 4096 },
            "A private ssh key that signs state commits, an absolute path. Default: they are not signed.",
        ),
        optional(
            "keyPassphraseFile",
            Shape::Text { max: 4096 },
            "A file with the passphrase of `key`, an absolute path.",
        ),
        optional(
            "openPgp",
            Shape::Object(&AGENT_OPEN_PGP),
            "An OpenPGP key that signs state commits, instead of `key`. Asks for the program `gpg`.",
        ),
        optional(
            "secrets",
            Shape::Object(&AGENT_SECRETS),
            "Which secrets documents may refer to. Default: none.",
        ),
        optional(
            "webhooks",
            Shape::List {
                of: &Shape::Object(&AGENT_WEBHOOK),
                min: 0,
            },
            "Webhooks that a Git host may call on `listen`. Each only starts a pass. Default: none.",
        ),
        optional(
            "notify",
            Shape::Object(&AGENT_NOTIFY),
            "Who is told what happens to groups. Default: nobody.",
        ),
        optional(
            "reviews",
            Shape::Object(&AGENT_REVIEWS),
            "Whose reviews of pull requests on the Git host count as approvals. Default: nobody's.",
        ),
        later("cluster", "several agents"),
    ],
);

static AGENT_REVIEWS: Object = any(
    "reviews",
    "Whose reviews of pull requests on the Git host count as approvals.",
    &[
        required(
            "type",
            Shape::Word(&["github", "gitlab", "gitea"], &[]),
            "Whose interface the host has; Forgejo has that of `gitea`.",
        ),
        optional(
            "api",
            Shape::Text { max: 4096 },
            "Where the interface is. Default: that of github.com or gitlab.com.",
        ),
        required(
            "repository",
            Shape::Text { max: 4096 },
            "The repository, as the host calls it: `owner/name`.",
        ),
        required(
            "tokenFile",
            Shape::Text { max: 4096 },
            "A file with a token that may read pull requests, an absolute path. Read for each look.",
        ),
        optional(
            "caFile",
            Shape::Text { max: 4096 },
            "A PEM file with the authorities that sign the host's certificate, an absolute path. Default: the system's.",
        ),
        required(
            "reviewers",
            Shape::TextMap,
            "Who counts: logins on the host, each with the person's name in policies, as in the list of signers.",
        ),
    ],
);

pub(crate) static AGENT_NOTIFY: Object = any(
    "notify",
    "The one address that events are posted to, as JSON.",
    &[
        optional(
            "url",
            Shape::Text { max: 4096 },
            "The address: https, or http on this machine.",
        ),
        optional(
            "urlFile",
            Shape::Text { max: 4096 },
            "A file with the address, an absolute path, where the address itself is a secret. Read for each event.",
        ),
        optional(
            "secretFile",
            Shape::Text { max: 4096 },
            "A file with a secret, an absolute path: events are signed with it, HMAC-SHA256 in `X-Signature`. Read for each event.",
        ),
        optional(
            "caFile",
            Shape::Text { max: 4096 },
            "A PEM file with the authorities that sign the receiver's certificate, an absolute path. Default: the system's.",
        ),
        preset(
            "severity",
            Shape::Word(&["info", "error"], &[]),
            Preset::Word("info"),
            "`error`: only what somebody has to look at, and its end.",
        ),
    ],
);

static AGENT_OPEN_PGP: Object = any(
    "openPgp",
    "An OpenPGP key that signs state commits.",
    &[
        required(
            "gnupgHome",
            Shape::Text { max: 4096 },
            "The folder of a GnuPG keyring with the private key, an absolute path: one of the agent's own, never the home of a person.",
        ),
        required(
            "fingerprint",
            Shape::Text { max: 64 },
            "The whole fingerprint of the key, as `gpg --list-secret-keys` prints it.",
        ),
        optional(
            "passphraseFile",
            Shape::Text { max: 4096 },
            "A file with the passphrase of the key, an absolute path.",
        ),
    ],
);

static AGENT_SECRETS: Object = any(
    "secrets",
    "Which secrets documents may refer to: what is not listed here cannot be read by anything that is pushed.",
    &[
        optional(
            "env",
            Shape::List {
                of: &Shape::Text { max: 4096 },
                min: 0,
            },
            "Variables of the agent's environment, by their whole names.",
        ),
        optional(
            "files",
            Shape::List {
                of: &Shape::Text { max: 4096 },
                min: 0,
            },
            "Files, and folders with everything below them: absolute paths. Links count as what they lead to.",
        ),
        optional(
            "ageIdentity",
            Shape::Text { max: 4096 },
            "A file with the private key for values that are encrypted with age, an absolute path. Asks for the program `age`.",
        ),
    ],
);

pub(crate) static AGENT_WEBHOOK: Object = any(
    "a webhook",
    "A webhook that a Git host may call: `POST /hook/<id>` on `listen`.",
    &[
        required("id", Shape::Name, "The last part of its path."),
        required(
            "type",
            Shape::Word(&["github", "gitlab", "gitea", "generic"], &[]),
            "How requests are signed: HMAC-SHA256 in `X-Hub-Signature-256` (github), `X-Gitea-Signature` (gitea, Forgejo) or `X-Signature-256` (generic), or the secret itself in `X-Gitlab-Token` (gitlab).",
        ),
        required(
            "secretFile",
            Shape::Text { max: 4096 },
            "A file with the secret, an absolute path. Read for each request.",
        ),
    ],
);

pub(crate) static AGENT_SOURCE: Object = any(
    "source",
    "The repository with the documents.",
    &[
        required(
            "url",
            Shape::Text { max: 4096 },
            "A path, a URL with file, ssh, http or https, or user@host:path.",
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
        optional(
            "outage",
            Shape::Object(&AGENT_OUTAGE),
            "What goes on while the source cannot be read or verified for long. Default: everything, with what is in force.",
        ),
        optional(
            "verify",
            Shape::Object(&AGENT_VERIFY),
            "What has to be signed for a commit to be acted on. Default: nothing.",
        ),
        optional(
            "proxy",
            Shape::Text { max: 4096 },
            "For http and https: the URL of an HTTP proxy, or `off`. Default: as the environment says.",
        ),
        optional(
            "limits",
            Shape::Object(&AGENT_SOURCE_LIMITS),
            "How much a fetch may bring.",
        ),
        optional(
            "knownHosts",
            Shape::Text { max: 4096 },
            "For ssh: a file of known hosts, an absolute path. Default: OpenSSH's own, of the agent's user and of the system.",
        ),
    ],
);

pub(crate) static AGENT_SOURCE_LIMITS: Object = any(
    "source.limits",
    "How much a fetch may bring. What is above is refused, whatever it is.",
    &[
        optional(
            "objects",
            Shape::Integer {
                min: 1_000,
                max: 100_000_000,
            },
            "Objects in one pack. The first fetch brings the whole history of the branch. Default: 300000.",
        ),
        optional(
            "object",
            Shape::Text { max: 32 },
            "Bytes of an object that has to be in memory as a whole, such as `12MiB`: one that is sent as a difference to another one, and every folder, commit and tag. Default: 12MiB.",
        ),
        optional(
            "listing",
            Shape::Text { max: 32 },
            "Bytes of a listing of references, such as `8MiB`, which is some 120,000 of them. Default: 8MiB.",
        ),
    ],
);

pub(crate) static AGENT_OUTAGE: Object = any(
    "source.outage",
    "What goes on while the source cannot be read or verified for long.",
    &[
        required(
            "after",
            duration(1_000, 720),
            "How long after it was last read, longer than `source.interval`.",
        ),
        required(
            "mode",
            Shape::Word(&["healOnly", "holdCapacity", "freeze"], &[]),
            "`healOnly`: bad and missing instances are replaced, nothing else is done. `holdCapacity`: missing instances are made again, none is ended. `freeze`: nothing is done.",
        ),
    ],
);

pub(crate) static AGENT_VERIFY: Object = any(
    "source.verify",
    "What has to be signed for a commit to be acted on.",
    &[
        preset(
            "mode",
            Shape::Word(&["head", "tag"], &[]),
            Preset::Word("head"),
            "`head`: the commit that is acted on. `tag`: the annotated tag that `source.branch` names.",
        ),
        optional(
            "signers",
            Shape::Text { max: 4096 },
            "A list of keys in OpenSSH's format `allowed_signers`, an absolute path. Default: `signers` of the agent.",
        ),
        optional(
            "gnupgHome",
            Shape::Text { max: 4096 },
            "The folder of a GnuPG keyring, an absolute path: OpenPGP signatures of its keys count as well.",
        ),
        optional(
            "paths",
            Shape::List {
                of: &Shape::Object(&AGENT_VERIFY_PATH),
                min: 1,
            },
            "Files that fewer people may change: a commit that changes one is acted on when somebody on the list of its own signed it as well.",
        ),
    ],
);

pub(crate) static AGENT_VERIFY_PATH: Object = any(
    "source.verify.paths[]",
    "Files that fewer people may change.",
    &[
        required(
            "match",
            Shape::List {
                of: &Shape::Text { max: 4096 },
                min: 1,
            },
            "Which files, from `source.path` on: patterns in the syntax of gitignore.",
        ),
        optional(
            "signers",
            Shape::Text { max: 4096 },
            "A list of keys in OpenSSH's format `allowed_signers`, an absolute path.",
        ),
        optional(
            "gnupgHome",
            Shape::Text { max: 4096 },
            "The folder of a GnuPG keyring, an absolute path.",
        ),
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
        optional(
            "signers",
            Shape::Text { max: 4096 },
            "A list of keys in OpenSSH's format `allowed_signers`, an absolute path: whose signatures on recorded state count beside the agent's own.",
        ),
        optional(
            "gnupgHome",
            Shape::Text { max: 4096 },
            "The folder of a GnuPG keyring, an absolute path: every key in it counts as those in `signers` do.",
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

pub(crate) static AGENT_PLUGINS: Object = any(
    "plugins",
    "The plugins that the provider type `plugin` may use.",
    &[
        optional(
            "dir",
            Shape::Text { max: 4096 },
            "The folder with their sockets and `.listen` files: an absolute path. Default: where InfraKit looks: $INFRAKIT_PLUGINS_DIR, $INFRAKIT_HOME/plugins, ~/.infrakit/plugins.",
        ),
        optional(
            "start",
            Shape::List {
                of: &Shape::Object(&AGENT_PLUGIN),
                min: 0,
            },
            "The plugins that the agent starts, restarts and ends.",
        ),
    ],
);

pub(crate) static AGENT_DOCKER: Object = any(
    "docker",
    "What containers of the provider type `docker` may have of the machine around them, and with which credentials their images are pulled.",
    &[
        optional(
            "endpoints",
            Shape::List {
                of: &Shape::Text { max: 4096 },
                min: 0,
            },
            "Engines that Provider documents may name beside the default one, such as `unix:///run/podman/podman.sock`.",
        ),
        optional(
            "networks",
            Shape::List {
                of: &Shape::Text { max: 255 },
                min: 0,
            },
            "Networks of the engine that groups may name.",
        ),
        optional(
            "mounts",
            Shape::List {
                of: &Shape::Object(&AGENT_DOCKER_MOUNT),
                min: 0,
            },
            "Folders and files of the machine that groups may mount: exactly these, not what is below them.",
        ),
        optional(
            "registries",
            Shape::List {
                of: &Shape::Object(&AGENT_DOCKER_REGISTRY),
                min: 0,
            },
            "Registries that images are pulled from with credentials.",
        ),
    ],
);

static AGENT_DOCKER_REGISTRY: Object = any(
    "a registry",
    "Credentials that the images of one registry are pulled with. They are sent nowhere else.",
    &[
        required(
            "registry",
            Shape::Text { max: 4096 },
            "The registry as images name it, such as `registry.example.com:5000` or `docker.io`, and a path if the credentials are for some of its images only.",
        ),
        optional(
            "username",
            Shape::Text { max: 255 },
            "The user name. Goes with `passwordFile`.",
        ),
        optional(
            "passwordFile",
            Shape::Text { max: 4096 },
            "A file with the password or token, an absolute path. Read for each pull.",
        ),
        optional(
            "configFile",
            Shape::Text { max: 4096 },
            "A file as `docker login` and `podman login` write it, an absolute path, instead of name and password. Read for each pull.",
        ),
    ],
);

static AGENT_DOCKER_MOUNT: Object = any(
    "a mount",
    "A folder or file of the machine that containers may have.",
    &[
        required("path", Shape::Text { max: 4096 }, "Its absolute path."),
        preset(
            "readOnly",
            Shape::Boolean,
            Preset::Boolean(true),
            "Whether containers may only read it. Who writes to a folder of the machine may break out through it.",
        ),
    ],
);

/// Default of a plugin's `startTimeout`: an interpreter with a large library takes some seconds.
const PLUGIN_START_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) static AGENT_PLUGIN: Object = any(
    "a plugin",
    "A program that the agent runs. Its socket is `name` in `plugins.dir`.",
    &[
        required(
            "name",
            Shape::Name,
            "The name that Provider documents use, and that of its socket.",
        ),
        required(
            "command",
            Shape::List {
                of: &Shape::Text { max: 4096 },
                min: 1,
            },
            "The program, an absolute path, and its arguments; `${socket}` in an argument stands for the socket's path.",
        ),
        optional(
            "env",
            Shape::TextMap,
            "Its environment, beside PATH, HOME, LANG and DROVER_PLUGIN_SOCKET. It gets nothing of the agent's own.",
        ),
        optional(
            "memory",
            Shape::Text { max: 32 },
            "The most address space that it may have, such as `256MiB`. Default: no limit.",
        ),
        preset(
            "startTimeout",
            Shape::Duration {
                min: Duration::from_millis(100),
                max: Duration::from_mins(10),
            },
            Preset::Duration(PLUGIN_START_TIMEOUT),
            "How long it may take to listen on its socket. Then it is ended and started again.",
        ),
    ],
);

/// Default of a source's `timeout`.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) static AGENT_METRICS: Object = any(
    "metrics",
    "Where metrics come from that policies read.",
    &[optional(
        "sources",
        Shape::List {
            of: &Shape::Object(&AGENT_METRIC_SOURCE),
            min: 0,
        },
        "The sources. MetricSource documents name them, and nothing in a repository says where they are.",
    )],
);

pub(crate) static AGENT_METRIC_SOURCE: Object = any(
    "a source of metrics",
    "Where metrics come from.",
    &[
        required(
            "name",
            Shape::Name,
            "The name that MetricSource documents use.",
        ),
        required(
            "type",
            Shape::Word(&["prometheus", "file", "program"], &[]),
            "What it is: a Prometheus server, a file, or a program that prints what such a file has.",
        ),
        preset(
            "timeout",
            Shape::Duration {
                min: Duration::from_millis(100),
                max: Duration::from_secs(10),
            },
            Preset::Duration(SOURCE_TIMEOUT),
            "How long an answer is waited for at most, whatever a document says.",
        ),
        optional(
            "url",
            Shape::Text { max: 4096 },
            "For `prometheus`: its address, http or https, with a path in front of /api/v1 if it has one.",
        ),
        optional(
            "tokenFile",
            Shape::Text { max: 4096 },
            "For `prometheus`: a file with a token that is sent as `Authorization: Bearer`. Read for every request.",
        ),
        optional(
            "caFile",
            Shape::Text { max: 4096 },
            "For `prometheus`: a PEM file with the authorities that sign its certificate. Default: the system's.",
        ),
        optional(
            "path",
            Shape::Text { max: 4096 },
            "For `file`: the file, an absolute path.",
        ),
        optional(
            "command",
            Shape::List {
                of: &Shape::Text { max: 4096 },
                min: 1,
            },
            "For `program`: the program, an absolute path, and its arguments.",
        ),
    ],
);

pub(crate) static AGENT_CREDENTIALS: Object = any(
    "credentials",
    "Where credentials are read from. They are files, so that no secret stands in this one.",
    &[
        optional(
            "source",
            Shape::Object(&AGENT_SOURCE_CREDENTIALS),
            "Credentials for `source.url`, and for nothing else.",
        ),
        optional(
            "proxy",
            Shape::Object(&AGENT_PROXY_CREDENTIALS),
            "Credentials for `source.proxy`, and for nothing else.",
        ),
        optional(
            "push",
            Shape::Object(&AGENT_PUSH_CREDENTIALS),
            "Credentials for pushing to `source.url`. Default: those of `source`.",
        ),
    ],
);

pub(crate) static AGENT_SOURCE_CREDENTIALS: Object = any(
    "credentials.source",
    "Credentials for `source.url`. Each field names a file, which is read for each conversation.",
    &[
        USERNAME_FILE,
        PASSWORD_FILE,
        TOKEN_FILE,
        optional(
            "caFile",
            Shape::Text { max: 4096 },
            "A PEM file with the authorities that sign the host's certificate.",
        ),
        CLIENT_CERTIFICATE_FILE,
        CLIENT_KEY_FILE,
        SSH_KEY_FILE,
        SSH_PASSPHRASE_FILE,
        SSH_AGENT,
    ],
);

pub(crate) static AGENT_PROXY_CREDENTIALS: Object = any(
    "credentials.proxy",
    "Credentials for `source.proxy`. Each field names a file, which is read for each conversation.",
    &[USERNAME_FILE, PASSWORD_FILE],
);

pub(crate) static AGENT_PUSH_CREDENTIALS: Object = any(
    "credentials.push",
    "Credentials for pushing to `source.url`. Each field names a file, which is read for each conversation.",
    &[
        USERNAME_FILE,
        PASSWORD_FILE,
        TOKEN_FILE,
        CLIENT_CERTIFICATE_FILE,
        CLIENT_KEY_FILE,
        SSH_KEY_FILE,
        SSH_PASSPHRASE_FILE,
        SSH_AGENT,
    ],
);

const USERNAME_FILE: Field = optional(
    "usernameFile",
    Shape::Text { max: 4096 },
    "A file with the user name.",
);

const PASSWORD_FILE: Field = optional(
    "passwordFile",
    Shape::Text { max: 4096 },
    "A file with the password.",
);

const TOKEN_FILE: Field = optional(
    "tokenFile",
    Shape::Text { max: 4096 },
    "A file with an access token, instead of user name and password.",
);

const CLIENT_CERTIFICATE_FILE: Field = optional(
    "clientCertificateFile",
    Shape::Text { max: 4096 },
    "For https: a PEM file with a certificate to show to the host.",
);

const CLIENT_KEY_FILE: Field = optional(
    "clientKeyFile",
    Shape::Text { max: 4096 },
    "A PEM file with the private key of `clientCertificateFile`.",
);

const SSH_KEY_FILE: Field = optional(
    "sshKeyFile",
    Shape::Text { max: 4096 },
    "For ssh: a private key in OpenSSH's format: ed25519, ecdsa, or RSA of 2048 to 4096 bits.",
);

const SSH_PASSPHRASE_FILE: Field = optional(
    "sshPassphraseFile",
    Shape::Text { max: 4096 },
    "A file with the passphrase of `sshKeyFile`.",
);

const SSH_AGENT: Field = optional(
    "sshAgent",
    Shape::Text { max: 4096 },
    "For ssh: the socket of an ssh agent, instead of a key. Default: that of the agent's environment, if it has one.",
);
