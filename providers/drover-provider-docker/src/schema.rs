//! What a group's properties and a Provider document's settings may hold.

use std::collections::BTreeMap;

use drover_model::{FieldClass, Value};
use drover_provider::{
    AddressRule, AdoptRule, Field, Form, GroupRules, InitRule, ListShape, MemberRule, ObjectSchema,
    Others, Pattern, Rules, Shape, Unique,
};

/// A field's name, shape, whether it is required, and what it is.
type Row = (&'static str, Shape, bool, &'static str);

/// The longest script of init lines, in bytes: it is one argument of a program, of which Linux takes
/// 128 KiB.
pub(crate) const SCRIPT_MAX: usize = 100 * 1024;

/// The signals of Linux that have a name, as Docker and Podman know them.
const SIGNALS: &str = "ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|RTMAX(-[0-9]+)?|RTMIN(\\+[0-9]+)?|SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ";

/// The limits that processes of Linux have.
const LIMITS: &str = "core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending|stack";

/// Memory that a container needs at least: Docker's own limit.
const MEMORY_MIB_MIN: i64 = 6;

const PORTS: Shape = Shape::Integer {
    min: 1,
    max: 65_535,
};

/// Nothing of a container can be changed while it keeps what is its own, so every field replaces.
pub(crate) fn properties() -> ObjectSchema {
    let mut rows = what_runs();
    rows.extend(what_is_around());
    rows.extend(resources());
    let group = GroupRules {
        init: InitRule::UpTo(SCRIPT_MAX),
        members: MemberRule::Refused,
        // Only what is published has an address of drover's own.
        address: AddressRule::With("ports".to_owned()),
        // Labels of a container never change.
        adopt: AdoptRule::Refused,
        ..GroupRules::default()
    };
    ObjectSchema {
        rules: Rules::default().of_group(group),
        ..object(rows, FieldClass::Replace)
    }
}

fn what_runs() -> Vec<Row> {
    vec![
        ("image", image(), true, "The image, with its tag or digest."),
        (
            "command",
            Shape::List(ListShape::of(argument()).at_least(1)),
            false,
            "The command and its arguments; no shell is involved unless it is the command. Default: the image's.",
        ),
        (
            "entrypoint",
            command(),
            false,
            "What the command is given to. Default: the image's.",
        ),
        (
            "env",
            Shape::keyed(Form::variable(), argument()),
            false,
            "Environment variables, beside the image's and DROVER_*.",
        ),
        (
            "workingDir",
            Shape::text(Form::of("^/", "an absolute path", "/srv/app")),
            false,
            "Where the command starts. Default: the image's.",
        ),
        (
            "user",
            Shape::String,
            false,
            "The user, by name or number, and a group after a colon. Default: the image's.",
        ),
        (
            "stopSignal",
            signal(),
            false,
            "The signal that asks it to end. Default: the image's, else TERM.",
        ),
        (
            "stopTimeout",
            Shape::Duration,
            false,
            "How long it may take to end before it is killed, where that is less than the agent's own 30s.",
        ),
        (
            "pull",
            words(&["missing", "always", "never"]),
            false,
            "When the image is pulled, `missing` unless written.",
        ),
        (
            "healthcheck",
            healthcheck(),
            false,
            "A check that the engine runs in the container. Default: the image's.",
        ),
    ]
}

fn what_is_around() -> Vec<Row> {
    // The agent's file can name no others.
    let reserved = "^(host|none)$|[^A-Za-z0-9_.-]";
    let what = "the name of a network; `host`, `none` and those of other containers are none";
    let network = Shape::text(Form::but(reserved, what).within(1, None));
    let networks = ListShape::of(network).at_least(1);
    let networks = networks.unique(Unique::Whole);
    let alike = [("port", Value::Null), ("protocol", "tcp".into())];
    let alike = alike.map(|(name, default)| (name.to_owned(), default));
    let ports = ListShape::of(port()).unique(Unique::By(alike.into()));
    let target = [("target".to_owned(), Value::Null)];
    let mounts = ListShape::of(mount()).unique(Unique::By(target.into()));
    let what = "a label's name: not empty, and none of drover's own, which begin with `drover.`";
    let labels = Form::but(r"^drover\.", what).within(1, None);
    vec![
        (
            "networks",
            Shape::List(networks),
            false,
            "Networks of the engine that the agent's file names. Default: the engine's own.",
        ),
        (
            "ports",
            Shape::List(ports),
            false,
            "Ports that are published at a loopback address of the instance's own.",
        ),
        (
            "mounts",
            Shape::List(mounts),
            false,
            "What is mounted: a volume of the group, memory, or what the agent's file names.",
        ),
        (
            "labels",
            Shape::keyed(labels, Shape::String),
            false,
            "Labels of the container, beside the template's tags and drover's own.",
        ),
    ]
}

fn resources() -> Vec<Row> {
    let most = Shape::Integer {
        min: MEMORY_MIB_MIN,
        max: 1 << 26,
    };
    let processor = Shape::Integer {
        min: 10,
        max: 1_000_000,
    };
    let processes = Shape::Integer {
        min: 1,
        max: 1 << 22,
    };
    let names = format!("^({LIMITS})$");
    let names = Form::of(&names, "the name of a limit", "nofile");
    let limits = Shape::keyed(names, ulimit());
    vec![
        ("memoryMiB", most, false, "Most memory, in MiB."),
        (
            "cpuMillis",
            processor,
            false,
            "Most processor time, in thousandths of one processor.",
        ),
        ("pids", processes, false, "Most processes and threads."),
        (
            "ulimits",
            limits,
            false,
            "Limits of its processes, by name, such as `nofile`.",
        ),
    ]
}

/// The settings of a Provider document.
pub(crate) fn settings() -> ObjectSchema {
    let rows = vec![
        (
            "endpoint",
            Shape::text(Form::of(
                "^unix:///",
                "the socket of an engine",
                "unix:///var/run/docker.sock",
            )),
            false,
            "The engine's socket, as unix:///path, if the agent's file names it. Default: that of DOCKER_HOST, else unix:///var/run/docker.sock.",
        ),
        (
            "pullTimeout",
            Shape::Duration,
            false,
            "How long pulling an image may take, 15m unless written.",
        ),
    ];
    let mut settings = object(rows, FieldClass::Ignore);
    if let Some(endpoint) = settings.fields.get_mut("endpoint") {
        // Containers of one engine are not to be found in another.
        endpoint.class = FieldClass::Replace;
    }
    settings
}

fn port() -> Shape {
    let rows = vec![
        ("port", PORTS, true, "The port at the instance's address."),
        (
            "container",
            PORTS,
            false,
            "The port in the container. Default: the same.",
        ),
        (
            "protocol",
            words(&["tcp", "udp"]),
            false,
            "`tcp` unless written.",
        ),
    ];
    Shape::Object(object(rows, FieldClass::Replace))
}

fn mount() -> Shape {
    let size = Shape::Integer {
        min: 1,
        max: 1 << 26,
    };
    let rows = vec![
        (
            "target",
            plain_path("/var/lib/data", 2),
            true,
            "Where, as an absolute path in the container.",
        ),
        (
            "volume",
            Shape::text(Form::of(
                "^[0-9A-Za-z_.-]+$",
                "a volume's name, of letters, digits, `_`, `.` and `-`,",
                "data",
            )),
            false,
            "A volume of the group, which all its instances share and which outlives them.",
        ),
        (
            "memoryMiB",
            size,
            false,
            "A file system in memory of at most so many MiB.",
        ),
        (
            "path",
            plain_path("/srv/www", 1),
            false,
            "A folder or file of the machine that the agent's file names.",
        ),
        (
            "readOnly",
            Shape::Boolean,
            false,
            "Whether it is only read, `false` unless written.",
        ),
    ];
    Shape::Object(ObjectSchema {
        rules: Rules::one_of(&[&["volume"], &["memoryMiB"], &["path"]]),
        ..object(rows, FieldClass::Replace)
    })
}

/// A path that says where it leads: grants are compared with it as texts.
fn plain_path(example: &str, min: usize) -> Shape {
    let what = "an absolute path without `.`, `..` and empty parts";
    let form = Form::of("^/", what, example).within(min, None);
    let not = Pattern::parse(r"(^|/)\.\.?(/|$)|//").ok();
    Shape::text(Form { not, ..form })
}

fn ulimit() -> Shape {
    let limit = Shape::Integer {
        min: -1,
        max: i64::MAX,
    };
    let rows = vec![
        (
            "soft",
            limit.clone(),
            true,
            "The limit in force; -1 for none.",
        ),
        (
            "hard",
            limit,
            true,
            "What it may be raised to; -1 for none.",
        ),
    ];
    Shape::Object(ObjectSchema {
        rules: Rules::default().at_most("soft", &["hard"]).no_limit(-1),
        ..object(rows, FieldClass::Replace)
    })
}

fn healthcheck() -> Shape {
    let retries = Shape::Integer { min: 1, max: 1_000 };
    let rows = vec![
        (
            "command",
            command(),
            true,
            "A command and its arguments that exits 0.",
        ),
        (
            "interval",
            Shape::Duration,
            false,
            "Time between two tries. Default: the engine's, 30s.",
        ),
        (
            "timeout",
            Shape::Duration,
            false,
            "Time limit of one try. Default: the engine's, 30s.",
        ),
        (
            "retries",
            retries,
            false,
            "Tries that fail before the container is unhealthy. Default: the engine's, 3.",
        ),
        (
            "startPeriod",
            Shape::Duration,
            false,
            "Time after the start in which tries that fail do not count. Default: none.",
        ),
    ];
    Shape::Object(object(rows, FieldClass::Replace))
}

fn object(rows: Vec<Row>, class: FieldClass) -> ObjectSchema {
    let fields = rows.into_iter().map(|(name, shape, required, doc)| {
        let doc = doc.to_owned();
        let field = Field {
            shape,
            required,
            class,
            doc,
        };
        (name.to_owned(), field)
    });
    ObjectSchema {
        fields: fields.collect::<BTreeMap<_, _>>(),
        others: Others::Refused,
        rules: Rules::default(),
    }
}

/// As Docker reads a name: perhaps a registry, a path in lower case, perhaps a tag and a digest.
fn image() -> Shape {
    const HOST: &str = r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(:[0-9]+)?";
    const PART: &str = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*";
    let tag = r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?";
    let digest = r"(@[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,})?";
    let pattern = format!("^({HOST}/)?{PART}(/{PART})*{tag}{digest}$");
    let example = "registry.example.com/shop/web:1.4.2";
    Shape::text(Form::of(&pattern, "an image's name", example))
}

/// The name of a signal, or its number: what engines know.
fn signal() -> Shape {
    let names = SIGNALS.to_lowercase();
    let pattern = format!("^((SIG)?({SIGNALS})|(sig)?({names})|[1-9]|[1-5][0-9]|6[0-4])$");
    Shape::text(Form::of(&pattern, "a signal", "QUIT"))
}

fn argument() -> Shape {
    Shape::text(Form::of_processes())
}

/// A program, and its arguments.
fn command() -> Shape {
    let program = Shape::text(Form::program());
    Shape::List(ListShape::of(argument()).first(program).at_least(1))
}

fn words(words: &[&str]) -> Shape {
    Shape::Word(words.iter().map(|word| (*word).to_owned()).collect())
}
