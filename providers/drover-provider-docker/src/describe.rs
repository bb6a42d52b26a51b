//! From a provision call to what the engine is asked to make, with everything refused that can never
//! succeed or that the agent's file does not let a repository have.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use drover_model::{ErrorClass, Ownership, ProviderName, Value};
use drover_provider::{
    ObjectSchema, Prepared, ProviderError, ProvisionRequest, Slot, asks_for_address, fingerprint,
    finish, is_user_data, parse_duration,
};

use crate::body::{Healthcheck, Mount, MountSource, Port, Ulimit};
use crate::grants::Grants;
use crate::labels::{self, Labels};
use crate::names::Name;
use crate::schema::SCRIPT_MAX;

/// Longest name of a machine that Linux takes.
const HOSTNAME_MAX: usize = 63;

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pull {
    /// When it is not there.
    Missing,
    /// Before each container is made.
    Always,
    /// Never.
    Never,
}

/// What is to be made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    pub(crate) name: Name,
    pub(crate) image: String,
    pub(crate) pull: Pull,
    /// None: the image's.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// None: the image's, unless there is an entrypoint.
    pub(crate) command: Option<Vec<String>>,
    /// Shell lines to run before the command.
    pub(crate) script: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) labels: Labels,
    pub(crate) hostname: Option<String>,
    pub(crate) working_dir: Option<String>,
    pub(crate) user: Option<String>,
    /// The names that it answers to in networks of the engine.
    pub(crate) aliases: Vec<String>,
    /// Empty: the engine's default network.
    pub(crate) networks: Vec<String>,
    /// Where the ports are published.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) ports: Vec<Port>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) ulimits: Vec<Ulimit>,
    pub(crate) healthcheck: Option<Healthcheck>,
    pub(crate) stop_signal: Option<String>,
    pub(crate) stop_timeout: Option<Duration>,
    pub(crate) memory_mib: Option<i64>,
    pub(crate) cpu_millis: Option<i64>,
    pub(crate) pids: Option<i64>,
}

pub(crate) fn invalid(message: impl Into<String>) -> ProviderError {
    ProviderError::new(ErrorClass::InvalidSpec, message)
}

/// Returns the one slot of a call.
pub(crate) fn slot_of(request: &ProvisionRequest) -> Result<&Slot, ProviderError> {
    match request.slots.as_slice() {
        [slot] => Ok(slot),
        slots => {
            let message = format!("a batch has one slot, not {}", slots.len());
            Err(invalid(message))
        }
    }
}

/// What a call is read with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) provider: &'a ProviderName,
    pub(crate) schema: &'a ObjectSchema,
    pub(crate) grants: &'a Grants,
}

/// Returns whether the instance needs an address of its own.
pub(crate) fn publishes(properties: &Value) -> bool {
    let ports = properties.get("ports").and_then(Value::as_list);
    ports.is_some_and(|ports| !ports.is_empty())
}

impl Reading<'_> {
    /// Reads a call. `address` is where its ports are published.
    ///
    /// # Errors
    ///
    /// `InvalidSpec` for what can never succeed, or what the agent's file does not allow.
    pub(crate) fn spec(
        &self,
        request: &ProvisionRequest,
        address: Option<Ipv4Addr>,
    ) -> Result<Spec, ProviderError> {
        let slot = slot_of(request)?;
        self.refuse(request, slot, address)?;
        let shown = address.map(|address| address.to_string());
        let address_text = shown.as_deref().unwrap_or_default();
        let Prepared { slot, properties } = finish(
            slot,
            &request.properties,
            address_text,
            &[],
            &request.secrets,
        )
        .map_err(|error| invalid(error.to_string()))?;
        if let Some(mistake) = self.schema.check_finished(&properties).first() {
            return Err(invalid(format!("{}: {}", mistake.path, mistake.message)));
        }
        let read = Properties(&properties);
        let networks = read.texts("networks").unwrap_or_default();
        self.networks(&networks)?;
        let spec = Spec {
            name: Name::new(&slot.instance, &request.token),
            image: image(&read)?,
            pull: match read.text("pull").as_deref() {
                Some("always") => Pull::Always,
                Some("never") => Pull::Never,
                Some(_) | None => Pull::Missing,
            },
            entrypoint: read.texts("entrypoint"),
            command: read.texts("command"),
            script: (!slot.init.is_empty()).then(|| slot.init.join("\n") + "\n"),
            env: env(request, &slot, &read, address_text),
            labels: self.labels(request, &slot, &read, &networks, address_text)?,
            hostname: hostname(&slot),
            working_dir: read.text("workingDir"),
            user: read.text("user"),
            aliases: vec![slot.instance.to_string(), request.group.to_string()],
            networks,
            address,
            ports: ports(&read),
            mounts: self.mounts(request, &read)?,
            ulimits: ulimits(&read),
            healthcheck: healthcheck(&read),
            stop_signal: read.text("stopSignal"),
            stop_timeout: read.duration("stopTimeout"),
            memory_mib: read.integer("memoryMiB"),
            cpu_millis: read.integer("cpuMillis"),
            pids: read.integer("pids"),
        };
        check_texts(&spec)?;
        Ok(spec)
    }

    /// Refuses what containers cannot have.
    fn refuse(
        &self,
        request: &ProvisionRequest,
        slot: &Slot,
        address: Option<Ipv4Addr>,
    ) -> Result<(), ProviderError> {
        // Before anything is filled in: most mistakes show without it.
        if let Some(mistake) = self.schema.check(&request.properties).first() {
            return Err(invalid(format!("{}: {}", mistake.path, mistake.message)));
        }
        if slot.seat.is_some() {
            return Err(invalid(
                "containers have no places with attachments, so they are no members of quorum groups",
            ));
        }
        if is_user_data(&slot.init) {
            return Err(invalid("user data: a container has no cloud-init"));
        }
        if address.is_none() && asks_for_address(slot, &request.properties) {
            return Err(invalid(
                "${instance.address}: without `ports`, a container's address is not known before it runs",
            ));
        }
        Ok(())
    }

    fn networks(&self, networks: &[String]) -> Result<(), ProviderError> {
        for network in networks {
            if !self.grants.networks.contains(network) {
                return Err(invalid(format!(
                    "networks: {network:?} is not among `docker.networks` of the agent's file"
                )));
            }
        }
        Ok(())
    }

    fn labels(
        &self,
        request: &ProvisionRequest,
        slot: &Slot,
        read: &Properties<'_>,
        networks: &[String],
        address: &str,
    ) -> Result<Labels, ProviderError> {
        let mut all = slot.tags.clone();
        all.extend(read.text_map("labels"));
        let reserved = |name: &&String| name.is_empty() || name.starts_with(labels::RESERVED);
        if let Some(name) = all.keys().find(reserved) {
            return Err(invalid(format!(
                "label {name:?}: names that begin with `drover.` are reserved"
            )));
        }
        let owner = Ownership {
            fleet: request.fleet.clone(),
            group: request.group.clone(),
            instance: slot.instance.clone(),
            digests: request.digests.clone(),
            token: request.token.clone(),
            epoch: request.epoch,
            seat: None,
        };
        all.extend(labels::of(&owner, self.provider, &fingerprint(request)));
        let mut also = |name: &str, value: &str| {
            if !value.is_empty() {
                all.insert(name.to_owned(), value.to_owned());
            }
        };
        also(labels::ZONE, request.zone.as_deref().unwrap_or_default());
        also(labels::ADDRESS, address);
        also(labels::NETWORKS, &networks.join(","));
        if let Some(timeout) = read.duration("stopTimeout") {
            also(labels::STOP_TIMEOUT, &timeout.as_millis().to_string());
        }
        Ok(all)
    }

    fn mounts(
        &self,
        request: &ProvisionRequest,
        read: &Properties<'_>,
    ) -> Result<Vec<Mount>, ProviderError> {
        let mut mounts = Vec::new();
        for mount in read.objects("mounts") {
            let target = mount.text("target").unwrap_or_default();
            let read_only = mount.boolean("readOnly");
            let sources = [
                mount.text("volume").map(|name| volume(request, &name)),
                mount
                    .integer("memoryMiB")
                    .map(|mib| Ok(MountSource::Memory { mib })),
                mount.text("path").map(|path| self.path(&path, read_only)),
            ];
            let mut sources = sources.into_iter().flatten();
            let (Some(source), None) = (sources.next(), sources.next()) else {
                return Err(invalid(format!(
                    "mounts: {target} has exactly one of `volume`, `memoryMiB`, `path`"
                )));
            };
            mounts.push(Mount {
                target,
                read_only,
                source: source?,
            });
        }
        Ok(mounts)
    }

    fn path(&self, path: &str, read_only: bool) -> Result<MountSource, ProviderError> {
        let granted = self
            .grants
            .mounts
            .iter()
            .find(|granted| granted.path == path);
        match granted {
            None => Err(invalid(format!(
                "mounts: {path} is not among `docker.mounts` of the agent's file"
            ))),
            Some(granted) if granted.read_only && !read_only => Err(invalid(format!(
                "mounts: `docker.mounts` of the agent's file lets {path} be read only; write `readOnly: true`"
            ))),
            Some(_) => Ok(MountSource::Path(path.to_owned())),
        }
    }
}

/// Returns the volume that a group means by a name: its own, whatever other volumes there are.
fn volume(request: &ProvisionRequest, name: &str) -> Result<MountSource, ProviderError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(invalid(format!(
            "mounts: {name:?} is no name of a volume: letters, digits, `_`, `.` and `-`"
        )));
    }
    let (fleet, group) = (&request.fleet, &request.group);
    Ok(MountSource::Volume(format!(
        "drover.{fleet}.{group}.{name}"
    )))
}

fn image(read: &Properties<'_>) -> Result<String, ProviderError> {
    let image = read.text("image").unwrap_or_default();
    let odd = |c: char| c.is_whitespace() || c.is_control() || "?#%\\".contains(c);
    if image.is_empty() || image.contains(odd) {
        return Err(invalid(format!("image: {image:?} is no image's name")));
    }
    Ok(image)
}

fn env(
    request: &ProvisionRequest,
    slot: &Slot,
    read: &Properties<'_>,
    address: &str,
) -> BTreeMap<String, String> {
    let mut env = slot.env.clone();
    env.extend(read.text_map("env"));
    let own = [
        ("DROVER_INSTANCE", slot.instance.to_string()),
        ("DROVER_GROUP", request.group.to_string()),
        ("DROVER_ADDRESS", address.to_owned()),
    ];
    let own = own.into_iter().filter(|(_, value)| !value.is_empty());
    env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    env
}

fn hostname(slot: &Slot) -> Option<String> {
    Some(slot.instance.to_string()).filter(|name| name.len() <= HOSTNAME_MAX)
}

fn ports(read: &Properties<'_>) -> Vec<Port> {
    let ports = read.objects("ports").map(|port| {
        let published = port.integer("port").unwrap_or_default();
        Port {
            published,
            container: port.integer("container").unwrap_or(published),
            protocol: port.text("protocol").unwrap_or_else(|| "tcp".to_owned()),
        }
    });
    ports.collect()
}

fn ulimits(read: &Properties<'_>) -> Vec<Ulimit> {
    let written = read.0.get("ulimits").and_then(Value::as_map);
    let limits = written.into_iter().flatten().map(|(name, limit)| {
        let limit = Properties(limit);
        Ulimit {
            name: name.clone(),
            soft: limit.integer("soft").unwrap_or_default(),
            hard: limit.integer("hard").unwrap_or_default(),
        }
    });
    limits.collect()
}

fn healthcheck(read: &Properties<'_>) -> Option<Healthcheck> {
    let check = Properties(read.0.get("healthcheck")?);
    Some(Healthcheck {
        command: check.texts("command").unwrap_or_default(),
        interval: check.duration("interval"),
        timeout: check.duration("timeout"),
        retries: check.integer("retries"),
        start_period: check.duration("startPeriod"),
    })
}

/// Refuses what no process can be started with, before anything is made.
fn check_texts(spec: &Spec) -> Result<(), ProviderError> {
    for name in spec.env.keys() {
        if name.is_empty() || name.contains('=') {
            return Err(invalid(format!("env: {name:?} is not a name")));
        }
    }
    if spec
        .script
        .as_ref()
        .is_some_and(|script| script.len() > SCRIPT_MAX)
    {
        let most = SCRIPT_MAX / 1024;
        return Err(invalid(format!("init: more than {most} KiB of lines")));
    }
    let env = spec.env.iter().flat_map(|(name, value)| [name, value]);
    let words = spec.entrypoint.iter().chain(&spec.command).flatten();
    let texts = env.chain(words).chain(&spec.script);
    match texts.into_iter().find(|text| text.contains('\0')) {
        Some(text) => Err(invalid(format!("{text:?} holds a NUL character"))),
        None => Ok(()),
    }
}

/// A map whose schema was checked.
struct Properties<'a>(&'a Value);

impl Properties<'_> {
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    fn texts(&self, name: &str) -> Option<Vec<String>> {
        let list = self.0.get(name).and_then(Value::as_list)?.iter();
        Some(list.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    fn text_map(&self, name: &str) -> BTreeMap<String, String> {
        let map = self.0.get(name).and_then(Value::as_map);
        let entries = map.into_iter().flatten();
        entries
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    fn integer(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Value::Int(number)) => Some(*number),
            Some(_) | None => None,
        }
    }

    fn boolean(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    fn duration(&self, name: &str) -> Option<Duration> {
        self.0
            .get(name)
            .and_then(Value::as_str)
            .and_then(parse_duration)
    }

    fn objects(&self, name: &str) -> impl Iterator<Item = Properties<'_>> {
        let list = self.0.get(name).and_then(Value::as_list);
        list.into_iter().flatten().map(Properties)
    }
}

#[cfg(test)]
mod tests;
