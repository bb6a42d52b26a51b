//! Groups for simulations, with every default of a document filled in.

use std::collections::BTreeMap;

use drover_model::{
    AttachmentName, Check, EtcdKeeper, FieldClass, Group, GroupName, GroupSpec, Keeper, MemberId,
    MemberSpec, MembershipSpec, OnDrainTimeout, Probe, ProviderName, QuorumSpec, SourceSpan,
    Template, TemplateParts, Value, defaults,
};

/// Returns a group with the defaults of a document: `size` instances of the template `version`.
pub fn group(name: &str, size: u32, version: i64) -> Group {
    let span = SourceSpan::start_of(name);
    let provider = ProviderName::parse("sim").expect("a valid label");
    let mut spec = GroupSpec::with_defaults(provider, size, template(version));
    spec.health.checks = vec![Check {
        probe: Probe::Tcp { port: 80 },
        interval: defaults::CHECK_INTERVAL,
        timeout: defaults::CHECK_TIMEOUT,
    }];
    Group {
        name: GroupName::parse(name).expect("simulations use valid names"),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        span: span.clone(),
        provider_span: span,
        property_spans: BTreeMap::new(),
        spec_spans: BTreeMap::new(),
        depends_spans: Vec::new(),
        spec,
    }
}

/// Returns a quorum group with the defaults of a document: `members`, each with one attachment.
pub fn quorum_group(name: &str, members: &[&str], version: i64) -> Group {
    let mut group = group(name, 0, version);
    let spec = &mut group.spec;
    spec.quorum = Some(QuorumSpec {
        members: Vec::new(),
        membership: MembershipSpec::Static,
        stabilize: defaults::STABILIZE,
        allow_downtime: false,
    });
    spec.rollout.surge_max = defaults::QUORUM_SURGE_MAX;
    spec.rollout.unavailable_max = defaults::QUORUM_UNAVAILABLE_MAX;
    spec.drain.on_timeout = OnDrainTimeout::Abort;
    spec.deletion.protect = true;
    set_members(spec, members);
    group
}

/// Returns the same, whose program keeps a membership list that the agent changes.
pub fn dynamic_group(name: &str, members: &[&str], version: i64) -> Group {
    let mut group = quorum_group(name, members, version);
    if let Some(quorum) = &mut group.spec.quorum {
        quorum.membership = MembershipSpec::Dynamic(Keeper::Etcd(EtcdKeeper {
            client_port: defaults::ETCD_CLIENT_PORT,
            peer_port: defaults::ETCD_PEER_PORT,
        }));
    }
    group
}

/// Gives a quorum group these members. Nothing happens to a group of interchangeable instances.
pub fn set_members(spec: &mut GroupSpec, members: &[&str]) {
    let Some(quorum) = &mut spec.quorum else {
        return;
    };
    spec.size = members.len() as u32;
    let member = |id: &&str| MemberSpec {
        id: MemberId::parse(id).expect("simulations use valid names"),
        attachments: vec![AttachmentName::parse("data").expect("a valid label")],
    };
    quorum.members = members.iter().map(member).collect();
}

/// Returns a template with fields of every class: of a new `version` an instance is made, for another
/// `config` it restarts, and its `weight` is changed while it runs.
pub fn template_with(version: i64, config: i64, weight: i64) -> Template {
    let fields = [("version", version), ("config", config), ("weight", weight)];
    let fields = fields.map(|(name, value)| (name.to_owned(), Value::from(value)));
    Template::from(TemplateParts {
        properties: Value::from_iter(fields),
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    })
}

/// Returns the classes of the fields of [`template_with`].
pub fn classes() -> BTreeMap<String, FieldClass> {
    BTreeMap::from([
        ("config".to_owned(), FieldClass::Restart),
        ("weight".to_owned(), FieldClass::Live),
    ])
}

/// Returns a template that differs from others by its `version` alone.
pub fn template(version: i64) -> Template {
    let properties = Value::from_iter([("version".to_owned(), Value::from(version))]);
    Template::from(TemplateParts {
        properties,
        flavors: Vec::new(),
        flavors_as_written: Value::List(Vec::new()),
        tags: BTreeMap::new(),
    })
}
