//! The members of a quorum group, and what of a group's document does not go with them.

use std::collections::BTreeSet;

use drover_model::{
    AttachmentName, DrainSpec, EtcdKeeper, Keeper, MemberId, MemberSpec, MembershipSpec,
    OnDrainTimeout, QuorumSpec, RolloutSpec, defaults,
};

use super::Fields;
use crate::diagnostic::Diagnostic;

/// What a quorum group has no use for: its members are not interchangeable, and one at a time is touched.
const UNFIT: [&str; 4] = ["bounds", "scaling", "placement", "expiry"];
const UNFIT_ROLLOUT: [&str; 4] = ["firstBatch", "canary", "checkpoints", "partition"];
const UNFIT_HEAL: [&str; 4] = ["maxInFlight", "systemic", "revision", "keep"];

/// Decodes `members` and `quorum`. None: the group has none.
pub(super) fn quorum(spec: &Fields<'_>, heal: &Fields<'_>) -> Option<QuorumSpec> {
    let rules = spec.object("quorum");
    let members: Vec<Fields<'_>> = spec.objects("members");
    let decoded = QuorumSpec {
        members: members.iter().filter_map(member).collect(),
        membership: membership(&rules),
        stabilize: rules.duration("stabilize"),
        allow_downtime: rules.boolean("allowDowntime"),
    };
    if !spec.has("members") {
        if spec.has("quorum") {
            let message = "`quorum` is for groups with `members`";
            let span = spec.span_of("quorum");
            spec.report
                .push(Diagnostic::error("inconsistent", message, span));
        }
        return None;
    }
    unique(&members);
    unfit(spec, &UNFIT);
    unfit(heal, &UNFIT_HEAL);
    if spec.word("lifecycle") == "ephemeral" {
        refuse(
            spec,
            "lifecycle",
            "a member of a quorum does not come and go",
        );
    }
    if decoded.members.len() == members.len() {
        warn_of_number(spec, &decoded);
    }
    (!decoded.members.is_empty()).then_some(decoded)
}

/// Decodes whose list changes with the members. With a mistake it is nobody's; it was reported.
fn membership(rules: &Fields<'_>) -> MembershipSpec {
    let keeper = rules.optional_object("keeper");
    if rules.word("membership") != "dynamic" {
        if keeper.is_some() {
            let message = "`keeper` is for `membership: dynamic`";
            let span = rules.span_of("keeper");
            let mistake = Diagnostic::error("inconsistent", message, span);
            rules.report.push(mistake);
        }
        return MembershipSpec::Static;
    }
    let Some(keeper) = keeper else {
        let message = "`membership: dynamic` needs `keeper`, which says who keeps the list";
        let span = rules.span_of("membership");
        let mistake = Diagnostic::error("missing-field", message, span);
        let hint = "such as `keeper: {etcd: {}}`".to_owned();
        rules.report.push(mistake.hint(hint));
        return MembershipSpec::Static;
    };
    let etcd = keeper.object("etcd");
    MembershipSpec::Dynamic(Keeper::Etcd(EtcdKeeper {
        client_port: etcd.port("clientPort"),
        peer_port: etcd.port("peerPort"),
    }))
}

fn member(fields: &Fields<'_>) -> Option<MemberSpec> {
    let attachments = fields.objects("attachments");
    let named = attachments.iter().filter_map(|attachment| {
        if !attachment.boolean("exclusive") {
            let message = "`exclusive: false` is not supported yet";
            let span = attachment.span_of("exclusive");
            attachment
                .report
                .push(Diagnostic::error("not-supported", message, span));
        }
        Some((attachment, attachment.id::<AttachmentName>("name")?))
    });
    let mut names = BTreeSet::new();
    let mut kept = Vec::new();
    for (attachment, name) in named {
        if names.insert(name.clone()) {
            kept.push(name);
        } else {
            let message = format!("attachment `{name}` is there twice");
            let span = attachment.span_of("name");
            fields
                .report
                .push(Diagnostic::error("duplicate-name", message, span));
        }
    }
    Some(MemberSpec {
        id: fields.id("id")?,
        attachments: kept,
    })
}

fn unique(members: &[Fields<'_>]) {
    let mut known: BTreeSet<MemberId> = BTreeSet::new();
    for fields in members {
        // A mistake in the id was told when it was decoded.
        let (_, entry) = fields.get("id");
        let id = entry
            .and_then(|entry| entry.value.text())
            .and_then(|text| MemberId::parse(text).ok());
        if let Some(id) = id
            && !known.insert(id.clone())
        {
            let message = format!("member `{id}` is there twice");
            let span = fields.span_of("id");
            fields
                .report
                .push(Diagnostic::error("duplicate-name", message, span));
        }
    }
}

fn unfit(fields: &Fields<'_>, names: &[&'static str]) {
    for name in names.iter().filter(|name| fields.has(name)) {
        refuse(fields, name, "its members are touched one at a time");
    }
}

fn refuse(fields: &Fields<'_>, name: &'static str, why: &str) {
    let message = format!("`{name}` does not go with `members`: {why}");
    let span = fields.span_of(name);
    fields
        .report
        .push(Diagnostic::error("inconsistent", message, span));
}

fn warn_of_number(spec: &Fields<'_>, quorum: &QuorumSpec) {
    let count = quorum.members.len();
    let warn = |code, message: String, hint: &str| {
        let diagnostic = Diagnostic::warning(code, message, spec.span_of("members"));
        spec.report.push(diagnostic.hint(hint.to_owned()));
    };
    if count > 0 && count.is_multiple_of(2) {
        let message = format!(
            "{count} members survive the loss of no more members than {} do",
            count - 1
        );
        warn("even-members", message, "use an odd number of members");
    }
    // Of a list of two nobody can be taken out, whatever is allowed.
    let listed = quorum.membership.keeper().is_some() && count == 2;
    if count < 3 && count > 0 && (listed || !quorum.allow_downtime) {
        let message = format!("no member of {count} can be spared, so none is ever replaced");
        let hint = if listed {
            "use three members"
        } else {
            "use three members, or allow it with `quorum.allowDowntime: true`"
        };
        warn("no-member-to-spare", message, hint);
    }
}

/// Fills in the defaults of a quorum group's rollout, and refuses what does not go with it.
pub(super) fn rollout(fields: &Fields<'_>, rollout: &mut RolloutSpec) {
    unfit(fields, &UNFIT_ROLLOUT);
    if !fields.has("maxSurge") {
        rollout.surge_max = defaults::QUORUM_SURGE_MAX;
    } else if rollout.surge_max.ceil_of(1) > 0 {
        refuse(fields, "maxSurge", "a member has one place");
    }
    if !fields.has("maxUnavailable") {
        rollout.unavailable_max = defaults::QUORUM_UNAVAILABLE_MAX;
    }
    if fields.word("order") == "createFirst" {
        refuse(fields, "order", "a member has one place");
    }
}

/// Fills in the default of a quorum group's drain: who cannot be moved off is not cut off.
pub(super) fn drain(fields: &Fields<'_>, drain: DrainSpec, quorum: bool) -> DrainSpec {
    if !quorum || fields.has("onTimeout") {
        return drain;
    }
    DrainSpec {
        on_timeout: OnDrainTimeout::Abort,
        ..drain
    }
}
