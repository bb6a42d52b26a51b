//! What Provider documents and `template.properties` may hold, with the class of each field.

use std::collections::BTreeMap;

use drover_model::{FieldClass, Value};
use drover_provider::{
    AddressRule, AdoptRule, CheckRule, Demand, Field, Form, GroupRules, InitRule, ListShape,
    MemberRule, ObjectSchema, Others, Pattern, Rules, Shape, USER_DATA_MAX, Unique, Way, ZoneRule,
};

use crate::tags;

/// Most instance types of a template, and most subnets: each pair may cost a call when there is no room.
pub(crate) const CHOICES_MAX: usize = 20;

/// The largest volume of EC2's, in GiB.
const GIB_MAX: i64 = 64 * 1024;

/// The operations a second of a volume, from and to, by its type, as Amazon has them since gp3 was made larger.
const IOPS_GP3: (i64, i64) = (3_000, 80_000);
const IOPS_IO1: (i64, i64) = (100, 64_000);
const IOPS_IO2: (i64, i64) = (100, 256_000);

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

pub(crate) fn words(words: &[&str]) -> Shape {
    Shape::Word(words.iter().map(|word| (*word).to_owned()).collect())
}

pub(crate) fn yes_no() -> Shape {
    Shape::Boolean
}

/// Returns the shape of lists of which each entry is there once.
pub(crate) fn list(of: Shape) -> ListShape {
    ListShape::of(of).at_least(1).unique(Unique::Whole)
}

/// Returns the shape of a name that somebody else chose.
pub(crate) fn name(what: &str, example: &str) -> Shape {
    Shape::text(Form::of("^[^ ]", what, example).within(1, Some(255)))
}

/// Returns the shape of an id: what it begins with says of what.
pub(crate) fn id(prefix: &str, what: &str) -> Shape {
    let pattern = format!("^{prefix}-[0-9A-Za-z-]+$");
    let example = format!("{prefix}-0123456789abcdef0");
    Shape::text(Form::of(&pattern, what, &example))
}

pub(crate) fn subnets() -> ListShape {
    list(id("subnet", "a subnet's id"))
}

pub(crate) fn region() -> Shape {
    // It becomes part of a host name. A zone's name has a letter more, and leads nowhere.
    let form = Form::of("^[a-z0-9-]+$", "a region's name", "eu-central-1");
    let not = Pattern::parse("-[0-9]+[a-z]$").ok();
    Shape::text(Form { not, ..form })
}

fn security_groups() -> Shape {
    Shape::List(list(id("sg", "a security group's id")))
}

fn instance_type() -> Shape {
    let pattern = r"^[a-z0-9-]+\.[a-z0-9-]+$";
    Shape::text(Form::of(pattern, "an instance type", "t3.micro"))
}

/// Why credits are refused.
const ONLY_BURSTING: &str = "only instance types that burst have `cpuCredits`: those of the families t2, t3, t3a, t4g and later ones";

/// Returns the shape of instance types that burst. T1 has no credits.
fn bursting() -> Shape {
    let pattern = r"^t[2-9][a-z]*\.";
    Shape::text(Form::of(
        pattern,
        "an instance type that bursts",
        "t3.micro",
    ))
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
                Shape::List(subnets()),
                Ignore,
                "The subnets of the members' network interfaces: the first of the zone is taken.",
            ),
            row(
                "securityGroups",
                security_groups(),
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
                region(),
                Replace,
                "The region, such as eu-central-1.",
            ),
            row(
                "profile",
                name("a profile's name", "prod"),
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
        row("device", device_name(), of, device),
        row("sizeGiB", up_to(1, GIB_MAX), of, "The size."),
        row(
            "type",
            words(&["gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"]),
            of,
            "The volume type, gp3 unless written.",
        ),
        row(
            "iops",
            up_to(IOPS_IO2.0, IOPS_IO2.1),
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
            name("a key's id, ARN or alias", "alias/volumes"),
            of,
            "The key, the account's own unless written.",
        ),
        row(
            "snapshotId",
            id("snap", "a snapshot's id"),
            of,
            "What it is made from.",
        ),
    ]
}

/// What a volume's fields ask of each other. What is left out is of the type gp3, and encrypted.
fn of_disks(disk: ObjectSchema) -> ObjectSchema {
    let among = |values: &[&str]| values.iter().map(|value| Value::from(*value)).collect();
    let with_iops = Demand::OneOf(among(&["gp3", "io1", "io2"]));
    let encrypted = Demand::OneOf(vec![Value::Bool(true)]);
    let within = |(min, max): (i64, i64)| Demand::Like(Box::new(up_to(min, max)));
    ObjectSchema {
        rules: Rules::default()
            .when(
                ("type", &["io1", "io2"]),
                "iops",
                Demand::There,
                "volumes of the types io1 and io2 need `iops`",
            )
            .when(
                ("iops", &[]),
                "type",
                with_iops,
                "only volumes of the types gp3, io1 and io2 take `iops`",
            )
            .by_default(
                ("type", "gp3"),
                "iops",
                within(IOPS_GP3),
                "volumes of the type gp3, which is the default, have 3,000 to 80,000 `iops`",
            )
            .when(
                ("type", &["io1"]),
                "iops",
                within(IOPS_IO1),
                "volumes of the type io1 have 100 to 64,000 `iops`",
            )
            .when(
                ("throughput", &[]),
                "type",
                Demand::OneOf(among(&["gp3"])),
                "only volumes of the type gp3 take `throughput`",
            )
            .when(
                ("kmsKeyId", &[]),
                "encrypted",
                encrypted,
                "`kmsKeyId` is of no use to a volume that is not encrypted",
            )
            .when(
                ("type", &["st1", "sc1"]),
                "sizeGiB",
                within((125, GIB_MAX)),
                "volumes of the types st1 and sc1 have at least 125 GiB",
            )
            .when(
                ("type", &["io1", "io2"]),
                "sizeGiB",
                within((4, GIB_MAX)),
                "volumes of the types io1 and io2 have at least 4 GiB",
            )
            .when(
                ("type", &["standard"]),
                "sizeGiB",
                within((1, 1_024)),
                "volumes of the type standard have at most 1,024 GiB",
            ),
        ..disk
    }
}

fn device_name() -> Shape {
    // What Amazon lists for its two kinds of virtualization, and names of root devices beside them.
    let pattern = "^(/dev/)?(sd[a-z][0-9]{0,2}|hd[a-z][0-9]{0,2}|xvd[a-z]{1,2}[0-9]{0,2})$";
    let what = "a device's name as EC2 has them, whatever the instance calls it,";
    Shape::text(Form::of(pattern, what, "/dev/sdf"))
}

fn template_name() -> Shape {
    let pattern = r"^[A-Za-z0-9().\-/_]{3,128}$";
    Shape::text(Form::of(pattern, "a launch template's name", "web"))
}

/// Returns how a launch template is named.
pub(crate) fn launch_template(class: FieldClass) -> ObjectSchema {
    let named = object(
        vec![
            row(
                "id",
                id("lt", "a launch template's id"),
                class,
                "Its id; or its name.",
            ),
            row("name", template_name(), class, "Its name; or its id."),
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
    let volume = of_disks(object(volume, &["device"]));
    let by_device = Unique::By([("device".to_owned(), Value::Null)].into());
    let volumes = ListShape::of(Shape::Object(volume)).at_least(1);
    let attachment = of_disks(object(
        disk("The device name, such as /dev/sdf.", Ignore),
        &["device", "sizeGiB"],
    ));
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
            Shape::List(volumes.unique(by_device)),
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
        rules: rules(),
        ..object(rows, &[])
    }
}

/// What the properties ask of each other, and of their group.
fn rules() -> Rules {
    Rules::any_of(&[&["imageId", "instanceType"], &["launchTemplate"]])
        .requiring("fallbackTypes", &["instanceType"])
        .when(
            ("spotMaxPrice", &[]),
            "market",
            Demand::ThereAsOneOf(vec!["spot".into()]),
            "`spotMaxPrice` is of no use without `market: spot`",
        )
        .when(
            ("market", &["spot"]),
            "onShutdown",
            Demand::OneOf(vec!["terminate".into()]),
            "spot instances cannot stop; leave it out, or write `terminate`",
        )
        .when(
            ("market", &["spot"]),
            "tenancy",
            Demand::OneOf(vec!["default".into(), "dedicated".into()]),
            "spot instances do not run on hosts of one's own",
        )
        .when(
            ("cpuCredits", &[]),
            "instanceType",
            Demand::Like(Box::new(bursting())),
            ONLY_BURSTING,
        )
        .when(
            ("cpuCredits", &[]),
            "fallbackTypes",
            Demand::Like(Box::new(Shape::List(ListShape::of(bursting())))),
            ONLY_BURSTING,
        )
        .of_group(of_group())
}

/// A member's interface has its address and its network before there is an instance.
fn of_group() -> GroupRules {
    let without = ["subnets", "securityGroups", "publicAddress"];
    GroupRules {
        members: MemberRule::With {
            without: without.map(str::to_owned).to_vec(),
            attachments: Some("attachments".to_owned()),
            instead: Some("volumes".to_owned()),
            setting: Some("places".to_owned()),
        },
        address: AddressRule::Members,
        init: InitRule::UpTo(USER_DATA_MAX),
        zones: ZoneRule::Of("region".to_owned()),
        tags: Some(Box::new(tags::shape())),
        // EC2 runs no commands in its instances.
        checks: CheckRule::only(&[Way::Http, Way::Tcp, Way::Provider]),
        adopt: AdoptRule::Taken,
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
    let image = r"^(ami-[0-9a-f]{8}|ami-[0-9a-f]{17}|resolve:ssm:[A-Za-z0-9_./:-]+)$";
    let what = "an image's id, of 8 or 17 hexadecimal digits, or `resolve:ssm:` and a parameter,";
    let image = Form::of(image, what, "ami-0123456789abcdef0");
    let fallback = list(instance_type());
    let price = Form::of(r"^[0-9]*\.?[0-9]+$", "dollars, as text,", "0.05");
    vec![
        row(
            "imageId",
            Shape::text(image),
            Replace,
            "The image (AMI). Required without a launch template.",
        ),
        row(
            "instanceType",
            instance_type(),
            Replace,
            "The instance type. Required without a launch template.",
        ),
        row(
            "fallbackTypes",
            // The first type is one of them.
            Shape::List(fallback.at_most(CHOICES_MAX - 1)),
            Ignore,
            "Types that are taken, in this order, while there is no room for the first.",
        ),
        row(
            "subnets",
            Shape::List(subnets().at_most(CHOICES_MAX)),
            Ignore,
            "Where instances are made from now on; of a zone's, the first with room.",
        ),
        row(
            "securityGroups",
            security_groups(),
            Live,
            "Ids of security groups.",
        ),
        row(
            "keyName",
            name("a key pair's name", "ops"),
            Replace,
            "The key pair for ssh.",
        ),
        row(
            "iamInstanceProfile",
            profile(),
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
            Shape::text(price),
            Ignore,
            "The most to pay for an hour of spot capacity; the on-demand price unless written.",
        ),
    ]
}

/// The name of an instance profile, or its ARN: the ARN of a role is another thing.
fn profile() -> Shape {
    let pattern = "^([^:/]+|arn:.+:instance-profile/.+)$";
    let what = "the name or the ARN of an instance profile,";
    Shape::text(Form::of(pattern, what, "web"))
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
        row(
            "placementGroup",
            name("a placement group's name", "web"),
            Replace,
            "The placement group.",
        ),
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
