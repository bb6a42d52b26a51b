//! Recorded state to YAML trees.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    AcceptedDocument, Approval, ApprovedChange, ChangeId, Condition, Deleting, ErrorClass,
    FieldClass, Heeded, IgnoredDifference, Kept, Kind, LaunchBackoff, MemberId, Order, OrderState,
    PauseCause, Proving, Quarantine, RateSlot, RecordedGroup, RecordedInstance, RecordedOrder,
    RecordedProvider, RecordedQuorum, RecordedStranger, Resize, Revision, Rollout, RolloutStages,
    RolloutState, Settled, SpentApprovals, Template, Timestamp, UpDown,
};

use super::write::{MapOf, Yaml};
use super::{AcceptedRewrite, FORMAT, RecordedFleet, hold};
use crate::document::API_VERSION;
use crate::formats::format_time;

pub(crate) const GROUP_KIND: &str = "GroupState";
pub(crate) const FLEET_KIND: &str = "FleetState";

pub(crate) fn header(kind: &str) -> MapOf {
    MapOf::new()
        .text("apiVersion", API_VERSION)
        .text("kind", kind)
        .number("format", FORMAT)
}

/// Encodes a group. What people look for comes first, what only the agent needs last.
pub(crate) fn group(group: &RecordedGroup) -> Yaml {
    let metadata = MapOf::new()
        .text("name", &group.name)
        .text("uid", &group.uid)
        .number("epoch", group.epoch.0)
        .build();
    let destroyed = group.destroyed.as_ref().map(|(change, count)| {
        MapOf::new()
            .text("change", change)
            .number("count", *count)
            .build()
    });
    let templates = group.templates.iter();
    header(GROUP_KIND)
        .with("metadata", metadata)
        .text("phase", group.phase.as_str())
        .number("size", group.size)
        .number("stableSize", group.stable_size)
        .optional_text("change", group.change.as_ref())
        .optional_text("target", group.target.as_ref())
        .optional_text("stable", group.stable.as_ref())
        .with("conditions", conditions(group))
        .with(
            "holds",
            Yaml::List(group.holds.iter().map(hold::encode_held).collect()),
        )
        .optional("ignored", ignored(group))
        .optional("rollout", group.rollout.as_ref().map(rollout))
        .optional("proving", group.proving.as_ref().map(proving))
        .optional("quarantine", group.quarantine.as_ref().map(quarantine))
        .optional("backoff", group.backoff.as_ref().map(backoff))
        .optional("cooling", cooling(&group.cooling))
        .optional("resizes", resizes(&group.resizes))
        .optional("shrunk", shrunk(&group.shrunk))
        .optional("destroyed", destroyed)
        .optional("rates", rates(&group.rates))
        .optional("deleting", group.deleting.as_ref().map(deleting))
        .with("instances", instances(group))
        .optional("strangers", strangers(group))
        .optional("adopted", group.adopted.as_ref().and_then(texts))
        .optional("quorum", group.quorum.as_ref().map(quorum))
        .number("nextNumber", group.next_number)
        .optional("accepted", group.accepted.as_ref().map(accepted))
        .optional("approved", group.approved.as_ref().map(approved))
        .optional("spent", spent(&group.spent))
        .optional("heeded", heeded(&group.heeded))
        .optional("settled", group.settled.as_ref().map(settled))
        .optional("orders", orders(&group.orders))
        .optional("provider", group.provider.as_ref().map(provider))
        .with(
            "templates",
            Yaml::Map(
                templates
                    .map(|(digests, value)| (digests.to_string(), template(value)))
                    .collect(),
            ),
        )
        .build()
}

fn conditions(group: &RecordedGroup) -> Yaml {
    let condition = |condition: &Condition| {
        let status = match condition.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        MapOf::new()
            .text("status", status)
            .text("reason", &condition.reason)
            .text("message", &condition.message)
            .text("since", &format_time(condition.since))
            .build()
    };
    let conditions = group.conditions.iter();
    Yaml::Map(
        conditions
            .map(|(type_, value)| (type_.as_str().to_owned(), condition(value)))
            .collect(),
    )
}

fn rates(slots: &[RateSlot]) -> Option<Yaml> {
    let slot = |slot: &RateSlot| {
        MapOf::new()
            .text("since", &format_time(slot.since))
            .number("created", slot.created)
            .number("destroyed", slot.destroyed)
            .number("size", slot.size)
            .build()
    };
    (!slots.is_empty()).then(|| Yaml::List(slots.iter().map(slot).collect()))
}

fn rollout(rollout: &Rollout) -> Yaml {
    let (state, paused) = match &rollout.state {
        RolloutState::Progressing => ("Progressing", None),
        RolloutState::Paused(cause) => ("Paused", Some(pause_cause(cause))),
    };
    let failures = rollout.failures.iter().map(Yaml::text).collect();
    let forgiven = rollout.forgiven.iter().map(Yaml::text);
    let forgiven = (!rollout.forgiven.is_empty()).then(|| Yaml::List(forgiven.collect()));
    MapOf::new()
        .text("state", state)
        .optional("paused", paused)
        .text("target", &rollout.target)
        .text("startedAt", &format_time(rollout.started_at))
        .text("progressedAt", &format_time(rollout.progressed_at))
        .optional(
            "clockStoodStill",
            rollout.clock_stood_still.then(|| Yaml::flag(true)),
        )
        .with("failures", Yaml::List(failures))
        .optional("forgiven", forgiven)
        .optional_text("lastFailure", rollout.last_failure.as_ref())
        .optional("stages", stages(&rollout.stages))
        .optional_text("refused", rollout.refused.as_ref())
        .build()
}

fn proving(proving: &Proving) -> Yaml {
    let members = proving.members_before.iter().map(Yaml::text);
    let members = (!proving.members_before.is_empty()).then(|| Yaml::List(members.collect()));
    MapOf::new()
        .text("before", &proving.before)
        .number("sizeBefore", proving.size_before)
        .optional("membersBefore", members)
        .text("until", &format_time(proving.until))
        .with("rollout", rollout(&proving.rollout))
        .build()
}

fn stages(stages: &RolloutStages) -> Option<Yaml> {
    let number = |number: u32| Yaml::number(number);
    let reached = |(count, since): (u32, Timestamp)| {
        MapOf::new()
            .number("count", count)
            .text("since", &format_time(since))
            .build()
    };
    let none = *stages == RolloutStages::default();
    let map = MapOf::new()
        .optional("size", stages.size.map(number))
        .optional("canary", stages.canary.map(reached))
        .optional("promoted", stages.promoted.then(|| Yaml::flag(true)))
        .optional("reached", stages.reached.map(reached))
        .optional("passed", (stages.passed > 0).then(|| number(stages.passed)))
        .optional_text("bakeSince", stages.bake_since.map(format_time))
        .optional("updated", stages.updated.map(number));
    (!none).then(|| map.build())
}

fn approved(approved: &ApprovedChange) -> Yaml {
    let one = |approval: &Approval| {
        let Approval {
            change: _,
            signer,
            verdict: _,
            at,
            expires,
            because,
            operation,
        } = approval;
        MapOf::new()
            .text("signer", signer)
            .text("at", &format_time(*at))
            .text("expires", &format_time(*expires))
            .text("because", because)
            .text("operation", operation)
            .build()
    };
    let by = approved.approvals.iter().map(one);
    let map = MapOf::new().text("change", &approved.change);
    hold::encode_authors(map, &approved.authors)
        .with("by", Yaml::List(by.collect()))
        .build()
}

fn spent(spent: &SpentApprovals) -> Option<Yaml> {
    let one = |(change, until): (&ChangeId, &Timestamp)| {
        (change.to_string(), Yaml::text(&format_time(*until)))
    };
    let changes = spent.changes().iter().map(one);
    let map = MapOf::new()
        .optional_text("before", spent.before().map(format_time))
        .with("changes", Yaml::Map(changes.collect()));
    (!spent.is_empty()).then(|| map.build())
}

fn settled(settled: &Settled) -> Yaml {
    MapOf::new()
        .text("revision", &settled.revision)
        .text("policies", &settled.policies)
        .build()
}

fn heeded(heeded: &[Heeded]) -> Option<Yaml> {
    let one = |Heeded { asked, effect }: &Heeded| {
        let Approval {
            change,
            signer,
            verdict,
            at,
            expires,
            because,
            operation,
        } = asked;
        MapOf::new()
            .text("operation", verdict.word())
            .text("change", change)
            .text("signer", signer)
            .text("at", &format_time(*at))
            .text("expires", &format_time(*expires))
            .text("because", because)
            .text("commit", operation)
            .with("effect", Yaml::flag(*effect))
            .build()
    };
    (!heeded.is_empty()).then(|| Yaml::List(heeded.iter().map(one).collect()))
}

fn orders(orders: &[RecordedOrder]) -> Option<Yaml> {
    let one = |RecordedOrder { order, state }: &RecordedOrder| {
        let Order {
            verb,
            instance,
            signer,
            at,
            expires,
            because,
            operation,
        } = order;
        let why = match state {
            OrderState::Refused { why } => Some(why),
            OrderState::Open | OrderState::Done | OrderState::Superseded => None,
        };
        MapOf::new()
            .text("operation", verb.word())
            .text("instance", instance)
            .text("signer", signer)
            .text("at", &format_time(*at))
            .text("expires", &format_time(*expires))
            .text("because", because)
            .text("commit", operation)
            .text("state", state.as_str())
            .optional_text("why", why)
            .build()
    };
    (!orders.is_empty()).then(|| Yaml::List(orders.iter().map(one).collect()))
}

fn ignored(group: &RecordedGroup) -> Option<Yaml> {
    let one = |ignored: &IgnoredDifference| {
        let IgnoredDifference {
            policy,
            binding,
            message,
        } = ignored;
        MapOf::new()
            .text("policy", policy)
            .text("binding", binding)
            .text("message", message)
            .build()
    };
    let entries = group.ignored.iter();
    let entries = entries.map(|(digests, ignored)| (digests.to_string(), one(ignored)));
    (!group.ignored.is_empty()).then(|| Yaml::Map(entries.collect()))
}

fn quarantine(quarantine: &Quarantine) -> Yaml {
    MapOf::new()
        .text("template", &quarantine.digests)
        .text("since", &format_time(quarantine.since))
        .with("failure", pause_cause(&quarantine.cause))
        .build()
}

pub(crate) fn pause_cause(cause: &PauseCause) -> Yaml {
    match cause {
        PauseCause::Failures {
            failed,
            threshold,
            last,
        } => MapOf::new()
            .text("cause", "Failures")
            .number("failed", *failed)
            .number("threshold", *threshold)
            .optional_text("last", last.as_deref()),
        PauseCause::Deadline => MapOf::new().text("cause", "Deadline"),
        PauseCause::Rejected { message } => MapOf::new()
            .text("cause", "Rejected")
            .text("message", message),
        PauseCause::Analysis { message } => MapOf::new()
            .text("cause", "Analysis")
            .text("message", message),
    }
    .build()
}

fn backoff(backoff: &LaunchBackoff) -> Yaml {
    MapOf::new()
        .number("failures", backoff.failures)
        .text("until", &format_time(backoff.until))
        .optional_text("class", backoff.class.map(ErrorClass::as_str))
        .text("message", &backoff.message)
        .build()
}

fn cooling(zones: &BTreeMap<String, Timestamp>) -> Option<Yaml> {
    let zones = zones
        .iter()
        .map(|(zone, until)| (zone.clone(), Yaml::text(&format_time(*until))));
    let zones: Vec<_> = zones.collect();
    (!zones.is_empty()).then_some(Yaml::Map(zones))
}

fn shrunk(shrunk: &[Resize]) -> Option<Yaml> {
    (!shrunk.is_empty()).then(|| resize_list(shrunk))
}

fn resize_list(resizes: &[Resize]) -> Yaml {
    let resizes = resizes.iter().map(|resize| {
        MapOf::new()
            .text("until", &format_time(resize.until))
            .number("from", resize.from)
            .build()
    });
    Yaml::List(resizes.collect())
}

fn resizes(resizes: &UpDown<Vec<Resize>>) -> Option<Yaml> {
    let any = !resizes.up.is_empty() || !resizes.down.is_empty();
    any.then(|| {
        MapOf::new()
            .with("up", resize_list(&resizes.up))
            .with("down", resize_list(&resizes.down))
            .build()
    })
}

fn deleting(deleting: &Deleting) -> Yaml {
    MapOf::new()
        .text("revision", &deleting.revision)
        .text("since", &format_time(deleting.since))
        .build()
}

fn quorum(quorum: &RecordedQuorum) -> Yaml {
    let RecordedQuorum {
        life,
        voters,
        stable,
        established,
        calm_since,
        seated,
    } = quorum;
    let ids = |ids: &BTreeSet<MemberId>| Yaml::List(ids.iter().map(Yaml::text).collect());
    MapOf::new()
        .text("life", life)
        .with("voters", ids(voters))
        .with("stable", ids(stable))
        .with("established", Yaml::flag(*established))
        .optional_text("calmSince", calm_since.map(format_time))
        .optional_text("seated", *seated)
        .build()
}

fn instances(group: &RecordedGroup) -> Yaml {
    let instances = group.instances.iter();
    Yaml::Map(
        instances
            .map(|(id, value)| (id.to_string(), instance(value)))
            .collect(),
    )
}

fn instance(instance: &RecordedInstance) -> Yaml {
    MapOf::new()
        .text("class", &instance.class)
        .optional_text("member", instance.seat.as_ref().map(|seat| &seat.member))
        .optional_text("life", instance.seat.as_ref().map(|seat| &seat.life))
        .optional("draining", instance.draining.then(|| Yaml::flag(true)))
        .optional_text("why", instance.why.as_ref())
        .text("digests", &instance.digests)
        .optional_text("ref", instance.provider_ref.as_ref())
        .optional_text("address", instance.address.as_ref())
        .optional_text("zone", instance.zone.as_ref())
        .text("createdAt", &format_time(instance.created_at))
        .optional("tags", texts(&instance.tags))
        .optional("kept", instance.kept.as_ref().map(kept))
        .build()
}

fn strangers(group: &RecordedGroup) -> Option<Yaml> {
    let one = |stranger: &RecordedStranger| {
        let RecordedStranger {
            instance,
            outdated,
            member,
            address,
            zone,
            claimed_by,
            missing_since,
        } = stranger;
        MapOf::new()
            .optional_text("instance", instance.as_ref())
            .optional("outdated", outdated.then(|| Yaml::flag(true)))
            .optional_text("member", member.as_ref())
            .optional_text("address", address.as_ref())
            .optional_text("zone", zone.as_ref())
            .optional_text("claimedBy", claimed_by.as_ref())
            .optional_text("missingSince", missing_since.map(format_time))
            .build()
    };
    let strangers = group.strangers.iter();
    let strangers = strangers.map(|(handle, stranger)| (handle.to_string(), one(stranger)));
    (!group.strangers.is_empty()).then(|| Yaml::Map(strangers.collect()))
}

fn kept(kept: &Kept) -> Yaml {
    MapOf::new()
        .text("since", &format_time(kept.since))
        .text("until", &format_time(kept.until))
        .text("because", &kept.because)
        .build()
}

pub(crate) fn accepted(document: &AcceptedDocument) -> Yaml {
    MapOf::new()
        .text("revision", &document.revision)
        .text("path", &document.path)
        .number("line", document.line)
        .text("text", &document.text)
        .build()
}

fn provider(provider: &RecordedProvider) -> Yaml {
    MapOf::new()
        .text("name", &provider.name)
        .text("type", &provider.type_)
        .with("settings", Yaml::value(&provider.settings))
        .optional(
            "classes",
            (!provider.classes.is_empty()).then(|| field_classes_out(&provider.classes)),
        )
        .build()
}

/// Encodes what a change of each property asks for.
pub(crate) fn field_classes_out(classes: &BTreeMap<String, FieldClass>) -> Yaml {
    let entries = classes.iter();
    let entries = entries.map(|(key, class)| (key.clone(), Yaml::text(class.as_str())));
    Yaml::Map(entries.collect())
}

/// Encodes a map of texts. None: there are none.
pub(crate) fn texts(texts: &BTreeMap<String, String>) -> Option<Yaml> {
    let entries = texts.iter();
    let entries = entries.map(|(key, text)| (key.clone(), Yaml::text(text)));
    (!texts.is_empty()).then(|| Yaml::Map(entries.collect()))
}

pub(crate) fn template(template: &Template) -> Yaml {
    let tags = template.tags.iter();
    MapOf::new()
        .with("properties", Yaml::value(&template.properties))
        .with("flavors", Yaml::value(&template.flavors_as_written))
        .with(
            "tags",
            Yaml::Map(
                tags.map(|(key, tag)| (key.clone(), Yaml::text(tag)))
                    .collect(),
            ),
        )
        .build()
}

fn accepted_rewrite(accepted: &AcceptedRewrite) -> Yaml {
    MapOf::new()
        .text("revision", &accepted.revision)
        .text("replaced", &accepted.replaced)
        .text("by", &accepted.by)
        .build()
}

/// Encodes a fleet.
pub(crate) fn fleet(fleet: &RecordedFleet) -> Yaml {
    let documents = fleet.documents.iter();
    let documents = documents.map(|(identity, document)| named(identity, Some(document)));
    // What is still in force as it was needs no second copy.
    let other = |identity: &(Kind, String), document: &AcceptedDocument| {
        fleet.documents.get(identity) != Some(document)
    };
    let earlier = fleet.earlier.iter().map(|set| {
        let set = set.iter();
        let set = set.map(|(id, document)| named(id, Some(document).filter(|it| other(id, it))));
        Yaml::List(set.collect())
    });
    let earlier: Vec<Yaml> = earlier.collect();
    header(FLEET_KIND)
        .optional_text("revision", fleet.revision.as_ref())
        .optional(
            "acceptedRewrite",
            fleet.accepted_rewrite.as_ref().map(accepted_rewrite),
        )
        .optional("leftBehind", left_behind(&fleet.left_behind))
        .with("documents", Yaml::List(documents.collect()))
        .optional(
            "earlier",
            (!earlier.is_empty()).then_some(Yaml::List(earlier)),
        )
        .build()
}

/// A document under its identity. None: the one that is in force under it.
fn named((kind, name): &(Kind, String), document: Option<&AcceptedDocument>) -> Yaml {
    let mut entries = vec![
        ("kind".to_owned(), Yaml::text(kind.as_str())),
        ("name".to_owned(), Yaml::text(name)),
    ];
    if let Some(document) = document {
        let Yaml::Map(rest) = accepted(document) else {
            unreachable!("an accepted document is a map");
        };
        entries.extend(rest);
    }
    Yaml::Map(entries)
}

fn left_behind(revisions: &BTreeSet<Revision>) -> Option<Yaml> {
    let texts = revisions.iter().map(Yaml::text);
    (!revisions.is_empty()).then(|| Yaml::List(texts.collect()))
}
