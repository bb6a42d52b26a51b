use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use drover_model::{
    Completeness, Epoch, ExitReport, GroupUid, IntentState, Listed, OnDrainTimeout, Reason,
};
use drover_provider::Clock as _;
use drover_provider_sim::SimSettings;

use super::*;
use crate::testing::*;
use crate::{FailWrites, Journal as _, MemoryJournal};

mod flavors;

/// One drain of web-1 on a machine at loopback, and the fixture around it.
struct Draining {
    fixture: Fixture,
    listing: Listing,
    recorded: RecordedGroup,
    flavors: Arc<flavors::Drainer>,
}

fn request(method: &str, port: u16, path: &str) -> HttpRequest {
    HttpRequest {
        method: method.to_owned(),
        port,
        path: path.to_owned(),
    }
}

fn spec(begin: Vec<HttpRequest>, done: Option<DrainDone>) -> DrainSpec {
    DrainSpec {
        begin,
        done,
        on_timeout: OnDrainTimeout::Proceed,
        ..drain_spec()
    }
}

fn draining(spec: DrainSpec) -> Draining {
    let fixture = Fixture::new(SimSettings::default());
    let now = fixture.clock.now();
    let kind = IntentKind::Drain {
        instance: instance(1),
        provider_ref: handle("i-1"),
        address: Some("127.0.0.1".to_owned()),
        reason: Reason::Update,
        deadline: now + SignedDuration::from_mins(5),
        spec,
        begun: false,
        done: false,
        returns: None,
    };
    fixture
        .journal
        .append(&web(), Epoch(1), now, vec![kind])
        .unwrap();
    let listing = Listing {
        completeness: Completeness::Complete,
        as_of: now,
        instances: vec![Listed {
            provider_ref: handle("i-1"),
            ownership: None,
            phase: ProviderPhase::Running,
            address: None,
            zone: None,
            created_at: None,
            interruption: None,
        }],
        attached: std::collections::BTreeSet::new(),
        places: std::collections::BTreeMap::new(),
    };
    let uid = GroupUid::parse("abcdefgh12345678").unwrap();
    Draining {
        fixture,
        listing,
        recorded: RecordedGroup::new(web(), uid, Epoch(1)),
        flavors: Arc::default(),
    }
}

impl Draining {
    async fn advance(&self) -> DrainsAdvanced {
        self.try_advance().await.unwrap()
    }

    async fn try_advance(&self) -> Result<DrainsAdvanced, JournalError> {
        let open = self.fixture.journal.open_intents(&web()).unwrap();
        let ctx = ApplyContext {
            flavors: self.flavors.clone(),
            ..self.fixture.ctx()
        };
        advance_drains(&web(), &open, &self.listing, &self.recorded, &ctx).await
    }

    fn wait(&self, seconds: u64) {
        self.fixture.clock.advance(Duration::from_secs(seconds));
    }

    fn in_seconds(&self, seconds: i64) -> Timestamp {
        self.fixture.clock.now() + SignedDuration::from_secs(seconds)
    }

    /// Whether the drain has begun, and whether it is done, as the journal has it.
    fn marks(&self) -> (bool, bool) {
        marks(&self.fixture.journal)
    }
}

fn marks(journal: &MemoryJournal) -> (bool, bool) {
    let open = journal.open_intents(&web()).unwrap();
    let IntentKind::Drain { begun, done, .. } = open[0].kind else {
        panic!("{open:?}");
    };
    assert_eq!(open[0].state, IntentState::Intended);
    (begun, done)
}

#[tokio::test]
async fn waits_for_the_delay_then_sends_begin_once_then_waits_until_done() {
    let idle = Arc::new(AtomicBool::new(false));
    let is_idle = idle.clone();
    let server = Server::start(move |request| match request {
        "GET /idle" if !is_idle.load(Ordering::SeqCst) => Reaction::Answer(202, String::new()),
        _ => Reaction::Answer(200, String::new()),
    })
    .await;
    let begin = vec![
        request("POST", server.port, "/drain?now=1"),
        request("DELETE", server.port, "/lb"),
    ];
    let done = DrainDone::Http {
        port: server.port,
        path: "/idle".to_owned(),
    };
    let drain = draining(spec(begin, Some(done)));

    let advanced = drain.advance().await;
    assert_eq!(
        (advanced.changed, advanced.next_at),
        (false, Some(drain.in_seconds(2)))
    );
    assert_eq!(server.seen(), Vec::<String>::new());

    drain.wait(2);
    let advanced = drain.advance().await;
    assert_eq!(
        (advanced.changed, advanced.next_at),
        (true, Some(drain.in_seconds(1)))
    );
    assert_eq!(drain.marks(), (true, false));
    drain.wait(1);
    assert!(!drain.advance().await.changed);

    idle.store(true, Ordering::SeqCst);
    drain.wait(1);
    let advanced = drain.advance().await;
    assert_eq!((advanced.changed, advanced.next_at), (true, None));
    assert_eq!(drain.marks(), (true, true));
    let advanced = drain.advance().await;
    assert_eq!((advanced.changed, advanced.next_at), (false, None));
    let seen = [
        "POST /drain?now=1",
        "DELETE /lb",
        "GET /idle",
        "GET /idle",
        "GET /idle",
    ];
    assert_eq!(server.seen(), seen);
}

#[tokio::test]
async fn without_begin_and_done_the_delay_is_all_there_is() {
    let drain = draining(spec(Vec::new(), None));
    assert_eq!(drain.advance().await.next_at, Some(drain.in_seconds(2)));
    drain.wait(2);
    let advanced = drain.advance().await;
    assert_eq!((advanced.changed, advanced.next_at), (true, None));
    assert_eq!(drain.marks(), (true, true));
}

#[tokio::test]
async fn without_done_a_drain_ends_with_begin_even_if_that_failed() {
    for status in [200, 500] {
        let server = Server::start(move |_| Reaction::Answer(status, String::new())).await;
        let drain = draining(spec(vec![request("POST", server.port, "/drain")], None));
        drain.wait(2);
        drain.advance().await;
        assert_eq!(drain.marks(), (true, true));
        assert_eq!(server.seen(), ["POST /drain"]);
    }
}

#[tokio::test]
async fn begin_is_never_sent_before_that_is_durable_nor_twice() {
    for how in [FailWrites::Before, FailWrites::After] {
        let server = Server::start(|_| Reaction::Answer(200, String::new())).await;
        let drain = draining(spec(vec![request("POST", server.port, "/drain")], None));
        drain.wait(2);
        let journal = &drain.fixture.journal;
        journal.fail_from(journal.writes() + 1, how);
        drain.try_advance().await.unwrap_err();
        assert_eq!(server.seen(), Vec::<String>::new(), "{how:?}");
        // The next agent sends it, unless the mark is durable: then nobody knows, and it is not.
        journal.recover();
        drain.advance().await;
        let sent = usize::from(how == FailWrites::Before);
        assert_eq!(server.seen().len(), sent, "{how:?}");
    }
}

#[tokio::test]
async fn drain_that_was_begun_by_a_former_agent_is_only_asked_about() {
    let server = Server::start(|_| Reaction::Answer(200, String::new())).await;
    let done = DrainDone::Http {
        port: server.port,
        path: "/idle".to_owned(),
    };
    let drain = draining(spec(
        vec![request("POST", server.port, "/drain")],
        Some(done),
    ));
    let id = drain.fixture.journal.open_intents(&web()).unwrap()[0].id;
    drain.fixture.journal.update_drain(id, true, false).unwrap();
    assert!(drain.advance().await.changed);
    assert_eq!(server.seen(), ["GET /idle"]);
}

#[tokio::test]
async fn closed_port_ends_a_drain_and_an_open_one_does_not() {
    let server = Server::start(|_| Reaction::Hang).await;
    let drain = draining(spec(
        Vec::new(),
        Some(DrainDone::TcpClosed { port: server.port }),
    ));
    drain.wait(2);
    drain.advance().await;
    assert_eq!(drain.marks(), (true, false));
    server.stop().await;
    drain.advance().await;
    assert_eq!(drain.marks(), (true, true));
}

#[tokio::test]
async fn port_that_cannot_be_reached_is_not_closed() {
    let mut drain = draining(spec(Vec::new(), Some(DrainDone::TcpClosed { port: 1 })));
    // Broadcast: the kernel refuses, nothing leaves the machine.
    drain.listing.instances[0].address = Some("255.255.255.255".to_owned());
    drain.wait(2);
    drain.advance().await;
    assert_eq!(drain.marks(), (true, false));
}

#[tokio::test]
async fn instance_that_ended_by_itself_is_drained() {
    for phase in [
        ProviderPhase::Exited(ExitReport::default()),
        ProviderPhase::Terminated,
    ] {
        let mut drain = draining(spec(Vec::new(), Some(DrainDone::Exit)));
        drain.wait(2);
        let advanced = drain.advance().await;
        assert_eq!(advanced.next_at, Some(drain.in_seconds(1)));
        assert_eq!(drain.marks(), (true, false));
        drain.listing.instances[0].phase = phase;
        drain.advance().await;
        assert_eq!(drain.marks(), (true, true));
    }
}

#[tokio::test]
async fn absence_from_a_listing_ends_no_drain() {
    let mut drain = draining(spec(Vec::new(), Some(DrainDone::Exit)));
    drain.wait(2);
    drain.listing.instances.clear();
    drain.advance().await;
    assert_eq!(drain.marks(), (true, false));
}

#[tokio::test]
async fn frozen_agent_sends_nothing_and_still_sees_what_is_done() {
    let server = Server::start(|_| Reaction::Answer(200, String::new())).await;
    let mut drain = draining(spec(vec![request("POST", server.port, "/drain")], None));
    drain.wait(2);
    drain.fixture.frozen.store(true, Ordering::SeqCst);
    let advanced = drain.advance().await;
    assert_eq!((advanced.changed, drain.marks()), (false, (false, false)));
    assert_eq!(server.seen(), Vec::<String>::new());
    drain.listing.instances[0].phase = ProviderPhase::Terminated;
    drain.advance().await;
    assert_eq!(drain.marks(), (false, true));
}

#[tokio::test]
async fn begin_waits_for_an_address_and_takes_the_latest_one() {
    let server = Server::start(|_| Reaction::Answer(200, String::new())).await;
    let mut drain = draining(spec(vec![request("POST", server.port, "/drain")], None));
    let mut open = drain.fixture.journal.open_intents(&web()).unwrap();
    if let IntentKind::Drain { address, .. } = &mut open[0].kind {
        *address = None;
    }
    drain.wait(2);
    let ctx = drain.fixture.ctx();
    let advanced = advance_drains(&web(), &open, &drain.listing, &drain.recorded, &ctx)
        .await
        .unwrap();
    assert_eq!(advanced.next_at, Some(drain.in_seconds(1)));
    drain.listing.instances[0].address = Some("127.0.0.1".to_owned());
    advance_drains(&web(), &open, &drain.listing, &drain.recorded, &ctx)
        .await
        .unwrap();
    assert_eq!(server.seen(), ["POST /drain"]);
}

#[tokio::test]
async fn asks_less_often_once_the_deadline_has_passed() {
    let drain = draining(spec(Vec::new(), Some(DrainDone::Exit)));
    drain.wait(301);
    assert_eq!(drain.advance().await.next_at, Some(drain.in_seconds(15)));
}

/// A thousand drains of instances that never answer.
async fn silent() -> (Draining, Server) {
    let server = Server::start(|_| Reaction::Hang).await;
    let done = DrainDone::Http {
        port: server.port,
        path: "/idle".to_owned(),
    };
    let drain = draining(spec(
        vec![request("POST", server.port, "/drain")],
        Some(done),
    ));
    let one = drain.fixture.journal.open_intents(&web()).unwrap()[0]
        .kind
        .clone();
    let now = drain.fixture.clock.now();
    drain
        .fixture
        .journal
        .append(&web(), Epoch(1), now, vec![one; 999])
        .unwrap();
    drain.wait(2);
    (drain, server)
}

#[tokio::test(start_paused = true)]
async fn silent_instances_hold_up_a_round_only_so_long() {
    let (drain, _server) = silent().await;
    let started = Instant::now();
    let advanced = drain.advance().await;
    assert_eq!(
        (advanced.changed, advanced.next_at),
        (true, Some(drain.in_seconds(0)))
    );
    let open = drain.fixture.journal.open_intents(&web()).unwrap();
    let begun = |intent: &&Intent| matches!(intent.kind, IntentKind::Drain { begun: true, .. });
    assert_eq!(open.iter().filter(begun).count(), BEGUN_MAX);
    assert!(
        started.elapsed() <= (BEGIN_TIMEOUT + POLL_TIMEOUT) * 2,
        "{:?}",
        started.elapsed()
    );

    for intent in open {
        drain
            .fixture
            .journal
            .update_drain(intent.id, true, false)
            .unwrap();
    }
    let started = Instant::now();
    let advanced = drain.advance().await;
    assert_eq!(
        (advanced.changed, advanced.next_at),
        (false, Some(drain.in_seconds(1)))
    );
    assert!(
        started.elapsed() <= ROUND_LIMIT + POLL_TIMEOUT,
        "{:?}",
        started.elapsed()
    );
}
