//! The request that makes a container.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use crate::api::ImageConfig;
use crate::describe::Spec;

/// Runs the init lines, which are `$0`, in a shell of their own, and then becomes the command. A line
/// that fails ends the container with its status.
const INIT: &str = "/bin/sh -euc \"$0\" || exit\nexec \"$@\"";

/// A port that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// At the instance's address.
    pub(crate) published: i64,
    pub(crate) container: i64,
    /// `tcp` or `udp`.
    pub(crate) protocol: String,
}

/// Something that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) source: MountSource,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountSource {
    /// A volume, by its name at the engine.
    Volume(String),
    Memory {
        mib: i64,
    },
    /// A path of the machine.
    Path(String),
}

/// A limit of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ulimit {
    pub(crate) name: String,
    pub(crate) soft: i64,
    pub(crate) hard: i64,
}

/// A check that the engine runs. None: the engine's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Healthcheck {
    pub(crate) command: Vec<String>,
    pub(crate) interval: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<i64>,
    pub(crate) start_period: Option<Duration>,
}

/// A program and its arguments. None: the image's own.
type Words = Option<Vec<String>>;

/// Nothing to run: neither the image nor the properties say a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoCommand;

/// An object whose fields are left out where there is nothing to say, so that the engine's and the
/// image's own choices hold.
#[derive(Debug, Default)]
struct Object(Map<String, Json>);

impl Object {
    fn set(&mut self, name: &str, value: impl Into<Json>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn set_some(&mut self, name: &str, value: Option<impl Into<Json>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }
}

/// Returns what makes the container. `image` is what its image says.
pub(crate) fn of(spec: &Spec, image: &ImageConfig) -> Result<Json, NoCommand> {
    let (entrypoint, command) = started(spec, image)?;
    let env = spec
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let mut body = Object::default();
    body.set("Image", spec.image.as_str());
    body.set("Labels", json!(spec.labels));
    body.set("Env", env.collect::<Vec<_>>());
    body.set_some("Entrypoint", entrypoint);
    body.set_some("Cmd", command);
    body.set_some("Hostname", spec.hostname.as_deref());
    body.set_some("WorkingDir", spec.working_dir.as_deref());
    body.set_some("User", spec.user.as_deref());
    body.set_some("StopSignal", spec.stop_signal.as_deref());
    let stop_seconds = |timeout: Duration| timeout.as_millis().div_ceil(1_000) as u64;
    body.set_some("StopTimeout", spec.stop_timeout.map(stop_seconds));
    body.set_some("Healthcheck", spec.healthcheck.as_ref().map(healthcheck));
    let exposed = spec.ports.iter().map(|port| (port.key(), json!({})));
    body.set("ExposedPorts", exposed.collect::<Map<_, _>>());
    body.set("HostConfig", host_config(spec));
    if let Some(network) = spec.networks.first() {
        let endpoint = json!({ network: {"Aliases": spec.aliases} });
        body.set("NetworkingConfig", json!({"EndpointsConfig": endpoint}));
    }
    Ok(Json::Object(body.0))
}

/// Returns entrypoint and command as they are asked for.
fn started(spec: &Spec, image: &ImageConfig) -> Result<(Words, Words), NoCommand> {
    // As the engine has it: an entrypoint of one's own goes without the image's command.
    let image_command = image.cmd.as_ref().filter(|_| spec.entrypoint.is_none());
    let entrypoint = spec.entrypoint.as_ref().or(image.entrypoint.as_ref());
    let command = spec.command.as_ref().or(image_command);
    let whole: Vec<String> = entrypoint
        .into_iter()
        .chain(command)
        .flatten()
        .cloned()
        .collect();
    if whole.is_empty() {
        return Err(NoCommand);
    }
    let Some(script) = &spec.script else {
        return Ok((spec.entrypoint.clone(), spec.command.clone()));
    };
    let shell = ["/bin/sh", "-c", INIT, script].map(str::to_owned);
    Ok((Some(shell.to_vec()), Some(whole)))
}

impl Port {
    fn key(&self) -> String {
        format!("{}/{}", self.container, self.protocol)
    }
}

fn host_config(spec: &Spec) -> Json {
    let mut host = Object::default();
    // What ends stays ended: drover replaces it.
    host.set("RestartPolicy", json!({"Name": "no"}));
    host.set_some("NetworkMode", spec.networks.first().map(String::as_str));
    if let Some(address) = spec.address {
        let mut bindings: BTreeMap<String, Vec<Json>> = BTreeMap::new();
        for port in &spec.ports {
            let published = port.published.to_string();
            let binding = json!({"HostIp": address.to_string(), "HostPort": published});
            bindings.entry(port.key()).or_default().push(binding);
        }
        host.set("PortBindings", json!(bindings));
    }
    let mounts = spec.mounts.iter().map(mount);
    host.set("Mounts", mounts.collect::<Vec<_>>());
    host.set_some("Memory", spec.memory_mib.map(|mib| mib << 20));
    host.set_some("NanoCpus", spec.cpu_millis.map(|millis| millis * 1_000_000));
    host.set_some("PidsLimit", spec.pids);
    let ulimits = spec
        .ulimits
        .iter()
        .map(|limit| json!({"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard}));
    host.set("Ulimits", ulimits.collect::<Vec<_>>());
    Json::Object(host.0)
}

fn mount(mount: &Mount) -> Json {
    let Mount {
        target,
        read_only,
        source,
    } = mount;
    match source {
        MountSource::Volume(name) => {
            json!({"Type": "volume", "Source": name, "Target": target, "ReadOnly": read_only})
        }
        MountSource::Path(path) => {
            json!({"Type": "bind", "Source": path, "Target": target, "ReadOnly": read_only})
        }
        // Podman makes it a folder that nobody may enter unless a mode is said.
        MountSource::Memory { mib } => json!({
            "Type": "tmpfs", "Target": target, "ReadOnly": read_only,
            "TmpfsOptions": {"SizeBytes": mib << 20, "Mode": 0o1777},
        }),
    }
}

/// Returns how the check is run. Podman's API (4.3) takes a command apart at its spaces, so one that has
/// any is given to a shell, quoted.
fn test(command: &[String]) -> Vec<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    let words = command.iter();
    if words
        .clone()
        .all(|word| !word.is_empty() && word.chars().all(plain))
    {
        return ["CMD".to_owned()]
            .into_iter()
            .chain(words.cloned())
            .collect();
    }
    let quoted = words.map(|word| format!("'{}'", word.replace('\'', r"'\''")));
    vec!["CMD-SHELL".to_owned(), quoted.collect::<Vec<_>>().join(" ")]
}

fn healthcheck(check: &Healthcheck) -> Json {
    let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let mut out = Object::default();
    out.set("Test", test(&check.command));
    out.set_some("Interval", check.interval.map(nanoseconds));
    out.set_some("Timeout", check.timeout.map(nanoseconds));
    out.set_some("Retries", check.retries);
    out.set_some("StartPeriod", check.start_period.map(nanoseconds));
    Json::Object(out.0)
}

#[cfg(test)]
mod tests;
