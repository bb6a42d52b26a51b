//! What documents of the type `asg` may say, and what is made of it.

use std::collections::BTreeMap;

use drover_model::{FieldClass, Value};
use drover_provider::{
    AddressRule, AdoptRule, CheckRule, Form, GroupRules, InitRule, MemberRule, ObjectSchema,
    ProviderError, Rules, Shape, Way, ZoneRule, parse_duration,
};

use crate::properties::{
    LaunchTemplate, checked, flag, invalid, launch_template, number, text, texts,
};
use crate::schema::{self, list, object, row, up_to, words, yes_no};
use crate::settings::{self, Account};
use crate::tags;

/// What a target group is called by.
const TARGET_GROUP: &str =
    "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef";

/// The largest group: far above what an account may have.
const SIZE_MAX: i64 = 100_000;

/// The properties of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Properties {
    pub(super) min: i32,
    pub(super) max: i32,
    /// None: Amazon's scaling policies choose it, from the least on.
    pub(super) desired: Option<i32>,
    pub(super) launch_template: LaunchTemplate,
    pub(super) subnets: Vec<String>,
    /// None: whatever the group has.
    pub(super) target_groups: Option<Vec<String>>,
    pub(super) health_check_type: Option<String>,
    pub(super) grace_seconds: Option<i32>,
    /// For the group's machines.
    pub(super) tags: BTreeMap<String, String>,
    pub(super) refresh: Refresh,
}

/// How an instance refresh is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refresh {
    /// In percent. None: Amazon's default, 90.
    pub(super) min_healthy: Option<i32>,
    pub(super) warmup_seconds: Option<i32>,
    /// Whether machines that are as they should be stay.
    pub(super) skip_matching: bool,
}

/// Returns what a Provider document's `settings` may hold.
pub(super) fn settings() -> ObjectSchema {
    use FieldClass::Replace;
    object(
        vec![
            row(
                "region",
                schema::region(),
                Replace,
                "The region, such as eu-central-1.",
            ),
            row(
                "profile",
                schema::name("a profile's name", "prod"),
                Replace,
                "A profile of the program's own AWS configuration files, for another account.",
            ),
        ],
        &["region"],
    )
}

/// Decodes settings.
pub(super) fn account(value: &Value) -> Result<Account, ProviderError> {
    settings::written(&settings(), value)?;
    Ok(Account {
        region: settings::region(&text(value, "region").unwrap_or_default())?,
        profile: text(value, "profile"),
    })
}

/// Returns how an instance refresh may be asked for.
fn refresh() -> ObjectSchema {
    use FieldClass::Ignore;
    object(
        vec![
            row(
                "minHealthyPercentage",
                up_to(0, 100),
                Ignore,
                "How much of the group stays in service, in percent; 90 unless written.",
            ),
            row(
                "instanceWarmup",
                whole_seconds(),
                Ignore,
                "How long a new machine is waited for after it is in service.",
            ),
            row(
                "skipMatching",
                yes_no(),
                Ignore,
                "Whether machines that are as they should be stay, true unless written.",
            ),
        ],
        &[],
    )
}

/// Returns what `template.properties` may hold.
pub(super) fn schema() -> ObjectSchema {
    use FieldClass::{Ignore, Live};
    let size = || up_to(0, SIZE_MAX);
    let pattern = "^arn:[^:]+:elasticloadbalancing:[^:]+:[^:]+:targetgroup/[^/]+/[^/]+$";
    let target_group = Form::of(pattern, "a target group's ARN", TARGET_GROUP);
    let mut rows = vec![
        row("minSize", size(), Live, "The least number of machines."),
        row("maxSize", size(), Live, "The greatest."),
        row(
            "desiredCapacity",
            size(),
            Live,
            "How many there shall be. Left out where Amazon's scaling policies choose.",
        ),
        row(
            "launchTemplate",
            Shape::Object(schema::launch_template(Live)),
            Live,
            "The launch template of the machines. Another one starts an instance refresh.",
        ),
        row(
            "subnets",
            Shape::List(schema::subnets()),
            Live,
            "Where machines are made.",
        ),
        row(
            "targetGroups",
            Shape::List(list(Shape::text(target_group))),
            Live,
            "ARNs of the load balancers' target groups that machines are registered with.",
        ),
    ];
    rows.extend([
        row(
            "healthCheckType",
            words(&["EC2", "ELB", "EBS", "VPC_LATTICE"]),
            Live,
            "EC2 (default), ELB, EBS or VPC_LATTICE: whose word Amazon takes on a machine's health.",
        ),
        row(
            "gracePeriod",
            whole_seconds(),
            Live,
            "How long a new machine's health is not asked for.",
        ),
        row(
            "tags",
            tags::shape(),
            Live,
            "Tags for the machines; they have them from their launch on.",
        ),
        row(
            "refresh",
            Shape::Object(refresh()),
            Ignore,
            "How an instance refresh is done that a change starts.",
        ),
    ]);
    ObjectSchema {
        rules: rules(),
        ..object(rows, &["minSize", "maxSize", "launchTemplate", "subnets"])
    }
}

fn rules() -> Rules {
    let group = GroupRules {
        // The launch template has it.
        init: InitRule::Refused,
        // The subnets decide.
        zones: ZoneRule::Refused,
        members: MemberRule::Refused,
        address: AddressRule::Unknown,
        tags: Some(Box::new(tags::shape())),
        // It has no address, and nothing runs in it.
        checks: CheckRule::only(&[Way::Provider]),
        adopt: AdoptRule::Taken,
    };
    Rules::default()
        .at_most("minSize", &["desiredCapacity", "maxSize"])
        .at_most("desiredCapacity", &["maxSize"])
        .of_group(group)
}

/// Durations of whole seconds, which is all that Amazon takes: together they are less than the 2^31 that it counts to.
fn whole_seconds() -> Shape {
    let what = "a duration of whole seconds";
    let form = Form::of(
        "^([0-9]{1,5}h)?([0-9]{1,7}m)?([0-9]{1,8}s)?([0-9]{1,8}000ms)?$",
        what,
        "90s",
    );
    Shape::text(form.within(2, None))
}

/// Decodes properties.
///
/// # Errors
///
/// `InvalidSpec`: the first mistake.
pub(super) fn decode(value: &Value) -> Result<Properties, ProviderError> {
    checked(&schema(), value)?;
    let size = |name: &str| number(value, name);
    let (min, max) = (
        size("minSize").unwrap_or_default(),
        size("maxSize").unwrap_or_default(),
    );
    let desired = size("desiredCapacity");
    let tags = value.get("tags").and_then(Value::as_map);
    let tags = tags.into_iter().flatten().map(|(key, tag)| {
        let tag = tag.as_str().unwrap_or_default();
        (key.clone(), tag.to_owned())
    });
    let template = value.get("launchTemplate").unwrap_or(&Value::Null);
    let none = Value::empty_map();
    let refresh = value.get("refresh").unwrap_or(&none);
    Ok(Properties {
        min,
        max,
        desired,
        launch_template: launch_template(template),
        subnets: texts(value, "subnets").unwrap_or_default(),
        target_groups: texts(value, "targetGroups"),
        health_check_type: text(value, "healthCheckType"),
        grace_seconds: seconds(value, "gracePeriod")?,
        tags: tags.collect(),
        refresh: Refresh {
            min_healthy: number(refresh, "minHealthyPercentage"),
            warmup_seconds: seconds(refresh, "instanceWarmup")?,
            skip_matching: flag(refresh, "skipMatching").unwrap_or(true),
        },
    })
}

/// Returns a duration in whole seconds, which is all that Amazon takes.
fn seconds(value: &Value, name: &str) -> Result<Option<i32>, ProviderError> {
    let Some(duration) = text(value, name).as_deref().and_then(parse_duration) else {
        return Ok(None);
    };
    let whole = i32::try_from(duration.as_secs());
    match whole {
        Ok(seconds) if duration.subsec_nanos() == 0 => Ok(Some(seconds)),
        Ok(_) | Err(_) => Err(invalid(format!("{name}: a number of whole seconds"))),
    }
}

#[cfg(test)]
mod tests;
