//! `drover import ec2` and `drover import asg`. This program has no AWS code: `drover-provider-ec2 describe` looks, and
//! prints what it found as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use drover_model::{ProviderName, Value, counted};
use serde::Deserialize;

use super::machines::{Found, Machine, SCALING_TAG, VERSION_TAG, is_burstable, provider};
use super::{Drafts, write};
use crate::cli::{DescribeOptions, ImportAsgArgs, ImportEc2Args};
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::providers::{EC2_PROGRAM, ec2_program};
use crate::ui::Ui;

/// The version of the program's answer that is read.
const VERSION: u64 = 1;

/// How long the program may take: an account with ten thousand instances is some dozen calls.
const LIMIT: Duration = Duration::from_mins(5);

/// The largest answer that is read: a hundred thousand instances.
const BYTES_MAX: usize = 256 << 20;

/// The name of the Provider document where none is given.
pub(super) const PROVIDER: &str = "aws";

/// What the program prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    region: String,
    profile: Option<String>,
    instances: Vec<Instance>,
    scaling_group: Option<ScalingGroup>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    id: String,
    state: String,
    zone: Option<String>,
    subnet: Option<String>,
    image_id: Option<String>,
    instance_type: Option<String>,
    security_groups: Vec<String>,
    key_name: Option<String>,
    iam_instance_profile: Option<String>,
    market: String,
    monitoring: bool,
    ebs_optimized: bool,
    public_address: Option<bool>,
    placement_group: Option<String>,
    tenancy: Option<String>,
    /// What else it has, in words.
    #[serde(default)]
    others: Vec<String>,
    metadata: Metadata,
    tags: BTreeMap<String, String>,
    claimed_by: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    tokens: String,
    hop_limit: Option<i64>,
    instance_tags: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScalingGroup {
    name: String,
    min_size: u64,
    max_size: u64,
    desired_capacity: u64,
    launch_template: Option<Template>,
    mixed_instances: bool,
    subnets: Vec<String>,
    zones: Vec<String>,
    target_groups: Vec<String>,
    load_balancers: Vec<String>,
    acting: Vec<String>,
    suspend: String,
}

#[derive(Debug, Deserialize)]
struct Template {
    id: Option<String>,
    name: Option<String>,
    version: Option<String>,
}

/// Runs `drover import ec2`.
pub(super) fn ec2(args: &ImportEc2Args, ui: Ui) -> CommandResult {
    let tags: BTreeMap<String, String> = args.tags.iter().cloned().collect();
    if tags.len() < args.tags.len() {
        return Err(CommandError::usage("a tag is named twice"));
    }
    let mut question = Vec::new();
    for (key, value) in &args.tags {
        question.extend(["--tag".to_owned(), format!("{key}={value}")]);
    }
    let described = describe(&args.describe, &question)?;
    let called = match &args.group {
        Some(group) => group.to_string(),
        // What the first tag says is what people look for.
        None => args
            .tags
            .first()
            .map(|(_, value)| value.clone())
            .unwrap_or_default(),
    };
    let shown: Vec<String> = tags
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut found = Found {
        called,
        head: vec![format!(
            "Instances with {} in {}, by `drover import ec2`.",
            shown.join(" and "),
            described.region
        )],
        match_tags: tags,
        ..Found::default()
    };
    take(&mut found, &described.instances);
    finish(&found, &described, &args.describe, ui)
}

/// Runs `drover import asg`.
pub(super) fn asg(args: &ImportAsgArgs, ui: Ui) -> CommandResult {
    let question = ["--asg".to_owned(), args.name.clone()];
    let described = describe(&args.describe, &question)?;
    let Some(group) = &described.scaling_group else {
        return Err(CommandError::new("the answer has no scaling group").hint(HINT));
    };
    let name = &group.name;
    let called = args
        .group
        .as_ref()
        .map_or_else(|| name.clone(), ToString::to_string);
    let mut found = Found {
        called,
        head: vec![format!(
            "The Auto Scaling group {name} in {}, by `drover import asg`.",
            described.region
        )],
        size: Some(group.desired_capacity),
        bounds: Some((group.min_size, group.max_size)),
        match_tags: [(SCALING_TAG.to_owned(), name.clone())].into(),
        subnets: group.subnets.clone(),
        zones: group.zones.clone(),
        ..Found::default()
    };
    // Machines that it claims say so themselves.
    let told = |one: &Instance| {
        one.claimed_by
            .as_ref()
            .is_some_and(|claim| claim.contains(&group.suspend))
    };
    if !group.acting.is_empty() && !described.instances.iter().any(told) {
        found.notes.push(format!(
            "before `manage: full`, what makes and ends instances has to be suspended: {}",
            group.suspend
        ));
    }
    let routed = group.target_groups.len() + group.load_balancers.len();
    if routed > 0 {
        found.notes.push(format!(
            "{routed} load balancers or target groups get its machines from the scaling group, and none that drover makes: {}",
            [group.target_groups.as_slice(), &group.load_balancers].concat().join(", ")
        ));
    }
    take(&mut found, &described.instances);
    template(&mut found, group)?;
    finish(&found, &described, &args.describe, ui)
}

/// Takes the launch template of a scaling group for what its machines are made from.
fn template(found: &mut Found, group: &ScalingGroup) -> CommandResult<()> {
    if group.mixed_instances {
        found.notes.push(
            "the scaling group chooses among instance types and prices by itself; here it is the commonest type, see `fallbackTypes` and `market`"
                .to_owned(),
        );
    }
    let Some(template) = &group.launch_template else {
        found.notes.push(
            "the scaling group has a launch configuration and no launch template: the properties are those of its machines"
                .to_owned(),
        );
        return Ok(());
    };
    let numbered = template
        .version
        .clone()
        .filter(|version| version.parse::<u64>().is_ok());
    let of_machines = || newest_version(&found.machines);
    let Some(version) = numbered.clone().or_else(of_machines) else {
        return Err(CommandError::new(format!(
            "the launch template's version is {}, and no machine says which one that is",
            template.version.as_deref().unwrap_or("$Default")
        ))
        .hint(
            "set a number as its version in the scaling group: the others change without a commit",
        ));
    };
    if numbered.is_none() {
        found.notes.push(format!(
            "the scaling group follows {}; the document says {version}, the newest that machines have",
            template.version.as_deref().unwrap_or("$Default")
        ));
    }
    found.properties = from_template(template.id.as_deref(), template.name.as_deref(), &version);
    if group.mixed_instances {
        // Type and price are the policy's choice, not the template's.
        found.properties.remove("instanceType");
        found.properties.remove("market");
    }
    Ok(())
}

/// Returns the newest version of the launch template that machines come from.
fn newest_version(machines: &[Machine]) -> Option<String> {
    let versions = machines.iter().filter_map(|one| one.tags.get(VERSION_TAG));
    let versions = versions.filter_map(|version| version.parse::<u64>().ok());
    versions.max().map(|version| version.to_string())
}

/// Returns what a launch template says instead of the machines: itself, and nothing beside it.
pub(super) fn from_template(
    id: Option<&str>,
    name: Option<&str>,
    version: &str,
) -> BTreeMap<&'static str, Value> {
    let key = id.map(|id| ("id", id)).or(name.map(|name| ("name", name)));
    let template = super::texts(key.into_iter().chain([("version", version)]));
    let mut properties: BTreeMap<&'static str, Value> = PROPERTIES
        .iter()
        .map(|property| (*property, Value::Null))
        .collect();
    properties.insert("launchTemplate", template);
    properties
}

/// The properties that are read off machines.
const PROPERTIES: [&str; 12] = [
    "imageId",
    "instanceType",
    "securityGroups",
    "keyName",
    "iamInstanceProfile",
    "market",
    "monitoring",
    "ebsOptimized",
    "metadata",
    "publicAddress",
    "placementGroup",
    "tenancy",
];

/// Takes in the machines that run, and says what is to be known of them and of the others.
fn take(found: &mut Found, instances: &[Instance]) {
    let mut claims: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in instances {
        if let Some(claim) = &instance.claimed_by {
            *claims.entry(claim).or_default() += 1;
        }
        if matches!(instance.state.as_str(), "pending" | "running") {
            found.machines.push(machine(instance));
        } else {
            found.notes.push(format!(
                "{} is {}, and not counted in `size`",
                instance.id, instance.state
            ));
        }
    }
    for (claim, count) in claims {
        found.notes.push(format!(
            "{count} of {} still {} to {claim}",
            counted(instances.len(), "instance"),
            if count == 1 { "belongs" } else { "belong" }
        ));
    }
}

fn machine(instance: &Instance) -> Machine {
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let mut groups = instance.security_groups.clone();
    groups.sort();
    let groups: Vec<Value> = groups.iter().map(|group| group.as_str().into()).collect();
    let only_if = |holds: bool| holds.then_some(Value::Bool(true));
    let metadata = &instance.metadata;
    let mut options = vec![("tokens".to_owned(), Value::from(metadata.tokens.as_str()))];
    options.extend(
        metadata
            .hop_limit
            .map(|limit| ("hopLimit".to_owned(), Value::Int(limit))),
    );
    options.extend(only_if(metadata.instance_tags).map(|shown| ("instanceTags".to_owned(), shown)));
    let values = [
        text(&instance.image_id),
        text(&instance.instance_type),
        (!groups.is_empty()).then_some(Value::List(groups)),
        text(&instance.key_name),
        text(&instance.iam_instance_profile),
        (instance.market != "onDemand").then(|| instance.market.as_str().into()),
        only_if(instance.monitoring),
        only_if(instance.ebs_optimized),
        Some(options.into_iter().collect()),
        instance.public_address.map(Value::Bool),
        text(&instance.placement_group),
        text(&instance.tenancy),
    ];
    let properties = PROPERTIES.into_iter().zip(values);
    Machine {
        id: instance.id.clone(),
        zone: instance.zone.clone(),
        subnet: instance.subnet.clone(),
        tags: instance.tags.clone(),
        properties: properties
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        unread: unread(instance),
    }
}

/// Returns what an instance has, or may have, that no property is read for.
fn unread(instance: &Instance) -> BTreeSet<String> {
    let type_ = instance.instance_type.as_deref().unwrap_or_default();
    let is_spot = instance.market != "onDemand";
    // Each of these is a call of its own for each instance, or one that needs another permission.
    let asked = [
        ("`cpuCredits`", is_burstable(type_)),
        ("`onShutdown`", !is_spot),
        ("`spotMaxPrice`", is_spot),
    ];
    let asked = asked.iter().filter(|(_, may)| *may);
    let asked = asked.map(|(name, _)| (*name).to_owned());
    asked.chain(instance.others.iter().cloned()).collect()
}

fn finish(
    found: &Found,
    described: &Described,
    options: &DescribeOptions,
    ui: Ui,
) -> CommandResult<Exit> {
    if found.machines.is_empty() {
        return Err(
            CommandError::new("no instance runs that nobody owns and that has these tags")
                .hint("instances that drover has are not imported again: `drover get instances`"),
        );
    }
    let name = options
        .provider
        .as_ref()
        .map_or(PROVIDER, ProviderName::as_str);
    let drafted = found.draft(name);
    let (draft, remarks) = drafted.map_err(|why| {
        CommandError::new(format!("{:?} makes no group: {why}", found.called))
            .hint("name the group with --group")
    })?;
    let drafts = Drafts {
        files: vec![
            draft,
            provider(name, &described.region, described.profile.as_deref()),
        ],
        remarks,
    };
    write(drafts, &options.output, ui)
}

/// What to do about an answer that is none.
const HINT: &str = "use the program of this release of drover";

/// What to do without the program.
const NO_PROGRAM: &str =
    "it is a program of its own: install drover-provider-ec2, or name it with --program";

/// Runs the program and reads its answer.
fn describe(options: &DescribeOptions, question: &[String]) -> CommandResult<Described> {
    let program = match &options.program {
        Some(program) => program.clone(),
        None => ec2_program().ok_or_else(|| {
            CommandError::new(format!(
                "there is no {EC2_PROGRAM} beside this program, nor in PATH"
            ))
            .hint(NO_PROGRAM)
        })?,
    };
    let shown = program.display();
    let mut arguments = vec!["describe".to_owned()];
    arguments.extend_from_slice(question);
    let named = [
        ("--region", &options.region),
        ("--profile", &options.profile),
    ];
    for (option, value) in named {
        if let Some(value) = value {
            arguments.extend([option.to_owned(), value.clone()]);
        }
    }
    let answered = run(&program, &arguments)?;
    let output = match answered {
        Ok(output) => output,
        Err(error) => {
            let failed = CommandError::new(format!("cannot run {shown}")).detail(error.to_string());
            return Err(failed.hint(NO_PROGRAM));
        }
    };
    if !output.status.success() {
        let mut error = CommandError::new(format!("{shown} found nothing out"));
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            error = error.detail(line.to_owned());
        }
        return Err(error);
    }
    let garbled = |why: String| {
        CommandError::new(format!("the answer of {shown} cannot be read"))
            .detail(why)
            .hint(HINT)
    };
    if output.stdout.len() > BYTES_MAX {
        return Err(garbled("it is larger than 256 MiB".to_owned()));
    }
    let answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| garbled(error.to_string()))?;
    match answer.get("version").and_then(serde_json::Value::as_u64) {
        Some(VERSION) => {}
        Some(other) => return Err(garbled(format!("it is of version {other}, not {VERSION}"))),
        None => return Err(garbled("it says no version".to_owned())),
    }
    serde_json::from_value(answer).map_err(|error| garbled(error.to_string()))
}

/// Runs a program and waits for it. The inner error: it did not run to its end.
fn run(
    program: &Path,
    arguments: &[String],
) -> CommandResult<Result<std::process::Output, io::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    Ok(runtime.block_on(async {
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        match tokio::time::timeout(LIMIT, command.output()).await {
            Ok(output) => output,
            Err(_) => Err(io::Error::other(format!(
                "it did not answer within {LIMIT:?}"
            ))),
        }
    }))
}
