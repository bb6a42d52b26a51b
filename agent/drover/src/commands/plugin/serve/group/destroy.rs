//! `DestroyInstances` through Git: the named instances are to go first, by signed operations, and then the group gets
//! smaller by as many, by a commit to the source.
//!
//! In this order nothing goes wrong between the two, nor when the second one fails: an operation `yield` does nothing
//! by itself. The commit is made only once the agent has taken the operations up, so that there is no moment at which
//! it knows the smaller size and not whom to take.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_git::{CommitKey, SigningKey};
use drover_model::{
    FleetName, Group, GroupName, InstanceClass, InstanceId, Manage, OrderState, OrderVerb, Reason,
    RecordedGroup, RecordedInstance, RecordedOrder, Timestamp, counted, plural,
};
use drover_spec::edit;
use drover_spec::operation::{Asked, Operation};

use super::{AgentGroups, PASS, document, held, in_force, parsed};
use crate::agent::client::AgentClient;
use crate::documents::Documents;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::operations::{self, Signed};
use crate::snapshot::{Origin, Repository, Snapshot};
use crate::source_edit::{self, Edited, Mode};
use crate::view;

/// Why the operations are asked, for everyone who wonders.
const BECAUSE: &str = "InfraKit's DestroyInstances asked for it";

/// How long the agent may take to take operations up: several passes, should its source be slow.
const TAKEN_UP: Duration = Duration::from_secs(30);

/// Between two passes that are asked for.
const PAUSE: Duration = Duration::from_millis(200);

/// What commits and operations are signed with.
#[derive(Debug)]
pub(super) struct Signing {
    pub(super) commits: Arc<CommitKey>,
    pub(super) key: SigningKey,
    /// How long operations count.
    pub(super) counts: Duration,
}

/// Who is to go, and what of the group that rests on.
#[derive(Debug, PartialEq, Eq)]
struct Chosen {
    group: GroupName,
    instances: BTreeSet<InstanceId>,
    /// The size that the document in force has.
    size: u32,
}

impl AgentGroups {
    /// Ends the instances with these handles, and makes their group smaller by as many.
    pub(super) fn destroy_instances(&self, id: &str, handles: &[String]) -> CommandResult<()> {
        let Some(signing) = &self.signing else {
            return Err(CommandError::new(
                "no key to sign with is named: `drover plugin serve group` needs --key, or `key` in the agent's file, to end instances by their handles",
            ));
        };
        // Two calls at once would count from the same size.
        let _turn = held(&self.turn);
        let group = parsed(id)?;
        let snapshot = self.snapshot()?;
        let chosen = chosen(&snapshot, &group, handles)?;
        if chosen.instances.is_empty() {
            return Ok(());
        }
        let repository = Repository::open(&self.settings)?;
        // What would refuse the commit is found before anything is asked.
        self.shrink(&repository, &chosen, &Mode::DryRun)?;
        let signed = operations_of(&chosen, signing, &snapshot)?;
        operations::publish(&repository.mirror, &signed)?;
        let done = self
            .wait_taken_up(&chosen, handles, &signed)
            .and_then(|()| self.shrink(&repository, &chosen, &Mode::Write))
            .map_err(|error| left_behind(error, &chosen, &signed))?;
        self.follow(&repository, &group, &done)
    }

    /// Commits the smaller size, if the branch still has the one that the agent knows.
    fn shrink(
        &self,
        repository: &Repository,
        chosen: &Chosen,
        mode: &Mode,
    ) -> CommandResult<Edited> {
        let Chosen {
            group,
            instances,
            size,
        } = chosen;
        let left = size.saturating_sub(instances.len() as u32);
        let names = names(instances);
        let message = format!("{group}: scale to {left}\n\nWithout {names}: {BECAUSE}.");
        let target = self.target(repository);
        let author = self.author(&message)?;
        let _writing = held(&self.writing);
        source_edit::edit_group(target, group, &author, mode, &|text| {
            let written = document::parsed(text, group);
            if written.map(|group| group.spec.size) != Some(*size) {
                return Err(CommandError::new(format!(
                    "somebody else is changing the size of group {group}: ask again"
                )));
            }
            edit::set_size(text, group, left).map_err(|error| {
                CommandError::new(format!("cannot change group {group}")).because(error)
            })
        })
    }

    /// Waits until the agent has taken up every operation, and nothing that they rest on has changed.
    fn wait_taken_up(
        &self,
        chosen: &Chosen,
        handles: &[String],
        signed: &[Signed],
    ) -> CommandResult<()> {
        let deadline = Instant::now() + TAKEN_UP;
        loop {
            let client = AgentClient::connect(&self.settings.data_dir);
            // A pass that takes too long is seen below, by what it has not brought.
            if let Ok(client) = client
                && let Err(error) = client.reconcile(PASS)
            {
                tracing::debug!(%error, "no pass to take operations up");
            }
            let snapshot = self.snapshot()?;
            if taken_up(&snapshot, &chosen.group, signed)? {
                let again = self::chosen(&snapshot, &chosen.group, handles)?;
                if again == *chosen {
                    return Ok(());
                }
                let group = &chosen.group;
                let message = format!("group {group} has changed in the meantime: ask again");
                return Err(CommandError::new(message));
            }
            if Instant::now() >= deadline {
                return Err(CommandError::new(untaken(&snapshot)));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Finds whom the handles mean. Everything that stands against their end is told now, before anything is written.
fn chosen(snapshot: &Snapshot, group: &GroupName, handles: &[String]) -> CommandResult<Chosen> {
    let recorded = snapshot.group(group)?;
    let document = in_force(recorded);
    let document = document
        .ok_or_else(|| CommandError::new(format!("group {group} has no document in force")))?;
    let refused = |why: String| Err(CommandError::new(format!("group {group} {why}")));
    if let Some(why) = unfit(snapshot, recorded, &document) {
        return refused(why);
    }
    let by_handle: BTreeMap<String, (&InstanceId, &RecordedInstance)> = recorded
        .instances
        .iter()
        .filter_map(|(id, one)| Some((one.provider_ref.as_ref()?.to_string(), (id, one))))
        .collect();
    let mut instances = BTreeSet::new();
    for handle in handles {
        let Some((id, instance)) = by_handle.get(handle) else {
            return refused(format!("has no instance {handle}"));
        };
        if let Some(why) = stays(recorded, &document, id, instance) {
            return refused(format!("cannot end {id} ({handle}): {why}"));
        }
        instances.insert((*id).clone());
    }
    let other = open_orders(recorded, OrderVerb::Yield)
        .find(|order| !instances.contains(&order.order.instance));
    if let Some(RecordedOrder { order, .. }) = other {
        let (id, by, until) = (&order.instance, &order.signer, view::seconds(order.expires));
        return refused(format!(
            "has {id} go first when it gets smaller, which {by} asked for until {until}: end that one too, or take it back with `drover keep {id} --release`"
        ));
    }
    let (size, count) = (document.spec.size, instances.len() as u32);
    let most = document.spec.destroy_max(size);
    if count > most {
        return refused(format!(
            "may lose {} by one change, and {} named: `limits.maxDestroy` says so",
            counted(most, "instance"),
            plural(count, "is", "are")
        ));
    }
    Ok(Chosen {
        group: group.clone(),
        instances,
        size,
    })
}

/// Returns why no instance of a group can be ended by its handle.
fn unfit(snapshot: &Snapshot, recorded: &RecordedGroup, document: &Group) -> Option<String> {
    let spec = &document.spec;
    if recorded.deleting.is_some() {
        return Some("is being removed".to_owned());
    }
    if spec.quorum.is_some() {
        return Some(
            "has members, which its document names: take them out of `members`".to_owned(),
        );
    }
    if spec.manage == Manage::Observe {
        return Some("is only watched (`manage: observe`)".to_owned());
    }
    let (policies, _) = Documents::from_recorded(snapshot.fleet.as_ref()).compile_policies();
    if policies.has_size_policy(&document.labels) {
        return Some(
            "has a size that a policy decides: `drover yield` says whom it takes first".to_owned(),
        );
    }
    // With more or fewer of them others would go, or not all of these. So it is, too, while a call that is repeated is
    // still at work.
    let there = recorded.instances.values().filter(|one| is_member(one));
    let there = there.count() as u32;
    (there != spec.size || recorded.size != spec.size).then(|| {
        format!(
            "has {} for a size of {}: ask again when the agent is done with that",
            plural(there, "instance that stays,", "instances that stay,"),
            spec.size
        )
    })
}

/// Returns whether an instance counts towards the size and is not on its way out.
fn is_member(instance: &RecordedInstance) -> bool {
    let ends = instance.class == InstanceClass::Terminating.as_str();
    instance.kept.is_none() && !instance.draining && !ends
}

/// Returns why an instance would not be ended for a smaller size.
fn stays(
    recorded: &RecordedGroup,
    document: &Group,
    id: &InstanceId,
    instance: &RecordedInstance,
) -> Option<String> {
    if instance.kept.is_some() {
        return Some("it is kept for people to look at, and another one has its place".to_owned());
    }
    if !is_member(instance) {
        return Some("it is on its way out already".to_owned());
    }
    let mut kept = open_orders(recorded, OrderVerb::Keep);
    if let Some(RecordedOrder { order, .. }) = kept.find(|known| known.order.instance == *id) {
        let (by, because) = (&order.signer, &order.because);
        let until = view::seconds(order.expires);
        return Some(format!("{by} keeps it until {until}: {because}"));
    }
    let protect = document
        .spec
        .protected(id, Reason::ScaleIn, Timestamp::now())?;
    Some(match &protect.because {
        Some(because) => format!("the document protects it: {because}"),
        None => "the document protects it".to_owned(),
    })
}

fn open_orders(recorded: &RecordedGroup, verb: OrderVerb) -> impl Iterator<Item = &RecordedOrder> {
    let now = Timestamp::now();
    let open = move |known: &&RecordedOrder| known.is_open(now) && known.order.verb == verb;
    recorded.orders.iter().filter(open)
}

/// Signs one operation for each instance.
fn operations_of(
    chosen: &Chosen,
    signing: &Signing,
    snapshot: &Snapshot,
) -> CommandResult<Vec<Signed>> {
    let Origin::Agent { status, .. } = &snapshot.origin else {
        return Err(CommandError::new("no agent runs"));
    };
    let fleet = FleetName::parse(&status.fleet).context("cannot tell the agent's fleet")?;
    let now = Timestamp::now().as_second();
    let at = Timestamp::from_second(now).context("cannot tell the time")?;
    let expires = at.checked_add(signing.counts);
    let expires = expires.context("--expires is beyond all times")?;
    let sign = |instance: &InstanceId| {
        let operation = Operation {
            asked: Asked::Instance {
                verb: OrderVerb::Yield,
                instance: instance.clone(),
            },
            fleet: fleet.clone(),
            group: chosen.group.clone(),
            at,
            expires,
            because: BECAUSE.to_owned(),
        };
        operations::signed(&signing.key, operation)
    };
    chosen.instances.iter().map(sign).collect()
}

/// Returns whether the agent has taken up every operation.
///
/// # Errors
///
/// It has refused one, and says why.
fn taken_up(snapshot: &Snapshot, group: &GroupName, signed: &[Signed]) -> CommandResult<bool> {
    if let Origin::Agent { status, .. } = &snapshot.origin {
        let ours = |path: &String| signed.iter().any(|one| one.path == *path);
        let mut refused = status.refused_operations.iter();
        if let Some(refused) = refused.find(|refused| ours(&refused.path)) {
            let why = &refused.why;
            return Err(CommandError::new(format!(
                "the agent does not listen to whom the key belongs to: {why}"
            )));
        }
    }
    let recorded = snapshot.group(group)?;
    for one in signed {
        let Asked::Instance { verb, instance } = &one.operation.asked else {
            continue;
        };
        let mut orders = recorded.orders.iter();
        let known = orders.find(|known| {
            let order = &known.order;
            order.verb == *verb && order.instance == *instance && order.at == one.operation.at
        });
        match known.map(|known| &known.state) {
            None => return Ok(false),
            Some(OrderState::Open) => {}
            Some(OrderState::Refused { why }) => {
                let message = format!("the agent does not have {instance} go: {why}");
                return Err(CommandError::new(message));
            }
            Some(OrderState::Done | OrderState::Superseded) => {
                let message = format!("something else became of {instance} in the meantime");
                return Err(CommandError::new(message));
            }
        }
    }
    Ok(true)
}

/// Says why operations may not have been taken up.
fn untaken(snapshot: &Snapshot) -> String {
    let why = match &snapshot.origin {
        Origin::Agent { status, .. } => status.operations_error.clone(),
        Origin::Branch => None,
    };
    let why = why.unwrap_or_else(|| {
        "has it `signers`, can it read its source, and is it not frozen?".to_owned()
    });
    format!(
        "the agent has not taken the operations up within {}s: {why}",
        TAKEN_UP.as_secs()
    )
}

/// Says what is left when the group has not become smaller, or nobody knows whether it has. It is not taken back:
/// should the smaller size be there, others would go.
fn left_behind(error: CommandError, chosen: &Chosen, signed: &[Signed]) -> CommandError {
    let names = names(&chosen.instances);
    let expires = signed.iter().map(|one| one.operation.expires).max();
    let until = expires.map_or_else(String::new, |at| format!(" until {}", view::seconds(at)));
    let back = chosen.instances.iter();
    let back = back.map(|id| format!("`drover keep {id} --release`"));
    let back: Vec<String> = back.collect();
    CommandError::new(format!(
        "nobody is ended as far as is known, but should the group get smaller{until}, {names} would go first ({} takes it back)",
        back.join(", ")
    ))
    .because(error)
}

fn names(instances: &BTreeSet<InstanceId>) -> String {
    let names: Vec<String> = instances.iter().map(ToString::to_string).collect();
    names.join(", ")
}
