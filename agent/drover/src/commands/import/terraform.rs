//! `drover import terraform`: EC2 instances and scaling groups of a Terraform state file as documents. The file is all
//! that is read: nothing is asked, and nothing in the state is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use drover_model::Value;

use super::aws::{PROVIDER, from_template};
use super::machines::{Found, Machine, SCALING_TAG, common_tags, provider};
use super::{Drafts, write};
use crate::cli::ImportTerraformArgs;
use crate::error::{CommandError, CommandResult, Context as _};
use crate::exit::Exit;
use crate::ui::Ui;

mod state;

use state::{Resource, State};

/// The largest file that is read: far above any state that people keep in one file.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The processes of a scaling group that make or end instances, as `drover-provider-ec2` has them.
const ACTING: [&str; 8] = [
    "Launch",
    "Terminate",
    "HealthCheck",
    "ReplaceUnhealthy",
    "AZRebalance",
    "ScheduledActions",
    "AlarmNotification",
    "InstanceRefresh",
];

/// Runs the command.
pub(super) fn run(args: &ImportTerraformArgs, ui: Ui) -> CommandResult {
    let state = read(&args.state)?;
    let mut import = Import {
        state: &state,
        shown: args.state.display().to_string(),
        drafts: Drafts::default(),
        regions: BTreeSet::new(),
        failed: 0,
    };
    let found = import.found();
    let regions: BTreeSet<String> = found.iter().map(|(_, region)| region.clone()).collect();
    if args.provider.is_some() && regions.len() > 1 {
        let regions: Vec<String> = regions.into_iter().collect();
        return Err(CommandError::usage(
            "--provider names one document, the state has several regions",
        )
        .detail(regions.join(", "))
        .hint("leave --provider out"));
    }
    let name = |region: &str| match &args.provider {
        Some(name) => name.to_string(),
        None if regions.len() > 1 => format!("{PROVIDER}-{region}"),
        None => PROVIDER.to_owned(),
    };
    for (found, region) in &found {
        import.draft(found, region, &name(region));
    }
    for region in &import.regions {
        import
            .drafts
            .files
            .push(provider(&name(region), region, None));
    }
    import.others();
    let failed = import.failed;
    let written = write(import.drafts, &args.output, ui)?;
    Ok(if failed > 0 { Exit::Failed } else { written })
}

fn read(path: &Path) -> CommandResult<State> {
    let attempted = format!("cannot read {}", path.display());
    let found = path.metadata().context(attempted.clone())?;
    if found.len() > FILE_BYTES_MAX {
        return Err(CommandError::new(attempted).detail("it is larger than 256 MiB"));
    }
    let bytes = fs::read(path).context(attempted.clone())?;
    State::read(&bytes).map_err(|why| {
        CommandError::new(attempted).detail(why).hint(
            "a state file is what `terraform state pull` prints; it is not a plan, and not a configuration",
        )
    })
}

/// An import in the making.
struct Import<'a> {
    state: &'a State,
    shown: String,
    drafts: Drafts,
    /// The regions of the groups that became documents.
    regions: BTreeSet<String>,
    failed: usize,
}

impl Import<'_> {
    fn refuse(&mut self, address: &str, why: &str) {
        self.failed += 1;
        self.drafts
            .remarks
            .push(format!("{address}: not imported: {why}"));
    }

    /// Returns the groups that can become documents, with their regions; and tells why others cannot.
    fn found(&mut self) -> Vec<(Found, String)> {
        let mut all = Vec::new();
        for resource in &self.state.resources {
            let found = match resource.type_.as_str() {
                "aws_instance" => self.instances(resource),
                "aws_autoscaling_group" => self.scaling_groups(resource),
                "docker_container" => Err(
                    "the labels of a container are set when it is made, so it can never carry an owner; let a group of the provider type `docker` make new ones"
                        .to_owned(),
                ),
                _ => continue,
            };
            match found {
                Ok(found) => all.extend(found),
                Err(why) => self.refuse(&resource.address(), &why),
            }
        }
        all
    }

    fn draft(&mut self, found: &Found, region: &str, provider: &str) {
        match found.draft(provider) {
            Ok((draft, remarks)) => {
                self.drafts.files.push(draft);
                self.drafts.remarks.extend(remarks);
                self.regions.insert(region.to_owned());
            }
            Err(why) => self.refuse(&found.called, &why),
        }
    }

    /// Tells of what is neither here nor there.
    fn others(&mut self) {
        let types: BTreeSet<&str> = self
            .state
            .resources
            .iter()
            .map(|one| one.type_.as_str())
            .collect();
        let known = ["aws_instance", "aws_autoscaling_group", "docker_container"];
        let others: Vec<&str> = types
            .into_iter()
            .filter(|type_| !known.contains(type_))
            .collect();
        if !others.is_empty() {
            let others = others.join(", ");
            self.drafts
                .remarks
                .push(format!("left to Terraform: {others}"));
        }
    }

    /// Returns the comments at the top of a document.
    fn head(&self, address: &str) -> Vec<String> {
        vec![format!(
            "The resource {address} of {}, by `drover import terraform`.",
            self.shown
        )]
    }

    /// Returns the instances of a resource as one group.
    fn instances(&self, resource: &Resource) -> Result<Vec<(Found, String)>, String> {
        let address = resource.address();
        let mut machines = Vec::new();
        let mut regions = BTreeSet::new();
        let mut notes = vec![owner(&address)];
        for (index, attributes) in resource.current() {
            let running = attributes.text("instance_state").unwrap_or("running");
            let id = attributes
                .text("id")
                .ok_or_else(|| format!("instance {index} has no id"))?;
            if !matches!(running, "pending" | "running") {
                notes.push(format!("{id} is {running}, and not counted in `size`"));
                continue;
            }
            regions.extend(attributes.region());
            machines.push(attributes.machine(id));
        }
        notes.extend(resource.notes());
        if machines.is_empty() {
            return Err("none of its instances runs".to_owned());
        }
        let regions: Vec<String> = regions.into_iter().collect();
        let [region]: [String; 1] = regions.try_into().map_err(|regions: Vec<String>| {
            if regions.is_empty() {
                "its region is not known: its instances have neither `arn` nor `availability_zone` in the state".to_owned()
            } else {
                format!("its instances are in {} regions", regions.len())
            }
        })?;
        let match_tags = self.selector(&address, &machines)?;
        let found = Found {
            called: resource.called(),
            head: self.head(&address),
            notes,
            machines,
            match_tags,
            ..Found::default()
        };
        Ok(vec![(found, region)])
    }

    /// Returns tags that all of the machines have, and no instance of another resource has.
    fn selector(
        &self,
        address: &str,
        machines: &[Machine],
    ) -> Result<BTreeMap<String, String>, String> {
        let tags = common_tags(machines);
        if tags.is_empty() {
            return Err(
                "its instances have no tag in common by which they could be found; give them one, apply, and import again"
                    .to_owned(),
            );
        }
        let has_all = |machine: &Machine| {
            let mut tags = tags.iter();
            tags.all(|(key, value)| machine.tags.get(key) == Some(value))
        };
        for other in &self.state.resources {
            if other.type_ != "aws_instance" || other.address() == address {
                continue;
            }
            if other
                .current()
                .any(|(_, attributes)| has_all(&attributes.machine("")))
            {
                return Err(format!(
                    "the tags that its instances have in common are those of {} too; give them one of their own, apply, and import again",
                    other.address()
                ));
            }
        }
        Ok(tags)
    }

    /// Returns the scaling groups of a resource, each as a group of machines that nobody has seen yet.
    fn scaling_groups(&self, resource: &Resource) -> Result<Vec<(Found, String)>, String> {
        let mut all = Vec::new();
        for (index, attributes) in resource.current() {
            let address = format!("{}{index}", resource.address());
            let text = |name: &str| {
                let text = attributes.text(name);
                text.ok_or_else(|| format!("{address} has no `{name}`"))
            };
            let number = |name: &str| {
                let number = attributes.number(name);
                number.ok_or_else(|| format!("{address} has no `{name}`"))
            };
            let name = text("name")?.to_owned();
            let region = attributes.region();
            let region = region.ok_or_else(|| {
                format!("{address}: its region is not known: it has neither an `arn` with one nor `availability_zones` in the state")
            })?;
            let (properties, mut notes) = self.made_from(attributes, &address)?;
            let suspended = attributes.texts("suspended_processes");
            let mut acting = ACTING.to_vec();
            acting.retain(|process| !suspended.iter().any(|one| one == process));
            notes.insert(0, owner(&address));
            if !acting.is_empty() {
                notes.push(format!(
                    "before `manage: full`, what makes and ends instances has to be suspended: aws autoscaling suspend-processes --auto-scaling-group-name '{}' --scaling-processes {}",
                    name.replace('\'', r"'\''"),
                    ACTING.join(" ")
                ));
            }
            let found = Found {
                called: name.clone(),
                head: self.head(&address),
                notes,
                size: Some(number("desired_capacity")?),
                bounds: Some((number("min_size")?, number("max_size")?)),
                match_tags: [(SCALING_TAG.to_owned(), name)].into(),
                properties,
                subnets: attributes.texts("vpc_zone_identifier"),
                zones: attributes.texts("availability_zones"),
                machines: Vec::new(),
            };
            all.push((found, region));
        }
        Ok(all)
    }

    /// Returns what the machines of a scaling group are made from, and what is to be known of it.
    fn made_from(
        &self,
        attributes: &state::Attributes,
        address: &str,
    ) -> Result<(BTreeMap<&'static str, Value>, Vec<String>), String> {
        let mut notes = Vec::new();
        let own = attributes.first("launch_template");
        let policy = attributes.first("mixed_instances_policy");
        let of_policy = policy.as_ref().and_then(|policy| {
            policy
                .first("launch_template")?
                .first("launch_template_specification")
        });
        if policy.is_some() {
            notes.push(
                "the scaling group chooses among instance types and prices by itself; write `instanceType` and `fallbackTypes` beside the launch template"
                    .to_owned(),
            );
        }
        let Some(template) = own.or(of_policy) else {
            return Err(
                "it has no launch template, and its launch configuration is not told in its state; `drover import asg` reads its machines"
                    .to_owned(),
            );
        };
        let id = template.text("id").or(template.text("launch_template_id"));
        let name = template
            .text("name")
            .or(template.text("launch_template_name"));
        let written = template.text("version").unwrap_or("$Default");
        let version = if written.parse::<u64>().is_ok() {
            written.to_owned()
        } else {
            let known = self.state.version_of(id, name, written);
            let version = known.ok_or_else(|| {
                format!("its launch template follows {written}, and the state does not say which version that is; `drover import asg` finds out")
            })?;
            notes.push(format!(
                "{address} follows {written} of its launch template; the document says {version}, which that is in the state"
            ));
            version.to_string()
        };
        Ok((from_template(id, name, &version), notes))
    }
}

/// Says how Terraform lets go.
fn owner(address: &str) -> String {
    format!(
        "Terraform acts on it with each apply: before `manage: full`, take it out of the state (`terraform state rm '{address}'`, or a block `removed` with `destroy = false`) and out of the configuration"
    )
}
