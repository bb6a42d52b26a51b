//! What a person asks for: the specification of a group.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use crate::{
    Activity, Adopt, Amount, Budget, Expiry, FieldClass, Flavor, GroupName, InstanceId, Keep,
    PlacementSpec, Prefer, Protect, ProviderName, QuorumSpec, Reason, Rebalance, ScalingSpec,
    SourceSpan, Spread, Suspend, Timestamp, UpDown, Value, Window,
};

/// Defaults of a Group document. The one place that says them: the decoder, the schema and the
/// reference page read these.
pub mod defaults {
    use std::time::Duration;

    use crate::{Amount, Rate, UpDown};

    /// `scaling.stabilization.up`: what is asked for is made at once.
    pub const STABILIZATION_UP: Duration = Duration::ZERO;
    /// `scaling.stabilization.down`: a short lull takes nothing away that would have to be made again.
    pub const STABILIZATION_DOWN: Duration = Duration::from_mins(5);
    /// `scaling.rate.up`: at most twice as many a minute.
    pub const RATE_UP: Rate = Rate {
        amount: Amount::Percent(100),
        per: Duration::from_mins(1),
    };
    /// `scaling.rate.down`: slow enough to see that fewer do not suffice.
    pub const RATE_DOWN: Rate = Rate {
        amount: Amount::Percent(10),
        per: Duration::from_mins(1),
    };
    /// `scaling.rate`.
    pub const RATE: UpDown<Rate> = UpDown {
        up: RATE_UP,
        down: RATE_DOWN,
    };
    /// `placement.maxSkew`: as even as whole instances allow.
    pub const SKEW_MAX: u32 = 1;
    /// `placement.cooldown`: what others found to be how long a lack of room lasts at least.
    pub const ZONE_COOLDOWN: Duration = Duration::from_mins(3);
    /// `rollout.maxSurge`: a share, because a constant 1 would roll 1,000 instances in two days.
    pub const SURGE_MAX: Amount = Amount::Percent(10);
    /// `rollout.maxUnavailable`: nothing that serves is taken away before its replacement serves.
    pub const UNAVAILABLE_MAX: Amount = Amount::Count(0);
    /// `rollout.firstBatch`: one instance of a new template, until one of them is available.
    pub const FIRST_BATCH: u32 = 1;
    /// `rollout.minReady`: how long an instance must be healthy before it counts as available.
    pub const MIN_READY: Duration = Duration::from_secs(30);
    /// `health.startupTimeout`: an instance that was never ready by then is a failed launch.
    pub const STARTUP_TIMEOUT: Duration = Duration::from_mins(10);
    /// `health.unhealthyAfter`: how long checks must fail before an instance is unhealthy.
    pub const UNHEALTHY_AFTER: Duration = Duration::from_mins(2);
    /// `health.unknownAfter`: how long an instance may be unreachable to the observer.
    pub const UNKNOWN_AFTER: Duration = Duration::from_mins(10);
    /// `health.checks[].interval`.
    pub const CHECK_INTERVAL: Duration = Duration::from_secs(10);
    /// `health.checks[].timeout`.
    pub const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
    /// The limit of one question to a flavor plugin about an instance's health: it may have to ask somebody else.
    pub const FLAVOR_CHECK_TIMEOUT: Duration = Duration::from_secs(10);
    /// `heal.maxInFlight`: rounded up, so at least one.
    pub const HEAL_IN_FLIGHT_MAX: Amount = Amount::Percent(10);
    /// `heal.systemic.threshold`: above this share of bad instances the cause is not the instances.
    pub const SYSTEMIC_THRESHOLD: Amount = Amount::Percent(40);
    /// Fewer bad instances than this are never systemic, whatever their share.
    pub const SYSTEMIC_COUNT_MIN: u32 = 3;
    /// `heal.keep.max`: nothing is kept unless somebody asks for it.
    pub const KEEP_MAX: u32 = 0;
    /// `heal.keep.for`: long enough for the next working day.
    pub const KEEP_FOR: Duration = Duration::from_hours(24);
    /// `drain.delay`: time for load balancers to see that an instance is draining.
    pub const DRAIN_DELAY: Duration = Duration::from_secs(2);
    /// `drain.timeout`.
    pub const DRAIN_TIMEOUT: Duration = Duration::from_mins(5);
    /// `drain.unhealthyTimeout`: for an instance that is not healthy anyway.
    pub const DRAIN_UNHEALTHY_TIMEOUT: Duration = Duration::from_secs(30);
    /// The instances that `limits.maxDestroy` always allows, when it is not written.
    pub const DESTROY_MAX_COUNT: u32 = 10;
    /// The share that `limits.maxDestroy` always allows, when it is not written.
    pub const DESTROY_MAX_SHARE: Amount = Amount::Percent(50);
    /// `expiry.jitter`: a share of the age, in percent.
    pub const EXPIRY_JITTER_PERCENT: u32 = 10;
    /// Slack in `rollout.progressDeadline` above startup, minReady and drain, when not written.
    pub const PROGRESS_SLACK: Duration = Duration::from_mins(5);
    /// Lower bound of `rollout.progressDeadline`, when not written.
    pub const PROGRESS_DEADLINE_MIN: Duration = Duration::from_mins(15);
    /// `rollout.monitor`: instances of a new template that break so soon after being ready count
    /// against it.
    pub const MONITOR: Duration = Duration::from_mins(5);
    /// `rollout.canary.count`: one.
    pub const CANARY_COUNT: Amount = Amount::Count(1);
    /// `rollout.canary.hold`: long enough for traffic to find what checks do not.
    pub const CANARY_HOLD: Duration = Duration::from_mins(10);
    /// `rollout.checkpoints[].wait`.
    pub const CHECKPOINT_WAIT: Duration = Duration::from_mins(15);
    /// `rollout.bake`: a rollout is complete when every instance is available.
    pub const BAKE: Duration = Duration::ZERO;
    /// `quorum.stabilize`: longer than members take to know each other again.
    pub const STABILIZE: Duration = Duration::from_mins(1);
    /// `quorum.keeper.etcd.clientPort`: etcd's own.
    pub const ETCD_CLIENT_PORT: u16 = 2379;
    /// `quorum.keeper.etcd.peerPort`: etcd's own.
    pub const ETCD_PEER_PORT: u16 = 2380;
    /// `rollout.maxSurge` of a quorum group: a member has one place.
    pub const QUORUM_SURGE_MAX: Amount = Amount::Count(0);
    /// `rollout.maxUnavailable` of a quorum group: one member at a time.
    pub const QUORUM_UNAVAILABLE_MAX: Amount = Amount::Count(1);
    /// Upper bound of the automatic `rollout.failureThreshold`: clamp(ceil(10 % of size), 1, 10).
    pub const FAILURE_THRESHOLD_MAX: u32 = 10;
}

/// A Group document, parsed: the identity, where it stands, and its specification.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The group's name, its identity within a fleet.
    pub name: GroupName,
    /// Labels, which bindings select by.
    pub labels: BTreeMap<String, String>,
    /// Annotations: for people and other programs.
    pub annotations: BTreeMap<String, String>,
    /// Where `metadata.name` stands.
    pub span: SourceSpan,
    /// Where `spec.provider` is written, for the mistake of naming one that is missing.
    pub provider_span: SourceSpan,
    /// Where each provider property is written, by path (`command`, `env.PORT`, `command[0]`), for
    /// mistakes against the provider's schema. The empty path is `properties` as a whole or, when
    /// it is absent, `template`.
    pub property_spans: BTreeMap<String, SourceSpan>,
    /// Where everything else of `spec` is written, by path (`health.checks[0].http`,
    /// `template.flavors[0].vanilla.init`).
    pub spec_spans: BTreeMap<String, SourceSpan>,
    /// Where each entry of `spec.dependsOn` is written.
    pub depends_spans: Vec<SourceSpan>,
    /// What is asked for.
    pub spec: GroupSpec,
}

impl Group {
    /// Returns whether a group is kept in the same way by both documents, and by the same policies; suspensions aside.
    pub fn is_kept_as(&self, other: &Self) -> bool {
        let kept = |group: &Self| GroupSpec {
            suspend: Vec::new(),
            ..group.spec.clone()
        };
        self.labels == other.labels && kept(self) == kept(other)
    }
}

/// What should exist. Every default is filled in; only [`Template`] stays as written.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSpec {
    /// The Provider document that makes the instances.
    pub provider: ProviderName,
    /// How many instances, or the first value where a `size` policy decides.
    pub size: u32,
    /// The members of a quorum group; `size` is their number then. None: instances are interchangeable.
    pub quorum: Option<QuorumSpec>,
    /// The bounds within which a `size` policy chooses.
    pub bounds: Option<Bounds>,
    /// How fast a size that a `size` policy chooses takes effect, and what scale-in prefers.
    pub scaling: ScalingSpec,
    /// Whether an instance that ends by itself failed.
    pub lifecycle: Lifecycle,
    /// Whether the agent acts on the group or only watches it.
    pub manage: Manage,
    /// Which instances that somebody else made the group takes over. None: none.
    pub adopt: Option<Adopt>,
    /// Where instances are made.
    pub placement: PlacementSpec,
    /// What makes an instance current or stale.
    pub template: Template,
    /// When an instance is healthy.
    pub health: HealthSpec,
    /// How bad instances are replaced.
    pub heal: HealSpec,
    /// How a new template replaces an old one.
    pub rollout: RolloutSpec,
    /// How work moves off an instance before it ends.
    pub drain: DrainSpec,
    /// Hard limits.
    pub limits: Limits,
    /// When disruptions may begin.
    pub windows: Vec<Window>,
    /// How many disruptions may be in flight.
    pub budgets: Vec<Budget>,
    /// Instances that some disruptions pass by.
    pub protect: Vec<Protect>,
    /// The largest age of an instance. None: any.
    pub expiry: Option<Expiry>,
    /// The groups that must have converged before this one is updated or grows.
    pub depends_on: Vec<GroupName>,
    /// Activities that are switched off.
    pub suspend: Vec<Suspend>,
    /// What removing the document does.
    pub deletion: Deletion,
}

impl GroupSpec {
    /// Returns everything that is asked for beside the template, the size and what is suspended: how the group is kept. Two
    /// texts are equal where all of it is, however it is written.
    ///
    /// Ids of changes are made of it, so that a new field alters recorded plans.
    pub fn settings(&self) -> String {
        let nothing = TemplateParts {
            properties: Value::empty_map(),
            flavors: Vec::new(),
            flavors_as_written: Value::empty_map(),
            tags: BTreeMap::new(),
        };
        let settings = Self {
            size: 0,
            template: Template::from(nothing),
            suspend: Vec::new(),
            ..self.clone()
        };
        format!("{settings:?}")
    }
}

/// Bounds of a size, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest size.
    pub min: u32,
    /// The largest size, not below `min`.
    pub max: u32,
}

/// What it means that an instance ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// It failed: it should have run on.
    Service,
    /// With status 0 after it was ready it has done its work, and another one takes its place.
    Ephemeral,
}

/// Whether the agent acts on a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manage {
    /// Create, heal, roll and destroy.
    Full,
    /// List, plan and record; never mutate.
    Observe,
}

/// The part of a group that makes an instance current or stale, as written.
///
/// Shared: desired group, recorded state, intents and steps have one copy between them. A change of
/// one of them makes a copy of its own first.
#[derive(Debug, Clone)]
pub struct Template(Arc<TemplateParts>);

/// What a [`Template`] consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateParts {
    /// The provider's own properties, checked against its schema.
    pub properties: Value,
    /// The flavors, decoded, applied in order.
    pub flavors: Vec<Flavor>,
    /// The flavors as written, for the digest.
    pub flavors_as_written: Value,
    /// Tags put on every instance at creation.
    pub tags: BTreeMap<String, String>,
}

impl From<TemplateParts> for Template {
    fn from(parts: TemplateParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Deref for Template {
    type Target = TemplateParts;

    fn deref(&self) -> &TemplateParts {
        &self.0
    }
}

impl DerefMut for Template {
    fn deref_mut(&mut self) -> &mut TemplateParts {
        Arc::make_mut(&mut self.0)
    }
}

/// When an instance is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSpec {
    /// An instance that was never ready within this time is a failed launch.
    pub startup_timeout: Duration,
    /// How long checks must fail without a break.
    pub unhealthy_after: Duration,
    /// How long the state may be unknown without a break.
    pub unknown_after: Duration,
    /// The checks; all must pass. None: the provider's word alone decides.
    pub checks: Vec<Check>,
}

/// One health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is tried.
    pub probe: Probe,
    /// Time between two tries.
    pub interval: Duration,
    /// Time limit of one try.
    pub timeout: Duration,
}

/// A way to ask an instance something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// `GET http://<address>:<port><path>` answers 200 to 299.
    Http {
        /// The port.
        port: u16,
        /// The path with its leading slash, and query.
        path: String,
    },
    /// A TCP connection opens.
    Tcp {
        /// The port.
        port: u16,
    },
    /// A command exits 0, run inside the instance by its provider, never by the agent.
    Command {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// The provider says that the instance is healthy, beside running.
    Provider,
    /// The flavor plugins of the instance's own template say so. Never written: a template with such flavors has it.
    Flavors,
}

/// How bad instances are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealSpec {
    /// Most replacements at once, rounded up, at least 1.
    pub in_flight_max: Amount,
    /// When the cause is presumed to lie outside the instances.
    pub systemic: Systemic,
    /// Which template a replacement gets while a rollout is under way. None: it follows from the
    /// rollout's mode, see [`GroupSpec::heal_revision`].
    pub revision: Option<HealRevision>,
    /// How many bad instances are kept for people to look at, instead of being ended.
    pub keep: Keep,
}

/// Which template the replacement of a bad instance gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealRevision {
    /// The one that is rolled out.
    Target,
    /// The one that the bad instance had; the last good one where that cannot be told.
    Current,
}

/// What happens when too many instances are bad at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Systemic {
    /// The share (rounded up) or count of bad instances from which healing changes mode.
    pub threshold: Amount,
    /// What healing does then.
    pub mode: SystemicMode,
}

/// What healing does while failures are systemic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemicMode {
    /// One replacement at a time: never none, never all.
    Slow,
    /// None.
    Stop,
}

/// How a new template replaces an old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutSpec {
    /// Who replaces outdated instances.
    pub mode: RolloutMode,
    /// Whether outdated instances are left alone for now, while healing and scaling go on.
    pub paused: bool,
    /// Instances allowed above the size, rounded up.
    pub surge_max: Amount,
    /// Instances that may be missing, rounded down.
    pub unavailable_max: Amount,
    /// Whether a replacement is made before or after what it replaces goes.
    pub order: RolloutOrder,
    /// Instances of the new template made before one of them is available.
    pub first_batch: u32,
    /// How long an instance is healthy before it counts as available.
    pub min_ready: Duration,
    /// Time without a new available instance after which the rollout failed. None: automatic,
    /// max(15m, startupTimeout + minReady + drain.timeout + 5m).
    pub progress_deadline: Option<Duration>,
    /// Distinct failed instances of the new template after which the rollout failed. None:
    /// clamp(ceil(10 % of size), 1, 10).
    pub failure_threshold: Option<u32>,
    /// The first instances of a new template, which are watched before the others follow.
    pub canary: Option<Canary>,
    /// Shares of the instances at which the rollout waits, in order.
    pub checkpoints: Vec<Checkpoint>,
    /// How long all instances have the new template before it is the last good one.
    pub bake: Duration,
    /// Most instances of the new template, a share rounded up. None: all.
    pub partition: Option<Amount>,
    /// How long after being ready a broken instance counts against its template.
    pub monitor: Duration,
    /// What a failed rollout does.
    pub on_failure: OnFailure,
    /// The most that may be done to an instance for being outdated: never `Ignore`.
    pub action_max: FieldClass,
}

/// Who replaces outdated instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutMode {
    /// The rollout does.
    Proactive,
    /// Nobody: what is replaced for another reason gets the new template.
    Opportunistic,
    /// Nobody, and replacements get the template of what they replace.
    Manual,
}

impl RolloutMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Proactive, Self::Opportunistic, Self::Manual];

    /// Returns the name used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proactive => "proactive",
            Self::Opportunistic => "opportunistic",
            Self::Manual => "manual",
        }
    }
}

/// Whether a replacement is made before or after what it replaces goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutOrder {
    /// Both, as far as surge and unavailability allow.
    Auto,
    /// Nothing that serves goes while fewer than the size would be left.
    CreateFirst,
    /// Nothing is made above the size.
    DeleteFirst,
}

/// The first instances of a new template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canary {
    /// How many, a share rounded up.
    pub count: Amount,
    /// How long all of them are available before the others follow.
    pub hold: Duration,
    /// Who lets the others follow.
    pub promote: Promote,
}

/// Who ends the hold of canaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promote {
    /// Time.
    Auto,
    /// A commit that says `auto` or removes the canary.
    Manual,
}

impl Promote {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Auto, Self::Manual];

    /// Returns the name used in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
        }
    }
}

/// A point at which a rollout waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many instances have the new template there, a share of the size at the rollout's
    /// beginning, rounded up.
    pub at: Amount,
    /// For how long.
    pub wait: Duration,
}

/// What a failed rollout does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Stops replacing; healing and scaling go on, with the last good template.
    Pause,
    /// Puts the template into quarantine and returns to the last good one.
    Rollback,
    /// Goes on.
    Continue,
}

/// How work moves off an instance before it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainSpec {
    /// Time between the published mark and `begin`.
    pub delay: Duration,
    /// Requests sent once.
    pub begin: Vec<HttpRequest>,
    /// What says that the instance is idle. None: the delay and `begin` are all there is.
    pub done: Option<DrainDone>,
    /// Longest wait for `done`, from the published mark.
    pub timeout: Duration,
    /// The same for an instance that is not healthy.
    pub unhealthy_timeout: Duration,
    /// What happens when the wait ends without `done`.
    pub on_timeout: OnDrainTimeout,
}

/// An HTTP request sent to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method, upper case.
    pub method: String,
    /// The port.
    pub port: u16,
    /// The path with its leading slash.
    pub path: String,
}

/// What says that a draining instance is idle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrainDone {
    /// A GET answers 200.
    Http {
        /// The port.
        port: u16,
        /// The path.
        path: String,
    },
    /// The port no longer accepts connections.
    TcpClosed {
        /// The port.
        port: u16,
    },
    /// The process has ended by itself.
    Exit,
}

/// What happens when a drain is not done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDrainTimeout {
    /// The instance is destroyed all the same.
    Proceed,
    /// The instance stays, draining, and a hold says so.
    Abort,
}

/// Hard limits of a group.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most instances that may exist at once, the terminating ones counted. None: size + surge.
    pub total_max: Option<u32>,
    /// Most instances removed without replacement by one change, rounded up. None: the larger of
    /// 50 % and 10.
    pub destroy_max: Option<Amount>,
    /// Most instances made within an hour. None: three times the size and 10 more.
    pub create_hourly_max: Option<u32>,
    /// Most instances ended within an hour that no change asked for. None: the larger of the size
    /// and 10.
    pub destroy_hourly_max: Option<u32>,
}

/// What removing the document does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// Destroy the instances or leave them.
    pub policy: DeletionPolicy,
    /// Whether removal is held until a commit says `protect: false`.
    pub protect: bool,
}

/// What happens to the instances of a removed group.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// They are drained and destroyed.
    #[default]
    Destroy,
    /// They are left running, without the ownership tags.
    Orphan,
}

impl Default for PlacementSpec {
    /// What holds where nothing is written: no zones, so nothing is spread.
    fn default() -> Self {
        Self {
            zones: Vec::new(),
            spread: Spread::Even,
            skew_max: defaults::SKEW_MAX,
            rebalance: Rebalance::Opportunistic,
            cooldown: defaults::ZONE_COOLDOWN,
        }
    }
}

impl GroupSpec {
    /// Returns the specification of a document that says nothing but its provider, size and template.
    pub fn with_defaults(provider: ProviderName, size: u32, template: Template) -> Self {
        Self {
            provider,
            size,
            quorum: None,
            bounds: None,
            scaling: ScalingSpec {
                stabilization: UpDown {
                    up: defaults::STABILIZATION_UP,
                    down: defaults::STABILIZATION_DOWN,
                },
                rate: defaults::RATE,
                prefer: Prefer::Oldest,
            },
            lifecycle: Lifecycle::Service,
            manage: Manage::Full,
            adopt: None,
            placement: PlacementSpec::default(),
            template,
            health: HealthSpec {
                startup_timeout: defaults::STARTUP_TIMEOUT,
                unhealthy_after: defaults::UNHEALTHY_AFTER,
                unknown_after: defaults::UNKNOWN_AFTER,
                checks: Vec::new(),
            },
            heal: HealSpec {
                in_flight_max: defaults::HEAL_IN_FLIGHT_MAX,
                systemic: Systemic {
                    threshold: defaults::SYSTEMIC_THRESHOLD,
                    mode: SystemicMode::Slow,
                },
                revision: None,
                keep: Keep::PRESET,
            },
            rollout: RolloutSpec {
                mode: RolloutMode::Proactive,
                paused: false,
                surge_max: defaults::SURGE_MAX,
                unavailable_max: defaults::UNAVAILABLE_MAX,
                order: RolloutOrder::Auto,
                first_batch: defaults::FIRST_BATCH,
                min_ready: defaults::MIN_READY,
                progress_deadline: None,
                failure_threshold: None,
                canary: None,
                checkpoints: Vec::new(),
                bake: defaults::BAKE,
                partition: None,
                monitor: defaults::MONITOR,
                on_failure: OnFailure::Pause,
                action_max: FieldClass::Replace,
            },
            drain: DrainSpec {
                delay: defaults::DRAIN_DELAY,
                begin: Vec::new(),
                done: None,
                timeout: defaults::DRAIN_TIMEOUT,
                unhealthy_timeout: defaults::DRAIN_UNHEALTHY_TIMEOUT,
                on_timeout: OnDrainTimeout::Proceed,
            },
            limits: Limits::default(),
            windows: Vec::new(),
            budgets: Vec::new(),
            protect: Vec::new(),
            expiry: None,
            depends_on: Vec::new(),
            suspend: Vec::new(),
            deletion: Deletion::default(),
        }
    }

    /// Returns the suspension of `activity` in force at `now`, if any.
    pub fn suspended(&self, activity: Activity, now: Timestamp) -> Option<&Suspend> {
        self.suspend.iter().find(|suspend| {
            let covers = suspend.what.contains(&activity) || suspend.what.contains(&Activity::All);
            covers && suspend.until.is_none_or(|until| now < until)
        })
    }

    /// Returns which template the replacement of a bad instance gets: unless written, the one that is
    /// rolled out, and in a manual rollout the one that it had.
    pub fn heal_revision(&self) -> HealRevision {
        let by_mode = match self.rollout.mode {
            RolloutMode::Proactive | RolloutMode::Opportunistic => HealRevision::Target,
            RolloutMode::Manual => HealRevision::Current,
        };
        self.heal.revision.unwrap_or(by_mode)
    }

    /// Returns the protection of `instance` from `reason` at `now`, if any.
    pub fn protected(
        &self,
        instance: &InstanceId,
        reason: Reason,
        now: Timestamp,
    ) -> Option<&Protect> {
        self.protect.iter().find(|protect| {
            protect.from.contains(&reason)
                && protect.until.is_none_or(|until| now < until)
                && protect.instances.contains(instance)
        })
    }

    /// Returns how many instances may be made within an hour. Work that comes and goes makes as many
    /// as there is work, so that only a written limit applies to an ephemeral group.
    pub fn create_hourly_max(&self, size: u32) -> u32 {
        let preset = match self.lifecycle {
            Lifecycle::Service => size.saturating_mul(3).saturating_add(10),
            Lifecycle::Ephemeral => u32::MAX,
        };
        self.limits.create_hourly_max.unwrap_or(preset)
    }

    /// Returns how many instances may be ended within an hour without a change that asks for it.
    pub fn destroy_hourly_max(&self, size: u32) -> u32 {
        self.limits
            .destroy_hourly_max
            .unwrap_or_else(|| size.max(defaults::DESTROY_MAX_COUNT))
    }

    /// Returns the time without progress after which a rollout failed.
    pub fn progress_deadline(&self) -> Duration {
        self.rollout.progress_deadline.unwrap_or_else(|| {
            let slowest = self.health.startup_timeout
                + self.rollout.min_ready
                + self.drain.timeout
                + defaults::PROGRESS_SLACK;
            slowest.max(defaults::PROGRESS_DEADLINE_MIN)
        })
    }

    /// Returns how many distinct failures of a new template fail its rollout.
    pub fn failure_threshold(&self, size: u32) -> u32 {
        self.rollout.failure_threshold.unwrap_or_else(|| {
            Amount::Percent(10)
                .ceil_of(size)
                .clamp(1, defaults::FAILURE_THRESHOLD_MAX)
        })
    }

    /// Returns how many instances one change may remove without replacement, of `size` before it.
    pub fn destroy_max(&self, size: u32) -> u32 {
        match self.limits.destroy_max {
            Some(amount) => amount.ceil_of(size),
            None => defaults::DESTROY_MAX_SHARE
                .ceil_of(size)
                .max(defaults::DESTROY_MAX_COUNT),
        }
    }
}
