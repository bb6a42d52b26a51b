//! The actions on volumes and network interfaces.

use std::time::Instant;

use super::actions::{page, passes, tag_values};
use super::world::{Disk, Interface, Spent};
use super::xml::{Form, leaf, node, set, tag_set};
use super::{Refusal, World};

pub(crate) fn answer(world: &mut World, action: &str, form: &Form) -> Result<String, Refusal> {
    match action {
        "CreateVolume" => create_volume(world, form),
        "DescribeVolumes" => Ok(describe_volumes(world, form)),
        "AttachVolume" => attach(world, form),
        "CreateNetworkInterface" => create_interface(world, form),
        "DescribeNetworkInterfaces" => Ok(describe_interfaces(world, form)),
        _ => {
            let words = format!("The action {action} is not valid for this web service.");
            Err(Refusal::new("InvalidAction", words))
        }
    }
}

/// Returns what a token has made before.
fn before(world: &World, form: &Form) -> Result<Option<String>, Refusal> {
    let token = form.text("ClientToken").unwrap_or_default();
    match world.made.get(token) {
        None => Ok(None),
        Some(spent) if spent.fingerprint == form.fingerprint() => Ok(spent.ids.first().cloned()),
        Some(_) => Err(Refusal::new(
            "IdempotentParameterMismatch",
            "other parameters",
        )),
    }
}

fn spend(world: &mut World, form: &Form, id: &str) {
    let token = form.text("ClientToken").unwrap_or_default().to_owned();
    let spent = Spent {
        fingerprint: form.fingerprint(),
        ids: vec![id.to_owned()],
    };
    world.made.insert(token, spent);
}

fn create_volume(world: &mut World, form: &Form) -> Result<String, Refusal> {
    let id = if let Some(id) = before(world, form)? {
        id
    } else {
        let id = format!("vol-{:017x}", world.draw());
        let disk = Disk {
            zone: form.text("AvailabilityZone").unwrap_or_default().to_owned(),
            size: form.number("Size").unwrap_or(0),
            tags: form.tags_for("volume"),
            attached: None,
        };
        world.disks.insert(id.clone(), disk);
        spend(world, form, &id);
        id
    };
    Ok(leaf("volumeId", id) + &leaf("status", "creating"))
}

fn describe_volumes(world: &World, form: &Form) -> String {
    let found = world.disks.iter().filter(|(_, disk)| {
        passes(form, "Filter", |name| {
            tag_values(&disk.tags, name).unwrap_or_else(|| panic!("no filter {name}"))
        })
    });
    let items = found.map(|(id, disk)| {
        let attachments = disk.attached.iter().map(|(instance, device)| {
            leaf("instanceId", instance) + &leaf("device", device) + &leaf("status", "attached")
        });
        leaf("volumeId", id)
            + &leaf("size", disk.size)
            + &leaf("availabilityZone", &disk.zone)
            + &tag_set(&disk.tags)
            + &set("attachmentSet", attachments)
    });
    page(form, items.collect(), "volumeSet")
}

fn attach(world: &mut World, form: &Form) -> Result<String, Refusal> {
    let volume = form.text("VolumeId").unwrap_or_default();
    let instance = form.text("InstanceId").unwrap_or_default();
    let machine = world.machines.get(instance);
    let state = machine.map(|machine| machine.state(&world.settings, Instant::now()).1);
    if state != Some("running") {
        let words = format!("Instance '{instance}' is not 'running'.");
        return Err(Refusal::new("IncorrectState", words));
    }
    let zone = machine
        .map(|machine| machine.zone.clone())
        .unwrap_or_default();
    let Some(disk) = world.disks.get_mut(volume) else {
        let words = format!("The volume '{volume}' does not exist.");
        return Err(Refusal::new("InvalidVolume.NotFound", words));
    };
    if disk.zone != zone {
        let words = "the volume and the instance are in different zones";
        return Err(Refusal::new("InvalidVolume.ZoneMismatch", words));
    }
    if disk.attached.is_some() {
        let words = format!("{volume} is already attached to an instance");
        return Err(Refusal::new("VolumeInUse", words));
    }
    let device = form.text("Device").unwrap_or_default();
    disk.attached = Some((instance.to_owned(), device.to_owned()));
    Ok(leaf("volumeId", volume) + &leaf("instanceId", instance) + &leaf("status", "attaching"))
}

fn create_interface(world: &mut World, form: &Form) -> Result<String, Refusal> {
    let id = if let Some(id) = before(world, form)? {
        id
    } else {
        let subnet = form.text("SubnetId").unwrap_or_default().to_owned();
        let Some(zone) = world.subnets.get(&subnet).cloned() else {
            let words = format!("The subnet ID '{subnet}' does not exist");
            return Err(Refusal::new("InvalidSubnetID.NotFound", words));
        };
        let id = format!("eni-{:017x}", world.draw());
        let interface = Interface {
            subnet,
            zone,
            address: world.draw_address(),
            tags: form.tags_for("network-interface"),
            made: Instant::now(),
        };
        world.interfaces.insert(id.clone(), interface);
        spend(world, form, &id);
        id
    };
    Ok(node(
        "networkInterface",
        &interface_item(&id, &world.interfaces[&id]),
    ))
}

fn interface_item(id: &str, interface: &Interface) -> String {
    leaf("networkInterfaceId", id)
        + &leaf("subnetId", &interface.subnet)
        + &leaf("availabilityZone", &interface.zone)
        + &leaf("privateIpAddress", &interface.address)
        + &tag_set(&interface.tags)
}

fn describe_interfaces(world: &World, form: &Form) -> String {
    let lag = world.settings.interface_lag;
    let listed = world.interfaces.iter();
    let listed = listed.filter(|(_, interface)| interface.made.elapsed() >= lag);
    let found = listed.filter(|(_, interface)| {
        passes(form, "Filter", |name| {
            tag_values(&interface.tags, name).unwrap_or_else(|| panic!("no filter {name}"))
        })
    });
    let items = found.map(|(id, interface)| interface_item(id, interface));
    page(form, items.collect(), "networkInterfaceSet")
}
