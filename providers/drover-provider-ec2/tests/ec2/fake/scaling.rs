//! EC2 Auto Scaling of the double: groups that keep their size by themselves, processes that can be suspended,
//! instance refreshes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use drover_model::Timestamp;

use super::actions::passes;
use super::world::Machine;
use super::xml::{Form, leaf, members, node};
use super::{Refusal, World};

/// The version of the API, which tells its calls from EC2's.
pub(crate) const VERSION: &str = "2011-01-01";

/// The tag on each instance of a group.
pub(crate) const GROUP_TAG: &str = "aws:autoscaling:groupName";

type Answer = Result<String, Refusal>;

/// A launch template's id, name and version.
pub(crate) type Template = (String, String, String);

#[derive(Debug, Clone)]
pub(crate) struct ScalingGroup {
    pub(crate) name: String,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) desired: usize,
    /// None: it has a launch configuration.
    pub(crate) template: Option<Template>,
    /// Whether the template stands in a mixed instances policy.
    pub(crate) mixed: bool,
    /// How often a launch template was sent with a change.
    pub(crate) templates_sent: usize,
    pub(crate) subnets: String,
    pub(crate) target_groups: BTreeSet<String>,
    pub(crate) health_check_type: String,
    pub(crate) grace: usize,
    /// Each with whether it goes onto instances.
    pub(crate) tags: BTreeMap<String, (String, bool)>,
    pub(crate) suspended: BTreeSet<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) deleting: bool,
    pub(crate) refreshes: Vec<Refresh>,
}

#[derive(Debug, Clone)]
pub(crate) struct Refresh {
    pub(crate) id: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) started_at: Timestamp,
    /// `MinHealthyPercentage`, `InstanceWarmup`, `SkipMatching`, as they were asked for.
    pub(crate) preferences: [Option<String>; 3],
}

fn refuse<T>(code: &str, words: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, words))
}

/// Answers a call with the inside of its result.
pub(crate) fn answer(world: &mut World, action: &str, form: &Form) -> Answer {
    tick(world);
    let answer = match action {
        "DescribeAutoScalingInstances" => Ok(instances(world, form)),
        "DescribeAutoScalingGroups" => Ok(groups(world, form)),
        "DescribeScalingActivities" => Ok(activities(world, form)),
        "CreateAutoScalingGroup" => create(world, form),
        "UpdateAutoScalingGroup" => update(world, form),
        "DeleteAutoScalingGroup" => delete(world, form),
        "CreateOrUpdateTags" => tag(world, form, true),
        "DeleteTags" => tag(world, form, false),
        "AttachLoadBalancerTargetGroups" => targets(world, form, true),
        "DetachLoadBalancerTargetGroups" => targets(world, form, false),
        "SuspendProcesses" => suspend(world, form),
        "StartInstanceRefresh" => start_refresh(world, form),
        "DescribeInstanceRefreshes" => refreshes(world, form),
        _ => refuse("InvalidAction", format!("{action} is not valid")),
    };
    tick(world);
    answer
}

/// Lets every group do what it would have done by now.
pub(crate) fn tick(world: &mut World) {
    let names: Vec<String> = world.groups.keys().cloned().collect();
    for name in names {
        let group = world.groups[&name].clone();
        let living: Vec<String> = members_of(world, &name)
            .filter(|machine| machine.ended.is_none())
            .map(|machine| machine.id.clone())
            .collect();
        if group.deleting {
            end(world, &living);
            let now = Instant::now();
            let gone = members_of(world, &name)
                .all(|machine| machine.state(&world.settings, now).1 == "terminated");
            if gone {
                world.groups.remove(&name);
                world.past_groups.insert(name);
            }
            continue;
        }
        let refreshing = group
            .refreshes
            .last()
            .is_some_and(|refresh| refresh.status == "InProgress");
        if refreshing && !world.refreshes_wait {
            refresh(world, &group, &living);
        } else if living.len() < group.desired && !group.suspended.contains("Launch") {
            for _ in living.len()..group.desired {
                launch(world, &group);
            }
        } else if living.len() > group.desired && !group.suspended.contains("Terminate") {
            end(world, &living[group.desired..]);
        }
    }
}

fn members_of<'a>(world: &'a World, name: &'a str) -> impl Iterator<Item = &'a Machine> {
    let machines = world.machines.values();
    machines.filter(move |one| one.scaling.as_ref().is_some_and(|(group, _)| group == name))
}

fn refresh(world: &mut World, group: &ScalingGroup, living: &[String]) {
    let old: Vec<String> = living
        .iter()
        .filter(|id| world.machines[*id].image != image(group))
        .cloned()
        .collect();
    end(world, &old);
    for _ in living.len() - old.len()..group.desired {
        launch(world, group);
    }
    let group = world.groups.get_mut(&group.name).expect("it was listed");
    if let Some(refresh) = group.refreshes.last_mut() {
        "Successful".clone_into(&mut refresh.status);
    }
}

fn end(world: &mut World, ids: &[String]) {
    for id in ids {
        if let Some(machine) = world.machines.get_mut(id) {
            let code = "Client.UserInitiatedShutdown".to_owned();
            machine.ended = Some((Instant::now(), code.clone(), code));
        }
    }
}

/// The image that a group's template names: one for each version.
fn image(group: &ScalingGroup) -> String {
    match &group.template {
        Some((_, _, version)) => format!("ami-{version:0>8}"),
        None => "ami-configured".to_owned(),
    }
}

fn launch(world: &mut World, group: &ScalingGroup) {
    let id = format!("i-{:017x}", world.draw());
    let mut tags: BTreeMap<String, String> = group
        .tags
        .iter()
        .filter(|(_, (_, goes_on))| *goes_on)
        .map(|(key, (value, _))| (key.clone(), value.clone()))
        .collect();
    tags.insert(GROUP_TAG.to_owned(), group.name.clone());
    if let Some((id, _, version)) = &group.template {
        tags.insert("aws:ec2launchtemplate:id".to_owned(), id.clone());
        tags.insert("aws:ec2launchtemplate:version".to_owned(), version.clone());
    }
    let subnet = group
        .subnets
        .split(',')
        .next()
        .unwrap_or_default()
        .to_owned();
    let zone = world.subnets.get(&subnet).cloned();
    let machine = Machine {
        reservation: format!("r-{:017x}", world.draw()),
        launch_index: 0,
        token: String::new(),
        image: image(group),
        type_: "t3.template".to_owned(),
        key: String::new(),
        zone: zone.unwrap_or_else(|| "eu-central-1a".to_owned()),
        subnet: (!subnet.is_empty()).then_some(subnet),
        address: world.draw_address(),
        interface: None,
        groups: vec!["sg-template".to_owned()],
        spot: false,
        user_data: None,
        http_tokens: "required".to_owned(),
        profile: None,
        tags,
        launched: Instant::now(),
        launched_at: Timestamp::now(),
        ended: None,
        stopped: None,
        marked: None,
        event: None,
        impaired: false,
        scaling: Some((group.name.clone(), "InService".to_owned())),
        id: id.clone(),
    };
    world.machines.insert(id, machine);
}

/// Returns Amazon's word for where an instance is in its group.
fn lifecycle(world: &World, machine: &Machine) -> String {
    let state = machine.state(&world.settings, Instant::now()).1;
    match (state, &machine.scaling) {
        ("pending", _) => "Pending".to_owned(),
        ("shutting-down" | "terminated", _) => "Terminating".to_owned(),
        (_, Some((_, state))) => state.clone(),
        (_, None) => "Detached".to_owned(),
    }
}

fn template(template: &Template) -> String {
    let (id, name, version) = template;
    let inner = leaf("LaunchTemplateId", id)
        + &leaf("LaunchTemplateName", name)
        + &leaf("Version", version);
    node("LaunchTemplate", &inner)
}

fn mixed((id, name, version): &Template) -> String {
    let own = leaf("LaunchTemplateId", id)
        + &leaf("LaunchTemplateName", name)
        + &leaf("Version", version);
    let own = node("LaunchTemplateSpecification", &own);
    let other = node("member", &leaf("InstanceType", "t3a.micro"));
    let template = node("LaunchTemplate", &(own + &node("Overrides", &other)));
    node("MixedInstancesPolicy", &template)
}

fn member(world: &World, machine: &Machine) -> String {
    let own = |key: &str| machine.tags.get(key).cloned();
    let from = own("aws:ec2launchtemplate:id").zip(own("aws:ec2launchtemplate:version"));
    leaf("InstanceId", &machine.id)
        + &leaf("InstanceType", &machine.type_)
        + &leaf("AvailabilityZone", &machine.zone)
        + &leaf("LifecycleState", lifecycle(world, machine))
        + &leaf("HealthStatus", "Healthy")
        + &from.map_or(String::new(), |(id, version)| {
            template(&(id, "web".to_owned(), version))
        })
        + &leaf("ProtectedFromScaleIn", false)
}

fn is_there(world: &World, machine: &Machine) -> bool {
    machine.state(&world.settings, Instant::now()).1 != "terminated"
}

fn instances(world: &World, form: &Form) -> String {
    let ids = form.list("InstanceIds.member");
    let found = ids.iter().filter_map(|id| world.machines.get(*id));
    let found = found.filter(|machine| is_there(world, machine));
    let items = found.filter_map(|machine| {
        let (group, _) = machine.scaling.as_ref()?;
        Some(member(world, machine) + &leaf("AutoScalingGroupName", group))
    });
    members("AutoScalingInstances", items)
}

fn groups(world: &World, form: &Form) -> String {
    let names = form.list("AutoScalingGroupNames.member");
    let found = world.groups.values().filter(|group| {
        let asked = names.is_empty() || names.contains(&group.name.as_str());
        asked
            && passes(form, "Filters.member", |name| {
                let key = name.strip_prefix("tag:");
                let key = key.unwrap_or_else(|| panic!("the double knows no filter {name}"));
                let tag = group.tags.get(key);
                tag.map(|(value, _)| value.clone()).into_iter().collect()
            })
    });
    let items: Vec<String> = found.map(|group| described(world, group)).collect();
    let from = form.number("NextToken").unwrap_or(0);
    let most = form
        .number("MaxRecords")
        .unwrap_or(50)
        .min(world.scaling_page);
    let until = from.saturating_add(most).min(items.len());
    let mut text = members("AutoScalingGroups", items[from..until].iter().cloned());
    if until < items.len() {
        text += &leaf("NextToken", until);
    }
    text
}

fn described(world: &World, group: &ScalingGroup) -> String {
    let there = members_of(world, &group.name).filter(|machine| is_there(world, machine));
    let tags = group.tags.iter().map(|(key, (value, goes_on))| {
        leaf("ResourceId", &group.name)
            + &leaf("ResourceType", "auto-scaling-group")
            + &leaf("Key", key)
            + &leaf("Value", value)
            + &leaf("PropagateAtLaunch", goes_on)
    });
    let suspended = group.suspended.iter();
    let suspended =
        suspended.map(|name| leaf("ProcessName", name) + &leaf("SuspensionReason", "x"));
    let subnets = group
        .subnets
        .split(',')
        .filter_map(|one| world.subnets.get(one));
    let mut text = leaf("AutoScalingGroupName", &group.name)
        + &leaf("MinSize", group.min)
        + &leaf("MaxSize", group.max)
        + &leaf("DesiredCapacity", group.desired)
        + &leaf("DefaultCooldown", 300)
        + &leaf("HealthCheckType", &group.health_check_type)
        + &leaf("HealthCheckGracePeriod", group.grace)
        + &leaf("CreatedTime", group.created_at)
        + &leaf("VPCZoneIdentifier", &group.subnets)
        + &members("AvailabilityZones", subnets.cloned())
        + &members("TargetGroupARNs", group.target_groups.iter().cloned())
        + &members("Instances", there.map(|machine| member(world, machine)))
        + &members("Tags", tags)
        + &members("SuspendedProcesses", suspended);
    match &group.template {
        Some(own) if group.mixed => text += &mixed(own),
        Some(own) => text += &template(own),
        None => text += &leaf("LaunchConfigurationName", "configured"),
    }
    if group.deleting {
        text += &leaf("Status", "Delete in progress");
    }
    text
}

/// One activity for each group that has ever been, gone ones included where they are asked for.
fn activities(world: &World, form: &Form) -> String {
    let name = form.text("AutoScalingGroupName").unwrap_or_default();
    let gone =
        form.text("IncludeDeletedGroups") == Some("true") && world.past_groups.contains(name);
    let known = gone || world.groups.contains_key(name);
    let item = leaf("ActivityId", "1")
        + &leaf("AutoScalingGroupName", name)
        + &leaf("Cause", "the test")
        + &leaf("StartTime", "2026-01-05T03:00:00Z")
        + &leaf("StatusCode", "Successful");
    members("Activities", known.then_some(item))
}

fn known<'a>(world: &'a mut World, form: &Form) -> Result<&'a mut ScalingGroup, Refusal> {
    let name = form.text("AutoScalingGroupName").unwrap_or_default();
    let group = world.groups.get_mut(name);
    group.ok_or_else(|| Refusal::new("ValidationError", "AutoScalingGroup name not found - null"))
}

fn asked_template(form: &Form) -> Option<Template> {
    let own = |key: &str| {
        form.text(&format!("LaunchTemplate.{key}"))
            .map(str::to_owned)
    };
    let version = own("Version")?;
    let id = own("LaunchTemplateId").unwrap_or_else(|| "lt-1".to_owned());
    let name = own("LaunchTemplateName").unwrap_or_else(|| "web".to_owned());
    Some((id, name, version))
}

/// Checks what a group would be.
fn checked(world: &World, group: ScalingGroup) -> Result<ScalingGroup, Refusal> {
    if group.min > group.desired || group.desired > group.max {
        return refuse(
            "ValidationError",
            "Desired capacity must be between min and max",
        );
    }
    if let Some((id, _, version)) = &group.template
        && version
            .parse::<usize>()
            .is_ok_and(|version| version > world.template_versions)
    {
        let words = format!("The specified version {version} of {id} does not exist");
        return refuse("ValidationError", words);
    }
    let mut subnets = group.subnets.split(',').filter(|subnet| !subnet.is_empty());
    if let Some(subnet) = subnets.find(|subnet| !world.subnets.contains_key(*subnet)) {
        return refuse(
            "ValidationError",
            format!("The subnet ID '{subnet}' does not exist"),
        );
    }
    Ok(group)
}

fn create(world: &mut World, form: &Form) -> Answer {
    let name = form
        .text("AutoScalingGroupName")
        .unwrap_or_default()
        .to_owned();
    if world.groups.contains_key(&name) {
        return refuse(
            "AlreadyExists",
            "AutoScalingGroup by this name already exists",
        );
    }
    let min = form.number("MinSize").unwrap_or(0);
    let targets = form.list("TargetGroupARNs.member");
    let text = |key| form.text(key).map(str::to_owned);
    let group = ScalingGroup {
        name: name.clone(),
        min,
        max: form.number("MaxSize").unwrap_or(0),
        desired: form.number("DesiredCapacity").unwrap_or(min),
        template: asked_template(form),
        mixed: false,
        templates_sent: 0,
        subnets: text("VPCZoneIdentifier").unwrap_or_default(),
        target_groups: targets.into_iter().map(str::to_owned).collect(),
        health_check_type: text("HealthCheckType").unwrap_or_else(|| "EC2".to_owned()),
        grace: form.number("HealthCheckGracePeriod").unwrap_or(0),
        tags: asked_tags(form).map(|(_, key, tag)| (key, tag)).collect(),
        suspended: BTreeSet::new(),
        created_at: Timestamp::now(),
        deleting: false,
        refreshes: Vec::new(),
    };
    let group = checked(world, group)?;
    world.groups.insert(name, group);
    Ok(String::new())
}

fn update(world: &mut World, form: &Form) -> Answer {
    let mut group = known(world, form)?.clone();
    let number = |key, otherwise| form.number(key).unwrap_or(otherwise);
    group.min = number("MinSize", group.min);
    group.max = number("MaxSize", group.max);
    let within = group.desired.max(group.min).min(group.max);
    group.desired = number("DesiredCapacity", within);
    group.grace = number("HealthCheckGracePeriod", group.grace);
    if let Some(template) = asked_template(form) {
        group.template = Some(template);
        group.mixed = false;
        group.templates_sent += 1;
    }
    if let Some(subnets) = form.text("VPCZoneIdentifier") {
        subnets.clone_into(&mut group.subnets);
    }
    if let Some(type_) = form.text("HealthCheckType") {
        type_.clone_into(&mut group.health_check_type);
    }
    let group = checked(world, group)?;
    world.groups.insert(group.name.clone(), group);
    Ok(String::new())
}

fn delete(world: &mut World, form: &Form) -> Answer {
    let force = form.text("ForceDelete") == Some("true");
    let name = known(world, form)?.name.clone();
    let busy = members_of(world, &name).any(|machine| is_there(world, machine));
    if busy && !force {
        return refuse(
            "ResourceInUse",
            "You cannot delete a group while there are instances",
        );
    }
    known(world, form)?.deleting = true;
    Ok(String::new())
}

fn asked_tags(form: &Form) -> impl Iterator<Item = (String, String, (String, bool))> {
    let tags = form.members("Tags.member").into_iter();
    tags.map(|tag| {
        let own = |key| tag.text(key).unwrap_or_default().to_owned();
        let goes_on = own("PropagateAtLaunch") == "true";
        (own("ResourceId"), own("Key"), (own("Value"), goes_on))
    })
}

fn tag(world: &mut World, form: &Form, on: bool) -> Answer {
    for (name, key, tag) in asked_tags(form) {
        let Some(group) = world.groups.get_mut(&name) else {
            return refuse("ValidationError", "AutoScalingGroup name not found - null");
        };
        if on {
            group.tags.insert(key, tag);
        } else {
            group.tags.remove(&key);
        }
    }
    Ok(String::new())
}

fn targets(world: &mut World, form: &Form, on: bool) -> Answer {
    let arns: Vec<String> = form
        .list("TargetGroupARNs.member")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let group = known(world, form)?;
    for arn in arns {
        if on {
            group.target_groups.insert(arn);
        } else {
            group.target_groups.remove(&arn);
        }
    }
    Ok(String::new())
}

fn suspend(world: &mut World, form: &Form) -> Answer {
    let processes = form.list("ScalingProcesses.member");
    let processes: Vec<String> = processes.into_iter().map(str::to_owned).collect();
    known(world, form)?.suspended.extend(processes);
    Ok(String::new())
}

fn start_refresh(world: &mut World, form: &Form) -> Answer {
    let id = format!("refresh-{}", world.draw());
    let group = known(world, form)?;
    if group
        .refreshes
        .last()
        .is_some_and(|one| one.status == "InProgress")
    {
        return refuse(
            "InstanceRefreshInProgress",
            "An instance refresh is in progress",
        );
    }
    let preference = |name: &str| form.text(&format!("Preferences.{name}")).map(str::to_owned);
    group.refreshes.push(Refresh {
        id: id.clone(),
        status: "InProgress".to_owned(),
        reason: String::new(),
        started_at: Timestamp::now(),
        preferences: ["MinHealthyPercentage", "InstanceWarmup", "SkipMatching"].map(preference),
    });
    Ok(leaf("InstanceRefreshId", id))
}

fn refreshes(world: &mut World, form: &Form) -> Answer {
    let group = known(world, form)?;
    let items = group.refreshes.iter().rev().map(|one| {
        leaf("InstanceRefreshId", &one.id)
            + &leaf("AutoScalingGroupName", &group.name)
            + &leaf("Status", &one.status)
            + &leaf("StatusReason", &one.reason)
            + &leaf("StartTime", one.started_at)
    });
    Ok(members("InstanceRefreshes", items))
}
