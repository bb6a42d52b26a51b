//! What several test modules share: a clock that stands, a small plan, and a provider that watches
//! what the executor does to it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    Action, AdoptStep, Allowance, Cause, Digests, DrainSpec, Epoch, ErrorClass, FleetName,
    GroupName, GroupUid, InPlace, InPlaceUpdate, InstanceId, IntentKind, IntentState, Keeper,
    OnDrainTimeout, Plan, Precondition, ProviderRef, ProviderType, Reason, RecordedGroup,
    RecordedInstance, RosterView, Step, Template, TemplateParts, Timestamp, Token, Value,
};
use drover_provider::{
    AdoptRequest, Clock, DestroyRequest, Forward, Forwarding, Provider, ProviderError,
    ProvisionRequest, Provisioned, UpdateRequest,
};
use drover_provider_sim::{SimProvider, SimSettings, SimWorld};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::{ApplyContext, Journal, MemoryJournal, RosterOrder, Rosters};

/// A clock that a test moves.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + self.0.load(Ordering::SeqCst)).unwrap()
    }
}

pub(crate) fn web() -> GroupName {
    GroupName::parse("web").unwrap()
}

pub(crate) fn fleet() -> FleetName {
    FleetName::parse("prod").unwrap()
}

pub(crate) fn instance(number: u64) -> InstanceId {
    InstanceId::new(web(), number)
}

pub(crate) fn handle(text: &str) -> ProviderRef {
    ProviderRef::parse(text).unwrap()
}

pub(crate) fn token(first: u64, attempt: u32) -> Token {
    let uid = GroupUid::parse("abcdefgh12345678").unwrap();
    Token::derive(&fleet(), &uid, Epoch(1), &instance(first), attempt)
}

pub(crate) fn template(image: &str) -> Template {
    Template::from(TemplateParts {
        properties: [("image".to_owned(), Value::from(image))]
            .into_iter()
            .collect(),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    })
}

pub(crate) fn digests(template: &Template) -> Digests {
    let kind = ProviderType::parse("simulated").unwrap();
    Digests::of(&kind, template, &BTreeMap::new())
}

/// A record of an instance that serves.
pub(crate) fn recorded_as(digests: Digests) -> RecordedInstance {
    RecordedInstance::available(digests, Timestamp::UNIX_EPOCH)
}

pub(crate) fn drain_spec() -> DrainSpec {
    DrainSpec {
        delay: Duration::from_secs(2),
        begin: Vec::new(),
        done: None,
        timeout: Duration::from_mins(5),
        unhealthy_timeout: Duration::from_secs(30),
        on_timeout: OnDrainTimeout::Proceed,
    }
}

/// A create of `numbers` with everything that the planner adds to it.
pub(crate) fn create(numbers: &[u64]) -> Step {
    create_from(numbers, 1, template("v1"))
}

pub(crate) fn create_from(numbers: &[u64], attempt: u32, template: Template) -> Step {
    let slots: Vec<_> = numbers.iter().copied().map(instance).collect();
    Step {
        preconditions: slots.iter().cloned().map(Precondition::Absent).collect(),
        action: Action::Create {
            zone: None,
            token: token(numbers[0], attempt),
            digests: digests(&template),
            slots,
            attempt,
            template,
            seat: None,
        },
        cause: Cause::ScaleOut,
    }
}

pub(crate) fn observed(number: u64, provider_ref: &ProviderRef, token: &Token) -> Precondition {
    Precondition::ObservedAs {
        instance: instance(number),
        provider_ref: provider_ref.clone(),
        token: token.clone(),
    }
}

pub(crate) fn destroy(number: u64, provider_ref: &ProviderRef, token: &Token) -> Step {
    Step {
        action: Action::Destroy {
            instance: instance(number),
            provider_ref: provider_ref.clone(),
            token: token.clone(),
            grace: Duration::from_secs(10),
        },
        cause: Cause::Because(Reason::ScaleIn),
        preconditions: vec![observed(number, provider_ref, token)],
    }
}

pub(crate) fn drain(
    number: u64,
    provider_ref: &ProviderRef,
    token: &Token,
    now: Timestamp,
) -> Step {
    Step {
        action: Action::Drain {
            instance: instance(number),
            provider_ref: provider_ref.clone(),
            address: None,
            spec: drain_spec(),
            deadline: now + jiff::SignedDuration::from_mins(5),
            returns: None,
        },
        cause: Cause::Because(Reason::Update),
        preconditions: vec![observed(number, provider_ref, token)],
    }
}

/// A change of an instance to another image, in place.
pub(crate) fn update(number: u64, provider_ref: &ProviderRef, token: &Token, how: InPlace) -> Step {
    let template = template("v2");
    Step {
        action: Action::Update(InPlaceUpdate {
            instance: instance(number),
            provider_ref: provider_ref.clone(),
            token: token.clone(),
            update: self::token(number, 99),
            how,
            digests: digests(&template),
            zone: None,
            template,
            grace: Duration::from_secs(10),
        }),
        cause: Cause::Because(Reason::Update),
        preconditions: vec![observed(number, provider_ref, token)],
    }
}

pub(crate) fn release(number: u64, provider_ref: &ProviderRef, token: &Token) -> Step {
    Step {
        action: Action::Release {
            instance: instance(number),
            provider_ref: provider_ref.clone(),
        },
        cause: Cause::Because(Reason::Delete),
        preconditions: vec![observed(number, provider_ref, token)],
    }
}

pub(crate) fn plan(steps: Vec<Step>) -> Plan {
    let uid = GroupUid::parse("abcdefgh12345678").unwrap();
    Plan {
        group: web(),
        observed_at: TestClock::default().now(),
        change: None,
        steps,
        allowance: Allowance {
            ending_max: u32::MAX,
            removed_max: u32::MAX,
        },
        next: RecordedGroup::new(web(), uid, Epoch(1)),
        recommendations: Vec::new(),
        wake_at: None,
    }
}

/// Lets other futures run once. Unlike tokio's, it also works outside a task.
pub(crate) async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// A simulated provider that notes every call and every breach of the executor's promise.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) sim: SimProvider,
    pub(crate) journal: Mutex<Option<Arc<dyn Journal>>>,
    pub(crate) provisions: Mutex<Vec<ProvisionRequest>>,
    pub(crate) destroys: Mutex<Vec<DestroyRequest>>,
    pub(crate) breaches: Mutex<Vec<String>>,
    pub(crate) panics: AtomicBool,
    /// Refuses provisions with this class, and repeats the environment that it was given.
    pub(crate) echoes: Mutex<Option<ErrorClass>>,
    pub(crate) most_at_once: AtomicUsize,
    at_once: AtomicUsize,
    pub(crate) calls: AtomicUsize,
}

impl Watched {
    fn enter(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "as told");
    }

    fn leave(&self) {
        self.at_once.fetch_sub(1, Ordering::SeqCst);
    }

    /// Notes a call whose intent is not durable as sent at this moment.
    fn expect_sent(&self, wanted: &Token) {
        let journal = self.journal.lock().unwrap().clone();
        let Some(journal) = journal else { return };
        let open = journal.open_intents(&web()).unwrap();
        let sent = open.iter().any(|intent| {
            let (IntentKind::Create { token, .. }
            | IntentKind::Destroy { token, .. }
            | IntentKind::Adopt(AdoptStep { token, .. })
            | IntentKind::Update(InPlaceUpdate { update: token, .. })) = &intent.kind
            else {
                return false;
            };
            let sent = matches!(intent.state, IntentState::Sent | IntentState::Acked { .. });
            token == wanted && sent
        });
        if !sent {
            self.breaches
                .lock()
                .unwrap()
                .push(format!("{wanted}: {open:?}"));
        }
    }
}

#[async_trait]
impl Forwarding for Watched {
    fn inner(&self) -> &dyn Provider {
        &self.sim
    }

    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError> {
        self.enter();
        self.expect_sent(&request.token);
        self.provisions.lock().unwrap().push(request.clone());
        // Await points before and after the effect, as on a network.
        pause().await;
        let echoes = *self.echoes.lock().unwrap();
        let answer = match echoes {
            Some(class) => {
                let env = request
                    .slots
                    .iter()
                    .flat_map(|slot| request.secrets.env(slot));
                let env: Vec<String> = env.map(|(name, value)| format!("{name}={value}")).collect();
                let message = format!("refused: {}", env.join(" "));
                Err(ProviderError::new(class, message))
            }
            None => self.sim.provision(request).await,
        };
        pause().await;
        self.leave();
        answer
    }

    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError> {
        self.enter();
        self.expect_sent(&request.token);
        self.destroys.lock().unwrap().push(request.clone());
        pause().await;
        let answer = self.sim.destroy(request).await;
        pause().await;
        self.leave();
        answer
    }

    async fn adopt(&self, request: &AdoptRequest) -> Result<(), ProviderError> {
        self.enter();
        self.expect_sent(&request.token);
        pause().await;
        let answer = self.sim.adopt(request).await;
        pause().await;
        self.leave();
        answer
    }

    async fn update(&self, request: &UpdateRequest) -> Result<(), ProviderError> {
        self.enter();
        self.expect_sent(&request.update);
        pause().await;
        let answer = self.sim.update(request).await;
        pause().await;
        self.leave();
        answer
    }

    async fn release(
        &self,
        fleet: &FleetName,
        instance: &ProviderRef,
    ) -> Result<(), ProviderError> {
        self.enter();
        let answer = self.sim.release(fleet, instance).await;
        self.leave();
        answer
    }
}

/// Notes the changes of membership lists that it is asked for, with the state of their intent.
#[derive(Debug)]
pub(crate) struct Told {
    journal: Arc<MemoryJournal>,
    pub(crate) asked: Mutex<Vec<(RosterOrder, Option<IntentState>)>>,
    pub(crate) fails: Mutex<Option<ErrorClass>>,
}

#[async_trait]
impl Rosters for Told {
    async fn read(
        &self,
        _keeper: Keeper,
        _group: &GroupName,
        _addresses: &[String],
        _limit: Duration,
    ) -> RosterView {
        RosterView::Unclear {
            why: "nobody is there".to_owned(),
        }
    }

    async fn change(
        &self,
        _keeper: Keeper,
        group: &GroupName,
        _at: &str,
        order: &RosterOrder,
        _limit: Duration,
    ) -> Result<(), ProviderError> {
        let open = self.journal.open_intents(group).unwrap();
        let state = open.last().map(|intent| intent.state.clone());
        self.asked.lock().unwrap().push((order.clone(), state));
        match *self.fails.lock().unwrap() {
            Some(class) => Err(ProviderError::new(class, "as told")),
            None => Ok(()),
        }
    }
}

/// A simulated world with an agent in front of it.
pub(crate) struct Fixture {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) provider: Arc<Forward<Watched>>,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) frozen: Arc<AtomicBool>,
    pub(crate) rosters: Arc<Told>,
}

impl Fixture {
    pub(crate) fn new(settings: SimSettings) -> Self {
        let clock = Arc::new(TestClock::default());
        let world = Arc::new(Mutex::new(SimWorld::new(settings)));
        let journal = Arc::new(MemoryJournal::new());
        let provider = Watched {
            sim: SimProvider::new(world, clock.clone()),
            journal: Mutex::new(Some(journal.clone())),
            provisions: Mutex::default(),
            destroys: Mutex::default(),
            breaches: Mutex::default(),
            panics: AtomicBool::new(false),
            echoes: Mutex::default(),
            most_at_once: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
        };
        Self {
            clock,
            provider: Arc::new(Forward(provider)),
            rosters: Arc::new(Told {
                journal: journal.clone(),
                asked: Mutex::default(),
                fails: Mutex::default(),
            }),
            journal,
            frozen: Arc::default(),
        }
    }

    pub(crate) fn ctx(&self) -> ApplyContext {
        self.ctx_with(self.journal.clone())
    }

    pub(crate) fn ctx_with(&self, journal: Arc<dyn Journal>) -> ApplyContext {
        *self.provider.journal.lock().unwrap() = Some(journal.clone());
        ApplyContext {
            fleet: fleet(),
            epoch: Epoch(1),
            provider: self.provider.clone(),
            journal,
            clock: self.clock.clone(),
            call_timeout: Duration::from_secs(30),
            cluster: Arc::default(),
            concurrency: 4,
            secrets: Arc::new(drover_provider::NoSecrets),
            flavors: Arc::new(drover_provider::NoFlavors::new("there are none here")),
            reach: Arc::new(crate::Network),
            rosters: self.rosters.clone(),
            brake: self.frozen.clone(),
        }
    }

    /// Makes instance `number` beside the journal and returns how it is known.
    pub(crate) async fn existing(&self, number: u64) -> (ProviderRef, Token) {
        let Action::Create { token, .. } = create(&[number]).action else {
            unreachable!()
        };
        let request = ProvisionRequest {
            zone: None,
            token: token.clone(),
            fleet: fleet(),
            group: web(),
            epoch: Epoch(1),
            digests: digests(&template("v1")),
            slots: vec![drover_provider::Slot {
                instance: instance(number),
                init: Vec::new(),
                env: BTreeMap::new(),
                tags: BTreeMap::new(),
                attachments: Vec::new(),
                seat: None,
                secrets: BTreeMap::new(),
            }],
            properties: template("v1").properties.clone(),
            secrets: drover_provider::Secrets::default(),
            urgency: drover_provider::Urgency::default(),
            asked: None,
        };
        let made = self.provider.sim.provision(&request).await.unwrap().made;
        (made[&instance(number)].clone(), token)
    }

    /// Returns the ids of the instances that exist, each as often as it exists.
    pub(crate) fn alive(&self) -> Vec<String> {
        let world = self.provider.sim.world();
        let of_group = world.of_group(&web(), self.clock.now());
        of_group.iter().map(|(id, _)| id.to_string()).collect()
    }

    pub(crate) fn states(&self) -> Vec<IntentState> {
        let open = self.journal.open_intents(&web()).unwrap();
        open.into_iter().map(|intent| intent.state).collect()
    }
}

/// What the test's instance does with a request.
pub(crate) enum Reaction {
    /// Answers with a status and a body.
    Answer(u16, String),
    /// Sends these bytes and closes.
    Bytes(&'static [u8]),
    /// Never answers.
    Hang,
    /// Answers 200 and never ends its body.
    Endless,
}

/// An instance's HTTP server on loopback. Ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// Method and path of each request, in order.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(react: impl Fn(&str) -> Reaction + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, react) = (requests.clone(), Arc::new(react));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, seen.clone(), react.clone()));
            }
        });
        Self {
            port,
            requests,
            task,
        }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Closes the port.
    pub(crate) async fn stop(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

async fn answer(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<String>>>,
    react: Arc<impl Fn(&str) -> Reaction>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            // A connection without a request is a TCP check.
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let line = head.lines().next().unwrap();
    let request = line.trim_end_matches(" HTTP/1.1");
    seen.lock().unwrap().push(request.to_owned());
    // The client may have gone: that is its business.
    let _ = match react(request) {
        Reaction::Answer(status, body) => {
            let length = body.len();
            let location = "location: http://127.0.0.1:1/elsewhere\r\n";
            let text =
                format!("HTTP/1.1 {status} X\r\n{location}content-length: {length}\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await
        }
        Reaction::Bytes(bytes) => stream.write_all(bytes).await,
        Reaction::Hang => std::future::pending().await,
        Reaction::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
            Ok(())
        }
    };
}

/// Waits until `condition` holds, for at most ten seconds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "never {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
