//! From a provision call to what is written into an instance's folder.

use std::collections::BTreeMap;

use drover_model::{Ownership, Value};
use drover_provider::{Prepared, ProviderError, ProvisionRequest, finish};
use sha2::{Digest as _, Sha256};

use crate::folder::Folder;
use crate::provider::{ProcessProvider, invalid};
use crate::record::{InstanceRecord, OwnershipRecord, VERSION};

/// The `PATH` of instances: the agent's own may name what only its user should run.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl ProcessProvider {
    /// Returns what the instance is, and its init script.
    pub(crate) fn describe(
        &self,
        request: &ProvisionRequest,
        folder: &Folder,
        address: &str,
        fingerprint: String,
    ) -> Result<(InstanceRecord, Option<String>), ProviderError> {
        let slot = request.slots.first().ok_or_else(|| invalid("no slot"))?;
        let Prepared { slot, properties } = finish(slot, &request.properties, address)
            .map_err(|error| invalid(error.to_string()))?;
        if let Some(mistake) = self.manifest.properties.check(&properties).first() {
            return Err(invalid(format!("{}: {}", mistake.path, mistake.message)));
        }
        let data = folder.data();
        let data_text = data
            .to_str()
            .ok_or_else(|| invalid("a folder is not UTF-8"))?;
        let texts = |name: &str| texts_of(properties.get(name));
        let mut env = BTreeMap::from(
            [("PATH", PATH), ("HOME", data_text), ("LANG", "C.UTF-8")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        env.extend(slot.env);
        let written = properties.get("env").and_then(Value::as_map);
        for (name, value) in written.into_iter().flatten() {
            env.insert(name.clone(), value.as_str().unwrap_or_default().to_owned());
        }
        let instance = slot.instance.to_string();
        for (name, value) in [
            ("DROVER_INSTANCE", instance.as_str()),
            ("DROVER_GROUP", request.group.as_str()),
            ("DROVER_ADDRESS", address),
            ("DROVER_DATA_DIR", data_text),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        let working_dir = properties.get("workingDir").and_then(Value::as_str);
        let working_dir = working_dir.map_or_else(|| data.clone(), |dir| data.join(dir));
        let record = InstanceRecord {
            version: VERSION,
            fingerprint,
            ownership: Some(OwnershipRecord::new(&Ownership {
                fleet: request.fleet.clone(),
                group: request.group.clone(),
                instance: slot.instance.clone(),
                digests: request.digests.clone(),
                token: request.token.clone(),
                epoch: request.epoch,
            })),
            tags: slot.tags,
            address: address.to_owned(),
            zone: request.zone.clone(),
            created_at: self.clock.now().to_string(),
            command: texts("command"),
            env,
            working_dir: working_dir.to_string_lossy().into_owned(),
            init: !slot.init.is_empty(),
            log_limit: self.log_limit,
        };
        check_texts(&record)?;
        let script = (!slot.init.is_empty()).then(|| slot.init.join("\n") + "\n");
        Ok((record, script))
    }
}

/// Returns the hash by which a repeated call is told from another one: over everything that it asks
/// for, as asked.
pub(crate) fn fingerprint(request: &ProvisionRequest) -> String {
    let text = |text: &str| Value::from(text);
    let texts = |map: &BTreeMap<String, String>| -> Value {
        let entries = map.iter();
        entries
            .map(|(key, value)| (key.clone(), text(value)))
            .collect()
    };
    let slots = request.slots.iter().map(|slot| {
        let init = slot.init.iter().map(|line| text(line));
        Value::List(vec![
            text(&slot.instance.to_string()),
            Value::List(init.collect()),
            texts(&slot.env),
            texts(&slot.tags),
        ])
    });
    let mut all = vec![
        text(request.fleet.as_str()),
        text(request.group.as_str()),
        text(&request.epoch.to_string()),
        text(&request.digests.to_string()),
        Value::List(slots.collect()),
        request.properties.clone(),
    ];
    // Instances made without a zone keep the hash that they were made under.
    all.extend(request.zone.as_deref().map(text));
    let mut bytes = Vec::new();
    Value::List(all).canonical_bytes(&mut bytes);
    data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes))
}

/// Refuses what no process can be started with, before anything is made.
fn check_texts(record: &InstanceRecord) -> Result<(), ProviderError> {
    if record.command.first().is_none_or(String::is_empty) {
        return Err(invalid("command: the program is empty"));
    }
    let env = record.env.iter();
    for (name, _) in env.clone() {
        if name.is_empty() || name.contains('=') {
            return Err(invalid(format!("env: {name:?} is not a name")));
        }
    }
    let texts = env.flat_map(|(name, value)| [name, value]);
    let texts = texts.chain(&record.command).chain([&record.working_dir]);
    match texts.into_iter().find(|text| text.contains('\0')) {
        Some(text) => Err(invalid(format!("{text:?} holds a NUL character"))),
        None => Ok(()),
    }
}

fn texts_of(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_list).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}
