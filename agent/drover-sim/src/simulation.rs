//! One group, its agent and its provider, on a virtual clock.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_apply::{
    ApplyContext, ApplyReport, Journal as _, JournalError, MemoryJournal, apply,
    remember_unanswered,
};
use drover_model::{
    AcceptedDocument, Classified, Decisions, Epoch, FleetName, Group, GroupName, GroupPhase,
    GroupSpec, GroupUid, HealthSignal, Held, Hold, InstanceId, InstanceMemory, Intent, IntentKind,
    Listed, Listing, Order, OrderVerb, Peers, Plan, PlanReport, ProviderName, ProviderPhase,
    ProviderType, Recommendation, RecordedGroup, Revision, RosterView, Signer, Surveyed, Timestamp,
    Value,
};
use drover_plan::{
    ClassifyInput, Desired, LintError, PlanError, PlanInput, ProviderFacts, classify, heed, lint,
    plan,
};
use drover_provider::{Clock as _, ProviderError};
use drover_provider_sim::{SimProvider, SimSettings, SimWorld};

use crate::{Ground, SimRosters, VirtualClock};

/// The agent looks at least this often: the default interval of a source.
const INTERVAL: Duration = Duration::from_secs(30);

/// Where every simulation begins: a Monday morning.
const START: &str = "2026-01-05T08:00:00Z";

/// One group with its agent and its provider.
#[derive(Debug)]
pub struct Simulation {
    /// The time.
    pub clock: VirtualClock,
    /// What should exist. None: the document was removed.
    pub desired: Option<Group>,
    /// The last document that was there.
    pub last: Group,
    /// What policies say.
    pub decisions: Decisions,
    /// What is known of other groups.
    pub peers: Peers,
    /// What is in the way.
    pub fences: Vec<Held>,
    /// The provider's facts as the agent has them.
    pub provider: ProviderFacts,
    /// What the agent has recorded.
    pub recorded: RecordedGroup,
    /// What the agent remembers from pass to pass.
    pub memory: BTreeMap<InstanceId, InstanceMemory>,
    /// What the agent remembers of what the size policy asked for.
    pub recommendations: Vec<Recommendation>,
    /// How many commits the recorded state would have made so far.
    pub commits: u32,
    fleet: FleetName,
    world: Arc<Mutex<SimWorld>>,
    journal: Arc<MemoryJournal>,
    rosters: Arc<SimRosters>,
    /// Whether the record was lost: then the group may have worked all the same.
    has_lost: bool,
    /// What the last pass was told of the membership list.
    roster: Option<RosterView>,
    visibility: Duration,
    revision: u32,
}

/// What one pass saw, decided and did.
#[derive(Debug)]
pub struct Pass {
    /// When it was.
    pub at: Timestamp,
    /// What was listed.
    pub listing: Listing,
    /// What the checks said.
    pub signals: BTreeMap<InstanceId, HealthSignal>,
    /// The open intents before the pass.
    pub intents: Vec<Intent>,
    /// What its program's membership list was said to be.
    pub roster: Option<RosterView>,
    /// What there was to adopt. None: the document adopts nothing.
    pub surveyed: Option<Surveyed>,
    /// The effective world.
    pub classified: Classified,
    /// What was decided.
    pub plan: Plan,
    /// What was withheld.
    pub report: PlanReport,
    /// What came of it. None: it could not be recorded, so nothing was carried out.
    pub applied: Option<ApplyReport>,
    /// The recorded state before the pass.
    pub before: RecordedGroup,
}

/// Why a pass could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The planner refused its input.
    #[error("cannot plan")]
    Plan(#[from] PlanError),
    /// The plan failed its lint: a bug of the planner.
    #[error("the plan fails its lint")]
    Lint(#[from] LintError),
    /// The journal could not be read.
    #[error("cannot read the journal")]
    Journal(#[from] JournalError),
}

impl Pass {
    /// Returns whether the end of an instance was decided before.
    pub(crate) fn is_ending(&self, id: &InstanceId) -> bool {
        self.intents.iter().any(
            |intent| matches!(&intent.kind, IntentKind::Destroy { instance, .. } if instance == id),
        )
    }
}

impl Simulation {
    /// Begins with a group that does not exist yet and an empty provider.
    ///
    /// # Panics
    ///
    /// Never: the names are constants.
    pub fn new(group: Group, settings: SimSettings) -> Self {
        let start: Timestamp = START.parse().expect("a valid time");
        let visibility = settings.visibility;
        let batch_max = settings.batch_max;
        let uid = GroupUid::parse("0000000000000001").expect("a valid uid");
        let clock = VirtualClock::new(start);
        let world = Arc::new(Mutex::new(SimWorld::new(settings)));
        Self {
            rosters: Arc::new(rosters(clock.clone(), world.clone())),
            has_lost: false,
            roster: None,
            clock,
            decisions: Decisions::default(),
            peers: Peers::default(),
            fences: Vec::new(),
            provider: ProviderFacts {
                name: ProviderName::parse("sim").expect("a valid label"),
                type_: ProviderType::parse("simulated").expect("a valid label"),
                settings: Value::empty_map(),
                classes: crate::specs::classes(),
                batch_max,
            },
            recorded: RecordedGroup::new(group.name.clone(), uid, Epoch(1)),
            memory: BTreeMap::new(),
            recommendations: Vec::new(),
            commits: 0,
            fleet: FleetName::parse("test").expect("a valid label"),
            world,
            journal: Arc::new(MemoryJournal::new()),
            visibility,
            revision: 1,
            last: group.clone(),
            desired: Some(group),
        }
    }

    /// Returns the provider's world.
    pub fn world(&self) -> MutexGuard<'_, SimWorld> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the agent's journal.
    pub fn journal(&self) -> &MemoryJournal {
        &self.journal
    }

    /// Returns the membership list of the group's program.
    pub fn rosters(&self) -> &SimRosters {
        &self.rosters
    }

    /// Returns the time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns the group's name.
    pub fn name(&self) -> &GroupName {
        &self.recorded.name
    }

    /// Returns the specification in force.
    pub fn spec(&self) -> &GroupSpec {
        &self.last.spec
    }

    /// Pushes a new document.
    pub fn push(&mut self, group: Group) {
        self.revision += 1;
        self.last = group.clone();
        self.desired = Some(group);
    }

    /// Pushes a change of the document.
    pub fn edit(&mut self, change: impl FnOnce(&mut GroupSpec)) {
        let mut group = self.last.clone();
        change(&mut group.spec);
        self.push(group);
    }

    /// Removes the document.
    pub fn remove(&mut self) {
        self.revision += 1;
        self.desired = None;
    }

    /// Lets a person with a key ask something of an instance, for so long.
    ///
    /// # Panics
    ///
    /// Never: the names are constants.
    pub fn order(&mut self, verb: OrderVerb, instance: &InstanceId, time: Duration) {
        let now = self.now();
        let order = Order {
            verb,
            instance: instance.clone(),
            signer: Signer::parse("tom@example.com").expect("a valid name"),
            at: now,
            expires: now.checked_add(time).unwrap_or(Timestamp::MAX),
            because: "it misbehaves".to_owned(),
            operation: self.document().revision,
        };
        if let Some(heeded) = heed(&self.recorded, (&[], &[order]), now) {
            self.recorded = heeded;
        }
    }

    /// Ends the agent and starts it again: what is durable stays, and the memory too unless it is
    /// lost.
    pub fn restart(&mut self, memory_lost: bool) {
        self.journal = Arc::new(self.journal.crashed());
        if memory_lost {
            self.memory.clear();
            self.recommendations.clear();
        }
    }

    /// Loses what the agent recorded, what it knows locally, or both, as when a branch is deleted or a
    /// disk is replaced. What exists goes on to exist.
    pub fn lose(&mut self, record: bool, local: bool) {
        if local {
            self.journal = Arc::new(MemoryJournal::new());
            self.memory.clear();
            self.recommendations.clear();
        }
        if record {
            self.has_lost = true;
            let uid = GroupUid::parse("0000000000000002").expect("a valid uid");
            self.recorded = RecordedGroup::new(self.recorded.name.clone(), uid, Epoch(1));
        }
    }

    /// Makes one pass: list, classify, plan, lint, apply, record.
    ///
    /// # Errors
    ///
    /// Only for bugs: of the planner, or of this simulator.
    pub async fn pass(&mut self) -> Result<Pass, SimulationError> {
        self.advance_drains()?;
        let now = self.now();
        let surveyed = self.surveyed(now);
        let listed = self.world().list(now, &self.fleet).result;
        let (listing, failed) = self.observed(listed, now);
        let signals = self.signals(&listing, now);
        let intents = self.journal.open_intents(self.name())?;
        self.roster = self.asked(&listing);
        let mut recorded = self.recorded.clone();
        let above = self.journal.last_number(self.name())?.saturating_add(1);
        recorded.next_number = recorded.next_number.max(above);
        let mut fences = self.fences.clone();
        fences.extend(failed);
        let classified = classify(&ClassifyInput {
            now,
            group: self.name(),
            spec: self.spec(),
            listing: &listing,
            signals: &signals,
            memory: &self.memory,
            intents: &intents,
            recorded: &recorded,
            visibility: self.visibility,
            health: &self.decisions.health,
            surveyed: surveyed.as_ref(),
            provider: &self.provider,
            emptied: self.peers.emptied.as_ref(),
        });
        let (plan, report) = self.planned(&classified, &intents, &recorded, &fences)?;
        // The agent records a plan before it carries it out, in the file that its journal is in, and
        // carries out nothing where it cannot.
        let applied = if self.journal.is_failing() {
            None
        } else {
            self.memory = classified.memory.clone();
            self.recommendations.clone_from(&plan.recommendations);
            self.commits += u32::from(self.recorded != plan.next);
            self.recorded = plan.next.clone();
            let report = apply(&plan, &self.context()).await;
            let answered_at = self.now();
            remember_unanswered(&mut self.memory, (&plan, &intents), &report, answered_at);
            Some(report)
        };
        Ok(Pass {
            at: now,
            listing,
            signals,
            intents,
            roster: self.roster.clone(),
            surveyed,
            classified,
            plan,
            report,
            applied,
            before: recorded,
        })
    }

    /// Asks for what the document adopts. None: it adopts nothing.
    fn surveyed(&self, now: Timestamp) -> Option<Surveyed> {
        let adopt = self.spec().adopt.as_ref()?;
        let answer = self.world().survey(now, &adopt.match_tags).result;
        Some(match answer {
            Ok(survey) => Surveyed::Known {
                survey: survey.told_to(&self.fleet, &self.recorded),
                contested: BTreeMap::new(),
            },
            Err(error) => Surveyed::Unknown(Hold::ProviderFailed {
                class: error.class,
                message: error.message,
            }),
        })
    }

    /// Makes passes for `limit`, each when the agent wants the next one and at least every source
    /// interval, until one is as `wanted`. Returns that one's time from now. None: there was none.
    ///
    /// # Errors
    ///
    /// As [`pass`](Self::pass).
    pub async fn until(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&Pass) -> bool,
    ) -> Result<Option<Duration>, SimulationError> {
        let begun = self.now();
        let end = begun.checked_add(limit).unwrap_or(Timestamp::MAX);
        while self.now() < end {
            let pass = self.pass().await?;
            if wanted(&pass) {
                let taken = Duration::try_from(pass.at.duration_since(begun));
                return Ok(Some(taken.unwrap_or_default()));
            }
            self.sleep(&pass, end);
        }
        Ok(None)
    }

    /// Makes passes for `time`.
    ///
    /// # Errors
    ///
    /// As [`pass`](Self::pass).
    pub async fn run(&mut self, time: Duration) -> Result<(), SimulationError> {
        self.until(time, |_| false).await.map(drop)
    }

    /// Makes passes until the group has converged. Returns how long that took; None: more than a day.
    ///
    /// # Errors
    ///
    /// As [`pass`](Self::pass).
    pub async fn converge(&mut self) -> Result<Option<Duration>, SimulationError> {
        let done = |pass: &Pass| pass.plan.next.phase == GroupPhase::Converged;
        self.until(Duration::from_hours(24), done).await
    }

    /// Moves the clock on to when the next pass is due, but no further than `end`.
    pub fn sleep(&self, pass: &Pass, end: Timestamp) {
        let interval = pass.at.checked_add(INTERVAL).unwrap_or(Timestamp::MAX);
        let wake = pass.plan.wake_at.map_or(interval, |at| at.min(interval));
        self.clock.set(wake.min(end));
    }

    /// Plans and lints, without carrying anything out.
    ///
    /// # Errors
    ///
    /// Only for bugs of the planner.
    pub fn planned(
        &self,
        classified: &Classified,
        intents: &[Intent],
        recorded: &RecordedGroup,
        fences: &[Held],
    ) -> Result<(Plan, PlanReport), SimulationError> {
        let from = (&self.provider, &self.peers);
        self.plan_as(from, classified, intents, recorded, fences)
    }

    fn plan_as(
        &self,
        (provider, peers): (&ProviderFacts, &Peers),
        classified: &Classified,
        intents: &[Intent],
        recorded: &RecordedGroup,
        fences: &[Held],
    ) -> Result<(Plan, PlanReport), SimulationError> {
        let (document, policies) = (self.document(), BTreeMap::new());
        let desired = match &self.desired {
            Some(group) => Desired::Present {
                group,
                document: &document,
            },
            None => Desired::Deleting {
                spec: &self.last.spec,
                revision: &document.revision,
            },
        };
        let input = PlanInput {
            now: self.now(),
            fleet: &self.fleet,
            epoch: Epoch(1),
            desired,
            provider,
            classified,
            intents,
            roster: self.roster.as_ref(),
            recorded,
            decisions: &self.decisions,
            recommendations: &self.recommendations,
            policies: &policies,
            peers,
            fences,
        };
        let (plan, report) = plan(&input)?;
        lint(&input, &plan)?;
        Ok((plan, report))
    }

    /// Plans with another idea of the provider or of the other groups, under the same fences.
    pub(crate) fn replanned(
        &self,
        from: (&ProviderFacts, &Peers),
        classified: &Classified,
        intents: &[Intent],
        recorded: &RecordedGroup,
    ) -> Result<Plan, SimulationError> {
        let (plan, _) = self.plan_as(from, classified, intents, recorded, &self.fences)?;
        Ok(plan)
    }

    /// Returns how long the provider may leave out what it has made.
    pub(crate) fn visibility(&self) -> Duration {
        self.visibility
    }

    fn observed(
        &self,
        listed: Result<Listing, ProviderError>,
        now: Timestamp,
    ) -> (Listing, Option<Held>) {
        match listed {
            Ok(mut listing) => {
                let group = self.name();
                let owned = |listed: &Listed| {
                    let tags = listed.ownership.as_ref();
                    tags.is_some_and(|tags| tags.fleet == self.fleet && tags.group == *group)
                };
                listing.instances.retain(owned);
                (listing, None)
            }
            Err(error) => {
                let why = error.message.clone();
                let listing = Listing {
                    completeness: drover_model::Completeness::Partial { why },
                    as_of: now,
                    instances: Vec::new(),
                    attached: std::collections::BTreeSet::new(),
                    places: std::collections::BTreeMap::new(),
                };
                let hold = Hold::ProviderFailed {
                    class: error.class,
                    message: error.message,
                };
                (listing, Some(of_group(hold)))
            }
        }
    }

    /// Asks for the membership list, where the agent changes it.
    fn asked(&self, listing: &Listing) -> Option<RosterView> {
        self.spec().quorum.as_ref()?.membership.keeper()?;
        let known = self.recorded.quorum.as_ref();
        if known.is_none_or(|known| !known.established) && !self.has_lost {
            // Nobody has relied on it yet, so whatever it was may be begun anew.
            self.rosters.forget(self.name());
        }
        let running = |listed: &&Listed| listed.phase == ProviderPhase::Running;
        let members = listing.instances.iter().filter(running);
        let addresses: Vec<String> = members.filter_map(|one| one.address.clone()).collect();
        Some(self.rosters.view(self.name(), &addresses))
    }

    fn signals(&self, listing: &Listing, now: Timestamp) -> BTreeMap<InstanceId, HealthSignal> {
        let world = self.world();
        let checks = self.spec().health.checks.len();
        let probed = listing.instances.iter().filter_map(|listed| {
            let id = &listed.ownership.as_ref()?.instance;
            let outcome = world.health(&listed.provider_ref, now);
            let signal = HealthSignal {
                asked_at: now,
                checks: vec![outcome; checks],
                busy: world.is_busy(&listed.provider_ref),
                leader: world.leads(&listed.provider_ref),
                work: 0,
            };
            Some((id.clone(), signal))
        });
        probed.collect()
    }

    /// Moves drains along: a drain is done when its delay is past, as one without `done` is.
    fn advance_drains(&mut self) -> Result<(), SimulationError> {
        let now = self.now();
        for intent in self.journal.open_intents(self.name())? {
            if let IntentKind::Drain {
                spec, begun, done, ..
            } = &intent.kind
            {
                let ready = intent.issued_at.checked_add(spec.delay);
                if ready.is_ok_and(|ready| now >= ready) && !(*begun && *done) {
                    // A journal that cannot be written now leaves the drain where it is.
                    let _ = self
                        .journal
                        .update_drain(intent.id, true, spec.done.is_none());
                }
            }
        }
        Ok(())
    }

    fn context(&self) -> ApplyContext {
        let clock = Arc::new(self.clock.clone());
        ApplyContext {
            fleet: self.fleet.clone(),
            epoch: Epoch(1),
            provider: Arc::new(SimProvider::new(self.world.clone(), clock.clone())),
            journal: self.journal.clone(),
            clock,
            call_timeout: Duration::from_secs(30),
            concurrency: 8,
            secrets: Arc::new(drover_provider::NoSecrets),
            cluster: Arc::default(),
            flavors: Arc::new(drover_provider::NoFlavors::new("there are none here")),
            reach: Arc::new(drover_apply::Network),
            rosters: self.rosters.clone(),
            brake: Arc::new(AtomicBool::new(false)),
        }
    }

    fn document(&self) -> AcceptedDocument {
        AcceptedDocument {
            text: format!("revision {}", self.revision).into(),
            path: format!("groups/{}.yaml", self.name()),
            line: 1,
            revision: Revision::parse(&format!("{:040x}", self.revision))
                .expect("40 hexadecimal digits"),
        }
    }
}

/// Returns the membership lists of what runs in `world`.
fn rosters(clock: VirtualClock, world: Arc<Mutex<SimWorld>>) -> SimRosters {
    SimRosters::new(Box::new(move |group| {
        let world = world.lock().unwrap_or_else(PoisonError::into_inner);
        Ground::of(&world, group, clock.now())
    }))
}

/// Returns a hold of the group as a whole.
pub(crate) fn of_group(hold: Hold) -> Held {
    Held {
        hold,
        reason: None,
        instance: None,
        until: None,
    }
}
