//! YAML trees to recorded state.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{
    AcceptedDocument, Approval, ApprovalVerdict, ApprovedChange, ChangeId, Condition,
    ConditionType, Deleting, Digests, EntryId, Epoch, ErrorClass, FieldClass, GroupPhase, Heeded,
    IgnoredDifference, InstanceId, Kept, Kind, LaunchBackoff, Order, OrderState, OrderVerb,
    PauseCause, ProviderRef, Proving, Quarantine, RateSlot, RecordedGroup, RecordedInstance,
    RecordedOrder, RecordedProvider, RecordedQuorum, RecordedStranger, Resize, Revision, Rollout,
    RolloutStages, RolloutState, SeatId, Settled, SpentApprovals, Template, TemplateParts,
    Timestamp, UpDown,
};

use super::read::Reader;
use super::{AcceptedRewrite, FleetDocuments, RecordError, RecordedFleet, hold};
use crate::decode::flavors_of;
use crate::diagnostic::Report;

/// The fields of a group's record.
const GROUP_FIELDS: [&str; 36] = [
    "apiVersion",
    "kind",
    "format",
    "metadata",
    "phase",
    "size",
    "stableSize",
    "change",
    "target",
    "stable",
    "conditions",
    "holds",
    "rollout",
    "proving",
    "quarantine",
    "backoff",
    "destroyed",
    "rates",
    "deleting",
    "instances",
    "quorum",
    "nextNumber",
    "accepted",
    "provider",
    "templates",
    "resizes",
    "shrunk",
    "cooling",
    "ignored",
    "approved",
    "spent",
    "heeded",
    "settled",
    "orders",
    "strangers",
    "adopted",
];

/// Decodes a group.
pub(crate) fn group(root: &Reader<'_>) -> Result<RecordedGroup, RecordError> {
    root.only(&GROUP_FIELDS)?;
    let metadata = root.get("metadata")?;
    metadata.only(&["name", "uid", "epoch"])?;
    let phase = root.get("phase")?;
    Ok(RecordedGroup {
        name: metadata.get("name")?.parsed()?,
        uid: metadata.get("uid")?.parsed()?,
        epoch: Epoch(metadata.get("epoch")?.number()?),
        accepted: root.optional_with("accepted", |reader| {
            reader.only(&["revision", "path", "line", "text"])?;
            accepted(reader)
        })?,
        approved: root.optional_with("approved", approved)?,
        spent: root.optional_with("spent", spent)?.unwrap_or_default(),
        heeded: root.optional_with("heeded", heeded)?.unwrap_or_default(),
        settled: root.optional_with("settled", settled)?,
        orders: root.optional_with("orders", orders)?.unwrap_or_default(),
        provider: root.optional_with("provider", provider)?,
        next_number: root.get("nextNumber")?.number()?,
        size: root.get("size")?.number()?,
        target: root.optional_with("target", digests)?,
        stable: root.optional_with("stable", digests)?,
        stable_size: root.get("stableSize")?.number()?,
        templates: root
            .get("templates")?
            .map_of(|key| Digests::parse(key).ok(), template)?,
        ignored: root
            .optional_with("ignored", |reader| {
                reader.map_of(|key| Digests::parse(key).ok(), ignored)
            })?
            .unwrap_or_default(),
        rollout: root.optional_with("rollout", rollout)?,
        proving: root.optional_with("proving", proving)?,
        quarantine: root.optional_with("quarantine", quarantine)?,
        backoff: root.optional_with("backoff", backoff)?,
        change: root.optional_with("change", Reader::parsed)?,
        cooling: cooling(root)?,
        resizes: root.optional_with("resizes", resizes)?.unwrap_or(UpDown {
            up: Vec::new(),
            down: Vec::new(),
        }),
        shrunk: root
            .optional_with("shrunk", resize_list)?
            .unwrap_or_default(),
        destroyed: root.optional_with("destroyed", destroyed)?,
        rates: root.optional_with("rates", rates)?.unwrap_or_default(),
        deleting: root.optional_with("deleting", deleting)?,
        phase: phase.one_of(&GroupPhase::ALL, GroupPhase::as_str)?,
        instances: root
            .get("instances")?
            .map_of(|key| InstanceId::parse(key).ok(), instance)?,
        strangers: strangers(root)?,
        adopted: root.optional_with("adopted", texts)?,
        quorum: root.optional_with("quorum", quorum)?,
        conditions: root.get("conditions")?.map_of(
            |key| ConditionType::ALL.into_iter().find(|t| t.as_str() == key),
            condition,
        )?,
        holds: root
            .get("holds")?
            .list()?
            .iter()
            .map(hold::decode_held)
            .collect::<Result<_, _>>()?,
    })
}

fn approved(reader: &Reader<'_>) -> Result<ApprovedChange, RecordError> {
    reader.only(&["change", "authors", "authorsUnknown", "by"])?;
    let change: ChangeId = reader.get("change")?.parsed()?;
    let by = reader.get("by")?;
    let approvals = by.list()?.into_iter().map(|reader| {
        reader.only(&["signer", "at", "expires", "because", "operation"])?;
        Ok(Approval {
            change: change.clone(),
            signer: reader.get("signer")?.parsed()?,
            verdict: ApprovalVerdict::Approve,
            at: reader.get("at")?.time()?,
            expires: reader.get("expires")?.time()?,
            because: reader.get("because")?.string()?,
            operation: reader.get("operation")?.parsed()?,
        })
    });
    Ok(ApprovedChange {
        approvals: approvals.collect::<Result<_, RecordError>>()?,
        authors: hold::decode_authors(reader)?,
        change,
    })
}

fn spent(reader: &Reader<'_>) -> Result<SpentApprovals, RecordError> {
    reader.only(&["before", "changes"])?;
    let changes = reader.get("changes")?;
    Ok(SpentApprovals::recorded(
        changes.map_of(|key| ChangeId::parse(key).ok(), Reader::time)?,
        reader.optional_with("before", Reader::time)?,
    ))
}

fn settled(reader: &Reader<'_>) -> Result<Settled, RecordError> {
    reader.only(&["revision", "policies"])?;
    Ok(Settled {
        revision: reader.get("revision")?.parsed()?,
        policies: reader.get("policies")?.string()?,
    })
}

fn heeded(reader: &Reader<'_>) -> Result<Vec<Heeded>, RecordError> {
    let one = |reader: Reader<'_>| {
        let fields = ["operation", "change", "signer", "at", "expires", "because"];
        reader.only(&[fields.as_slice(), &["commit", "effect"]].concat())?;
        let verdict = reader.get("operation")?;
        Ok(Heeded {
            asked: Approval {
                change: reader.get("change")?.parsed()?,
                signer: reader.get("signer")?.parsed()?,
                verdict: verdict.one_of(&ApprovalVerdict::ALL, ApprovalVerdict::word)?,
                at: reader.get("at")?.time()?,
                expires: reader.get("expires")?.time()?,
                because: reader.get("because")?.string()?,
                operation: reader.get("commit")?.parsed()?,
            },
            effect: reader.get("effect")?.flag()?,
        })
    };
    reader.list()?.into_iter().map(one).collect()
}

fn orders(reader: &Reader<'_>) -> Result<Vec<RecordedOrder>, RecordError> {
    let one = |reader: Reader<'_>| {
        let fields = ["operation", "instance", "signer", "at", "expires"];
        let others = ["because", "commit", "state", "why"];
        reader.only(&[fields.as_slice(), &others].concat())?;
        let verb = reader.get("operation")?;
        let state = reader.get("state")?;
        Ok(RecordedOrder {
            order: Order {
                verb: verb.one_of(&OrderVerb::ALL, OrderVerb::word)?,
                instance: reader.get("instance")?.parsed()?,
                signer: reader.get("signer")?.parsed()?,
                at: reader.get("at")?.time()?,
                expires: reader.get("expires")?.time()?,
                because: reader.get("because")?.string()?,
                operation: reader.get("commit")?.parsed()?,
            },
            state: match state.text()? {
                "Open" => OrderState::Open,
                "Done" => OrderState::Done,
                "Superseded" => OrderState::Superseded,
                "Refused" => OrderState::Refused {
                    why: reader.get("why")?.string()?,
                },
                other => return Err(state.error(format!("is no known word: {other}"))),
            },
        })
    };
    reader.list()?.into_iter().map(one).collect()
}

fn ignored(reader: &Reader<'_>) -> Result<IgnoredDifference, RecordError> {
    reader.only(&["policy", "binding", "message"])?;
    Ok(IgnoredDifference {
        policy: reader.get("policy")?.parsed()?,
        binding: reader.get("binding")?.parsed()?,
        message: reader.get("message")?.string()?,
    })
}

pub(crate) fn digests(reader: &Reader<'_>) -> Result<Digests, RecordError> {
    Digests::parse(reader.text()?).map_err(|error| reader.error(error.to_string()))
}

pub(crate) fn accepted(reader: &Reader<'_>) -> Result<AcceptedDocument, RecordError> {
    Ok(AcceptedDocument {
        text: reader.get("text")?.string()?.into(),
        path: reader.get("path")?.string()?,
        line: reader.get("line")?.number()?,
        revision: reader.get("revision")?.parsed()?,
    })
}

fn provider(reader: &Reader<'_>) -> Result<RecordedProvider, RecordError> {
    reader.only(&["name", "type", "settings", "classes"])?;
    Ok(RecordedProvider {
        name: reader.get("name")?.parsed()?,
        type_: reader.get("type")?.parsed()?,
        settings: reader.get("settings")?.node().to_value(),
        classes: match reader.optional("classes")? {
            Some(classes) => field_classes(&classes)?,
            None => BTreeMap::new(),
        },
    })
}

/// Reads what a change of each property asks for.
pub(crate) fn field_classes(
    reader: &Reader<'_>,
) -> Result<BTreeMap<String, FieldClass>, RecordError> {
    reader.map_of(
        |key| Some(key.to_owned()),
        |class| class.one_of(&FieldClass::ALL, FieldClass::as_str),
    )
}

pub(crate) fn template(reader: &Reader<'_>) -> Result<Template, RecordError> {
    reader.only(&["properties", "flavors", "tags"])?;
    let flavors = reader.get("flavors")?;
    let report = Report::new("".into());
    let decoded = flavors_of(&report, flavors.node());
    if let Some(mistake) = report.finish().first() {
        return Err(flavors.error(mistake.message.clone()));
    }
    Ok(Template::from(TemplateParts {
        properties: reader.get("properties")?.node().to_value(),
        flavors: decoded,
        flavors_as_written: flavors.node().to_value(),
        tags: texts(&reader.get("tags")?)?,
    }))
}

/// Reads a map of texts.
pub(crate) fn texts(reader: &Reader<'_>) -> Result<BTreeMap<String, String>, RecordError> {
    reader.map_of(|key| Some(key.to_owned()), Reader::string)
}

fn rollout(reader: &Reader<'_>) -> Result<Rollout, RecordError> {
    reader.only(&[
        "state",
        "paused",
        "target",
        "startedAt",
        "progressedAt",
        "clockStoodStill",
        "failures",
        "forgiven",
        "lastFailure",
        "stages",
        "refused",
    ])?;
    let state = reader.get("state")?;
    let failures = reader.get("failures")?.list()?;
    Ok(Rollout {
        target: digests(&reader.get("target")?)?,
        started_at: reader.get("startedAt")?.time()?,
        progressed_at: reader.get("progressedAt")?.time()?,
        clock_stood_still: reader
            .optional_with("clockStoodStill", Reader::flag)?
            .unwrap_or(false),
        state: match state.text()? {
            "Progressing" => RolloutState::Progressing,
            "Paused" => RolloutState::Paused(pause_cause(&reader.get("paused")?)?),
            other => return Err(state.error(format!("is no known word: {other}"))),
        },
        failures: failures
            .iter()
            .map(Reader::parsed)
            .collect::<Result<_, _>>()?,
        forgiven: reader
            .optional_with("forgiven", |reader| {
                reader.list()?.iter().map(Reader::parsed).collect()
            })?
            .unwrap_or_default(),
        last_failure: reader.optional_with("lastFailure", Reader::string)?,
        stages: reader.optional_with("stages", stages)?.unwrap_or_default(),
        refused: reader.optional_with("refused", Reader::string)?,
    })
}

fn proving(reader: &Reader<'_>) -> Result<Proving, RecordError> {
    reader.only(&["before", "sizeBefore", "membersBefore", "until", "rollout"])?;
    let members = reader.optional_with("membersBefore", |reader| {
        let ids = reader.list()?;
        ids.iter().map(Reader::parsed).collect::<Result<_, _>>()
    })?;
    Ok(Proving {
        before: digests(&reader.get("before")?)?,
        size_before: reader.get("sizeBefore")?.number()?,
        members_before: members.unwrap_or_default(),
        until: reader.get("until")?.time()?,
        rollout: rollout(&reader.get("rollout")?)?,
    })
}

fn stages(reader: &Reader<'_>) -> Result<RolloutStages, RecordError> {
    reader.only(&[
        "size",
        "canary",
        "promoted",
        "reached",
        "passed",
        "bakeSince",
        "updated",
    ])?;
    Ok(RolloutStages {
        size: reader.optional_with("size", Reader::number)?,
        canary: reader.optional_with("canary", reached)?,
        promoted: reader
            .optional_with("promoted", Reader::flag)?
            .unwrap_or(false),
        reached: reader.optional_with("reached", reached)?,
        passed: reader
            .optional_with("passed", Reader::number)?
            .unwrap_or_default(),
        bake_since: reader.optional_with("bakeSince", Reader::time)?,
        updated: reader.optional_with("updated", Reader::number)?,
    })
}

fn reached(reader: &Reader<'_>) -> Result<(u32, Timestamp), RecordError> {
    reader.only(&["count", "since"])?;
    Ok((reader.get("count")?.number()?, reader.get("since")?.time()?))
}

fn quarantine(reader: &Reader<'_>) -> Result<Quarantine, RecordError> {
    reader.only(&["template", "since", "failure"])?;
    Ok(Quarantine {
        digests: digests(&reader.get("template")?)?,
        cause: pause_cause(&reader.get("failure")?)?,
        since: reader.get("since")?.time()?,
    })
}

pub(crate) fn pause_cause(reader: &Reader<'_>) -> Result<PauseCause, RecordError> {
    let cause = reader.get("cause")?;
    Ok(match cause.text()? {
        "Failures" => {
            reader.only(&["cause", "failed", "threshold", "last"])?;
            PauseCause::Failures {
                failed: reader.get("failed")?.number()?,
                threshold: reader.get("threshold")?.number()?,
                last: reader.optional_with("last", Reader::string)?,
            }
        }
        "Deadline" => {
            reader.only(&["cause"])?;
            PauseCause::Deadline
        }
        "Rejected" => {
            reader.only(&["cause", "message"])?;
            PauseCause::Rejected {
                message: reader.get("message")?.string()?,
            }
        }
        "Analysis" => {
            reader.only(&["cause", "message"])?;
            PauseCause::Analysis {
                message: reader.get("message")?.string()?,
            }
        }
        other => return Err(cause.error(format!("is no known word: {other}"))),
    })
}

/// Every class of a provider's error.
const ERROR_CLASSES: [ErrorClass; 8] = [
    ErrorClass::Throttled,
    ErrorClass::Capacity,
    ErrorClass::Quota,
    ErrorClass::InvalidSpec,
    ErrorClass::Auth,
    ErrorClass::Partial,
    ErrorClass::Unknown,
    ErrorClass::NotFound,
];

pub(crate) fn error_class(reader: &Reader<'_>) -> Result<ErrorClass, RecordError> {
    reader.one_of(&ERROR_CLASSES, ErrorClass::as_str)
}

fn backoff(reader: &Reader<'_>) -> Result<LaunchBackoff, RecordError> {
    reader.only(&["failures", "until", "class", "message"])?;
    Ok(LaunchBackoff {
        failures: reader.get("failures")?.number()?,
        until: reader.get("until")?.time()?,
        class: reader.optional_with("class", error_class)?,
        message: reader.get("message")?.string()?,
    })
}

fn destroyed(reader: &Reader<'_>) -> Result<(ChangeId, u32), RecordError> {
    reader.only(&["change", "count"])?;
    Ok((
        reader.get("change")?.parsed()?,
        reader.get("count")?.number()?,
    ))
}

fn resizes(reader: &Reader<'_>) -> Result<UpDown<Vec<Resize>>, RecordError> {
    reader.only(&["up", "down"])?;
    Ok(UpDown {
        up: resize_list(&reader.get("up")?)?,
        down: resize_list(&reader.get("down")?)?,
    })
}

fn resize_list(reader: &Reader<'_>) -> Result<Vec<Resize>, RecordError> {
    let list = reader.list()?;
    let resizes = list.iter().map(|resize| {
        resize.only(&["until", "from"])?;
        Ok(Resize {
            until: resize.get("until")?.time()?,
            from: resize.get("from")?.number()?,
        })
    });
    resizes.collect()
}

fn rates(reader: &Reader<'_>) -> Result<Vec<RateSlot>, RecordError> {
    let slots = reader.list()?;
    let slot = |reader: &Reader<'_>| {
        reader.only(&["since", "created", "destroyed", "size"])?;
        Ok(RateSlot {
            since: reader.get("since")?.time()?,
            created: reader.get("created")?.number()?,
            destroyed: reader.get("destroyed")?.number()?,
            size: reader.get("size")?.number()?,
        })
    };
    slots.iter().map(slot).collect()
}

fn deleting(reader: &Reader<'_>) -> Result<Deleting, RecordError> {
    reader.only(&["revision", "since"])?;
    Ok(Deleting {
        revision: reader.get("revision")?.parsed()?,
        since: reader.get("since")?.time()?,
    })
}

fn instance(reader: &Reader<'_>) -> Result<RecordedInstance, RecordError> {
    reader.only(&[
        "class",
        "member",
        "life",
        "draining",
        "why",
        "digests",
        "ref",
        "address",
        "zone",
        "createdAt",
        "tags",
        "kept",
    ])?;
    Ok(RecordedInstance {
        seat: seat_id(reader)?,
        provider_ref: reader.optional_with("ref", Reader::parsed)?,
        digests: digests(&reader.get("digests")?)?,
        class: reader.get("class")?.string()?,
        draining: reader
            .optional_with("draining", Reader::flag)?
            .unwrap_or(false),
        why: reader.optional_with("why", Reader::string)?,
        address: reader.optional_with("address", Reader::string)?,
        zone: reader.optional_with("zone", Reader::string)?,
        created_at: reader.get("createdAt")?.time()?,
        tags: reader.optional_with("tags", texts)?.unwrap_or_default(),
        kept: match reader.optional("kept")? {
            Some(reader) => Some(kept(&reader)?),
            None => None,
        },
    })
}

fn cooling(root: &Reader<'_>) -> Result<BTreeMap<String, Timestamp>, RecordError> {
    let zones = root.optional_with("cooling", |reader| {
        reader.map_of(|key| Some(key.to_owned()), Reader::time)
    })?;
    Ok(zones.unwrap_or_default())
}

fn strangers(root: &Reader<'_>) -> Result<BTreeMap<ProviderRef, RecordedStranger>, RecordError> {
    let strangers = root.optional_with("strangers", |reader| {
        reader.map_of(|key| ProviderRef::parse(key).ok(), stranger)
    })?;
    Ok(strangers.unwrap_or_default())
}

fn stranger(reader: &Reader<'_>) -> Result<RecordedStranger, RecordError> {
    reader.only(&[
        "instance",
        "outdated",
        "member",
        "address",
        "zone",
        "claimedBy",
        "missingSince",
    ])?;
    Ok(RecordedStranger {
        instance: reader.optional_with("instance", Reader::parsed)?,
        outdated: reader
            .optional_with("outdated", Reader::flag)?
            .unwrap_or(false),
        member: reader.optional_with("member", Reader::parsed)?,
        address: reader.optional_with("address", Reader::string)?,
        zone: reader.optional_with("zone", Reader::string)?,
        claimed_by: reader.optional_with("claimedBy", Reader::string)?,
        missing_since: reader.optional_with("missingSince", Reader::time)?,
    })
}

fn kept(reader: &Reader<'_>) -> Result<Kept, RecordError> {
    reader.only(&["since", "until", "because"])?;
    Ok(Kept {
        since: reader.get("since")?.time()?,
        until: reader.get("until")?.time()?,
        because: reader.get("because")?.string()?,
    })
}

/// Reads whose place an instance takes, from two fields beside others.
pub(crate) fn seat_id(reader: &Reader<'_>) -> Result<Option<SeatId>, RecordError> {
    let Some(member) = reader.optional_with("member", Reader::parsed)? else {
        return Ok(None);
    };
    Ok(Some(SeatId {
        life: reader.get("life")?.parsed()?,
        member,
    }))
}

fn quorum(reader: &Reader<'_>) -> Result<RecordedQuorum, RecordError> {
    reader.only(&[
        "life",
        "voters",
        "stable",
        "established",
        "calmSince",
        "seated",
    ])?;
    let ids = |name: &str| {
        let ids = reader.get(name)?.list()?;
        ids.iter().map(Reader::parsed).collect::<Result<_, _>>()
    };
    Ok(RecordedQuorum {
        life: reader.get("life")?.parsed()?,
        voters: ids("voters")?,
        stable: ids("stable")?,
        established: reader.get("established")?.flag()?,
        calm_since: reader.optional_with("calmSince", Reader::time)?,
        seated: reader.optional_with("seated", entry_id)?,
    })
}

/// Reads the name of an entry of a membership list: hexadecimal, as its program prints it.
pub(crate) fn entry_id(reader: &Reader<'_>) -> Result<EntryId, RecordError> {
    let number = u64::from_str_radix(reader.text()?, 16);
    let number = number.map_err(|_| reader.error("is no hexadecimal number"))?;
    Ok(EntryId(number))
}

fn condition(reader: &Reader<'_>) -> Result<Condition, RecordError> {
    reader.only(&["status", "reason", "message", "since"])?;
    let status = reader.get("status")?;
    Ok(Condition {
        status: match status.text()? {
            "True" => Some(true),
            "False" => Some(false),
            "Unknown" => None,
            other => return Err(status.error(format!("is no known word: {other}"))),
        },
        reason: reader.get("reason")?.string()?,
        message: reader.get("message")?.string()?,
        since: reader.get("since")?.time()?,
    })
}

fn accepted_rewrite(reader: &Reader<'_>) -> Result<AcceptedRewrite, RecordError> {
    reader.only(&["revision", "replaced", "by"])?;
    Ok(AcceptedRewrite {
        revision: reader.get("revision")?.parsed()?,
        replaced: reader.get("replaced")?.parsed()?,
        by: reader.get("by")?.string()?,
    })
}

fn revisions(reader: &Reader<'_>) -> Result<BTreeSet<Revision>, RecordError> {
    reader.list()?.iter().map(Reader::parsed).collect()
}

/// Decodes documents. `others`: where those stand of which only the identity is written.
fn documents(
    list: &Reader<'_>,
    others: Option<&FleetDocuments>,
) -> Result<FleetDocuments, RecordError> {
    let mut documents = BTreeMap::new();
    for reader in list.list()? {
        reader.only(&["kind", "name", "revision", "path", "line", "text"])?;
        let kind = reader.get("kind")?.one_of(&Kind::ALL, Kind::as_str)?;
        let identity = (kind, reader.get("name")?.string()?);
        let document = match (others, reader.optional("text")?) {
            (Some(others), None) => {
                let other = others.get(&identity);
                other
                    .ok_or_else(|| reader.error("is not in force"))?
                    .clone()
            }
            (_, Some(_)) | (None, None) => accepted(&reader)?,
        };
        if documents.insert(identity, document).is_some() {
            return Err(reader.error("is repeated"));
        }
    }
    Ok(documents)
}

/// Decodes a fleet.
pub(crate) fn fleet(root: &Reader<'_>) -> Result<RecordedFleet, RecordError> {
    let header = ["apiVersion", "kind", "format", "revision"];
    let more = ["acceptedRewrite", "leftBehind", "documents", "earlier"];
    root.only(&[&header[..], &more].concat())?;
    let in_force = documents(&root.get("documents")?, None)?;
    let earlier = root.optional_with("earlier", Reader::list)?;
    let earlier = earlier.into_iter().flatten();
    let earlier = earlier.map(|set| documents(&set, Some(&in_force)));
    Ok(RecordedFleet {
        earlier: earlier.collect::<Result<_, _>>()?,
        revision: root.optional_with("revision", Reader::parsed)?,
        accepted_rewrite: root.optional_with("acceptedRewrite", accepted_rewrite)?,
        left_behind: root
            .optional_with("leftBehind", revisions)?
            .unwrap_or_default(),
        documents: in_force,
    })
}
