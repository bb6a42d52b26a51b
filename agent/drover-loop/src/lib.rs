//! The reconcile pass of drover: fetch, observe, decide, plan, apply, record.
//!
//! This crate joins the others and decides only what none of them can: what is in force when
//! documents go bad or away, whether this agent may act at all, in which order things become
//! durable, published and done. It does deliberately not know which providers there are, how a plan
//! comes about, or how bytes reach a remote.
//!
//! Entry points: [`Agent::pass`] makes one pass; [`drive`] puts an agent behind an [`AgentHandle`]
//! and runs pass after pass; [`GitSource`] and [`GitRecorder`] connect it to Git, the types of
//! [`memory`] to tests and the simulator; [`check_repository`] checks documents as the pass does.
//!
//! - **Invariant:** what cannot be read is never taken for absent: not a source, not a document, not
//!   a listing, not the state branch.
//! - **Invariant:** recorded state is durable before anything is done on its strength, and a leaving
//!   instance is published as such before its drain begins.
//! - **Invariant:** one group's failure, panic or slowness delays no other group.
//! - **Invariant:** an agent that does not hold the lease, or holds an older epoch, does nothing.

mod agent;
mod audit;
mod brake;
mod check;
mod cluster;
mod deletion;
mod doubts;
mod entry;
mod facts;
mod first_look;
mod fleet;
mod group;
mod inputs;
mod lease;
mod machine;
mod material;
mod members;
pub mod memory;
mod message;
mod metrics;
mod observe;
mod offload;
mod operations;
mod orphans;
mod outage;
mod quiet;
mod recorder;
mod registry;
mod removals;
mod replay;
mod run;
mod secrets;
mod shares;
mod source;
mod status;
mod store;
mod survey;
mod task;
mod timekeeping;
mod timing;

pub use agent::{Agent, AgentParts, AgentSettings, Contact, Entropy, LivenessProbe, StartError};
pub use audit::{
    AUDIT_FILE, AuditCommit, AuditEntry, AuditError, AuditStep, Auditor, Checked, CommitKind,
    Problem, ProblemKind, Proof, ReadError, ReadFile,
};
pub use brake::FREEZE_FILE;
pub use check::{Asked, check_group, check_provider, check_repository};
pub use deletion::{ComparedDocuments, SeenUnder, doubts_between};
pub use facts::RecordedFacts;
pub use lease::{LEASE_GRACE, Lease, LeaseError, Liveness};
pub use machine::{local_liveness, machine};
pub use members::{MemberState, Membership, PublishedMember};
pub use message::{ACCEPTED_STATE, is_hidden};
pub use metrics::{MetricAsk, MetricReader, MetricStatus, NoMetrics};
pub use operations::{
    LIFETIME_MAX, Memory, OPERATION_COMMITS_MAX, OPERATIONS_BRANCH, OperationRefusal,
    OperationsOptions, OperationsRead, OperationsReader, RefusedOperation, operation_path,
};
pub use orphans::Orphan;
pub use outage::OutageRule;
pub use recorder::{
    ANCHOR_FILE, Anchor, FLEET_FILE, GitRecorder, GitRecorderOptions, Guard, PublishResult,
    PublishWhen, Recorder, RecorderError, Rewrite, StateCommit, Swap,
};
pub use registry::{Allowed, Registry, RegistryError, plugin_type};
pub use replay::{ReplayError, Replayed, replay};
pub use run::{AgentHandle, Driver, Ended, PASS_GAP, drive};
pub use source::{
    Authored, Awaited, FileChange, GitSource, History, Operations, PassedDocument, PathRule,
    RefusedFile, SharedRefs, Snapshot, Source, SourceCommit, SourceError, SourceFile, SourceFiles,
    SourcePlace, SourceTree, Verification, VerifyMode, Writers, Written, chain,
};
pub use status::{
    AgentStatus, GroupReport, GroupStatus, OperationsStatus, PassReport, ProviderStatus,
    SourceStatus, StepFate, StepReport, WriteBackStatus,
};
pub use store::{Freeze, StoreError};
pub use task::{Keep, Mode};
pub use timekeeping::{LEAP_MIN, STEP_SETTLE, STEP_TOLERANCE};
pub use timing::PassLimits;
