//! Places of quorum groups: interfaces and volumes that outlive instances.

use drover_model::{
    AttachmentName, ErrorClass, FleetName, GroupUid, MemberId, ProviderPhase, Seat, SeatId, Value,
};
use drover_provider::{Provider, ProvisionRequest, ReserveRequest};

use crate::conformance::{slow, with_attachment, with_places};
use crate::fake::{Fake, FakeSettings};
use crate::support::{end, factory, fleet, open_with, request, run_id, running_with, texts};

fn seat(life: &GroupUid, member: &str) -> Seat {
    let id = |name| MemberId::parse(name).unwrap();
    Seat {
        id: SeatId {
            life: life.clone(),
            member: id(member),
        },
        members: ["m1", "m2", "m3"].map(id).into(),
        bootstrap: true,
        attachments: vec![AttachmentName::parse("data").unwrap()],
    }
}

fn member(number: u64, seat: &Seat, properties: Value) -> ProvisionRequest {
    let mut request = request(number, 1, properties);
    request.slots[0].seat = Some(Box::new(seat.clone()));
    request
}

async fn until_running(provider: &dyn Provider, fleet: &FleetName, count: usize) {
    for _ in 0..200 {
        let listing = provider.list(fleet).await.unwrap();
        let running = listing.instances.iter();
        let running = running.filter(|one| one.phase == ProviderPhase::Running);
        if running.count() == count {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{count} instances do not run");
}

/// A group that was started.
struct Started {
    life: GroupUid,
    requests: Vec<ProvisionRequest>,
    made: Vec<std::collections::BTreeMap<drover_model::InstanceId, drover_model::ProviderRef>>,
}

/// Starts three members at once, as a group does that starts.
async fn start(provider: &dyn Provider) -> Started {
    let life = run_id();
    let mut requests = Vec::new();
    for (number, name) in (1..).zip(["m1", "m2", "m3"]) {
        let mut request = member(number, &seat(&life, name), with_attachment());
        request.slots[0].init = vec!["join ${members} as ${instance.address}".to_owned()];
        requests.push(request);
    }
    let made = futures::future::join_all(requests.iter().map(|one| provider.provision(one))).await;
    let made = made.into_iter().map(|one| one.unwrap().made).collect();
    Started {
        life,
        requests,
        made,
    }
}

#[tokio::test]
async fn members_are_spread_and_know_each_other_and_their_volumes() {
    let fake = Fake::start(slow());
    let provider = open_with(&factory(&fake.endpoint()), "aws", &with_places());
    let Started { requests, made, .. } = start(&*provider).await;
    let listing = provider.list(&fleet()).await.unwrap();
    assert_eq!((listing.places.len(), listing.attached.len()), (3, 3));
    {
        let world = fake.world();
        let zones: std::collections::BTreeSet<_> =
            world.interfaces.values().map(|one| &one.zone).collect();
        assert_eq!(
            (world.interfaces.len(), zones.len()),
            (3, 3),
            "one in each zone"
        );
        for (request, made) in requests.iter().zip(&made) {
            let machine = &world.machines[made[&request.slots[0].instance].as_str()];
            let own = world
                .disks
                .values()
                .filter(|disk| disk.attached == Some((machine.id.clone(), "/dev/sdf".to_owned())));
            let sizes: Vec<_> = own.map(|disk| (disk.size, &disk.zone)).collect();
            assert_eq!(sizes, [(10, &machine.zone)]);
            let data = machine.user_data.clone().unwrap();
            let script = data_encoding::BASE64.decode(data.as_bytes()).unwrap();
            let script = String::from_utf8(script).unwrap();
            assert!(
                script.ends_with(&format!(" as {}\n", machine.address)),
                "{script}"
            );
            for ((_, seat), address) in &listing.places {
                assert!(
                    script.contains(&format!("{}={address}", seat.member)),
                    "{script}"
                );
            }
        }
    }
}

#[tokio::test]
async fn who_takes_a_place_next_has_its_address_and_its_volume() {
    let fake = Fake::start(slow());
    let provider = open_with(&factory(&fake.endpoint()), "aws", &with_places());
    let Started {
        life,
        requests,
        made,
    } = start(&*provider).await;
    let first = made[0].values().next().unwrap();
    provider
        .destroy(&end(&requests[0], 0, first))
        .await
        .unwrap();
    let next = member(4, &seat(&life, "m1"), with_attachment());
    let successor = loop {
        match provider.provision(&next).await {
            Ok(made) => break made.made.into_values().next().unwrap(),
            Err(error) => assert_eq!(error.class, ErrorClass::Throttled, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    until_running(&*provider, &fleet(), 3).await;
    let world = fake.world();
    let (before, after) = (
        &world.machines[first.as_str()],
        &world.machines[successor.as_str()],
    );
    assert_eq!(before.address, after.address);
    assert_eq!(
        (world.interfaces.len(), world.disks.len()),
        (3, 3),
        "nothing new was needed"
    );
    let holds = |disk: &&crate::fake::Disk| {
        disk.attached
            .as_ref()
            .is_some_and(|(holder, _)| *holder == after.id)
    };
    assert_eq!(world.disks.values().filter(holds).count(), 1);
}

#[tokio::test]
async fn a_volume_that_cannot_be_made_makes_no_instance() {
    let fake = Fake::start(FakeSettings::default());
    let provider = open_with(&factory(&fake.endpoint()), "aws", &with_places());
    let seat = seat(&run_id(), "m1");
    fake.world()
        .refuse("CreateVolume", "InvalidParameterValue", 1);
    let refused = provider
        .provision(&member(1, &seat, with_attachment()))
        .await;
    assert_eq!(refused.unwrap_err().class, ErrorClass::InvalidSpec);
    let without = provider
        .provision(&member(2, &seat, running_with(&[])))
        .await;
    let error = without.unwrap_err();
    assert_eq!(error.class, ErrorClass::InvalidSpec);
    assert!(error.message.contains("data is missing"), "{error}");
    let elsewhere = running_with(&[("subnets", texts(&["subnet-a"]))]);
    let elsewhere = provider.provision(&member(3, &seat, elsewhere)).await;
    assert_eq!(elsewhere.unwrap_err().class, ErrorClass::InvalidSpec);
    assert!(fake.world().machines.is_empty());
}

#[tokio::test]
async fn a_volume_that_is_not_attached_yet_is_attached_by_the_repeated_call() {
    let fake = Fake::start(FakeSettings::default());
    let provider = open_with(&factory(&fake.endpoint()), "aws", &with_places());
    let request = member(1, &seat(&run_id(), "m1"), with_attachment());
    fake.world()
        .refuse("AttachVolume", "UnauthorizedOperation", 1);
    let refused = provider.provision(&request).await.unwrap_err();
    assert_eq!(
        refused.class,
        ErrorClass::Unknown,
        "the instance is there: {refused}"
    );
    assert_eq!(fake.world().living().count(), 1);
    // A lost answer is an attached volume.
    fake.world().lose("AttachVolume", 1);
    let lost = provider.provision(&request).await;
    assert_eq!(
        lost.map_err(|error| error.class).map(|one| one.made.len()),
        Err(ErrorClass::Unknown)
    );
    assert_eq!(provider.provision(&request).await.unwrap().made.len(), 1);
    let world = fake.world();
    assert_eq!((world.living().count(), world.disks.len()), (1, 1));
}

#[tokio::test]
async fn a_place_can_be_reserved_before_there_is_an_instance() {
    let fake = Fake::start(slow());
    let factory = factory(&fake.endpoint());
    let provider = open_with(&factory, "aws", &with_places());
    let seat = seat(&run_id(), "m1");
    let request = member(1, &seat, with_attachment());
    let reserve = ReserveRequest {
        fleet: request.fleet.clone(),
        group: request.group.clone(),
        seat: seat.id.clone(),
    };
    let address = provider.reserve(&reserve).await.unwrap();
    // Again, and by a program that remembers nothing while descriptions may be behind.
    let other = open_with(
        &crate::support::factory(&fake.endpoint()),
        "aws",
        &with_places(),
    );
    assert_eq!(provider.reserve(&reserve).await.unwrap(), address);
    assert_eq!(other.reserve(&reserve).await.unwrap(), address);
    assert_eq!(fake.world().interfaces.len(), 1);
    let made = provider.provision(&request).await.unwrap().made;
    let world = fake.world();
    let handle = made.values().next().unwrap();
    assert_eq!(world.machines[handle.as_str()].address, address);
}

#[tokio::test]
async fn a_place_that_ec2_does_not_know_yet_is_waited_for_and_no_mistake() {
    let hour = std::time::Duration::from_hours(1);
    let fake = Fake::start(FakeSettings {
        interface_lag: std::time::Duration::from_millis(600),
        ..FakeSettings::default()
    });
    let provider = open_with(&factory(&fake.endpoint()), "aws", &with_places());
    let first = member(1, &seat(&run_id(), "m1"), with_attachment());
    let made = provider.provision(&first).await.unwrap().made;
    assert_eq!(made.len(), 1, "within the same call");
    fake.world().settings.interface_lag = hour;
    let second = member(2, &seat(&run_id(), "m1"), with_attachment());
    let error = provider.provision(&second).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Throttled, "{error}");
    assert!(error.message.contains("a moment ago"), "{error}");
    fake.world().settings.interface_lag = std::time::Duration::ZERO;
    assert_eq!(provider.provision(&second).await.unwrap().made.len(), 1);
    let world = fake.world();
    assert_eq!((world.living().count(), world.interfaces.len()), (2, 6));
}

#[tokio::test]
async fn a_place_that_another_program_made_and_that_is_not_listed_yet_is_asked_for_again() {
    let fake = Fake::start(FakeSettings {
        interface_lag: std::time::Duration::from_hours(1),
        ..FakeSettings::default()
    });
    let life = run_id();
    let open = || open_with(&factory(&fake.endpoint()), "aws", &with_places());
    let next = member(2, &seat(&life, "m2"), with_attachment());
    let reserve = ReserveRequest {
        fleet: next.fleet.clone(),
        group: next.group.clone(),
        seat: seat(&life, "m1").id,
    };
    open().reserve(&reserve).await.unwrap();
    // It would put the first member elsewhere.
    let provider = open();
    let error = provider.provision(&next).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unknown, "{error}");
    assert!(error.message.contains("not listed yet"), "{error}");
    fake.world().settings.interface_lag = std::time::Duration::ZERO;
    assert_eq!(provider.provision(&next).await.unwrap().made.len(), 1);
    assert_eq!(fake.world().interfaces.len(), 3);
}
