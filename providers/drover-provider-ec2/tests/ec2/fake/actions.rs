//! The actions on instances.

use std::collections::BTreeMap;
use std::time::Instant;

use drover_model::Timestamp;

use super::world::{Interface, Machine, Spent};
use super::xml::{Form, leaf, node, set, tag_set};
use super::{Refusal, World, storage};

type Answer = Result<String, Refusal>;

/// Answers a call with the inside of its response.
pub(crate) fn answer(world: &mut World, action: &str, form: &Form) -> Answer {
    match action {
        "RunInstances" => run(world, form),
        "DescribeInstances" => describe(world, form),
        "TerminateInstances" => terminate(world, form),
        "CreateTags" => tag(world, form, true),
        "DeleteTags" => tag(world, form, false),
        "DescribeSubnets" => subnets(world, form),
        "DescribeSpotInstanceRequests" => Ok(spot_requests(world, form)),
        "DescribeInstanceStatus" => Ok(statuses(world, form)),
        "ModifyInstanceAttribute" => modify(world, form),
        "ModifyInstanceMetadataOptions" => modify_metadata(world, form),
        "GetConsoleOutput" => console(world, form),
        _ => storage::answer(world, action, form),
    }
}

/// Answers a call whose token was used before.
fn repeated(world: &World, form: &Form, spent: &Spent) -> Answer {
    if spent.fingerprint != form.fingerprint() {
        let words = "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).";
        return Err(Refusal::new("IdempotentParameterMismatch", words));
    }
    let ended = |id: &String| world.machines.get(id).is_none_or(|one| one.ended.is_some());
    if spent.ids.iter().all(ended) {
        let words = "The instance of this client token has been terminated.";
        return Err(Refusal::new("IdempotentInstanceTerminated", words));
    }
    Ok(reservation(world, &spent.ids))
}

/// Returns the image and the type that a launch asks for.
fn kind(form: &Form) -> Result<(String, String), Refusal> {
    let template = form.text("LaunchTemplate.Version").is_some();
    let or = |key, otherwise: &'static str| {
        let otherwise = if template { otherwise } else { "" };
        form.text(key).unwrap_or(otherwise).to_owned()
    };
    let image = or("ImageId", "ami-template");
    if !image.starts_with("ami-") {
        let words = format!("Invalid id: \"{image}\"");
        return Err(Refusal::new("InvalidAMIID.Malformed", words));
    }
    Ok((image, or("InstanceType", "t3.template")))
}

/// Refuses a type of which the account may have no more.
fn limit(world: &World, type_: &str, spot: bool) -> Result<(), Refusal> {
    if !world.limited.contains(&(type_.to_owned(), spot)) {
        return Ok(());
    }
    Err(if spot {
        Refusal::new(
            "MaxSpotInstanceCountExceeded",
            "Max spot instance count exceeded",
        )
    } else {
        let words = format!(
            "You have requested more vCPU capacity than your current vCPU limit of 32 allows for the instance bucket that the specified instance type {type_} belongs to."
        );
        Refusal::new("VcpuLimitExceeded", words)
    })
}

fn no_room(type_: &str, zone: &str) -> Refusal {
    let words = format!(
        "We currently do not have sufficient {type_} capacity in the Availability Zone you requested ({zone})."
    );
    Refusal::new("InsufficientInstanceCapacity", words)
}

/// Returns the zone in which a launch's token counts: the one that the launch names, by itself or by a subnet or an
/// interface. None: it names none, and the token counts in the whole region.
fn zone_named(
    world: &World,
    form: &Form,
    interface: Option<&str>,
    subnet: Option<&str>,
) -> Result<Option<String>, Refusal> {
    if let Some(id) = interface {
        return Ok(Some(known_interface(world, id)?.zone.clone()));
    }
    if let Some(id) = subnet {
        return Ok(Some(known_subnet(world, id)?.clone()));
    }
    let zone = form.text("Placement.AvailabilityZone");
    Ok(zone.map(str::to_owned))
}

fn known_interface<'a>(world: &'a World, id: &str) -> Result<&'a Interface, Refusal> {
    let found = world.interfaces.get(id);
    let found = found.filter(|one| one.made.elapsed() >= world.settings.interface_lag);
    found.ok_or_else(|| {
        let words = format!("The networkInterface ID '{id}' does not exist");
        Refusal::new("InvalidNetworkInterfaceID.NotFound", words)
    })
}

fn known_subnet<'a>(world: &'a World, id: &str) -> Result<&'a String, Refusal> {
    world.subnets.get(id).ok_or_else(|| {
        let words = format!("The subnet ID '{id}' does not exist");
        Refusal::new("InvalidSubnetID.NotFound", words)
    })
}

fn run(world: &mut World, form: &Form) -> Answer {
    let own = |key| form.text(key).map(str::to_owned);
    let interface = own("NetworkInterface.1.NetworkInterfaceId");
    let subnet = own("SubnetId").or_else(|| own("NetworkInterface.1.SubnetId"));
    let token = form.text("ClientToken").unwrap_or_default().to_owned();
    let counts_in = zone_named(world, form, interface.as_deref(), subnet.as_deref())?;
    let token_there = (token.clone(), counts_in);
    if let Some(spent) = world.tokens.get(&token_there) {
        return repeated(world, form, spent);
    }
    let (image, type_) = kind(form)?;
    let (subnet, zone) = place(world, form, interface.as_deref(), subnet)?;
    let shortage = world.shortages.get_mut(&zone);
    let shortage = shortage.filter(|left| **left > 0 && !world.was_short);
    world.was_short = shortage.is_some();
    if let Some(left) = shortage {
        *left -= 1;
        return Err(no_room(&type_, &zone));
    }
    let key = (
        type_.clone(),
        subnet.clone().unwrap_or_else(|| zone.clone()),
    );
    let spot = form.text("InstanceMarketOptions.MarketType") == Some("spot");
    limit(world, &type_, spot)?;
    let room = world.room.get(&key).copied().unwrap_or(usize::MAX);
    let count = form.number("MaxCount").unwrap_or(1).min(room);
    if count < form.number("MinCount").unwrap_or(1) {
        return Err(no_room(&type_, &zone));
    }
    if let Some(room) = world.room.get_mut(&key) {
        *room -= count;
    }
    let groups = form.list("SecurityGroupId");
    let blueprint = Machine {
        id: String::new(),
        reservation: format!("r-{:017x}", world.draw()),
        launch_index: 0,
        token: token.clone(),
        image,
        type_,
        key: own("KeyName").unwrap_or_default(),
        subnet,
        zone,
        address: String::new(),
        interface,
        groups: groups.into_iter().map(str::to_owned).collect(),
        spot: form.text("InstanceMarketOptions.MarketType") == Some("spot"),
        user_data: own("UserData"),
        http_tokens: own("MetadataOptions.HttpTokens").unwrap_or_else(|| "optional".to_owned()),
        profile: own("IamInstanceProfile.Arn"),
        tags: form.tags_for("instance"),
        launched: Instant::now(),
        launched_at: Timestamp::now(),
        ended: None,
        stopped: None,
        marked: None,
        event: None,
        impaired: false,
        scaling: None,
    };
    let ids = launch(world, &blueprint, count);
    let spent = Spent {
        fingerprint: form.fingerprint(),
        ids: ids.clone(),
    };
    world.tokens.insert(token_there, spent);
    world.count();
    Ok(reservation(world, &ids))
}

fn launch(world: &mut World, blueprint: &Machine, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for launch_index in 0..count {
        let address = match &blueprint.interface {
            Some(interface) => world.interfaces[interface].address.clone(),
            None => world.draw_address(),
        };
        let id = format!("i-{:017x}", world.draw());
        let machine = Machine {
            id: id.clone(),
            launch_index,
            address,
            ..blueprint.clone()
        };
        world.machines.insert(id.clone(), machine);
        ids.push(id);
    }
    ids
}

/// Returns where an instance goes.
fn place(
    world: &World,
    form: &Form,
    interface: Option<&str>,
    subnet: Option<String>,
) -> Result<(Option<String>, String), Refusal> {
    if let Some(id) = interface {
        let found = known_interface(world, id)?;
        let now = Instant::now();
        let taken = world.machines.values().any(|machine| {
            machine.interface.as_deref() == Some(id)
                && machine.state(&world.settings, now).1 != "terminated"
        });
        if taken {
            let words = format!("Interface: [{id}] in use.");
            return Err(Refusal::new("InvalidNetworkInterface.InUse", words));
        }
        return Ok((Some(found.subnet.clone()), found.zone.clone()));
    }
    let zone = form.text("Placement.AvailabilityZone");
    let Some(subnet) = subnet else {
        return Ok((None, zone.unwrap_or("eu-central-1a").to_owned()));
    };
    let zone = known_subnet(world, &subnet)?.clone();
    Ok((Some(subnet), zone))
}

fn reservation(world: &World, ids: &[String]) -> String {
    let now = Instant::now();
    let machines = ids.iter().filter_map(|id| world.machines.get(id));
    let id = ids.first().map(|id| world.machines[id].reservation.clone());
    leaf("reservationId", id.unwrap_or_default())
        + &leaf("ownerId", &world.account)
        + &set(
            "instancesSet",
            machines.map(|machine| item(world, machine, now)),
        )
}

fn state_of(name: &str, (code, word): (u8, &str)) -> String {
    node(name, &(leaf("code", code) + &leaf("name", word)))
}

fn item(world: &World, machine: &Machine, now: Instant) -> String {
    let (code, words) = machine.reason();
    let state = machine.state(&world.settings, now);
    let mut text = leaf("instanceId", &machine.id)
        + &leaf("imageId", &machine.image)
        + &state_of("instanceState", state)
        + &leaf("amiLaunchIndex", machine.launch_index)
        + &leaf("instanceType", &machine.type_)
        + &leaf("launchTime", machine.launched_at)
        + &node("placement", &leaf("availabilityZone", &machine.zone))
        + &leaf("clientToken", &machine.token)
        + &tag_set(&machine.tags);
    if state.1 != "terminated" {
        text += &leaf("privateIpAddress", &machine.address);
    }
    if let Some(subnet) = &machine.subnet {
        text += &leaf("subnetId", subnet);
    }
    if !machine.key.is_empty() {
        text += &leaf("keyName", &machine.key);
    }
    let groups = machine.groups.iter().map(|id| leaf("groupId", id));
    text += &set("groupSet", groups);
    let tokens = leaf("httpTokens", &machine.http_tokens);
    text += &node("metadataOptions", &tokens);
    if let Some(profile) = &machine.profile {
        text += &node("iamInstanceProfile", &leaf("arn", profile));
    }
    if machine.spot {
        text += &leaf("instanceLifecycle", "spot");
    }
    if !code.is_empty() && !matches!(state.1, "pending" | "running") {
        text += &node(
            "stateReason",
            &(leaf("code", code) + &leaf("message", words)),
        );
    }
    text
}

/// Returns whether something passes every filter `below` a key; `of` says what it has for a filter's name.
pub(crate) fn passes(form: &Form, below: &str, of: impl Fn(&str) -> Vec<String>) -> bool {
    form.members(below).iter().all(|filter| {
        let has = of(filter.text("Name").unwrap_or_default());
        let values = [filter.list("Value"), filter.list("Values.member")].concat();
        values
            .iter()
            .any(|value| has.iter().any(|one| one == value))
    })
}

/// Returns what tags have for a filter's name.
pub(crate) fn tag_values(tags: &BTreeMap<String, String>, name: &str) -> Option<Vec<String>> {
    if name == "tag-key" {
        return Some(tags.keys().cloned().collect());
    }
    let key = name.strip_prefix("tag:")?;
    Some(tags.get(key).cloned().into_iter().collect())
}

/// Returns one page of items and where the next begins.
pub(crate) fn page(form: &Form, items: Vec<String>, name: &str) -> String {
    let from = form.number("NextToken").unwrap_or(0);
    let most = form.number("MaxResults").unwrap_or(usize::MAX).max(1);
    let all = items.len();
    let until = from.saturating_add(most).min(all);
    let shown = items.into_iter().skip(from).take(most);
    let mut text = set(name, shown);
    if until < all {
        text += &leaf("nextToken", until);
    }
    text
}

fn describe(world: &mut World, form: &Form) -> Answer {
    super::scaling::tick(world);
    let now = Instant::now();
    let ids = form.list("InstanceId");
    let listed = |machine: &&Machine| machine.is_listed(&world.settings, now);
    for id in &ids {
        if !world.machines.get(*id).is_some_and(|one| listed(&one)) {
            let words = format!("The instance ID '{id}' does not exist");
            return Err(Refusal::new("InvalidInstanceID.NotFound", words));
        }
    }
    let found = world.machines.values().filter(listed).filter(|machine| {
        let asked = ids.is_empty() || ids.contains(&machine.id.as_str());
        asked
            && passes(form, "Filter", |name| match name {
                "client-token" => vec![machine.token.clone()],
                "instance-id" => vec![machine.id.clone()],
                "instance-state-name" => {
                    vec![machine.state(&world.settings, now).1.to_owned()]
                }
                name => tag_values(&machine.tags, name)
                    .unwrap_or_else(|| panic!("the double knows no filter {name}")),
            })
    });
    let behind = world.tags_behind > 0;
    // Each in a reservation of its own: EC2 splits them as it likes.
    let items = found.map(|machine| {
        let mut shown = machine.clone();
        shown
            .tags
            .retain(|key, _| !behind || !key.starts_with("drover."));
        leaf("reservationId", &machine.reservation)
            + &leaf("ownerId", &world.account)
            + &set("instancesSet", [item(world, &shown, now)])
    });
    let answer = page(form, items.collect(), "reservationSet");
    world.tags_behind = world.tags_behind.saturating_sub(1);
    Ok(answer)
}

fn terminate(world: &mut World, form: &Form) -> Answer {
    let now = Instant::now();
    let ids = form.list("InstanceId");
    for id in &ids {
        let known = world.machines.get(*id);
        if !known.is_some_and(|machine| machine.is_listed(&world.settings, now)) {
            let words = format!("The instance ID '{id}' does not exist");
            return Err(Refusal::new("InvalidInstanceID.NotFound", words));
        }
        if world.untouchable.contains(*id) {
            let words = "You are not authorized to perform this operation.";
            return Err(Refusal::new("UnauthorizedOperation", words));
        }
    }
    let mut changes = Vec::new();
    for id in ids {
        let settings = world.settings.clone();
        let machine = world.machines.get_mut(id).expect("it was looked up");
        let before = machine.state(&settings, now);
        if machine.ended.is_none() {
            let code = "Client.UserInitiatedShutdown".to_owned();
            let words = format!("{code}: User initiated shutdown");
            machine.ended = Some((now, code, words));
            for disk in world.disks.values_mut() {
                disk.attached.take_if(|(holder, _)| holder == id);
            }
        }
        changes.push(
            leaf("instanceId", id)
                + &state_of("currentState", (32, "shutting-down"))
                + &state_of("previousState", before),
        );
    }
    Ok(set("instancesSet", changes))
}

fn tag(world: &mut World, form: &Form, on: bool) -> Answer {
    let mut tags = form.tags("Tag");
    if on {
        tags.extend(world.rival.take().into_iter().flatten());
    }
    for id in form.list("ResourceId") {
        let Some(machine) = world.machines.get_mut(id) else {
            let words = format!("The ID '{id}' does not exist");
            return Err(Refusal::new("InvalidID", words));
        };
        for (key, value) in &tags {
            if on {
                machine.tags.insert(key.clone(), value.clone());
            } else {
                machine.tags.remove(key);
            }
        }
    }
    Ok(leaf("return", true))
}

fn subnets(world: &mut World, form: &Form) -> Answer {
    let mut items = Vec::new();
    for id in form.list("SubnetId") {
        let zone = known_subnet(world, id)?;
        items.push(leaf("subnetId", id) + &leaf("availabilityZone", zone));
    }
    Ok(set("subnetSet", items))
}

fn spot_requests(world: &World, form: &Form) -> String {
    let marked = world
        .living()
        .filter_map(|machine| Some((machine, machine.marked?)));
    let marked = marked.filter(|_| {
        passes(form, "Filter", |name| match name {
            "status-code" => vec!["marked-for-termination".to_owned()],
            name => panic!("the double knows no filter {name}"),
        })
    });
    let items = marked.map(|(machine, at)| {
        let status = leaf("code", "marked-for-termination") + &leaf("updateTime", at);
        leaf("spotInstanceRequestId", format!("sir-{}", &machine.id[2..]))
            + &leaf("instanceId", &machine.id)
            + &node("status", &status)
    });
    page(form, items.collect(), "spotInstanceRequestSet")
}

fn statuses(world: &World, form: &Form) -> String {
    let found = world.living().filter(|machine| {
        passes(form, "Filter", |name| {
            let impaired = if machine.impaired { "impaired" } else { "ok" };
            match name {
                "system-status.status" => vec![impaired.to_owned()],
                "instance-status.status" => vec!["ok".to_owned()],
                "event.code" => machine.event.iter().map(|(code, _)| code.clone()).collect(),
                name => panic!("the double knows no filter {name}"),
            }
        })
    });
    let items = found.map(|machine| {
        let events = machine.event.iter().map(|(code, at)| {
            leaf("code", code) + &leaf("description", "hardware") + &leaf("notBefore", at)
        });
        let system = if machine.impaired { "impaired" } else { "ok" };
        let checks = node("systemStatus", &leaf("status", system))
            + &node("instanceStatus", &leaf("status", "ok"));
        leaf("instanceId", &machine.id) + &checks + &set("eventsSet", events)
    });
    page(form, items.collect(), "instanceStatusSet")
}

fn machine<'a>(world: &'a mut World, form: &Form) -> Result<&'a mut Machine, Refusal> {
    let id = form.text("InstanceId").unwrap_or_default().to_owned();
    let words = format!("The instance ID '{id}' does not exist");
    let found = world.machines.get_mut(&id);
    found.ok_or_else(|| Refusal::new("InvalidInstanceID.NotFound", words))
}

fn modify(world: &mut World, form: &Form) -> Answer {
    let groups = form.list("GroupId");
    let groups = groups.into_iter().map(str::to_owned).collect();
    machine(world, form)?.groups = groups;
    Ok(leaf("return", true))
}

fn modify_metadata(world: &mut World, form: &Form) -> Answer {
    let tokens = form.text("HttpTokens").map(str::to_owned);
    let machine = machine(world, form)?;
    // What is not said stays as it is.
    if let Some(tokens) = tokens {
        machine.http_tokens = tokens;
    }
    Ok(leaf("instanceId", &machine.id))
}

fn console(world: &mut World, form: &Form) -> Answer {
    let machine = machine(world, form)?;
    let text = format!("boot of {}\nready\n", machine.id);
    let output = data_encoding::BASE64.encode(text.as_bytes());
    Ok(leaf("instanceId", &machine.id) + &leaf("output", output))
}
