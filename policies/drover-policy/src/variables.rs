//! The variables that policies may use: one table per record, which says a field's name, type and
//! meaning and reads it. The checker, the evaluation and the reference page all come from here.

use std::collections::BTreeMap;

use drover_model::{
    Bounds, Change, Check, Classified, DecisionPoint, Deletion, DeletionPolicy, Digests, Drift,
    FieldChange, Group, GroupName, GroupPhase, GroupSpec, HealthSignals, HealthSpec, HealthVerdict,
    InstanceClass, Manage, Member, Numbers, OnFailure, Probe, Reason, RecordedGroup, RolloutSpec,
    RolloutState, Template, Timestamp, Value,
};

use crate::definitions::{CALENDARS, Calendars, Definitions, METRICS, Metrics};
use crate::facts::{GroupFacts, GroupSummary, SourceFacts};
use crate::types::{Field, Shape, Type, Words};
use crate::value::{self, Boxed, Entries};

/// Declares the fields of a record: the [`Shape`] for the checker and the reference, and how each
/// field is read. A field without a reader would not compile, nor a reader without a type.
macro_rules! record {
    ($record:ident as $shape:ident $wire:literal: |$this:ident| {
        $($name:literal: $type_:expr, $about:literal => $read:expr;)+
    }) => {
        pub(crate) static $shape: Shape = Shape {
            name: $wire,
            fields: &[$(Field { name: $name, type_: || $type_, about: $about }),+],
        };

        impl<'a> Entries<'a> for $record<'a> {
            const MAP: bool = false;

            fn entry(&self, key: &str) -> Option<Boxed<'a>> {
                let $this = *self;
                match key {
                    $($name => Some($read),)+
                    _ => None,
                }
            }

            fn keys(&self) -> Vec<&'a str> {
                vec![$($name),+]
            }
        }
    };
}

static REASONS: Words = Words {
    name: "a reason",
    all: || Reason::ALL.iter().map(|reason| reason.as_str()).collect(),
};

static PHASES: Words = Words {
    name: "a phase of a group",
    all: || GroupPhase::ALL.iter().map(|phase| phase.as_str()).collect(),
};

static HEALTHS: Words = Words {
    name: "the health of an instance",
    all: || vec!["healthy", "unhealthy", "unknown"],
};

/// Returns the health of an instance of this class.
pub(crate) fn health_of(class: &str) -> &'static str {
    match class {
        "Available" | "Warming" => "healthy",
        "Exited" | "Failed" | "Unhealthy" => "unhealthy",
        _ => "unknown",
    }
}

/// Returns the same of a class that is known.
fn health(class: &InstanceClass) -> &'static str {
    match class {
        InstanceClass::Available | InstanceClass::Warming => "healthy",
        InstanceClass::Exited(_)
        | InstanceClass::Failed { .. }
        | InstanceClass::Unhealthy { .. } => "unhealthy",
        InstanceClass::Terminating
        | InstanceClass::Lost { .. }
        | InstanceClass::Suspect { .. }
        | InstanceClass::Starting => "unknown",
    }
}

static PROVIDER_SAYS: Words = Words {
    name: "what a provider says of an instance",
    all: || vec!["running", "unknown"],
};

static PROBE_SAYS: Words = Words {
    name: "what checks say of an instance",
    all: || vec!["healthy", "unhealthy", "unknown", "none"],
};

static FIELD_CLASSES: Words = Words {
    name: "what a change of a field needs",
    all: || vec!["live", "restart", "replace"],
};

static CLASSES: Words = Words {
    name: "a class of an instance",
    all: || {
        vec![
            "Terminating",
            "Exited",
            "Failed",
            "Unhealthy",
            "Lost",
            "Suspect",
            "Starting",
            "Warming",
            "Available",
        ]
    },
};

static ROLLOUT_PHASES: Words = Words {
    name: "a phase of a rollout",
    all: || vec!["Idle", "Progressing", "Paused"],
};

static MANAGE: Words = Words {
    name: "a value of spec.manage",
    all: || vec!["full", "observe"],
};

static ON_FAILURE: Words = Words {
    name: "a value of rollout.onFailure",
    all: || vec!["pause", "rollback", "continue"],
};

static DELETION_POLICIES: Words = Words {
    name: "a deletion policy",
    all: || vec!["Destroy", "Orphan"],
};

static PROBES: Words = Words {
    name: "a kind of check",
    all: || vec!["http", "tcp", "command", "provider", "flavors"],
};

/// One variable of the language.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) type_: fn() -> Type,
    /// The decision points that have it. Empty: all.
    pub(crate) points: &'static [DecisionPoint],
    pub(crate) about: &'static str,
}

impl Variable {
    /// Returns whether policies of `point` have it; None: whether those of every point do.
    pub(crate) fn available_in(&self, point: impl Into<Option<DecisionPoint>>) -> bool {
        let point = point.into();
        self.points.is_empty() || point.is_some_and(|point| self.points.contains(&point))
    }
}

/// Every variable, beside `params` and `variables`, which a policy declares itself.
pub(crate) static VARIABLES: &[Variable] = &[
    Variable {
        name: "now",
        type_: || Type::Timestamp,
        points: &[],
        about: "The time of the pass.",
    },
    Variable {
        name: "reason",
        type_: || Type::Word(&REASONS),
        points: &[
            DecisionPoint::Gate,
            DecisionPoint::Budget,
            DecisionPoint::Protect,
            DecisionPoint::Victim,
        ],
        about: "Why an instance would be taken out of service. The question is asked once per reason.",
    },
    Variable {
        name: "instance",
        type_: || Type::Record(&INSTANCE),
        points: &[
            DecisionPoint::Health,
            DecisionPoint::Protect,
            DecisionPoint::Heal,
            DecisionPoint::Victim,
        ],
        about: "The instance in question. The question is asked once per instance; `health` is asked of those that run.",
    },
    Variable {
        name: "signals",
        type_: || Type::Record(&SIGNALS),
        points: &[DecisionPoint::Health],
        about: "What is known of the instance's health.",
    },
    Variable {
        name: "field",
        type_: || Type::Text,
        points: &[DecisionPoint::Drift],
        about: "The field of the template in question: `properties.<name>`, `tags.<name>` or `flavors`. The question is asked once per field in which two templates differ.",
    },
    Variable {
        name: "class",
        type_: || Type::Word(&FIELD_CLASSES),
        points: &[DecisionPoint::Drift],
        about: "What the provider says a change of the field needs.",
    },
    Variable {
        name: "old",
        type_: || Type::nullable(Type::Dyn),
        points: &[DecisionPoint::Drift],
        about: "The field's value in the template that instances have; null where it is not written.",
    },
    Variable {
        name: "new",
        type_: || Type::nullable(Type::Dyn),
        points: &[DecisionPoint::Drift],
        about: "The field's value in the template that they are to have; null where it is not written.",
    },
    Variable {
        name: "zone",
        type_: || Type::Text,
        points: &[DecisionPoint::Place],
        about: "The zone in question, one of `placement.zones`. The question is asked once per zone.",
    },
    Variable {
        name: "current",
        type_: || Type::Int,
        points: &[DecisionPoint::Size],
        about: "The size in force; `spec.size` for a new group.",
    },
    Variable {
        name: "change",
        type_: || Type::Record(&CHANGE),
        points: &[DecisionPoint::Validate, DecisionPoint::Approve],
        about: "What the commit would do to the group.",
    },
    Variable {
        name: "group",
        type_: || Type::Record(&GROUP),
        points: &[],
        about: "The group's metadata.",
    },
    Variable {
        name: "spec",
        type_: || Type::Record(&SPEC),
        points: &[],
        about: "The specification that is asked for, defaults filled in.",
    },
    Variable {
        name: "oldSpec",
        type_: || Type::nullable(Type::Record(&SPEC)),
        points: &[],
        about: "The specification in force; null for a new group. `has(oldSpec.size)` tells.",
    },
    Variable {
        name: "status",
        type_: || Type::Record(&STATUS),
        points: &[],
        about: "The group's numbers in this pass.",
    },
    Variable {
        name: "rollout",
        type_: || Type::Record(&ROLLOUT),
        points: &[],
        about: "The rollout in progress.",
    },
    Variable {
        name: "instances",
        type_: || Type::list(Type::Record(&INSTANCE)),
        points: &[],
        about: "The group's instances by id, those included that are being made or ended.",
    },
    Variable {
        name: "groups",
        type_: || Type::map(Type::Record(&SUMMARY)),
        points: &[],
        about: "Every group of the fleet by name, as last recorded. A missing name is an error: test with `in`.",
    },
    Variable {
        name: "git",
        type_: || Type::Record(&GIT),
        points: &[],
        about: "The commit that the document comes from.",
    },
];

/// Returns the variable `name` whatever the decision point.
pub(crate) fn variable(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// Returns the value of variable `name`; None where it has none at this decision point.
pub(crate) fn read<'a>(
    name: &str,
    facts: GroupFacts<'a>,
    change: Option<&'a Change>,
    definitions: &'a Definitions,
) -> Option<Boxed<'a>> {
    let value = match name {
        METRICS => value::keyed(Metrics {
            definitions,
            readings: facts.readings,
            now: facts.now,
        }),
        CALENDARS => value::keyed(Calendars(definitions)),
        "now" => value::time(facts.now),
        "current" => value::int(match facts.recorded.accepted {
            Some(_) => facts.recorded.size,
            None => facts.group.spec.size,
        }),
        "change" => value::keyed(ChangeRecord(change?)),
        "group" => value::keyed(GroupRecord(facts.group)),
        "spec" => value::keyed(SpecRecord(&facts.group.spec)),
        "oldSpec" => match facts.old {
            Some(spec) => value::keyed(SpecRecord(spec)),
            None => value::absent("oldSpec is null: the group is new"),
        },
        "status" => value::keyed(StatusRecord {
            numbers: facts.numbers,
            phase: facts.recorded.phase,
        }),
        "rollout" => value::keyed(RolloutRecord(facts.recorded)),
        "instances" => instances(facts.classified?, facts),
        "groups" => value::keyed(Summaries(facts.groups)),
        "git" => value::keyed(GitRecord(facts.source)),
        _ => return None,
    };
    Some(value)
}

fn instances<'a>(classified: &'a Classified, facts: GroupFacts<'a>) -> Boxed<'a> {
    let members = classified.members.values();
    value::list(members.map(|member| instance(member, facts)).collect())
}

/// Returns one instance as policies see it.
pub(crate) fn instance<'a>(member: &'a Member, facts: GroupFacts<'a>) -> Boxed<'a> {
    value::keyed(InstanceRecord {
        member,
        target: facts.recorded.target.as_ref(),
        drift: facts.drift,
        now: facts.now,
    })
}

#[derive(Clone, Copy)]
struct GroupRecord<'a>(&'a Group);

record!(GroupRecord as GROUP "group": |this| {
    "name": Type::Text, "The group's name." => value::text(this.0.name.as_str());
    "labels": Type::map(Type::Text), "Labels." => value::texts(&this.0.labels);
    "annotations": Type::map(Type::Text), "Annotations." => value::texts(&this.0.annotations);
});

#[derive(Clone, Copy)]
struct SpecRecord<'a>(&'a GroupSpec);

record!(SpecRecord as SPEC "spec": |this| {
    "size": Type::Int, "The size as written, before a `size` policy." => value::int(this.0.size);
    "bounds": Type::nullable(Type::Record(&BOUNDS)), "The bounds of a `size` policy; null when not written."
        => match &this.0.bounds {
            Some(bounds) => value::keyed(BoundsRecord(bounds)),
            None => value::absent("spec.bounds is null: none are written"),
        };
    "provider": Type::Text, "The name of the Provider document." => value::text(this.0.provider.as_str());
    "manage": Type::Word(&MANAGE), "Whether the agent acts on the group." => value::text(match this.0.manage {
        Manage::Full => "full",
        Manage::Observe => "observe",
    });
    "template": Type::Record(&TEMPLATE), "What instances are made from, as written." => value::keyed(TemplateRecord(&this.0.template));
    "health": Type::Record(&HEALTH), "When an instance is healthy." => value::keyed(HealthRecord(&this.0.health));
    "rollout": Type::Record(&ROLLOUT_SPEC), "How a new template replaces an old one." => value::keyed(RolloutSpecRecord {
        rollout: &this.0.rollout,
        size: this.0.size,
    });
    "deletion": Type::Record(&DELETION), "What removing the document does." => value::keyed(DeletionRecord(&this.0.deletion));
});

#[derive(Clone, Copy)]
struct BoundsRecord<'a>(&'a Bounds);

record!(BoundsRecord as BOUNDS "bounds": |this| {
    "min": Type::Int, "The smallest size." => value::int(this.0.min);
    "max": Type::Int, "The largest size." => value::int(this.0.max);
});

#[derive(Clone, Copy)]
struct TemplateRecord<'a>(&'a Template);

record!(TemplateRecord as TEMPLATE "template": |this| {
    "properties": Type::Dyn, "The provider's own properties." => value::document(&this.0.properties);
    "flavors": Type::Dyn, "The flavors." => value::document(&this.0.flavors_as_written);
    "tags": Type::map(Type::Text), "Tags of every instance." => value::texts(&this.0.tags);
});

#[derive(Clone, Copy)]
struct HealthRecord<'a>(&'a HealthSpec);

record!(HealthRecord as HEALTH "health": |this| {
    "checks": Type::list(Type::Record(&CHECK)), "The checks; none: the provider's word alone decides."
        => value::list(this.0.checks.iter().map(|check| value::keyed(CheckRecord(check))).collect());
    "startupTimeout": Type::Duration, "How long a launch may take." => value::duration(this.0.startup_timeout);
    "unhealthyAfter": Type::Duration, "How long checks must fail." => value::duration(this.0.unhealthy_after);
});

#[derive(Clone, Copy)]
struct CheckRecord<'a>(&'a Check);

record!(CheckRecord as CHECK "check": |this| {
    "kind": Type::Word(&PROBES), "What is tried." => value::text(match &this.0.probe {
        Probe::Http { .. } => "http",
        Probe::Tcp { .. } => "tcp",
        Probe::Command { .. } => "command",
        Probe::Provider => "provider",
        Probe::Flavors => "flavors",
    });
    "port": Type::Int, "The port; 0 for other kinds than http and tcp." => value::int(match &this.0.probe {
        Probe::Http { port, .. } | Probe::Tcp { port } => *port,
        Probe::Command { .. } | Probe::Provider | Probe::Flavors => 0,
    });
    "path": Type::Text, "The path; empty for other kinds than http." => value::text(match &this.0.probe {
        Probe::Http { path, .. } => path,
        Probe::Tcp { .. } | Probe::Command { .. } | Probe::Provider | Probe::Flavors => "",
    });
    "interval": Type::Duration, "Time between two tries." => value::duration(this.0.interval);
});

#[derive(Clone, Copy)]
struct RolloutSpecRecord<'a> {
    rollout: &'a RolloutSpec,
    size: u32,
}

record!(RolloutSpecRecord as ROLLOUT_SPEC "spec.rollout": |this| {
    "maxSurge": Type::Int, "Instances allowed above `spec.size`, a share rounded up." => value::int(this.rollout.surge_max.ceil_of(this.size));
    "maxUnavailable": Type::Int, "Instances that may be missing, a share rounded down." => value::int(this.rollout.unavailable_max.floor_of(this.size));
    "firstBatch": Type::Int, "Instances made before one of them is available." => value::int(this.rollout.first_batch);
    "minReady": Type::Duration, "How long an instance is healthy before it counts as available." => value::duration(this.rollout.min_ready);
    "onFailure": Type::Word(&ON_FAILURE), "What a failed rollout does." => value::text(match this.rollout.on_failure {
        OnFailure::Pause => "pause",
        OnFailure::Rollback => "rollback",
        OnFailure::Continue => "continue",
    });
});

#[derive(Clone, Copy)]
struct DeletionRecord<'a>(&'a Deletion);

record!(DeletionRecord as DELETION "deletion": |this| {
    "policy": Type::Word(&DELETION_POLICIES), "What happens to the instances." => value::text(match this.0.policy {
        DeletionPolicy::Destroy => "Destroy",
        DeletionPolicy::Orphan => "Orphan",
    });
    "protect": Type::Bool, "Whether removal is held." => value::bool(this.0.protect);
});

#[derive(Clone, Copy)]
struct StatusRecord<'a> {
    numbers: &'a Numbers,
    phase: GroupPhase,
}

record!(StatusRecord as STATUS "status": |this| {
    "desired": Type::Int, "The size in force." => value::int(this.numbers.size);
    "total": Type::Int, "Instances of any kind, those being made or ended included." => value::int(this.numbers.total);
    "available": Type::Int, "Available instances." => value::int(this.numbers.available);
    "updated": Type::Int, "Available instances of the target template." => value::int(this.numbers.updated);
    "unavailable": Type::Int, "How many available instances are missing, never negative." => value::int(this.numbers.size.saturating_sub(this.numbers.available));
    "outdated": Type::Int, "Instances of another template." => value::int(this.numbers.outdated);
    "phase": Type::Word(&PHASES), "Where the group stands, as last recorded." => value::text(this.phase.as_str());
});

#[derive(Clone, Copy)]
struct RolloutRecord<'a>(&'a RecordedGroup);

record!(RolloutRecord as ROLLOUT "rollout": |this| {
    "phase": Type::Word(&ROLLOUT_PHASES), "`Idle` when there is no rollout." => value::text(match &this.0.rollout {
        None => "Idle",
        Some(rollout) => match rollout.state {
            RolloutState::Progressing => "Progressing",
            RolloutState::Paused(_) => "Paused",
        },
    });
    "startedAt": Type::nullable(Type::Timestamp), "When it began; null when there is no rollout." => match &this.0.rollout {
        Some(rollout) => value::time(rollout.started_at),
        None => value::absent("rollout.startedAt is null: there is no rollout"),
    };
    "failures": Type::Int, "Distinct instances of the new template that failed." => value::int(this.0.rollout.as_ref().map_or(0, |rollout| rollout.failures.len() as i64));
});

#[derive(Clone, Copy)]
struct InstanceRecord<'a> {
    member: &'a Member,
    target: Option<&'a Digests>,
    drift: &'a Drift,
    now: Timestamp,
}

record!(InstanceRecord as INSTANCE "instance": |this| {
    "id": Type::Text, "The id, such as `web-7`." => value::owned_text(this.member.id.to_string());
    "class": Type::Word(&CLASSES), "Where it stands." => value::text(this.member.class.as_str());
    "health": Type::Word(&HEALTHS), "What that means for its health: one that serves or is about to is healthy, and of one that starts, ends or cannot be asked nothing is known." => value::text(health(&this.member.class));
    "outdated": Type::Bool, "Whether its template is not the target, and `drift` does not ignore that." => value::bool(this.target.is_some_and(|target| !this.drift.is_current(&this.member.digests, target)));
    "draining": Type::Bool, "Whether work is being moved off it." => value::bool(this.member.drain.is_some());
    "age": Type::Duration, "Time since it was made." => value::elapsed(this.member.created_at, this.now);
    "zone": Type::Text, "Its zone; empty where there are none." => value::text(this.member.zone.as_deref().unwrap_or(""));
    "busy": Type::Bool, "Whether it says that it is busy." => value::bool(this.member.busy);
    "work": Type::Int, "How much work it says would be lost with it, in whatever it counts; 0 where it says nothing." => value::int(this.member.work);
    "address": Type::Text, "Its address; empty until it is known." => value::text(this.member.address.as_deref().unwrap_or(""));
});

/// Returns what is known of an instance's health as policies see it.
pub(crate) fn signals(signals: &HealthSignals) -> Boxed<'_> {
    value::keyed(SignalsRecord(signals))
}

#[derive(Clone, Copy)]
struct SignalsRecord<'a>(&'a HealthSignals);

record!(SignalsRecord as SIGNALS "signals": |this| {
    "provider": Type::Word(&PROVIDER_SAYS), "What the provider says." => value::text(match this.0.provider {
        HealthVerdict::Healthy => "running",
        HealthVerdict::Unknown | HealthVerdict::Unhealthy => "unknown",
    });
    "probe": Type::Word(&PROBE_SAYS), "What the checks say together: `none` where the group has none." => value::text(this.0.probe.map_or("none", HealthVerdict::as_str));
    "checks": Type::list(Type::Word(&HEALTHS)), "What each check says, in the order of `health.checks`."
        => value::list(this.0.checks.iter().map(|check| value::text(check.as_str())).collect());
    "combined": Type::Word(&HEALTHS), "What comes of it where no policy says otherwise." => value::text(this.0.combined.as_str());
    "why": Type::Text, "Why it is not healthy, in words; empty for one that is." => value::text(&this.0.why);
});

/// Returns the variables of a question about a changed field.
pub(crate) fn field_change(change: &FieldChange) -> Vec<(&'static str, Boxed<'_>)> {
    vec![
        ("field", value::text(&change.field)),
        ("class", value::text(change.class.as_str())),
        ("old", written(change.old.as_ref())),
        ("new", written(change.new.as_ref())),
    ]
}

fn written(value: Option<&Value>) -> Boxed<'_> {
    match value {
        Some(value) => value::document(value),
        None => value::absent("it is null: the template does not have the field"),
    }
}

#[derive(Clone, Copy)]
struct Summaries<'a>(&'a BTreeMap<GroupName, GroupSummary>);

impl<'a> Entries<'a> for Summaries<'a> {
    const MAP: bool = true;

    fn entry(&self, key: &str) -> Option<Boxed<'a>> {
        let name = GroupName::parse(key).ok()?;
        let summary = self.0.get(&name)?;
        Some(value::keyed(SummaryRecord(summary)))
    }

    fn keys(&self) -> Vec<&'a str> {
        self.0.keys().map(GroupName::as_str).collect()
    }
}

#[derive(Clone, Copy)]
struct SummaryRecord<'a>(&'a GroupSummary);

record!(SummaryRecord as SUMMARY "groups[name]": |this| {
    "desired": Type::Int, "The size in force." => value::int(this.0.size);
    "available": Type::Int, "Available instances." => value::int(this.0.available);
    "total": Type::Int, "Instances of any kind." => value::int(this.0.total);
    "updated": Type::Int, "Available instances of the target template." => value::int(this.0.updated);
    "phase": Type::Word(&PHASES), "Where the group stands." => value::text(this.0.phase.as_str());
});

#[derive(Clone, Copy)]
struct GitRecord<'a>(&'a SourceFacts);

record!(GitRecord as GIT "git": |this| {
    "revision": Type::Text, "The commit id." => value::text(this.0.revision.as_str());
    "author": Type::Text, "The author as `name <address>`; not verified." => value::text(&this.0.author);
    "signer": Type::Text, "Who signed it, as the agent's `source.verify` says; empty where nobody has to sign." => value::text(&this.0.signer);
    "subject": Type::Text, "The first line of the message." => value::text(&this.0.subject);
    "trailers": Type::map(Type::Text), "The trailers of the message." => value::texts(&this.0.trailers);
});

#[derive(Clone, Copy)]
struct ChangeRecord<'a>(&'a Change);

record!(ChangeRecord as CHANGE "change": |this| {
    "creates": Type::Int, "Instances made because the group grows." => value::int(this.0.creates);
    "replaces": Type::Int, "Instances replaced because the template changed." => value::int(this.0.replaces);
    "restarts": Type::Int, "Instances restarted in place because the template changed." => value::int(this.0.restarts);
    "changes": Type::Int, "Instances changed in place, without an interruption, because the template changed." => value::int(this.0.changes);
    "destroys": Type::Int, "Instances removed without replacement." => value::int(this.0.destroys);
    "fromSize": Type::Int, "The size in force; 0 for a new group." => value::int(this.0.from.as_ref().map_or(0, |end| end.size));
    "toSize": Type::Int, "The size asked for; 0 when the group is removed." => value::int(this.0.to.as_ref().map_or(0, |end| end.size));
});

#[cfg(test)]
mod tests {
    use drover_model::ExitReport;

    use super::*;

    #[test]
    fn a_class_and_its_name_mean_the_same_health() {
        let why = || "x".to_owned();
        let classes = [
            InstanceClass::Terminating,
            InstanceClass::Exited(ExitReport::default()),
            InstanceClass::Failed { why: why() },
            InstanceClass::Unhealthy { why: why() },
            InstanceClass::Lost { why: why() },
            InstanceClass::Suspect { why: why() },
            InstanceClass::Starting,
            InstanceClass::Warming,
            InstanceClass::Available,
        ];
        for class in &classes {
            assert_eq!(health(class), health_of(class.as_str()), "{class:?}");
        }
        let names: Vec<&str> = classes.iter().map(InstanceClass::as_str).collect();
        assert_eq!(names, (CLASSES.all)());
    }
}
