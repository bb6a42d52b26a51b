//! From a provision call to what is written into an instance's folder.

use std::collections::BTreeMap;
use std::path::Path;

use drover_model::{AttachmentName, MemberId, Ownership, Value};
use drover_provider::{
    Prepared, ProviderError, ProvisionRequest, Slot, UpdateRequest, Urgency, finish, is_user_data,
};

use crate::folder::Folder;
use crate::place::{Place, variable};
use crate::provider::{ProcessProvider, invalid};
use crate::record::{InstanceRecord, OwnershipRecord, VERSION};

/// The `PATH` of instances: the agent's own may name what only its user should run.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where an instance will be: its address, and its place with those of its peers, in a quorum group.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) address: String,
    pub(crate) members: Vec<(MemberId, String)>,
    pub(crate) place: Option<(Place, Vec<AttachmentName>)>,
}

impl Site {
    /// Returns the site of an instance of no place.
    pub(crate) fn of(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            members: Vec::new(),
            place: None,
        }
    }

    fn place_text(&self) -> Result<Option<String>, ProviderError> {
        let place = self.place.as_ref();
        place.map(|(place, _)| text_of(place.path())).transpose()
    }

    fn attachments(&self) -> Result<Vec<(String, String)>, ProviderError> {
        let attached = self.place.iter().flat_map(|(place, names)| {
            let named = names.iter().map(AttachmentName::as_str);
            named.map(move |name| (variable(name), place.attachment(name)))
        });
        attached
            .map(|(variable, path)| Ok((variable, text_of(&path)?)))
            .collect()
    }
}

fn text_of(path: &Path) -> Result<String, ProviderError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| invalid("a folder is not UTF-8"))
}

impl ProcessProvider {
    /// Refuses what no process can have, before secrets are filled in: so a message shows what was written.
    fn refuse(&self, slot: &Slot, properties: &Value) -> Result<(), ProviderError> {
        if is_user_data(&slot.init) {
            return Err(invalid("user data: a process has no cloud-init"));
        }
        match self.manifest.properties.check(properties).first() {
            None => Ok(()),
            Some(mistake) => Err(invalid(mistake.to_string())),
        }
    }

    /// Returns what the instance is, and its init script.
    pub(crate) fn describe(
        &self,
        request: &ProvisionRequest,
        folder: &Folder,
        site: &Site,
        fingerprint: String,
    ) -> Result<(InstanceRecord, Option<String>), ProviderError> {
        let slot = request.slots.first().ok_or_else(|| invalid("no slot"))?;
        self.refuse(slot, &request.properties)?;
        let address = site.address.as_str();
        let members = &site.members;
        let finished = finish(
            slot,
            &request.properties,
            address,
            members,
            &request.secrets,
        );
        let Prepared { slot, properties } = finished.map_err(|error| invalid(error.to_string()))?;
        if let Some(mistake) = self.manifest.properties.check_finished(&properties).first() {
            return Err(invalid(format!("{}: {}", mistake.path, mistake.message)));
        }
        let data = folder.data();
        let data_text = text_of(&data)?;
        let texts = |name: &str| texts_of(properties.get(name));
        let mut env = BTreeMap::from(
            [("PATH", PATH), ("HOME", &data_text), ("LANG", "C.UTF-8")]
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
            ("DROVER_DATA_DIR", &data_text),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        for (variable, path) in site.attachments()? {
            env.insert(variable, path);
        }
        let folder = properties.get("workingDir").and_then(Value::as_str);
        let working_dir = folder.map_or_else(|| data.clone(), |dir| data.join(dir));
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
                seat: slot.seat.as_ref().map(|seat| seat.id.clone()),
            })),
            tags: slot.tags,
            address: address.to_owned(),
            zone: request.zone.clone(),
            created_at: self.clock.now().to_string(),
            command: texts("command"),
            env,
            working_dir: working_dir.to_string_lossy().into_owned(),
            init: !slot.init.is_empty(),
            place: site.place_text()?,
            log_limit: self.log_limit,
            update: None,
        };
        check_texts(&record)?;
        let script = (!slot.init.is_empty()).then(|| slot.init.join("\n") + "\n");
        Ok((record, script))
    }
}

impl ProcessProvider {
    /// Returns what an instance becomes by a change in place, and its init script. Where it is and when it
    /// was made stays.
    pub(crate) fn describe_update(
        &self,
        request: &UpdateRequest,
        folder: &Folder,
        before: &InstanceRecord,
    ) -> Result<(InstanceRecord, Option<String>), ProviderError> {
        let made = ProvisionRequest {
            token: request.token.clone(),
            fleet: request.fleet.clone(),
            group: request.group.clone(),
            epoch: request.epoch,
            digests: request.digests.clone(),
            zone: before.zone.clone(),
            slots: vec![request.slot.clone()],
            properties: request.properties.clone(),
            secrets: request.secrets.clone(),
            urgency: Urgency::default(),
            asked: None,
        };
        let site = Site::of(&before.address);
        // A repeated call that made it is still told by the hash that it was made under.
        let fingerprint = before.fingerprint.clone();
        let (record, script) = self.describe(&made, folder, &site, fingerprint)?;
        let record = InstanceRecord {
            created_at: before.created_at.clone(),
            ..record
        };
        Ok((record, script))
    }
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
