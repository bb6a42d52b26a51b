//! The contract between the agent and whatever makes machines: the [`Provider`] trait, the
//! preparation of instances by flavors, and the conformance suite that every provider passes.
//!
//! This crate knows nothing of plans, Git or policies. A provider knows nothing of groups' sizes or
//! rollouts: it makes, lists and ends instances, and says truthfully what it knows.
//!
//! **Invariant:** a provider never turns an error into an empty listing, and never touches an
//! instance that does not carry the ownership it was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drover_model::{
    Attachment, CheckOutcome, Digests, Epoch, ErrorClass, FleetName, GroupName, InPlace,
    InstanceId, Listing, ProviderName, ProviderRef, ProviderType, Seat, SeatId, SecretRef, Survey,
    Timestamp, Token, Value,
};

pub mod conformance;
mod fingerprint;
mod flavor;
mod flavors;
mod forwarding;
mod offers;
mod schema;
mod secrets;
mod user_data;

pub use fingerprint::{fingerprint, is_fingerprint, is_repeated};
pub use flavor::{
    Facts, PrepareError, Prepared, SubstitutionError, asks_for_address, escaped, escaped_value,
    finish, needs_address, prepare, refuse_attachments, substitute, substitute_map,
    substitute_value, unknown_substitutions,
};
pub use flavors::{
    Allocation, ClusterHealth, ClusterJoin, ClusterMember, ClusterReport, ClusterView, FlavorCall,
    FlavorIndex, FlavorInstance, FlavorPrepared, FlavorRequest, FlavorSpec, FlavorSubject, Flavors,
    NoFlavors,
};
pub use forwarding::{Forward, Forwarding, Refusing};
pub use offers::OptionalMethod;
pub use schema::{
    AddressRule, AdoptRule, CheckRule, Demand, Field, FieldPart, Form, GroupRules, InitRule,
    ListShape, MemberRule, Mistake, ObjectSchema, Others, Pattern, Rules, SchemaError, Shape,
    Unique, Way, When, ZoneRule, parse_duration,
};
pub use secrets::{NoSecrets, SecretError, SecretSource, SecretText, Secrets, references};
pub use user_data::{USER_DATA_MAX, init_length, interpreter, is_shell, is_user_data, user_data};

/// Makes, lists, changes and ends instances in one scope: one Provider document of one fleet.
///
/// # Guarantees
///
/// - **Listing.** [`list`](Self::list) returns every instance that carries the fleet's ownership
///   tags in this scope, or says that it is partial, or fails. Never an empty list for an error.
///   An instance that ended by itself is listed, as `Exited`, until it is destroyed. Each instance is in a
///   listing once, however many pages it was read in, and also while others are made and end.
/// - **Provision.** One token makes at most one set of instances. A repeated call with the same
///   token and parameters makes nothing new and returns the same handles; it does what an earlier one left undone. With
///   other parameters it makes nothing (`InvalidSpec`). Parameters are what [`fingerprint`] is of: owner, epoch, digests, zone,
///   and of each slot the instance, its place, init, environment, tags and attachments, and the properties, as they were
///   asked for. What a caller cannot give twice is none: the values of secrets, which may have changed since, addresses that
///   were filled in, and the urgency. An
///   instance that was not finished is listed as `Pending`, unless all that it lacks are the attachments of its place. Ownership tags are on the
///   instance from the moment it can be listed, and so are the tags of its slot, which a survey finds it by.
/// - **Destroy.** Idempotent: destroying what is gone succeeds. `Ok` means that the end was
///   accepted, not that it has happened: until it has, the instance is listed as `Stopping`. An
///   instance whose token differs from the request's is left alone (`NotFound`).
/// - **Update.** One token changes an instance at most once: a repeated call does nothing more. `Ok`
///   means that the change was accepted; until it has happened, the instance is listed with the digests
///   that it had, and from then on with those of the request, so that it is one or the other and says
///   which. A restart with the digests that it has already is listed as `Pending` instead, from `Ok` on
///   until it runs again. Id, handle, token, address and data stay. A restart ends what runs, as a destroy would, and
///   starts it with the new fields; a live change interrupts nothing. An instance whose token differs
///   from the request's is left alone (`NotFound`), and so is one that is gone or ending. What cannot be
///   changed in place is refused with `InvalidSpec`: never for the class of a field that the schema declares.
/// - **Attachments.** What is attached to a place of a group's life belongs to one instance at a time:
///   a provision for a place whose holder is not gone makes nothing. It outlives its holder, and the
///   listing names every place that has something attached. A place has the same address in every
///   instance that takes it, and its peers' addresses are known before they exist: once reserved, or
///   named as a member in a provision, the listing has its address. A provider that cannot attach
///   refuses with `InvalidSpec`.
/// - **Adoption.** [`survey`](Self::survey) returns every instance of the scope that has all of the tags and
///   carries no ownership tags of any fleet, or says that it is partial, or fails. [`adopt`](Self::adopt) puts
///   ownership tags on such an instance and changes nothing else: its other tags stay, and it goes on running. From
///   then on [`list`](Self::list) has it with that ownership. An instance that carries other ownership tags, or that
///   somebody else still acts on, is refused with `InvalidSpec`; adopting again with the same ownership succeeds.
/// - **Release.** [`release`](Self::release) takes the ownership tags off and changes nothing else: the instance runs on, no
///   listing has it as the fleet's any more, and it cannot be destroyed (`NotFound`). Repeated, or of what is gone, it succeeds
///   or is `NotFound`; so it is for another fleet, and then leaves the tags on.
/// - **Asking.** [`check`](Self::check), [`health`](Self::health) and [`logs`](Self::logs) change nothing. A check passes when
///   its command ends with success within the limit, and in no other case; a failure says why. What is gone or never was is never
///   passing for long: it is failing, unknown or `NotFound`. Logs are the last lines, as many as asked for at most; of what never was
///   they are `NotFound`.
/// - **Offers.** [`offers`](Self::offers) names the optional methods that the provider has. The others answer as the
///   defaults do: `InvalidSpec`, and for a check or health `Unknown`.
/// - **Independence.** Instances outlive the agent and the `Provider` value.
///
/// # Assumptions
///
/// - Only one agent with the current epoch calls the mutating functions for one group.
/// - The caller has written its intent down before it calls.
/// - The caller bounds each call by a time limit and may drop the future.
///
/// # Errors
///
/// Every error has an [`ErrorClass`]. `Unknown` means that the call may have taken effect: the caller
/// repeats it with the same token, a provision also while its instances are listed, as long as one of them is `Pending` or
/// its place has attachments. Every other class means that nothing was changed.
///
/// # Cancellation
///
/// A dropped future leaves either nothing or a complete effect, which the next listing shows.
#[async_trait]
pub trait Provider: Send + Sync + fmt::Debug {
    /// Returns what the provider is and what its properties mean.
    fn manifest(&self) -> &Manifest;

    /// Returns which of the optional methods it has. The default says none: with each of them it is overridden too.
    fn offers(&self) -> BTreeSet<OptionalMethod> {
        BTreeSet::new()
    }

    /// Lists the fleet's instances of every group in this scope.
    async fn list(&self, fleet: &FleetName) -> Result<Listing, ProviderError>;

    /// Makes the instances of one batch.
    async fn provision(&self, request: &ProvisionRequest) -> Result<Provisioned, ProviderError>;

    /// Ends an instance: asks it to stop, waits up to the grace period, then kills it. Returns as
    /// soon as the end was accepted.
    async fn destroy(&self, request: &DestroyRequest) -> Result<(), ProviderError>;

    /// Makes the place of a member, if it is missing, and returns its address: what every instance that
    /// takes it will have. Makes no instance; repeated calls return the same. The default says that this
    /// provider knows no address before there is an instance.
    async fn reserve(&self, _request: &ReserveRequest) -> Result<String, ProviderError> {
        Err(ProviderError::new(
            ErrorClass::InvalidSpec,
            "this provider knows no addresses before there are instances",
        ))
    }

    /// Changes the fields of an instance without replacing it. Returns as soon as the change was
    /// accepted. The default says that this provider cannot, so that instances are replaced.
    async fn update(&self, _request: &UpdateRequest) -> Result<(), ProviderError> {
        Err(ProviderError::new(
            ErrorClass::InvalidSpec,
            "this provider changes nothing in place",
        ))
    }

    /// Takes the ownership tags off an instance and leaves it running.
    async fn release(&self, fleet: &FleetName, instance: &ProviderRef)
    -> Result<(), ProviderError>;

    /// Lists the instances of this scope that have all of `tags` and carry no ownership tags of any fleet. The
    /// default says that this provider has no instances that others made.
    async fn survey(&self, _tags: &BTreeMap<String, String>) -> Result<Survey, ProviderError> {
        Err(ProviderError::new(
            ErrorClass::InvalidSpec,
            "this provider has no instances that others made, so there is nothing to adopt",
        ))
    }

    /// Puts ownership tags on an instance that carries none. The default says that this provider cannot.
    async fn adopt(&self, _request: &AdoptRequest) -> Result<(), ProviderError> {
        Err(ProviderError::new(
            ErrorClass::InvalidSpec,
            "this provider cannot put tags on instances that others made",
        ))
    }

    /// Runs a command inside the instance, as a health check. The default says that this provider
    /// cannot, which leaves the check unknown.
    async fn check(
        &self,
        _instance: &ProviderRef,
        _command: &[String],
        _timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        Ok(CheckOutcome::Unknown {
            why: "this provider runs no commands in its instances".to_owned(),
        })
    }

    /// Returns what the provider knows of the instance's health beside that it runs, such as the outcome
    /// of a check that the machine or container runs itself. `timeout` is how long an answer may take.
    /// The default says that this provider knows nothing, which leaves the check unknown.
    async fn health(
        &self,
        _instance: &ProviderRef,
        _timeout: Duration,
    ) -> Result<CheckOutcome, ProviderError> {
        Ok(CheckOutcome::Unknown {
            why: "this provider says nothing of its instances' health".to_owned(),
        })
    }

    /// Returns the last `lines` lines that the instance printed, oldest first.
    async fn logs(&self, _instance: &ProviderRef, _lines: usize) -> Result<String, ProviderError> {
        Err(ProviderError::new(
            ErrorClass::InvalidSpec,
            "this provider keeps no logs",
        ))
    }
}

/// Makes providers of one type. Registered by the binary, by type.
pub trait ProviderFactory: Send + Sync + fmt::Debug {
    /// Returns what the type is and what its properties and settings mean.
    fn manifest(&self) -> &Manifest;

    /// Opens the scope that a Provider document describes. `settings` were checked against
    /// [`Manifest::settings`].
    fn open(
        &self,
        name: &ProviderName,
        settings: &Value,
    ) -> Result<Arc<dyn Provider>, ProviderError>;

    /// Returns what one Provider document takes, where a program of its own knows more of it than the
    /// type does, and is asked. Makes nothing. None, as the default says: [`Self::manifest`] says everything.
    ///
    /// # Errors
    ///
    /// `InvalidSpec`: such a document can never be used. Any other: it cannot be asked now.
    fn describe(
        &self,
        _name: &ProviderName,
        _settings: &Value,
    ) -> Result<Option<Described>, ProviderError> {
        Ok(None)
    }

    /// Returns the setting, as a path, in which two documents of one name lead to different places, so that instances of
    /// the one are not to be found with the other. None: they are the same place. Asks nobody; what cannot be told counts
    /// as another place. The default goes by [`Manifest::settings`]: every field counts whose class is not `ignore`.
    fn moved(&self, before: &Value, after: &Value) -> Option<String> {
        self.manifest().settings.differing(before, after)
    }
}

/// What one Provider document takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// What `template.properties` may hold, with the class of each field.
    pub properties: ObjectSchema,
    /// What is wrong with the document's settings.
    pub mistakes: Vec<Mistake>,
}

impl Described {
    /// Says what a program takes, and what it finds wrong with its own settings, which are the document's `settings`.
    pub fn of_program(properties: ObjectSchema, mistakes: Vec<Mistake>) -> Self {
        let below = |mistake: Mistake| Mistake {
            path: match mistake.path.as_str() {
                "" => "settings".to_owned(),
                path => format!("settings.{path}"),
            },
            ..mistake
        };
        Self {
            properties,
            mistakes: mistakes.into_iter().map(below).collect(),
        }
    }
}

/// Where times come from. The binary passes the system's clock, tests and the simulator their own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the time.
    fn now(&self) -> Timestamp;
}

/// What a provider type is.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The type's name, as written in Provider documents.
    pub type_: ProviderType,
    /// What `template.properties` may hold, with the class of each field.
    pub properties: ObjectSchema,
    /// What a Provider document may hold beside `type`.
    pub settings: ObjectSchema,
    /// Most slots in one provision call, at least 1.
    pub batch_max: u32,
    /// How long an acknowledged instance may be missing from listings.
    pub visibility: Duration,
    /// What becomes of init.
    pub init: InitUse,
    /// What becomes of attachments.
    pub attachments: AttachmentUse,
}

/// What a provider makes of the init of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitUse {
    /// It runs it as shell lines. User data is refused.
    ShellLines,
    /// It hands it over as the user data of the instance, whatever it is.
    UserData,
}

/// What a provider makes of the attachments of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachmentUse {
    /// It attaches nothing that has an id of its own, and refuses them.
    Refused,
    /// It hands them over to what makes the instance, which attaches them.
    HandedOver,
}

/// One provision call: one to n instances with identical parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct ProvisionRequest {
    /// The idempotency token of the whole call.
    pub token: Token,
    /// The owner.
    pub fleet: FleetName,
    /// The group.
    pub group: GroupName,
    /// The epoch of the agent.
    pub epoch: Epoch,
    /// The digests for the ownership tags.
    pub digests: Digests,
    /// The zone to make them in, and to list them with. None: the provider chooses.
    pub zone: Option<String>,
    /// The instances, in launch order. Instances with init or environment of their own are batches
    /// of one.
    pub slots: Vec<Slot>,
    /// The provider's own properties, substituted. References to secrets stand in them: [`finish`]
    /// and [`Secrets::reveal`] put the values in, at the last moment.
    pub properties: Value,
    /// The values of the secrets that slots and properties name.
    pub secrets: Secrets,
    /// What the instances are for. No parameter: a repeated call may have another one and makes the same.
    pub urgency: Urgency,
    /// The [`fingerprint`] of the call as its first caller made it, where values of secrets stand in it by now. None: it is
    /// made here.
    pub asked: Option<String>,
}

/// What instances are made for: of calls that wait for an API's limit, the more urgent go first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// They take the places of instances that still serve: of another template, too old, in a full zone.
    Roll,
    /// The group grows.
    #[default]
    Scale,
    /// The group had them before, and they are missing.
    Heal,
}

impl Urgency {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Roll, Self::Scale, Self::Heal];

    /// Returns the name in the plugin protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Roll => "roll",
            Self::Scale => "scale",
            Self::Heal => "heal",
        }
    }
}

/// One instance of a provision call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Our id.
    pub instance: InstanceId,
    /// Shell lines to run before the command; or, where [`is_user_data`] says so, one document of user
    /// data for cloud-init.
    pub init: Vec<String>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// What of the environment is secret. No name is in both.
    pub secrets: BTreeMap<String, SecretRef>,
    /// Tags beside the ownership tags.
    pub tags: BTreeMap<String, String>,
    /// What is attached to it, in this order. A provider that is [`AttachmentUse::Refused`] refuses any with
    /// `InvalidSpec`, by [`refuse_attachments`].
    pub attachments: Vec<Attachment>,
    /// Whose place it takes in a quorum group, and what is attached to that place. Such an instance is
    /// a batch of its own.
    pub seat: Option<Box<Seat>>,
}

/// What a provision call made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provisioned {
    /// The handles by our id. Fewer than asked for: the rest was not made.
    pub made: BTreeMap<InstanceId, ProviderRef>,
    /// Why the rest was not made.
    pub shortfall: Option<ProviderError>,
}

/// Whose place to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReserveRequest {
    /// The owner.
    pub fleet: FleetName,
    /// The group.
    pub group: GroupName,
    /// The place.
    pub seat: SeatId,
}

/// Which instance to take over, and what it is from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptRequest {
    /// The owner.
    pub fleet: FleetName,
    /// The group.
    pub group: GroupName,
    /// The epoch of the agent.
    pub epoch: Epoch,
    /// The provider's handle.
    pub provider_ref: ProviderRef,
    /// Our id from now on.
    pub instance: InstanceId,
    /// The token that the instance carries from now on.
    pub token: Token,
    /// The digests for the ownership tags.
    pub digests: Digests,
    /// Whose place it takes in a quorum group.
    pub seat: Option<SeatId>,
}

/// What to end, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestroyRequest {
    /// The owner.
    pub fleet: FleetName,
    /// The group.
    pub group: GroupName,
    /// The epoch of the agent.
    pub epoch: Epoch,
    /// Our id.
    pub instance: InstanceId,
    /// The provider's handle.
    pub provider_ref: ProviderRef,
    /// The token that the instance must carry.
    pub token: Token,
    /// How long it may take to end by itself.
    pub grace: Duration,
    /// Whether another one takes its place. No parameter: a repeated call may say another word and ends the same.
    pub ending: Ending,
}

/// Why an instance ends, as far as a provider may want to know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ending {
    /// It still serves, and another one takes its place: of another template, a younger one, in another zone.
    Replaced,
    /// It is not wanted, or does not work.
    #[default]
    Removed,
}

/// What an instance becomes without being replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateRequest {
    /// The owner.
    pub fleet: FleetName,
    /// The group.
    pub group: GroupName,
    /// The epoch of the agent.
    pub epoch: Epoch,
    /// The provider's handle.
    pub provider_ref: ProviderRef,
    /// The token that the instance must carry, which it keeps.
    pub token: Token,
    /// The idempotency token of the call.
    pub update: Token,
    /// How: what asks for a restart is never changed live.
    pub how: InPlace,
    /// The digests for the ownership tags.
    pub digests: Digests,
    /// The instance, with what it would be made with now.
    pub slot: Slot,
    /// The provider's own properties, substituted, with references to secrets in them.
    pub properties: Value,
    /// The values of the secrets that slot and properties name.
    pub secrets: Secrets,
    /// How long it may take to end by itself before a restart kills it.
    pub grace: Duration,
}

/// Why a provider call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    /// What the caller should make of it.
    pub class: ErrorClass,
    /// What happened, for people: what was attempted, and what was said.
    pub message: String,
}

impl ProviderError {
    /// Makes an error.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
        }
    }
}
