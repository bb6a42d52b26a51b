//! What Provider documents and `template.properties` may hold, with the class of each field.

use std::collections::BTreeMap;

use drover_model::FieldClass;
use drover_provider::{Field, ObjectSchema, Others, Rules, Shape};

/// The largest volume of EC2's, in GiB.
const GIB_MAX: i64 = 64 * 1024;

pub(crate) type Row = (&'static str, Shape, FieldClass, &'static str);

pub(crate) fn row(name: &'static str, shape: Shape, class: FieldClass, doc: &'static str) -> Row {
    (name, shape, class, doc)
}

pub(crate) fn object(rows: Vec<Row>, required: &[&str]) -> ObjectSchema {
    let fields = rows.into_iter().map(|(name, shape, class, doc)| {
        let field = Field {
            shape,
            required: required.contains(&name),
            class,
            doc: doc.to_owned(),
        };
        (name.to_owned(), field)
    });
    ObjectSchema {
        fields: fields.collect::<BTreeMap<_, _>>(),
        others: Others::Refused,
        rules: Rules::default(),
    }
}

pub(crate) fn text() -> Shape {
    Shape::String
}

pub(crate) fn words(words: &[&str]) -> Shape {
    Shape::Word(words.iter().map(|word| (*word).to_owned()).collect())
}

pub(crate) fn yes_no() -> Shape {
    Shape::Boolean
}

pub(crate) fn list(of: Shape) -> Shape {
    Shape::List {
        of: Box::new(of),
        min: 1,
    }
}

pub(crate) fn up_to(min: i64, max: i64) -> Shape {
    Shape::Integer { min, max }
}

/// Returns what a Provider document's `settings` may hold.
pub(crate) fn settings() -> ObjectSchema {
    use FieldClass::{Ignore, Replace};
    let places = object(
        vec![
            row(
                "subnets",
                list(text()),
                Ignore,
                "The subnets of the members' network interfaces: the first of the zone is taken.",
            ),
            row(
                "securityGroups",
                list(text()),
                Ignore,
                "The security groups of the members' network interfaces.",
            ),
        ],
        &["subnets"],
    );
    object(
        vec![
            row(
                "region",
                text(),
                Replace,
                "The region, such as eu-central-1.",
            ),
            row(
                "profile",
                text(),
                Replace,
                "A profile of the program's own AWS configuration files, for another account.",
            ),
            row(
                "address",
                words(&["private", "public", "ipv6"]),
                Ignore,
                "Which address checks and peers use: private (default), public or ipv6.",
            ),
            row(
                "statusChecks",
                yes_no(),
                Ignore,
                "Ask for EC2's status checks and scheduled events too: three more calls in each pass.",
            ),
            row(
                "places",
                Shape::Object(places),
                Ignore,
                "Where members of quorum groups live; without it there are none.",
            ),
        ],
        &["region"],
    )
}

fn disk(device: &'static str, of: FieldClass) -> Vec<Row> {
    vec![
        row("device", text(), of, device),
        row("sizeGiB", up_to(1, GIB_MAX), of, "The size."),
        row("type", text(), of, "The volume type, gp3 unless written."),
        row(
            "iops",
            up_to(100, 256_000),
            of,
            "Operations a second, where the type takes them.",
        ),
        row(
            "throughput",
            up_to(125, 2_000),
            of,
            "MiB a second, where the type takes it.",
        ),
        row(
            "encrypted",
            yes_no(),
            of,
            "Whether it is encrypted, true unless written.",
        ),
        row(
            "kmsKeyId",
            text(),
            of,
            "The key, the account's own unless written.",
        ),
        row("snapshotId", text(), of, "What it is made from."),
    ]
}

/// Returns how a launch template is named.
pub(crate) fn launch_template(class: FieldClass) -> ObjectSchema {
    let named = object(
        vec![
            row("id", text(), class, "Its id; or its name."),
            row("name", text(), class, "Its name; or its id."),
            row(
                "version",
                Shape::Digits,
                class,
                "A version's number. `$Latest` and `$Default` are refused: they change without a commit.",
            ),
        ],
        &["version"],
    );
    ObjectSchema {
        rules: Rules::one_of(&[&["id"], &["name"]]),
        ..named
    }
}

/// Returns what `template.properties` may hold.
pub(crate) fn properties() -> ObjectSchema {
    use FieldClass::{Ignore, Live, Replace};
    let template = launch_template(Replace);
    let mut volume = disk("The device name, such as /dev/xvda.", Replace);
    volume.push(row(
        "deleteOnTermination",
        yes_no(),
        Replace,
        "Whether it goes with the instance, true unless written.",
    ));
    let volume = object(volume, &["device"]);
    let attachment = object(
        disk("The device name, such as /dev/sdf.", Ignore),
        &["device", "sizeGiB"],
    );
    let mut rows = launch_rows();
    rows.extend(machine_rows());
    rows.extend([
        row(
            "launchTemplate",
            Shape::Object(template),
            Replace,
            "A launch template; the other properties win over it.",
        ),
        row(
            "volumes",
            list(Shape::Object(volume)),
            Replace,
            "Volumes that live with the instance.",
        ),
        row(
            "attachments",
            Shape::Map(Box::new(Shape::Object(attachment))),
            Ignore,
            "The volumes of a quorum group's members by their name; read when one is made.",
        ),
        row(
            "metadata",
            Shape::Object(metadata()),
            Live,
            "The instance metadata service.",
        ),
    ]);
    ObjectSchema {
        rules: Rules::any_of(&[&["imageId", "instanceType"], &["launchTemplate"]])
            .requiring("fallbackTypes", &["instanceType"])
            .requiring("spotMaxPrice", &["market"]),
        ..object(rows, &[])
    }
}

fn metadata() -> ObjectSchema {
    use FieldClass::Live;
    object(
        vec![
            row(
                "tokens",
                words(&["required", "optional"]),
                Live,
                "required (default) or optional: whether IMDSv1 is refused.",
            ),
            row(
                "hopLimit",
                up_to(1, 64),
                Live,
                "How far answers travel; 1 is as far as the instance itself.",
            ),
            row(
                "instanceTags",
                yes_no(),
                Live,
                "Whether the instance can read its own tags, false unless written.",
            ),
        ],
        &[],
    )
}

fn launch_rows() -> Vec<Row> {
    use FieldClass::{Ignore, Live, Replace};
    let strings = || list(text());
    vec![
        row(
            "imageId",
            text(),
            Replace,
            "The image (AMI). Required without a launch template.",
        ),
        row(
            "instanceType",
            text(),
            Replace,
            "The instance type. Required without a launch template.",
        ),
        row(
            "fallbackTypes",
            strings(),
            Ignore,
            "Types that are taken, in this order, while there is no room for the first.",
        ),
        row(
            "subnets",
            strings(),
            Ignore,
            "Where instances are made from now on; of a zone's, the first with room.",
        ),
        row("securityGroups", strings(), Live, "Ids of security groups."),
        row("keyName", text(), Replace, "The key pair for ssh."),
        row(
            "iamInstanceProfile",
            text(),
            Replace,
            "The role of the instance: the name or the ARN of an instance profile.",
        ),
        row(
            "publicAddress",
            yes_no(),
            Replace,
            "Whether it gets a public address; as the subnet says unless written.",
        ),
        row(
            "market",
            words(&["onDemand", "spot"]),
            Replace,
            "onDemand (default) or spot.",
        ),
        row(
            "spotMaxPrice",
            text(),
            Ignore,
            "The most to pay for an hour of spot capacity; the on-demand price unless written.",
        ),
    ]
}

fn machine_rows() -> Vec<Row> {
    use FieldClass::Replace;
    vec![
        row(
            "monitoring",
            yes_no(),
            Replace,
            "Whether CloudWatch gets metrics each minute.",
        ),
        row(
            "ebsOptimized",
            yes_no(),
            Replace,
            "Whether it has bandwidth of its own to volumes.",
        ),
        row("placementGroup", text(), Replace, "The placement group."),
        row(
            "tenancy",
            words(&["default", "dedicated", "host"]),
            Replace,
            "default, dedicated or host: on whose hardware it runs.",
        ),
        row(
            "cpuCredits",
            words(&["standard", "unlimited"]),
            Replace,
            "standard or unlimited, of types that burst.",
        ),
        row(
            "onShutdown",
            words(&["stop", "terminate"]),
            Replace,
            "stop or terminate: what becomes of an instance that shuts itself down.",
        ),
    ]
}

#[cfg(test)]
mod tests;
