//! The places of quorum groups' members: attachments, addresses, and one holder at a time.

use std::fs;
use std::time::Duration;

use drover_model::{AttachmentName, ErrorClass, GroupUid, MemberId, ProviderPhase, Seat, SeatId};
use drover_provider::ProvisionRequest;

use crate::harness::{Scope, fleet, kill, shell, until};

fn member(id: &str) -> MemberId {
    MemberId::parse(id).unwrap()
}

fn seat(life: &str, id: &str) -> Seat {
    Seat {
        id: SeatId {
            life: GroupUid::parse(life).unwrap(),
            member: member(id),
        },
        members: ["m1", "m2", "m3"].map(member).to_vec(),
        bootstrap: true,
        attachments: vec![AttachmentName::parse("raft-log").unwrap()],
    }
}

const LIFE: &str = "aaaaaaaaaaaaaaaa";

/// A call for the place of a member that runs a script.
fn taking(number: u64, id: &str, script: &str) -> ProvisionRequest {
    let mut request = shell(number, script);
    request.slots[0].seat = Some(Box::new(seat(LIFE, id)));
    request
}

const NOTES: &str = r#"
echo "$DROVER_INSTANCE" >> "$DROVER_ATTACHMENT_RAFT_LOG/holders"
echo "at $DROVER_ADDRESS of ${members}, ${member.id}, ${bootstrap}"
exec sleep 1000
"#;

async fn gone(scope: &Scope, instance: &drover_model::ProviderRef) {
    scope.destroy(instance, Duration::from_secs(5)).await;
    until("the instance is gone", async || {
        scope.phase(instance).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_attached_and_the_address_outlive_the_instance() {
    let scope = Scope::new();
    let first = scope.provision(&taking(1, "m2", NOTES)).await;
    let holders = || {
        let place = scope.dir.path().join(format!("local/places/{LIFE}.m2"));
        fs::read_to_string(place.join("attachments/raft-log/holders")).unwrap_or_default()
    };
    // It may be listed as running before its command has got so far.
    until("it runs and has written", async || {
        let runs = scope.phase(&first).await == Some(ProviderPhase::Running);
        (runs && holders() == "web-1\n").then_some(())
    })
    .await;
    let before = scope.listed(&first).await.unwrap();
    let owner = before.ownership.unwrap();
    assert_eq!(
        owner.seat,
        Some(seat(LIFE, "m2").id),
        "tagged with its place"
    );
    gone(&scope, &first).await;

    let listing = scope.provider.list(&fleet()).await.unwrap();
    let attached: Vec<_> = listing.attached.into_iter().collect();
    assert_eq!(
        attached,
        [(owner.group, seat(LIFE, "m2").id)],
        "still told of"
    );

    let second = scope.provision(&taking(2, "m2", NOTES)).await;
    let address = before.address.unwrap();
    let all = until("the second one has written", async || {
        Some(holders()).filter(|holders| holders.contains("web-2"))
    })
    .await;
    assert_eq!(all, "web-1\nweb-2\n");
    assert_eq!(
        scope.listed(&second).await.unwrap().address.unwrap(),
        address
    );
    scope.finish().await;
}

#[tokio::test]
async fn a_member_knows_its_peers_before_they_exist() {
    let scope = Scope::new();
    let one = scope.provision(&taking(1, "m1", NOTES)).await;
    let said = until("it has printed", async || {
        let log = scope.provider.logs(&one, 10).await.unwrap();
        let line = log.lines().find(|line| line.starts_with("at "))?;
        Some(line.to_owned())
    })
    .await;
    let (at, rest) = said
        .strip_prefix("at ")
        .unwrap()
        .split_once(" of ")
        .unwrap();
    let (members, rest) = rest.split_once(", ").unwrap();
    assert_eq!(rest, "m1, true");
    let peers: Vec<(&str, &str)> = members
        .split(',')
        .map(|peer| peer.split_once('=').unwrap())
        .collect();
    let names: Vec<&str> = peers.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["m1", "m2", "m3"]);
    assert_eq!(peers[0].1, at);
    let two = scope.provision(&taking(2, "m2", NOTES)).await;
    let address = scope.listed(&two).await.unwrap().address.unwrap();
    assert_eq!(address, peers[1].1, "as it was told before");
    scope.finish().await;
}

#[tokio::test]
async fn a_place_that_is_held_is_refused() {
    let scope = Scope::new();
    let first = scope.provision(&taking(1, "m1", NOTES)).await;
    let refused = scope.provider.provision(&taking(2, "m1", NOTES)).await;
    assert_eq!(refused.unwrap_err().class, ErrorClass::Capacity);
    // Another life of the group has places of its own.
    let mut other = taking(3, "m1", NOTES);
    other.slots[0].seat = Some(Box::new(seat("bbbbbbbbbbbbbbbb", "m1")));
    scope.provision(&other).await;
    gone(&scope, &first).await;
    scope.provision(&taking(4, "m1", NOTES)).await;
    scope.finish().await;
}

#[tokio::test]
async fn one_that_has_ended_by_itself_holds_its_place_until_it_is_destroyed() {
    let scope = Scope::new();
    let first = scope.provision(&taking(1, "m1", "exit 3")).await;
    assert!(scope.exit(&first).await.contains("exit status 3"));
    let refused = scope.provider.provision(&taking(2, "m1", NOTES)).await;
    assert_eq!(refused.unwrap_err().class, ErrorClass::Capacity);
    gone(&scope, &first).await;
    scope.provision(&taking(3, "m1", NOTES)).await;
    scope.finish().await;
}

/// A process that outlives its shim still writes to what is attached.
#[tokio::test]
async fn processes_of_a_killed_shim_keep_the_place_taken() {
    let scope = Scope::new();
    let script = "setsid sleep 1000 & echo started; exec sleep 1000";
    let first = scope.provision(&taking(1, "m1", script)).await;
    scope.printed(&first, "started").await;
    let run = fs::read(scope.folder(&first).join("run.json")).unwrap();
    let run: serde_json::Value = serde_json::from_slice(&run).unwrap();
    let shim = i32::try_from(run["shim"]["pid"].as_i64().unwrap()).unwrap();
    kill(shim, rustix::process::Signal::KILL);
    // The stray is alive, so the lock is held though nobody supervises it.
    let lock = scope
        .dir
        .path()
        .join(format!("local/places/{LIFE}.m1/lock"));
    let lock = fs::OpenOptions::new().write(true).open(lock).unwrap();
    assert!(lock.try_lock().is_err(), "what it started holds the place");
    gone(&scope, &first).await;
    until("the place is free", async || {
        lock.try_lock().is_ok().then_some(())
    })
    .await;
    scope.finish().await;
}
