use drover_model::{AttachmentName, FieldClass, GroupUid, InstanceId, MemberId, Seat, SeatId};

use super::*;
use crate::testing::{map, request, strings};

fn read(request: &ProvisionRequest) -> Result<Spec, String> {
    let name = ProviderName::parse("local").unwrap();
    let reading = Reading {
        provider: &name,
        schema: &crate::schema::properties(),
        grants: &Grants::default(),
    };
    reading.spec(request, None).map_err(|error| {
        assert_eq!(error.class, ErrorClass::InvalidSpec);
        error.message
    })
}

fn plain() -> ProvisionRequest {
    request(map(&[
        ("image", "a:1".into()),
        ("env", map(&[("A", "of the group".into())])),
    ]))
}

#[test]
fn every_field_replaces_since_a_container_cannot_be_changed() {
    let classes = crate::schema::properties().classes();
    assert!(classes.len() > 15, "{classes:?}");
    assert!(classes.values().all(|class| *class == FieldClass::Replace));
}

#[test]
fn the_groups_environment_wins_over_the_flavors_and_drovers_own_over_both() {
    let mut request = plain();
    let env = &mut request.slots[0].env;
    env.insert("A".to_owned(), "of the flavor".to_owned());
    env.insert("B".to_owned(), "of the flavor".to_owned());
    env.insert("DROVER_GROUP".to_owned(), "else".to_owned());
    let spec = read(&request).unwrap();
    let env: Vec<_> = spec
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let expected = [
        "A=of the group",
        "B=of the flavor",
        "DROVER_GROUP=web",
        "DROVER_INSTANCE=web-1",
    ];
    assert_eq!(env, expected);
}

#[test]
fn labels_say_the_owner_and_are_read_as_they_are_written() {
    let mut request = plain();
    request.slots[0]
        .tags
        .insert("team".to_owned(), "ops".to_owned());
    let spec = read(&request).unwrap();
    assert_eq!(spec.labels["team"], "ops");
    assert_eq!(spec.labels["drover.provider"], "local");
    let owner = labels::owner(&spec.labels).unwrap();
    assert_eq!(owner.instance, request.slots[0].instance);
    assert_eq!((owner.fleet, owner.group), (request.fleet, request.group));
    assert_eq!(
        (owner.digests, owner.token),
        (request.digests, request.token)
    );
    for name in ["drover.fleet", "drover.digest", "drover.epoch"] {
        let mut labels = spec.labels.clone();
        labels.insert(name.to_owned(), "??".to_owned());
        assert_eq!(labels::owner(&labels), None, "{name}");
    }
}

#[test]
fn members_of_quorums_user_data_and_scripts_without_end_are_refused() {
    let mut member = plain();
    let id = MemberId::parse("m1").unwrap();
    member.slots[0].seat = Some(Box::new(Seat {
        id: SeatId {
            life: GroupUid::parse("0123456789abcdef").unwrap(),
            member: id.clone(),
        },
        members: vec![id],
        bootstrap: false,
        attachments: vec![AttachmentName::parse("data").unwrap()],
    }));
    assert!(
        read(&member)
            .unwrap_err()
            .contains("no members of quorum groups")
    );

    let mut cloud = plain();
    cloud.slots[0].init =
        vec!["MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"x\"\n".to_owned()];
    assert!(read(&cloud).unwrap_err().contains("no cloud-init"));

    let mut long = plain();
    long.slots[0].init = vec!["x".repeat(SCRIPT_MAX)];
    assert!(read(&long).unwrap_err().contains("more than 100 KiB"));
    let mut nul = plain();
    nul.slots[0].init = vec!["a\0b".to_owned()];
    assert!(read(&nul).unwrap_err().contains("NUL"));
}

#[test]
fn a_name_that_is_too_long_for_a_machine_is_left_out() {
    let mut request = plain();
    assert_eq!(read(&request).unwrap().hostname.as_deref(), Some("web-1"));
    let group: drover_model::GroupName = "g".repeat(62).parse().unwrap();
    request.slots[0].instance = InstanceId::new(group, 10);
    assert_eq!(read(&request).unwrap().hostname, None);
}

#[test]
fn a_mount_has_one_source_and_a_volume_is_the_groups_own() {
    let with = |mount: &[(&str, Value)]| {
        let mounts = Value::List(vec![map(mount)]);
        read(&request(map(&[("image", "a".into()), ("mounts", mounts)])))
    };
    let target = ("target", Value::from("/m"));
    let volume = ("volume", Value::from("cache"));
    let spec = with(&[target.clone(), volume.clone()]).unwrap();
    let source = MountSource::Volume("drover.prod.web.cache".to_owned());
    assert_eq!(spec.mounts[0].source, source);
    let memory = ("memoryMiB", Value::Int(1));
    let both = with(&[target.clone(), volume.clone(), memory]).unwrap_err();
    assert!(both.contains("exactly one of"), "{both}");
    assert!(with(&[target]).unwrap_err().contains("exactly one of"));
    let relative = with(&[("target", "m".into()), volume]).unwrap_err();
    assert!(relative.contains("an absolute path"), "{relative}");
}

#[test]
fn a_network_is_written_once() {
    let networks = strings(&["a", "a"]);
    let request = request(map(&[("image", "a".into()), ("networks", networks)]));
    let grants = Grants {
        networks: vec!["a".to_owned()],
        ..Grants::default()
    };
    let name = ProviderName::parse("local").unwrap();
    let reading = Reading {
        provider: &name,
        schema: &crate::schema::properties(),
        grants: &grants,
    };
    let error = reading.spec(&request, None).unwrap_err();
    assert_eq!(error.message, "networks[1]: it is there twice");
}

#[test]
fn names_of_images_are_those_that_docker_reads() {
    let digest = format!("a@sha256:{}", "0".repeat(64));
    let names = [
        "a",
        "a:1",
        "a/b",
        "A/b",
        "a.b/c_d",
        "a__b",
        "a--b:x_Y.1-2",
        "localhost:5000/a/b:1",
        "[::1]:5000/a",
        "registry.example.com/shop/web:1.4.2",
        "0123abcd",
        digest.as_str(),
    ];
    for name in names {
        let read = read(&request(map(&[("image", name.into())])));
        assert!(read.is_ok(), "{name}: {read:?}");
    }
    let none = [
        "",
        "https://a.b/c:1",
        "Nginx",
        "a:b:c",
        "a:",
        "a@sha256:abc",
        "a//b",
        "/a",
        "a/",
        "a b",
        "a_-b",
        "-a",
    ];
    for name in none {
        assert!(
            read(&request(map(&[("image", name.into())]))).is_err(),
            "{name}"
        );
    }
}
