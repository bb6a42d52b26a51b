//! One group in the middle of its life, for unit tests: change what the test is about, then classify
//! or plan. Only this file knows how the inputs are put together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_model::{
    AcceptedDocument, AttachmentName, Check, CheckOutcome, Classified, Completeness, Decisions,
    Digests, Epoch, FieldClass, FleetName, Group, GroupName, GroupSpec, GroupUid, HealthSignal,
    Held, InstanceId, InstanceMemory, Intent, IntentId, IntentKind, IntentState, Listed, Listing,
    MemberId, Ownership, Peers, Plan, PlanReport, Probe, ProviderName, ProviderPhase, ProviderRef,
    ProviderType, Reason, Recommendation, RecordedGroup, RecordedInstance, Revision, RosterView,
    Seat, SeatId, SourceSpan, Surveyed, Template, TemplateParts, Timestamp, Token, Value, defaults,
};

use crate::{
    ClassifyInput, Desired, LintError, PlanError, PlanInput, ProviderFacts, classify, lint, plan,
};

/// Parses an id of the group under test, such as `web-3`.
pub(crate) fn id(text: &str) -> InstanceId {
    InstanceId::parse(text).unwrap()
}

/// Returns the time so many seconds after noon.
pub(crate) fn at(seconds: i64) -> Timestamp {
    let noon: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
    noon.checked_add(jiff::SignedDuration::from_secs(seconds))
        .unwrap()
}

/// Everything that the stages are given.
pub(crate) struct Fixture {
    pub(crate) now: Timestamp,
    pub(crate) group: Group,
    pub(crate) removed: bool,
    pub(crate) provider: ProviderFacts,
    pub(crate) listing: Listing,
    pub(crate) signals: BTreeMap<InstanceId, HealthSignal>,
    pub(crate) memory: BTreeMap<InstanceId, InstanceMemory>,
    pub(crate) intents: Vec<Intent>,
    pub(crate) recorded: RecordedGroup,
    pub(crate) decisions: Decisions,
    pub(crate) recommendations: Vec<Recommendation>,
    pub(crate) peers: Peers,
    pub(crate) fences: Vec<Held>,
    pub(crate) visibility: Duration,
    pub(crate) roster: Option<RosterView>,
    pub(crate) surveyed: Option<Surveyed>,
    /// Whose places instances take, by name.
    pub(crate) seats: BTreeMap<String, SeatId>,
}

impl Fixture {
    /// A group of `size` that converged an hour ago and is listed whole and healthy at noon.
    pub(crate) fn converged(size: u32) -> Self {
        let mut fixture = Self::empty(size);
        fixture.settle(size);
        fixture
    }

    /// Lets the group have converged an hour ago.
    pub(crate) fn settle(&mut self, size: u32) {
        let fixture = self;
        let digests = fixture.digests();
        fixture.recorded.accepted = Some(document());
        fixture.recorded.size = size;
        fixture.recorded.stable_size = size;
        fixture.recorded.stable = Some(digests.clone());
        fixture.recorded.target = Some(digests.clone());
        fixture
            .recorded
            .templates
            .insert(digests, fixture.group.spec.template.clone());
        for number in 1..=size {
            fixture.known(&format!("web-{number}"), "Available");
            fixture.list(&format!("web-{number}"), ProviderPhase::Running);
        }
        fixture.recorded.next_number = u64::from(size) + 1;
    }

    /// Records the instances of a group of `size` that are listed, and keeps what is remembered of them.
    pub(crate) fn settle_as_listed(&mut self, size: u32) {
        let (listing, memory) = (self.listing.clone(), self.memory.clone());
        self.settle(size);
        (self.listing, self.memory) = (listing, memory);
    }

    /// A group of `size` that converged with a template of fields of every class.
    pub(crate) fn in_place(size: u32) -> Self {
        let mut fixture = Self::empty(size);
        fixture.provider.classes = BTreeMap::from([
            ("config".to_owned(), FieldClass::Restart),
            ("weight".to_owned(), FieldClass::Live),
        ]);
        fixture.group.spec.template = fields(1, 1, 1);
        fixture.settle(size);
        fixture
    }

    /// A group of `size` that nobody has seen before.
    pub(crate) fn empty(size: u32) -> Self {
        let name = GroupName::parse("web").unwrap();
        let uid = GroupUid::parse("0123456789abcdef").unwrap();
        Self {
            now: at(0),
            group: group(name.clone(), size),
            removed: false,
            provider: ProviderFacts {
                name: ProviderName::parse("local").unwrap(),
                type_: ProviderType::parse("simulated").unwrap(),
                settings: Value::empty_map(),
                classes: BTreeMap::new(),
                batch_max: 100,
            },
            listing: Listing {
                completeness: Completeness::Complete,
                as_of: at(0),
                instances: Vec::new(),
                attached: BTreeSet::new(),
                places: BTreeMap::new(),
            },
            signals: BTreeMap::new(),
            memory: BTreeMap::new(),
            intents: Vec::new(),
            recorded: RecordedGroup::new(name, uid, Epoch(1)),
            decisions: Decisions::default(),
            recommendations: Vec::new(),
            peers: Peers::default(),
            fences: Vec::new(),
            visibility: Duration::from_mins(2),
            roster: None,
            surveyed: None,
            seats: BTreeMap::new(),
        }
    }

    /// The digests of the document's template.
    pub(crate) fn digests(&self) -> Digests {
        let template = &self.group.spec.template;
        Digests::of(&self.provider.type_, template, &self.provider.classes)
    }

    /// Moves the clock and the listing to so many seconds after noon, and takes over the memory.
    pub(crate) fn later(&mut self, seconds: i64) -> &mut Self {
        self.memory = self.classified().memory;
        self.now = at(seconds);
        self.listing.as_of = at(seconds);
        for signal in self.signals.values_mut() {
            signal.asked_at = at(seconds);
        }
        self
    }

    /// Lists an instance of the current template, with passing checks.
    pub(crate) fn list(&mut self, name: &str, phase: ProviderPhase) {
        let digests = self.digests();
        let owner = self.ownership(name, digests);
        self.unlist(name);
        self.listing.instances.push(Listed {
            provider_ref: provider_ref(name),
            ownership: Some(owner),
            phase,
            address: Some("10.0.0.1".to_owned()),
            zone: None,
            created_at: Some(at(-3600)),
            interruption: None,
        });
        self.signal(name, CheckOutcome::Passing);
    }

    /// Takes an instance off the listing.
    /// Lets the provider announce that it takes an instance at `taken_at`.
    pub(crate) fn interrupt(&mut self, name: &str, taken_at: Timestamp) {
        let id = id(name);
        let instances = self.listing.instances.iter_mut();
        let owned = |listed: &&mut Listed| {
            let owner = listed.ownership.as_ref();
            owner.is_some_and(|owner| owner.instance == id)
        };
        for listed in instances.filter(owned) {
            listed.interruption = Some(taken_at);
        }
    }

    pub(crate) fn unlist(&mut self, name: &str) {
        self.listing
            .instances
            .retain(|listed| listed.provider_ref != provider_ref(name));
    }

    /// Sets what the check of an instance says.
    pub(crate) fn signal(&mut self, name: &str, outcome: CheckOutcome) {
        let signal = HealthSignal {
            asked_at: self.now,
            checks: vec![outcome],
            busy: false,
            leader: None,
            work: 0,
        };
        self.signals.insert(id(name), signal);
    }

    /// Records and remembers an instance with a class.
    pub(crate) fn known(&mut self, name: &str, class: &str) {
        let was = RecordedInstance {
            seat: self.seats.get(name).cloned(),
            provider_ref: Some(provider_ref(name)),
            class: class.to_owned(),
            ..RecordedInstance::available(self.digests(), at(-3600))
        };
        self.recorded.instances.insert(id(name), was);
        let ready = class != "Starting";
        let memory = InstanceMemory {
            healthy_since: (class == "Available").then(|| at(-3600)),
            ready_at: ready.then(|| at(-3600)),
            ..InstanceMemory::new(at(-3600))
        };
        self.memory.insert(id(name), memory);
    }

    /// Adds an open create of `names`.
    pub(crate) fn create(&mut self, names: &[&str], issued: i64, state: IntentState) {
        let slots: Vec<InstanceId> = names.iter().map(|name| id(name)).collect();
        let digests = self.digests();
        let kind = IntentKind::Create {
            zone: None,
            attempt: 0,
            token: self.token(names[0]),
            digests,
            template: self.group.spec.template.clone(),
            slots,
            seat: None,
        };
        self.intent(issued, kind, state);
    }

    /// Adds an open create of one instance that takes a place with an attachment.
    pub(crate) fn create_seated(&mut self, name: &str, issued: i64, state: IntentState) {
        self.create(&[name], issued, state);
        let seat = Seat {
            id: SeatId {
                life: self.recorded.uid.clone(),
                member: MemberId::parse("m1").unwrap(),
            },
            members: vec![MemberId::parse("m1").unwrap()],
            bootstrap: false,
            attachments: vec![AttachmentName::parse("data").unwrap()],
        };
        if let Some(IntentKind::Create { seat: place, .. }) =
            self.intents.last_mut().map(|intent| &mut intent.kind)
        {
            *place = Some(Box::new(seat));
        }
    }

    /// Adds an open destroy.
    pub(crate) fn destroy(&mut self, name: &str, reason: Reason, state: IntentState) {
        let kind = IntentKind::Destroy {
            instance: id(name),
            provider_ref: provider_ref(name),
            token: self.token(name),
            reason,
        };
        self.intent(-10, kind, state);
    }

    /// Adds an open drain that is not done.
    pub(crate) fn drain(&mut self, name: &str, reason: Reason) {
        let kind = IntentKind::Drain {
            instance: id(name),
            provider_ref: provider_ref(name),
            address: None,
            reason,
            spec: self.group.spec.drain.clone(),
            deadline: at(300),
            begun: false,
            done: false,
            returns: None,
        };
        self.intent(-10, kind, IntentState::Intended);
    }

    /// Adds a drain that is done, of an instance with the digests `had` that is to come back.
    pub(crate) fn drained_to_restart(&mut self, name: &str, had: Digests) {
        let kind = IntentKind::Drain {
            instance: id(name),
            provider_ref: provider_ref(name),
            address: None,
            reason: Reason::Update,
            spec: self.group.spec.drain.clone(),
            deadline: at(300),
            begun: true,
            done: true,
            returns: Some(had),
        };
        self.intent(-10, kind, IntentState::Intended);
    }

    /// Adds an open intent.
    pub(crate) fn intent(&mut self, issued: i64, kind: IntentKind, state: IntentState) {
        self.intents.push(Intent {
            id: IntentId(self.intents.len() as u64 + 1),
            group: self.recorded.name.clone(),
            epoch: Epoch(1),
            issued_at: at(issued),
            kind,
            state,
            said: None,
        });
    }

    /// The token of an instance made as a batch of its own.
    pub(crate) fn token(&self, name: &str) -> Token {
        Token::derive(&fleet(), &self.recorded.uid, Epoch(1), &id(name), 0)
    }

    pub(crate) fn ownership(&self, name: &str, digests: Digests) -> Ownership {
        Ownership {
            fleet: fleet(),
            group: self.recorded.name.clone(),
            instance: id(name),
            digests,
            token: self.token(name),
            epoch: Epoch(1),
            seat: self.seats.get(name).cloned(),
        }
    }

    /// Runs the first stage.
    pub(crate) fn classified(&self) -> Classified {
        self.with_classify_input(classify)
    }

    /// Calls with what the first stage is given.
    pub(crate) fn with_classify_input<T>(&self, use_it: impl FnOnce(&ClassifyInput<'_>) -> T) -> T {
        use_it(&ClassifyInput {
            now: self.now,
            group: &self.recorded.name,
            spec: &self.group.spec,
            listing: &self.listing,
            signals: &self.signals,
            memory: &self.memory,
            intents: &self.intents,
            recorded: &self.recorded,
            visibility: self.visibility,
            health: &self.decisions.health,
            surveyed: self.surveyed.as_ref(),
            provider: &self.provider,
            emptied: self.peers.emptied.as_ref(),
        })
    }

    /// Returns the class of an instance, or `gone`, or `unknown`.
    pub(crate) fn class(&self, name: &str) -> String {
        let classified = self.classified();
        match classified.members.get(&id(name)) {
            Some(member) => member.class.as_str().to_owned(),
            None if classified.kept.contains_key(&id(name)) => "kept".to_owned(),
            None if classified.gone.contains_key(&id(name)) => "gone".to_owned(),
            None => "unknown".to_owned(),
        }
    }

    /// Gives the input of the third stage to `use_it`.
    pub(crate) fn with_input<T>(&self, use_it: impl FnOnce(&PlanInput<'_>) -> T) -> T {
        let classified = self.classified();
        let (document, fleet, policies) = (document(), fleet(), BTreeMap::new());
        let desired = if self.removed {
            Desired::Deleting {
                spec: &self.group.spec,
                revision: &document.revision,
            }
        } else {
            Desired::Present {
                group: &self.group,
                document: &document,
            }
        };
        use_it(&PlanInput {
            now: self.now,
            fleet: &fleet,
            epoch: Epoch(1),
            desired,
            provider: &self.provider,
            classified: &classified,
            intents: &self.intents,
            roster: self.roster.as_ref(),
            recorded: &self.recorded,
            decisions: &self.decisions,
            recommendations: &self.recommendations,
            policies: &policies,
            peers: &self.peers,
            fences: &self.fences,
        })
    }

    /// Plans and lints.
    pub(crate) fn planned(&self) -> (Plan, PlanReport) {
        self.with_input(|input| {
            let (planned, report) = plan(input).unwrap();
            lint(input, &planned).unwrap();
            (planned, report)
        })
    }

    /// Plans, and returns only what went wrong.
    pub(crate) fn plan_error(&self) -> Option<PlanError> {
        self.with_input(|input| plan(input).err())
    }

    /// Plans, lets `tamper` change the plan, and lints it.
    pub(crate) fn linted(&self, tamper: impl FnOnce(&mut Plan)) -> Result<(), LintError> {
        self.with_input(|input| {
            let (mut planned, _) = plan(input).unwrap();
            tamper(&mut planned);
            lint(input, &planned)
        })
    }
}

/// The handle of an instance.
pub(crate) fn provider_ref(name: &str) -> ProviderRef {
    ProviderRef::parse(&format!("ref-{name}")).unwrap()
}

fn fleet() -> FleetName {
    FleetName::parse("prod").unwrap()
}

fn document() -> AcceptedDocument {
    AcceptedDocument {
        text: "kind: Group".into(),
        path: "groups/web.yaml".to_owned(),
        line: 1,
        revision: Revision::parse(&"a".repeat(40)).unwrap(),
    }
}

/// Returns a template that differs from others by its version.
pub(crate) fn template(version: i64) -> Template {
    Template::from(TemplateParts {
        properties: Value::from_iter([("version".to_owned(), Value::from(version))]),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    })
}

/// Returns a template with fields of the classes replace, restart and live.
pub(crate) fn fields(version: i64, config: i64, weight: i64) -> Template {
    let fields = [("version", version), ("config", config), ("weight", weight)];
    let fields = fields.map(|(name, value)| (name.to_owned(), Value::from(value)));
    Template::from(TemplateParts {
        properties: Value::from_iter(fields),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    })
}

/// Returns the field classes of a provider that ignores the version.
pub(crate) fn ignoring_version() -> BTreeMap<String, FieldClass> {
    BTreeMap::from([("version".to_owned(), FieldClass::Ignore)])
}

fn group(name: GroupName, size: u32) -> Group {
    let span = SourceSpan::start_of("groups/web.yaml");
    Group {
        name,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        span: span.clone(),
        provider_span: span,
        property_spans: BTreeMap::new(),
        spec_spans: BTreeMap::new(),
        depends_spans: Vec::new(),
        spec: spec(size),
    }
}

fn spec(size: u32) -> GroupSpec {
    let provider = ProviderName::parse("local").unwrap();
    let mut spec = GroupSpec::with_defaults(provider, size, template(1));
    spec.health.checks = vec![Check {
        probe: Probe::Tcp { port: 80 },
        interval: defaults::CHECK_INTERVAL,
        timeout: defaults::CHECK_TIMEOUT,
    }];
    spec
}
