//! Health, healing, rollout and drain.

use std::collections::BTreeSet;

use drover_model::{
    Activity, Canary, Check, Checkpoint, DrainDone, DrainSpec, FieldClass, HealRevision, HealSpec,
    HealthSpec, HttpRequest, Keep, OnDrainTimeout, OnFailure, Probe, Promote, RolloutMode,
    RolloutOrder, RolloutSpec, Suspend, Systemic, SystemicMode, Template, defaults,
};

use super::Fields;
use crate::diagnostic::Diagnostic;
use crate::formats::format_duration;

/// Decodes health, with the check that comes with flavor plugins.
pub(crate) fn health(fields: &Fields<'_>, template: &Template) -> HealthSpec {
    let written = fields.objects("checks");
    let checks = written.iter().map(check);
    HealthSpec {
        startup_timeout: fields.duration("startupTimeout"),
        unhealthy_after: fields.duration("unhealthyAfter"),
        unknown_after: fields.duration("unknownAfter"),
        checks: checks.chain(flavor_check(template)).collect(),
    }
}

/// Returns the check that comes with flavor plugins: they are asked as often as other checks are tried.
fn flavor_check(template: &Template) -> Option<Check> {
    template.plugin_flavors().next()?;
    Some(Check {
        probe: Probe::Flavors,
        interval: defaults::CHECK_INTERVAL,
        timeout: defaults::FLAVOR_CHECK_TIMEOUT,
    })
}

fn check(fields: &Fields<'_>) -> Check {
    let http = fields.optional_object("http");
    let tcp = fields.optional_object("tcp");
    let provider = fields.optional_object("provider");
    let command = fields.texts("command");
    let probe = if let Some(http) = http {
        Probe::Http {
            port: http.port("port"),
            path: http.text("path").unwrap_or_default(),
        }
    } else if let Some(tcp) = tcp {
        Probe::Tcp {
            port: tcp.port("port"),
        }
    } else if provider.is_some() {
        Probe::Provider
    } else {
        Probe::Command { command }
    };
    Check {
        probe,
        interval: fields.duration("interval"),
        timeout: fields.duration("timeout"),
    }
}

pub(crate) fn heal(fields: &Fields<'_>) -> HealSpec {
    let systemic = fields.object("systemic");
    let keep = fields.object("keep");
    let revision = match fields.word("revision") {
        "current" => HealRevision::Current,
        _ => HealRevision::Target,
    };
    HealSpec {
        in_flight_max: fields.amount("maxInFlight"),
        systemic: Systemic {
            threshold: systemic.amount("threshold"),
            mode: match systemic.word("mode") {
                "stop" => SystemicMode::Stop,
                _ => SystemicMode::Slow,
            },
        },
        revision: fields.has("revision").then_some(revision),
        keep: Keep {
            max: keep.integer("max"),
            time: keep.duration("for"),
        },
    }
}

pub(crate) fn rollout(fields: &Fields<'_>) -> RolloutSpec {
    let partition = fields.amount("partition");
    let rollout = RolloutSpec {
        mode: match fields.word("mode") {
            "opportunistic" => RolloutMode::Opportunistic,
            "manual" => RolloutMode::Manual,
            _ => RolloutMode::Proactive,
        },
        paused: fields.boolean("paused"),
        order: match fields.word("order") {
            "createFirst" => RolloutOrder::CreateFirst,
            "deleteFirst" => RolloutOrder::DeleteFirst,
            _ => RolloutOrder::Auto,
        },
        canary: fields.optional_object("canary").map(|canary| Canary {
            count: canary.amount("count"),
            hold: canary.duration("hold"),
            promote: match canary.word("promote") {
                "manual" => Promote::Manual,
                _ => Promote::Auto,
            },
        }),
        checkpoints: fields
            .objects("checkpoints")
            .iter()
            .map(checkpoint)
            .collect(),
        bake: fields.duration("bake"),
        partition: fields.has("partition").then_some(partition),
        monitor: fields.duration("monitor"),
        surge_max: fields.amount("maxSurge"),
        unavailable_max: fields.amount("maxUnavailable"),
        first_batch: fields.integer("firstBatch"),
        min_ready: fields.duration("minReady"),
        progress_deadline: fields.auto_duration("progressDeadline"),
        failure_threshold: fields.auto_integer("failureThreshold"),
        on_failure: match fields.word("onFailure") {
            "rollback" => OnFailure::Rollback,
            "continue" => OnFailure::Continue,
            _ => OnFailure::Pause,
        },
        action_max: match fields.word("maxAction") {
            "live" => FieldClass::Live,
            "restart" => FieldClass::Restart,
            _ => FieldClass::Replace,
        },
    };
    if let Some(deadline) = rollout.progress_deadline
        && deadline <= rollout.min_ready
    {
        let message = format!(
            "`progressDeadline` must be longer than `minReady` ({}), or no rollout can succeed",
            format_duration(rollout.min_ready)
        );
        let span = fields.span_of("progressDeadline");
        let diagnostic = Diagnostic::error("inconsistent", message, span);
        fields.report.push(diagnostic);
    }
    order(fields, &rollout);
    rollout
}

fn checkpoint(fields: &Fields<'_>) -> Checkpoint {
    Checkpoint {
        at: fields.amount("at"),
        wait: fields.duration("wait"),
    }
}

/// Reports a surge that contradicts the order: whatever its size, a group has some surge or none.
fn order(fields: &Fields<'_>, rollout: &RolloutSpec) {
    let surges = rollout.surge_max.ceil_of(1) > 0;
    let mistake = match rollout.order {
        RolloutOrder::CreateFirst if !surges => {
            Some("`order: createFirst` needs a `maxSurge` above 0")
        }
        RolloutOrder::DeleteFirst if surges && fields.has("maxSurge") => Some(
            "`order: deleteFirst` makes nothing above the size, so `maxSurge` must be 0 or left out",
        ),
        RolloutOrder::Auto | RolloutOrder::CreateFirst | RolloutOrder::DeleteFirst => None,
    };
    if let Some(message) = mistake {
        let span = fields.span_of("order");
        let diagnostic = Diagnostic::error("inconsistent", message, span);
        fields.report.push(diagnostic);
    }
}

pub(crate) fn drain(fields: &Fields<'_>) -> DrainSpec {
    let begin = fields.objects("begin");
    let drain = DrainSpec {
        delay: fields.duration("delay"),
        begin: begin.iter().filter_map(request).collect(),
        done: fields
            .optional_object("done")
            .and_then(|done| drain_done(&done)),
        timeout: fields.duration("timeout"),
        unhealthy_timeout: fields.duration("unhealthyTimeout"),
        on_timeout: match fields.word("onTimeout") {
            "abort" => OnDrainTimeout::Abort,
            _ => OnDrainTimeout::Proceed,
        },
    };
    if drain.delay > drain.timeout {
        let message = format!(
            "`delay` ({}) must not be longer than `timeout` ({}), which counts from the same moment",
            format_duration(drain.delay),
            format_duration(drain.timeout)
        );
        let name = if fields.has("delay") {
            "delay"
        } else {
            "timeout"
        };
        let diagnostic = Diagnostic::error("inconsistent", message, fields.span_of(name));
        fields.report.push(diagnostic);
    }
    drain
}

fn request(fields: &Fields<'_>) -> Option<HttpRequest> {
    let http = fields.optional_object("http")?;
    Some(HttpRequest {
        method: http.text("method").unwrap_or_default(),
        port: http.port("port"),
        path: http.text("path").unwrap_or_default(),
    })
}

fn drain_done(fields: &Fields<'_>) -> Option<DrainDone> {
    let http = fields.optional_object("http").map(|http| DrainDone::Http {
        port: http.port("port"),
        path: http.text("path").unwrap_or_default(),
    });
    let tcp = fields
        .optional_object("tcpClosed")
        .map(|tcp| DrainDone::TcpClosed {
            port: tcp.port("port"),
        });
    let before = fields.report.count();
    let exit = fields.boolean("exit");
    if fields.has("exit") && !exit && fields.report.count() == before {
        let message = "`exit` must be true; to wait for nothing, leave `done` out";
        let span = fields.span_of("exit");
        fields
            .report
            .push(Diagnostic::error("bad-value", message, span));
    }
    http.or(tcp).or(exit.then_some(DrainDone::Exit))
}

pub(crate) fn suspend(fields: &Fields<'_>) -> Suspend {
    let what: BTreeSet<Activity> = fields
        .words("what")
        .into_iter()
        .map(|word| match word {
            "update" => Activity::Update,
            "heal" => Activity::Heal,
            "scale" => Activity::Scale,
            "gc" => Activity::Gc,
            _ => Activity::All,
        })
        .collect();
    Suspend {
        what,
        until: fields.time("until"),
        because: fields.text("because"),
    }
}
