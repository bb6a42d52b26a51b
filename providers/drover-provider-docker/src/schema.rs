//! What a group's properties and a Provider document's settings may hold.

use std::collections::BTreeMap;

use drover_model::FieldClass;
use drover_provider::{Field, ObjectSchema, Others, Rules, Shape};

/// A field's name, shape, whether it is required, and what it is.
type Row = (&'static str, Shape, bool, &'static str);

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
    object(rows, FieldClass::Replace)
}

fn what_runs() -> Vec<Row> {
    vec![
        (
            "image",
            Shape::String,
            true,
            "The image, with its tag or digest.",
        ),
        (
            "command",
            texts(1),
            false,
            "The command and its arguments; no shell is involved unless it is the command. Default: the image's.",
        ),
        (
            "entrypoint",
            texts(1),
            false,
            "What the command is given to. Default: the image's.",
        ),
        (
            "env",
            text_map(),
            false,
            "Environment variables, beside the image's and DROVER_*.",
        ),
        (
            "workingDir",
            Shape::String,
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
            Shape::String,
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
    vec![
        (
            "networks",
            texts(1),
            false,
            "Networks of the engine that the agent's file names. Default: the engine's own.",
        ),
        (
            "ports",
            list_of(port()),
            false,
            "Ports that are published at a loopback address of the instance's own.",
        ),
        (
            "mounts",
            list_of(mount()),
            false,
            "What is mounted: a volume of the group, memory, or what the agent's file names.",
        ),
        (
            "labels",
            text_map(),
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
    let limits = Shape::Map(Box::new(ulimit()));
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
            Shape::String,
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
            Shape::String,
            true,
            "Where, as an absolute path in the container.",
        ),
        (
            "volume",
            Shape::String,
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
            Shape::String,
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
    Shape::Object(object(rows, FieldClass::Replace))
}

fn healthcheck() -> Shape {
    let retries = Shape::Integer { min: 1, max: 1_000 };
    let rows = vec![
        (
            "command",
            texts(1),
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

fn texts(min: usize) -> Shape {
    Shape::List {
        of: Box::new(Shape::String),
        min,
    }
}

fn list_of(shape: Shape) -> Shape {
    Shape::List {
        of: Box::new(shape),
        min: 0,
    }
}

fn text_map() -> Shape {
    Shape::Map(Box::new(Shape::String))
}

fn words(words: &[&str]) -> Shape {
    Shape::Word(words.iter().map(|word| (*word).to_owned()).collect())
}
