//! A Terraform state file, format version 4, as far as anybody here wants to know.

use std::collections::{BTreeMap, BTreeSet};

use drover_model::{Value, plural};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::super::machines::{Machine, is_burstable};

/// The format that is read: of Terraform 0.12 and later, and of OpenTofu.
const VERSION: u64 = 4;

/// Attributes of instances that no property is read for: those that count where they are true, where they are false, and
/// where there is something.
const UNREAD_TRUE: [&str; 3] = ["disable_api_stop", "disable_api_termination", "hibernation"];
const UNREAD_FALSE: [&str; 1] = ["source_dest_check"];
const UNREAD_SOME: [&str; 6] = [
    "host_id",
    "host_resource_group_arn",
    "ipv6_addresses",
    "network_interface",
    "placement_partition_number",
    "secondary_private_ips",
];

/// A state.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The managed resources.
    pub(super) resources: Vec<Resource>,
}

#[derive(Debug, Deserialize)]
struct Written {
    #[serde(default)]
    resources: Vec<Resource>,
}

/// A resource: all instances of one `resource` block.
#[derive(Debug, Deserialize)]
pub(super) struct Resource {
    module: Option<String>,
    mode: String,
    #[serde(rename = "type")]
    pub(super) type_: String,
    name: String,
    instances: Vec<Instance>,
}

#[derive(Debug, Deserialize)]
struct Instance {
    #[serde(default)]
    index_key: Option<Json>,
    /// What is to be destroyed, and was replaced already.
    #[serde(default)]
    deposed: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    attributes: Option<Attributes>,
}

/// What Terraform knows of one instance of a resource, or a block within.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Attributes(Map<String, Json>);

impl State {
    /// Reads a state.
    ///
    /// # Errors
    ///
    /// Why it is none that can be read.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let json: Json = serde_json::from_slice(bytes)
            .map_err(|error| format!("it is no state of Terraform: no JSON: {error}"))?;
        if json.get("encrypted_data").is_some() {
            return Err("it is encrypted; `tofu state pull` prints it in the clear".to_owned());
        }
        if json.get("format_version").is_some() {
            return Err(
                "it is what `terraform show -json` prints, for people; the state itself is read"
                    .to_owned(),
            );
        }
        match json.get("version").map(Json::as_u64) {
            Some(Some(VERSION)) => {}
            Some(Some(other)) if other < VERSION => {
                return Err(format!(
                    "it is a state of version {other}, of before Terraform 0.12; an apply by a later one makes it version {VERSION}"
                ));
            }
            Some(Some(other)) => {
                return Err(format!(
                    "it is a state of version {other}; {VERSION} is known"
                ));
            }
            Some(None) | None => {
                return Err("it is no state of Terraform: it has no version".to_owned());
            }
        }
        let written: Written = serde_json::from_value(json)
            .map_err(|error| format!("it is no state of Terraform: {error}"))?;
        let resources = written.resources.into_iter();
        Ok(Self {
            resources: resources.filter(|one| one.mode == "managed").collect(),
        })
    }

    /// Returns which version of a launch template `$Latest` or `$Default` is, where the template is in the state.
    pub(super) fn version_of(
        &self,
        id: Option<&str>,
        name: Option<&str>,
        written: &str,
    ) -> Option<u64> {
        let field = match written {
            "$Latest" => "latest_version",
            "$Default" => "default_version",
            _ => return None,
        };
        let templates = self.resources.iter();
        let templates = templates.filter(|one| one.type_ == "aws_launch_template");
        let mut all = templates.flat_map(Resource::current);
        let found = all.find(|(_, template)| {
            let same = |own: Option<&str>, wanted: Option<&str>| own.is_some() && own == wanted;
            same(template.text("id"), id) || same(template.text("name"), name)
        });
        found?.1.number(field)
    }
}

impl Resource {
    /// Returns its address, as Terraform writes it.
    pub(super) fn address(&self) -> String {
        let module = self.module.as_ref().map(|module| format!("{module}."));
        format!("{}{}.{}", module.unwrap_or_default(), self.type_, self.name)
    }

    /// Returns what it is called among people: its name, with those of its modules.
    pub(super) fn called(&self) -> String {
        let module = self.module.as_deref().unwrap_or_default();
        let modules = module
            .split('.')
            .filter(|part| *part != "module" && !part.is_empty());
        let parts: Vec<&str> = modules.chain([self.name.as_str()]).collect();
        // An index in brackets is a part of its own.
        parts.join("-").replace('[', "-").replace(']', "")
    }

    /// Returns what it has now, each with its index as Terraform writes it.
    pub(super) fn current(&self) -> impl Iterator<Item = (String, &Attributes)> {
        self.instances.iter().filter_map(|instance| {
            if instance.deposed.is_some() {
                return None;
            }
            let index = instance.index_key.as_ref().map(|key| format!("[{key}]"));
            Some((index.unwrap_or_default(), instance.attributes.as_ref()?))
        })
    }

    /// Returns what is odd about it.
    pub(super) fn notes(&self) -> Vec<String> {
        let deposed = self
            .instances
            .iter()
            .filter(|one| one.deposed.is_some())
            .count();
        let tainted = self
            .instances
            .iter()
            .filter(|one| one.status.as_deref() == Some("tainted"))
            .count();
        let mut notes = Vec::new();
        if deposed > 0 {
            notes.push(format!(
                "{} left out: apply first, which ends {}",
                plural(deposed, "deposed instance is", "deposed instances are"),
                if deposed == 1 { "it" } else { "them" }
            ));
        }
        if tainted > 0 {
            notes.push(format!(
                "{} tainted, and would be replaced by the next apply",
                plural(tainted, "instance is", "instances are")
            ));
        }
        notes
    }
}

/// Returns the region of an ARN.
fn region_of(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':');
    let is_arn = parts.next() == Some("arn");
    let region = parts.nth(2)?;
    (is_arn && !region.is_empty()).then_some(region)
}

/// Returns the region of an availability zone, a local zone or a Wavelength zone: each is named after it.
fn region_of_zone(zone: &str) -> Option<&str> {
    // Of `us-west-2-lax-1a`, all up to the first number.
    let starts = zone.match_indices('-').map(|(at, _)| at + 1);
    let number = |at: &usize| zone[*at..].starts_with(|c: char| c.is_ascii_digit());
    let at = starts.into_iter().find(number)?;
    let digits = zone[at..].bytes().take_while(u8::is_ascii_digit).count();
    Some(&zone[..at + digits])
}

impl Attributes {
    /// Returns the region of an instance or a scaling group. States of old may have no ARN. None: nothing in it tells.
    pub(super) fn region(&self) -> Option<String> {
        let zones = self.texts("availability_zones");
        let zone = self.text("availability_zone");
        let zone = zone.or(zones.first().map(String::as_str));
        let of_arn = self.text("arn").and_then(region_of);
        of_arn.or_else(|| region_of_zone(zone?)).map(str::to_owned)
    }

    /// Returns a text that is not empty, which is how Terraform writes that there is none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name).and_then(Json::as_str);
        text.filter(|text| !text.is_empty())
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Json::as_u64)
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Json::as_bool).unwrap_or(false)
    }

    /// Returns a list of texts, sorted: Terraform's sets have no order.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let list = self.0.get(name).and_then(Json::as_array);
        let mut texts: Vec<String> = list
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .map(str::to_owned)
            .collect();
        texts.sort();
        texts
    }

    /// Returns the first of a list of blocks.
    pub(super) fn first(&self, name: &str) -> Option<Self> {
        let list = self.0.get(name)?.as_array()?;
        list.first()?.as_object().cloned().map(Self)
    }

    fn tags(&self) -> BTreeMap<String, String> {
        // With those that the provider's configuration puts on everything.
        let tags = self.0.get("tags_all").filter(|tags| tags.is_object());
        let tags = tags.or_else(|| self.0.get("tags"));
        let tags = tags.and_then(Json::as_object).into_iter().flatten();
        tags.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    /// Returns an instance as the EC2 provider would describe it.
    pub(super) fn machine(&self, id: &str) -> Machine {
        let text = |name: &str| self.text(name).map(Value::from);
        let groups = self.texts("vpc_security_group_ids");
        let groups: Vec<Value> = groups.iter().map(|group| group.as_str().into()).collect();
        let only_if = |holds: bool| holds.then_some(Value::Bool(true));
        let is_spot = self.text("instance_lifecycle") == Some("spot");
        let tenancy = self.text("tenancy").filter(|tenancy| *tenancy != "default");
        let credits = self.first("credit_specification");
        let credits = credits.as_ref().and_then(|block| block.text("cpu_credits"));
        // Older states have it for every type, and only those that burst take it.
        let bursts = self.text("instance_type").is_some_and(is_burstable);
        let credits = credits.filter(|_| bursts);
        let ends = self.text("instance_initiated_shutdown_behavior") == Some("terminate");
        let values = [
            ("imageId", text("ami")),
            ("instanceType", text("instance_type")),
            (
                "securityGroups",
                (!groups.is_empty()).then_some(Value::List(groups)),
            ),
            ("keyName", text("key_name")),
            ("iamInstanceProfile", text("iam_instance_profile")),
            ("market", is_spot.then(|| "spot".into())),
            ("spotMaxPrice", self.spot_price().filter(|_| is_spot)),
            // Stopping is what drover does unless written, and spot instances cannot.
            ("onShutdown", (ends && !is_spot).then(|| "terminate".into())),
            ("publicAddress", self.public_address()),
            ("cpuCredits", credits.map(Value::from)),
            ("monitoring", only_if(self.flag("monitoring"))),
            ("ebsOptimized", only_if(self.flag("ebs_optimized"))),
            ("placementGroup", text("placement_group")),
            ("tenancy", tenancy.map(Value::from)),
            (
                "metadata",
                self.first("metadata_options")
                    .and_then(|options| options.metadata()),
            ),
        ];
        let properties = values.into_iter();
        Machine {
            id: id.to_owned(),
            zone: self.text("availability_zone").map(str::to_owned),
            subnet: self.text("subnet_id").map(str::to_owned),
            tags: self.tags(),
            properties: properties
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
            unread: self.unread(),
        }
    }

    /// Returns whether it has a public address. None: the state does not say.
    fn public_address(&self) -> Option<Value> {
        let written = self.0.get("associate_public_ip_address")?;
        written.as_bool().map(Value::Bool)
    }

    /// Returns the most that is paid for spot capacity.
    fn spot_price(&self) -> Option<Value> {
        let options = self.first("instance_market_options")?;
        let options = options.first("spot_options")?;
        options.text("max_price").map(Value::from)
    }

    /// Returns what an instance has that no property is read for, by Terraform's names.
    fn unread(&self) -> BTreeSet<String> {
        let is = |name: &&&str| self.flag(name);
        let is_not = |name: &&&str| self.0.get(**name).and_then(Json::as_bool) == Some(false);
        let some = |name: &&&str| match self.0.get(**name) {
            Some(Json::String(text)) => !text.is_empty(),
            Some(Json::Array(list)) => !list.is_empty(),
            Some(Json::Number(number)) => number.as_u64() != Some(0),
            Some(_) | None => false,
        };
        let enclave = self.first("enclave_options");
        let enclave = enclave.is_some_and(|block| block.flag("enabled"));
        let reserved = self.first("capacity_reservation_specification");
        let reserved =
            reserved.is_some_and(|block| block.first("capacity_reservation_target").is_some());
        let blocks = [
            ("enclave_options", enclave),
            ("capacity_reservation_specification", reserved),
        ];
        let blocks = blocks
            .iter()
            .filter(|(_, there)| *there)
            .map(|(name, _)| name);
        let names = UNREAD_TRUE.iter().filter(is);
        let names = names.chain(UNREAD_FALSE.iter().filter(is_not));
        let names = names.chain(UNREAD_SOME.iter().filter(some)).chain(blocks);
        names.map(|name| format!("`{name}`")).collect()
    }

    fn metadata(&self) -> Option<Value> {
        let mut options = vec![("tokens".to_owned(), Value::from(self.text("http_tokens")?))];
        let limit = self
            .number("http_put_response_hop_limit")
            .and_then(|limit| i64::try_from(limit).ok());
        options.extend(limit.map(|limit| ("hopLimit".to_owned(), Value::Int(limit))));
        if self.text("instance_metadata_tags") == Some("enabled") {
            options.push(("instanceTags".to_owned(), Value::Bool(true)));
        }
        Some(options.into_iter().collect())
    }
}
